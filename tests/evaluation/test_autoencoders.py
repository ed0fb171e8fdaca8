"""Autoencoders through the command line, their pictures, and principal components beside them."""

import numpy as np
import pytest

from dlx.config import load_experiment
from dlx.data import Part
from dlx.data.dataset import Scaling
from dlx.evaluation.gallery.autoencoders import pictures
from dlx.evaluation.gallery.pictures import Images, Scatter
from dlx.evaluation.pca import pca_errors
from dlx.experiment import run
from dlx.experiment.restore import restore
from dlx.store import find_run, open_store

TINY = {
    "data": {"kind": "digits", "standardize": False},
    "optimizer": {"kind": "adam", "lr": 3e-3},
    "train": {"duration": "30 steps", "batch_size": 64, "evaluate_every": "30 steps"},
}
RUNS = {
    "plain": {
        "task": {"kind": "reconstruct", "noise": {"kind": "gaussian"}},
        "model": {"kind": "autoencoder", "hidden": [16], "code": 4},
    },
    "told": {"task": {"kind": "vae", "conditional": True}, "model": {"kind": "vae", "hidden": [16], "code": 2}},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("autoencoders")
    with open_store(f"sqlite:///{folder / 'dlx.db'}", create=True) as opened:
        for name, parts in RUNS.items():
            list(run.start(load_experiment({**TINY, **parts}), opened, name=name))
        yield opened


def test_pictures_of_an_autoencoder(store):
    trained = restore(find_run(store, "plain"), store)
    part = trained.dataset().test
    reconstructions, filters, codes = pictures(trained, part)
    assert isinstance(reconstructions, Images)
    assert reconstructions.row_names == ("example", "seen", "made of it")
    assert reconstructions.grid.shape == (3, 12, 8, 8, 1)
    first = trained.preparation.scaling.apply(part.inputs)
    assert any(np.allclose(reconstructions.grid[0, 0], each) for each in first)
    assert isinstance(filters, Images)
    assert filters.grid.shape == (1, 16, 8, 8, 1)
    assert isinstance(codes, Scatter)
    assert codes.names == tuple("0123456789")
    for picture in (reconstructions, filters):
        assert picture.grid.min() >= 0
        assert picture.grid.max() <= 1


def test_pictures_of_a_conditional_vae(store):
    trained = restore(find_run(store, "told"), store)
    reconstructions, samples, way, codes = pictures(trained, trained.dataset().test)
    assert reconstructions.grid.shape == (2, 12, 8, 8, 1)
    assert samples.grid.shape == (10, 10, 8, 8, 1)
    assert samples.row_names == tuple("0123456789")
    assert way.grid.shape == (5, 10, 8, 8, 1)
    assert codes.points.shape == (270, 2)


def test_pca_is_that_of_numpy():
    generator = np.random.Generator(np.random.Philox(1))
    x = generator.normal(size=(200, 6)) @ generator.normal(size=(6, 6)) + 3
    parts = [Part(rows.astype(np.float32), np.zeros(len(rows), np.int32)) for rows in (x[:150], x[150:])]
    scaling = Scaling(np.ones(6, np.float32), np.full(6, 0.5, np.float32))
    seen, judged = ((rows - 1) * 0.5 for rows in (x[:150], x[150:]))
    mean = seen.mean(0)
    axes = np.linalg.svd(seen - mean, full_matrices=False)[2][:2]
    again = (judged - mean) @ axes.T @ axes + mean
    found = pca_errors(*parts, scaling, 2)
    assert list(found) == ["the mean", "PCA, 2 components"]
    assert found["PCA, 2 components"]["mse"] == pytest.approx(np.square(again - judged).mean(), rel=1e-4)
    assert found["the mean"]["mse"] == pytest.approx(np.square(mean - judged).mean(), rel=1e-4)
    noisy = pca_errors(*parts, scaling, 2, noise={"kind": "gaussian", "std": 0.5})
    assert noisy["the noisy input"]["rmse"] == pytest.approx(0.5, rel=0.1)
    assert noisy["PCA, 2 components"]["mse"] > found["PCA, 2 components"]["mse"]
