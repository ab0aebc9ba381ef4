"""Rate and distortion of the tokenizers of a search."""

import math

import numpy as np

from sktok.metrics._selection import mean_rate_and_mse
from sktok.plotting._axes import Display, plain_log_labels, styled, with_unit

_MAX_LABELS = 60  # more take long to place, and would hide each other
_PLACES = [  # offsets of a label from its point in points, by preference
    (distance * x, distance * y)
    for distance in (4, 9, 16, 24)
    for x, y in [(1, 1), (-1, -1), (1, -1), (-1, 1), (0, 2), (0, -2), (2, 0), (-2, 0)]
]
_FRONT = {"color": "signal", "linewidth": 1, "where": "post"}
_POINTS = {"color": "accent", "zorder": 3}
_RING = {"s": 140, "facecolors": "none", "edgecolors": "ink", "label": "chosen"}


class RateDistortionDisplay(Display):
    """Rate and distortion of the tokenizers of a search.

    Create it with `from_cv_results`.

    Parameters
    ----------
    rate : ndarray of shape (n_candidates,)
        Rate in bits per sample.

    mse : ndarray of shape (n_candidates,)
        Mean squared error.

    labels : list of str
        Text at each point.

    unit : str or None, default=None
        Unit of the signal, shown on the y axis.

    names : str, default="candidates"
        Meaning of the labels, shown in the legend.

    best_index : int or None, default=None
        Index of the chosen candidate, marked by a ring.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.

    figure_ : matplotlib Figure
        Figure that contains the axes.

    points_ : matplotlib PathCollection
        One point for each candidate.

    front_ : matplotlib Line2D
        Candidates on the Pareto front.

    chosen_ : matplotlib PathCollection or None
        Ring around the chosen candidate.

    rmse_axis_ : matplotlib SecondaryAxis or None
        Axis on the right: root mean squared error in µV, for a signal in mV.

    See Also
    --------
    sktok.metrics.lowest_rate_within : Chooses the candidate of lowest rate.

    Examples
    --------
    >>> from sktok.plotting import RateDistortionDisplay
    >>> cv_results = {
    ...     "params": [{"segment__block_size": 5}, {"segment__block_size": 10}],
    ...     "mean_test_neg_bits_per_sample": [-1.4, -0.7],
    ...     "mean_test_neg_reconstruction_mse": [-1e-5, -4e-5],
    ... }
    >>> display = RateDistortionDisplay.from_cv_results(cv_results, unit="mV")
    >>> display.labels
    ['5', '10']
    """

    def __init__(
        self, rate, mse, labels, *, unit=None, names="candidates", best_index=None
    ):
        self.rate = rate
        self.mse = mse
        self.labels = labels
        self.unit = unit
        self.names = names
        self.best_index = best_index

    @classmethod
    def from_cv_results(
        cls,
        cv_results,
        *,
        rate="neg_bits_per_sample",
        mse="neg_reconstruction_mse",
        unit=None,
        best_index=None,
        ax=None,
        **kwargs,
    ):
        """Draw the `cv_results_` of a search.

        Parameters
        ----------
        cv_results : dict
            `cv_results_` of a search with both scorers.

        rate : str, default="neg_bits_per_sample"
            Name in ``scoring`` of the scorer
            :func:`~sktok.metrics.neg_bits_per_sample`.

        mse : str, default="neg_reconstruction_mse"
            Name in ``scoring`` of the scorer
            :func:`~sktok.metrics.neg_reconstruction_mse`.

        unit : str or None, default=None
            Unit of the signal, shown on the y axis.

        best_index : int or None, default=None
            Candidate to mark by a ring, for example `best_index_` of the search.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        **kwargs : dict
            Passed to `plot`.

        Returns
        -------
        display : RateDistortionDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the search lacks one of the scores or the candidate `best_index`.
        """
        bits, error = mean_rate_and_mse(cv_results, rate=rate, mse=mse)
        if best_index is not None and best_index not in range(len(bits)):
            expected = f"expected a candidate from 0 to {len(bits) - 1}, or None."
            raise ValueError(f"best_index={best_index!r}: {expected}")
        names, labels = _names_and_labels(cv_results["params"])
        labelled = {"names": names, "unit": unit, "best_index": best_index}
        return cls(bits, error, labels, **labelled).plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, points_kwargs=None, front_kwargs=None):
        """Draw the points, their labels, and the front.

        Labels do not overlap at the current size of the figure. With more than 60
        candidates, only the chosen one and some of the front are labelled.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` creates a new figure.

        points_kwargs : dict or None, default=None
            Passed to `Axes.scatter`.

        front_kwargs : dict or None, default=None
            Passed to `Axes.step` for the front.

        Returns
        -------
        display : RateDistortionDisplay
            This display.
        """
        ax = self._set_axes(ax, figsize=(8, 4))
        drawn = np.flatnonzero(np.isfinite(self.rate + self.mse))  # scores may be NaN
        points = np.column_stack([self.rate, self.mse])
        front = drawn[_front(*points[drawn].T)]
        style = styled(ax, _FRONT, front_kwargs, label="lowest error for this rate")
        (self.front_,) = ax.step(*points[front].T, **style)
        style = styled(ax, _POINTS, points_kwargs, label=self.names)
        self.points_ = ax.scatter(*points[drawn].T, **style)
        self.chosen_ = None
        if self.best_index is not None:
            self.chosen_ = ax.scatter(*points[self.best_index], **styled(ax, _RING))
        self._describe_axes(is_log=(self.mse[drawn] > 0).any())
        labelled = drawn
        if len(drawn) > _MAX_LABELS:
            some = front[:: math.ceil(len(front) / _MAX_LABELS)]
            labelled = drawn[np.isin(drawn, some) | (drawn == self.best_index)]
        self._annotate(labelled, points[drawn])
        return self

    def _describe_axes(self, *, is_log):
        """Set scales, labels, the axis in µV, and the legend."""
        if is_log:
            self.ax_.set_yscale("log")
        unit = f"{self.unit}²" if self.unit else None
        self.ax_.set_xlabel("rate (bits per sample)")
        self.ax_.set_ylabel(with_unit("mean squared error", unit))
        self.ax_.margins(0.1)
        self.rmse_axis_ = None
        if self.unit == "mV" and is_log:
            functions = _to_microvolts, _to_square_millivolts
            self.rmse_axis_ = self.ax_.secondary_yaxis("right", functions=functions)
            self.rmse_axis_.set_ylabel("root mean squared error (µV)")
            plain_log_labels(self.rmse_axis_.yaxis)
        self._add_legend()

    def _annotate(self, candidates, points):
        """Write each label at the first free place next to its point."""
        from matplotlib.transforms import Bbox

        self.ax_.get_figure(root=True).draw_without_rendering()  # fixes the layout
        pixels = self.ax_.transData.transform(points)
        taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in pixels]
        style = {"xytext": (0, 0), "textcoords": "offset points", "fontsize": 8}
        for i in candidates:
            point = self.rate[i], self.mse[i]
            text = self.ax_.annotate(self.labels[i], point, **style)
            for x, y in [*_PLACES, _PLACES[0]]:  # the first one if none is free
                ha = "left" if x > 0 else "right" if x < 0 else "center"
                va = "bottom" if y > 0 else "top" if y < 0 else "center"
                text.set(position=(x, y), ha=ha, va=va)
                extent = text.get_window_extent().padded(1)
                is_inside = all(map(self.ax_.bbox.contains, *extent.get_points().T))
                if is_inside and not extent.count_overlaps(taken):
                    break
            taken.append(extent)


def _front(rate, mse):
    """The candidates with the lowest error so far, by ascending rate."""
    order = np.lexsort([mse, rate])
    lowest = np.minimum.accumulate(mse[order])
    return order[np.diff(lowest, prepend=np.inf) < 0]


def _names_and_labels(params):
    """Names of the parameters that vary, and a label for each candidate."""
    names = list(dict.fromkeys(name for candidate in params for name in candidate))
    values = {name: {str(p.get(name, "")) for p in params} for name in names}
    varying = [name for name in names if len(values[name]) > 1] or names
    labels = [", ".join(str(p[n]) for n in varying if n in p) for p in params]
    return ", ".join(name.rsplit("__")[-1] for name in varying), labels


def _to_microvolts(mse):
    return 1000 * np.sqrt(np.abs(mse))


def _to_square_millivolts(rmse):
    """Inverse of `_to_microvolts`."""
    return np.square(rmse / 1000)
