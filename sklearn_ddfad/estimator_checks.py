"""The laws of distillers and selectors, as checks that anyone's estimator can be put to.

``check_reducer(estimator)`` runs them all and raises at the first that is broken.
"""

import pickle
import warnings

import numpy as np
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import KNeighborsClassifier

__all__ = ["EXPECTED_FAILED_CHECKS", "check_reducer", "reducer_checks"]

_OTHER_ROWS = "transform returns the distilled clips, which are other rows than those of X"

#: Checks of scikit-learn that a distiller or selector fails by contract, and why.
EXPECTED_FAILED_CHECKS = {
    "check_transformer_data_not_an_array": _OTHER_ROWS,
    "check_transformer_general": _OTHER_ROWS,
    "check_methods_sample_order_invariance": _OTHER_ROWS,
    "check_methods_subset_invariance": _OTHER_ROWS,
    "check_fit_idempotent": "transform returns a torch tensor, which the check cannot compare",
}


def check_reducer(estimator):
    """Put a distiller or selector to the laws.

    Parameters
    ----------
    estimator : distiller or selector
        Not fitted, fitted in a second on 24 rows of 6 numbers, with an int as ``random_state``.

    Raises
    ------
    AssertionError
        At the first law that is broken.

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn_ddfad import RandomSelector
    >>> from sklearn_ddfad.estimator_checks import check_reducer
    >>> check_reducer(RandomSelector(estimator=KNeighborsClassifier(1), random_state=0))
    """
    for check in reducer_checks():
        check(clone(estimator).set_params(cpc=2))


def reducer_checks():
    """Return the checks: functions that take an estimator with ``cpc=2``, not fitted."""
    return [
        check_each_class_gets_its_clips,
        check_sample_indices_name_the_clips,
        check_labels_come_back_as_they_went_in,
        check_input_is_left_alone,
        check_set_is_finite_float32,
        check_same_seed_same_set,
        check_global_generators_are_left_alone,
        check_pickle_keeps_everything,
        check_refusals,
        check_failed_fit_leaves_nothing,
        check_rare_class_is_told,
    ]


def _clips(n=24, n_classes=2):
    """Return rows and labels of classes that differ."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % n_classes
    return rng.normal(size=(n, 6)).astype(np.float32) + 2 * y[:, None].astype(np.float32), y


def check_each_class_gets_its_clips(estimator):
    """Each class has ``cpc`` clips, shaped like those of ``X``."""
    X, y = _clips(n_classes=3)
    clips = estimator.fit(X, y).transform()
    assert clips.shape == (2 * 3, *X.shape[1:])
    labels, counts = np.unique(estimator.y_distilled_, return_counts=True)
    np.testing.assert_array_equal(labels, [0, 1, 2])
    np.testing.assert_array_equal(counts, [2, 2, 2])


def check_sample_indices_name_the_clips(estimator):
    """A selector's ``sample_indices_`` are those of its clips in ``X``; a distiller has none."""
    X, y = _clips(n_classes=3)
    estimator.fit(X, y)
    if hasattr(estimator, "sample_indices_"):
        np.testing.assert_array_equal(X[estimator.sample_indices_], estimator.distilled_.X)
        np.testing.assert_array_equal(y[estimator.sample_indices_], estimator.y_distilled_)


def check_labels_come_back_as_they_went_in(estimator):
    """Labels of any type come out of the set and of ``predict`` as they went in (law 3)."""
    X, y = _clips()
    for names in (["no", "yes"], [-3, 7], [False, True], [0.0, 1.0]):
        labels = np.array(names)[y]
        fitted = clone(estimator).fit(X, labels)
        for out in (fitted.y_distilled_, fitted.predict(X), fitted.classes_):
            assert out.dtype == labels.dtype
            assert set(out) <= set(names)


def check_input_is_left_alone(estimator):
    """``X`` and ``y`` are never modified (law 3)."""
    X, y = _clips()
    X_before, y_before = X.copy(), y.copy()
    estimator.fit(X, y).transform(X)
    np.testing.assert_array_equal(X, X_before)
    np.testing.assert_array_equal(y, y_before)
    X.flags.writeable = y.flags.writeable = False  # as a file that is mapped to be read
    estimator.fit(X, y).transform(X)


def check_set_is_finite_float32(estimator):
    """``float32`` comes out, whatever goes in, and all of it finite (laws 3, 5)."""
    X, y = _clips()
    for dtype in (np.float32, np.float64):
        clips = clone(estimator).fit(X.astype(dtype), y).transform()
        assert torch.is_tensor(clips)
        assert clips.dtype == torch.float32
        assert clips.isfinite().all()


def check_same_seed_same_set(estimator):
    """The same ``random_state`` gives the same set and the same predictions (law 2)."""
    X, y = _clips()
    first, second = (clone(estimator).fit(X, y) for _ in range(2))
    assert torch.equal(first.transform(), second.transform())
    np.testing.assert_array_equal(first.predict(X), second.predict(X))


def check_global_generators_are_left_alone(estimator):
    """The global generators of NumPy and torch are left as they were found (law 2)."""
    X, y = _clips()
    numpy_before = pickle.dumps(np.random.get_state())  # noqa: NPY002
    torch_before = torch.get_rng_state()
    estimator.fit(X, y).predict(X)
    assert pickle.dumps(np.random.get_state()) == numpy_before  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


def check_pickle_keeps_everything(estimator):
    """A pickled estimator transforms and predicts as before."""
    X, y = _clips()
    estimator.fit(X, y)
    again = pickle.loads(pickle.dumps(estimator))
    assert torch.equal(estimator.transform(), again.transform())
    np.testing.assert_array_equal(estimator.predict(X), again.predict(X))


def check_refusals(estimator):
    """What cannot be used is refused with a sentence, before any work (law 10)."""
    X, y = _clips()
    holed = X.copy()
    holed[3, 1] = np.nan
    cases = [
        ({}, holed, y, "NaN"),
        ({}, X, y[:-1], "inconsistent numbers of samples"),
        ({}, X, y + 0.5, "Unknown label type"),
        ({"cpc": 0}, X, y, "cpc"),
        ({"cpc": 12}, X, y, "not smaller than the data"),
        ({"estimator": KNeighborsClassifier(1)}, X.reshape(-1, 1, 2, 3), y, "cannot learn clips"),
    ]
    for parameters, features, labels, words in cases:
        said = "nothing"
        try:
            clone(estimator).set_params(**parameters).fit(features, labels)
        except ValueError as error:
            said = str(error)
        assert words in said, f"expected a ValueError that says {words!r}, got {said!r}"


def check_failed_fit_leaves_nothing(estimator):
    """After a fit that was refused there is no set, and nothing of an earlier one."""
    X, y = _clips()
    estimator.fit(X, y + 7)
    for labels in (y[:-1], np.arange(len(y))):
        said = None
        try:
            estimator.fit(X, labels)
        except ValueError:
            try:
                estimator.predict(X)
            except NotFittedError as error:
                said = error
        assert said is not None, "expected a NotFittedError of predict after a refused fit"


def check_rare_class_is_told(estimator):
    """A class with fewer clips than ``cpc`` is warned of, and gets its ``cpc`` clips."""
    X, y = _clips()
    rare = np.r_[0, np.flatnonzero(y == 1)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X[rare], y[rare])
    assert any("fewer than cpc=2" in str(warning.message) for warning in caught)
    assert np.sum(estimator.y_distilled_ == 0) == 2
