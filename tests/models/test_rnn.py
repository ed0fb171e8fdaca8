"""Recurrent networks: wiring, padding, state carried on, the linear skip, lanes, gradients; and that they learn what needs a memory."""

from collections.abc import Generator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from dlx import engine
from dlx.config import Experiment, load_experiment
from dlx.config.overrides import parse_override
from dlx.config.sequence_model import Rnn as RnnConfig
from dlx.data import Dataset, Order, Part, Scaling, Spec
from dlx.diagnose.gradcheck import GradCheck, check_gradients
from dlx.errors import ConfigError
from dlx.experiment.assemble import assemble, resolve
from dlx.models import Features, Tokens, build, call, set_mode
from dlx.models.rnn import Rnn

TEXT = Tokens(9, 11)
LENGTHS = np.array([9, 1, 4, 0, 6])
TOKENS = np.where(np.arange(9) < LENGTHS[:, None], np.random.default_rng(0).integers(1, 11, (5, 9)), 0).astype(np.int32)
SERIES = np.random.default_rng(1).standard_normal((4, 6, 2)).astype(np.float32)


def network(in_features: Features, *, seed: int = 0, **keys: Any) -> Rnn:
    """In evaluation mode, with three outputs and no parameter at zero."""
    model = build(RnnConfig.model_validate({"hidden": 4, "embedding": 5, **keys}), in_features, 3, nnx.Rngs(seed))
    assert isinstance(model, Rnn)
    random = np.random.default_rng(seed)
    nnx.update(model, jax.tree.map(lambda p: p + 0.3 * random.standard_normal(p.shape), nnx.state(model, nnx.Param)))
    set_mode(model, train=False)
    return model


def said(model: Rnn, x: np.ndarray) -> np.ndarray:
    """Its logits, compiled: operation by operation each is compiled for itself, which takes longer."""
    graph, state = nnx.split(model)
    return np.asarray(jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, x), np.float32)


@pytest.mark.parametrize(
    ("in_features", "keys", "parameters"),
    [
        ((6, 2), {"cell": "simple"}, 4 * (2 + 4 + 1) + (4 * 3 + 3)),
        ((6, 2), {"cell": "lstm", "layers": 2}, 4 * 4 * (2 + 4 + 1) + 4 * 4 * (4 + 4 + 1) + (4 * 3 + 3)),
        ((6, 2), {"cell": "gru", "bidirectional": True}, 2 * (3 * 4 * (2 + 4 + 1) + 4) + (8 * 3 + 3)),
        ((6, 2), {"cell": "simple", "skip": 5, "dense": [7]}, 4 * (2 + 4 + 1) + 5 * 2 * 3 + (4 * 7 + 7) + (7 * 3 + 3)),
        (TEXT, {"cell": "simple"}, 11 * 5 + 4 * (5 + 4 + 1) + (4 * 3 + 3)),
        ((6, 8, 3), {"cell": "simple"}, 4 * (24 + 4 + 1) + (4 * 3 + 3)),
    ],
    ids=["simple", "stacked lstm", "gru of both directions", "skip and dense", "text", "image"],
)
def test_parameters_are_those_counted_by_hand(in_features: tuple[int, ...], keys: dict[str, Any], parameters: int) -> None:
    model = network(in_features, **keys)
    assert sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))) == parameters
    shape = (2, 9) if isinstance(in_features, Tokens) else (2, *in_features)
    assert jax.eval_shape(model, jnp.ones(shape)).shape == (2, 3)


