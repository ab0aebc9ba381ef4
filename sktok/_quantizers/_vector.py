"""Vector quantisation: blocks or latents to the indices of codes and back."""

import copy
from numbers import Integral

import numpy as np
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits

from sktok._quantizers._protocol import BaseQuantizer
from sktok._rows import LARGEST
from sktok._sklearn_compat import Interval

_KMEANS_VECTORS = 200_000  # that a codebook is fitted to, drawn from all
_START_VECTORS = 20_000  # that its start is chosen from
_LARGEST_TO_SQUARE = 1e16  # in float32, and to sum
# Weights of pulling latents to their codes, and codes to their latents. With none, the
# latents drift away from the codebook and the error is 100 times as large; with half of
# both it is 3 to 8 % larger.
_LATENTS_TO_CODES = 1.0
_CODES_TO_LATENTS = 0.5
_REVIVE_EVERY = 100  # batches
_IDLE = 0.02  # a code is idle below this share of the mean use: 0.1 does harm
_TINY = 1e-30  # keeps a distance above zero


def kmeans_codes(vectors, n_codes, max_iter, random_state):
    """Centres of k-means (which repeat if vectors are fewer), number of iterations."""
    from sklearn.cluster import KMeans, kmeans_plusplus  # slow to import

    vectors = vectors[random_state.permutation(len(vectors))[:_KMEANS_VECTORS]]
    distinct = np.unique(vectors, axis=0)
    if len(distinct) <= n_codes:
        return np.resize(distinct, (n_codes, vectors.shape[1])), 1
    largest = np.abs(vectors).max()  # squares of huge values would overflow
    vectors = vectors / largest
    some = vectors[: max(_START_VECTORS, 4 * n_codes)]
    with threadpool_limits(1):  # sums in one order
        start, _ = kmeans_plusplus(some, n_codes, random_state=random_state)
        kmeans = KMeans(n_codes, init=start, n_init=1, max_iter=max_iter).fit(vectors)
    return kmeans.cluster_centers_ * largest, kmeans.n_iter_


