"""Experts: what is recorded of them, where they are kept, and in how many ways they are trained."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from types import ModuleType

import numpy as np
import pytest
import torch
from joblib import Memory, parallel_config
from sklearn.linear_model import LogisticRegression
from torch import nn

from sklearn_ddfad import MLP, VGG11, Augmentation, ConvNet, ResNet18, TrajectoryDistiller
from sklearn_ddfad._training import functional_network, stacked_gradient
from sklearn_ddfad._validation import Rows
from sklearn_ddfad.augmentation import NoAugmentation
from sklearn_ddfad.distillation import _experts
from sklearn_ddfad.distillation._experts import (
    LEARNING_RATE,
    Training,
    can_be_stacked,
    in_chunks,
    train_expert,
    train_experts,
    train_side_by_side,
)

IMAGE = (3, 8, 10)


def clips(n_clips=30, shape=(4,)):
    rng = np.random.default_rng(0)
    y = np.arange(n_clips) % 2
    X = rng.normal(size=(n_clips, *shape)) + y.reshape(-1, *[1] * len(shape))
    return X.astype(np.float32), y


def course(shape=(4,), **changes):
    """What train_experts takes beside clips and seeds."""
    return {
        "network": "mlp" if len(shape) == 1 else "convnet",
        "n_classes": 2,
        "epochs": range(4),
        "batch_size": 30,
        "augmentation": NoAugmentation() if len(shape) == 1 else Augmentation(),
        "device": "cpu",
        **changes,
    }


def experts(seeds=(0, 1), shape=(4,), **changes):
    X, y = clips(shape=shape)
    return train_experts(Rows(X), y, seeds=list(seeds), **course(shape, **changes))


def training(shape=(4,), **changes):
    X, y = clips(shape=shape)
    options = course(shape, **changes)
    return Training(Rows(X), y, options.pop("network"), **options)


def assert_same(some, others, **tolerance):
    """Experts are the same: bit by bit, unless something is tolerated."""
    assert len(some) == len(others)
    for ours, theirs in zip(some, others, strict=True):
        np.testing.assert_allclose(ours, theirs, **{"rtol": 0, **tolerance})


@pytest.fixture
def trained(monkeypatch):
    """The seeds of the experts that are trained in this process, one after the other."""
    seeds = []

    def spy(training, seed):
        seeds.append(seed)
        return train_expert(training, seed)

    monkeypatch.setattr(_experts, "train_expert", spy)
    return seeds


# -- what is recorded ----------------------------------------------------------------------


def test_snapshots_are_all_different_and_start_at_the_initialisation():
    """Published code aliases the live weights on the CPU, so that all snapshots are the last."""
    trajectory = experts()[0]
    assert trajectory.shape[0] == 4
    steps = np.linalg.norm(np.diff(trajectory, axis=0), axis=1)
    assert (steps > 0).all()
    network = functional_network("mlp", (4,), 2, seed=0, device="cpu")
    np.testing.assert_array_equal(trajectory[0], network.initial_parameters().numpy())


@pytest.mark.parametrize("shape", [(4,), IMAGE])
def test_an_epoch_of_one_batch_is_one_step_of_gradient_descent(shape):
    X, y = clips(shape=shape)
    before, after = experts([0], shape, epochs=range(2), augmentation=NoAugmentation())[0]
    network = functional_network(course(shape)["network"], shape, 2, seed=0, device="cpu")
    theta = torch.tensor(before, requires_grad=True)
    gradient = network.loss_gradient(theta, torch.tensor(X), torch.tensor(y))
    np.testing.assert_allclose(after, before - LEARNING_RATE * gradient.numpy(), atol=1e-6)


def test_epochs_that_are_not_recorded_are_trained_all_the_same():
    late = experts(epochs=range(2, 4), batch_size=7)
    assert_same(late, [expert[2:4] for expert in experts(epochs=range(6), batch_size=7)])


class Idle(MLP):
    """Has parameters that take no part."""

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes)
        self.spare = nn.Parameter(torch.ones(3))


def test_parameters_that_take_no_part_stay_as_they_are():
    together = train_side_by_side(training(network=Idle), [0])
    for expert in [*experts([0], network=Idle), *together]:
        np.testing.assert_array_equal(expert[:, :3], 1)
        assert (np.ptp(expert[:, 3:], axis=0) > 0).any()


@pytest.mark.parametrize(
    ("parameters", "epochs", "last_start"),
    [
        ({}, range(15), 12),
        ({"cpc": 1}, range(15), 5),  # the same epochs, or another cpc would find no experts
        ({"min_start_epoch": 4, "expert_epochs": 9}, range(4, 10), 7),
        ({"max_start_epoch": 3, "min_start_epoch": 1}, range(1, 6), 3),
        ({"max_start_epoch": 3, "expert_epochs": 20}, range(6), 3),
    ],
)
def test_what_no_student_can_start_or_arrive_at_is_not_recorded(parameters, epochs, last_start):
    distiller = TrajectoryDistiller(**{"cpc": 10, **parameters})
    assert distiller._window(2430) == (epochs, last_start, 2)


@pytest.mark.parametrize(
    ("n_clips", "parameters", "window"),
    [
        (777, {}, (range(0, 43, 3), 36, 6)),
        (777, {"cpc": 1}, (range(0, 43, 3), 15, 6)),
        (777, {"min_start_epoch": 4}, (range(4, 43, 3), 36, 6)),
        (777, {"batch_size": 16}, (range(15), 12, 2)),
        (777, {"expert_epochs_matched": 4}, (range(15), 10, 4)),
        (777, {"max_start_epoch": 9}, (range(12), 9, 2)),
        (20, {}, (range(0, 141, 10), 120, 20)),
        (10**6, {}, (range(15), 12, 2)),
    ],
)
def test_short_epochs_count_together(n_clips, parameters, window):
    distiller = TrajectoryDistiller(**{"cpc": 10, **parameters})
    assert distiller._window(n_clips) == window


def test_of_epochs_that_count_together_only_the_last_is_recorded():
    every = experts(epochs=range(7), batch_size=7)
    assert_same(experts(epochs=range(0, 7, 3), batch_size=7), [expert[::3] for expert in every])


def test_clips_are_read_a_batch_at_a_time(tmp_path):
    X, y = clips()
    np.save(tmp_path / "clips.npy", X)
    largest = 0

    class Disk(Rows):
        def __getitem__(self, key):
            nonlocal largest
            largest = max(largest, len(clips := super().__getitem__(key)))
            return clips

    on_disk = Disk(np.load(tmp_path / "clips.npy", mmap_mode="r"))
    options = course(batch_size=7)
    assert_same(train_experts(on_disk, y, seeds=[0, 1], **options), experts(batch_size=7))
    assert largest == 7


# -- in parallel ---------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_experts_are_the_same_in_parallel(backend):
    with parallel_config(backend, n_jobs=2):
        assert_same(experts(), experts(n_jobs=1), atol=1e-6)


def test_networks_built_in_threads_are_those_of_their_seeds():
    def first_weights(seed):
        network = functional_network(Slow, (1, 2, 2), 2, seed=seed, device="cpu")
        return network.initial_parameters()

    alone = [first_weights(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as threads:
        for ours, theirs in zip(threads.map(first_weights, range(4)), alone, strict=True):
            assert torch.equal(ours, theirs)


class Slow(nn.Module):
    """A network that leaves other threads time to draw between its layers."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.first = nn.Linear(4, 4)
        time.sleep(0.01)
        self.classifier = nn.Linear(4, n_classes)


