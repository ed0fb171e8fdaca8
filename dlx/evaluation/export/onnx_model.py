"""ONNX: the network as a graph that runs without JAX, checked with onnxruntime where that is installed."""

from typing import Any, Final

import numpy as np

from dlx import strict_json
from dlx.errors import MissingInputError, RunFailedError
from dlx.evaluation.export.description import as_json, describe
from dlx.evaluation.export.exported import Check, Export, compared
from dlx.evaluation.export.stablehlo import refuse_large
from dlx.evaluation.export.traced import Traced, own_outputs, random_inputs, trace
from dlx.experiment.restore import Trained
from dlx.version import __version__

OPSET: Final = 18
"""Read by onnxruntime since 1.14."""
_IR_VERSION: Final = 8


def to_onnx(trained: Trained) -> Export:
    """The network as an ONNX model, `inputs` (batch, ...) -> `outputs` (batch, outputs), and its description as JSON.

    Raises `MissingInputError` without onnx, `RunFailedError` naming an operation that ONNX does not have, `DataError` for a
    network beyond the format's 2 GiB.
    """
    _require_onnx()
    traced = trace(trained)
    refuse_large(traced.nbytes, "an ONNX file")
    description = describe(trained)
    content = build_model(traced, trained.preparation.spec.outputs, {"dlx": strict_json.dumps(description)})
    check, notes = _check(trained, content)
    if trained.config.train.precision == "bfloat16":
        notes = (
            *notes,
            "it computes in float32 what dlx computes in bfloat16; values are rounded where the network casts them",
        )
    files = {"": content, ".json": as_json(description | {"opset": OPSET})}
    return Export("onnx", files, False, check, (*trained.notices, *notes))


def build_model(traced: Traced, outputs: int, metadata: dict[str, str]) -> bytes:
    """A traced network as a serialized ONNX model, which ONNX's own checker has seen."""
    import onnx
    from onnx import helper

    from dlx.evaluation.export.onnx_graph import BATCH, Graph
    from dlx.evaluation.export.onnx_program import add_program

    graph = Graph(traced.inputs)
    (result,) = add_program(graph, traced.jaxpr, [graph.inputs])
    whole = graph.name(graph.full(result))
    graph.nodes.append(helper.make_node("Identity", [whole], ["outputs"], name="outputs"))

    def declared(name: str, shape: tuple[Any, ...], dtype: Any) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), [BATCH, *shape])

    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "dlx",
            [declared("inputs", traced.inputs.shape[1:], traced.inputs.dtype)],
            [declared("outputs", (outputs,), result.dtype)],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=_IR_VERSION,
        producer_name="dlx",
        producer_version=__version__,
    )
    helper.set_model_props(model, metadata)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise RunFailedError(f"the ONNX model is not valid: {' '.join(str(error).split())}; use --format stablehlo") from error
    return model.SerializeToString()


def _check(trained: Trained, content: bytes) -> tuple[Check | None, tuple[str, ...]]:
    try:
        import onnxruntime
    except ImportError:
        return None, ("it was not run: onnxruntime is not installed (pip install onnxruntime)",)
    inputs = random_inputs(trained.preparation)
    outputs = run_model(content, inputs)
    by = f"onnxruntime {onnxruntime.__version__}"
    return compared(by, outputs, own_outputs(trained, inputs), precision=trained.config.train.precision), ()


def run_model(content: bytes, inputs: np.ndarray) -> np.ndarray:
    """The outputs (n, outputs) of a serialized model for inputs (n, ...), by onnxruntime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors: it warns of what it could optimize
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["outputs"], {"inputs": inputs})[0])


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingInputError("--format onnx needs the package onnx: pip install 'dlx[onnx]'") from error
