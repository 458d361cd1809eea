"""The one outer loop of all distillers; a method fills one blank, the matching loss."""

from abc import ABC, abstractmethod
from math import ceil, inf, log
from numbers import Integral, Real
from os import PathLike
from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch.nn.functional import one_hot
from tqdm import tqdm

from sklearn_ddfad._memory import freed_memory_kept
from sklearn_ddfad._training import (
    check_learns_soft_labels,
    draw_seed,
    functional_network,
    network_classifier,
)
from sklearn_ddfad._validation import Interval, StrOptions, resolve_device
from sklearn_ddfad._warnings import warn
from sklearn_ddfad.augmentation import resolve_augmentation
from sklearn_ddfad.base import BaseReducer, hold_out, in_batches, pick_per_class
from sklearn_ddfad.distillation._checkpoint import FREE, Checkpoint
from sklearn_ddfad.distillation._ranks import ALONE, join
from sklearn_ddfad.networks import check_logits
from sklearn_ddfad.parameterization import decoded

_MUCH = 3  # times that a loss does not grow by chance
_APART = 0.1  # standard deviations that the beginnings from one clip lie apart


class Iterate(NamedTuple):
    """What is being distilled, as it is at one iteration, on the device."""

    clips: torch.Tensor  # (n_clips, ...)
    codes: torch.Tensor  # (n_clips,) of int64: the class that each clip is made for
    labels: torch.Tensor  # the codes, or logits (n_clips, n_classes) that are learned too
    alpha: torch.Tensor  # step size of the student, for methods that learn it

    @property
    def targets(self):
        """What cross-entropy takes: the codes, or the probabilities of each class."""
        return self.labels.softmax(dim=1) if self.labels.is_floating_point() else self.labels


class Candidate(NamedTuple):
    """What may be kept in the end: an average of iterates, as arrays."""

    clips: np.ndarray
    numbers: dict[str, np.ndarray]  # that they are decoded from
    alpha: float
    soft_labels: np.ndarray | None


class Matching(ABC):
    """How far a set is from what it should match, and what that takes from iteration to iteration.

    Everything random is drawn from the generators that are handed in.
    """

    largest = inf  # a loss beyond it says that the step before led astray

    def begin_iteration(self, get_iterate, generator):  # noqa: B027
        """Make ready for the next iteration: once, and alike on all ranks.

        ``get_iterate()`` decodes the set as it is now, for those who need it.
        """

    def first_alpha(self, iterate, generator):
        """Return the step size α that the first students take."""
        return iterate.alpha.item()

    @abstractmethod
    def __call__(self, iterate, generator):
        """Return a scalar tensor, differentiable by what is learned of the `iterate`."""

    def state(self):  # noqa: B027
        """Return what an unbroken run would know, as tensors and plain types."""

    def restore(self, state):  # noqa: B027
        """Go on from a `state`."""


