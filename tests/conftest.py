"""What all tests share."""

import os

if "DDFAD_CUDA" not in os.environ:  # numbers are reproduced bit by bit on a CPU
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
if "PYTEST_XDIST_WORKER" in os.environ:  # several side by side: more threads stall each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from functools import partial
from pathlib import Path

import pytest

from sklearn_ddfad import FDMFCC
from sklearn_ddfad.augmentation import NoAugmentation
from sklearn_ddfad.datasets import load_audio_folder, make_audio_classification
from sklearn_ddfad.distillation._trajectory import TrajectoryMatching


@pytest.fixture(scope="session")
def ddfad_data():
    """Folder of the real recordings; a test that asks for it is skipped where there is none."""
    folder = os.environ.get("DDFAD_DATA")
    if not folder:
        pytest.skip("DDFAD_DATA does not name a folder of real recordings")
    return Path(folder)


@pytest.fixture(scope="session")
def fsdd(ddfad_data):
    """The spoken digits, all 3000 recordings."""
    return load_audio_folder(ddfad_data / "fsdd")


@pytest.fixture(scope="session")
def fsdd_clips(fsdd):
    """Two hundred spoken digits, of all classes and speakers."""
    return fsdd.data[::15]


@pytest.fixture(scope="session")
def invented_clips():
    """Thirty clips of invented words, for what needs no recordings."""
    return make_audio_classification(30, n_classes=3, random_state=0)[0]


@pytest.fixture(scope="session")
def heard(invented_clips):
    """A fitted extractor, and the features of the invented words; neither is to be changed."""
    extractor = FDMFCC(duration=0.3)
    return extractor, extractor.fit_transform(invented_clips)


@pytest.fixture(scope="session")
def trajectory_matching():
    """What makes a matching of some experts: of an epoch by a step on a clip, unless told more."""
    return partial(
        TrajectoryMatching,
        epochs=range(2),
        last_start=0,
        epochs_matched=1,
        student_steps=1,
        batch_size=1,
        augmentation=NoAugmentation(),
        memory_budget=0,
    )
