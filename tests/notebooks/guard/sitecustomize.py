"""Once loaded, only loopback may be reached: by Python at start-up under `offline.py`, and by the tests themselves."""

import errno
import sys

LOCAL = ("localhost", "127.", "::1", "0.0.0.0")


def refuse_the_network(event: str, args: tuple) -> None:
    """Audit hook: connecting, sending or resolving elsewhere fails at once, before a packet leaves."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        if not isinstance(address, tuple) or not address:  # a Unix socket, or one that is connected already
            return
        host = address[0]
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host and not str(host).startswith(LOCAL):
        raise OSError(errno.ENETUNREACH, f"the network is cut off here, {host} was asked for")


sys.addaudithook(refuse_the_network)
