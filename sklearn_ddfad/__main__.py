"""The ``ddfad`` command, a thin coat over the doors: recordings in, a distilled set out.

``ddfad distill SOURCE --cpc N --out DIR`` distils, judges the result beside a random selection and
the whole training set, and writes everything to a folder. ``ddfad evaluate DIR SOURCE`` judges it
again, on other recordings too. What takes seconds to import is imported where it is used.
"""

import argparse
import json
import os
import sys
import warnings
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import NamedTuple

from sklearn_ddfad._version import __version__

_MADE_ELSEWHERE = ("fsdd", "demo")  # sources that are no folder of the user
_METHODS: dict[str, tuple[str, dict]] = {
    "mtt": ("TrajectoryDistiller", {"memory_budget": 2**30}),  # faster by a tenth than by default
    "dc": ("GradientDistiller", {"augmentation": None}),
    "dsa": ("GradientDistiller", {"augmentation": "auto"}),
    "dm": ("DistributionDistiller", {}),
    "herding": ("HerdingSelector", {}),
    "kcenter": ("KCenterSelector", {}),
}
_FEATURES = {
    "fdmfcc": "FDMFCC",
    "mfcc": "MFCC",
    "lpcc": "LPCC",
    "logmel": "LogMelSpectrogram",
}
_FLAGS = {"max_iter": "--max-iter", "n_experts": "--experts", "student_steps": "--student-steps"}
_NETWORKS = ("auto", "convnet", "efficientnetv2", "mlp", "resnet18", "vgg11")
_PARAMETERIZATIONS = {
    "direct": "Direct",
    "static": "Static",
    "spectral": "Spectral",
    "waveform": "Waveform",
}
_SHOWN = 10  # classes in the picture
_TEST_SIZE = 0.2
_SPLIT_SEED = 0  # not the user's: whatever the seed, the same recordings are kept for testing

_RECIPE = """\
All are judged by the same recipe: networks trained from scratch by network_classifier().
± is the standard deviation over the judges; seconds to judge are those of all together."""
_READING = """\
Random selection chooses other clips for each judge; seconds to make are those of one set."""


