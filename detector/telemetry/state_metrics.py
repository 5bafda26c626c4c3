"""The rows about models that are kept: snapshots, restores, losses."""

from typing import Final

from detector.telemetry.metric import DELAY_SECONDS, PARTITION, Metric

STATE_METRICS: Final[tuple[Metric, ...]] = (
    Metric(
        "detector_snapshots_written_total",
        "counter",
        PARTITION,
        "snapshots",
        "Snapshots of a partition's models that lie whole in the state topic.",
        "Flat while records are consumed: look at detector_snapshots_failed_total and at the state topic's brokers.",
    ),
    Metric(
        "detector_snapshots_failed_total",
        "counter",
        PARTITION,
        "snapshots",
        "Snapshots that were given up; the one before stays in force, so that a crash replays more.",
        "Rising: the log's snapshot_failed has the reason (ACLs, size limit or leaders of the state topic).",
    ),
    Metric(
        "detector_snapshot_written_bytes",
        "gauge",
        PARTITION,
        "bytes",
        "Size of a partition's last snapshot in the state topic.",
        "Grows with the series held; see detector_series_created_total for churn.",
    ),
    Metric(
        "detector_snapshot_written_seconds",
        "histogram",
        (),
        "seconds",
        "Time from the copy of the columns to the last acknowledged chunk.",
        "Near state.interval_s divided by the partitions owned: give the worker fewer partitions or a longer interval.",
        DELAY_SECONDS,
    ),
    Metric(
        "detector_partition_restored_seconds",
        "histogram",
        (),
        "seconds",
        "Time from the beginning of a restore until the input was opened; the replay comes on top.",
        "Tens of seconds: large snapshots or slow brokers; more, smaller partitions restore sooner.",
        DELAY_SECONDS,
    ),
    Metric(
        "detector_records_replayed_total",
        "counter",
        PARTITION,
        "records",
        "Records read again after a restore to bring the models up to the committed offset; nothing was sent for them.",
        "Many per restart: shorten state.interval_s, and give graceful stops their time.",
    ),
    Metric(
        "detector_records_bootstrapped_total",
        "counter",
        PARTITION,
        "records",
        "Records learnt before a partition without a commit said its first word (state.bootstrap); nothing was sent.",
        "Rising while detector_partitions_restoring is above 0: wait; the log's bootstrap_advanced says how far it is.",
    ),
    Metric(
        "detector_bootstrap_rejected_total",
        "counter",
        (*PARTITION, "reason"),
        "records",
        "Records of a bootstrap that could not be used, by reason; they become no dead letters.",
        "too_far_ahead: samples of files of a time that the partition holds itself. Else see "
        "detector_records_rejected_total.",
    ),
    Metric(
        "detector_models_left_out_total",
        "counter",
        (*PARTITION, "reason"),
        "models",
        "Models of river that a snapshot or a restore left out, by reason; without them a restart begins these anew.",
        "size_limit: raise state.river_bytes_max. not_picklable: this model cannot be kept. not_stored: "
        "state.river_objects was off. river_version: river was changed; its old models are gone.",
    ),
    Metric(
        "detector_states_lost_total",
        "counter",
        PARTITION,
        "partitions",
        "Partitions that began to learn anew: no usable snapshot, or a gap in the input.",
        "Never expected but after a change of models or policies; the log's state_lost has the reason.",
    ),
    Metric(
        "detector_records_lost_total",
        "counter",
        PARTITION,
        "records",
        "Records that the input's retention removed before the group had read them, as a count of offsets.",
        "Any: lengthen the input's retention, or see why the group was away or slow (detector_consumer_lag_records).",
    ),
    Metric(
        "detector_partitions_restoring",
        "gauge",
        (),
        "partitions",
        "Owned partitions whose models are not back yet; they send nothing.",
        "Above zero for minutes: the log's restore_postponed has the brokers' words.",
    ),
)
