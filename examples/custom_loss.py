r"""A custom auxiliary loss: prediction of the next frame's mean colour from the agent's memory.

    morello list losses --import examples/custom_loss.py
    morello train a2c-lstm --import examples/custom_loss.py --aux.next-colour.weight 1 \
        --env labyrinth:seekavoid_arena_01
"""

from dataclasses import dataclass

from torch import Tensor, nn

from morello.auxiliaries import AUXILIARY_LOSSES, AuxiliaryLoss, LossConfig
from morello.auxiliaries.reduction import average
from morello.backbones import Features, Sizes
from morello.envs.experience import Rollout, Spec


@dataclass(frozen=True)
class NextColourConfig(LossConfig):
    """Settings of the loss. Fields become flags: this one is --aux.next-colour.hidden."""

    hidden: int = 64
    """Units of the hidden layer."""


class NextColour(AuxiliaryLoss):
    """Squared error of the mean colour of frame t + 1, from the memory at t."""

    Config = NextColourConfig
    paper = "an example: the mean colour of the next frame, from memory"

    def __init__(self, config: NextColourConfig, spec: Spec, sizes: Sizes) -> None:
        super().__init__(config)
        if "image" not in spec.observation:
            raise ValueError("next_colour needs images")  # shown to the user as a one-line error
        self.head = nn.Sequential(nn.Linear(sizes.memory, config.hidden), nn.ReLU(), nn.Linear(config.hidden, 3))

    def forward(self, rollout: Rollout, features: Features) -> tuple[Tensor, Tensor]:
        """Return value and mask [T, B], not averaged; the mask is False where a reset is between two frames."""
        colour = rollout.observation["image"][1:, ..., :3].float().mean((2, 3)) / 255
        error = (self.head(features.memory[:-1]) - colour).square().mean(-1)
        self.metrics = {"brightness": average(colour.mean(-1), rollout.valid)}  # logged as next_colour/brightness
        return error, rollout.valid


AUXILIARY_LOSSES["next_colour"] = NextColour
