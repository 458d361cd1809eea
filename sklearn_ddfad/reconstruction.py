"""How features become sound again: Algorithm 2 of the DDFAD paper.

The steps stand first, as differentiable torch functions on batches that run wherever their input
lives: non-negative least squares from mel bands back to frequencies, Griffin-Lim with its two
projections (Eq. 4 to 6) for the phases that the features do not hold, de-emphasis.
``GriffinLimInverter`` calls them batch by batch, in the geometry of the extractor that listened.
Letters used in shapes: n_clips, n_samples, n_frames, n_bins, n_mels.
"""

from functools import lru_cache, partial
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch.nn import functional as F

from sklearn_ddfad._validation import Interval, fit_context, resolve_device
from sklearn_ddfad.feature_extraction import (
    a_few_at_a_time,
    add_white_noise,
    autocorrelation_bank,
    cosines,
    hann_window,
    linear_prediction,
    power,
    prediction_to_cepstra,
    stft,
)

_TINY = torch.finfo(torch.float32).tiny
_EPSILON = torch.finfo(torch.float64).eps
_SILENT = 1e-12  # a magnitude far under anything heard: gives 0 a phase, and a gradient
_ABSURD = 1e30  # standard deviations; beyond lies the end of float32
_LOUDEST = 300.0  # natural logarithm of a power, either way: far within float64
_UNHEARD = 1e-3  # of the loudest sample's weight: under it, frames do not tell a sample

# ------------------------------------------------------------------------------------------
# From mel bands, or linear prediction, to frequencies
# ------------------------------------------------------------------------------------------


def mel_to_magnitude(mel_power, bank, *, n_iter=20):
    """Return the magnitudes whose power, heard through mel filters, comes nearest to `mel_power`.

    Non-negative least squares, all frames at once, by accelerated projected gradient [1]_ from the
    clipped pseudo-inverse. Every frame is scaled by its loudest band and every filter to length 1:
    quiet frames are solved as well as loud ones, and 20 iterations are enough.

    Parameters
    ----------
    mel_power : torch.Tensor of shape (..., n_mels, n_frames)
        Mel power spectra, not negative.
    bank : torch.Tensor of shape (n_mels, n_bins)
        The mel filters.
    n_iter : int, default=20
        Gradient steps.

    Returns
    -------
    magnitude : torch.Tensor of shape (..., n_bins, n_frames)
        The square root of the power spectra.

    References
    ----------
    .. [1] A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear
       inverse problems", SIAM Journal on Imaging Sciences, 2009.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ddfad.feature_extraction import mel_filter_bank
    >>> bank = mel_filter_bank(8000, 256, 40)
    >>> mel = bank @ torch.rand(129, 5, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(bank @ mel_to_magnitude(mel, bank) ** 2, mel, rtol=0.02)
    True
    """
    mel = mel_power.mT  # frames are rows from here on
    level = mel.amax(dim=-1, keepdim=True).clamp_min(_TINY)
    weights = 1 / torch.linalg.vector_norm(bank, dim=1, keepdim=True).clamp_min(_TINY)
    gram = (weights * bank).double() @ (weights * bank).double().mT
    lipschitz = torch.linalg.eigvalsh(gram)[-1]
    weights = weights / lipschitz.sqrt().to(bank)  # so the step 1 / L is 1
    filters, target = weights * bank, (weights.mT * (mel / level)).flatten(0, -2)
    inverse = torch.linalg.pinv(gram / lipschitz, hermitian=True).to(bank) @ filters

    solution = ahead = (target @ inverse).clamp_min(0)
    for i in range(n_iter):
        missing = torch.addmm(target, ahead, filters.mT, alpha=-1)
        solution, last = torch.addmm(ahead, missing, filters).clamp_min(0), solution
        ahead = torch.lerp(last, solution, 1 + i / (i + 3))
    power_spectra = solution.unflatten(0, mel.shape[:-1]) * level
    return power_spectra.clamp_min(_SILENT**2).sqrt().mT


