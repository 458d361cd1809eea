"""Matching trajectories: the limits of Eq. 3, the descent and the selection."""

import gc

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import Bunch
from torch import nn

from sklearn_ddfad import (
    MLP,
    Augmentation,
    ConvNet,
    DistilledSet,
    DistributionDistiller,
    GradientDistiller,
    TrajectoryDistiller,
    __version__,
    network_classifier,
)
from sklearn_ddfad._training import FunctionalNetwork, isolated_rng
from sklearn_ddfad._validation import Rows
from sklearn_ddfad.augmentation import NoAugmentation
from sklearn_ddfad.base import hold_out
from sklearn_ddfad.distillation import _trajectory
from sklearn_ddfad.distillation._base import Candidate, Descent, Iterate, Selection
from sklearn_ddfad.distillation._checkpoint import Checkpoint
from sklearn_ddfad.distillation._gradient import _inner_loop
from sklearn_ddfad.distillation._trajectory import (
    RealGuidance,
    Segment,
    trajectory_loss,
)
from sklearn_ddfad.parameterization import DirectDecoder

SHAPE = (3, 6, 7)
AMPLE = 2**40


@pytest.fixture
def problem():
    """A small student in float64: network, segment, clips, labels, alpha and batches."""
    generator = torch.Generator().manual_seed(0)
    with isolated_rng(0):
        module = ConvNet(SHAPE, 3, depth=2, width=4).double()
    network = FunctionalNetwork(module)
    start = network.initial_parameters()
    noise = torch.randn(start.shape, generator=generator, dtype=torch.float64)
    segment = Segment(start, start + 0.1 * noise)
    clips = torch.randn(6, *SHAPE, generator=generator, dtype=torch.float64)
    labels = torch.arange(6) % 3
    augmentation = Augmentation(time_shift=0.3, time_mask=0.3, frequency_mask=0.3, gain=0.2)
    batches = []
    for _ in range(5):
        indices = torch.randperm(6, generator=generator)[:4]
        batches.append((indices, augmentation.draw((4, *SHAPE), generator)))
    return network, segment, clips, labels, torch.tensor(0.3).double(), batches, augmentation


def test_eq_3_is_one_when_the_student_stands_still_and_zero_when_it_arrives(problem):
    network, segment, clips, labels, _, batches, augmentation = problem
    still = trajectory_loss(
        network, segment, clips, labels, torch.tensor(0.0), batches, augmentation, AMPLE
    )
    assert still.item() == pytest.approx(1, abs=1e-12)
    (indices, draw), alpha = batches[0], 0.1
    X = augmentation(clips[indices], draw)
    theta = segment.start.clone().requires_grad_()
    arrives = segment.start - alpha * network.loss_gradient(theta, X, labels[indices])
    there = trajectory_loss(
        network,
        Segment(segment.start, arrives),
        clips,
        labels,
        torch.tensor(alpha),
        batches[:1],
        augmentation,
        AMPLE,
    )
    assert there.item() == pytest.approx(0, abs=1e-12)


def loss_of(problem, n_steps, memory_budget=None):
    network, segment, clips, labels, alpha, batches, augmentation = problem
    batches = (batches * n_steps)[:n_steps]
    clips = clips.clone().requires_grad_()
    loss = trajectory_loss(
        network, segment, clips, labels, alpha, batches, augmentation, memory_budget
    )
    return clips, loss


def test_graphs_kept_stay_within_the_budget(problem, monkeypatch):
    """Law 4: beyond the budget memory does not grow with the number of steps."""

    def alive(n_steps, memory_budget):
        _, loss = loss_of(problem, n_steps, memory_budget)
        return sum(step._graph is not None for step in loss.grad_fn.steps)

    (step, *_) = loss_of(problem, 1, AMPLE)[1].grad_fn.steps
    assert alive(40, AMPLE) == 40
    assert alive(40, 0) == alive(40, step.n_bytes) == 0
    assert alive(40, 3 * step.n_bytes) == 2  # there must be room to make another one again
    assert alive(3, 3 * step.n_bytes) == 3
    assert alive(40, None) == 40  # small ones
    monkeypatch.setattr(_trajectory, "_GRAPH_BYTES", step.n_bytes)
    assert alive(10, None) == 10
    assert alive(11, None) == alive(40, None) == 9


