"""Ten times the data: peak memory of a fit, and time of an outer iteration.

    python benchmarks/data_size.py --preset smoke|cpu|gpu

Features are written to a temporary file, in the folder that TMPDIR names, and handed to the
distiller as a ``numpy.memmap``. Memory is the largest anonymous memory of the process (RssAnon,
looked up every 5 ms): pages of a mapped file are the kernel's to keep or to drop. The time is the
median over the iterations of a fit.
"""

from contextlib import contextmanager
from math import prod
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory
from threading import Event, Thread
from time import perf_counter

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
    peak_device_memory,
    timed_iterations,
)
from numpy.lib.format import open_memmap

CPC = 10
PRESETS: dict = {
    "smoke": {"gigabytes": (0.006, 0.06), "width": 4, "steps": 2, "iterations": 8},
    "cpu": {"gigabytes": (0.6, 6.0), "width": 16, "steps": 20, "iterations": 30},
    "gpu": {"gigabytes": (0.6, 6.0), "width": 128, "steps": 20, "iterations": 30},
}
WARM_UP = 1
CHUNK = 1000  # clips written at a time


def write(path, n_clips):
    """Write clips of classes that differ, a few at a time; return their labels."""
    X = open_memmap(path, "w+", np.float32, (n_clips, *SHAPE))
    y = np.arange(n_clips) % CLASSES
    rng = np.random.default_rng(0)
    for start in range(0, n_clips, CHUNK):
        labels = y[start : start + CHUNK]
        clips = rng.standard_normal((len(labels), *SHAPE), np.float32)
        clips[np.arange(len(labels)), 0, labels] += 1
        X[start : start + CHUNK] = clips
    X.flush()
    return y


@contextmanager
def anonymous_memory():
    """Yield a list that holds the largest anonymous memory of this process, in MB, at the end."""
    peak, done = [0.0], Event()

    def look():
        while not done.wait(0.005):
            peak[0] = max(peak[0], resident())

    watch = Thread(target=look)
    watch.start()
    try:
        yield peak
    finally:
        done.set()
        watch.join()


def resident():
    """Return the anonymous memory of this process now, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def measure_one(gigabytes, width, steps, iterations, threads):
    """Fit once to so much data, in this process."""
    torch.set_num_threads(threads)
    distiller, seconds = timed_iterations(
        CPC,
        width,
        warm_up=WARM_UP,
        counted=iterations,
        student_steps=steps,
        validation_fraction=0.001,
    )
    with TemporaryDirectory() as folder:
        free, path = disk_usage(folder).free / 1e9, Path(folder) / "features.npy"
        if gigabytes > 0.9 * free:
            raise SystemExit(f"{folder} has {free:.3g} GB left, too little for {gigabytes} GB.")
        n_clips = int(gigabytes * 1e9 / (4 * prod(SHAPE)))
        y = write(path, n_clips)
        started = perf_counter()
        with anonymous_memory() as peak:
            distiller.fit(np.load(path, mmap_mode="r"), y)
    return {
        "clips": n_clips,
        "megabytes": peak[0],
        "device_megabytes": peak_device_memory(),
        "seconds": seconds(),
        "seconds_of_fit": perf_counter() - started,
    }


def growth(rows):
    """Return by how much memory and time grow from the smallest set to the largest."""
    few, *_, many = sorted(rows, key=lambda row: row["gigabytes"])
    return {key: many[key] / few[key] - 1 for key in ("megabytes", "seconds")}


def measure_all(options):
    preset, results = dict(PRESETS[options.preset]), Results(f"data_size_{options.preset}")
    sizes = preset.pop("gigabytes")
    for gigabytes in sizes:
        results.measure(
            lambda **key: in_fresh_process(__file__, **key, threads=options.threads),
            gigabytes=gigabytes,
            **preset,
        )
    grown = growth(results.rows)
    results.save(growth=grown)
    print(
        f"memory grows by {grown['megabytes']:.1%}, time of an iteration by {grown['seconds']:.1%}"
    )
    labels = {
        "gigabytes": "features on disk (GB)",
        "megabytes": "peak anonymous memory of a fit (MB)",
        "seconds": "time of an outer iteration (s)",
    }
    for what in ("megabytes", "seconds"):
        bars(results.rows, "gigabytes", what, results.picture(what), labels=labels)


def main():
    command_line(__doc__, PRESETS, measure_one, measure_all, THREADS)


if __name__ == "__main__":
    main()
