"""Autoregressive model of items, event by event: an ordering, a causal network and an output head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ...envs.trees import State
from ..checks import check_shape, check_temperature
from ..numerics import at_least_float32
from .conditioning import Conditioner, Given, GivenSizes, Rows
from .heads import Head
from .networks import CausalNetwork
from .orderings import Ordering

NOTHING = Given()


class PartialItem(NamedTuple):
    """State of step-by-step generation: what the distribution of the next event depends on."""

    t: int  # number of events so far
    parameters: Tensor  # [B, size], of the distribution of event t
    cond: Rows
    state: State


class Autoregressive(nn.Module):
    """Model ``p(x) = prod_t p(x_t given x_<t, y)`` of items [B, *shape] in the order of ``ordering``.

    ``network(ordering, width, cond, memory)`` builds the causal network; ``given`` holds the widths of the side
    information y, and ``cond`` is the width at which it enters the network.
    """

    def __init__(
        self,
        ordering: Ordering,
        head: Head,
        network: Callable[..., CausalNetwork],
        given: GivenSizes = GivenSizes(),  # noqa: B008 (immutable)
        cond: int = 32,
    ) -> None:
        super().__init__()
        ordering.check(head.event)
        self.ordering, self.head = ordering, head
        self.conditioner = Conditioner(ordering, given, cond)
        self.network = network(ordering, head.width, self.conditioner.size, given.memory)
        self.output = nn.Linear(self.network.size, head.size)

    def features(self, x: Tensor, given: Given = NOTHING) -> Tensor:
        """Return features [T, B, size] of each event from those before it, in the order of the events."""
        e = self.head.embed(self.ordering.to_sequence(x))
        features: Tensor = self.network(e, self.conditioner(given, len(x)))
        return features

    def parameters_of(self, x: Tensor, given: Given = NOTHING) -> Tensor:
        """Return the parameters [T, B, head.size] of each event's distribution given those before it, in parallel."""
        return self._distribution(self.features(x, given))

    def _distribution(self, features: Tensor) -> Tensor:
        return at_least_float32(self.output(features))

    def log_prob(self, x: Tensor, given: Given = NOTHING, reduce: Literal["sum", "none"] = "sum") -> Tensor:
        """Return log-probabilities in nats, [B], or with ``reduce="none"`` their terms by place, [B, *places]."""
        if reduce not in ("sum", "none"):
            raise ValueError(f"reduce is 'sum' or 'none', not {reduce!r}")
        terms = self.head.log_prob(self.parameters_of(x, given), self.ordering.to_sequence(x))
        return terms.sum(0) if reduce == "sum" else self.ordering.from_sequence(terms)

    forward = log_prob  # for torch.func.functional_call: a step on a functional copy

    def begin(self, batch: int, given: Given = NOTHING) -> PartialItem:
        """Return the state of ``batch`` items before their first event."""
        cond = self.conditioner(given, batch)
        nothing = self.output.weight.new_zeros(batch, self.head.width)
        return self._next(0, nothing, cond, self.network.initial_state(batch))

    def tell(self, x: Tensor, stream: PartialItem) -> PartialItem:
        """Return the state after the next event ``x`` [B, *event].

        Raises ValueError if the item is complete, and for x of another shape.
        """
        if stream.t == self.ordering.length:
            raise ValueError(f"all {self.ordering.length} events have been given already")
        check_shape("the next event of this stream", x, len(stream.parameters), *self.head.event)
        return self._next(stream.t + 1, self.head.embed(x), stream.cond, stream.state)

    def _next(self, t: int, previous: Tensor, cond: Rows, state: State) -> PartialItem:
        if t == self.ordering.length:  # the item is complete
            return PartialItem(t, self.output.weight.new_empty(0), cond, state)
        features, state = self.network.step(t, previous, cond, state)
        return PartialItem(t, self._distribution(features), cond, state)

    @torch.no_grad()
    def sample(
        self,
        count: int,
        given: Given = NOTHING,
        *,
        prefix: Tensor | None = None,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Sample ``count`` items [count, *shape], event by event.

        ``prefix`` [count, t, *event] holds the first t events, which are kept and not sampled.
        """
        check_temperature(temperature)
        if prefix is not None:
            check_shape("prefix", prefix, count, "t", *self.head.event)
            if prefix.shape[1] > self.ordering.length:
                raise ValueError(f"prefix is {prefix.shape[1]} events long, an item {self.ordering.length}")
        stream, told = self.begin(count, given), []
        for t in range(self.ordering.length):
            if prefix is not None and t < prefix.shape[1]:
                x = prefix[:, t]
            else:
                x = self.head.sample(stream.parameters, temperature, generator)
            told.append(x)
            stream = self.tell(x, stream)
        return self.ordering.from_sequence(torch.stack(told))

    def fit(self, x: Tensor, optimizer: torch.optim.Optimizer, given: Given = NOTHING) -> tuple[Tensor, Tensor]:
        """Take one gradient step on ``x`` and return its log-probability before and after, [B] each.

        The difference is the prediction gain (Bellemare et al., "Unifying count-based exploration and intrinsic
        motivation", NIPS 2016).
        """
        before = self.log_prob(x, given)
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(-before.mean())
        optimizer.step()
        torch.clear_autocast_cache()  # without this, autocast would reuse the weights from before the step
        with torch.no_grad():
            return before.detach(), self.log_prob(x, given)
