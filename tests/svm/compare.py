"""Inside the emulated computer: C guests natively and in Noah. Prints a line per case and each difference.

compare.py FOLDER PROGRAM[:CASE,...]...
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
sys.path += [str(REPOSITORY), str(REPOSITORY / "tests/guests")]
os.environ.setdefault("NOAH", "/bin/noah")

from tests import test_guests  # noqa: E402
from tests.test_guests import Target, explain, in_noah, run  # noqa: E402

SLOWER: Final = 5  # than on the machine that the time limit is made for
KVM: Final = Target("kvm", "linux", "static")


def compare(program: Path, cases: list[str]) -> int:
    """The number of cases that differ."""
    wrong = 0
    native, again = run([str(program), *cases]), run([str(program), *cases])
    noah = run(in_noah(KVM, program, *cases))
    for case in native.sections:
        if not case or explain(case, native, again):
            continue  # it is not even the same twice
        trouble = explain(case, native, noah._replace(status=native.status))
        if trouble or (noah.status != native.status and case == list(noah.sections)[-1]):
            alone = run([str(program), case])
            trouble = explain(case, alone, run(in_noah(KVM, program, case)))
        wrong += bool(trouble)
        print(f"{program.name} {case}: {'differs' if trouble else 'the same'}")
        if trouble:
            print(trouble)
    return wrong


def main() -> int:
    test_guests.TIMEOUT *= SLOWER  # type: ignore[misc]
    folder = Path(sys.argv[1])
    wrong = 0
    for argument in sys.argv[2:]:
        name, _, cases = argument.partition(":")
        wrong += compare(folder / name, cases.split(",") if cases else [])
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
