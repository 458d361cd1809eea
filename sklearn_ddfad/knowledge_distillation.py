"""Cross-model knowledge distillation: a small network learns from labels and from a teacher.

The teacher is another network, an ensemble, an Audio Spectrogram Transformer, any classifier. The
recipes are those of the paper on the Time-Frequency Enhancer.
"""

from copy import deepcopy
from math import isfinite
from numbers import Real

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_scalar
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import LRScheduler
from skorch.dataset import Dataset
from torch import nn
from torch.utils.data import Subset

from sklearn_ddfad._training import (
    NetworkClassifier,
    drawing_by,
    first_unsound,
    fit_on,
    isolated_rng,
    without_gpu,
)
from sklearn_ddfad._validation import Rows, check_finite, from_torch, resolve_device
from sklearn_ddfad.augmentation import Augmentation
from sklearn_ddfad.networks import make_network


class KnowledgeDistillationClassifier(NetworkClassifier):
    r"""A network that learns from labels and from what a teacher says of the clips.

    Cross-model knowledge distillation [2]_ with the loss of the TFE paper (Eq. 3 of [1]_). With the
    logits :math:`Z_S` of the student, :math:`Z_T` of the teacher and :math:`\delta` the softmax,

    .. math::

       \mathcal L = \lambda\, \mathrm{CE}(\delta(Z_S), y)
       + (1 - \lambda)\, \mathrm{KL}(\delta(Z_S), \delta(Z_T / \tau)) .

    Two things are as printed. The temperature :math:`\tau` is on the teacher only, so that the
    student is to be as unsure as the softened teacher is, and there is no factor
    :math:`\tau^2`. And both losses are given what the student says first, and second what it is
    measured by, as ``torch.nn.KLDivLoss`` is: the divergence is of the student from the teacher,
    :math:`\sum_k p_k \log (p_k / q_k)` with :math:`p = \delta(Z_T / \tau)` of the teacher and
    :math:`q = \delta(Z_S)` of the student. Its gradient by :math:`Z_S` is :math:`q - p`, as that
    of the cross-entropy is :math:`q - y`.

    It is trained as ``network_classifier(student)`` is, to which it comes down, bit for bit, at
    ``balance=1``. Fitted, ``module_`` is the student alone: what one takes to a terminal.

    Parameters
    ----------
    teacher : classifier or torch.nn.Module
        Any classifier with ``predict_proba``: one of ours, an ensemble, a pipeline; or a module
        that gives logits, an ``ASTForAudioClassification`` of the transformers library among them
        (as :class:`AudioSpectrogramTransformer` with these weights). A classifier that is not
        fitted yet is fitted first, on the same clips. Clones are not fitted, as always: what a grid
        search or an evaluation is to leave as it is comes in a ``sklearn.frozen.FrozenEstimator``.
        The classes of a teacher must be those of the clips, in any order. A module may tell its own
        in ``classes_``; else its logits come in the order of the sorted labels.
    student : str or callable, default="auto"
        The network that learns, as ``network`` of :func:`network_classifier`: a name, a module
        class or a callable ``(input_shape, n_classes) -> torch.nn.Module``.
    balance : float in [0, 1], default=0.5
        :math:`\lambda`; 1 learns from labels alone, 0 from the teacher alone.
    temperature : float > 0, default=5.0
        :math:`\tau`; above 1 softens what the teacher says. What has no probability at all, as
        trees may say, keeps none.
    consistent : bool, default=True
        Whether the teacher is asked about each batch as the student sees it, augmented and mixed;
        else once, about the clips as they are, before training. What it said is then mixed as
        labels are.
    device : str, default="auto"
        ``"auto"`` is CUDA where there is one.
    **kwargs : dict
        Anything else that :func:`network_classifier` takes: ``n_steps``, ``lr``, ``batch_size``,
        ``augmentation``, ``mixup``, ``random_state``, ...; see :func:`training_recipe`.

    Attributes
    ----------
    module_ : torch.nn.Module
        The student.
    teacher_ : classifier or torch.nn.Module
        The teacher that was asked. There is none with ``balance=1``.
    classes_ : ndarray
        The labels there are, sorted.

    See Also
    --------
    teach : What a teacher says, as soft labels of clips.

    References
    ----------
    .. [1] H. Xing et al., "Enhancing spectrogram for audio classification using time-frequency
       enhancer".
    .. [2] Y. Gong, S. Khurana, A. Rouditchenko, J. Glass, "CMKD: CNN/Transformer-based cross-model
       knowledge distillation for audio classification", arXiv:2203.06760, 2022.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> from sklearn_ddfad import KnowledgeDistillationClassifier
    >>> X = [[0.0, 0.1], [0.2, 0.0], [0.9, 1.0], [1.0, 0.8]]
    >>> y = ["low", "low", "high", "high"]
    >>> student = KnowledgeDistillationClassifier(GaussianNB(), n_steps=50, random_state=0)
    >>> student.fit(X, y).predict(X)
    array(['low', 'low', 'high', 'high'], dtype='<U4')
    """

    builds = "student"

    def __init__(
        self,
        teacher,
        student="auto",
        *,
        balance=0.5,
        temperature=5.0,
        consistent=True,
        device="auto",
        **kwargs,
    ):
        self.teacher = teacher
        self.student = student
        self.balance = balance
        self.temperature = temperature
        self.consistent = consistent
        resolved = str(resolve_device(device))
        device = device if device == resolved else resolved  # the same object, for a clone
        super().__init__(**{"module": make_network, "device": device} | kwargs)

    def fit(self, X, y, teacher_X=None, class_names=None, **fit_params):
        """Let the student learn, after the teacher, if that is not fitted yet.

        Parameters
        ----------
        X : array-like of shape (n_clips, ...)
            Features, as the student sees them.
        y : array-like of shape (n_clips,) or (n_clips, n_classes)
            Labels of any type, or soft ones: probabilities of the classes, in the order of the
            teacher's sorted ones.
        teacher_X : sequence of length n_clips or None, default=None
            The same clips as the teacher hears them, other features or recordings, say. It is then
            asked about them once, whatever ``consistent`` is. ``None`` is `X`.
        class_names : array-like of shape (n_classes,) or None, default=None
            What the teacher calls the classes, where `y` numbers them from 0 on or is soft: a
            distiller tells its ``estimator`` so. ``None``: as `y` does.
        **fit_params : dict
            As in ``skorch.NeuralNetClassifier``.

        Returns
        -------
        self : object
            The fitted classifier.

        Raises
        ------
        ValueError
            Before the student is trained, if clips, labels, ``balance`` or ``temperature`` are not
            usable, or the teacher knows other classes.
        """
        self.__dict__.pop("lesson_", None)
        return super().fit(X, y, teacher_X=teacher_X, class_names=class_names, **fit_params)

    def partial_fit(self, X, y, classes=None, teacher_X=None, class_names=None, **fit_params):
        """Train the student that there is as long again, as a network is.

        Parameters are like those of :meth:`fit`. A teacher that was fitted there is not fitted
        again, and if it heard other features than `X`, so it must here.

        Returns
        -------
        self : object
            The fitted classifier.
        """
        told = {"teacher_X": teacher_X, "class_names": class_names}
        return super().partial_fit(X, y, classes, **told, **fit_params)

    def check_settings(self, input_shape):
        """Refuse what training on such clips cannot begin with; return the augmentation."""
        if foreign := [name for name in vars(self) if name.startswith("module__")]:
            msg = f"{foreign[0]} reaches no module; give student=partial(ConvNet, width=64), say."
            raise TypeError(msg)
        check_scalar(self.balance, "balance", Real, min_val=0, max_val=1)
        check_scalar(self.temperature, "temperature", Real, min_val=0, include_boundaries="neither")
        if not isfinite(self.balance + self.temperature):
            msg = f"balance={self.balance} and temperature={self.temperature} must be finite."
            raise ValueError(msg)
        return super().check_settings(input_shape)

    def _before_training(self, X, y, teacher_X=None, class_names=None, **fit_params):
        """Let the teacher learn, if it has not, and say what it is asked but once."""
        before: Lesson | None = vars(self).get("lesson_")
        self.lesson_: Lesson | None = None
        if self.balance == 1:
            return fit_params
        if before is not None and before.hears_apart and teacher_X is None:
            msg = "the teacher heard other features than X; give them as teacher_X again."
            raise ValueError(msg)
        names = self._names(y, class_names)
        heard = _check_heard(X, teacher_X, self.teacher)
        teacher = _reading_images(self.teacher, heard)
        if not _is_fitted(teacher):
            if before is not None and before.by is self.teacher:
                teacher = before.teacher
            else:
                self._check_student()
                named = y if class_names is None or y.ndim == 2 else names[y]
                with drawing_by(teacher, self.random_state):
                    teacher = _taught(teacher, heard, named)
            names = None if y.ndim == 2 else names  # of soft labels it has learned the columns
        order = order_of_classes(teacher, names, len(self.classes_))
        settings = self.temperature, self.device, self.teacher, teacher_X is not None
        self.lesson_ = Lesson(teacher, order, *settings)
        if teacher_X is None and self.consistent:
            self.lesson_(heard[:1])  # what is wrong is told before the student begins
            return fit_params
        said = [self.lesson_(batch).cpu() for batch in _batches(heard)]
        return fit_params | {"lessons": torch.cat(said)}

    def _names(self, y, class_names):
        """Return what the teacher calls the classes; None where soft labels have no names."""
        if class_names is None:
            return None if y.ndim == 2 else self.classes_
        if len(class_names) != len(self.classes_):
            msg = f"there are {len(class_names)} class_names, y has {len(self.classes_)} classes."
            raise ValueError(msg)
        return np.asarray(class_names)

    def _check_student(self):
        """Refuse what the student cannot be before a teacher learns for it."""
        if not self.initialized_:
            with isolated_rng(0, self.device):
                self.initialize()
            self.initialized_ = False

    def check_classes(self, names, input_shape=None):
        """Refuse classes that the teacher, if it is fitted, does not know; a distiller asks first.

        Parameters
        ----------
        names : ndarray of shape (n_classes,)
            Labels there will be, sorted.
        input_shape : tuple of int or None, default=None
            Shape of the clips that it will be asked about, where that is known.

        Raises
        ------
        ValueError
            If the teacher knows other classes, or tells no probabilities.
        """
        if self.balance < 1 and _is_fitted(self.teacher):
            order = order_of_classes(self.teacher, names, len(names))
            if input_shape is not None and isinstance(self.teacher, nn.Module):
                silence = np.zeros((1, *input_shape), np.float32)
                teacher = _reading_images(self.teacher, silence)
                Lesson(teacher, order, self.temperature, self.device)(silence)

    @property
    def teacher_(self):
        """The teacher that was asked; None with ``balance=1``."""
        return self.lesson_ and self.lesson_.teacher

    def fit_loop(self, X, y=None, epochs=None, lessons=None, **fit_params):
        """Train on labels, beside which there may be what the teacher said of all clips."""
        X = X if lessons is None else _WithLessons(X, y, lessons.numpy())
        return super().fit_loop(X, y, epochs, **fit_params)

    def get_iterator(self, dataset, training=False):
        """Return batches of clips; to learn from, with what the teacher said."""
        dataset = dataset if training else _without_lessons(dataset)
        return super().get_iterator(dataset, training)

    def _as_learned(self, X, y):
        """Ask the teacher about a batch as the student is to see it, if it was not asked before."""
        if isinstance(X, tuple):
            X, lesson = X
            y = torch.stack([self._probabilities(y), lesson], dim=1)
        X, y = super()._as_learned(X, y)
        if self.lesson_ is not None and y.ndim < 3:
            y = torch.stack([self._probabilities(y), self.lesson_(X).to(y.device)], dim=1)
        return X, y

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        """Return Eq. 3, or the loss of the labels alone where no teacher was asked.

        Parameters
        ----------
        y_pred : tensor of shape (n_clips, n_classes)
            Logits of the student.
        y_true : tensor of shape (n_clips,), (n_clips, n_classes) or (n_clips, 2, n_classes)
            Labels; in the last case with what the teacher says beside them.
        *args, **kwargs : tuple, dict
            As in ``skorch.NeuralNetClassifier``.

        Returns
        -------
        loss : tensor, one number
        """
        if y_true.ndim < 3:
            return super().get_loss(y_pred, y_true, *args, **kwargs)
        labels, lesson = y_true.to(y_pred.device).unbind(dim=1)
        told = super().get_loss(y_pred, labels, *args, **kwargs)
        taught = F.kl_div(F.log_softmax(y_pred, dim=1), lesson, reduction="batchmean")
        return self.balance * told + (1 - self.balance) * taught

    def new_network(self, input_shape, n_classes):
        """Return a network for such clips and so many classes."""
        return make_network(self.student, input_shape, n_classes)

    def set_params(self, **params):
        """Set parameters; those of the teacher begin with ``teacher__``."""
        own = {name: value for name, value in params.items() if not name.startswith("teacher__")}
        super().set_params(**own)
        if of_teacher := {n.removeprefix("teacher__"): params[n] for n in params.keys() - own}:
            self.teacher.set_params(**of_teacher)
        return self


