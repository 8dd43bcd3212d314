#!/usr/bin/env python3
"""Exported models in other runtimes: onnx.checker, then ONNX Runtime and OpenVINO beside `vitq eval --mode fake`.

usage: tests/golden/check_onnx.py --images PATH --labels FILE [--vitq build/vitq] [--limit N] [--exact] [--at-least SHARE] MODEL...
       tests/golden/check_onnx.py [--vitq build/vitq]      the bundled model at W8A8 and W4A4, on Fashion-MNIST

MODEL is a .vitq.safetensors file or a folder of an FP32 model. Each is exported, checked, and run on the same images;
printed is the share of images whose top-1 is the one of vitq's fake-quant (fp32 for FP32 models). Then every quantizer
and matrix product of the running graph is compared with the model file, given what came to it there. Fails where a file
does not pass the checker, ONNX Runtime agrees on less than --at-least (0.98; with
--exact 0.999), one of its quantizers gives another value, or a
sum is off by more than roundings. Needs onnx, numpy, safetensors, pillow before 13 and
at least one of onnxruntime and openvino; exits with 77 where they are missing.
"""
import argparse
import csv
import gzip
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

try:
    import numpy as np
    import onnx
    import PIL
    from PIL import Image
    from safetensors.numpy import load_file
except ImportError as missing:
    print(f"check_onnx: skipped, {missing.name} is not installed")
    sys.exit(77)
if int(PIL.__version__.split(".")[0]) >= 13:
    print(f"check_onnx: skipped, Pillow {PIL.__version__} resizes in another order, before 13 is needed")
    sys.exit(77)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("models", nargs="*", metavar="MODEL")
    p.add_argument("--images")
    p.add_argument("--labels")
    p.add_argument("--vitq", default="build/vitq")
    p.add_argument("--limit", type=int, default=0)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--at-least", type=float, help="default 0.98, with --exact 0.999")
    p.add_argument("--quantizers", type=int, default=2, help="images for the comparison of quantizers; 0: none")
    p.add_argument("--int4", action="store_true", help="export with --int4")
    p.add_argument("--exact", action="store_true", help="export with --exact: the same logits as vitq's")
    p.add_argument("--kernels", help="also vitq with these other kernels: what the order of float sums does")
    p.add_argument("--runtimes", nargs="+", default=["onnxruntime", "openvino"], choices=["onnxruntime", "openvino"])
    p.add_argument("--logits", help="folder where vitq's logits are kept, and taken from where they are there")
    p.add_argument("--more", action="store_true",
                   help="also ONNX Runtime without optimizations, and OpenVINO as it comes (bf16 on some processors)")
    args = p.parse_args()
    if args.at_least is None:
        args.at_least = 0.999 if args.exact else 0.98
    if args.models and not (args.images and args.labels):
        p.error("MODEL needs --images and --labels")
    return args


# ---- images --------------------------------------------------------------------------------------------------------------

def read_idx(path):
    data = (gzip.open if str(path).endswith(".gz") else open)(path, "rb").read()
    rank = data[3]
    shape = struct.unpack(f">{rank}I", data[4:4 + 4 * rank])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)


def photo(path, pre):
    """u8 [height][width][channels], as timm's evaluation transform."""
    image = Image.open(path).convert("RGB" if pre["channels"] == 3 else "L")
    height, width = pre["height"], pre["width"]
    if pre["crop_mode"] != "center" or height != width:
        raise SystemExit("check_onnx: only square centre crops")
    short = int(height / pre["crop_pct"])
    w, h = image.size
    size = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
    image = image.resize(size, {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}[pre["interpolation"]])
    left, top = round((size[0] - width) / 2), round((size[1] - height) / 2)
    return np.asarray(image.crop((left, top, left + width, top + height))).reshape(height, width, pre["channels"])


