"""The public classifier's code on a tiny DistilBERT in the true layout."""

import json

import pytest
import torch
from transformers import AutoTokenizer, DistilBertConfig, DistilBertForSequenceClassification, DistilBertModel

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hub.sentiment import classify

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh", *(f"##{c}" for c in "abcdefgh"), "good", "bad"]
SIZES = {"vocab_size": len(WORDS), "dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32}
NAMES = {0: "NEGATIVE", 1: "POSITIVE"}


def save(folder, names=NAMES, *, kind=DistilBertForSequenceClassification, positions=12):
    """Write a small DistilBERT as the hub has it: a list of words, two configs, and the weights; return the model."""
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "model_max_length": positions}))
    torch.manual_seed(0)
    labels = {"id2label": names, "label2id": {name: k for k, name in names.items()}}
    model = kind(DistilBertConfig(**SIZES, max_position_embeddings=positions, **labels)).eval()
    with torch.no_grad():
        for weight in model.parameters():  # fresh weights say the same of every text
            weight.mul_(8 if weight.ndim == 2 else 1)
    model.save_pretrained(folder)
    return model


TEXTS = ["a good c", "Bad", "a b c d e f g h", "good good bad"]


def test_probabilities_are_the_model_s_own(tmp_path):
    model = save(tmp_path)
    found = classify(TEXTS, folder=tmp_path)
    assert found.shape == (4, 2)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.sum(1), torch.ones(4))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for text, row in zip(TEXTS, found, strict=True):  # alone, without padding
        with torch.no_grad():
            alone = model(**tokenizer(text, return_tensors="pt")).logits[0].softmax(-1)
        torch.testing.assert_close(row, alone)
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_texts_do_not_change_one_another(tmp_path):
    save(tmp_path)
    many = classify(TEXTS * 10, folder=tmp_path)
    torch.testing.assert_close(many, classify(TEXTS, folder=tmp_path).repeat(10, 1))


def test_columns_come_as_negative_and_positive(tmp_path):
    save(tmp_path / "one")
    save(tmp_path / "two", {0: "positive", 1: "negative"})  # the same weights, labels the other way round
    one, two = classify(TEXTS, folder=tmp_path / "one"), classify(TEXTS, folder=tmp_path / "two")
    torch.testing.assert_close(one, two.flip(1))


def test_other_labels_keep_their_order(tmp_path):
    model = save(tmp_path, {0: "3 stars", 1: "2 stars", 2: "1 star"})
    found = classify(["good"], folder=tmp_path)
    ids = torch.tensor([[2, WORDS.index("good"), 3]])
    torch.testing.assert_close(found, model(ids).logits.softmax(-1).detach())


def test_strange_words_are_cut_or_unknown(tmp_path):
    save(tmp_path)
    pieces, unknown = classify(["abba", "ж 好"], folder=tmp_path), classify(["[UNK] [UNK]"], folder=tmp_path)
    torch.testing.assert_close(pieces[1:], unknown)
    assert (pieces[0] - pieces[1]).abs().max() > 1e-4


@pytest.mark.parametrize("texts", [[""], ["good", "  \n"]], ids=["empty", "blank"])
def test_an_empty_text_is_refused(tmp_path, texts):
    save(tmp_path)
    with pytest.raises(InputError, match=f"text {len(texts) - 1}"):
        classify(texts, folder=tmp_path)


def test_a_text_that_is_too_long_is_refused_and_the_longest_is_not(tmp_path):
    save(tmp_path)
    assert classify(["good " * 10], folder=tmp_path).isfinite().all()  # 10 and the frame are 12
    with pytest.raises(InputError, match=r"at most 12 tokens[\s\S]*13 tokens in text 0"):
        classify(["good " * 11], folder=tmp_path)


@pytest.mark.parametrize(("texts", "got"), [("good", "'good'"), ([None], "NoneType"), ([], "none")])
def test_what_is_no_text_is_refused(tmp_path, texts, got):
    save(tmp_path)
    with pytest.raises(InputError, match=got):
        classify(texts, folder=tmp_path)


def test_a_model_without_a_head_is_refused(tmp_path):
    save(tmp_path, kind=DistilBertModel)
    with pytest.raises(CheckpointError, match="DistilBertModel"):
        classify(["good"], folder=tmp_path)


def test_no_tokenizer_is_a_clear_error(tmp_path):
    save(tmp_path)
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match="tokenizer"):
        classify(["good"], folder=tmp_path)


def test_one_output_is_no_classifier(tmp_path):
    save(tmp_path, {0: "stars"})
    with pytest.raises(CheckpointError, match="1 outputs"):
        classify(["good"], folder=tmp_path)


def test_a_missing_folder_says_where_the_files_are(tmp_path):
    with pytest.raises(CheckpointError, match=r"sst-2-english[\s\S]*270 MB"):
        classify(["good"], folder=tmp_path / "nowhere")
