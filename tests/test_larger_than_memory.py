"""Data that need not fit in memory: the same results, read and written a few clips at a time."""

import pickle
from functools import partial

import numpy as np
import pytest
import soundfile
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline

from sklearn_ddfad import (
    FDMFCC,
    DistillationSampler,
    DistilledClassifier,
    RandomSelector,
    TrajectoryDistiller,
    evaluate,
    network_classifier,
)
from sklearn_ddfad._validation import Rows
from sklearn_ddfad.datasets import _files
from sklearn_ddfad.datasets._files import write_audio

N = 60


class File:
    """Numbers that are read as those of an HDF5 file are: by slices and rising indices only."""

    def __init__(self, numbers):
        self._numbers, self.shape, self.dtype = numbers, numbers.shape, numbers.dtype
        self.largest = 0

    def __getitem__(self, key):
        if isinstance(key, slice):
            assert key.step is None
        else:
            assert (np.diff(key) > 0).all()
        rows = self._numbers[key].copy()
        self.largest = max(self.largest, len(rows))
        return rows


def mapped(numbers, folder, mode="r"):
    np.save(folder / "numbers.npy", numbers)
    return np.load(folder / "numbers.npy", mmap_mode=mode)


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    y = np.arange(N) % 3
    return (rng.normal(size=(N, 6)) + 2 * np.eye(3, 6)[y]).astype(np.float32), y


@pytest.fixture(autouse=True)
def quick_judges(monkeypatch):
    quick = partial(network_classifier, n_steps=20)
    monkeypatch.setattr("sklearn_ddfad.distillation._base.network_classifier", quick)


@pytest.fixture
def ten_at_a_time(monkeypatch):
    monkeypatch.setattr(Rows, "BATCH_BYTES", 10 * 6 * 4)


def distiller(**changes):
    options = {
        "cpc": 1,
        "network": "mlp",
        "estimator": LogisticRegression(),
        "n_experts": 1,
        "max_start_epoch": 1,
        "student_steps": 3,
        "max_iter": 4,
        "batch_size": 8,
        "validation_fraction": 0.2,
        "random_state": 0,
    }
    return TrajectoryDistiller(**{**options, **changes})


SELECTOR = RandomSelector(2, estimator=LogisticRegression(), random_state=0)
ALL = {
    "TrajectoryDistiller": distiller(),
    "of noise": distiller(init="noise"),
    "RandomSelector": SELECTOR,
    "DistilledClassifier": DistilledClassifier(SELECTOR, GaussianNB()),
}
everyone = pytest.mark.parametrize("estimator", ALL.values(), ids=ALL)


# -- rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", ">f4", "int16"])
@pytest.mark.parametrize("hold", [lambda X, folder: X, mapped, lambda X, folder: File(X)])
@pytest.mark.parametrize(
    "key",
    [slice(None), slice(5, 9), slice(-4, None), slice(9, 5), slice(-1, 0, -7), [7, 2, 7]],
)
def test_rows_are_those_of_the_array(tmp_path, dtype, hold, key):
    X = np.arange(20 * 2 * 3).reshape(20, 2, 3).astype(dtype)
    order = np.random.default_rng(0).integers(20, size=30)
    rows = Rows(hold(X, tmp_path))
    key = key if isinstance(key, slice) else np.array(key)
    some = rows.subset(order[:15])
    for read, expected in [
        (rows[key], X[key]),
        (some[key], X[order[:15]][key]),
        (some.subset(order % 15)[key], X[order[:15]][order % 15][key]),
    ]:
        np.testing.assert_array_equal(read, expected)
        assert read.dtype == np.float32
        assert read.flags.c_contiguous
        assert read.flags.writeable
        assert not np.shares_memory(read, X)
    assert (len(some), some.shape) == (15, (15, 2, 3))
    batches = list(some.batches(4))
    assert [len(batch) for batch in batches] == [4, 4, 4, 3]
    np.testing.assert_array_equal(np.concatenate(batches), X[order[:15]])


