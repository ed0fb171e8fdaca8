"""The perceptron's rule against a loop in NumPy, and its convergence against the bound that is proven of it."""

from collections.abc import Generator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlx.config import Experiment, load_experiment, parse_override
from dlx.data import Spec
from dlx.data.dataset import Dataset, Part, Scaling
from dlx.diagnose.gradcheck import check_gradients
from dlx.diagnose.gradients import GradCheck
from dlx.events import Evaluated, Finished, Notice
from dlx.experiment.assemble import assemble, resolve
from dlx.experiment.run import start
from dlx.store import open_store
from dlx.tasks import Batch, build_task

CLASSES, COLUMNS = 3, 2
SPEC = Spec((COLUMNS,), "class", CLASSES, ("a", "b", "c"), (40, 40, 40), ("y",), (), (), 120)


def experiment(*overrides: str) -> Experiment:
    tree = {
        "task": {"kind": "perceptron"},
        "data": {"kind": "digits", "limit": 200},
        "model": {"kind": "linear", "init": "zeros"},
        "optimizer": {"kind": "sgd", "lr": 1.0},
        "train": {"duration": "3 epochs", "batch_size": 1},
    }
    return load_experiment(tree, [parse_override(text) for text in overrides])


def separable() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points (120, 2) around three corners, their classes, and rows with biases (3, 3) that separate them."""
    random = np.random.Generator(np.random.Philox(3))
    y = np.arange(120) % CLASSES
    corners = np.array([[0, 2], [-2, -1], [2, -1]], float)
    x = corners[y] + random.uniform(-0.8, 0.8, (120, COLUMNS))
    return x, y, np.c_[corners, np.zeros(CLASSES)]


def rule(x: np.ndarray, y: np.ndarray, rate: float, epochs: int) -> tuple[np.ndarray, int]:
    """Rosenblatt's rule in the order of the rows: the weights with biases (3, 3), and the number of errors."""
    w, errors = np.zeros((CLASSES, COLUMNS + 1)), 0
    for row, right in list(zip(np.c_[x, np.ones(len(x))], y, strict=True)) * epochs:
        guess = int(np.argmax(w @ row))
        if guess != right:
            w[right] += rate * row
            w[guess] -= rate * row
            errors += 1
    return w, errors


def learned(x: np.ndarray, y: np.ndarray, rate: float, epochs: int) -> tuple[np.ndarray, float]:
    """The same by the task's steps on batches of one."""
    config = experiment(f"optimizer.lr={rate}")
    task = build_task(config.task, SPEC, 1000, 120)
    inputs, targets, weight = jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.int32), jnp.ones(1)
    first = Batch(inputs[:1], targets[:1], weight)

    def step(number: jax.Array, carry: tuple) -> tuple:
        row = number % len(x)
        batch = Batch(inputs[row][None], targets[row][None], weight)
        state, sums = task.update(config, carry[0], batch, jax.random.key(0))
        return state, carry[1] + sums["errors"]

    begin = (task.init(config, first, jax.random.key(0)), jnp.zeros(()))
    state, errors = jax.jit(lambda carry: jax.lax.fori_loop(0, epochs * len(x), step, carry))(begin)
    layer = state.params["output"]
    return np.c_[np.asarray(layer["kernel"]).T, np.asarray(layer["bias"])], float(errors)


@pytest.mark.parametrize("rate", [1.0, 0.25])
def test_the_updates_are_those_of_a_loop_in_numpy(rate):
    random = np.random.Generator(np.random.Philox(4))
    x, y = (
        random.integers(-4, 5, (60, COLUMNS)).astype(float),
        random.integers(0, CLASSES, 60),
    )  # exact in float32, not separable
    w, errors = rule(x, y, rate, 2)
    found, made = learned(x, y, rate, 2)
    np.testing.assert_array_equal(found, w)
    assert made == errors > 20


