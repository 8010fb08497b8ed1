"""The pictures of README and docs/how-it-works.md are what scripts/pictures draws, what they show obeys the
rules of what they explain, and nothing is written over anything else.

Needs the program's path in SLICEREDUCE.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise, product
from pathlib import Path
from random import Random
from typing import NamedTuple

import tree

sys.path.append(str(tree.ROOT / "scripts"))

from picture import block, choices, coupled, factors, feedback, overlap, plan, queueing
from picture.svg import Drawing

IMAGES = tree.ROOT / "docs/images"
SVG = "{http://www.w3.org/2000/svg}"


def pictures(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, tree.ROOT / "scripts/pictures", *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def drawn() -> list[Path]:
    return [IMAGES / "overview.svg", *sorted(IMAGES.glob("how_*.svg"))]


def layers(*options: str) -> dict[str, dict]:
    """What the program says of each layer."""
    command = [os.environ["SLICEREDUCE"], "plan", "--json", *options]
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {layer["name"]: layer for layer in said["layers"]}


class Files(unittest.TestCase):
    def test_are_what_the_script_draws(self):
        done = pictures("--check")
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_each_is_on_a_page(self):
        said = tree.text(Path("README.md")) + tree.text(Path("docs/how-it-works.md"))
        self.assertEqual(len(drawn()), 6)
        self.assertEqual([file.name for file in drawn() if f"images/{file.name})" not in said], [])

    def test_the_check_finds_what_is_changed_or_gone_and_changes_nothing(self):
        with tempfile.TemporaryDirectory(prefix="slicereduce.") as folder:
            changed, gone = [Path(shutil.copy(file, folder)) for file in drawn()][:2]
            self.assertEqual(pictures("--check", "--out", folder).returncode, 0)
            changed.write_text(changed.read_text().replace("gather", "scatter"))
            gone.unlink()
            before = changed.read_text()
            done = pictures("--check", "--out", folder)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, rf"\Ascripts/pictures: .*{changed.name}, {gone.name}\n\Z")
            self.assertEqual((changed.read_text(), gone.exists()), (before, False))
            self.assertEqual(pictures("--out", folder).stdout, f"changed: {changed.name}, {gone.name}\n")
            self.assertEqual(pictures("--check", "--out", folder).returncode, 0)


class Text(NamedTuple):
    """About where a text stands: no font is measured, and letters are taken to be as wide as Helvetica's on
    average."""

    words: str
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Text") -> bool:
        beside = self.right <= other.left or other.right <= self.left
        return not (beside or self.bottom <= other.top or other.bottom <= self.top)


def texts(svg: ET.Element) -> list[Text]:
    found = []
    for element in svg.iter(f"{SVG}text"):
        look = element.get("class", "").split()
        size = 16 if "head" in look else 14 if {"small", "code"} & set(look) else 15
        width = len(element.text) * size * (0.6 if "code" in look else 0.5)
        x, y = float(element.get("x")), float(element.get("y"))
        before = width if "end" in look else width / 2 if "mid" in look else 0
        if element.get("transform"):
            found.append(Text(element.text, x - size, y - before, x, y - before + width))
        else:
            found.append(Text(element.text, x - before, y - 0.75 * size, x - before + width, y))
    return found


class Looks(unittest.TestCase):
    def test_has_a_title_and_a_ground_of_its_own(self):
        for file in drawn():
            svg = ET.parse(file).getroot()
            self.assertEqual((svg.get("role"), svg.get("aria-labelledby")), ("img", "title"))
            self.assertEqual(svg.find(f"{SVG}title").get("id"), "title")
            self.assertGreater(len(svg.find(f"{SVG}title").text), 60)
            ground = svg.find(f"{SVG}rect")
            self.assertEqual(float(ground.get("width")), float(svg.get("width")) - 2)

    def test_no_text_is_over_another_or_beyond_the_frame(self):
        for file in drawn():
            svg = ET.parse(file).getroot()
            frame = Text("frame", 8, 8, float(svg.get("width")) - 8, float(svg.get("height")) - 8)
            for one in texts(svg):
                inside = one.left >= frame.left and one.right <= frame.right
                self.assertTrue(inside and one.top >= frame.top and one.bottom <= frame.bottom, one)
            for one, other in combinations(texts(svg), 2):
                self.assertFalse(one.overlaps(other), f"{file.name}: {one} and {other}")

    def test_the_check_sees_texts_that_overlap(self):
        drawing = Drawing("title", 200, 100)
        drawing.text(10, 40, "some words")
        drawing.text(60, 45, "others", "small")
        drawing.text(150, 45, "beside", "small")
        drawing.text(10, 80, "below")
        first, second, *others = texts(ET.fromstring(drawing.svg()))
        self.assertTrue(first.overlaps(second) and second.overlaps(first))
        self.assertFalse(any(first.overlaps(other) or second.overlaps(other) for other in others))


class Choices(unittest.TestCase):
    def test_topk_keeps_the_largest_and_of_equals_the_first(self):
        self.assertEqual(choices.topk([1, 5, 3, 5, 2], 2), [1, 3])
        self.assertEqual(choices.topk([2, 2, 2], 2), [0, 1])
        kept = choices.topk(plan.norms(), plan.size())
        left = [norm for channel, norm in enumerate(plan.norms()) if channel not in kept]
        self.assertEqual(len(kept), plan.size())
        self.assertGreater(min(plan.norms()[channel] for channel in kept), max(left))

    def test_as_many_are_kept_as_the_program_keeps(self):
        for ratio, (minimal_k, multiple) in product((0.1, 0.25, 0.3, 0.8, 1), ((8, 8), (5, 1), (1, 3))):
            by_name = layers(
                *("--arch", "resnet20", "--mode", "compact", "--sample-ratio", str(ratio)),
                *("--minimal-k", str(minimal_k), "--channel-multiple", str(multiple)),
            )
            for stage, channels in ((1, 16), (2, 32), (3, 64)):
                layer = by_name[f"layer{stage}.1.conv2"]
                kept = channels * layer["flops"] / layer["dense_flops"]
                self.assertEqual(choices.kept_count(channels, ratio, minimal_k, multiple), kept)

    def test_each_step_of_each_sampler_keeps_k(self):
        for steps in plan.plans().values():
            self.assertEqual([len(set(kept)) for kept in steps], [plan.size()] * plan.STEPS)

    def test_topk_stays_and_cyclic_has_all_before_it_begins_anew(self):
        plans = plan.plans()
        self.assertEqual(len({tuple(kept) for kept in plans["topk"]}), 1)
        turn = plan.CHANNELS // plan.size()
        for first in range(plan.STEPS - turn + 1):
            of_turn = [channel for kept in plans["cyclic"][first : first + turn] for channel in kept]
            self.assertEqual(sorted(of_turn), list(range(plan.CHANNELS)))

    def test_gumbel_prefers_large_norms(self):
        random = Random(1)
        kept = [choices.gumbel([1, 1, 1, 9], 1, random) for _ in range(4000)]
        # 0.9 * 9 / 12 + 0.1 / 4, within four standard deviations.
        self.assertAlmostEqual(kept.count([3]) / len(kept), 0.7, delta=0.03)

    def test_aged_sends_those_first_that_are_overdue(self):
        self.assertEqual(choices.aged([9, 1, 1, 1], [0, 3, 3, 0], 1), [0])
        self.assertEqual(choices.aged([9, 1, 1, 1], [0, 16, 17, 0], 1), [2])


class Coupled(unittest.TestCase):
    def test_costs_what_the_program_says(self):
        for coupling, is_coupled in (("none", False), ("block", True)):
            by_name = layers(
                *("--arch", "resnet20", "--mode", "compact", "--coupling", coupling),
                *("--sample-ratio", str(block.RATIO)),
            )
            part = block.sampled_block(coupled.CHANNELS, coupled.SEED, is_coupled)
            for name, matrix in part._asdict().items():
                layer = by_name[f"layer2.1.{name}"]
                self.assertEqual(matrix.fraction(), layer["flops"] / layer["dense_flops"])

    def test_has_the_rows_that_are_the_next_ones_columns(self):
        part = block.sampled_block(coupled.CHANNELS, coupled.SEED, is_coupled=True)
        self.assertEqual(part.conv1.rows, part.conv2.columns)


def one_after_the_other(spans: list[queueing.Span]) -> bool:
    return all(before.end <= after.start for before, after in pairwise(spans))


class Overlap(unittest.TestCase):
    def test_the_first_bucket_is_small_and_so_is_the_last(self):
        self.assertEqual(queueing.lay_out_buckets([2, 3, 5, 5, 6], 8), [[0], [1, 2], [3], [4]])
        self.assertEqual(queueing.lay_out_buckets([9, 1, 1], 8), [[0], [1], [2]])
        self.assertEqual(queueing.lay_out_buckets([1, 1, 3, 3, 1], 8), [[0, 1], [2, 3], [4]])
        self.assertEqual(queueing.lay_out_buckets([0.25, 0.25], 8), [[0, 1]])

    def test_allreduces_do_not_overlap_and_none_starts_before_its_bucket_is_full(self):
        for step in (overlap.flat(), overlap.overlapped()):
            self.assertTrue(one_after_the_other(step.wire.spans))
            self.assertTrue(one_after_the_other(step.processor.spans))
            for filled, sent in zip(step.filling, step.wire.spans, strict=True):
                self.assertGreaterEqual(sent.start, filled.end)

    def test_updates_follow_their_allreduce_and_backward(self):
        step = overlap.overlapped()
        backward_ends = step.filling[-1].end
        updates = [span for span in step.processor.spans if span.name.startswith("SGD")]
        for update, sent in zip(updates, step.wire.spans, strict=True):
            self.assertGreaterEqual(update.start, max(sent.end, backward_ends))

    def test_the_flat_buffer_is_all_exposed_and_the_buckets_are_not(self):
        flat, overlapped = overlap.flat(), overlap.overlapped()
        self.assertAlmostEqual(flat.exposed(), flat.wire.spans[0].end - flat.wire.spans[0].start)
        self.assertLess(overlapped.exposed(), flat.exposed() / 2)
        self.assertLess(overlapped.end(), flat.end())


class Feedback(unittest.TestCase):
    def test_sent_and_owed_are_the_sum_of_all_gradients(self):
        gradients, sent = [0] * feedback.SLICES, [0] * feedback.SLICES
        for step in feedback.steps():
            gradients = [a + b for a, b in zip(gradients, step.gradient, strict=True)]
            sent = [a + b for a, b in zip(sent, step.sent, strict=True)]
            self.assertEqual([a + b for a, b in zip(sent, step.owed, strict=True)], gradients)

    def test_a_step_sends_some_slices_with_all_that_they_were_owed(self):
        for step in feedback.steps():
            self.assertEqual(sum(amount > 0 for amount in step.sent), feedback.KEPT)
            for before, sent, owed in zip(step.before, step.sent, step.owed, strict=True):
                self.assertIn((sent, owed), ((before, 0), (0, before)))


class Factors(unittest.TestCase):
    def test_are_as_large_as_the_program_says(self):
        """A convolution of ResNet-18 with the picture's sizes, less the two vectors of its batch norm."""
        options = ("--arch", "resnet18", "--reduce", "powersgd", "--powersgd-rank", str(factors.RANK))
        layer = layers(*options)["layer2.0.conv1"]
        vectors = 2 * factors.ROWS
        self.assertEqual(
            [layer["dense_bytes"] / 4 - vectors, layer["wire_bytes"] / 4 - vectors], list(factors.sizes())
        )

    def test_a_bucket_has_q_behind_its_own_p_and_the_next_ones(self):
        step = factors.step()
        self.assertEqual([span.name for span in step.wire.spans], ["P0", "P1", "Q0", "P2", "Q1", "Q2"])
        self.assertTrue(one_after_the_other(step.wire.spans))
        self.assertTrue(one_after_the_other(step.processor.spans))

    def test_q_is_computed_when_p_is_back_and_sent_when_it_is_computed(self):
        step = factors.step()
        wire = {span.name: span for span in step.wire.spans}
        processor = {span.name: span for span in step.processor.spans}
        for bucket in range(len(factors.LAYERS)):
            computed = processor[f"Q{bucket}"]
            self.assertGreaterEqual(computed.start, wire[f"P{bucket}"].end)
            self.assertGreaterEqual(wire[f"Q{bucket}"].start, computed.end)
            self.assertGreaterEqual(processor[f"SGD {bucket}"].start, wire[f"Q{bucket}"].end)


if __name__ == "__main__":
    unittest.main()