def main(argv=None):
    """Run the command.

    Parameters
    ----------
    argv : list of str or None, default=None
        Arguments; ``None`` takes those of the process.

    Returns
    -------
    code : int
        0, or 2 if something given cannot be used (it is said on stderr), or 130 if interrupted.
    """
    for stream in (sys.stdout, sys.stderr):  # not every terminal knows every letter
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        options = _parser().parse_args(argv)
        with _plain_warnings():
            options.command(options)
    except (ValueError, TypeError, OSError) as error:
        print(f"ddfad: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


@contextmanager
def _plain_warnings():
    """Show each of the library's warnings once, as one line that no progress bar overwrites."""
    from tqdm import tqdm

    shown = set()

    def show(message, category, *_, **__):
        line = " ".join(str(message).split())
        if line not in shown:
            tqdm.write(f"ddfad: warning: {line}", file=sys.stderr)
        shown.add(line)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


# ------------------------------------------------------------------------------------------
# The two commands
# ------------------------------------------------------------------------------------------


def distill(options):
    """Distil recordings, judge the result and write it down."""
    import sklearn_ddfad
    from sklearn_ddfad._report import table
    from sklearn_ddfad._validation import resolve_device
    from sklearn_ddfad.distilled_set import DistilledSet, replaced_folder

    out = _destination(options)
    resolve_device(options.device)
    reducer = _reducer(options)
    with replaced_folder(out) as draft:
        recordings = _recordings(options, options.split, options.sample_rate)
        _check_cpc(recordings.y_train, options)
        extractor = getattr(sklearn_ddfad, _FEATURES[options.features])(
            sample_rate=recordings.sample_rate, device=options.device
        )
        whole = DistilledSet(extractor.fit_transform(recordings.train), recordings.y_train)
        test = extractor.transform(recordings.test), recordings.y_test
        kept = _parameterization(options.parameterization, extractor)
        reducer.set_params(parameterization=kept)
        distilled, distilled_in = _timed(_distilled, reducer, whole, extractor, options)
        rows = _judged_at_random(whole, kept, test, options)
        rows += [_judged("distilled", [distilled] * options.repeats, test, options, distilled_in)]
        if options.whole:
            everything = [whole] * options.repeats
            rows.append(_judged("whole training set", everything, test, options, 0.0))
        _write_set(draft, distilled, whole, recordings)
        report = _report(options, recordings, distilled, rows)
        text = json.dumps(report, indent=2, ensure_ascii=False)
        (draft / "report.json").write_text(f"{text}\n", encoding="utf-8")
    print(f"\n{table(rows)}\n{_RECIPE}\n{_READING}")
    if distilled.learning_rate is not None:
        print(f"Learned step size α = {distilled.learning_rate:.3g}.")
    print(_memory_used(report))
    print(f"Wrote {out}: {', '.join(sorted(path.name for path in out.iterdir()))}")


def evaluate(options):
    """Judge a distilled set that lies in a folder."""
    from sklearn_ddfad import DistilledSet
    from sklearn_ddfad._report import table

    path = options.folder / "distilled.safetensors"
    distilled = DistilledSet.load(path)
    if distilled.extractor is None:
        msg = f"{path} does not say how its clips were heard; save it with_extractor(extractor)."
        raise ValueError(msg)
    extractor = distilled.extractor.set_params(device=options.device)
    split = options.split or distilled.provenance.get("split", "auto")
    recordings = _recordings(options, split, extractor.sample_rate_)
    y_test = _named_alike(recordings.y_test, distilled.classes)
    test = extractor.transform(recordings.test), y_test
    row = _judged("distilled", [distilled] * options.repeats, test, options, None)
    print(f"\n{table([row])}\n{_RECIPE}")


def _destination(options):
    """Return where to write to, which is not where the recordings or experts are."""
    out, source = options.out.resolve(), Path(options.source).resolve()
    if options.source not in _MADE_ELSEWHERE and out in (source, *source.parents):
        msg = f"--out {options.out} holds the recordings themselves; give a new folder."
        raise ValueError(msg)
    if options.cache and Path(options.cache).resolve().is_relative_to(out):
        msg = f"--cache {options.cache} lies in --out {options.out}; give another folder."
        raise ValueError(msg)
    return out


def _timed(function, *args):
    """Return what a function returns, and how many seconds it took."""
    started = perf_counter()
    return function(*args), perf_counter() - started


# ------------------------------------------------------------------------------------------
# Where recordings come from, and which of them are kept for testing
# ------------------------------------------------------------------------------------------


class Recordings(NamedTuple):
    """Clips and labels to learn from and to test on."""

    train: list
    y_train: object
    test: list
    y_test: object
    sample_rate: int


def _recordings(options, split, sample_rate):
    """Load the recordings, split them, and say in two lines what they are."""
    import numpy as np

    dataset = _load(options, sample_rate)
    train, test, rule = _split(dataset, split)
    recordings = Recordings(
        [dataset.data[i] for i in train],
        dataset.target[train],
        [dataset.data[i] for i in test],
        dataset.target[test],
        dataset.sample_rate,
    )
    learn = "" if options.command is evaluate else f"{len(train)} to learn from, "
    print(
        f"Recordings: {dataset.name} ({learn}{len(test)} to test on, "
        f"{len(np.unique(dataset.target))} classes, {dataset.sample_rate} Hz){dataset.note}\n"
        f"Kept for testing: {rule}",
        flush=True,
    )
    if options.command is distill:
        _check_known(recordings.y_test, recordings.y_train, "among the recordings to learn from")
    return recordings


def _load(options, sample_rate):
    """Return all recordings of the source, with a name, and a note where there is one to make."""
    from sklearn_ddfad.datasets import load_audio_folder

    if options.source == "demo":
        return _generated(options.clips, sample_rate)
    folder, name = options.source, options.source
    if options.source == "fsdd":
        try:
            folder = _fsdd_folder(progress=not options.quiet)
        except (OSError, ValueError) as error:
            return _generated(options.clips, sample_rate, note=f"\nFSDD is not at hand: {error}")
        name = f"FSDD from {folder.parent}"
    dataset = load_audio_folder(folder, sample_rate=sample_rate, mono=options.mono)
    dataset.update(name=name, note="")
    return dataset


def _generated(n_clips, sample_rate, note=""):
    """Return invented words, the default where nothing else is at hand."""
    from sklearn.utils import Bunch

    from sklearn_ddfad.datasets import make_audio_classification

    sample_rate = sample_rate or 8000
    clips, y = make_audio_classification(n_clips, sample_rate=sample_rate, random_state=0)
    about = {"name": "generated words", "note": note, "sample_rate": sample_rate}
    return Bunch(data=clips, target=y, groups=None, splits=None, **about)


def _fsdd_folder(progress):
    """Return where the spoken digits are, after downloading them if need be."""
    from sklearn_ddfad.datasets import fetch_fsdd
    from sklearn_ddfad.datasets._fsdd import ARCHIVE_URL

    home = os.environ.get("DDFAD_DATA")
    if home and Path(home, "fsdd").is_dir():
        return Path(home, "fsdd")
    ask = {"subset": "test", "progress": progress}  # the smaller part: only its place is needed
    try:
        dataset = fetch_fsdd(**ask, download_if_missing=False)
    except OSError as error:
        if not _answers(ARCHIVE_URL):
            msg = f"{ARCHIVE_URL} does not answer; is there a network?"
            raise ConnectionError(msg) from error
        dataset = fetch_fsdd(**ask)
    return Path(dataset.filenames[0]).parents[1]


def _answers(url, seconds=8.0):
    """Tell whether a server answers in time; without a network, the name alone may take longer."""
    import requests

    answers = []

    def ask():
        try:
            answers.append(requests.head(url, timeout=seconds / 2))
        except requests.RequestException:
            return

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return bool(answers)


def _split(dataset, how):
    """Return indices to learn from, indices to test on, and the rule in words."""
    import numpy as np

    if how == "auto":
        how = _best_split(dataset)
    everything = np.arange(len(dataset.target))
    if how == "all":
        return everything[:0], everything, "all of them"
    if how == "column":
        return _split_by_column(dataset)
    return (_split_by_group if how == "groups" else _split_at_random)(dataset, everything)


def _best_split(dataset):
    """Return the first of three rules that the recordings allow."""
    if dataset.splits is not None and "test" in dataset.splits:
        return "column"
    return "groups" if dataset.groups is not None and len(set(dataset.groups)) > 1 else "random"


def _split_by_column(dataset):
    import numpy as np

    if dataset.splits is None or "test" not in dataset.splits:
        msg = "--split column needs a column 'split' with 'train' and 'test' in metadata.csv."
        raise ValueError(msg)
    train, test = (np.flatnonzero(dataset.splits == name) for name in ("train", "test"))
    n_others = len(dataset.target) - len(train) - len(test)
    others = f" ({n_others} recordings are in neither split and left out)" if n_others else ""
    return train, test, f"those of the split 'test'{others}"


def _split_by_group(dataset, everything):
    from sklearn.model_selection import GroupShuffleSplit

    if dataset.groups is None or len(set(dataset.groups)) < 2:
        msg = "--split groups needs a column 'group' with two groups or more in metadata.csv."
        raise ValueError(msg)
    splitter = GroupShuffleSplit(1, test_size=_TEST_SIZE, random_state=_SPLIT_SEED)
    train, test = next(splitter.split(everything, groups=dataset.groups))
    return train, test, f"whole groups ({', '.join(sorted(set(dataset.groups[test])))})"


def _split_at_random(dataset, everything):
    from sklearn.model_selection import train_test_split

    try:
        train, test = train_test_split(
            everything, test_size=_TEST_SIZE, stratify=dataset.target, random_state=_SPLIT_SEED
        )
    except ValueError as error:
        msg = f"there are too few recordings to keep a fifth of each class for testing: {error}"
        raise ValueError(msg) from error
    return train, test, "a random fifth of each class"


def _check_known(y, y_known, where):
    """Refuse labels to test on that were never learned."""
    unknown = sorted(set(y.tolist()) - set(y_known.tolist()), key=str)
    if unknown:
        msg = f"class {unknown[0]!r} is to be tested on, but is not {where}; see --split."
        raise ValueError(msg)


def _named_alike(y, classes):
    """Return the labels of one folder as those of another, where ``0`` may be a name, or a number.

    A folder has numbers where all its classes are named so.
    """
    import numpy as np

    names = classes.astype(str)
    _check_known(y.astype(str), names, "in the distilled set")
    places = {name: i for i, name in enumerate(names)}
    return classes[np.array([places[name] for name in y.astype(str)], dtype=int)]


# ------------------------------------------------------------------------------------------
# The sets of the table, and their judges
# ------------------------------------------------------------------------------------------


def _check_cpc(y, options):
    """Refuse what would not be fewer clips; by the labels alone, before anything is heard."""
    import numpy as np
    from sklearn.dummy import DummyClassifier

    from sklearn_ddfad import RandomSelector

    RandomSelector(options.cpc, estimator=DummyClassifier()).fit(np.zeros((len(y), 1)), y)


def _judged_at_random(whole, kept, test, options):
    """Return the rows of random selections: of clips, and of such as are kept as was asked for."""
    rows = []
    alike = {} if options.parameterization == "direct" else {"random, kept alike": kept}
    for name, way in {"random selection": None, **alike}.items():
        random, seconds = _timed(_chosen_at_random, whole, way, options)
        rows.append(_judged(name, random, test, options, seconds / options.repeats))
    return rows


def _chosen_at_random(whole, kept, options):
    """Return a new random selection for each judge, each kept in the same way."""
    from sklearn.dummy import DummyClassifier

    from sklearn_ddfad import RandomSelector

    selector = RandomSelector(options.cpc, estimator=DummyClassifier(), parameterization=kept)
    return [
        selector.set_params(random_state=seed).fit(whole.X, whole.y).distilled_
        for seed in _seeds(options)
    ]


def _reducer(options):
    """Return the distiller or selector that was asked for."""
    from sklearn.dummy import DummyClassifier

    import sklearn_ddfad

    name, settings = _METHODS[options.method]
    reducer = getattr(sklearn_ddfad, name)(
        options.cpc,
        network=options.network,
        estimator=DummyClassifier(),  # it is judged in the table, by others
        device=options.device,
        random_state=options.seed,
        **settings,
    )
    known = reducer.get_params(deep=False)
    given = _given(options, *_FLAGS)
    if unknown := given.keys() - known.keys():
        flags = [_FLAGS[name] for name in sorted(unknown)]
        msg = f"--method {options.method} has no {', '.join(flags)}; leave it out."
        raise ValueError(msg)
    if options.cache and "memory" not in known:
        msg = f"--method {options.method} has no experts to keep in --cache; leave it out."
        raise ValueError(msg)
    given |= {"memory": options.cache, "verbose": int(not options.quiet)}
    return reducer.set_params(**{name: given[name] for name in given.keys() & known.keys()})


def _distilled(reducer, whole, extractor, options):
    """Return the distilled set, which knows how it was heard and from what."""
    distilled = reducer.fit(whole.X, whole.y).distilled_.with_extractor(extractor)
    del distilled.provenance["parameters"]["estimator"]
    origin = {"source": options.source, "split": options.split}
    return replace(distilled, provenance={**distilled.provenance, **origin})


def _parameterization(name, extractor):
    """Return what the clips are kept as, with its defaults."""
    import sklearn_ddfad

    of_sound = [extractor] if name == "waveform" else []
    return getattr(sklearn_ddfad, _PARAMETERIZATIONS[name])(*of_sound)


def _judged(name, sets, test, options, seconds_to_make):
    """Return a row of the table: sets of one kind, each judged by one fresh network."""
    import numpy as np
    from tqdm import tqdm

    from sklearn_ddfad import evaluate, network_classifier

    settings = _given(options, "network", "n_steps")
    judge = network_classifier(device=options.device, **settings)
    results = [
        evaluate(
            judged.X,
            judged.targets,
            *test,
            estimator=judge,
            classes=judged.classes,
            n_repeats=1,
            random_state=seed,
        )
        for judged, seed in zip(
            tqdm(sets, f"judges: {name}", disable=options.quiet), _seeds(options), strict=True
        )
    ]
    accuracy = [result["mean"] for result in results]
    return {
        "set": name,
        "clips": sets[0].n_clips,
        "numbers_kept": sets[0].n_stored,
        "accuracy": accuracy,
        "mean": float(np.mean(accuracy)),
        "std": float(np.std(accuracy)),
        "seconds_to_make": seconds_to_make,
        "seconds_to_judge": float(np.sum([result["fit_time"] for result in results])),
    }


def _seeds(options):
    """Return the seed of each judge; that of a random selection is the seed of its judge."""
    return range(options.seed, options.seed + options.repeats)


def _given(options, *names):
    """Return the options that were given; what was not is left to the library's defaults."""
    return {name: value for name, value in vars(options).items() if name in names}


# ------------------------------------------------------------------------------------------
# What is said and written
# ------------------------------------------------------------------------------------------


def _report(options, recordings, distilled, rows):
    """Return what ``report.json`` holds."""
    from sklearn_ddfad._report import machine, peak_memory, versions
    from sklearn_ddfad._validation import resolve_device

    return {
        "source": options.source,
        "split": options.split,
        "sample_rate": recordings.sample_rate,
        "method": options.method,
        "features": options.features,
        "classes": distilled.classes.tolist(),
        "n_train": len(recordings.train),
        "n_test": len(recordings.test),
        "cpc": options.cpc,
        "seed": options.seed,
        "judge_seeds": list(_seeds(options)),
        "distiller": distilled.provenance["parameters"],
        "judge": _given(options, "network", "n_steps"),
        "learning_rate": distilled.learning_rate,
        "table": rows,
        "peak_memory_gb": peak_memory(),
        "versions": versions(),
        "machine": machine(resolve_device(options.device)),
    }


def _write_set(folder, distilled, whole, recordings):
    """Fill a new folder with the set as numbers, as sound and as a picture."""
    from sklearn_ddfad._report import picture

    distilled.save(folder / "distilled.safetensors")
    distilled._write_audio_folder(folder, device=distilled.extractor.device)
    seconds = distilled.extractor.n_samples_ / distilled.extractor.sample_rate_
    columns = _columns(folder, distilled, whole, recordings)
    picture(columns, seconds).savefig(folder / "picture.png")


def _columns(folder, distilled, whole, recordings):
    """Return for each class its first recorded and its first distilled clip, seen and heard."""
    import numpy as np

    from sklearn_ddfad._report import Column
    from sklearn_ddfad._validation import Clips
    from sklearn_ddfad.datasets import load_audio_folder

    sounds = load_audio_folder(folder).data  # as written: what is drawn is what is heard
    clips, n_samples = Clips(recordings.train), distilled.extractor.n_samples_
    columns = []
    for label in distilled.classes[:_SHOWN]:
        i, j = (np.flatnonzero(labels == label)[0] for labels in (whole.y, distilled.y))
        recorded = clips.padded(slice(i, i + 1), n_samples)[0]
        images = whole.X[i, 0], distilled.X[j, 0]
        columns.append(Column(str(label), images, (recorded, sounds[j])))
    return columns


def _memory_used(report):
    gigabytes = report["peak_memory_gb"]
    return "" if gigabytes is None else f"Peak memory {gigabytes:.2f} GB."


# ------------------------------------------------------------------------------------------
# Arguments
# ------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, where argparse would print the usage, too, and exit."""

    def error(self, message):
        msg = f"{message} (see {self.prog} --help)"
        raise ValueError(msg)


def _at_least(lowest):
    """Return a type of arguments: whole numbers from `lowest` on."""

    def number(text):
        if not (text.isdecimal() and int(text) >= lowest):
            msg = f"{text!r} is not a whole number from {lowest} on"
            raise argparse.ArgumentTypeError(msg)
        return int(text)

    return number


def _parser():
    """Return the parser of the command line."""
    parser = _Parser(prog="ddfad", description="Distil audio data sets to a few clips per class.")
    parser.add_argument("--version", action="version", version=f"sklearn_ddfad {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_distill(commands)
    _add_evaluate(commands)
    return parser


def _add_distill(commands):
    about = "distil recordings, judge the result, write it to a folder"
    parser = commands.add_parser("distill", help=about, description=about)
    add = parser.add_argument
    add("--cpc", type=_at_least(1), required=True, metavar="N", help="distilled clips per class")
    add("--out", type=Path, required=True, metavar="DIR", help="folder to write; an earlier "
        "result in it is replaced, anything else is left alone")  # fmt: skip
    add("--method", choices=list(_METHODS), default="mtt", help="what is matched: training "
        "trajectories (mtt, the default), gradients (dc, or dsa with augmentation) or "
        "distributions (dm); or how real clips are chosen (herding, kcenter)")  # fmt: skip
    add("--features", choices=list(_FEATURES), default="fdmfcc",
        help="how recordings are heard (default fdmfcc)")  # fmt: skip
    add("--parameterization", choices=list(_PARAMETERIZATIONS), default="direct",
        help="what clips are kept as, in as many numbers as N clips a class have as "
        "features: these themselves (direct, the default); cepstra without their differences, "
        "for three times the clips (static); spectra, for more clips still (spectral); or sound "
        "(waveform)")  # fmt: skip
    add("--split", choices=["auto", "column", "groups", "random"], default="auto",
        help="which recordings are kept for testing: those that the folder's column 'split' "
        "calls so, whole groups, or a random fifth of each class; auto is the first of these "
        "that the folder allows")  # fmt: skip
    add("--sample-rate", type=_at_least(1), metavar="R", help="resample to this rate, in Hz")
    add("--cache", metavar="DIR", help="keep the experts here and use them again")
    add("--no-whole", dest="whole", action="store_false",
        help="do not judge the whole training set, which takes a while")  # fmt: skip
    _add_source(parser)
    # Without a default here, those of the distiller hold.
    more = parser.add_argument_group("distiller").add_argument
    settings = {"type": _at_least(1), "metavar": "N", "default": argparse.SUPPRESS}
    more("--max-iter", help="updates of the distilled clips", **settings)
    more("--experts", dest="n_experts", help="networks whose training is matched", **settings)
    more("--student-steps", help="steps of a student in each update", **settings)
    parser.set_defaults(command=distill)


def _add_evaluate(commands):
    about = "judge a distilled set on recordings"
    parser = commands.add_parser("evaluate", help=about, description=about)
    parser.add_argument("folder", type=Path, metavar="DIR", help="what ddfad distill has written")
    _add_source(parser)
    parser.add_argument("--split", choices=["auto", "column", "groups", "random", "all"],
        help="which recordings to test on, as for ddfad distill, or all; the default is what the "
        "set was distilled with")  # fmt: skip
    parser.set_defaults(command=evaluate)


def _add_source(parser):
    """Add what both commands take: recordings, judges, device."""
    add = parser.add_argument
    add("source", metavar="SOURCE", help="folder with a metadata.csv or with a sub-folder per "
        "class; or fsdd, spoken digits ($DDFAD_DATA/fsdd, else downloaded, else generated words); "
        "or demo, generated words")  # fmt: skip
    add("--network", choices=_NETWORKS, default="auto",
        help="what learns from a set and judges it, and what clips are distilled on (default auto: "
        "a ConvNet for images of features; efficientnetv2 judges, but has batch normalisation, and "
        "no distiller takes it)")  # fmt: skip
    add("--repeats", type=_at_least(1), default=5, metavar="N", help="judges (default 5)")
    add("--judge-steps", type=_at_least(1), dest="n_steps", default=argparse.SUPPRESS,
        metavar="N", help="steps that a judge is trained for")  # fmt: skip
    add("--seed", type=_at_least(0), default=0, metavar="N", help="of sets and judges (default 0)")
    add("--mono", action="store_true", help="average the channels of stereo files")
    add("--clips", type=_at_least(1), default=3000, metavar="N",
        help="how many words to generate, where they are (default 3000)")  # fmt: skip
    add("--device", default="auto", help="auto, cpu or cuda (default auto)")
    add("--quiet", action="store_true", help="no progress bars")


if __name__ == "__main__":
    sys.exit(main())
