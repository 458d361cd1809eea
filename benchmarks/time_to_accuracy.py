"""Time until ten distilled clips a digit are worth 90 %: ours against the published recipe.

    DDFAD_DATA=folder python benchmarks/time_to_accuracy.py --preset smoke|cpu|gpu

Both sides learn from the same four fifths of FSDD's training part, with the same features, network
and augmentation, experts included. Whenever the time spent has grown by a tenth, three networks
are trained on what the side would return and judged on the remaining fifth; the clock stands still
meanwhile. It stops when their mean accuracy is at the target, and only then five new networks are
judged on the test part. The reference may take three times as long as ours did with the same seed
(four times on a GPU, where 95 % are asked for), so that a run stays within minutes.

Ours is ``TrajectoryDistiller`` with its defaults. The reference is the setting published for MTT on
ten clips a class (see ``PUBLISHED``), and is told of twice. ``times``: with all of its experts, 100
of 50 epochs, before the first iteration, as published; what they take is told from the epochs that
were run. ``times_favoured``: as it was run here, with three things in its favour, namely as many
experts to choose from as ours, each trained only once it is drawn, and only as far as students are
matched, where ours has all of its experts before the first iteration.
"""

from contextlib import suppress
from time import perf_counter

import numpy as np
import torch
from _draw import curves
from _harness import (
    Results,
    command_line,
    digits,
    in_fresh_process,
    network,
    peak_device_memory,
    peak_memory,
)

CPC = 10
PRESETS: dict = {
    "smoke": {"width": 8, "targets": (0.99,), "seeds": 1, "times_longer": 1, "quick": True},
    "cpu": {"width": 32, "targets": (0.9,), "seeds": 3, "times_longer": 3, "quick": False},
    "gpu": {"width": 128, "targets": (0.95,), "seeds": 3, "times_longer": 4, "quick": False},
}
PUBLISHED: dict = {
    "student_steps": 30,  # all clips in each
    "epochs_matched": 2,
    "max_start": 20,  # students start at epochs 0 .. 19
    "image_rate": 100.0,
    "alpha_rate": 1e-5,
    "alpha": 0.001,
    "momentum": 0.5,
    "n_experts": 12,  # of the 100 published
    "expert_rate": 0.01,
    "expert_batch": 256,
}
PUBLISHED_EXPERT_EPOCHS = 100 * 50
QUICK_OURS = {"n_experts": 1, "max_start_epoch": 0, "student_steps": 2, "max_iter": 3}
QUICK_REFERENCE = {"n_experts": 1, "max_start": 1, "student_steps": 2}


class Watch:
    """A clock that stands still while a set is judged, and knows when the race is over.

    Parameters
    ----------
    judge : callable
        ``judge(clips)`` returns the accuracy of networks trained on them.
    target : float
        The accuracy to reach.
    limit : float or None
        Seconds allowed.
    """

    def __init__(self, judge, target, limit):
        self._judge, self._target, self._limit = judge, target, limit or float("inf")
        self._passed, self._since, self._next_look = 0.0, perf_counter(), 0.0
        self.seconds_of_experts, self.looks, self.n_iterations = 0.0, [], 0

    @property
    def seconds(self):
        """Time spent so far on anything but judging."""
        return self._passed + perf_counter() - self._since

    @property
    def reached(self):
        return bool(self.looks) and self.looks[-1][1] >= self._target

    def __call__(self, get_clips):
        """Count an iteration; judge what it made if the time has come; tell whether to stop."""
        self.n_iterations += 1
        seconds = self.seconds
        over = seconds > self._limit
        if seconds >= self._next_look or over:
            self.looks.append((seconds, self._judge(get_clips())))
            self._next_look = 1.1 * seconds
            self._passed, self._since = seconds, perf_counter()
        return over or self.reached


def ours(X, y, watch, *, seed, width, device, quick):
    """Distil as the library does by default; return the clips it has when the clock stops."""
    from sklearn.dummy import DummyClassifier

    from sklearn_ddfad import TrajectoryDistiller

    class Watched(TrajectoryDistiller):
        def _descend(self, descent, *rest, **named):
            watch.seconds_of_experts, self.descent = watch.seconds, descent
            return super()._descend(descent, *rest, **named)

    distiller = Watched(
        CPC,
        network=network(f"convnet-{width}"),
        validation_fraction=0,  # the watch judges on that part
        estimator=DummyClassifier(),
        callbacks=[lambda distiller: watch(lambda: distiller.descent.averaged()[0])],
        random_state=seed,
        **(QUICK_OURS if quick else {}),
    ).fit(X, y)
    return distiller.descent.averaged()[0], {"n_experts": distiller.n_experts}


def reference(X, y, watch, *, seed, width, device, quick):
    """Distil by the published recipe; return the clips it has when the clock stops."""
    from _reference import outer_gradient

    from sklearn_ddfad.base import pick_per_class

    setting = PUBLISHED | (QUICK_REFERENCE if quick else {})
    torch.manual_seed(seed)
    rng = np.random.RandomState(seed)
    X, y_on_device = torch.tensor(X, device=device), torch.tensor(y, device=device)
    chosen = torch.tensor(pick_per_class(y, CPC, rng), device=device)
    clips, labels = X[chosen].requires_grad_(), y_on_device[chosen]
    alpha = torch.tensor(setting["alpha"], device=device, requires_grad=True)
    optimizer = torch.optim.SGD(
        [
            {"params": [clips], "lr": setting["image_rate"]},
            {"params": [alpha], "lr": setting["alpha_rate"]},
        ],
        momentum=setting["momentum"],
    )
    batches = [torch.arange(len(clips), device=device)] * setting["student_steps"]
    experts = LazyExperts(X, y_on_device, width, setting, watch)
    with suppress(FloatingPointError):  # it diverged: no set came of it
        while True:
            expert = experts[rng.randint(setting["n_experts"])]
            start = rng.randint(setting["max_start"])
            segment = expert[start], expert[start + setting["epochs_matched"]]
            loss, clips.grad, alpha.grad = outer_gradient(
                experts.module, *segment, clips, labels, alpha, batches
            )
            optimizer.step()
            if not (loss.isfinite() and clips.isfinite().all()):
                raise FloatingPointError
            if watch(lambda: clips.detach().cpu().numpy()):
                break
    seconds_of_epochs = watch.seconds_of_experts / experts.n_epochs
    return clips.detach().cpu().numpy(), {
        "n_experts": len(experts.known),
        "seconds_as_published": watch.seconds
        - watch.seconds_of_experts
        + PUBLISHED_EXPERT_EPOCHS * seconds_of_epochs,
    }


