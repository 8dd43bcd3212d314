#!/usr/bin/env python3
"""Speed and accuracy of vitq beside ONNX Runtime, OpenVINO and PyTorch, on the same photos, threads and processor.

usage: bench/peers/run.py --model DIR --calib DIR --val DIR [--vitq build/vitq] [--rounds 5] [--batch 1 8 32]
                          [--isa avx2] [--json OUT]

--calib and --val are folders with images/ and labels.csv (columns file, class_index). The first run makes
build/peers-venv with the packages of requirements.txt, from PyPI (some 5 GB: PyTorch's there brings CUDA along).
Everything is timed in one run, one competitor after the other, that many rounds over, so that a slow minute of the machine
hits all of them. Figures are images per second of the model alone, batch after batch with the pixels in memory, by the
median time of a batch (vitq's by the vitq-bench beside it); of the rounds the median, the smallest and the largest.

--isa avx2 hides AVX-512, AVX-VNNI and what came later from all of them (hide_avx512.c), on processors that let it: how they
compare on a machine with AVX2 alone, as far as another processor can tell.
"""
import argparse
import contextlib
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VENV = ROOT / "build" / "peers-venv"


def enter_venv():
    """Starts this script again inside the virtual environment, made on the first run."""
    if os.environ.get("VITQ_PEERS_VENV") or pathlib.Path(sys.prefix).resolve() == VENV.resolve():
        return
    python = VENV / "bin" / "python"
    done = VENV / "complete"
    wanted = (HERE / "requirements.txt").read_text()
    if not done.exists() or done.read_text() != wanted:
        print(f"making {VENV} (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "-r", str(HERE / "requirements.txt")], check=True)
        done.write_text(wanted)
    os.execv(str(python), [str(python), *sys.argv])


def hide_avx512():
    """Starts this script again with AVX-512 hidden from it and all that it starts."""
    library = ROOT / "build" / "hide_avx512.so"
    if str(library) in os.environ.get("LD_PRELOAD", ""):
        return
    library.parent.mkdir(exist_ok=True)
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", str(HERE / "hide_avx512.c"), "-o", str(library)], check=True)
    env = dict(os.environ, LD_PRELOAD=str(library))
    if subprocess.run(["true"], env=env).returncode != 0:
        sys.exit("--isa avx2: this processor or kernel does not let CPUID be hidden")
    os.execve(sys.executable, [sys.executable, *sys.argv], env)


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, help="folder of the FP32 model")
    p.add_argument("--calib", required=True, help="folder of calibration photos")
    p.add_argument("--val", required=True, help="folder of labelled photos")
    p.add_argument("--vitq", default=str(ROOT / "build" / "vitq"), help="the vitq program, vitq-bench beside it; 'none' leaves it out")
    p.add_argument("--samples", type=int, default=32, help="calibration photos")
    p.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--timed", type=int, default=64, help="photos per round and competitor")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--bits", nargs="+", default=["w8a8", "w6a6", "w4a4"], help="what vitq runs beside FP32")
    p.add_argument("--isa", choices=["avx2"], help="hide what the processor has beyond")
    p.add_argument("--json", help="also write the figures here")
    return p.parse_args()


def processor():
    text = pathlib.Path("/proc/cpuinfo").read_text() if pathlib.Path("/proc/cpuinfo").exists() else ""
    name = next((l.split(":", 1)[1].strip() for l in text.splitlines() if l.startswith("model name")), platform.machine())
    flags = set(next((l.split(":", 1)[1].split() for l in text.splitlines() if l.startswith("flags")), []))
    shown = [f for f in ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if f in flags]
    return name, shown


def read_set(vit_onnx, config, folder, limit=None):
    import csv
    import numpy as np
    folder = pathlib.Path(folder)
    rows = list(csv.DictReader(open(folder / "labels.csv", newline="")))[:limit]
    pixels = np.stack([vit_onnx.preprocess(config, folder / "images" / r["file"]) for r in rows])
    return pixels, np.array([int(r["class_index"]) for r in rows])


# ---- competitors: name -> function of pixels giving logits, one per batch size ------------------------------------------

def onnxruntime_int8(fp32_path, out_path, pixels):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.it = iter([{"pixels": pixels[i:i + 1]} for i in range(len(pixels))])

        def get_next(self):
            return next(self.it, None)

    prepared = out_path.with_suffix(".prepared.onnx")
    quant_pre_process(str(fp32_path), str(prepared), skip_symbolic_shape=True)
    quantize_static(str(prepared), str(out_path), Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)


