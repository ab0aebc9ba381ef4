"""Axes to draw on: made if there are none, their colours, legend and ECG paper."""

import math

import numpy as np

_SQUARES = (  # of ECG paper: seconds, millivolts, line width, opacity
    (0.04, 0.1, 0.4, 0.25),
    (0.2, 0.5, 0.7, 0.4),
)
_CLOSEST_LINES = 4.5  # points: closer lines of a grid would blur into each other
_ON_LIGHT = {"ink": "0.15", "signal": "0.65", "accent": "#8b0000", "faint": "0.85"}
_ON_DARK = {"ink": "0.9", "signal": "0.45", "accent": "#ff9d8c", "faint": "0.25"}
_PAPER = "#d9534f"  # translucent: pale pink on white, dark red on black


def import_pyplot():
    """pyplot, or the word how to get it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Plotting needs matplotlib: pip install 'sktok[plot]'"
        ) from error
    return plt


def make_axes(ax, figsize=(8, 3)):
    """The figure and axes to draw on, made if there are none."""
    plt = import_pyplot()
    if ax is None:
        _, ax = plt.subplots(figsize=figsize, layout="constrained")
        ax.spines[["top", "right"]].set_visible(False)
    return ax.figure, ax


def palette(ax):
    """Colours by what they are for, that stand out from the background."""
    return _ON_LIGHT if lightness(background(ax)) > 0.5 else _ON_DARK


def background(ax):
    """The colour behind the axes, which they and a subfigure may let through."""
    for face in ax.get_facecolor(), ax.figure.get_facecolor():
        if face[3] > 0:
            return face
    return ax.get_figure(root=True).get_facecolor()


def lightness(rgba):
    """Luma of colours, between 0 and 1: what is left of them in grey."""
    return np.asarray(rgba)[..., :3] @ [0.299, 0.587, 0.114]


def legend_above(ax, handles=None):
    """A legend in one row over the right end of the axes, where it hides no curve."""
    ax.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=9,
        frameon=False,
        borderpad=0.1,
    )


def plain_log_labels(axis):
    """Write the ticks of a logarithmic axis as plain numbers, and few of them."""
    from matplotlib.ticker import LogFormatter

    class PlainLogFormatter(LogFormatter):
        def __call__(self, x, pos=None):
            return f"{x:g}" if super().__call__(x, pos) else ""

    axis.set_major_formatter(PlainLogFormatter())
    axis.set_minor_formatter(PlainLogFormatter())


def points_per_unit(ax):
    """Length, in points, of one unit along x and along y, as the axes now are."""
    extent = ax.get_window_extent()
    points_per_pixel = 72 / ax.get_figure(root=True).dpi
    return (
        points_per_pixel * extent.width / np.ptp(ax.get_xlim()),
        points_per_pixel * extent.height / np.ptp(ax.get_ylim()),
    )


def wants_ecg_paper(ecg_paper, fs, unit):
    """Whether to draw ECG paper, which takes seconds and millivolts."""
    if ecg_paper not in ("auto", True, False):
        raise ValueError(f'ecg_paper={ecg_paper!r}: expected "auto", True or False.')
    is_known = bool(fs) and unit == "mV"
    if ecg_paper is True and not is_known:
        raise ValueError(
            f'ecg_paper=True with fs={fs} and unit={unit!r}: give fs and unit="mV", '
            "which its squares are measured in."
        )
    return is_known and bool(ecg_paper)


def draw_ecg_paper(ax, seconds, millivolts, *, offset=0.0):
    """The squares of ECG paper behind a part of the axes.

    Those of 0.04 s by 0.1 mV, and those of 0.2 s by 0.5 mV, are each left out where
    their lines would be too close to be told apart.

    Parameters
    ----------
    ax : matplotlib Axes
        Axes in seconds and millivolts, whose limits are settled.

    seconds, millivolts : tuple (low, high)
        The part to draw behind.

    offset : float, default=0.0
        Where 0 mV is on the axes.
    """
    from matplotlib.collections import LineCollection

    per_second, per_millivolt = points_per_unit(ax)
    (left, right), (bottom, top) = seconds, np.add(millivolts, offset)
    for width, height, linewidth, alpha in _SQUARES:
        if min(width * per_second, height * per_millivolt) < _CLOSEST_LINES:
            continue
        lines = [[(x, bottom), (x, top)] for x in _multiples(width, *seconds)]
        levels = offset + _multiples(height, *millivolts)
        lines += [[(left, y), (right, y)] for y in levels]
        grid = LineCollection(
            lines, colors=_PAPER, linewidths=linewidth, alpha=alpha, zorder=0.5
        )
        ax.add_collection(grid, autolim=False)


def _multiples(step, low, high):
    """The multiples of a step from `low` to `high`, whatever the rounding of floats."""
    tiny = 1e-6
    return step * np.arange(
        math.ceil(low / step - tiny), math.floor(high / step + tiny) + 1
    )
