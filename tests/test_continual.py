"""RehearsalClassifier: EEIL's loss, what is remembered, and what is forgotten."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from imblearn.under_sampling import RandomUnderSampler
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from torch import nn

from sklearn_ddfad import (
    FDMFCC,
    MLP,
    ConvNet,
    DistillationSampler,
    DistilledSet,
    DistributionDistiller,
    EnhancedNetwork,
    GradientDistiller,
    HerdingSelector,
    NetworkEmbedding,
    RandomSelector,
    RehearsalClassifier,
    Spectral,
    Static,
    TrajectoryDistiller,
    Waveform,
    incremental_scores,
    load_audio_folder,
)
from sklearn_ddfad._training import NetworkClassifier, embedded
from sklearn_ddfad.continual import (
    _Learner,
    cross_distilled_loss,
    first_of_each_class,
    grown,
    probabilities,
)
from sklearn_ddfad.distillation._checkpoint import Checkpoint

NAMES = np.array(["ant", "bee", "cow", "donkey", "elephant", "fox"])
STEPS = [np.array(["fox", "ant"]), np.array(["donkey", "bee"]), np.array(["cow", "elephant"])]
rehearsal = partial(RehearsalClassifier, n_steps=40, random_state=0)
quick = {"max_iter": 2, "validation_fraction": 0}


@pytest.fixture(scope="module")
def animals():
    """Rows of six classes, 30 of each, that lie apart; the rows and labels cannot be written to."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(180, 6)).astype(np.float32)
    y = np.resize(NAMES, 180)
    X[y[:, None] == NAMES] += 5
    X.flags.writeable = y.flags.writeable = False
    return X, y


def _never(*_):
    raise AssertionError("something was trained")


def taught(classifier, X, y, steps=STEPS):
    """Return the classifier after some steps, and what it said of all rows after each."""
    said = []
    for classes in steps:
        new = np.isin(y, classes)
        said.append(classifier.partial_fit(X[new], y[new]).predict(X))
    return classifier, said


class FirstOfEachClass:
    """A sampler that keeps the first clips, and leaves out classes that it is told to."""

    def __init__(self, n=3, without=()):
        self.n, self.without = n, without

    def get_params(self, deep=True):
        return {"n": self.n, "without": self.without}

    def set_params(self, **params):
        vars(self).update(params)
        return self

    def fit_resample(self, X, y):
        kept = [np.flatnonzero(y == c)[: self.n] for c in np.unique(y) if c not in self.without]
        kept = np.concatenate(kept)
        return X[kept], y[kept]


# -- the loss ----------------------------------------------------------------------------


def test_the_loss_is_cross_entropy_and_a_term_for_each_old_head_at_temperature_two():
    rng = np.random.default_rng(0)
    z, z_old = rng.normal(size=(7, 5)), 3 * rng.normal(size=(7, 4))
    targets, heads = rng.integers(0, 5, 7), [slice(0, 2), slice(2, 4), slice(4, 5)]
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    expected = -np.log(p[range(7), targets]).mean()
    p_old = np.exp(z_old) / np.exp(z_old).sum(axis=1, keepdims=True)
    for head in heads[:2]:
        c, q = np.sqrt(p_old[:, head]), np.sqrt(p[:, head])
        c, q = (part / part.sum(axis=1, keepdims=True) for part in (c, q))
        expected -= (c * np.log(q)).sum(axis=1).mean()
    z, targets, z_old = torch.tensor(z), torch.tensor(targets), torch.tensor(z_old)
    assert cross_distilled_loss(z, targets, z_old, heads).item() == pytest.approx(expected)
    soft = nn.functional.one_hot(targets).double()
    assert cross_distilled_loss(z, soft, z_old, heads).item() == pytest.approx(expected)


def test_what_is_said_as_before_pulls_nowhere():
    old = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    heads, targets = [slice(0, 2), slice(2, 3)], torch.zeros(4, dtype=torch.long)
    shift = torch.tensor([1.0, 1.0, -2.0])  # of a whole head, which a softmax does not see
    logits = (old + shift).requires_grad_()
    both = cross_distilled_loss(logits, targets, old, heads)
    plain = cross_distilled_loss(logits, targets, old[:, :0], heads)
    (pull,) = torch.autograd.grad(both - plain, logits)
    assert pull.abs().max() < 1e-6
    logits = (old * torch.tensor([2.0, 1.0, 1.0])).requires_grad_()
    (pull,) = torch.autograd.grad(cross_distilled_loss(logits, targets, old, heads), logits)
    (alone,) = torch.autograd.grad(cross_distilled_loss(logits, targets, old[:, :0], heads), logits)
    assert (pull - alone)[:, :2].abs().max() > 0.01


