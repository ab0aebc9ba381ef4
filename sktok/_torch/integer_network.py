"""Probabilities of tokens in exact arithmetic: the same bits on every machine.

The decoder of an entropy code needs exactly the probabilities of the encoder. Sums of
floating-point numbers depend on their order, and so on the machine, the number of
threads and the batch. Here all values are integers times a power of two, in float64,
and all sums have less than 53 bits, so that none is rounded and each order gives the
same result (J. Ballé, N. Johnston, D. Minnen, "Integer networks for data compression
with latent-variable models", ICLR 2019). The other operations have defined results too:
rounding to integers, limits, one division, which IEEE 754 defines, and look-ups in
tables that are saved with the network.

The two softmax functions are adapted to each chunk by gradient steps, which the decoder
repeats (B. Krause et al., "Dynamic evaluation of neural sequence models", ICML 2018).
"""

import math

import numpy as np
import torch

from sktok._torch.arrays import as_tensor

# Bits after the binary point.
_STATE = 10
_WEIGHT = 14
_BIAS = 24  # and what is added to biases
_FEATURE = 6
_HEAD = 20  # weights of the softmax functions, before they are adapted
_ERROR = 10
_RATE = 12

# With these limits, the sums of chunks of 2**17 tokens have less than 53 bits.
LARGEST_WEIGHT = 63
_LARGEST_FEATURE = 4

_GATE_RANGE = 8  # gates are constant beyond +-8
_GATE_STEPS = 2**8  # arguments from 0 to 1 in the tables of gates
_LOGIT_STEPS = 2**6  # the same in the table of the exponential
_FREQUENCY = 2**16  # frequency of the most frequent symbol

LEARN_EVERY = 32  # tokens
_FIRST_RATE = 43  # in units of 2**-_RATE: 0.0105
_SLOWER_AFTER = 1000  # tokens; later, the rate falls with the root of their number


def to_integers(network):
    """Round the weights of a trained network to fixed point.

    Parameters
    ----------
    network : TokenNetwork
        Trained.

    Returns
    -------
    dict of str to ndarray of int32
        Weights and tables.

    Raises
    ------
    FloatingPointError
        If weights are not finite, or larger than fixed point allows.
    """
    gru = network.recurrent
    bias, state_bias = gru.bias_ih_l0.clone(), gru.bias_hh_l0
    n_gates = 2 * gru.hidden_size  # reset and update
    bias[:n_gates] += state_bias[:n_gates]
    of_classes, of_places = network.to_class_features, network.to_place_features
    weights = {
        "inputs": network.token.weight @ gru.weight_ih_l0.T + bias,
        "positions": network.position.weight @ gru.weight_ih_l0.T,
        "recurrent": gru.weight_hh_l0,
        "state_bias": state_bias[n_gates:],
        "class_features": of_classes.weight,
        "class_feature_bias": of_classes.bias,
        "place_features": of_places.weight,
        "place_feature_bias": of_places.bias,
        "classes": network.class_weights(),
        "places": network.place_weights(),
    }
    rounded = {}
    for name, weight in weights.items():
        if not (weight.abs() <= LARGEST_WEIGHT).all():  # NaN is not
            raise FloatingPointError(
                "The training of the coder diverged: expected weights of at most "
                f"{LARGEST_WEIGHT} in magnitude. Set another random_state."
            )
        rounded[name] = (weight.double() * 2.0 ** _BITS[name]).round().int().numpy()
    return rounded | _tables()


_BITS = {
    "inputs": _BIAS,
    "positions": _BIAS,
    "recurrent": _WEIGHT,
    "state_bias": _BIAS,
    "class_features": _WEIGHT,
    "class_feature_bias": _BIAS,
    "place_features": _WEIGHT,
    "place_feature_bias": _BIAS,
    "classes": _HEAD,
    "places": _HEAD,
    "sigmoid": _STATE,
    "tanh": _STATE,
    "exponential": 0,
}


def _tables():
    """Functions that are looked up, as integers."""
    n_steps = 2 * _GATE_RANGE * _GATE_STEPS
    centers = (np.arange(n_steps) + 0.5) / _GATE_STEPS - _GATE_RANGE
    n_nats = math.ceil(math.log(_FREQUENCY))
    exponential = np.exp(-np.arange(n_nats * _LOGIT_STEPS) / _LOGIT_STEPS)
    tables = {
        "sigmoid": 2**_STATE / (1 + np.exp(-centers)),
        "tanh": 2**_STATE * np.tanh(centers),
        "exponential": (_FREQUENCY * exponential).clip(min=1),
    }
    return {name: table.round().astype(np.int32) for name, table in tables.items()}


