"""Extension of griffe: a field without a docstring is described in the reference by the comment after it."""

from __future__ import annotations

import ast
import io
import tokenize
from typing import Any

from griffe import Attribute, Docstring, Extension, ObjectNode

FOR_TOOLS = ("noqa", "fmt:", "type:", "pragma")


def comment_of(lines: list[str]) -> str:
    """Return the comment at the end of a statement; "" if there is none, or only one for tools."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO("\n".join(line.strip() for line in lines) + "\n").readline))
    except (tokenize.TokenError, SyntaxError):
        return ""
    comments = [token.string.lstrip("# ").strip() for token in tokens if token.type == tokenize.COMMENT]
    return comments[-1] if comments and not comments[-1].startswith(FOR_TOOLS) else ""


class TrailingComments(Extension):
    """Extension that describes ``discount: Tensor  # [B] float32`` by its comment."""

    def on_attribute_instance(self, *, node: ast.AST | ObjectNode, attr: Attribute, **_: Any) -> None:
        """Set an attribute's comment as its docstring."""
        if attr.docstring is None and (comment := comment_of(attr.lines)):
            attr.docstring = Docstring(comment, parent=attr)
