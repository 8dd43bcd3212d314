#!/usr/bin/env python3
"""Makes tests/golden/models: small models with random weights of every architecture, as timm and as transformers name
them, with photos-like images and the logits that timm and transformers give. Only for maintainers:

    python3 -m venv v && v/bin/pip install torch torchvision timm==0.9.16 transformers==4.46.3 'pillow<13' xxhash
    v/bin/python tools/make_golden_models.py [NAME...]
"""

import json
import os
import shutil
import sys
import warnings

warnings.filterwarnings("ignore")

import numpy as np
import timm
import torch
import transformers
import xxhash
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform
from timm.models.vision_transformer import checkpoint_filter_fn

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden", "models")
IMAGES = [(61, 47), (48, 80), (33, 32), (97, 70)]  # width, height
HALF = [0.5, 0.5, 0.5]
IMAGENET = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]
CLASSES = 5


def make_image(seed, size):
    """Smooth colours, an edge and a little noise: compresses well, and no filter leaves it as it is."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 1, size[0]), np.linspace(0, 1, size[1]))
    channels = []
    for _ in range(3):
        a, b, c, d = rng.uniform(1, 7, 4)
        v = 0.5 + 0.3 * np.sin(a * x + b * y + c) + 0.25 * np.sign(np.sin(d * (x - y)))
        channels.append(v)
    noise = rng.integers(-2, 3, (size[1], size[0], 3)) * 6
    return Image.fromarray(np.clip(np.stack(channels, -1) * 255 // 8 * 8 + noise, 0, 255).astype(np.uint8))


def randomize(model, seed):
    """Nothing is trivial: no zero bias, no gamma of 1, no LayerScale of 1e-5. Rounded to f16, as which they are saved."""
    torch.manual_seed(seed)
    for name, p in model.named_parameters():
        noise = torch.randn_like(p)
        if "norm" in name and name.endswith("weight"):
            p.data = 1 + 0.3 * noise
        elif ".gamma" in name or "lambda1" in name:
            p.data = 0.6 + 0.3 * noise
        elif p.ndim == 1:
            p.data = 0.2 * noise
        elif "pos" in name or "token" in name:
            p.data = 0.4 * noise
        else:
            p.data = noise * 1.2 / (p[0].numel() ** 0.5)
        p.data = p.data.half().float()


def save_tensors(folder, state):
    save_file({k: v.detach().half().contiguous().clone() for k, v in state.items()},
              os.path.join(folder, "model.safetensors"))


def write_json(folder, name, data):
    with open(os.path.join(folder, name), "w") as f:
        json.dump(data, f, indent=1)
        f.write("\n")


def begin(name):
    folder = os.path.join(OUT, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    return folder


def pixels_hash(inputs, mean, std):
    """XXH3 of the u8 pixels [B][H][W][C] that the inputs were made of, which must be whole numbers."""
    pixels = ((inputs.double() * torch.tensor(std).view(-1, 1, 1) + torch.tensor(mean).view(-1, 1, 1)) * 255)
    assert (pixels - pixels.round()).abs().max() < 1e-3
    return xxhash.xxh3_128_hexdigest(pixels.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy().tobytes())


def save_logits(folder, model, inputs, mean, std):
    with torch.no_grad():
        out = model.double()(inputs.double())
    logits = (out if torch.is_tensor(out) else out.logits).float()
    save_file({"logits": logits.contiguous()}, os.path.join(folder, "logits.safetensors"),
              {"pixels_xxh3": pixels_hash(inputs, mean, std)})


def timm_model(name, architecture, seed, args, pre=None, file_args=None, root=None):
    """file_args: what the tensors are made with, where they differ from what the config asks for."""
    folder = begin(name)
    pre = {"interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center", "mean": HALF, "std": HALF, **(pre or {})}
    size = args.get("img_size", 32)
    chans = args.get("in_chans", 3)
    model = timm.create_model(architecture, num_classes=CLASSES, **{**args, **(root or {})})
    donor = timm.create_model(architecture, num_classes=CLASSES, **{**args, **(root or {}), **(file_args or {})})
    randomize(donor, seed)
    state = donor.state_dict()
    if file_args:
        model.load_state_dict(checkpoint_filter_fn(dict(state), model))
    else:
        model.load_state_dict(state)
    save_tensors(folder, state)
    write_json(folder, "config.json", {
        "architecture": architecture, "num_classes": CLASSES, "num_features": model.num_features, **(root or {}),
        "pretrained_cfg": {"tag": "", "custom_load": False, "input_size": [chans, size, size], "fixed_input_size": True,
                           **pre, "num_classes": CLASSES, "pool_size": None, "first_conv": "patch_embed.proj",
                           "classifier": "head"},
        "model_args": args})
    transform = create_transform((chans, size, size), interpolation=pre["interpolation"], mean=pre["mean"],
                                 std=pre["std"], crop_pct=pre["crop_pct"], crop_mode=pre["crop_mode"])
    images = [make_image(i, s).convert("RGB" if chans == 3 else "L") for i, s in enumerate(IMAGES)]
    save_logits(folder, model.eval(), torch.stack([transform(i) for i in images]), pre["mean"], pre["std"])
    return model, state


def hf_model(name, cls, config, processor, state=None, seed=0, shard=None):
    folder = begin(name)
    model = getattr(transformers, cls)(config)
    if state is None:
        randomize(model, seed)
    else:
        missing = model.load_state_dict(state, strict=False)
        assert not missing.unexpected_keys and not missing.missing_keys, missing
    model.half().save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    model = model.float()
    processor.save_pretrained(folder)
    images = [make_image(i, s) for i, s in enumerate(IMAGES)]
    inputs = torch.cat([processor(i, return_tensors="pt")["pixel_values"] for i in images])
    save_logits(folder, model.eval(), inputs, processor.image_mean, processor.image_std)


def hf_state(state, root, two_heads=False):
    """timm's tensors under transformers' names."""
    pairs = {"cls_token": "embeddings.cls_token", "dist_token": "embeddings.distillation_token",
             "pos_embed": "embeddings.position_embeddings",
             "patch_embed.proj.": "embeddings.patch_embeddings.projection.", "norm.": "layernorm."}
    inner = {"norm1.": "layernorm_before.", "norm2.": "layernorm_after.", "attn.proj.": "attention.output.dense.",
             "mlp.fc1.": "intermediate.dense.", "mlp.fc2.": "output.dense."}
    out = {}
    for key, value in state.items():
        if key.startswith("head"):
            new = {"head": "cls_classifier" if two_heads else "classifier",
                   "head_dist": "distillation_classifier"}[key.split(".")[0]]
            out[new + "." + key.split(".")[1]] = value
        elif key.startswith("blocks."):
            _, i, rest = key.split(".", 2)
            block = f"{root}.encoder.layer.{i}."
            if rest.startswith("attn.qkv."):
                for part, v in zip(("query", "key", "value"), value.chunk(3)):
                    out[f"{block}attention.attention.{part}.{rest[9:]}"] = v.clone()
            else:
                old = next(o for o in inner if rest.startswith(o))
                out[block + inner[old] + rest[len(old):]] = value
        else:
            old = next(o for o in pairs if key.startswith(o))
            out[f"{root}.{pairs[old]}{key[len(old):]}"] = value
    return out


def hf_config(cls, size, patch, dim=24, mlp=4, **more):
    return getattr(transformers, cls)(
        hidden_size=dim, num_hidden_layers=2, num_attention_heads=2, image_size=size, patch_size=patch,
        id2label={i: f"class {i}" for i in range(CLASSES)}, label2id={f"class {i}": i for i in range(CLASSES)},
        **({} if cls == "Dinov2Config" else {"intermediate_size": int(dim * mlp)}), **more)


SMALL = {"embed_dim": 24, "depth": 2, "num_heads": 2, "img_size": 32, "patch_size": 8}
COMMON = {"image_mean": HALF, "image_std": HALF}


def make_all(wanted):
    def want(*names):
        return not wanted or any(n in wanted for n in names)

    if want("vit", "vit_hf", "vit_hf_sharded"):
        _, state = timm_model("vit", "vit_tiny_patch16_224", 1, SMALL)
        state = hf_state(state, "vit")
        config = hf_config("ViTConfig", 32, 8, layer_norm_eps=1e-6)
        for name, shard in (("vit_hf", None), ("vit_hf_sharded", "20KB")):
            hf_model(name, "ViTForImageClassification", config,
                     transformers.ViTImageProcessor(size={"height": 32, "width": 32}, **COMMON), state, shard=shard)
    if want("vit_hf_own"):
        hf_model("vit_hf_own", "ViTForImageClassification", hf_config("ViTConfig", 32, 8, mlp=1.7, qkv_bias=False),
                 transformers.ViTImageProcessor(size={"height": 32, "width": 32}, resample=3,
                                                image_mean=IMAGENET[0], image_std=IMAGENET[1]), seed=2)
    if want("vit_avg"):
        timm_model("vit_avg", "vit_small_patch16_224", 3, SMALL, {"crop_mode": "squash", "mean": IMAGENET[0],
                                                                   "std": IMAGENET[1]}, root={"global_pool": "avg"})
    if want("vit_gap"):
        timm_model("vit_gap", "vit_base_patch16_gap_224", 4, SMALL, {"crop_mode": "border", "crop_pct": 0.95})
    if want("vit_medium_gap"):
        timm_model("vit_medium_gap", "vit_medium_patch16_gap_256", 5, SMALL, {"interpolation": "bilinear"})
    if want("vit_clip"):
        timm_model("vit_clip", "vit_base_patch32_clip_224", 6, {**SMALL, "embed_dim": 32}, {"crop_pct": 1.0})
    if want("vit_patch14"):
        timm_model("vit_patch14", "vit_large_patch14_224", 7, {**SMALL, "img_size": 42, "patch_size": 14})
    if want("vit_patch8"):
        timm_model("vit_patch8", "vit_base_patch8_224", 8, {**SMALL, "img_size": 64, "mlp_ratio": 2})
    if want("vit_patch32_grey"):
        timm_model("vit_patch32_grey", "vit_small_patch32_384", 9,
                   {**SMALL, "img_size": 64, "patch_size": 32, "in_chans": 1}, {"mean": [0.4], "std": [0.3]})
    if want("vit_no_qkv_bias"):
        timm_model("vit_no_qkv_bias", "vit_base_patch16_224_miil", 10, SMALL, {"mean": [0, 0, 0], "std": [1, 1, 1],
                                                                                "crop_pct": 0.875})
    if want("vit_reg"):
        timm_model("vit_reg", "vit_tiny_patch16_224", 11, {**SMALL, "reg_tokens": 4, "init_values": 0.1,
                                                            "class_token": True, "global_pool": "token"})
    if want("deit", "deit_hf", "deit_as_vit_hf"):
        _, state = timm_model("deit", "deit_tiny_patch16_224", 12, SMALL, {"mean": IMAGENET[0], "std": IMAGENET[1]})
        hf_model("deit_hf", "DeiTForImageClassification", hf_config("DeiTConfig", 32, 8),
                 transformers.DeiTImageProcessor(size={"height": 39, "width": 39},
                                                 crop_size={"height": 32, "width": 32}), seed=13)
        hf_model("deit_as_vit_hf", "ViTForImageClassification", hf_config("ViTConfig", 32, 8, layer_norm_eps=1e-6),
                 transformers.ViTImageProcessor(size=32, resample=3, image_mean=IMAGENET[0], image_std=IMAGENET[1]),
                 hf_state(state, "vit"))
    if want("deit_distilled", "deit_distilled_hf"):
        _, state = timm_model("deit_distilled", "deit_small_distilled_patch16_224", 14, SMALL)
        hf_model("deit_distilled_hf", "DeiTForImageClassificationWithTeacher",
                 hf_config("DeiTConfig", 32, 8, layer_norm_eps=1e-6),
                 transformers.DeiTImageProcessor(size={"height": 36, "width": 36},
                                                 crop_size={"height": 32, "width": 32}, **COMMON),
                 hf_state(state, "deit", True))
    if want("deit3"):
        timm_model("deit3", "deit3_small_patch16_224", 15, SMALL, {"crop_pct": 1.0})
    small14 = {**SMALL, "patch_size": 14, "embed_dim": 16, "img_size": 42}
    if want("dinov2"):
        timm_model("dinov2", "vit_small_patch14_dinov2", 16, {**small14, "img_size": 70}, file_args={"img_size": 98})
    if want("dinov2_reg4"):
        timm_model("dinov2_reg4", "vit_small_patch14_reg4_dinov2", 17, {**small14, "img_size": 56},
                   file_args={"img_size": 42})
    for name, size in (("dinov2_hf", 42), ("dinov2_hf_resized", 98)):
        if want(name):
            hf_model(name, "Dinov2ForImageClassification", hf_config("Dinov2Config", size, 14, dim=16),
                     transformers.BitImageProcessor(size={"shortest_edge": 49}, crop_size={"height": 42, "width": 42},
                                                    image_mean=IMAGENET[0], image_std=IMAGENET[1]), seed=18)


def main():
    images = os.path.join(OUT, "images")
    os.makedirs(images, exist_ok=True)
    for i, size in enumerate(IMAGES):
        make_image(i, size).save(os.path.join(images, f"{i}.png"), optimize=True)
    make_all(sys.argv[1:])


main()
