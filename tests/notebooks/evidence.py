"""What is asked of the book's claims and questions: functions that return the problems they find."""

import re
from collections import Counter
from pathlib import Path

import nbformat

from tests.notebooks.checks import ASSERTS
from tests.notebooks.ledger import ROOT, lessons_in

Notebook = nbformat.NotebookNode

# Who says it: a quotation, or a paragraph that names the article, a claim or an error, may repeat what is wrong.
ATTRIBUTED = re.compile(r"\b(article|document|outline|claim(?:s|ed)?|wrong|refuted?|error)\b|\b[CR]\d\d?\b|^\s*>")


def keys(root: Path = ROOT) -> set[str]:
    """The keys of the list of references."""
    text = (root / "book" / "references.bib").read_text(encoding="utf-8")
    return set(re.findall(r"^@\w+\{([^,\s]+)", text, re.MULTILINE))


def notebooks(root: Path = ROOT) -> dict[str, Notebook]:
    """Name -> every lesson."""
    return {path.stem: nbformat.read(path, as_version=4) for path in lessons_in(root)}


def tagged(notebook: Notebook, claim: str) -> list[int]:
    """Places of the cells that are evidence for a claim."""
    name = f"claim-{claim}"
    return [n for n, cell in enumerate(notebook.cells) if name in cell.metadata.get("tags", [])]


def holding(notebook: Notebook, line: str) -> list[int]:
    """Places of the code cells in which a line of code stands."""
    return [n for n, cell in enumerate(notebook.cells) if cell.cell_type == "code" and line in cell.source]


# ---- claims -----------------------------------------------------------------------------------------------------


def complete(claims: list[dict], last: int = 34) -> list[str]:
    """Every claim once, with a verdict and with something that shows it."""
    ids = Counter(claim["id"] for claim in claims)
    wanted = [f"C{n:02}" for n in range(1, last + 1)] + [f"R{n}" for n in range(1, 6)]
    problems = [f"{name}: missing" for name in wanted if name not in ids]
    problems += [f"{name}: {count} times" for name, count in ids.items() if count > 1]
    for claim in claims:
        name = claim["id"]
        needed = ("section", "says", "verdict", "found") + (("means",) if name.startswith("C") else ())
        problems += [f"{name}: no {key}" for key in needed if not str(claim.get(key, "")).strip()]
        if claim.get("verdict") not in ("holds", "care", "wrong"):
            problems.append(f"{name}: the verdict is {claim.get('verdict')!r}, not holds, care or wrong")
        if not claim.get("evidence") and not claim.get("sources"):
            problems.append(f"{name}: neither evidence nor sources")
        if "TODO" in claim.get("found", ""):
            problems.append(f"{name}: nothing found yet")
    return problems


def decided(claims: list[dict], lessons: dict[str, Notebook]) -> list[str]:
    """Each cell that is named exists, and at least one of a lesson's asserts something."""
    problems = []
    for claim in claims:
        for lesson, cells in claim.get("evidence", {}).items():
            places = tagged(lessons[lesson], claim["id"]) if lesson in lessons else []
            if missing := [cell for cell in cells if not 1 <= cell <= len(places)]:
                problems.append(f"{claim['id']}: {lesson} has {len(places)} cells tagged so, no number {missing}")
            elif not any(ASSERTS.search(lessons[lesson].cells[places[cell - 1]].source) for cell in cells):
                problems.append(f"{claim['id']}: none of the cells {cells} of {lesson} asserts anything")
    return problems


