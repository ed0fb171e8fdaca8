"""The plain PyTorch loop that `vae_vs_pytorch.py` compares with. Runs in PyTorch's own environment; imports no dlx.

Reads dlx's resolved experiment as JSON on stdin, builds the same variational autoencoder and Adam, holds the images in memory,
trains on pixels drawn black or white at every step, and prints one JSON object. Only whole epochs of training steps are timed.
"""

import argparse
import json
import platform
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

BEGIN = time.perf_counter()

import torch  # noqa: E402  (its import is part of what is measured)
from pytorch_train import ACTIVATIONS, rate, read_idx  # noqa: E402
from torch import Tensor, nn  # noqa: E402


class Vae(nn.Module):
    """Hidden layers, mean and logarithm of the variance of the code, and hidden layers back."""

    def __init__(self, model: dict[str, Any], pixels: int) -> None:
        super().__init__()
        activation, hidden, code = ACTIVATIONS[model["activation"]], model["hidden"], model["code"]
        self.encoder, width = self._layers([pixels, *hidden], activation)
        self.mean, self.log_variance = nn.Linear(width, code), nn.Linear(width, code)
        self.decoder, width = self._layers([code, *reversed(hidden)], activation)
        self.output = nn.Linear(width, pixels)

    @staticmethod
    def _layers(widths: list[int], activation: type[nn.Module]) -> tuple[nn.Sequential, int]:
        layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), activation())]
        return nn.Sequential(*layers), widths[-1]

    def forward(self, x: Tensor, beta: float) -> Tensor:
        """Of binary pixels (b, pixels): the mean of -log p(x | z) + beta * KL, in nats."""
        seen = self.encoder(x)
        mean, log_variance = self.mean(seen), self.log_variance(seen)
        code = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        logits = self.output(self.decoder(code))
        missed = nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        divergence = 0.5 * torch.sum(mean.square() + log_variance.exp() - 1 - log_variance)
        return (missed + beta * divergence) / len(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the four IDX files")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--fused", action="store_true", help="PyTorch's fused optimizer")
    parser.add_argument("--warmup", type=int, default=20, help="untimed steps before")
    options = parser.parse_args()
    config = json.load(sys.stdin)
    task, optimizer = config["task"], config["optimizer"]
    if task["likelihood"] != {"kind": "bernoulli", "binarize": "sample"} or task["conditional"] or task["warmup"]:
        sys.exit("this loop knows pixels that are drawn, without classes and without a warm-up of the KL")
    if optimizer["kind"] != "adam" or config["model"]["normalization"] != "none" or config["data"]["standardize"]:
        sys.exit("this loop knows Adam, no normalization and no standardization")
    imported = time.perf_counter()
    torch.set_num_threads(options.threads)
    torch.manual_seed(config["train"]["seed"])
    x = read_idx(options.data, "train-images-idx3-ubyte").float().flatten(1) / 255
    x = x[: len(x) - round(len(x) * config["data"]["validation"])]
    test = read_idx(options.data, "t10k-images-idx3-ubyte").float().flatten(1) / 255
    net, batch = Vae(config["model"], x.shape[1]), config["train"]["batch_size"]
    adam = torch.optim.Adam(
        net.parameters(), optimizer["lr"], (optimizer["b1"], optimizer["b2"]), optimizer["eps"], fused=options.fused
    )
    epoch_steps = len(x) // batch
    steps = options.epochs * epoch_steps

    def step(index: Tensor, factor: float) -> Tensor:
        adam.param_groups[0]["lr"] = optimizer["lr"] * factor
        adam.zero_grad(set_to_none=True)
        loss = net(torch.bernoulli(x[index]), task["beta"])
        loss.backward()
        adam.step()
        return loss

    warming = time.perf_counter()
    for index in torch.randperm(len(x))[: options.warmup * batch].split(batch):
        step(index, 0.0)
    begin = time.perf_counter()
    loss, done = torch.zeros(()), 0
    for _ in range(options.epochs):
        for index in torch.randperm(len(x))[: epoch_steps * batch].split(batch):
            loss = step(index, rate(config["schedule"], done, steps))
            done += 1
    last = float(loss.detach())
    end = time.perf_counter()

    with torch.inference_mode():
        elbo = -sum(float(net(torch.bernoulli(part), 1.0)) * len(part) for part in test.split(1000)) / len(test)
    answer = {
        "steps": done,
        "samples": done * batch,
        "samples_per_second": done * batch / (end - begin),
        "seconds": {"import": imported - BEGIN, "warmup": begin - warming, "train": end - begin},
        "metrics": {"train/last_loss": last, "test/elbo": elbo},
        "parameters": sum(p.numel() for p in net.parameters()),
        "net": str(net).splitlines(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
