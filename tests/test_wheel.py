"""The wheel in an environment of its own: all that runs is in it, and pip finds versions that fit together.

The packages that it needs come from the environment of the tests, which has what the requirements pin: installing torch
takes minutes. Nothing of the project is seen there, as an editable installation works in its own environment alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from email import message_from_bytes
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement

from tests.deployment import ROOT

SOURCES = ("pyproject.toml", "README.md", "LICENSE", "agent", "backend", "model")
TO_COME = ("page.html", "style.css", "script.js", "icon.svg", "table.json")  # in a folder that is not there yet
STRANGE = "notes.txt"
SERVE = """
import sys, click, backend.cli
from model.detectors.open import STARTER
sys.modules["label_studio_ml"] = None
try:
    backend.cli.main(["serve"], standalone_mode=False)
except click.ClickException as error:
    print(error.message)
ours = [module for name, module in sys.modules.items() if name.split(".")[0] in ("agent", "backend", "model")]
print(STARTER, *(module.__file__ for module in ours if module.__file__), sep="\\n")
"""
BUILD = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, because setuptools leaves files where it builds; in the copy there is a folder more."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        here = ROOT / name
        if here.is_dir():
            shutil.copytree(here, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(here, source / name)
    folder = source / "backend" / "web" / "to come" / "deeper"
    folder.mkdir(parents=True)
    for name in (*TO_COME, STRANGE):
        (folder / name).write_text("")
    run = subprocess.run(
        [sys.executable, "-c", BUILD, str(out)], cwd=source, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """The files in it."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment in which the wheel is installed."""
    uv = shutil.which("uv") or str(ROOT / ".tools" / "uv" / "bin" / "uv")
    environment = tmp_path_factory.mktemp("environment") / "venv"
    python = environment / "bin" / "python"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel], check=True)
    (site,) = environment.glob("lib/python3*/site-packages")
    (site / "packages.pth").write_text(sysconfig.get_path("purelib"))
    return python


def run(command: list[str | Path], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env={"HOME": str(cwd)}, capture_output=True, text=True, check=False)


def test_every_module_is_in_it(names: set[str]) -> None:
    modules = {
        file.relative_to(ROOT).as_posix()
        for name in ("agent", "backend", "model")
        for file in (ROOT / name).rglob("*.py")
    }
    assert len(modules) > 150
    assert modules <= names


def test_what_pages_are_made_of_is_in_it_also_what_is_yet_to_come(names: set[str]) -> None:
    here = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "backend" / "web").rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
    assert here <= names
    assert {f"backend/web/to come/deeper/{name}" for name in TO_COME} <= names
    assert f"backend/web/to come/deeper/{STRANGE}" not in names  # so that a pattern is what brings the others


def test_nothing_else_is_in_it(names: set[str]) -> None:
    assert {PurePosixPath(name).parts[0].split("-")[0] for name in names} == {"agent", "backend", "model", "mgral"}
    assert not [name for name in names if name.endswith((".pyc", ".whl"))]


def test_the_command_runs_far_from_the_sources(python: Path, tmp_path: Path) -> None:
    shown = run([python.with_name("mgral"), "--help"], tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "serve" in shown.stdout
    assert list(tmp_path.iterdir()) == []


def test_what_is_imported_is_the_wheels_and_the_starter_weights_lie_beside_it(python: Path, tmp_path: Path) -> None:
    """In a process that cannot have label-studio-ml, without which the server does not start: see below why."""
    said = run([python, "-c", SERVE], tmp_path)
    assert said.returncode == 0, said.stderr
    line, starter, *files = said.stdout.splitlines()
    assert line == "label-studio-ml is not installed: pip install --no-deps label-studio-ml==1.0.9"
    assert Path(starter).read_bytes() == (ROOT / "model" / "weights" / "starter.pt").read_bytes()
    assert {"agent", "backend", "model"} <= {Path(file).parent.name for file in files}
    assert all(Path(file).is_relative_to(python.parents[1]) for file in (starter, *files))


def test_pip_finds_versions_that_fit_together(wheel: Path) -> None:
    """Those that the requirements pin are such: what any package asks of another is met.

    label-studio-ml asks for the Flask of 2021, and pip, which unlike uv overrides no pin, would refuse the whole wheel.
    """
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        asked = message_from_bytes(archive.read(metadata)).get_all("Requires-Dist", [])
    assert conflicts([Requirement(line) for line in asked]) == set()
    assert "Flask==1.1.2" in conflicts([Requirement("label-studio-ml")])


def conflicts(asked: list[Requirement]) -> set[str]:
    """Requirements, and those of what they bring, that the installed versions do not meet."""
    seen: set[tuple[str, str]] = set()
    unmet: set[str] = set()
    waiting = [(requirement, "") for requirement in asked]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
            continue
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError:
            continue  # pip brings it: an extra's, or the second OpenCV
        if not requirement.specifier.contains(installed.version, prereleases=True):
            unmet.add(str(requirement))
        for wanted in ("", *requirement.extras):
            if (installed.name, wanted) not in seen:
                seen.add((installed.name, wanted))
                waiting += [(Requirement(line), wanted) for line in installed.requires or ()]
    return unmet
