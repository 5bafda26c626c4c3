"""librdkafka's mock cluster with its levers: errors per request, slow and absent brokers, topics.

The functions are in the client library that the Python client brings along; they are called through ``ctypes``. The
cluster answers any client of this machine, so what is tested is the real client against answers made to order. It does
not enforce transactions: an aborted record stays readable. See :mod:`detector.io.embedded` for what else it is not.

Source: librdkafka, rdkafka_mock.h; Apache Kafka protocol guide for the keys of the requests.
"""

import ctypes
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final, Self

from confluent_kafka import cimpl

PRODUCER: Final = 0
"""``RD_KAFKA_PRODUCER``"""
CONF_OK: Final = 0
WORDS_BYTES: Final = 512

EVERY_BROKER: Final = -1
ONLY_BROKER: Final = 1
"""Ids count from one."""


class Api(IntEnum):
    """Requests that a transaction is made of."""

    PRODUCE = 0
    METADATA = 3
    FIND_COORDINATOR = 10
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS = 24
    ADD_OFFSETS = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


def _library() -> Any:
    """Open the very library that the Python client runs on: a module's symbols include those of what it links to."""
    library = ctypes.CDLL(cimpl.__file__)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    errors, short, size = ctypes.POINTER(ctypes.c_int), ctypes.c_int16, ctypes.c_size_t
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, ()),
        ("rd_kafka_conf_set", number, (pointer, text, text, text, size)),
        ("rd_kafka_new", pointer, (number, pointer, text, size)),
        ("rd_kafka_destroy", None, (pointer,)),
        ("rd_kafka_handle_mock_cluster", pointer, (pointer,)),
        ("rd_kafka_mock_cluster_bootstraps", text, (pointer,)),
        ("rd_kafka_mock_push_request_errors_array", None, (pointer, short, size, errors)),
        ("rd_kafka_mock_clear_request_errors", None, (pointer, short)),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, (pointer, ctypes.c_int32)),
        ("rd_kafka_mock_topic_create", number, (pointer, text, number, number)),
        ("rd_kafka_mock_topic_set_error", None, (pointer, text, number)),
        ("rd_kafka_mock_broker_set_rtt", number, (pointer, ctypes.c_int32, number)),
        ("rd_kafka_mock_broker_set_down", number, (pointer, ctypes.c_int32)),
        ("rd_kafka_mock_broker_set_up", number, (pointer, ctypes.c_int32)),
        ("rd_kafka_mock_start_request_tracking", None, (pointer,)),
        ("rd_kafka_mock_clear_requests", None, (pointer,)),
        ("rd_kafka_mock_get_requests", ctypes.POINTER(pointer), (pointer, ctypes.POINTER(size))),
        ("rd_kafka_mock_request_api_key", short, (pointer,)),
        ("rd_kafka_mock_request_destroy_array", None, (ctypes.POINTER(pointer), size)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class MockCluster:
    """A context manager; every call is allowed inside it, and none after it."""

    def __init__(self, *, brokers: int = 1) -> None:
        self._library = _library()
        self._brokers = brokers
        self._host: int | None = None
        self._cluster: int | None = None
        self.bootstrap_servers = ""

    def __enter__(self) -> Self:
        words = ctypes.create_string_buffer(WORDS_BYTES)
        options = self._library.rd_kafka_conf_new()
        for name, value in (("test.mock.num.brokers", str(self._brokers)), ("log_level", "0")):
            done = self._library.rd_kafka_conf_set(options, name.encode(), value.encode(), words, WORDS_BYTES)
            assert done == CONF_OK, words.value
        # The host owns the options from here on, and the cluster for as long as it lives.
        self._host = self._library.rd_kafka_new(PRODUCER, options, words, WORDS_BYTES)
        assert self._host is not None, words.value
        self._cluster = self._library.rd_kafka_handle_mock_cluster(self._host)
        assert self._cluster is not None, "no mock cluster"
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        self.bootstrap_servers = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        return self

    def __exit__(self, *_exception: object) -> None:
        host, self._host, self._cluster = self._host, None, None
        self._library.rd_kafka_destroy(host)

    def create_topic(self, topic: str, *, partitions: int = 1) -> None:
        """Create an empty topic."""
        self._must_be_fine(self._library.rd_kafka_mock_topic_create(self._inside(), topic.encode(), partitions, 1))

    def fail_topic(self, topic: str, code: int) -> None:
        """Answer every question about ``topic`` with ``code``."""
        self._library.rd_kafka_mock_topic_set_error(self._inside(), topic.encode(), code)

    def fail_next(self, api: Api, *codes: int) -> None:
        """Answer the next requests of this kind with ``codes``, one each; ``_TRANSPORT`` hangs up instead."""
        values = (ctypes.c_int * len(codes))(*codes)
        self._library.rd_kafka_mock_push_request_errors_array(self._inside(), api, len(codes), values)

    def stop_failing(self, api: Api) -> None:
        """Forget the codes that no request has met yet."""
        self._library.rd_kafka_mock_clear_request_errors(self._inside(), api)

    def slow_down(self, rtt_ms: int) -> None:
        """Let every answer from here on take so long."""
        self._must_be_fine(self._library.rd_kafka_mock_broker_set_rtt(self._inside(), EVERY_BROKER, rtt_ms))

    def take_down(self) -> None:
        """Hang up and refuse new connections."""
        self._must_be_fine(self._library.rd_kafka_mock_broker_set_down(self._inside(), EVERY_BROKER))

    def bring_up(self) -> None:
        """Accept connections again."""
        self._must_be_fine(self._library.rd_kafka_mock_broker_set_up(self._inside(), EVERY_BROKER))

    def watch(self) -> None:
        """Write down every request from here on."""
        self._library.rd_kafka_mock_start_request_tracking(self._inside())
        self._library.rd_kafka_mock_clear_requests(self._inside())

    def watched(self) -> Sequence[int]:
        """Keys of the requests since :meth:`watch`."""
        count = ctypes.c_size_t()
        requests = self._library.rd_kafka_mock_get_requests(self._inside(), ctypes.byref(count))
        keys = [int(self._library.rd_kafka_mock_request_api_key(requests[number])) for number in range(count.value)]
        self._library.rd_kafka_mock_request_destroy_array(requests, count)
        return keys

    def _inside(self) -> int:
        assert self._cluster is not None, "the cluster lives inside the context"
        return self._cluster

    @staticmethod
    def _must_be_fine(code: int) -> None:
        assert code == 0, f"the mock cluster answers with code {code}"
