"""The memory that a training step takes at its peak, beyond what the built model and its batch hold.

    python bench/memory.py                      every model, fastdl and PyTorch, one thread
    python bench/memory.py --cases "U-Net"      the models whose name matches

Each library trains each model in a process of its own. The peak is that of the pages the process holds
(VmHWM, which Linux alone can set back), less what it held before the first step: activations, gradients,
what an optimizer remembers, and what the library keeps for the next step. Page faults are those of a step
after the fifth: each is a page that the system had to clear and to hand out, so none means that no step
allocates what the one before gave back.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import peers
from case import TRAINING
from model_cases import MODELS
from peers import fastdl_

LIBRARIES = ("fastdl", "torch")
FIRST_STEPS, STEPS = 5, 5


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Peak memory and page faults of a training step.")
    parser.add_argument("--cases", metavar="REGEX", default="", help="only models whose name matches")
    parser.add_argument("--threads", type=int, default=1, help="threads for both (default 1)")
    parser.add_argument("--only", nargs=2, metavar=("LIBRARY", "MODEL"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only:
        print(json.dumps(measure(*options.only, options.threads)))
        return 0
    print(f"{'':36}{'peak of a step, MB':>26}{'page faults a step':>26}")
    print(f"{'':36}" + "".join(f"{name:>13}" for name in LIBRARIES * 2))
    for case in MODELS:
        if re.search(options.cases, case.name):
            found = [in_a_process(name, case.name, options.threads) for name in LIBRARIES]
            peaks = "".join(f"{peak / 1e6:13.1f}" for peak, _ in found)
            faults = "".join(f"{count:13.0f}" for _, count in found)
            print(f"{case.name:36}{peaks}{faults}", flush=True)
    return 0


def in_a_process(library: str, model: str, threads: int) -> tuple[float, float]:
    command = [sys.executable, __file__, "--only", library, model, "--threads", str(threads)]
    peak, faults = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return peak, faults


def measure(library: str, model: str, threads: int) -> tuple[int, float]:
    """Return the bytes of a step's peak, and the page faults of a later step."""
    case = next(case for case in MODELS if case.name == model)
    module = fastdl_ if library == "fastdl" else peers.load(library)
    step = module.prepare(case, TRAINING, threads).run
    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is held now
    before = _status("VmRSS")
    for _ in range(FIRST_STEPS):
        step()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(STEPS):
        step()
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return _status("VmHWM") - before, faults / STEPS


def _status(entry: str) -> int:
    """Return an entry of this process's status, in bytes."""
    text = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.search(rf"{entry}:\s*(\d+) kB", text)[1])  # type: ignore[index]


if __name__ == "__main__":
    sys.exit(main())
