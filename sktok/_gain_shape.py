"""Gain-shape quantisation: a window's offset and gain as tokens, then its shape."""

from numbers import Integral

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, validate_data

from sktok._disk import in_slices
from sktok._estimator import Estimator, feature_names
from sktok._rows import FLOATS, require_finite, require_plain, validate_tokens
from sktok._sklearn_compat import (
    HasMethods,
    Interval,
    WindowTransformerMixin,
    _fit_context,
)
from sktok._steps import clip_rates, vocabulary_size

_FARTHEST = 100.0  # times the typical range of a window: where the bins end
_FINEST = 1e-3  # times the typical range of a window: the smallest gain


def companded_offsets(lowest, typical, n_bins):
    """Lower edges of bins for the lowest samples of windows.

    They are equally spaced in ``asinh((offset - center) / typical)``: narrow around the
    median, and wide far from it.
    """
    center = np.median(lowest)
    farthest = max(_FARTHEST * typical, 2 * np.abs(lowest - center).max())
    end = np.arcsinh(farthest / typical)
    return center + typical * np.sinh(np.linspace(-end, end, n_bins))


def logarithmic_gains(ranges, typical, n_bins):
    """Upper edges of bins for the ranges of windows, equally spaced in logarithm."""
    farthest = max(_FARTHEST * typical, 2 * ranges.max())
    return np.geomspace(_FINEST * typical, farthest, n_bins)


def typical_range(ranges):
    """Median of the ranges of windows that are not flat; 1 if all are."""
    ranges = ranges[ranges > 0]
    return np.median(ranges) if ranges.size else 1.0


def limits(windows):
    """Lowest and highest sample of each window."""
    return windows.min(axis=1).astype(float), windows.max(axis=1).astype(float)


def offset_bins(lowest, offsets):
    """Index of the largest offset that is not above the lowest sample."""
    return np.searchsorted(offsets, lowest, side="right") - 1


def gain_and_shape(windows, offsets, gains):
    """Index of offset, index of gain, and the shape in [0, 1] of each window.

    ``windows == offsets[offset] + gains[gain] * shapes`` within float rounding.
    """
    lowest, highest = limits(windows)
    offset = offset_bins(lowest, offsets)
    gain = np.searchsorted(gains, highest - offsets[offset])
    beyond = (offset < 0) | (gain == len(gains))
    if beyond.any():
        raise ValueError(
            f"{beyond.sum()} of {len(windows)} windows lie beyond the bins of offset "
            f"and gain: one spans {lowest[beyond][0]:.3g} to {highest[beyond][0]:.3g}, "
            f"and the bins reach from {offsets[0]:.3g} to {offsets[-1] + gains[-1]:.3g}"
            f", for ranges up to {gains[-1]:.3g}. Is X in the unit seen in fit? Else "
            "fit on a signal that reaches as far."
        )
    shapes = windows - offsets[offset, np.newaxis]
    shapes /= gains[gain, np.newaxis]
    return offset, gain, shapes.astype(windows.dtype, copy=False)


