"""The replay: what goes in comes out aligned, within one rollout, skewed as asked, and again after a checkpoint."""

import pytest
import torch

import morello
from morello.agents.actor import Actor
from morello.agents.model import ActorCritic
from morello.agents.replay import FIELDS, Replay, ReplayConfig, cut
from morello.envs.trees import tree_map

B, T = 5, 7


def played(rollouts, capacity=10**4, memory="gru", **options):
    """A replay of the counting world, whose images and rewards say which step of which environment they are of."""
    torch.manual_seed(0)
    env = morello.make("counting:steps", num_envs=B, frame_size=(36, 44))
    model = ActorCritic(env.spec, torso="shallow", memory=memory, memory_size=6)
    actor = Actor(env, model, T, seed=3)
    replay = Replay(actor.rollout, ReplayConfig(capacity, **options), seed=1)
    kept = []
    for _ in range(rollouts):
        rollout = actor.collect()
        replay.add(rollout)
        kept.append(clone(rollout))
    return model, replay, kept


def clone(rollout):
    return rollout._replace(**{k: tree_map(torch.clone, getattr(rollout, k)) for k in FIELDS})


def find(column, kept):
    """Where a column [T + 1, ...] of a drawn unroll is from: (rollout, environment)."""
    return [
        (i, b)
        for i, rollout in enumerate(kept)
        for b in range(B)
        if all(torch.equal(column[k], rollout.observation[k][:, b]) for k in column)
    ]


def test_unrolls_are_columns_of_what_was_added_with_their_state():
    _, replay, kept = played(4, ratio=3.0)
    drawn = replay.unrolls()
    assert drawn.action.shape == (T, 3 * B)
    for n in range(3 * B):
        places = find({k: v[:, n] for k, v in drawn.observation.items()}, kept)
        assert places
        for name in ("first", "last", "task"):
            assert any(torch.equal(getattr(drawn, name)[:, n], getattr(kept[i], name)[:, b]) for i, b in places)
        assert any(
            all(torch.equal(getattr(drawn, k)[:, n], getattr(kept[i], k)[:, b]) for k in ("action", "logits", "reward"))
            and torch.equal(drawn.state.memory[0][n], kept[i].state.memory[0][b])
            and drawn.state.action[n] == kept[i].state.action[b]
            for i, b in places
        )


def test_a_replayed_unroll_gives_the_features_of_the_fresh_one():
    model, _, kept = played(3)
    fresh = model.unroll(kept[-1]).features.memory
    replayed = Replay(kept[-1], ReplayConfig(T * B), seed=0)
    replayed.add(kept[-1])
    drawn = replayed.unrolls()
    found = model.unroll(drawn).features.memory
    for n in range(B):
        assert any(torch.allclose(found[:, n], fresh[:, b], atol=1e-6) for b in range(B))


def test_the_oldest_is_dropped():
    _, replay, kept = played(6, capacity=3 * T * B + 4)
    assert (replay.slots, replay.filled) == (3, 3)
    places = set()
    for _ in range(20):
        seen = replay.unrolls().observation["image"]
        places |= {i for n in range(B) for i, _ in find({"image": seen[:, n]}, kept)}
    assert places == {3, 4, 5}


def test_a_zero_state_forgets_the_memory_alone():
    _, replay, _ = played(3, state="zero", ratio=4.0)
    state = replay.unrolls().state
    assert not state.memory[0].any()
    assert (state.action >= 0).any()


@pytest.mark.parametrize("length", [1, 3, T])
@pytest.mark.parametrize("skewed", [False, True])
def test_windows_are_of_one_episode_and_end_with_a_transition(length, skewed):
    _, replay, kept = played(5)
    drawn = replay.windows("it", 997, length, skewed=skewed)
    assert drawn.observation["image"].shape[:2] == (length + 1, 997)
    assert not drawn.first[1:length].any()
    assert not drawn.last[length - 1].any()
    image = torch.stack([r.observation["image"] for r in kept]).flatten(3)[..., :50]  # [5, T + 1, B, ...]
    rewards = torch.stack([r.reward for r in kept])
    for n in range(0, 997, 97):
        seen = drawn.observation["image"][:, n].flatten(1)[:, :50]
        places = [
            (i, t, b)
            for i in range(5)
            for t in range(T - length + 1)
            for b in range(B)
            if torch.equal(image[i, t : t + length + 1, b], seen)
        ]
        assert any(torch.equal(rewards[i, t : t + length, b], drawn.reward[:, n]) for i, t, b in places)


