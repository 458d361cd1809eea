"""Matching gradients (DC, DSA) and distributions (DM): their limits, and what they lead to."""

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.nn import functional as F

from sklearn_ddfad import (
    Augmentation,
    ConvNet,
    DistilledSet,
    DistributionDistiller,
    GradientDistiller,
    TrajectoryDistiller,
)
from sklearn_ddfad._training import FunctionalNetwork
from sklearn_ddfad._validation import Rows
from sklearn_ddfad.augmentation import NoAugmentation
from sklearn_ddfad.distillation._base import Iterate
from sklearn_ddfad.distillation._checkpoint import Checkpoint
from sklearn_ddfad.distillation._classes import ClassBatches
from sklearn_ddfad.distillation._distribution import DistributionMatching, distribution_loss
from sklearn_ddfad.distillation._gradient import GradientMatching, gradient_distance

SHAPE, N_CLASSES = (2, 6, 7), 3
STRONG = Augmentation(time_shift=0.4, time_mask=0.4, frequency_mask=0.4, gain=0.5)


def images(n, seed=0):
    return np.random.default_rng(seed).normal(size=(n, *SHAPE)).astype(np.float32)


def new_network(seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return FunctionalNetwork(ConvNet(SHAPE, N_CLASSES, depth=2, width=4))


def batches(X, codes, augmentation, size=100):
    return ClassBatches(Rows(X), codes, size, augmentation, torch.device("cpu"))


def iterate(X, codes, logits=None):
    codes = torch.as_tensor(codes)
    clips = torch.tensor(X, requires_grad=True)
    return Iterate(clips, codes, codes if logits is None else logits, torch.tensor(0.1))


def gradient_matching(X, codes, augmentation=None, outer_loop=3):
    augmentation = augmentation or NoAugmentation()
    real = batches(X, codes, augmentation)
    return GradientMatching(new_network, real, augmentation, outer_loop, inner_loop=2)


def matchings(X, codes, augmentation=None):
    augmentation = augmentation or NoAugmentation()
    return [
        gradient_matching(X, codes, augmentation),
        DistributionMatching(new_network, batches(X, codes, augmentation)),
    ]


def value(matching, set_now, seed=0):
    generator = torch.Generator().manual_seed(seed)
    matching.begin_iteration(lambda: set_now, generator)
    return matching(set_now, generator)


# -- both ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", [None, STRONG])
@pytest.mark.parametrize("which", [0, 1])
def test_the_whole_set_matches_itself(which, augmentation):
    """Under augmentation too, which changes both alike: it is Siamese."""
    X, codes = images(12), np.arange(12) % N_CLASSES
    matching = matchings(X, codes, augmentation)[which]
    assert value(matching, iterate(X, codes)).item() == pytest.approx(0, abs=1e-4)
    assert value(matching, iterate(images(12, seed=1), codes)).item() > 0.05


@pytest.mark.parametrize("which", [0, 1])
def test_each_class_is_matched_by_its_own_clips(which):
    X, codes = images(12), np.arange(12) % N_CLASSES
    matching = matchings(X, codes)[which]
    swapped = (codes + 1) % N_CLASSES
    assert value(matching, iterate(X, swapped)).item() > 0.05
    order = np.random.default_rng(0).permutation(12)
    assert value(matching, iterate(X[order], codes[order])).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("which", [0, 1])
def test_certain_soft_labels_do_what_hard_ones_do(which):
    X, codes = images(12), np.arange(12) % N_CLASSES
    few, few_codes = images(6, seed=1), np.arange(6) % N_CLASSES
    logits = 60 * F.one_hot(torch.from_numpy(few_codes), N_CLASSES).float()
    matching = matchings(X, codes)[which]
    hard = value(matching, iterate(few, few_codes))
    soft = value(matchings(X, codes)[which], iterate(few, few_codes, logits))
    torch.testing.assert_close(soft, hard)


@pytest.mark.parametrize("augmentation", [None, STRONG])
@pytest.mark.parametrize("which", [0, 1])
def test_gradients_are_those_of_finite_differences(which, augmentation):
    """Of clips and of soft labels, through network, augmentation and, in DC, another gradient."""
    X, codes = images(9).astype(np.float64), np.arange(9) % N_CLASSES
    real = batches(X, codes, augmentation or NoAugmentation())
    real._read = lambda indices: torch.from_numpy(X[indices.numpy()])

    def double(seed):
        return FunctionalNetwork(new_network(seed).module.double())

    kinds = [
        GradientMatching(double, real, augmentation or NoAugmentation(), 1, 1),
        DistributionMatching(double, real),
    ]
    codes = torch.arange(3)
    clips = torch.from_numpy(images(3, seed=1).astype(np.float64)).requires_grad_()
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0)).double()

    def loss(clips, logits):
        return value(kinds[which], Iterate(clips, codes, logits, torch.tensor(0.1)))

    inputs = [clips, logits.requires_grad_()]
    gradients = torch.autograd.grad(loss(*inputs), inputs)
    for i, gradient in enumerate(gradients):
        generator = torch.Generator().manual_seed(i)
        direction = torch.randn(inputs[i].shape, generator=generator, dtype=torch.float64)
        ahead, behind = (
            loss(*[v + step * direction if j == i else v for j, v in enumerate(inputs)])
            for step in (1e-5, -1e-5)
        )
        expected = (ahead - behind).item() / 2e-5
        assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-4)
        assert gradient.abs().max() > 1e-6


