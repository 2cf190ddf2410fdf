"""``%load_ext fastdl``: what cells define, and what they import, is handed to fastdl."""

from __future__ import annotations

import ast
from typing import Any

from . import accelerate, hook

__all__ = ["load", "unload"]


class _Cells(ast.NodeTransformer):
    def visit_Module(self, node: ast.Module) -> ast.Module:
        hook.decorate(node, "__main__", "a cell")
        return node


_cells = _Cells()


def load(shell: Any) -> None:
    """Begin: IPython calls this through ``fastdl.load_ipython_extension``."""
    accelerate()
    if _cells not in shell.ast_transformers:
        shell.ast_transformers.append(_cells)


def unload(shell: Any) -> None:
    """End: what has been replaced stays so."""
    hook.uninstall()
    if _cells in shell.ast_transformers:
        shell.ast_transformers.remove(_cells)
