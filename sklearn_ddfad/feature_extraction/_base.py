"""What all extractors share: geometry, batches, standardisation, layout, and where features go."""

from math import prod
from numbers import Integral, Real
from os import PathLike
from pathlib import Path
from shutil import disk_usage

import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs
from numpy.lib.format import open_memmap
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_feature_names_in, check_is_fitted

from sklearn_ddfad._validation import (
    Interval,
    StrOptions,
    below,
    check_clips,
    fit_context,
    resolve_device,
)
from sklearn_ddfad.datasets._files import MAX_AMPLITUDE, whole_or_nothing
from sklearn_ddfad.feature_extraction._functions import (
    a_few_at_a_time,
    along_frequency,
    emphasize,
    power,
    stft,
)

DEFAULT_SAMPLE_RATE = 8000  # of arrays, which carry no rate: that of FSDD


class BaseExtractor(TransformerMixin, BaseEstimator):
    """What all extractors share: geometry, batches, standardisation and layout.

    A new one fills two blanks: ``bank``, the matrix that power spectra are heard through, and
    ``_planes``, from waveforms to feature planes. One that can be inverted fills a third:
    ``magnitude``, from features back to the spectrogram they stand for.
    """

    _parameter_constraints: dict = {
        "sample_rate": [Interval(Integral, 1, None, closed="left"), None],
        "duration": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "frame_length": [Interval(Real, 0, None, closed="neither")],
        "hop_length": [Interval(Real, 0, None, closed="neither")],
        "pre_emphasis": [Interval(Real, 0, 1, closed="left")],
        "top_db": [Interval(Real, 0, None, closed="neither"), None],
        "standardize": ["boolean"],
        "layout": [StrOptions({"planes", "coefficients", "flat"})],
        "mono": ["boolean"],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str],
        "n_jobs": [Integral, None],
    }

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn clip length, sample rate and, per coefficient, mean and standard deviation.

        Parameters
        ----------
        X : list of 1-D arrays, 2-D array, pandas Series or list of paths
            The recordings; see the class.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted extractor.
        """
        clips = self._listen(X, reset=True)
        self._learn_geometry(clips)
        self._learn_scale(clips)
        return self

    @fit_context(prefer_skip_nested_validation=True)
    def fit_transform(self, X, y=None, out=None):
        """Fit and transform in one pass over the recordings.

        Parameters
        ----------
        X, y
            As in :meth:`fit`.
        out : array-like, path or None, default=None
            As in :meth:`transform`; an array is read again, too, to be standardised.

        Returns
        -------
        features : ndarray of float32
            As from :meth:`transform`.
        """
        clips = self._listen(X, reset=True)
        self._learn_geometry(clips)

        def fill(features):
            self._learn_scale(clips, keep=features)
            for rows in self._batches(clips):
                features[rows] = self._lay_out(self.standardized(self._as_planes(features[rows])))

        return written(out, (len(clips), *self.feature_shape_), fill)

    def transform(self, X, out=None):
        """Return the standardised features of recordings.

        Parameters
        ----------
        X : list of 1-D arrays, 2-D array, pandas Series or list of paths
            The recordings, cut or padded with silence to the learned length.
        out : array-like, path or None, default=None
            Where to write the features, a batch at a time, so that they need not fit in memory:
            anything of their shape and of float32 that takes slices, or the path of an .npy file,
            which is written whole or not at all (a file already there is replaced). An array is
            left half filled when a recording turns out to be damaged.

        Returns
        -------
        features : ndarray of float32
            Shape ``(n_clips, *feature_shape_)``: `out`, or the file as a ``numpy.memmap``.

        Raises
        ------
        ValueError, TypeError, FileNotFoundError, OSError
            Before any recording is heard, if `out` cannot take the features.
        """
        check_is_fitted(self)
        clips = self._listen(X, reset=False)

        def fill(features):
            for rows, planes in self._heard(clips, self.standardized):
                features[rows] = self._lay_out(planes)

        return written(out, (len(clips), *self.feature_shape_), fill)

    @available_if(lambda self: hasattr(self, "magnitude"))
    def inverse_transform(self, X):
        """Return waveforms that sound like features, by Griffin-Lim (Algorithm 2).

        Parameters
        ----------
        X : array or tensor of shape (n_clips, ...)
            Standardised features.

        Returns
        -------
        waveforms : ndarray of float32, shape (n_clips, n_samples)
            What ``GriffinLimInverter(self).transform(X)`` returns.
        """
        from sklearn_ddfad.reconstruction import GriffinLimInverter

        return GriffinLimInverter(self).transform(X)

    def extract(self, waveforms):
        """Return standardised feature planes of waveforms, differentiably.

        Parameters
        ----------
        waveforms : torch.Tensor of shape (n_clips, n_samples)
            Clips, on any device.

        Returns
        -------
        planes : torch.Tensor of shape (n_clips, n_planes, n_coefficients, n_frames)
        """
        check_is_fitted(self)
        return self.standardized(self._planes(waveforms))

    def standardized(self, planes):
        """Return a tensor of planes with mean 0 and standard deviation 1 per coefficient."""
        return (planes - planes.new_tensor(self.mean_)) / planes.new_tensor(self.scale_)

    def raw_planes(self, X):
        """Return features of any layout as planes without standardisation, as a tensor."""
        planes = self._as_planes(X)
        return planes * planes.new_tensor(self.scale_) + planes.new_tensor(self.mean_)

    def _as_planes(self, X):
        planes = X.float() if torch.is_tensor(X) else torch.tensor(np.asarray(X, np.float32))
        if planes.shape[1:] not in (self.feature_shape_, self.planes_shape_):
            msg = (
                f"clips of shape {tuple(planes.shape[1:])} are no features of this extractor, "
                f"which are of shape {self.feature_shape_}."
            )
            raise ValueError(msg)
        return planes.reshape(-1, *self.planes_shape_)

    def _lay_out(self, planes):
        return planes.cpu().numpy().reshape(len(planes), *self.feature_shape_)

    @property
    def feature_shape_(self):
        """Shape of one clip's features in the chosen layout."""
        n_planes, n_coefficients, n_frames = self.planes_shape_
        return {
            "planes": (n_planes, n_coefficients, n_frames),
            "coefficients": (1, n_planes * n_coefficients, n_frames),
            "flat": (n_planes * n_coefficients * n_frames,),
        }[self.layout]

    @available_if(lambda self: self.layout == "flat")
    def get_feature_names_out(self, input_features=None):
        """Return names ``plane_coefficient_frame`` of the columns (``layout="flat"`` only)."""
        check_is_fitted(self)
        _check_feature_names_in(self, input_features, generate_names=False)
        names = ["_".join(map(str, index)) for index in np.ndindex(self.planes_shape_)]
        return np.array(names, dtype=object)

    def __sklearn_is_fitted__(self):
        return hasattr(self, "scale_")  # what is learned last

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    # -- geometry, written once ----------------------------------------------------------

    def _learn_geometry(self, clips):
        """Learn sample rate and clip length; what was learned before is gone from here on."""
        self.__dict__.pop("scale_", None)
        self.sample_rate_ = self.sample_rate or clips.sample_rate or DEFAULT_SAMPLE_RATE
        self._check_rate(clips)
        if self.duration == "auto":
            n_samples = int(np.ceil(np.quantile(clips.lengths, 0.95)))
        else:
            n_samples = max(1, round(self.duration * self.sample_rate_))
        self._set_geometry(self.sample_rate_, n_samples)

    def _set_geometry(self, sample_rate, n_samples):
        """Derive everything else that is counted in samples."""
        self.sample_rate_, self.n_samples_ = sample_rate, n_samples
        self.frame_length_ = max(1, round(self.frame_length * sample_rate))
        self.hop_length_ = max(1, round(self.hop_length * sample_rate))
        self.n_fft_ = 2 ** max(1, int(np.ceil(np.log2(self._n_fft_samples()))))
        self._check_geometry()
        self.planes_shape_ = tuple(self._planes(torch.zeros(1, n_samples)).shape[1:])

    def _check_rate(self, clips):
        if clips.sample_rate not in (None, self.sample_rate_):
            msg = (
                f"the files have a sample rate of {clips.sample_rate} Hz, this "
                f"{type(self).__name__} listens at {self.sample_rate_} Hz; resample them with "
                f"load_audio_folder(..., sample_rate={self.sample_rate_})."
            )
            raise ValueError(msg)

    def _n_fft_samples(self):
        """Return how many samples the FFT has to take at least."""
        return self.frame_length_

    def _check_geometry(self):
        """Refuse parameters that do not go together, or not with this sample rate."""

    def stft(self, waveforms):
        """Return the complex short-time spectrum in this extractor's own geometry."""
        return stft(
            waveforms,
            n_fft=self.n_fft_,
            frame_length=self.frame_length_,
            hop_length=self.hop_length_,
        )

    def _power(self, waveforms):
        """Steps 1 to 4: ``(n, n_samples)`` to power spectra, ``(n, n_bins, n_frames)``."""
        return power(self.stft(emphasize(waveforms, self.pre_emphasis)))

    def _bands(self, waveforms):
        """Steps 1 to 5: power spectra, heard through the bank."""
        spectra = self._power(waveforms)
        return along_frequency(self.bank(spectra), spectra)

    def _audible(self, decibels):
        """Return decibels within reason: nothing is louder than the loudest clip there can be."""
        loudest = 20 * np.log10(MAX_AMPLITUDE * self.frame_length_)
        return decibels.clamp(-loudest, loudest)

    # -- as plain data, for a DistilledSet -------------------------------------------------

    def state(self):
        """Return what was learned as ``(record, arrays)``: plain JSON types, and NumPy arrays."""
        check_is_fitted(self)
        record = {
            "class": type(self).__name__,
            # elsewhere there are other devices and cores
            "parameters": self.get_params() | {"device": "auto", "n_jobs": None},
            "sample_rate": self.sample_rate_,
            "n_samples": self.n_samples_,
        }
        return record, {"extractor.mean": self.mean_, "extractor.scale": self.scale_}

    # -- the pass over the recordings ----------------------------------------------------

    def _listen(self, X, *, reset):
        clips = check_clips(self, X, mono=self.mono, reset=reset)
        if not reset:
            self._check_rate(clips)
        return clips

    def _batches(self, clips):
        """Return the slices of consecutive clips that are heard at a time."""
        size = self.batch_size
        return [slice(start, start + size) for start in range(0, len(clips), size)]

    def _heard(self, clips, use):
        """Yield ``(rows, use(planes))`` in order; two batches a job are held at a time.

        Reading files and computing leave Python's lock alone most of the time: threads will do.
        """
        device = resolve_device(self.device)

        @delayed
        def hear(rows):
            waveforms = torch.from_numpy(clips.padded(rows, self.n_samples_)).to(device)
            with torch.no_grad():
                return rows, use(a_few_at_a_time(self._planes, waveforms, self.n_samples_))

        self.bank(torch.zeros(()))  # kept from now on: to make it is not for several threads
        batches, n_jobs = self._batches(clips), effective_n_jobs(self.n_jobs)
        with Parallel(n_jobs=self.n_jobs, require="sharedmem") as parallel:
            for first in range(0, len(batches), 2 * n_jobs):
                yield from parallel(map(hear, batches[first : first + 2 * n_jobs]))

    def _learn_scale(self, clips, keep=None):
        """Learn mean and scale per coefficient in one pass; lay the raw planes out in `keep`."""

        def use(planes):
            total = planes.sum(dim=(0, 3), dtype=torch.float64)
            squares = planes.double().square().sum(dim=(0, 3))
            sums = torch.stack([total, squares]).cpu().numpy()
            return sums, None if keep is None else self._lay_out(planes)

        sums = np.zeros((2, *self.planes_shape_[:2]))
        for rows, (more, features) in self._heard(clips, use):
            sums += more  # in order, so that rounding does not depend on the number of jobs
            if keep is not None:
                keep[rows] = features
        mean, square = sums / (len(clips) * self.planes_shape_[-1])
        scale = np.sqrt(np.maximum(square - mean**2, 0))
        still = scale <= 1e-6 * np.maximum(np.abs(mean), 1)  # constant up to rounding
        scale = np.where(still, 1.0, scale)
        if not self.standardize:
            mean, scale = np.zeros_like(mean), np.ones_like(scale)
        # As they come back from a file, strides and all: a fit that goes on compares them.
        self.mean_, self.scale_ = (
            part.astype(np.float32).reshape(*part.shape, 1).copy() for part in (mean, scale)
        )


