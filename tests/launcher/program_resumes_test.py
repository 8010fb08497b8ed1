"""A run that was stopped and goes on is the run that never was; and what is not to be gone on with."""

import json
import re
import shutil
import unittest
from pathlib import Path

from program import PROGRAM, ProgramTest, mpirun, run

FACTORS = ("--reduce", "powersgd", "--powersgd-rank", "2")
SLICES = ("--reduce", "slices", "--sample-ratio", "0.25")


def summary_of(run_dir: Path) -> dict:
    return json.loads((run_dir / "summary.json").read_text())


class Resuming(ProgramTest):
    def options(self, *more: str, **where: Path | None) -> list[str]:
        """Of a network that is small, but has all that a checkpoint has to hold."""
        return super().options("--arch", "wrn-10-1", *more, **where)

    def test_resuming_is_never_having_stopped(self) -> None:
        sampling = ("--sampler", "gumbel", "--resample-every", "3")
        options = ("--steps", "20", "--seed", "7", *sampling, "--nesterov")
        straight = self.train(*options, run_dir=self.folder / "straight")
        self.train(*options, "--stop-after", "13", code=3)
        self.assertTrue((self.run_dir / "checkpoints" / "step-00000013.ckpt").exists())
        resumed = self.train(*options)
        self.assertEqual(resumed["weights_digest"], straight["weights_digest"])
        self.assertEqual([line["step"] for line in self.metrics() if "loss" in line], [10, 13, 20])

    def test_an_epoch_at_whose_end_a_run_stops_is_evaluated_by_the_next(self) -> None:
        options = ("--epochs", "2", "--batch-size", "32", "--seed", "7", "-p", "100")
        self.train(*options, "--stop-after", "10", ranks=1, code=3)
        self.assertEqual([line["step"] for line in self.metrics()], [10])
        self.train(*options, ranks=1)
        lines = [(line["step"], line.get("network")) for line in self.metrics()]
        evaluations = [(step, network) for step in (10, 20) for network in ("sampled", "dense")]
        self.assertEqual([line for line in lines if line[1]], evaluations)

    def test_a_resumed_run_approximates_and_evaluates_as_a_straight_one(self) -> None:
        terms = ("--mode", "approximate", "--sampler", "bernoulli", "--reduce", "dense")
        options = ("--epochs", "2", "--batch-size", "32", "--seed", "7", "--wire", "bf16", *terms)
        whole = self.folder / "approximate-straight"
        straight = self.train(*options, "--checkpoint-every", "3", "--keep", "9", run_dir=whole)
        self.assertIsNotNone(straight["top1_dense"])
        lines = map(json.loads, (whole / "metrics.jsonl").read_text().splitlines())
        evaluations = [line for line in lines if "network" in line]
        self.train(*options, "--stop-after", "5", code=3)  # the end of an epoch, evaluated by the next run
        self.assertFalse([line for line in self.metrics() if "network" in line])
        self.assertTrue((self.run_dir / "checkpoints" / "step-00000005.ckpt").exists())
        between = ("--resume", str(whole / "checkpoints" / "step-00000003.ckpt"))
        for how in ((), between):
            if how:
                self.run_dir = self.folder / "approximate-between"
            resumed = self.train(*options, *how)
            self.assertEqual(resumed["weights_digest"], straight["weights_digest"])
            told = [line for line in self.metrics() if "network" in line]
            for one, other in zip(told, evaluations, strict=True):
                self.assertEqual(one["top1"], other["top1"])
                self.assertEqual(one["val_loss"], other["val_loss"])

    def test_resume_goes_on_with_what_is_owed(self) -> None:
        blocks = (*SLICES, "--slice-output-ratio", "0.5")
        # Within a mode, and after the change to the next: epochs of 10 steps.
        changes = ("--epochs", "2", "--mode-schedule", "0:feedback,1:compact", "--checkpoint-every", "6")
        self.expect_resumed_as_straight("aged", (6, 12), *changes, *blocks)
        # Of 5 steps.
        changes = ("--epochs", "3", "--mode-schedule", "0:dense,1:feedback,2:compact", "--accumulate", "2")
        ratio = ("--sample-ratio", "0.25", "--checkpoint-every", "4")
        self.expect_resumed_as_straight("factors", (4, 8, 12), *changes, *ratio, *FACTORS)

    def test_resume_goes_on_across_a_skipped_step(self) -> None:
        """Which takes its turn, of those that the cyclic sampler gives one after the other."""
        broken = ("--inject", "nan-loss@rank1:step6", "--allow-inject", "--on-nonfinite", "skip")
        cyclic = ("--steps", "12", "--mode", "feedback", "--sampler", "cyclic", "--checkpoint-every", "6")
        self.expect_resumed_as_straight("cyclic", (6,), *cyclic, *SLICES, *broken)

    def expect_resumed_as_straight(self, name: str, steps: tuple[int, ...], *way: str) -> None:
        """From what the straight run itself has written, which is what a run that stops there writes."""
        options = ("--seed", "7", "--wire", "bf16", "--keep", "9", *way)
        whole = self.folder / f"{name}-straight"
        straight = self.train(*options, run_dir=whole)
        for step in steps:
            run_dir = self.folder / f"{name}-{step}"
            checkpoint = whole / "checkpoints" / f"step-{step:08}.ckpt"
            resumed = self.train(*options, "--resume", str(checkpoint), run_dir=run_dir)
            self.assertIn(f"at step={step}\n", (run_dir / "slicereduce.log").read_text())
            self.assertEqual(resumed["weights_digest"], straight["weights_digest"], run_dir.name)

    def test_mode_auto_stays_with_its_choice(self) -> None:
        options = ("--mode", "auto", "--auto-ratio", "0.5", "--seed", "5", "--steps", "6")
        self.train(*options, "--stop-after", "3", code=3)
        config = (self.run_dir / "config.toml").read_text()
        log = (self.run_dir / "slicereduce.log").read_text()
        chosen = re.search(r"auto: chose (\w+)", log)
        self.assertIn(f'mode = "{chosen[1]}"', config)
        self.assertRegex(log, r"auto: link of .* Gbit/s, latency \d+ us")
        self.assertRegex(log, r"auto: dense, .*: predicted [0-9.]+ ms")
        self.train(*options)
        self.assertIn(
            "auto: as it was in the run that is resumed", (self.run_dir / "slicereduce.log").read_text()
        )
        resumed = (self.run_dir / "config.toml").read_text()
        drop = re.compile(r"stop-after.*")
        self.assertEqual(drop.sub("", resumed), drop.sub("", config))

    def test_mode_auto_does_not_go_on_with_a_schedule(self) -> None:
        options = ("--seed", "5", "--steps", "12")
        schedule = ("--mode-schedule", "0:compact,1:dense")
        self.train(*options, *schedule, "--stop-after", "1", ranks=1, code=3)
        result = run([PROGRAM, *self.options(*options, "--mode", "auto")])
        self.assertEqual(result.returncode, 2)
        self.assertIn("--mode-schedule 0:compact,1:dense", result.stderr)


