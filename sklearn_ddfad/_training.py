"""The corridor where gradients run: networks as functions, and the judge of all sets."""

from contextlib import contextmanager, nullcontext
from copy import deepcopy
from inspect import signature
from itertools import compress
from math import ceil, cos, pi, prod
from numbers import Integral, Real
from threading import RLock
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.validation import check_is_fitted, has_fit_parameter
from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Callback, EpochScoring, PrintLog
from skorch.dataset import unpack_data
from skorch.utils import to_numpy
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.data import Dataset

from sklearn_ddfad._memory import freed_memory_kept
from sklearn_ddfad._validation import (
    Rows,
    check_features,
    check_labels,
    from_torch,
    resolve_device,
)
from sklearn_ddfad._warnings import warn
from sklearn_ddfad.augmentation import draw_mixture, mix, resolve_augmentation
from sklearn_ddfad.networks import check_logits, embed, make_network
from sklearn_ddfad.networks._layers import Conv2d, InstanceNorm

_BROUGHT_TO_A_GPU = 2**30  # bytes of clips
_GENERATORS = RLock()  # torch's global ones


def draw_seed(rng):
    """Return a new seed, the next of a NumPy random state."""
    return int(rng.randint(np.iinfo(np.int32).max))


def seed_of(generator):
    """Return a new seed, the next of a torch generator."""
    return int(torch.randint(2**31, (), generator=generator))


@contextmanager
def isolated_rng(seed, device="cpu"):
    """Seed torch within the block and leave its global generators as they were found (law 2).

    Threads share these generators, so they take turns.
    """
    device = torch.device(device)
    devices = [device] if device.type == "cuda" else []
    with _GENERATORS, torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)  # manual_seed would seed every GPU, too
        for cuda in devices:
            with torch.cuda.device(cuda):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def threads(n):
    """Let torch use `n` threads within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_workers(function, tasks, n_jobs, return_as="generator"):
    """Yield ``function(*task)`` for each task, computed by whatever joblib backend is active.

    Each worker has its share of the cores: more threads than cores stall each other.
    """
    n_threads = torch.get_num_threads()
    share = max(n_threads // min(effective_n_jobs(n_jobs), len(tasks) or 1), 1)
    with threads(n_threads):  # workers that are threads of this process may change it
        yield from Parallel(n_jobs=n_jobs, return_as=return_as)(
            delayed(_in_worker)(share, function, *task) for task in tasks
        )


def _in_worker(n_threads, function, *task):  # whose parts a cluster sends once, if they are large
    with threads(min(n_threads, torch.get_num_threads())):
        return function(*task)


class FunctionalNetwork:
    """A network as a function of its inputs and of one flat vector of all its parameters.

    Layers that draw (dropout) let everything through: a function gives the same result again.
    """

    def __init__(self, module):
        if any(getattr(part, "track_running_stats", False) for part in module.modules()):
            msg = (
                f"{type(module).__name__} keeps running statistics (batch normalisation), which "
                "are no parameters and cannot be matched; use 'group' normalisation, or 'instance' "
                "where the network has it."
            )
            raise ValueError(msg)
        self.module = module.eval()
        parameters = dict(module.named_parameters())
        self._names = list(parameters)
        self._is_learned = [p.requires_grad for p in parameters.values()]
        if not any(self._is_learned):
            msg = f"{type(module).__name__} has no parameters that are learned; give another."
            raise ValueError(msg)
        self.shapes = [p.shape for p in parameters.values()]
        self._sizes = [p.numel() for p in parameters.values()]
        self.n_parameters = sum(self._sizes)

    def initial_parameters(self):
        """Return a copy of the module's own parameters as one vector."""
        return torch.cat([p.detach().reshape(-1) for p in self.module.parameters()])

    def share_parameters(self, theta):
        """Make the module's parameters views of `theta`."""
        for parameter, part in zip(self.module.parameters(), theta.split(self._sizes), strict=True):
            parameter.data = part.view(parameter.shape)

    def own_gradient(self, loss):
        """Return the gradient by the module's own parameters, one vector; 0 of what is frozen."""
        parameters = list(self.module.parameters())
        learned = list(compress(parameters, self._is_learned))
        found = iter(torch.autograd.grad(loss, learned, materialize_grads=True))
        parts = [
            next(found) if is_learned else torch.zeros_like(parameter)
            for parameter, is_learned in zip(parameters, self._is_learned, strict=True)
        ]
        return torch.cat([part.reshape(-1) for part in parts])

    def __call__(self, theta, X):
        parts = theta.split(self._sizes)
        parameters = {
            name: (part if is_learned else part.detach()).view(shape)
            for name, part, is_learned, shape in zip(
                self._names, parts, self._is_learned, self.shapes, strict=True
            )
        }
        return functional_call(self.module, parameters, (X,))

    def loss_gradient(self, theta, X, y, *, create_graph=False):
        """Return the gradient of the cross-entropy of ``(X, y)`` by `theta`, a flat vector."""
        # Of attention, torch has second derivatives of the plain formula alone.
        with sdpa_kernel(SDPBackend.MATH) if create_graph else nullcontext():
            loss = F.cross_entropy(self(theta, X), y)
        return torch.autograd.grad(loss, theta, create_graph=create_graph)[0]


