"""The figures in the text of README and docs/ are what the raw lines of the benchmarks come to, and each
number that looks measured is declared, as one or as what else it is.

Needs the program's path in SLICEREDUCE.
"""

import subprocess
import sys
import tomllib
import unittest
from pathlib import Path

import tree

sys.path.append(str(tree.ROOT / "scripts/bench"))

from prose import figure, in_words, problems_of, what_looks_measured

MOST_BY_HAND = 15


def problems(text: str, *figures, not_measured: tuple[str, ...] = ()) -> list[str]:
    return problems_of("p.md", text, [figure("p.md", *each) for each in figures], not_measured)


def seen(text: str) -> list[str]:
    return [match[0] for match in what_looks_measured(text)]


class Figures(unittest.TestCase):
    def test_are_what_was_measured(self):
        done = subprocess.run([tree.ROOT / "scripts/bench/figures"], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_few_are_typed_by_hand_and_say_how_they_came(self):
        entries = tomllib.loads(tree.text(Path("docs/measured/by_hand.toml")))
        script = tree.text(Path("scripts/bench/figures"))
        self.assertLessEqual(len(entries), MOST_BY_HAND)
        for name, entry in entries.items():
            with self.subTest(name=name):
                self.assertEqual(entry.keys(), {"what", "values", "run", "machine", "date"})
                self.assertIn(f'by_hand("{name}")', script)


class TheCheckItself(unittest.TestCase):
    LOST = ("rank 4 lost {:.1f} points", 0.912)

    def test_what_is_said_as_declared_is_no_problem(self):
        self.assertEqual(problems("rank 4\nlost 0.9 points.", self.LOST), [])
        self.assertEqual(problems("made 2,128 views", ("made {:,.0f} views", 2128.4)), [])
        self.assertEqual(problems("with a tenth of its bytes", ("with {} of its", in_words(0.104))), [])

    def test_a_wrong_number_is_found(self):
        for wrong in ("0.8", "9", "0.92", "10.9"):
            found = problems(f"rank 4 lost {wrong} points.", self.LOST)
            self.assertIn('expected "rank 4 lost 0.9 points"', found[0])
            self.assertIn(f'the page says "rank 4 lost {wrong} points"', found[0])
        self.assertIn("expected", problems("with a quarter of its bytes", ("with {} of its", "a tenth"))[0])

    def test_a_number_that_goes_on_is_another_one(self):
        for first, last in (("12", "3"), ("2", "31")):
            self.assertNotEqual(problems(f"{first} to {last}", ("{:.0f} to {:.0f}", 2.1, 3.1)), [])

    def test_words_that_are_gone_or_come_twice_are_found(self):
        self.assertIn("does not say it", problems("Nothing was lost.", self.LOST)[0])
        self.assertIn("2 times", problems("rank 4 lost 0.9 points, rank 4 lost 0.9 points", self.LOST)[0])
        self.assertIn("does not say it", problems("None.", not_measured=("of 1 MB",))[0])

    def test_a_new_figure_is_found_with_its_line(self):
        self.assertEqual(
            problems("rank 4 lost 0.9 points\nin 30 s.", self.LOST),
            ['p.md:2: 30 in "rank 4 lost 0.9 points in 30 s." is not declared'],
        )

    def test_what_is_declared_as_no_measurement_is_one_thing_alone(self):
        self.assertEqual(problems("buckets of 1 MB", not_measured=("buckets of 1 MB",)), [])
        self.assertEqual(len(problems("buckets of 1 MB, in 3 MB", not_measured=("buckets of 1 MB",))), 1)
        self.assertIn("need not", problems("rank 4", not_measured=("rank 4",))[0])

    def test_what_looks_measured(self):
        for text, figures in {
            "took 7 minutes, 3 ms and 1.5 hours": ["7", "3", "1.5"],
            "2 to 3 points, 86 % or 1.17x": ["2", "3", "86", "1.17"],
            "2,128 views, 676 others and 0.85 of all": ["2,128", "676", "0.85"],
            "64 images/s, 1,100 images a second": ["64", "1,100"],
            "a third of the time, half a point, three times as long": ["third", "half", "three times"],
        }.items():
            self.assertEqual(seen(text), figures, text)

    def test_what_does_not(self):
        for text in (
            "1 to 25 Gbit/s, 100 and 300 Mbit/s",
            "LibTorch 2.11, Open MPI 4.1.4, ResNet-152, CIFAR-100, arXiv:1805.08079, 2019",
            "64x64, 1/8, 2^28, 1,000 classes, 32 images, 60 to 130 steps",
            "compact 0.5, ratio 0.25, rank 16, two workers, half of the channels",
            "`--lr 0.15` and [this](page-0.15.md)",
            "```sh\nsleep 30 s\n```",
            "<!-- table x -->\n| 0.15 |\n<!-- end -->",
            "| `--lr` | 0.15 | Learning rate. |",
        ):
            self.assertEqual(seen(text), [], text)


if __name__ == "__main__":
    unittest.main()
