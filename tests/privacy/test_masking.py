"""Masking: each kind by its standard's own example, planted truth, and rules that hold for any text."""

import random
import re

import pytest

from bigmodel_lab.data.personal import messages
from bigmodel_lab.errors import InputError
from bigmodel_lab.privacy.masking import KINDS, check_character, luhn, mask, pseudonym, restore

KEY = bytes(range(32))
FOUND = {
    "the example of GB 11643": ("11010519491231002X", "resident_id"),
    "identity number in groups": ("110105 19491231 002x", "resident_id"),
    "e-mail": ("zhang.san+x@mail.example.com.cn", "email"),
    "full-width e-mail": ("ａｄａ＠ｅｘａｍｐｌｅ．ｃｏｍ", "email"),
    "card of 16": ("4111 1111 1111 1111", "card"),
    "card of 15": ("3782-822463-10005", "card"),
    "Chinese mobile": ("138-1234-5678", "phone"),
    "with country": ("+86 138 1234 5678", "phone"),
    "international": ("+44 20 7946 0958", "phone"),
    "with brackets": ("+1 (212) 555-0100", "phone"),
    "full-width digits": ("１３８１２３４５６７８", "phone"),
    "Arabic digits": ("١٣٨١٢٣٤٥٦٧٨", "phone"),
    "long dashes": ("138–1234–5678", "phone"),
    "IPv4": ("192.0.2.146", "ip"),
    "IPv6": ("2001:db8::8a2e:370:7334", "ip"),
    "mapped IPv4": ("::ffff:192.0.2.1", "ip"),
    "address with a password": ("ftp://ada:secret@example.com/in/", "url"),
}
NOT_FOUND = {
    "wrong check character": "110105194912310021",
    "no such day": "110105194902310026",
    "wrong card digit": "4111 1111 1111 1112",
    "no mobile prefix": "12812345678",
    "part of a longer number": "9913812345678",
    "no such octet": "192.0.2.256",
    "five numbers": "1.2.3.4.5",
    "time of day": "12:30:45",
    "a name in C++": "std::vector",
    "two letters in C++": "a::b",
    "address without a user": "https://example.com/a@b",
    "nickname": "@ada",
    "a date without a cue": "1990-05-17",
    "number in words": "one three eight one two three four",
    "at in words": "ada at example dot com",
}


@pytest.mark.parametrize(("piece", "kind"), FOUND.values(), ids=FOUND)
@pytest.mark.parametrize(
    "around", ["{}", "Call {}.", "请联系{}。", "({}),"], ids=["alone", "English", "Chinese", "brackets"]
)
def test_each_form_is_found_whole_and_alone(piece, kind, around):
    masked = mask(around.format(piece))
    assert masked.text == around.format(f"[{kind.upper()}]")
    assert masked.counts == {kind: 1}
    assert masked.spans[0].text == piece


@pytest.mark.parametrize("text", NOT_FOUND.values(), ids=NOT_FOUND)
def test_what_has_not_the_form_stays(text):
    assert mask(text).text == text


@pytest.mark.parametrize(
    "text",
    ["born on {}", "Date of birth: {}", "DOB {}", "Her birthday is {}", "出生日期：{}", "生日{}"],
)
@pytest.mark.parametrize(
    "day", ["1990-05-17", "17 May 1990", "May 17th, 1990", "17.05.1990", "05/17/1990", "1990年5月17日"]
)
def test_days_of_birth_need_a_cue_and_may_be_written_in_many_ways(text, day):
    assert mask(text.format(day)).text == text.format("[BIRTH]")


@pytest.mark.parametrize("day", ["1990-02-30", "31 June 1990", "1790-05-17", "99/99/1990"])
def test_days_that_do_not_exist_stay(day):
    assert mask(f"born on {day}").counts == {}


def test_a_security_code_behind_a_card_does_not_hide_it():
    assert mask("card 4111 1111 1111 1111 123").text == "card [CARD] 123"


def test_kinds_chosen_are_the_only_ones_masked():
    text = "ada@example.com from 192.0.2.1"
    assert mask(text, kinds=["ip"]).text == "ada@example.com from [IP]"
    assert mask(text, kinds=[]).text == text


class TestCheckDigits:
    def test_luhn_finds_each_single_error(self):
        right = "4111111111111111"
        assert luhn(right)
        for i, digit in enumerate(right):
            wrong = [right[:i] + d + right[i + 1 :] for d in "0123456789" if d != digit]
            assert not any(map(luhn, wrong))

    def test_check_character_finds_each_single_error_and_each_swap(self):
        first, last = "11010519491231002", "X"
        assert check_character(first) == last
        for i, digit in enumerate(first):
            assert all(check_character(first[:i] + d + first[i + 1 :]) != last for d in "0123456789" if d != digit)
            if i and digit != first[i - 1]:
                assert check_character(first[: i - 1] + digit + first[i - 1] + first[i + 1 :]) != last

    def test_check_character_agrees_with_the_standards_weights(self):
        draw = random.Random(0)
        for _ in range(200):
            first = "".join(draw.choices("0123456789", k=17))
            total = sum(int(d) * pow(2, 17 - i, 11) for i, d in enumerate(first))
            assert check_character(first) == "10X98765432"[total % 11]

    @pytest.mark.parametrize("first", ["", "1" * 16, "1" * 16 + "X", "１" * 17])
    def test_what_is_not_17_digits_is_refused(self, first):
        with pytest.raises(InputError):
            check_character(first)


