"""The page of scripts/report says what the runs' files say, and damaged ones are refused."""

import html.parser
import json
import math
import os
import struct
import subprocess
import sys
import unittest
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from synthetic_runs import (
    COMM_MS,
    DENSE_BYTES,
    PARTS,
    REPOSITORY,
    STEP_MS,
    STEPS_PER_EPOCH,
    ReportTest,
    evaluation_line,
    lines_of,
    step_line,
    write_lines,
)

sys.path.insert(0, str(REPOSITORY / "scripts"))

from report_page.groups import Place, curve, differing, groups_of, points, shared, thinned
from report_page.runs import read_runs

PROGRAM = os.environ.get("SLICEREDUCE", str(REPOSITORY / "build" / "slicereduce"))
PLOTS = [f"{what}-{over}" for what in ("accuracy", "loss") for over in ("time", "epochs", "bytes")] + ["step"]
VOID = {"meta", "wbr", "br", "link", "img"}


class Page(html.parser.HTMLParser):
    """Tables by section, as lists of rows of texts, and what else is asked about."""

    def __init__(self, content: str):
        super().__init__()
        self.tables: dict[str, list[list[list[str]]]] = {}
        self.references: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.open: list[str] = []
        self.section = ""
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        known = dict(attributes)
        self.tags.add(tag)
        self.references += [
            known[name] for name in ("src", "href", "xlink:href", "action", "srcset") if name in known
        ]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = known["id"]
        tables = self.tables.setdefault(self.section, [])
        if tag == "table":
            tables.append([])
        elif tag == "tr":
            tables[-1].append([])
        elif tag in ("td", "th"):
            tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if self.open.pop() != tag:
            raise AssertionError(f"</{tag}> closes another element")

    def handle_data(self, data: str) -> None:
        data = data.replace("\N{NO-BREAK SPACE}", " ").replace("\N{NON-BREAKING HYPHEN}", "-")
        self.texts.append(data)
        if "table" in self.open and {"td", "th"} & set(self.open):
            # What is set small goes on behind a line.
            self.tables[self.section][-1][-1][-1] += f"|{data}" if "small" in self.open else data

    def rows(self, section: str, table: int = 0) -> list[dict[str, str]]:
        head, *rows = self.tables[section][table]
        return [dict(zip(head, row, strict=True)) for row in rows]

    @property
    def text(self) -> str:
        return "".join(self.texts)


class Numbers(ReportTest):
    def test_a_run_says_what_its_files_say(self):
        page = Page(self.page_of(self.run_dir("plain")))
        (run,) = page.rows("runs")
        expected = {
            "run": "plain",
            "top-1, %": "72.00",
            "training, s": "2.25",
            "images/s": "390",
            "sent in a step": "2 kB",
            "sent in all": "80 kB",  # 10 * 4,000 + 20 * 2,000
            "bytes saved": "66.7 %",
            "FLOPs of a step": "6 GFLOP",
            "FLOPs saved": "75.0 %",
        }
        self.assertEqual(run, expected)
        (last,) = page.rows("accuracy")
        self.assertEqual((last["epochs"], last["sent"], last["best top-1, %"]), ("3.00", "80 kB", "72.00"))

    def test_bytes_add_up_over_the_steps_of_each_line(self):
        (run,) = read_runs([self.run_dir("plain")])
        # Each step has the bytes of the first line that comes at it or later.
        ends = {line["step"]: line["wire_bytes"] for line in run.step_lines}
        of_steps = [ends[min(end for end in ends if end >= step)] for step in range(1, 31)]
        for line in run.evaluations:
            self.assertEqual(run.spent(line["step"]).wire_bytes, sum(of_steps[: line["step"]]))
        self.assertEqual(run.total("wire_bytes"), sum(of_steps))
        self.assertEqual(run.wire_saved, 1 - sum(of_steps) / (30 * DENSE_BYTES))
        self.assertEqual(run.spent(20).epochs, 2)
        self.assertAlmostEqual(run.spent(20).seconds, 20 * STEP_MS / 1e3)

    def test_parts_of_a_step_are_means_and_what_is_hidden_is_apart(self):
        (run,) = Page(self.page_of(self.run_dir("plain"))).rows("step")
        self.assertEqual(run["plan + gather, ms"], f"{PARTS['plan_ms'] + PARTS['gather_ms']:.1f}")
        self.assertEqual(run["step, ms"], f"{STEP_MS:.1f}")
        self.assertEqual(run["hidden AllReduce, ms"], f"{COMM_MS - PARTS['exposed_comm_ms']:.1f}")

    def test_means_count_a_line_by_its_steps(self):
        lines = [step_line(1), step_line(4)]
        lines[0]["forward_ms"], lines[1]["forward_ms"] = 100.0, 20.0
        (run,) = read_runs([self.run_dir("uneven", lines=lines, is_complete=False)])
        self.assertEqual(run.mean("forward_ms"), (100 + 3 * 20) / 4)

    def test_both_networks_are_told_apart(self):
        self.draws = True
        page = Page(self.page_of(self.run_dir("small", top1={"sampled": 60.0, "dense": 50.0})))
        self.assertEqual(page.rows("runs")[0]["top-1, %"], "62.00|sampled 62.00|exact 52.00")
        self.assertEqual([row["network"] for row in page.rows("accuracy")], ["sampled", "exact"])
        self.assertIn("small, sampled network", page.text)
        self.assertIn("small, exact network", page.text)

    def test_what_is_missing_is_a_dash(self):
        lines = lines_of(1, {})
        for line in lines:
            del line["flops"], line["comm_ms"]
        page = Page(self.page_of(self.run_dir("old", lines=lines, is_complete=False)))
        (run,) = page.rows("runs")
        for name in ("top-1, %", "FLOPs of a step", "FLOPs saved"):
            self.assertEqual(run[name], "\N{EM DASH}", name)
        self.assertEqual(page.rows("step")[0]["hidden AllReduce, ms"], "\N{EM DASH}")
        self.assertIn("No network was evaluated yet", page.text)