class GainShapeTokenizer(WindowTransformerMixin, Estimator):
    """Tokens for a window's offset and gain, in front of the tokens of its shape.

    A window becomes the token of an offset just below its smallest sample, the token of
    a gain just above what is left of its largest, and the tokens that `tokenizer` makes
    of the shape: the window less that offset, over that gain, which lies within [0, 1].
    `inverse_transform` leads back to the signal's unit without anything beside the
    tokens, whatever the electrode, the device or the baseline. Since offset and gain
    are quantised before the shape is cut, the shape makes up for their rounding.

    Parameters
    ----------
    tokenizer : transformer or None, default=None
        Turns shapes, windows scaled to [0, 1], into tokens, and back by
        `inverse_transform`; with an attribute `n_tokens_`, of its own or of its last
        step. It is cloned. `None` takes :func:`make_tokenizer` as it is.

    n_bins : int, default=256
        Number of tokens for the offset, and number of tokens for the gain.

    Attributes
    ----------
    tokenizer_ : transformer
        The tokenizer of shapes, fitted.

    offsets_ : ndarray of float64, shape (n_bins,)
        The offset that each offset token stands for, in the unit of `X`, increasing:
        close together around those seen in `fit`, and wide apart far from them.

    gains_ : ndarray of float64, shape (n_bins,)
        The gain that each gain token stands for, in the unit of `X`, in geometric
        progression. The smallest serves a flat window.

    n_tokens_ : int
        Size of the vocabulary: tokens are in ``range(n_tokens_)``.

    token_ranges_ : dict of str to range
        The tokens of ``"offset"``, ``"gain"`` and ``"shape"``, which do not overlap.

    n_features_in_ : int
        Number of samples in a window seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X` seen in `fit`, if they are all strings.

    See Also
    --------
    AmplitudeScaler : One offset and gain for all windows.

    Notes
    -----
    Offsets and gains reach 100 times as far as the typical gain seen in `fit`, and at
    least twice as far as any seen there. The error of a window is in proportion to its
    gain, as that of one affine map for all windows is not.

    References
    ----------
    A. Gersho and R. M. Gray, "Vector Quantization and Signal Compression", 1992,
    section 12.10 (shape-gain VQ).

    Examples
    --------
    >>> from sktok import GainShapeTokenizer, make_tokenizer
    >>> from sktok.datasets import load_ecg
    >>> X = load_ecg().data
    >>> tokenizer = GainShapeTokenizer(make_tokenizer(max_steps=20, random_state=0))
    >>> tokens = tokenizer.fit_transform(X)
    >>> tokens.shape  # offset, gain, and 25 tokens for the shape
    (432, 27)
    >>> tokenizer.token_ranges_
    {'offset': range(0, 256), 'gain': range(256, 512), 'shape': range(512, 768)}
    >>> tokenizer.inverse_transform(tokens).shape
    (432, 250)
    """

    _parameter_constraints: dict = {
        "tokenizer": [HasMethods(["fit", "transform", "inverse_transform"]), None],
        "n_bins": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(self, tokenizer=None, *, n_bins=256):
        self.tokenizer = tokenizer
        self.n_bins = n_bins

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None):
        """Learn the bins of offset and gain, and fit the tokenizer to the shapes.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length)
            Windows of a signal, in its unit.

        y : None
            Ignored.

        Returns
        -------
        self : GainShapeTokenizer
            The fitted tokenizer.

        Raises
        ------
        ValueError
            If `X` is not finite or reaches further than floats do, or `tokenizer` does
            not make integer tokens.
        """
        from sktok._recipes import make_tokenizer

        self._reset()
        X = validate_data(self, require_plain(self, X, reset=True), dtype=FLOATS)
        lowest, highest = limits(X)
        with np.errstate(over="ignore", invalid="ignore"):
            typical = typical_range(highest - lowest)
            offsets = companded_offsets(lowest, typical, self.n_bins)
            ranges = highest - offsets[offset_bins(lowest, offsets)]
            gains = logarithmic_gains(ranges, typical, self.n_bins)
        require_finite(np.append(offsets, gains), X, "give it in a larger unit.")
        _, _, shapes = gain_and_shape(X, offsets, gains)
        tokenizer = make_tokenizer() if self.tokenizer is None else self.tokenizer
        tokenizer = clone(tokenizer).fit(shapes)
        self._n_shape_tokens = _tokens(tokenizer, shapes[:1]).shape[1]
        n_bins, n_shapes = self.n_bins, vocabulary_size(tokenizer)
        self.n_tokens_ = 2 * n_bins + n_shapes
        self.token_ranges_ = {
            "offset": range(n_bins),
            "gain": range(n_bins, 2 * n_bins),
            "shape": range(2 * n_bins, self.n_tokens_),
        }
        self.offsets_, self.gains_, self.tokenizer_ = offsets, gains, tokenizer
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "tokenizer_")

    @in_slices
    def transform(self, X):
        """Turn windows into tokens.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length)
            Windows as long as those seen in `fit`, in the same unit.

        Returns
        -------
        tokens : ndarray of int64, shape (n_windows, 2 + n_shape_tokens)
            Offset, gain and shape, each in its own of `token_ranges_`.

        Raises
        ------
        ValueError
            If the windows are not as long as those seen in `fit`, are not finite, or
            lie beyond the bins of offset and gain.
        """
        check_is_fitted(self)
        X = require_plain(self, X, reset=False)
        X = validate_data(self, X, reset=False, dtype=FLOATS)
        offset, gain, shapes = gain_and_shape(X, self.offsets_, self.gains_)
        tokens = np.column_stack([offset, gain, _tokens(self.tokenizer_, shapes)])
        return tokens + self._starts(tokens.shape[1])

    @in_slices
    def inverse_transform(self, X):
        """Rebuild windows from tokens.

        Parameters
        ----------
        X : array-like of int, shape (n_windows, 2 + n_shape_tokens)
            Tokens as `transform` gives them.

        Returns
        -------
        windows : ndarray of float64, shape (n_windows, window_length)
            The reconstruction, in the unit of the windows seen in `fit`.

        Raises
        ------
        TypeError
            If the tokens are not integers.
        ValueError
            If a token is outside the range for its place, or the rows have another
            length than `transform` gives.
        """
        check_is_fitted(self)
        tokens = validate_tokens(X, self.n_tokens_, 2 + self._n_shape_tokens)
        columns = {
            "offset": tokens[:, :1],
            "gain": tokens[:, 1:2],
            "shape": tokens[:, 2:],
        }
        for name, part in columns.items():
            expected = self.token_ranges_[name]
            if part.min() < expected.start or part.max() >= expected.stop:
                raise ValueError(
                    f"Tokens run from {part.min()} to {part.max()} where the {name} "
                    f"stands, expected {expected.start} to {expected.stop - 1}: a row "
                    "holds the tokens of offset, gain and shape, in this order."
                )
        tokens = tokens - self._starts(tokens.shape[1])
        shapes = self.tokenizer_.inverse_transform(tokens[:, 2:])
        return self.offsets_[tokens[:, :1]] + self.gains_[tokens[:, 1:2]] * shapes

    def _clip_rates(self, X):
        """What is cut off of the shapes, as `clip_rates` has it."""
        X = validate_data(self, X, reset=False, dtype=FLOATS)
        _, _, shapes = gain_and_shape(X, self.offsets_, self.gains_)
        return clip_rates(self.tokenizer_, shapes)

    def _starts(self, width):
        """The first token of the range that each of the columns is from."""
        offset, gain, shape = (part.start for part in self.token_ranges_.values())
        return np.repeat([offset, gain, shape], [1, 1, width - 2])

    def get_feature_names_out(self, input_features=None):
        """Names of the tokens of a window.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        names : ndarray of str, shape (2 + n_shape_tokens,)
            ``'offset'``, ``'gain'``, ``'shape0'``, ``'shape1'``, …
        """
        check_is_fitted(self)
        shapes = [f"shape{i}" for i in range(self._n_shape_tokens)]
        return feature_names(self, ["offset", "gain", *shapes], input_features)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # tokens are integers
        return tags


def _tokens(tokenizer, shapes):
    """What `tokenizer` makes of the shapes, if it is tokens."""
    tokens = np.asarray(tokenizer.transform(shapes))
    if tokens.dtype.kind not in "iu" or tokens.ndim != 2:
        raise ValueError(
            f"tokenizer={type(tokenizer).__name__} turns windows into {tokens.dtype} "
            f"of shape {tokens.shape}, expected integer tokens in rows, one for each "
            "window: end it with a quantiser, or take make_tokenizer()."
        )
    return tokens
