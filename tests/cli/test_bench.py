#!/usr/bin/env python3
"""vitq-bench from end to end: words, numbers, bad input.

usage: test_bench.py VITQ_BENCH [unittest options]
"""
import csv
import io
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

USAGE = 1
KINDS = ["uniform", "channels", "codebook", "output", "output-codebook", "output-f32"]
QUICK = ("--rounds", "1", "--seconds", "0.001", "--batch", "2", "--quiet")
QUICK_OF = {"peaks": ("--rounds", "1", "--seconds", "0.001", "--quiet"), "ops": QUICK, "gemm": QUICK, "sweep": QUICK,
            "model": ("--rounds", "2", "--seconds", "0.001", "--quiet")}
MODEL = pathlib.Path(__file__).resolve().parents[2] / "models" / "fashion_vit"


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
    def bench(*words, **environment):
        return subprocess.run([BENCH, *map(str, words)], capture_output=True, text=True, timeout=600,
                              env=dict(os.environ, **environment))

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
        for command in ("peaks", "ops", "gemm", "sweep", "model", "startup", "compare", "plot", "tune"):
            self.assertIn(f"  {command} ", text)
            page = self.ok(command, "--help")
            for word in ("usage:", "examples:", "options:", "json" if command != "tune" else "--dry-run"):
                self.assertIn(word, page)
        page = self.ok("sweep", "--help")
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
        sizes = [copy["bytes"] for copy in peaks["copies"]]
        self.assertEqual(sizes, sorted(set(sizes)))
        self.assertEqual(sizes[0], 2 * 128 * 1024)
        for copy in peaks["copies"]:
            self.assertGreater(copy["gbps"], 0)
        self.assertGreater(peaks["round_trip_seconds"], 0)
        self.assertGreater(peaks["enqueue_seconds"], 0)
        self.assertIn("peak__portable", self.ok("peaks", *QUICK_OF["peaks"], "--variants", "portable"))

    def test_ops(self):
        result = self.report("ops", "demo")
        rows, peaks = result["rows"], result["peaks"]
        ops = {row["op"] for row in rows}
        self.assertEqual(ops, {"gemm_s8", "gemm_f32", "linear_f32", "patchify_u8", "patchify_f32",
                               "layernorm_s32", "layernorm_f32", "tokens_s32", "pool_s32", "fakequant_f32",
                               "quantile_f32", "quant_error_f32", "attention_u8", "attention_f32",
                               "softmax_f32", "gelu_f32", "elementwise_f32", "layernorm_f64", "softmax_f64",
                               "gelu_rational_f32", "gptq_f32", "descent_f32", "gram_error_f32"})
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

    def test_ops_table(self):
        """The fastest sample's share of the bound is never below the median's."""
        lines = self.ok("gemm", *QUICK_OF["ops"], self.shapes).splitlines()
        heads = [line.split() for line in lines if line.startswith("  variant ")]
        self.assertEqual({tuple(head[-3:]) for head in heads}, {("bound", "share", "best")})
        rows = [line.split() for line in lines if line.startswith("  gemm_")]
        self.assertGreaterEqual(len(rows), 2 * len(heads))
        for row in rows:
            share, best = (float(word.rstrip("%")) for word in row[-2:])
            self.assertGreaterEqual(best, share)

    def test_ops_bits_and_windows(self):
        shapes = pathlib.Path(self.dir.name) / "windows.txt"
        shapes.write_text("w.attn 64 2 32 attention 4\np.attn 17 3 16 attention\n")
        rows = self.report("ops", "--bits", "w4a4", shapes)["rows"]
        self.assertEqual({(r["op"], r["layer"]) for r in rows},
                         {(op, l) for op in ("attention_u8", "softmax_f32", "softmax_f64") for l in ("w.attn", "p.attn")}
                         | {("attention_f32", "p.attn")})
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

    def test_tune(self):
        cache = pathlib.Path(self.dir.name) / "tuned"
        words = ("tune", "--rounds", "1", "--seconds", "0.001", "--quiet", "--batch", "1", "--ops", "norm,softmax", "demo")
        dry = self.bench(*words, "--dry-run", VITQ_CACHE_DIR=str(cache))
        self.assertEqual((dry.returncode, dry.stderr, list(cache.glob("*.tuning"))), (0, "", []))
        done = self.bench(*words, VITQ_CACHE_DIR=str(cache))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        (path,) = cache.glob("*.tuning")
        self.assertIn(str(path), done.stdout)
        table = json.loads(path.read_text())
        self.assertEqual(set(table["variants"]), {"layernorm_s32", "layernorm_f32", "softmax_f32", "layernorm_f64", "softmax_f64"})
        for op, variant in table["variants"].items():
            self.assertTrue(variant.startswith(op + "__"))
            self.assertRegex(done.stdout, rf"(?m)^{op} .* {variant} ")
        # another run keeps the rows of ops that it did not measure
        gelu = words[:words.index("norm,softmax")] + ("gelu,layernorm_f32", "demo")
        self.assertEqual(self.bench(*gelu, VITQ_CACHE_DIR=str(cache)).returncode, 0)
        more = json.loads(path.read_text())
        self.assertEqual(set(more["variants"]), {*table["variants"], "gelu_f32", "gelu_rational_f32"})
        for op in ("layernorm_s32", "softmax_f32"):
            self.assertEqual(more["variants"][op], table["variants"][op])
        self.assertEqual(more["clblast"], table["clblast"])
        path.write_text(path.read_text()[:-30])
        peaks = ("peaks", *QUICK_OF["peaks"], "--variants", "portable")
        self.assertRegex(self.bench(*peaks, VITQ_CACHE_DIR=str(cache)).stderr, "tuning table ignored.*tune")
        self.assertEqual(self.bench(*peaks, VITQ_CACHE_DIR=str(cache)).stderr, "")
        self.assertEqual(json.loads(path.read_text())["variants"], {})
        self.assertNotEqual(self.bench("tune", "--ops", "nothing", "demo", VITQ_CACHE_DIR=str(cache)).returncode, 0)
        wrong = self.bench(*peaks, VITQ_CACHE_DIR=str(cache), VITQ_KERNELS="nonsense")
        self.assertNotEqual(wrong.returncode, 0)
        self.assertRegex(wrong.stderr, '"nonsense".* gemm_s8__portable ')

    # ---- whole models ----

    def test_model(self):
        rows = self.report("model", "--batches", "1,3", MODEL)["rows"]
        models = [r for r in rows if r["bench"] == "model"]
        self.assertEqual([(r["op"], r["model"], r["batch"]) for r in models],
                         [("fp32", "fashion_vit", 1), ("fp32", "fashion_vit", 3)])
        for r in models:
            self.assertAlmostEqual(r["images_per_second"] * r["seconds_median"] / r["batch"], 1, 6)
            # patch embedding, 6 blocks of qkv, scores, context, proj, fc1, fc2, and the head
            block = 50 * 128 * (384 + 128 + 2 * 512) + 2 * 50 * 50 * 128
            self.assertEqual(r["operations"], 2 * r["batch"] * (49 * 16 * 128 + 6 * block + 128 * 10))
            self.assertEqual(r["verified"], 10)
            self.assertLess(r["max_error"], 1e-3)
            self.assertGreater(r["device_bytes"], 4 * 1199754)
            shares = [p["time_share"] for p in rows if p["bench"] == "profile" and p["batch"] == r["batch"]]
            self.assertAlmostEqual(sum(shares), 1, 6)
            profile = [p for p in rows if p["bench"] == "profile" and p["batch"] == r["batch"]]
            self.check_profile(profile, r)
            ops = {p["op"] for p in profile}
            self.assertTrue(ops & {"row_chain", "layernorm"})  # CPUs do LayerNorms along with linears
            self.assertEqual(ops - {"row_chain", "layernorm"}, {"patch_embed", "tokens", "linear", "attention", "pool"})
            # weights and biases are read once; of the activations at least those of the linear layers
            self.assertGreater(r["bytes"], 4 * (1199754 + r["batch"] * 6 * 50 * (128 + 384 + 128 + 128 + 2 * 5 * 128)))
            self.assertNotIn("unfused_bytes", r)
        self.fails("model", says="no model")
        self.fails("model", "--weights", "nibbles", says="--weights nibbles")
        self.fails("model", "--lanes", "0", says="--lanes 0")

    def check_profile(self, rows, model):
        """Shares of the bound follow from the sums of steps; kernels and bytes of all ops are the model's."""
        self.assertEqual(len({(p["op"], p.get("kind")) for p in rows}), len(rows))
        self.assertEqual(sum(p["launches"] for p in rows), model["launches"])
        self.assertAlmostEqual(sum(p["bytes"] for p in rows) / model["bytes"], 1, 9)
        self.assertAlmostEqual(sum(p["operations"] for p in rows) / model["operations"], 1, 9)
        for p in rows:
            self.assertGreater(p["bytes"], 0)
            self.assertAlmostEqual(p["share_of_bound"] * p["seconds_median"] / p["bound_seconds"], 1, 6)
            self.assertLessEqual(p["bound_seconds"], p["compute_seconds"] + p["memory_seconds"])
            self.assertEqual(p["bound"], p["type"] if p["compute_seconds"] >= p["memory_seconds"] else "memory")

    def test_quantized_model(self):
        vitq = pathlib.Path(BENCH).parent / "vitq"
        images, model = pathlib.Path(self.dir.name) / "noise.idx", pathlib.Path(self.dir.name) / "w4a4.vitq.safetensors"
        noise = random.Random(7).randbytes(8 * 28 * 28)
        images.write_bytes(struct.pack(">IIII", 0x803, 8, 28, 28) + noise)
        subprocess.run([vitq, "calibrate", MODEL, "-i", images, "-n", "8", "--recipe", "minmax", "-o", model, "-q"],
                       check=True, timeout=300)
        rows = self.report("model", "--batches", "2", "--lanes", "1", model)["rows"]
        self.assertEqual((rows[0]["batch"], rows[0]["verified"], rows[0]["max_error"]), (2, 10, 0))
        rows = self.report("model", "--batches", "2", model)["rows"]
        self.assertEqual((rows[0]["bench"], rows[0]["op"], rows[0]["type"], rows[0]["batch"]), ("model", "int", "int8", 2))
        self.assertEqual((rows[0]["verified"], rows[0]["max_error"]), (10, 0))
        kernels = {(r["op"], r.get("kind")): r["launches"] for r in rows if r["bench"] == "profile"}
        by_rows = {("gemm_s8", "codes"): 6, ("gemm_s8", "table"): 6, ("gemm_s8", "add"): 13, ("gemm_s8", "set"): 1,
                   ("layernorm_s32", None): 13}
        chains = kernels.get(("row_chain", None), 0)  # of CPUs, each in place of two at least
        launched = sum(kernels.get(key, 0) for key in by_rows)
        if chains:
            self.assertLessEqual(launched + 2 * chains, sum(by_rows.values()))
        else:
            self.assertEqual({key: kernels.get(key) for key in by_rows}, by_rows)
        self.assertIn(kernels["attention_u8", None], (6, 12))  # with a packing of K and V where products want one
        self.check_counts(rows[0])

    def check_counts(self, model):
        """2 images of 50 tokens, 6 blocks of width 128: bytes by hand are tests/unit/test_int_cost.c's."""
        products = 13 * 3 + 6 * 2 + 6 * 3 + 2  # and requantization; the residual's sum; GELU
        norms, attention, others = 13 * 2, 6 * 10, 3
        self.assertIn(model["unfused_launches"] - products - norms - others, range(attention - 2, attention + 6 * 2 + 2))
        self.assertGreater(model["unfused_launches"], 2 * model["launches"])
        self.assertGreater(model["unfused_bytes"], 2 * model["bytes"])
        # the constants of weights in 4 bits: half a byte each, besides tables
        self.assertGreater(model["model_bytes"], 6 * 12 * 128 * 128 / 2)
        self.assertLess(model["model_bytes"], 6 * 12 * 128 * 128)
        self.assertGreater(model["device_bytes"] - model["model_bytes"], 2 * 50 * 4 * 128)

    def test_startup(self):
        cache = pathlib.Path(self.dir.name) / "untouched"
        done = self.bench("startup", "--rounds", "1", "--quiet", "--json", MODEL, VITQ_CACHE_DIR=str(cache))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertFalse(cache.exists())
        rows = {(r["kind"], r["op"]): r["seconds_median"] for r in json.loads(done.stdout)["rows"]}
        phases = ("device", "model", "session", "first")
        self.assertEqual(set(rows), {(kind, op) for kind in ("cold", "warm") for op in ("all", *phases)})
        for kind in ("cold", "warm"):
            self.assertAlmostEqual(sum(rows[kind, p] for p in phases), rows[kind, "all"], 6)
        self.assertGreater(rows["cold", "all"], 2 * rows["warm", "all"])
        once = self.bench("startup", "--once", MODEL, VITQ_CACHE_DIR=str(cache))
        self.assertEqual((once.returncode, len(once.stdout.splitlines()), once.stderr), (0, 4, ""))
        self.assertTrue(list(cache.glob("*.clbin")))
        text = self.ok("startup", "--rounds", "1", "--quiet", MODEL)
        self.assertRegex(text, r"(?m)^  cold +\d.*\n  warm +\d")
        self.fails("startup", says="no model")
        wrong = self.bench("startup", "--rounds", "1", "--quiet", "/nowhere")
        self.assertNotEqual(wrong.returncode, 0)
        self.assertEqual(len(wrong.stderr.splitlines()), 1)

    def test_bad_models(self):
        self.fails("model", "--batches", "1,x", MODEL, says="--batches 1,x")
        self.assertNotEqual(self.bench("model", "/nowhere").returncode, 0)

    # ---- reports read again ----

    def write(self, name, content):
        path = pathlib.Path(self.dir.name) / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    @staticmethod
    def made_up():
        """A report of three rows, as ops would print it."""
        rows = [{"bench": "ops", "op": op, "variant": op + "__" + variant, "model": "m", "layer": "qkv", "batch": 8,
                 "m": 2, "n": 3, "k": 4, "seconds_median": 1e-3, "seconds_fastest_round": 0.9e-3,
                 "seconds_slowest_round": 1.1e-3, "operations": 1e6, "bytes": 1e5, "gops": 1.0, "share_of_bound": 0.5}
                for op, variant in (("gemm_s8", "portable"), ("gemm_s8", "wide"), ("gelu_f32", "portable"))]
        return {"format": "vitq-bench 1", "command": "ops", "version": "0.1.0", "device": {"name": "A", "driver": "1"},
                "peaks": {"int8_gops": 100, "fp32_gops": 50, "copies": [{"bytes": 1e6, "gbps": 10}]}, "rows": rows}

    def scaled(self, factor, rows=(0,)):
        report = self.made_up()
        for i in rows:
            for key in ("seconds_median", "seconds_fastest_round", "seconds_slowest_round"):
                report["rows"][i][key] *= factor
        return report

    def test_compare(self):
        a = self.write("a.json", self.made_up())
        self.assertIn("3 rows compared, 0 regressions and 0 faster beyond 5%", self.ok("compare", a, a))
        slow = self.write("slow.json", self.scaled(2))
        done = self.bench("compare", a, slow)
        self.assertEqual((done.returncode, done.stderr), (1, ""))
        self.assertIn("2.000 [1.636, 2.444] REGRESSION gemm_s8 m qkv gemm_s8__portable", done.stdout)
        self.assertIn("gemm_s8                        2 rows, mean ratio 1.414", done.stdout)
        self.assertIn("1 faster", self.ok("compare", slow, a))
        self.assertIn("0 regressions", self.ok("compare", "--threshold", "150%", a, slow))
        # beyond the threshold, but within what rounds of one report differ by
        self.assertIn("0 regressions", self.ok("compare", a, self.write("noise.json", self.scaled(1.15))))
        # the fastest variants are as fast as before
        self.assertIn("2 rows compared, 0 regressions", self.ok("compare", "--best", a, slow))
        self.assertEqual(self.bench("compare", "--best", a, self.write("both.json", self.scaled(2, (0, 1)))).returncode, 1)
        fewer = self.made_up()
        del fewer["rows"][2]
        text = self.ok("compare", a, self.write("fewer.json", fewer))
        self.assertIn("only in A: gelu_f32 m qkv gelu_f32__portable", text)
        self.assertIn("1 in one report alone", text)
        other = self.made_up()
        for row in other["rows"]:
            row["batch"] = 1
        self.assertNotIn(self.bench("compare", a, self.write("other.json", other)).returncode, (0, 1))
        self.fails("compare", a, says="two files")
        self.fails("compare", "--threshold", "x", a, a, says="--threshold x")

    def test_hostile_reports(self):
        good = self.write("good.json", self.made_up())
        rows = self.made_up()["rows"]
        hostile = ["", "{", "[]", "null", '{"format": 1}', "[" * 5000, '{"format": "vitq-bench 2", "rows": []}',
                   '{"format": "vitq-bench 1"}', '{"format": "vitq-bench 1", "rows": {}}',
                   '{"format": "vitq-bench 1", "rows": [1]}', '{"format": "vitq-bench 1", "rows": [{}]}',
                   json.dumps(self.made_up())[:-20], "\0" * 100]
        for key, value in (("seconds_median", "fast"), ("seconds_median", -1), ("seconds_median", 0), ("op", 5),
                           ("op", None), ("m", []), ("gops", "x"), ("bench", "")):
            hostile.append(dict(self.made_up(), rows=[dict(rows[0], **{key: value})]))
        hostile.append(json.dumps(self.made_up()).replace("0.001", "1e999"))
        hostile.append(dict(self.made_up(), peaks={"copies": [{"bytes": 1, "gbps": 1}] * 9}))
        hostile.append(dict(self.made_up(), device={"name": 7}))
        for number, content in enumerate(hostile):
            path = self.write("hostile.json", content)
            for words in (("compare", good, path), ("compare", path, good), ("plot", path)):
                done = self.bench(*words)
                self.assertEqual((done.returncode, done.stdout), (11, ""), (number, words, done.stderr))
                self.assertIn("hostile.json", done.stderr)
        self.assertNotEqual(self.bench("plot", "/nowhere.json").returncode, 0)

    def test_plot(self):
        report = self.made_up()
        report["device"]["name"] = "<A> & \"B\" \u00e9\u0007"
        for row in report["rows"][:2]:
            row["layer"] = "<script>alert('&')</script>"
        report["rows"][1].update(operations=1e300, bytes=1e-3, gops=1e250, share_of_bound=1e9)
        report["rows"][2].update(operations=1e-300, gops=1e-250, images_per_second=1e12)
        path = self.write("plot.json", report)
        text = self.ok("plot", path)
        svg = xml.etree.ElementTree.fromstring(text)
        self.assertEqual(svg.tag, "{http://www.w3.org/2000/svg}svg")
        self.assertNotIn("<script", text)
        self.assertIn("&lt;script&gt;", text)
        for word in ("nan", "inf"):
            self.assertNotIn(word + '"', text)
        self.assertEqual(len(svg.findall(".//{*}circle")), 3)
        out = pathlib.Path(self.dir.name) / "plot.svg"
        self.assertEqual(self.ok("plot", "--best", path, "-o", out), "")
        best = xml.etree.ElementTree.fromstring(out.read_text())
        self.assertEqual(len(best.findall(".//{*}circle")), 2)
        self.assertNotEqual(self.bench("plot", path, "-o", "/nowhere/x.svg").returncode, 0)
        real = self.write("real.json", json.loads(self.ok("ops", *QUICK, "--json", "--ops", "gemm", self.shapes)))
        xml.etree.ElementTree.fromstring(self.ok("plot", real))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    BENCH = sys.argv[1]
    probe = subprocess.run([BENCH, "sweep", *QUICK, "--kinds", "uniform", "demo"], capture_output=True, text=True)
    if probe.returncode == 5:
        print("test_bench: skipped, no OpenCL device")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]])
