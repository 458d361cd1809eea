"""Features of real recordings back to sound: time per clip and error, ours against librosa.

    DDFAD_DATA=folder python benchmarks/reconstruction.py --preset smoke|cpu|gpu

Both sides start from the same mel spectrograms, those that the features stand for: with 16 of 40
coefficients smoothed ones, with 40 of 40 those of the recordings. librosa's side is mel_to_stft and
griffinlim with their defaults, and with other numbers of iterations for the curve. One thread each,
called in turns; ours on the GPU where there is one.

Two errors of what comes out: its mel spectrogram against the one it was made from (root mean
square, dB; heard by librosa), and its magnitudes against those of the recording (spectral
convergence). The ratio that counts is librosa's time with its defaults over ours
with the fewest iterations that bring both errors down to librosa's.
"""

from functools import partial

import numpy as np
import torch
from _draw import curves
from _harness import Results, command_line, in_fresh_process
from _librosa import SAMPLE_RATES, are_there, fastest, invert, log_mel, recordings, to_length

DEFAULT = {"librosa": 32, "ours": 64}  # iterations
OURS = [1, 2, 4, 8, 12, 16, 24, 32, 64, 128]
CURVE = {"librosa": [8, 32, 128], "ours": OURS}
GROWTH = {"librosa": [32], "ours": OURS}


def cells(clips, by_length):
    """Return what to measure: the curves, then growth by number and by length of clips."""
    curve = [
        {"source": source, "n_clips": clips[source], "seconds": seconds, "n_mfcc": n_mfcc, **CURVE}
        for source, seconds in (("fsdd", 0.6), ("esc10", 2))
        for n_mfcc in (16, 40)
    ]
    growth = [
        {"source": source, "n_clips": n, "seconds": seconds, "n_mfcc": 40, **GROWTH}
        for source, n, seconds in (
            *(("fsdd", n, 0.6) for n in (1, 10, 100)),
            *(("esc10", by_length, seconds) for seconds in (0.25, 0.5, 1, 5)),
        )
    ]
    return curve + growth


PRESETS: dict = {
    "smoke": [
        {"source": source, "n_clips": 2, "seconds": 0.5, "n_mfcc": 40}
        | {"librosa": [32], "ours": [8, 64]}
        for source in SAMPLE_RATES
    ],
    "cpu": cells({"fsdd": 60, "esc10": 8}, 5),
    "gpu": cells({"fsdd": 60, "esc10": 8}, 10),
}


def measure(source, n_clips, seconds, n_mfcc, librosa, ours, repeats):
    """Invert the same features by both sides, with each number of iterations."""
    from sklearn_ddfad import FDMFCC, GriffinLimInverter

    clips = recordings(source, n_clips)
    extractor = FDMFCC(SAMPLE_RATES[source], duration=seconds, n_mfcc=n_mfcc).fit(clips)
    features = extractor.transform(clips)
    wanted = extractor.log_mel(features).numpy()
    sides = {
        ("librosa", n): lambda n=n: np.stack([invert(mel, extractor, n_iter=n) for mel in wanted])
        for n in librosa
    } | {
        ("ours", n): partial(GriffinLimInverter(extractor, n_iter=n).transform, features)
        for n in ours
    }
    for first_use in (partial(invert, wanted[0], extractor), sides["ours", min(ours)]):
        first_use()
    timed = fastest(sides, repeats)
    points = [
        {"side": side, "n_iter": n, "ms": 1000 * took / n_clips}
        | errors(waveforms, clips, wanted, extractor)
        for (side, n), (took, waveforms) in timed.items()
    ]
    return {**ratios(points), "points": points}


def errors(waveforms, clips, wanted, extractor):
    """Return the two errors of waveforms, over all clips."""
    from sklearn_ddfad.feature_extraction import emphasize
    from sklearn_ddfad.reconstruction import spectral_convergence

    heard = np.stack([log_mel(waveform, extractor) for waveform in waveforms])
    originals = np.stack([to_length(clip, extractor.n_samples_) for clip in clips])
    spectrum, original = (  # of all clips, one after another
        torch.hstack([*extractor.stft(emphasize(torch.from_numpy(x), extractor.pre_emphasis))])
        for x in (waveforms, originals)
    )
    return {
        "mel_error": float(np.sqrt(np.mean(np.square(heard - wanted)))),
        "convergence": float(spectral_convergence(spectrum, original.abs())),
    }


def ratios(points):
    """Return librosa's time over ours: at errors no larger than its own, and default to default."""
    at = {(point["side"], point["n_iter"]): point for point in points}
    theirs = at["librosa", DEFAULT["librosa"]]
    as_good = [
        point
        for (side, _), point in at.items()
        if side == "ours" and all(point[e] <= theirs[e] for e in ("mel_error", "convergence"))
    ]
    fewest = min(as_good, key=lambda point: point["n_iter"], default=None)
    return {
        "iterations_as_good": fewest and fewest["n_iter"],
        "ratio_as_good": fewest and theirs["ms"] / fewest["ms"],
        "ratio_by_default": theirs["ms"] / at["ours", DEFAULT["ours"]]["ms"],
        "mel_error": theirs["mel_error"],
        "mel_error_ours": at["ours", DEFAULT["ours"]]["mel_error"],
    }


def draw(results):
    """Draw error over time, and time with defaults over number and length of clips."""
    points = [
        row | point | {"recordings": f"{row['source']}, {row['n_mfcc']} of 40 coefficients"}
        for row in results.rows
        for point in row["points"]
    ]
    labels = {
        "ms": "time per clip (ms)",
        "mel_error": "error of the mel spectrogram (dB)",
        "n_clips": "clips",
        "seconds": "seconds a clip",
    }
    with_curve = [p for p in points if p["librosa"] != GROWTH["librosa"]]
    curves(
        with_curve,
        "ms",
        "mel_error",
        results.picture("error"),
        by="side",
        panels="recordings",
        labels=labels,
    )
    by_default = [p for p in points if p["n_iter"] == DEFAULT[p["side"]] and p["n_mfcc"] == 40]
    for source, x in (("fsdd", "n_clips"), ("esc10", "seconds")):
        of_source = [p for p in by_default if p["source"] == source]
        curves(of_source, x, "ms", results.picture(f"by_{x}"), by="side", labels=labels)


def measure_all(options):
    """Measure what is missing, print and draw."""
    results = Results(f"reconstruction_{options.preset}")
    one = partial(in_fresh_process, __file__, repeats=1 if options.preset == "smoke" else 2)
    for cell in PRESETS[options.preset]:
        if are_there(cell["source"]):
            results.measure(one, **cell)
    draw(results)


def main():
    command_line(__doc__, PRESETS, measure, measure_all)


if __name__ == "__main__":
    main()
