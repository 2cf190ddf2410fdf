"""``python -m fastdl run``, ``scan`` and ``check``: their options, and what they print."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

__all__ = ["add_commands", "execute"]

_RUN = """\
Run a script, or with -m a module, as python does, with fastdl behind the definitions that it knows. All that
follows the script's name is for the script. At the end, the standard error stream tells what was replaced.
"""


def add_commands(commands: Any) -> None:
    """Add the three commands to the parsers of the command line."""
    run = commands.add_parser(
        "run",
        help="run a script of NumPy teaching code, unmodified and faster",
        description=_RUN,
        usage="fastdl run [options] (script.py | -m module) [arguments]",
    )
    tier = run.add_mutually_exclusive_group()
    tier.add_argument("--fast", dest="tier", action="store_const", const="fast", help="the default")
    tier.add_argument(
        "--exact",
        dest="tier",
        action="store_const",
        const="exact",
        help="the same bits as without fastdl: compile only the moving and selecting of data",
    )
    run.add_argument(
        "--dtype", choices=["float32"], help="compute in float32 what the script does in float64"
    )
    run.add_argument("--verify", action="store_true", help="run the original beside every replacement")
    run.add_argument(
        "--report",
        type=os.path.abspath,  # where the command was given; the script may go elsewhere
        metavar="F.json",
        help="write there what was replaced, and what it was worth",
    )
    run.add_argument("--quiet", action="store_true", help="tell nothing at the end")
    run.add_argument(
        "--seed", type=int, metavar="N", help="seed NumPy's and Python's global generators first"
    )
    run.add_argument(
        "--shims", action="store_true", help="supply small stand-ins for what old scripts import and is gone"
    )
    run.add_argument("-m", dest="module", action="store_true", help="the name is that of a module")
    run.add_argument("script", help=argparse.SUPPRESS)
    run.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    scan = commands.add_parser(
        "scan",
        help="list what would be replaced in a file or folder, without running it",
        description="List the definitions that fastdl recognises in Python files and notebooks.",
    )
    scan.add_argument("path", help="a file or a folder")
    scan.add_argument("--exact", dest="tier", action="store_const", const="exact", default="fast")
    scan.add_argument("--json", type=os.path.abspath, metavar="FILE", help="write the list there")
    check = commands.add_parser(
        "check",
        help="hold a learner's own layers against fastdl",
        description="Say of each definition that a learner wrote whether it is right, where the first wrong "
        "number is, whether its gradient is that of its forward pass, and how fast it is.",
    )
    check.add_argument("path", metavar="my_layers.py", help="the learner's file")
    check.add_argument("names", nargs="*", metavar="name", help="only these definitions")
    check.add_argument(
        "--seconds", type=float, default=0.3, help="spent on each timing; default: %(default)s"
    )
    check.add_argument("--json", type=os.path.abspath, metavar="FILE", help="write the findings there")


def execute(options: argparse.Namespace) -> int:
    """Do what one of the commands asks; return the exit status."""
    return {"run": _run, "scan": _scan, "check": _check}[options.command](options)


def _run(options: argparse.Namespace) -> int:
    from . import accelerate
    from .script import run_module, run_script

    if options.report:
        open(options.report, "a").close()  # what cannot be written is said now, not after an hour
    supplied = []
    if options.shims:
        from . import shims

        supplied = shims.install()
    report = accelerate(options.tier or "fast", dtype=options.dtype, verify=options.verify)
    start = run_module if options.module else run_script
    try:
        return start(options.script, options.arguments, options.seed)
    finally:
        sys.stdout.flush()
        if supplied:
            print(f"fastdl: supplied {', '.join(supplied)}", file=sys.stderr)
        if not options.quiet:
            print(report, file=sys.stderr)
        if options.report:
            report.write(options.report)


def _scan(options: argparse.Namespace) -> int:
    from .scan import scan

    lines = scan(options.path, options.tier)
    for line in lines:
        print(line)
    served = sum(bool(line.families) for line in lines)
    print(f"{served} of {len(lines)} definitions with a known name may be replaced")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump([line.as_dict() for line in lines], file, indent=1)
    return 0


def _check(options: argparse.Namespace) -> int:
    from .check import check

    report = check(options.path, names=options.names, seconds=options.seconds)
    print(report)
    if options.json:
        report.write(options.json)
    return 0 if report.right else 1
