"""Who may import whom: the tree is the architecture."""

import ast
from pathlib import Path

import pytest

import sktok

ROOT = Path(sktok.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
ESTIMATORS = {
    "sktok._blocks",
    "sktok._gain_shape",
    "sktok._lead_selection",
    "sktok._quantizers",
    "sktok._recipes",
    "sktok._resampling",
    "sktok._scaling",
    "sktok._tokenizer",
}
# Packages that work on arrays and on any transformer, not on those of sktok.
WITHOUT_ESTIMATORS = (
    "_torch coding corpus datasets metrics plotting _pretrained".split()
)


def name_of(path):
    parts = ["sktok", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(part for part in parts if part != "__init__")


def imported(tree, *, anywhere):
    """Names of imported modules; `from a import b` gives a and a.b."""
    found = set()
    for node in ast.walk(tree) if anywhere else at_module_level(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    return found


def at_module_level(tree):
    """All nodes that run at import: everything but the bodies of functions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from at_module_level(node)


def within(name, packages):
    return any(name == p or name.startswith(f"{p}.") for p in packages)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_torch_is_imported_in_its_rooms_only(path):
    rooms = ["sktok._torch", "sktok.networks"]
    if within(name_of(path), rooms):
        return
    names = imported(ast.parse(path.read_text()), anywhere=False)
    assert not [name for name in names if within(name, ["torch", *rooms])]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_works_on_arrays_knows_no_estimator(path):
    rooms = [f"sktok.{room}" for room in WITHOUT_ESTIMATORS]
    if not within(name_of(path), rooms):
        return
    names = imported(ast.parse(path.read_text()), anywhere=True)
    public = {f"sktok.{name}" for name in sktok.__all__}
    assert not [name for name in names if within(name, ESTIMATORS | public)]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_private_names_of_scikit_learn_have_one_room(path):
    if path.name == "_sklearn_compat.py":
        return
    names = imported(ast.parse(path.read_text()), anywhere=True)
    private = [n for n in names if within(n, ["sklearn"]) and "._" in n]
    assert not private


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_nobody_asks_for_the_class_of_a_quantizer(path):
    if path.parent.name == "_quantizers":
        return
    checked = [
        ast.unparse(node.args[1])
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", None) in ("isinstance", "issubclass")
    ]
    assert not [c for c in checked if "BinQuantizer" in c or "VectorQuantizer" in c]
