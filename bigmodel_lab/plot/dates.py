"""Things by date on a logarithmic scale: as axes, and as HTML to filter, point at and walk through with the arrow keys.

Both place the names so that none covers another or a point; a name that finds no room is left out of the picture, and
stays in the HTML as the point's title and description. Without scripts the HTML is a picture with the same content.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from math import ceil, floor, log10

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from bigmodel_lab.errors import InputError
from bigmodel_lab.plot.canvas import PALETTE
from bigmodel_lab.plot.html import HOSTS, Html
from bigmodel_lab.plot.places import places

__all__ = ["timeline", "timeline_html"]

MARKERS = "os^D"  # of matplotlib; SHAPES draws the same in SVG
SHAPES = ("M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0z", "M-4.5-4.5h9v9h-9z", "M0-6L5.5 4.5h-11z", "M0-6.2L6.2 0 0 6.2-6.2 0z")
LIGHT, DARK = ("#0072B2", "#C04F00", "#00805D", "#A8457F"), ("#6CC0F5", "#FFA066", "#45CFA2", "#EBA3CC")
WIDE, HIGH, LEFT, RIGHT, TOP, FOOT = 720, 420, 60, 14, 12, 34  # the drawing and its margins, in its own units
LETTER = 7.0  # units that a letter of a name takes at 12 units of height
NOTE = "Point at a mark, or walk with the arrow keys, to read its figures."
UP = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def timeline(
    names: Sequence[str],
    days: Sequence[date],
    values: Sequence[float | None],
    groups: Sequence[str],
    *,
    hollow: Sequence[bool] | None = None,
    ylabel: str = "",
    size: float = 6.5,
    ax: Axes | None = None,
) -> Axes:
    """Draw `values` (None: left out) against `days` on a logarithmic axis, with names of `size` points in height.

    Groups, at most four, differ in colour and marker; what is `hollow` is drawn as an outline.
    """
    kinds, keep, hollow = _checked(names, days, [values], groups, hollow)
    if ax is None:
        ax = plt.subplots(figsize=(7.2, 4.4))[1]
    for k, kind in enumerate(kinds):
        for full in (True, False):
            some = [i for i in keep if groups[i] == kind and hollow[i] != full]
            colour = PALETTE[k]
            style = {"mfc": colour if full else "none", "mec": colour, "ms": 5, "label": kind if full else None}
            ax.plot([days[i] for i in some], [values[i] for i in some], MARKERS[k], color=colour, **style)
    ax.set(yscale="log", ylabel=ylabel)
    ax.margins(x=0.07, y=0.06)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(kinds), borderaxespad=0.2, handletextpad=0.1)
    ax.figure.draw_without_rendering()  # the layout, so that points have their place
    scale = 72 / ax.figure.dpi
    spots = ax.transData.transform([(plt.matplotlib.dates.date2num(days[i]), values[i]) for i in keep]) * scale
    corner, room = np.multiply(ax.bbox.min, scale), np.multiply(ax.bbox.size, scale)
    sizes = [(0.6 * size * len(names[i]), 1.15 * size) for i in keep]
    found = places(spots - corner, sizes, tuple(room), gap=size)
    for i, spot, place, wide in zip(keep, spots, found, sizes, strict=True):
        if place is not None:
            offset = np.add(place, np.divide(wide, 2)) + corner - spot
            far = (np.abs(offset) - np.divide(wide, 2)).max() > 1.5 * size
            line = {"arrowstyle": "-", "lw": 0.6, "color": "#555555", "shrinkA": 0, "shrinkB": 3} if far else None
            middle = {"ha": "center", "va": "center", "fontsize": size, "arrowprops": line}
            ax.annotate(names[i], (days[i], values[i]), offset, textcoords="offset points", **middle)
    return ax


def timeline_html(
    names: Sequence[str],
    days: Sequence[date],
    measures: Mapping[str, Sequence[float | None]],
    groups: Sequence[str],
    *,
    hollow: Sequence[bool] | None = None,
    notes: Sequence[str] | None = None,
    label: str = "timeline",
) -> Html:
    """Return the same as HTML, with a choice of groups and, if there are several, of `measures` (title -> values).

    Pointing at a mark, or walking with the arrow keys, shows its name, date, figures and `notes`.
    """
    kinds, keep, hollow = _checked(names, days, list(measures.values()), groups, hollow)
    first, last = min(day.year for day in days), max(day.year for day in days) + 1
    across = {i: LEFT + (WIDE - LEFT - RIGHT) * (_year(days[i]) - first) / (last - first) for i in keep}
    axes, where = [], {i: [] for i in keep}
    for number, values in enumerate(measures.values()):
        known = [i for i in keep if values[i] is not None]
        low, high = floor(min(log10(values[i]) for i in known)), ceil(max(log10(values[i]) for i in known) + 1e-9)
        height = {i: TOP + (HIGH - TOP - FOOT) * (high - log10(values[i])) / (high - low) for i in known}
        spots = [(across[i] - LEFT, HIGH - FOOT - height[i]) for i in known]
        sizes = [(LETTER * len(names[i]), 13) for i in known]
        room = WIDE - LEFT - RIGHT, HIGH - TOP - FOOT
        free = dict(zip(known, places(spots, sizes, room, gap=10, rings=2), strict=True))
        for i in keep:
            where[i].append(_spot(across[i], height.get(i), free.get(i), LETTER * len(names[i])))
        axes.append(_scale(range(low, high + 1, max(1, (high - low) // 5)), low, high, number))
    marks = []
    for i in keep:
        figures = "; ".join(f"{what} {_number(row[i])}" for what, row in measures.items())
        said = f"{names[i]}, {days[i]:%d %b %Y}, {groups[i]}: {figures}" + (f" ({notes[i]})" if notes else "")
        marks.append(_mark(names[i], said, across[i], where[i], kinds.index(groups[i]), hollow[i]))
    years = "".join(
        f'<text x="{LEFT + (WIDE - LEFT - RIGHT) * (year - first) / (last - first):.0f}" y="{HIGH - 8}" '
        f'text-anchor="middle">{year}</text>'
        for year in range(first, last, 2)
    )
    body = (
        f'<div class="lab-time"><style>{_style()}</style><form>{_controls(kinds, list(measures))}</form>'
        f'<svg viewBox="0 0 {WIDE} {HIGH}" role="group" aria-label="{escape(label, quote=True)}">{years}'
        f'{"".join(axes)}{"".join(marks)}</svg><p class="o">&nbsp;</p>'
        f"<script>{SCRIPT}</script></div>"
    )
    return Html(body, f"timeline of {len(keep)}: {label}")


def _checked(names, days, rows, groups, hollow) -> tuple[list[str], list[int], list[bool]]:
    """Return the groups in the order in which they come, the places with a value in some row, and what is hollow."""
    hollow = [False] * len(names) if hollow is None else [bool(one) for one in hollow]
    lengths = {len(names), len(days), len(groups), len(hollow), *map(len, rows)}
    if len(lengths) > 1 or not len(names) or not rows:
        raise InputError("as many names as days, values and groups, at least one", got=f"lengths {sorted(lengths)}")
    kinds = list(dict.fromkeys(groups))
    if len(kinds) > len(MARKERS):
        raise InputError(f"at most {len(MARKERS)} groups", got=f"{len(kinds)}: {', '.join(kinds)}")
    given = [value for row in rows for value in row if value is not None]
    if not all(np.isfinite(value) and value > 0 for value in given):
        raise InputError("positive finite values, for a logarithmic axis", got=f"{min(given)} to {max(given)}")
    if empty := [number for number, row in enumerate(rows) if all(value is None for value in row)]:
        raise InputError("a value in each measure", got=f"none in measure {empty[0] + 1}")
    return kinds, [i for i in range(len(names)) if any(row[i] is not None for row in rows)], hollow


def _year(day: date) -> float:
    return day.year + (day.timetuple().tm_yday - 1) / 365.25


def _number(value: float | None) -> str:
    """Write 1.75e11 as "1.75 × 10¹¹"."""
    if value is None:
        return "not published"
    power = floor(log10(value) + 1e-12)
    return f"{value / 10**power:.3g} × 10{str(power).translate(UP)}"


def _scale(powers, low: int, high: int, number: int) -> str:
    lines = []
    for power in powers:
        y = TOP + (HIGH - TOP - FOOT) * (high - power) / (high - low)
        lines.append(
            f'<path d="M{LEFT} {y:.0f}H{WIDE - RIGHT}"/><text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">'
            f"10{str(power).translate(UP)}</text>"
        )
    return f'<g class="y"{" style=display:none" if number else ""}>{"".join(lines)}</g>'


def _spot(x: float, y: float | None, place: tuple[float, float] | None, width: float) -> list:
    """Return a point's height, then x and y of its name, and "end" where the name ends there; what there is of it."""
    if y is None:
        return []
    if place is None:
        return [round(y, 1)]
    left, base = place[0] + LEFT - x, HIGH - FOOT - place[1] - 3 - y
    ends = left + width < 0
    return [round(y, 1), round(left + width * ends, 1), round(base, 1), *(["end"] if ends else [])]


