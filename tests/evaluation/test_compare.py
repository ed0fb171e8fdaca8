"""Which run is better: candidates and their seeds, the same examples, verdicts that are right as often as they say."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from dlx.errors import DataError, RunFailedError, Status, UsageError
from dlx.evaluation.compare import NOT_COMPARED, SMALLER_IS_BETTER, Entry, compare
from dlx.evaluation.comparison import Comparison
from dlx.evaluation.metrics import headline, measure, overall
from dlx.evaluation.predictions import Predictions
from dlx.store import RunSummary

EXAMPLES = 300
CLASSES = ("a", "b", "c")


def config(hidden: int = 8, seed: int = 0, data_seed: int = 0, **data: Any) -> dict[str, Any]:
    return {
        "task": {"kind": "classify"},
        "data": {"kind": "digits", "seed": data_seed, "test": 0.15, "validation": 0.15, "drop": [], **data},
        "model": {"kind": "mlp", "hidden": [hidden]},
        "train": {"seed": seed},
        "replay": [],
    }


class Runs:
    """Made-up runs with consecutive ids, and networks that are right about a share of the same examples."""

    def __init__(self, seed: int = 0, examples: int = EXAMPLES) -> None:
        self.random = np.random.default_rng(seed)
        self.targets = self.random.integers(3, size=examples).astype(np.int32)
        self.hardness = self.random.random(examples)
        self.made = 0

    def entry(self, right: float = 0.8, *, name: str | None = None, noise: float = 0.15, **fields: Any) -> Entry:
        """One that is right about nearly `right` of the examples, the easy ones; `noise` is its own."""
        wrong = self.hardness + noise * self.random.standard_normal(len(self.targets)) > right
        guess = np.where(wrong, (self.targets + 1) % 3, self.targets)
        outputs = np.eye(3, dtype=np.float32)[guess] * 2 + 0.3 * self.random.standard_normal((len(guess), 3)).astype(np.float32)
        return self.saying(outputs, name=name, **fields)

    def saying(self, outputs: np.ndarray, *, name: str | None = None, fingerprint: str = "f", **fields: Any) -> Entry:
        self.made += 1
        unused: dict[str, Any] = {
            **dict.fromkeys(("created", "finished", "heartbeat"), 0.0),
            **dict.fromkeys(("step", "epoch", "steps_total", "steps_per_epoch", "lanes", "lane", "pid"), 1),
            **dict.fromkeys(("message", "monitor", "direction", "host"), ""),
        }
        run = RunSummary(
            **unused,
            id=f"run{self.made}",
            name=name,
            status=Status.COMPLETED,
            metrics={},
            seconds_text="{}",
            runs_folder=Path(),
            config_text="",
        )
        run.__dict__["config"] = config(**fields)  # where the parsed one is kept
        return Entry(run, Predictions(outputs, self.targets, "class", CLASSES, "test", fingerprint, "c", 1))


def changed(entry: Entry, **predictions: Any) -> Entry:
    return replace(entry, predictions=replace(entry.predictions, **predictions))


def verdicts(found: Comparison) -> list[str]:
    return [each.verdict for each in found.candidates]


# --------------------------------------------------------------------------------------------------------- one seed of each


def test_accuracy_of_two_networks_goes_by_mcnemars_test() -> None:
    runs = Runs()
    better, worse = runs.entry(0.9, name="wide"), runs.entry(0.75, name="narrow", hidden=4)
    found = compare([worse, better])
    assert (found.metric, found.maximize, found.examples, found.seeds_matter) == ("accuracy", True, EXAMPLES, False)
    assert [each.name for each in found.candidates] == ["wide", "narrow"]
    assert verdicts(found) == ["better", "worse"]
    first, second = (e.predictions.outputs.argmax(axis=1) == e.predictions.targets for e in (better, worse))
    counts = int((second & ~first).sum()), int((first & ~second).sum())
    difference = found.candidates[1].difference
    assert difference is not None
    assert (difference.method, difference.discordant) == ("mcnemar", counts)
    assert difference.value == pytest.approx(second.mean() - first.mean())
    exact = binomtest(counts[0], sum(counts)).pvalue - binom.pmf(counts[0], sum(counts), 0.5)
    assert difference.p == difference.p_corrected == pytest.approx(exact)
    assert difference.low < difference.value < difference.high < 0


@pytest.mark.parametrize("metric", ["f1", "ece"])
def test_intervals_of_single_networks_are_those_of_evaluate(metric: str) -> None:
    runs = Runs()
    entries = [runs.entry(0.9), runs.entry(0.7, hidden=4)]
    found = compare(entries, metric)
    for each, entry in zip(found.candidates, entries if found.maximize else entries[::-1], strict=True):
        scores = measure("class", entry.predictions.outputs, entry.predictions.targets, resamples=1000, seed=0)
        assert vars(each.measure) == pytest.approx(vars(scores.overall[metric]))


def test_networks_that_say_the_same_show_no_difference_and_are_not_called_equal() -> None:
    runs = Runs()
    one = runs.entry()
    found = compare([one, runs.saying(one.predictions.outputs, hidden=4)])
    difference = found.candidates[1].difference
    assert difference is not None
    assert verdicts(found) == ["unclear", "unclear"]
    assert (difference.p, difference.discordant) == (1, (0, 0))
    assert difference.low < 0 < difference.high


@pytest.mark.parametrize("metric", ["accuracy", "log_loss", "f1"])
def test_equal_networks_are_seldom_told_apart(metric: str) -> None:
    errors = 0
    for seed in range(150):
        runs = Runs(seed, 200)
        errors += "worse" in verdicts(compare([runs.entry(), runs.entry(hidden=4)], metric, resamples=200))
    assert errors / 150 < 0.09


def test_single_seeds_are_said_to_tell_of_these_networks_only() -> None:
    runs = Runs()
    (note,) = compare([runs.entry(), runs.entry(hidden=4)]).notes
    assert note.startswith("one seed each: this tells about these trained networks, not about their configurations")


def test_few_examples_are_said_to_be_few() -> None:
    runs = Runs(examples=20)
    assert compare([runs.entry(), runs.entry(hidden=4)]).notes[-1].startswith("20 examples are few")


# ------------------------------------------------------------------------------------------------------------ several seeds


def test_seeds_are_repeats_of_one_candidate() -> None:
    runs = Runs()
    entries = [runs.entry(right, name=f"{hidden}-{seed}", hidden=hidden, seed=seed)
               for hidden, right in ((8, 0.9), (4, 0.7)) for seed in range(3)]  # fmt: skip
    found = compare(entries)
    assert found.seeds_matter
    assert [each.runs for each in found.candidates] == [("run1", "run2", "run3"), ("run4", "run5", "run6")]
    best = found.candidates[0]
    accuracies = [overall("class", e.predictions.outputs, e.predictions.targets)["accuracy"] for e in entries[:3]]
    assert best.values == pytest.approx(accuracies)
    assert best.measure.value == pytest.approx(np.mean(accuracies))
    assert best.deviation == pytest.approx(np.std(accuracies, ddof=1))
    difference = found.candidates[1].difference
    assert difference is not None
    assert (difference.method, difference.discordant) == ("bootstrap over examples and seeds", None)
    assert verdicts(found) == ["better", "worse"]
    assert found.notes == ()


def test_the_seed_of_the_data_is_luck_too_where_the_test_part_is_the_same() -> None:
    runs = Runs()
    found = compare([runs.entry(seed=0), runs.entry(seed=1, data_seed=5), runs.entry(hidden=4)])
    assert sorted(len(each.runs) for each in found.candidates) == [1, 2]


def test_a_candidate_of_one_seed_borrows_the_spread_of_the_others() -> None:
    runs = Runs()
    lucky = [runs.entry(right, seed=seed) for seed, right in enumerate((0.6, 0.9))]
    single = runs.entry(0.86, hidden=4, name="single")
    found = compare([*lucky, single])
    assert verdicts(found) == ["unclear", "unclear"], "seeds that differ so much explain the difference"
    assert found.notes == ("one seed of single: the spread over seeds is taken to be that of the others",)
    alone = compare([lucky[0], single])
    assert verdicts(alone) == ["better", "worse"], "as networks they do differ"


def test_runs_that_differ_in_the_seed_only_stand_by_themselves() -> None:
    runs = Runs()
    found = compare([runs.entry(0.9, seed=0), runs.entry(0.7, seed=1)])
    assert [len(each.runs) for each in found.candidates] == [1, 1]
    assert found.notes == (
        "the configurations differ in nothing but the seed: a difference between these networks says nothing about their configuration",
    )
    same = compare([runs.entry(0.9), runs.entry(0.7)])
    assert same.notes[0].startswith("the configurations differ in nothing, not even the seed: ")


def test_a_repetition_to_the_last_bit_is_no_second_seed() -> None:
    runs = Runs()
    first = runs.entry()
    found = compare([first, runs.saying(first.predictions.outputs), runs.entry(hidden=4)])
    assert sorted(each.runs for each in found.candidates) == [("run1",), ("run3",)]
    assert found.notes[0] == "run run2 has the very outputs of run run1: the two count as one"
    assert not found.seeds_matter


def test_equal_configurations_with_lucky_seeds_are_seldom_told_apart() -> None:
    errors = 0
    for number in range(100):
        runs = Runs(number, 150)
        luck = 0.8 + 0.05 * runs.random.standard_normal((2, 3))
        entries = [runs.entry(luck[i, seed], hidden=i + 4, seed=seed) for i in range(2) for seed in range(3)]
        errors += "worse" in verdicts(compare(entries, resamples=100))
    assert errors / 100 < 0.11


# ------------------------------------------------------------------------------------------------------- several candidates


def test_each_is_judged_against_the_best_with_p_values_for_all_pairs() -> None:
    runs = Runs()
    entries = [runs.entry(right, hidden=n + 1, name=str(n)) for n, right in enumerate((0.7, 0.9, 0.88, 0.5))]
    found = compare(entries)
    assert [each.name for each in found.candidates][2:] == ["0", "3"]
    assert verdicts(found) == ["unclear", "unclear", "worse", "worse"]
    assert found.candidates[0].difference is None
    differences = [each.difference for each in found.candidates if each.difference is not None]
    assert len(differences) == 3
    # Six pairs; the smallest p value of all is multiplied by 6, that of the best and "0" by at least 3.
    assert differences[0].p_corrected >= differences[0].p
    assert differences[1].p_corrected >= 3 * differences[1].p
    assert all(each.p_corrected <= 6 * each.p for each in differences)


def test_one_name_for_several_is_told_apart_by_the_id() -> None:
    runs = Runs()
    found = compare([runs.entry(name="mlp"), runs.entry(name="mlp", hidden=4), runs.entry(hidden=5)])
    assert sorted(each.name for each in found.candidates) == ["mlp (run1)", "mlp (run2)", "run3"]


# ------------------------------------------------------------------------------------------------------- metrics and targets


def test_numbers_go_by_the_smallest_error() -> None:
    runs = Runs()
    truth = runs.random.standard_normal((EXAMPLES, 1)).astype(np.float32)
    entries = []
    for hidden, noise in ((8, 0.5), (4, 1.0)):
        said = (truth + noise * runs.random.standard_normal(truth.shape)).astype(np.float32)
        entries.append(changed(runs.saying(said, hidden=hidden), target="number", targets=truth, classes=("price",)))
    found = compare(entries[::-1])
    assert (found.metric, found.maximize) == ("rmse", False)
    assert [each.runs for each in found.candidates] == [("run1",), ("run2",)]
    assert verdicts(found) == ["better", "worse"]
    difference = found.candidates[1].difference
    assert difference is not None
    assert difference.value > 0
    assert verdicts(compare(entries, "r2")) == ["better", "worse"]


def test_subset_accuracy_of_labels_counts_right_examples() -> None:
    runs = Runs()
    truth = (runs.random.random((EXAMPLES, 3)) < 0.5).astype(np.float32)
    entries = []
    for hidden, noise in ((8, 0.3), (4, 0.8)):
        said = (truth - 0.5 + noise * runs.random.standard_normal(truth.shape)).astype(np.float32)
        entries.append(changed(runs.saying(said, hidden=hidden), target="labels", targets=truth))
    found = compare(entries, "subset_accuracy")
    difference = found.candidates[1].difference
    assert difference is not None
    assert difference.method == "mcnemar"
    assert difference.value == pytest.approx(found.candidates[1].measure.value - found.candidates[0].measure.value)
    assert compare(entries).metric == "f1"


@pytest.mark.parametrize("target", ["class", "labels", "number"])
def test_the_sense_of_every_metric_is_known(target: Any) -> None:
    """What is nearer to the truth is better by every metric that ranks runs."""
    rng = np.random.default_rng(0)
    shape = (400, 1) if target == "number" else (400, 8)
    truth = rng.integers(8, size=400) if target == "class" else (rng.random(shape) < 0.4).astype(np.float32)
    signal = np.eye(8)[truth.astype(int)] if target == "class" else truth - 0.5
    sure = 1 if target == "number" else 10
    good, bad = (sure * (signal + noise * rng.standard_normal(shape)) for noise in (0.3, 1.5))
    better, worse = (overall(target, outputs, truth) for outputs in (good, bad))
    for metric in better.keys() - NOT_COMPARED:
        assert (better[metric] < worse[metric]) == (metric in SMALLER_IS_BETTER), metric
    assert headline(target)[1] == (headline(target)[0] not in SMALLER_IS_BETTER)


@pytest.mark.parametrize(
    ("metric", "sentence"),
    [
        ("acuracy", "--metric acuracy is no metric of this task; did you mean accuracy?"),
        ("rmse", "--metric rmse is no metric of this task"),
        ("<b>", "--metric <b> is no metric of this task"),
    ],
)
def test_unknown_metrics(metric: str, sentence: str) -> None:
    runs = Runs()
    with pytest.raises(UsageError) as caught:
        compare([runs.entry(), runs.entry(hidden=4)], metric)
    assert sentence in str(caught.value)


def test_metrics_that_rank_nothing() -> None:
    runs = Runs()
    numbers = [changed(runs.saying(runs.random.standard_normal((EXAMPLES, 1)), hidden=h), target="number",
                       targets=np.ones((EXAMPLES, 1), np.float32)) for h in (1, 2)]  # fmt: skip
    with pytest.raises(UsageError, match="--metric bias ranks no runs; there are rmse"):
        compare(numbers, "bias")


def test_outputs_that_are_not_finite_name_the_run() -> None:
    runs = Runs()
    with pytest.raises(RunFailedError, match="run run2: the outputs of 300 of 300"):
        compare([runs.entry(), runs.saying(np.full((EXAMPLES, 3), np.nan, np.float32), hidden=4)])


def test_a_metric_that_is_not_defined_on_these_examples() -> None:
    runs = Runs()
    runs.targets = np.zeros_like(runs.targets)
    entries = [runs.entry(), runs.entry(hidden=4)]
    with pytest.raises(DataError, match="roc_auc_macro of run run1 is not defined on the 300 test examples"):
        compare(entries, "roc_auc_macro")


def test_resamples_without_the_metric_are_left_out_and_told() -> None:
    runs = Runs(examples=60)
    runs.targets = np.zeros_like(runs.targets)
    runs.targets[:2] = 1
    entries = [
        changed(entry, outputs=entry.predictions.outputs[:, :2], classes=("a", "b"))
        for entry in (runs.entry(0.9), runs.entry(0.7, hidden=4))
    ]
    found = compare(entries, "roc_auc")
    assert any("roc_auc is not defined on" in note and "of 1,000 resamples" in note for note in found.notes)


# --------------------------------------------------------------------------------------------------------- the same examples


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"seed": 3}, "different test examples: data.seed is 0 and 3"),
        ({"test": 0.3}, "different test examples: data.test is 0.15 and 0.3"),
        ({"kind": "csv", "path": "/a.csv"}, "data.kind is 'digits' and 'csv'; data.path is None and '/a.csv'"),
        ({}, "the data itself has changed between the two"),
    ],
)
def test_other_examples_cannot_be_compared(data: dict[str, Any], sentence: str) -> None:
    runs = Runs()
    with pytest.raises(DataError, match="runs run1 and run2 cannot be compared") as caught:
        compare([runs.entry(), runs.entry(fingerprint="other", **_named(data))])
    assert sentence in str(caught.value)


def _named(data: dict[str, Any]) -> dict[str, Any]:
    """As `Runs.entry` takes them: its own `seed` is that of training."""
    return {("data_seed" if key == "seed" else key): value for key, value in data.items()}


def test_the_same_examples_prepared_in_another_way_can_be_compared() -> None:
    runs = Runs()
    found = compare([runs.entry(), runs.entry(drop=["age"], fingerprint="other")])
    assert found.notes[0] == "run run2 saw the same examples prepared in another way (data.drop is [] and ['age'])"


@pytest.mark.parametrize(("split", "comparable"), [("test", True), ("validation", True), ("train", False)])
def test_how_many_train_matters_to_the_training_part_alone(split: str, comparable: bool) -> None:
    runs = Runs()
    entries = [changed(entry, split=split) for entry in (runs.entry(), runs.entry(limit=100, fingerprint="other"))]
    if comparable:
        assert "data.limit is None and 100" in compare(entries).notes[0]
    else:
        with pytest.raises(DataError, match=r"different train examples: data\.limit is None and 100"):
            compare(entries)


def test_an_official_test_part_is_the_same_for_every_seed_of_the_data() -> None:
    runs = Runs()
    other = runs.entry(kind="mnist", hidden=4, data_seed=7, standardize=False, fingerprint="other")
    entries = [runs.entry(kind="mnist"), other]
    assert "saw the same examples prepared in another way" in compare(entries).notes[0]


def test_other_classes_are_named() -> None:
    runs = Runs()
    with pytest.raises(DataError, match="they predict different classes: only the first has c, only the second has d"):
        compare([runs.entry(), changed(runs.entry(hidden=4), classes=("a", "b", "d"))])


def test_other_tasks_and_other_sizes_are_named() -> None:
    runs = Runs()
    number = changed(runs.entry(hidden=4), target="number")
    with pytest.raises(DataError, match="one predicts classes, the other numbers"):
        compare([runs.entry(), number])
    entry = runs.entry(hidden=4, fingerprint="other")
    short = changed(entry, outputs=entry.predictions.outputs[:9], targets=entry.predictions.targets[:9])
    with pytest.raises(DataError, match=r"different test examples \(300 and 9\)"):
        compare([runs.entry(), short])


def test_one_run_is_no_comparison() -> None:
    with pytest.raises(UsageError, match="two different runs or more"):
        compare([Runs().entry()])
