"""Every family builds, has exactly the parameters it should, and starts from the distribution that its config names."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dlx.config.model import Activation, Autoencoder, ConvAutoencoder, ConvNet, Init, LeNet5, Linear, Mlp, ModelConfig
from dlx.errors import ConfigError
from dlx.models import Features, Tokens, build, call, set_mode
from dlx.models.activations import activation
from dlx.models.initializers import initializer

DIGIT, PHOTO = (28, 28, 1), (32, 32, 3)
# A description, the config, the features, the number of parameters with ten outputs worked out by hand
FAMILIES: list[tuple[str, ModelConfig, Features, int]] = [
    ("linear on rows", Linear(), 7, 7 * 10 + 10),
    ("linear on images", Linear(), DIGIT, 784 * 10 + 10),
    ("mlp", Mlp(hidden=(5, 3)), 7, (7 * 5 + 5) + (5 * 3 + 3) + (3 * 10 + 10)),
    ("mlp on images", Mlp(hidden=(4,)), DIGIT, (784 * 4 + 4) + (4 * 10 + 10)),
    ("mlp without hidden layers", Mlp(hidden=()), 7, 7 * 10 + 10),
    # Batch normalization has a scale and a bias, and takes the affine map's bias away; layer normalization leaves it.
    ("mlp, batch", Mlp(hidden=(5,), normalization="batch"), 7, (7 * 5 + 2 * 5) + (5 * 10 + 10)),
    ("mlp, layer", Mlp(hidden=(5,), normalization="layer"), 7, (7 * 5 + 5 + 2 * 5) + (5 * 10 + 10)),
    (
        "convnet",
        ConvNet(channels=(2, 3), dense=(6,)),
        (9, 6, 1),  # 9x6 -> 4x3 -> 2x1
        (9 * 2 + 2) + (9 * 2 * 3 + 3) + (2 * 1 * 3 * 6 + 6) + (6 * 10 + 10),
    ),
    (
        "convnet, two convolutions a block",
        ConvNet(channels=(2,), depth=2, kernel=2, dense=(), normalization="batch"),
        (4, 4, 3),
        (4 * 3 * 2 + 2 * 2) + (4 * 2 * 2 + 2 * 2) + (2 * 2 * 2 * 10 + 10),
    ),
    ("lenet5", LeNet5(), DIGIT, 61_706),
    ("lenet5 on the paper's size", LeNet5(), (32, 32, 1), 61_706),
    ("lenet5 on photos", LeNet5(), PHOTO, 62_006),
]


def fresh(config: ModelConfig, in_features: Features, seed: int = 0) -> nnx.Module:
    keys = jax.random.split(jax.random.key(seed))
    return build(config, in_features, 10, nnx.Rngs(params=keys[0], dropout=keys[1]))


@pytest.mark.parametrize(("config", "in_features", "parameters"), [c[1:] for c in FAMILIES], ids=[c[0] for c in FAMILIES])
def test_output_shape_and_number_of_parameters(config: ModelConfig, in_features: Features, parameters: int) -> None:
    def forward(x: jax.Array) -> tuple[jax.Array, nnx.State]:
        model = fresh(config, in_features)
        return call(model, x, train=True), nnx.as_pure(nnx.state(model, nnx.Param))

    size = (in_features,) if isinstance(in_features, int) else in_features
    y, state = jax.eval_shape(forward, jax.ShapeDtypeStruct((3, *size), jnp.float32))
    assert (y.shape, y.dtype) == ((3, 10), jnp.float32)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(state)) == parameters


@pytest.mark.parametrize("config", [Mlp(normalization="batch", dropout=0.1), ConvNet(channels=(2,), normalization="batch")])
def test_bfloat16_goes_through_normalization(config: ModelConfig) -> None:
    """The running statistics stay float32 and must not widen what follows them."""

    def forward(x: jax.Array) -> tuple[jax.Array, nnx.State]:
        model = fresh(config, (4, 4, 1))
        nnx.update(model, jax.tree.map(lambda p: p.astype(jnp.bfloat16), nnx.state(model, nnx.Param)))
        return call(model, x, train=True), nnx.as_pure(nnx.state(model, nnx.BatchStat))

    y, statistics = jax.eval_shape(forward, jax.ShapeDtypeStruct((3, 4, 4, 1), jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(statistics)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("shape", [(200, 300), (3, 3, 40, 60)], ids=["dense", "convolution"])
def test_initial_variance(shape: tuple[int, ...]) -> None:
    fan_in, fan_out = math.prod(shape[:-1]), math.prod(shape[:-2]) * shape[-1]
    expected: dict[Init, float] = {
        "zeros": 0,
        "normal": 0.01**2,
        "xavier": 2 / (fan_in + fan_out),
        "he": 2 / fan_in,
        "lecun": 1 / fan_in,
        "orthogonal": 1 / max(fan_in, shape[-1]),
    }
    kernels = jax.jit(lambda key: {name: initializer(name)(key, shape) for name in expected})(jax.random.key(0))
    for name, variance in expected.items():
        kernel = np.asarray(kernels[name])
        assert kernel.var() == pytest.approx(variance, rel=0.05), name
        assert abs(kernel.mean()) <= 4 * math.sqrt(variance / kernel.size), name


@pytest.mark.parametrize(
    ("name", "at_minus_one", "at_two"),
    [
        ("relu", 0, 2),
        ("leaky_relu", -0.01, 2),
        ("elu", math.exp(-1) - 1, 2),
        ("selu", 1.0507 * 1.67326 * (math.exp(-1) - 1), 1.0507 * 2),
        ("gelu", -0.158655, 2 * 0.977250),  # x Phi(x), the exact form
        ("silu", -1 / (1 + math.e), 2 / (1 + math.exp(-2))),
        ("tanh", math.tanh(-1), math.tanh(2)),
        ("sigmoid", 1 / (1 + math.e), 1 / (1 + math.exp(-2))),
        ("softplus", math.log1p(math.exp(-1)), math.log1p(math.exp(2))),
    ],
)
def test_activations(name: Activation, at_minus_one: float, at_two: float) -> None:
    np.testing.assert_allclose(activation(name)(jnp.asarray([-1.0, 2.0])), [at_minus_one, at_two], rtol=1e-4)


def test_the_kernels_of_a_network_come_from_its_config() -> None:
    model = jax.jit(lambda: nnx.as_pure(nnx.state(fresh(LeNet5(init="zeros"), DIGIT), nnx.Param)))()
    assert not any(leaf.any() for leaf in jax.tree.leaves(model))


def test_dropout_comes_before_each_dense_layer_of_a_convnet() -> None:
    model = nnx.eval_shape(lambda: fresh(ConvNet(channels=(2,), dense=(6, 5)), (4, 4, 1)))
    assert len(model.head.dropout) == 3


def test_mode_switches_dropout_and_batch_normalization_of_dlx_and_flax() -> None:
    model = nnx.eval_shape(lambda: fresh(Mlp(hidden=(3,), normalization="batch", dropout=0.5), 4))
    model.extra = nnx.Dropout(0.5)
    for train in (False, True, False):
        set_mode(model, train)
        assert model.hidden[0].norm.use_running_average is not train
        assert model.dropout[0].deterministic is not train
        assert model.extra.deterministic is not train


@pytest.mark.parametrize(
    ("config", "in_features", "message"),
    [
        (ConvNet(), 64, "model.kind=convnet needs images .* the data has rows of 64 columns: use model.kind=mlp"),
        (ConvNet(), Tokens(9, 20), "sequences of 9 tokens: use model.kind=rnn, or data of images"),
        (Mlp(), Tokens(9, 20), "the data has tokens: use model.kind=rnn, or data of numbers"),
        (Autoencoder(), Tokens(9, 20), "the data has tokens: use data of numbers"),
        (ConvAutoencoder(), 64, "rows of 64 columns: use data of images"),
        (LeNet5(), (8, 8), "model.kind=lenet5 needs images .* arrays of shape"),
        (ConvNet(channels=(2, 2, 2, 2)), (8, 9, 1), "model.channels has 4 blocks .* 8x9 pixels allow at most 3"),
        (LeNet5(), (8, 8, 1), "model.kind=lenet5 needs images of at least 12x12 pixels and these have 8x8"),
    ],
)
def test_impossible_images_are_config_errors(config: ModelConfig, in_features: Features, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fresh(config, in_features)


@pytest.mark.parametrize("size", [12, 13, 20, 31, 32, 33])
def test_lenet5_takes_other_sizes(size: int) -> None:
    def forward(x: jax.Array) -> jax.Array:
        return call(fresh(LeNet5(), x.shape[1:]), x, train=True)

    assert jax.eval_shape(forward, jax.ShapeDtypeStruct((2, size, size + 3, 1), jnp.float32)).shape == (2, 10)
