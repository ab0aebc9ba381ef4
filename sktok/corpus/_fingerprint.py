"""Fingerprint: a hash that identifies the tokens of a fitted tokenizer.

It depends on everything that changes tokens or their meaning, and on nothing else.
Values that are equal have the same hash: ``1``, ``1.0``, ``True`` and ``np.int8(1)``, a
list and a tuple, arrays of any numeric dtype and memory layout.
"""

import hashlib
from collections.abc import Mapping, Set
from numbers import Integral, Real

import numpy as np
from joblib import hash as joblib_hash

from sktok._estimator import is_fitted, learned_attributes
from sktok._steps import steps_of

# Parameters and attributes of scikit-learn that do not change the output after `fit`.
_IGNORED = set(
    "check_inverse copy copy_X copy_x device feature_names_in_ feature_names_out "
    "memory n_features_in_ n_jobs random_state verbose verbose_feature_names_out "
    "warm_start".split()
)


def fingerprint(tokenizer):
    """Hash a fitted tokenizer.

    Parameters
    ----------
    tokenizer : transformer, Pipeline or search
        A fitted tokenizer. Estimators of sktok declare their state in
        `_fingerprint_state`; others have parameters and fitted attributes.

    Returns
    -------
    str
        SHA-256, in hexadecimal. It is the same for a pickled copy, in another process,
        and for a clone that is fitted again to the same data with the same seed.

    Raises
    ------
    ValueError
        If a value cannot be hashed, for example a lambda.
    """
    return _digest(tokenizer).hex()


def _digest(value):
    """Hash a value of any kind: estimators, networks, containers, arrays, numbers."""
    if isinstance(value, type):
        return _combine("class", f"{value.__module__}.{value.__qualname__}".encode())
    if hasattr(value, "get_params"):
        return _digest_of_estimator(value)
    if hasattr(value, "state_dict"):
        parts = getattr(value, "arguments", None), value.state_dict()
        return _combine(type(value).__name__, *map(_digest, parts))
    if hasattr(value, "detach"):
        value = value.detach().cpu().double()  # a tensor
    if isinstance(value, Integral) and abs(int(value)) > 2**53:  # not exact as a float
        return _combine("int", str(int(value)).encode())
    if isinstance(value, Real):
        value = np.float64(value)
    if hasattr(value, "__array__"):
        return _digest_of_array(np.asarray(value))
    if isinstance(value, Mapping):
        items = (_digest(key) + _digest(item) for key, item in value.items())
        return _combine("mapping", *sorted(items))
    if isinstance(value, Set):
        return _combine("set", *sorted(map(_digest, value)))
    if isinstance(value, list | tuple):
        return _combine("list", *map(_digest, value))
    if isinstance(value, str):
        return _combine("str", value.encode(errors="surrogatepass"))
    try:
        return _combine("object", joblib_hash(value).encode())
    except Exception as error:  # pickle raises errors of many types
        raise ValueError(
            f"{value!r} has no fingerprint because it cannot be pickled ({error}): use "
            "a function or class with a name, defined in a module."
        ) from error


def _digest_of_estimator(estimator):
    steps = steps_of(estimator)
    if steps != [estimator]:  # a Pipeline or a search; the names of steps do not count
        digests = list(map(_digest, steps))
        return digests[0] if len(steps) == 1 else _combine("steps", *digests)
    if hasattr(estimator, "_fingerprint_state") and is_fitted(estimator):
        state = estimator._fingerprint_state()
    else:
        state = estimator.get_params(deep=False) | learned_attributes(estimator)
        state = {name: v for name, v in state.items() if name not in _IGNORED}
    return _combine(type(estimator).__name__, _digest(state))


def _digest_of_array(array):
    if array.dtype.kind in "biuf":
        numbers = array.astype("<f8") + 0.0  # -0.0 equals 0.0
        return _combine(f"numbers {array.shape}", numbers.tobytes())
    if array.dtype.kind in "OUST":
        return _digest(array.tolist())
    return _combine(f"{array.dtype.str} {array.shape}", array.tobytes())


def _combine(kind, *parts):
    return hashlib.sha256(b"\0".join([kind.encode(), *parts])).digest()
