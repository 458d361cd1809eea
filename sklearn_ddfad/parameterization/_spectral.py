"""Spectra times kernels: clips that are smooth, or alike, are kept in fewer numbers."""

from dataclasses import dataclass, replace
from math import log, prod, sqrt
from numbers import Integral

import numpy as np
import torch
from scipy.fft import dct

from sklearn_ddfad.parameterization._base import (
    Decoder,
    Direct,
    Parameterization,
    budget,
    decoder_from_record,
    record_of,
)
from sklearn_ddfad.parameterization._static import Static

_TRIED = 6  # numbers of clips a class at first, from `cpc` to all there are; then between them
_LOOKED_AT, _NUMBERS_LOOKED_AT = 1000, 2**24  # clips from which it is told what is lost
_ITERATIONS = 50  # of the fit of kernels that begin at random
_TINY = 1e-30  # keeps 0 / 0 away where all clips are silent


def _cosines(length):
    """Return the orthonormal DCT-II, low frequencies first."""
    return dct(np.eye(length), axis=0, norm="ortho")


def _wavelets(length):
    """Return the Haar wavelets, orthonormal rows, coarse ones first.

    The first row is constant. The first 2, 4, ... span all that is constant over blocks, of which
    the last may be shorter.
    """
    rows, block = [np.ones((1, length))], 2 ** (length - 1).bit_length()
    while block > 1:
        block //= 2
        blocks = np.arange(length) // block
        rows.append(blocks == np.arange(1, blocks[-1] + 1, 2)[:, None])
    q, r = np.linalg.qr(np.concatenate(rows).T.astype(float))
    return (q * np.sign(np.diag(r))).T


def _singular(unfolded):
    """Return the left singular vectors, rows, those of the largest values first."""
    n_rows, n_columns = unfolded.shape
    if n_rows <= n_columns:
        return np.linalg.eigh(unfolded @ unfolded.T)[1].T[::-1].copy()
    return np.linalg.svd(unfolded, full_matrices=False)[0].T


_KNOWN = {"dct": _cosines, "ldct": _cosines, "dwt": _wavelets}
_LEARNED = ("learned", "ldct", "lsvd")
_KINDS = ("learned", "dct", "ldct", "svd", "lsvd", "dwt")