def test_mean_and_deviation_are_those_of_all_rows(problem, ten_at_a_time):
    X, _ = problem
    X[:, 0] = 1e4 + X[:, 0]
    mean, std = Rows(X).mean_and_std()
    np.testing.assert_allclose(mean, X.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(std, X.std(axis=0, dtype=np.float64), rtol=1e-6)


def test_a_fingerprint_tells_numbers_apart_and_not_what_holds_them(problem, tmp_path):
    X, _ = problem
    same = [X, X.astype(np.float64), np.asfortranarray(X), mapped(X, tmp_path), File(X)]
    assert len({Rows(source).fingerprint() for source in same}) == 1
    half = np.arange(0, N, 2)
    assert Rows(X).subset(half).fingerprint() == Rows(X[half]).fingerprint()
    others = [X, X + 1, X[::-1], X[1:], X.reshape(N, 2, 3)]
    assert len({Rows(source).fingerprint() for source in others}) == len(others)


def source_of(rows):
    return type(rows._source), str(rows._source.filename)


def test_a_mapped_file_reaches_other_processes_by_its_name(problem, tmp_path):
    X, _ = problem
    rows = Rows(mapped(X, tmp_path)).subset(np.arange(5))
    there = Parallel(n_jobs=2)(delayed(source_of)(rows) for _ in range(2))
    assert set(there) == {(np.memmap, str(tmp_path / "numbers.npy"))}
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(rows))[:], X[:5])


# -- distillers and selectors ----------------------------------------------------------------


@everyone
def test_a_file_gives_what_an_array_gives(problem, tmp_path, estimator):
    X, y = problem
    X = X + np.float64(1e-9)  # float64, and some of it between two float32 numbers
    expected = estimator.fit(X, y)
    set_of = getattr(expected, "distiller_", expected).distilled_
    probabilities = expected.predict_proba(X)
    for held in (mapped(X, tmp_path), File(X)):
        fitted = estimator.fit(held, y)
        again = getattr(fitted, "distiller_", fitted).distilled_
        np.testing.assert_array_equal(again.X, set_of.X)
        np.testing.assert_array_equal(again.y, set_of.y)
        np.testing.assert_array_equal(fitted.predict_proba(held), probabilities)
        assert fitted.score(held, y) == expected.score(X, y)
        assert fitted.n_features_in_ == 6


@everyone
def test_no_more_than_a_few_rows_are_read_at_once(problem, tmp_path, ten_at_a_time, estimator):
    X, y = problem
    file, estimator = File(X), clone(estimator)
    if isinstance(estimator, TrajectoryDistiller):
        estimator.set_params(memory=str(tmp_path / "cache"), checkpoint=tmp_path / "checkpoint")
    estimator.fit(file, y).predict(file)
    estimator.predict_proba(file)
    estimator.score(file, y)
    if hasattr(estimator, "transform"):
        estimator.transform(file)
    assert file.largest == 10


def test_a_sampler_reads_a_file(problem, ten_at_a_time):
    X, y = problem
    file = File(X)
    small, labels = DistillationSampler(SELECTOR).fit_resample(file, y)
    expected, same_labels = DistillationSampler(SELECTOR).fit_resample(X, y)
    np.testing.assert_array_equal(small, expected)
    np.testing.assert_array_equal(labels, same_labels)
    assert file.largest == 10


def test_a_set_is_judged_on_a_file(problem, tmp_path, ten_at_a_time):
    X, y = problem
    file, few = File(X), mapped(X[:9], tmp_path)
    options = {"estimator": network_classifier(n_steps=20), "n_repeats": 1}
    expected = evaluate(X[:9], y[:9], X, y, **options)
    result = evaluate(few, y[:9], file, y, **options)
    np.testing.assert_allclose(result["test_score"], expected["test_score"], rtol=1e-12)
    assert (result["n_clips"], result["n_stored"]) == (9, 54)
    assert file.largest == 10


