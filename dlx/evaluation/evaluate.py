"""Judging a trained network: every metric of its task on a part of its own data or on new data, and what stands behind them."""

import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd

from dlx import engine, strict_json
from dlx.config.text_data import Text
from dlx.data import SHUFFLED, Dataset, Order, Part, read_labelled
from dlx.errors import CannotWriteError, UsageError
from dlx.evaluation.baselines import baselines
from dlx.evaluation.bootstrap import LEAST, RESAMPLES, affordable
from dlx.evaluation.drift import drift
from dlx.evaluation.examined import examined_scores, own_simple_models, require_answers
from dlx.evaluation.frechet import check_judge, judged_images, sampled
from dlx.evaluation.gallery.pictures import Picture
from dlx.evaluation.gallery.pictures_of import pictures_of
from dlx.evaluation.importance import encoded, importance
from dlx.evaluation.metrics import headline, measure
from dlx.evaluation.predictions import Predictions, fingerprint_of, read_predictions, write_predictions
from dlx.evaluation.results import Evaluation, Example, Measure, Scores, evaluation_json
from dlx.evaluation.saliency import METHODS, attributions, by_column, pictures
from dlx.evaluation.slices import slices, weak_slices
from dlx.evaluation.worst import worst, wrong_output
from dlx.experiment.restore import Trained, restore
from dlx.models.forward import told
from dlx.store import RunRecord, Store
from dlx.tasks import Examined, LearnerState, Supervised

GENERATED = 2000
"""Images that a classifier judges."""


@dataclass(frozen=True)
class Judged:
    """Examples, and what a network says of them."""

    data: str
    """The data set's name, or the new file."""
    split: str
    part: Part
    outputs: np.ndarray | None
    """(n, k) logits, or numbers in the data's own units; None for a task that has no answer for each example."""
    dataset: Dataset | None
    """The run's own data, if that is what was judged."""
    order: Order
    """How the examples follow each other."""
    notices: tuple[str, ...]
    seconds: Mapping[str, float]

    @cached_property
    def fingerprint(self) -> str:
        """Of the examples."""
        return fingerprint_of(self.part.inputs, self.part.targets)


def judge(trained: Trained, *, split: str | None = None, data: str | None = None) -> Judged:
    """What a network says of a part of its own data (the test part, or else validation, or else training), or of all of a new file.

    Raises `UsageError` for a part that there is not, `DataError` for new data that does not fit, saying how it differs.
    """
    began = time.perf_counter()
    if data is not None:
        if split not in (None, "all"):
            raise UsageError(f"--split {split}: all of --data is judged; leave --split out, or split the file")
        part, notices = read_labelled(trained.preparation, data, trained.config.data)
        # The windows of one text follow each other, and are read on from each other, as those of its own parts are.
        order = Order("streams") if isinstance(trained.config.data, Text) else SHUFFLED
        name, split, dataset = data, "all", None
        notices = (*notices, *_own_file(trained, data))
    else:
        dataset = trained.dataset(keep_rows=True)
        split, part = _part(dataset, split)
        name, notices, order = dataset.name, _trained_on(dataset, split, len(part)), dataset.order
    loaded = time.perf_counter()
    outputs = trained.forward(part.inputs) if isinstance(trained.task, Supervised) else None
    seconds = {"data": loaded - began, "predict": time.perf_counter() - loaded}
    return Judged(name, split, part, outputs, dataset, order, (*trained.notices, *notices), seconds)


