"""Permutation importance against what is known in closed form, and against scikit-learn's."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance

from dlx.data import Part
from dlx.data.encoder import TableEncoder
from dlx.evaluation.importance import MOST, encoded, importance

RANDOM = np.random.Generator(np.random.Philox(key=9))


def single(names: str) -> dict[str, np.ndarray]:
    return {name: np.array([place]) for place, name in enumerate(names)}


def test_of_a_linear_model_it_is_twice_the_squared_weight_times_the_variance() -> None:
    x = (RANDOM.standard_normal((4000, 3)) * [1, 2, 3]).astype(np.float32)
    weights, noise = np.array([1.0, -2.0, 0.0]), 0.5 * RANDOM.standard_normal(4000)
    part = Part(x, (x @ weights + noise)[:, None])
    found = {each.column: each for each in importance(lambda x: (x @ weights)[:, None], part, "number", single("abc"))}
    for name, weight, variance in zip("abc", weights, x.var(0), strict=True):
        least = np.sqrt(np.square(noise).mean())
        expected = np.sqrt(least**2 + 2 * weight**2 * variance) - least  # of the rmse
        assert found[name].mean == pytest.approx(expected, rel=0.03, abs=1e-9)
        assert found[name].deviation < 0.05
    assert (found["c"].mean, found["c"].deviation) == (0, 0)


def test_it_agrees_with_scikit_learn() -> None:
    x = RANDOM.standard_normal((600, 5)).astype(np.float32)
    y = (2 * x[:, 1] + x[:, 3] + 0.5 * x[:, 0] + 0.3 * RANDOM.standard_normal(600) > 0).astype(int)
    forest = RandomForestClassifier(30, random_state=0).fit(x, y)
    part = Part(x, y)
    ours = importance(lambda x: np.log(forest.predict_proba(x) + 1e-9), part, "class", single("abcde"), shuffles=10)
    theirs = permutation_importance(forest, x, y, n_repeats=10, random_state=1)
    for each in ours:
        place = "abcde".index(each.column)
        assert each.mean == pytest.approx(theirs["importances_mean"][place], abs=0.015)
        assert each.deviation == pytest.approx(theirs["importances_std"][place], abs=0.01)
    clear = [each.column for each in ours][:3]
    assert clear == ["abcde"[place] for place in np.argsort(-theirs["importances_mean"])[:3]] == ["b", "d", "a"]


def test_what_is_made_of_one_column_is_shuffled_together() -> None:
    frame = pd.DataFrame({"age": [1.0, 2.5, None, 7.0] * 30, "sex": ["f", "m", "m", "x"] * 30})
    encoder = TableEncoder.fit(frame, 20)
    inputs = encoder.transform(frame)
    columns = encoded(encoder)
    assert {name: places.tolist() for name, places in columns.items()} == {"age": [0, 1], "sex": [2, 3, 4]}
    seen: list[np.ndarray] = []

    def forward(inputs: np.ndarray) -> np.ndarray:
        seen.append(inputs)
        return inputs[:, 2:4]

    part = Part(inputs, np.arange(120) % 2)
    importance(forward, part, "class", columns, shuffles=2)
    rows = {tuple(row) for row in inputs[:, 2:].tolist()}
    pairs = {tuple(row) for row in inputs[:, :2].tolist()}
    assert len(seen) == 1 + 2 * 2
    for given in seen[1:]:
        assert {tuple(row) for row in given[:, 2:].tolist()} == rows  # no row of two categories, or of none
        assert {tuple(row) for row in given[:, :2].tolist()} == pairs
        assert sum((given[:, places] != inputs[:, places]).any() for places in columns.values()) == 1


def test_at_most_so_many_examples_always_the_same_and_the_inputs_are_left_alone() -> None:
    x = RANDOM.standard_normal((MOST + 1000, 2)).astype(np.float32)
    part, kept, lengths = Part(x, (x[:, 0] > 0).astype(int)), x.copy(), set()

    def forward(inputs: np.ndarray) -> np.ndarray:
        lengths.add(len(inputs))
        return np.stack([-inputs[:, 0], inputs[:, 0]], 1)

    first = importance(forward, part, "class", single("ab"))
    assert first == importance(forward, part, "class", single("ab"))
    assert first != importance(forward, part, "class", single("ab"), seed=1)
    assert lengths == {MOST}
    np.testing.assert_array_equal(x, kept)
    assert first[0].column == "a"
    assert first[0].mean == pytest.approx(0.5, abs=0.02)
