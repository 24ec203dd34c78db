"""Canvas and Moodle: one column is filled in, all else stays, and nobody is dropped in silence."""

import pytest

from bigmodel_lab.course.exports import Score, canvas, moodle, read_scores
from bigmodel_lab.course.files import read_sheet
from bigmodel_lab.errors import DataError, InputError

CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Quiz 1 (87568490),03_attention (87568491),Current Score,Final Score
,,,,,Manual Posting,,(read only),(read only)
    Points Possible,,,,,10.00,20.00,(read only),(read only)
"Müller, Änne",101,u-17,amueller@uni.example,"Group ""A"", Monday",9.00,,90.00,45.00
"O'Hara, Bo",102,u-18,bohara,Group B,8.50,3.00,85.00,40.00
"王, 小明",103,u-19,xwang,Group B,,,,0.00
"Stone, Pat",104,u-20,pstone,Group B,1.00,,10.00,5.00
"Stone, Pat",105,u-21,pstone2,Group B,2.00,,20.00,10.00
"Rest, Ina",106,u-22,irest,Group B,2.00,EX,20.00,10.00
"Student, Test",107,,,Group B,,,,0.00
"""
MOODLE_HEAD = (
    'Identifier,"Full name","ID number","Email address",Status,Grade,"Maximum Grade","Grade can be changed",'
    '"Last modified (submission)","Last modified (grade)","Feedback comments"\n'
)
MOODLE = (
    MOODLE_HEAD + '"Participant 4711","Änne Müller",u-17,amueller@uni.example,"Submitted for grading - ",,20.00,Yes,'
    '"Friday, 27 November 2026, 9:41 AM",-,"<p>say ""hi""</p>"\n'
    '"Participant 4712","Bo O\'Hara",,bo@uni.example,"No submission",3.00,20.00,Yes,-,-,\n'
    '"Participant 4713","Ina Rest",u-22,irest@uni.example,"Submitted for grading - ",5.00,20.00,No,-,-,\n'
)


def scores(*pairs, most=20.0):
    return [Score(student=student, points=points, most=most) for student, points in pairs]


@pytest.fixture
def fill(tmp_path):
    def run(how, text, given, **named):
        source = tmp_path / "in.csv"
        source.write_bytes(text if isinstance(text, bytes) else text.encode())
        return how(source, given, tmp_path / "out.csv", **named)

    return run


def changes(tmp_path):
    """Which cells differ: (row, column) → (before, after); the rest, header and order included, must be the same."""
    before, after = read_sheet(tmp_path / "in.csv"), read_sheet(tmp_path / "out.csv")
    assert (after.header, after.delimiter, after.newline, after.bom) == (
        before.header, before.delimiter, before.newline, before.bom
    )  # fmt: skip
    assert len(after.rows) == len(before.rows)
    return {
        (number, before.header[at]): (old, new)
        for number, (one, other) in enumerate(zip(before.rows, after.rows, strict=True))
        for at, (old, new) in enumerate(zip(one, other, strict=True))
        if old != new
    }


def test_canvas_fills_one_column_and_keeps_the_rest(fill, tmp_path):
    given = scores(("änne  MÜLLER", 12.5), ("bohara", 0), ("u-19", 20))
    done = fill(canvas, CANVAS, given, column="03_attention")
    column = "03_attention (87568491)"
    assert changes(tmp_path) == {(2, column): ("", "12.5"), (3, column): ("3.00", "0"), (4, column): ("", "20")}
    assert (done.filled, done.unmatched, done.added, done.column) == (3, (), False, column)
    assert done.empty == ("Stone, Pat", "Stone, Pat", "Rest, Ina", "Student, Test")


@pytest.mark.parametrize("who", ["101", "U-17", "amueller@uni.example", "amueller", "Müller, Änne", "Änne Müller"])
def test_canvas_finds_a_student_by_each_of_his_names(fill, tmp_path, who):
    assert fill(canvas, CANVAS, scores((who, 7)), column="03_attention").filled == 1
    assert list(changes(tmp_path)) == [(2, "03_attention (87568491)")]


def test_who_is_not_found_or_not_alone_is_listed_and_gets_nothing(fill, tmp_path):
    given = scores(
        ("Eve", 20), ("Pat Stone", 5), ("irest", 5), ("bohara", 1), ("Bo O'Hara", 2), ("Points Possible", 3),
        ("Group B", 4), ("1", 4),
    )  # fmt: skip
    done = fill(canvas, CANVAS, given, column="03_attention")
    assert done.unmatched == (
        "Eve: not in the file",
        "Pat Stone: fits 2 rows: Stone, Pat",
        "irest: the file says that this grade must stay",
        "bohara: another grade fits the same row, O'Hara, Bo",
        "Bo O'Hara: another grade fits the same row, O'Hara, Bo",
        "Points Possible: not in the file",
        "Group B: not in the file",
        "1: not in the file",
    )
    assert (done.filled, changes(tmp_path)) == (0, {})


@pytest.mark.parametrize(
    ("student", "filed_as", "filled", "reason"),
    [
        ("Änni", "mulleranne", 1, ""),  # as Canvas runs a name together
        ("Änne Müller", "mulleranne", 1, ""),
        ("Pat Stone", "pstone2", 1, ""),  # one of two of this name
        ("Pat", "stonepat", 0, "Pat: fits 2 rows: Stone, Pat"),
        ("Bo O'Hara", "mulleranne", 0, "Bo O'Hara: fits 2 rows: Müller, Änne; O'Hara, Bo"),  # under another's name
        ("Nobody", "03_attention", 0, "Nobody: not in the file"),
    ],
)
def test_the_name_that_the_platform_gave_to_a_file_helps_and_never_overrules(fill, student, filed_as, filled, reason):
    done = fill(canvas, CANVAS, [Score(student=student, points=1, most=20, filed_as=filed_as)], column="03_attention")
    assert (done.filled, "".join(done.unmatched)) == (filled, reason)


def test_canvas_adds_a_column_that_is_missing_with_its_points(fill, tmp_path):
    done = fill(canvas, CANVAS, scores(("xwang", 12.25)), column="04_images")
    after = read_sheet(tmp_path / "out.csv")
    assert done.added
    assert after.header[-1] == "04_images"
    assert [row[-1] for row in after.rows] == ["", "20", "", "", "12.25", "", "", "", ""]
    assert [row[:-1] for row in after.rows] == read_sheet(tmp_path / "in.csv").rows


def test_semicolons_bom_line_ends_and_decimal_commas_stay(fill, tmp_path):
    text = CANVAS.replace("87568491", "1").replace("\n", "\r\n")
    rows = "\r\n".join(
        line if '"' in line else line.replace(",", ";").replace(".00", ",00") for line in text.split("\r\n")
    )
    anne = '"Müller, Änne",101,u-17,amueller@uni.example,"Group ""A"", Monday",9.00,,90.00,45.00'
    rows = rows.replace(anne, '"Müller, Änne";101;u-17;amueller@uni.example;"Group ""A""; Monday";9,00;;90,00;45,00')
    rows = "\r\n".join(line for line in rows.split("\r\n") if not line.startswith(('"O', '"王', '"S', '"R')))
    done = fill(canvas, b"\xef\xbb\xbf" + rows.encode(), scores(("101", 12.5)), column="03_attention (1)")
    assert done.filled == 1
    assert changes(tmp_path) == {(2, "03_attention (1)"): ("", "12,5")}
    raw = (tmp_path / "out.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfStudent;ID;")
    assert b'"Group ""A""; Monday"' in raw
    assert raw.count(b"\n") == raw.count(b"\r\n")


@pytest.mark.parametrize(
    ("text", "named", "error", "why"),
    [
        ("Name,Mark\nAnna,3\n", {"column": "x"}, DataError, "columns Student and ID"),
        (CANVAS, {"column": "Final Score"}, DataError, "read only"),
        (CANVAS, {"column": "Quiz 1"}, InputError, "10 points in the file, 20 in the assignment"),
        (CANVAS.replace("Quiz 1 (87568490)", "03_attention (2)"), {"column": "03_attention"}, InputError, "one column"),
        (b"Student,ID\nM\xfcller,3\n", {"column": "x"}, DataError, "UTF-8"),
    ],
)
def test_canvas_refuses_what_it_cannot_fill(fill, tmp_path, text, named, error, why):
    with pytest.raises(error, match=why):
        fill(canvas, text, scores(("101", 3)), **named)
    assert not (tmp_path / "out.csv").exists()


def test_points_are_converted_only_when_asked(fill, tmp_path):
    fill(canvas, CANVAS, scores(("101", 15)), column="Quiz 1", scale=True)
    assert changes(tmp_path) == {(2, "Quiz 1 (87568490)"): ("9.00", "7.5")}


def test_moodle_fills_the_grade_and_keeps_the_rest(fill, tmp_path):
    given = scores(("Änne Müller", 12.5), ("4712", 20), ("Rest", 1), ("Ina Rest", 9), ("submitted for grading -", 3))
    done = fill(moodle, MOODLE, given)
    assert changes(tmp_path) == {(0, "Grade"): ("", "12.5"), (1, "Grade"): ("3.00", "20")}
    assert done.unmatched == (
        "Rest: not in the file",
        "Ina Rest: the file says that this grade must stay",
        "submitted for grading -: not in the file",
    )
    assert done.empty == ()


@pytest.mark.parametrize("who", ["Participant 4711", "4711", "u-17", "amueller", "AMueller@uni.example", "Änne Müller"])
def test_moodle_finds_a_student_by_each_of_his_names(fill, tmp_path, who):
    assert fill(moodle, MOODLE, scores((who, 7))).filled == 1
    assert list(changes(tmp_path)) == [(0, "Grade")]


def test_moodle_in_another_language_with_semicolons_and_a_bom(fill, tmp_path):
    text = "\ufeffID;Vollständiger Name;Status;Bewertung;Bestwertung\r\nTeilnehmer/in 9;Änne Müller;;;20,00\r\n"
    with pytest.raises(DataError, match="--column"):
        fill(moodle, text, scores(("9", 7.5)))
    assert fill(moodle, text, scores(("9", 7.5)), column="Bewertung").filled == 1
    assert changes(tmp_path) == {(0, "Bewertung"): ("", "7,5")}


@pytest.mark.parametrize(
    ("text", "error", "why"),
    [
        (MOODLE.replace("20.00", "100.00"), InputError, "100 points in the file, 20 in the assignment"),
        (MOODLE.replace("20.00", "Competent"), DataError, "the grade's type must be Point"),
        (MOODLE.replace(",Grade,", ",Mark,"), DataError, "a column 'Grade'"),
        (MOODLE_HEAD, DataError, "nothing"),
    ],
)
def test_moodle_refuses_what_it_cannot_fill(fill, text, error, why):
    with pytest.raises(error, match=why):
        fill(moodle, text, scores(("4711", 3)))


def test_moodle_converts_when_asked(fill, tmp_path):
    fill(moodle, MOODLE.replace("20.00", "100.00"), scores(("4711", 3)), scale=True)
    assert changes(tmp_path) == {(0, "Grade"): ("", "15")}


def test_scores_are_read_with_names_as_they_were(tmp_path):
    path = tmp_path / "totals.csv"
    path.write_text("assignment,student,points,most,waiting\n03_try,'=Ann,2.5,10,q3\n03_try,Bo,0,10,\n")
    name, (one, other) = read_scores(path)
    assert (name, one.student, one.points, one.most, one.waiting, other.waiting) == (
        "03_try",
        "=Ann",
        2.5,
        10,
        True,
        False,
    )


@pytest.mark.parametrize(
    "text",
    ["student,points\nA,3\n", "assignment,student,points,most\n", "assignment,student,points,most\nx,A,many,3\n"],
)
def test_a_file_of_scores_that_is_none_is_refused(tmp_path, text):
    path = tmp_path / "totals.csv"
    path.write_text(text)
    with pytest.raises(DataError):
        read_scores(path)
