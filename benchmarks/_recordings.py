"""The four data sets as features, split and heard once and found again by every fresh process.

``DDFAD_DATA`` names the folder that holds them, ``DDFAD_CACHE`` one for what is worked out (the
temporary folder, where it is not set): features here, and whatever else a benchmark keeps.

``official``
    The data set's own parts; of spoken digits, 300 clips of all six speakers are for testing.
``random``
    A fifth of each class, drawn by the seed. Takes of the same actor (RAVDESS) and slices of the
    same recording (UrbanSound8K) then lie on both sides, as in the paper.
``group``
    Clips of speakers, actors or folds that the training part knows nothing of, others for each
    seed: a speaker of six, five actors of 24, a fold of three (UrbanSound8K) or of five (ESC-10).
``last``
    The last of these groups for every seed: actors 21 to 24, fold 5 of ESC-10.

Digits are heard with the defaults of the extractors. The others last 3 to 5 s, of which frames of
20 ms would make images five times as large as those of digits. They are heard at 16 kHz in frames
of 64 ms (ESC-10: 80 ms) that overlap by half: 126 frames a clip, which two cores can learn from.
All methods and features hear a data set in the same way.
"""

import hashlib
import inspect
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
from sklearn.model_selection import train_test_split

LONG = {"sample_rate": 16_000, "duration": 4.0, "frame_length": 0.064, "hop_length": 0.032}
GEOMETRY: dict[str, dict[str, Any]] = {
    "fsdd": {},
    "ravdess": LONG,
    "urbansound8k": LONG,
    "esc10": LONG | {"duration": 5.0, "frame_length": 0.08, "hop_length": 0.04},
}
GEOMETRY["esc50"] = GEOMETRY["esc10"]
FOR_ALL_SEEDS = ("official", "last")  # splits that are the same
N_PARTS = {"fsdd": 6, "urbansound8k": 3}  # of the groups, else 5; one is held out


class Heard(NamedTuple):
    """Features and labels of both parts, the extractor fitted on the first, and its files."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    extractor: Any
    files: np.ndarray


def cache_folder():
    """Return where benchmarks keep what they would otherwise work out again."""
    return Path(os.environ.get("DDFAD_CACHE", Path(tempfile.gettempdir(), "ddfad-benchmarks")))


def heard(data, split, seed=0, features="FDMFCC", thin=1, **geometry):
    """Return a data set as features, found in the cache or heard now.

    Parameters
    ----------
    data : str
        A folder in ``DDFAD_DATA``, or a path.
    split : {"official", "random", "group", "last"}
        See the module.
    seed : int
        Which random fifth, or which groups, are for testing.
    features : str
        The class of the extractor.
    thin : int
        Of each part, every so many clips are taken.
    **geometry : dict
        Of the extractor, where it is to be another than the module says.
    """
    import sklearn_ddfad

    place = Path(os.environ["DDFAD_DATA"], data)
    kind = getattr(sklearn_ddfad, features)
    seed = 0 if split in FOR_ALL_SEEDS else seed
    memory = joblib.Memory(cache_folder() / "features", verbose=0)
    geometry = GEOMETRY.get(data, {}) | geometry
    return memory.cache(_hear)(place, data, split, seed, kind, thin, geometry, _source(kind))


def _source(kind):
    """Return a digest of the folder that a class is written in: other code hears anew."""
    files = sorted(Path(inspect.getfile(kind)).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _hear(place, data, split, seed, kind, thin, geometry, source):
    from sklearn_ddfad import load_audio_folder

    recordings = load_audio_folder(place, sample_rate=geometry.get("sample_rate"))
    extractor = kind(**{"sample_rate": recordings.sample_rate} | geometry)
    parts = [part[::thin] for part in _split(recordings, data, split, seed)]
    train, test = ([recordings.data[i] for i in part] for part in parts)
    y_train, y_test = (recordings.target[part] for part in parts)
    features = extractor.fit_transform(train)
    files = recordings.filenames[parts[0]]
    return Heard((features, y_train), (extractor.transform(test), y_test), extractor, files)


def _split(recordings, data, split, seed):
    """Return the indices of the training part and of the test part, sorted."""
    everything = np.arange(len(recordings.target))
    if split == "official":
        return tuple(np.flatnonzero(recordings.splits == part) for part in ("train", "test"))
    if split in ("group", "last"):
        parts = np.array_split(np.unique(recordings.groups), N_PARTS.get(data, 5))
        which = -1 if split == "last" else seed % len(parts)
        is_test = np.isin(recordings.groups, parts[which])
    else:
        _, test = train_test_split(
            everything, test_size=0.2, stratify=recordings.target, random_state=seed
        )
        is_test = np.isin(everything, test)
    return everything[~is_test], everything[is_test]
