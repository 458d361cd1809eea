"""Distillers: synthetic clips that train a network as the real ones do."""

from sklearn_ddfad.distillation._trajectory import TrajectoryDistiller

__all__ = ["TrajectoryDistiller"]
