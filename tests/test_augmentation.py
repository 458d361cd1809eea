"""Augmentation: the draw is a value, the rest is a pure, affine function of the features."""

import numpy as np
import pytest
import torch

from sklearn_ddfad import Augmentation
from sklearn_ddfad.augmentation import (
    Draw,
    NoAugmentation,
    resolve_augmentation,
    shift_frames,
)

SHAPE = (40, 3, 8, 21)
NOTHING = {"time_shift": 0, "time_mask": 0, "frequency_mask": 0, "gain": 0}
EVERYTHING = Augmentation(time_shift=0.3, time_mask=0.3, frequency_mask=0.4, gain=0.5, noise=0.5)
EACH = [
    Augmentation(**NOTHING | {"time_shift": 0.3}),
    Augmentation(**NOTHING | {"time_mask": 0.5}),
    Augmentation(**NOTHING | {"frequency_mask": 0.5}),
    Augmentation(**NOTHING | {"gain": 1.0}),
    Augmentation(**NOTHING | {"noise": 0.5}),
    Augmentation(**NOTHING | {"time_shift": 0.3}, roll=True),
    EVERYTHING,
]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def features(seed=0, shape=SHAPE):
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def frames(n_frames=6):
    return torch.arange(1.0, n_frames + 1)[None, None, None]


def equal(a, b):
    return all(torch.equal(*pair) for pair in zip(a, b, strict=True))


# -- the draw ----------------------------------------------------------------------------------


def test_a_draw_is_reproduced_by_its_seed():
    first, again, other = (EVERYTHING.draw(SHAPE, generator(seed)) for seed in (0, 0, 1))
    assert equal(first, again)
    assert not any(torch.equal(*pair) for pair in zip(first, other, strict=True))


@pytest.mark.parametrize("augmentation", [*EACH, NoAugmentation()], ids=repr)
def test_the_global_generators_are_left_alone(augmentation):
    before, numpy_before = torch.get_rng_state(), np.random.mtrand._rand.get_state()[1].copy()
    augmentation(features(), augmentation.draw(SHAPE, generator()))
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.mtrand._rand.get_state()[1], numpy_before)


def longest_run_of_zeros(mask):
    return max(map(len, "".join("01"[int(value)] for value in mask).split("1")))


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.25, 0.3, 0.5, 0.99, 1.0])
@pytest.mark.parametrize("length", [1, 2, 6, 10, 35, 54])
def test_no_mask_and_no_shift_exceeds_its_fraction(fraction, length):
    augmentation = Augmentation(time_shift=fraction, time_mask=fraction, frequency_mask=fraction)
    draw = augmentation.draw((300, 1, length, length), generator())
    limit = int(fraction * length)
    assert draw.shift.abs().max() == limit  # reached, and not exceeded
    for mask in (draw.time_mask, draw.frequency_mask):
        assert mask.unique().tolist() in ([0, 1], [0], [1])
        masked = (mask == 0).sum(dim=1)
        assert masked.max() == limit
        assert [longest_run_of_zeros(row) for row in mask] == masked.tolist()  # one stretch each


def test_masks_are_found_everywhere():
    draw = Augmentation(time_mask=0.2).draw((2000, 1, 4, 20), generator())
    masked = 1 - draw.time_mask.mean(dim=0)
    assert masked.min() > 0.03  # the borders, too
    assert masked.max() < 0.15


def test_each_clip_has_a_draw_of_its_own():
    draw = EVERYTHING.draw(SHAPE, generator())
    assert {len(value) for value in draw} == {SHAPE[0]}
    assert all(len(value.unique(dim=0)) > 5 for value in draw)


