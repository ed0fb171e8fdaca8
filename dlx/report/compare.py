"""Runs side by side: the table, what it means in words, and what else differs."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from dlx.evaluation.comparison import Candidate, Comparison, Difference
from dlx.report.runs_export import flattened
from dlx.report.tables import fitted, grid
from dlx.report.words import plural, value_word

METHODS: Final = {
    "mcnemar": "McNemar's test (mid-p)",
    "bootstrap": "paired bootstrap, Student's t",
    "bootstrap over examples and seeds": "bootstrap over examples and spread over seeds, Student's t",
}
_SEEDS: Final = ("train.seed", "data.seed")


def comparison_lines(found: Comparison, console: Console) -> Iterator[RenderableType]:
    """The table, the answer, which config fields differ, and what the comparison does not tell."""
    yield from fitted(comparison_table(found), console)
    yield escape(answer(found))
    yield escape(_method_line(found))
    fields = differing_fields(found)
    if fields:
        yield ""
        yield from fitted(fields_table(found, fields), console)
    yield from (f"[yellow]note:[/] {escape(note)}" for note in found.notes)


def comparison_table(found: Comparison) -> Table:
    """One row for each candidate, the best first."""
    table = grid()
    table.add_column("name", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    table.add_column(f"{found.split}/{found.metric}", no_wrap=True)
    if found.seeds_matter:
        table.add_column("sd over seeds", justify="right", no_wrap=True)
    table.add_column("difference to the best", no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    digits = _digits(found)
    for each in found.candidates:
        low, high = each.measure.low, each.measure.high
        limits = "" if low is None or high is None else f" ({low:.{digits}f} to {high:.{digits}f})"
        spread = ("" if each.deviation is None else f"{each.deviation:.{digits}f}",) if found.seeds_matter else ()
        table.add_row(
            escape(each.name),
            str(len(each.runs)),
            f"{each.measure.value:.{digits}f}{limits}",
            *spread,
            "" if each.difference is None else _difference(each.difference, digits),
            "" if each.difference is None else _p(each.difference.p_corrected),
            _verdict(each),
        )
    return table


def fields_table(found: Comparison, fields: Mapping[str, Mapping[str, Any]]) -> Table:
    """One row for each field of the config that differs, one column for each candidate."""
    table = grid()
    table.add_column("differs", no_wrap=True)
    for each in found.candidates:
        table.add_column(escape(each.name), overflow="fold")
    for key, values in fields.items():
        cells = (escape(value_word(values[each.name])) if each.name in values else "-" for each in found.candidates)
        table.add_row(escape(key), *cells)
    return table


def differing_fields(found: Comparison) -> dict[str, dict[str, Any]]:
    """The config's fields that differ, by dotted key, with the values by candidate; one that has no such field is not there.

    Seeds that are repeats are left out.
    """
    configs = {each.name: flattened(each.config) for each in found.candidates}
    keys = dict.fromkeys(key for config in configs.values() for key in config)
    values = {key: {name: config[key] for name, config in configs.items() if key in config} for key in keys}
    return {
        key: each
        for key, each in values.items()
        if not (found.seeds_matter and key in _SEEDS)
        if len(each) < len(configs) or len({json.dumps(value, sort_keys=True) for value in each.values()}) > 1
    }


def answer(found: Comparison) -> str:
    """The result in a sentence. Never that candidates are equal: at most that these examples do not show a difference."""
    best, *others = found.candidates
    show = f"that these {_evidence(found)} can show"
    if len(others) == 1:
        other = others[0]
        assert other.difference is not None  # only the best has none
        figures = _pair_figures(found, other)
        if other.verdict == "worse":
            return f"{best.name} is better than {other.name}: {figures}"
        return f"no difference between {best.name} and {other.name} {show}: {figures}"
    worse = [each.name for each in others if each.verdict == "worse"]
    unclear = [each.name for each in others if each.verdict != "worse"]
    if not worse:
        return f"no difference between {best.name} and any of {', '.join(unclear)} {show}"
    if not unclear:
        return f"{best.name} is the best: better than {', '.join(worse)}"
    return f"{best.name} is better than {', '.join(worse)}; no difference to {', '.join(unclear)} {show}"


def comparison_json(found: Comparison) -> dict[str, Any]:
    """The comparison as one tree of plain values; the candidates the best first."""
    fields = differing_fields(found)
    candidates = [
        {
            "name": each.name,
            "runs": list(each.runs),
            "values": list(each.values),
            "mean": each.measure.value,
            "interval": [each.measure.low, each.measure.high],
            "deviation": each.deviation,
            "verdict": each.verdict,
            "difference": None if each.difference is None else asdict(each.difference),
            "config": {key: values[each.name] for key, values in fields.items() if each.name in values},
        }
        for each in found.candidates
    ]
    return {
        "metric": f"{found.split}/{found.metric}",
        "direction": "maximize" if found.maximize else "minimize",
        "examples": found.examples,
        "resamples": found.resamples,
        "seeds_matter": found.seeds_matter,
        "candidates": candidates,
        "message": answer(found),
        "notes": list(found.notes),
    }


def _pair_figures(found: Comparison, other: Candidate) -> str:
    """`difference 0.0111 (95 % interval 0.0020 to 0.0202), p = 0.021; 9 examples only ...`, in the sense best minus other."""
    best, difference = found.candidates[0], other.difference
    assert difference is not None
    digits = _digits(found)
    low, high = -difference.high, -difference.low
    words = (
        f"difference in {found.metric} {_rounded(-difference.value, digits)} "
        f"(95 % interval {_rounded(low, digits)} to {_rounded(high, digits)}), p {_relation(difference.p_corrected)}"
    )
    if difference.discordant is None:
        return words
    only_other, only_best = difference.discordant
    return f"{words}; {plural(only_best, 'example')} only {best.name} has right, {only_other:,} only {other.name}"


def _method_line(found: Comparison) -> str:
    methods = dict.fromkeys(METHODS[each.difference.method] for each in found.candidates if each.difference is not None)
    pairs = math.comb(len(found.candidates), 2)
    corrected = f"; p corrected for {pairs} pairs (Holm), intervals of 95 % for each by itself" if pairs > 1 else ""
    return f"p: {' and '.join(methods)}{corrected}"


def _evidence(found: Comparison) -> str:
    examples = f"{found.examples:,} {found.split} examples"
    return f"{examples} and {sum(len(each.runs) for each in found.candidates)} seeds" if found.seeds_matter else examples


def _verdict(each: Candidate) -> str:
    if each.verdict == "better":
        return "[green]better[/]"
    if each.verdict == "worse":
        return "[red]worse[/]"
    return "" if each.difference is None else "no difference shown"


def _difference(difference: Difference, digits: int) -> str:
    return (
        f"{_rounded(difference.value, digits, '+')} ({_rounded(difference.low, digits, '+')} to "
        f"{_rounded(difference.high, digits, '+')})"
    )


def _digits(found: Comparison) -> int:
    """Decimals: four significant digits of the largest figure, and two of the smallest interval's half."""
    largest = max(abs(each.measure.value) for each in found.candidates)
    reaches = [(each.difference.high - each.difference.low) / 2 for each in found.candidates if each.difference is not None]
    finest = min((reach for reach in reaches if reach > 0), default=largest)
    wanted = [3 - _exponent(largest) if largest else 0, 1 - _exponent(finest) if finest else 0]
    return min(max(*wanted, 0), 10)


def _exponent(value: float) -> int:
    return math.floor(math.log10(value))


def _rounded(value: float, digits: int, sign: str = "") -> str:
    """With so many decimals; never a negative zero."""
    return f"{round(value, digits) + 0.0:{sign}.{digits}f}"


def _p(p: float) -> str:
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _relation(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
