"""Selectors: a few real clips of each class instead of made ones."""

from abc import abstractmethod
from functools import partial

import numpy as np
from scipy.spatial.distance import cdist

from sklearn_ddfad._training import draw_seed, embedded, embedding_network
from sklearn_ddfad._validation import StrOptions, from_torch
from sklearn_ddfad.base import BaseReducer, pick_per_class
from sklearn_ddfad.parameterization import decoded


class BaseSelector(BaseReducer):
    """Choose clips, and keep them as they are told to; one verb differs, ``_select``."""

    @abstractmethod
    def _select(self, X, codes, n, rng):
        """Return the indices of `n` clips of each class, class by class."""

    def _reduce(self, X, codes, rng):
        decoder = self._plan(X, codes)
        self.sample_indices_ = chosen = self._select(X, codes, decoder.clips_per_class, rng)
        numbers = decoder.encode(X[chosen], codes[chosen])
        return decoded(decoder, numbers), codes[chosen], self._stored(numbers, decoder)


class RandomSelector(BaseSelector):
    """Keep ``cpc`` random clips of each class: the baseline of every table.

    Parameters
    ----------
    cpc : int, default=10
        Clips per class.
    network : {"auto", "convnet", "efficientnetv2", "mlp", "resnet18", "vgg11"} or callable
        The network that is trained on the small set where `estimator` is None.
    estimator : classifier or None, default=None
        What is trained on the small set; ``None`` is ``network_classifier(network)``.
    parameterization : Direct, Static, Spectral, Waveform or None, default=None
        What of a clip is kept; ``None`` is ``Direct()``, its features. ``cpc`` is the budget: as
        many clips are chosen as fit into the numbers of ``cpc``, with ``Static()`` three times
        so many.
    device : str, default="auto"
        Where to train, and where ``transform`` puts the clips.
    random_state : int, RandomState or None, default=None
        Seeds the choice and the training.

    Attributes
    ----------
    distilled_ : DistilledSet
        The clips chosen, as they are kept.
    sample_indices_ : ndarray of shape (n_distilled,)
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

    def __init__(
        self,
        cpc=10,
        *,
        network="auto",
        estimator=None,
        parameterization=None,
        device="auto",
        random_state=None,
    ):
        self.cpc = cpc
        self.network = network
        self.estimator = estimator
        self.parameterization = parameterization
        self.device = device
        self.random_state = random_state

    def _select(self, X, codes, n, rng):
        return pick_per_class(codes, n, rng)


class BaseEmbeddingSelector(BaseSelector):
    """Choose clips by where they lie among those of their class; one verb differs, ``_choose``."""

    _parameter_constraints: dict = {
        **BaseReducer._parameter_constraints,
        "embedding": [StrOptions({"features", "network"}), callable],
    }

    def __init__(
        self,
        cpc=10,
        *,
        embedding="network",
        network="auto",
        estimator=None,
        parameterization=None,
        device="auto",
        random_state=None,
    ):
        self.cpc = cpc
        self.embedding = embedding
        self.network = network
        self.estimator = estimator
        self.parameterization = parameterization
        self.device = device
        self.random_state = random_state

    @staticmethod
    @abstractmethod
    def _choose(points, n):
        """Return the indices of `n` of the `points`, around their mean, in order of choice."""

    def _select(self, X, codes, n, rng):
        embedding = self.embedding
        if embedding == "network":
            seed = draw_seed(rng)
            module = embedding_network(self.network, X, codes, device=self.device, seed=seed)
            embedding = partial(embedded, module)
        elif embedding == "features":
            embedding = _flattened
        classes = [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]
        return np.concatenate([self._pick(X, members, n, embedding) for members in classes])

    def _pick(self, X, members, n, embedding):
        """Return `n` of the `members` of a class."""
        points = _embedded(X.subset(members), embedding)
        points -= points.mean(axis=0)
        order = self._choose(points, min(n, len(points)))
        return members[np.resize(order, n)]  # what is missing is repeated


def _flattened(clips):
    return clips.reshape(len(clips), -1)


def _embedded(X, embedding):
    """Return where the clips of all :class:`Rows` of `X` lie, ``(n_clips, d)`` in float64."""
    points = []
    for clips in X.batches():
        batch = np.asarray(from_torch(embedding(clips)))
        if batch.ndim != 2 or len(batch) != len(clips) or not np.isfinite(batch).all():
            msg = (
                f"embedding gave an array of shape {batch.shape} for {len(clips)} clips, or one "
                "that is not finite; it must give (n_clips, d) finite numbers."
            )
            raise ValueError(msg)
        points.append(batch)
    return np.concatenate(points, dtype=np.float64)


class HerdingSelector(BaseEmbeddingSelector):
    r"""Keep ``cpc`` clips of each class that have its mean, or nearly so: herding.

    Each next clip is the one that brings the mean of those chosen nearest to the mean
    :math:`\mu` of the class (Algorithm 4 of iCaRL [1]_, after [2]_):

    .. math::

       p_k = \arg\min_x \Big\| \mu - \frac{1}{k}
             \Big( \phi(x) + \sum_{j<k} \phi(p_j) \Big) \Big\|_2 .

    The first clips of a class are therefore the choice for a smaller `cpc`. This is the selection
    of EEIL [3]_, which the DDFAD paper compares with. iCaRL scales all embeddings to length one;
    here they are taken as they are, as in the code of dataset condensation, unless a function
    given as `embedding` scales them.

    Parameters
    ----------
    cpc : int, default=10
        Clips per class.
    embedding : {"network", "features"} or callable, default="network"
        Where distances are measured. ``"network"``: in what the last layer of `network` sees, once
        it is trained on all of ``X``, as in iCaRL, EEIL and the papers on distillation.
        ``"features"``: among the features themselves, flattened, which trains nothing. A
        function, such as a fitted transformer's ``transform``, is given some clips at a time, as
        they are in ``X``, and returns an array ``(n_clips, d)``.
    network : {"auto", "convnet", "efficientnetv2", "mlp", "resnet18", "vgg11"} or callable
        The network of the embedding, and the one that is trained on the small set where
        `estimator` is None.
    estimator : classifier or None, default=None
        What is trained on the small set; ``None`` is ``network_classifier(network)``.
    parameterization : Direct, Static, Spectral, Waveform or None, default=None
        What of a clip is kept; ``None`` is ``Direct()``, its features. ``cpc`` is the budget: as
        many clips are chosen as fit into the numbers of ``cpc``, with ``Static()`` three times
        so many.
    device : str, default="auto"
        Where to train, and where ``transform`` puts the clips.
    random_state : int, RandomState or None, default=None
        Seeds the training of both networks. The choice itself draws nothing.

    Attributes
    ----------
    distilled_ : DistilledSet
        The clips chosen, as they are kept.
    sample_indices_ : ndarray of shape (n_distilled,)
        Which clips of ``X`` they are: class by class, in order of choice.
    y_distilled_, classes_ : ndarray
        Their labels, and the classes there are.
    estimator_ : classifier
        Trained on them; its labels are indices into ``classes_``.

    See Also
    --------
    KCenterSelector : Leaves no clip far from those chosen.
    RandomSelector : The baseline.

    Notes
    -----
    Embeddings are held for one class at a time, ``(n_clips of the class, d)`` in float64; ``X`` is
    read a few clips at a time, one by one while a network is trained. Each clip chosen costs one
    product of this matrix and a vector.

    References
    ----------
    .. [1] S.-A. Rebuffi, A. Kolesnikov, G. Sperl, C. H. Lampert, "iCaRL: Incremental classifier
       and representation learning", CVPR, 2017.
    .. [2] M. Welling, "Herding dynamical weights to learn", ICML, 2009.
    .. [3] F. M. Castro, M. J. Marín-Jiménez, N. Guil, C. Schmid, K. Alahari, "End-to-end
       incremental learning", ECCV, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn_ddfad import HerdingSelector
    >>> X, y = np.arange(20.0).reshape(10, 2), np.repeat(["high", "low"], 5)
    >>> selector = HerdingSelector(2, embedding="features", estimator=KNeighborsClassifier(1))
    >>> selector.fit(X, y).sample_indices_
    array([2, 1, 7, 6])
    """

    @staticmethod
    def _choose(points, n):
        # With the mean at zero, |sum + x|^2 is to be least, that is, |x|^2 + 2 x·sum.
        costs = np.einsum("ij,ij->i", points, points)
        chosen = np.empty(n, dtype=np.intp)
        for k in range(n):
            chosen[k] = pick = costs.argmin()
            costs += 2 * (points @ points[pick])
            costs[pick] = np.inf
        return chosen


class KCenterSelector(BaseEmbeddingSelector):
    """Keep ``cpc`` clips of each class that leave none of it far away: greedy k-center.

    From the clip nearest to the mean of its class, each next one is the clip farthest from all that
    are chosen. No clip is then farther from a chosen one than twice the least that any choice of
    ``cpc`` clips could reach [1]_. The first clips of a class are the choice for a smaller `cpc`,
    and of clips that are the same, one is chosen only, as long as there are others. In active
    learning such a set is known as a core-set [2]_.

    Parameters
    ----------
    cpc : int, default=10
        Clips per class.
    embedding : {"network", "features"} or callable, default="network"
        Where distances are measured, as in :class:`HerdingSelector`.
    network : {"auto", "convnet", "efficientnetv2", "mlp", "resnet18", "vgg11"} or callable
        The network of the embedding, and the one that is trained on the small set where
        `estimator` is None.
    estimator : classifier or None, default=None
        What is trained on the small set; ``None`` is ``network_classifier(network)``.
    parameterization : Direct, Static, Spectral, Waveform or None, default=None
        What of a clip is kept; ``None`` is ``Direct()``, its features. ``cpc`` is the budget: as
        many clips are chosen as fit into the numbers of ``cpc``, with ``Static()`` three times
        so many.
    device : str, default="auto"
        Where to train, and where ``transform`` puts the clips.
    random_state : int, RandomState or None, default=None
        Seeds the training of both networks. The choice itself draws nothing.

    Attributes
    ----------
    distilled_ : DistilledSet
        The clips chosen, as they are kept.
    sample_indices_ : ndarray of shape (n_distilled,)
        Which clips of ``X`` they are: class by class, in order of choice.
    y_distilled_, classes_ : ndarray
        Their labels, and the classes there are.
    estimator_ : classifier
        Trained on them; its labels are indices into ``classes_``.

    See Also
    --------
    HerdingSelector : Keeps the mean of each class.
    RandomSelector : The baseline.

    Notes
    -----
    Memory is that of :class:`HerdingSelector`. Each clip chosen costs its distances to the others
    of its class.

    References
    ----------
    .. [1] T. F. Gonzalez, "Clustering to minimize the maximum intercluster distance", Theoretical
       Computer Science, 1985.
    .. [2] O. Sener, S. Savarese, "Active learning for convolutional neural networks: A core-set
       approach", ICLR, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.neighbors import KNeighborsClassifier
    >>> from sklearn_ddfad import KCenterSelector
    >>> X, y = np.arange(20.0).reshape(10, 2), np.repeat(["high", "low"], 5)
    >>> selector = KCenterSelector(3, embedding="features", estimator=KNeighborsClassifier(1))
    >>> selector.fit(X, y).sample_indices_
    array([2, 0, 4, 7, 5, 9])
    """

    @staticmethod
    def _choose(points, n):
        pick = np.einsum("ij,ij->i", points, points).argmin()
        distances = np.full(len(points), np.inf)  # squared, to the nearest chosen one
        chosen = np.empty(n, dtype=np.intp)
        for k in range(n):
            chosen[k] = pick
            # Differences are squared, not products subtracted: the same clip is at zero exactly.
            new = cdist(points, points[pick : pick + 1], "sqeuclidean")[:, 0]
            np.minimum(distances, new, out=distances)
            distances[pick] = -1
            pick = distances.argmax()
        return chosen
