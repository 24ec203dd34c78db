"""Every sequence task against its definition; numbers against planted examples and against parsers that read them."""

import re
from itertools import pairwise

import numpy as np
import pytest
import torch

from bigmodel_lab.data import numerals as numeral_parts
from bigmodel_lab.data import sentiment as sentiment_parts
from bigmodel_lab.data.sequences import (
    adding,
    chinese_numeral,
    copying,
    number_words,
    numerals,
    parity,
    recall,
    sentiment,
)
from bigmodel_lab.errors import InputError


class TestAdding:
    def test_the_target_is_the_sum_of_the_two_marked_numbers(self):
        x, y = adding(500, 11)
        assert x.shape == (500, 11, 2)
        assert y.shape == (500, 1)
        for (numbers, marks), target in zip(x.movedim(2, 1), y, strict=True):
            first, second = marks.nonzero().flatten().tolist()
            assert first < 5 <= second
            assert target.item() == pytest.approx((numbers[first] + numbers[second]).item())

    def test_answering_one_costs_a_sixth(self):
        y = adding(20_000, 4)[1]
        assert (y - 1).square().mean().item() == pytest.approx(1 / 6, abs=0.005)


class TestCopying:
    @pytest.mark.parametrize("gap", [0, 1, 20])
    def test_symbols_are_asked_for_after_the_gap_in_their_order(self, gap):
        ids, targets = copying(50, gap, symbols=4, length=3)
        assert ids.shape == targets.shape == (50, 6 + gap)
        assert torch.equal(targets[:, 3 + gap :], ids[:, :3])
        assert (targets[:, : 3 + gap] == -100).all()
        assert set(ids[:, :3].unique().tolist()) == {3, 4, 5, 6}
        assert (ids[:, 3 + gap] == 2).all()
        assert (ids[:, 3 : 3 + gap] == 1).all()
        assert (ids[:, 4 + gap :] == 1).all()


def test_parity_counts_the_ones():
    ids, targets = parity(300, 7)
    assert set(ids.unique().tolist()) == {1, 2}
    for row, target in zip(ids.tolist(), targets.tolist(), strict=True):
        assert target == row.count(2) % 2
    assert 100 < targets.sum() < 200


class TestRecall:
    @pytest.mark.parametrize(("distance", "lead"), [(0, 0), (5, 0), (3, 4)])
    def test_the_one_marked_symbol_is_the_answer(self, distance, lead):
        ids, targets = recall(400, distance, symbols=5, lead=lead)
        assert ids.shape == (400, lead + 1 + distance)
        marked = ids > 5
        assert (marked.sum(1) == 1).all()
        assert marked[:, lead].all()
        assert torch.equal(ids[:, lead] - 6, targets)
        assert ids.min() == 1 or distance + lead == 0
        assert set(targets.tolist()) == set(range(5))

    def test_the_distractors_say_nothing(self):
        ids, targets = recall(20_000, 3, symbols=4)
        for step in (1, 2, 3):
            assert (ids[:, step] - 1 == targets).float().mean().item() == pytest.approx(1 / 4, abs=0.02)


CHINESE = {
    0: "零",
    2: "二",
    10: "十",
    12: "十二",
    20: "二十",
    101: "一百零一",
    105: "一百零五",
    110: "一百一十",
    115: "一百一十五",
    200: "两百",
    222: "两百二十二",
    305: "三百零五",
    1_000: "一千",
    1_005: "一千零五",
    1_010: "一千零一十",
    1_200: "一千二百",
    2_002: "两千零二",
    2_222: "两千二百二十二",
    10_000: "一万",
    10_005: "一万零五",
    10_050: "一万零五十",
    10_010: "一万零一十",
    10_500: "一万零五百",
    11_000: "一万一千",
    12_345: "一万二千三百四十五",
    20_000: "两万",
    20_002: "两万零二",
    32_000: "三万二千",
    100_000: "十万",
    100_005: "十万零五",
    105_000: "十万五千",
    110_000: "十一万",
    120_000: "十二万",
    200_000: "二十万",
    202_020: "二十万二千零二十",
    999_999: "九十九万九千九百九十九",
    1_000_000: "一百万",
    1_000_500: "一百万零五百",
    1_010_101: "一百零一万零一百零一",
    2_000_000: "两百万",
    10_000_000: "一千万",
    20_000_000: "两千万",
    99_999_999: "九千九百九十九万九千九百九十九",
}
ENGLISH = {
    0: "zero",
    13: "thirteen",
    21: "twenty-one",
    40: "forty",
    100: "one hundred",
    105: "one hundred and five",
    305: "three hundred and five",
    1_000: "one thousand",
    1_005: "one thousand and five",
    1_100: "one thousand one hundred",
    1_234: "one thousand two hundred and thirty-four",
    100_000: "one hundred thousand",
    100_021: "one hundred thousand and twenty-one",
    999_999: "nine hundred and ninety-nine thousand nine hundred and ninety-nine",
    2_000_300: "two million three hundred",
    12_000_017: "twelve million and seventeen",
}
ALL_KINDS = [*range(10_200), *range(10_200, 1_000_000, 997), *range(1_000_000, 99_999_999, 1_234_577)]


