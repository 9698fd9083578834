import itertools

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from quanta.study.cost import count_flops
from quanta.study.spec import StudySpec


@pytest.mark.parametrize("n_hidden_layers", [1, 3])
def test_is_what_torch_counts_of_networks_on_bits_alone(n_hidden_layers):
    study = StudySpec.parse(
        {
            "name": "small",
            "task": {"n_subtasks": 5, "n_bits": 7, "k": 2},
            "population": {"widths": [3, 8], "n_hidden_layers": n_hidden_layers},
            "training": {"steps": 4, "batch_size": 16},
            "evaluation": {"samples_per_subtask": 6, "n_evaluations": 3},
        }
    )
    [unit] = study.units()
    counted = 0
    for width in (3, 8):
        sizes = [7, *[width] * n_hidden_layers]
        layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        network = torch.nn.Sequential(*layers, torch.nn.Linear(width, 2))
        with FlopCounterMode(display=False) as step:
            network(torch.zeros(16, 7)).sum().backward()
        with FlopCounterMode(display=False) as evaluation, torch.no_grad():
            network(torch.zeros(5 * 6, 7))
        counted += 4 * step.get_total_flops() + 3 * evaluation.get_total_flops()
    assert count_flops(unit) == counted