class LazyExperts:
    """The reference's experts, each trained when it is first asked for."""

    def __init__(self, X, y, width, setting, watch):
        self._data, self._width, self._setting, self._watch = (X, y), width, setting, watch
        self.known, self.module, self.n_epochs = {}, self._network(), 0

    def _network(self):
        from _reference import Augmented, convnet

        from sklearn_ddfad.augmentation import resolve_augmentation

        X, y = self._data
        augmentation = resolve_augmentation("auto", X.shape[1:])
        module = convnet(X.shape[1:], int(y.max()) + 1, self._width)
        return Augmented(module, augmentation, torch.initial_seed()).to(X.device)

    def __getitem__(self, number):
        from _reference import train_expert

        if number not in self.known:
            started = self._watch.seconds
            n_epochs = self._setting["max_start"] - 1 + self._setting["epochs_matched"]
            self.known[number] = train_expert(
                self._network(),
                *self._data,
                n_epochs=n_epochs,
                learning_rate=self._setting["expert_rate"],
                batch_size=self._setting["expert_batch"],
            )
            self.n_epochs += n_epochs
            self._watch.seconds_of_experts += self._watch.seconds - started
        return self.known[number]


def measure_one(side, target, seed, width, quick, limit):
    """Let one side run against the clock."""
    from sklearn.model_selection import train_test_split

    from sklearn_ddfad import evaluate, network_classifier

    (X, y), test = (tuple(array[:: 5 if quick else 1] for array in part) for part in digits())
    X, X_validation, y, y_validation = train_test_split(
        X, y, test_size=0.2, stratify=y, random_state=seed
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    judge = network_classifier(network(f"convnet-{width}"), **({"n_steps": 20} if quick else {}))
    y_small = np.repeat(np.arange(10), CPC)

    def accuracy(clips, part, n_repeats):
        result = evaluate(
            clips, y_small, *part, estimator=judge, n_repeats=n_repeats, random_state=seed
        )
        return result["mean"], result["std"]

    def look(clips):
        return accuracy(clips, (X_validation, y_validation), 1 if quick else 3)[0]

    watch = Watch(look, target, limit)
    run = {"ours": ours, "reference": reference}[side]
    clips, found = run(X, y, watch, seed=seed, width=width, device=device, quick=quick)
    seconds = watch.looks[-1][0] if watch.reached else watch.seconds
    row = {
        "reached": watch.reached,
        "seconds": seconds,
        "seconds_of_experts": watch.seconds_of_experts,
        "limit": limit,
        "n_iterations": watch.n_iterations,
        **found,
        "looks": watch.looks,
        "peak_megabytes": peak_memory(),
        "peak_device_megabytes": peak_device_memory(),
    }
    finite = np.isfinite(clips).all()
    mean, std = accuracy(clips, test, 1 if quick else 5) if finite else (None, None)
    return row | {"test_accuracy": mean, "test_std": std}


def summarize(rows):
    """Return how many times longer the reference takes, as published and favoured."""
    sides = {(row["target"], row["seed"], row["side"]): row for row in rows}
    summary = []
    for (target, seed, side), slow in sides.items():
        fast = sides.get((target, seed, "ours"))
        if side == "reference" and fast and fast["reached"]:
            summary.append(
                {
                    "target": target,
                    "seed": seed,
                    "times": round(slow["seconds_as_published"] / fast["seconds"], 2),
                    "times_favoured": round(slow["seconds"] / fast["seconds"], 2),
                    "at_least": not slow["reached"],
                }
            )
    return summary


def draw(results):
    """Draw the accuracy of each side over the time it took."""
    looks = [
        row | {"seconds": seconds, "accuracy": 100 * accuracy}
        for row in results.rows
        for seconds, accuracy in row["looks"]
    ]
    curves(
        looks,
        "seconds",
        "accuracy",
        results.picture(),
        by="side",
        panels=["target", "seed"],
        labels={"seconds": "time, experts included (s)", "accuracy": "validation accuracy (%)"},
        scale=("log", "linear"),
    )


def measure_all(options):
    preset, results = PRESETS[options.preset], Results(f"time_to_accuracy_{options.preset}")
    width, quick = preset["width"], preset["quick"]
    for target in preset["targets"]:
        for seed in range(preset["seeds"]):
            limit = None
            for side in ("ours", "reference"):
                row = results.measure(
                    lambda limit=limit, **key: in_fresh_process(
                        __file__, **key, quick=quick, limit=limit
                    ),
                    side=side,
                    target=target,
                    seed=seed,
                    width=width,
                )
                limit = preset["times_longer"] * row["seconds"]
            results.save(summary=summarize(results.rows))
            draw(results)
    for line in results.content["summary"]:
        print(line)


def main():
    command_line(__doc__, PRESETS, measure_one, measure_all)


if __name__ == "__main__":
    main()
