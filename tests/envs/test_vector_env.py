"""What an environment has without saying so, and what wrappers and pools hand on of it."""

import numpy as np
import pytest
import torch

import morello
from morello.envs.cell_map import CellMap
from morello.envs.errors import UserError
from morello.envs.experience import Spec
from morello.envs.processes.alternating import Alternating, Pool
from morello.envs.rows import empty_timestep, write_rows
from morello.envs.vector_env import VectorEnv, closing
from morello.envs.wrappers import Rewards, Wrapper

B = 3
TRAIL = np.zeros((5, 2), np.float32)


class Least(VectorEnv):
    """No more than an environment must have."""

    def __init__(self):
        self.num_envs = B
        self.spec = Spec({"vector": ((2,), torch.float32)}, 2, ("a", "b"), ("least",), 1, None, False)
        self.now, self.acted = empty_timestep(self.spec, B), []

    def reset(self, seed=None, mask=None):
        return write_rows(self.now, None)

    def step(self, action, out=None):
        self.acted.append(action)
        return write_rows(self.now, out)


class Most(Least):
    """All that an environment may have."""

    device, codes, num_cells, capturable, restarts = torch.device("meta"), True, 7, True, [0, 2, 1]

    def render(self):
        return np.full((1, 1, 3), 5, np.uint8)

    def top_view(self, height, width, trail, heat=False):
        return np.full((height, width, 3), len(trail) + 100 * heat, np.uint8)

    def cell_map(self, task=0):
        return CellMap(task, 2)

    def oracle(self):
        return lambda timestep: torch.ones(B, dtype=torch.int64)


@pytest.mark.parametrize("make", [Least, lambda: Wrapper(Least())])
def test_what_is_not_said_is_not_there(make):
    with closing(make()) as env:
        assert (env.device, env.codes, env.num_cells, env.capturable) == (torch.device("cpu"), False, None, False)
        assert env.restarts == []
        assert env.render() is env.top_view(5, 7, TRAIL) is env.cell_map() is env.oracle() is None
    with pytest.raises(UserError, match="least cannot save its state"):
        env.state_dict()
    with pytest.raises(UserError, match="least cannot load a state"):
        Least().load_state_dict({})


def test_wrappers_hand_on_what_there_is():
    env, inside = Wrapper(Wrapper(Most())), Most()
    for name in ("device", "codes", "num_cells", "capturable", "restarts"):
        assert getattr(env, name) == getattr(inside, name), name
    assert env.render().max() == 5
    assert env.top_view(3, 2, TRAIL).shape == (3, 2, 3)
    assert env.top_view(3, 2, TRAIL, heat=True).max() == 105
    assert env.cell_map(5).rows == 5
    assert env.oracle()(None).tolist() == [1] * B


def test_wrappers_say_something_to_every_question():
    """What the base class gains is forwarded too; a wrapper is one part, with columns of its own, and in no worker."""
    asked = {name for name in vars(VectorEnv) if not name.startswith("_")} - {"parts", "wrap", "adopt", "adopts"}
    assert asked <= vars(Wrapper).keys() | vars(Wrapper(Least())).keys()


def test_the_part_of_an_environment_without_pools_steps_when_it_is_asked():
    env = Least()
    ((columns, part),) = env.parts
    action = torch.tensor([0, 1, 0])
    part.send(action)
    assert env.acted == []
    part.recv()
    assert env.acted[0] is action
    assert action[columns].equal(action)


class Half(Least, Pool):
    """A pool of them."""

    restarts = [4, 0, 6]  # noqa: RUF012

    def cell_map(self, task=0):
        return CellMap(task, 2)

    def send(self, action):
        """Nothing."""

    def recv(self, out=None):
        return self.step(torch.zeros(B, dtype=torch.int64), out)


def test_wrapped_pools_stay_pools():
    env = Alternating(lambda count, offset: Half(), 2 * B)
    seen = []
    assert env.wrap(lambda pool, first: seen.append(first) or Rewards(pool)) is env
    assert seen == [0, B]
    assert [type(pool) for _, pool in env.parts] == [Rewards, Rewards]
    assert env.restarts == [4, 0, 6, 4, 0, 6]
    assert env.cell_map(3).rows == 3
    assert type(Least().wrap(lambda one, first: Rewards(one))) is Rewards


def test_labyrinth_answers_through_wrappers():
    env = morello.make("labyrinth:seekavoid_arena_01", 1, grey=True)
    env.reset()
    assert env.top_view(11, 13, TRAIL).shape == (11, 13, 3)
    assert env.num_cells == env.env.num_cells > 0
    assert env.oracle()(env.reset()).shape == (1,)
