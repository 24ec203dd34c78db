"""Model cards that are generated from the run they describe, and can be tested against the model afterwards.

Sections as in Mitchell et al. (2019), arXiv 1810.03993; file format: Hugging Face's (YAML metadata, then Markdown,
https://huggingface.co/docs/hub/model-cards). The metadata hold everything that was measured; the text is rendered from
them, so a number that nobody measured cannot stand in it. What only a human can say is asked for, never filled in.
What stands in a card is measured in `evidence.py`, written down in `card_text.py`. Dimension letters: N examples.
"""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date as calendar
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch import __version__ as torch_version

from bigmodel_lab import __version__, runtime, train
from bigmodel_lab.errors import DataError, InputError
from bigmodel_lab.explain.card_text import WORDS, as_html, check_name, check_words, fill, flat, plain, render, show
from bigmodel_lab.explain.evidence import (
    HeldOut,
    about_board,
    about_data,
    about_model,
    cost_of,
    interval,
    measure,
    shared,
)

__all__ = ["WORDS", "Card", "HeldOut", "Stale", "check", "interval", "measure", "model_card"]

SEEN = "also in the training data"


@dataclass(frozen=True)
class Stale:
    """One entry of a card that does not hold any more."""

    what: str
    expected: Any  # what the card says, None where it says nothing
    got: Any  # what was measured now, None where it was not

    def __str__(self) -> str:
        """Say what the card says and what is true."""
        expected, got = (f"{one:.6g}" if isinstance(one, float) else show(one) for one in (self.expected, self.got))
        return f"{self.what}: expected {expected}, got {got}"


def model_card(
    model: nn.Module,
    test: HeldOut,
    *,
    name: str,
    words: Mapping[str, str],
    license: str,
    task: str,
    training: tuple[Tensor, Tensor],
    history: train.History | Mapping[str, Any],
    seed: int,
    date: str | None = None,
    run: Mapping[str, Any] | None = None,
    board: Any = None,
    cost: Mapping[str, float] | None = None,
    tags: Sequence[str] = ("big-model-lab",),
) -> "Card":
    """Measure `model` on `test` and return its card.

    - `words`: what a human must say, one text for each of `WORDS`. A measured number in a text stands for itself by its
      path, such as `{results/all/accuracy/value:.1%}`; a share written out is refused.
    - `license`, `task`: Hugging Face's identifiers, such as "mit" and "image-classification".
    - `training`: inputs and targets that it was trained on; hashed, counted, and looked for among the held-out ones.
    - `history`: what `train.fit` returned, or plain names and values; `run`: further facts (command, learning rate).
    - `board`: an `explain.Board`, or numbers as method -> metric -> value.
    - `cost`: what was measured besides, such as `{"energy (Wh)": 1.3}`. Energy that nobody measured is said to be so.
    """
    said = check_words(words)
    results = measure(model, test)
    record = {
        "model": about_model(model),
        "data": {"held out": _held_out(test, training), "training": about_data(*training, test.classes)},
        "training": _training(history) | {"seed": seed, "date": date or str(calendar.today())} | _named(run),
        "versions": {"python": platform.python_version(), "torch": str(torch_version), "bigmodel_lab": __version__},
        "machine": runtime.describe(),
        "cost": cost_of(model, test.inputs[:1]) | _named(cost),
        "words": said,
    }
    if board is not None:
        record["explanations"] = about_board(board)
    about = {"license": license, "library_name": "pytorch", "pipeline_tag": task, "tags": list(tags)}
    return Card(name=check_name(name), about=about | {"metrics": list(test.metrics)}, results=results, record=record)


