"""Two folders of images become pairs that no split mixes up."""

import numpy as np
import pytest
from PIL import Image

from dlx.config import load_experiment
from dlx.data import load
from dlx.errors import ConfigError, DataError, MissingInputError


@pytest.fixture
def folders(tmp_path):
    """`A` has 12 images of pixels 0 to 11, `B` 20 of pixels 100 to 119."""
    for name, first, count in (("A", 0, 12), ("B", 100, 20)):
        (tmp_path / name).mkdir()
        for number in range(count):
            Image.fromarray(np.full((4, 4), first + number, np.uint8)).save(tmp_path / name / f"{number:02}.png")
    return tmp_path


def config(path, **changes):
    data = {"kind": "unpaired-images", "path": str(path), "names": ["A", "B"], "color": "grey", "standardize": False}
    model = {"kind": "cyclegan", "halvings": 1, "critic_channels": [2]}
    return load_experiment(
        {"task": {"kind": "cycle"}, "data": data | {"validation": 0.25, "test": 0.25} | changes, "model": model}
    ).data


def test_pairs_have_one_image_of_each_kind(folders):
    dataset = load(config(folders))
    assert dataset.spec.input_shape == (2, 4, 4, 1)
    assert dataset.spec.target == "none"
    for part in (dataset.train, dataset.validation, dataset.test):
        assert part.inputs.dtype == np.uint8
        assert (part.inputs[:, 0] < 100).all()
        assert (part.inputs[:, 1] >= 100).all()
        assert part.targets.shape == (len(part), 0)


def test_each_image_of_the_larger_folder_is_there_once_and_in_one_part(folders):
    dataset = load(config(folders))
    seen = np.concatenate([part.inputs[:, 1, 0, 0, 0] for part in (dataset.train, dataset.validation, dataset.test)])
    assert sorted(seen) == list(range(100, 120))
    small = [set(part.inputs[:, 0, 0, 0, 0]) for part in (dataset.train, dataset.validation, dataset.test)]
    assert not small[0] & small[1]
    assert not small[0] & small[2]
    assert set().union(*small) == set(range(12))


def test_pairs_are_drawn_by_the_seed(folders):
    one, again, other = (load(config(folders, seed=seed)).train.inputs for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_own_test_folders_are_the_test_part(folders):
    dataset = load(config(folders, test_names=["B", "A"]))
    assert (dataset.test.inputs[:, 0] >= 100).all()
    assert len(dataset.test) == 20


def test_what_cannot_be_read(folders):
    with pytest.raises(MissingInputError, match="is not a folder with images"):
        load(config(folders, names=["A", "C"]))
    with pytest.raises(ConfigError, match="nothing to predict"):
        load(config(folders), "class")
    Image.fromarray(np.zeros((6, 6), np.uint8)).save(folders / "B" / "large.png")
    with pytest.raises(DataError, match=r"set data\.size"):
        load(config(folders))
    assert load(config(folders, size=4)).spec.input_shape == (2, 4, 4, 1)
