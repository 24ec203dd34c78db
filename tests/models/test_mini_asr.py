"""The shipped recogniser of number words: small, described by its record, and as good as the record says."""

import pytest
import torch

from benchmarks import recogniser
from bigmodel_lab.data import speech
from bigmodel_lab.models import pretrained
from bigmodel_lab.models.ctc import load_recogniser, transcribe

FOLDER = pretrained.FOLDER / "mini-asr"


@pytest.fixture(scope="module")
def model():
    return load_recogniser(FOLDER)


@pytest.fixture(scope="module")
def record():
    return pretrained.record("mini-asr")


def test_is_small_and_safe(model, record):
    files = {file.name: file.stat().st_size for file in FOLDER.iterdir()}
    assert set(files) == {"model.safetensors", "config.json", "training.json", "README.md"}
    assert sum(files.values()) < 2e6
    assert sum(p.numel() for p in model.parameters()) == record["parameters"]
    assert list(model.config.symbols) == recogniser.WORDS


@pytest.mark.slow
def test_was_trained_on_the_audio_that_is_shipped_and_on_training_voices_only(record):
    about = speech.embedded.manifest()
    assert record["audio"] == {name: one["samples_sha256"] for name, one in about["files"].items()}
    training, testing = recogniser.sets()
    assert {name: len(part) for name, part in training.items()} == record["training_parts"]
    voices = {voice for part in training.values() for voice in part.voices}
    assert {about["voices"][voice] for voice in voices} == {"train"}
    assert len(voices) == record["voices"]
    said = {text for part in training.values() for text in part.texts}
    for part in testing.values():
        assert {about["voices"][voice] for voice in part.voices} == {"test"}
        assert not said & {text for text in part.texts if " " in text}


@pytest.mark.parametrize("kind", ["digits", "numbers"])
def test_hears_continuous_phrases_of_new_voices_as_well_as_its_record_says(model, record, kind):
    sound = speech.phrases(kind)[1]
    found, told = recogniser.scores(model, sound), record["held_out"][f"continuous {kind}, test voices"]
    assert found["wer"] == pytest.approx(told["wer"], abs=0.02)
    assert found["recordings"] == told["recordings"]
    assert found["exact"] > 0.8


def test_hears_nothing_where_nothing_is_said_and_the_scores_see_wrong_words(model):
    sound = speech.phrases("numbers")[1]
    assert transcribe(model, speech.log_mel(torch.zeros(2, 8000), 8000)) == ["", ""]
    backwards = recogniser.features(sound).flip(1)
    assert recogniser.scores(model, sound, backwards)["wer"] > 0.5


def test_has_a_model_card_written_from_its_record(record):
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == recogniser.card(record)


def test_its_training_went_down_and_took_what_the_record_says(record):
    losses = record["train_loss"]
    assert len(losses) == record["recipe"]["epochs"]
    assert losses[-1] < 0.1 < 1 < losses[0]
    assert record["recordings"] == sum(record["training_parts"].values())
