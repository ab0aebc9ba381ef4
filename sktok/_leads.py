"""Leads of a record by names or indices: chosen, put into order, derived."""

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from numbers import Integral

import numpy as np

from sktok._rows import is_number

# The limb leads in terms of I and II (W. Einthoven, 1913; E. Goldberger, 1942).
_LIMB_LEADS = {
    "I": (1.0, 0.0),
    "II": (0.0, 1.0),
    "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5),
    "aVL": (1.0, -0.5),
    "aVF": (-0.5, 1.0),
}
INDEPENDENT_LEADS = "I", "II", "V1", "V2", "V3", "V4", "V5", "V6"
TWELVE_LEADS = (*_LIMB_LEADS, *INDEPENDENT_LEADS[2:])


def derive_leads(data, lead, *, to=TWELVE_LEADS):
    """Leads in another order, with limb leads that are missing derived from others.

    Of the six limb leads, any two determine the others: III = II − I, aVR = −(I + II) /
    2, aVL = I − II / 2 and aVF = II − I / 2. Leads that exist are copied, and not
    derived.

    Parameters
    ----------
    data : array-like of float, shape (..., n_leads, n_samples)
        Signals, in any unit, such as the ``data`` of a Bunch with an axis of leads.

    lead : sequence of str of length n_leads
        Their names, such as ``ecg.lead[0]`` of a Bunch. Upper and lower case are the
        same.

    to : sequence of str, default=('I', 'II', 'III', 'aVR', 'aVL', 'aVF', 'V1', 'V2', \
            'V3', 'V4', 'V5', 'V6')
        Names of the leads to return, in this order.

    Returns
    -------
    ndarray of shape (..., len(to), n_samples)
        The leads, in the dtype of `data` if it is one of floats, else float64.

    Raises
    ------
    TypeError
        If names are not strings.
    ValueError
        If a lead is missing and cannot be derived, a name is there twice, or `data` has
        another number of leads than `lead` has names.

    See Also
    --------
    sktok.LeadSelector : Does this before and after a tokenizer.

    References
    ----------
    W. Einthoven, G. Fahr and A. de Waart, "Über die Richtung und die manifeste Grösse
    der Potentialschwankungen im menschlichen Herzen", Pflügers Archiv 150:275-315,
    1913.

    Examples
    --------
    >>> import numpy as np
    >>> from sktok.datasets import derive_leads
    >>> limbs = np.array([[0.5, 1.0], [0.25, 2.0]])  # two samples of I and II
    >>> derive_leads(limbs, ["I", "II"], to=["II", "III", "aVF"])
    array([[ 0.25,  2.  ],
           [-0.25,  1.  ],
           [ 0.  ,  1.5 ]])
    """
    data = np.asarray(data)
    if data.dtype.kind != "f":
        data = data.astype(np.float64)
    lead = lead_names("lead", lead)
    if data.ndim < 2 or data.shape[-2] != len(lead):
        raise ValueError(
            f"data has the shape {data.shape}, expected (..., {len(lead)}, n_samples) "
            f"for the leads {', '.join(lead)}."
        )
    return combine(data, lead_weights(lead, lead_names("to", to)))


def lead_names(parameter, names):
    """Names of leads as a list of str; raise unless they are distinct."""
    require_ordered(parameter, names)
    names = [names] if isinstance(names, str) else list(names)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"{parameter}={names!r}: expected names of leads, as strings.")
    keys = Counter(map(str.casefold, names))
    if not names or len(keys) < len(names):
        raise ValueError(
            f"{parameter}={names!r}: expected the names of different leads."
        )
    return list(map(str, names))


