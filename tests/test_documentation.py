"""Public docstrings are numpydoc and say what the signatures say; links lead on."""

import inspect
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
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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
    "EX01",  # examples stand on classes and functions
    "GL01",  # the summary begins on the first line, as in scikit-learn
    "RT02",  # `self : AmplitudeScaler` is scikit-learn's way
    "RT05",  # shapes do not end in a full stop
    "SA01",  # methods need no See Also
    "SS05",  # "Names of the tokens" is a fine summary
    "YD01",
}


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
    errors = [e for e in validate(path)["errors"] if e[0] not in IGNORED]
    assert not errors


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
        if not link.startswith("http") and not (page.parent / link).exists()
    ]
    assert not missing
