"""Language models: the loss of tokens, a state that is carried on, and what is written."""

from collections.abc import Generator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlx.cli.app import main
from dlx.config import Experiment, load_experiment
from dlx.data import Dataset, Order, Part, Scaling, Spec
from dlx.data.text_sequences import windows
from dlx.data.tokens import BEGIN, PAD
from dlx.diagnose.gradcheck import GradCheck, check_gradients
from dlx.errors import ConfigError, UsageError
from dlx.evaluation.gallery import language
from dlx.evaluation.gallery.pictures import Lines, Texts
from dlx.events import Evaluated, Finished, Measured
from dlx.experiment.assemble import assemble, load_data, plan_for, resolve
from dlx.experiment.restore import restore
from dlx.experiment.run import resume, start
from dlx.store import curves, find_run, open_store
from dlx.tasks import Asked, Batch, LearnerState, build_task
from dlx.tasks.language import LanguageModelling, Reading

COUNT = 7
"""Different tokens: PAD, UNKNOWN, BEGIN, END and three letters."""


def experiment(**sections: dict[str, Any]) -> Experiment:
    return load_experiment(
        {
            "task": {"kind": "language", **sections.get("task", {})},
            "data": {"kind": "digits"},  # its settings only
            "model": {"kind": "rnn", "hidden": 6, "embedding": 4, **sections.get("model", {})},
            "optimizer": {"kind": "adam", "lr": 0.02, **sections.get("optimizer", {})},
            "train": {"batch_size": 4, "duration": "2 epochs", **sections.get("train", {})},
        }
    )


def dataset(stream: np.ndarray, length: int) -> Dataset:
    """A stream of tokens in windows; all parts the same."""
    part = Part(*windows(stream.astype(np.int32), length))
    spec = Spec((length,), "tokens", COUNT, (), (), ("text",), (), (), len(part), tokens=COUNT, target_length=length)
    scaling = Scaling(np.zeros(length, np.float32), np.ones(length, np.float32))
    return Dataset("letters", spec, part, part, part, scaling, {}, (), Order("streams"))


def letters(count: int, seed: int = 0) -> np.ndarray:
    return np.random.Generator(np.random.Philox(seed)).integers(4, COUNT, count)


DATA = dataset(letters(4 * 3 * 5 + 1), 5)
"""Twelve windows of five: four streams of three."""


def begun(config: Experiment, data: Dataset = DATA) -> tuple[LanguageModelling, LearnerState]:
    """A task and a learner with random weights."""
    task, plan = plan_for(config, data)
    assert isinstance(task, LanguageModelling)
    shapes = jax.eval_shape(lambda: task.init(config, batches(data, plan.batch_size)[0], jax.random.key(0)))
    random = np.random.Generator(np.random.Philox(1))
    params = jax.tree.map(lambda p: jnp.asarray(random.normal(size=p.shape) * 0.7, jnp.float32), shapes.params)
    return task, LearnerState(params, {}, (), memory=task.memory(config, plan.batch_size))


def batches(data: Dataset, streams: int) -> list[Batch]:
    """Of so many streams side by side, in order."""
    part, ones = data.train, jnp.ones(streams)
    order = np.arange(len(part)).reshape(streams, -1).T
    return [Batch(jnp.asarray(part.inputs[rows]), jnp.asarray(part.targets[rows]), ones) for rows in order]


def losses(task: LanguageModelling, config: Experiment, learner: LearnerState, *texts: list[Batch]) -> list[list[float]]:
    """The training loss of each batch of each text with these weights, the state carried from one batch to the next."""

    @jax.jit
    def loss(memory: Any, batch: Batch) -> tuple[jax.Array, Any]:
        value, (_, memory, _) = task.loss(config, learner.params, learner.rest, memory, batch, jax.random.key(1), train=True)
        return value, memory

    found = []
    for text in texts:
        memory, values = learner.memory, []
        for batch in text:
            value, memory = loss(memory, batch)
            values.append(float(value))
        found.append(values)
    return found


