"""The learning-rate finders of fastai, Lightning and torch-lr-finder: what `lrfind_vs_peers.py` compares with. No dlx.

Runs in the environment of the finder that it is asked for. Reads {"config": resolved dlx experiment, "batch_size", "outputs"} on
stdin and the standardized training part from an NPZ file, and builds the net of `pytorch_train.py` with dlx's initial weights. Each
finder has its own defaults; all have the same net, loss, batches, and AdamW. Prints one JSON object: rule -> a rate for every seed.
"""

import argparse
import contextlib
import json
import platform
import sys
import tempfile
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parent))
from pytorch_train import build_convnet, build_mlp, build_optimizer

Rates = dict[str, float | None]


def fastai(config: dict[str, Any], net: nn.Module, batches: DataLoader, loss: nn.Module) -> Rates:
    from fastai.basics import DataLoaders, Learner
    from fastai.callback.schedule import minimum, slide, steep, valley
    from fastai.optimizer import Adam

    numbers = config["optimizer"]
    adam = partial(Adam, mom=numbers["b1"], sqr_mom=numbers["b2"], eps=numbers["eps"])  # decays as AdamW does
    with tempfile.TemporaryDirectory() as folder:
        data = DataLoaders(batches, batches, device="cpu")
        learner = Learner(data, net, loss, adam, wd=numbers["weight_decay"], path=folder)
        with learner.no_bar():
            found = learner.lr_find(suggest_funcs=(valley, steep, minimum, slide), show_plot=False)
    return {f"fastai {rule}": None if rate is None else float(rate) for rule, rate in found._asdict().items()}


def lightning(config: dict[str, Any], net: nn.Module, batches: DataLoader, loss: nn.Module) -> Rates:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.tuner import Tuner

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.lr = net, config["optimizer"]["lr"]

        def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
            return loss(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return build_optimizer(config["optimizer"], net, fused=False)

    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(accelerator="cpu", devices=1, default_root_dir=folder, **off)
        return {"Lightning": Tuner(trainer).lr_find(Module(), batches).suggestion()}


def torch_lr_finder(config: dict[str, Any], net: nn.Module, batches: DataLoader, loss: nn.Module) -> Rates:
    import matplotlib as mpl
    from torch_lr_finder import LRFinder

    mpl.use("agg")
    optimizer = build_optimizer({**config["optimizer"], "lr": 1e-7}, net, fused=False)  # the first rate, as in its README
    finder = LRFinder(net, optimizer, loss, device="cpu")
    finder.range_test(batches)
    return {"torch-lr-finder": finder.plot()[1]}


FINDERS = {"fastai": fastai, "lightning": lightning, "torch-lr-finder": torch_lr_finder}


def initialize(layer: nn.Module) -> None:
    """He initialization, the recipes' `model.init`."""
    if isinstance(layer, nn.Linear | nn.Conv2d):
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("finder", choices=FINDERS)
    parser.add_argument("--data", type=Path, required=True, help="NPZ with x and y")
    parser.add_argument("--seeds", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    told = json.load(sys.stdin)
    config = told["config"]
    torch.set_num_threads(options.threads)
    arrays = np.load(options.data)
    x, y = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    found: dict[str, list[float | None]] = {}
    for seed in range(options.seeds):
        torch.manual_seed(seed)
        if config["model"]["kind"] == "convnet":
            net: nn.Module = build_convnet(config["model"], tuple(x.shape[1:]), told["outputs"])
        else:
            net = build_mlp(config["model"], x[0].numel(), told["outputs"])
        net.apply(initialize)
        loss = nn.MSELoss() if y.is_floating_point() else nn.CrossEntropyLoss()
        batches = DataLoader(TensorDataset(x, y), told["batch_size"], shuffle=True, drop_last=True)
        with contextlib.redirect_stdout(sys.stderr):
            rates = FINDERS[options.finder](config, net, batches, loss)
        for rule, rate in rates.items():
            found.setdefault(rule, []).append(rate)
    versions = {"python": platform.python_version(), **{name: version(name) for name in ("torch", options.finder)}}
    print(json.dumps({"rates": found, "versions": versions}))


if __name__ == "__main__":
    main()
