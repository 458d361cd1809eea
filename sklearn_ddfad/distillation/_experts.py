"""Expert trajectories: networks trained on the real clips, written down after every epoch."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod
from tempfile import TemporaryFile

import numpy as np
import torch
import torch.nn.functional as F
from joblib import Memory, effective_n_jobs
from tqdm import tqdm

from sklearn_ddfad._memory import freed_memory_kept
from sklearn_ddfad._training import (
    clip_reader,
    functional_network,
    in_workers,
    stacked_gradient,
)
from sklearn_ddfad._validation import Rows
from sklearn_ddfad._version import __version__
from sklearn_ddfad.augmentation import Augmentation, Draw, NoAugmentation
from sklearn_ddfad.datasets._files import whole_or_nothing
from sklearn_ddfad.distillation._checkpoint import fingerprint

LEARNING_RATE = 0.05  # plain SGD with a constant step makes experts that a student can imitate

_AT_HAND = 2**30  # bytes: experts beyond it are mapped from files


def train_experts(
    X,
    y,
    *,
    network,
    n_classes,
    seeds,
    epochs,
    batch_size,
    augmentation,
    device,
    memory=None,
    folder=None,
    n_jobs=None,
    verbose=0,
):
    """Train one expert for each seed, or find it where it was kept.

    Parameters
    ----------
    X : Rows of shape (n_clips, ...)
        Real clips, read a batch at a time.
    y : ndarray of int64, shape (n_clips,)
        Their class indices.
    network : str or callable
        What ``make_network`` takes.
    n_classes : int
        Number of classes.
    seeds : list of int
        One for each expert: of its initialisation, the order of its clips and their augmentation.
    epochs : range
        Epochs that are recorded, 0 being the start; training ends with the last of them.
    batch_size : int
        Clips in a step.
    augmentation : Augmentation
        Drawn anew for each batch.
    device : str
        Where to train.
    memory : str, joblib.Memory or None, default=None
        Cache of experts, each by itself.
    folder : Path or None, default=None
        Folder of one fit, in which each expert is a file; not used where `memory` keeps them.
    n_jobs : int or None, default=None
        Processes, of whatever joblib backend is active. With None experts are trained one after
        the other, on a GPU side by side.
    verbose : int, default=0
        Whether progress is shown.

    Returns
    -------
    experts : list of ndarray of float32, shape (n_epochs, n_parameters)
        Flat parameters after each epoch of `epochs`. Experts that are kept in files are mapped
        and not held in memory (of a ``joblib.Memory``, if its ``mmap_mode`` says so), and so are
        all that take more than 1 GB.

    Raises
    ------
    ValueError
        If `memory` is to keep experts of a network or augmentation that cannot be pickled.
    """
    training = Training(X, y, network, n_classes, epochs, batch_size, augmentation, device)
    shelf = _shelf(training, memory, folder, is_large=len(seeds) * training.n_bytes > _AT_HAND)
    experts = {seed: shelf.find(seed) for seed in seeds}
    missing = [seed for seed, expert in experts.items() if expert is None]
    trained = zip(missing, _train_all(training, missing, n_jobs), strict=True)
    n_found = len(experts) - len(missing)
    for seed, trajectory in tqdm(
        trained, "experts", len(experts), initial=n_found, disable=not (verbose and missing)
    ):
        experts[seed] = shelf.keep(seed, trajectory)
    return [experts[seed] for seed in seeds]


@dataclass(frozen=True)
class Training:
    """What experts are trained on, and how: with a seed, all that decides what becomes of one."""

    X: Rows
    y: np.ndarray
    module: str | Callable
    n_classes: int
    epochs: range
    batch_size: int
    augmentation: Augmentation | NoAugmentation
    device: str

    def __sizeof__(self):
        """Bytes of the clips: a Dask cluster that is told of them asks for them only once."""
        return 4 * prod(self.X.shape)

    def network(self, seed):
        """Return a new network, initialised by `seed`."""
        shape, n_classes = self.X.shape[1:], self.n_classes
        return functional_network(self.module, shape, n_classes, seed=seed, device=self.device)

    @property
    def n_bytes(self):
        """Bytes of one expert."""
        return 4 * len(self.epochs) * self.network(seed=0).n_parameters

    def batches(self, generator):
        """Yield the batches of an epoch, ``(indices, draw)``: all clips in random order."""
        for indices in torch.randperm(len(self.X), generator=generator).split(self.batch_size):
            yield indices, self.augmentation.draw((len(indices), *self.X.shape[1:]), generator)

    def reader(self):
        """Return a function that gives the clips and labels of some indices, on the device."""
        clips, labels = clip_reader(self.X, self.device), torch.tensor(self.y, device=self.device)
        return lambda indices: (clips(indices), labels[indices.to(self.device)])

    def record(self, theta, run_epoch):
        """Run the epochs, each of which changes `theta` in place; return its copies, stacked."""
        trajectory = np.empty((len(self.epochs), *theta.shape), np.float32)
        for epoch in range(self.epochs.stop):
            if epoch > 0:
                run_epoch()
            if epoch in self.epochs:
                trajectory[self.epochs.index(epoch)] = theta.cpu().numpy()
        return trajectory


# ------------------------------------------------------------------------------------------
# Where experts are kept
# ------------------------------------------------------------------------------------------


def _shelf(training, memory, folder, *, is_large):
    """Return where experts are kept: the user's cache, the folder of a fit, or this process."""
    memory = Memory(memory, mmap_mode="r", verbose=0) if isinstance(memory, str) else memory
    if getattr(memory, "location", memory) is not None:
        return _Cache(memory, _key(training))
    return _Process(is_large) if folder is None else _Folder(folder)


