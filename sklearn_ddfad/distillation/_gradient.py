"""Distillation by matching gradients (DC; with augmentation, DSA).

============================  ===============================================================
paper (DC, Algorithm 1)       here
============================  ===============================================================
θ_0 ~ P(θ_0), k = 0 .. K - 1  a new network each time the last has been matched at T moments
t = 0 .. T - 1                ``outer_loop``: moments at which a network is matched
ς_θ, η_θ                      ``inner_loop``: epochs of training on the set in between
D, Eq. 9 and 10               :func:`gradient_distance`
============================  ===============================================================
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Integral

import torch

from sklearn_ddfad._training import FunctionalNetwork, functional_network, seed_of
from sklearn_ddfad._validation import Interval
from sklearn_ddfad.augmentation import Augmentation, NoAugmentation
from sklearn_ddfad.distillation._base import BaseDistiller, Matching
from sklearn_ddfad.distillation._classes import ClassBatches

_NETWORK_BATCH, _NETWORK_RATE = 256, 0.1
_EPOCHS_OF_A_NETWORK, _MOST_MOMENTS = 100, 50
_TINY = 1e-6


def gradient_distance(distilled, real, shapes):
    """Return one minus the cosine of the angle between gradients, the mean over output units.

    Eq. 10 of [1]_: the weights of a layer are taken unit by unit; biases and what normalisation
    learns are left out. 0 where all directions agree, 2 where they are opposite.

    Parameters
    ----------
    distilled, real : torch.Tensor of shape (n_parameters,)
        Gradients by all parameters of a network.
    shapes : list of torch.Size
        Of its parameters, in order.

    Returns
    -------
    distance : torch.Tensor, scalar

    References
    ----------
    .. [1] B. Zhao, K. R. Mopuri, H. Bilen, "Dataset condensation with gradient matching",
       ICLR, 2021.
    """
    sizes = [shape.numel() for shape in shapes]
    cosines = [
        _cosines(ours.view(shape[0], -1), theirs.view(shape[0], -1))
        for ours, theirs, shape in zip(
            distilled.split(sizes), real.split(sizes), shapes, strict=True
        )
        if len(shape) > 1
    ]
    return 1 - torch.cat(cosines).mean()


def _cosines(first, second):
    """Return the cosines between rows; of rows that are almost zero, almost zero."""
    norms = torch.linalg.vector_norm(first, dim=1) * torch.linalg.vector_norm(second, dim=1)
    return (first * second).sum(dim=1) / (norms + _TINY)


@dataclass
class GradientMatching(Matching):
    """Gradients of each class, under networks that are trained on the set as it becomes."""

    new_network: Callable[..., FunctionalNetwork]
    batches: ClassBatches
    augmentation: Augmentation | NoAugmentation
    outer_loop: int
    inner_loop: int

    def __post_init__(self):
        self._network, self._moment = self.new_network(seed=0), 0
        self._theta = self._network.initial_parameters()

    def begin_iteration(self, get_iterate, generator):
        """Draw a new network, or train the one there is on the set as it is now."""
        if self._moment == 0:
            self._draw(generator)
        else:
            self._train(get_iterate(), generator)
        self._moment = (self._moment + 1) % self.outer_loop

    def __call__(self, iterate, generator):
        """Return the mean distance over classes."""
        theta, targets = self._theta.detach().requires_grad_(), iterate.targets
        total = iterate.clips.new_zeros(())
        for code, (real, distilled, own) in enumerate(self.batches.pairs(iterate, generator)):
            of_code = torch.full((len(real),), code, device=theta.device)
            total = total + gradient_distance(
                self._network.loss_gradient(theta, distilled, targets[own], create_graph=True),
                self._network.loss_gradient(theta, real, of_code),
                self._network.shapes,
            )
        return total / len(self.batches)

    def _draw(self, generator):
        seed = seed_of(generator)
        self._theta = self.new_network(seed=seed).initial_parameters()

    def _train(self, iterate, generator):
        """Train the network for ``inner_loop`` epochs, by plain SGD."""
        clips, targets = iterate.clips.detach(), iterate.targets.detach()
        for _ in range(self.inner_loop):
            for indices in torch.randperm(len(clips), generator=generator).split(_NETWORK_BATCH):
                draw = self.augmentation.draw((len(indices), *clips.shape[1:]), generator)
                indices = indices.to(clips.device)
                theta = self._theta.detach().requires_grad_()
                batch = self.augmentation(clips[indices], draw)
                gradient = self._network.loss_gradient(theta, batch, targets[indices])
                self._theta = theta.detach() - _NETWORK_RATE * gradient

    def state(self):
        """Return the network, and how many moments it has been matched at."""
        return self._moment, self._theta

    def restore(self, state):
        """Go on with that network."""
        self._moment, theta = state
        self._theta = theta.to(self._theta.device)


class GradientDistiller(BaseDistiller):
    """Distil by matching gradients (DC [1]_; with ``augmentation``, DSA [2]_).

    A network is drawn at random; the clips are changed such that the gradient of its loss on them,
    class by class, points where that on real clips points; the network is trained on the clips for
    a little, and so on. After ``outer_loop`` such moments a new network is drawn.

    Parameters
    ----------
    cpc : int, default=10
        Distilled clips per class; with a `parameterization`, the storage of so many.
    network : {"auto", "convnet", "mlp", "resnet18", "vgg11"} or callable, default="auto"
        Architecture of the networks: a name, a module class or a callable
        ``(input_shape, n_classes) -> torch.nn.Module``. ``"auto"`` is a ConvNet for feature
        images and an MLP for rows.
    estimator : classifier or None, default=None
        What is trained on the distilled set and answers ``predict`` and ``score``: any
        scikit-learn or skorch classifier; ``None`` is ``network_classifier(network)``.
    parameterization : Direct, Static, Spectral, Waveform or None, default=None
        What the learned numbers are; ``None`` is ``Direct()``, the features of the clips. There
        are as many numbers as `cpc` clips a class have features, and maybe more clips.
    outer_loop : int or None, default=None
        Moments at which a network is matched before the next is drawn; ``None`` is the number of
        distilled clips a class, as published, and at most 50.
    inner_loop : int or None, default=None
        Epochs that it is trained for on the distilled clips from one moment to the next; ``None``
        is 100 by that number, and 1 for a single clip a class: a fifth of what was published, in
        steps five times as long.
    max_iter : int or None, default=None
        Updates of the distilled clips; ``None`` is 400.
    batch_size : int, default=64
        Real clips of each class that a gradient is taken over.
    learning_rate : float, default=0.05
        Step size of Adam on the clips, in standardised units.
    augmentation : None, "auto" or Augmentation, default=None
        Applied to real and distilled clips of a class alike, which makes it DSA; ``"auto"`` is
        ``Augmentation()`` for feature images, None for rows.
    soft_labels : bool, default=False
        Whether the probabilities of the classes are learned with each clip, which begins as its
        own class by nine tenths. They are stored beside what `cpc` allows for clips.
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
        The mean distance between gradients at each iteration, between 0 and 2.
    n_iter_ : int
        Iterations run.
    estimator_ : classifier
        Trained on the distilled set; its labels are indices into ``classes_``.

    References
    ----------
    .. [1] B. Zhao, K. R. Mopuri, H. Bilen, "Dataset condensation with gradient matching",
       ICLR, 2021.
    .. [2] B. Zhao, H. Bilen, "Dataset condensation with differentiable Siamese augmentation",
       ICML, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ddfad import GradientDistiller
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["cat", "dog"], 30)
    >>> X = rng.normal(size=(60, 5)).astype("float32") + (y == "dog")[:, None]
    >>> distiller = GradientDistiller(cpc=2, max_iter=10, random_state=0).fit(X, y)
    >>> distiller.transform().shape, distiller.y_distilled_.tolist()
    (torch.Size([4, 5]), ['cat', 'cat', 'dog', 'dog'])
    """

    _parameter_constraints: dict = {
        **BaseDistiller._parameter_constraints,
        "outer_loop": [Interval(Integral, 1, None, closed="left"), None],
        "inner_loop": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        cpc=10,
        *,
        network="auto",
        estimator=None,
        parameterization=None,
        outer_loop=None,
        inner_loop=None,
        max_iter=None,
        batch_size=64,
        learning_rate=0.05,
        augmentation=None,
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
        self.outer_loop = outer_loop
        self.inner_loop = inner_loop
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

    _needs_two_classes = True

    def _iterations(self, n_clips):
        return 400

    def _matching_loss(self, X, codes, rng, checkpoint):
        """Return the loss against gradients of real clips."""
        new_network = partial(
            functional_network,
            self.network,
            self.input_shape_,
            len(self.classes_),
            device=self.device_,
        )
        matching = GradientMatching(
            new_network,
            ClassBatches(X, codes, self.batch_size, self.augmentation_, self.device_),
            self.augmentation_,
            outer_loop=self.outer_loop or min(self._clips_per_class, _MOST_MOMENTS),
            inner_loop=self.inner_loop or _inner_loop(self._clips_per_class),
        )
        checkpoint.begin()
        return matching


def _inner_loop(clips_per_class):
    return 1 if clips_per_class == 1 else max(round(_EPOCHS_OF_A_NETWORK / clips_per_class), 1)
