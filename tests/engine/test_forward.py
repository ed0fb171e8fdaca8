"""The compiled forward pass: the network as training evaluates it, whatever the number of rows."""

import jax
import numpy as np
import pytest

from dlx import engine
from dlx.engine.checkpoint import read_weights
from dlx.engine.cohort import save_lanes
from dlx.errors import DataError
from tests.engine.driving import train


@pytest.fixture(scope="module")
def trained(experiment, cohort):
    """A lane with batch normalization and dropout, trained to its end."""
    assembly = cohort([experiment()])
    _, progress = train(assembly.cohort)
    return assembly, progress


@pytest.fixture(scope="module")
def forward(trained, rows):
    assembly, progress = trained
    learner = jax.tree.map(lambda x: np.asarray(x)[0], progress.best)
    return engine.Forward(assembly.task, assembly.config, learner, rows.scaling, rows.test.inputs[0])


def test_what_it_says_is_what_training_scored(trained, forward, rows):
    assembly, progress = trained
    right = float(np.mean(forward(rows.test.inputs).argmax(1) == rows.test.targets))
    sums = assembly.program.evaluate(progress.best, "test")[0]
    assert right == pytest.approx(assembly.task.metrics(sums)["accuracy"])


@pytest.mark.parametrize("count", [0, 1, 33])
def test_rows_do_not_depend_on_how_many_there_are(forward, rows, count):
    whole = forward(rows.test.inputs)
    np.testing.assert_array_equal(forward(rows.test.inputs[:count]), whole[:count])


def test_more_rows_than_a_call_holds_are_several_calls(forward, rows):
    many = np.tile(rows.test.inputs, (1 + forward.size // 33 * 2, 1))
    assert len(many) > 2 * forward.size
    np.testing.assert_array_equal(forward(many), np.tile(forward(rows.test.inputs), (len(many) // 33, 1)))


def test_a_stream_keeps_its_order_and_its_chunks(forward, rows):
    chunks = [rows.test.inputs[:5], rows.test.inputs[:0], rows.test.inputs[5:20], rows.test.inputs[20:]]
    said = list(forward.stream(iter(chunks)))
    assert [len(each) for each in said] == [5, 0, 15, 13]
    np.testing.assert_array_equal(np.concatenate(said), forward(rows.test.inputs))


def test_a_network_for_images_takes_bytes(experiment, cohort, images):
    assembly = cohort([experiment("model={kind: convnet, channels: [4], dense: [8]}")], images)
    _, progress = train(assembly.cohort)
    learner = jax.tree.map(lambda x: np.asarray(x)[0], progress.best)
    forward = engine.Forward(assembly.task, assembly.config, learner, images.scaling, images.test.inputs[0])
    right = float(np.mean(forward(images.test.inputs).argmax(1) == images.test.targets))
    sums = assembly.program.evaluate(progress.best, "test")[0]
    assert right == pytest.approx(assembly.task.metrics(sums)["accuracy"])


def test_the_best_weights_are_read_without_a_program(trained, rows, tmp_path):
    assembly, progress = trained
    save_lanes(progress, [tmp_path])
    template = engine.weights_template(assembly.task, assembly.config, (4,), rows.test.targets[0])
    weights = read_weights(tmp_path, template)
    for read, best in zip(jax.tree.leaves(weights.tree), jax.tree.leaves(progress.best), strict=True):
        np.testing.assert_array_equal(read, np.asarray(best)[0])
    assert weights.step == progress.best_step[0]
    wider = assembly.config.model_copy(update={"model": assembly.config.model.model_copy(update={"hidden": (9,)})})
    with pytest.raises(DataError, match="of another architecture"):
        read_weights(tmp_path, engine.weights_template(assembly.task, wider, (4,), rows.test.targets[0]))
