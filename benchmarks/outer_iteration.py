"""One outer iteration of trajectory matching: time and peak memory, ours against the reference.

    python benchmarks/outer_iteration.py --preset smoke|cpu|gpu

The reference is what published code does (``_reference.py``). "ours" keeps the graphs that the
default budget allows, "ours, all graphs" those of all steps. Every figure comes from a process of
its own. Memory is the peak above what was resident after one iteration on tiny clips, when all code
is loaded and compiled; of the device on a GPU. Batches of 50 clips, of the whole set where it is
smaller.
"""

from functools import partial
from itertools import product
from pathlib import Path
from time import perf_counter

import torch
from _draw import curves
from _harness import (
    CLASSES,
    SHAPE,
    THREADS,
    Results,
    command_line,
    forget_peak_device_memory,
    in_fresh_process,
    network,
    peak_device_memory,
    peak_memory,
)

TINY = (3, 16, 16)
WIDTHS, DEEP = ("convnet-32", "convnet-128"), ("resnet18", "vgg11")
PRESETS: dict = {
    "smoke": {"networks": ("convnet-4",), "cpc": (1,), "steps": (2, 4)},
    "cpu": {"networks": WIDTHS, "cpc": (1, 10, 50), "steps": (5, 10, 20, 40, 80)},
    "gpu": {"networks": WIDTHS + DEEP, "cpc": (1, 10, 50), "steps": (5, 10, 20, 40, 80)},
}
SIDES = ("reference", "ours", "ours, all graphs")
MOST_MEGABYTES = 13_000  # of a graph of all steps, on a CPU: more is not tried
MOST_OF_A_GPU = 0.85  # of its memory


def ours(side, name, shape, steps, cpc, device):
    """Return a function that computes one outer gradient as TrajectoryDistiller does."""
    from sklearn_ddfad._training import FunctionalNetwork
    from sklearn_ddfad.augmentation import NoAugmentation
    from sklearn_ddfad.distillation._trajectory import Segment, trajectory_loss

    clips, labels, batches = problem(shape, steps, cpc, device)
    network = FunctionalNetwork(module(name, shape).to(device))
    start = network.initial_parameters()
    segment = Segment(start, start + 0.01 * torch.randn_like(start))
    alpha = torch.tensor(0.01, device=device, requires_grad=True)
    clips.requires_grad_()
    plan = [(indices, None) for indices in batches]
    budget = 2**60 if side == "ours, all graphs" else None

    def run():
        loss = trajectory_loss(
            network, segment, clips, labels, alpha, plan, NoAugmentation(), budget
        )
        torch.autograd.grad(loss, (clips, alpha))

    return run


def reference(side, name, shape, steps, cpc, device):
    """Return a function that computes the same as published code does."""
    from _reference import convnet, outer_gradient

    from sklearn_ddfad._training import _with_layers_of_torch

    clips, labels, batches = problem(shape, steps, cpc, device)
    kind, _, width = name.partition("-")
    if kind == "convnet":
        network = convnet(shape, CLASSES, int(width)).to(device)
    else:  # the same architecture as ours, of torch's own layers
        network = _with_layers_of_torch(module(name, shape)).to_empty(device=device)
    start = [torch.randn_like(p) / 10 for p in network.parameters()]
    target = [p + 0.01 * torch.randn_like(p) for p in start]
    alpha = torch.tensor(0.01, device=device)
    return partial(outer_gradient, network, start, target, clips, labels, alpha, batches)


def module(name, shape):
    """Return the network called `name`: "convnet-32" is a ConvNet of that width."""
    from sklearn_ddfad.networks import make_network

    return make_network(network(name), shape, CLASSES)


def problem(shape, steps, cpc, device):
    """Return clips, labels, and which clips each step sees."""
    torch.manual_seed(0)
    clips = torch.randn(cpc * CLASSES, *shape, device=device)
    labels = torch.arange(len(clips), device=device) % CLASSES
    batches = []
    while len(batches) < steps:
        batches += torch.randperm(len(clips), device=device).split(50)
    return clips, labels, batches[:steps]


def measure(side, network, steps, cpc, threads):
    """Measure one configuration in this process."""
    from sklearn_ddfad._memory import freed_memory_kept

    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    prepare = reference if side == "reference" else ours
    if side != "reference":  # as a fit of TrajectoryDistiller does, for its whole length
        freed_memory_kept().__enter__()
    prepare(side, network, TINY, 2, 1, device)()
    before = resident(device)
    run = prepare(side, network, SHAPE, steps, cpc, device)
    seconds = []
    while len(seconds) < 2 or (sum(seconds) < 3 and len(seconds) < 20):
        started = perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(perf_counter() - started)
    return {"seconds": min(seconds), "megabytes": peak(device) - before}


def resident(device):
    """Return the memory in use now, in MB."""
    if device == "cuda":
        forget_peak_device_memory()
        return torch.cuda.memory_allocated() / 2**20
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def peak(device):
    """Return the largest memory in use so far, in MB."""
    return peak_device_memory() if device == "cuda" else peak_memory()


def fits(side, rows, steps):
    """Tell from fewer steps whether a graph of all steps has a chance in memory."""
    known = [row for row in rows if row["side"] == side and row["steps"] < steps]
    if side == "ours" or not known:
        return True
    most = MOST_MEGABYTES
    if torch.cuda.is_available():
        most = MOST_OF_A_GPU * torch.cuda.get_device_properties(0).total_memory / 2**20
    return known[-1]["megabytes"] * steps / known[-1]["steps"] < most


def compare(rows):
    """Return time and memory of the reference over ours, for each configuration that has both."""
    found = {(r["side"], r["network"], r["cpc"], r["steps"]): r for r in rows}
    comparison = []
    for (side, *configuration), row in found.items():
        plain = found.get(("reference", *configuration))
        if side != "reference" and plain:
            comparison.append(
                dict(zip(("network", "cpc", "steps"), configuration, strict=True))
                | {
                    "side": side,
                    "times_faster": round(plain["seconds"] / row["seconds"], 2),
                    "times_less_memory": round(plain["megabytes"] / row["megabytes"], 2),
                }
            )
    return comparison


def measure_all(options):
    grid, results = PRESETS[options.preset], Results(f"outer_iteration_{options.preset}")
    one = partial(in_fresh_process, __file__, threads=options.threads)
    for name, cpc in product(grid["networks"], grid["cpc"]):
        rows = []
        for steps, side in product(grid["steps"], SIDES):
            if fits(side, rows, steps):
                key = {"network": name, "cpc": cpc, "steps": steps, "side": side}
                rows.append(results.measure(one, **key))
        results.save(comparison=compare(results.rows))
    labels = {"steps": "student steps", "seconds": "time (s)", "megabytes": "memory (MB)"}
    for what in ("seconds", "megabytes"):
        curves(
            results.rows,
            "steps",
            what,
            results.picture("time" if what == "seconds" else "memory"),
            by="side",
            panels=["network", "cpc"],
            labels=labels,
        )
    for line in results.content["comparison"]:
        print(line)


def main():
    command_line(__doc__, PRESETS, measure, measure_all, THREADS)


if __name__ == "__main__":
    main()
