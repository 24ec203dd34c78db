"""Tokenisers: what is encoded comes back, saved ones are the same, and what cannot be encoded is named."""

import pytest
import torch
from transformers import AutoTokenizer

from bigmodel_lab.data import text
from bigmodel_lab.errors import InputError

TEXTS = ["the matrix is the sum of the matrices", "Return the sum.\n\n    >>> add(1, 2)\n    3", "naïve 矩阵 🙂"]


@pytest.fixture(params=["bpe", "byte_level", "characters"])
def tokenizer(request):
    make = getattr(text, request.param)
    return make() if request.param == "byte_level" else make(TEXTS, *([280] if request.param == "bpe" else []))


def test_texts_come_back_as_they_were(tokenizer):
    for one in TEXTS:
        assert tokenizer.decode(tokenizer(one)["input_ids"], skip_special_tokens=True) == one


def test_special_tokens_have_the_first_ids_and_their_roles(tokenizer):
    roles = (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert (*roles, tokenizer.mask_token_id) == (0, 1, 2, 3, 4)
    first, *_, last = tokenizer(TEXTS[0])["input_ids"]
    assert (first, last) == (2, 3)


def test_saved_and_loaded_it_is_the_same(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded(TEXTS)["input_ids"] == tokenizer(TEXTS)["input_ids"]
    assert loaded.mask_token == "[MASK]"


def test_sizes():
    assert len(text.byte_level()) == 256 + 5
    assert len(text.bpe(TEXTS * 20, 300)) == 300
    assert len(text.characters(["abcab"])) == 3 + 5


def test_bpe_merges_the_most_frequent_pair_first():
    tokenizer = text.bpe(["ab ab ab abc"], 256 + 5 + 1)
    assert tokenizer.convert_ids_to_tokens(tokenizer("ab")["input_ids"])[1:-1] == ["ab"]


@pytest.mark.parametrize("texts", [TEXTS * 20])
def test_a_mask_stands_for_a_word_with_its_space_where_words_have_one(texts, tmp_path):
    text.bpe(texts, 300).save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for tokenizer in (text.bpe(texts, 300), loaded):
        spaced, joined = (tokenizer(f"the{gap}[MASK] is")["input_ids"] for gap in (" ", ""))
        assert spaced == joined
        assert spaced.count(tokenizer.mask_token_id) == 1
    characters = text.characters(texts)
    assert len(characters("a [MASK]")["input_ids"]) == len(characters("a[MASK]")["input_ids"]) + 1


def test_bytes_are_one_token_each():
    assert len(text.byte_level()("矩 a")["input_ids"]) == 3 + 2 + 2


def test_encode_frames_and_fills_up(tokenizer):
    ids = text.encode(tokenizer, ["the sum", "the"], 24)
    assert ids.shape == (2, 24)
    assert ids.dtype == torch.int64
    assert ids[:, 0].tolist() == [2, 2]
    assert (ids == 3).sum(1).tolist() == [1, 1]
    assert ids[1, -1] == 0


def test_encode_takes_pairs(tokenizer):
    row = text.encode(tokenizer, [("the", "sum")], 24)[0].tolist()
    assert row.count(3) == 2


def test_a_text_that_is_too_long_is_an_error_unless_it_may_be_cut(tokenizer):
    with pytest.raises(InputError, match=r"at most 5 tokens.*\n.*text 1.*\n.*truncate=True"):
        text.encode(tokenizer, ["s", TEXTS[0]], 5)
    cut = text.encode(tokenizer, ["s", TEXTS[0]], 5, truncate=True)
    assert cut[1].tolist()[0] == 2
    assert cut[1].tolist()[-1] == 3


@pytest.mark.parametrize("empty", [[""], ["the sum", ""]])
def test_an_empty_text_is_an_error(tokenizer, empty):
    with pytest.raises(InputError, match="at least one token"):
        text.encode(tokenizer, empty, 24)


@pytest.mark.parametrize("nothing", [[], "one text"])
def test_no_texts_is_an_error(tokenizer, nothing):
    with pytest.raises(InputError, match="sequence of texts"):
        text.encode(tokenizer, nothing, 24)


def test_unknown_characters_are_an_error_unless_allowed():
    tokenizer = text.characters(["abc"])
    with pytest.raises(InputError, match=r"1 unknown in text 1: 'abz'\n.*unknown=True"):
        text.encode(tokenizer, ["ab", "abz"], 8)
    assert (text.encode(tokenizer, ["abz"], 8, unknown=True) == 1).sum() == 1


def test_a_length_without_room_is_an_error(tokenizer):
    with pytest.raises(InputError, match="length above 2"):
        text.encode(tokenizer, ["a"], 2)


def test_a_vocabulary_too_small_for_the_bytes_is_an_error():
    with pytest.raises(InputError, match="at least 261"):
        text.bpe(TEXTS, 100)


@pytest.mark.parametrize("learn", [text.bpe, text.characters])
def test_nothing_to_learn_from_is_an_error(learn):
    with pytest.raises(InputError, match="at least one"):
        learn([])


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        (["a", None], "text 1: None"),
        (["a", float("nan")], "text 1: nan"),
        ([b"a"], "text 0: b'a'"),
        (["a", ("a", "b")], r"text 1: \('a', 'b'\)"),
        ([("a", "b"), "a"], "text 1: 'a'"),
        ([("a", "b", "c")], "text 0"),
        (["\ud800"], r"text 0: '\\ud800'"),
        (text.TextSet(("a",), torch.tensor([0]), ("x",)), r"text 0: TextSet\(1"),
        (None, "None"),
        (iter(["a"]), "list_iterator"),
        (b"text", "b'text'"),
    ],
)
def test_what_is_no_text_is_named(odd, words):
    with pytest.raises(InputError, match=words):
        text.encode(text.byte_level(), odd, 8)


def test_a_text_of_any_characters_comes_back():
    tokenizer, odd = text.byte_level(), ["\U0001f600 \u4e2d\u6587 \0\r\n", "x" * 50_000]
    assert tokenizer.batch_decode(text.encode(tokenizer, odd, 50_002), skip_special_tokens=True) == odd


def test_a_vocabulary_that_no_memory_holds_is_an_error():
    with pytest.raises(InputError, match=r"at most 1000000\n.*1000000000"):
        text.bpe(TEXTS, 10**9)
