"""Encoding of frames as mp4."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...envs.errors import UserError
from .drawing import Pixels

FPS = 15
"""Frames, one per step, per second: real time if a step is four frames of a 60 Hz simulator."""


def write_video(pictures: Iterable[Pixels], out: Path, fps: int = FPS) -> None:
    """Write uint8 [H, W, 3] images, H and W even, as an H.264 video that common players support. ``out`` is written
    completely or not at all. UserError if ffmpeg is missing or fails.
    """
    stream = iter(pictures)
    first = next(stream)
    command = [
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        f"{first.shape[1]}x{first.shape[0]}",
        "-r",
        str(fps),
        "-i",
        "-",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-crf",
        "20",
        "-pix_fmt",
        "yuv420p",
        "-movflags",
        "+faststart",
        "-v",
        "error",
        "-y",
        "-f",
        "mp4",
    ]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # In a folder of its own: an ffmpeg that begins to write after this process has been stopped finds it gone.
        scratch = tempfile.TemporaryDirectory(
            prefix=f".tmp-{out.name}-", suffix=f"-{os.getpid()}", dir=out.parent, ignore_cleanup_errors=True
        )
        with scratch as folder, tempfile.TemporaryFile() as complaints:
            film = Path(folder, out.name)
            # A separate session: Ctrl-C reaches only this process, which ends ffmpeg.
            ffmpeg = subprocess.Popen(
                [_ffmpeg(), *command, str(film)], stdin=subprocess.PIPE, stderr=complaints, start_new_session=True
            )
            try:
                assert ffmpeg.stdin is not None
                with contextlib.suppress(BrokenPipeError), ffmpeg.stdin as pipe:
                    for picture in itertools.chain([first], stream):
                        pipe.write(np.ascontiguousarray(picture).data)
                ffmpeg.wait()
            finally:
                ffmpeg.kill()
                ffmpeg.wait()
            if ffmpeg.returncode:
                complaints.seek(0)
                said = " ".join(complaints.read().decode(errors="replace").split())
                raise UserError(f"ffmpeg could not write {out}: {said[:300] or f'exit code {ffmpeg.returncode}'}")
            film.replace(out)
    except OSError as error:
        raise UserError(f"the video {out} could not be written: {error.strerror or error}") from error


def _ffmpeg() -> str:
    import imageio_ffmpeg  # type: ignore[import-untyped]

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise UserError(
            "there is no ffmpeg to make a film with: install it, or point IMAGEIO_FFMPEG_EXE at one"
        ) from error
