"""Which definitions of a piece of source code fastdl knows.

A definition is *known* if its fingerprint is that of a published version. Another one is a *candidate* if a
target of its name may be recognised by name, its parameters and defaults are the target's, it uses no other
dictionary keys, and it does nothing but compute; the first real input then decides (`trial`).
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from . import catalog
from .fingerprint import fingerprint
from .target import Target, Tier

__all__ = ["Definition", "Found", "clear", "may_define", "recognise"]

Definition = ast.FunctionDef | ast.ClassDef

_NO_ARGUMENTS = "it takes other parameters"
_STARS = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}
_ACTIONS = frozenset({"print", "input", "open", "exec", "eval", "exit", "quit"})


@dataclass(frozen=True)
class Found:
    """A definition that has the name of a target.

    Attributes
    ----------
    node : ast.FunctionDef or ast.ClassDef
        The definition.
    targets : tuple of Target
        What may serve it, the likeliest first; empty: nothing does, for `reason`.
    known : bool
        Whether it is a published one, by its fingerprint.
    reason : str
        Why it is left alone.
    """

    node: Definition
    targets: tuple[Target, ...]
    known: bool = False
    reason: str = ""


@cache
def _definitions() -> re.Pattern[str]:
    names = "|".join(map(re.escape, sorted(catalog.by_name())))
    return re.compile(rf"^[ \t]*(?:def|class)[ \t]+(?:{names})\b", re.MULTILINE)


def clear() -> None:
    """Forget the names of the targets: those of the catalogue have changed."""
    _definitions.cache_clear()


def may_define(source: str) -> bool:
    """Return whether source code has a target's name after ``def`` or ``class``: quicker than parsing."""
    return _definitions().search(source) is not None


def recognise(tree: ast.Module, tier: Tier = "fast") -> list[Found]:
    """Return the definitions of a module, in order, that have a target's name.

    Examples
    --------
    >>> found, = recognise(ast.parse("class Relu:\\n    def forward(self, x): return x"))
    >>> found.targets, found.reason
    ((), 'it has no backward')
    """
    known = catalog.by_name()
    return [_judge(node, known[node.name], tier) for node in _top(tree.body) if node.name in known]


def _top(body: list[ast.stmt]) -> Iterator[Definition]:
    """Definitions of a module: its own, and those inside its conditions."""
    for statement in body:
        if isinstance(statement, Definition):
            yield statement
        elif isinstance(statement, (ast.If, ast.Try, ast.With)):
            for field in ("body", "orelse", "finalbody"):
                yield from _top(getattr(statement, field, []))
            for handler in getattr(statement, "handlers", []):
                yield from _top(handler.body)


def _judge(node: Definition, targets: tuple[Target, ...], tier: Tier) -> Found:
    kind = [target for target in targets if bool(target.methods) == isinstance(node, ast.ClassDef)]
    if not kind:
        return Found(
            node, (), reason="it is a function" if isinstance(node, ast.FunctionDef) else "it is a class"
        )
    print_ = fingerprint(node)
    published = [target for target in kind if print_ in target.fingerprints]
    reasons = []
    accepted = []
    for target in published or kind:
        reason = _refusal(node, target, tier, known=bool(published))
        if reason:
            reasons.append(reason)
        else:
            accepted.append(target)
    return Found(node, tuple(accepted), bool(published), "" if accepted else reasons[0])


def _refusal(node: Definition, target: Target, tier: Tier, *, known: bool) -> str:
    """Why a target cannot serve a definition, or nothing."""
    ours = target.replacement(tier)
    target.sampler()  # imported now, and not in the first call
    if ours is None:
        return f"the {tier} tier does not serve it"
    if known:
        return ""
    if not (target.by_name and target.trial):
        return "it differs from the published ones"
    if node.decorator_list:
        return "it is decorated"
    return _unlike(node, target, ours) or _acts(node, target)


def _unlike(node: Definition, target: Target, ours: Any) -> str:
    if isinstance(node, ast.FunctionDef):
        return "" if _parameters(node) == _signature(ours) else _NO_ARGUMENTS
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    for name in target.methods:
        if name not in methods:
            return f"it has no {name}"
        if methods[name].decorator_list:
            return f"its {name} is decorated"
        if _parameters(methods[name]) != _signature(getattr(ours, name)):
            return f"its {name} takes other parameters"
    return ""


def _acts(node: Definition, target: Target) -> str:
    """Whether the code does what a trial would do twice, or reads what the replacement would not."""
    for item in ast.walk(node):
        if isinstance(item, (ast.Global, ast.Nonlocal, ast.Yield, ast.YieldFrom, ast.Await)):
            return "it does more than compute"
        if isinstance(item, ast.Call) and isinstance(item.func, ast.Name) and item.func.id in _ACTIONS:
            return f"it calls {item.func.id}()"
        key = _key(item)
        if key is not None and key not in target.keys:
            return f"it uses the key {key!r}"
    return ""


def _key(item: ast.AST) -> str | None:
    """The string that a subscript, or a call of get, setdefault or pop, asks for."""
    asked: ast.AST | None = None
    if isinstance(item, ast.Subscript):
        asked = item.slice
    elif isinstance(item, ast.Call) and isinstance(item.func, ast.Attribute) and item.args:
        asked = item.args[0] if item.func.attr in {"get", "setdefault", "pop"} else None
    return asked.value if isinstance(asked, ast.Constant) and isinstance(asked.value, str) else None


Parameters = list[tuple[str, str | None]]
"""Names, each with the text of its default."""


def _parameters(node: ast.FunctionDef) -> Parameters:
    arguments = node.args
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + [
        ast.unparse(value) for value in arguments.defaults
    ]
    found: Parameters = [(argument.arg, default) for argument, default in zip(plain, defaults, strict=True)]
    if arguments.vararg:
        found.append((f"*{arguments.vararg.arg}", None))
    for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append((argument.arg, None if value is None else ast.unparse(value)))
    if arguments.kwarg:
        found.append((f"**{arguments.kwarg.arg}", None))
    return found


@cache
def _signature(function: Any) -> Parameters:
    found: Parameters = []
    for parameter in inspect.signature(function).parameters.values():
        stars = _STARS.get(parameter.kind.name, "")
        default = None if parameter.default is parameter.empty else repr(parameter.default)
        found.append((f"{stars}{parameter.name}", default))
    return found
