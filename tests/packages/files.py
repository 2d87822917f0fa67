"""Checks the files of packaging/ that others' programs read: the Helm chart, as Helm renders it and
Kubernetes takes it; the compose file and the image's configuration; and the release workflow.

Needs what requirements.txt names, and STENTOR_BIN. Closes with `N passed, N failed`.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import helm_python as helm
import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "packaging/helm/stentor"
BIN = os.environ["STENTOR_BIN"]
KUBERNETES = "1.37"
SERVICE_MONITOR = "ServiceMonitor"
# With everything on; a label that looks like a number must stay text.
EVERYTHING = {
    "image": {"repository": "registry.example.org/stentor", "tag": "1.2.3"},
    "imagePullSecrets": [{"name": "pull"}],
    "secrets": "router",
    "env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}],
    "service": {"type": "LoadBalancer", "annotations": {"example.org/a": "1"}},
    "persistence": {"enabled": True, "size": "8Gi", "storageClass": "fast"},
    "podDisruptionBudget": {"enabled": True},
    "metrics": {"enabled": True, "serviceMonitor": {"enabled": True, "labels": {"release": "1"}}},
    "podLabels": {"team": "1"},
    "podAnnotations": {"a": "b"},
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "k", "operator": "Exists"}],
    "affinity": {"nodeAffinity": {}},
    "priorityClassName": "high",
    "serviceAccount": {"annotations": {"a": "b"}},
}
KINDS = {"ConfigMap", "Service", "ServiceAccount", "StatefulSet"}
# What the schema or the templates must refuse, with a word of what is said.
REFUSED = [
    ({"replicaCount": 3}, "replicaCount"),
    ({"ports": {"wamp": 0}}, "wamp"),
    ({"healthPath": "healthz"}, "healthPath"),
    ({"service": {"type": "Cluster"}}, "type"),
    ({"persistence": {"size": "much"}}, "size"),
    ({"metrics": {"serviceMonitor": {"enabled": True}}}, "secrets"),
    ({"secrets": "a", "metrics": {"serviceMonitor": {"enabled": True}}}, "metrics.enabled"),
]
outcomes = []


def check(what, is_so, said=""):
    outcomes.append(is_so)
    if not is_so:
        print(f"FAILED: {what}: {said}")


def render(values, name="demo"):
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        files = chart.render(values, name=name, namespace="wamp")
    objects = []
    for path, text in files.items():
        if not path.endswith(".txt"):
            objects += [one for one in yaml.safe_load_all(text) if one]
    return {one["kind"]: one for one in objects}


def check_objects(objects, what):
    for kind, one in objects.items():
        if kind == SERVICE_MONITOR:  # No part of Kubernetes.
            continue
        try:
            kubernetes_validate.validate(one, KUBERNETES, strict=True)
            check(what, True)
        except kubernetes_validate.ValidationError as error:
            check(f"{what}: Kubernetes takes the {kind}", False, str(error))


def config_says(text, key, default):
    found = re.search(rf"^\s*{key} = (\d+)", text, re.MULTILINE)
    return int(found[1]) if found else default


def check_config(text, what):
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([BIN, "check", file.name], capture_output=True, text=True)
    check(f"{what}: the router takes the configuration", done.returncode == 0, done.stderr)


def drain_s(text):
    """How long a stop may take at most, as docs/stopping.md has it."""
    delay, drain = config_says(text, "drain_delay_ms", 0), config_says(text, "drain_ms", 20000)
    return (delay + drain + 2 * config_says(text, "close_ms", 2000)) / 1000 + 1


def check_chart():
    lint = helm.lint(str(CHART))
    check("helm finds nothing wrong", not lint["errors"], lint["errors"])
    objects = render({})
    check("what there is by default", set(objects) == KINDS, set(objects))
    check_objects(objects, "by default")
    full = render(EVERYTHING)
    more = KINDS | {SERVICE_MONITOR, "PodDisruptionBudget"}
    check("what there is with everything", set(full) == more, set(full))
    check_objects(full, "with everything")
    config = objects["ConfigMap"]["data"]["stentor.toml"]
    check_config(config, "the chart")
    listens = re.search(r'listen = "0\.0\.0\.0:(\d+)"\n\s*health = "([^"]+)"', config)
    spec = objects["StatefulSet"]["spec"]
    pod = spec["template"]["spec"]
    container = pod["containers"][0]
    check("there is one router", spec["replicas"] == 1)
    check("the pod waits for the drain", pod["terminationGracePeriodSeconds"] > drain_s(config))
    port = {"containerPort": int(listens[1]), "name": "wamp"}
    check("the pod has the port of the configuration", container["ports"] == [port])
    for probe in ("startupProbe", "readinessProbe"):
        path = container[probe]["httpGet"]["path"]
        check(f"{probe} asks the path of the configuration", path == listens[2], path)
    check("it is not root", pod["securityContext"]["runAsNonRoot"] is True)
    service, labels = objects["Service"]["spec"], spec["template"]["metadata"]["labels"]
    finds = service["selector"].items() <= labels.items()
    check("the service finds the pod", finds and spec["selector"]["matchLabels"].items() <= labels.items())
    changed = render({"config": config + "\n# changed\n"})["StatefulSet"]["spec"]["template"]
    check("a changed configuration restarts it", changed["metadata"] != spec["template"]["metadata"])
    monitor = full[SERVICE_MONITOR]["spec"]["endpoints"][0]
    ports = [port["name"] for port in full["Service"]["spec"]["ports"]]
    check("Prometheus asks a port of the service", monitor["port"] in ports, ports)
    check("with TLS", monitor["scheme"] == "https")
    long = render({}, name="a" * 53)["StatefulSet"]["metadata"]["name"]
    check("long names fit", len(long) <= 52, long)
    for values, word in REFUSED:
        try:
            render(values)
            check(f"{values} is refused", False, "it was taken")
        except helm.HelmError as error:
            check(f"{values} is refused", word in str(error), str(error))


def check_image():
    image = ROOT / "packaging/oci"
    config = (image / "stentor.toml").read_text()
    check_config(config, "the image")
    compose = yaml.safe_load((image / "compose.yaml").read_text())
    service = compose["services"]["stentor"]
    patience = int(service["stop_grace_period"].removesuffix("s"))
    check("compose waits for the drain", patience > drain_s(config), patience)
    containerfile = (image / "Containerfile").read_text()
    port = re.search(r"^EXPOSE (\d+)$", containerfile, re.MULTILINE)[1]
    check("the image has the port of its configuration", f'"0.0.0.0:{port}"' in config)
    check("compose publishes it", service["ports"] == [f"127.0.0.1:{port}:{port}"])
    check("it is not root", re.search(r"^USER 10001:10001$", containerfile, re.MULTILINE))


def check_versions():
    version = re.search(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)[1]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    check("the chart is for this version", chart["appVersion"] == version, chart["appVersion"])
    compose = (ROOT / "packaging/oci/compose.yaml").read_text()
    check("so is the compose file", f"STENTOR_VERSION:-{version}}}" in compose)
    changelog = (ROOT / "packaging/debian/changelog").read_text()
    check("so is Debian's changelog", changelog.startswith(f"stentor ({version}-1) "))
    check_config((ROOT / "packaging/debian/stentor.toml").read_text(), "the Debian package")


if __name__ == "__main__":
    check_chart()
    check_image()
    check_versions()
    failed = len(outcomes) - sum(map(bool, outcomes))
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    sys.exit(failed > 0)
