"""Q-learning of many small rewards at once, shared by pixel control and feature control (Jaderberg et al. 2017)."""

from __future__ import annotations

from torch import Tensor

from ...pooling import Metric
from ...reduction import average, explained_variance
from ...returns import n_step_return


def dueling(value: Tensor, advantage: Tensor) -> Tensor:
    """Compute ``Q = V + A - mean_a A``: V [N, 1, ...], A [N, A, ...] -> [N, A, ...] (Wang et al. 2016, equation 9)."""
    return value + advantage - advantage.mean(1, keepdim=True)


def q_targets(q: Tensor, reward: Tensor, discount: Tensor, valid: Tensor) -> Tensor:
    """Compute ``R[t] = r[t] + gamma[t] R[t + 1]``, ``R[T] = max_a Q[T]``, of each of N rewards: constants to the
    gradient.

    q [T + 1, B, A, N], reward [T, B, N], discount [T, B] including gamma, valid [T, B] -> [T, B, N]. At a time limit
    the target bootstraps from the last observation of the episode; nothing is read across a reset.
    """
    N, best = reward.shape[-1], q.detach().amax(2).float()
    each = [x.repeat_interleave(N, dim=1) for x in (discount, valid)]  # [T, B N]: one column per reward
    return n_step_return(reward.flatten(1), each[0], best.flatten(1), each[1]).reshape(reward.shape)


def q_learning(
    q: Tensor, action: Tensor, reward: Tensor, discount: Tensor, valid: Tensor
) -> tuple[Tensor, dict[str, Metric]]:
    """Compute ``sum_n (R_n[t] - Q_n[t, a[t]])^2 / 2``, [T, B], and metrics over ``valid``.

    Shapes as in ``q_targets``, action [T, B] int64. Metrics: the reward ("change"), Q of the action taken ("q") and the
    fraction of the targets' variance, over rows and rewards, that Q explains.
    """
    target = q_targets(q, reward, discount, valid)
    taken = q[:-1].gather(2, action[..., None, None].expand(-1, -1, 1, q.shape[-1])).squeeze(2).float()
    value = (target - taken).square().sum(-1) / 2
    mask, guess = valid.unsqueeze(-1).expand_as(taken), taken.detach()
    metrics: dict[str, Metric] = {
        "change": average(reward, mask),
        "q": average(guess, mask),
        "q_explained_variance": explained_variance(guess, target, mask),
    }
    return value, metrics
