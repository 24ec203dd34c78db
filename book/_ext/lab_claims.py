"""The directive `{claims}`: what the article says, the verdict, and what shows it, from `book/claims.yml`.

- `{claims}` draws all of it: the count, one square a claim, a choice of verdict, and every claim as a card.
- `:only: C15 C21` draws these; `:as: table` draws them as rows of a table.
- A cell of a lesson that is tagged `claim-C30` gets the anchor `claim-c30`, the second `claim-c30-2`, and so on,
  so that a claim leads to the cell that decides it.
"""

import re
from pathlib import Path

import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

FILE = Path(__file__).parents[1] / "claims.yml"
VERDICTS = {"holds": ("holds", "✓"), "care": ("needs care", "~"), "wrong": ("wrong", "✗")}


def read(file: Path) -> list[dict]:
    """Return the claims in their order."""
    return yaml.safe_load(Path(file).read_text(encoding="utf-8"))


def anchor(claim: str, cell: int = 1) -> str:
    """Return the anchor of the n-th cell that is tagged with a claim."""
    return f"claim-{claim.lower()}" + ("" if cell == 1 else f"-{cell}")


def number(lesson: str) -> str:
    """Return a lesson's number as its title writes it: `05_3b_…` -> 5.3b."""
    chapter, section = lesson.split("_")[:2]
    return f"{int(chapter)}.{section}"