@everyone
def test_a_mapped_file_is_left_alone(problem, tmp_path, estimator):
    X, y = problem
    file = mapped(X, tmp_path, mode="r+")
    estimator.fit(file, y).predict(file)
    file.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "numbers.npy"), X)


def test_a_fit_on_an_array_goes_on_with_a_file(problem, tmp_path):
    X, y = problem
    resumable = distiller(checkpoint=tmp_path / "checkpoint")
    expected = resumable.fit(X, y).distilled_.X
    np.testing.assert_array_equal(resumable.fit(mapped(X, tmp_path), y).distilled_.X, expected)
    with pytest.raises(ValueError, match="belongs to a fit with other parameters or data"):
        resumable.fit(mapped(X + 1, tmp_path), y)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("hold", [np.asarray, File])
def test_the_clip_that_is_not_finite_is_named(problem, ten_at_a_time, bad, hold):
    X, y = problem
    X = X.astype(np.float64)
    X[37, 2] = bad
    with pytest.raises(ValueError, match=r"clip 37 of X contains NaN, infinity or a number beyond"):
        SELECTOR.fit(hold(X), y)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        (np.zeros((0, 6)), r"0 sample\(s\)"),
        (np.zeros((N, 6), complex), "Complex data not supported"),
        (np.full((N, 6), "loud"), "could not convert string to float"),
        (np.zeros((N, 0)), r"0 feature\(s\)"),
    ],
)
def test_what_is_refused_in_memory_is_refused_in_a_file(problem, X, words):
    for held in (X, File(X)):
        with pytest.raises(ValueError, match=words):
            SELECTOR.fit(held, problem[1])


def test_other_columns_than_those_of_fit_are_refused(problem):
    X, y = problem
    with pytest.raises(ValueError, match="X has 5 features, but RandomSelector is expecting 6"):
        SELECTOR.fit(X, y).predict(File(X[:, :5]))


# -- extractors --------------------------------------------------------------------------------


@pytest.fixture
def paths(tmp_path, invented_clips):
    (tmp_path / "recordings").mkdir()
    paths = [tmp_path / "recordings" / f"{i}.wav" for i in range(len(invented_clips))]
    for path, clip in zip(paths, invented_clips, strict=True):
        write_audio(path, clip, 8000)
    return paths


def extractor(**changes):
    return FDMFCC(**{"duration": 0.3, "batch_size": 4, **changes})


class Sink(File):
    """An array that remembers how much was written at once."""

    def __setitem__(self, key, rows):
        self._numbers[key] = rows
        self.largest = max(self.largest, len(rows))


@pytest.mark.parametrize("n_jobs", [None, 2])
@pytest.mark.parametrize("layout", ["planes", "flat"])
def test_features_are_the_same_wherever_they_are_written(paths, tmp_path, n_jobs, layout):
    plain = extractor(layout=layout)
    expected = plain.fit_transform(paths)
    hear = extractor(layout=layout, n_jobs=n_jobs)
    array = np.empty_like(expected)
    sink = Sink(np.empty_like(expected))
    file = np.lib.format.open_memmap(tmp_path / "b.npy", "w+", np.float32, expected.shape)
    for out in (None, array, sink, file, tmp_path / "a.npy", str(tmp_path / "a.npy")):
        for features in (hear.fit_transform(paths, out=out), hear.transform(paths, out=out)):
            assert getattr(features, "largest", 4) == 4
            np.testing.assert_array_equal(getattr(features, "_numbers", features), expected)
            assert features.dtype == np.float32
            if isinstance(out, str):
                assert isinstance(features, np.memmap)
                np.testing.assert_array_equal(np.load(out), expected)
            elif hasattr(out, "shape"):
                assert features is out
    np.testing.assert_array_equal(hear.fit(paths).mean_, plain.mean_)
    np.testing.assert_array_equal(hear.scale_, plain.scale_)


