"""Students, teachers, and how the TFE paper trains."""

import pickle
from functools import partial

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EpochScoring
from skorch.dataset import ValidSplit
from torch import nn

from sklearn_ddfad import (
    ArchitectureSearch,
    AudioSpectrogramTransformer,
    Augmentation,
    ConvNet,
    DistilledClassifier,
    DistilledSet,
    DistributionDistiller,
    EfficientNetV2,
    EnhancedNetwork,
    KnowledgeDistillationClassifier,
    RandomSelector,
    evaluate,
    network_classifier,
    teach,
    training_recipe,
)
from sklearn_ddfad._validation import Rows
from sklearn_ddfad.augmentation import draw_mixture, mix
from sklearn_ddfad.networks import make_network

SMALL = partial(ConvNet, width=4, depth=1)
QUICK = {"n_steps": 20, "random_state": 0, "device": "cpu"}
ABLE = {"network": partial(ConvNet, width=16, depth=1), "temperature": 1.0}  # learns in 20 steps
ROWS = FunctionTransformer(lambda X: X.reshape(len(X), -1))  # of feature images


@pytest.fixture
def images():
    """Feature images of three classes, told apart by which rows are loud."""
    rng = np.random.default_rng(0)
    y = np.arange(48) % 3
    X = rng.normal(size=(48, 1, 6, 7)).astype(np.float32)
    X[np.arange(48), 0, 2 * y] += 2
    return X, np.array(["a", "b", "c"])[y]


class Loud(nn.Module):
    """A teacher without parameters: it tells how loud each third of the rows is, times ten."""

    def __init__(self, classes=None):
        super().__init__()
        self.classes_ = classes
        self.seen = []

    def forward(self, X):
        self.seen.append(X.detach().cpu().numpy().copy())
        return 10 * X.mean(dim=(1, 3)).unflatten(1, (3, 2)).mean(dim=2)


def student(teacher, network=SMALL, **changes):
    return KnowledgeDistillationClassifier(teacher, network, **{**QUICK, **changes})


def weights(classifier):
    return torch.cat([p.detach().flatten() for p in classifier.module_.parameters()]).numpy()


def softmax(Z):
    return np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)


# -- the loss ----------------------------------------------------------------------------------


@pytest.mark.parametrize("balance", [0.0, 0.3, 1.0])
def test_the_loss_is_equation_3_and_its_gradient_the_formula(images, balance):
    """With p of the teacher and q of the student: sum p log(p / q), by the logits q - p."""
    X, y = images
    classifier = student(Loud(), balance=0.5).fit(X, y).set_params(balance=balance)
    rng = np.random.default_rng(1)
    Z_S, Z_T = rng.normal(size=(2, 5, 3))
    p, q = softmax(Z_T / 5), softmax(Z_S)
    Y = np.eye(3)[[0, 2, 1, 1, 0]]
    logits = torch.tensor(Z_S, requires_grad=True)
    loss = classifier.get_loss(logits, torch.tensor(np.stack([Y, p], axis=1)))
    told, taught = -(Y * np.log(q)).sum() / 5, (p * np.log(p / q)).sum() / 5
    assert loss.item() == pytest.approx(balance * told + (1 - balance) * taught)
    loss.backward()
    gradient = (balance * (q - Y) + (1 - balance) * (q - p)) / 5
    np.testing.assert_allclose(logits.grad, gradient, atol=1e-12)


def test_the_divergence_is_zero_where_the_student_says_what_the_softened_teacher_says(images):
    X, y = images
    classifier = student(Loud(), balance=0.0).fit(X, y)
    lesson = classifier.lesson_(X[:4])
    target = torch.stack([torch.zeros(4, 3), lesson], dim=1)
    assert abs(classifier.get_loss(lesson.log(), target)) < 1e-6
    assert classifier.get_loss(5 * lesson.log(), target) > 0.01  # as sure as it is not softened


@pytest.mark.parametrize("options", [{}, {"mixup": 0.5}, {"criterion__label_smoothing": 0.1}])
def test_learning_from_labels_alone_is_plain_training_bit_for_bit(images, options):
    X, y = images
    plain = network_classifier(SMALL, **QUICK, **options).fit(X, y)
    teacher = Loud()
    ours = student(teacher, balance=1.0, **options).fit(X, y)
    np.testing.assert_array_equal(weights(ours), weights(plain))
    np.testing.assert_array_equal(ours.predict_proba(X), plain.predict_proba(X))
    assert not teacher.seen  # and nobody is asked
    assert np.abs(weights(student(Loud(), **options).fit(X, y)) - weights(plain)).max() > 1e-3


@pytest.mark.parametrize("consistent", [True, False])
def test_a_teacher_heated_without_limit_smooths_labels(images, consistent):
    """It finds all classes alike, so that each keeps a share of ``1 - balance``."""
    X, y = images
    options = {"balance": 0.8, "temperature": 1e9, "consistent": consistent}
    ours = student(Loud(), **options).fit(X, y)
    plain = network_classifier(SMALL, **QUICK, criterion__label_smoothing=0.2).fit(X, y)
    np.testing.assert_allclose(weights(ours), weights(plain), atol=2e-4)


