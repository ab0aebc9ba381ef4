"""Real ECG as windows, ready for scikit-learn.

Every loader returns a :class:`~sklearn.utils.Bunch`. Its arrays have one value for each
window, in the order of the rows of ``data``: by record and time. For several leads, a
loader returns windows of all leads (``leads="axis"``) or windows of one lead each, by
record, lead and time (``leads="rows"``).

``data``
    ndarray of float64, shape (n_windows, window_length), in ``unit``; for windows of
    several leads (n_windows, n_leads, window_length)
``groups``
    ndarray of str, shape (n_windows,): the patient, for
    :class:`~sklearn.model_selection.GroupKFold` and :func:`split_patients`
``record``
    ndarray of str, shape (n_windows,): the name of the record
``start``
    ndarray of int64, shape (n_windows,): index of the window's first sample in its
    record, at the rate ``fs``
``lead``
    ndarray of str, shape (n_windows,): the name of the lead; for windows of several
    leads (n_windows, n_leads)
``fs``
    sampling frequency in Hz: of the files, or of the option ``fs``, to which records
    are resampled
``unit``
    unit of ``data``: ``'mV'`` for all voltages, which are converted; None if it is
    unknown, and after ``scale="record"``
``scale``
    ``"record"`` if each record is scaled to [0, 1], else None
``feature_names``
    list of str: ``'sample0'``, ``'sample1'``, … for the samples of a window
"""

from sktok._leads import derive_leads
from sktok.datasets._loaders import load_edf, load_wfdb
from sktok.datasets._mitdb import fetch_mitdb
from sktok.datasets._patients import split_patients
from sktok.datasets._windows import load_ecg, windows_from

__all__ = [
    "derive_leads",
    "fetch_mitdb",
    "load_ecg",
    "load_edf",
    "load_wfdb",
    "split_patients",
    "windows_from",
]