@pytest.mark.parametrize("normalization", ["instance", "group", "layer", "none"])
def test_nothing_of_an_iteration_stays(problem, normalization):
    """Law 4: what a node keeps of its own output would, where it is never asked for."""
    module = ConvNet(SHAPE, 3, depth=2, width=4, normalization=normalization).double()
    network = FunctionalNetwork(module)
    start = network.initial_parameters()
    problem = (network, Segment(start, start + 0.1), *problem[2:])

    def tensors():
        clips, loss = loss_of(problem, 3, AMPLE)
        torch.autograd.grad(loss, clips)
        del clips, loss
        gc.collect()
        return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())

    tensors()
    assert tensors() == tensors()


def test_weights_that_were_let_go_are_found_again(problem, monkeypatch):
    clips, loss = loss_of(problem, 11, 0)
    (expected,) = torch.autograd.grad(loss, clips)
    monkeypatch.setattr(_trajectory, "_MOST_BYTES_OF_WEIGHTS", 0)
    clips, loss = loss_of(problem, 11, 0)
    kept = [n for n, step in enumerate(loss.grad_fn.steps) if step.theta is not None]
    assert kept == [0, 4, 8]
    (gradient,) = torch.autograd.grad(loss, clips)
    torch.testing.assert_close(gradient, expected, rtol=1e-12, atol=0)


def test_dropout_lets_everything_through_so_that_a_step_can_be_computed_again(problem):
    network, *rest = problem
    module = torch.nn.Sequential(torch.nn.Dropout(), network.module)
    with_dropout = FunctionalNetwork(module), *rest
    clips, loss = loss_of(with_dropout, 5, 0)
    again, without = loss_of(problem, 5, 0)
    assert loss.item() == without.item()
    torch.testing.assert_close(
        torch.autograd.grad(loss, clips), torch.autograd.grad(without, again), rtol=0, atol=0
    )


def test_networks_with_running_statistics_are_refused():
    with pytest.raises(
        ValueError, match=r"running statistics .* 'group' normalisation, or 'instance'"
    ):
        FunctionalNetwork(ConvNet(SHAPE, 2, normalization="batch"))


# -- the estimator -------------------------------------------------------------------------


def expert_data():
    rng = np.random.default_rng(0)
    y = np.arange(30) % 2
    return (rng.normal(size=(30, 4)) + y[:, None]).astype(np.float32), y


def small(**changes):
    options = {
        "cpc": 1,
        "estimator": LogisticRegression(),
        "n_experts": 2,
        "max_start_epoch": 2,
        "student_steps": 4,
        "max_iter": 30,
        "validation_fraction": 0,
        "random_state": 0,
    }
    return TrajectoryDistiller(**{**options, **changes})


def test_the_loss_falls():
    X, y = expert_data()
    losses = small(max_iter=100).fit(X, y).loss_curve_
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:20])


@pytest.mark.parametrize("init", ["real", "noise"])
def test_a_model_trained_on_one_clip_a_class_is_nearly_as_good(init):
    rng = np.random.default_rng(1)
    y = np.arange(300) % 3
    X = (rng.normal(size=(300, 8)) + 1.2 * np.eye(3, 8)[y]).astype(np.float32)
    train, test = slice(0, 200), slice(200, None)
    whole = LogisticRegression().fit(X[train], y[train]).score(X[test], y[test])
    distiller = small(max_iter=200, init=init, network="mlp", max_start_epoch=4)
    distilled = distiller.fit(X[train], y[train]).score(X[test], y[test])
    assert distilled > whole - 0.1


