"""Plain data: what survives the way out of a student's kernel, and what counts as the same."""

import json
import math
from collections import OrderedDict

import numpy as np
import pytest
import torch

from bigmodel_lab.course.inside import ask, encode
from bigmodel_lab.course.plain import as_plain, decode, pack, printable, same, shown
from bigmodel_lab.errors import DataError, InputError

VALUES = {
    "none": None,
    "bool": True,
    "int": 10**30,
    "float": 0.1,
    "infinite": -math.inf,
    "nan": math.nan,
    "text": 'ä"\n\0',
    "complex": 1 - 2j,
    "nested": [1, [2.5, {"a": [None]}]],
    "float32": np.arange(6, dtype="float32").reshape(2, 3),
    "empty": np.zeros((0, 3)),
    "bools": np.array([True, False]),
    "large": np.array([2**63], dtype="uint64"),
    "complex64": np.array([[1 + 2j]], dtype="complex64"),
    "complex128": np.array([1 + 2j, 3j]),
    "words": np.array(["a", "bcd"]),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_goes_out_comes_back(name):
    value = VALUES[name]
    back = as_plain(value)
    assert same(back, value)
    assert type(back) is type(value)
    if isinstance(value, np.ndarray):
        assert (back.dtype, back.shape) == (value.dtype, value.shape)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, 2), [1, 2]),
        ({2, 1}, {"set": [1, 2]}),
        ({1: "a"}, {"pairs": [[1, "a"]]}),
        (OrderedDict(a=1), {"a": 1}),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array(2.0), 2.0),
        (torch.tensor(3), 3),
        (torch.tensor([1.0, 2.0], requires_grad=True), np.array([1, 2], dtype="float32")),
        (torch.tensor([1.5], dtype=torch.bfloat16), np.array([1.5], dtype="float32")),
        (torch.eye(2).to_sparse(), np.eye(2, dtype="float32")),
    ],
    ids=str,
)
def test_what_is_not_plain_becomes_it(value, plain):
    assert same(as_plain(value), plain)
    assert type(as_plain(value)) is type(plain)


@pytest.mark.parametrize(
    "value", [..., object(), b"bytes", [object()], np.array([object()]), len], ids=lambda value: type(value).__name__
)
def test_what_cannot_be_judged_says_so(value):
    with pytest.raises(TypeError, match=r"cannot be judged|no answer yet"):
        encode(value)


def test_what_is_too_large_says_so():
    deep = []
    for _ in range(60):
        deep = [deep]
    for value in ("x" * 2_000_000, np.zeros(10**6), deep):
        with pytest.raises(ValueError, match=r"too large|deeper"):
            encode(value)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[" * 100_000, '{"__array__": [1], "dtype": "object", "shape": [1]}',
        '{"__array__": [[1], [2, 3]], "dtype": "float64", "shape": [2]}',
        '{"__array__": [1], "dtype": "float64", "shape": [2]}', '{"__array__": [1]}', '{"__complex__": 3}',
        "9" * 5000,
        json.dumps(["x" * 100_000] + ["y"] * 1000),
        '{"__array__": [1e999, 99999999999999999999999], "dtype": "int64", "shape": [2]}',
    ],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_a_text_that_is_no_answer_is_refused(text):
    with pytest.raises(DataError, match="an answer as JSON"):
        decode(text)


SAME = [
    (1, 1), (2.0, 2), (2, 2.0), (0.1 + 0.2, 0.3), (math.nan, math.nan), (math.inf, math.inf), (10**400, 10**400),
    ("a", "a"), ([1, 2.0], [1.0, 2]), ({"a": [1]}, {"a": [1.0]}), (np.ones(2), [1, 1]), ([1, 1], np.ones(2)),
    (np.array([1, 2]), np.array([1.0, 2.0])), (np.array([math.nan]), np.array([math.nan])), (1j, 1j),
    (300.00000000000006, 300), (np.array(["a"]), ["a"]), ([], np.zeros(0)),
]  # fmt: skip
DIFFERENT = [
    (1, True), (True, 1), (None, 0), (0, None), ("1", 1), (1, "1"), (math.nan, 1.0), (1.0, math.nan), (1.0, math.inf),
    (124_439_809, 124_439_808), (124_439_809.0, 124_439_808), ([1], [1, 1]), ([1, 1], [1]), (1, [1]), ([1], 1),
    ({"a": 1}, {"b": 1}), ({"a": 1, "b": 2}, {"a": 1}), ([1], {"a": 1}), (np.ones((1, 2)), np.ones((2, 1))),
    (np.ones(2), np.ones(3)), (np.array([True]), np.array([1])), (np.array([1]), np.array([True])),
    (np.array([1, 2]), np.array([1, 3])), ([[1], [2, 3]], np.ones(2)), (1.0, np.ones(1)), (10**400, 1.0),
    (np.array([124_439_809]), np.array([124_439_808])), (1 + 1e-5, 1.0), ("A", "a"), (["1"], np.ones(1)),
]  # fmt: skip


@pytest.mark.parametrize(("got", "want"), SAME, ids=str)
def test_the_same(got, want):
    assert same(got, want) is True


@pytest.mark.parametrize(("got", "want"), DIFFERENT, ids=str)
def test_not_the_same(got, want):
    assert same(got, want) is False


def test_a_wider_tolerance_holds_for_whole_numbers_too():
    assert same(1010, 1000, 0.02)
    assert same(np.array([1010]), np.array([1000]), 0.02)
    assert not same(1030, 1000, 0.02)


def test_inputs_reach_the_expression_and_leave_no_trace():
    space = {"x": "the student's", "double": lambda v: 2 * v}
    values = np.array([[1.0, math.nan]], dtype="float32")
    text = ask(space, "[double(x), n, [v for v in range(n)]]", pack({"x": values, "n": 2}))
    assert same(decode(text), [2 * values, 2, [0, 1]])
    assert space["x"] == "the student's"
    assert "n" not in space


def test_an_expression_that_fails_leaves_no_trace_either():
    space = {"x": 1}
    with pytest.raises(ZeroDivisionError):
        ask(space, "x / 0", pack({"x": 5}))
    assert space["x"] == 1


@pytest.mark.parametrize(
    "inputs",
    [{"x": object()}, {"x": torch.ones(1)}, {"x y": 1}, {"x": np.array([object()])}],
    ids=["object", "tensor", "name", "objects"],
)
def test_inputs_that_cannot_be_sent_are_refused(inputs):
    with pytest.raises(InputError, match="inputs"):
        pack(inputs)


def test_what_came_is_shown_in_short():
    assert shown([1, 2]) == "[1, 2]"
    assert shown("x" * 1000).endswith("…")
    assert len(shown("x" * 1000)) == 200
    assert shown(np.zeros((3, 4))).startswith("an array of shape (3, 4): [0., 0.")
    assert shown(10**5000).startswith("a int that cannot be shown")
    assert shown("\ud800\x1b[31m").isprintable()
    assert json.dumps(shown({"a": [1.0]})) == "\"{'a': [1.0]}\""


def test_a_message_is_one_line_that_any_file_can_hold():
    text = printable("a\n\tb \x00\x1b[31m \ud800 ä", 100)
    assert text == "a b ��[31m � ä"
    assert printable("x" * 50, 10) == "x" * 9 + "…"
    text.encode()


def test_a_word_array_is_as_large_as_its_words():
    words = decode('{"__array__": ["a", "b"], "dtype": "<U90000000", "shape": [2]}')
    assert words.dtype == "<U1"
