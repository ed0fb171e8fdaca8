"""The summary of a network: its layers in the order of the forward pass, their outputs, their parameters."""

from pathlib import Path
from textwrap import dedent

from flax import nnx

from dlx.config.model import ConvNet, LeNet5, Linear, Mlp, PythonModel
from dlx.models.summary import Layer, summarize


def total(layers: list[Layer]) -> int:
    return sum(layer.parameters for layer in layers)


def test_layers_in_call_order_with_shapes_of_one_example() -> None:
    assert summarize(Mlp(hidden=(5,), normalization="batch", dropout=0.1), 7, 2) == [
        Layer("hidden/0/linear", "Linear", (5,), 35),
        Layer("hidden/0/norm", "BatchNorm", (5,), 10),
        Layer("dropout/0", "Dropout", (5,), 0),
        Layer("output", "Linear", (2,), 12),
    ]


def test_images() -> None:
    layers = {layer.path: layer for layer in summarize(ConvNet(channels=(2,), dense=()), (9, 6, 3), 10)}
    assert layers["blocks/0/layers/0/conv"] == Layer("blocks/0/layers/0/conv", "Conv", (9, 6, 2), 9 * 3 * 2 + 2)
    assert layers["head/dropout/0"].output_shape == (4 * 3 * 2,)


def test_totals() -> None:
    assert total(summarize(LeNet5(), (28, 28, 1), 10)) == 61_706
    assert total(summarize(Linear(), 30, 1)) == 31


def test_a_network_of_the_users(tmp_path: Path) -> None:
    """Own parameters beside submodules, a recurrent layer (on which `nnx.tabulate` fails), tied weights, an idle layer."""
    (tmp_path / "net.py").write_text(
        dedent("""
            from flax import nnx
            import jax.numpy as jnp

            class Net(nnx.Module):
                def __init__(self, in_features, out_features, *, rngs):
                    self.scale = nnx.Param(jnp.ones(3))
                    self.idle = nnx.Linear(2, 2, rngs=rngs)
                    self.rnn = nnx.RNN(nnx.GRUCell(in_features[1], 3, rngs=rngs), rngs=rngs)
                    self.output = nnx.Linear(3, out_features, rngs=rngs)
                    self.empty = nnx.List([])

                def __call__(self, x):
                    return self.output(self.rnn(x)[:, -1] * self.scale[...]) @ self.output.kernel[...].T
        """)
    )
    original = nnx.Linear.__call__
    layers = summarize(PythonModel(target=f"{tmp_path}/net.py:Net"), (5, 2), 4)
    assert nnx.Linear.__call__ is original
    found = {layer.path: layer for layer in layers}
    assert found[""] == Layer("", "Net", (3,), 3)
    assert found["output"] == Layer("output", "Linear", (4,), 3 * 4 + 4)
    assert found["idle"] == Layer("idle", "Linear", None, 6)
    assert "empty" not in found
    assert total(layers) == 3 + 6 + 16 + (2 * 9 + 9) + 3 * 9  # the GRU: three gates, one bias each
