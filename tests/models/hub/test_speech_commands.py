"""The public classifier's code on a tiny wav2vec 2.0 in the true layout."""

import pytest
import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification, Wav2Vec2Model

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hub.speech_commands import classify
from bigmodel_lab.models.hugging_face import quiet

NAMES = {0: "yes", 1: "no", 2: "_silence_", 3: "_unknown_"}


def save(folder, *, kind=Wav2Vec2ForSequenceClassification, names=NAMES, rate=16_000):
    """Write a small wav2vec 2.0 with its feature extractor as the hub has it; return the model."""
    config = Wav2Vec2Config(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(8, 8),
        conv_kernel=(10, 4),
        conv_stride=(5, 4),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=8,
        use_weighted_layer_sum=True,
        id2label=names,
        label2id={name: k for k, name in names.items()},
    )
    torch.manual_seed(0)
    model = kind(config).eval()
    with torch.no_grad():
        for weight in model.parameters():  # fresh weights say the same of every wave
            weight.mul_(4 if weight.ndim == 2 else 1)
    with quiet():
        model.save_pretrained(folder)
        Wav2Vec2FeatureExtractor(sampling_rate=rate).save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("wav2vec2")
    save(place)
    return place


WAVES = 0.1 * torch.randn(5, 1600, generator=torch.Generator().manual_seed(0))
WAVES = WAVES * torch.linspace(1, 0.1, 1600).pow(torch.arange(5)[:, None])


def test_probabilities_are_the_model_s_own(folder):
    found, names = classify(WAVES, 16_000, folder=folder)
    assert names == ("yes", "no", "_silence_", "_unknown_")
    assert found.shape == (5, 4)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.sum(1), torch.ones(5))
    model = Wav2Vec2ForSequenceClassification.from_pretrained(folder).eval()
    normal = (WAVES - WAVES.mean(1, keepdim=True)) / (WAVES.var(1, keepdim=True, correction=0) + 1e-7).sqrt()
    torch.testing.assert_close(found, model(normal).logits.softmax(-1).detach(), atol=1e-4, rtol=1e-4)
    assert (found[0] - found[4]).abs().max() > 1e-3


def test_waves_do_not_change_one_another(folder):
    found, _ = classify([WAVES[0], WAVES[1, :900], WAVES[2]], 16_000, folder=folder)
    torch.testing.assert_close(found[[0, 2]], classify(WAVES, 16_000, folder=folder)[0][[0, 2]])
    torch.testing.assert_close(found[1:2], classify(WAVES[1:2, :900], 16_000, folder=folder)[0])
    many, _ = classify(WAVES.repeat(8, 1), 16_000, folder=folder)
    torch.testing.assert_close(many[:5], many[-5:])


def test_another_rate_is_refused(folder):
    with pytest.raises(InputError, match=r"rate=8000[\s\S]*resample\(waves, 8000, 16000\)"):
        classify(WAVES, 8000, folder=folder)


@pytest.mark.parametrize(
    ("waves", "message"),
    [
        (WAVES[0], r"shape \(1600,\)"),
        (WAVES[:0], r"shape \(0, 1600\)"),
        ([], "0 parts"),
        ([WAVES[0], WAVES[:2]], "2 parts"),
        ((WAVES * 1000).short(), "int16"),
        (torch.stack([WAVES[0], torch.zeros(1600)]), "wave 1: torch.float32, silent"),
        (torch.full((1, 1600), float("nan")), "not finite"),
        (WAVES[:, :9], "9 samples in wave 0"),
    ],
    ids=["one", "empty", "none", "two dimensions", "integers", "silent", "nan", "short"],
)
def test_what_is_no_wave_is_refused(folder, waves, message):
    with pytest.raises(InputError, match=message):
        classify(waves, 16_000, folder=folder)


def test_a_model_without_a_head_is_refused(tmp_path):
    save(tmp_path, kind=Wav2Vec2Model)
    with pytest.raises(CheckpointError, match="Wav2Vec2Model"):
        classify(WAVES, 16_000, folder=tmp_path)


def test_one_output_is_no_classifier(tmp_path):
    save(tmp_path, names={0: "yes"})
    with pytest.raises(CheckpointError, match="1 classes"):
        classify(WAVES, 16_000, folder=tmp_path)


def test_a_missing_folder_or_file_says_where_the_files_are(tmp_path):
    with pytest.raises(CheckpointError, match=r"wav2vec2-base-superb-ks[\s\S]*380 MB"):
        classify(WAVES, 16_000, folder=tmp_path / "nowhere")
    save(tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match="AutoFeatureExtractor"):
        classify(WAVES, 16_000, folder=tmp_path)
