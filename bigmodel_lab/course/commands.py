"""The commands of coursework, as they are typed; the work is in `coursework`, which is loaded when one of them runs."""

import argparse
from functools import partial
from importlib import import_module
from pathlib import Path

from bigmodel_lab.errors import MissingExtraError

__all__ = ["add_commands"]

GRADING = ("ipykernel", "jupyter_client", "nbconvert", "nbformat")
"""What the extra `grading` installs."""


def add_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add release, collect, grade and export."""
    out = commands.add_parser("release", help="make the students' notebook of an assignment")
    out.add_argument("name", help="the assignment: 03_attention, or the path of its source notebook")
    out.add_argument("--to", type=Path, default=Path("release"), metavar="DIR", help="where to (default: release)")
    out.set_defaults(run=partial(_run, "release"))

    back = commands.add_parser("collect", help="list the submissions in a folder: who, when, what is odd")
    back.add_argument("folder", type=Path, help="the folder with what was handed in, in whatever layout it came")
    back.set_defaults(run=partial(_run, "collect"))

    grade = commands.add_parser(
        "grade",
        help="grade the submissions in a folder; safe to stop and to repeat",
        description="Judge each submission in a sandbox. Writes grades.csv (student and question), totals.csv "
        "(student), waiting.csv (points to give by hand), a page of all answers to each written question in "
        "reading, and a page for each student in feedback. What is graded already is not graded again.",
    )
    grade.add_argument("folder", type=Path, help="the folder with what was handed in")
    grade.add_argument("--assignment", required=True, metavar="NAME", help="03_attention, or the path of its source")
    grade.add_argument("--to", type=Path, metavar="DIR", help="where to (default: beside the folder, FOLDER-graded)")
    grade.add_argument("--workers", type=int, default=2, help="submissions judged at a time (default: 2)")
    grade.add_argument(
        "--count", choices=["latest", "best"], default="latest", help="which of a student's submissions counts"
    )
    grade.add_argument("--deadline", metavar="ISO", help="2027-01-31T18:00; a date alone means the end of that day")
    grade.add_argument("--late", type=float, metavar="SHARE", help="taken off for each day begun (default: 0.1)")
    grade.add_argument("--late-most", type=float, metavar="SHARE", help="the most that is taken off (default: 0.5)")
    grade.add_argument("--grace", type=float, default=0, metavar="MINUTES", help="late by less is not late")
    grade.add_argument(
        "--manual", type=Path, metavar="CSV", help="points given by hand: student,question,points,comment"
    )
    grade.add_argument("--regrade", nargs="+", default=[], metavar="QUESTION", help="judge these again, or all")
    grade.add_argument("--scheduler", metavar="ADDRESS", help="spread the work over a Dask cluster: tcp://HOST:8786")
    grade.add_argument("--trust-students", action="store_true", help="run without a sandbox where none is installed")
    grade.set_defaults(run=partial(_run, "grade"))

    export = commands.add_parser("export", help="fill the grades into a file exported from Canvas or Moodle")
    export.add_argument("system", choices=["canvas", "moodle"])
    export.add_argument("file", type=Path, help="Canvas: the exported gradebook; Moodle: the grading worksheet")
    export.add_argument("--grades", type=Path, required=True, metavar="DIR", help="the folder that `grade` wrote")
    export.add_argument("--to", type=Path, metavar="CSV", help="what to write (default: FILE-filled.csv)")
    export.add_argument("--column", help="the column to fill (default: Canvas, the assignment's name; Moodle, Grade)")
    export.add_argument("--scale", action="store_true", help="convert points where the file has another maximum")
    export.set_defaults(run=partial(_run, "export"))


def _run(command: str, args: argparse.Namespace) -> int:
    try:
        work = import_module("bigmodel_lab.course.coursework")
    except ModuleNotFoundError as error:
        if error.name not in GRADING:
            raise
        hint = "pip install 'bigmodel-lab[grading]'"
        raise MissingExtraError(f"{error.name}, to read notebooks", got="it is not installed", hint=hint) from error
    return getattr(work, command)(args)
