"""The benchmarks run: each with its smallest preset, in this process, into a folder of its own."""

import ast
import importlib
import json
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.utils import Bunch

from sklearn_ddfad import (
    DistilledSet,
    DistributionDistiller,
    RandomSelector,
    incremental_scores,
)

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(FOLDER))

import _draw  # noqa: E402
import _harness  # noqa: E402
import _kept  # noqa: E402
import _recordings  # noqa: E402
import _sets  # noqa: E402
import duration  # noqa: E402
import esc  # noqa: E402
import parameterizations  # noqa: E402
import round_trip  # noqa: E402
import run  # noqa: E402
import scale  # noqa: E402
import table_1  # noqa: E402
import table_2  # noqa: E402
import table_4  # noqa: E402
import tables  # noqa: E402

NO_BENCHMARKS = {"run.py", "scale.py", "tables.py"}


@pytest.fixture(autouse=True)
def results(tmp_path, tmp_path_factory, monkeypatch):
    """An empty folder for what is measured; the threads as they were afterwards."""
    monkeypatch.setenv("DDFAD_RESULTS", str(tmp_path))
    monkeypatch.setenv("DDFAD_CACHE", str(tmp_path_factory.getbasetemp() / "of-benchmarks"))
    threads = torch.get_num_threads()
    yield tmp_path
    torch.set_num_threads(threads)


def call(module, monkeypatch, *arguments):
    """Run a script's ``main`` here, what it measures in fresh processes too; return its output."""

    def in_this_process(script, **options):
        return json.loads(call(module, monkeypatch, "--one", json.dumps(options)).splitlines()[-1])

    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", [module.__name__, *arguments])
        if hasattr(module, "in_fresh_process"):
            patch.setattr(module, "in_fresh_process", in_this_process)
        with redirect_stdout(StringIO()) as output:
            module.main()
    return output.getvalue()


@pytest.mark.parametrize("script", run.SCRIPTS)
def test_the_smoke_preset_measures_and_draws_once(script, results, monkeypatch, request):
    source = (FOLDER / script).read_text()
    if "DDFAD_DATA" in source:
        request.getfixturevalue("ddfad_data")
    arguments = ["--preset", "smoke", *(["--threads", "1"] if "THREADS" in source else [])]
    module = importlib.import_module(script.removesuffix(".py"))
    call(module, monkeypatch, *arguments)
    (path,) = results.glob("*/*.json")
    measured = json.loads(path.read_text())
    assert path.name == script.replace(".py", "_smoke.json")
    assert measured["rows"]
    assert measured["machine"]["torch"] == torch.__version__
    assert any(file.read_bytes().startswith(b"\x89PNG") for file in results.glob("*/*.png"))

    def refuse(*_, **__):
        raise AssertionError("measured again")

    monkeypatch.setattr(module, "in_fresh_process", refuse, raising=False)
    call(module, monkeypatch, *arguments)
    assert json.loads(path.read_text())["rows"] == measured["rows"]


def test_no_benchmark_is_forgotten_by_the_one_command():
    scripts = {path.name for path in FOLDER.glob("[!_]*.py")} - NO_BENCHMARKS
    for preset in run.LIMITS:
        assert {script for script, *_ in run.parts(preset)} == scripts
    for script in scripts:  # which calls them all alike
        assert "--preset" in ast.unparse(ast.parse((FOLDER / script).read_text()))


def test_a_part_beyond_its_limit_is_stopped_with_all_that_it_started(tmp_path):
    child = f"import time; time.sleep(1); open({str(tmp_path / 'late')!r}, 'w')"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    assert run.run([sys.executable, "-c", parent], 0.5) is None
    assert run.run([sys.executable, "-c", "import time; time.sleep(1.2)"], 10) == 0
    assert not (tmp_path / "late").exists()


