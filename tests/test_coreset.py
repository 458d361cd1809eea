"""Selectors that look at clips: herding and k-center, against their definitions and laws."""

from functools import partial
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from sklearn_ddfad import HerdingSelector, KCenterSelector, network_classifier
from sklearn_ddfad._training import draw_seed
from sklearn_ddfad._validation import Rows
from sklearn_ddfad.estimator_checks import check_reducer

both = pytest.mark.parametrize("selector", [HerdingSelector, KCenterSelector])
everywhere = pytest.mark.parametrize("embedding", ["features", "network"])


@pytest.fixture(autouse=True)
def quick_network(monkeypatch):
    quick = partial(network_classifier, n_steps=20)
    monkeypatch.setattr("sklearn_ddfad._training.network_classifier", quick)


def cloud(n=40, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def labelled(n=60, d=6):
    """Rows of three classes that differ, in no order."""
    y = np.random.default_rng(1).permutation(np.arange(n) % 3)
    return cloud(n, d) + 2 * np.eye(3, d, dtype=np.float32)[y], y


def chosen(selector, cpc, X, y=None, **options):
    options = {"embedding": "features", "estimator": DummyClassifier(), **options}
    y = np.zeros(len(X), int) if y is None else y
    return selector(cpc, random_state=0, **options).fit(X, y).sample_indices_


# -- what is chosen --------------------------------------------------------------------------


def herded(X, n):
    """Return the picks of iCaRL's Algorithm 4 as it is written, each clip taken once."""
    mean, picks = X.mean(axis=0), []
    for k in range(1, n + 1):
        rest = [i for i in range(len(X)) if i not in picks]
        picks.append(min(rest, key=lambda i: np.linalg.norm(mean - X[[*picks, i]].sum(0) / k)))
    return picks


def herded_by_weights(X, n):
    """Return the picks of iCaRL's code, for clips of length one: largest product with a weight."""
    mean, picks = X.mean(axis=0), []
    weight = mean.copy()
    for _ in range(n):
        products = X @ weight
        products[picks] = -np.inf
        picks.append(int(np.argmax(products)))
        weight += mean - X[picks[-1]]
    return picks


@pytest.mark.parametrize("seed", range(3))
def test_herding_is_the_algorithm_of_its_paper(seed):
    X = cloud(seed=seed).astype(np.float64)
    np.testing.assert_array_equal(chosen(HerdingSelector, 39, X), herded(np.float32(X), 39))


@pytest.mark.parametrize("seed", range(3))
def test_both_published_rules_of_herding_agree_where_clips_have_length_one(seed):
    X = normalize(cloud(200, 16, seed=seed))
    known = herded_by_weights(X.astype(np.float64), 150)
    np.testing.assert_array_equal(chosen(HerdingSelector, 150, X), known)


def test_herding_keeps_the_mean_far_better_than_chance():
    X, rng = cloud(200), np.random.default_rng(2)
    mean = X.mean(axis=0)

    def error(picks):
        return np.linalg.norm(mean - X[picks].mean(axis=0))

    for cpc in (10, 50):
        by_chance = [error(rng.choice(200, cpc, replace=False)) for _ in range(100)]
        assert error(chosen(HerdingSelector, cpc, X)) < np.mean(by_chance) / 5


def radius(X, picks):
    """Return how far the farthest clip is from the chosen one nearest to it."""
    return cdist(X, X[list(picks)]).min(axis=1).max()


@pytest.mark.parametrize("seed", range(3))
def test_the_radius_of_k_center_is_at_most_twice_the_least_and_never_grows(seed):
    X = cloud(10, 2, seed=seed)
    before = np.inf
    for cpc in range(1, 6):
        reached = radius(X, chosen(KCenterSelector, cpc, X))
        least = min(radius(X, picks) for picks in combinations(range(10), cpc))
        assert least <= reached <= min(2 * least, before)
        before = reached


def test_k_center_starts_in_the_middle_and_goes_where_it_is_farthest_from_all():
    X = cloud()
    picks = chosen(KCenterSelector, 20, X)
    assert picks[0] == np.linalg.norm(X - X.mean(axis=0), axis=1).argmin()
    for k in range(1, 20):
        assert picks[k] == cdist(X, X[picks[:k]]).min(axis=1).argmax()


def test_k_center_takes_no_clip_twice_while_there_is_another_however_near():
    X = cloud(6, 300) * 1000
    X[3:] = X[:3]
    X[3:, 0] = np.nextafter(X[3:, 0], np.float32(np.inf))
    picks = chosen(KCenterSelector, 20, np.repeat(X, 5, axis=0))
    assert len(set(picks[:6] // 5)) == 6
    assert len(set(picks)) == 20


# -- laws of both ----------------------------------------------------------------------------


@both
@everywhere
def test_the_first_of_a_class_are_the_choice_for_a_smaller_cpc(selector, embedding):
    X, y = labelled()
    many = chosen(selector, 15, X, y, embedding=embedding).reshape(3, 15)
    for cpc in (1, 4, 14):
        few = chosen(selector, cpc, X, y, embedding=embedding).reshape(3, cpc)
        np.testing.assert_array_equal(few, many[:, :cpc])
    np.testing.assert_array_equal(y[many], [[0] * 15, [1] * 15, [2] * 15])
    assert len(np.unique(many)) == 45


@both
def test_the_choice_does_not_depend_on_the_order_of_clips(selector):
    X, y = labelled()
    order = np.random.default_rng(3).permutation(60)
    np.testing.assert_array_equal(
        order[chosen(selector, 10, X[order], y[order])], chosen(selector, 10, X, y)
    )


@both
@pytest.mark.parametrize(
    "moved",
    [
        lambda X: X @ np.linalg.qr(cloud(6, 6, seed=4))[0],
        lambda X: X + 100,
        lambda X: 3 * X,
        lambda X: np.pad(X, ((0, 0), (2, 0))),
        lambda X: X.reshape(60, 2, 3),
    ],
    ids=["turned", "shifted", "larger", "with silent features", "as images"],
)
def test_distances_alone_count(selector, moved):
    X, y = labelled()
    X = np.round(X * 1024) / 1024  # a shift of float32 numbers then loses nothing
    np.testing.assert_array_equal(chosen(selector, 10, moved(X), y), chosen(selector, 10, X, y))


@both
def test_other_classes_do_not_count(selector):
    X, y = labelled()
    picks = chosen(selector, 5, X, y)
    members = np.flatnonzero(y == 1)
    np.testing.assert_array_equal(members[chosen(selector, 5, X[members])], picks[5:10])


@both
def test_a_class_of_few_clips_gives_all_again_and_again(selector):
    X, y = labelled()
    some = np.r_[np.flatnonzero(y == 0)[:3], np.flatnonzero(y == 1)]
    with pytest.warns(UserWarning, match="fewer than cpc=7"):
        picks = chosen(selector, 7, X[some], y[some])
    assert sorted(picks[:3]) == [0, 1, 2]
    np.testing.assert_array_equal(picks[:7], np.resize(picks[:3], 7))
    assert len(set(picks[7:])) == 7


# -- where distances are measured --------------------------------------------------------------


@both
def test_principal_components_are_the_features_turned(selector):
    X, y = labelled()
    turned = PCA().fit(X).transform
    np.testing.assert_array_equal(
        chosen(selector, 10, X, y, embedding=turned), chosen(selector, 10, X, y)
    )


@both
def test_of_a_network_counts_what_its_last_layer_sees_once_it_is_trained(selector):
    X, y = labelled()
    seed = draw_seed(np.random.RandomState(0))
    module = network_classifier("mlp", n_steps=20, random_state=seed).fit(X, y).module_

    def seen(clips):
        return module.embed(torch.from_numpy(clips))  # with a gradient, as torch gives it

    picks = chosen(selector, 10, X, y, embedding="network")
    np.testing.assert_array_equal(picks, chosen(selector, 10, X, y, embedding=seen))
    assert (picks != chosen(selector, 10, X, y)).any()


@both
def test_a_network_judges_images_in_evaluation_mode(selector):
    class Noisy(torch.nn.Module):
        def __init__(self, input_shape, n_classes):
            super().__init__()
            self.classifier = torch.nn.Linear(6, n_classes)

        def embed(self, X):
            X = X.flatten(1)
            return X + torch.randn_like(X) if self.training else X

        def forward(self, X):
            return self.classifier(self.embed(X))

    X, y = labelled()
    images = X.reshape(60, 1, 2, 3)
    np.testing.assert_array_equal(
        chosen(selector, 10, images, y, embedding="network", network=Noisy),
        chosen(selector, 10, X, y),
    )


@both
def test_a_network_without_embeddings_is_refused_before_it_is_trained(selector, monkeypatch):
    monkeypatch.setattr("sklearn_ddfad._training.network_classifier", None)
    X, y = labelled()
    with pytest.raises(ValueError, match="Linear has no method embed"):
        chosen(
            selector,
            2,
            X,
            y,
            embedding="network",
            network=lambda shape, n_classes: torch.nn.Linear(*shape, n_classes),
        )


@both
@pytest.mark.parametrize(
    "answer",
    [lambda X: X[1:], lambda X: X[:, 0], lambda X: X / 0, lambda X: X[:, :, None]],
    ids=["too few", "one axis", "not finite", "three axes"],
)
@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value)")
def test_an_embedding_that_gives_something_else_is_refused(selector, answer):
    X, y = labelled()
    with pytest.raises(ValueError, match=r"must give \(n_clips, d\) finite numbers"):
        chosen(selector, 2, X, y, embedding=answer)


@both
def test_an_embedding_of_another_name_is_refused(selector):
    with pytest.raises(ValueError, match="The 'embedding' parameter of"):
        chosen(selector, 2, *labelled(), embedding="mfcc")


@both
def test_the_laws_hold_in_the_space_of_a_network(selector):
    check_reducer(selector(estimator=LogisticRegression(), random_state=0))


class CountingFile:
    """Features that are read by slices and indices, and remember how many rows at once."""

    def __init__(self, X):
        self.X, self.shape, self.dtype, self.largest = X, X.shape, X.dtype, 0

    def __getitem__(self, key):
        rows = self.X[key].copy()
        self.largest = max(self.largest, rows.size // self.shape[1])
        return rows


@both
@everywhere
def test_a_file_is_read_a_few_rows_at_a_time_and_gives_what_an_array_gives(
    selector, embedding, monkeypatch
):
    X, y = labelled()
    expected = chosen(selector, 2, X, y, embedding=embedding)
    monkeypatch.setattr(Rows, "BATCH_BYTES", 7 * 6 * 4)
    file = CountingFile(X)
    picks = chosen(selector, 2, file, y, embedding=embedding)
    np.testing.assert_array_equal(picks, expected)
    assert file.largest == 7
