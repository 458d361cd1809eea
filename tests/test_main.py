"""The ``ddfad`` command: what it prints, writes, refuses, and leaves alone."""

import csv
import json
import os
import re
import socket
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread
from sklearn.utils import Bunch

from sklearn_ddfad import (
    FDMFCC,
    DistilledSet,
    __main__,
    load_audio_folder,
    make_audio_classification,
    network_classifier,
)
from sklearn_ddfad.__main__ import main
from sklearn_ddfad._report import Column, peak_memory, picture, table
from sklearn_ddfad.datasets._files import write_audio
from sklearn_ddfad.networks import NETWORKS

JUDGES = ["--repeats", "2", "--judge-steps", "1"]
TINY = ["--experts", "1", "--max-iter", "4", "--student-steps", "1", *JUDGES]


def write_folder(folder, *, n_clips=24, rate=8000, column=None, change_test=1.0):
    """Write an audiofolder of two words whose metadata have one column more."""
    clips, y = make_audio_classification(
        n_clips, n_classes=2, duration=(0.1, 0.2), sample_rate=rate, random_state=0
    )
    folder.mkdir()
    rows = []
    for i, (clip, label) in enumerate(zip(clips, y, strict=True)):
        extra = {"split": "test" if i % 4 == 0 else "train", "group": f"speaker {i % 5}"}
        loudness = change_test if extra["split"] == "test" else 1.0
        write_audio(folder / f"{i}.wav", clip * loudness, rate)
        rows.append([f"{i}.wav", ["no", "yes"][label], *([extra[column]] if column else [])])
    header = ["file_name", "label", *([column] if column else [])]
    with (folder / "metadata.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return folder


def run(capsys, *argv):
    """Return the exit code and what was printed on stdout and stderr."""
    code = main([str(argument) for argument in argv])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture
def words(tmp_path):
    return write_folder(tmp_path / "words")


@pytest.fixture(scope="module")
def distilled(tmp_path_factory):
    """Folder and words of a tiny run over all three sets, shared by the tests that only look."""
    out = tmp_path_factory.mktemp("distilled") / "out"
    argv = ["distill", "demo", "--clips", "60", "--cpc", "1", "--out", str(out), *TINY]
    with redirect_stdout(StringIO()) as said, redirect_stderr(StringIO()) as progress:
        assert main(argv) == 0
    return Bunch(out=out, said=said.getvalue(), progress=progress.getvalue())


# ------------------------------------------------------------------------------------------
# What distill writes and prints
# ------------------------------------------------------------------------------------------


def test_first_line_says_which_recordings(distilled):
    first, second, *_ = distilled.said.splitlines()
    assert first == (
        "Recordings: generated words (48 to learn from, 12 to test on, 10 classes, 8000 Hz)"
    )
    assert second == "Kept for testing: a random fifth of each class"


def test_everything_is_written_and_can_be_read(distilled):
    names = {path.name for path in distilled.out.iterdir()}
    assert names == {
        "distilled.safetensors", "audio", "metadata.csv", "README.md", "report.json", "picture.png",
    }  # fmt: skip
    assert [path.name for path in distilled.out.parent.iterdir()] == ["out"]  # no drafts
    small = DistilledSet.load(distilled.out / "distilled.safetensors")
    assert small.n_clips == 10
    assert small.X.shape[1:] == small.extractor.feature_shape_
    assert small.provenance["source"] == "demo"
    assert "estimator" not in small.provenance["parameters"]
    sound = load_audio_folder(distilled.out)
    assert sound.target.tolist() == small.y.tolist() == list(range(10))
    assert {len(clip) for clip in sound.data} == {small.extractor.n_samples_}
    assert sound.sample_rate == small.extractor.sample_rate_ == 8000
    assert imread(distilled.out / "picture.png").shape == (640, 1600, 4)


def test_the_printed_table_is_the_reported_one(distilled):
    report = json.loads((distilled.out / "report.json").read_text(encoding="utf-8"))
    assert f"\n{table(report['table'])}\n" in distilled.said
    names = ["random selection", "distilled", "whole training set"]
    assert [row["set"] for row in report["table"]] == names
    assert [row["clips"] for row in report["table"]] == [10, 10, 48]
    one = report["table"][0]["numbers_kept"] / 10
    for row in report["table"]:
        assert row["numbers_kept"] == row["clips"] * one
        assert len(row["accuracy"]) == 2
        assert row["mean"] == pytest.approx(np.mean(row["accuracy"]))
        assert row["std"] == pytest.approx(np.std(row["accuracy"]))
        assert row["seconds_to_judge"] > 0
    assert report["learning_rate"] == pytest.approx(0.05, rel=0.1)
    assert f"α = {report['learning_rate']:.3g}" in distilled.said
    assert f"Peak memory {report['peak_memory_gb']:.2f} GB" in distilled.said
    assert report["judge_seeds"] == [0, 1]
    assert report["distiller"]["max_iter"] == 4
    assert {"python", "torch", "sklearn-ddfad"} <= set(report["versions"])


def test_progress_goes_to_stderr(distilled):
    assert "experts: 100%" in distilled.progress
    assert "judges: whole training set: 100%" in distilled.progress
    assert "%|" not in distilled.said


def test_a_table_in_columns():
    row = {
        "set": "distilled",
        "clips": 100,
        "numbers_kept": 254400,
        "accuracy": [0.95, 0.96],
        "mean": 0.955,
        "std": 0.005,
        "seconds_to_make": None,
        "seconds_to_judge": 12.34,
    }
    head, line = table([row]).splitlines()
    assert len(head) == len(line)
    assert re.split(r" {2,}", line) == ["distilled", "100", "254400", "95.5 ± 0.5 %", "-", "12.3"]
    assert "accuracy (2 judges)" in head
    assert "accuracy (1 judge)" in table([{**row, "accuracy": [0.955]}])


def test_a_second_run_replaces_the_folder_and_is_the_same(words, tmp_path, capsys):
    argv = ["distill", words, "--cpc", "1", "--out", tmp_path / "out", "--no-whole", "--quiet"]
    kept = []
    for seed in (0, 0, 1):
        code, out, err = run(capsys, *argv, *TINY, "--seed", seed)
        assert code == 0
        assert err == ""
        assert "whole training set" not in out
        kept.append(DistilledSet.load(tmp_path / "out" / "distilled.safetensors"))
    np.testing.assert_array_equal(kept[0].X, kept[1].X)
    assert (kept[0].X != kept[2].X).any()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "words"]
    (tmp_path / "out" / "notes.txt").write_text("mine")
    code, _, err = run(capsys, *argv, *TINY)
    assert code == 2
    assert "out exists and holds something else, notes.txt; give a new folder" in err
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_experts_are_not_kept_where_they_would_be_replaced_or_are_none(words, tmp_path, capsys):
    argv = ["distill", words, "--cpc", "1", "--out", tmp_path / "out"]
    code, _, err = run(capsys, *argv, "--cache", tmp_path / "out" / "cache")
    assert code == 2
    assert "lies in --out" in err
    code, _, err = run(capsys, *argv, "--method", "dm", "--cache", tmp_path / "cache")
    assert code == 2
    assert "--method dm has no experts to keep in --cache; leave it out." in err


