"""What no log and no answer may show: passwords and tokens in addresses, signatures, the secrets of the settings.

    redis://:s3cret@queue:6379/0                         redis://***@queue:6379/0
    https://b.s3.amazonaws.com/a.jpg?X-Amz-Signature=1f  https://b.s3.amazonaws.com/a.jpg?X-Amz-Signature=***

Of a query only what is known to be harmless is shown: every cloud calls its signature by another name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

CUT = "***"
HARMLESS = frozenset({"d", "fields", "fileuri", "id", "include", "model_version", "page", "page_size", "project"})
"""Names in queries of Label Studio's whose values tell which image or project is meant"""
SHORTEST = 4  # a secret of fewer letters would cut words to pieces

USER = re.compile(
    r"(?<=:[/\\][/\\])(?:[^\s/?#'\"<>]|['\"](?![,;:)\]}\s]))*@"  # those are what follows a quote that ends a text
    r"|(?<=//)(?<![^\s'\"(=,]//)[^\s/?#'\"<>@:]*:[^\s/?#'\"<>]*@"  # //user:password@host
    # a password with / or # in it: what follows the colon after a host is a port
    r"|(?<=://)[^\s/:@?#'\"<>\[\]]*:(?!\d{1,5}(?:[/?#\s'\",;)]|$))[^\s'\"<>]{1,300}@"
)
ENCODED_USER = re.compile(r"(?<=%3[aA]%2[fF]%2[fF])(?:(?!%2[fF]|%3[fF]|%23|%40)[^\s/?&;#'\"<>])*%40")
PARAMETER = re.compile(
    r"(?P<before>[?&;#])(?P<name>(?:(?!%3[dD])[^\s=&;#?'\"<>]){1,100})(?P<is>=|%3[dD])(?P<value>[^\s&;#'\"<>]*)"
)
NAMELESS = re.compile(r"(?<=[\w/]\?)[\w.~%+-]{8,}(?=[&#\s'\"<>]|$)")  # all of a query is the signature
ENCODED = re.compile(
    r"(?P<before>%3[fF]|%26)(?P<name>[\w.~+-]{1,100})(?P<is>%3[dD])(?P<value>(?:(?!%26|%23)[^\s&;#'\"<>])*)"
)
CREDENTIAL = re.compile(
    r"\b(?P<scheme>basic|bearer|token|apikey)(?P<is>[\s:=]+)(?=\S{0,200}[\d=])[\w.~+/=-]{12,}", re.IGNORECASE
)
HEADER = re.compile(
    r"(?P<name>\b(?:proxy-)?authorization:\s*(?:(?:basic|bearer|token|apikey|digest)\s+)?)[^\s'\"]+"
    r"|(?P<cookie>\b(?:set-)?cookie:\s?)(?=[^\s'\"]+=)[^'\"\n]+",
    re.IGNORECASE,
)
SECRET = r"(?:password|passwd|pwd|secret|token|(?:api|access|account|secret|private)[_-]?key|credential|signature)"
NAMED = re.compile(
    r"(?P<name>[\"'](?:[\w-]*(?:password|passwd|pwd|secret|token|api_?key|credential|signature)|pass|authorization|cookie)"
    r"[\"']\s*[:=]\s*b?)(?P<quote>[\"']).*?(?P=quote)",
    re.IGNORECASE,
)
ASSIGNED = re.compile(
    rf"(?<![\w-])(?P<name>[\w-]{{0,40}}{SECRET}(?:=|:\s?(?=\S{{0,40}}\d)))(?!true\b|false\b|\*)[^\s&;'\"<>,)]+",
    re.IGNORECASE,
)
IN_PATH = re.compile(  # Cloudinary's signature, a bot's token, hooks of Discord and Slack
    r"/s--[\w-]{4,}--(?=/)|/bot\d+:[\w-]{8,}|(?<=/webhooks)/\d+/[\w-]{8,}|(?<=/services)/T\w+/B\w+/\w{8,}"
)
KEYS = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # AWS key ids, JSON web tokens
    r"|\b(?:hf_|gh[oprsu]_|github_pat_|glpat-|xox[abprs]-|sk-|AIza|ya29\.)[\w.-]{16,}"  # Hugging Face, GitHub, ...
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]+"
)
LONGEST = 20_000  # characters of a record; what is longer was sent to fill a disk
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """The text without what must not be shown; `secrets`: values that are cut wherever they stand."""
    for secret in secrets:
        text = text.replace(secret, CUT)
    text = USER.sub(f"{CUT}@", text)
    text = ENCODED_USER.sub(f"{CUT}%40", text)
    text = PARAMETER.sub(_parameter, text)
    text = NAMELESS.sub(CUT, text)
    text = ENCODED.sub(_parameter, text)
    text = NAMED.sub(lambda found: f"{found['name']}{found['quote']}{CUT}{found['quote']}", text)
    text = HEADER.sub(lambda found: f"{found['name'] or found['cookie']}{CUT}", text)
    text = ASSIGNED.sub(lambda found: f"{found['name']}{CUT}", text)
    text = CREDENTIAL.sub(lambda found: f"{found['scheme']}{found['is']}{CUT}", text)
    text = IN_PATH.sub(f"/{CUT}", text)
    return KEYS.sub(CUT, text)


def forms(secret: str) -> list[str]:
    """A secret as it may stand in an address; none where it is too short to be told from other words."""
    if len(secret) < SHORTEST:
        return []
    return sorted({secret, quote(secret, safe=""), quote_plus(secret)}, key=len, reverse=True)


class Redaction(logging.Filter):
    """Makes every record fit to be shown: redacted, and in one line but for tracebacks."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self.secrets = tuple(secrets)
        self.formatter = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a record."""
        try:
            said = record.getMessage()
        except (TypeError, ValueError, KeyError):  # arguments that do not fit: they may hold anything
            said = str(record.msg)
        said = said if len(said) <= LONGEST else f"{said[:LONGEST]}... ({len(said):,} characters)"
        record.msg, record.args = CONTROL.sub(" ", redact(said, self.secrets)), ()
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatter.formatException(record.exc_info)
        if record.exc_text:  # what an error says may have lines of its own: none looks like a line of the log
            lines = redact(record.exc_text, self.secrets).split("\n")
            record.exc_text = "\n".join(f"    {CONTROL.sub(' ', line)}" for line in lines)
        return True


def guard_logs(secrets: Iterable[str] = ()) -> None:
    """Redact every record of this process, whichever logger and handler it goes through."""
    redaction, make = Redaction(secrets), logging.LogRecord

    def record(*args: object, **kwargs: object) -> logging.LogRecord:
        made = make(*args, **kwargs)  # type: ignore[arg-type]
        redaction.filter(made)
        return made

    logging.setLogRecordFactory(record)


def _parameter(found: re.Match[str]) -> str:
    if found["name"].lower() in HARMLESS or not found["value"]:
        return found[0]
    return f"{found['before']}{found['name']}{found['is']}{CUT}"
