"""scripts/to_tensorboard --follow has what a run at work has written, each step once, until that is complete.

The environment is that of tests/launcher/program.py, whose folder has to be in PYTHONPATH.
"""

import contextlib
import json
import signal
import subprocess
import time
import unittest
from collections.abc import Callable, Iterator
from pathlib import Path

from converted_runs import SCRIPT, TensorBoardTest
from program import ENVIRONMENT, PROGRAM, mpirun, write_idx
from synthetic_runs import PYTHON, evaluation_line, lines_of, step_line, summary_of, write_config, write_lines

DEADLINE_S = 60
COMPLETE = "complete, all of it is in"


def until(is_so: Callable[[], object]) -> None:
    """Of what another process does soon."""
    end = time.monotonic() + DEADLINE_S
    while not is_so():
        if time.monotonic() > end:
            raise AssertionError(f"it has not come to that within {DEADLINE_S} s")
        time.sleep(0.02)


def text_of(lines: list[dict]) -> str:
    return "".join(f"{json.dumps(line)}\n" for line in lines)


class FollowingTest(TensorBoardTest):
    def setUp(self) -> None:
        super().setUp()
        self.said = self.folder / "said"

    @contextlib.contextmanager
    def followed(self, *arguments: object) -> Iterator[subprocess.Popen]:
        """From the first that it says on, which is when all has been looked at once."""
        command = [PYTHON, SCRIPT, "--follow", *map(str, arguments)]
        with (
            self.said.open("w") as said,
            subprocess.Popen(command, stdout=said, stderr=subprocess.PIPE, text=True) as process,
        ):
            try:
                until(lambda: self.said.read_text() or process.poll() is not None)
                yield process
            finally:
                process.kill()

    def ended(self, process: subprocess.Popen, code: int) -> str:
        """What it has complained about."""
        _, errors = process.communicate(timeout=DEADLINE_S)
        self.assertEqual(process.returncode, code, errors)
        return errors

    def append(self, run: Path, text: str) -> None:
        with (run / "metrics.jsonl").open("a") as file:
            file.write(text)

    def complete(self, run: Path, lines: list[dict]) -> None:
        (run / "summary.json").write_text(json.dumps(summary_of(lines)))

    def events_of(self, run: Path) -> list[Path]:
        return sorted((run / "tensorboard").glob("events.out.tfevents.*"))


