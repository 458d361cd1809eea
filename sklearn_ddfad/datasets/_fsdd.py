"""The Free Spoken Digit Dataset: downloaded once, verified, kept as an audio folder."""

import csv
import io
import os
import re
import time
import zipfile
import zlib
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import Any

import requests
from pooch import HTTPDownloader
from sklearn.datasets import get_data_home

from sklearn_ddfad.datasets._audio_folder import load_audio_folder
from sklearn_ddfad.datasets._files import whole_or_nothing

ARCHIVE_URL = (
    "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/"
    "26eb9aaf76e81b692f806f9140c2d2777410d7a1.zip"
)
# GitHub may zip the same commit differently one day, so the recordings are verified, not the zip.
N_RECORDINGS = 3000
RECORDINGS_SHA256 = "8fed8b0b058a7efa7544bbb3e8e98607ecdcbd47a2f0ea31139cab18a6b679c9"
_MEMBER = re.compile(r"(?:.*/)?recordings/(\d_[a-z]+_\d+\.wav)")
_TIMEOUT = (5, 30)  # seconds to connect, and between two bytes

LICENSE = """\
Free Spoken Digit Dataset (FSDD), by Zohar Jackson and contributors
https://github.com/Jakobovski/free-spoken-digit-dataset, CC BY-SA 4.0
(https://creativecommons.org/licenses/by-sa/4.0/). The recordings are unchanged.
"""


def fetch_fsdd(
    *,
    data_home: str | PathLike[str] | None = None,
    subset: str = "train",
    download_if_missing: bool = True,
    return_X_y: bool = False,
    n_retries: int = 3,
    delay: float = 1.0,
    progress: bool = True,
    url: str = ARCHIVE_URL,
) -> Any:
    """Load the Free Spoken Digit Dataset, downloading it if necessary.

    =================   ==================================
    Classes                                 10 (the digits)
    Clips               2700 for training, 300 for testing
    Speakers                                             6
    Length                     0.14 to 2.28 s, median 0.42
    Sample rate                                    8000 Hz
    Download                                         16 MB
    =================   ==================================

    Recordings 0 to 4 of every speaker and digit are for testing: all speakers are heard in both
    subsets. For unheard speakers, split by ``groups``.

    Parameters
    ----------
    data_home : path-like, default=None
        Folder to keep data sets in; this one lies in its sub-folder ``fsdd``. None is the
        environment variable ``DDFAD_DATA`` or else scikit-learn's own data folder.
    subset : {"train", "test", "all"}, default="train"
        Which recordings to load.
    download_if_missing : bool, default=True
        If False, raise an OSError rather than download.
    return_X_y : bool, default=False
        Return ``(data, target)`` alone.
    n_retries : int, default=3
        How often to try again when the server answers with an error or breaks off. A server that
        cannot be reached is not tried again.
    delay : float, default=1.0
        Seconds between two tries.
    progress : bool, default=True
        Show a progress bar on standard error while downloading.
    url : str
        Where the archive is; another mirror must hold the same recordings.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        As from :func:`load_audio_folder`; `target` is the digit, `groups` the speaker. With
        ``return_X_y=True`` only ``(data, target)``.

    Raises
    ------
    OSError
        If the recordings are not there and may not be, or cannot be, downloaded.
    ValueError
        If what was downloaded is not the archive. Nothing of it is kept.

    References
    ----------
    Z. Jackson et al., "Free Spoken Digit Dataset", CC BY-SA 4.0,
    https://github.com/Jakobovski/free-spoken-digit-dataset

    Examples
    --------
    >>> from sklearn_ddfad.datasets import fetch_fsdd
    >>> X, y = fetch_fsdd(return_X_y=True)  # doctest: +SKIP
    """
    if subset not in ("train", "test", "all"):
        msg = f"subset is 'train', 'test' or 'all', but got {subset!r}."
        raise ValueError(msg)
    home = get_data_home(data_home or os.environ.get("DDFAD_DATA"))
    folder = Path(home, "fsdd")
    if not folder.exists():
        if not download_if_missing:
            msg = f"FSDD is not in {folder}, and download_if_missing is False."
            raise OSError(msg)
        recordings = _unpack(_download(url, n_retries, delay, progress), url)
        try:
            with whole_or_nothing(folder) as draft:
                _lay_out(recordings, draft)
        except OSError:
            if not folder.exists():  # else another process was sooner
                raise
    dataset = load_audio_folder(folder, split=None if subset == "all" else subset)
    return (dataset.data, dataset.target) if return_X_y else dataset


def _download(url: str, n_retries: int, delay: float, progress: bool) -> io.BytesIO:
    """Return what lies at a URL; it is small enough to stay off the disk until it is verified."""
    download = HTTPDownloader(progressbar=progress, chunk_size=2**16, timeout=_TIMEOUT)
    while True:
        content = io.BytesIO()
        try:
            download(url, content, None)
        except requests.RequestException as error:
            if n_retries == 0 or isinstance(error, requests.ConnectionError):
                reason = getattr(error.response, "reason", None) or type(error).__name__
                msg = f"FSDD could not be downloaded from {url} ({reason}); is there a network?"
                raise ConnectionError(msg) from error
        else:
            return content
        n_retries -= 1
        time.sleep(delay)


def _unpack(archive: io.BytesIO, url: str) -> dict[str, bytes]:
    """Return the recordings in an archive by file name, if they are the ones that belong there."""
    try:
        with zipfile.ZipFile(archive) as members:
            recordings = {
                match[1]: members.read(name)
                for name in members.namelist()
                if (match := _MEMBER.fullmatch(name))
            }
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        msg = f"what lies at {url} is no whole zip archive ({error}); download it again."
        raise ValueError(msg) from error
    if _digest(recordings) != RECORDINGS_SHA256:
        msg = (
            f"the archive at {url} is not FSDD as published: {len(recordings)} of its files are "
            f"recordings by name, of {N_RECORDINGS}, and some are missing or changed."
        )
        raise ValueError(msg)
    return recordings


def _digest(recordings: dict[str, bytes]) -> str:
    """Return the SHA-256 over names and contents, in the order of the names."""
    digest = sha256()
    for name, content in sorted(recordings.items()):
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _lay_out(recordings: dict[str, bytes], folder: Path) -> None:
    """Write recordings as an audio folder; their names say digit, speaker and index."""
    (folder / "audio").mkdir(parents=True)
    (folder / "LICENSE.txt").write_text(LICENSE, encoding="utf-8")
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as text:
        table = csv.writer(text)
        table.writerow(["file_name", "label", "group", "split"])
        for name, content in sorted(recordings.items()):
            (folder / "audio" / name).write_bytes(content)
            digit, speaker, index = Path(name).stem.split("_")
            split = "test" if int(index) < 5 else "train"  # the repository's own rule
            table.writerow([f"audio/{name}", digit, speaker, split])
