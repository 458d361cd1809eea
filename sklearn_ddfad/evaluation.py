"""What a small set is worth: arrays in, a dictionary out; nothing is chosen on test data."""

from collections.abc import Mapping
from math import e, exp, inf, prod, sqrt
from numbers import Integral
from time import perf_counter

import numpy as np
from scipy.stats import t as student_t
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import ParameterGrid, train_test_split
from sklearn.utils import check_consistent_length, check_random_state, check_scalar, column_or_1d
from sklearn.utils.multiclass import unique_labels

from sklearn_ddfad._training import (
    NetworkClassifier,
    draw_seed,
    drawing_by,
    fit_on,
    fresh,
    network_classifier,
)
from sklearn_ddfad._validation import Rows, check_clips, from_torch, is_held_elsewhere
from sklearn_ddfad.base import in_batches
from sklearn_ddfad.distilled_set import DistilledSet
from sklearn_ddfad.knowledge_distillation import check_told, order_of_classes
from sklearn_ddfad.networks import VGG11, ConvNet, ResNet18

# ------------------------------------------------------------------------------------------
# How often is a network right that was trained on the set?
# ------------------------------------------------------------------------------------------


def evaluate(X, y, X_test, y_test, *, estimator=None, classes=None, n_repeats=5, random_state=0):
    """Train a fresh classifier on a set, again and again, and test it on real clips.

    Parameters
    ----------
    X : array-like of shape (n_clips, ...)
        Features of the set to be judged: distilled, selected or whole.
    y : array-like of shape (n_clips,) or (n_clips, n_classes)
        Its labels, or soft ones: probabilities, of which each row sums to 1.
        ``network_classifier()`` learns from them as they are, any other classifier by
        ``sample_weight``.
    X_test, y_test : array-like
        Features and labels of the clips to test on; those that are not in memory (a
        ``numpy.memmap``, ...) are read a few at a time.
    estimator : classifier or None, default=None
        The judge; ``None`` is ``network_classifier()``. Its ``random_state``, and those of its
        parts, are set anew for each repeat, where it has any.
    classes : array-like of shape (n_classes,) or None, default=None
        Labels that the columns of a soft `y` stand for; ``None`` is those in `y_test`, sorted.
    n_repeats : int, default=5
        How many are trained.
    random_state : int, RandomState or None, default=0
        Seeds the judges.

    Returns
    -------
    result : dict
        ``test_score`` (ndarray of shape ``(n_repeats,)``, fractions), ``mean``, ``std``,
        ``interval`` (of 95 %: :func:`accuracy_interval`), ``correct`` (ndarray of bool, shape
        ``(n_repeats, n_test)``: which judge was right about which clip), ``fit_time`` (ndarray,
        seconds), ``n_clips`` and ``n_stored`` (numbers in ``X``, and in a soft ``y``; of a set that
        decodes its clips from fewer, :func:`storage` tells how many).

    Raises
    ------
    ValueError
        Before any training, if labels do not fit the clips or each other, if soft ones are no
        probabilities, or the judge cannot learn from them.

    See Also
    --------
    compare : Whether two sets differ.

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
    y, y_test = np.asarray(from_torch(y)), np.asarray(from_torch(y_test))
    check_scalar(n_repeats, "n_repeats", Integral, min_val=1)
    y_test = column_or_1d(y_test, warn=True)
    columns = _check_labels(X, y, X_test, y_test, classes)
    rng = check_random_state(random_state)
    judge = network_classifier() if estimator is None else estimator
    correct, seconds = np.empty((n_repeats, len(y_test)), dtype=bool), np.empty(n_repeats)
    for i in range(n_repeats):
        classifier = fresh(judge, rng)
        with drawing_by(classifier, rng):
            started = perf_counter()
            fit_on(classifier, X, y, columns)
            seconds[i] = perf_counter() - started
            told = _asked(classifier.predict, X_test)
        correct[i] = (told if columns is None else columns[told]) == y_test
    scores = correct.mean(axis=1)
    return {
        "test_score": scores,
        "mean": float(scores.mean()),
        "std": float(scores.std()),
        "interval": accuracy_interval(correct),
        "correct": correct,
        "fit_time": seconds,
        "n_clips": len(X),
        "n_stored": _n_numbers(X) + (0 if columns is None else y.size),
    }


def _check_labels(X, y, X_test, y_test, classes):
    """Return the labels that columns of a soft `y` stand for, or None for a hard one."""
    check_consistent_length(X, y)
    check_consistent_length(X_test, y_test)
    if y.ndim < 2:
        unique_labels(y, y_test)  # refuses to mix strings and numbers
        return None
    columns = np.unique(y_test) if classes is None else np.asarray(classes)
    if len(columns) != y.shape[1]:
        msg = (
            f"the soft labels have {y.shape[1]} columns, and there are {len(columns)} classes; "
            "give the labels that the columns stand for as classes=."
        )
        raise ValueError(msg)
    unique_labels(columns, y_test)
    return columns


def _asked(method, X):
    """Return what `method` answers to all clips, without holding whole what is not in memory."""
    return in_batches(method, Rows(X)) if is_held_elsewhere(X) else method(X)


def accuracy_interval(correct):
    """Return the 95 % interval of an accuracy that was measured by few judges on few clips.

    Other judges would score otherwise, and so would these on other clips. With :math:`R` judges,
    :math:`T` clips and the mean accuracy :math:`p`, the variance of :math:`p` is taken to be

    .. math:: v = s^2 / R + c^2 / T ,

    where :math:`s^2` is the variance of the judges' accuracies (0 for a single one, whose spread is
    not known: the interval is then for this judge alone), and :math:`c^2` the variance over clips
    of the share of judges that are right about a clip. As many independent answers as have this
    variance, :math:`n = p (1 - p) / v`, at most :math:`R T`, give Wilson's interval [1]_, which
    stays within 0 and 1. Its quantile is Student's, since judges are few. For a single judge
    :math:`n = T`: it is the interval of a binomial share.

    Parameters
    ----------
    correct : array-like of bool, shape (n_repeats, n_test) or (n_test,)
        Which judge was right about which clip, as in the result of :func:`evaluate`.

    Returns
    -------
    low, high : float
        Fractions.

    References
    ----------
    .. [1] E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
       Journal of the American Statistical Association, 1927.

    Examples
    --------
    >>> from sklearn_ddfad import accuracy_interval
    >>> low, high = accuracy_interval([True] * 270 + [False] * 30)  # 90 % of 300 clips
    >>> round(low, 3), round(high, 3)
    (0.861, 0.929)
    """
    correct = np.atleast_2d(np.asarray(correct, dtype=float))
    mean, n = correct.mean(), correct.shape[1]
    single = mean * (1 - mean)
    variance, z = _variance_and_quantile(correct.mean(axis=0), correct)
    if single > 0:
        n = single / max(variance, single / correct.size)
    centre = (mean + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * sqrt(single / n + (z / (2 * n)) ** 2) / (1 + z**2 / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def _variance_and_quantile(values, *panels):
    """Return the variance of the mean of one value a clip, and how many deviations hold 95 %.

    To the variance over clips comes that over the judges of each panel, of whom there are few:
    Student's distribution, with the degrees of freedom of Welch and Satterthwaite, allows for it.
    """
    variance, doubt = values.var() / len(values), 0.0
    for correct in panels:
        n_judges = len(correct)
        if n_judges > 1:
            part = correct.mean(axis=1).var(ddof=1) / n_judges
            variance, doubt = variance + part, doubt + part**2 / (n_judges - 1)
    freedom = variance**2 / doubt if doubt > 0 else inf
    return float(variance), float(student_t.ppf(0.975, freedom))


def compare(first, second):
    """Tell whether two sets that were tested on the same clips differ.

    Both meet the same easy and hard clips, so that their difference is known better than either
    accuracy: two intervals may overlap, and the difference be real. Its variance is that of the
    difference, clip by clip, of the shares of judges that are right, plus the judges' own, as in
    :func:`accuracy_interval`. Two clips more, one that only the first is right about and one that
    only the second is, keep a handful of clips from looking like proof: with a single judge each,
    the verdict is nearly that of McNemar's exact test.

    Parameters
    ----------
    first, second : dict
        Results of :func:`evaluate` with the same ``X_test`` and ``y_test``.

    Returns
    -------
    result : dict
        ``difference`` (of the mean accuracies, first minus second), ``interval`` (of 95 %),
        ``significant`` (whether the interval leaves out 0).

    Raises
    ------
    ValueError
        If they were tested on different numbers of clips.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ddfad import compare
    >>> right = np.arange(300) < 240
    >>> better = {"correct": (right | (np.arange(300) >= 285))[None]}  # 15 clips more
    >>> result = compare(better, {"correct": right[None]})
    >>> round(result["difference"], 3), result["significant"]
    (0.05, True)
    """
    ours, theirs = (np.asarray(result["correct"], dtype=float) for result in (first, second))
    if ours.shape[1] != theirs.shape[1]:
        msg = (
            f"the first was tested on {ours.shape[1]} clips, the second on {theirs.shape[1]}; only "
            "results on the same clips can be compared."
        )
        raise ValueError(msg)
    differences = ours.mean(axis=0) - theirs.mean(axis=0)
    cautious = np.append(differences, [1, -1])
    variance, z = _variance_and_quantile(cautious, ours, theirs)
    half = z * sqrt(variance)
    low, high = float(cautious.mean() - half), float(cautious.mean() + half)
    return {
        "difference": float(differences.mean()),
        "interval": (low, high),
        "significant": low > 0 or high < 0,
    }


def cross_architecture(X, y, X_test, y_test, *, estimators=None, **options):
    """Judge a set by several architectures, as Table 2 of the DDFAD paper does [1]_.

    Parameters
    ----------
    X, y, X_test, y_test : array-like
        As in :func:`evaluate`.
    estimators : dict, list or None, default=None
        Classifiers by name, or networks: names or callables, as ``network_classifier`` takes them.
        ``None`` is ``[ConvNet, ResNet18, VGG11]``.
    **options : dict
        Passed to :func:`evaluate`: ``classes``, ``n_repeats``, ``random_state``.

    Returns
    -------
    results : dict
        From name to what :func:`evaluate` returns. ``pandas.DataFrame(results).T`` is a table with
        a row for each.

    References
    ----------
    .. [1] W. Jiang et al., "DDFAD: Dataset distillation framework for audio data", 2024,
       section 4.3.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn_ddfad import cross_architecture
    >>> X, y = np.arange(20.0).reshape(10, 2), np.repeat([0, 1], 5)
    >>> judges = {"bayes": GaussianNB(), "neighbour": KNeighborsClassifier(1)}
    >>> results = cross_architecture(X[::2], y[::2], X, y, estimators=judges)
    >>> {name: result["mean"] for name, result in results.items()}
    {'bayes': 0.9, 'neighbour': 0.9}
    """
    if not isinstance(estimators, Mapping):
        networks = [ConvNet, ResNet18, VGG11] if estimators is None else list(estimators)
        names = [getattr(network, "__name__", str(network)) for network in networks]
        if len(set(names)) < len(names):
            msg = f"several of the networks are called alike: {names}; give a dict with names."
            raise ValueError(msg)
        estimators = dict(zip(names, map(network_classifier, networks), strict=True))
    return {
        name: evaluate(X, y, X_test, y_test, estimator=estimator, **options)
        for name, estimator in estimators.items()
    }


# ------------------------------------------------------------------------------------------
# Noise
# ------------------------------------------------------------------------------------------


def add_noise(waveforms, snr_db, random_state=0):
    """Add white Gaussian noise to recordings, so many decibels below the level of each.

    Parameters
    ----------
    waveforms : list of 1-D arrays, 2-D array or list of paths
        The recordings, as extractors take them.
    snr_db : float
        The noise's mean power over a clip is ``10 ** (-snr_db / 10)`` times the clip's own; with
        infinity there is none. A silent clip stays silent.
    random_state : int, RandomState or None, default=0
        Draws the noise; an integer draws the same for every `snr_db`, but for its level.

    Returns
    -------
    noisy : list of ndarray of float32
        Of the lengths that the recordings have.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ddfad import add_noise
    >>> tone = np.sin(np.arange(800, dtype="float32"))
    >>> [noisy] = add_noise([tone], snr_db=20)
    >>> power, power_of_noise = np.square(tone).mean(), np.square(noisy - tone).mean()
    >>> round(float(10 * np.log10(power / power_of_noise)), 3)
    20.0
    """
    clips = check_clips(BaseEstimator(), waveforms)
    rng = check_random_state(random_state)
    return [_noisy(clips[i], snr_db, rng) for i in range(len(clips))]


def _noisy(clip, snr_db, rng):
    noise = rng.standard_normal(len(clip))
    level = np.linalg.norm(clip.astype(np.float64)) / np.linalg.norm(noise)
    return (clip + level * 10 ** (-snr_db / 20) * noise).astype(np.float32)


def noise_robustness(
    waveforms, y, X_test, y_test, *, extractor, snr_db=(40, 30, 20, 10), random_state=0, **options
):
    """Judge a set whose waveforms were made noisy, as Fig. 7 of the DDFAD paper does [1]_.

    Noise is added to the clips that are trained on, never to those of the test. The same draw is
    scaled for all levels, and all are judged from the same seeds, so that the curve is smooth.

    Parameters
    ----------
    waveforms : list of 1-D arrays, 2-D array or list of paths
        The set as sound: ``distilled.to_audio()``, or recordings.
    y : array-like of shape (n_clips,) or (n_clips, n_classes)
        Its labels, hard or soft.
    X_test, y_test : array-like
        Features and labels of the clips to test on, as the extractor gives them.
    extractor : FDMFCC or a sister, fitted
        Hears the noisy clips.
    snr_db : float or sequence of float, default=(40, 30, 20, 10)
        Levels of the noise, in dB below each clip's own: see :func:`add_noise`.
    random_state : int, RandomState or None, default=0
        Draws the noise, and seeds the judges.
    **options : dict
        Passed to :func:`evaluate`: ``estimator``, ``classes``, ``n_repeats``.

    Returns
    -------
    results : dict
        From level, in dB, to what :func:`evaluate` returns. The first level is infinity, the clean
        sound heard again. ``pandas.DataFrame(results).T`` is a table with a row for each, and
        ``compare(results[20], results[numpy.inf])`` tells whether noise changes anything.

    References
    ----------
    .. [1] W. Jiang et al., "DDFAD: Dataset distillation framework for audio data", 2024,
       section 4.7.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_ddfad import FDMFCC, make_audio_classification, noise_robustness
    >>> clips, labels = make_audio_classification(40, n_classes=2, random_state=0)
    >>> extractor = FDMFCC(duration=0.3, layout="flat").fit(clips)
    >>> test = extractor.transform(clips[20:]), labels[20:]
    >>> judged_by = {"extractor": extractor, "estimator": GaussianNB(), "n_repeats": 1}
    >>> list(noise_robustness(clips[:20], labels[:20], *test, snr_db=[40, 20], **judged_by))
    [inf, 40.0, 20.0]
    """
    rng = check_random_state(random_state)
    seed_of_noise, seed_of_judges = draw_seed(rng), draw_seed(rng)

    def judged(level):
        X = extractor.transform(add_noise(waveforms, level, seed_of_noise))
        return evaluate(X, y, X_test, y_test, random_state=seed_of_judges, **options)

    return {level: judged(level) for level in [np.inf, *map(float, np.ravel(snr_db))]}


# ------------------------------------------------------------------------------------------
# What a set costs, and what its labels are worth
# ------------------------------------------------------------------------------------------


def storage(distilled, X=None):
    """Count what a set is kept in.

    Parameters
    ----------
    distilled : DistilledSet or array-like of shape (n_clips, ...)
        The set, or its features, or recordings of any lengths.
    X : array-like of shape (n_clips, ...) or None, default=None
        Features, or recordings, of the whole set that it stands for.

    Returns
    -------
    result : dict
        ``n_clips``; ``n_stored``, the numbers kept, those of soft labels among them; ``bytes``,
        4 for each number (hard labels are not counted); and, where `X` is given, ``compression``:
        how many times more numbers there are in `X`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ddfad import storage
    >>> storage(np.zeros((10, 3, 16, 41)), np.zeros((2700, 3, 16, 41)))
    {'n_clips': 10, 'n_stored': 19680, 'bytes': 78720, 'compression': 270.0}
    """
    is_set = isinstance(distilled, DistilledSet)
    n_stored = distilled.n_stored if is_set else _n_numbers(distilled)
    result = {
        "n_clips": distilled.n_clips if is_set else len(distilled),
        "n_stored": n_stored,
        "bytes": 4 * n_stored,
    }
    return result if X is None else {**result, "compression": _n_numbers(X) / n_stored}


def _n_numbers(X):
    """Count the numbers of an array, which is not read for that, or of clips of any lengths."""
    return prod(X.shape) if hasattr(X, "shape") else sum(map(np.size, X))


def teach(X, y, X_small, *, estimator=None, temperature=1.0, random_state=0):
    """Return soft labels of clips, told by a classifier that was trained on the real data.

    Random clips with such labels are hard to beat [1]_: whoever reports soft labels should report
    them, too.

    Parameters
    ----------
    X : array-like of shape (n_clips, ...)
        Features of the real clips.
    y : array-like of shape (n_clips,)
        Their labels.
    X_small : array-like of shape (n_small, ...)
        Features of the clips to be labelled.
    estimator : classifier or None, default=None
        The teacher, with ``predict_proba``; ``None`` is ``network_classifier()``.
    temperature : float, default=1.0
        Above 1 softens the probabilities ``p`` to ``p ** (1 / temperature)``, normalised; below 1
        it hardens them.
    random_state : int, RandomState or None, default=0
        Seeds the teacher.

    Returns
    -------
    soft_labels : ndarray of float32, shape (n_small, n_classes)
        Columns in the order of the sorted labels in `y`.

    Raises
    ------
    ValueError
        If the clips are not alike, the teacher tells no probabilities, or it knows other classes.

    References
    ----------
    .. [1] T. Qin, Z. Deng and D. Alvarez-Melis, "A label is worth a thousand images in dataset
       distillation", NeurIPS, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_ddfad import teach
    >>> X, y = np.arange(20.0).reshape(10, 2), np.repeat(["high", "low"], 5)
    >>> teach(X, y, X[[0, 9]], estimator=GaussianNB()).round(2)
    array([[1., 0.], [0., 1.]], dtype=float32)
    """
    teacher = network_classifier() if estimator is None else estimator
    if not hasattr(teacher, "predict_proba"):
        msg = f"{type(teacher).__name__} tells no probabilities; teach by one with predict_proba."
        raise ValueError(msg)
    if not temperature > 0:
        msg = f"temperature={temperature!r} must be above 0; 1 leaves the probabilities as told."
        raise ValueError(msg)
    X, X_small = from_torch(X), from_torch(X_small)
    _check_like(X, X_small)
    rng = check_random_state(random_state)
    teacher = fresh(teacher, rng)
    with drawing_by(teacher, rng):
        teacher.fit(X, from_torch(y))
        P = np.asarray(_asked(teacher.predict_proba, X_small), dtype=np.float64)
    check_told(P, type(teacher).__name__)
    P = P[:, order_of_classes(teacher, np.unique(from_torch(y)), P.shape[1])]
    P = (P / P.max(axis=1, keepdims=True)) ** (1 / temperature)
    return (P / P.sum(axis=1, keepdims=True)).astype(np.float32)


def _check_like(X, X_small):
    """Refuse what a teacher that learns `X` could not be asked about."""
    if isinstance(X_small, DistilledSet):
        msg = "expected clips, got a DistilledSet; its clips are few.X."
        raise TypeError(msg)
    if not len(X_small):
        msg = "X_small is empty; give clips to label."
        raise ValueError(msg)
    shapes = [clips.shape[1:] for clips in (X, X_small) if hasattr(clips, "shape")]
    if len(shapes) == 2 and shapes[0] != shapes[1]:
        msg = f"clips of X_small are of shape {shapes[1]}, those of X of {shapes[0]}; give alike."
        raise ValueError(msg)


# ------------------------------------------------------------------------------------------
# DD-Ranking: what of it is due to labels and augmentation?
# ------------------------------------------------------------------------------------------


def label_robust_score(acc_real_hard, acc_syn_hard, acc_syn_any, acc_random_any, *, weight=0.5):
    """Return the label-robust score of DD-Ranking, LRS [1]_.

    With hard label recovery ``HLR = acc_real_hard - acc_syn_hard``, improvement over random
    ``IOR = acc_syn_any - acc_random_any``, and ``a = weight * IOR - (1 - weight) * HLR``, it is
    ``(exp(a) - exp(-1)) / (exp(1) - exp(-1))``: 1 at best, 0 at worst, 0.27 where ``a`` is 0.

    Parameters
    ----------
    acc_real_hard, acc_syn_hard : float in [0, 1]
        Accuracy after training on the whole real set, and on the distilled one with hard labels.
    acc_syn_any, acc_random_any : float in [0, 1]
        Accuracy after training on the distilled set with its own labels, hard or soft, and on
        as many random clips with labels of that kind.
    weight : float in [0, 1], default=0.5
        Of IOR.

    Returns
    -------
    score : float in [0, 1]

    Raises
    ------
    ValueError
        If an accuracy is no fraction: of percent, ``exp`` makes nonsense.

    References
    ----------
    .. [1] Z. Li et al., "DD-Ranking: Rethinking the evaluation of dataset distillation",
       arXiv:2505.13300, 2025.

    Examples
    --------
    >>> from sklearn_ddfad import label_robust_score
    >>> round(label_robust_score(0.98, 0.80, 0.80, 0.70), 3)
    0.252
    """
    _check_fractions(
        acc_real_hard=acc_real_hard,
        acc_syn_hard=acc_syn_hard,
        acc_syn_any=acc_syn_any,
        acc_random_any=acc_random_any,
        weight=weight,
    )
    recovery, improvement = acc_real_hard - acc_syn_hard, acc_syn_any - acc_random_any
    return _normalized(weight * improvement - (1 - weight) * recovery)


def augmentation_robust_score(
    acc_syn_aug, acc_random_aug, acc_syn_plain, acc_random_plain, *, weight=0.5
):
    """Return the augmentation-robust score of DD-Ranking, ARS [1]_.

    With ``b = weight * (acc_syn_aug - acc_random_aug) + (1 - weight) * (acc_syn_plain -
    acc_random_plain)``, it is ``(exp(b) - exp(-1)) / (exp(1) - exp(-1))``: 1 at best, 0 at worst.

    Parameters
    ----------
    acc_syn_aug, acc_random_aug : float in [0, 1]
        Accuracy after training, with augmentation, on the distilled set and on random clips.
    acc_syn_plain, acc_random_plain : float in [0, 1]
        The same without augmentation.
    weight : float in [0, 1], default=0.5
        Of the difference with augmentation.

    Returns
    -------
    score : float in [0, 1]

    Raises
    ------
    ValueError
        If an accuracy is no fraction.

    References
    ----------
    .. [1] Z. Li et al., "DD-Ranking: Rethinking the evaluation of dataset distillation",
       arXiv:2505.13300, 2025.

    Examples
    --------
    >>> from sklearn_ddfad import augmentation_robust_score
    >>> round(augmentation_robust_score(0.80, 0.70, 0.75, 0.60), 3)
    0.326
    """
    _check_fractions(
        acc_syn_aug=acc_syn_aug,
        acc_random_aug=acc_random_aug,
        acc_syn_plain=acc_syn_plain,
        acc_random_plain=acc_random_plain,
        weight=weight,
    )
    augmented, plain = acc_syn_aug - acc_random_aug, acc_syn_plain - acc_random_plain
    return _normalized(weight * augmented + (1 - weight) * plain)


def _normalized(exponent):
    """Bring what lies in [-1, 1] to [0, 1], as DD-Ranking does."""
    return (exp(exponent) - 1 / e) / (e - 1 / e)


def _check_fractions(**values):
    for name, value in values.items():
        if not 0 <= value <= 1:
            msg = f"{name}={value!r} is no fraction of 1; divide percent by 100."
            raise ValueError(msg)


def dd_ranking(
    distilled,
    X,
    y,
    X_test,
    y_test,
    *,
    estimator=None,
    param_grid="auto",
    validation_fraction=0.2,
    weight=0.5,
    n_repeats=5,
    random_state=0,
):
    """Measure what the scores of DD-Ranking are made of, and return them [1]_.

    A distilled set is held against the whole real one and against random clips, as many of each
    class, which have labels of the same kind: those of a soft set are told by a classifier trained
    on the real clips (:func:`teach`). For each of the sets, with augmentation and without, the
    parameters of the judge are chosen by one rule: which do best on validation clips, a part of the
    real training data that neither the whole set nor the random ones learn from meanwhile (the
    distilled set and the teacher know all of it). Test clips are only ever tested on.

    Parameters
    ----------
    distilled : DistilledSet
        What is to be scored, with hard labels or with both.
    X : array-like of shape (n_clips, ...)
        Features of the real clips that it was made from.
    y : array-like of shape (n_clips,)
        Their labels.
    X_test, y_test : array-like
        Features and labels of the clips to test on.
    estimator : classifier or None, default=None
        The judge, and the teacher; ``None`` is ``network_classifier()``. One without the parameter
        ``augmentation`` gives no augmentation-robust score.
    param_grid : "auto", dict, list of dict or None, default="auto"
        What to choose from, as for ``GridSearchCV``; ``"auto"`` is the step size of
        ``network_classifier`` (``{"lr": [0.03, 0.1, 0.3]}``), and nothing for any other judge.
    validation_fraction : float, default=0.2
        Part of `X`, of each class, to choose on.
    weight : float in [0, 1], default=0.5
        See :func:`label_robust_score` and :func:`augmentation_robust_score`.
    n_repeats : int, default=5
        Judges of each set; each random one is drawn anew.
    random_state : int, RandomState or None, default=0
        Seeds the split, the random sets and the judges.

    Returns
    -------
    result : dict
        ``LRS`` and what it is made of, ``HLR``, ``IOR``, ``acc_real_hard``, ``acc_syn_hard``,
        ``acc_syn_any``, ``acc_random_any``; ``ARS`` and ``acc_syn_plain``, ``acc_random_plain``,
        where the judge augments; ``test_score``, for each set the accuracies behind the mean
        (ndarray of shape ``(n_repeats,)``); ``params``, for each set what was chosen. Accuracies
        are fractions.

    References
    ----------
    .. [1] Z. Li et al., "DD-Ranking: Rethinking the evaluation of dataset distillation",
       arXiv:2505.13300, 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_ddfad import DistilledSet, dd_ranking
    >>> X, y = np.arange(40.0).reshape(20, 2), np.repeat([0, 1], 10)
    >>> distilled = DistilledSet(X[[4, 6, 13, 15]], y[[4, 6, 13, 15]])
    >>> result = dd_ranking(distilled, X, y, X, y, estimator=GaussianNB())
    >>> result["HLR"], result["IOR"] >= 0
    (0.0, True)
    """
    X, y = np.asarray(from_torch(X)), np.asarray(from_torch(y))
    _check_fractions(weight=weight)
    _check_known(distilled.y, y)
    judge = network_classifier() if estimator is None else estimator
    if param_grid == "auto":
        param_grid = {"lr": [0.03, 0.1, 0.3]} if isinstance(judge, NetworkClassifier) else None
    rng = check_random_state(random_state)
    learn, validation = train_test_split(
        np.arange(len(y)), test_size=validation_fraction, stratify=y, random_state=draw_seed(rng)
    )
    seeds = [draw_seed(rng) for _ in range(n_repeats)]
    picked = [_pick_like(distilled.y, y, learn, rng) for _ in seeds]

    synthetic = [(distilled.X, distilled.targets)] * n_repeats
    referee = _Referee(param_grid, (X[validation], y[validation]), (X_test, y_test), y, seeds)
    referee.judge("syn_any", judge, synthetic)
    referee.judge("syn_hard", judge, [(distilled.X, distilled.y)] * n_repeats)
    whole = referee.judge("real_hard", judge, [(X, y)] * n_repeats, trial=(X[learn], y[learn]))
    random = [(X[i], y[i]) for i in picked]
    if distilled.soft_labels is not None:
        told = teach(X, y, X[np.concatenate(picked)], estimator=whole, random_state=rng)
        random = [(X[i], P) for i, P in zip(picked, np.split(told, n_repeats), strict=True)]
    referee.judge("random_any", judge, random)
    if "augmentation" in judge.get_params():
        plain = clone(judge).set_params(augmentation=None)
        referee.judge("syn_plain", plain, synthetic)
        referee.judge("random_plain", plain, random)
    return referee.verdict(weight)


def _check_known(y_small, y):
    unknown = np.setdiff1d(y_small, y)
    if len(unknown):
        msg = f"the distilled set has labels that the real clips have not: {unknown.tolist()}."
        raise ValueError(msg)


def _pick_like(y_small, y, among, rng):
    """Return indices of random clips, as many of each label as `y_small` has."""
    picked = []
    for label, count in zip(*np.unique(y_small, return_counts=True), strict=True):
        members = among[y[among] == label]
        picked.append(rng.choice(members, count, replace=count > len(members)))
    return np.concatenate(picked)


class _Referee:
    """Judges all sets by one rule: parameters are chosen on validation clips, for each set."""

    def __init__(self, param_grid, validation, test, y, seeds):
        self._grid = list(ParameterGrid(param_grid or {}))
        self._validation, self._test = validation, test
        self._classes, self._seeds = np.unique(y), seeds
        self._params, self._scores = {}, {}

    def judge(self, name, judge, sets, trial=None):
        """Test one judge on each of the sets, with what is best after training on `trial`.

        Without a trial the first of the sets is taken. Returns the judge as it was chosen.
        """
        candidates = [clone(judge).set_params(**parameters) for parameters in self._grid]
        best = 0
        if len(candidates) > 1:
            trial, seed = trial or sets[0], self._seeds[0]
            scores = [self._score(c, trial, self._validation, seed) for c in candidates]
            best = int(np.argmax(scores))
        self._params[name] = self._grid[best]
        self._scores[name] = np.array(
            [
                self._score(candidates[best], small, self._test, seed)
                for small, seed in zip(sets, self._seeds, strict=True)
            ]
        )
        return candidates[best]

    def _score(self, judge, small, clips, seed):
        options = {"classes": self._classes, "n_repeats": 1, "random_state": seed}
        return evaluate(*small, *clips, estimator=judge, **options)["mean"]

    def verdict(self, weight):
        """Return the result of :func:`dd_ranking`."""
        acc = {f"acc_{name}": float(scores.mean()) for name, scores in self._scores.items()}
        of_labels = [acc[f"acc_{n}"] for n in ("real_hard", "syn_hard", "syn_any", "random_any")]
        result = {
            "LRS": label_robust_score(*of_labels, weight=weight),
            "HLR": acc["acc_real_hard"] - acc["acc_syn_hard"],
            "IOR": acc["acc_syn_any"] - acc["acc_random_any"],
        }
        if "acc_syn_plain" in acc:
            names = ("syn_any", "random_any", "syn_plain", "random_plain")
            of_augmentation = [acc[f"acc_{name}"] for name in names]
            result["ARS"] = augmentation_robust_score(*of_augmentation, weight=weight)
        return {**result, **acc, "test_score": self._scores, "params": self._params}
