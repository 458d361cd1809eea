"""What is kept comes back whole, or not at all; what leaves as sound can be loaded again."""

import json
import pickle
import random
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file as save_torch_file
from sklearn.exceptions import NotFittedError

from sklearn_ddfad import FDMFCC, DistilledSet, distilled_set, load_audio_folder

LABELS = {
    "int": np.array([3, 1, 3, -2]),
    "int8": np.array([3, 1, 3, -2], dtype=np.int8),
    "big-endian": np.array([3, 1, 3, -2], dtype=">i4"),
    "uint64": np.array([2**63 + 1, 1, 0, 1], dtype=np.uint64),
    "str": np.array(["yes", "no", "yes", "émile 𝄞"]),
    "bool": np.array([True, False, True, True]),
    "float": np.array([0.1, 1e300, -2.5, 0.1]),
    "float32": np.array([0.1, 1e30, -2.5, 0.1], dtype=np.float32),
    "object": np.array(["yes", "no", "yes", "perhaps"], dtype=object),
    "object int": np.array([3, 1, 3, 2], dtype=object),
    "one class": np.array(["yes"] * 4),
}


def clips(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape or (4, 3, 5, 7)).astype(np.float32)


def small_set(**options):
    provenance = {"method": "ByHand", "parameters": {"cpc": 2, "name": None}, "n_clips_seen": 9}
    settings = {"learning_rate": 0.1, "provenance": provenance} | options
    return DistilledSet(clips(4, 1, 2, 3), LABELS["str"], **settings)


def assert_same(again, distilled):
    """Whatever a set holds is the same, bit for bit."""
    for name in ("X", "y"):
        ours, theirs = getattr(again, name), getattr(distilled, name)
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        assert ours.tolist() == theirs.tolist()
    assert again.learning_rate == distilled.learning_rate
    assert again.provenance == distilled.provenance
    assert (again.extractor is None) == (distilled.extractor is None)


@pytest.fixture
def heard_set(heard):
    """Four clips as they were heard, with the extractor."""
    extractor, features = heard
    return DistilledSet(features[:4], LABELS["str"]).with_extractor(extractor)


@pytest.fixture
def saved(tmp_path):
    """The file of a small set, and its bytes."""
    path = tmp_path / "small.safetensors"
    small_set(provenance={"method": "é"}).save(path)
    return path, path.read_bytes()


# -- what it tells ----------------------------------------------------------------------------


def test_what_a_set_tells():
    distilled = small_set()
    assert (distilled.n_clips, distilled.n_stored) == (4, 4 * 1 * 2 * 3)
    assert distilled.classes.tolist() == ["no", "yes", "émile 𝄞"]
    assert distilled.targets is distilled.y
    assert repr(distilled) == "DistilledSet(4 clips, 3 classes, by ByHand)"
    assert repr(DistilledSet(clips(), LABELS["int"])).endswith("by unknown)")
    soft = replace(distilled, soft_labels=np.full((4, 3), 1 / 3, dtype=np.float32))
    assert soft.targets is soft.soft_labels
    assert soft.n_stored == distilled.n_stored + 4 * 3


def test_an_extractor_joins_a_new_set(heard):
    extractor, features = heard
    alone = DistilledSet(features[:4], LABELS["str"], learning_rate=0.1)
    together = alone.with_extractor(extractor)
    assert alone.extractor is None
    assert isinstance(together.extractor, FDMFCC)
    assert together.X is alone.X
    assert together.learning_rate == 0.1


def test_an_extractor_of_another_shape_is_refused(heard):
    extractor, features = heard
    for X in (features[:4, :, :, 1:], features[:4].reshape(4, -1)):
        with pytest.raises(ValueError, match=r"of shape \(3, 16, 25\), the clips have \("):
            DistilledSet(X, LABELS["str"]).with_extractor(extractor)


def test_an_extractor_that_is_not_fitted_is_refused():
    with pytest.raises(NotFittedError):
        small_set().with_extractor(FDMFCC())


# -- save and load -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", LABELS)
def test_what_is_saved_comes_back_bit_for_bit(tmp_path, kind):
    distilled = DistilledSet(clips(), LABELS[kind])
    distilled.save(tmp_path / "set")
    assert_same(DistilledSet.load(tmp_path / "set"), distilled)


def test_step_size_and_provenance_come_back(tmp_path):
    distilled = small_set(learning_rate=1 / 3)
    distilled.save(str(tmp_path / "set"))
    assert_same(DistilledSet.load(str(tmp_path / "set")), distilled)