@pytest.mark.parametrize("pool", ["last", "mean", "max"])
def test_two_layers_of_both_directions_are_a_loop_in_numpy(pool: str) -> None:
    """Each text for itself and without its padding: h' = tanh(W x + U h + b), forwards and backwards, twice; then the pool."""
    model = network(TEXT, cell="simple", layers=2, bidirectional=True, pool=pool)
    assert model.embedding is not None
    assert model.output.bias is not None
    table = np.asarray(model.embedding.embedding[...], np.float64)

    def run(layer: Any, x: np.ndarray) -> np.ndarray:
        kernel, recurrent, bias = (np.asarray(p[...], np.float64) for p in (layer.kernel, layer.recurrent_kernel, layer.bias))
        state, states = np.zeros(4), []
        for step in x:
            state = np.tanh(step @ kernel + state @ recurrent + bias)
            states.append(state)
        return np.array(states).reshape(-1, 4)

    found = []
    for row, length in enumerate(LENGTHS.tolist()):
        x = table[TOKENS[row, :length]]
        ahead, back = np.zeros((0, 4)), np.zeros((0, 4))
        for layer in model.layers:
            ahead, back = run(layer.forward, x), run(layer.backward, x[::-1])[::-1]
            x = np.concatenate([ahead, back], axis=1)
        if not length:
            pooled = np.zeros(8)
        elif pool == "last":
            pooled = np.concatenate([ahead[-1], back[0]])  # each direction where it ends
        else:
            pooled = x.mean(0) if pool == "mean" else x.max(0)
        found.append(pooled @ np.asarray(model.output.kernel[...]) + np.asarray(model.output.bias[...]))
    np.testing.assert_allclose(said(model, TOKENS), np.array(found), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(("cell", "pool"), [("simple", "mean"), ("lstm", "last"), ("gru", "max")])
def test_more_padding_changes_nothing(cell: str, pool: str) -> None:
    model = network(TEXT, cell=cell, layers=2, bidirectional=True, pool=pool)
    longer = np.pad(TOKENS, ((0, 0), (0, 30)))
    np.testing.assert_allclose(said(model, longer), said(model, TOKENS), rtol=1e-5, atol=1e-6)


def test_tokens_may_come_as_floats() -> None:
    """As a gradient check hands them over."""
    model = network(TEXT)
    np.testing.assert_array_equal(said(model, TOKENS.astype(np.float32)), said(model, TOKENS))


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_state_carried_on_is_one_long_pass(cell: str) -> None:
    graph, state = nnx.split(network((6, 2), cell=cell, layers=2))

    @jax.jit
    def passes(state: Any, x: jax.Array) -> Any:
        model = nnx.merge(graph, state)
        whole, _ = model.states(x, model.begin(4))
        first, carry = model.states(x[:, :2], model.begin(4))
        second, _ = model.states(x[:, 2:], carry)
        return whole, jnp.concatenate([first, second], 1), model.outputs(whole), model(x)

    whole, parts, outputs, last = passes(state, jnp.asarray(SERIES))
    assert whole.shape == (4, 6, 4)
    np.testing.assert_allclose(parts, whole, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(outputs[:, -1], last, rtol=1e-6, atol=1e-7)


def test_whoever_reads_backwards_carries_no_state() -> None:
    model = network((6, 2), bidirectional=True)
    with pytest.raises(ConfigError, match=r"model\.bidirectional"):
        model.begin(4)


def test_whoever_pools_says_nothing_of_each_step() -> None:
    with pytest.raises(ConfigError, match=r"model\.pool=mean makes one vector"):
        network((6, 2), pool="mean").begin(4)


def test_the_skip_is_a_linear_map_of_the_last_steps() -> None:
    """And in a new network it is zero."""
    without, fresh = (build(RnnConfig(hidden=4, skip=skip), (6, 2), 3, nnx.Rngs(0)) for skip in (0, 2))
    assert isinstance(fresh, Rnn)
    assert fresh.skip is not None
    x = jnp.asarray(SERIES)
    recurrent = call(without, x, train=False)
    np.testing.assert_array_equal(fresh(x), recurrent)
    kernel = np.random.default_rng(3).standard_normal((4, 3)).astype(np.float32)
    fresh.skip.kernel[...] = jnp.asarray(kernel)
    np.testing.assert_allclose(fresh(x), recurrent + SERIES[:, -2:].reshape(4, 4) @ kernel, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("in_features", "keys", "said"),
    [
        (5, {}, "needs series"),
        ((6, 2), {"skip": 7}, "series of 6 steps"),
        (TEXT, {"skip": 1}, "the data has tokens"),
    ],
)
def test_what_does_not_fit_the_data_is_told(in_features: Features, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        network(in_features, **keys)


def test_bfloat16_stays_bfloat16_and_near() -> None:
    model = network(TEXT, layers=2, bidirectional=True, pool="mean")
    exact = said(model, TOKENS)
    nnx.update(model, jax.tree.map(lambda p: p.astype(jnp.bfloat16), nnx.state(model, nnx.Param)))
    assert jax.eval_shape(model, jnp.asarray(TOKENS)).dtype == jnp.bfloat16
    np.testing.assert_allclose(said(model, TOKENS), exact, atol=0.1, rtol=0.05)


# ------------------------------------------------------------------------------------------------------- as an experiment


def which_came_first(examples: int = 256) -> Dataset:
    """Texts of 3 to 8 tokens in which 2 and 3 occur once each: the class is which of them comes first."""
    random = np.random.default_rng(5)
    lengths = random.integers(3, 9, examples)
    inputs = np.zeros((examples, 8), np.int32)
    for row, length in zip(inputs, lengths, strict=True):
        row[:length] = random.integers(4, 9, length)
        row[np.sort(random.choice(length, 2, replace=False))] = random.permutation([2, 3])
    targets = np.array([int(np.argmax(row == 2) > np.argmax(row == 3)) for row in inputs], np.int32)
    counts = tuple(np.bincount(targets[:192]).tolist())
    spec = Spec((8,), "class", 2, ("two", "three"), counts, ("first",), (), (), 192, tokens=9)
    part = Part(inputs, targets)
    train, rest = part.take(np.arange(192)), part.take(np.arange(192, examples))
    scaling = Scaling(np.zeros(8, np.float32), np.ones(8, np.float32))
    order = Order("lengths", lengths[:192].astype(np.int32))
    return Dataset("first", spec, train, rest, rest, scaling, {}, (), order)


DATA = which_came_first()


def experiment(*overrides: str) -> Experiment:
    """The data is given beside it: `digits` only stands for its common settings."""
    tree = {
        "task": {"kind": "classify"},
        "data": {"kind": "digits"},
        "model": {"kind": "rnn", "cell": "gru", "hidden": 12, "embedding": 6, "dropout": 0.1, "embedding_dropout": 0.1},
        "optimizer": {"kind": "adam", "lr": 0.02, "clip_norm": 1.0},
        "train": {"duration": "25 epochs", "batch_size": 32, "evaluate_every": "25 epochs"},
    }
    return resolve(load_experiment(tree, [parse_override(word) for word in overrides]), DATA)


def end_of(events: Generator[Any, Any, Any]) -> Any:
    """What a generator returns in the end."""
    while True:
        try:
            events.send(None)
        except StopIteration as stop:
            return stop.value


def trained(configs: list[Experiment]) -> Any:
    engine.configure()
    cohort = assemble(configs, DATA).cohort
    return end_of(cohort.train(end_of(cohort.start())))


def test_lanes_learn_what_needs_a_memory_and_agree_with_single_runs() -> None:
    configs = [experiment(f"optimizer.lr={lr}", f"train.seed={seed}") for lr, seed in ((0.02, 0), (0.03, 1))]
    together = trained(configs)
    assert together.best_value.min() > 0.95, "accuracy; a bag of tokens has 0.5"
    alone = trained(configs[1:])
    pairs = zip(jax.tree.leaves(together.lanes.learner.params), jax.tree.leaves(alone.lanes.learner.params), strict=True)
    for many, one in pairs:
        np.testing.assert_allclose(many[1], one[0], rtol=1e-3, atol=1e-4)


def test_gradients_with_padding_are_right() -> None:
    """`dlx gradcheck all` has each cell without padding."""
    config = experiment("model.cell=gru", "model.bidirectional=true", "model.pool=mean", "model.hidden=2", "model.embedding=2")
    engine.configure()
    found = end_of(check_gradients(config, DATA, GradCheck()))
    assert found.ok
    assert not any(mode.count("wrong") + mode.count("undecidable") for mode in found.modes)
