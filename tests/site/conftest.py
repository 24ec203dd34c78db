"""One walk through the built site for all tests of this folder.

The site lies in the folder that the variable BOOK_HTML names, or in `_build/html`.
The browser is the Chromium of the machine (or the program that the variable CHROMIUM names), driven by node.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def walk(site: Path, output: Path, *, search: str = "") -> dict:
    """Open every page of `site` in Chromium and return what was seen."""
    command = ["node", str(HERE / "visit.mjs"), str(site), str(output), *(["--search", search] if search else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    if done.returncode:
        pytest.fail(f"expected: a walk through {site}\ngot:      {done.stderr.strip()[-2000:]}", pytrace=False)
    return json.loads(output.read_text("utf-8"))


@pytest.fixture(scope="session")
def browser():
    """Install the two npm packages that drive the browser, unless they are there."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.fail("expected: node and npm\ntry:      install Node.js 18 or newer", pytrace=False)
    if not (HERE / "node_modules" / "axe-core").is_dir():
        environment = os.environ | {"PUPPETEER_SKIP_DOWNLOAD": "1"}
        done = subprocess.run(
            ["npm", "ci"], cwd=HERE, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode:
            pytest.fail(f"expected: `npm ci` to work in {HERE}\ngot:      {done.stderr[-1500:]}", pytrace=False)


@pytest.fixture(scope="session")
def site() -> Path:
    """Return the folder of the built site."""
    folder = Path(os.environ.get("BOOK_HTML") or ROOT / "_build" / "html").resolve()
    if not (folder / "index.html").is_file():
        pytest.fail(
            f"expected: the built book\ngot:      no index.html in {folder}\n"
            "try:      build it first, or point the variable BOOK_HTML at it",
            pytrace=False,
        )
    return folder


@pytest.fixture(scope="session")
def report(browser, site, tmp_path_factory) -> dict:
    """Return what was seen on every page of the built site."""
    return walk(site, tmp_path_factory.mktemp("site") / "report.json", search="convolution")


@pytest.fixture(scope="session")
def broken(browser, tmp_path_factory) -> tuple[dict, Path]:
    """Return what was seen on a small site that does everything wrong, and its folder."""
    folder = tmp_path_factory.mktemp("broken")
    shutil.copytree(HERE / "broken_site", folder, dirs_exist_ok=True)
    (folder / "heavy.js").write_text("// " + os.urandom(300_000).hex(), "utf-8")
    return walk(folder, folder / "report.json", search="anything"), folder
