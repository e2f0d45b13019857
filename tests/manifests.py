"""The manifests of deploy/kubernetes as the tests read them, and as kustomize builds them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from tests.deployment import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
RELEASES = (
    "1.30",
    "1.37",
)  # of Kubernetes: the first that knows all that is used, and the newest that there are schemas of
COMPONENTS = ("bucket", "gpu", "keda")
SECRETS = {"LABEL_STUDIO_API_KEY", "REDIS_PASSWORD", "BASIC_AUTH_PASS"}
KEDA = "keda.sh/v1alpha1"
Manifest = dict[str, Any]


@cache
def manifests() -> list[Manifest]:
    """Every object of the folder, also those of the components."""
    files = [file for file in sorted(FOLDER.rglob("*.yaml")) if file.name != "kustomization.yaml"]
    return [manifest for file in files for manifest in objects(file.read_text())]


def objects(text: str) -> list[Manifest]:
    return list(yaml.load_all(text, yaml.CSafeLoader))


def named(kind: str, name: str) -> Manifest:
    (found,) = (m for m in manifests() if (m["kind"], m["metadata"]["name"]) == (kind, name))
    return found


def pod(manifest: Manifest) -> Manifest:
    return manifest["spec"]["template"]["spec"]


def container(manifest: Manifest) -> Manifest:
    (only,) = pod(manifest)["containers"]
    return only


def validate(manifest: Manifest, release: str = RELEASES[-1]) -> None:
    """Raises kubernetes_validate.ValidationError; a field that no schema knows is an error."""
    _validate(json.dumps(manifest), release)


@cache
def _validate(manifest: str, release: str) -> None:
    """It takes a fifth of a second, and most of what is built is the same each time."""
    kubernetes_validate.validate(json.loads(manifest), release, strict=True)


BACKEND, WORKER, REDIS = named("Deployment", "backend"), named("Deployment", "worker"), named("StatefulSet", "redis")
OURS = {"backend": BACKEND, "worker": WORKER}
PODS = {**OURS, "redis": REDIS}
SET = dict(re.findall(r"^([A-Z_]+)=(.*)$", (FOLDER / "settings.env").read_text(), re.MULTILINE))
SHOWN = dict(re.findall(r"^#([A-Z_]+)=(.*)$", (FOLDER / "settings.env").read_text(), re.MULTILINE))


def environment(manifest: Manifest, secret: dict[str, str]) -> dict[str, str]:
    """What a container finds: the ConfigMap, the Secret, then its own, in which what stands before may be named."""
    (config, hidden) = container(manifest)["envFrom"]
    assert config == {"configMapRef": {"name": "settings"}}
    assert hidden == {"secretRef": {"name": "mgral"}}
    own: dict[str, str] = {}
    for entry in container(manifest)["env"]:
        if "value" in entry:
            own[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda m: own[m[1]], entry["value"])
        elif "secretKeyRef" in entry["valueFrom"]:
            own[entry["name"]] = secret.get(entry["valueFrom"]["secretKeyRef"]["key"], "")
    return {**SET, **secret, **own}


def reaches(origin: tuple[str, dict[str, str]], target: dict[str, str], port: str) -> bool:
    """Whether the policies let a pod (its namespace and its labels) connect to one of ours."""
    namespace, labels = origin
    policies = [m["spec"] for m in manifests() if m["kind"] == "NetworkPolicy"]
    concerned = [p for p in policies if matches(p["podSelector"], target) and "Ingress" in p["policyTypes"]]
    assert concerned, "a pod that no policy names is reached by everybody"
    rules = [rule for policy in concerned for rule in policy.get("ingress", ()) if {"port": port} in rule["ports"]]
    return any(
        matches(source.get("podSelector", {}), labels)
        and (
            matches(source["namespaceSelector"], {"kubernetes.io/metadata.name": namespace})
            if "namespaceSelector" in source
            else namespace == "mgral"
        )
        for rule in rules
        for source in rule["from"]
    )


def matches(selector: Manifest, labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}
    return selector.get("matchLabels", {}).items() <= labels.items()


@cache
def build(components: tuple[str, ...]) -> dict[tuple[str, str], Manifest]:
    """The objects by kind and name."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(FOLDER, Path(folder) / "kubernetes")
        return kustomized(
            Path(folder) / "own",
            yaml.safe_dump(
                {
                    "kind": "Kustomization",
                    "resources": ["../kubernetes"],
                    "components": [f"../kubernetes/{name}" for name in components],
                }
            ),
        )


def kustomized(folder: Path, kustomization: str) -> dict[tuple[str, str], Manifest]:
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(kustomization)
    run = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return {(m["kind"], m["metadata"]["name"]): m for m in objects(run.stdout)}
