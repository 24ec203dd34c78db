"""CoNLL-2003: persons, organisations, locations and other names in English news, as an `EntitySet`.

Source: Tjong Kim Sang & De Meulder (2003), Introduction to the CoNLL-2003 shared task, arXiv cs/0306050. The classic
files hold one word a line (word, part of speech, chunk, entity), blank lines between sentences, and `-DOCSTART-` lines
between articles. The hub's tables hold lists `tokens` and `ner_tags`, with numbers for tags.
"""

import json
from pathlib import Path
from typing import Any

from bigmodel_lab.data import public
from bigmodel_lab.data.text.entities import EntitySet
from bigmodel_lab.data.text.public import _tables
from bigmodel_lab.errors import InputError

__all__ = ["CONLL", "conll2003"]

CONLL = ("PER", "ORG", "LOC", "MISC")
TAGS = ("O", *(f"{place}-{kind}" for kind in CONLL for place in "BI"))  # of the hub's numbers 0 to 8
HUB, FOLDER = "tomaarsen/conll2003", "data"  # a copy as Parquet files; the original is a script
CLASSIC = {"train": "eng.train", "validation": "eng.testa", "test": "eng.testb"}


def conll2003(root: str | Path | None = None, *, split: str = "test") -> tuple[EntitySet, EntitySet]:
    """Return (train, held out) of CoNLL-2003; `split` says which is held out, "validation" or "test".

    - `root`: a folder with the classic files eng.train, eng.testa, eng.testb, or with the hub's Parquet files in data/,
      such as data/train-00000-of-00001.parquet. None: those in `~/.cache/bigmodel_lab/conll2003`, or else the hub's, or
      the copy of them that `datasets` keeps.

    Classic tags of the scheme IOB1, where an entity begins with I-, come out as BIO. Sentences without words and
    `-DOCSTART-` lines are left out. Raises `DataError` if files are missing, truncated or foreign.
    """
    if split not in ("validation", "test"):
        raise InputError('split="validation" or split="test"', got=repr(split))
    kept = Path.home() / ".cache" / "bigmodel_lab" / "conll2003"
    folder = kept if root is None and kept.is_dir() else root
    if folder is not None:
        folder = public.place("conll2003", folder)
        if not (folder / FOLDER).is_dir() and not list(folder.glob("*.parquet")):
            return _classic(folder, "train"), _classic(folder, split)
    name = None if folder is None else FOLDER if (folder / FOLDER).is_dir() else "."  # the hub's only one has no name
    tables = _tables(HUB, name, ("train", split), ("tokens", "ner_tags"), folder)
    train, held_out = (_from_table(table, part) for table, part in zip(tables, ("train", split), strict=True))
    return train, held_out


def _classic(folder: Path, part: str) -> EntitySet:
    """Read one of the classic files."""
    file = folder / CLASSIC[part]
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        there = ", ".join(sorted(one.name for one in folder.iterdir())[:8])
        raise public.broken("conll2003", CLASSIC[part], f"no such file in {folder}; there: {there or 'none'}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise public.broken("conll2003", CLASSIC[part], f"{type(error).__name__}: {error}") from error
    words, tags = [], []
    sentence: list[tuple[str, str]] = []
    for number, line in enumerate([*lines, ""], 1):
        columns = line.split()
        if columns and columns[0] != "-DOCSTART-":
            if len(columns) != 4 or columns[3] not in TAGS:
                raise public.broken("conll2003", f"line {number} of {CLASSIC[part]}", repr(line[:80]))
            sentence.append((columns[0], columns[3]))
        elif sentence:
            words.append(tuple(word for word, _ in sentence))
            tags.append(_bio([tag for _, tag in sentence]))
            sentence = []
    return _checked(words, tags, CLASSIC[part])


def _from_table(table: Any, part: str) -> EntitySet:
    """Turn the hub's columns into words and tags."""
    where = f"{part} of {HUB}"
    kept = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    feature = kept.get("info", {}).get("features", {}).get("ner_tags", {})
    names = (feature.get("feature") or feature).get("names") or list(TAGS)
    if set(names) != set(TAGS):
        raise public.broken("conll2003", f"tags in {where}", ", ".join(names))
    words, tags = [], []
    rows = zip(table["tokens"].to_pylist(), table["ner_tags"].to_pylist(), strict=True)
    for at, (tokens, numbers) in enumerate(rows):
        fits = isinstance(tokens, list) and isinstance(numbers, list) and len(tokens) == len(numbers)
        if not fits or not all(isinstance(n, int) and 0 <= n < len(names) for n in numbers):
            raise public.broken("conll2003", f"row {at} of {where}", f"{str(tokens)[:60]} with {str(numbers)[:60]}")
        if tokens and tokens[0] != "-DOCSTART-":
            words.append(tuple(map(str, tokens)))
            tags.append(_bio([names[n] for n in numbers]))
    return _checked(words, tags, where)


def _checked(words: list[tuple], tags: list[tuple], where: str) -> EntitySet:
    if not words:
        raise public.broken("conll2003", where, "no sentence in it")
    return EntitySet(tuple(words), tuple(tags), CONLL)


def _bio(tags: list[str]) -> tuple[str, ...]:
    """Let every entity begin with B-: an I- that continues nothing becomes one; BIO tags stay as they are."""
    befores = ["O", *tags]
    return tuple(
        f"B-{tag[2:]}" if tag[0] == "I" and before[2:] != tag[2:] else tag
        for before, tag in zip(befores, tags, strict=False)
    )
