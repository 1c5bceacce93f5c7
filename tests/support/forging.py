"""Checkpoints that are not what they were, with hashes that say they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from .checkpoints import two as two  # a fixture


def forge(path: Path, name: str, data: bytes) -> None:
    """Put other content into a checkpoint, hash and all."""
    (path / name).write_bytes(data)
    manifest = json.loads((path / "manifest.json").read_bytes())
    manifest["sha256"][name] = hashlib.sha256(data).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))
