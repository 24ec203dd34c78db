"""What is asked of every lesson: functions that take a notebook and return the problems they find.

`SOURCE` looks at the notebook as it is committed, `EXECUTED` at the notebook with the outputs its page shows.
"""

import re
from collections import Counter
from collections.abc import Iterator

import nbformat

from bigmodel_lab.course import INSTALL_TAGS, install_cell
from tests.notebooks.tidy import keeps_output, tidy_text

Notebook = nbformat.NotebookNode

MAX_RUN, MAX_LINES, MAX_WIDTH = 2, 25, 120
HIDDEN = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
SECTIONS = ("Objectives", "Exercises", "What we learned", "References")
ASSERTS = re.compile(r"^\s*(?:assert\b|(?:lab\.)?check\.\w+\()", re.MULTILINE)
MACHINE_PATH = re.compile(r"(?<![\w.:/~])/(?:home|root|tmp|Users|mnt|work|opt|private)/")
REGISTRY = re.compile(
    r"pypi[.]org|pythonhosted[.]org|download[.]pytorch[.]org|npmjs[.](?:org|com)|conda[.]anaconda[.]org"
)
ADDRESS_OF_OBJECT = re.compile(r" at 0x[0-9a-f]{6,}>")
PICTURES = ("image/png", "image/svg+xml", "image/jpeg")


def code_cells(notebook: Notebook) -> list[tuple[int, Notebook]]:
    """Each code cell with its number among all cells, counted from 1 as an editor shows them."""
    return [(n, cell) for n, cell in enumerate(notebook.cells, 1) if cell.cell_type == "code"]


def tags(cell: Notebook) -> set[str]:
    return set(cell.metadata.get("tags", []))


# ---- the source ------------------------------------------------------------------------------------------------------


def valid(notebook: Notebook) -> list[str]:
    """nbformat 4.5 with an id of its own for each cell, and the kernel that every machine has."""
    problems = []
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        problems.append(f"format is {notebook.nbformat}.{notebook.nbformat_minor}, not 4.5")
    ids = Counter(cell.get("id") for cell in notebook.cells)
    problems += [f"cell id {one!r} is used {count} times" for one, count in ids.items() if count > 1 or one is None]
    kernel = notebook.metadata.get("kernelspec", {}).get("name")
    if kernel != "python3":
        problems.append(f"kernel is {kernel!r}, not 'python3'")
    return problems or _schema(notebook)


def _schema(notebook: Notebook) -> list[str]:
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        return [f"not a valid notebook: {str(error).splitlines()[0]}"]
    return []


def stripped(notebook: Notebook) -> list[str]:
    """No outputs and no counts, except where nbval compares them."""
    problems = []
    for n, cell in code_cells(notebook):
        if keeps_output(cell):
            if not cell.outputs:
                problems.append(f"cell {n}: asks nbval to compare its output, but has none")
        elif cell.outputs or cell.execution_count is not None:
            problems.append(f"cell {n}: has an output or an execution count; try: make strip")
    return problems


def written_as_tidied(text: str) -> list[str]:
    """The file's text is what `make strip` writes (the one check that takes a text)."""
    return [] if tidy_text(text) == text else ["not in its committed form; try: make strip"]


def installs_first(notebook: Notebook, url: str) -> list[str]:
    """The first code cell installs the library from the course's repository, and nothing but Colab runs it."""
    first = next((cell for _, cell in code_cells(notebook)), None)
    if first is None or first.source != install_cell(url):
        return [f"the first code cell is not bigmodel_lab.course.install_cell({url!r})"]
    missing = [tag for tag in INSTALL_TAGS if tag not in tags(first)]
    return [f"the install cell lacks the tags {missing}"] if missing else []


def asserts_something(notebook: Notebook) -> list[str]:
    """A lesson's claims are tested: at least one assert or check."""
    if any(ASSERTS.search(cell.source) for _, cell in code_cells(notebook)):
        return []
    return ["no assert and no check in any cell"]


def has_sections(notebook: Notebook) -> list[str]:
    """One title, and the sections that every lesson has."""
    titles, sections = [], []
    for line in _prose_lines(notebook):
        if heading := re.match(r"(#+)\s+(.*)", line):
            (titles if len(heading[1]) == 1 else sections).append(heading[2].strip())
    problems = [] if len(titles) == 1 else [f"{len(titles)} titles (lines with one #), not 1"]
    for name in SECTIONS:
        if not any(name.lower() in section.lower() for section in sections):
            problems.append(f"no section {name!r}")
    return problems


def _prose_lines(notebook: Notebook) -> Iterator[str]:
    """Lines of text cells, fenced blocks left out."""
    for cell in notebook.cells:
        fence = ""
        for line in cell.source.splitlines() if cell.cell_type == "markdown" else []:
            mark = re.match(r"\s*(`{3,}|~{3,}|:{3,})", line)
            if mark and not fence:
                fence = mark[1]
            elif fence and line.strip() == fence:
                fence = ""
            elif not fence:
                yield line