def test_unusual_numbers_come_back(tmp_path):
    X = clips()
    X[0, 0, 0, :4] = np.inf, -0.0, np.finfo(np.float32).tiny / 8, np.nan
    DistilledSet(X, LABELS["int"]).save(tmp_path / "set")
    assert DistilledSet.load(tmp_path / "set").X.tobytes() == X.tobytes()


NOT_CONTIGUOUS = {
    "transposed": lambda X: X.transpose(0, 3, 2, 1),
    "every other": lambda X: X[:, ::2],
    "reversed": lambda X: X[..., ::-1],
    "repeated": lambda X: np.broadcast_to(X[:1], X.shape),
    "Fortran order": np.asfortranarray,
    "one axis": lambda X: X[:, 0, 0, 0],
}


@pytest.mark.parametrize("view", NOT_CONTIGUOUS)
def test_clips_of_any_memory_layout_are_saved_right(tmp_path, view):
    distilled = DistilledSet(NOT_CONTIGUOUS[view](clips()), LABELS["int"])
    assert not distilled.X.flags.c_contiguous
    distilled.save(tmp_path / "set")
    assert_same(DistilledSet.load(tmp_path / "set"), distilled)


def test_numpy_numbers_are_saved_as_numbers(tmp_path, invented_clips):
    extractor = FDMFCC(np.int64(8000), duration=np.float32(0.25), n_mfcc=np.int64(5))
    X = extractor.fit_transform(invented_clips)[:4]
    distilled = DistilledSet(X, LABELS["int"], np.float32(0.25), {"n": np.int16(3)}, extractor)
    distilled.save(tmp_path / "set")
    again = DistilledSet.load(tmp_path / "set")
    assert_same(again, distilled)
    assert again.extractor.get_params() == extractor.get_params()


@pytest.mark.parametrize("layout", ["planes", "coefficients", "flat"])
def test_how_it_was_heard_comes_back(tmp_path, invented_clips, layout):
    extractor = FDMFCC(duration=0.25, n_mfcc=12, layout=layout)
    features = extractor.fit_transform(invented_clips)
    DistilledSet(features[:4], LABELS["int"]).with_extractor(extractor).save(tmp_path / "set")
    again = DistilledSet.load(tmp_path / "set")
    assert again.extractor.get_params() == extractor.get_params()
    for name in ("mean_", "scale_"):
        np.testing.assert_array_equal(getattr(again.extractor, name), getattr(extractor, name))
    np.testing.assert_array_equal(
        again.extractor.transform(invented_clips), extractor.transform(invented_clips)
    )
    assert again.with_extractor(again.extractor).X is again.X


def test_a_loaded_set_lives_on_without_its_file(tmp_path):
    small_set().save(tmp_path / "set")
    again = DistilledSet.load(tmp_path / "set")
    small_set(learning_rate=0.9).save(tmp_path / "set")  # replaces it
    (tmp_path / "set").unlink()
    assert_same(again, small_set())
    again.X[:] = 0  # its own


def test_a_saved_set_is_a_plain_safetensors_file(saved):
    path, _ = saved
    tensors = load_file(path)
    np.testing.assert_array_equal(tensors["X"], small_set().X)


def test_a_set_pickles():
    assert_same(pickle.loads(pickle.dumps(small_set())), small_set())


# -- a save that fails -------------------------------------------------------------------------


@pytest.mark.parametrize("before", [None, b"what was there"])
def test_a_failed_save_leaves_everything_as_it_was(tmp_path, monkeypatch, before):
    path = tmp_path / "set"
    if before:
        path.write_bytes(before)

    written = Path.write_bytes

    def full_disk(path, content):
        written(path, content[:10])
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="no space left"):
        small_set().save(path)
    assert [file.name for file in tmp_path.iterdir()] == (["set"] if before else [])
    assert not before or path.read_bytes() == before


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.array([b"yes", b"no"]), "labels of type .S3 cannot be saved"),
        (np.array([1j, 2]), "labels of type complex128 cannot be saved"),
        (np.array(["2020-01-01", "2021-01-01"], dtype="M8[D]"), "labels of type datetime64"),
        (np.array(["yes", "no"], dtype=np.dtypes.StringDType()), "labels of type StringDType"),
        (np.array([b"yes", b"no"], dtype=object), "b'no' cannot be saved"),
    ],
)
def test_labels_that_cannot_be_kept_are_refused(tmp_path, labels, words):
    with pytest.raises(TypeError, match=words):
        DistilledSet(clips(2, 3), labels).save(tmp_path / "set")
    assert not list(tmp_path.iterdir())


