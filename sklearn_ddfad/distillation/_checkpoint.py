"""What a fit writes down on its way, so that one that was killed can go on (law 8)."""

import pickle
import sys
from inspect import unwrap
from pathlib import Path
from sysconfig import get_paths
from time import monotonic
from types import CodeType, FunctionType

import numpy as np
import torch
from joblib.hashing import NumpyHasher

from sklearn_ddfad.datasets._files import whole_or_nothing

# What may change between a fit and its continuation: it does not change the result.
FREE = {"callbacks", "checkpoint", "device", "estimator", "memory", "memory_budget"}
FREE |= {"n_jobs", "verbose"}
_INSTALLED = tuple(get_paths()[each] for each in ("stdlib", "purelib", "platlib"))


def fingerprint(content, option, what):
    """Return a hash of `what` an option such as ``memory=`` is to know again."""
    try:
        return _Hasher().hash(content)
    except pickle.PicklingError as error:
        msg = (
            f"{option}= needs {what} that can be pickled: {error.args[0]}; define it at the top of "
            f"a module, or leave {option} at None."
        )
        raise ValueError(msg) from error


class _Hasher(NumpyHasher):
    """That of joblib, which knows functions and classes of the user by what they do, too.

    By its name alone a network that was edited would be taken for what it was before.
    """

    def save(self, obj):
        super().save(obj)
        if isinstance(obj, type | FunctionType) and not _is_installed(obj):
            super().save([*_codes(obj)])


def _is_installed(obj):
    """Tell what comes with a package, which is known by its version, from what a user wrote."""
    name = obj.__module__ or "builtins"
    file = getattr(sys.modules.get(name), "__file__", None)
    if name.partition(".")[0] in {__package__.partition(".")[0], *sys.builtin_module_names}:
        return True
    return file is not None and file.startswith(_INSTALLED)


def _codes(obj):
    """Yield what a function does, or each function and plain value of a class."""
    if isinstance(obj, FunctionType):
        yield from (_plain_code(obj.__code__), obj.__defaults__, obj.__kwdefaults__)
        return
    for kind in obj.__mro__:
        for name, value in [] if _is_installed(kind) else sorted(vars(kind).items()):
            value = getattr(value, "fget", getattr(value, "__func__", value))  # of properties, ...
            value = unwrap(value) if callable(value) else value
            if isinstance(value, FunctionType):
                yield name, *_codes(value)
            elif isinstance(value, int | float | str | None) and name != "__doc__":
                yield name, value


def _plain_code(code):
    """Return the code of a function in what can be hashed, that of functions within it, too."""
    constants = [
        _plain_code(value)
        if isinstance(value, CodeType)
        else sorted(map(repr, value))  # whose order is another in each process
        if isinstance(value, frozenset)
        else repr(value)
        for value in code.co_consts
    ]
    return code.co_code, code.co_names, constants


class Checkpoint:
    """A folder that belongs to one fit: its seed, its experts, and where the descent has come to.

    Parameters
    ----------
    folder : str, Path or None
        ``None`` keeps nothing.
    parameters : dict
        Parameters of the distiller.
    X : Rows
        The clips it is fitted on.
    codes : ndarray
        Their class indices. With other parameters, clips or classes the folder is refused.
    """

    EVERY = 5.0  # seconds between two states of the descent

    def __init__(self, folder, parameters, X, codes):
        self.folder = None if folder is None else Path(folder)
        self._last = -self.EVERY
        if self.folder is None:
            return
        kept = {
            name: value
            for name, value in parameters.items()
            if name not in FREE and not isinstance(value, np.random.RandomState)
        }  # what one of these draws is known by the seed
        content = kept, X.fingerprint(), codes
        self._fingerprint = fingerprint(content, "checkpoint", "parameters")
        self._known = self._read("fit.pt")
        if self._known is not None and self._known["fingerprint"] != self._fingerprint:
            msg = (
                f"checkpoint={str(folder)!r} belongs to a fit with other parameters or data; give "
                "another folder, or remove this one to start anew."
            )
            raise ValueError(msg)

    def seed(self, fresh):
        """Return the seed that the fit was begun with; `fresh`, if it begins now."""
        if self.folder is None:
            return fresh
        if self._known is None:
            self._known = {"fingerprint": self._fingerprint, "seed": fresh}
        return self._known["seed"]

    def begin(self):
        """Return the folder, which from now on belongs to this fit: called after all refusals."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._write("fit.pt", self._known)
        return self.folder

    def load(self):
        """Return the last state of the descent, or None."""
        return None if self.folder is None else self._read("descent.pt")

    def save(self, state, *, now=False):
        """Write down a state, made by calling `state`, if it is time again, or `now`."""
        if self.folder is None or (monotonic() - self._last < self.EVERY and not now):
            return
        self._write("descent.pt", state())
        self._last = monotonic()

    def _read(self, name):
        path = self.folder / name
        if not path.is_file():
            return None
        try:
            # As data only, of which nothing is executed, whatever device it was on.
            return torch.load(path, "cpu", weights_only=True)
        except Exception as error:  # whatever torch says of a file that is damaged
            msg = f"{path} is damaged; remove {self.folder} to start anew: {error}"
            raise ValueError(msg) from error

    def _write(self, name, content):
        with whole_or_nothing(self.folder / name) as draft:
            torch.save(content, draft)
