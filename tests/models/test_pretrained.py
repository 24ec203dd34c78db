"""The shipped checkpoints: whole, loadable by Hugging Face alone, as good as their record says, and described."""

import json
from math import exp, log

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

from benchmarks import pretrain
from bigmodel_lab.data import text
from bigmodel_lab.errors import InputError
from bigmodel_lab.models import pretrained

CLASSES = {"mini-bert": AutoModelForMaskedLM, "mini-gpt": AutoModelForCausalLM}
SIZE = 20e6  # bytes


def load(name):
    folder = pretrained.folder(name)
    return AutoTokenizer.from_pretrained(folder), CLASSES[name].from_pretrained(folder)


@pytest.mark.parametrize("name", CLASSES)
class TestCheckpoint:
    def test_is_small_and_safe(self, name):
        files = {file.name: file.stat().st_size for file in pretrained.folder(name).iterdir()}
        assert {"model.safetensors", "config.json", "tokenizer.json", "training.json", "README.md"} <= set(files)
        assert sum(files.values()) < SIZE
        assert not [file for file in files if file.endswith((".bin", ".pt", ".pkl"))]

    def test_knows_its_tokeniser(self, name):
        tokenizer, model = load(name)
        assert len(tokenizer) == model.get_input_embeddings().num_embeddings
        assert model.config.pad_token_id == tokenizer.pad_token_id
        assert sum(p.numel() for p in model.parameters()) == pretrained.record(name)["parameters"]

    def test_reads_documents_that_it_has_not_seen_as_well_as_its_record_says(self, name):
        """Installed versions may differ from those it was trained on, and so may the documents: a band."""
        tokenizer, model = load(name)
        part = text.corpus().split()[1]
        length = pretrain.CONTEXT + (name == "mini-gpt")
        blocks = pretrain.spread(text.blocks(pretrain.texts(name, part), tokenizer, length))
        loss = pretrain.held_out_loss(name, model, blocks, tokenizer)
        assert loss == pytest.approx(pretrained.record(name)["held_out_loss"], abs=0.35)
        assert loss < log(len(tokenizer)) - 2

    def test_has_a_record_that_is_consistent(self, name):
        record = pretrained.record(name)
        assert record["name"] == name
        assert record["perplexity"] == pytest.approx(exp(record["held_out_loss"]), rel=0.01)
        passes = record["recipe"]["epochs"] * record["recipe"]["cycles"]
        assert record["tokens_seen"] == record["training_documents"]["tokens"] * passes
        curve = record["curve"]["train_loss"]
        assert curve[0] > record["uniform_loss"] - 1.5
        assert sum(curve[-5:]) / 5 < curve[0] - 2

    def test_was_not_trained_on_held_out_documents(self, name):
        """Where the same packages are installed, the hashes of both parts are those of the record."""
        record, corpus = pretrained.record(name), text.corpus()
        train, test = corpus.split()
        assert not {d.module for d in train.documents} & {d.module for d in test.documents}
        if corpus.hash == record["corpus_hash"]:
            assert train.hash == record["training_documents"]["hash"]
            assert test.hash == record["held_out_documents"]["hash"]
        else:
            known = {(o["package"], o["version"]) for o in record["manifest"]}
            assert known != {(o.package, o.version) for o in corpus.manifest}

    def test_has_a_model_card_written_from_its_record(self, name):
        card = (pretrained.folder(name) / "README.md").read_text(encoding="utf-8")
        assert card == pretrain.card(pretrained.record(name))
        assert card.startswith("---\n")
        assert pretrained.record(name)["corpus_hash"] in card


@pytest.mark.parametrize(
    ("sentence", "word"),
    [
        ("Return the number [MASK] elements in the array.", " of"),
        ("If None, the default[MASK] is used.", " value"),
        ("out : ndarray An array of the same[MASK] as the input.", " shape"),
    ],
)
def test_bert_fills_in(sentence, word):
    tokenizer, bert = load("mini-bert")
    ids = tokenizer(sentence, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        likely = bert(ids).logits[ids == tokenizer.mask_token_id].argmax()
    assert tokenizer.decode([int(likely)]) == word


def test_gpt_goes_on():
    tokenizer, gpt = load("mini-gpt")
    ids = tokenizer("Parameters\n----------\n", return_tensors="pt")["input_ids"][:, :-1]
    assert " : " in tokenizer.decode(gpt.generate(ids, max_new_tokens=20, do_sample=False)[0])


def test_an_unknown_name_is_an_error():
    with pytest.raises(InputError, match=r"mini-asr, mini-bert, mini-gpt\n.*'gpt-9'"):
        pretrained.folder("gpt-9")


def test_the_loss_of_masked_blocks_is_the_token_loss():
    """BERT's output layer runs on masked tokens only; that changes no loss."""
    tokenizer = text.byte_level()
    bert = pretrain.model("mini-bert", tokenizer).eval()
    ids = torch.randint(5, len(tokenizer), (6, pretrain.CONTEXT))
    inputs, targets = text.masking(tokenizer, 0.25)(ids, torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = torch.nn.functional.cross_entropy(bert(inputs).logits.flatten(0, 1), targets.flatten())
        packed = pretrain.MaskedLoss(bert)(torch.stack([inputs, targets], 1)).mean()
    torch.testing.assert_close(packed, plain)


def test_the_card_shows_what_the_record_says():
    record = json.loads(json.dumps(pretrained.record("mini-bert"))) | {"perplexity": 12345.6}
    assert "12345.6" in pretrain.card(record)
