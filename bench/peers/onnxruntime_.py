"""ONNX Runtime, forward only."""

from __future__ import annotations

from case import FORWARD, Case
from model_cases import ModelCase

from . import Call


def version() -> str:
    import onnx  # noqa: F401  (builds the graphs)
    import onnxruntime

    return str(onnxruntime.__version__)


def prepare(case: Case | ModelCase, direction: str, threads: int) -> Call | None:
    import onnxruntime

    from . import onnx_graphs

    if isinstance(case, ModelCase) or direction != FORWARD:
        return None
    graph = onnx_graphs.build(case)
    if graph is None:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")  # after a run, not in it
    session = onnxruntime.InferenceSession(graph.model, options, providers=["CPUExecutionProvider"])
    return Call(lambda: session.run(None, graph.feeds), lambda outputs: (graph.read(outputs[0]),))