# -- gradients -----------------------------------------------------------------------------------


def test_distance_of_gradients_is_the_published_one():
    """Layer by layer, unit by unit; of weights only."""
    layers = nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(4, 4), nn.Flatten(), nn.Linear(80, 3))
    parameters = list(layers.parameters())
    generator = torch.Generator().manual_seed(0)
    first, second = ([torch.randn(p.shape, generator=generator) for p in parameters] for _ in "ab")
    rows = [
        (a.flatten(1), b.flatten(1)) for a, b in zip(first, second, strict=True) if a.ndim in (2, 4)
    ]
    expected = np.mean(
        np.concatenate([1 - F.cosine_similarity(a, b, dim=1).numpy() for a, b in rows])
    )
    flat = [torch.cat([part.flatten() for part in parts]) for parts in (first, second)]
    shapes = [p.shape for p in parameters]
    assert gradient_distance(*flat, shapes).item() == pytest.approx(expected, rel=1e-5)
    assert gradient_distance(flat[0], 3 * flat[0], shapes).item() == pytest.approx(0, abs=1e-5)
    assert gradient_distance(flat[0], -flat[0], shapes).item() == pytest.approx(2, abs=1e-5)


def test_a_network_is_trained_between_moments_and_drawn_anew_after_the_last():
    X, codes = images(12), np.arange(12) % N_CLASSES
    matching, few = gradient_matching(X, codes, outer_loop=3), iterate(X[:6], codes[:6])
    generator, seen = torch.Generator().manual_seed(0), []
    for _ in range(6):
        matching.begin_iteration(lambda: few, generator)
        theta = matching._theta.clone()
        X_few, targets = few.clips.detach(), few.targets
        seen.append(F.cross_entropy(matching._network(theta, X_few), targets).item())
    assert seen[0] > seen[1] > seen[2]
    assert seen[3] > seen[4] > seen[5]
    assert seen[3] not in seen[:3]


# -- distributions -------------------------------------------------------------------------------


