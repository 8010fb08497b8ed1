"""The commands beside `train`: what they print, and that they agree with a run."""

import json
import os
import re
import subprocess
import unittest

from program import PROGRAM, REPOSITORY, SIDE, ProgramTest, mpirun, run


class Commands(ProgramTest):
    def test_plan_reproduces_the_published_fractions(self) -> None:
        table = [
            ("resnet50", "block", {"0.5": 0.388, "0.33333333": 0.251, "0.25": 0.197}),
            ("resnet152", "block", {"0.33333333": 0.201}),
            ("resnet18", "block", {"0.5": 0.422}),
            ("resnet50", "none", {"0.5": 0.541, "0.33333333": 0.387, "0.25": 0.312}),
        ]
        for arch, coupling, fractions in table:
            self.expect_fractions(arch, coupling, fractions, "fp32")
        arch, coupling, fractions = table[0]
        halves = {ratio: 0.5 * fraction for ratio, fraction in fractions.items()}
        self.expect_fractions(arch, coupling, halves, "bf16")

    def expect_fractions(self, arch: str, coupling: str, fractions: dict[str, float], wire: str) -> None:
        options = ("--mode", "compact", "--compare", ",".join(fractions), "--coupling", coupling)
        options += ("--arch", arch, "--reduce", "slices", "--wire", wire)
        result = run([PROGRAM, "plan", *options, "--channel-multiple", "1", "--json"])
        ratios = json.loads(result.stdout)["ratios"]
        for ratio, fraction in zip(ratios, fractions.values(), strict=True):
            self.assertAlmostEqual(ratio["wire_bytes"] / ratio["dense_bytes"], fraction, delta=6e-4)

    def test_plan_knows_what_each_mode_sends(self) -> None:
        total = {}
        for name, options in {
            "dense": ("--reduce", "slices"),
            "columns": ("--mode", "feedback", "--reduce", "slices"),
            "blocks": ("--mode", "feedback", "--slice-output-ratio", "0.25", "--reduce", "slices"),
            "factors": ("--powersgd-rank", "2"),
        }.items():
            result = run([PROGRAM, "plan", "--arch", "resnet50", *options, "--wire", "bf16", "--json"])
            self.assertEqual(result.returncode, 0, result.stderr)
            total[name] = json.loads(result.stdout)["total"]
            self.assertEqual(total[name]["flops"], total[name]["dense_flops"])
        share = {name: cost["wire_bytes"] / cost["dense_bytes"] for name, cost in total.items()}
        self.assertEqual(share["dense"], 0.5)
        self.assertAlmostEqual(share["columns"], 0.5 * 0.253, delta=2e-3)
        self.assertAlmostEqual(share["blocks"], 0.5 * 0.066, delta=2e-3)
        self.assertLess(share["factors"], 0.5 * 0.03)

    def test_plan_prints_a_table(self) -> None:
        result = run([PROGRAM, "plan", "--arch", "resnet18"])
        self.assertEqual(result.returncode, 0)
        self.assertIn("layer4.1.conv2", result.stdout)
        self.assertIn("total", result.stdout)
        self.assertNotIn("\x1b", result.stdout)
        self.assertNotIn("█", result.stdout)

    def test_plan_draws_bars_as_long_as_bytes(self) -> None:
        options = ("--arch", "resnet18", "--mode", "compact", "--reduce", "slices", "--wire", "bf16")
        result = run([PROGRAM, "plan", *options, "--plot", "--color", "always"])
        self.assertEqual(result.returncode, 0, result.stderr)
        (largest,) = [line for line in result.stdout.splitlines() if line.startswith("layer4.1.conv2 ")]
        self.assertTrue(largest.endswith("██████░░░░░░░░░░░░░░░░░░"), largest)  # a quarter of it
        self.assertIn("\x1b[32m", largest)
        self.assertLessEqual(
            max(len(re.sub(r"\x1b\[\d+m", "", line)) for line in result.stdout.splitlines()), 120
        )

    def test_plan_compares_ratios(self) -> None:
        options = ("plan", "--arch", "resnet50", "--mode", "compact", "--wire", "bf16", "--json")
        ratios = json.loads(run([PROGRAM, *options, "--compare", "0.5,0.25"]).stdout)["ratios"]
        for ratio in ratios:
            alone = run([PROGRAM, *options, "--sample-ratio", str(ratio["sample_ratio"])])
            total = json.loads(alone.stdout)["total"]
            for name in ("wire_bytes", "dense_bytes", "flops", "dense_flops", "allreduce_ms"):
                self.assertEqual(ratio[name], total[name])
        self.assertEqual([ratio["sample_ratio"] for ratio in ratios], [0.5, 0.25])
        self.refused("plan", "--mode", "compact", "--compare", "0.5,7", says="--sample-ratio")
        self.refused("plan", "--compare", "0.5", says="--compare")

    def test_plan_sweeps_links(self) -> None:
        options = ("plan", "--arch", "resnet50", "--mode", "compact", "--wire", "bf16", "--json")
        sweep = json.loads(run([PROGRAM, *options, "--sweep"]).stdout)["sweep"]
        for cell in (sweep[20], sweep[-1]):
            where = ("--link-gbit", str(cell["link_gbit"]), "--world-size", str(cell["world_size"]))
            total = json.loads(run([PROGRAM, *options, *where]).stdout)["total"]
            self.assertEqual(cell["allreduce_ms"], total["allreduce_ms"])
            self.assertEqual(cell["ddp_bf16_allreduce_ms"], total["dense_bf16_allreduce_ms"])

    def test_plan_sweeps_the_links_that_it_is_told(self) -> None:
        (self.folder / "step.json").write_text('{"forward_ms": 100, "backward_ms": 200, "optimizer_ms": 5}')
        measured = ("--measured", str(self.folder / "step.json"))
        options = ("plan", "--arch", "resnet50", "--wire", "bf16", "--bucket-mb", "1", *measured)
        swept = ("--sweep-links", "0.25:700,20", "--latency-us", "30")
        sweep = json.loads(run([PROGRAM, *options, *swept, "--json"]).stdout)["sweep"]
        links = {(cell["link_gbit"], cell["latency_us"]) for cell in sweep}
        self.assertEqual(links, {(0.25, 700), (20, 30)})
        for gbit, latency_us in links:
            where = ("--link-gbit", str(gbit), "--latency-us", str(latency_us), "--json")
            told = json.loads(run([PROGRAM, *options, *where]).stdout)["predictions"]
            steps = {line["world_size"]: (line["step_ms"], line["ddp_bf16_step_ms"]) for line in told}
            for cell in sweep:
                if (cell["link_gbit"], cell["latency_us"]) == (gbit, latency_us):
                    self.assertEqual(
                        (cell["step_ms"], cell["ddp_bf16_step_ms"]), steps[cell["world_size"]], cell
                    )
        self.assertRegex(run([PROGRAM, *options, *swept]).stdout, r"(?m)^0\.25, 700 us .*\n20 ")
        for wrong in ("0", "1:", "1:-3", "x", "1:2:3", "inf"):
            self.refused(*options, "--sweep-links", wrong, says="(--sweep-links)")

    def test_plan_says_where_it_begins_to_pay(self) -> None:
        compute = {"forward_ms": 100, "backward_ms": 200, "optimizer_ms": 5}
        (self.folder / "dense.json").write_text(json.dumps(compute))
        (self.folder / "ours.json").write_text(json.dumps(compute | {"optimizer_ms": 25}))
        measured = ("--measured", str(self.folder / "ours.json"))
        measured += ("--measured-dense", str(self.folder / "dense.json"))
        options = ("plan", "--arch", "resnet50", "--wire", "bf16", *measured, "--sweep")
        told = json.loads(run([PROGRAM, *options, "--json"]).stdout)
        (pays,) = [entry for entry in told["break_even"] if entry["world_size"] == 8]
        self.assertEqual(pays["faster"], "below")
        for cell in told["sweep"]:
            if cell["world_size"] == 8:
                faster = cell["step_ms"] < cell["ddp_bf16_step_ms"]
                self.assertEqual(faster, cell["link_gbit"] < pays["below_gbit"], cell)
        self.assertRegex(
            run([PROGRAM, *options]).stdout, r"With 8 workers a step is faster .* below [\d.]+ [GM]bit/s"
        )

    def test_plan_takes_the_options_of_a_run(self) -> None:
        options = ("--steps", "2", "-p", "1", "--sample-ratio", "0.3", "--wire", "bf16")
        summary = self.train(*options)
        told = json.loads(run([PROGRAM, "plan", "--run", str(self.run_dir), "--json"]).stdout)
        self.assertEqual(told["arch"], "resnet20")
        self.assertEqual(told["total"]["wire_bytes"], summary["wire_bytes_per_step"])
        steps = [line["wire_bytes"] for line in self.metrics() if "loss" in line]
        self.assertEqual(steps, 2 * [summary["wire_bytes_per_step"]])
        self.assertEqual(told["total"]["dense_bytes"], summary["dense_bytes_per_step"])
        images = 2 * 16
        self.assertEqual(3 * images * told["total"]["flops"], summary["flops_per_step"])
        other = ("plan", "--run", str(self.run_dir), "--wire", "fp32", "--json")
        doubled = json.loads(run([PROGRAM, *other]).stdout)["total"]["wire_bytes"]
        self.assertEqual(doubled, 2 * told["total"]["wire_bytes"])
        result = run([PROGRAM, "plan", "--run", str(self.folder)])
        self.assertEqual(result.returncode, 2)
        self.assertIn("config.toml: expected the folder of a run (--run)", result.stderr)

    def test_versions_are_of_all_that_a_result_depends_on(self) -> None:
        result = run([PROGRAM, "--version"])
        self.assertEqual(result.returncode, 0)
        self.assertRegex(
            result.stdout, r"^slicereduce \d+\.\d+\.\d+\nCUDA +\S.*\nLibTorch +\d.*\nMPI +\S.*\nNCCL +\S.*\n$"
        )

    def test_completion_is_of_what_there_is(self) -> None:
        script = f"""source <({PROGRAM} completion)
            try() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _slicereduce; echo "${{COMPREPLY[*]}}"; }}
            try slicereduce tr; try slicereduce train --sample-r; try slicereduce train --lr 0.1 --mome
            try slicereduce bench s; try slicereduce bench step --js; try slicereduce nothing --x"""
        result = run(["bash", "-c", script])
        expected = ["train", "--sample-ratio", "--momentum", "step", "--json", ""]
        self.assertEqual(result.stdout.splitlines()[:5], expected[:5], result.stderr)

    def test_eval_and_inspect_agree_with_the_run(self) -> None:
        summary = self.train("--steps", "20")
        checkpoint = str(self.run_dir / "checkpoints" / "step-00000020.ckpt")
        command = (
            "eval",
            "--data",
            str(self.data),
            "--checkpoint",
            checkpoint,
            "--network",
            "both",
            "--json",
        )
        result = run([*mpirun(3), PROGRAM, *command])
        self.assertEqual(result.returncode, 0, result.stderr)
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual([line["network"] for line in lines], ["sampled", "dense"])
        self.assertAlmostEqual(lines[0]["top1"], summary["top1_sampled"], places=6)
        self.assertAlmostEqual(lines[1]["top1"], summary["top1_dense"], places=6)
        inspected = json.loads(run([PROGRAM, "inspect", checkpoint, "--json"]).stdout)
        self.assertEqual(inspected["manifest"]["step"], 20)
        self.assertEqual(inspected["weights"]["fc.weight"]["sizes"], [10, 64])

    def test_bench_allreduce_checks_its_sums(self) -> None:
        command = (
            "bench",
            "allreduce",
            "--sizes",
            "0.001,0.3",
            "--wires",
            "fp32,bf16,fp16",
            "--repeats",
            "3",
        )
        for ranks, launch in ((1, []), (3, mpirun(3))):
            result = run([*launch, PROGRAM, *command, "--json"])
            self.assertEqual(result.returncode, 0, result.stderr)
            lines = [json.loads(line) for line in result.stdout.splitlines()]
            self.assertEqual([line["bytes"] for line in lines], [1000, 300_000] * 3)
            for line in lines:
                self.assertTrue(line["exact"])
                self.assertEqual(line["world_size"], ranks)
                self.assertAlmostEqual(
                    line["busbw_gb_s"], line["algbw_gb_s"] * 2 * (ranks - 1) / ranks, delta=1e-9
                )
        for bad in (("--sizes", "0"), ("--wires", "int8"), ("--algorithm", "star"), ("--repeats", "0")):
            result = run([PROGRAM, "bench", "allreduce", *bad])
            self.assertEqual(result.returncode, 2)
            self.assertIn(bad[0][:8], result.stderr)

    def test_bench_step_prints_one_json_line(self) -> None:
        command = ("bench", "step", "--arch", "resnet20", "--image-size", "16", "--batch-size", "4")
        result = run([*mpirun(2), PROGRAM, *command, "--steps", "3", "--warmup", "1", "--json"])
        self.assertEqual(result.returncode, 0, result.stderr)
        line = json.loads(result.stdout)
        for key in (
            "step_ms",
            "forward_ms",
            "backward_ms",
            "exposed_comm_ms",
            "optimizer_ms",
            "images_per_s",
        ):
            self.assertGreaterEqual(line[key], 0)
        self.assertGreater(line["wire_bytes"], 0)
        self.assertGreater(line["peak_memory_bytes"], 1e6)

    def test_bench_loader_prints_one_json_line(self) -> None:
        for split, workers in (("train", 1), ("val", 0)):
            options = ("--split", split, "--workers", str(workers), "--batch-size", "10")
            result = self.bench_loader(*options, "--batches", "9", "--warmup", "1", "--json")
            self.assertEqual(result.returncode, 0, result.stderr)
            line = json.loads(result.stdout)
            self.assertEqual([line["split"], line["threads"]], [split, workers])
            for key in ("images_per_s", "images_per_core_s", "resize_ms", "wait_ms"):
                self.assertGreater(line[key], 0, key)

    def bench_loader(self, *options: str) -> subprocess.CompletedProcess:
        return run([PROGRAM, "bench", "loader", "--data", str(self.data), *options])

    def test_bench_loader_dumps_what_the_network_would_see(self) -> None:
        dump = self.folder / "views.npy"
        seen = {}
        for workers in ("0", "2"):
            options = ("--split", "train", "--workers", workers, "--seed", "5", "--batch-size", "16")
            result = self.bench_loader(*options, "--dump", str(dump), "--count", "40")
            self.assertEqual(result.returncode, 0, result.stderr)
            seen[workers] = dump.read_bytes()
        self.assertEqual(seen["0"], seen["2"])
        self.assertTrue(seen["0"].startswith(b"\x93NUMPY\x01\x00"))
        header_bytes = 10 + int.from_bytes(seen["0"][8:10], "little")
        self.assertEqual(header_bytes % 64, 0)
        self.assertIn(f"(40, {SIDE}, {SIDE}, 1)".encode(), seen["0"][:header_bytes])
        self.assertEqual(len(seen["0"]), header_bytes + 40 * SIDE * SIDE)
        lines = [json.loads(line) for line in dump.with_suffix(".jsonl").read_text().splitlines()]
        self.assertEqual(len(lines), 40)
        self.assertEqual(len({line["name"] for line in lines}), 40)
        self.assertTrue(all(0 <= line["label"] < 10 and abs(line["down"]) <= 4 for line in lines))

    def test_bench_loader_refuses_what_it_cannot_dump(self) -> None:
        dump = self.folder / "refused.npy"
        for options, said in (
            (("--dump", str(dump), "--count", "100000"), "--count 100000: the set has"),
            (("--dump", str(self.folder / "refused.png")), "ends in .npy"),
            (("--split", "test"), "--split"),
            (("--batches", "0"), "--batches"),
            (("--batch-size", "1000"), "--batch-size 1000: expected at most the 320 images"),
        ):
            result = self.bench_loader(*options)
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn(said, result.stderr)
        self.assertFalse(list(self.folder.glob("refused.*")))

    def test_cuda_where_there_is_no_card(self) -> None:
        command = ("bench", "step", "--arch", "resnet20", "--image-size", "16", "--batch-size", "4")
        result = run([PROGRAM, *command, "--steps", "1", "--device", "cuda", "--json"])
        if result.returncode == 0:
            self.assertEqual(json.loads(result.stdout)["device"], "cuda")
            return
        self.assertEqual(result.returncode, 2)
        has_cuda = os.environ["SLICEREDUCE_HAS_CUDA"] == "ON"
        self.assertIn("shows no CUDA device" if has_cuda else "this build has no CUDA", result.stderr)

    def test_nothing_to_do_is_an_error(self) -> None:
        self.assertEqual(run([PROGRAM]).returncode, 2)


class Recipes(ProgramTest):
    """Each file of scripts/recipes is what the program takes."""

    def test_lack_nothing_but_data(self) -> None:
        recipes = sorted((REPOSITORY / "scripts/recipes").glob("*.toml"))
        self.assertGreater(len(recipes), 4)
        for recipe in recipes:
            nowhere = self.folder / "nowhere"
            started = run([PROGRAM, "--config", str(recipe), "train", "--data", str(nowhere)])
            self.assertEqual(started.returncode, 2, recipe)
            self.assertIn(str(nowhere), started.stderr, recipe)  # all that it lacks is data
            self.assertIn(f"recipes/{recipe.name} train --data DIR", recipe.read_text())


if __name__ == "__main__":
    unittest.main()
