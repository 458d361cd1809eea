"""Which network is best, told by a small set: candidates are trained on it instead of all clips."""

import json
from collections.abc import Callable, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from inspect import signature
from itertools import product
from math import ceil
from numbers import Integral, Real
from os import PathLike
from shutil import rmtree
from time import perf_counter

import numpy as np
from scipy.stats import kendalltau, rankdata, spearmanr
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import FitFailedWarning
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import get_scorer, get_scorer_names
from sklearn.utils import check_consistent_length, check_random_state, check_scalar
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet
from tqdm import tqdm

from sklearn_ddfad._training import (
    NetworkClassifier,
    draw_seed,
    drawing_by,
    fit_on,
    fresh,
    in_workers,
    is_skorchs_own,
    isolated_rng,
    network_classifier,
)
from sklearn_ddfad._validation import (
    Interval,
    Rows,
    StrOptions,
    check_features,
    check_labels,
    fit_context,
)
from sklearn_ddfad._version import __version__
from sklearn_ddfad._warnings import warn
from sklearn_ddfad.base import BaseReducer, forget, hold_out, in_batches
from sklearn_ddfad.datasets._files import whole_or_nothing
from sklearn_ddfad.distillation import TrajectoryDistiller
from sklearn_ddfad.distillation._checkpoint import FREE, Checkpoint, fingerprint
from sklearn_ddfad.distilled_set import DistilledSet
from sklearn_ddfad.networks import NETWORKS, ConvNet

_GRID = {
    "depth": (1, 2, 3, 4),
    "width": (32, 64, 128, 256),
    "activation": ("sigmoid", "relu", "leaky_relu"),
    "normalization": ("none", "batch", "layer", "instance", "group"),
    "pooling": ("none", "max", "avg"),
}
_SMALL_STEPS = {"n_steps": 400, "batch_size": 10, "lr": 0.05}  # 20 epochs of 200 clips
_SHORT = 10  # early stopping takes one epoch in so many

# ------------------------------------------------------------------------------------------
# Candidates, and how well two ways to rank them agree
# ------------------------------------------------------------------------------------------


def convnet_space(n=None, *, max_width=256, random_state=None):
    """Return the 720 ConvNets of the DDFAD paper, or some of them.

    All combinations [1]_ of depth (1, 2, 3, 4), width (32, 64, 128, 256), activation (sigmoid,
    ReLU, leaky ReLU), normalisation (none, batch, layer, instance, group) and pooling (none, max,
    avg).

    Parameters
    ----------
    n : int or None, default=None
        How many to draw at random, each at most once; ``None`` is all of them, in order.
    max_width : int, default=256
        Wider ones are left out.
    random_state : int, RandomState or None, default=None
        Seeds the draw.

    Returns
    -------
    space : list of dict
        Options of :class:`ConvNet`.

    Raises
    ------
    ValueError
        If there are fewer than `n`.

    References
    ----------
    .. [1] W. Jiang et al., "DDFAD: Dataset distillation framework for audio data", 2024,
       section 5.2, after B. Zhao, K. R. Mopuri, H. Bilen, "Dataset condensation with gradient
       matching", ICLR, 2021.

    Examples
    --------
    >>> from sklearn_ddfad import convnet_space
    >>> len(convnet_space()), len(convnet_space(max_width=64))
    (720, 360)
    >>> convnet_space()[0]
    {'depth': 1, 'width': 32, 'activation': 'sigmoid', 'normalization': 'none', 'pooling': 'none'}
    """
    space = [dict(zip(_GRID, values, strict=True)) for values in product(*_GRID.values())]
    space = [options for options in space if options["width"] <= max_width]
    if n is None:
        return space
    if not 0 < n <= len(space):
        msg = f"n={n} networks were asked for, of {len(space)} no wider than {max_width}."
        raise ValueError(msg)
    drawn = check_random_state(random_state).choice(len(space), n, replace=False)
    return [space[i] for i in drawn]


