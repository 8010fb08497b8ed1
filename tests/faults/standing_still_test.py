"""A worker that stands still, which neither MPI nor mpirun notices: the run ends in time and says who it was,
and goes on from its checkpoint as if nothing had been.

Needs the environment of tests/launcher/program.py, and that folder in PYTHONPATH.
"""

import json
import os
import signal
import subprocess
import time
import unittest
from pathlib import Path

from program import ENVIRONMENT, PROGRAM, ProgramTest, mpirun, run

TIMEOUT_S = 3
GRACE_S = 5  # for mpirun to end what is left
# Long enough to be disturbed on a fast machine, too.
OPTIONS = ("--epochs", "6", "--checkpoint-every", "4", "--log-every", "1", "--seed", "3")


def rank_of(process: Path) -> int | None:
    """Of a process of ours under mpirun."""
    try:
        if not (process / "cmdline").read_bytes().startswith(PROGRAM.encode()):
            return None
        variables = (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return None  # it is gone, or another user's
    name = b"OMPI_COMM_WORLD_RANK="
    return next((int(each[len(name) :]) for each in variables if each.startswith(name)), None)


def process_of(rank: int, run_dir: Path) -> int:
    """Of the run that writes there."""
    for process in Path("/proc").glob("[0-9]*"):
        if rank_of(process) == rank and str(run_dir).encode() in (process / "cmdline").read_bytes():
            return int(process.name)
    raise AssertionError(f"rank {rank} of the run in {run_dir} was not found")


class StandingStill(ProgramTest):
    def digest(self, run_dir: Path) -> str:
        return json.loads((run_dir / "summary.json").read_text())["weights_digest"]

    def wait_for_checkpoint(self, running: subprocess.Popen) -> None:
        """The first, some steps after which the run is to be disturbed."""
        until = time.monotonic() + 60
        while not list(self.run_dir.glob("checkpoints/step-*.ckpt")):
            self.assertIsNone(running.poll(), "the run ended before it was disturbed")
            self.assertLess(time.monotonic(), until, "the run has not come so far")
            time.sleep(0.02)

    def stop_one(self, victim: int, ranks: int) -> str:
        """What the run said."""
        command = [*mpirun(ranks), PROGRAM, *self.options(*OPTIONS, "--timeout", str(TIMEOUT_S))]
        with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as running:
            self.wait_for_checkpoint(running)
            os.kill(process_of(victim, self.run_dir), signal.SIGSTOP)
            stopped = time.monotonic()
            try:
                _, said = running.communicate(timeout=4 * (TIMEOUT_S + GRACE_S))
            except subprocess.TimeoutExpired:
                running.kill()
                raise
        self.assertLess(time.monotonic() - stopped, TIMEOUT_S + GRACE_S)
        self.assertNotIn(running.returncode, (0, 3), said)
        return said

    def test_the_run_ends_names_the_worker_and_goes_on(self) -> None:
        undisturbed = self.folder / "undisturbed"
        self.train(*OPTIONS, run_dir=undisturbed)
        for victim in (1, 0):
            with self.subTest(victim=victim):
                self.run_dir = self.folder / f"victim-{victim}"
                said = self.stop_one(victim, ranks=2)
                self.assertIn(f"rank {victim} on ", said)
                self.assertIn("stands still", said)
                self.train(*OPTIONS)
                self.assertEqual(self.digest(self.run_dir), self.digest(undisturbed))

    def test_of_three_workers_the_one_is_named(self) -> None:
        said = self.stop_one(victim=2, ranks=3)
        self.assertIn("rank 2 on ", said)
        self.assertNotIn("rank 1 on ", said)

    def test_a_killed_worker_ends_the_run(self) -> None:
        command = [*mpirun(2), PROGRAM, *self.options(*OPTIONS)]
        with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as running:
            self.wait_for_checkpoint(running)
            os.kill(process_of(1, self.run_dir), signal.SIGKILL)
            _, said = running.communicate(timeout=60)
        self.assertNotIn(running.returncode, (0, 3), said)
        done = run([*mpirun(2), PROGRAM, *self.options(*OPTIONS)])
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("resumed from", done.stderr)


if __name__ == "__main__":
    unittest.main()
