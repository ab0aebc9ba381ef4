"""Leads of a record, chosen by names or indices."""

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from numbers import Integral

from sktok._rows import is_number


def select_leads(names, channel, where):
    """Indices of the leads that `channel` chooses.

    Parameters
    ----------
    names : sequence of str
        Names of the leads of a record, in order. The name of a lead without one is its
        index.

    channel : int, str, "all" or sequence of int and str
        A lead by its index or its name, several leads, or all of them.

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
