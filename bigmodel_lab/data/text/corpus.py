"""A corpus that every machine already has: the docstrings of its scientific packages, and Python's own help topics.

Sources are parsed with `ast`, never imported. Documents are cleaned, near-duplicates dropped, and divided by source
file into training and test documents, so that neighbours in a file never stand on both sides. The division is a
function of the file's name alone: it is the same on every machine, and the course's own checkpoints kept to it.
The text differs with the versions installed; the manifest says which they were.
"""

import ast
import gc
import json
import os
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from functools import cached_property
from hashlib import blake2b
from importlib import metadata, util
from inspect import cleandoc
from pathlib import Path
from uuid import uuid4

from bigmodel_lab.errors import DataError, InputError

# import name -> name of the distribution, which knows the version; "python" stands for CPython's help topics
PACKAGES = {
    "numpy": "numpy",
    "scipy": "scipy",
    "sklearn": "scikit-learn",
    "torch": "torch",
    "transformers": "transformers",
    "matplotlib": "matplotlib",
    "pandas": "pandas",
    "python": "",
}
RECIPE = 1  # of the harvest: raised when the code below gives other documents
SHORTEST = 80  # characters of a document
TEST_SHARE = 0.1  # of the source files
HOLDERS = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)  # what can have a docstring
# folders and files of tests and of code for compilers, and files whose text stands in another one too
SKIPPED = re.compile(r"(^|/)(tests?/|testing/|_vendor/|_inductor/|_dynamo/|conftest\.py$|convert_|modular_)")
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Document:
    """One docstring."""

    text: str
    package: str  # as imported
    module: str  # the source file, as a dotted name
    name: str  # of the class or function in it, empty for the module's own


@dataclass(frozen=True)
class Origin:
    """What one package gave."""

    package: str
    version: str
    documents: int
    tokens: int  # as `str.split` cuts them


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents, and where they came from."""

    documents: tuple[Document, ...]
    manifest: tuple[Origin, ...]

    @cached_property
    def hash(self) -> str:
        """Return 16 hexadecimal digits that change with every change of a document."""
        digest = blake2b(digest_size=8)
        for document in self.documents:
            digest.update("\0".join(astuple(document)).encode("utf-8", "replace") + b"\1")
        return digest.hexdigest()

    @property
    def texts(self) -> tuple[str, ...]:
        """Return the text of each document."""
        return tuple(document.text for document in self.documents)

    def split(self) -> tuple["Corpus", "Corpus"]:
        """Return (train, test): one source file in ten is held out, which ones depends on their names only."""
        sides: tuple[list[Document], list[Document]] = ([], [])
        for document in self.documents:
            sides[held_out(document)].append(document)
        return tuple(Corpus(tuple(side), _count(side, self.manifest)) for side in sides)

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.documents)

    def __repr__(self) -> str:
        """Show the manifest as a small table."""
        rows = [("package", "version", "documents", "tokens")]
        rows += [(o.package, o.version, f"{o.documents:,}", f"{o.tokens:,}") for o in self.manifest]
        rows.append(("all", self.hash, f"{len(self):,}", f"{sum(o.tokens for o in self.manifest):,}"))
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = (f"{p:<{widths[0]}}  {v:<{widths[1]}}  {d:>{widths[2]}}  {t:>{widths[3]}}" for p, v, d, t in rows)
        return "\n".join(lines)


def held_out(document: Document) -> bool:
    """Say whether `document` is for testing: a function of its source file's name alone."""
    digest = blake2b(f"{document.package}:{document.module}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") < TEST_SHARE * 2**32


def corpus(
    *, packages: Sequence[str] = tuple(PACKAGES), cache: str | Path | None = None, rebuild: bool = False
) -> Corpus:
    """Return the documents of `packages`, harvested once (about 15 seconds) and kept in `cache`.

    `cache` is a folder, by default `~/.cache/bigmodel_lab`. A package that is not installed is left out, and what is
    kept is harvested again when a version has changed or the file is damaged; each of these is printed. Raises
    `InputError` for a package that the corpus does not know, `DataError` where no document is found at all.
    """
    names = [packages] if isinstance(packages, str) else packages
    unknown = [name for name in names if isinstance(packages, str) or name not in PACKAGES]
    if unknown:
        hint = f"packages=[{unknown[0]!r}]" if unknown[0] in PACKAGES else 'packages=["numpy", "scipy"]'
        raise InputError(f"packages among {', '.join(PACKAGES)}", got=", ".join(map(repr, unknown)), hint=hint)
    found = {name: source for name in PACKAGES if name in packages and (source := _source(name))}
    if missing := [name for name in packages if name not in found]:
        print(f"corpus: {', '.join(missing)} not installed here, left out")
    versions = {name: _version(name) for name in found}
    key = blake2b(repr((RECIPE, sorted(versions.items()))).encode(), digest_size=6).hexdigest()
    folder = Path.home() / ".cache" / "bigmodel_lab" if cache is None else Path(cache)
    file = folder / f"corpus-{key}.jsonl"
    if not rebuild:
        try:
            return _read(file)
        except (FileNotFoundError, NotADirectoryError):
            pass  # not kept yet
        except (ValueError, TypeError, KeyError, OSError) as error:
            print(f"corpus: {file.name} is damaged ({type(error).__name__}: {error}); harvesting again")
    print(f"corpus: reading the docstrings of {', '.join(found) or 'nothing'} (once, about 15 seconds)")
    with _no_collector():
        documents = _without_repeats(document for name in found for document in _harvest(name, found[name]))
    if not documents:
        raise DataError(
            "at least one docstring in the packages asked for",
            got=f"none in {', '.join(packages) or 'no package'}",
            hint="pip install numpy scipy scikit-learn, or name other packages: corpus(packages=['python'])",
        )
    origins = [Origin(name, version, 0, 0) for name, version in versions.items()]
    made = Corpus(tuple(documents), _count(documents, origins))
    _write(made, file)
    return made


