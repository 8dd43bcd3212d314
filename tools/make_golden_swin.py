#!/usr/bin/env python3
"""Swin Transformers for tests/golden/models, as tools/make_golden_models.py makes the others. Only for maintainers:

    python3 -m venv v && v/bin/pip install torch torchvision timm==0.9.16 transformers==4.46.3 'pillow<13'
    v/bin/python tools/make_golden_swin.py [NAME...]
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
WANTED = sys.argv[1:]
sys.argv[1:] = ["none"]  # make_golden_models makes its own list when it is read: of that nothing

import timm
import torch
import transformers

import make_golden_models as golden


def randomize(model, seed):
    """As there; tables of relative positions are parameters of two dimensions that are no weights."""
    golden_randomize(model, seed)
    torch.manual_seed(seed + 1000)
    for name, p in model.named_parameters():
        if name.endswith("relative_position_bias_table"):
            p.data = (0.7 * torch.randn_like(p)).half().float()


golden_randomize, golden.randomize = golden.randomize, randomize


def swin_args(embed, depths, heads, window, img, patch=4, **more):
    return {"embed_dim": embed, "depths": depths, "num_heads": heads, "window_size": window, "img_size": img,
            "patch_size": patch, **more}


def hf_state(state):
    """timm's tensors under transformers' names."""
    top = {"patch_embed.proj.": "swin.embeddings.patch_embeddings.projection.", "patch_embed.norm.": "swin.embeddings.norm.",
           "norm.": "swin.layernorm.", "head.fc.": "classifier."}
    inner = {"norm1.": "layernorm_before.", "norm2.": "layernorm_after.", "attn.proj.": "attention.output.dense.",
             "attn.relative_position_bias_table": "attention.self.relative_position_bias_table",
             "mlp.fc1.": "intermediate.dense.", "mlp.fc2.": "output.dense."}
    out = {}
    for key, value in state.items():
        if not key.startswith("layers."):
            old = next(o for o in top if key.startswith(o))
            out[top[old] + key[len(old):]] = value
            continue
        _, i, rest = key.split(".", 2)
        if rest.startswith("downsample."):
            out[f"swin.encoder.layers.{int(i) - 1}.{rest}"] = value
            continue
        _, j, rest = rest.split(".", 2)
        block = f"swin.encoder.layers.{i}.blocks.{j}."
        if rest.startswith("attn.qkv."):
            for part, v in zip(("query", "key", "value"), value.chunk(3)):
                out[f"{block}attention.self.{part}.{rest[9:]}"] = v.clone()
        else:
            old = next(o for o in inner if rest.startswith(o))
            out[block + inner[old] + rest[len(old):]] = value
    return out


def hf_swin(name, args, state=None, seed=0):
    config = transformers.SwinConfig(
        image_size=args["img_size"], patch_size=args["patch_size"], embed_dim=args["embed_dim"], depths=args["depths"],
        num_heads=args["num_heads"], window_size=args["window_size"],
        id2label={i: f"class {i}" for i in range(golden.CLASSES)},
        label2id={f"class {i}": i for i in range(golden.CLASSES)})
    side = {"height": args["img_size"], "width": args["img_size"]}
    model = transformers.SwinForImageClassification(config)
    if state is not None:  # indices are kept beside the tables
        state = {**{k: v for k, v in model.state_dict().items() if k.endswith("relative_position_index")}, **state}
    golden.hf_model(name, "SwinForImageClassification", config,
                    transformers.ViTImageProcessor(size=side, resample=3, **golden.COMMON), state, seed=seed)


SHIFTED = swin_args(16, [2, 2], [2, 4], 4, 32)  # a grid of 8 x 8, then one of 4 x 4 that one window covers


def make_all():
    def want(*names):
        return not WANTED or any(n in WANTED for n in names)

    if want("swin", "swin_hf"):
        _, state = golden.timm_model("swin", "swin_tiny_patch4_window7_224", 31, SHIFTED)
        hf_swin("swin_hf", SHIFTED, hf_state(state))
    if want("swin_window7"):
        golden.timm_model("swin_window7", "swin_base_patch4_window7_224", 32,
                          swin_args(16, [2, 2], [1, 2], 7, 56),
                          {"mean": golden.IMAGENET[0], "std": golden.IMAGENET[1]})
    if want("swin_clamped"):
        golden.timm_model("swin_clamped", "swin_tiny_patch4_window7_224", 36,
                          swin_args(12, [2, 2], [2, 3], 7, 24))  # grids smaller than a window
    if want("swin_pad"):
        golden.timm_model("swin_pad", "swin_small_patch4_window7_224", 33, swin_args(24, [2, 2], [3, 3], 4, 40))
    if want("swin_bare"):
        golden.timm_model("swin_bare", "swin_large_patch4_window12_384", 34,
                          swin_args(16, [3, 1], [2, 2], 3, 32, qkv_bias=False, mlp_ratio=2.5))
    if want("swin_hf_pad"):
        hf_swin("swin_hf_pad", swin_args(16, [2, 2], [2, 2], 4, 44), seed=35)  # 11 x 11, merged to 6 x 6


make_all()
