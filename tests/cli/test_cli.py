#!/usr/bin/env python3
"""The vitq program from end to end: words, numbers, exit codes, bad input, Ctrl-C.

usage: test_cli.py VITQ CLASSIFY [unittest options]
Needs the bundled model and Debian's dataset-fashion-mnist (or $VITQ_FASHION_MNIST); exit 77 without.
"""
import gzip
import json
import os
import pathlib
import pty
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import unittest
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "fashion_vit"
DATA = pathlib.Path(os.environ.get("VITQ_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
IMAGES, LABELS = DATA / "t10k-images-idx3-ubyte.gz", DATA / "t10k-labels-idx1-ubyte.gz"
TRAIN = DATA / "train-images-idx3-ubyte.gz"

USAGE, INVALID, UNSUPPORTED, NO_DEVICE, IO, FORMAT = 1, 2, 4, 5, 10, 11


def png(path, rows):
    """An 8-bit grey PNG."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + bytes(r) for r in rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def safetensors(path):
    """Header and data of a safetensors file."""
    data = pathlib.Path(path).read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + n]), data[8 + n:]


class Cli(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="vitq-cli-"))
        cls.w4a4, cls.w8a8 = cls.dir / "w4a4.vitq.safetensors", cls.dir / "w8a8.vitq.safetensors"
        for bits, out in (("w4a4", cls.w4a4), ("w8a8", cls.w8a8)):
            done = cls.vitq("calibrate", MODEL, "--images", TRAIN, "--bits", bits, "-o", out, "--quiet")
            if done.returncode or done.stdout or done.stderr:
                raise AssertionError(f"calibrate {bits}: {done.returncode} {done.stdout} {done.stderr}")
        cls.photos = cls.dir / "photos"
        cls.photos.mkdir()
        with gzip.open(IMAGES) as f:
            f.read(16)
            cls.pixels = [f.read(28 * 28) for _ in range(12)]
        with gzip.open(LABELS) as f:
            f.read(8)
            cls.classes = list(f.read(12))
        for i, p in enumerate(cls.pixels):
            png(cls.photos / f"{i:02d}.png", [p[r * 28:r * 28 + 28] for r in range(28)])
        cls.csv = cls.dir / "labels.csv"
        cls.csv.write_text("file,class_index\n" + "".join(f"{i:02d}.png,{c}\n" for i, c in enumerate(cls.classes)))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.dir)

    @staticmethod
    def vitq(*words, **more):
        return subprocess.run([VITQ, *map(str, words)], capture_output=True, text=True, timeout=600, **more)

    def ok(self, *words, **more):
        done = self.vitq(*words, **more)
        self.assertEqual((done.returncode, done.stderr), (0, ""), words)
        return done.stdout

    def json(self, *words, **more):
        return json.loads(self.ok(*words, "--json", **more))

    def fails(self, code, *words, says=(), **more):
        """Exit code, one line on stderr with all of `says`, nothing on stdout."""
        done = self.vitq(*words, **more)
        self.assertEqual(done.returncode, code, (words, done.stderr))
        self.assertEqual(done.stdout, "", words)
        self.assertRegex(done.stderr, r"\Avitq: [^\n]+\n\Z")
        for text in [says] if isinstance(says, str) else says:
            self.assertIn(text, done.stderr)

    def eval(self, model, *more):
        return self.json("eval", model, "--images", IMAGES, "--labels", LABELS, *more)

    # ---- words ----

    def test_help(self):
        commands = ("devices", "inspect", "calibrate", "eval", "predict")
        for text in (self.ok("--help"), self.ok("help")):
            for c in commands:
                self.assertIn(f"  {c} ", text)
        for c in commands:
            text = self.ok(c, "--help")
            self.assertIn("Examples:", text)
            self.assertIn("--json", text)
            self.assertEqual(text, self.ok("help", c))
        self.assertIn("130", self.ok("help", "exit-codes"))
        self.assertRegex(self.ok("--version"), r"^vitq \d+\.\d+\.\d+\n$")
        self.assertEqual(self.vitq().returncode, USAGE)

    def test_did_you_mean(self):
        self.fails(USAGE, "evla", says="'eval'")
        self.fails(USAGE, "xyzzy", says="--help")
        self.fails(USAGE, "eval", MODEL, "--lables", "x", says="'--labels'")
        self.fails(USAGE, "eval", MODEL, "--label=x", says="'--labels'")
        self.fails(USAGE, "predict", MODEL, "--samples", "3", says="calibrate")
        self.fails(INVALID, "calibrate", MODEL, "--images", TRAIN, "--recipe", "reqp", "-o", "x", says="'repq'")
        self.fails(USAGE, "help", "evl", says="eval")

    def test_values(self):
        out = self.dir / "never"
        for bits, code in (("w1a4", INVALID), ("w4a9", INVALID), ("4", USAGE), ("w4", USAGE), ("w4a4x", USAGE), ("w+4a4", USAGE)):
            self.fails(code, "calibrate", MODEL, "--images", TRAIN, "--bits", bits, "-o", out, says="--bits")
        for word, value, code in (("--batch", "0", INVALID), ("--batch", "8x", USAGE), ("--limit", "-1", INVALID),
                                  ("--limit", "", USAGE), ("--mode", "int8", USAGE), ("--device", "99999999999999999999", USAGE)):
            self.fails(code, "eval", MODEL, "--images", IMAGES, "--labels", LABELS, word, value, says=word)
        self.fails(USAGE, "eval", MODEL, "--images", says="needs a value")
        self.fails(USAGE, "eval", MODEL, "--json=1", says="--json")
        self.fails(USAGE, "eval", MODEL, "--images", IMAGES, says="--labels")
        self.fails(USAGE, "eval", MODEL, "--labels", LABELS, says="--images")
        self.fails(USAGE, "eval", says="MODEL")
        self.fails(USAGE, "inspect", MODEL, MODEL, says="too many")
        self.fails(USAGE, "predict", MODEL, says="IMAGE")
        self.fails(USAGE, "calibrate", MODEL, "-o", out, says="--images")
        self.fails(USAGE, "calibrate", MODEL, "--images", TRAIN, says="-o")
        self.assertFalse(out.exists())

    # ---- numbers ----

    def test_devices(self):
        devices = self.json("devices", "--probe")["devices"]
        self.assertTrue(devices[0]["name"])
        self.assertIn("caps", devices[0])
        self.assertIn(devices[0]["name"], self.ok("devices"))

    def test_inspect(self):
        m = self.json("inspect", MODEL)
        self.assertEqual((m["embed_dim"], m["depth"], m["num_classes"], m["quantized"]), (128, 6, 10, False))
        q = self.json("inspect", self.w4a4)
        self.assertEqual((q["quantized"], q["manifest"]["recipe"], q["manifest"]["samples"]), (True, "repq", 32))
        self.assertIn("blocks.5.mlp.fc2", self.ok("inspect", self.w4a4))

    def test_calibrate(self):
        out = self.dir / "again.vitq.safetensors"
        made = self.json("calibrate", MODEL, "--images", TRAIN, "--bits=w4a4", "-n", "32", "-o", out)
        self.assertEqual((made["recipe"], made["weight_bits"], made["samples"], made["bytes"]),
                         ("repq", 4, 32, out.stat().st_size))
        self.assertEqual(out.read_bytes(), self.w4a4.read_bytes())
        header, data = safetensors(out)
        document = json.loads(header["__metadata__"]["vitq"])
        self.assertEqual(document["manifest"]["weight_bits"], 4)
        self.assertEqual(max(t["data_offsets"][1] for n, t in header.items() if n != "__metadata__"), len(data))
        shuffled = self.json("calibrate", MODEL, "--images", TRAIN, "--recipe", "minmax", "--seed", "7", "-b", "w6a5", "-o", out)
        self.assertEqual((shuffled["recipe"], shuffled["activation_bits"]), ("minmax", 5))
        self.assertNotEqual(out.read_bytes(), self.w4a4.read_bytes())
        out.unlink()

    def test_accuracy(self):
        n = 1000
        fp32 = self.eval(MODEL, "--limit", n)
        self.assertEqual((fp32["n"], fp32["mode"], fp32["skipped"]), (n, "fp32", 0))
        self.assertGreater(fp32["top1"], 0.88 * n)
        self.assertGreaterEqual(fp32["top5"], fp32["top1"])
        for model, loss in ((self.w8a8, 0.01), (self.w4a4, 0.2)):
            fake, whole = self.eval(model, "--mode", "fake", "--limit", n), self.eval(model, "--limit", n)
            self.assertEqual(whole["mode"], "int")
            self.assertGreaterEqual(fake["top1"], fp32["top1"] - loss * n)
            self.assertGreaterEqual(whole["top1"], fake["top1"] - 0.01 * n)
            for field in ("images_per_second", "images_per_second_total"):
                self.assertGreater(whole[field], 0)
            self.assertTrue(whole["device"] and whole["variant"])

    def test_integer_logits_are_exact(self):
        seen = set()
        for more in (("--batch", "1"), ("--batch", "7"), ("--batch", "20"), ("--witness",), ("--kernels", "portable")):
            out = self.dir / "logits.safetensors"
            self.eval(self.w4a4, "--limit", 20, "--logits", out, *more)
            header, data = safetensors(out)
            self.assertEqual((header["logits"]["dtype"], header["logits"]["shape"]), ("I32", [20, 10]))
            seen.add(data)
            out.unlink()
        self.assertEqual(len(seen), 1)

    def test_logits_of_floats(self):
        out = self.dir / "logits.safetensors"
        result = self.eval(MODEL, "--limit", 20, "--logits", out, "--batch", 6)
        header, data = safetensors(out)
        rows = struct.unpack("<200f", data)
        self.assertEqual((header["logits"]["dtype"], header["logits"]["shape"]), ("F32", [20, 10]))
        with gzip.open(LABELS) as f:
            labels = f.read(28)[8:]
        right = sum(max(range(10), key=lambda c: rows[10 * i + c]) == labels[i] for i in range(20))
        self.assertEqual(result["top1"], right)
        out.unlink()

    def test_predict(self):
        names = [self.photos / f"{i:02d}.png" for i in range(10)]
        result = self.json("predict", self.w8a8, *names, "--topk", 3)
        self.assertEqual((result["mode"], len(result["images"])), ("int", 10))
        right = sum(image["classes"][0]["index"] == c for image, c in zip(result["images"], self.classes))
        self.assertGreaterEqual(right, 8)
        for image in result["images"]:
            p = [c["probability"] for c in image["classes"]]
            self.assertEqual((len(p), p), (3, sorted(p, reverse=True)))
            self.assertLessEqual(sum(p), 1.001)
        text = self.ok("predict", self.w8a8, names[0])
        self.assertIn(result["images"][0]["classes"][0]["label"], text)
        self.assertEqual(len(self.json("predict", MODEL, names[0], "-k", "99")["images"][0]["classes"]), 10)

    def test_example(self):
        done = subprocess.run([CLASSIFY, self.w8a8, self.photos / "00.png"], capture_output=True, text=True)
        label = self.json("predict", self.w8a8, self.photos / "00.png")["images"][0]["classes"][0]["label"]
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(label, done.stdout.splitlines()[0])
        self.assertEqual(subprocess.run([CLASSIFY, self.w8a8, "/nowhere"], capture_output=True).returncode, IO)

    # ---- bad input ----

    def test_bad_photos(self):
        folder = self.dir / "bad"
        shutil.copytree(self.photos, folder)
        (folder / "01.png").write_bytes(b"")
        data = (folder / "04.png").read_bytes()
        (folder / "04.png").write_bytes(data[:len(data) // 2])
        (folder / "11.png").write_text("no photo")
        words = ("eval", self.w8a8, "--images", folder, "--labels", self.csv)
        self.fails(FORMAT, *words, says="01.png")
        self.fails(FORMAT, "predict", self.w8a8, folder / "04.png", says="04.png")
        out = self.dir / "rows.safetensors"
        done = self.vitq(*words, "--skip-bad", "--json", "--batch", "5", "--logits", out)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stderr.count("skipped: "), 3)
        result = json.loads(done.stdout)
        self.assertEqual((result["n"], result["skipped"]), (9, 3))
        self.assertEqual(safetensors(out)[0]["logits"]["shape"], [9, 10])
        made = self.dir / "bad.vitq.safetensors"
        calibrate = ("calibrate", MODEL, "--images", folder, "-o", made)
        self.fails(FORMAT, *calibrate, says="01.png")
        self.assertFalse(made.exists())
        done = self.vitq(*calibrate, "--skip-bad", "--json", "--samples", "9")
        self.assertEqual((done.returncode, json.loads(done.stdout)["samples"]), (0, 9), done.stderr)
        for p in folder.iterdir():
            p.write_bytes(b"")
        self.assertEqual(self.vitq(*words, "--skip-bad", "--quiet").returncode, FORMAT)
        self.assertEqual(self.vitq(*calibrate, "--skip-bad", "--quiet").returncode, FORMAT)

    def test_bad_labels(self):
        bad = self.dir / "bad.csv"
        for text, says in (("file,class_index\n00.png,10\n", "10"), ("file,class_index\nnone.png,1\n", "none.png"),
                           ("file,class_index\n00.png,x\n", "x"), ("name\n00.png\n", "file")):
            bad.write_text(text)
            done = self.vitq("eval", MODEL, "--images", self.photos, "--labels", bad)
            self.assertGreater(done.returncode, 1)
            self.assertRegex(done.stderr, r"\Avitq: [^\n]*bad.csv[^\n]*\n\Z")
            self.assertIn(says, done.stderr)

    def test_bad_models(self):
        folder = self.dir / "model"
        folder.mkdir()
        self.fails(IO, "inspect", self.dir / "nowhere", says="nowhere")
        self.assertNotEqual(self.vitq("inspect", folder).returncode, 0)
        shutil.copy(MODEL / "config.json", folder)
        weights = (MODEL / "model.safetensors").read_bytes()
        for data in (b"", weights[:4], weights[:5000], weights[:-1], struct.pack("<Q", 1 << 60) + weights[8:]):
            (folder / "model.safetensors").write_bytes(data)
            self.fails(FORMAT, "inspect", folder, says="model.safetensors")
        (folder / "model.safetensors").write_bytes(weights)
        (folder / "config.json").write_text("{")
        self.fails(FORMAT, "inspect", folder, says="config.json")
        broken = self.dir / "broken.vitq.safetensors"
        broken.write_bytes(self.w4a4.read_bytes()[:-100])
        self.fails(FORMAT, "inspect", broken, says="broken.vitq")
        self.fails(UNSUPPORTED, "calibrate", self.w4a4, "--images", TRAIN, "-o", self.dir / "x", says="quantized")
        self.fails(UNSUPPORTED, "eval", MODEL, "--mode", "int", "--images", IMAGES, "--labels", LABELS, says="calibrate")
        self.fails(UNSUPPORTED, "eval", self.w4a4, "--mode", "fp32", "--images", IMAGES, "--labels", LABELS)

    def test_bad_outputs(self):
        words = ("calibrate", MODEL, "--images", TRAIN, "-o")
        self.fails(IO, *words, self.dir / "none" / "x", says="none")
        self.fails(IO, *words, self.dir, says="folder")
        self.fails(IO, *words, "/dev/null", says="/dev/null")
        self.fails(INVALID, *words, MODEL / "model.safetensors", says="overwrite")
        self.fails(IO, "eval", MODEL, "--images", IMAGES, "--labels", LABELS, "--logits", self.dir / "none" / "x")
        empty = self.dir / "empty"
        empty.mkdir()
        limit = 1 << 20  # as a full disk; more than the OpenCL compiler's own files need
        self.fails(IO, *words, empty / "x", "--bits", "w8a8", says="x",
                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        self.assertEqual(list(empty.iterdir()), [])
        with open("/dev/full", "w") as full:
            done = subprocess.run([VITQ, "inspect", MODEL], stdout=full, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, IO)

    def test_no_device(self):
        env = dict(os.environ, OCL_ICD_VENDORS=str(self.dir / "none"))
        self.fails(NO_DEVICE, "devices", says="pocl-opencl-icd", env=env)
        self.fails(NO_DEVICE, "predict", MODEL, self.photos / "00.png", says="pocl-opencl-icd", env=env)
        self.fails(NO_DEVICE, "predict", MODEL, self.photos / "00.png", "--device", "77", says="77")

    # ---- terminal ----

    def interrupt(self, *words):
        """Ctrl-C in the middle of long work: 130, one line."""
        run = subprocess.Popen([VITQ, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(1.5)
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=300)
        self.assertEqual((run.returncode, out), (130, ""), err)
        self.assertRegex(err, r"\Avitq: interrupted[^\n]*\n\Z")

    def test_interrupt(self):
        folder = self.dir / "interrupted"
        folder.mkdir()
        self.interrupt("eval", self.w8a8, "--witness", "--images", IMAGES, "--labels", LABELS, "--logits", folder / "l")
        self.interrupt("calibrate", MODEL, "--images", TRAIN, "--samples", 1024, "-o", folder / "m")
        self.assertEqual(list(folder.iterdir()), [])

    def test_progress_line(self):
        def run(*more):
            pid, fd = pty.fork()
            if pid == 0:
                os.execve(VITQ, [VITQ, "eval", str(MODEL), "--images", str(IMAGES), "--labels", str(LABELS), "--limit", "300",
                                 "--batch", "1", *more], dict(os.environ, TERM="xterm"))
            text = b""
            while True:
                try:
                    part = os.read(fd, 4096)
                except OSError:
                    break
                if not part:
                    break
                text += part
            os.close(fd)
            self.assertEqual(os.waitpid(pid, 0)[1], 0)
            return text.decode()
        text = run()
        self.assertRegex(text, r"\r\x1b\[Keval  \d+/300")
        self.assertRegex(text, r"\r\x1b\[Kmodel ")  # cleared before the result
        self.assertNotIn("\x1b", run("--quiet"))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    VITQ, CLASSIFY = sys.argv[1:3]
    if not (MODEL / "model.safetensors").exists() or not IMAGES.exists():
        print(f"test_cli: skipped, {MODEL} or {IMAGES} is not there")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
