"""What every benchmark needs: fresh processes, the machine's name, results that can be resumed."""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

RESULTS = Path(__file__).parent / "results"
SHAPE, CLASSES = (3, 16, 54), 10  # of spoken digits as FDMFCC hears them
THREADS = {"--threads": {"type": int, "default": 2}}


def command_line(doc, presets, measure_one, measure_all, arguments=None):
    """Be the command line of a script: measure one row, printed as JSON, or all of a preset.

    ``measure_one(**row)`` is what a fresh process is asked for, by ``--one``, and may have nothing
    to say; ``measure_all(options)`` does the rest. `arguments` are further ones, by name.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--preset", choices=presets, default="smoke")
    parser.add_argument("--one", help="measure this row, JSON, in this process")
    for name, settings in (arguments or {}).items():
        parser.add_argument(name, **settings)
    options = parser.parse_args()
    if not options.one:
        measure_all(options)
    elif (row := measure_one(**json.loads(options.one))) is not None:
        print(json.dumps(row))


def machine(threads=None):
    """Describe what the figures were measured on."""
    cuda = torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads or torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def folder():
    """Return where results of this kind of machine are kept: ``cpu``, ``nvidia-h200``, ...

    In ``benchmarks/results``, or in the folder that ``DDFAD_RESULTS`` names.
    """
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    results = Path(os.environ.get("DDFAD_RESULTS", RESULTS))
    place = results / "-".join(device.lower().split())
    place.mkdir(parents=True, exist_ok=True)
    return place


class Results:
    """A JSON file of measured rows that grows: what is there already is not measured again."""

    def __init__(self, name):
        self.path = folder() / f"{name}.json"
        self.content = {"machine": machine(), "rows": []}
        if self.path.is_file():
            self.content = json.loads(self.path.read_text())

    @property
    def rows(self):
        return self.content["rows"]

    def picture(self, name=None):
        """Return where to draw the rows: beside the file, `name` telling several apart."""
        return self.path.with_name(self.path.stem + (f"_{name}" if name else "") + ".png")

    def find(self, **key):
        """Return the row with these values, or None."""
        return next((r for r in self.rows if all(r.get(k) == v for k, v in key.items())), None)

    def measure(self, function, **key):
        """Return the row of `key`, measured by ``function(**key)`` unless it is there already."""
        row = self.find(**key)
        if row is None:
            row = {**key, **function(**key)}
            self.rows.append(row)
            self._name_processor()
            self.save()
        print(
            "  ".join(
                f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v!s:.80}" for k, v in row.items()
            )
        )
        return row

    def _name_processor(self):
        """Name this machine's processor, too, if others measured rows before."""
        here, named = _processor(), self.content["machine"]["processor"]
        if here not in named.split("; "):
            self.content["machine"]["processor"] = f"{named}; {here}"

    def save(self, **summary):
        """Write the file, with a summary if there is one."""
        self.content.update(summary)
        draft = self.path.with_suffix(".part")
        draft.write_text(json.dumps(self.content, indent=1) + "\n")
        draft.replace(self.path)


def in_fresh_process(script, **options):
    """Run ``script --one '{...}'`` in a process of its own; return what it prints, as JSON."""
    command = [sys.executable, str(script), "--one", json.dumps(options)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def peak_memory():
    """Return the largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def forget_peak_device_memory():
    """Let :func:`peak_device_memory` tell of what comes from now on."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak_device_memory():
    """Return the most that tensors on the GPU have taken so far, in MB; None without one."""
    return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None


@cache
def digits():
    """Return features and labels of FSDD's training and test part."""
    from sklearn_ddfad import FDMFCC, load_audio_folder

    place = Path(os.environ["DDFAD_DATA"]) / "fsdd"
    train, test = (load_audio_folder(place, split=split) for split in ("train", "test"))
    extractor = FDMFCC(train.sample_rate)
    return (
        (extractor.fit_transform(train.data), train.target),
        (extractor.transform(test.data), test.target),
    )


def network(name):
    """Return what an estimator takes as network.

    ``"convnet-128"`` is a ConvNet of that width, ``"efficientnetv2-b2"`` one of that size, and
    ``"tfe-convnet-128"`` has a Time-Frequency Enhancer of four blocks in front.
    """
    from sklearn_ddfad import VGG11, ConvNet, EfficientNetV2, EnhancedNetwork, ResNet18

    if name.startswith("tfe-"):
        backbone = network(name.removeprefix("tfe-"))
        return partial(EnhancedNetwork, backbone=backbone, n_blocks=4)
    kind, _, size = name.partition("-")
    kinds = {
        "convnet": ConvNet,
        "efficientnetv2": EfficientNetV2,
        "resnet18": ResNet18,
        "vgg11": VGG11,
    }
    if not size:
        return kind
    return partial(kinds[kind], **{"width": int(size)} if size.isdigit() else {"size": size})


def print_table(title, table):
    """Print ``{line: {column: text}}``; what is not there is left open."""
    columns = list(dict.fromkeys(column for cells in table.values() for column in cells))
    lines = [["", *columns]]
    lines += [[str(line), *(cells.get(c, "") for c in columns)] for line, cells in table.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"\n{title}")
    for line in lines:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)))


def timed_iterations(cpc, width, *, warm_up, counted, **options):
    """Return a distiller, and a function that tells its median time of an iteration once fitted.

    It has one expert, of one epoch.
    """
    from sklearn.dummy import DummyClassifier

    from sklearn_ddfad import TrajectoryDistiller

    moments = []
    distiller = TrajectoryDistiller(
        cpc,
        network=network(f"convnet-{width}"),
        estimator=DummyClassifier(),
        n_experts=1,
        max_start_epoch=0,
        expert_epochs_matched=1,
        max_iter=warm_up + counted,
        callbacks=[lambda _: moments.append(perf_counter())],
        random_state=0,
        **options,
    )
    return distiller, lambda: float(np.median(np.diff(moments)[warm_up - 1 :]))
