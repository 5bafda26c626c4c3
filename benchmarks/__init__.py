"""Benchmarks: ratios measured in one run on one machine.

Each is ``python -m benchmarks.NAME``: progress on stderr, a table for people, and one JSON object as the last line.
"""
