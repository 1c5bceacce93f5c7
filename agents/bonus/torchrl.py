"""A TorchRL transform that adds an intrinsic reward to batches of data, such as those of a collector.

from morello.agents.bonus.torchrl import BonusTransform

bonus = BonusTransform("rnd", spec, weight=0.5)
for data in collector:
    data = bonus(data)                 # adds to ("next", "reward")
"""

from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDictBase
from torch import Tensor
from torchrl.envs.transforms import Transform

from ...envs.errors import UserError
from ...envs.experience import Spec
from .bonus import Bonus, intrinsic, weight_of


class BonusTransform(Transform):  # type: ignore[misc]
    """Adds ``weight`` times the intrinsic reward ``name`` to ("next", "reward") of data [B, T] in the order of
    collection (the layout of TorchRL's collectors), and writes the reward itself to ("next", "intrinsic").

    ``observation`` names the entry to look at. Each batch goes on where the one before ended. The step at which an
    episode ends gets no intrinsic reward.
    """

    def __init__(
        self,
        name: str,
        spec: Spec | tuple[Any, Any],
        *,
        weight: float = 1.0,
        observation: str = "observation",
        seed: int = 0,
        device: str | torch.device = "cpu",
        **settings: Any,
    ) -> None:
        super().__init__(in_keys=[("next", "reward")], out_keys=[("next", "reward")])
        self.weight, self.observation = weight_of(weight), observation
        self.begins: Tensor | None = None  # whether episodes begin with the next batch
        self.bonus: Bonus = intrinsic(name, spec, seed=seed, device=device, **settings)

    def get_extra_state(self) -> dict[str, Any]:
        """Return the state of the reward, for `state_dict`."""
        return {"bonus": self.bonus.state_dict(), "begins": self.begins}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict`."""
        self.bonus.load_state_dict(state["bonus"])
        self.begins = state["begins"]

    def forward(self, tensordict: TensorDictBase) -> TensorDictBase:
        """Score data [B, T], or [T] of one environment."""
        data = tensordict if tensordict.dim() > 1 else tensordict.unsqueeze(0)
        entries = [*data.keys()]
        if self.observation not in entries:
            raise UserError(f"the data have no entry {self.observation!r}; they have {', '.join(map(repr, entries))}")
        seen = torch.cat([data[self.observation], data["next", self.observation][:, -1:]], 1).transpose(0, 1)
        action, done = data["action"], data["next", "done"].squeeze(-1).T
        if action.shape != data.shape:  # [..., 1], or one-hot
            action = action.squeeze(-1) if action.shape[-1] == 1 else action.long().argmax(-1)
        begins = self.begins if self.begins is not None else torch.ones_like(done[0])
        self.begins = done[-1].clone()
        reward = data["next", "reward"]
        extra = self.bonus(seen, action.T, torch.cat([begins[None], done]), reward.squeeze(-1).T)
        extra = extra.T.unsqueeze(-1).to(reward.device).view_as(tensordict["next", "reward"])
        tensordict["next", "intrinsic"] = extra
        tensordict["next", "reward"] = tensordict["next", "reward"] + self.weight * extra
        return tensordict
