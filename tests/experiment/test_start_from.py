"""Beginning with the weights of another run: what agrees is taken, in every lane; the record says so, and resuming needs it no more."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

from dlx.config import load_experiment, parse_override
from dlx.engine import named_leaves, read_named_weights, save_lanes
from dlx.errors import ConfigError, DataError, MissingInputError, Status
from dlx.events import Decision, Evaluated, Finished, Notice
from dlx.experiment import run
from dlx.experiment.assemble import assemble, load_data, resolve
from dlx.experiment.session import checkpoint_folder
from dlx.experiment.start_from import Origin, check_origin, origin_of, origin_recorded
from dlx.store import find_run, open_store

DIGITS = {"kind": "digits", "standardize": False}
AUTOENCODER = {
    "task": {"kind": "reconstruct", "noise": {"kind": "masking", "share": 0.3}},
    "data": DIGITS,
    "model": {"kind": "autoencoder", "hidden": [64], "code": 8, "init": "xavier"},
    "optimizer": {"kind": "adam", "lr": 3e-3},
    "train": {"duration": "200 steps", "batch_size": 64, "evaluate_every": "100 steps"},
}
CLASSIFIER = {
    "task": {"kind": "classify"},
    "data": {**DIGITS, "limit": 60},
    "model": {"kind": "mlp", "hidden": [64], "init": "xavier"},
    "optimizer": {"kind": "adam", "lr": 1e-3},
    "train": {"duration": "60 steps", "batch_size": 30, "evaluate_every": "60 steps"},
}


def config_of(base, *overrides):
    return load_experiment(base, [parse_override(text) for text in overrides])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with one run, the autoencoder `first`."""
    folder = tmp_path_factory.mktemp("start-from")
    with open_store(f"sqlite:///{folder / 'dlx.db'}", create=True) as opened:
        list(run.start(config_of(AUTOENCODER), opened, name="first"))
        yield opened


def drain(events):
    seen, decision = [], None
    while True:
        try:
            seen.append(events.send(decision))
        except StopIteration as end:
            return seen, end.value
        decision = Decision()


def read_tree(recipe):
    return load_experiment(recipe).model_dump(mode="json")


def cohort_of(trees):
    configs = [load_experiment(tree) for tree in trees]
    dataset = load_data(configs[0])
    return assemble([resolve(config, dataset) for config in configs], dataset).cohort


def test_weights_that_agree_are_taken_in_every_lane_and_the_others_are_drawn(store):
    weights = origin_of(find_run(store, "first")).weights
    cohort = cohort_of([CLASSIFIER | {"train": {**CLASSIFIER["train"], "seed": seed}} for seed in range(2)])
    _, begun = drain(cohort.start_from(weights))
    _, fresh = drain(cohort.start())
    for (name, mine), (_, drawn) in zip(
        named_leaves(begun.lanes.learner.params), named_leaves(fresh.lanes.learner.params), strict=True
    ):
        for lane in range(2):
            expected = weights[f"params/{name}"] if name.startswith("hidden/0") else drawn[lane]
            np.testing.assert_array_equal(mine[lane], expected, err_msg=name)
    jax.tree.map(np.testing.assert_array_equal, begun.lanes.learner.opt, fresh.lanes.learner.opt)


def test_a_counter_is_no_weight(tmp_path):
    """The steps that say which layer of a deep belief network learns: they are those of its own run."""
    model = {"kind": "dbn", "hidden": [6, 5]}
    cohort = cohort_of([CLASSIFIER | {"task": {"kind": "belief"}, "model": model, "optimizer": {"kind": "sgd", "lr": 0.1}}])
    _, progress = drain(cohort.start())
    older = progress.best._replace(
        params=jax.tree.map(lambda x: x + 1, progress.best.params), rest={"steps": np.full(1, 100, np.int32)}
    )
    save_lanes(replace(progress, best=older), [tmp_path])
    weights = read_named_weights(tmp_path).tree
    assert weights["rest/steps"] == 100
    taken, drawn = cohort.agreeing(weights)
    assert len(taken) == len(jax.tree.leaves(older.params))
    assert drawn == []
    for start in (cohort.start_from(weights), cohort.begin_with(tmp_path)):
        _, begun = drain(start)
        jax.tree.map(np.testing.assert_array_equal, begun.lanes.learner.params, older.params)
        np.testing.assert_array_equal(begun.lanes.learner.rest["steps"], [0])


@pytest.mark.slow
@pytest.mark.optimized
def test_with_few_labels_a_pretrained_encoder_beats_a_fresh_one(real_data):
    """The recipes, shortened: 300 labelled MNIST digits, eight seeds in eight lanes; the autoencoder saw 54,000 without their labels."""
    data = {"kind": "mnist", "path": str(real_data("mnist")), "standardize": False}
    cohort = cohort_of([read_tree("mnist-autoencoder") | {"data": data, "train": {"duration": "2 epochs", "batch_size": 128}}])
    _, encoder = drain(cohort.start())
    _, encoder = drain(cohort.train(encoder))
    weights = {name: np.asarray(leaf)[0] for name, leaf in named_leaves(encoder.best)}
    labelled = read_tree("mnist-mlp") | {
        "data": {**data, "limit": 300},
        "model": {"kind": "mlp", "hidden": [512, 256], "init": "xavier"},
        "train": {"duration": "150 steps", "batch_size": 50},
    }
    cohort, accuracy = cohort_of([labelled | {"train": {**labelled["train"], "seed": seed}} for seed in range(8)]), {}
    for name, start in (("fresh", cohort.start()), ("pretrained", cohort.start_from(weights))):
        _, progress = drain(start)
        _, progress = drain(cohort.train(progress))
        events, _ = drain(cohort.judge(progress, ["test"]))
        (scored,) = (event for event in events if isinstance(event, Evaluated))
        accuracy[name] = np.array([lane["test/accuracy"] for lane in scored.metrics])
    gain = accuracy["pretrained"] - accuracy["fresh"]
    assert gain.mean() > 3 * gain.std(ddof=1) / np.sqrt(len(gain)), accuracy


