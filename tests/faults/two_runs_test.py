"""Two runs in one directory: the second is refused, and a run that has died keeps nobody out."""

import os
import signal
import subprocess
import time
import unittest

from program import ENVIRONMENT, PROGRAM, ProgramTest, run

LONG = ("--epochs", "1000", "--checkpoint-every", "20", "--log-every", "1")


class TwoRuns(ProgramTest):
    def start(self) -> subprocess.Popen:
        running = subprocess.Popen(
            [PROGRAM, *self.options(*LONG)], env=ENVIRONMENT, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + 60
        while not (self.run_dir / "metrics.jsonl").exists():
            self.assertIsNone(running.poll())
            self.assertLess(time.monotonic(), until)
            time.sleep(0.02)
        return running

    def test_the_second_is_refused_as_long_as_the_first_lives(self) -> None:
        first = self.start()
        try:
            config = (self.run_dir / "config.toml").read_text()
            second = run([PROGRAM, *self.options("--steps", "1", "--lr", "0.01")])
            self.assertEqual(second.returncode, 2, second.stderr)
            self.assertIn(f"is in use by process {first.pid} on ", second.stderr)
            self.assertIn("--run-dir", second.stderr)
            self.assertEqual((self.run_dir / "config.toml").read_text(), config)
        finally:
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
        third = run([PROGRAM, *self.options("--steps", "1")])
        self.assertEqual(third.returncode, 0, third.stderr)


if __name__ == "__main__":
    unittest.main()
