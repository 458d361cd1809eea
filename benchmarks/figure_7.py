"""Figure 7: white noise added to distilled waveforms, and what the set is then worth.

    DDFAD_DATA=folder python benchmarks/figure_7.py --preset smoke|cpu|gpu [--keep FOLDER]
        [--what mtt] [--cpc 10] [--seed 0]

The claim: with noise 20 dB below the level of each clip, a set that MTT distilled is worth what it
is without, to within three points. Sets become sound (Algorithm 2), noise is added at 40, 30, 20
and 10 dB below the level of each clip, the noisy clips are heard by the extractor, and five
networks learn from them; test clips stay clean. The same for random clips, which become sound in
the same way. ``none`` is the sound without noise, ``features`` the set before it became sound.
Sets are those of Table 1, found where that keeps them (``--keep``), or made.

The paper's figure has standard deviations of noise without saying of what level the clips are, and
no numbers for accuracies, which "remain stable". Differences from the sound without noise are taken
clip by clip, with intervals of 95 % (see ``_sets.half_width``).
"""

from functools import partial

from _draw import curves
from _harness import Results, command_line, in_fresh_process, print_table
from _sets import (
    KEEP,
    chosen,
    compared,
    find,
    grouped,
    judged,
    judgement,
    judges,
    one_after_another,
    recordings_of,
    subset_arguments,
    summarize,
    told,
    written,
)

LEVELS = (40, 30, 20, 10)  # dB below a clip's own
KEY = ("data", "split", "network", "what", "cpc")
# Each part: data set, split, network, methods, clips per class, seeds.
PRESETS: dict = {
    "smoke": [("fsdd", "official", "convnet-8", ("random", "mtt"), (1,), 1)],
    "cpu": [("fsdd", "official", "convnet-32", ("random", "mtt"), (10,), 2)],
    "gpu": [("fsdd", "official", "convnet-128", ("random", "mtt"), (1, 10, 50), 3)],
}


def measure(quick, keep, **cell):
    """Judge a set as features, as sound, and as sound with noise."""
    from sklearn_ddfad import noise_robustness

    few, recordings = find(cell, quick=quick, keep=keep), recordings_of(cell, quick)
    name, seed, test = cell["network"], cell["seed"], recordings.test
    noisy = noise_robustness(
        few.to_audio(),
        few.targets,
        *test,
        extractor=recordings.extractor,
        snr_db=LEVELS,
        random_state=seed,
        **judges(name, quick=quick),
    )
    points = [{"noise": "features"} | judged(few.X, few.targets, test, name, seed, quick=quick)]
    points += [
        {"noise": noise} | judgement(result)
        for noise, result in zip(("none", *LEVELS), noisy.values(), strict=True)
    ]
    return {"points": points}


def rows_of(preset):
    """Return the rows of a preset, seed by seed."""
    return [
        dict(zip((*KEY, "seed"), (data, split, network, what, n, seed), strict=True))
        for seed in range(3)
        for data, split, network, methods, cpc, seeds in PRESETS[preset]
        if seed < seeds
        for n in cpc
        for what in methods
    ]


def effects(points):
    """Return by how much sets with noise, and before they became sound, are worth more."""
    cells = grouped(points, (*KEY, "noise"))
    return [
        dict(zip((*KEY, "noise"), cell, strict=True)) | compared(rows, cells[*cell[:-1], "none"])
        for cell, rows in cells.items()
        if cell[-1] != "none"
    ]


def draw(results):
    """Draw the accuracy over the amplitude of the noise, and print it."""
    summary = results.content["summary"]
    amplitude = {"none": 0.0} | {level: 10 ** (-level / 20) for level in LEVELS}
    curves(
        [line | {"amplitude": amplitude.get(line["noise"])} for line in summary],
        "amplitude",
        "mean",
        results.picture(),
        by=["what", "cpc"],
        panels="data",
        labels={
            "amplitude": "amplitude of the noise, of the clip's",
            "mean": "test accuracy (%)",
            "cpc": "clips per class",
        },
        scale=("linear", "linear"),
    )
    table = {}
    for line in summary:
        table.setdefault(f"{line['what']} {line['cpc']}", {})[str(line["noise"])] = written(line)
    print_table("%, 95 % interval, by dB of noise below the level of each clip", table)
    for effect in results.content["effects"]:
        if effect["noise"] == 20:
            print("20 dB against no noise:", told([effect[key] for key in KEY], effect))


def measure_all(options):
    results = Results(f"figure_7_{options.preset}")
    one = partial(in_fresh_process, __file__, quick=options.preset == "smoke", keep=options.keep)
    for row in one_after_another(chosen(rows_of(options.preset), options)):
        results.measure(one, **row)
        points = [row | point for row in results.rows for point in row["points"]]
        results.save(summary=summarize(points, (*KEY, "noise")), effects=effects(points))
    draw(results)


def main():
    choice = subset_arguments("data", "what", "cpc", "seed")
    command_line(__doc__, PRESETS, measure, measure_all, choice | {"--keep": KEEP})


if __name__ == "__main__":
    main()
