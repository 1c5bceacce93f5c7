"""Minibatches of segments: each row is in one of them, with what it had in the rollout."""

import pytest
import torch

import morello
from morello.agents.actor import Actor
from morello.agents.batch import Batch, shape_of, shuffled, standardised
from morello.agents.model import ActorCritic
from morello.auxiliaries import Scored
from morello.backbones import MEMORIES

B, T = 7, 12


def collected(memory, actor_rollouts=3):
    """A model, and a rollout that begins in the middle of episodes."""
    torch.manual_seed(1)
    env = morello.make("counting:steps", num_envs=B, frame_size=(20, 23))
    model = ActorCritic(env.spec, torso="shallow", memory=memory, memory_size=12, streams=("extrinsic", "bonus"))
    actor = Actor(env, model, T, seed=1)
    for _ in range(actor_rollouts):
        rollout = actor.collect()
    assert not rollout.first[0].all()
    assert (rollout.state.action >= 0).any()
    assert (rollout.state.reward > 0).any()
    return model, rollout


def numbered(rows):
    """The number t B + b of each row [rows, B], which tells where it was."""
    return torch.arange(rows * B, dtype=torch.float32).view(rows, B)


def batch_of(rollout, out):
    place = numbered(T)
    context = {"steps": place.unsqueeze(-1).expand(T, B, 5), "rows": (numbered(T + 1),)}
    return Batch(
        rollout=rollout._replace(intrinsic={"bonus": place + 0.5}),
        logits=out.logits[:-1],
        value={k: v[:-1] for k, v in out.value.items()},
        target={k: place + i for i, k in enumerate(out.value)},
        mask=dict.fromkeys(out.value, rollout.valid),
        advantage=place,
        scored={"bonus": Scored(-place, (torch.zeros(B),), context)},
    )


