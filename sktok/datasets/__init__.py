"""Real ECG as windows, ready for scikit-learn.

Every loader returns a :class:`~sklearn.utils.Bunch`. Its arrays have one value for each
window, in the order of the rows of ``data``.

``data``
    ndarray of float64, shape (n_windows, window_length), in ``unit``
``groups``
    ndarray of str, shape (n_windows,): the patient, for
    :class:`~sklearn.model_selection.GroupKFold`
``record``
    ndarray of str, shape (n_windows,): the name of the record
``start``
    ndarray of int64, shape (n_windows,): index of the window's first sample in its
    record
``lead``
    ndarray of str, shape (n_windows,): the name of the lead
``fs``
    sampling frequency in Hz
``unit``
    unit of ``data``; None after ``scale="record"``
``feature_names``
    list of str: ``'sample0'``, ``'sample1'``, …
"""

from sktok.datasets._mitdb import fetch_mitdb
from sktok.datasets._wfdb import load_wfdb
from sktok.datasets._windows import load_ecg

__all__ = ["fetch_mitdb", "load_ecg", "load_wfdb"]