def test_experts_are_the_same_on_a_dask_cluster():
    distributed = pytest.importorskip("dask.distributed")
    X, y = clips(5000, (3, 16, 54))  # 52 MB: sent with each task, it would be a warning
    options = course((3, 16, 54), network=Mean, epochs=range(2), batch_size=2500)
    alone = train_experts(Rows(X), y, seeds=[0, 1, 2], **options)
    workers = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with (
        distributed.LocalCluster(**workers, dashboard_address=None) as cluster,
        distributed.Client(cluster),
        parallel_config("dask"),
    ):
        assert_same(train_experts(Rows(X), y, seeds=[0, 1, 2], **options), alone, atol=1e-6)


class Mean(nn.Module):
    """A network that costs nothing: the mean image's mean, scaled."""

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.classifier = nn.Linear(1, n_classes)

    def forward(self, X):
        return self.classifier(X.mean(dim=(1, 2, 3))[:, None])


class Threads(nn.Linear):
    """A network whose weights begin as the number of threads it is built with."""

    def __init__(self, input_shape, n_classes):
        super().__init__(*input_shape, n_classes)
        nn.init.constant_(self.weight, torch.get_num_threads())


@contextmanager
def torch_threads(n):
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_share_the_cores(backend):
    """Two processes with as many threads each as there are cores would stall each other."""
    with torch_threads(4):
        with parallel_config(backend, n_jobs=2):
            both = [expert[0, 0] for expert in experts(network=Threads, epochs=range(1))]
        assert max(both) <= 2
        assert torch.get_num_threads() == 4
        assert experts([0], network=Threads, epochs=range(1))[0][0, 0] == 4


