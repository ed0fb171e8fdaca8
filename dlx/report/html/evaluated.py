"""The sections of an evaluation: scores, classes, confusion, calibration, residuals, the worst examples, slices, columns."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from dlx.evaluation.results import Evaluation, Example, Measure, Slice
from dlx.report.confusion import confused_pairs
from dlx.report.evaluation import interval
from dlx.report.html.blocks import Column, beside, facts, folded, note, table
from dlx.report.html.gallery import gallery
from dlx.report.html.judgement import confusion_matrix, importance_bars, reliability_diagram, residual_plot
from dlx.report.html.markup import EMPTY, Content, Html, joined, shareable, tag
from dlx.report.html.page import Section
from dlx.report.html.picture import fitting_side, heat, png
from dlx.report.words import cut, number, plural, seconds

UNKNOWN: Final = "\N{EN DASH}"
"""What stands where a figure is not defined."""
ROWS: Final = 200
"""Rows of a table that are shown, at most: of classes, slices, labels."""
REASONS: Final = 4
"""Columns that are said to decide a prediction."""


def evaluation_sections(evaluation: Evaluation) -> Iterator[Section]:
    """All that an evaluation found, each under its heading."""
    yield Section(f"Scores on {evaluation.split}", joined([_judged(evaluation), _scores(evaluation)]))
    yield Section("What it makes and sees", gallery(evaluation.gallery))
    yield Section(
        "Each class" if evaluation.target == "class" else "Each " + evaluation.target.removesuffix("s"), _each(evaluation)
    )
    if evaluation.scores.confusion is not None:
        yield Section("Confusion", _confusion(evaluation))
    yield Section("Calibration", _calibration(evaluation))
    yield Section("Residuals", _residuals(evaluation))
    yield Section("Worst examples", _worst(evaluation))
    yield Section("Slices", _slices(evaluation))
    yield Section("Which columns matter", _importance(evaluation))


def measured(measure: Measure) -> str:
    """The value, or a dash where it is not defined."""
    return value_or_dash(measure.value)


def value_or_dash(value: float | None) -> str:
    """A number as elsewhere, or a dash where there is none."""
    return UNKNOWN if value is None or math.isnan(value) else number(value)


def _judged(evaluation: Evaluation) -> Html:
    took = sum(evaluation.seconds.values())
    sense = "higher" if evaluation.maximize else "lower"
    words = f"{plural(evaluation.examples, 'example')} of {shareable(evaluation.data)} ({evaluation.split}), judged by the weights of step "
    words += f"{evaluation.step} on {evaluation.device}" + (f" in {seconds(took)}" if took else "")
    words += f"; to judge by: {evaluation.headline}, {sense} is better."
    if evaluation.resamples:
        words += f" Intervals hold 95 % of {evaluation.resamples:,} bootstrap resamples of these examples."
    return tag("p", words)


def _scores(evaluation: Evaluation) -> Html:
    """One row for each metric: the network, its interval, the simple models."""
    overall = evaluation.scores.overall
    intervals = any(interval(measure) for measure in overall.values())
    columns = [Column("metric", numbers=False), Column("network"), *([Column("95 % interval")] if intervals else [])]
    columns += [Column(name) for name in evaluation.baselines]
    rows = [
        [
            name,
            measured(measure),
            *([interval(measure)] if intervals else []),
            *(value_or_dash(found.get(name)) for found in evaluation.baselines.values()),
        ]
        for name, measure in overall.items()
    ]
    beside_it = ", beside simple models fitted to the same data" if evaluation.baselines else ""
    shade = [at for at, name in enumerate(overall) if name == evaluation.headline]
    return table(f"The network{beside_it}", columns, rows, shade)


def _each(evaluation: Evaluation) -> Html:
    """One row for each class, label or number."""
    each = evaluation.scores.each
    if not each:
        return EMPTY
    shown = evaluation.classes[:ROWS]
    word = {"class": "class", "labels": "label", "number": "number"}[evaluation.target]
    rows = [[name, *(_with_interval(found[at]) for found in each.values())] for at, name in enumerate(shown)]
    caption = "Each by itself; point at a value for its 95 % interval"
    if len(shown) < len(evaluation.classes):
        caption += f"; the first {len(shown)} of {len(evaluation.classes)}"
    made = table(caption, [Column(word, numbers=False), *map(Column, each)], rows)
    return made if len(shown) <= 30 else folded(f"{len(shown)} rows", made)


def _with_interval(measure: Measure) -> Content:
    limits = interval(measure)
    return tag("span", measured(measure), attributes={"title": limits}) if limits else measured(measure)


def _confusion(evaluation: Evaluation) -> Html:
    counts = evaluation.scores.confusion
    assert counts is not None
    pairs = confused_pairs(counts, 12)
    totals = counts.sum(1)
    rows = [
        [evaluation.classes[true], evaluation.classes[guessed], f"{count:,}", f"{count / totals[true]:.1%}"]
        for true, guessed, count in pairs
    ]
    columns = [
        Column("true", numbers=False),
        Column("predicted", numbers=False),
        Column("examples"),
        Column("of the true class"),
    ]
    listed = table("The most frequent errors", columns, rows) if rows else note("Nothing was confused.")
    return beside(confusion_matrix(counts, evaluation.classes).block("confusion"), listed)


def _calibration(evaluation: Evaluation) -> Html:
    bins = evaluation.scores.reliability
    ece = evaluation.scores.overall.get("ece")
    drawing = reliability_diagram(bins, ece.value if ece else None) if bins is not None else None
    if bins is None or drawing is None:
        return EMPTY
    columns = [Column("confidence", numbers=False), Column("examples"), Column("mean confidence"), Column("share right")]
    rows = [
        [
            f"{bins.edges[at]:.2f} to {bins.edges[at + 1]:.2f}",
            f"{int(n):,}",
            value_or_dash(float(said)),
            value_or_dash(float(right)),
        ]
        for at, (n, said, right) in enumerate(zip(bins.count, bins.confidence, bins.right, strict=True))
        if n
    ]
    whose = "Confidence in the predicted class" if evaluation.target == "class" else "Probability of each label"
    said = tag("p", f"{whose}: where the network is right as often as it says, the bars end on the line; {drawing.seen}.")
    return joined([said, beside(drawing.block("calibration"), table("The bins that hold examples", columns, rows))])


def _residuals(evaluation: Evaluation) -> Html:
    residuals = evaluation.scores.residuals
    drawing = residual_plot(residuals, evaluation.classes) if residuals is not None else None
    if residuals is None or drawing is None:
        return EMPTY
    names = evaluation.classes[:ROWS]
    rows = [[name, *(value_or_dash(found[at]) for found in residuals.quantiles.values())] for at, name in enumerate(names)]
    columns = [Column("quantile", numbers=False), *(Column(name) for name in residuals.quantiles)]
    return joined(
        [drawing.block("residuals"), table("Quantiles of prediction minus truth, in the data's units", columns, rows)]
    )


def _worst(evaluation: Evaluation) -> Html:
    """The examples with the highest loss: pictures in a grid with their saliency maps, rows in a table."""
    examples = evaluation.worst
    if not examples:
        return EMPTY
    said = tag("p", f"The {plural(len(examples), 'example')} with the highest loss, the worst first.")
    sizes = [
        (map_.shape[0], map_.shape[1])
        for e in examples
        if e.picture is not None
        for map_ in (e.picture, *(e.saliency or {}).values())
    ]
    if sizes:
        side = fitting_side(sizes)
        if any(example.saliency for example in examples):
            said = joined([said, tag("p", "Saliency maps: the brighter, the more that part moves the predicted output.")])
        cards = tag("ul", *(_card(example, evaluation.split, side) for example in examples), attributes={"class": "examples"})
        return joined([said, cards])
    sure = any(example.confidence is not None for example in examples)
    names = list(dict.fromkeys(name for example in examples for name in example.columns or {}))
    columns = [
        Column("row"),
        Column("loss"),
        Column("true", numbers=False),
        Column("predicted", numbers=False),
        *([Column("confidence")] if sure else []),
    ]
    because = any(example.because for example in examples)
    columns += [
        *([Column("depends most on", numbers=False)] if because else []),
        *(Column(name, numbers=False) for name in names),
    ]
    rows = [
        [
            str(e.row if e.file_row is None else e.file_row),
            number(e.loss),
            e.truth,
            e.predicted,
            *([_sure(e)] if sure else []),
            *([_reasons(e)] if because else []),
            *(cut((e.columns or {}).get(name, "")) for name in names),
        ]
        for e in examples
    ]
    return joined(
        [
            said,
            table(
                f"Rows of {'the file' if examples[0].file_row is not None else evaluation.split}, counted from 0", columns, rows
            ),
        ]
    )


def _reasons(example: Example) -> str:
    """The columns that its prediction depends on most, with what each adds to the output (integrated gradients)."""
    added = ", ".join(f"{cut(name)} {value:+.2g}" for name, value in list((example.because or {}).items())[:REASONS])
    return f"{example.explained}: {added}" if example.explained else added


def _card(example: Example, split: str, side: int) -> Html:
    shown = []
    if example.picture is not None:
        alt = f"{split} example {example.row}: true {example.truth}, predicted {example.predicted}"
        shown = [_captioned(png(example.picture, alt, side), "picture")]
        shown += [
            _captioned(heat(values, f"{method} saliency of {split} example {example.row}", side), method)
            for method, values in (example.saliency or {}).items()
        ]
    words = facts(
        [
            ("true", example.truth),
            ("predicted", example.predicted + (f" ({_sure(example)})" if example.confidence is not None else "")),
            ("loss", number(example.loss)),
            ("example", str(example.row)),
            *((name, cut(value)) for name, value in (example.columns or {}).items()),
        ]
    )
    return tag("li", tag("div", *shown, attributes={"class": "pictures"}), words)


def _captioned(image: Html, words: str) -> Html:
    return tag("div", image, tag("span", words))


def _sure(example: Example) -> str:
    return "" if example.confidence is None else f"{example.confidence:.1%}"


def _slices(evaluation: Evaluation) -> Html:
    """A table for each column: how good the network is where it has this value."""
    return joined(
        _slice_table(column, [each for each in evaluation.slices if each.column == column], evaluation)
        for column in dict.fromkeys(each.column for each in evaluation.slices)
    )


def _slice_table(column: str, slices: Sequence[Slice], evaluation: Evaluation) -> Html:
    metrics = _main_metrics(slices[0].overall, evaluation.headline)
    whole = evaluation.scores.overall
    columns = [Column(column, numbers=False), Column("examples"), Column(metrics[0]), Column("95 % interval")]
    columns += [Column(name) for name in metrics[1:]]

    def row(name: str, examples: int, overall: Mapping[str, Measure]) -> list[str]:
        first = overall.get(metrics[0], Measure(math.nan))
        others = (measured(overall.get(name, Measure(math.nan))) for name in metrics[1:])
        return [name, f"{examples:,}", measured(first), interval(first), *others]

    rows = [row(each.value, each.examples, each.overall) for each in slices[:ROWS]]
    return table(f"By {column}", columns, [*rows, row("all examples", evaluation.examples, whole)], shade=[len(rows)])


def _main_metrics(overall: Mapping[str, Measure], headline: str) -> list[str]:
    """The one to judge by, and up to five others."""
    return list(dict.fromkeys([headline, *overall]))[:6]


def _importance(evaluation: Evaluation) -> Html:
    drawing = importance_bars(evaluation.importance, evaluation.headline)
    if drawing is None:
        return EMPTY
    said = tag(
        "p",
        f"By how much {evaluation.headline} gets worse when a column's values are shuffled among the examples (Breiman 2001).",
    )
    return joined([said, drawing.block("importance")])
