"""Each option of --help does something: changed, it is seen in what the command writes or prints.

A table for each command has an entry for each of its options: what is changed, what the command is given
beside it, and a look at the outcome, which has to differ with the option and without. Looks are at what
has no times in it and, where several options are changed in one start, at what none of the others moves, or
at what comes out so only with all of them. An entry says of which kind its look is:

- run: what was computed, read or written;
- told: what the command says of itself, in its JSON or in a run's config.toml. What else the option does
  needs what is not here (a card, several hosts, a full disk, a rank that stands still), or is one of time;
- ranks: of ranks that were started with different values, the message names the option. As told, for commands
  that print none of it;
- refused: a value that can't be is refused by the option's name, or one that needs a card. Whatever else the
  option is for, this command has nothing that shows it.

Starts are those of program_starts.py, without a card.
"""

import json
import re
import sys
import unittest
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from program import REPOSITORY, ProgramTest
from program_starts import BAD_IMAGES, BASES, COMPACT, Outcome, Starts

sys.path.insert(0, str(REPOSITORY / "tests/house"))
from program_help import COMMANDS, options_of_help, program_help

Look = Callable[[Outcome], object]


@dataclass(frozen=True)
class Effect:
    kind: str
    changed: str
    look: Look
    beside: str = ""  # given in both starts
    batch: str = ""  # what is changed in the same start, if it is not alone
    base: str = ""  # the command, if it is not that of BASES


def run(changed: str, look: Look, beside: str = "", batch: str = "", base: str = "") -> Effect:
    return Effect("run", changed, look, beside, batch, base)


def told(changed: str, look: Look, beside: str = "", batch: str = "") -> Effect:
    return Effect("told", changed, look, beside, batch)


def refused(changed: str, beside: str = "", batch: str = "") -> Effect:
    option = changed.split()[0]
    return Effect("refused", changed, lambda o: o.code == 2 and option in o.stderr, beside, batch)


def ranks(changed: str, rank: int) -> Effect:
    """Changed on one rank of DIFFERENT_RANKS."""
    option = changed.split()[0]
    return Effect(
        "ranks", changed, lambda o: o.code == 2 and f"\n  {option}: '" in o.stderr, beside=str(rank)
    )


def summary(field: str) -> Look:
    return lambda o: o.summary(field)


def printed(*path: str) -> Look:
    return lambda o: o.printed(*path)


def layer(name: str, field: str) -> Look:
    return lambda o: [layer[field] for layer in o.printed("layers") if layer["name"] == name]


def config(option: str) -> Look:
    return lambda o: o.config().get(option)


def each(field: str) -> Look:
    """Of JSON, an object a line."""
    return lambda o: {json.loads(line)[field] for line in o.stdout.splitlines()}


def output(o: Outcome) -> str:
    return o.stdout


DIGEST = summary("weights_digest")
# Batches of options of one start. Each moves a field that none of the others moves.
SHAPES = "--steps 2 --wire bf16 --arch resnet20 --image-size 16 --batch-size 4 --accumulate 3"
RATES = "--lr 0.2 --warmup-epochs 1 --schedule step --lr-milestones 1 --lr-gamma 0.25 --global-batch-size 24"
KEEPING = "--val-data {other} --trace 1 --checkpoint-every 2 --keep 2 --log-every 2"
TOLD = (
    "--workers 2 --threads 2 --device cpu --backend mpi --cuda-graph off --cudnn fastest --hierarchy off"
    " --timeout 77 --overlap off --bucket-mb 0.5 --check-replicas-every 1 --checkpoint-failures 5"
    " --on-disagreement broadcast --progress bar"
)
# Beside all the others each moves the sums over all layers, as the table of `plan` has it. So a run with the
# sums of `plan` has ignored none of them.
SIZES = {
    "--sample-ratio": "0.3",
    "--minimal-k": "13",
    "--channel-multiple": "3",
    "--channel-block": "4",
    "--coupling": "none",
    "--sample-classifier": "",
}


def sizes_but(left_out: str) -> str:
    return " ".join(f"{option} {value}".strip() for option, value in SIZES.items() if option != left_out)


