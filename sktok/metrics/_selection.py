"""Choose a tokenizer from the results of a search."""

import math
import warnings
from functools import partial
from numbers import Real

import numpy as np


def lowest_rate_within(
    max_mse, *, rate="neg_bits_per_sample", mse="neg_reconstruction_mse"
):
    """Choose the lowest rate within a given error, for `refit` of a search.

    Parameters
    ----------
    max_mse : float
        Largest mean squared error allowed, in the square of the unit of `X`. If no
        candidate meets it, the candidate with the lowest error is chosen, with a
        warning.

    rate : str, default="neg_bits_per_sample"
        Name in ``scoring`` of the scorer :func:`neg_bits_per_sample`.

    mse : str, default="neg_reconstruction_mse"
        Name in ``scoring`` of the scorer :func:`neg_reconstruction_mse`.

    Returns
    -------
    callable
        ``cv_results_ -> best_index_``.

    See Also
    --------
    neg_bits_per_sample : The rate.
    neg_reconstruction_mse : The error.
    sktok.plotting.RateDistortionDisplay : Draws the choice.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sktok import make_tokenizer
    >>> from sktok.metrics import (
    ...     lowest_rate_within,
    ...     neg_bits_per_sample,
    ...     neg_reconstruction_mse,
    ... )
    >>> search = GridSearchCV(
    ...     make_tokenizer(),
    ...     {"segment__block_size": [5, 10, 25]},
    ...     scoring={
    ...         "neg_bits_per_sample": neg_bits_per_sample,
    ...         "neg_reconstruction_mse": neg_reconstruction_mse,
    ...     },
    ...     refit=lowest_rate_within(0.001),
    ... )
    """
    if not (isinstance(max_mse, Real) and max_mse > 0):
        raise ValueError(f"max_mse={max_mse!r}: expected a number above 0.")
    return partial(_lowest_rate_within, max_mse=max_mse, rate=rate, mse=mse)


def _lowest_rate_within(cv_results, *, max_mse, rate, mse):
    bits, error = mean_rate_and_mse(cv_results, rate=rate, mse=mse)
    rated = np.isfinite(bits) & np.isfinite(error)
    if not rated.any():
        raise ValueError(
            "No candidate has both a rate and an error: set "
            'error_score="raise" to see why the fits or the scorers fail.'
        )
    bits, error = (np.where(rated, values, np.inf) for values in (bits, error))
    within = error <= max_mse
    if not within.any():
        warnings.warn(
            f"No candidate has an error within {max_mse:.3g}: the lowest, "
            f"{error.min():.3g}, is chosen (root mean squares of "
            f"{math.sqrt(max_mse):.3g} and {math.sqrt(error.min()):.3g}). Allow a "
            "larger error, or search smaller blocks or larger vocabularies.",
            stacklevel=2,
        )
        return int(error.argmin())
    cheapest = np.lexsort([error, np.where(within, bits, np.inf)])
    return int(cheapest[0])


def mean_rate_and_mse(cv_results, *, rate, mse):
    """Rate and error of each candidate of a search, averaged over the folds."""
    missing = [n for n in (rate, mse) if f"mean_test_{n}" not in cv_results]
    if missing:
        raise ValueError(
            f"The search has no scores named {missing}: give scoring="
            f"{{{rate!r}: neg_bits_per_sample, {mse!r}: neg_reconstruction_mse}}."
        )
    return tuple(-np.asarray(cv_results[f"mean_test_{n}"]) for n in (rate, mse))
