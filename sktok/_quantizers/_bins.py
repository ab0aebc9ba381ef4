"""Scalar quantisation: values to the indices of bins and back."""

import math
from numbers import Integral

import numpy as np

from sktok._estimator import Pace
from sktok._quantizers._protocol import BaseQuantizer
from sktok._rows import LARGEST, validate_interval
from sktok._sklearn_compat import Interval, StrOptions


def uniform_bins(values, low, high, n_bins):
    """Index of the bin of equal width that holds each value.

    ``floor((x - min) / width)`` clamped to ``[0, n_bins - 1]`` (paper, section 3.2),
    computed in the dtype of `values`.
    """
    width = (high - low) / n_bins or 1.0  # equal limits: everything is in bin 0
    if width < np.finfo(values.dtype).tiny:
        values = values.astype(np.float64)  # float32 would divide by zero
    with np.errstate(over="ignore"):  # infinity belongs to an end bin, too
        index = values - low
        index /= width
    np.floor(index, out=index)
    np.clip(index, 0, n_bins - 1, out=index)
    return index.astype(np.int64)


def uniform_centers(low, high, n_bins, dtype):
    """Centres of bins of equal width: ``min + width * (q + 0.5)`` (section 3.2)."""
    width = (high - low) / n_bins
    return low + width * (np.arange(n_bins).astype(dtype) + 0.5)


def edge_centers(edges, dtype):
    """Midpoints of bins of any width."""
    return (edges[:-1] + (edges[1:] - edges[:-1]) / 2).astype(dtype)


def uniform_edges(values, low, high, n_bins):
    """Edges of bins of equal width."""
    return np.linspace(low, high, n_bins + 1)


def quantile_edges(values, low, high, n_bins):
    """Edges of bins with equal numbers of values; ties leave bins empty."""
    edges = np.quantile(values, np.linspace(0, 1, n_bins + 1))
    edges = np.clip(edges.astype(np.float64), low, high)
    edges[[0, -1]] = low, high
    return edges


def kmeans_edges(values, low, high, n_bins, max_iter=300):
    """Edges halfway between the centres of one-dimensional k-means.

    Lloyd's method (S. P. Lloyd, "Least squares quantization in PCM", 1982), started
    from bins of equal width. On sorted values an iteration needs only the sums between
    edges, so it is exact on all values and costs ``n_bins * log(n_values)``.
    """
    span = (high - low) or 1.0
    values = (np.sort(np.clip(values.astype(np.float64), low, high)) - low) / span
    sums = np.concatenate([[0.0], np.cumsum(values)])
    edges = np.linspace(0, (high - low) / span, n_bins + 1)
    for _ in range(max_iter):
        inner = np.searchsorted(values, edges[1:-1])
        bounds = np.concatenate([[0], inner, [len(values)]])
        count = np.diff(bounds)
        centers = edge_centers(edges, np.float64)  # where a bin is empty
        np.divide(np.diff(sums[bounds]), count, out=centers, where=count > 0)
        halfway = centers[:-1] + np.diff(centers) / 2
        if np.array_equal(halfway, edges[1:-1]):
            break
        edges[1:-1] = halfway
    edges = low + edges * span
    edges[-1] = high
    return edges


def mean_centers(values, bins, centers):
    """Mean of the values in each bin, or the given centre where it is empty."""
    count = np.bincount(bins, minlength=len(centers))
    means = np.bincount(bins, weights=values / count[bins], minlength=len(centers))
    return np.where(count > 0, means, centers).astype(centers.dtype)


def clip_to_values(centers, values, bins):
    """Centres between the smallest and the largest value in their bin, if any."""
    lowest = np.full_like(centers, np.inf)
    highest = -lowest
    np.minimum.at(lowest, bins, values)
    np.maximum.at(highest, bins, values)
    return np.where(lowest <= highest, np.clip(centers, lowest, highest), centers)


_STRATEGIES = {
    "uniform": uniform_edges,
    "quantile": quantile_edges,
    "kmeans": kmeans_edges,
}


