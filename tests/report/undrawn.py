"""scripts/report without drawing, which takes most of its time: for tests of what else is on the page."""

import runpy
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from report_page import plot  # noqa: E402

plot.Plot.save = lambda self, folder: None
plot.Plot.inline = lambda self: f"<svg><title>{self.title}</title></svg>"
sys.argv[0] = str(SCRIPTS / "report")
runpy.run_path(sys.argv[0], run_name="__main__")
