"""Contrastive divergence: its update, what it comes to with more steps, chains that go on, and runs of it."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from dlx.cli.app import main
from dlx.config import Experiment, load_experiment, parse_override
from dlx.data import Spec
from dlx.diagnose.gradcheck import gradcheck
from dlx.diagnose.gradients import GradCheck
from dlx.errors import ConfigError, UsageError
from dlx.evaluation.gallery.boltzmann import pictures
from dlx.events import Evaluated, Finished, Measured
from dlx.experiment.assemble import assemble, load_data, resolve
from dlx.experiment.restore import restore
from dlx.experiment.run import resume, start
from dlx.store import curves, find_run, open_store
from dlx.tasks import Asked, Batch, LearnerState, build_task
from dlx.tasks.boltzmann import ContrastiveDivergence

SPEC = Spec((4,), "none", 0, (), (), (), (), (), 64)
TINY = {
    "task": {"kind": "boltzmann"},
    "data": {"kind": "digits", "standardize": False, "limit": 200},
    "model": {"kind": "rbm", "hidden": 6},
    "optimizer": {"kind": "sgd", "lr": 0.05, "momentum": 0.5},
    "train": {"duration": "40 steps", "evaluate_every": "10 steps", "checkpoint_every": "7 steps", "batch_size": 10},
}


def experiment(*overrides: str) -> Experiment:
    return load_experiment(TINY, [parse_override(text) for text in overrides])


def machine(config: Experiment, inputs: np.ndarray, scale: float) -> tuple[ContrastiveDivergence, LearnerState, Batch]:
    """A task on rows, a fresh learner with weights of deviation `scale`, biases too, and the batch."""
    batch = Batch(jnp.asarray(inputs, jnp.float32), jnp.zeros((len(inputs), 0)), jnp.ones(len(inputs)))
    task = build_task(config.task, SPEC, 10, 10)
    state = task.init(config, batch, jax.random.key(0))
    random = np.random.Generator(np.random.Philox(5))
    params = jax.tree.map(lambda p: jnp.asarray(random.normal(size=p.shape) * scale, jnp.float32), state.params)
    return task, state._replace(params=params), batch


def gradient(task: ContrastiveDivergence, config: Experiment, state: LearnerState, batch: Batch) -> dict:
    """Of the objective, in the parameters."""
    objective = jax.jit(jax.grad(lambda params: task.objective(config, params, state.rest, batch, jax.random.key(1))[0]))
    return objective(state.params)


def leaves(tree) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The kernel (visible, hidden), the hidden biases and the visible ones, float64."""
    layer = tree["hidden"][0]
    return tuple(np.asarray(x, np.float64) for x in (layer["linear"]["kernel"], layer["linear"]["bias"], layer["visible"]))