def test_a_further_teacher_speaks_of_the_classes_that_the_first_did_not_know():
    generator = torch.Generator().manual_seed(0)
    X, y, W = (torch.randn(9, 4, generator=generator) for _ in range(3))
    y, heads = y.softmax(dim=1), [slice(0, 2), slice(2, 4)]
    first, second = (lambda X: X[:, :2]), (lambda X: X @ W[:4])
    learner = _Learner(nn.Identity, device="cpu", teachers=[first, second], heads=heads)
    told = torch.cat([X[:, :2], (X @ W[:4])[:, 2:]], dim=1)
    expected = cross_distilled_loss(X, y, told, heads)
    torch.testing.assert_close(learner.get_loss(X, y, X=X), expected)


def test_a_grown_network_says_the_same_of_old_classes():
    network = ConvNet((3, 8, 9), 2, width=4)
    X = torch.randn(5, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    before = network(X)
    larger = grown(network, 3, seed=0)
    assert larger(X).shape == (5, 5)
    torch.testing.assert_close(larger(X)[:, :2], before)
    larger.features[0].weight.data += 1
    torch.testing.assert_close(network(X), before, rtol=0, atol=0)
    assert network.classifier.out_features == 2


def test_a_network_grows_wherever_its_last_layer_is():
    network = EnhancedNetwork((1, 16, 41), 2, backbone="convnet")
    X = torch.randn(5, 1, 16, 41, generator=torch.Generator().manual_seed(0))
    larger = grown(network, 1, seed=0)
    assert larger(X).shape == (5, 3)
    torch.testing.assert_close(larger(X)[:, :2], network(X))


# -- strategies --------------------------------------------------------------------------


def test_rehearsal_keeps_what_plain_fine_tuning_forgets(animals):
    X, y = animals
    scores = {}
    for name, memory, strategy in [
        ("eeil", RandomSelector(5), "eeil"),
        ("finetune", None, "finetune"),
        ("scratch", RandomSelector(5), "scratch"),
    ]:
        _, said = taught(rehearsal(memory, strategy=strategy), X, y)
        scores[name] = incremental_scores(y, said, STEPS)
    assert scores["finetune"]["last"] < 0.5
    assert scores["finetune"]["forgetting"] > 0.8
    for name in ("eeil", "scratch"):
        assert scores[name]["last"] > 0.9
        assert scores[name]["forgetting"] < 0.1


def test_from_scratch_nothing_counts_but_the_memory(animals):
    X, y = animals
    memory = np.concatenate([np.flatnonzero(y == name)[:3] for name in NAMES])
    other = -X
    other[memory] = X[memory]
    probabilities = [
        taught(rehearsal(FirstOfEachClass(), strategy="scratch"), rows, y)[0].predict_proba(X)
        for rows in (X, other)
    ]
    np.testing.assert_array_equal(*probabilities)


def test_without_a_memory_old_classes_are_still_distilled(animals):
    """What EEIL is without exemplars: the old head is pulled back to what it said."""
    X, y = animals
    head = {}
    for strategy in ("eeil", "finetune"):
        classifier, _ = taught(rehearsal(None, strategy=strategy), X, y, STEPS[:1])
        before = classifier.predict_proba(X)
        classifier, _ = taught(classifier, X, y, STEPS[1:2])
        assert classifier.memory_ is None
        columns = np.flatnonzero(np.isin(classifier.classes_, STEPS[0]))
        after = classifier.predict_proba(X)[:, columns]
        head[strategy] = np.abs(after / after.sum(axis=1, keepdims=True) - before).mean()
    assert head["eeil"] < head["finetune"]


# -- steps -------------------------------------------------------------------------------


def test_same_seed_same_network_and_memory_and_nothing_else_is_touched(animals):
    X, y = animals
    numpy_before = pickle.dumps(np.random.get_state())  # noqa: NPY002
    torch_before = torch.get_rng_state()
    one, same, other = (
        taught(rehearsal(DistributionDistiller(2, **quick), random_state=seed), X, y)[0]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(one.predict_proba(X), same.predict_proba(X))
    np.testing.assert_array_equal(one.memory_.X, same.memory_.X)
    assert not np.array_equal(one.memory_.X, other.memory_.X)
    assert pickle.dumps(np.random.get_state()) == numpy_before  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


def test_a_pickled_rehearsal_goes_on_as_an_unbroken_one_and_fit_begins_anew(animals):
    X, y = animals
    first, _ = taught(rehearsal(RandomSelector(3)), X, y, STEPS[:2])
    again = pickle.loads(pickle.dumps(first))
    expected = taught(first, X, y, STEPS[2:])[0].predict_proba(X)
    np.testing.assert_array_equal(taught(again, X, y, STEPS[2:])[0].predict_proba(X), expected)
    new = np.isin(y, STEPS[1])
    np.testing.assert_array_equal(
        again.fit(X[new], y[new]).predict_proba(X),
        rehearsal(RandomSelector(3)).fit(X[new], y[new]).predict_proba(X),
    )
    assert len(again.history_) == 1


def test_probabilities_stand_in_the_order_of_sorted_classes(animals):
    X, y = animals
    classifier, said = taught(rehearsal(RandomSelector(5)), X, y)
    assert classifier.classes_.tolist() == NAMES.tolist()
    P = classifier.predict_proba(X)
    np.testing.assert_allclose(P.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(NAMES[P.argmax(axis=1)], said[-1])
    with torch.no_grad():
        outputs = classifier.module_(torch.tensor(X)).softmax(dim=1).numpy()
    came = np.concatenate([np.sort(classes) for classes in STEPS])
    np.testing.assert_array_equal(P[:, NAMES == "fox"], outputs[:, came == "fox"])
    assert [record["classes"].tolist() for record in classifier.history_] == [
        sorted(classes) for classes in STEPS
    ]
    assert [record["n_memory"] for record in classifier.history_] == [10, 20, 30]
    assert [record["n_clips"] for record in classifier.history_] == [60, 60, 60]


@pytest.mark.parametrize("names", [[7, -3, 0, 5, 12, 1], ["a", "c", "bb", "ddd", "e", "f"]])
def test_labels_of_any_type_come_back(animals, names):
    X, y = animals
    labels = np.array(names)[np.searchsorted(NAMES, y)]
    steps = [np.array(names[:3]), np.array(names[3:4]), np.array(names[4:])]
    classifier, said = taught(rehearsal(RandomSelector(5)), X, labels, steps)
    assert classifier.classes_.tolist() == sorted(names)
    assert classifier.memory_.y.dtype.kind == said[-1].dtype.kind == labels.dtype.kind
    assert np.mean(said[-1] == labels) > 0.9


def test_a_refused_step_leaves_everything_as_it_was(animals, monkeypatch):
    X, y = animals
    classifier, _ = taught(rehearsal(RandomSelector(3), memory_size=12), X, y, STEPS[:2])
    before = classifier.predict_proba(X), classifier.memory_, classifier.history_
    monkeypatch.setattr(NetworkClassifier, "fit", None)
    new = np.isin(y, STEPS[2])
    holed = X[new].copy()
    holed[5, 2] = np.inf
    for rows, labels, words in [
        (X, y, "class ant is known already; a class is learned once"),
        (X[new], np.arange(60) % 2, "of type int64, those known already of type <U8"),
        (holed, y[new], "clip 5 of X contains NaN, infinity"),
        (X[new][:, :4], y[new], "4 features"),
        (X[new][:4], y[new][:4], r"memory keeps cpc=2 .* no more than n_samples = 4; lower cpc"),
    ]:
        with pytest.raises(ValueError, match=words):
            classifier.partial_fit(rows, labels)
    classifier.set_params(memory_size=5)
    with pytest.raises(ValueError, match="memory_size=5 has no room for a clip of each of 6"):
        classifier.partial_fit(X[new], y[new])
    np.testing.assert_array_equal(classifier.predict_proba(X), before[0])
    assert classifier.memory_ is before[1]
    assert classifier.history_ is before[2]
    monkeypatch.undo()
    unbroken, _ = taught(rehearsal(RandomSelector(2)), X, y)
    broken, _ = taught(rehearsal(RandomSelector(2)), X, y, STEPS[:2])
    with pytest.raises(ValueError, match="is known already"):
        broken.partial_fit(X, y)
    np.testing.assert_array_equal(
        taught(broken, X, y, STEPS[2:])[0].predict_proba(X), unbroken.predict_proba(X)
    )


class Remembering(nn.Sequential):
    """A network with batch normalisation."""

    def __init__(self, input_shape, n_classes):
        super().__init__(nn.Linear(*input_shape, 8), nn.BatchNorm1d(8), nn.Linear(8, n_classes))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"memory": None, "strategy": "scratch"}, "learns from the memory alone; give a memory"),
        ({"strategy": "joint"}, "'strategy' parameter"),
        ({"memory": NetworkClassifier(nn.Linear)}, "'memory' parameter"),
        ({"memory": NetworkEmbedding("mlp")}, "'memory' parameter"),
        ({"memory": TrajectoryDistiller(2, network="bogus")}, "network='bogus' is unknown"),
        ({"memory": GradientDistiller(2, network=Remembering)}, "keeps running statistics"),
        ({"network": lambda shape, n: nn.Linear(*shape, n)}, "Linear does not end in a linear"),
        ({"augmentation": "loud"}, "augmentation='loud' must be"),
        ({"memory": RandomSelector(30)}, "cpc=30 clips of 6 classes, 180, .* lower cpc"),
        ({"memory": RandomSelector(2, parameterization=Static())}, "keeps the first of the three"),
        ({"memory": RandomSelector(2, parameterization=Spectral("foo"))}, "kernels='foo'"),
        ({"memory": DistributionDistiller(2, parameterization=Waveform(FDMFCC()))}, "not fitted"),
        (
            {"memory": DistillationSampler(GradientDistiller(2, soft_labels=True))},
            "hard labels only; set soft_labels=False",
        ),
        ({"memory": DistillationSampler(RandomSelector(0))}, "'cpc' parameter of RandomSelector"),
    ],
)
def test_what_cannot_be_learned_is_refused_before_any_training(
    animals, monkeypatch, parameters, words
):
    monkeypatch.setattr(NetworkClassifier, "fit", None)
    with pytest.raises(ValueError, match=words):
        rehearsal(RandomSelector(2)).set_params(**parameters).fit(*animals)