def test_a_teacher_cooled_to_the_limit_gives_labels(images):
    X, y = images
    told = np.array(["a", "b", "c"])[Loud()(torch.tensor(X)).argmax(dim=1)]
    options = {"balance": 0.0, "temperature": 1e-4, "consistent": False}
    ours = student(Loud(), **options).fit(X, y[::-1])  # which are not looked at
    plain = network_classifier(SMALL, **QUICK).fit(X, told)
    np.testing.assert_allclose(weights(ours), weights(plain), atol=2e-4)


def test_probabilities_teach_as_the_logits_they_come_from(images):
    X, y = images

    class Told(DummyClassifier):
        def predict_proba(self, X):
            return softmax(Loud()(torch.tensor(X)).double().numpy())

    from_logits = student(Loud()).fit(X, y)
    from_probabilities = student(Told().fit(X, y)).fit(X, y)
    np.testing.assert_allclose(weights(from_probabilities), weights(from_logits), atol=1e-4)


# -- who teaches, about what -------------------------------------------------------------------


def test_consistent_teaching_asks_about_each_batch_as_the_student_sees_it(images):
    X, y = images
    seen, teacher = [], Loud()

    class Student(ConvNet):
        def forward(self, X):
            if self.training:
                seen.append(X.numpy().copy())
            return super().forward(X)

    options = {"mixup": 0.5, "augmentation": Augmentation(noise=0.3, roll=True)}
    classifier = student(teacher, partial(Student, width=4, depth=1), **options).fit(X, y)
    first, *asked = classifier.teacher_.seen  # once before, to see that it can say something
    assert len(first) == 1
    assert len(asked) == len(seen) == 20
    for hers, his in zip(asked, seen, strict=True):
        np.testing.assert_array_equal(hers, his)
    assert not teacher.seen  # a module is copied, and left in the mode it was in
    assert teacher.training


def test_else_a_teacher_is_asked_once_about_the_clips_as_they_are(images):
    X, y = images
    classifier = student(Loud(), consistent=False).fit(X, y)
    (asked,) = classifier.teacher_.seen
    np.testing.assert_array_equal(asked, X)


def test_without_augmentation_it_does_not_matter_when_the_teacher_is_asked(images):
    X, y = images
    taught = [
        student(Loud(), augmentation=None, consistent=consistent).fit(X, y)
        for consistent in (True, False)
    ]
    np.testing.assert_allclose(weights(taught[0]), weights(taught[1]), atol=1e-5)


def test_a_teacher_may_hear_the_clips_in_another_way(images):
    X, y = images
    teacher = make_pipeline(ROWS, StandardScaler(), LogisticRegression())
    heard = X[:, :, ::2, :-1]
    ours = student(teacher, balance=0.0, **ABLE).fit(X, y, teacher_X=heard)
    assert ours.teacher_[1].n_features_in_ == 3 * 6
    assert ours.score(X, y) > 0.9
    with pytest.raises(ValueError, match=r"teacher_X holds 5 clips, X 48"):
        student(teacher).fit(X, y, teacher_X=heard[:5])


@pytest.mark.parametrize(
    "teacher",
    [
        network_classifier(ConvNet, **QUICK),
        make_pipeline(ROWS, LogisticRegression()),
        VotingClassifier(
            [(name, make_pipeline(ROWS, each)) for name, each in
             [("bayes", GaussianNB()), ("logistic", LogisticRegression())]],
            voting="soft",
        ),
    ],
    ids=["network", "pipeline", "ensemble"],
)  # fmt: skip
def test_any_classifier_teaches_fitted_or_not(images, teacher):
    X, y = images
    fitted = clone(teacher).fit(X, y)
    taught_by = {
        name: student(each, balance=0.0, **ABLE).fit(X, y)
        for name, each in [
            ("new", teacher),
            ("fitted", fitted),
            ("frozen", FrozenEstimator(fitted)),
        ]
    }
    assert taught_by["fitted"].teacher_ is fitted
    for classifier in taught_by.values():
        assert classifier.score(X, y) > 0.9  # without having looked at a label
        np.testing.assert_array_equal(weights(classifier), weights(taught_by["new"]))


def test_columns_of_a_teacher_are_brought_into_the_order_of_the_labels(images):
    X, y = images

    class Turned(Loud):
        def forward(self, X):
            return super().forward(X)[:, [2, 0, 1]]

    ours = student(Turned(np.array(["c", "a", "b"])), balance=0.0).fit(X, y)
    np.testing.assert_array_equal(weights(ours), weights(student(Loud(), balance=0.0).fit(X, y)))


