"""Distillation by matching training trajectories (MTT), Algorithm 1 of the DDFAD paper.

============================  ===============================================================
paper                         here
============================  ===============================================================
θ_S^(t), t = 0 .. T           ``experts``: flat parameters after each epoch on the real clips
θ_D^(t + n)                   ``theta``: the student, n steps after it left the expert
N, M of Eq. 3                 ``student_steps``, ``expert_epochs_matched``
M of Algorithm 1              ``max_iter`` (the paper uses the letter twice)
T'                            ``max_start_epoch``
D, α                          ``clips``, ``alpha`` (``learning_rate_``)
γ of NSD                      ``real_guidance``
============================  ===============================================================
"""

from dataclasses import KW_ONLY, dataclass, replace
from functools import partial
from itertools import pairwise
from math import ceil, log, sqrt
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np
import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import cross_entropy

from sklearn_ddfad._training import FunctionalNetwork, clip_reader, draw_seed, functional_network
from sklearn_ddfad._validation import HasMethods, Interval
from sklearn_ddfad.augmentation import Augmentation, NoAugmentation
from sklearn_ddfad.distillation._base import BaseDistiller, Matching
from sklearn_ddfad.distillation._experts import train_experts

_EXPERT_EPOCHS, _EPOCHS_MATCHED = 14, 2
_FEW, _LAST_START_OF_FEW = 5, 5
_STEPS, _MOST_EPOCHS = 50, 10  # epochs shorter than so many steps go together, up to so many
_GRAPHS, _GRAPH_BYTES = 10, 200_000_000  # of steps, kept where no budget says otherwise
_FIRST_STUDENTS, _MOST_HALVINGS = 10, 4  # that tell how long the first steps may be
_ASTRAY = 1.1  # Eq. 3 where steps in no direction at all have taken them a third of the way
_MOST_BYTES_OF_WEIGHTS = 2**28  # of all steps of a student; beyond that, only some steps keep them
_TINY = 1e-12  # keeps 0 / 0 away where an expert did not move at all (a single class)


class Segment(NamedTuple):
    """A stretch of an expert's trajectory: where a student starts and where it should arrive."""

    start: torch.Tensor
    target: torch.Tensor


def trajectory_loss(
    network, segment, clips, labels, alpha, batches, augmentation, memory_budget, guidance=None
):
    """Return Eq. 3 for one student, differentiable by `clips`, `labels` and `alpha`.

    The squared distance from where the student ends to the target, in units of how far the
    expert itself went: 1 when the student stands still, 0 when it arrives.

    Parameters
    ----------
    network : FunctionalNetwork
        The architecture of expert and student.
    segment : Segment
        Flat parameters of the expert at epochs t and t + M.
    clips : torch.Tensor of shape (n_clips, ...)
        The distilled clips.
    labels : torch.Tensor
        Class indices, or logits of shape (n_clips, n_classes).
    alpha : torch.Tensor, scalar
        Step size of the student.
    batches : list of (indices, draw)
        For each of the N steps, which clips it sees and how they are augmented.
    augmentation : callable
        ``augmentation(clips, draw)``.
    memory_budget : int or None
        Bytes that the graphs of steps may take; ``None`` is 200 MB, or what ten steps take where
        that is more. The graphs that do not fit are made again on the way back, one at a time.
    guidance : callable or None, default=None
        What is added to Eq. 3: ``guidance(theta)`` of the student's last weights, a scalar.

    Returns
    -------
    loss : torch.Tensor, scalar
        With the exact gradient of all N steps.
    """
    return _TrajectoryLoss.apply(
        clips, labels, alpha, network, segment, batches, augmentation, memory_budget, guidance
    )


