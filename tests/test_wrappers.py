"""Wrappers, each against an oracle that goes through environments one by one. Conformance: test_environments.py."""

import math
from collections import deque
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

import morello
from morello.envs.errors import UserError
from morello.envs.experience import Spec, Timestep
from morello.envs.rows import empty_timestep, leaves, write_rows
from morello.envs.wrappers import (
    FrameStack,
    Grey,
    NoisyTV,
    Resize,
    Rewards,
    StickyActions,
    TimeLimit,
    VisitCounts,
    Wrapper,
)
from morello.envs.wrappers.picture import luma
from morello.envs.wrappers.rewards import shaped

from .test_environments import actions, assert_same, copy
from .test_wrapper_random import chained

H, W, C = 5, 7, 3


class Film:
    """Random images, rewards and cells by the number of the row; environment b's episodes take ``lengths[b]`` steps.
    Keeps the actions it was given.
    """

    def __init__(self, lengths, height=H, width=W, channels=C, seed=0, cells=13, terminates=True):
        g = torch.Generator().manual_seed(seed)
        B = len(lengths)
        self.num_envs, self.lengths, self.terminates = B, torch.tensor(lengths), terminates
        self.images = torch.randint(0, 256, (997, B, height, width, channels), generator=g, dtype=torch.uint8)
        self.rewards, self.cells = torch.randn(997, B, generator=g) * 3, torch.randint(cells, (997, B), generator=g)
        self.spec = Spec(
            {"image": ((height, width, channels), torch.uint8)}, 5, tuple("abcde"), ("film",), 1, max(lengths), True
        )
        self.own = empty_timestep(self.spec, B, cell=torch.zeros(B, dtype=torch.int64))
        self.row, self.age = torch.full((B,), -1), torch.zeros(B, dtype=torch.int64)
        self.given, self.resets, self.closed = [], 0, False

    def reset(self, seed=None, mask=None):
        self.resets += 1
        mask = torch.ones(self.num_envs, dtype=torch.bool) if mask is None else mask
        self.row, self.age = self.row + mask, torch.where(mask, 0, self.age)
        return self.answer(None)

    def step(self, action, out=None):
        self.given.append(action.clone())
        self.row, self.age = self.row + 1, torch.where(self.age == self.lengths, 0, self.age + 1)
        return self.answer(out)

    def answer(self, out):
        b, first, last = torch.arange(self.num_envs), self.age == 0, self.age == self.lengths
        row = self.row % 997
        reward = torch.where(first, 0, self.rewards[row, b])
        discount = torch.where(last & torch.tensor(self.terminates), 0.0, 1.0)
        now = Timestep(
            {"image": self.images[row, b]}, reward, discount, first, last, 0 * self.row, {"cell": self.cells[row, b]}
        )
        return write_rows(write_rows(now, self.own), out)  # its own memory is always the same

    def state_dict(self):
        return {"row": self.row, "age": self.age}

    def load_state_dict(self, state):
        self.row, self.age = state["row"].clone(), state["age"].clone()

    def close(self):
        self.closed = True


LENGTHS = (3, 11, 7, 2, 5)


def run(env, steps=41, seed=0, written=True, resets=()):
    """The answers of ``env``, written into rows of the caller's or not; before step t in ``resets`` that mask is."""
    answers = [copy(env.reset())]
    for t, action in enumerate(actions(env, steps, seed)):
        if t in resets:
            answers.append(copy(env.reset(mask=resets[t])))
        if not written:
            answers.append(copy(env.step(action)))
            continue
        out = Timestep(*(empty_like(x) for x in answers[0]))
        assert env.step(action, out) is out
        answers.append(out)
    return answers


def empty_like(x):
    """What was not written is not zero."""
    return {k: empty_like(v) for k, v in x.items()} if isinstance(x, dict) else torch.full_like(x, 77)


RESETS = {
    9: torch.tensor([False, True, True, False, False]),
    10: torch.tensor([True, False, True, False, True]),
    23: torch.tensor([False, False, False, True, False]),
}


def image(step):
    return step.observation["image"]


def same_but(answers, plain, *changed):
    """Everything else is as it was without the wrapper."""
    for x, y in zip(answers, plain, strict=True):
        x, y = leaves(x), leaves(y)
        for name in y.keys() - set(changed):
            assert torch.equal(x[name], y[name]), name


