from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.settings import Settings


def test_aliases_and_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LABEL_STUDIO_URL", raising=False)
    monkeypatch.setenv("LABEL_STUDIO_HOST", "https://studio.example.com/")
    settings = Settings(_env_file=None)
    assert settings.label_studio_url == "https://studio.example.com"
    assert settings.port == 9090


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LABEL_STUDIO_URL", "studio.example.com", "http://"),
        ("IMAGE_SIZE", "100", "multiple of 32"),
        ("STRATEGY", "astrology", "two_stage"),
        ("LOG_LEVEL", "loud", "INFO"),
        ("BASIC_AUTH_USER", "only", "BASIC_AUTH_PASS"),
        ("KEEP_VERSIONS", "1", "2"),
    ],
)
def test_a_bad_value_is_refused_with_what_would_do(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=said):
        Settings(_env_file=None)


def test_every_setting_is_documented() -> None:
    readme = (Path(__file__).parents[2] / "docs" / "SETTINGS.md").read_text()
    missing = [name.upper() for name in Settings.model_fields if f"{name.upper()}`" not in readme]
    assert not missing
