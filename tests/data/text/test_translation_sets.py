"""OPUS-100 and WMT 2019 are read from files laid out as the real ones; what is missing, cut or foreign is named."""

import sys

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bigmodel_lab.data.text.translation_sets import opus, wmt
from bigmodel_lab.errors import DataError, InputError, MissingExtraError

EN, ZH = ("Good morning!", "It is three o'clock."), ("早上好！", "三点了。")


def rows(count, first="en", second="zh"):
    """Pairs as the hub's files have them: one column that holds a sentence in each language."""
    texts = {"en": EN, "zh": ZH}
    return [{first: f"{texts[first][i % 2]} {i}", second: f"{texts[second][i % 2]} {i}"} for i in range(count)]


def write(folder, split, count, part=0, parts=1, values=None):
    folder.mkdir(parents=True, exist_ok=True)
    table = pa.table({"translation": rows(count) if values is None else values})
    pq.write_table(table, folder / f"{split}-{part:05}-of-{parts:05}.parquet")


@pytest.fixture
def root(tmp_path):
    """A folder like the hub's repositories, OPUS-100's en-zh beside WMT's zh-en."""
    for split, count in (("train", 5), ("validation", 3), ("test", 2)):
        write(tmp_path / "en-zh", split, count)
        write(tmp_path / "zh-en", split, count)
    return tmp_path


def test_opus_gives_pairs_of_sentences_in_the_order_asked_for(root):
    parts = opus("en-zh", root=root)
    assert [len(part) for part in parts] == [5, 3, 2]
    assert parts[2] == (("Good morning! 0", "早上好！ 0"), ("It is three o'clock. 1", "三点了。 1"))
    assert opus("zh-en", root=root)[2][0] == ("早上好！ 0", "Good morning! 0")


def test_wmt_is_read_either_way_round(root):
    train, validation = wmt("zh-en", root=root)
    assert (len(train), len(validation)) == (5, 3)
    assert train[0] == ("早上好！ 0", "Good morning! 0")
    assert wmt("en-zh", root=root)[0][0] == ("Good morning! 0", "早上好！ 0")


def test_a_part_of_a_set_is_its_beginning(root):
    whole, part = opus(root=root), opus(root=root, most=2)
    assert [len(one) for one in part] == [2, 2, 2]
    assert all(some == more[:2] for some, more in zip(part, whole, strict=True))
    for most in (0, 1.5, True):
        with pytest.raises(InputError, match="most, an integer of at least 1"):
            wmt(root=root, most=most)


def test_files_as_the_datasets_library_writes_them_are_read(root):
    features = datasets.Features({"translation": datasets.Translation(languages=["en", "zh"])})
    data = datasets.Dataset.from_dict({"translation": rows(4)}, features=features)
    data.to_parquet(root / "en-zh" / "train-00000-of-00001.parquet")
    assert opus(root=root)[0][3] == ("It is three o'clock. 3", "三点了。 3")


def test_several_files_are_one_set_in_order(root):
    (root / "zh-en" / "train-00000-of-00001.parquet").unlink()
    write(root / "zh-en", "train", 2, 0, 2)
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet"):
        wmt(root=root)
    write(root / "zh-en", "train", 3, 1, 2)
    assert [english[-1] for _, english in wmt(root=root)[0]] == ["0", "1", "0", "1", "2"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"(?s)train-00000-of-00001.parquet.*no such file.*en-zh of Helsinki-NLP/opus"):
        opus(root=tmp_path)
    with pytest.raises(DataError, match=r"(?s)no such file.*zh-en of wmt/wmt19"):
        wmt(root=tmp_path)


def test_a_missing_part_is_named(root):
    (root / "en-zh" / "test-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"test-00000-of-00001\.parquet"):
        opus(root=root)


@pytest.mark.parametrize("kept", [0, 5, 200])
def test_a_file_cut_short_is_named(root, kept):
    file = root / "en-zh" / "train-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"(?s)whole Parquet files.*copy train-00000-of-00001.parquet"):
        opus(root=root)


def test_an_empty_file_is_refused(root):
    write(root / "en-zh", "test", 0, values=pa.array([], pa.struct({"en": pa.string(), "zh": pa.string()})))
    with pytest.raises(DataError, match="at least one row in en-zh, test"):
        opus(root=root)


def test_another_column_is_refused(root):
    pq.write_table(pa.table({"text": ["a"]}), root / "en-zh" / "train-00000-of-00001.parquet")
    with pytest.raises(DataError, match=r"(?s)the columns translation in en-zh, train.*no translation"):
        opus(root=root)


@pytest.mark.parametrize(
    "values",
    [[{"en": "a", "zh": "甲"}, {"en": "b", "zh": None}], [{"en": "a", "de": "x"}], ["a", "b"], [None, None]],
    ids=["no sentence", "another language", "texts", "nothing"],
)
def test_a_row_without_both_sentences_is_refused(root, values):
    write(root / "en-zh", "validation", 0, values=values)
    with pytest.raises(DataError, match=r"(?s)a sentence in en and one in zh .* en-zh, validation.*in row [01]"):
        opus(root=root)


@pytest.mark.parametrize("pair", ["english", "en", "en-en", "EN-ZH", "en-zh-fr", "", "../en-zh", None])
def test_what_is_no_pair_of_languages_is_refused(pair):
    for read in (opus, wmt):
        with pytest.raises(InputError, match="two languages joined by a hyphen"):
            read(pair)


def test_pairs_that_the_sets_do_not_have_are_answered_with_those_they_do():
    with pytest.raises(InputError, match="a pair with English"):
        opus("de-fr")
    with pytest.raises(InputError, match=r"(?s)zh-en.*either way round.*'en-fr'"):
        wmt("en-fr")


class TestFromTheHub:
    def test_without_a_network_the_ways_out_are_named(self, tmp_path, monkeypatch):
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
        with pytest.raises(DataError, match=r"(?s)Helsinki-NLP/opus-100 \(en-zh\).*HF_ENDPOINT.*root="):
            opus()

    @pytest.mark.parametrize(
        ("read", "pair", "asked"),
        [
            (opus, "zh-en", (("Helsinki-NLP/opus-100", "en-zh"), ["train", "validation", "test"])),
            (opus, "en-de", (("Helsinki-NLP/opus-100", "de-en"), ["train", "validation", "test"])),
            (wmt, "en-zh", (("wmt/wmt19", "zh-en"), ["train", "validation"])),
        ],
    )
    def test_the_repository_is_asked_for_its_splits(self, monkeypatch, read, pair, asked):
        calls, (source, target) = [], pair.split("-")
        values = [{source: "one", target: "two"}]

        def load(*args, split):
            calls.append((args, split))
            return [datasets.Dataset.from_dict({"translation": values}) for _ in split]

        monkeypatch.setattr(datasets, "load_dataset", load)
        assert read(pair)[0] == (("one", "two"),)
        assert calls == [asked]

    def test_without_the_package_the_command_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "datasets", None)
        with pytest.raises(MissingExtraError, match="pip install datasets"):
            opus()
