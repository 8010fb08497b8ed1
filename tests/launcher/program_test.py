"""The program as a user runs it: exit codes, messages, and the files of a run.

Needs in the environment: SLICEREDUCE (the program), SLICEREDUCE_HAS_CUDA (ON or OFF: how it was built),
MPIEXEC, VENV_PYTHON (a Python with torch and torchvision, for what is exported; without it those tests are
skipped and say so).
"""

import gzip
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

PROGRAM = os.environ["SLICEREDUCE"]
MPIEXEC = os.environ["MPIEXEC"]
PYTHON = os.environ["VENV_PYTHON"]
REPOSITORY = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}
SIDE = 12


def mpirun(ranks: int) -> list[str]:
    return [
        MPIEXEC,
        "--oversubscribe",
        "--bind-to",
        "none",
        "--mca",
        "mpi_yield_when_idle",
        "1",
        "-np",
        str(ranks),
    ]


def run(command: list[str], timeout: float = 120) -> subprocess.CompletedProcess:
    return subprocess.run(
        command, env=ENVIRONMENT, capture_output=True, text=True, timeout=timeout, check=False
    )


def write_idx(folder: Path, prefix: str, count: int, seed: int) -> None:
    """Pictures whose class shows: a bright row at the label's height."""
    generator = random.Random(seed)
    labels = bytes(i % 10 for i in range(count))
    pixels = bytearray()
    for label in labels:
        for row in range(SIDE):
            base = 180 if row == label else 20
            pixels += bytes(base + generator.randrange(60) for _ in range(SIDE))
    images = struct.pack(">IIII", 0x803, count, SIDE, SIDE) + pixels
    (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels)


class ProgramTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = Path(tempfile.mkdtemp(prefix="slicereduce."))
        cls.data = cls.folder / "data"
        cls.data.mkdir()
        write_idx(cls.data, "train", 320, 1)
        write_idx(cls.data, "t10k", 51, 2)

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(cls.folder)

    def setUp(self) -> None:
        self.run_dir = self.folder / self.id().rsplit(".", 1)[-1]

    def options(self, *more: str, data: Path | None = None, run_dir: Path | None = None) -> list[str]:
        return [
            *(
                "train",
                "--data",
                str(data or self.data),
                "--arch",
                "resnet20",
                "--batch-size",
                "16",
                "--lr",
                "0.05",
            ),
            *("--run-dir", str(run_dir or self.run_dir), *more),
        ]

    def train(self, *more: str, ranks: int = 2, code: int = 0, run_dir: Path | None = None) -> dict:
        result = run([*mpirun(ranks), PROGRAM, *self.options(*more, run_dir=run_dir)])
        self.assertEqual(result.returncode, code, result.stderr)
        summary = (run_dir or self.run_dir) / "summary.json"
        return json.loads(summary.read_text()) if summary.exists() else {}

    def metrics(self) -> list[dict]:
        return [json.loads(line) for line in (self.run_dir / "metrics.jsonl").read_text().splitlines()]

    def refused(self, *command: str, says: str, code: int = 2) -> None:
        """One clear message, the exit code of bad input, and nothing written."""
        result = run([PROGRAM, *command])
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(says, result.stderr)
        self.assertEqual(len(result.stderr.strip().splitlines()), 1, result.stderr)
        self.assertFalse(self.run_dir.exists())


