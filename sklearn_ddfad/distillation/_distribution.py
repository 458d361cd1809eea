"""Distillation by matching distributions (DM): means of embeddings, under networks drawn anew.

Nothing is trained and nothing is differentiated twice, which makes it the cheapest method.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import sqrt

import torch
from torch.nn.functional import one_hot

from sklearn_ddfad._training import FunctionalNetwork, functional_network, seed_of
from sklearn_ddfad.distillation._base import BaseDistiller, Matching
from sklearn_ddfad.distillation._classes import ClassBatches
from sklearn_ddfad.networks import embed

_TINY = 1e-12


def distribution_loss(real, distilled):
    """Return how far means of embeddings are apart, in units of how far real classes are.

    The squared distances between the means of either kind [1]_, summed over classes, over those
    between the real means and the mean of these: 0 where all means agree, 1 where all distilled
    ones sit in the middle.

    Parameters
    ----------
    real, distilled : torch.Tensor of shape (n_classes, n_features)
        Means of the embeddings of each class.

    Returns
    -------
    loss : torch.Tensor, scalar

    References
    ----------
    .. [1] B. Zhao, H. Bilen, "Dataset condensation with distribution matching", WACV, 2023,
       Eq. 6.
    """
    spread = (real - real.mean(dim=0)).square().sum().clamp_min(_TINY)
    return (distilled - real).square().sum() / spread


@dataclass
class DistributionMatching(Matching):
    """The means of each class under a network that is drawn at random for each comparison."""

    new_network: Callable[..., FunctionalNetwork]
    batches: ClassBatches

    def __call__(self, iterate, generator):
        """Return the loss under a network drawn by `generator`."""
        seed = seed_of(generator)
        network = self.new_network(seed=seed).module.requires_grad_(requires_grad=False)
        real, distilled, indices = zip(*self.batches.pairs(iterate, generator), strict=True)
        with torch.no_grad():
            embedded = embed(network, torch.cat(real)).split([len(clips) for clips in real])
            real_means = torch.stack([clips.mean(dim=0) for clips in embedded])
        shares = self._shares(iterate)[torch.cat(indices)]
        means = shares.mT @ embed(network, torch.cat(distilled)) / shares.sum(dim=0)[:, None]
        return distribution_loss(real_means, means)

    def _shares(self, iterate):
        """Return how much each distilled clip counts in each class."""
        if iterate.labels.is_floating_point():
            return iterate.targets
        return one_hot(iterate.codes, len(self.batches)).to(iterate.clips)


class DistributionDistiller(BaseDistiller):
    """Distil by matching distributions (DM) [1]_.

    Again and again a network is drawn at random, and the clips are changed such that the mean of
    their embeddings, class by class, is that of real clips. The embedding is what the network's
    last layer sees. No network is trained, and the gradient is a first-order one.

    Parameters
    ----------
    cpc : int, default=10
        Distilled clips per class; with a `parameterization`, the storage of so many.
    network : {"auto", "convnet", "mlp", "resnet18", "vgg11"} or callable, default="auto"
        Architecture of the networks: a name, a module class or a callable
        ``(input_shape, n_classes) -> torch.nn.Module`` whose modules have ``embed(X)``. ``"auto"``
        is a ConvNet for feature images and an MLP for rows.
    estimator : classifier or None, default=None
        What is trained on the distilled set and answers ``predict`` and ``score``: any
        scikit-learn or skorch classifier; ``None`` is ``network_classifier(network)``.
    parameterization : Direct, Static, Spectral, Waveform or None, default=None
        What the learned numbers are; ``None`` is ``Direct()``, the features of the clips. There
        are as many numbers as `cpc` clips a class have features, and maybe more clips.
    max_iter : int or None, default=None
        Updates of the distilled clips; ``None`` is 1000.
    batch_size : int, default=64
        Real clips of each class that a mean is taken over.
    learning_rate : float, default=0.05
        Step size of Adam on one clip a class, in standardised units; with `n` clips a class it is
        1/√n of that. Their mean is as much nearer to that of all, and would be led away from it.
    augmentation : "auto", None or Augmentation, default="auto"
        Applied to real and distilled clips of a class alike; ``"auto"`` is ``Augmentation()`` for
        feature images, None for rows.
    soft_labels : bool, default=False
        Whether the probabilities of the classes are learned with each clip: how much it counts in
        the mean of each. It begins as its own class by nine tenths. They are stored beside what
        `cpc` allows for clips.
    init : {"real", "noise"}, default="real"
        What the clips are at first.
    validation_fraction : float in [0, 1), default=0.1
        Part of the training data that is kept aside to select the best iterate on. Where it has
        fewer clips than there are classes, all data are learned from and the last iterate is kept.
    checkpoint : str, Path or None, default=None
        Folder that belongs to this fit. One that was killed goes on from there, with at most a few
        seconds lost, and ends where an unbroken one would.
    device : str, default="auto"
        ``"auto"`` is CUDA where there is one.
    callbacks : list of callable or None, default=None
        Called after each iteration with the distiller; fitting ends when one returns True, and a
        `checkpoint` remembers it.
    random_state : int, RandomState or None, default=None
        Seeds everything.
    verbose : int, default=0
        Whether a progress bar is shown.

    Attributes
    ----------
    distilled_ : DistilledSet
        The distilled clips, with labels and provenance.
    y_distilled_, classes_ : ndarray
        Their labels, and the classes there are.
    soft_labels_ : ndarray of float32, shape (n_distilled, n_classes), or None
        The learned labels, where `soft_labels` asks for them.
    loss_curve_ : list of float
        The loss at each iteration.
    n_iter_ : int
        Iterations run.
    estimator_ : classifier
        Trained on the distilled set; its labels are indices into ``classes_``.

    References
    ----------
    .. [1] B. Zhao, H. Bilen, "Dataset condensation with distribution matching", WACV, 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ddfad import DistributionDistiller
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["cat", "dog"], 30)
    >>> X = rng.normal(size=(60, 5)).astype("float32") + (y == "dog")[:, None]
    >>> distiller = DistributionDistiller(cpc=2, max_iter=20, random_state=0).fit(X, y)
    >>> distiller.transform().shape, distiller.y_distilled_.tolist()
    (torch.Size([4, 5]), ['cat', 'cat', 'dog', 'dog'])
    """

    def __init__(
        self,
        cpc=10,
        *,
        network="auto",
        estimator=None,
        parameterization=None,
        max_iter=None,
        batch_size=64,
        learning_rate=0.05,
        augmentation="auto",
        soft_labels=False,
        init="real",
        validation_fraction=0.1,
        checkpoint=None,
        device="auto",
        callbacks=None,
        random_state=None,
        verbose=0,
    ):
        self.cpc = cpc
        self.network = network
        self.estimator = estimator
        self.parameterization = parameterization
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.augmentation = augmentation
        self.soft_labels = soft_labels
        self.init = init
        self.validation_fraction = validation_fraction
        self.checkpoint = checkpoint
        self.device = device
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    def _iterations(self, n_clips):
        return 1000

    def _step_size(self, clips_per_class):
        """Return a step as long as the mean of random clips is away from that of all."""
        return self.learning_rate / sqrt(clips_per_class)

    def _matching_loss(self, X, codes, rng, checkpoint):
        """Return the loss against means of real clips."""
        new_network = partial(
            functional_network,
            self.network,
            self.input_shape_,
            len(self.classes_),
            device=self.device_,
        )
        embed(new_network(seed=0).module, torch.zeros(1, *self.input_shape_, device=self.device_))
        checkpoint.begin()
        batches = ClassBatches(X, codes, self.batch_size, self.augmentation_, self.device_)
        return DistributionMatching(new_network, batches)
