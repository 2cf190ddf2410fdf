"""Recognition, trials and wrappers, on a family that exists only here."""

from __future__ import annotations

import ast
import copy
import importlib
import math
import pickle
import random
import sys
from pathlib import Path

import made_up
import numpy as np
import pytest
from made_up import DOUBLE, HEAD, NOISE, SCALE, STEP, TARGETS, family  # noqa: F401 - a fixture

import fastdl
from fastdl.compat import hook, tier, trial
from fastdl.compat.contest import TIMED
from fastdl.compat.fingerprint import fingerprint
from fastdl.compat.recognise import recognise

pytestmark = pytest.mark.usefixtures("family")


def load(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "learner", **options):
    """Import a learner's file under `accelerate`."""
    folder.joinpath(f"{name}.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    fastdl.accelerate(**options)
    module = importlib.import_module(name)
    del sys.modules[name]
    return module


def service(name: str):
    return next(item for item in hook.report.services if item.name == name and item.module in LEARNERS)


def calls(name: str) -> int:
    return sum(
        count.calls for item in hook.report.services for key, count in item.counts.items() if key == name
    )


LEARNERS = ("learner", "earlier")
PLAIN_SOONER = trial._sooner
X = np.random.default_rng(0).standard_normal((600, 200))
W = np.random.default_rng(1).standard_normal(200)


# ---- fingerprints


def node(source: str) -> ast.stmt:
    return ast.parse(source).body[0]


def test_a_fingerprint_does_not_see_how_code_is_written_down():
    plain = node("def f(x):\n    y = x\n    return y")
    same = "def f(x: int) -> int:\n    'Doc.'\n    # say\n    y: int = (x)\n    'aside'\n    return y\n"
    same = same.replace("\n", "\r\n")
    assert fingerprint(node(same)) == fingerprint(plain)


@pytest.mark.parametrize(
    "other",
    [
        "def g(x):\n    y = x\n    return y",
        "def f(x):\n    y = x\n    return x",
        "def f(x=1):\n    y = x\n    return y",
    ],
)
def test_a_fingerprint_sees_what_code_does(other):
    assert fingerprint(node(other)) != fingerprint(node("def f(x):\n    y = x\n    return y"))


def test_a_fingerprint_is_the_same_in_every_version_of_python():
    assert (
        fingerprint(node("def f(a, *b, c=1, **d):\n    return [a[i] for i in b if not c]"))
        == "1a4e5440efac6c00"
    )


# ---- recognition


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (DOUBLE.replace("(x, config)", "(x, y)"), "it takes other parameters"),
        (DOUBLE.replace("(x, config)", "(x, config=None)"), "it takes other parameters"),
        (DOUBLE.replace('"offset"', '"shift"'), "it uses the key 'shift'"),
        (DOUBLE.replace("out = []", "out = []; print(x)"), "it calls print()"),
        (DOUBLE.replace("out = []", "global out; out = []"), "it does more than compute"),
        (f"@staticmethod\n{DOUBLE}", "it is decorated"),
        (SCALE.replace("def backward(self, dout)", "def back(self, dout)"), "it has no backward"),
        (SCALE.replace("self, dout", "self, dout, again"), "its backward takes other parameters"),
        ("class double: pass", "it is a class"),
        ("def Scale(): pass", "it is a function"),
    ],
)
def test_what_only_looks_alike_is_left_alone(source, reason):
    (found,) = recognise(ast.parse(source))
    assert found.targets == ()
    assert found.reason == reason


def test_a_tier_without_a_replacement_leaves_it_alone():
    (found,) = recognise(ast.parse(DOUBLE), "exact")
    assert found.reason == "the exact tier does not serve it"


def test_definitions_inside_conditions_are_found():
    source = "try:\n    import nothing\nexcept ImportError:\n" + "".join(
        f"    {line}\n" for line in DOUBLE.splitlines()
    )
    assert [found.node.name for found in recognise(ast.parse(source))] == ["double"]


# ---- what is served


