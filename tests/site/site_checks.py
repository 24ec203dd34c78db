"""What must be true of a built site, as functions of what `visit.mjs` saw.

Each returns a list of faults, empty when all is well. A fault is one line that names the page and what is wrong
with it, so that a failed test can be read without opening a browser.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

WIDTHS = ("desktop", "phone")
THEMES = ("light", "dark")
FILE_NAME = re.compile(r"\.(png|jpe?g|svg|gif|webp)$", re.IGNORECASE)
SEVERE = {"serious", "critical"}


def views(report: dict):
    """Yield (page and width, what was seen) for every page at every width."""
    for path, page in report["pages"].items():
        for width in WIDTHS:
            yield f"{path} ({width})", page[width]


def loads(report: dict):
    """Yield every time a page was opened: at both widths over http, and as a file."""
    yield from views(report)
    for path, page in report["pages"].items():
        yield f"{path} (file)", page["file"]
    for way in ("http", "file"):
        if report["search"][way]:
            yield f"search ({way})", report["search"][way]


def third_parties(report: dict) -> list[str]:
    """Find each request for anything that is not part of the site."""
    return [f"{where} asks for {url}" for where, seen in loads(report) for url in seen["outside"]]


def console_errors(report: dict) -> list[str]:
    """Find each error that a script or the browser reports."""
    return [f"{where}: {error}" for where, seen in loads(report) for error in seen["errors"]]


def failed_requests(report: dict) -> list[str]:
    """Find each file of the site that a page asked for and did not get."""
    return [f"{where}: {url}" for where, seen in loads(report) for url in seen["failed"]]


def broken_links(report: dict, site: Path) -> list[str]:
    """Find each link inside the site whose file or anchor does not exist."""
    faults = []
    for path, page in report["pages"].items():
        for link in dict.fromkeys(page["desktop"]["links"]):
            if link.startswith(report["origin"]):
                faults += [f"{path} links to {missing}" for missing in _missing(report, site, link)]
    for path, target in report["redirects"].items():
        if not (site / Path(path).parent / target).is_file():
            faults.append(f"{path} leads to {target}, which does not exist")
    return faults


def _missing(report: dict, site: Path, link: str) -> list[str]:
    parts = urlsplit(link)
    path, anchor = unquote(parts.path).lstrip("/"), unquote(parts.fragment)
    path = f"{path}index.html" if path == "" or path.endswith("/") else path
    if not (site / path).is_file():
        return [f"{path}, which does not exist"]
    known = report["pages"].get(path)
    if anchor and known and anchor not in known["desktop"]["anchors"]:
        return [f"{path}#{anchor}, an anchor that does not exist"]
    return []


def bad_pictures(report: dict) -> list[str]:
    """Find each picture that does not load, has no alt text, or has a file name for it."""
    faults = []
    for where, seen in views(report):
        for image in seen["images"]:
            alt = (image["alt"] or "").strip()
            if not alt:
                faults.append(f"{where}: {image['source']} has no alt text")
            elif FILE_NAME.search(alt):
                faults.append(f"{where}: {image['source']} has a file name for alt text, {alt!r}")
    return faults


def barriers(report: dict) -> list[str]:
    """Find what axe calls serious or critical, in light and in dark, wide and narrow."""
    return [
        f"{where} ({theme}): {rule['help']} [{rule['id']}]: {rule['where'][:2]}"
        for where, seen in views(report)
        for theme in THEMES
        for rule in seen["axe"][theme]
        if rule["impact"] in SEVERE
    ]


def raw_mathematics(report: dict) -> list[str]:
    """Find formulas that are shown as their source, and places of a formula that KaTeX left empty."""
    faults = [f"{where} shows {text!r}" for where, seen in views(report) for text in seen["rawMath"]]
    for where, seen in views(report):
        if seen["formulas"] < seen["mathPlaces"]:
            faults.append(f"{where}: {seen['mathPlaces']} formulas, {seen['formulas']} of them typeset")
    return faults


def sideways(report: dict) -> list[str]:
    """Find pages that are wider than a phone."""
    return [
        f"{where} is {seen['scrollWidth']} pixels wide on {seen['width']}: {seen['wide']}"
        for where, seen in views(report)
        if seen["scrollWidth"] > seen["width"]
    ]


def poor_heads(report: dict) -> list[str]:
    """Find pages without a language, a title, one main heading, or a description (search results need none)."""
    faults = []
    for path, page in report["pages"].items():
        seen = page["desktop"]
        faults += [f"{path}: no {what}" for what in ("language", "title") if not seen[what]]
        if seen["headings"] < 1:
            faults.append(f"{path}: no main heading")
        if path != "search.html" and not 40 <= len(seen["description"]) <= 200:
            faults.append(f"{path}: a description of {len(seen['description'])} characters, not 40 to 200")
    return faults


def kilobytes(seen: dict) -> float:
    """Return what a page weighs on the wire without its figures, in thousands of bytes, the cache being empty."""
    return sum(size for url, size in seen["bytes"].items() if "/_images/" not in url) / 1000


def embedded(html: str) -> float:
    """Return what the sounds and films inside a page weigh on the wire, in thousands of bytes.

    Compression takes a quarter off their base64.
    """
    return 0.75 * sum(map(len, re.findall(r"data:(?:audio|image)/[a-z]+;base64,([A-Za-z0-9+/=]+)", html))) / 1000


def heavy(report: dict, budget: float, media: Mapping[str, float] | None = None) -> list[str]:
    """Find pages over the budget; `media` says for a page what its sounds and films weigh, which are figures too."""
    faults = []
    for where, seen in views(report):
        weight = kilobytes(seen) - (media or {}).get(where.rsplit(" (", 1)[0], 0.0)
        if weight > budget:
            faults.append(f"{where} weighs {weight:.0f} kB of {budget:.0f} without its figures")
    return faults


def colab_faults(report: dict, repository: str, branch: str) -> list[str]:
    """Find lessons without a visible link that opens this very notebook in Colab."""
    faults = []
    for path, page in report["pages"].items():
        if page["desktop"]["lesson"]:
            where = repository.removeprefix("https://github.com")
            notebook = path.removesuffix(".html") + ".ipynb"
            expected = f"https://colab.research.google.com/github{where}/blob/{branch}/{notebook}"
            faults += [
                f"{path} ({width}): expected {expected}, got {page[width]['colab']}"
                for width in WIDTHS
                if page[width]["colab"] != [expected]
            ]
    return faults


def download_faults(report: dict) -> list[str]:
    """Find lessons whose download link does not give their own notebook."""
    faults = []
    for path, file in report["downloads"].items():
        expected = Path(path).with_suffix(".ipynb").name
        if file["name"] != expected:
            faults.append(f"{path}: expected the file {expected}, got {file['name']}")
        elif "nbformat" not in json.loads(file["text"]):
            faults.append(f"{path}: {expected} is no notebook")
    return faults


def search_faults(report: dict, page: str) -> list[str]:
    """Find the ways of searching, served or from a folder or by hand on a phone, that do not find the page."""
    return [
        f"search ({way}) finds {(result or {}).get('found')}, not {page}"
        for way, result in report["search"].items()
        if not any(page in link for link in (result or {}).get("found", []))
    ]


def colour_faults(report: dict) -> list[str]:
    """Find what is wrong with the switch between light and dark."""
    if report["colourMode"] is None:
        return ["there is no switch"]
    states, reloaded = report["colourMode"]["states"], report["colourMode"]["reloaded"]
    modes = {state["mode"] for state in states if "mode" in state}
    backgrounds = {state["background"] for state in states}
    faults = [f"the mode {mode!r} is never reached" for mode in ("auto", "light", "dark") if mode not in modes]
    if states[0].get("mode") != "auto":
        faults.append(f"a first visit starts in {states[0].get('mode')!r}, not in 'auto'")
    if len(backgrounds) != 2:
        faults.append(f"light and dark have the backgrounds {sorted(backgrounds)}")
    if reloaded.get("theme") != "dark":
        faults.append(f"dark is forgotten: after loading again the theme is {reloaded.get('theme')!r}")
    return faults


def menu_faults(report: dict) -> list[str]:
    """Find what is wrong with the menu on a phone: closed at first, and open after one tap."""
    if report["menu"] is None:
        return ["there is no menu button"]
    before, after = report["menu"]["before"], report["menu"]["after"]
    return [f"{before} links before the tap and {after} after it"] if before > 0 or after < 8 else []
