"""Which channels a step keeps: what sampling/sampler.cpp does, for pictures."""

import math
from collections.abc import Sequence
from random import Random

UNIFORM_SHARE = 0.1
LONGEST_WAIT_TURNS = 4


def kept_count(channels: int, ratio: float, minimal_k: int = 8, channel_multiple: int = 8) -> int:
    """k = min(max(int(C * ratio), minimal_k), C), rounded up to the multiple where C allows."""
    k = max(int(channels * ratio), minimal_k)
    return min(-(-k // channel_multiple) * channel_multiple, channels)


def largest(scores: Sequence, k: int) -> list[int]:
    """Ties go to the lower index."""
    return sorted(sorted(range(len(scores)), key=lambda channel: scores[channel], reverse=True)[:k])


def topk(norms: Sequence[float], k: int) -> list[int]:
    return largest(norms, k)


def gumbel(norms: Sequence[float], k: int, random: Random) -> list[int]:
    shares = [(1 - UNIFORM_SHARE) * norm / math.fsum(norms) + UNIFORM_SHARE / len(norms) for norm in norms]
    # 1 - random() is never 0.
    return largest([math.log(p) - math.log(-math.log(1 - random.random())) for p in shares], k)


def cyclic(waiting: Sequence[int], k: int) -> list[int]:
    return largest(waiting, k)


def aged(norms: Sequence[float], waiting: Sequence[int], k: int) -> list[int]:
    """Those that are overdue first, the oldest before the others; then by norm times draws waited."""
    limit = LONGEST_WAIT_TURNS * -(-len(norms) // k)
    scores = [
        (waited if waited >= limit else 0, norm * (waited + 1))
        for norm, waited in zip(norms, waiting, strict=True)
    ]
    return largest(scores, k)


def count_draw(kept: Sequence[int], waiting: Sequence[int]) -> list[int]:
    return [0 if channel in kept else waited + 1 for channel, waited in enumerate(waiting)]
