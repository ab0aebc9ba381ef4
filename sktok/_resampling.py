"""Resampling of windows to another sampling rate, and its inverse."""

import math
from fractions import Fraction
from numbers import Real

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sktok._disk import in_slices
from sktok._estimator import Estimator, Pace, feature_names, names_by_lead
from sktok._polyphase import (
    filter_matrices,
    look_ahead,
    rate_ratio,
    resample,
    resampled_length,
)
from sktok._rows import (
    WINDOWS,
    as_python,
    require_finite,
    validate_inverse,
    validate_windows,
)
from sktok._sklearn_compat import Interval, WindowTransformerMixin, _fit_context
from sktok._steps import as_lead


def _tensor_resampler(n_input, input_fs, n_output, output_fs):
    """`resample` for tensors of windows of `n_input` samples."""
    import torch

    up, down = rate_ratio(input_fs, output_fs)
    if up == down:
        return lambda x: x
    places, weights, last_weights = filter_matrices(n_input, n_output, up, down)
    places = torch.from_numpy(places)
    weights, last_weights = (
        torch.from_numpy(array).float() for array in (weights, last_weights)
    )

    def resample_tensor(x):
        level = x[..., :1]
        x = x - level
        segments = x.index_select(-1, places.flatten()).unflatten(-1, places.shape)
        groups = torch.einsum("...gi,gio->...go", segments, weights)
        groups = groups + x[..., -1:, None] * last_weights
        return groups.flatten(-2)[..., :n_output] + level

    return resample_tensor


