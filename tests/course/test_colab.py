"""Installing the course on Colab replaces nothing that Colab has: pip itself is asked, without installing anything.

A made-up environment says that it has every package of `colab-packages.txt`, so pip takes those as installed and looks
up only what is missing. What the packages themselves require is not in Colab's list, and is taken as satisfied there.
"""

import json
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from bigmodel_lab.models.pretrained import NAMES as MODELS
from tests.notebooks.ledger import ROOT

pytestmark = pytest.mark.slow

COLAB = Path(__file__).with_name("colab-packages.txt")
COLAB_PYTHON = "3.13"
NEVER_REPLACED = {"matplotlib", "numpy", "pandas", "torch", "transformers"}


def colab_has():
    """Name -> version of each package on Colab."""
    lines = (line.strip() for line in COLAB.read_text(encoding="utf-8").splitlines())
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """The Python of an environment that claims to have Colab's packages."""
    folder = tmp_path_factory.mktemp("colab")
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for name, version in colab_has().items():
        info = site / f"{re.sub('[-_.]+', '_', name)}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "RECORD").write_text("")
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def pip(tmp_path_factory):
    """Colab's own version of pip, as a command; older ones cannot look at another Python without installing."""
    folder = tmp_path_factory.mktemp("pip")
    own = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), f"pip=={colab_has()['pip']}"]
    run = subprocess.run(own, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return [sys.executable, str(folder / "pip")]


@pytest.fixture(scope="module")
def colab_pip(pip, colab):
    """That pip, at work in the made-up environment."""
    return [*pip, "--python", str(colab)]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Our wheel, built from a copy of what it is made of."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("bigmodel_lab", "benchmarks/results"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(built), str(source)]
    run = subprocess.run(pip, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    (path,) = built.glob("*.whl")
    return path


def tiny_wheel(folder, *requirements):
    """A wheel that has nothing but requirements."""
    path, info = folder / "greedy-1.0-py3-none-any.whl", "greedy-1.0.dist-info"
    requires = "".join(f"Requires-Dist: {one}\n" for one in requirements)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: greedy\nVersion: 1.0\n{requires}")
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def what_pip_would_do(pip, wheel, tmp_path):
    """Name -> version of what pip would install there, and its complaint where it cannot."""
    report = tmp_path / "report.json"
    options = ["--dry-run", "--report", str(report), "--python-version", COLAB_PYTHON, "--only-binary=:all:"]
    run = subprocess.run([*pip, "install", str(wheel), *options], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        return {}, run.stderr
    wanted = (one["metadata"] for one in json.loads(report.read_text(encoding="utf-8"))["install"])
    return {canonical(one["name"]): one["version"] for one in wanted}, ""


def harm(pip, wheel, tmp_path):
    """What installing `wheel` would do to Colab that it must not; empty when it only adds packages."""
    installs, complaint = what_pip_would_do(pip, wheel, tmp_path)
    if complaint:
        return [complaint]
    have = {canonical(name): version for name, version in colab_has().items()}
    return [f"{name} {have[name]} -> {version}" for name, version in installs.items() if name in have]


def test_the_list_is_colabs():
    assert {canonical(name) for name in colab_has()} >= NEVER_REPLACED
    assert "+cu" in colab_has()["torch"]


def test_our_wheel_replaces_nothing_on_colab(colab_pip, wheel, tmp_path):
    assert harm(colab_pip, wheel, tmp_path) == []
    installs, _ = what_pip_would_do(colab_pip, wheel, tmp_path)
    assert "bigmodel-lab" in installs
    assert len(installs) <= 11, f"a learner waits for each of these: {installs}"  # small ones, without compiling


def test_our_wheel_brings_the_library_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert "bigmodel_lab/py.typed" in names
    for name in MODELS:
        assert f"bigmodel_lab/checkpoints/{name}/model.safetensors" in names
    saved = (ROOT / "benchmarks" / "results").glob("*.json")
    assert {f"bigmodel_lab/results/{file.name}" for file in saved} <= set(names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"bigmodel_lab"}


@pytest.mark.parametrize("requirement", ["torch>=99", "numpy<2", "transformers>=5.20", "pandas==2.2.2"])
def test_a_package_that_wants_another_version_is_found_out(colab_pip, tmp_path, requirement):
    name = re.match(r"\w+", requirement)[0]
    assert any(name in found for found in harm(colab_pip, tiny_wheel(tmp_path, requirement), tmp_path))


def test_a_package_content_with_what_is_there_does_no_harm(colab_pip, tmp_path):
    assert harm(colab_pip, tiny_wheel(tmp_path, "torch>=2.11", "numpy>=2.0"), tmp_path) == []
