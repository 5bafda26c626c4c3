"""Settings: what is accepted, what wins, and how a fault reads."""

import os
from pathlib import Path

import pytest
import yaml

from detector.episodes import DEFAULT_POLICY, NoData
from detector.errors import UsageError
from detector.io import KafkaSource
from detector.settings import (
    KafkaSettings,
    PolicySettings,
    Settings,
    SettingsFaultsError,
    bootstrap_source,
    config_hash,
    effective,
    is_log_topic,
    load_settings,
)
from detector.wiring import PipelineFactory, connection_of, delivery_of, group_of, limits_of, policy_of
from detector.worker import WorkerLimits


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Start without settings from outside, in a folder of the test's own, so that files go by short names."""
    for name in list(os.environ):
        if name.startswith("DETECTOR_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "detector.yaml") -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


def faults(*files: Path) -> list[str]:
    with pytest.raises(SettingsFaultsError) as caught:
        load_settings(files)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


FAULTS = [
    (
        "kafka: {bootstrap_server: 'a:1'}",
        ["kafka.bootstrap_server is not a setting; did you mean kafka.bootstrap_servers? (in detector.yaml)"],
    ),
    (
        "kafak: {}",
        ["kafak is not a setting; did you mean kafka? (in detector.yaml)"],
    ),
    (
        "bootstrap_servers: 'a:1'",
        ["bootstrap_servers is not a setting; did you mean kafka.bootstrap_servers? (in detector.yaml)"],
    ),
    (
        "output: {zzz: 1}",
        ["output.zzz is not a setting; known here: prefix, source (in detector.yaml)"],
    ),
    (
        "telemetry: {http_port: 70000, log_level: loud}",
        [
            "telemetry.http_port: should be less than or equal to 65535, not 70000 (in detector.yaml)",
            "telemetry.log_level: should be 'debug', 'info', 'warning' or 'error', not 'loud' (in detector.yaml)",
        ],
    ),
    (
        "kafka: {sasl_password: [hunter2]}",
        ["kafka.sasl_password: should be a valid string, not ********** (in detector.yaml)"],
    ),
    (
        "kafka: {librdkafka: {ssl.key.password: [hunter2]}}",
        ["kafka.librdkafka.ssl.key.password: should be text, a number, true or false (in detector.yaml)"],
    ),
    (
        "models: {m: {river: os.system}}",
        [r"models.m.river: should match pattern '^river(\.\w+)+$', not 'os.system' (in detector.yaml)"],
    ),
    (
        "models: {m: {river: river.anomaly.HalfSpaceTrees, feature: [value]}}",
        ["models.m.feature is not a setting; did you mean models.m.features? (in detector.yaml)"],
    ),
    (
        "models: {m: {residual: {}, other: {}}}",
        ["models.m: should name one learner, such as {envelope: {}} (in detector.yaml)"],
    ),
    (
        "policies: [{match: up, open: 7 of 5, close: always, opn: 1}]",
        [
            "policies[0].name is missing (in detector.yaml)",
            "policies[0].open: 7 of 5 can never be reached (in detector.yaml)",
            "policies[0].close: should read like '3 of 5' (in detector.yaml)",
            "policies[0].opn is not a setting; did you mean policies[0].open? (in detector.yaml)",
        ],
    ),
    (
        "policies: [{name: a, no_data: {interval: 3, min_s: -1}, silence_close_s: -1}]\nseries: {timer_interval_s: 0}",
        [
            "series.timer_interval_s: should be greater than or equal to 1, not 0 (in detector.yaml)",
            "policies[0].silence_close_s: should be greater than or equal to 0, not -1 (in detector.yaml)",
            "policies[0].no_data.min_s: should be greater than or equal to 0, not -1 (in detector.yaml)",
            (
                "policies[0].no_data.interval is not a setting; "
                "did you mean policies[0].no_data.intervals? (in detector.yaml)"
            ),
        ],
    ),
    (
        "policies: [{name: a, model: tree}]\nmodels: {trees: auto}",
        ["policies[0].model: 'tree' is not one of `models`; did you mean trees? (in detector.yaml)"],
    ),
    (
        "policies: [{name: a}, {name: a, match: up}]",
        ["policies[1].name: 'a' stands twice (in detector.yaml)"],
    ),
    (
        "kafka: [",
        ["not valid YAML: expected the node content, but found '<stream end>' (in detector.yaml, line 1, column 9)"],
    ),
    (
        "kafka: {}\nkafka: {}",
        ["not valid YAML: the key 'kafka' stands twice (in detector.yaml, line 2, column 1)"],
    ),
    (
        "- kafka",
        ["the file should hold a mapping of sections, not a list (in detector.yaml)"],
    ),
]


class TestFaults:
    @pytest.mark.parametrize(("text", "expected"), FAULTS, ids=[text[:30] for text, _ in FAULTS])
    def test_each_fault_is_one_line_with_its_path_and_file(self, text: str, expected: list[str]) -> None:
        assert faults(write(text)) == [f"settings: {line}" for line in expected]

    def test_the_file_that_gave_the_value_is_named(self) -> None:
        first = write("series: {limit_per_partition: 0}", "a.yaml")
        second = write("worker: {poll_timeout_s: 99}", "b.yaml")
        assert [line.rsplit("(", 1)[1] for line in faults(first, second)] == ["in a.yaml)", "in b.yaml)"]

    def test_who_decides_about_the_session_is_said(self) -> None:
        (line,) = faults(write("kafka: {group_protocol: consumer, session_timeout_ms: 3000}"))
        assert "group.consumer.session.timeout.ms" in line
        assert line.endswith("(in detector.yaml)")

    def test_effective_settings_can_be_given_back(self) -> None:
        settings = load_settings([write("kafka: {group_protocol: consumer}")])
        assert load_settings([write(yaml.safe_dump(effective(settings)), "again.yaml")]) == settings

    def test_a_missing_file_is_a_fault_and_not_a_traceback(self) -> None:
        assert faults(Path("none.yaml")) == [
            "settings: the file cannot be read: No such file or directory (in none.yaml)"
        ]

    def test_an_unknown_nested_variable_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DETECTOR_KAFKA__TOPICK", "a")
        monkeypatch.setenv("DETECTOR_KAFKKA__TOPICS", "a")
        assert faults() == [
            "settings: kafkka is not a setting; did you mean kafka? (from DETECTOR_KAFKKA__TOPICS)",
            "settings: kafka.topick is not a setting; did you mean kafka.topics? (from DETECTOR_KAFKA__TOPICK)",
        ]

    def test_a_variable_that_is_no_json_is_a_fault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DETECTOR_KAFKA", "{")
        (line,) = faults()
        assert line.startswith("settings: an environment variable cannot be read:")

    def test_variables_that_kubernetes_sets_for_a_service_are_left_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DETECTOR_PORT", "tcp://10.0.0.1:9464")
        monkeypatch.setenv("DETECTOR_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv("DETECTOR_REQUIRE_KAFKA", "1")
        assert load_settings().kafka.topics == ()


class TestLayers:
    def test_later_files_win_key_by_key_and_lists_are_replaced(self) -> None:
        first = write("kafka: {topics: [a, b], group_id: one}", "a.yaml")
        second = write("kafka: {topics: [c]}", "b.yaml")
        kafka = load_settings([first, second]).kafka
        assert (kafka.topics, kafka.group_id) == (("c",), "one")

    def test_the_environment_wins_over_files(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DETECTOR_KAFKA__TOPICS", "x, y")
        monkeypatch.setenv("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", '["a:1"]')
        monkeypatch.setenv("DETECTOR_DECODER__LIMITS__LABELS_MAX", "7")
        settings = load_settings([write("kafka: {topics: [a], group_id: g}\ndecoder: {limits: {labels_max: 5}}")])
        assert settings.kafka.topics == ("x", "y")
        assert settings.kafka.bootstrap_servers == ("a:1",)
        assert settings.kafka.group_id == "g"
        assert settings.decoder.limits.labels_max == 7

    def test_the_configuration_variable_names_files_when_the_command_line_does_not(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write("kafka: {group_id: one, client_id: me}", "a.yaml")
        write("kafka: {group_id: two}", "b.yaml")
        monkeypatch.setenv("DETECTOR_CONFIG", f"a.yaml{os.pathsep}b.yaml")
        assert (load_settings().kafka.group_id, load_settings().kafka.client_id) == ("two", "me")
        assert load_settings([Path("a.yaml")]).kafka.group_id == "one"

    def test_settings_cannot_be_changed(self) -> None:
        settings = load_settings()
        with pytest.raises(ValueError, match="frozen"):
            settings.kafka.group_id = "other"


class TestSecrets:
    def test_a_secret_comes_from_its_file_without_the_newline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DETECTOR_KAFKA__SASL_PASSWORD_FILE", str(write("hunter2\n", "password")))
        monkeypatch.setenv("DETECTOR_KAFKA__BOOTSTRAP_SERVERS", "a:1,b:2")
        connection = connection_of(load_settings().kafka)
        assert connection.sasl_password == "hunter2"  # noqa: S105  # the password of this test
        assert connection.bootstrap_servers == "a:1,b:2"

    def test_a_secret_given_twice_and_one_that_is_missing_are_faults(self) -> None:
        write("x", "key")
        text = "kafka: {ssl_key_password: y, ssl_key_password_file: key}"
        assert faults(write(text)) == [
            "settings: kafka: a secret and its file (key) are both given; keep one (in detector.yaml)"
        ]
        (line,) = faults(write("kafka: {sasl_password_file: none}"))
        assert line.startswith("settings: kafka: the secret's file cannot be read:")

    def test_no_secret_is_ever_shown(self) -> None:
        kafka = {
            "sasl_password": "hunter2",
            "ssl_key_password": "hunter2",
            "librdkafka": {"ssl.key.pem": "hunter2", "linger.ms": 5},
            "librdkafka_producer": {"sasl.oauthbearer.client.secret": "hunter2"},
            "librdkafka_consumer": {"ssl.keystore.password": "hunter2"},
        }
        settings = load_settings([write(yaml.safe_dump({"kafka": kafka}))])
        assert "hunter2" not in f"{effective(settings)}{settings!r}{settings}{connection_like(settings)!r}"
        assert effective(settings)["kafka"]["librdkafka"]["linger.ms"] == 5


def connection_like(settings: Settings) -> object:
    return connection_of(settings.kafka.model_copy(update={"bootstrap_servers": ("a:1",)}))


class TestDefaults:
    def test_a_policy_without_fields_is_the_default_policy(self) -> None:
        assert policy_of(0, PolicySettings(name=DEFAULT_POLICY.name)) == DEFAULT_POLICY

    def test_no_data_without_fields_is_the_default_too(self) -> None:
        settings = load_settings([write("policies: [{name: a, no_data: {}}]")])
        assert policy_of(0, settings.policies[0]).no_data == NoData()
        assert DEFAULT_POLICY.no_data is None

    def test_the_limits_of_the_worker_are_its_own_defaults(self) -> None:
        assert limits_of(load_settings()) == WorkerLimits()


class TestWiring:
    def test_a_run_without_brokers_or_topics_says_which_setting_is_needed(self) -> None:
        with pytest.raises(UsageError, match=r"kafka\.bootstrap_servers is needed"):
            connection_of(KafkaSettings())
        with pytest.raises(UsageError, match=r"kafka\.topics or logs\.topics is needed"):
            group_of(load_settings())

    def test_a_transaction_may_take_longer_than_some_commits_are_apart(self) -> None:
        text = "kafka: {bootstrap_servers: ['127.0.0.1:1'], topics: [in]}\nworker: {commit_interval_s: 6}"
        settings = load_settings([write(text)])
        connection = connection_of(settings.kafka)
        source = KafkaSource(connection, group_of(settings))
        with pytest.raises(UsageError, match=r"delivery\.transaction_timeout_s: 20 is too little .* at least 24 is"):
            delivery_of(settings, connection, source)
        source.close()

    def test_what_is_set_about_the_group_and_its_losses_arrives(self) -> None:
        text = (
            "kafka: {topics: [in], group_protocol: consumer, auto_offset_reset: latest}\nstate: {on_state_loss: fail}"
        )
        settings = load_settings([write(text)])
        assert (group_of(settings).protocol, group_of(settings).offset_reset) == ("consumer", "latest")
        assert limits_of(settings).on_gap == "fail"

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            (
                "models: {m: {resiual: {}}}",
                r"models\.m\.resiual is not a learner; known here: auto, counts, envelope, residual, river",
            ),
            ("models: {m: {envelope: {timezone: Europe/Nowhere}}}", r"timezone: there is no zone 'Europe/Nowhere'"),
            ("models: {m: {residual: {x: 1}}}", r"models\.m\.residual\.x is not a parameter"),
            ("models: {m: {river: river.anomaly.HalfSpaceTree}}", r"models\.m: .*did you mean 'HalfSpaceTrees'"),
            ("models: {m: {river: river.anomaly.HalfSpaceTrees, features: [vlue]}}", r"models\.m: .*'vlue'"),
            ("models: {m: auto}", r"policies\[0\]: "),
        ],
    )
    def test_a_model_or_selector_that_cannot_be_built_names_its_place(self, text: str, expected: str) -> None:
        match = "'{'" if text.endswith("auto}") else "up"
        settings = load_settings([write(f"{text}\npolicies: [{{name: a, model: m, match: {match}}}]")])
        with pytest.raises(UsageError, match=expected):
            PipelineFactory(settings)


class TestHash:
    def test_it_follows_what_decides_scores_and_nothing_else(self) -> None:
        plain = config_hash(load_settings())
        assert config_hash(load_settings([write("kafka: {group_id: x}\ntelemetry: {http_port: 1}")])) == plain
        assert config_hash(load_settings([write("decoder: {name_default: x}")])) != plain
        assert config_hash(load_settings([write("policies: [{name: x}]")])) != plain
        assert config_hash(load_settings([write("series: {timer_interval_s: 61}")])) != plain
        assert config_hash(load_settings([write("series: {idle_expiry_s: 0}")])) != plain

    def hashes(self, text: str) -> tuple[str, str]:
        """Those of a topic of metrics and of one of log lines."""
        settings = load_settings([write(text)])
        return config_hash(settings, "m"), config_hash(settings, "l")

    def test_topics_of_metrics_and_of_log_lines_have_their_own(self) -> None:
        metrics, logs = self.hashes("logs: {topics: [l]}")
        assert metrics != logs
        assert metrics == config_hash(load_settings())
        assert self.hashes("logs: {topics: [l, more]}") == (metrics, logs)

    @pytest.mark.parametrize(
        "change",
        [
            "window_s: 30",
            "format: plain",
            "lateness_s: 5",
            "limits: {templates_per_service: 100}",
            "redaction: {enabled: false}",
            "policies: [{name: x}]",
        ],
    )
    def test_what_decides_events_of_lines_changes_theirs_alone(self, change: str) -> None:
        metrics, logs = self.hashes("logs: {topics: [l]}")
        after = self.hashes(f"logs: {{topics: [l], {change}}}")
        assert after[0] == metrics
        assert after[1] != logs

    @pytest.mark.parametrize(
        "change", ["policies: [{name: x}]", "models: {x: {residual: {}}}", "decoder: {name_default: x}"]
    )
    def test_what_decides_scores_changes_that_of_metrics_alone(self, change: str) -> None:
        metrics, logs = self.hashes("logs: {topics: [l]}")
        after = self.hashes(f"logs: {{topics: [l]}}\n{change}")
        assert after[0] != metrics
        assert after[1] == logs

    def test_what_both_use_changes_both(self) -> None:
        metrics, logs = self.hashes("logs: {topics: [l]}")
        after = self.hashes("logs: {topics: [l]}\ndecoder: {limits: {ahead_max_s: 5}}")
        assert after[0] != metrics
        assert after[1] != logs


class TestLogTopics:
    @pytest.mark.parametrize(
        ("named", "topic", "expected"),
        [
            ("logs.shop", "logs.shop", True),
            ("logs.shop", "logs_shop", False),
            ("logs.shop", "logs.shop.more", False),
            ("^logs-.*", "logs-shop", True),
            ("^logs-.*", "more-logs-shop", False),
            ("^logs-(a|b)$", "logs-a", True),
            ("^logs-(a|b)$", "logs-ab", False),
        ],
    )
    def test_a_name_is_a_name_and_one_with_a_caret_a_pattern(self, named: str, topic: str, expected: bool) -> None:  # noqa: FBT001
        assert is_log_topic(load_settings([write(f"logs: {{topics: ['{named}']}}")]), topic) is expected

    def test_a_topic_is_one_or_the_other(self) -> None:
        (fault,) = faults(write("kafka: {topics: [a, b]}\nlogs: {topics: [b]}"))
        assert "b" in fault
        assert "topics" in fault


class TestBootstrap:
    @pytest.mark.parametrize(
        ("text", "age_ms"),
        [("90s", 90_000), ("5m", 300_000), ("36h", 129_600_000), ("14d", 1_209_600_000), ("2w", 1_209_600_000)],
    )
    def test_a_length_of_time(self, text: str, age_ms: int) -> None:
        assert bootstrap_source(text) == (age_ms, None)
        assert load_settings([write(f"state: {{bootstrap: {text}}}")]).state.bootstrap == text

    @pytest.mark.parametrize("text", ["./history", "/a/b", "a.jsonl", ".."])
    def test_a_path(self, text: str) -> None:
        assert bootstrap_source(text) == (None, Path(text))

    def test_everything(self) -> None:
        assert bootstrap_source("earliest") == (None, None)
        assert load_settings().state.bootstrap is None

    @pytest.mark.parametrize("text", ["14x", "14 d", "-1d", "d", "fortnight", "latest", "''"])
    def test_what_is_none_of_these_is_one_readable_line(self, text: str) -> None:
        (line,) = faults(write(f"state: {{bootstrap: {text}}}"))
        shown = "''" if text == "''" else repr(text)
        assert line == (
            "settings: state.bootstrap: should be a length of time such as 14d or 36h, earliest, or a path such as "
            f"./history, not {shown} (in detector.yaml)"
        )

    @pytest.mark.parametrize("text", ["0d", "3651d"])
    def test_an_age_has_limits(self, text: str) -> None:
        (line,) = faults(write(f"state: {{bootstrap: {text}}}"))
        assert "more than nothing and at most 3650d" in line

    def test_it_needs_models_that_are_kept_and_a_start_that_is_not_refused(self) -> None:
        text = "{state: {enabled: false, bootstrap: 1d}, kafka: {auto_offset_reset: error}}"
        kept, refused = faults(write(text))
        assert kept.startswith("settings: state.bootstrap: needs state.enabled: true")
        assert "kafka.auto_offset_reset: error" in refused

    def test_the_command_line_wins(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DETECTOR_STATE__BOOTSTRAP", "2d")
        settings = load_settings([write("{state: {bootstrap: 1d, interval_s: 5}}")], bootstrap="3d")
        assert (settings.state.bootstrap, settings.state.interval_s) == ("3d", 5)
        with pytest.raises(SettingsFaultsError, match=r"'3y' \(from --bootstrap\)$"):
            load_settings(bootstrap="3y")

    def test_it_is_no_part_of_the_configuration_hash(self) -> None:
        settings = [load_settings(bootstrap=text) for text in (None, "1d")]
        assert len({config_hash(each) for each in settings}) == 1