def test_a_run_says_what_it_took_and_records_it(store):
    first = find_run(store, "first")
    events = list(run.start(config_of(CLASSIFIER), store, name="second", start_from=first))
    (note,) = [event.text for event in events if isinstance(event, Notice)]
    assert note == (
        f"begins with weights of run {first.id}: hidden/0/linear/bias, hidden/0/linear/kernel (4,160 numbers); output/bias, output/kernel are drawn"
    )
    second = find_run(store, "second")
    assert second.status is Status.COMPLETED
    assert second.environment["start_from"] == {
        "run": first.id,
        "weights": read_named_weights(checkpoint_folder(first.path)).digest,
    }


def test_a_run_killed_before_its_first_checkpoint_begins_with_the_same_weights(store):
    first = find_run(store, "first")
    whole = list(run.start(config_of(CLASSIFIER), store, start_from=first))[-1]
    events = run.start(config_of(CLASSIFIER), store, name="killed", start_from=first)
    for event in events:
        if isinstance(event, Notice):
            break  # nothing is saved yet
    events.close()
    killed = find_run(store, "killed")
    again = list(run.resume(killed, store))[-1]
    assert isinstance(again, Finished)
    assert again.metrics == whole.metrics
    assert again.metrics != list(run.start(config_of(CLASSIFIER), store))[-1].metrics


def test_weights_that_have_changed_since_are_refused_and_need_none_once_saved(store):
    first = find_run(store, "first")
    events = run.start(config_of(CLASSIFIER), store, name="stale", start_from=first)
    next(event for event in events if isinstance(event, Notice))
    events.close()
    stale = find_run(store, "stale")
    record = {**stale.environment, "start_from": {"run": first.id, "weights": "others"}}
    with pytest.raises(DataError, match=f"began with weights of run {first.id}, which has others by now"):
        origin_recorded(type(stale)(**{**vars(stale), "environment": record}), store)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["model.hidden=[7]"], "no weight of run .* suits this network by name and shape: it has decoder/0/linear/bias"),
        (["averaging.kind=ema"], "set averaging.kind=none"),
    ],
)
def test_what_cannot_begin_so_is_told_before_anything_is_recorded(store, overrides, sentence):
    with pytest.raises(ConfigError, match=sentence):
        list(run.start(config_of(CLASSIFIER, *overrides), store, name="never", start_from=find_run(store, "first")))
    from dlx.store import find_named

    assert find_named(store, "never") is None


def test_a_run_without_weights_cannot_be_begun_with(store):
    events = run.start(config_of(CLASSIFIER), store, name="empty")
    next(events)
    next(event for event in events if type(event).__name__ == "Started")
    events.close()
    with pytest.raises(MissingInputError, match="has no weights to start from"):
        origin_of(find_run(store, "empty"))


def test_inputs_of_another_scale_are_told(store):
    config = config_of(CLASSIFIER, "data.standardize=true", "train.duration=1 steps")
    events = list(run.start(config, store, start_from=find_run(store, "first")))
    assert any("data.standardize=false, and this one true" in e.text for e in events if isinstance(e, Notice))


def told_of(weights, theirs, mine):
    """What is said of beginning with all of these weights."""
    origin = Origin("1234", {name: np.zeros(shape) for name, shape in weights.items()}, "", False, theirs)
    cohort: Any = SimpleNamespace(agreeing=lambda found: (list(found), []))
    return check_origin(origin, cohort, config_of(CLASSIFIER), mine)


@pytest.mark.parametrize("key", ["tokenizer", "target_tokenizer"])
def test_rows_of_other_tokens_are_not_taken(key):
    theirs, mine, longer = ({key: {"tokens": list(tokens)}} for tokens in ("abc", "acb", "abcd"))
    weights = {"params/embedding": (3, 5), "params/cell": (5, 5)}
    with pytest.raises(
        ConfigError, match=r"know 3 tokens, but not the same ones \(token 1 is 'b' there and 'c' here\), so embedding"
    ):
        told_of(weights, theirs, mine)
    del weights["params/embedding"]
    for preprocessing in (mine, longer):
        assert len(told_of(weights, theirs, preprocessing)) == 1
    assert len(told_of({"params/embedding": (3, 5)}, theirs, theirs)) == 1


def test_outputs_of_other_classes_are_told():
    theirs, mine = {"classes": ["cat", "dog"]}, {"classes": ["dog", "cat"]}
    weights = {"params/hidden/kernel": (4, 2), "params/output/kernel": (5, 2)}
    (_, note) = told_of(weights, theirs, mine)
    assert (
        note
        == "run 1234 tells cat, dog apart, in this order, and this one dog, cat: its output/kernel begin as those of other classes"
    )
    assert len(told_of(weights, theirs, theirs)) == 1
    assert len(told_of({"params/hidden/kernel": (4, 2)}, theirs, mine)) == 1


def test_the_preparation_of_the_other_run_is_read(store):
    assert origin_of(find_run(store, "first")).preprocessing["kind"] == "images"
