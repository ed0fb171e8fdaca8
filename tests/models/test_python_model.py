"""The user's own networks: built and called by convention, and every mistake told in one sentence."""

from pathlib import Path
from textwrap import dedent
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from dlx.config.model import PythonModel
from dlx.errors import ConfigError, DlxError, RunFailedError
from dlx.models import build, call

NETWORKS = """
    from flax import nnx
    import dlx.nn

    class Net(nnx.Module):
        def __init__(self, in_features, out_features, *, rngs, width=3, dropout=0.0):
            self.hidden = nnx.Linear(in_features, width, rngs=rngs)
            self.drop = dlx.nn.Dropout(dropout, rngs=rngs)
            self.output = nnx.Linear(width, out_features, rngs=rngs)

        def __call__(self, x):
            return self.output(self.drop(nnx.relu(self.hidden(x))))

    class Mode(nnx.Module):
        def __init__(self, in_features, out_features, *, rngs):
            self.train = "an attribute of the user's own"

        def __call__(self, x, *, train=False):
            return x + 1 if train else x

    def make(in_features, out_features, rngs):
        return Net(in_features, out_features, rngs=rngs, width=5)

    def raises(in_features, out_features, rngs):
        raise KeyError("no such thing\\nand a second line")

    def forgets(in_features, out_features, rngs):
        pass

    class Plain:
        pass

    number = 3

    class Broken(nnx.Module):
        def __init__(self, in_features, out_features, *, rngs):
            self.output = nnx.Linear(in_features + 1, out_features, rngs=rngs)

        def __call__(self, x):
            return self.output(x)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(dedent(NETWORKS))
    return tmp_path


def built(folder: Path, name: str, args: dict[str, Any] | None = None) -> nnx.Module:
    config = PythonModel(target=f"{folder}/net.py:{name}", args=args or {})
    return nnx.eval_shape(lambda: build(config, 4, 2, nnx.Rngs(params=0, dropout=1)))


@pytest.mark.parametrize(("name", "args", "width"), [("Net", {}, 3), ("Net", {"width": 7, "dropout": 0.5}, 7), ("make", {}, 5)])
def test_a_class_or_a_function_is_built_with_its_args(folder: Path, name: str, args: dict[str, Any], width: int) -> None:
    assert built(folder, name, args).hidden.kernel.shape == (4, width)


def test_the_train_keyword_is_given_to_those_who_take_it(folder: Path) -> None:
    model, x = built(folder, "Mode"), jnp.zeros(2)
    assert call(model, x, train=True).tolist() == [1, 1]
    assert call(model, x, train=False).tolist() == [0, 0]
    shape = jax.eval_shape(lambda x: call(build_net(folder), x, train=True), jax.ShapeDtypeStruct((3, 4), jnp.float32)).shape
    assert shape == (3, 2)


def build_net(folder: Path) -> nnx.Module:
    return build(PythonModel(target=f"{folder}/net.py:Net"), 4, 2, nnx.Rngs(0))


@pytest.mark.parametrize(
    ("name", "args", "error", "message"),
    [
        ("raises", {}, RunFailedError, "net.py:raises' raised KeyError: .* while it was built"),
        ("forgets", {}, ConfigError, "net.py:forgets' returned a NoneType: return a flax.nnx.Module"),
        ("Plain", {}, ConfigError, "net.py:Plain' is the class Plain: name a subclass of flax.nnx.Module"),
        ("number", {}, ConfigError, "net.py:number' is a int"),
        ("Net", {"widht": 3}, ConfigError, "model.args={'widht': 3}: got an unexpected keyword argument 'widht'"),
        ("Missing", {}, ConfigError, "has no 'Missing'"),
    ],
)
def test_mistakes_are_told_in_one_sentence(folder: Path, name: str, args: Any, error: type[DlxError], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        built(folder, name, args)
    assert "\n" not in str(caught.value)


def test_a_network_that_raises_when_called_is_a_failed_run(folder: Path) -> None:
    def forward(x: jax.Array) -> jax.Array:
        model = build(PythonModel(target=f"{folder}/net.py:Broken"), 4, 2, nnx.Rngs(0))
        return call(model, x, train=True)

    with pytest.raises(RunFailedError, match=r"model Broken raised TypeError: .* input of shape \(3, 4\)") as caught:
        jax.eval_shape(forward, jax.ShapeDtypeStruct((3, 4), jnp.float32))
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, TypeError)
