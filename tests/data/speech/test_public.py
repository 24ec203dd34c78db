"""Public speech sets in tiny folders laid out as the real ones: every part is read, and what is broken is named."""

import numpy as np
import pytest
import soundfile

from bigmodel_lab.data import speech
from bigmodel_lab.errors import DataError, InputError

READERS = {
    "speech_commands": speech.speech_commands,
    "librispeech": speech.librispeech,
    "timit": speech.timit,
    "lj_speech": speech.lj_speech,
}


def write(path, seconds=0.5, rate=16_000, hertz=500, **more):
    """Write a tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate), rate, **more)


# --- Speech Commands ------------------------------------------------------------------------------------------------


@pytest.fixture
def commands(tmp_path):
    """Two words, three speakers; one file lasts too long and one not long enough; folders beside that are no word."""
    for word, hertz in (("yes", 500), ("no", 900), ("bird", 300)):
        for speaker in ("0a7c2a8d", "1b4c9b89", "2c6d3924"):
            write(tmp_path / word / f"{speaker}_nohash_0.wav", 1.0, hertz=hertz)
    write(tmp_path / "yes" / "0a7c2a8d_nohash_1.wav", 1.5)
    write(tmp_path / "no" / "0a7c2a8d_nohash_1.wav", 0.4)
    (tmp_path / "validation_list.txt").write_text(
        "".join(f"{w}/1b4c9b89_nohash_0.wav\n" for w in ("yes", "no", "bird"))
    )
    (tmp_path / "testing_list.txt").write_text("".join(f"{w}/2c6d3924_nohash_0.wav\n" for w in ("yes", "no", "bird")))
    for name, seconds in (("white_noise", 3.0), ("running_tap", 2.0)):
        write(tmp_path / "_background_noise_" / f"{name}.wav", seconds)
    return tmp_path


def test_speech_commands_are_split_by_their_lists(commands):
    train, validation, test = speech.speech_commands(commands, words=("no", "yes"))
    assert (len(train), len(validation), len(test)) == (4, 2, 2)
    assert train.classes == ("no", "yes")
    assert train.texts == ("no", "no", "yes", "yes")
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert (set(train.voices), set(validation.voices), set(test.voices)) == ({"0a7c2a8d"}, {"1b4c9b89"}, {"2c6d3924"})
    assert train.waves.shape == (4, 8000)
    assert train.lengths.tolist() == [8000, 3200, 8000, 8000]  # as it is, short, as it is, cut
    spectrum = train.waves[0].numpy()
    assert np.abs(np.fft.rfft(spectrum)).argmax() == 900  # Hz, at another rate


def test_speech_commands_take_as_many_as_asked_for(commands):
    train, _, _ = speech.speech_commands(commands, words=("no", "yes"), most=1, rate=16_000)
    assert train.texts == ("no", "yes")
    assert (train.rate, train.waves.shape) == (16_000, (2, 16_000))


def test_the_default_words_are_the_embedded_ones(commands):
    with pytest.raises(DataError, match="zero, one, two"):
        speech.speech_commands(commands)
    for word in speech.commands(train=1, test=1)[0].classes:
        for speaker in ("0a7c2a8d", "1b4c9b89", "2c6d3924"):
            write(commands / word / f"{speaker}_nohash_0.wav", 1.0)
    train, _, _ = speech.speech_commands(commands, most=1)
    assert train.classes == speech.commands(train=1, test=1)[0].classes


def test_background_noise_is_read(commands):
    noise = speech.background_noise(commands)
    assert noise.texts == ("running_tap", "white_noise")
    assert noise.lengths.tolist() == [16_000, 24_000]


def test_speech_commands_without_a_list_clips_or_noise_say_so(commands):
    (commands / "testing_list.txt").write_text("")
    with pytest.raises(DataError, match="clips for test"):
        speech.speech_commands(commands, words=("yes",))
    (commands / "testing_list.txt").unlink()
    with pytest.raises(DataError, match=r"testing_list\.txt"):
        speech.speech_commands(commands, words=("yes",))
    for one in (commands / "_background_noise_").iterdir():
        one.unlink()
    with pytest.raises(DataError, match="_background_noise_"):
        speech.background_noise(commands)


def test_a_broken_clip_is_named(commands):
    (commands / "yes" / "0a7c2a8d_nohash_0.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match="0a7c2a8d_nohash_0"):
        speech.speech_commands(commands, words=("yes",))


# --- LibriSpeech ----------------------------------------------------------------------------------------------------


@pytest.fixture
def libri(tmp_path):
    for speaker, chapter, texts in (
        ("1089", "134686", ["HE HOPED", "STUFF IT"]),
        ("121", "121726", ["ALSO A POPULAR"]),
    ):
        folder = tmp_path / "LibriSpeech" / "test-clean" / speaker / chapter
        folder.mkdir(parents=True)
        names = [f"{speaker}-{chapter}-{at:04}" for at in range(len(texts))]
        lines = "".join(f"{name} {text}\n" for name, text in zip(names, texts, strict=True))
        (folder / f"{speaker}-{chapter}.trans.txt").write_text(lines)
        for at, name in enumerate(names):
            write(folder / f"{name}.flac", 0.5 + at)
    return tmp_path


@pytest.mark.parametrize("below", [".", "LibriSpeech"])
def test_librispeech_is_read_with_its_texts(libri, below):
    found = speech.librispeech(libri / below)
    assert found.texts == ("HE HOPED", "STUFF IT", "ALSO A POPULAR")
    assert found.voices == ("1089", "1089", "121")
    assert found.lengths.tolist() == [4000, 12_000, 4000]
    assert not found.waves[0, 4000:].any()
    assert len(speech.librispeech(libri, most=2)) == 2


def test_librispeech_says_what_is_missing(libri):
    with pytest.raises(DataError, match="dev-clean"):
        speech.librispeech(libri, "dev-clean")
    folder = libri / "LibriSpeech" / "test-clean" / "121" / "121726"
    (folder / "121-121726-0000.flac").unlink()
    with pytest.raises(DataError, match=r"121-121726-0000\.flac"):
        speech.librispeech(libri)
    (folder / "121-121726.trans.txt").write_text("121-121726-0000\n")
    with pytest.raises(DataError, match="a name and a text"):
        speech.librispeech(libri)
    with pytest.raises(InputError, match="most"):
        speech.librispeech(libri, most=0)


# --- TIMIT ----------------------------------------------------------------------------------------------------------


def timit(folder, *, lower, container):
    """Write three sentences of two speakers, as the Consortium's disk or as common copies have them."""
    case = str.lower if lower else str.upper
    for part, speaker, name in (("TRAIN", "FCJF0", "SX127"), ("TRAIN", "FCJF0", "SA1"), ("TEST", "MDAB0", "SI1039")):
        base = folder / case("TIMIT") / case(part) / case("DR1") / case(speaker)
        write(base / case(f"{name}.WAV"), format=container, subtype="PCM_16")
        (base / case(f"{name}.TXT")).write_text(f"0 8000 The sentence {name}.\n")
        (base / case(f"{name}.PHN")).write_text("0 1000 h#\n1000 2001 dh\n2001 8000 ix\n")
    (folder / case("TIMIT") / "README.DOC").write_text("about")


