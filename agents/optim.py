"""RMSProp as the actor-critic papers define it, and Adam; the step of either can be skipped on the device.

TensorFlow puts epsilon inside the root and starts the mean square at 1; PyTorch puts it outside and starts at 0.
IMPALA's epsilon of 0.1 has its intended effect only with the former, so both are options here. Starting from 0, the
first step is 1 / sqrt(1 - decay) times too long, ten times at 0.99, which can ruin a network at a high learning rate.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Gated(torch.optim.Optimizer):
    """An optimiser whose step can be skipped on the device, and that knows without asking how many were."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)
        self.skipped: dict[Tensor, Tensor] = {}  # float64 scalars by parameter: one without a gradient skips nothing

    def counts(self, params: list[Tensor], gate: Tensor | None, ordinary: bool) -> list[Any]:
        """Return the number of the coming update of each parameter. If skipping is ``ordinary``, skipped updates are
        not counted and the numbers are on the device; otherwise they are only skipped in a run that is about to end.
        """
        for p in params:
            self.state[p]["updates"] += 1
        found = [self.state[p]["updates"] for p in params]
        if gate is None or not ordinary:
            return found
        none = torch.zeros((), dtype=torch.float64, device=gate.device)
        shared: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}  # of parameters with the same history
        for i, p in enumerate(params):
            n, before = found[i], self.skipped.get(p, none)
            if (n, id(before)) not in shared:
                shared[n, id(before)] = n - before, before + ~gate
            found[i], self.skipped[p] = shared[n, id(before)]
        return found

    def settle(self) -> None:
        """Take the skipped updates out of the numbers that ``state`` holds; the host waits for the device."""
        for p, skipped in self.skipped.items():
            self.state[p]["updates"] -= int(skipped)
        self.skipped = {}


class RMSProp(Gated):
    """RMSProp: ms <- decay ms + (1 - decay) g^2; p <- p - lr g / sqrt(ms + epsilon), or lr g / (sqrt(ms) + epsilon).

    ``initial_mean_square`` None: use the mean of the squared gradients that a parameter has received so far, which has
    no initial bias; equal to Adam without momentum (Kingma & Ba 2015, algorithm 1 with beta_1 = 0). ``centered`` and
    momentum are omitted: no preset uses them. ``step(gate=...)`` takes a boolean scalar tensor: where it is False
    nothing changes, and the host need not wait for its value. ``ordinary`` as in `Gated.counts`.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 7e-4,
        decay: float = 0.99,
        epsilon: float = 1e-5,
        *,
        epsilon_inside: bool = True,
        initial_mean_square: float | None = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "decay": decay, "epsilon": epsilon, "epsilon_inside": epsilon_inside})
        self.unbiased = initial_mean_square is None
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p] = {"mean_square": torch.full_like(p, initial_mean_square or 0.0), "updates": 0}

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: None = None, *, gate: Tensor | None = None, ordinary: bool = False
    ) -> None:
        """Make one update from ``p.grad``; parameters without a gradient stay unchanged."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            grads = [p.grad for p in params]
            mean_square = [self.state[p]["mean_square"] for p in params]
            decays = [group["decay"]] * len(params)
            if self.unbiased:
                decays = [unbiased_decay(group["decay"], n) for n in self.counts(params, gate, ordinary)]
            new = torch._foreach_mul(mean_square, decays)
            if isinstance(decays[0], Tensor):
                torch._foreach_add_(new, torch._foreach_mul(torch._foreach_mul(grads, grads), [1 - d for d in decays]))
            else:
                torch._foreach_addcmul_(new, grads, grads, [1 - d for d in decays])
            if group["epsilon_inside"]:
                root = torch._foreach_add(new, group["epsilon"])
                torch._foreach_sqrt_(root)
            else:
                root = torch._foreach_sqrt(new)
                torch._foreach_add_(root, group["epsilon"])
            step = torch._foreach_div(grads, root)
            if gate is not None:
                step = tuple(torch.where(gate, s, 0.0) for s in step)
                new = tuple(torch.where(gate, n, m) for n, m in zip(new, mean_square, strict=True))
            torch._foreach_copy_(mean_square, new)
            torch._foreach_add_(params, step, alpha=-group["lr"])


