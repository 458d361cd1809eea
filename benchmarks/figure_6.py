"""Figure 6: what distilled clips look and sound like: waveforms and mel spectrograms.

    DDFAD_DATA=folder python benchmarks/figure_6.py --preset smoke|cpu|gpu [--keep FOLDER]

For the paper's four classes (digit seven, dog bark, gun shot, calm speech) a recording, the same
rebuilt from its features (Algorithm 2), and a clip that MTT distilled for the class, rebuilt in the
same way. Sets are those of Table 1, found where that keeps them (``--keep``), or made.

The paper only shows them. Here features become sound and are heard again, and errors say what was
lost: of the features (root mean square, in standard deviations of those of recordings), of the mel
spectrogram that they stand for (root mean square, dB), and, for the recording, of the magnitudes
(spectral convergence). The claim to be tested: a distilled clip comes through as sound about as
well as a recording does.
"""

from functools import partial

import matplotlib
import numpy as np
import torch
from _draw import STYLE
from _harness import Results, command_line, in_fresh_process, print_table
from _librosa import log_mel, to_length
from _sets import KEEP, chosen, find, recordings_of
from matplotlib.figure import Figure

MTT = {"what": "mtt", "seed": 0}
CLASSES = (
    {"data": "fsdd", "split": "official", "label": 7},
    {"data": "urbansound8k", "split": "random", "label": "dog_bark"},
    {"data": "urbansound8k", "split": "random", "label": "gun_shot"},
    {"data": "ravdess", "split": "random", "label": "calm"},
)
PRESETS: dict = {
    "smoke": [CLASSES[0] | MTT | {"network": "convnet-8", "cpc": 1}],
    "cpu": [a_class | MTT | {"network": "convnet-32", "cpc": 10} for a_class in CLASSES],
    "gpu": [a_class | MTT | {"network": "convnet-128", "cpc": 10} for a_class in CLASSES],
}


def measure(quick, keep, label, picture, **cell):
    """Rebuild a recording and a distilled clip of a class; draw them and return the errors."""
    from sklearn_ddfad.datasets._files import read_audio, resample

    few, recordings = find(cell, quick=quick, keep=keep), recordings_of(cell, quick)
    extractor = recordings.extractor
    which = np.flatnonzero(recordings.train[1] == label)[0]
    samples, rate = read_audio(recordings.files[which])
    recording = to_length(resample(samples, rate, extractor.sample_rate_), extractor.n_samples_)
    rebuilt, errors = through_sound(recordings.train[0][which], extractor)
    distilled, errors_of_distilled = through_sound(few.X[few.y == label][0], extractor)
    sounds = {"recording": recording, "rebuilt": rebuilt, "distilled": distilled}
    draw(sounds, extractor, picture)
    return {
        "recording": errors | {"convergence": convergence(rebuilt, recording, extractor)},
        "distilled": errors_of_distilled,
    }


def through_sound(features, extractor):
    """Return features as a waveform, and the errors of what that is heard as."""
    (waveform,) = extractor.inverse_transform(features[None])
    (back,) = extractor.transform([waveform])
    mel, mel_back = (extractor.log_mel(x[None]).numpy() for x in (features, back))
    return waveform, {
        "mel_error": float(np.sqrt(np.mean(np.square(mel_back - mel)))),
        "feature_error": float(np.sqrt(np.mean(np.square(back - features)))),
    }


def convergence(waveform, original, extractor):
    """Return the spectral convergence of a waveform to the recording it stands for."""
    from sklearn_ddfad.feature_extraction import emphasize
    from sklearn_ddfad.reconstruction import spectral_convergence

    spectra = extractor.stft(
        emphasize(torch.from_numpy(np.stack([waveform, original])), extractor.pre_emphasis)
    )
    return float(spectral_convergence(spectra[0], spectra[1].abs()))


def draw(sounds, extractor, path):
    """Draw each waveform over its mel spectrogram."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 4), layout="constrained")
        axes = figure.subplots(2, len(sounds), sharex=True, sharey="row")
        seconds = extractor.n_samples_ / extractor.sample_rate_
        loudest = max(np.abs(waveform).max() for waveform in sounds.values())
        for (above, below), (name, waveform) in zip(axes.T, sounds.items(), strict=True):
            times = np.arange(len(waveform)) / extractor.sample_rate_
            above.plot(times, waveform / loudest, lw=0.4, marker="")
            above.set_title(name)
            spectrogram = log_mel(waveform, extractor)
            below.imshow(
                spectrogram - spectrogram.max(),
                aspect="auto",
                origin="lower",
                extent=(0, seconds, 0, extractor.n_mels),
                vmin=-80,
                vmax=0,
                cmap="magma",
            )
            below.grid(visible=False)
            below.set_xlabel("time (s)")
        axes[0, 0].set_ylabel("amplitude")
        axes[1, 0].set_ylabel("mel band")
        figure.savefig(path, dpi=110, metadata={"Software": None})


def measure_all(options):
    results = Results(f"figure_6_{options.preset}")
    settings = {"quick": options.preset == "smoke", "keep": options.keep}
    one = partial(in_fresh_process, __file__, **settings)

    def measure_class(**row):
        name = f"{row['data']}_{row['label']}"
        return one(**row, picture=str(results.picture(name)))

    table = {}
    for row in chosen(PRESETS[options.preset], options):
        measured = results.measure(measure_class, **row)
        for kind in ("recording", "distilled"):
            table[f"{row['data']} {row['label']}, {kind}"] = {
                name: f"{value:.3f}" for name, value in measured[kind].items()
            }
    print_table("from features to sound and back", table)


def main():
    command_line(__doc__, PRESETS, measure, measure_all, {"--keep": KEEP})


if __name__ == "__main__":
    main()