def test_window_of_start_epochs_is_kept(trajectory_matching):
    trajectories = np.arange(2 * 4).reshape(2, 4, 1).astype(np.float32)[:, 1:]  # from epoch 1 on
    matching = trajectory_matching(None, trajectories, epochs=range(1, 4), last_start=2)
    generator = torch.Generator().manual_seed(0)
    seen = {matching.segment(generator, "cpu") for _ in range(200)}
    assert {(s.start.item(), s.target.item()) for s in seen} == {(1, 2), (2, 3), (5, 6), (6, 7)}


def test_epochs_that_count_together_are_matched_together(trajectory_matching):
    trajectory = np.arange(0, 15, 3).reshape(1, 5, 1).astype(np.float32)  # what epoch it was
    matching = trajectory_matching(
        None, trajectory, epochs=range(0, 15, 3), last_start=7, epochs_matched=6
    )
    generator = torch.Generator().manual_seed(0)
    seen = {matching.segment(generator, "cpu") for _ in range(100)}
    assert {(s.start.item(), s.target.item()) for s in seen} == {(0, 6), (3, 9), (6, 12)}


@pytest.mark.parametrize(("n_clips", "batch_size"), [(7, 3), (4, 10)])
def test_a_student_sees_every_clip_before_one_comes_again(trajectory_matching, n_clips, batch_size):
    experts = np.zeros((1, 2, 1))
    matching = trajectory_matching(None, experts, student_steps=9, batch_size=batch_size)
    batches = matching.batches(torch.zeros(n_clips, 2), torch.Generator().manual_seed(0))
    assert len(batches) == 9
    seen = torch.cat([indices for indices, _ in batches])
    rounds = seen[: len(seen) // n_clips * n_clips].reshape(-1, n_clips)
    assert len(rounds) > 1
    assert (rounds.sort(dim=1).values == torch.arange(n_clips)).all()


def test_first_students_end_no_farther_off_than_they_began(problem, trajectory_matching):
    """The gradient of those that run astray is chance, so α is halved, but not more than needed."""
    network, segment, clips, labels, *_ = problem
    start = target = segment.start
    for _ in range(4):
        gradient = network.loss_gradient(target.requires_grad_(), clips, labels)
        target = (target - 0.25 * gradient).detach()
    experts = [torch.stack([start, target]).detach().numpy()]
    matching = trajectory_matching(
        network, experts, student_steps=4, batch_size=6, memory_budget=None
    )

    def loss(alpha):  # the same for every student: there is one stretch, and all clips are a batch
        iterate = Iterate(clips, labels, labels, torch.tensor(alpha).double())
        return matching(iterate, torch.Generator()).item()

    def first_alpha(alpha):
        iterate = Iterate(clips, labels, labels, torch.tensor(alpha).double())
        return matching.first_alpha(iterate, torch.Generator())

    assert loss(0.25) == pytest.approx(0, abs=1e-12)
    assert first_alpha(0.25) == 0.25
    chosen = first_alpha(4.0)
    assert chosen in {2.0, 1.0, 0.5}
    assert loss(chosen) <= 1.1 < loss(2 * chosen)
    matching.guidance = RealGuidance(1e3, clips.numpy(), labels.numpy(), 6, NoAugmentation(), "cpu")
    assert first_alpha(4.0) == chosen  # what real clips add is no distance


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"min_start_epoch": 5}, "min_start_epoch=5 is beyond the last epoch to start at, 2"),
        ({"expert_epochs": 3}, "experts of 3 epochs .* end before"),
        ({"network": "transformer"}, "network='transformer' is unknown"),
        ({"device": "abacus"}, "device='abacus'"),
        ({"augmentation": print}, "augmentation="),
    ],
)
def test_parameters_that_contradict_are_refused(parameters, words):
    with pytest.raises(ValueError, match=words):
        small(**parameters).fit(*expert_data())


