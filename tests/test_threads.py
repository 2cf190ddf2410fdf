"""The thread pool: same bits for any number of threads, fork, Ctrl-C, limits, no memory.

What concerns a whole process (signals, fork, environment, address space) runs in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable

import numpy as np
import pytest

from fastdl import backends
from fastdl.config import use
from fastdl.shapes import conv_plan, pool_plan
from fastdl.shapes_norm import group_norm_plan

pytestmark = pytest.mark.skipif(backends.native_error is not None, reason=str(backends.native_error))
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
linux = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="counts threads in /proc")


def path(folder: str) -> str:
    """A PYTHONPATH that finds this folder first."""
    return os.pathsep.join(filter(None, (folder, os.environ.get("PYTHONPATH"))))


def run(script: str, **environment: str) -> str:
    """Run a script in a fresh interpreter and return what it printed."""
    inherited = {name: value for name, value in os.environ.items() if name != "FASTDL_NUM_THREADS"}
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**inherited, "OPENBLAS_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def _cases() -> dict[str, Callable[[backends.Ops], object]]:
    """One call a family, each large enough to be worth several threads."""
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    a, b = normal(300, 200), normal(200, 260)
    x, w, bias = normal(9, 16, 30, 30), normal(24, 16, 3, 3), normal(24)
    conv = conv_plan("conv2d", x.shape, w.shape, bias.shape, ndim=2, padding=1)
    pool = pool_plan("max_pool2d", x.shape, 3, ndim=2, stride=2, padding=1)
    norm = group_norm_plan("group_norm", x.shape, (16,), (16,), 4, 1e-5, "NCHW")
    dy = normal(*conv.y_shape)
    flat, rows = normal(1_000_003), normal(3001, 101)
    labels = rng.integers(0, 101, 3001)
    one = np.ones(3001, np.float32)

    def pool_both(ops: backends.Ops) -> tuple[np.ndarray, ...]:
        y, index = ops.maxpool_fwd(x, pool)
        return y, index, ops.maxpool_bwd(y, index, pool), ops.avgpool_bwd(y, pool)

    def pooled(ops: backends.Ops) -> np.ndarray:
        images, kernels = x[:, :3].copy(), w[:, :3].copy()
        plan = conv_plan("conv2d", images.shape, kernels.shape, None, ndim=2, padding=1)
        windows = pool_plan("max_pool2d", plan.y_shape, 2, ndim=2)
        largest, index = ops.maxpool_fwd(dy, windows)
        dw: np.ndarray = ops.conv_dw_pooled(largest, index, images, plan, windows)
        return dw

    def update(ops: backends.Ops) -> tuple[np.ndarray, ...]:
        p, m, v = flat.copy(), np.zeros_like(flat), np.zeros_like(flat)
        ops.update("adam", [(p, flat, [m, v, flat[:0]], None)], (0.01, 0.9, 0.999, 1e-7, 0.0, 0.0))
        return p, m, v

    return {
        "gemm": lambda ops: ops.gemm(a, b),
        "conv_fwd": lambda ops: ops.conv_fwd(x, w, bias, conv, "relu"),
        "conv_dx": lambda ops: ops.conv_dx(dy, w, None, conv),
        "conv_dw": lambda ops: ops.conv_dw(dy, x, conv),
        "conv_dw_pooled": pooled,
        "bias_grad": lambda ops: ops.bias_grad(dy, 9, 24, 900),
        "pool": pool_both,
        "act_fwd": lambda ops: ops.act_fwd(flat, "tanh"),
        "softmax_xent": lambda ops: ops.softmax_xent_bwd(ops.softmax_xent_fwd(rows, labels)[1], labels, one),
        "loss_sum": lambda ops: (np.array(ops.loss_sum(flat, flat[::-1].copy(), "huber", 1.0)),),
        "norm_fwd": lambda ops: ops.norm_fwd(x, bias[:16], bias[:16], norm, "relu"),
        "loss": lambda ops: ops.loss_fwd(flat, flat[::-1].copy(), "huber", 1.0),
        "update": update,
    }


CASES = _cases()


def bits(result: object) -> list[bytes]:
    return [array.tobytes() for array in (result if isinstance(result, tuple) else (result,))]


def serial(case: str) -> list[bytes]:
    with use(threads=1):
        return bits(CASES[case](backends.select("native")))


@pytest.mark.parametrize("case", CASES)
def test_any_number_of_threads_gives_the_same_bits(case):
    ops, expected = backends.select("native"), serial(case)
    for threads in range(2, 9):
        with use(threads=threads):
            assert bits(CASES[case](ops)) == expected, f"{threads} threads"


def test_calls_from_many_threads_at_once_give_the_serial_bits():
    ops, expected = backends.select("native"), {case: serial(case) for case in CASES}
    wrong: list[str] = []

    def call_everything(first: int) -> None:
        order = [*CASES][first:] + [*CASES][:first]
        with use(threads=2 + first % 3):
            wrong.extend(case for case in order * 3 if bits(CASES[case](ops)) != expected[case])

    threads = [threading.Thread(target=call_everything, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# In every script: `product()` is a parallel call, `expected` its result on one thread.
PRELUDE = """
import os, signal, threading, time
import numpy as np
from fastdl.backends import _native, native
from fastdl.config import use

