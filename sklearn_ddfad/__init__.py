"""Dataset distillation for audio, as scikit-learn estimators: a map of the house.

A recording comes in, is heard, distilled or selected, judged, put to use, and may leave as sound.

``datasets``            load_audio_folder, fetch_fsdd, make_audio_classification
``feature_extraction``  how a recording is heard: FDMFCC, MFCC, LPCC, LogMelSpectrogram, Chromagram
``networks``            ConvNet, ResNet18, VGG11, MLP: modules only
``augmentation``        differentiable, the draw passed as a value
``distillation``        made clips: TrajectoryDistiller, GradientDistiller, DistributionDistiller
``parameterization``    what the learned numbers are: Direct, Spectral, Static, Waveform
``coreset``             real clips, chosen: RandomSelector, HerdingSelector, KCenterSelector
``distilled_set``       what is kept, saved, loaded and exported: DistilledSet
``reconstruction``      from features back to sound: GriffinLimInverter
``compose``             in a pipeline: DistilledClassifier, DistillationSampler, NetworkEmbedding
``evaluation``          what a small set is worth: evaluate, compare, noise_robustness, dd_ranking
``estimator_checks``    the laws of a distiller and of a selector, for others to use
``__main__``            the ``ddfad`` command
"""

from sklearn_ddfad._training import network_classifier
from sklearn_ddfad._version import __version__
from sklearn_ddfad.augmentation import Augmentation
from sklearn_ddfad.compose import DistillationSampler, DistilledClassifier, NetworkEmbedding
from sklearn_ddfad.coreset import HerdingSelector, KCenterSelector, RandomSelector
from sklearn_ddfad.datasets import fetch_fsdd, load_audio_folder, make_audio_classification
from sklearn_ddfad.distillation import (
    DistributionDistiller,
    GradientDistiller,
    TrajectoryDistiller,
)
from sklearn_ddfad.distilled_set import DistilledSet
from sklearn_ddfad.evaluation import (
    accuracy_interval,
    add_noise,
    augmentation_robust_score,
    compare,
    cross_architecture,
    dd_ranking,
    evaluate,
    label_robust_score,
    noise_robustness,
    storage,
    teach,
)
from sklearn_ddfad.feature_extraction import FDMFCC, LPCC, MFCC, Chromagram, LogMelSpectrogram
from sklearn_ddfad.networks import MLP, VGG11, ConvNet, ResNet18
from sklearn_ddfad.parameterization import Direct, Spectral, Static, Waveform
from sklearn_ddfad.reconstruction import GriffinLimInverter

__all__ = [
    "FDMFCC",
    "LPCC",
    "MFCC",
    "MLP",
    "VGG11",
    "Augmentation",
    "Chromagram",
    "ConvNet",
    "Direct",
    "DistillationSampler",
    "DistilledClassifier",
    "DistilledSet",
    "DistributionDistiller",
    "GradientDistiller",
    "GriffinLimInverter",
    "HerdingSelector",
    "KCenterSelector",
    "LogMelSpectrogram",
    "NetworkEmbedding",
    "RandomSelector",
    "ResNet18",
    "Spectral",
    "Static",
    "TrajectoryDistiller",
    "Waveform",
    "__version__",
    "accuracy_interval",
    "add_noise",
    "augmentation_robust_score",
    "compare",
    "cross_architecture",
    "dd_ranking",
    "evaluate",
    "fetch_fsdd",
    "label_robust_score",
    "load_audio_folder",
    "make_audio_classification",
    "network_classifier",
    "noise_robustness",
    "storage",
    "teach",
]
