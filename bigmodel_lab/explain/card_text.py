"""The text of a model card: what a human must say, and how what was measured is written down.

Sections as in Mitchell et al. (2019), arXiv 1810.03993, in their order.
"""

import re
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from bigmodel_lab.errors import InputError

__all__ = ["WORDS", "as_html", "check_name", "check_words", "fill", "flat", "plain", "render", "show"]

WORDS = {
    "description": "what the model does, in a sentence or two",
    "intended_use": "what it is for, and for whom",
    "out_of_scope": "what it must not be used for",
    "factors": "why these groups and conditions were measured, and which could not be",
    "metrics": "why these metrics, and what an error costs",
    "data": "where the examples come from, who or what is in them, and under which licence",
    "ethics": "whom it could harm, and how",
    "caveats": "what a user should do, and watch",
}
BOILERPLATE = re.compile(r"more information needed|\b(?:todo|tbd|fixme|lorem ipsum|n/a)\b", re.IGNORECASE)
MEASURED = re.compile(r"\d\s*%|\d percent|(?<![\d.])0?\.\d", re.IGNORECASE)  # 97 %, 0.97, .97
PLACE = re.compile(r"\{([^{}]*)\}")


def check_name(name: str) -> str:
    """Return `name`; refuse one that a table or a path cannot hold."""
    if not isinstance(name, str) or not name.strip() or re.search(r"[/|:{}\n]", name) or name != name.strip():
        raise InputError(
            "a name without / | : { } and line breaks", got=repr(name), hint='"noise 0.2", not "noise: 0.2"'
        )
    return name


def check_words(words: Mapping[str, str]) -> dict[str, str]:
    """Return what a human said about each of `WORDS`; refuse gaps, boilerplate, and numbers written by hand."""
    if unknown := [name for name in words if name not in WORDS]:
        raise InputError(f"words about {', '.join(WORDS)}", got=", ".join(map(repr, unknown)))
    missing = [name for name in WORDS if not _says_something(words.get(name))]
    if missing:
        asked = "; ".join(f"{name}: {WORDS[name]}" for name in missing)
        raise InputError(
            "what only a human can say", got=f"nothing for {', '.join(missing)}", hint=f"words={{...}} with {asked}"
        )
    said = {name: "\n".join(line.rstrip() for line in words[name].strip().splitlines()) for name in WORDS}
    for name, text in said.items():
        if found := MEASURED.search(PLACE.sub("", text)):
            around = text[max(0, found.start() - 20) : found.end() + 10]
            raise InputError(
                f"{name} without measured numbers in it: they go stale unseen",
                got=f"… {around} …",
                hint="the number's path in braces, {results/all/accuracy/value:.1%}; run={...} for one that is set",
            )
    return said


def _says_something(text: Any) -> bool:
    return isinstance(text, str) and len(re.findall(r"\w+", text)) >= 3 and not BOILERPLATE.search(text)


def fill(text: str, numbers: Mapping[str, Any]) -> str:
    """Replace each {path} or {path:format} in `text` by the number at that path."""

    def number(found: re.Match) -> str:
        path, form = (found[1], "") if found[1] in numbers else found[1].rpartition(":")[::2]
        if path not in numbers:
            near = [key for key in numbers if key.split("/")[-1] == found[1].split("/")[-1].split(":")[0]][:3]
            hint = f"for example {', '.join(near)}" if near else "print(list(card.numbers))"
            raise InputError("the path of a number in the record", got=f"{{{found[1]}}}", hint=hint)
        try:
            return format(numbers[path], form) if form else show(numbers[path])
        except ValueError as error:
            raise InputError(f"a format that fits {numbers[path]!r}", got=f"{form!r} ({error})") from error

    return PLACE.sub(number, text)


def flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings by their path, such as "results/all/accuracy/value"."""
    leaves = {}
    for name, value in tree.items():
        path = f"{before}{name}"
        leaves |= flat(value, f"{path}/") if isinstance(value, Mapping) else {path: value}
    return leaves


def plain(value: Any) -> Any:
    """Return `value` as what YAML holds: numbers, texts, lists and mappings of them."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return plain(value.item()) if hasattr(value, "item") else str(value)  # a tensor or NumPy's number; a dtype


