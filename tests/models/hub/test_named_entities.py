"""The public tagger's code on a tiny BERT in the true layout: cased word pieces, BIO tags in the config."""

import json

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForTokenClassification, BertModel

from bigmodel_lab.errors import CheckpointError, InputError
from bigmodel_lab.models.hub.named_entities import entities

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{c}" for c in LETTERS), "Rome", "Peter", "."]
NAMES = ["O", "B-MISC", "I-MISC", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]  # as dslim/bert-base-NER


def save(folder, names=NAMES, *, kind=BertForTokenClassification, positions=16):
    """Write a small BERT as the hub has it: a list of words, two configs, and the weights; return the model."""
    folder.mkdir(exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    options = {"do_lower_case": False, "model_max_length": positions, "tokenizer_class": "BertTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(options))
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: k for k, name in enumerate(names)}}
    model = kind(BertConfig(vocab_size=len(WORDS), max_position_embeddings=positions, **sizes, **labels)).eval()
    with torch.no_grad():
        for weight in model.parameters():  # fresh weights say the same of every word
            weight.mul_(8 if weight.ndim == 2 else 1)
    model.save_pretrained(folder)
    return model


SENTENCES = [["Peter", "saw", "Rome", "."], ["Rome"], ["a", "cab", "."]]


def test_every_word_gets_the_tag_of_its_first_piece(tmp_path):
    model = save(tmp_path)
    found = entities(SENTENCES, folder=tmp_path)
    assert [len(tags) for tags in found] == [4, 1, 3]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    for words, tags in zip(SENTENCES, found, strict=True):  # alone, without padding, pieces counted by hand
        pieces = [tokenizer.tokenize(word) for word in words]
        ids = torch.tensor([[2, *tokenizer.convert_tokens_to_ids([p for word in pieces for p in word]), 3]])
        with torch.no_grad():
            best = model(ids).logits[0].argmax(-1).tolist()
        firsts = [1 + sum(map(len, pieces[:i])) for i in range(len(words))]
        assert tags == [NAMES[best[i]] for i in firsts]
    assert len({tag for tags in found for tag in tags}) > 1
    assert any(len(tokenizer.tokenize(word)) > 1 for words in SENTENCES for word in words)


def test_sentences_do_not_change_one_another(tmp_path):
    save(tmp_path)
    assert entities(SENTENCES * 9, folder=tmp_path) == entities(SENTENCES, folder=tmp_path) * 9


def test_a_word_without_a_piece_is_outside(tmp_path):
    save(tmp_path)
    found = entities([["Rome", "\u200b", "Peter"]], folder=tmp_path)[0]  # a space of no width
    assert found[1] == "O"
    assert [found[0], found[2]] == entities([["Rome", "Peter"]], folder=tmp_path)[0]


@pytest.mark.parametrize(
    ("sentences", "said"),
    [
        ([], "at least one sentence"),
        ("Peter saw Rome", "at least one sentence"),
        (["Peter saw Rome"], "list of words"),
        ([["Peter"], []], "none in sentence 1"),
        ([[" "]], "none in sentence 0"),
        ([[1]], "list of words"),
    ],
)
def test_what_is_no_sentence_is_refused(tmp_path, sentences, said):
    save(tmp_path)
    with pytest.raises(InputError, match=said):
        entities(sentences, folder=tmp_path)


def test_a_sentence_that_is_too_long_is_refused_and_the_longest_is_not(tmp_path):
    save(tmp_path)
    assert len(entities([["Rome"] * 14], folder=tmp_path)[0]) == 14  # 14 and the frame are 16
    with pytest.raises(InputError, match=r"at most 16[\s\S]*17 in sentence 1: Rome"):
        entities([["a"], ["Rome"] * 15], folder=tmp_path)


def test_a_model_that_is_no_tagger_is_refused(tmp_path):
    save(tmp_path / "body", kind=BertModel)
    with pytest.raises(CheckpointError, match="BertModel"):
        entities([["Rome"]], folder=tmp_path / "body")
    save(tmp_path / "names", ["LABEL_0", "LABEL_1"])
    with pytest.raises(CheckpointError, match="LABEL_0"):
        entities([["Rome"]], folder=tmp_path / "names")


def test_a_missing_folder_says_where_the_files_are(tmp_path):
    with pytest.raises(CheckpointError, match=r"dslim/bert-base-NER[\s\S]*430 MB"):
        entities([["Rome"]], folder=tmp_path / "nowhere")
