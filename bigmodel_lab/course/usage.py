"""What running processes take: their memory, their threads, the size of a folder (on Linux; elsewhere nothing)."""

import contextlib
import os
from pathlib import Path

__all__ = ["memory", "size", "tree"]

MOST_FILES = 1000  # that are counted one by one


def tree(root: int, most: int) -> list[int]:
    """All processes under `root`, `most` at most (Linux; elsewhere none is seen)."""
    found: list[int] = []
    todo = [root]
    while todo and len(found) < most:
        parent = todo.pop()
        with contextlib.suppress(OSError):  # it has ended
            for task in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{task}/children", encoding="ascii") as stream:
                    children = [int(pid) for pid in stream.read().split()]
                todo += children
                found += children
    return found


def memory(pid: int) -> tuple[int, int]:
    """Bytes that a process holds by itself (its own and shared memory, not mapped files), and its threads."""
    with (
        contextlib.suppress(OSError, ValueError),
        open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as lines,
    ):
        told = dict(line.split(":", 1) for line in lines)
        size = sum(int(told.get(name, "0").split()[0]) for name in ("RssAnon", "RssShmem"))
        return 1024 * size, int(told["Threads"])
    return 0, 0


def size(folder: Path) -> float:
    """Bytes on disk under `folder`; infinite where there are too many files to count."""
    total, files = 0.0, 0
    for place, folders, names in os.walk(folder):
        files += len(folders) + len(names)
        if files > MOST_FILES:
            return float("inf")
        for name in names:
            with contextlib.suppress(OSError):
                total += 512 * os.lstat(os.path.join(place, name)).st_blocks
    return total
