"""Table 1: accuracy by method, clips per class, network and data set, beside the paper's.

    DDFAD_DATA=folder python benchmarks/table_1.py --preset smoke|cpu|gpu [--keep FOLDER]
        [--data fsdd] [--split official] [--network convnet-32] [--what mtt] [--cpc 10] [--seed 0]

The claim: MTT is worth more than DSA, DC and DM, these are worth more than chosen clips, and ours
are worth more than printed. One set a seed, made by the method with its defaults; five judges each,
all of the architecture it was made on. Nothing is chosen on test data: distillers keep a tenth of
the training part aside to select on. ``_recordings.py`` tells what the splits are and how clips are
heard. What has soft labels comes apart from what has hard ones: ``mtt-soft``, MTT with learned
labels, and ``mtt-taught``, MTT's clips and what a network that learned all real clips says of them
at temperature 5, are held against ``random-soft``, random clips labelled in this way.

Each mean has an interval of 95 % (see ``_sets.half_width``), and is told to differ from the paper's
figure only where that lies outside. Methods are compared clip by clip, on the same test clips. The
paper does not say what it tested on, or how often. Its UrbanSound8K has 8,732 clips and its RAVDESS
7,356, of speech and song; ours are the parts that lie in ``DDFAD_DATA``. ESC-10 is not in it.

On a CPU networks have a quarter of the usual width: ConvNets 32 channels instead of 128, the others
16 instead of 64. Rows come seed by seed, so that one seed of everything is there first. Experts are
trained for the first number of clips, and found again for the others. The sets made are kept for
the other tables and figures. To measure anything again, delete its row.
"""

from functools import partial

from _draw import bars
from _harness import Results, command_line, in_fresh_process, print_table
from _sets import (
    KEEP,
    STORAGE,
    against_paper,
    chosen,
    compared,
    family,
    grouped,
    judged,
    make,
    one_after_another,
    recordings_of,
    settle,
    subset_arguments,
    summarize,
    told,
    written,
)

KEY = ("data", "split", "network", "what", "cpc")
CHOSEN, GRADIENTS = ("random", "herding", "kcenter"), ("dc", "dsa")
ALL = (*CHOSEN, "dm", *GRADIENTS, "mtt")
SOFT = "random-soft", "mtt-soft", "mtt-taught"
FEW, FEWER = ("random", "herding", "dm", "mtt"), ("random", "dm", "mtt")
WHOLE = ("whole",), (None,)
OTHERS = ("ravdess", "urbansound8k", "esc10")  # than digits
PAPER_NETWORKS = ("convnet-128", "resnet18", "vgg11")


def digits(network, seeds_of_many_gradients):
    """Return the parts of the table on digits; DC and DSA of 50 clips a class take long."""
    cell = "fsdd", "official", network
    return [
        (*cell, ALL, (1, 10), 3),
        (*cell, (*CHOSEN, "dm", "mtt"), (50,), 3),
        (*cell, GRADIENTS, (50,), seeds_of_many_gradients),
        (*cell, SOFT, (1, 10), 3),
        (*cell, *WHOLE, 3),
    ]


def others(network, splits, methods, cpc, seeds):
    """Return the parts on the other data sets; a fold of ESC-10 leaves 32 clips a class."""
    return [
        part
        for data in OTHERS
        for split in splits
        for cell in [(data, split, network)]
        for sizes in [tuple(n for n in cpc if data != "esc10" or n <= 32)]
        for part in ((*cell, methods, sizes, seeds), (*cell, *WHOLE, seeds))
    ]


def unknown_speakers(network, seeds):
    """Return the parts on digits of speakers that are not in the training part."""
    cell = "fsdd", "group", network
    return [(*cell, FEWER, (10,), seeds), (*cell, *WHOLE, seeds)]


# Each part: data set, split, network, methods, clips per class, seeds.
PRESETS: dict = {
    "smoke": [
        ("fsdd", "official", "convnet-8", (*ALL, *SOFT), (1,), 1),
        ("fsdd", "official", "convnet-8", ("whole",), (None,), 1),
    ],
    "cpu": [
        *digits("convnet-32", 1),
        *others("convnet-32", ("random",), FEW, (1, 10), 1),
        *unknown_speakers("convnet-32", 1),
        *others("convnet-32", ("group",), FEWER, (10,), 1),
        ("fsdd", "official", "vgg11-16", FEWER, (1,), 1),
        ("fsdd", "official", "resnet18-16", FEWER, (1,), 1),
    ],
    "gpu": [
        part
        for network in PAPER_NETWORKS
        for part in (
            *digits(network, 3),
            *others(network, ("random", "group"), ALL, (1, 10, 50), 3),
            *unknown_speakers(network, 3),
        )
    ],
}