class Headed(nn.Sequential):
    """A network with a head that can grow, of which nobody knows what its last layer sees."""

    def __init__(self, input_shape, n_classes):
        super().__init__(nn.Linear(*input_shape, 8), nn.ReLU())
        self.classifier = nn.Linear(8, n_classes)


def test_any_network_with_a_head_can_learn_and_one_that_embeds_can_be_looked_through(
    animals, monkeypatch
):
    X, y = animals
    classifier, said = taught(rehearsal(RandomSelector(5), network=Headed), X, y)
    assert np.mean(said[-1] == y) > 0.9
    assert classifier.module_.classifier.out_features == 6
    monkeypatch.setattr(NetworkClassifier, "fit", None)
    with pytest.raises(ValueError, match=r"Headed has no .*embed"):
        rehearsal(HerdingSelector(2), network=Headed).fit(X, y)


# -- the memory --------------------------------------------------------------------------


def test_a_fixed_total_is_shared_out_and_the_last_clips_of_each_class_go_first(animals):
    X, y = animals
    herding = HerdingSelector(12, embedding="features")
    classifier, before = rehearsal(herding, memory_size=25), None
    for classes, share in zip(STEPS, (12, 6, 4), strict=True):
        memory = taught(classifier, X, y, [classes])[0].memory_
        assert np.unique(memory.y, return_counts=True)[1].tolist() == [share] * len(memory.classes)
        for label in [] if before is None else before.classes:
            np.testing.assert_array_equal(
                memory.X[memory.y == label], before.X[before.y == label][:share]
            )
        before = memory
    for label in NAMES:  # what is left is herding's own choice of so few
        chosen = HerdingSelector(4, embedding="features", estimator=nothing_learned())
        of_class = chosen.fit(X[y == label], y[y == label]).distilled_.X
        np.testing.assert_array_equal(memory.X[memory.y == label], of_class)


