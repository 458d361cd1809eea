"""Distillers: synthetic clips that train a network as the real ones do."""

from sklearn_ddfad.distillation._distribution import DistributionDistiller
from sklearn_ddfad.distillation._gradient import GradientDistiller
from sklearn_ddfad.distillation._trajectory import TrajectoryDistiller

__all__ = ["DistributionDistiller", "GradientDistiller", "TrajectoryDistiller"]
