"""Laws of the front door: what comes in is complete and true, and what is broken is named."""

import csv
import io
import os
import threading
import time
import tracemalloc
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.signal import stft
from sklearn.datasets import get_data_home
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from sklearn_ddfad._validation import Clips
from sklearn_ddfad.datasets import (
    _fsdd,
    _synthetic,
    fetch_fsdd,
    load_audio_folder,
    make_audio_classification,
)
from sklearn_ddfad.datasets._files import (
    MAX_AMPLITUDE,
    audio_info,
    check_samples,
    read_audio,
    resample,
    whole_or_nothing,
    write_audio,
)


def tone(n_samples=8000, frequency=440.0, sample_rate=8000):
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(n_samples) / sample_rate)


def everything_under(folder):
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*"))


# ------------------------------------------------------------------------------------------
# Files
# ------------------------------------------------------------------------------------------

# (suffix, format, subtype, tolerance): 16-bit PCM is off by a step, lossy coders by more.
STEP = 1.01 / 32768
FORMATS = [
    (".wav", "WAV", "PCM_16", STEP),
    (".wav", "WAV", "FLOAT", 1e-7),
    (".flac", "FLAC", "PCM_16", STEP),
    (".aiff", "AIFF", "PCM_16", STEP),
    (".au", "AU", "PCM_16", STEP),
    (".ogg", "OGG", "VORBIS", 0.1),
    (".mp3", "MP3", "MPEG_LAYER_III", 0.1),
]


@pytest.mark.parametrize(("suffix", "container", "subtype", "tolerance"), FORMATS)
def test_a_clip_is_read_as_it_was_written(tmp_path, suffix, container, subtype, tolerance):
    path = tmp_path / f"clip{suffix}"
    soundfile.write(path, tone(), 8000, format=container, subtype=subtype)
    samples, sample_rate = read_audio(path)
    assert samples.dtype == np.float32
    assert samples.shape == (8000,)
    assert (type(sample_rate), sample_rate) == (int, 8000)
    np.testing.assert_allclose(samples, tone(), atol=tolerance)
    assert audio_info(path) == (8000, 8000)


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.9])
@pytest.mark.parametrize(
    ("suffix", "container"),
    [
        (".wav", "WAV"),
        (".wav", "RF64"),
        (".flac", "FLAC"),
        (".aiff", "AIFF"),
        (".au", "AU"),
        (".ogg", "OGG"),
        (".opus", "OGG"),
        (".mp3", "MP3"),
    ],
)
def test_a_file_that_was_cut_short_is_refused(tmp_path, suffix, container, cut):
    path = tmp_path / f"clip{suffix}"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, size=40000)
    subtype = "OPUS" if suffix == ".opus" else None
    soundfile.write(path, noise, 8000, format=container, subtype=subtype)
    assert len(read_audio(path)[0]) == 40000
    whole = path.read_bytes()
    path.write_bytes(whole[: int(cut * len(whole))])
    with pytest.raises(ValueError, match=rf"clip\{suffix} is (cut short|not audio, or damaged)"):
        read_audio(path)


def test_one_missing_sample_is_noticed(tmp_path):
    path = tmp_path / "clip.wav"
    write_audio(path, tone(), 8000)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(ValueError, match=r"clip\.wav is cut short.* the 7999 samples left"):
        read_audio(path)
    with pytest.raises(ValueError, match="cut short"):
        audio_info(path)


@pytest.mark.parametrize("unknown", [0xFFFFFFFF, 0x7FFFF000])
def test_a_wav_from_a_pipe_does_not_know_its_size_and_is_whole(tmp_path, unknown):
    path = tmp_path / "piped.wav"
    write_audio(path, tone(), 8000)
    header = bytearray(path.read_bytes())
    assert header[36:40] == b"data"
    header[40:44] = unknown.to_bytes(4, "little")
    path.write_bytes(header)
    assert len(read_audio(path)[0]) == 8000


def test_a_wav_with_other_chunks_around_its_samples_is_whole(tmp_path):
    path = tmp_path / "tagged.wav"
    write_audio(path, tone(), 8000)
    plain = path.read_bytes()
    note = b"note" + (6).to_bytes(4, "little") + b"a clip"
    path.write_bytes(plain[:12] + note + plain[12:] + note)
    assert len(read_audio(path)[0]) == 8000


