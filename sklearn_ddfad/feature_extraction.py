"""How a recording is heard: the nine steps of FD-MFCC, and the estimator over them.

The steps of the DDFAD paper (section 3.2) stand first, in its order, as differentiable torch
functions on batches of waveforms; they run wherever their input lives. ``FDMFCC`` is a thin coat:
it learns the geometry (clip length, sample rate) and the standardisation, and calls them batch by
batch. Letters used in shapes: n_clips, n_samples, n_frames, n_bins, n_mels, n_mfcc.
"""

import warnings
from functools import lru_cache
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from sklearn_ddfad._validation import (
    Interval,
    StrOptions,
    check_clips,
    fit_context,
    resolve_device,
)

DEFAULT_SAMPLE_RATE = 8000  # of arrays, which carry no rate: that of FSDD
_POWER_FLOOR = 1e-10  # -100 dB, as in librosa

# ------------------------------------------------------------------------------------------
# The nine steps, as functions
# ------------------------------------------------------------------------------------------


def emphasize(waveforms, coefficient=0.97):
    """Step 1, pre-emphasis: ``x[t] - coefficient * x[t - 1]``, with silence before the clip."""
    return torch.cat(
        [waveforms[..., :1], waveforms[..., 1:] - coefficient * waveforms[..., :-1]], dim=-1
    )


def stft(waveforms, *, n_fft, frame_length, hop_length):
    """Steps 2 to 4, frames, Hann window, FFT: ``(n, n_samples)`` to ``(n, n_bins, n_frames)``.

    Frame ``t`` is centred on sample ``t * hop_length``; around the clip there is silence.
    """
    return torch.stft(
        waveforms,
        n_fft,
        hop_length=hop_length,
        win_length=frame_length,
        window=_hann(frame_length, waveforms),
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
    eye = torch.eye(n_frames, dtype=torch.float64, device=planes.device)
    operators = fuse(eye[None])[0].mT  # (3, n_frames, n_frames): what fuse does to a column
    weights = weights.to(eye)
    normal = torch.einsum("pk,pst,psu->ktu", weights, operators, operators)
    target = torch.einsum("pk,pst,npks->nkt", weights, operators, planes.to(eye))
    return torch.linalg.solve(normal, target[..., None])[..., 0].to(planes.dtype)


@lru_cache(maxsize=32)
def _hann_window(length, dtype, device):
    return torch.hann_window(length, dtype=dtype, device=device)


def _hann(length, like):
    return _hann_window(length, like.dtype, like.device)


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
    def fit_transform(self, X, y=None):
        """Fit and transform in one pass over the recordings; parameters as in :meth:`fit`.

        Returns
        -------
        features : ndarray of float32
            As from :meth:`transform`.
        """
        clips = self._listen(X, reset=True)
        self._learn_geometry(clips)
        planes = np.empty((len(clips), *self.planes_shape_), dtype=np.float32)
        self._learn_scale(clips, keep=planes)
        planes -= self.mean_
        planes /= self.scale_
        return self._lay_out(planes)

    def transform(self, X):
        """Return the standardised features of recordings.

        Parameters
        ----------
        X : list of 1-D arrays, 2-D array, pandas Series or list of paths
            The recordings, cut or padded with silence to the learned length.

        Returns
        -------
        features : ndarray of float32
            Shape ``(n_clips, *feature_shape_)``.
        """
        check_is_fitted(self)
        clips = self._listen(X, reset=False)
        planes = np.empty((len(clips), *self.planes_shape_), dtype=np.float32)
        for rows, batch in self._batches(clips):
            planes[rows] = self.standardized(batch).cpu().numpy()
        return self._lay_out(planes)

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
        planes = X.float() if torch.is_tensor(X) else torch.tensor(np.asarray(X, np.float32))
        planes = planes.reshape(-1, *self.planes_shape_)
        return planes * planes.new_tensor(self.scale_) + planes.new_tensor(self.mean_)

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
            "parameters": self.get_params() | {"device": "auto"},  # elsewhere there are others
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
        """Yield ``(rows, planes)``: raw feature planes of consecutive clips, on the device."""
        device = resolve_device(self.device)
        for start in range(0, len(clips), self.batch_size):
            rows = slice(start, start + self.batch_size)
            waveforms = torch.from_numpy(clips.padded(rows, self.n_samples_)).to(device)
            with torch.no_grad():
                yield rows, self._planes(waveforms)

    def _learn_scale(self, clips, keep=None):
        """Learn mean and scale per coefficient in one pass; copy the raw planes to `keep`."""
        n, total, squares = 0, np.zeros(()), np.zeros(())
        for rows, batch in self._batches(clips):
            n += batch.shape[0] * batch.shape[-1]
            total = total + batch.sum(dim=(0, 3), dtype=torch.float64).cpu().numpy()
            squares = squares + batch.double().square().sum(dim=(0, 3)).cpu().numpy()
            if keep is not None:
                keep[rows] = batch.cpu().numpy()
        mean = total / n
        scale = np.sqrt(np.maximum(squares / n - mean**2, 0))
        still = scale <= 1e-6 * np.maximum(np.abs(mean), 1)  # constant up to rounding
        scale = np.where(still, 1.0, scale)
        if not self.standardize:
            mean, scale = np.zeros_like(mean), np.ones_like(scale)
        self.mean_ = mean.astype(np.float32)[..., None]
        self.scale_ = scale.astype(np.float32)[..., None]

    def _lay_out(self, planes):
        return planes.reshape(len(planes), *self.feature_shape_)


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
        Clips heard at a time: what memory is needed beside the output.
    device : str, default="auto"
        Where to compute; ``"auto"`` is CUDA where there is one.

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