class _WithLessons(Dataset):
    """Clips and labels of skorch; each clip comes with what the teacher said of it."""

    def __init__(self, X, y, lessons):
        super().__init__(X, y)
        self.lessons = lessons

    def __getitem__(self, i):
        clip, label = super().__getitem__(i)
        return (clip, self.lessons[i]), label


def _without_lessons(dataset):
    """Return the same clips, or a part of them, alone."""
    if isinstance(dataset, Subset):
        return Subset(_without_lessons(dataset.dataset), dataset.indices)
    return Dataset(dataset.X, dataset.y) if isinstance(dataset, _WithLessons) else dataset


def _check_heard(X, teacher_X, teacher):
    """Return what the teacher hears of the clips: :class:`Rows` of features, or as it is given."""
    if teacher_X is None:
        return X
    if len(teacher_X) != len(X):
        msg = f"teacher_X holds {len(teacher_X)} clips, X {len(X)}; they must be the same ones."
        raise ValueError(msg)
    if not isinstance(teacher, nn.Module | NetworkClassifier):
        return teacher_X
    heard = Rows(np.asarray(from_torch(teacher_X), np.float32))
    check_finite(heard, "teacher_X")
    return heard


def _reading_images(teacher, heard):
    """Return a teacher that takes feature images: an AST of the transformers library as ours."""
    if type(teacher).__name__ != "ASTForAudioClassification":
        return teacher
    n_classes = teacher.config.num_labels
    return AudioSpectrogramTransformer(heard.shape[1:], n_classes, weights=teacher)


