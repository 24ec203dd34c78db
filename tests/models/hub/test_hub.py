import pytest

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models import hub


def tiny_gpt2(folder):
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(folder)


def test_a_model_in_a_folder_is_read_in_evaluation_mode(tmp_path):
    tiny_gpt2(tmp_path)
    model = hub.load("generation", "AutoModelForCausalLM", tmp_path)
    assert not model.training
    assert model.config.n_embd == 8


def test_a_missing_folder_says_where_the_files_are(tmp_path):
    with pytest.raises(CheckpointError, match=r"openai-community/gpt2[\s\S]*550 MB"):
        hub.load("generation", "AutoModelForCausalLM", tmp_path / "nowhere")


def test_a_truncated_file_is_named_and_the_error_says_what_to_do(tmp_path):
    tiny_gpt2(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"HF_ENDPOINT[\s\S]*licence: MIT"):
        hub.load("generation", "AutoModelForCausalLM", tmp_path)


def test_without_a_network_the_hub_is_an_error_that_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", _offline)
    with pytest.raises(CheckpointError, match=r"no network here[\s\S]*folder="):
        hub.part("generation", "AutoConfig")


def _offline(name):
    raise OSError(f"{name}: no network here")


@pytest.mark.parametrize("task", sorted(hub.MODELS))
def test_every_task_has_a_page_a_licence_and_a_size(task):
    said = hub.about(task)
    assert hub.MODELS[task].home in said
    assert "licence" in said
    assert "MB" in said or "GB" in said


def test_another_task_is_refused():
    with pytest.raises(InputError, match="a task among translation"):
        hub.about("telepathy")
    with pytest.raises(AttributeError, match="telepathy"):
        _ = hub.telepathy
