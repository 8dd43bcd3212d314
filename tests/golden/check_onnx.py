#!/usr/bin/env python3
"""Exported models in other runtimes: onnx.checker, then ONNX Runtime and OpenVINO beside `vitq eval --mode fake`.

usage: tests/golden/check_onnx.py --images PATH --labels FILE [--vitq build/vitq] [--limit N] [--at-least 0.98] MODEL...

MODEL is a .vitq.safetensors file or a folder of an FP32 model. Each is exported, checked, and run on the same images;
printed is the share of images whose top-1 is the one of vitq's fake-quant (fp32 for FP32 models). Fails where a file does
not pass the checker, or ONNX Runtime agrees on less than --at-least. Needs onnx, numpy, safetensors, pillow before 13 and
at least one of onnxruntime and openvino; exits with 77 where they are missing.
"""
import argparse
import csv
import gzip
import json
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
    p.add_argument("models", nargs="+", metavar="MODEL")
    p.add_argument("--images", required=True)
    p.add_argument("--labels", required=True)
    p.add_argument("--vitq", default="build/vitq")
    p.add_argument("--limit", type=int, default=0)
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--at-least", type=float, default=0.98)
    p.add_argument("--int4", action="store_true", help="export with --int4")
    p.add_argument("--kernels", help="also vitq itself with these other kernels: what the order of float sums alone does")
    p.add_argument("--unfused", action="store_true", help="also ONNX Runtime without graph optimizations")
    return p.parse_args()


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
    try:
        import onnxruntime as ort
        levels = [("ONNX Runtime", ort.GraphOptimizationLevel.ORT_ENABLE_ALL)]
        if args.unfused:
            levels.append(("ONNX Runtime, unfused", ort.GraphOptimizationLevel.ORT_DISABLE_ALL))
        for name, level in levels:
            options = ort.SessionOptions()
            options.graph_optimization_level = level
            session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            yield name, lambda x, s=session: s.run(["logits"], {"pixel_values": x})[0]
    except ImportError:
        print("check_onnx: onnxruntime is not installed, left out")
    try:
        import openvino as ov
        for name, config in (("OpenVINO, f32", {"INFERENCE_PRECISION_HINT": "f32"}), ("OpenVINO", {})):
            compiled = ov.Core().compile_model(str(path), "CPU", config)
            yield name, lambda x, c=compiled: c({"pixel_values": x})["logits"]
    except ImportError:
        print("check_onnx: openvino is not installed, left out")


def run(vitq, *words):
    done = subprocess.run([vitq, *map(str, words)], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


def main():
    args = arguments()
    images, labels, failed, ran = {}, None, False, 0
    print("| model | runtime | right | top-1 as vitq | largest logit difference | images/s |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for model in args.models:
            mode = "fp32" if pathlib.Path(model).is_dir() else "fake"
            title = pathlib.Path(model).name.replace(".vitq.safetensors", "")
            path, logits_path = pathlib.Path(scratch) / "model.onnx", pathlib.Path(scratch) / "logits"
            run(args.vitq, "export", model, "-o", path, "--json", *(["--int4"] if args.int4 and mode == "fake" else []))
            onnx.checker.check_model(str(path), full_check=True)
            meta = {p.key: p.value for p in onnx.load(str(path)).metadata_props}
            judge = ["eval", model, "--mode", mode, "--images", args.images, "--labels", args.labels, "--json", "--logits",
                     logits_path] + (["--limit", args.limit] if args.limit else [])

            def vitq_logits(*more):
                speed = run(args.vitq, *judge, *more)["images_per_second"]
                return load_file(logits_path)["logits"].copy(), speed

            want, speed = vitq_logits()
            if meta["vitq.preprocess"] not in images:
                images[meta["vitq.preprocess"]] = read_images(args, json.loads(meta["vitq.preprocess"]))
            pixels, labels = images[meta["vitq.preprocess"]]
            x = normalized(pixels, json.loads(meta["vitq.preprocess"]))

            def row(name, got, rate):
                same = (got.argmax(1) == want.argmax(1)).mean()
                print(f"| {title} | {name} | {(got.argmax(1) == labels).sum()} of {len(labels)} | {100 * same:.1f} % "
                      f"| {np.abs(got - want).max():.3g} | {rate:.0f} |", flush=True)
                return same

            row(f"vitq {mode}", want, speed)
            if args.kernels:
                row(f"vitq {mode}, {args.kernels}", *vitq_logits("--kernels", args.kernels))
            for name, forward in runtimes(path, args):
                start = time.monotonic()
                got = np.concatenate([forward(x[i:i + args.batch]) for i in range(0, len(x), args.batch)])
                same = row(name, got, len(x) / (time.monotonic() - start))
                ran += 1
                failed |= name == "ONNX Runtime" and same < args.at_least
    if not ran:
        print("check_onnx: skipped, neither onnxruntime nor openvino is installed")
        return 77
    print("check_onnx: " + (f"an agreement is below {args.at_least}" if failed else "passed"))
    return failed


if __name__ == "__main__":
    sys.exit(main())
