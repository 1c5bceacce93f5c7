"""Plays ViZDoom itself and writes the rewards it gives to vizdoom_rewards.json, for test_vizdoom.py to compare.

Run by hand, where ViZDoom is installed (pip install vizdoom): python tests/support/record_vizdoom.py
"""

import json
from pathlib import Path

import numpy as np

REWARDS = Path(__file__).with_name("vizdoom_rewards.json")

PLAYS = {  # scenario: configuration file, seed, steps, buttons if not all
    "Basic": ("basic", 7, 400, None),
    "SimplerBasic": ("simpler_basic", 11, 200, None),
    "RocketBasic": ("rocket_basic", 3, 300, None),
    "MyWayHome": ("my_way_home", 3, 600, ("TURN_LEFT", "TURN_RIGHT", "MOVE_FORWARD")),
    "DefendTheCenter": ("defend_the_center", 7, 300, None),
    "DefendTheLine": ("defend_the_line", 5, 300, None),
    "HealthGathering": ("health_gathering", 7, 300, None),
    "HealthGatheringSupreme": ("health_gathering_supreme", 2, 300, None),
    "TakeCover": ("take_cover", 7, 300, None),
}


def actions(seed: int, steps: int, count: int) -> list[int]:
    """Random actions, each kept up for a while; the last, which is forward where there is such a button, most often."""
    generator = np.random.default_rng(seed)
    chosen, action = [], 0
    for _ in range(steps):
        if generator.random() < 0.3:
            action = int(generator.integers(count)) if generator.random() < 0.6 else count - 1
        chosen.append(action)
    return chosen


def play(file: str, seed: int, steps: int, pressed: tuple[str, ...] | None) -> dict:
    import vizdoom

    game = vizdoom.DoomGame()
    game.load_config(str(Path(vizdoom.scenarios_path) / f"{file}.cfg"))
    game.set_window_visible(False)
    game.set_seed(seed)
    game.init()
    available = [button.name for button in game.get_available_buttons()]
    table = [[float(b == p) for b in available] for p in (None, *(pressed or available))]
    record: dict = {"file": file, "seed": seed, "actions": len(table), "reward": [], "last": [], "timeout": []}
    finished = False
    for action in actions(seed, steps, len(table)):
        if finished:
            game.new_episode()
            reward, finished, timeout = 0.0, False, False
        else:
            reward = game.make_action(table[action], 4)
            finished, timeout = game.is_episode_finished(), game.is_episode_timeout_reached()
        record["reward"].append(round(reward, 4))
        record["last"].append(int(finished))
        record["timeout"].append(int(timeout))
    game.close()
    return record


if __name__ == "__main__":
    records = {name: play(*given) for name, given in PLAYS.items()}
    REWARDS.write_text(json.dumps(records, separators=(",", ":")) + "\n")
