"""Deep belief networks: Boltzmann machines learned one on top of the other."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from dlx.config import Experiment, energy_model
from dlx.config.energy_task import Belief
from dlx.config.schedule import Ramp, ReduceOnPlateau, ScheduleFree
from dlx.data import Spec
from dlx.data.augment import augment
from dlx.errors import ConfigError
from dlx.models.boltzmann import Dbn
from dlx.optim import Schedule, build_momentum, build_schedule, penalty
from dlx.tasks.boltzmann import check_asked, check_optimizer, contrast, fantasies, held_still, judged, seen, visible
from dlx.tasks.descent import Descent
from dlx.tasks.network import Network, in_features
from dlx.tasks.state import Asked, Batch, Examined, Key, LearnerState, Sums, summed

R = TypeVar("R")


class GreedyPretraining(Descent, Examined):
    """Layer l of L learns in the l-th of L equal shares of the steps, by contrastive divergence on what the layers below make of the data.

    How many steps were taken is kept among the statistics, because what is judged is the layer that learns. Each layer begins with a
    fresh optimizer and has the whole schedule.
    """

    def __init__(self, spec: Spec, total_steps: int, steps_per_epoch: int) -> None:
        super().__init__(Network(in_features(spec), spec.outputs), total_steps, steps_per_epoch)
        self.shape = spec.input_shape
        # Scores of different layers cannot be compared: the best weights are those of the last step.
        self.scores = {"layers": True, "pseudo_likelihood": True, "reconstruction": False, "free_energy": False, "loss": False}
        self.running_scores = ("layers", "reconstruction", "free_energy", "loss")

    def check(self, config: Experiment, params: Any, rest: Any, example: Batch, key: Key) -> None:
        """Raises `ConfigError` for too few steps, for averages that would mix layers, and for what waits for scores to improve."""
        del params, rest, example, key
        check_optimizer(config)
        if self._share(config) < 1:
            raise ConfigError(
                f"train.duration is {self.total_steps} steps and the network has {_depth(config)} layers, which learn one after "
                "the other: make it longer"
            )
        if config.averaging.kind != "none" or isinstance(config.schedule, ScheduleFree):
            raise ConfigError(
                "task.kind=belief learns one layer after the other, and averaged weights would lag behind: "
                "set averaging.kind=none, and another schedule than schedule-free"
            )
        if isinstance(config.schedule, ReduceOnPlateau) or config.train.patience is not None:
            raise ConfigError(
                "task.kind=belief has scores of one layer after the other, which cannot tell by each other that nothing improves: "
                "set another schedule than reduce-on-plateau, and train.patience=null"
            )

    def update(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[LearnerState, Sums]:
        """One gradient step of the layer whose turn it is; the others stay as they are."""
        taken = state.rest["steps"]
        learns = self._learns(config, taken)
        optimizer = self._optimizer(config)
        opt = _chosen(taken == learns * self._share(config), optimizer.init(state.params), state.opt)
        objective = jax.value_and_grad(lambda params: self._loss(config, params, state, batch, key, train=True), has_aux=True)
        (value, (_, memory, sums)), gradient = objective(state.params)
        updates, opt = optimizer.update(gradient, opt, state.params, value=value, grad=gradient)
        moved = optax.apply_updates(state.params, updates)
        rest = jax.tree.map(lambda steps: steps + 1, state.rest)  # all the statistics that there are
        return LearnerState(_moved(learns, moved, state.params), rest, opt, state.average, memory), sums

    def loss(
        self, config: Experiment, params: Any, rest: Any, memory: Any, batch: Batch, key: Key, *, train: bool
    ) -> tuple[jax.Array, tuple[Any, Any, Sums]]:
        """The mean free energy of what the learning layer sees, less that of its samples, and the penalties."""
        task = _task(config)
        noise, binary, sampling = jax.random.split(key, 3)
        v = visible(task.binarize, augment(config.data.augment, batch.inputs, noise) if train else batch.inputs, binary)
        still = jax.lax.stop_gradient(params)

        def of_layer(number: int) -> tuple[jax.Array, Sums]:
            def sampled(model: Dbn) -> tuple[jax.Array, jax.Array]:
                begin, chain = jax.random.split(sampling)
                inputs, layer = model.below(v, number), model.hidden[number]
                return inputs, layer.gibbs(layer.draw_hidden(inputs, begin), chain, task.steps)[0]

            def divergence(model: Dbn) -> tuple[jax.Array, Sums]:
                return contrast(model.hidden[number], inputs, samples, batch.weight), seen(model.hidden[number], inputs)

            inputs, samples = self._on(config, still, rest, key, sampled)
            inputs = held_still(inputs) if number else v
            return self._on(config, params, rest, key, divergence)

        value, each = self._of_learning(config, rest["steps"], of_layer)
        sums = summed({**each, "layers": self._layers(config, rest, batch)}, batch.weight)
        return value + penalty(config.optimizer, params), (rest, memory, sums)

    def examine(self, config: Experiment, state: LearnerState, batch: Batch, key: Key) -> tuple[Any, Sums]:
        """What each example adds to the sums (b,), judged by the layer that learned last, on what the layers below make of the example."""
        binary, scoring = jax.random.split(key)
        v = visible(_task(config).binarize, batch.inputs, binary)

        def of_layer(number: int) -> Sums:
            def scored(model: Dbn) -> Sums:
                return judged(model.hidden[number], model.below(v, number), scoring)

            return self._on(config, state.params, state.rest, key, scored)

        # After the last step of a layer it is that layer which is judged, not the next one, which has learned nothing.
        each = self._of_learning(config, jnp.maximum(state.rest["steps"] - 1, 0), of_layer)
        return state.memory, {**each, "layers": self._layers(config, state.rest, batch)}

    def predict(self, config: Experiment, state: LearnerState, inputs: jax.Array, key: Key) -> jax.Array:
        """The reconstruction (b, ...) of inputs (b, ...) from the top layer's probabilities."""
        return self._on(config, state.params, state.rest, key, lambda model: model(inputs))

    def rates(self, config: Experiment, step: jax.Array) -> Sums:
        """The rates at a step, counted from the first one of the layer that then learns."""
        return super().rates(config, step - self._learns(config, step) * self._share(config))

    def metrics(self, sums: Mapping[str, np.ndarray]) -> dict[str, float]:
        """Means over the examples: `layers` that have learned, with the part of the one that does, and that one's scores as in `boltzmann`."""
        return {name: float(value) / float(sums["count"]) for name, value in sums.items() if name != "count"}

    def generate(self, config: Experiment, state: LearnerState, key: Key, asked: Asked) -> jax.Array:
        """Images as a machine's, by Gibbs chains of the top layer and the expectations of those below it."""
        shape = check_asked(asked, self.shape)

        def make(model: Dbn) -> jax.Array:
            depth = len(model.hidden)
            return fantasies(model.hidden[-1], lambda h: model.down(h, depth), key, asked, shape)

        return self._on(config, state.params, state.rest, key, make)

    def _loss(
        self, config: Experiment, params: Any, state: LearnerState, batch: Batch, key: Key, *, train: bool
    ) -> tuple[jax.Array, tuple[Any, Any, Sums]]:
        return self.loss(config, params, state.rest, state.memory, batch, key, train=train)

    def _share(self, config: Experiment) -> int:
        """Steps of each layer; the last one has those that are left over, too.

        In a range test the first layer has them all: losses of different layers say nothing of rates.
        """
        return self.total_steps if isinstance(config.schedule, Ramp) else self.total_steps // _depth(config)

    def _learns(self, config: Experiment, step: jax.Array) -> jax.Array:
        """The number of the layer that learns in a step."""
        return jnp.minimum(step // self._share(config), _depth(config) - 1)

    def _layers(self, config: Experiment, rest: Any, batch: Batch) -> jax.Array:
        """How many layers have learned, with the part of the one that does, for each example (b,)."""
        learns, share = self._learns(config, rest["steps"]), self._share(config)
        last = self.total_steps - (_depth(config) - 1) * share
        steps = jnp.where(learns == _depth(config) - 1, last, share)
        layers = learns + (rest["steps"] - learns * share).astype(jnp.float32) / steps
        return jnp.broadcast_to(layers, batch.weight.shape)

    def _of_learning(self, config: Experiment, step: jax.Array, of_layer: Callable[[int], R]) -> R:
        """What there is of the layer that learns in a step. Only that one is computed, where lanes do not share the work."""
        branches = [lambda _, number=number: of_layer(number) for number in range(_depth(config))]
        return jax.lax.switch(self._learns(config, step), branches, ())

    def _on(self, config: Experiment, params: Any, rest: Any, key: Key, use: Callable[[Any], Any]) -> Any:
        """What `use` makes of the network with these parameters. Nothing of it depends on the mode."""
        return self.network.using(config, params, rest, key, use, train=False)[0]

    def _schedule(self, config: Experiment) -> Schedule:
        """Of one layer's share."""
        return build_schedule(config.schedule, config.optimizer.lr, self._share(config), self.steps_per_epoch)

    def _momentum(self, config: Experiment) -> Schedule | None:
        return build_momentum(config.schedule, self._share(config))


def _moved(learns: jax.Array, new: Any, old: Any) -> Any:
    """The new parameters of the layer that learns; decay, and momentum it might have, would move the others too."""

    def each(path: tuple[Any, ...], new: jax.Array, old: jax.Array) -> jax.Array:
        _, number, *_ = jax.tree_util.keystr(path, simple=True, separator="/").split("/")  # hidden/0/linear/kernel
        return jnp.where(learns == int(number), new, old)

    return jax.tree_util.tree_map_with_path(each, new, old)


def _chosen(condition: jax.Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _depth(config: Experiment) -> int:
    assert isinstance(config.model, energy_model.Dbn)
    return len(config.model.hidden)


def _task(config: Experiment) -> Belief:
    assert isinstance(config.task, Belief)
    return config.task
