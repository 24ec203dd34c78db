"""What each page carries besides its text: description, lesson links, alt text, language marks.

- `<meta name="description">`: the page's own (`myst: html_meta:`) or else its first real paragraph.
- A lesson (a notebook) starts with visible links: open it in Colab, download it. Both come from `_config.yml`.
- A picture without alt text, or whose alt text is a file name, is a warning, and a warning fails the build.
- Chinese words are marked as Chinese for browsers and screen readers.
- Nothing is loaded that the page does not use (thebe), and the search index only where one searches.
"""

import html
import re
from pathlib import PurePosixPath

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
CHINESE = re.compile(r"[\u3400-\u9fff]")
FILE_NAME = re.compile(r"\.(png|jpe?g|svg|gif|webp)$", re.IGNORECASE)
ICONS = {
    "open": '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M5 3.2v9.6L12.6 8z"/></svg>',
    "save": '<svg viewBox="0 0 16 16" aria-hidden="true"><path d="M7 2h2v6h3L8 12 4 8h3zM3 13h10v1.6H3z"/></svg>',
}


def description(doctree: nodes.document, limit: int = 155) -> str:
    """Return the first paragraph that says something, cut at a word."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        skipped = isinstance(paragraph.parent, nodes.caption | nodes.entry | nodes.list_item) or CHINESE.search(text)
        if len(text) > 40 and not skipped:
            return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0].rstrip(",;:") + "…"
    return ""


def lesson_links(repository: str, branch: str, colab: str, page: str, up: str) -> str:
    """Return the row of links at the top of a lesson."""
    where = repository.removeprefix("https://github.com")
    opened = f"{colab}/github{where}/blob/{branch}/{page}.ipynb"
    name = PurePosixPath(page).name + ".ipynb"
    return (
        '\n<nav class="lab-lesson" aria-label="This lesson as a notebook">'
        f'<a class="lab-colab" href="{html.escape(opened)}">{ICONS["open"]}Open in Colab</a>'
        f'<a class="lab-download" href="{up}_sources/{page}.ipynb" download="{name}">'
        f"{ICONS['save']}Download notebook</a>"
        "</nav>\n"
    )


def is_lesson(app, pagename: str) -> bool:
    """Say whether the page is a notebook."""
    return pagename in app.env.found_docs and app.env.doc2path(pagename).endswith(".ipynb")


def complete(app, pagename, templatename, context, doctree) -> None:
    """Add the description and the lesson links, and drop scripts that nothing uses."""
    if doctree is not None and 'name="description"' not in (context.get("metatags") or ""):
        text = description(doctree)
        if text:
            meta = f'\n<meta name="description" content="{html.escape(text)}" />'
            context["metatags"] = (context.get("metatags") or "") + meta
    if pagename == app.config.root_doc:
        context["title"] = "Large AI models, one measurement at a time"  # its heading is the book's name already
    if is_lesson(app, pagename):
        options = app.config.html_theme_options
        links = lesson_links(
            options["repository_url"], options["repository_branch"], options["launch_buttons"]["colab_url"],
            pagename, context["content_root"],
        )  # fmt: skip
        context["body"] = context["body"].replace("</h1>", "</h1>" + links, 1)
    for group in context.get("header_buttons", []):
        for button in group.get("buttons", []):
            if "logo_colab" in str(button.get("icon")):
                button["icon"] = "fas fa-rocket"  # a picture of 7 kB, for one more link to Colab
    for kind in ("script_files", "css_files"):
        context[kind] = [asset for asset in context[kind] if "thebe" not in _source(asset)]


def _source(asset) -> str:
    """Return what an asset loads or runs, in lower case."""
    body = getattr(asset, "attributes", {}).get("body") or ""
    return f"{getattr(asset, 'filename', asset)} {body}".lower()


def check_alt_texts(app, doctree, docname) -> None:
    """Warn about each picture that a blind reader would not be told about."""
    if app.builder.format != "html":
        return
    for image in doctree.findall(nodes.image):
        alt = (image.get("alt") or "").strip()
        if not alt or FILE_NAME.search(alt):
            said = f"its alt text is a file name, {alt!r}" if alt else "it has no alt text"
            LOGGER.warning(
                "picture %s: %s. In a notebook, give the cell the metadata"
                ' {"mystnb": {"image": {"alt": "what the picture shows"}}}',
                image.get("uri"), said, location=image if image.line else docname, type="lab", subtype="alt",
            )  # fmt: skip


class MarkChinese(SphinxTransform):
    """Give Chinese terms and the Chinese titles of chapters the language they are in (docutils writes `lang=`)."""

    default_priority = 800

    def apply(self, **kwargs) -> None:
        """Mark every term and every `zh` span that is in Chinese."""
        if str(self.config.language).startswith("zh"):
            return
        for node in self.document.findall(lambda n: isinstance(n, nodes.term | nodes.inline)):
            named = isinstance(node, nodes.term) or "zh" in node["classes"]
            if named and CHINESE.search(node.astext()) and not isinstance(node, addnodes.pending_xref):
                node["classes"] += ["zh", "language-zh-Hans"]


def setup(app):
    """Connect the parts."""
    app.add_transform(MarkChinese)
    app.connect("doctree-resolved", check_alt_texts, priority=900)
    app.connect("html-page-context", complete, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