def made_up(rewarding):
    """A replay of one rollout of many steps, a share of whose rewards is not 0."""
    env = morello.make("counting:steps", num_envs=1, frame_size=(36, 44))
    actor = Actor(env, ActorCritic(env.spec, torso="shallow"), 1000)
    rollout = actor.collect()
    generator = torch.Generator().manual_seed(0)
    rollout.reward.copy_(torch.where(torch.rand(1000, 1, generator=generator) < rewarding, -2.0, 0.0))
    rollout.first.zero_()
    rollout.last.zero_()
    replay = Replay(rollout, ReplayConfig(1000))
    replay.add(rollout)
    return replay


def test_half_of_skewed_windows_end_with_a_reward():
    drawn = made_up(0.01).windows("it", 10_000, 3, skewed=True)
    assert (drawn.reward[2] != 0).float().mean().item() == pytest.approx(0.5, abs=0.015)
    plain = made_up(0.01).windows("it", 10_000, 3)
    assert (plain.reward[2] != 0).float().mean().item() == pytest.approx(0.01, abs=0.01)


def test_under_a_living_cost_what_is_rare_is_as_frequent():
    """No step is without a reward, and one in a hundred has a positive one."""
    replay = made_up(0.01)
    reward = replay._kept["reward"]
    reward.copy_(torch.where(reward == 0, -0.01, 1.0))
    drawn = replay.windows("it", 10_000, 3, skewed=True).reward[2]
    assert (drawn > 0).float().mean().item() == pytest.approx(0.5, abs=0.015)


def test_zeros_are_half_where_there_are_all_three():
    replay = made_up(0.1)
    reward = replay._kept["reward"]
    reward[:, ::200] = 3.0
    drawn = replay.windows("it", 10_000, 3, skewed=True).reward[2]
    shares = [(drawn == 0).float().mean().item(), (drawn > 0).float().mean().item()]
    assert shares == pytest.approx([0.5, 0.25], abs=0.015)


@pytest.mark.parametrize("rewarding", [0.0, 1.0])
def test_where_there_is_one_kind_all_windows_are_of_it(rewarding):
    drawn = made_up(rewarding).windows("it", 500, 3, skewed=True)
    assert ((drawn.reward[2] != 0) == bool(rewarding)).all()


def test_it_goes_on_as_it_would_have():
    _, one, _ = played(4, capacity=2 * T * B)
    _, other, _ = played(1, capacity=2 * T * B)
    other.load_state_dict(one.state_dict())
    a, b = one.unrolls(), other.unrolls()
    assert torch.equal(a.observation["image"], b.observation["image"])
    assert torch.equal(one.windows("it", 9, 2).reward, other.windows("it", 9, 2).reward)
    assert other.added == 4


def test_readers_do_not_change_what_others_are_given():
    _, one, _ = played(3)
    _, other, _ = played(3)
    other.windows("other", 50, 2)
    other.unrolls()
    assert torch.equal(one.windows("it", 9, 2).reward, other.windows("it", 9, 2).reward)


def test_a_cut_is_the_rows_it_says():
    _, _, kept = played(1)
    part = cut(kept[0], 2, 5, kept[0].state)
    assert torch.equal(part.observation["image"], kept[0].observation["image"][2:6])
    assert torch.equal(part.action, kept[0].action[2:5])
    assert torch.equal(part.last, kept[0].last[2:6])


def test_what_cannot_be_kept_is_refused():
    with pytest.raises(ValueError, match=r"does not hold one rollout of 5 x 7: raise --replay.capacity"):
        played(0, capacity=34)
    with pytest.raises(ValueError, match="burn-in 7 leaves nothing of an unroll of 7"):
        played(0, burn_in=7)
