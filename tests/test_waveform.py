"""Sets that are kept as raw samples: what is heard of them, how many fit, and the way to a WAV."""

import pickle
from copy import deepcopy
from math import prod

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from sklearn_ddfad import (
    FDMFCC,
    LPCC,
    MFCC,
    Chromagram,
    DistilledSet,
    DistributionDistiller,
    GradientDistiller,
    LogMelSpectrogram,
    TrajectoryDistiller,
    Waveform,
    load_audio_folder,
    make_audio_classification,
)
from sklearn_ddfad._validation import Rows
from sklearn_ddfad.feature_extraction import BaseExtractor
from sklearn_ddfad.parameterization import _waveform, decoded, decoder_from_record, record_of
from sklearn_ddfad.parameterization._waveform import WaveformDecoder

KINDS = [FDMFCC, MFCC, LPCC, LogMelSpectrogram, Chromagram]


@pytest.fixture(scope="module")
def recordings():
    """Sixty generated words of three classes, and their labels."""
    return make_audio_classification(60, n_classes=3, random_state=0)


@pytest.fixture(scope="module")
def words(recordings):
    """Their features, labels, and the extractor that heard them."""
    clips, y = recordings
    extractor = FDMFCC(duration=0.4, n_mfcc=8)
    return extractor.fit_transform(clips), y, extractor


def planned(words, cpc=1, **options):
    X, y, extractor = words
    return Waveform(extractor, **options).plan(Rows(X), y, cpc)


def distilled(words, kind=DistributionDistiller, *, cpc=1, max_iter=4, **options):
    X, y, extractor = words
    settings = {"estimator": DummyClassifier(), "validation_fraction": 0, "random_state": 0}
    if kind is TrajectoryDistiller:
        settings |= {"n_experts": 1, "max_start_epoch": 0, "student_steps": 3}
    parameterization = Waveform(extractor, **options)
    return kind(cpc, parameterization=parameterization, max_iter=max_iter, **settings).fit(X, y)


def deviation(one, other):
    """Root of the mean square, in standard deviations of the features."""
    return np.sqrt(np.mean(np.square(one - other)))


def invented_numbers(decoder, n_clips=4, seed=0):
    rng = np.random.default_rng(seed)
    return {"samples": rng.normal(size=(n_clips, decoder.n_samples)).astype(np.float32)}