def test_what_is_no_clip_is_refused_by_name(tmp_path):
    def refused(name, content, match, error=ValueError):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        for read in (read_audio, audio_info):
            with pytest.raises(error, match=match) as caught:
                read(path)
            assert name in str(caught.value)

    write_audio(tmp_path / "whole.wav", tone(), 8000)
    header = bytearray((tmp_path / "whole.wav").read_bytes()[:44])
    header[40:44] = bytes(4)
    refused("missing.wav", None, "there is no sound file", FileNotFoundError)
    refused(".", None, "there is no sound file", FileNotFoundError)
    refused("empty.wav", b"", "is an empty file")
    refused("text.wav", b"not a sound at all" * 100, "is not audio")
    refused("headless.raw", b"\0" * 100, "is not audio")
    refused("silent.wav", bytes(header), "has a header but no samples")


def test_channels_are_averaged_only_on_demand(tmp_path):
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([tone(), np.zeros(8000)], axis=1), 8000, subtype="FLOAT")
    for read in (read_audio, audio_info):
        with pytest.raises(ValueError, match=r"stereo\.wav has 2 channels, not one; mono=True"):
            read(path)
    np.testing.assert_allclose(read_audio(path, mono=True)[0], tone() / 2, atol=1e-7)
    mono = tmp_path / "mono.wav"
    write_audio(mono, tone(), 8000)
    np.testing.assert_array_equal(read_audio(mono, mono=True)[0], read_audio(mono)[0])


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.nan, "contains NaN or infinity"),
        (-np.inf, "contains NaN or infinity"),
        (1e300, "contains NaN or infinity"),  # beyond float32
        (-2 * MAX_AMPLITUDE, "samples as large as 6.55e+04"),
    ],
)
def test_numbers_that_are_no_sound_are_refused(tmp_path, value, match):
    path = tmp_path / "odd.wav"
    soundfile.write(path, np.array([0.0, value, 0.0]), 8000, subtype="DOUBLE")
    with pytest.raises(ValueError, match=match.replace("+", r"\+")) as caught:
        read_audio(path)
    assert "odd.wav" in str(caught.value)
    soundfile.write(path, np.array([0.0, -MAX_AMPLITUDE, 2.0]), 8000, subtype="DOUBLE")
    np.testing.assert_array_equal(read_audio(path)[0], [0.0, -MAX_AMPLITUDE, 2.0])


def test_check_samples_hands_back_what_it_was_given():
    clip = tone().astype(np.float32)
    assert check_samples(clip, "clip 3") is clip
    with pytest.raises(ValueError, match="clip 3 contains NaN"):
        check_samples(np.array([np.nan]), "clip 3")


def test_every_16_bit_value_survives_a_round_trip(tmp_path):
    every = np.arange(-32768, 32768).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", every, 8000)
    clip, _ = read_audio(tmp_path / "a.wav")
    assert clip.min() == -1
    assert clip.max() < 1
    write_audio(tmp_path / "b.wav", clip, 8000)
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()
    write_audio(tmp_path / "b.wav", [1.0, -1.0], 8000)  # replaced; full scale does not wrap
    np.testing.assert_array_equal(
        soundfile.read(tmp_path / "b.wav", dtype="int16")[0], [32767, -32768]
    )


@pytest.mark.parametrize(
    ("clip", "match"),
    [
        (tone() * 2.5, "peaks at 1.25"),
        ([0.0, np.nan], "contains NaN"),
        ([], r"shape \(0,\)"),
        (np.zeros((2, 100)), r"shape \(2, 100\)"),
    ],
)
def test_a_clip_that_cannot_be_written_leaves_what_was_there(tmp_path, clip, match):
    path = tmp_path / "clip.wav"
    path.write_bytes(b"precious")
    with pytest.raises(ValueError, match=match) as caught:
        write_audio(path, clip, 8000)
    assert "clip.wav" in str(caught.value)
    assert everything_under(tmp_path) == ["clip.wav"]
    assert path.read_bytes() == b"precious"
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        write_audio(tmp_path / "nowhere" / "clip.wav", tone(), 8000)


def test_a_draft_vanishes_when_its_writer_stumbles(tmp_path):
    def stumble(name, is_folder):
        with whole_or_nothing(tmp_path / name) as draft:
            if is_folder:
                draft.mkdir()
                draft /= "part"
            draft.write_bytes(b"half")
            raise KeyboardInterrupt

    for is_folder in (False, True):
        with pytest.raises(KeyboardInterrupt):
            stumble("target", is_folder)
        assert everything_under(tmp_path) == []