class ChunkPredictor:
    """Probabilities of the tokens of chunks side by side, each from its own past.

    A chunk starts with the state and the weights of the network, so its probabilities
    do not depend on other chunks.

    Parameters
    ----------
    weights : dict of str to ndarray of int32
        Result of `to_integers`.

    n_chunks : int
        Number of chunks.
    """

    def __init__(self, weights, n_chunks):
        w = {
            name: as_tensor(array).double() * 2.0 ** -_BITS[name]
            for name, array in weights.items()
        }
        self._sigmoid, self._tanh = w["sigmoid"], w["tanh"]
        self._exponential = w["exponential"].float()
        # Sums of gates are places in their tables: scaled, from zero in the middle.
        n_hidden, middle = len(w["state_bias"]), len(self._tanh) // 2
        self._inputs = w["inputs"] * _GATE_STEPS
        self._positions = w["positions"] * _GATE_STEPS + middle
        self._recurrent = w["recurrent"].T.contiguous() * _GATE_STEPS
        no_bias = torch.zeros(2 * n_hidden).double()
        self._recurrent_bias = torch.cat([no_bias, w["state_bias"] * _GATE_STEPS])
        # The features of places, a one for biases, and the features of classes.
        n_place_features = len(w["place_features"])
        self._of_places = slice(n_place_features + 1)
        self._of_classes = slice(n_place_features, None)
        one = torch.zeros(1, n_hidden + 1).double()
        one[:, -1] = 1  # its bias
        features = [
            torch.cat([w[name], w[f"{name[:-1]}_bias"][:, None]], dim=1)
            for name in ("place_features", "class_features")
        ]
        features = torch.cat([features[0], one, features[1]]) * 2.0**_FEATURE
        self._features = features[:, :-1].T.contiguous()
        self._feature_bias = features[:, -1].contiguous()
        # Each chunk has weights of its own. Logits are places in a table.
        classes, places = w["classes"] * _LOGIT_STEPS, w["places"] * _LOGIT_STEPS
        self._classes = classes.repeat(n_chunks, 1, 1)
        self._places = places.repeat(n_chunks, 1, 1)  # of each class of each chunk
        self._first_row = len(classes) * torch.arange(n_chunks)[:, None]
        self._state = torch.zeros(n_chunks, n_hidden).double()
        self._n_read = 0
        self.read(torch.full((n_chunks,), len(self._inputs) - 1))

    def read(self, tokens):
        """Read the next token of each chunk, (n_chunks,)."""
        n_gates = 2 * self._state.shape[1]
        position = self._n_read % len(self._positions)
        self._n_read += 1
        inputs = self._inputs.index_select(0, tokens).add_(self._positions[position])
        recurrent = torch.addmm(self._recurrent_bias, self._state, self._recurrent)
        gates = inputs[:, :n_gates] + recurrent[:, :n_gates]
        reset, update = _take(self._sigmoid, gates).chunk(2, dim=1)
        new = torch.addcmul(inputs[:, n_gates:], reset, recurrent[:, n_gates:])
        new = _take(self._tanh, new)
        self._state = _rounded(torch.lerp(new, self._state, update), _STATE)

    def features(self):
        """Features of the tokens read, (n_chunks, n_features)."""
        features = torch.addmm(self._feature_bias, self._state, self._features)
        largest = _LARGEST_FEATURE * 2.0**_FEATURE
        return features.round_().clamp_(-largest, largest).mul_(2.0**-_FEATURE)

    def class_frequencies(self, features):
        """Frequencies of the classes, (n_chunks, n_steps, n_classes)."""
        features = features[..., self._of_classes]
        return self._frequencies(torch.bmm(features, self._classes.mT))

    def place_frequencies(self, features, classes):
        """Frequencies of the places in classes, (n_chunks, n_steps, class_size)."""
        weights = self._places.index_select(0, self._rows(classes))
        features = features[..., self._of_places].flatten(0, 1)
        logits = torch.bmm(features[:, None], weights.mT)
        return self._frequencies(logits.view(*classes.shape, -1))

    def learn(self, features, classes, class_frequencies, places, place_frequencies):
        """Adapt the weights to some tokens.

        Parameters
        ----------
        features : torch.Tensor of shape (n_chunks, n_steps, n_features)
            The features from which the tokens were predicted.

        classes, places : torch.Tensor of int64, shape (n_chunks, n_steps)
            The tokens.

        class_frequencies, place_frequencies : torch.Tensor, 3 axes
            Their frequencies.
        """
        features = features * (self._rate() * _LOGIT_STEPS)
        errors = _errors(class_frequencies, classes)
        self._classes.baddbmm_(errors.mT, features[..., self._of_classes])
        errors = _errors(place_frequencies, places).flatten(0, 1)
        features = features[..., self._of_places].flatten(0, 1)
        gradient = errors[:, :, None] * features[:, None]
        self._places.index_add_(0, self._rows(classes), gradient)

    def _rate(self):
        """The learning rate."""
        square = _FIRST_RATE**2 * _SLOWER_AFTER // (_SLOWER_AFTER + self._n_read)
        return max(1, math.isqrt(square)) * 2.0**-_RATE

    def _rows(self, classes):
        """Rows of the weights of places, of the classes of each chunk."""
        return (self._first_row + classes).flatten()

    def _frequencies(self, logits):
        return _take(self._exponential, logits.amax(-1, keepdim=True) - logits)


def _take(table, places):
    """Values in a table, at places that are rounded down and limited to it."""
    index = places.clamp_(0, len(table) - 1).int()
    return table.index_select(0, index.flatten()).view(index.shape)


def _rounded(values, bits):
    return values.mul_(2.0**bits).round_().mul_(2.0**-bits)


def _errors(frequencies, symbols):
    """One at the symbol minus the probabilities: the gradient of the log-likelihood."""
    frequencies = frequencies.double()  # in float32, sums of many are not exact
    sums = frequencies.sum(-1, keepdim=True)
    errors = (frequencies * 2.0**_ERROR / sums).floor_().mul_(-(2.0**-_ERROR))
    ones = torch.ones(*symbols.shape, 1, dtype=torch.float64)
    return errors.scatter_add_(-1, symbols[..., None], ones)
