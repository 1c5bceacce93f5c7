"""Pictures: everything is where it belongs, the right way round, and says what it should."""

import numpy as np
import pytest

from morello.agents.video.drawing import CHERRY, GOLD, STEEL, as_text
from morello.agents.video.frame import ACTIONS, FACTS, MAP, TRACE_STEPS, TRACES, VIEW, Moment, Picture

NAMES = ("forward", "backward", "look_left", "look_right", "fire")
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(height, width):
    """Red, green over blue, white."""
    image = np.zeros((height, width, 3), np.uint8)
    top, left = height // 2, width // 2
    image[:top, :left], image[:top, left:], image[top:, :left], image[top:, left:] = RED, GREEN, BLUE, WHITE
    return image


def moment(**changes):
    return Moment(**{"step": 3, "episode": 0, "reward": 0.0, "episode_return": 0.0, "last": False, **changes})


def inside(frame, box, x, y):
    """The colour at a share of a box's width and height."""
    return tuple(frame[int(box[1] + y * (box[3] - box[1])), int(box[0] + x * (box[2] - box[0]))].tolist())


def count(frame, box, colour):
    return int((frame[box[1] : box[3] + 1, box[0] : box[2] + 1] == colour).all(-1).sum())


def test_views_and_maps_stand_upright_and_are_not_mirrored():
    frame = Picture(NAMES).draw(moment(image=quarters(30, 40), view=quarters(460, 460), map=quarters(60, 60)))
    assert frame.shape == (540, 960, 3)
    assert frame.dtype == np.uint8
    for box in (VIEW, MAP):
        assert inside(frame, box, 0.2, 0.2) == RED
        assert inside(frame, box, 0.7, 0.2) == GREEN
        assert inside(frame, box, 0.2, 0.7) == BLUE
    assert inside(frame, MAP, 0.7, 0.7) == WHITE


def test_what_the_agent_sees_is_inset_beside_a_larger_view_or_fills_its_place():
    seen = np.full((84, 84, 3), (9, 99, 199), np.uint8)
    both = Picture(NAMES).draw(moment(image=seen, view=quarters(460, 460), map=quarters(60, 60)))
    alone = Picture(NAMES).draw(moment(image=seen))
    assert count(both, VIEW, (9, 99, 199)) == 112 * 112
    no_map = Picture(NAMES).draw(moment(image=seen, view=quarters(460, 460)))
    assert count(no_map, VIEW, (9, 99, 199)) == 0
    assert count(no_map, MAP, (9, 99, 199)) == 178 * 178
    assert count(no_map, VIEW, RED) == 230 * 230  # nothing stands in front of it
    facts = slice(FACTS[1], FACTS[3]), slice(FACTS[0], FACTS[2])
    assert np.array_equal(no_map[facts], both[facts])
    assert count(alone, VIEW, (9, 99, 199)) > 440 * 460  # all but its label
    wide = Picture(NAMES).draw(moment(image=np.full((21, 84, 3), (9, 99, 199), np.uint8)))
    assert count(wide, VIEW, (9, 99, 199)) == pytest.approx(460 * 115, rel=0.1)  # in proportion
    grey = np.zeros((84, 84, 4), np.uint8)
    grey[..., -1] = 77  # the newest of four frames
    assert count(Picture(NAMES).draw(moment(image=grey)), VIEW, (77, 77, 77)) > 440 * 460


@pytest.mark.parametrize(
    ("channels", "newest"),
    [(1, (77, 77, 77)), (2, (77, 77, 77)), (3, (75, 76, 77)), (4, (77, 77, 77)), (5, (77, 77, 77)), (12, (75, 76, 77))],
)
def test_images_of_any_number_of_channels_show_their_newest_frame(channels, newest):
    stack = np.zeros((11, 7, channels), np.uint8) + np.arange(78 - channels, 78, dtype=np.uint8)
    stack[0, 0] = 255
    assert inside(Picture(NAMES).draw(moment(image=stack)), VIEW, 0.5, 0.5) == newest
    assert inside(Picture(NAMES).draw(moment(image=stack, view=quarters(9, 9))), MAP, 0.5, 0.4) == newest


