"""The task that writes sequences: its loss against NumPy, what lengths may change (nothing), and whole trainings of it."""

import importlib.util
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlx.config import Experiment, load_experiment
from dlx.data import Dataset, Order, Spec
from dlx.data.dataset import Part, Scaling
from dlx.data.tokens import BEGIN, END
from dlx.errors import ConfigError, UsageError
from dlx.events import Decision, Evaluated
from dlx.experiment.assemble import assemble, plan_for
from dlx.tasks import Asked, Batch, Examined, Generative, build_task
from dlx.tasks.shortening import ladder

spec = importlib.util.spec_from_file_location("driving", Path(__file__).parents[1] / "engine" / "driving.py")
driving = importlib.util.module_from_spec(spec)
spec.loader.exec_module(driving)
train, drain, assert_same_bits = driving.train, driving.drain, driving.assert_same_bits

COUNT = 8
"""Tokens: four special ones and four words."""
MODELS = {
    "encoder-decoder": {"kind": "encoder-decoder", "embedding": 4, "hidden": 4, "bidirectional": False, "dropout": 0.1},
    "transformer": {"kind": "transformer", "width": 4, "heads": 2, "layers": 1, "feed_forward": 4, "dropout": 0.1},
}


def experiment(kind: str = "encoder-decoder", **sections: dict[str, Any]) -> Experiment:
    """A small one, with what `sections` change."""
    tree = {
        "task": {"kind": "seq2seq", "translate": False},
        "data": {"kind": "digits"},  # its settings only
        "model": MODELS.get(kind, {"kind": kind}),
        "optimizer": {"kind": "adam", "lr": 0.01},
        "train": {"batch_size": 8, "duration": "2 epochs"},
    }
    return load_experiment({name: {**section, **sections.get(name, {})} for name, section in tree.items()})


def reversals(examples: int, longest: int, seed: int = 0) -> Part:
    """Sequences of words and END, and the same words from the last to the first."""
    random = np.random.Generator(np.random.Philox(seed))
    inputs, targets = (np.zeros((examples, longest + 1), np.int32) for _ in range(2))
    for row, length in enumerate(random.integers(1, longest + 1, examples)):
        words = random.integers(4, COUNT, length)
        inputs[row, : length + 1] = [*words, END]
        targets[row, : length + 1] = [*words[::-1], END]
    return Part(inputs, targets)


def dataset(part: Part) -> Dataset:
    """All parts the same: what is to be shown is not how well a network generalizes."""
    length = part.inputs.shape[1]
    spec = Spec(
        (length,), "tokens", COUNT, (), (), ("target",), (), (), len(part), tokens=COUNT, target_length=part.targets.shape[1]
    )
    scaling = Scaling(np.zeros(length, np.float32), np.ones(length, np.float32))
    order = Order("lengths", (part.inputs != 0).sum(1))
    return Dataset("reversals", spec, part, part, part, scaling, {}, (), order)


PART = reversals(24, 4)
DATA = dataset(PART)


def begun(config, data=DATA):
    """A task, a fresh learner, and all training examples as one batch."""
    task, _ = plan_for(config, data)
    batch = Batch(jnp.asarray(data.train.inputs), jnp.asarray(data.train.targets), jnp.ones(len(data.train)))
    return task, jax.jit(lambda: task.init(config, batch, jax.random.key(0)))(), batch


def logits_of(task, config, learner, batch):
    """In float64, given the reference: (b, t, v)."""

    def found(model):
        before = jnp.concatenate([jnp.full_like(batch.targets[:, :1], BEGIN), batch.targets[:, :-1]], 1)
        return model.decode(model.encode(batch.inputs), before)

    key = jax.random.key(0)
    run = jax.jit(lambda: task.network.using(config, learner.params, learner.rest, key, found, train=False)[0])
    return np.asarray(run(), np.float64)