class _TrajectoryLoss(Function):
    """The adjoint method: only the student's parameters are kept from the way forth.

    With ``g_n`` the gradient of step n and ``λ = dL/dθ`` at its end, on the way back

        dL/dα -= λ·g_n,    dL/d(clips) -= α ∂(λ·g_n)/∂(clips),    λ -= α ∂(λ·g_n)/∂θ,

    which is what automatic differentiation of all steps at once would compute, to rounding.
    """

    @staticmethod
    def forward(
        ctx,
        clips,
        labels,
        alpha,
        network,
        segment,
        batches,
        augmentation,
        memory_budget,
        guidance,
    ):
        theta, steps, n_kept = segment.start, [], 1
        for n, (indices, draw) in enumerate(batches):
            step = _Step(network, theta, clips, labels, indices, draw, augmentation)
            theta = theta - alpha * step.gradient(keep_graph=n < n_kept)
            if n == 0:
                n_kept = _graphs_kept(memory_budget, step.n_bytes, len(batches))
                spacing = _weights_spacing(theta, len(batches))
            if n >= n_kept:
                step.forget(weights=n % spacing > 0)
            steps.append(step)
        loss, ctx.lam = _loss_at_the_end(theta, segment, guidance)
        ctx.steps = steps
        ctx.save_for_backward(clips, labels, alpha)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_loss):
        clips, labels, alpha = ctx.saved_tensors
        lam = grad_loss * ctx.lam
        d_clips, d_alpha = torch.zeros_like(clips), torch.zeros_like(alpha)
        d_labels = torch.zeros_like(labels) if ctx.needs_input_grad[1] else None
        rate = alpha.item()
        while ctx.steps:
            _find_weights_again(ctx.steps, alpha)
            step = ctx.steps.pop()
            gradient, by_theta, by_clips, by_labels = step.pull_back(lam)
            d_alpha -= lam @ gradient
            d_clips.index_add_(0, step.indices, by_clips, alpha=-rate)
            if d_labels is not None:
                d_labels.index_add_(0, step.indices, by_labels, alpha=-rate)
            lam = lam - alpha * by_theta
        return d_clips, d_labels, d_alpha, None, None, None, None, None, None


def _loss_at_the_end(theta, segment, guidance):
    """Return what the student's last weights cost, and the derivative by them."""
    went = (segment.target - segment.start).square().sum().clamp_min(_TINY)
    missing = theta - segment.target
    loss, lam = missing.square().sum() / went, 2 * missing / went
    if guidance is not None:
        with torch.enable_grad():
            theta = theta.detach().requires_grad_()
            more = guidance(theta)
        loss, lam = loss + more.detach(), lam + torch.autograd.grad(more, theta)[0]
    return loss, lam


def _graphs_kept(memory_budget, n_bytes, n_steps):
    """Return how many steps keep their graphs: all, or one less than fit, to make one again."""
    if memory_budget is None:
        memory_budget = max(_GRAPHS * n_bytes, _GRAPH_BYTES)
    n_fit = memory_budget // n_bytes
    return n_steps if n_fit >= n_steps else max(n_fit - 1, 0)


def _weights_spacing(theta, n_steps):
    """Return that of which steps the student's weights are kept: of all while that is little."""
    n_bytes = n_steps * theta.numel() * theta.element_size()
    return 1 if n_bytes <= _MOST_BYTES_OF_WEIGHTS else ceil(sqrt(n_steps))


def _find_weights_again(steps, alpha):
    """Take the steps again that lead from the last weights kept to those of the last step."""
    last_known = next(n for n in reversed(range(len(steps))) if steps[n].theta is not None)
    for step, following in pairwise(steps[last_known:]):
        following.theta = step.theta - alpha * step.gradient(keep_graph=False)