# -- applying it -------------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", EACH, ids=repr)
def test_the_same_draw_changes_two_batches_alike(augmentation):
    draw = augmentation.draw(SHAPE, generator())
    a, b = features(1), features(2)
    change = augmentation(a, draw) - augmentation(b, draw)
    # What an affine map does alike to two batches it does linearly to their difference.
    still = draw._replace(gain=torch.zeros(SHAPE[0]), noise=torch.zeros(SHAPE[0], 1, 1, 1))
    torch.testing.assert_close(change, augmentation(a - b, still))
    torch.testing.assert_close(augmentation(a, draw), augmentation(a, draw), atol=0, rtol=0)
    assert not torch.equal(augmentation(a, draw), a)


@pytest.mark.parametrize("augmentation", EACH, ids=repr)
def test_augmentation_is_affine(augmentation):
    draw = augmentation.draw(SHAPE, generator())
    a, b = features(1), features(2)
    torch.testing.assert_close(
        augmentation(0.3 * a + 0.7 * b, draw),
        0.3 * augmentation(a, draw) + 0.7 * augmentation(b, draw),
    )


@pytest.mark.parametrize("augmentation", EACH, ids=repr)
def test_gradients_reach_every_clip(augmentation):
    X = features(shape=(5, 2, 4, 6)).requires_grad_()
    draw = augmentation.draw(X.shape, generator())
    assert torch.autograd.gradcheck(lambda X: augmentation(X, draw), (X,))
    augmentation(X, draw).sum().backward()
    assert X.grad.flatten(1).any(dim=1).all()


