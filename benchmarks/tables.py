"""The tables of docs/results.rst and README.md, written from what was measured on the CPU.

    python benchmarks/tables.py

In both pages a comment names the table that stands below it. Tables are written anew from the JSON
files in ``results/cpu/``; the text around them is left as it is.
"""

import json
import re
from functools import cache, partial
from pathlib import Path

from _harness import RESULTS

HOME = Path(__file__).parents[1]
PAGES = HOME / "README.md", HOME / "docs" / "results.rst"
NOTE = r"written by benchmarks/tables\.py: (\w+)"
PLACE = {  # by the ending of a page: a comment that names a table, and the table
    ".md": re.compile(rf"(<!-- {NOTE} -->\n\n)(?:\|.*\n)*"),
    ".rst": re.compile(rf"(\.\. {NOTE}\n\n)(?:\.\. csv-table::\n(?:   .*\n|\n(?=   ))*)?"),
}


def each(key, named):
    """Return what lines or columns are called, and the value of `key` in which they differ."""
    return {name: {key: value} for name, value in named.items()}


DATA = each(
    "data",
    {
        "FSDD": "fsdd",
        "UrbanSound8K (part)": "urbansound8k",
        "RAVDESS": "ravdess",
        "ESC-10": "esc10",
    },
)
CPC = each("cpc", {"1": 1, "10": 10, "50": 50})
SETS = each("what", {"random clips": "random", "herding": "herding", "DM": "dm", "MTT": "mtt"})
AS_CEPSTRA = each(
    "what", {"random clips, as cepstra": "random-static", "DM, as cepstra": "dm-static"}
)
WHOLE = {"what": "whole", "cpc": None}
JUDGES = each("judge", {"ConvNet": "convnet-32", "ResNet18": "resnet18-16", "VGG11": "vgg11-16"})


# ------------------------------------------------------------------------------------------
# What was measured
# ------------------------------------------------------------------------------------------


@cache
def content(name):
    """Return what a script wrote."""
    return json.loads((RESULTS / "cpu" / f"{name}_cpu.json").read_text())


def find(name, part="summary", **key):
    """Return the line of a result that has these values, None where there is none."""
    lines = content(name)[part]
    return next((line for line in lines if all(line.get(k) == v for k, v in key.items())), None)


def told(line, spread="interval", digits=1):
    """Return a mean, how far it is to be trusted, and what the paper prints; or nothing."""
    if line is None:
        return ""
    is_alone = spread == "std over seeds" and line["seeds"] == 1  # and has no spread
    uncertain = "" if is_alone else f" ± {line[spread]:.{digits}f}"
    printed = f" ({line['paper']:.{digits}f})" if line.get("paper") is not None else ""
    return f"{line['mean']:.{digits}f}{uncertain}{printed}"


def grid(corner, down, across, cell):
    """Return lines of cells, each told by the values of its line and of its column.

    Those of a line come first. A cell that would say what one before it says stays empty, and a
    line that was not measured is left out.
    """
    lines = [(corner, *across)]
    for name, of_line in down.items():
        keys = [of_column | of_line for of_column in across.values()]
        cells = ["" if key in keys[:i] else cell(**key) for i, key in enumerate(keys)]
        lines += [(name, *cells)] if any(cells) else []
    return lines


# ------------------------------------------------------------------------------------------
# Tables
# ------------------------------------------------------------------------------------------


def digits():
    methods = {
        "random clips": "random",
        "herding": "herding",
        "k-center": "kcenter",
        "DM: `DistributionDistiller`": "dm",
        "DC: `GradientDistiller`": "dc",
        'DSA: `GradientDistiller(augmentation="auto")`': "dsa",
        "MTT: `TrajectoryDistiller`": "mtt",
    }

    def cell(**key):
        line = find("table_1", data="fsdd", split="official", network="convnet-32", **key)
        return told(line, "std over seeds")

    down = each("what", methods) | {"all 2700 clips": WHOLE}
    return grid("clips per class", down, CPC, cell)


def other_recordings():
    across = {
        f"{name}, {cpc}": DATA[name] | {"cpc": cpc} for name in [*DATA][1:] for cpc in (1, 10)
    }

    def cell(**key):
        return told(find("table_1", split="random", network="convnet-32", **key), digits=0)

    return grid("clips per class", SETS | {"all clips": WHOLE}, across, cell)


