"""Vector quantisation: blocks or latents to the indices of codes and back."""

import copy
from functools import partial
from numbers import Integral, Real

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from sktok._quantizers._codes import (
    ARRAYS,
    Backend,
    cheapest,
    entropy_constrained,
    kmeans_codes,
    require_float32_range,
    some_of,
    stage_by_stage,
    sum_of_codes,
    tensors,
    widened,
)
from sktok._quantizers._protocol import BaseQuantizer
from sktok._quantizers._transitions import bits_of_tokens, learn_transitions
from sktok._sklearn_compat import Interval

# Weights of pulling latents to their codes, and codes to their latents. With none, the
# latents drift away from the codebook and the error is 100 times as large; with half of
# both it is 3 to 8 % larger.
_LATENTS_TO_CODES = 1.0
_CODES_TO_LATENTS = 0.5
_REVIVE_EVERY = 100  # batches
_IDLE = 0.02  # a code is idle below this share of the mean use: 0.1 does harm
_TINY = 1e-30  # keeps a distance above zero
_SHARE_DECAY = 0.98  # of the running shares of the codes, for each batch
_RARE = 1e-7  # least share of a code, which keeps its length finite
_LENGTH_ROUNDS = 5  # of choosing codes and counting them
_LENGTH_VECTORS = 100_000  # in such a round, at most
_ENOUGH_VECTORS = 10_000  # to learn lengths from; running shares count for the rest
_FAR = 0.25  # share of the values of a batch for which training tries several starts
_START_ITERATIONS = 10  # of k-means, before training with a rate weight
_RAMP = 500  # batches, at most, in which the cost of a bit grows to its full value


def without_last_stages(codes, n_windows):
    """Codes with zeros for the last stages of the first windows.

    The first of them keeps one stage, and the others more and more.

    Parameters
    ----------
    codes : torch.Tensor of shape (windows, blocks, n_stages, dim)
        Codes.

    n_windows : int
        Number of windows.

    Returns
    -------
    torch.Tensor of shape (windows, blocks, n_stages, dim)
        Codes.
    """
    stage = np.arange(codes.shape[2])
    n_kept = 1 + np.arange(n_windows) * (len(stage) - 1) // n_windows
    kept = codes.new_ones(len(codes), 1, len(stage), 1)
    kept[:n_windows, 0, :, 0] = kept.new_tensor(stage < n_kept[:, np.newaxis])
    return codes * kept


