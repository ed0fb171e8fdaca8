"""The plain PyTorch training steps that `recurrent_vs_pytorch.py` compares with. Runs in PyTorch's own environment; imports no dlx.

Reads one line with the problem as JSON, answers with what it built, and then takes as many steps as each further line says; each
answer is the seconds they took.
"""

import json
import platform
import sys
import time
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class LanguageModel(nn.Module):
    """Embedding, stacked LSTM whose state goes on from batch to batch, linear."""

    def __init__(self, sizes: dict[str, int]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes["vocabulary"], sizes["embedding"])
        self.layers = nn.LSTM(sizes["embedding"], sizes["hidden"], sizes["layers"], batch_first=True)
        self.head = nn.Linear(sizes["hidden"], sizes["vocabulary"])
        self.state: tuple[Tensor, Tensor] | None = None

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        outputs, (h, c) = self.layers(self.embedding(x), self.state)
        self.state = h.detach(), c.detach()
        return cross_entropy(self.head(outputs).flatten(0, 1), y.flatten())


class Classifier(nn.Module):
    """GRU over a series, linear on its last state."""

    def __init__(self, sizes: dict[str, int]) -> None:
        super().__init__()
        self.layer = nn.GRU(sizes["channels"], sizes["hidden"], batch_first=True)
        self.head = nn.Linear(sizes["hidden"], sizes["classes"])

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(self.head(self.layer(x)[1][-1]), y)


def main() -> None:
    problem: dict[str, Any] = json.loads(sys.stdin.readline())
    sizes = problem["sizes"]
    torch.set_num_threads(problem["threads"])
    torch.manual_seed(0)
    batch, steps = sizes["batch"], sizes["steps"]
    if problem["name"] == "language model":
        net: LanguageModel | Classifier = LanguageModel(sizes)
        text = torch.randint(sizes["vocabulary"], (batch, steps + 1))
        x, y = text[:, :-1].contiguous(), text[:, 1:].contiguous()
    else:
        net = Classifier(sizes)
        x, y = torch.randn(batch, steps, sizes["channels"]), torch.randint(sizes["classes"], (batch,))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3, fused=problem["fused"])

    def train(count: int) -> float:
        begin = time.perf_counter()
        loss = torch.zeros(())
        for _ in range(count):
            optimizer.zero_grad(set_to_none=True)
            loss = net.loss(x, y)
            loss.backward()
            optimizer.step()
        float(loss.detach())
        return time.perf_counter() - begin

    train(3)
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    built = {"parameters": sum(p.numel() for p in net.parameters()), "threads": torch.get_num_threads(), "versions": versions}
    print(json.dumps(built), flush=True)
    for line in sys.stdin:
        print(train(int(line)), flush=True)


if __name__ == "__main__":
    main()
