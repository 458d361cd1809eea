"""Cepstra: of the mel spectrum, with and without differences, and of the all-pole model."""

from numbers import Integral

import torch

from sklearn_ddfad._validation import Interval
from sklearn_ddfad.feature_extraction._base import BaseExtractor
from sklearn_ddfad.feature_extraction._functions import (
    along_frequency,
    autocorrelation_bank,
    db_to_power,
    dct_matrix,
    fuse,
    lpcc,
    power_to_db,
    unfuse,
)
from sklearn_ddfad.feature_extraction._spectra import MelExtractor


class MFCC(MelExtractor):
    """Mel-frequency cepstral coefficients: steps 1 to 7 of FD-MFCC [1]_.

    The smooth part of the spectrum that ears hear, in few and nearly independent numbers.
    Recordings come in as in :class:`FDMFCC`, whose first plane this is.

    Parameters
    ----------
    sample_rate, duration, standardize, layout, mono, batch_size, device, n_jobs
        As in :class:`FDMFCC`.
    frame_length, hop_length, n_mfcc, n_mels, f_min, f_max, pre_emphasis, top_db
        As in :class:`FDMFCC`.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (1, n_mfcc, 1)
        The standardisation; the geometry is as in :class:`FDMFCC`.

    See Also
    --------
    FDMFCC : The same with its differences.

    References
    ----------
    .. [1] S. Davis and P. Mermelstein, "Comparison of parametric representations for monosyllabic
       word recognition in continuously spoken sentences", IEEE Transactions on Acoustics, Speech,
       and Signal Processing, 1980.

    Examples
    --------
    >>> from sklearn_ddfad import MFCC
    >>> from sklearn_ddfad.datasets import make_audio_classification
    >>> clips, labels = make_audio_classification(20, random_state=0)
    >>> MFCC(duration=0.5).fit_transform(clips).shape
    (20, 1, 16, 41)
    """

    _parameter_constraints: dict = {
        **MelExtractor._parameter_constraints,
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
        """Steps 1 to 7: ``(n, n_samples)`` to ``(n, 1, n_mfcc, n_frames)``."""
        decibels = power_to_db(self._bands(waveforms), self.top_db)
        cepstra = along_frequency(dct_matrix(self.n_mfcc, self.n_mels).to(decibels), decibels)
        return cepstra[:, None]

    def cepstra(self, X):
        """Return the cepstra that features stand for, without standardisation.

        Parameters
        ----------
        X : array or tensor of shape (n_clips, ...)
            Standardised features.

        Returns
        -------
        cepstra : torch.Tensor of shape (n_clips, n_mfcc, n_frames)
        """
        return self.raw_planes(X)[:, 0]

    def log_mel(self, X):
        """Return the mel spectrogram, in dB, that features stand for, by the inverse DCT.

        Parameters
        ----------
        X : array or tensor of shape (n_clips, ...)
            Standardised features.

        Returns
        -------
        decibels : torch.Tensor of shape (n_clips, n_mels, n_frames)
        """
        cepstra = self.cepstra(X)
        return dct_matrix(self.n_mfcc, self.n_mels).to(cepstra).mT @ cepstra

    def _check_geometry(self):
        super()._check_geometry()
        if self.n_mfcc > self.n_mels:
            msg = f"n_mfcc={self.n_mfcc} must be at most n_mels={self.n_mels}."
            raise ValueError(msg)


class FDMFCC(MFCC):
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
    MFCC, LPCC, LogMelSpectrogram, Chromagram : Other ways to hear.
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

    def _planes(self, waveforms):
        """Steps 1 to 9: ``(n, n_samples)`` to ``(n, 3, n_mfcc, n_frames)``."""
        return fuse(super()._planes(waveforms)[:, 0])

    def cepstra(self, X):
        """Return the MFCC that features stand for: the three planes are brought back to one.

        The first step of Algorithm 2: least squares over Eq. 1 and 2 in standardised units.

        Parameters
        ----------
        X : array or tensor of shape (n_clips, ...)
            Standardised features.

        Returns
        -------
        cepstra : torch.Tensor of shape (n_clips, n_mfcc, n_frames)
        """
        return unfuse(self.raw_planes(X), torch.from_numpy(self.scale_[..., 0] ** -2))


class LPCC(BaseExtractor):
    """Linear prediction cepstral coefficients: the cepstrum of each frame's all-pole model.

    Every sample is predicted from the `order` before it, by the filter that leaves the least power
    unpredicted: it stands for the resonances of a vocal tract [1]_. Steps 1 to 4 are those of
    FD-MFCC; then the autocorrelation, the recursion of Levinson and Durbin, and that from the
    filter to its cepstrum [2]_. Coefficient 0 is the logarithm of the unpredicted power: loudness
    is kept. Recordings come in as in :class:`FDMFCC`.

    Parameters
    ----------
    sample_rate, duration, standardize, layout, mono, batch_size, device, n_jobs
        As in :class:`FDMFCC`.
    frame_length, hop_length : float, default=0.02 and 0.0125
        Seconds; the FFT takes the next power of two samples that has room for the lags, too.
    order : int, default=12
        Samples to predict from: two for each resonance and a few more. 12 is customary at
        8000 Hz; each further 1000 Hz of sample rate takes one more.
    n_lpcc : int, default=16
        Cepstral coefficients kept; more than `order` say all that there is to know.
    pre_emphasis : float in [0, 1), default=0.97
        Coefficient of step 1; 0 leaves it out.
    top_db : float or None, default=80.0
        Dynamic range: white noise this far under the loudest frame of its clip is added to the
        power spectrum of each frame, so that what is silent is flat.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (1, n_lpcc, 1)
        The standardisation; the geometry is as in :class:`FDMFCC`.

    See Also
    --------
    MFCC : Cepstra of what ears hear.

    References
    ----------
    .. [1] L. R. Rabiner and R. W. Schafer, "Digital processing of speech signals", 1978,
       chapter 8.
    .. [2] L. Rabiner and B.-H. Juang, "Fundamentals of speech recognition", 1993, section 3.3.7.

    Examples
    --------
    >>> from sklearn_ddfad import LPCC
    >>> from sklearn_ddfad.datasets import make_audio_classification
    >>> clips, labels = make_audio_classification(20, random_state=0)
    >>> LPCC(duration=0.5).fit_transform(clips).shape
    (20, 1, 16, 41)
    """

    _parameter_constraints: dict = {
        **BaseExtractor._parameter_constraints,
        "order": [Interval(Integral, 1, None, closed="left")],
        "n_lpcc": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        sample_rate=None,
        *,
        duration="auto",
        frame_length=0.02,
        hop_length=0.0125,
        order=12,
        n_lpcc=16,
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
        self.order = order
        self.n_lpcc = n_lpcc
        self.pre_emphasis = pre_emphasis
        self.top_db = top_db
        self.standardize = standardize
        self.layout = layout
        self.mono = mono
        self.batch_size = batch_size
        self.device = device
        self.n_jobs = n_jobs

    def bank(self, like):
        """Return what turns power spectra into autocorrelations, ``(order + 1, n_bins)``."""
        return autocorrelation_bank(self.order + 1, self.n_fft_).to(like)

    def _power(self, waveforms):
        """Steps 1 to 4, in double precision from here on."""
        return super()._power(waveforms).double()

    def _planes(self, waveforms):
        """Return ``(n, 1, n_lpcc, n_frames)`` of ``(n, n_samples)``."""
        cepstra = lpcc(self._bands(waveforms), self.n_lpcc, self.top_db)
        return cepstra[:, None].to(waveforms.dtype)

    def log_spectrum(self, X):
        """Return the power spectra, in dB, that features stand for.

        Parameters
        ----------
        X : array or tensor of shape (n_clips, ...)
            Standardised features.

        Returns
        -------
        decibels : torch.Tensor of shape (n_clips, n_bins, n_frames)
        """
        from sklearn_ddfad.reconstruction import lpcc_to_db

        return lpcc_to_db(self.raw_planes(X)[:, 0], order=self.order, n_fft=self.n_fft_)

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
        return db_to_power(self._audible(self.log_spectrum(X)) / 2)

    def _n_fft_samples(self):
        return self.frame_length_ + self.order  # so that no lag reaches around

    def _check_geometry(self):
        if self.order >= self.frame_length_:
            msg = (
                f"order={self.order} must be less than the {self.frame_length_} samples of a frame;"
                " lower it, or take longer frames."
            )
            raise ValueError(msg)