# -- side by side --------------------------------------------------------------------------


class Louder:
    """An augmentation of somebody else, whose draw is one number for a whole batch."""

    def draw(self, shape, generator):
        return torch.rand((), generator=generator)

    def __call__(self, X, draw):
        return X * (1 + draw)


@pytest.mark.parametrize(
    ("shape", "changes"),
    [
        ((4,), {}),
        ((4,), {"augmentation": Louder()}),
        (IMAGE, {}),
        (IMAGE, {"augmentation": NoAugmentation()}),
    ],
)
def test_experts_side_by_side_are_those_trained_one_at_a_time(shape, changes):
    seeds = [0, 1, 5]
    changes = {"batch_size": 8, "epochs": range(1, 4), **changes}  # the last batch is smaller
    alone = experts(seeds, shape, **changes)
    together = train_side_by_side(training(shape, **changes), seeds)
    start = experts(seeds, shape, **{**changes, "epochs": range(1)})
    for ours, theirs, at_first in zip(together, alone, start, strict=True):
        assert np.linalg.norm(ours - theirs) < 1e-5 * np.linalg.norm(theirs)
        # nor is it the initialisation that makes them look alike
        assert np.linalg.norm(ours - theirs) < 1e-3 * np.linalg.norm(theirs - at_first)


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (ConvNet, {"normalization": "group", "pooling": "max", "activation": "leaky_relu"}),
        (ConvNet, {"normalization": "layer", "pooling": "none"}),
        (ConvNet, {"normalization": "none", "activation": "sigmoid"}),
        (ConvNet, {"pooling": "none"}),
        (ConvNet, {"pooling": "max", "activation": "sigmoid"}),
        (ResNet18, {}),
        (VGG11, {}),
    ],
)
def test_every_network_of_images_can_be_trained_side_by_side(network, options):
    network = partial(network, width=4, **options)
    assert can_be_stacked(training(IMAGE, network=network))
    one = functional_network(network, IMAGE, 2, seed=0, device="cpu")
    one.module.double()
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(2, 6, *IMAGE, generator=generator, dtype=torch.float64)
    y = torch.randint(2, (2, 6), generator=generator)
    theta = torch.stack([one.initial_parameters(), 0.9 * one.initial_parameters()])
    together = stacked_gradient(one)(theta, X, y)
    for gradient, *alone in zip(together, theta.requires_grad_(), X, y, strict=True):
        expected = one.loss_gradient(*alone)
        assert (gradient - expected).norm() < 1e-10 * expected.norm()


class Forgetful(MLP):
    """Drops features at random: side by side it would not draw what it would alone."""

    def forward(self, X):
        return super().forward(nn.functional.dropout(X))


class Choosy(MLP):
    """Looks at its numbers to decide what to do."""

    def forward(self, X):
        return super().forward(X if X.sum() > 0 else -X)


@pytest.mark.parametrize("network", [Forgetful, Choosy])
def test_what_cannot_be_trained_side_by_side_is_noticed(network):
    assert can_be_stacked(training())
    assert not can_be_stacked(training(network=network))


@pytest.mark.parametrize(("n_jobs", "stackable"), [(None, True), (None, False), (1, True)])
def test_a_gpu_trains_side_by_side_what_it_can_unless_told_otherwise(
    monkeypatch, trained, n_jobs, stackable
):
    together = []

    def side_by_side(training, seeds):
        together.extend(seeds)
        return train_side_by_side(training, seeds)

    network, here = _experts.functional_network, training().reader()  # there may be no GPU
    monkeypatch.setattr(
        _experts,
        "functional_network",
        lambda *args, seed, device: network(*args, seed=seed, device="cpu"),
    )
    monkeypatch.setattr(Training, "reader", lambda _: here)
    monkeypatch.setattr(_experts, "train_side_by_side", side_by_side)
    monkeypatch.setattr(_experts, "can_be_stacked", lambda _: stackable)
    assert_same(experts(device="cuda", n_jobs=n_jobs), experts(), atol=1e-6)
    expected = [0, 1] if n_jobs is None and stackable else []
    assert together == expected
    assert trained == ([] if expected else [0, 1]) + [0, 1]


@pytest.mark.parametrize(("size", "at_once"), [(3, [3, 3, 1]), (100, [2, 2, 2, 1])])
def test_what_memory_is_too_small_for_is_trained_in_parts(size, at_once):
    sizes = []

    def train(seeds):
        if len(seeds) > 3:
            raise torch.OutOfMemoryError
        sizes.append(len(seeds))
        return [10 * seed for seed in seeds]

    assert list(in_chunks(train, list(range(7)), size)) == [10 * seed for seed in range(7)]
    assert sizes == at_once  # seven are halved to four, and to two


