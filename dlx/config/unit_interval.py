"""Experiments whose inputs must be numbers in 0..1, such as pixels: which ones, why, and which configs take them out of it."""

from dlx.config.adversarial_task import RivalsCommon
from dlx.config.autoencoder_task import Bernoulli, Reconstruct, Variational
from dlx.config.data import DataConfig
from dlx.config.model import Dbn, ModelConfig, Rbm
from dlx.config.task import TaskConfig


def needs_unit_interval(task: TaskConfig, model: ModelConfig, *, images: bool) -> str | None:
    """Why inputs must be numbers in 0..1, in a clause that names the keys; None where they may be any."""
    if isinstance(model, Rbm | Dbn) and model.visible == "bernoulli":
        return "model.visible=bernoulli takes the inputs for probabilities"
    match task:
        case Reconstruct(loss="cross-entropy"):
            return "task.loss=cross-entropy takes the inputs for probabilities"
        case Variational(likelihood=Bernoulli()):
            return "task.likelihood.kind=bernoulli takes the inputs for probabilities"
        case Variational() if images:
            return "task.kind=vae makes images of pixels in 0..1"
        case RivalsCommon():
            return f"task.kind={task.kind} makes images of pixels in 0..1"
        case _:
            return None


def outside_unit_interval(task: TaskConfig, model: ModelConfig, data: DataConfig, *, images: bool) -> str | None:
    """What takes inputs out of 0..1 that must be in it, in a sentence with the cure; None where nothing does."""
    why = needs_unit_interval(task, model, images=images)
    if why is None:
        return None
    if data.standardize:
        cure = ", or model.visible=gaussian for numbers" if isinstance(model, Rbm | Dbn) else ""
        return f"{why}, and data.standardize takes them out of 0..1: set data.standardize=false{cure}"
    if any(change.kind == "noise" for change in data.augment):
        return f"{why}, and data.augment has noise, which takes them out of 0..1: leave it out"
    return None
