"""Files that the teacher's tools read and write: whole or not at all, named safely, CSV in the form it came in."""

import csv
import hashlib
import io
import os
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from bigmodel_lab.errors import DataError, InputError

__all__ = ["Sheet", "file_name", "harmless", "plain", "read_sheet", "same", "unharmed", "write", "write_sheet"]

FORMULA = tuple("=+-@\t\r＝＋－＠")
"""First characters with which a spreadsheet takes a cell for a formula."""


def write(path: Path, text: str) -> Path:
    """Write `text` as UTF-8 in one step: whoever reads `path` sees the old content or the new, also after a kill.

    What UTF-8 cannot hold (a lone surrogate, as in a name that was not UTF-8) is written as an escape.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            stream.write(text.encode("utf-8", "backslashreplace"))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        hint = "close it where it is open, and see that there is room and that you may write there"
        raise InputError(f"a place to write {path}", got=str(error), hint=hint) from error
    return path


def plain(text: str) -> str:
    """Return `text` on one line, safe for a terminal and for UTF-8: what cannot be printed becomes an escape."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))


def same(name: str) -> str:
    """Return what is compared of a name: spaces around and between, case and the spelling of accents do not count."""
    return unicodedata.normalize("NFC", plain(name)).casefold()


def file_name(student: str) -> str:
    """Return a name for a student's files that is safe in any folder and differs for students that differ."""
    folded = unicodedata.normalize("NFKD", student).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", folded).strip("-")[:40] or "student"
    return f"{slug}-{hashlib.sha256(same(student).encode()).hexdigest()[:10]}"


def harmless(cell: str) -> str:
    """Return `cell` so that no spreadsheet takes it for a formula: an apostrophe is put before one."""
    return f"'{cell}" if cell.startswith(FORMULA) else cell


def unharmed(cell: str) -> str:
    """Undo `harmless`."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(FORMULA) else cell


@dataclass(kw_only=True)
class Sheet:
    """A CSV file in memory, with what is needed to write it as it was."""

    header: list[str]
    rows: list[list[str]]  # each as long as the header
    lines: list[int] = field(default_factory=list)  # the line of the file at which each row begins
    delimiter: str = ","
    newline: str = "\n"
    bom: bool = False
    name: str = ""

    def column(self, *names: str) -> int | None:
        """Return the place of the first column with one of these names (case and spaces do not count), or None."""
        have = [same(cell) for cell in self.header]
        return next((have.index(same(name)) for name in names if same(name) in have), None)


def read_sheet(path: Path) -> Sheet:
    """Read a CSV file: UTF-8 with or without BOM, separated by comma, semicolon or tab, as the header line shows.

    Short rows are filled up with empty cells. Raises `DataError` for anything else: another encoding, no header,
    a name that two columns share, more cells in a row than in the header.
    """
    try:
        raw = path.read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"a CSV file at {path}", got=str(error)) from error
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        hint = "save it as CSV UTF-8; spreadsheets offer this beside plain CSV"
        raise DataError(f"{path.name} in UTF-8", got=f"other bytes at line {line}", hint=hint) from error
    unquoted = re.sub(r'"[^"]*"', "", text.lstrip("\r\n").split("\n", 1)[0])
    delimiter = max(",;\t", key=unquoted.count)
    sheet = Sheet(header=[], rows=[], delimiter=delimiter, name=path.name)
    sheet.newline = "\r\n" if "\r\n" in text else "\n"
    sheet.bom = raw.startswith(b"\xef\xbb\xbf")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = 1
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                _add(sheet, row, begins)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"CSV in {path.name}", got=f"{error}, at line {begins}") from error
    if not sheet.header:
        raise DataError(f"a header line in {path.name}", got="an empty file")
    return sheet


def _add(sheet: Sheet, row: list[str], line: int) -> None:
    if not sheet.header:
        sheet.header = row
        return
    if any(cell.strip() for cell in row[len(sheet.header) :]):
        expected = f"at most {len(sheet.header)} cells at line {line} of {sheet.name}, as in its header"
        raise DataError(expected, got=f"{len(row)}", hint='put cells that hold the separator in quotes: "a, b"')
    sheet.rows.append((row + [""] * len(sheet.header))[: len(sheet.header)])
    sheet.lines.append(line)


def write_sheet(path: Path, sheet: Sheet) -> Path:
    """Write `sheet` with its separator, line ends and BOM; its cells as they are (see `harmless`)."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter=sheet.delimiter, lineterminator=sheet.newline)
    writer.writerows([sheet.header, *sheet.rows])
    return write(path, "\ufeff" * sheet.bom + stream.getvalue())
