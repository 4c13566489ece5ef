"""Keeping what is secret in URLs out of what people see."""

from __future__ import annotations

import re

USER = re.compile(r"://[^/\s]*@")


def redacted(text: str) -> str:
    """The text with no user and password in any of its URLs."""
    return USER.sub("://", text)
