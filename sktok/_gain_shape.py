"""Gain-shape quantisation: tokens for the offset, gain and shape of each window."""

import math
from functools import partial
from numbers import Integral

import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.utils import metadata_routing
from sklearn.utils.validation import check_is_fitted

from sktok._disk import in_slices
from sktok._estimator import Estimator, feature_names, names_by_lead
from sktok._recipes import make_tokenizer
from sktok._rows import WINDOWS, require_finite, validate_tokens, validate_windows
from sktok._sklearn_compat import (
    HasMethods,
    Interval,
    WindowTransformerMixin,
    _fit_context,
)
from sktok._steps import clip_rates, resize, token_starts, vocabulary_size

_FARTHEST = 100.0  # largest offset and gain, relative to the typical range of windows
_FINEST = 1e-3  # smallest gain, relative to the typical range of windows


def learn_bins(windows, n_bins):
    """Lower edges of bins of offsets, and upper edges of bins of gains.

    The offsets are equally spaced in ``asinh((offset - center) / typical)``: the bins
    are narrow around the median and wide far from it. The gains are a geometric
    progression. The typical range is the median range of the windows that are not flat.
    """
    lowest, highest = limits(windows)
    ranges = highest - lowest
    typical = np.median(ranges[ranges > 0]) if ranges.any() else 1.0
    center = np.median(lowest)
    farthest = max(_FARTHEST * typical, 2 * np.abs(lowest - center).max())
    end = np.arcsinh(farthest / typical)
    offsets = center + typical * np.sinh(np.linspace(-end, end, n_bins))
    largest = np.max(highest - offsets[offset_bins(lowest, offsets)])
    farthest = max(_FARTHEST * typical, 2 * largest)
    return offsets, np.geomspace(_FINEST * typical, farthest, n_bins)


def limits(windows):
    """Lowest and highest sample of each window."""
    return windows.min(axis=1).astype(float), windows.max(axis=1).astype(float)


def offset_bins(lowest, offsets):
    """Index of the largest offset that is not above the lowest sample."""
    return np.searchsorted(offsets, lowest, side="right") - 1


def gain_and_shape(windows, offsets, gains):
    """Index of the offset, index of the gain, and shape in [0, 1] of each window.

    ``windows == offsets[offset] + gains[gain] * shapes`` up to rounding.
    """
    lowest, highest = limits(windows)
    offset = offset_bins(lowest, offsets)
    gain = np.searchsorted(gains, highest - offsets[offset])
    beyond = (offset < 0) | (gain == len(gains))
    if beyond.any():
        raise ValueError(
            f"{beyond.sum()} of {len(windows)} windows are beyond the bins: the first "
            f"ranges from {lowest[beyond][0]:.3g} to {highest[beyond][0]:.3g}, and "
            f"they cover {offsets[0]:.3g} to {offsets[-1] + gains[-1]:.3g}, up to a "
            f"range of {gains[-1]:.3g}. Check the unit of X, or fit on such a signal."
        )
    shapes = windows - offsets[offset, np.newaxis]
    shapes /= gains[gain, np.newaxis]
    return offset, gain, shapes.astype(windows.dtype, copy=False)


def split_tokens(tokens, ranges):
    """Yield the offset, gain and shape tokens of windows, each counted from 0."""
    parts = np.split(tokens, [1, 2], axis=1)
    for part, (name, expected) in zip(parts, ranges.items(), strict=True):
        if part.min() < expected.start or part.max() >= expected.stop:
            raise ValueError(
                f"The {name} tokens run from {part.min()} to {part.max()}, expected "
                f"{expected.start} to {expected.stop - 1}: give offset, gain and shape."
            )
        yield part - expected.start


def shape_tokens(tokenizer, shapes):
    """The tokens of shapes; raise if the output of the tokenizer is not tokens."""
    tokens = np.asarray(tokenizer.transform(shapes))
    if tokens.dtype.kind not in "iu" or tokens.ndim != 2:
        raise ValueError(
            f"tokenizer={type(tokenizer).__name__} returns {tokens.dtype} of shape "
            f"{tokens.shape}, expected integer tokens: end it with a quantiser."
        )
    return tokens.astype(np.int64, copy=False)


