"""Every estimator against scikit-learn's checks and the library's own laws."""

import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from sklearn_ddfad import (
    FDMFCC,
    DistillationSampler,
    DistilledClassifier,
    RandomSelector,
    TrajectoryDistiller,
)
from sklearn_ddfad.base import BaseReducer
from sklearn_ddfad.estimator_checks import EXPECTED_FAILED_CHECKS, reducer_checks

REDUCERS = [
    RandomSelector(1, estimator=LogisticRegression(), random_state=0),
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


def expected_failures(estimator):
    return EXPECTED_FAILED_CHECKS if isinstance(estimator, BaseReducer) else {}


@parametrize_with_checks(
    [
        *REDUCERS,
        FDMFCC(),
        FDMFCC(layout="flat"),
        DistilledClassifier(REDUCERS[0]),
        DistillationSampler(REDUCERS[0]),
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
