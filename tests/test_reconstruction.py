"""The way back to sound: laws of the projections, physics of what comes out."""

from copy import copy
from itertools import pairwise

import librosa
import numpy as np
import pytest
import scipy.optimize
import scipy.signal
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from sklearn_ddfad import FDMFCC, LPCC, MFCC, Chromagram, DistilledSet, LogMelSpectrogram
from sklearn_ddfad.datasets._files import read_audio
from sklearn_ddfad.feature_extraction import (
    autocorrelation_bank,
    db_to_power,
    emphasize,
    lpcc,
    mel_filter_bank,
    stft,
)
from sklearn_ddfad.reconstruction import (
    GriffinLimInverter,
    deemphasize,
    griffin_lim,
    istft,
    lpcc_to_db,
    mel_to_magnitude,
    project_onto_consistency,
    project_onto_magnitude,
    spectral_convergence,
)

SAMPLE_RATE = 8000
FRAMES = {"n_fft": 256, "frame_length": 160, "hop_length": 80}


@pytest.fixture(scope="module")
def spoken(ddfad_data):
    """Twelve spoken digits: all ten digits, all six speakers."""
    files = sorted((ddfad_data / "fsdd" / "audio").glob("*.wav"))[::251]
    assert len(files) == 12
    return [read_audio(file)[0] for file in files]


@pytest.fixture(scope="module")
def heard(spoken):
    """An extractor fitted to the spoken digits, and their features."""
    extractor = FDMFCC(n_mfcc=20, hop_length=0.0125)
    return extractor, extractor.fit_transform(spoken)


@pytest.fixture(scope="module")
def invented():
    """An extractor and features of noise that swells: what needs no recordings."""
    noise = np.random.default_rng(0).normal(size=(5, 2000)).astype(np.float32)
    extractor = FDMFCC(n_mfcc=20, hop_length=0.01)
    return extractor, extractor.fit_transform(noise * np.linspace(0.01, 0.3, 2000, dtype="f"))


