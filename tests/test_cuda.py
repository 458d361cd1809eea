"""On a GPU: what comes of it is what comes of the CPU, to rounding, and can be read without one.

All other tests are of the CPU, where numbers are reproduced bit by bit; they see no GPU. These run
by themselves, where there is one::

    make test-cuda

Convolutions are told to be exact here: by default cuDNN rounds their factors to ten bits (TF32).
"""

import os
import pickle
import subprocess
import sys
from functools import partial
from operator import methodcaller

import numpy as np
import pytest
import torch
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch import NeuralNetClassifier
from torch import nn

from sklearn_ddfad import (
    FDMFCC,
    VGG11,
    ArchitectureSearch,
    Augmentation,
    ConvNet,
    DistilledClassifier,
    DistilledSet,
    DistributionDistiller,
    EfficientNetV2,
    EnhancedNetwork,
    GradientDistiller,
    GriffinLimInverter,
    HerdingSelector,
    KCenterSelector,
    KnowledgeDistillationClassifier,
    LogMelSpectrogram,
    NetworkEmbedding,
    RandomSelector,
    RehearsalClassifier,
    ResNet18,
    Spectral,
    Static,
    TrajectoryDistiller,
    Waveform,
    evaluate,
    network_classifier,
    teach,
)
from sklearn_ddfad._training import FunctionalNetwork
from sklearn_ddfad._validation import Rows
from sklearn_ddfad.augmentation import NoAugmentation
from sklearn_ddfad.datasets import make_audio_classification
from sklearn_ddfad.distillation._experts import train_experts
from sklearn_ddfad.distillation._trajectory import RealGuidance, Segment, trajectory_loss
from sklearn_ddfad.networks import make_network

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no GPU, or none to be seen: make test-cuda"
)

SHAPE, N_CLASSES = (3, 16, 14), 3
EVERYTHING = Augmentation(time_shift=0.3, time_mask=0.3, frequency_mask=0.4, gain=0.5, noise=0.5)
NETWORK = partial(ConvNet, width=8)
SHORT = {"n_steps": 200, "batch_size": 16}


@pytest.fixture(autouse=True)
def exact_convolutions(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="session")
def images():
    """Invented words of three classes, and their labels."""
    clips, y = make_audio_classification(90, n_classes=N_CLASSES, random_state=0)
    X = FDMFCC(duration=0.3, device="cpu").fit_transform(clips)
    return X, np.array(["a", "b", "c"])[np.unique(y, return_inverse=True)[1]]


def close(on_gpu, on_cpu, tolerance=1e-3):
    """Compare arrays or tensors by the largest number among them."""
    on_gpu, on_cpu = (torch.as_tensor(some).detach().cpu() for some in (on_gpu, on_cpu))
    torch.testing.assert_close(on_gpu, on_cpu, rtol=0, atol=tolerance * float(on_cpu.abs().max()))


READ_ELSEWHERE = """
import pickle, sys
import numpy as np
with open("fitted.pkl", "rb") as file:
    fitted, X = pickle.load(file)
np.save("said.npy", getattr(fitted, sys.argv[1])(X))
"""


