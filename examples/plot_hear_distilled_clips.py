"""
Hear what was distilled
=======================

Distilled clips are made to be trained on, not to be listened to. But they are features of sound,
and so they can be turned back into sound: Algorithm 2 of the DDFAD paper, inverse DCT, mel bands to
frequencies, Griffin-Lim.

Three sounds stand side by side here for each class: a recording; the same recording after the way
to features and back, which shows what the features themselves leave out (the phases, and every fine
detail of the spectrum); and the distilled clip.
"""

import base64
import io
import os
import tempfile
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile
import torch

from sklearn_ddfad import (
    FDMFCC,
    ConvNet,
    DistilledSet,
    GriffinLimInverter,
    TrajectoryDistiller,
    load_audio_folder,
    make_audio_classification,
)
from sklearn_ddfad.feature_extraction import power, power_to_db

# %%
# Distil
# ------
#
# Spoken digits (FSDD) where the environment variable ``DDFAD_DATA`` names a folder with them, else
# invented words. Four of them, and settings that take seconds, not minutes.

folder = Path(os.environ.get("DDFAD_DATA", ""), "fsdd")
if folder.is_dir():
    recordings = load_audio_folder(folder, split="train")
    clips, labels = recordings.data, recordings.target
else:
    clips, labels = make_audio_classification(480, n_classes=4, random_state=0)

chosen = np.concatenate([np.flatnonzero(labels == label)[:120] for label in range(4)])
clips, labels = [clips[i] for i in chosen], labels[chosen]

extractor = FDMFCC(duration=0.5)
features = extractor.fit_transform(clips)
distiller = TrajectoryDistiller(
    cpc=1,
    network=partial(ConvNet, width=16),
    n_experts=3,
    max_start_epoch=5,
    max_iter=80,
    random_state=0,
)
distilled = distiller.fit(features, labels).distilled_.with_extractor(extractor)
print(distilled)

# %%
# Keep
# ----
#
# One file holds the clips, their labels and how they were heard. A folder of WAV files with a
# ``metadata.csv`` is for ears, and for anything else that reads audio folders.

out = Path(tempfile.mkdtemp(prefix="sklearn_ddfad_"))
distilled.save(out / "words.safetensors")
distilled.to_audio_folder(out / "words")
print("Listen to", *sorted((out / "words").glob("audio/*.wav")), sep="\n  ")

# %%
# Both come back. The file comes back bit for bit:

again = DistilledSet.load(out / "words.safetensors")
print(np.array_equal(again.X, distilled.X), again.extractor)

# %%
# Back to sound
# -------------
#
# ``GriffinLimInverter`` takes features from whatever made them: here those of a recording of each
# class, and those that were distilled.

first = [int(np.flatnonzero(labels == label)[0]) for label in distilled.y]
inverter = GriffinLimInverter(extractor)
sounds = {
    "recorded": [clips[i] for i in first],
    "recorded, to features and back": inverter.transform(features[first]),
    "distilled": inverter.transform(distilled.X),
}


# %%
# Press play, in the documentation or in a notebook: a few lines of HTML make a player of each
# sound. All are brought to the same peak.


class Players:
    """Sounds as a table of audio players, one row a class, one column a kind."""

    def __init__(self, sounds, classes, sample_rate):
        self.sounds, self.classes, self.sample_rate = sounds, classes, sample_rate

    def _repr_html_(self):
        head = "".join(f"<th>{name}</th>" for name in ("class", *self.sounds))
        rows = zip(self.classes, *self.sounds.values(), strict=True)
        body = "".join(
            f"<tr><td>{label}</td>{''.join(map(self.player, row))}</tr>" for label, *row in rows
        )
        return f"<table><tr>{head}</tr>{body}</table>"

    def player(self, waveform):
        file = io.BytesIO()
        loud = 0.9 * waveform / np.abs(waveform).max()
        soundfile.write(file, loud, self.sample_rate, format="WAV", subtype="PCM_16")
        data = base64.b64encode(file.getvalue()).decode()
        return f'<td><audio controls src="data:audio/wav;base64,{data}"></audio></td>'


Players(sounds, distilled.y, extractor.sample_rate_)

# %%
# Side by side
# ------------
#
# Waveforms, and under each its spectrogram over 60 dB. Of a long recording the middle is heard, so
# this is what is drawn. A distilled clip is judged by what a network learns from it: nothing asks
# it to be smooth, or to sound like a voice.


def spectrogram(waveform):
    """Return decibels, shape (n_bins, n_frames), in the extractor's own geometry."""
    spectrum = extractor.stft(torch.as_tensor(waveform)[None])
    return power_to_db(power(spectrum), top_db=60)[0].numpy()


duration = extractor.n_samples_ / extractor.sample_rate_
figure, grid = plt.subplots(
    2 * len(distilled.y),
    len(sounds),
    figsize=(9, 11),
    sharex=True,
    layout="constrained",
    gridspec_kw={"height_ratios": [2, 3] * len(distilled.y)},
)
for column, (name, waveforms) in zip(grid.T, sounds.items(), strict=True):
    column[0].set_title(name, fontsize="medium")
    for i, waveform in enumerate(waveforms):
        above, below = column[2 * i : 2 * i + 2]
        seconds = len(waveform) / extractor.sample_rate_
        start = (duration - seconds) / 2
        times = start + np.arange(len(waveform)) / extractor.sample_rate_
        above.plot(times, waveform, linewidth=0.4)
        above.set(xlim=(0, duration), yticks=[])
        extent = (start, start + seconds, 0, extractor.sample_rate_ / 2000)
        below.imshow(spectrogram(waveform), origin="lower", aspect="auto", extent=extent)
        below.set_xlim(0, duration)
for i, label in enumerate(distilled.y):
    grid[2 * i, 0].set_ylabel(f"class {label}")
    grid[2 * i + 1, 0].set_ylabel("kHz")
for axes in grid[-1]:
    axes.set_xlabel("seconds")
plt.show()