def onnxruntime_runner(path, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda pixels: session.run(["logits"], {"pixels": pixels})[0]


def openvino_runner(core, model, batch, threads, precision):
    model = model.clone()
    model.reshape([batch, *[d.get_length() for d in list(model.input(0).partial_shape)[1:]]])
    settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(threads)}
    if precision:
        settings["INFERENCE_PRECISION_HINT"] = precision
    request = core.compile_model(model, "CPU", settings).create_infer_request()

    def run(pixels):
        return request.infer({0: pixels}, share_inputs=True)[0]
    return run


def torch_runners(folder, threads):
    """(name, run) of timm's model: floats, and linear layers in int8 with scales found at run time."""
    import timm
    import torch
    from safetensors.torch import load_file
    torch.set_num_threads(threads)
    config = json.loads((pathlib.Path(folder) / "config.json").read_text())
    model = timm.create_model(config["architecture"], num_classes=config["num_classes"]).eval()
    model.load_state_dict(load_file(pathlib.Path(folder) / "model.safetensors"))

    def runner(m):
        def run(pixels):
            with torch.inference_mode():
                return m(torch.from_numpy(pixels)).numpy()
        return run
    yield "PyTorch FP32", runner(model)
    try:
        from torch.ao.quantization import quantize_dynamic
        yield "PyTorch int8 dynamic", runner(quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8))
    except (ImportError, RuntimeError) as e:
        print(f"PyTorch int8 is left out: {e}", file=sys.stderr)


def make_peers(args, work, model_onnx, calib):
    """[(name, {batch: run})]"""
    import logging

    import nncf
    import onnx
    import openvino
    nncf.set_log_level(logging.ERROR)
    fp32_path, int8_path = work / "fp32.onnx", work / "int8.onnx"
    onnx.save(model_onnx, fp32_path)
    onnxruntime_int8(fp32_path, int8_path, calib)
    core = openvino.Core()
    ov_fp32 = core.read_model(fp32_path)
    calib_set = nncf.Dataset([calib[i:i + 1] for i in range(len(calib))])
    ov_int8 = nncf.quantize(ov_fp32, calib_set, subset_size=len(calib), model_type=nncf.ModelType.TRANSFORMER)
    rows = []
    for name, path in (("ONNX Runtime FP32", fp32_path), ("ONNX Runtime int8 static", int8_path)):
        run = onnxruntime_runner(path, args.threads)
        rows.append((name, {b: run for b in args.batch}))
    for name, model, precision in (("OpenVINO FP32", ov_fp32, "f32"), ("OpenVINO default", ov_fp32, None),
                                   ("OpenVINO int8 (NNCF)", ov_int8, None)):
        rows.append((name, {b: openvino_runner(core, model, b, args.threads, precision) for b in args.batch}))
    rows += [(name, {b: run for b in args.batch}) for name, run in torch_runners(args.model, args.threads)]
    return rows


def time_runner(run, pixels, batch, timed):
    """Images per second by the median time of a batch, of `timed` photos after one batch that is not counted."""
    import numpy as np
    batches = [np.ascontiguousarray(np.take(pixels, range(i, i + batch), axis=0, mode="wrap"))
               for i in range(0, max(timed, 3 * batch), batch)]
    run(batches[0])
    seconds = []
    for b in batches:
        start = time.perf_counter()
        run(b)
        seconds.append(time.perf_counter() - start)
    return batch / statistics.median(seconds)


def count_top1(run, pixels, labels, batch):
    import numpy as np
    right = 0
    for i in range(0, len(pixels), batch):
        part = np.take(pixels, range(i, i + batch), axis=0, mode="wrap")
        n = min(batch, len(pixels) - i)
        right += int((np.asarray(run(part))[:n].argmax(1) == labels[i:i + n]).sum())
    return right


def run_json(args, program, *words):
    env = dict(os.environ, POCL_MAX_PTHREAD_COUNT=str(args.threads))
    done = subprocess.run([program, *map(str, words), "--json", "--quiet"], env=env, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} {words[0]}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def vitq(args, *words):
    return run_json(args, args.vitq, *words)


