"""The chart, rendered by Helm's own engine and held against the schemas of Kubernetes; the Dockerfile and the compose
file, as hadolint and docker-compose read them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python import HelmError
from helm_python.chart import Chart, lint

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "packaging/helm/rehome"
#: The oldest version that the chart is for and that there are schemas of, and the newest.
VERSIONS = ("1.25", "1.37")

EVERYTHING: dict[str, Any] = {
    "replicaCount": 3,
    "imagePullSecrets": [{"name": "registry"}],
    "secrets": {"values": {"REHOME_CONTROL_PLANE_URL": "postgres://rehome:SECRET@control/rehome"}},
    "tlsSecret": "rehome-tls",
    "volumes": [{"name": "ca", "secret": {"secretName": "db-ca"}}],
    "volumeMounts": [{"name": "ca", "mountPath": "/etc/rehome/db"}],
    "ingress": {"enabled": True, "className": "nginx", "host": "rehome.example", "tlsSecret": "web"},
    "serviceMonitor": {"enabled": True, "tokenSecret": {"name": "prometheus", "key": "token"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "serviceAccount": {"name": "rehome"},
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"disk": "ssd"},
    "tolerations": [{"key": "db", "operator": "Exists"}],
}


def rendered(values: dict[str, Any], name: str = "rehome-server") -> list[dict[str, Any]]:
    files = Chart.load(CHART).render(values, name=name, namespace="events")
    texts = [text for path, text in files.items() if not path.endswith("NOTES.txt")]
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def one(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


@pytest.mark.parametrize("values", [{}, EVERYTHING], ids=["defaults", "everything"])
@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_rendered_is_what_kubernetes_takes(values: dict[str, Any], version: str) -> None:
    documents = rendered(values)
    kinds = [document["kind"] for document in documents]
    assert {"Deployment", "Service", "ConfigMap", "PodDisruptionBudget"} <= set(kinds)
    for document in documents:
        if document["apiVersion"].startswith("monitoring.coreos.com/"):
            continue
        kubernetes_validate.validate(document, version, strict=True)


def test_helm_finds_nothing_to_complain_of() -> None:
    for values in ({}, EVERYTHING):
        report = lint(CHART, values, strict=True)
        # That there is no icon is all that may be remarked.
        assert [message for message in report["messages"] if message["severity"] > 1] == []
        assert not report["errors"]


def test_values_that_the_chart_does_not_know_are_refused() -> None:
    for wrong in ({"replicas": 3}, {"service": {"port": "http"}}, {"secrets": {"values": {"password": "x"}}}):
        with pytest.raises(HelmError):
            rendered(wrong)


def test_a_pod_does_as_the_documentation_says() -> None:
    documents = rendered(EVERYTHING)
    pod = one(documents, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    # Of a service named `rehome-server` nothing is in the environment.
    assert pod["enableServiceLinks"] is False
    assert one(documents, "Service")["metadata"]["name"] == "rehome-server"
    assert container["readinessProbe"]["httpGet"] == {"path": "/health/ready", "port": "http", "scheme": "HTTPS"}
    assert container["livenessProbe"]["httpGet"]["path"] == "/health/live"
    (source,) = container["envFrom"]
    assert source["secretRef"]["name"] == one(documents, "Secret")["metadata"]["name"]
    # No secret is in what everybody may read.
    assert "SECRET" not in json.dumps(one(documents, "ConfigMap")) + json.dumps(one(documents, "Deployment"))
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    labels = one(documents, "Deployment")["spec"]["template"]["metadata"]["labels"]
    for selects in (one(documents, "Service")["spec"]["selector"],
                    one(documents, "ServiceMonitor")["spec"]["selector"]["matchLabels"]):
        assert selects.items() <= labels.items()
    existing = rendered({"secrets": {"existing": "mine", "values": {"REHOME_X": "y"}}})
    assert "Secret" not in [document["kind"] for document in existing]
    assert "mine" in json.dumps(one(existing, "Deployment"))


def test_the_configuration_is_rehomes() -> None:
    config = tomllib.loads(one(rendered({}), "ConfigMap")["data"]["rehome.toml"])
    assert config["server"]["bind"].endswith(":7411")
    assert [store["id"] for store in config["stores"]] == ["shared", "dedicated"]


def test_prometheus_takes_the_rules_and_the_token(tmp_path: Path) -> None:
    documents = rendered(EVERYTHING)
    rules = tmp_path / "rules.yml"
    spec = one(documents, "PrometheusRule")["spec"]
    rules.write_text(yaml.safe_dump(spec))
    checked = subprocess.run(["promtool", "check", "rules", str(rules)], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert spec == yaml.safe_load((ROOT / "monitoring/rules/rehome.yml").read_text())
    (endpoint,) = one(documents, "ServiceMonitor")["spec"]["endpoints"]
    assert endpoint["port"] == one(documents, "Service")["spec"]["ports"][0]["name"]
    assert endpoint["authorization"] == {"type": "Bearer", "credentials": {"name": "prometheus", "key": "token"}}
    (open_one,) = one(rendered({"serviceMonitor": {"enabled": True}}), "ServiceMonitor")["spec"]["endpoints"]
    assert "authorization" not in open_one


def test_the_charts_version_is_the_workspaces() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert chart["version"] == chart["appVersion"] == workspace


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    # Versions of Debian's packages are those of the image's release.
    hadolint = Path(sys.executable).with_name("hadolint")
    arguments = ["--ignore", "DL3008", str(ROOT / "packaging/docker/Dockerfile")]
    linted = subprocess.run([hadolint, *arguments], capture_output=True, text=True)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_docker_compose_reads_the_compose_file() -> None:
    file = ROOT / "packaging/docker/compose.yaml"
    environment = {"PATH": os.environ["PATH"], "POSTGRES_PASSWORD": "a/pass:word@"}
    read = subprocess.run(
        ["docker-compose", "--file", str(file), "config"], env=environment, capture_output=True, text=True
    )
    assert read.returncode == 0, read.stdout + read.stderr
    services = yaml.safe_load(read.stdout)["services"]
    # Also one that a URL would not take as it is.
    for name, variable in (("rehome", "PGPASSWORD"), ("postgres", "POSTGRES_PASSWORD")):
        assert services[name]["environment"][variable] == "a/pass:word@"
    # Nobody but this machine reaches it.
    assert "127.0.0.1" in json.dumps(services["rehome"]["ports"])
    for volume in services["rehome"]["volumes"] + services["postgres"]["volumes"]:
        source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
        assert not source.startswith("/") or Path(source).is_file(), source
    del environment["POSTGRES_PASSWORD"]
    refused = subprocess.run(
        ["docker-compose", "--file", str(file), "config"], env=environment, capture_output=True, text=True
    )
    assert refused.returncode != 0 and "set it to a password" in refused.stdout + refused.stderr
