"""Raw samples: clips are what an extractor hears of them."""

from copy import deepcopy
from dataclasses import dataclass
from math import floor
from numbers import Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch.nn import functional as F

from sklearn_ddfad._validation import Interval, StrOptions, resolve_device
from sklearn_ddfad.feature_extraction import (
    a_few_at_a_time,
    db_to_power,
    extractor_from_state,
)
from sklearn_ddfad.parameterization._base import Decoder, Parameterization, budget
from sklearn_ddfad.reconstruction import deemphasize, griffin_lim, mel_to_magnitude

_STEPS = 2**15  # of 16-bit audio, between silence and full scale
_FAINT = 0.001  # of full scale: where the scale of learned numbers becomes logarithmic
_LOUDEST = 0.999  # of full scale, which a finite number never reaches
_LOOKED_AT, _ABSURD = 10, 10.0  # clips that tell whether recordings are in another unit
_ANOTHER = 0.8  # of their size; of sounds cut short an extractor misses half of what it heard


class Waveform(Parameterization):
    """Raw samples; clips are what the extractor, which is differentiable, hears of them [1]_.

    A set that is kept so is sound. Samples are rounded as 16-bit files hold them, so that what
    comes back from exported files is heard as exactly the clips that were learned. A second takes
    as many numbers as its sample rate. Clips shorter than those the extractor hears stand in the
    middle of silence, as short recordings do, and more of them fit: few long ones or many short
    ones.

    Samples lie within [-1, 1]. What is learned is their size on a scale that is logarithmic but
    for faint ones, as in telephony: a step changes a loud sample more than a faint one.

    Parameters
    ----------
    extractor : FDMFCC, MFCC, LPCC, LogMelSpectrogram or Chromagram, fitted
        What made the features that the distiller is fitted on, in any layout. Where estimators are
        cloned, as in ``GridSearchCV``, a fitted extractor stays fitted inside
        :class:`sklearn.frozen.FrozenEstimator`.
    duration : "auto" or float, default="auto"
        Seconds of a clip, at most what the extractor hears. ``"auto"`` is as long as there are
        `cpc` clips a class.

    References
    ----------
    .. [1] DisTrack: dataset distillation of audio by distribution matching, 2025,
       https://github.com/IsitaRex/DisTrack: its waveform domain and temporal condensation.

    Examples
    --------
    >>> from sklearn_ddfad import FDMFCC, DistributionDistiller, Waveform
    >>> from sklearn_ddfad.datasets import make_audio_classification
    >>> clips, labels = make_audio_classification(60, random_state=0)
    >>> extractor = FDMFCC(duration=0.5)
    >>> X = extractor.fit_transform(clips)
    >>> waveforms = Waveform(extractor, duration=0.1)
    >>> distiller = DistributionDistiller(1, parameterization=waveforms, max_iter=2, random_state=0)
    >>> distiller.fit(X, labels).transform().shape  # 800 samples, where one clip has 1968 features
    torch.Size([20, 3, 16, 41])
    >>> distiller.distilled_.to_audio().shape
    (20, 4000)
    """

    _parameter_constraints: ClassVar[dict] = {
        "extractor": "no_validation",  # see _check_extractor
        "duration": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
    }

    def __init__(self, extractor, duration="auto"):
        self.extractor = extractor
        self.duration = duration

    def plan(self, X, codes, cpc):
        """Return a decoder that listens to samples.

        Raises
        ------
        ValueError
            If what the extractor hears of sounds like the features is far from them, so that it
            cannot have made them, if they are of recordings far beyond [-1, 1], or if not one clip
            of `duration` fits.
        NotFittedError
            If it is not fitted.
        """
        self._validate_params()
        self._check_extractor(X)
        room = budget(X, codes, cpc) // (int(codes.max()) + 1)
        n_samples = self._n_samples(room, cpc)
        extractor = deepcopy(self.extractor)  # a later refit is not ours
        decoder = WaveformDecoder(room // n_samples, n_samples, extractor)
        self._check_sounds(decoder, X[:_LOOKED_AT])
        return decoder

    def _check_sounds(self, decoder, clips):
        """Refuse features whose sounds are far too loud, or heard as something else."""
        sounds = decoder.sounding_like(clips)
        peak = np.abs(sounds).max()
        if peak > _ABSURD:
            msg = (
                f"Waveform keeps samples within [-1, 1], and these features are of recordings that "
                f"peak at about {peak:.3g}; scale the recordings."
            )
            raise ValueError(msg)
        with torch.no_grad():
            heard = decoder.heard(torch.from_numpy(sounds))
        # Of the first plane: its differences are large where a sound is cut, and say no more.
        heard, clips = (self.extractor._as_planes(X)[:, 0].numpy() for X in (heard, clips))
        missed = np.sqrt(np.mean(np.square(heard - clips)) / np.mean(np.square(clips)))
        if missed > _ANOTHER:
            msg = (
                f"the extractor of Waveform, {self.extractor!r}, has not made these features: what "
                f"it hears of sounds like them is off by {missed:.2g} times their size; give it "
                "the one that made them, as it was fitted then."
            )
            raise ValueError(msg)

    def _check_extractor(self, X):
        """Refuse what is no extractor, is not fitted, or makes features of another shape."""
        if not hasattr(self.extractor, "extract"):
            msg = (
                "Waveform needs the fitted extractor that made the features, such as FDMFCC; got "
                f"extractor={self.extractor!r}."
            )
            raise ValueError(msg)
        check_is_fitted(
            self.extractor,
            msg="the extractor of Waveform, %(name)s, is not fitted; fit it first, and put it into "
            "sklearn.frozen.FrozenEstimator where estimators are cloned.",
        )
        if X.shape[1:] != tuple(self.extractor.feature_shape_):
            msg = (
                f"the extractor of Waveform makes features of shape {self.extractor.feature_shape_}"
                f", these are of shape {X.shape[1:]}; give it the one that made them."
            )
            raise ValueError(msg)

    def _n_samples(self, room, cpc):
        """Return how many samples a clip has, where `room` is left for all those of a class."""
        rate, longest = self.extractor.sample_rate_, self.extractor.n_samples_
        if self.duration == "auto":
            return min(longest, room // cpc)
        n_samples = max(1, round(self.duration * rate))
        if n_samples > longest:
            msg = (
                f"duration={self.duration} is longer than the {longest / rate:.4g} s that the "
                "extractor hears of a clip; lower it, or use 'auto'."
            )
            raise ValueError(msg)
        if n_samples > room:
            fits = floor(1e4 * room / rate) / 1e4
            msg = (
                f"a clip of duration={self.duration} has {n_samples} samples, and cpc={cpc} leaves "
                f"room for {room} in each class; use duration={fits:g} or less, 'auto', or a "
                "higher cpc."
            )
            raise ValueError(msg)
        return n_samples


@dataclass
class WaveformDecoder(Decoder):
    """Clips are what an extractor hears of samples in the middle of silence."""

    # A step of 0.05 would change all loud samples by 5 %, which is noise 26 dB below them.
    rates: ClassVar[dict[str, float]] = {"samples": 0.2}

    clips_per_class: int
    n_samples: int  # of a clip, without the silence
    extractor: Any  # a BaseExtractor, maybe frozen

    def encode(self, clips, codes):
        """Return the loudest part of sounds that are heard as the clips, by Griffin-Lim."""
        return {"samples": _compressed(_loudest_part(self.sounding_like(clips), self.n_samples))}

    @torch.no_grad()
    def sounding_like(self, clips):
        """Return waveforms that are heard as given features, by Griffin-Lim, of full length."""
        features = torch.from_numpy(clips).to(resolve_device(self.extractor.device))
        n_samples = self.extractor.n_samples_
        return a_few_at_a_time(self._reconstructed, features, n_samples).cpu().numpy()

    def _reconstructed(self, X):
        """Algorithm 2, from magnitudes on."""
        extractor = self.extractor
        emphasized = griffin_lim(
            _magnitude(extractor, X),
            n_samples=extractor.n_samples_,
            n_fft=extractor.n_fft_,
            frame_length=extractor.frame_length_,
            hop_length=extractor.hop_length_,
            generator=torch.Generator().manual_seed(0),
        )
        return deemphasize(emphasized, extractor.pre_emphasis)

    def decode(self, numbers):
        """Return what is heard of the samples."""
        return self.heard(self._waveforms(numbers["samples"]))

    def heard(self, waveforms):
        """Return what the extractor hears of waveforms of full length."""
        planes = a_few_at_a_time(self.extractor.extract, waveforms, self.extractor.n_samples_)
        return planes.reshape(-1, *self.extractor.feature_shape_)

    def sounds(self, numbers):
        """Return the waveforms of numbers: float32, as long as the clips that the extractor hears.

        Parameters
        ----------
        numbers : dict of ndarray of float32
            By name.

        Returns
        -------
        waveforms : ndarray of float32, shape (n_clips, n_samples)
        """
        return self._waveforms(torch.from_numpy(numbers["samples"])).numpy()

    def _waveforms(self, samples):
        silence = self.extractor.n_samples_ - self.n_samples
        return F.pad(_rounded(_expanded(samples)), (silence // 2, silence - silence // 2))

    def record(self):
        """Return number and length of clips, and the extractor."""
        extractor, arrays = self.extractor.state()
        lengths = {"clips_per_class": self.clips_per_class, "n_samples": self.n_samples}
        return {**lengths, "extractor": extractor}, arrays

    @classmethod
    def from_record(cls, record, arrays):
        """Return the decoder that :meth:`record` described."""
        return cls(**record | {"extractor": extractor_from_state(record["extractor"], arrays)})


def _expanded(numbers):
    """Return samples, within [-1, 1], of learned numbers: a tensor."""
    return torch.tanh(_FAINT * torch.sinh(numbers))


def _rounded(samples):
    """Return samples as a 16-bit file holds them; the gradient is that of what they were."""
    steps = (samples.detach() * _STEPS).round().clamp(max=_STEPS - 1)
    return steps / _STEPS + (samples - samples.detach())


def _compressed(samples):
    """Undo :func:`_expanded`: an array; what is louder than full scale is cut."""
    return np.arcsinh(np.arctanh(samples.clip(-_LOUDEST, _LOUDEST)) / _FAINT)


def _magnitude(extractor, X):
    """Return magnitudes that are heard as features; where these are of pitch, in any octave."""
    if hasattr(extractor, "magnitude"):
        return extractor.magnitude(X)
    power = db_to_power(extractor.raw_planes(X)[:, 0])
    return mel_to_magnitude(power, extractor.bank(power))


def _loudest_part(waveforms, n_samples):
    """Return those `n_samples` samples in a row of each waveform that have the most power."""
    energy = np.cumsum(np.square(waveforms, dtype=np.float64), axis=1)
    energy = np.pad(energy, [(0, 0), (1, 0)])
    first = (energy[:, n_samples:] - energy[:, :-n_samples]).argmax(axis=1)
    return np.take_along_axis(waveforms, first[:, None] + np.arange(n_samples), axis=1)