# Noisy television


@pytest.mark.parametrize(("fraction", "columns"), [(0.4, 3), (0.01, 1), (0.5, 4), (1.0, 7)])
def test_noise_fills_the_right_hand_fraction_and_nothing_else(fraction, columns):
    answers = run(NoisyTV(Film(LENGTHS), fraction), resets=RESETS)
    plain = run(Film(LENGTHS), resets=RESETS)
    same_but(answers, plain, "image")
    for x, y in zip(answers, plain, strict=True):
        assert torch.equal(image(x)[:, :, : W - columns], image(y)[:, :, : W - columns])
        assert all((image(x)[:, :, w] != image(y)[:, :, w]).any() for w in range(W - columns, W))


def noise_by_hand(seed, index, count, columns):
    """[H, columns, C] from Python's integers."""
    words = -(-H * columns * C // 8)
    stream = int.from_bytes(b"NoisyTV", "big")
    data = b"".join(chained(seed, stream, index, count, d).to_bytes(8, "little") for d in range(words))
    return np.frombuffer(data[: H * columns * C], np.uint8).reshape(H, columns, C)


def test_noise_is_fresh_in_every_row():
    answers = run(NoisyTV(Film(LENGTHS), seed=29, env_offset=31), steps=13)
    for t, x in enumerate(answers):
        for b in range(len(LENGTHS)):
            np.testing.assert_array_equal(image(x)[b, :, -3:].numpy(), noise_by_hand(29, 31 + b, t + 1, 3))


def test_noise_is_white():
    film = Film([199] * 3, height=11, width=13)
    shown = torch.stack([image(x)[:, :, -5:] for x in run(NoisyTV(film, 0.4), steps=199)]).double()  # [T, B, 11, 5, 3]
    counts = torch.histc(shown, 256, 0, 256)
    expected = shown.numel() / 256
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert abs(chi_square - 255) < 4 * math.sqrt(2 * 255)
    z = (shown - 127.5) / math.sqrt((256**2 - 1) / 12)
    for axis in range(5):  # over time, between environments, rows, columns and channels
        n = z.shape[axis] - 1
        product = z.narrow(axis, 1, n) * z.narrow(axis, 0, n)
        assert abs(float(product.mean())) < 4 / math.sqrt(product.numel())


def test_the_remote_changes_the_picture_and_nothing_else_does():
    lengths = (3, 17, 7, 2, 29)
    env, film = NoisyTV(Film(lengths), 0.4, "action", noop=3, seed=5), Film(lengths)
    film_inside = env.env
    assert env.spec.num_actions == 6
    assert env.spec.action_names == (*"abcde", "remote")
    chosen = actions(env, 61)
    now, plain = env.reset(), film.reset()
    count, switches = [1] * 5, 0
    for t in range(61):
        for b in range(5):
            np.testing.assert_array_equal(image(now)[b, :, -3:].numpy(), noise_by_hand(5, b, count[b], 3))
            assert torch.equal(image(now)[b, :, :-3], image(plain)[b, :, :-3])
        ended = now.last.tolist()
        now, plain = env.step(chosen[t]), film.step(chosen[t])
        same_but([now], [plain], "image")
        for b in range(5):
            remote = int(chosen[t, b]) == 5
            assert int(film_inside.given[-1][b]) == (3 if remote else int(chosen[t, b]))
            count[b] += remote or ended[b]
            switches += remote and not ended[b]
    assert switches > 20


def test_a_masked_reset_changes_the_channel_only_there():
    env = NoisyTV(Film([50] * 5), 1.0, "action")
    before = copy(env.reset())
    mask = torch.tensor([False, True, False, False, True])
    after = env.reset(mask=mask)
    assert torch.equal((image(after) == image(before)).flatten(1).all(1), ~mask)


# Sticky actions


def test_sticky_actions_are_those_of_the_oracle():
    env = StickyActions(Film(LENGTHS), 0.4, seed=7, env_offset=100)
    env.reset()
    stream, chosen = int.from_bytes(b"StickyAc", "big"), actions(env, 60)
    previous, ended, repeated = [None] * 5, [False] * 5, 0
    for t in range(60):
        now = env.step(chosen[t])
        for b in range(5):
            if ended[b]:
                previous[b] = None  # its action was ignored
            else:
                stick = (chained(7, stream, 100 + b, t) >> 40) / 2**24 < 0.4 and previous[b] is not None
                previous[b] = previous[b] if stick else int(chosen[t, b])
                assert int(env.env.given[-1][b]) == previous[b]
                repeated += stick
        ended = now.last.tolist()
    assert repeated > 40


@pytest.mark.parametrize("p", [0.25, 0.9])
def test_actions_stick_as_often_as_they_should(p):
    B, T = 61, 211
    env = StickyActions(Film([1000] * B, 2, 3, 1), p)
    env.reset()
    chosen = actions(env, T)
    for a in chosen:
        env.step(a)
    given = torch.stack(env.env.given)
    tells = given[:-1] != chosen[1:]  # rows where a repetition shows
    share = float((given[1:] == given[:-1])[tells].double().mean())
    assert abs(share - p) < 4 * math.sqrt(p * (1 - p) / int(tells.sum()))
    assert ((given == chosen) | torch.cat([torch.zeros(1, B, dtype=torch.bool), given[1:] == given[:-1]])).all()
    # Whether one sticks says nothing of the environment beside it.
    stuck = (given[1:] != chosen[1:]).double()
    stuck -= stuck.mean()
    neighbours = stuck[:, 1:] * stuck[:, :-1]
    assert abs(float(neighbours.mean() / stuck.var())) < 4 / math.sqrt(neighbours.numel())


def test_actions_never_stick_across_the_beginning_of_an_episode():
    """With p = 1 the first action of an episode is executed all through it."""
    env = StickyActions(Film([4, 7, 50]), 1.0)
    now = env.reset()
    mask, chosen, follows, held = torch.tensor([False, False, True]), actions(env, 50), now.first.clone(), [0] * 3
    for t in range(50):
        if t == 31:
            follows = follows | env.reset(mask=mask).first
        crossing = now.last.clone()
        now = env.step(chosen[t])
        for b in range(3):
            if follows[b]:
                held[b] = int(chosen[t, b])
            if not crossing[b]:
                assert int(env.env.given[-1][b]) == held[b], (t, b)
        follows = now.first.clone()


def test_actions_that_never_stick_are_the_agents():
    env = StickyActions(Film(LENGTHS), 0.0)
    same_but(run(env), run(Film(LENGTHS)))
    assert torch.equal(torch.stack(env.env.given), actions(env, 41))


# Stacks of images


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize(("n", "channels"), [(1, 3), (2, 3), (4, 1), (5, 2)])
def test_stacks_are_those_of_the_oracle(n, channels, written):
    env = FrameStack(Film(LENGTHS, channels=channels), n)
    assert env.spec.observation["image"] == ((H, W, n * channels), torch.uint8)
    assert env.spec.stacked == n
    answers = run(env, resets=RESETS, written=written)
    plain = run(Film(LENGTHS, channels=channels), resets=RESETS)
    same_but(answers, plain, "image")
    masks = {t + 1 + k: RESETS[t] for k, t in enumerate(RESETS)}  # number of the answer -> who was reset
    stacks = [deque(maxlen=n) for _ in LENGTHS]
    for t, (x, y) in enumerate(zip(answers, plain, strict=True)):
        for b, stack in enumerate(stacks):
            if t in masks and not masks[t][b]:
                pass  # the row shows what it showed
            elif y.first[b]:
                stack.extend([image(y)[b]] * n)
            else:
                stack.append(image(y)[b])
            assert torch.equal(image(x)[b], torch.cat(list(stack), -1)), (t, b)


# Grey and smaller images


def test_grey_is_pillows():
    colours = torch.cartesian_prod(*[torch.arange(0, 256, 17, dtype=torch.uint8)] * 3).view(64, 64, 3)
    colours = torch.cat([colours, torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8)])
    pillows = np.array(Image.fromarray(colours.numpy()).convert("L"))
    np.testing.assert_array_equal(luma(colours).squeeze(-1).numpy(), pillows)
    exact = (colours.double() @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)).unsqueeze(-1)
    assert float((luma(colours) - exact).abs().max()) < 0.503
    green, half = [0, 255, 0], [1, 53, 185]  # 149.69; with Pillow's weights 52.5 to the last bit
    assert luma(torch.tensor([green, half], dtype=torch.uint8)).tolist() == [[150], [53]]


