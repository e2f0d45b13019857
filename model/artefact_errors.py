"""What goes wrong at a URL of artefacts, in one line that says what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

TRANSIENT = {errno.EBUSY, getattr(errno, "EREMOTEIO", errno.EIO)}  # what s3fs makes of the statuses 500 and 503
AWAY = {"botocore.HTTPClientError", "botocore.ConnectionError", "aiohttp.ClientError"}
KEYS = {"botocore.NoCredentialsError", "botocore.PartialCredentialsError", "botocore.CredentialRetrievalError"}


class ArtefactsError(OSError):
    """The URL is wrong, or does not let us in."""


class ArtefactsAway(ArtefactsError):
    """The URL does not answer now; worth trying again."""


@contextmanager
def told(url: str) -> Iterator[None]:
    """Raise ArtefactsError with one line about `url`; errors of files here, and missing ones, stay as they are."""
    try:
        yield
    except ArtefactsError:
        raise
    except ImportError as error:
        raise ArtefactsError(f"{url}: {_line(error)}; for S3: pip install 'mgral[s3]'") from error
    except FileNotFoundError as error:
        if no_bucket(error):
            raise ArtefactsError(f"{url}: there is no such bucket; create it, or correct the URL") from error
        raise
    except (ConnectionError, TimeoutError) as error:
        raise ArtefactsAway(_away(url, error)) from error
    except OSError as error:
        if error.filename is not None or error.errno == errno.ENOSPC:
            raise
        if error.errno in TRANSIENT:
            raise ArtefactsAway(_away(url, error)) from error
        if isinstance(error, PermissionError):
            raise ArtefactsError(
                f"{url}: access is refused ({_line(error)}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what "
                "they may do with the bucket"
            ) from error
        raise ArtefactsError(
            f"{url}: {_line(error)}; check the URL, AWS_ENDPOINT_URL and AWS_DEFAULT_REGION"
        ) from error
    except Exception as error:
        kinds = {f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(error).__mro__}
        if kinds & KEYS:
            raise ArtefactsError(
                f"{url}: no keys ({_line(error)}); set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        if kinds & AWAY:
            raise ArtefactsAway(_away(url, error)) from error
        if not isinstance(error, ValueError) and not any(kind.startswith("botocore.") for kind in kinds):
            raise
        raise ArtefactsError(f"{url}: {_line(error)}; use a directory, or a URL such as s3://bucket/prefix") from error


def no_bucket(error: FileNotFoundError) -> bool:
    """Whether a whole bucket is missing, and not a file in it."""
    response = getattr(error.__cause__, "response", None) or {}
    return response.get("Error", {}).get("Code", "") == "NoSuchBucket"


def _away(url: str, error: Exception) -> str:
    return f"{url} does not answer ({_line(error)}); is it running, and is AWS_ENDPOINT_URL right?"


def _line(error: BaseException) -> str:
    """What an error says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__
