"""What a small set is worth: scores, intervals, noise, storage, soft labels, DD-Ranking."""

from functools import partial
from itertools import product
from math import e

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import binomtest, norm
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import DataConversionWarning
from sklearn.linear_model import LogisticRegression, Perceptron
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from sklearn_ddfad import (
    FDMFCC,
    DistilledSet,
    accuracy_interval,
    add_noise,
    augmentation_robust_score,
    compare,
    cross_architecture,
    dd_ranking,
    evaluate,
    evaluation,
    label_robust_score,
    make_audio_classification,
    network_classifier,
    noise_robustness,
    storage,
    teach,
)


@pytest.fixture
def rows():
    """Sixty points of three classes that overlap a little."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    X = rng.normal(size=(60, 4)).astype(np.float32)
    X[np.arange(60), y] += 2
    return X, y


def softened(y, certainty=0.8):
    """Soft labels that favour the hard ones, and leave the rest to the others."""
    return np.where(np.eye(y.max() + 1)[y] > 0, certainty, (1 - certainty) / y.max())


# -- evaluate --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "judge",  # they guess by their seeds alone
    [
        DummyClassifier(strategy="uniform"),
        make_pipeline(StandardScaler(), DummyClassifier(strategy="uniform")),
    ],
    ids=["classifier", "pipeline"],
)
def test_each_repeat_is_a_fresh_judge_and_seeds_are_kept(rows, judge):
    X, y = rows
    first, second = (
        evaluate(X[:9], y[:9], X, y, estimator=judge, n_repeats=5, random_state=1) for _ in range(2)
    )
    np.testing.assert_array_equal(first["test_score"], second["test_score"])
    assert len(set(first["test_score"])) > 1
    assert first["mean"] == pytest.approx(first["test_score"].mean())
    assert first["n_clips"] == 9
    assert first["n_stored"] == X[:9].size
    assert not hasattr(judge, "classes_")


def test_it_says_which_judge_is_right_about_which_clip(rows):
    X, y = rows
    result = evaluate(X[:9], y[:9], X, y, estimator=GaussianNB(), n_repeats=2)
    right = GaussianNB().fit(X[:9], y[:9]).predict(X) == y
    np.testing.assert_array_equal(result["correct"], [right, right])
    np.testing.assert_allclose(result["test_score"], right.mean())
    assert result["interval"][0] < result["mean"] < result["interval"][1]


def test_more_clips_never_hurt_a_consistent_judge(rows):
    X, y = rows
    few, many = (evaluate(X[:n], y[:n], X, y, estimator=GaussianNB())["mean"] for n in (6, 60))
    assert few < many


def test_a_column_of_test_labels_and_clips_of_any_lengths_will_do(rows):
    X, y = rows
    with pytest.warns(DataConversionWarning):
        told = evaluate(X, y, X, y[:, None], estimator=GaussianNB(), n_repeats=1)
    assert told["correct"].shape == (1, 60)
    sounds = [np.full(3 + i % 2, value) for i, value in enumerate(X[:, 0])]
    means = FunctionTransformer(lambda sounds: np.array([[sound.mean()] for sound in sounds]))
    judge = make_pipeline(means, GaussianNB())
    assert evaluate(sounds, y, sounds, y, estimator=judge, n_repeats=1)["n_stored"] == 210


@pytest.mark.parametrize("n_repeats", [0, -1])
def test_at_least_one_judge_is_asked(rows, n_repeats):
    with pytest.raises(ValueError, match="n_repeats == "):
        evaluate(*rows, *rows, n_repeats=n_repeats)


def test_labels_of_another_kind_or_number_are_refused_before_training(rows):
    X, y = rows
    with pytest.raises(ValueError, match="Mix of label input types"):
        evaluate(X, y, X, np.array(["a", "b", "c"])[y], estimator=None)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        evaluate(X, y[1:], X, y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        evaluate(X, y, X, y[1:])


# -- soft labels -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "judge",
    [GaussianNB(), LogisticRegression(), make_pipeline(StandardScaler(), LogisticRegression())],
    ids=["bayes", "logistic", "pipeline"],
)
def test_soft_labels_that_are_certain_teach_what_hard_ones_do(rows, judge):
    X, y = rows
    hard = evaluate(X[:30], y[:30], X, y, estimator=judge, n_repeats=1)
    soft = evaluate(X[:30], np.eye(3)[y[:30]], X, y, estimator=judge, n_repeats=1)
    np.testing.assert_array_equal(hard["correct"], soft["correct"])
    assert soft["n_stored"] == hard["n_stored"] + 30 * 3


def test_a_classifier_tells_the_probabilities_that_it_was_taught():
    """All clips are alike, so the best answer is the mean of their labels."""
    P = np.array([[0.1, 0.2, 0.7], [0.5, 0.0, 0.5]])
    judge = evaluation.fit_on(LogisticRegression(C=1e6), np.zeros((2, 1)), P)
    np.testing.assert_allclose(judge.predict_proba([[0.0]]), [P.mean(axis=0)], atol=1e-3)
    np.testing.assert_array_equal(judge.classes_, [0, 1, 2])


@pytest.mark.parametrize("judge", [GaussianNB(), network_classifier(n_steps=40)], ids=["nb", "net"])
def test_columns_of_soft_labels_stand_for_the_labels_one_names(rows, judge):
    X, y = rows
    names, P = np.array(["x", "y", "z"]), softened(y)
    known = {"estimator": judge, "n_repeats": 1}
    sorted_ones = evaluate(X, P, X, names[y], **known)
    assert sorted_ones["mean"] > 0.8
    turned = evaluate(X, P[:, [2, 0, 1]], X, names[y], classes=names[[2, 0, 1]], **known)
    assert turned["mean"] == pytest.approx(sorted_ones["mean"], abs=0.05)
    wrong = evaluate(X, P, X, names[y], classes=names[[2, 0, 1]], **known)
    assert wrong["mean"] < 0.2


def test_soft_labels_that_cannot_be_used_are_refused(rows):
    X, y = rows
    P = softened(y)
    with pytest.raises(ValueError, match="KNeighborsClassifier cannot learn from soft labels"):
        evaluate(X, P, X, y, estimator=KNeighborsClassifier())
    with pytest.raises(ValueError, match="4 columns, and there are 3 classes"):
        evaluate(X, np.hstack([P, 0 * P[:, :1]]), X, y)
    for wrong in (-1.0, 1.5, np.nan):
        bad = P.copy()
        bad[7, 0] = wrong
        with pytest.raises(ValueError, match="of clip 7 are no probabilities"):
            evaluate(X, bad, X, y)


# -- intervals -------------------------------------------------------------------------------


@pytest.mark.parametrize("n_right", [0, 1, 150, 290, 300])
@pytest.mark.parametrize("n_judges", [1, 5])
def test_judges_that_agree_give_the_binomial_interval_of_one(n_right, n_judges):
    """A judge without luck tells nothing new the second time."""
    correct = np.tile(np.arange(300) < n_right, (n_judges, 1))
    wilson = binomtest(n_right, 300).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(accuracy_interval(correct), wilson, atol=1e-9)


def answers(rng, n_judges=5, n_test=300, talent=0.15):
    """Judges of varying talent, and easy and hard clips: expected accuracy is in closed form."""
    score = 1.2 + talent * rng.normal(size=(n_judges, 1)) + rng.normal(size=n_test)
    return score + rng.normal(size=(n_judges, n_test)) > 0


@pytest.mark.parametrize(("n_judges", "talent"), [(5, 0.15), (5, 0.3), (3, 0.3), (1, 0)])
def test_95_percent_of_the_intervals_hold_the_accuracy_one_would_expect(n_judges, talent):
    rng = np.random.default_rng(0)
    expected = norm.cdf(1.2 / np.sqrt(talent**2 + 1 + 1))
    drawn = many(rng, n_judges=n_judges, talent=talent)
    held = [low < expected < high for low, high in map(accuracy_interval, drawn)]
    assert 0.92 < np.mean(held) < 0.98


def many(rng, **options):
    return [answers(rng, **options) for _ in range(500)]


def test_judges_that_differ_widen_the_interval():
    rng = np.random.default_rng(0)
    alike, unlike = (answers(rng, talent=talent) for talent in (0, 1))
    widths = [np.diff(accuracy_interval(correct)) for correct in (alike, unlike)]
    assert widths[0] < 0.1 < widths[1]


# -- compare ---------------------------------------------------------------------------------


def alone(n_both, n_first, n_second, n_test=300):
    """Two judges: how many clips both, only the first and only the second are right about."""
    kind = np.repeat(
        [0, 1, 2, 3], [n_both, n_first, n_second, n_test - n_both - n_first - n_second]
    )
    return {"correct": (kind < 2)[None]}, {"correct": ((kind == 0) | (kind == 2))[None]}


def test_the_verdict_on_two_judges_is_that_of_mcnemar():
    for n_first, n_second in product(range(0, 40, 2), repeat=2):
        p = binomtest(n_first, max(n_first + n_second, 1)).pvalue
        verdict = compare(*alone(200, n_first, n_second))["significant"]
        assert verdict == (p < 0.05) or 0.03 < p < 0.08, (n_first, n_second, p)


def test_what_two_intervals_leave_open_the_same_clips_may_decide():
    first, second = alone(240, 15, 0)
    assert accuracy_interval(first["correct"])[0] < accuracy_interval(second["correct"])[1]
    result = compare(first, second)
    assert result["difference"] == pytest.approx(15 / 300)
    assert result["significant"]


def test_to_compare_the_other_way_round_changes_the_sign():
    rng = np.random.default_rng(0)
    first, second = ({"correct": answers(rng, n)} for n in (5, 3))
    there, back = compare(first, second), compare(second, first)
    assert there["difference"] == -back["difference"] != 0
    np.testing.assert_allclose(there["interval"], -np.array(back["interval"])[::-1])
    assert not compare(first, first)["significant"]


def test_equal_sets_are_rarely_told_apart():
    rng = np.random.default_rng(0)
    halves = [np.split(correct, 2) for correct in many(rng, n_judges=10)]
    found = [compare({"correct": a}, {"correct": b})["significant"] for a, b in halves]
    assert np.mean(found) < 0.08


def test_results_on_other_clips_are_not_compared():
    with pytest.raises(ValueError, match="300 clips, the second on 200"):
        compare({"correct": np.ones((1, 300))}, {"correct": np.ones((1, 200))})


# -- other architectures ---------------------------------------------------------------------


def test_each_architecture_gets_what_evaluate_says_of_it(rows):
    X, y = rows
    judges = {"bayes": GaussianNB(), "tree": DecisionTreeClassifier()}
    results = cross_architecture(X[:9], y[:9], X, y, estimators=judges, n_repeats=3)
    for name, judge in judges.items():
        alone = evaluate(X[:9], y[:9], X, y, estimator=judge, n_repeats=3)
        np.testing.assert_array_equal(results[name]["correct"], alone["correct"])


def test_networks_are_those_of_the_paper_or_of_a_list(monkeypatch):
    def network(*args, estimator):
        return estimator.get_params()["module__network"]

    monkeypatch.setattr(evaluation, "evaluate", network)
    paper = cross_architecture(None, None, None, None)
    assert [name for name, module in paper.items() if module.__name__ == name] == [
        "ConvNet",
        "ResNet18",
        "VGG11",
    ]
    assert cross_architecture(None, None, None, None, estimators=["mlp"]) == {"mlp": "mlp"}
    with pytest.raises(ValueError, match="called alike"):
        cross_architecture(None, None, None, None, estimators=["mlp", "mlp"])


# -- noise -----------------------------------------------------------------------------------


def decibels(power):
    return 10 * np.log10(power)


@pytest.mark.parametrize("snr_db", [40, 10, 0, -20])
def test_noise_lies_as_far_below_each_clip_as_asked(invented_clips, snr_db):
    before = [clip.copy() for clip in invented_clips]
    for clip, noisy, copy in zip(
        invented_clips, add_noise(invented_clips, snr_db), before, strict=True
    ):
        noise = noisy.astype(float) - clip
        assert decibels(np.mean(clip.astype(float) ** 2) / np.mean(noise**2)) == pytest.approx(
            snr_db, abs=0.01
        )
        assert noisy.dtype == np.float32
        np.testing.assert_array_equal(clip, copy)


def test_noise_is_white_and_gaussian():
    [noisy] = add_noise([np.ones(100_000)], 0)
    noise = noisy - 1
    np.testing.assert_allclose(
        [np.mean(noise[lag:] * noise[: len(noise) - lag]) for lag in (1, 2, 7)], 0, atol=0.015
    )
    for width in (1, 2):
        within = norm.cdf(width) - norm.cdf(-width)
        assert np.mean(np.abs(noise) < width) == pytest.approx(within, abs=0.01)


def test_one_draw_of_noise_is_scaled_for_all_levels():
    clip = np.sin(np.arange(1000) / 5)
    loud, quiet = (add_noise([clip], snr_db, random_state=3)[0] - clip for snr_db in (10, 30))
    np.testing.assert_allclose(loud, 10 * quiet, atol=1e-5)
    other = add_noise([clip], 10, random_state=4)[0] - clip
    assert abs(np.corrcoef(loud, other)[0, 1]) < 0.1


def test_silence_stays_silent_and_infinity_is_no_noise(invented_clips):
    assert not np.any(add_noise([np.zeros(100)], 0))
    for clip, same in zip(invented_clips, add_noise(invented_clips, np.inf), strict=True):
        np.testing.assert_array_equal(clip, same)


def test_noise_is_the_same_whatever_holds_the_clips():
    pcm = (np.random.default_rng(0).normal(size=(3, 500)) * 3000).astype(np.int16)
    in_rows, in_list = add_noise(pcm, 10), add_noise(list(pcm / np.float32(2**15)), 10)
    np.testing.assert_array_equal(in_rows, in_list)


def test_a_set_is_worth_less_the_noisier_it_is_and_faint_noise_changes_nothing():
    clips, labels = make_audio_classification(60, n_classes=3, random_state=0)
    extractor = FDMFCC(duration=0.3, layout="flat")
    X = extractor.fit_transform(clips)
    small = DistilledSet(X[:15], labels[:15]).with_extractor(extractor).to_audio(n_iter=4)
    judge = {"estimator": LogisticRegression(), "n_repeats": 1}
    results = noise_robustness(
        small, labels[:15], X, labels, extractor=extractor, snr_db=(200, -60), **judge
    )
    assert list(results) == [np.inf, 200, -60]
    clean = evaluate(extractor.transform(small), labels[:15], X, labels, **judge)
    np.testing.assert_array_equal(results[np.inf]["correct"], clean["correct"])
    np.testing.assert_array_equal(results[200]["correct"], clean["correct"])
    difference = compare(results[np.inf], results[-60])
    assert difference["difference"] > 0.2
    assert difference["significant"]


def test_features_of_real_recordings_follow_the_noise(fsdd_clips):
    extractor = FDMFCC()
    clean = extractor.fit_transform(fsdd_clips)
    changes = [
        np.abs(extractor.transform(add_noise(fsdd_clips, snr_db)) - clean).mean()
        for snr_db in (60, 40, 20, 0)
    ]
    assert changes[0] < 0.1  # standard deviations
    assert changes[-1] > 0.5
    assert changes == sorted(changes)


# -- storage ---------------------------------------------------------------------------------


def test_storage_counts_the_bytes_of_what_is_kept(rows):
    X, y = rows
    small, P = X[:6], softened(y)[:6].astype(np.float32)
    assert storage(small) == {"n_clips": 6, "n_stored": 24, "bytes": small.nbytes}
    soft = storage(DistilledSet(small, y[:6], soft_labels=P), X)
    assert soft["bytes"] == small.nbytes + P.nbytes
    assert soft["compression"] == X.nbytes / soft["bytes"]
    assert storage(X, X)["compression"] == 1


def test_storage_counts_samples_of_recordings_of_any_lengths():
    clips = [np.zeros(n, dtype=np.float32) for n in (100, 50, 30)]
    assert storage(clips[1:], clips) == {
        "n_clips": 2,
        "n_stored": 80,
        "bytes": 320,
        "compression": 180 / 80,
    }


# -- teach -----------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_temperature_divides_the_logits_of_the_teacher(rows, temperature):
    X, y = rows
    P = teach(X, y, X[:9], estimator=LogisticRegression(), temperature=temperature)
    logits = LogisticRegression().fit(X, y).decision_function(X[:9])
    np.testing.assert_allclose(P, softmax(logits / temperature, axis=1), atol=1e-5)


def test_a_taught_clip_needs_no_label_of_its_own(rows):
    X, y = rows
    names = np.array(["x", "y", "z"])[y]
    P = teach(X, names, X[:30], estimator=LogisticRegression())
    np.testing.assert_allclose(P.sum(axis=1), 1, atol=1e-6)
    taught = evaluate(X[:30], P, X, names, estimator=LogisticRegression(), n_repeats=1)
    assert taught["mean"] > 0.8


def test_who_cannot_teach_is_refused(rows):
    X, y = rows
    with pytest.raises(ValueError, match="Perceptron tells no probabilities"):
        teach(X, y, X, estimator=Perceptron())
    for temperature in (0, -1, np.nan):
        with pytest.raises(ValueError, match="must be above 0"):
            teach(X, y, X, estimator=GaussianNB(), temperature=temperature)


# -- DD-Ranking ------------------------------------------------------------------------------

SCORES = [
    (label_robust_score, np.array([-1, 1, 1, -1])),  # whether an accuracy speaks for the set
    (augmentation_robust_score, np.array([1, -1, 1, -1])),
]


@pytest.mark.parametrize(("score", "signs"), SCORES)
def test_scores_go_from_0_to_1_and_follow_the_formula(score, signs):
    best = (signs + 1) / 2
    assert score(*best) == pytest.approx(1)
    assert score(*(1 - best)) == pytest.approx(0)
    for accuracies in np.random.default_rng(0).uniform(size=(20, 4)):
        exponent = signs @ accuracies / 2
        expected = (e**exponent - e**-1) / (e - e**-1)
        assert score(*accuracies) == pytest.approx(expected)
        for i, sign in enumerate(signs):
            higher = accuracies.copy()
            higher[i] = (1 + accuracies[i]) / 2
            assert sign * (score(*higher) - score(*accuracies)) > 0


def test_the_weight_says_which_half_counts():
    accuracies = (0.9, 0.6, 0.7, 0.4)
    only_recovery = label_robust_score(0.9, 0.6, 0.4, 0.4, weight=0)
    assert label_robust_score(*accuracies, weight=0) == pytest.approx(only_recovery)
    only_improvement = label_robust_score(0.9, 0.9, 0.7, 0.4, weight=1)
    assert label_robust_score(*accuracies, weight=1) == pytest.approx(only_improvement)
    with_augmentation = augmentation_robust_score(0.9, 0.6, 0.5, 0.5, weight=1)
    assert augmentation_robust_score(*accuracies, weight=1) == pytest.approx(with_augmentation)


@pytest.mark.parametrize(("score", "signs"), SCORES)
@pytest.mark.parametrize("wrong", [43.1, -0.1, np.nan])
def test_percent_are_refused(score, signs, wrong):
    with pytest.raises(ValueError, match="divide percent by 100"):
        score(0.5, 0.5, 0.5, wrong)
    with pytest.raises(ValueError, match="weight"):
        score(0.5, 0.5, 0.5, 0.5, weight=wrong)


def test_the_choice_does_not_know_the_test(rows):
    X, y = rows
    distilled = DistilledSet(X[:12], y[:12], soft_labels=softened(y)[:12])
    judge = {"estimator": DecisionTreeClassifier(), "param_grid": {"max_depth": [1, 2, None]}}
    shuffled = np.random.default_rng(0).permutation(y)
    true, false = (dd_ranking(distilled, X, y, X, labels, **judge) for labels in (y, shuffled))
    assert true["params"] == false["params"]
    assert true["acc_real_hard"] > 0.8 > false["acc_real_hard"]
    assert {p["max_depth"] for p in true["params"].values()} <= {2, None}  # 1 tells but two classes


def test_scores_are_made_of_the_accuracies_beside_them(rows):
    X, y = rows
    result = dd_ranking(
        DistilledSet(X[:12], y[:12]), X, y, X, y, estimator=GaussianNB(), n_repeats=3
    )
    for name, scores in result["test_score"].items():
        assert scores.shape == (3,)
        assert result[f"acc_{name}"] == pytest.approx(scores.mean())
    assert result["acc_syn_any"] == result["acc_syn_hard"]
    assert result["HLR"] == pytest.approx(result["acc_real_hard"] - result["acc_syn_hard"])
    assert result["IOR"] == pytest.approx(result["acc_syn_any"] - result["acc_random_any"])
    names = ("acc_real_hard", "acc_syn_hard", "acc_syn_any", "acc_random_any")
    assert result["LRS"] == label_robust_score(*(result[name] for name in names))
    assert len(set(result["test_score"]["random_any"])) > 1  # each is drawn anew
    assert "ARS" not in result


def test_the_whole_set_recovers_all_of_itself(rows):
    X, y = rows
    result = dd_ranking(DistilledSet(X, y), X, y, X, y, estimator=GaussianNB(), n_repeats=2)
    assert result["HLR"] == 0


class Witness(GaussianNB):
    """A judge that writes down what it learns from."""

    seen = []

    def __init__(self, augmentation="auto"):
        super().__init__()
        self.augmentation = augmentation

    def fit(self, X, y, sample_weight=None):
        self.seen.append((self.augmentation, len(np.unique(X, axis=0)), sample_weight is not None))
        return super().fit(X, y, sample_weight)


def test_random_clips_meet_the_same_labels_and_augmentation_as_the_set(rows):
    X, y = rows
    distilled = DistilledSet(X[:12], y[:12], soft_labels=softened(y)[:12])
    Witness.seen.clear()
    result = dd_ranking(distilled, X, y, X, y, estimator=Witness(), n_repeats=2)
    seen = Witness.seen
    for augmentation in ("auto", None):
        assert seen.count((augmentation, 12, True)) == 2 + 2  # the set itself, and random clips
    assert seen.count(("auto", 12, False)) == 2  # hard labels
    assert seen.count(("auto", 60, False)) == 2 + 1  # the whole set, and the teacher
    assert len(seen) == 8 + 2 + 3
    names = ("acc_syn_any", "acc_random_any", "acc_syn_plain", "acc_random_plain")
    assert result["ARS"] == augmentation_robust_score(*(result[name] for name in names))


def test_a_network_is_ranked_at_its_own_best_step_size(rows):
    X, y = rows
    options = {"estimator": network_classifier(n_steps=20), "n_repeats": 1}
    ranked = partial(dd_ranking, DistilledSet(X[:12], y[:12]), X, y, X, y, **options)
    result = ranked()
    assert {name for params in result["params"].values() for name in params} == {"lr"}
    assert result["acc_real_hard"] > 0.8
    still = ranked(param_grid={"lr": [1e-7, 0.1]})
    assert all(params == {"lr": 0.1} for params in still["params"].values())


def test_settings_are_chosen_on_clips_that_were_not_learned_from(rows, monkeypatch):
    X, y = rows
    trials, plain = [], evaluation.evaluate

    def spied(X_small, y_small, X_test, y_test, **options):
        if len(X_test) == 12:  # a fifth of 60
            trials.append((X_small, X_test))
        return plain(X_small, y_small, X_test, y_test, **options)

    monkeypatch.setattr(evaluation, "evaluate", spied)
    dd_ranking(
        DistilledSet(X[:12], y[:12]),
        X,
        y,
        X + 100,
        y,
        estimator=DecisionTreeClassifier(),
        param_grid={"max_depth": [1, None]},
        n_repeats=1,
    )
    learned = [trial for trial in trials if not np.array_equal(trial[0], X[:12])]
    assert {len(clips) for clips, _ in learned} == {12, 48}  # random clips, and the whole set
    for clips, tested in learned:
        assert not {row.tobytes() for row in clips} & {row.tobytes() for row in tested}


def test_a_set_of_other_labels_is_refused(rows):
    X, y = rows
    with pytest.raises(ValueError, match=r"labels that the real clips have not: \[7\]"):
        dd_ranking(DistilledSet(X[:3], np.array([0, 1, 7])), X, y, X, y, estimator=GaussianNB())
