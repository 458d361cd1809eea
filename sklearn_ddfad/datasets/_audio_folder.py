"""Recordings on disk: a folder with one sub-folder per class, or with a ``metadata.csv``.

Both layouts are the "audiofolder" of Hugging Face datasets, so what is loaded here loads there.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_scalar

from sklearn_ddfad._warnings import warn
from sklearn_ddfad.datasets._files import audio_info, read_audio, resample

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au")
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")  # as Python writes it: "07" stays a name


class _Recording(NamedTuple):
    """A row of ``metadata.csv``, or what the place of a file says in its stead."""

    file: Path
    label: str
    group: str = ""
    split: str = ""


def load_audio_folder(
    path: str | PathLike[str],
    *,
    split: str | None = None,
    sample_rate: int | None = None,
    mono: bool = False,
) -> Bunch:
    """Load labelled recordings from a folder.

    Parameters
    ----------
    path : path-like
        A folder in one of two layouts: with a ``metadata.csv``, whose columns are ``file_name``
        (relative to the folder), ``label`` and, optionally, ``group`` and ``split``; or with one
        sub-folder per class, whose name is the label.
    split : str, default=None
        Load only the recordings of this split. None loads all.
    sample_rate : int, default=None
        Resample every clip to this rate, in Hz. None resamples to the commonest rate there is in
        the folder, whatever the split.
    mono : bool, default=False
        Average the channels of files with several. Without it such a file is refused.

    Returns
    -------
    dataset : :class:`~sklearn.utils.Bunch`
        With these attributes.

        data : list of ndarray of shape (n_samples_of_the_clip,), float32
            The clips, of different lengths, PCM in [-1, 1].
        target : ndarray of shape (n_clips,)
            The labels: integers if all labels of the folder are, else strings.
        target_names : list
            The classes of the folder, sorted.
        groups : ndarray of shape (n_clips,) or None
            Speaker, session or fold of each clip, as strings, where the folder tells.
        splits : ndarray of shape (n_clips,) or None
            The split of each clip, where the folder tells.
        filenames : ndarray of shape (n_clips,)
            Where each clip was read from.
        sample_rate : int
            Of all clips, in Hz.
        DESCR : str
            What was loaded, and the ``README.md`` and ``LICENSE.txt`` of the folder.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or a row of ``metadata.csv`` names a file that is not there.
    ValueError
        If the folder has neither layout, its ``metadata.csv`` is wrong, it has no such split, or a
        file is not a clip: see the message.

    Warns
    -----
    UserWarning
        If a sub-folder holds something, but no sound files: there is then no such class.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> import numpy as np, soundfile
    >>> from sklearn_ddfad.datasets import load_audio_folder
    >>> with TemporaryDirectory() as folder:
    ...     for label, frequency in {"high": 880, "low": 110}.items():
    ...         Path(folder, label).mkdir()
    ...         tone = np.sin(2 * np.pi * frequency * np.arange(4000) / 8000) / 2
    ...         soundfile.write(Path(folder, label, "tone.wav"), tone, 8000)
    ...     tones = load_audio_folder(folder)
    >>> tones.target, tones.sample_rate, tones.data[0].shape
    (array(['high', 'low'], dtype='<U4'), 8000, (4000,))
    """
    if sample_rate is not None:
        check_scalar(sample_rate, "sample_rate", Integral, min_val=1)
    folder = Path(path)
    everything = _recordings(folder)
    labels = _as_labels([recording.label for recording in everything])
    rows = _rows_of(split, everything, folder)
    chosen = [everything[row] for row in rows]
    others = [everything[row].file for row in np.setdiff1d(np.arange(len(everything)), rows)]
    clips, sample_rate = _read([recording.file for recording in chosen], others, sample_rate, mono)
    dataset = Bunch(
        data=clips,
        target=labels[rows],
        target_names=np.unique(labels).tolist(),
        groups=_optional([recording.group for recording in chosen]),
        splits=_optional([recording.split for recording in chosen]),
        filenames=np.array([str(recording.file) for recording in chosen]),
        sample_rate=sample_rate,
    )
    dataset.DESCR = _describe(folder, dataset)
    return dataset


# ------------------------------------------------------------------------------------------
# Which recordings there are
# ------------------------------------------------------------------------------------------


def _recordings(folder: Path) -> list[_Recording]:
    """Return every recording of a folder in either layout."""
    if not folder.is_dir():
        msg = f"there is no folder {folder}."
        raise FileNotFoundError(msg)
    metadata = folder / "metadata.csv"
    recordings = list(_from_metadata(metadata) if metadata.is_file() else _from_folders(folder))
    if not recordings:
        msg = (
            f"{folder} holds no recordings: it needs a metadata.csv with rows, or a sub-folder per "
            f"class with sound files ({' '.join(AUDIO_SUFFIXES)}) in it."
        )
        raise ValueError(msg)
    return recordings


def _from_folders(folder: Path) -> Iterator[_Recording]:
    """Yield the sound files of each sub-folder, labelled with its name."""
    for child in _visible(folder):
        if not child.is_dir():
            continue
        within = _visible(child)
        files = [file for file in within if _is_sound(file)]
        if within and not files:
            msg = (
                f"{child} holds {within[0].name} and no sound files ({' '.join(AUDIO_SUFFIXES)}); "
                "it is left out."
            )
            warn(msg)
        yield from (_Recording(file, child.name) for file in files)


def _is_sound(file: Path) -> bool:
    """Tell by its name; one that is not there, behind a broken link, is told of when it is read."""
    return file.suffix.lower() in AUDIO_SUFFIXES and not file.is_dir()


def _visible(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted, without hidden files."""
    return sorted(child for child in folder.iterdir() if not child.name.startswith("."))


