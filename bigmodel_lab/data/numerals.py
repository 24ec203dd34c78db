"""Numbers in English words and in Chinese numerals: a translation task whose right answer is known.

Both cover 0 to 99 999 999. English is British: "and" before the tens and units ("three hundred and five"), a hyphen in
"twenty-one". Chinese counts in steps of ten thousand (万). Its conventions are those of Lü Shuxiang (ed.),
现代汉语八百词 (Commercial Press, 1999), entries 零, 二 and 两; see `chinese_numeral`.
"""

import random

from bigmodel_lab.data.integers import integer, seeded
from bigmodel_lab.errors import InputError

__all__ = ["LARGEST", "chinese_numeral", "number_words", "numerals"]

LARGEST = 99_999_999
WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)
UNITS, TENS = WORDS.split()[:20], ["", "", *WORDS.split()[20:]]
DIGITS = "零一二三四五六七八九"

Pairs = tuple[tuple[str, str], ...]  # (English words, Chinese numeral) of each number


def number_words(n: int) -> str:
    """Return `n`, 0 to 99 999 999, in English words: 1005 is "one thousand and five"."""
    n = _check(n)
    if n < 20:
        return UNITS[n]
    if n < 100:
        return TENS[n // 10] + (f"-{UNITS[n % 10]}" if n % 10 else "")
    size, name = next(one for one in ((10**6, "million"), (1000, "thousand"), (100, "hundred")) if n >= one[0])
    head, rest = f"{number_words(n // size)} {name}", n % size
    if not rest:
        return head
    return f"{head} {'and ' if rest < 100 else ''}{number_words(rest)}"


def chinese_numeral(n: int, *, liang: bool = True) -> str:
    """Return `n`, 0 to 99 999 999, in Chinese numerals: 305 is 三百零五.

    - 零 stands once for each gap between digits: 1005 一千零五, 1010 一千零一十, 10 005 一万零五, 1 000 500
      一百万零五百; never at the end: 1200 一千二百, not the short form 一千二.
      A full thousand right after 万 leaves no gap: 105 000 十万五千.
    - 一十 is 十 at the very beginning (10 十, 15 十五, 100 000 十万) and 一十 elsewhere (110 一百一十).
    - `liang`: a 2 at the very beginning is 两 before 百, 千 and 万, as it is spoken: 200 两百, 2000 两千, 20 000 两万,
      2 000 000 两百万. Elsewhere it is 二: 2 二, 20 二十, 2222 两千二百二十二, 32 000 三万二千.
      `liang=False` writes 二 everywhere.
    """
    n = _check(n)
    high, low = divmod(n, 10_000)
    text = _section(high) + "万" if high else ""
    if high and 0 < low < 1000:
        text += "零"
    text += _section(low) if low or not high else ""
    if text.startswith("一十"):
        text = text[1:]
    if liang and text.startswith(("二百", "二千", "二万")):
        text = "两" + text[1:]
    return text


def _section(n: int) -> str:
    """Return 0 to 9999, every ten with its digit (15 is 一十五)."""
    if n == 0:
        return DIGITS[0]
    text, gap = "", False
    for size, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = n // size % 10
        if digit:
            text += (DIGITS[0] if gap and text else "") + DIGITS[digit] + name
        gap = digit == 0
    return text


def numerals(
    n: int, low: int = 0, high: int = 999_999, *, seed: int = 0, test_fraction: float = 0.1
) -> tuple[Pairs, Pairs]:
    """Return (train, test): `n` different numbers from `low` to `high` as pairs (English words, Chinese numeral).

    No number, so no pair, is in both; test holds `test_fraction` of them, rounded. Numerals are written with 两.
    """
    n, low, high = integer("n", n), _check(low), _check(high)
    if low > high or not 2 <= n <= high - low + 1:
        raise InputError(
            "low <= high, and from 2 to all of the numbers between them",
            got=f"n={n}, low={low}, high={high}",
            hint="numerals(1000, 0, 999_999)",
        )
    held_out = round(n * test_fraction) if 0 < test_fraction < 1 else 0
    if not 1 <= held_out <= n - 1:
        got = f"{held_out} of {n} for test_fraction={test_fraction}"
        raise InputError("a test_fraction that leaves at least one pair to each side", got=got)
    drawn = random.Random(seeded(seed)).sample(range(low, high + 1), n)
    pairs = tuple((number_words(number), chinese_numeral(number)) for number in drawn)
    return pairs[held_out:], pairs[:held_out]


def _check(n: int) -> int:
    return integer("n", n, 0, LARGEST)
