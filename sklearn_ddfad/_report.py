"""What the command tells of a distilled set: a table, a picture, and the machine it was made on."""

import os
import platform
import sys
from importlib.metadata import version
from textwrap import fill
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from sklearn_ddfad._version import __version__

# ------------------------------------------------------------------------------------------
# In numbers
# ------------------------------------------------------------------------------------------


def table(rows):
    """Return rows, as they stand in ``report.json``, as text in columns."""
    n_judges = len(rows[0]["accuracy"])
    judges = "1 judge" if n_judges == 1 else f"{n_judges} judges"
    cells = [
        ("set", "clips", "numbers kept", f"accuracy ({judges})", "seconds to make", "to judge"),
        *map(_cells, rows),
    ]
    first, *others = (max(map(len, column)) for column in zip(*cells, strict=True))
    return "\n".join(
        "  ".join([name.ljust(first), *map(str.rjust, texts, others)]) for name, *texts in cells
    )


def _cells(row):
    made = row["seconds_to_make"]
    return (
        row["set"],
        str(row["clips"]),
        str(row["numbers_kept"]),
        f"{100 * row['mean']:.1f} ± {100 * row['std']:.1f} %",
        "-" if made is None else f"{made:.1f}",
        f"{row['seconds_to_judge']:.1f}",
    )


def versions():
    """Return the versions of Python and of the packages that the numbers depend on."""
    packages = ("torch", "numpy", "scikit-learn", "skorch")
    ours = {"python": platform.python_version(), "sklearn-ddfad": __version__}
    return ours | {name: version(name) for name in packages}


def machine(device):
    """Return what the numbers of seconds depend on."""
    return {"platform": platform.platform(), "cpus": os.cpu_count(), "device": str(device)}


def peak_memory():
    """Return the largest memory this process has had, in GB, or None where nobody counts it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


# ------------------------------------------------------------------------------------------
# In a picture
# ------------------------------------------------------------------------------------------

_ROWS = ("recorded\nfeatures", "distilled\nfeatures", "recorded\nsound", "distilled\nsound")
_INKS = ("#44546a", "#c2541b")  # recorded, distilled
_FAINT = "#8a8a8a"


class Column(NamedTuple):
    """One class: feature images ``(n_coefficients, n_frames)`` and waveforms ``(n_samples,)``."""

    name: str
    images: tuple  # of a recorded and of a distilled clip
    waveforms: tuple


def picture(columns, seconds):
    """Draw one column a class, distilled clips under recorded ones.

    Parameters
    ----------
    columns : list of Column
        About ten can be told apart.
    seconds : float
        Length of every clip.

    Returns
    -------
    figure : matplotlib.figure.Figure
        1600 pixels wide for ten classes. The state of pyplot is neither used nor changed.
    """
    size = (1.0 + 1.5 * max(len(columns), 3), 6.4)
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    axes = figure.subplots(
        4, len(columns), squeeze=False, gridspec_kw={"height_ratios": [1, 1, 0.7, 0.7]}
    )
    largest = np.quantile(np.abs([column.images for column in columns]), 0.99)
    for column, (*panes, recorded, distilled) in zip(columns, axes.T, strict=True):
        title = fill(column.name.replace("_", " "), 14)
        panes[0].set_title(title, fontsize=13, parse_math=False)
        for pane, image in zip(panes, column.images, strict=True):
            drawn = _draw_image(pane, image, largest)
        for pane, waveform, ink in zip((recorded, distilled), column.waveforms, _INKS, strict=True):
            _draw_waveform(pane, waveform, ink, seconds)
    for pane, label in zip(axes[:, 0], _ROWS, strict=True):
        pane.set_ylabel(label, fontsize=11)
    _label_time(axes[-1, 0], seconds)
    bar = figure.colorbar(drawn, ax=axes[:2], aspect=30, fraction=0.02, pad=0.01)
    bar.set_label("standard deviations", color=_FAINT)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color=_FAINT, labelcolor=_FAINT)
    return figure


def _draw_image(pane, image, largest):
    """Draw coefficients, the lowest at the bottom, over time; blue is under the mean, red over."""
    _clear(pane)
    scale = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    return pane.imshow(image, origin="lower", aspect="auto", interpolation="nearest", **scale)


def _draw_waveform(pane, waveform, ink, seconds):
    """Draw a waveform to its own peak: shapes are compared here, not levels."""
    _clear(pane)
    times = np.linspace(0, seconds, len(waveform), endpoint=False)
    pane.plot(times, waveform / max(np.abs(waveform).max(), 1e-9), color=ink, linewidth=0.5)
    pane.set(xlim=(0, seconds), ylim=(-1.05, 1.05))


def _clear(pane):
    """Remove frame and ticks."""
    pane.set(xticks=[], yticks=[])
    pane.spines[:].set_visible(False)


def _label_time(pane, seconds):
    """Give the one axis of time that all panes share."""
    texts = pane.set_xticks([0, seconds], ["0", f"{seconds:.2g} s"], color=_FAINT)
    for tick, side in zip(texts, ("left", "right"), strict=True):
        tick.label1.set_horizontalalignment(side)
    pane.spines["bottom"].set(visible=True, color=_FAINT)
    pane.tick_params(color=_FAINT)