def scored(task: LanguageModelling, config: Experiment, learner: LearnerState, read: list[Batch]) -> dict[str, float]:
    """The metrics of all batches, read on from one to the next as the engine does."""
    evaluate = jax.jit(lambda memory, batch: task.evaluate(config, learner._replace(memory=memory), batch, jax.random.key(1)))
    memory, total = task.memory(config, len(read[0].inputs)), dict[str, np.ndarray]()
    for batch in read:
        memory, sums = evaluate(memory, batch)
        total = {name: total.get(name, 0.0) + np.asarray(value, np.float64) for name, value in sums.items()}
    return task.metrics(total)


def by_hand(learner: LearnerState, text: np.ndarray) -> np.ndarray:
    """Logits (t, v) of an LSTM that reads tokens (t,), in float64: PyTorch's formulas."""
    tree = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), learner.params)
    layer, output = tree["layers"][0]["forward"], tree["output"]
    memory = state = np.zeros(6)
    found = []
    for token in text:
        x = tree["embedding"]["embedding"][token]
        i, f, z, o = np.split(x @ layer["kernel"] + state @ layer["recurrent_kernel"] + layer["bias"], 4)
        memory = memory / (1 + np.exp(-f)) + np.tanh(z) / (1 + np.exp(-i))
        state = np.tanh(memory) / (1 + np.exp(-o))
        found.append(state @ output["kernel"] + output["bias"])
    return np.array(found)


def test_the_metrics_are_those_of_an_lstm_in_numpy_that_reads_each_stream_at_once():
    """Four streams of 15 letters, read in three windows each; the last one has lost its last two, which are padding."""
    data = dataset(letters(4 * 3 * 5 - 1), 5)
    config = experiment()
    task, learner = begun(config, data)
    found = scored(task, config, learner, batches(data, 4))
    nats, right = [], []
    for inputs, targets in zip(data.train.inputs.reshape(4, 15), data.train.targets.reshape(4, 15), strict=True):
        logits = by_hand(learner, inputs)
        logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        there = targets != PAD
        nats.extend(-logs[np.arange(15), targets][there])
        right.extend((logits.argmax(-1) == targets)[there])
    assert len(nats) == 58
    loss = np.mean(nats)
    wanted = {"loss": loss, "perplexity": np.exp(loss), "bits": loss / np.log(2), "accuracy": np.mean(right)}
    assert found == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_windows_with_a_state_that_is_carried_on_are_one_long_pass(cell):
    """The losses of three windows of five, and of one of fifteen, with the same weights."""
    config = experiment(model={"cell": cell, "layers": 2})
    task, learner = begun(config)
    (short,) = losses(task, config, learner, batches(DATA, 4))
    whole = dataset(letters(4 * 3 * 5 + 1), 15)
    task, learner = begun(config, whole)
    ((long,),) = losses(task, config, learner, batches(whole, 4))
    assert np.mean(short) == pytest.approx(long, rel=2e-6)


def test_scoring_does_not_depend_on_how_streams_are_put_together():
    """Four streams side by side, or each for itself; in windows of five or of three."""
    config = experiment()
    task, learner = begun(config)
    together = scored(task, config, learner, batches(DATA, 4))
    alone = []
    for place in range(4):
        rows = slice(3 * place, 3 * place + 3)
        stream = Dataset(**{**vars(DATA), "train": Part(DATA.train.inputs[rows], DATA.train.targets[rows])})
        alone.append(scored(task, config, learner, batches(stream, 1)))
    assert together["loss"] == pytest.approx(np.mean([each["loss"] for each in alone]), rel=1e-6)
    cut = dataset(letters(4 * 3 * 5 + 1), 3)
    other, _ = begun(config, cut)
    assert scored(other, config, learner, batches(cut, 4)) == pytest.approx(together, rel=1e-5)


def test_streams_begin_anew_with_each_epoch():
    """Three steps an epoch: the fourth loss is the first one again, though no other is."""
    config = experiment()
    task, learner = begun(config)
    (found,) = losses(task, config, learner, [*batches(DATA, 4), *batches(DATA, 4)])
    assert found[3:] == found[:3]
    assert len(set(found)) == 3


def test_without_carrying_each_window_is_read_by_itself():
    config = experiment(task={"carry": False})
    task, learner = begun(config)
    assert learner.memory == ()
    one, two, three = batches(DATA, 4)
    forwards, backwards = losses(task, config, learner, [one, two, three], [three, two, one])
    assert forwards == backwards[::-1]
    carrying, same = begun(experiment())
    (carried,) = losses(carrying, experiment(), same, [one, two, three])
    assert carried[0] == pytest.approx(forwards[0], rel=1e-6)
    assert np.abs(np.subtract(carried[1:], forwards[1:])).min() > 1e-3


