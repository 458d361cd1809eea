"""Figure 8: networks ranked by what they learn from a small set, and by what from all clips.

    DDFAD_DATA=folder python benchmarks/figure_8.py --preset smoke|cpu|gpu [--jobs N]
        [--what mtt] [--what whole] [--seed 0]

The claim: distilled clips rank networks as training on all clips does (Spearman's correlation is at
least the paper's 0.73), better than as many random or herded ones, in a tenth of the time, and the
network that they choose is within a point of the best. Candidates are the paper's ConvNets; with
the CPU preset a random sample of those no wider than 64.

``whole`` is the truth: each network is trained on the 2,700 training clips of digits for 20 epochs
(1,080 steps), and tested on the 300 of the official test part. The mean over three trainings
counts, since of the good ones another is best each time; ``whole, again`` is how each of these
agrees with the mean of the others. The others know the training part only. A fifth of it, 540
clips, is kept aside to test candidates on; of the rest ``random``, ``herding`` and ``mtt`` make 20
clips a class, and a candidate takes 400 steps of ten clips, 20 epochs of these; ``early_stopping``
is all of the rest for two epochs, 432 steps. Where the paper's proxies take 100 and 10 epochs, it
does not say how many the truth does. With the paper's 100 epochs of 200 clips a proxy would cost
more than a third of our truth.

``mtt-static`` is kept in the same storage as ``mtt``, as cepstra alone, from which 60 clips a class
are decoded. Candidates take about as many steps of them: 420, seven epochs. Beside it are 60 random
clips, ``random-static``, which cepstra keep in that storage as they are.

Candidates that learn slowly, with layer normalisation for instance, are as good as others in the
end, and not after a hundred steps of the usual fifty clips. Ten clips in a step and half the step
size give them four times as many steps, of fewer clips in all. That was chosen on other candidates,
trained on the four fifths and tested on the fifth that is kept aside.

All is drawn three times (once with the smoke preset): weights, sets, and what proxies are tested
on; what is told of a proxy is the mean. The interval of 95 % of the difference of two correlations
is told from samples of draws and of candidates, that of each correlation from samples of candidates
alone. All times are of the training of the same networks, as many side by side, a thread each; the
first ratio is of training alone, the second counts what making the set took, too, once for all
candidates. What is printed in the paper is for the top 5 % of the 720, and for its method alone.

Candidates that are through are kept in ``DDFAD_CACHE``, and rows come a few dozen at a time. To
measure a row again, delete it, and the folder.
"""

import os
from functools import partial
from itertools import product

import numpy as np
from _draw import points
from _harness import Results, command_line, in_fresh_process, network, print_table
from _recordings import cache_folder, heard
from _sets import METHODS, QUICK, SELECTORS, THIN, grouped
from scipy.stats import rankdata

OPTIONS = ("depth", "width", "activation", "normalization", "pooling")
OVER = {"mtt": ("early_stopping", "random", "herding"), "mtt-static": ("random-static",)}
SETS = ("random", "herding", "mtt", "random-static", "mtt-static")
WHAT = ("whole", "early_stopping", *SETS)
OF_A_ROW = ("score", "fit_time", "n_parameters", "error")
MEASURES = ("spearman", "kendall", "spearman_top", "kendall_top", "regret")
MORE = ("accuracy_of_the_chosen", "time_ratio", "time_ratio_with_making")
AT_ONCE = 48  # rows that come together
N_PLANES = 3  # of FD-MFCC: cepstra, their differences, and the differences of these
SEVEN_EPOCHS = {"max_epochs": 7, "batch_size": 10, "lr": 0.05}  # 420 steps on 600 clips
PAPER = {"mtt": 0.73}
LEAST, MOST_TIME, MOST_REGRET = 0.73, 0.1, 0.01
PRESETS: dict = {
    "smoke": {
        "n": 3,
        "max_width": 32,
        "cpc": 1,
        "network": "convnet-8",
        "n_steps": 20,
        "draws": 1,
        "seed": 9,
    },
    "cpu": {
        "n": 48,
        "max_width": 64,
        "cpc": 20,
        "network": "convnet-32",
        "n_steps": None,
        "draws": 3,
        "seed": 0,
    },
    "gpu": {
        "n": None,
        "max_width": 256,
        "cpc": 20,
        "network": "convnet-128",
        "n_steps": None,
        "draws": 3,
        "seed": 0,
    },
}
JOBS = {
    "type": int,
    "help": "candidates trained at once; else one for each core, one with the smoke preset",
}
SEVERAL = {"action": "append", "help": "only these; may be given several times"}


