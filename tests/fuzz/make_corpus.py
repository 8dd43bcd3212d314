#!/usr/bin/env python3
"""Makes the seeds of the fuzz targets and what Pillow makes of the images among them. Needs numpy and Pillow before 13.

usage: make_corpus.py        (run in this folder; writes corpus/*/* and ../unit/image_expected.h, which are kept in git)
"""
import gzip, io, json, math, pathlib, struct, zlib
import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent
W, H = 19, 13
rng = np.random.default_rng(7)


def fnv(data):
    h = 0xcbf29ce484222325
    for b in bytes(data):
        h = (h ^ b) * 0x100000001b3 & (1 << 64) - 1
    return h


def write(target, name, data):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


# ---- PNG by hand: Pillow does not write all of its forms --------------------------------------------------------------

def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def pack(samples, depth):
    """samples [height][width*channels] to rows of bytes."""
    rows = []
    for row in samples:
        if depth == 16:
            rows.append(b"".join(struct.pack(">H", int(v)) for v in row))
        else:
            bits = "".join(format(int(v), "0%db" % depth) for v in row)
            bits += "0" * (-len(bits) % 8)
            rows.append(bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8)))
    return rows


def filtered(rows, bpp, kinds):
    out, prev = b"", None
    for y, row in enumerate(rows):
        kind = kinds[y % len(kinds)]
        up = prev if prev is not None else bytes(len(row))
        line = bytearray()
        for i, v in enumerate(row):
            a = row[i - bpp] if i >= bpp else 0
            b, c = up[i], up[i - bpp] if i >= bpp else 0
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            line.append(v - (0, a, b, (a + b) // 2, paeth)[kind] & 255)
        out += bytes([kind]) + bytes(line)
        prev = row
    return out


def png(pixels, depth, color, extra=b"", interlace=False, kinds=(0, 1, 2, 3, 4)):
    """pixels [H][W][channels] of samples."""
    h, w, ch = pixels.shape
    bpp = max(1, depth * ch // 8)
    passes = [(0, 0, 1, 1)]
    if interlace:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    raw = b""
    for y0, x0, dy, dx in passes:
        part = pixels[y0::dy, x0::dx]
        if part.size:
            raw += filtered(pack(part.reshape(part.shape[0], -1), depth), bpp, kinds)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, color, 0, 0, int(interlace))) + extra +
            chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def scene(channels, top):
    """A smooth picture with some noise, samples 0..top."""
    y, x = np.mgrid[0:H, 0:W]
    planes = [0.5 + 0.4 * np.sin(0.3 * x + 0.5 * c) * np.cos(0.4 * y + c) + 0.1 * rng.uniform(-1, 1, (H, W)) for c in range(channels)]
    return np.clip(np.rint(np.stack(planes, 2) * top), 0, top).astype(np.int64)


images = {}
for depth in (1, 2, 4, 8, 16):
    images["grey%d.png" % depth] = png(scene(1, 2 ** depth - 1), depth, 0)
for depth in (8, 16):
    images["grey_alpha%d.png" % depth] = png(scene(2, 2 ** depth - 1), depth, 4)
    images["rgb%d.png" % depth] = png(scene(3, 2 ** depth - 1), depth, 2)
    images["rgba%d.png" % depth] = png(scene(4, 2 ** depth - 1), depth, 6)
for depth in (1, 2, 4, 8):
    palette = bytes(int(v) for v in rng.integers(0, 256, 3 * 2 ** depth))
    images["palette%d.png" % depth] = png(scene(1, 2 ** depth - 1), depth, 3, chunk(b"PLTE", palette))
images["palette_alpha.png"] = png(scene(1, 3), 2, 3, chunk(b"PLTE", bytes(range(12))) + chunk(b"tRNS", b"\0\x80\xff"))
images["rgb_key.png"] = png(scene(3, 255), 8, 2, chunk(b"tRNS", struct.pack(">HHH", 10, 20, 30)) + chunk(b"tEXt", b"Title\0x"))
images["rgb_interlaced.png"] = png(scene(3, 255), 8, 2, interlace=True)
images["grey4_interlaced.png"] = png(scene(1, 15), 4, 0, interlace=True)
images["gamma.png"] = png(scene(3, 255), 8, 2, chunk(b"gAMA", struct.pack(">I", 100000)))


def jpeg(mode, **options):
    f = io.BytesIO()
    Image.fromarray(scene(len(mode) if mode != "L" else 1, 255).astype(np.uint8).squeeze(), mode).save(f, "JPEG", quality=85, **options)
    return f.getvalue()


images["grey.jpg"] = jpeg("L")
for s, name in ((0, "444"), (1, "422"), (2, "420")):
    images["yuv%s.jpg" % name] = jpeg("RGB", subsampling=s)
images["progressive.jpg"] = jpeg("RGB", progressive=True)
images["restart.jpg"] = jpeg("RGB", restart_marker_blocks=1)
images["rgb.jpg"] = jpeg("RGB", keep_rgb=True)
images["cmyk.jpg"] = jpeg("CMYK")


def expected(name, data):
    im = Image.open(io.BytesIO(data))
    if im.mode.startswith("I;16"):  # Pillow clips these to 255: the high byte, as it takes of every other 16-bit form
        im = Image.fromarray((np.asarray(im).astype(np.uint16) >> 8).astype(np.uint8))
    return fnv(im.convert("RGB").tobytes()), fnv(im.convert("L").tobytes())


# ---- resize: pictures of a generator that C repeats ------------------------------------------------------------------

def noise(seed, height, width, channels):
    out, s = bytearray(), seed
    for _ in range(height * width * channels):
        s = (s * 1664525 + 1013904223) & 0xffffffff
        out.append(s >> 24)
    a = np.frombuffer(bytes(out), np.uint8)
    return a.reshape((height, width, 3) if channels == 3 else (height, width))


sizes = [(1, 1, 1, 1), (1, 1, 7, 5), (2, 3, 16, 16), (40, 30, 28, 28), (28, 28, 28, 28), (28, 28, 224, 224), (17, 61, 16, 61),
         (61, 17, 61, 16), (97, 101, 3, 2), (256, 37, 9, 64), (50, 200, 51, 199), (333, 299, 248, 248)]
resized = []
for k, (h, w, oh, ow) in enumerate(sizes):
    for f, resample in ((0, Image.BICUBIC), (1, Image.BILINEAR)):
        c = 3 if (k + f) % 3 else 1
        im = Image.fromarray(noise(k + 1, h, w, c))
        resized.append((k + 1, h, w, c, oh, ow, f, fnv(im.resize((ow, oh), resample).tobytes())))

lines = ["/* Made by tests/fuzz/make_corpus.py: 64-bit FNV-1a of what Pillow makes of the same bytes. */", "",
         "static const struct {", "    const char *file; /* of tests/fuzz/corpus/image */", "    uint64_t rgb, grey;", "} decoded[] = {"]
for name, data in sorted(images.items()):
    write("image", name, data)
    lines.append('    {"%s", 0x%016xu, 0x%016xu},' % (name, *expected(name, data)))
lines += ["};", "", "static const struct {", "    uint32_t seed; /* of the noise that is resized */",
          "    int height, width, chans, out_height, out_width, filter;", "    uint64_t hash;", "} resized[] = {"]
for r in resized:
    lines.append("    {%d, %d, %d, %d, %d, %d, %d, 0x%016xu}," % r)
lines += ["};", ""]
(HERE / ".." / "unit" / "image_expected.h").write_text("\n".join(lines))

# ---- safetensors -----------------------------------------------------------------------------------------------------

def safetensors(tensors, meta=None, pad=0):
    header, data = {}, b""
    if meta:
        header["__metadata__"] = meta
    for name, dtype, shape, raw in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode() + b" " * pad
    return struct.pack("<Q", len(text)) + text + data


half = np.array([0, 1, -2, 65504, 6e-8, np.inf], np.float16).tobytes()
write("safetensors", "small.safetensors", safetensors([("w", "F32", [2, 3], bytes(range(24))), ("b", "I64", [], bytes(8))], {"format": "pt"}))
write("safetensors", "kinds.safetensors", safetensors([("h", "F16", [6], half), ("bf", "BF16", [2], b"\x80\x3f\x80\xbf"), ("u8", "U8", [0, 4], b""), ("i8", "I8", [1, 1, 3], b"\1\2\3")], pad=5))
write("safetensors", "empty.safetensors", safetensors([]))
write("safetensors", "overlap.safetensors", struct.pack("<Q", 128) + json.dumps({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}, "b": {"dtype": "U8", "shape": [4], "data_offsets": [3, 7]}}).encode().ljust(128) + bytes(7))

