"""Every registered reward pays more for what is new than for what is familiar."""

import pytest
import torch

from morello.auxiliaries import INTRINSIC_REWARDS

from ...support.registered import IMAGES, built
from ...support.rewards import learn, score
from ...support.rollouts import rollout, spec

PLACES, KNOWN, ENVS, STEPS = 10, 6, 8, 20
OTHERWISE = {
    "lpm": "pays for progress, which is none where nothing has been learnt yet: test_lpm.py",
    "noise": "the control, which pays everything alike: test_noise.py",
}
"""Rewards that do not pay for novelty as such, and what tests what they pay for."""
EPISODE = {"ride": "what was never seen need not change its features more"}
"""Rewards whose new places are those of the episode, and why."""


def seen_at(name, place):
    """What is seen [T + 1, B] at places [T + 1, B]: each looks different."""
    g = torch.Generator().manual_seed(1)
    looks = torch.randint(11, (PLACES, 7, 7, 3), generator=g, dtype=torch.uint8)
    return {"image": looks[place]} if name in IMAGES else {"vector": looks[:, 0].flatten(1).float()[place] / 5 - 1}


def world_of(name):
    shown = {"image": (7, 7, 3)} if name in IMAGES else {"vector": 21}
    return spec(**shown, actions=3)._replace(max_steps=STEPS)


def played(name, place, action):
    of = rollout(world_of(name), len(action), place.shape[1], 0, 0.0)
    of.first[0] = True
    return of._replace(observation=seen_at(name, place), action=action, info={"cell": place})


def walked(name, seed):
    """A random walk on the ring of places that are known: actions 0, 1 and 2 lead back, nowhere and on."""
    g = torch.Generator().manual_seed(seed)
    action = torch.randint(3, (STEPS, ENVS), generator=g)
    start = torch.randint(KNOWN, (1, ENVS), generator=g)
    return played(name, torch.cat([start, action - 1]).cumsum(0) % KNOWN, action)._replace(sequence=seed)


def leads_on(name):
    """Twice to and fro over what is known, and then on to places that were never seen."""
    place = torch.tensor([*range(6), *range(4, -1, -1), *range(1, 10)])
    return played(name, place.unsqueeze(-1), place.diff().unsqueeze(-1) + 1)


@pytest.mark.parametrize("name", [name for name in INTRINSIC_REWARDS if name not in OTHERWISE])
def test_it_pays_more_for_what_is_new(name):
    module = built(name, world_of(name), size=32, hidden=32)
    trained = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained or [torch.zeros(1, requires_grad=True)], 3e-3)
    for seed in range(3):
        module.warm_up(walked(name, seed))
    for seed in range(60 if trained else 3):
        learn(module, walked(name, seed), optimizer, module.initial_state(ENVS), epochs=int(bool(trained)))
    paid = score(module, leads_on(name), module.initial_state(1)).raw.flatten()
    familiar, new = paid[10:15].mean(), (paid[:5] if name in EPISODE else paid[15:]).mean()
    assert new > 1.5 * familiar
    assert new > 0