def has_rhythm(notebook: Notebook) -> list[str]:
    """Prose between code, and no code cell that fills a screen unless it is folded."""
    problems, run = [], 0
    for n, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "markdown":
            run = 0
        elif "remove-cell" not in tags(cell):
            run += 1
            lines = [line for line in cell.source.splitlines() if line.strip()]
            if run > MAX_RUN:
                problems.append(f"cell {n}: code cell number {run} in a row, allowed are {MAX_RUN}")
            if len(lines) > MAX_LINES and not HIDDEN & tags(cell):
                problems.append(f"cell {n}: {len(lines)} lines, allowed are {MAX_LINES} unless folded (hide-input)")
            if not lines:
                problems.append(f"cell {n}: an empty code cell")
            for line in lines:
                if len(line) > MAX_WIDTH:
                    problems.append(f"cell {n}: a line of {len(line)} characters, allowed are {MAX_WIDTH}")
    return problems


def names_no_machine(notebook: Notebook) -> list[str]:
    """No path of one machine, no package registry: a lesson runs anywhere."""
    problems = []
    for n, cell in enumerate(notebook.cells, 1):
        if found := MACHINE_PATH.search(cell.source):
            problems.append(f"cell {n}: names a path of one machine, {found[0]}…")
        if found := REGISTRY.search(cell.source):
            problems.append(f"cell {n}: names a package registry, {found[0]}")
    return problems


SOURCE = (valid, stripped, asserts_something, has_sections, has_rhythm, names_no_machine)


# ---- as executed -----------------------------------------------------------------------------------------------------


def ran_whole(notebook: Notebook) -> list[str]:
    """Every cell that is to run did, and only a cell that says so raised."""
    problems = []
    for n, cell in code_cells(notebook):
        ran, skipped = cell.execution_count is not None, bool({"skip-execution", "nbval-skip"} & tags(cell))
        if ran == skipped:
            problems.append(f"cell {n}: {'ran, though it is to be skipped' if ran else 'did not run'}")
        raised = [o.ename for o in cell.outputs if o.output_type == "error"]
        if raised and "raises-exception" not in tags(cell):
            problems.append(f"cell {n}: raised {raised[0]}")
        if "raises-exception" in tags(cell) and not raised:
            problems.append(f"cell {n}: is tagged raises-exception and raised nothing")
    return problems


def warns_not(notebook: Notebook) -> list[str]:
    """Nothing on the error stream reads like a warning or a traceback."""
    problems = []
    for n, cell in code_cells(notebook):
        for output in cell.outputs:
            if output.get("name") == "stderr" and (found := re.search(r".*(?:Warning\b|Traceback).*", output.text)):
                problems.append(f"cell {n}: {found[0].strip()[:160]}")
    return problems


def draws(notebook: Notebook) -> list[str]:
    """At least one picture."""
    return [] if any(_pictures(cell) for _, cell in code_cells(notebook)) else ["draws no figure"]


def describes_figures(notebook: Notebook) -> list[str]:
    """Each cell that draws says in words what is to be seen: metadata `mystnb: {image: {alt: …}}`."""
    problems = []
    for n, cell in code_cells(notebook):
        if _pictures(cell) and not {"remove-cell", "remove-output"} & tags(cell):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            if len(alt.split()) < 3 or alt.endswith(".png"):
                problems.append(f"cell {n}: draws a figure without alt text (metadata mystnb.image.alt is {alt!r})")
    return problems


def prints_no_debris(notebook: Notebook) -> list[str]:
    """No addresses of objects, no paths of this machine on the page."""
    problems = []
    for n, cell in code_cells(notebook):
        for output in cell.outputs:
            shown = output.get("text") or "\n".join(output.get("traceback", []))
            if not _pictures(cell):
                shown += str(output.get("data", {}).get("text/plain", ""))
            if found := ADDRESS_OF_OBJECT.search(shown):
                problems.append(f"cell {n}: shows the address of an object,{found[0]}; end the line with a semicolon")
            if found := MACHINE_PATH.search(shown):
                problems.append(f"cell {n}: shows a path of this machine, {found[0]}…")
    return problems


def _pictures(cell: Notebook) -> list[str]:
    return [kind for output in cell.outputs for kind in output.get("data", {}) if kind in PICTURES]


EXECUTED = (ran_whole, warns_not, draws, describes_figures, prints_no_debris)


# ---- the course as a whole -------------------------------------------------------------------------------------------


def toc_files(toc) -> Iterator[str]:
    """Every file that a table of contents names, at any depth."""
    if isinstance(toc, dict):
        for key, value in toc.items():
            if key in ("file", "root"):
                yield value.removesuffix(".ipynb")
            else:
                yield from toc_files(value)
    elif isinstance(toc, list):
        for value in toc:
            yield from toc_files(value)


def toc_agrees(toc: dict, lessons: list[str]) -> list[str]:
    """Each lesson (`notebooks/NAME`) is in the table of contents, and each one named there exists."""
    named = Counter(file for file in toc_files(toc) if file.startswith("notebooks/"))
    problems = [f"{one} is not in _toc.yml" for one in lessons if one not in named]
    problems += [f"_toc.yml names {one}, which is no file" for one in named if one not in lessons]
    return problems + [f"_toc.yml names {one} {count} times" for one, count in named.items() if count > 1]


def cost_fits(record: dict, warn: float, limit: float) -> list[str]:
    """A run that took no time did not happen; one that takes more than `limit` CPU-seconds is too long for a lesson."""
    problems = []
    if record["cells"] == 0 or record["seconds"] < 0.5:
        problems.append(f"ran {record['cells']} cells in {record['seconds']} s: it cannot have run")
    if record["cpu_seconds"] > limit:
        problems.append(f"took {record['cpu_seconds']:.0f} CPU-seconds; aim for {warn}, allowed are {limit}")
    return problems