class _Step:
    """One gradient step of the student, whose graph is kept or made again when asked for."""

    def __init__(self, network, theta, clips, labels, indices, draw, augmentation):
        self.network, self.theta, self.indices = network, theta, indices
        self._source, self._draw, self._augmentation = (clips, labels), draw, augmentation
        self._graph, self.n_bytes = None, 0

    def gradient(self, *, keep_graph):
        """Return the gradient of the loss by the parameters; count the bytes of a graph kept."""
        if not keep_graph:
            return self._build(create_graph=False)[0]
        storages = {}

        def count(tensor):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
            return tensor.detach()  # an output that is kept by its own node would never be freed

        with saved_tensors_hooks(count, lambda tensor: tensor):
            self._graph = self._build(create_graph=True)
        self.n_bytes = sum(storages.values())
        return self._graph[0].detach()

    def forget(self, *, weights):
        """Let go of the graph, and of the weights where that is asked for."""
        self._graph = None
        if weights:
            self.theta = None

    def pull_back(self, lam):
        """Return the gradient g and the derivatives of λ·g by parameters, clips and labels."""
        gradient, *inputs = self._graph or self._build(create_graph=True)
        self._graph = None
        products = torch.autograd.grad(gradient, inputs, lam, allow_unused=True)
        return gradient.detach(), *products, *[None] * (3 - len(products))

    @torch.enable_grad()
    def _build(self, *, create_graph):
        clips, labels = (part.detach()[self.indices] for part in self._source)
        inputs = [self.theta.detach().requires_grad_(), clips.requires_grad_(create_graph)]
        if labels.is_floating_point():
            inputs.append(labels.requires_grad_(create_graph))
            labels = labels.softmax(dim=1)
        # A view, since layers can tell of anything but a leaf whether its gradient is wanted.
        augmented = self._augmentation(clips.view_as(clips), self._draw)
        gradient = self.network.loss_gradient(
            inputs[0], augmented, labels, create_graph=create_graph
        )
        return gradient, *inputs


