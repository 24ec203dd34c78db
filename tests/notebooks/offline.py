"""Run a command cut off from the network, loopback excepted: `python -m tests.notebooks.offline COMMAND …`.

On Linux the command gets a network namespace of its own. Where that is not allowed (macOS, locked containers), every
Python process under the command refuses to connect elsewhere; that guard does not bind programs not written in Python.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1
GUARD = Path(__file__).with_name("guard")


def main(command: list[str]) -> None:
    """Cut the network off, say how, and become the command."""
    if not command:
        sys.exit("expected: a command to run offline\ntry:      python -m tests.notebooks.offline python -c 'print(1)'")
    os.environ["HF_HUB_OFFLINE"] = "1"
    how = None if os.environ.get("OFFLINE_MODE") == "guard" else next(filter(_works, _ways()), None)
    if how is not None:
        _enter(how)
        print("offline: in a network namespace of its own, loopback only", file=sys.stderr, flush=True)
    else:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(GUARD), os.environ.get("PYTHONPATH", "")]))
        print("offline: by a guard in every Python process (no namespaces here)", file=sys.stderr, flush=True)
    os.execvp(command[0], command)


def _ways() -> list[int]:
    own_user = CLONE_NEWUSER | CLONE_NEWNET
    return [CLONE_NEWNET, own_user] if os.geteuid() == 0 else [own_user]


def _works(flags: int) -> bool:
    """Try it in a child: a half-entered namespace could not be left again."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            _enter(flags)
            with socket.create_server(("127.0.0.1", 0)) as server:
                socket.create_connection(server.getsockname(), timeout=2).close()
            code = 0
        except (OSError, AttributeError):
            pass
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def _enter(flags: int) -> None:
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    if flags & CLONE_NEWUSER:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sh14x", b"lo", 0)
        (now,) = struct.unpack_from("16xh", fcntl.ioctl(handle, SIOCGIFFLAGS, request))
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", now | IFF_UP))


if __name__ == "__main__":
    main(sys.argv[1:])
