"""A run that goes on with another number of workers, and the same images in each step.

See program.py for what it needs.
"""

import json
import unittest

from program import PROGRAM, ProgramTest, mpirun, run

# 320 images: 8 steps an epoch, of shares that do not divide by 3.
OPTIONS = ("--global-batch-size", "40", "--epochs", "2", "--seed", "5", "--log-every", "1", "--lr", "0.02")
STEPS = 16
WRITTEN = 4  # a checkpoint, which others go on from


class Elastic(ProgramTest):
    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.steady = cls.folder / "steady"

    def setUp(self) -> None:
        super().setUp()
        if not self.steady.exists():
            every = ("--checkpoint-every", str(WRITTEN), "--keep", "9")
            self.start(4, *every, "--run-dir", str(self.steady))
        self.checkpoint = self.steady / "checkpoints" / f"step-{WRITTEN:08}.ckpt"

    def start(self, ranks: int, *more: str, code: int = 0) -> None:
        """By the defaults: factors travel, and workers owe each other what they lose."""
        result = run([*mpirun(ranks), PROGRAM, *self.options_of_defaults(*OPTIONS, *more)])
        self.assertEqual(result.returncode, code, result.stderr)

    def losses(self) -> dict[int, float]:
        return {line["step"]: line["loss"] for line in self.metrics() if "loss" in line}

    def test_four_workers_then_two_then_three(self) -> None:
        self.start(2, "--resume", str(self.checkpoint), "--stop-after", "9", code=3)
        self.start(3)
        changing = self.losses()
        self.assertEqual(list(changing), list(range(WRITTEN + 1, STEPS + 1)))
        summary = json.loads((self.run_dir / "summary.json").read_text())
        self.assertEqual(summary["world_size"], 3)
        self.run_dir = self.steady
        steady = self.losses()
        self.assertEqual(list(steady), list(range(1, STEPS + 1)))
        # Not the same bits: other sums, other batches of batch norm. But the same images, and the same way.
        for step, loss in changing.items():
            difference = abs(loss - steady[step])
            self.assertLess(difference, 0.25 * max(steady[step], 1), f"step {step}: {loss}, {steady[step]}")

    def test_another_number_of_images_a_step_is_refused(self) -> None:
        resume = ("--resume", str(self.checkpoint))
        said = run([PROGRAM, *self.options_of_defaults("--epochs", "2", "--seed", "5", *resume)])
        self.assertEqual(said.returncode, 2, said.stderr)
        self.assertIn(
            "was written with 40 images a step (4 workers), this run has 16 (1 workers)", said.stderr
        )
        self.assertIn("--global-batch-size 40", said.stderr)
        self.assertFalse(self.run_dir.exists())

    def test_what_can_not_be_shared_is_refused(self) -> None:
        self.refused(*self.options_of_defaults("--global-batch-size", "321"), says="at most the 320")
        few = run([*mpirun(2), PROGRAM, *self.options_of_defaults("--global-batch-size", "1")])
        self.assertEqual(few.returncode, 2, few.stderr)
        self.assertIn("leaves some of 2 workers without one", few.stderr)
        self.refused(
            *self.options_of_defaults("--global-batch-size", "40", "--accumulate", "2"), says="--accumulate"
        )


if __name__ == "__main__":
    unittest.main()