def test_codes_can_be_seen_and_keep_their_colours_from_frame_to_frame():
    codes = np.zeros((7, 7, 3), np.uint8)
    codes[:] = (2, 5, 0)
    wall = inside(Picture(NAMES).draw(moment(image=codes)), VIEW, 0.5, 0.5)
    assert wall == (50, 125, 0)
    codes[0, 0] = (10, 5, 0)  # something new comes into sight
    assert inside(Picture(NAMES).draw(moment(image=codes)), VIEW, 0.5, 0.5) == wall
    for dark in (np.full((7, 7, 3), 20, np.uint8), np.zeros((7, 7, 3), np.uint8)):
        colour = tuple(dark[0, 0].tolist())
        assert inside(Picture(NAMES).draw(moment(image=dark)), VIEW, 0.5, 0.5) == colour
    brighter = np.full((7, 7, 3), 19, np.uint8)
    assert inside(Picture(NAMES).draw(moment(image=brighter)), VIEW, 0.5, 0.5) == (247,) * 3
    shown = Picture(NAMES).draw(moment(image=codes, view=np.full((9, 9, 3), 3, np.uint8)))
    assert inside(shown, VIEW, 0.5, 0.5) == (3, 3, 3)  # a picture for people is as it is


def test_beside_a_picture_for_people_a_vector_is_small_bars():
    vector = np.array([1.0, -1.0, 0.5], np.float32)
    frame = Picture(NAMES).draw(moment(vector=vector, view=quarters(40, 60)))
    assert inside(frame, VIEW, 0.2, 0.3) == RED
    assert count(frame, VIEW, STEEL) == 0
    middle = MAP[1] + 10 + 178 // 2
    up, down = count(frame, (*MAP[:3], middle), STEEL), count(frame, (MAP[0], middle + 1, *MAP[2:]), STEEL)
    assert up == pytest.approx(1.5 * down, rel=0.1)
    assert down > 100
    bare = Picture(NAMES).draw(moment(view=quarters(40, 60)))  # nothing is known of what the agent sees
    assert inside(bare, VIEW, 0.2, 0.3) == RED
    assert count(bare, MAP, STEEL) == 0


def test_without_a_map_the_facts_take_its_place():
    with_map = Picture(NAMES).draw(moment(image=quarters(4, 4), map=np.full((10, 10, 3), 200, np.uint8)))
    without = Picture(NAMES).draw(moment(image=quarters(4, 4)))
    assert inside(with_map, MAP, 0.5, 0.5) == (200, 200, 200)
    assert count(without, MAP, (200, 200, 200)) == 0
    gap = (MAP[2] + 3, 60, FACTS[0] - 3, 260)
    assert len(np.unique(with_map[gap[1] : gap[3], gap[0] : gap[2]].reshape(-1, 3), axis=0)) == 1
    assert (without[gap[1] : gap[3], gap[0] : gap[2]] != with_map[gap[1] : gap[3], gap[0] : gap[2]]).any()


def test_bars_are_as_long_as_the_probabilities_and_the_action_taken_is_red():
    p = np.array([0.1, 0.2, 0.4, 0.3, 0.0], np.float32)
    frame = Picture(NAMES).draw(moment(probabilities=p, action=2))
    lengths = [(frame[y, ACTIONS[0] : ACTIONS[2]] == STEEL).all(-1).sum() for y in range(ACTIONS[1], ACTIONS[3])]
    longest = sorted({int(n) for n in lengths if n > 2})
    assert longest[-1] == pytest.approx(3 * longest[0], abs=3)  # 0.3 and 0.1 of the actions not taken
    taken = [(frame[y, ACTIONS[0] + 120 : ACTIONS[2]] == CHERRY).all(-1).sum() for y in range(ACTIONS[1], ACTIONS[3])]
    assert max(taken) == pytest.approx(4 * longest[0], abs=4)
    assert count(Picture(NAMES).draw(moment(probabilities=p, action=None, last=True)), ACTIONS, CHERRY) == 0