def test_a_terminal_that_does_not_know_a_letter_changes_nothing_else(words, tmp_path):
    command = [sys.executable, "-m", "sklearn_ddfad", "distill", words, "--cpc", "1", "--quiet"]
    command += ["--out", tmp_path / "out", "--no-whole", *TINY]
    spoken = os.environ | {"PYTHONIOENCODING": "ascii"}
    ended = subprocess.run([*map(str, command)], env=spoken, capture_output=True, check=True)
    assert b"Learned step size ? =" in ended.stdout
    assert b"Wrote" in ended.stdout


def test_experts_are_cached(words, tmp_path, capsys):
    argv = ["distill", words, "--cpc", "1", "--no-whole", "--cache", tmp_path / "cache", *TINY]
    assert run(capsys, *argv, "--out", tmp_path / "a")[0] == 0
    assert "experts: 100%" not in run(capsys, *argv, "--out", tmp_path / "b")[2]
    first, second = (DistilledSet.load(tmp_path / name / "distilled.safetensors") for name in "ab")
    np.testing.assert_array_equal(first.X, second.X)


@pytest.mark.parametrize(
    ("method", "features"),
    [("dm", "mfcc"), ("dc", "lpcc"), ("dsa", "logmel"), ("kcenter", "fdmfcc")],
)
def test_methods_and_features_are_one_word_each(method, features, words, tmp_path, capsys):
    argv = ["distill", words, "--cpc", 1, "--out", tmp_path / "out", "--no-whole", *JUDGES]
    argv += ["--method", method, "--features", features]
    argv += [] if method == "kcenter" else ["--max-iter", "1"]
    code, said, _ = run(capsys, *argv)
    assert code == 0
    assert "α" not in said
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["method"], report["features"]) == (method, features)
    extractor = DistilledSet.load(tmp_path / "out" / "distilled.safetensors").extractor
    assert type(extractor).__name__ == __main__._FEATURES[features]
    assert run(capsys, "evaluate", tmp_path / "out", words, *JUDGES)[0] == 0


