"""Every setting, once, with its environment variable (the field's name in capitals, and its aliases)."""

from __future__ import annotations

import base64
from functools import lru_cache
from pathlib import Path
from typing import Self

from pydantic import AliasChoices, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent import strategies


class Settings(BaseSettings):
    """Read from the environment, then from `.env` in the working directory."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", populate_by_name=True)

    label_studio_url: str = Field(
        "http://localhost:8080", validation_alias=AliasChoices("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST")
    )
    """where Label Studio answers, seen from here"""
    label_studio_api_key: str = ""
    """a personal access token or a legacy token of a member of the projects"""
    redis_url: str = "redis://localhost:6379/0"
    """the queue; unix:///path/to/redis.sock works too"""
    queue_name: str = "mgral"
    """name of the RQ queue, for several installations on one Redis"""

    model_dir: Path = Path("data/models")
    """versions, rankings and what was predicted, one directory a project"""
    model_root: Path = Path("data/weights")
    """where weights named by `model_path` in a label config are looked for"""
    weights: str = "yolo11n.pt"
    """what a project's first version starts from: a published checkpoint, a path, or "starter" """
    allow_custom_model_path: bool = True
    """whether a label config's `model_path` may name weights below `model_root`"""
    cache_dir: Path = Path("data/cache")
    """image bytes fetched from Label Studio"""
    cache_gb: float = 5.0
    """size that the image cache may reach"""

    model_score_threshold: float = Field(0.25, ge=0, le=1)
    """boxes that score lower are not shown to annotators"""
    image_size: int = 0
    """side of the square images are fitted into; 0: 640 with a GPU, 320 without"""
    train_epochs: int = Field(10, ge=1)
    """passes over the labeled images, at least"""
    train_min_steps: int = Field(150, ge=1)
    """weight updates, at least"""
    batch: int = Field(16, ge=1)
    """images at once, in training and prediction"""
    seed: int = 0
    """of training and ranking"""
    strategy: str = "mgral"
    """how unlabeled tasks are ordered once something is labeled; before that it is coverage (kmeanspp)"""
    budget: int = Field(50, ge=1)
    """tasks in one batch: what a strategy chooses together"""
    mgral_hindsight: int = Field(8, ge=0)
    """batches of labeled images that a cycle measures for the agent"""
    mgral_surrogates: int = Field(0, ge=0)
    """batches of unlabeled images that a cycle measures for the agent"""
    mgral_steps: int = Field(30, ge=1)
    """weight updates of each"""
    mgral_time_budget: float = Field(0.0, ge=0)
    """seconds of one worker that these may take, fewer are measured where they would take more; 0: 1.5 times what the
    cycle's training took"""
    keep_versions: int = Field(5, ge=2)
    """model versions kept on disk"""
    keep_predictions: int = Field(3, ge=1)
    """published states whose predictions are kept in Label Studio; a version that was ranked twice counts twice"""

    start_training_each_n_updates: int = Field(0, ge=0)
    """train by itself after so many new annotations; 0: only when asked"""
    reconcile_seconds: int = Field(300, ge=5)
    """how often lost events and unpredicted tasks are looked for"""
    predict_live: int = Field(16, ge=0)
    """unpredicted tasks that a single request is answered at once; more are handed to the worker"""
    job_timeout: int = Field(24 * 3600, ge=60)
    """seconds after which a job counts as stuck"""

    port: int = 9090
    workers: int = Field(1, ge=1)
    threads: int = Field(8, ge=1)
    log_level: str = "INFO"
    basic_auth_user: str = ""
    basic_auth_pass: str = ""

    @field_validator("label_studio_url")
    @classmethod
    def _address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError(f"LABEL_STUDIO_URL {value!r}: must begin with http:// or https://")
        return value.rstrip("/")

    @field_validator("strategy")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in strategies.names():
            raise ValueError(f"STRATEGY {value!r}: one of {', '.join(strategies.names())}")
        return value

    @field_validator("image_size")
    @classmethod
    def _square(cls, value: int) -> int:
        if value and (value % 32 or value < 64):
            raise ValueError(f"IMAGE_SIZE {value}: must be 0 or a multiple of 32, at least 64")
        return value

    @field_validator("log_level")
    @classmethod
    def _level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError(f"LOG_LEVEL {value!r}: one of DEBUG, INFO, WARNING, ERROR")
        return value.upper()

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if bool(self.basic_auth_user) != bool(self.basic_auth_pass):
            raise ValueError("BASIC_AUTH_USER and BASIC_AUTH_PASS: set both or neither")
        return self

    @property
    def authorization(self) -> dict[str, str]:
        """The header that `mgral serve` asks for, and `mgral connect` puts on the webhook; empty without a password."""
        if not self.basic_auth_user:
            return {}
        pair = f"{self.basic_auth_user}:{self.basic_auth_pass}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings, read once."""
    return Settings()
