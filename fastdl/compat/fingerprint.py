"""A definition's fingerprint: of what it does, not of how it is written down.

Comments, docstrings, strings that stand alone, annotations, line ends and byte-order marks do not count;
names do. The text that is hashed is made here and not by `ast.dump`, whose form differs between versions of
Python.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator

__all__ = ["fingerprint"]

_SILENT = {"ctx", "kind", "type_comment", "type_params", "annotation", "returns"}


def fingerprint(definition: ast.AST) -> str:
    """Return 16 hexadecimal digits that two definitions share if they do the same in the same words.

    Examples
    --------
    >>> one = ast.parse("def f(x: int):\\n    'Say f.'\\n    return x  # the same").body[0]
    >>> two = ast.parse("def f(x): return x").body[0]
    >>> fingerprint(one) == fingerprint(two)
    True
    """
    text = "".join(_words(definition))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _words(node: object) -> Iterator[str]:
    if isinstance(node, list):
        yield "["
        for item in node:
            if not _stands_alone(item):
                yield from _words(item)
        yield "]"
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield from _words(ast.Assign(targets=[node.target], value=node.value))
    elif isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for name in node._fields:
            value = getattr(node, name, None)
            if name not in _SILENT and value is not None and value != []:
                yield f" {name}="
                yield from _words(value)
        yield ")"
    else:
        yield repr(node)


def _stands_alone(item: object) -> bool:
    """Whether a statement is only a string: a docstring, or a comment in its place."""
    return (
        isinstance(item, ast.Expr)
        and isinstance(item.value, ast.Constant)
        and isinstance(item.value.value, str)
    )
