"""Weights as Hugging Face keeps them: `model.safetensors`, `config.json` and a model card in one folder."""

import jax
import numpy as np
from safetensors.numpy import load, save

from dlx.engine import named_leaves
from dlx.evaluation.export.card import model_card
from dlx.evaluation.export.description import as_json, describe
from dlx.evaluation.export.exported import Export, compared
from dlx.evaluation.export.traced import own_outputs, random_inputs
from dlx.experiment.restore import Trained
from dlx.tasks import LearnerState

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"


def to_safetensors(trained: Trained) -> Export:
    """The folder's three files. Weights are named as they lie in the network: `hidden.0.linear.kernel`."""
    arrays = named_weights(trained.learner)
    content = save(arrays, {"format": "flax"})  # one entry: of several the order would vary
    inputs = random_inputs(trained.preparation)
    back = own_outputs(trained, inputs, learner=_filled(trained.learner, load(content)))
    check = compared(
        "dlx with the weights read back", back, own_outputs(trained, inputs), precision=trained.config.train.precision
    )
    description = describe(trained)
    files = {
        WEIGHTS: content,
        CONFIG: as_json(description),
        CARD: model_card(trained, description, sum(array.size for array in arrays.values())).encode("utf-8", "replace"),
    }
    own_code = trained.config.model.kind == "python"
    notes = ("the network's own code is not part of the export: put it beside the weights",) if own_code else ()
    return Export("safetensors", files, True, check, (*trained.notices, *notes))


def named_weights(learner: LearnerState) -> dict[str, np.ndarray]:
    """Parameters and running statistics by their place in the network, with dots between its parts."""
    return {
        name: np.asarray(leaf, order="C") for tree in (learner.params, learner.rest) for name, leaf in named_leaves(tree, ".")
    }


def _filled(learner: LearnerState, arrays: dict[str, np.ndarray]) -> LearnerState:
    """A learner of the same shape whose weights are those of the file."""
    params, rest = (
        jax.tree.unflatten(jax.tree.structure(tree), [arrays[name] for name, _ in named_leaves(tree, ".")])
        for tree in (learner.params, learner.rest)
    )
    return learner._replace(params=params, rest=rest)
