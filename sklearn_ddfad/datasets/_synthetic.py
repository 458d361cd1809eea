"""A made-up audio classification task: a small formant synthesiser speaks invented words.

A class is a word: a point in a space of sixteen voice parameters (glides of pitch and formants,
tremolo, vibrato, a burst of noise). A clip is that word said once: the point jittered, in one of a
few voices, at its own pace, level and place in time, over a noise floor.
"""

from itertools import pairwise
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state, check_scalar

Floats = NDArray[np.floating]

# What a word is made of and how far words range. In between, scales are logarithmic, as in ears.
_RANGES = {
    "pitch_begin": (90.0, 250.0),  # Hz
    "pitch_end": (90.0, 250.0),
    "formant_1_begin": (250.0, 850.0),
    "formant_1_end": (250.0, 850.0),
    "formant_2_begin": (850.0, 2100.0),
    "formant_2_end": (850.0, 2100.0),
    "formant_3_begin": (2200.0, 3400.0),
    "formant_3_end": (2200.0, 3400.0),
    "tremolo_rate": (3.0, 12.0),  # Hz
    "tremolo_depth": (0.1, 0.9),  # of the amplitude
    "vibrato_rate": (3.0, 9.0),  # Hz
    "vibrato_depth": (0.005, 0.08),  # of the pitch
    "burst_place": (0.1, 0.9),  # of the word
    "burst_width": (0.02, 0.1),  # of the word
    "burst_frequency": (900.0, 3500.0),  # Hz
    "burst_level": (0.075, 0.75),  # of the voice
}
_LOW, _HIGH = np.array(list(_RANGES.values())).T

# The nuisances; what makes ten clips per class too few and a few hundred enough.
_JITTER = 0.1  # standard deviation of every word parameter, in parts of its range
_VOICE_SPREAD = np.array([0.4, 0.15])  # octaves up or down: pitch, formants
_PACE_SPREAD = 0.3  # a word is warped in time, u ** 2 ** N(0, 0.3)
_SHORTEST_SHARE = 0.6  # of a clip; the word fills it at most
_PEAKS = (0.05, 0.95)  # of a clip, log-uniform

# Resonators: three for the voice, one for the burst.
_BANDWIDTHS = np.array([80.0, 120.0, 200.0, 300.0])  # Hz
_LEVELS = np.array([1.0, 0.6, 0.3, 1.0])
_BATCH_SAMPLES = 2**20  # samples synthesised side by side: bounds the memory at some 100 MB


