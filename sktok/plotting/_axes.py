"""Shared parts of the displays: axes, colours, legends, collections, ECG paper."""

import math

import numpy as np

from sktok._extras import needs_extra
from sktok._rows import require_fs

# Squares of ECG paper: seconds, millivolts, line width, opacity
_SQUARES = (0.04, 0.1, 0.4, 0.25), (0.2, 0.5, 0.7, 0.4)
_PAPER = {"colors": "#d9534f", "zorder": 0.5}  # translucent, for any background
_MIN_SPACING = 4.5  # points between grid lines; closer lines blur into each other
_ON_LIGHT = {"ink": "0.15", "signal": "0.65", "accent": "#8b0000", "faint": "0.85"}
_ON_DARK = {"ink": "0.9", "signal": "0.45", "accent": "#ff9d8c", "faint": "0.25"}


def new_axes(n_rows=1, **kwargs):
    """Axes in a new figure, without the upper and right spines."""
    with needs_extra("plot"):
        import matplotlib.pyplot as plt
    with plt.rc_context({"axes.spines.top": False, "axes.spines.right": False}):
        return plt.subplots(n_rows, layout="constrained", **kwargs)[1]


def _palette(ax):
    """Colours by purpose, chosen for contrast with the colour behind the axes."""
    parts = ax, ax.figure, ax.get_figure(root=True)  # axes may be transparent
    faces = [part.get_facecolor() for part in parts]
    background = next((face for face in faces if face[3] > 0), faces[-1])
    colors = _ON_LIGHT if lightness(background) > 0.5 else _ON_DARK
    return colors | {"background": background}


def styled(ax, style, kwargs=None, **changes):
    """A style with colours of the palette; `kwargs` of the user take precedence."""
    style, palette = style | changes, _palette(ax)
    colors = {k: palette.get(v, v) for k, v in style.items() if "color" in k}
    return style | colors | (kwargs or {})


def lightness(rgba):
    """Luma of colours, between 0 and 1: their value in greyscale."""
    return np.asarray(rgba)[..., :3] @ [0.299, 0.587, 0.114]


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
        """Store and return the axes to draw on, new ones if `ax` is None."""
        self.ax_ = new_axes(figsize=figsize) if ax is None else ax
        self.figure_ = self.ax_.figure
        return self.ax_

    def _plot(self, x, y, style, kwargs=None, **changes):
        """Draw a line."""
        style = styled(self.ax_, style, kwargs, **changes)
        return self.ax_.plot(x, y, **style)[0]

    def _add(self, kind, shapes, style, kwargs=None):
        """Draw a `LineCollection` or `PolyCollection`; keep the limits of the axes."""
        from matplotlib import collections

        style = styled(self.ax_, style, kwargs)
        collection = getattr(collections, kind)(shapes, **style)
        return self.ax_.add_collection(collection, autolim=False)

    def _add_legend(self, handles=None):
        """Put a legend in one row above the right end of the axes, off the curves."""
        place = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderpad": 0.1}
        self.ax_.legend(handles=handles, ncols=9, frameon=False, **place)

    def _points_per_unit(self):
        """Length in points of one unit along x and along y, at the current size."""
        points = 72 / self.ax_.get_figure(root=True).dpi * self.ax_.bbox.size
        return points / np.abs(self.ax_.viewLim.size)


class SignalDisplay(Display):
    """Base class of displays of a signal with `fs` and `unit`, which may be None."""

    def _to_time(self, samples):
        """Seconds, or samples if the sampling frequency is not known."""
        return samples / (self.fs or 1)

    def _wants_ecg_paper(self, paper):
        """Check `fs` and `ecg_paper`; whether to draw ECG paper."""
        require_fs(self.fs)
        if paper not in ("auto", True, False):
            raise ValueError(f'ecg_paper={paper!r}: expected "auto", True or False.')
        is_known = bool(self.fs) and self.unit == "mV"
        if paper is True and not is_known:
            raise ValueError(
                f"ecg_paper=True with fs={self.fs} and unit={self.unit!r}, expected "
                'seconds and millivolts: give fs and unit="mV".'
            )
        return is_known and bool(paper)

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
            style = {"linewidths": linewidth, "alpha": alpha}
            self._add("LineCollection", lines, _PAPER | style)


def _multiples(step, low, high):
    """The multiples of a step from `low` to `high`, with a tolerance for rounding."""
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return step * np.arange(first, last + 1)