def make_vitq(args, work):
    """[(name, mode, model)]"""
    if args.vitq == "none":
        return []
    rows = [("vitq FP32", "fp32", args.model)]
    for bits in args.bits:
        out = work / f"{bits}.vitq.safetensors"
        made = vitq(args, "calibrate", args.model, "--images", args.calib, "--samples", args.samples, "--bits", bits, "-o", out)
        print(f"vitq calibrate {bits}: {made['seconds']:.1f} s, peak {made['peak_memory_bytes'] / 2**20:.0f} MiB", file=sys.stderr)
        rows.append((f"vitq int {bits.upper()}", "int", out))
    return rows


def vitq_top1(args, mode, model, batch):
    folder = pathlib.Path(args.val)
    return vitq(args, "eval", model, "--images", folder / "images", "--labels", folder / "labels.csv", "--mode", mode,
                "--batch", batch)["top1"]


def vitq_speed(args, model, batch):
    bench = pathlib.Path(args.vitq).with_name("vitq-bench")
    rows = run_json(args, bench, "model", "--no-verify", "--rounds", 1, "--seconds", 0.3, "--batches", batch, model)["rows"]
    return next(r["images_per_second"] for r in rows if r["bench"] == "model")


# ---- the run -------------------------------------------------------------------------------------------------------------

def measure(args, peers, ours, pixels):
    """{(name, batch): [images per second of every round]}"""
    speeds = {}
    for r in range(args.rounds):
        for batch in args.batch:
            for name, runners in peers:
                time.sleep(0.3)  # the competitor before may still be spinning
                speeds.setdefault((name, batch), []).append(time_runner(runners[batch], pixels, batch, args.timed))
            for name, _, model in ours:
                time.sleep(0.3)
                speeds.setdefault((name, batch), []).append(vitq_speed(args, model, batch))
        print(f"round {r + 1} of {args.rounds}", file=sys.stderr)
    return speeds


def table(args, names, speeds, top1, total):
    best_peer = {b: max(statistics.median(v) for (n, bb), v in speeds.items() if bb == b and not n.startswith("vitq"))
                 for b in args.batch}
    print("| program | top-1 of %d | %s |" % (total, " | ".join(f"batch {b}" for b in args.batch)))
    print("|---|---|" + "---|" * len(args.batch))
    for name in names:
        cells = []
        for b in args.batch:
            v = speeds[name, b]
            m = statistics.median(v)
            cells.append(f"{m:.1f} ({min(v):.1f} to {max(v):.1f}), x{m / best_peer[b]:.2f}")
        print(f"| {name} | {top1[name]} | {' | '.join(cells)} |")
    print("\nimages/s of the model alone: median (smallest to largest) of the rounds; x: over the fastest peer at that batch")


def main():
    args = arguments()
    if args.isa:
        hide_avx512()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:args.threads])
    sys.path.insert(0, str(HERE))
    import vit_onnx
    name, flags = processor()
    if args.isa:
        flags = [args.isa]
    print(f"{name}; {' '.join(flags)}{' alone, the rest hidden' if args.isa else ''}; {args.threads} threads; {args.rounds} rounds of {args.timed} photos")
    for package in ("onnxruntime", "openvino", "nncf", "torch", "timm"):
        from importlib.metadata import version
        print(f"{package} {version(package)}", end="; ")
    print()
    with tempfile.TemporaryDirectory(prefix="vitq-peers-") as folder:
        work = pathlib.Path(folder)
        model, config = vit_onnx.build(args.model)
        calib, _ = read_set(vit_onnx, config, args.calib, args.samples)
        pixels, labels = read_set(vit_onnx, config, args.val)
        with contextlib.redirect_stdout(sys.stderr):  # NNCF's progress bars
            peers = make_peers(args, work, model, calib)
        ours = make_vitq(args, work)
        speeds = measure(args, peers, ours, pixels)
        middle = args.batch[len(args.batch) // 2]
        top1 = {n: count_top1(r[middle], pixels, labels, middle) for n, r in peers}
        top1.update({n: vitq_top1(args, mode, m, middle) for n, mode, m in ours})
    names = [n for n, _ in peers] + [o[0] for o in ours]
    table(args, names, speeds, top1, len(labels))
    if args.json:
        rows = [{"program": n, "batch": b, "images_per_second": v, "top1": top1[n]} for (n, b), v in speeds.items()]
        pathlib.Path(args.json).write_text(json.dumps({"cpu": name, "flags": flags, "threads": args.threads, "rows": rows}, indent=1))


if __name__ == "__main__":
    enter_venv()
    main()