# ------------------------------------------------------------------------------------------
# Trained
# ------------------------------------------------------------------------------------------


def space_of(preset):
    """Return the candidates of a preset, the same each time."""
    from sklearn_ddfad import convnet_space

    settings = PRESETS[preset]
    return convnet_space(
        settings["n"], max_width=settings["max_width"], random_state=settings["seed"]
    )


def measure(preset, what, seed, space, jobs):
    """Train some candidates on a proxy, or on all clips, and test them; return their rows."""
    from sklearn_ddfad import ArchitectureSearch

    recordings = heard("fsdd", "official", thin=THIN if preset == "smoke" else 1)
    search = ArchitectureSearch(
        space,
        proxy_of(preset, what, seed) if what in SETS else what,
        estimator=trained_by(preset, what),
        refit=False,
        checkpoint=cache_folder() / "figure_8" / f"{preset}-{what}-{seed}",
        n_jobs=jobs,
        random_state=seed,
        verbose=preset != "smoke",
    )
    tested = dict(zip(("X_val", "y_val"), recordings.test, strict=True)) if what == "whole" else {}
    search.fit(*recordings.train, **tested)
    made = {"seconds_to_make": search.proxy_.provenance["seconds"]} if what in SETS else {}
    return {"rows": [{name: row[name] for name in OF_A_ROW} | made for row in search.rows_]}


def trained_by(preset, what):
    """Return what trains candidates, None for what the search does by default."""
    from sklearn_ddfad import network_classifier

    if n_steps := PRESETS[preset]["n_steps"]:
        return network_classifier(n_steps=n_steps)
    if what.endswith("-static"):
        return network_classifier(n_steps=None, **SEVEN_EPOCHS)
    return None


def proxy_of(preset, what, seed):
    """Return the selector or distiller of a name, with its defaults."""
    import sklearn_ddfad

    method, _, is_static = what.partition("-")
    name, options = METHODS[method]
    options = options | (QUICK[method] if preset == "smoke" else {})
    settings = PRESETS[preset]
    cpc = settings["cpc"]
    if is_static and method in SELECTORS:
        cpc *= N_PLANES
    elif is_static:
        options["parameterization"] = sklearn_ddfad.Static()
    net = network(settings["network"])
    return getattr(sklearn_ddfad, name)(cpc, network=net, random_state=seed, **options)


# ------------------------------------------------------------------------------------------
# What it tells
# ------------------------------------------------------------------------------------------


def table_of(rows):
    """Return ``{what: {column: array}}`` of the candidates that were measured in every way.

    An array has a line for each draw.
    """
    of_each = grouped(rows, ("what", "seed"))
    named = {
        key: {tuple(row[name] for name in OPTIONS): row for row in of_key}
        for key, of_key in of_each.items()
    }
    common = sorted(set.intersection(*map(set, named.values())))
    table: dict = {}
    for (what, _), rows_by_name in sorted(named.items()):
        for key in ("score", "fit_time", "seconds_to_make"):
            line = [rows_by_name[name].get(key) for name in common]
            table.setdefault(what, {}).setdefault(key, []).append(np.array(line, dtype=float))
    return {what: {k: np.array(v) for k, v in columns.items()} for what, columns in table.items()}


