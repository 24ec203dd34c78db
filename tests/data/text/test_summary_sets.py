"""CNN/DailyMail is read from files laid out as the hub's; what is missing, cut or foreign is named."""

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bigmodel_lab.data.text.summaries import sentences
from bigmodel_lab.data.text.summary_sets import cnn_dailymail
from bigmodel_lab.errors import DataError, InputError

ARTICLE = "LONDON, England (CNN) -- A naïve   copper kettle was found .\nIt whistles."
HIGHLIGHTS = 'Kettle found in London .\nIt whistles\nSays owner: "It\'s mine"'


def table(part, rows):
    ids = [f"{part}{at}" for at in range(rows)]
    articles = [f"{ARTICLE} Number {at}." for at in range(rows)]
    return {"article": articles, "highlights": [HIGHLIGHTS] * rows, "id": ids}


def write(root, part, columns, at=0, parts=1):
    folder = root / "3.0.0"
    folder.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), folder / f"{part}-{at:05}-of-{parts:05}.parquet")


@pytest.fixture
def root(tmp_path):
    """A folder like the hub's repository: three files for training, one for each of the others."""
    for at in range(3):
        write(tmp_path, "train", table(f"train{at}-", 2), at, 3)
    write(tmp_path, "validation", table("validation", 3))
    write(tmp_path, "test", table("test", 2))
    return tmp_path


def test_articles_and_highlights_come_in_order_as_plain_sentences(root):
    train, test = cnn_dailymail(root)
    assert (len(train), len(test)) == (6, 2)
    assert train.names == ("train0-0", "train0-1", "train1-0", "train1-1", "train2-0", "train2-1")
    assert test.bodies[1] == "LONDON, England (CNN) -- A naïve copper kettle was found . It whistles. Number 1."
    assert test.summaries[0] == 'Kettle found in London. It whistles. Says owner: "It\'s mine"'
    assert not train.dropped


def test_only_the_parts_asked_for_are_read(root):
    for file in (root / "3.0.0").glob("train-*"):
        file.unlink()
    validation, test = cnn_dailymail(root, parts=("validation", "test"), most=2)
    assert (len(validation), len(test)) == (2, 2)
    with pytest.raises(DataError, match="train-00000-of-00001"):
        cnn_dailymail(root)


def test_empty_rows_are_left_out_and_counted(root):
    rows = table("test", 4)
    rows["article"][1], rows["highlights"][2] = "  ", "\n"
    write(root, "test", rows)
    (test,) = cnn_dailymail(root, parts=("test",))
    assert test.names == ("test0", "test3")
    assert test.dropped == {"empty": 2}
    write(root, "test", {"article": [""], "highlights": ["x"], "id": ["a"]})
    with pytest.raises(DataError, match="CNN/DailyMail"):
        cnn_dailymail(root, parts=("test",))


def test_a_long_article_keeps_its_first_whole_sentences(root):
    whole = cnn_dailymail(root, parts=("test",))[0].bodies[0]
    first, second, third = sentences(whole)
    words = [len(s.split()) for s in (first, second, third)]
    for most, kept in ((sum(words), whole), (sum(words) - 1, f"{first} {second}"), (1, first)):
        assert cnn_dailymail(root, parts=("test",), longest=most)[0].bodies[0] == kept


def test_without_a_root_the_hub_is_asked_for_this_version(root, monkeypatch):
    asked = []

    def load_dataset(hub, name, split):
        asked.append((hub, name, split))
        return [datasets.Dataset.from_dict(table(part, 2)) for part in split]

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    train, test = cnn_dailymail()
    assert asked == [("abisee/cnn_dailymail", "3.0.0", ["train", "test"])]
    assert train.bodies == cnn_dailymail(root, parts=("test",))[0].bodies
    assert test.names == ("test0", "test1")


def test_a_missing_folder_says_where_the_set_is_its_licence_and_its_size(tmp_path):
    with pytest.raises(DataError, match=r"abisee/cnn_dailymail[\s\S]*0\.8 GB[\s\S]*Apache"):
        cnn_dailymail(tmp_path / "nowhere")


def test_a_truncated_file_is_named(root):
    file = root / "3.0.0" / "test-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"test-00000-of-00001\.parquet"):
        cnn_dailymail(root)


def test_a_missing_file_of_three_is_named(root):
    (root / "3.0.0" / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(DataError, match="train-00001-of-00003"):
        cnn_dailymail(root)


def test_foreign_columns_are_refused(root):
    write(root, "test", {"text": ["x"], "summary": ["y"]})
    with pytest.raises(DataError, match="no article, highlights, id"):
        cnn_dailymail(root)


@pytest.mark.parametrize(
    "options", [{"parts": "test"}, {"parts": ()}, {"parts": ("dev",)}, {"most": 0}, {"longest": 0}]
)
def test_other_parts_and_numbers_are_refused(root, options):
    with pytest.raises(InputError):
        cnn_dailymail(root, **options)
