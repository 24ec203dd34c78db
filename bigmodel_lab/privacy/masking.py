"""Masking of personal data in text: find what has a form, replace it, and say exactly what was replaced.

Only what can be told by its form is found: addresses, numbers with a check digit, dates of birth with a cue. Names,
numbers in words and descriptions are not (a trained tagger finds some names). Full-width characters, digits of other
scripts and long dashes are read like their ASCII forms; e-mail addresses with letters beyond ASCII, numbers with
invisible characters inside and addresses broken over lines are not found.
Sources: RFC 5321 and 3986 (addresses), E.164 (telephone), ISO/IEC 7812-1 (cards; Luhn), GB 11643 with ISO 7064
MOD 11-2 (Chinese resident identity number), RFC 2104 (HMAC).
"""

import hmac
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from ipaddress import ip_address

from bigmodel_lab.errors import InputError

__all__ = ["KINDS", "Masked", "Span", "check_character", "luhn", "mask", "pseudonym", "restore"]

Found = tuple[int, int] | None  # where a match is, if it is one


@dataclass(frozen=True)
class Span:
    """One replaced piece: its place in the original text, what it is, and what stands in its place."""

    start: int
    end: int  # exclusive
    kind: str
    text: str = field(repr=False)  # the secret does not show in a log by accident
    alias: str = ""


@dataclass(frozen=True)
class Masked:
    """A text with its personal data replaced."""

    text: str
    spans: tuple[Span, ...] = field(repr=False)  # in order, never overlapping

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind were replaced."""
        return dict(Counter(span.kind for span in self.spans))

    @property
    def table(self) -> dict[str, str]:
        """Alias -> original, in the last spelling met: what `restore` needs, and as secret as the original."""
        return {span.alias: span.text for span in self.spans}


def luhn(digits: str) -> bool:
    """Say whether the last digit is right for the others by Luhn's formula, as on bank cards."""
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return len(digits) > 1 and sum(d - 9 * (d > 9) for d in doubled) % 10 == 0


def check_character(first: str) -> str:
    """Return the eighteenth character of a Chinese resident identity number for its first 17 (ISO 7064 MOD 11-2)."""
    if len(first) != 17 or not (first.isascii() and first.isdigit()):
        raise InputError("17 digits", got=f"{len(first)} characters")
    rest = 0
    for digit in first:
        rest = (rest + int(digit)) * 2 % 11
    return "0123456789X"[(12 - rest) % 11]


def _plain(text: str) -> str:
    """Return the text with each character in its ASCII form, where it has one of length 1: places stay the same."""
    return "".join(map(_ascii, text))


def _ascii(char: str) -> str:
    if char < "\x80":
        return char
    if (digit := unicodedata.decimal(char, None)) is not None:
        return str(digit)
    if "\uff01" <= char <= "\uff5e":  # full-width
        return chr(ord(char) - 0xFEE0)
    if "\u2010" <= char <= "\u2015" or char == "\u2212":
        return "-"
    return " " if char in "\u00a0\u2007\u202f\u3000" else char


def _calendar(year: int, month: int, day: int) -> bool:
    try:
        return date(1900, 1, 1) <= date(year, month, day) <= date(2100, 1, 1)
    except ValueError:
        return False


def _whole(match: re.Match) -> Found:
    return match.span()


def _resident(match: re.Match) -> Found:
    number = re.sub("[ -]", "", match[0]).upper()
    born = _calendar(int(number[6:10]), int(number[10:12]), int(number[12:14]))
    return match.span() if born and check_character(number[:17]) == number[17] else None


def _card(match: re.Match) -> Found:
    """Return the longest run of whole groups of 13 to 19 digits that passes Luhn's formula: a code may follow."""
    groups = [(part.start(), part.end()) for part in re.finditer(r"\d+", match[0])]
    runs = [(first[0], last[1]) for i, first in enumerate(groups) for last in groups[i:]]
    for start, end in sorted(runs, key=lambda run: run[0] - run[1]):
        digits = re.sub(r"\D", "", match[0][start:end])
        if 13 <= len(digits) <= 19 and digits[0] in "23456" and luhn(digits):
            return match.start() + start, match.start() + end
    return None


def _phone(match: re.Match) -> Found:
    """An international number has 8 to 15 digits (E.164); a Chinese mobile one, 11, is right by its pattern."""
    digits = re.sub(r"\D", "", match[0])
    return match.span() if match[0][0] != "+" or 8 <= len(digits) <= 15 else None


def _address(match: re.Match) -> Found:
    """An address that the standard library can read; `a::b` and times of day are none."""
    text = match[0].rstrip(".:") if not match[0].endswith("::") else match[0]
    try:
        version = ip_address(text).version
    except ValueError:
        return None
    return (match.start(), match.start() + len(text)) if version == 4 or re.search(r"\d", text) else None


def _birth(match: re.Match) -> Found:
    """A day that exists, in any order of its parts; the cue before it is left in place."""
    numbers = [int(n) for n in re.findall(r"\d+", match["day"])]
    if name := re.search(r"[A-Za-z]{3,}", re.sub(r"\d(?:st|nd|rd|th)", "", match["day"])):
        day, year = numbers
        readings = [(year, 1 + MONTHS.index(name[0][:3].lower()), day)]
    else:
        first, second, third = numbers
        readings = [(first, second, third), (third, second, first), (third, first, second)]
    return match.span("day") if any(_calendar(*reading) for reading in readings) else None


MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME = rf"(?:{'|'.join(MONTHS)})[a-z]*\.?"
_DAY = (
    r"\d{4}\s?年\s?\d{1,2}\s?月\s?\d{1,2}\s?日|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?\s{_NAME}\s\d{{4}}|{_NAME}\s\d{{1,2}}(?:st|nd|rd|th)?,?\s\d{{4}}"
)
_CUE = (
    r"(?:(?<![a-z])(?:born(?:\s+on)?|d\.?o\.?b\.?|date\s+of\s+birth|birth\s?(?:day|date))|出生(?:日期|年月日|于)?|生日)"
)
_HEX = r"[0-9A-Fa-f]"

# In order of precedence. No pattern can take in or touch on "[" or "]", so that what stands in for a piece stays.
PATTERNS: Mapping[str, tuple[re.Pattern, Callable[[re.Match], Found]]] = {
    "url": (
        re.compile(r"(?<![A-Za-z0-9+.-])[A-Za-z][A-Za-z0-9+.-]*://[^\s/@\[\]\0]+@[^\s<>\"'，。；）\[\]\0]+"),
        lambda match: (match.start(), match.start() + len(match[0].rstrip(".,;:!?)"))),
    ),
    "email": (
        re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]*[A-Za-z0-9])+"),
        _whole,
    ),
    "resident_id": (re.compile(r"(?<![A-Za-z0-9])[1-9]\d{5}[ -]?\d{8}[ -]?\d{3}[\dXx](?![A-Za-z0-9])"), _resident),
    "card": (re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,26}(?!\d)"), _card),
    "phone": (
        re.compile(
            r"(?<![\d+])\+\d{1,3}(?:[\s.-]?(?:\(\d{1,5}\)|\d{1,5})){1,6}(?!\d)"
            r"|(?<!\d)(?:86[\s-]?)?1[3-9]\d(?:\d{8}|[\s-]\d{4}[\s-]\d{4})(?!\d)"
        ),
        _phone,
    ),
    "ip": (
        re.compile(
            rf"(?<![A-Za-z0-9_:.])(?:{_HEX}{{0,4}}:){{2,7}}(?:\d{{1,3}}(?:\.\d{{1,3}}){{3}}|{_HEX}{{0,4}})(?![A-Za-z0-9_:])"
            r"|(?<![A-Za-z0-9_.])\d{1,3}(?:\.\d{1,3}){3}(?![A-Za-z0-9_]|\.\d)"
        ),
        _address,
    ),
    "birth": (re.compile(rf"{_CUE}\s*[:：]?\s*(?:为|是|is|was)?\s*(?P<day>{_DAY})(?!\d)", re.IGNORECASE), _birth),
}
KINDS = tuple(PATTERNS)


def mask(text: str, kinds: Sequence[str] = KINDS, *, key: bytes | None = None) -> Masked:
    """Return `text` with every piece of `kinds` replaced by its kind, "[EMAIL]", or with a `key` by a pseudonym.

    Masking a masked text changes nothing. A piece that fits several kinds is taken by the first of `KINDS`. With a
    `key` the same value gets the same alias, "[EMAIL:bpkcaeld]", in this text and in every other one.
    """
    if not isinstance(text, str):
        raise InputError("a text", got=type(text).__name__)
    if unknown := [kind for kind in kinds if kind not in PATTERNS]:
        raise InputError(f"kinds among {', '.join(KINDS)}", got=", ".join(map(repr, unknown)))
    view, places, more = _plain(text).replace("\0", " "), [], True
    while more:  # what was found can free what stands beside it
        more = False
        for kind in (one for one in KINDS if one in kinds):
            pattern, judge = PATTERNS[kind]
            for start, end in [place for match in pattern.finditer(view) if (place := judge(match))]:
                places.append((start, end, kind))
                view, more = view[:start] + "\0" * (end - start) + view[end:], True
    spans, pieces, at = [], [], 0
    for start, end, kind in sorted(places):
        name = f":{pseudonym(text[start:end], key, kind=kind)}" if key is not None else ""
        spans.append(Span(start, end, kind, text[start:end], f"[{kind.upper()}{name}]"))
        pieces += [text[at:start], spans[-1].alias]
        at = end
    return Masked("".join([*pieces, text[at:]]), tuple(spans))


def pseudonym(value: str, key: bytes, *, kind: str = "", length: int = 12) -> str:
    """Return `length` letters for `value`: the same for the same value and key, not computable without the key.

    HMAC-SHA256 of the value in a normal form: case and separators do not matter. 12 letters of 16 are 48 bits.
    A hash without a key would not do: telephone numbers are few enough to try them all.
    """
    if not isinstance(key, bytes | bytearray) or len(key) < 16:
        raise InputError("a key of at least 16 bytes", got=f"{type(key).__name__}", hint="secrets.token_bytes(32)")
    if not 4 <= length <= 64:
        raise InputError("a length from 4 to 64", got=repr(length))
    plain = unicodedata.normalize("NFC", _plain(value)).strip().casefold()
    if kind in ("phone", "card", "resident_id"):
        plain = re.sub(r"[^\dx]", "", plain)
        plain = plain.removeprefix("86") if kind == "phone" and len(plain) == 13 else plain
    code = hmac.new(key, f"{kind}:{plain}".encode(), sha256).hexdigest()
    return code[:length].translate(LETTERS)


LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")  # no digit, so that no pattern finds an alias


def restore(text: str, table: Mapping[str, str]) -> str:
    """Return `text` with each alias of `table` replaced by its original: who has the table can undo pseudonyms."""
    if bare := [alias for alias in table if ":" not in alias]:
        raise InputError("pseudonyms", got=f"{bare[0]}, which stands for every piece of its kind", hint="mask(key=…)")
    pattern = "|".join(map(re.escape, table))
    return re.sub(pattern, lambda match: table[match[0]], text) if table else text
