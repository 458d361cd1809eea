"""What stands before and behind a small set: an embedding, any classifier."""

from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer
from sklearn.svm import LinearSVC
from sklearn.utils.validation import check_is_fitted

from sklearn_ddfad import (
    DistillationSampler,
    DistilledClassifier,
    GradientDistiller,
    NetworkEmbedding,
    RandomSelector,
    network_classifier,
)
from sklearn_ddfad._training import draw_seed
from sklearn_ddfad._validation import Rows

both = pytest.mark.parametrize("trained", [False, True])


@pytest.fixture(autouse=True)
def quick_network(monkeypatch):
    quick = partial(network_classifier, n_steps=100)
    monkeypatch.setattr("sklearn_ddfad._training.network_classifier", quick)


@pytest.fixture
def crossed():
    """Rows of two classes with the same mean: the sign of the product of two numbers."""
    X = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    return X, np.where(X[:, 0] * X[:, 1] > 0, "same", "other")


@pytest.mark.filterwarnings("ignore:self.within_class_std_dev_ has")  # of units that are silent
def test_a_trained_network_makes_prototypes_of_what_features_cannot_tell(crossed):
    X, y = crossed
    train, test = (X[:200], y[:200]), (X[200:], y[200:])
    assert NearestCentroid().fit(*train).score(*test) < 0.7
    embedding = NetworkEmbedding(random_state=0)
    assert make_pipeline(embedding, NearestCentroid()).fit(*train).score(*test) > 0.9


