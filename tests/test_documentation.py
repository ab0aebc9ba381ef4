"""Docstrings follow numpydoc and match the signatures; links have targets."""

import inspect
import pkgutil
import re
from importlib import import_module
from pathlib import Path
from pydoc import locate

import pytest
from numpydoc.docscrape import FunctionDoc
from numpydoc.validate import validate

import sktok

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("guide/*"))]
BUILT = {"gallery", "generated"}  # folders that `make docs` writes and checks
MODULES = [sktok] + [
    import_module(f"sktok.{module.name}")
    for module in pkgutil.iter_modules(sktok.__path__)
    if not module.name.startswith("_")
]
PUBLIC = [f"{m.__name__}.{name}" for m in MODULES for name in m.__all__]
IGNORED = {
    "ES01",  # a summary may be enough
    "GL01",  # the summary begins on the first line, as in scikit-learn
    "RT02",  # `self : AmplitudeScaler`, as in scikit-learn
    "RT05",  # shapes do not end in a full stop
    "SS05",  # "Names of the tokens" is a good summary
    "YD01",
}
IGNORED_IN_METHODS = {"EX01", "SA01"}  # classes and functions have them


def with_methods(path):
    """The name, and those of the methods and properties that sktok documents."""
    found = locate(path)
    members = vars(found) if inspect.isclass(found) else {}
    return [path] + [
        f"{path}.{name}"
        for name, member in members.items()
        if hasattr(member, "__get__")
        if not name.startswith("_")
        if not name.endswith("_request")  # methods that scikit-learn generates
        if member.__doc__ or not inspect.getdoc(getattr(found, name))  # inherited
    ]


ALL = [name for path in PUBLIC for name in with_methods(path)]


@pytest.mark.parametrize("path", ALL)
def test_docstring_is_numpydoc(path):
    ignored = IGNORED if path in PUBLIC else IGNORED | IGNORED_IN_METHODS
    errors = [e for e in validate(path)["errors"] if e[0] not in ignored]
    assert not errors


@pytest.mark.parametrize("path", PUBLIC)
def test_see_also_names_other_objects(path):
    found = locate(path)
    module = path.rpartition(".")[0]
    for links, _ in FunctionDoc(found)["See Also"]:
        for name, _ in links:
            named = locate(f"{module}.{name}") or locate(name)
            assert named not in (None, found), name


def test_reference_lists_all_public_names():
    listed, module = [], None
    for line in (DOCS / "reference.md").read_text().splitlines():
        if heading := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = heading[1]
        elif entry := re.fullmatch(r"   (\w+)", line):
            listed.append(f"{module}.{entry[1]}")
    assert sorted(listed) == sorted(PUBLIC)


@pytest.mark.parametrize("path", [p for p in ALL if callable(locate(p))])
def test_documented_defaults_match_the_signature(path):
    parameters = inspect.signature(locate(path)).parameters
    for documented in FunctionDoc(locate(path))["Parameters"]:
        if documented.name in parameters:
            default = parameters[documented.name].default
            stated = re.search(r"default=(.*)$", documented.type)
            has_default = default is not inspect.Parameter.empty
            assert has_default == (bool(stated) or documented.type == "None")
            if stated:
                assert stated[1] in (repr(default), f'"{default}"'), documented.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_have_targets(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert page.name != "README.md" or links
    missing = [
        link
        for link in links
        if not (link.startswith("http") or BUILT & set(Path(link).parts))
        and not (page.parent / link).exists()
    ]
    assert not missing
