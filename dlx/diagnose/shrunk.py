"""A narrower network of the same kind, whose gradients are checked sooner."""

from dlx.config import Experiment
from dlx.config.model import ConvNet, Mlp
from dlx.errors import ConfigError


def shrunk(config: Experiment, width: int) -> Experiment:
    """The experiment with no hidden layer wider than `width`. Raises `ConfigError` for a model other than `mlp` and `convnet`."""
    match config.model:
        case Mlp():
            names = ("hidden",)
        case ConvNet():
            names = ("channels", "dense")
        case _:
            raise ConfigError(
                f"--shrink {width} knows the layers of mlp and convnet, not those of {config.model.kind}: leave it out, or set "
                "widths in the config, such as model.hidden=8"
            )
    narrow = {name: tuple(min(size, width) for size in vars(config.model)[name]) for name in names}
    return config.model_copy(update={"model": config.model.model_copy(update=narrow)})
