"""The manifests of deploy/kubernetes: valid by Kubernetes' schemas, closed, and the same product as compose runs."""

from __future__ import annotations

import copy
import re
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import kubernetes_validate
import pytest
import yaml
from rq.registry import StartedJobRegistry

from backend.cli import main
from backend.queue.enqueue import Jobs
from backend.settings import Settings
from backend.web.access import OPEN
from tests.deployment import DOCKERFILE, ROOT, SERVICES, Bare, environment_names, mebibytes
from tests.manifests import (
    BACKEND,
    COMPONENTS,
    FOLDER,
    KEDA,
    OURS,
    PODS,
    REDIS,
    RELEASES,
    SECRETS,
    SET,
    SHOWN,
    WORKER,
    Manifest,
    build,
    container,
    environment,
    kustomized,
    manifests,
    matches,
    named,
    pod,
    reaches,
    validate,
)


class TestSchemas:
    @pytest.mark.parametrize("release", RELEASES)
    def test_every_manifest_is_one_of_kubernetes(self, release: str) -> None:
        valid = [m for m in manifests() if m["apiVersion"] != KEDA]
        assert len(valid) >= 9
        for manifest in valid:
            validate(manifest, release)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda m: m["spec"].pop("selector"),
            lambda m: m["spec"].update(replicas="one"),
            lambda m: pod(m).update(terminationGracePeriod=60),
            lambda m: container(m)["securityContext"].update(readonlyRootFilesystem=True),
            lambda m: container(m)["env"].append({"value": "without a name"}),
            lambda m: pod(m)["volumes"].append({"name": "x", "emptyDir": {"sizeLimit": {}}}),
        ],
        ids=["missing", "type", "unknown", "misspelt", "incomplete", "nested type"],
    )
    def test_a_wrong_manifest_is_refused(self, spoil: Callable[[Manifest], object]) -> None:
        wrong = copy.deepcopy(WORKER)
        spoil(wrong)
        with pytest.raises(kubernetes_validate.ValidationError):
            validate(wrong)

    def test_a_kind_that_kubernetes_does_not_have_is_refused(self) -> None:
        with pytest.raises(kubernetes_validate.SchemaNotFoundError):
            validate(WORKER | {"apiVersion": "apps/v1beta1"})


class TestKustomizations:
    def test_every_file_is_named_and_every_named_one_is_there(self) -> None:
        for kustomization in FOLDER.rglob("kustomization.yaml"):
            wanted = yaml.safe_load(kustomization.read_text())
            resources = set(wanted.get("resources", ()))
            assert resources == {f.name for f in kustomization.parent.glob("*.yaml")} - {"kustomization.yaml"}
            assert wanted.get("namespace", "") == ("mgral" if resources else "")
        assert {folder.name for folder in FOLDER.iterdir() if folder.is_dir()} == set(COMPONENTS)

    def test_patches_name_what_is_there(self) -> None:
        """They are applied to the first container, and to the first volume."""
        for deployment in OURS.values():
            assert pod(deployment)["volumes"][0]["name"] == "data"
            assert "limits" in container(deployment)["resources"]
            assert pod(deployment)["affinity"]
            assert deployment["metadata"]["labels"]["app.kubernetes.io/name"] == "mgral"


