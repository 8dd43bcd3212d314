#!/usr/bin/env python3
"""vitq-bench from end to end: words, numbers, bad input.

usage: test_bench.py VITQ_BENCH [unittest options]
"""
import csv
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

USAGE = 1
KINDS = ["uniform", "channels", "codebook", "output", "output-codebook", "output-f32"]
QUICK = ("--rounds", "1", "--seconds", "0.001", "--batch", "2", "--quiet")
QUICK_OF = {"peaks": ("--rounds", "1", "--seconds", "0.001", "--quiet"), "ops": QUICK, "gemm": QUICK, "sweep": QUICK}


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
        for command in ("peaks", "ops", "gemm", "sweep"):
            self.assertIn(f"  {command} ", text)
            page = self.ok(command, "--help")
            for word in ("usage:", "examples:", "--json", "columns:"):
                self.assertIn(word, page)
        for kind in KINDS:
            self.assertIn(f"  {kind} ", page)
        self.assertEqual(self.bench().returncode, USAGE)
        self.fails("swep", says='no command "swep"')

    def test_bad_words(self):
        for command in ("ops", "gemm", "sweep"):
            self.fails(command, "--batch", "0", says="--batch 0")
            self.fails(command, "--rounds", "x", says="--rounds x")
            self.fails(command, "--seconds", "0", says="--seconds 0")
            self.fails(command, "--nonsense", says="--help")
            self.fails(command, "nowhere", says="nowhere.txt")
            self.fails(command, "--json", "--csv", says="not both")
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

    def report(self, command, *words):
        """What --json prints, its head and the rows of the right kind; --csv says the same."""
        result = json.loads(self.ok(command, *QUICK_OF[command], "--json", *words))
        self.assertEqual((result["format"], result["command"]), ("vitq-bench 1", command))
        self.assertTrue(result["version"] and result["device"]["name"] and result["device"]["driver"])
        self.assertGreater(result["device"]["compute_units"], 0)
        self.assertTrue(result["rows"])
        for row in result["rows"]:
            self.assertLessEqual(row["seconds_fastest_round"], row["seconds_median"])
            self.assertLessEqual(row["seconds_median"], row["seconds_slowest_round"])
            self.assertGreater(row["seconds_median"], 0)
        return result

    def test_sweep(self):
        result = self.report("sweep", "--candidates", "20", "--bits", "3", self.shapes)
        for limit in ("read_gbps", "uniform", "codebook", "int8_gops", "fp32_gops"):
            self.assertGreater(result["peaks"][limit], 0)
        cells = result["rows"]
        self.assertEqual([(c["layer"], c["kind"]) for c in cells], [(l, k) for l in ("odd", "even") for k in KINDS])
        for c in cells:
            self.assertEqual((c["candidates"], c["a_bits"], c["batch"]), (20, 3, 2))
            elements = c["batch"] * c["m"] * c["k"] * 20
            self.assertAlmostEqual(c["giga_candidate_elements_per_second"] * c["seconds_median"] * 1e9 / elements, 1, 6)
            products = {"output": 2, "output-codebook": 4, "output-f32": 2}.get(c["kind"], 0) * elements * c["n"]
            self.assertAlmostEqual(c["gops"] * c["seconds_median"], products * 1e-9, 9)
            self.assertLess(c["max_error"], 1e-4)
            bound = max(c["memory_seconds"], c["compute_seconds"])
            self.assertAlmostEqual(c["share_of_bound"], bound / c["seconds_median"], 9)
            self.assertGreater(c["share_of_bound"], 0)
        self.assertEqual((cells[0]["m"], cells[0]["n"], cells[0]["k"]), (13, 37, 45))

    def test_peaks(self):
        result = self.report("peaks")
        peaks = result["peaks"]
        ops = {row["op"] for row in result["rows"]}
        self.assertEqual(ops, {"peak_s8", "peak_f32", "copy", "enqueue", "round_trip"})
        for op, peak in (("peak_s8", "int8_gops"), ("peak_f32", "fp32_gops")):
            best = max(1e-9 * row["operations"] / row["seconds_min"] for row in result["rows"] if row["op"] == op)
            self.assertAlmostEqual(peaks[peak] / best, 1, 6)
        self.assertEqual(len(peaks["copies"]), 4)
        self.assertGreater(peaks["round_trip_seconds"], peaks["enqueue_seconds"])
        self.assertIn("peak__portable", self.ok("peaks", *QUICK_OF["peaks"], "--variants", "portable"))

    def test_ops(self):
        result = self.report("ops", "demo")
        rows, peaks = result["rows"], result["peaks"]
        ops = {row["op"] for row in rows}
        self.assertEqual(ops, {"gemm_s8", "gemm_f32", "patchify_u8", "layernorm_s32", "layernorm_f32", "tokens_s32",
                               "pool_s32", "fakequant_f32", "quantile_f32", "quant_error_f32", "attention_u8",
                               "softmax_f32", "gelu_f32", "elementwise_f32"})
        for op in ops:
            self.assertTrue(any(row["variant"] == op + "__portable" for row in rows), op)
        for row in rows:
            self.assertGreater(row["verified"], 0)
            compute = row.get("operations", 0) * 1e-9 / peaks["int8_gops" if row["type"] == "int8" else "fp32_gops"]
            self.assertGreaterEqual(row["bound_seconds"] * 1.000001, compute)
            self.assertAlmostEqual(row["share_of_bound"] * row["seconds_median"] / row["bound_seconds"], 1, 6)
            self.assertEqual(row["max_error"] == 0, row["max_error"] < 1e-12)
            if row["type"] == "int8":
                self.assertEqual(row["max_error"], 0)
        qkv = next(row for row in rows if (row["op"], row["layer"]) == ("gemm_s8", "qkv"))
        self.assertEqual(qkv["operations"], 2 * 2 * 50 * 384 * 128)
        self.assertEqual((qkv["kind"], qkv["w_bits"], qkv["a_bits"]), ("codes", 8, 8))

    def test_ops_bits_and_windows(self):
        shapes = pathlib.Path(self.dir.name) / "windows.txt"
        shapes.write_text("w.attn 64 2 32 attention 4\np.attn 17 3 16 attention\n")
        rows = self.report("ops", "--bits", "w4a4", shapes)["rows"]
        self.assertEqual({(r["op"], r["layer"]) for r in rows},
                         {(op, l) for op in ("attention_u8", "softmax_f32") for l in ("w.attn", "p.attn")})
        self.assertEqual({r["window"] for r in rows if r["layer"] == "w.attn"}, {4})
        shapes.write_text("w.attn 60 2 32 attention 4\n")
        self.assertNotEqual(self.bench("ops", *QUICK_OF["ops"], shapes).returncode, 0)
        shapes.write_text("w 60 2 32 codes 4\n")
        self.fails("ops", shapes, says="windows.txt:1")

    def test_csv(self):
        rows = list(csv.DictReader(io.StringIO(self.ok("ops", *QUICK_OF["ops"], "--csv", "--ops", "gemm", self.shapes))))
        self.assertEqual({(r["op"], r["layer"]) for r in rows},
                         {(op, l) for op in ("gemm_s8", "gemm_f32") for l in ("odd", "even")})
        for row in rows:
            self.assertNotIn(None, row)
            self.assertGreater(float(row["gops"]), 0)
            self.assertTrue(row["device"] and row["version"])
            self.assertEqual(row["images_per_second"], "")

    def test_variants(self):
        text = self.ok("sweep", *QUICK, "--kinds", "output", "--variants", "portable", self.shapes)
        self.assertIn("output_error__portable", text)
        self.assertNotIn("quant_error", text)
        self.assertNotIn("wide", text)
        text = self.ok("sweep", *QUICK, "--kinds", "uniform", "--variants", "all", self.shapes)
        self.assertIn("quant_error_f32__portable", text)

    def test_gemm(self):
        for kind, op in (("int8", "gemm_s8"), ("fp32", "gemm_f32")):
            rows = self.report("gemm", "--type", kind, self.shapes)["rows"]
            self.assertEqual({r["layer"] for r in rows}, {"odd", "even"})
            self.assertEqual({r["op"] for r in rows}, {op})
            for r in rows:
                self.assertGreater(r["gops"], 0)
                self.assertEqual(r["verified"], 2 * r["m"] * r["n"])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    BENCH = sys.argv[1]
    probe = subprocess.run([BENCH, "sweep", *QUICK, "--kinds", "uniform", "demo"], capture_output=True, text=True)
    if probe.returncode == 5:
        print("test_bench: skipped, no OpenCL device")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