def agreements(table, n_bootstrap):
    """Return how each draw of a proxy ranks the candidates, what it costs, and what it chooses."""
    from sklearn_ddfad import rank_agreement

    truths = table["whole"]["score"]
    seconds = np.nansum(table["whole"]["fit_time"]) / len(truths)
    found = []
    for what in [what for what in WHAT if what in table]:
        for draw, (score, took, made) in enumerate(zip(*table[what].values(), strict=True)):
            others = np.delete(truths, draw, axis=0) if what == "whole" else truths
            if not len(others):
                continue
            truth = others.mean(axis=0)
            of_training = np.nansum(took) / seconds
            found.append(
                {"what": "whole, again" if what == "whole" else what, "draw": draw}
                | rank_agreement(score, truth, n_bootstrap=n_bootstrap)
                | {
                    "accuracy_of_the_chosen": truth[np.nan_to_num(score).argmax()],
                    "accuracy_of_the_best": np.nanmax(truth),
                    "time_ratio": of_training,
                    "time_ratio_with_making": of_training + np.nan_to_num(made).max() / seconds,
                }
            )
    return found


def over_draws(found):
    """Return the mean of each proxy over its draws, and the standard deviation."""
    lines = []
    for (what,), draws in grouped(found, ("what",)).items():
        line = {"what": what, "paper": PAPER.get(what), "draws": len(draws)}
        for name in (*MEASURES, *MORE):
            values = [draw[name] for draw in draws]
            line |= {name: float(np.mean(values)), f"{name}_std": float(np.std(values))}
        lines.append(line)
    return lines


def differences(table, n_bootstrap):
    """Return by how much distilled clips rank better than others: Spearman's, over all."""
    values = {what: np.nan_to_num(of["score"]) for what, of in table.items()}
    truth = values["whole"].mean(axis=0)
    rng = np.random.RandomState(0)

    def correlation(what, which, some_draws):
        draws = values[what]
        picked = rng.randint(len(draws), size=len(draws)) if some_draws else range(len(draws))
        return np.mean([spearman(draws[i][which], truth[which]) for i in picked])

    def better(pair, which, some_draws):
        one, other = (correlation(what, which, some_draws) for what in pair)
        return one - other

    found = []
    for pair in [(what, other) for what, others in OVER.items() for other in others]:
        if not {*pair} <= values.keys():
            continue
        samples = rng.randint(len(truth), size=(n_bootstrap, len(truth)))
        sampled = np.array([better(pair, sample, some_draws=True) for sample in samples])
        known = sampled[~np.isnan(sampled)]
        interval = np.quantile(known, [0.025, 0.975]).tolist() if len(known) else None
        difference = better(pair, slice(None), some_draws=False)
        line = dict(zip(("what", "more than"), pair, strict=True))
        found.append(line | {"difference": difference, "interval": interval})
    return found


