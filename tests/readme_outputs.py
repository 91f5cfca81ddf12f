#!/usr/bin/env python3
"""Keeps the outputs that README.md and tests/golden/*.md show equal to what the commands print.

An output stands between two markers, directly below the commands that print it:

    ```sh
    build/release/meshsim fit examples/plan.yml
    ```
    <!-- output:NAME -->
    ```text
    ...
    ```
    <!-- /output -->

--update runs the commands and rewrites the outputs; --check fails if any of them would change.
"""

import argparse
import difflib
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "tests" / "golden").glob("*.md"))]
PROGRAM = "build/release/meshsim"
# A verdict is an answer, not a failure: 3 negative, 4 inconclusive.
ANSWERS = {0, 3, 4}

MARKER = re.compile(r"^<!-- output:(?P<name>\S+) -->$")
BLOCK = re.compile(
    r"^```sh\n(?P<commands>(?:(?!```).*\n)+)```\n+"
    r"<!-- output:(?P<name>\S+) -->\n(?P<output>(?:(?!<!-- ).*\n)*)<!-- /output -->$",
    re.MULTILINE,
)


class Failure(Exception):
    """Something a person has to mend: in the document, or in the program."""


def run(line, program):
    """The standard output of one command line. No shell: what is shown is what is run."""
    words = shlex.split(line, comments=True)
    if not words:
        return ""
    if words[0] != PROGRAM:
        raise Failure(f"'{line}' does not start with {PROGRAM}")
    words[0] = program
    try:
        done = subprocess.run(
            words, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=300, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"'{line}' did not run: {error}") from error
    if done.returncode not in ANSWERS:
        messages = done.stderr.decode("utf-8", "replace")
        raise Failure(f"'{line}' ended with exit code {done.returncode}\n{messages}")
    text = done.stdout.decode("utf-8")
    return text if text.endswith("\n") or not text else text + "\n"


def renewed(document, program):
    """The document with every output as the commands print it now."""

    def block(match):
        lines = match["commands"].splitlines()
        printed = "".join(run(line, program) for line in lines)
        if "```" in printed or "<!-- " in printed:
            raise Failure(f"output:{match['name']} would end its own block")
        head = match[0][: match.start("output") - match.start()]
        return f"{head}```text\n{printed}```\n<!-- /output -->"

    result, count = BLOCK.subn(block, document)
    markers = [line for line in document.splitlines() if MARKER.match(line)]
    if count != len(markers):
        raise Failure(
            f"{len(markers)} outputs are marked, {count} of them stand below a block of commands"
        )
    return result


def out_of_date(path, before, after):
    changes = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"{path}, shown", "printed", lineterm=""
    )
    print(*changes, sep="\n")


def main():
    parser = argparse.ArgumentParser(description="documents show what the commands print")
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--update", action="store_true", help="rewrite the outputs")
    action.add_argument("--check", action="store_true", help="fail if an output is out of date")
    parser.add_argument("--program", default=str(ROOT / PROGRAM), help=f"run this for {PROGRAM}")
    parser.add_argument("documents", nargs="*", type=pathlib.Path, default=DOCUMENTS)
    options = parser.parse_args()

    changed = 0
    for path in options.documents:
        before = path.read_text(encoding="utf-8")
        after = renewed(before, options.program)
        if after == before:
            continue
        changed += 1
        if options.update:
            path.write_text(after, encoding="utf-8")
        else:
            out_of_date(path.name, before, after)
    if changed and options.check:
        raise Failure("out of date; run: tests/readme_outputs.py --update")


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"readme_outputs: {failure}")
