"""Crops are spread as torchvision's RandomResizedCrop spreads them.

Two-sample Kolmogorov-Smirnov tests on height, width and place of the boxes. A false alarm comes once in ten
thousand runs; a distribution function that is off by 0.032 anywhere is found in more than 99 of 100 (by the
binomial deviation of the share at that place). Runs under a Python with torchvision (scripts/setup --peers).
"""

import json
import math
import os
import subprocess
import tempfile
import unittest
from pathlib import Path

import numpy
import torch
from PIL import Image
from torchvision.transforms import RandomResizedCrop

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SLICEREDUCE", str(REPOSITORY / "build" / "slicereduce"))
OURS, THEIRS = 20_000, 40_000
FALSE_ALARM = 1e-5  # of each comparison, of which there are ten


def our_views(folder: Path, height: int, width: int) -> list[dict]:
    """Of one picture that has many names."""
    images = folder / "train" / "one"
    images.mkdir(parents=True)
    (folder / "val").symlink_to("train")
    first = images / "0.png"
    Image.new("RGB", (width, height)).save(first)
    for i in range(1, OURS):
        (images / f"{i}.png").hardlink_to(first)
    dump = folder / "views.npy"
    command = [PROGRAM, "bench", "loader", "--data", str(folder), "--image-size", "16", "--count", str(OURS)]
    seed = str(int.from_bytes(os.urandom(4), "little"))
    done = subprocess.run([*command, "--seed", seed, "--dump", str(dump)], check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command} ended with {done.returncode}")
    return [json.loads(line) for line in dump.with_suffix(".jsonl").read_text().splitlines()]


def quantities(boxes: numpy.ndarray, height: int, width: int) -> dict[str, numpy.ndarray]:
    """Of boxes [n, 4] as top, left, height, width."""
    top, left, box_height, box_width = boxes.T
    return {
        "height": box_height,
        "width": box_width,
        "area": box_height * box_width,
        "place from the top": top / numpy.maximum(1, height - box_height),
        "place from the left": left / numpy.maximum(1, width - box_width),
    }


def greatest_distance(a: numpy.ndarray, b: numpy.ndarray) -> float:
    """Between the two distribution functions."""
    places = numpy.unique(numpy.concatenate([a, b]))
    shares = [numpy.searchsorted(numpy.sort(x), places, side="right") / len(x) for x in (a, b)]
    return float(numpy.abs(shares[0] - shares[1]).max())


def critical_distance(a: int, b: int) -> float:
    """Kolmogorov's limiting distribution, its first term."""
    return math.sqrt(-math.log(FALSE_ALARM / 2) / 2 * (a + b) / (a * b))


class CropBoxes(unittest.TestCase):
    def compare(self, height: int, width: int) -> None:
        with tempfile.TemporaryDirectory(prefix="slicereduce.") as folder:
            views = our_views(Path(folder), height, width)
        names = ("top", "left", "height", "width")
        ours = quantities(numpy.array([[view[name] for name in names] for view in views]), height, width)
        image = torch.empty(3, height, width)
        crop = RandomResizedCrop(224)
        draws = [crop.get_params(image, crop.scale, crop.ratio) for _ in range(THEIRS)]
        theirs = quantities(numpy.array(draws), height, width)
        for name, values in ours.items():
            distance = greatest_distance(values, theirs[name])
            self.assertLess(distance, critical_distance(OURS, THEIRS), f"{name} in {height}x{width}")
        mirrored = sum(view["mirrored"] for view in views)
        self.assertLess(abs(mirrored - OURS / 2), 5 * math.sqrt(OURS) / 2)

    def test_in_a_photograph_of_usual_size(self) -> None:
        self.compare(75, 100)

    def test_in_a_wide_one_where_few_boxes_fit(self) -> None:
        self.compare(24, 100)

    def test_would_find_another_distribution(self) -> None:
        generator = numpy.random.default_rng(5)
        values = generator.uniform(0, 1, THEIRS)
        for power in (0.9, 1.1):  # at most 0.039 and 0.035 away from uniform
            distance = greatest_distance(generator.uniform(0, 1, OURS) ** power, values)
            self.assertGreater(distance, critical_distance(OURS, THEIRS))


if __name__ == "__main__":
    unittest.main()
