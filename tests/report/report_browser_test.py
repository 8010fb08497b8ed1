"""The page of scripts/report as a browser lays it out: nothing is cut off, or set over something else.

Needs Chromium (apt-get install chromium); skipped without it.
"""

import html
import json
import re
import shutil
import struct
import subprocess
import unittest
import zlib
from pathlib import Path

from synthetic_runs import ReportTest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDE, NARROW = 1000, 500  # pixels; Chromium has no window that is narrower
# Writes what it finds into the page's body, where --dump-dom shows it.
LOOK = """
<script>
addEventListener("load", () => {
  const box = (element) => element.getBoundingClientRect();
  const plots = [...document.querySelectorAll("svg")];
  const cut = [], overlapping = [];
  let words = 0;
  for (const plot of plots) {
    const texts = [...plot.querySelectorAll("text")].filter((text) => text.textContent.trim());
    const outer = box(plot);
    words += texts.length;
    for (const [place, text] of texts.entries()) {
      const one = box(text);
      if (one.left < outer.left - 1 || one.right > outer.right + 1 || one.bottom > outer.bottom + 1)
        cut.push(text.textContent);
      for (const other of texts.slice(place + 1)) {
        const two = box(other);
        const across = Math.min(one.right, two.right) - Math.max(one.left, two.left);
        const down = Math.min(one.bottom, two.bottom) - Math.max(one.top, two.top);
        if (across > 1 && down > 2) overlapping.push([text.textContent, other.textContent]);
      }
    }
  }
  const found = {
    width: document.documentElement.scrollWidth, window: innerWidth, cut, overlapping, words,
    plots: plots.length, empty: plots.filter((plot) => box(plot).height < 50).length,
  };
  document.body.innerHTML = `<pre id="found">${JSON.stringify(found).replaceAll("<", "&lt;")}</pre>`;
});
</script>
"""


def find_browser() -> str | None:
    """One that starts: a package may be no more than a pointer to another."""
    for path in filter(None, map(shutil.which, NAMES)):
        if subprocess.run([path, "--version"], capture_output=True).returncode == 0:
            return path
    return None


def pixels(png: bytes) -> tuple[int, int, bytes]:
    """Width, height, and the decompressed rows."""
    width, height = struct.unpack(">II", png[16:24])
    packed, place = b"", 8
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        if png[place + 4 : place + 8] == b"IDAT":
            packed += png[place + 8 : place + 8 + length]
        place += length + 12
    return width, height, zlib.decompress(packed)


class InABrowser(ReportTest):
    draws = True

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.browser = find_browser()
        if cls.browser is None:
            raise unittest.SkipTest("no Chromium: apt-get install chromium")

    def browse(self, file: Path, width: int, *what: str) -> str:
        # As root Chromium wants to be told that it has no sandbox; it opens nothing but our own file.
        flags = (
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
        )
        folder = f"--user-data-dir={self.folder / 'browser'}"
        done = subprocess.run(
            [self.browser, *flags, folder, f"--window-size={width},2000", *what, file.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def layout(self, width: int) -> dict:
        page = self.out / "index.html"
        looked_at = self.out / "looked_at.html"
        looked_at.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{LOOK}</body>"))
        found = re.search(
            r'<pre id="found">(.*?)</pre>', self.browse(looked_at, width, "--dump-dom"), re.DOTALL
        )
        return json.loads(html.unescape(found[1]))

    def expect_good_layout(self, plots: int) -> None:
        for width in (WIDE, NARROW):
            with self.subTest(width=width):
                found = self.layout(width)
                self.assertEqual(found["plots"], plots)
                self.assertEqual(found["empty"], 0)
                self.assertGreater(found["words"], 10 * plots)
                self.assertLessEqual(found["width"], found["window"])
                self.assertEqual(found["cut"], [])
                self.assertEqual(found["overlapping"], [])

    def test_one_run(self):
        self.page_of(self.run_dir("plain", top1={"sampled": 70.0, "dense": 60.0}))
        self.expect_good_layout(plots=7)

    def test_seeds_of_two_configurations_and_long_names(self):
        runs = [
            self.run_dir(f"{mode}-and-a-name-that-is-rather-long-{seed}", mode=mode, seed=seed)
            for mode in ("dense", "compact")
            for seed in (1, 2, 3)
        ]
        self.page_of(*runs, self.run_dir("another_one_whose_name_has_no_end_at_all", lr=0.5, mode="feedback"))
        self.expect_good_layout(plots=7)

    def test_a_screenshot_shows_it(self):
        self.page_of(self.run_dir("a"), self.run_dir("b", mode="compact", top1={"dense": 60.0}))
        picture = self.out / "page.png"
        self.browse(self.out / "index.html", WIDE, f"--screenshot={picture}")
        width, height, rows = pixels(picture.read_bytes())
        self.assertEqual((width, height), (WIDE, 2000))
        self.assertGreater(len(set(rows)), 50, "the picture is blank")


if __name__ == "__main__":
    unittest.main()
