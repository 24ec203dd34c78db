"""Inside the wrapper nothing but loopback can be reached. Nothing here connects outside of it."""

import os
import subprocess
import sys

import pytest

from tests.notebooks.ledger import ROOT

PROBE = """
import os, socket, sys, time
begun = time.perf_counter()
{call}
"""
CALLS = {
    "connect": 'socket.create_connection(("192.0.2.1", 9), timeout=20)',
    "send": 'socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9))',
    "resolve": 'socket.getaddrinfo("example.invalid", 80)',
}
LOOPBACK = """
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname(), timeout=2).close()
print(os.environ["HF_HUB_OFFLINE"], os.getuid())
"""


def offline(code, mode):
    command = [sys.executable, "-m", "tests.notebooks.offline", sys.executable, "-c", PROBE.format(call=code)]
    env = os.environ | {"OFFLINE_MODE": mode}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=15, check=False)


@pytest.mark.parametrize("mode", ["namespace", "guard"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_network_is_refused_at_once(call, mode):
    refused = f"try:\n    {call}\nexcept OSError:\n    print('refused', time.perf_counter() - begun < 2)"
    run = offline(refused, mode)
    assert run.stdout.strip() == "refused True", run.stderr


@pytest.mark.parametrize("mode", ["namespace", "guard"])
def test_loopback_works_as_the_same_user(mode):
    run = offline(LOOPBACK, mode)
    assert run.stdout.split() == ["1", str(os.getuid())], run.stderr


def test_it_says_how_the_network_is_cut_off():
    assert "guard in every Python process" in offline("", "guard").stderr
    assert "offline: " in offline("", "namespace").stderr


def test_the_command_decides_the_exit_code():
    assert offline("sys.exit(7)", "namespace").returncode == 7


def test_no_command_is_an_error():
    run = subprocess.run(
        [sys.executable, "-m", "tests.notebooks.offline"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "expected: a command" in run.stderr