def test_soft_labels_are_of_the_sorted_classes_of_the_teacher(images):
    X, y = images
    soft = (y[:, None] == ["a", "b", "c"]).astype(np.float32)
    teacher = network_classifier(SMALL, **QUICK).fit(X, y)
    hard, from_soft = (student(teacher).fit(X, labels) for labels in (y, soft))
    np.testing.assert_allclose(weights(from_soft), weights(hard), atol=1e-5)
    assert from_soft.classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("names", [["a", "b", "c"], [1, 2, 3]], ids=["letters", "from one on"])
@pytest.mark.parametrize("is_fitted", [True, False])
def test_a_distiller_and_a_search_tell_its_student_what_classes_are_called(
    images, names, is_fitted
):
    X, y = images
    y = np.array(names)[np.searchsorted(["a", "b", "c"], y)]
    teacher = make_pipeline(ROWS, LogisticRegression())
    if is_fitted:
        teacher = FrozenEstimator(teacher.fit(X, y))
    learner = student(teacher, balance=0.0, **ABLE)
    selector = RandomSelector(8, random_state=0)
    reducer = clone(selector).set_params(estimator=learner).fit(X, y)
    assert reducer.score(X, y) > 0.8
    assert set(reducer.predict(X)) <= set(names)
    assert DistilledClassifier(selector, learner).fit(X, y).score(X, y) > 0.8
    soft = DistributionDistiller(2, estimator=learner, soft_labels=True, max_iter=1, device="cpu")
    assert soft.fit(X, y).predict(X).dtype == y.dtype
    for proxy in (selector, "whole", "early_stopping"):
        search = ArchitectureSearch({"kd": learner}, proxy, refit=False, random_state=0).fit(X, y)
        learned = proxy != "early_stopping"  # which takes two steps
        assert search.best_score_ > (0.6 if learned else 0.3)


def test_a_distiller_refuses_a_teacher_of_other_classes_before_it_begins(images, monkeypatch):
    X, y = images
    monkeypatch.setattr(DistributionDistiller, "_reduce", None)
    with pytest.raises(ValueError, match="the teacher knows the classes 'a', 'b', 'd'"):
        DistributionDistiller(2, estimator=student(Loud(["a", "b", "d"]))).fit(X, y)


def test_a_search_lets_each_candidate_be_the_student(images):
    X, y = images
    space = [{"depth": 1, "width": 4}, {"depth": 2, "width": 16}]
    learner = student(GaussianNB(), balance=1.0)
    counted = [
        [row["n_parameters"] for row in search.fit(X, y).rows_]
        for search in (
            ArchitectureSearch(space, "early_stopping", estimator=judge, refit=False)
            for judge in (learner, network_classifier(**QUICK))
        )
    ]
    assert counted[0] == counted[1]
    assert counted[0][0] < counted[0][1]


def test_a_module_hears_other_features_a_few_at_a_time(monkeypatch):
    monkeypatch.setattr(Rows, "BATCH_BYTES", 4 * 4 * 42)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 5)), np.resize(["a", "b", "c"], 12)
    heard = rng.normal(size=(12, 1, 6, 7))
    ours = student(Loud(), network="mlp").fit(X, y, teacher_X=heard)
    assert [len(batch) for batch in ours.teacher_.seen] == [4, 4, 4]


@pytest.mark.parametrize(
    ("teacher", "words"),
    [
        (
            Loud(["a", "b", "d"]),
            r"teacher knows the classes 'a', 'b', 'd', the labels are 'a', 'b'",
        ),
        (nn.Flatten(), r"teacher gives 42 logits, the labels are of 3 classes"),
        (StandardScaler(), r"StandardScaler tells no probabilities; teach by a classifier"),
        (
            NeuralNetClassifier(
                ConvNet,
                module__input_shape=(1, 6, 7),
                module__n_classes=3,
                classes=["a", "b", "c"],
            ).initialize(),  # its criterion would want a softmax at the end of the network
            r"what NeuralNetClassifier tells in predict_proba are no probabilities: a row is \[",
        ),
    ],
)
def test_a_teacher_of_other_things_is_refused_before_the_student_begins(images, teacher, words):
    X, y = images
    with pytest.raises(ValueError, match=words):
        student(teacher, network=None).fit(X, y)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"balance": 1.5}, "balance == 1.5, must be <= 1"),
        ({"temperature": 0.0}, "temperature == 0.0, must be > 0"),
        ({"mixup": -0.1}, "mixup == -0.1, must be >= 0"),
        ({"schedule": "linear"}, "schedule='linear' must be 'cosine', or None"),
    ],
)
def test_numbers_out_of_range_are_refused(images, changes, words):
    with pytest.raises(ValueError, match=words):
        student(Loud(), **changes).fit(*images)


# -- at home in scikit-learn -------------------------------------------------------------------


