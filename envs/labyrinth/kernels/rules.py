"""Rules of an episode: its beginning, the effect of a step, map restarts and its end."""

from __future__ import annotations

import warp as wp

from ..maps import RANDOM_HEADING
from ..tables import GOAL_ANYWHERE, GOAL_ROOMS, START_FAR, START_POINTS
from .arrays import Bools, Floats, Floats2, Ints2, Levels, Longs, Worlds
from .chains import draw_chain
from .items import APPLE, EFFECT, END, MOVE, RESTART, REWARD, anything_left, first_touch, lay_items
from .mazes import draw_listed, draw_maze
from .motion import move
from .random import next_below, next_unit

wp.set_module_options({"enable_backward": False, "max_unroll": 1})  # unrolling would lengthen compilation


@wp.func
def measure_distances(w: Worlds, levels: Levels, queue: Ints2, e: int, k: int) -> None:
    """Compute path lengths from every cell to the goal by breadth-first search. ``queue`` [B, cells] is scratch."""
    width = levels.width[k]
    cells = levels.height[k] * width
    for c in range(cells):
        w.goal_distance[e, c] = -1
    goal = w.goal_cell[e]
    w.goal_distance[e, goal] = 0
    queue[e, 0] = goal
    head = int(0)
    tail = int(1)
    while head < tail:
        c = queue[e, head]
        head += 1
        i = c / width
        j = c - i * width
        for side in range(4):
            wall = wp.uint8(1)
            n = int(c)
            if side == 0:
                wall = w.walls[e, 0, i, j]
                n = c - 1
            if side == 1:
                wall = w.walls[e, 0, i, j + 1]
                n = c + 1
            if side == 2:
                wall = w.walls[e, 1, i, j]
                n = c - width
            if side == 3:
                wall = w.walls[e, 1, i + 1, j]
                n = c + width
            if wall == wp.uint8(0):
                if w.goal_distance[e, n] < 0:
                    w.goal_distance[e, n] = w.goal_distance[e, c] + 1
                    queue[e, tail] = n
                    tail += 1


@wp.func
def lay(w: Worlds, levels: Levels, e: int, k: int, slot: int, cell: int, kind: int) -> None:
    """Place an item in the middle of a cell, where it reappears at every map restart."""
    i = cell / levels.width[k]
    j = cell - i * levels.width[k]
    w.home_kind[e, slot] = wp.uint8(kind)
    w.item_position[e, slot, 0] = (float(j) + 0.5) * levels.cell_size[k]
    w.item_position[e, slot, 1] = (float(i) + 0.5) * levels.cell_size[k]


@wp.func
def draw_goal(w: Worlds, levels: Levels, queue: Ints2, e: int, k: int) -> None:
    """Draw a goal in any cell, and apples on ``apple_share`` of the others, rounded down, by selection sampling (Knuth,
    The Art of Computer Programming, volume 2, 3.4.2, algorithm S).
    """
    cells = levels.height[k] * levels.width[k]
    goal = next_below(w, e, cells)
    w.goal_cell[e] = goal
    lay(w, levels, e, k, 0, goal, levels.goal_kind[k])
    remaining = cells - 1
    wanted = int(wp.floor(float(remaining) * levels.apple_share[k] + 0.001))
    slot = int(1)
    for c in range(cells):
        if c != goal:
            if wanted > 0:
                if next_below(w, e, remaining) < wanted:
                    lay(w, levels, e, k, slot, c, APPLE)
                    slot += 1
                    wanted -= 1
            remaining -= 1
    if levels.start[k] == START_FAR:  # not read otherwise, and no memory is allocated
        measure_distances(w, levels, queue, e, k)


@wp.func
def far_cell(w: Worlds, levels: Levels, e: int, k: int) -> int:
    """Draw a cell whose path to the goal is longer than ``start_distance``; the farthest cell if there is none."""
    cells = levels.height[k] * levels.width[k]
    count = int(0)
    farthest = int(0)
    for c in range(cells):
        if w.goal_distance[e, c] > levels.start_distance[k]:
            count += 1
        if w.goal_distance[e, c] > w.goal_distance[e, farthest]:
            farthest = c
    if count == 0:
        return farthest
    pick = next_below(w, e, count)
    for c in range(cells):
        if w.goal_distance[e, c] > levels.start_distance[k]:
            if pick == 0:
                return c
            pick -= 1
    return farthest


@wp.func
def stand(w: Worlds, x: float, y: float, e: int, heading: float) -> None:
    """Place the agent at a position, at rest."""
    w.position[e, 0] = x
    w.position[e, 1] = y
    w.velocity[e, 0] = 0.0
    w.velocity[e, 1] = 0.0
    h = heading
    if heading == RANDOM_HEADING:
        h = (next_unit(w, e) * 2.0 - 1.0) * wp.pi
    w.heading[e] = h


