"""The exact lines of DESIGN.md section 1, and the main job on real recordings."""

import numpy as np
import pytest
import torch
from imblearn.pipeline import make_pipeline as imblearn_pipeline
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch import NeuralNetClassifier

from sklearn_ddfad import (
    FDMFCC,
    ConvNet,
    DistillationSampler,
    DistilledClassifier,
    DistilledSet,
    GriffinLimInverter,
    KnowledgeDistillationClassifier,
    RandomSelector,
    TrajectoryDistiller,
    evaluate,
    load_audio_folder,
    make_audio_classification,
    network_classifier,
    teach,
)
from sklearn_ddfad.distillation import _experts


def narrow(input_shape, n_classes):
    return ConvNet(input_shape, n_classes, width=8, depth=2)


def quick_distiller(**changes):
    options = {
        "cpc": 1,
        "network": narrow,
        "n_experts": 1,
        "max_start_epoch": 1,
        "student_steps": 2,
        "max_iter": 3,
        "validation_fraction": 0,
        "estimator": network_classifier(narrow, n_steps=20, random_state=0),
        "random_state": 0,
    }
    return TrajectoryDistiller(**{**options, **changes})


@pytest.fixture(scope="module")
def recordings():
    clips, y = make_audio_classification(120, n_classes=3, random_state=0)
    return clips, np.array(["eins", "zwei", "drei"])[y]


def test_pipeline_from_ragged_clips_to_score_and_back_to_sound(recordings, tmp_path):
    clips, labels = recordings
    pipe = Pipeline([("feat", FDMFCC()), ("dd", quick_distiller())])
    pipe.fit(clips[:90], labels[:90])
    told = pipe["dd"].estimator_.predict(pipe["feat"].transform(clips[90:]))
    assert pipe.score(clips[90:], labels[90:]) == np.mean(pipe.classes_[told] == labels[90:])
    X_syn, y_syn = pipe["dd"].transform(), pipe["dd"].y_distilled_
    assert torch.is_tensor(X_syn)
    assert X_syn.shape == (3, *pipe["feat"].feature_shape_)
    assert sorted(y_syn) == ["drei", "eins", "zwei"]

    distilled = pipe["dd"].distilled_.with_extractor(pipe["feat"])
    distilled.save(tmp_path / "digits.safetensors")
    again = DistilledSet.load(tmp_path / "digits.safetensors")
    np.testing.assert_array_equal(again.X, distilled.X)
    np.testing.assert_array_equal(again.y, distilled.y)
    assert again.learning_rate == pipe["dd"].learning_rate_

    distilled.to_audio_folder(tmp_path / "digits")
    folder = load_audio_folder(tmp_path / "digits")
    waveforms = GriffinLimInverter(pipe["feat"]).transform(distilled.X)
    assert waveforms.shape == (3, pipe["feat"].n_samples_)
    assert [len(clip) for clip in folder.data] == [pipe["feat"].n_samples_] * 3
    assert list(folder.target) == list(y_syn)
    assert np.isfinite(np.concatenate(folder.data)).all()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_over_cpc(recordings, n_jobs):
    clips, labels = recordings
    pipe = Pipeline([("feat", FDMFCC(duration=0.3)), ("dd", quick_distiller(network="auto"))])
    pipe.set_params(dd__estimator=LogisticRegressionOnRows())
    search = GridSearchCV(pipe, {"dd__cpc": [1, 2]}, cv=2, n_jobs=n_jobs, error_score="raise")
    search.fit(clips, labels)
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()
    assert search.best_estimator_["dd"].distilled_.n_clips == 3 * search.best_params_["dd__cpc"]
    assert search.predict(clips[:2]).dtype == labels.dtype


def test_a_search_over_cpc_trains_experts_once_a_fold(recordings, tmp_path, monkeypatch):
    trained, train = [], _experts.train_expert
    monkeypatch.setattr(
        _experts, "train_expert", lambda task, seed: trained.append(seed) or train(task, seed)
    )
    distiller = quick_distiller(memory=str(tmp_path), estimator=LogisticRegressionOnRows())
    pipe = Pipeline([("feat", FDMFCC(duration=0.3)), ("dd", distiller)])
    GridSearchCV(pipe, {"dd__cpc": [1, 2]}, cv=2, error_score="raise").fit(*recordings)
    assert len(trained) == 2 + 1  # folds, and all recordings in the end


def LogisticRegressionOnRows():
    return make_pipeline(FunctionTransformer(_rows), LogisticRegression())


def _rows(X):
    return X.reshape(len(X), -1)


