"""Patients for validation, the same ones every time."""

import hashlib
import warnings
from collections.abc import Iterable
from numbers import Integral

import numpy as np

from sktok._rows import is_number


def split_patients(groups, validation=0.1):
    """Split windows into training and validation by their patients.

    The split of a patient depends only on the name, so it stays the same when other
    patients come or go. It is the split of :func:`sktok.corpus.write_corpus`: a
    tokenizer that is fitted to the training windows has not seen the validation
    patients of the corpus.

    Parameters
    ----------
    groups : array-like of str, shape (n_windows,)
        The patient of each window, such as ``groups`` of a Bunch. Whole numbers are
        converted to strings.

    validation : float or collection of str, default=0.1
        The patients for validation: an approximate share, chosen by a hash of their
        names; or the names of the patients.

    Returns
    -------
    train, validation : ndarray of int64
        Indices of the windows, as a splitter of scikit-learn yields them.

    Raises
    ------
    TypeError
        If `groups` holds other values than text and whole numbers.
    ValueError
        If `groups` is not an array of one axis, `validation` is neither a share nor a
        collection of names, or a share between 0 and 1 leaves one of the two empty,
        which happens with few patients.

    Warns
    -----
    UserWarning
        If `validation` names patients that `groups` does not hold.

    See Also
    --------
    sktok.corpus.write_corpus : Write tokens to two files, split by patient.
    sklearn.model_selection.GroupKFold : Cross-validation by patient.

    Examples
    --------
    >>> from sktok.datasets import split_patients
    >>> train, validation = split_patients(["Ann", "Ann", "Bob", "Eve"], ["Bob"])
    >>> train, validation
    (array([0, 1, 3]), array([2]))
    """
    groups = np.asarray(groups)
    if groups.ndim != 1:
        raise ValueError(
            f"groups has the shape {groups.shape}, expected one patient for each "
            "window: (n_windows,)."
        )
    chosen = validate_share(validation)
    groups = np.array([patient_name(group) for group in groups.tolist()], dtype=str)
    patients, patient_of = np.unique(groups, return_inverse=True)
    held_out = np.array([is_validation(str(name), chosen) for name in patients], bool)
    _check_split(patients, held_out, chosen)
    mask = held_out[patient_of]
    return np.flatnonzero(~mask), np.flatnonzero(mask)


def patient_name(group):
    """The name of a patient as text; raise for values that are no name."""
    return as_name(group, "groups", "a patient")


def as_name(value, key, owner):
    """A value of the column `key` as text; raise unless it is a name of its owner."""
    if not (isinstance(value, str) and value) and not is_number(value, Integral):
        raise TypeError(
            f"{key} holds {value!r}: expected the name of {owner}, as text or as a "
            "whole number."
        )
    return str(value)


def validate_share(validation):
    """`validation` as JSON stores it: a float, or a sorted list of names."""
    if is_number(validation) and 0 <= validation <= 1:
        return float(validation)
    if not isinstance(validation, str | bytes) and isinstance(validation, Iterable):
        return sorted(map(str, validation))
    raise ValueError(
        f"validation={validation!r}: expected a share from 0 to 1, or a collection of "
        "patients such as ['100', '103']."
    )


def is_validation(group, validation):
    """Whether a patient is for validation: always the same for the same name.

    `validation` is the result of :func:`validate_share`.
    """
    if isinstance(validation, float):
        digest = hashlib.sha256(group.encode()).digest()
        return int.from_bytes(digest[:8]) < validation * 2**64
    return group in validation


def _check_split(patients, held_out, validation):
    """Raise if a share leaves a side empty, and warn of unknown patients."""
    if isinstance(validation, float):
        if 0 < validation < 1 and held_out.all() | ~held_out.any():
            raise ValueError(
                f"validation={validation} puts all {len(patients)} patients into one "
                "split: name the patients for validation, or give [] for none."
            )
    elif unknown := ", ".join(sorted(set(validation) - set(patients.tolist()))):
        warnings.warn(
            f"validation names patients without windows: {unknown}.", stacklevel=3
        )
