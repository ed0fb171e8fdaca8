"""Principal components: the best linear autoencoder, beside which a network's error has to be seen."""

import math
from collections.abc import Mapping

import numpy as np

from dlx.data import Part, Scaling, some_rows

MOST_VALUES = 50_000_000
"""Values of training examples that components are found from."""


def pca_errors(
    train: Part, judged: Part, scaling: Scaling, code: int, *, noise: Mapping[str, float | str] | None = None
) -> dict[str, dict[str, float]]:
    """By simple model its `mse` and `rmse` of each number on the judged part: the mean example, and `code` principal components.

    Fitted on the training part. `noise` is that of the task `reconstruct`, as its config has it (`{"kind": "masking", "share": 0.25}`): the
    components then see noisy inputs, and are judged by the clean ones; so is what is seen itself. Numbers are those that the network
    sees. Deterministic.
    """
    from sklearn.decomposition import PCA

    columns = math.prod(train.inputs.shape[1:])
    few = train.take(some_rows(len(train), min(len(train), max(2, MOST_VALUES // columns))))
    x = scaling.apply(few.inputs).reshape(-1, columns)
    clean = scaling.apply(judged.inputs).reshape(-1, columns)
    mean = x.mean(0, dtype=np.float64)
    found = {"the mean": np.broadcast_to(mean, clean.shape)}
    seen = clean
    if noise is not None and noise["kind"] != "none":
        seen = _noisy(clean, noise)
        found["the noisy input"] = seen
    components = PCA(min(code, *x.shape), random_state=0).fit(x)
    found[f"PCA, {components.n_components_} components"] = components.inverse_transform(components.transform(seen))
    errors = {name: float(np.mean(np.square(guess - clean, dtype=np.float64))) for name, guess in found.items()}
    return {name: {"mse": mse, "rmse": math.sqrt(mse)} for name, mse in errors.items()}


def _noisy(x: np.ndarray, noise: Mapping[str, float | str]) -> np.ndarray:
    generator = np.random.Generator(np.random.Philox(0))
    match noise["kind"]:
        case "gaussian":
            return x + float(noise["std"]) * generator.normal(size=x.shape).astype(np.float32)
        case "masking":
            return np.where(generator.random(x.shape, np.float32) < float(noise["share"]), np.float32(0), x)
    raise ValueError(f"there is no noise {noise['kind']}")
