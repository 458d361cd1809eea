"""The Time-Frequency Enhancer and a teacher: what each is worth, by the protocol of the TFE paper.

    DDFAD_DATA=folder python benchmarks/esc.py --preset smoke|cpu|b0|gpu
        [--data FOLDER] [--split group|official] [--weights FOLDER]
        [--network efficientnetv2-8] [--what "TFE(4)"] [--fold 0] [--seed 0]

The claims: the enhancer in front of a network is at least as good as the network alone, and either
is better with a teacher than without. ESC-10 and ESC-50 come in five folds, the column ``group`` of
their ``metadata.csv``; all clips are tested, each by the network that did not learn its fold. With
``--split official`` any audiofolder with a column ``split``, Speech Commands say, is learned from
its training part and tested on its test part, and trained as the paper trains on that. ``--data``
is a folder in ``DDFAD_DATA`` or a path.

Everything is trained from scratch by ``training_recipe``, with a larger first step size, since
nothing comes with weights: of 1e-3, 3e-3 and 1e-2 the one by which the backbone alone learned most
of UrbanSound8K. So it is the differences that compare with the paper's, not the accuracies: its
networks come from ImageNet, and its teacher from AudioSet. The teacher here is a soft vote of three
networks like the student that learned the same clips, one vote a fold for all seeds; with
``--weights``, an AST fine-tuned from there in five epochs. It says what it says about the same
mixed and augmented batches as the student sees.

Differences are told clip by clip, over the seeds that both have, with an interval of 95 %
(``_sets.half_width``). On a CPU networks have a quarter of the channels, clips 40 bands and 126
frames; with the GPU preset it is EfficientNetV2-B2 and 128 bands with 501 frames. In between is
``b0``: EfficientNetV2-B0, as published, on clips as on a CPU.
"""

from functools import partial
from time import perf_counter

import joblib
from _draw import bars
from _harness import Results, command_line, in_fresh_process, network, print_table
from _recordings import cache_folder, heard
from _sets import (
    THIN,
    chosen,
    compared,
    grouped,
    subset_arguments,
    summarize,
    told,
    written,
)

KEY = ("data", "split", "teacher", "network", "what")
WHAT: dict = {  # blocks of the enhancer, and whether there is a teacher
    "backbone": (0, False),
    "TFE(4)": (4, False),
    "backbone, taught": (0, True),
    "TFE(4), taught": (4, True),
}
CLAIMS = (
    ("TFE(4)", "backbone"),
    ("TFE(4), taught", "backbone, taught"),
    ("backbone, taught", "backbone"),
    ("TFE(4), taught", "TFE(4)"),
)
PAPER = {  # accuracy in %, Tables III and IV
    ("esc50", "backbone"): 86.74,
    ("esc50", "TFE(4)"): 87.13,
    ("esc50", "backbone, taught"): 88.63,
    ("esc50", "TFE(4), taught"): 89.67,
    ("esc50", "teacher"): 95.85,
    ("speech_commands", "backbone"): 97.10,
    ("speech_commands", "TFE(4)"): 97.19,
    ("speech_commands", "backbone, taught"): 97.74,
    ("speech_commands", "TFE(4), taught"): 97.85,
    ("speech_commands", "teacher"): 97.46,
}
RECIPES = {"group": "esc50", "official": "speech_commands"}
RATES = {"group": 3e-3, "official": 1e-3}  # from scratch
FOLDS = {"group": 5, "official": 1}
FINE_TUNING = {"lr": 1e-5, "max_epochs": 5}
PUBLISHED = {  # Table I, as near as extractors of ours hear: 512 and 128 frames of 128 bands
    "sample_rate": 16_000,
    "frame_length": 0.064,
    "hop_length": 0.01,
    "n_mels": 128,
}
PRESETS: dict = {
    "smoke": {
        "parts": [("fsdd", "group"), ("fsdd", "official")],
        "networks": ("convnet-8",),
        "teacher": "2 x convnet-8",
        "folds": 1,
        "seeds": 1,
    },
    "cpu": {
        "parts": [("esc10", "group")],
        "networks": ("efficientnetv2-8",),
        "teacher": "3 x efficientnetv2-8",
        "folds": 5,
        "seeds": 5,
    },
    "b0": {
        "parts": [("esc10", "group")],
        "networks": ("efficientnetv2-b0",),
        "teacher": "3 x efficientnetv2-b0",
        "folds": 5,
        "seeds": 5,
    },
    "gpu": {
        "parts": [("esc10", "group"), ("esc50", "group"), ("speech_commands", "official")],
        "networks": ("efficientnetv2-b2",),
        "teacher": "3 x efficientnetv2-b2",
        "folds": 5,
        "seeds": 5,
    },
}
QUICK = {"max_epochs": 2}


