"""Accuracy against storage: what is worth most, kept in the numbers of so many clips a class.

    DDFAD_DATA=folder python benchmarks/parameterizations.py --preset smoke|cpu|gpu [--keep FOLDER]
        [--data fsdd] [--what mtt] [--parameterization static] [--equal clips] [--cpc 10] [--seed 0]

``_kept.py`` tells what the parameterisations are called. There are two comparisons, never mixed: at
equal storage, with as many clips as fit into the numbers of ``cpc`` clips a class, and with equally
many clips, in whatever storage these then take. What keeps ``cpc`` clips a class in exactly that
storage stands in both. The baseline of each cell are random real clips that are kept in the same
way, encoded and not distilled. Every row tells the numbers kept, their bytes, and how many clips
are decoded from them. Labels are hard. Five judges a set, all of the network that it was made on;
clip by clip, with intervals of 95 % (see ``_sets.half_width``).

Digits are tested on the data set's own test part, RAVDESS on actors 21 to 24 and ESC-10 on fold 5,
whatever the seed. Which parameterisation is to be best was said before: ``static-lsvd``, our
default kernels on cepstra. Kernels are compared at the same sizes, two fifths of the frames.

NSD's tables are about pictures (CIFAR-10), so that only differences can be compared: those of the
kernels (its Table 2) and methods (Table 5) to clips kept as they are. Its own row, learned kernels,
has a real-guided loss in it, worth 0.6 (one picture a class) and 1.6 (ten) points.
"""

from functools import partial
from math import isfinite, nan

from _draw import bars, curves
from _harness import Results, command_line, in_fresh_process, print_table
from _sets import (
    KEEP,
    STORAGE,
    chosen,
    compared,
    find,
    grouped,
    judged,
    kept_in,
    one_after_another,
    recordings_of,
    subset_arguments,
    summarize,
    told,
    written,
)

KEY = ("data", "split", "network", "what", "parameterization", "equal", "cpc")
COLUMNS = ("what", "parameterization", "cpc")
DIGITS = ("fsdd", "official")
OTHERS = (("ravdess", "last"), ("esc10", "last"))
PLAIN = ("direct", "static", "waveform")
IN_BOTH = ("direct", "waveform")  # comparisons: cpc clips a class, in as many numbers as features
SPECTRAL = ("lsvd", "static-lsvd")
KERNELS = ("dwt-twice", "svd-twice", "lsvd-twice", "dct-twice", "ldct-twice", "learned-twice")
BEST = "mtt", "static-lsvd"  # named before anything was tested
BASELINE, TRAJECTORIES, SISTERS = "random", "mtt", ("dm", "dc")


def digits(network):
    """Return all parts on digits: the curve, equal clips, the kernels and the other methods."""
    both, cell = (BASELINE, TRAJECTORIES), (*DIGITS, network)
    return [
        (*cell, both, (*PLAIN, *SPECTRAL), "storage", (1, 10, 50), 2),
        (*cell, ("whole",), ("direct",), "storage", (None,), 2),
        (*cell, both, ("static",), "clips", (1, 10, 50), 2),
        (*cell, both, KERNELS, "storage", (1, 10), 2),
        (*cell, SISTERS, ("direct", "static-lsvd", "learned-twice"), "storage", (10,), 2),
    ]


def few_hours_of_digits(network):
    """Return the same parts, with two seeds where figures are asked for and one elsewhere."""
    both, cell = (BASELINE, TRAJECTORIES), (*DIGITS, network)
    return [
        (*cell, both, ("direct", "static", "static-lsvd"), "storage", (1, 10, 50), 2),
        (*cell, both, ("waveform",), "storage", (1, 10), 2),
        (*cell, ("whole",), ("direct",), "storage", (None,), 2),
        (*cell, both, ("static",), "clips", (1, 10, 50), 1),
        (*cell, both, KERNELS, "storage", (1, 10), 1),
        (*cell, SISTERS, ("direct", "static-lsvd", "learned-twice"), "storage", (10,), 1),
    ]


def others(network, parameterizations, seeds):
    """Return the parts on the other data sets."""
    both = BASELINE, TRAJECTORIES
    return [(*cell, network, both, parameterizations, "storage", (1, 10), seeds) for cell in OTHERS]


