"""AdamW for a population: the fused kernel of torch alone."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adamw import adamw

BETAS = (0.9, 0.999)
EPSILON = 1e-8
"""Of Adam, as in the paper that proposed it (arXiv:1412.6980) and in torch."""


class AdamW:
    """Adam with decoupled weight decay, all parameters in one kernel: to the bit as `torch.optim.AdamW`.

    The class of torch loads torch's compiler, which takes longer than everything else before a first step.

    Parameters
    ----------
    parameters : iterable of Tensor
        All on one device.
    learning_rate, weight_decay : float

    Attributes
    ----------
    parameters : list of Tensor
    state : dict of Tensor to dict of str to Tensor
        ``step``, ``exp_avg`` and ``exp_avg_sq`` of each parameter, on its device, from the first step on.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, arXiv:1711.05101.
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float, weight_decay: float) -> None:
        self.parameters = list(parameters)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter by its ``grad``; works in a CUDA graph, after a first step outside of it."""
        for parameter in self.parameters:
            if parameter not in self.state:
                self.state[parameter] = {
                    "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        states = [self.state[parameter] for parameter in self.parameters]
        adamw(
            self.parameters,
            [parameter.grad for parameter in self.parameters if parameter.grad is not None],
            exp_avgs=[state["exp_avg"] for state in states],
            exp_avg_sqs=[state["exp_avg_sq"] for state in states],
            max_exp_avg_sqs=[],
            state_steps=[state["step"] for state in states],
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            eps=EPSILON,
            maximize=False,
        )
