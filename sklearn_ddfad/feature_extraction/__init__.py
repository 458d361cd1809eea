"""How a recording is heard: the equations, and thin estimators over them.

An extractor learns the geometry (clip length, sample rate) and the standardisation, and calls the
equations batch by batch.

``_functions``  the nine steps of FD-MFCC, pitch classes and linear prediction, differentiable
``_base``       what extractors share
``_spectra``    spectrograms: LogMelSpectrogram, Chromagram
``_cepstra``    cepstra: MFCC, FDMFCC, LPCC
"""

from sklearn_ddfad.feature_extraction._base import BaseExtractor, extractor_from_state, written
from sklearn_ddfad.feature_extraction._cepstra import FDMFCC, LPCC, MFCC
from sklearn_ddfad.feature_extraction._functions import (
    a_few_at_a_time,
    add_white_noise,
    autocorrelation_bank,
    cosines,
    db_to_power,
    dct_matrix,
    emphasize,
    fuse,
    halved_difference,
    hann_window,
    linear_prediction,
    lpcc,
    mel_filter_bank,
    power,
    power_to_db,
    prediction_to_cepstra,
    stft,
    unfuse,
)
from sklearn_ddfad.feature_extraction._spectra import Chromagram, LogMelSpectrogram

__all__ = [
    "FDMFCC",
    "LPCC",
    "MFCC",
    "BaseExtractor",
    "Chromagram",
    "LogMelSpectrogram",
    "a_few_at_a_time",
    "add_white_noise",
    "autocorrelation_bank",
    "cosines",
    "db_to_power",
    "dct_matrix",
    "emphasize",
    "extractor_from_state",
    "fuse",
    "halved_difference",
    "hann_window",
    "linear_prediction",
    "lpcc",
    "mel_filter_bank",
    "power",
    "power_to_db",
    "prediction_to_cepstra",
    "stft",
    "unfuse",
    "written",
]
