"""What README, CONTRIBUTING and docs/ tell people to type works: each block of commands is run, page by page,
in a folder that looks like a checkout. Blocks that can't be run say why (blocks.py), and are looked at: their
shell is well-formed, and the program has the options that they give it.
"""

import re
import shutil
import struct
import subprocess
import tempfile
import unittest
import zlib
from pathlib import Path

import program
from blocks import Refused, blocks_of, calls_of

# The runs that a page speaks of and does not make itself: the folder, its mode, its seed.
RUNS = {
    "docs/files.md": [("run", "compact", 1)],
    "docs/report.md": [
        ("pictures", "dense", 1),
        ("dense", "dense", 1),
        ("compact", "compact", 1),
        ("dense-1", "dense", 1),
        ("dense-2", "dense", 2),
        ("dense-3", "dense", 3),
        ("compact-1", "compact", 1),
    ],
}
TINY_RUN = "--data digits --arch resnet20 --batch-size 16 --steps 4 --threads 1 --recalibrate-batches 1"
# build/slicereduce of a page's folder: the program, with a block's options added.
STAND_IN = """#!/usr/bin/env bash
if [[ $1 == train || $1 == bench ]]; then
  exec {program} "$@" ${{DOCS_TEST_OPTIONS:-}}
fi
exec {program} "$@"
"""
# scripts/report there: drawing takes seconds, and tests/report draws.
REPORT = """#!/usr/bin/env bash
exec {python} {undrawn} "$@"
"""
ENVIRONMENT = program.ENVIRONMENT | {
    "SLICEREDUCE": program.PROGRAM,
    # Pages speak of machines with more cores.
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_mpi_yield_when_idle": "1",
}
BLOCK_TIMEOUT_S = 300


def pages() -> list[Path]:
    root = program.REPOSITORY
    return [file.relative_to(root) for file in sorted([*root.glob("*.md"), *root.glob("docs/*.md")])]


def write_png(file: Path, width: int, height: int, colour: int) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    ramp = bytes(x % 256 for x in range(3 * (width + height)))
    rows = b"".join(b"\0" + ramp[colour + y : colour + y + 3 * width] for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def write_pictures(folder: Path) -> None:
    """An image folder of two classes, larger than what `pack --short-side 256` leaves."""
    for split, count in (("train", 16), ("val", 2)):
        for number, name in enumerate(("cat", "dog")):
            place = folder / split / name
            place.mkdir(parents=True)
            for i in range(count):
                write_png(place / f"{i:03}.png", 288, 272, 100 * number + i)


def write_script(file: Path, text: str) -> None:
    file.write_text(text)
    file.chmod(0o755)


def link_all(source: Path, folder: Path, but: set[str]) -> None:
    for entry in source.iterdir():
        if entry.name not in but:
            (folder / entry.name).symlink_to(entry)


def make_checkout(folder: Path, pictures: Path) -> None:
    """Links to all of the checkout but what is built or trained there; to pictures; and the stand-ins."""
    root = program.REPOSITORY
    link_all(root, folder, but={".git", "scripts", "runs", *(entry.name for entry in root.glob("build*"))})
    (folder / "scripts").mkdir()
    link_all(root / "scripts", folder / "scripts", but={"report"})
    undrawn = root / "tests/report/undrawn.py"
    write_script(folder / "scripts/report", REPORT.format(python=program.PYTHON, undrawn=undrawn))
    (folder / "pictures").symlink_to(pictures)
    (folder / "build").mkdir()
    write_script(folder / "build/slicereduce", STAND_IN.format(program=program.PROGRAM))


def make_runs(folder: Path, runs: list[tuple[str, str, int]]) -> None:
    """Those of one mode and seed are the same one."""
    data = folder / "digits"
    data.mkdir()
    program.write_idx(data, "train", 64, 1, side=28)
    program.write_idx(data, "t10k", 16, 2, side=28)
    made: dict[tuple[str, int], Path] = {}
    for name, *kind in runs:
        place = folder / "runs" / name
        if there := made.get(tuple(kind)):
            shutil.copytree(there, place)
            continue
        mode, seed = kind
        options = f"--mode {mode} --seed {seed} --run-dir runs/{name} {TINY_RUN}"
        command = ["build/slicereduce", "train", *options.split()]
        subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=True, capture_output=True)
        made[tuple(kind)] = place


