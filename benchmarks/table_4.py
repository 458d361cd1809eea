"""Table 4: class after class with a memory of a few clips of old ones, beside the paper's figures.

    DDFAD_DATA=folder python benchmarks/table_4.py --preset smoke|cpu|gpu [--keep FOLDER]
        [--data fsdd] [--network convnet-32] [--strategy eeil] [--what mtt] [--cpc 20] [--seed 0]

The claim: EEIL remembers more from clips that were distilled than from as many chosen by herding,
which is EEIL's own way, or at random. Two classes come in each step, in another order for each
seed. A memory holds so many clips of each old class; sets are distilled from the clips of a step
alone, by matching the trajectories of experts as in the paper (``mtt``), who learn no more than to
tell two classes apart, or by matching distributions (``dm``), each class by itself. With
``-static`` a memory has the same storage, but cepstra alone in it: the differences follow from
them, and there is room for three times the clips. On a CPU experts are trained for digits alone,
and for twenty clips a class.
Strategies: ``eeil``; ``scratch``, a new network each time, trained on the memory alone;
``finetune``, without a memory, the lower bound; ``joint``, a new network each time, trained on all
clips of all classes so far, what a memory is to come near.

The figure compared is the average incremental accuracy: on test clips of all classes so far, the
mean over the steps, without the first as in EEIL; with the first it is in the file, too, as are
accuracy in the end and forgetting. Each has an interval of 95 % over orders and test clips (see
``_sets.half_width``), and strategies are compared clip by clip. The paper does not say how many
classes a step has, in which order they come, or what it averages over. Splits and networks are
those of Table 1. On one seed a distilled set serves all strategies.
"""

import shutil
from functools import partial
from itertools import product

import numpy as np
from _draw import curves
from _harness import Results, command_line, in_fresh_process, network, print_table
from _sets import (
    KEEP,
    QUICK,
    WITH_EXPERTS,
    _experts,
    against_paper,
    chosen,
    difference,
    family,
    find,
    grouped,
    half_width,
    recordings_of,
    same_clips,
    subset_arguments,
    told,
    written,
)
from sklearn.base import BaseEstimator

KEY = ("data", "split", "network", "strategy", "what", "cpc")
A_STEP, A_QUICK_STEP = 2, 5  # classes
BOUNDS = ("joint", "finetune")
CHOSEN, DISTILLED = ("random", "herding"), ("dm", "mtt", "dm-static")
MEMORIES = (*CHOSEN, "random-static", *DISTILLED)
WITHOUT_EXPERTS = tuple(what for what in MEMORIES if what not in WITH_EXPERTS)
PAPER_NETWORKS = ("convnet-128", "resnet18", "vgg11")
SPLITS = {"fsdd": "official", "urbansound8k": "random", "ravdess": "random"}
OTHERS = ("urbansound8k", "ravdess")


def part(data, network_name, cpc, memories=MEMORIES, seeds=3, strategies=("eeil", "scratch")):
    """Return the part of a preset on a data set: all strategies."""
    with_memory = tuple(product(strategies, memories, cpc))
    return data, network_name, (*((bound, None, None) for bound in BOUNDS), *with_memory), seeds


# Each part: data set, network, (strategy, memory, clips per class), seeds.
PRESETS: dict = {
    "smoke": [
        part("fsdd", "convnet-8", (2,), (*CHOSEN, "mtt", "dm-static"), 1, ("eeil",)),
        part("fsdd", "convnet-8", (2,), ("random",), 1, ("scratch",)),
    ],
    "cpu": [
        part("fsdd", "convnet-32", (20, 5), WITHOUT_EXPERTS),
        part("fsdd", "convnet-32", (20,), ("mtt",)),
        *(part(data, "convnet-32", (20,), WITHOUT_EXPERTS) for data in OTHERS),
    ],
    "gpu": [
        part(data, name, (20, 5, 1) if data == "fsdd" else (20,))
        for name in PAPER_NETWORKS
        for data in SPLITS
    ],
}
# Printed in the paper for 20 clips: DDFAD, EEIL, random, by ResNet18, ConvNet and VGG11.
_PRINTED = {
    "fsdd": "92.05 80.51 87.10  92.92 76.41 83.33  91.67 74.15 80.77",
    "urbansound8k": "46.25 21.58 38.55  51.00 13.62 15.22  47.12 26.74 31.74",
    "ravdess": "39.31 15.94 22.54  34.03 13.19 11.11  36.25 16.72 28.31",
}
PAPER = {
    (data, architecture, what): float(figure)
    for data, text in _PRINTED.items()
    for (architecture, what), figure in zip(
        product(("resnet18", "convnet", "vgg11"), ("mtt", "herding", "random")),
        text.split(),
        strict=True,
    )
}


class Found(BaseEstimator):
    """A sampler that gives the set of the classes it is shown, as it is kept, or made."""

    def __init__(self, cell, where):
        self.cell = cell
        self.where = where

    def fit_resample(self, X, y):
        """Return clips and labels of the set of the classes of `y`."""
        few = find(self.cell | {"classes": "+".join(np.unique(y).astype(str))}, **self.where)
        return few.X, few.y