def test_the_network_that_is_named_distils_and_judges(words, tmp_path, capsys, monkeypatch):
    """Another may judge the same set later."""
    assert set(__main__._NETWORKS) == {"auto", *NETWORKS}
    judges = []

    def noted(**options):
        judges.append(network_classifier(**options))
        return judges[-1]

    monkeypatch.setattr("sklearn_ddfad.network_classifier", noted)
    argv = ["distill", words, "--cpc", 1, "--out", tmp_path / "out", "--no-whole", *JUDGES]
    assert run(capsys, *argv, "--method=dm", "--max-iter=1", "--network=mlp")[0] == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["distiller"]["network"] == report["judge"]["network"] == "mlp"
    argv = ["evaluate", tmp_path / "out", words, *JUDGES]
    assert run(capsys, *argv, "--network=resnet18")[0] == 0
    assert [judge.module__network for judge in judges] == ["mlp", "mlp", "resnet18"]


COUNTS = ("clips", "numbers_kept")


@pytest.mark.parametrize("name", list(__main__._PARAMETERIZATIONS))
@pytest.mark.parametrize("method", [("dm", "--max-iter", 1), ("herding",)], ids=lambda m: m[0])
def test_clips_are_kept_as_is_asked_for(name, method, words, tmp_path, capsys):
    argv = ["distill", words, "--cpc", 1, "--out", tmp_path / "out", "--no-whole", *JUDGES]
    argv += ["--method", *method, "--parameterization", name]
    assert run(capsys, *argv)[0] == 0
    few = DistilledSet.load(tmp_path / "out" / "distilled.safetensors")
    assert __main__._PARAMETERIZATIONS[name] in few.provenance["parameters"]["parameterization"]
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    random, *alike, distilled = report["table"]
    assert distilled["numbers_kept"] == few.n_stored <= random["numbers_kept"]
    assert distilled["clips"] == few.n_clips >= (4 if name in ("static", "spectral") else 2)
    assert [row["set"] for row in alike] == (name != "direct") * ["random, kept alike"]
    for row in alike:  # as many clips, in as many numbers
        assert [row[key] for key in COUNTS] == [distilled[key] for key in COUNTS]
    assert len(load_audio_folder(tmp_path / "out").data) == few.n_clips
    code, said, _ = run(capsys, "evaluate", tmp_path / "out", words, *JUDGES)
    assert code == 0
    assert f"{100 * np.mean(distilled['accuracy']):.1f}" in said


def test_a_warning_of_the_library_is_one_plain_line(tmp_path, capsys):
    folder = write_folder(tmp_path / "words", n_clips=5)
    with (folder / "metadata.csv").open("a") as file:
        for i in range(5, 11):
            write_audio(folder / f"{i}.wav", np.full(900, 0.1), 8000)
            file.write(f"{i}.wav,yes\n")
    code, _, err = run(
        capsys, "distill", folder, "--cpc", 3, "--out", tmp_path / "out", "--quiet", *TINY
    )
    assert code == 0
    (line,) = err.splitlines()  # though it is raised for each of three sets
    assert re.fullmatch(r"ddfad: warning: class .*no.* has 2 clips, fewer than cpc=3: .*", line)


# ------------------------------------------------------------------------------------------
# Where recordings come from, and what is kept for testing
# ------------------------------------------------------------------------------------------


