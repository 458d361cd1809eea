"""Selectors: a few real clips of each class instead of made ones."""

from sklearn_ddfad.base import BaseReducer, pick_per_class


class RandomSelector(BaseReducer):
    """Keep ``cpc`` random clips of each class: the baseline of every table.

    Parameters
    ----------
    cpc : int, default=10
        Clips per class.
    network : {"auto", "convnet", "mlp", "resnet18", "vgg11"} or callable, default="auto"
        The network that is trained on the small set where `estimator` is None.
    estimator : classifier or None, default=None
        What is trained on the small set; ``None`` is ``network_classifier(network)``.
    device : str, default="auto"
        Where to train, and where ``transform`` puts the clips.
    random_state : int, RandomState or None, default=None
        Seeds the choice and the training.

    Attributes
    ----------
    distilled_ : DistilledSet
        The clips chosen.
    sample_indices_ : ndarray of shape (cpc * n_classes,)
        Which clips of ``X`` they are.
    y_distilled_, classes_ : ndarray
        Their labels, and the classes there are.
    estimator_ : classifier
        Trained on them; its labels are indices into ``classes_``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn_ddfad import RandomSelector
    >>> X, y = np.arange(20.0).reshape(10, 2), np.repeat(["low", "high"], 5)
    >>> selector = RandomSelector(2, estimator=KNeighborsClassifier(1), random_state=0).fit(X, y)
    >>> selector.transform().shape, selector.score(X, y)
    (torch.Size([4, 2]), 0.9)
    """

    def __init__(self, cpc=10, *, network="auto", estimator=None, device="auto", random_state=None):
        self.cpc = cpc
        self.network = network
        self.estimator = estimator
        self.device = device
        self.random_state = random_state

    def _reduce(self, X, codes, rng):
        self.sample_indices_ = pick_per_class(codes, self.cpc, rng)
        return X[self.sample_indices_], codes[self.sample_indices_]