def scrap(draw):
    """A text of scraps that meet in every way: pieces, parts of pieces, separators, placeholders."""
    pieces = [piece for piece, _ in FOUND.values()] + list(NOT_FOUND.values())
    pieces += [
        "[EMAIL]",
        "[",
        "]",
        ":",
        "@",
        "://",
        "born on ",
        "1990-05-17",
        "\0",
        "\n",
        " ",
        ".",
        "-",
        "12",
        "年",
        "+",
    ]
    chosen = draw.choices(pieces, k=draw.randrange(1, 8))
    return "".join(piece[draw.randrange(2) * draw.randrange(len(piece) + 1) :] for piece in chosen)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("key", [None, KEY], ids=["kinds", "pseudonyms"])
class TestForAnyText:
    def test_masking_twice_is_masking_once(self, seed, key):
        draw = random.Random(seed)
        for _ in range(500):
            once = mask(scrap(draw), key=key)
            again = mask(once.text, key=key)
            assert again.text == once.text
            assert again.spans == ()

    def test_spans_are_in_order_apart_and_hold_what_was_there(self, seed, key):
        draw = random.Random(seed)
        for _ in range(500):
            text = scrap(draw)
            masked, at, rebuilt = mask(text, key=key), 0, []
            for span in masked.spans:
                assert at <= span.start < span.end <= len(text)
                assert text[span.start : span.end] == span.text
                rebuilt += [text[at : span.start], span.alias]
                at = span.end
            assert "".join([*rebuilt, text[at:]]) == masked.text
            assert sum(masked.counts.values()) == len(masked.spans)


class TestPseudonyms:
    def test_are_the_same_for_the_same_value_however_it_is_written(self):
        for one, other, kind in [
            ("138-1234-5678", "+86 13812345678", "phone"),
            ("Ada@Example.com", "ａｄａ＠ｅｘａｍｐｌｅ．ｃｏｍ", "email"),
            ("11010519491231002x", "110105 19491231 002X", "resident_id"),
        ]:
            assert pseudonym(one, KEY, kind=kind) == pseudonym(other, KEY, kind=kind)

    def test_differ_by_value_key_and_kind(self):
        every = [("a", KEY, "email"), ("b", KEY, "email"), ("a", KEY[::-1], "email"), ("a", KEY, "card")]
        assert len({pseudonym(value, key, kind=kind) for value, key, kind in every}) == 4

    def test_hold_no_digit_and_have_the_length_asked_for(self):
        assert re.fullmatch("[a-p]{20}", pseudonym("x", KEY, length=20))

    def test_are_undone_by_the_table_and_by_nothing_less(self):
        text = "ada@example.com rang +44 20 7946 0958, then ada@example.com wrote."
        masked = mask(text, key=KEY)
        assert "example" not in masked.text
        assert len(masked.table) == 2
        assert restore(masked.text, masked.table) == text
        assert restore(masked.text, {}) == masked.text

    def test_plain_placeholders_cannot_be_undone(self):
        masked = mask("ada@example.com and bob@example.com")
        with pytest.raises(InputError):
            restore(masked.text, masked.table)

    @pytest.mark.parametrize("key", [b"short", "a text that is long enough", None])
    def test_a_weak_key_is_refused(self, key):
        with pytest.raises(InputError):
            pseudonym("x", key)

    @pytest.mark.parametrize("length", [0, 3, 65])
    def test_a_length_out_of_range_is_refused(self, length):
        with pytest.raises(InputError):
            pseudonym("x", KEY, length=length)


@pytest.mark.parametrize(("text", "kinds"), [(None, KINDS), (b"x", KINDS), ("x", ["email", "shoe size"])])
def test_what_cannot_be_masked_is_refused(text, kinds):
    with pytest.raises(InputError):
        mask(text, kinds)


def test_secrets_do_not_show_in_the_representation():
    assert "ada@" not in repr(mask("ada@example.com", key=KEY))
    assert "ada@" not in repr(mask("ada@example.com").spans[0])


def test_planted_truth_is_found_where_it_has_a_form_and_nowhere_else():
    formed = {
        "plain",
        "in groups",
        "full-width",
        "mobile",
        "with spaces",
        "version 6",
        "with a month's name",
        "in Chinese",
    }
    for message in messages(300, seed=5):
        spans = mask(message.text).spans
        for truth in message.truths:
            covered = any(span.start <= truth.start and truth.end <= span.end for span in spans)
            if truth.manner in formed:
                assert covered, (truth, message.text)
            elif truth.kind in ("name", "description"):
                assert not covered