def written(out, shape, fill):
    """Return `out`, filled: an array, a file that is mapped, or for None a new array.

    Parameters
    ----------
    out : array-like, str, Path or None
        See :meth:`BaseExtractor.transform`; refused before anything is filled.
    shape : tuple of int
        Of the features, float32.
    fill : callable
        Writes them, slice by slice, into the array it is given.
    """
    if isinstance(out, (str, PathLike)):
        with whole_or_nothing(out) as draft:
            _check_path(Path(out), 4 * prod(shape))
            fill(open_memmap(draft, mode="w+", dtype=np.float32, shape=shape))
        return np.load(out, mmap_mode="r+")
    features = np.empty(shape, dtype=np.float32) if out is None else out
    _check_out(features, shape)
    fill(features)
    return features


def _check_path(path, n_bytes):
    """Refuse what the disk cannot hold: a mapped file that outgrows it would end the process."""
    if path.is_dir():
        msg = f"out={str(path)!r} is a folder; name a file in it."
        raise ValueError(msg)
    free = disk_usage(path.parent).free
    if n_bytes > free:
        msg = (
            f"out={str(path)!r} takes {n_bytes / 1e9:.3g} GB, and {free / 1e9:.3g} GB are free; "
            "make room, or write elsewhere."
        )
        raise OSError(msg)


def _check_out(out, shape):
    if not all(hasattr(out, name) for name in ("shape", "dtype", "__setitem__")):
        msg = f"out={out!r} is no array and no path; pass one of them, or None."
        raise TypeError(msg)
    if tuple(out.shape) != shape or out.dtype != np.float32:
        msg = (
            f"out has shape {tuple(out.shape)} and type {out.dtype}; these features take shape "
            f"{shape} and float32."
        )
        raise ValueError(msg)
    if hasattr(out, "flags") and not out.flags.writeable:
        msg = "out cannot be written to; map the file with mode='r+', or pass another array."
        raise ValueError(msg)


def extractor_from_state(record, arrays):
    """Return the fitted extractor that :meth:`BaseExtractor.state` described."""
    kinds = {kind.__name__: kind for kind in below(BaseExtractor) if hasattr(kind, "_planes")}
    if record["class"] not in kinds:
        msg = f"extractor {record['class']!r} is unknown; this version has {sorted(kinds)}."
        raise ValueError(msg)
    extractor = kinds[record["class"]](**record["parameters"])
    extractor._set_geometry(record["sample_rate"], record["n_samples"])
    extractor.mean_, extractor.scale_ = arrays["extractor.mean"], arrays["extractor.scale"]
    return extractor