def test_one_expert_that_memory_is_too_small_for_is_an_error():
    def train(seeds):
        raise torch.OutOfMemoryError

    with pytest.raises(torch.OutOfMemoryError):
        list(in_chunks(train, [0, 1], 2))


# -- where they are kept -------------------------------------------------------------------


def test_large_experts_are_not_held_in_memory(tmp_path, monkeypatch):
    held = experts()
    monkeypatch.setattr(_experts, "_AT_HAND", 0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    memory = {"memory": str(tmp_path / "memory")}
    (folder := tmp_path / "folder").mkdir()
    for place in ({}, {"folder": folder}, memory, memory):
        mapped = experts(**place)
        assert all(isinstance(expert, np.memmap) for expert in mapped)
        assert_same(mapped, held)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "memory"]


def test_another_number_of_experts_or_jobs_finds_those_that_are_there(
    tmp_path, trained, monkeypatch
):
    first = experts([3, 4], memory=str(tmp_path))
    assert trained == [3, 4]
    assert_same(experts([4, 9, 3], memory=str(tmp_path)), [first[1], experts([9])[0], first[0]])
    assert trained == [3, 4, 9, 9]
    monkeypatch.setattr(_experts, "in_workers", None)  # no process is needed
    assert_same(experts([3, 4, 9], memory=Memory(str(tmp_path), verbose=0), n_jobs=2)[:2], first)


@pytest.mark.parametrize(
    "changes",
    [
        {"network": MLP},
        {"epochs": range(1, 4)},
        {"batch_size": 29},
        {"augmentation": Louder()},
        {"n_classes": 3},
    ],
)
def test_another_training_finds_none(tmp_path, trained, changes):
    experts([0], memory=str(tmp_path))
    again = experts([0], memory=str(tmp_path), **changes)
    assert trained == [0, 0]
    assert_same(again, experts([0], **changes))


def edited(text):
    """Return what a module of the user's holds, as it is now."""
    module = ModuleType("theirs")
    sys.modules["theirs"] = module
    exec(text, vars(module))
    return module


NETWORK = """
from torch import nn

def network(input_shape, n_classes):
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, n_classes))

class Net(nn.Module):
    act = "relu"

    def __init__(self, input_shape, n_classes):
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(3, n_classes)

    def forward(self, X):
        return self.second(self.first(X).relu())

class Louder:
    def draw(self, shape, generator):
        return None

    def __call__(self, X, draw):
        return 2 * X
"""


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("network", "nn.ReLU()", "nn.Sigmoid()"),
        ("Net", ".relu()", ".sigmoid()"),
        ("Net", 'act = "relu"', 'act = "sigmoid"'),
        ("Louder", "2 * X", "3 * X"),
    ],
)
def test_code_that_was_edited_finds_none(tmp_path, trained, monkeypatch, name, before, after):
    monkeypatch.setitem(sys.modules, "theirs", None)
    for text in (NETWORK, NETWORK, NETWORK.replace(before, after), NETWORK):
        theirs = getattr(edited(text), name)
        changes = {"augmentation": theirs()} if name == "Louder" else {"network": theirs}
        experts([0], memory=str(tmp_path), **changes)
    assert trained == [0, 0]


def test_code_is_known_again_in_another_process():
    """Where sets of strings are in another order."""
    text = (
        "def network(shape, n_classes): return shape in {'a', 'b', 'c', 'd', 'e'}\n"
        "import __main__; from sklearn_ddfad.distillation._checkpoint import fingerprint\n"
        "print(fingerprint(network, 'memory', 'a network'))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", text],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in "123"
    ]
    assert told[0] == told[1] == told[2]


class HalfFrozen(MLP):
    """A network whose first layer is not to be learned."""

    def __init__(self, input_shape, n_classes):
        super().__init__(input_shape, n_classes, width=5)
        next(self.parameters()).requires_grad_(False)


def test_what_is_frozen_stays_so_in_experts_students_and_judges():
    X, y = clips(shape=(4,))
    (expert,) = experts([0], network=HalfFrozen)
    network = functional_network(HalfFrozen, (4,), 2, seed=0, device="cpu")
    n_frozen = next(network.module.parameters()).numel()
    assert (np.ptp(expert[:, :n_frozen], axis=0) == 0).all()
    assert (np.ptp(expert[:, n_frozen:], axis=0) > 0).any()
    theta = network.initial_parameters().requires_grad_()
    gradient = network.loss_gradient(theta, torch.tensor(X), torch.tensor(y))
    assert not gradient[:n_frozen].any()
    own = network.own_gradient(
        nn.functional.cross_entropy(network.module(torch.tensor(X)), torch.tensor(y))
    )
    torch.testing.assert_close(own, gradient)
    assert not can_be_stacked(training(network=HalfFrozen))


