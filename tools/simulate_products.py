#!/usr/bin/env python3
"""What the loops of gemm_s8__wide_vnni_vbmi may reach, without such a processor: clang's code for a row of 48 results, its
products and the epilogue between them, by count and by llvm-mca. Only for maintainers; needs clang and LLVM 15 or later:

    tools/simulate_products.py [--clang clang-15] [--mca llvm-mca-15]

Columns: cycles of the products alone, two vpdpbusd a cycle; with the epilogue's vector instructions counted in, two a cycle as
well; as llvm-mca simulates the code; and with the epilogue spread evenly over the products. Shares are of the products'
peak. llvm-mca's models disagree on what 512-bit units there are: Skylake's has the two of these processors, but no
vpdpbusd, which vfmadd231ps stands for. It takes all memory for cached.
"""
import argparse
import pathlib
import re
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHIM = """
#define SHIM __attribute__((overloadable, always_inline))
typedef struct __attribute__((packed)) shim_ints { int16 v; } shim_ints;
SHIM int16 vload16(size_t i, const __global int *p) { return ((const __global shim_ints *)(p + 16 * i))->v; }
SHIM int min(int x, int y) { return x < y ? x : y; }
SHIM int16 min(int16 x, int16 y) { return x < y ? x : y; }
SHIM int16 max(int16 x, int16 y) { return x > y ? x : y; }
SHIM long clamp(long x, long lo, long hi) { return x < lo ? lo : x > hi ? hi : x; }
SHIM int mul_hi(int x, int y) { return (int)((long)x * y >> 32); }
SHIM size_t get_group_id(uint d) { (void)d; return 0; }
"""
KINDS = {"codes": "-DEPILOGUE=0", "table": "-DEPILOGUE=1 -DSTEP_SEGMENTS=8"}
SEVERAL = {"vpermi2b": 3}  # micro-operations


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--clang", default="clang-15", help="the one of PoCL's LLVM gives PoCL's code")
    p.add_argument("--mca", default="llvm-mca-15")
    return p.parse_args()


def blocks(text):
    """Blocks of instructions by label, in order."""
    found, name = {}, None
    for line in text.splitlines():
        line = line.split("#", 1)[0].rstrip()
        if re.match(r"[.\w]+:$", line):
            name = line[:-1]
            found[name] = []
        elif name and re.match(r"\t[a-z]", line):
            found[name].append(line.strip())
            if re.match(r"\tj|\tret", line):  # what follows a jump is a block, too
                name += "+"
                found[name] = []
    return found


def part_of(text):
    """(what goes before the loop of products, its body, the epilogue) of the steps that a part of a tile takes."""
    found = blocks(text)
    names = list(found)
    loop = next(n for n in names if sum(i.startswith("vpdpbusd") for i in found[n]) == 24)
    at = names.index(loop)
    # From the loop's end on, along the way that has the requantization, back to where the loop begins.
    way, name, seen = [], names[at + 1], set()
    while name != loop and name not in seen:
        seen.add(name)
        way += [i for i in found[name] if not i.startswith("j")]
        jump = next((i.split() for i in reversed(found[name]) if i.startswith("j")), None)
        after = names[names.index(name) + 1]
        if jump is None:
            name = after
        elif jump[0] == "jmp":
            name = jump[1]
        else:  # a part without rows, or none left, leaves the way
            name = after
    return way, [i for i in found[loop] if not i.startswith("j")]


def simulate(mca, body, repeat=40):
    text = "\n".join(body).replace("vpdpbusd", "vfmadd231ps") + "\n"
    command = [mca, "-mtriple=x86_64", "-mcpu=skylake-avx512", f"-iterations={repeat}", "-"]
    out = subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout
    return int(re.search(r"Total Cycles:\s+(\d+)", out).group(1)) / repeat


def spread(body, among):
    out, at = [], 0
    for i, instruction in enumerate(among):
        out.append(instruction)
        while at * len(among) < (i + 1) * len(body) and at < len(body):
            out.append(body[at])
            at += 1
    return out


def main():
    args = arguments()
    print("| K | | products | counted | simulated | spread |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        shim = pathlib.Path(folder) / "shim.h"
        shim.write_text(SHIM)
        for kind, options in KINDS.items():
            command = [args.clang, *"-x cl -cl-std=CL1.2 -Xclang -finclude-default-header -O3 -S -o - -w".split(), "-include",
                       str(shim), *"-target x86_64-unknown-linux-gnu -march=skylake-avx512 -mavx512vbmi".split(), "-I",
                       str(ROOT / "kernels"), *"-DVQ_P0=8 -DVQ_P1=3 -DVQ_P2=16 -DVQ_P3=3 -DVBMI=1 -DREQUANT=0 -DW_ZERO=0".split(),
                       *options.split(), str(ROOT / "kernels" / "gemm_s8_wide.cl")]
            way, loop = part_of(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            vectors = [i.split()[0] for i in way if re.search(r"%[zy]mm", i) and not re.match(r"vmov|v\w*broadcast", i)]
            count = sum(SEVERAL.get(i, 1) for i in vectors)
            for k in (96, 192, 384, 768):
                products = loop * (k // 4 // 8)
                least = 12 * (k // 4 // 8)
                cycles = [least + count / 2, simulate(args.mca, way + products), simulate(args.mca, spread(way, products))]
                print(f"| {k} | {kind} | {least} | " + " | ".join(f"{c:.0f} ({least / c:.0%})" for c in cycles) + " |")


if __name__ == "__main__":
    main()
