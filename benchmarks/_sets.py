"""Small sets of real recordings: made once, kept in a folder, judged, and what that tells.

A set is named by a cell: data set, split, network, what made it, clips per class, seed, of which
classes (``"0+7"``, where not of all), features, and what its numbers are (``_kept.py``), at equal
storage or with equally many clips.
"""

import re
import shutil
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from time import perf_counter

import numpy as np
from _harness import forget_peak_device_memory, network, peak_device_memory, peak_memory
from _librosa import are_there
from _recordings import FOR_ALL_SEEDS, cache_folder, heard
from scipy.stats import t as student_t

METHODS: dict = {
    "random": ("RandomSelector", {}),
    "herding": ("HerdingSelector", {}),
    "kcenter": ("KCenterSelector", {}),
    "dm": ("DistributionDistiller", {}),
    "dc": ("GradientDistiller", {"augmentation": None}),
    "dsa": ("GradientDistiller", {"augmentation": "auto"}),
    "mtt": ("TrajectoryDistiller", {}),
    "mtt-soft": ("TrajectoryDistiller", {"soft_labels": True}),
}
TAUGHT = {"random-soft": "random", "mtt-taught": "mtt"}  # labelled by who learned all clips
SELECTORS = ("random", "herding", "kcenter")
WITH_EXPERTS = ("mtt", "mtt-soft")
QUICK_CHOICE = {"embedding": "features"}
QUICK_DISTILLER = {"max_iter": 3, "validation_fraction": 0}
QUICK: dict = {
    "random": {},
    "herding": QUICK_CHOICE,
    "kcenter": QUICK_CHOICE,
    "dm": QUICK_DISTILLER,
    "dc": QUICK_DISTILLER,
    "dsa": QUICK_DISTILLER,
    "mtt": QUICK_DISTILLER | {"n_experts": 1, "max_start_epoch": 0, "student_steps": 2},
}
QUICK["mtt-soft"] = QUICK["mtt"]
FEATURES = "FDMFCC"
USUAL = {"features": FEATURES, "parameterization": "direct", "equal": "storage"}  # not mentioned
THIN = 10  # quick runs take every tenth clip
CELL = ("data", "split", "network", "what", "cpc", "seed", "classes", *USUAL)
OF_A_SET = ("what", "cpc", "parameterization", "equal")  # not of the experts that made it
KEEP = {"help": "folder of the sets made; without it, one in DDFAD_CACHE"}


# ------------------------------------------------------------------------------------------
# Which cells
# ------------------------------------------------------------------------------------------


def subset_arguments(*names):
    """Return command-line arguments that choose some rows of a preset, by name."""
    kinds = {"cpc": int, "fold": int, "seed": int}
    return {
        f"--{name}": {
            "action": "append",
            "type": kinds.get(name, str),
            "help": f"only rows with this {name}; may be given several times",
        }
        for name in names
    }


def chosen(rows, options):
    """Return the rows that the command line asks for and that there are recordings for."""
    wanted = {name: values for name, values in vars(options).items() if values is not None}
    rows = [row for row in rows if all(row[k] in wanted[k] for k in wanted.keys() & row.keys())]
    present = {data: are_there(data) for data in dict.fromkeys(row["data"] for row in rows)}
    return [row for row in rows if present[row["data"]]]


# ------------------------------------------------------------------------------------------
# Made and kept
# ------------------------------------------------------------------------------------------


def recordings_of(cell, quick):
    """Return the features that a cell is about; call it first where memory is to be measured."""
    recordings = heard(
        cell["data"],
        cell["split"],
        cell["seed"],
        cell.get("features", FEATURES),
        THIN if quick else 1,
    )
    if "classes" not in cell:
        return recordings
    X, y = recordings.train
    wanted = np.isin(y.astype(str), cell["classes"].split("+"))
    return recordings._replace(train=(X[wanted], y[wanted]))


def find(cell, *, quick, keep):
    """Return the set of a cell as it is kept, or make it now."""
    from sklearn_ddfad import DistilledSet

    path = _path(cell, quick, keep)
    if path.is_file():
        return DistilledSet.load(path)
    few = make(cell, quick=quick, keep=keep)
    settle(cell, quick=quick, keep=keep)
    return few