def unheard():
    across = {name: of_data | {"cpc": 10} for name, of_data in DATA.items()}

    def cell(**key):
        return told(find("table_1", split="group", network="convnet-32", **key), digits=0)

    return grid("10 clips per class", SETS | {"all clips": WHOLE}, across, cell)


def storage():
    kept = {
        "features: `Direct()`": "direct",
        "cepstra, for three times the clips: `Static()`": "static",
        "spectra of these, for 72, 202, 245 clips: `Spectral(of=Static())`": "static-lsvd",
        "sound: `Waveform(extractor)`": "waveform",
    }

    def cell(**key):
        pair = [
            find("parameterizations", data="fsdd", equal="storage", what=what, **key)
            for what in ("mtt", "random")
        ]
        return "{:.1f} ({:.1f})".format(*(line["mean"] for line in pair)) if all(pair) else ""

    whole = find("parameterizations", data="fsdd", **WHOLE)
    lines = grid("numbers of so many clips per class", each("parameterization", kept), CPC, cell)
    return [*lines, ("all 2700 clips", f"{whole['mean']:.1f}", "", "")]


def files():
    kept = {
        "`Direct()`": "direct",
        "`Static()`": "static",
        "`Waveform(extractor)`, the same bit for bit": "waveform",
    }

    def cell(**key):
        pair = [
            find("round_trip", what="mtt", **{"as": kind}, **key) for kind in ("features", "files")
        ]
        return " → ".join(dict.fromkeys(f"{line['mean']:.1f}" for line in pair))

    return grid("kept as", each("parameterization", kept), JUDGES, cell)


def networks():
    down = {
        "MTT, 10 clips": {"what": "mtt", "cpc": 10},
        "DM, 10 clips": {"what": "dm", "cpc": 10},
        "random, 10 clips": {"what": "random", "cpc": 10},
        "random, 30 clips": {"what": "random", "cpc": 30},
    }
    across = JUDGES | {"ConvNet behind an enhancer": {"judge": "tfe-convnet-32"}}

    def cell(**key):
        return told(find("table_2", data="fsdd", network="convnet-32", **key))

    return grid("clips per class", down, across, cell)


def ranking():
    proxies = {
        "MTT": "mtt",
        "random clips": "random",
        "herding": "herding",
        "MTT, as cepstra": "mtt-static",
        "random clips, as cepstra": "random-static",
        "all clips, two epochs": "early_stopping",
        "all clips, once more": "whole, again",
    }
    across = {
        "Spearman": {"measure": "spearman", "times": 1, "digits": 2},
        "accuracy of the chosen": {"measure": "accuracy_of_the_chosen", "times": 100, "digits": 1},
        "time": {"measure": "time_ratio", "times": 1, "digits": 2},
        "with making the set": {"measure": "time_ratio_with_making", "times": 1, "digits": 2},
    }

    def cell(what, measure, times, digits):
        line = find("figure_8", "over draws", what=what)
        if line is None:
            return ""
        mean, std = (times * line[key] for key in (measure, f"{measure}_std"))
        spread = f" ± {std:.{digits}f}" if line["draws"] > 1 and "time" not in measure else ""
        return f"{mean:.{digits}f}{spread}"

    return grid("20 clips per class", each("what", proxies), across, cell)


KEPT = {
    f"{name}, {cpc}": DATA[name] | {"cpc": cpc}
    for name, cpc in zip(("FSDD", *[*DATA][:3]), (20, 5, 20, 20), strict=True)
}


def rehearsal():
    down = {
        "nothing": {"strategy": "finetune", "cpc": None},
        **memories("eeil"),
        "everything: joint training": {"strategy": "joint", "cpc": None},
    }
    return grid("kept of each old class", down, KEPT, in_steps)


def memory_alone():
    return grid("kept of each class", memories("scratch"), KEPT, in_steps)


def memories(strategy):
    sets = SETS | AS_CEPSTRA
    return {name: of_set | {"strategy": strategy} for name, of_set in sets.items()}


def in_steps(**key):
    return told(find("table_4", network="convnet-32", **key))


