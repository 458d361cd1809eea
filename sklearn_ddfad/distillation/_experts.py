"""Expert trajectories: networks trained on the real clips, written down after every epoch."""

from functools import partial

import numpy as np
import torch
from joblib import Parallel, delayed
from tqdm import tqdm

from sklearn_ddfad._training import functional_network
from sklearn_ddfad.datasets._files import whole_or_nothing

LEARNING_RATE = 0.05  # plain SGD with a constant step makes experts that a student can imitate


def train_experts(
    X,
    y,
    *,
    network,
    n_classes,
    seeds,
    n_epochs,
    batch_size,
    augmentation,
    device,
    folder,
    n_jobs,
    verbose,
):
    """Train one expert for each seed, in parallel where asked for.

    Parameters
    ----------
    X : ndarray of float32, shape (n_clips, ...)
        Real clips.
    y : ndarray of int64, shape (n_clips,)
        Their class indices.
    network, n_classes
        What ``make_network`` takes.
    seeds : list of int
        One for each expert.
    n_epochs, batch_size : int
        Epochs trained and recorded; clips in a step.
    augmentation : Augmentation
        Drawn anew for each batch.
    device : str
        Where to train.
    folder : Path or None
        Where each expert is written down as soon as it is trained, and found again.
    n_jobs : int or None
        Processes.
    verbose : int
        Whether progress is shown.

    Returns
    -------
    trajectories : ndarray of float32, shape (n_experts, n_epochs + 1, n_parameters)
        Flat parameters at the start and after each epoch.
    """
    train = delayed(train_expert if folder is None else partial(_train_or_find, folder))
    tasks = (
        train(X, y, network, n_classes, seed, n_epochs, batch_size, augmentation, device)
        for seed in seeds
    )
    trained = Parallel(n_jobs=n_jobs, return_as="generator")(tasks)
    return np.stack(list(tqdm(trained, "experts", len(seeds), disable=not verbose)))


def _train_or_find(folder, X, y, network, n_classes, seed, *rest):
    """Return an expert from its file in `folder`, which is one fit's own, or train and write it."""
    path = folder / f"expert_{seed}.npy"
    if not path.is_file():
        with whole_or_nothing(path) as draft, draft.open("wb") as file:
            np.save(file, train_expert(X, y, network, n_classes, seed, *rest))
    return np.load(path)


def train_expert(X, y, network, n_classes, seed, n_epochs, batch_size, augmentation, device):
    """Train one expert; return its parameters at the start and after each epoch."""
    X, y = torch.tensor(X, device=device), torch.tensor(y, device=device)
    generator = torch.Generator().manual_seed(seed)
    function = functional_network(network, X.shape[1:], n_classes, seed=seed, device=device)
    theta = function.initial_parameters()
    trajectory = [theta.cpu().numpy()]
    for _ in range(n_epochs):
        for indices in torch.randperm(len(X), generator=generator).split(batch_size):
            indices = indices.to(device)
            batch = augmentation(X[indices], augmentation.draw(X[indices].shape, generator))
            gradient = function.loss_gradient(theta.requires_grad_(), batch, y[indices])
            theta = theta.detach() - LEARNING_RATE * gradient
        trajectory.append(theta.cpu().numpy())
    return np.stack(trajectory)
