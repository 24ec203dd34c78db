"""One address, written in many places: `_config.yml` names the repository, each lesson installs the library from it.

Launch buttons and source links are built from `_config.yml`; the first code cell of a lesson and links to Colab in
its text have to spell the address out, because Colab sees the notebook alone.
"""

import json
import os
import re
from pathlib import Path

from bigmodel_lab.errors import InputError

INSTALL_TAGS = ["remove-cell", "skip-execution", "nbval-skip"]
"""Tags of the install cell: not on the page, not run by the book's build, not run by the checks."""

_CONFIG_URL = re.compile(r"^(repository:[^\n]*\n(?:[ \t#][^\n]*\n|\n)*?[ \t]+url:[ \t]*)([^\s#]+)", re.MULTILINE)
_COLAB_LINK = re.compile(
    r"(colab\.research\.google\.com/github/)[\w.-]+/[\w.-]+(?=/blob/[^/\s]+/notebooks/([^/\s()<>']+?\.ipynb))"
)
_ADDRESS = re.compile(r"https://github\.com/\w[\w-]*/[\w.-]*\w", re.ASCII)


def install_cell(url: str) -> str:
    """The source of a lesson's first code cell: installs the library where it is missing, from the repository `url`."""
    return (
        "# Colab lacks the course's helper library; where it is installed, this does nothing\n"
        "import importlib.util\n"
        "\n"
        'if importlib.util.find_spec("bigmodel_lab") is None:\n'
        f'    %pip install -q "git+{url}"'
    )


def repository_url(root: Path) -> str:
    """The repository's address as `_config.yml` under `root` gives it."""
    found = _CONFIG_URL.search(_read(root / "_config.yml"))
    if found is None:
        raise InputError(
            "a line `url: https://github.com/OWNER/NAME` under `repository:` in _config.yml",
            got="no such line",
            hint="restore the `repository:` block of _config.yml",
        )
    return found.group(2).strip("\"'")


def point_at(root: Path, url: str) -> list[Path]:
    """Make the course under `root` name the repository `url` everywhere, and return the files that changed.

    Nothing is written before every file has been read and understood; each file is replaced in one step.
    """
    url = _checked(url)
    repository_url(root)
    config = root / "_config.yml"
    texts = {config: _CONFIG_URL.sub(lambda m: m.group(1) + url, _read(config))}
    texts |= {path: _pointed(path, url) for path in _notebooks(root)}
    changed = [path for path, text in texts.items() if text != _read(path)]
    for path in changed:
        part = path.with_name(path.name + ".part")
        part.write_text(texts[path], encoding="utf-8", newline="\n")
        os.replace(part, path)
    return changed


def disagreements(root: Path) -> list[str]:
    """What in the lessons does not match the address in `_config.yml`; empty when all agree."""
    url = repository_url(root)
    problems = []
    for path in _notebooks(root):
        try:
            if _pointed(path, url) != _read(path):
                problems.append(f"{path.name}: does not install the library from, or link to, {url}")
        except InputError as error:
            problems.append(f"{path.name}: {error.got}")
    return problems


def _pointed(path: Path, url: str) -> str:
    """The text of the notebook at `path`, changed to name `url`; all else stays as it is, to the byte."""
    text = _read(path)
    try:
        notebook = json.loads(text)
        cells = notebook["cells"]
        for cell in cells:
            cell["cell_type"], cell["metadata"].items(), _source(cell)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"a notebook in {path.name}", got=f"not a notebook: {error!r}", hint="restore the file"
        ) from None
    before = json.dumps(cells)
    install = next((cell for cell in cells if cell["cell_type"] == "code"), None)
    if install is None or "find_spec(" not in _source(install) or "bigmodel_lab" not in _source(install):
        raise InputError(
            f"the install cell as the first code cell of {path.name}",
            got="the first code cell does not install the library",
            hint="copy the first code cell of another lesson, with its tags",
        )
    _set_source(install, install_cell(url))
    install["metadata"]["tags"] = list(INSTALL_TAGS)
    owner_and_name = url.removeprefix("https://github.com/")
    lessons = {other.name for other in path.parent.glob("*.ipynb")}

    def linked(link: re.Match) -> str:  # links to notebooks of other repositories stay
        return link.group(1) + owner_and_name if link.group(2) in lessons else link.group(0)

    for cell in cells:
        if cell["cell_type"] == "markdown":
            _set_source(cell, _COLAB_LINK.sub(linked, _source(cell)))
    return text if json.dumps(cells) == before else json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def _checked(url: str) -> str:
    """`url` without a trailing slash or `.git`; an error where it is no repository on GitHub."""
    plain = url.strip().rstrip("/").removesuffix(".git")
    if not _ADDRESS.fullmatch(plain):
        raise InputError(
            "the address of a GitHub repository, https://github.com/OWNER/NAME (Colab opens no other)",
            got=repr(url),
            hint="open your fork in a browser and copy the address, up to the repository's name",
        )
    return plain


def _notebooks(root: Path) -> list[Path]:
    folder = root / "notebooks"
    return sorted(folder.glob("*.ipynb")) + sorted((folder / "assignments").glob("*.ipynb"))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"the course's file {path.name}", got=str(error), hint="run this in the course's folder"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} as text in UTF-8", got=str(error), hint="restore the file") from None


def _source(cell: dict) -> str:
    return "".join(cell["source"])


def _set_source(cell: dict, source: str) -> None:
    """Only where it differs, so that an unchanged cell keeps its spelling (a list of lines or one string)."""
    if source != _source(cell):
        cell["source"] = source.splitlines(keepends=True)