def spectrum(*shape, seed=0, dtype=torch.complex64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def magnitudes(clips, n_samples=4000, **frames):
    padded = torch.from_numpy(np.stack([np.resize(clip, n_samples) for clip in clips]))
    return stft(emphasize(padded), **(FRAMES | frames)).abs()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# -- from mel bands to frequencies -------------------------------------------------------------


def mel_error(magnitude, mel, bank):
    """Mean relative error of the mel bands, every frame and band alike."""
    return float(((bank @ magnitude**2 - mel).abs() / mel).mean())


@pytest.mark.parametrize("n_mfcc", [20, 40])
def test_mel_bands_of_real_clips_are_met_ten_times_better_than_by_librosa(spoken, n_mfcc):
    extractor = FDMFCC(n_mfcc=n_mfcc, hop_length=0.01).fit(spoken)
    mel = db_to_power(extractor.log_mel(extractor.transform(spoken[:3])))
    bank = extractor.bank(mel)
    theirs = librosa.feature.inverse.mel_to_stft(mel.numpy(), sr=SAMPLE_RATE, n_fft=256)
    ours = mel_to_magnitude(mel, bank)
    assert mel_error(ours, mel, bank) < 0.1 * mel_error(torch.from_numpy(theirs), mel, bank)
    assert mel_error(ours, mel, bank) < 3e-3


def test_what_cannot_be_met_is_met_as_nearly_as_by_scipy():
    bank = mel_filter_bank(SAMPLE_RATE, 256, 40)
    bank = bank / bank.norm(dim=1, keepdim=True)
    mel = torch.rand(40, 20, generator=seeded()) ** 8  # lone bands, between silent neighbours
    best = [scipy.optimize.nnls(bank.double().numpy(), frame)[1] for frame in mel.double().T]
    ours = (bank @ mel_to_magnitude(mel, bank, n_iter=1000) ** 2 - mel).norm(dim=0)
    assert min(best) > 0.01  # no power spectrum has these bands
    np.testing.assert_allclose(ours, best, rtol=1e-3)


def test_quiet_frames_are_solved_like_loud_ones():
    bank = mel_filter_bank(SAMPLE_RATE, 256, 40)
    mel = bank @ torch.rand(129, 6, generator=seeded())
    loud, quiet = mel_to_magnitude(mel, bank), mel_to_magnitude(1e-12 * mel, bank)
    torch.testing.assert_close(1e6 * quiet, loud, rtol=1e-3, atol=1e-4)
    assert mel_to_magnitude(torch.zeros(40, 6), bank).max() < 1e-9


def test_frames_do_not_depend_on_each_other():
    bank = mel_filter_bank(SAMPLE_RATE, 256, 40).double()
    mel = torch.rand(3, 2, 40, 7, dtype=torch.float64, generator=seeded())
    torch.testing.assert_close(
        mel_to_magnitude(mel, bank)[1, 0, :, 3:5], mel_to_magnitude(mel[1, 0, :, 3:5], bank)
    )


# -- from linear prediction to frequencies -------------------------------------------------------


def cepstra_of(decibels, n_lpcc, order):
    return lpcc(autocorrelation_bank(order + 1, 256) @ db_to_power(decibels), n_lpcc)


@pytest.mark.parametrize(("order", "n_lpcc"), [(12, 16), (12, 8), (12, 1), (1, 16), (20, 32)])
def test_the_spectrum_of_cepstra_has_these_cepstra(spoken, order, n_lpcc):
    power = magnitudes(spoken).square().double()
    cepstra = lpcc(autocorrelation_bank(order + 1, 256) @ power, n_lpcc, top_db=80)
    again = cepstra_of(lpcc_to_db(cepstra, order=order, n_fft=256), n_lpcc, order)
    assert (again - cepstra).abs().mean() < 0.02
    assert (again - cepstra).abs().max() < 0.3
    assert (cepstra - cepstra.roll(1, 0)).abs().mean() > 0.1  # while those of two clips differ


@pytest.mark.parametrize("n_lpcc", [9, 16])
@pytest.mark.parametrize("radius", [0.7, 0.85])
def test_an_all_pole_spectrum_comes_back_from_its_cepstra(radius, n_lpcc):
    poles = radius * torch.exp(1j * torch.tensor([0.4, 1.0, 1.7, 2.5], dtype=torch.float64))
    points = torch.exp(1j * torch.linspace(0, torch.pi, 129, dtype=torch.float64))
    wanted = sum(-20 * torch.log10((points - p).abs() * (points - p.conj()).abs()) for p in poles)
    wanted = wanted[None, :, None]
    cepstra = cepstra_of(wanted, n_lpcc, 8)
    distances = [
        (lpcc_to_db(cepstra, order=8, n_fft=256, n_iter=n) - wanted).square().mean().sqrt()
        for n in (0, 1, 3, 10, 30)
    ]
    assert wanted.max() - wanted.min() > 14  # dB
    assert all(later < earlier for earlier, later in pairwise(distances))
    assert distances[-1] < 0.01


def test_cepstra_of_no_filter_lead_to_a_stable_one():
    free = torch.randn(3, 16, 20, dtype=torch.float64, generator=seeded())
    free = free / torch.arange(16).clamp_min(1)[:, None]
    decibels = lpcc_to_db(free, order=12, n_fft=256)
    cepstra = torch.fft.irfft(np.log(10) / 10 * decibels, dim=1)[:, :16]  # of any spectrum
    torch.testing.assert_close(cepstra_of(decibels, 16, 12), cepstra, rtol=0, atol=0.02)
    assert (cepstra[:, :13] - free[:, :13]).abs().mean() < 0.05


def test_gradients_pass_through_the_spectrum_of_cepstra():
    cepstra = torch.randn(1, 4, 2, dtype=torch.float64, generator=seeded()) / 2
    cepstra.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda c: lpcc_to_db(c, order=2, n_fft=16, n_iter=2), (cepstra,)
    )


# -- the projections -----------------------------------------------------------------------------


def test_projection_onto_magnitude_keeps_phases_and_is_idempotent():
    X, magnitude = spectrum(2, 129, 9), spectrum(2, 129, 9, seed=1).abs()
    X[0, 5, 3] = 0
    magnitude[1, 7, 2] = 0
    projected = project_onto_magnitude(X, magnitude)
    torch.testing.assert_close(projected.abs(), magnitude)
    torch.testing.assert_close(projected * X.abs(), X * magnitude)
    torch.testing.assert_close(project_onto_magnitude(projected, magnitude), projected)


