"""Make the built pages small and complete in themselves, after Sphinx has written them.

Measured on the theme as it comes: 950 kB a page, most of it icons nobody sees. What is done here:
unused files go (`fontawesome.js`, thebe, source maps), icon rules and icon fonts keep only the icons in use,
styles lose comments (licences stay) and indentation,
controls without a name get one, and the site's root gets a proper page that leads to the book.
A replacement that finds nothing is an error: the theme has changed, and this file must be looked at.
"""

import io
import logging
import re
import shutil
from pathlib import Path

from fontTools import subset
from fontTools.ttLib import TTFont
from sphinx.errors import ExtensionError

UNUSED = ("*.map", "*.html", "fontawesome.js*", "sphinx-thebe.*", "fa-*.ttf", "logo_*")
UNUSED_FOLDERS = ("locales",)
KEPT = ("logo_colab.png",)
ICON_RULE = re.compile(r'((?:\.fa-[\w-]+:{1,2}before,?)+)\{content:"[^"]+"\}')
ICON_NAME = re.compile(r"\bfa-[a-z0-9-]+")
COMMENT = re.compile(r"/\*(?!!).*?\*/", re.DOTALL)  # of a style; /*! holds a licence
PRIVATE_USE = re.compile(r"[\ue000-\uf8ff]|\\([ef][0-9a-f]{3})\b", re.IGNORECASE)
# What readers, and screen readers, stumble over, as the theme writes it, and what it becomes.
ON_EVERY_PAGE = {
    '<summary><span class="toctree-toggle"': '<summary aria-label="Show lessons"><span class="toctree-toggle"',
    '__start sidebar-primary__section">': '__start sidebar-primary__section" role="navigation" aria-label="Book">',
    'search-button-field search-button__button pst-js-only" title="Search" aria-label="Search"': (
        'search-button-field search-button__button pst-js-only" title="Search"'
    ),
}
ON_SOME_PAGES = {
    "Show code cell source": "Show the code",
    "Hide code cell source": "Hide the code",
    "Show code cell content": "Show the solution",  # only solutions are folded whole
    "Hide code cell content": "Hide the solution",
    '<summary aria-label="Toggle hidden content">': "<summary>",
    '<div role="list" class="citation-list">': '<div class="citation-list">',
    ' role="doc-biblioentry"': "",
    ' role="doc-backlink"': "",
}
ROOT_PAGE = """<!DOCTYPE html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="description" content="{title}: the start page leads to the book.">
<meta http-equiv="refresh" content="0; url={first}">
<link rel="icon" href="_static/{icon}" type="image/svg+xml">
<title>{title}</title>
</head>
<body><main><h1>{title}</h1><p><a href="{first}">Open the book</a></p></main></body>
</html>
"""


def pages(out: Path) -> list[Path]:
    """Return the HTML pages of the book."""
    return [page for page in sorted(out.rglob("*.html")) if not {"_static", "_sources"} & set(page.parts)]


def name_controls(out: Path) -> None:
    """Give each control a name that can be read aloud, and drop roles that no longer exist."""
    unseen = set(ON_EVERY_PAGE)
    for page in pages(out):
        before = after = page.read_text("utf-8")
        for old, new in (ON_EVERY_PAGE | ON_SOME_PAGES).items():
            if old in after or new in after:
                unseen.discard(old)
            if new not in after or len(new) < len(old):
                after = after.replace(old, new)
        if after != before:
            page.write_text(after, "utf-8")
    if unseen:
        raise ExtensionError(f"the theme no longer writes {sorted(unseen)}: look at ON_EVERY_PAGE in lab_slim")


def slim_icons(out: Path) -> None:
    """Keep the rules and the glyphs of the icons that some page or script shows."""
    static = out / "_static"
    texts = [file.read_text("utf-8") for file in [*pages(out), *static.rglob("*.js")]]
    used = set(ICON_NAME.findall("\n".join(texts)))
    style = static / "styles" / "pydata-sphinx-theme.css"
    css, count = ICON_RULE.subn(
        lambda rule: rule[0] if used & set(ICON_NAME.findall(rule[1])) else "", style.read_text("utf-8")
    )
    if not count:
        raise ExtensionError("the theme's style has no icon rules: look at lab_slim.ICON_RULE")
    css = re.sub(r',url\([^)]*\.ttf\) format\("truetype"\)', "", css)
    style.write_text(css, "utf-8")
    shown = [*texts, *(file.read_text("utf-8") for file in static.rglob("*.css"))]
    glyphs = {int(m[1], 16) if m[1] else ord(m[0]) for text in shown for m in PRIVATE_USE.finditer(text)}
    for font in sorted(static.rglob("vendor/fontawesome/webfonts/*.woff2")):
        font.write_bytes(subset_font(font.read_bytes(), glyphs))


def slim_styles(out: Path) -> None:
    """Drop comments, indentation and empty lines from every style sheet."""
    for style in (out / "_static").rglob("*.css"):
        lines = map(str.strip, COMMENT.sub("", style.read_text("utf-8")).splitlines())
        style.write_text("\n".join(filter(None, lines)) + "\n", "utf-8")


def subset_font(data: bytes, glyphs: set[int]) -> bytes:
    """Return the woff2 font with only the given characters."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it reports each table of each font
    font = TTFont(io.BytesIO(data))
    options = subset.Options(flavor="woff2", hinting=False, notdef_outline=True)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=glyphs)
    cutter.subset(font)
    font.flavor = "woff2"
    result = io.BytesIO()
    font.save(result)
    return result.getvalue()


def finish(app, error) -> None:
    """Run all steps on the finished site."""
    if error or app.builder.name != "html":
        return
    out = Path(app.outdir)
    for pattern in UNUSED:
        for file in (out / "_static").rglob(pattern):
            if file.name not in KEPT:
                file.unlink()
    for folder in UNUSED_FOLDERS:
        shutil.rmtree(out / "_static" / folder, ignore_errors=True)
    name_controls(out)
    slim_icons(out)
    slim_styles(out)
    first = app.builder.get_target_uri(app.config.root_doc)
    if first != "index.html":
        icon = Path(app.config.html_favicon).name
        text = ROOT_PAGE.format(language=app.config.language, title=app.config.html_title, first=first, icon=icon)
        (out / "index.html").write_text(text, "utf-8")


def setup(app):
    """Run after every other step of the build."""
    app.connect("build-finished", finish, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