ALL_SIZES = sizes_but("")
FEEDBACK = "--mode feedback"
APPROXIMATE = "--mode approximate"
BACKWARD = "--mode approximate --approximate backward"
ANNEAL = "--mode compact --sampler anneal"
TWO_EPOCHS = "--batch-size 24 --mode compact"
BROKEN = "--inject nan-loss@rank0:step2 --allow-inject"
AUTO = "--mode auto --auto-ratio 0.5"
ENDS = "--stop-after 2 --run-dir {out}/there"
ONE_EPOCH = "--steps 0 --epochs 1 --batch-size 24 --size-schedule 0:8"
SETTLED = "--eval-network dense --recalibrate-batches 0"


def rates(o: Outcome) -> bool:
    """Of RATES: two steps of warm-up, which are an epoch, and then a quarter."""
    return [round(rate, 6) for rate in o.steps("lr")] == [0.1, 0.2, 0.05]


def as_planned(o: Outcome) -> bool:
    """Bytes and arithmetic are to the number what `plan` says of the same sizes."""
    total = o.starts.of(
        "plan", f"--image-size 12 --in-channels 1 --reduce slices {COMPACT} {ALL_SIZES}"
    ).printed("total")
    flops = 3 * o.images_of_a_step() * total["flops"]
    return (o.summary("wire_bytes_per_step"), o.summary("flops_per_step")) == (total["wire_bytes"], flops)


def ratios(*expected: float) -> Look:
    return lambda o: o.steps("sample_ratio") == list(expected)


def views(o: Outcome) -> list[bytes]:
    return [o.folder.with_suffix(suffix).read_bytes() for suffix in (".npy", ".jsonl")]


def seen(o: Outcome) -> list[str]:
    """What each of the views shows."""
    return o.folder.with_suffix(".jsonl").read_text().splitlines()


def traces(o: Outcome) -> list[str]:
    return [file.name for file in o.folder.glob("trace-*")]