def embedding_network(network, X, y, *, trained=True, device="auto", seed):
    """Return a module that embeds clips like those of `X`, :class:`Rows`.

    Trained on them as :func:`network_classifier` does, or as it is drawn. One that cannot embed is
    refused before it is trained.
    """
    with isolated_rng(seed):
        module = make_network(network, X.shape[1:], len(np.unique(y))).eval()
    embed(module, torch.from_numpy(X[:1]))
    if trained:
        judge = network_classifier(network, device=device, random_state=seed)
        module = judge.fit(X, y).module_.eval()
    return module.to(resolve_device(device))


@torch.no_grad()
def embedded(module, clips):
    """Return the embeddings of clips as an array, wherever the module is."""
    device = next(module.parameters()).device
    return embed(module, torch.from_numpy(clips).to(device)).cpu().numpy()


def clip_reader(X, device):
    """Return a function that gives the clips of some indices, a tensor, on the device.

    Up to a gigabyte of them is brought to a GPU once.
    """
    on_cpu = torch.device(device).type == "cpu"
    if on_cpu or 4 * prod(X.shape) > _BROUGHT_TO_A_GPU:
        return lambda indices: torch.from_numpy(X[indices.cpu().numpy()]).to(device)
    clips = torch.from_numpy(X[:]).to(device)
    return lambda indices: clips[indices.to(device)]


def functional_network(network, input_shape, n_classes, *, seed, device):
    """Build a network from its own seed and return it as a function of its parameters."""
    with isolated_rng(seed):
        module = make_network(network, input_shape, n_classes)
    return FunctionalNetwork(module.to(device))


def without_gpu(state, name):
    """Return the state of an object, its network `name` on the CPU: it can be read anywhere."""
    module = state.get(name)
    if not isinstance(module, nn.Module):
        return state
    on_gpu = any(tensor.is_cuda for tensor in (*module.parameters(), *module.buffers()))
    return state | {name: deepcopy(module).cpu()} if on_gpu else state


def stacked_gradient(network):
    """Return the function that computes the gradients of many such networks in one pass.

    ``gradient(thetas, X, y)`` takes parameters of shape ``(n_networks, n_parameters)`` and a batch
    for each, ``(n_networks, n_clips, ...)``. It raises RuntimeError where the network does what
    ``torch.func.vmap`` cannot.
    """
    if not all(parameter.requires_grad for parameter in network.module.parameters()):
        msg = "some parameters are frozen."
        raise RuntimeError(msg)
    stackable = FunctionalNetwork(_with_layers_of_torch(deepcopy(network.module)))
    one = grad(lambda theta, X, y: F.cross_entropy(stackable(theta, X), y))

    def gradient(thetas, X, y):
        with _OneMemoryFormat():
            return vmap(one)(thetas, X, y)

    return gradient


def _with_layers_of_torch(module):
    """Put torch's own layers in the place of ours, whose derivatives vmap cannot look into."""
    for name, layer in module.named_children():
        setattr(module, name, _layer_of_torch(layer))
    return module


