"""What a run is trained on: pictures that are bad, shards, and validation sets of their own."""

import io
import json
import shutil
import tarfile
import unittest
from pathlib import Path

from program import PROGRAM, ProgramTest, mpirun, png, run


def write_pictures(folder: Path, splits: tuple[str, ...] = ("train", "val")) -> None:
    """An image folder of two classes, one darker than the other."""
    for split in splits:
        for label in ("cat", "dog"):
            pictures = folder / split / label
            pictures.mkdir(parents=True)
            for i in range(32):
                grey = 4 * i + (100 if label == "dog" else 0)
                (pictures / f"{i:02}.png").write_bytes(png(bytes([grey] * 32 * 32), 32))


def write_shards(pictures: Path, folder: Path, shards: int) -> None:
    """The pictures of an image folder's split, in its order, a label before each."""
    files = sorted(pictures.glob("*/*.png"))
    classes = sorted({file.parent.name for file in files})
    folder.mkdir(parents=True)
    for shard in range(shards):
        with tarfile.open(folder / f"{pictures.name}-{shard:03}.tar", "w") as tar:
            first, end = (len(files) * at // shards for at in (shard, shard + 1))
            for file in files[first:end]:
                label = str(classes.index(file.parent.name)).encode()
                for extension, content in (("cls", label), ("png", file.read_bytes())):
                    member = tarfile.TarInfo(f"{file.parent.name}-{file.stem}.{extension}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


class BadImages(ProgramTest):
    def test_end_the_run_or_are_skipped_as_asked(self) -> None:
        images = self.folder / "bad"
        write_pictures(images)
        # Opening a folder looks at a few of its pictures: not at these.
        bad = [images / "train" / "cat" / "03.png", images / "val" / "dog" / "05.png"]
        for path in bad:
            path.write_bytes(path.read_bytes()[:40])
        options = self.options("--epochs", "1", data=images)
        stopped = run([*mpirun(2), PROGRAM, *options])
        self.assertNotEqual(stopped.returncode, 0)
        self.assertIn("train/cat/03.png", stopped.stderr)
        shutil.rmtree(self.run_dir)
        bad.append(images / "val" / "cat" / "00.png")  # at this one it does
        bad[-1].write_bytes(b"no picture")
        self.refused(*options, says="val/cat/00.png")
        skipped = run([*mpirun(2), PROGRAM, *options, "--bad-images", "skip"])
        self.assertEqual(skipped.returncode, 0, skipped.stderr)
        for path in bad:
            self.assertEqual(skipped.stderr.count(str(path)), 1, skipped.stderr)
        self.assertIn("images=62", skipped.stderr)
        self.assertEqual(json.loads((self.run_dir / "summary.json").read_text())["bad_images"], 3)


class Shards(ProgramTest):
    def test_train_as_the_folder_they_were_made_of(self) -> None:
        images, shards = self.folder / "images", self.folder / "shards"
        write_pictures(images)
        write_shards(images / "train", shards, 3)
        write_shards(images / "val", shards / "apart", 1)
        named = ("--val-data", str(shards / "apart" / "val-000.tar"))
        sets = {
            "folder": (images,),
            "shards": (shards, "--val-data", str(shards / "apart")),
            "pattern": (shards / "train-{000..002}.tar", *named, "--dataset", "webdataset"),
        }
        digests = set()
        for name, (data, *more) in sets.items():
            self.run_dir = self.folder / f"run-{name}"
            options = self.options("--epochs", "1", "--seed", "3", *map(str, more), data=data)
            done = run([PROGRAM, *options])
            self.assertEqual(done.returncode, 0, done.stderr)
            summary = json.loads((self.run_dir / "summary.json").read_text())
            digests.add((summary["weights_digest"], summary["top1"]))
        self.assertEqual(len(digests), 1)
        checkpoint = str(self.run_dir / "checkpoints" / "best.ckpt")
        shutil.rmtree(images / "train")  # a validation set alone is enough to evaluate
        for data in (named[1], str(images)):
            evaluated = run([PROGRAM, "eval", "--data", data, "--checkpoint", checkpoint, "--json"])
            self.assertEqual(evaluated.returncode, 0, evaluated.stderr)
            self.assertEqual(json.loads(evaluated.stdout.splitlines()[0])["images"], 64)

    def test_that_do_not_fit_are_refused(self) -> None:
        images = self.folder / "others"
        write_pictures(images)
        write_shards(images / "train", images / "shards", 1)
        shard = images / "shards" / "train-000.tar"
        only_train = ("train", "--data", str(images / "shards"))
        self.refused(*only_train, "--run-dir", str(self.run_dir), says="no val*.tar in")
        named = ("train", "--data", str(shard), "--run-dir", str(self.run_dir))
        self.refused(*named, says="names shards of one set")
        (images / "shards" / "classes.txt").write_text("cat\ndog\nfish\n")
        both = ("--val-data", str(images))
        self.refused(*only_train, *both, "--run-dir", str(self.run_dir), says="3 classes and 3 channels")
        (images / "shards" / "classes.txt").unlink()
        shard.write_bytes(shard.read_bytes()[:20_000])
        self.refused(*only_train, *both, "--run-dir", str(self.run_dir), says="train-000.idx: line ")


class Packing(ProgramTest):
    def pack(self, *options: str) -> list[dict]:
        done = run([PROGRAM, "pack", *options, "--json"])
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_makes_shards_that_train_reads_and_tar_too(self) -> None:
        images, shards = self.folder / "to-pack", self.folder / "packed"
        write_pictures(images)
        lines = self.pack(str(images), str(shards), "--per-shard", "20")
        self.assertEqual(
            [(line["split"], line["shards"], line["images"]) for line in lines],
            [("train", 4, 64), ("val", 4, 64)],
        )
        self.assertEqual((shards / "classes.txt").read_text(), "cat\ndog\n")
        with tarfile.open(shards / "train-000003.tar") as tar:
            self.assertEqual(len(tar.getnames()), 2 * 4)
        options = self.options("--steps", "2", data=shards)
        done = run([*mpirun(2), PROGRAM, *options])
        self.assertEqual(done.returncode, 0, done.stderr)
        (shards / "train-000001.tar").rename(shards / "train-000001.tar.a1B2c3")  # killed while it wrote
        (shards / "train-000001.idx").unlink()
        again = self.pack(str(images), str(shards), "--per-shard", "20")
        self.assertEqual([line["kept"] for line in again], [3, 4])
        self.assertFalse((shards / "train-000001.tar.a1B2c3").exists())
        again = self.pack(str(images), str(shards), "--per-shard", "20")
        self.assertEqual([line["kept"] for line in again], [4, 4])

    def test_packs_a_validation_set_without_class_folders(self) -> None:
        images, shards = self.folder / "to-pack-flat", self.folder / "packed-flat"
        write_pictures(images)
        listed = ["ImageId,PredictionString"]
        for picture in sorted((images / "val").glob("*/*.png")):
            name = f"{picture.parent.name}_{picture.stem}"
            listed.append(f"{name},{picture.parent.name} 1 2 30 40")
            picture.rename(images / "val" / f"{name}.png")
        for folder in ("cat", "dog"):
            (images / "val" / folder).rmdir()
        (images / "val" / "LOC_val_solution.csv").write_text("\n".join(listed) + "\n")
        lines = self.pack(str(images), str(shards))
        self.assertEqual([line["images"] for line in lines], [64, 64])
        self.assertEqual((shards / "classes.txt").read_text(), "cat\ndog\n")
        with tarfile.open(shards / "val-000000.tar") as tar:
            labels = {name: tar.extractfile(name).read() for name in tar.getnames() if name.endswith(".cls")}
        self.assertEqual(len(labels), 64)
        for name, label in labels.items():
            self.assertEqual(label, b"0" if "cat" in name else b"1", name)

    def test_overwrites_nothing(self) -> None:
        images, shards = self.folder / "to-pack-once", self.folder / "packed-once"
        write_pictures(images)
        self.refused("pack", str(images), str(images), says="is not empty, and nothing is overwritten")
        self.pack(str(images), str(shards))
        self.refused("pack", str(images), str(shards), "--short-side", "16", says="pictures or options")
        self.refused(
            "pack", str(images), str(shards / "x"), "--max-side", "9", "--short-side", "9", says="one of them"
        )
        self.refused("pack", str(self.folder / "nowhere"), str(shards), says="nowhere")
        self.refused("pack", str(images), str(shards / "y"), "--workers", "-1", says="(--workers)")
        self.assertFalse((shards / "x").exists())


if __name__ == "__main__":
    unittest.main()
