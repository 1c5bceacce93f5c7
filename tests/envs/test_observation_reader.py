"""Observations of Gymnasium's spaces: read whole and within their types, or refused."""

import gymnasium
import numpy as np
import pytest

from morello.envs.observation_reader import Reader


@pytest.mark.parametrize(
    ("dtype", "wrong"), [(np.uint8, np.uint16(256)), (np.uint8, np.int64(-1)), (np.int16, np.int64(2**15))]
)
def test_numbers_that_would_wrap_around_are_refused(dtype, wrong):
    shape = (2, 3, 5) if dtype == np.uint8 else (2,)
    reader = Reader(gymnasium.spaces.Box(0, np.iinfo(dtype).max, shape, dtype), "x")
    rows = {"image": np.zeros((3, 5, 2), np.uint8), "vector": np.zeros(2, np.float32)}
    words = f"is int64, not uint8|{wrong} to {wrong}, which {np.dtype(dtype)} cannot hold"
    with pytest.raises(ValueError, match=words):
        reader.write(np.full(shape, wrong), rows)
    assert reader.write(np.full(shape, 7, np.uint16 if dtype == np.uint8 else np.int64), rows) is None


def test_nothing_is_written_of_an_observation_of_which_a_part_is_wrong():
    space = gymnasium.spaces.Dict(image=gymnasium.spaces.Box(0, 255, (3, 5), np.uint8), v=gymnasium.spaces.Discrete(3))
    rows = {"image": np.zeros((3, 5, 1), np.uint8), "vector": np.zeros(3, np.float32)}
    with pytest.raises(ValueError, match="'v' is 9"):
        Reader(space, "x").write({"image": np.full((3, 5), 8, np.uint8), "v": 9}, rows)
    assert not rows["image"].any()


def test_whole_numbers_are_compared_as_such():
    most = 2**24 + 1  # which float32 rounds
    reader = Reader(gymnasium.spaces.Box(0, most, (1,), np.int64), "x")
    assert reader.write(np.array([most]), {"vector": np.zeros(1, np.float32)}) is None
    assert "beyond" in reader.write(np.array([most + 1]), {"vector": np.zeros(1, np.float32)})


def test_a_strip_of_colours_stays_one():
    assert Reader(gymnasium.spaces.Box(0, 255, (1, 9, 3), np.uint8), "x").observation["image"][0] == (1, 9, 3)
    assert Reader(gymnasium.spaces.Box(0, 255, (3, 9, 8), np.uint8), "x").observation["image"][0] == (9, 8, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("bound", [2.0, np.inf])
def test_what_is_not_finite_is_refused_whatever_the_bounds(value, bound):
    reader = Reader(gymnasium.spaces.Box(-bound, bound, (3,), np.float64), "x")
    row = np.zeros(3, np.float32)
    with pytest.raises(ValueError, match="not finite in float32"):
        reader.write(np.array([0, value, 0]), {"vector": row})
    assert reader.write(np.array([0, 2, -2]), {"vector": row}) is None
    assert row.tolist() == [0, 2, -2]


def test_text_of_a_space_of_its_own_is_left_out():
    class Mission(gymnasium.Space):
        def __init__(self):
            super().__init__(dtype=str)

    image = gymnasium.spaces.Box(0, 255, (7, 7, 3), np.uint8)
    assert list(Reader(gymnasium.spaces.Dict(image=image, mission=Mission()), "x").observation) == ["image"]