def test_resampling_keeps_a_tone_and_its_length():
    clip = tone(44100, frequency=440, sample_rate=44100).astype(np.float32)
    assert resample(clip, 44100, 44100) is clip
    lower = resample(clip, 44100, 8000)
    assert (lower.dtype, lower.shape) == (np.float32, (8000,))
    middle = slice(500, -500)
    np.testing.assert_allclose(lower[middle], tone(8000, 440)[middle], atol=1e-3)


def test_resampling_removes_what_the_new_rate_cannot_hold():
    clip = tone(44100, frequency=6000, sample_rate=44100).astype(np.float32)
    assert np.abs(resample(clip, 44100, 8000)[500:-500]).max() < 1e-3


# ------------------------------------------------------------------------------------------
# Folders
# ------------------------------------------------------------------------------------------


def write_metadata(folder, header, *rows):
    with (folder / "metadata.csv").open("w", newline="") as text:
        csv.writer(text).writerows([header, *rows])


@pytest.fixture
def clips(tmp_path):
    """A folder with four sound files of different lengths and no layout yet."""
    for i, name in enumerate("abcd"):
        write_audio(tmp_path / f"{name}.wav", tone(800 + i), 8000)
    return tmp_path


def test_metadata_says_everything(clips):
    (clips / "README.md").write_text("# Four tones")
    (clips / "LICENSE.txt").write_text("CC0")
    write_metadata(
        clips,
        ["file_name", "note", "label", "group", "split"],
        ["c.wav", "!", "7", "ann", "test"],
        ["a.wav", "!", " 10 ", "bob", "train"],
        ["b.wav", "!", "7", "ann", "train"],
    )
    dataset = load_audio_folder(str(clips))
    assert [len(clip) for clip in dataset.data] == [802, 800, 801]
    assert all(clip.dtype == np.float32 for clip in dataset.data)
    assert dataset.target.dtype == np.int64
    np.testing.assert_array_equal(dataset.target, [7, 10, 7])
    assert dataset.target_names == [7, 10]
    np.testing.assert_array_equal(dataset.groups, ["ann", "bob", "ann"])
    np.testing.assert_array_equal(dataset.splits, ["test", "train", "train"])
    np.testing.assert_array_equal(dataset.filenames, [str(clips / f"{n}.wav") for n in "cab"])
    assert dataset.sample_rate == 8000
    assert dataset.DESCR.startswith("3 clips of 2 classes")
    assert dataset.DESCR.endswith("# Four tones\n\nCC0")


def test_a_split_is_part_of_the_folder(clips):
    rows = [["a.wav", "1", "train"], ["b.wav", "x", "test"], ["c.wav", "2", "train"]]
    write_metadata(clips, ["file_name", "label", "split"], *rows)
    train = load_audio_folder(clips, split="train")
    assert [len(clip) for clip in train.data] == [800, 802]
    # Labels and classes are those of the whole folder, so that train and test agree.
    assert train.target.tolist() == ["1", "2"]
    assert train.target_names == ["1", "2", "x"]
    assert train.groups is None
    with pytest.raises(ValueError, match=r"no split 'dev'; it has \['test', 'train'\]"):
        load_audio_folder(clips, split="dev")
    write_metadata(clips, ["file_name", "label", "split"], ["a.wav", "1", ""])
    assert load_audio_folder(clips).splits is None
    with pytest.raises(ValueError, match="no split 'train'; it has none at all"):
        load_audio_folder(clips, split="train")


def test_sub_folders_are_classes(tmp_path):
    for name in ("dog/b.wav", "dog/a.FLAC", "cat/c.ogg", "dog/.hidden.wav", ".git/d.wav"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, tone(), 8000)
    (tmp_path / "dog" / "notes.txt").write_text("woof")
    (tmp_path / "papers").mkdir()
    dataset = load_audio_folder(tmp_path)
    assert dataset.target.tolist() == ["cat", "dog", "dog"]
    assert [Path(name).name for name in dataset.filenames] == ["c.ogg", "a.FLAC", "b.wav"]
    assert dataset.target_names == ["cat", "dog"]
    assert dataset.groups is None
    assert dataset.splits is None


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["0", "-1", "12"], [0, -1, 12]),
        (["07", "7", "1"], ["07", "7", "1"]),  # as integers, two classes would become one
        (["1", "2.0", "3"], ["1", "2.0", "3"]),
    ],
)
def test_labels_are_integers_if_written_so(clips, labels, expected):
    rows = zip(["a.wav", "b.wav", "c.wav"], labels, strict=True)
    write_metadata(clips, ["file_name", "label"], *rows)
    dataset = load_audio_folder(clips)
    assert dataset.target.tolist() == expected
    assert dataset.target_names == sorted(expected)
    assert dataset.target.dtype.kind in "iU"