def options_of(*argv):
    command = ["distill", *map(str, argv), "--cpc", "1", "--out", "out"]
    return __main__._parser().parse_args(command)


def recordings_of(*argv):
    options = options_of(*argv)
    return __main__._recordings(options, options.split, options.sample_rate)


def test_channels_are_averaged_where_asked_for(words):
    path = min(words.rglob("*.wav"))
    samples, rate = soundfile.read(path)
    soundfile.write(path, np.column_stack([samples, 0 * samples]), rate, subtype="FLOAT")
    with pytest.raises(ValueError, match="2 channels"):
        recordings_of(words)
    recordings = recordings_of(words, "--mono")
    clips = [clip for clip in [*recordings.train, *recordings.test] if len(clip) == len(samples)]
    assert min(np.abs(clip - samples / 2).max() for clip in clips) < 1e-6


def test_the_test_part_is_not_learned_from(tmp_path, capsys):
    kept = []
    for loudness in (1.0, 0.1):
        name = str(loudness)
        folder = write_folder(tmp_path / name, column="split", change_test=loudness)
        out = tmp_path / f"out {name}"
        argv = ["distill", folder, "--cpc", 1, "--out", out, "--no-whole", *TINY]
        code, said, _ = run(capsys, *argv)
        assert code == 0
        assert "(18 to learn from, 6 to test on, 2 classes, 8000 Hz)" in said
        kept.append(DistilledSet.load(out / "distilled.safetensors"))
    np.testing.assert_array_equal(kept[0].X, kept[1].X)
    np.testing.assert_array_equal(kept[0].extractor.mean_, kept[1].extractor.mean_)
    assert kept[0].extractor.n_samples_ == kept[1].extractor.n_samples_


def test_whole_groups_are_kept_for_testing(tmp_path, capsys):
    folder = write_folder(tmp_path / "words", column="group")
    groups = load_audio_folder(folder).groups
    dataset = Bunch(groups=groups, splits=None, target=np.zeros(len(groups)))
    train, test, rule = __main__._split(dataset, "auto")
    assert len(train) + len(test) == len(groups)
    assert not set(groups[train]) & set(groups[test])
    assert rule == f"whole groups ({groups[test][0]})"
    recordings = recordings_of(folder)
    assert len(recordings.test) == len(test)
    assert "Kept for testing: whole groups (speaker" in capsys.readouterr().out


def test_a_fifth_of_each_class_is_kept_for_testing(words, capsys):
    recordings = recordings_of(words)
    assert sorted(recordings.y_test) == ["no", "no", "no", "yes", "yes"]
    assert sorted(recordings.y_train) == ["no"] * 9 + ["yes"] * 10
    assert "a random fifth" in capsys.readouterr().out


def test_the_split_does_not_depend_on_the_seed(words):
    first, second = (recordings_of(words, "--seed", seed) for seed in (0, 1))
    assert all(map(np.array_equal, first.test, second.test))


def test_recordings_in_neither_split_are_left_out():
    dataset = Bunch(splits=np.array(["test", "train", "", "train"]), target=np.zeros(4))
    train, test, rule = __main__._split(dataset, "auto")
    assert (train.tolist(), test.tolist()) == ([1, 3], [0])
    assert "1 recordings are in neither split" in rule


@pytest.mark.parametrize("source", ["folder", "fsdd", "demo"])
def test_recordings_are_resampled_where_asked_for(source, words, monkeypatch, tmp_path, capsys):
    words.rename(tmp_path / "fsdd")
    monkeypatch.setenv("DDFAD_DATA", str(tmp_path))
    where = tmp_path / "fsdd" if source == "folder" else source
    recordings = recordings_of(where, "--sample-rate", 4000, "--clips", 60)
    assert recordings.sample_rate == 4000
    assert max(map(len, recordings.train)) <= 0.8 * 4000
    assert "4000 Hz)" in capsys.readouterr().out


def test_fsdd_is_taken_from_ddfad_data(words, monkeypatch, tmp_path, capsys):
    words.rename(tmp_path / "fsdd")
    monkeypatch.setenv("DDFAD_DATA", str(tmp_path))
    monkeypatch.setattr("sklearn_ddfad.datasets.fetch_fsdd", None)  # would not be callable
    recordings_of("fsdd")
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (
        f"Recordings: FSDD from {tmp_path} (19 to learn from, 5 to test on, 2 classes, 8000 Hz)"
    )


