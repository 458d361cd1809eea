"""Every estimator against scikit-learn's checks and the library's own laws."""

import numpy as np
import pytest
import soundfile
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ddfad import (
    FDMFCC,
    LPCC,
    MFCC,
    ArchitectureSearch,
    Chromagram,
    DistillationSampler,
    DistilledClassifier,
    DistributionDistiller,
    GradientDistiller,
    GriffinLimInverter,
    HerdingSelector,
    KCenterSelector,
    KnowledgeDistillationClassifier,
    LogMelSpectrogram,
    NetworkEmbedding,
    RandomSelector,
    RehearsalClassifier,
    TrajectoryDistiller,
    load_audio_folder,
    network_classifier,
)
from sklearn_ddfad._training import NetworkClassifier
from sklearn_ddfad.base import BaseReducer
from sklearn_ddfad.estimator_checks import (
    EXPECTED_FAILED_CHECKS,
    check_reducer,
    reducer_checks,
)


class DrawsGlobally(RandomSelector):
    def _select(self, X, codes, n, rng):
        np.random.rand()  # noqa: NPY002
        return super()._select(X, codes, n, rng)


class Unseeded(RandomSelector):
    def _select(self, X, codes, n, rng):
        return super()._select(X, codes, n, np.random.RandomState())


class WritesIntoX(RandomSelector):
    def fit(self, X, y):
        X[0] = 0
        return super().fit(X, y)


class NamesOtherClips(RandomSelector):
    def fit(self, X, y):
        super().fit(X, y).sample_indices_[:] = 0
        return self


@pytest.mark.parametrize("broken", [DrawsGlobally, Unseeded, WritesIntoX, NamesOtherClips])
def test_a_broken_law_is_noticed(broken):
    with pytest.raises(AssertionError):
        check_reducer(broken(1, estimator=LogisticRegression(), random_state=0))


REDUCERS = [
    RandomSelector(1, estimator=LogisticRegression(), random_state=0),
    HerdingSelector(1, embedding="features", estimator=LogisticRegression(), random_state=0),
    KCenterSelector(1, embedding="features", estimator=LogisticRegression(), random_state=0),
    *(
        kind(
            1,
            estimator=LogisticRegression(),
            max_iter=2,
            soft_labels=soft_labels,
            validation_fraction=0,
            random_state=0,
        )
        for kind, soft_labels in [(DistributionDistiller, False), (GradientDistiller, True)]
    ),
    TrajectoryDistiller(
        1,
        estimator=LogisticRegression(),
        n_experts=1,
        max_start_epoch=1,
        student_steps=2,
        max_iter=2,
        validation_fraction=0,
        random_state=0,
    ),
]


SHAPE = "it takes features of its extractor's shape, the check sends others"
FIT = "fit learns nothing, so it looks at no data"
INVERTER_EXPECTED_FAILED_CHECKS = {
    "check_complex_data": FIT,
    "check_estimator_sparse_tag": FIT,
    "check_estimators_empty_data_messages": FIT,
    "check_estimators_nan_inf": FIT,
    "check_fit1d": FIT,
    "check_n_features_in": FIT,
    "check_n_features_in_after_fitting": FIT,
    "check_dict_unchanged": SHAPE,
    "check_dtype_object": SHAPE,
    "check_estimators_dtypes": SHAPE,
    "check_estimators_pickle": SHAPE,
    "check_f_contiguous_array_estimator": SHAPE,
    "check_fit2d_predict1d": SHAPE,
    "check_fit_idempotent": SHAPE,
    "check_fit_score_takes_y": SHAPE,
    "check_methods_sample_order_invariance": SHAPE,
    "check_methods_subset_invariance": SHAPE,
    "check_pipeline_consistency": SHAPE,
    "check_transformer_data_not_an_array": SHAPE,
    "check_transformer_general": SHAPE,
    "check_transformer_preserve_dtypes": SHAPE,
    "check_transformers_unfitted_stateless": SHAPE,
}

