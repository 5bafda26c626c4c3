"""The command line: exit codes, one-line faults, and what each small command prints."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from detector import __version__
from detector.cli import app
from detector.commands.schema import schemas_by_name


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("DETECTOR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def invoke(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603  # our own command
        [sys.executable, "-m", "detector", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


class TestExitCodes:
    def test_a_fault_in_the_settings_ends_with_two_and_one_line_each(self) -> None:
        Path("bad.yaml").write_text("kafka: {topic: a}\nseries: {limit: 1}", encoding="utf-8")
        done = command("run", "--config", "bad.yaml")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.splitlines() == [
            "settings: kafka.topic is not a setting; did you mean kafka.topics? (in bad.yaml)",
            "settings: series.limit is not a setting; did you mean series.limit_per_partition? (in bad.yaml)",
        ]

    def test_a_run_without_brokers_ends_with_two_and_one_line(self) -> None:
        done = command("run")
        assert done.returncode == 2
        assert done.stderr == "settings: kafka.bootstrap_servers is needed here: a list of host:port\n"

    def test_an_option_that_the_client_refuses_is_a_fault_of_usage(self) -> None:
        text = "kafka: {bootstrap_servers: 'localhost:1', topics: [a], librdkafka: {no.such.option: 1}}"
        Path("c.yaml").write_text(text, encoding="utf-8")
        code, _, stderr = invoke("run", "--config", "c.yaml")
        assert code == 2
        assert "no.such.option" in stderr
        assert len(stderr.splitlines()) == 1

    @pytest.mark.parametrize(
        ("what", "line"),
        [
            ("14x", "settings: state.bootstrap: should be a length of time such as 14d or 36h, earliest, or a path "),
            ("./no", "settings: state.bootstrap: no: no such file or folder"),
            (".", "settings: state.bootstrap: no file ending in "),
            ("7d", "settings: kafka.bootstrap_servers is needed here"),
            ("earliest", "settings: kafka.bootstrap_servers is needed here"),
            ("history", "settings: kafka.bootstrap_servers is needed here"),
        ],
    )
    def test_what_to_learn_from_is_checked_before_anything_else(self, what: str, line: str) -> None:
        if what == "history":
            Path("history").mkdir()
            Path("history/a.csv").write_text("time,value\n1,2\n", encoding="utf-8")
        code, _, stderr = invoke("run", "--bootstrap", what)
        assert code == 2
        assert len(stderr.splitlines()) == 1
        assert stderr.startswith(line)

    def test_an_unknown_command_ends_with_two(self) -> None:
        assert invoke("walk")[0] == 2

    @pytest.mark.parametrize("module", ["detector", "detector.cli"])
    def test_the_version_is_printed_by_either_module(self, module: str) -> None:
        done = subprocess.run(  # noqa: S603  # our own command
            [sys.executable, "-m", module, "--version"], capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == f"detector {__version__}\n"


class TestCheck:
    def test_it_prints_the_settings_in_force_as_yaml_that_can_be_read_back(self) -> None:
        Path("c.yaml").write_text("kafka: {topics: [a], sasl_password: hunter2}", encoding="utf-8")
        code, stdout, stderr = invoke("check", "-c", "c.yaml")
        shown = yaml.safe_load(stdout)
        assert code == 0
        assert "settings are valid" in stderr
        assert shown["kafka"]["topics"] == ["a"]
        assert shown["kafka"]["sasl_password"] == "**********"  # noqa: S105  # hidden
        assert shown["worker"]["commit_interval_s"] == 0.5
        assert "hunter2" not in stdout + stderr

    def test_it_finds_what_only_building_the_parts_can_find(self) -> None:
        text = "policies: [{name: a, match: 'up{x=1}'}]"
        Path("c.yaml").write_text(text, encoding="utf-8")
        code, _, stderr = invoke("check", "-c", "c.yaml")
        assert code == 2
        assert stderr.startswith("settings: policies[0]: ")


class TestSchema:
    def test_without_a_name_it_lists_all(self) -> None:
        assert invoke("schema")[1].split() == [
            "anomaly",
            "log-anomaly",
            "metric",
            "dead-letter",
            "asyncapi",
            "settings",
        ]

    @pytest.mark.parametrize("name", list(schemas_by_name()))
    def test_each_is_printed_as_it_is_published(self, name: str) -> None:
        code, stdout, _ = invoke("schema", name)
        assert code == 0
        document = yaml.safe_load(stdout) if name == "asyncapi" else json.loads(stdout)
        assert isinstance(document, dict)

    def test_an_unknown_name_is_a_fault_of_usage(self) -> None:
        code, _, stderr = invoke("schema", "x")
        assert (code, stderr.splitlines()) == (
            2,
            ["schema: there is no 'x'; there are anomaly, log-anomaly, metric, dead-letter, asyncapi, settings"],
        )


class TestWarmup:
    def test_every_compiled_learner_is_compiled_and_so_are_log_lines(self) -> None:
        code, stdout, _ = invoke("warmup")
        assert code == 0
        learners = [line.split(": kernels compiled and cached in ")[0] for line in stdout.splitlines()]
        assert learners == ["auto", "counts", "envelope", "residual", "logs"]

    def test_kernels_that_only_silence_or_a_new_level_calls_are_among_them(self) -> None:
        script = (
            "from detector.episodes import kernel, outputs, shapes, timers\n"
            "from detector.learners import auto, auto_peers, auto_waiting, counts, envelope, residual\n"
            "from detector.series import order\n"
            "from detector.settings import Settings\n"
            "from detector.commands.warmup import warm_up\n"
            "warm_up(Settings())\n"
            "kernels = (kernel.judge_rows, timers.due_slots, timers.fire, outputs.emit, outputs.emit_no_data)\n"
            "kernels = (*kernels, order.admit, order.next_expiry, shapes.next_shift, envelope.rebaseline)\n"
            "kernels = (*kernels, counts._rebaseline_rows, residual._rebaseline_rows)\n"
            "kernels = (*kernels, auto_waiting._collect, auto_waiting._choices)\n"
            "kernels = (*kernels, auto._survey, auto._holds_no_count, auto_peers._fill_priors, order.next_point)\n"
            "print([len(kernel.signatures) for kernel in kernels])\n"
        )
        counts = self.found_by(script)
        assert len(counts) == 17
        assert min(counts) >= 1

    def test_an_incident_in_five_formats_needs_no_other_kernels_of_log_lines(self) -> None:
        script = (
            "import json, sys\n"
            "import numpy as np\n"
            "from numba.core.dispatcher import Dispatcher\n"
            "from detector.batches import RecordBatch\n"
            "from detector.commands.demo_shop import shop_beats\n"
            "from detector.commands.warmup import warm_up\n"
            "from detector.ports import TopicPartition\n"
            "from detector.settings import Settings\n"
            "from detector.state import decode, encode\n"
            "from detector.wiring_logs import LogPipelineFactory\n"
            "warm_up(Settings())\n"
            "def compiled():\n"
            "    named = [(m, n, k) for m, module in sorted(sys.modules.items()) if m.startswith('detector.')\n"
            "             for n, k in vars(module).items() if isinstance(k, Dispatcher)]\n"
            "    return [[m, n, len(k.signatures)] for m, n, k in named]\n"
            "before = compiled()\n"
            "lines = [line for beat in shop_beats() for line in sorted(beat.lines, key=lambda line: line.time_ms)]\n"
            "factory, place = LogPipelineFactory(Settings()), TopicPartition('logs', 0)\n"
            "pipeline, count = factory(place), 0\n"
            "for start in range(0, len(lines), 20_000):\n"
            "    part = lines[start : start + 20_000]\n"
            "    offsets = np.arange(start, start + len(part))\n"
            "    times = np.array([line.time_ms for line in part])\n"
            "    batch = RecordBatch('logs', 0, offsets, times, [line.record for line in part])\n"
            "    output = pipeline.process(batch)\n"
            "    count += len(output.events)\n"
            "    kept = encode(*pipeline.snapshot(offset=output.next_offset, cluster=''))\n"
            "    pipeline = factory(place)\n"
            "    pipeline.restore(decode(kept), cluster='')\n"
            "print(json.dumps([count, before, compiled()]))\n"
        )
        events, before, after = self.found_by(script)
        assert events > 0
        assert len(before) > 50
        assert after == before

    def found_by(self, script: str) -> Any:
        """What a process of its own prints."""
        environment = {**os.environ, "NUMBA_DISABLE_JIT": "0"}
        done = subprocess.run(  # noqa: S603 - our own text
            [sys.executable, "-c", script], env=environment, capture_output=True, check=False, text=True
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
