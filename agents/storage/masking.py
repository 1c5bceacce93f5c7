"""Masking of secrets in a command line, which is recorded and shared with a run."""

from __future__ import annotations

import re
from collections.abc import Sequence

HIDDEN = "***"
NAME = (
    r"[\w.-]*(?:token|passw(?:or)?d|passphrase|secret|credentials?|(?:api|private|access|secret|account)[-_.]?key"
    r"|(?<![a-z])(?:key|pass|pwd|pw|auth|authorization|bearer|pat))"
)
"""Pattern of names of settings whose values are secret, in any case: --api-key, HF_TOKEN, auth, ..."""
KNOWN = (
    r"\b(?:hf_|gh[opsur]_|github_pat_|glpat-|sk-|xox[abprs]-|AKIA|AIza|wandb_v1_)[\w-]{12,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
)
"""Pattern of the tokens of well-known services, and of signed ones (JWT)."""


def masked(words: Sequence[str]) -> list[str]:
    """Return the ``words`` of a command line with *** for each secret: --token VALUE, --token=VALUE, key=VALUE (also
    within a word, as in a URL query), user:password@ in a URL, Bearer VALUE, and tokens of known format.
    """
    hidden, secret_next = [], False
    for word in words:
        if secret_next and not word.startswith("--"):
            hidden.append(HIDDEN)
            secret_next = False
            continue
        hidden.append(_masked(word))
        secret_next = re.fullmatch(rf"-+{NAME}", word, re.IGNORECASE) is not None
    return hidden


def _masked(word: str) -> str:
    if whole := re.fullmatch(rf"(-*{NAME}\s*[=:]\s*).+", word, re.IGNORECASE | re.DOTALL):
        return whole[1] + HIDDEN  # all of it: passwords may contain spaces, commas and ampersands
    word = re.sub(r"(\w+://)(?:[^\s/?#]*|[^\s/?#:@]*:(?!\d+[/?#])\S*)@", rf"\1{HIDDEN}@", word)
    value = r"(?:\"[^\"]*\"|'[^']*'|(?:(?:bearer|basic)\s+)?[^&\s,;]+)"
    word = re.sub(rf"({NAME}[\"']?\s*[=:]\s*){value}", rf"\1{HIDDEN}", word, flags=re.IGNORECASE)
    word = re.sub(r"(bearer\s+)\S+", rf"\1{HIDDEN}", word, flags=re.IGNORECASE)
    return re.sub(KNOWN, HIDDEN, word)
