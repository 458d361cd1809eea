"""Table 2: sets distilled on one network, learned by others, beside the paper's figures.

    DDFAD_DATA=folder python benchmarks/table_2.py --preset smoke|cpu|gpu [--keep FOLDER]
        [--data fsdd] [--network convnet-32] [--judge vgg11-16] [--what mtt] [--cpc 10] [--seed 0]

The claim: ten clips a class distilled on a ConvNet teach ResNet18 and VGG11 at least what thirty
random clips a class do. Five networks of each architecture learn from each set; sets are those of
Table 1, found where that keeps them (``--keep``), or made. The claim's two sides are compared clip
by clip, with an interval of 95 %; so is each mean with the paper's figure, which it prints for 50
clips a class, without saying how often it trained or what it tested on (see Table 1).

``tfe-convnet`` is a ConvNet behind a Time-Frequency Enhancer of four blocks. On a CPU networks have
a quarter of the usual width: ConvNets 32 channels instead of 128, the others 16 instead of 64.
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
    find,
    grouped,
    judged,
    one_after_another,
    recordings_of,
    subset_arguments,
    summarize,
    told,
    written,
)

KEY = ("data", "split", "network", "what", "cpc", "judge")
FEW, MANY = ("mtt", 10), ("random", 30)  # that are to teach as much
CLAIM = (FEW, ("random", 10), MANY)
FIFTY = (("mtt", 50), ("random", 50))
SPLITS = {"fsdd": "official", "urbansound8k": "random", "ravdess": "random", "esc10": "random"}
CPU_JUDGES = ("convnet-32", "resnet18-16", "vgg11-16", "tfe-convnet-32")
PAPER_NETWORKS = ("convnet-128", "resnet18", "vgg11")
GPU_JUDGES = (*PAPER_NETWORKS, "tfe-convnet-128")
# Each part: data set, network distilled on, sets, judges, seeds.
PRESETS: dict = {
    "smoke": [("fsdd", "convnet-8", (("mtt", 1), ("random", 2)), ("vgg11-8", "tfe-convnet-8"), 1)],
    "cpu": [
        ("fsdd", "convnet-32", CLAIM, CPU_JUDGES, 2),
        ("fsdd", "convnet-32", (("dm", 10), *FIFTY), CPU_JUDGES, 1),
        *((data, "convnet-32", CLAIM, CPU_JUDGES, 1) for data in SPLITS if data != "fsdd"),
    ],
    "gpu": [
        *((data, "convnet-128", CLAIM, GPU_JUDGES, 3) for data in SPLITS),
        *(
            (data, network, FIFTY if network == "convnet-128" else FIFTY[:1], PAPER_NETWORKS, 3)
            for data in SPLITS
            if data != "esc10"
            for network in PAPER_NETWORKS
        ),
    ],
}
# Printed in the paper for 50 clips a class: distilled on, and learned by, in the same order.
_ARCHITECTURES = ("resnet18", "convnet", "vgg11")
_PRINTED = {
    "fsdd": "97.30 78.33 80.15  96.07 89.65 92.33  96.31 85.89 94.38",
    "urbansound8k": "62.75 56.79 51.88  62.06 68.22 39.81  66.33 58.87 59.10",
    "ravdess": "48.96 47.11 48.35  47.54 46.91 49.63  47.28 47.10 47.91",
}
PAPER = {
    (data, distilled_on, "mtt", 50, judge): float(figure)
    for data, text in _PRINTED.items()
    for (distilled_on, judge), figure in zip(
        [(on, by) for on in _ARCHITECTURES for by in _ARCHITECTURES], text.split(), strict=True
    )
}


def measure(quick, keep, judge, **cell):
    """Let five networks learn from a set."""
    few = find(cell, quick=quick, keep=keep)
    test = recordings_of(cell, quick).test
    return judged(few.X, few.targets, test, judge, cell["seed"], quick=quick)


def rows_of(preset):
    """Return the rows of a preset, seed by seed."""
    return [
        dict(zip((*KEY, "seed"), (data, SPLITS[data], network, what, n, judge, seed), strict=True))
        for seed in range(3)
        for data, network, sets, judges, seeds in PRESETS[preset]
        if seed < seeds
        for what, n in sets
        for judge in judges
    ]


def printed(row):
    """Return the paper's figure for a row, None where there is none."""
    networks = family(row["network"]), family(row["judge"])
    return PAPER.get((row["data"], networks[0], row["what"], row["cpc"], networks[1]))


def claims(rows):
    """Return, judge by judge, by how much ten distilled clips beat thirty random ones."""
    cells = grouped(rows, KEY)
    return [
        {"data": data, "distilled on": network, "learned by": judge} | compared(rows, many)
        for (data, split, network, *which, judge), rows in cells.items()
        if tuple(which) == FEW and (many := cells.get((data, split, network, *MANY, judge)))
    ]


def save(results):
    """Write the file, with the table and what becomes of the claim."""
    of_cells = summarize(results.rows, KEY, STORAGE)
    summary = [against_paper(line, printed(line)) for line in of_cells]
    results.save(summary=summary, claims=claims(results.rows))


def draw(results):
    """Draw the table, and print it."""
    summary = results.content["summary"]
    lines = [line | {"set": f"{line['what']} {line['cpc']}"} for line in summary]
    bars(
        lines,
        "judge",
        "mean",
        results.picture(),
        by="set",
        panels=["data", "network"],
        error="interval",
        mark="paper",
        labels={"mean": "test accuracy (%)", "judge": "learned by", "paper": "the paper"},
    )
    tables = {}
    for line in lines:
        table = tables.setdefault((line["data"], line["network"]), {})
        table.setdefault(line["set"], {})[line["judge"]] = written(line)
    for (data, network), table in tables.items():
        title = f"{data}, distilled on {network}: %, 95 % interval (the paper's), by judge"
        print_table(title, table)
    for claim in results.content["claims"]:
        cell = claim["data"], claim["distilled on"], claim["learned by"]
        print("ten distilled clips against thirty random ones:", told(cell, claim))


def measure_all(options):
    results = Results(f"table_2_{options.preset}")
    settings = {"quick": options.preset == "smoke", "keep": options.keep}
    one = partial(in_fresh_process, __file__, **settings)
    for row in one_after_another(chosen(rows_of(options.preset), options)):
        results.measure(one, **row)
        save(results)
    save(results)
    draw(results)


def main():
    choice = subset_arguments("data", "network", "judge", "what", "cpc", "seed")
    command_line(__doc__, PRESETS, measure, measure_all, choice | {"--keep": KEEP})


if __name__ == "__main__":
    main()
