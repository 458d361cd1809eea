"""A distiller or selector and a classifier, as one estimator or as steps of a pipeline."""

from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_ddfad._validation import HasMethods, fit_context


class DistilledClassifier(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    """Make a small set with ``distiller``, then train ``estimator`` on it.

    Parameters
    ----------
    distiller : distiller or selector
        ``TrajectoryDistiller(...)``, ``RandomSelector(...)``; its own ``estimator`` is put aside.
    estimator : classifier or None, default=None
        Any scikit-learn or skorch classifier; ``None`` leaves the distiller its own.

    Attributes
    ----------
    distiller_ : distiller or selector
        Fitted; ``distiller_.distilled_`` is the small set.
    classes_ : ndarray
        The labels there are.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.svm import SVC
    >>> from sklearn_ddfad import DistilledClassifier, RandomSelector
    >>> X, y = np.arange(20.0).reshape(10, 2), np.repeat(["low", "high"], 5)
    >>> classifier = DistilledClassifier(RandomSelector(2, random_state=0), SVC()).fit(X, y)
    >>> classifier.predict([[0, 1], [18, 19]])
    array(['low', 'high'], dtype='<U4')
    """

    _parameter_constraints: dict = {
        "distiller": [HasMethods(["fit", "transform"])],
        "estimator": [HasMethods(["fit", "predict"]), None],
    }

    def __init__(self, distiller, estimator=None):
        self.distiller = distiller
        self.estimator = estimator

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Make the small set of ``(X, y)`` and train on it.

        Parameters
        ----------
        X : array-like of shape (n_clips, ...)
            Features.
        y : array-like of shape (n_clips,)
            Labels of any type.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        distiller = clone(self.distiller)
        if self.estimator is not None:
            distiller.set_params(estimator=clone(self.estimator))
        self.distiller_ = distiller.fit(X, y)
        return self

    @property
    def classes_(self):
        """The labels there are, sorted."""
        return self.distiller_.classes_

    @property
    def n_features_in_(self):
        """Length of the first axis of a clip's features."""
        return self.distiller_.n_features_in_

    def predict(self, X):
        """Return the label of each clip of `X`, shape ``(n_clips, ...)``."""
        check_is_fitted(self)
        return self.distiller_.predict(X)

    @available_if(lambda self: self.estimator is None or hasattr(self.estimator, "predict_proba"))
    def predict_proba(self, X):
        """Return the probability of each class, shape ``(n_clips, n_classes)``."""
        check_is_fitted(self)
        return self.distiller_.predict_proba(X)


class DistillationSampler(MetaEstimatorMixin, BaseEstimator):
    """A distiller or selector as a sampler of imbalanced-learn's pipeline, which may change rows.

    It speaks imbalanced-learn's ``fit_resample`` without importing it, and takes features of any
    number of axes. While predicting, the pipeline leaves it out.

    Parameters
    ----------
    distiller : distiller or selector
        Its own ``estimator`` is trained too; one that is quick to train saves time.

    Attributes
    ----------
    distiller_ : distiller or selector
        Fitted; ``distiller_.distilled_`` is the small set.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn_ddfad import DistillationSampler, RandomSelector
    >>> X, y = np.arange(20.0).reshape(10, 2), np.repeat(["low", "high"], 5)
    >>> selector = RandomSelector(2, estimator=KNeighborsClassifier(1), random_state=0)
    >>> X_small, y_small = DistillationSampler(selector).fit_resample(X, y)
    >>> X_small.shape, y_small
    ((4, 2), array(['high', 'high', 'low', 'low'], dtype='<U4'))
    """

    _parameter_constraints: dict = {"distiller": [HasMethods(["fit", "transform"])]}

    def __init__(self, distiller):
        self.distiller = distiller

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Make the small set of ``(X, y)``; parameters as in :meth:`fit_resample`.

        Returns
        -------
        self : object
            The fitted sampler.
        """
        self.distiller_ = clone(self.distiller).fit(X, y)
        self.n_features_in_ = self.distiller_.n_features_in_
        return self

    def fit_resample(self, X, y):
        """Make the small set of ``(X, y)`` and return it.

        Parameters
        ----------
        X : array-like of shape (n_clips, ...)
            Features.
        y : array-like of shape (n_clips,)
            Labels of any type.

        Returns
        -------
        X_small : ndarray of float32, shape (n_distilled, ...)
            The clips.
        y_small : ndarray of shape (n_distilled,)
            Their labels.
        """
        distilled = self.fit(X, y).distiller_.distilled_
        return distilled.X.copy(), distilled.y.copy()
