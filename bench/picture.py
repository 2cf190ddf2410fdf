"""A run as a picture, and as a page that holds the picture and the tables."""

from __future__ import annotations

import html
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from report import UNSTEADY, rate, share
from summary import Line, Mean, Row, best, gains, table

Run = dict[str, Any]

FASTER, SLOWER, BEST = "#2a6f97", "#c1553b", "#222222"
REACH = 16  # times: bars end here
FLOOR = 0.5

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 76rem; margin: 2rem auto }
body { padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem } p { max-width: 46rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px }
th, td { padding: .22rem .6rem; text-align: right; border-bottom: 1px solid #e6e6e6; white-space: nowrap }
th { background: #fafafa; position: sticky; top: 0 } td:first-child, th:first-child { text-align: left }
tr.total td { font-weight: 600; border-top: 1px solid #999 } .slow { color: #c1553b } .quiet { color: #888 }
svg { width: 100%; height: auto } .scroll { overflow-x: auto }
"""


def write(run: Run, svg: str | None, page: str | None) -> None:
    """Write the picture, the page, or both."""
    picture = draw(run)
    if svg:
        Path(svg).write_text(picture, encoding="utf-8")
    if page:
        Path(page).write_text(compose(run, picture), encoding="utf-8")


# ---- the picture


def draw(run: Run) -> str:
    """Return the picture as SVG: a bar a case from 1 to the ratio against the first peer, on a log scale.

    A dot is the ratio against the best peer of the case, where there are several.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    panels = panels_of(run)
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "fastdl",
        "font.size": 9,
        "font.family": "sans-serif",
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=(12, 0.5 + 2.6 * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for axis, (title, lines) in zip(axes, panels):
            draw_panel(axis, title, lines)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def panels_of(run: Run) -> list[tuple[str, list[Line]]]:
    """Return forward and the rest, for each number of threads, with the lines of a group side by side."""
    panels = []
    for threads in sorted({line["threads"] for line in run["lines"]}):
        for title, forward in (("forward", True), ("forward and backward, steps", False)):
            lines = [
                line
                for line in run["lines"]
                if line["threads"] == threads
                and line["ratios"]
                and (line["direction"] == "forward") == forward
            ]
            if lines:
                order = list(dict.fromkeys(line["group"] for line in lines))
                lines.sort(key=lambda line: (order.index(line["group"]), -first(line)))
                panels.append((f"{title}, {threads} thread{'s' if threads > 1 else ''}", lines))
    return panels


def first(line: Line) -> float:
    """Return the ratio that a bar shows, the one against the first peer."""
    return float(next(iter(line["ratios"].values()))[0])


def draw_panel(axis: Any, title: str, lines: Sequence[Line]) -> None:
    groups = [line["group"] for line in lines]
    gap = [sum(a != b for a, b in zip(groups[: i + 1], groups[1 : i + 1])) for i in range(len(groups))]
    places = [i + 1.5 * extra for i, extra in enumerate(gap)]
    heights = [min(max(first(line), FLOOR), REACH) for line in lines]
    colours = [FASTER if height >= 1 else SLOWER for height in heights]
    axis.bar(places, [height - 1 for height in heights], bottom=1, width=0.8, color=colours)
    several = [(x, line) for x, line in zip(places, lines) if len(line["ratios"]) > 1]
    if several:
        ratios = [min(max(line["ratios"][best(line)][0], FLOOR), REACH) for _, line in several]
        axis.scatter([x for x, _ in several], ratios, s=5, color=BEST, zorder=3, label="against the best")
        axis.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False, borderpad=0)
    for group in dict.fromkeys(groups):
        inside = [x for x, other in zip(places, groups) if other == group]
        mean = Mean.of([first(line) for line in lines if line["group"] == group]).geometric
        middle = (inside[0] + inside[-1]) / 2
        axis.text(middle, FLOOR * 0.86, f"{group}\n{mean:.1f}", ha="center", va="top", linespacing=1.3)
    axis.set_yscale("log", base=2)
    axis.set_ylim(FLOOR, REACH)
    ticks = [2.0**i for i in range(int(math.log2(FLOOR)), int(math.log2(REACH)) + 1)]
    axis.set_yticks(ticks, [f"{tick:g}×" for tick in ticks])
    axis.set_xticks([])
    axis.set_xlim(places[0] - 1, places[-1] + 1)
    axis.axhline(1, color="#222222", linewidth=0.8)
    axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)
    for side in ("top", "right", "bottom"):
        axis.spines[side].set_visible(False)
    peer = next(iter(lines[0]["ratios"]))
    axis.set_title(f"fastdl against {peer}: {title}", loc="left", fontsize=10)


# ---- the page


def compose(run: Run, picture: str) -> str:
    """Return one file of HTML that needs nothing else."""
    facts = ", ".join(f"{key} {value}" for key, value in run["machine"].items())
    parts = [
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>fastdl: benchmark</title>',
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style>',
        "<h1>fastdl against other libraries</h1>",
        "<p>A ratio is another library's time over fastdl's: above 1, fastdl is the faster. All were timed in"
        " turn in one process, after their results had been compared; a ratio is the median of the pairs."
        " The share is that of the machine's limit, its multiply-adds or its copies, whichever binds.</p>",
        f'<p class="quiet">{html.escape(run["date"])}. {html.escape(facts)}.</p>',
        picture,
    ]
    for threads in sorted({line["threads"] for line in run["lines"]}):
        lines = [line for line in run["lines"] if line["threads"] == threads]
        limits = ", ".join(f"{key} {value}" for key, value in run["limits"][str(threads)].items())
        parts += [
            f"<h2>{threads} thread{'s' if threads > 1 else ''}</h2>",
            f'<p class="quiet">{html.escape(limits)}</p>',
            means_table(list(table(lines))),
            f"<h2>Every case, {threads} thread{'s' if threads > 1 else ''}</h2>",
            cases_table(lines),
        ]
    if run["failures"]:
        items = "".join(f"<li>{html.escape(failure)}</li>" for failure in run["failures"])
        parts.append(f"<h2>Failed</h2><ul>{items}</ul>")
    return "\n".join(parts) + "\n</html>\n"


def means_table(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.means))
    head = cells("th", ["geometric means", "", *names])
    body = []
    for row in rows:
        values = [mean_cell(row.means.get(name)) for name in names]
        kind = ' class="total"' if row.group.startswith("all ") else ""
        body.append(f"<tr{kind}><td>{row.group}</td><td>{row.direction}</td>{''.join(values)}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(body)}</table></div>'


def mean_cell(mean: Mean | None) -> str:
    if mean is None:
        return "<td></td>"
    note = f"least {mean.least:.2f}, {mean.reached} of {mean.lines} reach 1"
    return f'<td title="{note}"{slow(mean.geometric)}>{mean.geometric:.2f}</td>'


def cases_table(lines: Sequence[Line]) -> str:
    names = list(dict.fromkeys(name for line in lines for name in line["ratios"]))
    gained = ["gain"] if gains(lines) else []
    head = cells("th", ["case", "", "ms", "rate", "share", *names, *gained])
    body = []
    for line in lines:
        milliseconds = line["seconds"]["fastdl"] * 1e3
        facts = [line["direction"], f"{milliseconds:.3f}", rate(line), share(line)]
        values = [ratio_cell(line, name) for name in names]
        if gained:
            values.append(f"<td>{line['gain'][0]:.2f}</td>" if line["gain"] else "<td></td>")
        case = f"<td>{html.escape(line['case'])}</td>"
        body.append(f"<tr>{case}{cells('td', facts)}{''.join(values)}</tr>")
    return f'<div class="scroll"><table><tr>{head}</tr>{"".join(body)}</table></div>'


def ratio_cell(line: Line, name: str) -> str:
    if name not in line["ratios"]:
        return "<td></td>"
    median, low, high = line["ratios"][name]
    text = f"{median:.2f}" + ("~" if high - low > UNSTEADY * median else "")
    strong = len(line["ratios"]) > 1 and name == best(line)
    return f'<td title="{low:.2f} to {high:.2f}"{slow(median)}>{f"<b>{text}</b>" if strong else text}</td>'


def slow(value: float) -> str:
    return ' class="slow"' if value < 1 else ""


def cells(tag: str, values: Sequence[str]) -> str:
    return "".join(f"<{tag}>{html.escape(value.strip())}</{tag}>" for value in values)
