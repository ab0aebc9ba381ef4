"""Scalar and vector quantisation: values to tokens and back."""

import math
from numbers import Integral

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from sktok._disk import in_slices
from sktok._estimator import Estimator, FirstBatchMixin, feature_names
from sktok._rows import (
    LARGEST,
    refuse_masks_and_dates,
    validate_interval,
    validate_windows,
)
from sktok._sklearn_compat import Interval, StrOptions, _fit_context


def uniform_bins(values, low, high, n_bins):
    """Index of the bin of equal width that holds each value.

    ``floor((x - min) / width)`` clamped to ``[0, n_bins - 1]`` (paper, section
    3.2), evaluated in the dtype of `values`.
    """
    width = (high - low) / n_bins or 1.0  # limits that coincide: all in bin 0
    if width < np.finfo(values.dtype).tiny:
        values = values.astype(np.float64)  # float32 would divide by zero
    with np.errstate(over="ignore"):  # as far out as infinity is still an end bin
        index = values - low
        index /= width
    np.floor(index, out=index)
    np.clip(index, 0, n_bins - 1, out=index)
    return index.astype(np.int64)


def uniform_centers(low, high, n_bins, dtype):
    """Centres of bins of equal width: ``min + width * (q + 0.5)`` (section 3.2)."""
    width = (high - low) / n_bins
    return low + width * (np.arange(n_bins).astype(dtype) + 0.5)


def edge_bins(values, edges):
    """Index of the bin that holds each value; the two end bins are open."""
    return np.searchsorted(edges[1:-1], values, side="right")


def edge_centers(edges, dtype):
    """Midpoints of bins of any width."""
    return (edges[:-1] + (edges[1:] - edges[:-1]) / 2).astype(dtype)


def uniform_edges(values, low, high, n_bins):
    """Edges of bins of equal width."""
    return np.linspace(low, high, n_bins + 1)


def quantile_edges(values, low, high, n_bins):
    """Edges of bins that hold equally many values; ties leave bins empty."""
    edges = np.quantile(values, np.linspace(0, 1, n_bins + 1))
    edges = np.clip(edges.astype(np.float64), low, high)
    edges[[0, -1]] = low, high
    return edges


def kmeans_edges(values, low, high, n_bins, max_iter=300):
    """Edges halfway between the centres of one-dimensional k-means.

    Lloyd's method (S. P. Lloyd, "Least squares quantization in PCM", 1982) from
    bins of equal width. On sorted values an iteration needs only the sums between
    the edges, so it is exact on all values and costs ``n_bins * log(n_values)``.
    """
    span = (high - low) or 1.0
    values = (np.sort(np.clip(values.astype(np.float64), low, high)) - low) / span
    sums = np.concatenate([[0.0], np.cumsum(values)])
    edges = np.linspace(0, (high - low) / span, n_bins + 1)
    for _ in range(max_iter):
        inner = np.searchsorted(values, edges[1:-1], side="left")
        bounds = np.concatenate([[0], inner, [len(values)]])
        count = np.diff(bounds)
        centers = edge_centers(edges, np.float64)  # where a bin is empty
        np.divide(np.diff(sums[bounds]), count, out=centers, where=count > 0)
        previous = edges
        edges = edges.copy()
        edges[1:-1] = centers[:-1] + np.diff(centers) / 2
        if np.array_equal(edges, previous):
            break
    edges = low + edges * span
    edges[-1] = high
    return edges


def mean_centers(values, bins, centers):
    """Mean of the values in each bin, or the given centre where it is empty."""
    count = np.bincount(bins, minlength=len(centers))
    means = np.bincount(bins, weights=values / count[bins], minlength=len(centers))
    return np.where(count > 0, means, centers).astype(centers.dtype)


_STRATEGIES = {
    "uniform": uniform_edges,
    "quantile": quantile_edges,
    "kmeans": kmeans_edges,
}


_KMEANS_VECTORS = 200_000  # that a codebook is fitted to, drawn from all
_START_VECTORS = 20_000  # and that its start is chosen from
_LARGEST_TO_SQUARE = 1e16  # in float32, and to sum
_MOST_CODES = 2**20  # of bins: each display of a notebook asks for all of them