class Settled(ProgramTest):
    """What goes on from a complete run, or is compared with it: it is made once."""

    OPTIONS = ("--steps", "12", "--seed", "2", "--checkpoint-every", "5", "--lr", "0.07", "--wire", "bf16")

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.settled = cls.folder / "settled"

    def again(self, *more: str, ranks: int = 2, run_dir: Path | None = None):
        """By the defaults: factors travel, and workers owe each other what they lose."""
        there = ("--run-dir", str(run_dir or self.run_dir))
        launch = mpirun(ranks) if ranks > 1 else []
        return run([*launch, PROGRAM, *self.options_of_defaults(*self.OPTIONS, *there, *more)])

    def setUp(self) -> None:
        super().setUp()
        if not self.settled.exists():
            done = self.again(run_dir=self.settled)
            self.assertEqual(done.returncode, 0, done.stderr)

    def expect_as_settled(self, run_dir: Path) -> None:
        self.assertEqual(summary_of(run_dir)["weights_digest"], summary_of(self.settled)["weights_digest"])

    def test_what_was_written_while_it_trained_is_of_its_step(self) -> None:
        # The checkpoint has until then.
        broken = ("--inject", "slow:200ms@rank0:step6,kill@rank1:step8", "--allow-inject")
        self.assertNotEqual(self.again(*broken).returncode, 0)
        resumed = self.again()
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        self.assertRegex(resumed.stderr, "resumed from .*/step-00000005.ckpt at step=5")
        self.expect_as_settled(self.run_dir)

    def test_config_repeats_a_run(self) -> None:
        config = ("--config", str(self.settled / "config.toml"))
        result = run([*mpirun(2), PROGRAM, "train", *config, "--run-dir", str(self.run_dir)])
        self.assertEqual(result.returncode, 0, result.stderr)
        self.expect_as_settled(self.run_dir)

    def test_another_run_is_not_overwritten(self) -> None:
        shutil.copytree(self.settled, self.run_dir)
        before = (self.run_dir / "metrics.jsonl").read_text()
        result = self.again("--resume", "none", ranks=1)
        self.assertEqual(result.returncode, 2)
        self.assertIn("holds a run already", result.stderr)
        self.assertEqual((self.run_dir / "metrics.jsonl").read_text(), before)

    def test_damaged_checkpoints(self) -> None:
        good = self.settled / "checkpoints" / "step-00000010.ckpt"
        for name, spoil in {
            "cut.ckpt": lambda data: data[: len(data) // 2],
            "flipped.ckpt": lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
        }.items():
            bad = self.folder / name
            bad.write_bytes(spoil(good.read_bytes()))
            self.expect_not_resumed(bad, name)
        self.expect_not_resumed(good, "resnet20, but this run has resnet32", "--arch", "resnet32")
        self.expect_not_resumed(good, "was written with seed 2, this run has 3", "--seed", "3")

    def expect_not_resumed(self, checkpoint: Path, says: str, *more: str) -> None:
        result = self.again("--resume", str(checkpoint), *more, ranks=1)
        self.assertEqual(result.returncode, 2)
        self.assertIn(says, result.stderr)
        self.assertFalse(self.run_dir.exists())

    def test_a_damaged_newest_checkpoint_is_passed_over(self) -> None:
        shutil.copytree(self.settled, self.run_dir)
        (self.run_dir / "summary.json").unlink()
        newest = self.run_dir / "checkpoints" / "step-00000012.ckpt"
        newest.write_bytes(newest.read_bytes()[:-1])
        result = self.again()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("passed over", result.stderr)
        self.assertIn("resumed from", result.stderr)
        self.assertIn("step-00000010.ckpt", result.stderr)
        self.expect_as_settled(self.run_dir)


if __name__ == "__main__":
    unittest.main()
