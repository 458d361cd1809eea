"""Table 3: time and memory of each method, by clips per class, beside the paper's.

    DDFAD_DATA=folder python benchmarks/table_3.py --preset smoke|cpu|gpu [--keep FOLDER]
        [--data fsdd] [--network convnet-32] [--what mtt] [--cpc 10]

What making a set takes with the method's defaults, from features in memory to the set returned,
experts and the choice of the best iterate included; reading recordings and judging are not. Each
set is made in a process of its own. The rows of Table 1 tell what theirs took, with one thread each
on a CPU; what is not there is made now. Sets of all sizes share their experts: those that found
them trained already are charged for them as the first one was. The time of a fit that was stopped
on its way is not known, nor where experts were trained for another table. Memory is the most that
the process held, libraries and features included (a process that does nothing but hold these is
told by ``random``), and on a GPU what tensors took on it.

The paper's minutes and gigabytes are those of MTT on NVIDIA RTX A6000 GPUs (of 48 GB, which some of
its figures exceed); a ConvNet on a CPU has 32 channels here.
"""

from functools import partial

from _draw import bars
from _harness import Results, command_line, in_fresh_process, print_table
from _sets import (
    KEEP,
    WITH_EXPERTS,
    chosen,
    family,
    find,
    one_after_another,
    recordings_of,
    subset_arguments,
)

KEY = ("data", "split", "network", "what", "cpc", "seed")
LEAST_SHARE = 0.01  # of the time of a fit, that experts take to be trained
CHEAP, ALL = ("random", "herding", "dm"), ("random", "herding", "dm", "dc", "dsa", "mtt")
PAPER_NETWORKS = ("convnet-128", "resnet18", "vgg11")
# Each part: data set, split, network, methods, clips per class.
PRESETS: dict = {
    "smoke": [("fsdd", "official", "convnet-8", ALL, (1,))],
    "cpu": [
        ("fsdd", "official", "convnet-32", ALL, (1, 10, 50)),
        ("ravdess", "random", "convnet-32", (*CHEAP, "mtt"), (1, 10)),
        ("urbansound8k", "random", "convnet-32", (*CHEAP, "mtt"), (1, 10)),
        ("esc10", "random", "convnet-32", (*CHEAP, "mtt"), (1, 10)),
    ],
    "gpu": [
        *(("fsdd", "official", network, ALL, (1, 10, 50)) for network in PAPER_NETWORKS),
        *(
            (data, "random", network, ALL, (1, 10, 50))
            for data in ("urbansound8k", "ravdess")
            for network in PAPER_NETWORKS
        ),
    ],
}
# Printed in the paper, for 1, 10, 20 and 50 clips a class: minutes, then gigabytes.
_PRINTED = {
    ("fsdd", "resnet18"): "80.67 92.11 100.59 116.04 31.01 35.61 38.45 44.22",
    ("fsdd", "convnet"): "12.31 15.16 15.79 17.20 17.79 21.00 23.29 25.24",
    ("fsdd", "vgg11"): "50.21 52.84 59.38 70.81 15.50 20.59 24.23 29.81",
    ("urbansound8k", "resnet18"): "179.56 311.55 316.80 337.91 36.08 46.71 52.61 60.07",
    ("urbansound8k", "convnet"): "17.16 21.66 23.82 29.57 20.65 25.90 28.58 34.36",
    # 11.89 min for 50 clips is what is printed; 111.89 fits its neighbours better
    ("urbansound8k", "vgg11"): "93.13 105.18 108.20 11.89 18.31 26.52 36.92 46.12",
    ("ravdess", "resnet18"): "105.11 107.30 111.56 113.88 37.94 44.00 57.18 72.80",
    ("ravdess", "convnet"): "18.33 21.19 22.42 23.86 19.49 26.88 30.19 47.08",
    ("ravdess", "vgg11"): "83.51 85.35 86.83 104.01 24.01 43.09 50.58 56.91",
}
PAPER = {
    (*cell, "mtt", cpc): (float(minutes), float(gigabytes))
    for cell, text in _PRINTED.items()
    for cpc, minutes, gigabytes in zip(
        (1, 10, 20, 50), text.split()[:4], text.split()[4:], strict=True
    )
}


