"""FD-MFCC of real recordings: time per clip, ours against librosa clip by clip.

    DDFAD_DATA=folder python benchmarks/feature_extraction.py --preset smoke|cpu|gpu

One thread on both sides, called in turns; ours on the GPU where there is one. Both give the same
features, to rounding: checked here, each time. By number of clips (spoken digits, 8 kHz) and by
their length (environmental sounds, 44.1 kHz).
"""

from functools import partial

import numpy as np
from _draw import curves
from _harness import Results, command_line, in_fresh_process
from _librosa import SAMPLE_RATES, are_there, fastest, fd_mfcc, recordings

# (recordings, number of clips, seconds of each)
PRESETS: dict = {
    "smoke": [("fsdd", 4, 0.5), ("esc10", 2, 0.5)],
    "cpu": [("fsdd", n, 0.6) for n in (1, 10, 100, 1000, 3000)]
    + [("esc10", 40, seconds) for seconds in (0.25, 0.5, 1, 2, 5)],
    "gpu": [("fsdd", n, 0.6) for n in (1, 10, 100, 1000, 3000)]
    + [("esc10", 400, seconds) for seconds in (0.25, 0.5, 1, 2, 5)],
}
ROUNDING = 2e-5  # of the largest feature, in float32


def measure(source, n_clips, seconds, repeats):
    """Hear the same clips by both sides; return milliseconds a clip, and how far they differ."""
    from sklearn_ddfad import FDMFCC

    clips = recordings(source, n_clips)
    extractor = FDMFCC(SAMPLE_RATES[source], duration=seconds, standardize=False).fit(clips)
    sides = {
        "librosa": lambda: np.stack([fd_mfcc(clip, extractor) for clip in clips]),
        "ours": lambda: extractor.transform(clips),
    }
    fastest(sides, 1)  # what is loaded and compiled on first use
    timed = fastest(sides, repeats)
    (theirs_took, theirs), (ours_took, ours) = timed["librosa"], timed["ours"]
    difference, largest = float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())
    assert difference < ROUNDING * largest, f"features differ by {difference} of {largest}"
    return {
        "librosa_ms": 1000 * theirs_took / n_clips,
        "ours_ms": 1000 * ours_took / n_clips,
        "ratio": theirs_took / ours_took,
        "largest_difference": difference,
        "largest_feature": largest,
    }


def draw(results):
    """Draw time per clip over the number of clips and over their length."""
    rows = [
        row | {"side": side, "ms": row[f"{side}_ms"]}
        for row in results.rows
        for side in ("librosa", "ours")
    ]
    labels = {"ms": "time per clip (ms)", "n_clips": "clips", "seconds": "seconds a clip"}
    for source, x in (("fsdd", "n_clips"), ("esc10", "seconds")):
        of_source = [row for row in rows if row["source"] == source]
        curves(of_source, x, "ms", results.picture(f"by_{x}"), by="side", labels=labels)


def measure_all(options):
    """Measure what is missing, print and draw."""
    results = Results(f"feature_extraction_{options.preset}")
    repeats = 1 if options.preset == "smoke" else 7
    one = partial(in_fresh_process, __file__, repeats=repeats)
    for source, n_clips, seconds in PRESETS[options.preset]:
        if are_there(source):
            results.measure(one, source=source, n_clips=n_clips, seconds=seconds)
    draw(results)


def main():
    command_line(__doc__, PRESETS, measure, measure_all)


if __name__ == "__main__":
    main()