def _layer_of_torch(layer):
    """Return a layer with the same parameters, in the same order; their values do not count."""
    if type(layer) is Conv2d:
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "groups")
        geometry: dict[str, Any] = {name: getattr(layer, name) for name in names}
        return nn.Conv2d(**geometry, bias=layer.bias is not None, device="meta")
    if type(layer) is InstanceNorm:
        n_channels = len(layer.weight)
        norm = nn.GroupNorm(n_channels, n_channels, layer.eps, device="meta")
        activation = nn.ReLU() if layer.after.relu else nn.Identity()
        return nn.Sequential(norm, activation, nn.AvgPool2d(layer.after.pool))
    return _with_layers_of_torch(layer)


class _OneMemoryFormat(TorchFunctionMode):
    """Within this block nobody asks for a memory format: vmap knows one only."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        asked = {name: value for name, value in (kwargs or {}).items() if name != "memory_format"}
        return func(*args, **asked)


# ------------------------------------------------------------------------------------------
# The judge
# ------------------------------------------------------------------------------------------


def network_classifier(
    network="auto",
    *,
    n_steps=400,
    lr=0.1,
    batch_size=50,
    augmentation="auto",
    mixup=0.0,
    schedule="cosine",
    device="auto",
    random_state=None,
    **kwargs,
):
    """Return a skorch classifier that is ready to be trained on features of any shape.

    The judge in every comparison: cross-entropy on logits, plain SGD with weight decay 5e-4 and a
    step size that falls to zero along half a cosine, no internal validation split.
    Labels may be of any type, the network is built for the clips that ``fit`` is given, and the
    same ``random_state`` gives the same network.

    Parameters
    ----------
    network : {"auto", "convnet", "efficientnetv2", "mlp", "resnet18", "vgg11"} or callable
        A name, a module class or a callable ``(input_shape, n_classes) -> torch.nn.Module``.
    n_steps : int or None, default=400
        Training takes this many steps, and at least 20 epochs: small and large sets are then
        both trained to the end. ``None`` takes ``max_epochs``.
    lr : float, default=0.1
        First step size.
    batch_size : int, default=50
        Clips in a step.
    augmentation : "auto", None or callable, default="auto"
        Applied to each training batch; ``"auto"`` is ``Augmentation()`` for feature images.
    mixup : float in [0, 1], default=0.0
        Share of the clips of a training batch that are mixed with others of it, weighted by
        Beta(10, 10), and their labels likewise.
    schedule : {"cosine", None}, default="cosine"
        Whether the step size falls to zero along half a cosine, or is left to the callbacks, a
        ``skorch.callbacks.LRScheduler`` for instance.
    device : str, default="auto"
        ``"auto"`` is CUDA where there is one.
    random_state : int, RandomState or None, default=None
        Seeds initialisation, order of clips and augmentation.
    **kwargs : dict
        Anything else that ``skorch.NeuralNetClassifier`` takes: ``optimizer=torch.optim.Adam``,
        ``criterion__label_smoothing=0.1``, ``max_epochs``, ``callbacks``.

    Returns
    -------
    classifier : skorch.NeuralNetClassifier
        A scikit-learn classifier, not yet fitted.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ddfad import network_classifier
    >>> X = np.random.default_rng(0).normal(size=(12, 3, 8, 9)).astype("float32")
    >>> y = np.repeat(["yes", "no"], 6)
    >>> X[y == "yes"] += 1
    >>> network_classifier("convnet", n_steps=20, random_state=0).fit(X, y).predict(X[:2])
    array(['yes', 'yes'], dtype='<U3')
    """
    return NetworkClassifier(
        make_network,
        module__network=network,
        n_steps=n_steps,
        lr=lr,
        batch_size=batch_size,
        augmentation=augmentation,
        mixup=mixup,
        schedule=schedule,
        device=str(resolve_device(device)),
        random_state=random_state,
        **kwargs,
    )


def _stack(pairs):
    """Return clips and labels of a batch as tensors; they are copied, for some may be read-only.

    Clips may come in pairs, with what a teacher says of them.
    """
    X, y = zip(*pairs, strict=True)
    parts = zip(*X, strict=True) if isinstance(X[0], tuple) else [X]
    X = tuple(torch.from_numpy(np.stack(part)) for part in parts)
    return X if len(X) > 1 else X[0], torch.as_tensor(np.stack(y))


def _codes(y):
    """Return the class index of each label, hard or soft."""
    return to_numpy(y.argmax(dim=1) if y.ndim == 2 else y)


_MIN_EPOCHS = 20
_SETTINGS: dict[str, Any] = {  # of skorch, where it is not told otherwise
    "lr": 0.1,
    "batch_size": 50,
    "criterion": torch.nn.CrossEntropyLoss,
    "optimizer": torch.optim.SGD,
    "optimizer__weight_decay": 5e-4,
    "iterator_train__shuffle": True,
    "iterator_train__collate_fn": _stack,
    "train_split": None,
    "verbose": 0,
}


class _TableOfEpochs(PrintLog):
    """Lays out the table only where it is shown: a line takes as long as a step of a small set."""

    def on_epoch_end(self, net, **kwargs):
        if net.verbose:
            super().on_epoch_end(net, **kwargs)


class NetworkClassifier(NeuralNetClassifier):
    """What :func:`network_classifier` returns: skorch, with shape, device and seed settled."""

    builds = "module__network"  # the parameter that says which network
    initialized_: bool  # whether there is one
    _is_broken_off = False

    def __init__(
        self,
        module,
        *,
        n_steps=400,
        augmentation="auto",
        mixup=0.0,
        schedule="cosine",
        random_state=None,
        **kwargs,
    ):
        self.n_steps = n_steps
        self.augmentation = augmentation
        self.mixup = mixup
        self.schedule = schedule
        self.random_state = random_state
        super().__init__(module, **{**_SETTINGS, **kwargs})

    def __repr__(self):
        usual = {name: repr(value) for name, value in _usual(type(self)).items()}
        params = {n: repr(v) for n, v in vars(self).items() if n in usual or "__" in n.strip("_")}
        told = [f"{name}={value}" for name, value in params.items() if value != usual.get(name)]
        return f"{type(self).__name__}({', '.join(told)})"

    def fit(self, X, y, *, classes=None, **fit_params):
        """Build the network for clips like `X` and train it on them.

        Labels `y` are of shape ``(n_clips,)``, or soft, the probabilities of the classes
        ``0 .. n_classes - 1``, of shape ``(n_clips, n_classes)``. There may be more `classes` than
        `y` has labels of, for ``partial_fit`` to bring.
        """
        X = X if isinstance(X, Rows) else check_features(self, X)
        y = labels_or_probabilities(y, len(X))
        labels = np.arange(y.shape[1]) if y.ndim == 2 else y
        encoder = LabelEncoder().fit(labels if classes is None else classes)
        if len(gone := np.setdiff1d(labels, encoder.classes_)):
            msg = f"y has the label {gone[0]}, which is not among classes={classes}."
            raise ValueError(msg)
        goes_on = self.warm_start and self.initialized_
        if goes_on:
            self._check_like_before(X.shape[1:], encoder.classes_)
        self.encoder_, self.input_shape_ = encoder, X.shape[1:]
        self.augmentation_ = self.check_settings(self.input_shape_)
        fit_params = self._before_training(X, y, **fit_params)
        seed = draw_seed(check_random_state(self.random_state))
        self.generator_ = torch.Generator().manual_seed(seed)
        with isolated_rng(seed, self.device):
            if not goes_on:
                self.initialize()
            return self._train(X, y, **fit_params)

    def partial_fit(self, X, y, classes=None, **fit_params):
        """Train the network that there is as long again.

        The step size falls from its first on; a schedule that is a callback goes on. Clips and
        labels are like those of ``fit``, or fewer classes of them; before any ``fit``, this is one,
        and `classes` are all labels that there will be.
        """
        if not self.initialized_:
            return self.fit(X, y, classes=classes, **fit_params)
        X = check_features(self, X, reset=False)
        y = labels_or_probabilities(y, len(X))
        fit_params = self._before_training(X, y, **fit_params)
        with isolated_rng(seed_of(self.generator_), self.device):
            return self._train(X, y, **fit_params)

    def _check_like_before(self, input_shape, classes):
        """Refuse other clips or classes than those that the network there is was built for."""
        if (input_shape, classes.tolist()) != (self.input_shape_, self.classes_.tolist()):
            msg = (
                f"warm_start=True goes on with a network for clips of shape {self.input_shape_} "
                f"and the classes {self.classes_}, and these are of shape {input_shape} and the "
                f"classes {classes}; set warm_start=False."
            )
            raise ValueError(msg)

    def _before_training(self, X, y, **fit_params):
        """Return what the loop of training takes beside clips and labels."""
        return fit_params

    def _train(self, X, y, **fit_params):
        """Train on clips and labels, hard or soft, and tell if that went astray."""
        targets = y if y.ndim == 2 else self.encoder_.transform(y)
        super().partial_fit(X, targets, **fit_params)
        if self._is_broken_off:  # of which skorch says nothing
            raise KeyboardInterrupt
        self.module_.eval()
        if not np.isfinite(self.history[-1].get("train_loss", 0)):
            msg = f"the training of {type(self.module_).__name__} diverged; lower lr={self.lr}."
            warn(msg, ConvergenceWarning)
        return self

    def check_settings(self, input_shape):
        """Refuse what training on such clips cannot begin with; return the augmentation."""
        check_scalar(self.mixup, "mixup", Real, min_val=0, max_val=1)
        if self.schedule not in ("cosine", None):
            msg = f"schedule={self.schedule!r} must be 'cosine', or None for that of a callback."
            raise ValueError(msg)
        if self.n_steps is not None:
            check_scalar(self.n_steps, "n_steps", Integral, min_val=1)
        if self.batch_size != -1:  # all clips
            check_scalar(self.batch_size, "batch_size", Integral, min_val=1)
        return resolve_augmentation(self.augmentation, input_shape)

    @freed_memory_kept()
    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train for ``n_steps`` steps, but no less than 20 epochs; or for ``max_epochs``."""
        epochs = epochs or self.n_epochs(len(X))
        self.n_epochs_, self.step_, self._is_learning = epochs, 0, True
        self._is_broken_off = False
        try:
            return super().fit_loop(X, y, epochs, **fit_params)
        except KeyboardInterrupt as error:
            self._is_broken_off = not _is_from_a_callback(error)
            raise
        finally:
            self._is_learning = False

    def on_epoch_begin(self, net, dataset_train=None, **kwargs):
        """Count the steps there will be: skorch may have put clips aside by then."""
        self.n_steps_ = self.n_epochs_ * self._steps(len(dataset_train))
        super().on_epoch_begin(net, dataset_train=dataset_train, **kwargs)

    def _steps(self, n_clips):
        """Return how many steps an epoch takes."""
        return ceil(n_clips / self.batch_size) if self.batch_size > 0 else 1  # -1 is all of them

    def n_epochs(self, n_clips):
        """Return how many epochs training on `n_clips` takes."""
        if self.n_steps is None:
            return self.max_epochs
        return max(ceil(self.n_steps / self._steps(n_clips)), _MIN_EPOCHS)

    def train_step_single(self, batch, **fit_params):
        """Take a step on mixed and augmented clips, of the size that the schedule has for it."""
        self.step_ += 1
        if self.schedule == "cosine":
            for group in self.optimizer_.param_groups:
                fallen = (1 + cos(pi * self.step_ / self.n_steps_)) / 2
                group["lr"] = self.lr * group["share"] * fallen
        return super().train_step_single(self._as_learned(*unpack_data(batch)), **fit_params)

    def _as_learned(self, X, y):
        """Return clips of a batch and their labels as the network is to learn from them."""
        X = X.to(self.device, non_blocking=True)
        if self.mixup:
            drawn = draw_mixture(len(X), self.mixup, self.generator_)
            X, y = mix(X, drawn), mix(self._probabilities(y), drawn)
        return self.augmentation_(X, self.augmentation_.draw(X.shape, self.generator_)), y

    def _probabilities(self, y):
        """Return labels as probabilities, ``(n_clips, n_classes)``; those that are stay so."""
        return F.one_hot(y, len(self.classes_)).float() if y.ndim == 1 else y

    @property
    def _default_callbacks(self):
        accuracy = EpochScoring("accuracy", False, name="valid_acc", target_extractor=_codes)
        ours = {"valid_acc": accuracy, "print_log": _TableOfEpochs()}
        return list((dict(super()._default_callbacks) | ours).items())

    def initialize_module(self):
        """Build the network for the clips and classes of ``fit``."""
        shape, n_classes = self.input_shape_, len(self.classes_)
        self.module_ = check_logits(self.new_network(shape, n_classes), shape, n_classes)
        if hasattr(self.module_, "name_classes"):
            self.module_.name_classes(self.classes_)
        return self

    def initialize_optimizer(self, *args, **kwargs):
        """Build the optimiser; each group of parameters keeps its share of the step size."""
        super().initialize_optimizer(*args, **kwargs)
        for group in self.optimizer_.param_groups:
            group["share"] = group["lr"] / self.lr if self.lr else 1.0
        return self

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        """Return the loss of a batch; where classes have weights, alike for hard and soft labels.

        The mean of torch is by the weights of the clips for hard ones, by their number for soft.
        """
        loss = super().get_loss(y_pred, y_true, *args, **kwargs)
        criterion = self.criterion_
        if y_true.ndim < 2 or not isinstance(criterion, torch.nn.CrossEntropyLoss):
            return loss
        if criterion.weight is None or criterion.reduction != "mean":
            return loss
        return loss / (y_true.to(criterion.weight) @ criterion.weight).mean()

    def set_params(self, **params):
        """Set parameters; the device is settled as when it is built."""
        if "device" in params:
            params["device"] = str(resolve_device(params["device"]))
        return super().set_params(**params)

    def new_network(self, input_shape, n_classes):
        """Return a network for such clips and so many classes."""
        options = {"input_shape": input_shape, "n_classes": n_classes}
        return self.initialized_instance(self.module, self.get_params_for("module") | options)

    @property
    def classes_(self):
        """Labels there were in ``fit``, sorted."""
        return self.encoder_.classes_

    def predict(self, X):
        """Return the most likely label of each clip; while learning, for callbacks, its index."""
        codes = super().predict(X)
        is_learning = getattr(self, "_is_learning", False)
        return codes if is_learning else self.encoder_.inverse_transform(codes)

    def predict_proba(self, X):
        """Return the probability of each class, shape ``(n_clips, n_classes)``.

        Clips are features like those of ``fit``; columns are in the order of ``classes_``.
        """
        check_is_fitted(self)
        if not isinstance(X, Dataset):  # one is what callbacks of skorch ask about
            X = check_features(self, X, reset=False)[:]
        return super().predict_proba(X)

    def get_iterator(self, dataset, training=False):
        """Return batches of clips; asked about them, a network draws from no global generator."""
        iterator = super().get_iterator(dataset, training=training)
        if not training:
            iterator.generator = torch.Generator()
        return iterator