def nothing_learned():
    from sklearn.dummy import DummyClassifier

    return DummyClassifier()


def test_herding_looks_through_the_network_that_has_just_learned(animals, monkeypatch):
    X, y = animals
    monkeypatch.setattr("sklearn_ddfad.coreset.embedding_network", None)
    classifier, _ = taught(rehearsal(HerdingSelector(4), strategy="finetune"), X, y, STEPS[:2])
    look = partial(embedded, classifier.module_)
    new = np.isin(y, STEPS[1])
    chosen = HerdingSelector(4, embedding=look, estimator=nothing_learned()).fit(X[new], y[new])
    latest = np.isin(classifier.memory_.y, STEPS[1])
    np.testing.assert_array_equal(classifier.memory_.X[latest], chosen.distilled_.X)


def test_samplers_keep_what_distillers_do(heard):
    _, X = heard
    y = np.repeat([2, 0, 3], 10)
    steps = [np.array([2, 0]), np.array([3])]
    learn = partial(RehearsalClassifier, network=partial(ConvNet, width=2), n_steps=1)
    selector = RandomSelector(3, estimator=nothing_learned())
    by_selector, by_sampler = (
        taught(learn(memory, random_state=0), X, y, steps)[0].memory_
        for memory in (selector, DistillationSampler(selector))
    )
    assert by_selector.X.shape == by_sampler.X.shape == (9, *X.shape[1:])
    for clip, label in zip(by_sampler.X, by_sampler.y, strict=True):
        same = (clip == X).all(axis=(1, 2, 3))
        assert y[same.argmax()] == label
        assert same.any()


