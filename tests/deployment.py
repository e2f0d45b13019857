"""The files that install the product, as the tests read them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import AliasChoices
from pydantic_settings import SettingsConfigDict

from backend.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text()


class Bare(Settings):
    """Settings that look at the environment alone."""

    model_config = SettingsConfigDict(env_file=None)


def environment_names() -> set[str]:
    """Every environment variable that Settings reads."""
    names = {name.upper() for name in Settings.model_fields}
    for field in Settings.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            names |= {str(choice) for choice in field.validation_alias.choices}
    return names


def resolved(value: object) -> str:
    """A compose value as a container gets it, with every variable that has no default given as 40 digits."""
    return re.sub(r"\$\{\w+(?::-([^}]*)|:\?[^}]*)\}", lambda m: "0" * 40 if m[1] is None else m[1], str(value))


def mebibytes(size: object) -> float:
    """A size as compose (`4g`, `512m`) or Kubernetes (`4Gi`, `512Mi`) writes it."""
    digits, unit = re.fullmatch(r"(\d+)([gm]|[GM]i)", resolved(size)).groups()  # type: ignore[union-attr]
    return float(digits) * (1024 if unit in ("g", "Gi") else 1)
