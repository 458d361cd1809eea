"""
Which network, told by a few clips
==================================

Networks are many, and to train each of them on all recordings takes long. What a network learns
from a few clips a class tells much of what it would learn from all (section 5.2 of the DDFAD
paper): all are ranked by that, and only the best is trained to the end.

Here are eight small networks, on five words, within half a minute on a laptop: ranked by distilled
clips, by random ones, and by early stopping. The truth, all of them trained on all clips, is
measured as well, to see what the short cuts are worth.
"""

import os
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

from sklearn_ddfad import (
    FDMFCC,
    ArchitectureSearch,
    ConvNet,
    DistributionDistiller,
    RandomSelector,
    load_audio_folder,
    make_audio_classification,
    network_classifier,
    rank_agreement,
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
    clips, labels = make_audio_classification(600, n_classes=5, random_state=0)

five = np.flatnonzero(labels < 5)
train, test = train_test_split(
    five, train_size=300, test_size=150, stratify=labels[five], random_state=0
)
extractor = FDMFCC()
X = extractor.fit_transform([clips[i] for i in train])
X_test, y, y_test = extractor.transform([clips[i] for i in test]), labels[train], labels[test]

# %%
# Candidates
# ----------
#
# Each is a dictionary of options of :class:`~sklearn_ddfad.ConvNet`. The 720 of the paper, or a
# random sample of them, come from :func:`~sklearn_ddfad.convnet_space`; any classifiers will do.

space = [
    {"depth": depth, "width": 8, "activation": activation, "normalization": normalization}
    for depth in (1, 2)
    for activation in ("relu", "sigmoid")
    for normalization in ("instance", "none")
]

# %%
# Ranked by small sets
# --------------------
#
# A part of the training clips is kept aside to test the candidates on. The set is made of the
# others, once, and each candidate takes a few steps on it.

proxies = {
    "distilled": DistributionDistiller(
        5, network=partial(ConvNet, width=8), max_iter=60, validation_fraction=0, random_state=0
    ),
    "random": RandomSelector(5, random_state=0),
    "early stopping": "early_stopping",
}
quick = network_classifier(n_steps=40)
searches = {
    name: ArchitectureSearch(space, proxy, estimator=quick, refit=False, random_state=0).fit(X, y)
    for name, proxy in proxies.items()
}
for name, search in searches.items():
    print(f"{name:15}", search.best_architecture_)

# %%
# The rows of one search, best first, are a data frame. Where a candidate cannot be trained, its row
# says why, and the search goes on.

searches["distilled"].results_.sort_values("rank").drop(columns="candidate")

# %%
# Against the truth
# -----------------
#
# The truth is a search, too, whose "proxy" is the whole set, with test clips to tell how good each
# network is in the end. Nothing is chosen by it.

truth = ArchitectureSearch(space, "whole", estimator=quick, refit=False, random_state=0)
truth.fit(X, y, X_val=X_test, y_val=y_test)
accuracies = [row["score"] for row in truth.rows_]
seconds = sum(row["fit_time"] for row in truth.rows_)

fig, axes = plt.subplots(1, 3, figsize=(8, 3), sharey=True, layout="constrained")
for ax, (name, search) in zip(axes, searches.items(), strict=True):
    scores = [row["score"] for row in search.rows_]
    result = rank_agreement(scores, accuracies, n_bootstrap=100)
    share = sum(row["fit_time"] for row in search.rows_) / seconds
    print(
        f"{name:15}Spearman {result['spearman']:.2f}, regret {100 * result['regret']:.1f} points, "
        f"{100 * share:.0f} % of the time"
    )
    ax.plot(scores, accuracies, "o", alpha=0.6)
    ax.set(title=name, xlabel="score on the proxy")
axes[0].set_ylabel("test accuracy, all clips")
plt.show()
