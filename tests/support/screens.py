"""A ring of places that actions lead along, beside a screen of noise on which they have no influence."""

import torch
from torch.nn import functional as F

from .rewards import learn, score
from .rollouts import rollout, spec

PLACES, PIXELS, LOUD = 8, 8, 0.5
WORLD = spec(vector=PLACES + PIXELS, actions=3)._replace(max_steps=40)


def beside(place, screen):
    """What is seen [T + 1, B, V] at places [T + 1, B] before screens [T + 1, B, PIXELS]."""
    return {"vector": torch.cat([F.one_hot(place % PLACES, PLACES), LOUD * screen], -1)}


def ring(seed, moves=True, steps=24, columns=31):
    """Random walks: actions 0, 1 and 2 lead back, nowhere and on, or anywhere if not ``moves``. All screens are new."""
    g = torch.Generator().manual_seed(seed)
    of = rollout(WORLD, steps, columns, seed, 0.0)
    of.first[0] = True
    step = of.action - 1 if moves else torch.randint(PLACES, of.action.shape, generator=g)
    place = torch.cat([torch.randint(PLACES, (1, columns), generator=g), step]).cumsum(0)
    return of._replace(observation=beside(place, torch.randn(steps + 1, columns, PIXELS, generator=g)))


def pull(module, columns=16):
    """The bonus of a new screen in each step for who stays in a place, over that of a new place before one screen."""
    g = torch.Generator().manual_seed(10**6)
    screens = torch.randn(PLACES, columns, PIXELS, generator=g)
    on = torch.arange(PLACES).unsqueeze(-1).expand(-1, columns)
    paid = []
    for place, screen, action in ((on, screens[:1].expand_as(screens), 2), (torch.zeros_like(on), screens, 1)):
        of = rollout(WORLD, PLACES - 1, columns, 0, 0.0)
        of.first[0] = True
        of = of._replace(observation=beside(place, screen), action=torch.full_like(of.action, action))
        paid.append(score(module, of, module.initial_state(columns)).raw[1:].mean().item())
    return paid[1] / paid[0]


def pulls(module, moves=True, steps=200, rate=5e-3):
    """The pull of the screen before and after ``module`` has learned from walks on the ring."""
    optimizer, before = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], rate), pull(module)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        of = ring(step, moves)
        learn(module, of, optimizer, module.initial_state(of.action.shape[1]))
    return before, pull(module)
