"""A scripted player that knows the map, as an estimate of the best possible score on a level.

It plans with the simulator itself. Every few steps it simulates several dozen short plans (turn or move for a while,
then go straight) from the current state and follows the best for a third of its length: the most reward, and the
shortest remaining way. The remaining way is read from distance fields over a lattice of places where the agent's box
fits, with an additional cost near lemons and with portals as short cuts.

On a level with a goal it goes there, by way of apples whose detour is worth less than their share of a goal's reward.
On a level that restarts when cleared it follows the shortest tour of all apples (Held and Karp, "A Dynamic Programming
Approach to Sequencing Problems", 1962). On a level without items it goes to the nearest cell not yet visited.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from ...errors import UserError
from ...experience import Timestep
from ..kernels.items import EFFECT, MOVE, REACH, RESTART, REWARD, kinds_table
from ..level import REPEAT, Action, MazeGenerator, RoomChain
from ..world import World
from .distances import FAR, distance_fields, sample, shortest_tour
from .imagination import Imagination, Simulated

LEMON_COST = 8.0
"""Factor by which a step within a lemon's reach is lengthened."""


class Oracle:
    """Plays ``env``, a Labyrinth with a single level. ``act`` must receive every timestep."""

    def __init__(self, env: Simulated) -> None:
        if len(env.levels) != 1 or env.device.type != "cpu":
            raise UserError("the oracle plays one level at a time, on the CPU")
        self.env, self.level = env, env.levels[0]
        cell = self.level.layout.cell
        self.spacing = cell / (5 if cell >= 50 else 2)
        self.kinds = torch.from_numpy(kinds_table())
        self.plans = short_plans(self.level.actions)
        self.commitment = self.plans.shape[1] // 3
        self.imagined = Imagination(env, len(self.plans))
        self.generated = isinstance(self.level.layout, MazeGenerator | RoomChain)
        self.explores = not (self.generated or self.level.goal or env.tables.item_kind.any())
        cells = int(env.tables.height[0] * env.tables.width[0])
        self.visited = torch.zeros(env.num_envs, cells if self.explores else 0, dtype=torch.bool)
        self.fields = torch.zeros(0)  # [M, h, w]
        self.mean_way = torch.zeros(0)  # [M]
        self.order = torch.zeros(0, dtype=torch.int64)
        self.between = torch.zeros(0)  # [M, M]
        self.todo: list[Tensor] = []

    def act(self, timestep: Timestep) -> Tensor:
        """Return the next action [B] of the plan that each environment follows."""
        if self.generated or not self.fields.numel():
            self._survey(timestep.first)
            reached = self.fields < FAR
            self.mean_way = torch.where(reached, self.fields, 0).sum((1, 2)) / reached.sum((1, 2))
        if self.explores:
            self.visited[timestep.first] = False
            self.visited.scatter_(1, self._cell(self.env.world.position)[:, None], True)
        if not self.todo:
            self.todo = list(self._best_plans().T[: self.commitment])
        return self.todo.pop(0)

    def _best_plans(self) -> Tensor:
        """Return the best plan [B, H] of each environment."""
        C, imagined = len(self.plans), self.imagined
        goal, worth = self._nearest_unvisited() if self.explores else self._goal_slot(), self._worth()
        apples = self._apples(goal, worth)
        goal, worth, apples = (x.repeat_interleave(C, 0) for x in (goal, worth, apples))

        def value() -> Tensor:
            way = self._way_left(imagined.world, goal, worth, apples)
            way = torch.where(imagined.over, -imagined.since * self._stride(), way)
            lost = imagined.over & (imagined.gain <= 0)  # an end other than the goal
            return worth * imagined.gain - torch.where(lost, FAR, way)

        cell = self.level.layout.cell
        imagined.begin(self.env.world, self._centre(goal) if self.explores else None, cell / 2)
        imagined.play(self.plans[:, : self.commitment])
        soon = value()  # included, otherwise delaying would be as good as moving
        imagined.play(self.plans[:, self.commitment :])
        return self.plans[(value() + 0.3 * soon).view(-1, C).argmax(1)]

    def _stride(self) -> float:
        """Return the map units per step at full speed."""
        return self.level.physics.speed * REPEAT / self.level.physics.hz

    def _worth(self) -> Tensor:
        """Return the map units that one unit of reward is worth, [B]."""
        if self.level.restart_when_cleared or self.explores:
            return torch.full((self.env.num_envs,), 100.0)
        rows = torch.arange(self.env.num_envs)
        return self.mean_way[self._field_of_items()[rows, self._goal_slot()]] / 10

    def _goal_slot(self) -> Tensor:
        """Return the item [B] that restarts the map or ends the episode."""
        return (self.kinds[self.env.world.home_kind.long(), EFFECT] >= RESTART).int().argmax(1)

    def _nearest_unvisited(self) -> Tensor:
        """Return the cell [B] that is nearest of those not yet visited; any if all are."""
        every = torch.arange(len(self.fields))
        position = self.env.world.position[:, None].expand(-1, len(every), 2)
        way = sample(self.fields, every.expand(len(position), -1), position, self.spacing)
        return torch.where(self.visited, FAR, way).argmin(1)

    def _centre(self, cell: Tensor) -> Tensor:
        """Return the position [..., 2] of the middle of each ``cell`` [...]."""
        width = int(self.env.tables.width[0])
        return (torch.stack([cell % width, cell // width], -1) + 0.5) * self.level.layout.cell

    def _cell(self, position: Tensor) -> Tensor:
        """Return the number of the cell at each ``position`` [..., 2]."""
        j, i = (position / self.level.layout.cell).long().unbind(-1)
        return i * int(self.env.tables.width[0]) + j

    def _field_of_items(self) -> Tensor:
        """Return the index into ``fields`` of the one that leads to each item, [B, I]."""
        world = self.env.world
        B, items = world.item_kind.shape
        if self.generated:
            return torch.arange(B)[:, None].expand(B, items)
        if self.level.goal is None:
            return torch.arange(items).expand(B, items)
        return self._cell(world.item_position)

    def _survey(self, first: Tensor) -> None:
        """Compute distance fields: to each item, to each cell if items move, to each environment's goal if walls do."""
        world = self.env.world
        if self.generated:
            goal = world.item_position[:, 0]
            cost = self._cost(world.walls)
            if not self.fields.numel():
                self.fields = distance_fields(cost, goal, self.spacing)
            elif first.any():
                self.fields[first] = distance_fields(cost[first], goal[first], self.spacing)
            return
        if self.level.goal is None and not self.explores:
            targets = world.item_position[0]
        else:
            targets = self._centre(torch.arange(int(self.env.tables.height[0] * self.env.tables.width[0])))
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
        """Return the cost per unit of length of a lattice step at each place, [N, h, w]; infinite where the box cannot
        be.
        """
        world, cell = self.env.world, self.level.layout.cell
        n = round(cell / self.spacing)
        N, _, rows, columns = walls.shape
        solid = torch.zeros(N, (rows - 1) * n + 1, (columns - 1) * n + 1)
        for t in range(n + 1):
            solid[:, t : t + (rows - 1) * n : n, ::n] += walls[:, 0, :-1, :]
            solid[:, ::n, t : t + (columns - 1) * n : n] += walls[:, 1, :, :-1]
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
        """Return the items [B, <= 3] for which a detour pays most."""
        if self.generated or self.level.restart_when_cleared or self.explores:
            return torch.zeros(len(goal), 0, dtype=torch.int64)
        every = torch.arange(self.env.world.item_kind.shape[1]).expand(len(goal), -1)
        saving = self._saving(self.env.world, goal, worth, every)
        return saving.topk(min(3, saving.shape[1]), dim=1).indices

    def _saving(self, world: World, goal: Tensor, worth: Tensor, items: Tensor) -> Tensor:
        """Return the gain of reaching the goal via each of ``items`` [N, k], in map units; negative for a loss."""
        field = self._field_of_items().repeat_interleave(len(goal) // self.env.num_envs, 0)
        rows = torch.arange(len(goal))[:, None]
        position = world.position[:, None].expand(-1, items.shape[1], 2)
        by = sample(self.fields, field[rows, items], position, self.spacing)
        by += self.between[field[rows, goal[:, None]], field[rows, items]]
        straight = sample(self.fields, field[rows, goal[:, None]], position[:, :1], self.spacing)
        there = (self.kinds[world.item_kind.gather(1, items).long(), REWARD] > 0) & (items != goal[:, None])
        return torch.where(there, worth[:, None] - (by - straight), -1)

    def _way_left(self, world: World, goal: Tensor, worth: Tensor, apples: Tensor) -> Tensor:
        """Return the map units until the map restarts or the episode ends, for each imagined world."""
        if self.level.restart_when_cleared:
            return self._tour_left(world)
        if self.explores:
            return sample(self.fields, goal, world.position, self.spacing)
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
        return straight - self._saving(world, goal, worth, apples).amax(1).clamp(0)  # by way of at most one apple

    def _tour_left(self, world: World) -> Tensor:
        """Return the length of the remaining tour, through the items still present, in the tour's order."""
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


def short_plans(actions: Mapping[str, Action]) -> Tensor:
    """Return plans [C, H] of action numbers: one action for a while, then a straight move."""
    names = list(actions)
    moves = [i for i, n in enumerate(names) if n in ("forward", "backward", "strafe_left", "strafe_right")]
    useful = [i for i, n in enumerate(names) if n not in ("fire", "noop")]
    lengths, horizon = (range(13), 18) if len(moves) == 1 else ((1, 2, 4), 6)
    plans = {(*[a] * n, *[m] * (horizon - n)) for a, m, n in itertools.product(useful, moves, lengths)}
    return torch.tensor(sorted(plans))