def lpcc_to_db(cepstra, *, order, n_fft, n_iter=10):
    """Return all-pole power spectra whose linear prediction cepstra come near to given ones.

    Distilled cepstra need not be those of a filter, or of one that is not stable. But the series
    that they are the first terms of is a logarithm of a power spectrum, whatever they are, and
    linear prediction makes a stable filter of any. What its cepstra lack is added to the series,
    over and over: cepstra of a filter lead to that filter.

    Parameters
    ----------
    cepstra : torch.Tensor of shape (n_clips, n_lpcc, n_frames)
        Linear prediction cepstral coefficients; see :class:`~sklearn_ddfad.LPCC`.
    order : int
        Number of poles.
    n_fft : int
        Samples of the FFT, more than twice the order.
    n_iter : int, default=10
        Corrections.

    Returns
    -------
    decibels : torch.Tensor of shape (n_clips, n_fft // 2 + 1, n_frames)

    Examples
    --------
    >>> import torch
    >>> from sklearn_ddfad.feature_extraction import autocorrelation_bank, db_to_power, lpcc
    >>> bank = autocorrelation_bank(13, 256)
    >>> noise = torch.rand(1, 129, 5, generator=torch.Generator().manual_seed(0))
    >>> cepstra = lpcc(bank @ noise.double(), 16)
    >>> again = lpcc(bank @ db_to_power(lpcc_to_db(cepstra, order=12, n_fft=256)), 16)
    >>> torch.allclose(again, cepstra, atol=1e-3)
    True
    """
    wanted = cepstra.double().movedim(1, 0)
    bank = autocorrelation_bank(order + 1, n_fft).to(wanted)
    waves = cosines(len(wanted), n_fft).to(wanted)
    waves = torch.cat([waves[:1], 2 * waves[1:]]).mT
    free = min(order + 1, len(wanted))  # the cepstra that those beyond follow from

    def model(series):
        power_spectra = torch.tensordot(waves, series, 1).clamp(-_LOUDEST, _LOUDEST).exp()
        return linear_prediction(add_white_noise(torch.tensordot(bank, power_spectra, 1)))

    series = wanted
    for _ in range(n_iter):
        coefficients, gain = model(series)
        lack = wanted[:free] - prediction_to_cepstra(coefficients, gain, free)
        series = torch.cat([series[:free] + lack, series[free:]])
    coefficients, gain = model(series)
    unpredicted = torch.cat([torch.ones_like(gain)[None], -coefficients])
    response = power(torch.fft.rfft(unpredicted, n_fft, dim=0))
    return (10 * (gain / response).log10()).movedim(0, 1).to(cepstra.dtype)


# ------------------------------------------------------------------------------------------
# Griffin-Lim
# ------------------------------------------------------------------------------------------


def griffin_lim(
    magnitude,
    *,
    n_samples,
    n_fft,
    frame_length,
    hop_length,
    n_iter=64,
    momentum=0.9,
    generator=None,
):
    """Return waveforms whose short-time spectra have given magnitudes, as nearly as there are any.

    Eq. 4: from random phases, ``X = P_C(P_A(X))``, over and over [1]_. With `momentum` each step
    goes on in the direction of the last one [2]_.

    Parameters
    ----------
    magnitude : torch.Tensor of shape (..., n_bins, n_frames)
        The wanted magnitudes.
    n_samples : int
        Length of the waveforms.
    n_fft, frame_length, hop_length : int
        Geometry of the short-time Fourier transform, in samples.
    n_iter : int, default=64
        Iterations.
    momentum : float, default=0.9
        0 is Eq. 4 itself: slow, but :func:`spectral_convergence` never gets worse. 0.99 is
        customary; with magnitudes that come from features, and so belong to no waveform, 0.9 gets
        nearer. Above 1 it is unstable.
    generator : torch.Generator, default=None
        Draws the first phases, on the CPU. They are the same for all clips of a batch, so that
        what becomes of a clip does not depend on its neighbours.

    Returns
    -------
    waveforms : torch.Tensor of shape (..., n_samples)

    References
    ----------
    .. [1] D. Griffin and J. Lim, "Signal estimation from modified short-time Fourier transform",
       IEEE Transactions on Acoustics, Speech, and Signal Processing, 1984.
    .. [2] N. Perraudin, P. Balazs and P. Søndergaard, "A fast Griffin-Lim algorithm", WASPAA,
       2013. When it converges is shown by R. Nenov et al., "Accelerated Griffin-Lim algorithm: A
       fast and provably converging numerical method for phase retrieval", IEEE Transactions on
       Signal Processing, 2024.

    Examples
    --------
    >>> import torch
    >>> from sklearn_ddfad.feature_extraction import stft
    >>> geometry = {"n_fft": 256, "frame_length": 160, "hop_length": 80}
    >>> tone = torch.sin(2 * torch.pi * 440 / 8000 * torch.arange(4000.0))
    >>> magnitude = stft(tone[None], **geometry).abs()
    >>> generator = torch.Generator().manual_seed(0)
    >>> again = griffin_lim(magnitude, n_samples=4000, generator=generator, **geometry)
    >>> bool(spectral_convergence(stft(again, **geometry), magnitude) < 0.05)
    True
    """
    geometry = {"n_fft": n_fft, "frame_length": frame_length, "hop_length": hop_length}
    magnitude = magnitude.mT.contiguous().mT  # frame after frame in memory, as spectra are
    angle = 2 * torch.pi * torch.rand(magnitude.shape[-2:], generator=generator)
    X = magnitude * torch.polar(torch.ones_like(angle), angle).to(magnitude.device)
    last = None
    for _ in range(n_iter):
        waveform = istft(project_onto_magnitude(X, magnitude), n_samples=n_samples, **geometry)
        # The spectrum is linear: a step further in waveforms is one in spectra, with fewer numbers.
        further = waveform if last is None else torch.lerp(last, waveform, 1 + momentum)
        X, last = stft(further, **geometry), waveform
    return istft(project_onto_magnitude(X, magnitude), n_samples=n_samples, **geometry)


