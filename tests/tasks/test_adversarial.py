"""Gradients, updates, scores and warnings of two players, against the definitions themselves."""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlx import engine
from dlx.config import Experiment, load_experiment
from dlx.config.adversarial_model import Codes
from dlx.data import Spec
from dlx.errors import ConfigError, UsageError
from dlx.models.noise_gan import ingredients
from dlx.tasks import Asked, Batch, LearnerState, build_task

SPEC = Spec((8, 8, 1), "class", 3, ("a", "b", "c"), (4, 4, 4), ("y",), (), (), 12)
PAIRS = Spec((2, 8, 8, 1), "none", 0, (), (), (), (), (), 12)
KEY = jax.random.key(3)


def experiment(task: dict, model: dict) -> Experiment:
    tree = {"task": task, "data": {"kind": "digits", "standardize": False}, "model": model}
    return load_experiment(tree | {"optimizer": {"kind": "adam", "lr": 1e-2, "b1": 0.5}, "train": {"batch_size": 6}})


def batch(spec: Spec = SPEC, count: int = 6) -> Batch:
    random = np.random.Generator(np.random.Philox(1))
    inputs = random.uniform(size=(count, *spec.input_shape)).astype(np.float32)
    targets = np.arange(count) % 3 if spec.target == "class" else np.zeros((count, 0))
    return Batch(
        jnp.asarray(inputs), jnp.asarray(targets, jnp.int32 if spec.target == "class" else jnp.float32), jnp.ones(count)
    )


def made(config: Experiment, spec: Spec = SPEC) -> Any:
    assert config.task is not None
    return build_task(config.task, spec, 10, 2)


@cache
def begun(name: str) -> tuple[Experiment, Any, Batch, LearnerState]:
    """A family's config, task, batch, and the state it begins with."""
    task, model, spec = FAMILIES[name]
    config = experiment(task, model)
    built, seen = made(config, spec), batch(spec)
    return config, built, seen, jax.jit(lambda: built.init(config, seen, KEY))()


GAN = {"kind": "gan", "latent": 3, "hidden": [5], "critic_hidden": [4], "critic_normalization": "layer"}
DCGAN = {"kind": "dcgan", "latent": 3, "channels": [3, 2], "critic_normalization": "none"}
STACKGAN = {"kind": "stackgan", "latent": 3, "channels": [3], "refine": 2, "blocks": 1, "critic_normalization": "none"}
CYCLEGAN = {"kind": "cyclegan", "channels": 2, "halvings": 1, "blocks": 1, "critic_channels": [2]}
GP = {"kind": "wasserstein-gp", "penalty": 10.0}
FAMILIES = {
    "gan": ({"kind": "adversarial", "conditional": True}, GAN, SPEC),
    "infogan": ({"kind": "adversarial"}, GAN | {"codes": {"categorical": [3], "continuous": 1}}, SPEC),
    "wgan-gp": ({"kind": "adversarial", "loss": GP, "conditional": True}, DCGAN, SPEC),
    "stackgan": ({"kind": "stacked"}, STACKGAN, SPEC),
    "cyclegan": ({"kind": "cycle"}, CYCLEGAN, PAIRS),
}


@pytest.fixture(scope="module", autouse=True)
def compiled_once() -> None:
    """What is compiled here is kept for the next time."""
    engine.configure()


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


def test_objective_has_both_players_own_gradients(family):
    """In `objective` the other player stands still, so that its gradient in all parameters is what both updates follow."""
    config, task, seen, state = begun(family)
    stacked = family == "stackgan"

    def whole(params):
        return task.objective(config, params, state.rest, seen, KEY)[0]

    def of(player, key):
        def loss(own):
            memory = None if stacked else state.memory
            return task.play(config, player, {**state.params, player: own}, state.rest, memory, seen, key, train=True)[0]

        return jax.jit(jax.grad(loss))(state.params[player])

    together = jax.jit(jax.grad(whole))(state.params)
    for player, key in zip(("critic", "generator"), jax.random.split(KEY), strict=True):
        for a, b in zip(jax.tree.leaves(together[player]), jax.tree.leaves(of(player, key)), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)
    assert all(
        np.abs(leaf).sum() > 0
        for leaf in jax.tree.leaves(together["generator"]["second" if stacked else next(iter(together["generator"]))])
    )


def test_an_update_moves_both_players_and_counts(family):
    config, task, seen, state = begun(family)
    after, sums = jax.jit(lambda state: task.update(config, state, seen, KEY))(state)
    for player in ("critic", "generator"):
        pairs = zip(jax.tree.leaves(state.params[player]), jax.tree.leaves(after.params[player]), strict=True)
        assert any(np.abs(np.asarray(a) - np.asarray(b)).max() > 0 for a, b in pairs)
    assert after.memory == 1
    assert sums["count"] == 6
    metrics = task.metrics({name: np.asarray(value, np.float64) for name, value in sums.items()})
    assert metrics["loss"] == pytest.approx(metrics["critic_loss"] + metrics["generator_loss"], rel=1e-5)


