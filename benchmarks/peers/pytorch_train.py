"""The plain PyTorch loop that `train_vs_pytorch.py` compares with. Runs in PyTorch's own environment; imports no dlx.

Reads dlx's resolved experiment as JSON on stdin, builds the same net and optimizer, holds the data in memory, trains, and
prints one JSON object. Only whole epochs of training steps are timed; imports, data and the first steps are apart.
"""

import argparse
import gzip
import json
import math
import platform
import sys
import time
from pathlib import Path
from typing import Any

BEGIN = time.perf_counter()

import torch  # noqa: E402  (its import is part of what is measured)
from torch import Tensor, nn  # noqa: E402

ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "softplus": nn.Softplus,
}


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of an image, as Flax does it."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def normalization(kind: str, width: int, image: bool) -> list[nn.Module]:
    match kind, image:
        case "none", _:
            return []
        case "batch", True:
            return [nn.BatchNorm2d(width)]
        case "batch", False:
            return [nn.BatchNorm1d(width)]
        case "layer", True:
            return [ChannelNorm(width)]
        case "layer", False:
            return [nn.LayerNorm(width)]
    sys.exit(f"no normalization {kind!r} here")


def dense(model: dict[str, Any], features: int, width: int) -> list[nn.Module]:
    """A hidden layer. Like dlx, no bias before batch normalization, which would subtract it again."""
    norm = normalization(model["normalization"], width, image=False)
    return [nn.Linear(features, width, bias=model["normalization"] != "batch"), *norm, ACTIVATIONS[model["activation"]]()]


def convolution(model: dict[str, Any], channels: int, width: int) -> list[nn.Module]:
    norm = normalization(model["normalization"], width, image=True)
    conv = nn.Conv2d(channels, width, model["kernel"], padding="same", bias=model["normalization"] != "batch")
    return [conv, *norm, ACTIVATIONS[model["activation"]]()]


def build_mlp(model: dict[str, Any], features: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for width in model["hidden"]:
        layers += [*dense(model, features, width), *dropout(model)]
        features = width
    return nn.Sequential(*layers, nn.Linear(features, outputs))


def build_convnet(model: dict[str, Any], shape: tuple[int, int, int], outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels, height, width = shape
    for out in model["channels"]:
        for _ in range(model["depth"]):
            layers += convolution(model, channels, out)
            channels = out
        layers += [nn.MaxPool2d(2)]
        height, width = height // 2, width // 2
    layers += [nn.Flatten()]
    features = channels * height * width
    for out in model["dense"]:
        layers += [*dropout(model), *dense(model, features, out)]
        features = out
    return nn.Sequential(*layers, *dropout(model), nn.Linear(features, outputs))


def dropout(model: dict[str, Any]) -> list[nn.Module]:
    return [nn.Dropout(model["dropout"])] if model["dropout"] else []


def build_optimizer(config: dict[str, Any], net: nn.Module, fused: bool) -> torch.optim.Optimizer:
    """The optimizer of the experiment; decay spares biases and normalization, as in dlx."""
    if unknown := [name for name in ("l1", "l2", "clip_value") if config[name] is not None]:
        sys.exit(f"no optimizer.{unknown[0]} here")
    weights = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    decay = config.get("weight_decay") or 0.0
    groups = [{"params": weights, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    match config["kind"]:
        case "adam" | "adamw":
            betas = (config["b1"], config["b2"])
            return torch.optim.AdamW(groups, config["lr"], betas, config["eps"], fused=fused)
        case "sgd":
            return torch.optim.SGD(groups, config["lr"], config["momentum"], nesterov=config["nesterov"], fused=fused)
    sys.exit(f"no optimizer {config['kind']!r} here: adam, adamw or sgd")


def rate(schedule: dict[str, Any], step: int, steps: int) -> float:
    """The schedule's factor at a step."""
    if schedule["kind"] == "constant":
        return 1.0
    if schedule["kind"] not in ("cosine", "warmup-cosine"):
        sys.exit(f"no schedule {schedule['kind']!r} here: constant, cosine or warmup-cosine")
    warmup = schedule.get("warmup", 0.0) * steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    final = schedule["final"]
    return final + (1 - final) * (1 + math.cos(math.pi * (step - warmup) / max(1.0, steps - warmup))) / 2


def read_idx(folder: Path, name: str) -> Tensor:
    """An IDX file of bytes, gzipped or not."""
    plain, packed = folder / name, folder / f"{name}.gz"
    raw = plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(raw[3])]
    return torch.frombuffer(bytearray(raw[4 + 4 * raw[3] :]), dtype=torch.uint8).reshape(shape)


def load(folder: Path, data: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training part (without the held-out share) and test part, standardized by the training part's mean and deviation."""
    x, y = (
        read_idx(folder, "train-images-idx3-ubyte").float()[:, None] / 255,
        read_idx(folder, "train-labels-idx1-ubyte").long(),
    )
    kept = torch.randperm(len(x))[: len(x) - round(len(x) * data["validation"])][: data["limit"] or len(x)]
    x, y = x[kept], y[kept]
    test_x = read_idx(folder, "t10k-images-idx3-ubyte").float()[:, None] / 255
    if data["standardize"]:
        mean, deviation = x.mean(), x.std()
        x, test_x = (x - mean) / deviation, (test_x - mean) / deviation
    return x, y, test_x, read_idx(folder, "t10k-labels-idx1-ubyte").long()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the four IDX files")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--fused", action="store_true", help="PyTorch's fused optimizer")
    parser.add_argument("--warmup", type=int, default=20, help="untimed steps before")
    options = parser.parse_args()
    config = json.load(sys.stdin)
    if config["train"]["precision"] != "float32" or config["data"]["augment"]:
        sys.exit("this loop knows neither bfloat16 nor augmentation")
    imported = time.perf_counter()
    torch.set_num_threads(options.threads)
    torch.manual_seed(config["train"]["seed"])

    x, y, test_x, test_y = load(options.data, config["data"])
    outputs = int(y.max()) + 1
    images = config["model"]["kind"] == "convnet"
    if images:
        net = build_convnet(config["model"], tuple(x.shape[1:]), outputs).to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    else:
        net = build_mlp(config["model"], x[0].numel(), outputs)
        x = x.flatten(1)
    optimizer = build_optimizer(config["optimizer"], net, options.fused)
    smoothing = (config["task"] or {}).get("label_smoothing", 0.0)
    clip = config["optimizer"]["clip_norm"]
    batch = config["train"]["batch_size"]
    epoch_steps = len(x) // batch
    steps = options.epochs * epoch_steps
    base = [group["lr"] for group in optimizer.param_groups]
    net.train()

    def step(index: Tensor, factor: float) -> Tensor:
        for group, lr in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = lr * factor
        optimizer.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(net(x[index]), y[index], label_smoothing=smoothing)
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        optimizer.step()
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

    net.eval()
    with torch.inference_mode():
        shown = test_x if images else test_x.flatten(1)
        hits = sum(int((net(a).argmax(1) == b).sum()) for a, b in zip(shown.split(1000), test_y.split(1000), strict=True))
    answer = {
        "steps": done,
        "samples": done * batch,
        "samples_per_second": done * batch / (end - begin),
        "seconds": {"import": imported - BEGIN, "warmup": begin - warming, "train": end - begin},
        "metrics": {"train/last_loss": last, "test/accuracy": hits / len(test_y)},
        "parameters": sum(p.numel() for p in net.parameters()),
        "net": str(net).splitlines(),
        "threads": torch.get_num_threads(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
