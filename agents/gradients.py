"""Optimisers of the agent and of its plugins: gradients are clipped by group, checked, and applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..auxiliaries import Auxiliary, IntrinsicReward
from .learner_config import LearnerConfig
from .model import EXTRINSIC, ActorCritic
from .optim import Adam, RMSProp


class Gradients:
    """The agent's optimiser and one per plugin with weights of its own.

    The gradients of the agent, of each further value head and of each plugin are clipped separately, so that a large
    bonus does not shrink the gradient of the rest. Plugins that are not in ``active`` are never updated.
    """

    def __init__(
        self, model: ActorCritic, config: LearnerConfig, plugins: Mapping[str, Auxiliary], active: Iterable[str]
    ) -> None:
        self.config, self.model = config, model
        self.optimizer = self._optimizer(model.parameters())
        self.plugged: dict[str, torch.optim.Optimizer] = {}
        rewards = {k: m for k, m in plugins.items() if isinstance(m, IntrinsicReward)}
        heads = {k: list(head.parameters()) for k, head in model.values.items() if k != EXTRINSIC}
        apart = {id(p) for parameters in heads.values() for p in parameters}
        self.clipped = {"agent": ([p for p in model.parameters() if id(p) not in apart], config.max_grad_norm)}
        unused = {k for k in rewards if k not in active}
        self.clipped |= {f"value/{k}": (head, config.max_grad_norm) for k, head in heads.items() if k not in unused}
        self.scheduled = [self.optimizer]  # others, of rewards or chosen by a loss, keep their own rate
        for name, module in plugins.items():
            trained = [p for p in module.parameters() if p.requires_grad]
            if not trained:
                continue
            chosen = module.optimizer(trained)
            if chosen is None and name in rewards:
                chosen = Adam(trained, module.config.learning_rate)
            elif chosen is None:
                chosen = self._optimizer(trained)
                self.scheduled.append(chosen)
            self.plugged[name] = chosen
            if name in active:
                self.clipped[name] = trained, module.max_grad_norm

    def _optimizer(self, parameters: Iterable[nn.Parameter]) -> RMSProp | Adam:
        c = self.config
        if c.optimizer == "adam":
            return Adam(parameters, c.learning_rate, epsilon=c.epsilon)
        return RMSProp(
            parameters,
            c.learning_rate,
            c.rms_decay,
            c.epsilon,
            epsilon_inside=c.epsilon_inside,
            initial_mean_square=c.initial_mean_square,
        )

    def compute(self, total: Tensor) -> dict[str, Tensor]:
        """Compute and clip the gradients of ``total``. Return their norms before clipping, by group."""
        for optimizer in (self.optimizer, *self.plugged.values()):
            optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        return {
            k: nn.utils.clip_grad_norm_(parameters, norm)
            for k, (parameters, norm) in self.clipped.items()
            if any(p.grad is not None for p in parameters)
        }

    @property
    def gated(self) -> bool:
        """Return whether updates can be cancelled on the device, which only our own optimisers support."""
        return self.model.device.type != "cpu" and all(
            isinstance(o, RMSProp | Adam) for o in (self.optimizer, *self.plugged.values())
        )

    def apply(self, learning_rate: float, gate: Tensor | None) -> None:
        """Make one update; with ``gate``, a boolean scalar, only where it is True."""
        for own in self.scheduled:
            own.param_groups[0]["lr"] = learning_rate
        for optimizer in (self.optimizer, *self.plugged.values()):
            if isinstance(optimizer, RMSProp | Adam):
                optimizer.step(gate=gate, ordinary=self.config.target_kl is not None)
            else:
                optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the optimisers' state: that of the agent by the names of its parameters."""
        self._settle()
        return {
            "optimizer": {k: dict(self.optimizer.state[p]) for k, p in self.model.named_parameters()},
            "optimizers": {k: o.state_dict()["state"] for k, o in self.plugged.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state_dict``; other entries of ``state`` are ignored."""
        self._settle()  # what was skipped here is not in the numbers of ``state``
        for name, p in self.model.named_parameters():
            slot = self.optimizer.state[p]
            for key, mine in slot.items():
                its = state["optimizer"][name][key]
                slot[key] = mine.copy_(its) if isinstance(mine, Tensor) else its
        for name, optimizer in self.plugged.items():
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state["optimizers"][name], "param_groups": groups})

    def _settle(self) -> None:
        for optimizer in (self.optimizer, *self.plugged.values()):
            if isinstance(optimizer, RMSProp | Adam):
                optimizer.settle()