def test_on_separable_data_it_makes_no_more_errors_than_the_bound():
    """Novikoff 1962 by Kesler's construction: each error is one of a perceptron of two classes on +x in one row and -x in another."""
    x, y, separator = separable()
    rows = np.c_[x, np.ones(len(x))]
    unit = separator / np.linalg.norm(separator)
    scores = rows @ unit.T
    others = np.where(np.eye(CLASSES, dtype=bool)[y], -np.inf, scores)
    margin = (scores[np.arange(len(y)), y] - others.max(1)).min()
    assert margin > 0
    bound = 2 * np.square(rows).sum(1).max() / margin**2
    _, after_few = learned(x, y, 1.0, 20)
    _, after_many = learned(x, y, 1.0, 40)
    assert 0 < after_few <= bound
    assert after_many == after_few, "it has converged: no error in the last 20 epochs"


def data(x: np.ndarray, y: np.ndarray) -> Dataset:
    part = Part(x.astype(np.float32), y.astype(np.int32))
    scaling = Scaling(np.zeros(COLUMNS, np.float32), np.ones(COLUMNS, np.float32))
    return Dataset("points", SPEC, part, part.take(np.arange(40)), part.take(np.arange(0)), scaling, {}, ())


def returned(generator: Generator[Any, Any, Any]) -> Any:
    """What a generator returns in the end."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def evaluations(dataset: Dataset, configs: list[Experiment]) -> tuple[list[Evaluated], object]:
    """The evaluations of a cohort, and its task."""
    assembly = assemble([resolve(config, dataset) for config in configs], dataset)
    events = list(assembly.cohort.train(returned(assembly.cohort.start())))
    return [event for event in events if isinstance(event, Evaluated)], assembly.task


def test_it_says_when_it_has_converged_and_when_it_has_not():
    """By the errors of a whole epoch, if the last evaluation was as long after the one before."""
    x, y, _ = separable()
    _, task = evaluations(data(x, y), [experiment()])
    assert task.conclusion({"train/errors": 0.0, "train/epochs": 1.0}, 20).startswith("converged")
    assert task.conclusion({"train/errors": 0.0, "train/epochs": 0.5}, 20.5).startswith(
        "no error in the last 0.5 epochs, too few"
    )
    assert task.conclusion({"train/errors": 3.0, "train/epochs": 1.0}, 20).startswith(
        "not separable by this rule within 20 epochs: 3 errors"
    )


def told_by_a_run(duration):
    """What a run on separable data says, of so long a training."""
    x, y, _ = separable()
    dataset = data(x, y)
    cohort = assemble([resolve(experiment(f"train.duration={duration}"), dataset)], dataset).cohort
    return [event.text for event in cohort.train(returned(cohort.start())) if isinstance(event, Notice)]


def test_a_run_on_separable_data_tells_that_it_has_converged():
    """After two epochs without an error, once."""
    told = told_by_a_run("12 epochs")
    assert len(told) == 1
    assert "converged" in told[0]


def test_a_run_that_ends_between_evaluations_claims_nothing():
    told = told_by_a_run("1206 steps")
    assert len(told) == 1
    assert told[0].startswith("no error in the last 0.05 epochs, too few to tell")


def test_lanes_of_different_rates_make_the_same_errors():
    """From zeros the rate only scales the weights: powers of two, so that not a bit differs."""
    x, y, _ = separable()
    events, _ = evaluations(data(x, y), [experiment(f"optimizer.lr={rate}") for rate in (1.0, 0.5, 2.0, 4.0)])
    for event in events:
        errors = {lane["validation/errors"] for lane in event.metrics}
        assert len(errors) == 1
    assert events[-1].metrics[0]["validation/accuracy"] == 1


def test_the_gradient_is_that_of_the_criterion():
    """With random weights, where no two scores are equal."""
    x, y, _ = separable()
    dataset = data(x, y)
    found = returned(
        check_gradients(resolve(experiment("model.init=lecun", "train.batch_size=8"), dataset), dataset, GradCheck())
    )
    assert found.ok
    assert {leaf.reading.verdict for leaf in found.modes[0].leaves} == {"right"}


def test_it_is_judged_as_a_classifier(tmp_path):
    with open_store(str(tmp_path / "results" / "dlx.db")) as store:
        *_, finished = start(experiment(), store)
        assert isinstance(finished, Finished)
        assert finished.metrics["test/accuracy"] == pytest.approx(1 - finished.metrics["test/errors"] / 270)
        assert finished.metrics["test/accuracy"] > 0.7