def test_the_same_seed_gives_the_same_student_and_leaves_the_generators_alone(images):
    X, y = images
    before = torch.get_rng_state()
    teacher = network_classifier(SMALL, **QUICK)
    one, two, other = (
        weights(student(teacher, mixup=0.5, random_state=seed).fit(X, y)) for seed in (3, 3, 4)
    )
    np.testing.assert_array_equal(one, two)
    assert np.abs(one - other).max() > 1e-3
    assert torch.equal(torch.get_rng_state(), before)


def test_it_is_cloned_pickled_and_searched(images):
    X, y = images
    teacher = FrozenEstimator(make_pipeline(ROWS, GaussianNB()).fit(X, y))
    teacher_of_old = student(teacher, balance=0.25, lr=0.05, temperature=2)
    copy = clone(teacher_of_old)
    assert copy.get_params(deep=False).keys() == teacher_of_old.get_params(deep=False).keys()
    assert (copy.balance, copy.temperature, copy.lr, copy.n_steps) == (0.25, 2, 0.05, 20)
    fitted = copy.fit(X, y)
    np.testing.assert_array_equal(weights(clone(fitted).fit(X, y)), weights(fitted))
    search = GridSearchCV(make_pipeline(StandardScaler(), teacher_of_old), {}, cv=2)
    name = "knowledgedistillationclassifier__balance"
    search.set_params(param_grid={name: [0.0, 1.0]})
    search.estimator.steps[-1][1].set_params(student="mlp", teacher=GaussianNB())
    search.fit(X.reshape(48, -1), y)
    assert search.best_score_ > 0.8
    assert search.cv_results_[f"param_{name}"].tolist() == [0.0, 1.0]
    once = FrozenEstimator(network_classifier(SMALL, **QUICK).fit(X, y))
    one = student(once).fit(X, y)
    again = pickle.loads(pickle.dumps(one))
    np.testing.assert_array_equal(again.predict_proba(X), one.predict_proba(X))


def test_parameters_of_the_teacher_are_set_through_it():
    ours = student(LogisticRegression())
    assert ours.set_params(teacher__C=3.0, balance=0.1).teacher.C == 3.0
    assert (ours.balance, ours.get_params()["teacher__C"]) == (0.1, 3.0)
    assert "teacher__C" not in clone(ours).get_params(deep=False)


def test_a_student_judges_small_sets_taught_by_one_who_knows_them_all(images):
    X, y = images
    teacher = FrozenEstimator(network_classifier(SMALL, **QUICK).fit(X, y))
    result = evaluate(X[:6], y[:6], X, y, estimator=student(teacher), n_repeats=2)
    assert result["test_score"].shape == (2,)
    assert (result["test_score"] > 0.4).all()


# -- the recipe --------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_so_many_clips_are_mixed_each_with_another_of_the_batch(share):
    n = 4000
    mixture = draw_mixture(n, share, torch.Generator().manual_seed(0))
    mixed = mixture.weight < 1
    assert mixed.float().mean() == pytest.approx(share, abs=0.03)
    assert sorted(mixture.partner.tolist()) == [*range(n)]
    if share == 1:  # Beta(10, 10): mean 1/2, variance 1 / (4 * 21)
        assert mixture.weight.mean() == pytest.approx(0.5, abs=0.01)
        assert mixture.weight.var() == pytest.approx(1 / 84, rel=0.1)
    X = torch.rand(n, 2, 3, dtype=torch.float64)
    expected = [w * x + (1 - w) * X[p] for x, p, w in zip(X, *mixture, strict=True)]
    torch.testing.assert_close(mix(X, mixture), torch.stack(expected))
    torch.testing.assert_close(mix(X, mixture)[~mixed], X[~mixed])


def test_labels_are_mixed_as_clips_are(images):
    """A clip that says its own class in a number says of a mixture what its label does."""
    _, y = images
    X = np.eye(3, dtype=np.float32)[np.searchsorted(["a", "b", "c"], y)]
    seen = []

    class Spy(type(network_classifier())):
        def train_step_single(self, batch, **fit_params):
            seen.append(super()._as_learned(*batch))
            return super().train_step_single(batch, **fit_params)

    judge = network_classifier("mlp", mixup=0.7, **QUICK)
    Spy(**judge.get_params(deep=False)).fit(X, y)
    for clips, labels in seen:
        torch.testing.assert_close(clips, labels)
    assert ((seen[0][1] > 0) & (seen[0][1] < 1)).any()


