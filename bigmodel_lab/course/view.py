"""What a command in a sandbox may read: the system's libraries, Python and its packages, and this package; no more."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import bigmodel_lab

__all__ = ["links", "package", "to_hide", "view"]

_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64")


def view() -> list[str]:
    """What the command may read, parents before children: the system's libraries, Python, this package."""
    python = Path(sys.executable).resolve()
    system = [p for p in _SYSTEM if not Path(p).is_symlink()]
    system += ["/usr", "/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime"]
    ours = [sys.base_prefix, python.parent.parent, sys.prefix, package()]
    seen: list[str] = []
    for path in sorted({os.path.abspath(p) for p in (*system, *ours)}):
        if path != "/" and os.path.exists(path) and not any(Path(path).is_relative_to(p) for p in seen):
            seen.append(path)
    return seen


def links() -> list[tuple[str, str]]:
    """Folders of the system that are links, as `/lib` to `usr/lib`."""
    return [(p, os.readlink(p)) for p in _SYSTEM if os.path.islink(p)]


def to_hide(hidden: Iterable[Path]) -> list[str]:
    """Those of the folders that the view would show."""
    shown = [Path(path) for path in view()]
    folders = sorted({os.path.abspath(path) for path in hidden})
    return [path for path in folders if any(Path(path).is_relative_to(seen) for seen in shown) and os.path.isdir(path)]


def package() -> Path:
    """The folder of this package."""
    return Path(bigmodel_lab.__path__[0]).absolute()
