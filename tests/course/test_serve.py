"""The built site is served on loopback, at the next free port, until Ctrl-C."""

import re
import signal
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest

from bigmodel_lab.course import serve
from bigmodel_lab.errors import InputError


def test_it_serves_at_the_next_free_port_and_ends_cleanly(tmp_path):
    (tmp_path / "index.html").write_text("<p>the book</p>")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "bigmodel_lab.course", "serve", f"--folder={tmp_path}", f"--port={port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
            try:
                address = re.search(r"http://localhost:(\d+)/", server.stdout.readline())
                assert int(address[1]) > port
                with urlopen(f"http://127.0.0.1:{address[1]}/index.html", timeout=5) as answer:
                    assert answer.read() == b"<p>the book</p>"
            finally:
                server.send_signal(signal.SIGINT)
            out, err = server.communicate(timeout=10)
    assert server.returncode == 0
    assert "stopped" in out
    assert err == ""


def test_nothing_built_is_an_error_that_names_the_command(tmp_path):
    with pytest.raises(InputError, match="make site"):
        serve(tmp_path)


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_none_is_refused(tmp_path, port):
    with pytest.raises(InputError, match="a port from 1 to 65535"):
        serve(tmp_path, port)
