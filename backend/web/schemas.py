"""What each route takes. Fields that are not named here are never looked at: Label Studio sends many.

A body is read in three steps, each cheap for what the next would have to pay for: its bytes are bounded, the number of
values in it is, and then pydantic reads it, which bounds how deep it goes and keeps only what is named here.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from flask import request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictStr, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge

from backend.web.faults import Fault, refused

Body = TypeVar("Body", bound=BaseModel)

MOST_VALUES = 1_000_000  # in one body; a task of Label Studio's has 25, a brush stroke thousands
DIGITS = 18  # of an id; SQLite's go to 2^63
CONFIG = 1_000_000  # characters of a label config


def _id(value: object) -> int:
    """A number above zero, which may be written as text."""
    number = value
    if isinstance(value, str) and len(value) <= DIGITS and value.isascii() and value.isdigit():
        number = int(value)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < 10**DIGITS:
        raise ValueError(f"must be a whole number above zero of at most {DIGITS} digits")
    return number


def _task(value: object) -> int | None:
    """An id; what is not stored yet may have none, or 0."""
    return None if value is None or (type(value) is int and value == 0) else _id(value)


def _project(value: object) -> int:
    """An id, or "<id>.<timestamp>"."""
    if isinstance(value, str) and len(value) <= 64:
        number, dot, timestamp = value.partition(".")
        if not dot or (timestamp.isascii() and timestamp.isdigit()):
            value = number
    return _id(value)


Id = Annotated[int, BeforeValidator(_id)]
Project = Annotated[int, BeforeValidator(_project)]
Config = Annotated[StrictStr, Field(max_length=CONFIG)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class Setup(_Body):
    """POST /setup."""

    project: Project
    label_config: Config = Field("", alias="schema")


class Task(_Body):
    """One task of POST /predict; without an id it is predicted and not remembered."""

    id: Annotated[int | None, BeforeValidator(_task)] = None
    project: Project | None = None
    data: dict[str, Any] = {}


class Drawing(_Body):
    """What a user draws: regions."""

    result: Annotated[list[dict[str, Any]], Field(fail_fast=True)] | dict[str, Any] | None = None


class Params(_Body):
    """`context`: what a user draws, where one does."""

    context: Drawing | None = None


class Predict(_Body):
    """POST /predict."""

    tasks: Annotated[list[Task], Field(fail_fast=True)] = []
    project: Project | None = None
    label_config: Config | None = None
    params: Params | None = None


class About(_Body):
    """The project of an event."""

    id: Id
    total_annotations_number: Annotated[int, Field(ge=0, lt=10**DIGITS, strict=True)] | None = None
    label_config: Config | None = None


class Event(_Body):
    """POST /webhook."""

    action: Annotated[StrictStr, Field(pattern=r"^[A-Z_]{1,64}$")]
    project: About


class JobStatus(_Body):
    """POST /job_status."""

    job: Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_.-]{1,200}$")]


def read(kind: type[Body]) -> Body:
    """The request's body. Raises Fault, werkzeug's RequestEntityTooLarge."""
    if request.mimetype != "application/json":
        raise Fault(415, "send JSON, and say so: Content-Type: application/json")
    data = request.get_data(cache=False)
    if len(data) >= (request.max_content_length or 0) > 0:  # of a body without a length the rest is not read
        raise RequestEntityTooLarge
    values = sum(data.count(sign) for sign in (b",", b"[", b"{"))
    if values > MOST_VALUES:
        raise Fault(413, f"the body holds {values:,} values, more than {MOST_VALUES:,}: ask for fewer tasks at once")
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise refused(error) from None
