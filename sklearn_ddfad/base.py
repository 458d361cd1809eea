"""The doors that distillers and selectors share.

Both reduce labelled clips to a few per class; they differ in one verb, ``_reduce``. Everything
around it stands here once: what comes in is checked, what comes out is kept as a
:class:`~sklearn_ddfad.DistilledSet`, and an estimator is trained on it, so that ``predict`` and
``score`` tell what the small set is worth.
"""

import re
import warnings
from abc import ABC, abstractmethod
from numbers import Integral

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_ddfad._training import (
    check_learns_classes,
    draw_seed,
    drawing_by,
    fit_on,
    fresh,
    is_network,
    network_classifier,
)
from sklearn_ddfad._validation import (
    HasMethods,
    Interval,
    check_features,
    check_labels,
    fit_context,
    resolve_device,
)
from sklearn_ddfad._version import __version__
from sklearn_ddfad._warnings import warn
from sklearn_ddfad.distilled_set import DistilledSet
from sklearn_ddfad.parameterization import Direct, Parameterization

_TRIED = 5  # clips a class, at least, that an estimator is tried on


class BaseReducer(
    ClassifierMixin,
    TransformerMixin,
    BaseEstimator,
    ABC,
    auto_wrap_output_keys=None,  # type: ignore[call-arg]  # of TransformerMixin
):
    """Reduce labelled clips to ``cpc`` a class, then train ``estimator`` on these alone."""

    _parameter_constraints: dict = {
        "cpc": [Interval(Integral, 1, None, closed="left")],
        "network": [str, callable],
        "estimator": [HasMethods(["fit", "predict"]), None],
        "parameterization": [Parameterization, None],
        "device": [str],
        "random_state": ["random_state"],
    }

    @abstractmethod
    def _reduce(self, X, codes, rng):
        """Return the small set, ``(clips, codes, kept)``: the one thing that differs.

        What else is to be ``kept`` of it are fields of :class:`DistilledSet`, by name.
        """

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Make the small set, then train ``estimator`` on it.

        Parameters
        ----------
        X : array-like of shape (n_clips, ...)
            Features, all finite: feature images ``(n_planes, n_coefficients, n_frames)`` or rows.
            What is not in memory, a ``numpy.memmap`` or whatever else is read by slices, is never
            held whole: a few clips are read at a time.
        y : array-like of shape (n_clips,)
            Labels of any type.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            Before any work, if the features or labels are not usable, or if ``cpc`` clips for
            each class would not be fewer than there are, or if ``estimator`` cannot learn clips of
            this shape.
        """
        forget(self)
        X = check_features(self, X)
        self.classes_, codes = check_labels(y, len(X))
        self.input_shape_ = X.shape[1:]
        self.check_task(self.input_shape_, self.classes_)
        self._check_cpc(codes)
        if self.estimator is not None:
            check_learns_classes(self.estimator, self.classes_, self.input_shape_)
            self._try_estimator(X, codes)
        is_seed = isinstance(given := self.random_state, Integral)
        self._seed = int(given) if is_seed else draw_seed(check_random_state(given))
        rng = np.random.RandomState(self._seed)
        clips, small_codes, kept = self._reduce(X, codes, rng)
        self.distilled_ = DistilledSet(
            X=clips,
            y=self.classes_[small_codes],
            provenance=self._provenance(codes),
            **kept,
        )
        self.y_distilled_ = self.distilled_.y
        soft_labels = self.distilled_.soft_labels
        labels = small_codes if soft_labels is None else soft_labels
        estimator = self._new_estimator(rng)
        with drawing_by(estimator, rng):
            self.estimator_ = fit_on(estimator, clips, labels, self.classes_)
        return self

    def transform(self, X=None):
        """Return the distilled clips, whatever `X` is.

        Parameters
        ----------
        X : array-like of shape (n_clips, ...) or None, default=None
            Features as in ``fit``, which a pipeline hands on; checked, and not used.

        Returns
        -------
        clips : torch.Tensor of float32, shape (n_distilled, ...)
            On the device that the set was made on.
        """
        check_is_fitted(self)
        if X is not None:
            self._check_like_fitted(X)
        return torch.tensor(self.distilled_.X, device=resolve_device(self.device))

    def predict(self, X):
        """Return the label of each clip, as told by the estimator trained on the small set.

        Parameters
        ----------
        X : array-like of shape (n_clips, ...)
            Features like those of ``fit``.

        Returns
        -------
        y : ndarray of shape (n_clips,)
            Labels of the type given to ``fit``.
        """
        codes = self._ask("predict", X)
        return self.classes_[codes]

    @available_if(lambda self: self.estimator is None or hasattr(self.estimator, "predict_proba"))
    def predict_proba(self, X):
        """Return the probability of each class; parameters as in :meth:`predict`.

        Returns
        -------
        probabilities : ndarray of shape (n_clips, n_classes)
            Columns in the order of ``classes_``.
        """
        return self._ask("predict_proba", X)

    @available_if(lambda self: hasattr(self.estimator, "decision_function"))
    def decision_function(self, X):
        """Return how sure the estimator is of each class; parameters as in :meth:`predict`.

        Returns
        -------
        scores : ndarray of shape (n_clips,) or (n_clips, n_classes)
            As ``estimator_.decision_function`` gives them, classes in the order of ``classes_``.
        """
        return self._ask("decision_function", X)

    def _ask(self, method, X):
        X = self._check_like_fitted(X)
        with drawing_by(self.estimator_, 0):
            return in_batches(getattr(self.estimator_, method), X)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "estimator_")  # what is learned last

    def _check_like_fitted(self, X):
        check_is_fitted(self)
        return check_features(self, X, reset=False)

    def check_task(self, input_shape, classes):
        """Refuse, before any work, what clips cannot be made of.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one clip's features.
        classes : ndarray of shape (n_classes,)
            Labels there are, sorted.

        Raises
        ------
        ValueError
            If there is no such device; a distiller also refuses a network that is not there, does
            not read such clips, or cannot be matched.
        """
        resolve_device(self.device)

    def _check_cpc(self, codes):
        n_small, n_clips = self.cpc * len(self.classes_), len(codes)
        if n_small >= n_clips:
            msg = (
                f"cpc={self.cpc} for {len(self.classes_)} classes makes {n_small} clips, which is "
                f"not smaller than the data: n_samples = {n_clips}; lower cpc."
            )
            raise ValueError(msg)
        self._tell_of_repeats(codes, self.cpc, f"cpc={self.cpc}")

    def _tell_of_repeats(self, codes, clips_per_class, called):
        """Warn where a class has fewer clips than are to be taken of each."""
        counts = np.bincount(codes)
        if counts.min() < clips_per_class:
            rarest = self.classes_[counts.argmin()]
            msg = (
                f"class {rarest} has {counts.min()} clips, fewer than {called}: some of them are "
                "taken more than once."
            )
            warn(msg)

    def _plan(self, X, codes):
        """Return the decoder of what is kept, and tell where it keeps more clips than there are."""
        decoder = (self.parameterization or Direct()).plan(X, codes, self.cpc)
        if self.cpc <= np.bincount(codes).min():  # else it has been told
            called = f"the {decoder.clips_per_class} of each class that are decoded"
            self._tell_of_repeats(codes, decoder.clips_per_class, called)
        return decoder

    def _stored(self, numbers, decoder):
        """Return what a set keeps in place of its clips: nothing, where these are the numbers."""
        if type(self.parameterization or Direct()) is Direct:
            return {}
        return {"numbers": numbers, "decoder": decoder}

    def _try_estimator(self, X, codes):
        """Refuse what cannot learn feature images: some learn rows only. Networks can."""
        if len(X.shape) == 2 or is_network(self.estimator):
            return
        some = pick_per_class(codes, max(self.cpc, _TRIED), np.random.RandomState(0))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fresh(self.estimator, np.random.RandomState(0), keep=True).fit(X[some], codes[some])
        except (TypeError, ValueError) as error:
            msg = (
                f"estimator={self.estimator} cannot learn clips of shape {X.shape[1:]}; give one "
                "that can, begin it with a step that flattens them, or extract features with "
                f"layout='flat'. It says: {error}"
            )
            raise ValueError(msg) from error

    def _new_estimator(self, rng):
        if self.estimator is not None:
            return fresh(self.estimator, rng, keep=True)
        return network_classifier(self.network, device=self.device, random_state=draw_seed(rng))

    def _provenance(self, codes):
        """Return what made the set, in plain types that JSON can hold."""
        parameters = {k: _written(value) for k, value in self.get_params(deep=False).items()}
        return {
            "method": type(self).__name__,
            "parameters": parameters,
            "seed": self._seed,
            "n_clips_seen": len(codes),
            "version": __version__,
        }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # transform returns a torch tensor
        return tags


def forget(estimator):
    """Let an estimator be unfitted again, whatever comes of the fit that begins."""
    for name in [name for name in vars(estimator) if name.endswith("_")]:
        delattr(estimator, name)


def _written(value):
    """Return a parameter in what JSON has, else as text, without where it lies in memory."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, int | float | str | None):
        return value
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def in_batches(method, X):
    """Return what `method` answers to all the :class:`Rows` of `X`, asked a few at a time."""
    return np.concatenate([method(batch) for batch in X.batches()])


def hold_out(codes, fraction, rng):
    """Return indices to learn from and indices to select on, of every class in proportion.

    There is nothing to select on where a part of this size could not have every class.
    """
    everything = np.arange(len(codes))
    n_validation = int(fraction * len(codes))
    n_classes = codes.max() + 1
    n_left = len(codes) - n_validation
    if np.bincount(codes).min() < 2 or n_validation < n_classes or n_left < n_classes:
        return everything, everything[:0]
    train, test = train_test_split(
        everything, test_size=n_validation, stratify=codes, random_state=draw_seed(rng)
    )
    gone = np.setdiff1d(codes, codes[train])  # classes of which all was to be tested on
    back = [np.flatnonzero(codes[test] == code)[0] for code in gone]
    return np.append(train, test[back]), np.delete(test, back)


def pick_per_class(codes, cpc, rng):
    """Return indices of ``cpc`` random clips of each class, class by class.

    A class with fewer gives all it has, again and again.
    """
    picked = []
    for code in range(codes.max() + 1):
        members = np.flatnonzero(codes == code)
        rounds = [rng.permutation(members) for _ in range(-(-cpc // len(members)))]
        picked.append(np.concatenate(rounds)[:cpc])
    return np.concatenate(picked)