def test_provenance_that_cannot_be_kept_is_refused(tmp_path):
    with pytest.raises(TypeError, match="cannot be saved; only numbers"):
        small_set(provenance={"teacher": FDMFCC()}).save(tmp_path / "set")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere to write set"):
        small_set().save(tmp_path / "nowhere" / "set")


# -- a file that is not whole ------------------------------------------------------------------


def assert_refused(
    path, words=r"is not a safetensors file, or is damaged|is damaged: its checksum"
):
    with pytest.raises(ValueError, match=words) as caught:
        DistilledSet.load(path)
    assert type(caught.value) is ValueError
    assert path.name in str(caught.value)


DAMAGED = "is not a safetensors file|is damaged|is a safetensors file, but no distilled set"


@pytest.mark.parametrize("flip", [0x01, 0x20, 0xFF])
def test_any_byte_that_changes_is_noticed(saved, flip):
    path, content = saved
    assert len(content) < 1000  # so that all of them can be tried
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= flip
        path.write_bytes(damaged)
        assert_refused(path, DAMAGED)


def test_damage_at_many_places_is_noticed(saved):
    path, content = saved
    rng = random.Random(0)
    for _ in range(300):
        damaged = bytearray(content)
        start = rng.randrange(len(content))
        stretch = rng.randbytes(rng.randrange(2, 50))
        damaged[start : start + len(stretch)] = stretch
        path.write_bytes(damaged)
        assert_refused(path, DAMAGED)


def test_truncation_anywhere_is_noticed(saved):
    path, content = saved
    for length in range(len(content)):
        path.write_bytes(content[:length])
        assert_refused(path)
    path.write_bytes(content + b"\0")
    assert_refused(path)


def test_other_tensor_types_in_the_header_are_noticed(saved):
    path, content = saved
    for kind in (b"I32", b"U32", b"F16", b"F64", b"C64", b"BF16", b"BOOL", b"F8_E4M3", b"F4"):
        header = content[8:].replace(b'"F32"', b'"' + kind + b'"', 1)
        length = struct.unpack("<Q", content[:8])[0] + len(header) - len(content[8:])
        path.write_bytes(struct.pack("<Q", length) + header)
        assert_refused(path, DAMAGED)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF\x24\x00\x00\x00WAVEfmt ",
        random.Random(0).randbytes(5000),
        pickle.dumps({"X": np.zeros(3)}),
        b"\xff" * 8,
        struct.pack("<Q", 2) + b"[]",
        json.dumps({"X": [1, 2]}).encode(),
    ],
    ids=["empty", "wav", "random", "pickle", "ones", "no tensors", "json"],
)
def test_what_is_no_safetensors_file_is_refused(tmp_path, content):
    (tmp_path / "set").write_bytes(content)
    assert_refused(tmp_path / "set", "is not a safetensors file, or is damaged")