def test_the_one_command_says_which_part_failed(monkeypatch, capsys):
    statuses = iter([0, 3, None])
    monkeypatch.setattr(run, "run", lambda command, seconds: next(statuses))
    monkeypatch.setattr(sys, "argv", ["run.py", "--part", "0", "--part", "1", "--part", "2"])
    with pytest.raises(SystemExit) as stopped:
        run.main()
    assert stopped.value.code == 1
    said = [line for line in capsys.readouterr().out.splitlines() if line.endswith(" s")]
    assert ["done" in said[0], "failed" in said[1], "run it again" in said[2]] == [True] * 3


def test_a_row_is_measured_once_and_found_again_by_another_process(results):
    calls = []

    def measure(size):
        calls.append(size)
        return {"seconds": 1.5}

    with redirect_stdout(StringIO()):
        first = _harness.Results("a").measure(measure, size=3)
        again = _harness.Results("a").measure(measure, size=3)
    assert (first, calls) == (again, [3])


def test_every_machine_that_measured_a_row_is_named(results, monkeypatch):
    for size, processor in ((1, "first"), (2, "second"), (3, "first"), (3, "third")):
        monkeypatch.setattr(_harness, "_processor", lambda processor=processor: processor)
        found = _harness.Results("several")
        found.measure(lambda size: {"twice": 2 * size}, size=size)
    assert found.content["machine"]["processor"] == "first; second"


