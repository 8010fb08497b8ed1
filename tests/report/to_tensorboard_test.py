"""What scripts/to_tensorboard writes, TensorBoard's own reader finds as metrics.jsonl has it."""

import json
import os
import unittest

from converted_runs import SCRIPT, TensorBoardTest
from synthetic_runs import PYTHON, STEP_MS, evaluation_line, lines_of, step_line, write_lines

WRITTEN_AT = 1_700_000_000.0


class Values(TensorBoardTest):
    def test_every_number_is_found_again_in_the_run_s_own_folder(self):
        lines = lines_of(3, {"sampled": 60.0, "dense": 50.0})
        for number, line in enumerate(lines):
            # No two are equal, and not all have few digits.
            line |= {"loss": 2 / (number + 1), "lr": 0.1 / 3**number} if "loss" in line else {}
        lines[1]["loss"] = None  # all of its steps were skipped: a gap
        run = self.run_dir("plain", lines=lines)
        self.converted(run)
        found = self.read(run / "tensorboard")
        self.expect_points(found, self.metrics_of(run))
        self.assertEqual([step for step, _, _ in found["scalars"]["train/loss"]][:2], [4, 10])
        expected = {"train/loss", "train/lr", "train/images_per_s", "time/forward_ms", "wire/bytes"}
        evaluated = {
            f"eval/{network}/{name}"
            for network in ("sampled", "dense")
            for name in ("top1", "top5", "val_loss")
        }
        self.assertLessEqual(expected | evaluated, set(found["scalars"]))

    def test_times_are_those_of_the_files_and_texts_are_configuration_and_summary(self):
        """The last line is as old as the file, and the others lie steps before."""
        run = self.run_dir("plain", mode="compact")
        os.utime(run / "metrics.jsonl", (WRITTEN_AT, WRITTEN_AT))
        self.converted(run)
        found = self.read(run / "tensorboard")
        for tag in ("train/loss", "eval/dense/top1"):
            for step, wall_time, _ in found["scalars"][tag]:
                self.assertAlmostEqual(wall_time, WRITTEN_AT - (30 - step) * STEP_MS / 1e3, places=3)
        self.assertEqual(set(found["texts"]), {"config", "summary"})
        (config,), (summary,) = found["texts"]["config"], found["texts"]["summary"]
        self.assertIn('    mode = "compact"\n', config)
        self.assertEqual(json.loads(summary), json.loads((run / "summary.json").read_text()))

    def test_a_run_at_work_has_its_whole_lines(self):
        lines = lines_of(2, {"dense": 70.0})
        run = self.run_dir("going", lines=lines, is_complete=False)
        with (run / "metrics.jsonl").open("a") as file:
            file.write('{"step": 21, "epo')
        self.converted(run)
        found = self.read(run / "tensorboard")
        self.expect_points(found, lines)
        self.assertEqual(set(found["texts"]), {"config", "notes"})
        self.assertIn("the last line of metrics.jsonl is torn", found["texts"]["notes"][0])


class Folders(TensorBoardTest):
    def test_several_runs_have_a_folder_each(self):
        runs = {name: self.run_dir(name, epochs=epochs) for name, epochs in (("x/run", 2), ("y/run", 3))}
        self.converted(*runs.values(), "--out", self.out)
        for name, run in runs.items():
            self.expect_points(self.read(self.out / name), self.metrics_of(run))
            self.assertFalse((run / "tensorboard").exists())

    def test_one_run_has_a_folder_in_out_too(self):
        self.converted(self.run_dir("plain"), "--out", self.out)
        self.assertEqual([file.name for file in self.out.iterdir()], ["plain"])

    def test_again_replaces_its_own_files_and_no_others(self):
        run = self.run_dir("plain")
        target = run / "tensorboard"
        self.converted(run)
        (first,) = target.iterdir()
        content = first.read_bytes()
        others = [target / "events.out.tfevents.1700000000.host.1.0", target / "notes.slicereduce"]
        for file in others:
            file.write_bytes(b"")
        self.converted(run)
        (second,) = set(target.iterdir()) - {*others, first}
        self.assertEqual(second.read_bytes(), content)
        self.assertEqual(first.stat().st_size, 0)
        self.assertTrue(all(file.exists() for file in others))
        self.expect_points(self.read(target), self.metrics_of(run))
        self.converted(run)
        self.assertFalse(first.exists())

    def test_a_resumed_run_has_each_step_once_where_tensorboard_is_open_too(self):
        """It was converted at step 30, and went on from a checkpoint of step 20 with other values."""
        before = lines_of(3, {"dense": 70.0})
        run = self.run_dir("resumed", lines=before, is_complete=False)
        self.converted(run)
        again = [step_line(24, 0.25), step_line(28, 0.125), evaluation_line(30, "dense", 75.0)]
        after = [line for line in before if line["step"] <= 20] + again
        write_lines(run, after)
        self.expect_points(self.read(run / "tensorboard", PYTHON, SCRIPT, run), after)


class Refusals(TensorBoardTest):
    def refused(self, *arguments: object, says: str, environment: dict[str, str] | None = None) -> None:
        before = sorted(self.folder.rglob("*"))
        done = self.convert(*arguments, environment=environment)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(says, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertEqual(sorted(self.folder.rglob("*")), before, "something was written")

    def test_what_is_no_run(self):
        self.refused(self.folder / "nowhere", says=f"{self.folder}/nowhere: no such folder")

    def test_one_damaged_line_among_several_runs_ends_all(self):
        good, bad = self.run_dir("good"), self.run_dir("bad")
        (bad / "metrics.jsonl").write_text(json.dumps(step_line(4)) + '\n{"step": 8, "lo\n')
        self.refused(good, bad, "--out", self.out, says=f"{bad}/metrics.jsonl:2: not JSON")

    def test_several_runs_need_out(self):
        self.refused(self.run_dir("a"), self.run_dir("b"), says="--out is missing")

    def test_out_that_is_a_file(self):
        self.out.write_text("")
        self.refused(self.run_dir("a"), "--out", self.out, says=f"{self.out}: not a folder")

    def test_numbers_that_event_files_can_not_hold(self):
        for name, change in {"step": {"step": 2**70}, "bytes": {"dense_bytes": 10**400}}.items():
            run = self.run_dir(name, lines=[step_line(1) | change], is_complete=False)
            self.refused(run, says=f"{run}/metrics.jsonl: a number is too large")

    def test_without_the_library_it_says_how_to_get_it(self):
        hidden = self.folder / "hidden"
        hidden.mkdir()
        # Python imports this before it runs anything; a module that is None can't be found.
        (hidden / "sitecustomize.py").write_text('import sys\nsys.modules["tensorboard"] = None\n')
        environment = {"PYTHONPATH": str(hidden), "PYTHONDONTWRITEBYTECODE": "1"}
        self.refused(self.run_dir("a"), says="run scripts/setup --peers", environment=environment)


if __name__ == "__main__":
    unittest.main()
