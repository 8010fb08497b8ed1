"""The tables of the pages are what the raw lines of the benchmarks come to."""

import subprocess
import sys
import unittest

import tree


class Tables(unittest.TestCase):
    def test_are_what_was_measured(self):
        command = [sys.executable, "scripts/bench/benchmarks", "tables", "--check"]
        done = subprocess.run(command, cwd=tree.ROOT, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)


if __name__ == "__main__":
    unittest.main()
