"""The versioned bytes of one partition's state.

A snapshot is a function of the state and nothing else, holds numbers and JSON text only, and executes nothing when it
is read. What is not whole, unharmed, of a known version and of this partition is refused with the operator's action.
"""

from detector.state.archive import Archive, pack, unpack
from detector.state.chunks import CHUNK_BYTES_MAX, chunks_of, joined
from detector.state.copying import SLICE_SLOTS, StateCopy
from detector.state.pointer import Pointer, empty_pointer, format_pointer, parse_pointer
from detector.state.snapshot import FORMAT_VERSION, Snapshot, SnapshotHeader, check_origin, decode, encode, read_header

__all__ = [
    "CHUNK_BYTES_MAX",
    "FORMAT_VERSION",
    "SLICE_SLOTS",
    "Archive",
    "Pointer",
    "Snapshot",
    "SnapshotHeader",
    "StateCopy",
    "check_origin",
    "chunks_of",
    "decode",
    "empty_pointer",
    "encode",
    "format_pointer",
    "joined",
    "pack",
    "parse_pointer",
    "read_header",
    "unpack",
]
