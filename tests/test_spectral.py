"""Spectra times kernels: what they are, what they can hold, and what they cost."""

from itertools import permutations
from math import prod

import numpy as np
import pytest
import torch
from scipy.fft import dctn, idctn
from sklearn.dummy import DummyClassifier

from sklearn_ddfad import (
    FDMFCC,
    Direct,
    DistilledSet,
    DistributionDistiller,
    Spectral,
    Static,
    TrajectoryDistiller,
    make_audio_classification,
)
from sklearn_ddfad._validation import Rows
from sklearn_ddfad.parameterization import DirectDecoder, decoded, decoder_from_record, record_of
from sklearn_ddfad.parameterization._base import budget
from sklearn_ddfad.parameterization._spectral import SpectralDecoder, _wavelets

KINDS = ["learned", "dct", "ldct", "svd", "lsvd", "dwt"]
FROM_CLIPS = ["learned", "svd", "lsvd"]
SHAPE, N_CLASSES = (3, 6, 9), 2
QUICK: dict = {
    "max_iter": 2,
    "validation_fraction": 0,
    "estimator": DummyClassifier(),
    "random_state": 0,
}


def noise(n_clips, *shape, seed=0):
    return np.random.default_rng(seed).normal(size=(n_clips, *shape)).astype(np.float32)


def decoder(kernels, sizes, shape=SHAPE, clips_per_class=6, n_spectra=1, n_kernels=1):
    inner = DirectDecoder(clips_per_class)
    return SpectralDecoder(
        kernels, clips_per_class, N_CLASSES, sizes, shape, n_spectra, n_kernels, "clips", inner
    )


def n_rows(kernels):
    """Of twelve clips: some, or all where the clips' dimension is kept whole."""
    return 7 if kernels in FROM_CLIPS else 12


def classes(clips_per_class):
    return np.repeat(np.arange(N_CLASSES), clips_per_class)


def there_and_back(made, clips):
    return decoded(made, made.encode(clips, classes(made.clips_per_class)))


def error(made, clips):
    """What is missed of clips, of one size."""
    return np.linalg.norm(there_and_back(made, clips) - clips) / np.linalg.norm(clips)


# -- the product ---------------------------------------------------------------------------------


def test_clips_are_all_pairs_of_spectra_and_kernels():
    """Eq. 1 and 2 of the NSD paper, one pair after the other; class by class."""
    made = decoder("learned", (5, 2, 4, 3), n_spectra=2, n_kernels=3, clips_per_class=12)
    rng = np.random.default_rng(0)
    spectra = rng.normal(size=(2, 5, 2, 4, 3))
    lengths = (4, *SHAPE)  # two clips of each of two classes in a pair
    kernels = [rng.normal(size=(3, t, u)) for t, u in zip((5, 2, 4, 3), lengths, strict=True)]
    expected = [[], []]
    for T in spectra:
        for j in range(3):
            clips = np.einsum("abcd,aw,bx,cy,dz->wxyz", T, *[kernel[j] for kernel in kernels])
            expected[0] += [clips[:2]]
            expected[1] += [clips[2:]]
    numbers = {"spectra": spectra} | {f"kernel_{n + 1}": k for n, k in enumerate(kernels)}
    clips = made.decode({name: torch.from_numpy(array) for name, array in numbers.items()})
    np.testing.assert_allclose(clips, np.concatenate(expected[0] + expected[1]), rtol=1e-10)


@pytest.mark.parametrize("sizes", [(12, 1, 3, 8), (4, 3, 5, 2), (7, 2, 6, 1)])
def test_the_order_of_products_is_the_cheapest(sizes):
    made = decoder("svd", sizes)
    lengths = (12, *SHAPE)

    def cost(axes):
        now, total = list(sizes), 0
        for axis in axes:
            total += prod(now) * lengths[axis]
            now[axis] = lengths[axis]
        return total

    assert cost(made._axes) == min(map(cost, permutations(made._axes)))


@pytest.mark.parametrize("kernels", KINDS)
def test_the_gradient_reaches_all_numbers(kernels):
    made = decoder(kernels, (n_rows(kernels), 2, 3, 5))
    numbers = made.encode(noise(12, *SHAPE), classes(6))
    tensors = {name: torch.tensor(n, requires_grad=True) for name, n in numbers.items()}
    made.decode(tensors).square().sum().backward()
    for name, tensor in tensors.items():
        assert (tensor.grad.abs() > 0).all(), name


