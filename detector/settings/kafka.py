"""Settings of the Kafka clients."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_serializer, model_validator

from detector.settings.section import HIDDEN, SECRET_OPTION, Names, Scalar, Section


def _read_secret(path: Path | None, secret: SecretStr | None) -> str | None:
    if path is None:
        return secret.get_secret_value() if secret else None
    if secret is not None:
        raise ValueError(f"a secret and its file ({path}) are both given; keep one")
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the secret's file cannot be read: {error}") from error


class KafkaSettings(Section):
    """How to reach Kafka and what to read."""

    bootstrap_servers: Names = Field(
        default=(), description="Brokers to ask first, host:port; a list or one string with commas."
    )
    topics: Names = Field(default=(), description="Topics of metrics to read; at least one here or in `logs.topics`.")
    group_id: str = Field(
        default="detector", min_length=1, description="Consumer group; workers of one group share the partitions."
    )
    client_id: str = Field(
        default="detector", min_length=1, description="Name of this client in the brokers' logs and quotas."
    )
    transactional_id: str | None = Field(
        default=None,
        min_length=1,
        description="Name that no other living worker has, for exactly-once delivery; default: prefix and host name.",
    )
    auto_offset_reset: Literal["earliest", "latest", "error"] = Field(
        default="earliest",
        description="Where a partition without a committed offset begins; `error` stops instead. A committed offset "
        "that the brokers no longer keep is no such case: see `state.on_state_loss`.",
    )
    group_protocol: Literal["classic", "consumer"] = Field(
        default="classic",
        description="How the group shares its partitions: `classic`, or `consumer` (KIP-848; Kafka 4.0 or newer).",
    )
    session_timeout_ms: int = Field(
        default=10_000,
        ge=1_000,
        le=1_800_000,
        description="Silence after which the group gives a worker's partitions away, in ms; with `group_protocol: "
        "consumer` the brokers decide (`group.consumer.session.timeout.ms`).",
    )
    security_protocol: Literal["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"] = Field(
        default="plaintext", description="Transport to the brokers."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER"] | None = Field(
        default=None, description="How to prove who we are, for the sasl_ protocols."
    )
    sasl_username: str | None = Field(default=None, description="User name for PLAIN and SCRAM.")
    sasl_password: SecretStr | None = Field(
        default=None, description="Password for PLAIN and SCRAM; better given as a file."
    )
    sasl_password_file: Path | None = Field(
        default=None, description="File that holds the SASL password; blanks at its ends are cut."
    )
    ssl_ca_location: Path | None = Field(
        default=None, description="File or folder of CA certificates; default: the system's."
    )
    ssl_certificate_location: Path | None = Field(default=None, description="Our certificate (PEM), for mutual TLS.")
    ssl_key_location: Path | None = Field(default=None, description="Our private key (PEM), for mutual TLS.")
    ssl_key_password: SecretStr | None = Field(
        default=None, description="Password of the private key; better given as a file."
    )
    ssl_key_password_file: Path | None = Field(default=None, description="File that holds the private key's password.")
    librdkafka: dict[str, Scalar] = Field(
        default_factory=dict,
        repr=False,
        description="Any option of librdkafka, for consumer, producer and admin client alike.",
    )
    librdkafka_consumer: dict[str, Scalar] = Field(
        default_factory=dict, repr=False, description="Options for the consumer only."
    )
    librdkafka_producer: dict[str, Scalar] = Field(
        default_factory=dict, repr=False, description="Options for the producer only."
    )

    @model_validator(mode="after")
    def _secrets_are_readable(self) -> Self:
        self.sasl_secret()
        self.ssl_key_secret()
        return self

    @model_validator(mode="after")
    def _session_is_ours_to_time(self) -> Self:
        default = type(self).model_fields["session_timeout_ms"].default
        if self.group_protocol == "consumer" and self.session_timeout_ms != default:
            raise ValueError(
                "with group_protocol: consumer the brokers decide about the session "
                "(group.consumer.session.timeout.ms); leave session_timeout_ms out"
            )
        return self

    def sasl_secret(self) -> str | None:
        """Give the SASL password, from its file where one is named."""
        return _read_secret(self.sasl_password_file, self.sasl_password)

    def ssl_key_secret(self) -> str | None:
        """Give the private key's password, from its file where one is named."""
        return _read_secret(self.ssl_key_password_file, self.ssl_key_password)

    @field_serializer("librdkafka", "librdkafka_consumer", "librdkafka_producer")
    def _hide_secret_options(self, options: dict[str, Scalar]) -> dict[str, Scalar]:
        return {name: HIDDEN if SECRET_OPTION.search(name) else value for name, value in options.items()}
