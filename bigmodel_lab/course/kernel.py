"""One IPython kernel in a sandbox, spoken to over sockets in a folder, watched, and killed when it takes too much.

The messages are those of Jupyter (`jupyter_client.session`). What the kernel prints is not listened to, so it cannot
fill anything; a message larger than an answer may be ends the connection.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bigmodel_lab.course.sandbox import Limits, Sandbox, channel_folder
from bigmodel_lab.course.usage import memory, size, tree
from bigmodel_lab.errors import LabError, MissingExtraError

__all__ = ["Kernel", "KernelError", "Reply"]

PORTS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "control_port": 4, "hb_port": 5}
SECONDS_TO_START = 90.0
SECONDS_TO_STOP = 3.0  # after an interrupt; then it is killed
SECONDS_BETWEEN_LOOKS = 0.1
LARGEST_MESSAGE = 4 * 2**20  # bytes
MOST_GROWTH = 2**30  # bytes that this process may grow by while it listens to a kernel


class KernelError(LabError):
    """A kernel did not start, through no fault of the submission."""


@dataclass(frozen=True)
class Reply:
    """What came of one piece of code: `status` is ok, error, late (it was interrupted), or dead (the kernel is)."""

    status: str
    error: str = ""  # what went wrong, in a line
    answer: str = ""  # of the expression, as `text/plain`


class Kernel:
    """A running kernel; use it in a `with` statement."""

    def __init__(self, sandbox: Sandbox, limits: Limits, hidden: Iterable[Path] = ()) -> None:
        """Start it and wait until it answers. Raises `KernelError` where it does not."""
        try:
            import zmq
            from jupyter_client.session import Session
        except ImportError as error:
            raise MissingExtraError(
                "jupyter_client and ipykernel", got=str(error), hint="pip install notebook"
            ) from error
        self._sandbox, self._limits, self.reason = sandbox, limits, ""
        self._folder = channel_folder()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the kernel
        key = secrets.token_hex(32)
        self._session = Session(key=key.encode(), username="judge")
        self._context = zmq.Context()
        self._ended, self._before = threading.Event(), memory(os.getpid())[0]
        try:
            self._process = self._started(key, hidden)
        except BaseException:
            self._clear()
            raise
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        try:
            self._shell, self._control = self._connected("shell_port"), self._connected("control_port")
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Kernel":
        """Return the kernel."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None and not self.reason

    def run(self, code: str, seconds: float, expression: str = "") -> Reply:
        """Run `code`, then evaluate `expression`; past `seconds` interrupt, and kill what does not stop then."""
        content = {
            "code": code,
            "silent": False,
            "store_history": False,
            "user_expressions": {"answer": expression} if expression else {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        asked = self._session.send(self._shell, "execute_request", content)["header"]["msg_id"]
        reply = self._reply(asked, time.monotonic() + seconds)
        if reply is None and self.alive:
            self._session.send(self._control, "interrupt_request", {})
            if self._reply(asked, time.monotonic() + SECONDS_TO_STOP) is not None:
                return Reply("late", f"stopped after {seconds:.3g} s")
            self._kill(f"stopped after {seconds:.3g} s; it did not heed the interrupt, so Python was ended")
        if reply is None:
            return Reply("dead", self.reason or "it ended Python")
        self._look()  # what is too much now is this code's doing, not that of the next
        return Reply("dead", self.reason) if self.reason else _read_reply(reply)

    def close(self) -> None:
        """End the kernel and all that it started, and remove its folder."""
        self._ended.set()
        self._kill("")
        self._watcher.join()
        self._clear()

    # --- starting and ending ------------------------------------------------------------------------------------------

    def _started(self, key: str, hidden: Iterable[Path]) -> subprocess.Popen:
        inside, file = self._sandbox.channel(self._folder), self._folder / "connection.json"
        connection = {"transport": "ipc", "ip": f"{inside}/k", "key": key, "signature_scheme": "hmac-sha256"}
        file.write_text(json.dumps(connection | PORTS), encoding="ascii")
        owner = self._folder.stat()
        os.chown(file, owner.st_uid, owner.st_gid)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", f"{inside}/{file.name}"]
        argv += ["--HistoryManager.enabled=False", "--InteractiveShell.colors=nocolor"]
        return subprocess.Popen(
            self._sandbox.command(argv, self._folder, self._limits, hidden),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
        )

    def _connected(self, port: str):
        import zmq

        sock = self._context.socket(zmq.DEALER)
        sock.setsockopt(zmq.MAXMSGSIZE, LARGEST_MESSAGE)
        sock.setsockopt(zmq.RCVHWM, 16)
        sock.setsockopt(zmq.RECONNECT_IVL, 20)
        sock.setsockopt(zmq.LINGER, 0)
        sock.connect(f"ipc://{self._folder}/k-{PORTS[port]}")
        return sock

    def _wait_until_ready(self) -> None:
        asked = self._session.send(self._shell, "kernel_info_request", {})["header"]["msg_id"]
        if self._reply(asked, time.monotonic() + SECONDS_TO_START) is None:
            self._errors.seek(0)
            said = self._errors.read(100_000).decode(errors="replace").strip()[-500:]
            got = self.reason or said or f"nothing in {SECONDS_TO_START:.0f} s"
            raise KernelError(f"a kernel that starts in the sandbox ({self._sandbox.name})", got=got)
        if self._sandbox.isolated and os.geteuid() == 0:  # the sockets are there; nothing else is to be written
            os.chown(self._folder, 0, 0)
            os.chmod(self._folder, 0o711)
            (self._folder / "connection.json").unlink()

    def _kill(self, reason: str) -> None:
        self.reason = self.reason or reason
        if self._sandbox.stop:
            self._sandbox.stop(self._folder)
        for pid in tree(self._process.pid, 10 * self._limits.processes):  # with the first of them the rest is gone
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        try:
            self._process.wait(SECONDS_TO_STOP if self._sandbox.isolated else 0)  # it reaps its children, and ends
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _clear(self) -> None:
        self._context.destroy(linger=0)
        self._errors.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # --- listening and watching ---------------------------------------------------------------------------------------

    def _reply(self, asked: str, end: float) -> dict | None:
        """The content of the reply to the message `asked`; None when the time is over or the kernel is dead."""
        while (left := end - time.monotonic()) > 0:
            if not self._shell.poll(1000 * min(left, SECONDS_BETWEEN_LOOKS)):
                if not self.alive:
                    return None
                continue
            try:
                _, parts = self._session.feed_identities(self._shell.recv_multipart())
                message = self._session.deserialize(parts)
                if message["parent_header"].get("msg_id") == asked and isinstance(message["content"], dict):
                    return message["content"]
            except Exception:  # whatever a hostile kernel sends is no reply, and the time goes on
                continue
        return None

    def _watch(self) -> None:
        while self.alive and not self._ended.wait(SECONDS_BETWEEN_LOOKS):
            self._look()

    def _look(self) -> None:
        """Kill it if it takes more than it may."""
        used = [memory(pid) for pid in tree(self._process.pid, 10 * self._limits.processes)]
        if sum(memory for memory, _ in used) > self._limits.memory:
            self._kill(f"used more than {self._limits.memory / 2**20:.0f} MB of memory")
        elif sum(threads for _, threads in used) > self._limits.processes + 8:  # the sandbox's own are among them
            self._kill(f"started more than {self._limits.processes} processes and threads")
        elif size(self._folder) > self._limits.disk:
            self._kill(f"wrote more than {self._limits.disk / 2**20:.0f} MB")
        elif memory(os.getpid())[0] - self._before > MOST_GROWTH:
            self._kill("sent more than an answer")


def _read_reply(content: dict) -> Reply:
    try:
        answer = content["user_expressions"].get("answer", {"status": "ok"}) if content["status"] == "ok" else {}
        for part in (content, answer):
            if part["status"] != "ok":
                return Reply("error", f"{part['ename']}: {part['evalue']}")
        return Reply("ok", answer=str(answer.get("data", {}).get("text/plain", "")))
    except (KeyError, TypeError, AttributeError):  # a kernel that was tampered with says what it likes
        return Reply("error", "the answer did not come through")