a = np.random.default_rng(0).standard_normal((400, 300))

def product(threads=4):
    with use(threads=threads):
        return native.gemm(a, a, trans_b=True)

expected = a @ a.T

def works(threads=4):
    return np.allclose(product(threads), expected, rtol=0, atol=1e-9)
"""


@posix
@pytest.mark.parametrize("parent", ["idle", "asleep", "computing"])
def test_children_of_a_fork_compute(parent):
    """The workers do not exist in a child, whether they were spinning, asleep or at work in its parent."""
    script = """
    def compute_for_ever():
        while True:
            product()

    assert works()
    if parent == "asleep":
        time.sleep(0.1)
    if parent == "computing":
        threading.Thread(target=compute_for_ever, daemon=True).start()
    children = []
    for _ in range(20):
        child = os.fork()
        if child == 0:
            signal.alarm(20)  # one that waits for a worker for ever must not outlive the test
            os._exit(0 if works() and works(2) else 1)
        children.append(child)
    print(sum(os.waitpid(child, 0)[1] == 0 for child in children), works())
    """
    assert run(PRELUDE + f"parent = {parent!r}\n" + textwrap.dedent(script)) == "20 True"


@posix
def test_a_pool_of_forked_processes_computes():
    script = """
    import multiprocessing

    assert works()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(sum(pool.map(works, [1, 2, 3, 4] * 3)))
    """
    assert run(PRELUDE + textwrap.dedent(script)) == "12"


# Calls of about a second on one core: the product is many parallel loops, the convolution a single one.
LONG = """
from fastdl.shapes import conv_plan

big = np.ones((4096, 4096))
x, w = np.ones((256, 32, 64, 64), np.float32), np.ones((64, 32, 7, 7), np.float32)
plan = conv_plan("conv2d", x.shape, w.shape, None, ndim=2, padding=3)
calls = {"gemm": lambda: native.gemm(big, big), "conv_fwd": lambda: native.conv_fwd(x, w, None, plan)}

# Timers below count the process's own time, so that none ends before the call that it interrupts has begun.
# Whoever runs the tests in the background has told their children to ignore the signal.
signal.signal(signal.SIGINT, signal.default_int_handler)

def strike():
    global sent
    time.sleep(0.15)
    sent = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)

def delay(primitive, threads):
    threading.Thread(target=strike).start()
    try:
        with use(threads=threads):
            calls[primitive]()
    except KeyboardInterrupt:
        return time.monotonic() - sent
    raise SystemExit("the call was not interrupted")
"""


@posix
@pytest.mark.parametrize("primitive", ["gemm", "conv_fwd"])
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_is_answered_within_200_ms_and_the_next_call_works(primitive, threads):
    # The best of three: a busy machine may delay one by itself.
    script = f"print(min(delay({primitive!r}, {threads}) for _ in range(3)), works())"
    delay, works = run(PRELUDE + LONG + script).split()
    assert works == "True"
    assert float(delay) <= 0.2


@posix
def test_what_a_signal_handler_raises_comes_out_of_the_call():
    script = """
    def too_late(*_):
        raise TimeoutError("the handler's own words")

    signal.signal(signal.SIGVTALRM, too_late)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.1)
    try:
        native.gemm(big, big)
    except TimeoutError as error:
        print(error, works())
    """
    assert run(PRELUDE + LONG + textwrap.dedent(script)) == "the handler's own words True"


@posix
def test_a_signal_handler_may_fork_and_compute():
    """The child is left without the workers' shares: its call ends with an error, its next one works."""
    script = """
    def fork(*_):
        global child
        child = os.fork()
        if not works():
            os._exit(1)

    signal.signal(signal.SIGVTALRM, fork)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.03)
    try:
        with use(threads=2):
            native.gemm(big[:800], big)
        print("parent", works())
    except RuntimeError:
        os._exit(0 if child == 0 and works() else 1)
    print(os.waitpid(child, 0)[1])
    """
    assert run(PRELUDE + LONG + textwrap.dedent(script)) == "parent True\n0"