def lead_weights(given, wanted):
    """How to compute leads: for each wanted one, {index of a given lead: weight}.

    Raises
    ------
    ValueError
        If a lead is missing and cannot be derived.
    """
    index = {name.casefold(): i for i, name in enumerate(given)}
    limbs = [name for name in _LIMB_LEADS if name.casefold() in index][:2]
    vectors = {name.casefold(): vector for name, vector in _LIMB_LEADS.items()}
    weights, missing = [], []
    for name in wanted:
        key = name.casefold()
        if key in index:
            weights.append({index[key]: 1.0})
        elif key in vectors and len(limbs) == 2:
            # The vector of the lead in the basis of two limb leads.
            basis = np.array([_LIMB_LEADS[limb] for limb in limbs])
            parts = np.linalg.solve(basis.T, vectors[key])
            indices = [index[limb.casefold()] for limb in limbs]
            weights.append(dict(zip(indices, parts.tolist(), strict=True)))
        else:
            missing.append(name)
    if missing:
        raise ValueError(
            f"Leads are missing: {', '.join(missing)}. The signal has "
            f"{', '.join(given)}; only limb leads can be derived, from two others."
        )
    return weights


def combine(data, weights, stack=np.stack):
    """Leads by the result of `lead_weights`: (..., n_leads, n) to (..., n_wanted, n).

    For tensors, `stack` is that of torch.
    """
    parts = [
        sum(data[..., index, :] * weight for index, weight in of_lead.items())
        for of_lead in weights
    ]
    return stack(parts, -2)


def select_leads(names, channel, where):
    """Indices of the leads that `channel` chooses.

    Parameters
    ----------
    names : sequence of str
        Names of the leads of a record, in order. The name of a lead without one is its
        index.

    channel : int, str, "all" or sequence of int and str
        A lead by its index or its name, in upper or lower case if no name is the same,
        several leads, or all of them.

    where : str
        The record, as the subject of the error messages: ``"Record a1"``.

    Returns
    -------
    list of int
        The indices, in the order of `channel`.

    Raises
    ------
    ValueError
        If a lead does not exist, several leads have its name, a lead is chosen twice,
        or none is chosen.

    Examples
    --------
    >>> select_leads(["I", "II", "V1"], ["V1", 0], "Record a1")
    [2, 0]
    """
    names = list(names)
    if isinstance(channel, str) and channel == "all" and "all" not in names:
        chosen = list(range(len(names)))
    elif isinstance(channel, str) or not isinstance(channel, Iterable):
        chosen = [_lead_index(names, channel, where)]
    else:
        chosen = [_lead_index(names, item, where) for item in channel]
    if not chosen:
        raise ValueError(f"{where}: channel={channel!r} chooses none; {_list(names)}.")
    if len(set(chosen)) < len(chosen):
        raise ValueError(
            f"{where}: channel={channel!r} chooses a lead twice: give each lead once."
        )
    return chosen


def _lead_index(names, channel, where):
    """Index of one lead, by its index or its name."""
    if is_number(channel, Integral) and 0 <= channel < len(names):
        return int(channel)
    indices = [i for i, name in enumerate(names) if name == channel]
    if not indices and isinstance(channel, str):  # "AVR" is aVR
        key = channel.casefold()
        indices = [i for i, name in enumerate(names) if name.casefold() == key]
    if len(indices) == 1 and isinstance(channel, str):
        return indices[0]
    if indices:
        raise ValueError(
            f"{where} has {len(indices)} leads with the name {channel!r}: choose one "
            f"by its index, {' or '.join(map(str, indices))}."
        )
    raise ValueError(
        f"{where} has no channel {channel!r}: {_list(names)}; give a name, an "
        "index counted from 0, a list of these, or 'all'."
    )


def _list(names):
    return f"its {len(names)} leads are {', '.join(names) or '(none)'}"


def require_ordered(name, values):
    """Raise for sets and mappings, whose order says nothing."""
    if isinstance(values, Set | Mapping):
        raise TypeError(
            f"{name}={values!r}: expected a list, because leads have an order."
        )


def distinct_names(names):
    """The names, with "#2", "#3" and so on after the later leads of the same name.

    Examples
    --------
    >>> distinct_names(["ECG", "ECG", "RESP"])
    ['ECG', 'ECG#2', 'RESP']
    """
    taken, ranks, distinct = set(names), Counter(), []
    for name in names:
        label = name
        while ranks[name] and label in taken:
            ranks[name] += 1
            label = f"{name}#{ranks[name]}"
        ranks[name] = ranks[name] or 1
        taken.add(label)
        distinct.append(label)
    return distinct
