"""Runs a module of CPython's own test suite (python3 -m test) and writes down how each test ends, as it ends.

    python3 cpython_record.py RECORD MODULE IGNORED

RECORD gets a line `start ID` and a line `pass|skip|fail ID` for each test: a test that does not end is one with only
the first. IGNORED is a file of the ids to leave out. This runs in the guest, by the guest's own Python.
"""

import sys
from test.libregrtest import main
from test.support.testresult import RegressionTestResult as Result

WORDS = {
    "startTest": "start",
    "addSuccess": "pass",
    "addExpectedFailure": "pass",
    "addSkip": "skip",
    "addFailure": "fail",
    "addError": "fail",
    "addUnexpectedSuccess": "fail",
}


def write_down(word, test):
    with open(RECORD, "a") as record:
        print(word, test.id(), file=record)


def noted(method, word):
    inherited = getattr(Result, method)

    def note(self, test, *rest):
        write_down(word, test)
        return inherited(self, test, *rest)

    return note


def note_part(self, test, part, error, inherited=Result.addSubTest):
    if error is not None:
        write_down("fail", test)
    return inherited(self, test, part, error)


if __name__ == "__main__":
    RECORD, module, ignored = sys.argv[1:]
    for method, word in WORDS.items():
        setattr(Result, method, noted(method, word))
    Result.addSubTest = note_part
    sys.argv[1:] = ["--verbose", "--ignorefile", ignored, module]
    main()
