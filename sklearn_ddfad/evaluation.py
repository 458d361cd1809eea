"""What a small set is worth: arrays in, a dictionary out; nothing is chosen here."""

from math import prod
from time import perf_counter

import numpy as np
from sklearn.base import clone
from sklearn.metrics import accuracy_score
from sklearn.utils import check_random_state

from sklearn_ddfad._training import draw_seed, network_classifier
from sklearn_ddfad._validation import Rows, from_torch, is_held_elsewhere
from sklearn_ddfad.base import in_batches


def evaluate(X, y, X_test, y_test, *, estimator=None, n_repeats=5, random_state=0):
    """Train a fresh classifier on a set, again and again, and test it on real clips.

    Parameters
    ----------
    X : array-like of shape (n_clips, ...)
        Features of the set to be judged: distilled, selected or whole.
    y : array-like of shape (n_clips,)
        Its labels.
    X_test, y_test : array-like
        Features and labels of the clips to test on; those that are not in memory (a
        ``numpy.memmap``, ...) are read a few at a time.
    estimator : classifier or None, default=None
        The judge; ``None`` is ``network_classifier()``. Its ``random_state`` is set anew for each
        repeat, where it has one.
    n_repeats : int, default=5
        How many are trained.
    random_state : int, RandomState or None, default=0
        Seeds the judges.

    Returns
    -------
    result : dict
        ``test_score`` (ndarray of shape ``(n_repeats,)``, fractions), ``mean``, ``std``,
        ``fit_time`` (ndarray, seconds), ``n_clips`` and ``n_stored`` (numbers in ``X``).

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_ddfad import evaluate
    >>> X, y = np.arange(20.0).reshape(10, 2), np.repeat([0, 1], 5)
    >>> result = evaluate(X[::2], y[::2], X, y, estimator=GaussianNB(), n_repeats=2)
    >>> result["mean"], result["std"], result["n_stored"]
    (0.9, 0.0, 10)
    """
    X, X_test = from_torch(X), from_torch(X_test)
    rng = check_random_state(random_state)
    judge = network_classifier() if estimator is None else estimator
    scores, seconds = np.empty(n_repeats), np.empty(n_repeats)
    for i in range(n_repeats):
        fresh = clone(judge)
        if "random_state" in fresh.get_params():
            fresh.set_params(random_state=draw_seed(rng))
        started = perf_counter()
        fresh.fit(X, y)
        seconds[i] = perf_counter() - started
        scores[i] = _score(fresh, X_test, y_test)
    return {
        "test_score": scores,
        "mean": float(scores.mean()),
        "std": float(scores.std()),
        "fit_time": seconds,
        "n_clips": len(X),
        "n_stored": prod(np.shape(X)),
    }


def _score(classifier, X, y):
    """Return the share of clips whose label is told rightly, without holding `X` whole."""
    if not is_held_elsewhere(X):
        return classifier.score(X, y)
    return accuracy_score(y, in_batches(classifier.predict, Rows(X)))
