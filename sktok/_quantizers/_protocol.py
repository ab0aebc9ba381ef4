"""The protocol of quantisers: values to tokens and back, alone or inside a network."""

import math
from functools import partial

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktok._disk import in_slices
from sktok._estimator import (
    Estimator,
    FirstBatchMixin,
    Pace,
    feature_names,
    names_by_lead,
)
from sktok._quantizers._codes import in_pieces
from sktok._rows import BLOCKS, validate_tokens, validate_windows
from sktok._sklearn_compat import WindowTransformerMixin, _fit_context

_MOST_CODES = 2**20  # a larger table does not belong into memory


class BaseQuantizer(FirstBatchMixin, WindowTransformerMixin, Estimator):
    """Base class of quantisers, alone in a Pipeline or inside a network.

    A quantiser turns the values along the last axis of an array into tokens: samples of
    a block, or the latents that a network makes of it. A subclass is a scikit-learn
    estimator that defines `learn`, `quantize` and `dequantize`, and the attribute
    `n_tokens_`; it then works as a step of a Pipeline, and inside
    :class:`ConvAETokenizer`. The other methods have defaults; override them as needed.

    Attributes
    ----------
    row_shape_ : tuple of int
        Shape of one row of `X` seen in `fit`.

    n_features_in_ : int
        Number of values in a row of `X` seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X` seen in `fit`, if they are all strings.

    See Also
    --------
    BinQuantizer : Scalar quantisation.
    VectorQuantizer : Vector quantisation.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import BaseQuantizer
    >>> class SignQuantizer(BaseQuantizer):
    ...     def learn(self, values):
    ...         self.n_tokens_ = 2
    ...
    ...     def quantize(self, values):
    ...         return (values > 0).astype(np.int64)
    ...
    ...     def dequantize(self, tokens):
    ...         return 2.0 * tokens - 1.0
    >>> quantizer = SignQuantizer()
    >>> quantizer.fit_transform([[-0.3, 0.2]])
    array([[0, 1]])
    """

    _parameter_constraints: dict = {}
    _row_kinds = BLOCKS

    # Names of fitted arrays that are trained together with a network.
    trained_arrays = ()

    # What every subclass defines.

    def learn(self, values):
        """Set all fitted attributes from values.

        Parameters
        ----------
        values : ndarray of float, shape (..., dim)
            Finite values.
        """
        raise self._undefined("learn")

    def quantize(self, values):
        """Tokens of values: the inverse of `dequantize`, with a loss.

        Parameters
        ----------
        values : ndarray of float, shape (..., dim)
            Finite values.

        Returns
        -------
        tokens : ndarray of int64, shape (..., tokens_per_block(dim))
            Tokens in ``range(n_tokens_)``.
        """
        raise self._undefined("quantize")

    def dequantize(self, tokens):
        """Values of tokens: the inverse of `quantize`.

        Parameters
        ----------
        tokens : ndarray of int64, shape (..., tokens_per_block(dim))
            Valid tokens.

        Returns
        -------
        values : ndarray of float, shape (..., dim)
            Restored values.
        """
        raise self._undefined("dequantize")

    def _undefined(self, method):
        return TypeError(
            f"{type(self).__name__} does not define {method}, which every quantiser "
            "needs: see sktok.BaseQuantizer."
        )

    # What a subclass may define.

    def tokens_per_block(self, dim):
        """Return the number of tokens for `dim` values.

        Parameters
        ----------
        dim : int
            Length of the last axis.

        Returns
        -------
        int
            The default is a token for each value.
        """
        return dim

    def latent_dim_for(self, block_size):
        """Return the number of latents that a block needs.

        Parameters
        ----------
        block_size : int
            Number of samples in a block.

        Returns
        -------
        int
            What ``latent_dim="auto"`` means; the default is 1.
        """
        return 1

    def latent_limits(self):
        """Return the limits that latents should keep by construction.

        Returns
        -------
        tuple (low, high) or None
            None, the default, leaves latents unbounded.
        """
        return None

    def value_limits(self):
        """Return the limits beyond which values cannot be represented.

        In training, no gradient passes beyond them; `describe` counts such values as
        cut off.

        Returns
        -------
        tuple (low, high) or None
            Numbers, or arrays with one number for each position of the last axis.
            None, the default, means that there are no limits.
        """
        return None

    def codes(self):
        """Return what each token stands for, which a search may choose from.

        Returns
        -------
        ndarray of shape (`n_tokens_`, dim)
            A token stands for `dim` consecutive values.

        Raises
        ------
        AttributeError
            If there are more than 2**20 tokens.
        """
        if self.n_tokens_ > _MOST_CODES:
            raise AttributeError(
                f"{self.n_tokens_} tokens are too many for a table of what they stand "
                "for: call inverse_transform with some of them, or use fewer bins."
            )
        return self.dequantize(np.arange(self.n_tokens_)[:, np.newaxis])

    def start_training(self, latents, *, limits, max_steps, seed, earlier):
        """Prepare for training inside a network.

        Parameters
        ----------
        latents : ndarray of float32, shape (windows, blocks, latent_dim)
            Latents of the untrained network.

        limits : tuple (low, high) or None
            Limits that the network's latents keep by construction.

        max_steps : int
            Number of training steps.

        seed : int
            Seeds all random choices.

        earlier : BaseQuantizer or None
            The quantiser of an earlier fit that training continues.

        Returns
        -------
        dict of str to ndarray or number
            State that `bottleneck` needs; the default is none.
        """
        self.fit(latents)
        return {}

    def bottleneck(self, latents, training):
        """Quantise latents in a training step, with a gradient.

        The default learns from each batch, and passes the gradient straight through the
        rounding but not beyond `value_limits`, where latents would otherwise grow
        without end.

        Parameters
        ----------
        latents : torch.Tensor of shape (windows, blocks, latent_dim)
            Latents of a batch.

        training : torch.nn.Module
            Has the `trained_arrays` and the state as attributes (tensors), `training`
            (False while held-out windows are scored), `generator` and
            ``replace_rows(name, rows, values)``.

        Returns
        -------
        quantized : torch.Tensor of shape (windows, blocks, latent_dim)
            Restored latents.

        penalty : torch.Tensor of shape () or float
            Is added to the relative error of the reconstruction.
        """
        values = latents.detach().cpu().numpy()
        if not np.isfinite(values).all():
            raise FloatingPointError("the latents are not finite")
        if training.training:
            self.learn(values)
        restored = self.dequantize(self.quantize(values))
        restored = latents.new_tensor(restored).view_as(latents)
        limits = self.value_limits()
        if limits is not None:
            latents = latents.clamp(*map(latents.new_tensor, limits))
        return latents + (restored - latents).detach(), 0.0

    def finish_training(self, encode, training):
        """Learn from the latents of the trained network.

        It is called after `fit`, and after each batch of a stream. The default learns
        unless there are `trained_arrays`.

        Parameters
        ----------
        encode : callable
            Returns all latents: ndarray of shape (windows, blocks, latent_dim).

        training : torch.nn.Module
            As in `bottleneck`.
        """
        if not self.trained_arrays:
            self.fit(encode())

    def tensor_functions(self, device):
        """`quantize` and `dequantize` for tensors of some windows.

        No bit of a result may depend on the number of windows.

        Parameters
        ----------
        device : torch.device
            Where the tensors are.

        Returns
        -------
        quantize, dequantize : callable
            Functions of one tensor. The default goes through numpy.
        """
        from sktok._torch.arrays import through_numpy

        functions = self.quantize, self.dequantize
        return tuple(through_numpy(partial(in_pieces, f), device) for f in functions)

    def search_functions(self, device):
        """What a search for the tokens of a window needs.

        Parameters
        ----------
        device : torch.device
            Where the tensors are.

        Returns
        -------
        dequantize : callable
            ``dequantize(tokens)`` restores latents of tokens of shape (..., windows,
            blocks, tokens_per_block).
        candidates : callable
            ``candidates(latents, tokens, own, place, n)`` returns `n` tokens to try in
            a place of each block, (windows, blocks, n): that of `own` first.
        bits : callable or None
            ``bits(tokens)`` returns the bits of each block, (..., windows, blocks),
            which may depend on the block before. None if bits do not count.

            The default makes them of `codes`, without bits.
        """
        from sktok._torch.arrays import as_tensor
        from sktok._torch.search import functions_of_codes

        return functions_of_codes(as_tensor(self.codes()).to(device))

    def export_functions(self):
        """`quantize` and `dequantize` as functions of tensors that ONNX can hold.

        Returns
        -------
        quantize, dequantize : callable
            Functions of one tensor, without branches on its values.

        Raises
        ------
        TypeError
            By default: override it to export a custom quantiser.
        """
        raise TypeError(
            f"{type(self).__name__} cannot be exported: it does not define "
            "export_functions, see sktok.BaseQuantizer."
        )

    # What follows from the above.

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn from values.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_values), (n_windows, n_blocks, dim) \
                or (n_windows, n_leads, n_blocks, dim)
            Values to quantise, such as blocks or latents.

        y : None
            Ignored.

        Returns
        -------
        self : BaseQuantizer
            The fitted quantiser.

        Raises
        ------
        ValueError
            If the parameters do not fit `X`, or `X` is not finite or exceeds the range
            of float32.
        """
        self._reset()
        self.learn(validate_windows(self, X, reset=True))
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "n_tokens_")

    @in_slices
    def transform(self, X):
        """Turn values into tokens.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_values), (n_windows, n_blocks, dim) \
                or (n_windows, n_leads, n_blocks, dim)
            Values in rows of the shape seen in `fit`.

        Returns
        -------
        tokens : ndarray of int64, shape (n_windows, n_tokens_per_window)
            Tokens in ``range(n_tokens_)``, in the order of the leads and blocks.

        Raises
        ------
        ValueError
            If the rows of `X` have another shape than in `fit`, are not finite, or
            exceed the range of float32.
        """
        check_is_fitted(self)
        X = validate_windows(self, X, reset=False)
        return self.quantize(X).reshape(len(X), -1)

    @in_slices
    def inverse_transform(self, X):
        """Turn tokens into values.

        Parameters
        ----------
        X : array-like of int, shape (n_windows, n_tokens_per_window)
            Tokens in ``range(n_tokens_)``.

        Returns
        -------
        values : ndarray of shape (n_windows, n_values), (n_windows, n_blocks, dim) \
                or (n_windows, n_leads, n_blocks, dim)
            What the tokens stand for, in the dtype and row shape of the training data.

        Raises
        ------
        TypeError
            If the tokens are not integers.
        ValueError
            If a token is outside the vocabulary or the rows have another length.
        """
        check_is_fitted(self)
        tokens = validate_tokens(X, self.n_tokens_, self._tokens_per_window())
        self._require_places(tokens)
        tokens = tokens.reshape(len(tokens), *self.row_shape_[:-1], -1)
        return self.dequantize(tokens).reshape(len(tokens), *self.row_shape_)

    def get_feature_names_out(self, input_features=None):
        """Names of the tokens of a window.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        names : ndarray of str, shape (n_tokens_per_window,)
            ``'token0'``, ``'token1'``, …; for several leads ``'lead0_token0'``, …
        """
        check_is_fitted(self)
        leads = self.row_shape_[:-2]
        n_names = self._tokens_per_window() // math.prod(leads)
        names = names_by_lead([f"token{i}" for i in range(n_names)], leads)
        return feature_names(self, names, input_features)

    def _pace(self, *, inverse=False):
        n_values = self.row_shape_[-1]
        n_tokens = self.tokens_per_block(n_values)
        return Pace(n_tokens, n_values) if inverse else Pace(n_values, n_tokens)

    def _resize(self, row_shape):
        """Take rows of another number of vectors; return the shape of their tokens."""
        if row_shape[-1] != self.row_shape_[-1]:
            return super()._resize(row_shape)
        self._set_row_shape(row_shape)
        return (self._tokens_per_window(),)

    def _tokens_per_window(self):
        *outer, dim = self.row_shape_
        return math.prod(outer) * self.tokens_per_block(dim)

    def _token_starts(self):
        return [0]

    def _code_vectors(self):
        codes = np.asarray(self.codes(), dtype=np.float64)
        return np.split(codes, self._token_starts()[1:])

    def _require_places(self, tokens):
        """Raise if the place of a token tells that it is wrong."""

    def _clip_rates(self, X):
        """Share of the values beyond `value_limits`, for `sktok._steps.clip_rates`."""
        if self.value_limits() is None:
            return []
        low, high = self.value_limits()
        X = validate_windows(self, X, reset=False)
        name = type(self).__name__
        advice = f"the limits of {name}: widen them, or fit on such data."
        return [(float(np.mean((low > X) | (high < X))), advice)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # tokens are integers
        return tags