@pytest.mark.parametrize(
    ("name", "n_epochs", "rate"),
    [
        ("esc50", 12, lambda epoch: 1e-4 * 0.85 ** (epoch // 5)),
        ("speech_commands", 8, lambda epoch: 5e-4 * 0.85 ** max(epoch - 4, 0)),
    ],
)
def test_the_step_size_falls_as_the_paper_says(images, name, n_epochs, rate):
    X, y = images
    rates = []

    class Spy(torch.optim.Adam):
        def step(self, *args):
            rates.append(self.param_groups[0]["lr"])
            return super().step(*args)

    recipe = training_recipe(name)
    assert recipe["optimizer"] is torch.optim.Adam
    recipe |= {"optimizer": Spy, "max_epochs": n_epochs, "random_state": 0}
    judge = network_classifier(SMALL, **recipe).fit(X, y)
    np.testing.assert_allclose(rates, [rate(epoch) for epoch in range(n_epochs)])
    assert judge.n_steps_ == n_epochs == len(judge.history)


def test_masks_and_shifts_of_the_recipes_are_as_long_as_printed():
    for name, shape, longest in [
        ("esc50", (500, 1, 128, 512), (96, 24, 10)),
        ("speech_commands", (500, 1, 128, 128), (48, 48, 10)),
    ]:
        augmentation = training_recipe(name)["augmentation"]
        draw = augmentation.draw(shape, torch.Generator().manual_seed(0))
        time, frequency = ((mask == 0).sum(dim=1).max() for mask in draw[2:4])
        assert (time, frequency, draw.shift.abs().max()) == longest


@pytest.mark.parametrize("n_frames", [1, 2, 5])
@pytest.mark.parametrize("name", ["esc50", "speech_commands"])
def test_short_clips_are_learned_from_with_either_recipe(name, n_frames):
    """Masks are fractions: they are not longer than a clip, and leave something of it."""
    rng = np.random.default_rng(0)
    y = np.arange(20) % 2
    X = (rng.normal(size=(20, 1, 4, n_frames)) + 3 * y[:, None, None, None]).astype(np.float32)
    recipe = training_recipe(name) | {"lr": 0.05, "max_epochs": 15, "random_state": 0}
    assert network_classifier(SMALL, **recipe).fit(X, y).score(X, y) > 0.9


def test_there_are_no_other_recipes():
    with pytest.raises(ValueError, match=r"there is no recipe 'audioset'; use one of \['esc50'"):
        training_recipe("audioset")


# -- the teacher of the paper ------------------------------------------------------------------

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "patch_size": 4,
    "frequency_stride": 2,
    "time_stride": 2,
}
ADAM = QUICK | {"optimizer": torch.optim.Adam, "lr": 5e-3, "n_steps": 40}


@pytest.fixture(scope="module")
def transformers():
    """The library of the AST."""
    return pytest.importorskip("transformers", reason="the extra [ast] is not installed")


@pytest.fixture(scope="module")
def ast(transformers):
    return partial(AudioSpectrogramTransformer, **TINY)


def test_a_small_ast_learns_and_teaches(ast, images):
    X, y = images
    teacher = network_classifier(ast, **ADAM).fit(X, y)
    assert teacher.score(X, y) > 0.9
    assert student(teacher, balance=0.0, **ABLE).fit(X, y).score(X, y) > 0.9


def test_weights_from_disk_are_those_that_were_saved_and_a_head_that_does_not_fit_is_new(
    ast, images, tmp_path
):
    X, y = images
    one = network_classifier(ast, **ADAM | {"n_steps": 1}).fit(X, y).module_.eval()
    assert one.classes_ == ["a", "b", "c"]  # who trains it tells it their names
    one.model.config.id2label = dict(enumerate("bca"))
    one.model.save_pretrained(tmp_path)
    load = partial(AudioSpectrogramTransformer, weights=tmp_path)
    same, other = (load(X.shape[1:], n).eval() for n in (3, 5))
    clips = torch.tensor(X)
    torch.testing.assert_close(same(clips), one(clips), atol=1e-6, rtol=0)
    torch.testing.assert_close(other.embed(clips), one.embed(clips), atol=1e-6, rtol=0)
    assert other(clips).shape == (48, 5)
    assert same.classes_ == ["b", "c", "a"]
    again, new = (AudioSpectrogramTransformer(X.shape[1:], n, weights=same.model) for n in (3, 4))
    torch.testing.assert_close(again.eval()(clips), same(clips))
    assert again.model is not same.model  # which is not to be trained further
    assert new(clips).shape == (48, 4)
    assert new.classes_ is None
    expected = torch.softmax(one(clips[:1])[0, [2, 0, 1]] / 5, dim=0)
    for teacher in (same, same.model):  # in our network, or as the library has it
        ours = student(teacher, balance=0.0).fit(X, y)
        torch.testing.assert_close(ours.lesson_(X[:1])[0], expected)


def test_weights_that_know_the_classes_in_another_order_go_on_as_who_they_were(ast, images):
    X, y = images
    able = network_classifier(ast, **ADAM).fit(X, y).module_
    order = [1, 2, 0]
    head = able.model.classifier.dense
    with torch.no_grad():
        for part in head.parameters():
            part.copy_(part[order])
    able.model.config.id2label = dict(enumerate("bca"))
    taken_up = partial(AudioSpectrogramTransformer, weights=able.model)
    going_on = network_classifier(taken_up, **ADAM | {"n_steps": 1, "lr": 1e-9}).fit(X, y)
    assert going_on.score(X, y) > 0.9
    assert going_on.module_.classes_ == ["a", "b", "c"]
    for teacher in (going_on, going_on.module_):
        assert student(teacher, balance=0.0, **ABLE).fit(X, y).score(X, y) > 0.9
    numbered = network_classifier(taken_up, **ADAM | {"n_steps": 1}).fit(X, np.arange(48) % 3)
    assert numbered.module_.classes_ is None


def test_weights_of_half_precision_are_taken_up_in_single(ast, images):
    X, y = images
    half = ast(X.shape[1:], 3).model.half()
    taken_up = partial(AudioSpectrogramTransformer, weights=half)
    network_classifier(taken_up, **ADAM | {"n_steps": 1}).fit(X, y)
    assert next(half.parameters()).dtype == torch.float16


def test_fewer_frames_are_filled_up_with_zeros_and_features_are_halved(ast, images, transformers):
    X = torch.tensor(images[0])
    model = ast((1, 6, 12), 3).eval()
    heard = torch.zeros(48, 12, 6)
    heard[:, :7] = X[:, 0].transpose(1, 2) / 2
    with torch.no_grad():
        expected = model.model(heard).logits
        short = AudioSpectrogramTransformer((1, 6, 7), 3, weights=model.model).eval()
        torch.testing.assert_close(short(X), expected)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((3, 6, 7), "are no log-mel spectrograms; an AST hears"),
        ((40,), "are no log-mel spectrograms; an AST hears"),
        ((1, 5, 7), "for 6 mel bands and at most 7 frames"),
        ((1, 6, 8), "for 6 mel bands and at most 7 frames"),
    ],
)
def test_an_ast_refuses_clips_that_it_cannot_hear(ast, shape, words):
    model = ast((1, 6, 7), 3).model
    with pytest.raises(ValueError, match=words):
        AudioSpectrogramTransformer(shape, 3, weights=model)


