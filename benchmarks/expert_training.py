"""Training experts: one against a plain PyTorch loop, several at once against one after the other.

    python benchmarks/expert_training.py --preset smoke|cpu|gpu

One expert is trained on one thread, or on the GPU, in turn with the reference: torch's own layers,
loop and optimiser, on the same clips, with the same augmentation or none. On a CPU its time is that
of the processor. Several are trained in one process a thread; before they are timed the processes
run. On a GPU they are trained side by side. Clips are random numbers of the digits' shape: what an
expert costs does not depend on them.
"""

from functools import partial
from time import perf_counter, process_time

import numpy as np
import torch
from _draw import bars
from _harness import CLASSES, SHAPE, THREADS, Results, command_line, in_fresh_process, network

BATCH = 50
PRESETS: dict = {
    "smoke": {"width": (8,), "n_clips": 100, "n_experts": 2, "repeats": 1},
    "cpu": {"width": (32, 128), "n_clips": 500, "n_experts": 4, "repeats": 3},
    "gpu": {"width": (32, 128), "n_clips": 2700, "n_experts": 12, "repeats": 7},
}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def one_expert(width, augmented, n_clips, repeats):
    """Measure an epoch of one expert: ours, and a plain loop."""
    from _reference import Augmented, convnet, train_expert

    from sklearn_ddfad import Augmentation
    from sklearn_ddfad.augmentation import NoAugmentation

    torch.set_num_threads(1)
    augmentation = Augmentation() if augmented else NoAugmentation()
    X, y = clips(n_clips)
    on_device = torch.tensor(X, device=DEVICE), torch.tensor(y, device=DEVICE)

    def reference():
        module = Augmented(convnet(SHAPE, CLASSES, width).to(DEVICE), augmentation)
        train_expert(module, *on_device, n_epochs=1, learning_rate=0.05, batch_size=BATCH)

    def ours():
        train(X, y, width, augmentation, [0], n_epochs=1, n_jobs=1)

    seconds, seconds_of_reference = in_turn([ours, reference], repeats)
    return {
        "seconds_per_clip": seconds / n_clips,
        "reference_seconds_per_clip": seconds_of_reference / n_clips,
        "ratio": seconds / seconds_of_reference,
    }


def several_experts(width, n_clips, n_experts, repeats, threads):
    """Measure a few epochs of several experts: at once, and one after the other."""
    from sklearn_ddfad import Augmentation

    X, y = clips(n_clips)
    experts = partial(train, X, y, width, Augmentation(), list(range(n_experts)), n_epochs=4)

    def one_by_one(n_threads):
        torch.set_num_threads(n_threads)
        experts(n_jobs=1)

    def at_once():
        torch.set_num_threads(threads)
        experts(n_jobs=None if DEVICE == "cuda" else threads)

    ways = [at_once, partial(one_by_one, 1), partial(one_by_one, threads)]
    together, alone, with_all_threads = in_turn(ways, repeats, clock=perf_counter)
    return {
        "seconds": together,
        "seconds_one_by_one": alone,
        "seconds_one_by_one_with_all_threads": with_all_threads,
        "ratio": together / alone,
        "times_the_throughput": alone / together,
    }


def train(X, y, width, augmentation, seeds, n_epochs, n_jobs):
    """Train experts as TrajectoryDistiller does."""
    from sklearn_ddfad._validation import Rows
    from sklearn_ddfad.distillation._experts import train_experts

    train_experts(
        Rows(X),
        y,
        network=network(f"convnet-{width}"),
        n_classes=CLASSES,
        seeds=seeds,
        epochs=range(n_epochs + 1),
        batch_size=BATCH,
        augmentation=augmentation,
        device=DEVICE,
        n_jobs=n_jobs,
    )


def clips(n_clips):
    """Return clips like spoken digits, and their classes."""
    X = np.random.default_rng(0).standard_normal((n_clips, *SHAPE)).astype(np.float32)
    return X, np.arange(n_clips) % CLASSES


def in_turn(functions, repeats, clock=None):
    """Call functions in turn; return the shortest time of each, its first call not counted."""
    clock = clock or (perf_counter if DEVICE == "cuda" else process_time)
    seconds = [[] for _ in functions]
    for _ in range(repeats + 1):
        for function, of_one in zip(functions, seconds, strict=True):
            started = clock()
            function()
            if DEVICE == "cuda":
                torch.cuda.synchronize()
            of_one.append(clock() - started)
    return [min(of_one[1:]) for of_one in seconds]


def measure_one(what, **options):
    """Measure one configuration in this process."""
    return {"one": one_expert, "several": several_experts}[what](**options)


def measure_all(options):
    results, preset = Results(f"expert_training_{options.preset}"), PRESETS[options.preset]
    n_clips, repeats = preset["n_clips"], preset["repeats"]
    one = partial(in_fresh_process, __file__, n_clips=n_clips, repeats=repeats)
    for width in preset["width"]:
        for augmented in (True, False):
            results.measure(one, what="one", width=width, augmented=augmented)
        several = partial(one, threads=options.threads)
        results.measure(several, what="several", width=width, n_experts=preset["n_experts"])
    bars(
        [{**row, "compared": compared(row)} for row in results.rows],
        "width",
        "ratio",
        results.picture(),
        by="compared",
        labels={"ratio": "time, as a share", "width": "channels"},
    )


def compared(row):
    """Return what a row's ratio compares, in words."""
    if row["what"] == "several":
        return f"{row['n_experts']} at once / one by one, on one thread"
    kind = "augmented" if row["augmented"] else "as they are"
    return f"one, clips {kind} / plain PyTorch"


def main():
    command_line(__doc__, PRESETS, measure_one, measure_all, THREADS)


if __name__ == "__main__":
    main()
