from pathlib import Path

import pytest
from pydantic import ValidationError

from backend.settings import Settings, faults_of


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
        ("LABEL_STUDIO_PUBLIC_URL", "https://a, b.example.com", "'b.example.com': must begin with http://"),
        ("IMAGE_SIZE", "100", "multiple of 32"),
        ("STRATEGY", "astrology", "two_stage"),
        ("BUDGET_IN", "hours", "'images' or 'minutes'"),
        ("LOG_LEVEL", "loud", "INFO"),
        ("BASIC_AUTH_USER", "only", "BASIC_AUTH_PASS"),
        ("KEEP_VERSIONS", "1", "2"),
        ("MODEL_DIR", "s3:bucket/models", "s3://bucket/prefix"),
        ("MODEL_DIR", "s3:///models", "s3://bucket/prefix"),
    ],
)
def test_a_bad_value_is_refused_with_what_would_do(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=said):
        Settings(_env_file=None)


def test_minutes_are_saved_by_mgral_alone() -> None:
    """The others do not know what a batch gains."""
    assert Settings(_env_file=None, budget_in="minutes").budget_in == "minutes"
    with pytest.raises(ValidationError, match="BUDGET_IN=minutes needs STRATEGY=mgral: entropy does not know"):
        Settings(_env_file=None, budget_in="minutes", strategy="entropy")


def test_models_lie_in_a_directory_or_at_a_url(tmp_path: Path) -> None:
    files = Settings(_env_file=None, model_dir=tmp_path).artefacts
    assert (files.url, files.local, files.copied) == (str(tmp_path), tmp_path, False)
    settings = Settings(_env_file=None, model_dir="s3://bucket/prefix", cache_dir=tmp_path)
    assert settings.artefacts is settings.artefacts
    assert settings.artefacts.copied
    assert settings.artefacts.local.is_relative_to(tmp_path)


def test_every_setting_is_documented() -> None:
    readme = (Path(__file__).parents[2] / "docs" / "SETTINGS.md").read_text()
    missing = [name.upper() for name in Settings.model_fields if f"{name.upper()}`" not in readme]
    assert not missing


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"BUDGET_IN": "hours"}, "BUDGET_IN 'hours': input should be 'images' or 'minutes'"),
        ({"BATCH": "abc"}, "BATCH 'abc': input should be a valid integer, unable to parse string as an integer"),
        ({"BUDGET_IN": "minutes", "STRATEGY": "random"}, "BUDGET_IN=minutes needs STRATEGY=mgral: random does not"),
        ({"BATCH": "0.5", "LOG_FORMAT": "xml"}, "; LOG_FORMAT 'xml': input should be 'text' or 'json'"),
    ],
)
def test_what_is_wrong_is_told_by_name_and_value(
    given: dict[str, str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as raised:
        Settings(_env_file=None)
    assert said in faults_of(raised.value)
    assert "Value error" not in faults_of(raised.value)


@pytest.mark.parametrize("name", ["", " ", "a\nb", "mgral-train", "mgral-low"])
def test_a_queue_name_that_would_meet_others_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="QUEUE_NAME"):
        Settings(_env_file=None, queue_name=name)


def test_a_queue_name_is_read_without_the_blanks_around_it() -> None:
    assert Settings(_env_file=None, queue_name=" team a\n").queue_name == "team a"
