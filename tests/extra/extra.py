"""What the tests with programs and packages of others share: where things are, and saying that one was not
run, and why."""
import os
import pathlib
import sys

SOURCE = pathlib.Path(os.environ.get("PENSTOCK_SOURCE", pathlib.Path(__file__).resolve().parents[2]))
BUILD = pathlib.Path(os.environ["PENSTOCK_BUILD"])
sys.path.insert(0, str(SOURCE / "tests" / "e2e"))

from e2e import not_run  # noqa: E402,F401
