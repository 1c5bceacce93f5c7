"""Settings of the peers, derived from ours."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from typing import Any

from ...agents.config.config import Config
from ...envs.errors import UserError

PPO, RECURRENT_PPO = "stable_baselines3 PPO", "sb3_contrib RecurrentPPO"
"""Names of the peers: of agents without and with memory."""
PACKAGES = ("stable_baselines3", "sb3_contrib")


@dataclasses.dataclass(frozen=True)
class PeerSettings:
    """Settings of PPO as Stable-Baselines3 means them; the defaults are those for an agent of ours that is no PPO."""

    num_envs: int
    gamma: float
    entropy_cost: float
    final_entropy_cost: float | None = None
    """Entropy cost at the end, to which it moves linearly; None: it stays."""
    unroll: int = 64
    epochs: int = 4
    minibatch: int = 512
    """Number of steps in a minibatch."""
    learning_rate: float = 5e-4
    constant_rate: bool = True
    adam_epsilon: float = 1e-5
    gae_lambda: float = 0.95
    clip: float = 0.2
    value_clip: float | None = None
    value_cost: float = 0.5
    """Weight of the squared error, which is not halved."""
    max_grad_norm: float = 0.5
    normalise_advantage: bool = True
    target_kl: float | None = None
    """Updates stop at 1.5 times this."""


def peer_settings(config: Config, own: bool = False) -> PeerSettings:
    """Return the peer's settings for a resolved config.

    Environments, discount and entropy cost are always ours. If our agent is a PPO (it has a clip range), so is
    everything else, converted to the peer's units; otherwise, or with ``own``, everything else has the defaults of
    `PeerSettings`.
    """
    ours = {field.name: getattr(config.learner, field.name) for field in dataclasses.fields(config.learner)}
    shared = PeerSettings(config.num_envs, ours["gamma"], ours["entropy_cost"], ours["final_entropy_cost"])
    if own or ours["clip"] is None:
        return dataclasses.replace(shared, minibatch=min(shared.minibatch, shared.unroll * shared.num_envs))
    if ours["optimizer"] != "adam":
        raise UserError("The peer's optimiser is Adam: add --optimizer adam, or leave the peer out with --peers none.")
    target_kl = ours["target_kl"]
    return dataclasses.replace(
        shared,
        unroll=config.unroll,
        epochs=ours["epochs"],
        minibatch=config.unroll * config.num_envs // ours["minibatches"],
        learning_rate=ours["learning_rate"],
        constant_rate=ours["constant_rate"],
        adam_epsilon=ours["epsilon"],
        gae_lambda=ours["lambda_"],
        clip=ours["clip"],
        value_clip=ours["value_clip"],
        value_cost=ours["value_cost"] / 2,  # our value loss is half the squared error
        max_grad_norm=ours["max_grad_norm"],
        normalise_advantage=ours["advantage"] != "raw",
        target_kl=None if target_kl is None else target_kl / 1.5,
    )


def peer_of(config: Config, own: bool = False) -> str:
    """Return the name of the peer of an agent. UserError, with the way out, if it is not installed or does not fit."""
    recurrent = config.memory != "none"
    for package in PACKAGES if recurrent else PACKAGES[:1]:
        if find_spec(package) is None:
            way_out = "pip install 'morello[peers]', or leave the peer out with --peers none."
            raise UserError(f"{package} is not installed: {way_out}")
    peer_settings(config, own)  # may refuse
    return RECURRENT_PPO if recurrent else PPO


def differences(config: Config) -> list[str]:
    """Return what differs between our agent and its peer besides the settings."""
    found = ["Our heads and memory also see the previous action and the clipped previous reward."]
    if config.dtype != "float32":
        found.append(f"Our torso runs in {config.dtype}, the peer's in float32.")
    if config.memory != "none":
        found.append(
            "The peer has an LSTM for the policy and another for the value; our agent has one memory for both."
        )
    if config.memory not in ("none", "lstm"):
        found.append(f"The peer's memory is an LSTM, ours is not: it is {config.memory}.")
    if config.aux or config.intrinsic:
        found.append("The peer has no auxiliary losses and no intrinsic rewards.")
    return found


def described(config: Config, own: bool = False) -> dict[str, Any]:
    """Return the peer's settings as plain JSON, with those of the network, which are ours."""
    network: dict[str, Any] = {"torso": config.torso, "memory": "none"}
    if config.memory != "none":
        network |= {"memory": "lstm", "memory_size": config.memory_size}
    return {"name": peer_of(config, own), **network, **dataclasses.asdict(peer_settings(config, own))}
