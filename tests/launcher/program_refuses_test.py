"""Bad input: one clear message, the right exit code, and nothing written."""

import shutil
import unittest

from program import PROGRAM, ProgramTest, mpirun, run, write_idx


class BadInput(ProgramTest):
    def test_ratio(self) -> None:
        self.refused(*self.options("--sample-ratio", "1.5"), says="--sample-ratio")
        self.refused(*self.options_of_defaults("--sample-ratio", "0.5"), says="--mode compact")

    def test_what_mode_auto_chooses(self) -> None:
        self.refused(*self.options("--mode", "auto", "--bucket-mb", "1"), says="--bucket-mb")
        self.refused(*self.options("--auto-ratio", "0.5"), says="--mode auto")

    def test_slices_of_what_workers_choose_by_activations(self) -> None:
        options = self.options("--mode", "approximate", "--reduce", "slices")
        result = run([*mpirun(2), PROGRAM, *options])
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("activations", result.stderr)
        self.assertFalse(self.run_dir.exists())

    def test_faults(self) -> None:
        self.refused(*self.options("--inject", "kill@rank0:step7"), says="--allow-inject")
        allowed = self.options("--inject", "kill@rank1:step7", "--allow-inject")
        self.refused(*allowed, says="'rank1 of 1'")
        self.refused(
            *self.options("--inject", "explode@rank0:step7", "--allow-inject"), says="kill@rank1:step7"
        )

    def test_kernels_that_cudnn_does_not_know(self) -> None:
        self.refused(*self.options("--cudnn", "quick"), says="expected one of deterministic, fastest")

    def test_a_graph_that_cannot_be(self) -> None:
        self.refused(*self.options("--cuda-graph", "yes"), says="expected one of auto, on, off")
        insists = ("--cuda-graph", "on")
        self.refused(*self.options(*insists, "--reduce", "powersgd"), says="--reduce powersgd")
        self.refused(*self.options(*insists, "--accumulate", "2"), says="--accumulate")
        self.refused(
            *self.options(*insists, "--mode", "feedback", "--reduce", "slices"), says="mode feedback"
        )
        self.refused(*self.options(*insists, "--sampler", "bernoulli"), says="the sampler bernoulli")

    def test_a_backend_that_cannot_be(self) -> None:
        self.refused(*self.options("--backend", "gloo"), says="expected one of auto, nccl, mpi")
        self.refused(*self.options("--backend", "nccl", "--device", "cpu"), says="--backend nccl")
        factors = ("--backend", "nccl", "--reduce", "powersgd")
        self.refused(*self.options(*factors), says="use --backend mpi, or --reduce slices")

    def test_architecture(self) -> None:
        self.refused(*self.options("--arch", "resnet9"), says="resnet152")

    def test_what_is_misspelt(self) -> None:
        self.refused("train", "--sampl-ratio", "0.5", says="did you mean --sample-ratio?")
        self.refused("train", "--sampl-ratio=0.5", says="did you mean --sample-ratio?")
        self.refused(
            "bench", "step", "--batchsize", "8", says="of slicereduce bench step: did you mean --batch-size?"
        )
        self.refused("trian", says="unknown command 'trian' of slicereduce: did you mean train?")
        self.refused(
            "train", "--qqqqqqqq", says="unknown option '--qqqqqqqq' of slicereduce train (slicereduce"
        )
        self.refused(*self.options("--arch", "resent50"), says="did you mean resnet50?")
        config = self.folder / "misspelt.toml"
        config.write_text("[plan]\nsampl-ratio = 0.5\n")
        self.refused("plan", "--config", str(config), says="sampl-ratio")

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
        one = [PROGRAM, *self.options("--lr", "0.1", "--hierarchy", "on")]
        other = [PROGRAM, *self.options("--lr", "0.2", "--hierarchy", "off")]
        result = run([*mpirun(1), *one, ":", "-np", "1", *other])
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("--lr: '0.1' on rank 0; '0.2' on rank 1", result.stderr)
        self.assertIn("--hierarchy: 'off' on rank 1; 'on' on rank 0", result.stderr)
        self.assertFalse(self.run_dir.exists())

    def test_ranks_with_different_data(self) -> None:
        other_data = self.folder / "other"
        other_data.mkdir()
        write_idx(other_data, "train", 320, 3)
        write_idx(other_data, "t10k", 51, 2)
        for mode in ("compact", "auto"):
            one = [PROGRAM, *self.options("--mode", mode)]
            other = [PROGRAM, *self.options("--mode", mode, data=other_data)]
            result = run([*mpirun(1), *one, ":", "-np", "1", *other])
            self.assertEqual(result.returncode, 2, result.stderr)
            self.assertIn("training data:", result.stderr)
            self.assertNotIn("validation data:", result.stderr)
            self.assertNotIn("auto: timing", result.stderr)
            self.assertFalse(self.run_dir.exists())


if __name__ == "__main__":
    unittest.main()