def test_a_sampler_of_imbalanced_learn_may_keep_the_memory_but_no_class_may_be_missing(animals):
    X, y = animals
    few = RandomUnderSampler(sampling_strategy=lambda y: dict.fromkeys(y, 4))
    classifier, said = taught(rehearsal(few), X, y)
    assert np.unique(classifier.memory_.y, return_counts=True)[1].tolist() == [4] * 6
    assert np.mean(said[-1] == y) > 0.9
    with pytest.raises(ValueError, match=r"of the classes \['bee'\]; they must .* be of \['ant'"):
        rehearsal(FirstOfEachClass(without=["ant"])).fit(X[:2], y[:2])


def test_a_sampler_gets_images_as_it_takes_them(animals):
    X, y = animals
    images = X.reshape(180, 1, 2, 3)
    few = RandomUnderSampler(sampling_strategy=lambda y: dict.fromkeys(y, 4), random_state=0)
    for sampler in (few, DistillationSampler(RandomSelector(4, random_state=0))):
        memory = rehearsal(sampler, n_steps=1).fit(images, y).memory_
        assert memory.X.shape == (24, 1, 2, 3)
        for clip, label in zip(memory.X, memory.y, strict=True):
            assert (y[(clip == images).all(axis=(1, 2, 3))] == label).any()


def test_a_memory_that_needs_two_classes_is_refused_one_before_any_training(animals, monkeypatch):
    X, y = animals
    monkeypatch.setattr(NetworkClassifier, "fit", None)
    for distiller in (TrajectoryDistiller(2), GradientDistiller(2)):
        with pytest.raises(ValueError, match="has nothing to match with one class, ant"):
            rehearsal(distiller).fit(X[y == "ant"], y[y == "ant"])


def test_whatever_remembers_the_first_step_is_learned_alike(animals):
    X, y = animals
    first = np.isin(y, STEPS[0])
    samplers = None, RandomSelector(2), FirstOfEachClass(), DistributionDistiller(2, **quick)
    said = [rehearsal(each).fit(X[first], y[first]).predict_proba(X) for each in samplers]
    for each in said[1:]:
        np.testing.assert_array_equal(each, said[0])


def test_a_memory_is_saved_loaded_and_the_beginning_of_another_rehearsal(animals, tmp_path):
    X, y = animals
    classifier, _ = taught(rehearsal(RandomSelector(5)), X, y, STEPS[:2])
    classifier.memory_.save(tmp_path / "memory.safetensors")
    loaded = DistilledSet.load(tmp_path / "memory.safetensors")
    np.testing.assert_array_equal(loaded.X, classifier.memory_.X)
    begun = rehearsal(RandomSelector(5)).fit_memory(loaded)
    assert begun.classes_.tolist() == ["ant", "bee", "donkey", "fox"]
    expected = rehearsal(RandomSelector(5)).fit_memory(classifier.memory_).predict_proba(X)
    np.testing.assert_array_equal(begun.predict_proba(X), expected)
    _, (said,) = taught(begun, X, y, STEPS[2:])
    assert np.mean(said == y) > 0.9
    methods = [made["method"] for made in begun.memory_.provenance["steps"]]
    assert methods == ["RandomSelector"] * 3
    assert begun.memory_.provenance["n_clips_seen"] == 180
    with pytest.raises(TypeError, match="expected a DistilledSet as memory, got ndarray"):
        begun.fit_memory(X)


