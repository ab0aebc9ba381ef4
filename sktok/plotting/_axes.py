"""Shared parts of the displays: axes, colours, legends, collections, ECG paper."""

import math

import numpy as np

from sktok._rows import require_fs

_SQUARES = (  # of ECG paper: seconds, millivolts, line width, opacity
    (0.04, 0.1, 0.4, 0.25),
    (0.2, 0.5, 0.7, 0.4),
)
_MIN_SPACING = 4.5  # points between grid lines; closer lines blur into each other
_ON_LIGHT = {"ink": "0.15", "signal": "0.65", "accent": "#8b0000", "faint": "0.85"}
_ON_DARK = {"ink": "0.9", "signal": "0.45", "accent": "#ff9d8c", "faint": "0.25"}
_PAPER = "#d9534f"  # translucent: pale pink on white, dark red on black


def new_axes(n_rows=1, **kwargs):
    """Axes in a new figure, without the upper and right spines."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Plotting needs matplotlib: pip install 'sktok[plot]'"
        ) from error
    _, axes = plt.subplots(n_rows, layout="constrained", **kwargs)
    for ax in np.ravel(axes):
        ax.spines[["top", "right"]].set_visible(False)
    return axes


def palette(ax):
    """Colours by purpose, chosen for contrast with the background."""
    return _ON_LIGHT if lightness(background(ax)) > 0.5 else _ON_DARK


def background(ax):
    """The colour behind the axes; axes and subfigures may be transparent."""
    for face in ax.get_facecolor(), ax.figure.get_facecolor():
        if face[3] > 0:
            return face
    return ax.get_figure(root=True).get_facecolor()


def lightness(rgba):
    """Luma of colours, between 0 and 1: their value in greyscale."""
    return np.asarray(rgba)[..., :3] @ [0.299, 0.587, 0.114]


def styled(kwargs, **defaults):
    """Default keyword arguments, replaced by those that the user gives."""
    return defaults | (kwargs or {})


def with_unit(name, unit):
    """Label of an axis."""
    return f"{name} ({unit})" if unit else name


def rectangles(left, right, bottom, top):
    """Corners of n rectangles from arrays of their edges: shape (n, 4, 2)."""
    return np.transpose([[left, right, right, left], [bottom, bottom, top, top]])


def plain_log_labels(axis):
    """Write few ticks on a logarithmic axis, as plain numbers."""
    from matplotlib.ticker import LogFormatter

    class PlainLogFormatter(LogFormatter):
        def __call__(self, x, pos=None):
            return f"{x:g}" if super().__call__(x, pos) else ""

    axis.set_major_formatter(PlainLogFormatter())
    axis.set_minor_formatter(PlainLogFormatter())


class Display:
    """Base class of the displays: `plot` draws on `ax_`, which is in `figure_`."""

    def _set_axes(self, ax, figsize=(8, 3)):
        """Store the axes to draw on, new ones if `ax` is None; return the palette."""
        self.ax_ = new_axes(figsize=figsize) if ax is None else ax
        self.figure_ = self.ax_.figure
        return palette(self.ax_)

    def _add_lines(self, lines, **style):
        """Draw lines without changing the limits of the axes."""
        from matplotlib.collections import LineCollection

        return self.ax_.add_collection(LineCollection(lines, **style), autolim=False)

    def _add_polygons(self, polygons, **style):
        """Draw polygons without changing the limits of the axes."""
        from matplotlib.collections import PolyCollection

        return self.ax_.add_collection(PolyCollection(polygons, **style), autolim=False)

    def _add_legend(self, handles=None):
        """Put a legend in one row above the right end of the axes, off the curves."""
        self.ax_.legend(
            handles=handles,
            loc="lower right",
            bbox_to_anchor=(1, 1),
            ncols=9,
            frameon=False,
            borderpad=0.1,
        )

    def _points_per_unit(self):
        """Length in points of one unit along x and along y, at the current size."""
        extent = self.ax_.get_window_extent()
        points_per_pixel = 72 / self.ax_.get_figure(root=True).dpi
        return (
            points_per_pixel * extent.width / np.ptp(self.ax_.get_xlim()),
            points_per_pixel * extent.height / np.ptp(self.ax_.get_ylim()),
        )


class SignalDisplay(Display):
    """Base class of displays of a signal with `fs` and `unit`, which may be None."""

    def _to_time(self, samples):
        """Seconds, or samples if the sampling frequency is not known."""
        return samples / (self.fs or 1)

    def _wants_ecg_paper(self, ecg_paper):
        """Check `fs` and `ecg_paper`; whether to draw ECG paper."""
        require_fs(self.fs)
        if ecg_paper not in ("auto", True, False):
            raise ValueError(
                f'ecg_paper={ecg_paper!r}: expected "auto", True or False.'
            )
        is_known = bool(self.fs) and self.unit == "mV"
        if ecg_paper is True and not is_known:
            raise ValueError(
                f"ecg_paper=True with fs={self.fs} and unit={self.unit!r}: give fs and "
                'unit="mV", because the squares are in seconds and millivolts.'
            )
        return is_known and bool(ecg_paper)

    def _draw_ecg_paper(self, seconds, millivolts, *, offset=0.0):
        """Draw the squares of ECG paper behind a part of the axes.

        There are squares of 0.04 s by 0.1 mV and of 0.2 s by 0.5 mV. Squares that would
        be too small to be distinguished are left out.

        Parameters
        ----------
        seconds, millivolts : tuple (low, high)
            The part to draw behind. The limits of the axes must be final.

        offset : float, default=0.0
            Position of 0 mV on the y axis.
        """
        per_second, per_millivolt = self._points_per_unit()
        (left, right), (bottom, top) = seconds, np.add(millivolts, offset)
        for width, height, linewidth, alpha in _SQUARES:
            if min(width * per_second, height * per_millivolt) < _MIN_SPACING:
                continue
            lines = [[(x, bottom), (x, top)] for x in _multiples(width, *seconds)]
            levels = offset + _multiples(height, *millivolts)
            lines += [[(left, y), (right, y)] for y in levels]
            style = {"linewidths": linewidth, "alpha": alpha, "zorder": 0.5}
            self._add_lines(lines, colors=_PAPER, **style)


def _multiples(step, low, high):
    """The multiples of a step from `low` to `high`, with a tolerance for rounding."""
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return step * np.arange(first, last + 1)