def test_a_class_stays_and_its_methods_are_served(tmp_path, monkeypatch):
    learner = load(HEAD + SCALE, tmp_path, monkeypatch)
    layer = learner.Scale(W)
    assert type(layer).__name__ == "Scale"
    assert type(layer).__module__ == "learner"
    np.testing.assert_array_equal(layer.forward(X), X * W)
    dx = layer.backward(X)
    np.testing.assert_allclose(layer.dw, (X * X).sum(axis=0))
    np.testing.assert_array_equal(dx, X * W)
    assert calls("Scale.forward") == calls("Scale.backward") == 1
    assert service("Scale").largest < 1e-12
    assert learner.Scale.forward.__name__ == "forward"


def test_a_function_is_served_also_under_the_names_that_copied_it(tmp_path, monkeypatch):
    learner = load(f"{HEAD}{DOUBLE}\n\nalias = double\n", tmp_path, monkeypatch)
    assert learner.alias is learner.double
    np.testing.assert_array_equal(learner.alias(X, {"offset": 1}), X * 2 + 1)
    assert calls("double") == 1
    assert learner.double.__module__ == "learner"
    assert pickle.loads(pickle.dumps(fastdl.info)) is not None


def test_what_computes_something_else_is_never_served(tmp_path, monkeypatch):
    learner = load(HEAD + DOUBLE.replace("* 2", "* 3"), tmp_path, monkeypatch)
    np.testing.assert_array_equal(learner.double(X, {"offset": 0}), X * 3)
    assert calls("double") == 0
    (reason,) = service("double").reasons
    assert reason.startswith("the result differs")


def test_another_type_is_a_difference(tmp_path, monkeypatch):
    learner = load(HEAD + DOUBLE.replace("np.array(out)", "np.array(out, 'f')"), tmp_path, monkeypatch)
    assert learner.double(X, {"offset": 0}).dtype == np.float32
    assert service("double").reasons == {"the result holds float64, not float32": 1}


def test_a_new_kind_of_input_is_tried_again(tmp_path, monkeypatch):
    # Right for one offset, wrong for another: nothing may be concluded from the first.
    source = DOUBLE.replace("row * 2", "row * (2 if config['offset'] == 1 else 5)").replace("'", '"')
    learner = load(HEAD + source, tmp_path, monkeypatch)
    np.testing.assert_array_equal(learner.double(X, {"offset": 1}), X * 2 + 1)
    np.testing.assert_array_equal(learner.double(X, {"offset": 0}), X * 5)
    assert calls("double") == 1


def test_a_wrong_backward_keeps_the_whole_class(tmp_path, monkeypatch):
    learner = load(HEAD + SCALE.replace("total += row * d", "total += row"), tmp_path, monkeypatch)
    layer = learner.Scale(W)
    layer.forward(X)
    layer.backward(X)
    np.testing.assert_allclose(layer.dw, X.sum(axis=0))
    assert calls("Scale.forward") == calls("Scale.backward") == 0


def test_what_is_not_faster_is_left_alone(tmp_path, monkeypatch):
    source = "def double(x, config):\n    return x * 2 + config['offset']\n".replace("'", '"')
    monkeypatch.setattr("fastdl.compat.trial._sooner", lambda ours, theirs: False)
    learner = load(source, tmp_path, monkeypatch)
    learner.double(X, {"offset": 1})
    assert service("double").reasons == {"fastdl is not faster here": 1}


def close(monkeypatch):
    """Make every trial say that the two are equally fast, and nothing of the original's time."""
    monkeypatch.setattr(trial, "_sooner", lambda ours, theirs: None)
    monkeypatch.setattr("fastdl.compat.contest._FAR", math.inf)


def test_what_a_trial_cannot_tell_is_timed_on_real_calls(tmp_path, monkeypatch):
    close(monkeypatch)
    learner = load(HEAD + SCALE, tmp_path, monkeypatch)  # a loop over the rows, far slower than ours
    layer = learner.Scale(W)
    for _ in range(10):
        np.testing.assert_array_equal(layer.forward(X), X * W)
        layer.backward(X)
        np.testing.assert_allclose(layer.dw, (X * X).sum(axis=0))
    assert calls("Scale.forward") == calls("Scale.backward") >= 6
    assert service("Scale").counts["Scale.backward"].left == 10 - calls("Scale.backward")
    *_, contest = service("Scale").contests.values()  # the first had no gradient in its attributes yet
    assert contest.winner
    assert all(ours < theirs for ours, theirs in zip(contest.ours, contest.theirs))
    *_, verdict = service("Scale").verdicts.values()
    assert verdict.seconds == contest.original
    assert service("Scale").counts["Scale.forward"].left == 10 - calls("Scale.forward")
    assert list(service("Scale").reasons) == [TIMED]