def test_a_step_is_the_update_of_scikit_learns_rbm():
    """From the chains the same visible units are drawn as there, and the update is lr * (<v h>_data - <v h>_chains), in NumPy."""
    v = np.random.Generator(np.random.Philox(1)).integers(0, 2, (16, 4))
    config = experiment("task.persistent=true", "optimizer.momentum=0", "optimizer.lr=0.1")
    task, state, batch = machine(config, v, 1.0)
    key = jax.random.key(3)
    after, _ = task.update(config, state, batch, key)
    w, c, b = leaves(state.params)
    # The chains begin with all hidden units off, so that visible units are drawn by their biases alone.
    _, chain = jax.random.split(jax.random.split(key, 3)[2])
    drawing, _ = jax.random.split(jax.random.split(chain, 1)[0])
    negative = (np.asarray(jax.random.uniform(drawing, (16, 4))) < expit(b)).astype(float)
    up, again = expit(v @ w + c), expit(negative @ w + c)
    expected = (
        w + 0.1 / 16 * (v.T @ up - negative.T @ again),
        c + 0.1 * (up - again).mean(0),
        b + 0.1 * (v - negative).mean(0),
    )
    for found, wanted in zip(leaves(after.params), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert after.memory.shape == (16, 6)
    assert set(np.unique(after.memory)) <= {0.0, 1.0}


def test_with_more_gibbs_steps_the_gradient_comes_to_that_of_the_likelihood():
    """40,000 examples of four patterns: the exact gradient of -log p by adding up all states, and CD-1, CD-10 and CD-100."""
    v = np.tile([[1, 1, 0, 0], [1, 0, 0, 1], [0, 1, 1, 0], [1, 1, 1, 1]], (10_000, 1))
    off = {}
    for steps in (1, 10, 100):
        config = experiment("model.hidden=3", f"task.steps={steps}")
        task, state, batch = machine(config, v, 1.0)
        w, c, b = leaves(state.params)
        all_v, h = (np.array(list(itertools.product([0.0, 1.0], repeat=n))) for n in (4, 3))
        joint = np.exp(all_v @ w @ h.T + h @ c + (all_v @ b)[:, None])
        joint /= joint.sum()
        up = expit(v @ w + c)
        exact = np.concatenate(
            [
                (all_v.T @ joint @ h - v.T @ up / len(v)).ravel(),
                joint.sum(0) @ h - up.mean(0),
                joint.sum(1) @ all_v - v.mean(0),
            ]
        )
        found = np.concatenate([leaf.ravel() for leaf in leaves(gradient(task, config, state, batch))])
        off[steps] = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert off[1] > 2 * off[10], off
    assert off[100] < 0.05, "what is left is that of 40,000 random samples"
    assert off[1] > 0.1, "CD-1 is another direction than that of the likelihood"


def test_training_raises_the_exact_likelihood_of_a_tiny_machine():
    """Bars in 2x2 pixels: rows and columns, each on with one half. `examine` adds up all states of six hidden units."""
    v = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]] * 16)
    config = experiment("optimizer.lr=0.2", "optimizer.momentum=0")
    task, state, batch = machine(config, v, 0.01)

    def likelihood(state: LearnerState) -> jax.Array:
        fresh = state._replace(memory=task.memory(config, len(v)))
        return task.examine(config, fresh, batch, jax.random.key(0))[1]["log_likelihood"].mean()

    def step(number: jax.Array, state: LearnerState) -> LearnerState:
        return task.update(config, state, batch, jax.random.fold_in(jax.random.key(0), number))[0]

    before, trained = jax.jit(lambda s: (likelihood(s), likelihood(jax.lax.fori_loop(0, 3000, step, s))))(state)
    assert float(before) == pytest.approx(4 * np.log(0.5), abs=0.05), "at first all 16 states are alike"
    assert np.log(1 / 4) - 0.1 < float(trained) < np.log(1 / 4), "at best each of the four patterns has a quarter"


def test_metrics_are_means_over_the_examples_that_count():
    """Batches of 8, the last one padded, as one batch of all: of binary data free energies and reconstructions are the same."""
    v = np.random.Generator(np.random.Philox(2)).integers(0, 2, (13, 4))
    config = experiment()
    task, state, _ = machine(config, v, 1.0)
    rows, weight = np.r_[np.arange(13), [0, 0, 0]], np.r_[np.ones(13), np.zeros(3)]
    total: dict[str, np.ndarray] = {}
    for begin in (0, 8):
        chosen = slice(begin, begin + 8)
        batch = Batch(jnp.asarray(v[rows[chosen]], jnp.float32), jnp.zeros((8, 0)), jnp.asarray(weight[chosen]))
        _, sums = task.evaluate(config, state, batch, jax.random.key(0))
        total = {name: total.get(name, 0) + np.asarray(value, np.float64) for name, value in sums.items()}
    found = task.metrics(total)
    w, c, b = leaves(state.params)
    assert found["free_energy"] == pytest.approx((-v @ b - np.logaddexp(0, v @ w + c).sum(1)).mean(), rel=1e-5)
    again = expit(expit(v @ w + c) @ w.T + b)
    assert found["reconstruction"] == pytest.approx(np.square(again - v).mean(), rel=1e-5)


