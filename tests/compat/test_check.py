"""The check of a learner's file: what is right is found right, and of what is wrong it says where and why."""

from __future__ import annotations

import ast
import json
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import fastdl.compat.check as package
from fastdl.compat.check import check
from fastdl.compat.check.comparing import compare
from fastdl.compat.check.conventions import CLASSES, FUNCTIONS
from fastdl.compat.check.subjects import stem

HERE = Path(__file__).parent / "learner"
SOURCES = {name: (HERE / f"{name}.py").read_text(encoding="utf-8") for name in ("functions", "classes")}


def handed_in(folder: Path, source: str) -> str:
    """A learner's file."""
    path = folder / "my_layers.py"
    path.write_text(textwrap.dedent(source), encoding="utf-8")
    return str(path)


def one(folder: Path, source: str, *names: str, seconds: float = 0.0):
    report = check(handed_in(folder, source), names=names, seconds=seconds)
    assert not report.error
    return report.results[0]


def definition(name: str, changes: dict[str, str] | None = None) -> str:
    """A right definition, and what it needs, with something changed in it."""
    text = SOURCES["functions"] + SOURCES["classes"].replace("from functions import sigmoid, softmax\n", "")
    for old, new in (changes or {}).items():
        node = next(node for node in ast.parse(text).body if getattr(node, "name", None) == name)
        lines = text.splitlines(keepends=True)
        body = "".join(lines[node.lineno - 1 : node.end_lineno])
        assert old in body
        text = "".join([*lines[: node.lineno - 1], body.replace(old, new, 1), *lines[node.end_lineno :]])
    return text


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_right_is_found_right(name):
    report = check(str(HERE / f"{name}.py"), seconds=0)
    assert report.right
    for result in report.results:
        assert result.status == "right", str(result)
        assert result.comparisons
        assert all(gradient.right for gradient in result.gradients)
    assert f"{len(report.results)} right" in str(report)