def test_what_is_slower_on_real_calls_is_left_alone(tmp_path, monkeypatch):
    close(monkeypatch)
    slow = "def double(x, config):\n    return x * 2 + config['offset']\n".replace("'", '"')
    learner = load(slow, tmp_path, monkeypatch)
    monkeypatch.setattr(made_up, "PAUSE", 2e-3)
    for _ in range(10):
        np.testing.assert_array_equal(learner.double(X, {"offset": 1}), X * 2 + 1)
    assert 1 <= calls("double") <= 3
    assert service("double").reasons[trial.SLOWER] >= 5


def test_an_unserved_input_goes_to_the_original(tmp_path, monkeypatch):
    learner = load(HEAD + SCALE, tmp_path, monkeypatch)
    layer = learner.Scale(W)
    layer.forward(X)
    three = np.ones((3, 200))
    layer.forward(three)
    layer.backward(three)  # by the original, whose forward pass it was
    np.testing.assert_array_equal(layer.dw, np.full(200, 3.0))
    assert calls("Scale.forward") == 1
    assert calls("Scale.backward") == 0
    assert service("Scale").reasons == {"x has three rows": 1}


def test_an_error_is_the_originals(tmp_path, monkeypatch):
    learner = load(HEAD + DOUBLE, tmp_path, monkeypatch)
    with pytest.raises(KeyError, match="offset"):
        learner.double(X, {})
    learner.double(X, {"offset": 1})
    with pytest.raises(KeyError, match="offset"):
        learner.double(X, {})


def test_a_trial_changes_nothing(tmp_path, monkeypatch):
    learner = load(HEAD + STEP, tmp_path, monkeypatch)
    optimizer = learner.Descent(0.5)
    params = {"w": np.arange(1000.0)}
    same = params["w"]
    optimizer.update(params, {"w": np.ones(1000)})
    np.testing.assert_array_equal(params["w"], np.arange(1000.0) - 0.5)
    assert params["w"] is same
    assert optimizer.steps == 1
    assert calls("Descent.update") == 1


def test_the_random_stream_is_that_of_the_original(tmp_path, monkeypatch):
    learner = load(HEAD + NOISE, tmp_path, monkeypatch)
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    got = [learner.noise(X), learner.noise(X)]
    after = np.random.rand(), random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    random.seed(3)
    expected = [X + np.random.rand(*X.shape), X + np.random.rand(*X.shape)]  # noqa: NPY002
    np.testing.assert_array_equal(got, expected)
    assert after == (np.random.rand(), random.random())  # noqa: NPY002
    assert calls("noise") == 2


def test_a_layer_can_be_copied_and_pickled_between_its_passes(tmp_path, monkeypatch):
    learner = load(HEAD + SCALE, tmp_path, monkeypatch)
    monkeypatch.setitem(sys.modules, "learner", learner)
    layer = learner.Scale(W)
    layer.forward(X)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(other.backward(X), X * W)
        np.testing.assert_allclose(other.dw, (X * X).sum(axis=0))


def test_a_subclass_uses_what_is_served(tmp_path, monkeypatch):
    half = "\n\nclass Half(Scale):\n    def forward(self, x):\n        return super().forward(x) / 2\n"
    source = HEAD + SCALE + half
    learner = load(source, tmp_path, monkeypatch)
    np.testing.assert_array_equal(learner.Half(W).forward(X), X * W / 2)
    assert calls("Scale.forward") == 1


# ---- ways in


