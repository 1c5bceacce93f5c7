"""Make docs/pictures/arena.webp, the film in the README, from the run that `make demo` leaves in runs/demo.

python docs/make_film.py runs/demo
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

from morello.agents.video.film import watch

OUT = Path(__file__).parent / "pictures" / "arena.webp"
WIDTH, HEIGHT = 640, 360
LARGEST = 2_000_000
"""Maximum size in bytes: a larger file takes too long to load in a README."""


def read(film: Path, start: float, seconds: float, rate: float) -> list[Image.Image]:
    """Read frames of a film from ``start`` on, scaled down, ``rate`` per second."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    scaled = f"fps={rate},scale={WIDTH}:{HEIGHT}:flags=lanczos"
    words = [program, "-loglevel", "error", "-ss", str(start), "-t", str(seconds), "-i", str(film), "-vf", scaled]
    raw = subprocess.run([*words, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True).stdout
    return [Image.fromarray(frame) for frame in np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)]


def main() -> None:
    """Film an episode of the agent and write a part of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--start", type=float, default=2.0, help="seconds of the episode to skip")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second")
    parser.add_argument("--quality", type=int, default=55, help="WebP quality, 0 to 100")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        film = watch(flags.run, out=Path(folder) / "film.mp4")
        frames = read(film, flags.start, flags.seconds, flags.rate)
    frames[0].save(
        OUT,
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 / flags.rate),
        loop=0,
        quality=flags.quality,
        method=6,
    )
    size = OUT.stat().st_size
    print(f"{OUT}: {len(frames)} frames, {size:,} bytes")
    if size > LARGEST:
        raise SystemExit(f"more than {LARGEST:,} bytes: lower --quality, --rate or --seconds")


if __name__ == "__main__":
    main()
