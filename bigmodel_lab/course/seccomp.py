"""A filter of system calls: no new namespaces, mounts, tracing, keys, or rings, which a notebook never needs.

Without new namespaces a command cannot become root in one of its own and mount memory there that no limit counts.
The program is classic BPF as seccomp takes it (Linux, Documentation/userspace-api/seccomp_filter.rst).
"""

import errno
import platform
import struct

__all__ = ["program"]

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR = 0x7FFF0000, 0x00050000
_NUMBER, _MACHINE, _FIRST_ARGUMENT = 0, 4, 16  # offsets into what the filter is given
_NEW_NAMESPACES = 0x7E020000  # all flags of clone(2) that make one
_CLONE3 = 435  # its flags lie in memory, out of a filter's sight; C libraries then fall back to clone

_MACHINES = {  # identity of the machine, number of clone, and numbers of what is refused
    "x86_64": (0xC000003E, 56, (272, 308, 165, 166, 155, 101, 310, 311, 321, 323, 298, 250, 248, 249)),
    "aarch64": (0xC00000B7, 220, (97, 268, 40, 39, 41, 117, 270, 271, 280, 282, 241, 219, 217, 218)),
}  # unshare setns mount umount2 pivot_root ptrace process_vm_readv, _writev bpf userfaultfd perf_event_open keys
_ALSO = (425, 428, 429, 430)  # on every machine: io_uring_setup, open_tree, move_mount, fsopen
_OTHER_CALLS = 0x40000000  # from here on: calls of x86 with short pointers


def program(machine: str | None = None) -> bytes:
    """Return the filter for a machine, this one by default; empty where its calls are not known here."""
    machine = machine or platform.machine()
    if machine not in _MACHINES:
        return b""
    identity, clone, refused = _MACHINES[machine]
    steps = [(_LOAD, _MACHINE), (_EQUAL, identity, "next", "refuse"), (_LOAD, _NUMBER)]
    steps += [(_AT_LEAST, _OTHER_CALLS, "refuse", "next"), (_EQUAL, _CLONE3, "unknown", "next")]
    steps += [(_EQUAL, number, "refuse", "next") for number in (*refused, *_ALSO)]
    steps += [
        (_EQUAL, clone, "next", "allow"),
        (_LOAD, _FIRST_ARGUMENT),
        (_ANY_BIT, _NEW_NAMESPACES, "refuse", "allow"),
    ]
    ends = {"allow": _ALLOW, "refuse": _ERROR | errno.EPERM, "unknown": _ERROR | errno.ENOSYS}
    places = {name: len(steps) + index for index, name in enumerate(ends)}
    lines = []
    for index, (code, value, *targets) in enumerate(steps):
        jumps = [0 if target == "next" else places[target] - index - 1 for target in targets] or [0, 0]
        lines.append(struct.pack("HBBI", code, *jumps, value))
    return b"".join(lines + [struct.pack("HBBI", _RETURN, 0, 0, value) for value in ends.values()])
