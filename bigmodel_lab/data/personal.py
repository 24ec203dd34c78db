"""Made-up people and what they write, with the truth about what is personal in it.

`messages` plants data of seven kinds that have a form, harder spellings of them, names, descriptions that point at one
person, and look-alikes that belong to nobody, in English and Chinese. `population` draws people with postcode, day of
birth and sex. Nobody in here exists: numbers are drawn, domains and addresses are reserved for examples (RFC 2606,
5737, 3849), and a drawn number may by chance be somebody's.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from bigmodel_lab.errors import InputError

__all__ = ["KINDS", "Message", "Person", "Truth", "messages", "population"]

KINDS = ("url", "email", "resident_id", "card", "phone", "ip", "birth", "name", "description")


@dataclass(frozen=True)
class Truth:
    """One planted piece: where it is, what it is, and how it is written ("plain" or a harder way)."""

    start: int
    end: int
    kind: str
    manner: str


@dataclass(frozen=True)
class Message:
    """A text, what is personal in it, and where it only looks so."""

    text: str
    truths: tuple[Truth, ...]
    decoys: tuple[Truth, ...]  # `kind` is what it looks like


@dataclass(frozen=True)
class Person:
    """What a register without names may hold."""

    postcode: int
    birth: date
    sex: str


GIVEN = ("Ada", "Bela", "Chidi", "Dora", "Emil", "Farah", "Goran", "Hana", "Ines", "Jonas", "Kofi", "Lena")
FAMILY = ("Okafor", "Lindqvist", "Novak", "Moreau", "Tanaka", "Haddad", "Silva", "Kowalski", "Byrne", "Costa")
CHINESE = ("王小明", "李静", "张伟", "陈思远", "刘洋", "赵敏", "黄丽华", "周杰", "吴芳", "徐志强")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
HANZI = "零一二三四五六七八九"
WHO = (
    "the only dentist in Little Marden",
    "the twin who won the under-twelve chess cup last May",
    "村里唯一的女邮递员",
    "三班去年转来的那位左撇子同学",
)


def _digits(draw: random.Random, count: int, first: str = "0123456789") -> str:
    return draw.choice(first) + "".join(draw.choices("0123456789", k=count - 1))


def _luhn(body: str) -> str:
    """Append the check digit of Luhn's formula."""
    total = sum(d - 9 * (d > 9) for d in (int(c) * (2 - i % 2) for i, c in enumerate(reversed(body))))
    return body + str(-total % 10)


def _day(draw: random.Random) -> date:
    return date(1940, 1, 1) + timedelta(days=draw.randrange(70 * 365))


def _resident(draw: random.Random) -> str:
    """Eighteen characters as GB 11643 lays them out, the last by its weighted sum."""
    body = draw.choice(("110105", "310104", "440106", "510107")) + f"{_day(draw):%Y%m%d}" + _digits(draw, 3)
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(int(d) * w for d, w in zip(body, weights, strict=True)) % 11]


def _mobile(draw: random.Random) -> str:
    return "1" + draw.choice("3456789") + _digits(draw, 9)


def _email(draw: random.Random) -> str:
    name = f"{draw.choice(GIVEN)}.{draw.choice(FAMILY)}".lower()
    return f"{name}{draw.randrange(100)}@example.{draw.choice(('com', 'org', 'net'))}"


def _card(draw: random.Random) -> str:
    return _luhn(draw.choice("456") + _digits(draw, 14))


def _cut(text: str, *places: int) -> str:
    return " ".join(text[i:j] for i, j in zip((0, *places), (*places, None), strict=True))


def _wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


# kind -> manner -> how to write one
WAYS: dict[str, dict[str, Callable[[random.Random], str]]] = {
    "url": {"plain": lambda d: f"https://{d.choice(GIVEN).lower()}:{_digits(d, 6)}@files.example.com/inbox"},
    "email": {
        "plain": _email,
        "full-width": lambda d: _wide(_email(d)),
        "at and dot in words": lambda d: _email(d).replace("@", " at ").replace(".", " dot "),
        "broken over a line": lambda d: _email(d).replace("@", "@\n"),
        "letters beyond ASCII": lambda d: "zoë." + _email(d).partition(".")[0] + "é@example.com",
    },
    "resident_id": {"plain": _resident, "with spaces": lambda d: _cut(_resident(d), 6, 14)},
    "card": {"plain": _card, "in groups": lambda d: _cut(_card(d), 4, 8, 12)},
    "phone": {
        "plain": lambda d: f"+{d.choice(('44', '49', '33'))} {_digits(d, 2, '12345')} {_digits(d, 4)} {_digits(d, 4)}",
        "mobile": _mobile,
        "full-width": lambda d: _wide(_mobile(d)),
        "without country": lambda d: f"({_digits(d, 3, '23456789')}) 555-{_digits(d, 4)}",
        "in words": lambda d: " ".join(DIGITS[int(c)] for c in _mobile(d)),
        "in Chinese numerals": lambda d: "".join(HANZI[int(c)] for c in _mobile(d)),
    },
    "ip": {
        "plain": lambda d: f"{d.choice(('192.0.2', '198.51.100', '203.0.113'))}.{d.randrange(1, 255)}",
        "version 6": lambda d: f"2001:db8::{d.randrange(1, 65536):x}:{d.randrange(1, 65536):x}",
    },
    "birth": {
        "plain": lambda d: f"{_day(d):%Y-%m-%d}",
        "with a month's name": lambda d: f"{_day(d):%d %B %Y}",
        "in Chinese": lambda d: f"{_day(d):%Y年%m月%d日}",
        "without a cue": lambda d: f"{_day(d):%d.%m.%Y}",
    },
    "name": {"English": lambda d: f"{d.choice(GIVEN)} {d.choice(FAMILY)}", "Chinese": lambda d: d.choice(CHINESE)},
    "description": {"indirect": lambda d: d.choice(WHO)},
}


