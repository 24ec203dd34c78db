"""`translate` with small Marian models, saved as on the hub, and a tokeniser built here.

Marian's own tokeniser needs the package sentencepiece; these checkpoints have a `tokenizer.json` in its place, and one
test has Marian's files without that package.
"""

import importlib.util
import json

import pytest
import torch

from bigmodel_lab.errors import CheckpointError, InputError, MissingExtraError
from bigmodel_lab.models.hub.translation import translate
from bigmodel_lab.models.hugging_face import quiet

ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven")
CHINESE = "零一二三四五六七"
NAMES = ["[PAD]", "[UNK]", "</s>", *ENGLISH, *CHINESE]
POSITIONS = 12


def tokenizer():
    """Words and Chinese characters, `</s>` behind each text."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({name: at for at, name in enumerate(NAMES)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"[a-z]+|\p{Han}"), "removed", invert=True)
    made.decoder = decoders.Fuse()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "eos_token": "</s>"}
    return PreTrainedTokenizerFast(tokenizer_object=made, clean_up_tokenization_spaces=False, **special)


def marian(**more):
    from transformers import MarianConfig, MarianMTModel

    sizes = {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": POSITIONS}
    special = {"pad_token_id": 0, "eos_token_id": 2, "decoder_start_token_id": 0, "forced_eos_token_id": None}
    torch.manual_seed(0)
    return MarianMTModel(MarianConfig(vocab_size=len(NAMES), **sizes, **heads, **special, dropout=0.0, **more)).eval()


def save(model, folder):
    with quiet():
        model.save_pretrained(folder)
        tokenizer().save_pretrained(folder)
    return folder


PHRASES = [*((a,) for a in range(8)), *((a, (3 * a + 1) % 8) for a in range(8)), *((a, a, 7 - a) for a in range(8))]


@pytest.fixture(scope="module")
def scholar(tmp_path_factory):
    """A folder with a Marian that has learnt a phrase book by heart: "three two" is 三二."""
    model = marian(init_std=0.2)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    source = torch.tensor([[*(3 + digit for digit in phrase), 2] + [0] * (3 - len(phrase)) for phrase in PHRASES])
    labels = torch.where(source > 2, source + 8, source).masked_fill(source == 0, -100)
    for _ in range(100):
        loss = model(input_ids=source, attention_mask=(source != 0).long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return save(model, tmp_path_factory.mktemp("marian"))


@pytest.mark.parametrize("beams", [1, 3])
def test_what_it_has_learnt_comes_out(scholar, beams):
    texts = [" ".join(ENGLISH[digit] for digit in phrase) for phrase in PHRASES]
    expected = ["".join(CHINESE[digit] for digit in phrase) for phrase in PHRASES]
    assert translate(texts, folder=scholar, beams=beams) == expected


def test_a_batch_gives_what_each_text_gives_alone(scholar):
    texts = ["one", "two three", "four five six"] * 7  # more than one batch, padded
    alone = [translate([text], folder=scholar)[0] for text in texts[:3]]
    assert translate(texts, folder=scholar) == alone * 7
    assert len(set(alone)) == 3


def greedy(model, text, longest):
    """The likeliest token after token, written out, of one text without padding."""
    source, ids = torch.tensor([tokenizer()(text)["input_ids"]]), [0]
    with torch.no_grad():
        while len(ids) <= longest and ids[-1] != 2:
            logits = model(input_ids=source, decoder_input_ids=torch.tensor([ids])).logits[0, -1]
            ids.append(int(logits.argmax()))
    return tokenizer().decode(ids, skip_special_tokens=True)


def test_translations_are_those_of_a_loop_written_out_and_end_where_the_positions_do(tmp_path):
    model = marian(init_std=1.0)
    save(model, tmp_path)
    texts = ["one two", "seven", "three three three four"]
    expected = [greedy(model, text, POSITIONS - 1) for text in texts]
    assert translate(texts, folder=tmp_path) == expected
    assert len(set(expected)) > 1, "a model that ignores its source would prove nothing"


def test_a_wider_search_finds_what_is_likelier(tmp_path):
    model, coder = marian(init_std=0.5), tokenizer()
    model.final_logits_bias[:, 3:11] = -1e4  # no English words: they would run together
    save(model, tmp_path)

    def score(text, found):
        """The mean log-probability of the tokens, which is what a beam search compares."""
        source, target = (torch.tensor([coder(one)["input_ids"]]) for one in (text, found))
        target = target[:, : POSITIONS - 1]  # where the positions end, no </s> was written
        inputs = torch.cat((torch.zeros(1, 1, dtype=torch.int64), target[:, :-1]), 1)
        with torch.no_grad():
            logits = model(input_ids=source, decoder_input_ids=inputs).logits.log_softmax(-1)
        return logits.gather(2, target[..., None]).mean().item()

    texts = ["one two", "seven", "three three three four", "two"]
    narrow, wide = (translate(texts, folder=tmp_path, beams=beams) for beams in (1, 6))
    gains = [score(text, w) - score(text, n) for text, n, w in zip(texts, narrow, wide, strict=True)]
    assert min(gains) > -1e-5
    assert max(gains) > 1e-3


@pytest.mark.parametrize(
    "texts", [[], "one text", ["", "one"], ["  \n"], [None]], ids=["none", "str", "empty", "blank", "no text"]
)
def test_what_is_no_text_is_refused(texts, tmp_path):
    with pytest.raises(InputError, match="text"):
        translate(texts, folder=tmp_path)


@pytest.mark.parametrize("beams", [0, True, 2.5])
def test_an_impossible_search_is_refused(beams, tmp_path):
    with pytest.raises(InputError, match="beams"):
        translate(["one"], folder=tmp_path, beams=beams)


def test_a_text_longer_than_the_model_reads_is_refused(scholar):
    with pytest.raises(InputError, match=r"(?s)at most 12 tokens.*13 in text 1.*sentence by sentence"):
        translate(["one", "two " * POSITIONS], folder=scholar)
    assert translate(["two " * (POSITIONS - 1)], folder=scholar)


def test_an_unknown_word_goes_in_as_such(scholar):
    assert translate(["eleven"], folder=scholar) == translate(["[UNK]"], folder=scholar)


def test_a_folder_without_a_model_says_what_to_do(tmp_path):
    with pytest.raises(CheckpointError, match=r"opus-mt-en-zh[\s\S]*310 MB"):
        translate(["one"], folder=tmp_path / "nowhere")


def test_weights_cut_short_are_named(scholar, tmp_path):
    for file in scholar.iterdir():
        data = file.read_bytes()
        (tmp_path / file.name).write_bytes(data[: len(data) // 2] if file.suffix == ".safetensors" else data)
    with pytest.raises(CheckpointError, match="AutoModelForSeq2SeqLM"):
        translate(["one"], folder=tmp_path)


@pytest.mark.skipif(importlib.util.find_spec("sentencepiece") is not None, reason="sentencepiece is installed")
def test_without_sentencepiece_the_command_is_named(tmp_path):
    with quiet():
        marian().save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text(json.dumps({name: at for at, name in enumerate(NAMES)}), encoding="utf-8")
    (tmp_path / "source.spm").write_bytes(b"")
    (tmp_path / "target.spm").write_bytes(b"")
    settings = {"tokenizer_class": "MarianTokenizer", "source_lang": "eng", "target_lang": "zho"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(MissingExtraError, match="pip install sentencepiece"):
        translate(["one"], folder=tmp_path)