def test_a_network_that_knows_nothing_is_as_perplexed_as_it_has_tokens():
    """Padding counts nothing: with it, too, the perplexity is the size of the vocabulary."""
    data = dataset(letters(4 * 3 * 5 - 3), 5)
    config = experiment()
    task, learner = begun(config, data)
    silent = learner.params | {"output": jax.tree.map(jnp.zeros_like, learner.params["output"])}
    found = scored(task, config, learner._replace(params=silent), batches(data, 4))
    assert found["perplexity"] == pytest.approx(COUNT, rel=1e-6)
    assert found["bits"] == pytest.approx(np.log2(COUNT), rel=1e-6)


def test_only_a_state_that_is_carried_on_tells_what_was_read_before_the_window():
    """Of a text a b b a a b b a two letters tell the next one. In windows of three only the first place has one alone: a coin."""
    data, found = dataset(np.tile([4, 5, 5, 4], 120)[: 4 * 3 * 39 + 1], 3), {}
    for carry in (True, False):
        config = resolve(experiment(task={"carry": carry}, optimizer={"lr": 0.03}, train={"duration": "5 epochs"}), data)
        cohort = assemble([config], data).cohort
        progress = drained(cohort.start())[-1]
        *events, _ = drained(cohort.train(progress))
        found[carry] = [e.metrics[0]["validation/loss"] for e in events if isinstance(e, Evaluated) and e.split == "validation"]
    assert found[False][-1] == pytest.approx(np.log(2) / 3, abs=0.03)
    assert found[True][-1] < 0.1, found


def test_the_gradient_is_right():
    config = experiment(model={"dropout": 0.2}, optimizer={"l2": 0.1})
    data = dataset(letters(4 * 3 * 5 - 1), 5)
    *_, found = drained(check_gradients(resolve(config, data), data, GradCheck()))
    assert found.ok, found
    assert not any(mode.count("wrong") + mode.count("undecidable") for mode in found.modes)


def drained(steps: Generator[Any, None, Any]) -> list[Any]:
    """All events and, last, what the generator returned."""
    events = []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as end:
            return [*events, end.value]


def test_lanes_agree_with_single_runs():
    """Two rates, dropout rates and seeds in one program, the second against the same experiment alone."""
    configs = [experiment(optimizer={"lr": 0.01 + 0.02 * i}, train={"seed": i}, model={"dropout": 0.1 * i}) for i in range(2)]
    configs = [resolve(config, DATA) for config in configs]

    def trained(configs: list[Experiment]) -> list[dict[str, float]]:
        cohort = assemble(configs, DATA).cohort
        progress = drained(cohort.start())[-1]
        *events, _ = drained(cohort.train(progress))
        return [event.metrics for event in events if isinstance(event, Evaluated)][-1]

    _, second = trained(configs)
    (alone,) = trained(configs[1:])
    assert second == pytest.approx(alone, rel=1e-4)


@pytest.fixture
def text(tmp_path):
    """A file of 4,000 characters in which each depends on the two before it."""
    random = np.random.Generator(np.random.Philox(3))
    path = tmp_path / "text.txt"
    path.write_text("".join(random.choice(["abc ", "acb ", "bca\n"], 1000)))
    return path


def of_file(path, **train: Any) -> Experiment:
    return load_experiment(
        {
            "task": {"kind": "language"},
            "data": {"kind": "text", "path": str(path), "length": 8, "validation": 0.1, "test": 0.1},
            "model": {"kind": "rnn", "hidden": 8, "embedding": 4, "dropout": 0.2},
            "optimizer": {"kind": "adam", "lr": 0.02},
            "train": {"batch_size": 8, "duration": "40 steps", "evaluate_every": "20 steps", **train},
        }
    )


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/dlx.db") as opened:
        yield opened


