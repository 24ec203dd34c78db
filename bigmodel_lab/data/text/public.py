"""Public text sets, read by the `datasets` library: the nine tasks of GLUE, and WikiText.

By default they come from the Hugging Face hub (`HF_ENDPOINT` names a mirror) or its cache on this machine, with
`root` from a folder that holds the same Parquet files as the set's repository there.
Sources: Wang et al. (2019), GLUE, ICLR, arXiv 1804.07461; Merity et al. (2017), WikiText, ICLR, arXiv 1609.07843.
N counts examples.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bigmodel_lab.data.text.sets import TextSet
from bigmodel_lab.errors import DataError, InputError, MissingExtraError

__all__ = ["GLUE", "WIKITEXT", "GlueTask", "glue", "wikitext"]


@dataclass(frozen=True)
class GlueTask:
    """What one task of GLUE asks: the columns it shows, the names of its labels."""

    columns: tuple[str, ...]  # one text, or two
    classes: tuple[str, ...]  # empty where the target is a number: the similarity of STS-B, 0 to 5


_ENTAILS = ("entailment", "not_entailment")
GLUE: dict[str, GlueTask] = {
    "cola": GlueTask(("sentence",), ("unacceptable", "acceptable")),
    "mnli": GlueTask(("premise", "hypothesis"), ("entailment", "neutral", "contradiction")),
    "mrpc": GlueTask(("sentence1", "sentence2"), ("not_equivalent", "equivalent")),
    "qnli": GlueTask(("question", "sentence"), _ENTAILS),
    "qqp": GlueTask(("question1", "question2"), ("not_duplicate", "duplicate")),
    "rte": GlueTask(("sentence1", "sentence2"), _ENTAILS),
    "sst2": GlueTask(("sentence",), ("negative", "positive")),
    "stsb": GlueTask(("sentence1", "sentence2"), ()),
    "wnli": GlueTask(("sentence1", "sentence2"), _ENTAILS[::-1]),
}
WIKITEXT = ("wikitext-103-raw-v1", "wikitext-103-v1", "wikitext-2-raw-v1", "wikitext-2-v1")


def glue(task: str = "sst2", *, root: str | Path | None = None, matched: bool = True) -> tuple[TextSet, TextSet]:
    """Return (train, validation) of one of the nine tasks of GLUE.

    - `task`: a name in `GLUE`. Labels are int64 of shape (N,), for "stsb" float32 from 0 to 5.
    - `root`: a folder with the files of the hub's nyu-mll/glue, such as root/sst2/train-00000-of-00001.parquet;
      None for the hub itself, or the copy of it that `datasets` keeps.
    - `matched`: of "mnli", the validation texts from the genres of the training texts, or else from other genres.

    The test sets are left out: their labels are hidden, each stands there as -1. Raises `MissingExtraError` without
    `datasets`, and `DataError` if files are missing, truncated or foreign, or the hub cannot be reached.
    """
    if task not in GLUE:
        raise InputError(f"a task of GLUE: {', '.join(GLUE)}", got=repr(task), hint='glue("sst2")')
    validation = ("validation_matched" if matched else "validation_mismatched") if task == "mnli" else "validation"
    splits = ("train", validation)
    columns = (*GLUE[task].columns, "label")
    tables = _tables("nyu-mll/glue", task, splits, columns, root)
    train, held_out = (_text_set(table, task, split) for table, split in zip(tables, splits, strict=True))
    return train, held_out


def wikitext(
    name: str = "wikitext-2-raw-v1", *, root: str | Path | None = None
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return (train, validation, test) of WikiText, each a tuple of articles with their title lines, text unchanged.

    - `name`: one of `WIKITEXT`; without "raw", rare words are `<unk>`.
    - `root`: a folder with the files of the hub's Salesforce/wikitext, such as
      root/wikitext-2-raw-v1/test-00000-of-00001.parquet; None for the hub itself, or its copy on this machine.

    The files hold one line per row; an article begins at ` = Title = ` between blank lines. Errors are those of `glue`.
    """
    if name not in WIKITEXT:
        raise InputError(f"a set among {', '.join(WIKITEXT)}", got=repr(name), hint='wikitext("wikitext-2-raw-v1")')
    splits = ("train", "validation", "test")
    tables = _tables("Salesforce/wikitext", name, splits, ("text",), root)
    train, validation, test = (
        _articles(_texts(table, "text", f"{name}, {split}"), f"{name}, {split}")
        for table, split in zip(tables, splits, strict=True)
    )
    return train, validation, test