TRAIN = {
    "--data": run("--data {other}", DIGEST),
    "--val-data": run("--val-data {other}", lambda o: o.evaluations("val_loss"), "--steps 5", KEEPING),
    "--dataset": run("--dataset imagefolder", lambda o: o.code),
    "--image-size": run("--image-size 16", summary("image_size"), batch=SHAPES),
    "--size-schedule": run("--size-schedule 0:8", summary("image_size"), batch=ONE_EPOCH),
    "--decode": run("--decode whole", DIGEST, "--data {shards} --image-size 8"),
    "--bad-images": run("--bad-images skip", lambda o: o.code, BAD_IMAGES),
    "--workers": told("--workers 2", config("workers"), batch=TOLD),
    "--arch": run("--arch resnet20", summary("dense_bytes_per_step"), batch=SHAPES),
    "--dropout": run("--dropout 0.5", DIGEST),
    "--mode": run("--mode compact", summary("flops_per_step")),
    **{
        option: run(f"{option} {value}".strip(), as_planned, COMPACT, ALL_SIZES)
        for option, value in SIZES.items()
    },
    "--slice-output-ratio": run("--slice-output-ratio 0.5", summary("wire_bytes_per_step"), FEEDBACK),
    "--sampler": run("--sampler anneal", DIGEST, COMPACT),
    "--approximate": run("--approximate backward", DIGEST, APPROXIMATE),
    "--term-norms": run("--term-norms weights", DIGEST, APPROXIMATE),
    "--input-gradient-ratio": run("--input-gradient-ratio 0.25", summary("flops_per_step"), BACKWARD),
    "--weight-gradient-ratio": run("--weight-gradient-ratio 1", summary("flops_per_step"), BACKWARD),
    "--resample-every": run("--resample-every 3", DIGEST, ANNEAL),
    "--anneal-steps": run("--anneal-steps 1", DIGEST, ANNEAL),
    "--join": run("--join zero", DIGEST, TWO_EPOCHS + " --mode-schedule 0:compact,1:dense"),
    "--wire": run(
        "--wire bf16",
        lambda o: o.summary("wire_bytes_per_step") / o.summary("dense_bytes_per_step"),
        batch=SHAPES,
    ),
    "--mode-schedule": run(
        "--mode-schedule 0:compact,1:dense",
        ratios(0.5, 0.5, 1),
        batch=TWO_EPOCHS + " --mode-schedule 0:compact,1:dense",
    ),
    "--ratio-schedule": run(
        "--ratio-schedule 0:0.5,1:0.75",
        ratios(0.5, 0.5, 0.75),
        batch=TWO_EPOCHS + " --ratio-schedule 0:0.5,1:0.75",
    ),
    "--auto-ratio": run("--auto-ratio 0.5", lambda o: "auto: compact 0.5" in o.stderr, batch=AUTO),
    # Two ranks that disagree would each need a fault in the choice itself.
    "--on-disagreement": told("--on-disagreement broadcast", config("on-disagreement"), batch=TOLD),
    "--batch-size": run("--batch-size 4", lambda o: o.images_of_a_step() == 12, batch=SHAPES),
    "--accumulate": run("--accumulate 3", lambda o: o.images_of_a_step() == 12, batch=SHAPES),
    "--lr": run("--lr 0.2", rates, batch=RATES),
    "--momentum": run("--momentum 0.5", DIGEST),
    "--nesterov": run("--nesterov", DIGEST),
    "--weight-decay": run("--weight-decay 0.1", DIGEST),
    "--decay-vectors": run("--decay-vectors false", DIGEST),
    "--label-smoothing": run("--label-smoothing 0.1", lambda o: o.steps("loss")[0]),
    "--precision": run("--precision bf16", lambda o: o.steps("loss")[0]),
    "--device": told("--device cpu", config("device"), batch=TOLD),
    "--reduce": run("--reduce powersgd", summary("wire_bytes_per_step")),
    "--powersgd-rank": run("--powersgd-rank 2", summary("wire_bytes_per_step"), "--reduce powersgd"),
    "--bucket-mb": told("--bucket-mb 0.5", config("bucket-mb"), batch=TOLD),
    "--overlap": told("--overlap off", config("overlap"), batch=TOLD),
    "--backend": told("--backend mpi", config("backend"), batch=TOLD),
    "--cuda-graph": told("--cuda-graph off", config("cuda-graph"), batch=TOLD),
    "--cudnn": told("--cudnn fastest", config("cudnn"), batch=TOLD),
    "--hierarchy": told("--hierarchy off", config("hierarchy"), batch=TOLD),
    "--timeout": told("--timeout 77", config("timeout"), batch=TOLD),  # faults/ has those that end
    "--threads": told("--threads 2", config("threads"), batch=TOLD),
    "--on-nonfinite": run("--on-nonfinite skip", lambda o: o.code, BROKEN),
    "--global-batch-size": run("--global-batch-size 24", lambda o: o.images_of_a_step() == 24, batch=RATES),
    "--epochs": run("--epochs 1", lambda o: o.summary("steps") == 2, batch=ONE_EPOCH),
    "--steps": run("--steps 2", summary("steps"), batch=SHAPES),
    "--warmup-epochs": run("--warmup-epochs 1", rates, batch=RATES),
    "--schedule": run("--schedule step", rates, batch=RATES),
    "--lr-milestones": run("--lr-milestones 1", rates, batch=RATES),
    "--lr-gamma": run("--lr-gamma 0.25", rates, batch=RATES),
    "--eval-network": run(
        "--eval-network dense",
        lambda o: o.evaluations("network"),
        COMPACT,
        SETTLED,
    ),
    "--recalibrate-batches": run(
        "--recalibrate-batches 0",
        lambda o: o.evaluations("val_loss")[-1],
        COMPACT,
        SETTLED,
    ),
    "--run-dir": run(
        "--run-dir {out}/there", lambda o: (o.folder / "there" / "config.toml").exists(), batch=ENDS
    ),
    "--resume": run("--resume {dense}", lambda o: o.steps("step"), "--steps 5"),
    "--init-from": run("--init-from {weights}", lambda o: o.steps("loss")[0]),
    "--checkpoint-every": run("--checkpoint-every 2", lambda o: 4 in o.checkpoints(), "--steps 5", KEEPING),
    "--keep": run("--keep 2", lambda o: o.checkpoints() == [4, 5], "--steps 5", KEEPING),
    "--checkpoint-failures": told("--checkpoint-failures 5", config("checkpoint-failures"), batch=TOLD),
    "--stop-after": run("--stop-after 2", lambda o: o.code, batch=ENDS),
    "--seed": run("--seed 2", DIGEST),
    "--log-every": run("--log-every 2", lambda o: o.steps("step"), "--steps 5", KEEPING),
    "--trace": run("--trace 1", traces, "--steps 5", KEEPING),
    "--progress": run("--progress bar", lambda o: "\x1b[K" in o.stderr, batch=TOLD),
    "--check-replicas-every": told("--check-replicas-every 1", config("check-replicas-every"), batch=TOLD),
    "--inject": run("--inject nan-loss@rank0:step2", lambda o: o.code == 1, batch=BROKEN),
    "--allow-inject": run("--allow-inject", lambda o: o.code == 1, batch=BROKEN),
}
PRINTED = "--network dense --json=false"
EVAL = {
    "--data": run("--data {other}", output),
    "--dataset": run("--dataset imagefolder", lambda o: o.code),
    "--checkpoint": run("--checkpoint {dense}", output),
    "--weights": run("--weights {weights}", lambda o: o.code, base="eval --data {data} --arch wrn-10-1"),
    "--arch": run("--arch wrn-10-1", lambda o: o.code, base="eval --data {data} --weights {weights}"),
    "--network": run("--network dense", lambda o: "dense" in o.stdout, batch=PRINTED),
    "--precision": run("--precision bf16", output),
    "--device": refused("--device cuda"),
    "--image-size": run("--image-size 16", output),
    "--batch-size": ranks("--batch-size 3", 1),
    "--bad-images": run("--bad-images skip", lambda o: o.code, "--data {bad} --checkpoint {seen}"),
    "--workers": refused("--workers -1"),
    "--timeout": ranks("--timeout 77", 1),
    "--json": run("--json=false", lambda o: o.stdout.startswith("{"), batch=PRINTED),
}
TABLES_OF_PLAN = "--compare 0.5,0.25 --sweep"
DRAWN = "--plot --color always"
LAYERS = "--image-size 16 --classes 7 --in-channels 1"
MEASURED = "--measured {measured}"
PLAN = {
    "--image-size": run("--image-size 16", layer("layer2.0.conv2", "flops"), batch=LAYERS),
    "--classes": run("--classes 7", layer("linear", "wire_bytes"), batch=LAYERS),
    "--in-channels": run("--in-channels 1", layer("conv1", "wire_bytes"), batch=LAYERS),
    "--world-size": run("--world-size 3", printed("total")),
    "--link-gbit": run("--link-gbit 1", printed("total")),
    "--latency-us": run("--latency-us 5", printed("total")),
    "--ranks-per-node": run("--ranks-per-node 2", printed("total")),
    "--node-gbit": run("--node-gbit 80", printed("total"), "--ranks-per-node 2"),
    "--measured": run(MEASURED, output),
    "--measured-dense": run("--measured-dense {measured_dense}", output, MEASURED),
    "--compare": run("--compare 0.5,0.25", lambda o: "ratios" in o.printed(), COMPACT, TABLES_OF_PLAN),
    "--sweep": run("--sweep", lambda o: "sweep" in o.printed(), COMPACT, TABLES_OF_PLAN),
    "--sweep-links": run("--sweep-links 3:7", lambda o: "sweep" in o.printed() and o.printed()["sweep"][0]),
    "--plot": run("--plot", lambda o: "\u2588" in o.stdout, "--json=false", DRAWN),
    "--color": run("--color always", lambda o: "\x1b[" in o.stdout, "--json=false", DRAWN),
    "--run": run("--run {run}", output),
    "--json": run("--json=false", output),
    "--arch": run("--arch resnet20", printed("total")),
    "--dropout": refused("--dropout 1.5"),
    "--mode": run("--mode compact", printed("total")),
    **{
        option: run(f"{option} {value}".strip(), printed("total"), f"{COMPACT} {sizes_but(option)}")
        for option, value in SIZES.items()
    },
    "--slice-output-ratio": run("--slice-output-ratio 0.5", printed("total"), FEEDBACK),
    "--sampler": run("--sampler bernoulli", output, COMPACT),
    "--approximate": run("--approximate backward", printed("total"), APPROXIMATE),
    "--term-norms": refused("--term-norms none", APPROXIMATE),
    "--input-gradient-ratio": run("--input-gradient-ratio 0.25", printed("total"), BACKWARD),
    "--weight-gradient-ratio": run("--weight-gradient-ratio 1", printed("total"), BACKWARD),
    "--resample-every": refused("--resample-every 0", COMPACT),
    "--anneal-steps": refused("--anneal-steps 0", COMPACT, ANNEAL + " --anneal-steps 0"),
    "--join": refused("--join never", COMPACT),
    "--wire": run("--wire bf16", printed("total")),
    "--reduce": run("--reduce slices", printed("total")),
    "--powersgd-rank": run("--powersgd-rank 2", printed("total")),
    "--bucket-mb": run("--bucket-mb 0.01", output, MEASURED),
}
ALLREDUCE = "--sizes 0.002 --wires bf16 --algorithm binomial --repeats 2"
BENCH_ALLREDUCE = {
    "--sizes": run("--sizes 0.002", each("bytes"), batch=ALLREDUCE),
    "--wires": run("--wires bf16", each("wire"), batch=ALLREDUCE),
    "--algorithm": told("--algorithm binomial", each("algorithm"), batch=ALLREDUCE),
    "--repeats": told("--repeats 2", each("repeats"), batch=ALLREDUCE),
    "--warmup": ranks("--warmup 1", 1),
    "--timeout": ranks("--timeout 77", 1),
    "--hierarchy": ranks("--hierarchy on", 1),
    "--json": run("--json=false", lambda o: o.stdout.startswith("{")),
}
STEP = (
    "--arch resnet20 --mode compact --sample-ratio 0.25 --wire bf16 --batch-size 3 --accumulate 2"
    " --precision bf16 --reduce slices --bucket-mb 0.5 --overlap off --threads 2 --image-size 9 --steps 2"
)