class TestSettings:
    def test_every_setting_can_be_set(self) -> None:
        elsewhere = SECRETS | {"LABEL_STUDIO_HOST", "REDIS_URL"}  # an alias, and what is put together of the password
        ours = {name for name in {*SET, *SHOWN} if not name.startswith("AWS_")}
        assert ours == environment_names() - elsewhere
        assert not SET.keys() & SHOWN.keys()

    def test_what_holds_without_a_line_is_what_it_shows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in environment_names():
            monkeypatch.delenv(name, raising=False)
        default = Bare().model_dump()
        for name, value in SHOWN.items():
            if not name.startswith("AWS_"):
                monkeypatch.setenv(name, value)
        assert Bare().model_dump() == default

    @pytest.mark.parametrize("name", OURS)
    def test_they_fit(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for variable in environment_names():
            monkeypatch.delenv(variable, raising=False)
        for variable, value in environment(OURS[name], dict.fromkeys(SECRETS, "0" * 40)).items():
            monkeypatch.setenv(variable, value)
        settings = Bare()
        assert settings.redis_url == f"redis://:{'0' * 40}@redis:6379/0"
        assert settings.label_studio_api_key
        assert settings.basic_auth_pass
        assert settings.address == "0.0.0.0"

    @pytest.mark.parametrize("name", PODS)
    def test_a_password_is_asked_of_the_secret_alone(self, name: str) -> None:
        for entry in container(PODS[name]).get("env", []):
            if "PASS" in entry["name"] or "AUTH" in entry["name"]:
                assert entry["valueFrom"]["secretKeyRef"] == {"name": "mgral", "key": "REDIS_PASSWORD"}
        assert not SECRETS & {*SET, *SHOWN}

    def test_backend_and_workers_have_the_same(self) -> None:
        assert environment(BACKEND, {}) == environment(WORKER, {})
        for part in ("securityContext", "affinity", "volumes"):
            assert pod(BACKEND)[part] == pod(WORKER)[part]
        assert container(BACKEND)["volumeMounts"] == container(WORKER)["volumeMounts"]


class TestAsCompose:
    """The same product: what one of the two changes, the other has to."""

    @pytest.mark.parametrize("name", PODS)
    def test_images(self, name: str) -> None:
        assert container(PODS[name])["image"] == SERVICES[name]["image"]

    @pytest.mark.parametrize("name", OURS)
    def test_commands(self, name: str) -> None:
        assert container(OURS[name])["args"] == SERVICES[name]["command"]
        assert container(OURS[name])["args"][0] in main.commands

    @pytest.mark.parametrize("name", OURS)
    def test_settings(self, name: str) -> None:
        compose = SERVICES[name]["environment"]
        assert environment_names() - {"LABEL_STUDIO_HOST"} <= compose.keys()
        fixed = {name: str(value) for name, value in compose.items() if value is not None and "$" not in str(value)}
        assert {name: SET[name] for name in fixed if name != "LABEL_STUDIO_URL"} == {
            name: value for name, value in fixed.items() if name != "LABEL_STUDIO_URL"
        }
        assert compose["MODEL_DIR"] == f"${{MODEL_DIR:-{SET['MODEL_DIR']}}}"
        assert compose["BASIC_AUTH_USER"] == f"${{BASIC_AUTH_USER:-{SET['BASIC_AUTH_USER']}}}"
        assert {name for name in SHOWN if name.startswith("AWS_")} < compose.keys()

    @pytest.mark.parametrize("name", OURS)
    def test_paths(self, name: str) -> None:
        (volume,) = SERVICES[name]["volumes"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container(OURS[name])["volumeMounts"]}
        assert mounts == {"data": volume.split(":")[1], "tmp": "/tmp"}
        assert {volume["name"] for volume in pod(OURS[name])["volumes"]} == set(mounts)
        for directory in ("MODEL_DIR", "MODEL_ROOT", "CACHE_DIR"):
            assert PurePosixPath(SET[directory]).is_relative_to(mounts["data"])
        claim = pod(OURS[name])["volumes"][0]["persistentVolumeClaim"]["claimName"]
        assert named("PersistentVolumeClaim", claim)

    def test_users(self) -> None:
        (user,) = re.findall(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)
        (made,) = re.findall(r"useradd .*--uid (\d+) ", DOCKERFILE)
        for deployment in OURS.values():
            context = pod(deployment)["securityContext"]
            assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"] == int(user) == int(made)
        context = pod(REDIS)["securityContext"]
        assert SERVICES["redis"]["user"] == f"{context['runAsUser']}:{context['runAsGroup']}"

    def test_ports(self) -> None:
        for manifest, service, port in ((BACKEND, "backend", int(SET["PORT"])), (REDIS, "redis", 6379)):
            (opened,) = container(manifest)["ports"]
            (served,) = named("Service", service)["spec"]["ports"]
            assert opened["containerPort"] == served["port"] == port
            assert served["targetPort"] == opened["name"]
            assert named("Service", service)["spec"]["selector"] == manifest["spec"]["selector"]["matchLabels"]
        assert SERVICES["backend"]["ports"] == [f"127.0.0.1:{SET['PORT']}:{SET['PORT']}"]
        assert "EXPOSE " + SET["PORT"] in DOCKERFILE
        assert "ports" not in container(WORKER)

    @pytest.mark.parametrize("name", PODS)
    def test_memory(self, name: str) -> None:
        resources, compose = container(PODS[name])["resources"], SERVICES[name]["deploy"]["resources"]
        assert mebibytes(resources["limits"]["memory"]) == mebibytes(compose["limits"]["memory"])
        assert mebibytes(resources["requests"]["memory"]) == mebibytes(compose["reservations"]["memory"])
        assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}

    def test_redis(self) -> None:
        told = SERVICES["redis"]["command"][-1].removeprefix("exec ").replace('"$$REDISCLI_AUTH"', "$(REDISCLI_AUTH)")
        assert [*container(REDIS)["command"], *container(REDIS)["args"]] == told.split()
        (claim,) = REDIS["spec"]["volumeClaimTemplates"]
        assert container(REDIS)["volumeMounts"] == [{"name": claim["metadata"]["name"], "mountPath": "/data"}]

    def test_the_time_that_a_worker_has_to_hand_its_job_back(self) -> None:
        seconds = pod(WORKER)["terminationGracePeriodSeconds"]
        assert SERVICES["worker"]["stop_grace_period"] == f"{seconds}s"


