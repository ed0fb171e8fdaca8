"""The one match over formats."""

from typing import assert_never

from dlx.evaluation.examined import require_answers
from dlx.evaluation.export.exported import Export, Format
from dlx.experiment.restore import Trained


def export_run(trained: Trained, format: Format) -> Export:
    """A trained network in that format, checked against dlx's own outputs. Writes nothing.

    Raises `UsageError` for a task that has no answer for each example, `MissingInputError` where a package is missing, `DataError` and
    `RunFailedError` for a network that does not fit the format.
    """
    require_answers(trained)
    match format:
        case "safetensors":
            from dlx.evaluation.export.weights import to_safetensors

            return to_safetensors(trained)
        case "stablehlo":
            from dlx.evaluation.export.stablehlo import to_stablehlo

            return to_stablehlo(trained)
        case "onnx":
            from dlx.evaluation.export.onnx_model import to_onnx

            return to_onnx(trained)
        case _:
            assert_never(format)