def evaluate(
    trained: Trained,
    judged: Judged,
    *,
    slice_by: Sequence[str] = (),
    resamples: int = RESAMPLES,
    most_worst: int = 12,
    explain: bool = False,
    gallery: bool = False,
) -> Evaluation:
    """Every metric of the task on what was judged, with bootstrap intervals. `explain` adds saliency, or what columns are worth;
    `gallery` pictures of what the network makes and sees, and one that cannot be made is a warning.

    Raises `DataError` for a column to slice by that the data does not have, `UsageError` for what the task has no use for.
    """
    part = judged.part
    resamples = affordable(len(part), resamples) if len(part) >= LEAST else 0
    if judged.outputs is None:
        if slice_by or explain:
            kind = trained.config.task.kind if trained.config.task else ""
            raise UsageError(
                f"--slice and --explain are for tasks with an answer for each example, and this is {kind}: leave them out"
            )
        return _by_its_own_metrics(trained, judged, resamples, gallery=gallery)
    began = time.perf_counter()
    preparation, outputs = trained.preparation, judged.outputs
    spec = preparation.spec
    scores = measure(spec.supervision, outputs, part.targets, resamples=resamples, top_k=_top_k(trained))
    measured = time.perf_counter()
    sliced = slices(part, outputs, spec, slice_by, resamples=resamples, encoder=preparation.encoder)
    weak = weak_slices(part, outputs, spec, slice_by, encoder=preparation.encoder)
    texts = preparation.texts
    examples = worst(part, outputs, spec, most=most_worst, tokenizer=None if texts is None else texts.tokenizer)
    weights: tuple[Any, ...] = ()
    if explain and preparation.encoder is not None:
        weights = importance(trained.forward, part, spec.supervision, encoded(preparation.encoder))
    if explain:
        examples = _explained(trained, judged, outputs, examples)
    seconds = {**judged.seconds, "metrics": measured - began, "examples": time.perf_counter() - measured}
    shown, without = _gallery(trained, part, wanted=gallery)
    return replace(
        _scored(trained, judged, scores, headline(spec.supervision), resamples, seconds, shown),
        classes=spec.classes or spec.target_names,
        slices=sliced,
        worst=examples,
        importance=weights,
        warnings=(*judged.notices, *drift(preparation, part.inputs), *weak, *without),
    )


def _by_its_own_metrics(trained: Trained, judged: Judged, resamples: int, *, gallery: bool) -> Evaluation:
    """The evaluation of a task without an answer for each example."""
    began, task, part = time.perf_counter(), trained.task, judged.part
    assert isinstance(task, Examined)  # as every task is that is not supervised
    scores = examined_scores(trained, task, part, judged.order, resamples)
    measured = time.perf_counter()
    shown, without = _gallery(trained, part, wanted=gallery)
    seconds = {**judged.seconds, "metrics": measured - began, "pictures": time.perf_counter() - measured}
    found = _scored(trained, judged, scores, next(iter(task.scores.items())), resamples, seconds, shown)
    return replace(found, warnings=(*found.warnings, *without))


def _gallery(trained: Trained, part: Part, *, wanted: bool) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """The pictures, if they are wanted, or a sentence that says why there are none: the scores are there by then, and stay."""
    if not wanted:
        return (), ()
    try:
        return pictures_of(trained, part), ()
    except Exception as error:  # a network of the user's own may do anything when it is asked for what training never asked
        return (), (f"there are no pictures of what the network makes and sees: {told(error)}",)


def _scored(
    trained: Trained,
    judged: Judged,
    scores: Scores,
    judged_by: tuple[str, bool],
    resamples: int,
    seconds: Mapping[str, float],
    shown: tuple[Picture, ...],
) -> Evaluation:
    """The evaluation as far as it is the same for all tasks. `judged_by` is a metric, and whether more of it is better."""
    metric, maximize = judged_by
    return Evaluation(
        run=trained.run.id,
        name=trained.run.name,
        data=judged.data,
        split=judged.split,
        examples=len(judged.part),
        target=trained.preparation.spec.target,
        classes=(),
        step=trained.step,
        device=engine.describe_device(),
        scores=scores,
        headline=metric,
        maximize=maximize,
        resamples=resamples,
        baselines={},
        slices=(),
        worst=(),
        importance=(),
        warnings=judged.notices,
        seconds=seconds,
        gallery=shown,
    )