@wp.func
def start_map(w: Worlds, levels: Levels, e: int, k: int) -> None:
    """Put the items back in their places and the agent at a start."""
    for i in range(w.item_kind.shape[1]):
        w.item_kind[e, i] = w.home_kind[e, i]
    if levels.start[k] == START_POINTS:
        s = int(0)
        if levels.num_starts[k] > 1:
            s = next_below(w, e, levels.num_starts[k])
        stand(w, levels.starts[k, s, 0], levels.starts[k, s, 1], e, levels.starts[k, s, 2])
    else:
        c = int(0)
        if levels.start[k] == START_FAR:
            c = far_cell(w, levels, e, k)
        else:
            c = draw_listed(w, e, w.spawn_cell)
        i = c / levels.width[k]
        j = c - i * levels.width[k]
        size = levels.cell_size[k]
        stand(w, (float(j) + 0.5) * size, (float(i) + 0.5) * size, e, RANDOM_HEADING)


@wp.func
def begin_episode(w: Worlds, levels: Levels, scratch: Ints2, e: int, k: int) -> None:
    """Begin a new episode: its map, its items, its goal and the agent's start."""
    w.episode[e] = w.episode[e] + wp.int64(1)
    w.draw[e] = 0
    w.tick[e] = 0
    w.restarts[e] = 0
    w.reward[e] = 0.0
    w.discount[e] = 1.0
    w.first[e] = True
    w.last[e] = False
    w.goal_cell[e] = -1
    if levels.rooms[k] > 0:
        if levels.chain[k] == 1:
            draw_chain(w, levels, scratch, e, k)
        else:
            draw_maze(w, levels, scratch, e, k)
    lay_items(w, levels, e, k)
    if levels.goal[k] == GOAL_ANYWHERE:
        draw_goal(w, levels, scratch, e, k)
    if levels.goal[k] == GOAL_ROOMS:
        w.goal_cell[e] = draw_listed(w, e, w.object_cell)
        lay(w, levels, e, k, 0, w.goal_cell[e], levels.goal_kind[k])
    start_map(w, levels, e, k)


@wp.func
def take_step(w: Worlds, levels: Levels, kinds: Floats2, e: int, k: int, action: int, repeat: int) -> None:
    """Simulate up to ``repeat`` ticks of one action, stopping where the episode ends."""
    reward = float(0.0)
    discount = float(1.0)
    last = bool(False)
    through = bool(False)
    for _ in range(repeat):
        if not last:
            move(w, levels, e, k, action)
            reward += float(levels.tick_reward[k])
            restart = bool(False)
            i = first_touch(w, kinds, e, 0)
            while i >= 0:
                kind = int(w.item_kind[e, i])
                effect = int(kinds[kind, EFFECT])
                if effect == MOVE:
                    through = True
                else:
                    w.item_kind[e, i] = wp.uint8(0)
                reward += kinds[kind, REWARD]
                if effect == RESTART:
                    restart = True
                if effect == END:
                    discount = 0.0
                    last = True
                if levels.restart_when_cleared[k] == 1:
                    if not anything_left(w, kinds, e):
                        restart = True
                i = first_touch(w, kinds, e, i + 1)
            w.tick[e] = w.tick[e] + 1
            if w.tick[e] >= levels.max_ticks[k]:
                last = True
            if restart:
                w.restarts[e] = w.restarts[e] + 1
                start_map(w, levels, e, k)
                through = False
    if through:  # only after the step: the remaining ticks would show how the agent arrived
        stand(w, levels.exit[k, 0], levels.exit[k, 1], e, levels.exit[k, 2])
    w.reward[e] = reward
    w.discount[e] = discount
    w.first[e] = False
    w.last[e] = last


@wp.kernel
def step_worlds(
    w: Worlds,
    levels: Levels,
    kinds: Floats2,
    scratch: Ints2,
    action: Longs,
    chosen: Bools,
    resetting: int,
    repeat: int,
    reward: Floats,
    discount: Floats,
    first: Bools,
    last: Bools,
    task: Longs,
    position: Floats2,
    heading: Floats,
    cell: Longs,
):
    """Step every environment; ended ones begin a new episode. ``resetting``: only the ``chosen`` begin one."""
    e = wp.tid()
    k = int(w.task[e])
    begin = w.last[e]  # read once: Warp evaluates the condition of an `if` again for its `else`
    if resetting == 1:
        begin = chosen[e]
    if begin:
        begin_episode(w, levels, scratch, e, k)
    elif resetting == 0:
        a = wp.clamp(int(action[e]), 0, levels.actions.shape[1] - 1)
        take_step(w, levels, kinds, e, k, a, repeat)
    reward[e] = w.reward[e]
    discount[e] = w.discount[e]
    first[e] = w.first[e]
    last[e] = w.last[e]
    task[e] = w.task[e]
    position[e, 0] = w.position[e, 0]
    position[e, 1] = w.position[e, 1]
    heading[e] = w.heading[e]
    size = levels.visit_size[k]
    columns = int(wp.ceil(float(levels.width[k]) * levels.cell_size[k] / size))
    cell[e] = wp.int64(int(w.position[e, 1] / size) * columns + int(w.position[e, 0] / size))