def test_a_network_that_is_frozen_whole_is_refused():
    with pytest.raises(ValueError, match="has no parameters that are learned"):
        experts(network=lambda *task: MLP(*task).requires_grad_(False))


def test_other_clips_or_labels_find_none(tmp_path, trained):
    X, y = clips()
    for data in [(X, y), (X + 1, y), (X[::-1], y), (X, 1 - y), (X, y)]:
        train_experts(Rows(data[0]), data[1], seeds=[0], memory=str(tmp_path), **course())
    assert trained == [0] * 4


def test_clips_are_hashed_once_and_only_for_a_cache(tmp_path, monkeypatch):
    hashed, fingerprint = [], Rows.fingerprint
    monkeypatch.setattr(Rows, "fingerprint", lambda X: hashed.append(1) or fingerprint(X))
    experts([0, 1, 2])
    assert not hashed
    experts([0, 1, 2], memory=str(tmp_path))
    assert len(hashed) == 1


def test_what_cannot_be_pickled_is_trained_but_not_cached(tmp_path):
    network = lambda input_shape, n_classes: ConvNet(input_shape, n_classes, width=4)  # noqa: E731
    alone = experts(shape=IMAGE, network=network)
    assert_same(experts(shape=IMAGE, network=network, n_jobs=2), alone, atol=1e-6)
    with pytest.raises(ValueError, match=r"memory= needs a network .* define it at the top"):
        experts(shape=IMAGE, network=network, memory=str(tmp_path))


# -- the experts of a fit ------------------------------------------------------------------


def small(**changes):
    options = {
        "cpc": 1,
        "estimator": LogisticRegression(),
        "n_experts": 2,
        "max_start_epoch": 2,
        "student_steps": 2,
        "max_iter": 3,
        "validation_fraction": 0,
        "random_state": 0,
    }
    return TrajectoryDistiller(**{**options, **changes})


def test_experts_are_trained_once_whatever_cpc(tmp_path, trained):
    for cpc in (1, 2, 3):
        small(cpc=cpc, max_start_epoch=None, expert_epochs=8, memory=str(tmp_path)).fit(*clips())
    assert len(trained) == 2


def test_settings_of_the_matching_find_the_same_experts(tmp_path, trained):
    options = {"max_start_epoch": 1, "memory": str(tmp_path)}
    for changes in ({}, {"student_steps": 3}, {"max_iter": 2}, {"learning_rate": 0.01}):
        small(**options | changes).fit(*clips())
    assert len(trained) == 2


def test_a_fit_is_the_same_wherever_its_experts_are_kept(tmp_path):
    reference = small(min_start_epoch=1).fit(*clips()).transform()
    for place in ({"memory": str(tmp_path / "a")}, {"checkpoint": tmp_path / "b"}, {"n_jobs": 2}):
        fitted = small(min_start_epoch=1, **place).fit(*clips())
        torch.testing.assert_close(fitted.transform(), reference, rtol=0, atol=1e-5)


class _Killed(Exception):
    pass


@pytest.mark.parametrize("places", [{"checkpoint"}, {"memory"}, {"memory", "checkpoint"}])
def test_at_most_one_expert_is_lost(tmp_path, monkeypatch, trained, places):
    kept = {place: str(tmp_path / place) for place in places}
    spy = _experts.train_expert

    def killed_at_the_third(training, seed):
        if len(trained) == 2:
            raise _Killed
        return spy(training, seed)

    monkeypatch.setattr(_experts, "train_expert", killed_at_the_third)
    with pytest.raises(_Killed):
        small(n_experts=4, **kept).fit(*clips())
    monkeypatch.setattr(_experts, "train_expert", spy)
    small(n_experts=4, **kept).fit(*clips())
    assert len(trained) == len(set(trained)) == 4


def test_experts_are_kept_once_where_there_is_a_cache_and_a_checkpoint(tmp_path):
    places = {"memory": str(tmp_path / "memory"), "checkpoint": tmp_path / "checkpoint"}
    small(**places).fit(*clips())
    assert not list(places["checkpoint"].glob("expert*"))
    nowhere = {"memory": Memory(None), "checkpoint": tmp_path / "another"}
    small(**nowhere).fit(*clips())
    assert len(list(nowhere["checkpoint"].glob("expert*"))) == 2
