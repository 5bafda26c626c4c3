"""What lies in deploy/ fits the program: settings load, probes and ports exist, nothing runs as root."""

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from prometheus_client import CollectorRegistry
from typer.main import get_command

from detector.cli import app
from detector.settings import Settings, load_settings
from detector.telemetry import Health, HealthServer, Metrics
from detector.wiring import PipelineFactory, connection_of, group_of, limits_of

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
COMMIT_TIMEOUT_S: Final = group_of(
    Settings.model_validate({"kafka": {"bootstrap_servers": "a:1", "topics": ["m"]}})
).commit_timeout_s
"""How long the last commit of a graceful stop may take after ``worker.shutdown_timeout_s``."""


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DETECTOR_"):
            monkeypatch.delenv(name)


def manifests() -> dict[str, Any]:
    """The documents of kubernetes.yaml by kind; there is one of each."""
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8")))
    by_kind = {document["kind"]: document for document in documents}
    assert len(by_kind) == len(documents)
    return by_kind


def embedded() -> str:
    """Text of the settings file in the ConfigMap."""
    text = manifests()["ConfigMap"]["data"]["detector.yaml"]
    assert isinstance(text, str)
    return text


def pod() -> Any:
    return manifests()["StatefulSet"]["spec"]["template"]["spec"]


def worker() -> Any:
    (container,) = pod()["containers"]
    return container


def services() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))["services"]


def commands() -> set[str]:
    """Every command as it is typed: ``run``, ``topics create``."""
    found = set()
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]  # the app is a group
        found |= {f"{name} {inner}" for inner in command.commands} if hasattr(command, "commands") else {name}
    return found


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text.removesuffix("s"))


def loads(path: Path) -> Settings:
    """Load as ``detector check`` does, and build everything that needs no broker."""
    settings = load_settings([path])
    PipelineFactory(settings)
    connection_of(settings.kafka)
    group_of(settings)
    return settings


class TestSettings:
    def test_of_the_compose_file_load(self) -> None:
        settings = loads(DEPLOY / "detector.yaml")
        assert settings.kafka.bootstrap_servers == ("kafka:9092",)

    def test_of_the_config_map_load(self, tmp_path: Path) -> None:
        path = tmp_path / "detector.yaml"
        path.write_text(embedded(), "utf-8")
        assert loads(path).kafka.topics == ("metrics",)

    def test_of_the_config_map_load_with_the_commented_lines_too(self, tmp_path: Path) -> None:
        secret = tmp_path / "password"
        secret.write_text("hidden\n", "utf-8")
        text = re.sub(r"^(\s*)# ?(\w+:)", r"\1\2", embedded(), flags=re.MULTILINE)
        path = tmp_path / "detector.yaml"
        path.write_text(text.replace("/etc/detector-secrets/password", str(secret)), "utf-8")
        kafka = loads(path).kafka
        assert (kafka.security_protocol, kafka.sasl_username, kafka.sasl_secret()) == ("sasl_ssl", "detector", "hidden")

    def test_of_environment_variables_are_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        names = [variable["name"] for variable in worker()["env"] if variable["name"].startswith("DETECTOR_")]
        for name in names:
            monkeypatch.setenv(name, "detector-0")
        assert names == ["DETECTOR_KAFKA__CLIENT_ID"]
        assert load_settings().kafka.client_id == "detector-0"


@pytest.fixture
def health() -> Iterator[HealthServer]:
    server = HealthServer("127.0.0.1", 0, Metrics(CollectorRegistry()).registry, Health(lambda: 0.0, 60, lambda: True))
    yield server
    server.close()


