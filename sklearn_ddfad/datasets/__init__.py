"""The front door: where recordings come from.

- :func:`load_audio_folder`: your own, from a folder;
- :func:`fetch_fsdd`: spoken digits, downloaded once;
- :func:`make_audio_classification`: invented words, synthesised, for examples and tests.

All give clips as a list of 1-D float32 arrays of different lengths. Behind the door, ``_files``
is the only module that opens or writes a sound file.
"""

from sklearn_ddfad.datasets._audio_folder import load_audio_folder
from sklearn_ddfad.datasets._fsdd import fetch_fsdd
from sklearn_ddfad.datasets._synthetic import make_audio_classification

__all__ = ["fetch_fsdd", "load_audio_folder", "make_audio_classification"]