DECOYS: dict[str, Callable[[random.Random], str]] = {
    "card": lambda d: _digits(d, 16, "456"),  # a consignment number: one in ten passes the check by chance
    "phone": lambda d: f"1{d.randrange(3, 10)}{_digits(d, 9)}",  # an order number with the form of a mobile number
    "ip": lambda d: f"{d.randrange(1, 9)}.{d.randrange(20)}.{d.randrange(20)}.{d.randrange(90)}",  # a version
    "resident_id": lambda d: _digits(d, 18, "123456789"),  # a consignment number
    "birth": lambda d: f"{date(2024, 1, 1) + timedelta(days=d.randrange(365)):%Y-%m-%d}",  # a day of delivery
    "email": lambda d: f"@{d.choice(GIVEN).lower()}_{d.randrange(100)}",  # a nickname
}
SAID = {  # kind -> sentences; {} is the piece
    "url": ("The files are at {} for now.", "文件在 {} 下载。"),
    "email": ("Please write to {} with the details.", "请发邮件到{}，谢谢。"),
    "resident_id": ("The identity number on the form is {}.", "身份证号码：{}。"),
    "card": ("I paid with card {} last week.", "我的银行卡号是{}，请退款。"),
    "phone": ("You can call me on {} after six.", "我的电话是{}，晚上联系。"),
    "ip": ("The login came from {} at night.", "昨晚从{}登录。"),
    "birth": ("The patient was born on {} at home.", "出生日期：{}。"),
    "name": ("Ask for {} at the desk.", "请找{}办理。"),
    "description": ("It concerns {}, as you know.", "说的是{}。"),
}
NO_CUE = ("His day is {}, we had cake.", "那天是{}，我们吃了蛋糕。")
DECOY = {
    "card": ("Your consignment {} has left.", "快递单号{}已发出。"),
    "phone": ("Order {} is ready.", "订单号{}已完成。"),
    "ip": ("We upgraded to version {} today.", "今天升级到版本{}。"),
    "resident_id": ("Consignment {} is at customs.", "运单{}在海关。"),
    "birth": ("Delivery is due on {}.", "预计{}送达。"),
    "email": ("Greetings from {} on the forum.", "论坛上的{}问好。"),
}


def messages(count: int = 500, *, seed: int = 0) -> list[Message]:
    """Return `count` messages of three to five sentences, each kind and manner about equally often."""
    if count < 1:
        raise InputError("count >= 1", got=repr(count))
    draw = random.Random(seed)
    every = [(kind, manner) for kind, ways in WAYS.items() for manner in ways]
    return [_message(draw, every) for _ in range(count)]


def _message(draw: random.Random, every: list[tuple[str, str]]) -> Message:
    tongue, text = draw.randrange(2), ""
    found: dict[bool, list[Truth]] = {True: [], False: []}
    for _ in range(draw.randrange(3, 6)):
        real = draw.random() < 0.7
        kind, manner = draw.choice(every) if real else (draw.choice(list(DECOYS)), "decoy")
        piece = WAYS[kind][manner](draw) if real else DECOYS[kind](draw)
        said = (NO_CUE if manner == "without a cue" else SAID[kind]) if real else DECOY[kind]
        before, _, after = said[tongue].partition("{}")
        start = len(text) + len(before)
        found[real].append(Truth(start, start + len(piece), kind, manner))
        text += before + piece + after + (" " if tongue == 0 else "")
    return Message(text.rstrip(), tuple(found[True]), tuple(found[False]))


def population(count: int = 20_000, *, per_postcode: int = 4000, seed: int = 0) -> list[Person]:
    """Return `count` people: postcodes of `per_postcode` people on average, ages to 90 evenly, two sexes evenly."""
    if count < 1 or per_postcode < 1:
        raise InputError("count >= 1 and per_postcode >= 1", got=f"{count}, {per_postcode}")
    draw = np.random.default_rng(seed)
    codes = 10_000 + draw.integers(0, max(1, round(count / per_postcode)), count)
    days = draw.integers(0, 90 * 365, count)
    start = date(1935, 1, 1)
    sexes = draw.integers(0, 2, count)
    return [
        Person(int(code), start + timedelta(days=int(day)), "FM"[sex])
        for code, day, sex in zip(codes, days, sexes, strict=True)
    ]