class Bomb:
    """Says so when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("a pickle was executed",)


def test_nothing_is_ever_executed(tmp_path):
    (tmp_path / "set").write_bytes(pickle.dumps(Bomb()))
    assert_refused(tmp_path / "set")
    np.save(tmp_path / "set.npy", np.array([Bomb()]), allow_pickle=True)
    assert_refused(tmp_path / "set.npy")


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({"w": torch.zeros(3)}, None),
        ({"w": torch.zeros(3, dtype=torch.bfloat16)}, {"format": "pt"}),
        ({"w": torch.zeros(3, dtype=torch.float8_e4m3fn)}, None),
        ({}, {"sha256": "0"}),
    ],
)
def test_foreign_safetensors_files_are_refused(tmp_path, tensors, metadata):
    save_torch_file(tensors, tmp_path / "weights", metadata)
    assert_refused(tmp_path / "weights", "is a safetensors file, but no distilled set")


@pytest.mark.parametrize("text", ["{}", "not json", "[]", "null", '{"format": 1}'])
def test_a_record_of_something_else_is_refused(saved, text):
    path, _ = saved
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distilled_set.json, "dumps", lambda *_, **__: text)
        small_set().save(path)
    assert_refused(path, "is no distilled set of this format|has format")


def test_a_later_format_is_refused(tmp_path, monkeypatch):
    with monkeypatch.context() as later:
        later.setattr(distilled_set, "_FORMAT", "sklearn_ddfad.DistilledSet/9")
        small_set().save(tmp_path / "set")
    assert_refused(
        tmp_path / "set", "has format 'sklearn_ddfad.DistilledSet/9'; this version reads"
    )


def test_a_checksum_of_something_else_is_noticed(saved):
    path, _ = saved
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distilled_set, "_digest", lambda *_: "0" * 64)
        small_set().save(path)
    assert_refused(path, "its checksum does not fit")


def test_no_file_is_said_to_be_missing(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no distilled set"):
            DistilledSet.load(path)


# -- sound -------------------------------------------------------------------------------------

FEW = {"n_iter": 4}


def test_clips_become_sound(heard_set):
    waveforms = heard_set.to_audio(**FEW)
    assert waveforms.shape == (4, heard_set.extractor.n_samples_)
    assert waveforms.dtype == np.float32
    assert np.isfinite(waveforms).all()
    assert waveforms.std() > 1e-3


def test_sound_needs_an_extractor(tmp_path):
    with pytest.raises(ValueError, match="use with_extractor"):
        small_set().to_audio()
    with pytest.raises(ValueError, match="use with_extractor"):
        small_set().to_audio_folder(tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["int", "str", "object", "bool"])
def test_an_audio_folder_is_loaded_again(tmp_path, heard, kind):
    extractor, features = heard
    distilled = DistilledSet(features[:4], LABELS[kind]).with_extractor(extractor)
    distilled.to_audio_folder(tmp_path / "out", **FEW)
    again = load_audio_folder(tmp_path / "out")
    expected = distilled.y.astype(str) if kind == "bool" else distilled.y
    assert again.target.tolist() == expected.tolist()
    assert again.sample_rate == extractor.sample_rate_
    assert {len(clip) for clip in again.data} == {extractor.n_samples_}


def test_the_card_of_a_folder_says_what_it_holds(tmp_path, heard):
    extractor, features = heard
    made_by = {
        "method": "ByHand",
        "parameters": {"cpc": 2, "network": "a | b\nc"},
        "seed": 7,
        "n_clips_seen": 90,
        "version": "1.2",
    }
    distilled = DistilledSet(features[:4], LABELS["str"], provenance=made_by)
    distilled.with_extractor(extractor).to_audio_folder(tmp_path / "out", **FEW)
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\n")
    names = ", ".join(sorted(set(LABELS["str"])))
    assert f"4 clips, {len(set(LABELS['str']))} classes ({names})" in card
    assert "Made by\nByHand from 90 recordings with sklearn_ddfad 1.2, seed 7;" in card
    assert card.endswith("| cpc | 2 |\n| network | a / b c |\n")


def test_the_audio_in_a_folder_is_that_of_the_clips_scaled_where_it_is_too_loud(tmp_path, heard):
    extractor, features = heard
    X = features[:4].copy()
    X[2, 0, 0] += 40 * 40**0.5 / extractor.scale_[0, 0]  # 40 dB more in each of 40 mel bands
    distilled = DistilledSet(X, LABELS["int"]).with_extractor(extractor)
    distilled.to_audio_folder(tmp_path / "out", **FEW)
    waveforms = distilled.to_audio(**FEW)
    table = pd.read_csv(tmp_path / "out" / "metadata.csv")
    assert list(table.columns) == ["file_name", "label", "gain"]
    peaks = np.abs(waveforms).max(axis=1)
    assert peaks[2] > 10
    np.testing.assert_allclose(table.gain, 1 / np.maximum(peaks, 1), rtol=1e-4)
    for name, gain, waveform in zip(table.file_name, table.gain, waveforms, strict=True):
        samples, sample_rate = soundfile.read(tmp_path / "out" / name)
        assert sample_rate == extractor.sample_rate_
        np.testing.assert_allclose(samples, gain * waveform, atol=1e-4)


def test_awkward_labels_are_loaded_again(tmp_path, heard):
    extractor, features = heard
    labels = np.array(["a, b", 'say "ah"', "új\nsor", "---"])
    DistilledSet(features[:4], labels).with_extractor(extractor).to_audio_folder(
        tmp_path / "out", **FEW
    )
    assert load_audio_folder(tmp_path / "out").target.tolist() == labels.tolist()


def test_an_earlier_export_is_replaced(tmp_path, heard_set, heard):
    out = tmp_path / "out"
    heard_set.to_audio_folder(out, **FEW)
    extractor, features = heard
    DistilledSet(features[:2], np.array([7, 8])).with_extractor(extractor).to_audio_folder(
        str(out), **FEW
    )
    assert load_audio_folder(out).target.tolist() == [7, 8]
    assert len(list((out / "audio").iterdir())) == 2
    assert list(tmp_path.iterdir()) == [out]


def test_an_empty_folder_is_filled(tmp_path, heard_set):
    (tmp_path / "out").mkdir()
    heard_set.to_audio_folder(tmp_path / "out", **FEW)
    assert len(load_audio_folder(tmp_path / "out").data) == 4


FOREIGN = {
    "a recording": ("take1.wav", b"RIFF"),
    "a project about sklearn_ddfad": ("README.md", b"# We use sklearn_ddfad\n"),
    "a card that is not UTF-8": ("README.md", b"caf\xe9 sklearn_ddfad"),
    "an empty card": ("README.md", b""),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_folder_with_something_else_is_left_alone(tmp_path, heard_set, kind):
    name, content = FOREIGN[kind]
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(content)
    with pytest.raises(FileExistsError, match="out exists and holds something else"):
        heard_set.to_audio_folder(out, **FEW)
    assert [file.name for file in out.iterdir()] == [name]
    assert (out / name).read_bytes() == content
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("name", ["notes.txt", "audio/take1.wav", ".git"])
def test_an_export_with_something_else_in_it_is_left_alone(tmp_path, heard_set, name):
    out = tmp_path / "out"
    heard_set.to_audio_folder(out, **FEW)
    (out / name).write_bytes(b"mine")
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    with pytest.raises(FileExistsError, match=f"something else, {Path(name).name}; give a new"):
        heard_set.to_audio_folder(out, **FEW)
    assert before == {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}


def test_an_export_goes_where_a_link_leads(tmp_path, heard_set):
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "place")
    heard_set.to_audio_folder(tmp_path / "link", **FEW)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "place" / "metadata.csv").is_file()


@pytest.mark.parametrize("label", ["", " yes"])
def test_a_label_that_would_not_be_read_back_is_refused(tmp_path, heard_set, label):
    named = replace(heard_set, y=np.where(heard_set.y == heard_set.y[0], label, "no"))
    with pytest.raises(ValueError, match="would not be read back"):
        named.to_audio_folder(tmp_path / "out", **FEW)
    assert not [*tmp_path.iterdir()]


def test_a_saved_set_may_be_read_by_whom_other_files_may(tmp_path):
    (tmp_path / "other").touch()
    small_set().save(tmp_path / "set")
    assert (tmp_path / "set").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_file_in_the_way_is_left_alone(tmp_path, heard_set):
    (tmp_path / "out").write_text("precious")
    with pytest.raises(FileExistsError, match="holds something else"):
        heard_set.to_audio_folder(tmp_path / "out", **FEW)
    assert (tmp_path / "out").read_text() == "precious"


def test_a_failed_export_leaves_everything_as_it_was(tmp_path, heard_set, monkeypatch):
    out = tmp_path / "out"
    written = []

    def full_disk(path, samples, sample_rate):
        if len(written) == 2:
            raise OSError("no space left on device")
        path.write_bytes(b"RIFF")
        written.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(distilled_set, "write_audio", full_disk)
        with pytest.raises(OSError, match="no space left"):
            heard_set.to_audio_folder(out, **FEW)
    assert written
    assert not list(tmp_path.iterdir())
    heard_set.to_audio_folder(out, **FEW)
    before = sorted(out.rglob("*"))
    with monkeypatch.context() as patch:
        written.clear()
        patch.setattr(distilled_set, "write_audio", full_disk)
        with pytest.raises(OSError, match="no space left"):
            heard_set.to_audio_folder(out, **FEW)
    assert list(tmp_path.iterdir()) == [out]
    assert sorted(out.rglob("*")) == before
    assert load_audio_folder(out).target.tolist() == heard_set.y.tolist()


def test_a_saved_set_sounds_the_same(tmp_path, heard_set):
    heard_set.save(tmp_path / "set")
    again = DistilledSet.load(tmp_path / "set")
    np.testing.assert_array_equal(again.to_audio(**FEW), heard_set.to_audio(**FEW))


def test_real_digits_leave_as_sound_and_are_heard_again(tmp_path, fsdd):
    extractor = FDMFCC()
    features = extractor.fit_transform(fsdd.data[:100])
    digits = DistilledSet(features[:10], fsdd.target[:10]).with_extractor(extractor)
    digits.save(tmp_path / "digits.safetensors")
    DistilledSet.load(tmp_path / "digits.safetensors").to_audio_folder(tmp_path / "digits")
    again = load_audio_folder(tmp_path / "digits")
    assert again.target.tolist() == fsdd.target[:10].tolist()
    heard = extractor.transform(again.data)
    np.testing.assert_array_equal(nearest(heard, features), np.arange(10))


def nearest(heard, features):
    """Index of the features whose cepstra are most like each of those heard."""
    distances = np.square(heard[:, None, 0] - features[None, :, 0]).sum(axis=(2, 3))
    return distances.argmin(axis=1)
