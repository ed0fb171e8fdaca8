"""Real files, where they are: shapes and counts that their publishers state."""

import numpy as np

from dlx.config.data import Adult, Cifar10, Csv, FashionMnist, ImageFolder, Mnist
from dlx.data import load


def test_titanic(real_data):
    dataset = load(Csv(path=str(real_data("titanic/titanic.csv")), target="Survived"))
    assert dataset.spec.classes == ("0", "1")
    assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == 891
    said = "\n".join(dataset.report)
    assert "PassengerId: left out, it numbers the rows" in said
    assert "Name: left out" in said


def test_california_housing(real_data):
    dataset = load(Csv(path=str(real_data("california-housing/housing.csv.gz")), target="median_house_value"))
    assert dataset.spec.target == "number"
    assert len(dataset.test) == round(20_640 * 0.15)
    assert 200_000 < dataset.spec.target_mean[0] < 215_000
    standardized = (dataset.test.inputs - dataset.scaling.mean) * dataset.scaling.inverse_std
    assert np.abs(standardized).max() < 6


def test_adult(real_data):
    dataset = load(Adult(path=str(real_data("adult"))))
    assert (len(dataset.train) + len(dataset.validation), len(dataset.test)) == (32_561, 16_281)
    assert dataset.spec.classes == ("<=50K", ">50K")
    assert np.bincount(dataset.test.targets).tolist() == [12_435, 3_846]


def test_wine_quality(real_data):
    for colour, rows in (("red", 1_599), ("white", 4_898)):
        path = str(real_data(f"wine-quality/winequality-{colour}.csv"))
        dataset = load(Csv(path=path, target="quality", validation=0, test=0.2))
        assert dataset.spec.input_shape == (11,)
        assert len(dataset.train) + len(dataset.test) == rows


def test_mnist(real_data):
    dataset = load(Mnist(path=str(real_data("mnist"))))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (54_000, 6_000, 10_000)
    assert 33 < dataset.scaling.mean[0] < 34


def test_fashion_mnist(real_data):
    dataset = load(FashionMnist(path=str(real_data("fashion-mnist")), limit=1000))
    assert dataset.spec.class_counts == (100,) * 10
    assert np.bincount(dataset.test.targets).tolist() == [1000] * 10


def test_cifar10(real_data):
    dataset = load(Cifar10(path=str(real_data("cifar10"))))
    assert (len(dataset.train) + len(dataset.validation), len(dataset.test)) == (5_000, 1_000)
    assert dataset.spec.classes[:2] == ("airplane", "automobile")
    # The constants that everybody uses, of the full set; these are its first 5,000 images.
    assert np.allclose(dataset.scaling.mean / 255, (0.4914, 0.4822, 0.4465), atol=0.01)


def test_cats_and_dogs(real_data):
    path = str(real_data("cats-dogs/cats_dogs_160.tar.gz"))
    dataset = load(ImageFolder(path=path, size=32, test=0))
    assert (dataset.spec.classes, dataset.spec.class_counts) == (("cats", "dogs"), (500, 500))
    assert (len(dataset.validation), len(dataset.test)) == (300, 0)
