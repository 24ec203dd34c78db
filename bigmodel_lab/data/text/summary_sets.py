"""CNN/DailyMail: news articles with the highlights that their editors wrote, the usual set for summarisation.

Read by the `datasets` library, from the Hugging Face hub or a folder with the same Parquet files.
Sources: Hermann et al. (2015), arXiv 1506.03340; See, Liu & Manning (2017), arXiv 1704.04368 (the version with names).
"""

import re
from itertools import accumulate
from pathlib import Path
from typing import Any

from bigmodel_lab.data.integers import integer
from bigmodel_lab.data.public import broken, place
from bigmodel_lab.data.text.public import _tables, _texts
from bigmodel_lab.data.text.summaries import SummarySet, sentences
from bigmodel_lab.errors import InputError

__all__ = ["cnn_dailymail"]

HUB, VERSION = "abisee/cnn_dailymail", "3.0.0"
PARTS = ("train", "validation", "test")


def cnn_dailymail(
    root: str | Path | None = None,
    *,
    parts: tuple[str, ...] = ("train", "test"),
    most: int | None = None,
    longest: int | None = None,
) -> tuple[SummarySet, ...]:
    """Return the `parts` of CNN/DailyMail: bodies are the articles, summaries the highlights, names their ids.

    - `root`: a folder with the files of the hub's abisee/cnn_dailymail, such as
      root/3.0.0/test-00000-of-00001.parquet; None for the hub itself, or the copy of it that `datasets` keeps.
    - `parts`: of "train", "validation" and "test"; only their files are read.
    - `most`: at most so many articles of each part, the first ones; None for all.
    - `longest`: an article of more words keeps its first whole sentences that fit, at least one; None for all of it.

    White space is made single spaces, so that highlights, one a line in the files, become sentences in a row. Rows with
    an empty article or highlight are left out and counted in `dropped`. Raises `MissingExtraError` without `datasets`,
    and `DataError` if files are missing, truncated or foreign, or the hub cannot be reached.
    """
    if isinstance(parts, str) or not parts or any(part not in PARTS for part in parts):
        raise InputError(f"parts among {', '.join(PARTS)}", got=repr(parts), hint='parts=("train", "test")')
    most = None if most is None else integer("most", most, 1)
    longest = None if longest is None else integer("longest", longest, 1)
    folder = None if root is None else place("cnn_dailymail", root)
    tables = _tables(HUB, VERSION, parts, ("article", "highlights", "id"), folder)
    return tuple(
        _summary_set(table if most is None else table.slice(0, most), part, longest)
        for table, part in zip(tables, parts, strict=True)
    )


def _summary_set(table: Any, part: str, longest: int | None) -> SummarySet:
    """Turn the columns of one part into texts and summaries."""
    where = f"{VERSION}, {part}"
    columns = [_texts(table, column, where) for column in ("article", "highlights", "id")]
    rows = [
        (_beginning(article, longest), " ".join(_sentences(lines).split()), name)
        for article, lines, name in zip(*columns, strict=True)
    ]
    kept = [row for row in rows if row[0] and row[1]]
    if not kept:
        raise broken("cnn_dailymail", f"articles with highlights in {where}", f"{len(rows)} rows, all empty")
    empty = len(rows) - len(kept)
    return SummarySet(*zip(*kept, strict=True), {"empty": empty} if empty else {})


def _sentences(highlights: str) -> str:
    """Return highlights, one a line, as sentences: " ." becomes ".", and a line without an end gets one."""
    lines = (re.sub(r"\s+([.!?])$", r"\1", line.strip()) for line in highlights.split("\n"))
    return " ".join(line if line[-1] in ".!?\"'" else line + "." for line in lines if line)


def _beginning(text: str, longest: int | None) -> str:
    """Return `text` with single spaces, cut after the last whole sentence that fits into `longest` words."""
    if longest is None:
        return " ".join(text.split())
    found = sentences(text)
    ends = list(accumulate(len(sentence.split()) for sentence in found))
    return " ".join(found[: max(sum(end <= longest for end in ends), 1)])
