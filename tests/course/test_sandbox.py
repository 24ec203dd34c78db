"""What a command sees and may do in each sandbox that works on this machine."""

import json
import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bigmodel_lab
from bigmodel_lab.course import confine
from bigmodel_lab.course import sandbox as module
from bigmodel_lab.course.sandbox import CHANNEL, HOME, Limits, Sandbox, channel_folder, find
from bigmodel_lab.course.seccomp import program
from bigmodel_lab.errors import InputError, MissingExtraError

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandboxes are those of Linux")

WAYS = [Sandbox("bubblewrap", confine.bubblewrap), Sandbox("namespaces", confine.namespaces)]
SMALL = Limits(memory=200 * 2**20, processes=40, file_size=2 * 2**20, disk=4 * 2**20)


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request):
    if not request.param.works():
        pytest.skip(f"{request.param.name} does not work here")
    return request.param


@pytest.fixture
def inside(way):
    """Run Python code in the sandbox and return what it prints as JSON."""
    folder = channel_folder()

    def run(code, limits=SMALL, hidden=()):
        argv = [sys.executable, "-c", f"import json, os, sys\n{code}"]
        ran = subprocess.run(
            way.command(argv, folder, limits, hidden), capture_output=True, stdin=subprocess.DEVNULL, timeout=60
        )
        assert ran.returncode == 0, ran.stderr.decode()
        return json.loads(ran.stdout)

    run.folder = folder
    yield run
    shutil.rmtree(folder)


def test_what_can_be_seen(inside):
    repository = Path(bigmodel_lab.__path__[0]).parent
    seen = inside(
        "folders = {p: os.listdir(p) if os.path.isdir(p) else None for p in sys.argv[1:] or "
        f"['/', {str(repository)!r}, '/etc', '/proc', {CHANNEL!r}, {HOME!r}, '/tmp', '/root', '/home']}}\n"
        "import bigmodel_lab.course.questions\n"
        "print(json.dumps([folders, os.getcwd(), sorted(os.environ), bigmodel_lab.__file__]))"
    )
    folders, here, environment, package = seen
    assert here == HOME
    assert package == bigmodel_lab.__file__
    assert not {"notebooks", "tests", "book", ".git"} & set(folders[str(repository)])
    assert {"passwd", "shadow", "hosts"}.isdisjoint(folders["/etc"])
    assert len([name for name in folders["/proc"] if name.isdigit()]) <= 3  # its own processes, and nobody else's
    assert folders[CHANNEL] == folders[HOME] == []
    # of /tmp nothing but the way to Python and to this package, should they be kept there
    kept = [Path(one).resolve().parts for one in (repository, sys.prefix, sys.base_prefix)]
    assert set(folders["/tmp"]) <= {parts[2] for parts in kept if parts[:2] == ("/", "tmp")}
    assert not set(folders["/root"] or ()) & {".bashrc", ".ssh", ".config"}
    assert "HF_HUB_OFFLINE" in environment
    assert not [name for name in environment if "TOKEN" in name or "PYTEST" in name or name == "PWD"]


def test_what_can_be_written(inside):
    places = ["/", "/etc", "/usr", "/dev", "/proc", str(Path(bigmodel_lab.__file__).parent), sys.prefix]
    places += [CHANNEL, HOME, "/tmp", "/dev/shm"]
    code = f"""
wrote = []
for place in {places}:
    try:
        open(os.path.join(place, "new"), "w").close()
        wrote.append(place)
    except OSError:
        pass
print(json.dumps(wrote))"""
    assert inside(code) == [CHANNEL, HOME, "/tmp", "/dev/shm"]
    assert [path.name for path in inside.folder.iterdir()] == ["new"]


def test_it_is_nobody_and_cannot_become_somebody(inside):
    code = """
status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
try:
    os.setuid(0)
    became = True
except OSError:
    became = os.getuid() == 0
print(json.dumps([os.getuid(), os.getgroups(), status["CapEff"], status["NoNewPrivs"], became]))"""
    user, groups, capabilities, no_new, became = inside(code)
    assert user not in (0, os.getuid() or 0)
    assert not groups or os.getuid() != 0
    assert int(capabilities, 16) == 0
    assert no_new == "1"
    assert not became


def test_there_are_no_new_namespaces_in_which_it_would_be_root(inside):
    code = """
import ctypes
call = ctypes.CDLL(None, use_errno=True)
came = []
for name, run in {
    "unshare": lambda: call.unshare(0x10000000),
    "unshare mounts": lambda: call.unshare(0x20000),
    "clone": lambda: call.syscall({"x86_64": 56, "aarch64": 220}[os.uname().machine], 0x10000011, 0, 0, 0, 0),
    "clone3": lambda: call.syscall(435, 0, 0),
    "mount": lambda: call.mount(b"lab", b"/student", b"tmpfs", 0, None),
    "ptrace": lambda: call.ptrace(0, 0, 0, 0),
}.items():
    if run() == -1:
        came.append([name, os.strerror(ctypes.get_errno())])
print(json.dumps(came))"""
    refused = "Operation not permitted"
    names = ("unshare", "unshare mounts", "clone", "clone3", "mount", "ptrace")
    assert inside(code) == [[name, "Function not implemented" if name == "clone3" else refused] for name in names]