def memory(cell, *, quick, keep):
    """Return what keeps the clips of old classes."""
    from sklearn_ddfad import HerdingSelector, RandomSelector

    what, cpc = cell["what"], cell["cpc"]
    selectors = {"herding": HerdingSelector, "random": RandomSelector}
    if what is None:
        return None
    if what in selectors:
        options = QUICK[what] if quick else {}
        return selectors[what](cpc, network=network(cell["network"]), **options)
    what, _, kept = what.partition("-")
    cell = cell | {"what": what, "parameterization": kept or "direct"}
    return Found(cell, {"quick": quick, "keep": keep})


def measure(quick, keep, strategy, **cell):
    """Learn class after class, and tell all test clips after each step."""
    from sklearn_ddfad import incremental_scores

    recordings = recordings_of(cell, quick)
    steps = order(recordings.train[1], cell["seed"], A_QUICK_STEP if quick else A_STEP)
    learn = in_one_go if strategy == "joint" else one_by_one
    said = learn(classifier(strategy, cell, quick, keep), steps, recordings)
    labels = recordings.test[1]
    scores = incremental_scores(labels, said, steps)
    return {
        "steps": [[str(label) for label in classes] for classes in steps],
        "right": [digits(labels, words, steps[: i + 1]) for i, words in enumerate(said)],
    } | {
        name: np.round(scores[name], 4).tolist()
        for name in ("seen", "average", "average_of_increments", "last", "forgetting")
    }


def order(y, seed, n):
    """Return the classes in an order drawn by the seed, `n` at a time."""
    classes = np.random.RandomState(seed).permutation(np.unique(y))
    return [classes[i : i + n] for i in range(0, len(classes), n)]


def classifier(strategy, cell, quick, keep):
    from sklearn_ddfad import RehearsalClassifier

    return RehearsalClassifier(
        memory(cell, quick=quick, keep=keep),
        strategy="finetune" if strategy in BOUNDS else strategy,
        network=network(cell["network"]),
        random_state=cell["seed"],
        **({"n_steps": 20} if quick else {}),
    )


def one_by_one(classifier, steps, recordings):
    """Yield what is said of the test clips after each step."""
    X, y = recordings.train
    said = []
    for classes in steps:
        new = np.isin(y, classes)
        said.append(classifier.partial_fit(X[new], y[new]).predict(recordings.test[0]))
    return said


def in_one_go(classifier, steps, recordings):
    """Return the same for a network that learns all classes so far anew."""
    X, y = recordings.train
    said = []
    for i in range(len(steps)):
        known = np.isin(y, np.concatenate(steps[: i + 1]))
        said.append(classifier.fit(X[known], y[known]).predict(recordings.test[0]))
    return said


def digits(labels, said, steps):
    """Return a digit for each test clip: 1 where it was told rightly, . where not yet learned."""
    known = np.isin(labels, np.concatenate(steps))
    return "".join(np.where(known, np.where(said == labels, "1", "0"), "."))


# ------------------------------------------------------------------------------------------
# What it tells
# ------------------------------------------------------------------------------------------


def shares(row, first=1):
    """Return what each test clip adds to the average incremental accuracy, which is their mean.

    A clip adds to it by being right more often than others: where all are right, all add as much,
    although some were learned earlier and count in more steps. `first` is the first step that
    counts: 1 leaves out the one before anything was incremental.
    """
    said = np.array([list(step) for step in row["right"][first:]])
    right, seen = said == "1", said != "."
    n_seen = seen.sum(axis=1, keepdims=True)
    accuracy = right.sum(axis=1, keepdims=True) / n_seen
    more_than_others = np.where(seen, right - accuracy, 0) / n_seen * said.shape[1]
    return accuracy.mean() + more_than_others.mean(axis=0)


def by_seed(rows):
    return {row["seed"]: shares(row) for row in rows}


def summarize(rows):
    """Return for each strategy the means over orders, in per cent, beside the paper's figure."""
    summary = []
    for cell, group in grouped(rows, KEY).items():
        half = half_width([*by_seed(group).values()], same_clips=same_clips(group), extremes=(0, 1))
        names = {"mean": "average_of_increments", "with the first step": "average"}
        names |= {name: name for name in ("last", "forgetting")}
        line = dict(zip(KEY, cell, strict=True)) | {
            ours: round(100 * float(np.mean([row[name] for row in group])), 2)
            for ours, name in names.items()
        }
        line |= {"interval": round(100 * half, 2), "seeds": len(group)}
        line["seen"] = (100 * np.mean([row["seen"] for row in group], axis=0)).round(2).tolist()
        summary.append(against_paper(line, printed(line)))
    return summary


def printed(line):
    """Return the paper's figure for a line, None where there is none."""
    if line["strategy"] != "eeil" or line["cpc"] != 20:
        return None
    return PAPER.get((line["data"], family(line["network"]), line["what"]))


