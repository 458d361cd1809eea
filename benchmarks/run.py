"""Every benchmark of a preset, one after another; what is measured already is not measured again.

    DDFAD_DATA=folder python benchmarks/run.py --preset smoke|cpu|gpu [--part N] [--list]

Each part runs in a process of its own for at most ``--limit`` minutes and is then stopped, with all
that it started. Nothing measured is lost: the same command goes on from there. It ends with 0 when
all parts are through, and with 1 when one of them is not.
"""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import perf_counter

HERE = Path(__file__).parent
SCRIPTS = (
    "outer_iteration.py",
    "profile_step.py",
    "expert_training.py",
    "ranks.py",
    "feature_extraction.py",
    "reconstruction.py",
    "data_size.py",
    "time_to_accuracy.py",
    "main_job.py",
    "table_1.py",
    "table_2.py",
    "table_3.py",
    "table_4.py",
    "figure_5.py",
    "figure_6.py",
    "figure_7.py",
    "figure_8.py",
    "parameterizations.py",
    "round_trip.py",
    "duration.py",
    "enhancer.py",
    "esc.py",
)
PAPER_NETWORKS = ("convnet-128", "resnet18", "vgg11")
A_PART_EACH = (
    "main_job.py",
    "table_1.py",
    "table_2.py",
    "table_3.py",
    "table_4.py",
)  # of these networks
LIMITS = {"smoke": 5, "cpu": 12 * 60, "gpu": 8.5}  # minutes a part


def parts(preset):
    """Return the parts of a preset: command lines, without the preset."""
    by_network = A_PART_EACH if preset == "gpu" else ()
    return [
        [script, *arguments]
        for script in SCRIPTS
        for arguments in (
            [["--network", network] for network in PAPER_NETWORKS] if script in by_network else [[]]
        )
    ]


def run(command, seconds):
    """Run a command for so long at most; return its exit status, or None if it was stopped.

    It gets a session of its own, so that it can be stopped together with what it started.
    """
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            return process.wait(seconds)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                return None
            raise


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=LIMITS, default="smoke")
    parser.add_argument("--part", type=int, action="append", help="run this part only, from 0")
    parser.add_argument("--list", action="store_true", help="list the parts, run nothing")
    parser.add_argument("--limit", type=float, help="minutes that a part may take")
    parser.add_argument("--results", help="where to write, instead of benchmarks/results")
    options = parser.parse_args()
    if options.results:
        os.environ["DDFAD_RESULTS"] = str(Path(options.results).absolute())
    limit = 60 * (options.limit or LIMITS[options.preset])
    chosen = [
        (i, command)
        for i, command in enumerate(parts(options.preset))
        if options.part is None or i in options.part
    ]
    outcomes = []
    for i, (script, *arguments) in chosen:
        line = [script, "--preset", options.preset, *arguments]
        print(f"part {i}:", *line, flush=True)
        if options.list:
            continue
        started = perf_counter()
        status = run([sys.executable, str(HERE / script), *line[1:]], limit)
        outcome = {0: "done", None: "stopped at its limit, run it again"}.get(status, "failed")
        outcomes.append(outcome)
        print(f"part {i}: {outcome}, {perf_counter() - started:.0f} s", flush=True)
    sys.exit(int(any(outcome != "done" for outcome in outcomes)))


if __name__ == "__main__":
    main()
