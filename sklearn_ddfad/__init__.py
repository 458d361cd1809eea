"""Dataset distillation for audio, as scikit-learn estimators: a map of the house.

A recording comes in, is heard, distilled or selected, judged, put to use, and may leave as sound.

``datasets``            load_audio_folder, fetch_fsdd, make_audio_classification
``feature_extraction``  how a recording is heard: FDMFCC, MFCC, LPCC, LogMelSpectrogram, Chromagram
``networks``            ConvNet, ResNet18, VGG11, EfficientNetV2, TimeFrequencyEnhancer, MLP
``augmentation``        differentiable, the draw passed as a value
``distillation``        made clips: TrajectoryDistiller, GradientDistiller, DistributionDistiller
``parameterization``    what the learned numbers are: Direct, Spectral, Static, Waveform
``coreset``             real clips, chosen: RandomSelector, HerdingSelector, KCenterSelector
``distilled_set``       what is kept, saved, loaded and exported: DistilledSet
``reconstruction``      from features back to sound: GriffinLimInverter
``compose``             in a pipeline: DistilledClassifier, DistillationSampler, NetworkEmbedding
``knowledge_distillation``  a network that learns from a teacher: KnowledgeDistillationClassifier
``evaluation``          what a small set is worth: evaluate, compare, noise_robustness, dd_ranking
``continual``           class after class, rehearsing a small set: RehearsalClassifier
``architecture_search`` the best of many networks, told by a small set: ArchitectureSearch
``estimator_checks``    the laws of a distiller and of a selector, for others to use
``__main__``            the ``ddfad`` command
"""

from sklearn_ddfad._training import network_classifier
from sklearn_ddfad._version import __version__
from sklearn_ddfad.architecture_search import ArchitectureSearch, convnet_space, rank_agreement
from sklearn_ddfad.augmentation import Augmentation
from sklearn_ddfad.compose import DistillationSampler, DistilledClassifier, NetworkEmbedding
from sklearn_ddfad.continual import RehearsalClassifier, incremental_scores
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
from sklearn_ddfad.knowledge_distillation import (
    AudioSpectrogramTransformer,
    KnowledgeDistillationClassifier,
    training_recipe,
)
from sklearn_ddfad.networks import (
    MLP,
    VGG11,
    ConvNet,
    EfficientNetV2,
    EnhancedNetwork,
    ResNet18,
    TimeFrequencyEnhancer,
)
from sklearn_ddfad.parameterization import Direct, Spectral, Static, Waveform
from sklearn_ddfad.reconstruction import GriffinLimInverter

__all__ = [
    "FDMFCC",
    "LPCC",
    "MFCC",
    "MLP",
    "VGG11",
    "ArchitectureSearch",
    "AudioSpectrogramTransformer",
    "Augmentation",
    "Chromagram",
    "ConvNet",
    "Direct",
    "DistillationSampler",
    "DistilledClassifier",
    "DistilledSet",
    "DistributionDistiller",
    "EfficientNetV2",
    "EnhancedNetwork",
    "GradientDistiller",
    "GriffinLimInverter",
    "HerdingSelector",
    "KCenterSelector",
    "KnowledgeDistillationClassifier",
    "LogMelSpectrogram",
    "NetworkEmbedding",
    "RandomSelector",
    "RehearsalClassifier",
    "ResNet18",
    "Spectral",
    "Static",
    "TimeFrequencyEnhancer",
    "TrajectoryDistiller",
    "Waveform",
    "__version__",
    "accuracy_interval",
    "add_noise",
    "augmentation_robust_score",
    "compare",
    "convnet_space",
    "cross_architecture",
    "dd_ranking",
    "evaluate",
    "fetch_fsdd",
    "incremental_scores",
    "label_robust_score",
    "load_audio_folder",
    "make_audio_classification",
    "network_classifier",
    "noise_robustness",
    "rank_agreement",
    "storage",
    "teach",
    "training_recipe",
]