class BaseDistiller(BaseReducer):
    """Learn ``cpc`` clips a class such that training on them does what training on all does.

    A new method is one file with one class that fills ``_matching_loss``.
    """

    _parameter_constraints: dict = {
        **BaseReducer._parameter_constraints,
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "augmentation": [StrOptions({"auto"}), callable, None],
        "soft_labels": ["boolean"],
        "init": [StrOptions({"real", "noise"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "checkpoint": [str, PathLike, None],
        "callbacks": [list, None],
        "verbose": ["verbose"],
    }

    n_students: int | None = None  # matched in each iteration; None is one for each rank
    _learns_alpha = _needs_two_classes = False

    @abstractmethod
    def _matching_loss(self, X, codes, rng, checkpoint):
        """Learn from the real clips what is to be matched, and return the :class:`Matching`.

        `X` holds :class:`Rows`, to be read a few at a time. What is refused is refused first;
        ``checkpoint.begin()`` then gives the folder, or None, where what takes long to learn may
        be kept.
        """

    @abstractmethod
    def _iterations(self, n_clips):
        """Return how many updates `n_clips` take where ``max_iter`` is None."""

    def _step_size(self, clips_per_class):
        """Return the step size of Adam on so many clips of each class."""
        return self.learning_rate

    def check_task(self, input_shape, classes):
        """Refuse, before any work, clips or classes that nothing can be made of."""
        super().check_task(input_shape, classes)
        if self._needs_two_classes and len(classes) == 1:
            msg = (
                f"{type(self).__name__} has nothing to match with one class, {classes[0]}: a "
                "network learns nothing from it; give two classes or more, or use "
                "DistributionDistiller."
            )
            raise ValueError(msg)
        n_classes = len(classes)
        network = functional_network(self.network, input_shape, n_classes, seed=0, device="cpu")
        check_logits(network.module, input_shape, n_classes)

    def _reduce(self, X, codes, rng):
        checkpoint, n_students, rng = self._begin(X, codes, rng)
        train, validation = self._split(codes, rng)
        X_train, codes_train = X.subset(train), codes[train]
        decoder = self._plan(X, codes)
        self._clips_per_class = decoder.clips_per_class
        matching = self._matching_loss(X_train, codes_train, rng, checkpoint)
        clips, small_codes = self._initial_clips(X_train, codes_train, decoder.clips_per_class, rng)
        max_iter = self.max_iter or self._iterations(len(clips))
        judge = network_classifier(self.network, device=self.device, random_state=draw_seed(rng))
        selection = Selection(judge, (X.subset(validation), codes[validation]), max_iter, decoder)
        descent = Descent(
            decoder,
            decoder.encode(clips, small_codes),
            small_codes,
            self._step_size(decoder.clips_per_class),
            self.device_,
            draw_seed(rng),
            soft_labels=self.soft_labels,
            largest_loss=matching.largest,
            n_students=n_students,
            ranks=self._ranks,
        )
        self._descend(descent, matching, selection, max_iter, checkpoint)
        assert selection.best is not None  # the last iterate is always looked at
        best = self._ranks.from_first(selection.best)
        return best.clips, small_codes, self._kept(best, decoder)

    def _begin(self, X, codes, rng):
        """Refuse what cannot be; return where the fit is kept, its students, and what it draws by.

        All ranks agree on these.
        """
        self.device_ = resolve_device(self.device)
        for callback in self.callbacks or []:
            if not callable(callback):
                msg = f"callbacks={self.callbacks}: {callback!r} cannot be called; give functions."
                raise TypeError(msg)
        if self.soft_labels and self.estimator is not None:
            check_learns_soft_labels(self.estimator)
        self.augmentation_ = resolve_augmentation(self.augmentation, self.input_shape_)
        self._ranks = ranks = join(self.device_)
        n_students = self.n_students or ranks.size
        parameters = {**self.get_params(deep=False), "n_students": n_students}
        ranks.check_same((_plain(parameters), X.shape, codes))
        checkpoint = Checkpoint(self.checkpoint, parameters, X, codes)
        self._seed = ranks.from_first(checkpoint.seed(ranks.from_first(self._seed)))
        rng.seed(self._seed)
        return checkpoint, n_students, np.random.RandomState(draw_seed(rng))

    def _kept(self, best, decoder):
        """Return what a set keeps beside its clips, and their labels."""
        self.soft_labels_ = best.soft_labels
        kept = {"soft_labels": best.soft_labels} | self._stored(best.numbers, decoder)
        if self._learns_alpha:
            self.learning_rate_ = kept["learning_rate"] = best.alpha
        return kept

    def _split(self, codes, rng):
        """Return indices to learn from and indices to select on, if there can be any."""
        return hold_out(codes, self.validation_fraction, rng)

    def _initial_clips(self, X, codes, cpc, rng):
        """Return what the descent starts from: real clips, or noise as loud as they are.

        A clip that is taken more than once is a little different each time, else the copies would
        stay alike for ever.
        """
        chosen = pick_per_class(codes, cpc, rng)
        if self.init == "real":
            clips = X[chosen]
            again = np.delete(np.arange(len(chosen)), np.unique(chosen, return_index=True)[1])
            if len(again):
                noise = rng.standard_normal((len(again), *X.shape[1:]))
                clips[again] += (_APART * X.mean_and_std()[1] * noise).astype(np.float32)
            return clips, codes[chosen]
        noise = rng.standard_normal((len(chosen), *X.shape[1:])).astype(np.float32)
        mean, std = X.mean_and_std()
        return (mean + std * noise).astype(np.float32), codes[chosen]

    @freed_memory_kept()
    def _descend(self, descent, matching, selection, max_iter, checkpoint):
        """Follow the matching loss downhill, and let the iterates be judged on the way."""
        ranks = self._ranks
        parts = {"descent": descent, "matching": matching, "selection": selection}
        if (state := ranks.from_first(checkpoint.load())) is not None:
            for name, part in parts.items():
                part.restore(state[name])
        else:
            descent.begin(matching)
        self.loss_curve_, self.n_iter_ = descent.losses, len(descent.losses)
        stop = state is not None and state["stopped"]
        with tqdm(
            desc=type(self).__name__,
            total=max_iter,
            initial=self.n_iter_,
            disable=not (self.verbose and ranks.is_first),
        ) as bar:
            while self.n_iter_ < max_iter and not stop:
                matching.begin_iteration(descent.iterate, descent.generator)
                descent.step(
                    matching(descent.iterate(), generator) for generator in descent.generators()
                )
                self.n_iter_ += 1
                bar.set_postfix(loss=f"{descent.losses[-1]:.3f}", refresh=False)
                bar.update()
                stop = ranks.any(any([callback(self) for callback in self.callbacks or []]))
                selection.look_at(descent, self.n_iter_, last=stop)
                if ranks.is_first:
                    checkpoint.save(
                        lambda stop=stop: (
                            {"stopped": stop} | {name: part.state() for name, part in parts.items()}
                        ),
                        now=stop or self.n_iter_ == max_iter,
                    )
        if descent.n_undone > self.n_iter_ / 2:
            msg = (
                f"{descent.n_undone} of {self.n_iter_} iterations diverged and were undone; the "
                "distilled clips are hardly better than where they started. Lower learning_rate."
            )
            warn(msg, ConvergenceWarning)
        elif (grew := descent.growth()) > _MUCH:
            msg = (
                f"the loss grew to {grew:.1f} times what it was: the distilled clips are worse "
                "than where they started. Lower learning_rate."
            )
            warn(msg, ConvergenceWarning)


def _plain(parameters):
    """Return those that can be compared between processes and that change the result."""
    return {
        name: value
        for name, value in parameters.items()
        if name not in FREE and isinstance(value, int | float | str | None)
    }


class Descent:
    """Adam on a set's numbers, labels and the logarithm of the step size α; averages of them.

    α is positive by construction and kept within bounds. A step that leads to numbers that are
    not finite, or was asked for by a loss beyond `largest_loss`, is not taken: the last good
    average takes its place and α is halved.

    The gradient is the mean over `n_students`, of which each of the `ranks` computes its own. All
    of them know the mean, and so take the same step.
    """

    ALPHA, ALPHA_BOUNDS = 0.05, (1e-4, 1.0)
    ALPHA_RATE = 0.02
    AVERAGED = 50  # iterates that the running average reaches back over
    CERTAINTY = 0.9  # with which a soft label begins as its own class

    def __init__(
        self,
        decoder,
        numbers,
        codes,
        learning_rate,
        device,
        seed,
        *,
        soft_labels=False,
        largest_loss=inf,
        n_students=1,
        ranks=ALONE,
    ):
        self.codes = torch.as_tensor(codes).to(device)
        self.numbers = {
            name: torch.tensor(array, device=device, requires_grad=True)
            for name, array in numbers.items()
        }
        self.log_alpha = torch.tensor(log(self.ALPHA), device=device, requires_grad=True)
        self.labels = self._first_logits().requires_grad_() if soft_labels else self.codes
        learned = {**self.numbers, **({"labels": self.labels} if soft_labels else {})}
        self._values = [self.log_alpha, *learned.values()]
        self._optimizer = torch.optim.Adam(
            [
                {"params": [value], "lr": learning_rate * decoder.rates.get(name, 1)}
                for name, value in learned.items()
            ]
            + [{"params": [self.log_alpha], "lr": self.ALPHA_RATE}]
        )
        self._decoder = decoder
        self._average = [value.detach().clone() for value in self._values]
        self.generator = torch.Generator().manual_seed(seed)  # of all that is drawn on the way
        self.n_undone, self.losses = 0, []
        self._largest_loss, self._n_students, self._ranks = largest_loss, n_students, ranks

    def _first_logits(self):
        own = one_hot(self.codes).float()
        n_others = max(own.shape[1] - 1, 1)
        return own * log(self.CERTAINTY / (1 - self.CERTAINTY) * n_others)

    @torch.no_grad()
    def begin(self, matching):
        """Let the method say which step size α it begins with."""
        generator = torch.Generator().manual_seed(self.generator.initial_seed())
        iterate = self.iterate()
        alpha = self._ranks.from_first(matching.first_alpha(iterate, generator))
        for log_alpha in (self.log_alpha, self._average[0]):
            log_alpha += log(alpha / iterate.alpha.item())

    def iterate(self):
        """Return the set as it is now, differentiable."""
        clips = self._decoder.decode(self.numbers)
        return Iterate(clips, self.codes, self.labels, self.log_alpha.exp())

    def generators(self):
        """Return what this rank's students of one iteration draw from, a generator for each.

        A single student draws from the common one itself.
        """
        if self._n_students == 1:
            return self._ranks.own([self.generator])
        seeds = torch.randint(2**32, (self._n_students,), generator=self.generator).tolist()
        return [torch.Generator().manual_seed(seed) for seed in self._ranks.own(seeds)]

    def step(self, losses):
        """Take one step down the gradient of the mean loss, or undo what led to it.

        `losses` yields those of this rank's students. Each is asked for when the graph of the one
        before is gone.
        """
        mean, *gradients = self._mean(losses)
        self.losses.append(mean.item())
        small = mean.isfinite() and mean < self._largest_loss
        if not small or not all(gradient.isfinite().all() for gradient in gradients):
            self._undo()
            return
        self._optimizer.step()
        with torch.no_grad():
            self.log_alpha.clamp_(*(log(bound) for bound in self.ALPHA_BOUNDS))
        weight = 1 / min(len(self.losses) - self.n_undone, self.AVERAGED)
        for average, value in zip(self._average, self._values, strict=True):
            average.lerp_(value.detach(), weight)

    def _mean(self, losses):
        """Return the mean loss of all students, and its gradients."""
        for value in self._values:
            value.grad = torch.zeros_like(value)
        mean = torch.zeros_like(self.log_alpha.detach())
        for loss in losses:
            (loss / self._n_students).backward()
            mean += loss.detach() / self._n_students
        together = [mean, *[value.grad for value in self._values]]
        self._ranks.add_up(together)
        return together

    @torch.no_grad()
    def _undo(self):
        self.n_undone += 1
        self._average[0] -= log(2)
        self._average[0].clamp_(min=log(self.ALPHA_BOUNDS[0]))
        for average, value in zip(self._average, self._values, strict=True):
            value.copy_(average)

    def growth(self):
        """Return how many times the mean of the last losses, a tenth of all, is the first one.

        Two or three losses, each of another network, tell nothing: 1.
        """
        first, last = self.losses[0], self.losses[-ceil(len(self.losses) / 10) :]
        return sum(last) / len(last) / first if first and len(self.losses) > 3 else 1.0

    def averaged(self):
        """Return the :class:`Candidate` that the averages are."""
        log_alpha, *rest = self._average
        averages = [value.cpu().numpy().copy() for value in rest]
        numbers = dict(zip(self.numbers, averages, strict=False))
        soft_labels = None
        if len(averages) > len(numbers):
            soft_labels = rest[-1].softmax(dim=1).cpu().numpy()
        clips = decoded(self._decoder, numbers)
        return Candidate(clips, numbers, log_alpha.exp().item(), soft_labels)

    def state(self):
        """Return everything that an unbroken run would know, as tensors and plain types."""
        return {
            "values": [value.detach() for value in self._values],
            "average": self._average,
            "optimizer": self._optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "n_undone": self.n_undone,
            "losses": self.losses,
        }

    @torch.no_grad()
    def restore(self, state):
        """Go on from a `state`."""
        for value, known in zip(self._values, state["values"], strict=True):
            value.copy_(known)
        self._average = [
            known.to(value.device)
            for value, known in zip(self._average, state["average"], strict=True)
        ]
        self._optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.n_undone, self.losses = state["n_undone"], state["losses"]


class Selection:
    """Keep the iterate that trains the best network, told on a part of the training data.

    Iterates are looked at ``TIMES`` times over the second half of the way. Where there is no
    validation part, the last one is kept.
    """

    TIMES = 3

    def __init__(self, judge, validation, max_iter, decoder):
        self._judge, (self._X, self._codes) = judge, validation
        moments = np.linspace(max_iter / 2, max_iter, self.TIMES).round()
        self._moments = set(moments.astype(int)) if len(self._X) else {max_iter}
        self._best_score, self.best, self._decoder = -1.0, None, decoder

    def look_at(self, descent, n_iter, *, last):
        """Judge the current average if its time has come."""
        if n_iter not in self._moments and not last:
            return
        candidate, score = descent.averaged(), 0.0
        if len(self._X):
            soft_labels = candidate.soft_labels
            labels = descent.codes.cpu().numpy() if soft_labels is None else soft_labels
            judge = self._judge.fit(candidate.clips, labels)
            score = np.mean(in_batches(judge.predict, self._X) == self._codes)
        if score >= self._best_score:
            self._best_score, self.best = score, candidate

    def state(self):
        """Return the best so far, as tensors and plain types."""
        if self.best is None:
            return None
        numbers = {name: torch.from_numpy(array) for name, array in self.best.numbers.items()}
        labels = self.best.soft_labels
        labels = None if labels is None else torch.from_numpy(labels)
        return float(self._best_score), numbers, self.best.alpha, labels

    def restore(self, state):
        """Go on from a `state`."""
        if state is not None:
            self._best_score, numbers, alpha, labels = state
            numbers = {name: tensor.numpy() for name, tensor in numbers.items()}
            labels = None if labels is None else labels.numpy()
            self.best = Candidate(decoded(self._decoder, numbers), numbers, alpha, labels)
