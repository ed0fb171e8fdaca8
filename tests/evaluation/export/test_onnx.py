"""ONNX by onnxruntime: every network, every operation that is converted, and a sentence for those that are not."""

import json
import sys
from collections.abc import Callable
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import Array, export, lax

from dlx.errors import MissingInputError, RunFailedError
from dlx.evaluation.export import export_run
from dlx.evaluation.export.traced import Traced, live, own_outputs, random_inputs
from dlx.experiment.restore import Trained

onnx = pytest.importorskip("onnx", reason="ONNX needs onnx: pip install 'dlx[onnx]'")
pytest.importorskip("onnxruntime", reason="ONNX is checked by onnxruntime: pip install 'dlx[onnx]'")

from dlx.evaluation.export.onnx_model import build_model, run_model  # noqa: E402 (it needs both)

NETWORKS = ("linear", "mlp", "convnet", "convnet-layer", "lenet5", "python", "numbers", "labels", "bfloat16")
SIZES = (1, 7, 1000)
KERNEL = np.random.default_rng(0).normal(size=(3, 3, 4, 6)).astype(np.float32)
LAYOUT = ("NHWC", "HWIO", "NHWC")


@pytest.mark.parametrize("name", NETWORKS)
def test_onnxruntime_gives_dlx_s_outputs_at_any_batch_size(name: str, trained: Callable[[str], Trained]) -> None:
    network = trained(name)
    made = export_run(network, "onnx")
    limit = 5e-2 if name == "bfloat16" else 1e-5
    for size in SIZES:
        inputs = random_inputs(network.preparation, size)
        own, outputs = own_outputs(network, inputs), run_model(made.files[""], inputs)
        assert outputs.shape == own.shape
        assert outputs.dtype == np.float32
        assert np.abs(outputs - own).max() <= limit * np.abs(own).max(), size
    assert made.check is not None
    assert made.check.by.startswith("onnxruntime ")
    assert ("it computes in float32" in " ".join(made.notes)) == (name == "bfloat16")


def test_the_model_says_what_it_is(trained: Callable[[str], Trained]) -> None:
    made = export_run(trained("labels"), "onnx")
    model = onnx.load_from_string(made.files[""])
    (inputs,), (outputs,) = model.graph.input, model.graph.output
    assert (inputs.name, outputs.name) == ("inputs", "outputs")
    assert inputs.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert outputs.type.tensor_type.shape.dim[1].dim_value == 2
    told = json.loads({each.key: each.value for each in model.metadata_props}["dlx"])
    assert told["outputs"]["names"] == ["hot", "big"]
    assert told | {"opset": 18} == json.loads(made.files[".json"])


def scanned(x: Array, *, reverse: bool) -> Array:
    carry, rows = lax.scan(lambda c, r: (jnp.tanh(c * 0.5 + r), c), jnp.zeros(x.shape[0]), x.T, reverse=reverse)
    return rows.T + carry[:, None]


