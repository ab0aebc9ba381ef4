"""Draw the modules of sktok, and what imports what, from the source itself."""

import ast
from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt
import networkx as nx

PACKAGE = Path(__file__).parents[1] / "sktok"


def imports(path):
    """Names of the modules of sktok that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            root, _, module = node.module.partition(".")
            if root == "sktok":
                names = [module] if module else [name.name for name in node.names]
                yield from (name.split(".")[0] for name in names)


def module_graph():
    """Arrows from each module to those it imports, without those that others imply."""
    graph = nx.DiGraph()
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if module not in ("__init__", "__main__"):
            graph.add_node(module)
            graph.add_edges_from((module, name) for name in imports(path))
    graph.remove_nodes_from([name for name in graph if not is_module(name)])
    graph.remove_edges_from(nx.selfloop_edges(graph))
    return nx.transitive_reduction(graph)


def is_module(name):
    return (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").exists()


def bent(graph):
    """The graph by layers, with a bend wherever an arrow passes a layer."""
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
    """Places of modules and bends: each near those it hangs together with."""
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
    """Write the picture; public modules are in black frames."""
    graph = module_graph()
    nodes = bent(graph)
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
