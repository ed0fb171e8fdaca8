"""Autoencoders, plain and variational: their losses and bounds against NumPy and SciPy in float64, and what they refuse."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from dlx import models
from dlx.config import Experiment, load_experiment, parse_override
from dlx.config.autoencoder_task import (
    Bernoulli,
    Gaussian,
    GaussianNoise,
    KlSparsity,
    L1Sparsity,
    MaskingNoise,
    Reconstruct,
)
from dlx.config.load import to_yaml
from dlx.data import Spec
from dlx.engine import named_leaves, register_configs
from dlx.errors import ConfigError, UsageError
from dlx.tasks import Asked, Batch, build_task
from dlx.tasks.reconstruction import corrupted, sparsity
from dlx.tasks.variational import binarized, divergence, surprise

SHAPE, CLASSES = (4, 4, 1), 3
SPEC = Spec(SHAPE, "class", CLASSES, ("a", "b", "c"), (3, 3, 2), ("y",), (), (), 8)
KEY = jax.random.key(3)
RECONSTRUCT = {
    "task": {"kind": "reconstruct"},
    "data": {"kind": "digits", "standardize": False},
    "model": {"kind": "autoencoder", "hidden": [6], "code": 3},
    "optimizer": {"kind": "adam", "lr": 1e-2},
    "train": {"batch_size": 8},
}
VAE = RECONSTRUCT | {"task": {"kind": "vae"}, "model": {"kind": "vae", "hidden": [6], "code": 2}}


def draw(count: int = 8) -> Batch:
    generator = np.random.Generator(np.random.Philox(1))
    pixels = generator.random((count, *SHAPE)).astype(np.float32)
    return Batch(jnp.asarray(pixels), jnp.asarray(np.arange(count) % CLASSES, jnp.int32), jnp.ones(count))


def made(base: dict, *overrides: str):
    register_configs()
    config: Experiment = load_experiment(base, [parse_override(text) for text in overrides])
    task = build_task(config.task, SPEC, 20, 5)
    return config, task, jax.jit(task.init)(config, draw(), KEY)


@pytest.mark.parametrize("base", [RECONSTRUCT, VAE])
def test_a_config_survives_its_yaml(base, tmp_path):
    config = load_experiment(base, [parse_override("task.sparsity={kind: kl, target: 0.1}")] if base is RECONSTRUCT else [])
    (tmp_path / "again.yaml").write_text(to_yaml(config))
    assert load_experiment(str(tmp_path / "again.yaml")) == config


@pytest.mark.parametrize("loss", ["mse", "cross-entropy"])
def test_the_losses_of_reconstructions_are_those_of_numpy(loss):
    config, task, state = made(RECONSTRUCT, f"task.loss={loss}")
    batch = draw()
    _, each = task.examine(config, state, batch, KEY)
    x = np.asarray(batch.inputs, np.float64).reshape(8, -1)
    again = np.asarray(task.predict(config, state, batch.inputs, KEY), np.float64).reshape(8, -1)
    np.testing.assert_allclose(each["squared"], np.square(again - x).mean(-1), rtol=1e-5)
    expected = np.square(again - x) if loss == "mse" else -(x * np.log(again) + (1 - x) * np.log1p(-again))
    np.testing.assert_allclose(each["loss"], expected.mean(-1), rtol=1e-5)
    found = task.metrics({name: np.asarray(s, np.float64) for name, s in task.evaluate(config, state, batch, KEY)[1].items()})
    assert found["rmse"] == pytest.approx(math.sqrt(np.square(again - x).mean()), rel=1e-5)


def test_a_denoising_autoencoder_sees_noise_and_is_judged_by_what_was_before():
    config, task, state = made(RECONSTRUCT, "task.noise={kind: masking, share: 0.5}")
    batch = draw()
    _, each = task.examine(config, state, batch, KEY)
    seen = corrupted(config.task, batch.inputs, jax.random.split(KEY)[0])
    again = task.predict(config, state, seen, KEY)
    np.testing.assert_allclose(each["squared"], np.square(again - batch.inputs).mean((1, 2, 3)), rtol=1e-5)


def test_noise_is_what_it_says():
    x = jnp.ones((200, 100))
    masked = corrupted(Reconstruct(noise=MaskingNoise(share=0.25)), x, KEY)
    assert set(np.unique(masked)) == {0.0, 1.0}
    assert 1 - masked.mean() == pytest.approx(0.25, abs=0.01)
    noisy = corrupted(Reconstruct(noise=GaussianNoise(std=0.3)), x, KEY) - 1
    assert noisy.std() == pytest.approx(0.3, abs=0.01)
    assert stats.kstest(np.asarray(noisy).ravel() / 0.3, "norm").pvalue > 0.01


def test_sparsity_is_l1_or_the_divergence_of_ng():
    code = np.random.Generator(np.random.Philox(2)).random((50, 4))
    found = sparsity(Reconstruct(sparsity=L1Sparsity(weight=0.5)), jnp.asarray(code - 0.5))
    assert found == pytest.approx(0.5 * np.abs(code - 0.5).sum(1).mean(), rel=1e-6)
    p, q = 0.05, code.mean(0)
    expected = 2.0 * sum(stats.entropy([p, 1 - p], [each, 1 - each]) for each in q)
    assert sparsity(Reconstruct(sparsity=KlSparsity(target=p, weight=2.0)), jnp.asarray(code)) == pytest.approx(
        expected, rel=1e-5
    )


def test_kl_sparsity_makes_units_rarely_active():
    active = {}
    for weight in (0.0, 1.0):
        config, task, state = made(
            RECONSTRUCT, "model.code_activation=sigmoid", f"task.sparsity={{kind: kl, target: 0.1, weight: {weight}}}"
        )
        update = jax.jit(task.update)
        for step in range(100):
            state, _ = update(config, state, draw(), jax.random.key(step))
        active[weight] = float(task.encode(config, state, draw().inputs, KEY).mean())
    assert abs(active[1.0] - 0.1) < 0.03 < abs(active[0.0] - 0.1)


def test_tied_kernels_decode_by_the_transposes_of_the_encoder():
    config = load_experiment(RECONSTRUCT | {"model": {"kind": "autoencoder", "hidden": [6], "code": 3, "tied": True}}).model
    model = models.build(config, 5, 5, nnx.Rngs(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) == (5 * 6 + 6 + 6 * 3 + 3) + (6 + 5)
    code = jnp.asarray(np.random.Generator(np.random.Philox(1)).normal(size=(2, 3)), jnp.float32)
    first, second = (layer.linear.kernel[...] for layer in model.hidden)
    np.testing.assert_allclose(model.decode(code), jax.nn.relu(code @ second.T) @ first.T, rtol=1e-5)


@pytest.mark.parametrize(
    ("model", "twin"),
    [
        ("autoencoder, hidden: [6], code: 3", "mlp, hidden: [6, 3]"),
        ("conv-autoencoder, channels: [2, 3], code: 3", "convnet, channels: [2, 3], dense: [4]"),
    ],
)
def test_an_encoder_is_called_as_a_classifier_is(model, twin):
    def names(kind: str) -> dict[str, tuple[int, ...]]:
        config = load_experiment(RECONSTRUCT | {"task": {"kind": kind_of[kind]}}, [parse_override(f"model={{kind: {kind}}}")])
        params = jax.eval_shape(lambda: build_task(config.task, SPEC, 20, 5).init(config, draw(), KEY)).params
        return {name: leaf.shape for name, leaf in named_leaves(params)}

    kind_of = {model: "reconstruct", twin: "classify"}
    shared = names(model).items() & names(twin).items()
    assert {name for name, _ in shared} == {
        f"{place}/{kind}"
        for place in (
            ("hidden/0/linear", "hidden/1/linear")
            if "hidden" in model
            else ("blocks/0/layers/0/conv", "blocks/1/layers/0/conv")
        )
        for kind in ("kernel", "bias")
    }


def test_the_divergence_is_its_closed_form_and_a_monte_carlo_mean():
    with jax.enable_x64(True):
        mean, log_variance = jnp.asarray([[0.5, -1.0]]), jnp.asarray([[-0.7, 0.3]])
        found = float(divergence(mean, log_variance)[0])
        deviation = np.exp(0.5 * np.asarray(log_variance))
        z = np.asarray(mean) + deviation * np.random.Generator(np.random.Philox(1)).normal(size=(400_000, 2))
        ratio = stats.norm.logpdf(z, mean, deviation).sum(1) - stats.norm.logpdf(z).sum(1)
        assert found == pytest.approx(ratio.mean(), abs=4 * ratio.std() / math.sqrt(len(z)))
        assert divergence(jnp.zeros((1, 3)), jnp.zeros((1, 3)))[0] == 0


def test_surprise_is_minus_the_logarithm_of_the_likelihood():
    generator = np.random.Generator(np.random.Philox(1))
    x, said = generator.random((3, 2, 2)), generator.normal(size=(3, 2, 2))
    normal = -stats.norm.logpdf(x, said, 0.3).sum((1, 2))
    np.testing.assert_allclose(surprise(Gaussian(std=0.3), jnp.asarray(x), jnp.asarray(said)), normal, rtol=1e-5)
    bits = (x > 0.5).astype(int)
    pixels = -stats.bernoulli.logpmf(bits, 1 / (1 + np.exp(-said))).sum((1, 2))
    np.testing.assert_allclose(surprise(Bernoulli(), jnp.asarray(bits, float), jnp.asarray(said)), pixels, rtol=1e-5)


def test_pixels_become_black_or_white_as_often_as_they_are_bright():
    x = jnp.asarray([0.0, 0.2, 0.9, 1.0]) * jnp.ones((20_000, 1))
    np.testing.assert_allclose(binarized(Bernoulli(binarize="sample"), x, KEY).mean(0), [0, 0.2, 0.9, 1], atol=0.01)
    assert set(np.unique(binarized(Bernoulli(binarize="sample"), x, KEY))) == {0.0, 1.0}
    np.testing.assert_array_equal(binarized(Bernoulli(binarize="threshold"), x, KEY)[0], [0, 0, 1, 1])
    np.testing.assert_array_equal(binarized(Bernoulli(binarize="none"), x, KEY), x)


def test_the_elbo_is_below_the_exact_log_likelihood_and_reaches_it_with_the_exact_posterior():
    """Linear and Gaussian: x = z w + b + noise of deviation s, so that p(x) and p(z | x) are known."""
    w, b, s = np.array([[1.0, -0.5, 0.3]]), np.array([0.2, 0.0, -0.1]), 0.5
    generator = np.random.Generator(np.random.Philox(4))
    x = generator.normal(size=(200, 1)) @ w + b + s * generator.normal(size=(200, 3))
    exact = stats.multivariate_normal(b, w.T @ w + s**2 * np.eye(3)).logpdf(x)
    variance = 1 / (1 + (w @ w.T).item() / s**2)
    posterior = (x - b) @ w.T * variance / s**2  # (200, 1)

    def elbo(mean: np.ndarray, variance: float) -> np.ndarray:
        """With 2,000 draws in place of one, (200,)."""
        z = mean[None] + math.sqrt(variance) * generator.normal(size=(2000, *mean.shape))
        missed = np.stack([surprise(Gaussian(std=s), jnp.asarray(x), jnp.asarray(each @ w + b)) for each in z[:200]])
        return -missed.mean(0) - np.asarray(divergence(jnp.asarray(mean), jnp.full(mean.shape, math.log(variance))))

    with jax.enable_x64(True):
        assert elbo(posterior, variance).mean() == pytest.approx(exact.mean(), abs=0.02)
        for worse in (elbo(posterior + 0.3, variance), elbo(posterior, 2 * variance)):
            assert worse.mean() < exact.mean() - 0.05


def test_elbo_beta_and_warmup():
    config, task, state = made(VAE, "task.beta=3.0", "task.warmup=0.5")
    batch = draw()
    _, sums = task.evaluate(config, state, batch, KEY)
    found = task.metrics({name: np.asarray(value, np.float64) for name, value in sums.items()})
    assert found["elbo"] == pytest.approx(-found["reconstruction"] - found["kl"])
    assert found["loss"] == pytest.approx(found["reconstruction"] + 3 * found["kl"], rel=1e-6)
    # The weight of the KL rises over the first half of 20 steps, and then stays.
    for taken, share in ((0, 0.1), (4, 0.5), (9, 1.0), (15, 1.0)):
        value, (_, memory, sums) = task.loss(config, state.params, state.rest, jnp.int32(taken), batch, KEY, train=True)
        assert memory == taken + 1
        assert value == pytest.approx(float(sums["reconstruction"] + share * 3 * sums["kl"]) / 8, rel=1e-5)


def test_the_vae_learns():
    config, task, state = made(VAE)
    update = jax.jit(task.update)
    before = task.evaluate(config, state, draw(), KEY)[1]["loss"]
    for step in range(100):
        state, _ = update(config, state, draw(), jax.random.key(step))
    assert task.evaluate(config, state, draw(), KEY)[1]["loss"] < before - 8 * 0.5
    assert state.memory == 100


def test_samples_ways_and_classes():
    config, task, state = made(VAE)
    drawn = task.generate(config, state, KEY, Asked(5))
    assert drawn.shape == (5, *SHAPE)
    assert 0 <= drawn.min() < drawn.max() <= 1
    way = task.generate(config, state, KEY, Asked(4, steps=7))
    assert way.shape == (4, 7, *SHAPE)
    np.testing.assert_allclose(way[1:, 0], way[:-1, -1], atol=1e-6, err_msg="each way begins where the one before ended")
    same = task.generate(config, state, KEY, Asked(3, temperature=0.0))
    np.testing.assert_array_equal(same[0], same[1])
    for asked, said in (
        (Asked(2, classes=np.zeros(2, np.int32)), "this network is told no class"),
        (Asked(2, length=5), "--length is for text, and this network makes images"),
    ):
        with pytest.raises(UsageError, match=said):
            task.generate(config, state, KEY, asked)


def test_a_conditional_vae_makes_what_class_it_is_told():
    config, task, state = made(VAE, "task.conditional=true")
    by_class = [task.generate(config, state, KEY, Asked(2, classes=np.full(2, c, np.int32))) for c in range(CLASSES)]
    assert not np.allclose(by_class[0], by_class[1])
    in_turn = task.generate(config, state, KEY, Asked(2))
    np.testing.assert_allclose(in_turn[1], by_class[1][1], rtol=1e-5)
    batch = draw()
    one = task.examine(config, state, batch, KEY)[1]["kl"]
    other = task.examine(config, state, batch._replace(targets=(batch.targets + 1) % CLASSES), KEY)[1]["kl"]
    assert not np.allclose(one, other)
    with pytest.raises(UsageError, match="must be told each example's class"):
        task.predict(config, state, batch.inputs, KEY)
    for number in (3, -1):
        with pytest.raises(UsageError, match=f"class {number} is asked for, and the network knows 0 to 2"):
            task.generate(config, state, KEY, Asked(1, classes=np.full(1, number, np.int32)))


@pytest.mark.parametrize(
    ("base", "overrides", "sentence"),
    [
        (
            RECONSTRUCT,
            ["model={kind: mlp}"],
            "reconstruct does not suit model mlp: set model.kind to autoencoder, conv-autoencoder or",
        ),
        (RECONSTRUCT, ["task.loss=cross-entropy", "data.standardize=true"], "set data.standardize=false"),
        (RECONSTRUCT, ["task.loss=cross-entropy", "data.augment=[{kind: noise}]"], "data.augment has noise"),
        (RECONSTRUCT, ["task.sparsity={kind: kl}"], "set model.code_activation=sigmoid"),
        (RECONSTRUCT, ["model={kind: conv-autoencoder, channels: [2, 2, 2]}"], "4x4 pixels cannot be divided by 8"),
        (VAE, ["model={kind: autoencoder}"], "task vae does not suit model autoencoder: set model.kind to vae or python"),
        (VAE, ["data.standardize=true"], "set data.standardize=false"),
        (RECONSTRUCT, ["model.tied=true", "model.normalization=batch"], "set normalization=none, or tied=false"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(base, overrides, sentence):
    with pytest.raises(ConfigError, match=sentence):
        made(base, *overrides)
