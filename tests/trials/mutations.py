"""Ways to damage a file, as disks, editors and enemies do."""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    3,
    2**31,
    2**63,
    2**80,
    10**400,
    1e-300,
    1e300,
    float("inf"),
    float("nan"),
    "",
    "x",
    "none",
    "$x_$",
    "a/b:c",
    "gym:nowhere:X-v0",
    "\0",
    "\ud800",
    "é" * 300,
    [],
    [[]],
    {},
    {"x": 1},
    [1, "a", None],
    [0, 0],
    {"tensor": "nothing"},
)
"""JSON values to put where others were."""


def damage(path: Path, chance: random.Random) -> str:
    """Change the file somehow; how, in a word."""
    kinds: list[Callable[[Path, random.Random], None]] = [_bytes] * 6 + [_cut] * 2 + [_other_kind, _deep, _not_utf8]
    if path.suffix in (".json", ".jsonl"):
        kinds += [_value] * 12
    kind = chance.choice(kinds)
    kind(path, chance)
    return kind.__name__.strip("_")


def forge(checkpoint: Path) -> None:
    """Make the hashes of a damaged checkpoint right, as who damages it on purpose would."""
    manifest = checkpoint / "manifest.json"
    try:
        found = json.loads(manifest.read_bytes())
        for name in found["sha256"]:
            found["sha256"][name] = hashlib.sha256((checkpoint / name).read_bytes()).hexdigest()
        manifest.write_text(json.dumps(found))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass  # it is the manifest that is damaged


def _bytes(path: Path, chance: random.Random) -> None:
    """Flip, delete, double or overwrite a few bytes."""
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 1, 2, 8))):
        at, length = chance.randrange(len(data) + 1), chance.choice((1, 1, 3, 40))
        piece = data[at : at + length]
        data[at : at + length] = chance.choice(
            (
                bytes(b ^ (1 << chance.randrange(8)) for b in piece),
                b"",
                piece * 2,
                chance.randbytes(length),
                bytes(length),
                chance.choice((b'"', b"}", b"[", b",", b"-", b"9" * 20, b"e99", b"null")),
            )
        )
    path.write_bytes(data)


def _cut(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: chance.choice((0, 1, chance.randrange(1 + path.stat().st_size)))])


def _other_kind(path: Path, chance: random.Random) -> None:
    """A pipe, a socket, a device, a folder, a link to nothing or to itself, or nothing; or what cannot be read."""
    kind = chance.choice(("pipe", "socket", "device", "folder", "loop", "dangling", "missing", "unreadable", "large"))
    if kind == "unreadable":
        path.chmod(0)
        return
    if kind == "large":
        os.truncate(path, 2**36)
        return
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = os.open(path.parent, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as server:  # its paths are short
            server.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)
    elif kind == "folder":
        path.mkdir()
    elif kind != "missing":
        path.symlink_to({"device": Path("/dev/zero"), "loop": path, "dangling": path.with_name("nothing")}[kind])


def _deep(path: Path, chance: random.Random) -> None:
    depth = chance.choice((50, 120, 990, 5_000, 200_000))
    opening, closing = chance.choice((("[", "]"), ('{"a":', "}"), ('{"dict":[["a",', "]]}")))
    path.write_text(opening * depth + "1" + closing * depth + "\n")


def _not_utf8(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes().decode(errors="replace").encode(chance.choice(("utf-16", "utf-32", "utf-7"))))


def _value(path: Path, chance: random.Random) -> None:
    """Replace, delete or rename something in JSON that stays JSON."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
    n = chance.randrange(len(lines))
    tree = json.loads(lines[n])
    for _ in range(chance.choice((1, 1, 3))):
        tree = _changed(tree, chance)
    lines[n] = json.dumps(tree)
    path.write_text("\n".join(lines) + "\n")


def _changed(tree: Any, chance: random.Random) -> Any:
    places: list[tuple[Any, Any]] = []
    level = [tree]
    while level:
        node = level.pop()
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in list(items)[:200]:
            places.append((node, key))
            level.append(value)
    if not places or chance.random() < 0.03:
        return chance.choice(ODD)
    node, key = chance.choice(places)
    how = chance.random()
    if how < 0.15:
        del node[key]
    elif how < 0.25 and isinstance(node, dict):
        node[chance.choice(("x", "", key + key))] = node.pop(key)
    elif how < 0.5 and isinstance(node[key], int | float) and not isinstance(node[key], bool):
        node[key] = node[key] * chance.choice((-1, 0, 2, 1000, 10**9)) + chance.choice((0, 1))
    else:
        node[key] = chance.choice(ODD)
    return tree
