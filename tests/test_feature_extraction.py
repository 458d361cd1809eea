"""How a recording is heard: against librosa, against loops by hand, and whatever may come in."""

import json
import pickle
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import scipy.fft
import scipy.linalg
import scipy.signal
import soundfile
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import (
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
)

from sklearn_ddfad import FDMFCC, LPCC, MFCC, Chromagram, LogMelSpectrogram
from sklearn_ddfad.datasets._files import MAX_AMPLITUDE, resample, write_audio
from sklearn_ddfad.feature_extraction import (
    a_few_at_a_time,
    autocorrelation_bank,
    db_to_power,
    dct_matrix,
    emphasize,
    extractor_from_state,
    fuse,
    halved_difference,
    linear_prediction,
    mel_filter_bank,
    power,
    power_to_db,
    prediction_to_cepstra,
    stft,
    unfuse,
)


def noise(*shape, seed=0, level=0.1):
    return (level * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def seeded(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def ragged(*lengths):
    return [noise(length, seed=length) for length in lengths]


# -- the same as librosa -----------------------------------------------------------------------


def steps_of_librosa(clip, sample_rate, **bank):
    """Every step that librosa has too: ``(spectrum, mel, decibels, cepstra)`` of one clip."""
    frame, hop = round(0.02 * sample_rate), round(0.0125 * sample_rate)
    n_fft = 2 ** int(np.ceil(np.log2(frame)))
    emphasized = librosa.effects.preemphasis(clip, coef=0.97, zi=[0])
    spectrum = librosa.stft(
        emphasized, n_fft=n_fft, win_length=frame, hop_length=hop, pad_mode="constant"
    )
    mel = librosa.feature.melspectrogram(S=np.abs(spectrum) ** 2, sr=sample_rate, **bank)
    decibels = librosa.power_to_db(mel, top_db=80)
    return spectrum, mel, decibels, librosa.feature.mfcc(S=decibels, n_mfcc=16)


def check_against_librosa(clips, sample_rate, tolerance=1e-3, **bank):
    """Compare cepstra, clip by clip; all clips are of one length."""
    extractor = FDMFCC(sample_rate, standardize=False, **({"n_mels": 40} | bank))
    ours = extractor.fit_transform(np.stack(clips))[:, 0]
    names = {"n_mels": "n_mels", "f_min": "fmin", "f_max": "fmax"}
    options = {names[name]: value for name, value in ({"n_mels": 40} | bank).items()}
    theirs = np.stack([steps_of_librosa(clip, sample_rate, **options)[-1] for clip in clips])
    assert ours.shape == theirs.shape
    assert theirs.std() > 1  # there is something to agree on
    np.testing.assert_allclose(ours, theirs, atol=tolerance, rtol=0)


@pytest.mark.parametrize("sample_rate", [8000, 16000, 22050])
def test_cepstra_of_real_clips_equal_those_of_librosa(fsdd_clips, sample_rate):
    clips = [resample(clip, 8000, sample_rate) for clip in fsdd_clips[::10]]
    clips = [np.pad(clip, (0, 2 * sample_rate))[: sample_rate // 2] for clip in clips]
    check_against_librosa(clips, sample_rate)


@pytest.mark.parametrize("sample_rate", [8000, 16000, 22050])
def test_cepstra_of_noise_equal_those_of_librosa(sample_rate):
    check_against_librosa(noise(5, sample_rate // 2), sample_rate)


@pytest.mark.parametrize(
    "bank", [{"n_mels": 16}, {"n_mels": 64}, {"n_mels": 24, "f_min": 100.0, "f_max": 3000.0}]
)
def test_mel_banks_of_all_kinds_equal_those_of_librosa(bank):
    check_against_librosa(noise(3, 3000), 8000, **bank)


def test_each_step_equals_that_of_librosa():
    clip = noise(3000)
    spectrum, mel, decibels, _ = steps_of_librosa(clip, 8000, n_mels=40)
    emphasized = emphasize(torch.from_numpy(clip))
    assert emphasized[0] == clip[0]  # silence before the clip
    ours = stft(emphasized[None], n_fft=256, frame_length=160, hop_length=100)
    np.testing.assert_allclose(ours[0], spectrum, atol=1e-4)
    np.testing.assert_allclose(power(ours)[0], np.abs(spectrum) ** 2, rtol=1e-3, atol=1e-6)
    our_mel = mel_filter_bank(8000, 256, 40) @ power(ours)
    np.testing.assert_allclose(our_mel[0], mel, rtol=1e-4)
    np.testing.assert_allclose(power_to_db(our_mel, 80.0)[0], decibels, atol=1e-3)


def test_the_dynamic_range_is_that_of_each_clip_by_itself():
    loud_and_quiet = torch.tensor([1.0, 1e-3])[:, None, None] * torch.tensor([[1.0, 1e-9]])
    decibels = power_to_db(loud_and_quiet, top_db=50.0)
    torch.testing.assert_close(decibels[:, 0], torch.tensor([[0.0, -50.0], [-30.0, -80.0]]))
    assert power_to_db(torch.zeros(1, 2, 2)).unique().item() == -100


def test_decibels_and_power_undo_each_other():
    decibels = 20 * seeded(3, 4)
    torch.testing.assert_close(power_to_db(db_to_power(decibels)), decibels)


# -- cosine transform --------------------------------------------------------------------------


@pytest.mark.parametrize(("n_coefficients", "n_points"), [(1, 1), (5, 5), (16, 40), (40, 40)])
def test_cosine_matrix_is_orthonormal_and_that_of_scipy(n_coefficients, n_points):
    basis = dct_matrix(n_coefficients, n_points)
    torch.testing.assert_close(
        basis @ basis.mT, torch.eye(n_coefficients, dtype=torch.float64), atol=1e-12, rtol=0
    )
    points = seeded(n_points, 3)
    expected = scipy.fft.dct(points.numpy(), axis=0, norm="ortho")[:n_coefficients]
    np.testing.assert_allclose(basis @ points, expected, atol=1e-12)


# -- Eq. 1 and 2 and their inverse -------------------------------------------------------------


def differences_by_hand(cepstra):
    """Eq. 1, read aloud: half of what is to come less what is; the last frame stands still."""
    n_coefficients, n_frames = cepstra.shape
    delta = np.zeros_like(cepstra)
    for k in range(n_coefficients):
        for t in range(n_frames - 1):
            delta[k, t] = (cepstra[k, t + 1] - cepstra[k, t]) / 2
    return delta


def second_differences_by_hand(cepstra):
    """Eq. 2: half of the difference of neighbouring first differences."""
    delta = differences_by_hand(cepstra)
    second = np.zeros_like(cepstra)
    for t in range(cepstra.shape[1] - 1):
        second[:, t] = (delta[:, t + 1] - delta[:, t]) / 2
    return second


@pytest.mark.parametrize("n_frames", [1, 2, 3, 9])
def test_fused_planes_are_those_of_equations_1_and_2(n_frames):
    cepstra = seeded(2, 4, n_frames)
    planes = fuse(cepstra)
    assert planes.shape == (2, 3, 4, n_frames)
    for clip, (first, second, third) in zip(cepstra.numpy(), planes.numpy(), strict=True):
        np.testing.assert_array_equal(first, clip)
        np.testing.assert_allclose(second, differences_by_hand(clip), atol=1e-15)
        np.testing.assert_allclose(third, second_differences_by_hand(clip), atol=1e-15)


def test_a_steady_slope_has_a_constant_difference_and_then_none():
    planes = fuse(torch.arange(6.0)[None, None])[0, :, 0]
    assert planes[1].tolist() == [0.5] * 5 + [0]
    assert planes[2].tolist() == [0] * 4 + [-0.25, 0]
    assert not halved_difference(torch.ones(3, 7)).any()


@pytest.mark.parametrize("n_frames", [1, 2, 17, 54])
def test_unfuse_undoes_fuse(n_frames):
    cepstra = seeded(3, 5, n_frames)
    weights = seeded(3, 5).exp()
    torch.testing.assert_close(unfuse(fuse(cepstra), weights), cepstra, atol=1e-12, rtol=0)
    single = cepstra.float()
    torch.testing.assert_close(unfuse(fuse(single), weights), single, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_frames", [1, 2, 7, 200])
def test_unfuse_is_the_least_squares_optimum_of_planes_that_contradict_each_other(n_frames):
    planes, weights = seeded(2, 3, 4, n_frames), seeded(3, 4, seed=1).exp()
    cepstra = unfuse(planes, weights).requires_grad_()

    def error(cepstra):
        return (weights[:, :, None] * (fuse(cepstra) - planes) ** 2).sum()

    best = error(cepstra)
    best.backward()
    assert best > 1  # they do contradict each other
    assert cepstra.grad.abs().max() < 1e-12
    # Convex, so a vanishing gradient says all; a few steps aside for good measure.
    for seed in range(5):
        assert error(cepstra + 1e-3 * seeded(2, 4, n_frames, seed=seed)) > best


# -- differentiable from end to end ------------------------------------------------------------


@pytest.mark.parametrize("top_db", [None, 80.0])
def test_gradients_through_all_nine_steps(top_db):
    extractor = FDMFCC(
        200, frame_length=0.04, hop_length=0.02, n_mels=2, n_mfcc=2, duration=0.06, top_db=top_db
    )
    extractor.fit(noise(4, 12))
    waveforms = (0.1 * seeded(2, 12)).requires_grad_()
    assert extractor.extract(waveforms).dtype == torch.float64
    assert torch.autograd.gradcheck(extractor.extract, (waveforms,))
    assert torch.autograd.gradgradcheck(extractor.extract, (waveforms,))


def test_the_gradient_of_silence_is_finite(heard):
    extractor, _ = heard
    waveforms = torch.zeros(2, extractor.n_samples_, requires_grad=True)
    extractor.extract(waveforms).square().sum().backward()
    assert waveforms.grad.isfinite().all()


def test_extract_is_transform_on_tensors(heard, invented_clips):
    extractor, _ = heard
    n = extractor.n_samples_
    clips = [clip for clip in invented_clips if len(clip) >= n]
    cut = np.stack([clip[(len(clip) - n) // 2 :][:n] for clip in clips])
    assert len(clips) > 5
    np.testing.assert_allclose(
        extractor.extract(torch.from_numpy(cut)), extractor.transform(clips), atol=1e-4
    )


# -- other features ----------------------------------------------------------------------------

SISTERS = [MFCC, LPCC, LogMelSpectrogram, Chromagram]


def test_mfcc_are_the_first_plane_of_fd_mfcc(invented_clips):
    parameters = {"duration": 0.3, "n_mfcc": 12, "n_mels": 30, "hop_length": 0.01}
    fused, plain = FDMFCC(**parameters), MFCC(**parameters)
    first = fused.fit_transform(invented_clips)[:, :1]
    np.testing.assert_array_equal(plain.fit_transform(invented_clips), first)
    np.testing.assert_array_equal(plain.scale_, fused.scale_[:1])


@pytest.mark.parametrize("pre_emphasis", [0.0, 0.97])
def test_log_mel_spectrograms_equal_those_of_librosa(pre_emphasis):
    clips = noise(3, 3000)
    ours = LogMelSpectrogram(pre_emphasis=pre_emphasis, standardize=False).fit_transform(clips)
    for clip, plane in zip(clips, ours[:, 0], strict=True):
        mel = librosa.feature.melspectrogram(
            y=librosa.effects.preemphasis(clip, coef=pre_emphasis, zi=[0]),
            sr=8000,
            n_fft=256,
            win_length=160,
            hop_length=100,
            n_mels=40,
            pad_mode="constant",
        )
        np.testing.assert_allclose(plane, librosa.power_to_db(mel, top_db=80), atol=1e-3)


def test_chromagrams_equal_those_of_librosa():
    clips = noise(3, 6000)
    ours = Chromagram(standardize=False).fit_transform(clips)
    for clip, plane in zip(clips, ours[:, 0], strict=True):
        spectrum = librosa.stft(clip, n_fft=1024, hop_length=100, pad_mode="constant")
        chroma = librosa.feature.chroma_stft(
            S=np.abs(spectrum) ** 2, sr=8000, n_fft=1024, norm=None, tuning=0
        )
        np.testing.assert_allclose(plane, librosa.power_to_db(chroma, top_db=80), atol=1e-3)


@pytest.mark.parametrize("octave", [4, 5, 6])
def test_each_note_is_loudest_in_its_own_pitch_class(octave):
    time = np.arange(4000) / 8000
    frequencies = 440 * 2 ** ((np.arange(12) - 9) / 12 + octave - 4)  # C to B
    notes = 0.3 * np.sin(2 * np.pi * frequencies[:, None] * time)
    chroma = Chromagram(standardize=False).fit_transform(notes)[:, 0, :, 6:-6]
    assert (chroma.argmax(axis=1) == np.arange(12)[:, None]).all()
    semitone_aside = np.roll(np.eye(12, dtype=bool), 2, axis=1)
    assert (chroma.max(axis=1) - chroma.mean(axis=2)[semitone_aside][:, None] > 15).all()  # dB


def process(coefficients, n_samples, seed=0):
    """Noise through an all-pole filter: what linear prediction assumes a recording to be."""
    innovations = np.random.default_rng(seed).normal(size=n_samples)
    return scipy.signal.lfilter([1], [1, *-np.asarray(coefficients)], innovations)


RESONANCES = [1.3, -1.1, 0.5, -0.4]  # two of them, stable


def frame_by_scipy(frame, order, n_lpcc):
    """LPCC of one windowed frame: Toeplitz system, then the FFT of the logarithm of the model."""
    lags = np.correlate(frame, frame, "full")[len(frame) - 1 :][: order + 1]
    coefficients = scipy.linalg.solve_toeplitz(lags[:-1], lags[1:])
    gain = lags[0] - coefficients @ lags[1:]
    response = scipy.signal.freqz([1], [1, *-coefficients], worN=2**14, whole=True)[1]
    return np.fft.ifft(np.log(gain * np.abs(response) ** 2)).real[:n_lpcc]


@pytest.mark.parametrize(
    ("order", "n_lpcc", "frame_length"),
    [(12, 16, 0.02), (4, 3, 0.02), (1, 1, 0.02), (20, 40, 0.032)],
)
def test_lpcc_are_those_of_scipy_frame_by_frame(order, n_lpcc, frame_length):
    clip = process(RESONANCES, 2000).astype(np.float32)
    extractor = LPCC(
        order=order, n_lpcc=n_lpcc, frame_length=frame_length, top_db=None, standardize=False
    )
    ours = extractor.fit_transform([clip])[0, 0]
    emphasized = np.append(clip[:1], clip[1:] - np.float32(0.97) * clip[:-1]).astype(float)
    n, hop = extractor.frame_length_, extractor.hop_length_
    window = scipy.signal.get_window("hann", n)
    for t in (2, 7, 15):
        start = t * hop - n // 2
        theirs = frame_by_scipy(window * emphasized[start : start + n], order, n_lpcc)
        np.testing.assert_allclose(ours[:, t], theirs, atol=1e-4)
        assert np.abs(theirs).max() > 1  # there is something to agree on


@pytest.mark.parametrize("n_fft", [128, 129])
def test_autocorrelations_of_power_spectra_are_those_of_the_frame(n_fft):
    frame = np.random.default_rng(0).normal(size=116)
    powers = torch.from_numpy(np.abs(np.fft.rfft(frame, n_fft)) ** 2)
    lags = autocorrelation_bank(13, n_fft) @ powers
    np.testing.assert_allclose(lags, np.correlate(frame, frame, "full")[115:][:13])


def test_linear_prediction_solves_the_normal_equations_of_each_frame_stably():
    power_spectra = seeded(129, 4, 7).exp() ** 3  # strong resonances
    lags = (autocorrelation_bank(13, 256) @ power_spectra.flatten(1)).unflatten(1, (4, 7))
    coefficients, gain = linear_prediction(lags)
    for i, j in np.ndindex(4, 7):
        r, a = lags[:, i, j].numpy(), coefficients[:, i, j].numpy()
        np.testing.assert_allclose(a, scipy.linalg.solve_toeplitz(r[:-1], r[1:]), atol=1e-9)
        np.testing.assert_allclose(gain[i, j], r[0] - a @ r[1:])
        assert np.abs(np.roots([1, *-a])).max() < 1


def test_cepstra_of_all_pole_models_are_those_of_their_logarithm():
    for n_cepstra in (1, 3, 5, 30):
        ours = prediction_to_cepstra(
            torch.tensor(RESONANCES)[:, None], torch.tensor([2.5]), n_cepstra
        )
        response = scipy.signal.freqz([1], [1, *-np.array(RESONANCES)], worN=2**14, whole=True)[1]
        theirs = np.fft.ifft(np.log(2.5 * np.abs(response) ** 2)).real[:n_cepstra]
        np.testing.assert_allclose(ours[:, 0], theirs, atol=1e-5)


def test_lpcc_find_the_filter_that_noise_went_through():
    clip = process(RESONANCES, 60000)
    extractor = LPCC(
        order=4, n_lpcc=8, frame_length=1.0, hop_length=0.5, pre_emphasis=0, standardize=False
    )
    heard = extractor.fit_transform([clip / 100])[0, 0, :, 2:-2].mean(axis=1)
    truth = prediction_to_cepstra(torch.tensor(RESONANCES), torch.tensor(1.0), 8)
    np.testing.assert_allclose(heard[1:], truth[1:], atol=0.02)


def test_a_louder_clip_differs_in_the_first_cepstrum_alone():
    quiet, loud = (
        LPCC(standardize=False).fit_transform([gain * process(RESONANCES, 2000)])[0, 0]
        for gain in (1e-3, 1e-1)
    )
    np.testing.assert_allclose(loud[0] - quiet[0], 2 * np.log(100), atol=1e-3)
    np.testing.assert_allclose(loud[1:], quiet[1:], atol=1e-3)


def test_silence_is_flat_and_not_further_down_than_the_dynamic_range():
    half = np.append(noise(1500), np.zeros(1500, np.float32))
    for top_db in (40.0, 80.0, None):
        features = LPCC(top_db=top_db, standardize=False).fit_transform([half])[0, 0]
        assert not features[1:, 20:].any()
        floor = features[0, 20:]
        if top_db is None:
            np.testing.assert_allclose(floor, np.log(1e-10), rtol=1e-6)
        else:
            range_ = 10 / np.log(10) * (features[0].max() - floor)
            assert np.all((range_ > top_db - 6) & (range_ <= top_db))  # less what is predicted


@pytest.mark.parametrize("top_db", [80.0, None])
def test_the_purest_and_loudest_tones_have_finite_cepstra(top_db):
    time = np.arange(3000) / 8000
    tones = [a * np.sin(2 * np.pi * f * time) for f in (0.1, 440, 3999) for a in (1e-6, 1, 3e4)]
    for order in (12, 40):
        features = LPCC(order=order, n_lpcc=60, top_db=top_db).fit_transform(tones)
        assert np.isfinite(features).all()


@pytest.mark.parametrize("Sister", SISTERS)
def test_sisters_are_differentiable(Sister):
    few = {MFCC: {"n_mels": 3, "n_mfcc": 2}, LPCC: {"order": 2, "n_lpcc": 4}}
    few[LogMelSpectrogram] = {"n_mels": 3}
    extractor = Sister(
        200, frame_length=0.4, hop_length=0.2, duration=0.3, **few.get(Sister, {})
    ).fit(noise(4, 60))
    waveforms = (0.1 * seeded(1, 60)).requires_grad_()
    assert extractor.extract(waveforms).dtype == torch.float64
    assert torch.autograd.gradcheck(extractor.extract, (waveforms,))
    silence = torch.zeros(2, 60, requires_grad=True)
    extractor.extract(silence).square().sum().backward()
    assert silence.grad.isfinite().all()


@pytest.mark.parametrize("layout", ["planes", "coefficients", "flat"])
@pytest.mark.parametrize("Sister", SISTERS)
def test_sisters_keep_the_promises_of_all_extractors(invented_clips, Sister, layout):
    extractor = Sister(duration=0.3, layout=layout, hop_length=0.05)
    features = extractor.fit_transform(invented_clips)
    n_planes, n_coefficients, _ = extractor.planes_shape_
    assert n_planes == 1
    assert extractor.mean_.shape == (1, n_coefficients, 1)
    assert features.dtype == np.float32
    planes = features.reshape(-1, *extractor.planes_shape_).astype(float)
    np.testing.assert_allclose(planes.mean(axis=(0, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(planes.std(axis=(0, 3)), 1, atol=1e-5)
    by_twos = clone(extractor).set_params(batch_size=2, n_jobs=2).fit(invented_clips)
    np.testing.assert_allclose(by_twos.transform(invented_clips), features, atol=1e-4)
    cut = torch.from_numpy(np.stack([clip[:2400] for clip in invented_clips if len(clip) > 2400]))
    np.testing.assert_allclose(
        extractor.extract(cut).flatten(), extractor.transform(cut).ravel(), atol=1e-4
    )
    record, arrays = extractor.state()
    again = extractor_from_state(json.loads(json.dumps(record)), arrays)
    assert type(again) is Sister
    assert again.get_params() == extractor.get_params()
    np.testing.assert_array_equal(again.transform(cut), extractor.transform(cut))


def test_parameters_of_one_name_have_one_default():
    fused = FDMFCC().get_params()
    for Sister, own in {
        MFCC: set(),
        LPCC: set(),
        LogMelSpectrogram: {"pre_emphasis"},
        Chromagram: {"pre_emphasis", "frame_length"},
    }.items():
        theirs = Sister().get_params()
        assert {name for name in theirs.keys() & fused.keys() if theirs[name] != fused[name]} == own
    assert (
        not {"n_mels", "f_min", "f_max"} & (LPCC().get_params() | Chromagram().get_params()).keys()
    )


def test_an_extractor_of_ones_own_is_found_by_its_state():
    class Whispered(FDMFCC):
        pass

    record, arrays = Whispered().fit(ragged(900)).state()
    assert type(extractor_from_state(record, arrays)) is Whispered


@pytest.mark.parametrize(
    ("extractor", "words"),
    [
        (MFCC(n_mfcc=41), "n_mfcc=41 must be at most n_mels=40"),
        (LogMelSpectrogram(n_mels=65), "n_mels=65 is more than.*at most 64"),
        (LPCC(order=160), "order=160 must be less than the 160 samples of a frame"),
        (LPCC(order=0), "'order' parameter"),
        (LPCC(n_lpcc=0), "'n_lpcc' parameter"),
        (
            Chromagram(frame_length=0.005),
            "frame_length=0.005 s tell no semitones.*at least 0.0089 s",
        ),
    ],
)
def test_bad_parameters_of_sisters_are_refused(extractor, words):
    for refused in (extractor.fit, extractor.fit_transform):
        with pytest.raises(ValueError, match=words):
            refused(ragged(900, 1000))


# -- batches -----------------------------------------------------------------------------------


def test_nothing_depends_on_the_batch_size(fsdd_clips):
    whole = FDMFCC(batch_size=1000)
    expected = whole.fit_transform(fsdd_clips)
    for batch_size in (1, 7):
        parts = FDMFCC(batch_size=batch_size).fit(fsdd_clips)
        np.testing.assert_allclose(parts.mean_, whole.mean_, atol=1e-4)
        np.testing.assert_allclose(parts.scale_, whole.scale_, rtol=1e-5)
        np.testing.assert_allclose(parts.transform(fsdd_clips), expected, atol=1e-3)


@pytest.mark.parametrize(("n_samples", "sizes"), [(2**15, [4, 1]), (2**16, [2, 2, 1])])
def test_the_longer_the_clips_the_fewer_are_computed_at_a_time(n_samples, sizes):
    seen, clips = [], seeded(5, 3)
    doubled = a_few_at_a_time(lambda part: (seen.append(len(part)), 2 * part)[1], clips, n_samples)
    torch.testing.assert_close(doubled, 2 * clips)
    assert seen == sizes
    assert len(a_few_at_a_time(lambda part: part, clips, 2**30)) == 5


def test_no_more_than_a_batch_is_heard_at_a_time(monkeypatch):
    sizes = []
    planes = FDMFCC._planes

    def spy(self, waveforms):
        sizes.append(len(waveforms))
        return planes(self, waveforms)

    extractor = FDMFCC(batch_size=4, duration=0.1).fit(ragged(900, 1000))
    monkeypatch.setattr(FDMFCC, "_planes", spy)
    clips = [clip for clip in noise(11, 1000)]
    extractor.transform(clips)
    assert sizes == [4, 4, 3]
    sizes.clear()
    extractor.fit_transform(clips)
    assert [size for size in sizes if size > 1] == [4, 4, 3]  # one pass; the geometry hears one


def test_files_are_read_batch_by_batch(tmp_path, monkeypatch):
    paths = written(tmp_path, ragged(*range(800, 806)))
    extractor = FDMFCC(batch_size=2).fit(paths)
    events = []
    planes, read = FDMFCC._planes, soundfile.SoundFile.read
    monkeypatch.setattr(FDMFCC, "_planes", lambda *a: (events.append("heard"), planes(*a))[1])
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda *a, **k: (events.append("read"), read(*a, **k))[1]
    )
    extractor.transform(paths)
    assert events == ["read", "read", "heard"] * 3


# -- fit, transform, standardisation -----------------------------------------------------------


@pytest.mark.parametrize("layout", ["planes", "coefficients", "flat"])
@pytest.mark.parametrize("standardize", [True, False])
def test_fit_then_transform_is_fit_transform(invented_clips, layout, standardize):
    extractor = FDMFCC(layout=layout, standardize=standardize)
    together = extractor.fit_transform(invented_clips)
    apart = FDMFCC(layout=layout, standardize=standardize).fit(invented_clips)
    assert together.dtype == np.float32
    np.testing.assert_allclose(apart.transform(invented_clips), together, atol=1e-5)
    np.testing.assert_array_equal(apart.mean_, extractor.mean_)
    np.testing.assert_array_equal(apart.scale_, extractor.scale_)


def test_each_coefficient_is_standardised_over_clips_and_frames(fsdd_clips):
    features = FDMFCC().fit_transform(fsdd_clips).astype(np.float64)
    np.testing.assert_allclose(features.mean(axis=(0, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(features.std(axis=(0, 3)), 1, atol=1e-5)


def test_raw_planes_undo_the_standardisation(fsdd_clips):
    raw = FDMFCC(standardize=False).fit_transform(fsdd_clips)
    for layout in ("planes", "coefficients", "flat"):
        extractor = FDMFCC(layout=layout)
        features = extractor.fit_transform(fsdd_clips)
        np.testing.assert_allclose(extractor.raw_planes(features), raw, atol=1e-3)


def test_read_only_features_are_as_good_as_any(heard):
    extractor, features = heard
    locked = features.copy()
    locked.setflags(write=False)
    np.testing.assert_array_equal(extractor.log_mel(locked), extractor.log_mel(features))


def test_raw_planes_of_a_tensor_are_differentiable(heard):
    extractor, features = heard
    X = torch.from_numpy(features[:2]).requires_grad_()
    extractor.log_mel(X).sum().backward()
    assert X.grad.isfinite().all()
    assert X.grad.any()


def test_a_coefficient_that_never_changes_is_only_centred():
    features = FDMFCC().fit_transform(np.zeros((3, 1000), np.float32))
    np.testing.assert_array_equal(features, np.zeros_like(features))


def test_layouts_hold_the_same_numbers(heard, invented_clips):
    extractor, planes = heard
    n_planes, n_coefficients, n_frames = extractor.planes_shape_
    for layout, shape in {
        "coefficients": (1, n_planes * n_coefficients, n_frames),
        "flat": (n_planes * n_coefficients * n_frames,),
    }.items():
        other = FDMFCC(duration=0.3, layout=layout)
        features = other.fit_transform(invented_clips)
        assert features.shape == (len(planes), *shape)
        assert other.feature_shape_ == shape
        np.testing.assert_array_equal(features.ravel(), planes.ravel())


def test_log_mel_is_the_spectrogram_that_the_features_were_made_of():
    clips = noise(3, 2000)
    extractor = FDMFCC(n_mfcc=40)
    features = extractor.fit_transform(clips)
    theirs = [steps_of_librosa(clip, 8000, n_mels=40)[2] for clip in clips]
    np.testing.assert_allclose(extractor.log_mel(features), theirs, atol=5e-3)


# -- geometry ----------------------------------------------------------------------------------


def test_automatic_length_is_that_of_95_percent_of_the_clips(fsdd):
    extractor = FDMFCC().fit(fsdd.data)
    fitting = np.mean([len(clip) <= extractor.n_samples_ for clip in fsdd.data])
    assert 0.95 <= fitting < 0.955


def test_given_duration_and_learned_geometry():
    extractor = FDMFCC(16000, duration=0.25, frame_length=0.025, hop_length=0.01)
    extractor.fit(ragged(1000, 9000))
    geometry = (
        extractor.sample_rate_,
        extractor.n_samples_,
        extractor.frame_length_,
        extractor.hop_length_,
        extractor.n_fft_,
    )
    assert geometry == (16000, 4000, 400, 160, 512)
    assert extractor.planes_shape_ == extractor.feature_shape_ == (3, 16, 26)


def test_long_clips_are_cut_and_short_ones_padded_equally_at_both_ends():
    clip = noise(1001)
    extractor = FDMFCC(duration=0.125).fit([clip])  # 1000 samples
    by_hand = np.pad(clip[:700], 150)
    np.testing.assert_allclose(
        extractor.transform([clip, clip[:700]]),
        extractor.transform([clip[:1000], by_hand]),
        atol=1e-5,
    )


def test_a_refit_forgets_everything():
    extractor = FDMFCC().fit(noise(3, 2000))
    extractor.fit(ragged(900, 1000, 1100))
    fresh = FDMFCC().fit(ragged(900, 1000, 1100))
    X = noise(2, 700)  # another number of columns than in the first fit
    np.testing.assert_array_equal(extractor.transform(X), fresh.transform(X))
    assert not hasattr(extractor, "n_features_in_")


def test_columns_are_counted_for_arrays_only():
    extractor = FDMFCC().fit(noise(3, 2000))
    assert extractor.n_features_in_ == 2000
    extractor.transform(ragged(1000, 3000))
    with pytest.raises(ValueError, match="1999 features"):
        extractor.transform(noise(3, 1999))


# -- what may come in --------------------------------------------------------------------------


def written(folder, clips, sample_rate=8000):
    """Write clips as 16-bit WAV files and return their paths."""
    paths = [folder / f"{i}.wav" for i in range(len(clips))]
    for path, clip in zip(paths, clips, strict=True):
        write_audio(path, clip.clip(-1, 1), sample_rate)
    return paths


CONTAINERS = {
    "list": list,
    "tuple": tuple,
    "2-D array": np.stack,
    "2-D object array": lambda clips: np.stack(clips).astype(object),
    "float64": lambda clips: np.stack(clips).astype(np.float64),
    "nested lists": lambda clips: [clip.tolist() for clip in clips],
    "Series": lambda clips: pd.Series(list(clips), index=[7, 3, 5]),
    "DataFrame": lambda clips: pd.DataFrame(np.stack(clips)),
    "tensor": lambda clips: torch.from_numpy(np.stack(clips)),
    "tensor with gradient": lambda clips: torch.from_numpy(np.stack(clips)).requires_grad_(),
    "list of tensors": lambda clips: [torch.from_numpy(c).requires_grad_() for c in clips],
    "Fortran order": lambda clips: np.asfortranarray(np.stack(clips)),
    "big-endian": lambda clips: [clip.astype(">f4") for clip in clips],
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers_of_equal_clips_are_heard_alike(container):
    clips = noise(3, 1200)
    expected = FDMFCC().fit_transform(list(clips))
    X = CONTAINERS[container](clips)
    np.testing.assert_allclose(FDMFCC().fit_transform(X), expected, atol=1e-5)
    np.testing.assert_allclose(FDMFCC().fit(X).transform(X), expected, atol=1e-5)


def test_object_arrays_and_series_of_ragged_clips():
    clips = ragged(900, 1500, 2100)
    objects = np.empty(3, dtype=object)
    objects[:] = clips
    expected = FDMFCC().fit_transform(clips)
    np.testing.assert_array_equal(FDMFCC().fit_transform(objects), expected)
    np.testing.assert_array_equal(FDMFCC().fit_transform(pd.Series(clips)), expected)


@pytest.mark.parametrize(
    ("dtype", "offset", "full_scale"),
    [("uint8", 128, 2**7), ("int16", 0, 2**15), ("int32", 0, 2**31)],
)
def test_integer_pcm_is_scaled_by_its_type(dtype, offset, full_scale):
    signal = np.clip(noise(3, 1200, level=0.3).astype(np.float64), -0.99, 0.99)
    pcm = np.rint(signal * full_scale + offset).astype(dtype)
    scaled = ((pcm.astype(np.float64) - offset) / full_scale).astype(np.float32)
    assert 0.5 < np.abs(scaled).max() <= 1
    extractor = FDMFCC(standardize=False).fit(scaled)
    expected = extractor.transform(scaled)
    np.testing.assert_allclose(extractor.transform(list(pcm)), expected, atol=1e-4)
    np.testing.assert_allclose(extractor.transform(pcm), expected, atol=1e-4)


@pytest.mark.parametrize("kind", [str, Path, np.str_])
def test_paths_are_read_as_the_clips_in_them(tmp_path, kind):
    paths = written(tmp_path, ragged(900, 1500, 2100))
    clips = [soundfile.read(path, dtype="float32")[0] for path in paths]
    expected = FDMFCC().fit_transform(clips)
    for X in ([kind(path) for path in paths], pd.Series([kind(path) for path in paths])):
        np.testing.assert_array_equal(FDMFCC().fit_transform(X), expected)


def test_real_files_are_heard_as_the_clips_in_them(fsdd):
    extractor = FDMFCC()
    from_files = extractor.fit_transform(fsdd.filenames[:40])
    assert extractor.sample_rate_ == 8000
    np.testing.assert_array_equal(from_files, FDMFCC().fit_transform(fsdd.data[:40]))


def test_sample_rate_is_learned_from_files(tmp_path):
    paths = written(tmp_path, ragged(3000, 4000), sample_rate=16000)
    assert FDMFCC().fit(paths).sample_rate_ == 16000
    assert FDMFCC(16000).fit(paths).sample_rate_ == 16000
    assert FDMFCC().fit(ragged(3000)).sample_rate_ == 8000  # arrays carry none


def test_stereo_files_are_averaged_when_asked(tmp_path):
    stereo = noise(1500, 2)
    soundfile.write(tmp_path / "stereo.wav", stereo, 8000, subtype="FLOAT")
    X = [tmp_path / "stereo.wav"]
    with pytest.raises(ValueError, match=r"stereo\.wav has 2 channels.*mono=True"):
        FDMFCC().fit(X)
    np.testing.assert_allclose(
        FDMFCC(mono=True).fit_transform(X), FDMFCC().fit_transform([stereo.mean(axis=1)]), atol=1e-4
    )


def test_clips_shorter_than_a_frame_and_silent_clips_are_fine():
    clips = [noise(1), noise(30), np.zeros(500, np.float32), noise(1000)]
    features = FDMFCC().fit_transform(clips)
    assert np.isfinite(features).all()
    assert np.ptp(features[2][:, :, 1:-1], axis=2).max() < 1e-6  # silence does not change
    assert np.isfinite(FDMFCC().fit_transform([noise(1), noise(1)])).all()


@pytest.mark.parametrize("container", ["list", "array", "float64", "object", "int16"])
def test_what_came_in_is_not_modified(container):
    X = {
        "list": lambda: ragged(900, 1500),
        "array": lambda: noise(3, 1200),
        "float64": lambda: noise(3, 1200).astype(np.float64),
        "object": lambda: noise(3, 1200).astype(object),
        "int16": lambda: (noise(3, 1200) * 2**15).astype(np.int16),
    }[container]()
    before = pickle.dumps(X)
    extractor = FDMFCC(duration=0.1)
    extractor.fit_transform(X)
    extractor.transform(X)
    assert pickle.dumps(X) == before


def test_what_goes_out_belongs_to_the_user(heard, invented_clips):
    extractor, features = heard
    mean = extractor.mean_.copy()
    out = extractor.transform(invented_clips)
    out[:] = 0
    np.testing.assert_array_equal(extractor.mean_, mean)
    np.testing.assert_allclose(extractor.transform(invented_clips), features, atol=1e-5)


# -- what is refused ---------------------------------------------------------------------------


def spoilt(value, dtype=np.float32):
    """Three clips, of which the second has one bad sample."""
    clips = [clip.astype(dtype) for clip in ragged(900, 1000, 1100)]
    clips[1][500] = value
    return clips


BAD = {
    "NaN": (spoilt(np.nan), ValueError, r"clip 1 contains NaN or infinity"),
    "infinity": (spoilt(-np.inf), ValueError, r"clip 1 contains NaN or infinity"),
    "beyond float32": (spoilt(1e300, np.float64), ValueError, r"clip 1 contains NaN or infinity"),
    "too loud": (spoilt(1e6), ValueError, r"clip 1 has samples as large as 1e\+06"),
    "NaN in an array": (np.full((2, 900), np.nan), ValueError, "clip 0 contains NaN"),
    "empty clip": ([*ragged(900), noise(0)], ValueError, "clip 1 is empty"),
    "empty list": ([], ValueError, "got an empty one"),
    "stereo": ([*ragged(900), noise(900, 2)], ValueError, r"clip 1 has shape \(900, 2\).*Stereo"),
    "stereo array": (noise(3, 900, 2), ValueError, r"one channel.*\(3, 900, 2\)"),
    "complex": ([noise(900) + 1j], ValueError, "clip 0 is complex"),
    "complex array": (noise(2, 900) + 1j, ValueError, "Complex data not supported"),
    "text among clips": ([*ragged(900), "words"], ValueError, "clip 1 is not audio.*words"),
    "path among clips": ([Path("a.wav"), *ragged(900)], TypeError, "clip 0 is not audio"),
    "None among clips": ([None, *ragged(900)], (TypeError, ValueError), "clip 0"),
    "dict among clips": ([*ragged(900), {}], TypeError, "clip 1 is not audio"),
    "ragged clip": ([[[1.0], [1.0, 2.0]], noise(900)], ValueError, "clip 0 is not audio"),
    "one clip": (noise(900), ValueError, r"one 1-D array.*\[clip\]"),
    "one clip as a list": (noise(900).tolist(), ValueError, r"one 1-D array.*\[clip\]"),
    "one clip as a tensor": (torch.from_numpy(noise(900)), ValueError, r"one 1-D array"),
    "one path": ("some.wav", ValueError, "one path: 'some.wav'; wrap it in a list"),
    "one Path": (Path("some.wav"), ValueError, "one path: 'some.wav'"),
    "None": (None, TypeError, "got NoneType"),
    "a number": (3.0, TypeError, "got float"),
    "a generator": ((clip for clip in ragged(900)), TypeError, "got generator"),
    "a missing file": (["no/such.wav"], FileNotFoundError, r"no sound file no/such\.wav"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_recordings_are_refused_by_fit_and_transform(case):
    X, error, words = BAD[case]
    with pytest.raises(error, match=words):
        FDMFCC().fit(X)
    with pytest.raises(error, match=words):
        FDMFCC().fit(ragged(900)).transform(X)


def test_the_loudest_sample_that_is_allowed():
    clip = noise(900)
    clip[450] = MAX_AMPLITUDE
    assert np.isfinite(FDMFCC().fit_transform([clip])).all()


def empty_file(path):
    path.touch()


def text_file(path):
    path.write_text("these are words, not sound")


def cut_file(path):
    write_audio(path, noise(2000).clip(-1, 1), 8000)
    path.write_bytes(path.read_bytes()[:1000])


def file_with_nan(path):
    soundfile.write(path, np.array([0.0, np.nan, 0.0]), 8000, subtype="FLOAT")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (empty_file, "is an empty file"),
        (text_file, "is not audio"),
        (cut_file, "is cut short"),
        (file_with_nan, "contains NaN"),
    ],
)
def test_bad_files_are_named(tmp_path, make, words):
    paths = written(tmp_path, ragged(900, 1000))
    make(tmp_path / "bad.wav")
    with pytest.raises(ValueError, match=rf"bad\.wav {words}"):
        FDMFCC().fit([*paths, tmp_path / "bad.wav"])


def test_files_at_different_rates_are_refused(tmp_path):
    (tmp_path / "slow").mkdir()
    paths = written(tmp_path, ragged(900), 16000) + written(tmp_path / "slow", ragged(900), 8000)
    with pytest.raises(ValueError, match=r"different sample rates: \[8000, 16000\]"):
        FDMFCC().fit(paths)


def test_files_that_contradict_the_sample_rate_are_refused(tmp_path):
    paths = written(tmp_path, ragged(900, 1000), sample_rate=16000)
    for refused in (
        FDMFCC(8000).fit,
        FDMFCC(8000).fit_transform,
        FDMFCC().fit(ragged(900)).transform,
    ):
        with pytest.raises(ValueError, match=r"16000 Hz, this FDMFCC listens at 8000 Hz"):
            refused(paths)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"n_mfcc": 41}, "n_mfcc=41 must be at most n_mels=40"),
        ({"n_mels": 65}, "n_mels=65 is more than.*at most 64"),
        ({"frame_length": 0.001}, "n_mels=40 is more than frames of 8 samples"),
        ({"f_max": 4001.0}, r"f_max=4001.0 Hz must rise and stay within 4000.0 Hz"),
        ({"f_min": 4000.0}, r"f_min=4000.0 and f_max=4000.0 Hz must rise"),
        ({"f_min": 2000.0, "f_max": 1000.0}, "f_min=2000.0 and f_max=1000.0 Hz must rise"),
        ({"f_min": 100.0, "f_max": 400.0}, "of n_mels=40 bands between f_min=100.0.*no frequency"),
        ({"n_mfcc": 0}, "'n_mfcc' parameter"),
        ({"duration": 0}, "'duration' parameter"),
        ({"duration": "long"}, "'duration' parameter"),
        ({"sample_rate": 8000.5}, "'sample_rate' parameter"),
        ({"hop_length": 0.0}, "'hop_length' parameter"),
        ({"pre_emphasis": 1.0}, "'pre_emphasis' parameter"),
        ({"layout": "round"}, "'layout' parameter"),
        ({"device": "abacus"}, "device='abacus' is not a torch device"),
    ],
)
def test_bad_parameters_are_refused(parameters, words):
    for refused in (FDMFCC(**parameters).fit, FDMFCC(**parameters).fit_transform):
        with pytest.raises(ValueError, match=words):
            refused(ragged(900, 1000))


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="torch sees no CUDA device; use 'auto' or 'cpu'"):
        FDMFCC(device="cuda").fit(ragged(900))


def test_an_extractor_that_is_not_fitted_says_so():
    with pytest.raises(NotFittedError):
        FDMFCC().transform(ragged(900))
    with pytest.raises(NotFittedError):
        FDMFCC().state()
    with pytest.raises(NotFittedError):
        FDMFCC().extract(torch.zeros(1, 900))


# -- as an estimator ---------------------------------------------------------------------------


def test_only_columns_have_names(heard, invented_clips):
    extractor, _ = heard
    assert not hasattr(extractor, "get_feature_names_out")
    assert not hasattr(FDMFCC(layout="coefficients"), "get_feature_names_out")
    flat = FDMFCC(layout="flat", duration=0.3).fit(invented_clips)
    names = flat.get_feature_names_out()
    assert names.shape == flat.feature_shape_
    assert len(set(names)) == len(names)
    _, n_coefficients, n_frames = flat.planes_shape_
    assert names[n_coefficients * n_frames + 2 * n_frames + 5] == "1_2_5"


@pytest.mark.parametrize(
    "check",
    [check_transformer_get_feature_names_out, check_transformer_get_feature_names_out_pandas],
)
def test_names_of_columns_are_given_as_scikit_learn_wants_them(check):
    check("FDMFCC", FDMFCC(layout="flat"))


def test_gradients_pass_whoever_heard_first():
    """What is kept between calls was made for all."""
    extractor = MFCC(duration=0.123)
    with torch.inference_mode():
        extractor.fit(ragged(900, 1000))
    waveforms = torch.zeros(1, extractor.n_samples_, requires_grad=True)
    extractor.extract(waveforms).sum().backward()
    assert waveforms.grad is not None


def test_a_fit_that_fails_leaves_nothing_half_learned(invented_clips, tmp_path):
    extractor = FDMFCC().fit(invented_clips)
    with pytest.raises(FileNotFoundError):
        extractor.fit_transform([*invented_clips, noise(9000)], out=tmp_path / "no" / "x.npy")
    with pytest.raises(NotFittedError):
        extractor.transform(invented_clips)


def test_pandas_output(invented_clips):
    flat = FDMFCC(layout="flat", duration=0.3).set_output(transform="pandas")
    table = flat.fit_transform(invented_clips)
    assert isinstance(table, pd.DataFrame)
    assert list(table.columns) == list(flat.get_feature_names_out())
    assert set(table.dtypes) == {np.dtype(np.float32)}
    with config_context(transform_output="pandas"):
        planes = FDMFCC(duration=0.3).fit_transform(invented_clips)
    np.testing.assert_array_equal(table.to_numpy(), planes.reshape(len(planes), -1))


def test_rows_go_on_in_a_pipeline(invented_clips):
    rows = make_pipeline(FDMFCC(layout="flat"), StandardScaler()).fit_transform(invented_clips)
    assert rows.shape[0] == len(invented_clips)


def test_pickle_and_clone(heard, invented_clips):
    extractor, features = heard
    again = pickle.loads(pickle.dumps(extractor))
    np.testing.assert_array_equal(
        again.transform(invented_clips), extractor.transform(invented_clips)
    )
    copy = clone(extractor)
    assert copy.get_params() == extractor.get_params()
    assert not hasattr(copy, "mean_")
    np.testing.assert_array_equal(copy.fit_transform(invented_clips), features)


@pytest.mark.parametrize("layout", ["planes", "flat"])
def test_state_is_json_and_arrays_and_comes_back_whole(invented_clips, layout):
    extractor = FDMFCC(n_mfcc=12, n_mels=30, hop_length=0.01, f_min=80.0, layout=layout)
    expected = extractor.fit(invented_clips).transform(invented_clips)
    record, arrays = extractor.state()
    assert all(type(array) is np.ndarray for array in arrays.values())
    again = extractor_from_state(json.loads(json.dumps(record)), arrays)
    assert again.get_params() == extractor.get_params()
    assert again.feature_shape_ == extractor.feature_shape_
    np.testing.assert_array_equal(again.transform(invented_clips), expected)


def test_state_of_an_unknown_extractor_is_refused(heard):
    record, arrays = heard[0].state()
    with pytest.raises(ValueError, match=r"extractor 'Oracle' is unknown.*FDMFCC"):
        extractor_from_state(record | {"class": "Oracle"}, arrays)