def test_an_ast_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn-ddfad\[ast\]'"):
        AudioSpectrogramTransformer((1, 6, 7), 3)


@pytest.mark.parametrize("consistent", [True, False])
def test_a_student_may_be_validated_and_trained_further(images, consistent):
    X, y = images
    student = KnowledgeDistillationClassifier(
        make_pipeline(ROWS, GaussianNB()),
        SMALL,
        consistent=consistent,
        train_split=ValidSplit(3),
        **QUICK,
    ).fit(X, y)
    _, part = student.get_split_datasets(X, student.encoder_.transform(y))
    right = student.predict(X[part.indices]) == y[part.indices]
    assert student.history[-1, "valid_acc"] == pytest.approx(right.mean())
    teacher, n_epochs = student.teacher_, len(student.history)
    student.partial_fit(X, y)
    assert student.teacher_ is teacher
    assert len(student.history) == 2 * n_epochs


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"student": "bogus"}, ValueError, "bogus"),
        ({"student": ConvNet((1, 6, 7), 3)}, TypeError, "ConvNet"),
        ({"augmentation": "loud"}, ValueError, "loud"),
        ({"schedule": "linear"}, ValueError, "linear"),
        ({"lr": -1}, ValueError, "Invalid learning rate: -1"),
        ({"n_steps": 0}, ValueError, "n_steps == 0"),
        ({"batch_size": 0}, ValueError, "batch_size == 0"),
        ({"temperature": np.nan}, ValueError, "temperature"),
        ({"n_stepz": 2}, ValueError, "n_stepz"),
    ],
)
def test_what_the_student_cannot_be_is_told_before_the_teacher_learns(
    images, options, error, words
):
    teacher = network_classifier(SMALL, callbacks=[("never", Never())])
    student = KnowledgeDistillationClassifier(teacher, **{"student": SMALL} | QUICK | options)
    with pytest.raises(error, match=words):
        student.fit(*images)


class Never(Callback):
    """Something that must not be trained."""

    def on_train_begin(self, net, **kwargs):
        """Fail."""
        raise AssertionError("the teacher was trained")


def test_a_frozen_teacher_labels_clips(images):
    X, y = images
    teacher = make_pipeline(ROWS, GaussianNB()).fit(X, y)
    told = teach(X, y, X[:4], estimator=FrozenEstimator(teacher))
    np.testing.assert_allclose(told, teacher.predict_proba(X[:4]), atol=1e-6)


@pytest.mark.parametrize(
    ("few", "error", "words"),
    [
        (np.zeros((2, 1, 6, 5)), ValueError, r"shape \(1, 6, 5\), those of X of \(1, 6, 7\)"),
        (np.zeros((0, 1, 6, 7)), ValueError, "X_small is empty"),
        (DistilledSet(np.zeros((1, 1, 6, 7), np.float32), np.array(["a"])), TypeError, "few.X"),
    ],
)
def test_what_cannot_be_labelled_is_refused_before_the_teacher_learns(images, few, error, words):
    teacher = network_classifier(SMALL, callbacks=[("never", Never())])
    with pytest.raises(error, match=words):
        teach(*images, few, estimator=teacher)


