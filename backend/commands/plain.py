"""Text of others at a prompt: names, notes and errors that somebody may have written to do something to a terminal."""

from __future__ import annotations

import re

CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but tab and newline, and what turns the direction of the text after it."""


def plain(text: str) -> str:
    r"""The text with its control characters written out.

    >>> print(plain("stop\x1b[2J sign"))
    stop\x1b[2J sign
    """
    return CONTROLS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