def test_evaluation_merges_over_batches_and_ignores_padding(family):
    config, task, seen, state = begun(family)
    state = state._replace(opt=(), average=())
    weight = jnp.asarray([1.0, 1, 1, 1, 0, 0])
    padded = Batch(seen.inputs.at[4:].set(jnp.nan), seen.targets, weight)
    memory, sums = jax.jit(lambda state, padded: task.evaluate(config, state, padded, KEY))(state, padded)
    assert memory == 0, "an evaluation is no step"
    assert sums["count"] == 4
    metrics = task.metrics({name: np.asarray(value, np.float64) for name, value in sums.items()})
    assert np.isfinite(list(metrics.values())).all()
    assert {"frechet_pixels", "diversity", "critic_accuracy", "loss"} <= metrics.keys()


def test_two_batches_of_an_evaluation_get_other_noise():
    """By the key of each, which `evaluate_lane` gives it."""
    config, task, seen, state = begun("gan")
    evaluate = jax.jit(lambda key: task.evaluate(config, state, seen, key)[1])
    first, second = evaluate(KEY), evaluate(jax.random.fold_in(KEY, 1))
    assert np.abs(np.asarray(first["fake_features"] - second["fake_features"])).max() > 1e-6


def test_critic_steps_see_their_own_parts_of_the_batch():
    """Two critic steps on a batch whose second half is another one give another critic; without them it is left unseen."""
    config = experiment({"kind": "adversarial", "critic_steps": 2}, GAN)
    task, seen = made(config), batch()
    other = seen._replace(inputs=seen.inputs.at[3:].set(0.0))
    state = jax.jit(lambda: task.init(config, seen, KEY))()
    update = jax.jit(lambda seen: task.update(config, state, seen, KEY)[0])
    one, two = (update(each).params["critic"] for each in (seen, other))
    assert any(np.abs(np.asarray(a - b)).max() > 0 for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True))


def test_a_wasserstein_critic_stays_clipped():
    config = experiment({"kind": "adversarial", "loss": {"kind": "wasserstein", "clip": 0.02}}, GAN)
    task, seen = made(config), batch()
    params = jax.jit(lambda: task.update(config, task.init(config, seen, KEY), seen, KEY)[0].params)()
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(params["critic"])) <= 0.02 * (1 + 1e-6)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(params["generator"])) > 0.02


def test_the_stages_learn_one_after_the_other():
    config, task, seen, state = begun("stackgan")  # half of 10 steps each
    update = jax.jit(lambda state: task.update(config, state, seen, KEY)[0])
    for memory, moving, still in ((0, "first", "second"), (5, "second", "first")):
        now = state._replace(memory=jnp.asarray(memory))
        opt = {player: (jnp.asarray(memory), *now.opt[player][1:]) for player in now.opt}
        after = update(now._replace(opt=opt))
        for player in ("critic", "generator"):
            change = [
                max(float(jnp.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, pair), strict=True))
                for pair in ((state.params[player][stage], after.params[player][stage]) for stage in (moving, still))
            ]
            assert change[0] > 0
            assert change[1] == 0


def test_codes_are_read_in_nats():
    made_of = ingredients(4, Codes(categorical=(3, 2), continuous=1), 0)
    drawn = made_of.draw(KEY, 50)
    codes = made_of.code(drawn)
    assert drawn.shape == (50, 10)
    np.testing.assert_allclose(codes[:, :3].sum(1), 1)
    np.testing.assert_allclose(codes[:, 3:5].sum(1), 1)
    assert (np.abs(codes[:, 5]) <= 1).all()
    np.testing.assert_allclose(made_of.unlike(codes, jnp.zeros((50, 6))), np.log(6) + 0.5 * np.square(codes[:, 5]), rtol=1e-5)
    np.testing.assert_allclose(made_of.recognized(codes, 9 * codes), 1)


