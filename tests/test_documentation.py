"""Public docstrings are numpydoc and say what the signatures say; links lead on."""

import inspect
import pkgutil
import pydoc
import re
from operator import attrgetter
from pathlib import Path

import numpydoc.docscrape
import pytest
from numpydoc.validate import validate

import sktok
import sktok.corpus
import sktok.datasets
import sktok.export
import sktok.metrics
import sktok.networks
import sktok.persistence
import sktok.plotting
import sktok.streaming

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("guide/*"))]
BUILT = {"gallery", "generated"}  # folders that `make docs` writes, and checks
MODULES = [
    sktok,
    sktok.corpus,
    sktok.datasets,
    sktok.export,
    sktok.metrics,
    sktok.networks,
    sktok.persistence,
    sktok.plotting,
    sktok.streaming,
]
PUBLIC = [f"{m.__name__}.{name}" for m in MODULES for name in m.__all__]
IGNORED = {
    "ES01",  # a summary may be enough
    "GL01",  # the summary begins on the first line, as in scikit-learn
    "RT02",  # `self : AmplitudeScaler` is scikit-learn's way
    "RT05",  # shapes do not end in a full stop
    "SS05",  # "Names of the tokens" is a fine summary
    "YD01",
}
IGNORED_IN_METHODS = {"EX01", "SA01"}  # they stand on classes and functions


def resolve(path):
    return attrgetter(path.removeprefix("sktok."))(sktok)


def with_methods(path):
    """The name, and those of its methods that sktok itself defines."""
    found = resolve(path)
    members = vars(found) if inspect.isclass(found) else {}
    public = [m for m in members if not m.startswith("_")]
    return [path] + [f"{path}.{m}" for m in public if not isinstance(members[m], int)]


ALL = [name for path in PUBLIC for name in with_methods(path)]


@pytest.mark.parametrize("path", ALL)
def test_docstring_is_numpydoc(path):
    ignored = IGNORED if path in PUBLIC else IGNORED | IGNORED_IN_METHODS
    errors = [e for e in validate(path)["errors"] if e[0] not in ignored]
    assert not errors


@pytest.mark.parametrize("path", PUBLIC)
def test_see_also_names_something_else(path):
    found = resolve(path)
    module = path.rpartition(".")[0]
    for links, _ in numpydoc.docscrape.FunctionDoc(found)["See Also"]:
        for name, _ in links:
            named = pydoc.locate(f"{module}.{name}") or pydoc.locate(name)
            assert named not in (None, found), name


def test_every_public_module_is_looked_at():
    found = {m.name for m in pkgutil.iter_modules(sktok.__path__) if m.name[0] != "_"}
    assert {f"sktok.{name}" for name in found} | {"sktok"} == {
        module.__name__ for module in MODULES
    }


def test_every_public_name_is_in_the_reference():
    listed, module = [], None
    for line in (DOCS / "reference.md").read_text().splitlines():
        if begun := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = begun[1]
        elif entry := re.fullmatch(r"   (\w+)", line):
            listed.append(f"{module}.{entry[1]}")
    assert sorted(listed) == sorted(PUBLIC)


@pytest.mark.parametrize("path", [p for p in ALL if callable(resolve(p))])
def test_documented_defaults_are_the_defaults(path):
    found = resolve(path)
    signature = inspect.signature(found)
    documented = numpydoc.docscrape.FunctionDoc(found)["Parameters"]
    for parameter in documented:
        stated = re.search(r"default=(.*)$", parameter.type)
        if parameter.name in signature.parameters:
            default = signature.parameters[parameter.name].default
            has_default = default is not inspect.Parameter.empty
            assert has_default == (bool(stated) or parameter.type == "None")
            if stated:
                assert stated[1] in (repr(default), f'"{default}"'), parameter.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert page.name != "README.md" or links
    missing = [
        link
        for link in links
        if not (link.startswith("http") or BUILT & set(Path(link).parts))
        and not (page.parent / link).exists()
    ]
    assert not missing
