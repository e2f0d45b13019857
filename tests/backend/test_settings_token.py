"""The token as files of secrets hold it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from backend.settings import Settings


def test_blanks_around_the_token_are_stripped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", " secret\n")
    assert Settings(_env_file=None).label_studio_api_key == "secret"


def test_blanks_within_it_are_refused_and_it_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "secret\nother")
    with pytest.raises(ValidationError, match="LABEL_STUDIO_API_KEY holds blanks") as raised:
        Settings(_env_file=None)
    assert "secret" not in str(raised.value)
