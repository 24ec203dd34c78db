"""The command lines that confine a command: by bubblewrap, by a container, by namespaces, or by limits alone.

All but the last show it the same view: Python and this package, read-only; a home folder in memory; one channel folder.
"""

import json
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from bigmodel_lab.course.seccomp import program
from bigmodel_lab.course.view import links, package, to_hide, view
from bigmodel_lab.errors import InputError

__all__ = ["CHANNEL", "HOME", "Limits", "bare", "bubblewrap", "container", "image", "is_root", "namespaces"]

HOME = "/student"  # the command's home and working folder, in memory, gone when it ends
CHANNEL = "/channel"  # where the command sees the one folder that it shares with its caller
IMAGE = "debian:stable-slim"  # of a container: this machine's files lie over its own; BIGMODEL_LAB_IMAGE names another

_LAUNCH = """
import ctypes, json, os, resource, sys
told = json.loads(sys.argv[1])
os.chdir(told["home"])
for name, most in told["limits"].items():
    kind = getattr(resource, name, None)
    if kind is not None:
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        try:
            resource.setrlimit(kind, (most, most))
        except (OSError, ValueError):  # macOS has some of the names only
            if sys.platform == "linux":
                raise
if told["user"] and os.getuid() == 0:
    os.setgroups([])
    os.setresgid(*[told["user"]] * 3)
    os.setresuid(*[told["user"]] * 3)
if sys.platform == "linux":
    control = ctypes.CDLL(None).prctl
    if control(38, 1, 0, 0, 0) or control(1, 9, 0, 0, 0):  # no new privileges; killed when its parent ends
        raise OSError("the kernel of this system is too old")
    filter = bytes.fromhex(told["filter"])
    class Program(ctypes.Structure):
        _fields_ = [("lines", ctypes.c_ushort), ("text", ctypes.c_char_p)]
    if filter and control(22, 2, ctypes.byref(Program(len(filter) // 8, filter)), 0, 0):
        raise OSError("the kernel of this system has no seccomp")
os.execve(sys.argv[2], sys.argv[2:], told["environment"])
"""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much a submission may use; what passes a limit is stopped, and the rest is still graded."""

    seconds: float = 60.0  # of one cell
    probe_seconds: float = 20.0  # of one thing asked of an answer
    total_seconds: float = 300.0  # of the submission, restarts included
    memory: int = 3 * 2**30  # bytes that all processes hold together
    processes: int = 128  # processes and threads together
    file_size: int = 64 * 2**20  # bytes of one file
    disk: int = 256 * 2**20  # bytes of all files together

    def __post_init__(self) -> None:
        """Refuse a limit that nothing could keep."""
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise InputError(f"{field.name} above 0", got=repr(getattr(self, field.name)))


def bubblewrap(argv: Sequence[str], folder: Path, limits: Limits, hidden: Iterable[Path] = ()) -> list[str]:
    """Return the line that runs `argv` under bubblewrap, with `folder` as `CHANNEL` and `hidden` folders empty."""
    line = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"]
    line += ["--die-with-parent", "--new-session", "--proc", "/proc", "--dev", "/dev"]
    if is_root():  # the launcher gives up root, and with it these two
        line += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        line += ["--unshare-user", "--uid", "1000", "--gid", "1000"]
    for path in ("/dev/shm", "/tmp", HOME):
        line += ["--perms", "1777", "--size", str(limits.disk), "--tmpfs", path]
    for path, target in links():
        line += ["--symlink", target, path]
    shown = view()
    for folders in sorted({str(parent) for path in shown for parent in Path(path).parents} - {"/"}):
        line += ["--perms", "0755", "--dir", folders]  # it would make them for root alone
    for path in shown:
        line += ["--ro-bind", path, path]
    for path in to_hide(hidden):
        line += ["--perms", "0000", "--size", "4096", "--tmpfs", path]
    line += ["--bind", str(folder), CHANNEL, "--remount-ro", "/dev", "--remount-ro", "/", "--"]
    return line + _launch(argv, folder, limits, HOME)


def container(engine: str, argv: Sequence[str], folder: Path, limits: Limits, hidden: Iterable[Path] = ()) -> list[str]:
    """The same under Podman or Docker, whose client is `engine`."""
    owner = folder.stat()
    line = [engine, "run", "--rm", "--init", "--pull", "never", "--network", "none", "--read-only"]
    line += ["--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", f"{owner.st_uid}:{owner.st_gid}"]
    line += ["--pids-limit", str(limits.processes), "--memory", str(limits.memory), "--memory-swap", str(limits.memory)]
    line += ["--shm-size", str(limits.disk), "--name", folder.name]
    if engine == "podman" and not is_root():
        line += ["--userns", "keep-id"]
    for path in ("/tmp", HOME):
        line += ["--tmpfs", f"{path}:rw,mode=1777,size={limits.disk}"]
    for path in view():
        line += ["--volume", f"{path}:{path}:ro"]
    for path in to_hide(hidden):
        line += ["--tmpfs", f"{path}:ro,mode=000,size=4096"]
    line += ["--volume", f"{folder}:{CHANNEL}", image()]
    return line + _launch(argv, folder, limits, HOME)


def namespaces(argv: Sequence[str], folder: Path, limits: Limits, hidden: Iterable[Path] = ()) -> list[str]:
    """Build the view that bubblewrap builds, with `mount`, in a shell of its own namespaces."""
    steps = ["umask 022", "mount -t tmpfs -o mode=755 lab /mnt", "cd /mnt", "mkdir proc dev old"]
    steps += ["mount -t proc proc proc", "mount -t tmpfs -o mode=755 lab dev", "ln -s /proc/self/fd dev/fd"]
    for name in ("null", "zero", "full", "random", "urandom"):
        steps += [f": > dev/{name}", f"mount --bind /dev/{name} dev/{name}"]
    for path in ("/dev/shm", "/tmp", HOME):
        steps += [f"mkdir -p .{path}", f"mount -t tmpfs -o mode=1777,nosuid,nodev,size={limits.disk} lab .{path}"]
    for path, target in links():
        steps += [f"ln -s {shlex.quote(target)} .{path}"]
    for path in view():
        here = shlex.quote(f".{path}")
        make = f"mkdir -p {here}" if Path(path).is_dir() else f"mkdir -p $(dirname {here}); : > {here}"
        steps += [make, f"mount --bind {shlex.quote(path)} {here}", f"mount -o remount,bind,ro,nosuid,nodev {here}"]
    for path in to_hide(hidden):
        steps += [f"mount -t tmpfs -o ro,mode=000,size=4096 lab {shlex.quote('.' + path)}"]
    steps += [f"mkdir .{CHANNEL}", f"mount --bind {shlex.quote(str(folder))} .{CHANNEL}"]
    steps += ["pivot_root . old", "umount -l /old", "mount -o remount,bind,ro /", 'exec "$@"']
    line = [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        "--net",
        "--pid",
        "--fork",
        "--kill-child",
        "--ipc",
        "--uts",
        "--mount",
    ]
    line += ["--propagation", "private", "--", "sh", "-ec", "\n".join(steps), "sh"]
    return line + _launch(argv, folder, limits, HOME)


def bare(argv: Sequence[str], folder: Path, limits: Limits, hidden: Iterable[Path] = ()) -> list[str]:
    """Limits and a clean environment, nothing more: not even another user, who might not reach this Python."""
    return _launch(argv, folder, limits, str(folder), user=0)


def _launch(argv: Sequence[str], folder: Path, limits: Limits, home: str, user: int | None = None) -> list[str]:
    """The last step: limits of the kernel of the system, another user than root, a clean environment."""
    told = {
        "home": home,
        "filter": program().hex() if user is None else "",
        "user": folder.stat().st_uid if user is None else user,
        "environment": _environment(home),
        "limits": {
            "RLIMIT_AS": limits.memory + 4 * 2**30,  # much of it is never used; what is, and the processes, is watched
            "RLIMIT_NPROC": 2 * limits.processes + (0 if is_root() else _threads_of_this_user()),
            "RLIMIT_FSIZE": limits.file_size,
            "RLIMIT_CPU": int(limits.total_seconds) + 60,
            "RLIMIT_CORE": 0,
            "RLIMIT_NOFILE": 1024,
        },
    }
    return [sys.executable, "-I", "-S", "-c", _LAUNCH, json.dumps(told), *argv]


def _environment(home: str) -> dict[str, str]:
    threads = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": str(package().parent),
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": home,
        "USER": "student",
        "LANG": "C.UTF-8",
        "HF_HUB_OFFLINE": "1",
        "MPLBACKEND": "agg",
        **dict.fromkeys(threads, "1"),
    }


def is_root() -> bool:
    """Whether this process may become another user."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def _threads_of_this_user() -> int:
    """How many there are already: before Linux 5.14 they count against the limit of the new ones."""
    count = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            count += len(os.listdir(path / "task")) if path.stat().st_uid == os.getuid() else 0
        except OSError:  # it has ended
            continue
    return count


def image() -> str:
    """The image of a container."""
    return os.environ.get("BIGMODEL_LAB_IMAGE", IMAGE)
