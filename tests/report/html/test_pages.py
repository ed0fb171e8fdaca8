"""Whole pages as a parser sees them: well nested, self-contained, labelled, and with user text as text only."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from dlx.errors import Status
from dlx.evaluation.results import Example, Measure, Scores
from dlx.report.html.markup import plain
from dlx.report.html.page import POLICY
from dlx.report.html.run import run_page
from dlx.report.html.runs import Compared, runs_page
from dlx.report.html.sweep import sweep_page
from dlx.report.sweep_pictures import sweep_figures
from dlx.store import SweepRecord, Training, TrialRecord, open_store
from tests.report.html.made_up import CONFIG, HOSTILE, curves, evaluation, run_record, sweep_record, table_evaluation

MADE = "Written by a test."
VOID = frozenset({"br", "img", "meta", "wbr"})
KINDS = ("run", "table", "bare", "hostile", "sweep", "empty sweep", "runs")


class Page(HTMLParser):
    """The elements of a page with their attributes and texts; `errors` says what is not nested as it must be."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.errors: list[str] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        self.errors += self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {key: value or "" for key, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.errors.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.texts))


@cache
def made(kind: str) -> str:
    """A page of this kind."""
    match kind:
        case "run":
            return run_page(run_record(), curves(), evaluation(), MADE)
        case "table":
            return run_page(run_record(), curves(2000), table_evaluation(), MADE)
        case "bare":
            fields = {"status": Status.FAILED, "message": HOSTILE[6], "name": None}
            failed = run_record(**fields, metrics={}, environment={}, segments=(), seconds_text="{}")
            return run_page(failed, {}, f"It could not be judged: {HOSTILE[1]}", MADE)
        case "hostile":
            config = {**CONFIG, "model": {"kind": HOSTILE[0], HOSTILE[1]: HOSTILE[2]}, HOSTILE[3]: {HOSTILE[4]: HOSTILE[6]}}
            monitor = f"validation/{HOSTILE[1]}"
            run = run_record(name=HOSTILE[0], message=HOSTILE[3], command=HOSTILE[2], config=config, monitor=monitor)
            odd = {monitor: [(1, 0.5), (2, math.nan)], **curves()}
            return run_page(run, odd, evaluation(data=HOSTILE[0], split=HOSTILE[1], warnings=HOSTILE), MADE)
        case "sweep":
            return page_of(sweep_record(), {"optimizer.lr": 0.6, HOSTILE[0]: 0.3})
        case "empty sweep":
            return page_of(sweep_record(0), {})
    return runs_page([Compared(run_record(id=f"a{at}", name=name), curves(3 + at)) for at, name in enumerate(HOSTILE)], MADE)


def page_of(sweep: SweepRecord, importances: Mapping[str, float]) -> str:
    with TemporaryDirectory() as folder, open_store(str(Path(folder) / "dlx.db")) as store:
        return sweep_page(sweep, sweep_figures(store, sweep, importances), importances, MADE)


