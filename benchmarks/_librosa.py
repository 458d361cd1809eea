"""What librosa makes of a recording, clip by clip: plain, and with its own defaults.

The geometry (rate, length, frames, mel bands) is that of a fitted ``FDMFCC``. Also what the two
benchmarks against librosa share: real recordings, and two sides timed in turns.
"""

import os
from pathlib import Path
from time import perf_counter, process_time

import librosa
import numpy as np
import torch
from soundfile import read
from threadpoolctl import threadpool_limits

SAMPLE_RATES = {"fsdd": 8000, "esc10": 44100}


def recordings(name, n_clips):
    """Return so many recordings, spread evenly over those of a folder in ``DDFAD_DATA``."""
    files = sorted((Path(os.environ["DDFAD_DATA"]) / name / "audio").iterdir())
    chosen = np.linspace(0, len(files), n_clips, endpoint=False).astype(int)
    return [read(files[i], dtype="float32")[0] for i in chosen]


def are_there(name):
    """Tell whether a folder in ``DDFAD_DATA`` holds recordings, and say so if it does not."""
    folder = Path(os.environ.get("DDFAD_DATA", "")) / name / "audio"
    if not folder.is_dir():
        print(f"skipped {name}: there is no folder {folder}; DDFAD_DATA names what holds it.")
    return folder.is_dir()


def fastest(functions, repeats):
    """Call functions in turns; return ``(seconds, value)`` of each, the fewest seconds of them.

    On one thread, in time of this process, so that other processes disturb little; where a GPU
    computes, by the clock on the wall.
    """
    clock = perf_counter if torch.cuda.is_available() else process_time
    seconds, values = {}, {}
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for name in [*functions] * repeats:
            started = clock()
            values[name] = functions[name]()
            seconds[name] = min(clock() - started, seconds.get(name, np.inf))
    return {name: (seconds[name], values[name]) for name in functions}


def to_length(clip, n_samples):
    """Cut or pad a clip to so many samples, equally at both ends."""
    start = max(len(clip) - n_samples, 0) // 2
    return librosa.util.pad_center(clip[start : start + n_samples], size=n_samples)


def log_mel(clip, extractor):
    """Steps 1 to 6 for one clip: the mel spectrogram in dB."""
    mel = librosa.feature.melspectrogram(
        y=librosa.effects.preemphasis(clip, coef=extractor.pre_emphasis, zi=[0]),
        sr=extractor.sample_rate_,
        n_fft=extractor.n_fft_,
        win_length=extractor.frame_length_,
        hop_length=extractor.hop_length_,
        n_mels=extractor.n_mels,
        fmin=extractor.f_min,
        fmax=extractor.f_max,
    )
    return librosa.power_to_db(mel, top_db=extractor.top_db)


def fd_mfcc(clip, extractor):
    """All nine steps for one clip: cepstra, and Eq. 1 and 2 by NumPy."""
    decibels = log_mel(to_length(clip, extractor.n_samples_), extractor)
    cepstra = librosa.feature.mfcc(S=decibels, n_mfcc=extractor.n_mfcc)
    delta = np.diff(cepstra, append=cepstra[:, -1:]) / 2
    return np.stack([cepstra, delta, np.diff(delta, append=delta[:, -1:]) / 2])


def invert(decibels, extractor, **griffin_lim):
    """From one mel spectrogram in dB back to a waveform."""
    magnitude = librosa.feature.inverse.mel_to_stft(
        librosa.db_to_power(decibels),
        sr=extractor.sample_rate_,
        n_fft=extractor.n_fft_,
        fmin=extractor.f_min,
        fmax=extractor.f_max,
    )
    emphasized = librosa.griffinlim(
        magnitude,
        n_fft=extractor.n_fft_,
        win_length=extractor.frame_length_,
        hop_length=extractor.hop_length_,
        length=extractor.n_samples_,
        random_state=0,
        **griffin_lim,
    )
    return librosa.effects.deemphasis(emphasized, coef=extractor.pre_emphasis, zi=[0])
