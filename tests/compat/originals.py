"""What tests of real checkouts share: where they are, what is in them, and how to import them."""

from __future__ import annotations

import ast
import copy
import os
from pathlib import Path

import numpy as np
import pytest

from fastdl.compat.fingerprint import fingerprint
from fastdl.compat.tier import Unserved

REPOSITORIES = os.environ.get("FASTDL_TEACHING_REPOS")
needs_checkouts = pytest.mark.skipif(REPOSITORIES is None, reason="FASTDL_TEACHING_REPOS is not set")


def checkout(name):
    return Path(REPOSITORIES or ".", name)


def fingerprints(folder):
    """Those of all top-level definitions of a folder, by name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8-sig")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                found.setdefault(node.name, set()).add(fingerprint(node))
    return found


def same(ours, theirs, exact=False, limit=1e-10):
    """Compare results, and results in lists and tuples."""
    if isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs)
        for one, two in zip(ours, theirs):
            same(one, two, exact, limit)
        return
    one, two = np.asarray(ours), np.asarray(theirs)
    assert one.dtype == two.dtype
    assert one.shape == two.shape
    if exact:
        assert one.tobytes() == two.tobytes()
        assert one.strides == two.strides
    else:
        np.testing.assert_allclose(one, two, rtol=limit, atol=limit * np.abs(two).max(initial=1e-30))


def outcome(function, *arguments):
    """What a call on copies returns, or the exception it raises."""
    try:
        with np.errstate(all="ignore"):
            return function(*copy.deepcopy(arguments))
    except Exception as error:
        return error


def agree(theirs, ours, *arguments, exact=False):
    """Hold a function against the original; return whether it served, not where that fails."""
    expected, found = outcome(theirs, *arguments), outcome(ours, *arguments)
    if isinstance(expected, Exception):
        assert isinstance(found, Exception), f"the original raised {expected!r}"
        return False
    if isinstance(found, Exception):
        assert isinstance(found, Unserved), repr(found)
        return False
    same(found, expected, exact)
    return True


def with_ours(layer, ours, *names):
    """A copy of an instance on whose class our methods have been set."""
    new = copy.deepcopy(layer)
    new.__class__ = type(type(layer).__name__, (type(layer),), {name: vars(ours)[name] for name in names})
    return new