class SideBySide(ReportTest):
    def test_options_that_differ_are_told_and_the_same_ones_folded(self):
        runs = [self.run_dir("a"), self.run_dir("b", mode="compact", lr=0.2)]
        page = Page(self.page_of(*runs))
        options = [row["options that differ"] for row in page.rows("runs")]
        self.assertEqual(options, ["lr = 0.1 mode = dense", "lr = 0.2 mode = compact"])
        same = {row["option"]: row["value"] for row in page.rows("runs", 1)}
        self.assertEqual((same["batch-size"], same["nesterov"], same["world size"]), ("16", "false", "2"))
        self.assertFalse({"lr", "mode", "run-dir"} & set(same))

    def test_many_options_that_differ_have_a_table_of_their_own(self):
        changes = {"lr": 1, "batch_size": 8, "mode": "compact", "nesterov": True, "reduce": "dense"}
        page = Page(self.page_of(self.run_dir("a"), self.run_dir("b", **changes)))
        table = {row["option that differs"]: (row["a"], row["b"]) for row in page.rows("runs", 1)}
        self.assertEqual(table["reduce"], ("slices", "dense"))
        self.assertEqual(len(table), 5)

    def test_seeds_are_one_line_with_a_band(self):
        self.draws = True
        seeds = [
            self.run_dir(f"dense-{seed}", seed=seed, top1={"dense": 70.0 + seed**2}) for seed in (1, 2, 3)
        ]
        other = self.run_dir("compact", mode="compact")
        page_text = self.page_of(*seeds, other)
        page = Page(page_text)
        self.assertIn("dense, 3 seeds", page.text)
        self.assertEqual(page_text.count("FillBetween"), 3)  # one in each plot of accuracy
        group, *runs = page.rows("runs")
        self.assertEqual(group["run"], "dense, 3 seeds|median, least to most")
        self.assertEqual(group["options that differ"], "mode = dense")
        self.assertEqual(group["top-1, %"], "76.00|73.00 to 81.00")
        self.assertEqual([run["options that differ"] for run in runs[:3]], [f"seed = {n}" for n in (1, 2, 3)])

    def test_a_curve_is_the_median_between_least_and_most(self):
        folders = [self.run_dir(f"s{n}", seed=n, top1={"dense": 70.0 + n**2}) for n in (1, 2, 3)]
        folders.append(self.run_dir("s4", seed=4, epochs=2, top1={"dense": 60.0}, is_complete=False))
        (group,) = groups_of(read_runs(folders))
        line = curve(
            points(run, run.evaluations, "top1", lambda spent: spent.wire_bytes) for run in group.runs
        )
        # As far as all have come: two epochs.
        expected = [(40_000, 72.5, 60, 79), (60_000, 73.5, 61, 80)]
        self.assertEqual([tuple(place) for place in line], expected)

    def test_long_curves_are_means_of_neighbours_and_keep_gaps(self):
        values = [1.0, 3.0, 5.0, math.nan, math.nan, math.nan, 7.0]
        line = [Place(float(x), value, value, value) for x, value in enumerate(values)]
        thin = thinned(line, 4)
        self.assertEqual([place.x for place in thin], [0.5, 2, 4.5, 6])
        self.assertEqual([place.median for place in thin][:2], [2, 5])
        self.assertTrue(math.isnan(thin[2].median))
        self.assertEqual(thinned(line[:3], 3), line[:3])

    def test_another_number_of_workers_is_another_configuration(self):
        runs = [self.run_dir("a"), self.run_dir("b", seed=2, summary={"world_size": 4})]
        read = read_runs(runs)
        self.assertEqual([group.label for group in groups_of(read)], ["a", "b"])
        self.assertEqual(differing(read), ["seed", "world size"])
        self.assertNotIn("world size", shared(read))

    def test_a_run_that_goes_on_belongs_to_its_seeds(self):
        runs = [self.run_dir("a-1"), self.run_dir("a-2", seed=2, epochs=2, is_complete=False)]
        page = Page(self.page_of(*runs))
        group = page.rows("runs")[0]
        self.assertEqual(group["run"], "a, 2 seeds|median of 1 complete, least to most")
        self.assertEqual(group["top-1, %"], "72.00")

    def test_runs_of_one_name_have_more_of_their_paths(self):
        page = Page(self.page_of(self.run_dir("x/run"), self.run_dir("y/run", mode="compact")))
        self.assertEqual([row["run"] for row in page.rows("runs")], ["x/run", "y/run"])

    def test_labels_that_would_be_shortened_to_the_same_are_not(self):
        names = [f"begins-like-the-other-one-{middle}-and-ends-like-it-too" for middle in "ab"]
        read = read_runs([self.run_dir(name, lr=number) for number, name in enumerate(names)])
        self.assertEqual([group.label for group in groups_of(read)], names)

    def test_names_are_text_and_no_markup(self):
        page = Page(self.page_of(self.run_dir("a<b>&c"), self.run_dir("d", mode="<i>")))
        first, second = page.rows("runs")
        self.assertEqual(first["run"], "a<b>&c")
        self.assertEqual(second["options that differ"], "mode = <i>")