@contextmanager
def _no_collector() -> Iterator[None]:
    """Switch the cyclic garbage collector off: syntax trees have no cycles, and looking takes longer than parsing."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


# --- harvest --------------------------------------------------------------------------------------------------------


def _source(name: str) -> Path | None:
    """Return the folder of a package, or the file of the help topics; None where it is not installed."""
    if name == "python":
        topics = Path(sysconfig.get_path("stdlib")) / "pydoc_data" / "topics.py"
        return topics if topics.is_file() else None
    spec = util.find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _version(name: str) -> str:
    try:
        return metadata.version(PACKAGES[name]) if PACKAGES[name] else sys.version.split()[0]
    except metadata.PackageNotFoundError:  # a folder copied without its record
        return "unknown"


def _harvest(name: str, source: Path) -> Iterator[Document]:
    """Yield the documents of one package, in the order of its files."""
    if name == "python":
        for topic, text in sorted(_topics(source).items()):
            yield from _document(text, name, f"pydoc_data.topics.{topic}", "")
        return
    for file in sorted(source.rglob("*.py")):
        inside = file.relative_to(source)
        text = "" if SKIPPED.search(inside.as_posix()) else _text(file)
        if '"""' not in text and "'''" not in text:
            continue
        try:
            with warnings.catch_warnings():  # of doubtful escapes; as errors they would cost the file
                warnings.simplefilter("ignore")
                tree = ast.parse(text)
        except (SyntaxError, ValueError):  # written for another version of Python
            continue
        module = ".".join([name, *inside.with_suffix("").parts]).removesuffix(".__init__")
        yield from _docstrings(tree, name, module)


def _text(file: Path) -> str:
    """Return what stands in `file`, nothing where it cannot be read: a folder, a link to nowhere, no permission."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _docstrings(tree: ast.Module, package: str, module: str) -> Iterator[Document]:
    """Yield what the module, its classes and its functions say of themselves; expressions are not walked."""
    stack: list[tuple[str, ast.AST]] = [("", tree)]
    while stack:
        name, node = stack.pop()
        text = ast.get_docstring(node, clean=False)
        if text:
            yield from _document(text, package, module, name)
        inner = [child for child in node.body if isinstance(child, HOLDERS)]
        stack += [(f"{name}.{child.name}".lstrip("."), child) for child in reversed(inner)]


def _topics(file: Path) -> dict[str, str]:
    """Return the dictionary that the file of help topics assigns to `topics`."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "topics":
            return ast.literal_eval(node.value)
    return {}


def _document(text: str, *place: str) -> Iterator[Document]:
    """Yield the cleaned text if it is long enough: no trailing spaces, no more than one empty line in a row."""
    text = CONTROL.sub("", cleandoc(text))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join(map(str.rstrip, text.split("\n")))).strip()
    if len(text) >= SHORTEST:
        yield Document(text, *place)


def _without_repeats(documents: Iterator[Document]) -> list[Document]:
    """Keep the first of documents whose plain lower-case words are the same: they differ in names and numbers only."""
    seen, kept = set(), []
    for document in documents:
        words = " ".join(word for word in document.text.split() if word.isalpha() and word.islower())
        key = blake2b(words.encode(), digest_size=8).digest()
        if key not in seen:
            seen.add(key)
            kept.append(document)
    return kept


def _count(documents: Sequence[Document], origins: Sequence[Origin]) -> tuple[Origin, ...]:
    """Return `origins` with the numbers of `documents`."""
    count = {origin.package: [0, 0] for origin in origins}
    for document in documents:
        count[document.package][0] += 1
        count[document.package][1] += len(document.text.split())
    return tuple(Origin(o.package, o.version, *count[o.package]) for o in origins)


# --- cache ----------------------------------------------------------------------------------------------------------


def _write(made: Corpus, file: Path) -> None:
    """Write manifest and documents, whole or not at all; a folder that cannot be written costs only the cache."""
    header = {"hash": made.hash, "manifest": [asdict(origin) for origin in made.manifest]}
    lines = [header, *(list(astuple(document)) for document in made.documents)]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.stem}-{uuid4().hex}.part")  # of this process alone, open to others as any file
        try:
            with part.open("w", encoding="utf-8") as out:
                out.writelines(json.dumps(line) + "\n" for line in lines)
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        print(f"corpus: not kept for the next time ({error})")


def _read(file: Path) -> Corpus:
    """Read what `_write` wrote; raise ValueError where it is not that."""
    with file.open(encoding="utf-8") as lines:
        header = json.loads(next(lines, ""))
        documents = tuple(Document(*json.loads(line)) for line in lines)
    found = Corpus(documents, tuple(Origin(**origin) for origin in header["manifest"]))
    if found.hash != header["hash"]:
        raise ValueError(f"its hash is {found.hash}, not {header['hash']}")
    return found