def test_callbacks_see_each_iteration_and_may_end_it():
    seen = []

    def stop_at_three(distiller):
        seen.append((distiller.n_iter_, distiller.loss_curve_[-1]))
        return len(seen) == 3

    distiller = small(callbacks=[stop_at_three]).fit(*expert_data())
    assert [n for n, _ in seen] == [1, 2, 3]
    assert distiller.n_iter_ == 3


def test_callbacks_that_cannot_be_called_are_refused_before_any_expert(monkeypatch):
    monkeypatch.setattr(_trajectory, "train_experts", None)
    with pytest.raises(TypeError, match="3 cannot be called"):
        small(callbacks=[print, 3]).fit(*expert_data())


def test_an_estimator_that_cannot_learn_images_is_refused_before_any_expert(monkeypatch):
    X, y = expert_data()
    images, rows = X.reshape(len(X), 1, 2, -1), FunctionTransformer(lambda X: X.reshape(len(X), -1))
    small(estimator=make_pipeline(rows, LogisticRegression()), network="mlp").fit(images, y)
    monkeypatch.setattr(_trajectory, "train_experts", None)
    with pytest.raises(
        ValueError, match=r"LogisticRegression\(\) cannot learn clips of shape \(1, 2"
    ):
        small(network="mlp").fit(images, y)


def test_validation_part_is_never_learned_from(monkeypatch):
    """Law 1: experts and first clips come from the rest, the best iterate from this part."""
    X, y = expert_data()
    distiller = small(validation_fraction=0.2)
    rng = np.random.RandomState(0)
    train, validation = distiller._split(y, rng)
    assert len(validation) == 6
    assert not set(train) & set(validation)
    seen = {}

    def spy(owner, name, **places):
        original = getattr(owner, name)

        def spied(self, *args, **options):
            for called, place in places.items():
                seen[called] = {clip.tobytes() for clip in _clips_of(args[place])}
            return original(self, *args, **options)

        monkeypatch.setattr(owner, name, spied)

    spy(TrajectoryDistiller, "_matching_loss", matched=0)
    spy(TrajectoryDistiller, "_initial_clips", begun=0)
    spy(Selection, "__init__", judged=1)
    distiller.fit(X, y)
    everything = {clip.tobytes() for clip in X}
    assert len(seen["judged"]) == 6
    assert seen["matched"] == seen["begun"] == everything - seen["judged"]


def _clips_of(part):
    """Return the clips of a part of the data, which may come with their classes."""
    return (part[0] if isinstance(part, tuple) else part)[:]


@pytest.mark.parametrize(("n", "kept"), [(6, 8), (0, 10)])
def test_the_iterate_that_teaches_best_is_kept(n, kept):
    """Without a validation part the last one is."""
    codes, right, asked = np.arange(n) % 2, {5: 2, 8: 5, 10: 3}, []
    X = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)

    class Judge:
        def fit(self, clips, labels):
            self.n_right = right[int(clips[0, 0])]
            return self

        def predict(self, X):
            asked.append(X)
            return np.where(np.arange(n) < self.n_right, codes, 1 - codes)

    selection = Selection(Judge(), (Rows(X), codes), 10, DirectDecoder(1))
    for i in range(1, 11):
        made = np.full((2, 3), i, np.float32)
        candidate = Candidate(made, {"clips": made}, 0.1, None)
        descent = Bunch(codes=torch.tensor([0, 1]), averaged=lambda candidate=candidate: candidate)
        selection.look_at(descent, i, last=i == 10)
    assert selection.best.clips[0, 0] == kept
    assert len(asked) == (3 if n else 0)
    assert all(np.array_equal(part, X) for part in asked)


@pytest.mark.parametrize("init", ["real", "noise"])
def test_clips_begin_as_real_ones_or_as_noise_as_loud(init):
    rng = np.random.default_rng(0)
    y = np.arange(300) % 2
    X = (rng.normal(size=(300, 4)) * [1, 2, 4, 8] + 3 * y[:, None]).astype(np.float32)
    distiller = small(cpc=60, init=init)
    distiller.classes_, distiller.input_shape_ = np.arange(2), X.shape[1:]
    clips, codes = distiller._initial_clips(Rows(X), y, 60, np.random.RandomState(0))
    away = np.abs(clips[:, None] - X).max(axis=2)
    if init == "real":
        np.testing.assert_array_equal(away.min(axis=1), 0)
        np.testing.assert_array_equal(y[away.argmin(axis=1)], codes)
    else:
        assert away.min() > 0
        np.testing.assert_allclose(clips.std(axis=0), X.std(axis=0), rtol=0.25)