@pytest.mark.parametrize("n_jobs", [1, 2, -1])
def test_arrays_are_heard_alike_whatever_the_number_of_jobs(invented_clips, n_jobs):
    expected = extractor().fit_transform(invented_clips)
    features = extractor(n_jobs=n_jobs).fit_transform(invented_clips)
    np.testing.assert_array_equal(features, expected)


SHAPE = (30, 3, 16, 25)


@pytest.mark.parametrize(
    ("out", "error", "words"),
    [
        (np.empty(SHAPE), ValueError, "out has shape .* and type float64; these features take"),
        (np.empty(SHAPE[1:], np.float32), ValueError, r"out has shape \(3, 16, 25\) and type"),
        (np.broadcast_to(np.float32(0), SHAPE), ValueError, "out cannot be written to"),
        (7, TypeError, "out=7 is no array and no path"),
        ("nowhere/features.npy", FileNotFoundError, "there is no folder nowhere"),
        ("recordings", ValueError, "out='recordings' is a folder; name a file in it"),
        ("features.npy", OSError, "takes 0.000144 GB, and 1e-06 GB are free"),
    ],
)
def test_an_out_that_will_not_do_is_refused_before_a_recording_is_read(
    paths, tmp_path, monkeypatch, out, error, words
):
    monkeypatch.chdir(tmp_path)
    fitted = extractor().fit(paths)
    monkeypatch.setattr(_files, "read_audio", None)
    monkeypatch.setattr("sklearn_ddfad._validation.read_audio", None)
    free = 1000 if error is OSError else 10**9
    usage = type("usage", (), {"free": free})
    where = "sklearn_ddfad.feature_extraction._base.disk_usage"
    monkeypatch.setattr(where, lambda folder: usage)
    for hear in (fitted.transform, extractor().fit_transform):
        with pytest.raises(error, match=words):
            hear(paths, out=out)
    assert not list(tmp_path.glob("*.np*"))


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_recording_that_is_damaged_leaves_no_file(paths, tmp_path, n_jobs):
    fitted = extractor(n_jobs=n_jobs).fit(paths)
    soundfile.write(paths[17], np.full(2000, np.nan), 8000, subtype="FLOAT")
    before = sorted(tmp_path.iterdir())
    for hear in (fitted.transform, extractor(n_jobs=n_jobs).fit_transform):
        with pytest.raises(ValueError, match=r"17\.wav contains NaN"):
            hear(paths, out=tmp_path / "features.npy")
        assert sorted(tmp_path.iterdir()) == before


def test_a_file_that_is_there_is_replaced_only_by_a_whole_one(paths, tmp_path):
    out = tmp_path / "features.npy"
    first = extractor().fit_transform(paths[:9], out=out)
    soundfile.write(paths[17], np.full(2000, np.nan), 8000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"17\.wav contains NaN"):
        extractor().fit_transform(paths, out=out)
    np.testing.assert_array_equal(np.load(out), first)
    second = extractor().fit_transform(paths[:5], out=out)
    np.testing.assert_array_equal(np.load(out), second)
    assert len(first) == 9  # what was mapped before is still there for who holds it


def test_a_pipeline_writes_features_to_a_file_and_distils_from_it(paths, tmp_path):
    y = np.arange(len(paths)) % 3

    def pipe():
        return Pipeline([("feat", extractor(layout="flat")), ("dd", distiller())])

    expected = pipe().fit(paths, y)
    fitted = pipe().fit(paths, y, feat__out=tmp_path / "features.npy")
    np.testing.assert_array_equal(fitted["dd"].distilled_.X, expected["dd"].distilled_.X)
    np.testing.assert_array_equal(
        np.load(tmp_path / "features.npy"), expected["feat"].transform(paths)
    )


def test_a_data_frame_can_be_made_of_a_file(paths, tmp_path):
    hear = extractor(layout="flat").set_output(transform="pandas")
    frame = hear.fit_transform(paths, out=tmp_path / "features.npy")
    np.testing.assert_array_equal(frame.to_numpy(), np.load(tmp_path / "features.npy"))
    assert list(frame.columns) == list(hear.get_feature_names_out())