def _mark(name: str, said: str, x: float, spots: list, kind: int, hollow: bool) -> str:
    """Return one point: data-v holds, for each measure, its height and where its name goes; empty: not shown."""
    spot, data = spots[0], "|".join(" ".join(map(str, one)) for one in spots)
    gone = "" if spot else " style=display:none"
    text = f'x="{spot[1]}" y="{spot[2]}"' if len(spot) > 1 else "style=display:none"
    text += ' text-anchor="end"' * (len(spot) > 3)
    said, name = escape(said, quote=True), escape(name)
    return (
        f'<g class="p k{kind}{" h" if hollow else ""}" data-x="{x:.1f}" data-v="{data}" role="img" aria-label="{said}"'
        f'{gone} transform="translate({x:.1f} {spot[0] if spot else 0})"><title>{said}</title>'
        f'<path d="{SHAPES[kind]}"/><text {text}>{name}</text></g>'
    )


def _controls(kinds: list[str], measures: list[str]) -> str:
    boxes = [
        f'<label class="k{k}"><input type="checkbox" value="{k}" checked hidden>'
        f'<svg viewBox="-8 -8 16 16" aria-hidden="true"><path d="{SHAPES[k]}"/></svg>{escape(kind)}</label>'
        for k, kind in enumerate(kinds)
    ]
    radios = [
        f'<label{" hidden" if n else ""}><input type="radio" name="m" value="{n}"{"" if n else " checked"} hidden>'
        f"{escape(measure)}</label>"
        for n, measure in enumerate(measures)
    ]
    return f"<span>{''.join(radios)}</span><span>{''.join(boxes)}</span>"