# -- what can be held ----------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", KINDS)
@pytest.mark.parametrize("n_spectra", [1, 3])
def test_full_size_loses_nothing(kernels, n_spectra):
    clips = noise(12, *SHAPE)
    made = decoder(kernels, (12 // n_spectra, *SHAPE), n_spectra=n_spectra)
    np.testing.assert_array_equal(there_and_back(made, clips), clips)
    assert list(made.encode(clips, classes(6))) == ["spectra"]


def test_several_sets_of_kernels_hold_what_one_spectrum_can():
    """With as many rows as clips there are places for all of them."""
    clips = noise(12, *SHAPE)
    made = decoder("svd", (12, *SHAPE), n_kernels=3)
    np.testing.assert_allclose(there_and_back(made, clips), clips, atol=1e-5)


def test_cosines_keep_the_low_frequencies():
    clips = noise(12, *SHAPE)
    spectrum = dctn(clips, axes=(1, 2, 3), norm="ortho")
    spectrum[:, 2:], spectrum[:, :, 4:], spectrum[..., 5:] = 0, 0, 0
    expected = idctn(spectrum, axes=(1, 2, 3), norm="ortho")
    for kernels in ("dct", "ldct"):
        actual = there_and_back(decoder(kernels, (12, 2, 4, 5)), clips)
        np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize(("length", "size", "block"), [(8, 4, 2), (9, 3, 4), (6, 3, 2), (7, 2, 4)])
def test_coarse_wavelets_keep_averages_of_blocks(length, size, block):
    clips = noise(12, 3, length)
    made = decoder("dwt", (12, 3, size), shape=(3, length))
    parts = np.split(clips, range(block, length, block), axis=-1)
    means = [np.broadcast_to(part.mean(axis=-1, keepdims=True), part.shape) for part in parts]
    np.testing.assert_allclose(there_and_back(made, clips), np.concatenate(means, -1), atol=1e-5)


def test_wavelets_are_haars():
    """The known matrix of order four."""
    half, r = 0.5, np.sqrt(0.5)
    haar = [[half] * 4, [half, half, -half, -half], [r, -r, 0, 0], [0, 0, r, -r]]
    np.testing.assert_allclose(np.abs(_wavelets(4)), np.abs(haar), atol=1e-12)
    np.testing.assert_allclose(_wavelets(11) @ _wavelets(11).T, np.eye(11), atol=1e-12)


@pytest.mark.parametrize("n_spectra", [1, 2])
def test_of_one_dimension_singular_vectors_keep_the_most_there_is(n_spectra):
    """Eckart and Young, of the clips' dimension."""
    clips = noise(12, 20)
    made = decoder("svd", (3, 20), shape=(20,), n_spectra=n_spectra)
    rows = clips.reshape(N_CLASSES, n_spectra, -1, 20).swapaxes(0, 1)  # by spectra
    values = np.linalg.svd(
        rows.reshape(n_spectra, -1, 20).swapaxes(0, 1).reshape(-1, n_spectra * 20)
    )
    lost = np.square(values.S[3:]).sum() / np.square(values.S).sum()
    assert error(made, clips) ** 2 == pytest.approx(lost, rel=1e-4)


@pytest.mark.parametrize("kernels", KINDS)
def test_what_was_decoded_is_held_exactly(kernels):
    """Encoding is a projection: the second one changes nothing."""
    made = decoder(kernels, (n_rows(kernels), 3, 3, 5))
    once = there_and_back(made, noise(12, *SHAPE))
    np.testing.assert_allclose(there_and_back(made, once), once, atol=2e-3)


@pytest.mark.parametrize("kernels", KINDS)
def test_more_numbers_lose_less(kernels):
    clips, errors = noise(12, *SHAPE), []
    for n_clips, *of_clip in [(2, 1, 2, 3), (5, 2, 3, 3), (9, 3, 3, 5), (12, *SHAPE)]:
        rows = n_clips if kernels in FROM_CLIPS else 12
        errors.append(error(decoder(kernels, (rows, *of_clip)), clips))
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > errors[1] > errors[2] > errors[3] == 0


def test_learned_kernels_are_fitted_about_as_well_as_singular_vectors():
    clips, sizes = noise(12, *SHAPE), (7, 2, 3, 5)
    assert error(decoder("learned", sizes), clips) < 1.02 * error(decoder("svd", sizes), clips)


def test_clips_of_low_rank_are_held_exactly():
    rng = np.random.default_rng(0)
    clips = np.einsum(
        "abc,ax,by,cz->xyz", *[rng.normal(size=s) for s in [(3, 2, 4), (3, 12), (2, 8), (4, 30)]]
    ).astype(np.float32)
    assert error(decoder("svd", (3, 2, 4), shape=(8, 30)), clips) < 1e-6


# -- what it costs -------------------------------------------------------------------------------


@pytest.mark.parametrize("kernels", KINDS)
@pytest.mark.parametrize(
    "shape", [(3, 16, 54), (1, 40, 30), (2, 3, 4, 5), (6,), (1,), (100,), (1, 1, 7), (5, 1)]
)
@pytest.mark.parametrize("cpc", [1, 4])
def test_numbers_stay_within_the_budget(kernels, shape, cpc):
    codes = np.arange(60) % 3
    X = np.cumsum(noise(60, *shape), axis=-1)
    pairs = [(1, 1), (2, 1), (1, 2)] if kernels in FROM_CLIPS else [(1, 1), (2, 1)]
    for n_spectra, n_kernels in pairs if shape != (1,) else pairs[:1]:
        spectral = Spectral(kernels, n_spectra=n_spectra, n_kernels=n_kernels)
        made = spectral.plan(Rows(X), codes, cpc)
        chosen = np.concatenate(
            [np.flatnonzero(codes == code)[: made.clips_per_class] for code in range(3)]
        )
        numbers = made.encode(X[chosen], codes[chosen])
        assert sum(array.size for array in numbers.values()) <= budget(Rows(X), codes, cpc)
        assert decoded(made, numbers).shape == (3 * made.clips_per_class, *shape)
        assert cpc // 2 * 2 <= made.clips_per_class <= 20


def smooth(n_clips, seed=0):
    """Clips whose frames are alike, and whose coefficients are not."""
    X = noise(n_clips, 1, 8, 40, seed=seed)
    for _ in range(3):
        X = (X + np.roll(X, 1, axis=-1) + np.roll(X, -1, axis=-1)) / 3
    return X / X.std()


@pytest.mark.parametrize("kernels", ["dct", "lsvd"])
def test_sizes_are_reduced_where_least_is_lost(kernels):
    codes = np.arange(200) % 4
    made = Spectral(kernels).plan(Rows(smooth(200)), codes, 2)
    *_, n_coefficients, n_frames = made.sizes
    assert n_coefficients == 8
    assert n_frames < 25


def test_clips_that_nothing_is_alike_in_are_kept_whole():
    made = Spectral("dct").plan(Rows(noise(400, 1, 8, 40)), np.arange(400) % 4, 5)
    assert made.sizes == (4 * 5, 1, 8, 40)


@pytest.mark.parametrize("kernels", ["dct", "lsvd"])
def test_clips_that_hardly_change_are_all_kept(kernels):
    X = np.tile(noise(400, 1, 8, 1), 40)
    made = Spectral(kernels).plan(Rows(X), np.arange(400) % 4, 5)
    assert made.clips_per_class == 100
    assert error(made, X[:400]) < 0.01


def test_there_are_never_more_clips_than_real_ones_and_then_less_is_lost():
    X, codes = smooth(200), np.arange(200) % 4
    sizes = []
    for cpc in (2, 20, 40):
        made = Spectral("dct").plan(Rows(X), codes, cpc)
        sizes.append(prod(made.sizes[1:]))
        assert made.clips_per_class <= 50
    assert made.clips_per_class == 50
    assert sizes[0] < sizes[1] < sizes[2]


def test_given_sizes_and_clips_are_taken():
    X, codes = Rows(smooth(200)), np.arange(200) % 4
    made = Spectral("dct", sizes=(1, 4, 10)).plan(X, codes, 2)
    assert made.sizes == (4 * made.clips_per_class, 1, 4, 10)
    assert made.clips_per_class == 2 * 320 // 40  # as many as fit
    made = Spectral("lsvd", clips_per_class=30, sizes=(1, 4, 10)).plan(X, codes, 2)
    assert made.clips_per_class == 30
    in_kernels = made.sizes[0] * 120 + 4 * 8 + 10 * 40
    assert 0 <= 2 * 4 * 320 - in_kernels - made.sizes[0] * 40 < 40 + 120  # not one row more


def test_known_kernels_are_not_stored_and_others_count():
    X, codes = Rows(smooth(200)), np.arange(200) % 4
    for kernels, stored in [("dct", 0), ("dwt", 0), ("ldct", 40 * 10), ("svd", 40 * 10)]:
        made = Spectral(kernels, sizes=(1, 8, 10), clips_per_class=4).plan(X, codes, 2)
        numbers = made.encode(X[:16], classes(8))
        assert sum(array.size for array in numbers.values()) == 16 * 8 * 10 + stored


# -- of cepstra, in distillers -------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    clips, labels = make_audio_classification(100, n_classes=2, random_state=0)
    return FDMFCC(duration=0.3, n_mfcc=8).fit_transform(clips), labels


def test_of_cepstra_the_differences_follow(digits):
    X, labels = digits
    codes = np.unique(labels, return_inverse=True)[1]
    made = Spectral("dct", of=Static()).plan(Rows(X), codes, 2)
    plain = Static().plan(Rows(X), codes, 2)
    assert made.clips_per_class > Spectral("dct").plan(Rows(X), codes, 2).clips_per_class
    numbers = made.encode(X[: 2 * made.clips_per_class], None)
    clips = decoded(made, numbers)
    np.testing.assert_allclose(decoded(plain, plain.encode(clips, None)), clips, atol=1e-5)


@pytest.mark.parametrize(
    "parameterization",
    [Spectral(kernels) for kernels in KINDS] + [Spectral("svd", of=Static(), n_kernels=2)],
    ids=repr,
)
def test_a_set_comes_back_whole_from_its_numbers(digits, parameterization, tmp_path):
    X, labels = digits
    distilled = DistributionDistiller(2, parameterization=parameterization, **QUICK).fit(X, labels)
    distilled = distilled.distilled_
    assert distilled.n_stored <= 2 * 2 * prod(X.shape[1:])
    assert distilled.n_stored == sum(array.size for array in distilled.numbers.values())
    again = decoder_from_record(*record_of(distilled.decoder))
    np.testing.assert_array_equal(decoded(again, distilled.numbers), distilled.X)
    distilled.save(tmp_path / "set.safetensors")
    loaded = DistilledSet.load(tmp_path / "set.safetensors")
    np.testing.assert_array_equal(loaded.X, distilled.X)
    np.testing.assert_array_equal(loaded.y, distilled.y)
    assert loaded.n_stored == distilled.n_stored


@pytest.mark.parametrize("kernels", ["svd", "lsvd", "ldct", "learned"])
def test_only_kernels_that_are_to_be_learned_are(digits, kernels, monkeypatch):
    X, labels = digits
    encode, first = SpectralDecoder.encode, {}

    def noted(self, *args):
        first.update(encode(self, *args))
        return dict(first)

    monkeypatch.setattr(SpectralDecoder, "encode", noted)
    distiller = DistributionDistiller(2, parameterization=Spectral(kernels), **QUICK)
    for name, numbers in distiller.fit(X, labels).distilled_.numbers.items():
        same = np.array_equal(numbers, first[name])
        assert same == (name != "spectra" and kernels == "svd"), name


def test_real_guidance_adds_its_weight_in_cross_entropy(digits):
    X, labels = digits
    losses = []
    for weight in (0, 1, 2):
        distiller = TrajectoryDistiller(
            1,
            parameterization=Spectral(),
            real_guidance=weight,
            n_experts=1,
            expert_epochs=2,
            student_steps=2,
            **QUICK,
        )
        losses.append(distiller.fit(X, labels).loss_curve_[0])
    assert losses[1] - losses[0] > 0.1
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-4)


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"kernels": "fft"}, "unknown"),
        ({"sizes": (1, 8)}, "must be 3 numbers"),
        ({"sizes": (1, 9, 10)}, "got 9"),
        ({"sizes": (1, 0, 10)}, "got 0"),
        ({"n_kernels": 0}, "not a positive integer"),
        ({"clips_per_class": 2.5}, "not a positive integer"),
        ({"kernels": "dct", "n_kernels": 2}, "would be the same"),
        ({"clips_per_class": 5, "n_spectra": 2}, "multiple of 2"),
        ({"kernels": "dct", "clips_per_class": 1000}, "cannot be kept"),
        ({"kernels": "dct", "clips_per_class": 9, "sizes": (1, 8, 40)}, "cannot be kept"),
    ],
)
def test_what_cannot_be_is_refused(options, problem):
    with pytest.raises(ValueError, match=problem):
        Spectral(**options).plan(Rows(smooth(40)), np.arange(40) % 4, 2)


@pytest.mark.parametrize("of", [Spectral(), "static"])
def test_only_features_and_cepstra_are_decomposed(of):
    with pytest.raises(TypeError, match="cannot be decomposed"):
        Spectral(of=of).plan(Rows(smooth(40)), np.arange(40) % 4, 2)


@pytest.mark.parametrize("kernels", ["dct", "dwt"])
@pytest.mark.parametrize("cpc", [1, 2, 3])
def test_given_sizes_make_as_many_clips_as_fit(kernels, cpc):
    X, codes = Rows(smooth(400)), np.arange(400) % 4
    made = Spectral(kernels, sizes=(1, 7, 9)).plan(X, codes, cpc)
    assert made.clips_per_class == cpc * 8 * 40 // (7 * 9)


def test_direct_is_what_is_decomposed_by_default():
    X, codes = Rows(smooth(40)), np.arange(40) % 4
    assert Spectral().plan(X, codes, 2) == Spectral(of=Direct()).plan(X, codes, 2)