def _tables(hub: str, name: str, splits: tuple[str, ...], columns: tuple[str, ...], root: str | Path | None) -> list:
    """Return one pyarrow table of `columns` per split, from the folder root/name or from the hub."""
    try:
        import datasets  # it brings pyarrow
    except ImportError as error:
        raise MissingExtraError(
            "the package datasets, which reads public text sets",
            got=f"{type(error).__name__}: {error}",
            hint="pip install datasets, or use the embedded corpus, which needs no package and no network",
        ) from error
    if root is not None:
        tables = [_from_folder(Path(root) / name, split, hub) for split in splits]
    else:
        try:
            parts = datasets.load_dataset(hub, name, split=list(splits))
        except Exception as error:  # of whatever kind: network, proxy, mirror, a cache cut short
            raise DataError(
                f"{hub}{f' ({name})' if name else ''} from the Hugging Face hub, or its copy on this machine",
                got=f"{type(error).__name__}: {error}",
                hint="a network, or a mirror by HF_ENDPOINT, or the repository's files in a folder by root=...; "
                "or the embedded corpus, which needs none of them",
            ) from error
        tables = [part.with_format("arrow")[:] for part in parts]
    for table, split in zip(tables, splits, strict=True):
        if missing := [column for column in columns if column not in table.column_names]:
            raise DataError(
                f"the columns {', '.join(columns)} in {name}, {split}",
                got=f"{', '.join(table.column_names) or 'none'}: no {', '.join(missing)}",
                hint=f"the files of {hub} as they are",
            )
        if not table.num_rows:
            raise DataError(f"at least one row in {name}, {split}", got="none", hint=f"copy the files of {hub} again")
    return tables


def _from_folder(folder: Path, split: str, hub: str) -> Any:
    """Return the table in the files split-00000-of-0000n.parquet of `folder`, all n of them in order."""
    import pyarrow
    from pyarrow import parquet

    files = sorted(folder.glob(f"{split}-?????-of-?????.parquet"))
    count = int(files[0].stem[-5:]) if files else 1
    wanted = [folder / f"{split}-{part:05}-of-{count:05}.parquet" for part in range(count)]
    if files != wanted:
        raise DataError(
            f"{', '.join(str(file) for file in wanted if file not in files) or f'{count} files of one set'}",
            got=f"{', '.join(file.name for file in files)} there" if files else "no such file",
            hint=f"copy the folder {folder.name} of {hub} into {folder.parent}, or leave root out to fetch it",
        )
    try:
        return pyarrow.concat_tables([parquet.ParquetFile(file).read() for file in files])
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(
            f"whole Parquet files in {folder}",
            got=f"{type(error).__name__}: {error}",
            hint=f"copy {', '.join(file.name for file in files)} of {hub} again",
        ) from error


def _texts(table: Any, column: str, where: str) -> tuple[str, ...]:
    texts = table[column].to_pylist()
    odd = next((text for text in texts if not isinstance(text, str)), "")
    if odd != "":
        raise DataError(f"a text in every row of {column} of {where}", got=repr(odd), hint="copy the file again")
    return tuple(texts)


def _text_set(table: Any, task: str, split: str) -> TextSet:
    """Turn the columns of one split into texts and labels, none of them hidden."""
    spec, where = GLUE[task], f"{task}, {split}"
    texts, *pairs = (_texts(table, column, where) for column in spec.columns)
    # The files keep the names of their labels beside the numbers, and the numbers are worth nothing with other names.
    kept = json.loads((table.schema.metadata or {}).get(b"huggingface", b"{}"))
    names = kept.get("info", {}).get("features", {}).get("label", {}).get("names") or list(spec.classes)
    if tuple(names) != spec.classes:
        raise DataError(f"labels called {', '.join(spec.classes) or 'nothing'} in {where}", got=", ".join(names))
    values = table["label"].to_pylist()
    high = len(spec.classes) - 1 if spec.classes else 5
    kinds = (int,) if spec.classes else (int, float)
    odd = [value for value in values if not isinstance(value, kinds) or not 0 <= value <= high]
    if odd:
        raise DataError(
            f"labels from 0 to {high} in {where}",
            got=f"{odd[0]!r} in {len(odd)} of {len(values)} rows",
            hint="-1 stands for a hidden label, in test files: they can be neither trained on nor scored here",
        )
    labels = torch.tensor(values, dtype=torch.int64 if spec.classes else torch.float32)
    return TextSet(texts, labels, spec.classes, *pairs)


_TITLE = re.compile(r" = (?!= ).+ = \n?")


def _articles(lines: tuple[str, ...], where: str) -> tuple[str, ...]:
    """Join lines to articles; each begins at a title, ` = Title = ` between blank lines."""
    blank = [not line.strip() for line in lines]
    around = zip([True, *blank[:-1]], [*blank[1:], True], strict=True)
    starts = [
        i for i, (before, after) in enumerate(around) if before and after and _TITLE.fullmatch(lines[i]) is not None
    ]
    if not starts:
        raise DataError(f"articles that begin with a line ` = Title = ` in {where}", got=f"{len(lines)} lines, none so")
    ends = [*starts[1:], len(lines)]
    return tuple("".join(lines[start:end]) for start, end in zip([0, *starts[1:]], ends, strict=True))