class VectorQuantizer(BaseQuantizer):
    """Vector quantisation: each block becomes the index of its nearest code.

    The codebook consists of the centres of k-means. On blocks of a signal this is the
    baseline tokenizer, which reads no neighbours; inside :class:`ConvAETokenizer` the
    codebook is trained together with the network.

    With a `rate_weight`, codes are entropy-constrained: a frequent code, which costs
    few bits, is preferred to a rare one that is slightly nearer. At equal entropy of
    the tokens, the error is then smaller than with fewer codes.

    Parameters
    ----------
    n_codes : int, default=256
        Number of codes, which is the size of the vocabulary. If the training data have
        fewer distinct vectors, each of them becomes a code, and codes repeat. With a
        `rate_weight`, codes that are not used are removed, so that the vocabulary is
        smaller.

    rate_weight : float, default=0.0
        Cost of a bit, as a share of the power of a vector (variance of the values times
        dimensions). A vector then gets the code with the least sum of squared
        distance and cost of its bits. 0 takes the nearest code. About 0.0005 suits
        blocks of 10 samples of ECG inside a network, and larger weights lower rates.

    max_iter : int, default=100
        Maximum number of iterations of k-means, and of those with costs.

    random_state : int, RandomState instance or None, default=None
        Seeds k-means.

    Attributes
    ----------
    codes_ : ndarray of shape (`n_tokens_`, dim)
        The codebook, in the dtype of the training data.

    code_lengths_ : ndarray of shape (`n_tokens_`,)
        Bits of each code: the negative logarithm of its share of the training vectors.
        Only with a `rate_weight`.

    bit_cost_ : float
        Cost of a bit, in the unit of the squared distance. Only with a `rate_weight`.

    code_classes_ : ndarray of int64, shape (`n_tokens_` + 1,)
        The class of each code, and that of the start of a window. This and the next two
        attributes are a bigram model of classes, for a search with `n_candidates`. Only
        with a `rate_weight`, inside a network.

    class_lengths_ : ndarray of float32, shape (n_classes + 1, n_classes)
        Bits of each class, given the class of the token before.

    lengths_in_class_ : ndarray of float32, shape (`n_tokens_`,)
        Bits of each code, given its class.

    n_tokens_ : int
        Size of the vocabulary: tokens are in ``range(n_tokens_)``.

    n_iter_ : int
        Number of iterations of k-means, and of those with costs if there is a
        `rate_weight`.

    row_shape_ : tuple of int
        Shape of one row of `X` seen in `fit`.

    n_features_in_ : int
        Number of values in a row of `X` seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X` seen in `fit`, if they are all strings.

    See Also
    --------
    BinQuantizer : Ordered tokens.
    ResidualVectorQuantizer : Several tokens for each vector.
    sktok.metrics.token_usage : Share of the codebook in use.

    Notes
    -----
    :class:`sklearn.cluster.KMeans` finds the codebook, on at most 200,000 vectors drawn
    from `X` and from a start by k-means++ on some of them. It runs on one thread, since
    another number of threads would sum in another order and give another codebook.

    Inside a network, the gradient of the reconstruction reaches the codes and, straight
    through, the latents; each latent and its code are pulled towards each other; and
    codes that are hardly used are moved to latents with a large error. With a
    `rate_weight`, code lengths follow the running shares of the codes, and the cost of
    a bit grows to its full value in the first 500 steps.

    To choose a `rate_weight`, search over some, with
    :func:`sktok.metrics.lowest_rate_within` for a given error.

    References
    ----------
    Y. Linde, A. Buzo and R. M. Gray, "An algorithm for vector quantizer design", IEEE
    Transactions on Communications 28(1):84-95, 1980.

    P. F. Brown et al., "Class-based n-gram models of natural language", Computational
    Linguistics 18(4):467-480, 1992.

    P. A. Chou, T. Lookabaugh and R. M. Gray, "Entropy-constrained vector quantization",
    IEEE Transactions on Acoustics, Speech, and Signal Processing 37(1):31-42, 1989.

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
        "rate_weight": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
    }

    trained_arrays = ("codes_",)

    def __init__(
        self, n_codes=256, *, rate_weight=0.0, max_iter=100, random_state=None
    ):
        self.n_codes = n_codes
        self.rate_weight = rate_weight
        self.max_iter = max_iter
        self.random_state = random_state

    @property
    def n_tokens_(self):
        """Size of the vocabulary: tokens are in ``range(n_tokens_)``."""
        return len(self.codes_)

    # ResidualVectorQuantizer has several stages.

    def _sizes(self):
        """Number of codes to learn in each stage."""
        return [int(self.n_codes)]

    def _stages(self):
        """The codes of each stage that is in use."""
        return [slice(0, len(self.codes_))]

    def _token_starts(self):
        return [stage.start for stage in self._stages()]

    def _set_codes(self, codebooks):
        """Set the codes of each stage."""
        self.codes_ = np.concatenate(codebooks)

    def _beam_width(self):
        """Number of beginnings to keep from stage to stage."""
        return 1

    def _n_with_fewer_stages(self, n_windows):
        """Number of windows of a batch that are restored from the first stages."""
        return 0

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
        require_float32_range(values)
        self._set_bit_cost(values)
        left, random_state = _vectors(values), check_random_state(self.random_state)
        codebooks, self.n_iter_ = [], 0
        for n_codes in self._sizes():
            codes = self._learn_stage(left, n_codes, codebooks, random_state)
            codebooks.append(codes.astype(values.dtype, copy=False))
            if len(codebooks) < len(self._sizes()):
                left = left - codes[cheapest(left, codes)]
        self._set_codes(codebooks)
        if self.rate_weight > 0:
            self._learn_lengths(_vectors(values), self._choose_for_arrays)

    def _learn_stage(self, left, n_codes, before, random_state):
        """The codes of a stage, learned from what the stages before have left."""
        is_first = not before
        codes, n_iter = kmeans_codes(
            left, n_codes if is_first else n_codes - 1, self.max_iter, random_state
        )
        if not is_first:  # a vector may be left as it is
            codes = np.concatenate([np.zeros_like(codes[:1]), codes])
        self.n_iter_ += n_iter
        if self.rate_weight > 0:
            some = some_of(left, random_state)
            codes, n_iter = entropy_constrained(
                some, codes, self.bit_cost_, self.max_iter
            )
            self.n_iter_ += n_iter
        return codes

    def _set_bit_cost(self, values):
        if self.rate_weight > 0:
            power = float(values.var(dtype=np.float64)) * values.shape[-1]
            self.bit_cost_ = float(self.rate_weight) * power

    def _learn_lengths(self, vectors, choose, earlier=0.0):
        """Learn the code lengths, and remove codes that are not used.

        The lengths depend on the codes that are chosen, and these on the lengths: both
        are computed in turns, on some of the vectors and at last on all of them.

        Parameters
        ----------
        vectors : ndarray of float, shape (n_vectors, dim)
            Vectors.

        choose : callable
            Returns the tokens of vectors, (n_vectors, n_stages).

        earlier : ndarray of shape (n_tokens,) or float, default=0.0
            How often each code was used before.

        Returns
        -------
        ndarray of int64, shape (n_vectors, n_stages)
            The tokens of the vectors.
        """
        some = some_of(vectors, check_random_state(self.random_state))
        self.code_lengths_ = np.zeros(len(self.codes_))
        for chosen_from in [*[some[:_LENGTH_VECTORS]] * _LENGTH_ROUNDS, vectors]:
            tokens = choose(chosen_from)
            counts = np.bincount(tokens.ravel(), minlength=len(self.codes_)) + earlier
            # Each stage has a token for each vector.
            n_uses = counts[self._stages()[0]].sum()
            self.code_lengths_ = np.log2(n_uses / np.maximum(counts, 0.5))
        used = counts >= 0.5
        self.code_lengths_ = self.code_lengths_[used]
        stages = self._stages()
        self._set_codes([self.codes_[stage][used[stage]] for stage in stages])
        return (np.cumsum(used) - 1)[tokens]

    def _choose_for_arrays(self, vectors):
        """Tokens of vectors, (n_vectors, dim) -> (n_vectors, n_stages)."""
        vectors, codes = widened(vectors, self.codes_)
        return self._choose(ARRAYS, vectors, codes, self._costs())

    def _choose(self, backend, values, codes, costs, beam_width=None):
        """Tokens of values, (n_values, dim) -> (n_values, n_stages)."""
        stages, width = self._stages(), beam_width or self._beam_width()
        return stage_by_stage(backend, values, codes, stages, costs, width)

    def _costs(self):
        """Cost of the bits of each code, in the unit of the squared distance."""
        if self.rate_weight == 0:
            return None
        return self.bit_cost_ * self.code_lengths_

    def quantize(self, values):
        require_float32_range(values)
        tokens = self._choose_for_arrays(_vectors(values))
        return tokens.reshape(*values.shape[:-1], -1)

    def dequantize(self, tokens):
        return sum_of_codes(tokens, self.codes_)

    def tokens_per_block(self, dim):
        return len(self._stages())

    def latent_dim_for(self, block_size):
        return block_size

    def codes(self):
        return self.codes_

    def start_training(self, latents, *, limits, max_steps, seed, earlier):
        if self._continues_from(earlier):
            known = copy.deepcopy(vars(earlier))
        else:
            if self.random_state is None:
                self.random_state = seed
            start = clone(self)
            if self.rate_weight > 0:  # training moves the codes further
                n_iter = min(self.max_iter, _START_ITERATIONS)
                start.set_params(rate_weight=0.0, max_iter=n_iter)
            known = vars(start.fit(latents))
        own = {"rate_weight": self.rate_weight, "max_iter": self.max_iter}
        vars(self).update(known | own)
        state = {
            "power": max(float(latents.var()), float(np.finfo(np.float32).tiny)),
            "n_batches": max_steps // 2,  # idle codes move in the first half only
            "uses": np.zeros(self.n_tokens_, dtype=np.float32),
        }
        if self.rate_weight > 0:
            self._set_bit_cost(latents)
            state |= self._start_shares(max_steps)
        return state

    def _continues_from(self, earlier):
        """Whether training can start from the codes of an earlier fit."""
        if type(earlier) is not type(self) or earlier._sizes() != self._sizes():
            return False
        # Without costs, no code is removed.
        return self.rate_weight > 0 or len(earlier.codes_) == sum(self._sizes())

    def _start_shares(self, max_steps):
        """State of the running shares of the codes, which start at zero."""
        n_ramp = max(1, min(_RAMP, max_steps // 4))
        shares, n_updates = np.zeros(self.n_tokens_), 0
        if hasattr(self, "code_lengths_"):  # of an earlier fit
            n_updates = n_ramp
            shares = 2.0**-self.code_lengths_ * _weight_of(n_updates)
        shares = shares.astype(np.float32)
        return {"shares": shares, "n_ramp": n_ramp, "n_updates": n_updates}

    def bottleneck(self, latents, training):
        from sktok._torch.sums import mean_by_window

        values, codes = latents.detach().flatten(0, -2), training.codes_.detach()
        costs = self._running_costs(training)
        (n_windows, n_blocks, _), n_fewer = latents.shape, 0
        if training.training:
            n_fewer = self._n_with_fewer_stages(n_windows)
            tokens = self._choose_quickly(values, codes, costs, n_fewer * n_blocks)
        else:
            tokens = self._choose(tensors(), values, codes, costs)
        chosen = training.codes_[tokens.view(n_windows, n_blocks, -1)]
        if n_fewer:
            chosen = without_last_stages(chosen, n_fewer)
        chosen = chosen.sum(-2)
        to_codes = mean_by_window((latents - chosen.detach()).square())
        to_latents = mean_by_window((chosen - latents.detach()).square())
        penalty = _LATENTS_TO_CODES * to_codes + _CODES_TO_LATENTS * to_latents
        quantized = chosen + (latents - latents.detach())
        if training.training:
            self._count(values, tokens, training)
        return quantized, penalty / training.power

    def _choose_quickly(self, values, codes, costs, n_fewer):
        """Tokens of values, with several beginnings where one leaves a large error.

        The first `n_fewer` values have one, as if there were fewer stages.
        """
        tokens = self._choose(tensors(), values, codes, costs, 1)
        if tokens.shape[1] == 1:
            return tokens
        distance = (values - sum_of_codes(tokens, codes)).square().sum(1)
        if costs is not None:
            distance += costs[tokens].sum(1)
        n_far = max(1, int(_FAR * (len(values) - n_fewer)))
        far = n_fewer + distance[n_fewer:].topk(n_far)[1]
        tokens[far] = self._choose(tensors(), values[far], codes, costs)
        return tokens

    def _running_costs(self, training):
        """The costs of the codes by their running shares."""
        if self.rate_weight == 0:
            return None
        if training.n_updates == 0:
            return None
        ramp = min(1.0, training.n_updates / training.n_ramp)
        shares = training.shares / _weight_of(training.n_updates)
        return -ramp * self.bit_cost_ * shares.clamp(min=_RARE).log2()

    def _count(self, values, tokens, training):
        """Update what depends on how often codes are used, and move idle codes."""
        counts = tokens.flatten().bincount(minlength=len(training.codes_))
        if self.rate_weight > 0:
            shares = counts / len(tokens)
            training.shares.mul_(_SHARE_DECAY).add_(shares, alpha=1 - _SHARE_DECAY)
            training.n_updates += 1
        if training.n_batches > 0:
            training.n_batches -= 1
            training.uses += counts
            if training.n_batches % _REVIVE_EVERY == 0:
                self._revive(values, tokens, training)

    def _revive(self, left, tokens, training):
        """Move codes that were hardly used to latents, by their distance."""
        import torch

        codes = training.codes_.detach()
        idle, moved_to = [], []
        for stage, chosen in zip(self._stages(), tokens.unbind(-1), strict=True):
            uses, after = training.uses[stage], left - codes[chosen]
            rows = (uses < _IDLE * uses.mean()).nonzero()[:, 0]
            if len(rows):
                distance = after.square().sum(1).cpu() + _TINY
                drawn = distance.multinomial(
                    len(rows), replacement=True, generator=training.generator
                )
                idle.append(stage.start + rows)
                moved_to.append(left[drawn.to(left.device)])
                if self.rate_weight > 0:  # otherwise they would stay too expensive
                    training.shares[idle[-1]] = _IDLE / len(uses)
            left = after
        if idle:
            training.replace_rows("codes_", torch.cat(idle), torch.cat(moved_to))
        training.uses.zero_()

    def finish_training(self, encode, training):
        if self.rate_weight == 0:
            return
        from sktok._torch.arrays import as_blocks, as_tensor

        def choose(vectors):
            quantize, _ = self.tensor_functions("cpu")
            return quantize(as_tensor(vectors)).numpy()

        latents = encode()
        vectors = _vectors(latents)
        # The last batch of a stream may be small, and lack most codes.
        shares = training.shares.cpu().numpy() / _weight_of(training.n_updates)
        earlier = shares * max(0, _ENOUGH_VECTORS - len(vectors))
        tokens = self._learn_lengths(vectors, choose, earlier)
        # Blocks without windows have no neighbours.
        tokens = tokens.reshape(*as_blocks(latents).shape[:-1], -1)
        random_state = check_random_state(self.random_state)
        self.code_classes_, self.class_lengths_, self.lengths_in_class_ = (
            learn_transitions(tokens, self.code_lengths_, self._stages(), random_state)
        )

    def tensor_functions(self, device):
        codes, costs = self._tensors(device)

        def quantize(x):
            tokens = self._choose(tensors(), x.flatten(0, -2), codes, costs)
            return tokens.view(*x.shape[:-1], -1)

        return quantize, partial(sum_of_codes, codes=codes)

    def _tensors(self, device):
        """The codes and their costs, or None if there are none."""
        from sktok._torch.arrays import as_tensor

        codes, costs = as_tensor(self.codes_).to(device), self._costs()
        if costs is not None:
            costs = as_tensor(costs.astype(self.codes_.dtype)).to(device)
        return codes, costs

    def search_functions(self, device):
        from sktok._torch.arrays import as_tensor
        from sktok._torch.search import nearest_tokens

        codes, costs = self._tensors(device)
        stages, bits = self._stages(), None

        def candidates(latents, tokens, own, place, n):
            others = sum_of_codes(tokens, codes) - codes[tokens[..., place]]
            left = latents if len(stages) == 1 else latents - others
            stage = stages[place]
            own = own if len(stages) == 1 else tokens
            own = own[..., place] - stage.start
            cost = None if costs is None else costs[stage]
            return stage.start + nearest_tokens(left, codes[stage], own, n, cost)

        if costs is not None:
            model = self.code_classes_, self.class_lengths_, self.lengths_in_class_
            bits = partial(bits_of_tokens, *[as_tensor(x).to(device) for x in model])
        return partial(sum_of_codes, codes=codes), candidates, bits

    def export_functions(self):
        import torch
        from torch.nn.functional import embedding, linear

        from sktok._torch.arrays import as_tensor
        from sktok._torch.nearest import take_along

        codes, costs = as_tensor(self.codes_), self._costs()
        costs = costs if costs is None else as_tensor(costs)

        def distances(x, codes, costs):
            # Squares of a signal far from zero would drown the differences.
            center = codes.mean(0)
            centered = codes - center
            squares = centered.square().sum(1)
            if costs is not None:
                squares = squares + costs
            x = x.float() - center.float()
            return linear(x, -2 * centered.float(), squares.float())

        def nearest(x, codes, costs):
            return distances(x, codes, costs).argmin(-1)

        def several_nearest(x, codes, costs, n):
            return distances(x, codes, costs).topk(n, largest=False)[1]

        def best_continuations(left, totals, codes, costs, n):
            # The square of what is left differs from beginning to beginning.
            table = distances(left, codes, costs) + totals[..., None]
            centers = codes.mean(0)
            shift = 2 * (left - centers).float() @ centers.float()
            return (table - shift[..., None]).flatten(-2).topk(n, largest=False)[1]

        functions = nearest, several_nearest, best_continuations
        backend = Backend(torch, take_along, *functions)

        def quantize(x):
            return self._choose(backend, x, codes, costs)

        def dequantize(tokens):
            stages = tokens.unbind(-1)
            return sum(embedding(stage, codes.float()) for stage in stages)

        return quantize, dequantize

    def _fingerprint_state(self):
        state = {"codes_": self.codes_}
        if self.rate_weight > 0:
            state["costs"] = self._costs()
        return state


def _weight_of(n_updates):
    """Sum of the weights of a running mean that started at zero."""
    return 1 - _SHARE_DECAY**n_updates


def _vectors(values):
    return values.reshape(-1, values.shape[-1])