def differences(rows):
    """Return by how much a distilled memory is better than each other way, strategy by strategy."""
    cells = grouped(rows, KEY)
    found = []
    for (*place, strategy, what, cpc), group in cells.items():
        if what not in DISTILLED:
            continue
        chosen_clips = (*CHOSEN, "random-static") if what.endswith("-static") else CHOSEN
        others = [(strategy, other, cpc) for other in chosen_clips]
        for other in [*others, ("joint", None, None)]:
            if beside := cells.get((*place, *other)):
                line = dict(zip(KEY, (*place, strategy, what, cpc), strict=True))
                name = other[1] or other[0]
                more = difference(by_seed(group), by_seed(beside), same_clips=same_clips(group))
                found.append(line | {"more than": name} | more)
    return found


def demands(found):
    """Return what a distilled memory is to reach in EEIL: what was asked, what came, if enough."""
    digits = {20: {"herding": 3, "random": 3, "joint": -3}, 5: {"herding": 8, "random": 8}}
    others = {20: {"herding": 0, "random": 0}}
    asked = []
    for line in found:
        if line["strategy"] == "eeil" and line["seeds"]:
            least = (digits if line["data"] == "fsdd" else others).get(line["cpc"], {})
            if line["more than"] in least:
                wanted = {"least": least[line["more than"]], "measured": line["difference"]}
                met = wanted["measured"] >= wanted["least"]
                names = ("data", "network", "what", "cpc", "more than")
                asked.append({name: line[name] for name in names} | wanted | {"met": met})
    return asked


def save(results):
    """Write the file, with the means, how strategies differ, and what was asked for."""
    found = differences(results.rows)
    results.save(summary=summarize(results.rows), differences=found, demands=demands(found))


def how(line):
    return line["strategy"] if line["what"] is None else f"{line['strategy']}, {line['what']}"


def draw(results):
    """Draw accuracy as classes come, a panel for each strategy and size, and print the tables."""
    summary = results.content["summary"]
    for data, network_name in dict.fromkeys((line["data"], line["network"]) for line in summary):
        lines = [
            line for line in summary if (line["data"], line["network"]) == (data, network_name)
        ]
        a_step = len(next(row for row in results.rows if row["data"] == data)["steps"][0])
        curves(
            [
                {"memory": line["what"] or "joint", "strategy": strategy, "cpc": cpc}
                | {"classes": a_step * (i + 1), "accuracy": accuracy}
                for line in lines
                if line["strategy"] != "finetune"  # which is far below
                for strategy, cpc in panels_of(line, lines)
                for i, accuracy in enumerate(line["seen"])
            ],
            "classes",
            "accuracy",
            results.picture(f"{data}_{network_name}"),
            by="memory",
            panels=["strategy", "cpc"],
            labels={
                "classes": "classes learned",
                "accuracy": "accuracy on all of them (%)",
                "cpc": "clips per class:",
            },
            scale=("linear", "linear"),
        )
        table = {}
        for line in lines:
            cells = table.setdefault(how(line), {})
            cells[str(line["cpc"] or "")] = f"{written(line)} [{line['forgetting']:.1f}]"
        title = f"{data}, {network_name}: average incremental accuracy, %, 95 % interval"
        print_table(f"{title} (the paper's) [forgetting], by clips per class", table)
    for line in results.content["differences"]:
        print(told([*(line[key] for key in KEY), f"more than {line['more than']}"], line))
    for line in results.content["demands"]:
        said = "met" if line["met"] else "MISSED"
        cell = f"{line['data']}, {line['network']}, {line['what']}, cpc={line['cpc']}"
        gain = f"more than {line['more than']}: {line['measured']} of {line['least']}"
        print(f"{said}: {cell}, {gain}")


def panels_of(line, lines):
    """Return the panels that a line is drawn in: its own, or, where it has no memory, all."""
    of_each = dict.fromkeys((each["strategy"], each["cpc"]) for each in lines if each["what"])
    return [(line["strategy"], line["cpc"])] if line["what"] else [*of_each]


def rows_of(preset):
    """Return the rows of a preset, seed by seed; what stands in several parts comes once."""
    rows = [
        dict(zip((*KEY, "seed"), (data, SPLITS[data], name, *which, seed), strict=True))
        for seed in range(3)
        for data, name, strategies, seeds in PRESETS[preset]
        if seed < seeds
        for which in strategies
    ]
    return [row for i, row in enumerate(rows) if row not in rows[:i]]


def forget_experts(row):
    """Remove the experts of all steps of an order: those of some classes, ``0+7``."""
    every = _experts(row | {"classes": "*+*"})
    for folder in every.parent.glob(every.name):
        shutil.rmtree(folder, ignore_errors=True)


def measure_all(options):
    results = Results(f"table_4_{options.preset}")
    one = partial(in_fresh_process, __file__, quick=options.preset == "smoke", keep=options.keep)
    of_an_order = grouped(chosen(rows_of(options.preset), options), (*KEY[:3], "seed"))
    for rows in of_an_order.values():
        for row in rows:
            results.measure(one, **row)
            save(results)
        forget_experts(rows[0])
    draw(results)


def main():
    choice = subset_arguments("data", "network", "strategy", "what", "cpc", "seed")
    command_line(__doc__, PRESETS, measure, measure_all, choice | {"--keep": KEEP})


if __name__ == "__main__":
    main()
