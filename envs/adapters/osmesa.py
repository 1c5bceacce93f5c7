"""MiniWorld without any window system: Mesa's off-screen library, OSMesa, replaces EGL for its pyglet 1.5.

Debian's package is libosmesa6 (Mesa removed it in 25.1). pyglet's headless windows call about a dozen functions of EGL,
which are emulated here, and OpenGL's own, which libOSMesa exports under their usual names.
"""

from __future__ import annotations

import ctypes
from ctypes.util import find_library
from importlib import import_module
from typing import Any

RGBA, UNSIGNED_BYTE = 0x1908, 0x1401
WIDTH, HEIGHT = 0x3057, 0x3056  # EGL attributes of a surface


class Egl:
    """EGL's functions, as attributes of a library loaded by ctypes: pyglet sets their types and calls them."""

    def __init__(self, mesa: ctypes.CDLL) -> None:
        self._mesa = mesa
        mesa.OSMesaCreateContextExt.restype = ctypes.c_void_p
        mesa.OSMesaCreateContextExt.argtypes = [ctypes.c_uint, *[ctypes.c_int] * 3, ctypes.c_void_p]
        mesa.OSMesaMakeCurrent.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_int]
        mesa.OSMesaDestroyContext.argtypes = [ctypes.c_void_p]

    def __getattr__(self, name: str) -> Any:
        def answer(*arguments: Any) -> Any:
            return getattr(Egl, f"_{name}", Egl._nothing)(self, *arguments)

        setattr(self, name, answer)  # cached, to keep the types that pyglet sets
        return answer

    def _nothing(self, *_: Any) -> int:
        return 1  # true: success

    def _eglQueryDevicesEXT(self, _room: int, _devices: Any, count: Any) -> int:  # noqa: N802 (EGL's name)
        count._obj.value = 1
        return 1

    def _eglChooseConfig(self, _display: Any, _attributes: Any, _room: Any, _size: int, count: Any) -> int:  # noqa: N802
        count._obj.value = 1
        return 1

    def _eglCreateContext(self, _display: Any, _config: Any, shared: int | None, _attributes: Any) -> int | None:  # noqa: N802
        context: int | None = self._mesa.OSMesaCreateContextExt(RGBA, 24, 0, 0, shared)
        return context

    def _eglCreatePbufferSurface(self, _display: Any, _config: Any, attributes: Any) -> Any:  # noqa: N802
        size = dict(zip(attributes[:-1:2], attributes[1::2], strict=True))
        return ctypes.create_string_buffer(4 * size[WIDTH] * size[HEIGHT]), size[WIDTH], size[HEIGHT]

    def _eglMakeCurrent(self, _display: Any, surface: Any, _read: Any, context: int | None) -> int:  # noqa: N802
        pixels, width, height = surface or (None, 0, 0)
        return int(self._mesa.OSMesaMakeCurrent(context, pixels, UNSIGNED_BYTE, width, height))

    def _eglDestroyContext(self, _display: Any, context: int) -> int:  # noqa: N802
        self._mesa.OSMesaDestroyContext(context)
        return 1


def use() -> None:
    """Make pyglet, of which only the options may have been imported, draw through OSMesa. OSError if it is missing."""
    lib: Any = import_module("pyglet.lib")
    path = find_library("OSMesa") or "libOSMesa.so.8"
    mesa = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)  # global, so that libGLU finds its OpenGL here
    others, stand_in = lib.load_library, {"GL": mesa, "EGL": Egl(mesa)}
    lib.load_library = lambda *names, **options: stand_in.get(names[0]) or others(*names, **options)