class Peculiarities(ReportTest):
    def test_a_run_without_summary_is_told_by_its_metrics(self):
        page = Page(self.page_of(self.run_dir("going", epochs=2, is_complete=False)))
        (run,) = page.rows("runs")
        self.assertEqual(run["top-1, %"], "71.00|so far")
        self.assertEqual((run["training, s"], run["images/s"]), ("1.5", "400"))
        self.assertIn("going: not complete: there is no summary.json, figures go up to step 20", page.text)

    def test_a_summary_of_fewer_steps_is_not_the_run_s(self):
        folder = self.run_dir("longer", epochs=2)
        write_lines(folder, lines_of(3, {"dense": 70.0}))
        page = Page(self.page_of(folder))
        self.assertIn("summary.json is of step 20, figures go up to step 30", page.text)
        self.assertEqual(page.rows("runs")[0]["top-1, %"], "72.00|so far")

    def test_a_resumed_run_has_the_time_of_all_its_parts(self):
        folder = self.run_dir("resumed", summary={"train_s": 0.8, "images_per_s": 1.0})
        page = Page(self.page_of(folder))
        (run,) = page.rows("runs")
        self.assertEqual((run["training, s"], run["images/s"]), ("2.25", "400"))
        self.assertIn("resumed: was resumed", page.text)

    def test_a_run_that_began_elsewhere_counts_from_there(self):
        lines = [line for line in lines_of(3, {"dense": 70.0}) if line["step"] > 20]
        (run,) = read_runs([self.run_dir("later", lines=lines)])
        self.assertEqual(run.total("wire_bytes"), 10 * 2_000)
        self.assertIn("metrics begin after step 20", run.notes[0])

    def test_skipped_steps_are_a_gap_and_said(self):
        lines = lines_of(2, {"dense": 70.0})
        lines[1] |= {"loss": None, "skipped_steps": 4}
        page = Page(self.page_of(self.run_dir("skipped", lines=lines)))
        self.assertIn("4 steps were skipped", page.text)
        self.assertNotIn("nan", page.text.lower().split())

    def test_a_torn_last_line_is_left_out_as_the_program_does(self):
        folder = self.run_dir("torn", is_complete=False)
        with (folder / "metrics.jsonl").open("a") as file:
            file.write('{"step": 31, "epo')
        self.assertIn(
            "torn: the last line of metrics.jsonl is torn, and left out", Page(self.page_of(folder)).text
        )

    def test_two_steps_and_no_evaluation_make_a_page(self):
        page = Page(self.page_of(self.run_dir("new", lines=[step_line(2)], is_complete=False)))
        self.assertIn("no epoch is complete", page.text)