def test_rates_are_made_one(tmp_path):
    (tmp_path / "x").mkdir()
    for name, rate in (("a", 16000), ("b", 8000), ("c", 8000)):
        soundfile.write(tmp_path / "x" / f"{name}.wav", tone(rate, sample_rate=rate), rate)
    commonest = load_audio_folder(tmp_path)
    assert commonest.sample_rate == 8000
    assert [len(clip) for clip in commonest.data] == [8000] * 3
    np.testing.assert_allclose(commonest.data[0][500:-500], tone()[500:-500], atol=1e-3)
    chosen = load_audio_folder(tmp_path, sample_rate=4000)
    assert chosen.sample_rate == 4000
    assert [len(clip) for clip in chosen.data] == [4000] * 3
    with pytest.raises(ValueError, match="sample_rate == 0, must be >= 1"):
        load_audio_folder(tmp_path, sample_rate=0)


def test_channels_of_a_folder_are_averaged_on_demand(tmp_path):
    (tmp_path / "x").mkdir()
    soundfile.write(tmp_path / "x" / "a.wav", np.stack([tone(), tone()], axis=1), 8000)
    with pytest.raises(ValueError, match=r"a\.wav has 2 channels"):
        load_audio_folder(tmp_path)
    np.testing.assert_allclose(load_audio_folder(tmp_path, mono=True).data[0], tone(), atol=STEP)


@pytest.mark.parametrize(
    ("table", "error", "match"),
    [
        ("file_name,label\nz.wav,1\n", FileNotFoundError, r"line 2 of .* names z\.wav, but"),
        ("file_name,label\na.wav,1\n../a.wav,1\n", ValueError, r"line 3 of .*\.\./a\.wav, which"),
        ("file_name,label\n/etc/passwd,1\n", ValueError, r"line 2 of .*/etc/passwd, which leaves"),
        ("file_name,class\na.wav,1\n", ValueError, r"no column 'label'.*\['file_name', 'class'\]"),
        ("path,label\na.wav,1\n", ValueError, "no column 'file_name'"),
        ("", ValueError, r"no column 'file_name'; its columns are \[\]"),
        ("file_name,label\na.wav, \n", ValueError, r"line 2 of .* gives no label for a\.wav"),
        ("file_name,label\na.wav\n", ValueError, r"line 2 of .* gives no label for a\.wav"),
        ("file_name,label\n", ValueError, "holds no recordings"),
        (
            "file_name,label\na.wav,1\n./a.wav,2\n",
            ValueError,
            r"line 3 .*a\.wav again, after line 2",
        ),
        ("file_name,label\n\xe9.wav,1\n", ValueError, "not comma-separated UTF-8 text"),
        ('file_name,label\na.wav,"1\nb.wav,2\n', ValueError, "not comma-separated UTF-8 text"),
    ],
)
def test_wrong_metadata_is_refused_by_line(clips, table, error, match):
    (clips / "metadata.csv").write_text(table, encoding="latin-1")
    with pytest.raises(error, match=match) as caught:
        load_audio_folder(clips)
    assert str(clips) in str(caught.value)


def test_a_table_from_a_spreadsheet_begins_with_a_mark(clips):
    (clips / "metadata.csv").write_text("file_name,label\r\na.wav,1\r\n", encoding="utf-8-sig")
    assert len(load_audio_folder(clips).data) == 1


