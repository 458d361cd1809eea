"""Round trip: what a set is worth as 16-bit WAV files, beside the features that it was made of.

    DDFAD_DATA=folder python benchmarks/round_trip.py --preset smoke|cpu|gpu [--keep FOLDER]
        [--what mtt] [--parameterization waveform] [--cpc 10] [--seed 0]

The claim: at ten clips a class the sound files of a set are worth at most two points less than its
features, and teach ResNet18 and VGG11 within three points of what the features do. Sets are written
by ``DistilledSet.to_audio_folder`` and read by ``load_audio_folder``, as somebody would who has the
files and no more, then heard by the extractor as it was fitted. Random real clips, which are kept
and written in the same way, tell what is lost on the way even by recordings. Sets are those of
``parameterizations.py``, found where that keeps them (``--keep``), or made. Five networks of each
architecture learn from either; what comes back bit for bit is not learned again. Clip by clip, with
intervals of 95 % (see ``_sets.half_width``).

Within five points of the ConvNet is what ResNet18 and VGG11 are to reach on features. On a CPU
networks have a quarter of the usual width.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from _draw import bars
from _harness import Results, command_line, in_fresh_process, print_table
from _sets import (
    KEEP,
    STORAGE,
    chosen,
    compared,
    family,
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

KEY = ("data", "split", "network", "what", "parameterization", "cpc")
OF_A_POINT = (*KEY, "judge")
FEATURES, FILES = "features", "files"
DIGITS = ("fsdd", "official")
METHODS, KEPT = ("random", "mtt"), ("direct", "static", "waveform")
CPU_JUDGES = ("convnet-32", "resnet18-16", "vgg11-16")
PAPER_NETWORKS = ("convnet-128", "resnet18", "vgg11")
LOST = {"convnet": 2, "resnet18": 3, "vgg11": 3}  # points that files may be worth less
BEHIND = 5  # points that another architecture may be behind the ConvNet
# Each part: data set, split, network, methods, parameterisations, clips per class, judges, seeds.
PRESETS: dict = {
    "smoke": [(*DIGITS, "convnet-8", METHODS, ("static",), (1,), ("convnet-8", "vgg11-8"), 1)],
    "cpu": [
        (*DIGITS, "convnet-32", ("mtt",), KEPT, (10,), CPU_JUDGES, 2),
        (*DIGITS, "convnet-32", ("random",), KEPT, (10,), CPU_JUDGES[:1], 2),
    ],
    "gpu": [(*DIGITS, "convnet-128", METHODS, KEPT, (10, 1), PAPER_NETWORKS, 2)],
}


def measure(quick, keep, judges, **cell):
    """Judge a set as it was made, and as it comes back from sound files."""
    few, recordings = find(cell, quick=quick, keep=keep), recordings_of(cell, quick)
    back, labels = through_files(few, recordings.extractor)
    is_same, points = np.array_equal(back, few.X) and np.array_equal(labels, few.y), []
    for judge in judges:
        learn = partial(judged, test=recordings.test, network_name=judge, quick=quick)
        of_features = learn(few.X, few.y, seed=cell["seed"])
        of_files = of_features if is_same else learn(back, labels, seed=cell["seed"])
        points += [{"judge": judge, "as": FEATURES} | of_features]
        points += [{"judge": judge, "as": FILES} | of_files]
    error = float(np.sqrt(np.mean(np.square(back - few.X))))
    return kept_in(few) | {"feature_error": error, "points": points}


def through_files(few, extractor):
    """Return features and labels of the sound files that a set is written to."""
    from sklearn_ddfad import load_audio_folder

    with TemporaryDirectory() as folder:
        place = Path(folder, "set")
        few.to_audio_folder(place)
        recordings = load_audio_folder(place)
    return extractor.transform(recordings.data), recordings.target


def rows_of(preset):
    """Return the rows of a preset, seed by seed."""
    return [
        dict(zip((*KEY, "seed"), (data, split, network, what, kept, n, seed), strict=True))
        | {"judges": list(judges)}
        for seed in range(2)
        for data, split, network, methods, parameterizations, cpc, judges, seeds in PRESETS[preset]
        if seed < seeds
        for n in cpc
        for kept in parameterizations
        for what in methods
    ]


def points_of(rows):
    """Return what was measured, a row for each judge and form."""
    return [row | point for row in rows for point in row["points"]]


def losses(points):
    """Return by how much sound files are worth more than features, judge by judge."""
    cells = grouped(points, (*OF_A_POINT, "as"))
    return [
        dict(zip(OF_A_POINT, cell[:-1], strict=True)) | compared(files, cells[*cell[:-1], FEATURES])
        for cell, files in cells.items()
        if cell[-1] == FILES
    ]


def demands(summary, losses):
    """Return what distilled sets of ten clips a class are to reach, and whether they do."""
    lines = [line for line in summary if line["as"] == FEATURES and line["what"] != "random"]
    mean = {tuple(line[key] for key in OF_A_POINT): line["mean"] for line in lines}
    asked = [
        (line, "files against features", line["difference"], -LOST[family(line["judge"])])
        for line in losses
        if line["what"] != "random"
    ] + [
        (line, f"against {line['network']}", line["mean"] - mean[ours], -BEHIND)
        for line in lines
        if line["judge"] != line["network"]
        and (ours := (*(line[key] for key in KEY), line["network"])) in mean
    ]
    return [
        {key: line[key] for key in OF_A_POINT}
        | {"demand": demand, "least": least, "measured": round(value, 2), "met": value >= least}
        for line, demand, value, least in asked
        if line["cpc"] == 10
    ]


def save(results):
    """Write the file, with the means, what files lose, and what was asked for."""
    points = points_of(results.rows)
    summary, lost = summarize(points, (*OF_A_POINT, "as"), STORAGE), losses(points)
    results.save(summary=summary, losses=lost, demands=demands(summary, lost))


def draw(results):
    """Draw features and files beside each other, and print them."""
    summary = results.content["summary"]
    bars(
        [line for line in summary if line["what"] != "random"],
        "parameterization",
        "mean",
        results.picture(),
        by="as",
        panels=["cpc", "judge"],
        error="interval",
        labels={"mean": "test accuracy (%)", "cpc": "clips per class"},
    )
    table = {}
    for line in summary:
        name = f"{line['what']} {line['parameterization']} {line['cpc']}"
        table.setdefault(name, {})[f"{line['judge']}, {line['as']}"] = written(line)
    print_table("%, 95 % interval, by judge", table)
    for loss in results.content["losses"]:
        print("files against features:", told([loss[key] for key in OF_A_POINT], loss))
    for line in results.content["demands"]:
        said, cell = "met" if line["met"] else "MISSED", (line[key] for key in OF_A_POINT)
        text = f"{line['demand']}, {', '.join(map(str, cell))}"
        print(f"{said}: {text}: {line['measured']:+.1f}, at least {line['least']}")


def measure_all(options):
    results = Results(f"round_trip_{options.preset}")
    one = partial(in_fresh_process, __file__, quick=options.preset == "smoke", keep=options.keep)
    for row in one_after_another(chosen(rows_of(options.preset), options)):
        results.measure(one, **row)
        save(results)
    save(results)
    draw(results)


def main():
    choice = subset_arguments("data", "what", "parameterization", "cpc", "seed")
    command_line(__doc__, PRESETS, measure, measure_all, choice | {"--keep": KEEP})


if __name__ == "__main__":
    main()
