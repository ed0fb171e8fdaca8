"""Writes tests/optim/pytorch_schedules.json: the rates (and momenta) of PyTorch's own schedulers at every step.

Run with a Python that has PyTorch: `python benchmarks/make_schedule_values.py`. The tests compare dlx with the file.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.optim import SGD
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR, ReduceLROnPlateau

STEPS, PEAK = 60, 0.5
OUT = Path(__file__).resolve().parents[1] / "tests" / "optim" / "pytorch_schedules.json"


def main() -> None:
    cycle: dict[str, Any] = {"base_lr": 0.25 * PEAK, "max_lr": PEAK, "step_size_up": 7, "cycle_momentum": False}
    one: dict[str, Any] = {"max_lr": PEAK, "total_steps": STEPS}
    made: dict[str, Callable[[SGD], Any]] = {
        "cosine": lambda sgd: CosineAnnealingLR(sgd, STEPS, eta_min=0.1 * PEAK),
        "sgdr": lambda sgd: CosineAnnealingWarmRestarts(sgd, 20, 1, eta_min=0.1 * PEAK),
        "sgdr_mult": lambda sgd: CosineAnnealingWarmRestarts(sgd, 8, 2),
        "triangular": lambda sgd: CyclicLR(sgd, **cycle, mode="triangular"),
        "triangular2": lambda sgd: CyclicLR(sgd, **cycle, mode="triangular2"),
        "exp_range": lambda sgd: CyclicLR(sgd, **cycle, mode="exp_range", gamma=0.97),
        "onecycle": lambda sgd: OneCycleLR(sgd, **one),
        "onecycle_linear": lambda sgd: OneCycleLR(sgd, **one, anneal_strategy="linear", pct_start=0.4, div_factor=10),
        "onecycle_three_phase": lambda sgd: OneCycleLR(sgd, **one, three_phase=True, final_div_factor=100),
    }
    values = {name: steps(make) for name, make in made.items()}
    generator = torch.Generator().manual_seed(0)
    falling = (torch.linspace(2, 1, STEPS) + 0.3 * torch.randn(STEPS, generator=generator)).tolist()
    falling[20] = float("nan")
    values["plateau"] = {
        "metrics": [None if value != value else value for value in falling],
        "min": plateau(falling, mode="min", factor=0.5, patience=2),
        "max": plateau([-value for value in falling], mode="max", factor=0.5, patience=2),
        "cooldown": plateau(falling, mode="min", factor=0.3, patience=1, cooldown=4, threshold=0.05, min_lr=0.02 * PEAK),
    }
    text = json.dumps({"torch": torch.__version__, "python": sys.version.split()[0], "peak": PEAK, **values}, indent=0)
    OUT.write_text(text + "\n", encoding="utf8")


def steps(make: Callable[[SGD], Any]) -> dict[str, list[float]]:
    """What each of the steps is taken with."""
    sgd = SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK, momentum=0.9)
    scheduler = make(sgd)
    rates, momenta = [], []
    for _ in range(STEPS):
        rates.append(sgd.param_groups[0]["lr"])
        momenta.append(sgd.param_groups[0]["momentum"])
        sgd.step()
        scheduler.step() if len(rates) < STEPS else None
    return {"rates": rates, "momenta": momenta}


def plateau(metrics: list[float], **settings: Any) -> list[float]:
    """The rate after each of the metrics."""
    sgd = SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    scheduler = ReduceLROnPlateau(sgd, **settings, eps=0.0)
    rates = []
    for metric in metrics:
        scheduler.step(metric)
        rates.append(sgd.param_groups[0]["lr"])
    return rates


if __name__ == "__main__":
    main()