@linux
def test_threads_start_with_the_first_call_that_needs_them():
    script = """
    def threads():
        return len(os.listdir("/proc/self/task"))

    imported = threads()
    product(1)
    alone = threads()
    product(3)
    print(imported, alone, threads())
    """
    assert run(PRELUDE + textwrap.dedent(script)) == "1 1 3"


@linux
def test_many_short_loops_start_a_thread_as_well():
    script = """
    def threads_after(calls):
        with use(threads=2):
            for _ in range(calls):
                native.act_fwd(x, "relu")
        return len(os.listdir("/proc/self/task"))

    x = np.ones(3 * 2**14, "float32")  # whatever the length of a vector, too little to wake a thread for
    print(threads_after(8), threads_after(100))
    """
    assert run(PRELUDE + textwrap.dedent(script)) == "1 2"


def test_the_environment_sets_the_number_of_threads():
    assert (
        run(PRELUDE + "print(native.num_threads(), _native.num_threads(0))", FASTDL_NUM_THREADS="3") == "3 3"
    )


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs sched_setaffinity")
def test_the_processors_a_process_may_use_set_the_number_of_threads():
    script = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    assert run(script + PRELUDE + "print(native.num_threads())") == "1"


@pytest.mark.parametrize("order", ["before", "after"])
def test_threadpoolctl_limits_the_pool(order):
    """Also against a number set by hand: the limit stands for what the surroundings allow."""
    pytest.importorskip("threadpoolctl")
    imports = "from threadpoolctl import threadpool_info, threadpool_limits\n"
    script = """
    def numbers():
        with use(threads=8):
            return _native.num_threads(0), native.num_threads()

    before = numbers()
    with threadpool_limits(2):
        print(before, numbers(), end=" ")
    print(numbers(), [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "fastdl"])
    """
    source = imports + PRELUDE if order == "before" else PRELUDE + imports
    printed = run(source + textwrap.dedent(script), FASTDL_NUM_THREADS="5")
    assert printed == "(5, 8) (2, 2) (5, 8) [5]"


@posix
@pytest.mark.parametrize("case", ["gemm", "conv_fwd", "conv_dx", "conv_dw", "bias_grad"])
def test_no_memory_for_scratch_is_a_memory_error_and_the_next_call_works(case):
    """In one child after another the first allocation fails, the second, and so on until none is left."""
    script = """
    import os
    from test_threads import CASES, backends, bits, serial, use

    def call():
        with use(threads=3):
            return bits(CASES[case](backends.select("native")))

    failures = 0
    while True:
        os.environ["FASTDL_FAIL_ALLOC"] = str(failures + 1)
        child = os.fork()
        if child == 0:
            try:
                call()
            except MemoryError:
                os._exit(0 if call() == serial(case) else 1)
            os._exit(2)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != 0:
            break
        failures += 1
    print(failures >= 1, status)
    """
    printed = run(f"case = {case!r}\n" + textwrap.dedent(script), PYTHONPATH=path(os.path.dirname(__file__)))
    assert printed == "True 2"


@posix
def test_no_memory_for_an_output_is_a_memory_error_and_the_next_call_works():
    pytest.importorskip("resource")
    script = """
    import resource

    assert works()
    wide = np.ones((1, 40000))
    resource.setrlimit(resource.RLIMIT_AS, (1 << 32, resource.RLIM_INFINITY))
    try:
        native.gemm(wide, wide, trans_a=True)
    except MemoryError:
        print(works())
    """
    assert run(PRELUDE + textwrap.dedent(script)) == "True"
