"""Deep belief networks: which layer learns when, what is judged, and what a classifier takes over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlx.config import Experiment, load_experiment, parse_override
from dlx.data import Spec
from dlx.diagnose.gradcheck import gradcheck
from dlx.diagnose.gradients import GradCheck
from dlx.errors import ConfigError
from dlx.events import Evaluated, Finished, Measured
from dlx.experiment.assemble import assemble, load_data, resolve
from dlx.experiment.run import resume, start
from dlx.store import curves, find_run, open_store
from dlx.tasks import Asked, Batch, LearnerState, build_task
from dlx.tasks.belief import GreedyPretraining

SPEC = Spec((2, 2, 1), "none", 0, (), (), (), (), (), 64)
TINY = {
    "task": {"kind": "belief"},
    "data": {"kind": "digits", "standardize": False, "limit": 200},
    "model": {"kind": "dbn", "hidden": [6, 5]},
    "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.01},
    "schedule": {"kind": "linear"},
    "train": {"duration": "32 steps", "evaluate_every": "8 steps", "checkpoint_every": "5 steps", "batch_size": 10},
}


def experiment(*overrides: str) -> Experiment:
    return load_experiment(TINY, [parse_override(text) for text in overrides])


def fresh(config: Experiment, steps: int) -> tuple[GreedyPretraining, LearnerState, Batch]:
    """A task of so many steps, a learner and a batch of 8 images of 2x2 pixels."""
    inputs = jax.random.uniform(jax.random.key(9), (8, 2, 2, 1))
    batch = Batch(inputs, jnp.zeros((8, 0)), jnp.ones(8))
    task = build_task(config.task, SPEC, steps, 10)
    return task, task.init(config, batch, jax.random.key(0)), batch


def moved(before: LearnerState, after: LearnerState) -> set[int]:
    """The layers of which any parameter is another."""
    pairs = zip(*(jax.tree_util.tree_leaves_with_path(state.params) for state in (before, after)), strict=True)
    return {path[1].key for (path, old), (_, new) in pairs if not np.array_equal(old, new)}


def test_one_layer_learns_at_a_time_and_all_others_stay_as_they_are():
    """Of 8 steps and three layers each has 2, and the last one the 2 that are left over. Momentum and decay move nothing else."""
    config = experiment("model.hidden=[6,5,4]")
    task, state, batch = fresh(config, 8)
    update = jax.jit(lambda state, key: task.update(config, state, batch, key))
    score = jax.jit(lambda state: task.evaluate(config, state, batch, jax.random.key(0))[1])
    learned, layers = [], []
    for step in range(8):
        after, _ = update(state, jax.random.key(step))
        learned.append(moved(state, after))
        layers.append(task.metrics({name: np.asarray(value) for name, value in score(after).items()})["layers"])
        state = after
    # (A schedule that ends at rate zero may leave a share's last step without effect.)
    expected = [0, 0, 1, 1, 2, 2, 2, 2]
    for step, (found, layer) in enumerate(zip(learned, expected, strict=True)):
        assert found <= {layer}, f"step {step}"
        assert found or step in (1, 3, 5, 6, 7), f"step {step}"
    assert layers == pytest.approx([0.5, 1, 1.5, 2, 2.25, 2.5, 2.75, 3])


def test_a_range_test_climbs_its_ladder_once_on_the_first_layer():
    """Losses of different layers, or a ladder that begins again with each, would say nothing of rates."""
    config = experiment("optimizer.lr=0.001", "optimizer.momentum=0", "schedule={kind: ramp, to: 100}")
    task, state, batch = fresh(config, 5)
    rates = [float(task.rates(config, jnp.asarray(step))["learning_rate"]) for step in range(5)]
    assert rates == pytest.approx(np.geomspace(1e-3, 1e-1, 5))
    update = jax.jit(lambda state, key: task.update(config, state, batch, key)[0])
    for step in range(5):
        after = update(state, jax.random.key(step))
        assert moved(state, after) == {0}
        state = after


def test_a_layer_begins_with_a_fresh_optimizer_and_the_whole_schedule():
    config = experiment()
    task, state, batch = fresh(config, 6)
    rates = [float(task.rates(config, jnp.asarray(step))["learning_rate"]) for step in range(6)]
    assert rates[:3] == rates[3:]
    assert rates[0] > rates[2]
    update = jax.jit(lambda state, key: task.update(config, state, batch, key)[0])
    for step in range(4):
        before, state = state, update(state, jax.random.key(step))
    # The first step of the second layer is rate * (gradient + decay), without the momentum of the first layer's steps.
    gradient = jax.grad(lambda p: task.objective(config, p, before.rest, batch, jax.random.key(3))[0])(before.params)
    bias = [each["hidden"][1]["linear"]["bias"] for each in (before.params, state.params, gradient)]
    np.testing.assert_allclose(bias[1], bias[0] - rates[3] * bias[2], rtol=1e-5, atol=1e-7)


def test_a_layer_sees_the_probabilities_of_the_one_below():
    """The second layer's free energy, against NumPy."""
    config = experiment()
    task, state, batch = fresh(config, 10)
    state = state._replace(rest=jax.tree.map(lambda _: jnp.asarray(7), state.rest))
    _, sums = task.evaluate(config, state, batch, jax.random.key(0))
    (w1, c1), (w2, c2) = (
        (np.asarray(each["linear"]["kernel"], np.float64), np.asarray(each["linear"]["bias"], np.float64))
        for each in (state.params["hidden"][0], state.params["hidden"][1])
    )
    v = 1 / (1 + np.exp(-(np.asarray(batch.inputs).reshape(8, 4) @ w1 + c1)))
    bias = np.asarray(state.params["hidden"][1]["visible"])
    expected = (-v @ bias - np.logaddexp(0, v @ w2 + c2).sum(1)).mean()
    assert float(sums["free_energy"] / sums["count"]) == pytest.approx(expected, rel=1e-5)


