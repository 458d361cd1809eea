"""
A mask and a teacher for a small network
========================================

Two ways to get more out of a small network, both of the paper on the Time-Frequency Enhancer: a
mask in front of it, learned with it, that says which frames and bands count; and a teacher, two
larger networks here, that says of each clip what else it might be.

Small enough for half a minute on a laptop: five words, few clips, few steps. What is seen here is
how it is done; what it is worth takes more clips and five folds (``benchmarks/esc.py``).
"""

import os
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.ensemble import VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split

from sklearn_ddfad import (
    ConvNet,
    EnhancedNetwork,
    KnowledgeDistillationClassifier,
    LogMelSpectrogram,
    RandomSelector,
    compare,
    evaluate,
    load_audio_folder,
    make_audio_classification,
    network_classifier,
    training_recipe,
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
    five, train_size=200, test_size=200, stratify=labels[five], random_state=0
)
extractor = LogMelSpectrogram(duration=0.5)
X = extractor.fit_transform([clips[i] for i in train])
X_test, y, y_test = extractor.transform([clips[i] for i in test]), labels[train], labels[test]

# %%
# A network alone, behind a mask, and taught
# ------------------------------------------
#
# All are trained in the same way: the paper's recipe, with larger steps, for nothing is pretrained,
# and fewer epochs. The teacher is a vote; frozen, it stays as it is where others are cloned.

recipe = training_recipe("esc50") | {"lr": 3e-3, "max_epochs": 8}
small = partial(ConvNet, width=8)
enhanced = partial(EnhancedNetwork, backbone=small, n_blocks=2, hidden_size=8)
large = partial(ConvNet, width=16)
votes = [(f"{i}", network_classifier(large, random_state=i, **recipe)) for i in range(2)]
teacher = FrozenEstimator(VotingClassifier(votes, voting="soft").fit(X, y))
ways = {
    "alone": network_classifier(small, random_state=0, **recipe),
    "mask": network_classifier(enhanced, random_state=0, **recipe),
    "taught": KnowledgeDistillationClassifier(teacher, small, temperature=2, **recipe),
    "mask, taught": KnowledgeDistillationClassifier(
        teacher, enhanced, temperature=2, random_state=0, **recipe
    ),
}
results = {
    name: evaluate(X, y, X_test, y_test, estimator=way, n_repeats=2) for name, way in ways.items()
}
print(f"teacher       {teacher.score(X_test, y_test):.1%}")
for name, result in results.items():
    low, high = (100 * bound for bound in result["interval"])
    print(f"{name:12s}  {result['mean']:.1%}   95 % interval {low:.0f} to {high:.0f}")
for name in ("mask", "taught"):
    found = compare(results[name], results["alone"])
    sure = "" if found["significant"] else ", which may be chance"
    print(f"{name} against alone: {100 * found['difference']:+.1f} points{sure}")

# %%
# What the mask lets through
# --------------------------
#
# One clip of each word, and its mask: a weight for each frame times a weight for each band.

fitted = ways["mask, taught"].fit(X, y)
shown = [np.flatnonzero(y_test == label)[0] for label in range(5)]
with torch.no_grad():
    masks = fitted.module_.enhancer.masks(torch.from_numpy(X_test[shown]).to(fitted.device)).cpu()
figure, rows = plt.subplots(2, 5, figsize=(9, 3.6), sharex=True, sharey=True, layout="constrained")
for clip, mask, label, (above, below) in zip(X_test[shown], masks, range(5), rows.T, strict=True):
    heard = above.imshow(clip[0], origin="lower", aspect="auto", cmap="RdBu_r", vmin=-3, vmax=3)
    let_through = below.imshow(
        mask, origin="lower", aspect="auto", cmap="viridis", vmin=masks.min(), vmax=masks.max()
    )
    above.set_title(f"class {label}")
    below.set_xlabel("frame")
rows[0, 0].set_ylabel("heard\nmel band")
rows[1, 0].set_ylabel("mask\nmel band")
figure.colorbar(heard, ax=rows[0], label="standard deviations")
figure.colorbar(let_through, ax=rows[1], label="weight")
plt.show()

# %%
# A set of few clips, taught by one who knows them all
# ----------------------------------------------------
#
# The same teacher helps a network that is given two clips of each word only. Its word makes the
# labels soft, so this is compared with random clips and their labels, and reported apart.

few = RandomSelector(2, estimator=network_classifier(small), random_state=0).fit(X, y).distilled_
quick = {"n_steps": 100, "random_state": 0}
labelled = network_classifier(small, **quick)
taught = KnowledgeDistillationClassifier(teacher, small, balance=0.2, temperature=2, **quick)
for name, learner in {"labels": labelled, "labels and teacher": taught}.items():
    found = evaluate(few.X, few.y, X_test, y_test, estimator=learner, n_repeats=1)
    print(f"two clips a word, {name:19s} {found['mean']:.1%}")
