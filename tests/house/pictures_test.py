"""The pictures of how it works are what scripts/pictures draws, and what they show is by the rules."""

import math
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import tree

sys.path.append(str(tree.ROOT / "scripts"))

from drawings import coupled, factors, feedback, overlap, plan


def check(root: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, root / "scripts/pictures", "--check"], capture_output=True, text=True
    )


class Pictures(unittest.TestCase):
    def test_are_what_would_be_drawn(self):
        done = check(tree.ROOT)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_changed_one_is_found(self):
        root = Path(self.enterContext(tempfile.TemporaryDirectory()))
        shutil.copytree(tree.ROOT / "scripts", root / "scripts")
        shutil.copytree(tree.ROOT / "docs/images", root / "docs/images")
        self.assertEqual(check(root).returncode, 0)
        changed = root / "docs/images/how_factors.svg"
        changed.write_text(changed.read_text(encoding="utf-8").replace("512 x 4", "512 x 5", 1))
        (root / "docs/images/how_plan.svg").unlink()
        done = check(root)
        self.assertEqual(done.returncode, 1)
        for name in ("how_factors.svg", "how_plan.svg"):
            self.assertIn(name, done.stderr)
        self.assertNotIn("how_overlap.svg", done.stderr)

    def test_each_is_on_a_page(self):
        text = tree.text(Path("docs/how-it-works.md"))
        for file in (tree.ROOT / "docs/images").glob("how_*.svg"):
            self.assertIn(f"(images/{file.name})", text)


class Rules(unittest.TestCase):
    def test_topk_keeps_the_largest(self):
        norms = plan.norms()
        for kept in plan.topk(norms, 8, 3):
            self.assertEqual(len(kept), 8)
            left_out = set(range(len(norms))) - kept
            self.assertGreater(min(norms[c] for c in kept), max(norms[c] for c in left_out))

    def test_a_step_keeps_the_formulas_number(self):
        cases = ((16, 0.5, 4, 8), (16, 0.1, 4, 4), (16, 0.3, 1, 4), (3, 0.5, 4, 3), (16, 1, 4, 16))
        for channels, ratio, minimal_k, expected in cases:
            self.assertEqual(plan.kept(channels, ratio, minimal_k), expected)

    def test_cyclic_keeps_all_in_turn(self):
        plans = plan.cyclic(plan.norms(), 8, 4)
        self.assertEqual(plans[0] | plans[1], set(range(plan.CHANNELS)))
        self.assertEqual(plans[:2], plans[2:])

    def test_gumbel_keeps_as_many(self):
        plans = plan.gumbel(plan.norms(), 8, 200)
        self.assertEqual({len(kept) for kept in plans}, {8})
        self.assertGreater(len({frozenset(kept) for kept in plans}), 100)

    def test_coupling_squares_the_ratio_of_the_first_convolution(self):
        ratio = coupled.computed(coupled.first(coupled=False))
        self.assertEqual(ratio, coupled.computed(coupled.second()))
        self.assertEqual(coupled.computed(coupled.first(coupled=True)), ratio**2)

    def test_what_is_sent_and_owed_is_all(self):
        history = feedback.run(slices=8, a_step=2, steps=11)
        for step, (sent, owed) in enumerate(feedback.sums(history), start=1):
            self.assertEqual(sent + owed, 8 * step)
        self.assertEqual(max(max(held) for held, _ in history), 4)  # nobody waits for longer than a turn

    def test_factors_have_as_many_numbers_as_their_sides(self):
        self.assertEqual(factors.numbers_of(10, 20, 3), (200, 90))


class Simulation(unittest.TestCase):
    def test_no_allreduce_is_early_or_beside_another(self):
        for capacity in (1, 4, 6, 100):
            buckets = overlap.buckets_of(overlap.LAYERS, capacity)
            self.assertEqual([i for bucket in buckets for i in bucket], list(range(len(overlap.LAYERS))))
            step = overlap.simulate(overlap.LAYERS, buckets)
            for ready, allreduce in zip(step.ready, step.allreduces, strict=True):
                self.assertGreaterEqual(allreduce.begin, ready)
            for before, after in zip(step.allreduces, step.allreduces[1:], strict=False):
                self.assertGreaterEqual(after.begin, before.end)
            for allreduce, update in zip(step.allreduces, step.updates, strict=True):
                self.assertGreaterEqual(update.begin, max(allreduce.end, step.backward[-1].end))

    def test_both_steps_send_and_compute_the_same(self):
        one = overlap.simulate(overlap.LAYERS, [list(range(len(overlap.LAYERS)))])
        several = overlap.simulate(overlap.LAYERS, overlap.buckets_of(overlap.LAYERS, 6))
        self.assertEqual(one.backward, several.backward)
        for of in ("allreduces", "updates"):
            lengths = [
                math.fsum(span.end - span.begin for span in getattr(step, of)) for step in (one, several)
            ]
            self.assertAlmostEqual(*lengths)
        self.assertLess(several.end, one.end)

    def test_a_bucket_is_no_fuller_than_it_may_be(self):
        for bucket in overlap.buckets_of(overlap.LAYERS, 6):
            self.assertTrue(len(bucket) == 1 or sum(overlap.LAYERS[i].mb for i in bucket) <= 6)


if __name__ == "__main__":
    unittest.main()