def run_block(text: str, options: list[str], folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env=ENVIRONMENT | {"DOCS_TEST_OPTIONS": " ".join(options)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BLOCK_TIMEOUT_S,
        check=False,
    )


def missing_lines(expected: list[str], text: str) -> list[str]:
    """Those that do not come in `text` behind the ones before them."""
    rest = iter(line.rstrip() for line in text.splitlines())
    return [line for line in expected if line.strip() and line.rstrip() not in rest]


def options_of_program(command: str) -> set[str]:
    done = subprocess.run(
        [program.PROGRAM, *command.split(), "--help"], capture_output=True, text=True, check=True
    )
    return set(re.findall(r"^ {2}(?:-\w,)?(--[a-z][a-z-]*)", done.stdout, re.MULTILINE))


class Pages(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="slicereduce."))
        self.addCleanup(shutil.rmtree, self.folder)
        self.pictures = self.folder / "pictures"

    def fresh_checkout(self, page: Path) -> Path:
        folder = self.folder / str(page).replace("/", "+")
        folder.mkdir()
        make_checkout(folder, self.pictures)
        make_runs(folder, RUNS.get(str(page), []))
        return folder

    def test_each_block_does_what_it_says(self):
        write_pictures(self.pictures)
        for page in pages():
            blocks = blocks_of(str(page), (program.REPOSITORY / page).read_text(encoding="utf-8"))
            to_run = [block for block in blocks if not block.why_not_run]
            if blocks:
                print(f"{page}: {len(to_run)} blocks run, {len(blocks) - len(to_run)} not run", flush=True)
            folder = self.fresh_checkout(page) if to_run else self.folder
            for block in to_run:
                with self.subTest(block=f"{page}:{block.line}"):
                    done = run_block(block.text, block.options, folder)
                    self.assertEqual(done.returncode, 0, f"\n{block.text}{done.stdout}{done.stderr}")
                    self.assertEqual(missing_lines(block.printed, done.stdout), [], done.stdout)

    def test_blocks_that_are_not_run_could_be(self):
        options = {}
        for page in pages():
            for block in blocks_of(str(page), (program.REPOSITORY / page).read_text(encoding="utf-8")):
                with self.subTest(block=f"{page}:{block.line}"):
                    checked = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True)
                    self.assertEqual(checked.returncode, 0, checked.stderr)
                    for command, given in calls_of(block.text):
                        if command not in options:
                            options[command] = options_of_program(command)
                        self.assertLessEqual(set(given), options[command])


class TheCheckItself(unittest.TestCase):
    def test_blocks_are_found_with_their_marks(self):
        text = (
            "```sh\na \\\n  b\n```\n<!-- not run: needs a card -->\n```sh\nc\n```\n"
            "<!-- run with: --steps 2 -b 4 -->\n```sh\nd\n```\n"
            "```python\ne\n```\n<!-- table x -->\n```text\nf\n```\n"
        )
        plain, skipped, cut = blocks_of("p.md", text)
        self.assertEqual(
            (plain.line, plain.text, plain.why_not_run, plain.options), (1, "a \\\n  b\n", None, [])
        )
        self.assertEqual((skipped.text, skipped.why_not_run), ("c\n", "needs a card"))
        self.assertEqual((cut.text, cut.why_not_run, cut.options), ("d\n", None, ["--steps", "2", "-b", "4"]))

    def test_what_a_block_prints_is_compared_line_by_line(self):
        (block,) = blocks_of("p.md", "```sh\na\n```\nsays\n\n<!-- printed above -->\n```text\n1\n3\n```\n")
        self.assertEqual(block.printed, ["1", "3"])
        self.assertEqual(missing_lines(block.printed, "1\n2\n3 \n"), [])
        self.assertEqual(missing_lines(block.printed, "1\n2\n4\n"), ["3"])
        self.assertEqual(missing_lines(block.printed, "3\n1\n"), ["3"])

    def test_what_would_be_passed_over_is_refused(self):
        for text in (
            "<!-- not run: -->\n```sh\na\n```\n",
            "<!-- not run: x -->\n\n```sh\na\n```\n",
            "<!-- not run: x -->\n```python\na\n```\n",
            "<!-- not run: x -->\n",
            "```bash\na\n```\n",
            "<!-- printed above -->\n```text\na\n```\n",
            "<!-- not run: x -->\n```sh\na\n```\n<!-- printed above -->\n```text\na\n```\n",
            "```sh\na\n```\n<!-- printed above -->\n\n```text\na\n```\n",
            "  ```console\n  $ a\n  ```\n",
            "```sh\na\n",
        ):
            with self.assertRaises(Refused, msg=text):
                blocks_of("p.md", text)

    def test_a_block_fails_by_any_of_its_lines(self):
        here = Path(tempfile.gettempdir())
        for text in ("false\ntrue\n", "false | true\n", "no-such-command\n", 'echo "${NOT_SET}"\n'):
            self.assertNotEqual(run_block(text, [], here).returncode, 0, text)
        self.assertEqual(run_block("true\ntrue | true\n", [], here).returncode, 0)

    def test_a_blocks_options_reach_train_and_bench_alone(self):
        with tempfile.TemporaryDirectory() as name:
            file = Path(name, "slicereduce")
            write_script(file, STAND_IN.format(program="echo"))
            for command in ("train --x > said; cat said", "bench step --x # why"):
                self.assertIn(
                    "--x --steps 2",
                    run_block(f"./slicereduce {command}", ["--steps", "2"], file.parent).stdout,
                )
            self.assertEqual(
                run_block("./slicereduce plan --x", ["--steps", "2"], file.parent).stdout, "plan --x\n"
            )

    def test_calls_of_the_program_are_found_with_their_options(self):
        text = (
            "mpirun -np 2 --bind-to none build/slicereduce train --data x \\\n  --lr=0.1 -j 2 # --not\n"
            "build/slicereduce --config a.toml bench step --json > b.json\n"
            "sbatch --nodes=2 scripts/slurm/one-node.sbatch --data x\nls build/slicereduce\n"
        )
        self.assertEqual(
            calls_of(text),
            [("train", ["--data", "--lr"]), ("bench step", ["--json"]), ("train", ["--data"])],
        )


if __name__ == "__main__":
    unittest.main()
