"""One outer iteration of trajectory matching: time and peak memory, ours against the reference.

    python benchmarks/outer_iteration.py --preset smoke|cpu|gpu

Every figure comes from a process of its own. Memory is the peak above what was resident before the
first iteration, of the device on a GPU. Batches of 50 clips, of the whole set where it is smaller.
"""

import argparse
import json
from itertools import product
from pathlib import Path
from time import perf_counter

import torch
from _harness import Results, in_fresh_process, peak_memory

SHAPE, CLASSES = (3, 16, 54), 10
PRESETS: dict = {
    "smoke": {"steps": (5, 10), "cpc": (1,), "width": (8,)},
    "cpu": {"steps": (5, 10, 20, 40, 80), "cpc": (1, 10, 50), "width": (32, 128)},
    "gpu": {"steps": (5, 10, 20, 40, 80), "cpc": (1, 10, 50), "width": (32, 128)},
}
MOST_FLOATS = 2.5e9  # a reference graph beyond this many numbers (10 GB) is not tried on a CPU


def problem(steps, cpc, width, device):
    """Return what both sides need: segment, clips, labels, and the clips of each step."""
    torch.manual_seed(0)
    clips = torch.randn(cpc * CLASSES, *SHAPE, device=device)
    labels = torch.arange(len(clips), device=device) % CLASSES
    batches = []
    while len(batches) < steps:
        batches += torch.randperm(len(clips), device=device).split(50)
    return clips, labels, batches[:steps]


def ours(steps, cpc, width, device, memory_budget):
    """Return a function that computes one outer gradient as TrajectoryDistiller does."""
    from sklearn_ddfad import ConvNet
    from sklearn_ddfad._training import FunctionalNetwork
    from sklearn_ddfad.augmentation import NoAugmentation
    from sklearn_ddfad.distillation._trajectory import Segment, trajectory_loss

    clips, labels, batches = problem(steps, cpc, width, device)
    network = FunctionalNetwork(ConvNet(SHAPE, CLASSES, width=width).to(device))
    start = network.initial_parameters()
    segment = Segment(start, start + 0.01 * torch.randn_like(start))
    alpha = torch.tensor(0.01, device=device, requires_grad=True)
    clips.requires_grad_()
    plan = [(indices, None) for indices in batches]

    def run():
        loss = trajectory_loss(
            network, segment, clips, labels, alpha, plan, NoAugmentation(), memory_budget
        )
        torch.autograd.grad(loss, (clips, alpha))

    return run


def reference(steps, cpc, width, device, memory_budget):
    """Return a function that computes the same as published code does."""
    from _reference import convnet, outer_gradient

    clips, labels, batches = problem(steps, cpc, width, device)
    module = convnet(SHAPE, CLASSES, width).to(device)
    start = [p.detach().clone() for p in module.parameters()]
    target = [p + 0.01 * torch.randn_like(p) for p in start]
    alpha = torch.tensor(0.01, device=device)
    return lambda: outer_gradient(module, start, target, clips, labels, alpha, batches)


def measure_one(side, steps, cpc, width, threads, memory_budget=2**30):
    """Measure one configuration in this process."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(threads)
    run = {"ours": ours, "reference": reference}[side](steps, cpc, width, device, memory_budget)
    before = resident(device)
    run()
    seconds = []
    while len(seconds) < 2 or (sum(seconds) < 2 and len(seconds) < 20):
        started = perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(perf_counter() - started)
    return {"seconds": min(seconds), "megabytes": peak(device) - before}


def resident(device):
    """Return the memory in use now, in MB."""
    if device == "cuda":
        return torch.cuda.memory_allocated() / 2**20
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def peak(device):
    """Return the largest memory in use so far, in MB."""
    return torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else peak_memory()


def fits(steps, cpc, width):
    """Tell whether the reference's graph has a chance in 16 GB (8 images a layer, twice)."""
    batch = min(50, cpc * CLASSES)
    return torch.cuda.is_available() or (
        steps * batch * width * SHAPE[1] * SHAPE[2] * 1.33 * 14 < MOST_FLOATS
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default="smoke")
    parser.add_argument("--one")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_one(**json.loads(options.one))))
        return
    results = Results(f"outer_iteration_{options.preset}")
    grid = PRESETS[options.preset]
    for width, cpc, steps in product(grid["width"], grid["cpc"], grid["steps"]):
        for side in ("reference", "ours", "ours, no budget"):
            key = {"side": side, "steps": steps, "cpc": cpc, "width": width}
            if side == "reference" and not fits(steps, cpc, width):
                continue
            budget = 0 if "no budget" in side else 2**30
            results.measure(
                lambda side, budget=budget, **key: in_fresh_process(
                    __file__,
                    side=side.split(",")[0],
                    threads=options.threads,
                    memory_budget=budget,
                    **key,
                ),
                **key,
            )


if __name__ == "__main__":
    main()
