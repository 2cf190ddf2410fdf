"""What a family says of each public definition that fastdl can stand in for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

__all__ = ["Target", "Tier"]

Tier = Literal["exact", "fast"]


@dataclass(frozen=True)
class Target:
    """A function or a class of teaching code, and what takes its place.

    Attributes
    ----------
    name : str
        Of the function or class, as its author wrote it.
    family : str
        The subpackage of `fastdl.compat` that declares it.
    fast, exact : str or None
        Where the replacements are, as ``"module:name"`` inside the family, with a dot before it what all
        families share; None: this tier leaves it alone.
        A class gives the methods that are set on the original class.
    fingerprints : frozenset of str
        `fingerprint` of each published version. One that matches is known; another of the same name is held
        against fastdl on the first real input, if `by_name` allows it.
    methods : tuple of str
        Of a class: those taken over, in the order in which a trial calls them. The first decides, for an
        instance, who serves the others.
    by_name : bool
        Whether the name, the parameters and the keys are enough to consider a definition nobody has
        published.
    keys : frozenset of str
        The only string subscripts that a definition recognised by name may use.
    partner : str or None
        The function of the same module without which this one is left alone: what one returns, the other
        takes. Of the two, the one with "backward" in its name follows: it is tried together with the other,
        and raises `Unserved` for what the original returned.
    batch : tuple of str
        The parameters whose first axis is the batch: a trial takes some rows of them. None: the whole input.
    sample : str or None
        Where a function is, as ``"module:name"``, that makes a small input in another way: it takes the bound
        arguments, a dict, and of a class a copy of the instance, and puts smaller arrays into both; arrays
        themselves it leaves as they are. It returns the share of the work that is left; NaN if the time is no
        measure of that of the whole.
    private : frozenset of str
        Attributes that nobody but the class reads; all others must hold what the original would have left
        there.
    trial : bool
        False: copies of the arguments cannot be made, so a known fingerprint is believed, and no other.
    """

    name: str
    family: str
    fast: str | None = None
    exact: str | None = None
    fingerprints: frozenset[str] = frozenset()
    methods: tuple[str, ...] = ()
    by_name: bool = False
    keys: frozenset[str] = frozenset()
    partner: str | None = None
    batch: tuple[str, ...] = ()
    sample: str | None = None
    private: frozenset[str] = frozenset()
    trial: bool = True

    @property
    def follows(self) -> bool:
        """Whether this function is tried when its partner is called."""
        return self.partner is not None and "backward" in self.name

    def replacement(self, tier: Tier) -> Any:
        """Return the function or class that serves in a tier, or None."""
        where = self.exact if tier == "exact" else self.fast
        return None if where is None else self._find(where)

    def sampler(self) -> Callable[..., float] | None:
        """Return the function that makes a small input, or None."""
        return None if self.sample is None else self._find(self.sample)

    def _find(self, where: str) -> Any:
        module, name = where.split(":")
        return getattr(import_module(f".{module}", f"fastdl.compat.{self.family}"), name)
