"""Spectrograms: steps 1 to 6 of FD-MFCC, through mel filters or the twelve pitch classes."""

from numbers import Integral, Real

import torch

from sklearn_ddfad._validation import Interval
from sklearn_ddfad.feature_extraction._base import BaseExtractor
from sklearn_ddfad.feature_extraction._functions import (
    chroma_filter_bank,
    db_to_power,
    mel_filter_bank,
    power_to_db,
)


class MelExtractor(BaseExtractor):
    """What extractors that hear through mel filters share: the filters, and the way back."""

    _parameter_constraints: dict = {
        **BaseExtractor._parameter_constraints,
        "n_mels": [Interval(Integral, 1, None, closed="left")],
        "f_min": [Interval(Real, 0, None, closed="left")],
        "f_max": [Interval(Real, 0, None, closed="neither"), None],
    }

    def bank(self, like):
        """Return the mel filters, shape ``(n_mels, n_bins)``, as a tensor like `like`."""
        return mel_filter_bank(
            self.sample_rate_, self.n_fft_, self.n_mels, self.f_min, self.f_max
        ).to(like)

    def magnitude(self, X):
        """Return the magnitudes of the short-time spectrum that features stand for.

        Parameters
        ----------
        X : array or tensor of shape (n_clips, ...)
            Standardised features.

        Returns
        -------
        magnitude : torch.Tensor of shape (n_clips, n_bins, n_frames)
        """
        from sklearn_ddfad.reconstruction import mel_to_magnitude

        mel = db_to_power(self._audible(self.log_mel(X)))
        return mel_to_magnitude(mel, self.bank(mel))

    def _check_geometry(self):
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
        n_deaf = int((self.bank(torch.zeros(())).amax(dim=1) == 0).sum())
        if n_deaf:
            msg = (
                f"{n_deaf} of n_mels={self.n_mels} bands between f_min={self.f_min} and "
                f"f_max={f_max} Hz hold no frequency of frames of {self.frame_length_} samples; "
                "use fewer bands, a wider range or longer frames."
            )
            raise ValueError(msg)


class LogMelSpectrogram(MelExtractor):
    """The power in mel bands, in dB: steps 1 to 6 of FD-MFCC.

    What most networks for audio listen to: nothing is smoothed, and neighbouring bands are free to
    say nearly the same. Recordings come in as in :class:`FDMFCC`.

    Parameters
    ----------
    sample_rate, duration, standardize, layout, mono, batch_size, device, n_jobs
        As in :class:`FDMFCC`.
    frame_length, hop_length : float, default=0.02 and 0.0125
        Seconds; the FFT takes the next power of two samples.
    n_mels : int, default=40
        Mel bands, at most half the number of FFT frequencies.
    f_min, f_max : float, default=0.0 and None
        Range of the mel bands in Hz; ``None`` is half the sample rate.
    pre_emphasis : float in [0, 1), default=0.0
        Coefficient of step 1. Left out by default, as is customary for spectrograms: it tilts
        them, which cepstra profit from and the standardisation of each band undoes.
    top_db : float or None, default=80.0
        Dynamic range: nothing lies further than this under the loudest value of its clip.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (1, n_mels, 1)
        The standardisation; the geometry is as in :class:`FDMFCC`.

    See Also
    --------
    MFCC : The same, smoothed and made nearly independent.

    Examples
    --------
    >>> from sklearn_ddfad import LogMelSpectrogram
    >>> from sklearn_ddfad.datasets import make_audio_classification
    >>> clips, labels = make_audio_classification(20, random_state=0)
    >>> LogMelSpectrogram(duration=0.5).fit_transform(clips).shape
    (20, 1, 40, 41)
    """

    def __init__(
        self,
        sample_rate=None,
        *,
        duration="auto",
        frame_length=0.02,
        hop_length=0.0125,
        n_mels=40,
        f_min=0.0,
        f_max=None,
        pre_emphasis=0.0,
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
        """Steps 1 to 6: ``(n, n_samples)`` to ``(n, 1, n_mels, n_frames)``."""
        return power_to_db(self._bands(waveforms), self.top_db)[:, None]

    def log_mel(self, X):
        """Return the mel spectrogram, in dB, that features stand for.

        Parameters
        ----------
        X : array or tensor of shape (n_clips, ...)
            Standardised features.

        Returns
        -------
        decibels : torch.Tensor of shape (n_clips, n_mels, n_frames)
        """
        return self.raw_planes(X)[:, 0]


class Chromagram(BaseExtractor):
    """The power in the twelve pitch classes, C to B, in dB: harmony without octave or timbre.

    Every frequency counts for the pitch class nearest to it in equal temperament, A at 440 Hz,
    those around A5 (880 Hz) most [1]_. Recordings come in as in :class:`FDMFCC`.

    Not invertible: which octave a pitch was in is forgotten.

    Parameters
    ----------
    sample_rate, duration, standardize, layout, mono, batch_size, device, n_jobs
        As in :class:`FDMFCC`.
    frame_length, hop_length : float, default=0.128 and 0.0125
        Seconds; the FFT takes the next power of two samples. Two tones are told apart if they are
        ``2 / frame_length`` Hz apart: with 0.128 s, semitones from middle C (262 Hz) on. Frames of
        20 ms, as of the other extractors, tell none apart under 1700 Hz.
    pre_emphasis : float in [0, 1), default=0.0
        Coefficient of step 1; 0 leaves it out, as is customary for pitch.
    top_db : float or None, default=80.0
        Dynamic range: nothing lies further than this under the loudest value of its clip.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (1, 12, 1)
        The standardisation; the geometry is as in :class:`FDMFCC`.

    References
    ----------
    .. [1] D. Ellis, "Chroma feature analysis and synthesis", 2007; ``librosa.filters.chroma``.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_ddfad import Chromagram
    >>> time = np.arange(4000) / 8000
    >>> tones = [np.sin(2 * np.pi * frequency * time) for frequency in (440, 880, 523.25)]
    >>> chroma = Chromagram(standardize=False).fit_transform(tones)
    >>> chroma.shape
    (3, 1, 12, 41)
    >>> chroma[:, 0].mean(axis=2).argmax(axis=1)  # A, A, C
    array([9, 9, 0])
    """

    def __init__(
        self,
        sample_rate=None,
        *,
        duration="auto",
        frame_length=0.128,
        hop_length=0.0125,
        pre_emphasis=0.0,
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
        self.pre_emphasis = pre_emphasis
        self.top_db = top_db
        self.standardize = standardize
        self.layout = layout
        self.mono = mono
        self.batch_size = batch_size
        self.device = device
        self.n_jobs = n_jobs

    def bank(self, like):
        """Return the filters of the pitch classes, ``(12, n_bins)``, as a tensor like `like`."""
        return chroma_filter_bank(self.sample_rate_, self.n_fft_).to(like)

    def _planes(self, waveforms):
        """Return ``(n, 1, 12, n_frames)`` of ``(n, n_samples)``."""
        return power_to_db(self._bands(waveforms), self.top_db)[:, None]

    def _check_geometry(self):
        widest_semitone = self.sample_rate_ / 2 * (1 - 2 ** (-1 / 12))  # the highest there is
        if self.frame_length_ * widest_semitone < 2 * self.sample_rate_:
            msg = (
                f"frames of frame_length={self.frame_length} s tell no semitones apart at "
                f"{self.sample_rate_} Hz; use 0.1 s and more, at least {2 / widest_semitone:.2g} s."
            )
            raise ValueError(msg)
