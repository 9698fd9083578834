"""Peak memory of training one unit, measured in a process of its own: ``python -m benchmarks.memory``.

Reads a unit as JSON from standard input; Linux only. A tiny unit runs first, so that what libraries load and
keep is not counted; what is measured is the growth of the resident set, batches and temporaries included.
"""

import json
import re
import sys
from pathlib import Path

import torch

from benchmarks.competitors import Ours
from quanta.study.sections import EvaluationSpec, PopulationSpec
from quanta.study.spec import UnitSpec
from quanta.tasks.spec import TaskShape
from quanta.training.population import SLICE_ROWS, count_parameters


def main() -> None:
    """Print as JSON the bytes that training takes."""
    torch.set_num_threads(int(sys.argv[1]))
    unit = UnitSpec.model_validate_json(sys.stdin.read())
    K, n, widths = unit.task.n_subtasks, unit.task.n_bits, unit.population.widths
    no_test_set = unit.model_copy(update={"evaluation": EvaluationSpec(samples_per_subtask=1)})
    tiny = {"population": PopulationSpec(widths=(1,)), "task": TaskShape(n_subtasks=1, n_bits=4)}

    _train(no_test_set.model_copy(update=tiny), evaluate=True)
    before = _read("VmRSS")
    _train(no_test_set, evaluate=False)
    steps = _read("VmHWM") - before
    _train(unit, evaluate=True)
    everything = _read("VmHWM") - before

    n_parameters = sum(count_parameters(width, K, n) for width in widths)
    itemsize = 4 if unit.training.precision == "float32" else 8
    state = 3 * n_parameters * itemsize  # the parameters, and two moments of each
    slice_ = 2 * SLICE_ROWS * sum(widths) * itemsize  # activations and their gradient
    found = {
        "parameters_and_optimiser": state,
        "slice": slice_,
        "steps": steps,
        "steps_and_evaluation": everything,
        "ratio": steps / (state + slice_),
        "ratio_with_evaluation": everything / (state + slice_),
    }
    print(json.dumps(found))


def _train(unit: UnitSpec, *, evaluate: bool) -> None:
    ours = Ours(unit)
    with ours.settings():
        for _ in range(3):
            ours.step()
        if evaluate:
            ours.evaluate()


def _read(name: str) -> int:
    """Bytes of the resident set: now (VmRSS), or the most there were (VmHWM)."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


if __name__ == "__main__":
    main()
