"""The corridor where gradients run: networks as functions, and the judge of all sets."""

from contextlib import contextmanager
from math import ceil, cos, pi

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_random_state
from skorch import NeuralNetClassifier
from skorch.dataset import unpack_data
from torch.func import functional_call

from sklearn_ddfad._validation import resolve_device
from sklearn_ddfad.augmentation import resolve_augmentation
from sklearn_ddfad.networks import make_network


def draw_seed(rng):
    """Return a new seed, the next of a NumPy random state."""
    return int(rng.randint(np.iinfo(np.int32).max))


@contextmanager
def isolated_rng(seed, device="cpu"):
    """Seed torch within the block and leave its global generators as they were found (law 2)."""
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


class FunctionalNetwork:
    """A network as a function of its inputs and of one flat vector of all its parameters."""

    def __init__(self, module):
        if any(True for _ in module.buffers()):
            msg = (
                f"{type(module).__name__} keeps running statistics (batch normalisation), which "
                "are no parameters and cannot be matched; use 'instance' or 'group' normalisation."
            )
            raise ValueError(msg)
        self.module = module
        parameters = dict(module.named_parameters())
        self._names = list(parameters)
        self._shapes = [p.shape for p in parameters.values()]
        self._sizes = [p.numel() for p in parameters.values()]

    def initial_parameters(self):
        """Return a copy of the module's own parameters as one vector."""
        return torch.cat([p.detach().reshape(-1) for p in self.module.parameters()])

    def __call__(self, theta, X):
        parts = theta.split(self._sizes)
        parameters = {
            name: part.view(shape)
            for name, part, shape in zip(self._names, parts, self._shapes, strict=True)
        }
        return functional_call(self.module, parameters, (X,))

    def loss_gradient(self, theta, X, y, *, create_graph=False):
        """Return the gradient of the cross-entropy of ``(X, y)`` by `theta`, a flat vector."""
        loss = F.cross_entropy(self(theta, X), y)
        return torch.autograd.grad(loss, theta, create_graph=create_graph)[0]


def functional_network(network, input_shape, n_classes, *, seed, device):
    """Build a network from its own seed and return it as a function of its parameters."""
    with isolated_rng(seed):
        module = make_network(network, input_shape, n_classes)
    return FunctionalNetwork(module.to(device))


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
    network : {"auto", "convnet", "mlp"} or callable, default="auto"
        A name, a module class or a callable ``(input_shape, n_classes) -> torch.nn.Module``.
    n_steps : int, default=400
        Training takes this many steps, and at least 20 epochs: small and large sets are then
        both trained to the end.
    lr : float, default=0.1
        First step size.
    batch_size : int, default=50
        Clips in a step.
    augmentation : "auto", None or callable, default="auto"
        Applied to each training batch; ``"auto"`` is ``Augmentation()`` for feature images.
    device : str, default="auto"
        ``"auto"`` is CUDA where there is one.
    random_state : int, RandomState or None, default=None
        Seeds initialisation, order of clips and augmentation.
    **kwargs : dict
        Anything else that ``skorch.NeuralNetClassifier`` takes.

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
    settings = {
        "criterion": torch.nn.CrossEntropyLoss,
        "optimizer": torch.optim.SGD,
        "optimizer__weight_decay": 5e-4,
        "iterator_train__shuffle": True,
        "train_split": None,
        "verbose": 0,
    }
    return NetworkClassifier(
        make_network,
        module__network=network,
        n_steps=n_steps,
        lr=lr,
        batch_size=batch_size,
        augmentation=augmentation,
        device=str(resolve_device(device)),
        random_state=random_state,
        **{**settings, **kwargs},
    )


_MIN_EPOCHS = 20


class NetworkClassifier(NeuralNetClassifier):
    """What :func:`network_classifier` returns: skorch, with shape, device and seed settled."""

    def __init__(
        self, module, *args, n_steps=400, augmentation="auto", random_state=None, **kwargs
    ):
        self.n_steps = n_steps
        self.augmentation = augmentation
        self.random_state = random_state
        super().__init__(module, *args, **kwargs)

    def fit(self, X, y, **fit_params):
        """Build the network for clips like `X` and train it on them."""
        X = np.asarray(X, dtype=np.float32)
        self.encoder_ = LabelEncoder().fit(y)
        self.input_shape_ = X.shape[1:]
        self.augmentation_ = resolve_augmentation(self.augmentation, self.input_shape_)
        seed = draw_seed(check_random_state(self.random_state))
        self.generator_ = torch.Generator().manual_seed(seed)
        with isolated_rng(seed, self.device):
            return super().fit(X, self.encoder_.transform(y), **fit_params)

    def fit_loop(self, X, y=None, epochs=None, **fit_params):
        """Train for ``n_steps`` steps, but no less than 20 epochs."""
        steps_an_epoch = ceil(len(X) / self.batch_size)
        epochs = epochs or max(ceil(self.n_steps / steps_an_epoch), _MIN_EPOCHS)
        self.n_steps_, self.step_ = epochs * steps_an_epoch, 0
        return super().fit_loop(X, y, epochs, **fit_params)

    def train_step_single(self, batch, **fit_params):
        """Take a step on augmented clips, its size falling along half a cosine."""
        X, y = unpack_data(batch)
        X = self.augmentation_(X, self.augmentation_.draw(X.shape, self.generator_))
        self.step_ += 1
        for group in self.optimizer_.param_groups:
            group["lr"] = self.lr * (1 + cos(pi * self.step_ / self.n_steps_)) / 2
        return super().train_step_single((X, y), **fit_params)

    def initialize_module(self):
        """Build the network for the clips and classes of ``fit``."""
        self.module_ = self.initialized_instance(
            self.module,
            {
                **self.get_params_for("module"),
                "input_shape": self.input_shape_,
                "n_classes": len(self.encoder_.classes_),
            },
        )
        return self

    @property
    def classes_(self):
        """Labels there were in ``fit``, sorted."""
        return self.encoder_.classes_

    def predict(self, X):
        """Return the most likely label of each clip."""
        return self.encoder_.inverse_transform(super().predict(X))

    def predict_proba(self, X):
        """Return the probability of each class, shape ``(n_clips, n_classes)``."""
        with isolated_rng(0, self.device):  # torch's loaders draw from the global generator
            return super().predict_proba(np.asarray(X, dtype=np.float32))
