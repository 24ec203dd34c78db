"""Tiny notebooks for the tests: a sound one, and cells to spoil it with."""

import nbformat
from nbformat import v4

from bigmodel_lab.course import INSTALL_TAGS, install_cell

URL = "https://github.com/big-model-lab/course"


def text(source: str, id: str) -> nbformat.NotebookNode:
    return v4.new_markdown_cell(source, id=id)


def code(source: str, id: str, *tags: str, **metadata) -> nbformat.NotebookNode:
    return v4.new_code_cell(source, id=id, metadata={**({"tags": list(tags)} if tags else {}), **metadata})


def notebook(*cells: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A notebook in its committed form."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return v4.new_notebook(cells=list(cells), metadata={"kernelspec": kernel, "language_info": {"name": "python"}})


def lesson(url: str = URL) -> nbformat.NotebookNode:
    """A lesson that no check objects to."""
    return notebook(
        text("# A lesson\n\n## Objectives\n\n- See that one is one.", "t1"),
        code(install_cell(url), "c1", *INSTALL_TAGS),
        text("## Idea\n\nOne is one.", "t2"),
        code("import matplotlib.pyplot as plt\n\none = 1\nprint(one)", "c2"),
        text("The picture shows a line.", "t3"),
        code("plt.plot([one, one]);", "c3", mystnb={"image": {"alt": "A level line at height one."}}),
        code("assert one == 1", "c4"),
        text("## Exercises\n\n## What we learned\n\n## References", "t4"),
    )


def as_if_run(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """`notebook` with counts on the cells that are to run and a small picture where one is drawn."""
    count = 0
    for cell in notebook.cells:
        if cell.cell_type == "code" and "nbval-skip" not in cell.metadata.get("tags", []):
            count += 1
            cell.execution_count = count
            if "plt.plot" in cell.source:
                cell.outputs = [v4.new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure>"})]
    return notebook