def test_samples_are_what_was_asked_for():
    config, task, seen, state = begun("gan")

    def make(asked: Asked) -> jax.Array:
        return jax.jit(lambda state: task.generate(config, state, KEY, asked))(state)

    images = make(Asked(5))
    assert images.shape == (5, 8, 8, 1)
    assert float(images.min()) >= 0
    assert float(images.max()) <= 1
    assert make(Asked(2, steps=4)).shape == (2, 4, 8, 8, 1)
    cold = make(Asked(2, temperature=0.0, classes=np.array([1, 1])))
    np.testing.assert_allclose(cold[0], cold[1], atol=1e-6)
    assert jax.eval_shape(lambda: task.predict(config, state, seen.inputs, KEY)).shape == (6, 3)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked(1, classes=np.array([3])), "class 3 is asked for"),
        (Asked(1, top_k=2), "--top-k is for text"),
        (Asked(1, length=3), "--length"),
    ],
)
def test_what_cannot_be_asked(asked, said):
    config, task, _, state = begun("gan")
    with pytest.raises(UsageError, match=said):
        task.generate(config, state, KEY, asked)


@pytest.mark.parametrize(
    ("task", "model", "said"),
    [
        ({"kind": "adversarial"}, {"kind": "mlp"}, "set model.kind to dcgan, gan or python"),
        ({"kind": "adversarial"}, STACKGAN, "set model.kind to dcgan, gan or python"),
        ({"kind": "stacked"}, GAN, "set model.kind to stackgan or python"),
        ({"kind": "adversarial"}, DCGAN | {"channels": [2, 2, 2, 2]}, "must be a multiple of 16"),
    ],
)
def test_a_model_that_does_not_suit(task, model, said):
    def begun() -> None:
        config = experiment(task, model)
        jax.eval_shape(lambda: made(config).init(config, batch(), KEY))

    with pytest.raises(ConfigError, match=said):
        begun()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": {"kind": "digits"}}, "set data.standardize=false"),
        ({"task": {"kind": "adversarial", "critic_steps": 4}}, "a multiple of it"),
        ({"optimizer": {"kind": "lbfgs"}, "train": {"batch_size": "full"}}, "has two players"),
        ({"optimizer": {"kind": "polyak_sgd"}}, "either player's can be: use adam"),
        ({"data": {"kind": "digits", "standardize": False, "augment": [{"kind": "noise"}]}}, "data.augment has noise"),
        ({"schedule": {"kind": "schedule-free"}}, "averages one player's weights"),
        ({"task": {"kind": "adversarial", "loss": GP}, "model": {"kind": "dcgan"}}, "judges each image by itself"),
        ({"model": GAN | {"codes": {"categorical": [], "continuous": 0}}}, "there is no code"),
    ],
)
def test_a_config_that_cannot_work_is_told_in_a_sentence(changes, said):
    tree = {
        "task": {"kind": "adversarial"},
        "data": {"kind": "digits", "standardize": False},
        "model": GAN,
        "train": {"batch_size": 6},
    }
    with pytest.raises(ConfigError, match=said):
        load_experiment(tree | changes)


def test_configs_survive_their_own_json(family):
    config = experiment(*FAMILIES[family][:2])
    assert Experiment.model_validate(config.model_dump(mode="json")) == config


@pytest.mark.parametrize("loss", ["standard", "least-squares"])
def test_advice_of_a_cycle_is_of_what_it_has(loss):
    task = made(experiment({"kind": "cycle", "loss": {"kind": loss}}, CYCLEGAN), PAIRS)
    bad = {"train/critic_accuracy": 1.0, "train/critic_loss": 0.001, "train/generator_loss": 9.0, "train/diversity": 0.01}
    said = task.warnings(bad)
    assert said.keys() == {"critic overpowers", "mode collapse"}
    assert not any(word in " ".join(said.values()) for word in ("wasserstein", "model.latent"))


def test_every_metric_can_be_chosen(family):
    config, task, seen, state = begun(family)
    found = jax.eval_shape(lambda: task.evaluate(config, state, seen, KEY)[1])
    metrics = task.metrics({name: np.ones(sums.shape) for name, sums in found.items()})
    assert metrics.keys() <= task.scores.keys()
    assert ("code_accuracy" in metrics) == (family == "infogan")


def test_codes_that_are_numbers_have_no_accuracy():
    tree = {"kind": "adversarial"}, GAN | {"codes": {"categorical": [], "continuous": 2}}
    config = experiment(*tree)
    task, seen = made(config), batch()
    state = jax.eval_shape(lambda: task.init(config, seen, KEY))
    assert "code_accuracy" not in jax.eval_shape(lambda state: task.evaluate(config, state, seen, KEY)[1], state)
    assert "code_accuracy" not in jax.eval_shape(lambda state: task.update(config, state, seen, KEY)[1], state)
    chosen = config.model_copy(update={"train": config.train.model_copy(update={"monitor": "validation/code_accuracy"})})
    with pytest.raises(ConfigError, match="validation/code_accuracy is of categorical codes, and this network has none"):
        jax.eval_shape(lambda: task.init(chosen, seen, KEY))
