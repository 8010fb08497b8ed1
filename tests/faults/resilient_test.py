"""scripts/run-resilient: workers are killed at random, and the run ends where it would have ended anyway."""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from faults import Runs, kill_all, processes_of
from program import ENVIRONMENT, REPOSITORY, mpirun

# How often: more of them take 3 seconds each.
KILLS = int(os.environ.get("SLICEREDUCE_KILLS", "3"))
SCRIPT = str(REPOSITORY / "scripts" / "run-resilient")

# What stands for mpirun: it notes how it was called, and does what the next line of a file says.
PRETENDER = """#!/bin/sh
echo "$@" >> "{folder}/calls"
line=$(head -n 1 "{folder}/script")
sed -i 1d "{folder}/script"
eval "$line"
"""


class Pretended(unittest.TestCase):
    """Its decisions, with starts that fail as we say."""

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slicereduce."))
        self.addCleanup(shutil.rmtree, self.folder)
        self.checkpoints = self.folder / "run" / "checkpoints"
        self.checkpoints.mkdir(parents=True)
        self.mpirun = self.folder / "mpirun"
        self.mpirun.write_text(PRETENDER.format(folder=self.folder))
        self.mpirun.chmod(0o755)

    def save(self, step: int) -> str:
        return f"touch {self.checkpoints}/step-{step:08}.ckpt;"

    def run_script(self, *starts: str, where: tuple[str, ...] = ("--np", "2"), options: tuple[str, ...] = ()):
        (self.folder / "script").write_text("".join(f"{start}\n" for start in starts))
        command = ["train", "--run-dir", str(self.folder / "run"), *options]
        return subprocess.run(
            [SCRIPT, *where, "--mpirun", str(self.mpirun), "--", "slicereduce", *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def test_it_starts_again_until_it_is_done(self) -> None:
        done = self.run_script(self.save(5) + "exit 1", self.save(10) + "exit 137", "exit 0")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(self.calls()), 3)
        self.assertIn("restart 2, from step 10", done.stderr)
        self.assertIn("-np 2 slicereduce train", self.calls()[0])
        self.assertIn("oob_tcp_keepalive_time", self.calls()[0])

    def test_it_gives_up_where_nothing_gets_on(self) -> None:
        done = self.run_script("exit 7", "exit 7", "exit 7", where=("--np", "1", "--max-restarts", "2"))
        self.assertEqual(done.returncode, 7)
        self.assertIn("3 starts in a row have brought no new checkpoint", done.stderr)

    def test_what_was_asked_wrongly_is_not_tried_again(self) -> None:
        self.assertEqual(self.run_script("exit 2").returncode, 2)
        self.assertEqual(len(self.calls()), 1)

    def test_what_was_stopped_is_not_started_again(self) -> None:
        self.assertEqual(self.run_script("exit 3").returncode, 3)

    def test_a_host_that_fails_twice_is_left_out(self) -> None:
        silent = (
            "echo 'error: rank 3 on b.cluster, last heard 31 s ago (step 7, training for 0 s)' >&2; exit 1"
        )
        died = (
            "echo 'mpirun noticed that process rank 2 with PID 0 on node b exited on signal 9' >&2; exit 137"
        )
        where = ("--hosts", "a:2,b:2,c:1")
        done = self.run_script(silent, died, "exit 0", where=where, options=("--global-batch-size", "60"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("--host a:2,b:2,c:1", self.calls()[1])
        self.assertIn("-np 5 ", self.calls()[1])
        self.assertIn("--host a:2,c:1", self.calls()[2])
        self.assertIn("-np 3 ", self.calls()[2])

    def test_a_host_that_can_not_be_reached_is_left_out(self) -> None:
        """Of which mpirun says nothing: each host is tried by itself."""
        where = ("--hosts", "a:2,b:2,c:1", "--host-failures", "1")
        starts = ("exit 1", "exit 0", "exit 1", "exit 0", "exit 0")
        done = self.run_script(*starts, where=where, options=("--global-batch-size", "60"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("b has failed 1 times and is left out", done.stderr)
        self.assertEqual([call.split()[-1] for call in self.calls()[1:4]], ["true"] * 3)
        self.assertIn("--host a:2,c:1", self.calls()[4])

    def test_addresses_are_no_names_to_be_shortened(self) -> None:
        silent = "echo 'rank 3 on 10.0.0.2, last heard 31 s ago (step 7, training for 0 s)' >&2; exit 1"
        where = ("--hosts", "10.0.0.1:2,10.0.0.2:2", "--host-failures", "1")
        done = self.run_script(silent, "exit 0", where=where, options=("--global-batch-size", "60"))
        self.assertIn("--host 10.0.0.1:2 ", self.calls()[1], done.stderr)

    def test_options_may_be_in_a_file(self) -> None:
        config = self.folder / "config.toml"
        config.write_text(f'[train]\nrun-dir = "{self.folder / "run"}"\nglobal-batch-size = 60\n')
        (self.folder / "script").write_text(f"{self.save(5)}exit 1\n" + f"{self.save(9)}exit 1\nexit 0\n")
        where = ("--np", "2", "--max-restarts", "1", "--mpirun", str(self.mpirun))
        done = subprocess.run(
            [SCRIPT, *where, "--", "slicereduce", "train", "--config", str(config)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("restart 2, from step 9", done.stderr)

    def test_none_is_left_out_where_workers_have_to_be_as_many(self) -> None:
        died = "echo 'process rank 2 with PID 0 on node b exited on signal 9' >&2; exit 137"
        done = self.run_script(died, died, "exit 0", where=("--hosts", "a:2,b:2"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("--host a:2,b:2", self.calls()[2])
        self.assertIn("without --global-batch-size", done.stderr)

    def test_an_mpirun_that_hangs_after_a_failure_is_killed(self) -> None:
        blames = "echo 'rank 1 on b, last heard 9 s ago (step 7, training for 0 s), stands still' >&2;"
        done = self.run_script(f"{blames} exec sleep 600", "exit 0", where=("--np", "2", "--grace", "0.2"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("it is killed", done.stderr)

    def test_who_only_waits_is_not_blamed(self) -> None:
        waits = "echo 'no end within 3 s; rank 1 (of b) knows of nobody who is late' >&2; exit 1"
        done = self.run_script(
            waits, "exit 0", "exit 0", "exit 0", where=("--hosts", "a:2,b:2", "--host-failures", "1")
        )
        self.assertNotIn("b has failed", done.stderr)

    def test_an_mpirun_that_does_not_start_anything_is_killed(self) -> None:
        hangs = "exec sleep 600"
        begins = "echo 'I 05:22:31 slicereduce 0.1.0 arch=resnet18' >&2; sleep 4; exit 0"
        done = self.run_script(hangs, begins, where=("--np", "2", "--start-timeout", "3"))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count("training has not begun after 3 s"), 1, done.stderr)

    def test_bad_options(self) -> None:
        for where in (("--np", "0"), ("--hosts", "a:x"), ("--hosts", "a,a"), ("--np", "2", "--hosts", "a")):
            done = self.run_script("exit 0", where=where)
            self.assertEqual(done.returncode, 2)
            self.assertIn("scripts/run-resilient: ", done.stderr)
        self.assertFalse((self.folder / "calls").exists())


class Killed(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slicereduce."))
        self.addCleanup(shutil.rmtree, self.folder)
        self.runs = Runs(self.folder)
        self.run_dir = self.folder / "run"
        self.told = self.folder / "told"

    def start(self, *more: str) -> subprocess.Popen:
        line = " ".join(mpirun(2)[:-2])
        options = ("--np", "2", "--mpirun", line, "--max-restarts", "20")
        command = [SCRIPT, *options, "--", *self.runs.command(self.run_dir, *more)]
        with self.told.open("w") as told:
            running = subprocess.Popen(command, env=ENVIRONMENT, stderr=told)
        self.addCleanup(self.end, running)
        return running

    def end(self, running: subprocess.Popen) -> None:
        """Whatever a failed test has left."""
        running.kill()
        kill_all(self.run_dir)
        running.wait()

    def tells_of(self, restart: int, step: int) -> bool:
        """Whether the start after so many restarts has come to a step; to step 0: whether it has workers."""
        said = self.told.read_text().split("; restart ")
        if len(said) <= restart:
            return False
        steps = [int(found) for found in re.findall(r" step=(\d+)/", said[restart])]
        return max(steps, default=0) >= step if step else bool(processes_of(self.run_dir))

    def kill_one(self, running: subprocess.Popen, restart: int, step: int, generator: random.Random) -> bool:
        """A worker of that start, at a random moment of a step. Whether there was one."""
        until = time.monotonic() + 60
        while not self.tells_of(restart, step):
            if running.poll() is not None or time.monotonic() > until:
                return False
            time.sleep(0.002)
        # A step takes some 20 ms, and its start-up half a second: how long they are depends on the machine.
        time.sleep(generator.uniform(0, 0.02 if step else 0.5))
        with contextlib.suppress(ProcessLookupError, IndexError):
            os.kill(generator.choice(processes_of(self.run_dir)), signal.SIGKILL)
            return True
        return False

    def test_killed_at_random_it_ends_where_the_undisturbed_run_does(self) -> None:
        seed = random.randrange(2**32)
        generator = random.Random(seed)
        steps = ("--steps", str(20 + 30 * KILLS))
        undisturbed = self.runs.digest(2, self.folder / "undisturbed", *steps)
        running = self.start(*steps)
        kills = 0
        for kill in range(KILLS):
            step = generator.choice((0, 30 * kill + generator.randrange(1, 30)))
            if not self.kill_one(running, kill, step, generator):
                break
            kills += 1
        running.wait(timeout=300 + 10 * KILLS)
        said = self.told.read_text()
        print(f"seed {seed}: {kills} kills", file=sys.stderr)
        self.assertEqual(running.returncode, 0, said)
        self.assertEqual(kills, KILLS, said)
        self.assertEqual(self.runs.digest(2, self.run_dir, *steps), undisturbed)
        told = [line for line in self.runs.metrics(self.run_dir) if "loss" in line]
        self.assertEqual([line["step"] for line in told], list(range(1, len(told) + 1)))

    def test_a_signal_stops_it_with_a_checkpoint(self) -> None:
        running = self.start("--steps", "5000")
        until = time.monotonic() + 60
        while not list(self.run_dir.glob("checkpoints/*.ckpt")):
            self.assertLess(time.monotonic(), until)
            time.sleep(0.02)
        running.send_signal(signal.SIGTERM)
        running.wait(timeout=60)
        said = self.told.read_text()
        self.assertEqual(running.returncode, 3, said)
        self.assertIn("on request", said)


if __name__ == "__main__":
    unittest.main()
