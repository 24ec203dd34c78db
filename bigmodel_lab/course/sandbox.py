"""Run a command where it can do no harm: no network, few resources, and no file in sight but Python's own.

Four ways to get there: bubblewrap (https://github.com/containers/bubblewrap), a container of Podman or Docker, the
namespaces of Linux by themselves, which need root, and none at all, for a teacher who trusts the class.
Each shows the command the same view: Python and this package, read-only; a home folder in memory; one channel folder.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bigmodel_lab.course import confine
from bigmodel_lab.course.confine import CHANNEL, HOME, Limits
from bigmodel_lab.errors import MissingExtraError

__all__ = ["CHANNEL", "HOME", "Limits", "Sandbox", "channel_folder", "find"]

FIRST_USER, USERS = 200_000, 1_000_000_000  # numbers of users that no system gives to a person
SECONDS_TO_TRY = 20


@dataclass(frozen=True)
class Sandbox:
    """One way to run a command; `find` picks it.

    `command(argv, folder, limits, hidden)` gives the command line that runs `argv` (absolute path first) in the
    sandbox, with `folder` writable as `channel(folder)`. `hidden` folders are empty there, wherever they lie.
    """

    name: str
    command: Callable[..., list[str]]
    isolated: bool = True
    stop: Callable[[Path], None] | None = None  # ends what killing the command line would leave running

    def channel(self, folder: Path) -> str:
        """Where the command finds `folder`."""
        return CHANNEL if self.isolated else str(folder)

    def works(self) -> bool:
        """Whether a Python started this way says a word."""
        folder = channel_folder()
        try:
            line = self.command([sys.executable, "-c", "print('well')"], folder, Limits())
            ran = subprocess.run(line, capture_output=True, timeout=SECONDS_TO_TRY, stdin=subprocess.DEVNULL)
            return ran.returncode == 0 and ran.stdout.strip() == b"well"
        except (OSError, subprocess.TimeoutExpired):
            return False
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def find(trust: bool = False) -> Sandbox:
    """Return the first sandbox that works here: bubblewrap, a container, namespaces.

    Raises `MissingExtraError` where none does, unless `trust` says that submissions may run as they are: with limits
    on resources, but with this user's files and network in reach.
    """
    tried = []
    for sandbox in _candidates():
        if sandbox.works():
            return sandbox
        tried.append(sandbox.name)
    if trust:
        return Sandbox("none", confine.bare, isolated=False)
    raise MissingExtraError(
        "a sandbox to run submissions in: bubblewrap, Podman or Docker, or root on Linux",
        got=f"{' and '.join(tried)}, which cannot isolate anything here" if tried else f"none on {sys.platform}",
        hint="Debian, Ubuntu: sudo apt-get install bubblewrap; Fedora: sudo dnf install bubblewrap; macOS, Windows: "
        "grade in a Linux container with bubblewrap (docker run --privileged --network none …), as the teacher's guide "
        "shows; or trust the class and say so (--trust-students)",
    )


def channel_folder() -> Path:
    """Make an empty folder that only the command's user may open: as root, a user of a number all its own."""
    home = tempfile.gettempdir() if len(tempfile.gettempdir()) < 60 else "/tmp"  # the path of a socket has 107 letters
    folder = Path(tempfile.mkdtemp(prefix="lab-", dir=home))
    if confine.is_root():
        user = FIRST_USER + secrets.randbelow(USERS)
        os.chown(folder, user, user)
    return folder


def _candidates() -> Iterable[Sandbox]:
    if not sys.platform.startswith("linux"):
        return  # the sockets of a kernel do not pass into the virtual machine that containers run in elsewhere
    if shutil.which("bwrap"):
        yield Sandbox("bubblewrap", confine.bubblewrap)
    for engine in ("podman", "docker"):
        if shutil.which(engine) and _has_image(engine):
            yield Sandbox(engine, partial(confine.container, engine), stop=partial(_stop_container, engine))
    if confine.is_root() and shutil.which("unshare") and shutil.which("setpriv"):
        yield Sandbox("namespaces", confine.namespaces)


def _stop_container(engine: str, folder: Path) -> None:
    subprocess.run([engine, "kill", folder.name], capture_output=True)


def _has_image(engine: str) -> bool:
    """Whether the engine runs and has the image; nothing is downloaded."""
    try:
        line = [engine, "image", "inspect", confine.image()]
        return subprocess.run(line, capture_output=True, timeout=SECONDS_TO_TRY).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
