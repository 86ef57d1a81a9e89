"""Print the totals of the demo's report."""

from __future__ import annotations

import json
import sys
from pathlib import Path

REPORT = Path(__file__).with_name("report.json")


def main() -> int:
    """Print one line per total."""
    try:
        report = json.loads(REPORT.read_bytes())
    except FileNotFoundError:
        print(f"error: {REPORT} does not exist: run `make demo`", file=sys.stderr)
        return 1
    totals = report["totals"]
    print(f"\nThe standard library of Python {report['python']}, in {report['root']}:\n")
    for name in ("files", "lines", "bytes", "functions", "classes"):
        print(f"  {name:<10} {totals[name]:>12,}")
    print(f"\n{totals['unparsed']} files do not parse: they are test data.")
    print(f"Full report: {REPORT}")
    if totals["failed"]:
        print(f"error: {totals['failed']} files failed: see `bananas dead list`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
