"""What the client's own description of its membership says; a private format, read for a guard only."""

import sys
from typing import Final

METADATA_MAGIC: Final = b"CGMDv2:"
"""How the client's group metadata begins."""


def is_member(metadata: bytes) -> bool:
    """Whether the client's group metadata names a generation; a form that is not known counts as one that does.

    Source: librdkafka rdkafka_cgrp.c, ``rd_kafka_consumer_group_metadata_write``: magic, generation (int32 of this
    machine's byte order), group, member, instance.
    """
    if not metadata.startswith(METADATA_MAGIC):
        return True
    return int.from_bytes(metadata[len(METADATA_MAGIC) :][:4], sys.byteorder, signed=True) >= 0