def _batches(heard):
    return heard.batches() if isinstance(heard, Rows) else [heard]


class Lesson:
    """What a teacher says of clips, softened: ``softmax(Z_T / tau)``.

    Parameters
    ----------
    teacher : classifier or torch.nn.Module
        Fitted.
    order : ndarray of int
        The column of each class.
    temperature : float
        tau.
    device : str
        Where a module is asked.
    by : object, default=None
        What `teacher` was before it was fitted.
    hears_apart : bool, default=False
        Whether it hears other features than the student.
    """

    def __init__(self, teacher, order, temperature, device, by=None, hears_apart=False):
        if isinstance(teacher, nn.Module):
            teacher = clone(teacher, safe=False).eval().to(device)
        self.teacher, self.by, self.hears_apart = teacher, by, hears_apart
        self.order, self.temperature, self.device = order, temperature, device

    def __getstate__(self):
        return without_gpu(vars(self), "teacher")  # made anew before it is asked again

    @torch.no_grad()
    def __call__(self, X):
        """Return the probabilities of the classes, a tensor of shape ``(n_clips, n_classes)``."""
        if isinstance(self.teacher, nn.Module):
            logits = self.teacher(torch.as_tensor(X).to(self.device))
            if not torch.is_tensor(logits):
                msg = f"the teacher gives {type(logits).__name__}; it must give logits, a tensor."
                raise TypeError(msg)
            _check_as_many(logits.shape[1], len(self.order))
            if not torch.isfinite(logits).all():
                msg = "the teacher gives logits that are not finite; it can teach nothing."
                raise ValueError(msg)
        else:  # logits up to a constant, which softmax does not see
            with drawing_by(self.teacher, 0):
                told = np.asarray(self.teacher.predict_proba(from_torch(X)))
            check_told(told, type(self.teacher).__name__)
            logits = torch.as_tensor(told).log()
        return torch.softmax(logits[:, self.order] / self.temperature, dim=1).float()


