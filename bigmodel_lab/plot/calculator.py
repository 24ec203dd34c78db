"""A calculator in the page: what a training run takes, live, without a server.

Its arithmetic is `calculator.js`, the same formulas as `bigmodel_lab.cost`, from which its tables come. Where no script
runs, a table of published runs stays. Colours are the page's own, so it is as light or as dark as the page.
"""

import json
from html import escape
from pathlib import Path

from bigmodel_lab.cost import GPUS, RUNS, PublishedRun, Run, gpu, run_cost
from bigmodel_lab.plot.html import Html

__all__ = ["cost_calculator"]

# name, label, unit
FIELDS = (
    ("parameters", "Parameters", "billions"),
    ("active", "Active per token", "billions"),
    ("tokens", "Tokens", "billions"),
    ("gpus", "GPUs", "number"),
    ("peak", "Peak of one GPU", "TFLOP/s"),
    ("memory", "Memory of one GPU", "GB"),
    ("utilisation", "Utilisation (MFU)", "%"),
    ("price", "Price of a GPU-hour", "$"),
    ("watts", "Power per GPU", "W"),
    ("pue", "PUE", "at least 1"),
    ("carbon", "Grid CO₂", "kg per kWh"),
)
OUTPUTS = (
    ("seconds", "Time"),
    ("gpuHours", "GPU-hours"),
    ("money", "Money"),
    ("kwh", "Energy"),
    ("co2", "CO₂-equivalent"),
    ("operations", "Operations, 6 N D"),
    ("bytes", "Memory for weights, gradients, AdamW"),
    ("leastGpus", "GPUs that hold it, at least"),
)
PRICE, PUE, CARBON = 2.0, 1.1, 0.4  # where a run's source says nothing; the price is DeepSeek-V3's assumption
COUNT = 1024  # GPUs, likewise
STYLE = """
.lab-cost{max-width:44rem}
.lab-cost form{display:grid;grid-template-columns:repeat(auto-fill,minmax(8.8rem,1fr));gap:.6rem .8rem;margin:0 0 .8rem}
.lab-cost form[hidden],.lab-cost table[hidden]{display:none}
.lab-cost label{display:flex;flex-wrap:wrap;align-content:end;align-items:baseline;column-gap:.3em;\
font-size:.85rem;line-height:1.3}
.lab-cost small{font-size:.75rem}
.lab-cost .lab-wide{grid-column:1/-1}
.lab-cost input,.lab-cost select{display:block;width:100%;min-height:2rem;box-sizing:border-box;padding:.2rem .4rem;\
font:inherit;color:inherit;background:transparent;border:1px solid currentColor;border-radius:.25rem}
.lab-cost [role=status]{margin:.4rem 0}
.lab-cost option{color:#000;background:#fff}
.lab-cost [aria-invalid=true]{border-style:dashed;border-width:2px}
.lab-cost :focus-visible{outline:2px solid currentColor;outline-offset:2px}
.lab-cost table{border-collapse:collapse;font-size:.9rem;margin:.4rem 0;color:inherit;width:auto}
.lab-cost caption{caption-side:top;text-align:left;color:inherit;font-weight:600;padding:.2rem 0}
.lab-cost th,.lab-cost td{padding:.2rem .6rem .2rem 0;text-align:right;font-variant-numeric:tabular-nums;\
border-bottom:1px solid rgba(128,128,128,.4);color:inherit;background:none}
.lab-cost th:first-child{text-align:left}
.lab-cost th{font-weight:400}
.lab-cost [data-out],.lab-roll th{white-space:nowrap}
.lab-cost .lab-roll{overflow-x:auto;max-width:100%}
"""


def cost_calculator() -> Html:
    """Return a form of a training run's inputs with its time, money, energy and CO₂ beside it, updated at each key.

    It starts from a published run, at the utilisation that its GPU-hours imply; every number can be changed.
    """
    data = {
        "gpus": {name: {"peak": g.peak, "memory": g.memory, "watts": g.watts} for name, g in GPUS.items()},
        "runs": {name: _preset(run) for name, run in RUNS.items()},
    }
    runs = "".join(f'<option value="{name}">{escape(run.title)} ({run.year})</option>' for name, run in RUNS.items())
    machines = "".join(f'<option value="{name}">{escape(g.title)}</option>' for name, g in GPUS.items())
    choices = "".join(
        f'<label class="lab-wide">{label}<select name="{name}">{options}</select></label>'
        for name, label, options in (("run", "Start from", runs), ("machine", "GPU", machines))
    )
    boxes = "".join(
        f'<label>{label} <small>({unit})</small><input type="number" step="any" min="0" name="{name}"></label>'
        for name, label, unit in FIELDS
    )
    rows = "".join(f'<tr><th scope="row">{label}</th><td data-out="{name}"></td></tr>' for name, label in OUTPUTS)
    script = (Path(__file__).parent / "calculator.js").read_text(encoding="utf-8")
    text = (
        f'<div class="lab-cost"><style>{STYLE.strip()}</style>\n'
        f'<script type="application/json">{json.dumps(data, separators=(",", ":"))}</script>\n'
        f'<form data-live hidden autocomplete="off">{choices}{boxes}</form>\n'
        f'<p role="status"></p>\n<table data-live hidden><caption>What it takes</caption>{rows}</table>\n'
        f"{_table()}</div>\n<script>{script}"
        'document.querySelectorAll(".lab-cost").forEach(e=>{if(!e.dataset.on){e.dataset.on=1;labCost.start(e)}});'
        "</script>"
    )
    return Html(text, f"calculator of a training run, {len(RUNS)} published runs")


def _preset(run: PublishedRun) -> dict[str, float | str]:
    """Return the inputs of a published run, in the units of `cost`; what its source leaves out is assumed."""
    return {
        "machine": run.machine,
        "parameters": run.parameters,
        "active": run.active,
        "tokens": run.tokens,
        "gpus": run.gpus or COUNT,
        "utilisation": run.utilisation,
        "price": PRICE,
        "watts": run.watts or gpu(run.machine).watts,
        "pue": run.pue or PUE,
        "carbon": run.carbon or CARBON,
    }


def _table() -> str:
    """Return the published runs as a table that needs no script."""
    heads = ("Run", "Parameters", "Tokens", "GPU-hours", "MFU", "Days", "MWh", "t CO₂")
    rows = []
    for run in RUNS.values():
        inputs = _preset(run)
        rates = {name: inputs[name] for name in ("gpus", "utilisation", "price", "watts", "pue", "carbon")}
        made = run_cost(Run(operations=run.estimate, peak=gpu(run.machine).peak, **rates))
        cells = (
            f"{run.parameters / 1e9:.0f} B",
            f"{run.tokens / 1e12:.1f} T",
            f"{made.gpu_hours:,.0f}",
            f"{run.utilisation:.0%}",
            f"{made.days:,.0f}" if run.gpus else "–",
            f"{made.energy.total / 1e3:,.0f}",
            f"{made.co2 / 1e3:,.0f}",
        )
        rows.append(f'<tr><th scope="row">{escape(run.title)}</th><td>{"</td><td>".join(cells)}</td></tr>')
    top = "".join(f'<th scope="col">{head}</th>' for head in heads)
    return (
        '<div class="lab-roll" tabindex="0" role="region" aria-label="Published runs"><table>'
        f"<caption>Published runs, as calculated here</caption><tr>{top}</tr>{''.join(rows)}</table></div>"
    )
