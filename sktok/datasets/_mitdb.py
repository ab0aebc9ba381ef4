"""The MIT-BIH Arrhythmia Database, from the disk or from PhysioNet."""

import os
import tempfile
from pathlib import Path

from sktok._files import whole_file
from sktok.datasets._loaders import load_wfdb
from sktok.datasets._wfdb import read_leads

# P. de Chazal, M. O'Dwyer, R. B. Reilly, "Automatic classification of heartbeats using
# ECG morphology and heartbeat interval features", IEEE Trans. Biomed. Eng. 51(7), 2004.
_DS1 = (
    "101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 "
    "223 230"
).split()
_DS2 = (  # without 202, which has the same patient as 201 in DS1
    "100 103 105 111 113 117 121 123 200 210 212 213 214 219 221 222 228 231 232 233 "
    "234"
).split()
_IN_NEITHER = ["102", "104", "107", "202", "217"]  # the paced records, and 202
_SPLITS = {None: sorted([*_DS1, *_DS2, *_IN_NEITHER]), "ds1": _DS1, "ds2": _DS2}
_SAME_PATIENT = {"202": "201"}
_URL = "https://physionet.org/files/mitdb/1.0.0/"
_TIMEOUT = 60  # seconds without a byte from the server
_DOWNLOADED = "downloaded-by-sktok.txt"  # marks a folder to which records are added


def fetch_mitdb(
    split=None,
    *,
    data_home=None,
    channel=0,
    leads="axis",
    window_length=None,
    window_seconds=None,
    fs=None,
    scale=None,
    missing="raise",
    download_if_missing=True,
):
    """Load the MIT-BIH Arrhythmia Database, from the disk or from PhysioNet.

    The database has 48 records of two leads, 30 minutes each, at 360 Hz.

    A local copy that the user made is used without downloads, even if it holds only
    some records of the split; ``absent`` names the others. Absent records are
    downloaded if the local copy holds no record of the split, or if this function
    downloaded it. A record appears in the folder only when it is complete and its
    checksums are right.

    Parameters
    ----------
    split : {None, "ds1", "ds2"} or sequence of str, default=None
        The records: `None` takes all; "ds1" and "ds2" are the two halves of de Chazal
        et al., which have no patient in common. A list of names, such as ``["100"]``,
        takes these records, and downloads the absent ones. The halves do not contain
        the paced records, nor 202, because its patient (201) is in "ds1".

    data_home : path-like or None, default=None
        Folder that holds the folder ``mitdb``; `None` takes the environment variable
        ``SKTOK_DATA``, or ``~/sktok_data`` if that is not set.

    channel : int, str or sequence of these, default=0
        The lead, by its index or its name; or several leads; or "all". Channel 0 is
        MLII in most records.

    leads : {"axis", "rows"}, default="axis"
        How several leads are arranged, as in :func:`load_wfdb`. Not all records have
        the same leads.

    window_length : int or None, default=None
        Number of samples in a window. `None` takes `window_seconds`, or 250 samples if
        that is None too.

    window_seconds : float or None, default=None
        Duration of a window in seconds, instead of `window_length`.

    fs : float or None, default=None
        Sampling rate in Hz to which each record is resampled as a whole. `None` keeps
        360 Hz.

    scale : {None, "record"}, default=None
        As in :func:`load_wfdb`.

    missing : {"raise", "drop", "keep"}, default="raise"
        As in :func:`load_wfdb`.

    download_if_missing : bool, default=True
        Whether to download absent records; `False` raises an error instead.

    Returns
    -------
    Bunch
        As described in :mod:`sktok.datasets`, and ``absent``: a list of the records of
        the split that the local copy does not have.

    Raises
    ------
    OSError
        If records are absent and cannot be downloaded.
    ValueError
        If a file is truncated or damaged, or a record lacks the lead.

    See Also
    --------
    load_ecg : Load five minutes of this database, without download.
    load_wfdb : Load WFDB records from files.

    References
    ----------
    G. B. Moody and R. G. Mark, "The impact of the MIT-BIH Arrhythmia Database", IEEE
    Eng. in Med. and Biol. 20(3):45-50, 2001.

    P. de Chazal, M. O'Dwyer, R. B. Reilly, "Automatic classification of heartbeats
    using ECG morphology and heartbeat interval features", IEEE Trans. Biomed. Eng.
    51(7), 2004.

    A. L. Goldberger et al., "PhysioBank, PhysioToolkit, and PhysioNet", Circulation
    101(23):e215-e220, 2000.

    Examples
    --------
    >>> from sktok.datasets import fetch_mitdb
    >>> fit, test = fetch_mitdb("ds1"), fetch_mitdb("ds2")  # doctest: +SKIP
    """
    is_named = isinstance(split, str | None)
    records = _SPLITS.get(split, []) if is_named else list(split)
    if not records or not set(records) <= set(_SPLITS[None]):
        raise ValueError(
            f"split={split!r}: expected None, 'ds1', 'ds2' or a list of some of "
            f"{', '.join(_SPLITS[None])}."
        )
    if data_home is None:
        data_home = os.environ.get("SKTOK_DATA") or "~/sktok_data"
    folder = Path(data_home).expanduser() / "mitdb"
    absent = _absent(records, folder)
    may_be_partial = is_named and not (folder / _DOWNLOADED).exists()
    if absent == records or not may_be_partial:
        try:
            if absent and not download_if_missing:
                raise OSError("download_if_missing=False")
            for name in absent:
                _download(name, folder)
        except OSError as error:
            absent = ", ".join(_absent(records, folder))
            raise OSError(
                f"The MIT-BIH records {absent} are not in {folder} and were not "
                f"downloaded ({error}). Put their files there by hand, from "
                "https://physionet.org/content/mitdb/1.0.0/, or give the folder of "
                "mitdb/ with data_home= or the environment variable SKTOK_DATA."
            ) from error
        absent = []
    records = [name for name in records if name not in absent]
    paths = [folder / name for name in records]
    patients = [_SAME_PATIENT.get(name, name) for name in records]
    ecg = load_wfdb(
        paths,
        channel=channel,
        leads=leads,
        window_length=window_length,
        window_seconds=window_seconds,
        fs=fs,
        scale=scale,
        missing=missing,
        groups=patients,
    )
    ecg.absent = absent
    return ecg


def _absent(records, folder):
    return [name for name in records if not (folder / f"{name}.hea").exists()]


def _download(name, folder):
    """Download a record to a hidden sibling of `folder`; verify it, then move it."""
    import requests  # wfdb.dl_files has no timeout

    folder.mkdir(parents=True, exist_ok=True)
    files = [f"{name}.{extension}" for extension in ("dat", "atr", "hea")]
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".mitdb-") as staging:
        for file in files:
            response = requests.get(_URL + file, timeout=_TIMEOUT)
            response.raise_for_status()
            with whole_file(Path(staging, file)) as staged:
                staged.write(response.content)
        read_leads(Path(staging, name), "all")  # raises unless it is complete
        (folder / _DOWNLOADED).touch()
        for file in files:  # the header is last: without it there is no record
            os.replace(Path(staging, file), folder / file)
