"""An iteration with several students: in one process, and in several that share them out.

    python benchmarks/ranks.py --preset smoke|cpu|gpu

Processes have the threads in equal parts, on CUDA each a GPU; the students are as many as the most
processes, and at least two. The time is the median over the iterations of a fit, with all that the
processes tell each other.
"""

import json
import os
import subprocess
import sys
from itertools import product

import numpy as np
import torch
from _draw import bars
from _harness import (
    CLASSES,
    SHAPE,
    THREADS,
    Results,
    command_line,
    in_fresh_process,
    timed_iterations,
)

PRESETS: dict = {
    "smoke": {"cpc": (1,), "width": (8,), "processes": (1, 2), "steps": 2},
    "cpu": {"cpc": (1, 10), "width": (32, 128), "processes": (1, 2), "steps": 20},
    "gpu": {"cpc": (1, 10, 50), "width": (32, 128), "processes": (1, 2, 4, 8), "steps": 20},
}
WARM_UP, COUNTED = 2, 6


def measure_one(students, cpc, width, steps, threads):
    """Measure one configuration in this process; of several, the first one tells."""
    torch.set_num_threads(max(threads // int(os.environ.get("WORLD_SIZE", 1)), 1))
    rng = np.random.default_rng(0)
    y = np.arange((cpc + 1) * CLASSES) % CLASSES
    X = rng.standard_normal((len(y), *SHAPE)).astype(np.float32)
    distiller, seconds = timed_iterations(
        cpc,
        width,
        warm_up=WARM_UP,
        counted=COUNTED,
        student_steps=steps,
        validation_fraction=0,
        n_students=students,
    )
    distiller.fit(X, y)
    return {"seconds": seconds()} if os.environ.get("RANK", "0") == "0" else None


def measure(processes, **options):
    """Measure one configuration in so many fresh processes."""
    if processes == 1:
        return in_fresh_process(__file__, **options)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), __file__, "--one", json.dumps(options)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure_all(options):
    preset, results = PRESETS[options.preset], Results(f"ranks_{options.preset}")
    most = torch.cuda.device_count() if torch.cuda.is_available() else options.threads
    processes = [n for n in preset["processes"] if n <= most]
    students = max(*processes, 2)
    for width, cpc, n in product(preset["width"], preset["cpc"], processes):
        results.measure(
            lambda **key: measure(**key, steps=preset["steps"], threads=options.threads),
            processes=n,
            students=students,
            cpc=cpc,
            width=width,
        )
    bars(
        results.rows,
        "cpc",
        "seconds",
        results.picture(),
        by="processes",
        panels="width",
        labels={"seconds": "time of an iteration (s)", "cpc": "clips a class"},
        scale="log",
    )


def main():
    command_line(__doc__, PRESETS, measure_one, measure_all, THREADS)


if __name__ == "__main__":
    main()
