"""The files that install and run the product: what they name must exist, be pinned, and fit together."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from backend.cli import main
from tests.deployment import COMPOSE, DOCKERFILE, OURS, ROOT, SERVICES, Bare, environment_names, mebibytes, resolved

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPILED = ("requirements.txt", "requirements-dev.txt", "requirements-label-studio.txt")


def pins(name: str) -> dict[str, list[Requirement]]:
    """The requirements of a compiled file by canonical name (one line for each marker)."""
    out: dict[str, list[Requirement]] = {}
    for line in (ROOT / name).read_text().splitlines():
        requirement = Requirement(line)
        out.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return out


def images() -> Iterator[str]:
    yield from (service["image"] for service in SERVICES.values())
    stages = re.findall(r" AS (\S+)$", DOCKERFILE, re.MULTILINE)
    yield from (image for image in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) if image not in stages)


class TestCompose:
    def test_every_service_restarts_and_what_it_waits_for_is_healthy_first(self) -> None:
        assert {"label-studio", "postgres", "redis", "backend", "worker"} <= set(SERVICES)
        for service in SERVICES.values():
            assert service["restart"] == "unless-stopped"
            for other, how in service.get("depends_on", {}).items():
                assert how == {"condition": "service_healthy"}
                assert "test" in SERVICES[other]["healthcheck"]

    def test_volumes_are_declared_and_none_is_left_over(self) -> None:
        used = {mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])}
        files = {source for source in used if source.startswith("./")}
        assert used - files == set(COMPOSE["volumes"])
        assert all((ROOT / file).is_file() for file in files)

    @pytest.mark.parametrize("image", sorted(set(images())))
    def test_images_are_pinned(self, image: str) -> None:
        assert re.fullmatch(r"[\w./-]+:v?\d+(\.\d+)*(-\w+)?", image), f"{image}: no version"

    def test_label_studio_is_the_version_that_the_tests_run(self) -> None:
        (pin,) = pins("requirements-label-studio.txt")["label-studio"]
        assert SERVICES["label-studio"]["image"] == f"heartexlabs/label-studio:{str(pin.specifier)[2:]}"

    def test_label_studio_accepts_the_backend_and_the_token(self) -> None:
        environment = SERVICES["label-studio"]["environment"]
        assert environment["USE_DEFAULT_BANNED_SUBNETS"] == "false"
        assert environment["USER_ADDITIONAL_BANNED_SUBNETS"] == "169.254.0.0/16"
        assert environment["LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN"] == "true"
        for service in OURS.values():
            assert service["environment"]["LABEL_STUDIO_API_KEY"] == environment["LABEL_STUDIO_USER_TOKEN"]

    def test_label_studio_and_postgres_agree(self) -> None:
        client, server = SERVICES["label-studio"]["environment"], SERVICES["postgres"]["environment"]
        assert client["DJANGO_DB"] == "default"  # anything but this or "postgresql" is SQLite
        assert client["POSTGRE_HOST"] in SERVICES
        for theirs, ours in (("NAME", "DB"), ("USER", "USER"), ("PASSWORD", "PASSWORD")):
            assert client[f"POSTGRE_{theirs}"] == server[f"POSTGRES_{ours}"]

    def test_secrets_have_no_default(self) -> None:
        secrets = [
            value
            for service in SERVICES.values()
            for key, value in service.get("environment", {}).items()
            if value is not None and re.search(r"PASS|API_KEY|USER_TOKEN", key)
        ]
        assert len(secrets) >= 4
        assert all(re.fullmatch(r"\$\{\w+:\?.+\}", secret) for secret in secrets)

    def test_the_lines_that_make_env_name_every_secret(self) -> None:
        needed = set(re.findall(r"\$\{(\w+):\?", TEXT))
        for told in (TEXT, (ROOT / "README.md").read_text()):
            (names,) = re.findall(r"for name in ([A-Z_ ]+); do", told)
            assert set(names.split()) == needed

    @pytest.mark.parametrize("name", OURS)
    def test_every_setting_reaches_our_services(self, name: str) -> None:
        aliases = {"LABEL_STUDIO_HOST"}
        assert environment_names() - aliases <= set(OURS[name]["environment"])

    @pytest.mark.parametrize("name", SERVICES)
    def test_memory_has_a_limit(self, name: str) -> None:
        resources = SERVICES[name]["deploy"]["resources"]
        limit, reserved = (mebibytes(resources[kind]["memory"]) for kind in ("limits", "reservations"))
        assert limit >= reserved > 0

    @pytest.mark.parametrize("name", [*OURS, "redis"])
    def test_nothing_is_written_but_to_volumes_and_nothing_is_gained(self, name: str) -> None:
        service = SERVICES[name]
        assert service["read_only"] is True
        assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert service["deploy"]["resources"]["limits"]["pids"] > 0  # processes and threads

    def test_redis_and_postgres_are_reached_by_those_alone_who_need_them(self) -> None:
        members: dict[str, set[str]] = {}
        for name, service in SERVICES.items():
            for network in service.get("networks", ["default"]):
                members.setdefault(network, set()).add(name)
        assert members["queue"] == {"redis", *OURS}
        assert members["database"] == {"postgres", "label-studio"}
        assert not {"redis", "postgres"} & members["default"]
        for network in ("queue", "database"):
            assert COMPOSE["networks"][network] == {"internal": True}
        for name in ("redis", "postgres"):
            assert "ports" not in SERVICES[name]

    def test_redis_asks_for_the_password_that_ours_give(self) -> None:
        redis = SERVICES["redis"]
        assert '--requirepass "$$REDISCLI_AUTH"' in redis["command"][-1]
        secret = redis["environment"]["REDISCLI_AUTH"]
        for service in OURS.values():
            assert f":{secret}@" in service["environment"]["REDIS_URL"]

    def test_the_backend_is_published_to_this_machine_alone(self) -> None:
        for service in OURS.values():
            assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))

    def test_docker_compose_takes_the_file(self, tmp_path: Path) -> None:
        assert (self.compose(tmp_path, ROOT / "docker-compose.yml")) == (0, "")

    def test_docker_compose_takes_no_other(self, tmp_path: Path) -> None:
        (tmp_path / "docker-compose.yml").write_text(TEXT.replace("stop_grace_period:", "stop_grace_time:"))
        code, said = self.compose(tmp_path, tmp_path / "docker-compose.yml")
        assert code
        assert "stop_grace_time" in said

    def compose(self, tmp_path: Path, file: Path) -> tuple[int, str]:
        """What docker compose says of a file, with every secret given."""
        (tmp_path / "env").write_text(
            "".join(f"{name}={'0' * 40}\n" for name in set(re.findall(r"\$\{(\w+):\?", TEXT)))
        )
        compose = Path(sys.executable).with_name("docker-compose")
        options = ["--file", str(file), "--env-file", str(tmp_path / "env"), "--profile", "*"]
        run = subprocess.run([compose, *options, "config", "--quiet"], capture_output=True, text=True, check=False)
        return run.returncode, run.stderr

    def test_logs_do_not_fill_the_disk(self) -> None:
        assert {str(service.get("logging")) for service in SERVICES.values()} == {"{'driver': 'local'}"}

    @pytest.mark.parametrize("name", OURS)
    def test_our_services_get_settings_that_exist_and_fit(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        environment = OURS[name]["environment"]
        assert {name for name in environment if not name.startswith("AWS_")} <= environment_names()
        for variable in environment_names():
            monkeypatch.delenv(variable, raising=False)
        for variable, value in environment.items():
            if value is not None:
                monkeypatch.setenv(variable, resolved(value))
        settings = Bare()
        assert settings.label_studio_url == "http://label-studio:8080"
        redis = urlsplit(settings.redis_url)
        assert redis.hostname in SERVICES
        assert redis.password
        assert settings.address == "0.0.0.0"
        assert settings.basic_auth_user
        (mount,) = OURS[name]["volumes"]
        for directory in (settings.model_dir, settings.model_root, settings.cache_dir):
            assert PurePosixPath(directory).is_relative_to(mount.split(":")[1])

    def test_backend_and_workers_share_the_versions(self) -> None:
        assert len({str(service["volumes"]) for service in OURS.values()}) == 1
        assert len({str(service["environment"]) for service in OURS.values()}) == 1

    def test_commands_exist(self) -> None:
        used = {name: service["command"][0] for name, service in OURS.items()}
        assert used["backend"] == "serve"
        assert {used[name] for name in OURS if name.startswith("worker")} == {"work"}
        text = TEXT + (ROOT / "Makefile").read_text()
        told = set(re.findall(r"\bmgral ([a-z]+)", text))
        assert told >= {"connect", "demo", "doctor"}
        assert {*used.values(), *told} <= set(main.commands)

    def test_workers_scale_and_have_the_time_to_hand_their_job_back(self) -> None:
        for name, service in OURS.items():
            if name.startswith("worker"):
                assert not {"container_name", "ports"} & set(service)
                assert service["stop_grace_period"] == "60s"

    @pytest.mark.parametrize("name", OURS)
    def test_a_bucket_is_named_in_env_alone(self, name: str) -> None:
        environment = OURS[name]["environment"]
        assert str(environment["MODEL_DIR"]).startswith("${MODEL_DIR:-")
        for variable in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "DEFAULT_REGION", "ENDPOINT_URL"):
            assert environment[f"AWS_{variable}"] is None  # taken from .env, and not set where it is not there


class TestDockerfile:
    def test_copies_what_exists_and_the_context_holds(self) -> None:
        sources = {s for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE) for s in line.split()}
        context = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
        assert sources == context
        assert all((ROOT / source).exists() for source in sources)
        assert (ROOT / ".dockerignore").read_text().startswith("*\n")  # so that .env and .git stay out

    def test_runs_as_nobody_special_and_is_healthy_when_it_serves(self) -> None:
        final = DOCKERFILE.split("\nFROM ")[-1]
        assert re.search(r"^USER [1-9]\d*$", final, re.MULTILINE)
        assert 'ENTRYPOINT ["mgral"]\nCMD ["serve"]' in final
        assert "'/health'" in final
        assert (
            set(re.findall(r"\b([A-Z_]+)=", final)) - {"PATH", "PYTHONUNBUFFERED", "NUMBA_CACHE_DIR"}
            <= environment_names()
        )

    def test_a_new_release_leaves_the_layer_of_the_packages_as_it_was(self) -> None:
        """It is gigabytes, so neither it nor the stage that it comes from may hold anything of ours."""
        packages, _, final = (
            stage.partition("\n")[2] for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
        )
        assert re.findall(r"^COPY (.+)$", packages, re.MULTILINE) == ["requirements.txt ./"]
        assert re.findall(r"^COPY (.+)$", final, re.MULTILINE) == ["--from=packages /opt/mgral /opt/mgral"]
        assert "--mount=from=project,source=/dist" in final

    def test_uv_is_the_same_everywhere(self) -> None:
        (docker,) = re.findall(r"uv==([\d.]+)", DOCKERFILE)
        (local,) = re.findall(r"^UV_VERSION=([\d.]+)$", (ROOT / ".ci" / "setup").read_text(), re.MULTILINE)
        assert docker == local


class TestRequirements:
    @pytest.mark.parametrize("name", COMPILED)
    def test_every_line_is_a_pin_and_names_no_host(self, name: str) -> None:
        text = (ROOT / name).read_text()
        assert "://" not in text
        for line in text.splitlines():
            requirement = Requirement(line)  # an option, a path or a continuation does not parse
            assert requirement.url is None, line
            assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), line

    @pytest.mark.parametrize(
        ("name", "direct"),
        [
            ("requirements.txt", PROJECT["dependencies"]),
            ("requirements-dev.txt", [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]),
        ],
        ids=["requirements.txt", "requirements-dev.txt"],
    )
    def test_every_direct_dependency_is_pinned_within_its_bounds(self, name: str, direct: list[str]) -> None:
        pinned = pins(name)
        for line in direct:
            wanted = Requirement(line)
            held = pinned.get(canonicalize_name(wanted.name))
            assert held, f"{wanted.name} is not in {name}: run `make lock`"
            for pin in held:
                assert wanted.specifier.contains(str(pin.specifier)[2:]), f"{pin} in {name}: run `make lock`"

    def test_development_adds_to_the_product_and_changes_nothing(self) -> None:
        product, development = pins("requirements.txt"), pins("requirements-dev.txt")
        for name, held in product.items():
            assert {str(pin.specifier) for pin in held} == {str(pin.specifier) for pin in development[name]}

    def test_licence_is_the_one_that_the_project_names(self) -> None:
        assert PROJECT["license"] == "AGPL-3.0-only"
        text = (ROOT / "LICENSE").read_text()
        assert "GNU AFFERO GENERAL PUBLIC LICENSE\n                       Version 3, 19 November 2007" in text
        assert "13. Remote Network Interaction; Use with the GNU General Public License." in text


class TestMake:
    def test_bare_make_lists_the_targets(self) -> None:
        listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert re.findall(r"^make (\w+) +\S", listed, re.MULTILINE) == [
            "install", "demo", "test", "chaos", "load", "check", "starter", "lock", "clean",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("arguments", "command"),
        [
            ([], "mgral demo"),
            (["DATA=../a b", "CHECK=1"], 'mgral demo --data "../a b" --check'),
            (["CHECK=0"], "mgral demo"),
        ],
    )
    def test_demo_passes_its_arguments_on(self, arguments: list[str], command: str) -> None:
        make = ["make", "--dry-run", "demo", *arguments]
        run = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert run.splitlines()[-1] == f".venv/bin/{command}"


class TestSetup:
    """`.ci/setup` elsewhere, with a `uv` that makes a real environment and only notes that it should install."""

    @pytest.fixture
    def place(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "setup", tmp_path / ".ci" / "setup")
        (tmp_path / "requirements-label-studio.txt").write_text("label-studio==1\n")
        uv = tmp_path / "bin" / "uv"
        uv.parent.mkdir()
        uv.write_text(
            '#!/bin/sh\necho "$1" >>calls\n'
            f'[ "$1" = venv ] && exec {sys.executable} -m venv --without-pip .venv-label-studio\n'
            "[ ! -e broken ]\n"
        )
        uv.chmod(0o755)
        monkeypatch.setenv("PATH", str(uv.parent), prepend=":")
        return tmp_path

    def install(self, place: Path) -> tuple[int, list[str]]:
        (place / "calls").write_text("")
        run = subprocess.run([".ci/setup", "label-studio"], cwd=place, capture_output=True, check=False)
        return run.returncode, (place / "calls").read_text().split()

    def test_once_is_enough(self, place: Path) -> None:
        assert self.install(place) == (0, ["venv", "pip"])
        assert self.install(place) == (0, [])

    def test_changed_requirements_are_installed(self, place: Path) -> None:
        self.install(place)
        (place / "requirements-label-studio.txt").write_text("label-studio==2\n")
        assert self.install(place) == (0, ["pip"])
        assert self.install(place) == (0, [])

    def test_what_failed_half_way_starts_over(self, place: Path) -> None:
        self.install(place)
        (place / "requirements-label-studio.txt").write_text("label-studio==2\n")
        (place / "broken").touch()
        assert self.install(place) == (1, ["pip"])
        (place / "broken").unlink()
        assert self.install(place) == (0, ["venv", "pip"])

    def test_a_moved_checkout_starts_over(self, place: Path) -> None:
        self.install(place)
        moved = place.rename(place.with_name("moved"))
        moved.with_name(place.name).symlink_to(moved)  # where the PATH still finds uv
        assert self.install(moved) == (0, ["venv", "pip"])
