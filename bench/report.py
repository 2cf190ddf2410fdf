"""A run as text: a line as soon as it is measured, and the summary at the end."""

from __future__ import annotations

from typing import Any

from summary import Line, Mean, best, gains, table

UNSTEADY = 0.1  # of a ratio: quartiles further apart than this are marked

Run = dict[str, Any]


def heading(run: Run) -> None:
    print(", ".join(f"{key} {value}" for key, value in run["machine"].items()))
    for threads, text in run["limits"].items():
        print(f"{threads} thread(s): " + ", ".join(f"{key} {value}" for key, value in text.items()))
    print("A ratio is another's time over fastdl's, with its quartiles; ~ marks quartiles far apart.")


def show(line: Line, progress: str) -> None:
    seconds = line["seconds"]["fastdl"]
    text = f"{progress} {line['case']:<52} {line['direction']:<8} {line['threads']}t {seconds * 1e3:9.3f} ms"
    text += f" {rate(line)} {share(line):<26}"
    for name, (median, low, high) in line["ratios"].items():
        mark = "~" if high - low > UNSTEADY * median else " "
        star = "*" if name == best(line) and len(line["ratios"]) > 1 else ""
        text += f"  {name}{star} {median:5.2f}{mark}({low:.2f}-{high:.2f})"
    print(text, flush=True)


def rate(line: Line) -> str:
    return f"{line['gflops']:7.1f} GFLOP/s" if line["limit"] == "fma" else f"{line['gbytes']:7.1f} GB/s   "


def share(line: Line) -> str:
    """The share of the limit; where that is a copy, also the share of a copy outside of all caches."""
    text = f"{line['share']:4.0%} of {line['limit']}"
    return text if line["limit"] == "fma" else f"{text}, {line['share_of_memory']:.0%} of memory"


def summarise(run: Run) -> None:
    """Print geometric means by family, against each peer and against the best of each case."""
    for threads in sorted({line["threads"] for line in run["lines"]}):
        lines = [line for line in run["lines"] if line["threads"] == threads]
        print(f"\n{threads} thread(s): geometric means (the least; how many reach 1)")
        for row in table(lines):
            columns = "  ".join(f"{name} {in_words(mean)}" for name, mean in row.means.items())
            print(f"  {row.group:<14} {row.direction:<8} {columns}")
        if slowest := gains(lines):
            mean = Mean.of([line["gain"][0] for line in slowest])
            print(f"  {threads} threads over one, above 1 ms: {mean.geometric:.2f}; the least:")
            for line in slowest[:5]:
                print(f"    {line['gain'][0]:.2f} {line['case']}, {line['direction']}")
    if run["failures"]:
        print("\nfailed:", *run["failures"], sep="\n  ")


def in_words(mean: Mean) -> str:
    return f"{mean.geometric:.2f} ({mean.least:.2f}; {mean.reached}/{mean.lines})"