def read_images(args, pre):
    limit = args.limit or None
    if "idx" in pathlib.Path(args.images).name:
        pixels, labels = read_idx(args.images)[:limit, :, :, None], read_idx(args.labels)[:limit]
        if pixels.shape[1:3] != (pre["height"], pre["width"]):
            raise SystemExit("check_onnx: IDX images are not of the model's size")
        return pixels, labels
    rows = list(csv.DictReader(open(args.labels, newline="")))[:limit]
    return (np.stack([photo(pathlib.Path(args.images) / r["file"], pre) for r in rows]),
            np.array([int(r["class_index"]) for r in rows]))


def normalized(pixels, pre):
    x = pixels.astype(np.float32) / np.float32(255)
    x = (x - np.array(pre["mean"], np.float32)) / np.array(pre["std"], np.float32)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


# ---- runtimes: name, function of a batch giving logits --------------------------------------------------------------------

def runtimes(path, args):
    """Each gives the file's outputs, logits first."""
    try:
        if "onnxruntime" in args.runtimes:
            yield from onnxruntime_forms(path, args)
    except ImportError:
        print("check_onnx: onnxruntime is not installed, left out")
    try:
        if "openvino" in args.runtimes:
            yield from openvino_forms(path, args)
    except ImportError:
        print("check_onnx: openvino is not installed, left out")


def onnxruntime_forms(path, args):
    import onnxruntime as ort
    levels = [("ONNX Runtime", ort.GraphOptimizationLevel.ORT_ENABLE_ALL)]
    if args.more:
        levels.append(("ONNX Runtime, unfused", ort.GraphOptimizationLevel.ORT_DISABLE_ALL))
    for name, level in levels:
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # others may use the processor, too
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        yield name, lambda x, s=session: s.run(None, {"pixel_values": x})


def openvino_forms(path, args):
    import openvino as ov
    levels = [("OpenVINO, f32", {"INFERENCE_PRECISION_HINT": "f32"})]
    if args.more:
        levels.append(("OpenVINO, its default precision", {}))
    for name, config in levels:
        compiled = ov.Core().compile_model(str(path), "CPU", config)
        yield name, lambda x, c=compiled: [c({"pixel_values": x})[o] for o in c.outputs]


# ---- one step at a time: each from what came to it in that runtime, so that nothing drifts --------------------------------

SLOTS = ("input", "q", "k", "p", "v")
STARTS = ("clip", "clip_low", "codes", "scaled", "reaches0")  # what the first node of a quantizer is called
SUMS = {"input": ("out",), "q": ("out", "product"), "p": ("product",)}  # roles of the sums behind an operand


def expose(source, target, names):
    """Writes the graph with these values as further outputs."""
    model = onnx.load(str(source))
    known = {v.name: v for v in onnx.shape_inference.infer_shapes(model).graph.value_info}
    model.graph.output.extend(known[name] for name in names)
    onnx.save(model, str(target))


class File:
    """A .vitq.safetensors file: its quantizers and weights."""

    def __init__(self, path):
        from safetensors import safe_open
        self.tensors = load_file(path)
        with safe_open(path, "np") as f:
            self.quantizers = json.loads(f.metadata()["vitq"])["quantizers"]

    def quantize(self, x, key):
        """x as quantizer NODE.SLOT makes it, in float32, and the size of a step there."""
        scale, zero = self.tensors[key + ".scale"], self.tensors[key + ".zero"]
        axis, groups = x.ndim - 1 if key.endswith(".input") else 1, len(scale)
        shape = [groups if a == axis else 1 for a in range(x.ndim)] if groups > 1 else [1] * x.ndim
        s, z = scale.reshape(shape), zero.reshape(shape)
        if key + ".thresholds" not in self.tensors:
            return (np.clip(np.rint(x / s) + z, 0, np.float32(self.quantizers[key]["levels"] - 1)) - z) * s, s
        out = np.empty_like(x)
        for g in range(groups):
            part = (slice(None),) * axis + (g,) if groups > 1 else ...
            values = (self.tensors[key + ".values"][g].astype(np.float32) - zero[g]) * scale[g]
            out[part] = values[np.searchsorted(self.tensors[key + ".thresholds"][g], x[part], side="right")]
        return out, s

    def weight(self, module, k):
        """[N][k] in float64."""
        key, packed = module + ".weight", self.tensors[module + ".weight"]
        bits = self.quantizers[key]["bits"]
        each = np.unpackbits(packed.reshape(len(packed), -1), axis=1, bitorder="little")[:, :k * bits].reshape(-1, k, bits)
        codes = each.astype(np.float64) @ 2.0 ** np.arange(bits)
        return (codes - self.tensors[key + ".zero"][:, None]) * self.tensors[key + ".scale"][:, None]