@pytest.mark.parametrize(("lower", "container"), [(False, "NIST"), (True, "WAV")])
def test_timit_is_read_with_its_phones(tmp_path, lower, container):
    timit(tmp_path, lower=lower, container=container)
    train, test = speech.timit(tmp_path)
    assert train.texts == ("The sentence SX127.",)
    assert [voice.upper() for voice in test.voices] == ["MDAB0"]
    assert train.phones == (((0, 500, "h#"), (500, 1000, "dh"), (1000, 4000, "ix")),)
    assert train.lengths.tolist() == [4000]
    assert speech.timit(tmp_path, dialect=True)[0].texts == ("The sentence SA1.", "The sentence SX127.")
    assert speech.timit(tmp_path, rate=16_000)[0].phones[0][1] == (1000, 2001, "dh")
    assert len(speech.timit(tmp_path, dialect=True, most=1)[0]) == 1


def test_timit_says_what_is_broken(tmp_path):
    timit(tmp_path, lower=False, container="NIST")
    base = tmp_path / "TIMIT" / "TRAIN" / "DR1" / "FCJF0"
    (base / "SX127.PHN").write_text("0 1000\n")
    with pytest.raises(DataError, match="symbol in each line"):
        speech.timit(tmp_path)
    (base / "SX127.PHN").unlink()
    with pytest.raises(DataError, match=r"SX127\.PHN"):
        speech.timit(tmp_path)
    (base / "SX127.TXT").write_text("The sentence.\n")
    with pytest.raises(DataError, match="sentence in the text beside"):
        speech.timit(tmp_path)
    for one in (tmp_path / "TIMIT" / "TEST" / "DR1" / "MDAB0").iterdir():
        one.unlink()
    timit_test = r"test/dr"
    (base / "SX127.TXT").write_text("0 8000 The sentence.\n")
    (base / "SX127.PHN").write_text("0 8000 h#\n")
    with pytest.raises(DataError, match=timit_test):
        speech.timit(tmp_path)


# --- LJ Speech ------------------------------------------------------------------------------------------------------


@pytest.fixture
def lj(tmp_path):
    folder = tmp_path / "LJSpeech-1.1"
    folder.mkdir()
    (folder / "metadata.csv").write_text(
        'LJ001-0001|Printed in 1895|Printed in eighteen ninety-five\nLJ001-0002|he said "so|he said "so\n'
    )
    for name in ("LJ001-0001", "LJ001-0002"):
        write(folder / "wavs" / f"{name}.wav", rate=22_050)
    return tmp_path


@pytest.mark.parametrize("below", [".", "LJSpeech-1.1"])
def test_lj_speech_is_read_with_numbers_written_out(lj, below):
    found = speech.lj_speech(lj / below)
    assert found.texts == ("Printed in eighteen ninety-five", 'he said "so')
    assert found.lengths.tolist() == [4000, 4000]
    assert set(found.voices) == {"LJ"}
    assert len(speech.lj_speech(lj, most=1)) == 1


def test_lj_speech_says_what_is_broken(lj):
    table = lj / "LJSpeech-1.1" / "metadata.csv"
    table.write_text("LJ001-0001|Printed in 1895\n")
    with pytest.raises(DataError, match="normalised text in each line"):
        speech.lj_speech(lj)
    table.write_text("LJ009-0001|a|a\n")
    with pytest.raises(DataError, match=r"LJ009-0001\.wav"):
        speech.lj_speech(lj)
    table.write_text("")
    with pytest.raises(DataError, match="utterances"):
        speech.lj_speech(lj)
    table.unlink()
    with pytest.raises(DataError, match=r"metadata\.csv"):
        speech.lj_speech(lj)


SIZES = {"speech_commands": "2.4 GB", "librispeech": "0.3 GB", "timit": "0.5 GB", "lj_speech": "2.6 GB"}


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_a_missing_set_says_how_to_get_it_its_licence_and_size(tmp_path, name, size):
    with pytest.raises(DataError) as caught:
        READERS[name](tmp_path / "nowhere")
    message = str(caught.value)
    assert size in message
    assert "licence" in message
    assert "https://" in message
