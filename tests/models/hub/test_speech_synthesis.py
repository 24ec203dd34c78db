import json

import pytest
import torch

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hub.speech_synthesis import speak


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A VITS with its tokeniser, laid out as on the hub, tiny and untrained."""
    from transformers import VitsConfig, VitsModel, VitsTokenizer

    from bigmodel_lab.models.hugging_face import quiet

    place = tmp_path_factory.mktemp("vits")
    letters = {letter: i for i, letter in enumerate("_ abcdefghijklmnopqrstuvwxyz")}
    (place / "letters.json").write_text(json.dumps(letters))
    options = {"phonemize": False, "is_uroman": False, "pad_token": "_", "unk_token": "_"}
    config = VitsConfig(
        vocab_size=len(letters),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        flow_size=16,
        spectrogram_bins=33,
        use_stochastic_duration_prediction=False,
        duration_predictor_filter_channels=16,
        upsample_initial_channel=16,
        upsample_rates=[4, 4],
        upsample_kernel_sizes=[8, 8],
        resblock_kernel_sizes=[3],
        resblock_dilation_sizes=[[1]],
        prior_encoder_num_flows=1,
        prior_encoder_num_wavenet_layers=1,
        posterior_encoder_num_wavenet_layers=1,
        sampling_rate=8000,
    )
    with quiet():
        VitsTokenizer(str(place / "letters.json"), **options).save_pretrained(place)
        torch.manual_seed(0)
        VitsModel(config).save_pretrained(place)
    return place


def test_each_text_becomes_a_wave_and_a_rate(folder):
    spoken = speak(["four zero", "one"], folder=folder)
    assert [rate for _, rate in spoken] == [8000, 8000]
    assert all(wave.ndim == 1 and wave.isfinite().all() for wave, _ in spoken)
    assert len(spoken[0][0]) > len(spoken[1][0])


def test_the_seed_alone_decides(folder):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again, other = (speak(["two"], folder=folder, seed=seed)[0][0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("texts", ["one", [], ["one", " "], ["???"]], ids=["a string", "none", "blank", "no letter"])
def test_what_cannot_be_spoken_is_refused(folder, texts):
    with pytest.raises(InputError):
        speak(texts, folder=folder)


def test_a_missing_folder_names_the_model(tmp_path):
    with pytest.raises(CheckpointError, match="mms-tts-eng"):
        speak(["one"], folder=tmp_path / "none")