@pytest.mark.parametrize("kind", KINDS)
def test_elements_are_nested_and_ids_are_unique(kind: str) -> None:
    page = Page(made(kind))
    assert page.errors == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = {value[1:] for _, found in page.elements for key, value in found.items() if key == "href" and value.startswith("#")}
    assert links <= set(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_loaded_and_nothing_could_be(kind: str) -> None:
    page = Page(made(kind))
    assert {"http-equiv": "Content-Security-Policy", "content": POLICY} in page.all("meta")
    assert not {tag for tag, _ in page.elements} & {
        "script",
        "link",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "foreignobject",
    }
    for _, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("href", "src", "xlink:href", "action"):
            assert attributes.get(key, "#").startswith(("#", "data:image/png;base64,"))
        assert not re.search(r"url\((?!#)", attributes.get("style", ""))
    style = made(kind).partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_and_tables_say_what_they_are(kind: str) -> None:
    page = Page(made(kind))
    assert all(found["alt"] for found in page.all("img"))
    assert all(len(found["aria-label"]) > 10 for found in page.all("svg"))
    assert len(page.all("figure")) == len(page.all("svg")) == len(page.all("figcaption"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(found["scope"] in ("row", "col") for found in page.all("th"))
    assert len(page.all("h1")) == 1
    assert page.all("html") == [{"lang": "en"}]


@pytest.mark.parametrize("kind", ["hostile", "sweep", "runs"])
def test_names_that_are_markup_are_shown_as_they_are(kind: str) -> None:
    words = Page(made(kind)).words
    assert [name for name in HOSTILE if re.sub(r"\s+", " ", plain(name)) not in words] == []
    assert "<script" not in made(kind)
    assert "\x1b" not in made(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_does_not_tell_where_it_was_made(kind: str) -> None:
    assert "/home/ada" not in made(kind)
    assert "secret-host" not in made(kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_stays_below_a_megabyte(kind: str) -> None:
    assert len(made(kind).encode()) < 300_000


def test_large_photographs_and_many_classes_stay_below_a_megabyte() -> None:
    rng = np.random.default_rng(0)
    photo, methods = rng.integers(0, 256, (224, 224, 3)).astype(np.uint8), ("gradient", "smoothgrad", "integrated gradients")
    maps = {name: rng.random((224, 224)).astype(np.float32) for name in methods}
    worst = tuple(Example(at, 3.0, "a", "b", 0.9, photo, maps) for at in range(12))
    found = evaluation(classes=tuple(f"class {at}" for at in range(300)), worst=worst)
    text = run_page(run_record(), curves(20_000), found, MADE)
    assert len(text.encode()) < 1_000_000
    assert len(Page(text).all("img")) == 48


def test_the_page_of_a_run_has_all_that_an_evaluation_found() -> None:
    page = Page(made("run"))
    for said in ("0.9123", "0.8923 to 0.9323", "majority", "boosted trees", "Confusion matrix", "Reliability diagram"):
        assert said in page.words
    figures = {found["id"] for found in page.all("figure")}
    assert figures == {"curves", "confusion", "calibration"}
    methods = ("picture", "gradient", "smoothgrad", "integrated gradients")
    assert all(page.texts.count(method) == 12 for method in methods)
    assert "train - validation accuracy: +0.0900, overfitting" in page.words


def test_the_page_of_a_table_has_rows_slices_and_columns() -> None:
    page = Page(made("table"))
    assert {found["id"] for found in page.all("figure")} == {"curves", "residuals", "importance"}
    for said in ("[17, 22)", "all examples", "1.7 standard deviations away", "Exec-managerial", "Rows of the file"):
        assert said in page.words
    assert "confidence" not in page.words


def test_metrics_that_are_not_defined_are_a_dash() -> None:
    scores = Scores({"accuracy": Measure(math.nan), "log_loss": Measure(math.inf)}, {})
    text = run_page(run_record(metrics={}), {}, evaluation(scores=scores, worst=(), baselines={}), MADE)
    assert "–" in Page(text).words
    assert "nan" not in Page(text).words


def test_long_words_of_a_tile_break_after_a_slash() -> None:
    assert "by validation/<wbr>accuracy</small>" in made("run")


def test_a_run_that_was_not_judged_says_why() -> None:
    words = Page(made("bare")).words
    assert "It could not be judged" in words
    assert "it ended before its first evaluation (step 60 of 60)" in words


def test_the_reason_for_no_evaluation_does_not_tell_where_it_was() -> None:
    text = run_page(run_record(), {}, "It could not be judged: there is no /home/ada/work/net.py.", MADE)
    assert "there is no net.py" in Page(text).words


def test_scores_are_called_those_of_the_best_weights_only_where_they_are() -> None:
    scored = {"train/loss": 0.9, "validation/loss": 0.8}
    stopped = run_record(id="b1", name="stopped", status=Status.LOST, metrics=scored)
    assert "By part of the data, the latest values" in Page(run_page(stopped, {}, "", MADE)).words
    assert "best weights" not in Page(run_page(stopped, {}, "", MADE)).words
    trial = run_record(metrics=scored | {"best/step": 40.0})
    found = {"train/loss": [(40, 1.0), (60, 0.9)], "validation/loss": [(40, 0.8), (60, 0.85)]}
    assert "By part of the data, at the best weights; train: the latest values" in Page(run_page(trial, found, "", MADE)).words
    words = Page(runs_page([Compared(trial, found), Compared(stopped, {}), Compared(run_record(id="c1"), {})], MADE)).words
    assert "At the best weights of each run; the latest values of first (a1b2c3d4) (train), stopped (b1)" in words
    assert "The latest values of each run" in Page(runs_page([Compared(stopped, {})] * 2, MADE)).words


def test_a_run_that_goes_on_says_so() -> None:
    text = run_page(
        run_record(status=Status.RUNNING, finished=None, message="", metrics={}, step=3), {}, "It was not judged.", MADE
    )
    assert "it has not been evaluated yet (step 3 of 60)" in Page(text).words


def test_the_page_of_a_sweep_has_all_its_pictures_and_tables() -> None:
    page = Page(made("sweep"))
    names = {found["id"] for found in page.all("figure")}
    assert names == {"history", "learning_curves", "parallel_coordinates", "importance", "slices", "front"}
    assert "The best 8 of 8 completed trials" in page.words
    assert "tag(log, interval(0.0001, 0.1))" in page.words
    assert f"trial said {HOSTILE[0]} at ~/work/net.py" in page.words
    assert "optimizer.lr 67%; " in next(found["aria-label"] for found in page.all("svg") if "67%" in found["aria-label"])


def test_the_page_of_a_sweep_without_a_trial_says_so() -> None:
    assert "No trial has completed yet." in Page(made("empty sweep")).words


def test_a_sweep_whose_trials_have_no_finite_value_says_so() -> None:
    lost = Training(0, None, 0, Status.COMPLETED, (math.nan, 1.0), {}, "")
    trials = tuple(TrialRecord(number, {"optimizer.lr": 0.1}, (lost,)) for number in range(2))
    page = Page(page_of(replace(sweep_record(0), trials=trials), {}))
    assert "No completed trial has a finite value." in page.words
    assert "2 completed; no completed trial has a finite value" in page.all("svg")[0]["aria-label"]


def test_runs_that_differ_in_a_late_digit_or_a_type_do_so_on_the_page() -> None:
    configs = [{**CONFIG, "train": {"duration": "3 epochs", "batch_size": 64, "rate": rate}} for rate in (0.10001, 0.10002)]
    parts = [Compared(run_record(id=f"a{at}", config=config), {}) for at, config in enumerate(configs)]
    words = Page(runs_page(parts, MADE)).words
    assert "1 field differs" in words
    assert "0.10001" in words
    assert "0.10002" in words


def test_runs_are_compared_by_metrics_and_by_the_fields_that_differ() -> None:
    other = {**CONFIG, "optimizer": {"kind": "sgd", "lr": 0.1, "momentum": 0.9}}
    worse = run_record(id="b1", name="second", config=other, metrics={"validation/accuracy": 0.8})
    words = Page(runs_page([Compared(run_record(), curves()), Compared(worse, {})], MADE)).words
    assert "The best validation/accuracy is that of first (a1b2c3d4): 0.9." in words
    assert "4 fields differ; 11 fields the same" in words, "of which one is null in one config, and not in the other"
    assert "optimizer.momentum" in words
    assert "batch_size" not in words


def test_runs_of_one_config_say_so() -> None:
    same = [Compared(run_record(id=name), {}) for name in ("a1", "a2")]
    words = Page(runs_page(same, MADE)).words
    assert "Their configs are equal." in words
    assert "None of these runs was evaluated before it ended." in words