def measure(quick, keep, **cell):
    """Return what making a set took, when it was made or now."""
    return find(cell, quick=quick, keep=keep).provenance["took"]


def rows_of(preset):
    """Return the rows of a preset."""
    return [
        dict(zip(KEY, (data, split, network, what, n, 0), strict=True))
        for data, split, network, methods, cpc in PRESETS[preset]
        for n in cpc
        for what in methods
    ]


def summarize(rows):
    """Return time and memory of each method, as multiples of MTT's, beside the paper's."""
    sisters = {}
    for row in rows:
        sisters.setdefault((row["data"], row["split"], row["network"], row["what"]), []).append(row)
    summary = [_line(row, same) for same in sisters.values() for row in same]
    mtt = {_place(line): line for line in summary if line["what"] == "mtt"}
    for line in summary:
        if (beside := mtt.get(_place(line))) and line["minutes"] and beside["minutes"]:
            line["times the time of mtt"] = round(line["minutes"] / beside["minutes"], 4)
            line["times the memory of mtt"] = round(line["megabytes"] / beside["megabytes"], 3)
    return summary


def _place(line):
    return tuple(line[key] for key in ("data", "split", "network", "cpc"))


def _line(row, same):
    """Return a row with its experts, as the first row of the `same` method trained them."""
    experts = max(other["seconds_of_experts"] or 0 for other in same)
    seconds, found = row["seconds"], row["seconds_of_experts"] or 0
    if row["what"] in WITH_EXPERTS and seconds and experts < LEAST_SHARE * seconds:
        seconds = None  # nobody trained them
    cell = row["data"], family(row["network"]), row["what"], row["cpc"]
    minutes, gigabytes = PAPER.get(cell, (None, None))
    return {key: row[key] for key in KEY if key != "seed"} | {
        "minutes": seconds and (seconds - found + experts) / 60,
        "minutes of experts": experts / 60,
        "n_iter": row["n_iter"],
        "megabytes": row["peak_megabytes"],
        "megabytes on the device": row["peak_device_megabytes"],
        "paper minutes": minutes,
        "paper gigabytes": gigabytes,
    }


def draw(results):
    """Draw time and memory, and print them."""
    summary = results.content["summary"]
    labels = {
        "cpc": "clips per class",
        "minutes": "time (minutes)",
        "megabytes": "most memory of the process (MB)",
        "paper minutes": "the paper, A6000",
    }
    pictures = (("minutes", "paper minutes", "log"), ("megabytes", None, "linear"))
    for y, mark, scale in pictures:
        bars(
            summary,
            "cpc",
            y,
            results.picture(y),
            by="what",
            panels=["data", "network"],
            mark=mark,
            labels=labels,
            scale=scale,
        )
    tables = {}
    for line in summary:
        table = tables.setdefault((line["data"], line["network"]), {})
        table.setdefault(line["cpc"], {})[line["what"]] = _written(line)
    for (data, network), table in tables.items():
        print_table(f"{data}, {network}: minutes, MB (the paper's minutes, GB on its GPU)", table)


def _written(line):
    minutes = "?" if line["minutes"] is None else f"{line['minutes']:.2f}"
    text = f"{minutes}, {line['megabytes']:.0f}"
    if line["paper minutes"] is None:
        return text
    return f"{text} ({line['paper minutes']:.1f}, {line['paper gigabytes']:.1f})"


def measure_all(options):
    results = Results(f"table_3_{options.preset}")
    settings = {"quick": options.preset == "smoke", "keep": options.keep}
    one = partial(in_fresh_process, __file__, **settings)

    table_1 = Results(f"table_1_{options.preset}")
    if table_1.rows:
        results.content["machine"] = table_1.content["machine"]

    def measure_cell(**cell):
        if row := table_1.find(**cell):
            return row["took"]
        recordings_of(cell, settings["quick"])  # heard here, not where memory is measured
        return one(**cell)

    for cell in one_after_another(chosen(rows_of(options.preset), options)):
        results.measure(measure_cell, **cell)
        results.save(summary=summarize(results.rows))
    draw(results)


def main():
    choice = subset_arguments("data", "network", "what", "cpc")
    command_line(__doc__, PRESETS, measure, measure_all, choice | {"--keep": KEEP})


if __name__ == "__main__":
    main()
