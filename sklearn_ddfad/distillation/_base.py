"""The one outer loop of all distillers; a method fills one blank, the matching loss."""

import warnings
from abc import abstractmethod
from math import log
from numbers import Integral, Real
from os import PathLike

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from tqdm import tqdm

from sklearn_ddfad._memory import freed_memory_kept
from sklearn_ddfad._training import draw_seed, network_classifier
from sklearn_ddfad._validation import Interval, StrOptions, resolve_device
from sklearn_ddfad.augmentation import resolve_augmentation
from sklearn_ddfad.base import BaseReducer, in_batches, pick_per_class
from sklearn_ddfad.distillation._checkpoint import FREE, Checkpoint
from sklearn_ddfad.distillation._ranks import ALONE, join


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
        "init": [StrOptions({"real", "noise"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "checkpoint": [str, PathLike, None],
        "callbacks": [list, None],
        "verbose": ["verbose"],
    }

    n_students: int | None = None  # matched in each iteration; None is one for each rank

    @abstractmethod
    def _matching_loss(self, X, codes, rng, checkpoint):
        """Learn from the real clips what is to be matched, and return how far from it a set is.

        `X` holds :class:`Rows`, to be read a few at a time.
        The answer is a function ``loss(clips, codes, alpha, generator)`` that returns a scalar
        tensor, differentiable by ``clips`` (and by ``alpha``, where it is used). What is
        refused is refused first; ``checkpoint.begin()`` then gives the folder, or None, where what
        takes long to learn may be kept.
        """

    def _reduce(self, X, codes, rng):
        self.device_ = resolve_device(self.device)
        self.augmentation_ = resolve_augmentation(self.augmentation, self.input_shape_)
        self._ranks = ranks = join(self.device_)
        n_students = self.n_students or ranks.size
        parameters = {**self.get_params(deep=False), "n_students": n_students}
        ranks.check_same((_plain(parameters), X.shape, codes))
        checkpoint = Checkpoint(self.checkpoint, parameters, X, codes)
        seed = checkpoint.seed(ranks.from_first(draw_seed(rng)))
        rng = np.random.RandomState(ranks.from_first(seed))
        train, validation = self._split(codes, rng)
        loss = self._matching_loss(X.subset(train), codes[train], rng, checkpoint)
        clips, small_codes = self._initial_clips(X.subset(train), codes[train], rng)
        max_iter = self.max_iter or round(min(max(10_000 / len(clips), 200), 600))
        judge = network_classifier(self.network, device=self.device, random_state=draw_seed(rng))
        selection = Selection(judge, (X.subset(validation), codes[validation]), max_iter)
        descent = Descent(
            clips, self.learning_rate, self.device_, draw_seed(rng), n_students, ranks
        )
        self._descend(descent, loss, small_codes, selection, max_iter, checkpoint)
        assert selection.best is not None  # the last iterate is always looked at
        clips, self.learning_rate_ = ranks.from_first(selection.best)
        return clips, small_codes

    def _split(self, codes, rng):
        """Return indices to learn from and indices to select on, of every class in proportion."""
        everything = np.arange(len(codes))
        n_validation = int(self.validation_fraction * len(codes))
        n_classes = codes.max() + 1
        if np.bincount(codes).min() < 2 or n_validation < n_classes:
            return everything, everything[:0]  # too few for a part with every class
        return train_test_split(
            everything, test_size=n_validation, stratify=codes, random_state=draw_seed(rng)
        )

    def _initial_clips(self, X, codes, rng):
        """Return what the descent starts from: real clips, or noise as loud as they are."""
        chosen = pick_per_class(codes, self.cpc, rng)
        if self.init == "real":
            return X[chosen], codes[chosen]
        noise = rng.standard_normal((len(chosen), *X.shape[1:])).astype(np.float32)
        mean, std = X.mean_and_std()
        return (mean + std * noise).astype(np.float32), codes[chosen]

    @freed_memory_kept()
    def _descend(self, descent, matching_loss, codes, selection, max_iter, checkpoint):
        """Follow the matching loss downhill, and let the iterates be judged on the way."""
        codes_on_device = torch.as_tensor(codes).to(self.device_)
        ranks = self._ranks
        if (state := ranks.from_first(checkpoint.load())) is not None:
            descent.restore(state["descent"])
            selection.restore(state["selection"])
        self.loss_curve_, self.n_iter_ = descent.losses, len(descent.losses)
        stop = False
        with tqdm(
            desc=type(self).__name__,
            total=max_iter,
            initial=self.n_iter_,
            disable=not (self.verbose and ranks.is_first),
        ) as bar:
            while self.n_iter_ < max_iter and not stop:
                descent.step(
                    matching_loss(descent.clips, codes_on_device, descent.alpha(), generator)
                    for generator in descent.generators()
                )
                self.n_iter_ += 1
                bar.set_postfix(loss=f"{descent.losses[-1]:.3f}", refresh=False)
                bar.update()
                stop = ranks.any(any([callback(self) for callback in self.callbacks or []]))
                selection.look_at(descent, codes, self.n_iter_, last=stop)
                if ranks.is_first:
                    checkpoint.save(
                        lambda: {"descent": descent.state(), "selection": selection.state()},
                        now=self.n_iter_ == max_iter,
                    )
        if descent.n_undone > self.n_iter_ / 2:
            msg = (
                f"{descent.n_undone} of {self.n_iter_} iterations diverged and were undone; the "
                "distilled clips are hardly better than where they started. Lower learning_rate."
            )
            warnings.warn(msg, ConvergenceWarning, stacklevel=4)


def _plain(parameters):
    """Return those that can be compared between processes and that change the result."""
    return {
        name: value
        for name, value in parameters.items()
        if name not in FREE and isinstance(value, int | float | str | None)
    }


class Descent:
    """Adam on the clips and on the logarithm of the step size α, and a running average of both.

    α is positive by construction and kept within bounds. A step that leads to numbers that are
    not finite, or was asked for by a loss beyond ``LARGEST_LOSS``, is not taken: the last good
    average takes its place and α is halved.

    The gradient is the mean over `n_students`, of which each of the `ranks` computes its own. All
    of them know the mean, and so take the same step.
    """

    ALPHA, ALPHA_BOUNDS = 0.05, (1e-4, 1.0)
    ALPHA_RATE = 0.02
    AVERAGED = 50  # iterates that the running average reaches back over
    LARGEST_LOSS = 3.0

    def __init__(self, clips, learning_rate, device, seed, n_students=1, ranks=ALONE):
        self.clips = torch.tensor(clips, device=device, requires_grad=True)
        self.log_alpha = torch.tensor(log(self.ALPHA), device=device, requires_grad=True)
        self._optimizer = torch.optim.Adam(
            [
                {"params": [self.clips], "lr": learning_rate},
                {"params": [self.log_alpha], "lr": self.ALPHA_RATE},
            ]
        )
        self._average = [value.detach().clone() for value in (self.clips, self.log_alpha)]
        self.generator = torch.Generator().manual_seed(seed)  # of all that is drawn on the way
        self.n_undone, self.losses = 0, []
        self._n_students, self._ranks = n_students, ranks

    def alpha(self):
        """Return the step size as a differentiable scalar."""
        return self.log_alpha.exp()

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
        small = mean.isfinite() and mean < self.LARGEST_LOSS
        if not small or not all(gradient.isfinite().all() for gradient in gradients):
            self._undo()
            return
        self._optimizer.step()
        with torch.no_grad():
            self.log_alpha.clamp_(*(log(bound) for bound in self.ALPHA_BOUNDS))
        weight = 1 / min(len(self.losses) - self.n_undone, self.AVERAGED)
        for average, value in zip(self._average, (self.clips, self.log_alpha), strict=True):
            average.lerp_(value.detach(), weight)

    def _mean(self, losses):
        """Return the mean loss of all students, and its gradients."""
        values = (self.clips, self.log_alpha)
        for value in values:
            value.grad = torch.zeros_like(value)
        mean = torch.zeros_like(self.log_alpha.detach())
        for loss in losses:
            (loss / self._n_students).backward()
            mean += loss.detach() / self._n_students
        together = [mean, *[value.grad for value in values]]
        self._ranks.add_up(together)
        return together

    @torch.no_grad()
    def _undo(self):
        self.n_undone += 1
        self._average[1] -= log(2)
        self._average[1].clamp_(min=log(self.ALPHA_BOUNDS[0]))
        for average, value in zip(self._average, (self.clips, self.log_alpha), strict=True):
            value.copy_(average)

    def averaged(self):
        """Return the averaged clips, as an array, and the averaged step size."""
        clips, log_alpha = self._average
        return clips.cpu().numpy().copy(), log_alpha.exp().item()

    def state(self):
        """Return everything that an unbroken run would know, as tensors and plain types."""
        return {
            "values": [self.clips.detach(), self.log_alpha.detach()],
            "average": self._average,
            "optimizer": self._optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "n_undone": self.n_undone,
            "losses": self.losses,
        }

    @torch.no_grad()
    def restore(self, state):
        """Go on from a `state`."""
        for value, known in zip((self.clips, self.log_alpha), state["values"], strict=True):
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

    def __init__(self, judge, validation, max_iter):
        self._judge, (self._X, self._codes) = judge, validation
        moments = np.linspace(max_iter / 2, max_iter, self.TIMES).round()
        self._moments = set(moments.astype(int)) if len(self._X) else {max_iter}
        self._best_score, self.best = -1.0, None

    def look_at(self, descent, codes, n_iter, *, last):
        """Judge the current average if its time has come."""
        if n_iter not in self._moments and not last:
            return
        clips, alpha = descent.averaged()
        score = 0.0
        if len(self._X):
            judge = self._judge.fit(clips, codes)
            score = np.mean(in_batches(judge.predict, self._X) == self._codes)
        if score >= self._best_score:
            self._best_score, self.best = score, (clips, alpha)

    def state(self):
        """Return the best so far, as tensors and plain types."""
        if self.best is None:
            return None
        clips, alpha = self.best
        return float(self._best_score), torch.from_numpy(clips), alpha

    def restore(self, state):
        """Go on from a `state`."""
        if state is not None:
            self._best_score, clips, alpha = state
            self.best = clips.numpy(), alpha
