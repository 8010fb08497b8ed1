"""A run as a user starts, stops and resumes it, and the files that it leaves."""

import json
import re
import shutil
import signal
import socket
import subprocess
import time
import unittest
from pathlib import Path

from program import ENVIRONMENT, PROGRAM, SIDE, ProgramTest, mpirun, run, write_idx


class Training(ProgramTest):
    def test_a_run_learns_and_leaves_its_files(self) -> None:
        summary = self.train(
            "--epochs",
            "6",
            "--wire",
            "bf16",
            "--sample-ratio",
            "0.5",
            "--seed",
            "1",
            "--label-smoothing",
            "0.1",
        )
        self.assertGreater(summary["top1"], 30)  # of 10 classes
        self.assertEqual(summary["top1"], summary["top1_sampled"])
        self.assertEqual(summary["world_size"], 2)
        self.assertEqual(summary["steps"], 60)
        steps = [line for line in self.metrics() if "loss" in line]
        evaluations = [line for line in self.metrics() if "network" in line]
        self.assertEqual([line["step"] for line in steps], [10, 20, 30, 40, 50, 60])
        self.assertEqual(len(evaluations), 12)
        self.assertLess(steps[-1]["loss"], steps[0]["loss"])
        names = {path.name for path in (self.run_dir / "checkpoints").iterdir()}
        self.assertEqual(
            names, {"best.ckpt", "step-00000040.ckpt", "step-00000050.ckpt", "step-00000060.ckpt"}
        )
        self.assertTrue((self.run_dir / "slicereduce.log").read_text())

    def test_every_approximation_trains(self) -> None:
        exact = ("--mode", "dense", "--reduce", "dense")
        whole = self.train("--steps", "3", *exact, run_dir=self.folder / "whole")
        for approximate in ("forward", "black_box", "backward"):
            options = ("--mode", "approximate", "--approximate", approximate, "--seed", "1")
            run_dir = self.folder / approximate
            summary = self.train("--steps", "20", *options, "--reduce", "dense", run_dir=run_dir)
            self.assertEqual(summary["top1"], summary["top1_dense"])
            self.assertIsNone(summary["top1_sampled"])
            self.assertEqual(summary["wire_bytes_per_step"], whole["wire_bytes_per_step"])
            self.assertLess(summary["flops_per_step"], 0.95 * whole["flops_per_step"])
            lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
            steps = [line for line in lines if "loss" in line]
            self.assertLess(steps[-1]["loss"], steps[0]["loss"])
            self.assertEqual({line["sample_ratio"] for line in steps}, {0.5})

    def test_by_default_all_is_trained_and_factors_travel(self) -> None:
        result = run([*mpirun(2), PROGRAM, *self.options_of_defaults("--steps", "10")])
        self.assertEqual(result.returncode, 0, result.stderr)
        summary = json.loads((self.run_dir / "summary.json").read_text())
        self.assertIsNone(summary["top1_sampled"])
        self.assertEqual(summary["flops_per_step"], summary["dense_flops_per_step"])
        self.assertGreater(summary["bytes_saved_fraction"], 0.6)
        alone = self.folder / "alone"
        result = run([PROGRAM, *self.options_of_defaults("--steps", "3", "--run-dir", str(alone))])
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads((alone / "summary.json").read_text())["bytes_saved_fraction"], 0)

    def test_wire_bytes_are_the_plans_to_the_byte(self) -> None:
        options = ("--arch", "resnet20", "--mode", "compact", "--sample-ratio", "0.3", "--wire", "bf16")
        plan = run([PROGRAM, "plan", *options, "--in-channels", "1", "--image-size", str(SIDE), "--json"])
        total = json.loads(plan.stdout)["total"]
        summary = self.train("--steps", "10", *options)
        self.assertEqual(summary["wire_bytes_per_step"], total["wire_bytes"])
        self.assertEqual(summary["dense_bytes_per_step"], total["dense_bytes"])
        self.assertEqual(
            {line["wire_bytes"] for line in self.metrics() if "loss" in line}, {total["wire_bytes"]}
        )

    def test_resuming_is_never_having_stopped(self) -> None:
        options = (
            "--steps",
            "40",
            "--seed",
            "7",
            "--sampler",
            "gumbel",
            "--resample-every",
            "3",
            "--nesterov",
        )
        straight = self.train(*options, run_dir=self.folder / "straight")
        self.train(*options, "--stop-after", "17", code=3)
        self.assertTrue((self.run_dir / "checkpoints" / "step-00000017.ckpt").exists())
        resumed = self.train(*options)
        self.assertEqual(resumed["weights_digest"], straight["weights_digest"])
        self.assertEqual([line["step"] for line in self.metrics() if "loss" in line], [10, 17, 20, 30, 40])

    def test_an_epoch_at_whose_end_a_run_stops_is_evaluated_by_the_next(self) -> None:
        options = ("--epochs", "2", "--seed", "7", "-p", "100")
        self.train(*options, "--stop-after", "10", code=3)
        self.assertEqual([line["step"] for line in self.metrics()], [10])
        self.train(*options)
        lines = [(line["step"], line.get("network")) for line in self.metrics()]
        evaluations = [(step, network) for step in (10, 20) for network in ("sampled", "dense")]
        self.assertEqual([line for line in lines if line[1]], evaluations)

    def test_a_resumed_run_evaluates_approximations_as_a_straight_one(self) -> None:
        options = ("--epochs", "2", "--seed", "7", "--mode", "approximate", "--reduce", "dense")
        straight = self.train(*options, run_dir=self.folder / "approximate_straight")
        self.train(*options, "--stop-after", "10", code=3)  # the end of an epoch, evaluated by the next run
        self.train(*options)
        lines = (self.folder / "approximate_straight" / "metrics.jsonl").read_text().splitlines()
        of_straight = [line for line in map(json.loads, lines) if "network" in line]
        resumed = [line for line in self.metrics() if "network" in line]
        for one, other in zip(resumed, of_straight, strict=True):
            self.assertEqual(one["top1"], other["top1"])
            self.assertEqual(one["val_loss"], other["val_loss"])
        self.assertIsNotNone(straight["top1_dense"])

    def test_networks_without_batch_norm(self) -> None:
        data = self.folder / "squares"
        data.mkdir()
        write_idx(data, "train", 64, 1, side=28)
        write_idx(data, "t10k", 20, 2, side=28)
        for arch in ("mlp-3x16", "cnn"):
            run_dir = self.folder / arch
            options = ("--arch", arch, "--steps", "4", "--dropout", "0.1")
            result = run([*mpirun(2), PROGRAM, *self.options(*options, data=data, run_dir=run_dir)])
            self.assertEqual(result.returncode, 0, result.stderr)
            summary = json.loads((run_dir / "summary.json").read_text())
            self.assertIsNotNone(summary["top1_dense"])

    def test_resume_goes_on_with_what_is_owed(self) -> None:
        factors = ("--reduce", "powersgd", "--powersgd-rank", "2")
        slices = ("--reduce", "slices", "--sample-ratio", "0.25")
        ways = {
            "aged": ("--mode", "feedback", "--slice-output-ratio", "0.5", *slices),
            "cyclic": ("--mode", "feedback", "--sampler", "cyclic", *slices),
            "factors": ("--mode", "feedback", *factors),
            "compact factors": ("--mode", "compact", "--sample-ratio", "0.25", *factors),
            "accumulated factors": ("--mode", "dense", "--accumulate", "2", *factors),
            "terms": ("--mode", "approximate", "--sampler", "bernoulli", "--reduce", "dense"),
        }
        for name, way in ways.items():
            self.expect_resumed_as_straight(name, (7,), "--steps", "18", "--checkpoint-every", "7", *way)
        # At step 10 a compact network follows: before it, and after it.
        changes = {"feedback": slices, "dense": ("--sample-ratio", "0.25", *factors)}
        for before, way in changes.items():
            schedule = ("--epochs", "2", "--mode-schedule", f"0:{before},1:compact", "--checkpoint-every", "6")
            self.expect_resumed_as_straight(before, (6, 12), *schedule, *way)

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
        options = ("--mode", "auto", "--auto-ratio", "0.5", "--seed", "5", "--steps", "12")
        self.train(*options, "--stop-after", "5", code=3)
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
        self.train(*options, "--mode-schedule", "0:compact,1:dense", "--stop-after", "5", code=3)
        result = run([PROGRAM, *self.options(*options, "--mode", "auto")])
        self.assertEqual(result.returncode, 2)
        self.assertIn("--mode-schedule 0:compact,1:dense", result.stderr)

    def test_whole_steps_at_once_give_the_same_bits(self) -> None:
        lines = {}
        for graph in ("off", "on"):
            run_dir = self.folder / graph
            options = (
                "--epochs",
                "2",
                "--log-every",
                "1",
                "--sampler",
                "topk",
                "--reduce",
                "slices",
                "--seed",
                "3",
            )
            self.train(*options, "--cuda-graph", graph, run_dir=run_dir)
            metrics = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
            lines[graph] = [
                {key: line[key] for key in ("step", "loss", "top1", "wire_bytes") if key in line}
                for line in metrics
            ]
        self.assertEqual(lines["on"], lines["off"])
        self.assertGreater(len(lines["on"]), 20)

    def test_same_bits_with_any_number_of_loader_threads(self) -> None:
        digests = set()
        for workers in ("0", "1", "4"):
            run_dir = self.folder / f"workers-{workers}"
            digests.add(
                self.train("--steps", "12", "--seed", "3", "-j", workers, run_dir=run_dir)["weights_digest"]
            )
        self.assertEqual(len(digests), 1)

    def test_a_signal_stops_with_a_checkpoint(self) -> None:
        command = [*mpirun(2), PROGRAM, *self.options("--epochs", "500", "--seed", "1", "-p", "1000")]
        with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
            deadline = time.monotonic() + 60
            while not list(self.run_dir.glob("checkpoints/step-*.ckpt")):
                self.assertLess(time.monotonic(), deadline, "no checkpoint in a minute")
                time.sleep(0.1)
            process.send_signal(signal.SIGUSR1)
            process.communicate(timeout=60)
        self.assertEqual(process.returncode, 3)
        newest = max(self.run_dir.glob("checkpoints/step-*.ckpt"))
        told = (self.run_dir / "slicereduce.log").read_text()
        self.assertIn(f"stopped at step={int(newest.stem.removeprefix('step-'))} on request", told)

    def test_what_was_written_while_it_trained_is_of_its_step(self) -> None:
        options = ("--steps", "12", "--seed", "3", "--checkpoint-every", "5")
        own, self.run_dir = self.run_dir, self.folder / "undisturbed"
        done = run([*mpirun(2), PROGRAM, *self.options_of_defaults(*options)])
        self.assertEqual(done.returncode, 0, done.stderr)
        whole, self.run_dir = self.run_dir, own
        # The checkpoint has until then.
        broken = ("--inject", "slow:200ms@rank0:step6,kill@rank1:step8", "--allow-inject")
        command = [*mpirun(2), PROGRAM, *self.options_of_defaults(*options)]
        self.assertNotEqual(run([*command, *broken]).returncode, 0)
        resumed = run(command)
        self.assertEqual(resumed.returncode, 0, resumed.stderr)
        self.assertRegex(resumed.stderr, "resumed from .*/step-00000005.ckpt at step=5")
        digests = [
            json.loads((run_dir / "summary.json").read_text())["weights_digest"]
            for run_dir in (whole, self.run_dir)
        ]
        self.assertEqual(digests[0], digests[1])

    def wait_until_broken(self) -> None:
        """Until --inject has struck."""
        log = self.run_dir / "slicereduce.log"
        deadline = time.monotonic() + 60
        while not log.exists() or "broken on purpose" not in log.read_text():
            self.assertLess(time.monotonic(), deadline, "no fault in a minute")
            time.sleep(0.1)

    def test_a_signal_stops_an_evaluation(self) -> None:
        settled = ("--steps", "8", "--seed", "3")
        whole = self.train(*settled, run_dir=self.folder / "not-stopped")
        slow = ("--inject", "slow:3000ms@rank0:evaluation", "--allow-inject")
        command = [*mpirun(2), PROGRAM, *self.options(*settled, *slow)]
        with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
            try:
                self.wait_until_broken()
                process.send_signal(signal.SIGUSR1)
                process.communicate(timeout=60)
            finally:
                process.kill()
        self.assertEqual(process.returncode, 3)
        self.assertFalse([line for line in self.metrics() if "network" in line])
        resumed = self.train(*settled)
        for name in ("weights_digest", "top1_sampled", "top1_dense"):
            self.assertEqual(resumed[name], whole[name], name)
        self.assertEqual(
            [line["network"] for line in self.metrics() if "network" in line], ["sampled", "dense"]
        )

    def test_a_second_signal_ends_it_at_once(self) -> None:
        slow = ("--inject", "slow:100000ms@rank0:step8", "--allow-inject", "--checkpoint-every", "5")
        command = [PROGRAM, *self.options("--epochs", "500", *slow)]
        with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
            try:
                self.wait_until_broken()
                process.send_signal(signal.SIGUSR1)  # waits for the step's end
                with self.assertRaises(subprocess.TimeoutExpired):
                    process.wait(1)
                process.send_signal(signal.SIGUSR1)
                process.communicate(timeout=20)
            finally:
                process.kill()
        self.assertEqual(process.returncode, -signal.SIGUSR1)
        self.assertEqual(
            run([PROGRAM, "inspect", str(self.run_dir / "checkpoints/step-00000005.ckpt")]).returncode, 0
        )

    def test_a_run_that_diverges_ends_and_says_so_once(self) -> None:
        options = self.options("--lr", "1e30", "--steps", "20", "--checkpoint-every", "1")
        result = run([*mpirun(2), PROGRAM, *options])
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertEqual(
            result.stderr.count("the loss of rank 0, 1 is not finite, so training has diverged"),
            1,
            result.stderr,
        )
        self.assertIn("step 2", result.stderr)
        written = [path.name for path in self.run_dir.glob("checkpoints/*.ckpt")]
        self.assertEqual(written, ["step-00000001.ckpt"])

    def test_a_step_with_a_loss_that_is_no_number_is_skipped(self) -> None:
        broken = ("--inject", "nan-loss@rank1:step3,nan-loss@rank0:step6", "--allow-inject")
        result = run(
            [
                *mpirun(2),
                PROGRAM,
                *self.options_of_defaults("--steps", "12", "-p", "1", "--on-nonfinite", "skip", *broken),
            ]
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("step 3: the loss of rank 1 is not finite: skipped on all ranks", result.stderr)
        self.assertIn("step 6: the loss of rank 0 is not finite: skipped on all ranks", result.stderr)
        told = [line for line in self.metrics() if "loss" in line]
        self.assertEqual(
            [line["skipped_steps"] for line in told], [int(step in (3, 6)) for step in range(1, 13)]
        )
        self.assertTrue(all(line["loss"] is not None for line in told if not line["skipped_steps"]))
        self.assertIsNotNone(json.loads((self.run_dir / "summary.json").read_text())["top1"])

    def test_a_skipped_step_leaves_nothing_behind(self) -> None:
        """Momentum apart, which it leaves as it is: here there is none."""
        plain = ("--mode", "dense", "--reduce", "slices", "--momentum", "0", "--schedule", "constant")
        options = (*plain, "--weight-decay", "0", "--seed", "3", "--on-nonfinite", "skip")
        first = self.train("--steps", "1", *options)
        second = self.train(
            *("--steps", "2", *options, "--inject", "nan-loss@rank0:step2", "--allow-inject"),
            run_dir=self.folder / "skipped",
        )
        self.assertEqual(second["weights_digest"], first["weights_digest"])
        self.assertEqual(second["top1"], first["top1"])  # by batch norm's statistics of the first step

    def test_a_run_resumes_across_a_skipped_step(self) -> None:
        broken = ("--inject", "nan-loss@rank1:step6", "--allow-inject", "--on-nonfinite", "skip")
        options = ("--steps", "12", "--seed", "3", "--checkpoint-every", "6", *broken)
        whole = self.train(*options)
        checkpoint = self.run_dir / "checkpoints" / "step-00000006.ckpt"
        resumed = self.train(*options, "--resume", str(checkpoint), run_dir=self.folder / "resumed")
        self.assertEqual(resumed["weights_digest"], whole["weights_digest"])

    def test_skipping_has_an_end(self) -> None:
        broken = ",".join(f"nan-loss@rank0:step{step}" for step in range(3, 20))
        options = self.options(
            "--steps", "20", "--inject", broken, "--allow-inject", "--on-nonfinite", "skip"
        )
        result = run([*mpirun(2), PROGRAM, *options])
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("step 13: the loss of rank 0 is not finite, nor were the 10 before it", result.stderr)

    def test_a_flipped_bit_is_found_and_its_rank_named(self) -> None:
        broken = ("--inject", "corrupt-weights@rank1:step5", "--allow-inject", "--check-replicas-every", "1")
        options = self.options("--steps", "20", "--mode", "dense", *broken)
        result = run([*mpirun(3), PROGRAM, *options])
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("after step 5 the ranks hold different weights or momentum", result.stderr)
        self.assertRegex(result.stderr, "'[0-9a-f]+' on rank 1[;\n]")
        self.assertRegex(result.stderr, "'[0-9a-f]+' on ranks 0, 2[;\n]")
        self.assertIn(f"rank 1 on {socket.gethostname()}, holding what most don't", result.stderr)
        self.assertFalse(list(self.run_dir.glob("checkpoints/*")))

    def test_config_repeats_a_run(self) -> None:
        first = self.train("--steps", "12", "--lr", "0.07", "--wire", "fp16")
        again = self.folder / "again"
        config = str(self.run_dir / "config.toml")
        result = run([*mpirun(2), PROGRAM, "train", "--config", config, "--run-dir", str(again)])
        self.assertEqual(result.returncode, 0, result.stderr)
        second = json.loads((again / "summary.json").read_text())
        self.assertEqual(second["weights_digest"], first["weights_digest"])

    SETTLED = ("--steps", "20", "--seed", "2", "--checkpoint-every", "5")

    def copy_of_settled(self) -> Path:
        """In self.run_dir, a complete run with SETTLED, made once for all tests that go on from there."""
        settled = self.folder / "settled"
        if not settled.exists():
            self.train(*self.SETTLED, run_dir=settled)
        shutil.copytree(settled, self.run_dir)
        return self.run_dir

    def test_another_run_is_not_overwritten(self) -> None:
        self.copy_of_settled()
        before = (self.run_dir / "metrics.jsonl").read_text()
        result = run([PROGRAM, *self.options("--steps", "10", "--resume", "none")])
        self.assertEqual(result.returncode, 2)
        self.assertIn("holds a run already", result.stderr)
        self.assertEqual((self.run_dir / "metrics.jsonl").read_text(), before)

    def test_damaged_checkpoints(self) -> None:
        good = self.copy_of_settled() / "checkpoints" / "step-00000010.ckpt"
        for name, spoil in {
            "cut.ckpt": lambda data: data[: len(data) // 2],
            "flipped.ckpt": lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
        }.items():
            bad = self.folder / name
            bad.write_bytes(spoil(good.read_bytes()))
            other = self.folder / f"from-{name}"
            result = run([PROGRAM, *self.options("--steps", "20", "--resume", str(bad), run_dir=other)])
            self.assertEqual(result.returncode, 2)
            self.assertIn(name, result.stderr)
            self.assertFalse(other.exists())
        other = self.folder / "from-other-arch"
        options = self.options("--steps", "20", "--resume", str(good), "--arch", "resnet32", run_dir=other)
        result = run([PROGRAM, *options])
        self.assertEqual(result.returncode, 2)
        self.assertIn("resnet20, but this run has resnet32", result.stderr)
        self.assertFalse(other.exists())

    def test_a_damaged_newest_checkpoint_is_passed_over(self) -> None:
        newest = self.copy_of_settled() / "checkpoints" / "step-00000020.ckpt"
        newest.write_bytes(newest.read_bytes()[:-1])
        result = run([*mpirun(2), PROGRAM, *self.options(*self.SETTLED)])
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("passed over", result.stderr)
        self.assertIn("resumed from", result.stderr)
        self.assertIn("step-00000015.ckpt", result.stderr)

    def test_lines_of_the_log_do_not_run_into_the_bar(self) -> None:
        options = self.options("--epochs", "2", "--progress", "bar")
        result = run([*mpirun(2), PROGRAM, *options])
        self.assertEqual(result.returncode, 0, result.stderr)
        # A return to the line's begin reads as its end here.
        shown = [line.removeprefix("\x1b[K") for line in result.stderr.splitlines()]
        evaluations = [line for line in shown if " network=" in line]
        self.assertEqual(len(evaluations), 4, result.stderr)  # of both networks
        for line in evaluations:
            self.assertRegex(line, r"^I \d\d:\d\d:\d\d epoch=\d network=")
        self.assertIn("images/s", result.stderr)

    def test_ratio_schedule_ends_dense(self) -> None:
        self.train("--epochs", "2", "--ratio-schedule", "0:0.5,1:1.0")
        ratios = [line["sample_ratio"] for line in self.metrics() if "loss" in line]
        self.assertEqual(ratios, [0.5, 1.0])
        networks = [line["network"] for line in self.metrics() if "network" in line]
        self.assertEqual(networks, ["sampled", "dense", "dense"])


if __name__ == "__main__":
    unittest.main()
