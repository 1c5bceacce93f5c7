"""Secrets in a command line, which is recorded and handed on with a run."""

from __future__ import annotations

import re
from collections.abc import Sequence

HIDDEN = "***"
NAME = (
    r"[\w.-]*(?:token|passw(?:or)?d|passphrase|secret|credentials?|(?:api|private|access|secret|account)[-_.]?key"
    r"|(?<![a-z])(?:key|pass|pwd|pw|auth|authorization|bearer|pat))"
)
"""What a setting is called whose value is a secret, in any case: --api-key, HF_TOKEN, auth, ..."""
KNOWN = (
    r"\b(?:hf_|gh[opsur]_|github_pat_|glpat-|sk-|xox[abprs]-|AKIA|AIza|wandb_v1_)[\w-]{12,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
)
"""How the tokens of well-known services, and signed ones (JWT), look."""


def masked(words: Sequence[str]) -> list[str]:
    """``words`` of a command line with *** for each secret: --token VALUE, --token=VALUE, key=VALUE (also inside of a
    word, as in the query of an address), user:password@ of an address, Bearer VALUE, and tokens known by their looks.
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
        return whole[1] + HIDDEN  # whatever is in it: passwords have spaces, commas and ampersands too
    word = re.sub(r"(\w+://)(?:[^\s/?#]*|[^\s/?#:@]*:(?!\d+[/?#])\S*)@", rf"\1{HIDDEN}@", word)
    value = r"(?:\"[^\"]*\"|'[^']*'|(?:(?:bearer|basic)\s+)?[^&\s,;]+)"
    word = re.sub(rf"({NAME}[\"']?\s*[=:]\s*){value}", rf"\1{HIDDEN}", word, flags=re.IGNORECASE)
    word = re.sub(r"(bearer\s+)\S+", rf"\1{HIDDEN}", word, flags=re.IGNORECASE)
    return re.sub(KNOWN, HIDDEN, word)
