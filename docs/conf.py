"""Configuration of Sphinx, for `make docs`."""

import sys
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder

import sktok

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

project = "sktok"
author = "the sktok developers"
copyright = author
release = version = sktok.__version__
extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]
default_role = "code"  # for single backticks in docstrings

myst_heading_anchors = 3
highlight_options = {"python": {"stripnl": True}}  # doctests end in an empty line
copybutton_exclude = ".linenos, .gp, .go"  # do not copy prompts and output

autodoc_typehints = "none"
numpydoc_show_class_members = False  # autodoc lists them

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": "/plot_",
    "ignore_pattern": r"^(?!.*plot_)",
    "within_subsection_order": ExplicitOrder(
        [
            f"plot_{name}.py"
            for name in (
                "tokenize_ecg",
                "block_size",
                "n_tokens",
                "bins_of_latents",
                "bins_or_codebook",
                "search_by_patient",
                "scale_tokens",
                "own_folder",
                "own_record",
                "own_network",
                "corpus",
                "stream",
            )
        ]
    ),
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sktok",),
    "reference_url": {"sktok": None},
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,  # that page loads scripts from the web
    "min_reported_time": 0,
}

html_theme = "pydata_sphinx_theme"
html_title = "sktok"
html_static_path = ["_static"]
html_css_files = ["sktok.css"]
html_show_sourcelink = False
html_sidebars = {  # pages without a section
    page: [] for page in ("command_line", "glossary", "contributing", "citing")
}
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}


def draw_modules(app):
    """Draw the diagram in contributing.md."""
    import matplotlib

    matplotlib.use("Agg")
    from draw_modules import draw

    (HERE / "generated").mkdir(exist_ok=True)
    draw(HERE / "generated" / "modules.svg")


def setup(app):
    app.connect("builder-inited", draw_modules)
