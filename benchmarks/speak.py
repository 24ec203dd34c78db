"""Make the audio that the course ships, by the eSpeak NG synthesiser (https://github.com/espeak-ng/espeak-ng).

    python -m benchmarks.speak            # writes bigmodel_lab/audio/*.flac and manifest.json, half a minute
    python -m benchmarks.speak --check    # makes everything again in memory and compares it with the manifest

Only this script needs `espeak-ng` (Debian and Ubuntu: the package of that name). Each item is synthesised by one
command, which the manifest allows to be repeated, resampled from 22 050 Hz to 8 000 Hz, trimmed, brought to the same
peak and rounded to 10 bits (the narrator to 11), because FLAC stores 10 bits in half the space of 16.
The same versions of eSpeak NG, NumPy and SciPy give the same samples; the same libsndfile gives the same files.
"""

import argparse
import hashlib
import io
import json
import random
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from bigmodel_lab.data.numerals import TENS, UNITS, number_words

FOLDER = Path(__file__).resolve().parents[1] / "bigmodel_lab" / "audio"
RATE, MADE_AT = 8000, 22_050  # Hz: what is shipped, and what eSpeak NG makes
PEAK = 0.7
EDGE = 38.0  # dB below the loudest 5 ms: what is quieter at either end is trimmed
MARGIN = 3  # blocks of 5 ms that stay at either end
BITS = {"words": 10, "phrases": 10, "narrator": 11}
LARGEST = 9_500_000  # bytes of the whole folder

DIGITS = UNITS[:10]
COMMANDS = [*DIGITS, "yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
NUMBERS = [*UNITS[10:], *TENS[2:], "hundred", "thousand", "and"]

# Language + variant, then the speaking rate (words a minute) and pitch (0 to 99) of the first and second rendering.
# No variant, which is the timbre, is both in train and in test. "en" is eSpeak NG's name for British English.
TRAIN = {
    "en+m3": ((175, 50), (205, 35)),
    "en-us+m1": ((180, 45), (210, 62)),
    "en-gb-scotland+m4": ((180, 55), (200, 38)),
    "en-gb-x-rp+m6": ((170, 40), (200, 58)),
    "en-029+m5": ((185, 52), (205, 70)),
    "en-us+f1": ((180, 45), (210, 58)),
    "en+f2": ((185, 40), (205, 55)),
    "en-gb-x-rp+f3": ((180, 42), (200, 60)),
    "en-us-nyc+robert": ((175, 60), (205, 45)),
    "en-gb-x-gbclan+david": ((180, 65), (200, 50)),
    "en-us+Denis": ((175, 38), (210, 55)),
    "en-gb-scotland+shelby": ((180, 50), (200, 35)),
    "en-gb-x-gbcwmd+john": ((175, 55), (205, 42)),
    "en-029+Annie": ((185, 40), (205, 55)),
    "en-us+belinda": ((180, 48), (200, 32)),
}
TEST = {
    "en+rob": ((180, 52), (205, 65)),
    "en-us+f4": ((185, 42), (205, 55)),
    "en-gb-x-rp+m7": ((175, 48), (200, 35)),
    "en-gb-scotland+aunty": ((180, 45), (205, 60)),
    "en-us+Mike": ((175, 55), (205, 40)),
}
VOICES = {**TRAIN, **TEST}
NARRATOR = ("en-gb-x-rp+f3", 178, 45)  # a timbre that the recogniser's training voices have as well
PHRASES = {"train": 120, "test": 75}  # utterances of each kind
STORIES = 250  # the narrator's

Line = tuple[str, str, int, int]  # text, voice, rate, pitch


def words() -> list[Line]:
    """Return every word by every voice, twice."""
    return [
        (word, voice, rate, pitch)
        for voice, renderings in VOICES.items()
        for rate, pitch in renderings
        for word in COMMANDS + NUMBERS
    ]


def digits(rng: random.Random) -> str:
    """Return 3 to 6 digits in words."""
    return " ".join(rng.choice(DIGITS) for _ in range(rng.randint(3, 6)))


def number(rng: random.Random) -> str:
    """Return a number below 10 000 in words without hyphens; longer ones come more often, as there are more of them."""
    length = rng.choices((1, 2, 3, 4), (5, 25, 35, 35))[0]
    return number_words(rng.randrange(10 ** (length - 1) if length > 1 else 0, 10**length)).replace("-", " ")


def phrases() -> list[Line]:
    """Return continuous utterances by the training and by the test voices in turn, no text twice in a kind."""
    lines = []
    for kind, draw in (("digits", digits), ("numbers", number)):
        rng, seen = random.Random(f"phrases {kind}"), set()
        for part, voices in (("train", TRAIN), ("test", TEST)):
            for at in range(PHRASES[part]):
                voice = list(voices)[at % len(voices)]
                slow, fast = sorted(rate for rate, _ in voices[voice])
                low, high = sorted(pitch for _, pitch in voices[voice])
                lines.append((_new(draw, rng, seen), voice, rng.randint(slow, fast), rng.randint(low, high)))
    return lines


def narrator() -> list[Line]:
    """Return different numbers by one voice at one rate and pitch."""
    rng, seen = random.Random("narrator"), set()
    return [(_new(number, rng, seen), *NARRATOR) for _ in range(STORIES)]


def _new(draw, rng: random.Random, seen: set[str]) -> str:
    """Draw until the text is not in `seen`, and put it there."""
    while (text := draw(rng)) in seen:
        pass
    seen.add(text)
    return text


def command(line: Line) -> list[str]:
    """Return the command that speaks one line."""
    text, voice, rate, pitch = line
    return ["espeak-ng", "-v", voice, "-s", str(rate), "-p", str(pitch), "--stdout", text]


def speak(line: Line, bits: int) -> np.ndarray:
    """Return one line as int16 samples at 8 000 Hz, of which only the upper `bits` are used."""
    raw = subprocess.run(command(line), capture_output=True, check=True).stdout
    wave, rate = soundfile.read(io.BytesIO(raw))
    if rate != MADE_AT or wave.ndim != 1 or not np.abs(wave).max() > 0:
        raise RuntimeError(f"unusable sound of {line}: {rate} Hz, shape {wave.shape}")
    wave = trim(resample_poly(wave, 160, 441))  # 22 050 · 160/441 = 8 000
    wave *= PEAK / np.abs(wave).max()
    return (np.round(wave * 2 ** (bits - 1)) * 2 ** (16 - bits)).astype(np.int16)


def trim(wave: np.ndarray) -> np.ndarray:
    """Cut silence (5 ms blocks more than EDGE dB below the loudest) from both ends, but for a margin."""
    block = RATE // 200
    count = len(wave) // block
    power = np.square(wave[: count * block].reshape(count, block)).mean(1)
    loud = np.flatnonzero(power > power.max() * 10 ** (-EDGE / 10))
    return wave[max(0, loud[0] - MARGIN) * block : min(count, loud[-1] + 1 + MARGIN) * block]


def make(name: str, lines: Iterable[Line]) -> tuple[np.ndarray, list]:
    """Return all samples of one file, and its items: text, voice, rate, pitch, start and samples."""
    waves, items, start = [], [], 0
    for line in lines:
        waves.append(speak(line, BITS[name]))
        items.append([*line, start, len(waves[-1])])
        start += len(waves[-1])
    different = {item[0]: set() for item in items}
    for item, wave in zip(items, waves, strict=True):
        different[item[0]].add(wave.tobytes())
    spoken = [len([item for item in items if item[0] == text]) for text in different]
    if [len(one) for one in different.values()] != spoken:  # eSpeak NG drops, without a word, a variant it cannot apply
        raise RuntimeError(f"{name}: two voices sound exactly the same")
    return np.concatenate(waves), items


def sha256(data: bytes) -> str:
    """Return the hash that the manifest holds."""
    return hashlib.sha256(data).hexdigest()


def build() -> tuple[dict, dict[str, bytes]]:
    """Return the manifest and the files' bytes."""
    spoken_by = subprocess.run(["espeak-ng", "--version"], capture_output=True, check=True, text=True).stdout
    manifest = {
        "rate": RATE,
        "synthesiser": spoken_by.split("  ")[0],
        "versions": {name: version(name) for name in ("numpy", "scipy", "soundfile")}
        | {"libsndfile": soundfile.__libsndfile_version__},
        "command": " ".join(command(("TEXT", "VOICE", "RATE", "PITCH"))),
        "commands": COMMANDS,
        "numbers": NUMBERS,
        "voices": {voice: "train" if voice in TRAIN else "test" for voice in VOICES},
        "fields": ["text", "voice", "rate", "pitch", "start", "samples"],
        "files": {},
    }
    files = {}
    for name, lines in (("words", words()), ("phrases", phrases()), ("narrator", narrator())):
        samples, items = make(name, lines)
        held = io.BytesIO()
        soundfile.write(held, samples, RATE, format="FLAC", subtype="PCM_16", compression_level=1.0)
        files[f"{name}.flac"] = held.getvalue()
        manifest["files"][f"{name}.flac"] = {
            "sha256": sha256(held.getvalue()),
            "samples_sha256": sha256(samples.astype("<i2").tobytes()),
            "bits": BITS[name],
            "samples": len(samples),
            "items": items,
        }
    return manifest, files


def written(manifest: dict) -> str:
    """Return the manifest as JSON, one item a line."""
    items = {name: one["items"] for name, one in manifest["files"].items()}
    plain = manifest | {"files": {name: one | {"items": name} for name, one in manifest["files"].items()}}
    text = json.dumps(plain, indent=1)
    for name, rows in items.items():
        lines = ",\n".join(json.dumps(row) for row in rows)
        text = text.replace(f'"items": "{name}"', f'"items": [\n{lines}\n]')
    return text + "\n"


def main() -> None:
    """Write the folder, or compare it with what is made now."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speak", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; compare with the manifest")
    check = parser.parse_args().check
    manifest, files = build()
    size = sum(map(len, files.values())) + len(written(manifest))
    for name, one in manifest["files"].items():
        seconds = one["samples"] / RATE
        print(f"{name:14} {len(one['items']):5} items {seconds:7.1f} s {len(files[name]) / 1e6:6.2f} MB")
    if size > LARGEST:
        raise SystemExit(f"{size} bytes are more than {LARGEST}")
    if check:
        shipped = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
        same = {
            name: one["samples_sha256"] == shipped["files"][name]["samples_sha256"]
            and one["items"] == shipped["files"][name]["items"]
            for name, one in manifest["files"].items()
        }
        raise SystemExit(0 if all(same.values()) else f"not as shipped: {[name for name in same if not same[name]]}")
    FOLDER.mkdir(exist_ok=True)
    for name, data in files.items():
        (FOLDER / name).write_bytes(data)
    (FOLDER / "manifest.json").write_text(written(manifest), encoding="utf-8")
    print(f"{size / 1e6:.2f} MB in {FOLDER.name}/")


if __name__ == "__main__":
    main()
