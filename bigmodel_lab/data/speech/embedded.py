"""The audio that is shipped: single words, continuous phrases and a narrator, all by a speech synthesiser.

`bigmodel_lab/audio/README.md` says how it was made. Voices are for training or for testing, never both.
N counts recordings, T samples.
"""

import hashlib
import io
import json
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bigmodel_lab.data.numerals import chinese_numeral, number_words
from bigmodel_lab.data.speech.sets import AudioSet, padded
from bigmodel_lab.errors import DataError, InputError

__all__ = ["Item", "items", "manifest", "narrator", "phrases", "spoken", "words"]

KINDS = ("digits", "numbers")


class Item(NamedTuple):
    """One piece of sound in a file, as the manifest lists it."""

    text: str
    voice: str
    rate: int  # words a minute
    pitch: int  # 0 to 99
    start: int  # first sample
    samples: int


@lru_cache(maxsize=1)
def manifest() -> dict[str, Any]:
    """Return what `manifest.json` says: versions, voices, and for each file its hash and items."""
    return json.loads(_bytes("manifest.json"))


def items(name: str, part: str | None = None) -> list[Item]:
    """Return the items of the file `name` ("words", "phrases", "narrator"), of one `part` ("train", "test") or all."""
    voices = manifest()["voices"]
    every = [Item(*row) for row in manifest()["files"][f"{name}.flac"]["items"]]
    return [item for item in every if part is None or voices[item.voice] == part]


@lru_cache(maxsize=3)
def _samples(name: str) -> Tensor:
    """Return all samples of one file, its hash checked."""
    import soundfile

    data, about = _bytes(f"{name}.flac"), manifest()["files"][f"{name}.flac"]
    found = hashlib.sha256(data).hexdigest()
    if found != about["sha256"]:
        raise DataError(
            f"{name}.flac with the hash in manifest.json, {about['sha256'][:12]}…",
            got=f"{found[:12]}…, {len(data)} bytes",
            hint="the file is damaged, or not of this version: install bigmodel-lab again",
        )
    return torch.from_numpy(soundfile.read(io.BytesIO(data), dtype="float32")[0])


def _bytes(name: str) -> bytes:
    path = files("bigmodel_lab") / "audio" / name
    if not path.is_file():
        raise DataError(f"the shipped audio: {path}", got="no such file", hint="install bigmodel-lab again")
    return path.read_bytes()


def spoken(name: str, item: Item) -> Tensor:
    """Return one item of the file `name` as a wave (T,) float32."""
    return _samples(name)[item.start : item.start + item.samples].clone()


def words() -> tuple[AudioSet, AudioSet]:
    """Return (train, test): each of the 41 words by each voice, twice, without silence around it.

    Labels count the 20 commands first, then the number words from ten on.
    """
    classes = (*manifest()["commands"], *manifest()["numbers"])
    sets = []
    for part in ("train", "test"):
        chosen = items("words", part)
        labels = torch.tensor([classes.index(item.text) for item in chosen])
        sets.append(_audio_set("words", chosen, labels=labels, classes=classes))
    return sets[0], sets[1]


def phrases(kind: str) -> tuple[AudioSet, AudioSet]:
    """Return (train, test) of utterances that were synthesised as a whole, so that words run into each other.

    `kind` is "digits" (3 to 6 digits in words) or "numbers" (numbers below 10 000 in words without hyphens, with their
    Chinese numerals as `translations`). No text is in both parts.
    """
    if kind not in KINDS:
        raise InputError(f"a kind among {', '.join(KINDS)}", got=repr(kind), hint='phrases("digits")')
    sets = []
    for part in ("train", "test"):
        chosen = [item for item in items("phrases", part) if (kind == "numbers") == _is_number(item.text)]
        more = {"translations": tuple(translated(item.text) for item in chosen)} if kind == "numbers" else {}
        sets.append(_audio_set("phrases", chosen, **more))
    return sets[0], sets[1]


def narrator() -> AudioSet:
    """Return 250 different numbers below 10 000 in words, continuous, by one voice at one rate and pitch."""
    chosen = items("narrator")
    return _audio_set("narrator", chosen, translations=tuple(translated(item.text) for item in chosen))


def _audio_set(name: str, chosen: list[Item], **more: Any) -> AudioSet:
    waves, lengths = padded([spoken(name, item) for item in chosen])
    texts, voices = (tuple(getattr(item, part) for item in chosen) for part in ("text", "voice"))
    return AudioSet(waves, lengths, manifest()["rate"], texts, voices, **more)


@lru_cache(maxsize=1)
def _numbers() -> dict[str, int]:
    """Return the number below 10 000 that each text without hyphens names."""
    return {number_words(n).replace("-", " "): n for n in range(10_000)}


def _is_number(text: str) -> bool:
    return text in _numbers()


def translated(text: str) -> str:
    """Return the Chinese numeral of a number below 10 000 in English words without hyphens."""
    return chinese_numeral(_numbers()[text])