def _is_from_a_callback(interrupt):
    """Tell the end that a callback calls for, as ``EarlyStopping`` does, from one by the user."""
    traceback = interrupt.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    frame = traceback.tb_frame
    is_method = frame.f_code.co_name.startswith("on_")
    return is_method and isinstance(frame.f_locals.get("self"), Callback)


def _usual(kind):
    """Return what a kind of network classifier has for parameters that it is not told."""
    signatures = [signature(each.__init__).parameters for each in reversed(kind.__mro__)]
    usual = {name: known.default for each in signatures for name, known in each.items()}
    return usual | _SETTINGS | {"module": make_network}


def fresh(estimator, rng, *, keep=False):
    """Return an unfitted copy with seeds of its own, in place of all, or where there are none."""
    copy = clone(estimator)
    seeds = {n: v for n, v in copy.get_params().items() if ("__" + n).endswith("__random_state")}
    names = sorted(name for name, seed in seeds.items() if seed is None or not keep)
    copy.set_params(**{name: draw_seed(rng) for name in names})
    return copy  # for a frozen one returns nothing from set_params


def fit_on(estimator, X, y, class_names=None, **fit_params):
    """Fit a classifier on hard labels, or on soft ones, and return it.

    Soft labels are probabilities of shape ``(n_clips, n_classes)``, and the classes are then the
    indices of the columns. :class:`NetworkClassifier` takes them as they are. Any other classifier
    is given each clip once for each class that it may be, weighted by the probability: the loss is
    the same. One that learns from a teacher is told what class indices stand for, `class_names`.
    The rest goes to its ``fit``.
    """
    prefix, last = last_step(estimator)
    named = class_names is not None and has_fit_parameter(last, "class_names")
    if named:
        fit_params[f"{prefix}class_names"] = class_names
    if np.ndim(y) < 2:
        return estimator.fit(X, y, **fit_params)
    check_probabilities(y, len(X) if isinstance(X, list) else np.shape(X)[0])
    check_learns_soft_labels(estimator)
    if isinstance(last, NetworkClassifier):
        return estimator.fit(X, y, **fit_params)
    probabilities = np.asarray(y)
    clips, codes = np.nonzero(probabilities)
    weights = {f"{prefix}sample_weight": probabilities[clips, codes]}
    again = [X[i] for i in clips] if isinstance(X, list) else np.asarray(X)[clips]
    return estimator.fit(again, codes, **weights, **fit_params)


