"""Where sound files are opened and written; the only room that knows containers and codecs.

What comes in is checked here once, so that every other room may trust a clip: one dimension,
float32, finite, complete. What goes out is written beside its destination and moved there whole.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import soundfile
import soxr
from numpy.typing import ArrayLike, NDArray

# Integer PCM lies in [-1, 1]. A float file may go a little beyond, or hold 16-bit values unscaled;
# what is louder still is damage, or not sound.
MAX_AMPLITUDE = 32768.0
_NOT_KNOWN = 2**63 - 1  # frames of a FLAC file that was written to a pipe

# libsndfile reads what is left of a file that was cut short, and only notes it in its log: the size
# that a RIFF, AIFF or AU header declares and what it "should be", an Ogg stream that ends before
# its last page does, an RF64 file with fewer frames than it says. Two sizes mean "not known yet":
# ffmpeg and sox write them when they write to a pipe.
_CUT_SHORT = re.compile(
    r"^\s*(?:data|SSND|Data Size)\s*: (?!4294967295|2147479552)\d+ \(should be \d+\)"
    r"|^Ogg ?: (?:Last page lacks|Junk after the last page|File ended unexpectedly)"
    r"|does not match value from 'ds64' chunk",
    re.MULTILINE,
)


class AudioInfo(NamedTuple):
    """What the header of a sound file says."""

    frames: int
    samplerate: int


def audio_info(path: str | PathLike[str], *, mono: bool = False) -> AudioInfo:
    """Read only the header of a sound file, and refuse what :func:`read_audio` would by it."""
    with _open(path, mono) as file:
        return AudioInfo(file.frames, file.samplerate)


def read_audio(path: str | PathLike[str], *, mono: bool = False) -> tuple[NDArray[np.float32], int]:
    """Read one clip from a sound file.

    Parameters
    ----------
    path : path-like
        A file in any format that libsndfile knows: WAV, FLAC, OGG, MP3, AIFF, AU, ...
    mono : bool, default=False
        Average the channels of a file with several. Without it such a file is refused.

    Returns
    -------
    samples : ndarray of shape (n_samples,), float32
        PCM is scaled to [-1, 1]; the samples of a float file are returned as they are.
    sample_rate : int
        In Hz.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, is not audio, is cut short, has no samples, has several channels
        (without `mono`), or holds NaN, infinite or absurdly large samples.

    Notes
    -----
    An MP3 file without a Xing header declares no length: cut short, it is merely shorter.
    """
    with _open(path, mono) as file:
        channels = file.read(dtype="float32", always_2d=True).T
        _check_length(path, len(channels[0]), file.frames)
        samples = channels.mean(axis=0) if mono else channels[0]
        return check_samples(samples, str(path)), file.samplerate


def check_samples(samples: NDArray[np.floating], name: str) -> NDArray[np.floating]:
    """Return the samples of the clip called `name`; refuse NaN, infinity and absurd values."""
    peak = np.abs(samples).max()
    if not np.isfinite(peak):
        msg = f"{name} contains NaN or infinity; repair it or leave it out."
        raise ValueError(msg)
    if peak > MAX_AMPLITUDE:
        msg = (
            f"{name} has samples as large as {peak:.3g}; audio stays within {MAX_AMPLITUDE:g}, "
            "best within 1."
        )
        raise ValueError(msg)
    return samples


def resample(
    samples: NDArray[np.float32], original_rate: int, target_rate: int
) -> NDArray[np.float32]:
    """Resample a clip, band-limited.

    Parameters
    ----------
    samples : ndarray of shape (n_samples,), float32
        The clip at `original_rate`.
    original_rate, target_rate : int
        In Hz.

    Returns
    -------
    ndarray of shape (round(n_samples * target_rate / original_rate),), float32
        The clip at `target_rate`; the very same array when the rates agree.

    Examples
    --------
    >>> resample(np.zeros(44100, dtype="float32"), 44100, 8000).shape
    (8000,)
    """
    if original_rate == target_rate:
        return samples
    return soxr.resample(samples, original_rate, target_rate)


def write_audio(path: str | PathLike[str], samples: ArrayLike, sample_rate: int) -> None:
    """Write one clip as a 16-bit WAV file, whole or not at all.

    A clip that :func:`read_audio` took from a 16-bit file is written back bit for bit.

    Parameters
    ----------
    path : path-like
        Where to; a file already there is replaced.
    samples : array-like of shape (n_samples,)
        Within [-1, 1].
    sample_rate : int
        In Hz.

    Raises
    ------
    FileNotFoundError
        If the folder of `path` does not exist.
    ValueError
        If `samples` is empty, has another dimension than one, is not finite, or exceeds 1.
    """
    clip = np.asarray(samples, dtype=np.float64)
    if clip.ndim != 1 or clip.size == 0:
        msg = f"the clip for {path} has shape {clip.shape}; pass one of shape (n_samples,)."
        raise ValueError(msg)
    peak = np.abs(check_samples(clip, f"the clip for {path}")).max()
    if peak > 1:
        msg = f"the clip for {path} peaks at {peak:.4g}; 16-bit audio ends at 1, so scale it."
        raise ValueError(msg)
    pcm = np.rint(clip * 32768).clip(max=32767).astype(np.int16)
    with whole_or_nothing(path) as draft:
        soundfile.write(draft, pcm, sample_rate, format="WAV", subtype="PCM_16")


@contextmanager
def whole_or_nothing(path: str | PathLike[str]) -> Iterator[Path]:
    """Lend a name beside `path` for a file or folder: it becomes `path` if the block ends well."""
    path = Path(path)
    if not path.parent.is_dir():
        msg = f"there is no folder {path.parent} to write {path.name} to."
        raise FileNotFoundError(msg)
    draft = path.with_name(f".{uuid4().hex}.part")
    try:
        yield draft
        draft.replace(path)
    finally:
        if draft.is_dir():
            shutil.rmtree(draft)
        else:
            draft.unlink(missing_ok=True)


@contextmanager
def _open(path: str | PathLike[str], mono: bool) -> Iterator[soundfile.SoundFile]:
    """Open a sound file whose header is in order; speak of its path when decoding fails."""
    path = Path(path)
    if not path.is_file():
        msg = f"there is no sound file {path}."
        raise FileNotFoundError(msg)
    if path.stat().st_size == 0:
        msg = f"{path} is an empty file."
        raise ValueError(msg)
    try:
        with soundfile.SoundFile(path) as file:
            _check_header(path, file, mono)
            yield file
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: the suffix .raw
        msg = f"{path} is not audio, or damaged: {error}"
        raise ValueError(msg) from error
    except UnicodeEncodeError as error:
        msg = f"{str(path)!a} has a name that is not UTF-8; rename it."
        raise ValueError(msg) from error


def _check_header(path: Path, file: soundfile.SoundFile, mono: bool) -> None:
    """Refuse a file without samples, one that lacks part of them, and channels to be averaged."""
    if _CUT_SHORT.search(file.extra_info):
        msg = f"{path} is cut short: its header promises more than the {file.frames} samples left."
        raise ValueError(msg)
    if file.frames == 0:
        msg = f"{path} has a header but no samples."
        raise ValueError(msg)
    if file.frames == _NOT_KNOWN:
        msg = f"{path} does not say how long it is, as if written to a pipe; convert it to a file."
        raise ValueError(msg)
    if file.channels > 1 and not mono:
        msg = f"{path} has {file.channels} channels, not one; mono=True averages them."
        raise ValueError(msg)


def _check_length(path: str | PathLike[str], n_read: int, n_promised: int) -> None:
    """Refuse a file that held fewer samples than it promised."""
    if n_read < n_promised:
        msg = f"{path} is cut short: its header promises {n_promised} samples, {n_read} are left."
        raise ValueError(msg)