def find_steps(path):
    """Of every quantizer (node, slot): the values in front of it, behind it, and the sum it goes into (or None)."""
    nodes = {n.name: n for n in onnx.load(str(path)).graph.node}
    steps = {}
    for name, node in nodes.items():
        if name.count("/") != 2:
            continue
        _, module, role = name.split("/")
        slot, _, what = role.partition(".")
        if slot in SLOTS and what in STARTS:
            steps.setdefault((module, slot), [node.input[0], f"/{module}/{slot}.quantized", None])
    for module, slot in steps:
        for role in SUMS.get(slot, ()):
            if f"/{module}/{role}" in nodes and not steps[module, slot][2]:
                steps[module, slot][2] = f"/{module}/{role}"
    return steps


def compare_quantizers(model, path, x, args):
    """Prints how many values differ from the model file's; the number for ONNX Runtime."""
    file, steps, wrong = File(model), find_steps(path), 0
    expose(path, path.with_name("shown.onnx"), [v for s in steps.values() for v in s[:2]])
    for name, forward in runtimes(path.with_name("shown.onnx"), args):
        outputs, bits, codes, total = forward(x)[1:], 0, 0, 0
        for (module, slot), before, after in zip(steps, outputs[0::2], outputs[1::2]):
            want, step = file.quantize(before, f"{module}.{slot}")
            bits += int((want != after).sum())
            codes += int((np.abs(want - after) > 0.25 * step).sum())
            total += after.size
        print(f"  {name}: behind {len(steps)} quantizers {total:,} values; another code {codes:,}, other last bits {bits - codes:,}")
        wrong += bits if name.startswith("ONNX Runtime") else 0
    return wrong


def compare_sums(model, path, x, args):
    """Prints the largest error of a matrix product, as a share of its values' deviation, against float64 sums of the model
    file's quantized values; the largest of ONNX Runtime. Products keep the form that the runtime gave them."""
    file, steps, worst = File(model), find_steps(path), 0
    sums = {key: s for key, s in steps.items() if s[2]}
    names = list(dict.fromkeys(v for (module, slot), s in sums.items() for v in
                               (s[0], s[2], *([steps[module, {"q": "k", "p": "v"}[slot]][0]] if slot != "input" else []))))
    expose(path, path.with_name("shown.onnx"), names)
    for name, forward in runtimes(path.with_name("shown.onnx"), args):
        got, largest = dict(zip(names, forward(x)[1:])), (0, "")
        for (module, slot), (before, _, after) in sums.items():
            a = file.quantize(got[before], f"{module}.{slot}")[0].astype(np.float64)
            if slot == "input":
                want = a @ file.weight(module, a.shape[-1]).T + file.tensors[module + ".bias"]
            else:
                other = {"q": "k", "p": "v"}[slot]
                b = file.quantize(got[steps[module, other][0]], f"{module}.{other}")[0].astype(np.float64)
                if slot == "p" and b.ndim == 3:  # channels in front: heads by what the probabilities have
                    b = b.reshape(b.shape[0], a.shape[1], -1, b.shape[2]).transpose(0, 1, 3, 2)
                want = a @ b * (1 if slot == "p" else b.shape[2] ** -0.5)
            largest = max(largest, (np.abs(got[after] - want).max() / want.std(), after))
        print(f"  {name}: largest error of {len(sums)} matrix products {largest[0]:.1e} of their deviation, {largest[1]}")
        worst = max(worst, largest[0] if name.startswith("ONNX Runtime") else 0)
    return worst