def test_every_known_name_has_a_right_learner():
    tried = {
        node.name
        for source in SOURCES.values()
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    alike = {"sigmoid_forward", "sigmoid_backward", "tanh_forward", "tanh_backward", "tanh", "relu"}
    alike |= {"mean_squared_error", "Linear", "ReLU", "Tanh", "Softmax", "TimeEmbedding"}
    assert set(FUNCTIONS) | set(CLASSES) == {stem(name) for name in tried} - {"Recurrent"} | alike


WRONG = [
    # definition, change, what is wrong, hint
    ("affine_forward", {" + b, (": ", ("}, "out", "b has not been added"),
    ("affine_backward", {"dout.sum(axis=0)": "dout.sum()"}, "db", "summed over everything"),
    ("affine_backward", {"rows.T @ dout": "(rows.T @ dout).T"}, "dw", "it is transposed"),
    ("affine_backward", {"dout.sum(axis=0)": "dout"}, "db", "not summed over the batch"),
    ("relu_backward", {"dout, 0)": "-dout, 0)"}, "dx", "the sign is wrong"),
    ("conv_forward_naive", {"patch, w,": "patch, w[:, :, ::-1, ::-1],"}, "out", "flipped"),
    ("conv_forward_naive", {") + b": ")"}, "out", "b has not been added"),
    ("conv_backward_naive", {"axis=(0, 2, 3)": "axis=0"}, "db", "its shape is"),
    ("max_pool_forward_naive", {".max(": ".mean("}, "out", "the mean of each window"),
    ("batchnorm_forward", {"x.var(axis=0)": "x.var(axis=0, ddof=1)"}, "out", "divided by N - 1"),
    ("batchnorm_forward", {"np.sqrt(var + eps)": "(var + eps)"}, "out", "not by its root"),
    ("batchnorm_forward", {"axis=0)": "axis=1, keepdims=True)", "var(axis=0)": "var(axis=1, keepdims=True)"},
     "out", "of each row"),
    ("batchnorm_backward", {" - dbeta / n - hat * dgamma / n": ""}, "dx", "taken for constants"),
    ("batchnorm_backward", {" - hat * dgamma / n": ""}, "dx", "of the variance is missing"),
    ("layernorm_forward", {"mean(axis=1": "mean(axis=0", "var(axis=1": "var(axis=0"}, "out", "each feature"),
    ("softmax_loss", {"dx / n": "dx"}, "dx", "division by the batch size is missing"),
    ("softmax_loss", {"dx[np.arange(n), y] -= 1": ""}, "dx", "the target is not subtracted"),
    ("softmax_loss", {"y].mean()": "y].sum()"}, "loss", "division by the batch size is missing"),
    ("softmax_loss", {"dx / n": "dx / n / n"}, "dx", "once too often"),
    ("softmax", {"e.sum(axis=1, keepdims=True)": "e.sum()"}, "out", "over the whole array"),
    ("lstm_step_forward", {"i, f, o, g = np.split": "i, f, g, o = np.split"}, "next_h", "order i, f, g, o"),
    ("lstm_forward", {"x[:, t], h, c": "x[:, 0], h, c"}, "h", ""),
    ("rnn_step_forward", {" + prev_h @ Wh": ""}, "next_h", "Wh has not been used"),
    ("word_embedding_backward", {"np.add.at(dW, x, dout)": "dW[x] += dout"}, "dw", "np.add.at adds them all"),
    ("dropout_forward", {"< dropout_param": "> dropout_param"}, "mask", "exchanged"),
    ("dropout_forward", {" / dropout_param[\"p\"]": ""}, "out", "every number is 0.7 times"),
    ("adam", {"config.get(\"t\", 0)": "config.get(\"t\", 1)"}, "next_w", "t is 2 in the first step"),
    ("adam", {"m / (1 - 0.9**t)": "m", "v / (1 - 0.999**t)": "v"}, "next_w", "not corrected"),
    ("sgd", {"w - config": "w + config"}, "next_w", "it climbs"),
    ("rmsprop", {"0.99 * ": "", "0.01 * ": ""}, "next_w", "as AdaGrad"),
    ("sum_squared_error", {"0.5 * ": ""}, "loss", "twice"),
    ("Affine", {"dout.sum(axis=0)": "np.sum(dout)"}, "db", "axis=0"),
    ("Sigmoid", {" * (1 - self.out)": ""}, "dx", ""),
    ("SoftmaxWithLoss", {" / len(self.t)": ""}, "dx", "division by the batch size is missing"),
    ("Convolution", {"-1).T + self.b": "-1).T"}, "out", "b has not been added"),
    ("LSTM", {"f, g, i, o = np.split": "i, f, g, o = np.split"}, "next_h", "order i, f, g, o and"),
    ("GRU", {"return (1 - self.z) * h_prev + self.z *": "return self.z * h_prev + (1 - self.z) *"},
     "next_h", "z and 1 - z are exchanged"),
    ("Momentum", {"self.momentum * ": ""}, "params", ""),
    ("SGD", {"-= self.lr * grads[i]": "-= 0 * grads[i]"}, "params", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    "name, changes, part, hint", WRONG, ids=lambda value: value if type(value) is str else ""
)
def test_what_is_wrong_is_found_and_explained(tmp_path, name, changes, part, hint):
    result = one(tmp_path, definition(name, changes), name)
    assert result.status == "wrong", str(result)
    found = next(item for item in result.comparisons if item.name == part)
    assert not found.right
    assert hint in found.hint, str(result)
    if found.index is not None:
        assert found.value != found.expected
        assert 0 < found.wrong <= found.size
        assert f"{found.name}[{', '.join(map(str, found.index))}] = " in str(result)


def test_the_first_wrong_number(tmp_path):
    result = one(
        tmp_path,
        """
        import numpy as np
        def relu_forward(x):
            out = np.maximum(x, 0)
            out[2, 3] += 1
            out[3, 1] += 2
            return out, x
        """,
    )
    found = result.comparisons[0]
    assert (found.index, found.wrong, found.size) == ((2, 3), 2, 20)
    assert found.value == pytest.approx(found.expected + 1)


def test_the_border_and_a_row_that_was_missed():
    right = np.random.default_rng(0).standard_normal((2, 3, 5, 6))
    bordered = right.copy()
    bordered[:, :, 0] += 1
    assert "padding" in compare("out", bordered, right, 1e-6).hint
    missed = right[:, 0, 0].copy()
    missed[-1] = 0
    assert "only the entries 1" in compare("out", missed, right[:, 0, 0], 1e-6).hint
    assert "NaN" in compare("out", right * np.nan, right, 1e-6).hint
    assert "zeros" in compare("out", right * 0, right, 1e-6).hint
    assert "None" in compare("out", None, right, 1e-6).hint
    assert "same amount" in compare("out", right + 3, right, 1e-6).hint
    assert compare("out", right.astype("f"), right, 1e-6).right


def test_a_gradient_of_a_wrong_forward_pass(tmp_path):
    result = one(
        tmp_path,
        """
        class Relu:
            def forward(self, x):
                self.x = x
                return 3 * x
            def backward(self, dout):
                return 3 * dout
        """,
    )
    assert result.status == "wrong"
    assert [gradient.right for gradient in result.gradients] == [True]
    assert "it is the forward pass that is wrong" in result.reason


def test_a_forward_pass_that_changes_its_argument(tmp_path):
    source = """
        def relu_forward(x):
            x[x < 0] = 0
            return x, x
        """
    assert "changes its argument x" in one(tmp_path, source).reason


def test_a_definition_that_raises_shows_its_own_lines(tmp_path):
    result = one(
        tmp_path,
        """
        import numpy as np
        def helper(x):
            return np.reshape(x, (7, 7))
        def relu_forward(x):
            return helper(x), x
        """,
    )
    assert result.status == "raises"
    assert "return helper(x), x" in result.traceback
    assert "return np.reshape(x, (7, 7))" in result.traceback
    assert "ValueError: cannot reshape" in result.traceback
    assert result.traceback.count('File "') == 2
    assert "site-packages" not in str(result)


def test_what_is_returned_is_not_what_the_convention_returns(tmp_path):
    result = one(tmp_path, "def relu_forward(x):\n    return x\n")
    assert (result.status, result.reason) == (
        "wrong", "it returns one ndarray, and should return (out, cache)")  # fmt: skip


@pytest.mark.parametrize(
    "source, reason",
    [
        ("def affine_forward(x):\n    return x\n", "it does not take (x, w, b)"),
        ("def affine_backward(dout, cache):\n    return dout\n", "its cache comes from affine_forward"),
        ("class Relu:\n    def forward(self, x):\n        return x\n", "it has no backward"),
    ],
)
def test_what_is_skipped(tmp_path, source, reason):
    result = one(tmp_path, source)
    assert result.status == "skipped"
    assert reason in result.reason


def test_names(tmp_path):
    path = handed_in(
        tmp_path, "def mine():\n    pass\ndef sigmoid(x):\n    return x\ndef tanh(x):\n    return x\n"
    )
    assert [result.name for result in check(path, seconds=0).results] == ["sigmoid", "tanh"]
    assert [result.name for result in check(path, names=["tanh"], seconds=0).results] == ["tanh"]
    assert "knows nothing" in check(path, names=["mine"], seconds=0).results[0].reason
    with pytest.raises(ValueError, match="defines no softmax; it defines mine, sigmoid, tanh"):
        check(path, names=["softmax"])
    with pytest.raises(FileNotFoundError):
        check(str(tmp_path / "none.py"))


@pytest.mark.parametrize("ending", ["raise RuntimeError('no data')", "import sys; sys.exit(3)", "def x(:"])
def test_a_file_that_fails(tmp_path, capsys, ending):
    before = list(sys.path), set(sys.modules)
    path = handed_in(tmp_path, f"print('hello')\ndef sigmoid(x):\n    return x\n{ending}\n")
    report = check(path, seconds=0)
    assert (list(sys.path), set(sys.modules)) == before
    assert not report.right
    assert ("no data" in report.error) or ("SystemExit" in report.error) or ("SyntaxError" in report.error)
    assert len(report.results) == (0 if "def x" in ending else 1)
    assert "raised while it was loaded" in str(report)
    assert capsys.readouterr().out == ""


def test_imports_beside_the_file_and_aliases(tmp_path):
    (tmp_path / "beside.py").write_text("def relu_forward(x):\n    return x * (x > 0), x\n", encoding="utf-8")
    (tmp_path / "besides.py").write_text("", encoding="utf-8")
    result = one(
        tmp_path,
        """
        from beside import relu_forward
        def relu_backward(dout, cache):
            import besides
            return dout * (cache > 0)
        """,
    )
    assert not {"beside", "besides", "my_layers"} & set(sys.modules)
    assert (result.name, result.status) == ("relu_backward", "right")


def test_times_and_json(tmp_path):
    report = check(handed_in(tmp_path, definition("Relu")), names=["Relu", "relu_backward"], seconds=0.001)
    speeds = {result.name: result.speeds for result in report.results}
    assert [speed.what for speed in speeds["Relu"]] == ["forward", "backward"]
    assert [speed.what for speed in speeds["relu_backward"]] == ["backward"]
    for speed in (*speeds["Relu"], *speeds["relu_backward"]):
        assert min(speed.yours, speed.naive, speed.textbook, speed.native) > 0
        assert speed.naive > speed.native
        assert "loops take" in str(speed)
    where = tmp_path / "report.json"
    report.write(str(where))
    written = json.loads(where.read_text(encoding="utf-8"))
    assert written["right"] is True
    assert written["results"][1]["name"] == "Relu"
    assert written["results"][1]["comparisons"][0] == {
        "name": "out", "right": True, "wrong": 0, "size": 20,
        "index": None, "value": None, "expected": None, "hint": "",
    }  # fmt: skip


def test_a_nan_is_null_in_json(tmp_path):
    report = check(handed_in(tmp_path, "def sigmoid(x):\n    return x * float('nan')\n"), seconds=0)
    report.write(str(tmp_path / "report.json"))
    assert '"value": null' in (tmp_path / "report.json").read_text(encoding="utf-8")


def test_what_the_package_offers():
    assert set(package.__all__) == {"Comparison", "Gradient", "Report", "Result", "Speed", "check"}