def test_a_memory_can_be_heard_and_knows_its_extractor_when_it_grows(heard, tmp_path):
    extractor, X = heard
    y = np.repeat(["yes", "no", "maybe"], 10)
    learn = partial(RehearsalClassifier, network=partial(ConvNet, width=2), n_steps=1)
    first = learn(RandomSelector(1), random_state=0).fit(X[:20], y[:20])
    known = first.memory_.with_extractor(extractor)
    again = learn(RandomSelector(1), random_state=0).fit_memory(known).partial_fit(X[20:], y[20:])
    again.memory_.to_audio_folder(tmp_path / "heard", n_iter=2)
    assert load_audio_folder(tmp_path / "heard").target.tolist() == ["no", "yes", "maybe"]


@pytest.mark.parametrize("kept", [Static(), Spectral("lsvd", of=Static()), Spectral("dct")])
def test_a_parameterised_memory_is_kept_as_small_as_its_sets(kept, heard, tmp_path):
    extractor, X = heard
    y = np.repeat(["yes", "no", "maybe", "never"], [8, 8, 7, 7])
    network = partial(ConvNet, width=2)
    distiller = DistributionDistiller(1, parameterization=kept, network=network, **quick)
    distiller.set_params(learning_rate=1e-4)
    learn = RehearsalClassifier(distiller, network=network, n_steps=1, random_state=0)
    memory = taught(learn, X, y, [["yes", "no"], ["maybe", "never"]])[0].memory_
    assert memory.n_stored <= 4 * X[0].size < memory.X.size
    memory.with_extractor(extractor).save(tmp_path / "memory")
    loaded = DistilledSet.load(tmp_path / "memory")
    np.testing.assert_array_equal(loaded.X, memory.X)
    assert loaded.n_stored == memory.n_stored

    alone = clone(distiller).set_params(parameterization=None)  # and such clips beside them
    more = learn.set_params(memory=alone).partial_fit(X[:6], np.repeat(["if", "or"], 3)).memory_
    assert more.n_stored == memory.n_stored + 2 * X[0].size
    more.save(tmp_path / "more")
    np.testing.assert_array_equal(DistilledSet.load(tmp_path / "more").X, more.X)

    learn.set_params(memory_size=8).partial_fit(X[-6:], np.repeat(["but", "as"], 3))  # one of each
    fewer = learn.memory_
    of_cepstra = 1 if kept.get_params().get("kernels") == "dct" else 1 / 3
    assert fewer.n_stored == pytest.approx((4 * of_cepstra + 4) * X[0].size)
    for label in np.unique(memory.y):  # the first clip of a class is what it was
        (clip,) = fewer.X[fewer.y == label]
        np.testing.assert_allclose(clip, memory.X[memory.y == label][0], atol=1e-4)
    fewer.with_extractor(extractor).save(tmp_path / "fewer")
    np.testing.assert_array_equal(DistilledSet.load(tmp_path / "fewer").X, fewer.X)


def test_a_memory_of_sounds_is_heard_as_it_was_learned(heard, tmp_path):
    extractor, X = heard
    y = np.repeat(["yes", "no", "maybe"], 10)
    network = partial(ConvNet, width=2)
    heard_by = Waveform(FrozenEstimator(extractor))
    distiller = DistributionDistiller(2, parameterization=heard_by, network=network)
    distiller.set_params(learning_rate=1e-4, **quick)
    learn = RehearsalClassifier(distiller, network=network, n_steps=1, random_state=0)
    memory = taught(learn, X, y, [["yes", "no"], ["maybe"]])[0].memory_
    memory.to_audio_folder(tmp_path / "heard")
    clips = load_audio_folder(tmp_path / "heard").data
    np.testing.assert_array_equal(extractor.transform(clips), memory.X)
    memory.save(tmp_path / "memory")
    loaded = DistilledSet.load(tmp_path / "memory")
    np.testing.assert_array_equal(loaded.to_audio(), memory.to_audio())
    fewer = first_of_each_class(loaded, 1)  # as is what is left where some go
    assert fewer.y.tolist() == memory.y[::2].tolist()
    np.testing.assert_array_equal(fewer.to_audio(), memory.to_audio()[::2])


