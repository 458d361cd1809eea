"""The main job on spoken digits: random selection, distilled set and whole set, at equal clips.

    DDFAD_DATA=folder python benchmarks/main_job.py --preset smoke|cpu|gpu

FSDD's own split; one distillation a seed, five judges each. Nothing is chosen on test data: the
distiller keeps a tenth of the training part aside to select on.
"""

import argparse
import os
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
from _harness import Results, in_fresh_process, peak_memory

PRESETS: dict = {
    "smoke": {"seeds": 1, "cpc": (1,), "quick": True},
    "cpu": {"seeds": 3, "cpc": (1, 10), "quick": False},
    "gpu": {"seeds": 5, "cpc": (1, 10, 50), "quick": False},
}


@cache
def digits():
    """Return features and labels of FSDD's training and test part."""
    from sklearn_ddfad import FDMFCC, load_audio_folder

    folder = Path(os.environ["DDFAD_DATA"]) / "fsdd"
    train, test = (load_audio_folder(folder, split=split) for split in ("train", "test"))
    extractor = FDMFCC(train.sample_rate)
    return (
        (extractor.fit_transform(train.data), train.target),
        (extractor.transform(test.data), test.target),
    )


def measure(what, cpc, seed, quick=False, memory=None):
    """Make one set and let five judges tell what it is worth."""
    from sklearn.dummy import DummyClassifier

    from sklearn_ddfad import RandomSelector, TrajectoryDistiller, evaluate, network_classifier

    (X, y), test = digits()
    started = perf_counter()
    if what == "whole":
        few = X, y
    else:
        options = {"estimator": DummyClassifier(), "random_state": seed}
        if what == "distilled":
            options["memory"] = memory
            options |= {"max_iter": 2, "n_experts": 1, "max_start_epoch": 0} if quick else {}
        kind = {"random": RandomSelector, "distilled": TrajectoryDistiller}[what]
        reducer = kind(cpc, **options).fit(X, y)
        few = reducer.distilled_.X, reducer.y_distilled_
    seconds = perf_counter() - started
    judge = network_classifier(**({"n_steps": 20} if quick else {}))
    result = evaluate(*few, *test, estimator=judge, n_repeats=1 if quick else 5, random_state=seed)
    return {
        "accuracy": [round(float(score), 4) for score in result["test_score"]],
        "numbers_kept": result["n_stored"],
        "seconds_to_make": seconds,
        "seconds_to_judge": float(result["fit_time"].sum()),
        "peak_megabytes": peak_memory(),
    }


def summarize(rows):
    """Return mean and standard deviation over seeds (and over judges) for each kind of set."""
    summary = {}
    for row in rows:
        summary.setdefault((row["what"], row["cpc"]), []).append(row["accuracy"])
    return [
        {
            "what": what,
            "cpc": cpc,
            "mean": round(100 * float(np.mean(accuracy)), 2),
            "std over seeds": round(100 * float(np.std(np.mean(accuracy, axis=1))), 2),
            "std over judges": round(100 * float(np.mean(np.std(accuracy, axis=1))), 2),
            "seeds": len(accuracy),
        }
        for (what, cpc), accuracy in summary.items()
    ]


def main():
    """Measure what is missing, print and write the table."""
    import json

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=PRESETS, default="smoke")
    parser.add_argument("--one")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(**json.loads(options.one))))
        return
    preset, results = PRESETS[options.preset], Results(f"main_job_{options.preset}")
    with TemporaryDirectory() as memory:
        for seed in range(preset["seeds"]):
            cells = [(w, cpc) for cpc in preset["cpc"] for w in ("random", "distilled")]
            for what, cpc in [*cells, ("whole", None)]:
                results.measure(
                    lambda **key: in_fresh_process(
                        __file__, quick=preset["quick"], memory=memory, **key
                    ),
                    what=what,
                    cpc=cpc,
                    seed=seed,
                )
                results.save(summary=summarize(results.rows))
    for line in results.content["summary"]:
        print(line)


if __name__ == "__main__":
    main()
