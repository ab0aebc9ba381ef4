"""Distortion: the error of a reconstruction, as figures and as scorers."""

import numpy as np
from sklearn.utils import check_array

from sktok._rows import refuse_masks_and_dates
from sktok._steps import takes_windows


def reconstruct(estimator, X):
    """Transform windows and transform them back.

    Parameters
    ----------
    estimator : transformer or Pipeline
        Fitted, with `transform` and `inverse_transform`.

    X : array-like of shape (n_windows, window_length), \
            (n_windows, n_leads, window_length) or (n_windows, n_blocks, block_size)
        Windows of a signal.

    Returns
    -------
    X_hat : ndarray of the shape of X
        The reconstruction, in the unit of `X`.

    See Also
    --------
    neg_reconstruction_mse : The error of the reconstruction.
    describe : Rate and distortion in words.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import BinQuantizer
    >>> from sktok.metrics import reconstruct
    >>> X = np.array([[0.0, 0.3, 1.0]])
    >>> reconstruct(BinQuantizer(2).fit(X), X)
    array([[0.25, 0.25, 0.75]])
    """
    return estimator.inverse_transform(estimator.transform(X))


def neg_reconstruction_mse(estimator, X, y=None):
    """Scorer: negative mean squared error of the reconstruction.

    Parameters
    ----------
    estimator : transformer or Pipeline
        Fitted, with `transform` and `inverse_transform`.

    X : array-like of shape (n_windows, window_length), \
            (n_windows, n_leads, window_length) or (n_windows, n_blocks, block_size)
        Windows of a signal.

    y : None
        Ignored.

    Returns
    -------
    float
        In the square of the unit of `X`; 0 is best.

    See Also
    --------
    neg_bits_per_sample : The rate.
    neg_prd : The error relative to the power of the signal.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sktok import make_paper_tokenizer
    >>> from sktok.metrics import neg_reconstruction_mse
    >>> search = GridSearchCV(
    ...     make_paper_tokenizer(),
    ...     {"segment__block_size": [5, 10]},
    ...     scoring=neg_reconstruction_mse,
    ... )
    """
    X, X_hat = validate_pair(X, reconstruct(estimator, X))
    with np.errstate(over="ignore"):  # the error of huge values is infinite
        return -float(np.mean((X - X_hat) ** 2))


def neg_reconstruction_mae(estimator, X, y=None):
    """Scorer: negative mean absolute error of the reconstruction.

    Parameters
    ----------
    estimator : transformer or Pipeline
        Fitted, with `transform` and `inverse_transform`.

    X : array-like of shape (n_windows, window_length), \
            (n_windows, n_leads, window_length) or (n_windows, n_blocks, block_size)
        Windows of a signal.

    y : None
        Ignored.

    Returns
    -------
    float
        In the unit of `X`; 0 is best.

    See Also
    --------
    neg_reconstruction_mse : Gives large errors more weight.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok import BinQuantizer
    >>> from sktok.metrics import neg_reconstruction_mae
    >>> X = np.array([[0.0, 0.25, 1.0]])
    >>> neg_reconstruction_mae(BinQuantizer(2).fit(X), X)  # 0 and 1 are off by 0.25
    -0.16...
    """
    X, X_hat = validate_pair(X, reconstruct(estimator, X))
    with np.errstate(over="ignore"):  # the error of huge values is infinite
        return -float(np.mean(np.abs(X - X_hat)))


def neg_prd(estimator, X, y=None, *, groups=None):
    """Scorer: negative percentage root-mean-square difference, centred.

    Parameters
    ----------
    estimator : transformer or Pipeline
        Fitted, with `transform` and `inverse_transform`.

    X : array-like of shape (n_windows, window_length), \
            (n_windows, n_leads, window_length) or (n_windows, n_blocks, block_size)
        Windows of a signal.

    y : None
        Ignored.

    groups : array-like of shape (n_windows,) or None, default=None
        Record or patient of each window. `None` centres each window by its own mean.
        Each lead has its own mean.

    Returns
    -------
    float
        In percent, see `prd`; 0 is best. With `groups`, the mean over the groups.

    See Also
    --------
    prd : The figure of each group.
    neg_reconstruction_mse : The error in the unit of the signal.

    Examples
    --------
    >>> from sktok import BinQuantizer
    >>> from sktok.datasets import load_ecg
    >>> from sktok.metrics import neg_prd
    >>> ecg = load_ecg()
    >>> quantizer = BinQuantizer(64).fit(ecg.data)
    >>> round(neg_prd(quantizer, ecg.data, groups=ecg.record), 2)
    -5.39
    """
    X, X_hat = as_leads(estimator, *validate_pair(X, reconstruct(estimator, X)))
    return -float(np.mean(prd(X, X_hat, centered=True, groups=groups)))


def as_leads(estimator, *signals):
    """Signals as (n_windows, n_leads, window_length); blocks are joined."""
    n_axes = signals[0].ndim
    has_leads = n_axes == 4 or (n_axes == 3 and takes_windows(estimator))
    n_leads = signals[0].shape[1] if has_leads else 1
    return [signal.reshape(len(signal), n_leads, -1) for signal in signals]