def run(vitq, *words):
    done = subprocess.run([vitq, *map(str, words)], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def bundled(args, scratch):
    """The bundled model, calibrated into scratch."""
    root = pathlib.Path(__file__).resolve().parents[2]
    data = pathlib.Path(os.environ.get("VITQ_FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
    args.images, args.labels = data / "t10k-images-idx3-ubyte.gz", data / "t10k-labels-idx1-ubyte.gz"
    if not args.images.exists():
        print(f"check_onnx: skipped, no {args.images}")
        sys.exit(77)
    args.limit = args.limit or 300
    args.models = [str(root / "models" / "fashion_vit")]
    for recipe, bits in (("repq", "w8a8"), ("best", "w8a8"), ("repq", "w4a4"), ("best", "w4a4")):
        args.models.append(f"{scratch}/{recipe}_{bits}.vitq.safetensors")
        subprocess.run([args.vitq, "calibrate", args.models[0], "--images", str(data / "train-images-idx3-ubyte.gz"), "--recipe",
                        recipe, "--bits", bits, "-q", "-o", args.models[-1]], check=True)


def main():
    args = arguments()
    images, labels, failed, ran = {}, None, False, 0
    with tempfile.TemporaryDirectory() as scratch:
        if not args.models:
            bundled(args, scratch)
        print("| model | runtime | right | top-1 as vitq | largest logit difference | images/s |\n|---|---|---|---|---|---|")
        for model in args.models:
            mode = "fp32" if pathlib.Path(model).is_dir() else "fake"
            title = pathlib.Path(model).name.replace(".vitq.safetensors", "")
            path = pathlib.Path(scratch) / "model.onnx"
            run(args.vitq, "export", model, "-o", path, "--json", *(["--int4"] if args.int4 and mode == "fake" else []),
                *(["--exact"] if args.exact and mode == "fake" else []))
            onnx.checker.check_model(str(path), full_check=True)
            meta = {p.key: p.value for p in onnx.load(str(path)).metadata_props}
            judge = ["eval", model, "--images", args.images, "--labels", args.labels, "--json"]
            judge += ["--limit", args.limit] if args.limit else []

            def vitq_logits(mode, *more):
                kept = pathlib.Path(args.logits or scratch) / f"{title}.{mode}{'.other' if more else ''}.logits"
                speed = 0
                if not (args.logits and kept.exists()):
                    speed = run(args.vitq, *judge, "--mode", mode, "--logits", kept, *more)["images_per_second"]
                return load_file(kept)["logits"] * np.float32(2**-16 if mode == "int" else 1), speed

            want, speed = vitq_logits(mode)
            if meta["vitq.preprocess"] not in images:
                images[meta["vitq.preprocess"]] = read_images(args, json.loads(meta["vitq.preprocess"]))
            pixels, labels = images[meta["vitq.preprocess"]]
            x = normalized(pixels, json.loads(meta["vitq.preprocess"]))

            def row(name, got, rate):
                same = (got.argmax(1) == want.argmax(1)).mean()
                print(f"| {title} | {name} | {(got.argmax(1) == labels).sum()} of {len(labels)} | {100 * same:.1f} % "
                      f"| {np.abs(got - want).max():.3g} | {f'{rate:.0f}' if rate else ''} |", flush=True)
                return same

            row(f"vitq {mode}", want, speed)
            if args.kernels:
                row(f"vitq {mode}, other kernels", *vitq_logits(mode, "--kernels", args.kernels))
            if mode == "fake":
                row("vitq int", *vitq_logits("int"))
            for name, forward in runtimes(path, args):
                start = time.monotonic()
                got = np.concatenate([forward(x[i:i + args.batch])[0] for i in range(0, len(x), args.batch)])
                same = row(name, got, len(x) / (time.monotonic() - start))
                ran += 1
                failed |= name == "ONNX Runtime" and same < args.at_least
            if mode == "fake" and args.quantizers and not args.exact:
                failed |= compare_quantizers(model, path, x[:args.quantizers], args) > 0
                failed |= compare_sums(model, path, x[:args.quantizers], args) > 1e-4
    if not ran:
        print("check_onnx: skipped, neither onnxruntime nor openvino is installed")
        return 77
    print("check_onnx: " + (f"failed, an agreement, a quantizer or a product is not as it should be" if failed else "passed"))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
