#!/usr/bin/env python3
"""Runs the tests of the command line: tests/cli/run.py --program build/release/meshsim [NAME...]"""

import argparse
import pathlib
import sys
import unittest

sys.dont_write_bytecode = True  # the sources stay as they are

import command_line  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True)
    parser.add_argument("names", nargs="*", help="test modules or cases; all by default")
    options = parser.parse_args()
    command_line.PROGRAM = str(pathlib.Path(options.program).resolve())

    loader = unittest.TestLoader()
    if options.names:
        tests = loader.loadTestsFromNames(options.names)
    else:
        here = pathlib.Path(__file__).resolve().parent
        tests = loader.discover(str(here), pattern="*_test.py")
    result = unittest.TextTestRunner(verbosity=1).run(tests)
    return 0 if result.wasSuccessful() and result.testsRun > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