def _style() -> str:
    rules = [STYLE.strip()]
    for where, colours in (("", LIGHT), (f":is({','.join(HOSTS)}) ", DARK)):
        rules += [f"{where}.lab-time .k{k}{{--k:{colour}}}" for k, colour in enumerate(colours)]
    return "".join(rules)


STYLE = """
.lab-time{max-width:46rem;container-type:inline-size}
.lab-time form{display:flex;flex-wrap:wrap;gap:.2rem 1.5rem;font-size:.9em;margin:0}
.lab-time label{display:inline-block;margin:0 .9rem 0 0;padding:.15rem 0}
.lab-time label[hidden]{display:none}
.lab-time input{margin:0 .3rem 0 0;vertical-align:middle}
.lab-time form svg{width:.9em;height:.9em;margin-right:.3em;vertical-align:-.05em}
.lab-time>svg{width:100%;height:auto;display:block;font-size:12px;overflow:visible}
.lab-time text{fill:currentColor}
.lab-time .y path{stroke:currentColor;opacity:.18}
.lab-time [class*=k] path{fill:var(--k);stroke:var(--k);stroke-width:1.6}
.lab-time .h path{fill:transparent}
.lab-time .p:focus{outline:none}
.lab-time .p:focus path,.lab-time .p:hover path{stroke:currentColor;stroke-width:3}
.lab-time .o{min-height:3.2em;margin:.2rem 0 0;font-size:.9em;line-height:1.5}
@container(max-width:30rem){.lab-time>svg{font-size:24px}.lab-time .p text{display:none}.lab-time .p path{transform:scale(2)}}
"""  # noqa: E501

SCRIPT = """
document.querySelectorAll(".lab-time:not([data-on])").forEach(box=>{box.dataset.on=1
const all=s=>[...box.querySelectorAll(s)],marks=all(".p"),note=box.querySelector(".o")
const seen=()=>marks.filter(g=>g.style.display!="none"),tell=g=>note.textContent=g.getAttribute("aria-label")
let at=marks[0],n=0
const stop=g=>{at.setAttribute("tabindex",-1);at=g;g.setAttribute("tabindex",0)}
function draw(){const on=all("[type=checkbox]:checked").map(b=>"k"+b.value)
for(const g of marks){const v=g.dataset.v.split("|")[n].split(" "),t=g.querySelector("text")
g.style.display=v[0]&&on.some(k=>g.classList.contains(k))?"":"none"
g.setAttribute("transform",`translate(${g.dataset.x} ${v[0]||0})`)
t.style.display=v[1]?"":"none";if(v[1]){t.setAttribute("x",v[1]);t.setAttribute("y",v[2])
t.setAttribute("text-anchor",v[3]||"start")}}
all(".y").forEach((a,i)=>a.style.display=i==n?"":"none")
const left=seen();if(left.length&&!left.includes(at))stop(left[0])}
all("label,input").forEach(e=>e.hidden=false)
marks.forEach(g=>{g.setAttribute("tabindex",-1);g.onfocus=()=>{stop(g);tell(g)};g.onmouseenter=()=>tell(g);g.onclick=()=>g.focus()
g.onkeydown=e=>{const s=seen(),i=s.indexOf(g),k=e.key
const to={ArrowRight:i+1,ArrowUp:i+1,ArrowLeft:i-1,ArrowDown:i-1,Home:0,End:s.length-1}[k]
if(to!==undefined){e.preventDefault();s[to]?.focus()}}})
if(all("[type=radio]").length<2)all("[type=radio]").forEach(b=>b.hidden=true)
all("input").forEach(b=>b.onchange=()=>{if(b.type=="radio")n=+b.value;draw()})
note.textContent="NOTE";draw();stop(seen()[0])})
""".replace("NOTE", NOTE).strip()
