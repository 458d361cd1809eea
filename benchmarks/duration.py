"""DisTrack's tasks: short sounds or many, spectra of several kinds, and nearest prototypes.

    DDFAD_DATA=folder python benchmarks/duration.py --preset smoke|cpu|gpu [--keep FOLDER]
        [--features Chromagram] [--what dm] [--parameterization waveform-0.2] [--judge network]
        [--cpc 10] [--seed 0]

The claim: at equal storage, many short sounds are worth what few long ones are. Sets are learned as
samples of 0.1, 0.2, 0.3 s or as long as the extractor listens, in the numbers of ten feature images
a class, and heard in the middle of silence. DM learns them, as in DisTrack; MTT for comparison; and
random real clips are kept in the same way, cut to where they are loudest. The test clips are whole.

DM on mel spectrograms and on chromagrams comes beside that, judged by networks that learn from a
set, and by the nearest prototype in the embedding of a network, drawn at random or trained on the
set: ``mean`` has one prototype a class, the mean direction of its clips, ``nearest`` makes each
clip one, by its cosine. ``whole`` is the mean of all real clips.

DisTrack (https://github.com/IsitaRex/DisTrack) prints figures for AudioMNIST, digits of other
speakers in mel spectrograms of another kind. Five judges a set; clip by clip, with intervals of
95 % (see ``_sets.half_width``).
"""

import warnings
from functools import partial

from _draw import bars, curves
from _harness import Results, command_line, in_fresh_process, network, print_table
from _sets import (
    FEATURES,
    KEEP,
    STORAGE,
    chosen,
    compared,
    find,
    grouped,
    judgement,
    judges,
    kept_in,
    one_after_another,
    recordings_of,
    subset_arguments,
    summarize,
    told,
    written,
)

KEY = ("data", "split", "network", "features", "what", "parameterization", "cpc", "judge")
DIGITS = ("fsdd", "official")
MEL, SPECTRA = "LogMelSpectrogram", ("LogMelSpectrogram", "Chromagram")
SHORT, LONG = ("waveform-0.1", "waveform-0.2", "waveform-0.3"), "waveform-whole"
MEANS = ("mean, random", "mean, trained")  # prototypes, and the network that embeds them
NEAREST = ("nearest, random", "nearest, trained")


def digits(network_name, seeds):
    """Return the parts of a preset."""
    cell = (*DIGITS, network_name)
    lengths, network_only = (*SHORT, LONG), ("network",)
    all_judges = ("network", *MEANS, *NEAREST)
    of_one_clip = ("network", *NEAREST)  # which is the mean of itself
    direct = ("direct",)
    return [
        (*cell, FEATURES, ("random", "dm", "mtt"), lengths, (10,), network_only, seeds),
        (*cell, MEL, ("random", "dm"), (*lengths, "direct"), (10,), network_only, seeds),
        *(
            part
            for features in (*SPECTRA, FEATURES)
            for part in (
                (*cell, features, ("random", "dm"), direct, (1,), of_one_clip, seeds),
                (*cell, features, ("random", "dm"), direct, (10,), all_judges, seeds),
                (*cell, features, ("whole",), direct, (None,), MEANS, seeds),
            )
        ),
    ]


# Each part: data set, split, network, features, methods, parameterisations, clips per class,
# judges, seeds.
PRESETS: dict = {
    "smoke": [
        (*DIGITS, "convnet-8", MEL, ("dm",), SHORT[:2], (2,), ("network",), 1),
        (*DIGITS, "convnet-8", MEL, ("random",), ("direct",), (2,), (MEANS[0], NEAREST[0]), 1),
        (*DIGITS, "convnet-8", "Chromagram", ("dm",), ("direct",), (2,), ("network",), 1),
        (*DIGITS, "convnet-8", "Chromagram", ("whole",), ("direct",), (None,), MEANS[:1], 1),
    ],
    "cpu": digits("convnet-32", 1),
    "gpu": digits("convnet-128", 2),
}
# Printed by DisTrack for AudioMNIST, in %.
DISTRACK = {
    (MEL, "dm", "direct", cpc, judge): float(figure)
    for judge, figures in {"network": {1: 40, 10: 60}, NEAREST[0]: {1: 59, 10: 48}}.items()
    for cpc, figure in figures.items()
} | {(MEL, "whole", "direct", None, MEANS[0]): 59.0}


