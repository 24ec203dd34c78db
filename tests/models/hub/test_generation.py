"""The public language model's code on a tiny GPT-2 in the true layout, and bits per byte on a tiny WikiText by it."""

import math
import shutil
import zlib
from pathlib import Path

import nbformat
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet
from transformers import GPT2Config, GPT2LMHeadModel

from bigmodel_lab import data
from bigmodel_lab.errors import CheckpointError
from bigmodel_lab.models.hub.generation import language_model

END = "<|endoftext|>"
LESSON = Path(__file__).resolve().parents[3] / "notebooks" / "05_1c_generation.ipynb"


def save(folder, *, vocabulary=257, tokenizer=True, **changes):
    """Write a small GPT-2 with the tokens of GPT-2's alphabet, the bytes, and no merges; return the model."""
    from tokenizers import pre_tokenizers
    from transformers import GPT2Tokenizer

    names = [*sorted(pre_tokenizers.ByteLevel.alphabet()), END]
    if tokenizer:
        vocab = {name: at for at, name in enumerate(names)}
        GPT2Tokenizer(vocab=vocab, merges=[]).save_pretrained(folder)
    torch.manual_seed(0)
    ends = {"bos_token_id": 256, "eos_token_id": 256} | changes
    config = GPT2Config(vocab_size=vocabulary, n_positions=64, n_embd=16, n_layer=1, n_head=2, **ends)
    model = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():  # fresh weights say the same everywhere
            weight.mul_(8 if weight.ndim == 2 else 1)
    model.save_pretrained(folder)
    return model


def bits(model, tokenizer, text, length=32):
    """Bits per byte of a text, by the functions of lesson 5.1c, taken from its cells: they serve both sources."""
    cells = nbformat.read(LESSON, as_version=4).cells
    wanted = [cell.source for cell in cells if cell.source.startswith(("def encode(", "def surprise("))]
    assert len(wanted) == 2
    lesson = {"torch": torch, "model": model, "tokenizer": tokenizer, "START": model.config.bos_token_id}
    for source in wanted:
        exec(source, lesson)
    return lesson["surprise"](text, length).sum().item() / math.log(2) / lesson["size"]([text])


def test_the_same_model_and_tokenizer_come_back(tmp_path):
    saved = save(tmp_path)
    model, tokenizer = language_model(tmp_path)
    assert not model.training
    text = "naïve = 3.5 €\n"
    ids = torch.tensor([tokenizer(text)["input_ids"]])
    assert ids.shape[1] == len(text.encode())
    assert tokenizer.decode(ids[0]) == text
    torch.testing.assert_close(model(ids).logits, saved(ids).logits)
    assert tokenizer.decode([model.config.bos_token_id]) == END


def test_it_writes(tmp_path):
    save(tmp_path)
    model, tokenizer = language_model(tmp_path)
    prompt = torch.tensor([tokenizer("A")["input_ids"]])
    options = {"attention_mask": torch.ones_like(prompt), "pad_token_id": 256, "eos_token_id": None}
    written = model.generate(prompt, max_new_tokens=5, do_sample=False, **options)
    assert written.shape == (1, 6)
    assert written[0, 0] == prompt[0, 0]


def test_bits_per_byte_of_a_wikitext_in_the_true_layout(tmp_path):
    """A byte model of uniform chance needs log2 257 bits a byte; one that knows the counts of the text needs fewer."""
    folder = tmp_path / "wiki" / "wikitext-2-raw-v1"
    folder.mkdir(parents=True)
    rows = ["", " = A Title = \n", "", " The cat sat on the mat , and the dog — on the log . \n" * 8, ""]
    for split in ("train", "validation", "test"):
        parquet.write_table(pa.table({"text": rows}), folder / f"{split}-00000-of-00001.parquet")
    article = data.text.wikitext(root=tmp_path / "wiki")[2][0]
    save(tmp_path / "gpt2")
    model, tokenizer = language_model(tmp_path / "gpt2")
    with torch.no_grad():
        model.lm_head.weight.zero_()  # every token is as likely as every other
    assert bits(model, tokenizer, article) == pytest.approx(math.log2(257), abs=1e-5)
    biased = Counts(model.config, tokenizer(article)["input_ids"])
    zipped = 8 * len(zlib.compress(article.encode())) / len(article.encode())
    assert zipped < bits(biased, tokenizer, article) < 6


class Counts(torch.nn.Module):
    """A model that knows how often each token occurs, and nothing else."""

    device = torch.device("cpu")

    def __init__(self, config, ids):
        super().__init__()
        self.config = config
        self.scores = (torch.bincount(torch.tensor(ids), minlength=257) + 1.0).log()

    def forward(self, ids, **options):
        return type("Output", (), {"logits": self.scores.expand(*ids.shape, -1)})


def test_no_token_of_a_long_text_is_left_out_or_counted_twice(tmp_path):
    """Windows of any length give a model without memory the same sum."""
    save(tmp_path)
    model, tokenizer = language_model(tmp_path)
    text = "The cat sat on the mat, and the dog on the log. " * 9
    counts = Counts(model.config, tokenizer(text, verbose=False)["input_ids"])
    found = [bits(counts, tokenizer, text, length) for length in (2, 7, 32, 128, 1000)]
    assert found == pytest.approx([found[-1]] * 5, rel=1e-5)


def test_a_tokenizer_of_another_model_is_refused(tmp_path):
    save(tmp_path, vocabulary=200, bos_token_id=0, eos_token_id=0)
    with pytest.raises(CheckpointError, match=r"at most 200 tokens[\s\S]*257 tokens"):
        language_model(tmp_path)


def test_a_model_that_cannot_begin_is_refused(tmp_path):
    save(tmp_path, bos_token_id=None)
    with pytest.raises(CheckpointError, match="bos_token_id"):
        language_model(tmp_path)


@pytest.mark.parametrize("gone", ["config.json", "model.safetensors"])
def test_a_missing_file_is_a_clear_error(tmp_path, gone):
    save(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "part", ignore=shutil.ignore_patterns(gone))
    with pytest.raises(CheckpointError, match="licence: MIT"):
        language_model(tmp_path / "part")


def test_no_tokenizer_is_a_clear_error(tmp_path):
    save(tmp_path, tokenizer=False)
    with pytest.raises(CheckpointError, match="special ones"):
        language_model(tmp_path)


def test_the_course_s_own_model_comes_by_the_same_function():
    from bigmodel_lab.models import pretrained

    model, tokenizer = language_model(pretrained.folder("mini-gpt"))
    assert model.config.bos_token_id == tokenizer.cls_token_id
    assert len(tokenizer) == 2048