def assert_says_the_same_without_gpu(fitted, X, folder, method="predict_proba"):
    """A fitted estimator, pickled here, must say the same where there is no GPU."""
    here = getattr(fitted, method)(X)
    (folder / "fitted.pkl").write_bytes(pickle.dumps((fitted, X)))
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", READ_ELSEWHERE, method]
    done = subprocess.run(
        command, cwd=folder, env=hidden, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    close(np.load(folder / "said.npy"), here)
    close(getattr(pickle.loads(pickle.dumps(fitted)), method)(X), here)


# -- the parts -----------------------------------------------------------------------------------


def outer_gradient(device, network, budget):
    """The gradient of Eq. 3 with everything in it, after three steps of five clips."""
    torch.manual_seed(0)
    module = make_network(network, SHAPE, N_CLASSES)
    clips = torch.randn(6, *SHAPE)
    labels = torch.randn(6, N_CLASSES)
    start = FunctionalNetwork(module).initial_parameters()
    segment = Segment(start, start + 0.01 * torch.randn_like(start))
    generator = torch.Generator().manual_seed(0)
    draws = [EVERYTHING.draw((5, *SHAPE), generator) for _ in range(3)]
    plan = [(torch.randperm(6, generator=generator)[:5].to(device), draw) for draw in draws]
    functional = FunctionalNetwork(module.to(device))
    segment = Segment(*(weights.to(device) for weights in segment))
    leaves = [x.to(device).requires_grad_() for x in (clips, labels, torch.tensor(0.02))]
    real = Rows(np.random.default_rng(0).normal(size=(9, *SHAPE)).astype(np.float32))
    guidance = RealGuidance(0.1, real, np.arange(9) % N_CLASSES, 9, NoAugmentation(), device)
    guidance = guidance.on_a_batch(functional, generator)
    loss = trajectory_loss(functional, segment, *leaves, plan, EVERYTHING, budget, guidance)
    return loss, *torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("budget", [0, None])
@pytest.mark.parametrize(
    "network",
    [
        NETWORK,
        partial(ResNet18, width=4),
        partial(VGG11, width=4),
        partial(EfficientNetV2, width=8, normalization="group"),
        partial(EnhancedNetwork, backbone=NETWORK, n_blocks=2),
    ],
)
def test_the_gradient_of_eq_3_is_that_of_the_cpu(network, budget):
    here, there = (outer_gradient(device, network, budget) for device in ("cuda", "cpu"))
    for ours, theirs in zip(here, there, strict=True):
        assert ours.is_cuda
        close(ours, theirs, 5e-3)


@pytest.mark.parametrize("augmentation", [EVERYTHING, Augmentation(time_shift=0.3, roll=True)])
def test_a_draw_is_applied_where_the_batch_lives(augmentation):
    X = torch.randn(5, *SHAPE)
    draw = augmentation.draw(X.shape, torch.Generator().manual_seed(0))
    close(augmentation(X.cuda(), draw), augmentation(X, draw), 1e-6)


@pytest.mark.parametrize("n_jobs", [None, 1])
@pytest.mark.parametrize("augmentation", [NoAugmentation(), Augmentation()])
def test_experts_side_by_side_are_those_of_the_cpu(images, augmentation, n_jobs):
    X, y = images
    course = {"network": NETWORK, "n_classes": N_CLASSES, "epochs": range(3), "batch_size": 20}
    trained = [
        train_experts(
            Rows(X),
            np.unique(y, return_inverse=True)[1],
            seeds=[0, 1, 2],
            augmentation=augmentation,
            device=device,
            n_jobs=n_jobs,
            **course,
        )
        for device in ("cuda", "cpu")
    ]
    for ours, theirs in zip(*trained, strict=True):
        close(ours[1] - ours[0], theirs[1] - theirs[0], 1e-2)


@pytest.mark.parametrize("extractor", [FDMFCC, LogMelSpectrogram])
def test_it_hears_what_the_cpu_hears(extractor, invented_clips):
    on_cpu, on_gpu = (
        extractor(device=device).fit_transform(invented_clips) for device in ("cpu", "cuda")
    )
    close(on_gpu, on_cpu)


def test_sound_comes_out_of_it(invented_clips):
    extractor = FDMFCC(device="cuda").fit(invented_clips)
    X = extractor.transform(invented_clips[:3])
    sounds = GriffinLimInverter(extractor, n_iter=32, device="cuda", random_state=0).fit(X)
    again = extractor.transform(sounds.transform(X))
    assert np.abs(again - X)[:, 0].mean() < 0.5 * np.abs(X[:, 0]).mean()


# -- small sets ----------------------------------------------------------------------------------


MTT = {"n_experts": 2, "max_start_epoch": 1, "student_steps": 3}
REDUCERS = [
    RandomSelector(5),
    HerdingSelector(5, network=NETWORK),
    KCenterSelector(5, network=NETWORK),
    DistributionDistiller(5, network=NETWORK, max_iter=3),
    DistributionDistiller(5, network=NETWORK, max_iter=3, parameterization=Static()),
    DistributionDistiller(5, network=NETWORK, max_iter=3, parameterization=Spectral()),
    GradientDistiller(5, network=NETWORK, max_iter=3, soft_labels=True),
    TrajectoryDistiller(5, network=NETWORK, max_iter=3, **MTT),
    TrajectoryDistiller(5, network=NETWORK, max_iter=3, n_students=2, soft_labels=True, **MTT),
    TrajectoryDistiller(5, network=partial(EnhancedNetwork, backbone=NETWORK), max_iter=2, **MTT),
]


def named(reducer):
    return type(reducer).__name__


@pytest.mark.parametrize("reducer", REDUCERS, ids=named)
def test_a_small_set_is_made_and_lies_on_the_gpu(reducer, images, tmp_path):
    X, y = images
    judge = network_classifier(NETWORK, **SHORT)
    reducer.set_params(estimator=judge, random_state=0, device="auto").fit(X, y)
    X_small = reducer.transform()
    assert X_small.is_cuda
    assert X_small.shape[1:] == X.shape[1:]
    assert torch.isfinite(X_small).all()
    assert reducer.score(X, y) > 0.6
    few = reducer.distilled_
    few.save(tmp_path / "few.safetensors")
    np.testing.assert_array_equal(DistilledSet.load(tmp_path / "few.safetensors").X, few.X)
    assert_says_the_same_without_gpu(reducer, X[:5], tmp_path)


@pytest.mark.parametrize("reducer", REDUCERS[3:-1], ids=named)
def test_a_small_set_is_that_of_the_cpu(reducer, images):
    """Three iterations, in which Adam has not yet made much of what was rounded otherwise."""
    X, y = images
    quick = {"estimator": DummyClassifier(), "validation_fraction": 0, "random_state": 0}
    on_gpu, on_cpu = (
        reducer.set_params(device=device, **quick).fit(X, y).distilled_.X
        for device in ("cuda", "cpu")
    )
    assert np.median(np.abs(on_gpu - on_cpu)) < 1e-3 * np.abs(on_cpu).max()


def test_a_set_of_sounds_is_made(invented_clips):
    extractor = FDMFCC(duration=0.3).fit(invented_clips)
    X, y = extractor.transform(invented_clips), np.arange(len(invented_clips)) % 3
    sounds = Waveform(extractor)
    distiller = DistributionDistiller(
        1, network=NETWORK, parameterization=sounds, max_iter=2, validation_fraction=0
    )
    assert distiller.fit(X, y).transform().is_cuda


def test_a_fit_goes_on_where_it_was_stopped(images, tmp_path):
    X, y = images

    def stop(distiller):
        if distiller.n_iter_ == 3:
            raise KeyboardInterrupt

    options = {"network": NETWORK, "max_iter": 6, "random_state": 0, **MTT}
    options |= {"estimator": DummyClassifier(), "checkpoint": tmp_path / "checkpoint"}
    with pytest.raises(KeyboardInterrupt):
        TrajectoryDistiller(2, callbacks=[stop], **options).fit(X, y)
    went_on = TrajectoryDistiller(2, **options).fit(X, y)
    unbroken = TrajectoryDistiller(2, **options | {"checkpoint": None}).fit(X, y)
    assert went_on.n_iter_ == unbroken.n_iter_ == 6
    difference = np.abs(went_on.distilled_.X - unbroken.distilled_.X)
    assert np.median(difference) < 1e-3 * np.abs(unbroken.distilled_.X).max()


# -- what is built on them -----------------------------------------------------------------------


def test_a_search_over_sizes(images):
    X, y = images
    judge = network_classifier(NETWORK, **SHORT)
    distiller = DistributionDistiller(1, network=NETWORK, max_iter=3, random_state=0)
    pipeline = make_pipeline(DistilledClassifier(distiller, judge))
    search = GridSearchCV(pipeline, {"distilledclassifier__distiller__cpc": [1, 8]}, cv=2)
    assert search.fit(X, y).best_score_ > 0.6
    assert search.best_params_ == {"distilledclassifier__distiller__cpc": 8}


def test_networks_are_judged_and_searched(images):
    X, y = images
    result = evaluate(X[::2], y[::2], X, y, n_repeats=2, estimator=network_classifier(NETWORK))
    assert result["test_score"].min() > 0.7
    space = [network_classifier(network, **SHORT) for network in (NETWORK, "mlp")]
    search = ArchitectureSearch(space, RandomSelector(5, random_state=0), random_state=0)
    assert search.fit(X, y).score(X, y) > 0.6


def test_an_embedding_is_read_without_a_gpu(images, tmp_path):
    X, y = images
    embedding = NetworkEmbedding(NETWORK, random_state=0).fit(X, y)
    assert_says_the_same_without_gpu(embedding, X[:5], tmp_path, "transform")


def test_class_after_class(images, tmp_path):
    X, y = images
    learner = RehearsalClassifier(
        DistributionDistiller(2, network=NETWORK, max_iter=3), network=NETWORK, random_state=0
    )
    first = np.isin(y, ["a", "b"])
    learner.partial_fit(X[first], y[first]).partial_fit(X[~first], y[~first])
    assert learner.score(X, y) > 0.6
    assert_says_the_same_without_gpu(learner, X[:5], tmp_path)


@pytest.mark.parametrize("consistent", [True, False])
@pytest.mark.parametrize("kind", ["classifier", "module", "forest"])
def test_a_student_is_taught_where_it_lives(images, kind, consistent, tmp_path):
    X, y = images
    teacher = {
        "classifier": network_classifier(NETWORK, random_state=0, **SHORT),
        "module": network_classifier(NETWORK, random_state=0, **SHORT).fit(X, y).module_.cpu(),
        "forest": make_pipeline(
            FunctionTransformer(methodcaller("reshape", -1, X[0].size)), RandomForestClassifier()
        ),
    }[kind]
    student = KnowledgeDistillationClassifier(
        teacher, NETWORK, consistent=consistent, balance=0.0, mixup=0.5, random_state=0, n_steps=90
    ).fit(X, y)
    assert next(student.module_.parameters()).is_cuda
    assert student.score(X, y) > 0.6
    assert_says_the_same_without_gpu(student, X[:5], tmp_path)


def test_a_set_is_labelled_by_a_teacher(images):
    X, y = images
    soft = teach(X, y, X[:6], estimator=network_classifier(NETWORK, **SHORT), temperature=2)
    assert (np.unique(y)[soft.argmax(axis=1)] == y[:6]).mean() > 0.7
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-5)


def test_a_network_of_skorch_judges(images):
    """A network of the user's own, in skorch's own classifier."""
    X, y = images
    codes = np.unique(y, return_inverse=True)[1]
    module = nn.Sequential(nn.Flatten(), nn.LazyLinear(N_CLASSES))
    net = NeuralNetClassifier(
        module, criterion=nn.CrossEntropyLoss, device="cuda", verbose=0, train_split=None, lr=0.01
    )
    selector = RandomSelector(5, estimator=net, random_state=0).fit(X, codes)
    assert selector.score(X, codes) > 0.6
