"""The directive `{chapter-map}`: the chapters of the book, drawn from the chapters themselves.

Order and lessons come from `_toc.yml`; the titles and the one-line summary are the chapter page's own: its heading,
the Chinese title below it (written `[...]{.zh}`), and the first sentence after that. Nothing is written twice.
"""

import re

from docutils import nodes
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode


class chapter_map(nodes.General, nodes.Element):
    """The place of the map, until all pages are read."""


class ChapterMap(SphinxDirective):
    """Put the map here."""

    def run(self) -> list[nodes.Node]:
        """Return the placeholder."""
        return [chapter_map()]


def is_chapter(env, page: str) -> bool:
    """Say whether the page's title is numbered."""
    return re.match(r"\d+\. ", env.titles[page].astext()) is not None


def chinese_title(doctree: nodes.document) -> str:
    """Return the Chinese title below the heading, if there is one."""
    first = next(doctree.findall(nodes.paragraph), nodes.paragraph())
    marked = [node for node in first.findall(nodes.inline) if "zh" in node["classes"]]
    return marked[0].astext() if marked else ""


def summary(doctree: nodes.document) -> str:
    """Return the first sentence below the titles: the first source line of the second paragraph."""
    paragraphs = list(doctree.findall(nodes.paragraph))
    return paragraphs[1].astext().splitlines()[0] if len(paragraphs) > 1 else ""


def _link(app, here: str, page: str, *children: nodes.Node) -> nodes.paragraph:
    return nodes.paragraph("", "", make_refnode(app.builder, here, page, None, list(children)))


def entry(app, here: str, page: str, doctree: nodes.document) -> nodes.list_item:
    """Return one chapter: its titles, its first sentence, and its lessons or the word that there are none yet."""
    lessons = app.env.toctree_includes.get(page, [])
    title = nodes.inline("", app.env.titles[page].astext(), classes=["lab-map-title"])
    chinese = nodes.inline("", chinese_title(doctree), classes=["zh", "language-zh-Hans"])
    body = [_link(app, here, page, title, nodes.Text(" "), chinese), nodes.paragraph("", summary(doctree))]
    if lessons:
        items = [_link(app, here, lesson, nodes.Text(app.env.titles[lesson].astext())) for lesson in lessons]
        body.append(nodes.bullet_list("", *[nodes.list_item("", item) for item in items]))
    else:
        body.append(nodes.paragraph("", "Not written yet", classes=["lab-map-later"]))
    return nodes.list_item("", *body, classes=["lab-map-ready" if lessons else "lab-map-empty"])


def draw(app, doctree, docname) -> None:
    """Replace each placeholder by the map."""
    for node in list(doctree.findall(chapter_map)):
        pages = [page for page in app.env.toctree_includes.get(app.config.root_doc, []) if is_chapter(app.env, page)]
        if not pages:
            raise ExtensionError(
                f"{docname}: chapter-map finds no chapter, a page with a title such as '1. Background'"
            )
        items = [entry(app, docname, page, app.env.get_doctree(page)) for page in pages]
        node.replace_self(nodes.bullet_list("", *items, classes=["lab-map"]))


def setup(app):
    """Register the directive."""
    app.add_node(chapter_map)
    app.add_directive("chapter-map", ChapterMap)
    app.connect("doctree-resolved", draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
