"""What acting computes is kept for learning: equal to what is computed anew, and never stale."""

import copy

import pytest
import torch

from morello.backbones import TORSOS
from morello.backbones.encoder import Encoder

from ..support.rollouts import spec

T, B, H, W = 3, 5, 36, 44
BOTH = spec(image=(H, W, 3), vector=11)


def parts(torso="nature", bfloat16=False, seed=0):
    torch.manual_seed(seed)
    encoder = Encoder(BOTH, TORSOS[torso], TORSOS["mlp"], bfloat16)
    image = torch.randint(0, 256, (T + 1, B, H, W, 3), dtype=torch.uint8)
    return encoder, {"image": image, "vector": torch.randn(T + 1, B, 11)}


def act(encoder, observation):
    """Encode rows 0 to T - 1, one by one."""
    with torch.no_grad():
        return [encoder({k: v[t : t + 1] for k, v in observation.items()})[1] for t in range(T)]


def acted(encoder, observation):
    with encoder.keeping(observation):
        return act(encoder, observation)


def gradients(encoder, observation):
    """Encode all rows, and go back from map and vector."""
    encoder.zero_grad()
    maps, vector = encoder(observation)
    g = torch.Generator().manual_seed(7)
    (maps.float() * torch.randn(maps.shape, generator=g)).sum().backward(retain_graph=True)
    (vector * torch.randn(vector.shape, generator=g)).sum().backward()
    return maps, vector, {k: p.grad for k, p in encoder.named_parameters()}


def near(bfloat16):
    return {"rtol": 2e-2, "atol": 2e-2} if bfloat16 else {"rtol": 1e-4, "atol": 1e-5}


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("torso", ["nature", "shallow"])
@pytest.mark.parametrize("rows", [7, 1000])
def test_what_was_kept_equals_what_is_computed(torso, bfloat16, rows):
    encoder, observation = parts(torso, bfloat16)
    encoder.rows = rows  # in three chunks, which are not those of acting, or in one
    plain = copy.deepcopy(encoder)
    for mine, its in zip(acted(encoder, observation), act(plain, observation), strict=True):
        torch.testing.assert_close(mine, its, **near(bfloat16))
    maps, vector, mine = gradients(encoder, observation)
    assert encoder.kept.recalls == 1
    plain_maps, plain_vector, its = gradients(plain, observation)
    assert (maps.dtype, maps.shape, vector.dtype) == (plain_maps.dtype, plain_maps.shape, plain_vector.dtype)
    torch.testing.assert_close(maps, plain_maps, **near(bfloat16))
    torch.testing.assert_close(vector, plain_vector, **near(bfloat16))
    assert mine.keys() == its.keys()
    for name, gradient in its.items():
        scale = gradient.abs().max()
        torch.testing.assert_close(mine[name] / scale, gradient / scale, **near(bfloat16))


def test_it_is_what_acting_computed_that_is_used():
    encoder, observation = parts()
    acted(encoder, observation)
    encoder.kept.outputs[-1][0] += 1
    maps, _, _ = gradients(encoder, observation)
    torch.testing.assert_close(maps[0] - 1, copy.deepcopy(encoder)(observation)[0][0], rtol=1e-4, atol=1e-4)


def step(encoder, observation):
    torch.optim.SGD(encoder.parameters(), 0.1).step()


def load(encoder, observation):
    encoder.load_state_dict({k: 2 * v for k, v in encoder.state_dict().items()})


def by_hand(encoder, observation):
    encoder.torsos["image"].convolutions[2].bias.data[3] += 1  # which torch does not count as a change


def paint(encoder, observation):
    observation["image"][1, 2, 3] = 200