def with_judge(evaluation: Evaluation, trained: Trained, judge: Trained, judged: Judged) -> Evaluation:
    """The evaluation with what a classifier says of images that the network makes, beside those that were judged.

    Raises `UsageError` for a network that makes no images and for a judge that does not classify, `DataError` for other images.
    """
    check_judge(trained, judge)
    began = time.perf_counter()
    found = judged_images(judge, judged.part.inputs, *sampled(trained, GENERATED))
    own = {"frechet_logits": Measure(found.frechet_logits), "coverage": Measure(found.coverage / found.classes)}
    if found.right is not None:
        own["right_class"] = Measure(found.right)
    scores = replace(evaluation.scores, overall={**evaluation.scores.overall, **own})
    return replace(evaluation, scores=scores, seconds={**evaluation.seconds, "judge": time.perf_counter() - began})


def simple_models(trained: Trained, judged: Judged) -> Mapping[str, Mapping[str, float]]:
    """What simple models reach on the same examples, fitted on the run's training part: as it was kept, or else computed.

    Raises the `DlxError`s of reading the run's own data, where new data was judged.
    """
    if judged.dataset is not None and (kept := _kept(trained, judged)):
        return kept
    dataset = judged.dataset or trained.dataset()
    if judged.outputs is None:
        return own_simple_models(trained, dataset.train, judged.part)
    season = dataset.preprocessing.get("series", {}).get("season")
    return baselines(dataset.train, judged.part, dataset.spec, dataset.scaling, season)


def keep(trained: Trained, judged: Judged, evaluation: Evaluation) -> None:
    """Stores figures and predictions beside the run, for `dlx runs show --plot` and `dlx runs compare`.

    Neither of new data, nor of weights that met other code than in training. Raises `CannotWriteError`.
    """
    if judged.dataset is None or trained.changed:
        return
    if judged.outputs is not None:
        write_predictions(trained.run.path, _predictions(trained, judged))
    tree = {**evaluation_json(evaluation), "fingerprint": judged.fingerprint, "checkpoint": trained.digest}
    tree["baselines"] = tree["baselines"] or _kept(trained, judged)  # they were left out, and are as good as before
    engine.write_atomically(_figures_file(trained, judged), strict_json.dumps(tree).encode("utf-8", "backslashreplace"))


def predictions_of(run: RunRecord, store: Store, split: str) -> tuple[Predictions, tuple[str, ...]]:
    """What a run's network says of a part of its own data, and a sentence for each thing that is not as it was in training.

    As it was kept, if by the same weights and code, or else computed and kept. Raises the `DlxError`s of `restore` and `judge`.
    """
    trained = restore(run, store)
    kept = None if trained.changed else read_predictions(run.path, split, trained.digest)
    if kept is not None:
        return kept, trained.notices
    found = _predictions(trained, judge(trained, split=split))
    if not trained.changed:
        with contextlib.suppress(CannotWriteError):  # a store that can only be read: what is kept is only a shortcut
            write_predictions(run.path, found)
    return found, trained.notices


def _part(dataset: Dataset, split: str | None) -> tuple[str, Part]:
    """The name and the examples of a part, by default of the first that has any of test, validation and train."""
    parts = {"test": dataset.test, "validation": dataset.validation, "train": dataset.train}
    if split == "all":
        return "all", _joined([dataset.train, dataset.validation, dataset.test])
    chosen = split or next(name for name, part in parts.items() if len(part))
    if not len(parts[chosen]):
        others = ", ".join(name for name, part in parts.items() if len(part))
        raise UsageError(f"--split {chosen}: the {chosen} part of {dataset.name} has no examples; it has {others}")
    return chosen, parts[chosen]


def _trained_on(dataset: Dataset, split: str, examples: int) -> tuple[str, ...]:
    """What is to be said where training examples are judged."""
    if split not in ("train", "all"):
        return ()
    known = f"{len(dataset.train):,} of the {examples:,}" if split == "all" else f"all {examples:,}"
    return (f"{known} examples were trained on: on new ones a network is rarely as good",)


