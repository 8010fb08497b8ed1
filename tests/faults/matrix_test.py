"""Faults at every place of a run: it ends in time, names who it was, and goes on as if nothing had been.

Here a few of them; `tests/faults/matrix.py` goes through all.
"""

import shutil
import tempfile
import unittest
from pathlib import Path

from faults import Cell, Runs

# Each fault and each place at least once, on the first and on the last rank.
FEW = (
    Cell("kill -9", "start-up", 1, 2),
    Cell("exception", "mid-epoch", 0, 2),
    Cell("SIGSTOP", "evaluation", 1, 2),
    Cell("exception", "first step", 3, 4),
    Cell("SIGSTOP", "checkpoint", 0, 4),
)


class Matrix(unittest.TestCase):
    def test_a_few(self) -> None:
        folder = Path(tempfile.mkdtemp(prefix="slicereduce."))
        self.addCleanup(shutil.rmtree, folder)
        runs = Runs(folder)
        for cell in FEW:
            with self.subTest(cell.describe()):
                verdict = runs.disturb(cell)
                self.assertEqual(verdict.problem(cell), "", verdict.said)


if __name__ == "__main__":
    unittest.main()
