#!/usr/bin/env python3
"""vitq-bench from end to end: words, numbers, bad input.

usage: test_bench.py VITQ_BENCH [unittest options]
"""
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

USAGE = 1
KINDS = ["uniform", "channels", "codebook", "output", "output-codebook", "output-f32"]
QUICK = ("--rounds", "1", "--seconds", "0.001", "--batch", "2", "--quiet")


class Bench(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory(prefix="vitq-bench-")
        cls.shapes = pathlib.Path(cls.dir.name) / "small.txt"
        cls.shapes.write_text("# name M N K\nodd 13 37 45\neven 16 64 32 add\n")

    @classmethod
    def tearDownClass(cls):
        cls.dir.cleanup()

    @staticmethod
    def bench(*words):
        return subprocess.run([BENCH, *map(str, words)], capture_output=True, text=True, timeout=600)

    def ok(self, *words):
        done = self.bench(*words)
        self.assertEqual((done.returncode, done.stderr), (0, ""), words)
        return done.stdout

    def fails(self, *words, says):
        done = self.bench(*words)
        self.assertEqual((done.returncode, done.stdout), (USAGE, ""), (words, done.stderr))
        self.assertIn(says, done.stderr)

    def test_help(self):
        text = self.ok("--help")
        for command in ("gemm", "sweep"):
            self.assertIn(f"  {command} ", text)
            page = self.ok(command, "--help")
            for word in ("examples:", "--json", "columns:"):
                self.assertIn(word, page)
        for kind in KINDS:
            self.assertIn(f"  {kind} ", page)
        self.assertEqual(self.bench().returncode, USAGE)
        self.fails("swep", says='no command "swep"')

    def test_bad_words(self):
        for command in ("gemm", "sweep"):
            self.fails(command, "--batch", "0", says="--batch 0")
            self.fails(command, "--rounds", "x", says="--rounds x")
            self.fails(command, "--seconds", "0", says="--seconds 0")
            self.fails(command, "--nonsense", says="--help")
            self.fails(command, "nowhere", says="nowhere.txt")
        self.fails("sweep", "--bits", "9", says="--bits 9")
        self.fails("sweep", "--candidates", "4097", says="--candidates 4097")
        self.fails("sweep", "--kinds", "nothing", says="output-codebook")
        self.fails("gemm", "--bits", "w4", says="--bits w4")
        bad = pathlib.Path(self.dir.name) / "bad.txt"
        bad.write_text("layer 1 2\n")
        self.fails("sweep", bad, says="bad.txt:1")
        done = self.bench("sweep", *QUICK, "--variants", "nothing", self.shapes)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('"nothing"', done.stderr)

    def test_sweep(self):
        result = json.loads(self.ok("sweep", *QUICK, "--json", "--candidates", "20", "--bits", "3", self.shapes))
        self.assertEqual((result["candidates"], result["bits"], result["batch"]), (20, 3, 2))
        for limit in ("read_gbps", "uniform", "codebook", "gops_int8", "gops_fp32"):
            self.assertGreater(result[f"limit_{limit}"], 0)
        cells = result["results"]
        self.assertEqual([(c["layer"], c["kind"]) for c in cells], [(l, k) for l in ("odd", "even") for k in KINDS])
        for c in cells:
            elements = c["m"] * c["k"] * 20
            self.assertAlmostEqual(c["giga_candidate_elements_per_second"] * c["seconds_median"] * 1e9 / elements, 1, 6)
            products = {"output": 2, "output-codebook": 4, "output-f32": 2}.get(c["kind"], 0) * elements * c["n"]
            self.assertAlmostEqual(c["gops"] * c["seconds_median"], products * 1e-9, 9)
            self.assertLess(c["max_error"], 1e-4)
            bound = max(c["memory_seconds"], c["compute_seconds"])
            self.assertAlmostEqual(c["share_of_bound"], bound / c["seconds_median"], 9)
            self.assertGreater(c["share_of_bound"], 0)
        self.assertEqual((cells[0]["m"], cells[0]["n"], cells[0]["k"]), (26, 37, 45))

    def test_variants(self):
        text = self.ok("sweep", *QUICK, "--kinds", "output", "--variants", "portable", self.shapes)
        self.assertIn("output_error__portable", text)
        self.assertNotIn("quant_error", text)
        self.assertNotIn("wide", text)
        text = self.ok("sweep", *QUICK, "--kinds", "uniform", "--variants", "all", self.shapes)
        self.assertIn("quant_error_f32__portable", text)

    def test_gemm(self):
        result = json.loads(self.ok("gemm", *QUICK, "--json", self.shapes))
        self.assertEqual({c["layer"] for c in result["results"]}, {"odd", "even"})
        for c in result["results"]:
            self.assertGreater(c["gops"], 0)
            self.assertEqual(c["verified_rows"], c["m"])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    BENCH = sys.argv[1]
    probe = subprocess.run([BENCH, "sweep", *QUICK, "--kinds", "uniform", "demo"], capture_output=True, text=True)
    if probe.returncode == 5:
        print("test_bench: skipped, no OpenCL device")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
