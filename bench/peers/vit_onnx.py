"""Writes a timm ViT as ONNX straight from its safetensors file: no PyTorch needed, and nothing an exporter might slow down."""
import json
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

WIDTHS = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12)}


class Graph:
    """Nodes and constants; every method returns the name of what it made."""

    def __init__(self):
        self.nodes, self.constants, self.count = [], [], 0

    def const(self, value, name=None):
        self.count += 1
        name = name or f"const_{self.count}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def op(self, kind, *inputs, **attributes):
        self.count += 1
        out = f"{kind.lower()}_{self.count}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=out, **attributes))
        return out

    def linear(self, x, weights, name):
        product = self.op("MatMul", x, self.const(weights[name + ".weight"].T, name + ".weight_t"))
        return self.op("Add", product, self.const(weights[name + ".bias"], name + ".bias"))

    def norm(self, x, weights, name):
        return self.op("LayerNormalization", x, self.const(weights[name + ".weight"], name + ".weight"),
                       self.const(weights[name + ".bias"], name + ".bias"), epsilon=1e-6, axis=-1)


def attention(g, x, weights, name, width, heads):
    head = width // heads
    qkv = g.linear(x, weights, name + ".qkv")
    qkv = g.op("Reshape", qkv, g.const(np.array([0, 0, 3, heads, head], np.int64)))
    qkv = g.op("Transpose", qkv, perm=[2, 0, 3, 1, 4])
    q, k, v = (g.op("Gather", qkv, g.const(np.array(i, np.int64)), axis=0) for i in range(3))
    q = g.op("Mul", q, g.const(np.array(head ** -0.5, np.float32)))
    scores = g.op("MatMul", q, g.op("Transpose", k, perm=[0, 1, 3, 2]))
    context = g.op("MatMul", g.op("Softmax", scores, axis=-1), v)
    context = g.op("Transpose", context, perm=[0, 2, 1, 3])
    context = g.op("Reshape", context, g.const(np.array([0, 0, width], np.int64)))
    return g.linear(context, weights, name + ".proj")


def gelu(g, x):
    erf = g.op("Erf", g.op("Div", x, g.const(np.array(2 ** 0.5, np.float32))))
    return g.op("Mul", g.op("Mul", x, g.op("Add", erf, g.const(np.array(1, np.float32)))), g.const(np.array(0.5, np.float32)))


def build(folder):
    """The model in folder (model.safetensors, config.json) with input `pixels` [batch][chans][height][width], normalised."""
    folder = pathlib.Path(folder)
    config = json.loads((folder / "config.json").read_text())
    weights = {k: v.astype(np.float32) for k, v in load_file(folder / "model.safetensors").items()}
    width, depth, heads = WIDTHS[config["architecture"].split("_")[1]]
    args = config.get("model_args", {})
    width, depth, heads = args.get("embed_dim", width), args.get("depth", depth), args.get("num_heads", heads)
    patch = weights["patch_embed.proj.weight"].shape[-1]
    size = list(config["pretrained_cfg"]["input_size"])

    g = Graph()
    x = g.op("Conv", "pixels", g.const(weights["patch_embed.proj.weight"]), g.const(weights["patch_embed.proj.bias"]),
             kernel_shape=[patch, patch], strides=[patch, patch])
    x = g.op("Transpose", g.op("Reshape", x, g.const(np.array([0, width, -1], np.int64))), perm=[0, 2, 1])
    batch = g.op("Gather", g.op("Shape", "pixels"), g.const(np.array([0], np.int64)), axis=0)
    shape = g.op("Concat", batch, g.const(np.array([1, width], np.int64)), axis=0)
    x = g.op("Concat", g.op("Expand", g.const(weights["cls_token"]), shape), x, axis=1)
    x = g.op("Add", x, g.const(weights["pos_embed"]))
    for i in range(depth):
        block = f"blocks.{i}"
        x = g.op("Add", x, attention(g, g.norm(x, weights, block + ".norm1"), weights, block + ".attn", width, heads))
        hidden = gelu(g, g.linear(g.norm(x, weights, block + ".norm2"), weights, block + ".mlp.fc1"))
        x = g.op("Add", x, g.linear(hidden, weights, block + ".mlp.fc2"))
    x = g.op("Gather", x, g.const(np.array(0, np.int64)), axis=1)  # only the class token is needed from here
    x = g.linear(g.norm(x, weights, "norm"), weights, "head")
    g.nodes[-1].output[0] = "logits"

    graph = helper.make_graph(
        g.nodes, config["architecture"],
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch"] + size)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", config["num_classes"]])], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model, config


def preprocess(config, path):
    """A photo as timm's evaluation transform makes it: f32 [chans][height][width]."""
    from PIL import Image
    cfg = config["pretrained_cfg"]
    size, short = cfg["input_size"][1], int(cfg["input_size"][1] / cfg["crop_pct"])
    filters = {"bicubic": Image.BICUBIC, "bilinear": Image.BILINEAR}
    image = Image.open(path).convert("RGB")
    w, h = image.size
    new = (short, int(short * h / w)) if w <= h else (int(short * w / h), short)
    image = image.resize(new, filters[cfg["interpolation"]])
    left, top = round((new[0] - size) / 2), round((new[1] - size) / 2)
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32) / 255
    return ((pixels - np.array(cfg["mean"], np.float32)) / np.array(cfg["std"], np.float32)).transpose(2, 0, 1)