def measure(quick, keep, judge, **cell):
    """Make a set, or take all clips, and let networks or prototypes tell what it is worth."""
    from sklearn_ddfad import evaluate

    recordings = recordings_of(cell, quick)
    options = judges(cell["network"], quick=quick)
    if judge != "network":
        options["estimator"] = prototypes(cell["network"], *judge.split(", "))
    (X, y), kept = recordings.train, {}
    if cell["what"] != "whole":
        few = find(cell, quick=quick, keep=keep)
        X, y, kept = few.X, few.y, kept_in(few) | {"seconds_a_clip": seconds_of(few)}
    with warnings.catch_warnings():  # of what is alike in all clips of each class
        warnings.filterwarnings("ignore", "self.within_class_std_dev_ has at least 1 zero")
        result = evaluate(X, y, *recordings.test, random_state=cell["seed"], **options)
    return judgement(result) | kept


def prototypes(network_name, kind, embedding):
    """Return a classifier by the nearest prototype, as directions in the embedding of a network."""
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import Normalizer

    from sklearn_ddfad import NetworkEmbedding

    embedded = NetworkEmbedding(network(network_name), trained=embedding == "trained")
    classifier = {"mean": NearestCentroid(), "nearest": KNeighborsClassifier(1)}[kind]
    return make_pipeline(embedded, Normalizer(), classifier)


def seconds_of(few):
    """Return how long the sound of a clip is, without the silence around it."""
    n_samples = getattr(few.decoder, "n_samples", few.extractor.n_samples_)
    return n_samples / few.extractor.sample_rate_


def rows_of(preset):
    """Return the rows of a preset, seed by seed; what stands in several parts comes once."""
    rows = [
        dict(
            zip(
                (*KEY, "seed"),
                (data, split, network, features, what, kept, n, judge, seed),
                strict=True,
            )
        )
        for seed in range(2)
        for data, split, network, features, methods, lengths, cpc, by, seeds in PRESETS[preset]
        if seed < seeds
        for n in cpc
        for kept in lengths
        for what in methods
        for judge in by
    ]
    return [row for i, row in enumerate(rows) if row not in rows[:i]]


# ------------------------------------------------------------------------------------------
# What it tells
# ------------------------------------------------------------------------------------------


def summary_of(rows):
    """Return the mean of each cell, what its sets are kept in, and what DisTrack prints."""
    return [
        line | {"DisTrack": DISTRACK.get(tuple(line[key] for key in KEY[3:]))}
        for line in summarize(rows, KEY, (*STORAGE, "seconds_a_clip"))
    ]


def trade_offs(rows):
    """Return by how much many short sounds are worth more than few long ones."""
    cells = grouped(rows, KEY)
    return [
        dict(zip(KEY, cell, strict=True)) | compared(ours, long)
        for cell, ours in cells.items()
        if cell[5] in SHORT and (long := cells.get((*cell[:5], LONG, *cell[6:])))
    ]


def save(results):
    """Write the file, with the means and the trade-off."""
    results.save(summary=summary_of(results.rows), trade_offs=trade_offs(results.rows))


def draw(results):
    """Draw accuracy against duration, and the judges beside each other; print both."""
    summary = results.content["summary"]
    labels = {
        "mean": "test accuracy (%)",
        "seconds_a_clip": "duration (s)",
        "set": "set, clips a class",
    }
    curves(
        [line for line in summary if line["parameterization"] in (*SHORT, LONG)],
        "seconds_a_clip",
        "mean",
        results.picture(),
        by="what",
        panels="features",
        labels=labels,
        scale=("linear", "linear"),
    )
    bars(
        [
            line | {"set": _set(line).replace(" ", "\n")}
            for line in summary
            if line["parameterization"] == "direct"
        ],
        "set",
        "mean",
        results.picture("prototypes"),
        by="judge",
        panels="features",
        error="interval",
        mark="DisTrack",
        labels=labels,
    )
    tables = {}
    for line in summary:
        table = tables.setdefault(f"{line['features']}, {line['parameterization']}", {})
        table.setdefault(_set(line), {})[line["judge"]] = written(line)
    for title, table in tables.items():
        print_table(f"{title}: %, 95 % interval, by judge", table)
    for found in results.content["trade_offs"]:
        print("short sounds against long ones:", told([found[key] for key in KEY], found))


def _set(line):
    return f"{line['what']} {line['cpc'] or ''}".strip()


def measure_all(options):
    results = Results(f"duration_{options.preset}")
    one = partial(in_fresh_process, __file__, quick=options.preset == "smoke", keep=options.keep)
    for row in one_after_another(chosen(rows_of(options.preset), options)):
        results.measure(one, **row)
        save(results)
    save(results)
    draw(results)


def main():
    choice = subset_arguments(
        "data", "features", "what", "parameterization", "judge", "cpc", "seed"
    )
    command_line(__doc__, PRESETS, measure, measure_all, choice | {"--keep": KEEP})


if __name__ == "__main__":
    main()
