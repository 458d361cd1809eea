"""What the numbers of a set are, by name; and sets with a teacher.

``direct``, ``static``
    The features themselves; their cepstra, of which differences follow.
``lsvd``, ``learned``, ``ldct``, ``dct``, ``svd``, ``dwt``
    Spectra and kernels of this kind, of the sizes that keep most; with ``static-`` before it, those
    of the cepstra; with ``-twice`` after it, twice the clips, of two fifths of the frames.
``waveform``, ``waveform-0.2``, ``waveform-whole``
    Samples: as many a clip as it has features, of so many seconds, of all that is listened to.
"""

from dataclasses import replace

from sklearn_ddfad import Spectral, Static, Waveform, network_classifier, teach
from sklearn_ddfad.parameterization import Parameterization


def parameterization(name, equal, extractor):
    """Return the parameterisation of this name, None for the features themselves.

    ``equal="storage"`` is at the storage of ``cpc`` clips a class, ``"clips"`` with so many clips.
    """
    kind, _, option = name.partition("-")
    if name == "direct":
        return None
    if kind == "waveform":
        named = {"": "auto", "whole": extractor.n_samples_ / extractor.sample_rate_}
        kept = Waveform(extractor, named[option] if option in named else float(option))
    elif name == "static":
        kept = Static()
    elif option == "twice":
        kept = TwiceTheClips(kind)
    else:
        kept = Spectral(option or kind, of=Static() if option else None)
    return EqualClips(kept) if equal == "clips" else kept


class EqualClips(Parameterization):
    """As many clips as features would be, in the storage that they then take."""

    def __init__(self, parameterization):
        self.parameterization = parameterization

    def plan(self, X, codes, cpc):
        """Return the decoder for ``cpc`` clips a class."""
        return replace(self.parameterization.plan(X, codes, cpc), clips_per_class=cpc)


class TwiceTheClips(Parameterization):
    """Spectra of two fifths of the frames: kernels are compared at the same sizes.

    Left to choose, those that are not learned keep clips of ten a class as they are.
    """

    def __init__(self, kernels):
        self.kernels = kernels

    def plan(self, X, codes, cpc):
        """Return the decoder for twice ``cpc`` clips a class."""
        *whole, n_frames = X.shape[1:]
        sizes = (*whole, 2 * n_frames // 5)
        return Spectral(self.kernels, clips_per_class=2 * cpc, sizes=sizes).plan(X, codes, cpc)


class Taught:
    """A set with soft labels: what a network that learned all real clips says of its clips."""

    TEMPERATURE = 5

    def __init__(self, few, network, options, random_state):
        self.few = few
        self.teacher = network_classifier(network, **options)
        self.random_state = random_state

    def fit(self, X, y):
        """Let the teacher learn these clips and say what those of the set are."""
        told = {"estimator": self.teacher, "temperature": self.TEMPERATURE}
        soft_labels = teach(X, y, self.few.X, **told, random_state=self.random_state)
        self.distilled_ = replace(self.few, soft_labels=soft_labels)
        return self
