"""What each tokenizer of a search costs, and what it loses."""

import numpy as np

from sktok.metrics import mean_rate_and_mse
from sktok.plotting._axes import legend_above, make_axes, palette, plain_log_labels

_MOST_LABELS = 60  # more would take long to place, and hide each other
_PLACES = [  # for a label, in points from its point, by preference
    (distance * x, distance * y)
    for distance in (4, 9, 16, 24)
    for x, y in [(1, 1), (-1, -1), (1, -1), (-1, 1), (0, 2), (0, -2), (2, 0), (-2, 0)]
]


class RateDistortionDisplay:
    """What each tokenizer of a search costs, and what it loses.

    Make it by `from_cv_results`.

    Parameters
    ----------
    rate : ndarray of shape (n_candidates,)
        Bits per sample.

    mse : ndarray of shape (n_candidates,)
        Mean squared errors.

    labels : list of str
        What to write at each point.

    unit : str or None, default=None
        Unit of the signal, for the axis.

    names : str, default="candidates"
        What the labels stand for, for the legend.

    best_index : int or None, default=None
        The candidate that was chosen, to draw a ring around.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes that were drawn on.

    figure_ : matplotlib Figure
        Figure that holds them.

    points_ : matplotlib PathCollection
        One point for each candidate.

    front_ : matplotlib Line2D
        The candidates that no other beats in both.

    chosen_ : matplotlib PathCollection or None
        The ring around the candidate that was chosen.

    rmse_axis_ : matplotlib SecondaryAxis or None
        The axis on the right that has the root of the error in µV, for a signal in mV.

    See Also
    --------
    sktok.metrics.lowest_rate_within : Chooses one of them.

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
            Unit of the signal, for the axis.

        best_index : int or None, default=None
            The candidate to draw a ring around, such as `best_index_` of the search.

        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        display : RateDistortionDisplay
            What was drawn.

        Raises
        ------
        ValueError
            If the search has no such scores, or no candidate `best_index`.
        """
        bits, error = mean_rate_and_mse(cv_results, rate=rate, mse=mse)
        if best_index is not None and best_index not in range(len(bits)):
            raise ValueError(
                f"best_index={best_index!r}: expected a candidate, 0 to "
                f"{len(bits) - 1}, or None."
            )
        names, labels = _names_and_labels(cv_results["params"])
        return cls(
            bits, error, labels, unit=unit, names=names, best_index=best_index
        ).plot(ax=ax, **kwargs)

    def plot(self, ax=None, *, points_kwargs=None, front_kwargs=None):
        """Draw the points, their labels, and the front.

        Labels keep clear of each other at the size that the figure has now. Of more
        than 60 candidates, only some of the front and the chosen one have a label.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw on; `None` makes a new figure.

        points_kwargs : dict or None, default=None
            Passed on to `Axes.scatter`.

        front_kwargs : dict or None, default=None
            Passed on to `Axes.step` for the front.

        Returns
        -------
        display : RateDistortionDisplay
            This display.
        """
        self.figure_, self.ax_ = make_axes(ax, figsize=(8, 4))
        colors = palette(self.ax_)
        drawn = np.flatnonzero(np.isfinite(self.rate + self.mse))  # scores may be NaN
        front = drawn[_front(self.rate[drawn], self.mse[drawn])]
        front_style = {
            "color": colors["signal"],
            "linewidth": 1.0,
            "where": "post",
            "label": "lowest error for the rate",
        }
        (self.front_,) = self.ax_.step(
            self.rate[front], self.mse[front], **front_style | (front_kwargs or {})
        )
        points = np.column_stack([self.rate, self.mse])[drawn]
        points_style = {"color": colors["accent"], "zorder": 3, "label": self.names}
        self.points_ = self.ax_.scatter(
            *points.T, **points_style | (points_kwargs or {})
        )
        self.chosen_ = None
        if self.best_index is not None:
            self.chosen_ = self.ax_.scatter(
                self.rate[self.best_index],
                self.mse[self.best_index],
                s=140,
                facecolors="none",
                edgecolors=colors["ink"],
                label="chosen",
            )
        self._describe_axes(is_log=(points[:, 1] > 0).any())
        self._annotate(self._labelled(drawn, front), points)
        return self

    def _labelled(self, drawn, front):
        """The candidates to label: all, or some of the front if there are too many."""
        if len(drawn) <= _MOST_LABELS:
            return drawn
        some = front[:: -(-len(front) // _MOST_LABELS)]
        chosen = [] if self.best_index is None else [self.best_index]
        return np.intersect1d(drawn, [*some, *chosen])

    def _describe_axes(self, *, is_log):
        """Scales, labels and legend."""
        if is_log:  # else there is nothing to take a logarithm of
            self.ax_.set_yscale("log")
        self.ax_.set_xlabel("rate (bits per sample)")
        unit = f" ({self.unit}²)" if self.unit else ""
        self.ax_.set_ylabel(f"mean squared error{unit}")
        self.ax_.margins(0.1)
        self.rmse_axis_ = None
        if self.unit == "mV" and is_log:
            self.rmse_axis_ = self.ax_.secondary_yaxis(
                "right", functions=(_to_microvolts, _to_square_millivolts)
            )
            self.rmse_axis_.set_ylabel("root mean squared error (µV)")
            plain_log_labels(self.rmse_axis_.yaxis)
        legend_above(self.ax_)

    def _annotate(self, candidates, points):
        """Write each label at the first place beside its point that is free."""
        from matplotlib.transforms import Bbox

        self.ax_.get_figure(root=True).draw_without_rendering()  # settles the layout
        pixels = self.ax_.transData.transform(points)
        taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in pixels]
        for i in candidates:
            text = self.ax_.annotate(
                self.labels[i],
                (self.rate[i], self.mse[i]),
                xytext=(0, 0),
                textcoords="offset points",
                fontsize=8,
            )
            for place in _PLACES:
                _put_beside(text, place)
                extent = text.get_window_extent().padded(1)
                inside = all(
                    self.ax_.bbox.contains(*end) for end in extent.get_points()
                )
                if inside and not extent.count_overlaps(taken):
                    break
            else:
                _put_beside(text, _PLACES[0])
            taken.append(text.get_window_extent().padded(1))


def _put_beside(text, place):
    """Move a label by an offset in points, away from its point."""
    x, y = place
    text.set_position(place)
    text.set_horizontalalignment("left" if x > 0 else "right" if x < 0 else "center")
    text.set_verticalalignment("bottom" if y > 0 else "top" if y < 0 else "center")


def _front(rate, mse):
    """The candidates that no other beats in both, by ascending rate."""
    order = np.lexsort([mse, rate])
    lowest = np.minimum.accumulate(mse[order])
    return order[np.diff(lowest, prepend=np.inf) < 0]


def _names_and_labels(params):
    """The parameters that vary, and their values for each candidate."""
    names = list(dict.fromkeys(name for candidate in params for name in candidate))
    varying = [
        name for name in names if len({str(p.get(name, "")) for p in params}) > 1
    ]
    varying = varying or names
    labels = [", ".join(str(p[n]) for n in varying if n in p) for p in params]
    return ", ".join(name.rsplit("__")[-1] for name in varying), labels


def _to_microvolts(mse):
    return 1000 * np.sqrt(np.abs(mse))


def _to_square_millivolts(rmse):
    """Inverse of `_to_microvolts`."""
    return np.square(rmse / 1000)