def divided(model, rollout, segment, minibatches, *, ahead=True, seed=0):
    with torch.no_grad():
        out = model.unroll(rollout, segment=segment)
    order = torch.randperm(T // segment * B, generator=torch.Generator().manual_seed(seed))
    return out, list(shuffled(batch_of(rollout, out), out.starts, segment, minibatches, ahead=ahead, order=order))


@pytest.mark.parametrize("segment", [T, 4, 3, 1])
@pytest.mark.parametrize("memory", MEMORIES)
def test_segments_are_unrolled_as_in_the_whole_rollout(memory, segment):
    model, rollout = collected(memory)
    out, parts = divided(model, rollout, segment, 3)
    assert rollout.first[1:T:segment].any()
    seen = []
    for part in parts:
        with torch.no_grad():
            again = model.unroll(part.rollout)
        assert len(part.rollout.first) == segment + 1
        for n in range(part.advantage.shape[1]):
            begin, b = divmod(int(part.advantage[0, n]), B)
            assert begin % segment == 0
            seen += [(begin + i, b) for i in range(segment)]
            rows = slice(begin, begin + segment + 1)
            torch.testing.assert_close(again.logits[:, n], out.logits[rows, b], atol=1e-5, rtol=1e-5)
            for name, value in again.value.items():
                torch.testing.assert_close(value[:, n], out.value[name][rows, b], atol=1e-5, rtol=1e-5)
    assert sorted(seen) == [(t, b) for t in range(T) for b in range(B)]


@pytest.mark.parametrize("ahead", [True, False])
def test_each_row_brings_what_it_had(ahead):
    model, rollout = collected("gru")
    segment = 3
    out, parts = divided(model, rollout, segment, 5, ahead=ahead)
    for part in parts:
        for n in range(part.advantage.shape[1]):
            begin, b = divmod(int(part.advantage[0, n]), B)
            steps, rows = slice(begin, begin + segment), slice(begin, begin + segment + ahead)
            r = part.rollout
            for mine, its in [
                *((getattr(r, k), getattr(rollout, k)) for k in ("first", "last", "task", "skill")),
                *((v, rollout.observation[k]) for k, v in r.observation.items()),
                *((v, rollout.info[k]) for k, v in r.info.items()),
            ]:
                assert torch.equal(mine[:, n], its[rows, b])
            for k in ("action", "logits", "reward", "discount"):
                assert torch.equal(getattr(r, k)[:, n], getattr(rollout, k)[steps, b])
            assert torch.equal(r.valid[:, n], rollout.valid[steps, b])
            place = numbered(T)[steps, b]
            assert torch.equal(r.intrinsic["bonus"][:, n], place + 0.5)
            assert torch.equal(part.logits[:, n], out.logits[steps, b])
            assert torch.equal(part.value["bonus"][:, n], out.value["bonus"][steps, b])
            assert torch.equal(part.target["bonus"][:, n], place + 1)
            assert torch.equal(part.mask["extrinsic"][:, n], rollout.valid[steps, b])
            before = rollout.action[begin - 1, b] if begin else rollout.state.action[b]
            assert r.state.action[n] == before
            earlier = rollout.reward[begin - 1, b] if begin else rollout.state.reward[b]
            assert r.state.reward[n] == earlier
    assert r.observation.keys() == rollout.observation.keys()
    assert r.info.keys() == rollout.info.keys()


def test_contexts_are_cut_to_the_rows_of_the_minibatch():
    model, rollout = collected("none")
    _, parts = divided(model, rollout, 4, 3)
    for part in parts:
        scored = part.scored["bonus"]
        assert torch.equal(scored.raw, -part.advantage)
        assert torch.equal(scored.context["steps"], part.advantage.unsqueeze(-1).expand(-1, -1, 5))
        assert torch.equal(scored.context["rows"][0][:-1], part.advantage)
        assert torch.equal(scored.context["rows"][0][-1], part.advantage[-1] + B)


@pytest.mark.parametrize(("segment", "minibatches"), [(T, 3), (4, 5), (1, 11), (3, 28)])
def test_sizes_differ_by_one_segment_at_most_and_the_least_is_foretold(segment, minibatches):
    model, rollout = collected("none")
    _, parts = divided(model, rollout, segment, minibatches)
    sizes = [part.advantage.shape[1] for part in parts]
    assert len(sizes) == minibatches
    assert max(sizes) - min(sizes) <= 1
    assert shape_of(T, B, segment=segment, minibatches=minibatches, whole=False) == (segment, min(sizes))


def test_segments_come_in_the_order_that_is_given():
    model, rollout = collected("none")
    _, parts = divided(model, rollout, 4, 2, seed=3)
    order = torch.randperm(3 * B, generator=torch.Generator().manual_seed(3))
    begun = torch.cat([part.advantage[0] for part in parts])
    assert torch.equal(begun, (order // B * 4 * B + order % B).float())


def test_lengths_that_are_not_given():
    assert shape_of(T, B, segment=None, minibatches=1, whole=False) == (T, B)
    assert shape_of(T, B, segment=None, minibatches=2, whole=True) == (T, 3)
    assert shape_of(T, B, segment=None, minibatches=2, whole=False) == (1, 42)
    assert shape_of(T, B, segment=6, minibatches=1, whole=True) == (6, 14)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"segment": 5, "minibatches": 1}, "--segment 5 has to divide --unroll 12"),
        ({"segment": 24, "minibatches": 1}, "--segment 24 has to divide --unroll 12"),
        ({"segment": 6, "minibatches": 15}, "--minibatches 15 is more than the 14 segments of 6 steps"),
        ({"segment": None, "minibatches": 8}, "--minibatches 8 is more than the 7 segments of 12 steps"),
    ],
)
def test_what_does_not_fit_is_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        shape_of(T, B, whole=True, **settings)


def test_standardised_by_hand():
    advantage = torch.tensor([[1.0, torch.nan], [5.0, 3.0]])
    valid = torch.tensor([[True, False], [True, True]])
    spread = (8 / 3) ** 0.5
    assert standardised(advantage, valid).flatten().tolist() == pytest.approx([-2 / spread, 0, 2 / spread, 0])
    assert (standardised(torch.full((3, 5), 2.5), torch.ones(3, 5, dtype=torch.bool)) == 0).all()
    assert (standardised(advantage, torch.zeros_like(valid)) == 0).all()