DEVICE = "skorch wants a device that there is: 'auto' is resolved at once"
OF_SKORCH = "of skorch: how it keeps what it was given"
JUDGE_EXPECTED_FAILED_CHECKS = {
    "check_no_attributes_set_in_init": OF_SKORCH,
    "check_set_params": OF_SKORCH,
}
STUDENT_EXPECTED_FAILED_CHECKS = {
    **JUDGE_EXPECTED_FAILED_CHECKS,
    "check_do_not_raise_errors_in_init_or_set_params": DEVICE,
    "check_parameters_default_constructible": DEVICE,
}

CLASSES = "partial_fit takes no list of all classes: which will come is not known"
REHEARSAL_EXPECTED_FAILED_CHECKS = {
    "check_estimators_partial_fit_n_features": CLASSES,
    "check_n_features_in_after_fitting": CLASSES,
    "check_fit_score_takes_y": "it brings the same classes again, which are learned once",
}


def inverter():
    noise = np.random.default_rng(0).normal(size=(5, 400))
    return GriffinLimInverter(FrozenEstimator(FDMFCC(layout="flat").fit(noise)), n_iter=2)


def expected_failures(estimator):
    if isinstance(estimator, GriffinLimInverter):
        return INVERTER_EXPECTED_FAILED_CHECKS
    if isinstance(estimator, KnowledgeDistillationClassifier):
        return STUDENT_EXPECTED_FAILED_CHECKS
    if isinstance(estimator, NetworkClassifier):
        return JUDGE_EXPECTED_FAILED_CHECKS
    if isinstance(estimator, RehearsalClassifier):
        return REHEARSAL_EXPECTED_FAILED_CHECKS
    return EXPECTED_FAILED_CHECKS if isinstance(estimator, BaseReducer) else {}


@parametrize_with_checks(
    [
        *REDUCERS,
        FDMFCC(),
        FDMFCC(layout="flat"),
        MFCC(),
        LPCC(),
        LogMelSpectrogram(),
        Chromagram(),
        DistilledClassifier(REDUCERS[0]),
        DistillationSampler(REDUCERS[0]),
        NetworkEmbedding(trained=False),
        network_classifier("mlp", n_steps=20, random_state=0),
        RehearsalClassifier(RandomSelector(1), n_steps=20, random_state=0),
        ArchitectureSearch([LogisticRegression()], "whole"),
        KnowledgeDistillationClassifier(LogisticRegression(), "mlp", n_steps=20, random_state=0),
        inverter(),
    ],
    expected_failed_checks=expected_failures,
    xfail_strict=True,
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("check", reducer_checks(), ids=lambda check: check.__name__)
@pytest.mark.parametrize("estimator", REDUCERS, ids=lambda estimator: type(estimator).__name__)
def test_laws(estimator, check):
    check(clone(estimator).set_params(cpc=2))


@pytest.mark.parametrize("wrapped", [lambda it: it, make_pipeline, DistilledClassifier])
@pytest.mark.parametrize("estimator", [REDUCERS[0], REDUCERS[3]], ids=["selector", "distiller"])
def test_a_warning_points_to_the_line_that_asked_for_it(estimator, wrapped):
    X, y = np.random.default_rng(0).normal(size=(20, 6)), np.repeat([0, 1], [2, 18])
    with pytest.warns(UserWarning, match="class 0 has 2 clips") as caught:
        wrapped(clone(estimator).set_params(cpc=3)).fit(X, y)
    assert caught[0].filename == __file__


def test_a_warning_of_a_folder_points_there_too(tmp_path):
    for name, file in {"dog": "a.wav", "cat": "a.m4a"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
    soundfile.write(tmp_path / "dog" / "a.wav", np.zeros(100), 8000)
    with pytest.warns(UserWarning, match="is left out") as caught:
        load_audio_folder(tmp_path)
    assert caught[0].filename == __file__
