"""One fit in several processes, on several GPUs or machines: all that knows torch.distributed."""

import atexit
import os
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import parent_process
from tempfile import TemporaryFile

import joblib
import numpy as np
import torch
import torch.distributed as dist

_PATIENCE = timedelta(days=1)  # with a rank that trains one expert more than another


@dataclass(frozen=True)
class Ranks:
    """The processes that share a fit, of which this one is number `rank`.

    All of them hold the same set and draw the same seeds, and do the same with what they are told
    here; they differ in which experts they train and which students they match. Whatever is
    exchanged passes through `device`.
    """

    rank: int = 0
    size: int = 1
    device: torch.device | str = "cpu"

    @property
    def is_first(self):
        """Whether this is the rank that speaks for all: shows progress, writes the state."""
        return self.rank == 0

    def own(self, tasks):
        """Return those of a list of tasks that are this rank's."""
        return tasks[self.rank :: self.size]

    def add_up(self, tensors):
        """Replace each tensor by its sum over all ranks: the same bits on each of them."""
        if self.size > 1:
            for tensor in tensors:
                dist.all_reduce(tensor)

    def any(self, said):
        """Tell whether one of the ranks says so."""
        count = torch.tensor(float(said), device=self.device)
        self.add_up([count])
        return count.item() > 0

    def from_first(self, value):
        """Return what the first rank has for `value`: anything that can be pickled."""
        return self._from(0, value)

    def _from(self, source, value):
        if self.size == 1:
            return value
        box = [value if self.rank == source else None]
        dist.broadcast_object_list(box, source, device=torch.device(self.device))
        return box[0]

    def check_same(self, given):
        """Raise on all ranks if one was given anything else than the first."""
        mine = joblib.hash(given)
        if self.any(mine != self.from_first(mine)):
            msg = (
                "the processes of this fit were given different parameters, labels or numbers of "
                "clips; fit the same distiller on the same data in each of them."
            )
            raise ValueError(msg)

    def share_out(self, learn, tasks):
        """Return ``learn(tasks)``, of which each rank learns its own part and is told the rest.

        Parameters
        ----------
        learn : callable
            Takes a list of tasks, returns a sequence of as many float32 arrays with two axes.
        tasks : list
            The same on all ranks.

        Returns
        -------
        learned : sequence of ndarray
            In the order of `tasks`.
        """
        if self.size == 1:
            return learn(tasks)
        own = self.own(tasks)
        mine = iter(learn(own) if own else [])
        sources = [i % self.size for i in range(len(tasks))]
        return [self._array_from(i, next(mine) if i == self.rank else None) for i in sources]

    def _array_from(self, source, array):
        """Return the array of rank `source`, sent row by row, and held as it is held there."""
        mine = self.rank == source
        kind = (array.shape, isinstance(array, np.memmap)) if mine else None
        kind = self._from(source, kind)
        if not mine:
            array = _room(*kind)
        for row in array:
            tensor = torch.tensor(row, device=self.device)
            dist.broadcast(tensor, source)
            if not mine:
                row[:] = tensor.cpu().numpy()
        return array


def _room(shape, is_mapped):
    if not is_mapped:
        return np.empty(shape, np.float32)
    with TemporaryFile() as file:  # it has no name, and goes when the array does
        return np.memmap(file, np.float32, "w+", shape=shape)


ALONE = Ranks()


def join(device):
    """Return the ranks of this fit, which computes on `device`.

    They are those of the default process group, if there is one. Under ``torchrun`` it is made
    here when there is none yet, and taken down at exit. Worker processes stay alone.

    Raises
    ------
    RuntimeError
        If ``torchrun`` has started this process again in a way that may leave it waiting forever.
    """
    if not dist.is_available():
        return ALONE
    if not dist.is_initialized():
        if not dist.is_torchelastic_launched() or parent_process() is not None:
            return ALONE
        _check_store()
        with_gpus = torch.cuda.is_available() and dist.is_nccl_available()
        backend = "cpu:gloo,cuda:nccl" if with_gpus else "gloo"
        dist.init_process_group(backend, timeout=_PATIENCE)
        atexit.register(_leave)
    return Ranks(dist.get_rank(), dist.get_world_size(), device)


def _check_store():
    """Refuse the store of an earlier attempt: the addresses in it are of processes that are gone.

    See https://github.com/pytorch/pytorch/issues/135712.
    """
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"
    if again and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        msg = (
            "torchrun started this process again, but its processes may not find each other: call "
            "torchrun anew, or with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in its environment."
        )
        raise RuntimeError(msg)


def _leave():
    if dist.is_initialized():
        dist.destroy_process_group()
