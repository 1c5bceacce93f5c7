"""A scripted player that sees the map: what a level is worth to someone who knows it.

It looks ahead with the simulator itself. Every few steps it imagines some dozen short plans (turn or move for a while,
then go straight) from the present state and follows the best for a third of its length: most reward, least way left to
go. The way left is read off distance fields over a lattice of places where the agent's box fits, lemons costing extra
and portals being short cuts.

On a level with a goal it goes there, by way of apples whose detour is worth less than their share of a goal's reward.
On one that restarts when cleared it follows the shortest tour of all apples (Held and Karp, "A Dynamic Programming
Approach to Sequencing Problems", 1962).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
import warp as wp
from torch import Tensor
from torch.nn.functional import max_pool2d

from ..errors import UserError
from ..experience import Timestep
from .kernels.arrays import Levels, Worlds, view, view_all
from .kernels.items import EFFECT, MOVE, REACH, RESTART, REWARD, kinds_table
from .kernels.rules import step_worlds
from .labyrinth import Labyrinth
from .level import REPEAT, Action, MazeGenerator
from .world import World

FAR = 1e6
"""Distance of what cannot be reached, map units."""

LEMON_COST = 8.0
"""How many times longer a step within a lemon's reach counts."""


class Oracle:
    """Plays ``env``, a Labyrinth of one level. ``act`` must see every timestep."""

    def __init__(self, env: Labyrinth) -> None:
        if len(env.levels) != 1 or env.device.type != "cpu":
            raise UserError("the oracle plays one level at a time, on the CPU")
        self.env, self.level = env, env.levels[0]
        cell = self.level.layout.cell
        self.spacing = cell / (5 if cell >= 50 else 2)
        self.kinds = torch.from_numpy(kinds_table())
        self.plans = _plans(self.level.actions)
        self.commitment = self.plans.shape[1] // 3
        self.imagined = Imagination(env, len(self.plans))
        self.generated = isinstance(self.level.layout, MazeGenerator)
        self.fields = torch.zeros(0)  # [M, h, w]
        self.mean_way = torch.zeros(0)  # [M]
        self.order = torch.zeros(0, dtype=torch.int64)
        self.between = torch.zeros(0)  # [M, M]
        self.todo: list[Tensor] = []

    def act(self, timestep: Timestep) -> Tensor:
        """The next action [B] of the plan that each environment follows."""
        if self.generated or not self.fields.numel():
            self._survey(timestep.first)
            reached = self.fields < FAR
            self.mean_way = torch.where(reached, self.fields, 0).sum((1, 2)) / reached.sum((1, 2))
        if not self.todo:
            self.todo = list(self._best_plans().T[: self.commitment])
        return self.todo.pop(0)

    def _best_plans(self) -> Tensor:
        """[B, H]."""
        C, imagined = len(self.plans), self.imagined
        goal, worth = self._goal_slot(), self._worth()
        apples = self._apples(goal, worth)
        goal, worth, apples = (x.repeat_interleave(C, 0) for x in (goal, worth, apples))

        def value() -> Tensor:
            way = self._way_left(imagined.world, goal, worth, apples)
            way = torch.where(imagined.over, -imagined.since * self._stride(), way)
            lost = imagined.over & (imagined.gain <= 0)  # an end that is not the goal
            return worth * imagined.gain - torch.where(lost, FAR, way)

        imagined.begin(self.env.world)
        imagined.play(self.plans[:, : self.commitment])
        soon = value()  # counts too, or putting off would be as good as going
        imagined.play(self.plans[:, self.commitment :])
        return self.plans[(value() + 0.3 * soon).view(-1, C).argmax(1)]

    def _stride(self) -> float:
        """Map units a step at full speed."""
        return self.level.physics.speed * REPEAT / self.level.physics.hz

    def _worth(self) -> Tensor:
        """Map units of way that one unit of reward is worth, [B]."""
        if self.level.restart_when_cleared:
            return torch.full((self.env.num_envs,), 100.0)
        rows = torch.arange(self.env.num_envs)
        return self.mean_way[self._field_of_items()[rows, self._goal_slot()]] / 10

    def _goal_slot(self) -> Tensor:
        """The item [B] that restarts the map or ends the episode."""
        return (self.kinds[self.env.world.home_kind.long(), EFFECT] >= RESTART).int().argmax(1)

    def _field_of_items(self) -> Tensor:
        """Which of ``fields`` leads to each item, [B, I]."""
        world = self.env.world
        B, items = world.item_kind.shape
        if self.generated:
            return torch.arange(B)[:, None].expand(B, items)
        if self.level.goal is None:
            return torch.arange(items).expand(B, items)
        i, j = (world.item_position / self.level.layout.cell).long().flip(-1).unbind(-1)
        return i * int(self.env.tables.width[0]) + j

    def _survey(self, first: Tensor) -> None:
        """Distance fields: to each item, to each cell if items move, to each environment's goal if walls do."""
        world, cell = self.env.world, self.level.layout.cell
        if self.generated:
            goal = world.item_position[:, 0]
            cost = self._cost(world.walls)
            if not self.fields.numel():
                self.fields = distance_fields(cost, goal, self.spacing)
            elif first.any():
                self.fields[first] = distance_fields(cost[first], goal[first], self.spacing)
            return
        if self.level.goal is None:
            targets = world.item_position[0]
        else:
            height, width = int(self.env.tables.height[0]), int(self.env.tables.width[0])
            targets = torch.tensor([((j + 0.5) * cell, (i + 0.5) * cell) for i in range(height) for j in range(width)])
        cost = self._cost(world.walls[:1])
        self.fields = distance_fields(cost.expand(len(targets), -1, -1), targets, self.spacing)
        every = torch.arange(len(targets))
        self.between = sample(self.fields, every[:, None], targets.expand(len(targets), -1, 2), self.spacing)
        if self.level.restart_when_cleared:
            wanted = (self.kinds[world.home_kind[0].long(), REWARD] > 0).nonzero()[:, 0]
            start = self.env.tables.starts[0, 0, :2]
            first_leg = sample(self.fields, wanted, start.expand(len(wanted), 2), self.spacing)
            self.order = wanted[shortest_tour(first_leg, self.between[wanted][:, wanted])]

    def _cost(self, walls: Tensor) -> Tensor:
        """What a lattice step costs a unit of length at each place, [N, h, w]; infinite where the box does not fit."""
        world, cell = self.env.world, self.level.layout.cell
        n = round(cell / self.spacing)
        N, _, rows, columns = walls.shape
        solid = torch.zeros(N, (rows - 1) * n + 1, (columns - 1) * n + 1)
        for t in range(n + 1):
            solid[:, t : t + (rows - 1) * n : n, :: n] += walls[:, 0, :-1, :]
            solid[:, :: n, t : t + (columns - 1) * n : n] += walls[:, 1, :, :-1]
        reach = -int(-self.level.physics.radius // self.spacing) - 1
        blocked = max_pool2d((solid > 0).float(), 2 * reach + 1, 1, reach) > 0
        cost = torch.where(blocked, torch.inf, 1.0)
        y, x = torch.meshgrid(torch.arange(cost.shape[1]), torch.arange(cost.shape[2]), indexing="ij")
        here = torch.stack([x, y], -1) * self.spacing
        for position, kind in zip(world.item_position[0], world.home_kind[0], strict=True):
            if self.kinds[int(kind), REWARD] < 0:
                near = (here - position).norm(dim=-1) < self.kinds[int(kind), REACH] + self.spacing / 2
                cost = torch.where(near, cost * LEMON_COST, cost)
        return cost

    def _apples(self, goal: Tensor, worth: Tensor) -> Tensor:
        """The few items [B, <= 3] on whose account a detour pays most."""
        if self.generated or self.level.restart_when_cleared:
            return torch.zeros(len(goal), 0, dtype=torch.int64)
        every = torch.arange(self.env.world.item_kind.shape[1]).expand(len(goal), -1)
        saving = self._saving(self.env.world, goal, worth, every)
        return saving.topk(min(3, saving.shape[1]), dim=1).indices

    def _saving(self, world: World, goal: Tensor, worth: Tensor, items: Tensor) -> Tensor:
        """What going to the goal by way of each of ``items`` [N, k] gains, in map units; negative if it does not."""
        field = self._field_of_items().repeat_interleave(len(goal) // self.env.num_envs, 0)
        rows = torch.arange(len(goal))[:, None]
        position = world.position[:, None].expand(-1, items.shape[1], 2)
        by = sample(self.fields, field[rows, items], position, self.spacing)
        by += self.between[field[rows, goal[:, None]], field[rows, items]]
        straight = sample(self.fields, field[rows, goal[:, None]], position[:, :1], self.spacing)
        there = (self.kinds[world.item_kind.gather(1, items).long(), REWARD] > 0) & (items != goal[:, None])
        return torch.where(there, worth[:, None] - (by - straight), -1)

    def _way_left(self, world: World, goal: Tensor, worth: Tensor, apples: Tensor) -> Tensor:
        """Map units to go until the map restarts or the episode ends, for each imagined world."""
        if self.level.restart_when_cleared:
            return self._tour_left(world)
        field = self._field_of_items().repeat_interleave(len(self.plans), 0)
        rows = torch.arange(len(goal))
        straight = sample(self.fields, field[rows, goal], world.position, self.spacing)
        exit = self.env.tables.exit[:, :2].expand(len(goal), 2)
        for portal in (self.kinds[world.home_kind[0].long(), EFFECT] == MOVE).nonzero()[:, 0].tolist():
            through = sample(self.fields, field[rows, portal], world.position, self.spacing)
            through += sample(self.fields, field[rows, goal], exit, self.spacing)
            straight = torch.minimum(straight, through)
        if not apples.shape[1]:
            return straight
        return straight - self._saving(world, goal, worth, apples).amax(1).clamp(0)  # by one apple, or straight

    def _tour_left(self, world: World) -> Tensor:
        """The rest of the tour, through the items still there in the tour's order."""
        left = torch.zeros(len(world.position))
        previous = torch.full((len(left),), -1)
        for item in self.order.tolist():
            here = world.item_kind[:, item] > 0
            leg = torch.where(
                previous < 0,
                sample(self.fields, torch.full_like(previous, item), world.position, self.spacing),
                self.between[item, previous.clamp(0)],
            )
            left += torch.where(here, leg, 0)
            previous = torch.where(here, item, previous)
        return left


class Imagination:
    """Copies of an environment's worlds, ``plans`` of each, to try plans on."""

    def __init__(self, env: Labyrinth, plans: int) -> None:
        self.copies = plans
        self.world = World(*(x.repeat_interleave(plans, 0) for x in env.world))
        count = len(self.world.task)
        cells = int((env.tables.height * env.tables.width).max())
        self._scratch = torch.zeros(count, 2 * cells, dtype=torch.int32)
        self._kinds = torch.from_numpy(kinds_table())
        self._action = torch.zeros(count, dtype=torch.int64)
        self._flags = torch.zeros(count, dtype=torch.bool)
        self._numbers, self._pairs = torch.zeros(count), torch.zeros(count, 2)
        inputs = [view_all(Worlds, self.world), view_all(Levels, env.tables), view(self._kinds), view(self._scratch)]
        inputs += [view(self._action), view(self._flags), 0, REPEAT]
        unused = [self._numbers, self._numbers, self._flags, self._flags, self.world.task, self._pairs]
        unused += [self._numbers, torch.zeros_like(self._action)]
        self._unused = unused  # but written to
        self.begin(env.world)
        self._step = wp.launch(step_worlds, count, inputs + [view(x) for x in unused], device="cpu", record_cmd=True)

    def begin(self, world: World) -> None:
        """Imagine ``world`` as it is."""
        for copy, original in zip(self.world, world, strict=True):
            copy.view(-1, self.copies, *original.shape[1:]).copy_(original[:, None])
        self._restarts = world.restarts.repeat_interleave(self.copies)
        self.gain = torch.zeros(len(self._restarts))
        self.over = self.world.last.clone()
        self.since = torch.zeros(len(self._restarts))

    def play(self, plans: Tensor) -> None:
        """Go on with ``plans`` [C, H]. ``gain``, the reward until the map restarted or the episode ended; ``over``,
        whether it did; ``since``, how many steps ago: all [B * C].
        """
        now = self.world
        for actions in plans.T:
            self._action.view(-1, self.copies).copy_(actions)
            self._step.launch()
            self.gain += torch.where(self.over, 0, now.reward)
            self.since += self.over
            self.over |= now.last | (now.restarts != self._restarts)


def _plans(actions: Mapping[str, Action]) -> Tensor:
    """Plans [C, H] of action numbers: one action for a while, then a straight move."""
    names = list(actions)
    moves = [i for i, n in enumerate(names) if n in ("forward", "backward", "strafe_left", "strafe_right")]
    useful = [i for i, n in enumerate(names) if n not in ("fire", "noop")]
    lengths, horizon = (range(13), 18) if len(moves) == 1 else ((1, 2, 4), 6)
    plans = {(*[a] * n, *[m] * (horizon - n)) for a, m, n in itertools.product(useful, moves, lengths)}
    return torch.tensor(sorted(plans))


def distance_fields(cost: Tensor, target: Tensor, spacing: float) -> Tensor:
    """Lengths of the shortest lattice paths, eight ways a step, from each place to ``target`` [N, 2]; ``cost``
    [N, h, w] is charged a unit of length on entering. FAR where there is none. Relaxed until nothing changes.
    """
    N, h, w = cost.shape
    column, row = (target / spacing).round().long().unbind(-1)
    field = torch.full((N, h + 2, w + 2), FAR)
    field[torch.arange(N), row + 1, column + 1] = 0
    price = torch.where(cost.isinf(), FAR, cost * spacing)
    while True:
        best = field[:, 1:-1, 1:-1].clone()
        for dy, dx in itertools.product((-1, 0, 1), (-1, 0, 1)):
            step = field[:, 1 + dy : 1 + dy + h, 1 + dx : 1 + dx + w] + price * (dy * dy + dx * dx) ** 0.5
            best = torch.minimum(best, step)
        best.clamp_(max=FAR)
        if torch.equal(best, field[:, 1:-1, 1:-1]):
            return best
        field[:, 1:-1, 1:-1] = best


def sample(fields: Tensor, which: Tensor, position: Tensor, spacing: float) -> Tensor:
    """The distance from ``position`` [..., 2] by field ``which`` [...]: to the best of the four places around it, and
    on from there.
    """
    low = (position / spacing).floor()
    way = torch.full(position.shape[:-1], torch.inf)
    for dy, dx in itertools.product((0, 1), (0, 1)):
        place = low + torch.tensor([dx, dy])
        column, row = place.long().unbind(-1)
        row, column = row.clamp(0, fields.shape[1] - 1), column.clamp(0, fields.shape[2] - 1)
        way = torch.minimum(way, fields[which, row, column] + (place * spacing - position).norm(dim=-1))
    return way


def shortest_tour(first: Tensor, between: Tensor) -> Tensor:
    """The order that visits n places soonest: ``first`` [n] is the way to each from the start, ``between`` [n, n]."""
    n = len(first)
    subsets = torch.arange(1 << n)
    length = torch.full((1 << n, n), torch.inf)
    length[1 << torch.arange(n), torch.arange(n)] = first
    came_from = torch.zeros(1 << n, n, dtype=torch.int64)
    size = sum((subsets >> i) & 1 for i in range(n))
    for count in range(2, n + 1):
        for last in range(n):
            here = subsets[(size == count) & ((subsets >> last) & 1 == 1)]
            options = length[here ^ (1 << last)] + between[:, last]
            length[here, last], came_from[here, last] = options.min(1)
    visited, last = (1 << n) - 1, int(length[-1].argmin())
    order = []
    for _ in range(n):
        order.append(last)
        visited, last = visited ^ (1 << last), int(came_from[visited, last])
    return torch.tensor(order[::-1])