def test_a_target_of_sparsity_moves_how_often_units_are_on():
    v = np.random.Generator(np.random.Philox(2)).integers(0, 2, (32, 4))
    plain = experiment()
    sparse = experiment("task.sparsity_target=0.1", "task.sparsity_cost=2")
    task, state, batch = machine(plain, v, 1.0)
    key = jax.random.key(0)
    values = [task.objective(config, state.params, state.rest, batch, key)[0] for config in (plain, sparse)]
    w, c, _ = leaves(state.params)
    expected = 2 * np.square(expit(v @ w + c).mean(0) - 0.1).sum()
    assert float(values[1] - values[0]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "overrides",
    [
        ("task.persistent=true",),
        ("task.steps=3", "task.sparsity_target=0.1", "optimizer.l2=0.1"),
        ("task.binarize=sample",),
        ("model.visible=gaussian", "data.standardize=true"),
    ],
    ids=lambda overrides: overrides[0],
)
def test_the_gradient_is_that_of_the_loss_with_samples_held_still(overrides):
    *_, found = drained(gradcheck(experiment(*overrides), GradCheck(batch=4, directions=2)))
    assert found.ok
    assert all(mode.estimators for mode in found.modes), "the samples are held still"
    assert {leaf.reading.verdict for leaf in found.modes[0].leaves if leaf.name != "inputs"} == {"right"}


def drained(events) -> list:
    """All events of a generator, and what it returns."""
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as end:
            return [*seen, end.value]


@pytest.fixture
def store(tmp_path):
    with open_store(str(tmp_path / "results" / "dlx.db")) as opened:
        yield opened


def test_a_run_with_chains_that_was_stopped_equals_one_that_was_not(store):
    """In the middle of an epoch and between two checkpoints, bit for bit."""
    config = experiment("task.persistent=true", "task.binarize=sample")
    *_, whole = start(config, store)
    events = start(config, store)
    for _ in range(2):
        next(event for event in events if isinstance(event, Measured))
    events.close()
    stopped = find_run(store, "latest")
    assert 0 < stopped.step < 40
    *_, resumed = resume(stopped, store)
    assert isinstance(resumed, Finished)
    assert resumed.metrics == whole.metrics
    assert curves(store, resumed.run) == curves(store, whole.run)


def test_lanes_agree_with_single_runs():
    """Four rates and seeds in one program, each against the same experiment alone."""
    configs = [experiment("task.persistent=true", f"optimizer.lr={0.01 * (i + 1)}", f"train.seed={i}") for i in range(4)]
    dataset = load_data(configs[0])
    configs = [resolve(config, dataset) for config in configs]

    def trained(configs: list[Experiment]) -> list:
        cohort = assemble(configs, dataset).cohort
        progress = drained(cohort.start())[-1]
        *events, _ = drained(cohort.train(progress))
        return [event.metrics for event in events if isinstance(event, Evaluated)][-1]

    together = trained(configs)
    for index in (0, 3):
        (alone,) = trained([configs[index]])
        assert together[index].keys() == alone.keys()
        for name, value in alone.items():
            assert together[index][name] == pytest.approx(value, rel=2e-3, abs=2e-3), name


def test_the_pseudo_likelihood_rises(store):
    config = experiment("train.duration=200 steps", "model.hidden=32", "task.persistent=true")
    values = [
        event.metrics[0]["validation/pseudo_likelihood"]
        for event in start(config, store)
        if isinstance(event, Evaluated) and event.split == "validation"
    ]
    assert values[0] > 64 * np.log(0.5), "better than coins"
    assert values[-1] > values[0] + 1, values


def test_the_report_shows_filters_and_chains(store):
    *_, finished = start(experiment("model={kind: dbn, hidden: [6, 5]}", "task={kind: belief}"), store)
    trained = restore(find_run(store, finished.run), store)
    part = trained.dataset().test
    filters, chains = pictures(trained, part)
    assert filters.grid.shape == (6, 1, 8, 8, 1)
    assert chains.grid.shape == (6, 8, 8, 8, 1)
    assert chains.row_names[:3] == ("data", "reconstruction", "after 1 Gibbs step")
    np.testing.assert_allclose(chains.grid[0], part.inputs[:8] / 16, atol=1e-6)
    largest = np.abs(filters.grid - 0.5).max((2, 3, 4))
    np.testing.assert_allclose(largest, 0.5, rtol=1e-6, err_msg="each filter reaches black or white, and zero is grey")


