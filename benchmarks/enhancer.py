"""What the Time-Frequency Enhancer costs in front of an EfficientNetV2: time and parameters.

    python benchmarks/enhancer.py --preset smoke|cpu|gpu

The time is that of the gradient of a batch, forth and back, with and without an enhancer, by turns
in one process: the median over such pairs of how much longer it takes, with its interval of 95 %.
At most 3 % more time and 1 % more parameters are asked for. Backbones have batch normalisation, as
published, which costs the least. The paper tells the parameters alone, in millions, with 35
classes: "printed" beside "million", which are those of ``n_convolutions=4`` and ``hidden_size=32``.
"""

from functools import partial
from itertools import product
from time import perf_counter

import numpy as np
import torch
import torch.nn.functional as F
from _draw import bars
from _harness import CLASSES, SHAPE, THREADS, Results, command_line, print_table
from scipy.stats import bootstrap

ESC, COMMANDS = (1, 128, 512), (1, 128, 128)  # what the paper's networks read
SIZES, BLOCKS = ("b0", "b1", "b2"), (1, 2, 4)
PRESETS: dict = {  # sizes, width, batches of clips, seconds of each
    "smoke": (("b0",), 8, ((2, (1, 24, 20)),), 0),
    "cpu": (SIZES, 32, ((50, SHAPE), (16, COMMANDS), (8, ESC)), 40),
    "gpu": (SIZES, 32, ((48, ESC), (128, COMMANDS), (50, SHAPE)), 1.5),
}
MOST_TIME, MOST_PARAMETERS = 3.0, 1.0  # percent
PAPER = {1: 8.75, 2: 8.77, 4: 8.82}  # million parameters of TFE-ENV2, Table 2
PAPERS_CLASSES, LIKE_THE_PAPERS = 35, {"n_convolutions": 4, "hidden_size": 32}


def measure(size, width, n_blocks, batch_size, shape, seconds):
    """Measure one backbone with and without an enhancer."""
    from sklearn_ddfad import EfficientNetV2, EnhancedNetwork

    torch.manual_seed(0)
    backbone = partial(EfficientNetV2, size=size, width=width, normalization="batch")
    enhanced = EnhancedNetwork(shape, CLASSES, backbone=backbone, n_blocks=n_blocks)
    times = by_turns((enhanced.backbone, enhanced), batch_size, shape, seconds)
    more = 100 * (times[:, 1] / times[:, 0] - 1)
    low, high = bootstrap((more,), np.median, rng=np.random.default_rng(0)).confidence_interval
    n_plain, n_enhancer = parameters(enhanced.backbone), enhanced.enhancer.n_parameters
    return {
        "seconds": np.median(times[:, 0]),
        "seconds_enhanced": np.median(times[:, 1]),
        "pairs": len(times),
        "percent_more_time": np.median(more),
        "interval": [float(low), float(high)],
        "parameters": n_plain,
        "parameters_of_the_enhancer": n_enhancer,
        "percent_more_parameters": 100 * n_enhancer / n_plain,
    }


def by_turns(networks, batch_size, shape, seconds):
    """Return how long a gradient of each network takes, turn by turn for so long."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    X = torch.randn(batch_size, *shape, device=device)
    y = torch.arange(batch_size, device=device) % CLASSES
    runs = [partial(gradient, network.to(device), X, y) for network in networks]
    for run in runs:
        run()
    times: list = []
    started = perf_counter()
    while len(times) < 3 or perf_counter() - started < seconds:
        times.append([run() for run in runs])
    return np.array(times)


def gradient(network, X, y):
    """Compute the gradient of a batch, and return how long that took."""
    started = perf_counter()
    torch.autograd.grad(F.cross_entropy(network(X), y), list(network.parameters()))
    if X.is_cuda:
        torch.cuda.synchronize()
    return perf_counter() - started


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def counted():
    """Return how many million parameters TFE-ENV2 has, as the paper counts them, and as here."""
    from sklearn_ddfad import EfficientNetV2, TimeFrequencyEnhancer

    backbone = parameters(EfficientNetV2((3, 128, 128), PAPERS_CLASSES, size="b2"))
    return [
        {
            "n_blocks": n_blocks,
            "printed": printed,
            "million": (backbone + enhancer.n_parameters) / 1e6,
            "of_the_enhancer": enhancer.n_parameters,
        }
        for n_blocks, printed in PAPER.items()
        for enhancer in [TimeFrequencyEnhancer(n_blocks, **LIKE_THE_PAPERS)]
    ]


def measure_all(options):
    torch.set_num_threads(options.threads)
    results = Results(f"enhancer_{options.preset}")
    sizes, width, batches, seconds = PRESETS[options.preset]
    for (batch_size, shape), size, n_blocks in product(batches, sizes, BLOCKS):
        key = {"size": size, "width": width, "n_blocks": n_blocks, "batch_size": batch_size}
        results.measure(partial(measure, seconds=seconds), **key, shape=list(shape))
    results.save(counted=counted())
    show(results)


def show(results):
    """Draw and print what was measured."""
    table = {}
    for row in results.rows:
        shape = " x ".join(map(str, row["shape"]))
        line = table.setdefault(f"{row['size']}, {row['batch_size']} of {shape}", {})
        interval = " [{:.1f}, {:.1f}]".format(*row["interval"])
        line[f"time, {row['n_blocks']}"] = told(row["percent_more_time"], MOST_TIME) + interval
        line[f"parameters, {row['n_blocks']}"] = told(
            row["percent_more_parameters"], MOST_PARAMETERS
        )
    print_table("% more than the backbone, by blocks", table)
    for line in results.content["counted"]:
        print(line)
    labels = {"n_blocks": "blocks", "percent_more_time": "more time (%)"}
    bars(
        results.rows,
        "n_blocks",
        "percent_more_time",
        results.picture(),
        by="size",
        panels="batch_size",
        labels=labels,
    )


def told(percent, most):
    return f"{percent:+.2f}" + (" MISSED" if percent > most else "")


def main():
    command_line(__doc__, PRESETS, measure, measure_all, THREADS)


if __name__ == "__main__":
    main()