def make_audio_classification(
    n_samples: int = 1000,
    *,
    n_classes: int = 10,
    n_speakers: int = 6,
    duration: tuple[float, float] = (0.3, 0.8),
    sample_rate: int = 8000,
    class_sep: float = 1.0,
    noise: float = 0.1,
    return_groups: bool = False,
    random_state: int | np.random.RandomState | None = None,
) -> tuple[Any, ...]:
    """Generate a random audio classification problem of spoken, invented words.

    Every class differs from the others in its glides of pitch and of three formants, its tremolo
    and vibrato, and the place, width, spectrum and level of a burst of noise. Clips of one class
    differ in speaker, pace, level, length, onset and noise floor, and in a jitter of everything
    that makes the class. With the defaults a support vector machine on cepstra scores about 70 %
    from 10 clips per class and 95 % from 250.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of clips, shared equally among the classes.
    n_classes : int, default=10
        Number of words.
    n_speakers : int, default=6
        Number of voices, each with its own pitch and vocal tract length; clips draw one evenly.
    duration : tuple of float, default=(0.3, 0.8)
        Shortest and longest clip, in seconds.
    sample_rate : int, default=8000
        In Hz. Formants stay below 0.45 times this.
    class_sep : float, default=1.0
        How far apart the words are: 0 makes all the same word, larger is easier.
    noise : float, default=0.1
        Standard deviation of the loudest noise floor, relative to the peak of the word; clips have
        between a thirtieth of this and all of it. 0 is a clean recording.
    return_groups : bool, default=False
        Return the speaker of each clip too.
    random_state : int, RandomState instance or None, default=None
        An int fixes the words, the voices and the clips. Class k is the same word whatever
        `n_samples` and `n_classes` are; another `n_samples` gives fresh clips of it.

    Returns
    -------
    X : list of ndarray of shape (n_samples_of_the_clip,), float32
        The clips, within [-1, 1], of different lengths.
    y : ndarray of shape (n_samples,), int64
        The word of each clip, 0 to ``n_classes - 1``.
    groups : ndarray of shape (n_samples,), int64
        The speaker of each clip, 0 to ``n_speakers - 1``. Only with ``return_groups=True``.

    See Also
    --------
    load_audio_folder : Real recordings.
    sklearn.datasets.make_classification : The like for rows of numbers.

    Notes
    -----
    The synthesiser is the parallel branch of D. H. Klatt, "Software for a cascade/parallel formant
    synthesizer", J. Acoust. Soc. Am. 67 (1980): impulses at the pitch and a burst of noise excite
    second-order resonators whose frequencies move.

    Examples
    --------
    >>> from sklearn_ddfad.datasets import make_audio_classification
    >>> X, y = make_audio_classification(n_samples=20, n_classes=2, random_state=0)
    >>> len(X), X[0].dtype, y.sum()
    (20, dtype('float32'), np.int64(10))
    """
    check_scalar(n_samples, "n_samples", Integral, min_val=1)
    check_scalar(n_classes, "n_classes", Integral, min_val=1)
    check_scalar(n_speakers, "n_speakers", Integral, min_val=1)
    check_scalar(sample_rate, "sample_rate", Integral, min_val=1000)
    check_scalar(class_sep, "class_sep", Real, min_val=0)
    check_scalar(noise, "noise", Real, min_val=0)
    shortest, longest = duration
    if not 0.05 <= shortest <= longest:
        msg = f"duration is (shortest, longest) in seconds, from 0.05 on, but got {duration!r}"
        raise ValueError(msg)

    seed, clip_seed = check_random_state(random_state).randint(2**31 - 1, size=2)
    rng = np.random.default_rng((clip_seed, n_samples))
    words = 0.5 + class_sep * (_draw(seed, 0, n_classes, len(_RANGES)) - 0.5)
    voices = 2 ** (_VOICE_SPREAD * (2 * _draw(seed, 1, n_speakers, 2) - 1))

    y = rng.permutation(np.arange(n_samples) % n_classes)
    groups = rng.integers(n_speakers, size=n_samples)
    lengths = (sample_rate * rng.uniform(shortest, longest, size=n_samples)).astype(int)
    batch = max(1, _BATCH_SAMPLES // int(sample_rate * longest))
    X = []
    for start, stop in pairwise([*range(0, n_samples, batch), n_samples]):
        part = slice(start, stop)
        X += _say(words[y[part]], voices[groups[part]], lengths[part], sample_rate, noise, rng)
    return (X, y, groups) if return_groups else (X, y)


def _draw(seed: int, stream: int, n_rows: int, n_columns: int) -> Floats:
    """Return uniform rows, each from a generator of its own: row k is the same for any n_rows."""
    rngs = [np.random.default_rng((seed, stream, row)) for row in range(n_rows)]
    return np.array([rng.random(n_columns) for rng in rngs])


def _say(
    words: Floats,
    voices: Floats,
    lengths: NDArray[np.integer],
    sample_rate: int,
    noise: float,
    rng: np.random.Generator,
) -> list[NDArray[np.float32]]:
    """Return one clip for each word: said, put somewhere into its length, over a noise floor."""
    n_clips = len(words)
    place = np.clip(words + _JITTER * rng.standard_normal(words.shape), 0, 1)
    values = (_LOW * (_HIGH / _LOW) ** place).astype(np.float32)
    word = dict(zip(_RANGES, values.T, strict=True))

    said = lengths * rng.uniform(_SHORTEST_SHARE, 1.0, size=n_clips)
    onset = (lengths - said) * rng.random(n_clips)
    pace = 2 ** (_PACE_SPREAD * rng.standard_normal(n_clips))
    seconds = (np.arange(lengths.max())[:, None] / sample_rate).astype(np.float32)
    u = ((seconds * sample_rate - onset) / said).astype(np.float32)  # the word goes from 0 to 1
    u = np.clip(u, 0, 1) ** pace.astype(np.float32)

    excitation, frequencies = _articulate(word, voices.astype(np.float32), seconds, u, rng)
    sound = _resonate(excitation, frequencies, sample_rate)
    sound /= np.abs(sound).max(axis=0)
    floor = noise * 10 ** rng.uniform(-1.5, 0, size=n_clips)
    sound += (floor * rng.standard_normal(sound.shape)).astype(np.float32)
    low, high = _PEAKS
    peaks = low * (high / low) ** rng.random(n_clips)
    sound *= (peaks / np.abs(sound).max(axis=0)).astype(np.float32)
    return [sound[:n, i].copy() for i, n in enumerate(lengths)]


def _articulate(
    word: dict[str, NDArray[np.float32]],
    voices: NDArray[np.float32],
    seconds: NDArray[np.float32],
    u: NDArray[np.float32],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what excites the resonators and their frequencies, (n_steps, 4, n_clips) each."""
    smooth = (1 - np.cos(np.pi * u)) / 2

    def glide(name: str) -> NDArray[np.float32]:
        begin, end = word[f"{name}_begin"], word[f"{name}_end"]
        return begin * (end / begin) ** smooth

    def swing(name: str) -> NDArray[np.float32]:
        return word[f"{name}_depth"] * np.sin(2 * np.pi * word[f"{name}_rate"] * seconds)

    pitch_scale, formant_scale = voices.T
    pitch = pitch_scale * glide("pitch") * (1 + swing("vibrato"))
    cycles = np.floor(np.cumsum(pitch * seconds[1], axis=0, dtype=np.float64))
    pulses = np.diff(cycles, axis=0, prepend=0).astype(np.float32)
    inside = np.sqrt(np.sin(np.pi * u).clip(min=0))
    voice = pulses * inside * (1 + swing("tremolo"))
    burst = np.exp(-(((u - word["burst_place"]) / word["burst_width"]) ** 2) / 2)
    hiss = rng.standard_normal(u.shape, dtype=np.float32) * inside * burst * word["burst_level"]

    formants = [formant_scale * glide(f"formant_{i}") for i in (1, 2, 3)]
    frequencies = [*formants, np.broadcast_to(word["burst_frequency"], u.shape)]
    return np.stack([voice, voice, voice, hiss], axis=1), np.stack(frequencies, axis=1)


def _resonate(
    excitation: NDArray[np.float32], frequencies: NDArray[np.float32], sample_rate: int
) -> NDArray[np.float32]:
    """Return the sum over axis 1 of two-pole resonators with moving frequencies (Klatt's Eq. 1)."""
    radius = np.exp(-np.pi * _BANDWIDTHS / sample_rate).astype(np.float32)[:, None]
    angle = 2 * np.pi / sample_rate * np.minimum(frequencies, 0.45 * sample_rate)
    feedback = 2 * radius * np.cos(angle)
    out = excitation * (_LEVELS.astype(np.float32)[:, None] * (1 - radius))
    for t in range(2, len(out)):  # all clips and resonators at once
        out[t] += feedback[t] * out[t - 1] - radius**2 * out[t - 2]
    return out.sum(axis=1)
