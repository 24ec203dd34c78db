"""Named entities: the sentences of docstrings, with the parameters, types and modules that they name.

The packages are those of `corpus`, read in the same way, with `ast` and without importing them, and divided into
training and test sentences by the same source files: a checkpoint of the course has never seen a test sentence.
How a word gets its tag is told in `mentions`. The CoNLL-2003 shared task (Tjong Kim Sang & De Meulder 2003, arXiv
cs/0306050) fixed the form: one tag a word, B- where an entity begins, I- inside it, O elsewhere.
Dimension letters: N sentences, T words of a sentence.
"""

import ast
import builtins
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from pathlib import Path

import torch
from torch import Tensor

from bigmodel_lab.data.integers import integer
from bigmodel_lab.data.text.corpus import HOLDERS, PACKAGES, SKIPPED, Document, _no_collector, _source, _text, held_out
from bigmodel_lab.data.text.mentions import Known, prose, tagged
from bigmodel_lab.errors import DataError, InputError

__all__ = ["TYPES", "EntitySet", "draw", "entities"]

TYPES = ("NAME", "TYPE", "MODULE")  # a parameter's name, a type, a module
USUAL = ("numpy", "scipy", "sklearn", "matplotlib", "pandas")  # well documented, and read in a few seconds
ALIASES = {"np", "pd", "plt", "mpl", "sp"}  # modules by the names that everyone gives them


@dataclass(frozen=True, eq=False)
class EntitySet:
    """Sentences as words, with one BIO tag a word."""

    words: tuple[tuple[str, ...], ...]  # N sentences of T words each
    tags: tuple[tuple[str, ...], ...]  # as many tags: "O", "B-NAME", "I-NAME", ...
    types: tuple[str, ...]  # of entity, such as ("NAME", "TYPE", "MODULE")
    sources: tuple[str, ...] | None = None  # where each sentence stands

    def __post_init__(self) -> None:
        """Refuse empty sentences, tags that do not fit the words, and an I- that continues nothing."""
        parts = {"words": self.words, "tags": self.tags, "sources": self.sources}
        lengths = {name: len(part) for name, part in parts.items() if part is not None}
        if len(set(lengths.values())) > 1:
            raise InputError("tags (and a source) for every sentence", got=repr(lengths))
        for at, (words, tags) in enumerate(zip(self.words, self.tags, strict=True)):
            if not words or len(words) != len(tags):
                got = f"{len(words)} words and {len(tags)} tags in sentence {at}"
                raise InputError("at least one word in a sentence, and one tag a word", got=got)
            for before, tag in zip(("O", *tags), tags, strict=False):
                kind = tag[2:]
                if tag != "O" and not (tag[:2] in ("B-", "I-") and kind in self.types):
                    raise InputError(f"tags among {', '.join(self.tag_names)}", got=f"{tag!r} in sentence {at}")
                if tag[:2] == "I-" and before[2:] != kind:
                    hint = "an entity begins with B-; of the older scheme IOB1, which begins with I-, mend the tags"
                    raise InputError(f"{tag} after B-{kind} or I-{kind}", got=f"{before!r}, sentence {at}", hint=hint)

    @property
    def tag_names(self) -> tuple[str, ...]:
        """Return every tag there is: "O", then B- and I- of each type."""
        return ("O", *(f"{place}-{kind}" for kind in self.types for place in "BI"))

    def __len__(self) -> int:
        """Return N, the number of sentences."""
        return len(self.words)

    def __getitem__(self, which: slice | Sequence[int] | Tensor) -> "EntitySet":
        """Return the sentences at `which` (a slice, indices or a mask of N booleans) as an EntitySet."""
        if not isinstance(which, slice):
            which = torch.as_tensor(which)
            which = which if which.numel() else which.long()  # torch makes floats of an empty list
        index = torch.arange(len(self))[which].reshape(-1)
        words, tags, sources = (
            None if part is None else tuple(part[i] for i in index.tolist())
            for part in (self.words, self.tags, self.sources)
        )
        return EntitySet(words, tags, self.types, sources)

    def __repr__(self) -> str:
        """Say how many sentences and entities there are."""
        counts = {kind: sum(tags.count(f"B-{kind}") for tags in self.tags) for kind in self.types}
        return f"EntitySet({len(self)} sentences; {', '.join(f'{n} {kind}' for kind, n in counts.items())})"


def entities(
    *, packages: Sequence[str] = USUAL, train: int = 4000, test: int = 1000, plain: float = 0.25, seed: int = 0
) -> tuple[EntitySet, EntitySet]:
    """Return (train, test): sentences from the docstrings of `packages`, their entities tagged by the source code.

    `train` and `test` sentences are drawn by `draw`; where 0 is asked for, all there are, in the order of the files.
    They come from different source files. Sentences that differ in their entities only count once, and one that is in
    the training files is left out of the test. A package that is not installed is left out, and that is printed.
    Raises `InputError` for a package that the corpus does not know, `DataError` where sentences are too few.
    """
    known = [name for name in PACKAGES if name != "python"]
    if isinstance(packages, str) or not packages or not set(packages) <= set(known):
        raise InputError(f"packages among {', '.join(known)}", got=repr(packages), hint='packages=["numpy", "scipy"]')
    sizes = [integer("train", train), integer("test", test)]
    found, seen = list(_sentences(packages)), set()
    sets = []
    for side, count in enumerate(sizes):  # the training files first: what stands in both is theirs
        rows = []
        for held, words, tags, source in found:
            pattern = tuple(word if tag == "O" else tag for word, tag in zip(words, tags, strict=True))
            if held == side and pattern not in seen:
                seen.add(pattern)
                rows.append((words, tags, source))
        whole = _set(rows)
        sets.append(draw(whole, count, plain=plain, seed=seed) if count else whole)
    return sets[0], sets[1]