# Hops up to no overlap at all, lengths with and without a rest behind the last frame.
GEOMETRIES = [(hop, n) for hop in (40, 80, 100, 120, 150, 160, 200) for n in (1600, 1777)]


@pytest.mark.parametrize(("hop_length", "n_samples"), GEOMETRIES)
def test_projection_onto_consistency_is_the_orthogonal_one(hop_length, n_samples):
    geometry = FRAMES | {"hop_length": hop_length}
    X = spectrum(2, 129, 1 + n_samples // hop_length, dtype=torch.complex128)
    projected = project_onto_consistency(X, n_samples=n_samples, **geometry)
    again = project_onto_consistency(projected, n_samples=n_samples, **geometry)
    torch.testing.assert_close(again, projected)
    # What is left is at right angles to it, in the whole spectrum: inner frequencies count twice.
    counts = torch.tensor([1.0] + 127 * [2.0] + [1.0], dtype=torch.float64)[:, None]
    angle = (counts * (projected.conj() * (X - projected)).real).sum()
    assert abs(angle) < 1e-9 * (counts * X.abs().square()).sum()
    assert projected.abs().max() > 1


@pytest.mark.parametrize("n_samples", [1600, 1777])
@pytest.mark.parametrize("frame_length", [160, 201, 256])
def test_a_waveform_comes_back_from_its_spectrum(frame_length, n_samples):
    geometry = FRAMES | {"frame_length": frame_length}
    waveforms = spectrum(3, n_samples, dtype=torch.float64)
    again = istft(stft(waveforms, **geometry), n_samples=n_samples, **geometry)
    torch.testing.assert_close(again[:, :-80], waveforms[:, :-80])


@pytest.mark.parametrize(("hop_length", "n_samples"), GEOMETRIES)
def test_samples_that_no_frame_hears_are_silent_not_shouted(hop_length, n_samples):
    X = spectrum(2, 129, 1 + n_samples // hop_length)  # of no waveform
    waveforms = istft(X, n_samples=n_samples, **FRAMES | {"hop_length": hop_length})
    assert waveforms.shape == (2, n_samples)
    assert waveforms.abs().max() < 20 * waveforms.square().mean().sqrt()


def test_least_squares_is_what_torch_does_where_it_does_anything():
    X = spectrum(2, 129, 21, dtype=torch.complex128)
    window = torch.hann_window(160, dtype=torch.float64)
    theirs = torch.istft(X, 256, 80, 160, window, length=1600)
    torch.testing.assert_close(istft(X, n_samples=1600, **FRAMES), theirs)


# -- Griffin-Lim ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hop_length", [80, 120])
def test_without_momentum_spectral_convergence_never_gets_worse(spoken, hop_length):
    geometry = FRAMES | {"hop_length": hop_length}
    wanted = magnitudes(spoken, hop_length=hop_length)
    distances = []
    for n_iter in [*range(8), 15, 16, 31, 32, 64]:
        again = griffin_lim(
            wanted, n_samples=4000, n_iter=n_iter, momentum=0, generator=seeded(), **geometry
        )
        distances.append(spectral_convergence(stft(again, **geometry), wanted))
    falls = -torch.stack(distances).diff(dim=0)
    assert falls.min() >= -1e-6  # of 1, for every clip
    assert torch.stack(distances)[-1].max() < 0.5 * torch.stack(distances)[0].min()


def test_momentum_is_worth_twice_the_iterations(spoken):
    wanted = magnitudes(spoken)

    def distance(**parameters):
        again = griffin_lim(wanted, n_samples=4000, generator=seeded(), **FRAMES, **parameters)
        return spectral_convergence(stft(again, **FRAMES), wanted).mean()

    assert distance(n_iter=32) < distance(n_iter=64, momentum=0)


def test_each_step_goes_on_in_the_direction_of_the_last_one():
    wanted = spectrum(2, 129, 21, dtype=torch.complex128).abs()
    angle = 2 * torch.pi * torch.rand(wanted.shape[-2:], generator=seeded())
    X, last = torch.polar(wanted, angle.double().expand_as(wanted)), None
    for _ in range(5):
        X = project_onto_magnitude(X, wanted)
        consistent = project_onto_consistency(X, n_samples=1600, **FRAMES)
        X = consistent if last is None else consistent + 0.7 * (consistent - last)
        last = consistent
    expected = istft(project_onto_magnitude(X, wanted), n_samples=1600, **FRAMES)
    parameters = {"n_iter": 5, "momentum": 0.7, "generator": seeded()}
    got = griffin_lim(wanted, n_samples=1600, **parameters, **FRAMES)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_spectral_convergence_counts_the_whole_spectrum():
    waveforms, others = spectrum(2, 3, 4000, dtype=torch.float64)
    whole = {"n_fft": 256, "hop_length": 80, "center": True, "pad_mode": "constant"}
    window = torch.hann_window(256, dtype=torch.float64)
    X, A = (
        torch.stft(w, window=window, onesided=False, return_complex=True, **whole)
        for w in (waveforms, others)
    )
    expected = (X.abs() - A.abs()).norm(dim=(-2, -1)) / A.abs().norm(dim=(-2, -1))
    got = spectral_convergence(X[:, :129], A[:, :129].abs())
    torch.testing.assert_close(got, expected)
    assert spectral_convergence(X, X.abs()).max() == 0


def test_gradients_pass_through_the_way_back_even_in_silence():
    bank = mel_filter_bank(SAMPLE_RATE, 256, 40)
    mel = bank @ torch.rand(129, 21, generator=seeded())
    mel[:, 10:] = 0
    mel.requires_grad_()
    waveforms = griffin_lim(
        mel_to_magnitude(mel, bank), n_samples=1600, n_iter=4, generator=seeded(), **FRAMES
    )
    waveforms.square().sum().backward()
    assert torch.isfinite(mel.grad).all()
    assert mel.grad[:, :8].abs().max() > 0


# -- de-emphasis ---------------------------------------------------------------------------------


@pytest.mark.parametrize("coefficient", [0.0, 0.97, 0.999])
def test_deemphasis_is_the_inverse_filter(coefficient):
    waveforms = spectrum(3, 5000, dtype=torch.float32)
    expected = scipy.signal.lfilter([1], [1, -coefficient], waveforms.double().numpy())
    out = deemphasize(waveforms, coefficient)
    assert out.dtype == torch.float32
    np.testing.assert_allclose(out, expected, atol=1e-5)
    torch.testing.assert_close(emphasize(out, coefficient), waveforms, rtol=0, atol=1e-5)


# -- the estimator -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "error"),
    [
        ({"n_mfcc": 16, "hop_length": 0.015}, 0.04),
        ({"n_mfcc": 20, "hop_length": 0.0125}, 0.08),
        ({"n_mfcc": 20, "hop_length": 0.01}, 0.12),
        ({"n_mfcc": 40, "hop_length": 0.01}, 0.2),
        ({"n_mfcc": 20, "hop_length": 0.02}, 0.04),  # no overlap: torch.istft would give up
        ({"n_mfcc": 20, "hop_length": 0.0125, "pre_emphasis": 0.0, "top_db": None}, 0.12),
        ({"n_mfcc": 20, "hop_length": 0.0125, "duration": 0.3}, 0.08),
    ],
)
def test_features_of_what_comes_out_are_those_that_went_in(spoken, parameters, error):
    extractor = FDMFCC(**parameters)
    features = extractor.fit_transform(spoken)
    waveforms = GriffinLimInverter(extractor).transform(features)
    assert waveforms.shape == (12, extractor.n_samples_)
    assert waveforms.dtype == np.float32
    again = extractor.transform(waveforms)
    assert np.abs(again - features).mean() < error  # in standard deviations
    assert np.abs(features - features[::-1]).mean() > 0.5  # while two clips are this far apart


@pytest.mark.parametrize(
    ("extractor", "error"),
    [
        (MFCC(), 0.03),
        (MFCC(n_mfcc=40, hop_length=0.01), 0.15),
        (LogMelSpectrogram(), 0.03),
        (LogMelSpectrogram(hop_length=0.01, pre_emphasis=0.97), 0.03),
        (LPCC(), 0.05),
        (LPCC(n_lpcc=10), 0.03),
        (LPCC(order=20, n_lpcc=32, hop_length=0.01), 0.06),
        (LPCC(pre_emphasis=0.0, top_db=None), 0.08),
    ],
)
def test_features_of_all_kinds_are_those_that_went_in(spoken, extractor, error):
    extractor = clone(extractor)
    features = extractor.fit_transform(spoken)
    waveforms = extractor.inverse_transform(features)
    assert waveforms.shape == (12, extractor.n_samples_)
    assert np.abs(extractor.transform(waveforms) - features).mean() < error
    assert np.abs(features - features[::-1]).mean() > 0.5


@pytest.mark.parametrize("Sister", [MFCC, LPCC, LogMelSpectrogram])
def test_distilled_sets_of_all_kinds_sound_alike_after_saving(invented, tmp_path, Sister):
    noise = np.random.default_rng(0).normal(size=(4, 2000)).astype(np.float32)
    extractor = Sister(layout="flat")
    features = extractor.fit_transform(noise * np.linspace(0.01, 0.3, 2000, dtype="f"))
    distilled = DistilledSet(X=features, y=np.arange(4)).with_extractor(extractor)
    distilled.save(tmp_path / "set.safetensors")
    again = DistilledSet.load(tmp_path / "set.safetensors")
    assert type(again.extractor) is Sister
    np.testing.assert_array_equal(again.to_audio(n_iter=2), distilled.to_audio(n_iter=2))
    wild = 9e29 * np.random.default_rng(0).normal(size=features.shape).clip(-1, 1)
    waveforms = GriffinLimInverter(extractor, n_iter=2).transform(wild)
    assert np.isfinite(waveforms).all()
    assert np.abs(waveforms).max() > 0


def test_pitch_classes_are_not_turned_into_sound(tmp_path):
    extractor = Chromagram(duration=0.5)
    features = extractor.fit_transform(np.random.default_rng(0).normal(size=(3, 4000)))
    assert not hasattr(extractor, "inverse_transform")
    words = r"whose features hold a spectrum, such as FDMFCC; got extractor=Chromagram\("
    distilled = DistilledSet(X=features, y=np.arange(3)).with_extractor(extractor)
    for refused in (
        GriffinLimInverter(extractor).fit,
        lambda: GriffinLimInverter(FrozenEstimator(extractor)).transform(features),
        distilled.to_audio,
        lambda: distilled.to_audio_folder(tmp_path / "sounds"),
    ):
        with pytest.raises(ValueError, match=words.replace("got extractor=", "got extractor=.*")):
            refused()
    assert not list(tmp_path.iterdir())


def test_the_level_is_that_of_the_clips(spoken, heard):
    extractor, features = heard
    waveforms = GriffinLimInverter(extractor).transform(features)
    for clip, waveform in zip(spoken, waveforms, strict=True):
        heard_energy = np.square(np.diff(clip)).sum()  # most of what pre-emphasis leaves
        assert abs(10 * np.log10(np.square(np.diff(waveform)).sum() / heard_energy)) < 3


@pytest.mark.parametrize("hop_length", [0.01, 0.0125, 0.015])
def test_a_tone_comes_back_where_it_was(hop_length):
    time = np.arange(4000) / SAMPLE_RATE
    tones = np.stack([np.sin(2 * np.pi * f * time) / 2 for f in (440, 1000, 3000)])
    extractor = FDMFCC(n_mfcc=40, hop_length=hop_length)
    waveforms = GriffinLimInverter(extractor).transform(extractor.fit_transform(tones))
    spectra = np.abs(np.fft.rfft(waveforms * np.hanning(4000), n=2**16))
    found = spectra.argmax(axis=1) * SAMPLE_RATE / 2**16
    eighth_of_mel_band = np.array([14, 14, 44])  # Hz
    assert (np.abs(found - [440, 1000, 3000]) < eighth_of_mel_band).all()


def test_silence_comes_back_silent(invented):
    extractor, _ = invented
    silence = extractor.transform(np.zeros((2, 2000)))
    waveforms = GriffinLimInverter(extractor).transform(silence)
    assert np.abs(waveforms).max() < 1e-3


@pytest.mark.parametrize("size", [10, 1e6, 9e29])
@pytest.mark.parametrize("standardize", [True, False])
def test_the_wildest_features_are_still_finite(invented, size, standardize):
    extractor, features = invented
    if not standardize:
        extractor = copy(extractor)
        extractor.mean_, extractor.scale_ = 0 * extractor.mean_, 0 * extractor.scale_ + 1
    wild = size * np.random.default_rng(0).normal(size=features.shape).clip(-1, 1)
    waveforms = GriffinLimInverter(extractor, n_iter=8).transform(wild)
    assert np.isfinite(waveforms).all()
    assert np.abs(waveforms).max() > 0


@pytest.mark.parametrize("layout", ["coefficients", "flat"])
def test_layouts_sound_the_same(invented, layout):
    extractor, features = invented
    other = copy(extractor).set_params(layout=layout)
    waveforms = GriffinLimInverter(extractor, n_iter=4).transform(features)
    same = GriffinLimInverter(other, n_iter=4).transform(
        features.reshape(-1, *other.feature_shape_)
    )
    assert other.feature_shape_ != extractor.feature_shape_
    np.testing.assert_array_equal(same, waveforms)


def test_a_clip_does_not_depend_on_its_neighbours(invented):
    extractor, features = invented
    together = GriffinLimInverter(extractor, n_iter=8).transform(features)
    backwards = GriffinLimInverter(extractor, n_iter=8, batch_size=2).transform(features[::-1])
    alone = GriffinLimInverter(extractor, n_iter=8).transform(features[3:4])
    scale = np.abs(together).max()
    np.testing.assert_allclose(backwards[::-1], together, rtol=0, atol=1e-3 * scale)
    np.testing.assert_allclose(alone[0], together[3], rtol=0, atol=1e-3 * scale)


def test_same_seed_same_sound_and_the_global_generator_is_left_alone(invented):
    extractor, features = invented
    state = torch.get_rng_state()
    first, again, other, anything = (
        GriffinLimInverter(extractor, n_iter=2, random_state=seed).transform(features)
        for seed in (3, np.random.RandomState(3), 4, None)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3
    assert np.isfinite(anything).all()
    assert torch.equal(state, torch.get_rng_state())


def test_arrays_tensors_and_lists_are_taken_and_left_as_they_are(invented):
    extractor, features = invented
    inverter = GriffinLimInverter(extractor, n_iter=2)
    kept = features.copy()
    expected = inverter.transform(features)
    features.setflags(write=False)
    leaf = torch.from_numpy(kept).requires_grad_()
    for same in (features, features.astype(float), features.tolist(), leaf):
        np.testing.assert_array_equal(inverter.transform(same), expected)
    np.testing.assert_array_equal(features, kept)


def test_extractor_and_inverter_are_one_house(invented):
    extractor, features = invented
    inverter = GriffinLimInverter(extractor)
    np.testing.assert_array_equal(
        extractor.inverse_transform(features), inverter.transform(features)
    )
    assert inverter.fit() is inverter
    frozen = clone(GriffinLimInverter(FrozenEstimator(extractor)))
    np.testing.assert_array_equal(frozen.transform(features), inverter.transform(features))


def test_bad_features_are_refused_with_a_reason(invented):
    extractor, features = invented
    inverter = GriffinLimInverter(extractor)
    with pytest.raises(ValueError, match=r"\(n_clips, 3, 20, 26\).*got \(3, 20, 26\)"):
        inverter.transform(features[0])
    with pytest.raises(ValueError, match=r"got \(5, 1560\)"):
        inverter.transform(features.reshape(5, -1))
    for bad in (np.nan, np.inf, -1e35):
        spoiled = features.copy()
        spoiled[3, 1, 2, 4] = bad
        with pytest.raises(ValueError, match="clip 3 contains NaN"):
            inverter.transform(spoiled)


def test_bad_parameters_are_refused_with_a_reason(invented):
    extractor, features = invented
    with pytest.raises(NotFittedError, match="FDMFCC"):
        GriffinLimInverter(FDMFCC()).fit()
    with pytest.raises(NotFittedError, match="FDMFCC"):
        GriffinLimInverter(FDMFCC()).transform(features)
    for parameters in (
        {"n_iter": -1},
        {"momentum": -0.1},
        {"batch_size": 0},
        {"extractor": "mfcc"},
    ):
        inverter = GriffinLimInverter(extractor).set_params(**parameters)
        with pytest.raises(ValueError, match=next(iter(parameters))):
            inverter.transform(features)
