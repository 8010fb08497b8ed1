"""A run as a user starts and stops it, or as something ends it, and the files that it leaves."""

import json
import signal
import socket
import subprocess
import time
import unittest

from program import ENVIRONMENT, PROGRAM, ProgramTest, mpirun, run, write_idx


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
        for approximate in ("forward", "black_box", "backward"):
            options = ("--mode", "approximate", "--approximate", approximate, "--reduce", "dense")
            options += ("--steps", "20", "--seed", "1")
            run_dir = self.folder / approximate
            summary = self.train(*options, ranks=1, run_dir=run_dir)
            self.assertEqual(summary["top1"], summary["top1_dense"])
            self.assertIsNone(summary["top1_sampled"])
            self.assertEqual(summary["wire_bytes_per_step"], summary["dense_bytes_per_step"])
            self.assertLess(summary["flops_per_step"], 0.95 * summary["dense_flops_per_step"])
            lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
            steps = [line for line in lines if "loss" in line]
            self.assertLess(steps[-1]["loss"], steps[0]["loss"])
            self.assertEqual({line["sample_ratio"] for line in steps}, {0.5})

    def test_by_default_all_is_trained_and_factors_travel(self) -> None:
        result = run([*mpirun(2), PROGRAM, *self.options_of_defaults("--steps", "2")])
        self.assertEqual(result.returncode, 0, result.stderr)
        summary = json.loads((self.run_dir / "summary.json").read_text())
        self.assertIsNone(summary["top1_sampled"])
        self.assertEqual(summary["flops_per_step"], summary["dense_flops_per_step"])
        self.assertGreater(summary["bytes_saved_fraction"], 0.6)
        alone = self.folder / "alone"
        result = run([PROGRAM, *self.options_of_defaults("--steps", "1", "--run-dir", str(alone))])
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads((alone / "summary.json").read_text())["bytes_saved_fraction"], 0)

    def test_networks_without_batch_norm(self) -> None:
        data = self.folder / "squares"
        data.mkdir()
        write_idx(data, "train", 64, 1, side=28)
        write_idx(data, "t10k", 20, 2, side=28)
        for arch in ("mlp-3x16", "cnn"):
            run_dir = self.folder / arch
            options = ("--arch", arch, "--steps", "2", "--dropout", "0.1")
            result = run([*mpirun(2), PROGRAM, *self.options(*options, data=data, run_dir=run_dir)])
            self.assertEqual(result.returncode, 0, result.stderr)
            summary = json.loads((run_dir / "summary.json").read_text())
            self.assertIsNotNone(summary["top1_dense"])

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

    UNDISTURBED = ("--steps", "8", "--seed", "3")

    def undisturbed(self) -> dict:
        """What a run with these options comes to: it is made once."""
        run_dir = self.folder / "undisturbed"
        if not run_dir.exists():
            self.train(*self.UNDISTURBED, "-j", "0", run_dir=run_dir)
        return json.loads((run_dir / "summary.json").read_text())

    def test_same_bits_with_any_number_of_loader_threads(self) -> None:
        for workers in ("1", "4"):
            run_dir = self.folder / f"workers-{workers}"
            summary = self.train(*self.UNDISTURBED, "-j", workers, run_dir=run_dir)
            self.assertEqual(summary["weights_digest"], self.undisturbed()["weights_digest"])

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

    def wait_until_broken(self) -> None:
        """Until --inject has struck."""
        log = self.run_dir / "slicereduce.log"
        deadline = time.monotonic() + 60
        while not log.exists() or "broken on purpose" not in log.read_text():
            self.assertLess(time.monotonic(), deadline, "no fault in a minute")
            time.sleep(0.1)

    def test_a_signal_stops_an_evaluation(self) -> None:
        whole = self.undisturbed()
        slow = ("--inject", "slow:3000ms@rank0:evaluation", "--allow-inject")
        command = [*mpirun(2), PROGRAM, *self.options(*self.UNDISTURBED, *slow)]
        with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
            try:
                self.wait_until_broken()
                process.send_signal(signal.SIGUSR1)
                process.communicate(timeout=60)
            finally:
                process.kill()
        self.assertEqual(process.returncode, 3)
        self.assertFalse([line for line in self.metrics() if "network" in line])
        resumed = self.train(*self.UNDISTURBED)
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
                *self.options_of_defaults("--steps", "7", "-p", "1", "--on-nonfinite", "skip", *broken),
            ]
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("step 3: the loss of rank 1 is not finite: skipped on all ranks", result.stderr)
        self.assertIn("step 6: the loss of rank 0 is not finite: skipped on all ranks", result.stderr)
        told = [line for line in self.metrics() if "loss" in line]
        self.assertEqual(
            [line["skipped_steps"] for line in told], [int(step in (3, 6)) for step in range(1, 8)]
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

    def test_lines_of_the_log_do_not_run_into_the_bar(self) -> None:
        result = run([PROGRAM, *self.options("--epochs", "2", "--batch-size", "32", "--progress", "bar")])
        self.assertEqual(result.returncode, 0, result.stderr)
        # A return to the line's begin reads as its end here.
        shown = [line.removeprefix("\x1b[K") for line in result.stderr.splitlines()]
        evaluations = [line for line in shown if " network=" in line]
        self.assertEqual(len(evaluations), 4, result.stderr)  # of both networks
        for line in evaluations:
            self.assertRegex(line, r"^I \d\d:\d\d:\d\d epoch=\d network=")
        self.assertIn("images/s", result.stderr)

    def test_ratio_schedule_ends_dense(self) -> None:
        options = ("--epochs", "2", "--batch-size", "32", "--ratio-schedule", "0:0.5,1:1.0")
        self.train(*options, ranks=1)
        ratios = [line["sample_ratio"] for line in self.metrics() if "loss" in line]
        self.assertEqual(ratios, [0.5, 1.0])
        networks = [line["network"] for line in self.metrics() if "network" in line]
        self.assertEqual(networks, ["sampled", "dense", "dense"])


if __name__ == "__main__":
    unittest.main()
