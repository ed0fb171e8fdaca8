"""A trained network for programs that know nothing of dlx: weights with a model card, StableHLO, ONNX."""

from dlx.evaluation.export.exported import Export as Export
from dlx.evaluation.export.exported import Format as Format
from dlx.evaluation.export.formats import export_run as export_run