def test_many_actions_still_fit():
    names = [f"joint_action_number_{a}" for a in range(40)]
    p = np.random.default_rng(0).dirichlet(np.ones(40)).astype(np.float32)
    frame = Picture(names).draw(moment(probabilities=p, action=int(p.argmax())))
    assert count(frame, ACTIONS, CHERRY) > 50  # the likeliest are among those shown
    assert Picture(names).draw(moment(action=3)).shape == frame.shape


def test_rewards_stand_above_or_hang_below_their_line():
    picture = Picture(NAMES)
    for step, reward in enumerate((0.0, 2.0, 0.0, -2.0)):
        frame = picture.draw(moment(step=step, reward=reward))
    middle = TRACES[3] - 18
    gained, lost = ((frame[:, TRACES[0] : TRACES[2]] == colour).all(-1) for colour in (GOLD, STEEL))
    stems = slice(TRACES[0] + 60, TRACES[2])  # past the word "reward", which is golden too
    assert lost[middle + 1 : middle + 10].any()
    assert not lost[TRACES[1] : middle].any()
    assert gained[middle - 8, : stems.start].sum() == 2
    assert not gained[middle + 1 : TRACES[3]].any()


def test_the_value_is_drawn_to_scale_and_begins_anew_with_the_episode():
    picture = Picture(NAMES)
    plot = (TRACES[0] + 60, TRACES[1] + 18, TRACES[2] - 8, TRACES[1] + 58)
    for step in range(TRACE_STEPS + 50):
        picture.values.append(float(step))  # as so many steps would have
        picture.rewards.append(0.0)
    frame = picture.draw(moment(step=TRACE_STEPS + 50, value=TRACE_STEPS + 50.0))
    lit = (frame[plot[1] : plot[3], plot[0] : plot[2]] == CHERRY).all(-1)
    rows, columns = np.nonzero(lit)
    assert rows[columns < 20].mean() > rows[columns > lit.shape[1] - 20].mean() + 15  # it rises
    assert len(picture.values) == TRACE_STEPS
    frame = picture.draw(moment(step=0, value=1.0))
    assert count(frame, plot, CHERRY) == 0
    assert list(picture.values) == [1.0]


def test_vectors_are_bars_about_a_line():
    frame = Picture(NAMES).draw(moment(vector=np.array([1.0, -1.0, 0.5], np.float32)))
    middle = (VIEW[1] + VIEW[3]) // 2
    up, down = count(frame, (*VIEW[:3], middle), STEEL), count(frame, (VIEW[0], middle + 1, *VIEW[2:]), STEEL)
    assert up == pytest.approx(1.5 * down, rel=0.05)


def test_the_end_of_an_episode_is_said_and_numbers_are_short():
    over = Picture(NAMES).draw(moment(last=True))
    assert count(over, FACTS, CHERRY) > 30
    assert count(Picture(NAMES).draw(moment()), FACTS, CHERRY) == 0
    assert [as_text(x) for x in (3.0, -0.5, 2.346, 12345.678, 0.0)] == ["3", "-0.50", "2.35", "12,346", "0"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_drawn_as_such(bad):
    picture = Picture(NAMES)
    assert as_text(bad) == str(bad)
    picture.draw(moment(step=0, value=1.0))
    odd = moment(value=bad, reward=bad, episode_return=bad, vector=np.array([bad, 1.0], np.float32))
    plain = moment(vector=np.array([0.0, 1.0], np.float32))
    drawn = picture.draw(odd)
    assert count(drawn, VIEW, STEEL) == count(Picture(NAMES).draw(plain), VIEW, STEEL) > 0
    picture.draw(moment(vector=np.zeros(0, np.float32), reward=1.0))