def test_loss_and_metrics_are_those_of_numpy():
    config = experiment(task={"label_smoothing": 0.2})
    task, learner, batch = begun(config)
    weight = jnp.ones(24).at[5].set(0)
    batch = batch._replace(weight=weight)
    logits = logits_of(task, config, learner, batch)
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    there = (PART.targets != 0) & (np.asarray(weight) > 0)[:, None]
    right = np.eye(COUNT)[PART.targets]
    nats = -(right * logs).sum(-1)[there]
    smoothed = -((0.8 * right + 0.2 / COUNT) * logs).sum(-1)[there]

    evaluate = jax.jit(lambda batch: task.evaluate(config, learner, batch, jax.random.key(0))[1])
    metrics = task.metrics({name: np.asarray(s, np.float64) for name, s in evaluate(batch).items()})
    assert metrics["loss"] == pytest.approx(nats.mean(), rel=1e-5)
    assert metrics["perplexity"] == pytest.approx(np.exp(nats.mean()), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx((logits.argmax(-1) == PART.targets)[there].mean(), rel=1e-6)

    objective = jax.jit(lambda: task.objective(config, learner.params, learner.rest, batch, jax.random.key(0), train=False))
    value, (_, sums) = objective()
    assert value == pytest.approx(smoothed.mean(), rel=1e-5)
    assert sums["loss"] == pytest.approx(nats.sum(), rel=1e-5)


def test_training_learns_to_reverse_and_writes_it_without_the_reference():
    config = experiment(
        task={"translate": True},
        model={"dropout": 0.0, "hidden": 24, "embedding": 8, "bidirectional": True},
        optimizer={"lr": 0.02},
        train={"duration": "60 epochs"},
    )
    task, learner, batch = begun(config)
    size = jnp.arange(180)

    @jax.jit
    def trained(learner):
        def step(learner, number):
            return task.update(config, learner, batch, jax.random.fold_in(jax.random.key(0), number))

        learner, _ = jax.lax.scan(step, learner, size)
        written = task.predict(config, learner, batch.inputs, jax.random.key(0))
        return task.evaluate(config, learner, batch, jax.random.key(0))[1], written

    sums, written = trained(learner)
    metrics = task.metrics({name: np.asarray(s, np.float64) for name, s in sums.items()})
    assert metrics["exact"] > 0.9
    assert metrics["bleu"] > 90
    assert (np.asarray(written) == PART.targets).all(1).mean() == pytest.approx(metrics["exact"])


@pytest.mark.parametrize("model", MODELS)
def test_lengths_of_batches_change_no_number(model, monkeypatch):
    """Loss, gradient and scores in the shortest of several lengths are those in the full one; and a switch is really there."""
    config = experiment(model, model={"dropout": 0.0}, task={"label_smoothing": 0.1})
    short = reversals(8, 3, seed=1)
    wide = Part(*(np.pad(x, ((0, 0), (0, 30))) for x in (short.inputs, short.targets)))
    task, learner, batch = begun(config, dataset(wide))
    assert task.lengths == (16, 23, 34)

    def all_numbers():
        def loss(params):
            return task.objective(config, params, learner.rest, batch, jax.random.key(1))[0]

        return jax.value_and_grad(loss)(learner.params), task.evaluate(config, learner, batch, jax.random.key(0))[1]

    assert "cond" in str(jax.make_jaxpr(all_numbers)())
    found = jax.jit(all_numbers)()
    monkeypatch.setattr(task, "lengths", task.lengths[-1:])
    expected = jax.jit(all_numbers)()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected)


def test_the_ladder_of_lengths():
    assert ladder(46) == (14, 21, 31, 46)
    assert ladder(12) == (12,)
    assert ladder(20) == (14, 20)


def test_own_guesses_come_with_the_steps_and_only_in_training():
    config = experiment(task={"teacher_forcing": 0.0}, train={"duration": "1 epochs"}, model={"dropout": 0.0})
    task, learner, batch = begun(config)
    plain, _, _ = begun(experiment(task={}, train={"duration": "1 epochs"}, model={"dropout": 0.0}))

    @jax.jit
    def loss(steps):
        return task.loss(config, learner.params, learner.rest, steps, batch, jax.random.key(2), train=True)

    given = jax.jit(lambda: plain.objective(config, learner.params, learner.rest, batch, jax.random.key(2)))()[0]
    assert int(learner.memory) == 0
    assert loss(0)[0] == pytest.approx(float(given), rel=1e-6)  # at first the reference alone
    late, (_, memory, _) = loss(task.total_steps)
    assert int(memory) == task.total_steps + 1
    assert abs(float(late - given)) > 1e-4
    still = jax.jit(lambda: task.loss(config, learner.params, learner.rest, 9, batch, jax.random.key(2), train=False))()
    assert still[0] == pytest.approx(float(given), rel=1e-6)
    assert still[1][1] == 9


def test_a_training_that_stops_in_the_middle_of_an_epoch_goes_on_as_if_it_had_not():
    """The steps taken, on which the share of own guesses depends, are carried on."""
    config = experiment(task={"teacher_forcing": 0.5}, train={"duration": "7 steps", "evaluate_every": "4 steps"})
    assembly = assemble([config], DATA)
    assert assembly.plan.steps_per_epoch == 3
    _, whole = train(assembly.cohort)
    _, stopped = train(assembly.cohort, lambda event: Decision(stop=isinstance(event, Evaluated)))
    assert int(stopped.lanes.learner.memory[0]) == 4
    _, resumed = drain(assembly.cohort.train(stopped))
    assert int(resumed.lanes.learner.memory[0]) == 7
    assert_same_bits(resumed.lanes.learner, whole.lanes.learner)