class Following(FollowingTest):
    def test_what_is_complete_is_converted_as_without_it(self):
        runs = [self.run_dir("a", epochs=2), self.run_dir("b")]
        with self.followed(*runs, "--out", self.out) as process:
            self.assertEqual(self.ended(process, 0), "")
        self.assertEqual(self.said.read_text().count(COMPLETE), 2)
        self.converted(*runs, "--out", self.folder / "again")
        for name in ("a", "b"):
            (file,), (again,) = (list((at / name).iterdir()) for at in (self.out, self.folder / "again"))
            self.assertEqual(file.read_bytes(), again.read_bytes())

    def test_a_tensorboard_that_is_open_reads_on_in_the_same_file(self):
        lines = lines_of(3, {"dense": 70.0})
        run = self.run_dir("going", lines=lines[:4], is_complete=False)
        torn = json.dumps(lines[4])[:30]
        self.append(run, torn)
        (self.folder / "rest").write_text(text_of(lines[4:])[len(torn) :])
        self.complete(self.folder, lines)
        with self.followed(run) as process:
            (file,) = self.events_of(run)
            before = self.read(run / "tensorboard")
            self.expect_points(before, lines[:4])
            meanwhile = (
                f"cat rest >>{run}/metrics.jsonl; mv summary.json {run};"
                f" until grep -q '{COMPLETE}' {self.said}; do sleep 0.02; done"
            )
            found = self.read(run / "tensorboard", "bash", "-c", f"cd {self.folder}; {meanwhile}")
            self.assertEqual(self.ended(process, 0), "")
        self.assertEqual(self.events_of(run), [file])
        self.expect_points(found, lines)
        self.assertEqual(set(found["texts"]), {"config", "summary"})
        for tag, points in before["scalars"].items():
            self.assertEqual(found["scalars"][tag][: len(points)], points, "not even times may change")
        times = [at for _, at, _ in found["scalars"]["train/loss"]]
        self.assertEqual(times, sorted(times))

    def test_a_run_that_steps_back_has_each_step_once(self):
        """It had ended after 2 epochs, and goes on from step 12 to a third."""
        before = lines_of(2, {"dense": 70.0})
        run = self.run_dir("resumed", epochs=2)
        write_config(run, epochs=3)
        foreign = run / "tensorboard" / "events.out.tfevents.1700000000.host.1.0"
        foreign.parent.mkdir()
        foreign.write_bytes(b"")
        with self.followed(run) as process:
            self.expect_points(self.read(run / "tensorboard"), before)
            (first,) = set(self.events_of(run)) - {foreign}
            kept = [line for line in before if line["step"] <= 12]
            write_lines(run, [*kept, step_line(16, 0.5)])
            until(lambda: len(self.events_of(run)) == 3)
            after = [*kept, step_line(16, 0.5), step_line(30, 0.25), evaluation_line(30, "dense", 75.0)]
            self.append(run, text_of(after[-2:]))
            self.complete(run, after)
            self.assertEqual(self.ended(process, 0), "")
        self.expect_points(self.read(run / "tensorboard"), after)
        self.assertTrue(foreign.exists())
        self.assertEqual(first.stat().st_size, 0)

    def test_control_c_ends_it_and_leaves_what_there_is(self):
        run = self.run_dir("going", is_complete=False)
        with self.followed(run) as process:
            process.send_signal(signal.SIGINT)
            self.assertEqual(self.ended(process, 128 + signal.SIGINT), "")
        self.expect_points(self.read(run / "tensorboard"), self.metrics_of(run))

    def test_a_line_that_is_damaged_later_ends_it(self):
        run = self.run_dir("going", lines=[step_line(4)], is_complete=False)
        with self.followed(run) as process:
            self.append(run, "{}\n")
            errors = self.ended(process, 2)
        self.assertIn(f"{run}/metrics.jsonl:2: `step` is not a count", errors)
        self.assertEqual(len(errors.splitlines()), 1)
        self.expect_points(self.read(run / "tensorboard"), [step_line(4)])

    def test_what_can_not_be_read_at_first_is_refused_as_without_it(self):
        good, bad = self.run_dir("good", is_complete=False), self.run_dir("bad", lines=[step_line(4)])
        self.append(bad, "{}\n")
        for unreadable in (bad, self.folder / "nowhere"):
            with self.followed(good, unreadable, "--out", self.out) as process:
                self.assertIn(str(unreadable), self.ended(process, 2))
        self.assertFalse(self.out.exists())


class RealRuns(FollowingTest):
    def test_the_program_at_work(self):
        """Followed from before its first step, stopped after step 3, and gone on with from step 2."""
        data, run = self.folder / "data", self.folder / "run"
        data.mkdir()
        write_idx(data, "train", 96, 1)
        write_idx(data, "t10k", 32, 2)
        small = ("--arch", "resnet20", "--batch-size", "8", "--mode", "compact", "--log-every", "1")
        command = [
            *(*mpirun(2), PROGRAM, "train", "--data", data, "--run-dir", run, *small),
            *("--epochs", "1", "--checkpoint-every", "2", "--eval-network", "auto"),
        ]

        def train(*more: str) -> int:
            done = subprocess.run(
                [*map(str, command), *more], env=ENVIRONMENT, capture_output=True, text=True
            )
            self.assertIn(done.returncode, (0, 3), done.stderr)
            return done.returncode

        # As a run leaves it that does its first step later.
        run.mkdir()
        (run / "lock").touch()
        with self.followed(run) as process:
            self.assertIn("waiting for its first step", self.said.read_text())
            self.assertEqual(train("--stop-after", "3"), 3)
            until(lambda: self.events_of(run))
            (run / "checkpoints/step-00000003.ckpt").unlink()
            self.assertEqual(train(), 0)
            self.assertEqual(self.ended(process, 0), "")
        lines = self.metrics_of(run)
        self.assertEqual([line["step"] for line in lines if "loss" in line], [1, 2, 3, 4, 5, 6])
        followed = self.read(run / "tensorboard")
        self.expect_points(followed, lines)
        summary = json.loads((run / "summary.json").read_text())
        self.assertEqual(json.loads(followed["texts"]["summary"][0]), summary)
        self.converted(run, "--out", self.out)
        again = self.read(self.out / "run")
        self.expect_points(again, lines)
        self.assertEqual(again["texts"], followed["texts"])


if __name__ == "__main__":
    unittest.main()
