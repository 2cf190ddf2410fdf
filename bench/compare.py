"""fastdl against other libraries: the same arrays, one process, one call of each in turn.

    python bench/compare.py                               every case, one thread, PyTorch eager
    python bench/compare.py --peers all --threads 1 2     every installed library, one thread and two
    python bench/compare.py --cases "pool|relu"           the cases whose name matches
    python bench/compare.py --from results.json --html page.html   draw again what was measured

A ratio is another library's time over fastdl's: above 1, fastdl is the faster. Results are compared before
anything is timed; whoever is wrong is named and not timed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from datetime import date
from types import ModuleType
from typing import Any

import fastdl
import limits
import peers
import report
import summary
from case import Case
from cases import CASES
from checking import check
from machine import busy, describe
from model_cases import MODELS, ModelCase
from peers import fastdl_
from timing import interleave

ALL = (*CASES, *MODELS)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    if options.source:
        with open(options.source, encoding="utf-8") as stream:
            run = json.load(stream)
    else:
        rows = [case for case in ALL if re.search(options.cases, case.name)]
        if not rows:
            names = "\n  ".join(case.name for case in ALL)
            print(f"compare: no case matches {options.cases!r}; there are:\n  {names}", file=sys.stderr)
            return 2
        others = installed(options.peers)
        if others is None:
            return 2
        run = measure_all(rows, others, options.threads, options.seconds, options.json)
    report.summarise(run)
    if options.svg or options.html:
        import picture

        picture.write(run, options.svg, options.html)
    return 1 if run["failures"] else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Time fastdl against other libraries, interleaved in one process."
    )
    parser.add_argument(
        "--peers",
        default="torch",
        help=f"any of {','.join(peers.PEERS)}, with commas; or all that are installed (default torch)",
    )
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1], help="threads for all, one number or more (default 1)"
    )
    parser.add_argument("--cases", metavar="REGEX", default="", help="only cases whose name matches")
    parser.add_argument(
        "--seconds", type=float, default=0.5, help="time spent on each library and line (default 0.5)"
    )
    parser.add_argument("--json", metavar="FILE", help="write the results here, line by line as they come")
    parser.add_argument("--html", metavar="FILE", help="write a page with the picture and the table")
    parser.add_argument("--svg", metavar="FILE", help="write the picture")
    parser.add_argument(
        "--from", dest="source", metavar="FILE", help="measure nothing: take the results of an earlier --json"
    )
    return parser.parse_args(arguments)


def installed(names: str) -> dict[str, ModuleType] | None:
    """Return the modules of the peers that were asked for; None, after saying so, if one is missing."""
    found = {}
    for name in peers.PEERS if names == "all" else names.split(","):
        if name not in peers.PEERS:
            print(f"compare: no peer {name!r}; there are {', '.join(peers.PEERS)}, all", file=sys.stderr)
            return None
        try:
            found[name] = peers.load(name)
        except ImportError as error:
            if names != "all":
                print(f"compare: {name} is not installed: {error}", file=sys.stderr)
                return None
    return found


def measure_all(
    rows: Sequence[Case | ModelCase],
    others: dict[str, ModuleType],
    threads: Sequence[int],
    seconds: float,
    file: str | None,
) -> dict[str, Any]:
    """Measure line by line: print each, and write all there are to `file`, so that nothing is lost."""
    run: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": describe({name: module.version() for name, module in others.items()}),
        "limits": {str(n): limits.describe(n) for n in threads},
        "lines": [],
        "failures": [],
    }
    report.heading(run)
    if reason := busy():
        print(f"The machine is busy ({reason}): ratios are less certain than their quartiles say.")
    lines = [(case, direction, n) for n in threads for case in rows for direction in case.directions]
    for number, (case, direction, n) in enumerate(lines, start=1):
        try:
            line = measure(case, direction, n, others, seconds, run["failures"])
        except Exception as error:  # one case must not end a run of hours
            failed(run["failures"], case, direction, "fastdl", error)
            continue
        run["lines"].append(line)
        report.show(line, f"{number:>3}/{len(lines)}")
        if file:
            write(run, file)
    if file:
        write(run, file)
    return run


def measure(
    case: Case | ModelCase,
    direction: str,
    threads: int,
    others: dict[str, ModuleType],
    seconds: float,
    failures: list[str],
) -> dict[str, Any]:
    """Compare the results of one case, then time all that were right.

    What another library cannot do, or does otherwise, is noted in `failures`.
    """
    ours = fastdl_.prepare(case, direction, threads)
    check(ours.results(), case, direction, "fastdl")
    calls = {"fastdl": ours.run}
    if threads > 1:
        calls[summary.ONE_THREAD] = with_one_thread(ours.run)
    for name, module in others.items():
        try:
            call = module.prepare(case, direction, threads)
            if call is not None:
                check(call.results(), case, direction, name)
                calls[name] = call.run
        except Exception as error:  # another library's trouble is no reason not to time the rest
            failed(failures, case, direction, name, error)
    return summary.line(case, direction, threads, interleave(calls, seconds, threads))


def with_one_thread(run: Callable[[], Any]) -> Callable[[], Any]:
    def run_with_one_thread() -> Any:
        with fastdl.use(threads=1):
            return run()

    return run_with_one_thread


def failed(failures: list[str], case: Case | ModelCase, direction: str, who: str, error: Exception) -> None:
    """Say at once what went wrong, and note it for the end; where, for what is no difference of results."""
    if not isinstance(error, AssertionError):
        traceback.print_exception(error)
    failures.append(f"{case.name}, {direction}, {who}: {type(error).__name__}: {error}")
    print(failures[-1], file=sys.stderr, flush=True)


def write(run: dict[str, Any], file: str) -> None:
    """Replace `file` at once, so that it is whole whenever it is read."""
    with open(f"{file}.part", "w", encoding="utf-8") as stream:
        json.dump(run, stream, indent=1)
    os.replace(f"{file}.part", file)


if __name__ == "__main__":
    sys.exit(main())
