"""The batch files of scripts/slurm under a real Slurm: stopped by signals, back in the queue, done.

Needs the environment of tests/launcher/program.py, and that folder in PYTHONPATH.
"""

import json
import os
import tempfile
import time
import unittest
from pathlib import Path

import cluster
from program import PROGRAM, REPOSITORY, ProgramTest, run

# Threads are as many everywhere: sums of two come to other bits than those of one.
LONG = ("--epochs", "2", "--checkpoint-every", "4", "--log-every", "1", "--seed", "3", "--threads", "1")
# A step takes 25 ms. With other work in the way, training would be done before its first checkpoint is seen
# and Slurm has sent a signal.
SLOW_AT_FIRST = """#!/bin/sh
if [ -z "$SLURM_RESTART_COUNT" ]; then
  set -- "$@" --inject slow:400ms@rank0:step5 --allow-inject
fi
exec "{program}" "$@"
"""
ENDS = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT")
SMALL = ("--ntasks-per-node=1", "--cpus-per-task=1", "--time=10")


@unittest.skipIf(cluster.missing(), cluster.missing())
class Slurm(ProgramTest):
    @classmethod
    def setUpClass(cls) -> None:
        os.environ |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        os.environ |= {"OMPI_MCA_mpi_yield_when_idle": "1"}
        cls.slurm = cluster.SlurmCluster().__enter__()
        cls.addClassCleanup(cls.slurm.__exit__)
        super().setUpClass()
        program = cls.folder / "slicereduce"
        program.write_text(SLOW_AT_FIRST.format(program=PROGRAM))
        program.chmod(0o755)
        cls.slurm.environment["SLICEREDUCE"] = str(program)
        cls.undisturbed = cls.digest_of_undisturbed()

    @classmethod
    def make_folder(cls) -> Path:
        folder = cls.slurm.folder / "files"  # which both nodes see
        folder.mkdir()
        return folder

    @classmethod
    def digest_of_undisturbed(cls) -> str:
        test = cls("digest_of")
        test.run_dir = cls.folder / "undisturbed"
        return test.train(*LONG)["weights_digest"]

    def digest_of(self, run_dir: Path) -> str:
        return json.loads((run_dir / "summary.json").read_text())["weights_digest"]

    def submit(self, *more: str, file: str, options: tuple[str, ...] = LONG) -> int:
        """What the file trains is in self.run_dir."""
        command = self.options(*options)
        assert command[0] == "train"
        return self.slurm.submit(
            *SMALL,
            *more,
            f"--output={self.folder}/%x-{self.id().rsplit('.', 1)[-1]}-%j.log",
            str(REPOSITORY / "scripts" / "slurm" / file),
            *command[1:],
            folder=REPOSITORY,
        )

    def output(self, job: int | str) -> str:
        written = [path.read_text() for path in self.folder.glob(f"*-{job}.log")]
        return "\n".join([*written, self.slurm.story(job)])

    def wait_for_checkpoint(self, job: int | str) -> None:
        until = time.monotonic() + 60
        while not list(self.run_dir.glob("checkpoints/step-*.ckpt")):
            self.assertIn(
                self.slurm.job(job)["JobState"], ("PENDING", "RUNNING", "CONFIGURING"), self.output(job)
            )
            self.assertLess(time.monotonic(), until, self.output(job))
            time.sleep(0.05)

    def finish(self, job: int | str) -> None:
        """From the queue, into which it was put again, to the end, which is the undisturbed run's."""
        self.slurm.start_soon(job)
        done = self.slurm.wait_for(job, *ENDS)
        self.assertEqual(done["JobState"], "COMPLETED", self.output(job))
        self.assertEqual(done["Restarts"], "1")
        self.assertIn("resumed from", self.output(job))
        self.assertEqual(self.digest_of(self.run_dir), self.undisturbed)

    def test_one_node_near_its_time_limit(self) -> None:
        job = self.submit("--ntasks-per-node=2", file="one-node.sbatch")
        self.wait_for_checkpoint(job)
        self.slurm.run("scancel", "--batch", "--signal=USR1", str(job))  # as --signal=B:USR1@120 has it sent
        self.finish(job)
        self.assertIn("on request", self.output(job))
        self.assertIn("back into the queue", self.output(job))

    def test_nodes_under_srun_are_requeued(self) -> None:
        job = self.submit(file="nodes-srun.sbatch")
        self.wait_for_checkpoint(job)
        self.slurm.run("scontrol", "requeue", str(job))  # as preemption does
        self.finish(job)
        self.assertIn("world_size=2", self.output(job))

    def test_nodes_under_mpirun_near_their_time_limit(self) -> None:
        job = self.submit(file="nodes-mpirun.sbatch")
        self.wait_for_checkpoint(job)
        self.slurm.run("scancel", "--batch", "--signal=USR1", str(job))
        self.finish(job)
        self.assertIn("world_size=2", self.output(job))

    def test_what_is_cancelled_stays_cancelled_and_can_go_on(self) -> None:
        job = self.submit("--ntasks-per-node=2", file="one-node.sbatch")
        self.wait_for_checkpoint(job)
        self.slurm.run("scancel", str(job))
        self.slurm.wait_for(job, "CANCELLED")
        self.assertIn("on request", self.output(job))
        self.assertNotIn("back into the queue", self.output(job))
        self.train(*LONG)
        self.assertEqual(self.digest_of(self.run_dir), self.undisturbed)

    def test_an_array_compares_ratios_and_its_last_job_goes_back_alone(self) -> None:
        runs = self.run_dir
        small = ("--arch", "resnet20", "--batch-size", "16", "--steps", "24", "--checkpoint-every", "4")
        job = self.slurm.submit(
            *SMALL,
            f"--output={self.folder}/ratios-%A_%a.log",
            str(REPOSITORY / "scripts" / "slurm" / "ratios.sbatch"),
            str(runs),
            # Two threads of each of four jobs on two cores would wait for each other, a second a step.
            *("--data", str(self.data), *small, "--seed", "3", "--threads", "1"),
            folder=REPOSITORY,
        )
        last = f"{job}_3"
        self.run_dir = runs / "0.25"
        self.wait_for_checkpoint(last)
        self.slurm.run("scancel", "--batch", "--signal=USR1", last)
        self.slurm.start_soon(last)
        tasks = [f"{job}_{task}" for task in range(4)]
        ended = {task: self.slurm.wait_for(task, *ENDS) for task in tasks}
        for task, done in ended.items():
            self.assertEqual(done["JobState"], "COMPLETED", self.output(task))
        self.assertEqual([done["Restarts"] for done in ended.values()], list("0001"))
        summaries = sorted(runs.glob("*/summary.json"))
        sent = [json.loads(path.read_text())["wire_bytes_per_step"] for path in summaries]
        self.assertEqual([path.parent.name for path in summaries], ["0.25", "0.33", "0.5", "1"])
        self.assertEqual(sent, sorted(sent))
        self.assertEqual(len(set(sent)), 4)


class UntilDone(unittest.TestCase):
    """What it makes of a command, without Slurm."""

    def code_of(self, *command: str) -> int:
        script = [str(REPOSITORY / "scripts" / "slurm" / "until-done"), *command]
        return run(script, env={"SLURM_JOB_ID": "1"}).returncode

    def test_a_training_that_never_began_is_a_failure(self) -> None:
        with tempfile.TemporaryDirectory(prefix="slicereduce.") as folder:
            # As srun where a node could not start it: it ends with 0.
            for where in (("--run-dir", folder), (f"--run-dir={folder}",)):
                self.assertEqual(self.code_of("true", "train", *where, "--epochs", "1"), 1)
            (Path(folder) / "summary.json").touch()
            self.assertEqual(self.code_of("true", "train", "--run-dir", folder), 0)
            self.assertEqual(self.code_of("false", "train", "--run-dir", folder), 1)
        self.assertEqual(self.code_of("true", "train"), 0)


if __name__ == "__main__":
    unittest.main()
