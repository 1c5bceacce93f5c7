"""Motion of the agent's box: friction, acceleration and sliding along walls, one tick at a time.

Ground movement follows Quake III, which DeepMind Lab inherits: friction removes ``friction * dt`` of the
speed (of ``stop_speed``, if slower), then the velocity grows towards the desired direction by at most
``acceleration * speed * dt`` and never beyond ``speed`` along it. Doom's thrust is the same law: its velocity
factor 0.90625 per tic is a friction of 0.09375 * 35 per second, its thrust of 25 * 2048 / 65536 = 0.78125 units per
tic in every tic is an equal acceleration, and both laws saturate at 0.78125 / 0.09375 = 8.333 units per tic.

Walls have no thickness and the agent is an axis-aligned box, so each axis moves separately: the leading face
stops at the first line that carries a wall inside the box's span, or the tip of a wall that runs along the path.

The lines that a box has passed are always derived from its centre by `line_above` and `line_below`, so that rounding
cannot move it past a wall: each move begins where the previous one ended.
"""

from __future__ import annotations

import warp as wp

from .arrays import Levels, Worlds

REST_SPEED = wp.constant(1.0)  # units per second: slower motion stops
ROUNDING = wp.constant(1.0e-6)  # relative to a coordinate: more than the error of a sum, a difference and a quotient


@wp.func
def accelerate(
    velocity: wp.vec2, wish: wp.vec2, speed: float, friction: float, acceleration: float, stop: float, dt: float
) -> wp.vec2:
    """Return the velocity one tick later; ``wish`` is a unit vector, or zero."""
    now = wp.length(velocity)
    v = velocity
    if now < REST_SPEED:
        v = wp.vec2(0.0, 0.0)
    else:
        v = velocity * (wp.max(now - wp.max(now, stop) * friction * dt, 0.0) / now)
    missing = speed * wp.length(wish) - wp.dot(v, wish)
    if missing > 0.0:
        v = v + wish * wp.min(acceleration * dt * speed, missing)
    return v


@wp.func
def line_above(at: float, radius: float, cell: float) -> int:
    """Return the first grid line that the upper face of a box centred ``at`` has not passed."""
    return int(wp.ceil((at + radius) / cell))


@wp.func
def line_below(at: float, radius: float, cell: float) -> int:
    """Return the first grid line, downwards, that the lower face of a box centred ``at`` has not passed."""
    return int(wp.floor((at - radius) / cell))


@wp.func
def line_blocks(w: Worlds, e: int, axis: int, line: int, ahead: int, across: float, radius: float, cell: float) -> bool:
    """Return whether grid line ``line`` across ``axis`` stops a box centred ``across`` along it.

    ``axis`` 0: lines of constant x, span in y; 1: lines of constant y, span in x. ``ahead`` is the row of cells
    being entered, whose walls along the path are met at their tips.
    """
    start = line_below(across, radius, cell)
    stop = line_above(across, radius, cell)
    blocked = bool(False)
    for n in range(start, stop):
        if axis == 0:
            if w.walls[e, 0, n, line] > wp.uint8(0):
                blocked = True
            if n > start:
                if w.walls[e, 1, n, ahead] > wp.uint8(0):
                    blocked = True
        else:
            if w.walls[e, 1, line, n] > wp.uint8(0):
                blocked = True
            if n > start:
                if w.walls[e, 0, ahead, n] > wp.uint8(0):
                    blocked = True
    return blocked


@wp.func
def slide(w: Worlds, e: int, axis: int, at: float, across: float, step: float, radius: float, cell: float) -> float:
    """Return the new centre along ``axis`` after a move from ``at`` by ``step``, with ``across`` held fixed."""
    goal = at + step
    if step > 0.0:
        line = line_above(at, radius, cell)
        end = line_above(goal, radius, cell)
        while line < end:
            if line_blocks(w, e, axis, line, line, across, radius, cell):
                flush = float(line) * cell - radius
                if line_above(flush, radius, cell) > line:
                    flush -= ROUNDING * (float(line) * cell + radius)
                return wp.max(flush, at)
            line += 1
    if step < 0.0:
        line = line_below(at, radius, cell)
        end = line_below(goal, radius, cell)
        while line > end:
            if line_blocks(w, e, axis, line, line - 1, across, radius, cell):
                flush = float(line) * cell + radius
                if line_below(flush, radius, cell) < line:
                    flush += ROUNDING * (float(line) * cell + radius)
                return wp.min(flush, at)
            line -= 1
    return goal


@wp.func
def turned(heading: float, turn: float) -> float:
    """Return ``heading + turn`` in [-pi, pi)."""
    h = heading + turn
    if h >= wp.pi:
        h -= 2.0 * wp.pi
    if h < -wp.pi:
        h += 2.0 * wp.pi
    return h


@wp.func
def move(w: Worlds, levels: Levels, e: int, k: int, action: int) -> None:
    """Simulate one tick of ``action`` for environment ``e`` of level ``k``."""
    forward = levels.actions[k, action, 0]
    strafe = levels.actions[k, action, 1]
    heading = turned(w.heading[e], levels.actions[k, action, 2])
    c = wp.cos(heading)
    s = wp.sin(heading)
    wish = wp.vec2(forward * c + strafe * s, forward * s - strafe * c)
    if wp.length(wish) > 0.0:
        wish = wp.normalize(wish)
    dt = levels.tick_seconds[k]
    v = accelerate(
        wp.vec2(w.velocity[e, 0], w.velocity[e, 1]),
        wish,
        levels.speed[k],
        levels.friction[k],
        levels.acceleration[k],
        levels.stop_speed[k],
        dt,
    )
    cell = levels.cell_size[k]
    radius = levels.radius[k]
    x = w.position[e, 0]
    y = w.position[e, 1]
    vx = v[0]
    vy = v[1]
    next_x = slide(w, e, 0, x, y, vx * dt, radius, cell)
    if next_x != x + vx * dt:
        vx = 0.0
    next_y = slide(w, e, 1, y, next_x, vy * dt, radius, cell)
    if next_y != y + vy * dt:
        vy = 0.0
    w.position[e, 0] = next_x
    w.position[e, 1] = next_y
    w.velocity[e, 0] = vx
    w.velocity[e, 1] = vy
    w.heading[e] = heading
