#!/usr/bin/env python3
"""Keeps predictions of published runs from getting worse unseen.

tests/golden/accuracy.json holds the errors of every public row as they were accepted last, and
docs/accuracy.md shows them. --check fails if the size of an error has grown by more than MARGIN, if
a row is no longer predicted, if an outcome (out of memory or not) that was right no longer is, or if
the page shows errors that are older than that. --update accepts what is predicted now and rewrites
both; look at the difference before you commit it.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden" / "accuracy.json"
PAGE = ROOT / "docs" / "accuracy.md"
MARGIN = 0.02  # of the measured figure
UPDATE = "tests/accuracy.py --update"


def run(program, *words):
    done = subprocess.run([program, "validate", *words], capture_output=True, timeout=300, check=True)
    return done.stdout.decode()


def accuracy(program):
    table = {}
    for row in json.loads(run(program, "-o", "json"))["rows"]:
        right = None
        if row["oom_measured"] is not None and row["oom_predicted"] is not None:
            right = row["oom_measured"] == row["oom_predicted"]
        table[row["id"]] = {
            "step_time_error_ratio": rounded(row["error_ratio"]),
            "memory_error_ratio": rounded(row["total_error_ratio"]),
            "oom_right": right,
        }
    return table


def rounded(error):
    return None if error is None else round(error, 4)


def worse(before, now):
    """What of `now` is worse than `before`, as sentences."""
    for row, old in before.items():
        new = now.get(row)
        if new is None:
            yield f"{row} is gone"
            continue
        for figure in ("step_time_error_ratio", "memory_error_ratio"):
            if old[figure] is None:
                continue
            if new[figure] is None:
                yield f"{row}: {figure} was {old[figure]:+.1%} and is no longer predicted"
            elif abs(new[figure]) > abs(old[figure]) + MARGIN:
                yield f"{row}: {figure} was {old[figure]:+.1%} and is {new[figure]:+.1%}"
        if old["oom_right"] and not new["oom_right"]:
            yield f"{row}: whether it fits was right and is wrong"


def stale(page, now):
    """Step-time errors that the page shows and that have moved by more than MARGIN."""
    shown = dict(re.findall(r"^\| (\S+) \|(?:[^|]*\|){6} ([-+][\d.]+) % \|", page, re.MULTILINE))
    for row, error in now.items():
        error = error["step_time_error_ratio"]
        if error is None:
            continue
        if row not in shown:
            yield f"{row} is not on the page"
        elif abs(float(shown[row]) / 100 - error) > MARGIN:
            yield f"{row}: the page shows {shown[row]} %, now {error:+.1%}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--update", action="store_true", help="accept the predictions of now")
    action.add_argument("--check", action="store_true", help="fail if a row has become worse")
    parser.add_argument("--program", default=str(ROOT / "build" / "release" / "meshsim"))
    options = parser.parse_args()
    now = accuracy(options.program)
    if options.update:
        GOLDEN.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(run(options.program, "--page"), encoding="utf-8")
        return 0
    faults = list(worse(json.loads(GOLDEN.read_text(encoding="utf-8")), now))
    faults += stale(PAGE.read_text(encoding="utf-8"), now)
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        print(f"if that is meant: {UPDATE}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
