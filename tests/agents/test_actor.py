"""Acting: rows are aligned, rollouts join, and what was acted on is what the learner unrolls."""

import pytest
import torch

import morello
from morello.agents.actor import Actor, gumbel
from morello.agents.learner import Learner
from morello.agents.learner_config import LearnerConfig
from morello.agents.model import ActorCritic
from morello.envs.trees import tree_map

B, T = 7, 5


def counting(memory="lstm"):
    env = morello.make("counting:steps", num_envs=B, seed=3, frame_size=(36, 44))
    return env, ActorCritic(env.spec, torso="nature", memory=memory, memory_size=11)


def test_rollouts_are_the_environments_own_sequence():
    env, model = counting()
    actor = Actor(env, model, T, seed=1)
    rollouts = []
    for _ in range(6):
        rollouts.append(tree_map(torch.clone, actor.collect()[:10]))
    index, lengths = torch.arange(B), 3 + (5 * torch.arange(B)) % 7
    at = torch.zeros(B, dtype=torch.int64)  # where each environment is in its episode, worked out apart
    episode = torch.zeros(B, dtype=torch.int64)
    action = torch.full((B,), -1)
    for number, rollout in enumerate(rollouts):
        observation, first, last, task, _, acted, _, reward, discount, _ = rollout
        for t in range(T + 1):
            seen = observation["vector"][t]
            assert seen[:, 1].equal(index.float())
            assert seen[:, 2].equal(episode.float())
            assert seen[:, 3].equal(at.float())
            assert seen[:, 4].equal(action.float())
            assert first[t].equal(at == 0)
            assert last[t].equal(at == lengths)
            assert task[t].equal(index % 2)
            if t == T:
                break
            crossing = at == lengths
            at = torch.where(crossing, 0, at + 1)
            episode = episode + crossing
            action = torch.where(crossing, -1, acted[t])
            assert reward[t].equal(torch.where(crossing, 0, 100 * (index + 1) + at).float())
            assert discount[t].equal(torch.where((at == lengths) & (index % 2 == 0), 0.0, 1.0))
        if number:
            before = rollouts[number - 1]
            assert observation["image"][0].equal(before[0]["image"][T])


@pytest.mark.parametrize("memory", ["none", "lstm", "gru"])
def test_unrolling_a_rollout_repeats_the_logits_it_was_acted_with(memory):
    env, model = counting(memory)
    actor = Actor(env, model, T, seed=2)
    for _ in range(4):
        rollout = actor.collect()
        torch.testing.assert_close(model.unroll(rollout).logits[:-1], rollout.logits, atol=1e-5, rtol=1e-4)


def test_what_acting_keeps_changes_nothing_that_is_learnt():
    def learnt(keep):
        torch.manual_seed(0)
        env, model = counting()
        actor = Actor(env, model, T, seed=2, keep=keep)
        learner = Learner(model, LearnerConfig(), 1000)
        for _ in range(3):
            metrics = learner.step(actor.collect())
        return model, metrics

    (kept, mine), (plain, its) = learnt(True), learnt(False)
    assert kept.encoder.kept.recalls == 3
    assert plain.encoder.kept is None
    for name, p in plain.named_parameters():
        torch.testing.assert_close(kept.get_parameter(name), p, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mine["loss/value"], its["loss/value"], atol=1e-5, rtol=1e-4)


def test_previous_action_and_reward_reach_the_memory_and_are_zero_where_an_episode_begins():
    env, model = counting("none")
    actor = Actor(env, model, T, seed=2)
    actor.collect()
    before = actor.rollout
    action, reward = before.action[-1].clone(), before.reward[-1].clone()
    rollout = actor.collect()
    x = model.unroll(rollout).features.memory[..., model.encoder.size :]
    previous_action = torch.cat([action.unsqueeze(0), rollout.action])
    previous_reward = torch.cat([reward.unsqueeze(0), rollout.reward])
    for t in range(T + 1):
        for b in range(B):
            expected = [0.0] * 4
            if not rollout.first[t, b]:
                expected[int(previous_action[t, b])] = 1.0
                expected[3] = min(1.0, float(previous_reward[t, b]))
            assert x[t, b].tolist() == expected
    assert rollout.first[1:].any()


