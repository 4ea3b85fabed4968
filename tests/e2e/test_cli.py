"""The command line: what --help, the manual pages and the completions say is what the programs take.
bash and mandoc are asked themselves.
"""
import pathlib
import re
import subprocess
import tempfile
import unittest

import e2e
from e2e import penstock

SERVICES = ("edge", "hub", "traffic")


def program(service):
    return penstock.BUILD / "bin" / f"penstock-{service}"


def run(service, *options, status=0, **more):
    done = subprocess.run([program(service), *options], capture_output=True, text=True, timeout=e2e.SECS, **more)
    if done.returncode != status:
        raise e2e.Failure(f"penstock-{service} {options} ended with {done.returncode}: {done.stderr}")
    return done.stdout


def commands(service):
    """As --help lists them."""
    text = run(service, "--help").split("\nCommands")[1].split("\n\nKeys")[0]
    return [line.split()[0] for line in text.splitlines()[1:]]


class Manual(unittest.TestCase):
    def test_pages_are_without_fault(self):
        for service in SERVICES:
            for section in ("1", "5"):
                with self.subTest(service, section=section):
                    page = run(service, "--print-man", section)
                    lint = subprocess.run(["mandoc", "-T", "lint", "-W", "warning"], input=page, text=True,
                                          capture_output=True, timeout=e2e.SECS)
                    self.assertEqual((lint.returncode, lint.stdout), (0, ""))

    def test_the_page_says_all(self):
        for service in SERVICES:
            shown = subprocess.run(["mandoc", "-T", "ascii"], input=run(service, "--print-man", "1"), text=True,
                                   capture_output=True, timeout=e2e.SECS, check=True).stdout
            shown = re.sub(".\b", "", shown)  # bold and underlined letters are struck over
            for command in commands(service):
                self.assertRegex(shown, rf"(?m)^     +{command}\b")


class Bash(unittest.TestCase):
    """A real bash, with the function it was given, at the end of a line."""

    def complete(self, service, *words, folder="."):
        with tempfile.NamedTemporaryFile("w", suffix=".bash") as script:
            script.write(run(service, "--print-completion", "bash"))
            script.flush()
            code = f"""
                compopt() {{ :; }}  # only while readline completes
                source {script.name}
                COMP_WORDS=("$@")
                COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
                _penstock_{service} && printf '%s\\n' "${{COMPREPLY[@]}}"
            """
            done = subprocess.run(["bash", "-uc", code, "bash", f"penstock-{service}", *words], text=True,
                                  capture_output=True, timeout=e2e.SECS, cwd=folder)
        self.assertEqual(done.stderr, "")
        return done.stdout.split()

    def test_commands_and_options(self):
        for service in SERVICES:
            self.assertEqual([w for w in self.complete(service, "") if not w.startswith("-")], commands(service))
            self.assertEqual(self.complete(service, "--print-c"), ["--print-config", "--print-completion"])
            self.assertEqual(self.complete(service, "healthcheck", "--r"), ["--ready"])

    def test_words_behind(self):
        self.assertEqual(self.complete("hub", "token", ""),
                         ["encode", "decode", "--show-secret", "--config", "--set", "--help"])
        self.assertEqual(self.complete("hub", "--set", "workers", "=", "3", "token", "en"), ["encode"])
        self.assertEqual(self.complete("edge", "--print-completion", ""), ["bash", "zsh", "fish"])
        self.assertEqual(self.complete("edge", "--print-man", "=", ""), ["1", "5"])

    def test_keys_and_files(self):
        self.assertEqual(self.complete("edge", "--set", "hold"), ["holdSecs="])
        self.assertEqual(self.complete("edge", "--set", "secret"), [])
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "edge.json").touch()
            self.assertEqual(self.complete("edge", "--config", "ed", folder=folder), ["edge.json"])
            self.assertEqual(self.complete("edge", "diag", "--cert", "ed", folder=folder), ["edge.json"])

    def test_readline_takes_it(self):
        """The whole way: `complete` is registered for the program, without an error."""
        for service in SERVICES:
            done = subprocess.run(["bash", "-c", f"source /dev/stdin; complete -p penstock-{service}"], text=True,
                                  input=run(service, "--print-completion", "bash"), capture_output=True,
                                  timeout=e2e.SECS)
            self.assertEqual(done.stdout, f"complete -F _penstock_{service} penstock-{service}\n")


class Help(unittest.TestCase):
    def test_each_command_has_its_own(self):
        for service in SERVICES:
            for command in commands(service):
                text = run(service, command, "--help")
                self.assertIn(f"Usage: penstock-{service} {command} [options]", text)

    def test_an_unknown_option_is_refused(self):
        for service in SERVICES:
            for command in commands(service):
                run(service, command, "--no-such", status=2)


if __name__ == "__main__":
    unittest.main()
