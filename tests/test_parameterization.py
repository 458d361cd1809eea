"""What sets are kept as: the budget, the way there and back, and what a file holds."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from sklearn.base import clone
from sklearn.dummy import DummyClassifier

from sklearn_ddfad import (
    FDMFCC,
    Direct,
    DistilledSet,
    DistributionDistiller,
    GradientDistiller,
    GriffinLimInverter,
    HerdingSelector,
    KCenterSelector,
    RandomSelector,
    Spectral,
    Static,
    TrajectoryDistiller,
    Waveform,
    make_audio_classification,
)
from sklearn_ddfad._validation import Rows
from sklearn_ddfad.distillation._checkpoint import Checkpoint
from sklearn_ddfad.parameterization import DirectDecoder, decoded, decoder_from_record, record_of


@pytest.fixture(scope="module")
def words():
    """Features of 60 generated words of three classes, their labels, and the extractor."""
    clips, y = make_audio_classification(60, n_classes=3, random_state=0)
    extractor = FDMFCC(duration=0.4, n_mfcc=8)
    return extractor.fit_transform(clips), y, extractor


def small(kind=DistributionDistiller, **options):
    if kind is TrajectoryDistiller:
        options |= {"n_experts": 1, "max_start_epoch": 0, "student_steps": 3}
    defaults = {"estimator": DummyClassifier(), "max_iter": 4, "validation_fraction": 0}
    return kind(1, random_state=0, **{**defaults, **options})


# -- Static --------------------------------------------------------------------------------------


def test_differences_that_are_not_kept_follow_exactly(words):
    X, y, _ = words
    decoder = Static().plan(Rows(X[:30]), y[:30], 1)
    numbers = decoder.encode(X[30:], y[30:])  # of clips that it was not planned on
    assert {name: array.shape for name, array in numbers.items()} == {"cepstra": (30, 8, 33)}
    np.testing.assert_allclose(decoded(decoder, numbers), X[30:], atol=2e-4)


def test_planes_of_any_cepstra_belong_together(words):
    """Whatever was learned, a distilled clip is one that could be heard."""
    X, y, extractor = words
    decoder = Static().plan(Rows(X), y, 1)
    cepstra = np.random.default_rng(0).normal(size=(4, 8, 33)).astype(np.float32)
    planes = extractor.raw_planes(decoded(decoder, {"cepstra": cepstra})).numpy()
    step = np.diff(planes, axis=3, append=planes[..., -1:]) / 2
    np.testing.assert_allclose(planes[:, 1:], step[:, :2], atol=2e-3)


def test_gradients_go_through_the_differences(words):
    X, y, _ = words
    decoder = Static().plan(Rows(X), y, 1)
    cepstra = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0)).double()
    torch.autograd.gradcheck(lambda c: decoder.decode({"cepstra": c}), cepstra.requires_grad_())


@pytest.mark.parametrize(
    ("change", "words_said"),
    [
        (lambda X: X[:, :1], "three planes"),
        (lambda X: X.reshape(len(X), -1), "three planes"),
        (lambda X: X[::-1] + X * [[[0.0]], [[0.1]], [[0.0]]], "off by"),
    ],
)
def test_features_that_are_no_fd_mfcc_are_refused_before_any_work(words, change, words_said):
    X, y, _ = words
    seen = []
    distiller = small(parameterization=Static(), callbacks=[seen.append])
    with pytest.raises(ValueError, match=words_said):
        distiller.fit(np.float32(change(X)), y)
    assert not seen


# -- all of them ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DistributionDistiller, GradientDistiller, TrajectoryDistiller])
@pytest.mark.parametrize("soft_labels", [False, True])
def test_three_clips_take_the_storage_of_one(words, kind, soft_labels):
    X, y, _ = words
    soft = {"soft_labels": soft_labels}
    distiller = small(kind, parameterization=Static(), max_iter=2, **soft).fit(X, y)
    assert distiller.transform().shape == (9, 3, 8, 33)
    assert distiller.y_distilled_.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert distiller.distilled_.n_stored == 3 * X[0].size + soft_labels * 9 * 3


def test_direct_is_the_default(words):
    X, y, _ = words
    first, second = (small(parameterization=p).fit(X, y) for p in (None, Direct()))
    np.testing.assert_array_equal(first.distilled_.X, second.distilled_.X)
    assert first.distilled_.numbers is None
    assert first.distilled_.n_stored == first.distilled_.X.size


def test_a_file_holds_what_is_stored_and_gives_back_the_clips(words, tmp_path):
    X, y, extractor = words
    distiller = small(parameterization=Static()).fit(X, y)
    distilled = distiller.distilled_.with_extractor(extractor)
    distilled.save(tmp_path / "set.safetensors")
    with safe_open(tmp_path / "set.safetensors", "numpy") as file:
        assert "X" not in file.keys()  # noqa: SIM118
        kept = sum(file.get_tensor(n).size for n in file.keys() if n.startswith("numbers."))  # noqa: SIM118
    assert kept == distilled.n_stored
    again = DistilledSet.load(tmp_path / "set.safetensors")
    np.testing.assert_array_equal(again.X, distilled.X)
    assert again.n_stored == distilled.n_stored
    sounds = GriffinLimInverter(extractor).transform(again.X)
    np.testing.assert_array_equal(again.to_audio(), sounds)


def test_a_decoder_is_made_again_from_its_record(words):
    X, y, _ = words
    for parameterization in (Direct(), Static()):
        decoder = parameterization.plan(Rows(X), y, 2)
        again = decoder_from_record(*record_of(decoder))
        assert again.clips_per_class == decoder.clips_per_class
        numbers = decoder.encode(X[:4], y[:4])
        np.testing.assert_array_equal(decoded(again, numbers), decoded(decoder, numbers))
    with pytest.raises(ValueError, match="decoder 'Riddle' is unknown"):
        decoder_from_record({"class": "Riddle", "parameters": {}}, {})


def test_a_killed_fit_ends_where_an_unbroken_one_would(words, tmp_path, monkeypatch):
    X, y, _ = words
    monkeypatch.setattr(Checkpoint, "EVERY", 0.0)
    options = {"parameterization": Static(), "validation_fraction": 0.2}

    def kill(distiller):
        if distiller.n_iter_ == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        small(checkpoint=tmp_path, callbacks=[kill], **options).fit(X, y)
    again = small(checkpoint=tmp_path, **options).fit(X, y)
    unbroken = small(**options).fit(X, y)
    np.testing.assert_array_equal(again.distilled_.X, unbroken.distilled_.X)


def test_a_parameterization_is_cloned_and_searched_over():
    distiller = clone(TrajectoryDistiller(parameterization=Static()))
    assert isinstance(distiller.parameterization, Static)
    assert isinstance(distiller.set_params(parameterization=Direct()).parameterization, Direct)


def test_a_decoder_of_a_decoder_is_known_again():
    class Heir(DirectDecoder):
        pass

    assert type(decoder_from_record(*record_of(Heir(3)))) is Heir


def test_who_has_fewer_clips_than_are_decoded_is_told(words):
    X, y, _ = words
    few = np.append(np.flatnonzero(y == 0)[:2], np.flatnonzero(y == 1))
    told = "class 0 has 2 clips, fewer than the 3 of each class that are decoded"
    with pytest.warns(UserWarning, match=told):
        small(parameterization=Static()).fit(X[few], y[few])


# -- chosen clips, kept so -----------------------------------------------------------------------

selectors = pytest.mark.parametrize("kind", [RandomSelector, HerdingSelector, KCenterSelector])


def select(kind, cpc, X, y, **options):
    if kind is not RandomSelector:
        options |= {"embedding": "features"}
    return kind(cpc, estimator=DummyClassifier(), random_state=0, **options).fit(X, y)


@selectors
def test_cepstra_alone_keep_three_times_the_real_clips(words, kind):
    """They are the choice for three times the clips; nothing is lost, for differences follow."""
    X, y, extractor = words
    selector = select(kind, 2, X, y, parameterization=Static())
    few, chosen = selector.distilled_, selector.sample_indices_
    np.testing.assert_array_equal(chosen, select(kind, 6, X, y).sample_indices_)
    np.testing.assert_array_equal(few.y, y[chosen])
    np.testing.assert_array_equal(few.numbers["cepstra"], X[chosen, 0])
    np.testing.assert_allclose(few.X, X[chosen], atol=2e-4)
    np.testing.assert_array_equal(selector.transform().numpy(), few.X)
    assert few.n_stored == 3 * 2 * X[0].size
    assert few.with_extractor(extractor).to_audio().shape[0] == 18


@selectors
def test_of_chosen_clips_features_are_kept_by_default(words, kind):
    X, y, _ = words
    first, second = (select(kind, 2, X, y, parameterization=p) for p in (None, Direct()))
    np.testing.assert_array_equal(first.distilled_.X, X[first.sample_indices_])
    np.testing.assert_array_equal(first.distilled_.X, second.distilled_.X)
    assert first.distilled_.numbers is second.distilled_.numbers is None


@selectors
@pytest.mark.parametrize("kept", ["spectral", "waveform"])
def test_chosen_clips_are_what_a_distiller_begins_with(words, kind, kept, tmp_path):
    """Kept as well as the numbers can, within the budget, and read back from a file."""
    X, y, extractor = words
    kept = Spectral("lsvd", of=Static()) if kept == "spectral" else Waveform(extractor)
    selector = select(kind, 2, X, y, parameterization=kept)
    few, chosen = selector.distilled_, selector.sample_indices_
    decoder = kept.plan(Rows(X), y, 2)
    expected = decoded(decoder, decoder.encode(X[chosen], y[chosen]))
    np.testing.assert_allclose(few.X, expected, atol=1e-5)
    assert len(few.X) == 3 * decoder.clips_per_class
    assert few.n_stored <= 2 * 3 * X[0].size
    few.save(tmp_path / "few.safetensors")
    np.testing.assert_allclose(DistilledSet.load(tmp_path / "few.safetensors").X, few.X, atol=1e-5)


def test_clips_that_cannot_be_kept_so_are_refused_before_a_network_learns_them(words, monkeypatch):
    X, y, _ = words
    monkeypatch.setattr("sklearn_ddfad._training.network_classifier", None)
    selector = HerdingSelector(2, estimator=DummyClassifier(), parameterization=Static())
    with pytest.raises(ValueError, match="three planes"):
        selector.fit(X[:, :1], y)
    with pytest.raises(ValueError, match="The 'parameterization' parameter of HerdingSelector"):
        selector.set_params(parameterization="static").fit(X, y)


def test_a_class_with_fewer_clips_than_are_kept_is_told_of(words):
    X, y, _ = words
    few = np.append(np.flatnonzero(y == 0)[:2], np.flatnonzero(y == 1))
    told = "class 0 has 2 clips, fewer than the 3 of each class that are decoded"
    with pytest.warns(UserWarning, match=told):
        select(RandomSelector, 1, X[few], y[few], parameterization=Static())
