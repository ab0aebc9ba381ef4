"""Choose a tokenizer from the results of a search."""

import warnings
from functools import partial

import numpy as np

from sktok._rows import is_number


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
    if not (is_number(max_mse) and max_mse > 0):
        raise ValueError(f"max_mse={max_mse!r}: expected a number above 0.")
    return partial(_lowest_rate_within, max_mse=max_mse, rate=rate, mse=mse)


def _lowest_rate_within(cv_results, *, max_mse, rate, mse):
    bits, error = mean_rate_and_mse(cv_results, rate=rate, mse=mse)
    rated = np.flatnonzero(np.isfinite(bits) & np.isfinite(error))
    if not rated.size:
        raise ValueError(
            "No candidate has both a rate and an error: set "
            'error_score="raise" to see why the fits or the scorers fail.'
        )
    within = [index for index in rated if error[index] <= max_mse]
    if within:
        return int(min(within, key=lambda index: (bits[index], error[index])))
    best = rated[error[rated].argmin()]
    warnings.warn(
        f"No candidate has an error within {max_mse:.3g}: the lowest, {error[best]:.3g}"
        ", is chosen. Allow a larger error, or search smaller blocks.",
        stacklevel=2,
    )
    return int(best)


def mean_rate_and_mse(cv_results, *, rate, mse):
    """Rate and error of each candidate of a search, averaged over the folds."""
    missing = [n for n in (rate, mse) if f"mean_test_{n}" not in cv_results]
    if missing:
        raise ValueError(
            f"The search has no scores named {missing}: give scoring="
            f"{{{rate!r}: neg_bits_per_sample, {mse!r}: neg_reconstruction_mse}}."
        )
    return tuple(-np.asarray(cv_results[f"mean_test_{n}"]) for n in (rate, mse))
