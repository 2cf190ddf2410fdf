"""The command line: ``python -m fastdl`` with ``info``, ``demo``, ``run``, ``scan`` or ``check``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

import fastdl

from .compat import command


def _at_least(minimum: int) -> Callable[[str], int]:
    """Return what reads an argument that is a whole number."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"must be a whole number, at least {minimum}; got {text!r}")
        return int(text)

    return read


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastdl", description="Deep learning for NumPy at the speed of a framework."
    )
    parser.add_argument("--version", action="version", version=f"fastdl {fastdl.__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="")
    commands.add_parser("info", help="versions, processor, and the engine that serves each operation")
    demo = commands.add_parser(
        "demo",
        help="train a small network on handwritten digits",
        description="Train a small convolutional network on the UCI handwritten digits, say how often it is "
        "right, time a training step on every engine, save the model and a picture.",
    )
    demo.add_argument("--epochs", type=_at_least(1), default=8, metavar="N", help="default: %(default)s")
    demo.add_argument("--seed", type=_at_least(0), default=0, metavar="S", help="default: %(default)s")
    demo.add_argument("--out", default=".", metavar="DIR", help="where the files go; default: here")
    demo.add_argument("--no-plots", action="store_true", help="draw no picture")
    command.add_commands(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Examples
    --------
    >>> main(["info"])  # doctest: +ELLIPSIS
    fastdl ...
    0
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        if options.command == "info":
            print(fastdl.info())
        elif options.command == "demo":
            from .demo import run

            run(options.epochs, options.seed, options.out, not options.no_plots)
        elif options.command:
            return command.execute(options)
        else:
            parser.print_help()
    except KeyboardInterrupt:
        print("\nfastdl: interrupted", file=sys.stderr)
        return 130
    except (OSError, RuntimeError, ValueError) as error:
        print(f"fastdl: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
