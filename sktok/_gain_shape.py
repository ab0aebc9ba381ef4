"""Gain-shape quantisation: tokens for the offset, gain and shape of each window."""

import math
from functools import partial
from numbers import Integral
from typing import NamedTuple

import numpy as np
from sklearn import get_config
from sklearn.base import clone
from sklearn.utils import metadata_routing
from sklearn.utils.validation import check_is_fitted

from sktok._disk import in_slices
from sktok._estimator import Estimator, feature_names, is_fitted, names_by_lead
from sktok._recipes import make_tokenizer
from sktok._rows import WINDOWS, require_finite, validate_tokens, validate_windows
from sktok._sklearn_compat import (
    HasMethods,
    Interval,
    StrOptions,
    WindowTransformerMixin,
    _fit_context,
)
from sktok._steps import (
    clip_rates,
    code_vectors,
    resize,
    token_starts,
    vocabulary_size,
)

# Relative to the typical gain of windows.
_FARTHEST = {"range": 100.0, "l4": 1000.0}  # largest offset and gain
_FINEST = 1e-3  # smallest gain


class GainShapeBins(NamedTuple):
    """Bins of offsets and gains, which turn windows into shapes.

    Attributes
    ----------
    norm : {"range", "l4"}
        What offset and gain are, see `GainShapeTokenizer`.

    offsets, gains : ndarray of float64, shape (n_bins,)
        The values of the bins, increasing.
    """

    norm: str
    offsets: np.ndarray
    gains: np.ndarray

    @classmethod
    def learned(cls, windows, n_bins, norm):
        """The bins for windows like those, (n_windows, n_leads, window_length).

        The offsets are equally spaced in ``asinh((offset - center) / typical)``: the
        bins are narrow around the median and wide far from it. The gains are a
        geometric progression. The typical gain is the median of those above zero.
        """
        levels = level_of(windows, norm)
        sizes = size_of(windows - levels[..., np.newaxis], norm)
        typical = np.median(sizes[sizes > 0]) if sizes.any() else 1.0
        center, most = np.median(levels), _FARTHEST[norm] * typical
        farthest = max(most, 2 * np.abs(levels - center).max())
        end = np.arcsinh(farthest / typical)
        offsets = center + typical * np.sinh(np.linspace(-end, end, n_bins))
        bins = cls(norm, offsets, offsets)
        nearest = offsets[bins.offset_of(windows), np.newaxis]
        farthest = max(most, 2 * size_of(windows - nearest, norm).max())
        return bins._replace(gains=np.geomspace(_FINEST * typical, farthest, n_bins))

    def offset_of(self, windows):
        """Index of the offset of each lead, -1 or `n_bins` if it is beyond all."""
        levels, offsets = level_of(windows, self.norm), self.offsets
        if self.norm == "range":  # the largest that is not above the window
            return np.searchsorted(offsets, levels, side="right") - 1
        return nearest_bin(offsets, np.diff(offsets) / 2 + offsets[:-1], levels)

    def gain_of(self, deviations):
        """Index of the gain of each lead, given its deviations from its offset."""
        sizes, gains = size_of(deviations, self.norm), self.gains
        if self.norm == "range":  # the smallest that is not below the window
            return np.searchsorted(gains, sizes)
        roots = np.sqrt(gains)  # a product of gains may underflow
        return nearest_bin(gains, roots[:-1] * roots[1:], np.maximum(sizes, gains[0]))

    def split(self, windows):
        """Offsets, gains and shapes of windows.

        ``windows == offsets[offset] + scales_of(gain) * shapes`` up to rounding.

        Parameters
        ----------
        windows : ndarray of float, shape (n_windows, n_leads, window_length)
            Windows.

        Returns
        -------
        offset, gain : ndarray of int64, shape (n_windows, n_leads)
            Index of the offset and of the gain of each lead.

        shapes : ndarray of float, shape (n_windows, n_leads, window_length)
            Shapes, in the dtype of the windows.
        """
        offset, n_bins = self.offset_of(windows), len(self.offsets)
        is_beyond = (offset < 0) | (offset == n_bins)
        shapes = windows - self.offsets[np.where(is_beyond, 0, offset), np.newaxis]
        gain = self.gain_of(shapes)
        beyond = (is_beyond | (gain == n_bins)).any(axis=1)
        if beyond.any():
            first = windows[beyond][0]
            raise ValueError(
                f"{beyond.sum()} of {len(windows)} windows are beyond the bins: the "
                f"first ranges from {first.min():.3g} to {first.max():.3g}, and they "
                f"have offsets from {self.offsets[0]:.3g} to {self.offsets[-1]:.3g} "
                f"and gains up to {self.gains[-1]:.3g}. Check the unit of X, or fit on "
                "such a signal."
            )
        shapes /= self.scales_of(gain)[..., np.newaxis]
        return offset, gain, shapes.astype(windows.dtype, copy=False)

    def scales_of(self, gain):
        """What shapes are divided by: (n_windows, n_leads), from indices of gains.

        It is the gain, or for several leads the geometric mean of the gain of the lead
        and that of the window. With the gain of the lead alone, weak leads would get as
        many bits as strong ones; with that of the window alone, the tokens of a shape
        would say again and again how strong each lead is.
        """
        gains = self.gains[gain]
        if gains.shape[1] == 1:
            return gains
        of_window = largest = gains.max(axis=1, keepdims=True)
        if self.norm == "l4":
            mean = np.mean((gains / largest) ** 4, axis=1, keepdims=True)
            of_window = largest * mean**0.25
        return np.sqrt(gains) * np.sqrt(of_window)


