"""The plain PyTorch loop that `dcgan_vs_pytorch.py` compares with. Runs in PyTorch's own environment; imports no dlx.

The strongest plain form: channels-last, one batch of fakes serves both updates, and the discriminator's own gradients are not
computed while the generator learns. Only training steps are timed. Prints one JSON object.
"""

import argparse
import json
import platform
import time

BEGIN = time.perf_counter()

import torch  # noqa: E402  (its import is part of what is measured)
from torch import Tensor, nn  # noqa: E402


def generator(latent: int) -> nn.Sequential:
    """(b, latent) -> (b, 1, 28, 28)."""
    return nn.Sequential(
        nn.Linear(latent, 128 * 7 * 7, bias=False),
        nn.Unflatten(1, (128, 7, 7)),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        nn.ConvTranspose2d(64, 1, 4, stride=2, padding=1),
        nn.Tanh(),
    )


def discriminator() -> nn.Sequential:
    """(b, 1, 28, 28) -> (b, 1)."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(64, 128, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(128),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(128 * 7 * 7, 1),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for size in ("latent", "batch", "images", "steps", "threads"):
        parser.add_argument(f"--{size}", type=int, required=True)
    parser.add_argument("--warmup", type=int, default=10, help="untimed steps before")
    options = parser.parse_args()
    imported = time.perf_counter()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    g, d = (net.to(memory_format=torch.channels_last) for net in (generator(options.latent), discriminator()))
    g_adam, d_adam = (torch.optim.Adam(net.parameters(), 2e-4, betas=(0.5, 0.999)) for net in (g, d))
    cross_entropy = nn.functional.binary_cross_entropy_with_logits
    ones, zeros = torch.ones(options.batch, 1), torch.zeros(options.batch, 1)
    images = (2 * torch.rand(options.images, 1, 28, 28) - 1).to(memory_format=torch.channels_last)
    rows = torch.randperm(options.images).split(options.batch)

    def step(index: Tensor) -> tuple[Tensor, Tensor]:
        fake = g(torch.randn(options.batch, options.latent))
        d_adam.zero_grad(set_to_none=True)
        d_loss = cross_entropy(d(images[index]), ones) + cross_entropy(d(fake.detach()), zeros)
        d_loss.backward()
        d_adam.step()
        g_adam.zero_grad(set_to_none=True)
        d.requires_grad_(False)
        g_loss = cross_entropy(d(fake), ones)
        g_loss.backward()
        d.requires_grad_(True)
        g_adam.step()
        return d_loss, g_loss

    for number in range(options.warmup):
        step(rows[number % len(rows)])
    warm = time.perf_counter()
    losses = (torch.zeros(()), torch.zeros(()))
    for number in range(options.steps):
        losses = step(rows[number % len(rows)])
    last = [float(loss.detach()) for loss in losses]
    seconds = time.perf_counter() - warm
    answer = {
        "images_per_second": options.steps * options.batch / seconds,
        "seconds": {"import": imported - BEGIN, "warmup": warm - imported, "train": seconds},
        "losses": last,
        "parameters": sum(p.numel() for net in (g, d) for p in net.parameters()),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
