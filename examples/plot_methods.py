"""
Which way to make a small set
=============================

Six ways to have two clips a class: random ones, two rules that look before they choose, and three
methods that make clips instead. All have one interface, so that they differ in one line here. How
sure each figure is, and which differences are real, is told as well.

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
    DistributionDistiller,
    GradientDistiller,
    HerdingSelector,
    KCenterSelector,
    RandomSelector,
    TrajectoryDistiller,
    compare,
    evaluate,
    load_audio_folder,
    make_audio_classification,
    network_classifier,
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
# Six ways
# --------
#
# None of them is judged by the estimator it could train itself, but all by the same networks below.

network = partial(ConvNet, width=16)
common = {"network": network, "estimator": DummyClassifier(), "random_state": 0}
ways = {
    "random": RandomSelector(2, **common),
    "herding": HerdingSelector(2, embedding="features", **common),
    "k-center": KCenterSelector(2, embedding="features", **common),
    "DM": DistributionDistiller(2, max_iter=150, **common),
    "DSA": GradientDistiller(2, max_iter=60, augmentation="auto", **common),
    "MTT": TrajectoryDistiller(2, n_experts=2, max_start_epoch=4, max_iter=100, **common),
}
judge = network_classifier(network, n_steps=200)
results = {}
for name, way in ways.items():
    small = way.fit(X, y).distilled_
    results[name] = evaluate(small.X, small.y, X_test, y_test, estimator=judge, n_repeats=3)
    low, high = (100 * bound for bound in results[name]["interval"])
    print(f"{name:10}{100 * results[name]['mean']:5.1f} %   95 % interval {low:.1f} to {high:.1f}")

# %%
# Which differences are real
# --------------------------
#
# Intervals may overlap, and a difference be real: all met the same easy and hard clips. So sets are
# compared clip by clip.

for name in ways:
    if name != "random":
        result = compare(results[name], results["random"])
        said = "" if result["significant"] else " (may be chance)"
        print(f"{name:10}{100 * result['difference']:+5.1f} points beside random clips{said}")

# %%
# One picture of it: the bars are the intervals.

fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
means = 100 * np.array([result["mean"] for result in results.values()])
bounds = 100 * np.array([result["interval"] for result in results.values()]).T
ax.errorbar(means, range(len(ways)), xerr=abs(bounds - means), fmt="o", capsize=4)
ax.set(yticks=range(len(ways)), yticklabels=list(ways), xlabel="test accuracy (%)")
ax.invert_yaxis()
plt.show()