def test_the_gradient_is_right_and_other_layers_have_none():
    checking = gradcheck(experiment(), GradCheck(batch=4, directions=2))
    while True:
        try:
            next(checking)
        except StopIteration as end:
            found = end.value
            break
    assert found.ok
    verdicts = {leaf.name: leaf.reading.verdict for leaf in found.modes[0].leaves}
    assert {verdicts[f"hidden/0/{part}"] for part in ("linear/kernel", "linear/bias", "visible")} == {"right"}
    assert verdicts["hidden/1/visible"] == "zero"


@pytest.fixture
def store(tmp_path):
    with open_store(str(tmp_path / "results" / "dlx.db")) as opened:
        yield opened


def test_a_run_that_was_stopped_equals_one_that_was_not(store):
    *_, whole = start(experiment(), store)
    events = start(experiment(), store)
    for _ in range(2):
        next(event for event in events if isinstance(event, Measured))
    events.close()
    stopped = find_run(store, "latest")
    assert 0 < stopped.step < 32
    *_, resumed = resume(stopped, store)
    assert isinstance(resumed, Finished)
    assert resumed.metrics == whole.metrics
    assert curves(store, resumed.run) == curves(store, whole.run)


def test_a_classifier_begins_with_what_was_learned(store):
    """`dlx train ... --start-from RUN`: the last weights of the stack are those of the classifier's hidden layers."""
    *_, stack = start(experiment(), store)
    record = find_run(store, stack.run)
    assert record.metrics["test/layers"] == 2, "the best weights are the last ones"
    tree = {
        "task": {"kind": "classify"},
        "data": TINY["data"],
        "model": {"kind": "mlp", "hidden": [6, 5], "activation": "sigmoid"},
        "train": {"duration": "1 steps", "batch_size": 10},
    }
    notices = [
        event.text for event in start(load_experiment(tree), store, start_from=record) if "Notice" in type(event).__name__
    ]
    assert any("hidden/1/linear/kernel" in text for text in notices), notices


def test_lanes_agree_with_single_runs():
    configs = [experiment(f"optimizer.lr={0.02 * (i + 1)}", f"train.seed={i}", "schedule.kind=constant") for i in range(4)]
    dataset = load_data(configs[0])
    configs = [resolve(config, dataset) for config in configs]

    def trained(configs: list[Experiment]) -> tuple:
        cohort = assemble(configs, dataset).cohort
        starting = cohort.start()
        while True:
            try:
                next(starting)
            except StopIteration as end:
                return [event.metrics for event in cohort.train(end.value) if isinstance(event, Evaluated)][-1]

    together = trained(configs)
    (alone,) = trained([configs[2]])
    for name, value in alone.items():
        assert together[2][name] == pytest.approx(value, rel=2e-3, abs=2e-3), name


def test_samples_are_images():
    config = experiment()
    task, state, _ = fresh(config, 9)
    images = task.generate(config, state, jax.random.key(1), Asked(3, steps=2))
    assert images.shape == (3, 2, 2, 2, 1)
    assert 0 < float(images.min()) <= float(images.max()) < 1


@pytest.mark.parametrize(
    ("overrides", "steps", "words"),
    [
        (["averaging.kind=ema"], 9, "averaging.kind=none"),
        (["schedule.kind=schedule-free"], 9, "schedule-free"),
        ([], 1, "2 layers, which learn one after the other: make it longer"),
        (["optimizer={kind: polyak_sgd}"], 9, "such as sgd"),
        (["schedule={kind: reduce-on-plateau}"], 9, "another schedule than reduce-on-plateau"),
        (["train.patience=3"], 9, "train.patience=null"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(overrides, steps, words):
    with pytest.raises(ConfigError, match=words):
        fresh(experiment(*overrides), steps)
