"""Public sets of translated sentences, read by the `datasets` library: OPUS-100 and the news of WMT 2019.

By default they come from the Hugging Face hub (`HF_ENDPOINT` names a mirror) or its cache on this machine, with
`root` from a folder that holds the same Parquet files as the set's repository there.
Sources: Zhang et al. (2020), OPUS-100, ACL, arXiv 2004.11867, sampled from Tiedemann (2012), OPUS, LREC; Barrault et
al. (2019), Findings of the 2019 conference on machine translation, doi 10.18653/v1/W19-5301.
"""

import re
from pathlib import Path
from typing import Any

from bigmodel_lab.data.integers import integer
from bigmodel_lab.data.text.public import _tables
from bigmodel_lab.errors import DataError, InputError

__all__ = ["Pairs", "opus", "wmt"]

Pairs = tuple[tuple[str, str], ...]  # (sentence, its translation) each
OPUS, WMT = "Helsinki-NLP/opus-100", "wmt/wmt19"
WMT_PAIRS = ("cs-en", "de-en", "fi-en", "fr-de", "gu-en", "kk-en", "lt-en", "ru-en", "zh-en")
LANGUAGE = re.compile("[a-z]{2,3}")


def opus(pair: str = "en-zh", *, root: str | Path | None = None, most: int | None = None) -> tuple[Pairs, Pairs, Pairs]:
    """Return (train, validation, test) of OPUS-100: up to a million, 2000 and 2000 pairs of sentences.

    - `pair`: source and target language, one of them "en": "en-zh" or "zh-en", both read from the same files.
    - `root`: a folder with the files of the hub's Helsinki-NLP/opus-100, such as
      root/en-zh/train-00000-of-00001.parquet; None for the hub itself, or the copy of it that `datasets` keeps.
    - `most`: read no more than so many pairs of each part, the first ones; None for all of them.

    Sentences are as they stand there, noise included. A few pairs of languages have a training set only. Raises
    `MissingExtraError` without `datasets`, and `DataError` if files are missing, truncated, empty or foreign, or the
    hub cannot be reached.
    """
    source, target = _languages(pair)
    if "en" not in (source, target):
        hint = 'opus("en-zh")'
        raise InputError("a pair with English, as all of OPUS-100's training pairs are", got=repr(pair), hint=hint)
    name = "-".join(sorted((source, target)))
    train, validation, test = _pairs(OPUS, name, ("train", "validation", "test"), source, target, root, most)
    return train, validation, test


def wmt(pair: str = "zh-en", *, root: str | Path | None = None, most: int | None = None) -> tuple[Pairs, Pairs]:
    """Return (train, validation) of WMT 2019's news task: for Chinese and English 26 million and 3981 pairs.

    - `pair`: source and target language: "zh-en" or "en-zh", both read from the same files; the others are de, cs, fi,
      gu, kk, lt and ru, each with en, and fr-de.
    - `root`: a folder with the files of the hub's wmt/wmt19, such as root/zh-en/validation-00000-of-00001.parquet; None
      for the hub itself, or the copy of it that `datasets` keeps.
    - `most`: as in `opus`; all 26 million pairs take more memory than most machines have.

    The test set of that year is not among the files. Errors are those of `opus`.
    """
    source, target = _languages(pair)
    name = next((known for known in (f"{source}-{target}", f"{target}-{source}") if known in WMT_PAIRS), None)
    if name is None:
        raise InputError(f"a pair among {', '.join(WMT_PAIRS)}, either way round", got=repr(pair), hint='wmt("zh-en")')
    train, validation = _pairs(WMT, name, ("train", "validation"), source, target, root, most)
    return train, validation


def _languages(pair: str) -> tuple[str, str]:
    parts = pair.split("-") if isinstance(pair, str) else []
    if len(parts) != 2 or parts[0] == parts[1] or not all(LANGUAGE.fullmatch(part) for part in parts):
        raise InputError("two languages joined by a hyphen", got=repr(pair), hint='"en-zh"')
    return parts[0], parts[1]


def _pairs(
    hub: str,
    name: str,
    splits: tuple[str, ...],
    source: str,
    target: str,
    root: str | Path | None,
    most: int | None,
) -> list[Pairs]:
    """Return the pairs of each split of the configuration `name`."""
    most = None if most is None else integer("most", most, 1)
    tables = _tables(hub, name, splits, ("translation",), root)
    parts = zip(tables, splits, strict=True)
    return [_read(table.slice(0, most), f"{name}, {split}", source, target) for table, split in parts]


def _read(table: Any, where: str, source: str, target: str) -> Pairs:
    """Turn the column of {language: sentence} into pairs, every one of them whole."""
    rows = table["translation"].to_pylist()
    for at, row in enumerate(rows):
        texts = [row.get(language) for language in (source, target)] if isinstance(row, dict) else [None]
        if not all(isinstance(text, str) for text in texts):
            raise DataError(
                f"a sentence in {source} and one in {target} in every row of {where}",
                got=f"{row!r} in row {at}"[:120],
                hint="copy the file again; a translation is kept as {language: sentence}",
            )
    return tuple((row[source], row[target]) for row in rows)