def show(value: Any) -> str:
    """Return a value as the card writes it: three decimals, or four digits; thousands apart."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        size = abs(value)
        return f"{value:.3f}" if 0.01 <= size < 10 else f"{value:,.0f}" if 1e4 <= size < 1e15 else f"{value:.4g}"
    return ", ".join(map(show, value)) if isinstance(value, list) else str(value)


def render(card: Any) -> str:
    """Return the Markdown text of a `Card`."""
    record, results = card.record, card.results
    say = {name: fill(text, card.numbers) for name, text in record["words"].items()}
    held_out, training = record["data"]["held out"], record["data"]["training"]
    parts = [f"# {card.name}", say["description"], *_overall(results), "## Model details"]
    model, versions = record["model"], ", ".join(f"{name} {value}" for name, value in record["versions"].items())
    sizes = ", ".join(f"{name} {show(value)}" for name, value in model["configuration"].items())
    details = {key: model[key] for key in ("class", "parameters", "weights")} | {"configuration": sizes or "not given"}
    details |= {"licence": card.about["license"], "versions": versions, "machine": record["machine"]}
    parts += [_facts(details), "## Intended use", say["intended_use"], f"**Out of scope.** {say['out_of_scope']}"]
    parts += ["## Factors", say["factors"], "## Metrics", say["metrics"]]
    parts.append("Each value stands with its 95 % interval: Wilson's for shares, the bootstrap's for other means.")
    parts += ["## Data", say["data"], _table(("", "held out", "training"), _pairs(held_out, training))]
    parts += ["## Quantitative analyses", *_analyses(results)]
    if "explanations" in record:
        parts += ["## Explanations", "Scores of explanation methods.", _board(record["explanations"])]
    cost = (
        dict(record["cost"])
        if any("energy" in key for key in record["cost"])
        else record["cost"] | {"energy": "not measured"}
    )
    parts += ["## Training and cost", _facts(record["training"] | cost)]
    parts += ["## Ethical considerations", say["ethics"], "## Caveats and recommendations", say["caveats"]]
    parts += ["## Check this card", "It is stale where this prints anything:", CHECK]
    return "\n\n".join(parts) + "\n"


CHECK = """```python
from bigmodel_lab.explain import card

print(*card.check(card.Card.load(folder), model, held_out), sep="\\n")
```"""


def _overall(results: Mapping[str, Any]) -> list[str]:
    return [
        f"**{name} {show(one['value'])}** ({_interval(one)}, {show(one['examples'])} held-out examples)"
        for name, one in results["all"].items()
    ]


def _analyses(results: Mapping[str, Any]) -> Iterable[str]:
    """One table per factor: its groups down, the metrics across."""
    factors = dict.fromkeys(part.partition(": ")[0] for part in results)
    metrics = list(results["all"])
    for factor in factors:
        rows = [
            [
                part.partition(": ")[2] or "all",
                *(f"{show(found[one]['value'])} ({_interval(found[one])})" for one in metrics),
                show(next(iter(found.values()))["examples"]),
            ]
            for part, found in results.items()
            if part.partition(": ")[0] == factor
        ]
        yield _table(({"under": "changed inputs", "all": ""}.get(factor, factor), *metrics, "examples"), rows)


def _pairs(held_out: Mapping[str, Any], training: Mapping[str, Any]) -> Iterable[list[str]]:
    left, right = flat(held_out), flat(training)
    for key in dict.fromkeys([*left, *right]):
        yield [key.removeprefix("classes/"), show(left.get(key, "")), show(right.get(key, ""))]


def _board(rows: Mapping[str, Mapping[str, Any]]) -> str:
    metrics = list(dict.fromkeys(name for row in rows.values() for name in row))
    return _table(
        ("method", *metrics), ([name, *(_score(row.get(one)) for one in metrics)] for name, row in rows.items())
    )


def _score(value: Any) -> str:
    if value is None:
        return "–"
    return f"{show(value['value'])} ({_interval(value)})" if isinstance(value, Mapping) else show(value)


def _interval(found: Mapping[str, float]) -> str:
    return f"{show(found['low'])} to {show(found['high'])}"


def _facts(facts: Mapping[str, Any]) -> str:
    return _table(("", ""), ([name, show(value)] for name, value in facts.items()))


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines
    )


def as_html(text: str, *, label: str) -> str:
    """Return the Markdown that `render` writes as HTML in a box of its own: bold lines for headings."""
    parts = re.split(r"(?ms)^(```.*?^```)$", text)  # every other one is code
    blocks = [block for i, part in enumerate(parts) for block in ([part] if i % 2 else part.split("\n\n"))]
    blocks = "\n".join(_block(block.strip("\n")) for block in blocks if block.strip())
    box = "max-height: 36em; overflow: auto; border: 1px solid #999; border-radius: 4px; padding: 0.4em 1em"
    return f'<div tabindex="0" role="region" aria-label="{escape(label)}" style="{box}">\n{blocks}\n</div>'


def _block(text: str) -> str:
    lines = text.splitlines()
    if text.startswith("```"):
        return f"<pre>{escape(chr(10).join(line for line in lines if not line.startswith('```')))}</pre>"
    if text.startswith("#"):
        return f"<p><strong>{escape(text.lstrip('#').strip())}</strong></p>"
    if not text.startswith("| "):
        return f"<p>{_inline(text)}</p>"
    rows = [re.split(r"(?<!\\) \| ", line[2:-2]) for line in lines if not line.startswith("| ---")]
    cells = [[_inline(cell.strip().replace("\\|", "|")) for cell in row] for row in rows]
    head = "".join(f'<th scope="col">{cell}</th>' for cell in cells[0])
    head = f"<thead><tr>{head}</tr></thead>" if any(cells[0]) else ""
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells[1:])
    return f"<table>{head}<tbody>{body}</tbody></table>"


def _inline(text: str) -> str:
    return re.sub(r"`(.+?)`", r"<code>\1</code>", re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(text)))