def known_tags(claims: list[dict], lessons: dict[str, Notebook]) -> list[str]:
    """Each tag of a cell belongs to a claim that names its lesson."""
    names = {claim["id"]: claim.get("evidence", {}) for claim in claims}
    problems = []
    for lesson, notebook in lessons.items():
        every = {tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
        for name in sorted(tag.removeprefix("claim-") for tag in every if tag.startswith("claim-")):
            if lesson not in names.get(name, {}):
                problems.append(f"{lesson}: tagged claim-{name}, which does not name it")
    return problems


def cited(claims: list[dict], known: set[str]) -> list[str]:
    """Each source is in the list of references."""
    named = [(claim["id"], key) for claim in claims for key in claim.get("sources", [])]
    return [f"{claim}: no {key!r} in references.bib" for claim, key in named if key not in known]


def refutable(claims: list[dict]) -> list[str]:
    """A claim that is wrong says what nobody may repeat."""
    wrong = [claim for claim in claims if claim["verdict"] == "wrong"]
    return [
        f"{claim['id']}: wrong, and names nothing that no page may state" for claim in wrong if not claim.get("never")
    ]


def repeated(text: str, claims: list[dict]) -> list[str]:
    """Paragraphs that state what was refuted, and do not say whose words these are."""
    problems = []
    for paragraph in re.split(r"\n\s*\n|\n(?=[-|#])", text):
        if ATTRIBUTED.search(paragraph):
            continue
        flat = " ".join(paragraph.split())
        for claim in claims:
            if any(re.search(pattern, flat) for pattern in claim.get("never", [])):
                problems.append(f"repeats {claim['id']}, which is wrong: {flat[:100]}")
    return problems


def prose(root: Path = ROOT) -> dict[str, str]:
    """Name -> the prose of each page and of each lesson."""
    files = [*root.glob("*.md"), *(root / "book").glob("*.md")]
    pages = {path.name: path.read_text(encoding="utf-8") for path in files}
    for name, notebook in notebooks(root).items():
        pages[name] = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return pages


# ---- questions --------------------------------------------------------------------------------------------------


def asked(quizzes: dict[int, list[dict]]) -> list[str]:
    """Each question once, with three or four different choices, one key, and why it is right."""
    problems = [f"chapter {n}: no questions" for n in range(1, 9) if not quizzes.get(n)]
    ids = Counter(one["id"] for questions in quizzes.values() for one in questions)
    problems += [f"{name}: {count} times" for name, count in ids.items() if count > 1]
    for one in (one for questions in quizzes.values() for one in questions):
        choices = one.get("choices", [])
        if not 3 <= len(choices) <= 4 or len(set(map(str, choices))) < len(choices):
            problems.append(f"{one['id']}: expected three or four different choices, got {choices}")
        if not all(isinstance(choice, str) for choice in choices):
            problems.append(f"{one['id']}: a choice is no text; put it in quotes")
        if one.get("answer") not in range(len(choices)):
            problems.append(f"{one['id']}: the answer {one.get('answer')} is none of its choices, counted from 0")
        if len(one.get("explanation", "").split()) < 8:
            problems.append(f"{one['id']}: explains nothing")
    return problems


def proved(quizzes: dict[int, list[dict]], lessons: dict[str, Notebook], known: set[str]) -> list[str]:
    """Each key is proved by one cell that asserts something, or by a source."""
    problems = []
    for one in (one for questions in quizzes.values() for one in questions):
        evidence, name = one.get("evidence", {}), one["id"]
        if "cite" in evidence:
            problems += [] if evidence["cite"] in known else [f"{name}: no {evidence['cite']!r} in references.bib"]
            continue
        lesson = lessons.get(evidence.get("notebook", ""))
        places = holding(lesson, evidence["cell"]) if lesson and evidence.get("cell") else []
        if len(places) != 1:
            problems.append(f"{name}: expected one cell of {evidence.get('notebook')} with its line, got {len(places)}")
        elif not ASSERTS.search(lesson.cells[places[0]].source):
            problems.append(f"{name}: cell {places[0] + 1} of {evidence['notebook']} asserts nothing")
    return problems


# ---- as executed ------------------------------------------------------------------------------------------------


def ran(notebook: Notebook, places: list[int]) -> list[str]:
    """Each of these cells was executed, and none ended in an error."""
    problems = []
    for place in places:
        cell = notebook.cells[place]
        if cell.execution_count is None:
            problems.append(f"cell {place + 1} was not executed")
        problems += [f"cell {place + 1} ended in {o.ename}" for o in cell.outputs if o.output_type == "error"]
    return problems