def unbiased_decay(decay: float, n: Any) -> Any:
    """Return the n-th decay rate that makes the moving mean equal to sum_i decay^(n-i) x_i / sum_i decay^(n-i): 0 at
    first, ``decay`` in the limit.
    """
    return (decay - decay**n) / (1 - decay**n)


class Adam(Gated):
    """Adam (Kingma & Ba 2015, algorithm 1), with the ``gate`` of `RMSProp`."""

    def __init__(
        self, params: Iterable[Any], lr: float = 1e-4, betas: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "epsilon": epsilon})
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p] = {"mean": torch.zeros_like(p), "mean_square": torch.zeros_like(p), "updates": 0}

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: None = None, *, gate: Tensor | None = None, ordinary: bool = False
    ) -> None:
        """Make one update from ``p.grad``; parameters without a gradient stay unchanged."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            updates = self.counts(params, gate, ordinary)
            if all(self._plain(p) for p in params):
                self._fused(group, params, updates, gate)
                continue
            grads = [p.grad for p in params]
            kept = {}
            sources = {"mean": grads, "mean_square": list(torch._foreach_mul(grads, grads))}
            for (name, source), beta in zip(sources.items(), group["betas"], strict=True):
                old = [self.state[p][name] for p in params]
                decays = [unbiased_decay(beta, n) for n in updates]
                new = torch._foreach_mul(old, decays)
                torch._foreach_add_(new, torch._foreach_mul(source, [1 - d for d in decays]))
                kept[name] = new if gate is None else [torch.where(gate, n, o) for n, o in zip(new, old, strict=True)]
                torch._foreach_copy_(old, kept[name])
            root = torch._foreach_sqrt(kept["mean_square"])
            torch._foreach_add_(root, group["epsilon"])
            step = torch._foreach_div(kept["mean"], root)
            if gate is not None:
                step = tuple(torch.where(gate, s, 0.0) for s in step)
            torch._foreach_add_(params, step, alpha=-group["lr"])

    def _plain(self, p: Tensor) -> bool:
        """Return whether a CPU's kernel may read the parameter, its gradient and moments as rows of numbers: they have
        no gaps in memory, and all the same order.
        """
        others = (p.grad, self.state[p]["mean"], self.state[p]["mean_square"])
        dense = p.is_contiguous() or (p.dim() == 4 and p.is_contiguous(memory_format=torch.channels_last))
        return p.device.type == "cpu" and dense and all(x is not None and x.stride() == p.stride() for x in others)

    def _fused(self, group: dict[str, Any], params: list[Tensor], updates: list[Any], gate: Tensor | None) -> None:
        """Do the same in one pass over the weights, of which torch has a kernel for CPUs: five times as fast for small
        networks. Its own correction of the bias is switched off by the number of the update.
        """
        skip = None if gate is None else (~gate).float()
        late = torch.tensor(1e9)
        for number in dict.fromkeys(map(int, updates)):
            chosen = [p for p, n in zip(params, updates, strict=True) if int(n) == number]
            mean, mean_square = ([self.state[p][name] for p in chosen] for name in ("mean", "mean_square"))
            beta1, beta2 = (unbiased_decay(beta, number) for beta in group["betas"])
            torch._fused_adam_(
                chosen,
                [p.grad for p in chosen if p.grad is not None],
                mean,
                mean_square,
                [],
                [late] * len(chosen),
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=0.0,
                eps=group["epsilon"],
                amsgrad=False,
                maximize=False,
                found_inf=skip,
            )
            torch.autograd.graph.increment_version([*chosen, *mean, *mean_square])  # which the kernel leaves out
