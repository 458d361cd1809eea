"""How a recording is heard: the nine steps of FD-MFCC, and the estimator over them.

The steps of the DDFAD paper (section 3.2) stand first, in its order, as differentiable torch
functions on batches of waveforms; they run wherever their input lives. ``FDMFCC`` is a thin coat:
it learns the geometry (clip length, sample rate) and the standardisation, and calls them batch by
batch. Letters used in shapes: n_clips, n_samples, n_frames, n_bins, n_mels, n_mfcc.
"""

import warnings
from functools import lru_cache
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
from sklearn.utils.validation import check_is_fitted
from torch.nn import functional as F

from sklearn_ddfad._validation import (
    Interval,
    StrOptions,
    check_clips,
    fit_context,
    resolve_device,
)
from sklearn_ddfad.datasets._files import whole_or_nothing

DEFAULT_SAMPLE_RATE = 8000  # of arrays, which carry no rate: that of FSDD
_POWER_FLOOR = 1e-10  # -100 dB, as in librosa
_SAMPLES_AT_A_TIME = 2**17  # their spectra take about a megabyte

# ------------------------------------------------------------------------------------------
# The nine steps, as functions
# ------------------------------------------------------------------------------------------


def emphasize(waveforms, coefficient=0.97):
    """Step 1, pre-emphasis: ``x[t] - coefficient * x[t - 1]``, with silence before the clip."""
    now, before = waveforms[..., 1:], waveforms[..., :-1]
    return torch.cat([waveforms[..., :1], now.sub(before, alpha=coefficient)], dim=-1)


def stft(waveforms, *, n_fft, frame_length, hop_length):
    """Steps 2 to 4, frames, Hann window, FFT: ``(n, n_samples)`` to ``(n, n_bins, n_frames)``.

    Frame ``t`` is centred on sample ``t * hop_length``; around the clip there is silence.
    """
    return torch.stft(
        waveforms,
        n_fft,
        hop_length=hop_length,
        win_length=frame_length,
        window=hann_window(frame_length, waveforms.dtype, waveforms.device),
        center=True,
        pad_mode="constant",
        return_complex=True,
    )


def power(spectrum):
    """Return the squared modulus of a complex spectrum, with a gradient at zero, too."""
    return spectrum.real.square() + spectrum.imag.square()


def along_frequency(matrix, spectrogram):
    """Apply `matrix` to each frame: ``(m, k)`` on ``(n, k, n_frames)`` is ``(n, m, n_frames)``.

    Frames are the rows of one product: rounding then does not depend on how many clips come along.
    """
    return (spectrogram.mT @ matrix.mT).mT


@lru_cache(maxsize=32)
def mel_filter_bank(sample_rate, n_fft, n_mels, f_min=0.0, f_max=None):
    """Step 5: triangular filters on the mel scale (Slaney), shape ``(n_mels, n_bins)``."""
    import librosa  # here, since its first use takes seconds

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of filters between two frequencies: refused by extractors
        bank = librosa.filters.mel(
            sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=f_min, fmax=f_max
        )
    return torch.from_numpy(bank)


def power_to_db(power_spectrum, top_db=None):
    """Step 6, the logarithm: ``10 log10`` of the power, not under -100 dB.

    With ``top_db`` nothing lies further than that under the loudest value of its own clip.
    """
    decibels = 10 * torch.log10(power_spectrum.clamp_min(_POWER_FLOOR))
    if top_db is None:
        return decibels
    return torch.maximum(decibels, decibels.amax(dim=(-2, -1), keepdim=True) - top_db)


def db_to_power(decibels):
    """Undo :func:`power_to_db`: ``10 ** (decibels / 10)``."""
    return torch.pow(10.0, decibels / 10)


@lru_cache(maxsize=32)
def dct_matrix(n_coefficients, n_points):
    """Step 7: the first rows of the orthonormal DCT-II, shape ``(n_coefficients, n_points)``.

    Its transpose is the inverse: exact for ``n_coefficients == n_points``, else the smoothest
    spectrum with these coefficients.
    """
    k = torch.arange(n_coefficients, dtype=torch.float64)[:, None]
    m = torch.arange(n_points, dtype=torch.float64)[None, :]
    basis = torch.cos(torch.pi / n_points * (m + 0.5) * k) * (2 / n_points) ** 0.5
    basis[0] /= 2**0.5
    return basis


