"""What distilling AudioSet would take, worked out from measured costs: tables for docs/scale.rst.

    python benchmarks/scale.py

Reads the JSON files in ``benchmarks/results/`` and writes ``docs/scale_table.inc``. What has not
been measured yet is written as such, and so is all that follows from it.
"""

import json
from functools import cache
from math import ceil, isnan, nan, prod
from pathlib import Path

import torch
from _harness import RESULTS
from _reference import convnet
from torch.utils.flop_counter import FlopCounterMode

TARGET = Path(__file__).parents[1] / "docs" / "scale_table.inc"
CLIPS, SECONDS, CLASSES, SAMPLE_RATE, HOP = 2_000_000, 10, 527, 16000, 0.025
SHAPE = (3, 16, round(SECONDS / HOP) + 1)
DIGITS, N_DIGITS = (3, 16, 54), 10  # what was measured
WIDTH, CPC, STUDENT_STEPS, BATCH = 128, 10, 20, 50
N_EXPERTS, EPOCHS = 16, 4
UPDATES = 200 * STUDENT_STEPS * BATCH // 100  # of a clip, by default, at ten digits a class
GPU_RATE = 10e12  # operations a second, where no GPU was measured
MACHINES = {"2 cores": (2, 0), "1 GPU": (16, 1), "8 GPUs": (128, 8), "64 GPUs": (1024, 64)}


@cache
def count(shape, n_classes):
    """Return the operations of a ConvNet on one clip, on the way forth, and its parameters."""
    network = convnet(shape, n_classes, WIDTH)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, *shape))
    return counter.get_total_flops(), sum(p.numel() for p in network.parameters())


def figure(device, name, key, **values):
    """Return a measured figure, of the first row with these values; NaN where there is none."""
    path = RESULTS / device / f"{name}.json"
    rows = json.loads(path.read_text())["rows"] if path.is_file() else []
    return next((row[key] for row in rows if all(row.get(k) == v for k, v in values.items())), nan)


def measured(device, preset):
    """Return what was measured on a kind of device, in seconds.

    A second of sound on one core; a digit in a step of one of several experts trained at once; and
    one in a step of a student, with the way back.
    """
    digits = {"source": "fsdd", "n_clips": 3000, "seconds": 0.6}
    milliseconds = figure(device, f"feature_extraction_{preset}", "ours_ms", **digits)
    experts = f"expert_training_{preset}"
    alone = figure(device, experts, "seconds_per_clip", what="one", width=WIDTH, augmented=True)
    at_once = figure(device, experts, "times_the_throughput", what="several", width=WIDTH)
    setting = {"side": "ours", "cpc": CPC, "steps": STUDENT_STEPS}
    setting["network"] = f"convnet-{WIDTH}"
    iteration = figure(device, f"outer_iteration_{preset}", "seconds", **setting)
    return {
        "sound": milliseconds / 1000 / 0.6,
        "expert": alone / at_once,
        "student": iteration / (STUDENT_STEPS * BATCH),
    }


def all_costs():
    """Return the costs on the CPU and on a GPU, and what the GPU is."""
    cpu = measured("cpu", "cpu")
    for folder in sorted(RESULTS.glob("nvidia-*")):
        gpu = measured(folder.name, "gpu")
        if not isnan(gpu["expert"] + gpu["student"]):
            return cpu, gpu, folder.name
    # A step of training is worth three ways forth. The share of a student's step stays the same.
    faster = GPU_RATE * cpu["expert"] / (3 * count(DIGITS, N_DIGITS)[0])
    assumed = {kind: cpu[kind] / faster for kind in ("expert", "student")}
    return cpu, assumed, f"assumed: {GPU_RATE / 1e12:g} TFLOP/s"


def larger():
    """Return how many times the operations of a digit a clip takes."""
    return count(SHAPE, CLASSES)[0] / count(DIGITS, N_DIGITS)[0]


def durations(costs, n_cores, n_gpus, sound):
    """Return the seconds of each stage: features, experts, matching."""
    experts_each, at_once = ceil(N_EXPERTS / max(n_gpus, 1)), max(n_gpus, 1)
    return [
        CLIPS * SECONDS * sound / n_cores,
        experts_each * EPOCHS * CLIPS * larger() * costs["expert"],
        UPDATES * CPC * CLASSES / at_once * larger() * costs["student"],
    ]


