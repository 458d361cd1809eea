"""
Quickstart: one clip a class
============================

Some hundred labelled recordings become one synthetic clip for each class. A network trained on
these few clips is then compared with one trained on as many real clips, chosen at random, and with
one trained on all recordings.

Everything here is small, to be done within a minute on a laptop: five words, a narrow network, few
experts, few iterations. With the settings left at their defaults it takes minutes, and the
distilled clips are better.
"""

import os
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline

from sklearn_ddfad import (
    FDMFCC,
    ConvNet,
    RandomSelector,
    TrajectoryDistiller,
    evaluate,
    load_audio_folder,
    make_audio_classification,
    network_classifier,
)

# %%
# Recordings
# ----------
#
# Spoken digits (FSDD) where the environment variable ``DDFAD_DATA`` names a folder with them, else
# invented words from a small synthesiser. Clips are 1-D arrays of different lengths.

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
train_clips, test_clips = [clips[i] for i in train], [clips[i] for i in test]

# %%
# Extract and distil
# ------------------
#
# The two steps are an ordinary scikit-learn pipeline. ``fit`` hears the recordings, trains a few
# experts on them, distils, and trains a network on the distilled clips: the judge, whose ``score``
# is told on recordings that nothing above has seen.

network = partial(ConvNet, width=16)
judge = network_classifier(network, n_steps=200, random_state=0)
distiller = TrajectoryDistiller(
    cpc=1,
    network=network,
    estimator=judge,
    n_experts=3,
    max_start_epoch=5,
    max_iter=100,
    random_state=0,
)
pipe = Pipeline([("feat", FDMFCC(duration=0.5)), ("dd", distiller)])
pipe.fit(train_clips, labels[train])

distilled = pipe["dd"].distilled_
print(f"{len(train_clips)} recordings became {distilled}")
print(f"A network trained on it: {pipe.score(test_clips, labels[test]):.1%} correct")

# %%
# Beside a random selection
# -------------------------
#
# Every set is judged in the same way: the same recipe, the same test recordings. One network is a
# matter of luck, and so is one selection; the mean of three says more.

features, y = pipe["feat"].transform(train_clips), labels[train]
test_set = pipe["feat"].transform(test_clips), labels[test]

selectors = [RandomSelector(1, estimator=judge, random_state=seed) for seed in range(3)]
by_chance = np.mean([selector.fit(features, y).score(*test_set) for selector in selectors])
ours = evaluate(distilled.X, distilled.y, *test_set, estimator=judge, n_repeats=3)
whole = evaluate(features, y, *test_set, estimator=judge, n_repeats=1)

print(f"random selection   {distilled.n_clips:4d} clips   {by_chance:.1%}")
print(f"distilled          {ours['n_clips']:4d} clips   {ours['mean']:.1%}")
print(f"all recordings     {whole['n_clips']:4d} clips   {whole['mean']:.1%}")

# %%
# How it went
# -----------
#
# The matching loss, Eq. 3 of the paper, is 1 when a student trained on the distilled clips comes no
# nearer to where the expert went, and 0 when it arrives there. Each iteration draws another stretch
# of another expert, so the curve jumps; its running mean is what falls.

loss = np.array(pipe["dd"].loss_curve_)
smooth = np.convolve(loss, np.ones(15) / 15, mode="valid")

figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(loss, color="0.75", linewidth=1, label="each iteration")
axes.plot(np.arange(len(smooth)) + 7, smooth, color="C3", label="mean of 15")
axes.axhline(1, color="0.4", linewidth=0.8, linestyle=":")
axes.set(xlabel="iteration", ylabel="matching loss (Eq. 3)", ylim=(0, None))
axes.legend(frameon=False)
plt.show()

# %%
# What was learned
# ----------------
#
# The first of the three planes, the cepstra themselves, of one recording and of the distilled clip
# of each class. Blue is below the mean of all recordings, red above.

kept = {"recorded": selectors[0].distilled_, "distilled": distilled}
figure, rows = plt.subplots(2, 5, figsize=(9, 3.6), sharex=True, sharey=True, layout="constrained")
scale = {"cmap": "RdBu_r", "vmin": -3, "vmax": 3}
for row, (name, few) in zip(rows, kept.items(), strict=True):
    row[0].set_ylabel(f"{name}\ncoefficient")
    for axes, planes, label in zip(row, few.X, few.y, strict=True):
        image = axes.imshow(planes[0], origin="lower", aspect="auto", **scale)
        axes.set_title(f"class {label}")
rows[1, 2].set_xlabel("frame")
figure.colorbar(image, ax=rows, label="standard deviations")
plt.show()
