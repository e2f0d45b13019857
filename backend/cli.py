"""The `mgral` command."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
import redis
from pydantic import ValidationError

from backend import logs
from backend.commands.plain import plain
from backend.commands.research import fidelity, simulate
from backend.label_studio.client import StudioError
from backend.label_studio.labels import LabelConfigError
from backend.redaction import redact
from backend.request_id import begin
from backend.settings import Settings, faults_of, get_settings
from model.detectors.base import WeightsError
from model.versions import VersionError

if TYPE_CHECKING:
    from backend.project.audit import What

# Before torch is loaded: its threads spin while they wait, which slows a busy machine down (docs/MEASURED.md).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

LABEL_STUDIO_ML = "pip install --no-deps label-studio-ml==1.0.9"  # its own pins fit no other package: pyproject.toml
FAULTS = (StudioError, LabelConfigError, WeightsError, VersionError)


class _Group(click.Group):
    """Turns the errors that people can mend into one line and exit status 1."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except FAULTS as error:
            raise click.ClickException(plain(redact(str(error)))) from error
        except redis.RedisError as error:
            raise click.ClickException(
                redact(f"Redis does not answer ({error}): start it, or set REDIS_URL")
            ) from error
        except ValidationError as error:
            raise click.ClickException(redact(faults_of(error))) from error
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "label_studio_ml":
                raise
            raise click.ClickException(f"label-studio-ml is not installed: {LABEL_STUDIO_ML}") from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """The Label Studio ML backend that labels the right images first.

    Settings come from the environment; see README.md. Start with `mgral doctor`.
    """


main.add_command(simulate)
main.add_command(fidelity)


@main.command()
def serve() -> None:
    """Serve Label Studio's ML backend protocol (LISTEN, PORT, WORKERS, THREADS).

    \b
    Example: PORT=9090 LABEL_STUDIO_URL=http://localhost:8080 LABEL_STUDIO_API_KEY=... mgral serve
    """
    _leave_cores()
    from backend.web.watch.counts import counts_in_files

    with counts_in_files():
        from backend.web import server

        server.serve(_start(serves=True))


@main.command()
@click.option("--burst", is_flag=True, help="End when nothing is left to do.")
def work(burst: bool) -> None:
    """Run jobs: training, ranking, predicting. Start as many as there are machines.

    \b
    Example: REDIS_URL=redis://queue:6379 MODEL_DIR=/data mgral work
    """
    _leave_cores()
    import backend.jobs  # noqa: F401  once, and not in each job's fork
    from backend.queue.worker import run

    run(_start(serves=True), burst=burst)


@main.command()
@click.argument("project", type=int)
@click.option("--backend-url", help="The backend as Label Studio sees it.  [default: http://localhost:PORT]")
def connect(project: int, backend_url: str | None) -> None:
    """Set up a project: backend, webhook, order, Data Manager tab. Running it twice changes nothing.

    \b
    Example: mgral connect 3 --backend-url http://backend:9090
    """
    from backend.label_studio.client import Studio
    from backend.project import connect as connecting
    from backend.queue.enqueue import Jobs

    settings = _start()
    studio = Studio.from_settings(settings)
    url = backend_url or f"http://localhost:{settings.port}"
    changed = connecting.connect(studio, settings, project, url, Jobs(settings))
    if changed:
        _note(settings, project, "connect", changed="; ".join(changed))
    for line in changed or [f"project {project} is connected already: nothing to change"]:
        _say(line)
    for line in connecting.warnings(studio.project(project)):
        _say(f"note: {line}")


@main.command()
@click.argument("project", type=int)
@click.option("--no-watch", is_flag=True, help="Do not wait for the end.")
@click.option("--cancel", is_flag=True, help="Stop what runs and drop what waits for the project.")
def train(project: int, no_watch: bool, cancel: bool) -> None:
    """Retrain on the project's annotations, as "Start training" does, and watch it.

    \b
    Example: mgral train 3
    """
    from backend.queue.enqueue import Jobs

    settings = _start()
    jobs = Jobs(settings)
    if cancel:
        stopped = jobs.cancel(project)
        _note(settings, project, "cancel", jobs=", ".join(job.id for job in stopped) or "none")
        click.echo(f"cancelled {len(stopped)} jobs" if stopped else f"nothing runs for project {project}")
        return
    _follow(_ask(settings, "train", project), no_watch)