class TestClosed:
    @pytest.mark.parametrize("name", PODS)
    def test_pods_keep_to_the_restricted_standard_and_write_to_volumes_alone(self, name: str) -> None:
        """https://kubernetes.io/docs/concepts/security/pod-security-standards, and more."""
        spec, context = pod(PODS[name]), pod(PODS[name])["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container(PODS[name])["securityContext"] == {
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & spec.keys()
        assert all(volume.keys() & {"persistentVolumeClaim", "emptyDir"} for volume in spec.get("volumes", []))
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False  # variables such as REDIS_PORT, which nobody asked for

    def test_who_reaches_whom(self) -> None:
        pods = {name: manifest["spec"]["template"]["metadata"]["labels"] for name, manifest in PODS.items()}
        callers = {name: ("mgral", labels) for name, labels in pods.items()} | {
            "label-studio": ("label-studio", {"app.kubernetes.io/name": "ls-app"}),
            "keda": ("keda", {"app": "keda-operator"}),
            "beside keda": ("keda", {"app": "another"}),
            "another here": ("mgral", {"app": "another"}),
            "another": ("default", {"app.kubernetes.io/name": "mgral"}),
        }
        ports = {"backend": "http", "worker": "http", "redis": "redis"}
        reached = {
            (caller, name)
            for caller, origin in callers.items()
            for name, labels in pods.items()
            if reaches(origin, labels, ports[name])
        }
        assert reached == {("label-studio", "backend"), ("backend", "redis"), ("worker", "redis"), ("keda", "redis")}

    def test_redis_asks_nobody(self) -> None:
        policy = named("NetworkPolicy", "mgral-to-redis")["spec"]
        assert "Egress" in policy["policyTypes"]
        assert "egress" not in policy


class TestRunning:
    def test_probes_ask_what_the_backend_answers_without_a_password(self) -> None:
        own = container(BACKEND)
        paths = {kind: own[kind]["httpGet"]["path"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert paths == {"startupProbe": "/health", "livenessProbe": "/health", "readinessProbe": "/ready"}
        assert set(paths.values()) <= set(OPEN)
        assert {own[kind]["httpGet"]["port"] for kind in paths} == {"http"}

    def test_the_backend_is_there_while_it_is_replaced_and_a_worker_makes_room_first(self) -> None:
        assert BACKEND["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        assert WORKER["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}

    def test_who_shares_a_volume_of_one_node_is_on_one_node(self) -> None:
        assert named("PersistentVolumeClaim", "models")["spec"]["accessModes"] == ["ReadWriteOnce"]
        for deployment in OURS.values():
            (term,) = pod(deployment)["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            assert term["topologyKey"] == "kubernetes.io/hostname"
            for other in OURS.values():
                assert matches(term["labelSelector"], other["spec"]["template"]["metadata"]["labels"])

    @pytest.mark.parametrize("name", OURS)
    def test_threads_are_those_that_were_asked_for(self, name: str) -> None:
        (threads,) = (e for e in container(OURS[name])["env"] if e["name"] == "OMP_NUM_THREADS")
        assert threads["valueFrom"] == {"resourceFieldRef": {"resource": "requests.cpu"}}


class TestScaling:
    """KEDA's own schema is in no package: what of it is used is held against what KEDA reads, and RQ's keys."""

    SCALED = named("ScaledObject", "worker")["spec"]

    def test_it_scales_the_workers(self) -> None:
        assert named("ScaledObject", "worker")["apiVersion"] == KEDA
        assert self.SCALED["scaleTargetRef"] == {"name": WORKER["metadata"]["name"]}
        assert 1 <= self.SCALED["minReplicaCount"] < self.SCALED["maxReplicaCount"]
        assert self.SCALED.keys() == {
            "scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "advanced", "triggers",
        }  # fmt: skip

    def test_it_counts_what_waits_and_the_long_jobs_that_run(self) -> None:
        jobs = Jobs(Bare(queue_name=Settings.model_fields["queue_name"].default))
        running = [StartedJobRegistry(queue=queue) for queue in (jobs.slow, jobs.low)]
        wanted = {queue.key for queue in jobs.queues} | {registry.key for registry in running}
        assert {trigger["metadata"]["listName"] for trigger in self.SCALED["triggers"]} == wanted

    def test_a_worker_for_each(self) -> None:
        modifiers = self.SCALED["advanced"]["scalingModifiers"]
        assert modifiers["formula"].split(" + ") == [trigger["name"] for trigger in self.SCALED["triggers"]]
        assert (modifiers["target"], modifiers["metricType"]) == ("1", "AverageValue")

    def test_it_asks_our_redis_with_the_password(self) -> None:
        (parameter,) = named("TriggerAuthentication", "redis")["spec"]["secretTargetRef"]
        assert parameter == {"parameter": "password", "name": "mgral", "key": "REDIS_PASSWORD"}
        for trigger in self.SCALED["triggers"]:
            assert trigger["type"] == "redis"
            assert trigger["authenticationRef"] == {"name": "redis"}
            assert trigger["metadata"]["address"] == "redis.mgral.svc:6379"
            assert all(isinstance(value, str) for value in trigger["metadata"].values())


@pytest.mark.skipif(not shutil.which("kubectl"), reason="no kubectl here, whose kustomize builds the manifests")
class TestBuilt:
    """As `kubectl apply -k` sends it: the folder, each component, and the folder of one's own that the docs show."""

    @pytest.mark.parametrize("components", [(), *((name,) for name in COMPONENTS), COMPONENTS], ids=" and ".join)
    def test_all_of_it_is_valid(self, components: tuple[str, ...]) -> None:
        built = build(components)
        for manifest in built.values():
            assert manifest["metadata"]["namespace"] == "mgral"
            if manifest["apiVersion"] != KEDA:
                validate(manifest)
        (config,) = (name for kind, name in built if kind == "ConfigMap")
        for name in OURS:
            source, _ = container(built["Deployment", name])["envFrom"]
            assert source == {"configMapRef": {"name": config}}

    def test_with_a_bucket_no_pod_is_tied_to_a_node(self) -> None:
        built = build(("bucket",))
        assert ("PersistentVolumeClaim", "models") not in built
        for name in OURS:
            assert "affinity" not in pod(built["Deployment", name])
            assert "emptyDir" in pod(built["Deployment", name])["volumes"][0]

    def test_a_worker_gets_a_gpu(self) -> None:
        built = build(("gpu",))
        assert container(built["Deployment", "worker"])["resources"]["limits"]["nvidia.com/gpu"] == "1"
        assert built["Deployment", "backend"] == build(())["Deployment", "backend"]

    def test_keda_alone_says_how_many_workers(self) -> None:
        assert "replicas" not in build(("keda",))["Deployment", "worker"]["spec"]

    def test_the_folder_of_ones_own_that_the_docs_show(self, tmp_path: Path) -> None:
        blocks = re.findall(r"```(?:yaml)?\n(.*?)```", (ROOT / "docs" / "OPERATIONS.md").read_text(), re.DOTALL)
        (shown,) = (block for block in blocks if "Kustomization" in block)
        shutil.copytree(FOLDER, tmp_path / "mgral" / "deploy" / "kubernetes")
        built = kustomized(tmp_path / "own", shown)
        wanted = yaml.safe_load(shown)
        (image,) = wanted["images"]
        (settings,) = wanted["configMapGenerator"]
        (config,) = (manifest["data"] for (kind, _), manifest in built.items() if kind == "ConfigMap")
        for name in OURS:
            assert container(built["Deployment", name])["image"] == f"{image['newName']}:{image['newTag']}"
        assert dict(line.split("=", 1) for line in settings["literals"]).items() <= config.items()
        assert SET.keys() <= config.keys()