@pytest.mark.parametrize("random_state", [3, None, np.random.RandomState(3)])
def test_a_file_says_all_that_made_it(tmp_path, random_state):
    """Law 7: the seed with which the set can be made again is one thing of these."""
    X, y = expert_data()
    fitted = small(random_state=random_state, max_iter=3).fit(X, y)
    fitted.distilled_.save(tmp_path / "set")
    told = DistilledSet.load(tmp_path / "set").provenance
    made_by = told["method"], told["version"], told["n_clips_seen"]
    assert made_by == ("TrajectoryDistiller", __version__, 30)
    assert told["parameters"]["student_steps"] == 4
    again = small(random_state=told["seed"], max_iter=3).fit(X, y)
    np.testing.assert_array_equal(again.distilled_.X, fitted.distilled_.X)
    assert (told["seed"] == 3) == (random_state == 3)


def test_a_fit_that_goes_on_has_the_seed_it_was_begun_with(tmp_path):
    X, y = expert_data()
    first, again = (
        small(random_state=None, max_iter=3, checkpoint=tmp_path).fit(X, y).distilled_
        for _ in range(2)
    )
    assert first.provenance["seed"] == again.provenance["seed"]
    anew = small(random_state=first.provenance["seed"], max_iter=3).fit(X, y).distilled_
    np.testing.assert_array_equal(anew.X, first.X)


def test_how_long_methods_take_by_default():
    assert [TrajectoryDistiller()._iterations(n) for n in (1, 20, 50, 900)] == [600, 500, 200, 200]
    assert GradientDistiller()._iterations(9) == 400
    assert DistributionDistiller()._iterations(9) == 1000
    assert [_inner_loop(cpc) for cpc in (1, 10, 50, 1000)] == [1, 10, 2, 1]


# -- the descent ---------------------------------------------------------------------------


def descent_from(clips, **options):
    return Descent(DirectDecoder(1), {"clips": clips}, [0, 1], 0.1, "cpu", seed=0, **options)


def test_the_first_step_size_is_chosen_without_a_draw_from_the_descent():
    descent, untouched = (descent_from(np.zeros((2, 3), np.float32)) for _ in range(2))

    class Choosy:
        def first_alpha(self, iterate, generator):
            torch.randn(5, generator=generator)
            return iterate.alpha.item() / 4

    descent.begin(Choosy())
    assert descent.iterate().alpha.item() == pytest.approx(Descent.ALPHA / 4)
    assert descent.averaged().alpha == pytest.approx(Descent.ALPHA / 4)
    states = (each.generator.get_state() for each in (descent, untouched))
    assert torch.equal(*states)


def test_alpha_stays_within_bounds():
    descent = descent_from(np.zeros((2, 3), np.float32))
    for sign in (1, -1):
        for _ in range(1000):
            descent.step(
                [
                    1
                    + sign * descent.log_alpha
                    + 0 * descent.numbers["clips"].sum()
                    + 2 * (sign < 0)
                    - 1
                ]
            )
        low, high = Descent.ALPHA_BOUNDS
        assert low * 0.999 <= descent.iterate().alpha.item() <= high * 1.001


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e6])
def test_diverging_iterates_are_undone_and_nan_never_reaches_the_set(bad, soft):
    clips = np.ones((2, 3), np.float32)
    descent = descent_from(clips, soft_labels=soft, largest_loss=3.0)

    def loss():
        set_now = descent.iterate()
        return (set_now.clips**2).mean() * set_now.alpha + (set_now.labels**2).sum() / 100

    descent.step([loss()])
    good, _, alpha, good_labels = descent.averaged()
    descent.step([bad * loss()])
    clips, _, halved, labels = descent.averaged()
    np.testing.assert_array_equal(clips, good)
    np.testing.assert_equal(labels, good_labels)
    assert (labels is not None) == soft
    np.testing.assert_array_equal(descent.numbers["clips"].detach().numpy(), good)
    assert halved == pytest.approx(alpha / 2)
    assert descent.n_undone == 1