class GainShapeTokenizer(WindowTransformerMixin, Estimator):
    """Encode each window as one offset token, one gain token and its shape tokens.

    The offset is the largest value of a grid that is not above the smallest sample of
    the window. The gain is the smallest value of a grid that is not below the largest
    sample minus the offset. The shape is ``(window - offset) / gain``; it is within
    [0, 1] and `tokenizer` encodes it.

    `inverse_transform` restores the signal in its unit from the tokens alone, for
    signals of any gain and baseline. The shape is computed with the quantised offset
    and gain, so it compensates for their quantisation error.

    Each lead of windows of several leads has its own offset, gain and shape tokens; one
    tokenizer encodes the shapes of all leads.

    Parameters
    ----------
    tokenizer : transformer or None, default=None
        Tokenizer of the shapes, which are windows scaled to [0, 1]. It has
        `inverse_transform`, and it or its last step has `n_tokens_`. It is cloned.
        `None` uses :func:`make_tokenizer` with its default parameters.

    n_bins : int, default=256
        Number of offset tokens, and number of gain tokens.

    Attributes
    ----------
    tokenizer_ : transformer
        Fitted tokenizer of the shapes.

    offsets_ : ndarray of float64, shape (n_bins,)
        Offset of each offset token, in the unit of `X`, increasing. The offsets are
        close together near those seen in `fit` and further apart far from them.

    gains_ : ndarray of float64, shape (n_bins,)
        Gain of each gain token, in the unit of `X`, in geometric progression. Flat
        windows have the smallest gain.

    n_tokens_ : int
        Size of the vocabulary: tokens are in ``range(n_tokens_)``.

    token_ranges_ : dict of str to range
        Ranges of the ``"offset"``, ``"gain"`` and ``"shape"`` tokens. They do not
        overlap.

    row_shape_ : tuple of int
        Shape of a window seen in `fit`.

    n_features_in_ : int
        Number of samples in a window seen in `fit`, of all leads.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X` seen in `fit`, if they are all strings.

    See Also
    --------
    AmplitudeScaler : Scales all windows by one offset and gain.

    Notes
    -----
    The grids of offsets and gains extend to 100 times the typical range of the windows
    seen in `fit`, and at least to twice the largest value seen in `fit`. The
    reconstruction error of a window is proportional to its gain. With
    :class:`AmplitudeScaler`, it is not.

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

    _row_kinds = WINDOWS

    _parameter_constraints: dict = {
        "tokenizer": [HasMethods(["fit", "transform", "inverse_transform"]), None],
        "n_bins": [Interval(Integral, 2, None, closed="left")],
    }

    def __init__(self, tokenizer=None, *, n_bins=256):
        self.tokenizer = tokenizer
        self.n_bins = n_bins

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, **fit_params):
        """Learn the bins of offset and gain, and fit the tokenizer to the shapes.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length) or \
                (n_windows, n_leads, window_length)
            Windows of a signal, in any unit.

        y : None
            Ignored.

        **fit_params : dict
            Metadata for `fit` of the tokenizer, for example `groups` for
            :class:`ConvAETokenizer`. This requires
            ``sklearn.set_config(enable_metadata_routing=True)``.

        Returns
        -------
        self : GainShapeTokenizer
            The fitted tokenizer.

        Raises
        ------
        ValueError
            If `X` is not finite or its range overflows, if `tokenizer` does not return
            integer tokens, or if metadata is passed while its routing is disabled.
        """
        self._reset()
        if fit_params and not get_config()["enable_metadata_routing"]:
            raise ValueError(
                f"fit got {', '.join(fit_params)}, expected only X: to pass metadata "
                "to the tokenizer, call set_config(enable_metadata_routing=True)."
            )
        routing = metadata_routing.process_routing(self, "fit", **fit_params)
        windows = self._windows_of_leads(X, reset=True)
        with np.errstate(over="ignore", invalid="ignore"):
            offsets, gains = learn_bins(windows, self.n_bins)
        advice = "convert it to a larger unit."
        require_finite(np.append(offsets, gains), windows, advice)
        _, _, shapes = gain_and_shape(windows, offsets, gains)
        tokenizer = clone(self._unfitted_tokenizer())
        fit_params = routing["tokenizer"]["fit"]
        if self.row_shape_[:-1]:  # one value for each lead of each window
            repeat = partial(np.repeat, repeats=self.row_shape_[0])
            fit_params = {name: repeat(value) for name, value in fit_params.items()}
        tokenizer.fit(shapes, None, **fit_params)  # a FrozenEstimator requires y
        self._n_shape_tokens = shape_tokens(tokenizer, shapes[:1]).shape[1]
        n_bins = int(self.n_bins)
        self.n_tokens_ = 2 * n_bins + int(vocabulary_size(tokenizer))
        self.token_ranges_ = {
            "offset": range(n_bins),
            "gain": range(n_bins, 2 * n_bins),
            "shape": range(2 * n_bins, self.n_tokens_),
        }
        self.offsets_, self.gains_, self.tokenizer_ = offsets, gains, tokenizer
        return self

    def _windows_of_leads(self, X, *, reset=False):
        """Checked windows of several leads as windows of one lead."""
        X = validate_windows(self, X, reset=reset)
        return X.reshape(-1, X.shape[-1])

    def _unfitted_tokenizer(self):
        return make_tokenizer() if self.tokenizer is None else self.tokenizer

    def __sklearn_is_fitted__(self):
        return hasattr(self, "tokenizer_")

    @in_slices
    def transform(self, X):
        """Encode windows as tokens.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length) or \
                (n_windows, n_leads, window_length)
            Windows of the shape and unit seen in `fit`.

        Returns
        -------
        tokens : ndarray of int64, shape (n_windows, n_leads * (2 + n_shape_tokens))
            Offset, gain and shape tokens, in their `token_ranges_`, of one lead after
            the other.

        Raises
        ------
        ValueError
            If the windows have a different shape than in `fit`, are not finite, or are
            beyond the bins of offset and gain.
        """
        check_is_fitted(self)
        windows = self._windows_of_leads(X)
        offset, gain, shapes = gain_and_shape(windows, self.offsets_, self.gains_)
        tokens, n_bins = shape_tokens(self.tokenizer_, shapes), len(self.offsets_)
        tokens = np.column_stack([offset, n_bins + gain, 2 * n_bins + tokens])
        return tokens.reshape(-1, self._tokens_per_window())

    @in_slices
    def inverse_transform(self, X):
        """Decode tokens into windows.

        Parameters
        ----------
        X : array-like of int, shape (n_windows, n_leads * (2 + n_shape_tokens))
            Tokens, as returned by `transform`.

        Returns
        -------
        windows : ndarray of float64, shape (n_windows, window_length) or \
                (n_windows, n_leads, window_length)
            Reconstruction, in the unit of the windows seen in `fit`.

        Raises
        ------
        TypeError
            If the tokens are not integers.
        ValueError
            If a token is outside the range of its column, or if the rows have a
            different length than the output of `transform`.
        """
        check_is_fitted(self)
        tokens = validate_tokens(X, self.n_tokens_, self._tokens_per_window())
        tokens = tokens.reshape(-1, 2 + self._n_shape_tokens)  # a row for each lead
        offset, gain, shapes = split_tokens(tokens, self.token_ranges_)
        shapes = self.tokenizer_.inverse_transform(shapes)
        windows = self.offsets_[offset] + self.gains_[gain] * shapes
        return windows.reshape(-1, *self.row_shape_)

    def _tokens_per_window(self):
        return math.prod(self.row_shape_[:-1]) * (2 + self._n_shape_tokens)

    def _resize(self, row_shape):
        """Take windows of another length; return the shape of their tokens."""
        (self._n_shape_tokens,) = resize(self.tokenizer_, row_shape[-1:])
        self._set_row_shape(row_shape)
        return (self._tokens_per_window(),)

    def _token_starts(self):
        offset, gain, shape = (part.start for part in self.token_ranges_.values())
        shapes = [shape + start for start in token_starts(self.tokenizer_)]
        return [offset, gain, *shapes]

    def _clip_rates(self, X):
        """Share of the values of shapes that are clipped; see `clip_rates`."""
        windows = self._windows_of_leads(X)
        _, _, shapes = gain_and_shape(windows, self.offsets_, self.gains_)
        return clip_rates(self.tokenizer_, shapes)

    def get_feature_names_out(self, input_features=None):
        """Names of the tokens of a window.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        names : ndarray of str, shape (n_leads * (2 + n_shape_tokens),)
            ``'offset'``, ``'gain'``, ``'shape0'``, ``'shape1'``, …; for several leads
            ``'lead0_offset'``, …
        """
        check_is_fitted(self)
        shapes = [f"shape{i}" for i in range(self._n_shape_tokens)]
        names = names_by_lead(["offset", "gain", *shapes], self.row_shape_[:-1])
        return feature_names(self, names, input_features)

    def get_metadata_routing(self):
        """Metadata routing of this estimator.

        Returns
        -------
        routing : MetadataRouter
            Routes the metadata of `fit` to `fit` of the tokenizer.
        """
        mapping = metadata_routing.MethodMapping().add(caller="fit", callee="fit")
        mapping.add(caller="fit_transform", callee="fit")
        router = metadata_routing.MetadataRouter(owner=type(self).__name__)
        return router.add(method_mapping=mapping, tokenizer=self._unfitted_tokenizer())

    def _fingerprint_state(self):
        names = "offsets_", "gains_", "tokenizer_"
        leads = self.row_shape_[:-1]
        state = {name: getattr(self, name) for name in names}
        return state | ({"n_leads": leads} if leads else {})

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # tokens are integers
        return tags
