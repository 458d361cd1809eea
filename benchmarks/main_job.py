"""The main job on spoken digits: random selection, distilled set and whole set, at equal clips.

    DDFAD_DATA=folder python benchmarks/main_job.py --preset smoke|cpu|gpu [--network vgg11]

FSDD's own split; one distillation a seed, five judges each, all of the same architecture: the
ConvNet of width 32, or those of the paper on a GPU. Nothing is chosen on test data: the distiller
keeps a tenth of the training part aside to select on. Experts are trained for the first number of
clips, and found again for the others of a seed.
"""

from functools import partial
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from _draw import bars
from _harness import (
    Results,
    command_line,
    digits,
    in_fresh_process,
    network,
    peak_device_memory,
    peak_memory,
)

DEFAULT = "convnet-32"
PRESETS: dict = {
    "smoke": {"networks": ("convnet-8",), "seeds": 1, "cpc": (1,), "quick": True},
    "cpu": {"networks": (DEFAULT,), "seeds": 3, "cpc": (1, 10), "quick": False},
    "gpu": {
        "networks": ("convnet-128", "resnet18", "vgg11"),
        "seeds": 3,
        "cpc": (1, 10, 50),
        "quick": False,
    },
}
NETWORK = {"help": "measure this one of the preset's networks only"}
QUICK = {
    "max_iter": 2,
    "n_experts": 1,
    "max_start_epoch": 0,
    "student_steps": 2,
    "validation_fraction": 0,
}


def measure(what, cpc, seed, network_name, quick=False, memory=None):
    """Make one set and let five judges tell what it is worth."""
    from sklearn.dummy import DummyClassifier

    from sklearn_ddfad import RandomSelector, TrajectoryDistiller, evaluate, network_classifier

    (X, y), test = (tuple(array[:: 10 if quick else 1] for array in part) for part in digits())
    architecture = network(network_name)
    started = perf_counter()
    if what == "whole":
        few = X, y
    else:
        options = {"network": architecture, "estimator": DummyClassifier(), "random_state": seed}
        if what == "distilled":
            options["memory"] = memory
            options |= QUICK if quick else {}
        kind = {"random": RandomSelector, "distilled": TrajectoryDistiller}[what]
        reducer = kind(cpc, **options).fit(X, y)
        few = reducer.distilled_.X, reducer.y_distilled_
    seconds, peak = perf_counter() - started, peak_device_memory()
    judge = network_classifier(architecture, **({"n_steps": 20} if quick else {}))
    result = evaluate(*few, *test, estimator=judge, n_repeats=1 if quick else 5, random_state=seed)
    return {
        "accuracy": [round(float(score), 4) for score in result["test_score"]],
        "numbers_kept": result["n_stored"],
        "seconds_to_make": seconds,
        "seconds_to_judge": float(result["fit_time"].sum()),
        "peak_megabytes": peak_memory(),
        "peak_device_megabytes": peak,
    }


def summarize(rows):
    """Return mean and standard deviation over seeds (and over judges) for each kind of set."""
    summary = {}
    for row in rows:
        kind = row.get("network", DEFAULT), row["what"], row["cpc"]
        summary.setdefault(kind, []).append(row["accuracy"])
    return [
        {
            "network": name,
            "what": what,
            "cpc": cpc,
            "mean": round(100 * float(np.mean(accuracy)), 2),
            "std over seeds": round(100 * float(np.std(np.mean(accuracy, axis=1))), 2),
            "std over judges": round(100 * float(np.mean(np.std(accuracy, axis=1))), 2),
            "seeds": len(accuracy),
        }
        for (name, what, cpc), accuracy in summary.items()
    ]


def measure_sets(results, networks, seeds, cpc, quick):
    """Measure what is missing; the experts of a seed and network are shared by its sets."""
    sets = [(what, n) for n in cpc for what in ("random", "distilled")] + [("whole", None)]
    for name in networks:
        key = {} if name == DEFAULT else {"network": name}
        with TemporaryDirectory() as memory:
            one = partial(in_fresh_process, __file__, network_name=name, quick=quick, memory=memory)
            for seed in range(seeds):
                for what, n in sets:
                    results.measure(
                        lambda what, cpc, seed, one=one, **_: one(what=what, cpc=cpc, seed=seed),
                        **key,
                        what=what,
                        cpc=n,
                        seed=seed,
                    )
                    results.save(summary=summarize(results.rows))


def measure_all(options):
    """Measure what is missing, print, write and draw the table."""
    preset, results = dict(PRESETS[options.preset]), Results(f"main_job_{options.preset}")
    if options.network:
        preset["networks"] = (options.network,)
    measure_sets(results, **preset)
    for line in results.content["summary"]:
        print(line)
    bars(
        [row | {"cpc": row["cpc"] or "all"} for row in results.content["summary"]],
        "cpc",
        "mean",
        results.picture(),
        by="what",
        panels="network",
        error="std over seeds",
        labels={"mean": "test accuracy (%)", "cpc": "clips per class"},
    )


def main():
    command_line(__doc__, PRESETS, measure, measure_all, {"--network": NETWORK})


if __name__ == "__main__":
    main()
