"""``python -m fastdl run`` and ``scan``, as a person calls them, against plain Python."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

# A student's own loops; the sizes make them slow enough to be worth replacing.
CONVOLUTION = """\
import numpy as np


def conv_forward_naive(x, w, b, conv_param):
    stride, pad = conv_param["stride"], conv_param["pad"]
    count, _, height, width = x.shape
    filters, _, rows, columns = w.shape
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    high, wide = 1 + (height + 2 * pad - rows) // stride, 1 + (width + 2 * pad - columns) // stride
    out = np.zeros((count, filters, high, wide))
    for n in range(count):
        for f in range(filters):
            for i in range(out.shape[2]):
                for j in range(out.shape[3]):
                    window = padded[n, :, i * stride : i * stride + rows, j * stride : j * stride + columns]
                    out[n, f, i, j] = np.sum(window * w[f]) + b[f]
    return out, (x, w, b, conv_param)
"""
MAIN = f"""\
{CONVOLUTION}

if __name__ == "__main__":
    x, w, b = np.random.randn(8, 3, 16, 16), np.random.randn(4, 3, 3, 3), np.random.randn(4)
    for _ in range(3):
        out, _ = conv_forward_naive(x, w, b, {{"stride": 1, "pad": 1}})
    print(f"{{out.sum():.6f}}", out.dtype)
"""


def python(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "FASTDL_NUM_THREADS": "1"}
    here = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [here, environment.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        **options,
    )


def run(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess[str]:
    return python("-m", "fastdl", "run", *arguments, cwd=cwd, **options)


def write(folder: Path, text: str, name: str = "script.py") -> None:
    folder.joinpath(name).write_text(text, encoding="utf-8")


def test_a_script_gives_the_same_and_is_told_what_was_replaced(tmp_path):
    write(tmp_path, MAIN.replace("x, w, b =", "np.random.seed(0); x, w, b =", 1))
    plain = python("script.py", cwd=tmp_path)
    served = run("--report", "report.json", "script.py", cwd=tmp_path)
    assert plain.returncode == served.returncode == 0, served.stderr
    assert served.stdout == plain.stdout
    assert "conv_forward_naive" in served.stderr
    account = json.loads(tmp_path.joinpath("report.json").read_text(encoding="utf-8"))
    (definition,) = account["definitions"]
    assert definition["served"]
    assert definition["recognised"] == "name"
    count = definition["functions"]["conv_forward_naive"]
    assert count["calls"] == 3
    assert count["original_seconds"] > count["seconds"]
    assert account["speedup"] > 1
    assert account["largest_difference"] < 1e-10


def test_verify_runs_both(tmp_path):
    write(tmp_path, MAIN)
    served = run("--verify", "--seed", "3", "script.py", cwd=tmp_path)
    assert re.search(r"largest difference seen: [0-9.]+e-1[5-9]", served.stderr), served.stderr


def test_a_seed_is_that_of_both_generators(tmp_path):
    write(tmp_path, "import random, numpy as np\nprint(random.random(), np.random.rand())\n")
    np.random.seed(5)  # noqa: NPY002
    served = run("--quiet", "--seed", "5", "script.py", cwd=tmp_path)
    assert float(served.stdout.split()[1]) == np.random.rand()  # noqa: NPY002
    assert served.stdout == run("--quiet", "--seed", "5", "script.py", cwd=tmp_path).stdout
    assert served.stderr == ""


INSPECTING = """\
import os, pickle, sys
import helper

class Thing:
    pass

print(sys.argv, __name__, __file__, __package__, __spec__, sys.path[0], os.getcwd(), helper.WHO)
print(type(pickle.loads(pickle.dumps(Thing()))) is Thing, sys.modules["__main__"].Thing is Thing)
print(sorted(name for name in globals() if not name.startswith("__")))
"""


@pytest.mark.parametrize("folder", [".", "below"])
def test_a_script_sees_what_it_sees_under_python(tmp_path, folder):
    (tmp_path / "below").mkdir()
    write(tmp_path / folder, INSPECTING)
    write(tmp_path / folder, "WHO = __name__, __file__\n", "helper.py")
    arguments = (f"{folder}/script.py", "--exact", "-x", "a b")
    assert run("--quiet", *arguments, cwd=tmp_path).stdout == python(*arguments, cwd=tmp_path).stdout


FAILING = f"""\
{CONVOLUTION}

def work(x):
    return conv_forward_naive(x, x[0], None, {{"stride": 1, "pad": 0}})


def main():
    try:
        work(np.ones((1, 1, 3, 3)))
    except TypeError as error:
        raise RuntimeError("no bias") from error


