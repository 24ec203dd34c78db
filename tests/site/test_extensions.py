"""The book's Sphinx extensions on books of one page: what must fail the build does, and says where."""

import importlib.util
import re
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

import pytest
from nbformat import writes
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).parents[2]
EXTENSIONS = ROOT / "book" / "_ext"


def extension(name: str):
    spec = importlib.util.spec_from_file_location(name, EXTENSIONS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def build(tmp_path):
    """Return a function that builds a page, and gives the exit code, the messages and the HTML."""

    def run(page: str) -> tuple[int, str, str]:
        (tmp_path / "index.md").write_text(page, "utf-8")
        (tmp_path / "pixel.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>", "utf-8")
        (tmp_path / "conf.py").write_text(
            f"import sys\nsys.path.insert(0, {str(EXTENSIONS)!r})\n"
            "extensions = ['myst_parser', 'lab_katex', 'lab_pages']\n"
            "myst_enable_extensions = ['dollarmath', 'amsmath', 'attrs_inline']\n"
            "html_math_renderer = 'katex'\n",
            "utf-8",
        )
        out = tmp_path / "out"
        command = [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", str(tmp_path), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        html = out / "index.html"
        return done.returncode, done.stderr, html.read_text("utf-8") if html.exists() else ""

    return run


def test_formulas_become_html_with_numbers_that_can_be_linked_to(build):
    code, messages, html = build("# Page\n\n$$\na &= b \\\\\nc &= d\n$$ (one)\n\nSee {eq}`one` and $\\eqref{one}$.\n")
    assert code == 0, messages
    assert html.count('class="katex-html"') == 1
    assert html.count('href="#equation-one"') == 3
    assert "katex.css" in html


def test_a_page_without_formulas_does_not_load_their_style(build):
    code, messages, html = build("# Page\n\nWords only.\n")
    assert code == 0, messages
    assert "katex" not in html


@pytest.mark.parametrize("formula", [r"$\frac{1}{$", r"$\nosuchcommand$", "$$a + \\label{x}$$"])
def test_a_bad_formula_fails_the_build_and_names_the_page(build, formula):
    code, messages, _ = build(f"# Page\n\nA formula: {formula}\n")
    assert code != 0
    assert "index: cannot typeset" in messages


def test_a_reference_to_no_equation_fails_the_build(build):
    code, messages, _ = build("# Page\n\nSee $\\eqref{nowhere}$.\n")
    assert code != 0
    assert "nowhere" in messages


@pytest.mark.parametrize(("alt", "fault"), [("", "no alt text"), ("plot.png", "a file name"), ("A dot", "")])
def test_a_picture_without_a_description_fails_the_build(build, alt, fault):
    code, messages, _ = build(f"# Page\n\n![{alt}](pixel.svg)\n")
    assert (code == 0) == (fault == ""), messages
    assert fault in messages


def test_a_page_is_described_by_its_first_paragraph_and_chinese_is_marked(build):
    code, messages, html = build("# Page\n\n[背景]{.zh}\n\nThe first paragraph says what this page is all about.\n")
    assert code == 0, messages
    assert '<meta name="description" content="The first paragraph says what this page is all about." />' in html
    assert 'lang="zh-Hans"' in html or 'lang="zh-hans"' in html


def test_docstrings_keep_their_code_and_formulas_and_nothing_else_is_markup():
    restructured = extension("lab_api").restructured
    assert restructured([r"Return \(|\phi|\), a `y`."]) == [r"Return \ :math:`|\phi|`\ , a \ ``y``\ ."]
    assert restructured(["Give `x`s for |values| and *args, $a_1$."]) == [
        r"Give \ ``x``\ s for \|values\| and \*args, \ :math:`a_1`\ ."
    ]


def test_the_library_pages_name_every_public_module():
    find = extension("lab_api").public_modules
    found = find(ROOT / "bigmodel_lab", "bigmodel_lab")
    assert {"bigmodel_lab.course", "bigmodel_lab.train", "bigmodel_lab.data.images", "bigmodel_lab.models.cnn"} <= set(
        found
    )
    assert not [name for name in found if name.startswith("bigmodel_lab.train.")]
    assert {"bigmodel_lab.explain", "bigmodel_lab.explain.metrics", "bigmodel_lab.data.text"} <= set(found)
    assert "bigmodel_lab.data.text.corpus" not in found  # a function, documented with those of data.text
    parts = re.search(r":without: (.+)", (ROOT / "book" / "library.md").read_text("utf-8"))[1].split()
    for part in parts:
        page = (ROOT / "book" / f"library_{part}.md").read_text("utf-8")
        assert f"```{{library}} bigmodel_lab.{part}\n" in page
        below = [name for name in found if f"{name}.".startswith(f"bigmodel_lab.{part}.")]
        assert find(ROOT / "bigmodel_lab" / part, f"bigmodel_lab.{part}") == below != []


def test_a_colab_link_is_built_from_the_repository():
    links = extension("lab_pages").lesson_links(
        "https://github.com/me/fork", "dev", "https://colab.research.google.com", "notebooks/03_1_x", "../"
    )
    assert 'href="https://colab.research.google.com/github/me/fork/blob/dev/notebooks/03_1_x.ipynb"' in links
    assert 'href="../_sources/notebooks/03_1_x.ipynb" download="03_1_x.ipynb"' in links


DOT = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="  # a PNG


def lesson() -> str:
    """Return a notebook whose one cell has kept a picture named `dot`, as `runtime.glue` does."""
    prefix = "application/papermill.record/"
    data = {prefix + "image/png": DOT, prefix + "text/plain": "a dot"}
    metadata = {"scrapbook": {"name": "dot", "mime_prefix": prefix}}
    cell = new_code_cell("", outputs=[new_output("display_data", data, metadata=metadata)])
    return writes(new_notebook(cells=[cell], metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}))


@pytest.fixture
def build_beside_a_lesson(tmp_path):
    """Return a function that builds a page beside a notebook that has kept a picture named `dot`."""

    def run(page: str) -> tuple[int, str, str]:
        (tmp_path / "index.md").write_text(f"# Page\n\n{page}\n\n```{{toctree}}\nlesson\n```\n", "utf-8")
        (tmp_path / "lesson.ipynb").write_text(lesson(), "utf-8")
        (tmp_path / "conf.py").write_text(
            f"import sys\nsys.path.insert(0, {str(EXTENSIONS)!r})\n"
            "extensions = ['myst_nb', 'lab_figure']\nnb_execution_mode = 'off'\n"
            "suppress_warnings = ['toc.no_title', 'toc.not_readable']\n",
            "utf-8",
        )
        out = tmp_path / "out"
        command = [sys.executable, "-m", "sphinx", "-q", str(tmp_path), str(out)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        html = out / "index.html"
        return done.returncode, done.stderr, html.read_text("utf-8") if html.exists() else ""

    return run


def test_a_picture_of_a_lesson_comes_with_alt_text_and_caption(build_beside_a_lesson, tmp_path):
    code, messages, html = build_beside_a_lesson(
        "```{lesson-figure} dot\n:doc: lesson.ipynb\n:alt: A dot\n\nOne dot.\n```"
    )
    assert code == 0, messages
    image = re.search(r'<img[^>]*alt="A dot"[^>]*src="([^"]+)"', html)
    assert (tmp_path / "out" / image.group(1)).read_bytes() == b64decode(DOT)
    assert "<p>One dot.</p>" in html


@pytest.mark.parametrize(
    ("directive", "fault"),
    [
        ("```{lesson-figure} dot\n:doc: lesson.ipynb\n\nNo alt text.\n```", "no alt"),
        ("```{lesson-figure} dash\n:doc: lesson.ipynb\n:alt: A dash\n\nNo such picture.\n```", "'dash' not found"),
        ("```{lesson-figure} dot\n:doc: other.ipynb\n:alt: A dot\n\nNo such lesson.\n```", "not found in doc 'other'"),
    ],
)
def test_a_picture_that_cannot_be_shown_is_reported(build_beside_a_lesson, directive, fault):
    assert fault in build_beside_a_lesson(directive)[1]


def test_styles_lose_comments_and_indentation_and_keep_licences_and_rules(tmp_path):
    (tmp_path / "_static").mkdir()
    style = tmp_path / "_static" / "a.css"
    style.write_text("/*! MIT */\n/* two\n lines */\n@media print {\n\n  a { color: red; } /* red */\n}\n", "utf-8")
    extension("lab_slim").slim_styles(tmp_path)
    assert style.read_text("utf-8") == "/*! MIT */\n@media print {\na { color: red; }\n}\n"


CLAIMS = """
- {id: C01, section: "1", says: 大模型, means: A large model., verdict: holds, found: Yes **it** does.,
   evidence: {01_1_lesson: [1, 2]}}
- {id: C02, section: "1", says: Small., means: A small one., verdict: wrong, found: No., evidence: {01_1_lesson: [1]}}
"""
QUIZ = """
3: [{id: six, question: "What is `6 N D`?", choices: [one, two, three], answer: 1, explanation: Because.,
     evidence: {notebook: 01_1_lesson, cell: x}}]
"""


@pytest.fixture
def build_with_claims(tmp_path):
    """Return a function that builds a page beside a lesson with tagged cells, claims and questions."""

    def run(page: str) -> tuple[int, str, dict[str, str]]:
        cells = [new_code_cell("assert True", metadata={"tags": [tag]}) for tag in ("claim-C01", "claim-C01", "other")]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        for folder in ("book", "notebooks"):
            (tmp_path / folder).mkdir()
        (tmp_path / "index.md").write_text("# Book\n\n```{toctree}\nbook/page\nnotebooks/01_1_lesson\n```\n", "utf-8")
        (tmp_path / "book" / "page.md").write_text(f"# Page\n\n{page}\n", "utf-8")
        lesson = new_notebook(cells=[new_markdown_cell("# Lesson"), *cells], metadata=kernel)
        (tmp_path / "notebooks" / "01_1_lesson.ipynb").write_text(writes(lesson), "utf-8")
        (tmp_path / "claims.yml").write_text(CLAIMS, "utf-8")
        (tmp_path / "quizzes.yml").write_text(QUIZ, "utf-8")
        (tmp_path / "conf.py").write_text(
            f"import sys\nsys.path.insert(0, {str(EXTENSIONS)!r})\n"
            "extensions = ['myst_nb', 'lab_claims', 'lab_quiz']\nnb_execution_mode = 'off'\n"
            "suppress_warnings = ['myst-nb.lexer']\n"
            "lab_claims_file, lab_quiz_file = 'claims.yml', 'quizzes.yml'\n",
            "utf-8",
        )
        command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", ".", "out"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        html = {path.stem: path.read_text("utf-8") for path in tmp_path.glob("out/*/*.html")}
        return done.returncode, done.stderr, html

    return run


def test_claims_lead_to_their_cells(build_with_claims):
    code, messages, html = build_with_claims("```{claims}\n```")
    assert code == 0, messages
    links = re.findall(r'href="\.\./notebooks/01_1_lesson\.html#(claim-[^"]+)"', html["page"])
    assert links == ["claim-c01", "claim-c01-2", "claim-c02"]
    assert set(links[:2]) <= set(re.findall(r'id="(claim-[^"]+)"', html["01_1_lesson"]))
    assert 'id="c01"' in html["page"]
    assert "<strong>it</strong>" in html["page"]
    assert html["page"].count('type="radio"') == 4
    assert re.findall(r'lab-count">(\d)<', html["page"]) == ["1", "0", "1"]


def test_some_claims_make_a_table(build_with_claims):
    code, messages, html = build_with_claims("```{claims}\n:only: C02\n:as: table\n```")
    assert code == 0, messages
    assert "A small one." in html["page"]
    assert "A large model." not in html["page"]


@pytest.mark.parametrize(("page", "fault"), [("```{claims}\n:only: C99\n```", "C99"), ("```{quiz} 4\n```", "got 4")])
def test_a_claim_or_a_quiz_that_is_not_there_fails_the_build(build_with_claims, page, fault):
    code, messages, _ = build_with_claims(page)
    assert code != 0
    assert fault in messages


def test_a_question_marks_its_key_and_explains_it(build_with_claims):
    code, messages, html = build_with_claims("```{quiz} 3\n```")
    assert code == 0, messages
    choices = re.findall(r'<label[^>]*><input type="radio" name="quiz-six" value="\d">', html["page"])
    assert ["lab-key" in choice for choice in choices] == [False, True, False]
    assert html["page"].count("lab-key") == 1
    assert "<strong>two.</strong>" in html["page"]
    assert 'href="../notebooks/01_1_lesson.html"' in html["page"]


def test_the_first_use_of_a_term_in_a_chapter_leads_to_the_glossary(tmp_path):
    pages = {
        "index": "# Book\n\n```{toctree}\none\ntwo\nglossary\n```\n",
        "one": "# 1. One feature map\n\nTwo feature maps, one feature-map; `weight`.\n\n```{toctree}\none_a\n```\n",
        "one_a": "# 1.1 Lesson\n\nA feature map and a weight. The weighted mean, [weight](two.md), regularisation.\n",
        "two": "# 2. Two\n\nA feature map.\n",
        "glossary": "# Glossary\n\n```{glossary}\nfeature map\n特征图\n  A map, a weight.\n\n"
        "weight\n  W.\n\nregularization\n  R.\n```\n",
    }
    for name, text in pages.items():
        (tmp_path / f"{name}.md").write_text(text, "utf-8")
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(EXTENSIONS)!r})\nextensions = ['myst_parser', 'lab_terms']\n", "utf-8"
    )
    command = [sys.executable, "-m", "sphinx", "-q", "-W", ".", "out"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = {
        name: re.findall(
            r'lab-term[^>]*#(term-[^"]+)">([^<]+)<', (tmp_path / "out" / f"{name}.html").read_text("utf-8")
        )
        for name in pages
    }
    assert found == {
        "index": [],
        "one": [("term-feature-map", "feature maps")],
        "one_a": [("term-weight", "weight"), ("term-regularization", "regularisation")],
        "two": [("term-feature-map", "feature map")],
        "glossary": [],
    }
