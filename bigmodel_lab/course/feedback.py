"""What a student is told: one HTML page each, complete in one file, in which nothing of the student's can run.

Every text that comes from a submission is escaped, and the page itself forbids scripts, frames, forms and requests,
so a name or an answer stays text in whatever browser opens it.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from bigmodel_lab.course.files import file_name, write
from bigmodel_lab.course.marks import number
from bigmodel_lab.course.questions import Assignment, Grade, ProbeResult, QuestionResult

__all__ = ["html_head", "html_text", "page", "write_pages"]

LONGEST = 4000
"""Characters of one message that are shown; a submission may print more."""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --paper: #ffffff; --soft: #5a6473; --line: #d5dae1; --card: #f5f7f9;
  --full: #1a7f4b; --part: #9a5b00; --none: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --paper: #14181f; --soft: #a3adba; --line: #343c48;
  --card: #1c222b; --full: #5fd39a; --part: #f0b45a; --none: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 46rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; }
h2 { font-size: 1.1rem; margin: 0; display: flex; flex-wrap: wrap; gap: 0 1rem; justify-content: space-between; }
.soft { color: var(--soft); margin: 0; }
.total { font-size: 2rem; font-weight: 650; margin: 1rem 0; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .9rem 1rem;
  margin: 1rem 0; }
.points { white-space: nowrap; font-variant-numeric: tabular-nums; }
.full { color: var(--full); } .part { color: var(--part); } .none { color: var(--none); }
ul { margin: .6rem 0 0; padding: 0; list-style: none; }
li { border-top: 1px solid var(--line); padding: .5rem 0; }
pre { margin: .3rem 0 0; white-space: pre-wrap; font: .88rem/1.45 ui-monospace, monospace; }
blockquote { margin: .6rem 0 0; padding: .1rem 0 .1rem .8rem; border-left: 3px solid var(--line);
  white-space: pre-wrap; }
"""


def html_head(title: str) -> str:
    """Return the beginning of a page up to its body: nothing on it may run or be fetched."""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{html_text(title)}</title>
<style>{_STYLE}</style>
</head>"""


def page(assignment: Assignment, grade: Grade, *, waits: Iterable[str] = ()) -> str:
    """Return the page of one grade; questions in `waits` are said to wait for the teacher."""
    waits, titles = set(waits), {question.name: question.title for question in assignment.questions}
    questions = "\n".join(
        _question(titles.get(result.name, result.name), result, result.name in waits) for result in grade.questions
    )
    return f"""{html_head(assignment.title)}
<body>
<main>
<h1>{html_text(assignment.title)}</h1>
<p class="soft"><bdi>{html_text(grade.student)}</bdi></p>
<p class="total">{number(grade.points)} of {number(grade.most)} points</p>
{_remarks(grade, waits)}
{questions}
</main>
<footer class="soft">File {html_text(grade.submission[:12]) or "not read"}, judged in {number(grade.seconds)} s</footer>
</body>
</html>
"""


def write_pages(
    folder: Path, assignment: Assignment, grades: Iterable[Grade], *, waits: Mapping[str, Sequence[str]]
) -> list[Path]:
    """Write one page per grade into `folder`, named by `files.file_name`; `waits` maps students to questions."""
    return [
        write(
            folder / f"{file_name(grade.student)}.html",
            page(assignment, grade, waits=waits.get(grade.student, ())),
        )
        for grade in grades
    ]


def _remarks(grade: Grade, waits: set[str]) -> str:
    lines = []
    if grade.penalty:
        before = sum(result.points for result in grade.questions)
        days = f"{number(grade.late_days)} day{'' if grade.late_days == 1 else 's'}"
        taken = f"{number(100 * grade.penalty)} % of {number(before)} points are taken off"
        lines.append(f"Handed in late, {days} begun: {taken}.")
    if waits:
        lines.append(f"Your teacher has yet to read {', '.join(sorted(waits))}; points will be added.")
    lines += grade.notes
    return (
        f"<section><h2>Notes</h2><ul>{''.join(f'<li>{html_text(line)}</li>' for line in lines)}</ul></section>"
        if lines
        else ""
    )


def _question(title: str, result: QuestionResult, waits: bool) -> str:
    points = "waits for your teacher" if waits else f"{number(result.points)} of {number(result.most)}"
    kind = "soft" if waits else _kind(result.points / result.most if result.most else 1.0)
    probes = "".join(_probe(probe) for probe in result.probes)
    comment = f"<blockquote>{html_text(result.comment)}</blockquote>" if result.comment else ""
    return (
        f"<section><h2><span>{html_text(result.name)} · {html_text(title)}</span> "
        f'<span class="points {kind}">{points}</span></h2>'
        f"{comment}{f'<ul>{probes}</ul>' if probes else ''}</section>"
    )


def _probe(probe: ProbeResult) -> str:
    kind = _kind(probe.share)
    word = {"full": "right", "part": f"{100 * probe.share:.0f} % right", "none": "not right yet"}[kind]
    message = f"<pre>{html_text(probe.message)}</pre>" if probe.message else ""
    return f'<li><strong class="{kind}">{word}</strong> {html_text(probe.name)}{message}</li>'


def _kind(share: float) -> str:
    return "full" if share >= 1 - 1e-9 else "part" if share > 0 else "none"


def html_text(text: str, longest: int = LONGEST) -> str:
    """Escaped, cut to a length that a page bears, without control characters and changes of the writing direction."""
    cut = text if len(text) <= longest else f"{text[:longest]} … ({len(text) - longest} characters more)"
    hidden = {c for c in cut if not c.isprintable() and c not in "\n\t "}
    return escape("".join("�" if c in hidden else c for c in cut))