class Files(ReportTest):
    draws = True

    def test_plots_are_valid_svg_and_png(self):
        self.page_of(self.run_dir("plain"))
        self.assertEqual({file.stem for file in self.out.glob("*.svg")}, set(PLOTS))
        for name in PLOTS:
            root = ElementTree.parse(self.out / f"{name}.svg").getroot()
            self.assertTrue(root.tag.endswith("}svg"), name)
            png = (self.out / f"{name}.png").read_bytes()
            self.assertEqual(png[:8], b"\x89PNG\r\n\x1a\n", name)
            width, height = struct.unpack(">II", png[16:24])
            self.assertGreater(min(width, height), 100, name)

    def test_the_page_refers_to_nothing_outside_of_it(self):
        content = self.page_of(
            self.run_dir("a-1"), self.run_dir("a-2", seed=2), self.run_dir("b", mode="compact")
        )
        page = Page(content)
        self.assertTrue(page.references)
        self.assertEqual([target for target in page.references if not target.startswith("#")], [])
        self.assertFalse(page.tags & {"script", "link", "iframe", "img", "object", "base"})
        self.assertNotIn("@import", content)
        self.assertEqual(content.count("url("), content.count("url(#"))
        self.assertEqual(content.lower().count("<svg"), len(PLOTS))

    def test_references_between_parts_of_a_plot_find_them(self):
        content = self.page_of(self.run_dir("a"), self.run_dir("b", mode="compact"))
        page = Page(content)
        for target in page.references:
            self.assertIn(f'id="{target[1:]}"', content)

    def test_the_default_is_beside_the_first_run(self):
        run = self.run_dir("runs/plain")
        done = self.report(run)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue((self.folder / "runs/report/index.html").exists())
        self.assertIn(str(self.folder / "runs/report/index.html"), done.stdout)

    def test_the_same_runs_make_the_same_files(self):
        run = self.run_dir("plain")
        first = self.page_of(run)
        self.assertEqual(self.page_of(run), first)

    def test_help_says_how_to_call_it(self):
        done = self.report("--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("scripts/report runs/pictures", done.stdout)


class Layers(ReportTest):
    def plan(self, *options: str) -> dict:
        images = ("--in-channels", "1", "--image-size", "28", "--world-size", "2")
        command = [PROGRAM, "plan", "--arch", "resnet20", *images, *options, "--json"]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    def run_as_planned(self, name: str, plan: dict, **options: object) -> Path:
        """Whose measured figures are those of `plan`: 32 images a step."""
        total = plan["total"]
        lines = lines_of(1, {"dense": 70.0})
        for line in lines:
            if "loss" in line:
                line |= {"wire_bytes": total["wire_bytes"], "dense_bytes": total["dense_bytes"]}
        images = {"in_channels": 1, "image_size": 28, "num_classes": 10}
        summary = {"dense_flops_per_step": 3.0 * 32 * total["dense_flops"], **images}
        return self.run_dir(name, lines=lines, summary=summary, **options)

    def test_without_the_program_the_section_says_how_to_get_it(self):
        content = self.page_of(self.run_dir("plain"))
        self.assertIn("build it with scripts/build", content)
        self.assertNotIn("layers", Page(content).rows("runs")[0])

    @unittest.skipUnless(os.access(PROGRAM, os.X_OK), f"{PROGRAM} is not built")
    def test_layers_are_those_of_plan(self):
        self.draws = True
        compact = ("--mode", "compact", "--reduce", "slices")
        plans = {"dense": self.plan("--reduce", "slices"), "compact": self.plan(*compact)}
        runs = [self.run_as_planned(name, plan, mode=name) for name, plan in plans.items()]
        page = Page(self.page_of(*runs, program=PROGRAM))
        layers = page.rows("layers", 1)
        self.assertEqual(
            [row["layer"] for row in layers], [each["name"] for each in plans["dense"]["layers"]]
        )
        row = next(row for row in layers if row["layer"] == "layer1.0.conv1")
        planned = next(each for each in plans["compact"]["layers"] if each["name"] == "layer1.0.conv1")
        part = planned["wire_bytes"] / planned["dense_bytes"]
        shown, share = row["compact: sent in a step"].split("|")
        self.assertEqual(share, f"{100 * part:.1f} %")
        self.assertEqual(shown, f"{planned['wire_bytes'] / 1e3:.3g} kB")
        total = plans["compact"]["total"]["wire_bytes"]
        self.assertIn(f"compact: planned {total:,} bytes a step, and as many were sent", page.text)
        self.assertTrue((self.out / "layers-wire-bytes.svg").exists())

    @unittest.skipUnless(os.access(PROGRAM, os.X_OK), f"{PROGRAM} is not built")
    def test_layers_of_unknown_images_are_not_guessed(self):
        page = Page(self.page_of(self.run_dir("plain"), program=PROGRAM))
        self.assertIn("plain: it has neither a checkpoint nor a summary.json", page.text)
        self.assertEqual(page.tables["layers"], [])


class Refusals(ReportTest):
    def refused(self, *runs: Path | str, says: str) -> None:
        before = sorted(self.folder.rglob("*"))
        done = self.report(*runs, "--out", self.out)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertIn(says, done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertEqual(sorted(self.folder.rglob("*")), before, "something was written")

    def test_damaged_lines_are_named(self):
        good = json.dumps(step_line(4))
        late = json.dumps(evaluation_line(STEPS_PER_EPOCH, "dense", 1.0))
        cases = {
            '{"step": 8, "lo': ":2: not JSON",
            "[1, 2]": ":2: not a JSON object",
            '{"epoch": 0, "loss": 1}': ":2: `step` is not a count",
            '{"step": 8, "epoch": 0}': ":2: neither a step",
            '{"step": 8, "epoch": 0, "loss": "low"}': ":2: `loss` is not a number",
            '{"step": 8, "epoch": 0, "loss": NaN}': ":2: not JSON",
            '{"step": 8, "epoch": 0, "network": "third"}': ":2: `network`",
            late + "\n" + good: ":3: step 4 comes after step 10",
            "": ":2: not JSON",
        }
        for number, (text, says) in enumerate(cases.items()):
            folder = self.run_dir(f"run{number}")
            (folder / "metrics.jsonl").write_text(f"{good}\n{text}\n")
            with self.subTest(text):
                self.refused(folder, says=f"{folder}/metrics.jsonl{says}")

    def test_bytes_that_are_no_text_are_named(self):
        folder = self.run_dir("bytes")
        (folder / "metrics.jsonl").write_bytes(json.dumps(step_line(4)).encode() + b"\n\xff\xfe\n")
        self.refused(folder, says=f"{folder}/metrics.jsonl:2: not UTF-8")

    def test_empty_metrics(self):
        folder = self.run_dir("empty")
        (folder / "metrics.jsonl").write_text("")
        self.refused(folder, says="metrics.jsonl:1: the file has no whole line; wait")

    def test_one_damaged_run_among_others_ends_all(self):
        good, bad = self.run_dir("good"), self.run_dir("bad")
        (bad / "metrics.jsonl").write_text("nonsense\n")
        self.refused(good, bad, says=f"{bad}/metrics.jsonl:1")

    def test_damaged_config_and_summary(self):
        folder = self.run_dir("config")
        (folder / "config.toml").write_text("[train\n")
        self.refused(folder, says="config.toml: not TOML")
        folder = self.run_dir("summary")
        (folder / "summary.json").write_text('{\n  "steps": 3,\n')
        self.refused(folder, says="summary.json:3: not JSON")

    def test_what_is_no_run(self):
        inside = self.run_dir("runs/one")
        self.refused(self.folder / "runs", says=f"did you mean {inside}?")
        self.refused(self.folder / "nowhere", says="no such folder")
        self.refused(inside, inside, says="a run was named twice")


if __name__ == "__main__":
    unittest.main()
