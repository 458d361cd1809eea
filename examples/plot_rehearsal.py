"""
New classes, old ones kept
==========================

Six words come two at a time, and when the next two come the recordings of the old ones are gone. A
network that goes on learning forgets the old words, unless it rehearses: here two clips of each
word, chosen or distilled, are enough to keep most of them (EEIL, section 5.1 of the DDFAD paper).

Small enough for a minute on a laptop: a narrow network, few steps. ``benchmarks/table_4.py``
measures the same in earnest.
"""

import os
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from sklearn_ddfad import (
    FDMFCC,
    ConvNet,
    DistilledSet,
    DistributionDistiller,
    RandomSelector,
    RehearsalClassifier,
    incremental_scores,
    load_audio_folder,
    make_audio_classification,
)

# %%
# Recordings, two words at a time
# -------------------------------
#
# Spoken digits (FSDD) where the environment variable ``DDFAD_DATA`` names a folder with them, else
# invented words. The extractor is fitted on the first step alone: it hears what comes later, too,
# with the mean and spread of the first words.

folder = Path(os.environ.get("DDFAD_DATA", ""), "fsdd")
if folder.is_dir():
    recordings = load_audio_folder(folder)
    clips, labels = recordings.data, recordings.target
else:
    clips, labels = make_audio_classification(800, n_classes=6, random_state=0)

six = np.flatnonzero(labels < 6)
train, test = train_test_split(
    six, train_size=360, test_size=240, stratify=labels[six], random_state=0
)
steps = [[0, 1], [2, 3], [4, 5]]
first = train[np.isin(labels[train], steps[0])]
extractor = FDMFCC().fit([clips[i] for i in first])
X, y = extractor.transform([clips[i] for i in train]), labels[train]
X_test, y_test = extractor.transform([clips[i] for i in test]), labels[test]

# %%
# Four ways to learn them
# -----------------------
#
# ``partial_fit`` is called once a step, with the clips of the new words alone. Without a memory and
# without EEIL's loss that is plain fine-tuning.

common = {"network": partial(ConvNet, width=16), "n_steps": 80, "random_state": 0}
distiller = DistributionDistiller(2, network=common["network"], max_iter=100, validation_fraction=0)
ways = {
    "fine-tuning": RehearsalClassifier(None, strategy="finetune", **common),
    "EEIL, 2 random clips": RehearsalClassifier(RandomSelector(2), **common),
    "EEIL, 2 distilled clips": RehearsalClassifier(distiller, **common),
}
results = {}
for name, classifier in ways.items():
    said = []
    for words in steps:
        new = np.isin(y, words)
        said.append(classifier.partial_fit(X[new], y[new]).predict(X_test))
    results[name] = incremental_scores(y_test, said, steps)

# %%
# The fourth knows no steps: each time it learns all clips so far anew. That is what the
# others are to come near.

joint, said = RehearsalClassifier(None, **common), []
for i in range(len(steps)):
    known = np.isin(y, np.concatenate(steps[: i + 1]))
    said.append(joint.fit(X[known], y[known]).predict(X_test))
results["all clips, anew"] = incremental_scores(y_test, said, steps)

for name, scores in results.items():
    average, lost = (100 * scores[key] for key in ("average_of_increments", "forgetting"))
    print(f"{name:25}{average:5.1f} % on average over the increments, {lost:5.1f} points forgotten")

# %%
# One picture of it:

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
learned = np.cumsum([len(words) for words in steps])
for (name, scores), marker in zip(results.items(), "svo^", strict=True):
    ax.plot(learned, 100 * scores["seen"], marker=marker, label=name)
ax.set(xticks=learned, xlabel="words learned", ylabel="accuracy on all of them (%)")
ax.legend()
plt.show()

# %%
# The memory is a set like any other
# ----------------------------------
#
# It can be saved, and heard: ``memory_.with_extractor(extractor).to_audio_folder(path)``. Another
# rehearsal may begin with it, without any recording of its words.

memory = ways["EEIL, 2 distilled clips"].memory_.with_extractor(extractor)
with TemporaryDirectory() as place:
    memory.save(Path(place, "memory.safetensors"))
    loaded = DistilledSet.load(Path(place, "memory.safetensors"))
begun = RehearsalClassifier(distiller, **common).fit_memory(loaded)
print(begun.memory_)
print(f"learned from these alone: {100 * begun.score(X_test, y_test):.1f} %")
