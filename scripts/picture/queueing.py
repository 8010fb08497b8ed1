"""Buckets, and a wire that carries one AllReduce at a time, as comm/ has them."""

from collections.abc import Sequence
from typing import NamedTuple


class Span(NamedTuple):
    name: str
    start: float
    end: float


class Wire:
    """AllReduces run one after the other, in the order in which they were given."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def send(self, name: str, ready: float, duration: float) -> Span:
        free = self.spans[-1].end if self.spans else 0
        start = max(ready, free)
        self.spans.append(Span(name, start, start + duration))
        return self.spans[-1]


class Processor:
    """Does one thing after the other, and waits when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0
        self.spans: list[Span] = []

    def work(self, name: str, duration: float) -> Span:
        self.spans.append(Span(name, self.now, self.now + duration))
        self.now += duration
        return self.spans[-1]

    def wait_until(self, time: float) -> None:
        self.now = max(self.now, time)

    def idle(self) -> list[Span]:
        """Between what it did."""
        return [
            Span("waits", before.end, after.start)
            for before, after in zip(self.spans, self.spans[1:], strict=False)
            if after.start > before.end
        ]


def lay_out_buckets(sizes: Sequence[float], capacity: float) -> list[list[int]]:
    """Which slots, in the order in which backward has them ready, share a bucket: the first has a quarter of
    the room, and what fits an eighth at the end goes out on its own (comm/bucket_layout.cpp)."""
    last_begins, last_sum = len(sizes), 0.0
    while last_begins > 0 and last_sum + sizes[last_begins - 1] <= capacity / 8:
        last_begins -= 1
        last_sum += sizes[last_begins]
    buckets: list[list[int]] = [[]]
    filled = 0.0
    for slot, size in enumerate(sizes):
        room = capacity / 4 if len(buckets) == 1 else capacity
        if buckets[-1] and (filled + size > room or slot == last_begins > 0):
            buckets.append([])
            filled = 0
        buckets[-1].append(slot)
        filled += size
    return buckets
