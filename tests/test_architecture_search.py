"""Searching among architectures: what is trained on what, and how rankings are compared."""

import re
from itertools import combinations

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import pearsonr, rankdata
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning, FitFailedWarning, NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from sklearn_ddfad import (
    ArchitectureSearch,
    ConvNet,
    DistilledSet,
    DistributionDistiller,
    RandomSelector,
    convnet_space,
    network_classifier,
    rank_agreement,
)
from sklearn_ddfad._training import NetworkClassifier
from sklearn_ddfad.distillation._checkpoint import Checkpoint

WORDS = np.array(["no", "so", "yes"])


@pytest.fixture(scope="module")
def rows():
    """Three classes, easily told apart; the first number of each row is its own."""
    rng = np.random.default_rng(0)
    codes = np.arange(60) % 3
    X = rng.normal(size=(60, 4)).astype(np.float32)
    X[:, 1] += 4 * codes
    X[:, 0] = np.arange(60) / 100
    return X, WORDS[codes]


@pytest.fixture(scope="module")
def images():
    """Feature images of two classes, easily told apart."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    X = rng.normal(size=(60, 1, 8, 8)).astype(np.float32)
    X[y == 1, :, :4] += 3
    return X, y


class Witness(ClassifierMixin, BaseEstimator):
    """Nearest neighbours that write down what they are shown; `name` tells several apart."""

    learned: list = []
    tested: list = []

    def __init__(self, name="", random_state=None):
        self.name = name
        self.random_state = random_state

    def fit(self, X, y):
        self.learned.append((self.name, X))
        if self.name == "killed" and not Immortal.now:
            raise KeyboardInterrupt
        if self.name == "broken":
            raise RuntimeError("no such luck")
        self.neighbours_ = KNeighborsClassifier(1).fit(X, y)
        self.classes_ = self.neighbours_.classes_
        return self

    def predict(self, X):
        self.tested.append((self.name, X))
        return self.neighbours_.predict(X)


class Immortal:
    now = False


@pytest.fixture
def witness(monkeypatch):
    monkeypatch.setattr(Witness, "learned", [])
    monkeypatch.setattr(Witness, "tested", [])
    monkeypatch.setattr(Immortal, "now", False)
    return Witness


def numbers(X):
    """Return which of the rows these are."""
    return set(np.rint(100 * X[:, 0]).astype(int))


# ------------------------------------------------------------------------------------------
# The space
# ------------------------------------------------------------------------------------------


def test_the_space_is_every_combination_once():
    space = convnet_space()
    assert len({tuple(options.items()) for options in space}) == len(space) == 720
    counts = pd.DataFrame(space).nunique()
    assert counts.to_dict() == {
        "depth": 4,
        "width": 4,
        "activation": 3,
        "normalization": 5,
        "pooling": 3,
    }


def test_every_kind_of_network_of_the_space_can_be_built():
    kinds = [options for options in convnet_space(max_width=32) if options["depth"] == 4]
    for options in kinds:
        network = ConvNet((3, 16, 20), 5, **options)
        assert network(torch.zeros(2, 3, 16, 20)).shape == (2, 5)


def test_a_sample_of_the_space_is_of_its_seed_and_has_nothing_twice():
    samples = [convnet_space(48, max_width=64, random_state=seed) for seed in (0, 0, 1)]
    assert samples[0] == samples[1] != samples[2]
    for sample in samples:
        assert len({tuple(options.items()) for options in sample}) == 48
        assert {options["width"] for options in sample} == {32, 64}
        assert all(options in convnet_space() for options in sample)


@pytest.mark.parametrize("n", [0, 181])
def test_a_sample_that_there_is_not_is_refused(n):
    with pytest.raises(ValueError, match=re.escape(f"n={n} networks were asked for, of 180")):
        convnet_space(n, max_width=32)


# ------------------------------------------------------------------------------------------
# How well rankings agree
# ------------------------------------------------------------------------------------------


def test_spearman_is_the_correlation_of_ranks_and_kendall_counts_pairs():
    rng = np.random.default_rng(0)
    truth = rng.permutation(30) / 30
    scores = truth + rng.normal(0, 0.3, 30)
    result = rank_agreement(scores, truth, n_bootstrap=10)
    assert result["spearman"] == pytest.approx(pearsonr(rankdata(scores), rankdata(truth))[0])
    pairs = [
        np.sign((scores[i] - scores[j]) * (truth[i] - truth[j]))
        for i, j in combinations(range(30), 2)
    ]
    assert result["kendall"] == pytest.approx(np.mean(pairs))
    stretched = rank_agreement(np.exp(scores), truth**3, n_bootstrap=10)
    assert [stretched[k] for k in ("spearman", "kendall")] == pytest.approx(
        [result[k] for k in ("spearman", "kendall")]
    )


def test_the_same_order_agrees_wholly_and_the_opposite_not_at_all():
    truth = np.linspace(0.1, 0.9, 40)
    same, opposite = (rank_agreement(s, truth, n_bootstrap=20) for s in (truth / 2, -truth + 1))
    assert [same[k] for k in ("spearman", "kendall", "spearman_top")] == pytest.approx([1] * 3)
    assert same["regret"] == 0
    assert [opposite[k] for k in ("spearman", "kendall_top")] == pytest.approx([-1] * 2)
    assert opposite["regret"] == pytest.approx(0.8)


def test_the_top_is_that_of_the_truth():
    """All agree but the best tenth, which is upside down."""
    truth = np.arange(40) / 40
    scores = truth.copy()
    scores[36:] = scores[36:][::-1]
    shuffled = np.random.default_rng(0).permutation(40)
    result = rank_agreement(scores[shuffled], truth[shuffled], top=0.1, n_bootstrap=20)
    assert result["n_top"] == 4
    assert result["spearman_top"] == pytest.approx(-1)
    assert result["spearman"] > 0.99
    assert result["regret"] == pytest.approx(3 / 40)


@pytest.mark.parametrize(("n", "n_top"), [(720, 36), (48, 3), (140, 7), (10, 1)])
def test_the_top_share_is_rounded_up(n, n_top):
    values = np.random.default_rng(0).uniform(size=n)
    assert rank_agreement(values, values, n_bootstrap=1)["n_top"] == n_top


def test_a_candidate_that_failed_counts_as_the_worst():
    failed = rank_agreement([0.4, np.nan, 0.9], [0.5, 0.3, 0.8], n_bootstrap=1)
    assert failed["spearman"] == pytest.approx(1)
    assert rank_agreement([0.9, 0.1], [np.nan, 0.7], n_bootstrap=1)["regret"] == 0.7
    losses = rank_agreement([-0.5, np.nan, -0.9], [-0.4, np.nan, -2], n_bootstrap=1)
    assert (losses["regret"], round(losses["spearman"], 9)) == (0, 1)
    assert rank_agreement([np.nan] * 2, [0.5, 0.6], n_bootstrap=1)["regret"] == pytest.approx(0.1)


def test_an_interval_is_told_from_samples_and_holds_the_truth_most_times():
    """Scores and truth share one half of their variance: their ranks are known to correlate so."""
    rng = np.random.default_rng(0)
    expected = 6 / np.pi * np.arcsin(0.5 / 2)  # Spearman's of normal pairs that correlate by 1/2
    held, widths = [], {20: [], 80: []}
    for i in range(30):
        n = (20, 80)[i % 2]
        pairs = rng.multivariate_normal([0, 0], [[1, 0.5], [0.5, 1]], size=n)
        low, high = rank_agreement(*pairs.T, n_bootstrap=40)["spearman_interval"]
        held.append(low < expected < high)
        widths[n].append(high - low)
    assert np.mean(held) > 0.8
    assert np.mean(widths[20]) > 1.5 * np.mean(widths[80])


def test_where_all_are_alike_there_is_no_correlation():
    result = rank_agreement([0.1] * 5, np.arange(5) / 5, n_bootstrap=10)
    assert np.isnan([result["spearman"], *result["kendall_interval"]]).all()
    assert result["regret"] == 0.8


def test_too_few_or_unequal_candidates_are_refused():
    with pytest.raises(ValueError, match="nothing to rank: 1 candidate"):
        rank_agreement([0.1], [0.2])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        rank_agreement([0.1, 0.2], [0.2])


# ------------------------------------------------------------------------------------------
# What is learned from, and what is tested on
# ------------------------------------------------------------------------------------------


def test_no_candidate_and_no_proxy_sees_the_clips_that_are_tested_on(rows, witness):
    X, y = rows
    space = [witness("a"), witness("b")]
    search = ArchitectureSearch(space, RandomSelector(4, random_state=0), random_state=0)
    search.fit(X, y)
    (_, first), (_, second), (_, refitted) = witness.learned
    assert numbers(first) == numbers(second) == numbers(search.proxy_.X)
    tested = [numbers(seen) for _, seen in witness.tested]
    assert tested[0] == tested[1]
    assert len(tested[0]) == 12  # a fifth of the clips
    assert not tested[0] & numbers(first)
    assert numbers(refitted) == set(range(60))
    assert np.bincount(np.searchsorted(WORDS, y[[*tested[0]]])).tolist() == [4, 4, 4]


def test_given_validation_clips_leave_all_others_to_learn_from(rows, witness):
    X, y = rows
    search = ArchitectureSearch([witness()], "whole", refit=False, random_state=0)
    search.fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:])
    assert numbers(witness.learned[0][1]) == set(range(40))
    assert numbers(witness.tested[0][1]) == set(range(40, 60))
    right = KNeighborsClassifier(1).fit(X[:40], y[:40]).score(X[40:], y[40:])
    assert search.best_score_ == right


def test_a_proxy_is_made_once(rows, monkeypatch):
    made = []
    reduce = RandomSelector._reduce
    monkeypatch.setattr(RandomSelector, "_reduce", lambda *args: made.append(args) or reduce(*args))
    ArchitectureSearch([GaussianNB(), LogisticRegression()], RandomSelector(3)).fit(*rows)
    assert len(made) == 1


class CountEpochs(Callback):
    counted: list = []

    def on_train_end(self, net, **kwargs):
        self.counted.append((len(net.history), net.step_, net.n_steps_))


def test_early_stopping_is_a_tenth_of_the_epochs_on_all_clips(images, monkeypatch):
    monkeypatch.setattr(CountEpochs, "counted", [])
    classifier = network_classifier(
        n_steps=60, batch_size=16, device="cpu", callbacks=[CountEpochs()]
    )
    space = [{"depth": 1, "width": 4}]
    search = ArchitectureSearch(space, "early_stopping", estimator=classifier).fit(*images)
    # 48 clips are 3 steps an epoch, 60 are 4; no training is shorter than 20 epochs.
    assert CountEpochs.counted == [(2, 6, 6), (20, 80, 80)]
    assert search.proxy_ is None


@pytest.mark.parametrize("proxy", [RandomSelector(3), "early_stopping", "whole"], ids=str)
def test_proxies_are_learned_in_small_steps_and_all_clips_as_usual(rows, proxy, monkeypatch):
    trained = []

    def train(self, X, y, **fit_params):
        trained.append((self.n_steps, self.batch_size, self.lr))
        return self

    monkeypatch.setattr(NetworkClassifier, "_train", train)
    ArchitectureSearch(["mlp"], proxy, random_state=0).fit(*rows)
    usual, small = (400, 50, 0.1), (400, 10, 0.05)
    assert trained == [usual if proxy == "whole" else small, usual]


def test_a_distilled_set_and_soft_labels_can_be_learned_from(images):
    X, y = images
    words = WORDS[y]
    distiller = DistributionDistiller(
        3,
        max_iter=2,
        soft_labels=True,
        validation_fraction=0,
        estimator=DummyClassifier(),
        random_state=0,
    )
    soft = distiller.fit(X, words).distilled_
    space = [{"depth": 1, "width": 8}, {"depth": 2, "width": 8}]
    judge = network_classifier(n_steps=20, device="cpu")
    search = ArchitectureSearch(space, soft, estimator=judge, random_state=0).fit(X, words)
    assert search.proxy_ is soft
    assert search.best_score_ > 0.8
    assert set(search.predict(X)) == set(words)
    assert search.score(X, words) > 0.9


def test_a_set_of_other_clips_is_refused(rows):
    X, y = rows
    other = DistilledSet(X[:6], np.array(["no", "so", "maybe"] * 2))
    with pytest.raises(ValueError, match="proxy holds clips of shape"):
        ArchitectureSearch([GaussianNB()], other).fit(X, y)


# ------------------------------------------------------------------------------------------
# What comes of it
# ------------------------------------------------------------------------------------------


def test_the_one_that_learns_is_found_and_all_are_told_of(rows):
    space = {"guess": DummyClassifier(), "bayes": GaussianNB(), "again": DummyClassifier()}
    search = ArchitectureSearch(space, "whole", random_state=0).fit(*rows)
    results = search.results_
    assert results["candidate"].tolist() == [*space]
    assert results["rank"].tolist() == [2, 1, 2]
    assert results["score"].tolist() == pytest.approx([1 / 3, 1, 1 / 3])
    assert (results["fit_time"] > 0).all()
    assert search.best_index_ == 1
    assert search.best_architecture_ is space["bayes"]
    assert search.score(*rows) > 0.95
    np.testing.assert_allclose(search.predict_proba(rows[0]).sum(axis=1), 1, rtol=1e-5)


def test_options_are_columns_and_parameters_are_counted(images):
    space = [{"depth": 1, "width": 4, "pooling": "max"}, {"depth": 1, "width": 8}]
    judge = network_classifier(n_steps=20, device="cpu")
    search = ArchitectureSearch(space, "whole", estimator=judge, random_state=0).fit(*images)
    results = search.results_
    assert results["width"].tolist() == [4, 8]
    assert results["candidate"][0] == "ConvNet(depth=1, width=4, pooling=max)"
    built = [sum(p.numel() for p in ConvNet((1, 8, 8), 2, **o).parameters()) for o in space]
    assert results["n_parameters"].tolist() == built


def test_candidates_are_ranked_by_the_scoring_asked_for(tmp_path):
    """Who says the common class always is right most often, and yet knows nothing."""
    y = WORDS[np.repeat([0, 2], [80, 20])]
    X = np.random.default_rng(0).normal(size=(100, 1)) + np.repeat([0, 1.5], [80, 20])[:, None]
    space = {"usual": DummyClassifier(), "line": LogisticRegression(class_weight="balanced")}
    options = {"proxy": "whole", "random_state": 0, "checkpoint": tmp_path}
    by_accuracy = ArchitectureSearch(space, **options).fit(X, y)
    assert by_accuracy.best_index_ == 0
    assert by_accuracy.score(X, y) == 0.8
    with pytest.raises(ValueError, match="belongs to a fit with other parameters"):
        ArchitectureSearch(space, scoring="balanced_accuracy", **options).fit(X, y)

    options["checkpoint"] = tmp_path / "fair"
    fair = ArchitectureSearch(space, scoring="balanced_accuracy", **options).fit(X, y)
    assert (fair.rows_[0]["score"], fair.best_index_) == (0.5, 1)
    line = clone(space["line"]).fit(X, y)
    assert fair.score(X, y) == balanced_accuracy_score(y, line.predict(X))


def who_is_asked(estimator, X, y):
    """Return 1 where what is said is of the kind that is asked for."""
    said, known = set(estimator.predict(X)), set(estimator.classes_)
    return float(said <= known == {*y})


@pytest.mark.parametrize("names", [[1, 2, 3], ["no", "so", "yes"]])
@pytest.mark.parametrize("scoring", ["f1_macro", "roc_auc_ovr", who_is_asked])
def test_a_search_scores_as_its_candidates_were_scored(rows, names, scoring):
    X, y = rows[0], np.array(names)[np.arange(60) % 3]
    space = {"line": LogisticRegression(), "bayes": GaussianNB()}
    search = ArchitectureSearch(space, "whole", scoring=scoring, random_state=0)
    search.fit(X, y, X_val=X, y_val=y)
    assert search.score(X, y) == search.best_score_ > 0.9


def test_the_class_that_counts_is_the_same_when_candidates_are_chosen_and_later():
    X = np.random.default_rng(0).normal(size=(200, 2))
    y = np.repeat([1, 2], [40, 160])
    X[y == 2] += 0.7
    search = ArchitectureSearch([LinearSVC()], "whole", scoring="f1").fit(X, y, X_val=X, y_val=y)
    assert search.best_score_ == f1_score(y, search.predict(X), pos_label=1)
    with pytest.raises(ValueError, match="pos_label=1 is not a valid label"):
        ArchitectureSearch([LinearSVC()], "whole", scoring="f1").fit(X, y.astype(str))


def test_the_best_is_asked_for_decisions_and_clips_have_weights():
    X = np.random.default_rng(0).normal(size=(80, 2)).astype(np.float32)
    y = np.tile(["low", "high"], 40)
    X[y == "low"] -= 1
    weights = np.where(y == "low", 1.0, 2.0)
    search = ArchitectureSearch([LinearSVC()], "whole", scoring="roc_auc", random_state=0)
    best = search.fit(X, y).best_estimator_
    assert search.score(X, y) == roc_auc_score(y == "low", search.decision_function(X))
    np.testing.assert_array_equal(search.decision_function(X), best.decision_function(X))
    search.set_params(scoring=None)
    assert search.score(X, y, weights) == best.score(X, y, weights)
    assert search.set_params(scoring="accuracy").score(X, y, weights) == best.score(X, y, weights)


def far_below_zero(estimator, X, y):
    return -1e6 - len(X)


@pytest.mark.parametrize(
    ("scoring", "ranks"), [("neg_log_loss", [3, 2, 1]), (far_below_zero, [3, 1, 1])]
)
def test_scores_below_zero_rank_before_what_could_not_be_trained(rows, scoring, ranks):
    known = {"prior": DummyClassifier(), "line": LogisticRegression()}
    space = {"broken": KNeighborsClassifier(50), **known}
    with pytest.warns(FitFailedWarning, match="broken"):
        search = ArchitectureSearch(space, RandomSelector(3), scoring=scoring).fit(*rows)
    assert [row["rank"] for row in search.rows_] == ranks
    assert search.best_score_ < 0


def test_names_functions_and_classes_of_networks_are_candidates(images):
    space = ["mlp", ConvNet, plain_network]
    judge = network_classifier(n_steps=20, device="cpu")
    search = ArchitectureSearch(space, RandomSelector(5), estimator=judge, refit=False)
    assert search.fit(*images).results_["error"].tolist() == [""] * 3


def test_the_same_seed_gives_the_same_scores_in_whatever_order_and_threads(images):
    space = [{"depth": 1, "width": 4}, {"depth": 2, "width": 4}, "mlp"]
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    judge = network_classifier(n_steps=20, device="cpu")

    def scores(space, **options):
        search = ArchitectureSearch(
            space, RandomSelector(3), estimator=judge, refit=False, random_state=3, **options
        )
        return [row["score"] for row in search.fit(*images).rows_]

    first = scores(space)
    assert scores(space[::-1]) == first[::-1]
    with joblib.parallel_backend("threading"):
        assert scores(space, n_jobs=2) == first
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])  # noqa: NPY002


def test_progress_is_shown_with_the_best_score_and_the_time_left(rows, capsys):
    search = ArchitectureSearch([GaussianNB()], "whole", verbose=1).fit(*rows)
    shown = capsys.readouterr().err
    assert "1/1" in shown
    assert f"best={search.best_score_:.3f}" in shown
    assert re.search(r"\[\d\d:\d\d<", shown)  # passed, and left


def test_without_a_refit_nothing_is_predicted(rows):
    search = ArchitectureSearch([GaussianNB()], "whole", refit=False)
    with pytest.raises(NotFittedError):
        search.predict(rows[0])
    with pytest.raises(AttributeError, match="set refit=True"):
        search.fit(*rows).predict(rows[0])


def test_without_pandas_there_are_rows(rows, monkeypatch):
    search = ArchitectureSearch([GaussianNB()], "whole", random_state=0).fit(*rows)
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install pandas"):
        _ = search.results_
    assert search.rows_[0]["score"] == 1


# ------------------------------------------------------------------------------------------
# What goes wrong
# ------------------------------------------------------------------------------------------


def test_a_candidate_that_cannot_be_trained_is_told_of_and_ranks_last(rows, witness):
    space = {"broken": witness("broken"), "guess": DummyClassifier()}
    with pytest.warns(FitFailedWarning, match="1 of 2 .* broken: RuntimeError: no such luck"):
        search = ArchitectureSearch(space, "whole").fit(*rows)
    results = search.results_
    assert results["rank"].tolist() == [2, 1]
    assert np.isnan(results["score"][0])
    assert "no such luck" in results["error"][0]
    assert search.best_index_ == 1


def test_a_network_that_diverges_is_told_of(images):
    wild = network_classifier(plain_network, n_steps=20, lr=1e12, device="cpu")
    with (
        pytest.warns(FitFailedWarning, match="diverged"),
        pytest.warns(ConvergenceWarning, match="lower lr="),
    ):
        ArchitectureSearch([wild, DummyClassifier()], "whole", random_state=0).fit(*images)


@pytest.mark.parametrize("names", [["no", "yes"], [7, 9]])
def test_classifiers_of_skorch_are_searched_and_seeded(images, names):
    X, y = images
    labels = np.array(names)[y]
    modules = [nn.Sequential(nn.Flatten(), nn.Dropout(p), nn.Linear(64, 2)) for p in (0.1, 0.9)]
    space = [
        NeuralNetClassifier(
            lambda module=module: module,
            criterion=nn.CrossEntropyLoss,
            max_epochs=5,
            train_split=None,
            verbose=0,
        )
        for module in modules
    ]
    scores = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        for module in modules:
            nn.init.zeros_(module[2].weight)
            nn.init.zeros_(module[2].bias)
        state = torch.get_rng_state()
        search = ArchitectureSearch(space, RandomSelector(3), random_state=0).fit(X, labels)
        assert torch.equal(torch.get_rng_state(), state)
        assert set(search.predict(X)) <= set(names)
        scores.append(search.results_["score"].tolist())
    assert scores[0] == scores[1]


def test_a_search_forgets_what_it_knew(rows):
    X, y = rows
    search = ArchitectureSearch([GaussianNB()], "whole").fit(X[y != "no"], y[y != "no"])
    search.set_params(refit=False).fit(X[y != "so"], y[y != "so"])
    with pytest.raises(AttributeError, match="set refit=True"):
        search.predict(X)


def test_a_damaged_file_of_a_candidate_is_measured_again(rows, tmp_path):
    search = ArchitectureSearch([GaussianNB()], "whole", checkpoint=tmp_path / "s", random_state=0)
    rows_of_first = search.fit(*rows).rows_
    (file,) = (tmp_path / "s").glob("candidate_*.json")
    file.write_text(file.read_text()[:20])
    again = clone(search).fit(*rows).rows_
    assert again[0]["score"] == rows_of_first[0]["score"]


def plain_network(input_shape, n_classes):
    return ConvNet(input_shape, n_classes, width=8, normalization="none")


def test_a_search_where_all_fail_says_why(rows, witness):
    with pytest.raises(ValueError, match=r"none of the 2 candidates .* no such luck"):
        ArchitectureSearch([witness("broken")] * 2, "whole").fit(*rows)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"space": []}, "space is empty"),
        ({"space": [{"dept": 3}]}, "unexpected keyword argument 'dept'"),
        ({"space": ["convent"]}, "'convent'"),
        ({"space": [3]}, "has a candidate 3"),
        ({"space": [FrozenEstimator(GaussianNB())]}, "is frozen and learns nothing"),
        ({"proxy": "early_stopping"}, "early stopping shortens the training of networks"),
        ({"proxy": RandomSelector(20)}, "lower cpc"),
        ({"proxy": RandomSelector}, "'proxy' parameter"),
        ({"scoring": "acuracy"}, "'scoring' parameter"),
        ({"space": [{"depth": 0}, "resnet18"]}, "none of the 2 candidates can be .* depth=0"),
        (
            {"space": ["mlp"], "estimator": network_classifier(mixup=5.0)},
            "mixup == 5.0, must be <= 1",
        ),
        ({"validation_fraction": 0.01}, "leave no validation part with every class"),
        ({"space": [["mlp"]]}, r"a candidate \['mlp'\]; give options of ConvNet"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_trained(rows, witness, options, said):
    search = ArchitectureSearch(**{"space": [witness()], "proxy": "whole"} | options)
    with pytest.raises(ValueError, match=said):
        search.fit(*rows)
    assert not witness.learned


def test_a_class_of_one_clip_is_named(rows, witness):
    X, y = rows
    y = np.append(y[1:], "once")
    with pytest.raises(ValueError, match="class once has one clip of n_samples = 60, which cannot"):
        ArchitectureSearch([witness()], "whole").fit(X, y)
    assert not witness.learned


def test_validation_clips_without_labels_or_of_unknown_ones_are_refused(rows, witness):
    X, y = rows
    search = ArchitectureSearch([witness()], "whole")
    with pytest.raises(ValueError, match="belong together"):
        search.fit(X, y, X_val=X)
    with pytest.raises(ValueError, match=r"labels that y has not: .*maybe"):
        search.fit(X, y, X_val=X[:2], y_val=["no", "maybe"])
    assert not witness.learned


# ------------------------------------------------------------------------------------------
# Going on
# ------------------------------------------------------------------------------------------


def test_a_search_that_was_killed_trains_only_what_is_missing(rows, witness, tmp_path, monkeypatch):
    space = [witness("a"), witness("b"), witness("killed"), witness("c")]
    search = ArchitectureSearch(space, RandomSelector(3), refit=False, random_state=0)
    search.set_params(checkpoint=tmp_path / "s")
    with pytest.raises(KeyboardInterrupt):
        clone(search).fit(*rows)
    before = {name for name, _ in witness.learned} - {"killed"}
    assert before
    first_set = DistilledSet.load(tmp_path / "s" / "proxy.safetensors")

    witness.learned.clear()
    Immortal.now = True
    search.fit(*rows)
    assert {name for name, _ in witness.learned} == {"a", "b", "c", "killed"} - before
    np.testing.assert_array_equal(search.proxy_.X, first_set.X)

    witness.learned.clear()
    longer = clone(search).set_params(space=[*space, witness("new")]).fit(*rows)
    assert [name for name, _ in witness.learned] == ["new"]
    assert longer.rows_[:4] == [
        row | {"rank": new["rank"]} for row, new in zip(search.rows_, longer.rows_, strict=False)
    ]


def test_a_search_that_goes_on_ends_where_an_unbroken_one_does(rows, witness, tmp_path):
    space = [witness("a"), "mlp", witness("killed"), GaussianNB()]
    judge = network_classifier(n_steps=20, device="cpu")
    search = ArchitectureSearch(
        space, RandomSelector(3), estimator=judge, random_state=5, refit=False
    )
    with pytest.raises(KeyboardInterrupt):
        clone(search).set_params(checkpoint=tmp_path / "s").fit(*rows)
    Immortal.now = True
    continued = clone(search).set_params(checkpoint=tmp_path / "s").fit(*rows)
    unbroken = search.fit(*rows)
    for ours, theirs in zip(continued.rows_, unbroken.rows_, strict=True):
        assert ours | {"fit_time": 0} == theirs | {"fit_time": 0}


def test_what_failed_is_tried_again(rows, witness, tmp_path):
    search = ArchitectureSearch(
        [witness("broken"), witness("a")], "whole", refit=False, checkpoint=tmp_path
    )
    for _ in range(2):
        with pytest.warns(FitFailedWarning):
            search.fit(*rows)
    assert sorted(name for name, _ in witness.learned) == ["a", "broken", "broken"]


def test_a_proxy_that_is_refused_leaves_the_folder_to_another(rows, tmp_path):
    search = ArchitectureSearch([GaussianNB()], RandomSelector(40), checkpoint=tmp_path / "s")
    with pytest.raises(ValueError, match="lower cpc"):
        search.fit(*rows)
    assert not (tmp_path / "s").exists()
    search.set_params(proxy__cpc=4).fit(*rows)


@pytest.mark.parametrize("change", ["data", "labels", "proxy", "validation_fraction"])
def test_a_checkpoint_of_another_search_is_refused(rows, tmp_path, change):
    X, y = rows
    search = ArchitectureSearch([GaussianNB()], RandomSelector(3), checkpoint=tmp_path)
    search.fit(X, y)
    if change == "data":
        X = X + 1
    elif change == "labels":
        y = np.char.add("not ", y)
    elif change == "proxy":
        search.set_params(proxy__cpc=4)
    else:
        search.set_params(validation_fraction=0.3)
    with pytest.raises(ValueError, match="belongs to a fit with other parameters or data"):
        search.fit(X, y)


def test_a_distillation_that_was_killed_goes_on(images, tmp_path, monkeypatch):
    monkeypatch.setattr(Checkpoint, "EVERY", 0.0)
    iterations = []

    def stop(distiller):
        iterations.append(distiller.n_iter_)
        if distiller.n_iter_ == 3 and not Immortal.now:
            raise KeyboardInterrupt

    distiller = DistributionDistiller(2, max_iter=5, callbacks=[stop], validation_fraction=0)
    search = ArchitectureSearch(
        [DummyClassifier()], distiller, refit=False, checkpoint=tmp_path / "s", random_state=0
    )
    Immortal.now = False
    with pytest.raises(KeyboardInterrupt):
        search.fit(*images)
    assert (tmp_path / "s" / "proxy").is_dir()
    Immortal.now = True
    try:
        continued = search.fit(*images).proxy_
        assert iterations == [1, 2, 3, 3, 4, 5]
        unbroken = search.set_params(checkpoint=None).fit(*images).proxy_
    finally:
        Immortal.now = False
    np.testing.assert_array_equal(continued.X, unbroken.X)


@pytest.mark.parametrize("top", [0, -0.5, 5])
def test_the_top_is_a_share(top):
    with pytest.raises(ValueError, match="top == "):
        rank_agreement([0.1, 0.2], [0.1, 0.2], top=top)