def rank_agreement(scores, truth, *, top=0.05, n_bootstrap=1000, random_state=0):
    """Tell how well scores on a proxy rank candidates, against those of training on all clips.

    Parameters
    ----------
    scores : array-like of shape (n_candidates,)
        What they score after training on a proxy, accuracy or any other of which more is better:
        ``search.results_["score"]``. NaN, of one that could not be trained, counts as 0, or as the
        worst of the others if that is less.
    truth : array-like of shape (n_candidates,)
        What the same candidates score after training on all clips.
    top : float, default=0.05
        The share of candidates, best by `truth`, rounded up, that count as the top.
    n_bootstrap : int, default=1000
        Samples of candidates, drawn with replacement, that intervals are told from.
    random_state : int, RandomState or None, default=0
        Draws them.

    Returns
    -------
    result : dict
        ``n`` and ``n_top``; the rank correlations ``spearman`` and ``kendall`` (tau-b, which allows
        for ties) over all, ``spearman_top`` and ``kendall_top`` over the top; ``regret``, how much
        lower the truth of the candidate that scores best has than the truly best. A correlation is
        NaN where all are alike on either side. And the interval of 95 % of each, the percentiles
        over the samples that it is defined for: ``spearman_interval``, ...

    Raises
    ------
    ValueError
        If the numbers of candidates differ, there are fewer than two, or `top` is no fraction.

    Notes
    -----
    Over the top few the range of the truth is narrow, and most of what differs is chance: mind the
    interval.

    Examples
    --------
    >>> from sklearn_ddfad import rank_agreement
    >>> result = rank_agreement([0.3, 0.5, 0.4, 0.6], [0.8, 0.9, 0.95, 0.94], n_bootstrap=100)
    >>> round(result["spearman"], 3), round(result["regret"], 3)
    (0.4, 0.01)
    """
    check_scalar(top, "top", Real, min_val=0, max_val=1, include_boundaries="right")
    scores, truth = (_ranked_last(np.asarray(values, dtype=float)) for values in (scores, truth))
    check_consistent_length(scores, truth)
    if len(scores) < 2:
        msg = f"there is nothing to rank: {len(scores)} candidate; give two or more."
        raise ValueError(msg)
    best = np.argsort(-truth, kind="stable")[: ceil(round(top * len(truth), 9))]
    everything = slice(None)
    measures = {
        "spearman": (_spearman, everything),
        "kendall": (_kendall, everything),
        "spearman_top": (_spearman, best),
        "kendall_top": (_kendall, best),
        "regret": (_regret, everything),
    }
    rng = check_random_state(random_state)
    result: dict = {"n": len(truth), "n_top": len(best)}
    for name, (measure, which) in measures.items():
        pair = scores[which], truth[which]
        result[name] = float(measure(*pair))
        result[f"{name}_interval"] = _interval(measure, *pair, n_bootstrap, rng)
    return result


def _ranked_last(values):
    """Return scores in which what failed counts as 0, or as the worst where that is less."""
    return np.nan_to_num(values, nan=np.nanmin(values, initial=0))


def _spearman(scores, truth):
    return np.nan if _is_constant(scores, truth) else spearmanr(scores, truth).statistic


def _kendall(scores, truth):
    return np.nan if _is_constant(scores, truth) else kendalltau(scores, truth).statistic


def _regret(scores, truth):
    return truth.max() - truth[scores.argmax()]


def _is_constant(*arrays):
    return any(np.ptp(array) == 0 for array in arrays)


def _interval(measure, scores, truth, n_bootstrap, rng):
    """Return what 95 % of the samples lie between, of those that the measure is defined for."""
    samples = rng.randint(len(scores), size=(n_bootstrap, len(scores)))
    values = np.array([measure(scores[sample], truth[sample]) for sample in samples])
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


# ------------------------------------------------------------------------------------------
# The search
# ------------------------------------------------------------------------------------------


def _best_has(method):
    """Return what tells whether the best candidate does; before there is one, it is taken to."""

    def tell(search):
        best = vars(search).get("best_estimator_")
        return best is None or hasattr(best, method)

    return tell