def test_a_run_that_was_stopped_in_the_middle_of_an_epoch_reads_on_where_it_was(text, store):
    """The state is in the checkpoint: every number is that of the run that was not stopped."""
    config = of_file(text, checkpoint_every="7 steps")
    *_, whole = start(config, store)
    assert isinstance(whole, Finished)
    events = start(config, store)
    for _ in range(2):
        next(event for event in events if isinstance(event, Measured))
    events.close()
    stopped = find_run(store, "latest")
    assert stopped.step % stopped.steps_per_epoch > 0, "in the middle of an epoch"
    *_, resumed = resume(stopped, store)
    assert isinstance(resumed, Finished)
    assert resumed.metrics == whole.metrics
    assert curves(store, resumed.run) == curves(store, whole.run)


def test_the_pictures_show_samples_and_what_context_is_worth(text, store):
    *_, done = start(of_file(text, duration="150 steps"), store)
    trained = restore(find_run(store, done.run), store)
    data = load_data(trained.config)
    samples, context = language.pictures(trained, data.train)
    assert isinstance(samples, Texts)
    assert [row[0] for row in samples.rows] == ["0.5", "0.8", "1"]
    assert all(row[1].startswith(text.read_text()[:8]) for row in samples.rows)
    assert isinstance(context, Lines)
    assert context.x[-1] > 16, "further than a window of 8"
    assert context.series["loss"][0] > context.series["loss"][-1] + 0.1, "who has read more knows more"


# ------------------------------------------------------------------------------------------------------------------ writing


def test_the_likeliest_text_is_that_of_the_lstm_in_numpy():
    config = experiment()
    task, learner = begun(config)
    prompt = np.array([4, 6, 5], np.int32)
    asked = Asked(2, temperature=0, prompt=prompt, length=12)
    found = np.asarray(jax.jit(lambda: task.generate(config, learner, jax.random.key(0), asked))())
    text = list(prompt)
    while len(text) < 12:
        logits = by_hand(learner, np.array(text))[-1]
        logits[[PAD, BEGIN]] = -np.inf
        text.append(int(logits.argmax()))
    assert found.tolist() == [text, text]
    few = Asked(2, temperature=3.0, top_k=1, prompt=prompt, length=12)
    drawn = jax.jit(lambda: task.generate(config, learner, jax.random.key(0), few))()
    np.testing.assert_array_equal(drawn, found)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_tokens_are_drawn_by_their_probability(temperature):
    """Of a network whose last layer sees nothing, all tokens are drawn from its biases."""
    config = experiment()
    task, learner = begun(config)
    bias = jnp.asarray(np.log([9, 0.1, 9, 0.1, 0.2, 0.2, 0.4]), jnp.float32)  # PAD and BEGIN are likely, and never written
    silent = {"kernel": jnp.zeros_like(learner.params["output"]["kernel"]), "bias": bias}
    learner = learner._replace(params=learner.params | {"output": silent})
    asked = Asked(500, temperature=temperature, length=20)
    found = np.asarray(jax.jit(lambda key: task.generate(config, learner, key, asked))(jax.random.key(5)))
    assert found.shape == (500, 20)
    share = np.bincount(found.ravel(), minlength=COUNT) / found.size
    wanted = np.array([0, 0.1, 0, 0.1, 0.2, 0.2, 0.4]) ** (1 / temperature)
    np.testing.assert_allclose(share, wanted / wanted.sum(), atol=0.02)  # six standard deviations of 10,000 draws
    assert share[[PAD, BEGIN]].sum() == 0


def test_the_same_key_writes_the_same_text():
    config = experiment()
    task, learner = begun(config)
    make = jax.jit(lambda key: task.generate(config, learner, key, Asked(3, length=30)))
    one, same, other = (np.asarray(make(jax.random.key(seed))) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one[0], one[1])


def test_a_prompt_longer_than_the_text_is_told():
    config = experiment()
    task, learner = begun(config)
    with pytest.raises(UsageError, match="the prompt has 3 tokens and the text is to have 3"):
        task.generate(config, learner, jax.random.key(0), Asked(1, length=3, prompt=np.array([4, 5, 6])))