def test_learned_labels_are_remembered(heard):
    """Soft labels speak of the classes of their step."""
    _, X = heard
    y = np.repeat([2, 0, 3, 1], [8, 8, 7, 7])
    steps = [np.array([2, 0]), np.array([3, 1])]
    network = partial(ConvNet, width=2)
    distiller = DistributionDistiller(1, parameterization=Static(), network=network, **quick)
    distiller.set_params(soft_labels=True)
    learn = RehearsalClassifier(distiller, network=network, n_steps=1, random_state=0)
    memory = taught(learn, X, y, steps)[0].memory_
    assert np.unique(memory.y, return_counts=True)[1].tolist() == [3] * 4
    np.testing.assert_allclose(memory.soft_labels.sum(axis=1), 1, rtol=1e-5)
    same_step = np.isin(memory.y, steps[0])[:, None] == np.isin(memory.classes, steps[0])
    assert (memory.soft_labels[~same_step] == 0).all()
    assert (memory.soft_labels[same_step] > 0).all()
    order = np.concatenate(steps)
    reordered = probabilities(memory, order)
    np.testing.assert_array_equal(reordered[:, order == 3], memory.soft_labels[:, [3]])
    np.testing.assert_array_equal(reordered[:, order == 1], memory.soft_labels[:, [1]])


