"""Distillers and networks beside any classifier, as one estimator or as steps of a pipeline."""

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    MetaEstimatorMixin,
    TransformerMixin,
    clone,
)
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_ddfad._training import draw_seed, embedded, embedding_network, without_gpu
from sklearn_ddfad._validation import HasMethods, check_features, check_labels, fit_context
from sklearn_ddfad.base import forget


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
        forget(self)
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

    @available_if(lambda self: hasattr(self._judge, "predict_proba"))
    def predict_proba(self, X):
        """Return the probability of each class, shape ``(n_clips, n_classes)``."""
        check_is_fitted(self)
        return self.distiller_.predict_proba(X)

    @available_if(lambda self: hasattr(self._judge, "decision_function"))
    def decision_function(self, X):
        """Return how sure the classifier is of each class, as its own ``decision_function``."""
        check_is_fitted(self)
        return self.distiller_.decision_function(X)

    @property
    def _judge(self):
        return self.distiller if self.estimator is None else self.estimator


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
        forget(self)
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

        Raises
        ------
        ValueError
            If the distiller learns soft labels, which this door cannot hand on.
        """
        self.check_hard_labels()
        distilled = self.fit(X, y).distiller_.distilled_
        return distilled.X.copy(), distilled.y.copy()

    def check_hard_labels(self):
        """Refuse a distiller that learns soft labels, which ``fit_resample`` cannot hand on."""
        if getattr(self.distiller, "soft_labels", False):
            msg = "fit_resample hands on hard labels only; set soft_labels=False."
            raise ValueError(msg)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags


class NetworkEmbedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Turn features into what the last layer of a network sees of them.

    A step before any classifier. Before one of nearest prototypes it makes the prototype networks
    of DisTrack [1]_: scikit-learn's ``KNeighborsClassifier(1)`` takes each clip of a small set for
    a prototype, its ``NearestCentroid`` the mean of the clips of a class, of which it wants two or
    more. A ``Normalizer`` in between lets directions count alone, as the cosine does.

    Parameters
    ----------
    network : {"auto", "convnet", "efficientnetv2", "mlp", "resnet18", "vgg11"} or callable
        A name, a module class or a callable ``(input_shape, n_classes) -> torch.nn.Module`` whose
        modules have ``embed(X)``. ``"auto"`` is a ConvNet for feature images and an MLP for rows.
    trained : bool, default=True
        Whether ``fit`` trains the network on the clips, as ``network_classifier(network)`` does;
        else it stays as it is drawn at random.
    device : str, default="auto"
        ``"auto"`` is CUDA where there is one.
    random_state : int, RandomState or None, default=None
        Seeds the network and its training.

    Attributes
    ----------
    module_ : torch.nn.Module
        The network.
    classes_ : ndarray
        The labels there are.

    See Also
    --------
    HerdingSelector : Chooses clips by where a network embeds them.

    References
    ----------
    .. [1] DisTrack, https://github.com/IsitaRex/DisTrack, section "Prototype networks using random
       CNN as latent space".

    Examples
    --------
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import Normalizer
    >>> from sklearn_ddfad import FDMFCC, NetworkEmbedding, RandomSelector
    >>> from sklearn_ddfad.datasets import make_audio_classification
    >>> clips, labels = make_audio_classification(120, n_classes=3, random_state=0)
    >>> X = FDMFCC(duration=0.5).fit_transform(clips)
    >>> drawn = NetworkEmbedding(trained=False, random_state=0)
    >>> prototypes = make_pipeline(drawn, Normalizer(), KNeighborsClassifier(1))
    >>> selector = RandomSelector(10, estimator=prototypes, random_state=0)
    >>> selector.fit(X, labels).score(X, labels) > 0.6
    True
    """

    _parameter_constraints: dict = {
        "network": [str, callable],
        "trained": ["boolean"],
        "device": [str],
        "random_state": ["random_state"],
    }

    def __init__(self, network="auto", *, trained=True, device="auto", random_state=None):
        self.network = network
        self.trained = trained
        self.device = device
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y):
        """Draw the network, and train it where asked for.

        Parameters
        ----------
        X : array-like of shape (n_clips, ...)
            Features; those that are not in memory are read a few at a time.
        y : array-like of shape (n_clips,)
            Labels of any type.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            Before any training, if the features or labels are not usable, or the network has no
            ``embed``.
        """
        forget(self)
        X = check_features(self, X)
        self.classes_, codes = check_labels(y, len(X))
        self.input_shape_ = X.shape[1:]
        seed = draw_seed(check_random_state(self.random_state))
        self.module_ = embedding_network(
            self.network, X, codes, trained=self.trained, device=self.device, seed=seed
        )
        self._n_features_out = embedded(self.module_, X[:1]).shape[1]
        return self

    def transform(self, X):
        """Return the embedding of each clip.

        Parameters
        ----------
        X : array-like of shape (n_clips, ...)
            Features like those of ``fit``.

        Returns
        -------
        embeddings : ndarray of float32, shape (n_clips, n_features)
        """
        check_is_fitted(self)
        X = check_features(self, X, reset=False)
        return np.concatenate([embedded(self.module_, clips) for clips in X.batches()])

    def __getstate__(self):
        return without_gpu(super().__getstate__(), "module_")

    def __sklearn_is_fitted__(self):
        return hasattr(self, "module_")  # what is learned last

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags
