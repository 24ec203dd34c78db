"""Public speech sets, read from the folders that they are unpacked to.

Sources: Warden (2018), Speech Commands, arXiv 1804.03209; Panayotov et al. (2015), LibriSpeech, ICASSP,
doi 10.1109/ICASSP.2015.7178964; Garofolo et al. (1993), TIMIT, LDC93S1, doi 10.35111/17gk-bn40; Ito & Johnson (2017),
The LJ Speech Dataset. A set in memory takes rate · 4 bytes for each second of its longest recording, times N.
"""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from bigmodel_lab.data.integers import integer
from bigmodel_lab.data.public import broken, place
from bigmodel_lab.data.speech.embedded import manifest
from bigmodel_lab.data.speech.reading import read_audio
from bigmodel_lab.data.speech.sets import RATE, AudioSet, padded

__all__ = ["background_noise", "librispeech", "lj_speech", "speech_commands", "timit"]

BACKGROUND = "_background_noise_"
TIMIT_RATE = 16_000  # Hz: the unit of the places in .PHN and .TXT


def speech_commands(
    root: str | Path | None = None,
    *,
    words: Sequence[str] | None = None,
    most: int | None = None,
    rate: int = RATE,
) -> tuple[AudioSet, AudioSet, AudioSet]:
    """Return (train, validation, test) of Speech Commands: one-second clips, voices (`speaker hash`) never shared.

    - `root`: the folder with one folder a word, `validation_list.txt` and `testing_list.txt`.
    - `words`: the classes in order; by default the 20 commands of the embedded set, all of which are in this one.
    - `most`: clips of each word in each part, the first by name; None for all: about 20 000 clips are 0.6 GB.

    Shorter clips are filled with zeros, longer ones cut to a second. Raises `DataError` if a folder, list or file is
    missing or broken.
    """
    folder = place("speech_commands", root)
    classes = tuple(manifest()["commands"] if words is None else words)
    most = _most(most)
    there = sorted(one.name for one in folder.iterdir() if one.is_dir() and one.name != BACKGROUND)
    if missing := [word for word in classes if word not in there]:
        raise broken("speech_commands", f"a folder for each word: {', '.join(missing)}", f"folders {there[:40]}")
    held_out = {}
    for part, name in (("validation", "validation_list.txt"), ("test", "testing_list.txt")):
        if not (folder / name).is_file():
            raise broken("speech_commands", folder / name, "no such file")
        held_out[part] = set((folder / name).read_text(encoding="utf-8").split())
    chosen: dict[str, list[tuple[Path, int]]] = {"train": [], "validation": [], "test": []}
    for label, word in enumerate(classes):
        count = dict.fromkeys(chosen, 0)
        for path in sorted((folder / word).glob("*.wav")):
            name = f"{word}/{path.name}"
            part = next((part for part, names in held_out.items() if name in names), "train")
            if most is None or count[part] < most:
                chosen[part].append((path, label))
                count[part] += 1
    sets = []
    for part, files in chosen.items():
        if not files:
            raise broken("speech_commands", f"clips for {part}", "none")
        waves, lengths = padded([_read("speech_commands", path, rate) for path, _ in files], rate)
        texts = tuple(classes[label] for _, label in files)
        voices = tuple(path.stem.split("_nohash_")[0] for path, _ in files)
        labels = torch.tensor([label for _, label in files])
        sets.append(AudioSet(waves, lengths, rate, texts, voices, labels, classes))
    return sets[0], sets[1], sets[2]


def background_noise(root: str | Path | None = None, *, rate: int = RATE) -> AudioSet:
    """Return the recordings of `_background_noise_` in Speech Commands: a minute or more each, texts their names."""
    files = sorted((place("speech_commands", root) / BACKGROUND).glob("*.wav"))
    if not files:
        raise broken("speech_commands", f"{BACKGROUND}/*.wav", "no such files")
    waves, lengths = padded([_read("speech_commands", path, rate) for path in files])
    names = tuple(path.stem for path in files)
    return AudioSet(waves, lengths, rate, names, ("noise",) * len(files))


def librispeech(
    root: str | Path | None = None, part: str = "test-clean", *, most: int | None = None, rate: int = RATE
) -> AudioSet:
    """Return `part` of LibriSpeech ("test-clean", "dev-other", "train-clean-100" …), texts in capitals as they are.

    `root` holds the part's folder, or LibriSpeech/ with it as the archive unpacks; `most` takes the first utterances
    in order of speaker and chapter. Raises `DataError` if a file is missing or broken.
    """
    folder, most = place("librispeech", root), _most(most)
    folder = next((one / part for one in (folder, folder / "LibriSpeech") if (one / part).is_dir()), None)
    if folder is None:
        there = sorted(one.name for one in place("librispeech", root).iterdir() if one.is_dir())
        raise broken("librispeech", f"the folder {part}", f"folders {there}")
    lines = []
    for transcript in sorted(folder.glob("*/*/*.trans.txt")):
        for line in transcript.read_text(encoding="utf-8").splitlines():
            name, _, text = line.partition(" ")
            if not text.strip():
                raise broken("librispeech", f"a name and a text in each line of {transcript}", repr(line))
            lines.append((transcript.parent / f"{name}.flac", text.strip(), transcript.parent.parent.name))
    return _utterances("librispeech", folder, lines, most, rate)


