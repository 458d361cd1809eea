"""Dataset distillation for audio, as scikit-learn estimators: a map of the house.

A recording comes in, is heard, distilled or selected, judged, put to use, and may leave as sound.

``datasets``            load_audio_folder, fetch_fsdd, make_audio_classification
``feature_extraction``  how a recording is heard: FDMFCC
``networks``            ConvNet, ResNet18, VGG11, MLP: modules only
``augmentation``        differentiable, the draw passed as a value
``distillation``        synthetic clips, by matching training trajectories: TrajectoryDistiller
``coreset``             real clips, chosen: RandomSelector
``distilled_set``       what is kept, saved, loaded and exported: DistilledSet
``reconstruction``      from features back to sound: GriffinLimInverter
``compose``             with any classifier: DistilledClassifier, DistillationSampler
``evaluation``          what a small set is worth: evaluate
``estimator_checks``    the laws of a distiller and of a selector, for others to use
``__main__``            the ``ddfad`` command
"""

from sklearn_ddfad._training import network_classifier
from sklearn_ddfad._version import __version__
from sklearn_ddfad.augmentation import Augmentation
from sklearn_ddfad.compose import DistillationSampler, DistilledClassifier
from sklearn_ddfad.coreset import RandomSelector
from sklearn_ddfad.datasets import fetch_fsdd, load_audio_folder, make_audio_classification
from sklearn_ddfad.distillation import TrajectoryDistiller
from sklearn_ddfad.distilled_set import DistilledSet
from sklearn_ddfad.evaluation import evaluate
from sklearn_ddfad.feature_extraction import FDMFCC
from sklearn_ddfad.networks import MLP, VGG11, ConvNet, ResNet18
from sklearn_ddfad.reconstruction import GriffinLimInverter

__all__ = [
    "FDMFCC",
    "MLP",
    "VGG11",
    "Augmentation",
    "ConvNet",
    "DistillationSampler",
    "DistilledClassifier",
    "DistilledSet",
    "GriffinLimInverter",
    "RandomSelector",
    "ResNet18",
    "TrajectoryDistiller",
    "__version__",
    "evaluate",
    "fetch_fsdd",
    "load_audio_folder",
    "make_audio_classification",
    "network_classifier",
]
