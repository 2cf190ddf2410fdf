"""OpenVINO, forward only."""

from __future__ import annotations

from typing import Any

from case import FORWARD, Case
from model_cases import ModelCase

from . import Call, Results


def version() -> str:
    import onnx  # noqa: F401  (builds the graphs)
    import openvino

    return str(openvino.__version__).split("-")[0]


def prepare(case: Case | ModelCase, direction: str, threads: int) -> Call | None:
    import openvino

    from . import onnx_graphs

    if isinstance(case, ModelCase) or direction != FORWARD:
        return None
    graph = onnx_graphs.build(case)
    if graph is None:
        return None
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # bfloat16 otherwise, where the processor has it
    }
    core = openvino.Core()
    request = core.compile_model(core.read_model(graph.model), "CPU", settings).create_infer_request()

    def read(outputs: Any) -> Results:
        return (graph.read(outputs[0].copy()),)

    return Call(lambda: request.infer(graph.feeds, share_inputs=True, share_outputs=True), read)
