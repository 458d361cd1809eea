"""Several students in an iteration, and several processes that share them and the experts.

This file is also what ``torchrun`` starts here: ``main`` is what each of two processes does.
"""

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
import torch.distributed as dist
from sklearn.linear_model import LogisticRegression

from sklearn_ddfad import TrajectoryDistiller
from sklearn_ddfad._training import functional_network
from sklearn_ddfad._validation import resolve_device
from sklearn_ddfad.augmentation import NoAugmentation
from sklearn_ddfad.distillation import _trajectory
from sklearn_ddfad.distillation._base import Descent
from sklearn_ddfad.distillation._checkpoint import Checkpoint
from sklearn_ddfad.distillation._ranks import ALONE, Ranks
from sklearn_ddfad.distillation._trajectory import TrajectoryMatching, trajectory_loss
from sklearn_ddfad.parameterization import DirectDecoder

KILLED_AT, STOPPED_AT, DIVERGED_AT = 5, 4, 3
TWO = {"n_students": 2}
THREE = {"n_students": 3, "validation_fraction": 0.2}


def data():
    rng = np.random.default_rng(0)
    y = np.arange(30) % 2
    return (rng.normal(size=(30, 4)) + y[:, None]).astype(np.float32), y


def small(**changes):
    options = {
        "cpc": 2,
        "estimator": LogisticRegression(),
        "n_experts": 3,
        "max_start_epoch": 2,
        "student_steps": 4,
        "batch_size": 3,
        "max_iter": 10,
        "validation_fraction": 0,
        "random_state": 0,
    }
    return TrajectoryDistiller(**{**options, **changes})


def outcome(fitted):
    return fitted.distilled_.X, np.array([fitted.learning_rate_, *fitted.loss_curve_])


def assert_equal_to_rounding(one, other):
    for ours, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


# -- what each of two processes does -------------------------------------------------------------


def main(folder):
    warnings.simplefilter("error")
    Checkpoint.EVERY = 0.0
    rank, said = int(os.environ["RANK"]), {}
    said["killed"], said["iterations"] = killed_once(folder, rank)
    said["two"] = outcome(small().fit(*data()))
    said["seedless"] = outcome(small(random_state=None).fit(*data()))
    said["stopped"] = outcome(stopped(rank).fit(*data()))
    said["trained"] = trained(folder / "shared")
    said["refused"] = refused(rank)
    said["diverged"] = diverged(rank)
    said["own group"] = in_a_group_of_its_own(folder / "group", rank)
    joblib.dump(said, folder / f"{rank}.joblib")


def killed_once(folder, rank):
    """Fit three students an iteration; the second process is killed the first time it gets here.

    Each process has a folder of its own, as machines have that share no disk.
    """
    iterations = []

    def callback(distiller):
        iterations.append(distiller.n_iter_)
        first_time = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if rank == 1 and distiller.n_iter_ == KILLED_AT and first_time:
            os.kill(os.getpid(), signal.SIGKILL)

    own = folder / f"disk_{rank}"
    distiller = small(**THREE, checkpoint=own, callbacks=[callback]).fit(*data())
    return outcome(distiller), iterations


def stopped(rank):
    return small(callbacks=[lambda d: rank == 1 and d.n_iter_ == STOPPED_AT])


def trained(shared):
    """Return the seeds of the experts that are trained here."""
    seen, original = [], _trajectory.train_experts

    def spy(*args, seeds, **options):
        seen.extend(seeds)
        return original(*args, seeds=seeds, **options)

    _trajectory.train_experts = spy
    small(checkpoint=shared).fit(*data())
    _trajectory.train_experts = original
    return seen


def refused(rank):
    X, y = data()
    try:
        small().fit(X[: 30 - 2 * rank], y[: 30 - 2 * rank])
    except ValueError as error:
        return str(error)


def diverged(rank):
    """Fit with one student of one process that ends nowhere."""
    original, n_calls = TrajectoryMatching.__call__, 0

    def lost(self, *args):
        nonlocal n_calls
        n_calls += torch.is_grad_enabled()  # those that try the step size are not asked for one
        return original(self, *args) * (float("nan") if n_calls == DIVERGED_AT else 1)

    if rank == 1:
        TrajectoryMatching.__call__ = lost
    fitted = small().fit(*data())
    TrajectoryMatching.__call__ = original
    return outcome(fitted)


def in_a_group_of_its_own(file, rank):
    """Fit in a group that the script has made; it is the script's to take down.

    They meet by a file: where they met before, one may still be when the other comes again.
    """
    dist.destroy_process_group()
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    fitted = small().fit(*data())
    assert dist.is_initialized()
    return outcome(fitted)


