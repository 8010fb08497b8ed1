"""Disks that fill up, or turn read-only, while a run trains: it warns and trains on, what was written stays
valid, and the same command goes on from there to the bits of a run that nothing happened to.

In a mount namespace of its own, where disks are made as they are needed.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import unittest
from collections.abc import Iterator
from pathlib import Path

from program import ENVIRONMENT, PROGRAM, ProgramTest, mpirun, run

OWN_NAMESPACE = "SLICEREDUCE_TEST_OWN_MOUNTS"
STEPS = 150
SETTLED = (
    "--steps",
    str(STEPS),
    "--seed",
    "3",
    "--checkpoint-every",
    "5",
    "--log-every",
    "50",
    "--keep",
    "3",
)
MEBIBYTE = 1 << 20
DISK = 64 * MEBIBYTE  # several checkpoints of a few
UNTIL_S = 60


def enter_own_namespace() -> str:
    """Starts this program again, in one; or says why there is none."""
    if os.geteuid() != 0:
        return "needs root"
    if shutil.which("unshare") is None:
        return "needs unshare (util-linux)"
    probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"needs mounts of its own: {done.stderr.strip()}"
    command = ["unshare", "--mount", sys.executable, *sys.argv]
    os.execvpe(command[0], command, os.environ | {OWN_NAMESPACE: "1"})


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True)


class Disks(ProgramTest):
    @classmethod
    def setUpClass(cls) -> None:
        if UNAVAILABLE:
            raise unittest.SkipTest(UNAVAILABLE)
        super().setUpClass()
        undisturbed = cls.folder / "undisturbed"
        command = [*mpirun(2), PROGRAM, *cls.training(undisturbed)]
        done = run(command)
        assert done.returncode == 0, done.stderr
        cls.digest = cls.digest_of(undisturbed)

    @classmethod
    def training(cls, run_dir: Path) -> list[str]:
        options = ("--arch", "resnet20", "--batch-size", "16", "--lr", "0.05", "--mode", "compact")
        return ["train", "--data", str(cls.data), *options, "--run-dir", str(run_dir), *SETTLED]

    @staticmethod
    def digest_of(run_dir: Path) -> str:
        return json.loads((run_dir / "summary.json").read_text())["weights_digest"]

    def setUp(self) -> None:
        super().setUp()
        self.disk = self.run_dir  # what is mounted lies around the run's directory
        self.disk.mkdir()
        mount("-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", self.disk)
        self.addCleanup(subprocess.run, ["umount", "--recursive", str(self.disk)], check=True)
        self.run_dir = self.disk / "run"
        self.said = self.folder / f"{self.disk.name}.txt"

    @property
    def checkpoints(self) -> Path:
        return self.run_dir / "checkpoints"

    @contextlib.contextmanager
    def running(self, *options: str) -> Iterator[subprocess.Popen]:
        """Until the first checkpoint is there."""
        command = [*mpirun(2), PROGRAM, *self.training(self.run_dir), *options]
        with self.said.open("w") as said, subprocess.Popen(command, env=ENVIRONMENT, stderr=said) as process:
            try:
                self.wait(process, lambda: list(self.checkpoints.glob("step-*.ckpt")))
                yield process
                process.wait(UNTIL_S)
            finally:
                process.kill()

    def wait(self, process: subprocess.Popen, reached) -> None:
        until = time.monotonic() + UNTIL_S
        while not reached():
            self.assertIsNone(process.poll(), self.said.read_text())
            self.assertLess(time.monotonic(), until)
            time.sleep(0.005)

    def fill(self) -> Path:
        filler = self.disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(MEBIBYTE // 16))
        return filler

    def turn_read_only(self) -> None:
        """Which is refused as long as a file is being written there."""
        until = time.monotonic() + UNTIL_S
        command = ["mount", "-o", "remount,bind,ro", str(self.checkpoints)]
        while subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode != 0:
            self.assertLess(time.monotonic(), until)

    def expect_it_goes_on(self) -> None:
        """From what was written before."""
        again = run([*mpirun(2), PROGRAM, *self.training(self.run_dir)])
        self.assertEqual(again.returncode, 0, again.stderr)
        self.assertNotIn("damaged", again.stderr)
        self.assertIn("resumed from", again.stderr)
        self.assertEqual(self.digest_of(self.run_dir), self.digest)
        self.assertEqual([path for path in self.checkpoints.iterdir() if path.suffix != ".ckpt"], [])

    def test_a_full_disk_ends_a_run_after_some_failures(self) -> None:
        with self.running("--checkpoint-failures", "2") as process:
            filler = self.fill()
        said = self.said.read_text()
        self.assertEqual(process.returncode, 1, said)
        self.assertIn("no checkpoint of step", said)
        self.assertIn("2 checkpoints in a row could not be written (--checkpoint-failures)", said)
        self.assertIn("No space left on device", said)
        self.assertEqual([path for path in self.checkpoints.iterdir() if path.suffix != ".ckpt"], [])
        filler.unlink()
        self.expect_it_goes_on()

    def test_a_disk_with_room_again_costs_nothing(self) -> None:
        with self.running("--checkpoint-failures", "1000") as process:
            filler = self.fill()
            self.wait(process, lambda: "no checkpoint of step" in self.said.read_text())
            filler.unlink()
        self.assertEqual(process.returncode, 0, self.said.read_text())
        self.assertEqual(self.digest_of(self.run_dir), self.digest)

    def test_a_folder_that_turns_read_only_ends_a_run_after_some_failures(self) -> None:
        with self.running("--checkpoint-failures", "2") as process:
            mount("--bind", self.checkpoints, self.checkpoints)
            self.turn_read_only()
        said = self.said.read_text()
        self.assertEqual(process.returncode, 1, said)
        self.assertIn("2 checkpoints in a row could not be written (--checkpoint-failures)", said)
        self.assertIn("Read-only file system", said)
        subprocess.run(["umount", str(self.checkpoints)], check=True)
        self.expect_it_goes_on()


UNAVAILABLE = "" if OWN_NAMESPACE in os.environ else enter_own_namespace()

if __name__ == "__main__":
    unittest.main()
