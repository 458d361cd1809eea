"""The laws of distillers and selectors, as checks that anyone's estimator can be put to.

``check_reducer(estimator)`` runs them all and raises ``AssertionError`` at the first that is broken.
"""

import pickle

import numpy as np
import torch
from sklearn.base import clone

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
        Not fitted, with ``cpc`` at most 4 and small enough to be fitted in a second, with an int
        as ``random_state``.

    Raises
    ------
    AssertionError
        At the first law that is broken.

    Examples
    --------
    >>> from sklearn_ddfad import RandomSelector
    >>> from sklearn_ddfad.estimator_checks import check_reducer
    >>> from sklearn.neighbors import KNeighborsClassifier
    """
    for check in reducer_checks():
        check(clone(estimator))


def reducer_checks():
    """Return the checks, functions that take an estimator that is not fitted."""
    return [
        check_same_number_of_each_class,
        check_labels_of_any_type_come_back,
        check_input_is_not_modified,
        check_float32_comes_out,
        check_same_seed_same_set,
        check_global_generators_are_left_alone,
        check_pickle_and_clone,
        check_not_smaller_is_refused,
        check_fewer_clips_than_cpc_warns,
        check_bad_input_is_refused,
    ]