# -- what is heard -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", ["planes", "flat"])
def test_clips_are_what_the_extractor_hears_of_the_sounds(recordings, kind, layout):
    clips, y = recordings
    extractor = kind(duration=0.3, layout=layout)
    decoder = planned((extractor.fit_transform(clips), y, extractor), 9, duration=0.1003)
    numbers = invented_numbers(decoder)
    sounds = decoder.sounds(numbers)
    assert sounds.shape == (4, 2400)
    heard = decoded(decoder, numbers)
    np.testing.assert_allclose(heard, extractor.transform(sounds), atol=1e-4)
    # Silence lies around a short clip just as around a short recording.
    alone = [sound[np.flatnonzero(sound)[0] : np.flatnonzero(sound)[-1] + 1] for sound in sounds]
    assert {len(sound) for sound in alone} == {802}
    np.testing.assert_allclose(heard, extractor.transform(alone), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_go_through_the_extractor(kind, monkeypatch):
    monkeypatch.setattr(_waveform, "_rounded", lambda samples: samples)  # which has no slope
    noise = np.random.default_rng(0).normal(size=(6, 300)).astype(np.float32) / 10
    extractor = kind(duration=0.03, **{"n_mels": 10} if hasattr(kind(), "n_mels") else {})
    if hasattr(extractor, "n_mfcc"):
        extractor.set_params(n_mfcc=4)
    X = extractor.fit_transform(noise)
    decoder = planned((X, np.arange(6) % 2, extractor), cpc=30, duration=0.01)
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(2, 80, generator=generator, dtype=torch.float64) + 2

    def clips(u):
        return decoder.decode({"samples": u})

    # Along one direction, for there is a float32 number or two on the way of some.
    torch.autograd.gradcheck(clips, samples.requires_grad_(), fast_mode=True, rtol=1e-3, atol=1e-3)


def test_rounding_to_16_bits_leaves_the_gradient_as_it_is():
    numbers = torch.linspace(-12, 12, 99, dtype=torch.float64, requires_grad=True)
    smooth = _waveform._expanded(numbers)
    rounded = _waveform._rounded(smooth)
    assert (rounded * 2**15 == torch.round(smooth * 2**15).clamp(max=2**15 - 1)).all()
    gradients = [
        torch.autograd.grad(x.sum(), numbers, retain_graph=True) for x in (smooth, rounded)
    ]
    assert torch.equal(*[gradient for (gradient,) in gradients])
    again = _waveform._compressed(smooth.detach().numpy())
    np.testing.assert_allclose(again[40:59], numbers.detach()[40:59], atol=1e-9)


def test_no_numbers_make_a_sound_beyond_full_scale(words):
    decoder = planned(words)
    numbers = {"samples": np.linspace(-60, 60, decoder.n_samples, dtype=np.float32)[None]}
    sounds = decoder.sounds(numbers)
    assert (sounds.min(), sounds.max()) == (-1, 1 - 2**-15)
    assert (np.diff(sounds[0][sounds[0] != 0]) >= 0).all()
    assert np.isfinite(decoded(decoder, numbers)).all()


# -- from clips to samples -----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_real_clips_are_put_in_such_that_they_are_heard_again(recordings, kind):
    clips, y = recordings
    extractor = kind(duration=0.3)
    X = extractor.fit_transform(clips)
    decoder = planned((X, y, extractor), 9, duration=0.3)
    heard = decoded(decoder, decoder.encode(X[:12], y[:12]))
    assert deviation(heard, X[:12]) < 0.3 < 1 < deviation(X[12:24], X[:12])


def test_the_loudest_part_of_a_clip_is_kept(words):
    X, y, _ = words
    decoder = planned(words, cpc=2, duration=0.1)
    whole = decoder.sounding_like(X[:9])
    sounds = decoder.sounds(decoder.encode(X[:9], y[:9]))
    for sound, full in zip(sounds, whole, strict=True):
        assert not sound[:1200].any()
        assert not sound[-1200:].any()
        power = np.convolve(np.square(full), np.ones(800), "valid")
        loudest = full[power.argmax() :][:800]
        np.testing.assert_allclose(sound[1200:-1200], loudest.clip(-1, 1), atol=2e-3)


def test_what_is_put_in_does_not_depend_on_its_neighbours(words):
    X, y, _ = words
    decoder = planned(words)
    together = decoder.encode(X[:60], y[:60])["samples"]
    alone = decoder.encode(X[59:60], y[59:60])["samples"]
    np.testing.assert_allclose(together[59:], alone, atol=1e-2)
    assert alone.dtype == np.float32


# -- the budget ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cpc", [1, 3])
@pytest.mark.parametrize("duration", ["auto", 0.09, 0.05, 0.0333])
def test_as_many_clips_are_kept_as_fit(words, cpc, duration):
    X, _, extractor = words
    decoder = planned(words, cpc, duration=duration)
    taken, room = decoder.clips_per_class * decoder.n_samples, cpc * prod(X.shape[1:])
    assert room - decoder.n_samples < taken <= room
    if duration == "auto":
        assert decoder.clips_per_class == cpc
    else:
        assert decoder.n_samples == round(duration * extractor.sample_rate_)


def test_of_many_features_clips_are_kept_at_full_length(recordings):
    clips, y = recordings
    extractor = LogMelSpectrogram(duration=0.1, hop_length=0.001)
    decoder = planned((extractor.fit_transform(clips), y, extractor), 2)
    assert decoder.n_samples == extractor.n_samples_ == 800
    assert decoder.clips_per_class == 2 * 40 * 101 // 800


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"duration": 0.5}, "longer than the 0.4 s"),
        ({"duration": 0.2}, "use duration=0.099 or less"),
        ({"duration": 0}, "duration"),
        ({"duration": "long"}, "duration"),
        ({"extractor": "FDMFCC"}, "fitted extractor"),
        ({"extractor": MFCC()}, "MFCC, is not fitted"),
        ({"extractor": FrozenEstimator(MFCC())}, "is not fitted"),
    ],
)
def test_what_cannot_be_kept_so_is_refused_before_any_work(words, options, said):
    X, y, extractor = words
    seen = []
    parameterization = Waveform(**{"extractor": extractor, **options})
    distiller = DistributionDistiller(1, parameterization=parameterization, callbacks=[seen.append])
    with pytest.raises((ValueError, NotFittedError), match=said):
        distiller.fit(X, y)
    assert not seen


def test_the_duration_that_is_said_to_fit_does(words):
    X, _, _ = words
    decoder = planned(words, duration=0.099)
    assert decoder.n_samples == prod(X.shape[1:])


def test_features_of_another_extractor_or_in_another_unit_are_refused(words, recordings):
    clips, y = recordings
    other = FDMFCC(duration=0.3).fit(clips)
    with pytest.raises(ValueError, match=r"\(3, 16, 25\), these are of shape \(3, 8, 33\)"):
        planned((words[0], y, other))
    X = other.fit_transform([32768 * clip for clip in clips])
    with pytest.raises(ValueError, match=r"within \[-1, 1\]"):
        planned((X, y, other))