# Each part: data set, split, network, methods, parameterisations, equal, clips per class, seeds.
PRESETS: dict = {
    "smoke": [
        (*DIGITS, "convnet-8", (BASELINE, "dm"), ("direct", "waveform"), "storage", (1,), 1),
        (*DIGITS, "convnet-8", (BASELINE, "mtt"), ("static", "dct-twice"), "storage", (1,), 1),
        (*DIGITS, "convnet-8", (TRAJECTORIES,), ("static",), "clips", (1,), 1),
        (*DIGITS, "convnet-8", ("whole",), ("direct",), "storage", (None,), 1),
    ],
    "cpu": [
        *few_hours_of_digits("convnet-32"),
        *others("convnet-32", ("direct", "static-lsvd"), 1),
    ],
    "gpu": [
        *digits("convnet-128"),
        *others("convnet-128", ("direct", "static", *SPECTRAL), 2),
    ],
}
# Printed for CIFAR-10: Table 2 (one and ten pictures a class), Table 1 (50) and Table 5.
_TABLE_2 = {
    1: (46.3, 51.3, 49.0, 53.8, 57.9, 62.3, 68.5),
    10: (65.3, 66.9, 67.9, 69.4, 69.5, 69.9, 73.4),
}
_TABLE_5 = {"dc": (44.9, 55.6), "dm": (48.9, 50.1)}
PAPER = {
    ("mtt", kernels, cpc): figure
    for cpc, figures in _TABLE_2.items()
    for kernels, figure in zip(("direct", *KERNELS), figures, strict=True)
} | {
    (what, kernels, 10): figure
    for what, figures in _TABLE_5.items()
    for kernels, figure in zip(("direct", "learned-twice"), figures, strict=True)
}


def measure(quick, keep, **cell):
    """Make a set, or take all clips, and let the judges tell what it is worth."""
    (X, y), test = recordings_of(cell, quick)[:2]
    if cell["what"] == "whole":
        return judged(X, y, test, cell["network"], cell["seed"], quick=quick)
    few = find(cell, quick=quick, keep=keep)
    row = judged(few.X, few.y, test, cell["network"], cell["seed"], quick=quick)
    return row | kept_in(few) | {"took": few.provenance.get("took")}


def rows_of(preset):
    """Return the rows of a preset, seed by seed; what stands in several parts comes once."""
    rows = [
        dict(zip((*KEY, "seed"), (data, split, network, what, kept, equal, n, seed), strict=True))
        for seed in range(2)
        for data, split, network, methods, parameterizations, equal, cpc, seeds in PRESETS[preset]
        if seed < seeds
        for n in cpc
        for kept in parameterizations
        for what in methods
    ]
    return [row for i, row in enumerate(rows) if row not in rows[:i]]


# ------------------------------------------------------------------------------------------
# What it tells
# ------------------------------------------------------------------------------------------


def gains(rows):
    """Return by how much each distilled set is worth more than its baseline, and than direct."""
    cells = grouped(rows, KEY)
    found = []
    for cell, ours in cells.items():
        *place, what, kept, equal, cpc = cell
        if what in (BASELINE, "whole"):
            continue
        baseline, direct = (
            cells.get((*place, BASELINE, kept, equal, cpc)),
            cells.get((*place, what, "direct", "storage", cpc)),
        )
        line = dict(zip(KEY, cell, strict=True))
        if baseline:
            found.append(line | {"more than": "its baseline"} | compared(ours, baseline))
        if direct and kept != "direct":
            printed = [PAPER.get((what, name, cpc)) for name in (kept, "direct")]
            paper = None if None in printed else round(printed[0] - printed[1], 1)
            found.append(line | {"more than": "direct"} | compared(ours, direct) | {"NSD": paper})
    return found


class _Means(dict):
    """Mean accuracies at equal storage, by method, parameterisation and cpc; NaN if not there."""

    def __missing__(self, key):
        return nan


def demands(summary):
    """Return what sets are to reach: what was asked, what came, and whether that is enough."""
    found = []
    at_equal_storage = [line for line in summary if line["equal"] == "storage"]
    for place, lines in grouped(at_equal_storage, KEY[:3]).items():
        mean = _Means({tuple(line[key] for key in COLUMNS): line["mean"] for line in lines})
        asked = _asked_of_digits(mean) if place[0] == "fsdd" else _asked_of_others(mean)
        found += [
            dict(zip(KEY[:3], place, strict=True))
            | {"demand": text, "least": round(least, 2), "measured": round(value, 2)}
            | {"met": value >= least}
            for text, value, least in asked
            if isfinite(value - least)
        ]
    return found