@pytest.mark.parametrize("augmentation", EACH, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_type_and_shape_stay_and_the_batch_is_not_modified(augmentation, dtype):
    X = features().to(dtype)
    before = X.clone()
    augmented = augmentation(X, augmentation.draw(X.shape, generator()))
    assert (augmented.dtype, augmented.shape) == (dtype, X.shape)
    assert torch.equal(X, before)


def test_shift_is_that_of_a_loop():
    X, shift = features(), torch.randint(-30, 31, (SHAPE[0],), generator=generator())
    assert shift.min() < -21 < 21 < shift.max()  # beyond the clip, too
    expected = np.empty(SHAPE)
    for clip, source, by in zip(expected, X.numpy(), shift.tolist(), strict=True):
        for t in range(SHAPE[-1]):
            clip[..., t] = source[..., min(max(t - by, 0), SHAPE[-1] - 1)]
    np.testing.assert_array_equal(shift_frames(X, shift), expected)


def test_a_positive_shift_is_later_and_repeats_the_first_frame():
    assert shift_frames(frames(), torch.tensor([2])).flatten().tolist() == [1, 1, 1, 2, 3, 4]
    assert shift_frames(frames(), torch.tensor([-2])).flatten().tolist() == [3, 4, 5, 6, 6, 6]


def test_no_shift_is_the_identity():
    X = features()
    assert torch.equal(shift_frames(X, torch.zeros(len(X), dtype=torch.int64)), X)


def test_nothing_asked_for_is_the_identity():
    nothing = Augmentation(**NOTHING)
    assert torch.equal(nothing(features(), nothing.draw(SHAPE, generator())), features())
    assert nothing.draw(SHAPE, generator()).time_mask.all()


def test_masks_put_the_mean_in_place_of_what_they_take():
    draw = Draw(
        gain=torch.zeros(1),
        shift=torch.zeros(1, dtype=torch.int64),
        time_mask=torch.tensor([[1.0, 1.0, 0.0]]),
        frequency_mask=torch.tensor([[1.0, 0.0]]),
        noise=torch.zeros(1, 1, 1, 1),
    )
    masked = Augmentation(time_shift=0, time_mask=0.5, frequency_mask=0.5, gain=0)(
        torch.ones(1, 3, 2, 3), draw
    )
    for plane in masked[0]:
        assert plane.tolist() == [[1, 1, 0], [0, 0, 0]]


def test_gain_moves_the_first_coefficient_of_the_first_plane_only():
    augmentation = Augmentation(**NOTHING | {"gain": 2.0})
    draw = augmentation.draw(SHAPE, generator())
    change = augmentation(features(), draw) - features()
    assert draw.gain.std() > 1
    expected = draw.gain.double()[:, None].expand(-1, SHAPE[-1])
    torch.testing.assert_close(change[:, 0, 0], expected)
    change[:, 0, 0] = 0
    assert not change.any()


def test_what_a_rolled_shift_moves_out_comes_in_again():
    X, shift = features(), torch.randint(-30, 31, (SHAPE[0],), generator=generator())
    expected = [torch.roll(clip, by.item(), -1) for clip, by in zip(X, shift, strict=True)]
    assert torch.equal(shift_frames(X, shift, roll=True), torch.stack(expected))
    assert torch.equal(shift_frames(shift_frames(X, shift, roll=True), -shift, roll=True), X)


def test_noise_is_even_up_to_a_level_of_each_clip_which_is_even_itself():
    shape = (3000, 1, 5, 8)
    noise = Augmentation(noise=0.4).draw(shape, generator()).noise
    assert noise.min() >= 0
    assert noise.max() < 0.4
    levels = noise.flatten(1).max(dim=1).values * 41 / 40  # of 40 even numbers the largest
    assert levels.mean() == pytest.approx(0.2, abs=0.01)
    assert levels.var() == pytest.approx(0.4**2 / 12, rel=0.1)
    within = (noise.flatten(1) / levels[:, None]).mean()
    assert within == pytest.approx(0.5, abs=0.01)


def test_noise_that_is_not_asked_for_draws_nothing():
    """What was reproducible before there was noise stays so."""
    silent, noisy = generator(), generator()
    draw = Augmentation().draw(SHAPE, silent)
    also = Augmentation(noise=0.5).draw(SHAPE, noisy)
    assert equal(draw[:4], also[:4])
    assert draw.noise.shape == (SHAPE[0], 1, 1, 1)
    assert not torch.equal(silent.get_state(), noisy.get_state())


# -- choosing one ------------------------------------------------------------------------------


def test_no_augmentation_draws_nothing_and_changes_nothing():
    nothing, source = NoAugmentation(), generator()
    before = source.get_state()
    draw = nothing.draw(SHAPE, source)
    X = features()
    assert nothing(X, draw) is X
    assert torch.equal(source.get_state(), before)
    assert repr(nothing) == "NoAugmentation()"


def test_what_augmentation_stands_for():
    assert isinstance(resolve_augmentation("auto", (3, 8, 21)), Augmentation)
    assert isinstance(resolve_augmentation("auto", (30,)), NoAugmentation)
    assert isinstance(resolve_augmentation(None, (3, 8, 21)), NoAugmentation)
    assert resolve_augmentation(EVERYTHING, (3, 8, 21)) is EVERYTHING


@pytest.mark.parametrize("augmentation", ["specaugment", 3, lambda X: X])
def test_what_is_no_augmentation_is_refused(augmentation):
    with pytest.raises(ValueError, match="must be 'auto', None or an Augmentation"):
        resolve_augmentation(augmentation, (3, 8, 21))


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"time_shift": 1.5}, "time_shift == 1.5, must be <= 1"),
        ({"time_shift": -0.1}, "time_shift == -0.1, must be >= 0"),
        ({"time_mask": 2}, "time_mask == 2, must be <= 1"),
        ({"frequency_mask": -1}, "frequency_mask == -1, must be >= 0"),
        ({"gain": -0.5}, "gain == -0.5, must be >= 0"),
        ({"noise": -0.5}, "noise == -0.5, must be >= 0"),
    ],
)
def test_fractions_out_of_range_are_refused(parameters, words):
    with pytest.raises(ValueError, match=words):
        Augmentation(**parameters)


def test_it_shows_its_parameters():
    augmentation = Augmentation(time_shift=0.2, time_mask=0.5, frequency_mask=0.0, gain=1.0)
    text = "Augmentation(time_shift=0.2, time_mask=0.5, frequency_mask=0.0, gain=1.0, "
    assert repr(augmentation) == text + "noise=0.0, roll=False)"
