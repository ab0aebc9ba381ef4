"""The leads of a signal, put into the order of a tokenizer by name."""

from functools import partial

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktok._disk import in_slices
from sktok._estimator import Estimator, Pace, feature_names
from sktok._leads import (
    INDEPENDENT_LEADS,
    combine,
    lead_names,
    lead_weights,
)
from sktok._rows import WINDOWS, require_finite, validate_inverse, validate_windows
from sktok._sklearn_compat import WindowTransformerMixin, _fit_context


class LeadSelector(WindowTransformerMixin, Estimator):
    """Select leads by name on the way in, and restore all leads on the way back.

    It is the first step of a tokenizer of several leads. `transform` puts the leads of
    a signal into the order of the tokenizer and leaves the others out;
    `inverse_transform` returns the leads that came in, in their order. Of twelve leads,
    only eight are independent: III, aVR, aVL and aVF follow from I and II
    (:func:`sktok.datasets.derive_leads`), so that eight leads restore all twelve.

    A fitted tokenizer takes signals with other leads, or in another order, by
    :func:`with_leads`, and its tokens keep their meaning.

    Parameters
    ----------
    input_leads : sequence of str
        Names of the leads of the windows, in order. Upper and lower case are the same.

    output_leads : sequence of str, \
            default=('I', 'II', 'V1', 'V2', 'V3', 'V4', 'V5', 'V6')
        Names of the leads after `transform`, in order.

    Attributes
    ----------
    input_leads_, output_leads_ : tuple of str
        The `input_leads` and `output_leads` used in `fit`.

    row_shape_ : tuple of int
        Shape of a window seen in `fit`.

    n_features_in_ : int
        Number of samples in a window seen in `fit`, of all leads.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X` seen in `fit`, if they are all strings.

    See Also
    --------
    with_leads : Lets a fitted tokenizer take other leads.
    sktok.datasets.derive_leads : The same for arrays.
    Resampler : Does this for the sampling rate.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import LeadSelector
    >>> from sktok.datasets import derive_leads
    >>> three = np.random.default_rng(0).normal(size=(4, 3, 500))
    >>> X = derive_leads(three, ["I", "II", "V1"], to=["V1", "I", "II", "III"])
    >>> selector = LeadSelector(["V1", "I", "II", "III"], ["I", "II", "V1"])
    >>> selector.fit_transform(X).shape
    (4, 3, 500)
    >>> restored = selector.inverse_transform(selector.transform(X))
    >>> np.array_equal(restored, X)
    True
    """

    _parameter_constraints: dict = {
        "input_leads": "no_validation",  # `lead_names` says more
        "output_leads": "no_validation",
    }
    _row_kinds = WINDOWS

    def __init__(self, input_leads, output_leads=INDEPENDENT_LEADS):
        self.input_leads = input_leads
        self.output_leads = output_leads

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the shape of the windows.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_leads, window_length)
            Windows of the `input_leads`, in any unit; (n_windows, window_length) if it
            is one lead.

        y : None
            Ignored.

        Returns
        -------
        self : LeadSelector
            The fitted selector.

        Raises
        ------
        TypeError
            If names of leads are not strings.
        ValueError
            If a lead is missing and cannot be derived, on the way in or back, or `X`
            has another number of leads than `input_leads`.
        """
        self._reset()
        given = lead_names("input_leads", self.input_leads)
        wanted = lead_names("output_leads", self.output_leads)
        _both_ways(given, wanted)
        row_shape = validate_windows(self, X, reset=True).shape[1:]
        _require_leads(row_shape, given)
        self.input_leads_, self.output_leads_ = tuple(given), tuple(wanted)
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "output_leads_")

    @in_slices
    def transform(self, X):
        """Select the leads of the tokenizer, in its order.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_leads, window_length)
            Windows of the `input_leads`.

        Returns
        -------
        X_selected : ndarray of shape (n_windows, n_output_leads, window_length)
            Windows of the `output_leads_`, in the dtype and unit of `X`.

        Raises
        ------
        ValueError
            If the windows have another shape than `row_shape_`, or as in `fit`.
        """
        check_is_fitted(self)
        to_output, _ = _both_ways(self.input_leads_, self.output_leads_)
        return _combined(validate_windows(self, X, reset=False), to_output)

    @in_slices
    def inverse_transform(self, X):
        """Restore the leads that came in, in their order.

        Parameters
        ----------
        X : array-like of shape (n_windows, n_output_leads, window_length)
            Windows of the `output_leads_`.

        Returns
        -------
        X_restored : ndarray of shape (n_windows, n_leads, window_length)
            Windows of the `input_leads`, in the dtype and unit of `X`.

        Raises
        ------
        ValueError
            If the windows have another shape than `transform` returns, or as in `fit`.
        """
        check_is_fitted(self)
        _, to_input = _both_ways(self.input_leads_, self.output_leads_)
        return _combined(validate_inverse(self, X, self._output_shape()), to_input)

    def _output_shape(self):
        """Shape of a window after `transform`."""
        *leads, n_samples = self.row_shape_
        return (len(self.output_leads_), n_samples) if leads else (n_samples,)

    def _pace(self, *, inverse=False):
        return Pace()

    def _resize(self, row_shape):
        """Take windows of another length; return their shape after `transform`."""
        _require_leads(row_shape, self.input_leads_)
        self._set_row_shape(row_shape)
        return self._output_shape()

    def _take_leads(self, names):
        """Take windows of other leads, before a call of `_resize`."""
        _both_ways(names, self.output_leads_)
        self.input_leads_ = tuple(names)

    def _export_functions(self):
        """`transform` and its inverse for tensors of rows, for ONNX."""
        import torch

        ways = _both_ways(self.input_leads_, self.output_leads_)
        return [partial(combine, weights=way, stack=torch.stack) for way in ways]

    def get_feature_names_out(self, input_features=None):
        """Names of the samples of a window, lead by lead.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        names : ndarray of str, shape (n_output_leads * window_length,)
            ``'I_sample0'``, ``'I_sample1'``, …
        """
        check_is_fitted(self)
        samples = range(self.row_shape_[-1])
        names = [f"{lead}_sample{i}" for lead in self.output_leads_ for i in samples]
        return feature_names(self, names, input_features)

    def _fingerprint_state(self):
        return {"output_leads_": self.output_leads_}


def _both_ways(given, wanted):
    """How to compute the wanted leads, and how to compute the given ones from them."""
    return lead_weights(given, wanted), lead_weights(wanted, given)


def _require_leads(row_shape, names):
    """Raise unless windows have a lead for each name."""
    n_leads = row_shape[0] if len(row_shape) == 2 else 1
    if n_leads != len(names):
        raise ValueError(
            f"input_leads names {len(names)} leads, but windows of X have the shape "
            f"{row_shape}, expected ({len(names)}, window_length)."
        )


def _combined(X, weights):
    """Leads of windows by the result of `lead_weights`."""
    if X.ndim == 2:  # one lead, which is the same in and out
        return X
    with np.errstate(over="ignore", invalid="ignore"):
        leads = combine(X, weights)
    return require_finite(leads, X, "convert them to a larger unit.")