def last_step(estimator):
    """Return the classifier at the end of a pipeline, and the prefix of what its ``fit`` takes."""
    prefix, last = "", estimator
    while isinstance(last, Pipeline):
        name, last = last.steps[-1]
        prefix += f"{name}__"
    return prefix, last


def is_skorchs_own(estimator):
    """Tell a network of skorch's own: it knows class indices, and draws from global generators."""
    _, last = last_step(estimator)
    return isinstance(last, NeuralNet) and not isinstance(last, NetworkClassifier)


def drawing_by(estimator, rng):
    """Let a network of skorch's own draw by `rng`, of which others take nothing (law 2)."""
    if not is_skorchs_own(estimator):
        return nullcontext()
    _, last = last_step(estimator)
    return isolated_rng(draw_seed(check_random_state(rng)), last.device or "cpu")


def is_network(estimator):
    """Tell whether a classifier is a network of skorch, or has one in it."""
    parts = estimator.get_params().values() if hasattr(estimator, "get_params") else ()
    return any(isinstance(part, NeuralNet) for part in (estimator, *parts))


def check_learns_soft_labels(estimator):
    """Refuse a classifier that :func:`fit_on` cannot teach soft labels."""
    _, last = last_step(estimator)
    if not isinstance(last, NetworkClassifier) and not has_fit_parameter(last, "sample_weight"):
        msg = (
            f"{type(last).__name__} cannot learn from soft labels: its fit takes no sample_weight; "
            "use network_classifier(), another classifier that does, or hard labels."
        )
        raise ValueError(msg)