@dataclass(frozen=True, kw_only=True, eq=False)
class Card:
    """A model card: what was measured, from which its text follows."""

    name: str
    about: Mapping[str, Any]  # Hugging Face's own keys: license, library_name, pipeline_tag, tags, metrics
    results: Mapping[str, Mapping[str, Mapping[str, float]]]  # as `measure` returns them; `model-index` in the file
    record: Mapping[str, Any]  # everything else, by names

    def __post_init__(self) -> None:
        """Refuse a text that speaks of numbers which are not there."""
        for text in self.record["words"].values():
            fill(text, self.numbers)

    @property
    def numbers(self) -> dict[str, Any]:
        """Return every entry by its path, such as "results/colour: red/accuracy/value"."""
        kept = {key: value for key, value in self.record.items() if key != "words"}
        return flat({"results": self.results} | kept)

    @property
    def text(self) -> str:
        """Return the Markdown below the metadata."""
        return render(self)

    @property
    def content(self) -> str:
        """Return the whole file: metadata between two lines of dashes, then the text."""
        from huggingface_hub import EvalResult, ModelCardData

        data = self.record["data"]["held out"]
        shared = {"task_type": self.about["pipeline_tag"], "dataset_type": data["name"], "dataset_name": data["name"]}
        rows = [
            EvalResult(
                **shared,
                dataset_config=part,
                dataset_revision=data["hash"],
                metric_type=metric,
                metric_value=found["value"],
                metric_args={key: found[key] for key in found if key != "value"},
            )
            for part, metrics in self.results.items()
            for metric, found in metrics.items()
        ]
        metadata = ModelCardData(model_name=self.name, eval_results=rows, **self.about, record=self.record)
        return f"---\n{metadata.to_yaml(line_break=chr(10))}\n---\n{self.text}"

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write `README.md` into `folder`, complete or not at all; another card there stays unless `overwrite`."""
        file, content = Path(folder) / "README.md", self.content
        if file.exists() and not overwrite and file.read_bytes() != content.encode():
            raise InputError("a folder without another card", got=str(file), hint="overwrite=True, or another folder")
        file.parent.mkdir(parents=True, exist_ok=True)
        beside = file.with_name(f"README.md.{os.getpid()}.part")
        try:
            beside.write_bytes(content.encode())
            os.replace(beside, file)
        finally:
            beside.unlink(missing_ok=True)
        return file

    @classmethod
    def load(cls, folder: str | Path) -> "Card":
        """Read the card in `folder`. Raises `DataError` where its text is not what its own record says."""
        from huggingface_hub import ModelCard

        file = Path(folder) / "README.md" if Path(folder).is_dir() else Path(folder)
        if not file.is_file():
            raise DataError(f"a model card, {file}", got="no such file", hint="card.save(folder) first")
        read = ModelCard.load(file)
        about = read.data.to_dict()
        record, _ = about.pop("record", None), about.pop("model-index", None)
        if not isinstance(record, dict) or not read.data.eval_results:
            raise DataError("a card that model_card wrote", got=f"{file} without its record", hint="write it anew")
        results: dict[str, dict] = {}
        for one in read.data.eval_results:
            value = {"value": one.metric_value} | (one.metric_args or {})
            results.setdefault(one.dataset_config, {})[one.metric_type] = value
        try:
            card = cls(name=read.data.model_name, about=about, results=results, record=record)
            want, got = card.text.splitlines(), read.text.splitlines()
        except (InputError, KeyError, TypeError, AttributeError) as error:
            raise DataError("a whole record in the card's metadata", got=f"{type(error).__name__}: {error}") from error
        for number in range(max(len(want), len(got))):
            pair = [lines[number] if number < len(lines) else "(no line)" for lines in (want, got)]
            if pair[0] != pair[1]:
                hint = "the text or the record was edited by hand: generate the card again"
                raise DataError(f"{pair[0]!r}, as the card's own record says", got=repr(pair[1]), hint=hint)
        return card

    def __eq__(self, other: object) -> bool:
        """Say whether both are the same file."""
        return isinstance(other, Card) and self.content == other.content

    __hash__ = None

    def __repr__(self) -> str:
        """Say what it describes."""
        return f"Card({self.name}: {len(self.results)} results on {self.record['data']['held out']['name']})"

    def _repr_html_(self) -> str:
        """Show the text in a notebook, headings as bold lines: a page's own outline stays what it is."""
        return as_html(self.text, label=f"Model card of {self.name}")


def check(
    card: Card,
    model: nn.Module,
    test: HeldOut,
    *,
    training: tuple[Tensor, Tensor] | None = None,
    board: Any = None,
    tolerance: float = 1e-4,
) -> list[Stale]:
    """Measure again; return what the card says and is not so (empty: the card holds).

    Compared are the hashes of weights and held-out data, sizes, every result, and, where they are given, the `training`
    data and the `board`. `tolerance` is relative above 1 and absolute below; where another machine may decide a close
    call otherwise, allow an example or two: 2 / N.
    """
    fresh = {"model": about_model(model), "data": {"held out": _held_out(test, training)}}
    if training is not None:
        fresh["data"]["training"] = about_data(*training, test.classes)
    if board is not None:
        fresh["explanations"] = about_board(board)
    fresh["results"] = measure(model, test)
    got, parts = flat(fresh), tuple(f"{part}/" for part in (*(set(fresh) - {"data"}), "data/held out"))
    parts += ("data/training/",) * (training is not None)
    ours = {key: value for key, value in card.numbers.items() if key.startswith(parts)}
    if training is None:
        ours.pop(f"data/held out/{SEEN}", None)
    stale = [
        Stale(key, ours.get(key), got.get(key))
        for key in dict.fromkeys([*got, *ours])
        if not _same(ours.get(key), got.get(key), tolerance)
    ]
    gone = {one.what.removesuffix("/value") for one in stale if one.what.endswith("/value")}
    return [one for one in stale if one.what.endswith("/value") or one.what.rpartition("/")[0] not in gone]


def _held_out(test: HeldOut, training: tuple[Tensor, Tensor] | None) -> dict[str, Any]:
    seen = {} if training is None else {SEEN: shared(training[0], test.inputs)}
    return {"name": test.name} | about_data(test.inputs, test.targets, test.classes) | seen


def _training(history: train.History | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(history, Mapping):
        return _named(history)
    last = {key: value for key, value in history.rows[-1].items() if key not in ("epoch", "seconds")}
    facts = {"epochs": len(history.rows), "steps": len(history.step_losses)}
    return (
        facts
        | {f"last {key.replace('_', ' ')}": value for key, value in last.items()}
        | {"seconds": sum(history.column("seconds"))}
    )


def _named(facts: Mapping[str, Any] | None) -> dict[str, Any]:
    return {check_name(name): plain(value) for name, value in (facts or {}).items()}


def _same(want: Any, got: Any, tolerance: float) -> bool:
    if isinstance(want, float) and isinstance(got, float):
        return abs(got - want) <= tolerance * max(1.0, abs(want))
    return want == got