class Twice(Loud):
    """A teacher that says everything twice."""

    def forward(self, X):
        """Return logits and logits."""
        return super().forward(X), super().forward(X)


def test_members_of_an_ensemble_may_be_asked_side_by_side(images):
    """Each used to wait for the generators that the student trains by."""
    X, y = images
    bag = BaggingClassifier(network_classifier(SMALL, **QUICK), 2, n_jobs=2, random_state=0)
    teacher = make_pipeline(ROWS, bag)
    bag.estimator.set_params(module__network="mlp")
    with joblib.parallel_config(backend="threading"):
        ours = student(teacher).fit(X, y)
    assert ours.predict(X).shape == y.shape


def test_asking_draws_from_no_global_generator(images):
    X, y = images
    plain = network_classifier(SMALL, **QUICK).fit(X, y)
    before = torch.get_rng_state()
    plain.predict_proba(X)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("taught", ["before", "here"])
def test_columns_of_soft_labels_may_stand_in_any_order(images, taught):
    X, y = images
    columns = np.array(["b", "c", "a"])
    soft = np.float32(y[:, None] == columns)
    teacher = make_pipeline(ROWS, LogisticRegression())
    teacher = FrozenEstimator(teacher.fit(X, y)) if taught == "before" else teacher
    judge = student(teacher, balance=0.0, **ABLE)
    found = evaluate(X, soft, X, y, estimator=judge, classes=columns, n_repeats=1)
    assert found["mean"] > 0.9


@pytest.mark.parametrize("options", [{}, {"criterion__label_smoothing": 0.1}])
def test_weights_of_classes_mean_the_same_for_hard_and_soft_labels(images, options):
    X, y = images
    weight = torch.tensor([0.1, 0.02, 0.05])
    net = network_classifier(SMALL, **QUICK, criterion__weight=weight, **options).fit(X, y)
    logits, codes = torch.randn(9, 3), torch.arange(9) % 3
    one_hot = torch.eye(3)[codes]
    torch.testing.assert_close(net.get_loss(logits, one_hot), net.get_loss(logits, codes))


def test_trained_further_a_teacher_is_asked_as_before(images):
    X, y = images
    upside_down = make_pipeline(ROWS, LogisticRegression())
    going_on = student(upside_down, balance=0.0, **ABLE).fit(X, y, teacher_X=X[:, :, ::-1])
    taught = going_on.teacher_
    with pytest.raises(ValueError, match="heard other features than X; give them as teacher_X"):
        going_on.partial_fit(X, y)
    going_on = student(upside_down, balance=0.0, **ABLE).fit(X, y, teacher_X=X[:, :, ::-1])
    going_on.set_params(temperature=0.5).partial_fit(X, y, teacher_X=X[:, :, ::-1])
    assert going_on.lesson_.temperature == 0.5
    assert going_on.score(X, y) > 0.9
    assert type(going_on.teacher_) is type(taught)

    once = Loud()
    patient = student(once, consistent=False).fit(X, y).partial_fit(X, y)
    assert len(patient.teacher_.seen) == 1
    labels = student(Loud(), balance=1.0).fit(X, y).set_params(balance=0.5).partial_fit(X, y)
    assert labels.teacher_.seen


def test_a_teacher_that_was_fitted_here_is_not_fitted_again(images):
    X, y = images
    ours = student(make_pipeline(ROWS, GaussianNB())).fit(X, y)
    taught = ours.teacher_
    assert ours.partial_fit(X[:9], y[:9]).teacher_ is taught


@pytest.mark.parametrize("consistent", [True, False])
def test_splits_and_scores_see_the_labels_alone(images, consistent):
    X, y = images
    f1 = partial(EpochScoring, "f1_macro", lower_is_better=False)
    callbacks = [("f1", f1()), ("f1 of learning", f1(on_train=True, name="f1_train"))]
    split = ValidSplit(3, stratified=True)
    ours = student(Loud(), consistent=consistent, train_split=split, callbacks=callbacks)
    ours.fit(X, y)
    _, part = ours.get_split_datasets(X, ours.encoder_.transform(y))
    measured = f1_score(y[part.indices], ours.predict(X[part.indices]), average="macro")
    assert ours.history[-1, "f1_macro"] == pytest.approx(measured)
    assert ours.history[-1, "f1_train"] > 0.5  # of labels; by chance it is a third


def test_a_fitted_student_stays_as_it_is_when_it_is_used(images):
    X, y = images
    network = partial(EnhancedNetwork, backbone=partial(EfficientNetV2, width=8))
    ours = student(Loud(), network, n_steps=2).fit(X, y)
    told = ours.predict_proba(X)
    with torch.no_grad():
        said = torch.softmax(ours.module_(torch.tensor(X)), dim=1)
    np.testing.assert_allclose(said, told, atol=1e-5)
    np.testing.assert_array_equal(ours.predict_proba(X), told)


