"""Which models each task teaches: the one place that says so.

A network of the user's own (`python`) is looked at when it is built: the task says what it must be able to do.
"""

from collections.abc import Mapping
from types import MappingProxyType

MAPS = ("linear", "mlp", "convnet", "lenet5", "rnn", "python")
"""Inputs to outputs, which is all that supervised tasks ask for."""
TEACHES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "classify": MAPS,
        "multilabel": MAPS,
        "regress": MAPS,
        "perceptron": MAPS,
        "language": ("rnn", "python"),
        "seq2seq": ("encoder-decoder", "transformer", "captioner", "python"),
        "reconstruct": ("autoencoder", "conv-autoencoder", "python"),
        "vae": ("vae", "python"),
        "boltzmann": ("rbm",),
        "belief": ("dbn",),
        "adversarial": ("dcgan", "gan", "python"),
        "stacked": ("stackgan", "python"),
        "cycle": ("cyclegan", "python"),
    }
)
"""By task the kinds of models."""


def unsuited(task: str, model: str) -> str | None:
    """That a task does not teach a model, in a sentence with what does fit; None where it does."""
    if model in TEACHES[task]:
        return None
    models = one_of("model.kind", TEACHES[task])
    tasks = one_of("task.kind", [other for other, taught in TEACHES.items() if model in taught])
    return f"task {task} does not suit model {model}: set {models}, or {tasks}"


def one_of(key: str, values: tuple[str, ...] | list[str]) -> str:
    """`model.kind=rbm`, or `model.kind to dcgan, gan or python`."""
    *others, last = values
    return f"{key} to {', '.join(others)} or {last}" if others else f"{key}={last}"