def test_it_is_what_the_last_layer_sees_of_a_network_classifier(crossed):
    X, y = crossed
    embedding = NetworkEmbedding("mlp", random_state=0).fit(X, y)
    seed = draw_seed(np.random.RandomState(0))
    judge = network_classifier("mlp", n_steps=100, random_state=seed).fit(X, y)
    with torch.no_grad():
        logits = judge.module_.classifier(torch.from_numpy(embedding.transform(X)))
    np.testing.assert_allclose(logits.softmax(dim=1), judge.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(embedding.classes_, judge.classes_)


def test_a_network_that_is_not_trained_does_not_depend_on_the_clips(crossed):
    X, y = crossed
    drawn = NetworkEmbedding(trained=False, random_state=0).fit(X, y)
    np.testing.assert_array_equal(
        drawn.transform(X),
        NetworkEmbedding(trained=False, random_state=0).fit(-X[:9], y[:9]).transform(X),
    )
    other = NetworkEmbedding(trained=False, random_state=1).fit(X, y)
    assert np.abs(other.transform(X) - drawn.transform(X)).max() > 1e-3


def test_prototypes_are_told_apart_by_the_cosine(crossed):
    X, y = crossed
    few = np.arange(8)
    embedding = NetworkEmbedding(trained=False, random_state=0)
    prototypes = make_pipeline(embedding, Normalizer(), KNeighborsClassifier(1)).fit(X[few], y[few])
    points = embedding.fit(X[few], y[few]).transform(X).astype(np.float64)
    directions = points / np.linalg.norm(points, axis=1, keepdims=True)
    nearest = y[few][(directions @ directions[few].T).argmax(axis=1)]
    assert set(nearest) == {"same", "other"}
    np.testing.assert_array_equal(prototypes.predict(X), nearest)


@both
def test_same_seed_same_embedding_and_global_state_untouched(crossed, trained):
    X, y = crossed
    before = torch.get_rng_state()
    first, second = (
        NetworkEmbedding(trained=trained, random_state=3).fit(X, y).transform(X) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.float32
    assert torch.equal(torch.get_rng_state(), before)


def test_clips_are_embedded_a_few_at_a_time_and_alike(crossed, tmp_path, monkeypatch):
    X, y = crossed
    np.save(tmp_path / "numbers.npy", X)
    held = np.load(tmp_path / "numbers.npy", mmap_mode="r")
    embedding = NetworkEmbedding(trained=False, random_state=0).fit(held, y)
    expected, sizes = embedding.transform(X), []
    monkeypatch.setattr(Rows, "BATCH_BYTES", 7 * 2 * 4)
    embed = embedding.module_.embed
    monkeypatch.setattr(embedding.module_, "embed", lambda X: sizes.append(len(X)) or embed(X))
    np.testing.assert_allclose(embedding.transform(held), expected, rtol=1e-5, atol=1e-6)
    assert max(sizes) == 7
    assert sum(sizes) == len(X)


def test_what_cannot_be_embedded_is_refused_before_any_training(crossed, monkeypatch):
    X, y = crossed
    fitted = NetworkEmbedding(trained=False, random_state=0).fit(X[:, :, None], y)
    monkeypatch.setattr("sklearn_ddfad._training.network_classifier", None)
    with pytest.raises(ValueError, match="Linear has no method embed"):
        NetworkEmbedding(lambda shape, n_classes: torch.nn.Linear(*shape, n_classes)).fit(X, y)
    with pytest.raises(ValueError, match="the target y is None: give the labels"):
        NetworkEmbedding().fit(X, None)
    with pytest.raises(ValueError, match=r"was fitted on features of shape \(2, 1\) for each clip"):
        fitted.transform(X[:, :, None].repeat(3, axis=2))


def test_a_classifier_tells_of_a_small_set_what_it_can_tell_of_a_large_one(crossed):
    X, y = crossed
    for estimator, name in ((LinearSVC(), "decision_function"), (GaussianNB(), "predict_proba")):
        selector = RandomSelector(4, estimator=estimator, random_state=0)
        for classifier in (
            selector,
            DistilledClassifier(selector),
            DistilledClassifier(RandomSelector(4, random_state=0), estimator),
        ):
            told = getattr(classifier.fit(X, y), name)(X)
            assert told.shape[0] == len(y)
            assert np.isfinite(told).all()
            assert {"predict_proba", "decision_function"} - {name} == {
                other
                for other in ("predict_proba", "decision_function")
                if not hasattr(classifier, other)
            }
            X_apart = X + 3 * (y == y[-1])[:, None]
            assert cross_val_score(classifier, X_apart, y, scoring="roc_auc", cv=2).mean() > 0.9


def test_a_sampler_does_not_drop_soft_labels():
    distiller = GradientDistiller(1, soft_labels=True)
    with pytest.raises(ValueError, match="set soft_labels=False"):
        DistillationSampler(distiller).fit_resample(np.zeros((4, 2)), [0, 0, 1, 1])


@pytest.mark.parametrize(
    "judge", [network_classifier("mlp", n_steps=5), RandomForestClassifier(3), DummyClassifier()]
)
def test_the_seed_of_a_distiller_seeds_its_estimator_and_nothing_else(judge):
    X = np.random.default_rng(0).normal(size=(40, 3))
    y = np.arange(40) % 2
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    told = [RandomSelector(4, estimator=judge, random_state=s).fit(X, y) for s in (0, 0)]
    np.testing.assert_array_equal(*(each.predict(X) for each in told))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    if "random_state" in judge.get_params():
        seeded = clone(judge).set_params(random_state=7)
        kept = RandomSelector(4, estimator=seeded, random_state=0).fit(X, y)
        assert kept.estimator_.random_state == 7


@pytest.mark.parametrize(
    "estimator",
    [
        DistilledClassifier(RandomSelector(2, estimator=DummyClassifier())),
        DistillationSampler(RandomSelector(2, estimator=DummyClassifier())),
        NetworkEmbedding("mlp", trained=False),
    ],
)
def test_a_refused_fit_leaves_nothing_of_the_one_before(estimator):
    X, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
    estimator = clone(estimator).fit(X, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        estimator.fit(X, y[:-1])
    with pytest.raises(NotFittedError):
        check_is_fitted(estimator)


def test_numbers_of_numpy_among_parameters_are_written_as_numbers():
    X, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    search = GridSearchCV(
        RandomSelector(estimator=DummyClassifier()), {"cpc": np.arange(1, 3)}, cv=2
    ).fit(X, y)
    written = search.best_estimator_.distilled_.provenance["parameters"]["cpc"]
    assert written == 1
    assert type(written) is int
