"""Figure 5: FD-MFCC against other features, at equal clips and at equal storage.

    DDFAD_DATA=folder python benchmarks/figure_5.py --preset smoke|cpu|gpu [--keep FOLDER]
        [--data fsdd] [--features MFCC] [--what mtt] [--equal clips] [--budget 10] [--seed 0]

The claim of the paper: with the same number of clips per class, FD-MFCC teaches more than MFCC and
LPCC. But its second and third plane are worked out from the first, and take three times the
storage. So there are two comparisons: at equal clips, and at equal storage, where other features
keep as many clips as fit into the numbers of so many FD-MFCC clips (of the smallest class no more
than half). Both for random clips and for MTT, with the same network, and five of them judging each
set. The paper's figure is a picture without numbers; it shows FD-MFCC ahead everywhere.

Extractors have their defaults, which are the same frames for all but the chromagram, and the same
coefficients for all cepstra. They are compared clip by clip, with intervals of 95 % (see
``_sets.half_width``).
"""

from functools import partial

import numpy as np
from _draw import bars
from _harness import Results, command_line, in_fresh_process, print_table
from _sets import (
    FEATURES,
    KEEP,
    STORAGE,
    chosen,
    compared,
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

OURS = FEATURES
CEPSTRA, SPECTRA = ("MFCC", "LPCC"), ("LogMelSpectrogram", "Chromagram")
OTHERS = (*CEPSTRA, *SPECTRA)
KEY = ("data", "split", "network", "features", "what", "equal", "budget")
BOTH = ("random", "mtt")
# Each part: data set, split, network, features, budgets (FD-MFCC clips per class), methods, seeds.
PRESETS: dict = {
    "smoke": [("fsdd", "official", "convnet-8", (OURS, *OTHERS), (1,), BOTH, 1)],
    "cpu": [
        ("fsdd", "official", "convnet-32", (OURS, *CEPSTRA), (1, 10), BOTH, 1),
        ("fsdd", "official", "convnet-32", SPECTRA, (1, 10), ("random",), 1),
    ],
    "gpu": [
        (data, split, "convnet-128", (OURS, *OTHERS), (1, 10, 50), BOTH, 3)
        for data, split in (("fsdd", "official"), ("urbansound8k", "random"), ("ravdess", "random"))
    ],
}


def measure(quick, keep, equal, budget, **cell):
    """Make a set of as many clips as a budget allows, and let the judges tell what it is worth."""
    recordings = recordings_of(cell, quick)
    cpc = budget
    if equal == "storage":
        ours = recordings_of(cell | {"features": OURS}, quick)
        _, counts = np.unique(recordings.train[1], return_counts=True)
        as_many = budget * ours.train[0][0].size // recordings.train[0][0].size
        cpc = max(min(as_many, int(counts.min()) // 2), budget)
    few = find(cell | {"cpc": cpc}, quick=quick, keep=keep)
    test, network = recordings.test, cell["network"]
    return {"cpc": cpc} | judged(few.X, few.targets, test, network, cell["seed"], quick=quick)


def rows_of(preset):
    """Return the rows of a preset, seed by seed."""
    return [
        dict(
            zip(
                (*KEY, "seed"),
                (data, split, network, features, what, equal, budget, seed),
                strict=True,
            )
        )
        for seed in range(3)
        for data, split, network, kinds, budgets, methods, seeds in PRESETS[preset]
        if seed < seeds
        for features in kinds
        for budget in budgets
        for what in methods
        for equal in (("clips",) if features == OURS else ("clips", "storage"))
    ]


def both(lines):
    """Return rows or a summary with FD-MFCC in both comparisons."""
    ours = [line for line in lines if line["features"] == OURS]
    others = [line for line in lines if line["features"] != OURS]
    return [*ours, *(line | {"equal": "storage"} for line in ours), *others]


def comparisons(rows):
    """Return by how much FD-MFCC is worth more than each other feature, in each cell."""
    cells = grouped(both(rows), KEY)
    return [
        dict(zip(KEY, cell, strict=True)) | {"more than": other} | compared(rows, theirs)
        for cell, rows in cells.items()
        for data, split, network, features, *rest in [cell]
        if features == OURS
        for other in OTHERS
        if (theirs := cells.get((data, split, network, other, *rest)))
    ]


def draw(results):
    """Draw both comparisons, and print them."""
    summary = both(results.content["summary"])
    for data in dict.fromkeys(line["data"] for line in summary):
        of_data = [
            line | {"at": f"equal {line['equal']}"} for line in summary if line["data"] == data
        ]
        bars(
            of_data,
            "budget",
            "mean",
            results.picture(data),
            by="features",
            panels=["what", "at"],
            error="interval",
            labels={"mean": "test accuracy (%)", "budget": "FD-MFCC clips per class"},
        )
        tables = {}
        for line in of_data:
            table = tables.setdefault((line["what"], line["at"]), {})
            table.setdefault(line["budget"], {})[line["features"]] = written(line)
        for (what, at), table in tables.items():
            print_table(f"{data}, {what}, {at}: %, 95 % interval, by FD-MFCC clips a class", table)
    for found in results.content["comparisons"]:
        cell = [*(found[key] for key in KEY), f"more than {found['more than']}"]
        print(told(cell, found))


def measure_all(options):
    results = Results(f"figure_5_{options.preset}")
    one = partial(in_fresh_process, __file__, quick=options.preset == "smoke", keep=options.keep)
    for row in one_after_another(chosen(rows_of(options.preset), options)):
        results.measure(one, **row)
        summary = summarize(results.rows, KEY, STORAGE)
        results.save(summary=summary, comparisons=comparisons(results.rows))
    draw(results)


def main():
    choice = subset_arguments("data", "features", "what", "equal", "budget", "seed")
    command_line(__doc__, PRESETS, measure, measure_all, choice | {"--keep": KEEP})


if __name__ == "__main__":
    main()