def project_onto_magnitude(X, magnitude):
    """Eq. 5, ``A X / |X|``: give each value of a spectrum its wanted magnitude, keep its phase.

    A value of 0, which has no phase, is given phase 0.

    Parameters
    ----------
    X : complex torch.Tensor of shape (..., n_bins, n_frames)
    magnitude : torch.Tensor of shape (..., n_bins, n_frames)

    Returns
    -------
    projected : complex torch.Tensor of shape (..., n_bins, n_frames)

    Examples
    --------
    >>> import torch
    >>> project_onto_magnitude(torch.tensor([3 + 4j, 0]), torch.tensor([10.0, 2.0]))
    tensor([6.+8.j, 2.+0.j])
    """
    X = X + _SILENT
    return X * (magnitude * power(X).clamp_min(_SILENT**2).rsqrt())


def project_onto_consistency(X, *, n_samples, n_fft, frame_length, hop_length):
    """Eq. 6, ``STFT(iSTFT(X))``: the nearest spectrum that is the spectrum of a waveform.

    Parameters
    ----------
    X : complex torch.Tensor of shape (..., n_bins, n_frames)
    n_samples, n_fft, frame_length, hop_length : int
        As in :func:`griffin_lim`.

    Returns
    -------
    projected : complex torch.Tensor of shape (..., n_bins, n_frames)
    """
    geometry = {"n_fft": n_fft, "frame_length": frame_length, "hop_length": hop_length}
    return stft(istft(X, n_samples=n_samples, **geometry), **geometry)