@pytest.mark.parametrize("model", MODELS)
def test_lanes_learn_as_they_would_alone(model):
    """Three steps with batches of other lengths in each lane, of which the longest decides for all. Dropout is off, as its
    masks are drawn for that length.
    """
    long = dataset(reversals(24, 20, seed=4))
    config = experiment(model, model={"dropout": 0.0})
    task, learner, _ = begun(config, long)
    assert len(task.lengths) == 2

    def steps(rows, key):
        def step(number, learner):
            batch = Batch(jnp.asarray(long.train.inputs)[rows], jnp.asarray(long.train.targets)[rows], jnp.ones(8))
            return task.update(config, learner, batch, jax.random.fold_in(key, number))[0]

        return jax.lax.fori_loop(0, 3, step, learner).params

    shortest_first = np.argsort((long.train.inputs != 0).sum(1)).reshape(3, 8)
    keys = jax.random.split(jax.random.key(5), 3)
    together, alone = jax.jit(jax.vmap(steps))(shortest_first, keys), jax.jit(steps)
    for number in range(3):
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a[number], b, rtol=1e-3, atol=1e-5),  # noqa: B023
            together,
            alone(shortest_first[number], keys[number]),
        )


def test_beams_write_what_is_at_least_as_likely():
    config = experiment(task={"beams": 3, "length_penalty": 0.0})
    task, learner, batch = begun(config)
    greedy = build_task(experiment().task, DATA.spec, 10, 5)

    def nats(written):
        _, sums = jax.jit(lambda t: greedy.examine(experiment(), learner, batch._replace(targets=t), jax.random.key(0)))(
            written
        )
        return np.asarray(sums["loss"])

    by_beams, by_greed = (
        jax.jit(lambda t=t: t.predict(config, learner, batch.inputs, jax.random.key(0)))() for t in (task, greedy)
    )
    assert by_beams.shape == by_greed.shape == PART.targets.shape
    assert nats(by_beams).mean() <= nats(by_greed).mean() + 1e-5


def test_sequences_are_drawn_of_a_prompt():
    config = experiment()
    task, learner, _ = begun(config)
    assert isinstance(task, Generative)

    def ask(**asked):
        wanted = Asked(**{"count": 5, "prompt": np.int32([4, 5]), **asked})
        return np.asarray(jax.jit(lambda: task.generate(config, learner, jax.random.key(3), wanted))())

    drawn, best = ask(), ask(count=1, temperature=0)
    assert drawn.shape == (5, 5)
    assert best.shape == (1, 5)
    assert len({tuple(row) for row in drawn.tolist()}) > 1
    assert ask(length=3).shape == (5, 3)
    np.testing.assert_array_equal(ask(top_k=1), np.repeat(best, 5, 0))
    with pytest.raises(UsageError, match="give it a prompt"):
        task.generate(config, learner, jax.random.key(0), Asked(count=1))
    for open_ in ({"count": 1, "top_k": 2}, {"count": 2}):
        with pytest.raises(UsageError, match="nothing is drawn, and there is one best sequence: set --temperature above 0"):
            ask(temperature=0, **open_)
    with pytest.raises(UsageError, match="the prompt has 5 tokens, and this network has learned to read at most 4"):
        ask(prompt=np.int32([4, 5, 6, 7, 4]))
    assert ask(prompt=np.int32([4, 5, 6, 7, END])).shape == (5, 5)


def test_a_network_of_ones_own_that_writes_nothing_is_refused(tmp_path):
    (tmp_path / "net.py").write_text(
        "from flax import nnx\n\n\ndef net(i, o, *, rngs):\n    return nnx.Embed(o, 4, rngs=rngs)\n"
    )
    config = experiment("python", model={"kind": "python", "target": f"{tmp_path}/net.py:net"})
    with pytest.raises(ConfigError, match=r"the methods of dlx.models.translator.Translator, and .*net.py:net is none"):
        begun(config)


def test_a_transformer_is_no_classifier():
    spec = Spec((5,), "class", 3, ("a", "b", "c"), (8, 8, 8), ("kind",), (), (), 24, tokens=COUNT)
    config = experiment("transformer").model_copy(update={"task": None})
    task = build_task(load_experiment({"task": {"kind": "classify"}, "data": {"kind": "digits"}}).task, spec, 10, 5)
    batch = Batch(jnp.asarray(PART.inputs), jnp.zeros(24, jnp.int32), jnp.ones(24))
    with pytest.raises(ConfigError, match=r"this data needs \(24, 3\): one row per example"):
        task.init(config, batch, jax.random.key(0))


def test_every_example_tells_its_part_of_the_sums():
    config = experiment(task={"translate": True})
    task, learner, batch = begun(config)
    assert isinstance(task, Examined)
    _, each = jax.jit(lambda: task.examine(config, learner, batch, jax.random.key(0)))()
    assert {len(values) for values in each.values()} == {24}
    assert each["tokens"].tolist() == (PART.targets != 0).sum(1).tolist()