def test_pictures_leave_out_what_was_not_measured(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(_draw.Figure, "savefig", lambda figure, *_, **__: drawn.extend(figure.axes))
    rows = [
        {"n": 10, "seconds": 2.0, "side": "ours"},
        {"n": 1, "seconds": 1.0, "side": "ours"},
        {"n": 1, "seconds": 3.0, "side": "theirs"},
        {"n": 10, "seconds": None, "side": "theirs"},
    ]
    _draw.curves(rows, "n", "seconds", tmp_path / "a.png", by="side")
    lines = {line.get_label(): line.get_xydata().tolist() for line in drawn[0].lines}
    assert lines == {"ours": [[1, 1], [10, 2]], "theirs": [[1, 3]]}
    _draw.bars(rows, "n", "seconds", tmp_path / "b.png", by="side")
    assert sorted(bar.get_height() for bar in drawn[1].patches) == [1, 2, 3]
    middles = [bar.get_x() + bar.get_width() / 2 for bar in drawn[1].patches]
    assert len({round(middle, 6) for middle in middles}) == 3  # none hides another


def test_the_clock_of_a_race_stands_still_while_a_set_is_judged(monkeypatch):
    race = importlib.import_module("time_to_accuracy")
    now = [0.0]
    monkeypatch.setattr(race, "perf_counter", lambda: now[0])
    accuracies = iter([0.5, 0.8, 0.95])

    def judge(clips):
        now[0] += 100
        return next(accuracies)

    watch = race.Watch(judge, target=0.9, limit=None)
    stops = []
    while not stops or not stops[-1]:
        now[0] += 10
        stops.append(watch(lambda: None))
    assert watch.looks == [(10, 0.5), (20, 0.8), (30, 0.95)]
    assert watch.reached
    assert watch.seconds == 30

    never = race.Watch(lambda clips: 0.1, target=0.9, limit=25)
    for stop in (False, False, True):
        now[0] += 10
        assert never(lambda: None) is stop
    assert not never.reached


def test_a_test_part_has_no_clip_of_the_training_part_and_no_group_where_asked_for():
    groups = np.repeat([f"actor{i:02}" for i in range(24)], 16)
    recordings = Bunch(target=np.tile(np.arange(8), 48), groups=groups)
    parts = {}
    for split in ("random", "group"):
        for seed in range(5):
            train, test = _recordings._split(recordings, "ravdess", split, seed)
            assert sorted([*train, *test]) == [*range(384)]
            assert set(recordings.target[test]) == set(range(8))
            parts[split, seed] = set(test)
            if split == "group":
                assert not set(groups[train]) & set(groups[test])
    assert set().union(*(parts["group", seed] for seed in range(5))) == set(range(384))
    last = {tuple(_recordings._split(recordings, "ravdess", "last", seed)[1]) for seed in (0, 1)}
    assert [set(groups[list(test)]) for test in last] == [{f"actor{i}" for i in range(20, 24)}]
    assert parts["random", 0] != parts["random", 1]


def rows_of_a_method(chances, rng, same_clips=True, n_judges=5, spread=0.0, n_seeds=3):
    """Return rows of some seeds: clips that are told rightly with these chances."""
    rows = []
    for seed in range(n_seeds):
        of_seed = np.clip(chances + rng.normal(0, spread), 0, 1)
        right = rng.random((n_judges, len(chances))) < of_seed
        told = {
            "accuracy": right.mean(axis=1).tolist(),
            "right": "".join(map(str, right.sum(axis=0))),
        }
        rows.append({"seed": seed, "split": "official" if same_clips else "random"} | told)
    return rows


@pytest.mark.parametrize("same_clips", [True, False])
@pytest.mark.parametrize(
    ("n_seeds", "spread"), [(1, 0.0), (2, 0.0), (2, 0.02), (3, 0.0), (3, 0.05), (10, 0.05)]
)
def test_an_interval_holds_the_truth_about_nineteen_times_of_twenty(same_clips, n_seeds, spread):
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        chances = rng.beta(4, 2, 300)  # some clips are hard: the mean over all there are is 2/3
        rows = rows_of_a_method(chances, rng, same_clips, spread=spread, n_seeds=n_seeds)
        found = _sets.summarize(rows, ("split",))[0]
        held.append(abs(found["mean"] - 200 / 3) < found["interval"])
    assert np.mean(held) > 0.88  # few seeds may be alike by chance


def test_methods_are_told_apart_by_the_clips_that_both_met():
    rng = np.random.default_rng(0)
    chances = np.repeat([0.02, 0.98], 150)  # half of the clips are hard for everyone
    worse, same = (rows_of_a_method(chances, rng) for _ in range(2))
    better = rows_of_a_method(np.clip(chances + 0.05, 0, 1), rng)
    found = _sets.compared(better, worse)
    of_each = _sets.half_width([*_sets._shares(worse).values()], same_clips=True, extremes=(0, 1))
    assert found["differs"]
    assert 0 < found["difference"] < 100 * of_each  # the intervals of the two overlap
    assert not _sets.compared(same, worse)["differs"]
    assert (
        _sets.compared(better, worse)["difference"] == -_sets.compared(worse, better)["difference"]
    )
    assert _sets.compared(better, []) == {"seeds": 0}


def test_figures_of_the_paper_stand_where_it_prints_them():
    """Table 2's diagonal is Table 1's MTT, but for one figure that the paper has in two ways."""
    diagonal = {key: value for key, value in table_2.PAPER.items() if key[1] == key[4]}
    assert len(diagonal) == 9
    differing = {k for k, v in diagonal.items() if table_1.PAPER[(*k[:2], "mtt", 50)] != v}
    assert differing == {("fsdd", "convnet", "mtt", 50, "convnet")}
    assert table_1.PAPER["fsdd", "convnet", "random", 10] == 42.66
    assert table_1.PAPER["ravdess", "vgg11", "whole", None] == 62.32


def test_a_set_is_made_once_and_anew_when_it_is_asked_for(ddfad_data, tmp_path, monkeypatch):
    cell = {"data": "fsdd", "split": "official", "network": "convnet-8", "cpc": 1, "seed": 0}
    cell |= {"what": "dm"}
    where = {"quick": True, "keep": tmp_path / "sets"}
    first = _sets.find(cell, **where)
    assert first.extractor is not None
    monkeypatch.setattr(_sets, "make", None)
    again = _sets.find(cell, **where)
    assert np.array_equal(first.X, again.X)
    assert again.provenance["took"]["seconds"] > 0
    monkeypatch.undo()
    assert not [*tmp_path.glob("sets/*.checkpoint")]
    assert np.array_equal(_sets.make(cell, **where).X, first.X)  # the same seed, the same set


def at_random(kept, cpc, X, y):
    """Return a random selection, kept in some way."""
    options = {"estimator": DummyClassifier(), "random_state": 0}
    return RandomSelector(cpc, parameterization=kept, **options).fit(X, y).distilled_


@pytest.mark.parametrize(("equal", "clips"), [("storage", 6), ("clips", 2)])
def test_random_clips_are_kept_in_the_storage_or_number_asked_for(heard, equal, clips):
    """Cepstra alone take a third; planes of real clips follow from them, so nothing is lost."""
    extractor, X = heard
    y = np.repeat([3, 7], 15)
    few = at_random(_kept.parameterization("static", equal, extractor), 2, X, y)
    assert np.bincount(few.y).tolist() == [0, 0, 0, clips, 0, 0, 0, clips]
    assert _sets.kept_in(few) == {
        "numbers_kept": 2 * clips * X[0].size // 3,
        "bytes": 8 * clips * X[0].size // 3,
        "decoded_clips": 2 * clips,
    }
    for clip, label in zip(few.X, few.y, strict=True):
        away = np.abs(X - clip).max(axis=(1, 2, 3))
        assert away.min() < 1e-3
        assert y[away.argmin()] == label


@pytest.mark.parametrize("name", parameterizations.KERNELS)
def test_kernels_are_compared_at_the_same_sizes(heard, name):
    extractor, X = heard
    few = at_random(_kept.parameterization(name, "storage", extractor), 3, X, np.repeat([3, 7], 15))
    assert np.bincount(few.y).tolist() == [0, 0, 0, 6, 0, 0, 0, 6]
    assert few.decoder.sizes[1:] == (*X.shape[1:3], 2 * X.shape[3] // 5)
    assert few.n_stored <= 6 * X[0].size


def test_what_is_distilled_is_kept_in_as_many_clips_as_the_baseline(heard):
    extractor, X = heard
    y = np.repeat([3, 7], 15)
    kept = _kept.parameterization("static-lsvd", "storage", extractor)
    options = {"max_iter": 1, "estimator": DummyClassifier(), "random_state": 1}
    distiller = DistributionDistiller(2, parameterization=kept, **options).fit(X, y)
    assert distiller.distilled_.decoder.sizes == at_random(kept, 2, X, y).decoder.sizes


def test_sets_of_other_numbers_have_other_names_and_the_same_experts():
    usual = {"data": "fsdd", "split": "official", "network": "convnet-8", "cpc": 1, "seed": 0}
    cells = [
        usual | {"what": "mtt"} | more
        for more in (
            {},
            {"parameterization": "static"},
            {"parameterization": "static", "equal": "clips"},
            {"parameterization": "static-lsvd"},
        )
    ]
    assert len({_sets._path(cell, quick=False, keep="here") for cell in cells}) == 4
    assert len({_sets._experts(cell) for cell in cells}) == 1
    named = cells[0] | {"features": "FDMFCC", "parameterization": "direct", "equal": "storage"}
    assert _sets._path(named, False, "here") == _sets._path(cells[0], False, "here")


def line_of(what, kept, cpc, mean, equal="storage", data="fsdd"):
    return dict(
        zip(parameterizations.KEY, (data, "-", "-", what, kept, equal, cpc), strict=True), mean=mean
    )


def test_a_demand_is_met_or_missed_by_what_was_named_before():
    lines = [
        line_of("whole", "direct", None, 98.0),
        line_of("random", "static-lsvd", 10, 95.0),
        line_of("mtt", "direct", 10, 95.5),
        line_of("mtt", "static-lsvd", 10, 97.9),
        line_of("mtt", "static", 10, 98.5),  # another may be better, but was not named before
        line_of("mtt", "static-lsvd", 10, 99.0, equal="clips"),
    ]
    found = {line["demand"]: line for line in parameterizations.demands(lines)}
    assert {name: (line["least"], line["met"]) for name, line in found.items()} == {
        "direct, cpc=10": (95.5, True),
        "mtt static-lsvd, cpc=10": (98.0, False),
        "mtt static-lsvd, over its baseline, cpc=10": (3, False),
    }
    assert found["mtt static-lsvd, over its baseline, cpc=10"]["measured"] == 2.9
    kernels = [line_of("mtt", f"{kind}-twice", 1, 60.0) for kind in ("dct", "svd")]
    (order,) = (line for line in parameterizations.demands(kernels) if "over" in line["demand"])
    assert (order["demand"], order["met"]) == ("dct-twice over svd-twice, cpc=1", True)
    others = [
        line_of("mtt", "direct", 1, 40.0, data="esc10"),
        line_of("mtt", "static-lsvd", 1, 39.0, data="esc10"),
        line_of("random", "static-lsvd", 1, 20.0, data="esc10"),
    ]
    assert [line["met"] for line in parameterizations.demands(others)] == [False, True]


def test_folds_of_a_seed_are_one_test_of_all_clips():
    cell = dict(zip(esc.KEY, ("esc10", "group", "vote", "small", "backbone"), strict=True))
    rows = [
        cell | {"seed": seed, "fold": fold, "right": right, "accuracy": [right.count("1") / 2]}
        for seed, fold, right in [
            (0, 1, "11"),
            (0, 0, "01"),
            (1, 0, "10"),
            (1, 1, "01"),
            (2, 0, "00"),
        ]
    ]
    better = [row | {"what": "TFE(4)", "right": "11", "accuracy": [1.0]} for row in rows]
    assert [row["right"] for row in esc.pooled(rows)] == ["0111", "1001"]  # seed 2 has no fold 1
    means, differences = esc.summary_of(rows + better)
    assert [line["mean"] for line in means] == [62.5, 100]
    assert [(d["what"], d["more than"], d["difference"]) for d in differences] == [
        ("TFE(4)", "backbone", 37.5)
    ]


def test_figures_of_nsd_stand_where_it_prints_them():
    """The gains that its text and Table 5 name; 8.1 where it prints 8.5 for 73.4 less 65.3."""
    paper = parameterizations.PAPER
    names = [("mtt", 1), ("mtt", 10), ("dm", 10), ("dc", 10)]
    gains = [paper[what, "learned-twice", n] - paper[what, "direct", n] for what, n in names]
    assert gains == pytest.approx([22.2, 8.1, 1.2, 10.7])
    assert (paper["mtt", "ldct-twice", 10], paper["mtt", "dwt-twice", 1]) == (69.9, 51.3)


def test_sound_files_come_back_with_their_labels_and_nearly_the_features(heard):
    """Of a tone each, at its own pitch: no other clip is nearer to what comes back."""
    extractor, X = heard
    few = DistilledSet(X[:6], np.array([4, 4, 4, 9, 9, 9]), extractor=extractor)
    back, labels = round_trip.through_files(few, extractor)
    np.testing.assert_array_equal(labels, few.y)
    distances = np.square(back[:, None] - few.X).mean(axis=(2, 3, 4))
    np.testing.assert_array_equal(distances.argmin(axis=1), np.arange(6))


def test_what_sound_files_lose_is_held_against_what_they_may(monkeypatch):
    def point(judge, form, mean):
        cell = ("fsdd", "official", "convnet-32", "mtt", "static", 10, judge, form)
        keys = (*round_trip.OF_A_POINT, "as")
        return dict(zip(keys, cell, strict=True)) | {"mean": mean, "difference": mean}

    summary = [point("convnet-32", "features", 97.0), point("vgg11-16", "features", 91.0)]
    losses = [point("convnet-32", None, -2.5), point("vgg11-16", None, -2.5)]
    found = round_trip.demands(summary, losses)
    assert [(line["judge"], line["measured"], line["met"]) for line in found] == [
        ("convnet-32", -2.5, False),
        ("vgg11-16", -2.5, True),
        ("vgg11-16", -6.0, False),
    ]


@pytest.mark.parametrize("kind", ["mean", "nearest"])
def test_prototypes_tell_classes_apart_that_differ_in_direction(kind):
    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = rng.normal(size=(40, 1, 8, 8)).astype(np.float32)
    X[y == 1, :, :4] += 6
    judge = duration.prototypes("convnet-8", kind, "random").set_params(
        networkembedding__random_state=0
    )
    assert judge.fit(X[:20], y[:20]).score(X[20:], y[20:]) > 0.9


@pytest.fixture
def costs(tmp_path, monkeypatch):
    """Costs as if they had been measured on a CPU."""
    rows = {
        "feature_extraction": [{"source": "fsdd", "n_clips": 3000, "seconds": 0.6, "ours_ms": 0.6}],
        "expert_training": [
            {"what": "one", "width": 128, "augmented": True, "seconds_per_clip": 3e-3},
            {"what": "several", "width": 128, "times_the_throughput": 1.5},
        ],
        "outer_iteration": [
            {"side": "ours", "cpc": 10, "steps": 20, "network": "convnet-128", "seconds": 8.0}
        ],
    }
    for name, table in rows.items():
        path = tmp_path / "cpu" / f"{name}_cpu.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"rows": table}))
    monkeypatch.setattr(scale, "RESULTS", tmp_path)


def test_matching_does_not_grow_with_the_clips_and_the_rest_does(costs, monkeypatch):
    cpu, _, _ = scale.all_costs()
    few = scale.durations(cpu, 2, 0, cpu["sound"])
    monkeypatch.setattr(scale, "CLIPS", 10 * scale.CLIPS)
    many = scale.durations(cpu, 2, 0, cpu["sound"])
    assert [b / a for a, b in zip(few, many, strict=True)] == pytest.approx([10, 10, 1])
    assert few[0] == pytest.approx(2e6 * 10 * 1e-3 / 2)
    assert few[1] == pytest.approx(16 * 4 * 2e6 * scale.larger() * 2e-3)


def test_an_assumed_gpu_trains_at_the_rate_assumed(costs):
    _, gpu, what = scale.all_costs()
    operations = 3 * scale.count(scale.DIGITS, scale.N_DIGITS)[0]
    assert operations / gpu["expert"] == pytest.approx(scale.GPU_RATE)
    assert what.startswith("assumed")
    assert gpu["student"] / gpu["expert"] == pytest.approx(8.0 / 1000 / 2e-3)


def test_operations_are_those_of_the_formula():
    """Two for each product of a convolution and of the last layer."""
    conv = 9 * 128 * (3 * 16 * 54 + 128 * 8 * 27 + 128 * 4 * 13)
    linear = 128 * 2 * 6 * 10
    assert scale.count(scale.DIGITS, 10)[0] == 2 * (conv + linear)


def test_the_tables_of_the_documentation_are_those_of_the_results():
    assert scale.TARGET.read_text() == scale.text(), "run python benchmarks/scale.py"


# -- tables ----------------------------------------------------------------------------------


@pytest.mark.parametrize("page", tables.PAGES, ids=lambda page: page.name)
def test_tables_say_what_was_measured(page):
    assert page.read_text(encoding="utf-8") == tables.written(page), "run benchmarks/tables.py"


def test_each_table_stands_in_the_documentation():
    text = (tables.HOME / "docs" / "results.rst").read_text(encoding="utf-8")
    named = [match[2] for match in tables.PLACE[".rst"].finditer(text)]
    assert sorted(named) == sorted(tables.TABLES)


@pytest.mark.parametrize(
    ("ending", "before", "after"),
    [
        (".md", "|a|\n|-|\n|1|\n", "| a | b |\n| --- | ---: |\n| `c` | 1, 2 |\n"),
        (
            ".rst",
            ".. csv-table::\n   :header: x\n\n   1\n",
            '.. csv-table::\n   :header: "a", "b"\n\n   "``c``", "1, 2"\n',
        ),
    ],
)
def test_the_text_around_a_table_stays(ending, before, after, tmp_path, monkeypatch):
    monkeypatch.setitem(tables.TABLES, "digits", lambda: [("a", "b"), ("`c`", "1, 2")])
    comment = {".md": "<!-- {} -->", ".rst": ".. {}"}[ending]
    note = comment.format("written by benchmarks/tables.py: digits")
    page = f"One.\n\n{note}\n\n%s\nTwo.\n"
    path = tmp_path / f"page{ending}"
    path.write_text(page % before)
    assert tables.written(path) == page % after


def test_what_test_clips_add_to_the_incremental_accuracy_has_it_as_its_mean():
    rng = np.random.default_rng(0)
    labels, steps = rng.permutation(np.arange(60) % 6), [[3, 1], [0, 5, 2], [4]]
    said = np.where(rng.random((3, 60)) < 0.7, labels, 1)
    scores = incremental_scores(labels, said, steps)
    row = {"right": [table_4.digits(labels, s, steps[: i + 1]) for i, s in enumerate(said)]}
    assert table_4.shares(row).mean() == pytest.approx(scores["average_of_increments"])
    assert table_4.shares(row, first=0).mean() == pytest.approx(scores["average"])
    assert row["right"][0].count(".") == 40
    assert row["right"][2].count("1") == (said[2] == labels).sum()


def test_clips_that_are_all_right_add_alike_however_early_they_were_learned():
    row = {"right": ["11..", "11..", "1111"]}
    np.testing.assert_allclose(table_4.shares(row), 1)
    row = {"right": ["11..", "10..", "1011"]}  # the second one is forgotten
    assert table_4.shares(row).argmin() == 1


def test_figures_of_table_4_stand_where_the_paper_prints_them():
    figures = {
        ("fsdd", "convnet", "mtt"): 92.92,
        ("urbansound8k", "vgg11", "herding"): 26.74,
        ("ravdess", "convnet", "random"): 11.11,
    }
    assert {key: table_4.PAPER[key] for key in figures} == figures
    line = {"data": "ravdess", "network": "resnet18-16", "strategy": "eeil", "what": "mtt"}
    assert table_4.printed(line | {"cpc": 20}) == 39.31
    assert table_4.printed(line | {"cpc": 5}) is None


def test_a_memory_of_cepstra_has_three_times_the_clips(ddfad_data, tmp_path):
    cell = {"data": "fsdd", "split": "official", "network": "convnet-8", "cpc": 2, "seed": 0}
    X, y = _sets.recordings_of(cell | {"classes": "3+8"}, quick=True).train
    for what, n_clips in {"dm": 2, "dm-static": 6, "random-static": 6}.items():
        keeper = table_4.memory(cell | {"what": what}, quick=True, keep=tmp_path)
        few, labels = keeper.fit_resample(X, y)
        assert few.shape == (2 * n_clips, *X.shape[1:])
        assert sorted(labels) == [3] * n_clips + [8] * n_clips


def test_a_set_of_some_classes_is_made_of_their_clips_alone(ddfad_data, tmp_path):
    cell = {"data": "fsdd", "split": "official", "network": "convnet-8", "cpc": 1, "seed": 0}
    few = _sets.find(cell | {"what": "dm", "classes": "3+8"}, quick=True, keep=tmp_path)
    assert few.y.tolist() == [3, 8]
    assert few.provenance["n_clips_seen"] == 54
    assert [path.name for path in tmp_path.iterdir()] == [
        "fsdd-official-convnet-8-dm-1-0-3+8-quick.safetensors"
    ]
