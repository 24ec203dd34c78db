r"""The directive `{library}`: the public API of a package, one section per public module, from its docstrings.

`:without: data models` leaves out parts that have pages of their own.

The modules are found in the code, so the page cannot forget one. A package that re-exports names is documented as
those names; a package whose `__all__` lists its submodules is entered. Docstrings are plain text with Markdown's
backticks for code and dollars, or \( and \), for formulas; everything else in them is kept as it stands. The fields of
a dataclass are listed with the comments that stand beside them in the source.
"""

import ast
import dataclasses
import importlib.util
import inspect
import re
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

CODE = re.compile(
    r"(?<!`)(`+)(?!`)(?P<code>.+?)(?<!`)\1(?!`)|\$(?P<math>[^$\s](?:[^$]*[^$\s])?)\$|\\\((?P<tex>.+?)\\\)", re.DOTALL
)
MARKUP = re.compile(r"[\\*|]|_(?=\W|$)")
FIELD = re.compile(r"^ {4}(?P<name>[a-z]\w*):.*?(?:  # (?P<comment>.+))?$", re.MULTILINE)


def exported(file: Path) -> list[str]:
    """Return a module's `__all__` without importing the module."""
    for statement in ast.parse(file.read_text("utf-8")).body:
        if isinstance(statement, ast.Assign) and getattr(statement.targets[0], "id", "") == "__all__":
            return ast.literal_eval(statement.value)
    return []


def imported(file: Path, package: str) -> set[str]:
    """Return the names that a package takes out of its modules: `from package.corpus import corpus` is no module."""
    statements = [node for node in ast.parse(file.read_text("utf-8")).body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name for node in statements if node.module != package for alias in node.names}


def public_modules(folder: Path, name: str) -> list[str]:
    """Return the dotted names of the modules to document in the package `name` that lies in `folder`."""
    file = folder / "__init__.py"
    children = exported(file)
    taken = imported(file, name)
    modules = [c for c in children if c not in taken and ((folder / c).is_dir() or (folder / f"{c}.py").is_file())]
    found = [] if modules and len(modules) == len(children) else [name]  # it exports functions and classes of its own
    for child in modules:
        package = folder / child
        found += public_modules(package, f"{name}.{child}") if package.is_dir() else [f"{name}.{child}"]
    return found


def restructured(lines: list[str]) -> list[str]:
    """Return plain text with Markdown's code and $formulas$ as reStructuredText that shows the same."""
    pieces, end, text = [], 0, "\n".join(lines)
    for span in CODE.finditer(text):
        shown = f"``{span['code'].strip()}``" if span["code"] else f":math:`{span['math'] or span['tex']}`"
        pieces += [MARKUP.sub(r"\\\g<0>", text[end : span.start()]), f"\\ {shown}\\ "]
        end = span.end()
    return "".join([*pieces, MARKUP.sub(r"\\\g<0>", text[end:])]).split("\n")


def fields(obj) -> list[str]:
    """Return the fields of a dataclass as a list, each with the comment beside it."""
    comments = {line["name"]: line["comment"] for line in FIELD.finditer(inspect.getsource(obj))}
    names = [field.name for field in dataclasses.fields(obj) if not field.name.startswith("_")]
    return ["", *(f"- `{name}`: {comments[name]}" for name in names if comments.get(name)), ""]


def read_docstring(app, what, name, obj, options, lines) -> None:
    """Rewrite one docstring in place."""
    if what == "class" and dataclasses.is_dataclass(obj):
        lines += fields(obj)
    lines[:] = restructured(lines)


class Library(SphinxDirective):
    """Write the reference of the package named in the argument."""

    required_arguments = 1
    option_spec = {"without": lambda value: value.split()}  # noqa: RUF012 - docutils' way

    def run(self) -> list[nodes.Node]:
        """Return one section per module, each filled by autodoc."""
        package = self.arguments[0]
        left_out = tuple(f"{package}.{part}." for part in self.options.get("without", []))
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:
            raise self.error(f"expected a package to document; got {package!r}; try: pip install -e .")
        modules = public_modules(Path(spec.origin).parent, package)
        return [self.section(name) for name in modules if not f"{name}.".startswith(left_out)]

    def section(self, name: str) -> nodes.section:
        """Return the section of one module."""
        section = nodes.section(ids=[re.sub(r"\W|_", "-", name)], names=[name])
        section += nodes.title("", "", nodes.literal("", name))
        text = ["```{eval-rst}", f".. automodule:: {name}", "   :members:", "```"]
        self.state.nested_parse(StringList(text, source=self.get_source_info()[0]), self.content_offset, section)
        return section


def setup(app):
    """Register the directive, and read docstrings as they are written."""
    app.setup_extension("sphinx.ext.autodoc")
    app.add_directive("library", Library)
    app.connect("autodoc-process-docstring", read_docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