class _Process:
    """Experts of this process alone: in memory, or in nameless files that go when they do."""

    def __init__(self, is_large):
        self._is_large = is_large

    def find(self, seed):
        """Return nothing: all begin anew."""
        return None

    def keep(self, seed, trajectory):
        """Return the expert, from now on held where it is kept."""
        if not self._is_large:
            return trajectory
        with TemporaryFile() as file:
            mapped = np.memmap(file, trajectory.dtype, "w+", shape=trajectory.shape)
        mapped[:] = trajectory
        return mapped


class _Folder:
    """Experts as files of a folder that belongs to one fit, and to one that goes on from there."""

    def __init__(self, folder):
        self._folder = folder

    def find(self, seed):
        """Return the expert of a seed, or None."""
        path = self._path(seed)
        return np.load(path, mmap_mode="r") if path.is_file() else None

    def keep(self, seed, trajectory):
        """Return the expert, from now on held where it is kept."""
        with whole_or_nothing(self._path(seed)) as draft, draft.open("wb") as file:
            np.save(file, trajectory)
        return self.find(seed)

    def _path(self, seed):
        return self._folder / f"expert_{seed}.npy"


class _Cache:
    """Experts in a ``joblib.Memory``, or the like of it, for every fit that asks for them."""

    def __init__(self, memory, key):
        self._expert, self._key = memory.cache(_expert, ignore=["trajectory"]), key

    def find(self, seed):
        """Return the expert of a seed, or None."""
        try:
            return self._expert(self._key, seed)
        except LookupError:
            return None

    def keep(self, seed, trajectory):
        """Return the expert, from now on held where it is kept."""
        return self._expert(self._key, seed, trajectory)


def _expert(key, seed, trajectory=None):
    """Return `trajectory`: what a cache remembers of a key and a seed once it was told."""
    if trajectory is None:
        raise LookupError(key, seed)
    return trajectory


def _key(training):
    """Return a hash of all that decides what becomes of a seed, whatever holds the clips."""
    clips, device = training.X.fingerprint(), torch.device(training.device).type
    content = {**vars(training), "X": clips, "device": device}, __version__
    return fingerprint(content, "memory", "a network and an augmentation")


# ------------------------------------------------------------------------------------------
# Training
# ------------------------------------------------------------------------------------------


def _train_all(training, seeds, n_jobs):
    """Yield the trajectory of each seed: side by side on a GPU, else as joblib is told."""
    if not seeds:
        return
    n_workers = min(effective_n_jobs(n_jobs), len(seeds))
    one_gpu = torch.device(training.device).type == "cuda" and n_jobs is None and n_workers == 1
    size = min(_AT_HAND // training.n_bytes, len(seeds)) if one_gpu else 1
    if size > 1 and can_be_stacked(training):
        yield from in_chunks(partial(train_side_by_side, training), seeds, size)
        return
    yield from in_workers(train_expert, [(training, seed) for seed in seeds], n_jobs)


@freed_memory_kept()
def train_expert(training, seed):
    """Train one expert; return its parameters at the epochs that are recorded."""
    generator = torch.Generator().manual_seed(seed)
    network = training.network(seed)
    theta = network.initial_parameters()
    network.share_parameters(theta)
    read = training.reader()

    def run_epoch():
        for indices, draw in training.batches(generator):
            clips, labels = read(indices)
            loss = F.cross_entropy(network.module(training.augmentation(clips, draw)), labels)
            theta.sub_(LEARNING_RATE * network.own_gradient(loss))

    return training.record(theta, run_epoch)


def train_side_by_side(training, seeds):
    """Train experts together, a step of all in one pass; return their trajectories.

    Each sees the batches, and draws the numbers, that it would alone. One alone leaves a GPU idle
    most of the time.
    """
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    networks = [training.network(seed) for seed in seeds]
    theta = torch.stack([network.initial_parameters() for network in networks])
    gradient = stacked_gradient(networks[0])
    read = training.reader()

    def run_epoch():
        of_each = [training.batches(generator) for generator in generators]
        for batches in zip(*of_each, strict=True):
            indices, draws = zip(*batches, strict=True)
            clips, labels = (
                of_all.unflatten(0, (len(seeds), -1)) for of_all in read(torch.cat(indices))
            )
            theta.sub_(LEARNING_RATE * gradient(theta, _augment(training, clips, draws), labels))

    return training.record(theta, run_epoch).swapaxes(0, 1)


def _augment(training, clips, draws):
    """Augment a batch for each of several experts, ``(n_experts, n_clips, ...)``."""
    if all(isinstance(draw, Draw) for draw in draws):  # it has a row for each clip: all at once
        draw = Draw(*(torch.cat(rows) for rows in zip(*draws, strict=True)))
        return training.augmentation(clips.flatten(0, 1), draw).view(clips.shape)
    each = zip(clips, draws, strict=True)
    return torch.stack([training.augmentation(batch, draw) for batch, draw in each])


def can_be_stacked(training):
    """Tell whether such networks can be trained side by side: torch cannot vmap everything."""
    networks = [training.network(seed) for seed in (0, 1)]
    theta = torch.stack([network.initial_parameters() for network in networks])
    X = theta.new_zeros(2, 1, *training.X.shape[1:])
    try:
        stacked_gradient(networks[0])(theta, X, X.new_zeros(2, 1, dtype=torch.long))
    except RuntimeError:
        return False
    return True


def in_chunks(train, seeds, size):
    """Yield the results of ``train(seeds)``, `size` at a time, or fewer where memory is short."""
    size = min(size, len(seeds))
    while seeds:
        try:
            trained = train(seeds[:size])
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size = (size + 1) // 2
        else:
            yield from trained
            seeds = seeds[size:]