def test_fsdd_is_fetched_where_ddfad_data_lacks_it(words, monkeypatch, tmp_path, capsys):
    def fetch(*, subset, progress, download_if_missing=True):
        return load_audio_folder(words)

    (words / "audio").mkdir()
    for file in words.glob("*.wav"):
        file.rename(words / "audio" / file.name)
    table = (words / "metadata.csv").read_text()
    (words / "metadata.csv").write_text(re.sub(r"(?m)^(?=\d)", "audio/", table))
    monkeypatch.setenv("DDFAD_DATA", str(tmp_path))
    monkeypatch.setattr("sklearn_ddfad.datasets.fetch_fsdd", fetch)
    recordings_of("fsdd")
    assert capsys.readouterr().out.startswith(f"Recordings: FSDD from {tmp_path} (19 to learn")


@pytest.mark.parametrize("answers", [False, True])
def test_words_are_generated_where_fsdd_cannot_be_had(answers, monkeypatch, capsys):
    def fetch(**_):
        msg = "no route to host"
        raise OSError(msg)

    monkeypatch.delenv("DDFAD_DATA", raising=False)
    monkeypatch.setattr("sklearn_ddfad.datasets.fetch_fsdd", fetch)
    monkeypatch.setattr(__main__, "_answers", lambda url: answers)
    recordings = recordings_of("fsdd", "--clips", 60)
    assert len(recordings.train) == 48
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("Recordings: generated words (48 to learn from")
    assert second.startswith("FSDD is not at hand: ")
    assert ("no route to host" in second) is answers
    assert ("does not answer" in second) is not answers
    assert third.startswith("Kept for testing")