def _own_file(trained: Trained, data: str) -> tuple[str, ...]:
    """What is to be said where new data is a file that the run was trained on. Of folders and archives perhaps only a test part is judged."""
    config, source = trained.config.data, Path(data)
    trained_on = [vars(config)[key] for key in config.file_fields() if not key.startswith(("test", "validation"))]
    try:
        known = source.is_file() and source.suffix != ".npz" and any(path and source.samefile(path) for path in trained_on)
    except OSError:  # theirs is away, or may not be looked at
        known = False
    return (f"{data} is the run's own file: figures of what was trained on are no test",) if known else ()


def _joined(parts: Sequence[Part]) -> Part:
    rows = [part.rows for part in parts if part.rows is not None]
    names = [part.names for part in parts if part.names is not None]
    return Part(
        np.concatenate([part.inputs for part in parts]),
        np.concatenate([part.targets for part in parts]),
        None if len(rows) < len(parts) else pd.concat(rows),
        None if len(names) < len(parts) else np.concatenate(names),
    )


def _top_k(trained: Trained) -> tuple[int, ...]:
    """The k that the experiment asks for, in place of the usual one."""
    chosen = vars(trained.config.task).get("top_k")
    return () if chosen is None else (chosen,)


def _explained(trained: Trained, judged: Judged, outputs: np.ndarray, examples: Sequence[Example]) -> tuple[Example, ...]:
    """The examples with what their predictions depend on: maps of the pixels, or the columns of a table."""
    preparation, spec, scaling = trained.preparation, trained.preparation.spec, trained.preparation.scaling
    rows = np.array([example.row for example in examples], int)
    images = len(spec.input_shape) == 3
    if not len(rows) or not (images or preparation.encoder):
        return tuple(examples)
    part = judged.part.take(rows)
    chosen = wrong_output(part, outputs[rows], spec)
    moments = preparation.moments
    # Integrated gradients begin at the mean example, which is not 0 where `data.standardize` is false.
    reference = None if moments is None else (moments.mean - scaling.mean) * scaling.inverse_std

    def network(learner: LearnerState, inputs: jax.Array) -> jax.Array:
        return engine.predict_prepared(trained.task, trained.config, learner, inputs)

    bound = jax.tree_util.Partial(network, trained.learner)
    methods = METHODS if images else METHODS[-1:]
    found = attributions(bound, scaling.apply(part.inputs), chosen, methods=methods, reference=reference)
    if preparation.encoder is not None:
        columns = by_column(found["integrated gradients"], encoded(preparation.encoder))
        names = spec.classes or spec.target_names
        return tuple(
            replace(example, because=each, explained=names[output])
            for example, each, output in zip(examples, columns, chosen.tolist(), strict=True)
        )
    maps = {method: pictures(each) for method, each in found.items()}  # (examples, height, width) each
    return tuple(
        replace(example, saliency={method: each[place] for method, each in maps.items()})
        for place, example in enumerate(examples)
    )


def _predictions(trained: Trained, judged: Judged) -> Predictions:
    """Raises `UsageError` for a task that has no answer for each example."""
    spec = trained.preparation.spec
    require_answers(trained)
    assert judged.outputs is not None  # as of every task that has answers
    return Predictions(
        judged.outputs,
        judged.part.targets,
        spec.supervision,
        spec.classes or spec.target_names,
        judged.split,
        judged.fingerprint,
        trained.digest,
        trained.step,
    )


def _figures_file(trained: Trained, judged: Judged) -> Path:
    return trained.run.path / "evaluations" / f"{judged.split}.json"


def _kept(trained: Trained, judged: Judged) -> Mapping[str, Mapping[str, float]]:
    """The simple models' figures of an earlier evaluation on the same examples; empty where there are none."""
    try:
        tree = json.loads(_figures_file(trained, judged).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # none, or a damaged one, which is written anew
    known = isinstance(tree, dict) and tree.get("fingerprint") == judged.fingerprint
    return tree.get("baselines", {}) if known else {}