def rows_of(preset, data, split, weights):
    """Return the rows of a preset, seed by seed, or the like of other data sets."""
    settings = PRESETS[preset]
    parts = settings["parts"]
    if data:
        usual = dict(parts)
        parts = [(each, split or usual.get(each, "group")) for each in data]
    teacher = weights or settings["teacher"]
    rows = [
        dict(zip((*KEY, "fold", "seed"), (*part, teacher, name, what, fold, seed), strict=True))
        for seed in range(settings["seeds"])
        for part in parts
        for name in settings["networks"]
        for fold in range(min(FOLDS[part[1]], settings["folds"]))
        for what in (("teacher",) if name == settings["networks"][0] and not seed else ())
        + tuple(WHAT)
    ]
    return [row | {"network": None} if row["what"] == "teacher" else row for row in rows]


def recordings(data, split, fold, preset):
    """Return log-mel features of both parts."""
    geometry = PUBLISHED if preset == "gpu" else {}
    thin = THIN if preset == "smoke" else 1
    return heard(data, split, fold, "LogMelSpectrogram", thin, **geometry)


def options_of(split, preset):
    """Return how everything is trained."""
    from sklearn_ddfad import training_recipe

    recipe = training_recipe(RECIPES[split]) | {"lr": RATES[split]}
    return recipe | (QUICK if preset == "smoke" else {})


def teacher_of(preset, *, data, split, teacher, fold):
    """Return the fitted teacher of a fold, found in the cache or trained now."""
    from sklearn_ddfad.datasets._files import whole_or_nothing

    name = "-".join(
        [preset, *(str(part).replace("/", "_") for part in (data, split, fold, teacher))]
    )
    path = cache_folder() / "teachers" / f"{name}.joblib"
    if path.is_file():
        return joblib.load(path)
    fitted = _teacher(teacher, options_of(split, preset))
    fitted.fit(*recordings(data, split, fold, preset).train)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_or_nothing(path) as draft:  # another process may look for it
        joblib.dump(fitted, draft)
    return fitted


def _teacher(name, options):
    """Return who is called so: ``"3 x convnet-32"``, or the weights of an AST, fine-tuned."""
    from sklearn.ensemble import VotingClassifier

    from sklearn_ddfad import AudioSpectrogramTransformer, network_classifier

    count, times, member = name.partition(" x ")
    if not times:
        ast = partial(AudioSpectrogramTransformer, weights=name)
        return network_classifier(ast, random_state=0, **options | FINE_TUNING)
    members = [
        (str(seed), network_classifier(network(member), random_state=100 + seed, **options))
        for seed in range(int(count))
    ]
    return VotingClassifier(members, voting="soft")


def classifier(what, backbone, options, teacher, seed):
    """Return the classifier of a cell; `teacher` is called where there is to be one."""
    from sklearn_ddfad import EnhancedNetwork, KnowledgeDistillationClassifier, network_classifier

    n_blocks, taught = WHAT[what]
    if n_blocks:
        backbone = partial(EnhancedNetwork, backbone=backbone, n_blocks=n_blocks)
    if not taught:
        return network_classifier(backbone, random_state=seed, **options)
    return KnowledgeDistillationClassifier(teacher(), backbone, random_state=seed, **options)


