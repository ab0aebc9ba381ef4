"""Scaling of a whole signal to a given range by one affine map."""

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils.validation import check_is_fitted

from sktok._disk import in_slices
from sktok._estimator import Estimator, FirstBatchMixin, Pace
from sktok._rows import (
    LARGEST,
    require_finite,
    validate_interval,
    validate_inverse,
    validate_windows,
)
from sktok._sklearn_compat import WindowTransformerMixin, _fit_context


def rescale(values, old_low, old_range, new_low, new_range):
    """Map an interval to another; each interval is given by its low end and range."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        result = values - old_low
        result /= old_range  # in place, to save memory
        result *= new_range
        result += new_low
    return result


class AmplitudeScaler(
    FirstBatchMixin, OneToOneFeatureMixin, WindowTransformerMixin, Estimator
):
    """Scale the amplitude of a signal to a given range.

    One affine map is learned from all samples of all windows and leads.
    :class:`~sklearn.preprocessing.MinMaxScaler` scales each column separately, which
    distorts the waveform. The paper normalises its series to [0, 1] in this way
    (section 3.1).

    Parameters
    ----------
    feature_range : tuple (low, high), default=(0.0, 1.0)
        Range to which the samples seen in `fit` are mapped.

    clip : bool, default=False
        Whether to clip scaled samples to `feature_range`.

    Attributes
    ----------
    data_min_ : float
        Smallest sample seen in `fit`, in the signal's unit.

    data_range_ : float
        Difference between the largest and the smallest sample seen in `fit`, in the
        signal's unit; 1.0 for a constant signal, which is mapped to
        ``feature_range[0]``.

    feature_range_ : tuple of float
        The `feature_range` used in `fit`.

    row_shape_ : tuple of int
        Shape of one row of `X` seen in `fit`.

    n_features_in_ : int
        Number of values in a row of `X` seen in `fit`.

    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of `X` seen in `fit`, if they are all strings.

    See Also
    --------
    sklearn.preprocessing.MinMaxScaler : Scales each column separately.
    GainShapeTokenizer : Encodes the offset and gain of each window as tokens.

    References
    ----------
    "Da ECG a LLM", 2025, section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import AmplitudeScaler
    >>> X = np.array([[-1.0, 0.0, 1.0], [0.0, 3.0, 0.0]])  # two windows, in mV
    >>> scaler = AmplitudeScaler().fit(X)
    >>> scaler.transform(X)
    array([[0.  , 0.25, 0.5 ],
           [0.25, 1.  , 0.25]])
    >>> scaler.inverse_transform(scaler.transform(X))
    array([[-1.,  0.,  1.],
           [ 0.,  3.,  0.]])
    """

    _parameter_constraints: dict = {"feature_range": [tuple], "clip": ["boolean"]}

    def __init__(self, feature_range=(0.0, 1.0), *, clip=False):
        self.feature_range = feature_range
        self.clip = clip

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the smallest and the largest sample.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length), \
                (n_windows, n_leads, window_length) or (n_windows, n_blocks, block_size)
            The signal, in any unit.

        y : None
            Ignored.

        Returns
        -------
        self : AmplitudeScaler
            The fitted scaler.

        Raises
        ------
        ValueError
            If `feature_range` is not increasing, or if `X` is not finite or its range
            overflows float32.
        """
        self._reset()
        feature_range = validate_interval("feature_range", self.feature_range)
        X = validate_windows(self, X, reset=True)
        data_min, data_max = float(X.min()), float(X.max())
        if data_max - data_min > LARGEST:
            raise ValueError(
                f"X ranges from {data_min:.3g} to {data_max:.3g}, more than float32 "
                "can hold: convert it to a larger unit."
            )
        self.feature_range_ = feature_range
        self.data_range_ = (data_max - data_min) or 1.0
        self.data_min_ = data_min
        return self

    def __sklearn_is_fitted__(self):
        return hasattr(self, "data_min_")

    @in_slices
    def transform(self, X):
        """Map the signal to `feature_range`.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length), \
                (n_windows, n_leads, window_length) or (n_windows, n_blocks, block_size)
            The signal, in the unit of the signal seen in `fit`.

        Returns
        -------
        X_scaled : ndarray of the shape and dtype of X
            The scaled signal, without unit.

        Raises
        ------
        ValueError
            If the rows of `X` have a different shape than in `fit`, or if values are
            so far outside the range seen in `fit` that the result overflows.
        """
        check_is_fitted(self)
        X = validate_windows(self, X, reset=False)
        low, high = self.feature_range_
        scaled = rescale(X, self.data_min_, self.data_range_, low, high - low)
        if self.clip:
            np.clip(scaled, low, high, out=scaled)
        advice = "set clip=True, or fit on a signal with this range."
        return require_finite(scaled, X, advice)

    def _pace(self, *, inverse=False):
        return Pace()

    def _resize(self, row_shape):
        """Take rows of another shape, whose samples are in the same unit."""
        self._set_row_shape(row_shape)
        return row_shape

    def _export_functions(self):
        """`transform` and its inverse for tensors of rows, for ONNX."""
        low, high = self.feature_range_

        def scale(x):
            x = (x - self.data_min_) / self.data_range_ * (high - low) + low
            return x.clamp(low, high) if self.clip else x

        def unscale(x):
            return (x - low) / (high - low) * self.data_range_ + self.data_min_

        return scale, unscale

    def _clip_rates(self, X):
        """Share of the samples that `transform` clips; see `clip_rates`."""
        if not self.clip:
            return []
        X = validate_windows(self, X, reset=False)
        scaled = rescale(X, self.data_min_, self.data_range_, 0.0, 1.0)
        advice = "AmplitudeScaler: fit it on a signal with this range."
        return [(float(np.mean((scaled < 0) | (scaled > 1))), advice)]

    @in_slices
    def inverse_transform(self, X):
        """Map a scaled signal back to the signal's unit.

        This is the inverse of `transform`.

        Parameters
        ----------
        X : array-like of shape (n_windows, window_length), \
                (n_windows, n_leads, window_length) or (n_windows, n_blocks, block_size)
            Scaled signal.

        Returns
        -------
        X_original : ndarray of the shape and dtype of X
            The signal in the unit of `fit`. It equals the input of `transform` up to
            rounding, except for clipped samples.

        Raises
        ------
        ValueError
            If the rows of `X` have a different shape than in `fit`, or if the result
            overflows.
        """
        check_is_fitted(self)
        X = validate_inverse(self, X, self.row_shape_)
        low, high = self.feature_range_
        original = rescale(X, low, high - low, self.data_min_, self.data_range_)
        return require_finite(original, X, "is X a scaled signal?")

    def _fingerprint_state(self):
        return super()._fingerprint_state() | {"clip": bool(self.clip)}