# Printed in the paper: random, herding, dc, dsa, mtt for 1, 10 and 50 clips, and the whole set.
_COLUMNS = ("dc", "dsa", "mtt", "random", "herding")
_PRINTED = {
    ("fsdd", "resnet18"): """17.75 17.86 28.42 11.57 14.31
        58.97 56.05 75.30 42.98 45.69  87.46 94.12 97.30 80.78 85.13  98.73""",
    ("fsdd", "convnet"): """14.32 17.01 29.88 11.02 13.20
        55.75 54.33 65.60 42.66 47.50  77.81 80.29 89.67 69.79 73.08  90.52""",
    ("fsdd", "vgg11"): """21.18 14.97 21.96 11.97 14.21
        55.44 52.50 58.98 44.08 48.27  87.07 89.26 94.38 81.13 85.59  98.44""",
    ("urbansound8k", "resnet18"): """12.48 12.04 19.88 10.84 11.99
        38.30 34.57 40.69 21.80 23.26  53.81 52.58 62.75 43.77 45.84  93.89""",
    ("urbansound8k", "convnet"): """11.30 12.55 21.59 10.35 11.51
        30.08 22.92 42.97 21.29 22.08  53.56 55.19 68.22 42.62 43.64  70.78""",
    ("urbansound8k", "vgg11"): """10.82 11.60 19.63 10.11 11.37
        21.34 17.55 27.47 15.33 16.88  42.65 44.32 59.10 33.29 33.30  89.04""",
    ("ravdess", "resnet18"): """12.54 14.77 17.30 11.52 12.63
        23.28 25.98 32.50 18.38 20.71  36.60 39.78 48.96 33.04 34.12  67.75""",
    ("ravdess", "convnet"): """16.30 14.64 22.17 10.89 12.72
        20.83 21.51 29.22 11.97 13.65  33.70 32.89 46.91 24.25 25.88  49.81""",
    ("ravdess", "vgg11"): """13.55 12.79 19.20 11.22 11.89
        26.85 23.69 27.33 18.83 19.07  39.02 38.45 47.91 34.46 35.44  62.32""",
}
PAPER = {
    (*cell, what, cpc): float(figure)
    for cell, text in _PRINTED.items()
    for (cpc, what), figure in zip(
        [*((cpc, what) for cpc in (1, 10, 50) for what in _COLUMNS), (None, "whole")],
        text.split(),
        strict=True,
    )
}
ORDER = [
    *(("mtt", worse) for worse in ("dsa", "dc", "dm")),
    *((better, worse) for better in ("mtt", "dsa", "dc", "dm") for worse in ("herding", "random")),
    ("mtt-soft", "random-soft"),
    ("mtt-taught", "random-soft"),
    ("mtt-taught", "mtt"),
]


def printed(row):
    """Return the paper's figure for a row, None where there is none or the split is another."""
    if row["split"] == "group":
        return None
    return PAPER.get((row["data"], family(row["network"]), row["what"], row["cpc"]))


def measure(quick, keep, **cell):
    """Make a set, or take all clips, and let the judges tell what it is worth."""
    recordings = recordings_of(cell, quick)
    if cell["what"] == "whole":
        return judged(
            *recordings.train, recordings.test, cell["network"], cell["seed"], quick=quick
        )
    few = make(cell, quick=quick, keep=keep)
    row = judged(few.X, few.targets, recordings.test, cell["network"], cell["seed"], quick=quick)
    settle(cell, quick=quick, keep=keep)
    return row | {"took": few.provenance["took"]}


def rows_of(preset):
    """Return the rows of a preset, seed by seed."""
    return [
        dict(zip((*KEY, "seed"), (data, split, network, what, n, seed), strict=True))
        for seed in range(3)
        for data, split, network, methods, cpc, seeds in PRESETS[preset]
        if seed < seeds
        for n in cpc
        for what in methods
    ]


def in_order(rows):
    """Return by how much each method is worth more than those it should be worth more than."""
    cells = grouped(rows, KEY)
    return [
        dict(zip(KEY, cell, strict=True)) | {"more than": worse} | compared(rows, others)
        for cell, rows in cells.items()
        for better, worse in ORDER
        if better == cell[3] and (others := cells.get((*cell[:3], worse, cell[4])))
    ]


def save(results):
    """Write the file, with the table and how its cells are ordered."""
    of_cells = summarize(results.rows, KEY, STORAGE)
    summary = [against_paper(line, printed(line)) for line in of_cells]
    results.save(summary=summary, order=in_order(results.rows))


def draw(results):
    """Draw a picture and print a table for each data set."""
    summary = results.content["summary"]
    for data in dict.fromkeys(line["data"] for line in summary):
        of_data = [line | {"cpc": line["cpc"] or "all"} for line in summary if line["data"] == data]
        bars(
            of_data,
            "cpc",
            "mean",
            results.picture(data),
            by="what",
            panels=["split", "network"],
            error="interval",
            mark="paper",
            labels={"mean": "test accuracy (%)", "cpc": "clips per class", "paper": "the paper"},
        )
        tables = {}
        for line in of_data:
            table = tables.setdefault((line["split"], line["network"]), {})
            table.setdefault(line["cpc"], {})[line["what"]] = written(line)
        for (split, network), table in tables.items():
            title = f"{data}, {split} split, {network}: %, 95 % interval (the paper's)"
            print_table(title, table)
    for pair in results.content["order"]:
        if pair.get("difference", 1) <= 0:
            cell = [*(pair[key] for key in KEY), f"more than {pair['more than']}"]
            print("not in order:", told(cell, pair))


def measure_all(options):
    results = Results(f"table_1_{options.preset}")
    settings = {"quick": options.preset == "smoke", "keep": options.keep}
    one = partial(in_fresh_process, __file__, **settings)

    def measure_cell(**cell):
        recordings_of(cell, settings["quick"])  # heard here, not where memory is measured
        return one(**cell)

    for cell in one_after_another(chosen(rows_of(options.preset), options)):
        results.measure(measure_cell, **cell)
        save(results)
    save(results)
    draw(results)


def main():
    choice = subset_arguments("data", "split", "network", "what", "cpc", "seed")
    command_line(__doc__, PRESETS, measure, measure_all, choice | {"--keep": KEEP})


if __name__ == "__main__":
    main()
