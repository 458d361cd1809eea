"""The judge (network_classifier) and DistilledClassifier."""

import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone, is_classifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning, DataConversionWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from skorch.callbacks import EarlyStopping, EpochScoring
from skorch.dataset import ValidSplit

from sklearn_ddfad import (
    Augmentation,
    ConvNet,
    DistilledClassifier,
    RandomSelector,
    TrajectoryDistiller,
    evaluate,
    network_classifier,
)


@pytest.fixture
def images():
    """Feature images of three classes, told apart by which rows are loud."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = rng.normal(size=(60, 2, 6, 7)).astype(np.float32)
    X[np.arange(60), 0, 2 * y] += 3
    return X, y


def quick(**changes):
    return network_classifier(**{"n_steps": 40, "random_state": 0, **changes})


@pytest.mark.parametrize("names", [["a", "b", "c"], [5, 6, 9], [0.0, 1.0, 4.0]])
def test_labels_of_any_type(images, names):
    X, y = images
    labels = np.array(names)[y]
    judge = quick().fit(X, labels)
    assert judge.predict(X).dtype == labels.dtype
    assert judge.score(X, labels) > 0.9
    np.testing.assert_array_equal(judge.classes_, np.unique(labels))
    probabilities = judge.predict_proba(X)
    assert probabilities.shape == (60, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("names", [["a", "b", "c"], [5, 6, 9]])
def test_callbacks_of_skorch_see_how_it_learns(images, names):
    X, y = images
    labels = np.array(names)[y]
    seen = EpochScoring("accuracy", on_train=True, name="train_acc")
    judge = quick(train_split=ValidSplit(3), callbacks=[seen], batch_size=8).fit(X, labels)
    assert judge.n_steps_ == judge.step_ == 20 * 5  # 40 of 60 clips
    assert judge.history[-1, "train_acc"] > 0.9
    assert judge.history[-1, "valid_acc"] > 0.7
    assert set(judge.predict(X)) == set(names)


class Interrupted(ConvNet):
    """A network during whose third step the user loses patience."""

    steps = 0

    def forward(self, X):
        if self.training:
            Interrupted.steps += 1
            if Interrupted.steps == 3:
                raise KeyboardInterrupt
        return super().forward(X)


def test_an_interrupt_by_the_user_is_one_and_the_end_of_a_callback_is_none(images, monkeypatch):
    """Skorch takes both for the end of training, and nobody would know."""
    X, y = images
    for train in (
        lambda: quick(network=Interrupted).fit(X, y),
        lambda: RandomSelector(2, estimator=quick(network=Interrupted)).fit(X, y),
        lambda: evaluate(X, y, X, y, estimator=quick(network=Interrupted), n_repeats=1),
    ):
        monkeypatch.setattr(Interrupted, "steps", 0)
        with pytest.raises(KeyboardInterrupt):
            train()
    stop = EarlyStopping(monitor="train_loss", patience=1, threshold=10.0, sink=lambda _: None)
    assert len(quick(callbacks=[stop]).fit(X, y).history) < 20


def test_a_warm_start_goes_on_with_the_like_and_refuses_the_rest(images):
    X, y = images
    judge = quick(warm_start=True).fit(X, y)
    assert judge.fit(X, y).score(X, y) > 0.9
    for clips, labels in ((X[..., :5], y), (X, y % 2), (X, np.arange(60) % 4)):
        with pytest.raises(ValueError, match="warm_start=True goes on with a network for clips of"):
            judge.fit(clips, labels)
    assert judge.score(X, y) > 0.9


def test_classes_to_come_are_named_at_first(images):
    X, y = images
    judge = quick().partial_fit(X[y < 2], y[y < 2], classes=[0, 1, 2])
    assert judge.classes_.tolist() == [0, 1, 2]
    assert judge.partial_fit(X, y).score(X, y) > 0.9
    with pytest.raises(ValueError, match="y has the label 2, which is not among"):
        quick().partial_fit(X, y, classes=[0, 1])


def test_all_clips_may_come_in_one_batch(images):
    X, y = images
    judge = quick(batch_size=-1).fit(torch.tensor(X), torch.tensor(y))
    assert judge.n_steps_ == judge.step_ == 40
    assert judge.score(X, y) > 0.9


def test_a_column_of_labels_is_one_label_each(images):
    X, y = images
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        judge = quick().fit(X, y[:, None])
    assert judge.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", ["Int64", "boolean"])
def test_nullable_labels_of_pandas_stay_what_they_are(images, dtype):
    X, y = images
    labels = pd.Series((y > 0) if dtype == "boolean" else 2**53 + y, dtype=dtype)
    selector = RandomSelector(3, estimator=LogisticRegression(), random_state=0)
    told = selector.fit(X.reshape(60, -1), labels).predict(X.reshape(60, -1))
    assert told.dtype == (bool if dtype == "boolean" else np.int64)
    assert len(selector.classes_) == (2 if dtype == "boolean" else 3)


def test_same_seed_same_network_and_global_state_untouched(images):
    X, y = images
    before = torch.get_rng_state()
    first, second, other = (
        quick(random_state=seed).fit(X, y).predict_proba(X) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 1e-4
    assert torch.equal(before, torch.get_rng_state())


def test_is_a_citizen_of_scikit_learn(images):
    X, y = images
    judge = quick(network=ConvNet)
    assert is_classifier(judge)
    again = pickle.loads(pickle.dumps(clone(judge).fit(X, y)))
    np.testing.assert_array_equal(again.predict(X), clone(judge).fit(X, y).predict(X))
    assert cross_val_score(judge, X, y, cv=2).mean() > 0.8
    assert clone(judge.set_params(lr=0.1)).lr == 0.1


def test_it_is_written_as_what_it_was_told(images):
    judge = quick(network="convnet", optimizer__momentum=0.9, lr=0.05)
    told = "n_steps=40, random_state=0, lr=0.05, module__network='convnet', optimizer__momentum=0.9"
    assert repr(judge) == f"NetworkClassifier({told})"
    assert repr(judge.set_params(lr=0.1, optimizer__momentum=0).fit(*images)) == (
        "NetworkClassifier(n_steps=40, random_state=0, module__network='convnet', "
        "optimizer__momentum=0)"
    )


def test_rows_get_an_mlp_and_no_augmentation(images):
    X, y = images
    judge = quick().fit(X.reshape(60, -1), y)
    assert type(judge.module_).__name__ == "MLP"
    assert judge.score(X.reshape(60, -1), y) > 0.9


@pytest.mark.parametrize(("n_clips", "steps"), [(60, 40), (10, 40), (900, 20 * 18)])
def test_small_and_large_sets_are_trained_to_the_end(n_clips, steps):
    """At least n_steps steps and at least 20 epochs; the step size ends at zero."""
    X = np.zeros((n_clips, 1, 2, 2), np.float32)
    judge = quick(network=lambda shape, n: ConvNet(shape, n, width=4, depth=1))
    judge.fit(X, np.arange(n_clips) % 2)
    assert judge.step_ == judge.n_steps_ == steps
    assert judge.optimizer_.param_groups[0]["lr"] == pytest.approx(0, abs=1e-6)


def test_training_batches_are_augmented_and_others_are_not(images):
    X, y = images
    seen = []

    class Spy(Augmentation):
        def __call__(self, X, draw):
            seen.append(len(X))
            return super().__call__(X, draw)

    judge = quick(augmentation=Spy()).fit(X, y)
    assert sum(seen) == 20 * 60
    judge.predict(X)
    assert sum(seen) == 20 * 60


def test_silence_is_learned_without_nan():
    X = np.zeros((10, 1, 4, 4), np.float32)
    assert np.isfinite(quick().fit(X, np.arange(10) % 2).predict_proba(X)).all()


# -- DistilledClassifier ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [RandomForestClassifier(random_state=0), quick(), None],
    ids=["forest", "net", "own"],
)
def test_any_classifier_is_trained_on_the_small_set(images, estimator):
    X, y = images
    X = X.reshape(60, -1)
    selector = RandomSelector(3, estimator=LogisticRegression(), random_state=0)
    labels = np.array(["x", "y", "z"])[y]
    classifier = DistilledClassifier(selector, estimator).fit(X, labels)
    assert classifier.distiller_.distilled_.n_clips == 9
    assert classifier.score(X, labels) > 0.5
    assert set(classifier.predict(X)) <= {"x", "y", "z"}
    assert classifier.predict_proba(X).shape == (60, 3)
    assert not hasattr(selector, "distilled_")


def test_training_goes_on_with_the_network_there_is(images):
    X, y = images
    names = np.array(["a", "b", "c"])[y]
    judge = quick(n_steps=1).partial_fit(X, names)
    np.testing.assert_array_equal(
        judge.predict_proba(X), quick(n_steps=1).fit(X, names).predict_proba(X)
    )
    loss, before = judge.history[-1, "train_loss"], judge.predict_proba(X)
    state = torch.get_rng_state()
    judge.partial_fit(X[:30], names[:30])
    assert torch.equal(torch.get_rng_state(), state)
    assert judge.history[-1, "train_loss"] < loss
    assert not np.array_equal(judge.predict_proba(X), before)
    with pytest.raises(ValueError, match="previously unseen labels"):
        judge.partial_fit(X, y)
    with pytest.raises(ValueError, match="expecting 2 features"):
        judge.partial_fit(X[:, :1], names)


@pytest.mark.parametrize("mixup", [0.0, 0.5])
def test_soft_labels_may_be_validated(images, mixup):
    X, y = images
    soft = np.float32(0.1 / 3 + 0.9 * np.eye(3)[y])
    judge = quick(train_split=ValidSplit(3), mixup=mixup).fit(X, soft)
    assert judge.history[-1, "valid_acc"] > 0.8


class Wide(ConvNet):
    """A network that has a thousand outputs, whatever the classes."""

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, 1000, width=4, depth=1)


class Doubled(ConvNet):
    """A network that says everything twice."""

    def forward(self, X):
        """Return logits and logits."""
        return super().forward(X), super().forward(X)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Wide, r"Wide gives \(1, 1000\) for a clip of 3 classes; .* of shape \(1, 3\)"),
        (Doubled, "Doubled gives tuple"),
    ],
)
def test_a_network_must_give_a_logit_for_each_class(images, network, words):
    X, y = images
    for learner in (network_classifier(network), TrajectoryDistiller(1, network=network)):
        with pytest.raises(ValueError, match=words):
            learner.fit(X, y)


@pytest.mark.parametrize("name", ["convnet", "efficientnetv2", "resnet18", "vgg11"])
def test_networks_of_images_refuse_rows(images, name):
    X, y = images
    with pytest.raises(ValueError, match=r"clips of shape \(84,\) are no feature images"):
        network_classifier(name).fit(X.reshape(60, -1), y)


def test_a_network_that_is_built_already_is_refused(images):
    with pytest.raises(TypeError, match="a ConvNet that is built already; give its class"):
        network_classifier(ConvNet((2, 6, 7), 3)).fit(*images)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_steps": 0}, "n_steps == 0"),
        ({"batch_size": 0}, "batch_size == 0"),
        ({"mixup": 2}, "mixup"),
    ],
)
def test_what_training_cannot_begin_with_is_refused(images, options, words):
    with pytest.raises(ValueError, match=words):
        network_classifier(**options).fit(*images)


def test_training_that_diverges_is_told_of(images):
    wild = quick(network=partial(ConvNet, width=8, normalization="none"), lr=1e12)
    with pytest.warns(
        ConvergenceWarning, match=r"training of ConvNet diverged; lower lr=1000000000000"
    ):
        wild.fit(*images)


@pytest.mark.parametrize(
    ("X", "words"),
    [
        ([np.zeros(5), np.zeros(6)], "recordings of different lengths"),
        (np.array([np.zeros(5), np.zeros(6)], dtype=object), "recordings of different lengths"),
        (["a.wav", "b.wav"], "got paths"),
    ],
)
def test_recordings_in_place_of_features_are_refused(X, words):
    for learner in (network_classifier(), RandomSelector(1)):
        with pytest.raises(ValueError, match=words + r"; put an extractor in front"):
            learner.fit(X, [0, 1])


def test_labels_of_several_types_are_refused(images):
    with pytest.raises(ValueError, match="labels of int, str; give all"):
        network_classifier().fit(images[0][:2], np.array([1, "a"], dtype=object))


@pytest.mark.parametrize(
    "labels",
    [
        [*"ab", None, "b"],
        [*"ab", float("nan"), "b"],
        np.array([*"ab", np.nan, "b"], dtype=object),
        pd.Series([*"ab", None, "b"]),
        pd.Series([*"ab", None, "b"], dtype="string"),
        pd.Series([*"ab", None, "b"], dtype="category"),
        pd.Series([0, 1, None, 1], dtype="Int64"),
        np.array([*"ab", pd.NA, "b"], dtype=object),
    ],
)
def test_a_missing_label_is_told_of(images, labels):
    for learner in (network_classifier(), RandomSelector(1)):
        with pytest.raises(ValueError, match="clip 2 has no label; give it one, or leave it out"):
            learner.fit(images[0][:4], labels)


def test_numbers_in_an_array_of_objects_are_numbers(images):
    X, y = images
    told = quick().fit(X, y.astype(object)).predict(X)
    assert told.dtype == np.int64
    np.testing.assert_array_equal(told, quick().fit(X, y).predict(X))