def istft(X, *, n_samples, n_fft, frame_length, hop_length):
    """Return the waveforms whose :func:`~sklearn_ddfad.feature_extraction.stft` is nearest to `X`.

    Least squares, and exact for the spectrum of a waveform. Samples that no frame hears, between
    frames or behind the last one, are silent, where ``torch.istft`` gives up or divides by almost
    nothing.

    Parameters
    ----------
    X : complex torch.Tensor of shape (..., n_bins, n_frames)
    n_samples, n_fft, frame_length, hop_length : int
        As in :func:`griffin_lim`.

    Returns
    -------
    waveforms : torch.Tensor of shape (..., n_samples)
    """
    window = hann_window(frame_length, X.real.dtype, X.device)
    padding = (n_fft - frame_length) // 2  # of the window, which sits in the middle of the FFT
    frames = torch.fft.irfft(X.mT, n=n_fft)[..., padding : padding + frame_length]
    waveforms = _overlap_add(frames, window, hop_length)
    waveforms = waveforms * _gain(X.shape[-1], hop_length, frame_length, window.dtype, X.device)
    waveforms = waveforms[..., n_fft // 2 - padding :][..., :n_samples]
    return F.pad(waveforms, (0, n_samples - waveforms.shape[-1]))


def _overlap_add(frames, window, hop_length):
    """Add up windowed frames, each `hop_length` later than the one before, to one line."""
    n_frames, frame_length = frames.shape[-2:]
    parts = range(0, frame_length, hop_length)
    line = frames.new_zeros(*frames.shape[:-2], n_frames + len(parts) - 1, hop_length)
    for i, start in enumerate(parts):
        part = slice(start, min(start + hop_length, frame_length))
        place = line[..., i : i + n_frames, : part.stop - part.start]
        place.addcmul_(frames[..., part], window[part])
    return line.flatten(-2)


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def _gain(n_frames, hop_length, frame_length, dtype, device):
    """Return what undoes the windows of frames that overlap; 0 where no frame hears anything."""
    window = hann_window(frame_length, dtype, device)
    weight = _overlap_add(window.expand(n_frames, -1), window, hop_length)
    return torch.where(weight > _UNHEARD * weight.max(), 1 / weight, 0)


def spectral_convergence(X, magnitude):
    """Return how far spectra are from wanted magnitudes: ``|| |X| - A || / ||A||``, 0 at best.

    In the norm of the whole spectrum, where all frequencies but 0 and the highest count twice:
    there :func:`project_onto_consistency` finds the nearest, and Eq. 4 cannot get worse.

    Parameters
    ----------
    X : complex torch.Tensor of shape (..., n_bins, n_frames)
    magnitude : torch.Tensor of shape (..., n_bins, n_frames)

    Returns
    -------
    distances : torch.Tensor of shape (...)
    """
    counts = magnitude.new_full((magnitude.shape[-2], 1), 2)
    counts[[0, -1]] = 1
    distance = (counts * (X.abs() - magnitude).square()).sum(dim=(-2, -1))
    return (distance / (counts * magnitude.square()).sum(dim=(-2, -1)).clamp_min(_TINY)).sqrt()


def deemphasize(waveforms, coefficient=0.97):
    """Undo :func:`~sklearn_ddfad.feature_extraction.emphasize`: ``y[t] = x[t] + c * y[t - 1]``.

    Parameters
    ----------
    waveforms : torch.Tensor of shape (..., n_samples)
    coefficient : float in [0, 1), default=0.97

    Returns
    -------
    waveforms : torch.Tensor of shape (..., n_samples)

    Examples
    --------
    >>> import torch
    >>> from sklearn_ddfad.feature_extraction import emphasize
    >>> noise = torch.randn(1, 1000, generator=torch.Generator().manual_seed(0))
    >>> torch.allclose(deemphasize(emphasize(noise)), noise, atol=1e-6)
    True
    """
    # 1 / (1 - c z) is the product of 1 + (c z) ** k for k = 1, 2, 4, ...: twice as far each time.
    line, k = waveforms.double(), 1
    while k < line.shape[-1] and coefficient**k > _EPSILON:
        later = line[..., k:].add(line[..., :-k], alpha=coefficient**k)
        line, k = torch.cat([line[..., :k], later], dim=-1), 2 * k
    return line.to(waveforms.dtype)


# ------------------------------------------------------------------------------------------
# The estimator
# ------------------------------------------------------------------------------------------


class GriffinLimInverter(TransformerMixin, BaseEstimator):
    """Features back to sound, by Algorithm 2 of the DDFAD paper.

    Inverse DCT, decibels to power, mel bands to frequencies, Griffin-Lim, de-emphasis [1]_; of
    LPCC, the all-pole spectrum in place of the first three. The features of what comes out are
    close to the features that went in; its phases are invented.

    There is nothing to learn: `transform` works without `fit`. Geometry and standardisation are
    read from the extractor.

    Parameters
    ----------
    extractor : FDMFCC, MFCC, LPCC or LogMelSpectrogram, fitted
        What made the features. Where estimators are cloned, as in ``GridSearchCV``, a fitted
        extractor stays fitted inside :class:`sklearn.frozen.FrozenEstimator`.
    n_iter : int, default=64
        Griffin-Lim iterations.
    momentum : float, default=0.9
        Of fast Griffin-Lim; see :func:`griffin_lim`.
    batch_size : int, default=32
        Clips at a time; on a CPU fewer of them if they are long, which is faster.
    device : str, default="auto"
        Where to compute; ``"auto"`` is CUDA where there is one.
    random_state : int, RandomState instance or None, default=0
        Of the first phases, the same for every clip.

    See Also
    --------
    FDMFCC : The way from sound to features.

    References
    ----------
    .. [1] W. Jiang et al., "DDFAD: Dataset distillation framework for audio data", 2024,
       section 3.4.

    Examples
    --------
    >>> from sklearn_ddfad import FDMFCC
    >>> from sklearn_ddfad.datasets import make_audio_classification
    >>> from sklearn_ddfad.reconstruction import GriffinLimInverter
    >>> clips, labels = make_audio_classification(4, n_classes=2, random_state=0)
    >>> extractor = FDMFCC(duration=0.5)
    >>> features = extractor.fit_transform(clips)
    >>> waveforms = GriffinLimInverter(extractor).transform(features)
    >>> waveforms.shape
    (4, 4000)
    >>> bool(abs(extractor.transform(waveforms) - features).mean() < 0.2)  # standard deviations
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "extractor": "no_validation",  # see _check_extractor
        "n_iter": [Interval(Integral, 0, None, closed="left")],
        "momentum": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "device": [str, torch.device],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        extractor,
        *,
        n_iter=64,
        momentum=0.9,
        batch_size=32,
        device="auto",
        random_state=0,
    ):
        self.extractor = extractor
        self.n_iter = n_iter
        self.momentum = momentum
        self.batch_size = batch_size
        self.device = device
        self.random_state = random_state

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X=None, y=None):
        """Check that the extractor is fitted.

        Parameters
        ----------
        X, y : None
            Ignored.

        Returns
        -------
        self : object
        """
        _check_extractor(self.extractor)
        return self

    def transform(self, X):
        """Return waveforms whose features are close to given ones.

        Parameters
        ----------
        X : array or tensor of shape (n_clips, ...)
            Standardised features, as the extractor gives them.

        Returns
        -------
        waveforms : ndarray of float32, shape (n_clips, n_samples)
            In the units of the clips that the extractor heard, not normalised.

        Raises
        ------
        ValueError
            If the features have another shape, or contain NaN, infinity or absurdly large values,
            or if the extractor, a :class:`Chromagram`, has forgotten the spectrum.
        """
        self._validate_params()
        _check_extractor(self.extractor)
        X = _check_features(X, self.extractor.feature_shape_)
        seed = check_random_state(self.random_state).randint(2**31)
        n_samples = self.extractor.n_samples_
        waveforms = np.empty((len(X), n_samples), dtype=np.float32)
        reconstruct = partial(self._reconstruct, seed=seed)
        for start in range(0, len(X), self.batch_size):
            rows = slice(start, start + self.batch_size)
            batch = X[rows].to(resolve_device(self.device))
            with torch.no_grad():
                waveforms[rows] = a_few_at_a_time(reconstruct, batch, n_samples).cpu().numpy()
        return waveforms

    def _reconstruct(self, X, seed):
        """Algorithm 2: a batch of features to waveforms."""
        extractor = self.extractor
        emphasized = griffin_lim(
            extractor.magnitude(X),
            n_samples=extractor.n_samples_,
            n_fft=extractor.n_fft_,
            frame_length=extractor.frame_length_,
            hop_length=extractor.hop_length_,
            n_iter=self.n_iter,
            momentum=self.momentum,
            generator=torch.Generator().manual_seed(seed),
        )
        return deemphasize(emphasized, extractor.pre_emphasis)

    def __sklearn_is_fitted__(self):
        """Return True: there is nothing to learn."""
        return True

    def __sklearn_tags__(self):
        """Say that `fit` is not needed."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags


def _check_extractor(extractor):
    """Refuse what is not fitted, or not invertible."""
    if not hasattr(extractor, "magnitude"):
        msg = (
            "GriffinLimInverter needs an extractor whose features hold a spectrum, such as "
            f"FDMFCC; got {extractor=}."
        )
        raise ValueError(msg)
    check_is_fitted(extractor)


def _check_features(X, feature_shape):
    """Return features as a float32 tensor, finite and of the right shape."""
    X = X.detach().float() if torch.is_tensor(X) else torch.from_numpy(np.array(X, np.float32))
    if X.shape[1:] != feature_shape:
        msg = (
            f"expected features of shape (n_clips, {', '.join(map(str, feature_shape))}), as this "
            f"extractor gives them, got {tuple(X.shape)}."
        )
        raise ValueError(msg)
    sound = (X.abs() < _ABSURD).flatten(1).all(dim=1)  # false for NaN
    if not sound.all():
        index = int(sound.int().argmin())
        msg = f"clip {index} contains NaN, infinity or features beyond {_ABSURD:g}; leave it out."
        raise ValueError(msg)
    return X