main()
"""


@pytest.mark.parametrize(
    "text",
    [
        FAILING,
        "def f(:\n",
        "import sys\nprint('before')\nsys.exit(3)\n",
        "import sys\nsys.exit('a message')\n",
        "raise SystemExit\n",
        "import nothing_of_that_name\n",
        "class Own(BaseException): pass\nraise Own(1)\n",
        "import sys\nsys.excepthook = lambda *_: print('hooked')\n1 / 0\n",
        "x = 1\nassert x == 2, x\n",
    ],
)
def test_a_script_that_fails_fails_in_its_own_words(tmp_path, text):
    write(tmp_path, text)
    plain = python("script.py", cwd=tmp_path)
    served = run("--quiet", "script.py", cwd=tmp_path)
    assert served.returncode == plain.returncode
    assert served.stdout == plain.stdout
    assert served.stderr == plain.stderr


def test_a_missing_script_is_refused_as_by_python(tmp_path):
    plain, served = python("no.py", cwd=tmp_path), run("--quiet", "no.py", cwd=tmp_path)
    assert served.returncode == plain.returncode == 2
    assert served.stderr == plain.stderr


def test_the_report_is_written_after_a_failure(tmp_path):
    write(tmp_path, MAIN + "    1 / 0\n")
    served = run("--report", "report.json", "script.py", cwd=tmp_path)
    assert served.returncode == 1
    assert json.loads(tmp_path.joinpath("report.json").read_text(encoding="utf-8"))["definitions"][0][
        "served"
    ]


def test_the_report_stays_where_the_command_was_given(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path, "import os\nos.chdir('elsewhere')\n" + MAIN)
    assert run("--report", "report.json", "script.py", cwd=tmp_path).returncode == 0
    assert tmp_path.joinpath("report.json").stat().st_size > 0
    assert not tmp_path.joinpath("elsewhere", "report.json").exists()


def test_a_report_that_cannot_be_written_is_refused_before_the_script(tmp_path):
    write(tmp_path, "print('ran')\n")
    served = run("--report", "nowhere/report.json", "script.py", cwd=tmp_path)
    assert served.returncode == 1
    assert "nowhere" in served.stderr
    assert served.stdout == ""


def test_a_module_is_run_by_its_name(tmp_path):
    (tmp_path / "package").mkdir()
    write(tmp_path / "package", "", "__init__.py")
    text = MAIN.replace("x, w, b =", "import sys; x, w, b =", 1) + "    print(sys.argv[1:])\n"
    write(tmp_path / "package", text)
    served = run("--seed", "0", "-m", "package.script", "one", "-m", cwd=tmp_path)
    assert served.returncode == 0, served.stderr
    assert served.stdout.endswith("['one', '-m']\n")
    assert "conv_forward_naive" in served.stderr


POOL = f"""\
import multiprocessing, sys
{CONVOLUTION}

def total(seed):
    x = np.random.RandomState(seed).rand(2, 1, 6, 6)
    return round(float(conv_forward_naive(x, x[:1], np.zeros(1), {{"stride": 1, "pad": 0}})[0].sum()), 8)


if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        print(pool.map(total, range(4)))
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_processes_work_as_under_python(tmp_path, method):
    write(tmp_path, POOL)
    plain, served = python("script.py", method, cwd=tmp_path), run("script.py", method, cwd=tmp_path)
    assert served.returncode == plain.returncode == 0, served.stderr
    assert served.stdout == plain.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_an_interrupt_ends_a_script_as_under_python(tmp_path):
    write(tmp_path, "import time\nprint('ready', flush=True)\ntime.sleep(60)\n")
    here = str(Path(__file__).parents[2])
    process = subprocess.Popen(
        [sys.executable, "-m", "fastdl", "run", "script.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": here},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in error
    assert "script.py" in error
    assert "fastdl/compat" not in error


def test_scan_lists_and_runs_nothing(tmp_path):
    write(tmp_path, CONVOLUTION + "\nraise SystemExit('it ran')\n")
    write(tmp_path, "def conv_forward_naive(x): pass\n", "other.py")
    write(tmp_path, "print 'two'\ndef conv_forward_naive(): pass\n", "old.py")
    cell = {"cell_type": "code", "source": ["%matplotlib inline\n", *CONVOLUTION.splitlines(keepends=True)]}
    write(tmp_path, json.dumps({"cells": [{"cell_type": "markdown", "source": ""}, cell]}), "book.ipynb")
    done = python("-m", "fastdl", "scan", ".", "--json", "found.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "script.py:4: conv_forward_naive: cs231n, by its name and parameters" in done.stdout
    assert "book.ipynb[cell 2]:5: conv_forward_naive: cs231n" in done.stdout
    assert "other.py:1: conv_forward_naive: left alone, it takes other parameters" in done.stdout
    assert "old.py:1: (the whole file): left alone, it is not Python 3" in done.stdout
    assert "2 of 4 definitions" in done.stdout
    assert len(json.loads(tmp_path.joinpath("found.json").read_text(encoding="utf-8"))) == 4


def test_scan_of_nothing_is_an_error(tmp_path):
    done = python("-m", "fastdl", "scan", "nowhere", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == "fastdl: no file or folder 'nowhere'\n"


def test_a_module_that_should_be_compiled_is_supplied(tmp_path):
    (tmp_path / "cs231n").mkdir()
    write(tmp_path / "cs231n", "", "__init__.py")
    write(
        tmp_path,
        "import numpy as np\nfrom cs231n.im2col_cython import im2col_cython\n"
        "print(im2col_cython(np.ones((1, 1, 3, 3)), 2, 2, 0, 1).shape)\n",
    )
    assert python("script.py", cwd=tmp_path).returncode == 1
    assert run("--quiet", "script.py", cwd=tmp_path).stdout == "(4, 4)\n"


def test_a_notebook_is_served(tmp_path):
    pytest.importorskip("IPython")
    write(
        tmp_path,
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "import fastdl\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'fastdl')\n"
        f"shell.run_cell({CONVOLUTION!r}, silent=False).raise_error()\n"
        "shell.run_cell('x = np.random.randn(8, 3, 16, 16)').raise_error()\n"
        "shell.run_cell('out, _ = conv_forward_naive(x, x[:4, :, :3, :3], np.zeros(4), "
        '{"stride": 1, "pad": 1})\').raise_error()\n'
        "report = fastdl.accelerate().as_dict()\n"
        "print([item['name'] for item in report['definitions'] if item['served']])\n"
        "shell.run_line_magic('unload_ext', 'fastdl')\n"
        "print(shell.ast_transformers)\n",
    )
    done = python("script.py", cwd=tmp_path)
    assert done.stdout.splitlines()[-2:] == ["['conv_forward_naive']", "[]"], done.stderr
