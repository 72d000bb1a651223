"""bash completion as bash does it, and the man page as roff reads it: both as the program prints them."""
import os
import re
import shutil
import subprocess
import unittest

from run_tandem import TandemTest, tandem

# A shell without any other completion, in the test's folder: what it would offer for the last of "$@".
ASK = r"""
source "$SCRIPT"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_tandem
printf '%s\n' "${COMPREPLY[@]}"
"""


class CompletionTest(TandemTest):
    def setUp(self):
        super().setUp()
        run = tandem("--bash-completion")
        self.assertEqual((run.code, run.err), (0, ""))
        self.script = self.dir / "completion.bash"
        self.script.write_text(run.out)
        self.folder = self.dir / "folder"
        (self.folder / "models").mkdir(parents=True)
        (self.folder / "my requests.jsonl").touch()
        (self.folder / "more.yaml").touch()

    def offers(self, *words):
        done = subprocess.run(
            ["bash", "--norc", "--noprofile", "-uc", ASK, "bash", "tandem", *words],
            cwd=self.folder, env={"SCRIPT": str(self.script), "PATH": os.environ["PATH"]},
            capture_output=True, text=True, check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return sorted(done.stdout.split("\n")[:-1]) if done.stdout != "\n" else []

    def test_verbs(self):
        self.assertEqual(self.offers("gen"), ["generate"])
        self.assertLess({"generate", "forward", "tokenize", "env", "help", "--version"},
                        set(self.offers("")))
        self.assertEqual(self.offers("--m"), ["--man-page"])
        self.assertEqual(self.offers("help", "tok"), ["tokenize"])
        self.assertEqual(self.offers("help", "env", ""), [])

    def test_flags_of_the_verb(self):
        self.assertEqual(self.offers("tokenize", "--mo"), ["--model"])
        self.assertEqual(self.offers("tokenize", "--max"), [])
        self.assertEqual(self.offers("forward", "--load"), ["--load", "--load-weights=false"])
        # '_' is '-'; after a flag that takes no value comes another.
        self.assertEqual(self.offers("generate", "--unordered", "--max_to"), ["--max-tokens"])
        # Nothing typed yet: all of them, each of which the verb's help knows, and no other.
        offered = {flag.split("=")[0] for flag in self.offers("generate", "")}
        helped = set(re.findall(r"^  (--[a-z0-9-]+)", tandem("generate", "--help").out, re.MULTILINE))
        self.assertEqual(offered, helped)
        self.assertEqual(self.offers("nonsense", ""), [])

    def test_choices(self):
        self.assertEqual(self.offers("generate", "--load", ""), ["auto", "copy", "map", "read"])
        self.assertEqual(self.offers("generate", "--format", "j"), ["jsonl"])
        self.assertEqual(self.offers("inspect", "--format", "j"), ["json"])
        self.assertEqual(self.offers("generate", "--threads", ""), ["auto"])
        # bash makes three words of "--format=t"; a shell that does not split at '=' makes one.
        self.assertEqual(self.offers("generate", "--format", "=", "t"), ["text"])
        self.assertEqual(self.offers("generate", "--format", "="), ["jsonl", "text"])
        self.assertEqual(self.offers("generate", "--format=t"), ["--format=text"])
        self.assertEqual(self.offers("generate", "--unordered", "=", ""), ["false", "true"])
        self.assertEqual(self.offers("generate", "--no-such", "=", ""), [])

    def test_files_and_folders(self):
        self.assertEqual(self.offers("generate", "--model", ""), ["models"])
        self.assertEqual(self.offers("generate", "--input", "m"),
                         ["models", "more.yaml", "my requests.jsonl"])
        self.assertEqual(self.offers("generate", "--input", "my r"), ["my requests.jsonl"])
        self.assertEqual(self.offers("env", "--config", "=", "more"), ["more.yaml"])
        self.assertEqual(self.offers("inspect", "mod"), ["models"])
        self.assertEqual(self.offers("init", "--model", "t5gemma2_4"), ["t5gemma2_4b_4b"])
        # Text that is the user's own.
        self.assertEqual(self.offers("generate", "--prompt", ""), [])
        self.assertEqual(self.offers("generate", "--prompt", "m"), [])

    def test_bash_knows_the_function(self):
        done = subprocess.run(["bash", "-c", f"source {self.script}; complete -p tandem"],
                              capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout, "complete -F _tandem tandem\n")


class ManPageTest(TandemTest):
    def setUp(self):
        super().setUp()
        run = tandem("--man-page")
        self.assertEqual((run.code, run.err), (0, ""))
        self.text = run.out
        self.page = self.dir / "tandem.1"
        self.page.write_text(self.text)

    def test_only_the_macros_of_man(self):
        macros = {match[1] for match in re.finditer(r"^[.'](\S*)", self.text, re.MULTILINE)}
        self.assertEqual(macros - {"TH", "SH", "SS", "TP", "PP", "RS", "RE", "br", "nh", "nf", "fi", '\\"'},
                         set())
        escapes = set(re.findall(r"\\(\[[a-z]*\]|.{1,2})", self.text))
        plain = {e for e in escapes if not e.startswith(("[", "fB", "fI", "fR", "-", "&", '"'))}
        self.assertEqual(plain, set())
        self.assertTrue(self.text.isascii())

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_roff_has_no_warning(self):
        done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tascii", self.page],
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_the_page_as_it_is_read(self):
        done = subprocess.run(["groff", "-man", "-Tascii", "-P-cbou", self.page],
                              capture_output=True, text=True, check=True)
        page = re.sub(r"\s+", " ", done.stdout)
        for heading in ("NAME", "SYNOPSIS", "DESCRIPTION", "VERBS", "REQUEST FIELDS", "ENVIRONMENT",
                        "FILES", "EXIT STATUS", "EXAMPLES"):
            self.assertRegex(done.stdout, rf"(?m)^{heading}$")
        # Text survives: signs that roff reads as its own are escaped.
        self.assertIn('tandem generate --model DIR --prompt "roman: 1448" --format text', page)
        self.assertIn("echo '{\"text\": \"one two\"}' | tandem tokenize --model DIR", page)
        self.assertIn("--max-num-seqs N sequences in a decoder step (default: 32)", page)


if __name__ == "__main__":
    unittest.main()
