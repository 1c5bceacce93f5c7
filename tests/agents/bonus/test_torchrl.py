"""The transform for TorchRL: data [B, T] in the order of collection."""

import gymnasium
import pytest
import torch

tensordict = pytest.importorskip("tensordict")
pytest.importorskip("torchrl")

from morello.agents.bonus.torchrl import BonusTransform  # noqa: E402

SPACES = (gymnasium.spaces.Box(-9, 9, (1,)), gymnasium.spaces.Discrete(3))


def batch(seen, after, done, one_hot):
    """[B, T] from lists by environment."""
    x, y = (torch.tensor(v, dtype=torch.float32).unsqueeze(-1) for v in (seen, after))
    action = torch.zeros(x.shape[:2], dtype=torch.int64)
    return tensordict.TensorDict(
        {
            "observation": x,
            "action": torch.nn.functional.one_hot(action, 3) if one_hot else action,
            "next": {
                "observation": y,
                "reward": torch.ones_like(x),
                "done": torch.tensor(done, dtype=torch.bool).unsqueeze(-1),
            },
        },
        batch_size=x.shape[:2],
    )


@pytest.mark.parametrize("one_hot", [False, True])
def test_visits_of_an_episode_are_paid_across_batches(one_hot):
    bonus = BonusTransform("episodic_count", SPACES, weight=2.0, normalise="none")
    first = bonus(batch([[0, 1, 0]], [[1, 0, 0]], [[0, 0, 0]], one_hot))
    root = 0.5**0.5
    expected = torch.tensor([1.0, root, 3**-0.5])
    torch.testing.assert_close(first["next", "intrinsic"].flatten(), expected)
    torch.testing.assert_close(first["next", "reward"].flatten(), 1 + 2 * expected)
    # 1 again, then 5, which ends the episode and is not paid; in the next one 1 is new.
    second = bonus(batch([[0, 1, 7]], [[1, 5, 1]], [[0, 1, 0]], one_hot))
    torch.testing.assert_close(second["next", "intrinsic"].flatten(), torch.tensor([root, 0.0, 1.0]))


def test_data_of_one_environment():
    bonus = BonusTransform("count", SPACES, normalise="none")
    data = bonus(batch([[0, 1]], [[1, 2]], [[0, 0]], False)[0])
    assert data["next", "intrinsic"].shape == (2, 1)
    assert data["next", "intrinsic"].flatten().tolist() == [1.0, 1.0]


def test_its_state_is_in_its_state_dict():
    one, two = (BonusTransform("count", SPACES, normalise="none") for _ in range(2))
    one(batch([[0, 1]], [[1, 2]], [[0, 1]], False))
    two.load_state_dict(one.state_dict())
    more = batch([[0, 1]], [[1, 2]], [[0, 0]], False)
    assert two(more.clone())["next", "intrinsic"].equal(one(more)["next", "intrinsic"])
    assert two.bonus.steps == 4