def read_chinese(text):
    """The number that a Chinese numeral stands for, by another way than it was written: sum digit × place."""
    total = section = digit = 0
    for sign in text:
        if sign in "零一二三四五六七八九":
            digit = "零一二三四五六七八九".index(sign)
        elif sign == "两":
            digit = 2
        elif sign == "万":
            total, section, digit = (section + digit) * 10_000, 0, 0
        else:
            section += (digit or 1) * {"十": 10, "百": 100, "千": 1000}[sign]
            digit = 0
    return total + section + digit


def read_english(text):
    """The number that English words stand for, by another way than they were written."""
    words = dict(zip(numeral_parts.UNITS, range(20), strict=True))
    words |= dict(zip(numeral_parts.TENS[2:], range(20, 100, 10), strict=True))
    total = part = 0
    for word in re.split("[ -]", text):
        if word == "hundred":
            part *= 100
        elif word in ("thousand", "million"):
            total, part = total + part * {"thousand": 1000, "million": 1_000_000}[word], 0
        elif word != "and":
            part += words[word]
    return total + part


class TestNumbers:
    @pytest.mark.parametrize(("number", "text"), CHINESE.items())
    def test_chinese_as_planted(self, number, text):
        assert chinese_numeral(number) == text

    @pytest.mark.parametrize(("number", "text"), ENGLISH.items())
    def test_english_as_planted(self, number, text):
        assert number_words(number) == text

    def test_what_is_written_can_be_read(self):
        for number in ALL_KINDS:
            assert read_chinese(chinese_numeral(number)) == number
            assert read_chinese(chinese_numeral(number, liang=False)) == number
            assert read_english(number_words(number)) == number

    def test_the_conventions_hold_everywhere(self):
        for number in ALL_KINDS:
            text = chinese_numeral(number)
            assert "零零" not in text
            assert text == "零" or not text.endswith("零")
            assert not text.startswith("一十")
            assert not re.search("[^一二三四五六七八九]十", text[1:])  # 十 with its digit, but at the beginning
            assert not re.search("两十|两$|.两", text)
            assert not text.startswith(("二百", "二千", "二万"))
            assert "两" not in chinese_numeral(number, liang=False)

    def test_reading_is_no_test_if_the_writer_drops_a_zero(self):
        assert read_chinese("一百五") == 105  # the parser alone would not notice; the planted examples do
        assert chinese_numeral(105) != "一百五"

    @pytest.mark.parametrize("wrong", [-1, 100_000_000, 1.0, "5", True])
    def test_numbers_out_of_range_are_refused(self, wrong):
        for function in (number_words, chinese_numeral):
            with pytest.raises(InputError, match="99999999"):
                function(wrong)


class TestNumerals:
    def test_pairs_say_the_same_number_and_no_number_is_in_both_sets(self):
        train, test = numerals(200, 5_000, 5_400)
        assert (len(train), len(test)) == (180, 20)
        numbers = [[read_english(english) for english, _ in part] for part in (train, test)]
        assert numbers == [[read_chinese(chinese) for _, chinese in part] for part in (train, test)]
        assert len(set(numbers[0]) | set(numbers[1])) == 200
        assert all(5_000 <= number <= 5_400 for part in numbers for number in part)

    def test_all_numbers_of_a_range_can_be_asked_for(self):
        train, test = numerals(11, 0, 10)
        assert sorted(read_english(english) for english, _ in train + test) == list(range(11))

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            ((5, 9, 3), "low <= high"),
            ((12, 0, 10), "n=12"),
            ((1, 0, 10), "n=1"),
            ((5, -1, 10), "from 0 to"),
            ((5, 0, 10**9), "from 0 to"),
        ],
    )
    def test_a_range_without_enough_numbers_is_refused(self, wrong, words):
        with pytest.raises(InputError, match=words):
            numerals(*wrong)

    @pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
    def test_a_share_that_leaves_a_side_empty_is_refused(self, share):
        with pytest.raises(InputError, match="test_fraction"):
            numerals(10, test_fraction=share)


