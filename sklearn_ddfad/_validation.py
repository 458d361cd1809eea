"""The corridor where the user's things come in, and the one import of scikit-learn's private tools.

Everything is refused here, before any work starts, with one sentence: which clip, what value, and
what would do.
"""

import os
from hashlib import blake2b
from math import prod
from os import PathLike

import numpy as np
import torch
from sklearn.base import _fit_context as fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    assert_all_finite,
    check_consistent_length,
    column_or_1d,
    validate_data,
)

from sklearn_ddfad.datasets._files import audio_info, check_samples, read_audio

__all__ = [
    "Clips",
    "HasMethods",
    "Interval",
    "Rows",
    "StrOptions",
    "below",
    "check_clips",
    "check_features",
    "check_labels",
    "fit_context",
    "is_held_elsewhere",
    "resolve_device",
]

_LOOKED_AT = 100  # clips that tell what they are
# Integer types that are pulse-code modulation: (offset, full scale).
_PCM = {"uint8": (128, 128), "int16": (0, 2**15), "int32": (0, 2**31)}


def resolve_device(device):
    """Return the torch device called `device`; ``"auto"`` is CUDA where there is one."""
    if device == "auto":
        return _own_gpu() if torch.cuda.is_available() else torch.device("cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        msg = f"device={device!r} is not a torch device; use 'auto', 'cpu' or 'cuda'."
        raise ValueError(msg) from error
    if not _is_there(resolved):
        msg = (
            f"device={device!r} was asked for, but torch sees no {str(resolved).upper()} device; "
            "use 'auto' or 'cpu'."
        )
        raise ValueError(msg)
    return resolved


def _is_there(device):
    """Tell whether there is such a device; GPUs are counted without beginning to use them."""
    if device.type == "cuda":
        return (device.index or 0) < torch.cuda.device_count()
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        return False
    return True


def _own_gpu():
    """Return the GPU of this process: those that ``torchrun`` starts have one each."""
    number = os.environ.get("LOCAL_RANK")
    if number is None:
        return torch.device("cuda")
    return torch.device("cuda", int(number) % torch.cuda.device_count())


def from_torch(X):
    """Return a tensor as an array, and anything else as it is."""
    return X.detach().cpu().numpy() if torch.is_tensor(X) else X


# ------------------------------------------------------------------------------------------
# Recordings
# ------------------------------------------------------------------------------------------


def check_clips(estimator, X, *, mono=False, reset=True):
    """Return whatever holds recordings as :class:`Clips`, every clip of an array checked.

    Files are opened here for their headers only, and checked whole as they are read.
    """
    if isinstance(X, (str, PathLike)):
        msg = f"expected a list of recordings, got one path: {str(X)!r}; wrap it in a list."
        raise ValueError(msg)
    X = from_torch(X)
    if not hasattr(X, "ndim") and hasattr(X, "__array__"):
        X = np.asarray(X)
    if hasattr(X, "toarray") or getattr(X, "ndim", 1) == 2:
        # Rectangular: scikit-learn's own checks, which keep the type and count the columns.
        X = validate_data(estimator, X, reset=reset, ensure_all_finite=False)
        return Clips([_check_clip(clip, i) for i, clip in enumerate(X)])
    if getattr(X, "ndim", 1) != 1:
        msg = (
            f"expected clips with one channel each, got an array of shape {X.shape}; "
            "average the channels first, or read files with mono=True."
        )
        raise ValueError(msg)
    if not hasattr(X, "__len__"):
        msg = f"expected a list of recordings, got {type(X).__name__}."
        raise TypeError(msg)
    if reset:  # a list has no columns; those of an earlier fit no longer count
        for columns in ("n_features_in_", "feature_names_in_"):
            vars(estimator).pop(columns, None)
    return _check_list(list(X), mono)


def _check_list(items, mono):
    if not items:
        msg = "expected a list of recordings, got an empty one; 0 sample(s) while 1 is required."
        raise ValueError(msg)
    if all(isinstance(item, (str, PathLike)) for item in items):
        return _Files(items, mono)
    if np.isscalar(items[0]) and not isinstance(items[0], str):
        msg = (
            "expected 2D array or a list of 1-D clips, got one 1-D array instead. Reshape your "
            "data: a single recording is passed as [clip]."
        )
        raise ValueError(msg)
    return Clips([_check_clip(item, i) for i, item in enumerate(items)])


def _check_clip(clip, index):
    """Return one recording as a 1-D float32 array in the units it came in, PCM scaled."""
    clip = _as_numbers(clip, index)
    if clip.ndim != 1:
        msg = (
            f"clip {index} has shape {clip.shape}; a recording has one axis. Stereo is averaged "
            "with clip.mean(axis=...), or by mono=True when files are read."
        )
        raise ValueError(msg)
    if clip.size == 0:
        msg = f"clip {index} is empty; drop it."
        raise ValueError(msg)
    return check_samples(clip, f"clip {index}")


def _as_numbers(clip, index):
    """Return what holds a recording as float32, integer PCM scaled to [-1, 1]."""
    try:
        array = np.asarray(from_torch(clip))
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as such
            numbers = array.astype(np.float32, copy=False) if array.dtype.kind != "c" else None
    except (TypeError, ValueError) as error:
        msg = f"clip {index} is not audio ({error}); pass 1-D arrays of numbers, or only paths."
        raise type(error)(msg) from error
    if numbers is None:
        msg = f"clip {index} is complex. Complex data not supported: pass real samples."
        raise ValueError(msg)
    offset, full_scale = _PCM.get(array.dtype.name, (0, 1))
    return (numbers - offset) / full_scale if full_scale != 1 else numbers


class Clips:
    """Recordings in memory: 1-D float32 arrays of any lengths, read a batch at a time."""

    sample_rate: int | None = None  # arrays carry none

    def __init__(self, items):
        self._items = items

    def __len__(self):
        return len(self._items)

    def __getitem__(self, index):
        return self._items[index]

    @property
    def lengths(self):
        """Samples of each clip."""
        return np.array([len(self[i]) for i in range(len(self))])

    def padded(self, rows, n_samples):
        """Return the clips of a slice as ``(n_clips, n_samples)``, each in the middle of its row.

        What is too long is cut, what is too short meets silence, equally on both sides.
        """
        indices = range(*rows.indices(len(self)))
        out = np.zeros((len(indices), n_samples), dtype=np.float32)
        for row, i in zip(out, indices, strict=True):
            clip = self[i]  # one at a time: a recording may be much longer than what is kept of it
            surplus = len(clip) - n_samples
            clip = clip[max(surplus // 2, 0) :][:n_samples]
            row[max(-surplus // 2, 0) :][: len(clip)] = clip
        return out


class _Files(Clips):
    """Recordings on disk: their headers are read at once, their samples when they are needed."""

    def __init__(self, paths, mono):
        super().__init__(paths)
        self._mono = mono
        self._infos = [audio_info(path, mono=mono) for path in paths]
        rates = sorted({info.samplerate for info in self._infos})
        if len(rates) > 1:
            msg = (
                f"the files have different sample rates: {rates} Hz; load_audio_folder(..., "
                "sample_rate=...) resamples them to one."
            )
            raise ValueError(msg)
        self.sample_rate = rates[0]

    def __getitem__(self, index):
        return read_audio(self._items[index], mono=self._mono)[0]

    @property
    def lengths(self):
        return np.array([info.frames for info in self._infos])


# ------------------------------------------------------------------------------------------
# Features and labels
# ------------------------------------------------------------------------------------------


class Rows:
    """Features read a few rows at a time, as float32, whatever holds them.

    Parameters
    ----------
    source : array-like of shape (n_clips, ...)
        What has ``shape`` and ``dtype`` and is read by slices and by rising indices, as NumPy
        arrays are: an array, a ``numpy.memmap``, a dataset of an HDF5 file. It is never modified.
    indices : ndarray of int or None, default=None
        The rows of `source` that count, in any order, some perhaps twice; ``None`` is all of them.
    """

    BATCH_BYTES = 2**24  # of one batch, where the caller has no size in mind
    dtype = np.dtype(np.float32)

    def __init__(self, source, indices=None):
        self._source, self._indices = source, indices

    def __len__(self):
        return self._source.shape[0] if self._indices is None else len(self._indices)

    @property
    def shape(self):
        """Number of rows, and the shape of one."""
        return (len(self), *self._source.shape[1:])

    def __getitem__(self, key):
        """Return the rows of a slice or of an array of indices: a new C-contiguous array."""
        if self._indices is not None:
            return self._read(self._indices[key])
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:  # a copy, which the source does not share
                return _as_float32(self._source[start : max(start, stop)], copy=True)
            key = np.arange(start, stop, step)
        return self._read(np.asarray(key))

    def _read(self, indices):
        if isinstance(self._source, np.ndarray):
            return _as_float32(self._source[indices], copy=None)
        known, place = np.unique(indices, return_inverse=True)  # files want them rising
        return _as_float32(self._source[known], copy=None)[place]

    def subset(self, indices):
        """Return some of the rows, still to be read."""
        return Rows(self._source, indices if self._indices is None else self._indices[indices])

    def batches(self, size=None):
        """Yield consecutive rows, `size` at a time, or as many as take 16 MB."""
        if size is None:
            size = max(1, self.BATCH_BYTES // (4 * prod(self.shape[1:]) or 1))
        for start in range(0, len(self), size):
            yield self[start : start + size]

    def mean_and_std(self):
        """Return mean and standard deviation over the rows, in float64."""
        total = squares = np.zeros(self.shape[1:])
        for batch in self.batches():
            total = total + batch.sum(axis=0, dtype=np.float64)
            squares = squares + np.einsum("i...,i...->...", batch, batch, dtype=np.float64)
        mean = total / len(self)
        return mean, np.sqrt(np.maximum(squares / len(self) - mean**2, 0))

    def fingerprint(self):
        """Return a hash of all numbers: the same, whatever holds them."""
        digest = blake2b(repr(self.shape).encode())
        for batch in self.batches():
            digest.update(batch)
        return digest.hexdigest()


def _as_float32(rows, copy):
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as such
        return np.array(rows, dtype=np.float32, order="C", copy=copy)


def is_held_elsewhere(X):
    """Tell whether `X` is array-like, but not in memory: to be read a few rows at a time."""
    if isinstance(X, np.memmap):
        return X.ndim > 1
    return (
        all(hasattr(X, name) for name in ("shape", "dtype", "__getitem__"))
        and not isinstance(X, np.ndarray | np.generic)
        and not hasattr(X, "toarray")  # sparse
        and len(X.shape) > 1
    )


def check_features(estimator, X, *, reset=True):
    """Return features, ``(n_clips, ...)`` with at least two axes, as :class:`Rows`, all finite.

    Without `reset`, clips must have the ``input_shape_`` that the estimator was fitted on.
    """
    X = from_torch(X)
    elsewhere = is_held_elsewhere(X)
    _refuse_recordings(X)
    with np.errstate(over="ignore"):
        checked = validate_data(
            estimator,
            np.asarray(X[:1]) if elsewhere else X,
            reset=reset,
            dtype=np.float32,
            allow_nd=True,
            ensure_all_finite=False,
            ensure_min_samples=1,
        )
    rows = Rows(X if elsewhere else checked)
    if not reset and rows.shape[1:] != estimator.input_shape_:
        msg = (
            f"{type(estimator).__name__} was fitted on features of shape {estimator.input_shape_} "
            f"for each clip, got {rows.shape[1:]}; use the extractor it was fitted behind."
        )
        raise ValueError(msg)
    check_finite(rows)
    return rows


def _refuse_recordings(X):
    """Tell who gives recordings, or where they are, what makes features of them."""
    may_be = X.dtype.kind in "OU" if isinstance(X, np.ndarray) else isinstance(X, list | tuple)
    few = list(X[:_LOOKED_AT]) if may_be else []
    are_paths = any(isinstance(clip, str | PathLike) for clip in few)
    if are_paths or len({len(clip) for clip in few if getattr(clip, "ndim", 0) == 1}) > 1:
        msg = (
            "expected features, all of one shape, got "
            f"{'paths' if are_paths else 'recordings of different lengths'}; put an extractor in "
            "front, such as FDMFCC()."
        )
        raise ValueError(msg)


def check_finite(rows, name="X"):
    """Refuse clips with numbers that are none, and say which."""
    start = 0
    for batch in rows.batches():
        finite = np.isfinite(batch)
        if not finite.all():
            clip = start + finite.all(axis=tuple(range(1, batch.ndim))).argmin()
            msg = (
                f"clip {clip} of {name} contains NaN, infinity or a number beyond float32; repair "
                "it or leave it out."
            )
            raise ValueError(msg)
        start += len(batch)


def below(family):
    """Yield all classes below a class: what a file may name."""
    for kind in family.__subclasses__():
        yield kind
        yield from below(kind)


def _is_missing(label):
    """Tell None, NaN, and what pandas has for them, from a label."""
    is_nan = isinstance(label, float | np.floating) and np.isnan(label)
    return label is None or is_nan or type(label).__name__ in {"NAType", "NaTType"}


def _check_there(missing):
    """Refuse labels of which some are marked as missing."""
    if np.any(missing):
        msg = f"clip {np.argmax(missing)} has no label; give it one, or leave it out."
        raise ValueError(msg)


def check_labels(y, n_clips):
    """Return ``(classes, codes)``: the sorted labels, and each clip's index among them."""
    if y is None:
        msg = "requires y to be passed, but the target y is None: give the labels."
        raise ValueError(msg)
    y = from_torch(y)
    if hasattr(y, "isna"):
        _check_there(np.asarray(y.isna()))
    elif isinstance(y, list | tuple):  # where NaN may yet become a string
        _check_there([*map(_is_missing, y)])
    if pandas_dtype := getattr(getattr(y, "dtype", None), "numpy_dtype", None):
        y = y.to_numpy(pandas_dtype)  # a nullable column, which may not stay what it is else
    y = column_or_1d(y, warn=True)
    if y.dtype.kind == "O":
        _check_there([*map(_is_missing, y)])
        whole = all(isinstance(label, int | np.integer) for label in y)
        y = np.array(y.tolist()) if whole else y
    if y.dtype.kind == "f":
        assert_all_finite(y, input_name="y")
    try:  # twice as many: a clip of each of many classes is no regression
        check_classification_targets(np.tile(y, 2))
    except ValueError as error:
        if y.dtype.kind != "O":
            raise
        kinds = ", ".join(sorted({type(label).__name__ for label in y}))
        msg = f"Unknown label type: labels of {kinds}; give all as strings, or all as numbers."
        raise ValueError(msg) from error
    check_consistent_length(np.empty(n_clips), y)
    classes, codes = np.unique(y, return_inverse=True)
    return classes, codes
