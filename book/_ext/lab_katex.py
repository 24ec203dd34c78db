"""Typeset every formula while the book is built, with KaTeX run inside Python.

The reader's browser gets plain HTML and MathML: no script, no request. A formula that KaTeX cannot read
stops the build and names the page. KaTeX is vendored in `book/_vendor/katex` (MIT, from the npm package `katex`);
it runs in `quickjs`. Sphinx's own rules are kept: blank lines separate rows, and `\\\\` alone is enough to align.
"""

import re
import shutil
from functools import lru_cache
from pathlib import Path

import quickjs
from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.errors import ExtensionError
from sphinx.transforms import SphinxTransform
from sphinx.util.math import get_node_equation_number

KATEX = Path(__file__).parents[1] / "_vendor" / "katex"
STYLE = "katex/katex.css"
# KaTeX numbers the unstarred environments itself; here Sphinx does the numbering.
NUMBERED = re.compile(r"\\(begin|end)\{(equation|align|alignat|gather)\}")
EQREF = re.compile(r"\\eqref\{([^{}]+)\}")


@lru_cache(maxsize=1)
def _katex():
    """Return KaTeX's `renderToString` as a Python function."""
    context = quickjs.Context()
    context.eval((KATEX / "katex.min.js").read_text("utf-8"))
    return context.eval("(tex, displayMode) => katex.renderToString(tex, {displayMode, strict: 'ignore'})")


@lru_cache(maxsize=8192)
def typeset(tex: str, display: bool) -> str:
    """Return the HTML of one formula; raise `ValueError` with KaTeX's reason where it has none."""
    if found := re.search(r"\\(label|ref|eqref)\b", tex):
        raise ValueError(f"{found[0]} does not work inside a formula: write $$ ... $$ (name), and {{eq}}`name`")
    try:
        return _katex()(tex, display)
    except quickjs.JSException as error:
        raise ValueError(str(error).splitlines()[0]) from error


def displayed(tex: str, nowrap: bool) -> str:
    """Wrap a displayed formula as Sphinx does for LaTeX: rows at blank lines, `split` where it says `\\\\`."""
    if nowrap:
        return NUMBERED.sub(r"\\\1{\2*}", tex)
    rows = [row.strip() for row in re.split(r"\n\s*\n", tex) if row.strip()]
    rows = [rf"\begin{{split}}{row}\end{{split}}" if r"\\" in row else row for row in rows]
    return rows[0] if len(rows) == 1 else r"\begin{gathered}" + r"\\".join(rows) + r"\end{gathered}"


def _html(writer, node: nodes.Node, tex: str, display: bool) -> str:
    try:
        return typeset(tex, display)
    except ValueError as error:
        page = writer.builder.current_docname
        raise ExtensionError(f"{page}: cannot typeset {node.astext()!r}\n{error}") from error


def visit_inline(writer, node: nodes.math) -> None:
    """Write an inline formula."""
    writer.body.append(writer.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    writer.body.append(_html(writer, node, node.astext(), False) + "</span>")
    raise nodes.SkipNode


def visit_block(writer, node: nodes.math_block) -> None:
    """Write a displayed formula, with its number and a link to it."""
    writer.body.append(writer.starttag(node, "div", CLASS="math notranslate nohighlight"))
    tex = displayed(node.astext(), node.get("nowrap", False))
    writer.body.append(_html(writer, node, tex, True))
    if node["number"]:
        writer.body.append(f'<span class="eqno">({get_node_equation_number(writer, node)})')
        writer.add_permalink_ref(node, "Link to this equation")
        writer.body.append("</span>")
    writer.body.append("</div>")
    raise nodes.SkipNode


class EquationReferences(SphinxTransform):
    r"""Read `$\eqref{name}$` as the role {eq}`name`: both forms of a reference to an equation work."""

    default_priority = 20

    def apply(self, **kwargs) -> None:
        """Replace each formula that is nothing but a reference."""
        for node in list(self.document.findall(nodes.math)):
            if found := EQREF.fullmatch(node.astext().strip()):
                reference = pending_xref(
                    node.rawsource, nodes.inline("", found[1]), refdoc=self.env.docname, refdomain="math",
                    reftype="eq", reftarget=found[1], refexplicit=False, refwarn=True,
                )  # fmt: skip
                reference.source, reference.line = node.source or self.document["source"], node.line
                node.replace_self(reference)


def link_style(app, pagename, templatename, context, doctree) -> None:
    """Load KaTeX's style on the pages that show a formula, and on no other."""
    if 'class="katex' in context.get("body", ""):
        app.add_css_file(STYLE)


def copy_style(app, error) -> None:
    """Put KaTeX's style and its woff2 fonts beside the pages; older font formats are left out of the style."""
    if error or app.builder.format != "html":
        return
    target = Path(app.outdir, "_static", STYLE)
    shutil.copytree(KATEX / "fonts", target.parent / "fonts", dirs_exist_ok=True)
    css = (KATEX / "katex.min.css").read_text("utf-8")
    target.write_text(re.sub(r',url\([^)]*\.(?:woff|ttf)\) format\("[a-z]+"\)', "", css), "utf-8")


def setup(app):
    """Register the renderer called `katex`."""
    app.add_html_math_renderer("katex", (visit_inline, None), (visit_block, None))
    app.add_transform(EquationReferences)
    app.connect("html-page-context", link_style)
    app.connect("build-finished", copy_style, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
