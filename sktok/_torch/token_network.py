"""A recurrent network that predicts tokens, and its training in floating point.

A token is predicted in two steps, its class and its place in the class: this takes two
softmax functions of about the square root of the vocabulary each (J. Goodman, "Classes
for fast maximum entropy training", ICASSP 2001).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from sktok._torch.guard import seeded, unaffected
from sktok._torch.integer_network import LARGEST_WEIGHT, to_integers
from sktok._torch.threads import limited_threads

_LEARNING_RATE = 4e-3
# The training patients are few: without decay, the network overfits.
_WEIGHT_DECAY = 0.3
_DROPOUT = 0.1
_LARGEST_GRADIENT = 1.0
# Features that the softmax functions read, and by which they adapt to a chunk. Those of
# places are fewer, because each token has its own weights there, which takes time.
N_CLASS_FEATURES = 48
N_PLACE_FEATURES = 16
# Variance of a feature before whitening: relative to the largest, and absolute.
_SMALLEST_SHARE = 1e-4
_SMALLEST_VARIANCE = 1e-12
_NEVER = -50.0  # logit of a place without a token
_WHITENING = 100_000  # tokens
_PADDING = -1  # token after the end of a sequence


class TokenNetwork(nn.Module):
    """A GRU over tokens, with a softmax over classes and one over each class.

    Parameters
    ----------
    classes : torch.Tensor of int64, shape (n_classes, class_size)
        The tokens of each class, and -1 in places without a token.

    n_positions : int
        Number of tokens in a window: the network reads the position in it.

    hidden_size : int
        Number of values in the state.
    """

    def __init__(self, classes, n_positions, hidden_size):
        super().__init__()
        n_classes, class_size = classes.shape
        tokens, where = classes.flatten().sort()  # places without a token first
        where = where[tokens >= 0]
        self.n_tokens = len(where)
        self.register_buffer("class_of_token", where // class_size)
        self.register_buffer("place_of_token", where % class_size)
        self.register_buffer("is_free", classes < 0)
        # The last row is the token before the first one.
        self.token = nn.Embedding(self.n_tokens + 1, hidden_size)
        self.position = nn.Embedding(n_positions, hidden_size)
        nn.init.normal_(self.token.weight, std=0.3)
        nn.init.normal_(self.position.weight, std=0.1)
        self.recurrent = nn.GRU(hidden_size, hidden_size, batch_first=True)
        self.to_class_features = nn.Linear(hidden_size, N_CLASS_FEATURES)
        self.to_place_features = nn.Linear(hidden_size, N_PLACE_FEATURES)
        self.to_class = nn.Linear(N_CLASS_FEATURES, n_classes)
        self.to_place = nn.Linear(N_PLACE_FEATURES, n_classes * class_size)

    def start_from(self, n_uses):
        """Set the biases to the frequencies of tokens, (n_tokens,) counts."""
        counts = torch.zeros_like(self.is_free, dtype=torch.float32)
        counts[self.class_of_token, self.place_of_token] = n_uses.float() + 0.5
        with torch.no_grad():
            self.to_class.bias.copy_(counts.sum(1).log())
            self.to_place.bias.copy_(counts.clamp(min=0.5).log().flatten())

    def bits(self, tokens, generator=None):
        """Mean cost of tokens in bits; sequences start at the start of a window.

        Parameters
        ----------
        tokens : torch.Tensor of int64, shape (sequences, length)
            Tokens, and -1 after the end of a sequence.

        generator : torch.Generator or None, default=None
            Draws the values that dropout sets to zero; `None` keeps all.

        Returns
        -------
        torch.Tensor of shape ()
            Bits per token.
        """
        states = _dropout(self._states(tokens, generator), generator)
        tokens = tokens[tokens != _PADDING]
        classes, places = self.class_of_token[tokens], self.place_of_token[tokens]
        features = _dropout(self.to_class_features(states), generator)
        nats = F.cross_entropy(self.to_class(features), classes)
        order = classes.argsort(stable=True)
        features = _dropout(self.to_place_features(states[order]), generator)
        logits = self._place_logits(
            features, classes.bincount(minlength=len(self.is_free))
        )
        nats = nats + F.cross_entropy(logits, places[order])
        return nats / math.log(2)

    def _states(self, tokens, generator=None):
        """The state before each token that is not padding, (n_tokens, n_values)."""
        is_token = (tokens != _PADDING).flatten()
        before = F.pad(tokens[:, :-1].clamp(min=0), (1, 0), value=self.n_tokens)
        position = torch.arange(tokens.shape[1]) % self.position.num_embeddings
        inputs = self.token(before) + self.position(position)
        return self.recurrent(_dropout(inputs, generator))[0].flatten(0, 1)[is_token]

    def whiten(self, tokens):
        """Make features uncorrelated, with mean 0 and variance 1, on some tokens.

        The softmax functions change with them, so the probabilities stay the same. In
        white features, gradient steps lower the cost faster.
        """
        states = self._states(tokens).double()
        for layer, head in (
            (self.to_class_features, self.to_class),
            (self.to_place_features, self.to_place),
        ):
            weight, bias = layer.weight.double(), layer.bias.double()
            features = F.linear(states, weight, bias)
            mean = features.mean(0)
            covariance = torch.cov(features.T, correction=0)
            variances, directions = torch.linalg.eigh(covariance)
            smallest = max(_SMALLEST_SHARE * variances.max(), _SMALLEST_VARIANCE)
            weights = torch.cat([weight, (bias - mean)[:, None]], dim=1)
            weights = directions.T @ weights
            # A feature that hardly varies is scaled less: its weights have a limit.
            least = weights.abs().amax(1) / (LARGEST_WEIGHT / 2)
            scales = variances.clamp(min=smallest).sqrt().maximum(least)
            head.bias += head.weight @ mean.float()
            head.weight.copy_(head.weight.double() @ (directions * scales))
            weights /= scales[:, None]
            layer.weight.copy_(weights[:, :-1])
            layer.bias.copy_(weights[:, -1])

    def class_weights(self):
        """Weights of the classes; biases are in a first column."""
        return torch.cat([self.to_class.bias[:, None], self.to_class.weight], dim=1)

    def place_weights(self):
        """Weights of the places in classes; biases are in a last column."""
        weights = torch.cat([self.to_place.weight, self.to_place.bias[:, None]], dim=1)
        weights = weights.unflatten(0, self.is_free.shape)
        never = F.pad(weights.new_zeros(weights.shape[-1] - 1), (0, 1), value=_NEVER)
        return torch.where(self.is_free[..., None], never, weights)

    def _place_logits(self, features, n_of_class):
        """Logits of the places in the class, of features in the order of classes."""
        pieces = zip(
            features.split(n_of_class.tolist()), self.place_weights(), strict=True
        )
        return torch.cat([torch.addmm(w[:, -1], x, w[:, :-1].T) for x, w in pieces])


def _dropout(values, generator):
    """`torch.nn.functional.dropout` with a generator, or nothing without one."""
    if generator is None:
        return values
    kept = torch.empty_like(values).bernoulli_(1 - _DROPOUT, generator=generator)
    return values * kept.div_(1 - _DROPOUT)


def train(network, sequences, n_steps, batch_size, generator, *, verbose):
    """Train a network on sequences of tokens.

    Parameters
    ----------
    network : TokenNetwork
        Is changed.

    sequences : torch.Tensor of int64, shape (n_sequences, length)
        Tokens from the start of a window on, and -1 after the end.

    n_steps : int
        Number of gradient steps.

    batch_size : int
        Number of sequences in a step.

    generator : torch.Generator
        Draws the batches, and what dropout sets to zero.

    verbose : bool
        Whether to show a progress bar.

    Returns
    -------
    list of float
        Bits per token of each batch.
    """
    optimizer = torch.optim.AdamW(
        network.parameters(), _LEARNING_RATE, weight_decay=_WEIGHT_DECAY
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        _LEARNING_RATE,
        n_steps + 1,
        pct_start=max(0.1, 1.5 / (n_steps + 1)),
        cycle_momentum=False,
    )
    losses = []
    with tqdm(total=n_steps, unit="step", disable=not verbose) as bar:
        while len(losses) < n_steps:
            order = torch.randperm(len(sequences), generator=generator)
            for batch in order.split(batch_size)[: n_steps - len(losses)]:
                loss = network.bits(sequences[batch], generator)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
                optimizer.step()
                schedule.step()
                losses.append(loss.item())
                bar.set_postfix(bits=f"{losses[-1]:.3f}", refresh=False)
                bar.update()
    return losses


@unaffected(with_gradients=True)
def fit_network(
    sequences,
    classes,
    *,
    n_positions,
    hidden_size,
    n_steps,
    batch_size,
    seed,
    verbose,
):
    """Build a network, train it and round it to integers.

    It is trained on one thread: more would sum in another order.

    Parameters
    ----------
    sequences : ndarray of int64, shape (n_sequences, length)
        Tokens from the start of a window on, and -1 after the end.

    classes : ndarray of int64, shape (n_classes, class_size)
        The tokens of each class, and -1 in places without a token.

    n_positions, hidden_size : int
        As in `TokenNetwork`.

    n_steps, batch_size : int
        As in `train`.

    seed : int
        Seeds weights, batches and dropout.

    verbose : bool
        Whether to show a progress bar.

    Returns
    -------
    dict of str to ndarray of int32
        Result of `to_integers`.
    list of float
        Bits per token of each batch.

    Raises
    ------
    FloatingPointError
        If the weights are not finite, or larger than fixed point allows.
    """
    sequences = torch.from_numpy(sequences)
    generator = torch.Generator().manual_seed(seed)
    with seeded(seed):
        network = TokenNetwork(torch.from_numpy(classes), n_positions, hidden_size)
    with limited_threads(1):
        tokens = sequences[sequences != _PADDING]
        network.start_from(tokens.bincount(minlength=network.n_tokens))
        losses = train(
            network, sequences, n_steps, batch_size, generator, verbose=verbose
        )
    if not all(weight.isfinite().all() for weight in network.parameters()):
        raise FloatingPointError(
            "The training of the coder diverged. Set another random_state."
        )
    with torch.no_grad(), limited_threads(1):
        n = max(1, _WHITENING // sequences.shape[1])
        some = torch.randperm(len(sequences), generator=generator)[:n]
        network.whiten(sequences[some, :_WHITENING])
        return to_integers(network), losses