def level_of(windows, norm):
    """The offset of each lead of windows, before it is quantised."""
    if norm == "range":
        return windows.min(axis=-1).astype(float)
    return np.median(windows, axis=-1).astype(float)


def size_of(deviations, norm):
    """The gain of each lead, before it is quantised, from deviations from offsets."""
    if norm == "range":
        return deviations.max(axis=-1).astype(float)
    # In rows, so that each sum has one order; scaled, so that no power overflows.
    deviations = np.abs(np.ascontiguousarray(deviations, dtype=float))
    largest = deviations.max(axis=-1)
    deviations /= np.where(largest > 0, largest, 1.0)[..., np.newaxis]
    return largest * np.mean(deviations**4, axis=-1) ** 0.25


def nearest_bin(bins, edges, values):
    """Index of the nearest bin; -1 or ``len(bins)`` for values beyond all of them."""
    nearest = np.searchsorted(edges, values)
    nearest[values < bins[0]] = -1
    nearest[values > bins[-1]] = len(bins)
    return nearest


def split_tokens(tokens, ranges, n_leads):
    """Yield the offset, gain and shape tokens of windows, each counted from 0."""
    parts = np.split(tokens, [n_leads, 2 * n_leads], axis=1)
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

    Offset and gain are quantised: they are the values of bins. The shape is ``(window -
    offset) / gain``, and `tokenizer` encodes it.

    `inverse_transform` restores the signal in its unit from the tokens alone, for
    signals of any gain and baseline. The shape is computed with the quantised offset
    and gain, so it compensates for their quantisation error.

    Each lead of windows of several leads has its own offset, gain and shape tokens, and
    one tokenizer encodes the shapes of all leads one by one. With ``leads="joint"``,
    each lead has its own offset and gain, and the window has one shape, which
    `tokenizer` encodes with all its leads. In it, a lead is divided by the geometric
    mean of its own gain and that of the window.

    Parameters
    ----------
    tokenizer : transformer or None, default=None
        Tokenizer of the shapes. It has `inverse_transform`, and it or its last step has
        `n_tokens_`. It is cloned. `None` uses :func:`make_tokenizer` with its default
        parameters. Parameters that may be set after `fit`, such as
        ``tokenizer__tokenize__n_candidates``, reach the fitted clone as well.

    n_bins : int, default=256
        Number of offset tokens, and number of gain tokens.

    norm : {"range", "l4"}, default="range"
        What offset and gain are.

        - "range": the largest offset that is not above the smallest sample, and the
          smallest gain that is not below the largest sample minus the offset. Shapes
          are within [0, 1].
        - "l4": the offset nearest to the median, and the gain nearest to the L4 norm,
          the fourth root of the mean fourth power of the deviations from the offset.
          Baselines of shapes are then at 0. With `rate_weight`, the error is smaller
          than with "range" at the same entropy.

    leads : {"separate", "joint"}, default="separate"
        Whether leads are encoded one by one or together. It changes nothing for windows
        of one lead.

    warm_start : bool, default=False
        Whether `fit` keeps the bins of the last `fit` and fits its `tokenizer_` again.
        The steps of `tokenizer` need a `warm_start` of their own to continue.

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

    norm_, leads_ : str
        The `norm` and `leads` used in `fit`.

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
    The bins of offsets and gains extend to 100 times the typical range of the windows
    seen in `fit` (with "l4" to 1,000 times the typical norm), and at least to twice the
    largest value seen in `fit`. The
    reconstruction error of a window is proportional to its gain. With
    :class:`AmplitudeScaler`, it is not.

    References
    ----------
    A. Gersho and R. M. Gray, "Vector Quantization and Signal Compression", 1992,
    section 12.10 (shape-gain VQ; there, the gain is the L2 norm).

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
        "norm": [StrOptions({"range", "l4"})],
        "leads": [StrOptions({"separate", "joint"})],
        "warm_start": ["boolean"],
    }

    def __init__(
        self,
        tokenizer=None,
        *,
        n_bins=256,
        norm="range",
        leads="separate",
        warm_start=False,
    ):
        self.tokenizer = tokenizer
        self.n_bins = n_bins
        self.norm = norm
        self.leads = leads
        self.warm_start = warm_start

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
            integer tokens, or if metadata is passed while its routing is disabled. With
            `warm_start`, if windows are beyond the bins.
        """
        continues = self.warm_start and is_fitted(self)
        if not continues:
            self._reset()
        if fit_params and not get_config()["enable_metadata_routing"]:
            raise ValueError(
                f"fit got {', '.join(fit_params)}, expected only X: to pass metadata "
                "to the tokenizer, call set_config(enable_metadata_routing=True)."
            )
        routing = metadata_routing.process_routing(self, "fit", **fit_params)
        X = validate_windows(self, X, reset=True)
        if not continues:
            self.leads_ = self.leads
        windows = self._encoded_at_once(X)
        if continues:
            bins, tokenizer = self._bins(), self.tokenizer_
        else:
            tokenizer = clone(self._unfitted_tokenizer())
            with np.errstate(over="ignore", invalid="ignore"):
                bins = GainShapeBins.learned(windows, self.n_bins, self.norm)
            advice = "convert it to a larger unit."
            require_finite(np.append(bins.offsets, bins.gains), windows, advice)
        _, _, shapes = self._split(bins, windows)
        fit_params = routing["tokenizer"]["fit"]
        if len(shapes) > len(X):  # one value for each lead of each window
            repeat = partial(np.repeat, repeats=self.row_shape_[0])
            fit_params = {name: repeat(value) for name, value in fit_params.items()}
        tokenizer.fit(shapes, None, **fit_params)  # a FrozenEstimator requires y
        self._n_shape_tokens = shape_tokens(tokenizer, shapes[:1]).shape[1]
        n_bins = len(bins.offsets)
        self.n_tokens_ = 2 * n_bins + int(vocabulary_size(tokenizer))
        self.token_ranges_ = {
            "offset": range(n_bins),
            "gain": range(n_bins, 2 * n_bins),
            "shape": range(2 * n_bins, self.n_tokens_),
        }
        self.norm_, self.offsets_, self.gains_ = bins
        self.tokenizer_ = tokenizer
        return self

    def _bins(self):
        norm = getattr(self, "norm_", "range")  # older files have no other
        return GainShapeBins(norm, self.offsets_, self.gains_)

    def set_params(self, **params):
        """Set parameters, those of `tokenizer` also in the fitted `tokenizer_`.

        Parameters
        ----------
        **params : dict
            Parameters by name. In `tokenizer_`, steps are not replaced: a new one takes
            effect in the next `fit`.

        Returns
        -------
        self : GainShapeTokenizer
            This estimator.
        """
        super().set_params(**params)
        if is_fitted(self):
            fitted = self.tokenizer_.get_params()
            steps = {name for name in fitted if hasattr(fitted[name], "get_params")}
            nested = {
                name.removeprefix("tokenizer__"): value
                for name, value in params.items()
                if name.startswith("tokenizer__")
            }
            kept = nested.keys() & (fitted.keys() - steps - {"steps"})
            self.tokenizer_.set_params(**{name: nested[name] for name in kept})
            if any(name.rpartition("__")[2] == "n_stages" for name in kept):
                self._n_shape_tokens = None  # has changed
        return self

    def _shape_at_once(self):
        """Shape of what is encoded at once: a lead, or a window with all its leads."""
        # Files of older releases have no `leads_`.
        is_joint = getattr(self, "leads_", "separate") == "joint"
        return self.row_shape_ if is_joint else self.row_shape_[-1:]

    def _n_at_once(self):
        """Number of leads that are encoded at once."""
        return math.prod(self._shape_at_once()[:-1])

    def _encoded_at_once(self, X):
        """Checked windows as (n, n_leads, window_length), of one lead or of all."""
        return X.reshape(-1, self._n_at_once(), X.shape[-1])

    def _split(self, bins, windows):
        """Offsets, gains, and shapes as the tokenizer takes them."""
        offset, gain, shapes = bins.split(windows)
        return offset, gain, shapes.reshape(-1, *self._shape_at_once())

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
        tokens : ndarray of int64, shape (n_windows, n_leads * (2 + n_shape_tokens)) \
                or (n_windows, 2 * n_leads + n_shape_tokens)
            Offset, gain and shape tokens, in their `token_ranges_`, of one lead after
            the other; or the offsets of all leads, their gains and their shape.

        Raises
        ------
        ValueError
            If the windows have a different shape than in `fit`, are not finite, or are
            beyond the bins of offset and gain.
        """
        check_is_fitted(self)
        windows = self._encoded_at_once(validate_windows(self, X, reset=False))
        offset, gain, shapes = self._split(self._bins(), windows)
        tokens, n_bins = shape_tokens(self.tokenizer_, shapes), len(self.offsets_)
        tokens = np.column_stack([offset, n_bins + gain, 2 * n_bins + tokens])
        return tokens.reshape(-1, self._tokens_per_window())

    @in_slices
    def inverse_transform(self, X):
        """Decode tokens into windows.

        Parameters
        ----------
        X : array-like of int, shape (n_windows, n_leads * (2 + n_shape_tokens)) or \
                (n_windows, 2 * n_leads + n_shape_tokens)
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
        tokens = tokens.reshape(-1, self._tokens_at_once())
        n_leads, bins = self._n_at_once(), self._bins()
        offset, gain, shapes = split_tokens(tokens, self.token_ranges_, n_leads)
        shapes = self.tokenizer_.inverse_transform(shapes)
        shapes = shapes.reshape(-1, n_leads, self.row_shape_[-1])
        windows = bins.scales_of(gain)[..., np.newaxis] * shapes
        windows = bins.offsets[offset][..., np.newaxis] + windows
        return windows.reshape(-1, *self.row_shape_)

    def _tokens_at_once(self):
        """Number of tokens of what is encoded at once."""
        return 2 * self._n_at_once() + self._count_shape_tokens()

    def _tokens_per_window(self):
        n_parts = math.prod(self.row_shape_) // math.prod(self._shape_at_once())
        return n_parts * self._tokens_at_once()

    def _count_shape_tokens(self):
        """Number of tokens of a shape."""
        if self._n_shape_tokens is None:
            flat = np.zeros((1, *self._shape_at_once()))
            self._n_shape_tokens = shape_tokens(self.tokenizer_, flat).shape[1]
        return self._n_shape_tokens

    def _resize(self, row_shape):
        """Take windows of another length; return the shape of their tokens."""
        self._set_row_shape(row_shape)
        (self._n_shape_tokens,) = resize(self.tokenizer_, self._shape_at_once())
        return (self._tokens_per_window(),)

    def _token_starts(self):
        offset, gain, shape = (part.start for part in self.token_ranges_.values())
        shapes = [shape + start for start in token_starts(self.tokenizer_)]
        return [offset, gain, *shapes]

    def _code_vectors(self):
        # Their order, as offsets are far from uniform; gains are in geometric order.
        bins = np.arange(len(self.offsets_), dtype=np.float64)[:, np.newaxis]
        return [bins, bins, *code_vectors(self.tokenizer_)]

    def _clip_rates(self, X):
        """Share of the values of shapes that are clipped; see `clip_rates`."""
        windows = self._encoded_at_once(validate_windows(self, X, reset=False))
        _, _, shapes = self._split(self._bins(), windows)
        return clip_rates(self.tokenizer_, shapes)

    def get_feature_names_out(self, input_features=None):
        """Names of the tokens of a window.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        names : ndarray of str, shape (n_tokens_per_window,)
            ``'offset'``, ``'gain'``, ``'shape0'``, ``'shape1'``, …; for separate leads
            ``'lead0_offset'``, ``'lead0_gain'``, …; for joint leads
            ``'lead0_offset'``, …, ``'lead0_gain'``, …, ``'shape0'``, …
        """
        check_is_fitted(self)
        shapes = [f"shape{i}" for i in range(self._count_shape_tokens())]
        joint = self._shape_at_once()[:-1]
        bins = [names_by_lead([name], joint) for name in ("offset", "gain")]
        names = [*bins[0], *bins[1], *shapes]
        if not joint:
            names = names_by_lead(names, self.row_shape_[:-1])
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
        if leads:
            state["n_leads"] = leads
        if self._shape_at_once()[:-1]:
            state["leads"] = "joint"
        norm = self._bins().norm
        return state if norm == "range" else state | {"norm": norm}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # tokens are integers
        return tags
