"""The counting environment counts as its docstring says."""

import torch

import morello
from morello.envs.counting import VECTOR


def test_rows_say_who_when_and_after_which_action() -> None:
    env = morello.make("counting:steps", 3, seed=13, env_offset=2)  # environments 2, 3, 4: lengths 6, 4, 9
    lengths, index = [6, 4, 9], [2, 3, 4]
    env.reset()
    step, episode = [0, 0, 0], [0, 0, 0]
    for t in range(31):
        action = torch.tensor([t % 3, (t + 1) % 3, (t * t) % 3])
        now = env.step(action)
        for b in range(3):
            crossed = step[b] == lengths[b]
            step[b], episode[b] = (0, episode[b] + 1) if crossed else (step[b] + 1, episode[b])
            row = dict(zip(VECTOR, now.observation["vector"][b].tolist(), strict=True))
            took = -1 if crossed else int(action[b])
            assert row == {"seed": 13, "index": index[b], "episode": episode[b], "step": step[b], "action": took}
            assert now.observation["image"][b, 4, 6].tolist() == [index[b], episode[b], step[b]]
            assert now.reward[b] == (0 if crossed else 100 * (index[b] + 1) + step[b])
            assert now.first[b] == crossed
            assert now.last[b] == (step[b] == lengths[b])
            assert now.discount[b] == (0 if now.last[b] and index[b] % 2 == 0 else 1)
            assert now.task[b] == index[b] % 2