def told_by_step(option: str, value: str) -> Effect:
    return told(f"{option} {value}", printed(option[2:].replace("-", "_")), batch=STEP)


BENCH_STEP = {
    **{
        option: told_by_step(option, value)
        for option, value in zip(STEP.split()[::2], STEP.split()[1::2], strict=True)
    },
    "--classes": run("--classes 7", printed("wire_bytes")),
    "--warmup": ranks("--warmup 1", 1),
    "--json": run("--json=false", lambda o: len(o.stdout.splitlines())),
    "--dropout": ranks("--dropout 0.5", 1),
    "--minimal-k": ranks("--minimal-k 12", 1),
    "--channel-multiple": ranks("--channel-multiple 2", 1),
    "--channel-block": ranks("--channel-block 4", 1),
    "--coupling": ranks("--coupling none", 1),
    "--sample-classifier": ranks("--sample-classifier", 1),
    "--sampler": ranks("--sampler anneal", 1),
    "--anneal-steps": ranks("--anneal-steps 1", 1),
    "--resample-every": ranks("--resample-every 3", 1),
    "--join": ranks("--join zero", 1),
    "--slice-output-ratio": told(
        "--slice-output-ratio 0.5",
        printed("slice_output_ratio"),
        batch=f"{FEEDBACK} --slice-output-ratio 0.5",
    ),
    "--approximate": ranks("--approximate backward", 2),
    "--term-norms": ranks("--term-norms weights", 3),
    "--input-gradient-ratio": ranks("--input-gradient-ratio 0.25", 2),
    "--weight-gradient-ratio": ranks("--weight-gradient-ratio 0.75", 2),
    "--auto-ratio": run("--auto-ratio 0.5", lambda o: "auto: compact 0.5" in o.stderr, batch=AUTO),
    "--lr": ranks("--lr 0.2", 1),
    "--momentum": ranks("--momentum 0.5", 1),
    "--nesterov": ranks("--nesterov", 1),
    "--weight-decay": ranks("--weight-decay 0.1", 1),
    "--decay-vectors": ranks("--decay-vectors false", 1),
    "--label-smoothing": ranks("--label-smoothing 0.1", 1),
    "--device": refused("--device cuda"),
    "--powersgd-rank": run("--powersgd-rank 2", printed("wire_bytes")),
    "--backend": refused("--backend nccl", batch="--reduce slices --backend nccl"),
    "--cuda-graph": told(
        "--cuda-graph on", printed("cuda_graph"), batch="--reduce slices --steps 3 --cuda-graph on"
    ),
    "--cudnn": ranks("--cudnn fastest", 1),
    "--hierarchy": ranks("--hierarchy on", 1),
    "--timeout": ranks("--timeout 77", 1),
}
LOADER = "--split val --image-size 8 --batch-size 3 --workers 2 --batches 2 --decode whole"
DUMP = "--dump {out}.npy --count 8"
DATA = "--data {data} --json"
VIEWS = "--seed 1 --count 5"
BENCH_LOADER = {
    "--data": run("--data {data}", printed("images"), batch=DATA),
    "--dataset": run("--dataset mnist", lambda o: o.code),
    "--split": run("--split val", printed("images"), batch=LOADER),
    "--image-size": run("--image-size 8", printed("image_size"), batch=LOADER),
    "--decode": run("--decode whole", views, "--data {shards} --image-size 8 " + DUMP),
    "--bad-images": run("--bad-images skip", lambda o: o.code, "--data {bad} --batch-size 64"),
    "--batch-size": told("--batch-size 3", printed("batch_size"), batch=LOADER),
    "--workers": told("--workers 2", printed("threads"), batch=LOADER),
    "--batches": told("--batches 2", printed("batches"), batch=LOADER),
    "--warmup": refused("--warmup 0"),
    "--seed": run("--seed 1", lambda o: seen(o)[:5], DUMP, VIEWS),
    "--dump": run("--dump {out}.npy", lambda o: o.folder.with_suffix(".npy").exists(), batch=DUMP),
    "--count": run("--count 5", lambda o: len(seen(o)), DUMP, VIEWS),
    "--json": run("--json", lambda o: len(o.stdout.splitlines()) == 1, batch=DATA),
}
VALIDATION = "--split val --json"
PACK = {
    "--split": run("--split val", lambda o: {name[:3] for name in o.files()}, batch=VALIDATION),
    "--max-side": run("--max-side 12", Outcome.files),
    "--short-side": run("--short-side 12", Outcome.files),
    "--quality": run("--quality 20", Outcome.files, "--max-side 12"),
    "--per-shard": run("--per-shard 7", lambda o: sorted(o.files())),
    "--order": run("--order sorted", Outcome.files),
    "--bad-images": run("--bad-images skip", lambda o: o.code, base="pack {bad} {out} --max-side 12"),
    "--workers": refused("--workers 100000"),
    "--json": run("--json", lambda o: o.stdout.startswith("{"), batch=VALIDATION),
}
INSPECT = {"--json": run("--json", output), "--tensors": run("--tensors", output)}
EXPORT = {"--network": run("--network sampled", lambda o: o.folder.with_suffix(".pt").stat().st_size)}
PROGRAM_ITSELF = {
    "--config": run("--config {config}", output, base="inspect {compact}"),
    "--version": run("--version", output),
}
TABLES = {
    "": PROGRAM_ITSELF,
    "train": TRAIN,
    "eval": EVAL,
    "plan": PLAN,
    "bench allreduce": BENCH_ALLREDUCE,
    "bench step": BENCH_STEP,
    "bench loader": BENCH_LOADER,
    "pack": PACK,
    "inspect": INSPECT,
    "export": EXPORT,
    "completion": {},
}
# Of the ranks above 0 of a start in which no two have the same options: what those options need beside them.
NEEDED = {("bench step", 1): COMPACT, ("bench step", 2): APPROXIMATE, ("bench step", 3): APPROXIMATE}