def test_parts_of_a_network_keep_their_share_of_the_step_size(images):
    X, y = images
    groups = [("*classifier*", {"lr": 0.2})]
    rates = []

    class Watch(Callback):
        def on_batch_end(self, net, **_):
            rates.append([group["lr"] for group in net.optimizer_.param_groups])

    options = {**QUICK, "lr": 0.1, "callbacks": [("watch", Watch())]}
    network_classifier(SMALL, optimizer__param_groups=groups, **options).fit(X, y)
    rates = np.array(rates)
    np.testing.assert_allclose(rates[:, 0], 2 * rates[:, 1])
    assert rates[-1, 0] < 1e-9 < rates[0, 1]


@pytest.mark.parametrize("network", ["convnet", "resnet18", EnhancedNetwork])
def test_what_is_taken_to_a_terminal_can_be_exported(network):
    module = make_network(network, (1, 40, 40), 3).eval()
    clips = torch.randn(2, 1, 40, 40)
    exported = torch.export.export(module, (clips,)).module()
    other = torch.randn(2, 1, 40, 40)
    torch.testing.assert_close(exported(other), module(other), atol=1e-5, rtol=1e-4)


def test_the_device_is_settled_whenever_it_is_set(images):
    X, y = images
    network_classifier(SMALL, **QUICK).set_params(device="auto").fit(X, y)
    with pytest.raises(ValueError, match="device='moon'"):
        student(Loud()).set_params(device="moon")


def test_options_that_would_reach_no_module_are_refused(images):
    with pytest.raises(TypeError, match="module__width reaches no module"):
        student(Loud(), module__width=999).fit(*images)


def test_names_are_given_for_all_classes(images):
    X, y = images
    with pytest.raises(ValueError, match="there are 3 class_names, y has 2 classes"):
        student(Loud()).fit(X[y != "c"], (y[y != "c"] == "b").astype(int), class_names=[*"abc"])


def test_a_teacher_of_sounds_of_any_lengths_learns_soft_labels(images):
    X, y = images
    sounds = [np.full(3 + i % 2, value) for i, value in enumerate(X.mean(axis=(1, 2, 3)))]
    means = FunctionTransformer(lambda sounds: np.array([[sound.mean()] for sound in sounds]))
    soft = np.float32(y[:, None] == np.unique(y)) * 0.8 + np.float32(0.2 / 3)
    teacher = make_pipeline(means, GaussianNB())
    ours = student(teacher).fit(X, soft, teacher_X=sounds)
    told, of_labels = (
        each.predict_proba(sounds) for each in (ours.teacher_, teacher.fit(sounds, y))
    )
    np.testing.assert_allclose(told.argmax(axis=1), of_labels.argmax(axis=1))


def test_a_module_is_asked_about_a_clip_before_anything_is_distilled(images, monkeypatch):
    X, y = images
    monkeypatch.setattr(DistributionDistiller, "_reduce", None)
    two = make_network(SMALL, X.shape[1:], 2)
    with pytest.raises(ValueError, match="gives 2 logits, the labels are of 3 classes"):
        DistributionDistiller(1, estimator=student(two)).fit(X, y)


def test_a_module_that_says_nothing_finite_or_hears_so_is_refused(images):
    X, y = images
    broken = X.copy()
    broken[3] = np.nan
    with pytest.raises(ValueError, match="clip 3 of teacher_X contains NaN"):
        student(Loud()).fit(X, y, teacher_X=broken)
    silent = nn.Sequential(nn.Flatten(), nn.Linear(42, 3))
    with torch.no_grad():
        silent[1].bias.fill_(np.inf)
    with pytest.raises(ValueError, match="logits that are not finite"):
        student(silent).fit(X, y)


def test_labels_are_told_by_who_knows_the_classes_and_tells_probabilities(images):
    X, y = images
    renamed = make_pipeline(ROWS, GaussianNB()).fit(X, np.char.add("not ", y))
    with pytest.raises(ValueError, match="the teacher knows the classes 'not a'"):
        teach(X, y, X[:3], estimator=FrozenEstimator(renamed))
    raw = NeuralNetClassifier(
        SMALL,
        module__input_shape=X.shape[1:],
        module__n_classes=3,
        criterion=nn.MultiMarginLoss,
        train_split=None,
        verbose=0,
        max_epochs=1,
    )
    with pytest.raises(ValueError, match="tells in predict_proba are no probabilities"):
        teach(X, np.arange(48) % 3, X[:3], estimator=raw)


def test_a_teacher_must_give_logits(images):
    with pytest.raises(TypeError, match="the teacher gives tuple; it must give logits"):
        KnowledgeDistillationClassifier(Twice(), SMALL, **QUICK).fit(*images)
