"""The recipes of docs/results/: their tables against figures computed here from recorded experiments,
and the pages against what the recipes make.

usage: results_test.py SOURCE_DIR BIN_DIR
"""
import csv
import json
import math
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE, BIN = (Path(path).resolve() for path in sys.argv[1:3])


def total(values):
    return sum(values.values())


def energy(experiment):
    return total(experiment["memory_energy_pj"]) + total(experiment["compute_energy_pj"])


def task(experiment):
    return tuple(experiment[key] for key in
                 ("model", "batch_size", "gpu", "num_gpus", "input_tokens", "output_tokens"))


class RecipeTest(unittest.TestCase):
    recipe = None

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="lowbank_results_")
        for name in ("configs", "data"):
            os.symlink(SOURCE / name, Path(cls.folder.name) / name)
        env = dict(os.environ, PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}",
                   LOWBANK_HOME=str(SOURCE))
        subprocess.run([BIN / "lowbank", "run", f"configs/recipes/{cls.recipe}.json", "--quiet"],
                       cwd=cls.folder.name, env=env, check=True, stdout=subprocess.DEVNULL)
        cls.report = Path(cls.folder.name) / "runs" / cls.recipe / "report"

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def rows(self, name):
        with open(self.report / f"{name}.csv", newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def assert_close(self, value, expected, what):
        self.assertTrue(math.isclose(value, expected, rel_tol=1e-9), f"{what}: {value}, {expected}")


class PimbaFigures(RecipeTest):
    recipe = "pimba_figures"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # As the published simulator printed them; all of its records where they lie.
        shared = Path(os.environ.get("LOWBANK_SHARED_DATA", "")) / "pim/experiments.jsonl"
        cls.has_all_records = shared.is_file()
        records = shared if cls.has_all_records else (
            SOURCE / "tests/unit/pim/reference_experiments.jsonl")
        with open(records) as file:
            cls.recorded = [json.loads(line) for line in file]
        cls.by_task = {}
        for experiment in cls.recorded:
            cls.by_task.setdefault(task(experiment), {})[experiment["system"]] = experiment

    # {(batch, model, bar, segment): value} of reference mode
    def bars(self, name):
        found = {}
        for row in self.rows(name):
            *batch, mode = row["panel"].split(", ")
            if mode == "reference mode":
                found[(*batch, row["group"], row["bar"], row["segment"])] = float(row["value"])
        return found

    def test_every_recorded_experiment_is_in_the_table_with_its_time_and_energy(self):
        table = {(row["run"], row["model"], row["batch_size"], row["system"], row["gpu"],
                  row["num_gpus"]): row for row in self.rows("table_experiments")}
        num_found = 0
        for e in self.recorded:
            row = table.get(("reference", e["model"], str(e["batch_size"]), e["system"], e["gpu"],
                             str(e["num_gpus"])))
            if row is None or (row["input_tokens"], row["output_tokens"]) != (
                    str(e["input_tokens"]), str(e["output_tokens"])):
                continue
            num_found += 1
            self.assert_close(float(row["time_s"]), total(e["time_s"]), e)
            self.assert_close(float(row["energy_pj"]), energy(e), e)
            base = self.by_task[task(e)].get("GPU")
            if base is not None:
                self.assert_close(float(row["throughput_over_gpu"]),
                                  total(base["time_s"]) / total(e["time_s"]), e)
                self.assert_close(float(row["energy_gain_over_gpu"]), energy(base) / energy(e), e)
        self.assertGreater(num_found, 60 if self.has_all_records else 5)

    def test_bars_are_ratios_of_recorded_experiments(self):
        shares = self.bars("fig_pimba_03_time_shares")
        throughput = {("A100", False): self.bars("fig_pimba_12_throughput_small"),
                      ("A100", True): self.bars("fig_pimba_12_throughput_70b"),
                      ("H100", True): self.bars("fig_pimba_16_throughput_h100")}
        times, energies = self.bars("fig_pimba_13_time_70b"), self.bars("fig_pimba_14_energy_70b")
        num_checked = dict.fromkeys(("3", "12", "13", "14"), 0)

        def check(figure, bars, key, expected):
            if key in bars:
                num_checked[figure] += 1
                self.assert_close(bars[key], expected, (figure, key))

        for (model, batch_size, gpu, num_gpus, tokens_in, tokens_out), found in self.by_task.items():
            if "GPU" not in found or (tokens_in, tokens_out) != (2048, 2048):
                continue
            base, name, batch = found["GPU"], model.replace("-", " "), f"batch {batch_size}"
            for system, e in found.items():
                gain = total(base["time_s"]) / total(e["time_s"])
                check("12", throughput.get((gpu, num_gpus > 1), {}), (batch, name, system, ""), gain)
                if gpu != "A100":
                    continue
                if num_gpus == 1:
                    if system == "GPU":
                        check("3", shares, (name, batch, "GEMM"),
                              e["time_s"]["gemm"] / total(e["time_s"]))
                else:
                    check("13", times, (batch, name, system, "GEMM"),
                          e["time_s"]["gemm"] / total(base["time_s"]))
                    for part, category in (("state update", "state_update"), ("attention", "gemv")):
                        for kind in ("memory", "compute"):
                            check("14", energies, (batch, name, system, f"{part}, {kind}"),
                                  e[f"{kind}_energy_pj"].get(category, 0) / energy(base))
        self.assertGreater(num_checked["12"], 0)
        if self.has_all_records:
            self.assertGreater(min(num_checked.values()), 0, num_checked)

    def test_shares_add_up_to_the_whole(self):
        sums = {}
        for row in self.rows("fig_pimba_03_time_shares"):
            key = (row["panel"], row["group"], row["bar"])
            sums[key] = sums.get(key, 0) + float(row["value"])
        self.assertEqual(len(sums), 2 * 5 * 3)  # modes, models with a state, batches
        for key, value in sums.items():
            self.assert_close(value, 1, key)

    def test_claims_follow_from_the_table_of_experiments(self):
        table = {}
        for row in self.rows("table_experiments"):
            key = (row["run"], row["gpu"], row["num_gpus"], row["model"], row["batch_size"])
            table.setdefault(key, {})[row["system"]] = row
        claims = {(row["claim"], row["mode"]): row for row in self.rows("table_claims")}
        for mode in ("reference", "physical"):
            for gpu in ("A100", "H100"):
                for base in ("GPU", "GPU+PIM"):
                    gains = [float(s[base]["time_s"]) / float(s["Pimba"]["time_s"])
                             for key, s in table.items() if key[:2] == (mode, gpu) and "Pimba" in s]
                    self.assertEqual(len(gains), 36 if gpu == "A100" else 18)
                    mean = math.exp(sum(map(math.log, gains)) / len(gains))
                    row = claims[f"Pimba, {gpu}: throughput over {base}, average", mode]
                    self.assert_close(float(row["value"]), mean, row)
                    self.assertEqual(row["is_reached"],
                                     "yes" if round(mean, 1) >= float(row["published"]) else "no")
                    if gpu == "A100":
                        row = claims[f"Pimba, A100: throughput over {base}, up to", mode]
                        self.assert_close(float(row["value"]), max(gains), row)
        # The reference's own rules give the publication's figures.
        self.assertEqual({row["is_reached"] for (_, mode), row in claims.items()
                          if mode == "reference"}, {"yes"})

    def test_every_number_says_that_it_is_modelled_and_how(self):
        for file in self.report.glob("*.csv"):
            for row in self.rows(file.stem):
                self.assertEqual(row["provenance"], "modelled", file)
                self.assertIn(" mode", row["provenance_detail"], file)


class HyflexpimCells(RecipeTest):
    recipe = "hyflexpim"

    def test_chips_hold_the_weights_in_the_cells_of_the_share(self):
        # A processing unit has 24 modules of 512 arrays of 64 x 128 cells, a chip 24 units.
        unit_cells = 24 * 512 * 64 * 128
        block = 2 * 2048 * 2048 + 2 * 512 * 2048 + 3 * 8192 * 2048  # of Llama-3.2-1B
        head = 128256 * 2048
        num_checked = 0
        for row in self.rows("table_slc"):
            if row["workload"] != "llama-3.2-1b":
                continue
            share = float(row["slc_frac"])
            bits = (share + 2 * (1 - share) if row["mode"] == "reference"
                    else 1 / (share + (1 - share) / 2))
            units = 16 * math.ceil(block * 8 / bits / unit_cells) + math.ceil(
                head * 8 / bits / unit_cells)
            self.assertEqual(int(row["num_chips"]), math.ceil(units / 24), row)
            num_checked += 1
        self.assertEqual(num_checked, 2 * 7)

    def test_gains_are_those_over_slc_cells_alone(self):
        table = self.rows("table_slc")
        base = {(row["mode"], row["workload"]): row for row in table if row["slc_frac"] == "1"}
        for row in table:
            dense = base[row["mode"], row["workload"].removesuffix("-svd")]
            gain = float(row["tokens_per_s"]) / float(dense["tokens_per_s"])
            self.assert_close(float(row["throughput_gain"]), gain, row)
            self.assert_close(float(row["throughput_per_area_gain"]),
                              gain * float(dense["area_mm2"]) / float(row["area_mm2"]), row)
            self.assert_close(float(row["energy_gain"]), float(dense["energy_per_token_pj"]) /
                              float(row["energy_per_token_pj"]), row)


class Pages(unittest.TestCase):
    def test_the_pages_show_what_the_recipes_make(self):
        result = subprocess.run([sys.executable, SOURCE / "scripts/update_results.py", BIN, "--check"],
                                text=True, capture_output=True)
        self.assertEqual(result.returncode, 0,
                         f"{result.stdout}{result.stderr}run scripts/update_results.py {BIN}")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
