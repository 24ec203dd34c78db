"""The shipped audio is what its manifest says, the manifest is what the script plans, and damage is noticed."""

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import soundfile
import torch

from benchmarks import speak
from bigmodel_lab.data.numerals import chinese_numeral
from bigmodel_lab.data.speech import embedded
from bigmodel_lab.errors import DataError, InputError

FOLDER = Path(embedded.__file__).parents[2] / "audio"
NAMES = ("words", "phrases", "narrator")
DIGITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


def test_the_folder_is_small_and_holds_what_the_manifest_lists():
    assert sum(one.stat().st_size for one in FOLDER.iterdir()) <= 9_500_000
    assert {one.name for one in FOLDER.glob("*.flac")} == set(embedded.manifest()["files"])


@pytest.mark.parametrize("name", NAMES)
def test_hashes_rate_and_bounds_hold(name):
    about = embedded.manifest()["files"][f"{name}.flac"]
    data = (FOLDER / f"{name}.flac").read_bytes()
    assert hashlib.sha256(data).hexdigest() == about["sha256"]
    samples, rate = soundfile.read(FOLDER / f"{name}.flac", dtype="int16")
    assert (rate, samples.ndim, len(samples)) == (8000, 1, about["samples"])
    assert hashlib.sha256(samples.astype("<i2").tobytes()).hexdigest() == about["samples_sha256"]
    assert not (samples % 2 ** (16 - about["bits"])).any()
    end = 0
    for item in embedded.items(name):
        assert item.start == end
        assert 0.1 * 8000 < item.samples < 6 * 8000
        end += item.samples
    assert end == len(samples)


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_is_what_the_script_plans(name):
    planned = getattr(speak, name)()
    assert [tuple(item[:4]) for item in embedded.items(name)] == planned


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_the_synthesiser_makes_the_same_samples_again():
    installed = subprocess.run(["espeak-ng", "--version"], capture_output=True, check=True, text=True).stdout
    if installed.split("  ")[0] != embedded.manifest()["synthesiser"]:
        pytest.skip("another version of espeak-ng")
    for name in NAMES:
        item = embedded.items(name)[17]
        made = speak.speak(item[:4], speak.BITS[name])
        assert torch.equal(torch.from_numpy(made) / 32768, embedded.spoken(name, item))


def test_no_voice_and_no_timbre_is_in_both_parts():
    train, test = embedded.words()
    assert len(set(train.voices)) == 15
    assert len(set(test.voices)) == 5
    timbres = [{voice.split("+")[1] for voice in part.voices} for part in (train, test)]
    assert not timbres[0] & timbres[1]


def test_every_voice_says_every_word_twice_and_never_the_same_way():
    for part in embedded.words():
        assert part.labels.bincount().tolist() == [2 * len(set(part.voices))] * 41
        for label in (0, 20, 40):
            waves = part.waves[part.labels == label]
            assert len(waves.unique(dim=0)) == len(waves)
        assert [part.classes[label] for label in part.labels[:50]] == list(part.texts[:50])


def test_words_have_no_silence_around_them():
    train, _ = embedded.words()
    for i in range(0, len(train), 37):
        wave = train.wave(i)
        assert wave.abs().max() > 0.6
        for end in (wave[:200], wave[-200:]):  # 25 ms, of which 15 are the margin
            assert end.abs().max() > 0.003


@pytest.mark.parametrize("kind", ["digits", "numbers"])
def test_phrases_have_texts_of_their_kind_and_share_none(kind):
    train, test = embedded.phrases(kind)
    assert (len(train), len(test)) == (120, 75)
    assert not set(train.texts) & set(test.texts)
    assert not set(train.voices) & set(test.voices)
    every = train.texts + test.texts
    if kind == "digits":
        assert all(3 <= len(text.split()) <= 6 and set(text.split()) <= set(DIGITS) for text in every)
        assert train.translations is None
    else:
        words = set(embedded.manifest()["commands"][:10] + embedded.manifest()["numbers"])
        assert all(set(text.split()) <= words for text in every)
        assert len(train.translations) == 120


def test_longer_texts_take_longer():
    train, _ = embedded.phrases("digits")
    counts = torch.tensor([len(text.split()) for text in train.texts]).float()
    assert torch.corrcoef(torch.stack([counts, train.lengths.float()]))[0, 1] > 0.9


def test_the_narrator_is_one_voice_with_different_numbers():
    told = embedded.narrator()
    assert len(told) == len(set(told.texts)) == 250
    assert len(set(told.voices)) == 1
    assert told.translations[told.texts.index("seventy two")] == chinese_numeral(72)


def test_an_unknown_kind_is_refused():
    with pytest.raises(InputError, match="digits, numbers"):
        embedded.phrases("words")


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the shipped folder that a test may damage; caches are emptied before and after."""
    (tmp_path / "audio").mkdir()
    for name in ("narrator.flac", "manifest.json"):
        shutil.copy(FOLDER / name, tmp_path / "audio")
    monkeypatch.setattr(embedded, "files", lambda package: tmp_path)
    for cached in (embedded.manifest, embedded._samples):
        cached.cache_clear()
    yield tmp_path / "audio"
    for cached in (embedded.manifest, embedded._samples):
        cached.cache_clear()


def test_a_damaged_file_is_noticed(copied):
    assert len(embedded.narrator()) == 250
    embedded._samples.cache_clear()
    data = bytearray((copied / "narrator.flac").read_bytes())
    data[len(data) // 2] ^= 1
    (copied / "narrator.flac").write_bytes(data)
    with pytest.raises(DataError, match=r"hash[\s\S]*damaged"):
        embedded.narrator()


def test_a_missing_file_is_noticed(copied):
    with pytest.raises(DataError, match=r"words\.flac[\s\S]*install"):
        embedded.words()


def test_a_manifest_of_another_version_is_noticed(copied):
    changed = json.loads((copied / "manifest.json").read_text())
    changed["files"]["narrator.flac"]["sha256"] = "0" * 64
    (copied / "manifest.json").write_text(json.dumps(changed))
    with pytest.raises(DataError, match="000000"):
        embedded.narrator()