def test_stacked_colours_become_stacked_greys():
    stacked_before = run(Grey(FrameStack(Film(LENGTHS), 2)))
    stacked_after = run(FrameStack(Grey(Film(LENGTHS)), 2))
    plain = run(Film(LENGTHS))
    for x, y, z in zip(stacked_before, stacked_after, plain, strict=True):
        assert_same(x, y)
        assert torch.equal(image(x)[..., 1:], luma(image(z)))


def area_by_hand(picture, height, width):
    """Means over exact areas, in fractions; halves to even, as Python rounds."""


    def shared(i, new, x, old):
        """Of the intervals [i / new, (i + 1) / new] and [x / old, (x + 1) / old]."""
        end, begin = min(Fraction(i + 1, new), Fraction(x + 1, old)), max(Fraction(i, new), Fraction(x, old))
        return max(Fraction(0), end - begin)

    H, W, C = picture.shape
    result = np.zeros((height, width, C), np.uint8)
    for i, j in np.ndindex(height, width):
        for c in range(C):
            total = sum(
                shared(i, height, y, H) * shared(j, width, x, W) * int(picture[y, x, c]) for y, x in np.ndindex(H, W)
            )
            result[i, j, c] = round(total * height * width)
    return result


@pytest.mark.parametrize(("height", "width"), [(3, 2), (5, 7), (1, 1), (4, 6), (7, 11)])
def test_resized_images_are_means_over_areas(height, width):
    answers, plain = run(Resize(Film(LENGTHS, channels=2), height, width)), run(Film(LENGTHS, channels=2))
    same_but(answers, plain, "image")
    for x, y, b in zip(answers[:2], plain, (0, 3), strict=False):
        np.testing.assert_array_equal(image(x)[b].numpy(), area_by_hand(image(y)[b].numpy(), height, width))


