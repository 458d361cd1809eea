"""The benchmarks run: each with its smallest preset, in this process, into a folder of its own."""

import ast
import importlib
import json
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(FOLDER))

import _draw  # noqa: E402
import _harness  # noqa: E402
import run  # noqa: E402
import scale  # noqa: E402

NO_BENCHMARKS = {"run.py", "scale.py"}


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    """An empty folder for what is measured; the threads as they were afterwards."""
    monkeypatch.setenv("DDFAD_RESULTS", str(tmp_path))
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