def timit(
    root: str | Path | None = None, *, dialect: bool = False, most: int | None = None, rate: int = RATE
) -> tuple[AudioSet, AudioSet]:
    """Return (train, test) of TIMIT with `phones`, their places in samples at `rate`; file names in either case.

    - `root` holds TRAIN/DR1/FCJF0/SX127.WAV, .TXT and .PHN, also below a folder TIMIT; WAV is NIST SPHERE or RIFF.
    - `dialect`: with the two sentences SA1 and SA2 that all speakers read, which most work leaves out.
    - `most`: utterances of each part, the first in order of speaker.
    """
    folder, most = place("timit", root), _most(most)
    folder = next((one for one in folder.iterdir() if one.is_dir() and one.name.lower() == "timit"), folder)
    sets = []
    for part in ("train", "test"):
        lines, phones = [], []
        waves = [one for one in _match(folder, rf"{part}/dr\d/\w+/\w+\.wav") if dialect or not _is_dialect(one)]
        for wave in waves[:most]:
            begin, end, text = (*_beside(wave, ".txt").read_text(encoding="ascii").split(maxsplit=2), "", "")[:3]
            if not (begin.isdigit() and end.isdigit() and text.strip()):
                raise broken("timit", f"first sample, last and sentence in the text beside {wave}", "something else")
            lines.append((wave, text.strip(), wave.parent.name))
            phones.append(_phones(_beside(wave, ".phn"), rate))
        sets.append(_utterances("timit", folder / part, lines, most, rate, phones=tuple(phones)))
    return sets[0], sets[1]


def lj_speech(root: str | Path | None = None, *, most: int | None = None, rate: int = RATE) -> AudioSet:
    """Return LJ Speech: texts with numbers and abbreviations written out, one voice.

    `root` holds metadata.csv (name|text|normalised text, no quoting) and wavs/; also below a folder LJSpeech-1.1.
    """
    folder, most = place("lj_speech", root), _most(most)
    folder = next((one for one in sorted(folder.glob("LJSpeech-*")) if one.is_dir()), folder)
    table = folder / "metadata.csv"
    if not table.is_file():
        raise broken("lj_speech", table, "no such file")
    lines = []
    with table.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE):
            if len(row) != 3 or not row[2].strip():
                raise broken("lj_speech", f"name|text|normalised text in each line of {table}", repr("|".join(row)))
            lines.append((folder / "wavs" / f"{row[0]}.wav", row[2].strip(), "LJ"))
    return _utterances("lj_speech", folder, lines, most, rate)


def _most(most: int | None) -> int | None:
    return None if most is None else integer("most", most, 1)


def _utterances(
    name: str, folder: Path, lines: list[tuple[Path, str, str]], most: int | None, rate: int, **more: Any
) -> AudioSet:
    """Read the sound of (path, text, voice) lines."""
    if not lines:
        raise broken(name, f"utterances in {folder}", "none")
    lines = lines[:most]
    waves, lengths = padded([_read(name, path, rate) for path, _, _ in lines])
    _, texts, voices = zip(*lines, strict=True)
    return AudioSet(waves, lengths, rate, texts, voices, **more)


def _read(name: str, path: Path, rate: int) -> torch.Tensor:
    """Read one file of the set `name`; silence is allowed, since some recordings of people are broken off."""
    if not path.is_file():
        raise broken(name, path, "no such file")
    return read_audio(path, rate, silence=True)


def _match(folder: Path, pattern: str) -> list[Path]:
    """Return the files below `folder` whose path from there matches, in lower case, in the order of these paths."""
    paths = {one.relative_to(folder).as_posix().lower(): one for one in folder.rglob("*") if one.is_file()}
    found = [paths[name] for name in sorted(paths) if re.fullmatch(pattern, name)]
    if not found:
        raise broken("timit", f"{pattern} in {folder}", f"{len(paths)} files, none of that name")
    return found


def _is_dialect(path: Path) -> bool:
    return path.stem.lower() in ("sa1", "sa2")


def _beside(path: Path, ending: str) -> Path:
    """Return the file beside `path` with another ending, in either case."""
    for one in (path.with_suffix(ending), path.with_suffix(ending.upper())):
        if one.is_file():
            return one
    raise broken("timit", path.with_suffix(ending.upper()), "no such file")


def _phones(path: Path, rate: int) -> tuple[tuple[int, int, str], ...]:
    """Return (first sample, after the last, symbol) of each speech sound, places taken to `rate`."""
    phones = []
    for line in path.read_text(encoding="ascii").splitlines():
        parts = line.split()
        if len(parts) != 3 or not (parts[0].isdigit() and parts[1].isdigit()):
            raise broken("timit", f"first sample, last and symbol in each line of {path}", repr(line))
        begin, end = (round(int(at) * rate / TIMIT_RATE) for at in parts[:2])
        phones.append((begin, end, parts[2]))
    return tuple(phones)