# -- distilled -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DistributionDistiller, GradientDistiller, TrajectoryDistiller])
def test_all_distillers_learn_samples(words, kind, monkeypatch):
    encode, begun = WaveformDecoder.encode, {}

    def noted(self, *args):
        numbers = encode(self, *args)
        begun.setdefault("samples", numbers["samples"].copy())
        return numbers

    monkeypatch.setattr(WaveformDecoder, "encode", noted)
    few = distilled(words, kind, duration=0.05).distilled_
    assert few.n_clips == 3 * (3 * 8 * 33 // 400)
    assert few.n_stored == few.n_clips * 400
    assert np.isfinite(few.X).all()
    assert np.abs(few.numbers["samples"] - begun["samples"]).max() > 1e-3


def test_samples_can_be_learned_at_the_step_size_of_the_distillers(words):
    X, y, _ = words
    decoder = planned(words, cpc=5, duration=0.4)
    samples = torch.from_numpy(decoder.encode(X[:6], y[:6])["samples"]).requires_grad_()
    learning_rate = 0.05 * decoder.rates["samples"]
    wanted, optimizer = torch.from_numpy(X[6:12]), torch.optim.Adam([samples], lr=learning_rate)
    losses = []
    for _ in range(200):
        optimizer.zero_grad()
        losses.append((decoder.decode({"samples": samples}) - wanted).square().mean())
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0]


def test_a_fit_goes_on_with_an_extractor_that_comes_from_elsewhere(words, tmp_path):
    X, y, extractor = words
    elsewhere = pickle.loads(pickle.dumps(extractor))
    kept = {"max_iter": 2, "random_state": 0, "estimator": DummyClassifier()}
    first, again = (
        DistributionDistiller(
            1, parameterization=Waveform(each), checkpoint=tmp_path / "fit", **kept
        ).fit(X, y)
        for each in (extractor, elsewhere)
    )
    np.testing.assert_array_equal(again.distilled_.X, first.distilled_.X)


def test_a_frozen_extractor_survives_clone(words):
    X, y, extractor = words
    frozen = Waveform(FrozenEstimator(extractor), duration=0.05)
    again = clone(frozen).plan(Rows(X), y, 1)
    numbers = invented_numbers(again)
    plain = planned(words, duration=0.05)
    np.testing.assert_array_equal(decoded(again, numbers), decoded(plain, numbers))
    same = decoder_from_record(*record_of(again))
    np.testing.assert_array_equal(decoded(same, numbers), decoded(plain, numbers))


def test_a_later_refit_of_the_extractor_changes_nothing(words, recordings):
    X, y, extractor = words
    extractor = deepcopy(extractor)
    decoder = planned((X, y, extractor))
    numbers = invented_numbers(decoder)
    before = decoded(decoder, numbers)
    extractor.fit([clip / 2 for clip in recordings[0][:9]])
    np.testing.assert_array_equal(decoded(decoder, numbers), before)


# -- kept and heard ------------------------------------------------------------------------------


def test_a_file_gives_back_clips_and_sounds(words, tmp_path):
    few = distilled(words).distilled_
    few.save(tmp_path / "few.safetensors")
    again = DistilledSet.load(tmp_path / "few.safetensors")
    np.testing.assert_array_equal(again.X, few.X)
    np.testing.assert_array_equal(again.to_audio(), few.to_audio())
    assert isinstance(again.decoder.extractor, BaseExtractor)
    assert again.n_stored == few.n_stored


def test_sounds_survive_16_bit_files(words, tmp_path):
    """No Griffin-Lim in between: what is loaded is heard as what was learned."""
    extractor = words[2]
    few = distilled(words, cpc=3).distilled_
    few.to_audio_folder(tmp_path / "few", n_iter=1)
    loaded = load_audio_folder(tmp_path / "few")
    assert loaded.sample_rate == extractor.sample_rate_
    assert {len(clip) for clip in loaded.data} == {extractor.n_samples_}
    assert loaded.target.tolist() == few.y.tolist()
    np.testing.assert_array_equal(np.stack(loaded.data), few.to_audio())
    np.testing.assert_allclose(extractor.transform(loaded.data), few.X, atol=1e-4)
    again = few.with_extractor(extractor)  # known twice, and heard the same
    np.testing.assert_array_equal(again.to_audio(), few.to_audio())


def test_features_of_the_same_shape_that_another_extractor_made_are_refused(recordings):
    clips, y = recordings
    geometry = {"duration": 0.3, "n_mfcc": 8}
    raw, standardised = (FDMFCC(standardize=which, **geometry) for which in (False, True))
    X = raw.fit_transform(clips)
    standardised.fit(clips)
    planned((X, y, raw))
    with pytest.raises(ValueError, match="has not made these features"):
        planned((X, y, standardised))


@pytest.mark.parametrize("kind", [FDMFCC, MFCC, LPCC, LogMelSpectrogram, Chromagram])
def test_sounds_cut_short_are_known_again(recordings, kind):
    clips, y = recordings
    cut = [clip[len(clip) // 2 - 400 : len(clip) // 2 + 400] for clip in clips]
    for duration in (0.2, 0.5):
        extractor = kind(duration=duration)
        planned((extractor.fit_transform(cut), y, extractor))


def test_a_set_of_sounds_keeps_its_sample_rate(words):
    few = distilled(words, DistributionDistiller, duration=0.05).distilled_
    faster = FDMFCC(sample_rate=16_000, duration=0.4, n_mfcc=8)
    faster.fit(np.random.default_rng(0).normal(size=(3, 6400)))
    with pytest.raises(ValueError, match="kept as sound of 8000 Hz, the extractor hears 16000 Hz"):
        few.with_extractor(faster)