def test_a_folder_without_a_layout_is_refused(clips):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        load_audio_folder(clips / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*a\.wav"):
        load_audio_folder(clips / "a.wav")
    with pytest.raises(ValueError, match="holds no recordings"):
        load_audio_folder(clips)
    (clips / "empty_class").mkdir()
    with pytest.raises(ValueError, match="holds no recordings"):
        load_audio_folder(clips)


def test_a_broken_clip_among_good_ones_is_named(clips):
    write_metadata(clips, ["file_name", "label"], *([f"{n}.wav", "1"] for n in "abcd"))
    (clips / "c.wav").write_bytes((clips / "c.wav").read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"c\.wav is cut short"):
        load_audio_folder(clips)


def test_real_digits_load_whole_and_fast(ddfad_data):
    start = time.perf_counter()
    dataset = load_audio_folder(ddfad_data / "fsdd")
    assert time.perf_counter() - start < 10
    assert len(dataset.data) == 3000
    assert dataset.target_names == list(range(10))
    assert sum(map(len, dataset.data)) / dataset.sample_rate == pytest.approx(1312, abs=1)
    assert np.bincount(dataset.target).tolist() == [300] * 10
    assert len(np.unique(dataset.groups)) == 6
    assert max(np.abs(clip).max() for clip in dataset.data) <= 1


# ------------------------------------------------------------------------------------------
# Spoken digits
# ------------------------------------------------------------------------------------------

NAMES = [
    f"{digit}_{speaker}_{index}.wav"
    for digit in (3, 7)
    for speaker in ("ann", "bob")
    for index in (0, 4, 5, 10)
]


def wav_bytes(clip):
    content = io.BytesIO()
    soundfile.write(content, clip, 8000, format="WAV", subtype="PCM_16")
    return content.getvalue()


def zip_bytes(recordings, top="free-spoken-digit-dataset-abc/"):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{top}README.md", "read me")
        for name, wav in recordings.items():
            archive.writestr(f"{top}recordings/{name}", wav)
        archive.writestr(f"{top}recordings/../../3_eve_0.wav", b"outside")
        archive.writestr(f"{top}utils/fsdd.py", b"print('never run')")
    return content.getvalue()


@pytest.fixture
def recordings(monkeypatch):
    """A small data set in place of the published one."""
    fake = {name: wav_bytes(tone(1000 + i)) for i, name in enumerate(NAMES)}
    monkeypatch.setattr(_fsdd, "RECORDINGS_SHA256", _fsdd._digest(fake))
    monkeypatch.setattr(_fsdd, "N_RECORDINGS", len(fake))
    return fake


class Mirror(ThreadingHTTPServer):
    """A web server on this machine: answers from a list, the last answer for ever."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.answers = []
        self.n_requests = 0
        self.url = f"http://127.0.0.1:{self.server_port}/archive.zip"


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.n_requests += 1
        answers = self.server.answers
        status, body, length = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def mirror(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(mirror, home, **kwargs):
    return fetch_fsdd(data_home=home, url=mirror.url, progress=False, delay=0, **kwargs)


def test_digits_are_downloaded_once(mirror, recordings, tmp_path):
    archive = zip_bytes(recordings)
    mirror.answers = [(200, archive, len(archive))]
    train = fetch(mirror, tmp_path)
    assert len(train.data) == 8
    assert set(train.splits) == {"train"}
    test = fetch(mirror, tmp_path, subset="test", download_if_missing=False)
    assert sorted(Path(name).stem for name in test.filenames) == sorted(
        name[:-4] for name in NAMES if name.endswith(("_0.wav", "_4.wav"))
    )
    X, y = fetch(mirror, tmp_path, subset="all", return_X_y=True)
    assert y.tolist() == [3] * 8 + [7] * 8
    assert len(X) == 16
    assert set(train.groups) == {"ann", "bob"}
    assert "CC BY-SA 4.0" in train.DESCR
    assert mirror.n_requests == 1
    assert everything_under(tmp_path) == sorted(
        ["fsdd", "fsdd/LICENSE.txt", "fsdd/audio", "fsdd/metadata.csv"]
        + [f"fsdd/audio/{name}" for name in NAMES]
    )


def test_a_chunked_answer_and_another_top_folder_will_do(mirror, recordings, tmp_path, capsys):
    mirror.answers = [(200, zip_bytes(recordings, top=""), None)]  # as GitHub: no length given
    assert len(fetch_fsdd(data_home=tmp_path, url=mirror.url).data) == 8
    assert "B/s" in capsys.readouterr().err  # the progress bar


def broken_archives(recordings):
    whole = zip_bytes(recordings)
    fewer = dict(list(recordings.items())[1:])
    changed = recordings | {NAMES[0]: wav_bytes(-tone())}
    damaged = bytearray(whole)
    at = whole.index(recordings[NAMES[3]]) + 500
    damaged[at] ^= 0xFF
    return {
        "web page": (b"<html>nothing here</html>", "is no whole zip archive"),
        "half": (whole[: len(whole) // 2], "is no whole zip archive"),
        "flipped bit": (bytes(damaged), "is no whole zip archive"),
        "one missing": (zip_bytes(fewer), "15 of its files are recordings by name, of 16"),
        "one changed": (zip_bytes(changed), "16 of its files .* missing or changed"),
        "another": (zip_bytes({}), "0 of its files"),
    }


@pytest.mark.parametrize(
    "what", ["web page", "half", "flipped bit", "one missing", "one changed", "another"]
)
def test_a_broken_archive_leaves_nothing(mirror, recordings, tmp_path, what):
    archive, match = broken_archives(recordings)[what]
    mirror.answers = [(200, archive, len(archive))]
    with pytest.raises(ValueError, match=match) as caught:
        fetch(mirror, tmp_path)
    assert mirror.url in str(caught.value)
    assert everything_under(tmp_path) == []


def test_a_stumbling_server_is_asked_again(mirror, recordings, tmp_path):
    archive = zip_bytes(recordings)
    good = (200, archive, len(archive))
    mirror.answers = [(503, b"", 0), (200, archive[:1000], len(archive)), good]
    assert len(fetch(mirror, tmp_path, n_retries=2).data) == 8
    assert mirror.n_requests == 3


def test_patience_ends(mirror, tmp_path):
    mirror.answers = [(404, b"", 0)]
    with pytest.raises(ConnectionError, match=r"could not be downloaded from .* \(Not Found\)"):
        fetch(mirror, tmp_path, n_retries=1)
    assert mirror.n_requests == 2
    assert everything_under(tmp_path) == []


def test_a_server_that_is_gone_is_given_up_at_once(mirror, tmp_path):
    mirror.server_close()
    start = time.perf_counter()
    with pytest.raises(ConnectionError, match="FSDD could not be downloaded") as caught:
        fetch_fsdd(data_home=tmp_path, url=mirror.url)
    assert time.perf_counter() - start < 2
    assert mirror.url in str(caught.value)
    assert everything_under(tmp_path) == []


def test_nothing_is_downloaded_unasked(mirror, tmp_path):
    with pytest.raises(OSError, match="download_if_missing is False"):
        fetch(mirror, tmp_path, download_if_missing=False)
    with pytest.raises(ValueError, match="subset is 'train', 'test' or 'all', but got 'dev'"):
        fetch(mirror, tmp_path, subset="dev")
    assert mirror.n_requests == 0


def test_two_may_fetch_at_once(mirror, recordings, tmp_path, monkeypatch):
    """The other one is there before our recordings are in their place."""
    archive = zip_bytes(recordings)
    mirror.answers = [(200, archive, len(archive))] * 2
    lay_out = _fsdd._lay_out

    def slowly(unpacked, draft):
        lay_out(unpacked, draft)
        monkeypatch.setattr(_fsdd, "_lay_out", lay_out)
        fetch(mirror, tmp_path)

    monkeypatch.setattr(_fsdd, "_lay_out", slowly)
    assert len(fetch(mirror, tmp_path).data) == 8
    assert [child.name for child in tmp_path.iterdir()] == ["fsdd"]


@pytest.mark.parametrize("ours", [True, False])
def test_data_has_a_home(mirror, recordings, tmp_path, monkeypatch, ours):
    archive = zip_bytes(recordings)
    mirror.answers = [(200, archive, len(archive))]
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "theirs"))
    monkeypatch.delenv("DDFAD_DATA", raising=False)
    if ours:
        monkeypatch.setenv("DDFAD_DATA", str(tmp_path / "ours"))
    fetch(mirror, None)
    home = tmp_path / "ours" if ours else Path(get_data_home())
    assert (home / "fsdd" / "metadata.csv").is_file()


def test_the_published_digits_are_recognised_and_split_as_published(mirror, tmp_path, ddfad_data):
    files = sorted((ddfad_data / "fsdd" / "audio").iterdir())
    archive = zip_bytes({file.name: file.read_bytes() for file in files})
    mirror.answers = [(200, archive, len(archive))]
    assert len(fetch(mirror, tmp_path, subset="test").data) == 300
    ours, theirs = tmp_path / "fsdd" / "metadata.csv", ddfad_data / "fsdd" / "metadata.csv"
    assert ours.read_bytes() == theirs.read_bytes()


# ------------------------------------------------------------------------------------------
# Invented words
# ------------------------------------------------------------------------------------------


def log_bands(clips):
    """Clips padded to 0.8 s, as log spectra in 20 bands."""
    padded = np.zeros((len(clips), 6400), dtype=np.float32)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    power = np.abs(stft(padded, nperseg=256, noverlap=96)[2]) ** 2
    bands = np.add.reduceat(power, np.unique(np.geomspace(3, 128, 21).astype(int)), axis=1)
    return np.log(bands + 1e-9).reshape(len(clips), -1)


def score(X_train, y_train, X_test, y_test):
    model = make_pipeline(StandardScaler(), SVC(C=10))
    return model.fit(log_bands(X_train), y_train).score(log_bands(X_test), y_test)


def test_clips_are_clips():
    X, y, groups = make_audio_classification(
        50, n_classes=5, n_speakers=3, duration=(0.1, 0.2), return_groups=True, random_state=0
    )
    lengths = np.array([len(clip) for clip in X])
    assert all(clip.dtype == np.float32 and clip.ndim == 1 and clip.base is None for clip in X)
    assert (lengths >= 800).all()
    assert (lengths <= 1600).all()
    assert len(np.unique(lengths)) > 10
    peaks = np.array([np.abs(clip).max() for clip in X])
    assert (peaks <= 0.951).all()
    assert (peaks >= 0.0499).all()
    assert peaks.max() > 5 * peaks.min()
    assert np.bincount(y).tolist() == [10] * 5
    assert (np.diff(y) != 0).any()
    assert (y[:10] != np.sort(y[:10])).any()  # the order tells nothing
    assert set(groups) == {0, 1, 2}


def test_one_seed_one_set_and_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    X, y = make_audio_classification(20, random_state=3)
    again, y_again = make_audio_classification(20, random_state=np.random.RandomState(3))
    other, _ = make_audio_classification(20, random_state=4)
    np.testing.assert_array_equal(y, y_again)
    assert all(map(np.array_equal, X, again))
    assert not any(map(np.array_equal, X, other))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_seed_fixes_the_words_however_many_clips_and_classes_there_are():
    train = make_audio_classification(240, n_classes=4, random_state=0)
    X, y = make_audio_classification(200, n_classes=6, random_state=0)
    known = y < 4
    assert score(*train, [X[i] for i in np.flatnonzero(known)], y[known]) > 0.75
    strangers = make_audio_classification(100, n_classes=4, random_state=1)
    assert score(*train, *strangers) < 0.6
    assert not any(np.array_equal(a, b) for a, b in zip(train[0], X, strict=False))


def test_ten_clips_of_a_class_are_too_few_and_many_are_enough():
    X, y = make_audio_classification(1100, random_state=0)
    X, X_test, y, y_test = X[:800], X[800:], y[:800], y[800:]
    few = np.concatenate([np.flatnonzero(y == word)[:10] for word in range(10)])
    score_few = score([X[i] for i in few], y[few], X_test, y_test)
    score_all = score(X, y, X_test, y_test)
    assert 0.3 < score_few < 0.75
    assert score_all > score_few + 0.2


def test_class_sep_zero_leaves_nothing_to_learn():
    X, y = make_audio_classification(300, n_classes=2, class_sep=0.0, random_state=0)
    assert 0.3 < score(X[:200], y[:200], X[200:], y[200:]) < 0.7
    X, y = make_audio_classification(300, n_classes=2, class_sep=1.0, random_state=0)
    assert score(X[:200], y[:200], X[200:], y[200:]) > 0.85


def test_noise_zero_is_silence_outside_the_word():
    clean, _ = make_audio_classification(20, noise=0.0, random_state=0)
    noisy, _ = make_audio_classification(20, noise=0.3, random_state=0)

    def floor(clips):
        """The tenth centile of each clip's level: its pauses."""
        return np.median([np.quantile(np.abs(c), 0.1) / np.abs(c).max() for c in clips])

    assert floor(clean) < 0.1 * floor(noisy)


def test_the_first_samples_are_quick_to_make():
    start = time.process_time()
    make_audio_classification(200, random_state=0)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_a_resonator_rings_at_its_frequency_and_dies_with_its_bandwidth(sample_rate):
    n = sample_rate // 2
    impulse = np.zeros((n, 4, 1), dtype=np.float32)
    impulse[2] = 1.0
    frequencies = np.broadcast_to(np.float32(700.0), impulse.shape)
    only_first = impulse * np.eye(4, dtype=np.float32)[0][:, None]
    ringing = _synthetic._resonate(only_first, frequencies, sample_rate)[:, 0]
    spectrum = np.abs(np.fft.rfft(ringing))
    hertz = np.fft.rfftfreq(n, 1 / sample_rate)
    assert hertz[spectrum.argmax()] == pytest.approx(700, abs=5)
    half_power = hertz[spectrum > spectrum.max() / np.sqrt(2)]
    assert np.ptp(half_power) == pytest.approx(_synthetic._BANDWIDTHS[0], rel=0.1)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"n_samples": 0}, "n_samples == 0"),
        ({"n_classes": 0}, "n_classes == 0"),
        ({"n_speakers": 0}, "n_speakers == 0"),
        ({"sample_rate": 10}, "sample_rate == 10"),
        ({"class_sep": -1.0}, "class_sep == -1.0"),
        ({"noise": -1.0}, "noise == -1.0"),
        ({"duration": (0.8, 0.3)}, r"duration is \(shortest, longest\).* got \(0.8, 0.3\)"),
        ({"duration": (0.0, 0.3)}, r"duration is \(shortest, longest\).* got \(0.0, 0.3\)"),
    ],
)
def test_a_problem_that_cannot_be_made_is_refused(kwargs, match):
    with pytest.raises(ValueError, match=match):
        make_audio_classification(**kwargs)