def ranks_of(command: str) -> list[str]:
    """What each rank above 0 is given in a start in which no two have the same options."""
    entries = [effect for effect in TABLES[command].values() if effect.kind == "ranks"]
    ranks = range(1, 1 + max(int(effect.beside) for effect in entries))
    return [
        " ".join([NEEDED.get((command, rank), ""), *(e.changed for e in entries if e.beside == str(rank))])
        for rank in ranks
    ]


def outcomes(starts: Starts, command: str, effect: Effect) -> tuple[Outcome, Outcome]:
    """Without the option, and with it."""
    if effect.kind == "ranks":
        return starts.of(command), starts.of_ranks(command, *ranks_of(command))
    changed = effect.batch or effect.changed
    return (
        starts.of(command, effect.beside, effect.base),
        starts.of(command, f"{effect.beside} {changed}".strip(), effect.base),
    )


def is_seen(effect: Effect, without: Outcome, changed: Outcome) -> bool:
    return effect.look(without) != effect.look(changed)


class Options(ProgramTest):
    starts: ClassVar[Starts]

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = cls.make_folder()
        cls.starts = Starts(cls.folder)

    def expect_effects(self, command: str) -> None:
        self.assertEqual(set(TABLES[command]), set(options_of_help(program_help(command))))
        for option, effect in TABLES[command].items():
            with self.subTest(command=command, option=option):
                self.assertEqual(effect.changed.split()[0].partition("=")[0], option)
                self.assertIn(effect.changed, effect.batch or effect.changed)
                without, changed = outcomes(self.starts, command, effect)
                try:
                    seen = is_seen(effect, without, changed)
                except (OSError, ValueError, KeyError, IndexError) as problem:
                    self.fail(f"{problem!r}: {without.stderr}\n{changed.stderr}")
                self.assertTrue(seen, f"the same without it:\n{changed.stdout}\n{changed.stderr}")

    def test_a_run_tells_what_was_changed(self) -> None:
        for option, effect in TRAIN.items():
            without, changed = outcomes(self.starts, "train", effect)
            with self.subTest(option=option):
                if changed.code == 2:
                    self.assertEqual(option, "--dataset")  # refused, before anything is written
                elif option == "--auto-ratio":  # what was chosen is there instead: what was fastest here
                    chosen = re.search(r"auto: chose (\w+)", changed.stderr)
                    self.assertEqual(changed.config()["mode"], f'"{chosen and chosen[1]}"', changed.stderr)
                else:
                    name = option.removeprefix("--")
                    self.assertIn(name, changed.config())
                    self.assertNotEqual(changed.config()[name], without.config().get(name))

    def test_an_option_that_is_ignored_is_found(self) -> None:
        """It leaves what the command does without it. Looks see no difference between two such starts."""
        for command in ("train", "plan", "bench loader", "pack"):
            without = self.starts.of(command)
            again = self.starts.anew(BASES[command])
            self.assertNotEqual(without.folder, again.folder)
            effects = [effect for effect in TABLES[command].values() if not effect.beside and not effect.base]
            self.assertGreater(len(effects), 4)
            for effect in effects:
                self.assertFalse(is_seen(effect, without, again), effect.changed)

    def test_all_commands_have_a_table(self) -> None:
        self.assertEqual(set(TABLES), {"", *COMMANDS})

    def test_help_fits_a_terminal_and_has_examples(self) -> None:
        for command in ("bench", *COMMANDS):
            lines = program_help(command).splitlines()
            self.assertLessEqual(max(map(len, lines)), 120, command)
            if command == "completion":
                continue  # which has nothing but an example
            (begin,) = [number for number, line in enumerate(lines) if line == "Examples:"]
            shown = [line for line in lines[begin + 1 :] if line.strip()]
            self.assertTrue(shown)
            self.assertTrue(all(f"slicereduce {command.split()[0]}" in line for line in shown), command)

    def test_of_the_program(self) -> None:
        self.expect_effects("")

    def test_of_train(self) -> None:
        self.expect_effects("train")

    def test_of_eval(self) -> None:
        self.expect_effects("eval")

    def test_of_plan(self) -> None:
        self.expect_effects("plan")

    def test_of_bench_allreduce(self) -> None:
        self.expect_effects("bench allreduce")

    def test_of_bench_step(self) -> None:
        self.expect_effects("bench step")

    def test_of_bench_loader(self) -> None:
        self.expect_effects("bench loader")

    def test_of_pack(self) -> None:
        self.expect_effects("pack")

    def test_of_inspect(self) -> None:
        self.expect_effects("inspect")

    def test_of_export(self) -> None:
        self.expect_effects("export")

    def test_of_completion(self) -> None:
        self.expect_effects("completion")


if __name__ == "__main__":
    unittest.main()