def test_modules_imported_before_are_adopted(tmp_path, monkeypatch):
    tmp_path.joinpath("earlier.py").write_text(f"{HEAD}{DOUBLE}\n\n{SCALE}", encoding="utf-8")
    tmp_path.joinpath("user.py").write_text("from earlier import *\nkept = double\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    user = importlib.import_module("user")
    report = fastdl.accelerate()
    try:
        assert user.kept is user.double is sys.modules["earlier"].double
        user.kept(X, {"offset": 1})
        user.Scale(W).forward(X)
        assert report is hook.report
        assert calls("double") == calls("Scale.forward") == 1
        fastdl.accelerate()  # once is enough
        assert [item.name for item in report.services if item.module == "earlier"] == ["double", "Scale"]
    finally:
        del sys.modules["user"], sys.modules["earlier"]


def test_star_imports_take_the_same_names(tmp_path, monkeypatch):
    learner = load(HEAD + DOUBLE + "\n\n" + SCALE, tmp_path, monkeypatch)
    assert {name for name in vars(learner) if not name.startswith("__")} == {"np", "double", "Scale"}


def test_no_bytecode_of_a_changed_module_is_left(tmp_path, monkeypatch):
    load(HEAD + DOUBLE, tmp_path, monkeypatch)
    assert list(tmp_path.rglob("*.pyc")) == []


def test_a_reload_serves_the_new_definition(tmp_path, monkeypatch):
    learner = load(HEAD + DOUBLE, tmp_path, monkeypatch)
    monkeypatch.setitem(sys.modules, "learner", learner)
    learner.double(X, {"offset": 1})
    tmp_path.joinpath("learner.py").write_text(HEAD + DOUBLE.replace("* 2", "* 3"), encoding="utf-8")
    importlib.reload(learner)
    np.testing.assert_array_equal(learner.double(X, {"offset": 1}), X * 3 + 1)


def test_the_exact_tier_wants_equal_bits(tmp_path, monkeypatch):
    source = SCALE.replace("row * self.w for", "row * self.w * (1 + 1e-15) for")
    learner = load(HEAD + source, tmp_path, monkeypatch, tier="exact")
    learner.Scale(W).forward(X)
    assert calls("Scale.forward") == 0
    assert list(service("Scale").reasons) == ["the result of forward has other bits"]


def test_verify_keeps_the_largest_difference(tmp_path, monkeypatch):
    learner = load(HEAD + SCALE, tmp_path, monkeypatch, verify=True)
    layer = learner.Scale(W)
    monkeypatch.setattr(service("Scale"), "largest", 0.0)
    for _ in range(2):
        layer.forward(X)
        layer.backward(X)
    assert calls("Scale.backward") == 2
    assert 0 < service("Scale").largest < 1e-12


def test_verify_sees_what_a_trial_could_not(tmp_path, monkeypatch):
    learner = load(
        HEAD + DOUBLE.replace("row * 2", "row * (2 + (len(x) > 599))"), tmp_path, monkeypatch, verify=True
    )
    learner.double(X, {"offset": 1})
    assert service("double").largest > 0.1


@pytest.mark.parametrize(
    "options",
    [{"tier": "quick"}, {"dtype": "float16"}, {"tier": "exact", "dtype": "float32"}],
)
def test_accelerate_refuses_what_it_does_not_know(options):
    with pytest.raises(ValueError, match="accelerate: "):
        fastdl.accelerate(**options)


@pytest.mark.parametrize(
    ("ours", "sooner"),
    [([1.0, 0.3], True), ([0.5, 1.6], None), ([4.0, 2.1], False)],
)
def test_the_sooner_is_the_one_whose_calls_take_clearly_less_together(ours, sooner):
    assert PLAIN_SOONER(ours, [1.5, 0.5]) is sooner
    assert PLAIN_SOONER([0.002], [0.001]) is None  # too short to say


def test_narrow_is_float32_only_where_it_was_allowed():
    assert tier.narrow(X).dtype == np.float64
    tier.settings.dtype = np.dtype("float32")
    assert tier.narrow(X).dtype == np.float32


def test_the_report_says_what_and_why(tmp_path, monkeypatch):
    source = f"{HEAD}{SCALE}\n\n{DOUBLE}\n\n{NOISE.replace('(x)', '(x, y)', 1)}"
    learner = load(source, tmp_path, monkeypatch)
    learner.Scale(W).forward(X)
    definitions = [item for item in hook.report.as_dict()["definitions"] if item["module"] == "learner"]
    assert [item["name"] for item in definitions] == ["Scale", "double", "noise"]
    first, _, last = definitions
    assert first["served"]
    assert first["recognised"] == "name"
    assert first["functions"]["Scale.forward"]["calls"] == 1
    assert first["functions"]["Scale.forward"]["original_seconds"] > 0
    assert last["left_alone"] == "it takes other parameters"
    text = str(hook.report)
    assert "Scale.forward" in text
    assert "  noise  it takes other parameters" in text


def test_targets_name_what_exists():
    for target in TARGETS:
        assert target.replacement("fast") is not None