class Identity(nn.Module):
    """Sees its rows as they are."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.last = nn.Linear(input_shape[0], n_classes)

    def embed(self, X):
        return X

    def forward(self, X):
        return self.last(X)


def test_distance_of_distributions_is_one_in_the_middle_of_all_classes():
    real = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert distribution_loss(real, real).item() == 0
    middle = real.mean(dim=0).expand_as(real)
    assert distribution_loss(real, middle).item() == pytest.approx(1)
    assert distribution_loss(5 * real, 5 * (real + 1)).item() == pytest.approx(
        distribution_loss(real, real + 1).item(), rel=1e-5
    )


def rows(n=120):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    return (rng.normal(size=(n, 8)) + 1.5 * np.eye(3, 8)[y]).astype(np.float32), y


def test_under_the_identity_the_means_of_the_classes_are_found():
    X, y = rows()
    distiller = DistributionDistiller(
        2,
        network=Identity,
        estimator=LogisticRegression(),
        batch_size=1000,
        max_iter=400,
        validation_fraction=0,
        random_state=0,
    ).fit(X, y)
    for label in range(3):
        mean = distiller.distilled_.X[distiller.y_distilled_ == label].mean(axis=0)
        np.testing.assert_allclose(mean, X[y == label].mean(axis=0), atol=0.01)


@pytest.mark.parametrize("cpc", [1, 4, 45])
def test_however_many_clips_they_are_not_led_away_from_where_they_begin(cpc):
    """Most of a class is near its mean already; batches of few clips say so with much noise."""
    X, y = rows(150)
    options = {"network": "mlp", "batch_size": 8, "max_iter": 300, "validation_fraction": 0}

    def missed(learning_rate):
        few = DistributionDistiller(
            cpc,
            learning_rate=learning_rate,
            estimator=DummyClassifier(),
            random_state=0,
            **options,
        )
        few = few.fit(X, y).distilled_
        means = [few.X[few.y == c].mean(axis=0) - X[y == c].mean(axis=0) for c in range(3)]
        return np.square(means).sum()

    assert missed(0.05) < 0.5 * missed(1e-9)


# -- the estimators ------------------------------------------------------------------------------

QUICK = {"cpc": 1, "estimator": LogisticRegression(), "max_iter": 8, "random_state": 0}
DISTILLERS = [
    DistributionDistiller(**QUICK),
    GradientDistiller(**QUICK, outer_loop=3),
    GradientDistiller(**QUICK, outer_loop=3, soft_labels=True),
    TrajectoryDistiller(**QUICK, n_experts=1, max_start_epoch=1, soft_labels=True),
]
NAMES = ["DM", "DC", "DC soft", "MTT soft"]


class Spy(Augmentation):
    """An augmentation that writes down how many clips it changed, and by which draw."""

    def __init__(self, **options):
        super().__init__(**options)
        self.seen = []

    def __call__(self, X, draw):
        self.seen.append((len(X), draw))
        return super().__call__(X, draw)


def test_distillers_change_clips_as_they_are_told_to():
    X, y = images(12), np.arange(12) % 3
    options = {"validation_fraction": 0, "estimator": DummyClassifier(), "random_state": 0}

    def seen(kind, **more):
        spy = Spy(time_shift=0.3)
        kind(1, augmentation=spy, **options | more).fit(X, y)
        return spy.seen

    def is_siamese(pairs):
        return all(
            (n, m) == (4, 1) and real is made
            for (n, real), (m, made) in zip(pairs[::2], pairs[1::2], strict=True)
        )

    by_dm = seen(DistributionDistiller, max_iter=2)
    assert len(by_dm) == 2 * 3 * 2
    assert is_siamese(by_dm)
    by_dsa = seen(GradientDistiller, outer_loop=2, inner_loop=3, max_iter=2)
    learning = [part for part in by_dsa if part[0] == 3]  # a network learns the set for 3 epochs
    assert len(learning) == 3
    assert len(by_dsa) == 2 * 3 * 2 + 3
    assert is_siamese([part for part in by_dsa if part[0] != 3])
    quick = {"n_experts": 1, "max_start_epoch": 1, "student_steps": 2, "max_iter": 1}
    by_mtt = {n for n, _ in seen(TrajectoryDistiller, **quick)}
    assert by_mtt == {12, 3}  # experts, and students


def test_so_many_real_clips_of_each_class_are_matched():
    X, codes = images(12), np.arange(12) % 3
    generator = torch.Generator().manual_seed(0)
    for real, made, own in batches(X, codes, NoAugmentation(), 2).pairs(
        iterate(X, codes), generator
    ):
        assert (len(real), len(made), len(own)) == (2, 4, 4)


def test_a_loss_that_grows_is_told():
    """Law 5: where no bound is known, a run that led away says so."""
    with pytest.warns(ConvergenceWarning, match="the loss grew to .* Lower learning_rate"):
        DistributionDistiller(**QUICK | {"max_iter": 40, "learning_rate": 100.0}).fit(*rows())


class _Killed(Exception):
    pass


@pytest.mark.parametrize("n", [1, 5, 8])
@pytest.mark.parametrize("distiller", DISTILLERS, ids=NAMES)
def test_a_killed_fit_ends_where_an_unbroken_one_would(tmp_path, monkeypatch, distiller, n):
    """Law 8; in DC the network that is being trained on the set goes on, too."""
    X, y = rows()
    monkeypatch.setattr(Checkpoint, "EVERY", 0.0)

    def kill(distiller):
        if distiller.n_iter_ == n:
            raise _Killed

    def fit(**changes):
        return type(distiller)(**{**distiller.get_params(deep=False), **changes}).fit(X, y)

    with pytest.raises(_Killed):
        fit(checkpoint=tmp_path, callbacks=[kill])
    again, unbroken = fit(checkpoint=tmp_path), fit()
    np.testing.assert_array_equal(again.distilled_.X, unbroken.distilled_.X)
    np.testing.assert_equal(again.soft_labels_, unbroken.soft_labels_)
    assert again.loss_curve_ == unbroken.loss_curve_


@pytest.mark.parametrize("kind", [GradientDistiller, DistributionDistiller])
@pytest.mark.parametrize("soft_labels", [False, True])
def test_a_model_trained_on_one_clip_a_class_is_nearly_as_good(kind, soft_labels):
    X, y = rows(300)
    train, test = slice(0, 200), slice(200, None)
    whole = LogisticRegression().fit(X[train], y[train]).score(X[test], y[test])
    options = {**QUICK, "max_iter": 200, "soft_labels": soft_labels, "init": "noise"}
    distiller = kind(**options, validation_fraction=0).fit(X[train], y[train])
    assert distiller.score(X[test], y[test]) > whole - 0.1


@pytest.mark.parametrize("kind", [GradientDistiller, DistributionDistiller])
def test_running_statistics_are_refused(kind):
    def network(input_shape, n_classes):
        return ConvNet(input_shape, n_classes, depth=1, width=4, normalization="batch")

    with pytest.raises(ValueError, match="running statistics"):
        kind(1, network=network).fit(images(12), np.arange(12) % 3)


@pytest.mark.parametrize("kind", [GradientDistiller, TrajectoryDistiller])
def test_one_class_alone_is_refused_where_a_network_learns_nothing_from_it(kind):
    X = np.random.default_rng(0).normal(size=(9, 4))
    with pytest.raises(ValueError, match="nothing to match with one class, owl: a network"):
        kind(2).fit(X, ["owl"] * 9)


def test_beginnings_from_the_same_real_clip_part():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(24, 3, 4, 5)), np.repeat([0, 1], [20, 4])
    distiller = DistributionDistiller(10, max_iter=3, estimator=DummyClassifier(), random_state=0)
    with pytest.warns(UserWarning, match="class 1 has 4 clips, fewer than cpc=10"):
        few = distiller.fit(X, y).distilled_
    assert len(np.unique(few.X[few.y == 1], axis=0)) == 10


def test_a_network_without_embedding_is_refused():
    with pytest.raises(ValueError, match="Linear has no method embed"):
        DistributionDistiller(1, network=lambda shape, n: nn.Linear(*shape, n)).fit(*rows())


# -- soft labels ---------------------------------------------------------------------------------


def test_soft_labels_are_probabilities_that_stay_with_their_set(tmp_path):
    X, y = rows()
    names = np.array(["ant", "bee", "cat"])
    distiller = GradientDistiller(**QUICK, soft_labels=True).fit(X, names[y])
    labels = distiller.distilled_.soft_labels
    assert labels.shape == (3, 3)
    assert labels.dtype == np.float32
    np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)
    assert 0 < abs(labels.diagonal() - 0.9).max() < 0.5  # learned, from nine tenths on
    assert list(distiller.y_distilled_) == ["ant", "bee", "cat"]
    assert distiller.distilled_.n_stored == 3 * 8 + 3 * 3
    distiller.distilled_.save(tmp_path / "set.safetensors")
    again = DistilledSet.load(tmp_path / "set.safetensors")
    np.testing.assert_array_equal(again.soft_labels, labels)


def test_a_classifier_that_knows_no_weights_is_refused_before_any_work():
    seen = []
    distiller = GradientDistiller(
        1, estimator=KNeighborsClassifier(1), soft_labels=True, callbacks=[seen.append]
    )
    with pytest.raises(ValueError, match="KNeighborsClassifier cannot learn from soft labels"):
        distiller.fit(*rows())
    assert not seen
