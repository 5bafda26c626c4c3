"""Every byte in or out of the process: Kafka, a broker in memory, a broker embedded in this process.

Implements the protocols of ``detector.ports`` and nothing else; imports no room but ``state`` (for pointers), no
pipeline, no worker. What stands for Kafka passes the same contract tests as Kafka. Names of the client's options and
codes stay inside this room.
"""

from detector.io.embedded import EmbeddedBroker
from detector.io.kafka_config import ConsumerGroup, KafkaConnection
from detector.io.kafka_sink import KafkaSink
from detector.io.kafka_snapshots import KafkaSnapshotStore
from detector.io.kafka_source import KafkaSource
from detector.io.kafka_transactions import KafkaTransactionalSink
from detector.io.memory import MemoryBroker
from detector.io.memory_log import StoredRecord
from detector.io.memory_sink import MemorySink
from detector.io.memory_snapshots import MemorySnapshotStore
from detector.io.memory_source import MemorySource
from detector.io.memory_transactions import MemoryTransactionalSink
from detector.io.topics import TopicFinding, TopicPlan, Topics

__all__ = [
    "ConsumerGroup",
    "EmbeddedBroker",
    "KafkaConnection",
    "KafkaSink",
    "KafkaSnapshotStore",
    "KafkaSource",
    "KafkaTransactionalSink",
    "MemoryBroker",
    "MemorySink",
    "MemorySnapshotStore",
    "MemorySource",
    "MemoryTransactionalSink",
    "StoredRecord",
    "TopicFinding",
    "TopicPlan",
    "Topics",
]
