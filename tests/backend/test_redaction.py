"""Passwords, tokens and signatures stay out of logs and answers, in the forms in which the big clouds write them."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.commands import doctor
from backend.commands.findings import find
from backend.queue.enqueue import Jobs
from backend.queue.progress import Progress, describe
from backend.redaction import LONGEST, guard_logs, redact
from backend.settings import Settings

S = "sEcr3tS1gn4tur3Xyz"

HOLDING = {
    "S3, version 4": f"https://b.s3.eu-central-1.amazonaws.com/a.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={S}%2F20261127%2Feu&X-Amz-Date=20261127T000000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Security-Token={S}&X-Amz-Signature={S}",
    "S3, version 2": f"https://b.s3.amazonaws.com/a.jpg?AWSAccessKeyId={S}&Expires=1795&Signature={S}%2B%3D",
    "CloudFront": f"https://d1.cloudfront.net/a.jpg?Expires=17&Signature={S}~&Key-Pair-Id={S}&Policy={S}",
    "Google, version 4": f"https://storage.googleapis.com/b/a.jpg?X-Goog-Algorithm=GOOG4&X-Goog-Credential={S}&X-Goog-Signature={S}",
    "Google, version 2": f"https://storage.googleapis.com/b/a.jpg?GoogleAccessId={S}&Expires=17&Signature={S}",
    "Firebase": f"https://firebasestorage.googleapis.com/v0/b/x/o/a.jpg?alt=media&token={S}",
    "Azure": f"https://x.blob.core.windows.net/c/a.jpg?sv=2024-11-04&se=2026-12-01&sr=b&sp=r&sig={S}%3D",
    "Azure, small letters first": f"https://x.blob.core.windows.net/c/a.jpg?SIG={S}&sv=2024",
    "Alibaba": f"https://b.oss-cn.aliyuncs.com/a.jpg?OSSAccessKeyId={S}&Expires=17&Signature={S}&security-token={S}",
    "Tencent": f"https://b.cos.ap.myqcloud.com/a.jpg?q-sign-algorithm=sha1&q-ak={S}&q-signature={S}",
    "Huawei": f"https://b.obs.myhuaweicloud.com/a.jpg?AccessKeyId={S}&Expires=17&Signature={S}",
    "Akamai": f"https://x.akamaized.net/a.jpg?hdnts=exp=17~acl=/*~hmac={S}",
    "Supabase": f"https://x.supabase.co/storage/v1/object/sign/b/a.jpg?token=eyJhbGciOiJI.eyJ1cmwiOiJi.{S}",
    "Dropbox": f"https://www.dropbox.com/scl/fi/x/a.jpg?rlkey={S}&dl=0",
    "imgix": f"https://x.imgix.net/a.jpg?w=3&s={S}",
    "Cloudinary": f"https://res.cloudinary.com/x/image/upload/s--{S}--/a.jpg",
    "a bot": f"https://api.example.org/file/bot123456:{S}/photos/a.jpg",
    "user and password": f"https://user:{S}@example.org/a.jpg",
    "user alone": f"https://{S}@example.org/a.jpg",
    "an @ in the password": f"https://user:{S}@{S}@example.org/a.jpg",
    "FTP": f"ftp://user:{S}@example.org/a.jpg",
    "Redis": f"redis://:{S}@queue:6379/0",
    "Redis, with a user": f"rediss://default:{S}@queue:6379/0",
    "Redis, in the query": f"redis://queue:6379/0?password={S}",
    "Postgres": f"postgresql://label_studio:{S}@db/label_studio",
    "in a fragment": f"https://example.org/a.jpg#access_token={S}",
    "after a semicolon": f"https://example.org/a.jpg;jsessionid={S}?a=1",
    "in HTML": f'<img src="https://x.blob.core.windows.net/a.jpg?sv=1&amp;sig={S}">',
    "an address in an address": f"https://example.org/go?to=https%3A%2F%2Fx.blob.core.windows.net%2Fa.jpg%3Fsig%3D{S}%26sv%3D1",
    "an address in a path": f"https://proxy.example.org/https%3A%2F%2Fx.blob.core.windows.net%2Fa.jpg%3Fsv%3D1%26sig%3D{S}",
    "a path": f"/data/upload/1/a.jpg?token={S}",
    "a header": f"Authorization: Basic {S}",
    "a token": f"'Authorization': 'Token {S}'",
    "a bearer": f"authorization: BEARER {S}.{S}",
    "a dictionary": f"{{'login': 'x', 'password': '{S}'}}",
    "JSON": f'{{"access_token": "{S}", "refresh": 1}}',
    "bytes": f"{{b'api_key': b'{S}'}}",
    "user and password without a scheme": f"//user:{S}@example.org/a.jpg",
    "backslashes": f"http:/\\user:{S}@example.org/a.jpg",
    "a / in the password": f"redis://:pa/{S}@queue:6379/0",
    "a # in the password": f"https://user:pa#{S}@example.org/a.jpg",
    "a quote in the password": f"https://user:pa'{S}@example.org/a.jpg",
    "escaped user and password": f"https%3A%2F%2Fuser%3A{S}%40example.org%2Fa.jpg",
    "an escaped query": f"https://example.org/a.jpg?sig%3D{S}%26sv=1",
    "a query that is all signature": f"https://example.org/a.jpg?{S}",
    "an odd name": f"https://example.org/a.jpg?a(b)/c:d={S}",
    "a bearer of letters": f"Authorization: Bearer {'abcdefgh' * 4}{S}",
    "a scheme that nobody knows": f"authorization: Hawk{S}",
    "a cookie": f"Cookie: csrftoken=1; sessionid={S}",
    "a header's key": f"X-Api-Key: {S}",
    "a connection string": f"DefaultEndpointsProtocol=https;AccountName=x;AccountKey={S}==;EndpointSuffix=y",
    "a shared access signature": f"SharedAccessSignature=sv={S}",
    "a variable": f"AWS_SECRET_ACCESS_KEY={S}/K7MDENG",
    "a DSN": f"host=db password={S} user=x",
    "Hugging Face": f"hf_{S}",
    "GitHub": f"ghp_{S}0123",
    "GitLab": f"glpat-{S}",
    "Google's API key": f"AIza{S}",
    "Slack": f"https://hooks.slack.com/services/T0123/B0123/{S}",
    "Discord": f"https://discord.com/api/webhooks/1234/{S}",
    "a private key": f"-----BEGIN RSA PRIVATE KEY-----\n{S}\n-----END RSA PRIVATE KEY----- was read",
    "quoted within a line": f"image 'https://x.blob.core.windows.net/a.jpg?sig={S}' of task 7: answered 403",
}


@pytest.mark.parametrize("text", HOLDING.values(), ids=HOLDING.keys())
def test_what_signs_or_opens_something_is_cut(text: str) -> None:
    cut = redact(text)
    assert S not in cut
    assert "***" in cut
    assert redact(cut) == cut


HARMLESS = [
    "image '/data/local-files/?d=cars/a b.jpg' of task 7: answered 404",
    "http://label-studio:8080/tasks/7/presign/?fileuri=czM6Ly9idWNrZXQvYS5qcGc=",
    "GET /api/tasks?project=3&page=1&page_size=500&include=id,data: Label Studio answered 500",
    "use a personal access token, or enable legacy tokens (LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN=true at first)",
    "start it with USE_DEFAULT_BANNED_SUBNETS=false and USER_ADDITIONAL_BANNED_SUBNETS=169.254.0.0/16",
    "token: belongs to admin@example.com",
    "https://example.org:8443/a/b.jpg does not answer; mail to admin@example.com",
    "image 'http://minio:9000/a/@b/c@2x.jpg' and 'https://example.org/d@2x.jpg': \"http://x\",\"a@b\"",
    "-----END PRIVATE KEY----- stands there",
    "file:///C:/a/b@2x.jpg and //server/share/b@2x.jpg, (//server:8080/a.jpg)",
    "password: wrong; secret: none given; token: is refused",
    "authorization is refused: wrong or missing user and password",
    "what does it want? Nothing",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_tells_people_something_stays(text: str) -> None:
    assert redact(text) == text


@given(st.text())
def test_any_text_can_be_redacted(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_a_long_line_is_redacted_in_no_time() -> None:
    for text in ("://", "?a=", "%3Fa%3D", "'password': '", '"password', "token ", "token:", "eyJ-", "a@", "/s--"):
        redact(text * (LONGEST // len(text)))
    for text in ("://x:y", "//x:", "%3a%2f%2f", "?aaaaaaa", "a-", "a", "cookie:", "cookie: a", "secret", "/services/T"):
        redact(text * (LONGEST // len(text)))


def test_the_secrets_of_the_settings_are_known_in_every_form() -> None:
    settings = Settings(
        _env_file=None,
        redis_url="redis://:p%2Fss%23w0rd@queue:6379/0",
        label_studio_api_key="0123456789abcdef",
        basic_auth_user="user",
        basic_auth_pass="t0p/secret",
    )
    said = f"port 'p/ss#w0rd' p%2Fss%23w0rd 0123456789abcdef t0p/secret t0p%2Fsecret {settings.authorization}"
    assert redact(said, settings.secrets).count("***") >= 6
    for secret in ("w0rd", "0123456789abcdef", "t0p", settings.authorization["Authorization"][6:]):
        assert secret not in redact(said, settings.secrets)
        assert secret not in repr(settings)


@pytest.mark.parametrize(
    "url",
    ["redis://:pa/ss1@queue:6379/0", "redis://:12/ss1@queue", "redis://:pa#ss1@q", "http://:ss1@q", "redis://:ss1[@q"],
)
def test_a_redis_url_that_cannot_be_read_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ValueError, match="REDIS_URL") as refused:
        Settings(_env_file=None, redis_url=url)
    assert "ss1" not in str(refused.value)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What a handler writes that was there before the guard, of a logger that keeps its records for itself."""
    said, logger = io.StringIO(), logging.getLogger("of a library")
    handler = logging.StreamHandler(said)
    logger.addHandler(handler)
    logger.propagate = False
    factory = logging.getLogRecordFactory()
    guard_logs(["t0p-secret"])
    yield said
    logging.setLogRecordFactory(factory)
    logger.removeHandler(handler)