def test_the_average_takes_the_place_of_what_led_astray():
    descent = descent_from(np.ones((2, 3), np.float32), largest_loss=3.0)
    for _ in range(2):  # Adam goes by its step size: to 0.9, then to 0.8
        descent.step([descent.iterate().clips.mean()])
    good = descent.averaged()
    np.testing.assert_allclose(good.clips, 0.85, atol=1e-4)
    np.testing.assert_allclose(descent.numbers["clips"].detach(), 0.8, atol=1e-4)
    descent.step([np.inf * descent.iterate().clips.mean()])
    np.testing.assert_array_equal(descent.numbers["clips"].detach(), good.clips)
    assert descent.iterate().alpha.item() == pytest.approx(good.alpha / 2)


def test_a_run_that_cannot_improve_says_so():
    with pytest.warns(ConvergenceWarning, match="diverged and were undone"):
        small(learning_rate=1e9, max_iter=10, network=_Explosive).fit(*expert_data())


class _Explosive(MLP):
    def forward(self, X):
        return super().forward(X) * float("inf")


# -- law 8: a fit that is killed can go on -------------------------------------------------------


class _Killed(Exception):
    pass


def killed_at(n):
    def callback(distiller):
        if distiller.n_iter_ == n:
            raise _Killed

    return [callback]


def resumable(folder, **changes):
    return small(checkpoint=folder, validation_fraction=0.2, network="mlp", max_iter=8, **changes)


@pytest.fixture
def every_iteration(monkeypatch):
    monkeypatch.setattr(Checkpoint, "EVERY", 0.0)


@pytest.mark.parametrize("random_state", [0, None])
@pytest.mark.parametrize("n", [1, 5, 8])
def test_a_killed_fit_ends_where_an_unbroken_one_would(tmp_path, every_iteration, n, random_state):
    X, y = expert_data()
    with pytest.raises(_Killed):
        resumable(tmp_path, callbacks=killed_at(n), random_state=random_state).fit(X, y)
    rest = []
    again = resumable(tmp_path, callbacks=[lambda d: rest.append(d.n_iter_)], random_state=None)
    if random_state == 0:
        again.set_params(random_state=0)
        unbroken = resumable(None).fit(X, y)
        again.fit(X, y)
        np.testing.assert_array_equal(again.distilled_.X, unbroken.distilled_.X)
        assert again.loss_curve_ == unbroken.loss_curve_
        assert again.learning_rate_ == unbroken.learning_rate_
    else:
        again.fit(X, y)
    assert rest == list(range(n, 9))  # the iteration it was killed in was not written down
    assert len(again.loss_curve_) == 8


def test_a_fit_that_a_callback_ended_is_kept_as_far_as_it_came(tmp_path):
    kept = {"checkpoint": tmp_path / "fit", "max_iter": 5}
    ended = small(callbacks=[lambda d: d.n_iter_ == 3], **kept).fit(*expert_data())
    state = torch.load(tmp_path / "fit" / "descent.pt", weights_only=True)
    assert ended.n_iter_ == len(state["descent"]["losses"]) == 3
    again = small(callbacks=[lambda d: d.n_iter_ == 3], **kept).fit(*expert_data())
    assert again.n_iter_ == 3  # it is over
    np.testing.assert_array_equal(again.distilled_.X, ended.distilled_.X)