def test_a_network_of_skorchs_own_draws_by_the_seed(recordings):
    """Law 2, for the classifier of a line of DESIGN.md."""
    clips, labels = recordings
    X = FDMFCC(duration=0.3).fit_transform(clips)
    net = NeuralNetClassifier(
        ConvNet,
        module__input_shape=X.shape[1:],
        module__n_classes=3,
        module__width=8,
        module__depth=2,
        criterion=torch.nn.CrossEntropyLoss,
        max_epochs=3,
        batch_size=3,
        train_split=None,
        verbose=0,
    )
    codes = np.unique(labels, return_inverse=True)[1]
    global_state, told = torch.get_rng_state(), []
    for _ in range(2):
        classifier = DistilledClassifier(RandomSelector(cpc=3, random_state=0), net)
        told.append(classifier.fit(X, labels).predict_proba(X))
        told.append(evaluate(X[:9], codes[:9], X, codes, estimator=net)["correct"])
        told.append(teach(X[:9], codes[:9], X, estimator=net))
        student = KnowledgeDistillationClassifier(net, "mlp", n_steps=3, random_state=0)
        told.append(student.fit(X[:9], codes[:9]).predict_proba(X))
    for one, again in zip(told[:4], told[4:], strict=True):
        np.testing.assert_array_equal(one, again)
    assert torch.equal(torch.get_rng_state(), global_state)


def test_distilled_classifier_as_the_last_step(recordings):
    clips, labels = recordings
    pipe = Pipeline(
        [
            ("feat", FDMFCC()),
            (
                "clf",
                DistilledClassifier(RandomSelector(cpc=3), network_classifier(narrow, n_steps=20)),
            ),
        ]
    )
    assert set(pipe.fit(clips, labels).predict(clips[:5])) <= set(labels)


def test_distiller_in_the_middle_of_a_pipeline_is_an_error(recordings):
    """It returns other rows than it is given: what comes after must not be fitted on them."""
    clips, labels = recordings
    pipe = make_pipeline(
        FDMFCC(layout="flat"), quick_distiller(network="mlp"), LogisticRegression()
    )
    pipe.set_params(trajectorydistiller__estimator=LogisticRegression())
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        pipe.fit(clips, labels)


def test_in_the_middle_of_an_imbalanced_learn_pipeline(recordings):
    clips, labels = recordings
    sampler = DistillationSampler(quick_distiller())
    classifier = network_classifier(narrow, n_steps=20, random_state=0)
    pipe = imblearn_pipeline(FDMFCC(), sampler, classifier).fit(clips[:90], labels[:90])
    assert pipe[1].distiller_.distilled_.n_clips == 3
    assert set(pipe.predict(clips[90:])) <= set(labels)
    search = GridSearchCV(
        pipe, {"distillationsampler__distiller__cpc": [1, 2]}, cv=2, error_score="raise"
    )
    best = search.fit(clips, labels).best_estimator_[1].distiller_
    assert best.distilled_.n_clips == 3 * best.cpc


# -- real recordings -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits(ddfad_data):
    train, test = (
        load_audio_folder(ddfad_data / "fsdd", split=split) for split in ("train", "test")
    )
    extractor = FDMFCC(train.sample_rate)
    return (
        extractor,
        extractor.fit_transform(train.data),
        train.target,
        extractor.transform(test.data),
        test.target,
    )


def test_real_digits_distilled_for_seconds_beat_random_selection(digits):
    """One clip a class: random selection knows little, a short distillation far more."""
    _, X, y, X_test, y_test = digits
    some = np.random.default_rng(0).permutation(len(X))[:1000]
    judge = network_classifier(n_steps=100, random_state=0)
    distiller = TrajectoryDistiller(
        1,
        estimator=judge,
        n_experts=2,
        max_start_epoch=2,
        student_steps=10,
        max_iter=60,
        batch_size=50,
        validation_fraction=0,
        random_state=0,
    )
    distilled = distiller.fit(X[some], y[some]).score(X_test, y_test)
    selected = RandomSelector(1, estimator=judge, random_state=0).fit(X[some], y[some])
    assert distilled > selected.score(X_test, y_test) + 0.1


def test_sound_keeps_what_a_network_hears(digits):
    """Features, audio, features: at most 2 points of accuracy lost on the test clips."""
    extractor, X, y, X_test, y_test = digits
    judge = network_classifier(random_state=0, n_steps=300).fit(X[::3], y[::3])
    heard_again = extractor.transform(GriffinLimInverter(extractor).transform(X_test))
    assert judge.score(heard_again, y_test) > judge.score(X_test, y_test) - 0.02