def test_all_splits_have_the_rate_that_is_commonest_in_the_folder(tmp_path):
    rows = ["file_name,label,split"]
    for i, (split, rate) in enumerate(
        [("train", 8000)] * 2 + [("test", 16000)] + [("train", 16000)] * 2
    ):
        soundfile.write(tmp_path / f"{i}.wav", np.full(rate // 10, 0.1), rate)
        rows.append(f"{i}.wav,a,{split}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    for split in ("train", "test", None):
        folder = load_audio_folder(tmp_path, split=split)
        assert folder.sample_rate == 16000
        assert {len(clip) for clip in folder.data} == {1600}


@pytest.mark.parametrize("split", ["slow", "fast", None])
def test_of_equally_common_rates_it_is_the_highest_whatever_the_split(tmp_path, split):
    rows = ["file_name,label,split"]
    for i, (name, rate) in enumerate([("slow", 8000), ("fast", 16000)] * 2):
        soundfile.write(tmp_path / f"{i}.wav", np.full(rate // 10, 0.1), rate)
        rows.append(f"{i}.wav,a,{name}")
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    assert load_audio_folder(tmp_path, split=split).sample_rate == 16000


def test_a_folder_called_like_a_sound_is_none_and_a_broken_link_is_told_of(tmp_path):
    (tmp_path / "a" / "b.wav").mkdir(parents=True)
    write_audio(tmp_path / "a" / "c.wav", tone(), 8000)
    assert len(load_audio_folder(tmp_path).data) == 1
    (tmp_path / "a" / "d.wav").symlink_to(tmp_path / "gone.wav")
    with pytest.raises(FileNotFoundError, match=r"there is no sound file .*d\.wav"):
        load_audio_folder(tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such names")
def test_a_name_that_is_not_utf_8_is_told_of(tmp_path):
    (tmp_path / "a").mkdir()
    write_audio(tmp_path / "a" / "c.wav", tone(), 8000)
    try:
        os.rename(tmp_path / "a" / "c.wav", os.fsencode(tmp_path / "a") + b"/\xff.wav")
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(ValueError, match=r"\\udcff.wav' has a name that is not UTF-8; rename it"):
        load_audio_folder(tmp_path)


def test_a_class_without_sounds_is_told_of_and_long_numbers_stay_names(tmp_path):
    for name in ("99999999999999999999", "7"):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", np.full(800, 0.1), 8000)
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "a.m4a").touch()
    with pytest.warns(UserWarning, match=r"8 holds a.m4a and no sound files .* left out"):
        folder = load_audio_folder(tmp_path)
    assert folder.target.tolist() == ["7", "99999999999999999999"]


def test_a_clip_of_which_nothing_is_left_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    soundfile.write(tmp_path / "a" / "short.wav", np.full(2, 0.1), 44100)
    with pytest.raises(
        ValueError, match=r"short.wav is too short: nothing is left of it at 8000 Hz"
    ):
        load_audio_folder(tmp_path, sample_rate=8000)


def test_a_file_that_does_not_say_how_long_it_is_is_refused(tmp_path):
    path = tmp_path / "piped.flac"
    soundfile.write(path, np.full(8000, 0.1), 8000)
    content = bytearray(path.read_bytes())
    field = slice(18, 26)  # of STREAMINFO; the last 36 bits are the number of samples
    kept = int.from_bytes(content[field], "big") >> 36 << 36
    content[field] = kept.to_bytes(8, "big")
    path.write_bytes(content)
    for read in (read_audio, audio_info):
        with pytest.raises(ValueError, match=r"piped\.flac does not say how long it is"):
            read(path)


def test_long_recordings_are_held_one_at_a_time():
    class Long(Clips):
        def __getitem__(self, index):
            return np.full(10**6, float(index), np.float32)

    tracemalloc.start()
    heard = Long([None] * 8).padded(slice(0, 8), 10)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(heard, np.repeat(np.arange(8.0), 10).reshape(8, 10))
    assert most < 3 * 4 * 10**6
