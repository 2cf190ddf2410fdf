"""The examples run, and what they claim holds: with less training than they take by themselves."""

from __future__ import annotations

import importlib.util
import operator
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

import fastdl

EXAMPLES = Path(__file__).parents[1] / "examples"

# How to shorten each, and how its result must compare with what it is held against.
SHORTENED: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "cnn_digits": ("--epochs=6", operator.gt),
    "dcgan_digits": ("--epochs=6", operator.lt),
    "lstm_text": ("--epochs=2 --characters=80000 --units=64", operator.lt),
    "masked_autoencoder": ("--epochs=15", operator.lt),
    "resume_training": ("--epochs=4", operator.lt),
    "unet_segmentation": ("--epochs=5 --scenes=128", operator.gt),
}


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested_and_listed() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == set(SHORTENED)
    assert names == set(re.findall(r"\((\w+)\.py\)", (EXAMPLES / "README.md").read_text("utf-8")))


@pytest.mark.parametrize("name", SHORTENED)
def test_an_example_keeps_what_it_claims(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments, compares = SHORTENED[name]
    picture = tmp_path / f"{name}.png"
    if importlib.util.find_spec("matplotlib"):
        arguments += f" --picture={picture}"
    # One thread computes the same bits and does not wait for others on a busy machine.
    monkeypatch.setenv("FASTDL_NUM_THREADS", "1")  # of the processes that an example starts,
    monkeypatch.setenv("PYTHONPATH", str(Path(fastdl.__file__).parents[1]))  # which find this fastdl
    with fastdl.use(threads=1), threadpool_limits(1, user_api="blas"):
        result, held_against = load(name).main(arguments.split())
    assert compares(result, held_against)
    if name == "resume_training":
        assert result == 0
    assert picture.exists() == ("--picture" in arguments)


def test_resuming_notices_a_difference(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Else its result would say nothing: another seed gives other weights."""
    example = load("resume_training")
    files = [tmp_path / "one.npz", tmp_path / "other.npz"]
    for seed, file in enumerate(files):
        example.train(file, epochs=1, seed=seed)
    different, count = example.compare(*files)
    assert 0 < different <= count
