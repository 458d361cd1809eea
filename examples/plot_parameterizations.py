"""
What to keep of a clip
======================

The features of one clip a class take so many numbers. Kept in another way, the same numbers hold
three clips, or dozens, or sounds. Four ways, for random clips and for clips that match the
distribution of all, and what a network learns from each.

Small enough for two minutes on a laptop: five words, a narrow network, few iterations.
"""

import os
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.model_selection import train_test_split

from sklearn_ddfad import (
    FDMFCC,
    ConvNet,
    Direct,
    DistributionDistiller,
    RandomSelector,
    Spectral,
    Static,
    Waveform,
    evaluate,
    load_audio_folder,
    make_audio_classification,
    network_classifier,
    storage,
)

# %%
# Recordings, heard
# -----------------
#
# Spoken digits (FSDD) where the environment variable ``DDFAD_DATA`` names a folder with them, else
# invented words.

folder = Path(os.environ.get("DDFAD_DATA", ""), "fsdd")
if folder.is_dir():
    recordings = load_audio_folder(folder)
    clips, labels = recordings.data, recordings.target
else:
    clips, labels = make_audio_classification(800, n_classes=5, random_state=0)

five = np.flatnonzero(labels < 5)
train, test = train_test_split(
    five, train_size=600, test_size=200, stratify=labels[five], random_state=0
)
extractor = FDMFCC()
X = extractor.fit_transform([clips[i] for i in train])
X_test, y, y_test = extractor.transform([clips[i] for i in test]), labels[train], labels[test]

# %%
# Four ways to keep, two ways to make
# -----------------------------------
#
# ``cpc`` is the budget: the numbers of one clip a class, as features. ``Static`` keeps the cepstra,
# of which their differences follow; ``Spectral`` decomposes all clips together; ``Waveform`` keeps
# samples, as many as there are features, and hears them. A selector puts in as many real clips as
# the budget holds. A distiller starts from such and changes the numbers.

network = partial(ConvNet, width=16)
judge = network_classifier(network, n_steps=200)
ways = {
    "features": Direct(),
    "cepstra": Static(),
    "spectra of cepstra": Spectral(of=Static()),
    "sound": Waveform(extractor),
}
made = {"random": RandomSelector, "distilled": partial(DistributionDistiller, max_iter=100)}
scores = {}
for way, parameterization in ways.items():
    for name, kind in made.items():
        reducer = kind(
            1,
            parameterization=parameterization,
            network=network,
            estimator=DummyClassifier(),  # the sets are judged below, all alike
            random_state=0,
        )
        small = reducer.fit(X, y).distilled_
        score = evaluate(small.X, small.y, X_test, y_test, estimator=judge, n_repeats=3)
        scores[way, name] = 100 * score["mean"]
        kept = storage(small)
        print(
            f"{way:20}{name:10}{kept['n_clips']:4} clips in {kept['n_stored']:6} numbers: "
            f"{scores[way, name]:.1f} %"
        )

# %%
# More clips in the same numbers are worth more, before anything is distilled. What is kept so
# densely that most of the recordings fit leaves less to be won by distilling it.

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for name, offset in (("random", -0.2), ("distilled", 0.2)):
    ax.barh(np.arange(len(ways)) + offset, [scores[way, name] for way in ways], 0.4, label=name)
ax.set(yticks=range(len(ways)), yticklabels=list(ways), xlabel="test accuracy (%)")
ax.invert_yaxis()
ax.legend()
plt.show()
