"""Every setting, once, with its environment variable (the field's name in capitals, and its aliases)."""

from __future__ import annotations

import base64
import re
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AliasChoices, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent import strategies
from backend.networks import Networks, NetworksError
from backend.redaction import forms
from model.artefacts import Artefacts
from model.data import limits
from model.thresholds import USUAL, Costs

QUEUES = ("-train", "-low")  # ends of the names of an installation's queues
HIDDEN = ("_KEY", "_PASS", "_URL", "_TOKEN")  # ends of the names of settings whose values no line may show


class Settings(BaseSettings):
    """Read from the environment, then from `.env` in the working directory."""

    model_config = SettingsConfigDict(
        env_file=".env",
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,  # a token is among them
    )

    label_studio_url: str = Field(
        "http://localhost:8080", validation_alias=AliasChoices("LABEL_STUDIO_URL", "LABEL_STUDIO_HOST")
    )
    """where Label Studio answers, seen from here"""
    label_studio_public_url: str = ""
    """further addresses of the same Label Studio, as people and tasks name it, separated by commas"""
    label_studio_api_key: str = Field("", repr=False)
    """a personal access token or a legacy token of a member of the projects"""
    redis_url: str = Field("redis://localhost:6379/0", repr=False)
    """the queue; unix:///path/to/redis.sock works too"""
    queue_name: str = "mgral"
    """name of the RQ queue, for several installations on one Redis"""

    model_dir: str = "data/models"
    """versions, rankings and what was predicted, one directory a project; a directory, or a URL as s3://bucket/prefix"""
    model_root: Path = Path("data/weights")
    """where weights named by `model_path` in a label config are looked for"""
    weights: str = "yolo11n.pt"
    """what a project's first version starts from: a published checkpoint, a path, or "starter" """
    allow_custom_model_path: bool = True
    """whether a label config's `model_path` may name weights below `model_root`"""
    cache_dir: Path = Path("data/cache")
    """image bytes fetched from Label Studio, and where `model_dir` is a URL, a copy of what was used"""
    cache_gb: float = 5.0
    """size that the image cache may reach"""
    image_seconds: float = Field(60.0, gt=0)
    """that the download of one image may take; it is left out where it takes longer, and tried again later"""
    image_megabytes: float = Field(100.0, gt=0)
    """that the file of one image may have"""
    image_megapixels: float = Field(128.0, gt=0)
    """that one image may have; all that are decoded at once in a process have no more together"""
    image_networks: str = ""
    """where images may lie beside public addresses: networks, and hosts with or without a port, separated by commas"""

    model_score_threshold: float = Field(USUAL, ge=0, le=1)
    """boxes that score lower are not shown to annotators; where nobody sets it, each class of a trained version has a
    threshold of its own"""
    seconds_to_delete: float = Field(Costs.delete, gt=0)
    """that an annotator takes to delete a wrong box, or to give it another label; see `model.thresholds.Costs`"""
    seconds_to_draw: float = Field(Costs.draw, gt=0)
    """that an annotator takes to draw a box"""
    image_size: int = 0
    """side of the square images are fitted into; 0: 640 with a GPU, 320 without"""
    several_annotations: Literal["newest", "majority"] = "newest"
    """which annotation of a task counts where several people made one, and none is a ground truth: the newest, or their
    boxes merged, where most of them drew one"""
    train_epochs: int = Field(10, ge=1)
    """passes over the labeled images, at least"""
    train_min_steps: int = Field(150, ge=1)
    """weight updates, at least"""
    cross_fitting: bool = True
    """whether the worker judges a new model on all labeled images, by two more trainings after the order is live, until
    the holdout is large enough to tell"""
    batch: int = Field(16, ge=1)
    """images at once, in training and prediction"""
    seed: int = 0
    """of training and ranking"""
    strategy: str = "mgral"
    """how unlabeled tasks are ordered once something is labeled; before that it is coverage (kmeanspp)"""
    budget: int = Field(50, ge=1)
    """tasks in one batch: what a strategy chooses together"""
    budget_in: Literal["images", "minutes"] = "images"
    """what the order saves: a batch is to gain most by its images, or by the minutes that annotators take for it; what
    an annotation takes is learned in each project"""
    mgral_measure: Literal["auto", "always"] = "auto"
    """whether mgral measures batches only where that can tell one from another, or always"""
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
    reconcile_seconds: int = Field(300, ge=1)
    """how often lost events and unpredicted tasks are looked for"""
    predict_live: int = Field(16, ge=0)
    """unpredicted tasks that a single request is answered at once; more are handed to the worker"""
    predict_seconds: float = Field(40.0, gt=0, le=60)
    """that the images of one request may take; those that come later are handed to the worker"""
    detectors_in_memory: int = Field(4, ge=1)
    """of all projects, in each process"""
    job_timeout: int = Field(24 * 3600, ge=60)
    """seconds after which a job counts as stuck"""

    max_waiting_jobs: int = Field(1000, ge=1)
    """jobs that may wait in the queue; requests for more are answered 503"""
    max_body_mb: float = Field(32.0, gt=0)
    """size of a request; larger ones are answered 413"""

    listen: str = ""
    """the address that `mgral serve` listens at; empty: 0.0.0.0 where a password is set, else 127.0.0.1"""
    port: int = Field(9090, ge=1, le=65535)
    workers: int = Field(1, ge=1)
    threads: int = Field(8, ge=1)
    log_level: str = "INFO"
    log_format: Literal["text", "json"] = "text"
    """of log lines: for people, or one JSON object a line"""
    basic_auth_user: str = ""
    basic_auth_pass: str = Field("", repr=False)

    @field_validator("label_studio_url")
    @classmethod
    def _address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError(f"LABEL_STUDIO_URL {value!r}: must begin with http:// or https://")
        return value.rstrip("/")

    @field_validator("redis_url")
    @classmethod
    def _queue(cls, value: str) -> str:
        """The value is never shown: a password is in it."""
        try:
            parts = urlsplit(value)
            usable = parts.scheme in ("redis", "rediss", "unix") and (parts.port is None or parts.port > 0)
            usable = usable and "@" not in f"{parts.path}{parts.query}{parts.fragment}"
        except ValueError:
            usable = False
        if not usable:
            raise ValueError(
                "REDIS_URL: must be redis://host:port/0 or unix:///path; a password stands before the host, between : "
                "and @, and / # ? @ in it are written as %2F %23 %3F %40"
            )
        return value

    @field_validator("queue_name")
    @classmethod
    def _name(cls, value: str) -> str:
        name = value.strip()
        if not name or not name.isprintable() or name.endswith(QUEUES):
            raise ValueError(
                f"QUEUE_NAME {value!r}: must be a name that does not end in {' or '.join(QUEUES)}: an installation has "
                "queues of its own name with these ends"
            )
        return name

    @field_validator("listen")
    @classmethod
    def _listening(cls, value: str) -> str:
        bare = value.strip().removeprefix("[").removesuffix("]")
        if not re.fullmatch(r"[\w.:-]*", bare):
            raise ValueError(f"LISTEN {value!r}: must be an address such as 0.0.0.0 or 127.0.0.1, without the port")
        return bare

    @field_validator("label_studio_public_url")
    @classmethod
    def _addresses(cls, value: str) -> str:
        for address in filter(None, (part.strip() for part in value.split(","))):
            if not re.match(r"https?://[^/]", address, re.IGNORECASE):
                raise ValueError(f"LABEL_STUDIO_PUBLIC_URL {address!r}: must begin with http:// or https://")
        return value

    @field_validator("image_networks")
    @classmethod
    def _networks(cls, value: str) -> str:
        try:
            Networks.parse(value)
        except NetworksError as error:
            raise ValueError(f"IMAGE_NETWORKS: {error}") from None
        return value

    @field_validator("label_studio_url", mode="before")
    @classmethod
    def _without_blanks(cls, value: object) -> object:
        return value.strip() if isinstance(value, str) else value

    @field_validator("label_studio_api_key")
    @classmethod
    def _token(cls, value: str) -> str:
        """Files of secrets end in a newline; what has blanks within is more than a token."""
        token = value.strip().strip("\ufeff")
        if re.search(r"\s", token) or not token.isprintable() or not token.isascii():
            raise ValueError("LABEL_STUDIO_API_KEY holds blanks or characters that no token has: paste the token alone")
        return token

    @field_validator("model_dir", mode="before")
    @classmethod
    def _place(cls, value: str | Path) -> str:
        place = str(value)
        if re.match(r"\w{2,}:", place) and not re.match(r"\w+://[^/]+|file:///", place):
            raise ValueError(f"MODEL_DIR {place!r}: must be a directory, or a URL such as s3://bucket/prefix")
        return place

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
    def _minutes_are_mgrals(self) -> Self:
        if self.budget_in == "minutes" and self.strategy != "mgral":
            raise ValueError(
                f"BUDGET_IN=minutes needs STRATEGY=mgral: {self.strategy} does not know what a batch gains, and so not "
                "what it gains a minute"
            )
        return self

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if bool(self.basic_auth_user) != bool(self.basic_auth_pass):
            raise ValueError("BASIC_AUTH_USER and BASIC_AUTH_PASS: set both or neither")
        if ":" in self.basic_auth_user:
            raise ValueError("BASIC_AUTH_USER must hold no colon: HTTP ends the name there")
        return self

    @cached_property
    def artefacts(self) -> Artefacts:
        """The files of `model_dir`."""
        return Artefacts(self.model_dir, self.cache_dir / "artefacts")

    @property
    def threshold_is_set(self) -> bool:
        """Whether somebody chose MODEL_SCORE_THRESHOLD; what classes have learned does not count then."""
        return "model_score_threshold" in self.model_fields_set

    @property
    def address(self) -> str:
        """That `mgral serve` listens at."""
        return self.listen or ("0.0.0.0" if self.basic_auth_user else "127.0.0.1")

    @property
    def listens_here(self) -> bool:
        """Whether only this machine can reach `mgral serve`."""
        return self.address == "localhost" or self.address == "::1" or self.address.startswith("127.")

    @property
    def max_body(self) -> int:
        """Bytes of a request."""
        return int(self.max_body_mb * 2**20)

    @property
    def secrets(self) -> list[str]:
        """Values that no log may show, as they are and as they stand in addresses; the longest first."""
        url = urlsplit(self.redis_url)
        queries = [value for name, value in parse_qsl(url.query) if name == "password"]
        in_urls = [part for part in (url.password, urlsplit(self.label_studio_url).password, *queries) if part]
        held = [self.label_studio_api_key, self.basic_auth_pass, *in_urls, *map(unquote, in_urls)]
        pair = self.authorization.get("Authorization", "").removeprefix("Basic ")
        return sorted({form for secret in (*held, pair) for form in forms(secret)}, key=len, reverse=True)

    @property
    def authorization(self) -> dict[str, str]:
        """The header that `mgral serve` asks for, and `mgral connect` puts on the webhook; empty without a password."""
        if not self.basic_auth_user:
            return {}
        pair = f"{self.basic_auth_user}:{self.basic_auth_pass}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The process's settings, read once; its limit on pictures is set by them."""
    settings = Settings()
    limits.allow(settings.image_megapixels)
    return settings


def faults_of(error: ValidationError) -> str:
    """Which settings are wrong, by their names and values; a value that may be a secret is not shown."""
    lines = []
    for fault in error.errors():
        name = "_".join(map(str, fault["loc"])).upper()
        if fault["type"] == "value_error" or not name:  # ours, which name both
            lines.append(fault["msg"].removeprefix("Value error, "))
            continue
        value = "" if name.endswith(HIDDEN) else f" {fault['input']!r}"
        lines.append(f"{name}{value}: {fault['msg'][:1].lower()}{fault['msg'][1:]}")
    return "; ".join(lines)