def test_valid_and_truncated_rows():
    env, model = counting()
    rollout = Actor(env, model, 23, seed=0).collect()
    assert rollout.valid.equal(~rollout.first[1:])
    assert rollout.truncated.equal(rollout.last[1:] & (torch.arange(B) % 2 == 1))
    assert rollout.truncated.any()


def test_gumbel_noise_samples_the_softmax():
    logits = torch.tensor([1.5, 0.0, -0.7, 0.4])
    noise = gumbel((200_000, 4), torch.Generator().manual_seed(0))
    assert torch.isfinite(noise).all()
    share = torch.bincount((logits + noise).argmax(-1), minlength=4) / 200_000
    torch.testing.assert_close(share, logits.softmax(-1), atol=4e-3, rtol=0)


def test_on_another_kind_of_device_noise_begins_anew():
    actor = Actor(*counting(), T)
    at_first = actor.collect().action.clone()
    saved = actor.state_dict()
    actor.load_state_dict({**saved, "generator": torch.zeros(16, dtype=torch.uint8)})  # as long as CUDA's
    actor.collect()
    assert not torch.equal(actor.rollout.action, at_first)


def test_an_actor_continues_from_its_state():
    env, model = counting()
    actor = Actor(env, model, T, seed=5)
    actor.collect()
    saved = tree_map(torch.clone, actor.state_dict()), tree_map(torch.clone, env.state_dict())
    expected = tree_map(torch.clone, actor.collect()[:10])
    other_env, _ = counting()
    other = Actor(other_env, model, T, seed=99)
    other_env.load_state_dict(saved[1])
    other.load_state_dict(saved[0])
    again = other.collect()
    assert again.sequence == 1
    for mine, its in zip(expected, again[:10], strict=True):
        torch.testing.assert_close(mine, its, rtol=0, atol=0)


@pytest.mark.gpu
def test_a_captured_rollout_equals_an_eager_one():
    def rollouts(graph):
        torch.manual_seed(0)
        env = morello.make("labyrinth:seekavoid_arena_01", num_envs=B, device="cuda", seed=3, frame_size=(36, 44))
        model = ActorCritic(env.spec, torso="nature", memory="lstm", memory_size=11).cuda()
        actor = Actor(env, model, T, seed=1, graph=graph)
        return [tree_map(torch.clone, actor.collect()[:10]) for _ in range(4)]

    for captured, eager in zip(rollouts(True), rollouts(False), strict=True):
        for mine, its in zip(captured, eager, strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-4, atol=1e-4)


def test_episodes_that_begin_anew_are_others():
    env, model = counting()
    actor = Actor(env, model, T, seed=1)
    actor.collect()
    saved = actor.state_dict()
    again = Actor(morello.make("counting:steps", num_envs=B, seed=3, frame_size=(36, 44)), model, T, seed=1)
    again.begin_anew(saved, 17)
    rollout = again.collect()
    assert (rollout.observation["vector"][:, :, 0] == 17).all()
    assert rollout.first[0].all()
    assert rollout.sequence == 2  # a gap, after which nothing is remembered of the lost episodes


@pytest.mark.parametrize("bfloat16", [False, True])
def test_what_is_reused_while_acting_belongs_to_the_present_weights(bfloat16):
    env = morello.make("counting:steps", num_envs=B, seed=3)
    model = ActorCritic(env.spec, torso="grid", bfloat16=bfloat16)
    actor = Actor(env, model, T, seed=2)
    for _ in range(3):
        rollout = actor.collect()
        now = model.unroll(rollout).logits[:-1]
        allowed = (0.05 if bfloat16 else 1e-5) * now.abs().max()
        assert (now - rollout.logits).abs().max() < allowed
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.1 * torch.randn_like(p))
        assert (model.unroll(rollout).logits[:-1] - rollout.logits).abs().max() > 4 * allowed


def test_results_are_kept_during_a_rollout_only_and_not_after_an_error():
    env, model = counting()
    model = ActorCritic(env.spec, torso="grid")
    torso = model.encoder.torsos["image"]
    kept = []
    actor = Actor(env, model, T, seed=2)
    actor.check = lambda: kept.append(torso._known is not None)
    actor.collect()
    assert kept == [True] * T
    assert torso._known is None

    def stop():
        raise KeyboardInterrupt

    actor.check = stop
    with pytest.raises(KeyboardInterrupt):
        actor.collect()
    assert torso._known is None