class Resampler(WindowTransformerMixin, Estimator):
    """Resample windows from the sampling rate of a signal to that of a tokenizer.

    It is the first step of a tokenizer and says what its input is: the sampling rate
    and, if they are given, the unit and the lead. Functions that read recordings, such
    as :func:`sktok.corpus.write_corpus`, refuse signals that do not match.

    With equal rates, windows pass unchanged. A fitted tokenizer takes windows of
    another rate after ``set_params(resample__input_fs=500)``: these have as many
    seconds as the windows seen in `fit`, and the tokens keep their meaning. The result
    of `inverse_transform` has the rate `input_fs`.

    Parameters
    ----------
    input_fs : float
        Sampling rate of the windows in Hz. May be set after `fit`.

    output_fs : float
        Sampling rate after `transform`, in Hz. After `fit`, it changes nothing.

    unit : str or None, default=None
        Unit of the windows, such as ``"mV"``; `None` if it is not known.

    lead : str, sequence of str or None, default=None
        Name of the lead, or names of the leads of windows of several leads; `None` if
        it is not known or the tokenizer is for any lead.

    Attributes
    ----------
    duration_ : float
        Duration of the windows seen in `fit`, in seconds.

    output_fs_ : float
        The `output_fs` used in `fit`.

    output_shape_ : tuple of int
        Shape of the windows that `transform` returns, at the rate `output_fs`.

    row_shape_ : tuple of int
        Shape of the windows that `transform` takes, at the rate `input_fs`.

    n_features_in_ : int
        Number of samples in a window that `transform` takes, of all leads.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X` seen in `fit`, if they are all strings.

    See Also
    --------
    sktok.datasets.load_wfdb : Resamples whole records, which has no errors at the ends
        of windows.
    with_window_length : Lets a fitted tokenizer take windows of another duration.

    Notes
    -----
    Polyphase filtering with a Kaiser window, as by :func:`scipy.signal.resample_poly`.
    The filter reads 10 samples, at the lower rate, to either side. Beyond the ends of a
    window, the signal is continued by point reflection. Compared with resampling of
    whole records, this costs 2 to 11 µV at the last sample of a window of ECG, and
    nothing in the middle (`examples/benchmark_windows.py`).

    Examples
    --------
    >>> from sktok import Resampler
    >>> from sktok.datasets import load_ecg
    >>> X = load_ecg(window_length=720).data  # windows of two seconds at 360 Hz
    >>> resampler = Resampler(360, 250)
    >>> resampler.fit_transform(X).shape
    (150, 500)
    >>> resampler.inverse_transform(resampler.transform(X)).shape
    (150, 720)
    """

    _parameter_constraints: dict = {
        "input_fs": [Interval(Real, 0, None, closed="neither")],
        "output_fs": [Interval(Real, 0, None, closed="neither")],
        "unit": [str, None],
        "lead": "no_validation",
    }
    _row_kinds = WINDOWS

    def __init__(self, input_fs, output_fs, *, unit=None, lead=None):
        self.input_fs = input_fs
        self.output_fs = output_fs
        self.unit = unit
        self.lead = lead

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the duration of the windows.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length) or \
                (n_windows, n_leads, window_length)
            Windows of a signal at the rate `input_fs`, in any unit.

        y : None
            Ignored.

        Returns
        -------
        self : Resampler
            The fitted resampler.

        Raises
        ------
        ValueError
            If the rates have no ratio of two integers up to 10,000, within a millionth,
            or the number of leads is not that of `lead`.
        TypeError
            If `lead` is neither a name nor a sequence of names.
        """
        self._reset()
        as_lead(self.lead)
        rate_ratio(self.input_fs, self.output_fs)
        X = validate_windows(self, X, reset=True)
        self._leads_in_fit = X.shape[1:-1]
        self._check_leads(self._leads_in_fit)
        return self

    @property
    def row_shape_(self):
        """Shape of the windows that `transform` takes, at the rate `input_fs`."""
        n_samples = max(1, round(self.duration_ * as_python(self.input_fs)))
        return (*self.output_shape_[:-1], n_samples)

    @row_shape_.setter
    def row_shape_(self, shape):
        *leads, n_samples = shape
        n_output = resampled_length(n_samples, self.input_fs, self.output_fs)
        self.output_fs_ = as_python(self.output_fs)
        self.output_shape_ = *leads, n_output
        self.duration_ = n_samples / as_python(self.input_fs)

    @property
    def n_features_in_(self):
        """Number of samples in a window that `transform` takes, of all leads."""
        return math.prod(self.row_shape_)

    @n_features_in_.setter
    def n_features_in_(self, n_features):
        """Do nothing: it follows from `row_shape_`."""

    def _check_leads(self, leads):
        lead = as_lead(self.lead)
        if isinstance(lead, tuple) and leads != (len(lead),):
            raise ValueError(
                f"lead names the {len(lead)} leads {', '.join(lead)}, but windows of X "
                f"have the shape {self.row_shape_}, expected ({len(lead)}, "
                "window_length): give a name for each lead, and put the Resampler "
                "before a GainShapeTokenizer, which encodes leads one by one."
            )

    def __sklearn_is_fitted__(self):
        return hasattr(self, "duration_")

    @in_slices
    def transform(self, X):
        """Resample windows to the rate `output_fs`.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length) or \
                (n_windows, n_leads, window_length)
            Windows at the rate `input_fs`.

        Returns
        -------
        X_resampled : ndarray of the dtype and the first axes of X
            Windows at the rate `output_fs`, in the same unit.

        Raises
        ------
        ValueError
            If the windows have another shape than `row_shape_`, or are so large that
            the result overflows.
        """
        self._validate_later("input_fs", "output_fs", "unit")
        X = validate_windows(self, X, reset=False)
        output_fs = getattr(self, "output_fs_", self.output_fs)
        shape = getattr(self, "output_shape_", (None,))
        return self._resampled(X, self.input_fs, output_fs, shape[-1])

    @in_slices
    def inverse_transform(self, X):
        """Resample windows to the rate `input_fs`.

        This is the inverse of `transform`, except for what is above half of the lower
        rate, which is lost.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length) or \
                (n_windows, n_leads, window_length)
            Windows at the rate `output_fs`.

        Returns
        -------
        X_original : ndarray of the dtype and the first axes of X
            Windows at the rate `input_fs`, in the same unit.

        Raises
        ------
        ValueError
            If the windows have another shape than `transform` returns, or are so large
            that the result overflows.
        """
        self._validate_later("input_fs", "output_fs", "unit")
        row_shape = getattr(self, "output_shape_", np.shape(X)[1:])
        X = validate_inverse(self, X, row_shape)
        output_fs = getattr(self, "output_fs_", self.output_fs)
        shape = self.row_shape_ if hasattr(self, "output_shape_") else (None,)
        return self._resampled(X, output_fs, self.input_fs, shape[-1])

    def _resampled(self, X, input_fs, output_fs, n_output):
        with np.errstate(over="ignore", invalid="ignore"):
            resampled = resample(X, input_fs, output_fs, n_output)
        return require_finite(resampled, X, "convert them to a larger unit.")

    def _pace(self, *, inverse=False):
        rates = self.input_fs, self.output_fs_
        up, down = rate_ratio(*(rates[::-1] if inverse else rates))
        return Pace(Fraction(down, up), 1, look_ahead(up, down))

    def _resize(self, row_shape):
        """Take windows of another duration; return their shape after `transform`."""
        self._set_row_shape(row_shape)
        return self.output_shape_

    def get_feature_names_out(self, input_features=None):
        """Names of the samples of a window.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Only checked against the names seen in `fit`.

        Returns
        -------
        names : ndarray of str, shape (n_leads * n_samples,)
            ``'sample0'``, ``'sample1'``, …; for several leads ``'lead0_sample0'``, …
        """
        check_is_fitted(self, "duration_")
        *leads, n_samples = self.output_shape_
        names = names_by_lead([f"sample{i}" for i in range(n_samples)], leads)
        return feature_names(self, names, input_features)

    def _export_functions(self):
        """`transform` and its inverse for tensors of rows, for ONNX."""
        outer = self.row_shape_[-1], self.input_fs
        inner = self.output_shape_[-1], self.output_fs_
        return _tensor_resampler(*outer, *inner), _tensor_resampler(*inner, *outer)

    def _fingerprint_state(self):
        state = {"output_fs_": None, "output_shape_": None}
        if hasattr(self, "output_shape_"):
            # After `with_leads` there are others, which change no token. Older files
            # have no `_leads_in_fit`.
            *leads, n_samples = self.output_shape_
            shape = *getattr(self, "_leads_in_fit", leads), n_samples
            state = {"output_fs_": self.output_fs_, "output_shape_": shape}
        return state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags
