import subprocess
import sys

import pytest
import torch

from quanta.training.optimizer import AdamW


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_that_of_torch_to_the_bit(dtype, weight_decay):
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4), (5,), (2, 1)]
    start = [torch.randn(shape, dtype=dtype, generator=generator) for shape in shapes]
    ours, theirs = ([torch.nn.Parameter(values.clone()) for values in start] for _ in range(2))
    one = AdamW(ours, 1e-2, weight_decay)
    other = torch.optim.AdamW(theirs, lr=1e-2, weight_decay=weight_decay, fused=True)
    for _ in range(30):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, dtype=dtype, generator=generator)
            b.grad = a.grad.clone()
        one.step()
        other.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)
        for name, value in other.state[b].items():
            assert torch.equal(one.state[a][name], value)


def test_the_compiler_of_torch_is_not_loaded():
    code = """
import sys, torch
from quanta.training.optimizer import AdamW
parameter = torch.nn.Parameter(torch.zeros(3))
parameter.grad = torch.ones(3)
AdamW([parameter], 1e-3, 0.0).step()
sys.exit("torch._dynamo" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
