"""Videos of an agent: its observations, position, value estimate and actions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from ...envs import make, own_options
from ...envs.errors import UserError
from ...envs.experience import Timestep
from ...envs.options import PLAY
from ...envs.vector_env import VectorEnv, closing
from ..config.config import EVAL_LIMIT, Config
from ..config.devices import resolve_device
from ..config.environment_options import environment_options
from ..config.load import load
from ..config.saved import from_saved, modern
from ..config.trust import allow_import
from ..config.validation import validated_field
from ..evaluation.environments import environment_for, own_environment
from ..evaluation.evaluate import SEED
from ..evaluation.policies import AgentPolicy, Policy, agent_policy
from ..learner_config import ExtrinsicConfig
from ..model import EXTRINSIC, ActorCritic
from ..storage.checkpoint import to_stderr
from ..storage.paths import same_directory
from ..storage.run_folder import VIDEOS
from .bonuses import Bonuses, restored_bonuses
from .drawing import Pixels
from .encode import FPS, write_video
from .frame import MAP_SIZE, VIEW_SIZE, Moment, Picture
from .side_panel import SidePanel, side_panel
from .strip_chart import StripChart
from .visits import Visits

MAP_EVERY = 3
"""Number of steps between two drawings of the map, which takes longer than the rest of the frame."""


def moments(
    policy: Policy,
    env: VectorEnv,
    large: VectorEnv | None = None,
    *,
    episodes: int = 1,
    steps: int | None = None,
    bonuses: Bonuses | None = None,
    extrinsic: bool = True,
) -> Iterator[Moment]:
    """Play new episodes in environment 0 of ``env`` and generate each step: ``episodes`` whole episodes, or ``steps``
    steps regardless of the number of episodes.

    Episodes are cut short with a warning if they take more than `EVAL_LIMIT` steps on average, unless the environment
    has a longer limit of its own. ``large`` is the same environment with larger images, in which the same actions are
    taken; without it the large view is the image that ``env`` renders for people, if it has one. With ``bonuses``
    moments have streams, and the map shows the time spent in each cell instead of a trail. ``extrinsic``: the agent
    learnt the value of the environment's reward.
    """
    timestep, enlarged = env.reset(), None if large is None else large.reset()
    step, episode, total = 0, 0, 0.0
    trail: list[NDArray[np.float32]] = []
    above: Pixels | None = None
    visits = None if bonuses is None else Visits(env)
    limit = episodes * max(EVAL_LIMIT, (env.spec.max_steps or 0) + 1)
    for n in itertools.count(1):
        first, last = bool(timestep.first[0]), bool(timestep.last[0])
        reward = 0.0 if first else float(timestep.reward[0])
        step, total, trail = (0, 0.0, []) if first else (step + 1, total + reward, trail)
        if "position" in timestep.info:
            trail.append(timestep.info["position"][0].cpu().numpy().copy())
        if visits is not None:
            visits.add(timestep)
        if first or last or step % MAP_EVERY == 0:
            heat = {} if bonuses is None else {"heat": True}  # environments without it need not know it
            above = env.top_view(MAP_SIZE, MAP_SIZE, np.array(trail), **heat)
            if above is None and visits is not None:
                above = visits.draw(MAP_SIZE)
        action = policy(timestep)
        output = policy.output if isinstance(policy, AgentPolicy) else None
        paid: dict[str, tuple[float, float]] = {}
        if bonuses is not None and output is not None:
            found = bonuses(timestep, output.features, action)
            paid = {k: (float(r[0]), float(output.value[k][0, 0])) for k, r in found.items()}
        yield Moment(
            step=step,
            episode=episode,
            reward=reward,
            episode_return=total,
            last=last,
            image=_first_image(timestep),
            view=env.render() if enlarged is None else _first_image(enlarged),
            map=above,
            vector=timestep.observation["vector"][0].cpu().numpy().copy() if "vector" in timestep.observation else None,
            value=None if output is None or not extrinsic else float(output.value[EXTRINSIC][0, 0]),
            probabilities=None if output is None else output.logits[0, 0].float().softmax(-1).cpu().numpy(),
            action=None if last else int(action[0]),
            streams=paid,
        )
        episode += last
        if n == steps if steps is not None else episode == episodes:
            return
        if n == limit and steps is None:
            ended = f"only {episode} of {episodes} episodes ended in {limit:,} steps, and the video ends there"
            to_stderr(f"{ended}: set its length with --seconds")
            return
        timestep = env.step(action)
        enlarged = None if large is None else large.step(action)
        if enlarged is not None and not torch.equal(enlarged.reward[:1], timestep.reward[:1]):
            raise RuntimeError("the environment with larger images went another way than the agent's")


def _first_image(timestep: Timestep) -> Pixels | None:
    image = timestep.observation.get("image")
    return None if image is None else image[0].cpu().numpy().copy()


def frames(
    policy: Policy,
    env: VectorEnv,
    large: VectorEnv | None = None,
    *,
    episodes: int = 1,
    steps: int | None = None,
    title: str = "",
    note: str = "",
    column: SidePanel | None = None,
    bonuses: Bonuses | None = None,
    extrinsic: bool = True,
) -> Iterator[Pixels]:
    """Generate frames uint8 [540, 960, 3], one per step, wider if there is a ``column`` next to them, and higher if
    there are ``bonuses``, by a strip of all rewards and values; the last frame of an episode is held for a second. See
    ``moments``.
    """
    strip = None if bonuses is None else StripChart(bonuses.names, extrinsic=extrinsic)
    picture = Picture(env.spec.action_names, title, note, env.spec.max_steps, traces=strip is None)
    for moment in moments(policy, env, large, episodes=episodes, steps=steps, bonuses=bonuses, extrinsic=extrinsic):
        frame = picture.draw(moment)
        if column is not None and isinstance(policy, AgentPolicy) and policy.output is not None:
            frame = column.draw(frame, policy.output.features)
        if strip is not None:
            frame = strip.draw(frame, moment)
        for _ in range(FPS if moment.last else 1):
            yield frame


def watch(
    run: str | Path,
    *,
    out: str | Path | None = None,
    episodes: int = 1,
    seconds: float | None = None,
    env: str | None = None,
    greedy: bool = False,
    seed: int = SEED,
    device: str = "auto",
    trust: bool = False,
) -> Path:
    """Film the agent of a run folder and return the path of the video. The arguments are those of ``WatchFlags``.
    UserError for errors that the caller can correct.
    """
    if episodes < 1 or (seconds is not None and not 0 < seconds < math.inf):
        raise UserError("there must be something to film: at least 1 episode, or more than 0 seconds, and an end to it")
    validated_field(Config, "seed", seed)
    agent = load(run, resolve_device(device))
    name = env or own_environment(agent)
    trust = env is not None or allow_import(str(run), name, trust)
    other = "" if env is None else "-" + env.replace(":", "-").replace("/", "-")
    run = Path(run).absolute()  # before building an environment, which may change directory
    path = run / VIDEOS / f"{agent.step}{other}.mp4" if out is None else Path(out).absolute()
    options = environment_options(agent.config, name)
    played = {k: v for k, v in options.items() if k in PLAY}
    with same_directory(), closing(environment_for(agent, env, 1, seed, render=True, trust=trust)) as world:
        pictures = frames(
            agent_policy(agent.model, 1, seed=seed, greedy=greedy),
            world,
            enlarged(world, name, seed, agent.initial_state(1).action.device, **played),
            episodes=episodes,
            steps=None if seconds is None else max(1, round(seconds * FPS)),
            title=name,
            note=f"{agent.config.get('preset', '')}   after {agent.step:,} steps",
            column=side_panel(agent, run),
            bonuses=restored_bonuses(agent, run),
            extrinsic=from_saved(run, ExtrinsicConfig, modern(agent.config)["extrinsic"], "extrinsic.").weight != 0,
        )
        write_video(track(pictures, "filming", console=Console(stderr=True), transient=True), path)
    return path


def enlarged(
    env: VectorEnv, name: str, seed: int, device: str | torch.device = "cpu", **options: Any
) -> VectorEnv | None:
    """Make the environment ``name`` with images as large as they are displayed, to be stepped with the same actions;
    None if the environment does not support it. ``options`` are the options of ``make`` that change how it is played.
    Only for environments that the seed and the actions determine completely (``spec.resumable``).
    """
    if "image" not in env.spec.observation or not env.spec.resumable or "frame_size" not in own_options(name):
        return None
    height, width, _ = env.spec.observation["image"][0]
    scale = VIEW_SIZE / max(height, width)
    return make(name, 1, device, seed, frame_size=(round(height * scale), round(width * scale)), **options)


def clip(
    model: ActorCritic,
    env: VectorEnv,
    length: int = 100,
    every: int = 3,
    each_step: Callable[[], None] = lambda: None,
) -> Pixels:
    """Film the beginning of an episode, every third step at half the size (for TensorBoard): uint8 [T <= length, 270,
    480, 3]. ``each_step`` is called before each step; an exception that it raises ends the film.
    """
    shown, kept = frames(agent_policy(model, env.num_envs, seed=SEED), env, title=" + ".join(env.spec.tasks)), []
    for n, frame in enumerate(itertools.islice(shown, 0, (length - 1) * every + 1)):
        each_step()
        if n % every == 0:
            kept.append(frame[::2, ::2])
    return np.stack(kept)