def make(cell, *, quick, keep):
    """Make the set of a cell and keep it, with what making it took in its provenance.

    A fit that was killed goes on where it was; how long it took in all is then not known. One that
    was through, but not settled, is not made again.
    """
    from sklearn_ddfad import DistilledSet

    path = _path(cell, quick, keep)
    if path.is_file() and _checkpoint(path).exists():
        return DistilledSet.load(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # an older one is not to be taken for what is made now
    recordings, moments = recordings_of(cell, quick), []
    reducer = _reducer(cell, quick, keep, moments, recordings.extractor)
    resumed = _checkpoint(path).exists()
    forget_peak_device_memory()
    started = perf_counter()
    reducer.fit(*recordings.train)
    took = {
        "seconds": None if resumed else perf_counter() - started,
        "seconds_of_experts": None,
        "n_iter": getattr(reducer, "n_iter_", None),
        "peak_megabytes": peak_memory(),
        "peak_device_megabytes": peak_device_memory(),
    }
    if cell["what"] in WITH_EXPERTS and not resumed:  # the first iteration comes after them
        took["seconds_of_experts"] = max(moments[0] - started - np.diff(moments).mean(), 0)
    few = reducer.distilled_.with_extractor(recordings.extractor)
    few = replace(few, provenance=few.provenance | {"took": took})
    few.save(path)
    return few


def settle(cell, *, quick, keep):
    """Forget how far a fit had come: the set is made, and nobody will ask for it anew."""
    shutil.rmtree(_checkpoint(_path(cell, quick, keep)), ignore_errors=True)


def _reducer(cell, quick, keep, moments, extractor):
    """Return the selector or distiller of a cell; `moments` gets the time of each iteration."""
    from _kept import Taught, parameterization
    from sklearn.dummy import DummyClassifier

    import sklearn_ddfad

    what = cell["what"]
    if what in TAUGHT:
        clips = find(cell | {"what": TAUGHT[what]}, quick=quick, keep=keep)
        return Taught(clips, network(cell["network"]), _judge(quick), cell["seed"])
    name, options = METHODS[what]
    options = options | (QUICK[what] if quick else {})
    names = (_value(cell, key) for key in ("parameterization", "equal"))
    options["parameterization"] = parameterization(*names, extractor)
    if what not in SELECTORS:
        options["callbacks"] = [lambda _: moments.append(perf_counter())]
        options["checkpoint"] = _checkpoint(_path(cell, quick, keep))
    if what in WITH_EXPERTS:
        options["memory"] = str(_experts(cell))
    return getattr(sklearn_ddfad, name)(
        cell["cpc"],
        network=network(cell["network"]),
        estimator=DummyClassifier(),
        random_state=cell["seed"],
        **options,
    )


def _path(cell, quick, keep):
    folder = Path(keep) if keep else cache_folder() / "sets"
    return folder / f"{_name(cell, CELL)}{'-quick' * quick}.safetensors"


def _checkpoint(path):
    return path.with_suffix(".checkpoint")


def _experts(cell):
    """Return the folder of the experts that sets of all sizes share."""
    shared = [key for key in CELL if key not in OF_A_SET]
    return cache_folder() / "experts" / _name(cell, shared)


def _name(cell, keys):
    """Return the name of a cell; what is as usual is not mentioned."""
    return "-".join(str(cell[key]) for key in keys if _value(cell, key) != USUAL.get(key))


def _value(cell, key):
    return cell.get(key, USUAL.get(key))


def one_after_another(cells):
    """Yield cells; once those of a network, data set and seed are through, forget their experts."""
    for folder, group in groupby(cells, _experts):
        yield from group
        shutil.rmtree(folder, ignore_errors=True)


# ------------------------------------------------------------------------------------------
# Judged
# ------------------------------------------------------------------------------------------


def judges(network_name, *, quick):
    """Return who judges a set, as options of ``evaluate``: five networks, or one."""
    from sklearn_ddfad import network_classifier

    judge = network_classifier(network(network_name), **_judge(quick))
    return {"estimator": judge, "n_repeats": 1 if quick else 5}


def _judge(quick):
    return {"n_steps": 20} if quick else {}


STORAGE = ("numbers_kept", "bytes", "decoded_clips")


def kept_in(few):
    """Return what a set is kept in, and how many clips are decoded from it."""
    from sklearn_ddfad import storage

    found = storage(few)
    return dict(zip(STORAGE, (found["n_stored"], found["bytes"], found["n_clips"]), strict=True))


def judged(X, y, test, network_name, seed, *, quick):
    """Train networks on a set and test them on real clips."""
    from sklearn_ddfad import evaluate

    options = judges(network_name, quick=quick)
    row = judgement(evaluate(X, y, *test, random_state=seed, **options))
    return row | {"bytes": 4 * row["numbers_kept"], "decoded_clips": len(X)}


def judgement(result):
    """Return what is kept of a result of ``evaluate``.

    ``right`` has a digit for each test clip: how many of the networks told it rightly.
    """
    return {
        "accuracy": [round(float(score), 4) for score in result["test_score"]],
        "right": "".join(map(str, result["correct"].sum(axis=0))),
        "numbers_kept": result["n_stored"],
        "seconds_to_judge": float(result["fit_time"].sum()),
    }


# ------------------------------------------------------------------------------------------
# What it tells
# ------------------------------------------------------------------------------------------


def half_width(values, *, same_clips, extremes, judges=()):
    """Return half the width of the 95 % interval of a mean over seeds, clips and judges.

    Two things would come out differently another time, and are added in squares: which clips are in
    the test part, as if they were independent of one another; and how a set turns out, told from
    the spread over seeds. With a single seed the latter is not known, and only how its judges turn
    out is added. Student's t has the degrees of freedom of Welch and Satterthwaite.

    Parameters
    ----------
    values : list of 1-D arrays
        For each seed the share of judges that told each clip rightly, or the difference of two.
    same_clips : bool
        Whether all seeds were tested on the same clips.
    extremes : (float, float)
        Values of two clips more, without which few clips could all agree by chance.
    judges : list of 1-D arrays
        Of a single seed, the accuracy of each judge; of both, where two are compared.
    """
    clips = np.mean(values, axis=0) if same_clips else np.concatenate(values)
    clips = np.append(clips, extremes)
    spreads = [(clips.var(), len(clips))]
    if len(values) > 1:
        judges = [[np.mean(of_seed) for of_seed in values]]
    spreads += [(np.var(means, ddof=1), len(means)) for means in judges if len(means) > 1]
    variances, counts = np.transpose(spreads)
    squares = variances / counts
    freedom = squares.sum() ** 2 / (squares**2 / (counts - 1)).sum()
    return float(student_t.ppf(0.975, freedom) * np.sqrt(squares.sum()))


def grouped(rows, by):
    """Return ``{values of by: rows}``: what differs in nothing but the seed comes together."""
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(row)
    return groups


def summarize(rows, by, also=()):
    """Return the mean accuracy of each group of rows, in per cent, and how sure it is.

    And, where asked for, what all rows of a group have in common.
    """
    return [
        dict(zip(by, key, strict=True)) | _mean(group) | {k: group[0].get(k) for k in also}
        for key, group in grouped(rows, by).items()
    ]


def _mean(rows):
    accuracy = np.array([row["accuracy"] for row in rows])
    half = half_width(
        [*_shares(rows).values()],
        same_clips=same_clips(rows),
        extremes=(0, 1),
        judges=[rows[0]["accuracy"]],
    )
    fractions = {
        "mean": accuracy.mean(),
        "interval": half,
        "std over seeds": accuracy.mean(axis=1).std(),
        "std over judges": accuracy.std(axis=1).mean(),
    }
    return _in_percent(fractions) | {"seeds": len(rows), "n_test": len(rows[0]["right"])}


def compared(rows, others):
    """Return by how much rows are better than others, clip by clip, for seeds that both have."""
    ours, theirs = _shares(rows), _shares(others)
    common = ours.keys() & theirs.keys()
    judges = [row["accuracy"] for row in (*rows, *others) if row["seed"] in common]
    return difference(ours, theirs, same_clips=same_clips(rows), judges=judges)


def difference(ours, theirs, *, same_clips, judges=()):
    """Return by how much some ``{seed: share of each clip}`` are more than others."""
    common = ours.keys() & theirs.keys()
    differences = [ours[seed] - theirs[seed] for seed in sorted(common)]
    if not differences:
        return {"seeds": 0}
    half = half_width(differences, same_clips=same_clips, extremes=(-1, 1), judges=judges)
    mean = np.mean([np.mean(of_seed) for of_seed in differences])
    found = {"seeds": len(differences), "differs": bool(abs(mean) > half)}
    return _in_percent({"difference": mean, "interval": half}) | found


def _shares(rows):
    """Return, by seed, the share of judges that were right about each test clip."""
    return {row["seed"]: np.array([*map(int, row["right"])]) / len(row["accuracy"]) for row in rows}


def same_clips(rows):
    """Tell whether all seeds were tested on the same clips."""
    return all(row["split"] in FOR_ALL_SEEDS for row in rows)


def _in_percent(fractions):
    return {name: round(100 * float(value), 2) for name, value in fractions.items()}


def against_paper(summary, printed):
    """Return a summary with what the paper prints, and where that lies; None where it does not."""
    if printed is None:
        return summary | {"paper": None, "against the paper": None}
    difference = summary["mean"] - printed
    inside = abs(difference) <= summary["interval"]
    where = "inside the interval" if inside else "above" if difference > 0 else "below"
    return summary | {"paper": printed, "against the paper": where}


def written(summary):
    """Return a summary as text: the mean, its interval and, where there is one, the paper's."""
    paper = "" if summary.get("paper") is None else f" ({summary['paper']:.1f})"
    return f"{summary['mean']:.1f} ± {summary['interval']:.1f}{paper}"


def told(cell, found):
    """Return what :func:`compared` found as text, after the values that name the cell."""
    if not found["seeds"]:
        return f"{', '.join(map(str, cell))}: no seed in common"
    return f"{', '.join(map(str, cell))}: {found['difference']:+.1f} ± {found['interval']:.1f}"


def family(network_name):
    """Return the name of an architecture without its width, as the paper's tables have it."""
    return re.sub(r"-\d+$", "", network_name)