def test_a_damaged_fsdd_is_not_passed_over(words, monkeypatch, tmp_path):
    words.rename(tmp_path / "fsdd")
    (tmp_path / "fsdd" / "0.wav").write_bytes(b"")
    monkeypatch.setenv("DDFAD_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="is an empty file"):
        recordings_of("fsdd")


def test_a_silent_network_is_not_waited_for(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        started = time.perf_counter()
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/"
        assert not __main__._answers(url, seconds=0.4)
    assert time.perf_counter() - started < 2


def test_real_digits(ddfad_data, monkeypatch, capsys):
    monkeypatch.setenv("DDFAD_DATA", str(ddfad_data))
    recordings = recordings_of("fsdd")
    assert (len(recordings.train), len(recordings.test)) == (2700, 300)
    first = capsys.readouterr().out.splitlines()[0]
    assert first == (
        f"Recordings: FSDD from {ddfad_data} "
        "(2700 to learn from, 300 to test on, 10 classes, 8000 Hz)"
    )


# ------------------------------------------------------------------------------------------
# Evaluate
# ------------------------------------------------------------------------------------------


def test_evaluate_comes_to_the_reported_accuracy(distilled, capsys):
    report = json.loads((distilled.out / "report.json").read_text(encoding="utf-8"))
    code, out, _ = run(capsys, "evaluate", distilled.out, "demo", "--clips", 60, *JUDGES)
    assert code == 0
    assert out.startswith("Recordings: generated words (12 to test on, 10 classes, 8000 Hz)")
    mean, std = (100 * report["table"][1][key] for key in ("mean", "std"))
    assert f"{mean:.1f} ± {std:.1f} %" in out


def test_evaluate_resamples_and_splits_as_the_set_was_made(tmp_path, capsys):
    folder = write_folder(tmp_path / "words", column="group")
    argv = ["--out", tmp_path / "out", "--split", "random", "--sample-rate", 12000, "--no-whole"]
    assert run(capsys, "distill", folder, "--cpc", 1, *argv, *TINY)[0] == 0
    code, out, _ = run(capsys, "evaluate", tmp_path / "out", folder, *JUDGES, "--quiet")
    assert code == 0
    assert "(5 to test on, 2 classes, 12000 Hz)" in out
    assert "Kept for testing: a random fifth" in out
    code, out, _ = run(capsys, "evaluate", tmp_path / "out", folder, *JUDGES, "--split", "all")
    assert code == 0
    assert "(24 to test on, 2 classes, 12000 Hz)" in out


def test_evaluate_refuses_classes_that_were_not_distilled(distilled, words, capsys):
    code, _, err = run(capsys, "evaluate", distilled.out, words, *JUDGES)
    assert code == 2
    assert "class 'no' is to be tested on, but is not in the distilled set" in err


def test_a_class_is_the_same_whether_its_folder_reads_as_names_or_as_numbers(tmp_path, capsys):
    """A folder has integers where all of its classes are named so."""
    clips, y = make_audio_classification(60, n_classes=3, random_state=0)
    for folder, names in {"named": ["0", "1", "noise"], "numbered": ["0", "1"]}.items():
        for i, (clip, code) in enumerate(zip(clips, y, strict=True)):
            if code < len(names):
                (tmp_path / folder / names[code]).mkdir(parents=True, exist_ok=True)
                write_audio(tmp_path / folder / names[code] / f"{i}.wav", clip, 8000)
    for made_of, judged_on, code in (("named", "numbered", 0), ("numbered", "named", 2)):
        heard_as = FDMFCC()
        recordings = load_audio_folder(tmp_path / made_of)
        few = DistilledSet(heard_as.fit_transform(recordings.data), recordings.target)
        (tmp_path / "set").mkdir(exist_ok=True)
        few.with_extractor(heard_as).save(tmp_path / "set" / "distilled.safetensors")
        argv = [tmp_path / judged_on, *JUDGES, "--split", "all"]
        found, _, err = run(capsys, "evaluate", tmp_path / "set", *argv)
        assert found == code
    assert "class 'noise' is to be tested on, but is not in the distilled set" in err


def test_evaluate_refuses_a_set_that_was_never_heard(tmp_path, capsys):
    silent = DistilledSet(np.zeros((2, 3, 4, 5), dtype=np.float32), np.array([0, 1]))
    silent.save(tmp_path / "distilled.safetensors")
    code, _, err = run(capsys, "evaluate", tmp_path, "demo")
    assert code == 2
    assert "does not say how its clips were heard" in err


# ------------------------------------------------------------------------------------------
# What is refused
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "COMMAND"),
        (["distil"], "invalid choice: 'distil'"),
        (["distill", "demo", "--cpc", "1"], "required: --out"),
        (["distill", "demo", "--cpc", "0", "--out", "out"], "'0' is not a whole number from 1 on"),
        (["distill", "demo", "--cpc", "-1", "--out", "out"], "--cpc"),
        (["distill", "demo", "--cpc", "1.5", "--out", "out"], "'1.5' is not a whole number"),
        (["distill", "nowhere", "--cpc", "1", "--out", "out"], "there is no folder nowhere"),
        (["distill", "demo", "--cpc", "1", "--out", "full"], "full exists and holds something"),
        (["distill", "demo", "--cpc", "1", "--out", "no/out"], "there is no folder"),
        (["distill", "full", "--cpc", "1", "--out", "full"], "full holds the recordings"),
        (["distill", "full", "--cpc", "1", "--out", "."], ". holds the recordings themselves"),
        (["distill", "full", "--cpc", "1", "--out", "out"], "full holds no recordings"),
        (["distill", "demo", "--cpc", "1", "--out", "out", "--device", "x"], "device='x'"),
        (["distill", "demo", "--cpc", "5", "--clips", "60", "--out", "out"], "lower cpc"),
        (["distill", "demo", "--cpc", "1", "--clips", "12", "--out", "out"], "a fifth of each"),
        (["evaluate", "full", "demo"], "there is no distilled set full"),
        (["evaluate", "damaged", "demo"], "is not a safetensors file, or is damaged"),
        (
            ["distill", "demo", "--cpc", "1", "--out", "out", "--method", "dm", "--experts", "2"],
            "--method dm has no --experts; leave it out.",
        ),
        (
            ["distill", "demo", "--cpc=1", "--out=o", "--method=herding", "--max-iter=3"],
            "--method herding has no --max-iter; leave it out.",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(argv, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("full/note.txt", "damaged/distilled.safetensors"):
        Path(name).parent.mkdir()
        Path(name).write_text("something else")
    monkeypatch.setattr("sklearn_ddfad.FDMFCC.fit_transform", None)  # no work is begun
    before = sorted(tmp_path.rglob("*"))
    code, _, err = run(capsys, *argv)
    assert code == 2
    assert message in err
    assert err.startswith("ddfad: ")
    assert err.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_may_be_called_as_a_source_that_is_none(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("demo").mkdir()
    options = __main__._parser().parse_args(["distill", "demo", "--cpc", "1", "--out", "demo"])
    assert __main__._destination(options) == tmp_path / "demo"


@pytest.mark.parametrize(
    ("column", "how", "message"),
    [
        (None, "column", "needs a column 'split'"),
        (None, "groups", "needs a column 'group'"),
        ("group", "column", "needs a column 'split'"),
    ],
)
def test_a_split_the_folder_does_not_have_is_refused(column, how, message, tmp_path):
    folder = write_folder(tmp_path / "words", column=column)
    with pytest.raises(ValueError, match=message):
        recordings_of(folder, "--split", how)


def test_a_class_without_a_clip_to_learn_from_is_refused(tmp_path, capsys):
    folder = write_folder(tmp_path / "words", column="split")
    metadata = (folder / "metadata.csv").read_text()
    (folder / "metadata.csv").write_text(metadata.replace("yes,train", "yes,test"))
    code, _, err = run(capsys, "distill", folder, "--cpc", 1, "--out", tmp_path / "out", *TINY)
    assert code == 2
    assert "class 'yes' is to be tested on, but is not among the recordings to learn from" in err


@pytest.mark.parametrize(
    ("failure", "code"),
    [(KeyboardInterrupt, 130), (OSError("disk full"), 2)],
    ids=["interrupted", "full"],
)
def test_a_run_that_fails_late_keeps_the_earlier_result(
    failure, code, words, tmp_path, monkeypatch, capsys
):
    argv = ["distill", words, "--cpc", 1, "--out", tmp_path / "out", "--no-whole", "--quiet", *TINY]
    assert run(capsys, *argv)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    def fail(*_):
        raise failure

    monkeypatch.setattr("sklearn_ddfad._report.picture", fail)  # the last thing written
    assert run(capsys, *argv, "--seed", 1)[0] == code
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


# ------------------------------------------------------------------------------------------
# The shell, the picture, the machine
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [["--help"], ["distill", "--help"], ["evaluate", "--help"]])
def test_help(argv, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(argv)
    assert "usage: ddfad" in capsys.readouterr().out


def test_the_module_runs():
    argv = [sys.executable, "-m", "sklearn_ddfad", "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "distill" in done.stdout
    assert "evaluate" in done.stdout


def test_a_picture_of_awkward_classes(tmp_path):
    rng = np.random.default_rng(0)
    names = ["$not_maths", "a rather long name of a class", "silence"]
    columns = [
        Column(name, tuple(rng.normal(size=(2, 16, 9))), tuple(level * rng.normal(size=(2, 800))))
        for name, level in zip(names, (1, 100, 0), strict=True)
    ]
    figure = picture(columns, seconds=0.1)
    with warnings.catch_warnings(action="error"):
        figure.savefig(tmp_path / "picture.png")
    panes = figure.axes[: 4 * len(columns)]
    limits = {pane.images[0].get_clim() for pane in panes if pane.images}
    assert len(limits) == 1  # one colour scale
    assert sum(bool(pane.images) for pane in panes) == 6
    assert sum(bool(pane.lines) for pane in panes) == 6


def test_peak_memory_is_counted_in_gigabytes():
    block = np.ones(25_000_000)
    assert block.nbytes / 1e9 < peak_memory() < 100


def test_soft_labels_are_what_judges_learn():
    X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    right = (X[:, 0] > 0).astype(int)
    wrongly_named = np.array(["no", "yes"])[1 - right]
    distilled = DistilledSet(X, wrongly_named, soft_labels=np.eye(2, dtype=np.float32)[right])
    options = Bunch(device="cpu", quiet=True, seed=0, repeats=1, n_steps=100)
    test = X, np.array(["no", "yes"])[right]
    assert __main__._judged("soft", [distilled], test, options, None)["mean"] > 0.9