def _asked_of_digits(mean):
    """Yield ``(what is asked, what was measured, the least it may be)``."""
    for cpc, least in {1: 86, 10: 95.5, 50: 98}.items():
        yield f"direct, cpc={cpc}", mean[TRAJECTORIES, "direct", cpc], least
    whole = mean["whole", "direct", None]
    for cpc, least in {1: 93, 10: whole, 50: whole}.items():
        yield f"{' '.join(BEST)}, cpc={cpc}", mean[*BEST, cpc], least
    for cpc, least in {1: 40, 10: 3}.items():
        difference = mean[*BEST, cpc] - mean[BASELINE, BEST[1], cpc]
        yield f"{' '.join(BEST)}, over its baseline, cpc={cpc}", difference, least
    for cpc in (1, 10):
        for better, worse in (("learned-twice", "dct-twice"), ("dct-twice", "svd-twice")):
            difference = mean[TRAJECTORIES, better, cpc] - mean[TRAJECTORIES, worse, cpc]
            yield f"{better} over {worse}, cpc={cpc}", difference, 0


def _asked_of_others(mean):
    for cpc in (1, 10):
        what, kept = BEST
        for name, other in (("direct", (what, "direct")), ("its baseline", (BASELINE, kept))):
            difference = mean[*BEST, cpc] - mean[*other, cpc]
            yield f"{' '.join(BEST)}, over {name}, cpc={cpc}", difference, 0


def save(results):
    """Write the file, with the means, what is gained, and what was asked for."""
    summary = summarize(results.rows, KEY, STORAGE)
    results.save(summary=summary, gains=gains(results.rows), demands=demands(summary))


def draw(results):
    """Draw accuracy against storage, and the kernels beside each other; print all of it."""
    summary = results.content["summary"]
    labels = {"mean": "test accuracy (%)", "storage": "storage (kB)", "cpc": "clips per class"}
    for data in dict.fromkeys(line["data"] for line in summary):
        curves(
            [
                line | {"storage": round(line["bytes"] / 1000)}
                for line in summary
                if (line["data"], line["equal"]) == (data, "storage")
                and line["parameterization"] in (*PLAIN, *SPECTRAL)
                and line["what"] in (BASELINE, TRAJECTORIES)
            ],
            "storage",
            "mean",
            results.picture(data),
            by="parameterization",
            panels="what",
            labels=labels,
            scale=("log", "linear"),
        )
    bars(
        [
            line
            for line in summary
            if line["data"] == "fsdd"
            and line["cpc"] in (1, 10)
            and line["parameterization"] in ("direct", *KERNELS)
        ],
        "cpc",
        "mean",
        results.picture("kernels"),
        by="parameterization",
        panels="what",
        error="interval",
        labels=labels,
    )
    tables = {}
    both = [line | {"equal": "clips"} for line in summary if line["parameterization"] in IN_BOTH]
    for line in [*summary, *both]:
        table = tables.setdefault((line["data"], line["split"], f"equal {line['equal']}"), {})
        cell = f"{written(line)} [{line['decoded_clips']}]"
        table.setdefault(f"{line['what']} {line['parameterization']}", {})[str(line["cpc"])] = cell
    for title, table in tables.items():
        print_table(f"{', '.join(title)}: %, 95 % interval [clips], by clips per class", table)
    for gain in results.content["gains"]:
        nsd = "" if gain.get("NSD") is None else f" (NSD, of pictures: {gain['NSD']:+.1f})"
        print(told([*(gain[key] for key in KEY), f"over {gain['more than']}"], gain) + nsd)
    for line in results.content["demands"]:
        said = "met" if line["met"] else "MISSED"
        print(f"{said}: {line['data']}, {line['demand']}: {line['measured']} of {line['least']}")


def measure_all(options):
    results = Results(f"parameterizations_{options.preset}")
    one = partial(in_fresh_process, __file__, quick=options.preset == "smoke", keep=options.keep)
    for row in one_after_another(chosen(rows_of(options.preset), options)):
        results.measure(one, **row)
        save(results)
    save(results)
    draw(results)


def main():
    choice = subset_arguments("data", "what", "parameterization", "equal", "cpc", "seed")
    command_line(__doc__, PRESETS, measure, measure_all, choice | {"--keep": KEEP})


if __name__ == "__main__":
    main()