class BadInput(ProgramTest):
    def test_ratio(self) -> None:
        for ratio in ("0", "1.5", "nan", "-1"):
            self.refused(*self.options("--sample-ratio", ratio), says="--sample-ratio")

    def test_architecture(self) -> None:
        self.refused(*self.options("--arch", "resnet9"), says="resnet152")

    def test_missing_folder(self) -> None:
        self.refused(*self.options(data=self.folder / "nowhere"), says="nowhere")

    def test_empty_folder(self) -> None:
        empty = self.folder / "empty"
        empty.mkdir()
        self.refused(*self.options(data=empty), says="train-images-idx3-ubyte")

    def test_truncated_idx(self) -> None:
        cut = self.folder / "cut"
        shutil.copytree(self.data, cut)
        labels = cut / "train-labels-idx1-ubyte"
        labels.write_bytes(labels.read_bytes()[:-5])
        self.refused(*self.options(data=cut), says="train-labels-idx1-ubyte")

    def test_class_without_images(self) -> None:
        images = self.folder / "images"
        for split in ("train", "val"):
            for name in ("cat", "dog"):
                (images / split / name).mkdir(parents=True)
        self.refused(*self.options(data=images), says="cat")

    def test_unwritable_run_directory(self) -> None:
        in_the_way = self.folder / "file"
        in_the_way.write_text("")
        self.refused(*self.options(run_dir=in_the_way / "run"), says="--run-dir")

    def test_batch_larger_than_the_dataset(self) -> None:
        self.refused(*self.options("--batch-size", "321"), says="320")

    def test_option_of_another_type(self) -> None:
        result = run([PROGRAM, *self.options("--lr", "fast")])
        self.assertEqual(result.returncode, 2)
        self.assertIn("--lr", result.stderr)
        self.assertFalse(self.run_dir.exists())

    def test_ranks_started_with_different_options(self) -> None:
        one = [PROGRAM, *self.options("--lr", "0.1")]
        other = [PROGRAM, *self.options("--lr", "0.2")]
        result = run([*mpirun(1), *one, ":", "-np", "1", *other])
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("--lr: '0.1' on rank 0; '0.2' on rank 1", result.stderr)
        self.assertFalse(self.run_dir.exists())

    def test_ranks_with_different_data(self) -> None:
        other_data = self.folder / "other"
        other_data.mkdir()
        write_idx(other_data, "train", 320, 3)
        write_idx(other_data, "t10k", 51, 2)
        one = [PROGRAM, *self.options()]
        other = [PROGRAM, *self.options(data=other_data)]
        result = run([*mpirun(1), *one, ":", "-np", "1", *other])
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("training data:", result.stderr)
        self.assertNotIn("validation data:", result.stderr)
        self.assertFalse(self.run_dir.exists())


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

    def test_wire_bytes_are_the_plans_to_the_byte(self) -> None:
        options = ("--arch", "resnet20", "--sample-ratio", "0.3", "--wire", "bf16")
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
        self.assertEqual([line["step"] for line in self.metrics() if "loss" in line], [10, 20, 30, 40])

    def test_resume_goes_on_with_what_is_owed(self) -> None:
        ways = {
            "aged": ("--slice-output-ratio", "0.5"),
            "factors": ("--reduce", "powersgd", "--powersgd-rank", "2"),
            "scheduled": ("--epochs", "2", "--mode-schedule", "0:feedback,1:compact"),
        }
        for name, way in ways.items():
            options = ("--seed", "7", "--mode", "feedback", "--sample-ratio", "0.25", "--wire", "bf16", *way)
            length = () if "--epochs" in way else ("--steps", "30")
            straight = self.train(*options, *length, run_dir=self.folder / f"{name}-straight")
            run_dir = self.folder / name
            self.train(*options, *length, "--stop-after", "13", run_dir=run_dir, code=3)
            resumed = self.train(*options, *length, run_dir=run_dir)
            self.assertEqual(resumed["weights_digest"], straight["weights_digest"], name)

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

    def test_config_repeats_a_run(self) -> None:
        first = self.train("--steps", "12", "--lr", "0.07", "--wire", "fp16")
        again = self.folder / "again"
        config = str(self.run_dir / "config.toml")
        result = run([*mpirun(2), PROGRAM, "train", "--config", config, "--run-dir", str(again)])
        self.assertEqual(result.returncode, 0, result.stderr)
        second = json.loads((again / "summary.json").read_text())
        self.assertEqual(second["weights_digest"], first["weights_digest"])

    def test_another_run_is_not_overwritten(self) -> None:
        self.train("--steps", "10")
        before = (self.run_dir / "metrics.jsonl").read_text()
        result = run([PROGRAM, *self.options("--steps", "10", "--resume", "none")])
        self.assertEqual(result.returncode, 2)
        self.assertIn("holds a run already", result.stderr)
        self.assertEqual((self.run_dir / "metrics.jsonl").read_text(), before)

    def test_damaged_checkpoints(self) -> None:
        self.train("--steps", "10")
        good = self.run_dir / "checkpoints" / "step-00000010.ckpt"
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
        self.train("--steps", "20", "--seed", "2", "--checkpoint-every", "5")
        newest = self.run_dir / "checkpoints" / "step-00000020.ckpt"
        newest.write_bytes(newest.read_bytes()[:-1])
        result = run(
            [*mpirun(2), PROGRAM, *self.options("--steps", "20", "--seed", "2", "--checkpoint-every", "5")]
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("passed over", result.stderr)
        self.assertIn("resumed from", result.stderr)
        self.assertIn("step-00000015.ckpt", result.stderr)

    def test_ratio_schedule_ends_dense(self) -> None:
        self.train("--epochs", "2", "--ratio-schedule", "0:0.5,1:1.0")
        ratios = [line["sample_ratio"] for line in self.metrics() if "loss" in line]
        self.assertEqual(ratios, [0.5, 1.0])
        networks = [line["network"] for line in self.metrics() if "network" in line]
        self.assertEqual(networks, ["sampled", "dense", "dense"])


class Commands(ProgramTest):
    def test_plan_reproduces_the_published_fractions(self) -> None:
        table = [
            ("resnet50", "0.5", "block", 0.388),
            ("resnet50", "0.33333333", "block", 0.251),
            ("resnet50", "0.25", "block", 0.197),
            ("resnet152", "0.33333333", "block", 0.201),
            ("resnet18", "0.5", "block", 0.422),
            ("resnet50", "0.5", "none", 0.541),
            ("resnet50", "0.33333333", "none", 0.387),
            ("resnet50", "0.25", "none", 0.312),
        ]
        for arch, ratio, coupling, fraction in table:
            for wire, share in (("fp32", 1.0), ("bf16", 0.5)):
                options = ("--arch", arch, "--sample-ratio", ratio, "--coupling", coupling, "--wire", wire)
                result = run([PROGRAM, "plan", *options, "--channel-multiple", "1", "--json"])
                total = json.loads(result.stdout)["total"]
                self.assertAlmostEqual(
                    total["wire_bytes"] / total["dense_bytes"], fraction * share, delta=6e-4
                )

    def test_plan_knows_what_each_mode_sends(self) -> None:
        total = {}
        for name, options in {
            "dense": ("--mode", "dense"),
            "columns": ("--mode", "feedback", "--sample-ratio", "0.25"),
            "blocks": ("--mode", "feedback", "--sample-ratio", "0.25", "--slice-output-ratio", "0.25"),
            "factors": ("--mode", "dense", "--reduce", "powersgd", "--powersgd-rank", "2"),
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
        for ranks in (1, 2, 3):
            result = run([*mpirun(ranks), PROGRAM, *command, "--json"])
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

    def test_cuda_where_there_is_no_card(self) -> None:
        command = ("bench", "step", "--arch", "resnet20", "--image-size", "16", "--batch-size", "4")
        result = run([PROGRAM, *command, "--steps", "1", "--device", "cuda", "--json"])
        if result.returncode == 0:
            self.assertEqual(json.loads(result.stdout)["device"], "cuda")
            return
        self.assertEqual(result.returncode, 2)
        has_cuda = os.environ["SLICEREDUCE_HAS_CUDA"] == "ON"
        self.assertIn("shows no CUDA device" if has_cuda else "this build has no CUDA", result.stderr)

    def test_version_and_help(self) -> None:
        self.assertEqual(run([PROGRAM, "--version"]).returncode, 0)
        for command in ("train", "eval", "plan", "inspect", "export"):
            self.assertEqual(run([PROGRAM, command, "--help"]).returncode, 0)
        self.assertEqual(run([PROGRAM]).returncode, 2)


def has_torchvision() -> bool:
    return Path(PYTHON).exists() and run([PYTHON, "-c", "import torchvision"]).returncode == 0


@unittest.skipUnless(has_torchvision(), "no Python with torchvision: run scripts/setup --peers")
class Exchange(ProgramTest):
    """What goes to PyTorch and comes back."""

    def python(self, code: str, *arguments: str) -> str:
        result = run([PYTHON, "-c", code, *arguments])
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def write_images(self) -> Path:
        """A folder of coloured pictures, with what torchvision makes of them written by this very Python."""
        images = self.folder / "pictures"
        code = """
import sys; from pathlib import Path; import torch; from PIL import Image
torch.manual_seed(1)
for split, count in (("train", 12), ("val", 6)):
    for name in ("a", "b"):
        folder = Path(sys.argv[1]) / split / name
        folder.mkdir(parents=True)
        for i in range(count):
            pixels = torch.randint(0, 256, (48, 48, 3), dtype=torch.uint8).numpy()
            Image.fromarray(pixels).save(folder / f"{i}.png")
"""
        self.python(code, str(images))
        return images

    def test_torchvision_takes_the_export_and_we_take_it_back(self) -> None:
        images = self.write_images()
        command = ("--data", str(images), "--arch", "resnet18", "--batch-size", "4", "--image-size", "32")
        result = run([*mpirun(2), PROGRAM, "train", *command, "--steps", "3", "--run-dir", str(self.run_dir)])
        self.assertEqual(result.returncode, 0, result.stderr)
        checkpoint = str(self.run_dir / "checkpoints" / "step-00000003.ckpt")
        exported = str(self.folder / "dense.pt")
        self.assertEqual(run([PROGRAM, "export", checkpoint, exported]).returncode, 0)
        code = """
import sys, torch, torchvision
model = torchvision.models.resnet18(num_classes=2)
model.load_state_dict(torch.load(sys.argv[1], weights_only=True), strict=True)
torch.save(model.state_dict(), sys.argv[2])
"""
        back = str(self.folder / "back.pt")
        self.python(code, exported, back)
        evaluate = ("eval", "--data", str(images), "--image-size", "32", "--json")
        ours = run([PROGRAM, *evaluate, "--checkpoint", checkpoint, "--network", "dense"])
        theirs = run([PROGRAM, *evaluate, "--weights", back, "--arch", "resnet18"])
        self.assertEqual(json.loads(ours.stdout), json.loads(theirs.stdout), ours.stderr + theirs.stderr)
        restarted = self.folder / "restarted"
        start = ("--init-from", back, "--steps", "1", "--run-dir", str(restarted))
        self.assertEqual(run([PROGRAM, "train", *command, *start]).returncode, 0)

    def test_the_sampled_network_runs_in_pytorch_with_the_same_loss(self) -> None:
        for coupling in ("block", "none"):
            run_dir = self.folder / f"sampled-{coupling}"
            self.train("--steps", "20", "--coupling", coupling, run_dir=run_dir)
            checkpoint = str(run_dir / "checkpoints" / "step-00000020.ckpt")
            exported = str(self.folder / f"sampled-{coupling}.pt")
            self.assertEqual(
                run([PROGRAM, "export", checkpoint, exported, "--network", "sampled"]).returncode, 0
            )
            evaluate = (
                "eval",
                "--data",
                str(self.data),
                "--checkpoint",
                checkpoint,
                "--network",
                "sampled",
                "--json",
            )
            ours = json.loads(run([PROGRAM, *evaluate]).stdout)
            code = """
import gzip, sys, torch
sys.path.insert(0, sys.argv[1])
from sampled_network import load_sampled
folder, side = sys.argv[3], int(sys.argv[4])
raw = gzip.open(folder + "/t10k-images-idx3-ubyte.gz").read()[16:]
images = torch.frombuffer(bytearray(raw), dtype=torch.uint8).reshape(-1, 1, side, side).float() / 255
raw = open(folder + "/t10k-labels-idx1-ubyte", "rb").read()[8:]
labels = torch.frombuffer(bytearray(raw), dtype=torch.uint8)
model = load_sampled(sys.argv[2]).eval()
with torch.no_grad():
    logits = model((images - 0.2860) / 0.3530)
print(torch.nn.functional.cross_entropy(logits, labels.long()).item())
"""
            loss = float(self.python(code, str(REPOSITORY / "scripts"), exported, str(self.data), str(SIDE)))
            self.assertAlmostEqual(loss, ours["val_loss"], delta=1e-4 * abs(ours["val_loss"]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
