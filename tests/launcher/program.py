"""The program as a user runs it: what the tests of it share.

The environment says, where it is not as `scripts/build` leaves it: SLICEREDUCE (the program), MPIEXEC,
VENV_PYTHON (a Python with torch and torchvision, for what is exported; without it those tests are skipped and
say so). Tests of the program's CUDA need SLICEREDUCE_HAS_CUDA (ON or OFF: how it was built).
"""

import gzip
import json
import os
import random
import shutil
import struct
import subprocess
import tempfile
import unittest
import zlib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("SLICEREDUCE", str(REPOSITORY / "build" / "slicereduce"))
MPIEXEC = os.environ.get("MPIEXEC", "mpirun")
PYTHON = os.environ.get("VENV_PYTHON", str(REPOSITORY / ".venv" / "bin" / "python"))
ENVIRONMENT = os.environ | {
    "OMP_NUM_THREADS": "1",
    # Threads of one worker that spin while they wait would take the cores from what runs beside it.
    "OMP_WAIT_POLICY": "passive",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}
# Of Open MPI, for a program that is started alone: no daemon and no search for a network, which take half of
# the time that a start takes.
ALONE = {"OMPI_MCA_ess_singleton_isolated": "1", "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self"}
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


def run(
    command: list[str], timeout: float = 120, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess:
    """With `env` beside the tests' own."""
    whole = ENVIRONMENT | (ALONE if command[0] == PROGRAM else {}) | (env or {})
    return subprocess.run(command, env=whole, capture_output=True, text=True, timeout=timeout, check=False)


def write_idx(folder: Path, prefix: str, count: int, seed: int, side: int = SIDE) -> None:
    """Pictures whose class shows: a bright row at the label's height."""
    generator = random.Random(seed)
    labels = bytes(i % 10 for i in range(count))
    pixels = bytearray()
    for label in labels:
        for row in range(side):
            base = 180 if row == label else 20
            pixels += bytes(base + generator.randrange(60) for _ in range(side))
    images = struct.pack(">IIII", 0x803, count, side, side) + pixels
    (folder / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(images))
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, count) + labels)


def png(pixels: bytes, side: int) -> bytes:
    """Of one byte a pixel, grey, or of three."""
    channels = len(pixels) // side**2

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    width = channels * side
    lines = b"".join(b"\0" + pixels[row * width :][:width] for row in range(side))
    header = struct.pack(">IIBBBBB", side, side, 8, 2 if channels == 3 else 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in parts)


class ProgramTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = cls.make_folder()
        cls.data = cls.folder / "data"
        cls.data.mkdir()
        write_idx(cls.data, "train", 320, 1)
        write_idx(cls.data, "t10k", 51, 2)

    @classmethod
    def make_folder(cls) -> Path:
        """For everything that the tests write."""
        return Path(tempfile.mkdtemp(prefix="slicereduce."))

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(cls.folder)

    def setUp(self) -> None:
        self.run_dir = self.folder / self.id().rsplit(".", 1)[-1]

    def options_of_defaults(self, *more: str) -> list[str]:
        """The least that a run needs to be told."""
        small = ("--arch", "resnet20", "--batch-size", "16")
        return ["train", "--data", str(self.data), *small, "--run-dir", str(self.run_dir), *more]

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
            *("--mode", "compact"),
            *("--run-dir", str(run_dir or self.run_dir), *more),
        ]

    def train(
        self,
        *more: str,
        ranks: int = 2,
        code: int = 0,
        run_dir: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> dict:
        launch = mpirun(ranks) if ranks > 1 else []
        result = run([*launch, PROGRAM, *self.options(*more, run_dir=run_dir)], env=env)
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