class ArchitectureSearch(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Find the best of many networks without training each of them on all clips.

    A small set is made once, each candidate is trained on it and tested on real clips that the set
    was not made of [1]_. The best is then trained on all clips.

    Parameters
    ----------
    space : list, dict or None, default=None
        Candidates, in a dict by name. Each is a dict of options of :class:`ConvNet`, another
        network as ``network_classifier`` takes it (a name, a module class, a callable), or any
        classifier.
        ``None`` is ``convnet_space()``, the 720 of the paper.
    proxy : distiller, selector, DistilledSet, {"early_stopping", "whole"} or None, default=None
        What candidates are trained on. A distiller or selector makes a set of the training part;
        its own ``estimator`` is put aside. ``"early_stopping"`` is the whole training part for a
        tenth of the epochs, for networks and other skorch classifiers; ``"whole"`` is all of it to
        the end, which is no proxy, but the truth that proxies are measured by. ``None`` is
        ``TrajectoryDistiller(cpc=20)``.
    estimator : NetworkClassifier or None, default=None
        What trains candidates that are networks: ``network_classifier(...)``. ``None`` is
        ``network_classifier()`` for all clips, and for a proxy ``network_classifier(n_steps=400,
        batch_size=10, lr=0.05)``: on 200 clips that is less than a tenth of the work on 2,700, in
        many small steps, after which those that learn slowly are not behind any more.
    validation_fraction : float, default=0.2
        The part of the training data, of every class in proportion, that candidates are tested on.
        It is larger than that of a distiller: where many are compared, small differences count.
    scoring : str, callable or None, default=None
        What candidates are ranked by, as in the searches of scikit-learn: a name such as
        ``"balanced_accuracy"`` or a function ``(estimator, X, y) -> float``, more being better.
        ``None`` is accuracy.
    refit : bool, default=True
        Whether the best candidate is trained on all of the training data in the end.
    checkpoint : str, Path or None, default=None
        Folder of this search: the small set and what is known of each candidate. The next ``fit``
        with the same data and proxy trains only candidates that are not there, or that failed; the
        list of them may have changed.
    n_jobs : int or None, default=None
        Candidates that are trained at once, by whatever joblib backend is active; each has its
        share of the threads of torch. Small networks are trained sooner by one thread each.
    random_state : int, RandomState or None, default=None
        Seeds the split, the proxy where it has no seed of its own, and the training, of all
        candidates alike.
    verbose : int, default=0
        Whether progress is shown, with the best score so far and an estimate of the time left:
        candidates are trained in random order, so that those to come take as long as those done.

    Attributes
    ----------
    results_ : pandas.DataFrame
        A row for each candidate, in the order of `space`: ``candidate`` (its name), its options
        where it is a dict, ``score`` (on the validation part; NaN if it could not be trained),
        ``rank`` (1 is best), ``fit_time`` (seconds), ``n_parameters`` (of a network) and ``error``
        (what went wrong, or an empty string). Needs pandas.
    rows_ : list of dict
        The same without pandas.
    best_index_, best_score_ : int, float
        The candidate that scored best, the first of several.
    best_architecture_ : dict, network or classifier
        The same, as it was given.
    best_estimator_ : classifier
        Trained on all of the training data, where `refit`.
    proxy_ : DistilledSet or None
        The small set, where there is one; ``proxy_.provenance["seconds"]`` is how long it took to
        make, or to finish, where a ``checkpoint`` had a part of it.
    refit_time_ : float
        Seconds.
    classes_ : ndarray
        The labels there are.

    See Also
    --------
    rank_agreement : How well a proxy ranks candidates.
    convnet_space : The 720 networks of the paper.

    References
    ----------
    .. [1] W. Jiang et al., "DDFAD: Dataset distillation framework for audio data", 2024,
       section 5.2.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn_ddfad import ArchitectureSearch, RandomSelector
    >>> X, y = np.arange(40.0).reshape(20, 2), np.tile(["low", "high"], 10)
    >>> X[y == "high"] += 100
    >>> space = {"neighbour": KNeighborsClassifier(1), "logistic": LogisticRegression()}
    >>> search = ArchitectureSearch(space, RandomSelector(3), random_state=0).fit(X, y)
    >>> search.results_[["candidate", "score", "rank"]]
       candidate  score  rank
    0  neighbour    1.0     1
    1   logistic    1.0     1
    >>> search.best_architecture_, search.score(X, y)
    (KNeighborsClassifier(n_neighbors=1), 1.0)
    """

    _parameter_constraints: dict = {
        "space": ["array-like", dict, None],
        "proxy": [
            BaseReducer,
            DistilledSet,
            StrOptions({"early_stopping", "whole"}),
            None,
        ],
        "estimator": [NetworkClassifier, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "scoring": [StrOptions(set(get_scorer_names())), callable, None],
        "refit": ["boolean"],
        "checkpoint": [str, PathLike, None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        space=None,
        proxy=None,
        *,
        estimator=None,
        validation_fraction=0.2,
        scoring=None,
        refit=True,
        checkpoint=None,
        n_jobs=None,
        random_state=None,
        verbose=0,
    ):
        self.space = space
        self.proxy = proxy
        self.estimator = estimator
        self.validation_fraction = validation_fraction
        self.scoring = scoring
        self.refit = refit
        self.checkpoint = checkpoint
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.verbose = verbose

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y, *, X_val=None, y_val=None):
        """Make the proxy set, train every candidate on it, and the best one on all clips.

        Parameters
        ----------
        X : array-like of shape (n_clips, ...)
            Features; those that are not in memory are read a few at a time.
        y : array-like of shape (n_clips,)
            Labels of any type.
        X_val, y_val : array-like or None, default=None
            Clips to test candidates on instead of a part of `X`, of other speakers for instance.
            What is chosen on test data looks better than it is: give no test data here, unless
            nothing is chosen and the truth is measured (``proxy="whole", refit=False``).

        Returns
        -------
        self : object
            The fitted search.

        Raises
        ------
        ValueError
            Before any training, if features, labels or candidates are not usable, the training data
            leave no validation part with every class, or the checkpoint is that of another search.
            Afterwards, if no candidate could be trained.
        """
        forget(self)
        X = check_features(self, X)
        self.classes_, codes = check_labels(y, len(X))
        self.input_shape_ = X.shape[1:]
        names, candidates = self._candidates()
        given = self._given_validation(X_val, y_val)
        checkpoint = self._checkpoint(X, codes, given)
        seed = checkpoint.seed(draw_seed(check_random_state(self.random_state)))
        rng = np.random.RandomState(seed)
        learned, tested = self._split(X, codes, given, rng)
        seed_of_proxy, seed = draw_seed(rng), draw_seed(rng)
        steps = {} if self.proxy == "whole" else _SMALL_STEPS
        estimators = [self._estimator(candidate, seed, **steps) for candidate in candidates]
        self._check_first(estimators)
        shelf = _Shelf(checkpoint, estimators)
        with shelf.given_back_if_refused():
            self.proxy_ = self._proxy_set(learned, seed_of_proxy, shelf.folder)
        is_shortened = self.proxy == "early_stopping"
        learned = self._learned_from(learned)
        trial = _Trial(learned, tested, is_shortened, self.classes_, self.scoring, seed)
        self._keep(names, candidates, self._tried(trial, estimators, shelf, rng))
        if self.refit:
            started = perf_counter()
            best = self._estimator(candidates[self.best_index_], seed)
            y = codes if is_skorchs_own(best) else self.classes_[codes]
            with drawing_by(best, seed):
                self.best_estimator_ = best.fit(_readable(best, X), y)
            self.refit_time_ = perf_counter() - started
        return self

    # -- what is to be done --------------------------------------------------------------

    def _candidates(self):
        """Return names and candidates; refuse what can be seen to be none."""
        space = convnet_space() if self.space is None else self.space
        candidates = list(space.values() if isinstance(space, Mapping) else space)
        names = list(space) if isinstance(space, Mapping) else [*map(_name, candidates)]
        if not candidates:
            msg = "space is empty; give candidates, or None for the 720 ConvNets."
            raise ValueError(msg)
        for name, candidate in zip(names, candidates, strict=True):
            _check_candidate(name, candidate, must_be_net=self.proxy == "early_stopping")
        return names, candidates

    def _estimator(self, candidate, seed, **steps):
        """Return an unfitted classifier; the same seed for all makes chance alike for all.

        A network takes such steps if `estimator` does not say otherwise.
        """
        rng = np.random.RandomState(seed)
        if not _is_network(candidate):
            return fresh(candidate, rng)
        if isinstance(candidate, Mapping):
            candidate = partial(ConvNet, **candidate)
        template = network_classifier(**steps) if self.estimator is None else self.estimator
        estimator = fresh(template, rng)
        return estimator.set_params(**{estimator.builds: candidate})

    def _check_first(self, estimators):
        """Refuse candidates of which none can be built, before the proxy is made."""
        ours = [each for each in estimators if isinstance(each, NetworkClassifier)]
        if ours:
            ours[0].check_settings(self.input_shape_)
        if len(ours) < len(estimators):
            return
        reasons = []
        for each in ours:  # as a rule the first one can
            try:
                with isolated_rng(0):
                    each.new_network(self.input_shape_, len(self.classes_))
                return
            except Exception as error:  # of any kind of network
                reasons.append(f"{type(error).__name__}: {error}")
        msg = f"none of the {len(ours)} candidates can be built; the first says: {reasons[0]}"
        raise ValueError(msg)

    def _given_validation(self, X_val, y_val):
        """Return the validation clips that were given, and their class indices, or None."""
        if X_val is None and y_val is None:
            return None
        if X_val is None or y_val is None:
            msg = "X_val and y_val belong together; give both or neither."
            raise ValueError(msg)
        X_val = check_features(self, X_val, reset=False)
        labels, codes = check_labels(y_val, len(X_val))
        unknown = np.setdiff1d(labels, self.classes_)
        if len(unknown):
            msg = f"y_val has labels that y has not: {unknown}; leave these clips out."
            raise ValueError(msg)
        return X_val, np.searchsorted(self.classes_, labels)[codes]

    def _checkpoint(self, X, codes, given):
        parameters = {"proxy": _identity(self.proxy), "version": __version__}
        if given is None:
            parameters["validation_fraction"] = self.validation_fraction
        else:
            parameters["validation"] = (given[0].fingerprint(), given[1])
        parameters |= {"scoring": self.scoring, "random_state": self.random_state}
        parameters["classes"] = self.classes_.tolist()
        return Checkpoint(self.checkpoint, parameters, X, codes)

    def _split(self, X, codes, given, rng):
        """Return ``(clips, codes)`` to learn from and to test on."""
        if given is not None:
            return (X, codes), given
        train, test = hold_out(codes, self.validation_fraction, rng)
        counts = np.bincount(codes)
        if counts.min() < 2:
            msg = (
                f"class {self.classes_[counts.argmin()]} has one clip of n_samples = {len(codes)}, "
                "which cannot be both learned from and tested on; leave it out, or give X_val and "
                "y_val."
            )
            raise ValueError(msg)
        if not len(test):
            msg = (
                f"n_samples = {len(codes)} clips of {len(self.classes_)} classes leave no "
                f"validation part with every class at validation_fraction="
                f"{self.validation_fraction}; raise it, or give X_val and y_val."
            )
            raise ValueError(msg)
        return (X.subset(train), codes[train]), (X.subset(test), codes[test])

    # -- what candidates learn from ------------------------------------------------------

    def _proxy_set(self, learned, seed, folder):
        """Return the set that the proxy makes, or that was kept in the folder; None without one."""
        if isinstance(self.proxy, str):
            return None
        if isinstance(self.proxy, DistilledSet):
            return self._checked(self.proxy)
        path = folder and folder / "proxy.safetensors"
        if path and path.is_file():
            return DistilledSet.load(path)
        started = perf_counter()
        X, codes = learned
        distilled = self._reducer(seed, folder).fit(X, self.classes_[codes]).distilled_
        took = {"seconds": perf_counter() - started}
        distilled = replace(distilled, provenance=distilled.provenance | took)
        if path:
            distilled.save(path)
        return distilled

    def _reducer(self, seed, folder):
        """Return the proxy, unfitted: seeded if it is not, and able to go on where it is killed."""
        reducer = TrajectoryDistiller(cpc=20) if self.proxy is None else clone(self.proxy)
        ours = {"random_state": seed, "checkpoint": folder and folder / "proxy"}
        theirs = reducer.get_params(deep=False)
        left_open = {name: v for name, v in ours.items() if theirs.get(name, "no such") is None}
        return reducer.set_params(estimator=DummyClassifier(), **left_open)

    def _checked(self, distilled):
        shapes = distilled.X.shape[1:], self.input_shape_
        if shapes[0] != shapes[1] or not np.array_equal(distilled.classes, self.classes_):
            msg = (
                f"proxy holds clips of shape {shapes[0]} and classes {distilled.classes}, X and y "
                f"clips of shape {shapes[1]} and classes {self.classes_}; give a set made of these."
            )
            raise ValueError(msg)
        return distilled

    def _learned_from(self, learned):
        """Return clips and targets of what candidates learn: class indices, or soft labels."""
        if self.proxy_ is None:
            return learned
        if self.proxy_.soft_labels is not None:
            return self.proxy_.X, self.proxy_.soft_labels
        return self.proxy_.X, np.searchsorted(self.classes_, self.proxy_.y)

    # -- trained and ranked --------------------------------------------------------------

    def _tried(self, trial, estimators, shelf, rng):
        """Return a row for each estimator, found on the shelf or measured now."""
        rows = [shelf.find(i) for i in range(len(estimators))]
        missing = [int(i) for i in rng.permutation(len(rows)) if rows[i] is None]
        measured = in_workers(
            trial, [(i, estimators[i]) for i in missing], self.n_jobs, "generator_unordered"
        )
        n_found = len(rows) - len(missing)
        best = max((row["score"] for row in rows if row), default=np.nan)
        with tqdm(
            desc="candidates",
            total=len(rows),
            initial=n_found,
            smoothing=0,
            disable=not self.verbose,
        ) as bar:
            for i, row in measured:
                rows[i] = row
                shelf.keep(i, row)
                best = np.fmax(best, row["score"])
                bar.set_postfix(best=f"{best:.3f}", refresh=False)
                bar.update()
        return rows

    def _keep(self, names, candidates, rows):
        """Make attributes of what is known of candidates, and tell which could not be trained."""
        failed = [i for i, row in enumerate(rows) if row["error"]]
        if len(failed) == len(rows):
            msg = f"none of the {len(rows)} candidates could be trained; the first says: "
            raise ValueError(msg + rows[0]["error"])
        if failed:
            told = "; ".join(f"{names[i]}: {rows[i]['error']}" for i in failed)
            msg = f"{len(failed)} of {len(rows)} candidates could not be trained and rank last: "
            warn(msg + told, FitFailedWarning)
        scores = np.array([row["score"] for row in rows])
        ranks = rankdata(np.where(np.isnan(scores), np.inf, -scores), method="min").astype(int)
        self.best_index_ = int(ranks.argmin())
        self.best_score_ = float(scores[self.best_index_])
        self.best_architecture_ = candidates[self.best_index_]
        self.rows_ = [
            {
                "candidate": name,
                **(candidate if isinstance(candidate, Mapping) else {}),
                "rank": int(rank),
                **row,
            }
            for name, candidate, rank, row in zip(names, candidates, ranks, rows, strict=True)
        ]

    @property
    def results_(self):
        """What is known of each candidate, a pandas.DataFrame."""
        check_is_fitted(self, "rows_")
        try:
            import pandas as pd
        except ImportError as error:
            msg = "results_ is a data frame: pip install pandas, or read rows_, a list of dicts."
            raise ImportError(msg) from error
        return pd.DataFrame(self.rows_)

    # -- a classifier ---------------------------------------------------------------------

    def predict(self, X):
        """Return the label of each clip, as told by the best candidate.

        Parameters
        ----------
        X : array-like of shape (n_clips, ...)
            Features like those of ``fit``.

        Returns
        -------
        y : ndarray of shape (n_clips,)
            Labels of the type given to ``fit``.
        """
        return self._ask("predict", X)

    @available_if(_best_has("predict_proba"))
    def predict_proba(self, X):
        """Return the probability of each class, shape ``(n_clips, n_classes)``."""
        return self._ask("predict_proba", X)

    @available_if(_best_has("decision_function"))
    def decision_function(self, X):
        """Return how sure the best candidate is of each class, as its own ``decision_function``."""
        return self._ask("decision_function", X)

    def score(self, X, y, sample_weight=None):
        """Return the score of the best candidate, by `scoring`.

        Parameters
        ----------
        X, y : array-like
            Clips and labels, as in :meth:`fit`.
        sample_weight : array-like of shape (n_clips,) or None, default=None
            How much each counts, where `scoring` allows for it.

        Returns
        -------
        score : float
        """
        if self.scoring is None:
            return super().score(X, y, sample_weight)
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        return get_scorer(self.scoring)(self, X, y, **weights)

    def _ask(self, method, X):
        check_is_fitted(self, "rows_")
        if not hasattr(self, "best_estimator_"):
            msg = f"{method} needs the best candidate trained on all clips: set refit=True."
            raise AttributeError(msg)
        X = check_features(self, X, reset=False)
        with drawing_by(self.best_estimator_, 0):
            told = in_batches(getattr(self.best_estimator_, method), X)
        is_code = method == "predict" and is_skorchs_own(self.best_estimator_)
        return self.classes_[told] if is_code else told


# ------------------------------------------------------------------------------------------
# One candidate
# ------------------------------------------------------------------------------------------


def _is_network(candidate):
    """Tell a network, or options of one, from a classifier."""
    return isinstance(candidate, type) or not hasattr(candidate, "fit")


def _check_candidate(name, candidate, *, must_be_net):
    """Refuse what can be seen to be no candidate."""
    if isinstance(candidate, FrozenEstimator):
        msg = f"{name} is frozen and learns nothing; give candidates that can be trained."
        raise ValueError(msg)
    if not _is_network(candidate):
        if must_be_net and not isinstance(candidate, NeuralNet):
            msg = (
                f"early stopping shortens the training of networks, and {name} is none; give "
                "another proxy, or skorch classifiers."
            )
            raise ValueError(msg)
    elif isinstance(candidate, Mapping):
        try:
            signature(ConvNet).bind(None, None, **candidate)
        except TypeError as error:
            msg = f"space has a candidate {dict(candidate)} that is no ConvNet: {error}."
            raise ValueError(msg) from error
    elif not (callable(candidate) or candidate in [*NETWORKS, "auto"]):
        msg = (
            f"space has a candidate {candidate!r}; give options of ConvNet, 'auto' or one of "
            f"{sorted(NETWORKS)}, a callable, or a classifier."
        )
        raise ValueError(msg)


def _name(candidate):
    """Return what to call a candidate that has no name."""
    if isinstance(candidate, Mapping):
        return _name(partial(ConvNet, **candidate))
    if isinstance(candidate, partial):
        options = ", ".join(f"{name}={value}" for name, value in candidate.keywords.items())
        return f"{_name(candidate.func)}({options})"
    return getattr(candidate, "__name__", " ".join(str(candidate).split()))


def _identity(proxy):
    """Return what decides which set a proxy makes, in what can be hashed."""
    if isinstance(proxy, DistilledSet):
        return proxy.X, proxy.y, proxy.soft_labels
    if isinstance(proxy, str | None):
        return proxy
    parameters = proxy.get_params(deep=False)
    return type(proxy), {name: v for name, v in parameters.items() if name not in FREE}


def _readable(estimator, X):
    """Return clips as a classifier takes them: ours reads :class:`Rows`, others want an array."""
    return X[:] if isinstance(X, Rows) and not isinstance(estimator, NetworkClassifier) else X


@dataclass(frozen=True)
class _Trial:
    """What every candidate goes through: it learns from one part and is tested on another."""

    learned: tuple  # clips and targets
    tested: tuple
    is_shortened: bool
    class_names: np.ndarray
    scoring: str | Callable | None
    seed: int

    def __call__(self, i, estimator):
        """Return `i`, and the row of the candidate; whatever goes wrong is told there."""
        row = {"score": np.nan, "fit_time": np.nan, "n_parameters": None, "error": ""}
        try:
            with drawing_by(estimator, self.seed):
                started = perf_counter()
                self._train(estimator)
                row["fit_time"] = perf_counter() - started
                row["n_parameters"] = _n_parameters(estimator)
                row["score"] = self._test(estimator)
        except Exception as error:  # of any kind of classifier
            row["error"] = f"{type(error).__name__}: {error}"
        return i, row

    def _train(self, estimator):
        X, y = _readable(estimator, self.learned[0]), self.learned[1]
        shortened = {}
        if self.is_shortened:
            ours = isinstance(estimator, NetworkClassifier)
            n_epochs = estimator.n_epochs(len(X)) if ours else estimator.max_epochs
            shortened["epochs"] = ceil(n_epochs / _SHORT)
        fit_on(estimator, X, y, self.class_names, **shortened)

    def _test(self, estimator):
        X, y = self.tested
        if hasattr(estimator, "predict_proba"):
            probabilities = estimator.predict_proba(X[:1])
            if not np.isfinite(probabilities).all():
                msg = "its training diverged, and it predicts NaN."
                raise ArithmeticError(msg)
        if self.scoring is None:
            return float(np.mean(in_batches(estimator.predict, X) == y))
        named = _Named(estimator, self.class_names)
        return float(get_scorer(self.scoring)(named, X[:], self.class_names[y]))


class _Named(ClassifierMixin, BaseEstimator):
    """A candidate, which knows class indices, as a scorer meets it: it tells labels."""

    def __init__(self, estimator, classes):
        self.estimator = estimator
        self.classes = classes

    @property
    def classes_(self):
        """The labels there are."""
        return self.classes

    def predict(self, X):
        """Return labels."""
        return self.classes[self.estimator.predict(X)]

    @available_if(lambda self: hasattr(self.estimator, "predict_proba"))
    def predict_proba(self, X):
        """Return what the candidate does."""
        return self.estimator.predict_proba(X)

    @available_if(lambda self: hasattr(self.estimator, "decision_function"))
    def decision_function(self, X):
        """Return what the candidate does."""
        return self.estimator.decision_function(X)


def _n_parameters(estimator):
    """Return how many numbers a network learns, None of what is no network."""
    with suppress(AttributeError):
        return sum(parameter.numel() for parameter in estimator.module_.parameters())
    return None


class _Shelf:
    """What is known of candidates: files in the folder of a checkpoint, named by what they are."""

    def __init__(self, checkpoint, estimators):
        self._names = [] if checkpoint.folder is None else [*map(_file_name, estimators)]
        self.folder = checkpoint.begin()

    @contextmanager
    def given_back_if_refused(self):
        """Leave nothing behind if the block refuses to begin: the folder is free for another."""
        try:
            yield
        except Exception:
            if self.folder and len([*self.folder.iterdir()]) == 1:
                rmtree(self.folder)
            raise

    def find(self, i):
        """Return the row of a candidate, or None."""
        path = self.folder and self.folder / self._names[i]
        if not (path and path.is_file()):
            return None
        with suppress(ValueError):  # a damaged one is trained again
            return json.loads(path.read_text())
        return None

    def keep(self, i, row):
        """Write down the row of a candidate; one that failed is tried again another time."""
        if self.folder and not row["error"]:
            with whole_or_nothing(self.folder / self._names[i]) as draft:
                draft.write_text(json.dumps(row))


def _file_name(estimator):
    content = type(estimator), estimator.get_params()
    return f"candidate_{fingerprint(content, 'checkpoint', 'candidates')}.json"