@pytest.mark.parametrize("change", [step, load, by_hand, paint])
def test_nothing_kept_is_used_after_a_change(change):
    encoder, observation = parts()
    acted(encoder, observation)
    _, before, _ = gradients(encoder, observation)
    assert encoder.kept.recalls == 1
    change(encoder, observation)
    maps, vector, mine = gradients(encoder, observation)
    assert encoder.kept.recalls == 1
    assert not torch.allclose(vector, before, atol=1e-3)
    its_maps, its_vector, its = gradients(copy.deepcopy(encoder), observation)
    assert maps.equal(its_maps)
    assert vector.equal(its_vector)
    assert all(mine[k].equal(its[k]) for k in its)
    acted(encoder, observation)  # and what is acted on next is kept as it then is
    again, _, _ = gradients(encoder, observation)
    assert encoder.kept.recalls == 2
    torch.testing.assert_close(again, its_maps, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("change", [step, load])
def test_weights_that_change_within_a_rollout_are_acted_with_at_once(change):
    encoder, observation = parts()
    gradients(encoder, observation)
    with encoder.keeping(observation), torch.no_grad():
        encoder({k: v[:1] for k, v in observation.items()})
        change(encoder, observation)
        row = {k: v[1:2] for k, v in observation.items()}
        assert encoder(row)[1].equal(copy.deepcopy(encoder)(row)[1])
    gradients(encoder, observation)
    assert encoder.kept.recalls == 0


def test_only_the_rollout_that_was_acted_on_to_its_end_is_recalled():
    encoder, observation = parts()
    other = {k: v.clone() for k, v in observation.items()}

    def interrupted():
        with encoder.keeping(observation):
            act(encoder, observation)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        interrupted()
    gradients(encoder, observation)
    with encoder.keeping(observation), torch.no_grad():
        encoder({k: v[:1] for k, v in observation.items()})
    gradients(encoder, observation)  # of one row only
    acted(encoder, observation)
    gradients(encoder, other)  # a copy
    gradients(encoder, {k: v[1:] for k, v in observation.items()})  # a part
    with torch.no_grad():
        encoder(observation)  # not learning
    encoder.autocast = True
    encoder(observation)  # in another precision
    encoder.autocast = False
    assert encoder.kept.recalls == 0
    gradients(encoder, observation)
    assert encoder.kept.recalls == 1
    acted(encoder, other)
    gradients(encoder, observation)  # of another actor since
    assert encoder.kept.recalls == 0


def test_columns_of_an_alternating_actor_are_kept_where_they_belong():
    encoder, observation = parts()
    observation = {k: torch.cat([v, v.flip(0)], 1) for k, v in observation.items()}
    with encoder.keeping(observation), torch.no_grad():
        for t in range(T):
            for columns in (slice(0, B), slice(B, 2 * B)):
                encoder({k: v[t, columns].unsqueeze(0) for k, v in observation.items()})
    maps, _, _ = gradients(encoder, observation)
    assert encoder.kept.recalls == 1
    torch.testing.assert_close(maps, copy.deepcopy(encoder)(observation)[0], rtol=1e-4, atol=1e-5)


def test_a_copy_of_an_encoder_keeps_nothing_and_the_original_loses_nothing():
    encoder, observation = parts()
    acted(encoder, observation)
    twin = copy.deepcopy(encoder)
    assert twin.kept is None
    gradients(encoder, observation)
    assert encoder.kept.recalls == 1


@pytest.mark.parametrize(("shown", "torso"), [((36, 36, 3), "deep"), ((7, 7, 3), "grid"), (None, "nature")])
def test_other_torsos_act_and_learn_as_ever(shown, torso):
    one = spec(image=shown, vector=11)
    encoder = Encoder(one, TORSOS[torso], TORSOS["mlp"])
    observation = {"vector": torch.randn(T + 1, B, 11)}
    if shown:
        observation["image"] = torch.randint(0, 256, (T + 1, B, *shown), dtype=torch.uint8)
    with encoder.keeping(observation):
        act(encoder, observation)
    assert encoder.kept is None
    assert encoder(observation)[1].requires_grad


def test_batches_of_a_few_rows_are_not_kept():
    encoder, observation = parts()
    few = {k: v[:, :3].contiguous() for k, v in observation.items()}
    acted(encoder, few)
    gradients(encoder, few)
    assert encoder.kept.recalls == 0
    assert not encoder.kept.outputs


def test_the_end_of_one_rollout_is_not_taken_for_that_of_another():
    """As when two actors of one model take turns within their rollouts."""
    encoder, observation = parts()
    other = {k: v.clone() for k, v in observation.items()}
    with encoder.keeping(other):
        acted(encoder, observation)
        paint(encoder, observation)
    maps, _, _ = gradients(encoder, observation)
    assert encoder.kept.recalls == 0
    assert maps.equal(copy.deepcopy(encoder)(observation)[0])


def test_in_inference_mode_nothing_is_kept_that_a_gradient_would_need():
    encoder, observation = parts()
    for _ in range(2):
        with torch.inference_mode():
            acted(encoder, observation)
        paint(encoder, observation)
        gradients(encoder, observation)
        acted(encoder, observation)
        gradients(encoder, observation)
    assert encoder.kept.recalls == 2