def _check_as_many(n_known, n_classes):
    if n_known != n_classes:
        msg = (
            f"the teacher gives {n_known} logits, the labels are of {n_classes} classes; it must "
            "know the same ones."
        )
        raise ValueError(msg)


def check_told(probabilities, name):
    """Refuse what a classifier tells in ``predict_proba`` if it is none."""
    clip = first_unsound(probabilities)
    if clip is not None:
        row = np.array2string(probabilities[clip], precision=3, threshold=5)
        msg = (
            f"what {name} tells in predict_proba are no probabilities: a row is {row}; a skorch "
            "classifier tells them with criterion=torch.nn.CrossEntropyLoss."
        )
        raise ValueError(msg)


def _is_fitted(teacher):
    """Tell whether a teacher is ready to be asked; refuse one that could not be."""
    if isinstance(teacher, nn.Module):
        return True
    if not hasattr(teacher, "predict_proba"):
        msg = (
            f"{type(teacher).__name__} tells no probabilities; teach by a classifier with "
            "predict_proba, or by a torch module that gives logits."
        )
        raise ValueError(msg)
    try:
        check_is_fitted(teacher)
    except NotFittedError:
        return False
    return True


def _taught(teacher, heard, y):
    """Return a classifier fitted on the clips as it hears them."""
    plain = isinstance(heard, Rows) and not isinstance(teacher, NetworkClassifier)
    return fit_on(clone(teacher), heard[:] if plain else heard, y)