class Claims(SphinxDirective):
    """Draw the ledger, or some of it."""

    has_content = False
    option_spec = {  # noqa: RUF012 - docutils' way
        "only": directives.unchanged_required,
        "as": lambda value: directives.choice(value, ("cards", "table")),
    }

    def run(self) -> list[nodes.Node]:
        """Return the nodes."""
        self.env.note_dependency(self.config.lab_claims_file)
        claims = read(self.config.lab_claims_file)
        if "only" not in self.options:
            shown = [self.head(claims), self.choice()]
            return [nodes.container("", *shown, *map(self.card, claims), classes=["lab-claims"])]
        known = {claim["id"]: claim for claim in claims}
        wanted = self.options["only"].split()
        if missing := [name for name in wanted if name not in known]:
            raise self.error(f"claims: expected ids that the file of claims has, got {', '.join(missing)}")
        chosen = [known[name] for name in wanted]
        if self.options.get("as") == "table":
            return [self.table(chosen)]
        return [nodes.container("", *map(self.card, chosen), classes=["lab-claims"])]

    # ---- parts ----

    def head(self, claims: list[dict]) -> nodes.container:
        """Return the counts, and one square a claim."""
        counts = []
        for verdict, (word, sign) in VERDICTS.items():
            found = [claim for claim in claims if claim["verdict"] == verdict]
            figure = nodes.inline("", str(len(found)), classes=["lab-count"])
            line = nodes.paragraph("", "", figure, nodes.Text(f" {sign} {word}"))
            counts.append(nodes.container("", line, classes=["lab-tally", f"lab-{verdict}"]))
        squares = nodes.paragraph(classes=["lab-squares"])
        for claim in claims:
            word, sign = VERDICTS[claim["verdict"]]
            square = nodes.reference("", "", internal=True, refuri=f"#{claim['id'].lower()}")
            square += nodes.inline("", f"{claim['id']} {sign}", classes=[f"lab-{claim['verdict']}"])
            squares += [square, nodes.Text(" ")]
        return nodes.container(
            "", nodes.container("", *counts, classes=["lab-tallies"]), squares, classes=["lab-score"]
        )

    def choice(self) -> nodes.raw:
        """Return the choice of verdict: radio buttons that the style sheet reads, without a script."""
        options = [("all", "all")] + [(verdict, word) for verdict, (word, _) in VERDICTS.items()]
        buttons = "".join(
            f'<label><input type="radio" name="lab-verdict" value="{value}"{" checked" if value == "all" else ""}>'
            f"<span>{word}</span></label>"
            for value, word in options
        )
        html = f'<fieldset class="lab-choice"><legend>Show the claims that are</legend>{buttons}</fieldset>'
        return nodes.raw("", html, format="html")

    def card(self, claim: dict) -> nodes.container:
        """Return one claim as a card."""
        word, sign = VERDICTS[claim["verdict"]]
        badge = nodes.inline("", f"{sign} {word}", classes=[f"lab-{claim['verdict']}", "lab-badge"])
        top = nodes.paragraph(
            "", "", nodes.strong("", claim["id"]), nodes.Text(f" · section {claim['section']} "), badge
        )
        chinese = bool(re.search(r"[\u4e00-\u9fff]", claim["says"]))
        classes = ["zh", "language-zh-Hans"] if chinese else []
        quote = nodes.block_quote("", nodes.paragraph("", "", nodes.inline("", claim["says"], classes=classes)))
        parts = [top, quote]
        if "means" in claim:
            parts.append(nodes.paragraph("", claim["means"], classes=["lab-means"]))
        found = nodes.container(classes=["lab-found"])
        self.parse(claim["found"], found)
        parts += [found, *self.picture(claim), *self.evidence(claim)]
        name = claim["id"].lower()
        return nodes.container("", *parts, ids=[name], names=[name], classes=["lab-card", f"lab-is-{claim['verdict']}"])

    def picture(self, claim: dict) -> list[nodes.Node]:
        """Return the figure that a lesson kept for the claim, if there is one."""
        if "picture" not in claim:
            return []
        shown = claim["picture"]
        box = nodes.container()
        lines = [f":doc: ../notebooks/{shown['lesson']}.ipynb", f":alt: {shown['alt']}"]
        self.parse("\n".join([f"```{{lesson-figure}} {shown['name']}", *lines, "```"]), box)
        return box.children

    def evidence(self, claim: dict, most: int = 99) -> list[nodes.Node]:
        """Return the line of links to cells, at most so many of a lesson, and of what is cited."""
        line = nodes.paragraph(classes=["lab-evidence"])
        for lesson, cells in claim.get("evidence", {}).items():
            for place, cell in enumerate(cells[:most]):
                if line.children:
                    line += nodes.Text(" · ")
                text = f"see the cell in lesson {number(lesson)}" if not line.children else (
                    f"lesson {number(lesson)}" if place == 0 else f"cell {place + 1}"
                )  # fmt: skip
                line += self.link(lesson, anchor(claim["id"], cell), text)
        if sources := claim.get("sources"):
            cited = nodes.container()
            self.parse("{cite:p}`" + ",".join(sources) + "`", cited)
            line += nodes.Text(" " if line.children else "")
            line += cited[0].children
        return [line]

    def table(self, claims: list[dict]) -> nodes.table:
        """Return the claims as rows: what is said, the verdict, what shows it."""
        group = nodes.tgroup("", *[nodes.colspec(colwidth=width) for width in (36, 12, 52)], cols=3)
        titles = [
            nodes.entry("", nodes.paragraph("", text)) for text in ("The article says", "Verdict", "What shows it")
        ]
        group += nodes.thead("", nodes.row("", *titles))
        body = nodes.tbody()
        for claim in claims:
            badge = nodes.inline("", VERDICTS[claim["verdict"]][0], classes=[f"lab-{claim['verdict']}"])
            found = nodes.entry()
            self.parse(claim["found"], found)
            found += self.evidence(claim, most=1)
            said = nodes.entry("", nodes.paragraph("", claim["means"] if "means" in claim else claim["says"]))
            body += nodes.row("", said, nodes.entry("", nodes.paragraph("", "", badge)), found)
        group += body
        return nodes.table("", group, classes=["lab-claims-table"])

    def parse(self, text: str, into: nodes.Element) -> None:
        """Parse Markdown from the file of claims."""
        self.state.nested_parse(StringList(text.splitlines(), source=self.config.lab_claims_file), 0, into)

    def link(self, lesson: str, place: str, text: str) -> nodes.reference:
        """Return a link to a cell."""
        page = self.env.app.builder.get_relative_uri(self.env.docname, f"notebooks/{lesson}")
        return nodes.reference("", text, internal=True, refuri=f"{page}#{place}")


def mark_cells(app, doctree: nodes.document) -> None:
    """Give each cell that is evidence its anchor."""
    count: dict[str, int] = {}
    for cell in doctree.findall(nodes.container):
        if "cell" not in cell["classes"]:
            continue
        for name in cell["classes"]:
            if found := re.fullmatch(r"tag_claim-(\w+)", name):
                count[found[1]] = count.get(found[1], 0) + 1
                cell["ids"].append(anchor(found[1], count[found[1]]))


def setup(app) -> dict:
    """Register with Sphinx."""
    app.add_config_value("lab_claims_file", str(FILE), "env")
    app.add_directive("claims", Claims)
    app.connect("doctree-read", mark_cells)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
