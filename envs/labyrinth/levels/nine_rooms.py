"""nine_rooms, nine_rooms_tv and nine_rooms_remote: rooms without reward, to measure coverage; two have a noisy TV."""

from __future__ import annotations

from ..level import Blocks, Level, Television
from .rooms_chain import ACTIONS, TEXTURES

MAP = """
#############
#ggg#hhh#iii#
#ggg.hhh.iii#
#ggg#hhh#iii#
##.###.###.##
#ddd#eee#fff#
#ddd.eee.fff#
#ddd#eee#fff#
##.###.###.##
#aaa#bbb#ccc#
#aaa.bbb.ccc#
#aaa#bbb#ccc#
#############
""".strip()
QUARTER = 0.25


def nine_rooms(suffix: str, seen: str, television: Television | None) -> Level:
    """Return the rooms, seen with a ``television``."""
    return Level(
        name=f"nine_rooms{suffix}",
        summary=f"3 x 3 rooms without reward, to measure coverage; the agent starts in a corner room{seen}.",
        layout=Blocks(MAP, textures=TEXTURES),
        seconds=60,
        actions=ACTIONS,
        starts=((250.0, 250.0, None),),
        television=television,
        wall="brick_grey",
        floor="floor_stone",
        ceiling="ceiling_plaster",
    )


LEVELS = [
    nine_rooms("", "", None),
    nine_rooms("_tv", ". A quarter of the image is noise", Television(QUARTER)),
    nine_rooms(
        "_remote", ". A quarter of the image is noise that one more action changes", Television(QUARTER, remote=True)
    ),
]
