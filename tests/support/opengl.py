"""The system's OpenGL, or a skip."""

import pytest


def opengl():
    """The way MiniWorld draws here; skips, with what to install, where it cannot."""
    from morello.envs.adapters.miniworld import way_to_draw
    from morello.envs.errors import UserError

    try:
        return way_to_draw()
    except UserError as error:
        pytest.skip(str(error))
