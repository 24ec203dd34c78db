"""Links to the glossary: in each chapter, the first use of each term leads to its explanation.

Nothing is marked in the sources, so lessons stay plain Markdown, and a new term is linked as soon as it is explained.
A chapter is its page and its lessons, in their order. Headings, code, formulas and links are left alone.
"""

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.util.nodes import make_refnode

LEFT_ALONE = (
    nodes.title, nodes.reference, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw,
    nodes.term, nodes.label, nodes.citation, addnodes.pending_xref, addnodes.desc, nodes.comment,
)  # fmt: skip


def terms(env) -> dict[str, tuple[str, str]]:
    """Return each term in its plain spelling, with the page and the anchor of its explanation."""
    objects = env.get_domain("std").objects
    chinese = str(env.config.language).startswith("zh")
    found = {plain(name): place for (kind, name), place in objects.items() if kind == "term"}
    return {name: place for name, place in found.items() if name.isascii() or chinese}


def plain(words: str) -> str:
    """Return words in lower case, with one spelling of -ise and hyphens as spaces."""
    return re.sub(r"iz(?=ation|ed?\b|ing\b)", "is", words.lower().replace("-", " "))


def pattern(names) -> re.Pattern:
    """Return a pattern that finds any of the terms, the longest that fits, in the singular or with an s."""
    words = [re.escape(name).replace(r"\ ", "[ -]").replace("isation", "i[sz]ation") for name in names]
    words = "|".join(sorted(words, key=len, reverse=True))
    return re.compile(rf"(?<![A-Za-z0-9_-])({words})(?:s?(?![A-Za-z0-9_-]))", re.IGNORECASE)


def readable(doctree: nodes.document) -> list[nodes.Text]:
    """Return the texts in which a term may be linked."""
    found = []
    for text in doctree.findall(nodes.Text):
        above = text.parent
        while above is not None and not isinstance(above, LEFT_ALONE):
            above = above.parent
        if above is None:
            found.append(text)
    return found


def plan(app, env) -> None:
    """Decide on which page of a chapter each term is used first."""
    places = terms(env)
    env.lab_terms = {}
    if not places:
        return
    find = pattern(places)
    for chapter in env.toctree_includes.get(app.config.root_doc, []):
        if not re.match(r"\d+\. ", env.titles[chapter].astext()):
            continue  # no chapter, but the glossary itself, the references, the library
        seen: set[str] = set()
        for page in [chapter, *env.toctree_includes.get(chapter, [])]:
            texts = readable(env.get_doctree(page))
            words = {plain(found[1]) for text in texts for found in find.finditer(str(text))}
            env.lab_terms[page] = words - seen
            seen |= words


def link(app, doctree, docname) -> None:
    """Turn the first use of each term that belongs to this page into a link."""
    wanted = set(getattr(app.env, "lab_terms", {}).get(docname, ()))
    if not wanted:
        return
    places = terms(app.env)
    find = pattern(places)
    for text in readable(doctree):
        parts, at = [], 0
        for found in find.finditer(str(text)):
            name = plain(found[1])
            if name not in wanted:
                continue
            wanted.discard(name)
            page, anchor = places[name]
            reference = make_refnode(app.builder, docname, page, anchor, nodes.Text(found[0]))
            reference["classes"] += ["lab-term"]
            parts += [nodes.Text(str(text)[at : found.start()]), reference]
            at = found.end()
        if parts:
            parts.append(nodes.Text(str(text)[at:]))
            text.parent.replace(text, [part for part in parts if part.astext()])


def setup(app) -> dict:
    """Connect the parts."""
    app.connect("env-check-consistency", plan)
    app.connect("doctree-resolved", link, priority=800)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