def test_each_jump_of_the_filter_lands_on_a_verdict():
    for machine in ("x86_64", "aarch64"):
        lines = list(struct.iter_unpack("HBBI", program(machine)))
        verdicts = {index for index, (code, *_) in enumerate(lines) if code == 0x06}
        assert len(verdicts) == 3
        for index, (code, yes, no, _) in enumerate(lines):
            if code not in (0x06, 0x20):
                assert all(jump == 0 or index + 1 + jump in verdicts for jump in (yes, no))
    assert program("another") == b""


def test_there_is_no_network(inside):
    code = "import socket\nprint(json.dumps([name for _, name in socket.if_nameindex()]))"
    assert inside(code) == ["lo"]


def test_limits_on_memory_files_and_disk(inside):
    code = """
came = []
try:
    x = bytearray(8 << 30)
except MemoryError:
    came.append("memory")
try:
    open("large", "wb").write(bytes(3 << 20))
except OSError as error:
    came.append(os.strerror(error.errno))
try:
    for i in range(9): open(str(i), "wb").write(bytes(1 << 20))
except OSError as error:
    came.append(os.strerror(error.errno))
print(json.dumps(came))"""
    assert inside(code) == ["memory", "File too large", "No space left on device"]


def test_limit_on_processes(inside):
    code = """
children = 0
try:
    for _ in range(500):
        if os.fork() == 0:
            import time
            time.sleep(1)
            os._exit(0)
        children += 1
except OSError as error:
    print(json.dumps([children, os.strerror(error.errno)]))"""
    children, problem = inside(code)
    assert 40 <= children <= 2 * 40
    assert problem == "Resource temporarily unavailable"


def test_hidden_folders_are_empty_even_where_python_lies(inside):
    path = Path(bigmodel_lab.__file__).parent / "audio"
    code = f"""
try:
    print(json.dumps(os.listdir({str(path)!r})))
except OSError as error:
    print(json.dumps(os.strerror(error.errno)))"""
    assert inside(code) != []
    assert isinstance(inside(code), list)
    assert inside(code, hidden=[path, Path("/nowhere/at/all")]) in ("Permission denied", [])


def test_killing_the_command_ends_all_that_it_started(way):
    folder = channel_folder()
    code = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        break
open("/channel/%d" % os.getpid(), "w").close()
time.sleep(60)"""
    process = subprocess.Popen(way.command([sys.executable, "-c", code], folder, SMALL), stdin=subprocess.DEVNULL)
    user = folder.stat().st_uid
    end = time.monotonic() + 20
    while len(list(folder.iterdir())) < 4 and time.monotonic() < end:
        time.sleep(0.02)
    running = _of_user(user)
    process.kill()
    process.wait()
    while _of_user(user) and time.monotonic() < end:
        time.sleep(0.02)
    assert len(running) >= 4 or os.getuid() != 0
    assert not _of_user(user) or os.getuid() != 0
    shutil.rmtree(folder)


def _of_user(user: int) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            found += [path.name] if path.stat().st_uid == user else []
        except OSError:
            continue
    return found


def test_an_argument_is_an_argument(way, inside):
    """Nothing of it is read by a shell."""
    folder = inside.folder
    argv = [sys.executable, "-c", "import sys; print(sys.argv[1:])", "$(id)", "; id", "'", '"']
    ran = subprocess.run(way.command(argv, folder, SMALL), capture_output=True, stdin=subprocess.DEVNULL)
    assert ran.stdout.decode().strip() == repr(argv[3:])


def test_an_ordinary_user_gets_namespaces_of_users(monkeypatch, tmp_path):
    monkeypatch.setattr(confine, "is_root", lambda: False)
    line = confine.bubblewrap(["/bin/true"], tmp_path, SMALL)
    assert "--unshare-user" in line
    assert "--cap-add" not in line


def test_the_line_of_a_container_shuts_every_door(tmp_path):
    line = confine.container("docker", ["/bin/true"], tmp_path, SMALL)
    owner = tmp_path.stat()
    for part in (
        ["--network", "none"], ["--read-only"], ["--cap-drop", "ALL"], ["--security-opt", "no-new-privileges"],
        ["--pull", "never"], ["--memory", str(SMALL.memory)], ["--pids-limit", "40"],
        ["--user", f"{owner.st_uid}:{owner.st_gid}"],
    ):  # fmt: skip
        at = line.index(part[0])
        assert line[at : at + len(part)] == part
    volumes = [line[i + 1] for i, word in enumerate(line) if word == "--volume"]
    assert [volume for volume in volumes if not volume.endswith(":ro")] == [f"{tmp_path}:{CHANNEL}"]


def test_without_a_sandbox_it_refuses_unless_the_class_is_trusted(monkeypatch):
    monkeypatch.setattr(module, "_candidates", lambda: iter([Sandbox("broken", lambda *a: ["/bin/false"])]))
    with pytest.raises(MissingExtraError, match="apt-get install bubblewrap") as caught:
        find()
    assert caught.value.got == "broken, which cannot isolate anything here"
    trusted = find(trust=True)
    assert not trusted.isolated
    assert trusted.works()


def test_the_first_that_works_is_taken(monkeypatch):
    broken = Sandbox("broken", lambda *a: ["/no/such/program"])
    working = next((way for way in WAYS if way.works()), None)
    if working is None:
        pytest.skip("no sandbox works here")
    monkeypatch.setattr(module, "_candidates", lambda: iter([broken, working]))
    assert find() is working


@pytest.mark.parametrize("name", ["seconds", "memory", "processes", "disk"])
def test_limits_have_to_be_above_zero(name):
    with pytest.raises(InputError, match=f"{name} above 0"):
        Limits(**{name: 0})
