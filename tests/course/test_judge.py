"""The judge on submissions that are honest, wrong, broken and hostile: each gets the grade it must get."""

import contextlib
import importlib.util
import json
import os
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bigmodel_lab.course import confine, kernel, usage
from bigmodel_lab.course.judge import MOST_RESTARTS, grade
from bigmodel_lab.course.questions import Grade, Probe, student_seed
from bigmodel_lab.course.sandbox import Limits, Sandbox, channel_folder, find
from bigmodel_lab.errors import DataError, InputError, MissingExtraError

_spec = importlib.util.spec_from_file_location("hostile", Path(__file__).with_name("hostile.py"))
hostile = importlib.util.module_from_spec(_spec)
sys.modules["hostile"] = hostile  # dataclasses look their module up
_spec.loader.exec_module(hostile)

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the sandboxes are those of Linux")

LIMITS = Limits(
    seconds=3, probe_seconds=2, total_seconds=60, memory=500 * 2**20, processes=64, file_size=8 * 2**20, disk=16 * 2**20
)


@pytest.fixture(scope="module")
def assignment(tmp_path_factory):
    return hostile.write_assignment(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def sandbox():
    try:
        return find()
    except MissingExtraError as error:
        pytest.skip(f"no sandbox works here: {error.got}")


@pytest.fixture(autouse=True)
def _short_wait_for_the_stubborn(monkeypatch):
    monkeypatch.setattr(kernel, "SECONDS_TO_STOP", 1.0)


@pytest.fixture
def judged(assignment, sandbox, tmp_path):
    """Grade an attack, or a file."""

    def run(what, **more) -> Grade:
        path = what if isinstance(what, Path) else hostile.write_submission(tmp_path / "work.ipynb", what)
        more = {"student": hostile.STUDENT, "limits": LIMITS, "sandbox": sandbox} | more
        return grade(assignment, path, **more)

    return run


def points(result: Grade) -> dict[str, float]:
    return {question.name: question.points for question in result.questions}


def said(result: Grade) -> str:
    return "\n".join([*result.notes, *(probe.message for question in result.questions for probe in question.probes)])


@pytest.mark.parametrize("name", hostile.ATTACKS)
def test_each_submission_gets_the_grade_it_must_get(judged, name):
    attack = hostile.ATTACKS[name]
    result = judged(attack)
    assert points(result) == attack.points, said(result)
    assert attack.note in said(result)
    assert result.most == 14
    assert [question.by_hand for question in result.questions] == [False, False, False, True]


@pytest.mark.parametrize("name", hostile.broken_files())
def test_a_file_that_is_no_submission_gets_nothing_and_a_note(judged, tmp_path, name):
    content, word = hostile.broken_files()[name]
    path = tmp_path / "work.ipynb"
    path.write_bytes(content)
    result = judged(path)
    assert result.points == 0
    assert len(result.notes) == 1
    assert word in result.notes[0]
    assert "expected" in result.notes[0]
    assert len(result.submission) == 64


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe"])
def test_what_is_no_file_gets_nothing_and_a_note(judged, tmp_path, kind):
    path = tmp_path / "work.ipynb"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    result = judged(path)
    assert result.points == 0
    assert "no file" in result.notes[0]


def test_names_that_are_not_utf_8(judged, tmp_path):
    path = hostile.write_submission(Path(os.fsdecode(os.fsencode(tmp_path) + b"/arbeit-\xff\xfe.ipynb")))
    assert points(judged(path)) == hostile.FULL
    odd = judged(path, student=os.fsdecode(b"Zo\xeb"))
    assert odd.student == "Zo?"
    assert points(odd) == hostile.FULL
    json.dumps(odd.student, ensure_ascii=False).encode()


def test_a_notebook_whose_editor_dropped_all_metadata_is_still_known(judged, tmp_path):
    path = hostile.write_submission(tmp_path / "plain.ipynb", marked=False)
    assert points(judged(path)) == hostile.FULL


def test_the_students_name_is_the_judges_whatever_the_notebook_says(judged):
    attack = replace(hostile.ATTACKS["of-the-neighbour"], lost="")
    assert points(judged(attack, student=hostile.NEIGHBOUR)) == attack.points  # right for him whose seed it is
    assert points(judged(hostile.ATTACKS["solution"], student=hostile.NEIGHBOUR)) == hostile.FULL


STOLEN = """\
import json
cells = json.load(open({path!r}, encoding="utf-8"))["cells"]
for cell in cells:
    if "answer" in cell["metadata"].get("course", {{}}):
        source = cell["source"]
        exec(source if isinstance(source, str) else "".join(source))"""


@pytest.mark.parametrize("whose", ["the judge's", "another's"])
def test_no_other_file_can_be_read_and_without_a_sandbox_it_could(judged, assignment, tmp_path, whose):
    path = assignment.path if whose == "the judge's" else hostile.write_submission(tmp_path / "another.ipynb")
    thief = hostile.Attack(
        hostile.BLANK | {"q3": STOLEN.format(path=str(path))}, "q1 q2 q3", note="No such file or directory"
    )
    result = judged(thief)
    assert points(result) == thief.points
    assert thief.note in said(result)
    bare = Sandbox("none", confine.bare, isolated=False)
    assert points(judged(thief, sandbox=bare)) == hostile.FULL  # the theft works where nothing hinders it


def test_nothing_outside_can_be_written(judged, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("sings", encoding="utf-8")
    tmp_path.chmod(0o777)
    canary.chmod(0o666)
    source = f"""\
import os, bigmodel_lab
for path in ({str(canary)!r}, bigmodel_lab.__file__, os.path.join(os.path.dirname(bigmodel_lab.__file__), "new.py")):
    try:
        open(path, "a").write("# changed")
    except OSError:
        continue
    os._exit(1)"""
    assert points(judged(hostile.Attack(hostile.before(source)))) == hostile.FULL
    assert canary.read_text(encoding="utf-8") == "sings"


def test_no_network(judged):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        server.settimeout(0.01)
        abstract.bind("\0lab-test-" + str(os.getpid()))
        abstract.listen()
        source = f"""\
import socket
open_doors = 0
for kind, address in ((socket.AF_INET, ("127.0.0.1", {server.getsockname()[1]})),
                      (socket.AF_INET, ("1.1.1.1", 53)),
                      (socket.AF_UNIX, "\\0lab-test-{os.getpid()}")):
    try:
        with socket.socket(kind) as door:
            door.settimeout(1)
            door.connect(address)
            open_doors += 1
    except OSError as error:
        print(error)
assert open_doors == 0"""
        result = judged(hostile.Attack(hostile.before(source)))
        assert points(result) == hostile.FULL
        assert result.notes == ()
        with pytest.raises(TimeoutError):
            server.accept()


FLOODS = {
    "one long answer": "    json.dumps = lambda *a: type('S', (str,), {'__len__': lambda s: 1})('x' * 9_000_000)",
    "messages of many parts": "    kernel.session.send = lambda s, *a, **k: s.send_multipart([b'x' * 30_000_000] * 9)",
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_from_a_patched_kernel_costs_the_question_alone(judged, flood):
    start = f"import json\nkernel = get_ipython().kernel\ndef spread(values):\n{FLOODS[flood]}\n    return 1"
    attack = hostile.Attack({"q1": start}, "q1")
    before = usage.memory(os.getpid())[0]
    result = judged(attack, limits=replace(LIMITS, probe_seconds=1))
    assert points(result) == attack.points, said(result)
    assert usage.memory(os.getpid())[0] - before < 100 * 2**20


TAMPERED = {
    "a-list": "[1]",
    "no-status": "{'answer': {}}",
    "not-base64": "{'answer': {'status': 'ok', 'data': {'text/plain': '?' * 10}}}",
    "bad-letters": "{'answer': {'status': 'error', 'ename': chr(0x202e) + chr(27), 'evalue': 'x' * 100_000}}",
    "not-json": "{'answer': {'status': 'ok', 'data': {'text/plain': 'W1tb'}}}",
}


@pytest.mark.parametrize("name", TAMPERED)
def test_a_kernel_that_was_tampered_with_says_nothing_that_hurts(judged, name):
    source = f"get_ipython().user_expressions = lambda asked: {TAMPERED[name]}"
    result = judged(hostile.Attack({"q1": source}))
    assert result.points == 0
    said(result).encode()
    assert len(said(result)) < 5000


def test_time_that_runs_out_ends_the_rest(judged):
    slow = hostile.Attack({"q1": "import time\ntime.sleep(30)"})
    result = judged(slow, limits=replace(LIMITS, seconds=30, total_seconds=4))
    assert result.seconds < 12
    assert "the time for all cells was over" in said(result)


def test_after_too_many_deaths_the_rest_is_not_asked(judged):
    source = "import os\ndef spread(values): os._exit(0)\ndef centred(x): os._exit(0)"
    result = judged(hostile.Attack({"q1": source, "q2": "", "q3": ""}))
    assert result.points == 0
    assert len(result.questions[0].probes) == 2
    assert MOST_RESTARTS >= 4  # each of the four deaths was survived
    assert said(result).count("ended Python") == 4


def test_messages_name_what_came_and_never_what_was_expected(judged):
    result = judged(hostile.ATTACKS["wrong-q1"])
    first, second = result.questions[0].probes
    assert second.message == "asked: one number\ncame: 7\nhint: largest minus smallest"
    assert first.message.startswith("asked: five numbers\ncame: ")
    assert "expected" not in said(result)


def test_a_record_for_the_teacher_is_kept(judged, tmp_path):
    result = judged(hostile.ATTACKS["wrong-q2"], keep=tmp_path / "records")
    record = json.loads((tmp_path / "records" / f"{result.submission[:16]}.json").read_text(encoding="utf-8"))
    assert [one["share"] for one in record["asked"]] == [1.0, 1.0, 0.0, 1.0, 1.0]
    assert record["points"] == result.points == 7


def test_progress_is_told(judged):
    told = []
    judged(hostile.ATTACKS["solution"], progress=told.append)
    assert told == [
        "the student's name", "cell 2", "cell 3", "cell 5 (q1)", "cell 8 (q2)", "cell 10 (q3)",
        "q1: 1 of 2", "q1: 2 of 2", "q2: 1 of 1", "q3: 1 of 2", "q3: 2 of 2",
    ]  # fmt: skip


def test_only_the_questions_that_are_given_are_asked(assignment, sandbox, tmp_path):
    part = replace(assignment, questions=assignment.questions[1:2])
    path = hostile.write_submission(tmp_path / "work.ipynb")
    result = grade(part, path, student=hostile.STUDENT, limits=LIMITS, sandbox=sandbox)
    assert points(result) == {"q2": 2.0}


def test_partial_points_are_shares_of_the_question(judged):
    half = hostile.Attack({"q1": "def spread(values):\n    return 0", "q3": "def centred(x):\n    return 0 * x"})
    assert points(judged(half)) == {"q1": 2.0, "q2": 2.0, "q3": pytest.approx(1.0), "q4": 0.0}


@pytest.mark.parametrize(
    ("returned", "points_had"),
    [("7", 4.0), ("-3", 0.0), ("float('nan')", 0.0), ("0.5", 2.0), ("1 / 0", 0.0), ("'a'", 0.0), ("True", 4.0)],
)
def test_what_a_judges_function_returns_is_a_share(assignment, sandbox, tmp_path, returned, points_had):
    judge = f"def probes(rng):\n    yield Probe(expression='spread([1, 2])', judge=lambda got: {returned})"
    part = replace(assignment, questions=(replace(assignment.questions[0], probes=judge),))
    path = hostile.write_submission(tmp_path / "work.ipynb")
    result = grade(part, path, student=hostile.STUDENT, limits=LIMITS, sandbox=sandbox)
    assert result.points == points_had
    assert ("could make nothing" in said(result)) == (returned in ("1 / 0", "'a'"))


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("def probes(rng):\n    1 / 0\n    yield", "ZeroDivisionError"),
        ("def probes(rng):\n    return\n    yield", "none"),
        ("x = 1", "probes"),
        ("def probes(rng):\n    yield Probe(expression='1 +', expected=1)", "SyntaxError"),
        ("def probes(rng):\n    yield Probe(expression='1', expected=object())", "type object"),
        ("def probes(rng):\n    yield Probe(expression='1', inputs={'x': object()}, expected=1)", "cannot be sent"),
        ("def probes(rng):\n    yield Probe(expression='1', inputs={'a b': 1}, expected=1)", "'a b'"),
    ],
)
def test_a_mistake_of_the_teacher_is_no_students_loss(assignment, tmp_path, source, word):
    part = replace(assignment, questions=(replace(assignment.questions[0], probes=source),))
    path = hostile.write_submission(tmp_path / "work.ipynb")
    with pytest.raises(DataError, match=r"judge's cell of q1|at least one probe") as caught:
        grade(part, path, student=hostile.STUDENT)
    assert word in caught.value.got


def test_a_name_that_is_empty_is_refused(assignment, tmp_path):
    with pytest.raises(InputError, match="your name"):
        grade(assignment, hostile.write_submission(tmp_path / "work.ipynb"), student="  ")


@pytest.mark.parametrize("name", ["process-left-behind", "fork-bomb", "endless-cell-that-ignores-interrupts"])
def test_nothing_is_left_running_or_lying(judged, monkeypatch, name):
    folders = []

    def noted():
        folders.append((folder := channel_folder(), folder.stat().st_uid))
        return folder

    monkeypatch.setattr(kernel, "channel_folder", noted)
    judged(hostile.ATTACKS[name])
    assert folders
    assert not [folder for folder, _ in folders if folder.exists()]
    if os.geteuid() == 0:  # then each kernel has a user of its own
        users, end = {user for _, user in folders}, time.monotonic() + 5
        while (running := _running(users)) and time.monotonic() < end:
            time.sleep(0.02)
        assert not running


def _running(users: set[int]) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            ended = "State:\tZ" in (path / "status").read_text(encoding="utf-8")
            found += [path.name] if path.stat().st_uid in users and not ended else []
    return found


def test_two_submissions_at_a_time_do_not_touch(assignment, sandbox, tmp_path):
    names = ["fork-bomb", "solution", "kills-everything"]
    paths = {name: hostile.write_submission(tmp_path / f"{name}.ipynb", hostile.ATTACKS[name]) for name in names}
    results = {}

    def run(name):
        results[name] = grade(assignment, paths[name], student=hostile.STUDENT, limits=LIMITS, sandbox=sandbox)

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name: points(result) for name, result in results.items()} == {
        name: hostile.ATTACKS[name].points for name in names
    }


def test_probes_differ_between_students_and_repeat_for_one(assignment):
    def drawn(student):
        seed = student_seed(student, f"{hostile.NAME}/q1")
        return next(assignment.questions[0].ask(seed)).inputs["values"]

    assert drawn("a") == drawn("A ")
    assert not np.allclose(drawn("a"), drawn("b"))
    assert isinstance(next(assignment.questions[0].ask(0)), Probe)
