"""The completions in zsh and fish themselves (bash: tests/e2e/test_cli.py)."""
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import extra
from e2e import SECS, penstock

SERVICES = ("edge", "hub", "traffic")


def script(service, shell):
    return subprocess.run([penstock.BUILD / "bin" / f"penstock-{service}", "--print-completion", shell], check=True,
                          capture_output=True, text=True, timeout=SECS).stdout


class Fish(unittest.TestCase):
    def complete(self, service, line):
        done = subprocess.run(["fish", "--no-config", "-c", f"source - ; complete -C '{line}'"], text=True,
                              input=script(service, "fish"), capture_output=True, timeout=SECS)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return [row.split("\t")[0] for row in done.stdout.splitlines()]

    def test_commands_options_and_words(self):
        for service in SERVICES:
            self.assertIn("healthcheck", self.complete(service, f"penstock-{service} he"))
            self.assertEqual(self.complete(service, f"penstock-{service} healthcheck --r"), ["--ready"])
            self.assertIn("--config", self.complete(service, f"penstock-{service} --c"))
        self.assertEqual(self.complete("hub", "penstock-hub token enc"), ["encode"])
        self.assertEqual(self.complete("hub", "penstock-hub --print-completion z"), ["zsh"])
        self.assertEqual(self.complete("edge", "penstock-edge --set holdS"), ["holdSecs="])


class Zsh(unittest.TestCase):
    """A zsh on a terminal of its own (zpty), that is told to list what it would complete."""

    def complete(self, service, line):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / f"_penstock-{service}").write_text(script(service, "zsh"))
            code = f"""
                zmodload zsh/zpty
                zpty z zsh -f -i
                zpty -w z 'PS1=; unsetopt zle_bracketed_paste 2>/dev/null; stty -echo; fpath=({folder} $fpath)'
                zpty -w z 'autoload -Uz compinit; compinit -u -d {folder}/dump; LISTMAX=0'
                zpty -w z 'list() {{ compadd() {{ local -a w; builtin compadd -O w "$@"; print -rl -- $w >>{folder}/said; builtin compadd "$@" }}; _main_complete; print done >>{folder}/said; exit }}'
                zpty -w z 'zle -C list list-choices list; bindkey "^X" list'
                zpty -n -w z '{line}'$'\\x18'
                while zpty -r z line; do :; done
            """
            done = subprocess.run(["zsh", "-f", "-c", code], capture_output=True, text=True, timeout=SECS,
                                  stdin=subprocess.DEVNULL)
            said = pathlib.Path(folder) / "said"
            self.assertTrue(said.exists(), done.stdout + done.stderr)
            return said.read_text().split()

    def test_syntax(self):
        for service in SERVICES:
            done = subprocess.run(["zsh", "-n"], input=script(service, "zsh"), text=True, capture_output=True,
                                  timeout=SECS)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_commands_options_and_words(self):
        for service in SERVICES:
            self.assertIn("healthcheck", self.complete(service, f"penstock-{service} he"))
            self.assertIn("--ready", self.complete(service, f"penstock-{service} healthcheck --r"))
        self.assertIn("encode", self.complete("hub", "penstock-hub token enc"))
        self.assertIn("zsh", self.complete("hub", "penstock-hub --print-completion z"))
        self.assertIn("holdSecs", self.complete("edge", "penstock-edge --set holdS"))


if __name__ == "__main__":
    for program in ("zsh", "fish"):
        if not shutil.which(program):
            extra.not_run(f"{program} is not installed")
    unittest.main()