ROWS = MappingProxyType(
    {
        "relu": jax.nn.relu,
        "leaky_relu": jax.nn.leaky_relu,
        "elu": jax.nn.elu,
        "selu": jax.nn.selu,
        "gelu": lambda x: jax.nn.gelu(x, approximate=False),
        "gelu by tanh": jax.nn.gelu,
        "silu": jax.nn.silu,
        "softplus": jax.nn.softplus,
        "sigmoid": jax.nn.sigmoid,
        "softmax": jax.nn.softmax,
        "standardize": jax.nn.standardize,
        "logsumexp": lambda x: x - jax.nn.logsumexp(x, axis=1, keepdims=True),
        "mean over the batch": lambda x: x - x.mean(0),
        "a sum over no axis": lambda x: x + 0.5 * x.sum(axis=()) + jnp.max(x, axis=()) + jnp.any(x > 0, axis=()),
        "deviation": lambda x: x / x.std(1, keepdims=True),
        "product": lambda x: x / (2 + jnp.prod(x, 1, keepdims=True)),
        "one column": lambda x: x[:, 1:2] * x[:, -1][:, None],
        "columns in another order": lambda x: x[:, jnp.array([2, 0, 1])],
        "embedding": lambda x: jnp.arange(20.0).reshape(5, 4)[jnp.clip(x[:, 0].astype(jnp.int32), 0, 4)],
        "reversed": lambda x: x[:, ::-1],
        "every second": lambda x: x[:, ::2],
        "dynamic slice": lambda x: lax.dynamic_slice_in_dim(x, 2, 3, 1),
        "split": lambda x: jnp.concatenate(jnp.split(x, 2, 1)[::-1], 1),
        "padding": lambda x: jnp.pad(x, ((0, 0), (1, 2)), constant_values=3.0),
        "padding that cuts": lambda x: lax.pad(x, 0.0, ((0, 0, 0), (-1, 2, 0))),
        "where": lambda x: jnp.where(x > 0, x, -2 * x),
        "clip": lambda x: jnp.clip(x, -0.5, 0.5),
        "cumsum": lambda x: jnp.cumsum(x, 1) + jnp.cumsum(x[:, ::-1], 1),
        "argmax": lambda x: jax.nn.one_hot(x.argmax(1), 6) + jax.nn.one_hot(x.argmin(1), 6),
        "powers": lambda x: x**3 + jnp.abs(x) ** 1.5 + x**2 + jnp.exp2(x),
        "outer product": lambda x: jnp.einsum("bi,bj->bij", x, x).reshape(x.shape[0], -1),
        "attention": lambda x: jax.nn.softmax(jnp.einsum("bqi,bki->bqk", *[x.reshape(-1, 3, 2)] * 2)).reshape(x.shape[0], -1),
        "rounding": lambda x: jnp.floor(x) + jnp.ceil(x) + jnp.round(x) + jnp.sign(x) + x % 0.7,
        "integers": lambda x: ((x * 10).astype(jnp.int32) // 3 % 4).astype(jnp.float32),
        "truths": lambda x: ((x > 0) & (x < 1) | ~(x != 0) ^ jnp.isfinite(x)) + 0.0,
        "any and all": lambda x: jnp.any(x > 1, 1, keepdims=True) + jnp.all(x > -1, 1, keepdims=True) + x,
        "trigonometry": lambda x: jnp.sin(x) + jnp.cos(x) + jnp.arctan(x) + jnp.sinh(x) + jnp.tanh(x),
        "near one": lambda x: (
            jnp.expm1(x) + jnp.log1p(jnp.abs(x)) + lax.erfc(x) + lax.rsqrt(jnp.abs(x) + 1) + jnp.log(x * x + 1)
        ),
        "checkpoint": jax.checkpoint(lambda x: jnp.sin(x) * 2),
        "scan": lambda x: scanned(x, reverse=False),
        "scan from the end": lambda x: scanned(x, reverse=True),
        "fori_loop": lambda x: lax.fori_loop(0, 3, lambda i, c: c * 2 + i, x),
        "branch": lambda x: lax.cond(jnp.array(3) > 2, jnp.sin, jnp.cos, x),
        "no input": lambda x: jnp.ones((x.shape[0], 3)) + jnp.arange(3.0),
        "random numbers of a fixed shape": lambda x: x * np.random.default_rng(0).uniform(size=6).astype(np.float32),
    }
)
PICTURES = MappingProxyType(
    {
        "strided and dilated": lambda x: lax.conv_general_dilated(
            x, KERNEL, (2, 1), "SAME", rhs_dilation=(1, 2), dimension_numbers=LAYOUT
        ),
        "grouped": lambda x: lax.conv_general_dilated(
            x, KERNEL[:, :, :2], (1, 1), "VALID", feature_group_count=2, dimension_numbers=LAYOUT
        ),
        "channels first": lambda x: lax.conv(x.transpose(0, 3, 1, 2), KERNEL.transpose(3, 2, 0, 1), (1, 1), "SAME"),
        "one axis": lambda x: lax.conv_general_dilated(
            x[:, 0], KERNEL[0], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC")
        ),
        "max-pooling": lambda x: nnx.max_pool(x, (2, 2), strides=(2, 2), padding="SAME"),
        "mean-pooling": lambda x: nnx.avg_pool(x, (3, 3), strides=(2, 2), padding="SAME"),
        "global mean": lambda x: x.mean((1, 2)),
        "resized": lambda x: jax.image.resize(x, (x.shape[0], 16, 16, 4), "bilinear"),
    }
)
REFUSED = MappingProxyType(
    {
        "the operation sort": lambda x: jnp.sort(x, 1),
        "random numbers": lambda x: x * jax.random.uniform(jax.random.key(0), x.shape),
        "a shape that depends on the batch size as 6.batch": lambda x: x - x.mean(),
        "a transposed convolution": lambda x: lax.conv_transpose(x[:, :, None], np.ones((3, 1, 2), np.float32), (2,), "SAME")[
            :, 0
        ],
        "a loop of 2000 rounds": lambda x: lax.fori_loop(0, 2000, lambda i, c: c * 0.99 + i, x),
        "the operation while": lambda x: lax.while_loop(lambda c: c.sum() > 1, lambda c: c * 0.5, x),
    }
)


def converted(function: Callable[[Array], Array], shape: tuple[int, ...]) -> bytes:
    inputs = jax.ShapeDtypeStruct((*export.symbolic_shape("batch"), *shape), jnp.float32)
    jaxpr = jax.jit(function).trace(inputs).jaxpr
    return build_model(Traced(live(jaxpr), inputs, 0), int(jaxpr.out_avals[0].shape[1]), {})


def same(function: Callable[[Array], Array], shape: tuple[int, ...]) -> None:
    model = converted(function, shape)
    for size in (1, 7):
        x = np.random.default_rng(size).normal(size=(size, *shape)).astype(np.float32)
        wanted = np.asarray(jax.jit(function)(x))
        np.testing.assert_allclose(run_model(model, x), wanted, rtol=1e-5, atol=1e-6 * np.abs(wanted).max())


@pytest.mark.parametrize("name", ROWS)
def test_operations_on_rows(name: str) -> None:
    same(ROWS[name], (6,))


@pytest.mark.parametrize("name", PICTURES)
def test_operations_on_images(name: str) -> None:
    same(lambda x: PICTURES[name](x).reshape(x.shape[0], -1), (9, 8, 4))


@pytest.mark.parametrize("what", REFUSED)
def test_what_onnx_cannot_say_is_named(what: str) -> None:
    with pytest.raises(
        RunFailedError, match=rf"the network has {what}.*, which cannot be put into ONNX: use --format stablehlo"
    ):
        converted(REFUSED[what], (6,))


def test_equal_weights_are_stored_once_and_unused_ones_not_at_all() -> None:
    weights = np.random.default_rng(0).normal(size=(6, 6)).astype(np.float32)
    unused = np.ones((1000, 1000), np.float32)

    def tied(x: Array) -> Array:
        del x
        jnp.asarray(unused).sum()
        return jnp.zeros(0)

    model = converted(lambda x: (tied(x), x @ weights @ weights)[1], (6,))
    assert weights.nbytes < len(model) < 2 * weights.nbytes + 300


def test_without_onnx_the_command_to_install_it_is_named(
    trained: Callable[[str], Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingInputError, match=r"pip install 'dlx\[onnx\]'"):
        export_run(trained("linear"), "onnx")


def test_without_onnxruntime_it_says_that_it_was_not_run(
    trained: Callable[[str], Trained], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    made = export_run(trained("linear"), "onnx")
    assert made.check is None
    assert made.notes == ("it was not run: onnxruntime is not installed (pip install onnxruntime)",)