def measure(preset, **cell):
    """Train what a cell is about and test it."""
    names = ("data", "split", "teacher", "fold")
    teacher = partial(teacher_of, preset, **{name: cell[name] for name in names})
    heard_clips = recordings(cell["data"], cell["split"], cell["fold"], preset)
    started = perf_counter()
    if cell["what"] == "teacher":
        return tested(teacher(), heard_clips.test, started)
    options = options_of(cell["split"], preset)
    learner = classifier(cell["what"], network(cell["network"]), options, teacher, cell["seed"])
    return tested(learner.fit(*heard_clips.train), heard_clips.test, started)


def tested(fitted, test, started):
    """Return what a classifier is right about, and what it took."""
    X, y = test
    right = fitted.predict(X) == y
    module = getattr(fitted, "module_", None)
    return {
        "accuracy": [round(float(right.mean()), 4)],
        "right": "".join(map(str, right.astype(int))),
        "n_parameters": module and sum(p.numel() for p in module.parameters()),
        "seconds": perf_counter() - started,
    }


def pooled(rows):
    """Return one row for each seed whose folds are all there: its folds together."""
    lines = []
    for (*cell, seed), folds in grouped(rows, (*KEY, "seed")).items():
        alike = [row for row in rows if [row["data"], row["split"]] == cell[:2]]
        if len(folds) == max(row["fold"] for row in alike) + 1:
            folds = sorted(folds, key=lambda row: row["fold"])
            right = "".join(row["right"] for row in folds)
            line = dict(zip(KEY, cell, strict=True)) | {"seed": seed, "right": right}
            lines.append(line | {"accuracy": [right.count("1") / len(right)]})
    return lines


def same_clips(rows):
    """Return rows of which all seeds were tested on the same clips, as ``_sets`` is told of it."""
    return [row | {"split": "official"} for row in rows]


def summary_of(rows):
    """Return the mean of each cell, and the paper's; and by how much one is better than another."""
    cells = {cell: same_clips(of_cell) for cell, of_cell in grouped(pooled(rows), KEY).items()}
    means = []
    for cell, of_cell in cells.items():
        (mean,) = summarize(of_cell, ("what",))
        paper = PAPER.get((cell[0], cell[-1]))
        means.append(mean | dict(zip(KEY, cell, strict=True)) | {"paper": paper})
    differences = []
    for (*place, what), of_cell in cells.items():
        for better, worse in CLAIMS:
            if what == better and (others := cells.get((*place, worse))):
                pair = dict(zip(KEY, (*place, what), strict=True)) | {"more than": worse}
                differences.append(pair | compared(of_cell, others))
    return means, differences


def save(results):
    """Write the file, with what its rows tell."""
    means, differences = summary_of(results.rows)
    results.save(summary=means, differences=differences)


def draw(results):
    """Draw a picture and print a table for each data set."""
    for data, lines in grouped(results.content["summary"], ("data",)).items():
        bars(
            lines,
            "network",
            "mean",
            results.picture(str(data[0]).replace("/", "_")),
            by="what",
            panels=["split"],
            error="interval",
            mark="paper",
            labels={"mean": "test accuracy (%)", "paper": "the paper"},
        )
        table = {}
        for line in lines:
            row = table.setdefault(f"{line['network'] or line['teacher']}, {line['split']}", {})
            row[line["what"]] = written(line)
        print_table(f"{data[0]}: %, 95 % interval (the paper's)", table)
    for pair in results.content["differences"]:
        verdict = "" if pair.get("differs") else " (may be chance)"
        cell = [*(pair[key] for key in KEY), f"more than {pair['more than']}"]
        print(told(cell, pair) + verdict)


def measure_all(options):
    results = Results(f"esc_{options.preset}")
    rows = rows_of(options.preset, options.data, options.split, options.weights)
    one = partial(in_fresh_process, __file__, preset=options.preset)
    for row in chosen(rows, options):
        recordings(row["data"], row["split"], row["fold"], options.preset)  # heard here
        results.measure(one, **row)
        save(results)
    save(results)
    draw(results)


def main():
    arguments = subset_arguments("data", "network", "what", "fold", "seed")
    arguments |= {
        "--split": {"choices": list(RECIPES), "help": "what --data is to be split by"},
        "--weights": {"help": "of an AST to be the teacher: a folder, or a name on the hub"},
    }
    command_line(__doc__, PRESETS, measure, measure_all, arguments)


if __name__ == "__main__":
    main()