class Spectral(Parameterization):
    """Spectra and the kernels that bring them to full size: many clips that share what is alike.

    Neural spectral decomposition (NSD) [1]_. All clips together are a tensor, ``u_1`` clips times
    the dimensions ``u_2, u_3, ...`` of one. A smaller tensor of ``t_1`` by ``t_2`` by ... numbers,
    a *spectrum*, and for each dimension a *kernel*, a matrix of ``t_n`` by ``u_n`` numbers, are
    kept in its place; the clips are the product of them (Eq. 1 and 2). Every one of `n_spectra`
    spectra is combined with every one of `n_kernels` sets of kernels. A dimension that is kept
    whole has no kernel. Which class a clip is of is known by its place.

    Parameters
    ----------
    kernels : {"learned", "dct", "ldct", "svd", "lsvd", "dwt"}, default="lsvd"
        Where the kernels are from, and whether they are learned along with the spectra.

        ``"dct"``, ``"dwt"``
            The low frequencies of an orthonormal DCT-II; the coarse ones of Haar's wavelets. They
            are known and not stored. Clips have no order, so that their dimension is kept whole.
        ``"svd"``
            Singular vectors of what the descent begins with, along each dimension. They are
            stored, and count.
        ``"ldct"``, ``"lsvd"``
            The same to begin with, and learned.
        ``"learned"``
            Learned, from a random beginning that is first fitted to the same clips.
    of : Direct, Static or None, default=None
        What is decomposed: features (``None``), or their cepstra alone, of which differences
        follow.
    clips_per_class : int or None, default=None
        Decoded clips of each class, a multiple of ``n_spectra * n_kernels``. ``None`` is the
        number whose logarithm, times the share of the energy of real clips that is kept, is
        largest; no more than there are real ones on the mean.
    sizes : tuple of int or None, default=None
        ``t_2, t_3, ...``: how much is kept of each dimension of a clip. ``None`` is what
        keeps most energy of real clips within the budget. ``t_1`` always follows from the budget.
    n_spectra, n_kernels : int, default=1
        Spectra, and sets of kernels; several of these for ``"learned"``, ``"svd"`` and ``"lsvd"``.

    References
    ----------
    .. [1] S. Yang, S. Cheng, M. Hong, H. Fan, X. Wei and S. Liu, "Neural spectral decomposition for
       dataset distillation", ECCV, 2024.

    Examples
    --------
    >>> from sklearn_ddfad import FDMFCC, DistributionDistiller, Spectral, Static
    >>> from sklearn_ddfad.datasets import make_audio_classification
    >>> clips, labels = make_audio_classification(40, n_classes=2, random_state=0)
    >>> X = FDMFCC(duration=0.5).fit_transform(clips)
    >>> cosines = Spectral("dct", of=Static(), sizes=(16, 12))  # of 16 coefficients, 41 frames
    >>> distiller = DistributionDistiller(1, parameterization=cosines, max_iter=2, random_state=0)
    >>> distiller.fit(X, labels).transform().shape  # ten a class
    torch.Size([20, 3, 16, 41])
    >>> distiller.distilled_.n_stored, 2 * 3 * 16 * 41  # the numbers of one a class
    (3840, 3936)
    """

    def __init__(
        self,
        kernels="lsvd",
        *,
        of=None,
        clips_per_class=None,
        sizes=None,
        n_spectra=1,
        n_kernels=1,
    ):
        self.kernels = kernels
        self.of = of
        self.clips_per_class = clips_per_class
        self.sizes = sizes
        self.n_spectra = n_spectra
        self.n_kernels = n_kernels

    def plan(self, X, codes, cpc):
        """Return a decoder of spectra and kernels, of the sizes that serve real clips best."""
        self._check()
        inner = (self.of or Direct()).plan(X, codes, cpc)
        n_classes = int(codes.max()) + 1
        n_looked_at = max(min(len(X), _LOOKED_AT, _NUMBERS_LOOKED_AT // prod(X.shape[1:])), 1)
        some = np.linspace(0, len(X) - 1, n_looked_at).astype(int)
        ((kept, seen),) = inner.encode(X[some], codes[some]).items()
        room = _Room(self, seen, n_classes, budget(X, codes, cpc))
        clips_per_class, sizes = room.choice(cpc, len(X) // n_classes)
        return SpectralDecoder(
            kernels=self.kernels,
            clips_per_class=clips_per_class,
            n_classes=n_classes,
            sizes=sizes,
            shape=seen.shape[1:],
            n_spectra=self.n_spectra,
            n_kernels=self.n_kernels,
            kept=kept,
            inner=replace(inner, clips_per_class=clips_per_class),
        )

    def _check(self):
        if not isinstance(self.kernels, str) or self.kernels not in _KINDS:
            msg = f"kernels={self.kernels!r} are unknown; use one of {list(_KINDS)}."
            raise ValueError(msg)
        if not isinstance(self.of, Direct | Static | None):
            msg = f"of={self.of!r} cannot be decomposed; use Direct(), Static() or None."
            raise TypeError(msg)
        counts = {name: getattr(self, name) for name in ("n_spectra", "n_kernels")}
        if self.clips_per_class is not None:
            counts["clips_per_class"] = self.clips_per_class
        for name, value in counts.items():
            if not isinstance(value, Integral) or value < 1:
                msg = f"{name}={value!r} is not a positive integer."
                raise ValueError(msg)
        if self.n_kernels > 1 and self.kernels in _KNOWN:
            msg = (
                f"n_kernels={self.n_kernels} sets of kernels={self.kernels!r} would be the same; "
                "use one, or 'learned', 'svd' or 'lsvd'."
            )
            raise ValueError(msg)
        pairs = self.n_spectra * self.n_kernels
        if (self.clips_per_class or pairs) % pairs:
            msg = (
                f"clips_per_class={self.clips_per_class} cannot be shared out among n_spectra="
                f"{self.n_spectra} times n_kernels={self.n_kernels}; use a multiple of {pairs}."
            )
            raise ValueError(msg)


@dataclass
class _Room:
    """What sizes there may be within a budget, and what each keeps of real clips."""

    spectral: Spectral
    seen: np.ndarray  # real clips, as they are to be decomposed
    n_classes: int
    n_numbers: int

    def __post_init__(self):
        lengths = self.seen.shape[1:]
        sizes = self.spectral.sizes
        if sizes is None:
            sizes = [range(1, length + 1) for length in lengths]
        else:
            _check_sizes(sizes, lengths)
            sizes = [[size] for size in sizes]
        axes = [axis.ravel() for axis in np.meshgrid(*sizes, indexing="ij")]
        self._sizes = np.array(axes)  # each column t_2, t_3, ...
        self._lengths = np.array(lengths)[:, None]
        self._turned = self.seen.astype(np.float64)
        for axis in range(1, self.seen.ndim):
            self._turned = _turned(self._turned, axis, self.spectral.kernels)

    def choice(self, cpc, n_real):
        """Return clips a class, those asked for or as many as are worth most, and all sizes.

        A network gets better about with the logarithm of the clips that it learns from.
        """
        spectral = self.spectral
        given, pairs = spectral.clips_per_class, spectral.n_spectra * spectral.n_kernels
        low = (given or cpc) // pairs or 1
        high = low if given else max(n_real // pairs, low)
        tried: dict[int, tuple] = {}
        while True:
            places = [int(n) for n in np.unique(np.geomspace(low, high, _TRIED).round())]
            tried |= {n: self._best(n) for n in places if n not in tried}
            worth = [tried[n][0] * log(n * pairs) for n in places]
            best = int(np.argmax(worth))
            neighbours = places[max(best - 1, 0)], places[min(best + 1, len(places) - 1)]
            if neighbours == (low, high):
                break
            low, high = neighbours
        n_clips, (kept, sizes) = pairs * places[best], tried[places[best]]
        if kept < 0:
            msg = (
                f"{n_clips} clips a class cannot be kept in {self.n_numbers} numbers, those of "
                f"cpc={cpc}, by {self.spectral}, so that no number is idle; ask for smaller sizes, "
                "or another number of clips."
            )
            raise ValueError(msg)
        return n_clips, sizes

    def _best(self, n_places):
        """Return the share kept, or -1, and the sizes of the best spectra of so many clips."""
        n_spectra, n_kernels = self.spectral.n_spectra, self.spectral.n_kernels
        n_clips = n_places * self.n_classes  # u_1
        of_slice = n_spectra * self._sizes.prod(axis=0)
        is_whole, left = self._sizes == self._lengths, self.n_numbers
        if _is_stored(self.spectral.kernels):
            in_kernels = np.where(is_whole, 0, self._sizes * self._lengths)
            left = left - n_kernels * in_kernels.sum(axis=0)
        t_1 = np.where((n_clips * of_slice <= left) & (n_kernels == 1), n_clips, 0)
        if self.spectral.kernels not in _KNOWN:
            most = np.minimum(n_kernels * n_clips, of_slice)
            fit = np.minimum(left // (of_slice + n_kernels * n_clips), most)
            t_1 = np.where(t_1 > 0, t_1, fit)
            fills = self._sizes**2 <= t_1 * of_slice  # else some of its numbers would be idle
            t_1 = np.where((fills | is_whole).all(axis=0), t_1, 0)
        kept = self._kept(n_kernels * n_clips)
        rows = np.ceil(t_1 / (n_kernels * n_clips) * len(kept)).astype(int)
        corners = [
            np.minimum(t, n) - 1 for t, n in zip([rows, *self._sizes], kept.shape, strict=True)
        ]
        kept = np.where(t_1 > 0, kept[tuple(corners)], -1)
        best = int(kept.argmax())
        return kept[best], (int(t_1[best]), *map(int, self._sizes[:, best]))

    def _kept(self, n_clips):
        """Return the share of the energy in each first part of all dimensions, that of clips too.

        Where these are kept whole, there is one row for all.
        """
        X = self._turned
        if self.spectral.kernels in _KNOWN:
            squares = np.square(X).sum(axis=0, keepdims=True)
        else:
            n_spectra = self.spectral.n_spectra
            n_clips = max(min(n_clips, len(X) // n_spectra), 1)
            some = np.linspace(0, len(X) - 1, n_spectra * n_clips).astype(int)
            stacked = X[some].reshape(n_clips, n_spectra, *X.shape[1:])
            squares = np.square(_turned(stacked, 0, self.spectral.kernels)).sum(axis=1)
        for axis in range(squares.ndim):
            squares = squares.cumsum(axis=axis)
        return squares / max(squares.max(), _TINY)


def _turned(X, axis, kernels):
    """Return an array in the coordinates whose first ones a dimension would be brought to."""
    unfolded = np.moveaxis(X, axis, 0).reshape(X.shape[axis], -1)
    rows = _KNOWN[kernels](len(unfolded)) if kernels in _KNOWN else _singular(unfolded)
    return np.moveaxis(np.tensordot(rows, X, (1, axis)), 0, axis)


def _check_sizes(sizes, lengths):
    if np.ndim(sizes) != 1 or len(sizes) != len(lengths):
        msg = f"sizes={sizes} must be {len(lengths)} numbers, one for each of {lengths}."
        raise ValueError(msg)
    for size, length in zip(sizes, lengths, strict=True):
        if not isinstance(size, Integral) or int(size) not in range(1, length + 1):
            msg = f"sizes={sizes} must be integers from 1 to {lengths}, got {size}."
            raise ValueError(msg)


def _is_stored(kernels):
    return kernels not in _KNOWN or kernels in _LEARNED


@dataclass
class SpectralDecoder(Decoder):
    """Spectra and kernels, multiplied; what they make is decoded by the decoder inside."""

    kernels: str
    clips_per_class: int
    n_classes: int
    sizes: tuple[int, ...]  # t_1, t_2, ...
    shape: tuple[int, ...]  # u_2, ...
    n_spectra: int
    n_kernels: int
    kept: str  # what the decoder inside calls its numbers
    inner: Decoder

    def __post_init__(self):
        n_clips = self.clips_per_class * self.n_classes // (self.n_spectra * self.n_kernels)
        self._lengths = (n_clips, *self.shape)
        pairs = list(zip(self.sizes, self._lengths, strict=True))
        axes = [axis for axis, (t, u) in enumerate(pairs) if t != u]
        if self.n_kernels > 1 and 0 not in axes:  # each set has clips of its own
            axes.append(0)
        # The cheapest order: of two, first the one that makes less of more.
        self._axes = sorted(axes, key=lambda axis: 1 / pairs[axis][0] - 1 / pairs[axis][1])
        self._is_stored = _is_stored(self.kernels)
        self._known = {}
        if not self._is_stored:
            self._known = {axis: self._first_rows(axis)[None] for axis in self._axes}

    @property
    def rates(self):  # type: ignore[override]  # of what differs from one decoder to the next
        """Step sizes in units of those that change clips by one deviation."""
        n_clips, *shape = self._lengths
        lengths = [self.n_kernels * n_clips, *shape]
        rates = {"spectra": sqrt(prod(lengths) / prod(self.sizes))}
        learned = self.kernels in _LEARNED
        return rates | {_name(n): learned / sqrt(lengths[n]) for n in self._axes}

    def encode(self, clips, codes):
        """Return spectra, and the kernels that are stored, by least squares."""
        target = torch.from_numpy(self.inner.encode(clips, codes)[self.kept]).double()
        spectra = self._grouped(target)
        kernels = {}
        for axis in range(len(self.sizes)):
            if axis in self._axes:
                kernels[axis] = self._first_kernel(spectra, axis)
                spectra = _times(spectra, kernels[axis].mT, axis)
        numbers = {"spectra": spectra[:, 0]}
        if self._is_stored:
            numbers |= {_name(axis): self._shared(k, axis) for axis, k in kernels.items()}
        if self.kernels == "learned":
            numbers = self._fitted(numbers, target)
        return {name: value.float().contiguous().numpy() for name, value in numbers.items()}

    def decode(self, numbers):
        """Return the clips, class by class."""
        return self.inner.decode({self.kept: self._product(numbers)})

    def apart(self, numbers):
        """Return what the decoder inside makes clips of."""
        with torch.no_grad():
            product = self._product({name: torch.from_numpy(a) for name, a in numbers.items()})
        return {self.kept: product.numpy()}, self.inner

    def record(self):
        """Return sizes and counts, and what the decoder inside needs."""
        inner, arrays = record_of(self.inner)
        names = ("kernels", "clips_per_class", "n_classes", "n_spectra", "n_kernels", "kept")
        record = {name: getattr(self, name) for name in names}
        record |= {"sizes": list(self.sizes), "shape": list(self.shape), "inner": inner}
        return record, arrays

    @classmethod
    def from_record(cls, record, arrays):
        """Return the decoder that :meth:`record` described."""
        inner = decoder_from_record(record["inner"], arrays)
        return cls(**{**record, "inner": inner})

    def _product(self, numbers):
        """Return the spectra times their kernels, all pairs, class by class."""
        product = numbers["spectra"][:, None]
        for axis in self._axes:
            if self._is_stored:
                kernel = numbers[_name(axis)]
            else:
                kernel = product.new_tensor(self._known[axis])
            product = _times(product, kernel, axis)
        places = product.reshape(self.n_spectra, self.n_kernels, self.n_classes, -1, *self.shape)
        return places.movedim(2, 0).reshape(-1, *self.shape)

    def _grouped(self, clips):
        """Return clips as they stand in the product, the sets of kernels one below the other."""
        pairs = (self.n_spectra, self.n_kernels)
        places = clips.reshape(self.n_classes, *pairs, -1, *self.shape).movedim(0, 2)
        return places.reshape(self.n_spectra, 1, -1, *self.shape)

    def _first_kernel(self, X, axis):
        """Return orthonormal rows, shape ``(1, t, u)``, that a kernel begins with."""
        size, length = self.sizes[axis], X.shape[2 + axis]
        if self.kernels in _KNOWN:
            rows = self._first_rows(axis)
        elif self.kernels == "learned":
            rows = np.linalg.qr(np.random.default_rng(axis).normal(size=(length, size)))[0].T
        else:
            rows = _singular(X.movedim(2 + axis, 0).reshape(length, -1).numpy())[:size]
        return torch.from_numpy(rows)[None]

    def _first_rows(self, axis):
        return _KNOWN[self.kernels](self._lengths[axis])[: self.sizes[axis]]

    def _shared(self, kernel, axis):
        """Return one kernel for each set: its part of that of the clips, or the same one."""
        if axis == 0:
            return kernel[0].unflatten(1, (self.n_kernels, -1)).movedim(1, 0)
        return kernel.expand(self.n_kernels, -1, -1)

    def _fitted(self, numbers, target):
        """Return spectra and kernels from which the clips follow better, by L-BFGS."""
        fitted = {name: value.contiguous().requires_grad_() for name, value in numbers.items()}
        optimizer = torch.optim.LBFGS(
            list(fitted.values()), max_iter=_ITERATIONS, line_search_fn="strong_wolfe"
        )

        def missed():
            optimizer.zero_grad()
            loss = (self._product(fitted) - target).square().mean()
            loss.backward()
            return loss

        optimizer.step(missed)
        return {name: value.detach() for name, value in fitted.items()}


def _name(axis):
    return f"kernel_{axis + 1}"


def _times(X, kernels, axis):
    """Return the product along one dimension of ``X[i, j]`` with ``kernels[j]``, for all i, j."""
    before, after = X.shape[2 : 2 + axis], X.shape[3 + axis :]
    X = X.reshape(*X.shape[:2], prod(before), -1, prod(after))
    product = torch.einsum("ijatb,jtu->ijaub", X, kernels)
    return product.reshape(*product.shape[:2], *before, -1, *after)
