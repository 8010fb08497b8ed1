"""Files to and from Python: torchvision's weights, exported networks."""

import json
import random
import unittest
from pathlib import Path

from program import PROGRAM, PYTHON, REPOSITORY, SIDE, ProgramTest, png, run


def has_torchvision() -> bool:
    """Asked without an import, which takes seconds."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torchvision') is None)"
    return Path(PYTHON).exists() and run([PYTHON, "-c", code]).returncode == 0


@unittest.skipUnless(has_torchvision(), "no Python with torchvision: run scripts/setup --peers")
class Exchange(ProgramTest):
    """What goes to PyTorch and comes back."""

    def python(self, code: str, *arguments: str) -> str:
        result = run([PYTHON, "-c", code, *arguments])
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def write_images(self) -> Path:
        images = self.folder / "pictures"
        side = 48
        generator = random.Random(1)
        for split, count in (("train", 12), ("val", 6)):
            for name in ("a", "b"):
                folder = images / split / name
                folder.mkdir(parents=True)
                for i in range(count):
                    (folder / f"{i}.png").write_bytes(png(generator.randbytes(3 * side**2), side))
        return images

    def test_torchvision_takes_the_export_and_we_take_it_back(self) -> None:
        images = self.write_images()
        command = ("--data", str(images), "--arch", "resnet18", "--batch-size", "4", "--image-size", "32")
        result = run([PROGRAM, "train", *command, "--steps", "3", "--run-dir", str(self.run_dir)])
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
        ours = {}
        for coupling in ("block", "none"):
            run_dir = self.folder / f"sampled-{coupling}"
            self.train("--steps", "20", "--coupling", coupling, ranks=1, run_dir=run_dir)
            checkpoint = str(run_dir / "checkpoints" / "step-00000020.ckpt")
            exported = str(self.folder / f"sampled-{coupling}.pt")
            network = ("--network", "sampled")
            self.assertEqual(run([PROGRAM, "export", checkpoint, exported, *network]).returncode, 0)
            evaluate = ("eval", "--data", str(self.data), "--checkpoint", checkpoint, *network, "--json")
            ours[exported] = json.loads(run([PROGRAM, *evaluate]).stdout)["val_loss"]
        code = """
import gzip, sys, torch
sys.path.insert(0, sys.argv[1])
from sampled_network import load_sampled
folder, side = sys.argv[2], int(sys.argv[3])
raw = gzip.open(folder + "/t10k-images-idx3-ubyte.gz").read()[16:]
images = torch.frombuffer(bytearray(raw), dtype=torch.uint8).reshape(-1, 1, side, side).float() / 255
raw = open(folder + "/t10k-labels-idx1-ubyte", "rb").read()[8:]
labels = torch.frombuffer(bytearray(raw), dtype=torch.uint8)
for exported in sys.argv[4:]:
    model = load_sampled(exported).eval()
    with torch.no_grad():
        logits = model((images - 0.2860) / 0.3530)
    print(torch.nn.functional.cross_entropy(logits, labels.long()).item())
"""
        told = self.python(code, str(REPOSITORY / "scripts"), str(self.data), str(SIDE), *ours)
        for line, loss in zip(told.splitlines(), ours.values(), strict=True):
            self.assertAlmostEqual(float(line), loss, delta=1e-4 * abs(loss))


if __name__ == "__main__":
    unittest.main()