@pytest.mark.parametrize("steps", [0, 5])
def test_samples_are_images_and_the_same_for_the_same_key(steps):
    config = experiment()
    task = build_task(config.task, Spec((4, 4, 1), "none", 0, (), (), (), (), (), 64), 10, 10)
    batch = Batch(jnp.zeros((3, 4, 4, 1)), jnp.zeros((3, 0)), jnp.ones(3))
    state = task.init(config, batch, jax.random.key(0))
    make = jax.jit(lambda key: task.generate(config, state, key, Asked(3, steps=steps)))
    one, same, other = make(jax.random.key(1)), make(jax.random.key(1)), make(jax.random.key(2))
    assert one.shape == ((3, 5, 4, 4, 1) if steps else (3, 4, 4, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert float(one.min()) >= 0
    assert float(one.max()) <= 1
    with pytest.raises(UsageError, match="learns no classes"):
        task.generate(config, state, jax.random.key(1), Asked(1, classes=np.zeros(1, np.int32)))


def test_rows_cannot_be_sampled_as_images():
    config = experiment()
    task, state, _ = machine(config, np.zeros((2, 4)), 1.0)
    with pytest.raises(UsageError, match="arrays of shape"):
        task.generate(config, state, jax.random.key(1), Asked(1))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["data.standardize=true"], "data.standardize=false"),
        (["data.augment=[{kind: noise}]"], "data.augment has noise"),
        (["model={kind: mlp}"], "model.kind=rbm"),
        (["task={kind: classify}"], "task.kind=boltzmann"),
        (["model={kind: dbn}"], "task.kind=belief|model.kind=rbm"),
        (["task.steps=0"], "task.steps"),
    ],
)
def test_what_does_not_fit_is_told_in_a_sentence(overrides, words):
    with pytest.raises(ConfigError, match=words):
        experiment(*overrides)


def test_an_optimizer_that_searches_is_refused():
    config = experiment("optimizer={kind: lbfgs}", "train.batch_size=full")
    with pytest.raises(ConfigError, match="such as sgd"):
        machine(config, np.zeros((2, 4)), 1.0)


def test_a_machine_without_chains_remembers_nothing():
    assert ContrastiveDivergence(SPEC, 10, 10).memory(experiment(), 5) == ()


def test_an_examples_pseudo_likelihood_is_the_same_in_a_batch_of_any_size():
    v = np.random.Generator(np.random.Philox(4)).integers(0, 2, (9, 4))
    config = experiment()
    task, state, _ = machine(config, v, 1.0)

    def each(size: int, key: int = 0) -> np.ndarray:
        batch = Batch(jnp.asarray(v[:size], jnp.float32), jnp.zeros((size, 0)), jnp.ones(size))
        return np.asarray(task.examine(config, state, batch, jax.random.key(key))[1]["pseudo_likelihood"])

    np.testing.assert_allclose(each(5), each(9)[:5], rtol=1e-6)
    assert np.abs(each(9) - each(9, key=1)).max() > 1e-6, "each batch, by its key, is judged at other visible units"


def test_the_commands_know_machines(tmp_path, monkeypatch, capsys):
    """A range test, a sweep of two trials, and a run that is judged, as a shell would start them."""
    recipe = tmp_path / "rbm.yaml"
    recipe.write_text(
        "task: {kind: boltzmann}\ndata: {kind: digits, standardize: false, limit: 200}\nmodel: {kind: rbm, hidden: 6}\n"
        "optimizer: {kind: sgd, lr: 0.05}\ntrain: {duration: 20 steps, batch_size: 10}\n"
    )
    for command in (
        ["lr-find", str(recipe), "--json"],
        ["sweep", str(recipe), "optimizer.lr=tag(log, interval(0.01, 0.1))", "--trials", "2", "--json"],
        ["train", str(recipe), "--name", "machine", "-q"],
        ["evaluate", "machine", "--json"],
    ):
        monkeypatch.setattr("sys.argv", ["dlx", *command])
        with pytest.raises(SystemExit) as end:
            main()
        shown = capsys.readouterr()
        assert not end.value.code, shown.err
    assert "log_likelihood" in shown.out, "of six hidden units all states are added up"