def spearman(a, b):
    """Return Spearman's correlation; NaN where all are alike."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return np.nan
    return np.corrcoef(rankdata(a), rankdata(b))[0, 1]


def demands(means, differing):
    """Return what distilled proxies are to reach, what came, and whether that is enough."""
    asked = []
    for line in [line for line in means if line["what"] in OVER]:
        asked += [
            (line["what"], "Spearman's correlation", line["spearman"], LEAST, 1),
            (line["what"], "time of training, of all clips'", line["time_ratio"], MOST_TIME, -1),
            (line["what"], "regret", line["regret"], MOST_REGRET, -1),
        ]
    asked += [
        (line["what"], f"Spearman's, over {line['more than']}", line["difference"], 0, 1)
        for line in differing
        if line["more than"] in SETS
    ]
    return [
        {
            "what": what,
            "demand": text,
            "bound": bound,
            "measured": round(value, 4),
            "met": bool(sign * (value - bound) >= (0 if bound else 1e-9)),
        }
        for what, text, value, bound, sign in asked
        if np.isfinite(value)
    ]


def plain(value):
    """Return numbers as JSON has them: no NaN."""
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        pairs = {key: plain(item) for key, item in items}
        return pairs if isinstance(value, dict) else [*pairs.values()]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value


def save(results, n_bootstrap):
    """Write the file, with how well rankings agree once the truth is known."""
    if {"whole"} < {row["what"] for row in results.rows}:
        table = table_of(results.rows)
        found = agreements(table, n_bootstrap)
        differing = differences(table, n_bootstrap)
        means = over_draws(found)
        summary = {"agreement": found, "over draws": means, "differences": differing}
        results.save(**plain(summary | {"demands": demands(means, differing)}))


def draw(results):
    """Draw the truth over each proxy's scores, and print what they tell."""
    if "agreement" not in results.content:
        return
    trained = grouped([row for row in results.rows if row["what"] == "whole"], OPTIONS)
    truth = {
        name: np.array([row["score"] for row in rows], dtype=float).mean()
        for name, rows in trained.items()
    }
    paired = [
        row | {"truth": truth.get(tuple(row[name] for name in OPTIONS))}
        for row in results.rows
        if row["what"] != "whole"
    ]
    labels = {"score": "accuracy of validation, proxy", "truth": "test accuracy, all clips"}
    points(paired, "score", "truth", results.picture(), panels="what", labels=labels)
    print_table(
        "rank correlation with the truth [95 %], draw by draw",
        {f"{line['what']} {line['draw']}": written(line) for line in results.content["agreement"]},
    )
    print_table(
        "mean ± std over draws",
        {
            line["what"]: {name: spread(line, name) for name in (*MEASURES, *MORE)}
            | {"the paper's, top 36": "" if line["paper"] is None else str(line["paper"])}
            for line in results.content["over draws"]
        },
    )
    for line in results.content["differences"]:
        more = f"Spearman's of {line['what']} over {line['more than']}:"
        print(more, with_interval(line, "difference"))
    for line in results.content["demands"]:
        said = "met" if line["met"] else "MISSED"
        demand = f"{line['what']}, {line['demand']}"
        print(f"{said}: {demand}: {line['measured']} (asked for {line['bound']})")


def written(line):
    """Return the cells of a proxy."""
    return {name: with_interval(line, name) for name in MEASURES} | {
        "top": str(line["n_top"]),
        "chosen, best (%)": f"{100 * line['accuracy_of_the_chosen']:.1f}, "
        f"{100 * line['accuracy_of_the_best']:.1f}",
        "time, with making": f"{line['time_ratio']:.3f}, {line['time_ratio_with_making']:.3f}",
    }


def spread(line, name):
    """Return the mean of a number over draws as text, with its standard deviation."""
    return "-" if line[name] is None else f"{line[name]:.3f} ± {line[f'{name}_std']:.3f}"


def with_interval(line, name):
    """Return a number as text, with its interval."""
    interval = line.get(f"{name}_interval") or line.get("interval")
    if line[name] is None or not interval or None in interval:
        return "-" if line[name] is None else f"{line[name]:.2f}"
    return f"{line[name]:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def measure_all(options):
    results = Results(f"figure_8_{options.preset}")
    jobs = options.jobs or (1 if options.preset == "smoke" else min(os.cpu_count() or 1, 8))
    one = partial(in_fresh_process, __file__, preset=options.preset, jobs=jobs)
    heard("fsdd", "official", thin=THIN if options.preset == "smoke" else 1)
    for seed, what in product(range(PRESETS[options.preset]["draws"]), WHAT):
        if what not in (options.what or WHAT) or seed not in (options.seed or [seed]):
            continue
        key = {"what": what, "seed": seed}
        missing = [c for c in space_of(options.preset) if not results.find(**key, **c)]
        for start in range(0, len(missing), AT_ONCE):
            some = missing[start : start + AT_ONCE]
            measured = one(**key, space=some)["rows"]
            for candidate, row in zip(some, measured, strict=True):
                results.measure(lambda row=row, **_: plain(row), **key, **candidate)
    save(results, n_bootstrap=100 if options.preset == "smoke" else 2000)
    draw(results)


def main():
    arguments = {
        "--jobs": JOBS,
        "--what": SEVERAL | {"choices": WHAT},
        "--seed": SEVERAL | {"type": int},
    }
    command_line(__doc__, PRESETS, measure, measure_all, arguments)


if __name__ == "__main__":
    main()