class VectorQuantizer(BaseQuantizer):
    """Vector quantisation: each block becomes the index of its nearest code.

    The codebook consists of the centres of k-means. On blocks of a signal this is the
    baseline tokenizer, which reads no neighbours; inside :class:`ConvAETokenizer` the
    codebook is trained together with the network.

    Parameters
    ----------
    n_codes : int, default=256
        Number of codes, which is the size of the vocabulary. If the training data have
        fewer distinct vectors, each of them becomes a code, and codes repeat.

    max_iter : int, default=100
        Maximum number of k-means iterations.

    random_state : int, RandomState instance or None, default=None
        Seeds k-means.

    Attributes
    ----------
    codes_ : ndarray of shape (n_codes, dim)
        The codebook, in the dtype of the training data.

    n_tokens_ : int
        Size of the vocabulary: tokens are in ``range(n_tokens_)``.

    n_iter_ : int
        Number of k-means iterations.

    row_shape_ : tuple of int
        Shape of one row of `X` seen in `fit`.

    n_features_in_ : int
        Number of values in a row of `X` seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X` seen in `fit`, if they are all strings.

    See Also
    --------
    BinQuantizer : Ordered tokens.
    sktok.metrics.token_usage : Share of the codebook in use.

    Notes
    -----
    :class:`sklearn.cluster.KMeans` finds the codebook, on at most 200,000 vectors drawn
    from `X` and from a start by k-means++ on some of them. It runs on one thread, since
    another number of threads would sum in another order and give another codebook.

    Inside a network, the gradient of the reconstruction reaches the codes and, straight
    through, the latents; each latent and its code are pulled towards each other; and
    codes that are hardly used are moved to latents with a large error.

    References
    ----------
    Y. Linde, A. Buzo and R. M. Gray, "An algorithm for vector quantizer design", IEEE
    Transactions on Communications 28(1):84-95, 1980.

    D. Arthur and S. Vassilvitskii, "k-means++: the advantages of careful seeding", SODA
    2007.

    A. van den Oord, O. Vinyals and K. Kavukcuoglu, "Neural discrete representation
    learning", NeurIPS 2017, without its stop-gradient between reconstruction and codes.

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

    trained_arrays = ("codes_",)

    def __init__(self, n_codes=256, *, max_iter=100, random_state=None):
        self.n_codes = n_codes
        self.max_iter = max_iter
        self.random_state = random_state

    @property
    def n_tokens_(self):
        """Size of the vocabulary: tokens are in ``range(n_tokens_)``."""
        return len(self.codes_)

    def learn(self, values):
        """Learn the codebook by k-means.

        Parameters
        ----------
        values : ndarray of float, shape (..., dim)
            Vectors.

        Raises
        ------
        ValueError
            If values exceed the range of float32.
        """
        _require_float32_range(values)
        vectors = values.reshape(-1, values.shape[-1])
        random_state = check_random_state(self.random_state)
        codes, self.n_iter_ = kmeans_codes(
            vectors, int(self.n_codes), self.max_iter, random_state
        )
        self.codes_ = codes.astype(values.dtype, copy=False)

    def quantize(self, values):
        from sklearn.metrics import pairwise_distances_argmin  # slow to import

        _require_float32_range(values)
        # One order in memory, because the last bits depend on it.
        vectors = np.ascontiguousarray(values).reshape(-1, values.shape[-1])
        if max(np.abs(vectors).max(), np.abs(self.codes_).max()) > _LARGEST_TO_SQUARE:
            vectors = vectors.astype(np.float64)
        tokens = pairwise_distances_argmin(vectors, self.codes_.astype(vectors.dtype))
        return tokens.astype(np.int64, copy=False).reshape(*values.shape[:-1], 1)

    def dequantize(self, tokens):
        return np.take(self.codes_, tokens[..., 0], axis=0)

    def tokens_per_block(self, dim):
        return 1

    def latent_dim_for(self, block_size):
        return block_size

    def codes(self):
        return self.codes_

    def start_training(self, latents, *, limits, max_steps, seed, earlier):
        if getattr(earlier, "n_codes", None) == self.n_codes:
            vars(self).update(copy.deepcopy(vars(earlier)))
        else:
            if self.random_state is None:
                self.random_state = seed
            self.fit(latents)
        return {
            "power": max(float(latents.var()), float(np.finfo(np.float32).tiny)),
            "n_batches": max_steps // 2,  # idle codes move in the first half only
            "uses": np.zeros(self.n_tokens_, dtype=np.float32),
        }

    def bottleneck(self, latents, training):
        from sktok._torch.nearest import nearest
        from sktok._torch.sums import mean_by_window

        values = latents.detach().flatten(0, -2)
        tokens = nearest(values, training.codes_.detach())
        codes = training.codes_[tokens.view(latents.shape[:-1])]
        to_codes = mean_by_window((latents - codes.detach()).square())
        to_latents = mean_by_window((codes - latents.detach()).square())
        penalty = _LATENTS_TO_CODES * to_codes + _CODES_TO_LATENTS * to_latents
        quantized = codes + (latents - latents.detach())
        if training.training and training.n_batches > 0:
            training.n_batches -= 1
            training.uses += tokens.bincount(minlength=self.n_tokens_)
            if training.n_batches % _REVIVE_EVERY == 0:
                self._revive(values, tokens, training)
        return quantized, penalty / training.power

    def _revive(self, values, tokens, training):
        """Move codes that were hardly used to latents, by their distance."""
        codes = training.codes_.detach()
        idle = (training.uses < _IDLE * training.uses.mean()).nonzero()[:, 0]
        if len(idle):
            distance = (values - codes[tokens]).square().sum(1).cpu() + _TINY
            chosen = distance.multinomial(
                len(idle), replacement=True, generator=training.generator
            )
            training.replace_rows("codes_", idle, values[chosen.to(values.device)])
        training.uses.zero_()

    def tensor_functions(self, device):
        from sktok._torch.arrays import as_tensor
        from sktok._torch.nearest import nearest

        codes = as_tensor(self.codes_).to(device)

        def quantize(x):
            return nearest(x.flatten(0, -2), codes).view(*x.shape[:-1], 1)

        return quantize, lambda tokens: codes[tokens[..., 0]]

    def export_functions(self):
        import torch

        from sktok._torch.arrays import as_tensor

        codes = as_tensor(self.codes_)
        # Squares of a signal far from zero would drown the differences.
        center = codes.mean(0)
        centered = codes - center
        factors, squares = -2 * centered.float(), centered.square().sum(1).float()
        codes, center = codes.float(), center.float()

        def quantize(x):
            distance = torch.nn.functional.linear(x - center, factors, squares)
            return distance.argmin(-1, keepdim=True)

        def dequantize(tokens):
            return torch.nn.functional.embedding(tokens[..., 0], codes)

        return quantize, dequantize

    def _fingerprint_state(self):
        return {"codes_": self.codes_}


def _require_float32_range(values):
    largest = max(values.max(), -values.min())
    if largest > LARGEST:
        raise ValueError(
            f"X has values up to {largest:.3g} in magnitude, more than float32 can "
            "hold: scale it first, as with AmplitudeScaler."
        )