def test_every_logger_of_the_process_is_guarded(log: io.StringIO) -> None:
    logger = logging.getLogger("of a library")
    logger.warning("asked %s of %s", f"https://x/a.jpg?sig={S}", {"password": S})
    logger.warning("a\nb\x1b[31mc t0p-secret")
    logger.warning("%d", "no number t0p-secret", stack_info=False)
    try:
        raise ValueError(f"redis://:{S}@queue t0p-secret")
    except ValueError:
        logger.exception("it failed")
    said = log.getvalue()
    assert S not in said
    assert "t0p-secret" not in said
    assert "\x1b" not in said
    assert "a b [31mc ***" in said
    assert "Traceback" in said


def test_nobody_writes_a_line_of_the_log_through_a_traceback(log: io.StringIO) -> None:
    try:
        raise ValueError("x\n2026-11-27 10:15:01,250 INFO backend: all is well\x1b[2J\r2026\x85\u2028\x0b.")
    except ValueError:
        logging.getLogger("of a library").exception("it failed")
    said = log.getvalue()
    assert not any(line.startswith("2026") for line in said.splitlines())
    assert "\x1b" not in said
    assert "    2026-11-27 10:15:01,250 INFO" in said


def test_the_doctor_shows_no_password() -> None:
    settings = Settings(_env_file=None, redis_url="redis://:t0p-secret@127.0.0.1:1/0")
    finding = find("Redis", partial(doctor._redis, settings))
    assert not finding.well
    assert "redis://***@127.0.0.1:1/0 does not answer" in finding.said
    assert "t0p-secret" not in finding.said


def test_the_doctor_says_nothing_to_the_terminal_itself() -> None:
    assert (
        find("project 7", lambda: "'Cars\x1b[2J\r\x9b0m' is connected\nas ever").said
        == "'Cars [2J  0m' is connected\nas ever"
    )

    def sick() -> str:
        raise ValueError("no \x1b]0;title\x07")

    assert find("project 7", sick).said == "no  ]0;title "


def test_what_jobs_say_to_people_is_redacted(settings: Settings) -> None:
    job, _ = Jobs(settings).enqueue("rank", 1)
    progress = Progress(job, {"rank": 1.0})
    progress.say(f"image https://x.blob.core.windows.net/a.jpg?sig={S} is left out")
    progress.fail(f"redis://:{S}@queue is away")
    assert S not in str(describe(job))
    assert S not in str(job.meta)