# -- two processes -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What the two processes have to say."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "--max-restarts", "1", __file__, str(folder)]
    environment = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment = {**os.environ, **environment, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as torchrun:
        try:
            _, said = torchrun.communicate(timeout=180)
        finally:
            torchrun.terminate()  # it takes the two processes with it
    assert torchrun.returncode == 0, said
    return [joblib.load(folder / f"{rank}.joblib") for rank in range(2)]


@pytest.mark.parametrize(
    ("fit", "parameters"), [("two", TWO), ("killed", THREE), ("own group", TWO)]
)
def test_two_ranks_do_what_one_does_with_all_students(two, fit, parameters):
    """The second of these fits was killed on its way, and went on (law 8)."""
    alone = outcome(small(**parameters).fit(*data()))
    assert_equal_to_rounding(two[0][fit], alone)


@pytest.mark.parametrize("fit", ["two", "killed", "seedless", "stopped", "diverged", "own group"])
def test_ranks_end_with_the_same_bits(two, fit):
    for ours, theirs in zip(two[0][fit], two[1][fit], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_killed_fit_goes_on_from_the_state_of_the_first_rank(two):
    for said in two:
        assert said["iterations"] == list(range(KILLED_AT, 11))


def test_a_fit_without_seed_is_not_the_one_with_seed_zero(two):
    assert not np.array_equal(two[0]["seedless"][0], two[0]["two"][0])


def test_one_rank_may_stop_all(two):
    for said in two:
        assert len(said["stopped"][1]) == 1 + STOPPED_AT


def test_experts_are_shared_out(two):
    seeds = [said["trained"] for said in two]
    assert [len(part) for part in seeds] == [2, 1]
    assert len({*seeds[0], *seeds[1]}) == 3


def test_other_data_on_one_rank_are_refused_on_all(two):
    for said in two:
        assert "given different parameters, labels or numbers of clips" in said["refused"]


def test_a_student_that_diverges_undoes_the_step_of_all_ranks(two):
    clips, numbers = two[0]["diverged"]
    losses = numbers[1:]
    assert np.isfinite(clips).all()
    assert np.flatnonzero(np.isnan(losses)).tolist() == [DIVERGED_AT - 1]


# -- one process ---------------------------------------------------------------------------------


@pytest.fixture
def matching(trajectory_matching):
    network = functional_network("mlp", (4,), 2, seed=0, device="cpu")
    start = network.initial_parameters().numpy()
    noise = np.random.default_rng(0).normal(size=(2, 4, len(start)))
    experts = (start + 0.1 * noise).astype(np.float32)
    return trajectory_matching(
        network, experts, epochs=range(4), last_start=2, student_steps=3, batch_size=2
    )


def descent_from(clips, codes, **options):
    return Descent(DirectDecoder(1), {"clips": clips}, codes, 0.1, "cpu", 0, **options)


def test_two_students_have_the_mean_of_their_gradients(matching):
    clips, labels = torch.randn(4, 4, generator=torch.Generator().manual_seed(1)), torch.arange(4)
    labels = labels % 2
    descent, twin = (descent_from(clips.numpy(), labels, n_students=2) for _ in range(2))
    losses, gradients = [], []
    for generator in twin.generators():
        alpha = twin.iterate().alpha
        segment, own = matching.segment(generator, "cpu"), twin.numbers["clips"]
        batches = matching.batches(own, generator)
        loss = trajectory_loss(
            matching.network, segment, own, labels, alpha, batches, NoAugmentation(), 0
        )
        losses.append(loss.item())
        gradients.append(torch.autograd.grad(loss, [own, twin.log_alpha]))
    assert losses[0] != losses[1]
    assert not torch.equal(gradients[0][0], gradients[1][0])
    descent.step(matching(descent.iterate(), generator) for generator in descent.generators())
    assert descent.losses == pytest.approx([np.mean(losses)])
    for value, first, second in zip(
        (descent.numbers["clips"], descent.log_alpha), *gradients, strict=True
    ):
        torch.testing.assert_close(value.grad, (first + second) / 2)


def test_students_are_computed_one_after_the_other():
    """The graph of one is gone before the next is made: several take the memory of one."""
    descent = descent_from(np.ones((2, 3), np.float32), [0, 1], n_students=3)
    graphs = 0

    def losses():
        nonlocal graphs
        for _ in range(3):
            assert graphs == 0
            graphs += 1
            loss = (descent.iterate().clips ** 2).mean() * descent.iterate().alpha
            loss.register_hook(pulled_back)
            yield loss

    def pulled_back(_):
        nonlocal graphs
        graphs -= 1

    descent.step(losses())
    assert graphs == 0


@pytest.mark.parametrize("n_students", [1, 2, 5])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_each_student_is_matched_on_one_rank_whatever_their_number(n_students, size):
    def drawn(descent):
        return [torch.rand((), generator=g).item() for g in descent.generators()]

    def descent(ranks):
        clips = np.ones((2, 3), np.float32)
        return descent_from(clips, [0, 1], n_students=n_students, ranks=ranks)

    alone = drawn(descent(ALONE))
    parts = [drawn(descent(Ranks(rank, size))) for rank in range(size)]
    assert len(set(alone)) == n_students
    assert sorted(alone) == sorted(seed for part in parts for seed in part)


def test_each_process_of_torchrun_has_its_own_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert resolve_device("auto") == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert resolve_device("auto") == torch.device("cuda:1")
    assert resolve_device("cpu") == torch.device("cpu")


def test_a_process_on_its_own_makes_no_group(monkeypatch):
    monkeypatch.setattr(torch.distributed, "init_process_group", None)
    small(max_iter=1).fit(*data())
    assert not torch.distributed.is_initialized()


def test_a_process_started_again_with_stale_addresses_is_refused(monkeypatch):
    for name, value in {"RUN_ID": "1", "RESTART_COUNT": "1", "USE_AGENT_STORE": "True"}.items():
        monkeypatch.setenv(f"TORCHELASTIC_{name}", value)
    with pytest.raises(RuntimeError, match="with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"):
        small().fit(*data())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
