"""What is kept: distilled clips with everything needed to train on them, show and hear them."""

import csv
import hashlib
import json
import re
import shutil
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from sklearn.utils.validation import check_is_fitted

from sklearn_ddfad._version import __version__
from sklearn_ddfad.datasets._files import whole_or_nothing, write_audio
from sklearn_ddfad.feature_extraction import BaseExtractor, extractor_from_state
from sklearn_ddfad.parameterization import beneath, decoded, decoder_from_record, record_of, under

_FORMAT = "sklearn_ddfad.DistilledSet/1"


@dataclass(frozen=True, eq=False)
class DistilledSet:
    """A few clips per class, with labels, step size, provenance, and how they were heard.

    Parameters
    ----------
    X : ndarray of float32, shape (n_clips, ...)
        Features of the clips.
    y : ndarray of shape (n_clips,)
        Their labels: integers, strings, booleans or floats.
    learning_rate : float or None
        The step size α learned along with the clips, where the method learns one.
    provenance : dict
        Method, parameters, seed (the ``random_state`` that makes the set again), number of clips
        seen and version of the library, in types that JSON can hold.
    extractor : FDMFCC, MFCC or another extractor, or None
        Fitted, as it made features of recordings; needed for sound.
    soft_labels : ndarray of float32, shape (n_clips, n_classes), or None
        The probabilities of the sorted classes learned along with the clips, where asked for.
    numbers : dict of ndarray of float32, or None
        What is stored in place of the clips, where a parameterisation says so.
    decoder : object or None
        What decodes the clips from these numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ddfad import DistilledSet
    >>> distilled = DistilledSet(np.zeros((2, 3, 4, 5), "float32"), np.array(["no", "yes"]))
    >>> distilled.n_clips, distilled.n_stored
    (2, 120)
    """

    X: np.ndarray
    y: np.ndarray
    learning_rate: float | None = None
    provenance: dict = field(default_factory=dict)
    extractor: BaseExtractor | None = None
    soft_labels: np.ndarray | None = None
    numbers: dict[str, np.ndarray] | None = None
    decoder: Any = None

    def __repr__(self):
        made_by = self.provenance.get("method", "unknown")
        return f"DistilledSet({self.n_clips} clips, {len(self.classes)} classes, by {made_by})"

    @property
    def n_clips(self):
        """Number of clips."""
        return len(self.X)

    @property
    def n_stored(self):
        """How many numbers are kept: of clips, or in place of them, and of soft labels."""
        arrays = [self.X] if self.numbers is None else [*self.numbers.values()]
        return sum(array.size for array in arrays) + (
            0 if self.soft_labels is None else self.soft_labels.size
        )

    @property
    def targets(self):
        """What is to be learned: the soft labels where there are any, else the labels."""
        return self.y if self.soft_labels is None else self.soft_labels

    @property
    def classes(self):
        """The labels there are, sorted."""
        return np.unique(self.y)

    def with_extractor(self, extractor):
        """Return the same set, knowing how it was heard.

        Parameters
        ----------
        extractor : FDMFCC
            Fitted, and making features of the shape of these clips.

        Returns
        -------
        distilled : DistilledSet

        Raises
        ------
        ValueError
            If it makes other features, or the set is kept as sound of another sample rate.
        """
        check_is_fitted(extractor)
        if tuple(extractor.feature_shape_) != self.X.shape[1:]:
            msg = (
                f"the extractor makes features of shape {extractor.feature_shape_}, the clips have "
                f"{self.X.shape[1:]}; give the extractor that they were distilled behind."
            )
            raise ValueError(msg)
        own = getattr(self.decoder, "extractor", extractor)
        if own.sample_rate_ != extractor.sample_rate_:
            msg = (
                f"the set is kept as sound of {own.sample_rate_} Hz, the extractor hears "
                f"{extractor.sample_rate_} Hz; give the one that it was distilled behind."
            )
            raise ValueError(msg)
        return replace(self, extractor=deepcopy(extractor))  # a later refit is not ours

    # -- one file ------------------------------------------------------------------------

    def save(self, path):
        """Write everything into one safetensors file, whole or not at all.

        Parameters
        ----------
        path : str or Path
            Where to; a file already there is replaced.
        """
        classes, codes = np.unique(self.y, return_inverse=True)
        if classes.dtype.kind not in "biufUO":
            msg = (
                f"labels of type {classes.dtype} cannot be saved; use integers, strings, booleans "
                "or floats."
            )
            raise TypeError(msg)
        tensors = {"codes": codes.astype(np.int64)}
        record = {
            "format": _FORMAT,
            "version": __version__,
            "classes": classes.tolist(),
            "label_dtype": "object" if classes.dtype == object else classes.dtype.str,
            "learning_rate": self.learning_rate,
            "provenance": self.provenance,
            "extractor": None,
            "decoder": None,
        }
        if self.decoder is None:
            tensors["X"] = np.ascontiguousarray(self.X)
        else:
            record["decoder"], arrays = record_of(self.decoder)
            tensors |= under("numbers.", self.numbers) | under("decoder.", arrays)
        if self.soft_labels is not None:
            tensors["soft_labels"] = np.ascontiguousarray(self.soft_labels)
        if self.extractor is not None:
            record["extractor"], arrays = self.extractor.state()
            tensors |= arrays
        text = json.dumps(record, default=_plain)
        metadata = {"sklearn_ddfad": text, "sha256": _digest(tensors, text)}
        with whole_or_nothing(Path(path)) as draft:
            draft.write_bytes(save(tensors, metadata))

    @classmethod
    def load(cls, path):
        """Read back what :meth:`save` wrote, bit for bit.

        Parameters
        ----------
        path : str or Path
            The file.

        Returns
        -------
        distilled : DistilledSet

        Raises
        ------
        FileNotFoundError
            If there is none.
        ValueError
            If it is damaged, or something else. Nothing in it is ever executed.
        """
        if not Path(path).is_file():
            msg = f"there is no distilled set {path}"
            raise FileNotFoundError(msg)
        Path(path).open("rb").close()  # one that may not be read is not damaged
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                names = (
                    file.keys() if "sklearn_ddfad" in metadata else ()
                )  # others may hold bfloat16
                tensors = {name: file.get_tensor(name) for name in names}
        except (SafetensorError, OSError) as error:
            msg = f"{path} is not a safetensors file, or is damaged: {error}"
            raise ValueError(msg) from error
        text = metadata.get("sklearn_ddfad", "")
        if not text:
            msg = (
                f"{path} is a safetensors file, but no distilled set; DistilledSet.save makes one."
            )
            raise ValueError(msg)
        if metadata.get("sha256") != _digest(tensors, text):
            msg = (
                f"{path} is damaged: its checksum does not fit its content; fetch or make it anew."
            )
            raise ValueError(msg)
        try:
            return cls._from_record(json.loads(text), tensors, path)
        except (json.JSONDecodeError, AttributeError, LookupError, TypeError) as error:
            msg = f"{path} is no distilled set of this format: {type(error).__name__}, {error}"
            raise ValueError(msg) from error

    @classmethod
    def _from_record(cls, record, tensors, path):
        if record["format"] != _FORMAT:
            msg = f"{path} has format {record['format']!r}; this version reads {_FORMAT!r}."
            raise ValueError(msg)
        classes = np.array(record["classes"], dtype=record["label_dtype"])
        extractor = record["extractor"] and extractor_from_state(record["extractor"], tensors)
        return cls(
            **_clips_from(record, tensors),
            y=classes[tensors["codes"]],
            learning_rate=record["learning_rate"],
            soft_labels=tensors.get("soft_labels"),
            provenance=record["provenance"],
            extractor=extractor,
        )

    # -- sound ---------------------------------------------------------------------------

    def to_audio(self, **options):
        """Return the clips as waveforms: by Griffin-Lim, or as they were learned.

        Parameters
        ----------
        **options : dict
            Passed to :class:`~sklearn_ddfad.GriffinLimInverter`; a set that is kept as
            :class:`~sklearn_ddfad.Waveform` is sound already, and needs none.

        Returns
        -------
        waveforms : ndarray of float32, shape (n_clips, n_samples)
        """
        if hasattr(self.decoder, "sounds"):
            return self.decoder.sounds(self.numbers)
        from sklearn_ddfad.reconstruction import GriffinLimInverter

        return GriffinLimInverter(self._heard_by(), **options).transform(self.X)

    def _heard_by(self):
        """Return the extractor, without which there is no sound."""
        extractor = self.extractor or getattr(self.decoder, "extractor", None)
        if extractor is None:
            msg = "how these clips were heard is not known; use with_extractor(extractor) first."
            raise ValueError(msg)
        return extractor

    def to_audio_folder(self, path, **options):
        """Write the clips as sound: WAV files, ``metadata.csv`` and a README card.

        The Hugging Face "audiofolder" layout, which ``load_audio_folder`` reads back. It names one
        label for each clip: soft labels are in what :meth:`save` writes alone.

        Parameters
        ----------
        path : str or Path
            A new folder; one that an earlier call has written is replaced.
        **options : dict
            Passed to :class:`~sklearn_ddfad.GriffinLimInverter`.

        Raises
        ------
        FileExistsError
            If the folder exists and holds something else.
        ValueError
            If a label is empty or blank at an end, and would not be read back so, or it is not
            known how the clips were heard.
        """
        for label in map(str, self.classes):
            if not label or label != label.strip():
                msg = f"label {label!r} would not be read back from metadata.csv; rename it."
                raise ValueError(msg)
        with replaced_folder(path) as draft:
            self._write_audio_folder(draft, **options)

    def _write_audio_folder(self, folder, **options):
        """Fill a new folder; a clip louder than 16-bit audio allows is scaled, and says by what."""
        waveforms = self.to_audio(**options)
        rate = self._heard_by().sample_rate_
        (folder / "audio").mkdir(parents=True)
        rows = []
        for i, (waveform, label) in enumerate(zip(waveforms, self.y, strict=True)):
            name = f"audio/{i:05d}.wav"
            gain = 1 / max(1, np.abs(waveform).max())
            write_audio(folder / name, waveform * gain, rate)
            rows.append((name, label, f"{gain:.6g}"))
        with (folder / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file_name", "label", "gain"), *rows])
        (folder / "README.md").write_text(self._card(), encoding="utf-8")

    def _card(self):
        """Return the README of an exported set, a Hugging Face dataset card."""
        parameters = "\n".join(
            f"| {name} | {' '.join(str(value).split()).replace('|', '/')} |"
            for name, value in self.provenance.get("parameters", {}).items()
        )
        extractor = self._heard_by()
        return _CARD.format(
            n_clips=self.n_clips,
            n_classes=len(self.classes),
            classes=", ".join(map(str, self.classes)),
            method=self.provenance.get("method", "unknown"),
            n_seen=self.provenance.get("n_clips_seen", "an unknown number of"),
            seed=self.provenance.get("seed", "unknown"),
            learning_rate=self.learning_rate,
            seconds=f"{extractor.n_samples_ / extractor.sample_rate_:.2f}",
            rate=extractor.sample_rate_,
            extractor=extractor,
            parameters=parameters,
            version=self.provenance.get("version", __version__),
        )


_CARD = """\
---
task_categories: [audio-classification]
tags: [dataset-distillation, sklearn_ddfad]
---
# A distilled audio data set

{n_clips} clips, {n_classes} classes ({classes}), each {seconds} s at {rate} Hz. Made by
{method} from {n_seen} recordings with sklearn_ddfad {version}, seed {seed}; learned step size:
{learning_rate}.

The clips are synthetic: they are made to be trained on, and need not sound like the recordings they
stand for. `metadata.csv` names each file and its label, and the gain it was scaled by to fit into
16-bit audio, which loading does not undo.

```python
from sklearn_ddfad.datasets import load_audio_folder
clips = load_audio_folder("path/to/this/folder")
```

Heard by `{extractor}`.

| parameter | value |
|---|---|
{parameters}
"""


@contextmanager
def replaced_folder(path):
    """Lend a folder beside `path` that becomes `path`, or takes its place, if the block ends well.

    Only an empty folder is ever replaced, or one that holds a distilled set and nothing else.
    """
    path = Path(path).resolve()
    _check_replaceable(path)
    with whole_or_nothing(path) as draft:
        draft.mkdir()
        yield draft
        _check_replaceable(path)  # time has passed
        if path.exists():
            shutil.rmtree(path)


_OURS = re.compile(
    r"README\.md|metadata\.csv|audio|audio/[0-9]{5,}\.wav"
    r"|distilled\.safetensors|report\.json|picture\.png"
    r"|(?:audio/)?(?:\.DS_Store|Thumbs\.db|desktop\.ini)"  # what looking into a folder leaves there
)


def _check_replaceable(path):
    """Refuse to replace what is no folder, or holds anything but an export of ours."""
    if not path.exists():
        return
    other = path if not path.is_dir() else _not_ours(path)
    if other is not None:
        msg = f"{path} exists and holds something else"
        msg += f", {other.name}" if other != path else ""
        raise FileExistsError(f"{msg}; give a new folder, or remove it first.")


def _not_ours(folder):
    """Return something in a folder that no export has written, or None."""
    card, head = folder / "README.md", _CARD.partition("{")[0]
    if not (card.is_file() and card.read_text("utf-8", errors="replace").startswith(head)):
        return next(folder.iterdir(), None)
    within = ((part, part.relative_to(folder).as_posix()) for part in folder.rglob("*"))
    return next((part for part, name in within if not _OURS.fullmatch(name)), None)


def _plain(value):
    """Return a NumPy number as the Python number that JSON can hold."""
    if isinstance(value, np.generic):
        return value.item()
    msg = f"{value!r} cannot be saved; only numbers, strings, lists and dicts can."
    raise TypeError(msg)


def _clips_from(record, tensors):
    """Return the clips of a file, decoded where it keeps other numbers in place of them."""
    if record.get("decoder") is None:
        return {"X": tensors["X"]}
    decoder = decoder_from_record(record["decoder"], beneath("decoder.", tensors))
    numbers = beneath("numbers.", tensors)
    return {"X": decoded(decoder, numbers), "numbers": numbers, "decoder": decoder}


def _digest(tensors, text):
    """Return the SHA-256 of all tensors, by name, type, shape and content, and of the record."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()
