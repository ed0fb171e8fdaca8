"""What is random in an evaluation differs from batch to batch, and not with how many batches are scored in one call."""

from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from dlx.engine.state import DeviceData
from dlx.engine.step import evaluate_lane
from dlx.tasks import LearnerState


class Drawing:
    """As much of a task as is looked at: a batch's score is a random number."""

    def memory(self, config: Any, batch_size: int) -> tuple[()]:
        del config, batch_size
        return ()

    def evaluate(self, config: Any, state: Any, batch: Any, key: jax.Array) -> tuple[tuple[()], dict[str, jax.Array]]:
        del config, state, batch
        return (), {"drawn": jax.random.uniform(key)}


def scores(first: int, batches: int) -> list[float]:
    """Of so many batches of two examples, from that one of the part on."""
    config = cast("Any", SimpleNamespace(train=SimpleNamespace(seed=3)))
    learner = LearnerState((), (), (), ())
    data = DeviceData(jnp.ones((2, 1)), jnp.zeros(2), jnp.zeros(1), jnp.ones(1))
    rows, counts = jnp.tile(jnp.arange(2), (batches, 1)), jnp.ones((batches, 2), bool)
    found = evaluate_lane(cast("Any", Drawing()), config, learner, data, rows, counts, jnp.int32(first), jnp.int32(batches))
    return np.asarray(found["drawn"]).tolist()


def test_each_batch_has_a_key_of_its_own_by_its_number_in_the_part() -> None:
    whole = scores(0, 4)
    assert len(set(whole)) == 4
    assert scores(0, 3) + scores(3, 1) == whole
