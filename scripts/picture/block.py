"""Two convolutions of a block, and what a plan leaves of them."""

from fractions import Fraction
from random import Random
from typing import NamedTuple

from picture import choices
from picture.svg import LEFT_OUT, WEIGHTS, WEIGHTS_IDLE, WIRE, WIRE_IDLE

RATIO = 0.5


class Matrix(NamedTuple):
    """Of a weight [output, input]: what is computed and sent of it, and the rows that have a use."""

    channels: int  # outputs, and inputs
    rows: list[int]
    columns: list[int]
    useful: list[int]

    def fraction(self) -> Fraction:
        return Fraction(len(self.rows) * len(self.columns), self.channels**2)

    def in_weights(self) -> list[list[str]]:
        """Colours of the whole matrix."""

        def colour(row: int, column: int) -> str:
            if row not in self.rows or column not in self.columns:
                return LEFT_OUT
            return WEIGHTS if row in self.useful else WEIGHTS_IDLE

        return [[colour(row, column) for column in range(self.channels)] for row in range(self.channels)]

    def compact(self, used: str = WIRE, idle: str = WIRE_IDLE) -> list[list[str]]:
        """Colours of what is left."""
        return [[used if row in self.useful else idle] * len(self.columns) for row in self.rows]


class Block(NamedTuple):
    conv1: Matrix
    conv2: Matrix


def kept_at(channels: int, seed: int) -> list[int]:
    """By a site of drawn norms."""
    random = Random(seed)
    norms = [random.random() for _ in range(channels)]
    return choices.topk(norms, choices.kept_count(channels, RATIO, minimal_k=1, channel_multiple=1))


def sampled_block(channels: int, seed: int, is_coupled: bool) -> Block:
    """Conv2 is the last of the block: its outputs are added to the shortcut, which has all of them."""
    every = list(range(channels))
    at_conv1, at_conv2 = kept_at(channels, seed), kept_at(channels, seed + 1)
    return Block(
        Matrix(channels, at_conv2 if is_coupled else every, at_conv1, useful=at_conv2),
        Matrix(channels, every, at_conv2, useful=every),
    )
