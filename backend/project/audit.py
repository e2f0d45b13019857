"""Who changed what in a project: every change that a person asked for, by a page, the API, Label Studio or `mgral`.

    record(settings, 7, "promote", Person("alice", "page", "10.0.0.7"), version="v0003-20261127-101500")
    read(settings, 7, limit=50)      # the newest 50 events, the newest first

An event is a line of JSON, in the log and in a file of its own, because nothing can be appended to a file in a bucket:

    MODEL_DIR/<project>/audit/2026-11/20261127T101501.250000Z-9f3c6a12.json
    {"when": "2026-11-27T10:15:01.250000+00:00", "project": 7, "what": "promote", "who": "alice", "via": "page",
     "address": "10.0.0.7", "request": "5f0c...", "details": {"version": "v0003-20261127-101500"}}

`cat MODEL_DIR/7/audit/*/*.json` is the whole record as JSON lines, oldest first. Nothing here deletes it.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from backend.label_studio.deadline import within
from backend.redaction import CONTROL, redact
from backend.request_id import request_id
from backend.settings import Settings
from model.damage import DamagedError, reading, warn

log = logging.getLogger(__name__)

FOLDER = "audit"
LABEL_STUDIO = "label-studio"  # who asks through its webhook; it does not say which of its users pressed a button
REQUEST_SECONDS = 0.3  # that an answer waits for the file, in a bucket that hangs; it goes on being written then
COMMAND_SECONDS = 10.0  # a command ends after that, and what it writes with it
LONGEST = 300  # characters of a text among the details

What = Literal["train", "rank", "predict", "cancel", "promote", "roll back", "retry", "connect", "show", "settings"]
"""What can be changed: the same words on pages, in the API and in commands"""
Via = Literal["page", "api", "webhook", "command"]


@dataclass(frozen=True)
class Person:
    """Who asked for a change.

    Attributes:
        who: the user of the password that was given, LABEL_STUDIO for its webhook, a command's user of this machine;
            "" where no password is set, and so nobody says who he is.
        via: on which way.
        address: from which IP address; "" for a command.
    """

    who: str
    via: Via
    address: str = ""


@dataclass(frozen=True)
class Event:
    """One change.

    Attributes:
        when: ISO 8601, in UTC.
        what: see `What`.
        request: the id by which the logs of backend and workers tell what came of it.
        details: plain values, as {"version": "v0003-...", "job": "..."}.
    """

    when: str
    project: int
    what: str
    who: str
    via: str
    address: str
    request: str
    details: dict[str, Any]


def of_command() -> Person:
    """The user of this machine who runs a command."""
    try:
        return Person(getpass.getuser(), "command")
    except (KeyError, OSError):  # containers run under numbers that have no name
        return Person(f"uid {os.getuid()}", "command")


def record(settings: Settings, project: int, what: What, person: Person, **details: str | float | None) -> Event:
    """Note a change that was made. Never raises: where MODEL_DIR cannot be written, the log alone has it.

    Call it after the change, with what came of it. An answer waits for REQUEST_SECONDS at most.

    Args:
        details: what names the change: a job, a version. Secrets in texts are cut.
    """
    now = datetime.now(UTC)
    told = {name: _plain(value, settings) for name, value in details.items() if value is not None}
    who = str(_plain(person.who, settings))
    event = Event(
        now.isoformat(timespec="microseconds"), project, what, who, person.via, person.address, request_id(), told
    )
    said = " ".join(f"{name}={value}" for name, value in told.items())
    log.info(
        "audit: project %d: %s by %s (%s) %s",
        project,
        what,
        who or "anybody",
        person.via,
        said,
        extra={"audit": asdict(event)},
    )
    name = f"{project}/{FOLDER}/{now:%Y-%m}/{now:%Y%m%dT%H%M%S.%fZ}-{uuid.uuid4().hex[:8]}.json"
    try:
        seconds = COMMAND_SECONDS if person.via == "command" else REQUEST_SECONDS
        within(seconds, partial(_write, settings, name, event))
    except TimeoutError:
        log.warning("%s is still being written: MODEL_DIR is slow", name)
    return event


def read(settings: Settings, project: int, limit: int = 100) -> list[Event]:
    """The newest events of a project, the newest first. Raises OSError where MODEL_DIR cannot be read.

    A damaged file is left out, and named in the log.
    """
    files, events = settings.artefacts, list[Event]()
    for month in reversed(files.names(f"{project}/{FOLDER}")):
        folder = f"{project}/{FOLDER}/{month}"
        files.pull(folder)
        for name in reversed(files.names(folder)):
            if len(events) >= limit:
                return events
            try:
                with reading(f"{files.url}/{folder}/{name}", "it is left out of what was changed; delete it"):
                    events.append(_event(json.loads(files.read(f"{folder}/{name}"))))
            except DamagedError as error:
                warn(str(error))
            except FileNotFoundError:  # deleted this moment
                continue
    return events


def _write(settings: Settings, name: str, event: Event) -> None:
    try:
        settings.artefacts.write(name, f"{json.dumps(asdict(event))}\n".encode())
    except OSError as error:
        log.error("%s was not written, only this log has it: %s", name, error)


def _event(held: dict[str, Any]) -> Event:
    """What `asdict` gave. Raises TypeError where it did not."""
    event = Event(**held)
    texts = (event.when, event.what, event.who, event.via, event.address, event.request)
    if not all(isinstance(text, str) for text in texts) or not isinstance(event.details, dict):
        raise TypeError("no event")
    return event


def _plain(value: object, settings: Settings) -> str | float | bool:
    """A detail fit to be kept and shown."""
    if isinstance(value, bool | int | float):
        return value
    return CONTROL.sub(" ", redact(str(value), settings.secrets))[:LONGEST]