class BinQuantizer(BaseQuantizer):
    """Scalar quantisation: values become the indices of bins.

    With the default uniform bins this is the paper's quantiser (section 3.2):
    ``floor((x - min) / width)`` clamped to ``[0, n_bins - 1]``, and back to the bin
    centres ``min + width * (q + 0.5)``. Values beyond the limits fall into the end
    bins.

    Parameters
    ----------
    n_bins : int or tuple of int, default=256
        Number of bins. With an int, each value becomes a token, and all values share
        the same bins. A tuple has one number for each position of the last axis of `X`
        (each latent dimension): each position has its own bins, and all values of a
        block become one token, whose most significant digit is the first value. The
        size of the vocabulary is the product.

    limits : tuple (low, high) or "minmax", default="minmax"
        The range that is divided into bins: given, or the smallest and the largest
        value seen in `fit`. The paper uses (-5, 5), chosen by hand, and the limits of
        the latent space (Figures 3 and 4).

    strategy : {"uniform", "quantile", "kmeans"}, default="uniform"
        How the edges between the limits are chosen, as in
        :class:`~sklearn.preprocessing.KBinsDiscretizer`: bins of equal width, bins with
        equal numbers of training values (where values repeat, some bins stay empty), or
        bins around the centres of one-dimensional k-means.

    centers : {"midpoint", "mean"}, default="midpoint"
        The value that a token is turned back into: the middle of its bin, or the mean
        of the training values in it (the middle if there are none). If rounding moves
        it out of its bin, the nearest training value in the bin replaces it, so the
        tokens of training values stay the same after `inverse_transform` and
        `transform`.

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
        position. The attribute does not exist with more than 2**20 tokens.

    is_uniform_ : bool
        Whether the fitted bins have equal width by construction.

    row_shape_ : tuple of int
        Shape of one row of `X` seen in `fit`.

    n_features_in_ : int
        Number of values in a row of `X` seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X` seen in `fit`, if they are all strings.

    See Also
    --------
    sklearn.preprocessing.KBinsDiscretizer : Separate bins for each column.
    VectorQuantizer : A codebook instead of bins.

    Notes
    -----
    A bin may be narrower than the distance between two numbers of the dtype of `X`, as
    with 256 bins from 1,000,000 to 1,000,001 in float32. Most such bins hold no number.
    The token of a bin without training values may then become a neighbouring token
    after `inverse_transform` and `transform`.

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

    def learn(self, values):
        """Learn the edges and the centres of the bins.

        Parameters
        ----------
        values : ndarray of float, shape (..., dim)
            Finite values.

        Raises
        ------
        ValueError
            If `limits` are not finite and increasing, a tuple `n_bins` does not have
            `dim` numbers of at least 2, the vocabulary exceeds 64 bits, or the values
            span more than float32 can hold.
        """
        limits = self._given_limits()
        self.is_uniform_ = self.strategy == "uniform"
        columns, n_bins = [values], (self.n_bins,)
        if isinstance(self.n_bins, tuple):
            self._check_bin_tuple(values.shape[-1])
            columns, n_bins = np.moveaxis(values, -1, 0), self.n_bins
        n_bins = list(map(int, n_bins))  # those of numpy may overflow
        bins = [
            self._fit_bins(column.ravel(), n, limits)
            for column, n in zip(columns, n_bins, strict=True)
        ]
        if isinstance(self.n_bins, tuple):
            self.edges_, self.centers_ = map(list, zip(*bins, strict=True))
        else:
            self.edges_, self.centers_ = bins[0]
        self.n_tokens_ = math.prod(n_bins)

    def _given_limits(self):
        """`limits` as two floats, or None for the limits of the data."""
        given = self.limits != "minmax"
        return validate_interval("limits", self.limits) if given else None

    def _check_bin_tuple(self, n_dims):
        if len(self.n_bins) != n_dims:
            raise ValueError(
                f"n_bins={self.n_bins} has {len(self.n_bins)} numbers, but the last "
                f"axis of X (the latent dimension) has {n_dims}: give one each."
            )
        if not all(isinstance(n, Integral) and n >= 2 for n in self.n_bins):
            raise ValueError(f"n_bins={self.n_bins}: expected integers of at least 2.")
        n_tokens = math.prod(map(int, self.n_bins))
        if n_tokens > np.iinfo(np.int64).max:
            raise ValueError(
                f"n_bins={self.n_bins} makes a vocabulary of {n_tokens} tokens, more "
                "than 64 bits can count: use fewer bins."
            )

    def _fit_bins(self, values, n_bins, limits):
        """Edges and centres of `n_bins` bins for a vector of values."""
        low, high = limits or (float(values.min()), float(values.max()))
        if high - low > LARGEST:
            raise ValueError(
                f"X spans {low:.3g} to {high:.3g}, more than float32 can hold: scale "
                "it first, or give limits."
            )
        edges = _STRATEGIES[self.strategy](values, low, high, n_bins)
        if self.is_uniform_:
            centers = uniform_centers(low, high, n_bins, values.dtype)
        else:
            centers = edge_centers(edges, values.dtype)
        if self.centers == "mean":
            centers = mean_centers(values, self._bins(values, edges), centers)
        # Rounding moves means, and the middles of narrow bins, out of their bins.
        is_outside = self._bins(centers, edges) != np.arange(n_bins)
        if is_outside.any():
            clipped = clip_to_values(centers, values, self._bins(values, edges))
            centers[is_outside] = clipped[is_outside]
        return edges, centers

    def _bins(self, values, edges):
        if self.is_uniform_:
            low, high = float(edges[0]), float(edges[-1])
            return uniform_bins(values, low, high, len(edges) - 1)
        return np.searchsorted(edges[1:-1], values, side="right")

    def quantize(self, values):
        if not self._has_digits():
            return self._bins(values, self.edges_)
        columns = np.moveaxis(values, -1, 0)
        digits = list(map(self._bins, columns, self.edges_))
        return np.ravel_multi_index(digits, self._n_digits())[..., np.newaxis]

    def dequantize(self, tokens):
        if not self._has_digits():
            return np.take(self.centers_, tokens)
        digits = np.unravel_index(tokens[..., 0], self._n_digits())
        return np.stack(list(map(np.take, self.centers_, digits)), axis=-1)

    def _has_digits(self):
        """Whether a token has a digit for each position, as a tuple `n_bins` means."""
        return isinstance(self.edges_, list)

    def _n_digits(self):
        return tuple(map(len, self.centers_))

    @property
    def codes_(self):
        """What each token stands for, of shape (`n_tokens_`, values of a token)."""
        return self.codes()

    def tokens_per_block(self, dim):
        return 1 if self._has_digits() else dim

    def _pace(self, *, inverse=False):
        return super()._pace(inverse=inverse) if self._has_digits() else Pace()

    def _resize(self, row_shape):
        if self._has_digits():
            return super()._resize(row_shape)
        self._set_row_shape(row_shape)  # each value has its own token
        return (self._tokens_per_window(),)

    def latent_dim_for(self, block_size):
        return len(self.n_bins) if isinstance(self.n_bins, tuple) else 1

    def latent_limits(self):
        return self._given_limits() or (-1.0, 1.0)

    def value_limits(self):
        edges = self.edges_ if self._has_digits() else [self.edges_]
        return [e[0] for e in edges], [e[-1] for e in edges]

    def start_training(self, latents, *, limits, max_steps, seed, earlier):
        if self.limits == "minmax" and limits is not None:
            self.limits = limits  # those of the network
        return {}

    def tensor_functions(self, device):
        from sktok._torch.arrays import through_numpy

        # Each value is quantised alone, so their number changes nothing.
        functions = self.quantize, self.dequantize
        return tuple(through_numpy(function, device) for function in functions)

    def export_functions(self):
        import torch

        from sktok._torch.arrays import as_tensor

        has_digits = self._has_digits()
        edges = self.edges_ if has_digits else [self.edges_]
        centers = self.centers_ if has_digits else [self.centers_]
        to_index = _uniform_tensor_bins if self.is_uniform_ else _edge_tensor_bins
        to_index = list(map(to_index, edges))
        centers = [as_tensor(c).float()[:, None] for c in centers]

        def quantize(x):
            if not has_digits:
                return to_index[0](x)
            tokens = 0
            for dim, c in enumerate(centers):
                tokens = tokens * len(c) + to_index[dim](x[..., dim : dim + 1])
            return tokens

        def dequantize(tokens):
            values = []
            for c in centers[:0:-1]:
                values.append(torch.nn.functional.embedding(tokens % len(c), c))
                tokens = tokens // len(c)
            values.append(torch.nn.functional.embedding(tokens, centers[0]))
            return torch.cat(values[::-1], dim=-1).flatten(-2)

        return quantize, dequantize


def _uniform_tensor_bins(edges):
    """`uniform_bins` for tensors."""
    import torch

    low, high, n_bins = float(edges[0]), float(edges[-1]), len(edges) - 1
    width = (high - low) / n_bins or 1.0
    dtype = torch.float32 if width >= np.finfo(np.float32).tiny else torch.float64
    return lambda x: ((x.to(dtype) - low) / width).floor().clamp(0, n_bins - 1).long()


def _edge_tensor_bins(edges):
    """Bins between any edges for tensors."""
    import torch

    inner = edges[1:-1].astype(np.float32)
    # A float32 reaches an edge if it reaches the next float32 at or above the edge.
    above = np.nextafter(inner, np.inf)
    inner = torch.from_numpy(np.where(inner < edges[1:-1], above, inner))
    return lambda x: (x[..., None] >= inner).sum(-1)
