"""The views of pictures are those of torchvision with Pillow.

Runs under a Python with torchvision (scripts/setup --peers). Pictures are made here, in the forms that
occur in ImageNet; photographs are looked for in SLICEREDUCE_PHOTOS, a tar of SYNSET/FILE.JPEG, by default
../shared/data/imagenet-photos-200.tar, and that test is skipped, and says so, where there are none.
"""

import json
import os
import subprocess
import tarfile
import tempfile
import unittest
from pathlib import Path

import numpy
from PIL import Image
from torchvision import transforms
from torchvision.transforms import functional

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SLICEREDUCE", str(REPOSITORY / "build" / "slicereduce"))
DEFAULT_PHOTOS = REPOSITORY.parent / "shared/data/imagenet-photos-200.tar"
PHOTOS = Path(os.environ.get("SLICEREDUCE_PHOTOS", str(DEFAULT_PHOTOS)))
SIDE = 224
EVALUATION = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(SIDE)])


def picture(generator: numpy.random.Generator, height: int, width: int) -> Image.Image:
    """Edges, ramps and some noise: what resizing and JPEG treat differently."""
    y, x = numpy.mgrid[0:height, 0:width]
    channels = []
    for _ in range(3):
        wave = numpy.sin(y / generator.uniform(3, 40) + x / generator.uniform(3, 40))
        edge = numpy.where(x * generator.uniform(-1, 1) + y > height / 2, 60, -60)
        channels.append(128 + 50 * wave + edge + generator.normal(0, 6, (height, width)))
    return Image.fromarray(numpy.stack(channels, -1).clip(0, 255).astype(numpy.uint8))


def write_forms(folder: Path, generator: numpy.random.Generator) -> None:
    """Of each form that ImageNet has, and some that others' folders have."""
    folder.mkdir(parents=True)

    def size() -> tuple[int, int]:
        return int(generator.integers(150, 700)), int(generator.integers(150, 700))

    for quality, subsampling in ((10, "4:2:0"), (75, "4:2:0"), (90, "4:2:2"), (95, "4:4:4"), (100, "4:2:0")):
        name = f"jpeg-{quality}-{subsampling.replace(':', '')}.JPEG"
        picture(generator, *size()).save(folder / name, "JPEG", quality=quality, subsampling=subsampling)
    picture(generator, *size()).save(folder / "progressive.JPEG", "JPEG", progressive=True)
    picture(generator, *size()).convert("L").save(folder / "grey.JPEG", "JPEG")
    picture(generator, *size()).convert("CMYK").save(folder / "cmyk.JPEG", "JPEG", quality=95)
    rotated = Image.Exif()
    rotated[0x0112] = 6  # orientation: what torchvision's ImageFolder ignores too
    picture(generator, *size()).save(folder / "exif.JPEG", "JPEG", exif=rotated)
    picture(generator, *size()).save(folder / "png-in-disguise.JPEG", "PNG")
    picture(generator, *size()).convert("L").save(folder / "grey.png")
    picture(generator, *size()).quantize(64).save(folder / "palette.png")
    transparent = picture(generator, *size())
    transparent.putalpha(picture(generator, transparent.height, transparent.width).convert("L"))
    transparent.save(folder / "transparent.png")
    transparent.convert("LA").save(folder / "grey-transparent.png")
    for height, width in ((40, 33), (7, 300), (300, 7), (1, 1), (256, 256), (224, 224), (1200, 1700)):
        picture(generator, height, width).save(folder / f"{height}x{width}.JPEG", "JPEG", quality=95)


def views(folder: Path, split: str, *options: str) -> tuple[numpy.ndarray, list[dict]]:
    """As the program makes them, and what they show."""
    count = sum(1 for file in (folder / "train").glob("*/*") if file.is_file())
    dump = folder / f"{split}.npy"
    command = [PROGRAM, "bench", "loader", "--data", str(folder), "--split", split]
    command += ["--image-size", str(SIDE), "--batch-size", "7", "--count", str(count)]
    command += ["--dump", str(dump), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr)
    lines = [json.loads(line) for line in dump.with_suffix(".jsonl").read_text().splitlines()]
    return numpy.load(dump), lines


def expected(view: dict) -> Image.Image:
    """As torchvision has it, of the same crop."""
    with Image.open(view["name"]) as image:
        rgb = image.convert("RGB")
    if "top" not in view:
        return EVALUATION(rgb)
    box = (view["top"], view["left"], view["height"], view["width"])
    crop = functional.resized_crop(rgb, *box, [SIDE, SIDE])
    return functional.hflip(crop) if view["mirrored"] else crop


class PixelsTest(unittest.TestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="slicereduce.")
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        (self.folder / "val").symlink_to("train")

    def differences(self, split: str, *options: str) -> dict[str, numpy.ndarray]:
        seed = ("--seed", str(int.from_bytes(os.urandom(4), "little")))
        arrays, lines = views(self.folder, split, *seed, *options)
        self.assertEqual(len({line["name"] for line in lines}), len(arrays))
        return {
            line["name"]: numpy.abs(numpy.asarray(expected(line), dtype=int) - array)
            for line, array in zip(lines, arrays, strict=True)
        }

    def assert_same(self, split: str, *options: str) -> None:
        differences = self.differences(split, *options)
        for name, difference in differences.items():
            self.assertLessEqual(difference.max(), 3, name)
        total = numpy.stack(list(differences.values()))
        share = (total <= 1).mean()
        print(f"{split} {' '.join(options)}: {share:.4%} within 1 level, at most {total.max()} apart")
        self.assertGreaterEqual(share, 0.999)

    def assert_all_close(self) -> None:
        self.assert_same("val")
        self.assert_same("train", "--decode", "whole")
        means = {name: value.mean() for name, value in self.differences("train").items()}
        mean, worst = sum(means.values()) / len(means), max(means, key=means.get)
        print(f"train: {mean:.3f} levels apart in the mean, at most {means[worst]:.3f} ({Path(worst).name})")
        self.assertLessEqual(mean, 2)

    def test_of_pictures_in_all_forms(self) -> None:
        write_forms(self.folder / "train" / "forms", numpy.random.default_rng())
        self.assert_all_close()

    @unittest.skipUnless(PHOTOS.exists(), f"no photographs in {PHOTOS} (SLICEREDUCE_PHOTOS)")
    def test_of_photographs(self) -> None:
        with tarfile.open(PHOTOS) as tar:
            tar.extractall(self.folder / "train")
        self.assert_all_close()


if __name__ == "__main__":
    unittest.main()