def test_each_step_has_a_checkpoint_of_its_own(animals, tmp_path):
    X, y = animals
    distiller = TrajectoryDistiller(
        2, n_experts=1, max_start_epoch=0, student_steps=1, checkpoint=tmp_path, **quick
    )
    taught(rehearsal(distiller), X, y, STEPS[:2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_1", "step_2"]


# -- what it was worth -------------------------------------------------------------------


def test_scores_are_those_counted_by_hand():
    y_true = np.array([0, 0, 0, 1, 2, 2, 9])  # 9 never comes
    predictions = [
        [0, 0, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 2, 1, 0],
        [3, 0, 3, 1, 2, 2, 0],
    ]
    scores = incremental_scores(y_true, predictions[:2], [[0, 1], [2]])
    np.testing.assert_allclose(scores["accuracy"], [[3 / 4, np.nan], [3 / 4, 1 / 2]])
    np.testing.assert_allclose(scores["seen"], [3 / 4, 4 / 6])
    assert scores["average"] == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert scores["average_of_increments"] == scores["last"] == pytest.approx(4 / 6)
    assert scores["forgetting"] == 0
    scores = incremental_scores(y_true, predictions, [[0], [1], [2]])
    np.testing.assert_allclose(scores["seen"], [2 / 3, 3 / 4, 4 / 6])
    assert scores["forgetting"] == pytest.approx(np.mean([1 - 1 / 3, 0 - 1]))
    single = incremental_scores(y_true, predictions[:1], [[0, 1, 2]])
    assert single["forgetting"] == 0
    assert np.isnan(single["average_of_increments"])


def test_a_set_that_loses_no_clip_keeps_its_numbers(heard):
    _, X = heard
    y = np.repeat(["yes", "no", "maybe", "never"], [8, 8, 7, 7])
    learn = RehearsalClassifier(
        None, network=partial(ConvNet, width=2), n_steps=1, memory_size=24, random_state=0
    )
    for n, words in ((8, ["yes", "no"]), (6, ["maybe", "never"])):
        kept = Spectral("dct", clips_per_class=n)
        learn.set_params(memory=RandomSelector(3, parameterization=kept))
        new = np.isin(y, words)
        learn.partial_fit(X[new], y[new])
    memory, alone = learn.memory_, RandomSelector(3, parameterization=kept).fit(X[new], y[new])
    assert memory.n_clips == 24
    assert memory.n_stored == 12 * X[0].size + alone.distilled_.n_stored


def test_a_first_memory_is_told_of_as_it_came_and_kept_in_single_precision(animals):
    X, y = animals
    learn = rehearsal(RandomSelector(2), memory_size=12)
    learn.fit_memory(DistilledSet(X.astype(float), y))
    assert learn.history_[0]["n_clips"] == 180
    assert (learn.memory_.n_clips, learn.memory_.X.dtype) == (12, np.float32)


@pytest.mark.parametrize("strings", ["y_true", "predictions", "steps"])
def test_strings_are_not_compared_with_numbers(strings):
    given = {"y_true": [0, 1], "predictions": [[0, 1]], "steps": [[0, 1]]}
    given[strings] = np.array(given[strings]).astype(str)
    with pytest.raises(ValueError, match="are strings, and some are numbers"):
        incremental_scores(**given)


def test_scores_need_predictions_of_all_clips_and_clips_of_all_steps():
    with pytest.raises(ValueError, match=r"predictions are of shape \(1, 2\); give one for each"):
        incremental_scores([0, 1], [[0, 1]], [[0], [1]])
    with pytest.raises(ValueError, match="a step has no test clips of its classes"):
        incremental_scores([0, 1], [[0, 1], [0, 1]], [[0, 1], [2]])


@pytest.mark.parametrize(
    "memory", [RandomSelector(0), DistributionDistiller(2, init="bogus"), GradientDistiller("two")]
)
def test_a_memory_that_cannot_be_is_refused_before_any_training(animals, monkeypatch, memory):
    monkeypatch.setattr(_Learner, "fit", _never)
    with pytest.raises(ValueError, match="parameter of"):
        rehearsal(memory).fit(*animals)


def test_labels_of_another_kind_are_refused(animals):
    X, y = animals
    classifier = rehearsal(None).partial_fit(X[:40], y[:40] == "ant")
    with pytest.raises(ValueError, match="all as booleans"):
        classifier.partial_fit(X[:40], np.arange(40) % 2 + 5)
    with pytest.raises(ValueError, match="as integers, all as floats"):
        rehearsal(None).partial_fit(X[:40], np.arange(40) % 2).partial_fit(
            X[:40], np.arange(40) % 2 + 4.0
        )


def test_who_learned_nothing_yet_cannot_be_asked(animals):
    classifier = rehearsal(RandomSelector(100))
    with pytest.raises(ValueError, match="lower cpc"):
        classifier.fit(*animals)
    with pytest.raises(NotFittedError):
        classifier.predict(animals[0])


def test_a_sampler_that_keeps_all_is_refused(animals):
    X, y = animals
    classifier = rehearsal(RandomSelector(3)).fit(X[y == "ant"], y[y == "ant"])
    before = classifier.predict_proba(X)
    new = np.isin(y, STEPS[1])
    classifier.set_params(memory=RandomUnderSampler())
    with pytest.raises(ValueError, match="RandomUnderSampler kept 60 clips of the 60 of this step"):
        classifier.partial_fit(X[new], y[new])
    np.testing.assert_array_equal(classifier.predict_proba(X), before)


def test_a_step_that_diverges_leaves_everything_as_it_was(animals):
    X, y = animals
    classifier, _ = taught(rehearsal(RandomSelector(3)), X, y, STEPS[:1])
    before, new = classifier.predict_proba(X), np.isin(y, STEPS[1])
    classifier.set_params(learning_rate=1e12)
    with pytest.warns(ConvergenceWarning), pytest.raises(ValueError, match="lower learning_rate"):
        classifier.partial_fit(X[new], y[new])
    np.testing.assert_array_equal(classifier.predict_proba(X), before)


def test_a_memory_that_was_killed_goes_on_without_a_seed(animals, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "EVERY", 0.0)
    X, y = animals
    first, iterations = np.isin(y, STEPS[0]), []

    def killed_once(distiller):
        iterations.append(distiller.n_iter_)
        if iterations == [1, 2]:
            raise KeyboardInterrupt

    options = quick | {"max_iter": 3, "callbacks": [killed_once]}
    keeper = DistributionDistiller(2, checkpoint=tmp_path / "c", **options)
    with pytest.raises(KeyboardInterrupt):
        rehearsal(keeper, random_state=None).fit(X[first], y[first])
    kept = [rehearsal(keeper, random_state=None).fit(X[first], y[first]).memory_ for _ in range(2)]
    assert iterations == [1, 2, 2, 3]
    np.testing.assert_array_equal(*(memory.X for memory in kept))
    assert kept[0].provenance["seed"] == kept[1].provenance["seed"]


def test_stages_of_a_step_are_those_of_eeil(animals, monkeypatch):
    """All clips and the memory, then the new memory alone, with half the steps and step size."""
    X, y = animals
    seen, fit = [], _Learner.fit

    def noted(self, X, *args, **options):
        seen.append((self.n_steps, self.lr, len(X), len(self.teachers)))
        return fit(self, X, *args, **options)

    monkeypatch.setattr(_Learner, "fit", noted)
    classifier, _ = taught(rehearsal(RandomSelector(5)), X, y, STEPS[:2])
    n, lr = classifier.n_steps, classifier.learning_rate
    assert seen == [(n, lr, 60, 0), (n, lr, 70, 1), (n / 2, lr / 2, 20, 2)]
    assert [len(record["loss"]) for record in classifier.history_] == [1, 2]


def test_from_scratch_a_selector_looks_through_a_network_like_that_of_the_classifier(animals):
    built = []

    def counted(input_shape, n_classes):
        built.append(n_classes)
        return MLP(input_shape, n_classes, width=8)

    X, y = animals
    first = np.isin(y, STEPS[0])
    rehearsal(HerdingSelector(2), strategy="scratch", network=counted).fit(X[first], y[first])
    assert len(built) > 1