# ---- IDX -------------------------------------------------------------------------------------------------------------

images_idx = bytes([0, 0, 8, 3]) + struct.pack(">III", 3, 4, 5) + bytes(range(60))
labels_idx = bytes([0, 0, 8, 1]) + struct.pack(">I", 3) + bytes([0, 1, 9])
write("idx", "images", images_idx)
write("idx", "labels", labels_idx)
write("idx", "images.gz", gzip.compress(images_idx, mtime=0))
write("idx", "labels.gz", gzip.compress(labels_idx, mtime=0))

# ---- labels ----------------------------------------------------------------------------------------------------------

write("csv", "plain.csv", b"file,class_index\na.png,1\nb.png,2\n")
write("csv", "quoted.csv", b"\xef\xbb\xbfclass_index,note,file\r\n7,\"a, \"\"b\"\"\r\nc\",\"x y.png\"\r\n\r\n8,,z.png")

# ---- configs ---------------------------------------------------------------------------------------------------------

config = {"architecture": "vit_tiny_patch16_224", "num_classes": 1000, "num_features": 192, "global_pool": "token",
          "pretrained_cfg": {"tag": "augreg_in21k_ft_in1k", "custom_load": False, "input_size": [3, 224, 224], "fixed_input_size": True,
                             "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center", "mean": [0.5, 0.5, 0.5],
                             "std": [0.5, 0.5, 0.5], "num_classes": 1000, "pool_size": None, "first_conv": "patch_embed.proj",
                             "classifier": "head"}}
tiny = {"architecture": "vit_tiny_patch16_224", "num_classes": 3,
        "model_args": {"img_size": 28, "patch_size": 7, "in_chans": 1, "embed_dim": 64, "depth": 2, "num_heads": 2, "mlp_ratio": 2.0},
        "pretrained_cfg": {"input_size": [1, 28, 28], "mean": [0.2860], "std": [0.3530], "crop_pct": 1.0, "interpolation": "bilinear",
                           "crop_mode": "squash", "label_names": ["shirt", "shoe", "bag"]}}
write("config", "timm.json", json.dumps(config, indent=1).encode())
write("config", "tiny.json", json.dumps(tiny).encode())