def prd(X, X_hat, *, centered, groups=None):
    """Percentage root-mean-square difference.

    ``100 * sqrt(sum((X - X_hat)**2) / sum((X - m)**2))``, where `m` is 0 or, if
    `centered`, a mean of `X`. Both forms are in use. They differ much if the signal
    has an offset, so `centered` has no default.

    If records with different offsets shared one mean, the offsets would count as
    signal, and the figure would be too good. Hence each record has its own mean:

    - With `groups`, each group is centred by its own mean and has its own figure.
      Each lead of the group has a mean of its own.
    - Without `groups`, a signal of one axis is one record. Otherwise, each window of
      each lead is centred by its own mean, and the sums run over all of them. Slow
      changes of the baseline then do not count as signal, so this figure is never
      better than that of the windows joined into one record.

    Parameters
    ----------
    X : array-like of shape (n_windows, window_length), \
            (n_windows, n_leads, window_length) or (n_samples,)
        Signal. Blocks are no leads: join them first.

    X_hat : array-like of the shape of X
        Its reconstruction.

    centered : bool
        Whether to subtract the mean of `X` in the denominator (PRDN, or PRD1). The
        figure is then independent of the offset.

    groups : array-like of shape (n_windows,) or None, default=None
        Record or patient of each window.

    Returns
    -------
    float or ndarray of shape (n_groups,)
        In percent; 0 is best. With `groups`, one figure for each group, in the sorted
        order of the labels. Infinite for an error in a signal without power.

    Raises
    ------
    ValueError
        If the signals are not finite or differ in shape, or if `groups` does not have
        one label for each window.

    See Also
    --------
    neg_prd : As a scorer.
    snr_db : The same in decibels.

    References
    ----------
    M. Blanco-Velasco et al., "On the use of PRD and CR parameters for ECG
    compression", Medical Engineering & Physics 27(9):798-802, 2005.

    Examples
    --------
    >>> from sktok.metrics import prd
    >>> prd([1.0, 3.0], [1.0, 2.0], centered=False)
    31.6...
    >>> prd([1.0, 3.0], [1.0, 2.0], centered=True)
    70.7...

    Two records with different offsets:

    >>> X, X_hat = [[1.0, 3.0], [11.0, 13.0]], [[1.0, 2.0], [11.0, 13.0]]
    >>> prd(X, X_hat, centered=True, groups=["a", "b"])
    array([70.7...,  0.        ])
    """
    figures = 100 * np.sqrt(_noise_to_signal(X, X_hat, centered, groups))
    return figures.item() if groups is None else figures


def snr_db(X, X_hat, *, centered=True, groups=None):
    """Signal-to-noise ratio of a reconstruction.

    Parameters
    ----------
    X : array-like of shape (n_windows, window_length), \
            (n_windows, n_leads, window_length) or (n_samples,)
        Signal. Blocks are no leads: join them first.

    X_hat : array-like of the shape of X
        Its reconstruction.

    centered : bool, default=True
        Whether to subtract the mean of `X` before its power is computed. Which mean
        this is depends on `groups`, see :func:`prd`.

    groups : array-like of shape (n_windows,) or None, default=None
        Record or patient of each window.

    Returns
    -------
    float or ndarray of shape (n_groups,)
        In decibels, equal to ``-20 * log10(prd / 100)``; higher is better. Infinite
        for a perfect reconstruction. With `groups`, one figure for each group, in the
        sorted order of the labels.

    See Also
    --------
    prd : The same in percent.

    Examples
    --------
    >>> from sktok.metrics import snr_db
    >>> round(snr_db([1.0, 3.0], [1.1, 2.9]), 6)
    20.0
    """
    with np.errstate(divide="ignore"):
        figures = -10 * np.log10(_noise_to_signal(X, X_hat, centered, groups))
    return figures.item() if groups is None else figures


def _noise_to_signal(X, X_hat, centered, groups):
    """Power of the error over power of the signal; shape (n_groups,) or (1,)."""
    X, X_hat = map(np.atleast_2d, validate_pair(X, X_hat))
    if X.ndim > 3:
        raise ValueError(
            f"The signal has the shape {X.shape}, expected (n_windows, n_leads, "
            "window_length) at most: join its blocks."
        )
    if groups is None:  # each window of each lead is centred by its own mean
        pairs = [[x.reshape(-1, x.shape[-1]) for x in (X, X_hat)]]
    else:
        parts = _parts(groups, X.shape)
        pairs = ([_joined(x[part]) for x in (X, X_hat)] for part in parts)
    return np.array([_ratio(*pair, centered) for pair in pairs])


def _joined(windows):
    """The windows of each lead, joined to one row."""
    windows = windows.reshape(len(windows), -1, windows.shape[-1])
    return np.hstack(windows)  # (n_leads, n_windows * window_length)


def _parts(groups, shape):
    """Indices of the windows of each group, in the sorted order of the labels."""
    groups = np.asarray(groups)
    if groups.shape != shape[:1]:
        raise ValueError(
            f"groups has shape {groups.shape} and the signal {shape}, expected one "
            "label for each window: give the record or patient of each row."
        )
    _, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    return np.split(order, np.cumsum(counts)[:-1])


def _ratio(X, X_hat, centered):
    """Noise to signal of rows, each centred by its own mean."""
    largest = max(np.abs(X).max(), np.abs(X_hat).max()) or 1.0
    X, X_hat = X / largest, X_hat / largest  # squares of huge values would overflow
    noise = np.sum((X - X_hat) ** 2)
    if noise == 0:
        return 0.0
    if centered:
        X = X - X[:, :1]  # a flat row becomes exactly 0
        X = X - X.mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore"):
        return noise / np.sum(X**2)


def validate_pair(X, X_hat):
    """A signal and its reconstruction as arrays of float64 of the same shape."""
    if np.shape(X) != np.shape(X_hat):
        raise ValueError(
            f"The signal has shape {np.shape(X)} and the reconstruction "
            f"{np.shape(X_hat)}, expected the same: compare a signal with its own."
        )
    options = {"dtype": np.float64, "ensure_2d": False, "allow_nd": True}
    return [check_array(refuse_masks_and_dates(x), **options) for x in (X, X_hat)]