def test_what_a_generator_draws_is_known_by_its_seed(tmp_path):
    drawn = np.random.RandomState(0)
    with pytest.raises(_Killed):
        resumable(tmp_path, callbacks=killed_at(3), random_state=drawn).fit(*expert_data())
    again = resumable(tmp_path, random_state=drawn).fit(*expert_data())
    unbroken = resumable(None, random_state=np.random.RandomState(0)).fit(*expert_data())
    np.testing.assert_array_equal(again.distilled_.X, unbroken.distilled_.X)


class Attentive(nn.Module):
    """Attention over frames, of which torch has fused kernels without second derivatives."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(input_shape[1], 2, 8, batch_first=True)
        self.head = nn.Linear(input_shape[1], n_classes)

    def forward(self, X):
        return self.head(self.layer(X[:, 0].mT).mean(dim=1))


@pytest.mark.parametrize("kind", [TrajectoryDistiller, GradientDistiller])
def test_a_network_of_attention_can_be_matched(kind):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 1, 4, 6)), np.arange(20) % 2
    options = {"max_iter": 1, "validation_fraction": 0, "network": Attentive, "random_state": 0}
    if kind is TrajectoryDistiller:
        options |= {"n_experts": 1, "max_start_epoch": 0, "student_steps": 2}
    distiller = kind(1, estimator=network_classifier(n_steps=1), init="noise", **options)
    assert np.isfinite(distiller.fit(X, y).loss_curve_).all()


def test_a_network_that_reads_other_clips_is_refused_in_a_sentence():
    reads_images = lambda shape, n_classes: Attentive((1, 4, 6), n_classes)  # noqa: E731
    with pytest.raises(ValueError, match=r"Attentive does not read clips of shape \(4,\)"):
        small(network=reads_images).fit(*expert_data())


def test_a_network_that_cannot_be_written_down_is_refused_a_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="checkpoint= needs parameters that can be pickled"):
        small(network=lambda *a: MLP(*a), checkpoint=tmp_path / "fit").fit(*expert_data())


@pytest.mark.parametrize("fraction", [0.5, 0.67, 0.99])
def test_no_class_is_kept_aside_whole(fraction):
    codes = np.repeat(np.arange(3), 2)
    for seed in range(100):
        train, test = hold_out(codes, fraction, np.random.RandomState(seed))
        assert sorted([*train, *test]) == list(range(6))
        assert set(codes[train]) == {0, 1, 2}


def test_a_finished_fit_is_found_again(tmp_path):
    X, y = expert_data()
    first = resumable(tmp_path).fit(X, y)
    second = resumable(tmp_path, callbacks=killed_at(1), verbose=0).fit(X, y)
    np.testing.assert_array_equal(first.distilled_.X, second.distilled_.X)


@pytest.mark.parametrize("changes", [{"learning_rate": 0.01}, {"cpc": 2}, {"random_state": 1}])
def test_a_checkpoint_of_another_fit_is_refused(tmp_path, changes):
    X, y = expert_data()
    resumable(tmp_path).fit(X, y)
    with pytest.raises(ValueError, match="belongs to a fit with other parameters or data"):
        resumable(tmp_path, **changes).fit(X, y)
    with pytest.raises(ValueError, match="belongs to a fit with other parameters or data"):
        resumable(tmp_path).fit(X + 1, y)


@pytest.mark.parametrize("refused", [{"min_start_epoch": 9}, {"network": "transformer"}])
def test_a_fit_that_is_refused_leaves_no_checkpoint(tmp_path, refused):
    """Or the corrected fit would be refused as another."""
    folder = tmp_path / "checkpoint"
    with pytest.raises(ValueError, match=r"min_start_epoch=9|network='transformer'"):
        resumable(folder).set_params(**refused).fit(*expert_data())
    assert not folder.exists()
    resumable(folder).fit(*expert_data())


def test_a_damaged_checkpoint_is_refused(tmp_path):
    X, y = expert_data()
    resumable(tmp_path).fit(X, y)
    state = tmp_path / "descent.pt"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"descent.pt is damaged; remove"):
        resumable(tmp_path).fit(X, y)
