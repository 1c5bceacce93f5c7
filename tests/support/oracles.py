"""Slow, plain transcriptions of the papers' sums, written apart from the code they check."""

from __future__ import annotations

import math


def vtrace_sum(log_rho, reward, discount, value, *, rho_bar, c_bar, lambda_):
    """One environment, lists of floats: v_s = V_s + sum_t (prod gamma c) delta_t (Espeholt et al. 2018, eq. 1).

    The advantage bootstraps from the lambda-mixture of V and v, which makes it GAE where all ratios are 1.
    """
    steps = len(reward)
    ratio = [math.exp(x) for x in log_rho]
    rho = [min(rho_bar, x) for x in ratio]
    c = [lambda_ * min(c_bar, x) for x in ratio]
    target = []
    for s in range(steps):
        total = value[s]
        for t in range(s, steps):
            weight = 1.0
            for i in range(s, t):
                weight *= discount[i] * c[i]
            total += weight * rho[t] * (reward[t] + discount[t] * value[t + 1] - value[t])
        target.append(total)
    after = [*target, value[steps]][1:]
    mixed = [(1 - lambda_) * v + lambda_ * w for v, w in zip(value[1:], after, strict=True)]
    advantage = [rho[t] * (reward[t] + discount[t] * mixed[t] - value[t]) for t in range(steps)]
    return target, advantage


def episodes(last):
    """Stretches [begin, end) of transitions between resets; ``last`` has one row more than there are steps."""
    begin, found = 0, []
    for t in range(len(last) - 1):
        if last[t]:  # this row crosses the reset
            found.append((begin, t))
            begin = t + 1
    found.append((begin, len(last) - 1))
    return found


def softmax(logits):
    """Of a list."""
    weights = [math.exp(x) for x in logits]
    return [w / sum(weights) for w in weights]
