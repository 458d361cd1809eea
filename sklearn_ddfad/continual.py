"""Class after class: a network that rehearses a small memory of what it has learned, after EEIL."""

from copy import deepcopy
from dataclasses import replace
from functools import partial
from itertools import pairwise
from math import ceil, isfinite, nan
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn.functional import cross_entropy

from sklearn_ddfad._training import (
    NetworkClassifier,
    draw_seed,
    embedded,
    fresh,
    isolated_rng,
    network_classifier,
    without_gpu,
)
from sklearn_ddfad._validation import (
    HasMethods,
    Interval,
    Rows,
    StrOptions,
    check_features,
    check_labels,
    fit_context,
)
from sklearn_ddfad.augmentation import resolve_augmentation
from sklearn_ddfad.base import BaseReducer, forget, in_batches
from sklearn_ddfad.compose import DistillationSampler
from sklearn_ddfad.distilled_set import DistilledSet
from sklearn_ddfad.networks import make_network
from sklearn_ddfad.parameterization import Direct, DirectDecoder, joined, some_of

_TEMPERATURE = 2
_BALANCED_STEPS, _BALANCED_RATE = 1 / 2, 1 / 2  # of those of the stage before


class RehearsalClassifier(MetaEstimatorMixin, ClassifierMixin, BaseEstimator):
    r"""Learn new classes step by step, rehearsing a small memory of the old ones: EEIL [1]_.

    Each call of :meth:`partial_fit` brings new classes with all their clips. Of old classes only
    the memory is there: a few clips of each, chosen or made by `memory`. Section 5.1 of the DDFAD
    paper [2]_ keeps EEIL as it is, and distils what EEIL chooses by herding. A step is this:

    1. The last layer grows by an output for each new class, and the network learns from the new
       clips and the memory together, by the cross-distilled loss (:func:`cross_distilled_loss`): it
       is to name all clips, and to say of each, among the classes of each earlier step, what the
       network said before this step.
    2. `memory` keeps a few clips of the new classes.
    3. The network is fine-tuned on the memory, which has as many clips of new classes as of old
       ones. The classes of this step are now distilled, too, from the network as stage 1 left it.

    Parameters
    ----------
    memory : distiller, selector, sampler or None
        What keeps clips of the classes of a step, cloned in each: ``TrajectoryDistiller(20)``,
        ``HerdingSelector(20)``, or anything with ``fit_resample(X, y)``, which gets images as rows
        if its tags say that it takes no others. It sees the clips of that step alone. A selector
        with ``embedding="network"`` looks through the network of this classifier, as in EEIL, or
        where that learns nothing but the memory (``"scratch"``) through another one like it. Its
        seeds come from the `random_state` below, where that is not None, the ``estimator`` of a
        distiller or selector is put aside, and in a ``checkpoint`` each step has a folder of its
        own. ``None`` keeps nothing.
    strategy : {"eeil", "finetune", "scratch"}, default="eeil"
        ``"eeil"`` is the above. ``"finetune"`` learns from new clips and memory by cross-entropy
        alone, the lower bound where `memory` is None. ``"scratch"`` trains a new network on the
        memory alone in each step.
    memory_size : int or None, default=None
        Clips in the whole memory, shared out evenly among the classes there are. ``None`` lets each
        class have what `memory` keeps of it, its ``cpc``, for ever. With a number, that is the most
        that a class gets, and the memory of old classes shrinks as new ones come: the last clips
        of each go first. A selector's clips are in order of choice, so that what is left is its
        choice of fewer. Distilled clips are not: what is left are some of them, as they are
        decoded, worth less than a set that was distilled to be so small.
    network : {"auto", "convnet", "efficientnetv2", "mlp", "resnet18", "vgg11"} or callable
        A name, a module class or a callable ``(input_shape, n_classes) -> torch.nn.Module`` whose
        modules end in a linear layer, the last one that they hold, which can grow. ``"auto"`` is a
        ConvNet for feature images and an MLP for rows.
    n_steps : int, default=400
        Gradient steps of stage 1, and at least 20 epochs; stage 3 takes half of that.
    learning_rate : float, default=0.1
        First step size of stage 1, falling to zero along half a cosine; half of that in stage 3.
    batch_size : int, default=50
        Clips in a gradient step.
    augmentation : "auto", None or Augmentation, default="auto"
        Applied to each batch; ``"auto"`` is ``Augmentation()`` for feature images, None for rows.
    device : str, default="auto"
        ``"auto"`` is CUDA where there is one.
    random_state : int, RandomState or None, default=None
        Seeds networks, training and memory; the same int gives the same result, bit for bit, on the
        same CPU.

    Attributes
    ----------
    memory_ : DistilledSet or None
        The memory: ``memory_.save(path)`` keeps it, in as few numbers as `memory` needs,
        ``memory_.with_extractor(extractor).to_audio_folder(path)`` lets it be heard.
    classes_ : ndarray
        The labels learned so far, sorted.
    history_ : list of dict
        For each step its ``classes``, the number of clips it brought (``n_clips``), how many there
        were in the memory after it (``n_memory``), and the mean ``loss`` of the last epoch of
        each stage. :func:`incremental_scores` tells from ``classes`` what the steps were worth.
    module_ : torch.nn.Module
        The network; its outputs are in the order in which classes came.

    References
    ----------
    .. [1] F. M. Castro, M. J. Marín-Jiménez, N. Guil, C. Schmid, K. Alahari, "End-to-end
       incremental learning", ECCV, 2018.
    .. [2] W. Jiang et al., "DDFAD: Dataset distillation framework for audio data", 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ddfad import RandomSelector, RehearsalClassifier
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(120, 6)), np.repeat(["cat", "cow", "dog", "owl"], 30)
    >>> X[np.arange(120), np.arange(120) // 30] += 6
    >>> classifier = RehearsalClassifier(RandomSelector(5), n_steps=50, random_state=0)
    >>> classifier = classifier.partial_fit(X[:60], y[:60]).partial_fit(X[60:], y[60:])
    >>> classifier.score(X, y) > 0.9
    True
    >>> classifier.memory_
    DistilledSet(20 clips, 4 classes, by RehearsalClassifier)
    """

    _parameter_constraints: dict = {
        "memory": [BaseReducer, HasMethods(["fit_resample"]), None],
        "strategy": [StrOptions({"eeil", "finetune", "scratch"})],
        "memory_size": [Interval(Integral, 1, None, closed="left"), None],
        "network": [str, callable],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        memory,
        *,
        strategy="eeil",
        memory_size=None,
        network="auto",
        n_steps=400,
        learning_rate=0.1,
        batch_size=50,
        augmentation="auto",
        device="auto",
        random_state=None,
    ):
        self.memory = memory
        self.strategy = strategy
        self.memory_size = memory_size
        self.network = network
        self.n_steps = n_steps
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.augmentation = augmentation
        self.device = device
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y):
        """Forget everything, then learn the classes of a first step.

        Parameters
        ----------
        X : array-like of shape (n_clips, ...)
            Features, all finite: feature images ``(n_planes, n_coefficients, n_frames)`` or rows.
            Those of a step are held in memory.
        y : array-like of shape (n_clips,)
            Labels of any type.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        forget(self)
        return self.partial_fit(X, y)

    @fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X, y):
        """Learn new classes, the first ones or those of a further step.

        Parameters
        ----------
        X : array-like of shape (n_clips, ...)
            Features, as in :meth:`fit`: all clips of the new classes.
        y : array-like of shape (n_clips,)
            Their labels, of the type that the known ones have.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            Before any training, if the features or labels are not usable, a class is known
            already (a class is learned once, with all its clips), `memory` cannot be, or would
            keep no fewer clips than there are, or the network has no last layer that can grow.
            Afterwards, if a sampler kept all clips, or the training diverged. What had been learned
            before stays as it was.
        """
        step, classes = self._check_step(X, y)
        steps = [*self._steps(), classes]
        keeper, module = self._keeper(step, steps), self._network(steps)
        memory, losses, teachers = vars(self).get("memory_"), [], []
        if self.strategy == "eeil" and len(steps) > 1:
            teachers = [self.module_]
        if self.strategy != "scratch":
            _look_through(keeper, module, step)
            losses.append(self._learn(module, merged(memory, step), steps, teachers))
        memory = self._within_size(merged(memory, kept_by(keeper, step)), steps)
        if self.strategy == "scratch":
            losses.append(self._learn(module, memory, steps))
        elif teachers and keeper is not None:
            teachers.append(module)  # as it is now: whoever learns from it copies it
            losses.append(self._learn(module, memory, steps, teachers, balanced=True))
        return self._settle(steps, module, memory, losses, n_clips=step.n_clips)

    @fit_context(prefer_skip_nested_validation=False)
    def fit_memory(self, memory):
        """Forget everything, then learn what a memory holds: a first step without recordings.

        The memory of another rehearsal, or a set that was distilled in one go, stands for its
        classes; further ones come by :meth:`partial_fit`.

        Parameters
        ----------
        memory : DistilledSet
            The clips of some classes: what ``memory_`` begins as.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        TypeError
            If `memory` is something else.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn_ddfad import DistilledSet, RandomSelector, RehearsalClassifier
        >>> y = np.repeat(["cat", "cow", "dog", "owl"], 10)
        >>> X = np.float32(6 * (y[:, None] == np.unique(y)))
        >>> loaded = DistilledSet(X[:20:5], y[:20:5])  # as from DistilledSet.load(path)
        >>> classifier = RehearsalClassifier(RandomSelector(2), n_steps=50, random_state=0)
        >>> classifier.fit_memory(loaded).partial_fit(X[20:], y[20:]).score(X, y)
        1.0
        """
        if not isinstance(memory, DistilledSet):
            msg = (
                f"expected a DistilledSet as memory, got {type(memory).__name__}; "
                "DistilledSet.load reads one from a file."
            )
            raise TypeError(msg)
        forget(self)
        steps = [self._check_step(memory.X, memory.y)[1]]
        module = self._network(steps)
        kept = self._within_size(remembered(memory), steps)
        losses = [self._learn(module, kept, steps)]
        return self._settle(steps, module, kept, losses, n_clips=memory.n_clips)

    def predict(self, X):
        """Return the label of each clip, one of all learned so far.

        Parameters
        ----------
        X : array-like of shape (n_clips, ...)
            Features like those of ``fit``.

        Returns
        -------
        y : ndarray of shape (n_clips,)
            Labels of the type given to ``fit``.
        """
        columns = self.predict_proba(X).argmax(axis=1)
        return self.classes_[columns]

    def predict_proba(self, X):
        """Return the probability of each class; parameters as in :meth:`predict`.

        Returns
        -------
        probabilities : ndarray of shape (n_clips, n_classes)
            Columns in the order of ``classes_``.
        """
        check_is_fitted(self)
        X = check_features(self, X, reset=False)
        columns = np.argsort(np.concatenate(self._steps()))
        return in_batches(self._probabilities, X)[:, columns]

    @torch.no_grad()
    def _probabilities(self, clips):
        device = next(self.module_.parameters()).device
        return self.module_(torch.from_numpy(clips).to(device)).softmax(dim=1).cpu().numpy()

    # -- the parts of a step -------------------------------------------------------------

    def _steps(self):
        """Return the classes of each step so far."""
        return [record["classes"] for record in vars(self).get("history_", [])]

    def __getstate__(self):
        return without_gpu(super().__getstate__(), "module_")

    def __sklearn_is_fitted__(self):
        return hasattr(self, "module_")

    def _check_step(self, X, y):
        """Return the clips of a step and its classes, if they can be learned after those known."""
        known = self._steps()
        X = check_features(self, X, reset=not known)
        classes, codes = check_labels(y, len(X))
        if known:
            _check_new(classes, np.concatenate(known))
        else:
            self.input_shape_ = X.shape[1:]
            self._seed = draw_seed(check_random_state(self.random_state))
        resolve_augmentation(self.augmentation, self.input_shape_)
        self._rng = np.random.RandomState([self._seed, len(known)])  # of this step alone
        return DistilledSet(X[:], classes[codes]), classes

    def _keeper(self, step, steps):
        """Return `memory`, ready to keep clips of a step, or None if nothing is to be kept."""
        share = self._share(steps)
        if self.memory is None:
            if self.strategy == "scratch":
                msg = "strategy='scratch' learns from the memory alone; give a memory."
                raise ValueError(msg)
            return None
        apart = np.random.RandomState([self._seed, len(steps), 1])  # networks are alike for all
        is_seeded = self.random_state is not None
        keeper = fresh(self.memory, apart) if is_seeded else clone(self.memory)
        _check_parameters(keeper)
        if self.strategy == "scratch" and looks_through_a_network(keeper):
            keeper.set_params(network=self.network)
        for name, value in keeper.get_params().items():
            last = name.rpartition("__")[2]
            if last == "checkpoint" and value is not None:
                keeper.set_params(**{name: Path(value, f"step_{len(steps)}")})
            elif last == "cpc":
                cpc = value if share is None else min(value, share)
                _check_fewer(cpc, step)
                keeper.set_params(**{name: cpc})
        _check_task(keeper, step)
        return keeper

    def _share(self, steps):
        """Return how many clips of the memory a class may have; None is as many as it gets."""
        n_classes = sum(map(len, steps))
        if self.memory_size is None:
            return None
        if self.memory_size < n_classes:
            msg = (
                f"memory_size={self.memory_size} has no room for a clip of each of {n_classes} "
                "classes; raise it."
            )
            raise ValueError(msg)
        return self.memory_size // n_classes

    def _within_size(self, memory, steps):
        """Return of a memory what there is room for: the first clips of each class."""
        share = self._share(steps)
        return memory if memory is None or share is None else first_of_each_class(memory, share)

    def _network(self, steps):
        """Return a new network, or the one there is with an output more for each new class."""
        seed, n_classes = draw_seed(self._rng), sum(map(len, steps))
        if len(steps) > 1 and self.strategy != "scratch":
            return grown(self.module_, len(steps[-1]), seed)
        with isolated_rng(seed):
            module = make_network(self.network, self.input_shape_, n_classes)
        name = last_linear(module)
        if name is None or module.get_submodule(name).out_features != n_classes:
            msg = (
                f"{type(module).__name__} does not end in a linear layer that has {n_classes} "
                "outputs and could grow; give it one."
            )
            raise ValueError(msg)
        return module

    def _learn(self, module, clips, steps, teachers=(), *, balanced=False):
        """Train a network on a set, its outputs in the order of the `steps`; return the loss."""
        stops = np.cumsum([0, *map(len, steps)])
        judge = network_classifier(
            lambda input_shape, n_classes: module,
            n_steps=ceil(self.n_steps * (_BALANCED_STEPS if balanced else 1)),
            lr=self.learning_rate * (_BALANCED_RATE if balanced else 1),
            batch_size=self.batch_size,
            augmentation=self.augmentation,
            device=self.device,
            random_state=draw_seed(self._rng),
        )
        learner = _Learner(
            **judge.get_params(deep=False),
            teachers=[deepcopy(teacher).to(judge.device) for teacher in teachers],
            heads=[slice(*ends) for ends in pairwise(stops)],
        )
        learner.fit(clips.X, probabilities(clips, np.concatenate(steps)))
        module.eval()
        loss = float(learner.history[-1, "train_loss"])
        if not isfinite(loss):
            msg = (
                f"the training of this step diverged, its loss is {loss}; lower "
                f"learning_rate={self.learning_rate}. What was learned before is as it was."
            )
            raise ValueError(msg)
        return loss

    def _settle(self, steps, module, memory, losses, n_clips):
        """Have learned a step."""
        record = {
            "classes": steps[-1],
            "n_clips": n_clips,
            "n_memory": 0 if memory is None else memory.n_clips,
            "loss": losses,
        }
        self.history_ = [*vars(self).get("history_", []), record]
        self.module_, self.memory_ = module, memory
        self.classes_ = np.sort(np.concatenate(steps))
        return self


def _kind(dtype):
    """Return what labels are, where those of one kind can stand in one array."""
    kinds = {"i": "integer", "u": "integer", "f": "float", "b": "boolean"}
    return kinds.get(dtype.kind, "text")


def _check_new(classes, known):
    """Refuse classes that cannot be learned after those that are `known`."""
    kinds = {_kind(classes.dtype), _kind(known.dtype)}
    if "text" not in kinds:
        kinds.add(_kind(np.result_type(classes, known)))  # of int64 and uint64: floats
    if len(kinds) > 1:
        msg = (
            f"labels are of type {classes.dtype}, those known already of type {known.dtype}; "
            "give all of them as integers, all as floats, all as booleans, or all as strings."
        )
        raise ValueError(msg)
    again = classes[np.isin(classes, known)]
    if len(again):
        msg = (
            f"class {again[0]} is known already; a class is learned once, with all its clips. "
            "Leave them out, or call fit to learn everything anew."
        )
        raise ValueError(msg)


def _check_parameters(keeper):
    """Refuse a memory that cannot be, whatever the clips."""
    if isinstance(keeper, DistillationSampler):
        keeper.check_hard_labels()
        _check_parameters(keeper.distiller)
    if hasattr(keeper, "_parameter_constraints"):
        keeper._validate_params()


def _check_task(keeper, step):
    """Refuse a memory that cannot be made of the clips of a step, as far as can be seen."""
    reducer = keeper.distiller if isinstance(keeper, DistillationSampler) else keeper
    if isinstance(reducer, BaseReducer):
        reducer.set_params(estimator=DummyClassifier())
        reducer.check_task(step.X.shape[1:], step.classes)
        codes = np.searchsorted(step.classes, step.y)
        (reducer.parameterization or Direct()).plan(Rows(step.X), codes, reducer.cpc)


def _check_fewer(cpc, step):
    """Refuse a memory of as many clips as there are."""
    n_kept = cpc * len(step.classes)
    if n_kept >= step.n_clips:
        msg = (
            f"memory keeps cpc={cpc} clips of {len(step.classes)} classes, {n_kept}, and the step "
            f"has no more than n_samples = {step.n_clips}; lower cpc."
        )
        raise ValueError(msg)


# ------------------------------------------------------------------------------------------
# The network
# ------------------------------------------------------------------------------------------


def last_linear(module):
    """Return the name of the last linear layer in a network, None if there is none."""
    parts = module.named_modules()
    names = [name for name, part in parts if name and type(part) is nn.Linear]
    return names[-1] if names else None


def grown(module, n_new, seed):
    """Return a copy of a network whose last linear layer has `n_new` more outputs.

    The outputs there were stay as they are.
    """
    module = deepcopy(module)
    name = last_linear(module)
    old = module.get_submodule(name)
    n_old = old.out_features
    with isolated_rng(seed):
        layer = nn.Linear(old.in_features, n_old + n_new, bias=old.bias is not None)
    layer.to(old.weight.device)
    with torch.no_grad():
        for new_part, part in zip(layer.parameters(), old.parameters(), strict=True):
            new_part[:n_old] = part
    module.set_submodule(name, layer)
    return module


def cross_distilled_loss(logits, targets, old_logits, heads):
    r"""Return the cross-distilled loss of EEIL, its Eq. 1 to 3.

    .. math::

       L = L_C + \sum_f L_{D_f}, \qquad
       L_{D_f} = -\frac1N \sum_i \sum_{j \in f} c_{ij} \log p_{ij}, \quad
       c_{ij} \propto \hat p_{ij}^{1/T}, \quad p_{ij} \propto e^{z_{ij} / T},

    with the cross-entropy :math:`L_C` of all :math:`N` clips over all classes, the probabilities
    :math:`\hat p` that the network gave before, the logits :math:`z` that it gives now, both
    normalised within the head :math:`f`, and :math:`T = 2`. A head of a single class has nothing to
    say, and adds 0.

    Parameters
    ----------
    logits : torch.Tensor of shape (n_clips, n_classes)
        What the network says.
    targets : torch.Tensor
        Class indices, or probabilities of shape ``(n_clips, n_classes)``.
    old_logits : torch.Tensor of shape (n_clips, n_old)
        What it said before, of the first classes.
    heads : list of slice
        The classes of each step; those beyond `old_logits` are not distilled.

    Returns
    -------
    loss : torch.Tensor, scalar

    Examples
    --------
    >>> import torch
    >>> from sklearn_ddfad.continual import cross_distilled_loss
    >>> logits, heads = torch.zeros(1, 4), [slice(0, 2), slice(2, 4)]
    >>> round(cross_distilled_loss(logits, torch.tensor([3]), logits[:, :2], heads).item(), 3)
    2.079
    """
    loss = cross_entropy(logits, targets)
    for head in heads:
        if head.stop <= old_logits.shape[1]:
            before = (old_logits[:, head] / _TEMPERATURE).softmax(dim=1)  # p^(1/T), normalised
            loss = loss + cross_entropy(logits[:, head] / _TEMPERATURE, before)
    return loss


class _Learner(NetworkClassifier):
    """A network classifier that is also to say what its teachers say.

    The first of them speaks of the first classes; each further one of those that come then.
    """

    def __init__(self, *args, teachers=(), heads=(), **kwargs):
        self.teachers = teachers
        self.heads = heads
        super().__init__(*args, **kwargs)

    def get_loss(self, y_pred, y_true, X=None, training=False):
        """Return the cross-distilled loss, or without teachers the cross-entropy, of a batch."""
        X, y_true = X.to(self.device), y_true.to(self.device)
        said = [y_pred[:, :0]]
        with torch.no_grad():
            for teacher in self.teachers:
                said.append(teacher(X)[:, sum(part.shape[1] for part in said) :])
        return cross_distilled_loss(y_pred, y_true, torch.cat(said, dim=1), self.heads)


# ------------------------------------------------------------------------------------------
# The memory
# ------------------------------------------------------------------------------------------


def looks_through_a_network(keeper):
    """Tell a selector that sees clips as a network does."""
    return getattr(keeper, "embedding", None) == "network"


def _look_through(keeper, module, step):
    """Let a selector look through this network, trained by then, instead of training its own."""
    if looks_through_a_network(keeper):
        embedded(module, step.X[:1])  # a network that cannot embed is refused here
        keeper.set_params(embedding=partial(embedded, module))


def kept_by(keeper, step):
    """Return what a distiller, selector or sampler keeps of the clips of a step."""
    if keeper is None:
        return None
    if not hasattr(keeper, "fit_resample"):
        return remembered(keeper.fit(step.X, step.y).distilled_)
    X, y = _resampled(keeper, step)
    kept = DistilledSet(
        X,
        np.asarray(y),
        provenance={"method": type(keeper).__name__, "n_clips_seen": step.n_clips},
    )
    if kept.X.shape[1:] != step.X.shape[1:] or not np.array_equal(kept.classes, step.classes):
        msg = (
            f"{type(keeper).__name__} kept clips of shape {kept.X.shape[1:]} and of the classes "
            f"{kept.classes}; they must have shape {step.X.shape[1:]}, and be of {step.classes}."
        )
        raise ValueError(msg)
    if kept.n_clips >= step.n_clips:
        msg = (
            f"{type(keeper).__name__} kept {kept.n_clips} clips of the {step.n_clips} of this "
            "step; give a memory that keeps fewer."
        )
        raise ValueError(msg)
    return kept


def _resampled(sampler, step):
    """Return what a sampler makes of clips, given as rows where it does not take images."""
    as_rows = not _takes_images(sampler)
    X, y = sampler.fit_resample(step.X.reshape(step.n_clips, -1) if as_rows else step.X, step.y)
    X = np.asarray(X, np.float32)
    return X.reshape(-1, *step.X.shape[1:]) if as_rows else X, y


def _takes_images(sampler):
    """Tell what a sampler says of itself; those of imbalanced-learn take rows."""
    return not hasattr(sampler, "__sklearn_tags__") or get_tags(sampler).input_tags.three_d_array


def remembered(distilled):
    """Return a set as part of a memory: no step size goes with it, and how it was heard does."""
    extractor = distilled.extractor or getattr(distilled.decoder, "extractor", None)
    X = np.asarray(distilled.X, np.float32)
    return replace(distilled, X=X, learning_rate=None, extractor=extractor)


def merged(first, second):
    """Return the clips of two sets as one; None is no set."""
    if first is None or second is None:
        return first or second
    labels, both = None, (first, second)
    if any(part.soft_labels is not None for part in both):
        classes = np.union1d(first.y, second.y)
        labels = np.concatenate([probabilities(part, classes) for part in both])
    made_by = [made for part in both for made in part.provenance.get("steps", [part.provenance])]
    return DistilledSet(
        np.concatenate([part.X for part in both]),
        np.concatenate([part.y for part in both]),
        soft_labels=labels,
        extractor=first.extractor or second.extractor,
        **_stored(both),
        provenance={
            "method": RehearsalClassifier.__name__,
            "n_clips_seen": sum(made.get("n_clips_seen", 0) for made in made_by),
            "steps": made_by,
        },
    )


def _stored(sets):
    """Return, by name, what the clips of sets are decoded from; nothing where none are."""
    if all(part.decoder is None for part in sets):
        return {}
    numbers, decoder = joined(
        ({"clips": part.X}, DirectDecoder(part.n_clips // len(part.classes)))
        if part.decoder is None
        else (part.numbers, part.decoder)
        for part in sets
    )
    return {"numbers": numbers, "decoder": decoder}


def first_of_each_class(distilled, n):
    """Return the first `n` clips of each class."""
    kept = [np.flatnonzero(distilled.y == label)[:n] for label in distilled.classes]
    indices = np.sort(np.concatenate(kept))
    if len(indices) == distilled.n_clips:
        return distilled
    labels, numbers, decoder = distilled.soft_labels, distilled.numbers, distilled.decoder
    if decoder is not None:
        numbers, decoder = some_of(numbers, decoder, indices)
    return replace(
        distilled,
        X=distilled.X[indices],
        y=distilled.y[indices],
        soft_labels=None if labels is None else labels[indices],
        numbers=numbers,
        decoder=decoder,
    )


def probabilities(distilled, classes):
    """Return the labels of a set as probabilities of `classes`, in the order given."""
    if distilled.soft_labels is None:
        return (distilled.y[:, None] == classes).astype(np.float32)
    labels = np.zeros((distilled.n_clips, len(classes)), np.float32)
    columns = [np.flatnonzero(classes == label)[0] for label in distilled.classes]
    labels[:, columns] = distilled.soft_labels
    return labels


# ------------------------------------------------------------------------------------------
# What it was worth
# ------------------------------------------------------------------------------------------


def incremental_scores(y_true, predictions, steps):
    r"""Return how well classes are told apart as they come, and how well they are kept.

    Parameters
    ----------
    y_true : array-like of shape (n_clips,)
        Labels of test clips. Those of classes not learned yet do not count.
    predictions : sequence of array-like of shape (n_clips,)
        What was predicted for all of these clips after each step.
    steps : sequence of array-like
        The classes that each step brought: ``[step["classes"] for step in classifier.history_]``.

    Returns
    -------
    scores : dict
        All fractions.

        - ``"accuracy"``, shape ``(n_steps, n_steps)``: after step i on the classes of step j, NaN
          where these were still to come;
        - ``"seen"``, shape ``(n_steps,)``: after each step, on clips of all classes so far;
        - ``"average"``: the average incremental accuracy, the mean of ``"seen"``, as in iCaRL;
        - ``"average_of_increments"``: the same without the first step, as in EEIL [1]_, for which
          nothing is incremental there; NaN for a single step;
        - ``"last"``: of ``"seen"``;
        - ``"forgetting"``: by how much the accuracy on the classes of a step is lower in the end
          than it was at best before, the mean over all steps but the last [2]_, below 0 where it is
          higher; 0 for a single step.

    Raises
    ------
    ValueError
        If numbers of clips or steps do not fit, a step has no test clips, or strings are to be
        compared with numbers.

    References
    ----------
    .. [1] F. M. Castro, M. J. Marín-Jiménez, N. Guil, C. Schmid, K. Alahari, "End-to-end
       incremental learning", ECCV, 2018, section 6.
    .. [2] A. Chaudhry, P. K. Dokania, T. Ajanthan, P. H. S. Torr, "Riemannian walk for incremental
       learning: understanding forgetting and intransigence", ECCV, 2018, section 3.

    Examples
    --------
    >>> from sklearn_ddfad import incremental_scores
    >>> y_true, steps = ["a", "b", "c", "d"], [["a", "b"], ["c", "d"]]
    >>> predictions = [["a", "b", "a", "b"], ["a", "c", "c", "d"]]  # b is forgotten
    >>> scores = incremental_scores(y_true, predictions, steps)
    >>> scores["seen"], scores["forgetting"]
    (array([1.  , 0.75]), 0.5)
    """
    y_true, predictions = np.asarray(y_true), np.asarray(predictions)
    steps = [np.asarray(classes) for classes in steps]
    kinds = {array.dtype.kind for array in (y_true, predictions, *steps)}
    if "U" in kinds and kinds & {*"biuf"}:
        msg = "some labels of y_true, predictions and steps are strings, and some are numbers."
        raise ValueError(msg)
    members = [np.isin(y_true, classes) for classes in steps]
    n_steps = len(members)
    if predictions.shape != (n_steps, len(y_true)):
        msg = (
            f"predictions are of shape {predictions.shape}; give one for each of {len(y_true)} "
            f"clips after each of {n_steps} steps."
        )
        raise ValueError(msg)
    if not all(of_step.any() for of_step in members):
        msg = "a step has no test clips of its classes; give some of each."
        raise ValueError(msg)
    right = predictions == y_true
    accuracy = np.full((n_steps, n_steps), np.nan)
    for i, j in zip(*np.tril_indices(n_steps), strict=True):
        accuracy[i, j] = right[i, members[j]].mean()
    seen = np.array([right[i, np.any(members[: i + 1], axis=0)].mean() for i in range(n_steps)])
    several = n_steps > 1
    best = np.nanmax(accuracy[:-1, :-1], axis=0) if several else 0
    return {
        "accuracy": accuracy,
        "seen": seen,
        "average": float(seen.mean()),
        "average_of_increments": float(seen[1:].mean()) if several else nan,
        "last": float(seen[-1]),
        "forgetting": float(np.mean(best - accuracy[-1, :-1])) if several else 0.0,
    }