def kmeans_codes(vectors, n_codes, max_iter, random_state):
    """Centres of k-means, which repeat if vectors are fewer, and number of passes."""
    from sklearn.cluster import KMeans, kmeans_plusplus  # slow to import

    vectors = vectors[random_state.permutation(len(vectors))[:_KMEANS_VECTORS]]
    distinct = np.unique(vectors, axis=0)
    if len(distinct) <= n_codes:
        return np.resize(distinct, (n_codes, vectors.shape[1])), 1
    largest = np.abs(vectors).max()  # squares of huge values would overflow
    vectors = vectors / largest
    few = vectors[: max(_START_VECTORS, 4 * n_codes)]
    start, _ = kmeans_plusplus(few, n_codes, random_state=random_state)
    kmeans = KMeans(n_codes, init=start, n_init=1, max_iter=max_iter).fit(vectors)
    return kmeans.cluster_centers_ * largest, kmeans.n_iter_


def validate_tokens(tokens, n_tokens, width):
    """Check tokens: integers in ``range(n_tokens)``, `width` of them in a row."""
    tokens = refuse_masks_and_dates(tokens)
    if len(tokens.shape) == 2 and tokens.shape[1] != width:
        raise ValueError(
            f"tokens have {tokens.shape[1]} columns, expected {width}: one row holds "
            "all tokens of a window, as transform gives them."
        )
    tokens = check_array(tokens, dtype=None, input_name="tokens")
    if tokens.dtype.kind not in "iu":
        raise TypeError(
            f"tokens have dtype {tokens.dtype}, expected integers: convert them with "
            "astype(int) if they are whole numbers."
        )
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= n_tokens:
        raise ValueError(
            f"tokens run from {low} to {high}, outside the vocabulary of {n_tokens} "
            f"tokens (0 to {n_tokens - 1}): were they made by another tokenizer?"
        )
    return tokens.astype(np.int64, copy=False)


class _Quantizer(FirstBatchMixin, TransformerMixin, Estimator):
    """What quantisers share: tokens have names, and are integers."""

    def get_feature_names_out(self, input_features=None):
        """Names of the tokens of a window.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        names : ndarray of str, shape (n_tokens_per_window,)
            ``'token0'``, ``'token1'``, …
        """
        check_is_fitted(self)
        names = [f"token{i}" for i in range(self._n_tokens_per_window())]
        return feature_names(self, names, input_features)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # tokens are integers
        return tags