# ------------------------------------------------------------------------------------------------------- what does not suit


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"kind": "mlp"}, "set model.kind to rnn or python"),
        ({"kind": "transformer", "width": 8, "heads": 2}, "task language does not suit model transformer"),
        ({"kind": "rnn", "bidirectional": True}, "model.bidirectional reads from the end too"),
    ],
)
def test_a_network_that_cannot_read_on_is_told(model, words):
    config = experiment().model_copy(update={"model": load_experiment({"data": {"kind": "digits"}, "model": model}).model})
    with pytest.raises(ConfigError, match=words):
        assemble([resolve(config, DATA)], DATA).cohort.program.compile("init")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (Spec((8, 8, 1), "class", 3, ("a", "b", "c"), (5, 5, 5), ("y",), (), (), 15), "holds one class of several"),
        (Spec((9,), "tokens", 30, (), (), ("target",), (), (), 15, tokens=20, target_length=12), "for pairs task.kind=seq2seq"),
        (Spec((8, 8, 1), "tokens", 30, (), (), ("target",), (), (), 15, target_length=12), "use data.kind=text"),
    ],
    ids=["classes", "pairs", "captions"],
)
def test_data_that_are_no_text_to_read_on_are_told(spec, words):
    with pytest.raises(ConfigError, match=words):
        build_task(experiment().task, spec, 10, 10)


COUNTS = """
import jax, jax.numpy as jnp
from flax import nnx

class Counts(nnx.Module):
    def __init__(self, in_features, out_features, *, rngs):
        self.features, self.scale = out_features, nnx.Param(jnp.ones(()))

    def begin(self, batch_size):
        return jnp.ones((batch_size, self.features))

    def states(self, x, carry):
        counts = carry[:, None] + jnp.cumsum(jax.nn.one_hot(x, self.features), 1)
        return counts, counts[:, -1]

    def outputs(self, x):
        return self.scale * jnp.log(x)
"""


def test_a_network_of_ones_own_needs_three_methods(tmp_path):
    """One that counts how often it has read each token. Its first state is not zeros: each was read once."""
    (tmp_path / "net.py").write_text(COUNTS)
    model = {"kind": "python", "target": f"{tmp_path}/net.py:Counts"}
    config = experiment().model_copy(update={"model": load_experiment({"data": {"kind": "digits"}, "model": model}).model})
    task, _ = plan_for(config, DATA)
    assert isinstance(task, LanguageModelling)
    read = batches(DATA, 4)
    found = scored(task, config, jax.jit(lambda: task.init(config, read[0], jax.random.key(0)))(), read)
    nats = []
    for inputs, targets in zip(DATA.train.inputs.reshape(4, 15), DATA.train.targets.reshape(4, 15), strict=True):
        seen = np.ones(COUNT)
        for token, target in zip(inputs, targets, strict=True):
            seen[token] += 1
            nats.append(-np.log(seen[target] / seen.sum()))
    assert found["loss"] == pytest.approx(np.mean(nats), rel=1e-5)


def test_the_memory_is_a_count_and_a_state_of_zeros():
    memory = begun(experiment())[0].memory(experiment(), 3)
    assert isinstance(memory, Reading)
    assert int(memory.batches) == 0
    assert jax.tree.map(jnp.shape, memory.carry) == (((3, 6), (3, 6)),)


def test_the_commands_know_language_models(text, tmp_path, monkeypatch, capsys):
    """A range test, a sweep of two trials, and what is asked of a trained network, as a shell would start them."""
    recipe = tmp_path / "text.yaml"
    recipe.write_text(
        f"task: {{kind: language}}\ndata: {{kind: text, path: {text}, length: 8, validation: 0.1, test: 0.1}}\n"
        "model: {kind: rnn, hidden: 8, embedding: 4}\noptimizer: {kind: adam, lr: 0.01}\n"
        "train: {duration: 20 steps, batch_size: 8}\n"
    )
    shown = {}
    for command in (
        ["lr-find", str(recipe), "--json"],
        ["sweep", str(recipe), "optimizer.lr=tag(log, interval(0.005, 0.05))", "--trials", "2", "--json"],
        ["train", str(recipe), "--json"],
        ["evaluate", "latest", "--json"],
        ["sample", "latest", "--prompt", "abc ", "--length", "12"],
    ):
        monkeypatch.setattr("sys.argv", ["dlx", *command])
        with pytest.raises(SystemExit) as end:
            main()
        out, error = capsys.readouterr()
        assert not end.value.code, error
        shown[command[0]] = out
    assert "perplexity" in shown["evaluate"]
    assert shown["sample"].startswith("abc ")
