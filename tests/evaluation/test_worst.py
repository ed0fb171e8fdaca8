"""The examples that a network is most wrong about: which they are, and how they are told."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax

from dlx.data import Part, Spec
from dlx.data.text_tokenizer import Tokenizer
from dlx.data.tokens import SPECIAL
from dlx.evaluation.worst import worst, wrong_output

RANDOM = np.random.Generator(np.random.Philox(key=10))
THREE = Spec((4,), "class", 3, ("cat", "dog", "owl"), (1, 1, 1), ("animal",), (), (), 3)
LABELS = Spec((4,), "labels", 3, ("sea", "sun", "sand"), (1, 1, 1), ("sea", "sun", "sand"), (), (), 3)
NUMBERS = Spec((4,), "number", 2, (), (), ("price", "age"), (0.0, 0.0), (1000.0, 10.0), 3)


def rows(count: int) -> np.ndarray:
    return RANDOM.standard_normal((count, 4)).astype(np.float32)


def test_the_highest_losses_first() -> None:
    logits = 3 * RANDOM.standard_normal((200, 3))
    targets = RANDOM.integers(0, 3, 200)
    found = worst(Part(rows(200), targets), logits, THREE, most=12)
    losses = -log_softmax(logits, axis=1)[np.arange(200), targets]
    order = np.argsort(-losses)[:12]
    assert np.bincount(targets[order]).max() <= 6  # of these none is left out for the sake of another class
    assert [each.row for each in found] == order.tolist()
    assert [each.loss for each in found] == pytest.approx(losses[order].tolist())
    first, row = found[0], found[0].row
    assert first.truth == THREE.classes[targets[row]]
    assert first.predicted == THREE.classes[logits[row].argmax()]
    assert first.confidence == pytest.approx(np.exp(log_softmax(logits[row]).max()))
    assert (first.picture, first.columns, first.saliency) == (None, None, None)


def test_images_are_named_by_their_files() -> None:
    part = Part(rows(2), np.array([0, 1]), names=np.array(["cat/1.png", "dog/2.png"]))
    assert [each.columns for each in worst(part, np.eye(3)[:2], THREE)] == [{"file": "cat/1.png"}, {"file": "dog/2.png"}]


def test_texts_are_shown_as_the_network_reads_them() -> None:
    words = Tokenizer("word", "spaces", lower=True, lines=False, tokens=(*SPECIAL, "a", "fine", "film"))
    part = Part(np.stack([words.encode("a fine film"), words.encode("a dull film")]), np.array([0, 1]))
    shown = worst(part, np.zeros((2, 3)), THREE, tokenizer=words)
    assert [each.columns for each in shown] == [{"text": "a fine film"}, {"text": "a <unk> film"}]


def test_equal_losses_are_in_the_order_of_the_rows() -> None:
    targets = np.arange(9) % 3
    found = worst(Part(rows(9), targets), np.zeros((9, 3)), THREE, most=4)
    assert [each.row for each in found] == [1, 2, 4, 5]  # the first class, which is predicted, is right


def test_equal_inputs_are_shown_once() -> None:
    part = Part(rows(4)[[0, 0, 1, 1, 2, 3]], np.zeros(6, int))
    assert [each.row for each in worst(part, np.eye(3)[[1, 1, 1, 1, 1, 0]], THREE)] == [0, 2, 4, 5]


def test_one_class_does_not_fill_everything() -> None:
    targets = np.repeat([0, 1, 2], [50, 10, 10])
    logits = np.zeros((70, 3))
    logits[:50, 1] = 9.0  # all cats are dogs, for certain
    logits[50:60, 2] = 2.0  # some dogs are owls
    logits[60:, 2] = 5.0
    found = worst(Part(rows(70), targets), logits, THREE)
    assert [each.row for each in found] == [0, 1, 2, 3, 4, 5, 50, 51, 52, 53, 54, 55]
    alone = worst(Part(rows(50), targets[:50]), logits[:50], THREE)
    assert [each.row for each in alone] == [*range(12)]  # there are no others
    few = worst(Part(rows(70)[[*range(8), 60, 61]], targets[[*range(8), 60, 61]]), logits[[*range(8), 60, 61]], THREE, most=8)
    assert [each.row for each in few] == [*range(8)]  # owls are right: a mistake is worth more


def test_what_is_least_sure_fills_up_where_mistakes_are_few() -> None:
    logits = np.zeros((6, 3))
    logits[:, 0] = [5, 4, 3, 2, 1, 0.5]
    logits[2, 1] = 8
    found = worst(Part(rows(6), np.zeros(6, int)), logits, THREE, most=3)
    assert [each.row for each in found] == [2, 5, 4]


def test_outputs_that_are_no_numbers_come_first() -> None:
    logits = np.zeros((3, 3))
    logits[1] = np.nan
    assert worst(Part(rows(3), np.zeros(3, int)), logits, THREE, most=1)[0].row == 1


def test_labels_in_words() -> None:
    targets = np.array([[1, 0, 1], [0, 0, 0]], np.float32)
    logits = np.array([[-2.0, 3.0, 1.0], [-1.0, -1.0, -1.0]])
    first, second = worst(Part(rows(2), targets), logits, LABELS)
    assert (first.truth, first.predicted) == ("sea, sand", "sun, sand")
    assert (second.truth, second.predicted) == ("no label", "no label")
    sigmoid = 1 / (1 + np.exp(-np.abs(logits[0])))
    assert first.confidence == pytest.approx(sigmoid.prod())
    losses = np.log1p(np.exp(np.array([2.0, 3.0, -1.0])))
    assert first.loss == pytest.approx(losses.mean())
    assert wrong_output(Part(rows(2), targets), logits, LABELS).tolist() == [1, 0]


def test_numbers_are_compared_in_standard_deviations() -> None:
    targets, outputs = np.array([[250_000.0, 30.0], [1000.0, 20.0]]), np.array([[252_000.0, 30.0], [1000.0, 60.5]])
    found = worst(Part(rows(2), targets), outputs, NUMBERS)
    assert [each.row for each in found] == [1, 0]
    assert [each.loss for each in found] == pytest.approx([4.05**2 / 2, 2.0])
    assert (found[1].truth, found[1].predicted) == ("price 250,000, age 30", "price 252,000, age 30")
    assert (found[0].predicted, found[0].confidence) == ("price 1,000, age 60.5", None)
    assert wrong_output(Part(rows(2), targets), outputs, NUMBERS).tolist() == [0, 1]
    one = replace(NUMBERS, outputs=1, target_names=("price",), target_mean=(0.0,), target_std=(2.0,))
    assert worst(Part(rows(1), np.array([[7.25]])), np.array([[3.0]]), one)[0].truth == "7.25"


def test_the_predicted_class_is_explained() -> None:
    logits = RANDOM.standard_normal((5, 3))
    assert wrong_output(Part(rows(5), np.zeros(5, int)), logits, THREE).tolist() == logits.argmax(1).tolist()


def test_rows_of_a_table_as_they_were_read() -> None:
    frame = pd.DataFrame(
        {"year": [1999, 2001], "fare": [7.25, 512.3292], "note": ["a\u2028<b>", None], "animal": ["cat", "dog"]}, index=[17, 4]
    )
    found = worst(Part(rows(2), np.array([0, 1]), frame), np.eye(3)[[2, 2]], THREE)
    assert [each.columns for each in found] == [
        {"year": "1999", "fare": "7.25", "note": "a\u2028<b>"},
        {"year": "2001", "fare": "512.3292", "note": "missing"},
    ]


def image(inputs: np.ndarray) -> np.ndarray:
    spec = replace(THREE, input_shape=inputs.shape[1:])
    picture = worst(Part(inputs, np.zeros(len(inputs), int)), np.zeros((len(inputs), 3)), spec)[0].picture
    assert picture is not None
    assert picture.dtype == np.uint8
    return picture


def test_pictures() -> None:
    photographs = RANDOM.integers(0, 256, (3, 5, 6, 3)).astype(np.uint8)
    np.testing.assert_array_equal(image(photographs), photographs[0])
    digits = (photographs[..., :1] // 16).astype(np.uint8)  # 0..15
    digits[0, 0, 0] = 15
    np.testing.assert_array_equal(image(digits), digits[0] * 17)
    floats = (photographs - 127.5) / 50
    assert np.abs(image(floats.astype(np.float32)).astype(int) - photographs[0]).max() <= 2
    many = RANDOM.integers(0, 256, (2, 4, 4, 7)).astype(np.uint8)
    assert np.abs(image(many).astype(int) - many[0].mean(-1, keepdims=True)).max() <= 0.5
    assert image(np.zeros((1, 2, 2, 1), np.float32)).max() == 0


def test_no_examples() -> None:
    assert worst(Part(rows(0), np.zeros(0, int)), np.zeros((0, 3)), THREE) == ()
