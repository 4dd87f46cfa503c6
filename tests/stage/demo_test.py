"""The demo recipe with few steps, then every example of docs/ on what it made.

usage: demo_test.py SOURCE_DIR BIN_DIR
"""
import glob
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from html.parser import HTMLParser

SOURCE, BIN = (os.path.abspath(path) for path in sys.argv[1:3])
RECIPE = "configs/recipes/demo.json"
SMALL = ["*.train.steps=6", "*.train.warmup_steps=2", "*.train.micro_batch_size=4",
         "*.train.eval_max_chunks=2", "*.train.save_every=2", "*.importance_max_examples=8",
         "*.trials=2", "*.max_chunks=2"]
SMALL += [f"noisy_{rank}_{encoding}.slc_frac=0,0.2,1" for rank in ("full", "half")
          for encoding in ("twos_complement", "sign_magnitude")]


def command(*words, small=True):
    sets = [word for value in SMALL for word in ("--set", value)] if small else []
    return [os.path.join(BIN, "lowbank"), *words, *sets]


class Demo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="lowbank_demo_")
        for name in ("configs", "data"):
            os.symlink(os.path.join(SOURCE, name), os.path.join(cls.folder.name, name))
        cls.env = dict(os.environ, PATH=BIN + os.pathsep + os.environ["PATH"], LOWBANK_HOME=SOURCE)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_in_folder(self, words, **options):
        return subprocess.run(words, cwd=self.folder.name, env=self.env, text=True,
                              capture_output=True, **options)

    def path(self, *names):
        return os.path.join(self.folder.name, *names)

    def metrics(self, stage):
        with open(self.path("runs", "demo", stage, "metrics.json")) as file:
            return json.load(file)

    def test_1_an_interrupted_run_says_how_to_go_on(self):
        process = subprocess.Popen(
            command("run", RECIPE, "--set", "finetune.train.steps=2000"), cwd=self.folder.name,
            env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True)
        deadline = time.time() + 120
        while not os.path.exists(self.path("runs/demo/finetune/metrics.jsonl")):
            self.assertLess(time.time(), deadline, "fine-tuning did not start")
            self.assertIsNone(process.poll(), "ended before fine-tuning")
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130, errors)
        self.assertIn("lowbank run", errors)
        self.assertFalse(os.path.exists(self.path("runs/demo/finetune/run.json")))

    def test_2_the_recipe_runs_to_its_page(self):
        result = self.run_in_folder(command("run", RECIPE))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("report.html", result.stdout)
        with open(self.path("runs/demo/report.html"), encoding="utf-8") as file:
            page = file.read()
        HTMLParser().feed(page)
        self.assertNotRegex(page, r"(src|href)=[\"']?https?://", "the page must work offline")
        for curve in ("noisy_full_twos_complement", "noisy_half_sign_magnitude"):
            points = {p["slc_frac"]: p for c in self.metrics(curve)["curves"]
                      for p in c["points"]}
            # Equal trials; their mean may differ in the last bit.
            self.assertAlmostEqual(points[1.0]["mean"],
                                   self.metrics(curve)["quantised_perplexity"], delta=1e-9,
                                   msg="at SLC share 1 no cell is noisy")

    def test_3_the_greedy_text_is_the_one_llama2c_prints(self):
        with open(self.path("data/samples/stories260K/expected_greedy_256.txt"),
                  encoding="utf-8") as file:
            expected = file.read()
        self.assertEqual(self.metrics("generate")["text"].strip(), expected.strip())

    def test_4_a_second_run_skips_everything(self):
        result = self.run_in_folder(command("run", RECIPE, "--json"))
        self.assertEqual(result.returncode, 0, result.stderr)
        stages = json.loads(result.stdout.splitlines()[-1])["stages"]
        self.assertGreater(len(stages), 10)
        self.assertEqual([s["id"] for s in stages if not s["skipped"]], [])

    def test_5_a_changed_setting_runs_only_what_depends_on_it(self):
        result = self.run_in_folder(
            command("run", RECIPE, "--json", "--set", "noisy_half_sign_magnitude.noise.sigma=0.05"))
        self.assertEqual(result.returncode, 0, result.stderr)
        stages = json.loads(result.stdout.splitlines()[-1])["stages"]
        self.assertEqual([s["id"] for s in stages if not s["skipped"]],
                         ["noisy_half_sign_magnitude", "report"])

    def test_6_a_misspelt_key_is_one_line_with_a_suggestion(self):
        with open(self.path("bad.json"), "w") as file:
            json.dump({"name": "bad", "stages": [
                {"stage": "finetune", "checkpoint": "runs/demo/convert",
                 "data": {"train": "data/samples/tinyshakespeare/train.txt"},
                 "train": {"lerning_rate": 1e-3}}]}, file)
        result = self.run_in_folder(command("run", "bad.json", small=False))
        self.assertEqual(result.returncode, 2)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertIn("lerning_rate", result.stderr)
        self.assertIn("learning_rate", result.stderr)
        self.assertFalse(os.path.exists(self.path("runs/bad")))

    def test_7_every_example_of_the_docs_runs(self):
        pages = sorted(glob.glob(os.path.join(SOURCE, "docs", "*.md")))
        examples = []
        for page in pages:
            with open(page, encoding="utf-8") as file:
                examples += [(os.path.basename(page), block)
                             for block in re.findall(r"^```sh\n(.*?)^```", file.read(), re.S | re.M)]
        self.assertGreater(len(examples), 10)
        for page, block in examples:
            with self.subTest(page=page):
                result = self.run_in_folder(["bash", "-euo", "pipefail", "-c", block])
                self.assertEqual(result.returncode, 0, f"{block}\n{result.stdout}{result.stderr}")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