def order_of_classes(teacher, classes, n_classes):
    """Return the columns of a teacher in the order of the `classes`.

    Where these have no names (None) they are the classes of the teacher, sorted.
    """
    known = getattr(teacher, "classes_", None)
    if known is None:
        return np.arange(n_classes)
    known = np.asarray(known)
    order = np.argsort(known)
    if classes is None:
        same = len(known) == n_classes
    else:
        same = np.array_equal(known[order], np.sort(classes))
        order = order[np.argsort(np.argsort(classes))] if same else order
    if not same:
        labels = f"of {n_classes} columns" if classes is None else _listed(classes)
        msg = f"the teacher knows the classes {_listed(known)}, the labels are {labels}; "
        raise ValueError(msg + "it must know the same ones.")
    return order


def _listed(classes, most=5):
    """Return classes as text, the first few of many."""
    more = f", ... ({len(classes)})" if len(classes) > most else ""
    return ", ".join(map(repr, np.asarray(classes)[:most].tolist())) + more


# ------------------------------------------------------------------------------------------
# Recipes
# ------------------------------------------------------------------------------------------


def training_recipe(name):
    """Return how the TFE paper trains, as options of :func:`network_classifier`.

    Its text and Table I [1]_, with what they refer to from AST [2]_. Lengths of masks and shifts
    are fractions here, so that short clips are not masked whole. Noise is twice as strong, for the
    features of the AST have half the standard deviation of ours.

    ======================  =========================  ==========================
    ..                      ESC-50                     Speech Commands
    ======================  =========================  ==========================
    optimiser               Adam, 1e-4                 Adam, 5e-4
    step size               x 0.85 every 5 epochs      x 0.85 an epoch after 5
    batches, epochs         48, 100                    128, 30
    masks, time/frequency   96 of 512, 24 of 128       48 of 128, 48 of 128
    noise                   U(0, 0.05)                 U(0, 0.1)
    shift                   10 of 512, rolled          10 of 128, rolled
    mixup                   0                          0.6
    label smoothing         0.1                        0
    ======================  =========================  ==========================

    These step sizes are for networks that come with weights: one that is drawn at random wants more
    (``| {"lr": 1e-3}``). For Speech Commands the paper has a binary cross-entropy for each class,
    here it is cross-entropy for both.

    Parameters
    ----------
    name : {"esc50", "speech_commands"}
        Which of the two.

    Returns
    -------
    options : dict
        For :func:`network_classifier` or :class:`KnowledgeDistillationClassifier`.

    Raises
    ------
    ValueError
        If there is no such recipe.

    References
    ----------
    .. [1] H. Xing et al., "Enhancing spectrogram for audio classification using time-frequency
       enhancer", section IV-B.
    .. [2] Y. Gong, Y.-A. Chung, J. Glass, "AST: Audio spectrogram transformer", Interspeech, 2021,
       and its code: moments of Adam, the noise, the Beta distribution of mixup.

    Examples
    --------
    >>> from sklearn_ddfad import network_classifier, training_recipe
    >>> recipe = training_recipe("esc50")
    >>> recipe["batch_size"], recipe["max_epochs"]
    (48, 100)
    >>> classifier = network_classifier("efficientnetv2", **recipe | {"lr": 1e-3})
    """
    recipes = {"esc50": _esc50, "speech_commands": _speech_commands}
    if name not in recipes:
        msg = f"there is no recipe {name!r}; use one of {sorted(recipes)}."
        raise ValueError(msg)
    adam = {
        "optimizer": torch.optim.Adam,
        "optimizer__betas": (0.95, 0.999),
        "optimizer__weight_decay": 5e-7,
    }
    return {"n_steps": None, "schedule": None} | adam | recipes[name]()