class TestKubernetes:
    def test_probes_ask_what_is_served(self, health: HealthServer) -> None:
        for name, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            get = worker()[name]["httpGet"]
            assert get == {"path": path, "port": "metrics"}
            assert health._answer(path, "").status == 200

    def test_a_dead_loop_is_told_before_it_is_killed_and_slow_starts_are_waited_for(self) -> None:
        startup, liveness = worker()["startupProbe"], worker()["livenessProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 60
        assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 30

    def test_ports_agree(self) -> None:
        port = Settings().telemetry.http_port
        kinds = manifests()
        annotations = kinds["StatefulSet"]["spec"]["template"]["metadata"]["annotations"]
        assert worker()["ports"] == [{"name": "metrics", "containerPort": port}]
        assert kinds["Service"]["spec"]["ports"] == [{"name": "metrics", "port": port}]
        assert annotations == {"prometheus.io/scrape": "true", "prometheus.io/port": str(port)}

    def test_selectors_select_the_pods(self) -> None:
        kinds = manifests()
        labels = kinds["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
        assert kinds["StatefulSet"]["spec"]["selector"] == {"matchLabels": labels}
        assert kinds["PodDisruptionBudget"]["spec"]["selector"] == {"matchLabels": labels}
        assert kinds["Service"]["spec"]["selector"] == labels
        assert kinds["StatefulSet"]["spec"]["serviceName"] == kinds["Service"]["metadata"]["name"]

    def test_a_graceful_stop_fits_into_the_grace_period(self) -> None:
        stop_s = limits_of(Settings()).shutdown_timeout_s + COMMIT_TIMEOUT_S
        assert pod()["terminationGracePeriodSeconds"] > stop_s

    def test_nothing_runs_as_root_or_writes_to_the_root_file_system(self) -> None:
        assert pod()["securityContext"]["runAsNonRoot"] is True
        assert pod()["securityContext"]["runAsUser"] == 10001
        assert pod()["automountServiceAccountToken"] is False
        for container in (*pod()["initContainers"], worker()):
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"] is True
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}

    def test_every_mount_has_its_volume_and_the_kernels_are_writable(self) -> None:
        volumes = {volume["name"]: volume for volume in pod()["volumes"]}
        mounts = {mount["mountPath"]: mount for mount in worker()["volumeMounts"]}
        assert {mount["name"] for mount in mounts.values()} == set(volumes)
        (cache,) = [variable["value"] for variable in worker()["env"] if variable["name"] == "NUMBA_CACHE_DIR"]
        assert volumes[mounts[cache]["name"]]["emptyDir"] == {}
        assert not mounts[cache].get("readOnly")
        (init,) = pod()["initContainers"]
        assert init["command"][-2:] == [f"{environment()['NUMBA_CACHE_DIR']}/.", f"{cache}/"]
        config = worker()["args"][worker()["args"].index("--config") + 1]
        assert volumes[mounts[str(Path(config).parent)]["name"]]["configMap"]["name"] == "detector"
        assert Path(config).name in manifests()["ConfigMap"]["data"]

    def test_calls_a_command_that_exists(self) -> None:
        assert worker()["args"][0] in commands()


class TestCompose:
    def test_calls_commands_that_exist(self) -> None:
        assert " ".join(services()["topics"]["command"][:2]) in commands()
        assert services()["worker"]["command"][0] in commands()

    def test_mounts_the_settings_where_they_are_looked_for(self) -> None:
        for name in ("topics", "worker"):
            service = services()[name]
            source, target, _ = service["volumes"][0].split(":")
            assert (DEPLOY / source).is_file()
            assert service["command"][-2:] == ["--config", target]

    def test_ports_agree(self) -> None:
        port = Settings().telemetry.http_port
        assert services()["worker"]["ports"] == [f"{port}:{port}"]
        kafka = services()["kafka"]
        listeners = dict(item.split("://:") for item in kafka["environment"]["KAFKA_LISTENERS"].split(","))
        advertised = dict(item.split("://") for item in kafka["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(","))
        outer, inner = kafka["ports"][0].split(":")
        assert listeners["OUTSIDE"] == inner
        assert advertised["OUTSIDE"] == f"localhost:{outer}"
        assert advertised["INSIDE"] == f"kafka:{listeners['INSIDE']}" == "kafka:9092"

    def test_a_graceful_stop_fits_into_the_grace_period(self) -> None:
        stop_s = limits_of(Settings()).shutdown_timeout_s + COMMIT_TIMEOUT_S
        assert seconds(services()["worker"]["stop_grace_period"]) > stop_s

    def test_the_worker_may_write_to_one_place_and_keeps_its_kernels_there(self) -> None:
        service = services()["worker"]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        (writable,) = service["tmpfs"]
        assert service["environment"]["NUMBA_CACHE_DIR"].startswith(f"{writable}/")
        shell, option, script, name = service["entrypoint"]
        assert (shell, option, name) == ("sh", "-c", "sh")
        copied = f"cp -r {environment()['NUMBA_CACHE_DIR']} {service['environment']['NUMBA_CACHE_DIR']}"
        assert script == f'{copied} && exec detector "$$@"'


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Dockerfile in order, continued lines joined, comments left out."""
    lines = [line for line in (DEPLOY / "Dockerfile").read_text("utf-8").splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in joined) if name]


def final_stage() -> list[tuple[str, str]]:
    all_of_it = instructions()
    last = max(index for index, (name, _) in enumerate(all_of_it) if name == "FROM")
    return all_of_it[last:]


def environment() -> dict[str, str]:
    """Variables of the image."""
    return dict(pair.split("=", 1) for name, rest in final_stage() if name == "ENV" for pair in shlex.split(rest))


class TestDockerfile:
    def test_the_image_runs_as_a_numeric_user_who_is_not_root(self) -> None:
        (user,) = [rest for name, rest in final_stage() if name == "USER"]
        assert user == str(pod()["securityContext"]["runAsUser"])
        assert int(user) >= 1000
        assert not [name for name, _ in final_stage()[final_stage().index(("USER", user)) + 1 :] if name == "RUN"]

    def test_nothing_is_fetched_but_packages_at_pinned_versions(self) -> None:
        runs = [rest for name, rest in instructions() if name == "RUN"]
        for run in runs:
            assert not re.search(r"\b(curl|wget|git)\b|https?://", run)
            for install in re.findall(r"pip install[^&]*", run):
                assert "--constraint constraints.txt" in install or "--no-deps" in install
        assert not [rest for name, rest in instructions() if name == "ADD"]

    def test_its_commands_exist(self) -> None:
        called = [
            word for name, rest in instructions() if name == "RUN" for word in re.findall(r"\bdetector (\w+)$", rest)
        ]
        assert "warmup" in called
        assert set(called) <= commands()
        assert ("ENTRYPOINT", '["detector"]') in final_stage()
        (command,) = [yaml.safe_load(rest) for name, rest in final_stage() if name == "CMD"]
        assert command[0] in commands()

    def test_what_it_copies_is_in_the_build_context(self) -> None:
        allowed = {
            line.removeprefix("!")
            for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
            if line[0] == "!"
        }
        copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and "--from" not in rest]
        for source in (source for sources in copied for source in sources):
            assert source in allowed
            assert (ROOT / source).exists()

    def test_it_exposes_the_port_of_the_metrics(self) -> None:
        assert ("EXPOSE", str(Settings().telemetry.http_port)) in final_stage()

    def test_kernels_are_compiled_for_the_cpu_that_they_are_looked_up_for(self) -> None:
        built = dict(pair.split("=", 1) for name, rest in instructions() if name == "ENV" for pair in shlex.split(rest))
        assert environment()["NUMBA_CPU_NAME"] == built["NUMBA_CPU_NAME"] == "generic"
        assert instructions().index(("RUN", "detector warmup")) < instructions().index(final_stage()[0])
        before_warmup = instructions()[: instructions().index(("RUN", "detector warmup"))]
        assert any(name == "ENV" and "NUMBA_CPU_NAME=generic" in rest for name, rest in before_warmup)

    def test_every_pinned_dependency_of_the_program_is_in_the_constraints(self) -> None:
        project = (ROOT / "pyproject.toml").read_text("utf-8")
        (listed,) = re.findall(r"^dependencies = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
        wanted = {name.lower().replace("_", "-") for name in re.findall(r'"([\w.-]+)', listed)}
        pinned = {
            line.split("==")[0].lower().replace("_", "-")
            for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines()
            if "==" in line
        }
        assert wanted <= pinned
