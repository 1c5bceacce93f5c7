"""Whether a process is there."""

from pathlib import Path


def alive(pid):
    """Not gone, and not a zombie that nobody has collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
