"""Pictures of measured rows: curves, points and bars in one style, readable without colours."""

from itertools import cycle

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

# Okabe and Ito's colours and grey, told apart by everyone; markers tell the lines apart in print.
COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"]
COLORS += ["#f0e442", "#999999"]
MARKERS = "osD^v<>PX"
STYLE = {
    "axes.grid": True,
    "axes.prop_cycle": matplotlib.cycler(color=COLORS, marker=list(MARKERS)),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": "medium",
    "font.size": 9,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.markersize": 4,
}


def curves(rows, x, y, path, *, by=None, panels=None, labels=None, scale=("log", "log")):
    """Draw `y` over `x`, one line for each value of `by`, one panel for each value of `panels`.

    Parameters
    ----------
    rows : list of dict
        Measured rows. Those without a number for `x` or `y` are left out.
    x, y : str
        Their keys.
    path : Path
        The PNG to write.
    by, panels : str, list of str or None
        Keys, too; with several, each combination of values counts as one.
    labels : dict or None
        What is written instead of a key, with its unit: ``{"seconds": "time (s)"}``.
    scale : (str, str)
        Scales of the two axes, "log" or "linear".
    """
    rows = [row for row in rows if _is_number(row.get(x)) and _is_number(row.get(y))]
    labels = labels or {}
    style = dict(zip(_values(rows, by), cycle(zip(COLORS, MARKERS, strict=True)), strict=False))

    def draw(axes, rows):
        for line in _values(rows, by):
            of_line = sorted(_where(rows, by, line), key=lambda row: row[x])
            color, marker = style[line]  # the same in all panels
            axes.plot(
                [row[x] for row in of_line],
                [row[y] for row in of_line],
                color=color,
                marker=marker,
                label=_label(by, line, labels),
            )
        axes.set(xscale=scale[0], yscale=scale[1], xlabel=labels.get(x, x))
        if scale[0] == "log":
            ticks = sorted({row[x] for row in rows})
            chosen = len(ticks) < 8 and all(tick == int(tick) for tick in ticks)
            _plain_ticks(axes.xaxis, ticks if chosen else None)
        if scale[1] == "log":
            _plain_ticks(axes.yaxis)

    _draw(rows, y, path, panels, labels, draw, legend=by)


def points(rows, x, y, path, *, panels=None, labels=None):
    """Draw a point at `x` and `y` of each row; the rest is as for :func:`curves`."""
    rows = [row for row in rows if _is_number(row.get(x)) and _is_number(row.get(y))]
    labels = labels or {}

    def draw(axes, rows):
        axes.plot([row[x] for row in rows], [row[y] for row in rows], "o", alpha=0.6)
        axes.set_xlabel(labels.get(x, x))

    _draw(rows, y, path, panels, labels, draw, legend=None)


def bars(
    rows, x, y, path, *, by=None, panels=None, error=None, mark=None, labels=None, scale="linear"
):
    """Draw a bar of height `y` for each `x`, side by side for the values of `by`.

    `error` is the key of a standard deviation, drawn as a whisker; `mark` that of a number to
    compare with, drawn as a diamond; `scale` is that of the heights. The rest is as for
    :func:`curves`; `x` may name several keys, as `by` does.
    """
    rows = [row for row in rows if _is_number(row.get(y))]
    labels = labels or {}
    color = dict(zip(_values(rows, by), cycle(COLORS), strict=False))  # the same in all panels

    def draw(axes, rows):
        places, lines = _values(rows, x), _values(rows, by)
        width = 0.8 / len(lines)
        for line in lines:
            of_line = _where(rows, by, line)
            middles = [places.index(_of(row, x)) + width * _offset(rows, x, row) for row in of_line]
            axes.bar(
                middles,
                [row[y] for row in of_line],
                width,
                yerr=[row.get(error, 0) for row in of_line] if error else None,
                label=_label(by, line, labels),
                color=color[line],
                error_kw={"lw": 1, "capsize": 2},
            )
            marks = [
                (m, row[mark]) for m, row in zip(middles, of_line, strict=True) if row.get(mark)
            ]
            if marks:
                axes.plot(
                    *zip(*marks, strict=True), "kD", mec="white", label=labels.get(mark, mark)
                )
        axes.set_xticks(range(len(places)), [_text(place) for place in places])
        axes.set(yscale=scale, xlabel=", ".join(labels.get(k, k) for k in _keys(x)))
        axes.grid(visible=False, axis="x")
        if scale == "log":
            _plain_ticks(axes.yaxis)

    _draw(rows, y, path, panels, labels, draw, legend=by)


def _draw(rows, y, path, panels, labels, draw, *, legend):
    """Write a picture with ``draw(axes, rows)`` called once for each panel."""
    kinds = _values(rows, panels)
    if not rows:
        return
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.2 + 3.2 * len(kinds), 3.2), layout="constrained")
        all_axes = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
        for axes, kind in zip(all_axes, kinds, strict=True):
            draw(axes, _where(rows, panels, kind))
            axes.set_title(_label(panels, kind, labels) or "")
        all_axes[0].set_ylabel(labels.get(y, y))
        if legend:
            handles = {}
            for axes in all_axes:
                for handle, text in zip(*axes.get_legend_handles_labels(), strict=True):
                    handles.setdefault(text, handle)
            figure.legend(handles.values(), handles, loc="outside right upper")
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110, metadata={"Software": None})


def _keys(keys):
    return [] if keys is None else [keys] if isinstance(keys, str) else list(keys)


def _of(row, keys):
    return tuple(row.get(key) for key in _keys(keys))


def _values(rows, keys):
    """Return the values that `keys` take, each once, in the order they come in."""
    return list(dict.fromkeys(_of(row, keys) for row in rows))


def _where(rows, keys, value):
    return [row for row in rows if _of(row, keys) == value]


def _offset(rows, x, row):
    """Return where a row stands among those of the same place, in bars from their middle."""
    beside = _where(rows, x, _of(row, x))
    return beside.index(row) - (len(beside) - 1) / 2


def _label(keys, values, labels):
    """Return what to call a line: words as they are, numbers with the name of their key."""
    pairs = zip(_keys(keys), values, strict=True)
    return ", ".join(
        f"{labels.get(key, key)} {_text((value,))}" if _is_number(value) else str(value)
        for key, value in pairs
    )


def _text(values):
    return ", ".join(f"{v:g}" if _is_number(v) else str(v) for v in values)


def _is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def _plain_ticks(axis, ticks=None):
    """Write 0.1, 1, 20 on a logarithmic axis instead of powers of ten."""
    if ticks:
        axis.set_major_locator(matplotlib.ticker.FixedLocator(ticks))
        axis.set_minor_locator(NullLocator())
    low, high = axis.get_view_interval()
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    axis.set_major_formatter(plain)
    axis.set_minor_formatter(plain if not ticks and high < 10 * low else NullFormatter())
