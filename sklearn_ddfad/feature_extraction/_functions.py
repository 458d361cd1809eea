"""The equations: from waveforms to features, as differentiable torch functions on batches.

The nine steps of FD-MFCC come first, in the order of the DDFAD paper (section 3.2), then what the
other features do in place of steps 5 to 7. All run wherever their input lives. Letters used in
shapes: n_clips, n_samples, n_frames, n_bins, n_mels, n_mfcc, order.
"""

import warnings
from functools import lru_cache

import torch
from torch.nn import functional as F

_POWER_FLOOR = 1e-10  # -100 dB, as in librosa
_ROUNDING = 1e-9  # of a frame's power, white noise that keeps linear prediction well-posed
_SAMPLES_AT_A_TIME = 2**17  # their spectra take about a megabyte


def _remembered(function):
    """Keep the tensors that a function returns; gradients may pass them, whoever asked first."""
    return lru_cache(maxsize=32)(torch.inference_mode(False)(function))


# ------------------------------------------------------------------------------------------
# The nine steps of FD-MFCC
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


@_remembered
def mel_filter_bank(sample_rate, n_fft, n_mels, f_min=0.0, f_max=None):
    """Step 5: triangular filters on the mel scale (Slaney), shape ``(n_mels, n_bins)``."""
    import librosa  # here, since its first use takes seconds

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of filters between two frequencies: refused by extractors
        bank = librosa.filters.mel(
            sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=f_min, fmax=f_max
        )
    return torch.from_numpy(bank)


@_remembered
def chroma_filter_bank(sample_rate, n_fft):
    """In place of step 5: the twelve pitch classes, C first, shape ``(12, n_bins)``."""
    import librosa

    return torch.from_numpy(librosa.filters.chroma(sr=sample_rate, n_fft=n_fft))


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


@_remembered
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


@_remembered
def hann_window(length, dtype, device):
    """Step 3: the window of a frame, shape ``(length,)``."""
    return torch.hann_window(length, dtype=dtype, device=device)


# ------------------------------------------------------------------------------------------
# Linear prediction
# ------------------------------------------------------------------------------------------


@_remembered
def cosines(n_lags, n_fft):
    """Return ``cos(2 pi k b / n_fft)`` for lags ``k`` and bins ``b``: ``(n_lags, n_bins)``."""
    k = torch.arange(n_lags, dtype=torch.float64)[:, None]
    b = torch.arange(n_fft // 2 + 1, dtype=torch.float64)
    return torch.cos(2 * torch.pi / n_fft * k * b)


@_remembered
def autocorrelation_bank(n_lags, n_fft):
    """Return what turns power spectra into autocorrelations, shape ``(n_lags, n_bins)``.

    The first rows of the inverse FFT. It is the frame's own autocorrelation as long as no lag
    reaches around: for frames of at most ``n_fft - n_lags + 1`` samples.
    """
    counts = torch.full((n_fft // 2 + 1,), 2 / n_fft, dtype=torch.float64)
    counts[0] /= 2  # inner frequencies stand for two
    if n_fft % 2 == 0:
        counts[-1] /= 2
    return counts * cosines(n_lags, n_fft)


def add_white_noise(autocorrelation, top_db=None):
    """Add noise of -100 dB to frames, and ``top_db`` under the loudest frame of the clip.

    Noise is uncorrelated: only lag 0 grows. Silence becomes flat, and no frame can be predicted
    better than down to the noise.
    """
    level, lags = autocorrelation[:1], autocorrelation[1:]
    noise = _POWER_FLOOR + _ROUNDING * level
    if top_db is not None:
        noise = noise + level.amax(dim=-1, keepdim=True) * 10 ** (-top_db / 10)
    return torch.cat([level + noise, lags])


def linear_prediction(autocorrelation):
    """Return the all-pole model of frames, by the recursion of Levinson and Durbin [1]_.

    Parameters
    ----------
    autocorrelation : torch.Tensor of shape (order + 1, ...)
        Lags 0 to `order`, positive definite: of any frame but a silent one.

    Returns
    -------
    coefficients : torch.Tensor of shape (order, ...)
        ``x[t]`` is predicted as ``a[0] x[t - 1] + a[1] x[t - 2] + ...``; the zeros of what is left,
        ``A(z) = 1 - a[0] / z - a[1] / z**2 - ...``, lie inside the unit circle.
    gain : torch.Tensor of shape (...)
        The power that is left: ``gain / |A|**2`` is the envelope of the power spectrum.

    References
    ----------
    .. [1] L. R. Rabiner and R. W. Schafer, "Digital processing of speech signals", 1978,
       section 8.3.2.

    Examples
    --------
    Of a process in which each sample is half the one before, plus noise:

    >>> import torch
    >>> linear_prediction(torch.tensor([1, 0.5, 0.25]))
    (tensor([0.5000, 0.0000]), tensor(0.7500))
    """
    coefficients, gain = autocorrelation[:0], autocorrelation[0]
    order, backwards = len(autocorrelation) - 1, autocorrelation.flip(0)
    for m in range(1, order + 1):
        predicted = (coefficients * backwards[order + 1 - m : order]).sum(dim=0)
        reflection = (autocorrelation[m] - predicted) / gain
        refined = torch.addcmul(coefficients, coefficients.flip(0), reflection, value=-1)
        coefficients = torch.cat([refined, reflection[None]])
        gain = gain * (1 - reflection.square())
    return coefficients, gain


def prediction_to_cepstra(coefficients, gain, n_cepstra):
    """Return the cepstra ``c`` of all-pole models [1]_.

    The logarithm of ``gain / |A|**2`` is ``c[0] + 2 c[1] cos(w) + 2 c[2] cos(2 w) + ...``, without
    end; ``c[0]`` is the logarithm of the gain.

    Parameters
    ----------
    coefficients, gain : torch.Tensor of shape (order, ...) and (...)
        As from :func:`linear_prediction`.
    n_cepstra : int
        How many.

    Returns
    -------
    cepstra : torch.Tensor of shape (n_cepstra, ...)

    References
    ----------
    .. [1] L. Rabiner and B.-H. Juang, "Fundamentals of speech recognition", 1993, Eq. 3.83.

    Examples
    --------
    >>> import torch
    >>> prediction_to_cepstra(torch.tensor([0.5]), torch.tensor(1.0), 4)  # 1/2, 1/2**2/2, ...
    tensor([0.0000, 0.5000, 0.1250, 0.0417])
    """
    n = n_cepstra - 1
    beyond = coefficients.new_zeros(max(0, n - len(coefficients)), *gain.shape)
    a = torch.cat([coefficients[:n], beyond])
    backwards = a.flip(0)
    weighted = a[:0]  # k c[k] for k = 1, 2, ...
    for m in range(1, n_cepstra):
        known = (weighted * backwards[n + 1 - m : n]).sum(dim=0)
        weighted = torch.cat([weighted, known.add(a[m - 1], alpha=m)[None]])
    k = torch.arange(1, n_cepstra).to(a).reshape(-1, *[1] * gain.dim())
    return torch.cat([gain.log()[None], weighted / k])


def lpcc(autocorrelation, n_lpcc, top_db=None):
    """Return linear prediction cepstra: ``(n, order + 1, n_frames)`` to ``(n, n_lpcc, n_frames)``.

    In double precision, as the autocorrelation of frames with strong resonances needs.
    """
    lags = add_white_noise(autocorrelation.movedim(1, 0).contiguous(), top_db)
    coefficients, gain = linear_prediction(lags)
    return prediction_to_cepstra(coefficients, gain, n_lpcc).movedim(0, 1)
