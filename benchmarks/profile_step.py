"""Where the time of a student step goes, and how far it is from what convolutions alone would take.

    python benchmarks/profile_step.py --preset smoke|cpu|gpu

A step is one of twenty, forth and back, all graphs kept, on batches of 50 clips. The limit is the
time of its convolutions alone (three for the gradient, six for the two products with λ, less those
that a first layer does without), each timed by itself on the same arrays. The peaks are those of
one large matrix product and of the convolution of the second layer.
"""

from functools import partial
from time import perf_counter

import torch
from _draw import bars
from _harness import SHAPE, THREADS, Results, command_line, in_fresh_process
from outer_iteration import ours

PRESETS = {"smoke": (4,), "cpu": (32, 128), "gpu": (32, 128)}
BATCH, STEPS = 50, 20
KINDS = {  # of what torch's profiler lists, by its own time
    "convolution": ("convolution", "conv2d", "aten::mm", "aten::bmm", "aten::addmm", "_Convolve"),
    "normalisation, ReLU, pooling": ("_Normalize", "pool", "threshold", "relu", "clamp"),
    "element-wise": ("aten::add", "aten::mul", "aten::sub", "aten::copy", "aten::sum", "aten::fill",
                     "aten::index", "aten::div", "aten::addc", "aten::cat"),
}  # fmt: skip


def measure(width, threads, steps=STEPS):
    """Measure one width in this process."""
    from sklearn_ddfad._memory import freed_memory_kept

    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with freed_memory_kept():
        run = ours("ours, all graphs", f"convnet-{width}", SHAPE, steps, 10, device)
        step = best(run) / steps
        limit, flops = convolutions(width, device)
        product = matrix_product(device)
        shares = profiled(run)
    convolution_peak = peak_of_second_layer(width, device)
    return {
        "ms_a_step": 1e3 * step,
        "ms_of_convolutions_alone": 1e3 * limit,
        "times_the_limit": step / limit,
        "gflops_a_second": flops / step / 1e9,
        "share_of_convolution_peak": flops / step / convolution_peak,
        "share_of_matrix_product_peak": flops / step / product,
        "shares": shares,
    }


def best(function, seconds=3.0):
    """Return the shortest time that `function` took."""
    times = []
    function()
    while len(times) < 3 or sum(times) < seconds:
        started = perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(perf_counter() - started)
    return min(times)


def layers(width):
    """Yield the planes and the image that go into each convolution."""
    planes, height, breadth = SHAPE
    for _ in range(3):
        yield planes, height, breadth
        planes, height, breadth = width, height // 2, breadth // 2


def convolutions(width, device):
    """Return seconds and floating-point operations of the convolutions of a step."""
    seconds = flops = 0.0
    for planes, height, breadth in layers(width):
        forth, by_input, by_weight = single_convolutions(planes, height, breadth, width, device)
        first = planes == SHAPE[0]
        # The gradient; then u = x * V + u * W, two by the input and two by the weight.
        counts = (2, 2, 2) if first else (3, 3, 3)
        for count, function in zip(counts, (forth, by_input, by_weight), strict=True):
            seconds += count * best(function, 0.3)
            flops += count * operations(planes, height, breadth, width)
    return seconds, flops


def operations(planes, height, breadth, width):
    return 2 * BATCH * height * breadth * 9 * planes * width


def single_convolutions(planes, height, breadth, width, device):
    """Return a convolution and its derivatives by input and weight, as functions of nothing."""
    from sklearn_ddfad.networks._layers import _convolution_backward

    last = {"memory_format": torch.channels_last}
    x = torch.randn(BATCH, planes, height, breadth, device=device).contiguous(**last)
    dy = torch.randn(BATCH, width, height, breadth, device=device).contiguous(**last)
    weight = torch.randn(width, planes, 3, 3, device=device)
    backward = partial(_convolution_backward, dy, x, weight, ((1, 1), (1, 1), (1, 1), 1))
    return (
        partial(torch.conv2d, x, weight, None, 1, 1),
        partial(backward, needs_dw=False),
        partial(backward, needs_dx=False),
    )


def peak_of_second_layer(width, device):
    """Return floating-point operations a second of the convolution that most time goes into."""
    _, second, _ = layers(width)
    forth, *_ = single_convolutions(*second, width, device)
    return operations(*second, width) / best(forth, 0.5)


def matrix_product(device, size=2048):
    """Return floating-point operations a second of a product of two large matrices."""
    a = torch.randn(size, size, device=device)
    return 2 * size**3 / best(lambda: a @ a, 0.5)


def profiled(run):
    """Return the share of each kind of work in percent."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    on_gpu = torch.cuda.is_available()
    kinds = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]
    with profile(activities=kinds) as profiler:
        run()
    times = dict.fromkeys([*KINDS, "autograd and Python"], 0.0)
    for event in profiler.key_averages():
        if on_gpu and event.device_type != DeviceType.CPU:
            continue  # a kernel: its time is that of the operation that called it
        own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        kind = next((k for k, names in KINDS.items() if any(n in event.key for n in names)), None)
        times[kind or "autograd and Python"] += own
    total = sum(times.values())
    return {kind: round(100 * time / total, 1) for kind, time in times.items()}


def measure_all(options):
    results = Results(f"profile_step_{options.preset}")
    steps = 2 if options.preset == "smoke" else STEPS
    for width in PRESETS[options.preset]:
        for threads in sorted({1, options.threads}):
            results.measure(
                partial(in_fresh_process, __file__, steps=steps), width=width, threads=threads
            )
    rows = [
        {"width": row["width"], "threads": row["threads"], "kind": kind, "share": share}
        for row in results.rows
        for kind, share in row["shares"].items()
    ]
    labels = {"share": "share of a step (%)"}
    bars(rows, ["width", "threads"], "share", results.picture(), by="kind", labels=labels)


def main():
    command_line(__doc__, PRESETS, measure, measure_all, THREADS)


if __name__ == "__main__":
    main()
