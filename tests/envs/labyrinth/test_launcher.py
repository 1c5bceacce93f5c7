"""Threads that share a batch."""

import gc
import threading
import time

import pytest
import torch

import morello
from morello.envs.labyrinth.launcher import MIN_PART, PARTS, Launcher

CPU = torch.device("cpu")


class Command:
    """What a recorded launch looks like; notes which environments it was for, and on which thread."""

    def __init__(self, part, seen, barrier=None):
        self.part, self.seen, self.barrier = part, seen, barrier

    def launch(self, stream):
        if self.barrier and threading.current_thread().name not in {name for _, name in self.seen}:
            self.barrier.wait(30)  # nobody's second part before everybody's first
        self.seen.append((self.part, threading.current_thread().name))


def helpers():
    return [t for t in threading.enumerate() if t.name.startswith("labyrinth-")]


@pytest.mark.parametrize(("num_envs", "threads", "parts"), [(64, 2, 8), (7, 2, 2), (3, 8, 3), (40, 3, 5), (9, 1, 1)])
def test_parts_cover_the_batch_once_and_run_side_by_side(num_envs, threads, parts):
    launcher, seen, barrier = Launcher(num_envs, CPU, threads), [], threading.Barrier(min(threads, num_envs))
    launcher.run((0,), lambda part: [Command(part, seen, barrier=barrier)])
    assert len(seen) == parts <= PARTS * threads
    rows = sorted(n for part, _ in seen for n in range(part.start, part.stop))
    assert rows == list(range(num_envs))
    launcher.close()


def test_batch_in_many_parts_plays_the_same_episodes():
    n = 5 * MIN_PART + 1
    level, size = "labyrinth:nav_maze_random_goal_01", {"frame_size": (6, 8)}
    one, many = (morello.make(level, n, seed=3, threads=threads, **size) for threads in (1, 3))
    assert len(many._launcher.parts) == 5
    one.reset(), many.reset()
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        action = torch.randint(9, (n,), generator=generator)
        a, b = one.step(action), many.step(action)
        assert torch.equal(a.observation["image"], b.observation["image"])
        assert torch.equal(a.info["position"], b.info["position"])
        assert torch.equal(a.reward, b.reward)
    one.close(), many.close()


def test_helpers_failure_reaches_the_caller_and_the_next_launch_is_clean():
    launcher, seen, barrier = Launcher(4 * MIN_PART, CPU, 4), [], threading.Barrier(4)

    class OnHelpers(Command):
        def launch(self, stream):
            super().launch(stream)
            if threading.current_thread() is not threading.main_thread():
                raise ArithmeticError(f"environments {self.part.start} to {self.part.stop}")

    with pytest.raises(ArithmeticError, match=r"environments \d+ to \d+"):
        launcher.run((0,), lambda part: [OnHelpers(part, seen, barrier=barrier)])
    assert len(seen) == 4
    seen.clear()
    launcher.run((1,), lambda part: [Command(part, seen)])
    assert len(seen) == 4
    launcher.close()


def test_failure_of_the_callers_part_waits_for_the_helpers():
    launcher, seen, barrier = Launcher(2 * MIN_PART, CPU, 2), [], threading.Barrier(2)

    class Slow(Command):
        def launch(self, stream):
            self.barrier.wait(30)
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt
            time.sleep(0.2)
            self.seen.append(self.part)

    with pytest.raises(KeyboardInterrupt):
        launcher.run((0,), lambda part: [Slow(part, seen, barrier=barrier)])
    assert len(seen) == 1  # nobody writes any more
    launcher.close()


def test_forked_child_works_without_helpers(monkeypatch):
    launcher, seen = Launcher(2 * MIN_PART, CPU, 2), []
    monkeypatch.setattr(launcher, "_process", -1)
    launcher.run((0,), lambda part: [Command(part, seen)])
    assert {name for _, name in seen} == {threading.current_thread().name}


def test_closed_launcher_works_on_the_callers_thread():
    launcher, seen = Launcher(32, CPU, 2), []
    launcher.close(), launcher.close()
    launcher.run((0,), lambda part: [Command(part, seen)])
    assert {name for _, name in seen} == {threading.current_thread().name}
    assert len(seen) == len(launcher.parts) == 4


def test_forgotten_launchers_leave_no_threads():
    gc.collect()
    before = len(helpers())
    launchers = [Launcher(32, CPU, 3) for _ in range(3)]
    assert len(helpers()) == before + 6
    del launchers
    gc.collect()
    deadline = time.monotonic() + 10
    while len(helpers()) > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(helpers()) == before
