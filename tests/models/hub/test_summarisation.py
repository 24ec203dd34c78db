"""`summarise` with tiny random BART and T5, saved as on the hub, with a tokeniser built here."""

import pytest
import torch

from bigmodel_lab.data.text.tokens import bpe
from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hub.summarisation import summarise
from bigmodel_lab.models.hugging_face import quiet

TEXTS = ["Return the mean of the values along an axis.", "Draw a line.", "Sort the rows of a table by their keys."]


def tokenizer():
    made = bpe([*TEXTS, "summarize: "], size=320)
    made.model_max_length = 1000
    return made


def bart(folder, **more):
    from transformers import BartConfig, BartForConditionalGeneration

    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 24}
    special = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 2}
    torch.manual_seed(0)
    config = BartConfig(vocab_size=320, init_std=1.0, **sizes, **heads, **special, forced_eos_token_id=None, **more)
    model = BartForConditionalGeneration(config).eval()
    with quiet():
        model.save_pretrained(folder)
        tokenizer().save_pretrained(folder)
    return model


def t5(folder, **more):
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    special = {"pad_token_id": 0, "eos_token_id": 3, "decoder_start_token_id": 2}
    torch.manual_seed(0)
    with quiet():
        T5ForConditionalGeneration(
            T5Config(vocab_size=320, initializer_factor=20.0, **sizes, **special, **more)
        ).save_pretrained(folder)
        tokenizer().save_pretrained(folder)


def greedy(model, text, longest):
    """The likeliest token after token, written out, of one text without padding."""
    coder = tokenizer()
    source = coder(text)["input_ids"]
    source = torch.tensor([source if len(source) <= 24 else [*source[:23], 3]])  # its end stays
    ids = [2]
    with torch.no_grad():
        for _ in range(longest):
            ids.append(int(model(input_ids=source, decoder_input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == 3:
                break
    return " ".join(coder.decode(ids, skip_special_tokens=True).split())


def test_summaries_are_those_of_a_loop_written_out(tmp_path):
    model = bart(tmp_path)
    expected = [greedy(model, text, 7) for text in TEXTS]
    assert summarise(TEXTS, folder=tmp_path, longest=7) == expected
    assert len(set(expected)) > 1, "a model that ignores its source would prove nothing"


def test_a_batch_gives_what_each_text_gives_alone(tmp_path):
    bart(tmp_path)
    many = TEXTS * 4  # more than one batch, padded
    alone = [summarise([text], folder=tmp_path, longest=5)[0] for text in TEXTS]
    assert summarise(many, folder=tmp_path, longest=5) == alone * 4


def test_a_text_longer_than_the_model_reads_is_cut_at_its_end(tmp_path):
    model = bart(tmp_path)
    long = " ".join(TEXTS * 5)
    assert summarise([long, TEXTS[0]], folder=tmp_path, longest=6) == [
        greedy(model, long, 6),
        greedy(model, TEXTS[0], 6),
    ]


def test_a_summary_ends_where_the_places_of_the_model_end(tmp_path):
    bart(tmp_path)
    assert summarise(TEXTS, folder=tmp_path, longest=64) == summarise(TEXTS, folder=tmp_path, longest=23)


def test_a_smaller_limit_than_the_checkpoints_least_length_holds(tmp_path):
    model = bart(tmp_path)
    model.generation_config.min_length = 20
    with quiet():
        model.save_pretrained(tmp_path)
    assert summarise([TEXTS[0]], folder=tmp_path, longest=3) == [greedy(model, TEXTS[0], 3)]


def test_the_prefix_in_the_config_is_put_before_each_text(tmp_path):
    t5(tmp_path / "plain")
    t5(tmp_path / "prefixed", task_specific_params={"summarization": {"prefix": "summarize: "}})
    with_prefix = summarise(TEXTS, folder=tmp_path / "prefixed", longest=6)
    assert with_prefix == summarise([f"summarize: {t}" for t in TEXTS], folder=tmp_path / "plain", longest=6)
    assert with_prefix != summarise(TEXTS, folder=tmp_path / "plain", longest=6)


@pytest.mark.parametrize(
    "texts", [[], "one text", ["", "x"], ["  \n"], [None]], ids=["none", "str", "empty", "blank", "no text"]
)
def test_what_is_no_text_is_refused(texts, tmp_path):
    with pytest.raises(InputError, match="text"):
        summarise(texts, folder=tmp_path)


@pytest.mark.parametrize("longest", [0, True, 2.5])
def test_an_impossible_length_is_refused(longest, tmp_path):
    with pytest.raises(InputError, match="longest"):
        summarise(TEXTS, folder=tmp_path, longest=longest)


def test_a_folder_without_a_model_says_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match=r"bart-large-cnn[\s\S]*1\.6 GB"):
        summarise(TEXTS, folder=tmp_path / "nowhere")
