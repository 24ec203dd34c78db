"""The library as a whole: its floors, its names, what importing it does, and what its files must not say."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import bigmodel_lab

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "bigmodel_lab"

# An import goes only to a lower floor, or stays within one part. The longest name that fits a module decides.
FLOORS = {
    "": 5,
    "course": 4,
    "plot": 4,
    "cost": 3,
    "explain": 3,
    "explain.auditing": 2,
    "explain.contract": 1,
    "explain.methods": 2,
    "explain.metrics": 2,
    "explain.kernel": 1,
    "explain.players": 1,
    "explain.shapley": 2,
    "privacy": 2,
    "train": 2,
    "check": 1,
    "data": 1,
    "models": 1,
    "runtime": 1,
    "errors": 0,
}
NEVER = {("models", "data"), ("models", "train"), ("explain", "models")}
ONLY_TRAIN_USES = "accelerate"


def modules():
    """Dotted name below the package -> file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def floor(module):
    """The floor of a module and the part that it belongs to; None where nobody gave it one."""
    name = module
    while name and name not in FLOORS:
        name = name.rpartition(".")[0]
    return (FLOORS[name], name) if name or not module else None


def imports(source, module, is_package):
    """What the source of `module` imports, at any depth, type-checking blocks left out."""
    package = ["bigmodel_lab", *filter(None, module.split("."))]
    package = package if is_package else package[:-1]
    for node in _running(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            start = ".".join([*base, *([node.module] if node.module else [])])
            yield start
            yield from (f"{start}.{alias.name}" for alias in node.names)


def _running(node):
    """Every node under `node` that runs, so not `if TYPE_CHECKING:`."""
    yield node
    for child in ast.iter_child_nodes(node):
        guard = getattr(child, "test", None)
        if not (isinstance(child, ast.If) and isinstance(guard, ast.Name) and guard.id == "TYPE_CHECKING"):
            yield from _running(child)


def upward(source, module, is_package=False):
    """Imports of `module` that the floors forbid."""
    here, problems = floor(module), []
    if here is None:
        return [f"{module} stands on no floor: give it one in FLOORS"]
    for target in imports(source, module, is_package):
        if target.split(".")[0] == ONLY_TRAIN_USES and here[1] != "train":
            problems.append(f"{module} imports {target}: only train may")
        if target.split(".")[0] != "bigmodel_lab":
            continue
        inside = target.removeprefix("bigmodel_lab").lstrip(".")
        there = floor(inside)
        if there is None or not inside:  # a plain name of the package itself, such as __version__
            continue
        top = (module.split(".")[0], inside.split(".")[0])
        if top in NEVER or (there[0] >= here[0] and there[1] != here[1]):
            problems.append(f"{module} (floor {here[0]}) imports {target} (floor {there[0]})")
    return problems


class TestFloors:
    @pytest.mark.parametrize(("module", "path"), modules().items(), ids=modules())
    def test_imports_go_down(self, module, path):
        assert upward(path.read_text(encoding="utf-8"), module, path.name == "__init__.py") == []

    @pytest.mark.parametrize(
        ("module", "source"),
        [
            ("errors", "import bigmodel_lab.runtime"),
            ("models.cnn", "from bigmodel_lab.data import images"),
            ("models.cnn", "from bigmodel_lab import train"),
            ("models.cnn", "from ..train import fit"),
            ("models.cnn", "def late():\n    from bigmodel_lab.train.loop import fit"),
            ("data.images", "from bigmodel_lab.runtime import device"),
            ("train.loop", "from bigmodel_lab.plot import curves"),
            ("train.loop", "from bigmodel_lab.privacy import noise"),
            ("explain.boards", "from bigmodel_lab.models.cnn import CNN"),
            ("plot", "from bigmodel_lab.course import serve"),
            ("runtime", "from accelerate import Accelerator"),
            ("loose", "import math"),
        ],
    )
    def test_an_import_that_does_not_is_rejected(self, module, source):
        assert upward(source, module)

    @pytest.mark.parametrize(
        ("module", "source"),
        [
            ("train.loop", "from bigmodel_lab.train.step import Stepper\nfrom bigmodel_lab.errors import InputError"),
            ("train.loop", "from .step import Stepper\nfrom accelerate import Accelerator"),
            ("explain.boards", "from bigmodel_lab.explain.metrics import mass"),
            ("plot", "import bigmodel_lab.runtime\nimport matplotlib"),
            ("models.cnn", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bigmodel_lab import train"),
            ("course.serve", "from bigmodel_lab import __version__"),
        ],
    )
    def test_an_import_that_does_is_accepted(self, module, source):
        assert upward(source, module) == []


def public_modules():
    """Modules that a lesson may name: parts, and what packages list in `__all__`."""
    names = ["bigmodel_lab", *(f"bigmodel_lab.{part}" for part in bigmodel_lab.__all__)]
    for name in names[1:]:
        module = importlib.import_module(name)
        names += [f"{name}.{one}" for one in module.__all__ if inspect.ismodule(getattr(module, one))]
    return names


@pytest.mark.parametrize("name", public_modules())
class TestPublicNames:
    """The order of `__all__` is ruff's business (RUF022)."""

    def test_are_listed_once_in_a_literal(self, name):
        tree = ast.parse(Path(importlib.import_module(name).__file__).read_text(encoding="utf-8"))
        (listed,) = [
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and [getattr(t, "id", None) for t in node.targets] == ["__all__"]
        ]
        names = ast.literal_eval(listed)
        assert isinstance(names, list)
        assert len(names) == len(set(names)) > 0

    def test_exist_and_say_what_they_are(self, name):
        module = importlib.import_module(name)
        assert module.__doc__
        for one in module.__all__:
            thing = getattr(module, one)
            if inspect.isroutine(thing) or inspect.isclass(thing) or inspect.ismodule(thing):
                assert inspect.getdoc(thing), f"{name}.{one} has no docstring"


QUIET = """
import logging, os, random, sys, threading, warnings
started, opened = set(sys.modules), []
sys.addaudithook(lambda event, args: event.startswith("socket.") and opened.append(event))
before = (random.getstate(), list(warnings.filters), list(logging.root.handlers), logging.root.level, dict(os.environ))
import bigmodel_lab
after = (random.getstate(), list(warnings.filters), list(logging.root.handlers), logging.root.level, dict(os.environ))
assert before == after, "importing the library changed the process"
assert not opened, opened
assert threading.active_count() == 1
heavy = {name.split(".")[0] for name in set(sys.modules) - started} - set(sys.stdlib_module_names)
assert heavy == {"bigmodel_lab"}, heavy
"""
STEADY = """
import importlib, random
import numpy as np, torch, matplotlib
def state():
    dtype, style = torch.get_default_dtype(), dict(matplotlib.rcParams)
    return random.getstate(), repr(np.random.get_state()), torch.get_rng_state().tolist(), dtype, style
before = state()
import bigmodel_lab
for part in bigmodel_lab.__all__:
    importlib.import_module(f"bigmodel_lab.{part}")
for was, now, what in zip(before, state(), ["random", "numpy", "torch", "dtype", "style"]):
    assert was == now, f"importing a part changed {what}"
"""


def test_importing_the_package_loads_and_touches_nothing():
    subprocess.run([sys.executable, "-c", QUIET], check=True)


def test_importing_its_parts_leaves_generators_and_settings_alone():
    subprocess.run([sys.executable, "-W", "ignore", "-c", STEADY], check=True)


def test_an_unknown_part_is_an_error_that_lists_the_known():
    with pytest.raises(AttributeError, match="train"):
        bigmodel_lab.no_such_part  # noqa: B018


def test_version_is_written_once():
    declared = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert declared[1] == bigmodel_lab.__version__


def test_every_package_is_installed():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"]
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in PACKAGE.rglob("__init__.py")}
    assert set(declared) == found | {"bigmodel_lab.results"}


# Written so that this file does not find itself.
FORBIDDEN = {
    "a path of one machine": r"(?<![\w.:/~<])/(?:home|root|Users|work)/[\w.-]+",
    "a package registry": r"\b(?:pypi|pythonhosted|download[.]pytorch|registry[.]npmjs|conda[.]anaconda)[.]org",
    "how it was written": r"(?i)\bco-authored[-]by:|\bgenerated (?:with|by) (?:an? )?(?:ai|claude|copilot|chatgpt)\b",
}
VENDORED = ("book/_vendor/",)


def tracked_texts():
    git = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, git.stdout.split("\0")):
        path = ROOT / name
        if not name.startswith(VENDORED) and path.is_file():
            try:
                yield name, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue  # a picture, a font


def slips(name, content):
    """Lines of a file that say what no file here may say."""
    for what, pattern in FORBIDDEN.items():
        for found in re.finditer(pattern, content):
            yield f"{name}:{content.count(chr(10), 0, found.start()) + 1}: {what}: {found[0]}"


def test_no_tracked_file_names_a_machine_a_registry_or_its_author_tools():
    assert [slip for name, content in tracked_texts() for slip in slips(name, content)] == []


@pytest.mark.parametrize(
    "line",
    ["open('/" + "home/me/x.csv')", "pip install -i https://" + "pypi" + ".org/simple x", "Generated " + "with Claude"],
)
def test_a_line_that_does_is_found(line):
    assert len(list(slips("x.py", f"first\n{line}\n"))) == 1