def sizes():
    """Return what has to be kept, in bytes."""
    clip, parameters = 4 * prod(SHAPE), 4 * count(SHAPE, CLASSES)[1]
    distilled = CPC * CLASSES * clip
    return {
        "features of all clips": (CLIPS * clip, "disk, memory-mapped"),
        f"trajectories of {N_EXPERTS} experts": (
            N_EXPERTS * (EPOCHS + 1) * parameters,
            "disk, memory-mapped",
        ),
        f"{CPC * CLASSES} distilled clips": (distilled, "the result"),
        "the same with gradient, Adam's two moments and the average": (5 * distilled, "GPU"),
        f"a student's parameters over {STUDENT_STEPS} steps, at most": (
            (STUDENT_STEPS + 1) * parameters,
            "GPU",
        ),
    }


# ------------------------------------------------------------------------------------------
# In words
# ------------------------------------------------------------------------------------------


def in_units(value, *units):
    """Return a quantity in the largest unit that it has one of."""
    if isnan(value):
        return "not measured"
    name, unit = next((unit for unit in units if value >= unit[1]), units[-1])
    return f"{value / unit:.{0 if value >= 100 * unit else 1}f} {name}"


def duration(seconds):
    """Return a time, in words."""
    large = ("days", 86400), ("hours", 3600), ("minutes", 60)
    return in_units(seconds, *large, ("s", 1), ("ms", 1e-3), ("µs", 1e-6))


def size(n_bytes):
    """Return a number of bytes, in words."""
    return in_units(n_bytes, ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


def table(title, *lines):
    """Return a table in reStructuredText, the first line its header."""
    text = [f".. list-table:: {title}", "   :header-rows: 1", ""]
    for cells in lines:
        text += [f"   {'*' if i == 0 else ' '} - {cell}" for i, cell in enumerate(cells)]
    return "\n".join([*text, "", ""])


def tables():
    """Return all tables: measured, assumed, worked out."""
    cpu, gpu, what = all_costs()
    parameters = count(SHAPE, CLASSES)[1]
    stages = {
        machine: durations(gpu if gpus else cpu, cores, gpus, cpu["sound"])
        for machine, (cores, gpus) in MACHINES.items()
    }
    names = "hearing all clips once", f"{N_EXPERTS} experts", "matching"
    return (
        table(
            "Measured",
            ("", "CPU, 2 cores", f"GPU ({what})"),
            ("a second of sound through FD-MFCC, on one core", duration(cpu["sound"]), ""),
            (
                f"a spoken digit in a step of an expert of width {WIDTH}, several at once",
                *(duration(costs["expert"]) for costs in (cpu, gpu)),
            ),
            (
                "the same in a step of a student, there and back",
                *(duration(costs["student"]) for costs in (cpu, gpu)),
            ),
        )
        + table(
            "The task, and what is assumed",
            ("", ""),
            (
                "operations of a network on a clip, counted",
                f"{larger():.1f} × a digit's",
            ),
            ("recordings", f"{CLIPS:,} of {SECONDS} s at {SAMPLE_RATE} Hz, {CLASSES} classes"),
            ("``FDMFCC(hop_length=…)``", f"{HOP} s: clips of {' × '.join(map(str, SHAPE))}"),
            ("network", f"ConvNet of width {WIDTH}: {parameters / 1e6:.1f} million parameters"),
            ("``cpc``", CPC),
            ("``n_experts``", N_EXPERTS),
            ("``expert_epochs``, epochs of all clips", EPOCHS),
            ("updates of each distilled clip", f"{UPDATES}, as on spoken digits"),
        )
        + table(
            "Worked out: time",
            (
                "",
                *(
                    f"{machine}, {MACHINES[machine][0]} cores" if MACHINES[machine][1] else machine
                    for machine in stages
                ),
            ),
            *(
                (name, *(duration(stages[machine][i]) for machine in stages))
                for i, name in enumerate(names)
            ),
            ("together", *(duration(sum(seconds)) for seconds in stages.values())),
        )
        + table(
            "Worked out: space",
            ("", "", "where"),
            *((name, size(n_bytes), where) for name, (n_bytes, where) in sizes().items()),
            (
                "read in a second, by an expert on a GPU",
                size(4 * prod(SHAPE) / (larger() * gpu["expert"])),
                "disk",
            ),
        )
    )


def text():
    """Return what is included in the documentation."""
    return ".. Written by benchmarks/scale.py.\n\n" + tables()


if __name__ == "__main__":
    TARGET.write_text(text())
    print(text())