class TestSentiment:
    def test_texts_differ_and_classes_are_balanced(self):
        train, test = sentiment(600, 201)
        texts = train.texts + test.texts
        assert len(set(texts)) == len(texts) == 801
        assert train.labels.sum() == 300
        assert test.labels.sum() == 101
        assert train.classes == ("negative", "positive")

    def test_the_true_words_decide_and_the_others_have_no_opinion(self):
        opinions = {*sentiment_parts.POSITIVE, *sentiment_parts.NEGATIVE}
        negations = {tuple(negation.split()) for negation in sentiment_parts.NEGATIONS}
        train, _ = sentiment(600, 2)
        for text, label, truth in zip(train.texts, train.labels.tolist(), train.truth, strict=True):
            words = text.split()
            assert len(words) == len(truth)
            *negation, adjective = [word for word, decides in zip(words, truth, strict=True) if decides]
            assert not negation or tuple(negation) in negations
            assert label == ((adjective in sentiment_parts.POSITIVE) != bool(negation))
            assert not opinions & {word for word, decides in zip(words, truth, strict=True) if not decides}
            places = [place for place, decides in enumerate(truth) if decides]
            assert all(b - a == 1 for a, b in pairwise(places))

    def test_the_share_of_negations_is_as_asked_and_they_also_stand_elsewhere(self):
        for negated in (0.0, 0.3, 1.0):
            train, _ = sentiment(400, 2, negated=negated)
            assert sum(sum(truth) > 1 for truth in train.truth) == 400 * negated
            loose = 0
            for text, truth in zip(train.texts, train.truth, strict=True):
                others = {word for word, decides in zip(text.split(), truth, strict=True) if not decides}
                loose += bool(others & {"not", "never", "hardly", "far"})
            assert 0.5 < loose / 400 < 0.8

    def test_a_few_texts_are_enough(self):
        train, test = sentiment(2, 2)
        assert sorted(train.labels.tolist()) == sorted(test.labels.tolist()) == [0, 1]

    @pytest.mark.parametrize("sizes", [(0, 10), (10, 0), (1, 10), (90_000, 20_000)])
    def test_sizes_out_of_range_are_refused(self, sizes):
        with pytest.raises(InputError, match="2 texts"):
            sentiment(*sizes)

    def test_a_share_out_of_range_is_refused(self):
        with pytest.raises(InputError, match="negated"):
            sentiment(10, 10, negated=1.5)


TASKS = [(adding, (20, 6)), (copying, (20, 6)), (parity, (20, 30)), (recall, (20, 6))]


@pytest.mark.parametrize(("task", "arguments"), TASKS)
def test_the_same_seed_gives_the_same_data_and_another_seed_other_data(task, arguments):
    assert all(map(torch.equal, task(*arguments, seed=3), task(*arguments, seed=3)))
    assert not torch.equal(task(*arguments, seed=3)[0], task(*arguments, seed=4)[0])


def test_the_same_seed_gives_the_same_texts_and_pairs():
    assert sentiment(50, 9, seed=3)[0].texts == sentiment(50, 9, seed=3)[0].texts
    assert sentiment(50, 9, seed=3)[0].texts != sentiment(50, 9, seed=4)[0].texts
    assert numerals(50, seed=3) == numerals(50, seed=3) != numerals(50, seed=4)


def test_global_generators_are_left_alone():
    before = torch.get_rng_state()
    for task, arguments in TASKS:
        task(*arguments)
    sentiment(10, 10)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("task", "arguments", "words"),
    [
        (adding, {"n": 5, "length": 1}, "length, an integer of at least 2"),
        (adding, {"n": 0, "length": 4}, "n, an integer of at least 1"),
        (parity, {"n": 5, "length": 0}, "length"),
        (parity, {"n": 5, "length": 2.5}, "length"),
        (copying, {"n": 5, "gap": -1}, "gap"),
        (copying, {"n": 5, "gap": 3, "length": 0}, "length"),
        (copying, {"n": 5, "gap": 3, "symbols": 1}, "symbols"),
        (recall, {"n": 5, "distance": -1}, "distance"),
        (recall, {"n": 5, "distance": 3, "lead": -1}, "lead"),
        (recall, {"n": 5, "distance": 3, "symbols": 1}, "symbols"),
    ],
)
def test_sizes_that_make_no_task_are_refused(task, arguments, words):
    with pytest.raises(InputError, match=words):
        task(**arguments)


def test_integers_may_be_numpys():
    one, three = np.int64(1), np.int32(30)
    for task in (adding, copying, parity, recall):
        same = zip(task(three, three, seed=one), task(30, 30, seed=1), strict=True)
        assert all(torch.equal(a, b) for a, b in same)
    assert number_words(np.int64(305)) == "three hundred and five"
    assert chinese_numeral(np.uint8(15)) == "十五"
    assert numerals(three, np.int64(0), np.int64(99), seed=one) == numerals(30, 0, 99, seed=1)
    assert sentiment(three, three, seed=one)[1].texts == sentiment(30, 30, seed=1)[1].texts


@pytest.mark.parametrize("seed", [None, 1.5, "a", 2**64])
def test_a_seed_that_is_no_integer_is_refused(seed):
    for task in (adding, copying, parity, recall, numerals, sentiment):
        with pytest.raises(InputError, match=f"(?s)seed.*{seed}"):
            task(30, 30, seed=seed)


@pytest.mark.parametrize("wrong", [10.0, "10", None])
def test_a_number_of_texts_that_is_no_integer_is_refused(wrong):
    for task in (numerals, sentiment):
        with pytest.raises(InputError, match=f"integer.*\n.*{wrong}"):
            task(wrong, 20)