def halved_difference(cepstra):
    """Step 8, Eq. 1: ``(C(t + 1) - C(t)) / 2`` over the last axis; applied twice, Eq. 2.

    The last frame has no successor; it is taken to stand still, so its difference is zero.
    """
    return torch.diff(cepstra, append=cepstra[..., -1:]) / 2


def _adjoint_difference(planes):
    """Apply the transpose of :func:`halved_difference`, ``D``: ``<D c, p> = <c, D' p>``."""
    return torch.diff(F.pad(planes[..., :-1], (1, 1))) / -2


def fuse(cepstra):
    """Steps 8 and 9: ``(n, n_mfcc, n_frames)`` to ``(n, 3, n_mfcc, n_frames)``."""
    delta = halved_difference(cepstra)
    return torch.stack([cepstra, delta, halved_difference(delta)], dim=1)


def unfuse(planes, weights):
    """Return the cepstra whose planes come nearest to `planes`, by weighted least squares.

    Planes that belong together come back exactly; distilled ones, free of one another, are heard
    as a whole. `weights`, shape ``(3, n_mfcc)``, multiplies the squared errors.
    """
    n_frames = planes.shape[-1]
    first, second, third = planes.double().unbind(dim=1)  # each (n, n_mfcc, n_frames)
    w, w1, w2 = weights.to(first)[..., None]
    target = w * first + _adjoint_difference(w1 * second + _adjoint_difference(w2 * third))

    # The normal matrix is w + w1 D'D + w2 D'D'DD. The DCT diagonalises D'D; D'D'DD is its square
    # but for the first frame, which has no predecessor: less d d' / 4, where d is D' of that frame.
    waves = dct_matrix(n_frames, n_frames).to(first)
    half_sine = torch.arange(n_frames).to(first).mul(torch.pi / 2 / n_frames).sin()
    eigenvalues = w + w1 * half_sine**2 + w2 * half_sine**4
    d = waves @ _adjoint_difference(torch.eye(1, n_frames).to(first)[0])
    smoothed, d_smoothed = target @ waves.mT / eigenvalues, d / eigenvalues
    share = (w2 / 4) / (1 - (w2 / 4) * (d * d_smoothed).sum(dim=-1, keepdim=True))
    cepstra = smoothed + share * (smoothed @ d)[..., None] * d_smoothed  # Sherman and Morrison
    return (cepstra @ waves).to(planes.dtype)


