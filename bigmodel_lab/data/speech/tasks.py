"""Speech tasks put together from the shipped single words: commands to tell apart, strings of digits, numbers.

Strings are *joined* from words that were spoken alone, with random gaps and short crossfades. That is easy to make in
any amount and not how people speak; `embedded.phrases` has utterances that were spoken in one go.
Dimension letters: N recordings, T samples.
"""

import random
from collections.abc import Callable, Sequence
from math import pi

import torch
from torch import Generator, Tensor

from bigmodel_lab.data.integers import integer, seeded
from bigmodel_lab.data.numerals import number_words
from bigmodel_lab.data.speech.embedded import items, manifest, phrases, spoken, translated
from bigmodel_lab.data.speech.sets import RATE, AudioSet, padded
from bigmodel_lab.errors import InputError

__all__ = ["commands", "digit_strings", "spoken_numbers"]

LONGEST = 0.8  # seconds of a word in a clip of one; none of the shipped commands is longer
DISTRACTOR = 0.06  # seconds
LOUDNESS = (-9, 3)  # dB, of a word against its recording, whose peak is 0.7
GAPS = (-0.03, 0.12)  # seconds between joined words; below 0 they overlap, one fading out and the next one in
FADE = 0.005  # seconds
LENGTHS = (5, 25, 35, 35)  # how often a number has 1, 2, 3, 4 digits, as in the shipped phrases


def commands(
    *, train: int = 4000, test: int = 1000, seed: int = 0, noise: float = 0.02, distractor: bool = True
) -> tuple[AudioSet, AudioSet]:
    """Return (train, test): one-second clips of the 20 commands, balanced, by different voices in train and test.

    - Each word stands at a random place (`spans`) and is up to 9 dB softer or 3 dB louder than it was recorded.
    - `noise`: standard deviation of the hiss over the whole clip, times 0.5 to 1.5 from clip to clip.
    - `distractor`: a beep of any pitch or a click outside the word (`distractors`), which never tells the label.

    The same arguments give the same clips; the training clips do not depend on `test`, nor the test's on `train`.
    """
    integer("train", train, 1)
    integer("test", test, 1)
    if not 0 <= noise <= 0.3:
        raise InputError("noise from 0 to 0.3", got=repr(noise), hint="a word's own is about 0.11")
    sets = []
    for place, (part, count) in enumerate((("train", train), ("test", test))):
        generator = Generator().manual_seed(2 * seeded(seed) % 2**63 + place)
        sets.append(_clips(part, count, noise, distractor, generator))
    return sets[0], sets[1]


def _clips(part: str, count: int, noise: float, distractor: bool, generator: Generator) -> AudioSet:
    classes = tuple(manifest()["commands"])
    by_word = {word: [item for item in items("words", part) if item.text == word] for word in classes}
    labels = torch.arange(count).remainder(len(classes))[torch.randperm(count, generator=generator)]
    waves, spans, other = torch.zeros(count, RATE), torch.zeros(count, 2).long(), torch.zeros(count, 2).long()
    voices = []
    for i, label in enumerate(labels.tolist()):
        choice = by_word[classes[label]]
        item = choice[_below(len(choice), generator)]
        word = spoken("words", item)[: int(LONGEST * RATE)]
        voices.append(item.voice)
        start = _below(RATE - len(word) + 1, generator)
        spans[i] = torch.tensor([start, start + len(word)])
        waves[i, start : start + len(word)] = word * 10 ** (_uniform(*LOUDNESS, generator) / 20)
        sound = _distraction(generator)
        at = _outside(start, start + len(word), len(sound), generator)
        if distractor:
            other[i] = torch.tensor([at, at + len(sound)])
            waves[i, at : at + len(sound)] += sound
    hiss = noise * (0.5 + torch.rand(count, 1, generator=generator))
    waves = (waves + hiss * torch.randn(waves.shape, generator=generator)).clamp(-1, 1)
    texts = tuple(classes[label] for label in labels.tolist())
    lengths = torch.full((count,), RATE)
    return AudioSet(
        waves, lengths, RATE, texts, tuple(voices), labels, classes, spans, distractors=other if distractor else None
    )


def _distraction(generator: Generator) -> Tensor:
    """Return a beep between 200 and 3500 Hz or, as often, a click: a burst of noise that dies out."""
    time = torch.arange(int(DISTRACTOR * RATE)) / RATE
    pitch, loud, kind = _uniform(200, 3500, generator), _uniform(0.1, 0.4, generator), _below(2, generator)
    burst = torch.randn(len(time), generator=generator).clamp(-2, 2) / 2
    beep = torch.sin(2 * pi * pitch * time) * torch.sin(pi * time / DISTRACTOR)
    return loud * (burst * torch.exp(-time / 0.006) if kind else beep)


def _outside(start: int, end: int, length: int, generator: Generator) -> int:
    """Return a place for `length` samples in the second that does not touch the word, any such place equally often."""
    before, after = max(0, start - length + 1), max(0, RATE - end - length + 1)
    at = _below(before + after, generator)
    return at if at < before else end + at - before


def digit_strings(
    train: int = 1000, test: int = 200, *, shortest: int = 3, longest: int = 6, noise: float = 0.003, seed: int = 0
) -> tuple[AudioSet, AudioSet]:
    """Return (train, test): strings of `shortest` to `longest` digits, joined from words, texts as "four zero seven".

    Voices differ between the two. No training text is among the test's or among those of `phrases("digits")[1]`.
    `noise`: standard deviation of the hiss. A second takes 32 kB; 1000 strings of up to six digits about 0.1 GB.
    """
    shortest, longest = integer("shortest", shortest, 1, 12), integer("longest", longest, 1, 12)
    if shortest > longest:
        raise InputError("shortest <= longest", got=f"shortest={shortest}, longest={longest}")
    if 10**longest < 1000:
        raise InputError("a longest of at least 3 digits, or train and test share their texts", got=f"{longest}")
    ten = manifest()["commands"][:10]

    def draw(rng: random.Random) -> str:
        return " ".join(rng.choice(ten) for _ in range(rng.randint(shortest, longest)))

    return _strings(draw, train, test, phrases("digits")[1].texts, noise, f"digits {seeded(seed)}")


def spoken_numbers(
    train: int = 1000, test: int = 200, *, high: int = 9999, noise: float = 0.003, seed: int = 0
) -> tuple[AudioSet, AudioSet]:
    """Return (train, test): numbers from 0 to `high` in English words, joined, and their Chinese `translations`.

    Texts have no hyphens: "three hundred and twenty one". Short numbers come more often than their share.
    Voices differ between the two. No training text is among the test's or among those of `phrases("numbers")[1]`.
    """
    high = integer("high", high, 99, 9999)

    def draw(rng: random.Random) -> str:
        length = rng.choices(range(1, 5), LENGTHS)[0]
        lowest = 10 ** (length - 1) if length > 1 else 0
        n = rng.randrange(lowest, 10**length) if lowest <= high else high + 1
        return number_words(n).replace("-", " ") if n <= high else draw(rng)

    sets = _strings(draw, train, test, phrases("numbers")[1].texts, noise, f"numbers {seeded(seed)}", translated)
    return sets


def _strings(
    draw: Callable[[random.Random], str],
    train: int,
    test: int,
    kept: Sequence[str],
    noise: float,
    seed: str,
    translate: Callable[[str], str] | None = None,
) -> tuple[AudioSet, AudioSet]:
    """Return (train, test) of joined texts; the training part has no text of the test part and none of `kept`."""
    if not 0 <= noise <= 0.3:
        raise InputError("noise from 0 to 0.3", got=repr(noise))
    texts = [draw(random.Random(f"{seed} test {at}")) for at in range(integer("test", test, 1))]
    sets, taken = [_joined("test", texts, noise, seed, translate)], {*texts, *kept}
    rng, texts = random.Random(f"{seed} train"), []
    integer("train", train, 1)
    for _ in range(200 * train):
        if (text := draw(rng)) not in taken:
            texts.append(text)
        if len(texts) == train:
            break
    else:
        raise InputError("more different texts than the test takes", got=f"test={test}", hint="a smaller test")
    return _joined("train", texts, noise, seed, translate), sets[0]


def _joined(
    part: str, texts: list[str], noise: float, seed: str, translate: Callable[[str], str] | None = None
) -> AudioSet:
    """Return each text by one voice of `part`, in one of its two renderings."""
    every = items("words", part)
    styles = sorted({(item.voice, item.rate, item.pitch) for item in every})
    found = {(item.text, item.voice, item.rate, item.pitch): item for item in every}
    rng = random.Random(f"{seed} {part} voices")
    generator = Generator().manual_seed(rng.getrandbits(62))
    waves, voices = [], []
    for text in texts:
        style = rng.choice(styles)
        parts = [spoken("words", found[word, *style]) for word in text.split()]
        gaps = [round(rng.uniform(*GAPS) * RATE) for _ in parts[1:]]
        wave = join(parts, gaps) * 10 ** (rng.uniform(-6, 3) / 20)
        waves.append((wave + noise * torch.randn(len(wave), generator=generator)).clamp(-1, 1))
        voices.append(style[0])
    held, lengths = padded(waves)
    more = {} if translate is None else {"translations": tuple(map(translate, texts))}
    return AudioSet(held, lengths, RATE, tuple(texts), tuple(voices), **more)


def join(parts: Sequence[Tensor], gaps: Sequence[int]) -> Tensor:
    """Return waves one after the other, `gaps` samples between them; both ends of each fade over 5 ms."""
    ramp = torch.linspace(0, 1, int(FADE * RATE))
    starts, at = [0], 0
    for part, gap in zip(parts, gaps, strict=False):
        at += len(part) + gap
        starts.append(at)
    held = torch.zeros(starts[-1] + len(parts[-1]))
    for part, start in zip(parts, starts, strict=True):
        faded = part.clone()
        faded[: len(ramp)] *= ramp
        faded[-len(ramp) :] *= ramp.flip(0)
        held[start : start + len(part)] += faded
    return held


def _below(high: int, generator: Generator) -> int:
    return int(torch.randint(high, (1,), generator=generator))


def _uniform(low: float, high: float, generator: Generator) -> float:
    return low + (high - low) * float(torch.rand(1, generator=generator))