@main.command()
@click.argument("project", type=int, required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything that is known, for scripts.")
def jobs(project: int | None, as_json: bool) -> None:
    """List what runs, what waits and what ended lately, on every worker.

    \b
    Example: mgral jobs 3
    """
    from rich.console import Console

    from backend.commands.watch import listing, table
    from backend.queue.enqueue import Jobs

    rows = listing(Jobs(_start()), project)
    if as_json:
        click.echo(json.dumps(rows))
    elif rows:
        Console().print(table(rows))
    else:
        click.echo("nothing runs, nothing waits" + (f" for project {project}" if project is not None else ""))


@main.command()
@click.argument("project", type=int)
@click.option("--show", is_flag=True, help="Show the order that is live, make no new one.")
@click.option("--top", default=10, show_default=True, help="Tasks to show.")
def rank(project: int, show: bool, top: int) -> None:
    """Order the project's unlabeled tasks with the model that serves.

    \b
    Example: mgral rank 3 --top 5
    """
    from backend.project.serving import published_of, store_of

    settings = _start()
    if not show:
        _follow(_ask(settings, "rank", project), False)
    live = published_of(settings, project).current()
    if live is None:
        raise click.ClickException(f"project {project} has no ranking yet: run `mgral connect {project}`")
    record = json.loads(store_of(settings, project).read(live.version, "ranking.json"))
    _say(f"{record['model_version']}, by {record['strategy']}: {len(record['order'])} tasks")
    if record.get("remark"):
        _say(f"note: {record['remark']}")
    for place, (task, reason) in enumerate(zip(record["order"][:top], record["reasons"], strict=False), 1):
        _say(f"{place:3d}. task {task}: {reason}")


@main.command()
@click.argument("project", type=int)
@click.option("--promote", metavar="VERSION", help="Let this version serve.")
@click.option("--roll-back", is_flag=True, help="Let the version serve that served before.")
def versions(project: int, promote: str | None, roll_back: bool) -> None:
    """List a project's model versions, or choose the one that serves.

    \b
    Example: mgral versions 3 --roll-back
    """
    from backend.project.choice import choose
    from backend.project.serving import store_of
    from backend.queue.enqueue import Jobs

    settings = _start()
    store = store_of(settings, project)
    if promote or roll_back:
        chosen, line = choose(settings, Jobs(settings), project, promote)
        _note(settings, project, "promote" if promote else "roll back", version=chosen.name)
        _say(line)
    serving = store.serving()
    for version in store.list():
        mark = "*" if serving and version.name == serving.name else " "
        score = f"mAP {version.metrics['map']:.3f}" if version.metrics else "mAP    ?"
        _say(f"{mark} {version.name}  {score}  {version.images:5d} images  {version.note}")
    if serving is None:
        click.echo(f"project {project} has no version yet: run `mgral connect {project}`")


@main.command()
@click.argument("project", type=int, required=False)
def doctor(project: int | None) -> None:
    """Check Label Studio, token, Redis, worker, weights and disk; say the remedy for what is not well.

    With a PROJECT its config, tasks, annotations and some pictures are checked too.

    \b
    Example: mgral doctor 3
    """
    from backend.commands.doctor import examine

    sick = 0
    for finding in examine(_start(), project):
        _say(f"{'ok  ' if finding.well else 'FAIL'}  {finding.what}: {finding.said}")
        sick += not finding.well
    if sick:
        raise click.ClickException(f"{sick} checks failed")


@main.command()
@click.option(
    "--data", type=click.Path(path_type=Path), help="Your labeled images: a COCO, YOLO or Pascal VOC directory."
)
@click.option("--check", is_flag=True, help="Verify, close everything, print JSON as the last line.")
def demo(data: Path | None, check: bool) -> None:
    """Show the whole loop on this machine: Label Studio, Redis, backend, worker, a project of road signs.

    \b
    Example: mgral demo --data ../shared/data/bccd
    """
    from backend.commands.demo import run

    sys.exit(run(data, check))


def _start(*, serves: bool = False) -> Settings:
    """What every command begins with; one that `serves` works for the requests of others, all else is one itself."""
    settings = get_settings()
    logs.start(settings)
    if not serves:
        begin()
    os.environ.setdefault("YOLO_CONFIG_DIR", str(settings.cache_dir))
    return settings


def _leave_cores() -> None:
    """Let PyTorch compute on half of the machine's cores; to be called before it is loaded.

    A small detector's step is no faster on both of two cores than on one (0.63 s against 0.57 s). The other one is for
    a second worker, and for those who wait for an answer of the backend while its detector looks at something.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))


def _ask(settings: Settings, kind: Literal["train", "rank"], project: int) -> Any:
    """Ask for a job, and note who asked."""
    from backend.queue.enqueue import Jobs

    job, new = Jobs(settings).enqueue(kind, project)
    _note(settings, project, kind, job=job.id, new=new)
    return job


def _note(settings: Settings, project: int, what: What, **details: str | float | None) -> None:
    """Note that this command changed something."""
    from backend.project.audit import of_command, record

    record(settings, project, what, of_command(), **details)


def _say(line: str) -> None:
    """A line that tells what others wrote: names, notes, reasons."""
    click.echo(plain(line))


def _follow(job: Any, no_watch: bool) -> None:
    from backend.commands.watch import watch

    click.echo(f"job {job.id}")
    if not no_watch:
        error = watch(job)
        if error:
            raise click.ClickException(plain(error))


if __name__ == "__main__":
    main()