class BinQuantizer(_Quantizer):
    """Scalar quantisation of values into bins, whose indices are the tokens.

    With the default uniform bins this is the paper's quantiser (section 3.2):
    ``floor((x - min) / width)`` clamped to ``[0, n_bins - 1]``, and back to the
    bin centres ``min + width * (q + 0.5)``. Values beyond the limits fall into
    the end bins.

    Parameters
    ----------
    n_bins : int or tuple of int, default=256
        Number of bins. An int makes a token of every value, by bins common to all.
        A tuple, one number for each position of the last axis of `X` (each latent
        dimension), makes one token of all values of a block: the first is the most
        significant digit, and the vocabulary is the product. Each position then
        has bins of its own.

    limits : tuple (low, high) or "minmax", default="minmax"
        The range that is divided into bins: given, or the smallest and the largest
        value seen in `fit`. The paper has (-5, 5), chosen by hand, and the limits of
        the latent space (Figures 3 and 4).

    strategy : {"uniform", "quantile", "kmeans"}, default="uniform"
        How the edges are set between the limits, as in
        :class:`~sklearn.preprocessing.KBinsDiscretizer`: bins of equal width, bins
        that hold equally many of the training values (where values repeat, some bins
        stay empty), or bins around the centres of one-dimensional k-means.

    centers : {"midpoint", "mean"}, default="midpoint"
        What a token is turned back into: the middle of its bin, or the mean of the
        training values that fell into it (the middle, where none did).

    Attributes
    ----------
    n_tokens_ : int
        Size of the vocabulary: tokens are in ``range(n_tokens_)``.

    edges_ : ndarray of shape (n_bins + 1,), or list of such
        Edges of the bins, float64; for a tuple `n_bins` one array each.

    centers_ : ndarray of shape (n_bins,), or list of such
        Centres of the bins, in the dtype of the training values; for a tuple
        `n_bins` one array each.

    codes_ : ndarray of shape (`n_tokens_`, 1) or (`n_tokens_`, len(n_bins))
        What each token stands for: one centre, or for a tuple `n_bins` one for each
        position. There is none with more than 2**20 tokens.

    is_uniform_ : bool
        Whether the bins that were fitted are of equal width by construction.

    row_shape_ : tuple of int
        Shape of one row of `X` seen in `fit`.

    n_features_in_ : int
        Number of values in a row of `X` seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X` seen in `fit`, if they are all strings.

    See Also
    --------
    sklearn.preprocessing.KBinsDiscretizer : Bins of its own for each column.
    VectorQuantizer : A codebook in place of bins.

    References
    ----------
    "Da ECG a LLM", 2025, section 3.2.

    S. P. Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information
    Theory 28(2):129-137, 1982 (``strategy="kmeans"``, ``centers="mean"``).

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import BinQuantizer
    >>> latents = np.array([[-9.0, -0.1, 0.1, 9.0]])
    >>> quantizer = BinQuantizer(4, limits=(-5, 5)).fit(latents)
    >>> quantizer.transform(latents)
    array([[0, 1, 2, 3]])
    >>> quantizer.inverse_transform([[0, 1, 2, 3]])
    array([[-3.75, -1.25,  1.25,  3.75]])
    """

    _parameter_constraints: dict = {
        "n_bins": [Interval(Integral, 2, None, closed="left"), tuple],
        "limits": [tuple, StrOptions({"minmax"})],
        "strategy": [StrOptions(set(_STRATEGIES))],
        "centers": [StrOptions({"midpoint", "mean"})],
    }

    def __init__(
        self, n_bins=256, *, limits="minmax", strategy="uniform", centers="midpoint"
    ):
        self.n_bins = n_bins
        self.limits = limits
        self.strategy = strategy
        self.centers = centers

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the edges and the centres of the bins.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_values) or \
                (n_windows, n_blocks, latent_dim)
            Values to quantise, such as the latents of a network.

        y : None
            Ignored.

        Returns
        -------
        self : BinQuantizer
            The fitted quantiser.

        Raises
        ------
        ValueError
            If `limits` are not finite and increasing, or a tuple `n_bins` does not
            fit the last axis of `X`, or holds a number below 2, or the vocabulary
            would not fit 64 bits, or `X` spans more than float32 can hold.
        """
        self._reset()
        limits = self.limits
        if limits != "minmax":
            limits = validate_interval("limits", limits)
        X = validate_windows(self, X, reset=True)
        self.is_uniform_ = self.strategy == "uniform"
        if isinstance(self.n_bins, tuple):
            self._check_bin_tuple(X.shape[-1])
            columns = np.moveaxis(X, -1, 0)
            bins = [
                self._fit_bins(values.ravel(), n_bins, limits)
                for values, n_bins in zip(columns, self.n_bins, strict=True)
            ]
            edges, centers = map(list, zip(*bins, strict=True))
            self.n_tokens_ = math.prod(self.n_bins)
        else:
            edges, centers = self._fit_bins(X.ravel(), self.n_bins, limits)
            self.n_tokens_ = int(self.n_bins)
        self.centers_, self.edges_ = centers, edges
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "edges_")

    def _check_bin_tuple(self, n_dims):
        if len(self.n_bins) != n_dims:
            raise ValueError(
                f"n_bins={self.n_bins} has {len(self.n_bins)} numbers, but the last "
                f"axis of X (the latent dimension) has {n_dims}: give one each."
            )
        if not all(isinstance(n, Integral) and n >= 2 for n in self.n_bins):
            raise ValueError(f"n_bins={self.n_bins}: expected integers of at least 2.")
        if math.prod(self.n_bins) > np.iinfo(np.int64).max:
            raise ValueError(
                f"n_bins={self.n_bins} makes a vocabulary of {math.prod(self.n_bins)} "
                "tokens, more than 64 bits can count: use fewer bins."
            )

    def _fit_bins(self, values, n_bins, limits):
        """Edges and centres of `n_bins` bins for a vector of values."""
        if limits == "minmax":
            low, high = float(values.min()), float(values.max())
            if high - low > LARGEST:
                raise ValueError(
                    f"X spans {low:.3g} to {high:.3g}, more than float32 can hold: "
                    "scale it first, or give limits."
                )
        else:
            low, high = limits
        edges = _STRATEGIES[self.strategy](values, low, high, n_bins)
        if self.is_uniform_:
            centers = uniform_centers(low, high, n_bins, values.dtype)
        else:
            centers = edge_centers(edges, values.dtype)
        if self.centers == "mean":
            centers = mean_centers(values, self._bins(values, edges), centers)
        return edges, centers

    def _bins(self, values, edges):
        if self.is_uniform_:
            low, high = float(edges[0]), float(edges[-1])
            return uniform_bins(values, low, high, len(edges) - 1)
        return edge_bins(values, edges)

    @in_slices
    def transform(self, X):
        """Quantise values: the index of the bin of each, or one index a block.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_values) or \
                (n_windows, n_blocks, latent_dim)
            Values in rows of the shape seen in `fit`.

        Returns
        -------
        tokens : ndarray of int64, shape (n_windows, n_tokens_per_window)
            Tokens in ``range(n_tokens_)``. For an int `n_bins` there is one for each
            value, in the order of ``X.reshape(n_windows, -1)``; for a tuple there is
            one for each block.

        Raises
        ------
        ValueError
            If the rows of `X` have another shape than in `fit`, or are not finite.
        """
        check_is_fitted(self)
        X = validate_windows(self, X, reset=False)
        return self._quantize(X).reshape(len(X), -1)

    def _quantize(self, values):
        """Tokens of valid values, whose last axis a tuple `n_bins` counts."""
        if not isinstance(self.edges_, list):
            return self._bins(values, self.edges_)
        digits = [
            self._bins(values[..., dim], edges) for dim, edges in enumerate(self.edges_)
        ]
        return np.ravel_multi_index(digits, self._digit_sizes())

    def _clip_rates(self, X):
        """What falls beyond the limits of the end bins, as `clip_rates` has it."""
        edges = self.edges_ if isinstance(self.edges_, list) else [self.edges_]
        low, high = np.transpose([(e[0], e[-1]) for e in edges])  # one each, or one
        X = validate_windows(self, X, reset=False)
        advice = "the limits of BinQuantizer: widen them, or fit it on such values."
        return [(float(np.mean((low > X) | (high < X))), advice)]

    @in_slices
    def inverse_transform(self, X):
        """Dequantise: each token becomes the centre of its bin.

        Parameters
        ----------
        X : array-like of int, shape (n_windows, n_tokens_per_window)
            Tokens in ``range(n_tokens_)``.

        Returns
        -------
        values : ndarray of shape (n_windows, n_values) or \
                (n_windows, n_blocks, latent_dim)
            Centres, in the dtype and row shape of the training values.

        Raises
        ------
        TypeError
            If the tokens are not integers.
        ValueError
            If a token is outside the vocabulary or the rows have another length.
        """
        check_is_fitted(self)
        tokens = validate_tokens(X, self.n_tokens_, self._n_tokens_per_window())
        return self._dequantize(tokens).reshape(len(tokens), *self.row_shape_)

    def _dequantize(self, tokens):
        """Values of valid tokens: along a new last axis if `n_bins` is a tuple."""
        if not isinstance(self.centers_, list):
            return np.take(self.centers_, tokens)
        digits = np.unravel_index(tokens, self._digit_sizes())
        values = [c[digit] for c, digit in zip(self.centers_, digits, strict=True)]
        return np.stack(values, axis=-1)

    @property
    def codes_(self):
        """What each token stands for, of shape (`n_tokens_`, values of a token)."""
        if self.n_tokens_ > _MOST_CODES:
            raise AttributeError(
                f"{self.n_tokens_} tokens are too many for a table of what they stand "
                "for: ask inverse_transform about some of them, or use fewer bins."
            )
        if isinstance(self.centers_, list):
            grid = np.meshgrid(*self.centers_, indexing="ij")
            return np.stack([values.ravel() for values in grid], axis=1)
        return self.centers_[:, np.newaxis]

    def _digit_sizes(self):
        return tuple(len(centers) for centers in self.centers_)

    def _n_tokens_per_window(self):
        row_shape = self.row_shape_
        if isinstance(self.centers_, list):
            row_shape = row_shape[:-1]
        return math.prod(row_shape)


class VectorQuantizer(_Quantizer):
    """Vector quantisation: each block becomes the index of the code nearest to it.

    The codebook is the centres of k-means. On blocks of a signal this is the
    tokenizer without memory that others have to beat; inside
    :class:`ConvAETokenizer` the codebook is trained with the network.

    Parameters
    ----------
    n_codes : int, default=256
        Number of codes, which is the size of the vocabulary. Where the training data
        hold fewer distinct vectors, each of them becomes a code, and codes repeat.

    max_iter : int, default=100
        Largest number of passes of k-means over the data.

    random_state : int, RandomState instance or None, default=None
        Seeds k-means.

    Attributes
    ----------
    codes_ : ndarray of shape (n_codes, dim)
        The codebook, in the dtype of the training data.

    n_tokens_ : int
        Size of the vocabulary: tokens are in ``range(n_tokens_)``.

    n_iter_ : int
        Number of passes of k-means over the data.

    row_shape_ : tuple of int
        Shape of one row of `X` seen in `fit`.

    n_features_in_ : int
        Number of values in a row of `X` seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X` seen in `fit`, if they are all strings.

    See Also
    --------
    BinQuantizer : Tokens that keep the order of values.
    sktok.metrics.token_usage : Share of the codebook that is used.

    Notes
    -----
    The codebook is that of :class:`sklearn.cluster.KMeans` on at most 200,000 vectors
    drawn from `X`, started by k-means++ on a part of them.

    References
    ----------
    Y. Linde, A. Buzo and R. M. Gray, "An algorithm for vector quantizer design", IEEE
    Transactions on Communications 28(1):84-95, 1980.

    D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA
    2007.

    Examples
    --------
    >>> from sktok import BlockSegmenter, VectorQuantizer
    >>> from sktok.datasets import load_ecg
    >>> blocks = BlockSegmenter(block_size=10).fit_transform(load_ecg().data)
    >>> quantizer = VectorQuantizer(64, random_state=0).fit(blocks)
    >>> tokens = quantizer.transform(blocks)
    >>> blocks.shape, tokens.shape
    ((432, 25, 10), (432, 25))
    >>> quantizer.inverse_transform(tokens).shape
    (432, 25, 10)
    """

    _parameter_constraints: dict = {
        "n_codes": [Interval(Integral, 2, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(self, n_codes=256, *, max_iter=100, random_state=None):
        self.n_codes = n_codes
        self.max_iter = max_iter
        self.random_state = random_state

    @property
    def n_tokens_(self):
        """Size of the vocabulary: tokens are in ``range(n_tokens_)``."""
        return len(self.codes_)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the codebook.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_blocks, dim) or (n_windows, dim)
            Vectors to quantise, such as blocks or latents; of two axes, each row is
            one vector.

        y : None
            Ignored.

        Returns
        -------
        self : VectorQuantizer
            The fitted quantiser.

        Raises
        ------
        ValueError
            If `X` is not finite, or larger than float32 can hold.
        """
        self._reset()
        X = self._validate(X, reset=True)
        codes, self.n_iter_ = kmeans_codes(
            X.reshape(-1, X.shape[-1]),
            self.n_codes,
            self.max_iter,
            check_random_state(self.random_state),
        )
        self.codes_ = codes.astype(X.dtype, copy=False)
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "codes_")

    @in_slices
    def transform(self, X):
        """Quantise blocks: the index of the nearest code of each.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_blocks, dim) or (n_windows, dim)
            Vectors in rows of the shape seen in `fit`.

        Returns
        -------
        tokens : ndarray of int64, shape (n_windows, n_blocks) or (n_windows, 1)
            Tokens in ``range(n_tokens_)``.

        Raises
        ------
        ValueError
            If the rows of `X` have another shape than in `fit`, are not finite, or
            larger than float32 can hold.
        """
        from sklearn.metrics import pairwise_distances_argmin  # slow to import

        check_is_fitted(self)
        X = self._validate(X, reset=False)
        # In one order in memory, on which the last bits depend.
        vectors = np.ascontiguousarray(X).reshape(-1, X.shape[-1])
        if max(np.abs(vectors).max(), np.abs(self.codes_).max()) > _LARGEST_TO_SQUARE:
            vectors = vectors.astype(np.float64)
        codes = self.codes_.astype(vectors.dtype)
        tokens = pairwise_distances_argmin(vectors, codes)
        return tokens.astype(np.int64, copy=False).reshape(len(X), -1)

    @in_slices
    def inverse_transform(self, X):
        """Dequantise: each token becomes its code.

        Parameters
        ----------
        X : array-like of int, shape (n_windows, n_blocks) or (n_windows, 1)
            Tokens in ``range(n_tokens_)``.

        Returns
        -------
        vectors : ndarray of shape (n_windows, n_blocks, dim) or (n_windows, dim)
            Codes, in the dtype and row shape of the training data.

        Raises
        ------
        TypeError
            If the tokens are not integers.
        ValueError
            If a token is outside the vocabulary or the rows have another length.
        """
        check_is_fitted(self)
        tokens = validate_tokens(X, self.n_tokens_, self._n_tokens_per_window())
        return self._dequantize(tokens).reshape(len(tokens), *self.row_shape_)

    def _dequantize(self, tokens):
        """Codes of valid tokens, along a new last axis."""
        return np.take(self.codes_, tokens, axis=0)

    def _validate(self, X, *, reset):
        X = validate_windows(self, X, reset=reset)
        largest = max(X.max(), -X.min())
        if largest > LARGEST:
            raise ValueError(
                f"X has values up to {largest:.3g} in magnitude, more than float32 can "
                "hold: scale it first, for instance with AmplitudeScaler."
            )
        return X

    def _n_tokens_per_window(self):
        return math.prod(self.row_shape_[:-1])
