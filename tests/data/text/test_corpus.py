"""The corpus: what is harvested, what is left out, what is held out, and what happens to a damaged cache."""

import json
from importlib import import_module

import pytest

from bigmodel_lab.data import text
from bigmodel_lab.errors import DataError, InputError

module = import_module("bigmodel_lab.data.text.corpus")
LONG = "This sentence is here only to make the text as long as a document of the corpus has to be, and it is. "

SOURCE = f'''"""Module {LONG}"""
import nothing_that_exists
raise RuntimeError("was imported")

def first(x):
    """First.   \n\n\n\n    alone {LONG}\t\x07
    """
    def inner():
        """Inner, within {LONG}"""

class Second:
    """Second {LONG} in other words"""
    async def method(self):
        """Method, {LONG} again in others"""
    def short(self):
        """Too short."""
    def repeated_77(self):
        """Second_X {LONG} in 42 other words"""
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `numpy` of version 1 in a folder of its own; its folder and that of the cache."""
    root = tmp_path / "numpy"
    (root / "linalg" / "tests").mkdir(parents=True)
    (root / "__init__.py").write_text(SOURCE)
    (root / "linalg" / "wrong.py").write_text('"""not Python' + LONG)
    (root / "linalg" / "other.py").write_text(f'"""Other unlike the rest, {LONG}"""')
    (root / "linalg" / "tests" / "test_it.py").write_text(f'"""A test is no document, {LONG}"""')
    monkeypatch.setattr(module, "_source", lambda name: root if name == "numpy" else None)
    monkeypatch.setattr(module, "_version", lambda name: "1")
    return root


def harvest(package, **options):
    return text.corpus(packages=["numpy"], cache=package.parent / "cache", **options)


def test_docstrings_are_found_at_any_depth_without_importing(package):
    names = [(d.module, d.name) for d in harvest(package).documents]
    assert names == [
        ("numpy", ""),
        ("numpy", "first"),
        ("numpy", "first.inner"),
        ("numpy", "Second"),
        ("numpy", "Second.method"),
        ("numpy.linalg.other", ""),
    ]


def test_texts_are_cleaned(package):
    document = harvest(package).documents[1]
    assert document.text == f"First.\n\nalone {LONG.strip()}"


def test_the_manifest_counts_what_is_there(package):
    corpus = harvest(package)
    (origin,) = corpus.manifest
    assert (origin.package, origin.version, origin.documents) == ("numpy", "1", len(corpus))
    assert origin.tokens == sum(len(one.split()) for one in corpus.texts)
    assert corpus.hash in repr(corpus)


def test_the_hash_changes_with_any_document(package):
    before = harvest(package).hash
    (package / "linalg" / "other.py").write_text(f'"""Another unlike the rest, {LONG}"""')
    assert harvest(package, rebuild=True).hash != before


def test_a_second_call_reads_the_cache(package, capsys):
    first = harvest(package)
    assert "reading the docstrings" in capsys.readouterr().out
    (package / "__init__.py").unlink()
    again = harvest(package)
    assert capsys.readouterr().out == ""
    assert (again.documents, again.manifest, again.hash) == (first.documents, first.manifest, first.hash)


def test_another_version_is_harvested_anew(package, monkeypatch):
    harvest(package)
    (package / "linalg" / "other.py").unlink()
    monkeypatch.setattr(module, "_version", lambda name: "2")
    assert [d.module for d in harvest(package).documents] == ["numpy"] * 5


def damage(file, how):
    lines = file.read_text().splitlines(keepends=True)
    header = json.loads(lines[0])
    damaged = {
        "empty": "",
        "truncated": "".join(lines)[:-40],
        "fewer documents": "".join(lines[:-1]),
        "a word changed": "".join(lines).replace("sentence", "sentences", 1),
        "foreign": "a,b,c\n1,2,3\n",
        "no manifest": json.dumps({"hash": header["hash"]}) + "\n" + "".join(lines[1:]),
        "bytes": "\udcff",
    }
    file.write_text(damaged[how], errors="surrogateescape")


@pytest.mark.parametrize(
    "how", ["empty", "truncated", "fewer documents", "a word changed", "foreign", "no manifest", "bytes"]
)
def test_a_damaged_cache_is_rebuilt_and_said_so(package, capsys, how):
    right = harvest(package)
    (file,) = (package.parent / "cache").glob("*.jsonl")
    damage(file, how)
    capsys.readouterr()
    assert harvest(package).documents == right.documents
    assert "is damaged" in capsys.readouterr().out
    assert harvest(package).documents == right.documents
    assert capsys.readouterr().out == ""


def test_no_half_written_file_stays(package):
    harvest(package)
    assert [file.suffix for file in (package.parent / "cache").iterdir()] == [".jsonl"]


def test_a_cache_that_cannot_be_written_costs_only_the_cache(package, capsys):
    (package.parent / "cache").write_text("a file where the folder should be")
    assert len(harvest(package)) == 6
    assert "not kept for the next time" in capsys.readouterr().out


def test_a_missing_package_is_left_out_and_said_so(package, capsys):
    corpus = text.corpus(packages=["numpy", "scipy"], cache=package.parent / "cache")
    assert [origin.package for origin in corpus.manifest] == ["numpy"]
    assert "scipy not installed here, left out" in capsys.readouterr().out


def test_no_document_at_all_is_an_error(package):
    with pytest.raises(DataError, match="at least one docstring"):
        text.corpus(packages=["scipy"], cache=package.parent / "cache")


def test_an_unknown_package_is_an_error():
    with pytest.raises(InputError, match=r"numpy, scipy.*\n.*'flask'"):
        text.corpus(packages=["flask"])


def test_help_topics_of_this_python(tmp_path):
    topics = text.corpus(packages=["python"], cache=tmp_path)
    assert len(topics) > 50
    assert any("assert" in d.module for d in topics.documents)


def many(count):
    documents = tuple(text.Document(f"text {i}", "numpy", f"numpy.m{i // 3}", f"f{i}") for i in range(count))
    return text.Corpus(documents, (text.Origin("numpy", "1", count, 2 * count),))


def test_files_are_held_out_whole_one_in_ten_and_always_the_same():
    train, test = many(3000).split()
    assert not {d.module for d in train.documents} & {d.module for d in test.documents}
    assert len(train) + len(test) == 3000
    assert 0.07 < len(test) / 3000 < 0.13
    assert test.manifest[0].documents == len(test)
    # names decide, not the numbers of files: fewer documents, the same side
    assert set(many(300).split()[1].documents) == set(test.documents) & set(many(300).documents)
    # and the choice is fixed: the checkpoints were trained by it
    assert [d.name for d in test.documents[:3]] == HELD_OUT


HELD_OUT = ["f21", "f22", "f23"]


@pytest.mark.parametrize("odd", ["folder", "link to nowhere", "link to itself"])
def test_what_is_no_readable_file_is_passed_over(package, odd):
    before = harvest(package).documents
    if odd == "folder":
        (package / "odd.py").mkdir()
    elif odd == "link to nowhere":
        (package / "odd.py").symlink_to("nowhere.py")
    else:
        (package / "odd").symlink_to(package, target_is_directory=True)
    assert harvest(package, rebuild=True).documents == before


@pytest.mark.filterwarnings("error")
def test_a_doubtful_escape_neither_warns_nor_costs_the_document(package):
    (package / "linalg" / "wrong.py").write_text(rf'"""A doubtful \d, {LONG}"""')
    assert "numpy.linalg.wrong" in [d.module for d in harvest(package).documents]


def test_a_package_may_lack_the_record_of_its_version(monkeypatch):
    def version(name):
        raise module.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(module.metadata, "version", version)
    assert module._version("numpy") == "unknown"


def test_the_order_of_the_packages_changes_nothing(package, monkeypatch):
    other = package.parent / "scipy"
    other.mkdir()
    (other / "__init__.py").write_text(f'"""Module {LONG}"""')
    monkeypatch.setattr(module, "_source", lambda name: package.parent / name)
    orders = (["numpy", "scipy"], ["scipy", "numpy"])
    one, two = (text.corpus(packages=order, cache=package.parent / order[0]) for order in orders)
    assert one.hash == two.hash


def test_a_failure_while_writing_leaves_no_part_behind(package, monkeypatch):
    def replace(*names):
        raise OSError("no space left")

    monkeypatch.setattr(module.os, "replace", replace)
    harvest(package)
    assert list((package.parent / "cache").iterdir()) == []


def test_others_may_read_the_cache_as_any_file(package):
    harvest(package)
    (file,) = (package.parent / "cache").iterdir()
    (package.parent / "plain").touch()
    assert file.stat().st_mode == (package.parent / "plain").stat().st_mode


def test_a_name_in_place_of_a_list_of_names_is_an_error():
    with pytest.raises(InputError, match=r"got: +'numpy'\n.*packages=\['numpy'\]"):
        text.corpus(packages="numpy")
