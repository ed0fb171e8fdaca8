"""Classes as texts to be written."""

import numpy as np
import pytest

from dlx.config.data import Digits
from dlx.data import Preparation, load
from dlx.data.captions import captioned
from dlx.data.tokens import END, SPECIAL
from dlx.errors import ConfigError

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def test_captions_are_letters_an_end_and_padding():
    targets, _ = captioned(np.array([1, 0, 1]), ("x", "y"), ("ab", "c"), "some images")
    assert targets.vocabulary == len(SPECIAL) + 3
    a, b, c = range(len(SPECIAL), len(SPECIAL) + 3)
    np.testing.assert_array_equal(targets.values, [[c, END, 0], [a, b, END], [c, END, 0]])


def test_a_source_of_images_has_captions_as_targets_and_what_reads_them():
    plain, spelled = load(Digits(), "class"), load(Digits(captions=NAMES), "tokens")
    assert spelled.spec.target == "tokens"
    assert (spelled.spec.target_length, spelled.spec.outputs) == (6, len(SPECIAL) + len(set("".join(NAMES))))
    tokenizer = Preparation.from_json(spelled.preprocessing).target_tokenizer
    assert tokenizer is not None
    said = [tokenizer.decode(row) for row in spelled.train.targets]
    assert set(said) == set(NAMES)
    assert len(spelled.train) == len(plain.train)


def test_without_captions_the_names_of_the_classes_are_written():
    spelled = load(Digits(), "tokens")
    assert spelled.spec.target_length == 2


@pytest.mark.parametrize(
    ("captions", "sentence"),
    [(("a",), "data.captions has 1 texts and photos has 2 classes"), (("a", ""), "data.captions has an empty text for y")],
)
def test_captions_must_be_one_for_each_class(captions, sentence):
    with pytest.raises(ConfigError, match=sentence):
        captioned(np.array([0, 1]), ("x", "y"), captions, "photos")
