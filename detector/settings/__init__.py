"""Settings: read once, checked whole, frozen ever after.

YAML files are merged in the order given, environment variables win over files, secrets come from files that are named
by ``*_file`` keys. Every unknown key is a fault. Rooms never see these models: wiring turns them into plain values.
"""

from detector.settings.bootstrap import BootstrapSource, bootstrap_source
from detector.settings.detection import (
    CompiledModel,
    LevelShiftSettings,
    NoDataSettings,
    OfPoints,
    PolicySettings,
    RiverModel,
    RiverStep,
)
from detector.settings.effective import (
    config_hash,
    effective,
    input_topics,
    is_log_topic,
    is_one_of,
    log_config_hash,
    settings_schema,
)
from detector.settings.kafka import KafkaSettings
from detector.settings.load import CONFIG_VARIABLE, SettingsFaultsError, load_settings
from detector.settings.logs import LogPolicySettings, LogsSettings
from detector.settings.models import (
    DeadLetterSettings,
    DecoderSettings,
    DeliverySettings,
    OutputSettings,
    SeriesSettings,
    Settings,
    StateSettings,
    TelemetrySettings,
    WorkerSettings,
)
from detector.settings.time_zones import zone_changes

__all__ = [
    "CONFIG_VARIABLE",
    "BootstrapSource",
    "CompiledModel",
    "DeadLetterSettings",
    "DecoderSettings",
    "DeliverySettings",
    "KafkaSettings",
    "LevelShiftSettings",
    "LogPolicySettings",
    "LogsSettings",
    "NoDataSettings",
    "OfPoints",
    "OutputSettings",
    "PolicySettings",
    "RiverModel",
    "RiverStep",
    "SeriesSettings",
    "Settings",
    "SettingsFaultsError",
    "StateSettings",
    "TelemetrySettings",
    "WorkerSettings",
    "bootstrap_source",
    "config_hash",
    "effective",
    "input_topics",
    "is_log_topic",
    "is_one_of",
    "load_settings",
    "log_config_hash",
    "settings_schema",
    "zone_changes",
]