@dataclass
class TrajectoryMatching(Matching):
    """Lines 3 to 9 of Algorithm 1: a student, drawn at random, against a stretch of an expert."""

    network: FunctionalNetwork
    experts: list[np.ndarray]
    _: KW_ONLY
    epochs: range  # recorded of each expert
    last_start: int
    epochs_matched: int
    student_steps: int
    batch_size: int
    augmentation: Augmentation | NoAugmentation
    memory_budget: int | None
    guidance: "RealGuidance | None" = None

    def __post_init__(self):
        self.largest = 3.0 + (self.guidance.largest if self.guidance else 0.0)

    def __call__(self, iterate, generator):
        """Return Eq. 3, and what real clips add, for a student drawn by `generator`."""
        return trajectory_loss(
            self.network,
            self.segment(generator, iterate.clips.device),
            iterate.clips,
            iterate.labels,
            iterate.alpha,
            self.batches(iterate.clips, generator),
            self.augmentation,
            self.memory_budget,
            self.guidance and self.guidance.on_a_batch(self.network, generator),
        )

    def first_alpha(self, iterate, generator):
        """Return α, halved until students, on the mean, end hardly farther off than they began.

        With longer steps they run astray, above all those of deep networks on few clips, and what
        the gradient says about the clips is little but chance.
        """
        students = replace(self, memory_budget=0, guidance=None)
        alpha = iterate.alpha
        for _ in range(_MOST_HALVINGS):
            tried = iterate._replace(alpha=alpha)
            losses = [students(tried, generator).item() for _ in range(_FIRST_STUDENTS)]
            if sum(losses) <= _FIRST_STUDENTS * _ASTRAY:
                break
            alpha = alpha / 2
        return alpha.item()

    def segment(self, generator, device):
        """Return a random stretch of a random expert."""
        expert = self.experts[_integer(generator, 0, len(self.experts) - 1)]
        starts = self.epochs[: (self.last_start - self.epochs.start) // self.epochs.step + 1]
        start = starts[_integer(generator, 0, len(starts) - 1)]
        ends = (self.epochs.index(epoch) for epoch in (start, start + self.epochs_matched))
        return Segment(*(torch.tensor(expert[row], device=device) for row in ends))

    def batches(self, clips, generator):
        """Return N batches, ``(indices, draw)``: the set in random order, again and again."""
        batches: list = []
        while len(batches) < self.student_steps:
            for indices in torch.randperm(len(clips), generator=generator).split(self.batch_size):
                draw = self.augmentation.draw((len(indices), *clips.shape[1:]), generator)
                batches.append((indices.to(clips.device), draw))
        return batches[: self.student_steps]


class RealGuidance:
    """Real clips, which a student should classify: line 15 of Algorithm 1 of the NSD paper."""

    def __init__(self, weight, X, codes, batch_size, augmentation, device):
        self._weight, self._augmentation = weight, augmentation
        self._read, self._shape = clip_reader(X, device), X.shape[1:]
        self._codes = torch.as_tensor(codes).to(device)
        self._n_drawn = min(batch_size, len(codes))
        self.largest = 3 * weight * log(codes.max() + 2)  # thrice what a guess would cost

    def on_a_batch(self, network, generator):
        """Return the weighted cross-entropy on a random batch, a function of the weights."""
        indices = torch.randperm(len(self._codes), generator=generator)[: self._n_drawn]
        draw = self._augmentation.draw((len(indices), *self._shape), generator)
        clips = self._augmentation(self._read(indices), draw)
        codes = self._codes[indices.to(self._codes.device)]
        return lambda theta: self._weight * cross_entropy(network(theta, clips), codes)


def _integer(generator, low, high):
    """Return a random integer of ``low .. high``, both ends included."""
    return torch.randint(low, high + 1, (), generator=generator).item()


class TrajectoryDistiller(BaseDistiller):
    """Distil by matching training trajectories (MTT): Algorithm 1 of the DDFAD paper [1]_, [2]_.

    Experts, networks trained on the real clips, are recorded after every epoch. Then, again and
    again, a student starts where an expert was at a random epoch, takes ``student_steps`` steps on
    the distilled clips, and the clips (and the student's step size α) are changed such that it
    ends where the expert was ``expert_epochs_matched`` epochs later (Eq. 3). The gradient is exact
    and needs the memory of a few steps, whatever their number.

    Parameters
    ----------
    cpc : int, default=10
        Distilled clips per class; with a `parameterization`, the storage of so many.
    network : {"auto", "convnet", "mlp", "resnet18", "vgg11"} or callable, default="auto"
        Architecture of experts and students: a name, a module class or a callable
        ``(input_shape, n_classes) -> torch.nn.Module``. ``"auto"`` is a ConvNet for feature
        images and an MLP for rows.
    estimator : classifier or None, default=None
        What is trained on the distilled set and answers ``predict`` and ``score``: any
        scikit-learn or skorch classifier; ``None`` is ``network_classifier(network)``.
    parameterization : Direct, Static, Spectral, Waveform or None, default=None
        What the learned numbers are; ``None`` is ``Direct()``, the features of the clips. There
        are as many numbers as `cpc` clips a class have features, and maybe more clips.
    n_experts : int, default=12
        Experts trained.
    expert_epochs : int or None, default=None
        Epochs that each may be trained for; ``None`` is 14, or as many as `max_start_epoch` asks
        for. What no student could start at or arrive at is neither trained nor recorded. Where
        neither of them, nor `expert_epochs_matched`, is given and data are few, epochs of less
        than 50 steps count together, up to ten as one: 2,500 clips are trained on for 14 epochs,
        800 for 42, every third of which is recorded.
    student_steps : int, default=20
        N of Eq. 3.
    expert_epochs_matched : int or None, default=None
        M of Eq. 3; ``None`` is 2, or as many as count for 2 where data are few.
    real_guidance : float, default=0.0
        γ of the NSD paper [3]_: how much the student's cross-entropy on a batch of real clips, in
        the end, adds to Eq. 3.
    min_start_epoch, max_start_epoch : int, default=0 and None
        The first and the last epoch at which a student may start. ``None`` is the last that can be
        matched, and 5 (or what counts for 5) for fewer than five clips a class, which can only
        teach what experts learn early.
    max_iter : int or None, default=None
        Updates of the distilled clips; ``None`` is 200, and up to 600 for sets of less than 50
        clips, whose updates are cheap.
    batch_size : int, default=50
        Clips in a step of the student, and of an expert.
    learning_rate : float, default=0.05
        Step size of Adam on the clips, in standardised units.
    augmentation : "auto", None or Augmentation, default="auto"
        Applied to what experts and students see; ``"auto"`` is ``Augmentation()`` for feature
        images, None for rows.
    soft_labels : bool, default=False
        Whether the probabilities of the classes are learned with each clip, which begins as its
        own class by nine tenths. They are stored beside what `cpc` allows for clips.
    init : {"real", "noise"}, default="real"
        What the clips are at first.
    validation_fraction : float in [0, 1), default=0.1
        Part of the training data that is kept aside to select the best iterate on. Where it has
        fewer clips than there are classes, all data are learned from and the last iterate is kept.
    memory : str, joblib.Memory or None, default=None
        Cache for the experts, each by itself: trained once for the same data and seed, whatever
        ``cpc``, ``n_experts`` or ``n_jobs`` is. `checkpoint` then keeps none.
    checkpoint : str, Path or None, default=None
        Folder that belongs to this fit. One that was killed goes on from there, with at most one
        expert and a few seconds lost, and ends where an unbroken one would.
    memory_budget : int or None, default=None
        Bytes that the graphs of student steps may take; ``None`` is 200 MB, or what ten steps take
        where that is more. What does not fit is computed twice: with room for all, an iteration
        takes a tenth to a third less time.
    n_students : int or None, default=None
        Students in each iteration, computed one after the other, whose losses and gradients are
        averaged. Under ``torchrun`` the processes share them, and the experts, among themselves;
        ``None`` is one for each process.
    n_jobs : int or None, default=None
        Processes, of whatever joblib backend is active, that experts are trained in. On a GPU,
        ``None`` trains them side by side, and 1 one after the other.
    device : str, default="auto"
        ``"auto"`` is CUDA where there is one.
    callbacks : list of callables or None, default=None
        Called as ``callback(distiller)`` after each iteration; fitting ends when one returns True,
        and a `checkpoint` remembers it.
    random_state : int, RandomState or None, default=None
        Seeds everything; the same int gives the same set, bit for bit, on the same CPU.
    verbose : int, default=0
        Whether progress is shown.

    Attributes
    ----------
    distilled_ : DistilledSet
        The distilled clips, with labels, step size and provenance.
    y_distilled_, classes_ : ndarray
        Their labels, and the classes there are.
    learning_rate_ : float
        The learned step size α.
    soft_labels_ : ndarray of float32, shape (n_distilled, n_classes), or None
        The learned labels, where `soft_labels` asks for them.
    loss_curve_ : list of float
        Eq. 3 at each iteration, the mean over its students, with what `real_guidance` adds.
    n_iter_ : int
        Iterations run.
    estimator_ : classifier
        Trained on the distilled set; its labels are indices into ``classes_``.

    References
    ----------
    .. [1] W. Jiang et al., "DDFAD: Dataset distillation framework for audio data", 2024.
    .. [2] G. Cazenavette et al., "Dataset distillation by matching training trajectories",
       CVPR, 2022.
    .. [3] S. Yang et al., "Neural spectral decomposition for dataset distillation", ECCV, 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ddfad import TrajectoryDistiller
    >>> X = np.random.default_rng(0).normal(size=(40, 6))
    >>> y = np.where(X[:, 0] > 0, "right", "left")
    >>> distiller = TrajectoryDistiller(cpc=2, n_experts=2, max_iter=10, random_state=0).fit(X, y)
    >>> distiller.transform().shape
    torch.Size([4, 6])
    >>> distiller.y_distilled_
    array(['left', 'left', 'right', 'right'], dtype='<U5')
    """

    _parameter_constraints: dict = {
        **BaseDistiller._parameter_constraints,
        "n_experts": [Interval(Integral, 1, None, closed="left")],
        "expert_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "student_steps": [Interval(Integral, 1, None, closed="left")],
        "expert_epochs_matched": [Interval(Integral, 1, None, closed="left"), None],
        "real_guidance": [Interval(Real, 0, None, closed="left")],
        "min_start_epoch": [Interval(Integral, 0, None, closed="left")],
        "max_start_epoch": [Interval(Integral, 0, None, closed="left"), None],
        "memory": [str, HasMethods("cache"), None],
        "memory_budget": [Interval(Integral, 0, None, closed="left"), None],
        "n_students": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        cpc=10,
        *,
        network="auto",
        estimator=None,
        parameterization=None,
        n_experts=12,
        expert_epochs=None,
        student_steps=20,
        expert_epochs_matched=None,
        real_guidance=0.0,
        min_start_epoch=0,
        max_start_epoch=None,
        max_iter=None,
        batch_size=50,
        learning_rate=0.05,
        augmentation="auto",
        soft_labels=False,
        init="real",
        validation_fraction=0.1,
        memory=None,
        checkpoint=None,
        memory_budget=None,
        n_students=None,
        n_jobs=None,
        device="auto",
        callbacks=None,
        random_state=None,
        verbose=0,
    ):
        self.cpc = cpc
        self.network = network
        self.estimator = estimator
        self.parameterization = parameterization
        self.n_experts = n_experts
        self.expert_epochs = expert_epochs
        self.student_steps = student_steps
        self.expert_epochs_matched = expert_epochs_matched
        self.real_guidance = real_guidance
        self.min_start_epoch = min_start_epoch
        self.max_start_epoch = max_start_epoch
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.augmentation = augmentation
        self.soft_labels = soft_labels
        self.init = init
        self.validation_fraction = validation_fraction
        self.memory = memory
        self.checkpoint = checkpoint
        self.memory_budget = memory_budget
        self.n_students = n_students
        self.n_jobs = n_jobs
        self.device = device
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    _learns_alpha = _needs_two_classes = True

    def _iterations(self, n_clips):
        return round(min(max(10_000 / n_clips, 200), 600))

    def _matching_loss(self, X, codes, rng, checkpoint):
        """Train the experts, or take them from the cache; return the loss against them."""
        epochs, last_start, epochs_matched = self._window(len(X))
        n_classes = len(self.classes_)
        network = functional_network(
            self.network, self.input_shape_, n_classes, seed=0, device=self.device_
        )
        train = partial(
            train_experts,
            X,
            codes,
            network=self.network,
            n_classes=n_classes,
            epochs=epochs,
            batch_size=self.batch_size,
            augmentation=self.augmentation_,
            device=str(self.device_),
            memory=self.memory,
            folder=checkpoint.begin(),
            n_jobs=self.n_jobs,
            verbose=self.verbose and self._ranks.is_first,
        )
        seeds = [draw_seed(rng) for _ in range(self.n_experts)]
        experts = self._ranks.share_out(lambda own: train(seeds=own), seeds)
        return TrajectoryMatching(
            network,
            experts,
            epochs=epochs,
            last_start=last_start,
            epochs_matched=epochs_matched,
            student_steps=self.student_steps,
            batch_size=self.batch_size,
            augmentation=self.augmentation_,
            memory_budget=self.memory_budget,
            guidance=self._guidance(X, codes),
        )

    def _guidance(self, X, codes):
        """Return what real clips add to Eq. 3, if anything."""
        if self.real_guidance == 0:
            return None
        return RealGuidance(
            self.real_guidance, X, codes, self.batch_size, self.augmentation_, self.device_
        )

    def _window(self, n_clips):
        """Return the epochs recorded of an expert, whatever `cpc`, the last start, and M."""
        unit = self._epochs_that_count_as_one(n_clips)
        matched = self.expert_epochs_matched or _EPOCHS_MATCHED * unit
        n_epochs, last_start = self.expert_epochs, self.max_start_epoch
        if n_epochs is None:
            n_epochs = _EXPERT_EPOCHS * unit if last_start is None else last_start + matched
        if last_start is None:
            early = _LAST_START_OF_FEW * unit if self.cpc < _FEW else n_epochs
            last_start = min(early, n_epochs - matched)
        if last_start + matched > n_epochs or last_start < 0:
            msg = (
                f"experts of {n_epochs} epochs (expert_epochs={self.expert_epochs}) end before "
                f"max_start_epoch={self.max_start_epoch} plus expert_epochs_matched={matched}; "
                "give more expert_epochs, or less of these."
            )
            raise ValueError(msg)
        if self.min_start_epoch > last_start:
            msg = (
                f"min_start_epoch={self.min_start_epoch} is beyond the last epoch to start at, "
                f"{last_start}; lower it, or raise max_start_epoch."
            )
            raise ValueError(msg)
        last_end = n_epochs if self.max_start_epoch is None else last_start + matched
        return range(self.min_start_epoch, last_end + 1, unit), last_start, matched

    def _epochs_that_count_as_one(self, n_clips):
        """Return how many: few steps would only show how an expert begins."""
        given = self.expert_epochs_matched, self.expert_epochs, self.max_start_epoch
        if any(number is not None for number in given):
            return 1
        steps = ceil(n_clips / self.batch_size)
        return min(max(round(_STEPS / steps), 1), _MOST_EPOCHS)
