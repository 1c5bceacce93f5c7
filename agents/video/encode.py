"""Encoding of frames as mp4."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
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
    scratch = out.with_name(f".tmp-{out.name}-{os.getpid()}")
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
        str(scratch),
    ]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile() as complaints:
            arguments = [_ffmpeg(), *command]
            ffmpeg: subprocess.Popen[bytes] | None = None
            try:
                # A separate session: Ctrl-C reaches only this process, which ends ffmpeg. It waits until ffmpeg has
                # begun: one that nobody knew of would leave its file behind.
                before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1})
                try:
                    ffmpeg = subprocess.Popen(
                        arguments, stdin=subprocess.PIPE, stderr=complaints, start_new_session=True
                    )
                finally:
                    signal.pthread_sigmask(signal.SIG_SETMASK, before)
                assert ffmpeg.stdin is not None
                with contextlib.suppress(BrokenPipeError), ffmpeg.stdin as pipe:
                    for picture in itertools.chain([first], stream):
                        pipe.write(np.ascontiguousarray(picture).data)
                ffmpeg.wait()
            finally:
                if ffmpeg is not None:
                    ffmpeg.kill()
                    with ffmpeg:  # closes its input and waits
                        pass
            if ffmpeg.returncode:
                complaints.seek(0)
                said = " ".join(complaints.read().decode(errors="replace").split())
                raise UserError(f"ffmpeg could not write {out}: {said[:300] or f'exit code {ffmpeg.returncode}'}")
        scratch.replace(out)
    except OSError as error:
        raise UserError(f"the video {out} could not be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):  # not created, or its parent is not a folder
            scratch.unlink()


def _ffmpeg() -> str:
    import imageio_ffmpeg  # type: ignore[import-untyped]

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise UserError(
            "there is no ffmpeg to make a film with: install it, or point IMAGEIO_FFMPEG_EXE at one"
        ) from error
