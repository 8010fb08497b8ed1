"""--trace: the file of a run's steps, read as a viewer would."""

import json
import os
import re
import unittest
from collections import Counter

from program import PROGRAM, ProgramTest, mpirun, run

STEPS_BEFORE = 3


class Event:
    def __init__(self, event: dict, rank: int, rows: dict) -> None:
        self.name, self.rank, self.row = event["name"], rank, rows[event["pid"], event["tid"]]
        self.began, self.ended = event["ts"], event["ts"] + event["dur"]
        self.detail = event.get("args", {}).get("detail", "")

    def holds(self, other: "Event") -> bool:
        rounding = 0.01  # of a microsecond
        return self.began <= other.began + rounding and other.ended <= self.ended + rounding

    def meets(self, other: "Event", clocks: float = 0) -> bool:
        """By clocks that differ by so many microseconds at most."""
        return self.began < other.ended + clocks and other.began < self.ended + clocks


class Traces(ProgramTest):
    def whole(self, first: int) -> list[dict]:
        return json.loads((self.run_dir / f"trace-{first:08}.json").read_text())["traceEvents"]

    def trace(self, first: int) -> list[Event]:
        whole = self.whole(first)
        ranks = {
            event["pid"]: int(event["args"]["name"].split()[1])
            for event in whole
            if event["name"] == "process_name"
        }
        rows = {
            (event["pid"], event["tid"]): event["args"]["name"]
            for event in whole
            if event["name"] == "thread_name"
        }
        return [Event(event, ranks[event["pid"]], rows) for event in whole if event["ph"] == "X"]

    def test_all_ranks_steps_are_in_one_file_by_one_clock(self) -> None:
        options = ("--steps", "8", "--seed", "1", "--workers", "2", "--checkpoint-every", "5")
        options += ("--reduce", "slices", "--bucket-mb", "0.1")
        # A slow disk may have the checkpoint of step 5 until after the last step that is traced.
        slow = ",".join(f"slow:500ms@rank{rank}:step6" for rank in (0, 1))
        options += ("--inject", slow, "--allow-inject")
        plain = self.train(*options, run_dir=self.folder / "plain")
        traced = self.train(*options, "--trace", "3")
        self.assertEqual(traced["weights_digest"], plain["weights_digest"])

        events = self.trace(STEPS_BEFORE + 1)
        overlaps = 0
        for rank in (0, 1):
            own = [event for event in events if event.rank == rank]
            rows = {event.row for event in own}
            self.assertLessEqual({"training", "loader 0", "loader 1", "checkpoint", "AllReduce 0"}, rows)
            training = [event for event in own if event.row == "training"]
            steps = [event for event in training if event.name.startswith("step ")]
            self.assertEqual([step.name for step in steps], ["step 4", "step 5", "step 6"])
            for step in steps:
                inside = [event for event in training if step.holds(event)]
                overlaps += self.check_step(inside, [event for event in own if step.holds(event)])
        # Not in each step: a busy machine may give the communication thread no time while backward runs.
        self.assertGreater(overlaps, 0)
        labels = [event for event in self.whole(STEPS_BEFORE + 1) if event["name"] == "process_labels"]
        told = [re.fullmatch(r"clock within (\d+) us", label["args"]["labels"]) for label in labels]
        self.assertEqual(len(told), 2)
        self.check_clocks(events, sum(int(match[1]) + 1 for match in told))

    def check_step(self, training: list[Event], own: list[Event]) -> int:
        """Gives how many AllReduces are under way in backward."""
        (forward,) = [event for event in training if event.name == "forward"]
        (backward,) = [event for event in training if event.name == "backward"]
        layers = [event.name for event in training if forward.holds(event) and event is not forward]
        self.assertEqual((layers[0], layers[-1]), ("conv1", "fc"))
        gradients = [event.name for event in training if backward.holds(event)]
        self.assertEqual(gradients[0], "fc.bias")
        self.assertIn("conv1.weight", gradients)
        reductions = [event for event in own if event.name == "AllReduce"]
        self.assertGreater(len(reductions), 2)
        self.assertRegex(reductions[0].detail, r"^allreduce of bucket \d+ \(\d+ bytes of fp32\)$")
        return sum(event.meets(backward) for event in reductions)

    def check_clocks(self, events: list[Event], clocks: float) -> None:
        """No rank's AllReduce is over before the other's has begun."""
        by_rank = [
            [event for event in events if event.name == "AllReduce" and event.rank == rank] for rank in (0, 1)
        ]
        self.assertEqual(len(by_rank[0]), len(by_rank[1]))
        sent = sorted(by_rank[0], key=lambda event: (event.row, event.began))
        theirs = sorted(by_rank[1], key=lambda event: (event.row, event.began))
        for own, other in zip(sent, theirs, strict=True):
            self.assertTrue(
                own.meets(other, clocks), (clocks, own.row, own.began, own.ended, other.began, other.ended)
            )

    @unittest.skipUnless("SLICEREDUCE_NVTX_LISTENER" in os.environ, "this build has no CUDA")
    def test_a_profiler_of_cudas_is_told_the_same(self) -> None:
        environment = {
            "NVTX_INJECTION64_PATH": os.environ["SLICEREDUCE_NVTX_LISTENER"],
            "NVTX_LISTENER_FILE": str(self.folder / "told"),
        }
        options = ("--steps", "2", "--workers", "1", "--reduce", "slices", "--bucket-mb", "0.1")
        self.train(*options, env=environment)
        files = list(self.folder.glob("told.*"))
        self.assertEqual(len(files), 2)  # one a rank
        for file in files:
            lines = Counter(line.rstrip() for line in file.read_text().splitlines())
            for part in ("step 1", "step 2"):
                self.assertEqual(lines[f"push {part}"], 1, part)
            for part in ("gather", "forward", "backward", "update"):
                self.assertEqual(lines[f"push {part}"], 2, part)
            for gradient in ("fc.bias", "layer1.0.conv1.weight", "conv1.weight"):
                self.assertEqual(lines[f"mark {gradient}"], 2, gradient)
            reductions = [line for line in lines if line.startswith("start AllReduce ")]
            self.assertGreater(len(reductions), 2)
            self.assertEqual({lines[line] for line in reductions}, {2})
            self.assertEqual(
                sum(count for line, count in lines.items() if line.startswith("start ")),
                sum(count for line, count in lines.items() if line.startswith("end ")),
            )
            self.assertEqual(
                sum(count for line, count in lines.items() if line.startswith("push ")), lines["pop"]
            )

    def test_a_resumed_run_leaves_the_trace_of_before(self) -> None:
        self.train("--steps", "10", "--stop-after", "5", "--trace", "1", code=3)
        before = self.trace(4)
        self.train("--steps", "10", "--trace", "1")
        self.assertEqual([event.began for event in self.trace(4)], [event.began for event in before])
        self.assertTrue(self.trace(5 + STEPS_BEFORE + 1))

    def test_a_run_that_is_too_short_says_so(self) -> None:
        result = run([*mpirun(2), PROGRAM, *self.options("--steps", "2", "--trace", "2")])
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("no trace: it would have begun with step 4", result.stderr)
        self.assertEqual(list(self.run_dir.glob("trace-*")), [])

    def test_too_much_is_refused(self) -> None:
        self.refused(*self.options("--trace", "1001"), says="--trace")


if __name__ == "__main__":
    unittest.main()
