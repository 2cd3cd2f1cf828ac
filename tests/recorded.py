"""Files that earlier versions wrote, for the tests of what reads them: tests/data/README.md."""

from pathlib import Path

DATA = Path(__file__).parent / "data"
REPORTS = DATA / "reports"
OLDEST_REPORT = REPORTS / "4ffb448.json"
