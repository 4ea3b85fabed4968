"""What the tests with programs and packages of others share: saying that one was not run, and why."""
import os
import pathlib
import sys

SOURCE = pathlib.Path(os.environ.get("PENSTOCK_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ["PENSTOCK_BUILD"])
sys.path.insert(0, str(SOURCE / "tests" / "e2e"))

NOT_RUN = 77  # ctest's SKIP_RETURN_CODE


def not_run(why):
    print(f"not run: {why}")
    sys.exit(NOT_RUN)
