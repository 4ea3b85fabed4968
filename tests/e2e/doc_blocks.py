"""The command blocks of the documents, each run by the test that its opening line names:

    ```sh run        against what `make run` starts, after `. build/run.env`: test_docs.py
    ```sh watch      the same; it goes on until it is ended, and says something when an edge comes
    ```sh compose    in containers: tests/compose/run.py
    ```sh helm       the chart, rendered in place of installed: tests/chart/run.py
    ```sh package    as root in a fresh Debian with the packages: tests/extra/test_package_install.py
    ```sh make       targets of the Makefile, which CI runs
    ```console       run by nobody: it needs a cluster or a machine of the reader's

The blocks of one document and one place are one script, in their order: what one sets, the next finds.
"""
import pathlib
import re

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PLACES = ("run", "watch", "compose", "helm", "package", "make")
BLOCK = re.compile(r"^```([^\n`]*)\n(.*?)^```[ ]*$", re.M | re.S)


def documents():
    """Every one that a reader finds, as paths from the root of the sources."""
    found = [SOURCE / "README.md", SOURCE / "CONTRIBUTING.md", SOURCE / "helm" / "penstock" / "README.md",
             *(SOURCE / "docs").glob("*.md"), *(SOURCE / "services").glob("*/README.md")]
    return sorted(str(p.relative_to(SOURCE)) for p in found)


def blocks(document):
    """(words of the opening line, text) of each."""
    return [(opening.split(), text) for opening, text in BLOCK.findall((SOURCE / document).read_text())]


def script(document, place):
    """What a reader would paste there; empty: nothing."""
    return "\n".join(text for words, text in blocks(document) if words == ["sh", place])


def with_blocks(place):
    return [d for d in documents() if script(d, place)]
