"""Return estimators: one pure function per equation, all over [T, B] with time first.

``discount`` already includes gamma: 0 where the task terminated, gamma elsewhere, including at time limits. ``value``
has T + 1 rows, the last one to bootstrap from. A row where ``valid`` is False crosses a reset: it is not a transition,
so its target is its own value, its advantage is 0 and it passes nothing back. The row before it thus bootstraps from
the true last observation of its episode. Values that are not used may be NaN.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..envs.experience import Rollout


def discounts(rollout: Rollout, gamma: float, timeout_terminates: bool | None = False) -> Float[Tensor, "T B"]:
    """Return gamma times the environment's discount; with ``timeout_terminates`` 0 where a time limit ended the
    episode.
    """
    discount = gamma * rollout.discount
    return torch.where(rollout.truncated, 0.0, discount) if timeout_terminates else discount


def _bootstrap(discount: Tensor, value: Tensor) -> Tensor:
    """Return discount * value, and 0 rather than NaN where the value is not to be used."""
    return torch.where(discount == 0, 0.0, discount * value)


def vtrace(
    log_rho: Float[Tensor, "T B"],
    reward: Float[Tensor, "T B"],
    discount: Float[Tensor, "T B"],
    value: Float[Tensor, "T+1 B"],
    valid: Bool[Tensor, "T B"],
    *,
    rho_bar: float = 1.0,
    c_bar: float = 1.0,
    lambda_: float = 1.0,
) -> tuple[Float[Tensor, "T B"], Float[Tensor, "T B"]]:
    """Compute V-trace targets and policy-gradient advantages (Espeholt et al. 2018, section 4.1).

    With rho = min(rho_bar, pi / mu) and c = lambda min(c_bar, pi / mu)::

        delta_t = rho_t (r_t + gamma_t V_{t+1} - V_t)
        v_t - V_t = delta_t + gamma_t c_t (v_{t+1} - V_{t+1}),    v_T = V_T
        advantage_t = rho_t (r_t + gamma_t (V_{t+1} + lambda (v_{t+1} - V_{t+1})) - V_t)

    ``log_rho`` is log pi - log mu of the action taken. On-policy it is 0: the target is the lambda-return (at lambda 1
    the n-step return) and the advantage is the generalised one, ``v_t - V_t`` (Schulman et al. 2016, GAE). The paper's
    advantage is that of lambda 1.
    Returns (target, advantage), both constants to the gradient.
    """
    with torch.no_grad():
        ratio = torch.where(valid, log_rho, 0.0).exp()
        rho, c = ratio.clamp(max=rho_bar), lambda_ * ratio.clamp(max=c_bar)
        delta = torch.where(valid, rho * (reward + _bootstrap(discount, value[1:]) - value[:-1]), 0.0)
        trace = torch.where(valid, discount * c, 0.0)
        error = torch.empty_like(delta)  # v_t - V_t
        carry = torch.zeros_like(delta[0])
        for t in reversed(range(delta.shape[0])):
            carry = torch.addcmul(delta[t], trace[t], carry, out=error[t])
        target = value.clone()
        target[:-1] += error
        ahead = torch.lerp(value[1:], target[1:], lambda_)
        advantage = rho * (reward + _bootstrap(discount, ahead) - value[:-1])
        return target[:-1], torch.where(valid, advantage, 0.0)


def n_step_return(
    reward: Float[Tensor, "T B"],
    discount: Float[Tensor, "T B"],
    value: Float[Tensor, "T+1 B"],
    valid: Bool[Tensor, "T B"],
) -> Float[Tensor, "T B"]:
    """Compute the return to the end of the unroll, R_t = r_t + gamma_t R_{t+1}, R_T = V_T (Mnih et al. 2016, A3C)."""
    with torch.no_grad():
        target = value.clone()
        for t in reversed(range(reward.shape[0])):
            target[t] = torch.where(valid[t], reward[t] + _bootstrap(discount[t], target[t + 1]), value[t])
        return target[:-1]


def across_resets(
    log_rho: Float[Tensor, "T B"],
    reward: Float[Tensor, "T B"],
    valid: Bool[Tensor, "T B"],
    *,
    gamma: float,
) -> tuple[Float[Tensor, "T B"], Float[Tensor, "T B"], Float[Tensor, "T B"], Bool[Tensor, "T B"]]:
    """Prepare the inputs of ``vtrace`` for a non-episodic stream, whose return continues across resets (Burda et al.
    2018, RND).

    gamma applies at terminations too; the row that crosses a reset is a transparent link (reward 0, discount 1, ratio
    1), so that the last step of one episode bootstraps from the first observation of the next. (Transparent if
    ``vtrace`` neither shortens traces nor clips below 1; otherwise a crossing applies that factor once more.) Returns
    (log_rho, reward, discount, valid) with every row valid.
    """
    discount = torch.where(valid, gamma, 1.0)
    return torch.where(valid, log_rho, 0.0), torch.where(valid, reward, 0.0), discount, torch.ones_like(valid)