def a_few_at_a_time(function, clips, n_samples):
    """Return ``function(clips)``, on a CPU computed for a few clips of `n_samples` at a time.

    What lies in between then stays in the cache, and in memory that the process has already:
    new pages for large spectra take the system longer than the arithmetic.
    """
    size = len(clips) if clips.is_cuda else max(1, _SAMPLES_AT_A_TIME // n_samples)
    return torch.cat([function(part) for part in clips.split(size)])


@lru_cache(maxsize=32)
def hann_window(length, dtype, device):
    """Step 3: the window of a frame, shape ``(length,)``."""
    return torch.hann_window(length, dtype=dtype, device=device)


# ------------------------------------------------------------------------------------------
# The estimator
# ------------------------------------------------------------------------------------------


class BaseExtractor(TransformerMixin, BaseEstimator):
    """What all extractors share: geometry, batches, standardisation and layout.

    A new one fills two blanks: ``_planes``, from waveforms to feature planes, and
    ``log_mel``, from feature planes back to the spectrogram they stand for.
    """

    _parameter_constraints: dict = {
        "sample_rate": [Interval(Integral, 1, None, closed="left"), None],
        "duration": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "frame_length": [Interval(Real, 0, None, closed="neither")],
        "hop_length": [Interval(Real, 0, None, closed="neither")],
        "n_mels": [Interval(Integral, 1, None, closed="left")],
        "f_min": [Interval(Real, 0, None, closed="left")],
        "f_max": [Interval(Real, 0, None, closed="neither"), None],
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
        return np.array(["_".join(map(str, index)) for index in np.ndindex(self.planes_shape_)])

    def __sklearn_is_fitted__(self):
        return hasattr(self, "scale_")  # what is learned last

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    # -- geometry, written once ----------------------------------------------------------

    def _learn_geometry(self, clips):
        """Learn sample rate and clip length."""
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
        self.n_fft_ = 2 ** max(1, int(np.ceil(np.log2(self.frame_length_))))
        self._check_mel_bank()
        self.planes_shape_ = tuple(self._planes(torch.zeros(1, n_samples)).shape[1:])

    def _check_rate(self, clips):
        if clips.sample_rate not in (None, self.sample_rate_):
            msg = (
                f"the files have a sample rate of {clips.sample_rate} Hz, this "
                f"{type(self).__name__} listens at {self.sample_rate_} Hz; resample them with "
                f"load_audio_folder(..., sample_rate={self.sample_rate_})."
            )
            raise ValueError(msg)

    def _check_mel_bank(self):
        nyquist = self.sample_rate_ / 2
        f_max = self.f_max or nyquist
        if not self.f_min < f_max <= nyquist:
            msg = (
                f"f_min={self.f_min} and f_max={f_max} Hz must rise and stay within "
                f"{nyquist} Hz, half the sample rate of {self.sample_rate_} Hz."
            )
            raise ValueError(msg)
        n_bins = self.n_fft_ // 2 + 1
        if self.n_mels > n_bins // 2:
            msg = (
                f"n_mels={self.n_mels} is more than frames of {self.frame_length_} samples "
                f"({n_bins} frequencies) can tell apart; at most {n_bins // 2} can be used."
            )
            raise ValueError(msg)
        n_deaf = int((self.mel_bank(torch.zeros(())).amax(dim=1) == 0).sum())
        if n_deaf:
            msg = (
                f"{n_deaf} of n_mels={self.n_mels} bands between f_min={self.f_min} and "
                f"f_max={f_max} Hz hold no frequency of frames of {self.frame_length_} samples; "
                "use fewer bands, a wider range or longer frames."
            )
            raise ValueError(msg)

    def stft(self, waveforms):
        """Return the complex short-time spectrum in this extractor's own geometry."""
        return stft(
            waveforms,
            n_fft=self.n_fft_,
            frame_length=self.frame_length_,
            hop_length=self.hop_length_,
        )

    def mel_bank(self, like):
        """Return the mel filters, shape ``(n_mels, n_bins)``, as a tensor like `like`."""
        return mel_filter_bank(
            self.sample_rate_, self.n_fft_, self.n_mels, self.f_min, self.f_max
        ).to(like)

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

        self.mel_bank(torch.zeros(()))  # kept from now on: to make it is not for several threads
        batches, n_jobs = self._batches(clips), effective_n_jobs(self.n_jobs)
        with Parallel(n_jobs=self.n_jobs, prefer="threads") as parallel:
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
        self.mean_ = mean.astype(np.float32)[..., None]
        self.scale_ = scale.astype(np.float32)[..., None]


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
    kinds = {kind.__name__: kind for kind in BaseExtractor.__subclasses__()}
    if record["class"] not in kinds:
        msg = f"extractor {record['class']!r} is unknown; this version has {sorted(kinds)}."
        raise ValueError(msg)
    extractor = kinds[record["class"]](**record["parameters"])
    extractor._set_geometry(record["sample_rate"], record["n_samples"])
    extractor.mean_, extractor.scale_ = arrays["extractor.mean"], arrays["extractor.scale"]
    return extractor


class FDMFCC(BaseExtractor):
    """Fused differential MFCC: cepstra with their first and second differences.

    The nine steps of [1]_, section 3.2: pre-emphasis, frames of 20 ms, Hann window, FFT, mel
    filters, logarithm, DCT, differences by Eq. 1 and 2, fusion.

    Recordings may be a list of 1-D arrays of any lengths, a 2-D array (one clip a row), a pandas
    Series of arrays, or paths of audio files, which are read batch by batch. Integer PCM (uint8,
    int16, int32) is scaled to [-1, 1] by its type. Clips longer than the learned length are cut,
    shorter ones padded with silence, both equally at either end.

    Parameters
    ----------
    sample_rate : int or None, default=None
        In Hz. ``None`` takes that of the files; arrays carry none and are taken to be sampled at
        8000 Hz.
    duration : "auto" or float, default="auto"
        Seconds kept of each clip; ``"auto"`` is the length that 95 % of the clips in ``fit`` do
        not exceed.
    frame_length, hop_length : float, default=0.02 and 0.0125
        Seconds; the FFT takes the next power of two samples.
    n_mfcc : int, default=16
        Cepstral coefficients kept, at most ``n_mels``.
    n_mels : int, default=40
        Mel bands, at most half the number of FFT frequencies.
    f_min, f_max : float, default=0.0 and None
        Range of the mel bands in Hz; ``None`` is half the sample rate.
    pre_emphasis : float in [0, 1), default=0.97
        Coefficient of step 1; 0 leaves it out.
    top_db : float or None, default=80.0
        Dynamic range: nothing lies further than this under the loudest value of its clip.
    standardize : bool, default=True
        Whether each coefficient of each plane is brought to mean 0 and standard deviation 1.
    layout : {"planes", "coefficients", "flat"}, default="planes"
        How the three planes are fused: as planes of an image
        ``(n_clips, 3, n_mfcc, n_frames)``, one below the other
        ``(n_clips, 1, 3 * n_mfcc, n_frames)``, or as rows ``(n_clips, n_features)``.
    mono : bool, default=False
        Whether stereo files are averaged; they are refused otherwise.
    batch_size : int, default=256
        Clips heard at a time by each job: what memory is needed beside the output.
    device : str, default="auto"
        Where to compute; ``"auto"`` is CUDA where there is one.
    n_jobs : int or None, default=None
        Batches read and heard at a time, in threads; the result does not depend on it.

    Attributes
    ----------
    sample_rate_, n_samples_, frame_length_, hop_length_, n_fft_ : int
        The geometry, in Hz and in samples.
    planes_shape_, feature_shape_ : tuple of int
        Shape of one clip's features, as planes and in the chosen layout.
    mean_, scale_ : ndarray of shape (3, n_mfcc, 1)
        The standardisation.

    See Also
    --------
    GriffinLimInverter : The way back to sound.

    References
    ----------
    .. [1] W. Jiang et al., "DDFAD: Dataset distillation framework for audio data", 2024.

    Examples
    --------
    >>> from sklearn_ddfad import FDMFCC
    >>> from sklearn_ddfad.datasets import make_audio_classification
    >>> clips, labels = make_audio_classification(20, random_state=0)
    >>> FDMFCC(duration=0.5).fit_transform(clips).shape
    (20, 3, 16, 41)
    >>> FDMFCC(duration=0.5, layout="flat").fit_transform(clips).shape
    (20, 1968)
    """

    _parameter_constraints: dict = {
        **BaseExtractor._parameter_constraints,
        "n_mfcc": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        sample_rate=None,
        *,
        duration="auto",
        frame_length=0.02,
        hop_length=0.0125,
        n_mfcc=16,
        n_mels=40,
        f_min=0.0,
        f_max=None,
        pre_emphasis=0.97,
        top_db=80.0,
        standardize=True,
        layout="planes",
        mono=False,
        batch_size=256,
        device="auto",
        n_jobs=None,
    ):
        self.sample_rate = sample_rate
        self.duration = duration
        self.frame_length = frame_length
        self.hop_length = hop_length
        self.n_mfcc = n_mfcc
        self.n_mels = n_mels
        self.f_min = f_min
        self.f_max = f_max
        self.pre_emphasis = pre_emphasis
        self.top_db = top_db
        self.standardize = standardize
        self.layout = layout
        self.mono = mono
        self.batch_size = batch_size
        self.device = device
        self.n_jobs = n_jobs

    def _planes(self, waveforms):
        """Steps 1 to 9: ``(n, n_samples)`` to ``(n, 3, n_mfcc, n_frames)``."""
        spectrum = self.stft(emphasize(waveforms, self.pre_emphasis))
        mel = along_frequency(self.mel_bank(waveforms), power(spectrum))
        decibels = power_to_db(mel, self.top_db)
        return fuse(along_frequency(dct_matrix(self.n_mfcc, self.n_mels).to(waveforms), decibels))

    def log_mel(self, X):
        """Return the mel spectrogram, in dB, that features stand for.

        The first step of Algorithm 2: the three planes are brought back to one (least squares
        over Eq. 1 and 2 in standardised units), then the inverse DCT.

        Parameters
        ----------
        X : array or tensor of shape (n_clips, ...)
            Standardised features.

        Returns
        -------
        decibels : torch.Tensor of shape (n_clips, n_mels, n_frames)
        """
        cepstra = unfuse(self.raw_planes(X), torch.from_numpy(self.scale_[..., 0] ** -2))
        return dct_matrix(self.n_mfcc, self.n_mels).to(cepstra).mT @ cepstra

    def _check_mel_bank(self):
        super()._check_mel_bank()
        if self.n_mfcc > self.n_mels:
            msg = f"n_mfcc={self.n_mfcc} must be at most n_mels={self.n_mels}."
            raise ValueError(msg)