def draw(whole: EntitySet, count: int, *, plain: float = 0.25, seed: int = 0) -> EntitySet:
    """Return `count` sentences of `whole` at random, a share `plain` of them without any entity.

    Raises `DataError` where there are fewer of one kind than that takes.
    """
    count = integer("count", count, 1)
    if not 0 <= plain <= 1:
        raise InputError("plain, a share from 0 to 1", got=repr(plain), hint="plain=0.25")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(whole), generator=generator).tolist()
    without = [i for i in order if set(whole.tags[i]) == {"O"}]
    named = [i for i in order if set(whole.tags[i]) != {"O"}]
    few = round(plain * count)
    if len(named) < count - few or len(without) < few:
        expected = f"{count - few} sentences with entities and {few} without"
        raise DataError(expected, got=f"{len(named)} and {len(without)}", hint="more packages, or fewer sentences")
    chosen = [*named[: count - few], *without[:few]]
    return whole[[chosen[i] for i in torch.randperm(count, generator=generator).tolist()]]


def _set(rows: list[tuple]) -> EntitySet:
    words, tags, sources = zip(*rows, strict=True) if rows else ((), (), ())
    return EntitySet(words, tags, TYPES, sources)


# --- harvest --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Docstring:
    text: str
    document: Document  # where it stands
    parameters: frozenset[str]
    declared: frozenset[str]


def _sentences(packages: Sequence[str]) -> Iterator[tuple[bool, tuple[str, ...], tuple[str, ...], str]]:
    """Yield (held out?, words, tags, source) of each sentence of the packages."""
    docstrings: list[_Docstring] = []
    classes = {name for name, value in vars(builtins).items() if isinstance(value, type)}
    functions: set[str] = set()
    modules = {*sys.stdlib_module_names, *ALIASES, *packages}
    with _no_collector():
        for name in packages:
            source = _source(name)
            if source is None:
                print(f"entities: {name} is not installed here, left out")
                continue
            for file in sorted([*source.rglob("*.py"), *source.rglob("*.pyi")]):
                module = ".".join([name, *file.relative_to(source).with_suffix("").parts]).removesuffix(".__init__")
                modules.add(module)
                docstrings += _read(file, source, module, classes, functions)
    classes -= {name for name in functions if name.islower()}  # `sort` is hardly ever the class of that name
    names = frozenset(classes), frozenset(modules)
    for one in docstrings:
        known = Known(one.parameters, one.declared, *names)
        side, place = held_out(one.document), f"{one.document.module}.{one.document.name}".rstrip(".")
        for sentence in prose(one.text):
            yield (side, *tagged(sentence, known), place)


def _read(file: Path, package: Path, module: str, classes: set[str], functions: set[str]) -> Iterator[_Docstring]:
    """Yield the docstrings of one file with what is declared around them; note its classes and functions."""
    text = "" if SKIPPED.search(file.relative_to(package).as_posix()) else _text(file)
    if '"""' not in text and not (file.suffix == ".pyi" and "class " in text):
        return
    try:
        with warnings.catch_warnings():  # of doubtful escapes
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError):  # written for another version of Python
        return
    none: frozenset[str] = frozenset()
    stack: list[tuple[str, ast.AST, frozenset[str], frozenset[str]]] = [("", tree, none, none)]
    while stack:
        name, node, parameters, declared = stack.pop()
        if isinstance(node, ast.ClassDef):
            classes.add(node.name)
            declared |= {node.name}
            starts = [c for c in node.body if isinstance(c, ast.FunctionDef) and c.name == "__init__"]
            parameters |= {a for start in starts for a in _arguments(start)}
        elif not isinstance(node, ast.Module):
            functions.add(node.name)
            arguments = _arguments(node)
            parameters |= arguments.keys()
            declared |= {word for words in arguments.values() for word in words}
        doc = ast.get_docstring(node, clean=False) if file.suffix == ".py" else None
        if doc:
            doc = cleandoc(doc)
            names, types = _entries(doc)
            where = Document("", module.split(".")[0], module, name)
            yield _Docstring(doc, where, parameters | names, declared | types)
        inner = [child for child in node.body if isinstance(child, HOLDERS)]
        stack += [(f"{name}.{child.name}".lstrip("."), child, parameters, declared) for child in reversed(inner)]


NAME = re.compile(r"[A-Za-z_]\w*")
SECTION = re.compile(r"^(\w[\w ]*)\n-{3,}$", re.MULTILINE)  # of numpydoc
ENTRY = re.compile(r"^([*\w]+(?:, [*\w]+)*) : (\S.*)$", re.MULTILINE)  # name, name : type


def _entries(doc: str) -> tuple[set[str], set[str]]:
    """Return the parameters that numpydoc's sections list, and all words of the types that they declare."""
    names, types = set(), set()
    sections = SECTION.split(doc)[1:]
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        for left, right in ENTRY.findall(body) if title != "See Also" else ():
            types.update(NAME.findall(right))
            if title.endswith("Parameters"):
                names.update(NAME.findall(left))
    return names, types


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> dict[str, list[str]]:
    """Return the parameters of a function, each with the names in its annotation."""
    a = function.args
    every = [*a.posonlyargs, *a.args, *filter(None, [a.vararg]), *a.kwonlyargs, *filter(None, [a.kwarg])]
    return {
        one.arg: [part.id for part in ast.walk(one.annotation) if isinstance(part, ast.Name)] if one.annotation else []
        for one in every
        if one.arg not in ("self", "cls")
    }