def check_learns_classes(estimator, class_names, input_shape):
    """Refuse a classifier whose teacher does not know these classes, or such clips."""
    _, last = last_step(estimator)
    if hasattr(last, "check_classes"):
        last.check_classes(class_names, input_shape if last is estimator else None)


def first_unsound(P):
    """Return the first row that is no probabilities, None where all are."""
    sound = (P >= 0).all(axis=1) & (np.abs(P.sum(axis=1) - 1) < 1e-3)  # false for NaN
    return None if sound.all() else int(sound.argmin())


def labels_or_probabilities(y, n_clips):
    """Return hard labels as an array, or soft ones, of shape ``(n_clips, n_classes)``, checked."""
    P = np.asarray(from_torch(y))
    certain = P.dtype.kind == "f" and (P == 1).all()  # the probabilities of a single class
    if P.ndim == 2 and (P.shape[1] > 1 or certain):
        check_probabilities(P, n_clips)
        return P.astype(np.float32)
    classes, codes = check_labels(y, n_clips)
    return classes[codes]


def check_probabilities(P, n_clips):
    """Refuse soft labels that are no probabilities, or not one row for each clip."""
    P = np.asarray(P)
    if len(P) != n_clips:
        msg = f"there are {n_clips} clips and {len(P)} rows of soft labels; give one for each clip."
        raise ValueError(msg)
    clip = first_unsound(P)
    if clip is not None:
        msg = (
            f"the soft labels of clip {clip} are no probabilities: {P[clip]}; they must not be "
            "negative, and add up to 1."
        )
        raise ValueError(msg)