def gains(strategy):
    pairs = {
        "DM, over random clips": ("dm", "random"),
        "DM, over herding": ("dm", "herding"),
        "as cepstra, over random clips": ("dm-static", "random"),
        "as cepstra, over herding": ("dm-static", "herding"),
        "as cepstra, over random clips as cepstra": ("dm-static", "random-static"),
        "as cepstra, over joint training": ("dm-static", "joint"),
    }
    down = {name: {"what": what, "more than": other} for name, (what, other) in pairs.items()}

    def cell(**key):
        line = find("table_4", "differences", network="convnet-32", strategy=strategy, **key)
        text = f"{line['difference']:+.1f} ± {line['interval']:.1f}"
        return text if line["differs"] else f"({text})"

    return grid("clips per class", down, KEPT, cell)


def taught():
    def more(what, other):
        line = find("esc", "differences", what=what, **{"more than": other})
        return f"{line['difference']:+.1f} ± {line['interval']:.1f}"

    names = {"backbone": "EfficientNetV2", "TFE(4)": "TFE(4) in front"}
    lines = [
        (name, told(find("esc", what=what)), told(find("esc", what=t)), more(t, what))
        for what, name in names.items()
        for t in [f"{what}, taught"]
    ]
    by_the_mask = more("TFE(4)", "backbone"), more("TFE(4), taught", "backbone, taught")
    return [("", "alone", "taught", "by the teacher"), *lines, ("by the mask", *by_the_mask, "")]


def enhancer():
    down = {
        f"{size.upper()}, {batch_size} clips of {' x '.join(map(str, shape))}": {
            "size": size,
            "shape": shape,
        }
        for batch_size, shape in ((50, [3, 16, 54]), (16, [1, 128, 128]), (8, [1, 128, 512]))
        for size in ("b0", "b1", "b2")
    }
    across = {f"TFE({n_blocks})": {"n_blocks": n_blocks} for n_blocks in (1, 2, 4)}

    def cell(**key):
        line = find("enhancer", "rows", **key)
        low, high = line["interval"]
        return f"{line['percent_more_time']:+.1f} ({low:+.1f} to {high:+.1f})"

    return grid("EfficientNetV2", down, across, cell)


def updates():
    down = {
        "of width 32": {"network": "convnet-32", "side": "ours"},
        "of width 32, room for all graphs": {"network": "convnet-32", "side": "ours, all graphs"},
        "of width 128": {"network": "convnet-128", "side": "ours"},
        "of width 128, room for all graphs": {"network": "convnet-128", "side": "ours, all graphs"},
    }
    across = {"time": {"measure": "times_faster"}, "memory": {"measure": "times_less_memory"}}

    def cell(measure, **key):
        line = find("outer_iteration", "comparison", cpc=10, steps=20, **key)
        return f"{line[measure]:.1f} times less"

    return grid("ConvNet", down, across, cell)


TABLES = {
    table.__name__: table
    for table in (
        digits,
        other_recordings,
        unheard,
        storage,
        files,
        networks,
        ranking,
        rehearsal,
        memory_alone,
        taught,
        enhancer,
        updates,
    )
}
TABLES |= {
    "rehearsal_gains": partial(gains, "eeil"),
    "memory_alone_gains": partial(gains, "scratch"),
}


# ------------------------------------------------------------------------------------------
# Written
# ------------------------------------------------------------------------------------------


def as_markdown(lines):
    """Return a table of GitHub's markdown, figures to the right."""
    rule = ["---"] + ["---:"] * (len(lines[0]) - 1)
    return "".join("| " + " | ".join(line) + " |\n" for line in (lines[0], rule, *lines[1:]))


def as_rst(lines):
    """Return a table of reStructuredText."""
    quoted = [
        ", ".join('"' + cell.replace("`", "``").replace('"', '""') + '"' for cell in line)
        for line in lines
    ]
    head, *body = quoted
    text = "".join(f"   {line}\n" for line in body)
    return f".. csv-table::\n   :header: {head}\n\n{text}"


WRITERS = {".md": as_markdown, ".rst": as_rst}


def written(path):
    """Return the text of a page with its tables as they are now."""

    def replaced(match):
        return match[1] + WRITERS[path.suffix](TABLES[match[2]]())

    return PLACE[path.suffix].sub(replaced, path.read_text(encoding="utf-8"))


def main():
    for path in PAGES:
        path.write_text(written(path), encoding="utf-8")
        print(path.relative_to(HOME))


if __name__ == "__main__":
    main()
