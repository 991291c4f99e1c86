"""Runs the features of one client, each in its turn, and prints a line for each.

A client's module has a function for each feature that it knows, named for it with `_` for `-`. It
raises if something is not as it should be; what it does not know, the client cannot do.
"""

import sys
import traceback


class Stage:
    """Where the client works: a server, names of its own, and a topic that others wrote."""

    def __init__(self, server, prefix, shared):
        self.server, self.prefix, self.shared = server, prefix, shared

    def name(self, of):
        return f"{self.prefix}-{of}"


def expect(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}: {found!r}, not {wanted!r}")


def values(prefix, count, start=0):
    return [f"{prefix}-{i} {'x' * 100}".encode() for i in range(start, start + count)]


# What kcat wrote to the shared topic, twenty with each codec.
SHARED = [
    f"{codec}-{i}".encode()
    for codec in ("none", "gzip", "snappy", "lz4", "zstd")
    for i in range(20)
]


def outcome(function, stage):
    try:
        function(stage)
        return "yes"
    except Exception as error:
        traceback.print_exc(limit=-2)
        text = " ".join(f"{type(error).__name__}: {error}".split())
        return f"no {text}"


def main(functions):
    stage = Stage(*sys.argv[1:4])
    for feature in sys.argv[4:]:
        function = functions.get(feature.replace("-", "_"))
        answer = outcome(function, stage) if function else "cannot"
        print(feature, answer, flush=True)
