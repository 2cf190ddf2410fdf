"""What fastdl would replace in a folder, without running anything."""

from __future__ import annotations

import ast
import importlib.util
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from .recognise import may_define, recognise
from .target import Tier

__all__ = ["Line", "scan"]

_SKIPPED = frozenset(
    {".git", ".ipynb_checkpoints", "__pycache__", "build", "node_modules", "site-packages", "venv"}
)


@dataclass(frozen=True)
class Line:
    """One definition, or one file that cannot be read.

    Attributes
    ----------
    file, line, name : str, int, str
        Where it stands. In a notebook, the line of its cell.
    cell : int or None
        Of a notebook, counted from 1 among all cells.
    families : tuple of str
        What may serve it; empty: nothing, for `reason`.
    how : str
        "fingerprint", or "name": then the first real input decides.
    reason : str
        Why it is left alone.
    """

    file: str
    line: int
    name: str
    cell: int | None = None
    families: tuple[str, ...] = ()
    how: str = ""
    reason: str = ""

    def __str__(self) -> str:
        cell = "" if self.cell is None else f"[cell {self.cell}]"
        where = f"{self.file}{cell}:{self.line}"
        if self.families:
            return f"{where}: {self.name}: {' or '.join(self.families)}, by its {self.how}"
        return f"{where}: {self.name}: left alone, {self.reason}"

    def as_dict(self) -> dict[str, object]:
        """Return the line as plain data."""
        return asdict(self)


def scan(path: str, tier: Tier = "fast") -> list[Line]:
    """Return what fastdl recognises in a file, or in the files and notebooks below a folder.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    """
    top = Path(path)
    if not top.exists():
        raise FileNotFoundError(f"no file or folder {path!r}")
    files = [top] if top.is_file() else sorted(_below(top))
    return [line for file in files for line in _lines(file, tier)]


def _below(folder: Path) -> Iterator[Path]:
    for item in folder.iterdir():
        if item.is_dir():
            if item.name not in _SKIPPED and not item.is_symlink():
                yield from _below(item)
        elif item.suffix in {".py", ".ipynb"}:
            yield item


def _lines(file: Path, tier: Tier) -> Iterator[Line]:
    for cell, source in _sources(file):
        if not may_define(source):
            continue
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError) as error:
            if cell is None:
                line = getattr(error, "lineno", None) or 1
                yield Line(str(file), line, "(the whole file)", cell, reason=f"it is not Python 3: {error}")
            continue
        for found in recognise(tree, tier):
            families = tuple(dict.fromkeys(target.family for target in found.targets))
            how = "fingerprint" if found.known else "name and parameters"
            yield Line(str(file), found.node.lineno, found.node.name, cell, families, how, found.reason)


def _sources(file: Path) -> Iterator[tuple[int | None, str]]:
    try:
        if file.suffix == ".py":
            yield None, importlib.util.decode_source(file.read_bytes())
            return
        cells = json.loads(file.read_text(encoding="utf-8")).get("cells", [])
    except (OSError, ValueError, SyntaxError):
        return
    for number, cell in enumerate(cells, 1):
        if cell.get("cell_type") == "code":
            lines = cell.get("source", [])
            text = lines if isinstance(lines, str) else "".join(lines)
            yield (
                number,
                "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in text.split("\n")),
            )
