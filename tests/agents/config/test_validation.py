"""Types and ranges beside the fields: one sentence for what is refused, and nothing refused that cannot be judged."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from msgspec import Meta

from morello.agents.config.validation import converted, ranges_of, validated, validated_field
from morello.auxiliaries import LossConfig
from morello.envs.errors import UserError


@dataclass(frozen=True)
class Numbers:
    count: Annotated[int, Meta(ge=1)] = 1
    few: Annotated[int, Meta(ge=1, le=2**20)] = 1
    seed: Annotated[int, Meta(ge=0, lt=2**62)] = 0
    cost: Annotated[float, Meta(ge=0)] = 0.0
    rate: Annotated[float, Meta(gt=0)] = 1.0
    ratio: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    decay: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    size: tuple[Annotated[int, Meta(ge=1)], Annotated[int, Meta(ge=1)]] | None = None
    limit: Annotated[int, Meta(ge=1)] | None = None
    fours: Annotated[int, Meta(ge=4, multiple_of=4)] = 4
    word: Literal["near", "far"] = "near"
    free: float = 0.0


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("count", 0, "--x.count must be at least 1 and below 2^63, not 0."),
        ("count", 2**63, f"--x.count must be at least 1 and below 2^63, not {2**63}."),
        ("count", "3", "--x.count must be of type int, not '3'."),
        ("count", 3.0, "--x.count must be of type int, not 3.0."),
        ("count", True, "--x.count must be of type int, not True."),
        ("few", 2**20 + 1, f"--x.few must be between 1 and 2^20, not {2**20 + 1}."),
        ("seed", -1, "--x.seed must be at least 0 and below 2^62, not -1."),
        ("cost", math.inf, "--x.cost must be at least 0 and finite, not inf."),
        ("rate", math.nan, "--x.rate must be more than 0 and finite, not nan."),
        ("rate", 0, "--x.rate must be more than 0 and finite, not 0."),
        ("ratio", 1001, "--x.ratio must be more than 0 and at most 1000, not 1001."),
        ("decay", 1.0, "--x.decay must be at least 0 and below 1, not 1.0."),
        ("size", (0, 3), "--x.size must be at least 1 and below 2^63, not (0, 3)."),
        ("size", (3,), "--x.size must be of type tuple[int, int] | None, not (3,)."),
        ("limit", 0, "--x.limit must be at least 1 and below 2^63, not 0."),
        ("fours", 6, "--x.fours must be a multiple of 4, at least 4 and below 2^63, not 6."),
        ("word", "fat", "Unknown x.word 'fat': "),
    ],
)
def test_what_is_refused_is_said_with_its_flag_its_range_and_what_was_given(name, value, said):
    with pytest.raises(UserError) as caught:
        validated(Numbers(**{name: value}), "x.")
    assert str(caught.value).startswith(said)


def test_values_become_those_of_their_fields():
    found = validated(Numbers(cost=1, size=[3, 4], rate=np.float64(0.5), free=math.inf))
    assert found == Numbers(cost=1.0, size=(3, 4), rate=0.5, free=math.inf)
    assert [type(v) for v in (found.cost, found.size, found.rate)] == [float, tuple, float]
    assert validated(found) == found
    assert validated_field(Numbers, "limit", None) is None


class Thing:
    pass


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = (3,)


@dataclass(frozen=True)
class Narrower(Inner):
    more: int = 3


@dataclass(frozen=True)
class Own(LossConfig):
    """Of somebody's own: types that msgspec does not take, and the weight declared anew."""

    thing: Thing | int = 3
    inner: Inner = Inner()
    maybe: Inner | None = None
    table: dict[str, Inner] = field(default_factory=dict)
    lists: tuple[int, ...] | list[int] = ()
    rates: Literal[0.5, 1.0] = 0.5
    call: Callable[[int], int] = abs
    anything: Any = None
    several: Sequence[int] = (1, 2)
    array: np.ndarray = field(default_factory=lambda: np.zeros(3))
    gamma: float = 7.0
    weight: float = 0.0


def test_types_that_cannot_be_judged_are_let_through():
    inner = {"inner": Narrower(), "maybe": Inner(), "table": {"a": Narrower()}}
    own = Own(**inner, thing=Thing(), lists=[1], anything={"a": Thing()}, weight=1.0)
    found = validated(own)
    assert (found.thing, found.lists, found.anything, list(found.several)) == (own.thing, [1], own.anything, [1, 2])
    assert {name: getattr(found, name) for name in inner} == inner
    assert validated(Own()).maybe is None
    assert converted("x", Thing | int) == "x"
    assert converted({"sizes": [1, 2]}, Inner | None) == Inner((1, 2))  # as a folder has it


def test_a_weight_that_is_declared_anew_keeps_its_range():
    assert ranges_of(Own).keys() == {"weight"}
    with pytest.raises(UserError, match=r"--weight must be at least 0 and finite, not -1\.0\."):
        validated(Own(weight=-1.0))
