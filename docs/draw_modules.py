"""Draw the modules of sktok and their imports, from the source code.

Each module or package at the top level is one node. An arrow leads from a module to the
modules that it imports, anywhere in its files.
"""

import ast
from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt
import networkx as nx

PACKAGE = Path(__file__).parents[1] / "sktok"


def imports(path):
    """Top-level modules of sktok that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "sktok":
            names = [f"sktok.{name.name}" for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            root, _, module = name.partition(".")
            if root == "sktok" and module:
                yield module.split(".")[0]


def module_graph():
    """Graph of imports, without arrows that follow from others."""
    graph = nx.DiGraph()
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if module not in ("__init__", "__main__"):
            graph.add_node(module)
            graph.add_edges_from((module, name) for name in imports(path))
    graph.remove_nodes_from([name for name in graph if not is_module(name)])
    graph.remove_edges_from(nx.selfloop_edges(graph))
    return reduced(graph)


def is_module(name):
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()


def reduced(graph):
    """Transitive reduction; of each cycle, the arrow that closes it is removed.

    Packages that import each other inside functions can form a cycle.
    """
    graph = graph.copy()
    while not nx.is_directed_acyclic_graph(graph):
        graph.remove_edge(*nx.find_cycle(graph)[-1])
    return nx.transitive_reduction(graph)


def with_bends(graph):
    """The graph by layers, with a bend where an arrow crosses a layer."""
    layer = {
        module: depth
        for depth, layer in enumerate(nx.topological_generations(graph))
        for module in layer
    }
    nodes = nx.DiGraph()
    nodes.add_nodes_from((module, {"layer": layer[module]}) for module in graph)
    for module, imported in graph.edges:
        between = range(layer[module] + 1, layer[imported])
        bends = [(module, imported, depth) for depth in between]
        nodes.add_nodes_from((bend, {"layer": bend[2]}) for bend in bends)
        nx.add_path(nodes, [module, *bends, imported])
    return nodes


def positions(nodes, n_sweeps=30):
    """Positions of modules and bends, each near the nodes that it is connected to."""
    layers = {}
    for node, depth in sorted(nodes.nodes(data="layer"), key=str):
        layers.setdefault(depth, []).append(node)
    x = {n: i / len(layer) for layer in layers.values() for i, n in enumerate(layer)}
    for sweep in range(n_sweeps):
        down = sweep % 2 == 0
        above = nodes.pred if down else nodes.succ
        for depth in sorted(layers, reverse=not down):
            middle = {
                n: mean([x[m] for m in above[n]] or [x[n]]) for n in layers[depth]
            }
            layers[depth].sort(key=middle.get)
            for i, node in enumerate(layers[depth]):
                x[node] = (i + 0.5) / len(layers[depth])
    return {node: (x[node], -nodes.nodes[node]["layer"]) for node in nodes}


def draw(path):
    """Write the diagram; public modules have black frames."""
    graph = module_graph()
    nodes = with_bends(graph)
    place = positions(nodes)
    figure, ax = plt.subplots(figsize=(10, 8), layout="constrained")
    ax.set(xlim=(0, 1), ylim=(min(y for _, y in place.values()) - 0.5, 0.5))
    ax.axis("off")
    frames = {}
    for module in graph:
        private = module.startswith("_")
        frame = {
            "boxstyle": "round,pad=0.35",
            "facecolor": "white",
            "edgecolor": "0.7" if private else "black",
        }
        text = ax.text(
            *place[module],
            module,
            ha="center",
            va="center",
            family="monospace",
            color="0.35" if private else "black",
            bbox=frame,
        )
        frames[module] = text.get_bbox_patch()
    for start, end in nodes.edges:
        style = {
            "arrowstyle": "-|>" if end in frames else "-",
            "color": "0.6",
            "patchA": frames.get(start),
            "patchB": frames.get(end),
            "shrinkA": 0,
            "shrinkB": 0,
        }
        ax.annotate("", xy=place[end], xytext=place[start], arrowprops=style)
    figure.savefig(path)
    plt.close(figure)
