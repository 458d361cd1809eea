"""Warnings that point to the user's own line."""

import sys
import warnings
from types import FrameType

# Between that line and ours: pipelines and searches, loops of training, decorators.
_BETWEEN = {"sklearn_ddfad", "sklearn", "imblearn", "skorch", "joblib", "torch", "contextlib"}


def warn(message, category=UserWarning):
    """Warn of something as if the first line outside of this library and its like had said so."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
