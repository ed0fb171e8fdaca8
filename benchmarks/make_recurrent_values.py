"""Writes tests/nn/pytorch_recurrent.npz: outputs, last states and gradients of PyTorch's recurrent layers, in float64.

Run with a Python that has PyTorch: `python benchmarks/make_recurrent_values.py`. The tests compare dlx with the file.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

OUT = Path(__file__).resolve().parents[1] / "tests" / "nn" / "pytorch_recurrent.npz"
EXAMPLES, STEPS, FEATURES, HIDDEN = 3, 5, 2, 3
LENGTHS = (1, 4, 3)  # all below STEPS; PyTorch packs no example of length 0


def main() -> None:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    values: dict[str, np.ndarray] = {"lengths": np.array(LENGTHS, np.int32)}
    for cell, kind in {"simple": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}.items():
        layer = kind(FEATURES, HIDDEN, batch_first=True, bidirectional=True)
        x = torch.randn(EXAMPLES, STEPS, FEATURES, requires_grad=True)
        names = ("h", "c") if cell == "lstm" else ("h",)
        start = [torch.randn(2, EXAMPLES, HIDDEN, requires_grad=True) for _ in names]
        weights = torch.randn(EXAMPLES, STEPS, 2 * HIDDEN)
        values |= {f"{cell}/{name}": array(parameter) for name, parameter in layer.named_parameters()}
        values |= {f"{cell}/x": array(x), f"{cell}/weights": array(weights)}
        values |= {f"{cell}/{name}": array(each) for name, each in zip(names, start, strict=True)}
        for packed in (False, True):
            layer.zero_grad()
            for each in (x, *start):
                each.grad = None
            carry = tuple(start) if cell == "lstm" else start[0]
            if packed:
                sequences = pack_padded_sequence(x, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
                outputs, carry = layer(sequences, carry)
                outputs, _ = pad_packed_sequence(outputs, batch_first=True, total_length=STEPS)
            else:
                outputs, carry = layer(x, carry)
            ends = list(carry) if cell == "lstm" else [carry]
            loss = (outputs * weights).sum() + sum((each**2).sum() for each in ends)
            loss.backward()
            case = f"{cell}/{'lengths' if packed else 'full'}"
            values |= {f"{case}/outputs": array(outputs), f"{case}/by x": array(x.grad)}
            values |= {f"{case}/end {name}": array(each) for name, each in zip(names, ends, strict=True)}
            values |= {f"{case}/by {name}": array(each.grad) for name, each in zip(names, start, strict=True)}
            values |= {f"{case}/by {name}": array(p.grad) for name, p in layer.named_parameters()}
    np.savez_compressed(OUT, **values)


def array(tensor: Tensor | None) -> np.ndarray:
    assert tensor is not None
    return tensor.detach().numpy()


if __name__ == "__main__":
    main()