def test_whole_factors_are_means_of_blocks():
    film = Film(LENGTHS, height=6, width=35)
    for x, y in zip(run(Resize(film, 2, 7), 5), run(Film(LENGTHS, height=6, width=35), 5), strict=True):
        blocks = image(y).view(5, 2, 3, 7, 5, 3).long().sum((2, 4))  # of 15: no halves
        assert torch.equal(image(x), ((2 * blocks + 15) // 30).to(torch.uint8))


def test_halves_go_to_the_even_number():
    film = Film([9], height=1, width=2, channels=1)
    film.images[0, 0, 0, :, 0] = torch.tensor([4, 5])
    film.images[1, 0, 0, :, 0] = torch.tensor([5, 6])
    assert [image(x).item() for x in run(Resize(film, 1, 1), 1)] == [4, 6]


def test_a_large_image_is_exact_too():
    """Where float32 could no longer count: one level more in 1000 x 1001 pixels tips the mean."""
    film = Film([9], height=1000, width=1001, channels=1)
    film.images = torch.full((3, 1, 1000, 1001, 1), 254, dtype=torch.uint8)
    film.images[:, 0, :500, :, 0] = 253  # the mean is 253.5, which goes to 254
    film.images[1, 0, 500, 0, 0] = 252  # and just below it
    assert [image(x).item() for x in run(Resize(film, 1, 1), 1)] == [254, 253]


# Rewards

REWARDS = {
    "raw": lambda r: r,
    "clip": lambda r: max(-1.0, min(1.0, r)),
    "sign": lambda r: float((r > 0) - (r < 0)),
    "asymmetric": lambda r: 5 * math.tanh(r / 5) * (1.0 if r > 0 else 0.3),
    "asymmetric-paper": lambda r: 5 * math.tanh(r) if r > 0 else 0.3 * math.tanh(r),
}


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("how", REWARDS)
def test_rewards_are_shaped(how, written):
    answers, plain = run(Rewards(Film(LENGTHS), how), written=written, resets=RESETS), run(Film(LENGTHS), resets=RESETS)
    same_but(answers, plain, "reward")
    before = torch.stack([y.reward for y in plain])
    assert float(before.min()) < -1 < 1 < float(before.max())  # the clips bind
    expected = [[REWARDS[how](r) for r in row] for row in before.tolist()]
    torch.testing.assert_close(torch.stack([x.reward for x in answers]), torch.tensor(expected), rtol=1e-6, atol=1e-7)


def test_the_asymmetric_squashes_by_hand():
    reward = torch.tensor([[-100.0, -1.0, 0.0], [0.5, 1.0, 100.0]])
    paper = torch.tensor([[-0.3, -0.228478, 0.0], [2.310586, 3.807971, 5.0]])
    torch.testing.assert_close(shaped(reward, "asymmetric-paper"), paper)
    released = torch.tensor([[-1.5, -0.296063, 0.0], [0.498340, 0.986877, 5.0]])
    torch.testing.assert_close(shaped(reward, "asymmetric"), released)


# Time limits


def limited_by_hand(lengths, b, limit, chosen):
    """The answers of environment b: alone, counted and reset by the loop."""
    env = Film([9])
    whole = Film(lengths)
    env.images, env.rewards, env.cells = (x[:, b : b + 1] for x in (whole.images, whole.rewards, whole.cells))
    env.lengths = whole.lengths[b : b + 1]
    answers, age = [copy(env.reset())], 0
    for a in chosen:
        if answers[-1].last and age == limit and env.age < env.lengths:
            env.step(torch.tensor([0]))
            now, age = env.reset(), 0
        else:
            now = env.step(a.view(1))
            age = 0 if now.first else age + 1
        answers.append(copy(now)._replace(last=now.last | (age == limit)))
    return answers


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize("limit", [1, 2, 4, 5, 11])
def test_time_limits_are_those_of_the_oracle(limit, written):
    env = TimeLimit(Film(LENGTHS), limit)
    assert env.spec.max_steps == limit
    answers = run(env, written=written)
    for b in range(len(LENGTHS)):
        for x, y in zip(answers, limited_by_hand(LENGTHS, b, limit, actions(env, 41)[:, b]), strict=True):
            assert_same(Timestep(*({k: v[b : b + 1] for k, v in f.items()} if isinstance(f, dict) else f[b : b + 1]
                                   for f in x)), y)  # fmt: skip


def test_who_never_reaches_the_limit_is_not_touched():
    answers, plain = run(TimeLimit(Film(LENGTHS), 4)), run(Film(LENGTHS))
    short = torch.tensor(LENGTHS) < 4
    for x, y in zip(answers, plain, strict=True):
        assert_same(x, y, short)
    assert any(not torch.equal(image(x)[~short], image(y)[~short]) for x, y in zip(answers, plain, strict=True))


def test_a_limit_is_no_termination_and_a_termination_at_the_limit_is_one():
    """Counting environments 0, 1 and 2 take 3 (terminates), 8 (runs out of time) and 6 (terminates) steps."""
    env = TimeLimit(morello.make("counting:steps", 3), 6)
    rows = run(env, steps=15)
    ends = {b: [(t, float(x.discount[b])) for t, x in enumerate(rows) if x.last[b]] for b in range(3)}
    assert ends == {0: [(3, 0), (7, 0), (11, 0), (15, 0)], 1: [(6, 1), (13, 1)], 2: [(6, 0), (13, 0)]}
    episodes = torch.stack([x.observation["vector"][:, 2] for x in rows])
    firsts = torch.stack([x.first for x in rows])
    assert torch.equal(episodes, (firsts.cumsum(0) - 1).float())  # each reset began one, and only one


def test_a_limit_asks_only_when_somebody_may_have_reached_it():
    """Asking is waiting where there is a device: twice an episode here, once to cut and once to see the next one."""
    film = Film([100, 100])
    env = TimeLimit(film, 7)
    env.reset()
    asked = []
    for t, a in enumerate(actions(env, 23)):  # rows 0 to 7 | 8 to 15 | 16 to 23
        if env._quiet_steps == 0:
            asked.append(t)
        env.step(a)
    assert asked == [0, 7, 8, 15, 16]
    assert film.resets == 1 + 2


def test_the_step_of_which_nothing_is_seen_does_not_depend_on_the_agent():
    """An environment may draw from a generator of its own in it: the ignored action must not decide how often."""
    env = TimeLimit(Film(LENGTHS), 4)
    now, cut = env.reset(), torch.zeros(5, dtype=torch.bool)
    for a in actions(env, 41) % 4 + 1:
        crossing = now.last & (env.env.age < env.env.lengths)
        now = env.step(a)
        assert torch.equal(env.env.given[-1], torch.where(crossing, 0, a))
        cut = cut | crossing
    assert torch.equal(cut, torch.tensor(LENGTHS) > 4)


def test_a_masked_reset_starts_the_clock_only_there():
    env = TimeLimit(Film([50] * 3), 7)
    ends, now = [[], [], []], env.reset()
    for t, a in enumerate(actions(env, 23)):
        if t in (4, 15):  # the second while environment 0 is at its limit, and environment 1 is not
            before = copy(now)
            now = env.reset(mask=torch.tensor([False, True, False]))
            assert_same(now, before, torch.tensor([True, False, True]))
        now = env.step(a)
        for b in range(3):
            ends[b] += [t + 1] * bool(now.last[b])
    assert ends == [[7, 15, 23], [11, 22], [7, 15, 23]]


def test_limits_nest():
    same_but(run(TimeLimit(TimeLimit(Film(LENGTHS), 6), 4)), run(TimeLimit(Film(LENGTHS), 4)))


# Counts of visits


@pytest.mark.parametrize("written", [True, False])
def test_visits_are_those_of_the_oracle(written):
    lengths = (3, 37, 7, 2, 29)
    answers = run(VisitCounts(Film(lengths), 13), resets=RESETS, written=written)
    plain = run(Film(lengths), resets=RESETS)
    same_but(answers, plain)
    masks = {t + 1 + k: RESETS[t] for k, t in enumerate(RESETS)}
    seen = [[] for _ in lengths]
    for t, (x, y) in enumerate(zip(answers, plain, strict=True)):
        for b, cells in enumerate(seen):
            if t not in masks or masks[t][b]:
                if y.first[b]:
                    cells.clear()
                cells.append(int(y.info["cell"][b]))
            assert int(x.info["visits"][b]) == cells.count(cells[-1]), (t, b)
            assert int(x.info["coverage"][b]) == len(set(cells)), (t, b)
    assert max(int(x.info["visits"].max()) for x in answers) > 3


# Together


def tower(env, limit_inside):
    if limit_inside:
        env = TimeLimit(env, 4)
    env = FrameStack(Resize(Grey(NoisyTV(StickyActions(env, 0.3, seed=3), seed=3)), 3, 4), 2)
    env = VisitCounts(Rewards(env, "sign"), 13)
    return env if limit_inside else TimeLimit(env, 4)


@pytest.mark.parametrize("written", [True, False])
def test_a_limit_inside_or_outside_cuts_the_same_episodes(written):
    inside, outside = (run(tower(Film(LENGTHS), where), written=written) for where in (True, False))
    for x, y in zip(inside, outside, strict=True):
        for name in ("reward", "discount", "first", "last", "visits", "coverage"):
            assert torch.equal(leaves(x)[name], leaves(y)[name]), name
        assert torch.equal(image(x)[x.first][..., 0], image(x)[x.first][..., 1])


@pytest.mark.parametrize("limit_inside", [True, False])
def test_rows_and_memory_give_the_same(limit_inside):
    a, b = (run(tower(Film(LENGTHS), limit_inside), written=w, resets=RESETS) for w in (True, False))
    for x, y in zip(a, b, strict=True):
        assert_same(x, y)


@pytest.mark.parametrize("limit_inside", [True, False])
def test_environments_do_not_depend_on_their_company(limit_inside):
    """Environment 3 of five is environment 0 of one that begins there."""

    def build(count, offset):
        env = morello.make("counting:steps", count, seed=2, env_offset=offset, height=H, width=W)
        env = TimeLimit(env, 5) if limit_inside else env
        env = NoisyTV(StickyActions(env, seed=11, env_offset=offset), seed=11, env_offset=offset)
        env = FrameStack(env, 2)
        return env if limit_inside else TimeLimit(env, 5)

    many, alone = build(5, 0), build(1, 3)
    chosen = actions(many, 31)
    many.reset()
    alone.reset()
    for a in chosen:
        x, y = leaves(many.step(a)), leaves(alone.step(a[3:4]))
        assert all(torch.equal(x[name][3], y[name][0]) for name in y)


@pytest.mark.parametrize("limit_inside", [True, False])
@pytest.mark.parametrize("when", range(9, 15))
def test_a_loaded_tower_goes_on_bit_for_bit(limit_inside, when):
    env = tower(Film(LENGTHS), limit_inside)
    run(env, steps=when)
    saved = {k: v.clone() for k, v in env.state_dict().items()}
    ahead = actions(env, 17, seed=5)
    expected = [copy(env.step(a)) for a in ahead]
    other = tower(Film(LENGTHS, seed=0), limit_inside)
    run(other, steps=3, seed=8)
    other.load_state_dict(saved)
    for a, x in zip(ahead, expected, strict=True):
        assert_same(other.step(a), x)


def test_a_seed_restarts_the_streams_of_wrappers_where_it_is_given():
    """There it goes on like a fresh one of that seed, elsewhere like one that was given none."""
    seeded, unseeded, fresh = (NoisyTV(StickyActions(Film([50] * 5), seed=s), 1.0, seed=s) for s in (1, 1, 0))
    run(seeded, steps=6)
    run(unseeded, steps=6)
    mask = torch.tensor([False, True, False, True, False])
    x, y, z = seeded.reset(seed=23, mask=mask), unseeded.reset(mask=mask), fresh.reset(seed=23)
    stuck = 0
    for a in [*actions(seeded, 29), None]:
        assert torch.equal(image(x), torch.where(mask.view(-1, 1, 1, 1), image(z), image(y)))
        assert not (image(y) == image(z)).flatten(1).all(1).any()
        if a is not None:
            x, y, z = seeded.step(a), unseeded.step(a), fresh.step(a)
            x_given, y_given, z_given = (env.env.env.given[-1] for env in (seeded, unseeded, fresh))
            assert torch.equal(x_given, torch.where(mask, z_given, y_given))
            stuck += int((y_given != z_given).sum())
    assert stuck > 20


def test_two_wrappers_of_one_seed_draw_apart():
    noisy, sticky = NoisyTV(Film(LENGTHS), seed=4), StickyActions(Film(LENGTHS), seed=4)
    assert not (noisy._bits() == sticky._bits()).any()


WRAPPERS = {
    "noisy": lambda env: NoisyTV(env),
    "remote": lambda env: NoisyTV(env, channel="action"),
    "sticky": lambda env: StickyActions(env),
    "stack": lambda env: FrameStack(env, 2),
    "grey": lambda env: Grey(env),
    "resize": lambda env: Resize(env, 3, 2),
    "rewards": lambda env: Rewards(env),
    "visits": lambda env: VisitCounts(env, 13),
    "nothing": lambda env: Wrapper(env),
    "limit": lambda env: TimeLimit(env, 3),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_rows_that_do_not_fit_are_refused_before_anything_happens(name):
    env = WRAPPERS[name](Film(LENGTHS))
    example = env.reset()
    for wrong in leaves(example):
        saved = {k: v.clone() for k, v in env._state.items()}
        out = Timestep(*(empty_like(x) for x in example))
        for where in (out.observation, out.info):
            if wrong in where:
                where[wrong] = where[wrong][..., :1].repeat(*[1] * (where[wrong].dim() - 1), 19)
        if wrong in Timestep._fields:
            out = out._replace(**{wrong: torch.zeros(19, dtype=getattr(out, wrong).dtype)})
        with pytest.raises(ValueError, match=f"out needs {wrong} as"):
            env.step(actions(env, 1)[0], out)
        assert all(torch.equal(env._state[k], v) for k, v in saved.items())


@pytest.mark.parametrize("name", ["remote", "sticky", "limit"])
@pytest.mark.parametrize(
    "action", [torch.zeros(1, dtype=torch.int64), torch.zeros(5), torch.zeros(5, dtype=torch.bool)]
)
def test_actions_that_are_none_are_not_made_into_some(name, action):
    env = WRAPPERS[name](Film([3] * 5))
    run(env, steps=3)  # at the limit
    with pytest.raises(ValueError, match=r"integers \[5\]"):
        env.step(action)


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_belongs_to_the_environments_inside(name):
    env = WRAPPERS[name](Film(LENGTHS))
    assert env.spec.resumable
    assert not env.capturable
    env.env.capturable = True
    assert env.capturable == (name != "limit")  # there the host decides
    env.close()
    assert env.env.closed
    loose = morello.make("gym:CartPole-v1", 5)
    if name not in ("noisy", "remote", "stack", "grey", "resize"):
        env = WRAPPERS[name](loose)
        assert not env.spec.resumable
        with pytest.raises(UserError, match="cannot save"):
            env.state_dict()


def test_a_state_of_other_wrappers_is_refused():
    env = FrameStack(Film(LENGTHS), 2)
    with pytest.raises(UserError, match=r"stack is \[5, 5, 7, 3, 3\], .* \[5, 5, 7, 2, 3\]"):
        env.load_state_dict(FrameStack(Film(LENGTHS), 3).state_dict())
    with pytest.raises(UserError, match="stack is missing"):
        env.load_state_dict(Rewards(Film(LENGTHS)).state_dict())


def cart():
    return morello.make("gym:CartPole-v1", 2)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: NoisyTV(cart()), "needs an image, and CartPole-v1 shows only vector"),
        (lambda: FrameStack(cart()), "needs an image"),
        (lambda: Grey(cart()), "needs an image"),
        (lambda: Resize(cart(), 3, 5), "needs an image"),
        (lambda: NoisyTV(Film([3]), 0), "above 0"),
        (lambda: NoisyTV(Film([3]), 1.1), "at most 1"),
        (lambda: NoisyTV(Film([3]), math.nan), "at most 1"),
        (lambda: NoisyTV(Film([3]), channel="remote"), "'step' or 'action'"),
        (lambda: NoisyTV(Film([3]), channel="action", noop=5), "0 to 4, not 5"),
        (lambda: StickyActions(Film([3]), 1.5), "probability"),
        (lambda: StickyActions(Film([3]), math.nan), "probability"),
        (lambda: FrameStack(Film([3]), 0), "at least 1"),
        (lambda: Grey(Film([3], channels=4)), "4 channels"),
        (lambda: Resize(Film([3]), 0, 5), "0 x 5"),
        (lambda: Rewards(Film([3]), "clipped"), "did you mean clip"),
        (lambda: TimeLimit(Film([3]), 0), "at least 1 step"),
        (lambda: VisitCounts(Film([3]), 0), "at least 1 cell"),
        (lambda: VisitCounts(cart(), 5).reset(), r"info\['cell'\], which CartPole-v1"),
        (lambda: run(VisitCounts(Film([30]), 3)), "more cells"),
    ],
)
def test_a_mistake_gets_one_sentence_with_the_way_out(make, words):
    with pytest.raises(UserError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.gpu
def test_the_device_is_not_waited_for_and_answers_as_the_processor():
    def build(device):
        env = morello.make("counting:steps", 5, device=device, height=H, width=W)
        env = FrameStack(Resize(Grey(NoisyTV(StickyActions(env), channel="action")), 3, 4), 2)
        return VisitCounts(Rewards(env), 13)

    there, here = build("cuda"), build("cpu")
    there.reset()
    here.reset()
    for a in actions(here, 13):
        chosen, expected = a.cuda(), here.step(a)
        torch.cuda.set_sync_debug_mode("error")
        try:
            now = there.step(chosen)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        for name, x in leaves(expected).items():
            assert torch.equal(leaves(now)[name].cpu(), x), name


def test_actions_beyond_the_wrappers_own_are_refused_with_its_own_number():
    sticky, remote = StickyActions(Film([9, 9]), 1.0), NoisyTV(Film([9, 9]), channel="action")
    for env, most in ((sticky, 5), (remote, 6)):
        env.reset()
        for wrong in ([most, 0], [0, -1]):
            with pytest.raises(ValueError, match=rf"lie in \[0, {most}\)"):
                env.step(torch.tensor(wrong))


def test_how_often_environments_broke_is_handed_on_where_they_can():
    inside = Film([9, 9])
    assert not hasattr(Grey(inside), "restarts")
    inside.restarts = [0, 2]
    assert TimeLimit(Grey(inside), 5).restarts == [0, 2]