def _esc50():
    augmentation = Augmentation(
        time_shift=10 / 512,
        roll=True,
        time_mask=96 / 512,
        frequency_mask=24 / 128,
        gain=0,
        noise=2 * 0.05,
    )
    return {
        "lr": 1e-4,
        "batch_size": 48,
        "max_epochs": 100,
        "augmentation": augmentation,
        "criterion__label_smoothing": 0.1,
        "callbacks": [("schedule", LRScheduler("StepLR", step_size=5, gamma=0.85))],
    }


def _speech_commands():
    augmentation = Augmentation(
        time_shift=10 / 128,
        roll=True,
        time_mask=48 / 128,
        frequency_mask=48 / 128,
        gain=0,
        noise=2 * 0.1,
    )
    falling = LRScheduler("MultiStepLR", milestones=list(range(5, 1000)), gamma=0.85)
    return {
        "lr": 5e-4,
        "batch_size": 128,
        "max_epochs": 30,
        "augmentation": augmentation,
        "mixup": 0.6,
        "callbacks": [("schedule", falling)],
    }


# ------------------------------------------------------------------------------------------
# The teacher of the paper
# ------------------------------------------------------------------------------------------


class AudioSpectrogramTransformer(nn.Module):
    """The Audio Spectrogram Transformer (AST) of the transformers library, for feature images.

    A network as any other here, to be trained by ``network_classifier``, or a teacher as it is. It
    hears log-mel spectrograms: one plane, mel bands along the first axis, frames along the second.
    It needs ``pip install 'sklearn-ddfad[ast]'``.

    Parameters
    ----------
    input_shape : tuple of 3 int
        ``(1, n_mels, n_frames)`` of one clip. Weights from elsewhere tell how many mel bands there
        must be, 128 as a rule, and how many frames at most; fewer are filled up with zeros.
    n_classes : int
        Number of classes, that is, of logits.
    weights : str, path, ASTForAudioClassification or None, default=None
        A folder, or a name on the Hugging Face hub such as
        ``"MIT/ast-finetuned-audioset-10-10-0.4593"``, from where weights are loaded; if they know
        another number of classes, the last layer is drawn anew. Or a model that is there already,
        of which a copy is made. ``None`` draws all at random. All are of single precision here.
    scale : float, default=0.5
        What features are multiplied with. Those of our extractors have standard deviation 1 and
        published weights expect 0.5. It is 1 for what ``transformers.ASTFeatureExtractor`` makes,
        once its axes are exchanged.
    **config : dict
        Of a model that is drawn at random, as in ``transformers.ASTConfig``.

    Attributes
    ----------
    model : ASTForAudioClassification
        What it is made of.

    References
    ----------
    .. [1] Y. Gong, Y.-A. Chung, J. Glass, "AST: Audio spectrogram transformer", Interspeech, 2021.

    Examples
    --------
    A large one, trained further on one's own clips, teaches a small network:

    >>> from functools import partial
    >>> from sklearn_ddfad import (
    ...     AudioSpectrogramTransformer,
    ...     KnowledgeDistillationClassifier,
    ...     network_classifier,
    ...     training_recipe,
    ... )
    >>> ast = partial(
    ...     AudioSpectrogramTransformer, weights="MIT/ast-finetuned-audioset-10-10-0.4593"
    ... )
    >>> recipe = training_recipe("esc50") | {"lr": 1e-5, "max_epochs": 5}
    >>> teacher = network_classifier(ast, **recipe)
    >>> student = KnowledgeDistillationClassifier(teacher, "efficientnetv2")
    """

    def __init__(self, input_shape, n_classes, *, weights=None, scale=0.5, **config):
        super().__init__()
        if len(input_shape) != 3 or input_shape[0] != 1:
            msg = (
                f"clips of shape {tuple(input_shape)} are no log-mel spectrograms; an AST hears "
                "(1, n_mels, n_frames), as LogMelSpectrogram makes them."
            )
            raise ValueError(msg)
        self.model = _ast(input_shape, n_classes, weights, config).float()
        self.scale = scale
        n_mels, most = self.model.config.num_mel_bins, self.model.config.max_length
        if input_shape[1] != n_mels or input_shape[2] > most:
            msg = (
                f"clips of shape {tuple(input_shape)} do not fit these weights, which are for "
                f"{n_mels} mel bands and at most {most} frames; hear them so."
            )
            raise ValueError(msg)
        patch = self.model.config.patch_size
        if n_mels < patch or most < patch:
            msg = (
                f"an AST hears patches of {patch} bands and {patch} frames, and clips of shape "
                f"{tuple(input_shape)} have not one; give patch_size={min(n_mels, most)} or less."
            )
            raise ValueError(msg)

    def name_classes(self, names):
        """Take names for the classes, in the order of the logits; who trains a network tells them.

        Where it knows them already, in another order, its logits come in the new one.

        Parameters
        ----------
        names : array-like of shape (n_classes,)
            Labels, of any type.
        """
        known = [*map(str, self.classes_ or [])]
        told = [*map(str, names)]
        if sorted(known) == sorted(told):
            order = torch.tensor([known.index(name) for name in told])
            head = self.model.classifier.dense
            with torch.no_grad():
                for part in head.parameters():
                    part.copy_(part[order.to(part.device)])
        names = np.asarray(names).tolist()
        if names == [*range(len(names))]:  # indices are no names
            names = [f"LABEL_{i}" for i in names]
        self.model.config.id2label = dict(enumerate(names))
        self.model.config.label2id = {name: i for i, name in enumerate(names)}

    @property
    def classes_(self):
        """Names of the classes, in the order of the logits; None where the model has none."""
        names = [self.model.config.id2label[i] for i in range(self.model.config.num_labels)]
        return None if names == [f"LABEL_{i}" for i in range(len(names))] else names

    def embed(self, X):
        """Return what the last layer sees, shape ``(n_clips, n_features)``."""
        frames = self.scale * X[:, 0].transpose(1, 2)
        missing = self.model.config.max_length - frames.shape[1]
        frames = F.pad(frames, (0, 0, 0, missing))
        return self.model.audio_spectrogram_transformer(frames).pooler_output

    def forward(self, X):
        """Return the logits, shape ``(n_clips, n_classes)``, of spectrograms ``X``."""
        return self.model.classifier(self.embed(X))


def _ast(input_shape, n_classes, weights, config):
    """Return the model that `weights` stand for."""
    if isinstance(weights, nn.Module):
        return _copy_for(n_classes, weights)
    try:
        from transformers import ASTConfig, ASTForAudioClassification
    except ImportError as error:
        msg = (
            "AudioSpectrogramTransformer needs the transformers library; "
            "pip install 'sklearn-ddfad[ast]'."
        )
        raise ImportError(msg) from error
    if weights is not None:
        return ASTForAudioClassification.from_pretrained(
            weights, num_labels=n_classes, ignore_mismatched_sizes=True
        )
    _, n_mels, n_frames = input_shape
    shape = {"num_mel_bins": n_mels, "max_length": n_frames, "num_labels": n_classes}
    return ASTForAudioClassification(ASTConfig(**shape | config))


def _copy_for(n_classes, model):
    """Return a copy of a model, its last layer drawn anew where there are other classes."""
    model = deepcopy(model)
    if model.config.num_labels != n_classes:
        head = model.classifier.dense
        model.classifier.dense = nn.Linear(head.in_features, n_classes).to(head.weight)
        model.config.num_labels = model.num_labels = n_classes
    return model
