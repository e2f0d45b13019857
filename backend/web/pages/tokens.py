"""Signed texts: proof that a form came from one of our pages, and what a page says after a change.

Signed with itsdangerous, which Flask brings. Its users with CSRF protection ready made, such as Flask-WTF, keep a
session in a cookie; with HTTP Basic there is none. The key follows from the installation's secrets, so that all
processes of all machines know it and it is stored nowhere.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from functools import lru_cache

from itsdangerous import BadSignature, URLSafeTimedSerializer

from backend.settings import Settings

FORM_SECONDS = 12 * 3600  # that a page may stay open before one of its buttons is pressed
SAID_SECONDS = 30


class Tokens:
    """Of one user."""

    def __init__(self, settings: Settings) -> None:
        self.user = settings.basic_auth_user
        key = _key(tuple(settings.secrets))
        self._form, self._said = (URLSafeTimedSerializer(key, salt=f"mgral.{name}") for name in ("form", "said"))

    def form(self) -> str:
        """For a hidden field of a form."""
        return str(self._form.dumps(self.user))

    def is_ours(self, token: str) -> bool:
        """Whether a form was sent from a page of ours, that this user was shown not too long ago."""
        try:
            return bool(self._form.loads(token, max_age=FORM_SECONDS) == self.user)
        except BadSignature:
            return False

    def say(self, line: str) -> str:
        """For an address: a line that the page there is to show."""
        return str(self._said.dumps(line))

    def said(self, token: str) -> str:
        """The line; "" where nobody said it a moment ago."""
        try:
            return str(self._said.loads(token, max_age=SAID_SECONDS))
        except BadSignature:
            return ""


@lru_cache(maxsize=4)
def _key(secrets: tuple[str, ...]) -> bytes:
    """Without a secret only this process knows it."""
    if not secrets:
        return os.urandom(32)
    return hmac.digest(b"mgral pages", "\0".join(secrets).encode(), hashlib.sha256)