def _from_metadata(metadata: Path) -> Iterator[_Recording]:
    """Yield the rows of a ``metadata.csv``, each checked."""
    seen: dict[Path, str] = {}
    with metadata.open(encoding="utf-8-sig", newline="") as text:
        try:
            reader = csv.DictReader(text, restval="", strict=True)  # a quote that stays open, too
            _check_columns(metadata, reader.fieldnames or ())
            for row in reader:
                where = f"line {reader.line_num} of {metadata}"
                recording = _from_row(row, metadata.parent, where)
                if recording.file in seen:
                    msg = f"{where} lists {recording.file} again, after {seen[recording.file]}."
                    raise ValueError(msg)
                seen[recording.file] = where
                yield recording
        except (csv.Error, UnicodeDecodeError) as error:
            msg = f"{metadata} is not comma-separated UTF-8 text: {error}"
            raise ValueError(msg) from error


def _check_columns(metadata: Path, columns: Sequence[str]) -> None:
    """Refuse a table without the two columns that every row needs."""
    for column in ("file_name", "label"):
        if column not in columns:
            msg = f"{metadata} has no column {column!r}; its columns are {list(columns)}."
            raise ValueError(msg)


def _from_row(row: dict[str, str], folder: Path, where: str) -> _Recording:
    """Return one row as a recording whose file exists, inside the folder, and has a label."""
    name = Path(row["file_name"])
    label, group, split = (row.get(key, "").strip() for key in ("label", "group", "split"))
    if name.anchor or ".." in name.parts:
        msg = f"{where} names {name}, which leaves the folder; name files inside it."
        raise ValueError(msg)
    if not (folder / name).is_file():
        msg = f"{where} names {name}, but there is no such file in the folder."
        raise FileNotFoundError(msg)
    if not label:
        msg = f"{where} gives no label for {name}."
        raise ValueError(msg)
    return _Recording(folder / name, label, group, split)


def _rows_of(split: str | None, recordings: list[_Recording], folder: Path) -> list[int]:
    """Return which recordings belong to a split; all for None."""
    rows = [i for i, recording in enumerate(recordings) if split in (None, recording.split)]
    if not rows:
        splits = sorted({recording.split for recording in recordings} - {""})
        msg = f"{folder} has no split {split!r}; it has {splits or 'none at all'}."
        raise ValueError(msg)
    return rows


# ------------------------------------------------------------------------------------------
# What is in them
# ------------------------------------------------------------------------------------------


def _read(
    files: list[Path], others: list[Path], sample_rate: int | None, mono: bool
) -> tuple[list[NDArray[np.float32]], int]:
    """Return clips of files at one sample rate; None is the commonest, of equals the highest."""
    with ThreadPoolExecutor() as pool:  # decoding and resampling release the interpreter lock
        heard, rates = zip(*pool.map(partial(read_audio, mono=mono), files), strict=True)
        if sample_rate is None:
            known = Counter([*rates, *filter(None, pool.map(_rate, others))])
            sample_rate = max(known, key=lambda rate: (known[rate], rate))
        clips = list(pool.map(partial(resample, target_rate=sample_rate), heard, rates))
    for file, clip in zip(files, clips, strict=True):
        if not len(clip):
            msg = f"{file} is too short: nothing is left of it at {sample_rate} Hz; leave it out."
            raise ValueError(msg)
    return clips, sample_rate


def _rate(file: Path) -> int | None:
    """Return the sample rate of a file that is not read; one that cannot be has none."""
    try:
        return audio_info(file, mono=True).samplerate
    except ValueError:
        return None


def _as_labels(texts: list[str]) -> NDArray:
    """Return labels as integers if all of them are written so and not too large, else strings."""
    labels = np.array(texts)
    try:
        return labels.astype(np.int64) if all(map(_INTEGER.fullmatch, texts)) else labels
    except OverflowError:
        return labels


def _optional(texts: list[str]) -> NDArray[np.str_] | None:
    """Return a column, or None if it is empty from top to bottom."""
    return np.array(texts) if any(texts) else None


def _describe(folder: Path, dataset: Bunch) -> str:
    """Return a few words on a data set, and what its folder says of itself."""
    seconds = sum(map(len, dataset.data)) / dataset.sample_rate
    about = (
        f"{len(dataset.data)} clips of {len(dataset.target_names)} classes from {folder}: "
        f"{seconds / 3600:.2f} hours at {dataset.sample_rate} Hz."
    )
    notes = (folder / name for name in ("README.md", "LICENSE.txt"))
    texts = [note.read_text(encoding="utf-8", errors="replace") for note in notes if note.is_file()]
    return "\n\n".join([about, *texts])
