"""CoNLL-2003 is read from files laid out as the real ones, classic or the hub's; what's missing or foreign is named."""

import datasets
import pytest

from bigmodel_lab.data.text.entity_sets import CONLL, TAGS, conll2003
from bigmodel_lab.errors import DataError, InputError

# the form of eng.train: word, part of speech, chunk, entity; IOB1, so B- only where two entities of a kind touch
CLASSIC = """-DOCSTART- -X- O O

EU NNP I-NP I-ORG
rejects VBZ I-VP O
German JJ I-NP I-MISC
call NN I-NP O
. . O O

Peter NNP I-NP I-PER
Blackburn NNP I-NP I-PER

-DOCSTART- -X- O O

France NNP I-NP I-LOC
Britain NNP I-NP B-LOC
"""
WORDS = [["EU", "rejects", "German", "call", "."], ["Peter", "Blackburn"], ["France", "Britain"]]
BIO = [["B-ORG", "O", "B-MISC", "O", "O"], ["B-PER", "I-PER"], ["B-LOC", "B-LOC"]]


def classic(folder, **parts):
    for name in ("train", "testa", "testb"):
        (folder / f"eng.{name}").write_text(parts.get(name, CLASSIC))
    return folder


def hub(folder, names=TAGS, words=WORDS, tags=BIO):
    """Write the three splits as `datasets` writes a repository's data folder."""
    numbers = [[list(names).index(tag) for tag in row] for row in tags]
    features = datasets.Features(
        {
            "id": datasets.Value("string"),
            "tokens": datasets.Sequence(datasets.Value("string")),
            "ner_tags": datasets.Sequence(datasets.ClassLabel(names=list(names))),
        }
    )
    rows = {"id": [str(i) for i in range(len(words))], "tokens": words, "ner_tags": numbers}
    (folder / "data").mkdir(exist_ok=True)
    for split in ("train", "validation", "test"):
        one = datasets.Dataset.from_dict(rows, features=features)
        one.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


def same(found, words=WORDS, tags=BIO):
    return [list(row) for row in found.words] == words and [list(row) for row in found.tags] == tags


@pytest.mark.parametrize("lay_out", [classic, hub])
def test_words_and_tags_come_as_they_are_and_begin_with_b(tmp_path, lay_out, capsys):
    train, test = conll2003(lay_out(tmp_path))
    assert same(train)
    assert same(test)
    assert train.types == CONLL


def test_each_held_out_part_has_its_own_file(tmp_path):
    classic(tmp_path, testa="Rome NNP I-NP I-LOC\n")
    assert same(conll2003(tmp_path, split="validation")[1], [["Rome"]], [["B-LOC"]])
    assert same(conll2003(tmp_path)[1])


def test_the_hub_s_files_may_lie_in_the_folder_itself(tmp_path):
    assert same(conll2003(hub(tmp_path) / "data")[0])


def test_numbers_are_read_by_their_names(tmp_path):
    assert same(conll2003(hub(tmp_path, names=TAGS[::-1]))[0])


def test_without_a_root_it_is_looked_for_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    folder = tmp_path / ".cache" / "bigmodel_lab" / "conll2003"
    folder.mkdir(parents=True)
    assert same(conll2003_at_home(folder))


def conll2003_at_home(folder):
    classic(folder)
    return conll2003()[0]


def test_without_any_file_the_hub_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.home", lambda: tmp_path)
    asked = []

    def load(hub, name, *, split):
        asked.append((hub, name, split))
        raise OSError("no network here")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(DataError, match=r"no network here[\s\S]*embedded"):
        conll2003()
    assert asked == [("tomaarsen/conll2003", None, ["train", "test"])]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("EU NNP I-NP\n", r"line 1 of eng.testb[\s\S]*EU NNP"),
        ("EU NNP I-NP I-FIRM\n", r"line 1 of eng.testb[\s\S]*I-FIRM"),
        ("-DOCSTART- -X- O O\n\n", "no sentence in it"),
        ("", "no sentence in it"),
    ],
    ids=["three columns", "another tag", "no words", "empty"],
)
def test_a_broken_line_is_named(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        conll2003(classic(tmp_path, testb=text))


def test_a_missing_file_or_folder_says_how_to_get_it(tmp_path):
    classic(tmp_path)
    (tmp_path / "eng.testb").unlink()
    with pytest.raises(DataError, match=r"eng\.testb[\s\S]*there: eng\.testa, eng\.train[\s\S]*clips\.uantwerpen"):
        conll2003(tmp_path)
    with pytest.raises(DataError, match=r"no such folder[\s\S]*NIST"):
        conll2003(tmp_path / "nowhere")


def test_a_file_that_is_no_text_is_named(tmp_path):
    classic(tmp_path)
    (tmp_path / "eng.train").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"eng\.train[\s\S]*UnicodeDecodeError"):
        conll2003(tmp_path)


def test_other_tags_in_the_hub_s_files_are_refused(tmp_path):
    names = ["O", "B-GENE", "I-GENE"]
    with pytest.raises(DataError, match="GENE"):
        conll2003(hub(tmp_path, names, [["p53"]], [["B-GENE"]]))


def test_rows_whose_tags_do_not_fit_are_refused(tmp_path):
    hub(tmp_path)
    one = datasets.Dataset.from_dict({"tokens": [["a", "b"]], "ner_tags": [[0]]})
    one.to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(DataError, match="row 0 of train"):
        conll2003(tmp_path)


def test_another_split_is_refused(tmp_path):
    with pytest.raises(InputError, match="validation"):
        conll2003(classic(tmp_path), split="train")
