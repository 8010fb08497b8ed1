"""A run that goes on with another number of workers, and the same images in each step.

See program.py for what it needs.
"""

import json
import unittest

from program import PROGRAM, ProgramTest, mpirun, run

# 320 images: 8 steps an epoch, of shares that do not divide by 3.
OPTIONS = ("--global-batch-size", "40", "--epochs", "3", "--seed", "5", "--log-every", "1", "--lr", "0.02")


class Elastic(ProgramTest):
    def start(self, ranks: int, *more: str, code: int = 0) -> str:
        """By the defaults: factors travel, and workers owe each other what they lose."""
        result = run([*mpirun(ranks), PROGRAM, *self.options_of_defaults(*OPTIONS, *more)])
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stderr

    def losses(self) -> list[float]:
        told = [line for line in self.metrics() if "loss" in line]
        self.assertEqual([line["step"] for line in told], list(range(1, 25)))
        return [line["loss"] for line in told]

    def test_four_workers_then_two_then_three(self) -> None:
        self.start(4)
        steady = self.losses()
        self.run_dir = self.folder / "changing"
        self.start(4, "--stop-after", "5", code=3)
        self.start(2, "--stop-after", "13", code=3)
        self.start(3)
        changing = self.losses()
        self.assertEqual(changing[:5], steady[:5])
        # Not the same bits: other sums, other batches of batch norm. But the same images, and the same way.
        for step, (loss, other) in enumerate(zip(changing, steady, strict=True), start=1):
            self.assertLess(abs(loss - other), 0.25 * max(other, 1), f"step {step}: {loss}, steady {other}")
        summary = json.loads((self.run_dir / "summary.json").read_text())
        self.assertEqual(summary["world_size"], 3)

    def test_another_number_of_images_a_step_is_refused(self) -> None:
        self.start(2, "--stop-after", "3", code=3)
        said = run([PROGRAM, *self.options_of_defaults("--epochs", "3", "--seed", "5")])
        self.assertEqual(said.returncode, 2, said.stderr)
        self.assertIn(
            "was written with 40 images a step (2 workers), this run has 16 (1 workers)", said.stderr
        )
        self.assertIn("--global-batch-size 40", said.stderr)

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
