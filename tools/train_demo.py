#!/usr/bin/env python3
"""Train the bundled demo model: a small ViT on Fashion-MNIST, saved with timm's tensor names.

usage: train_demo.py [--data DIR] [--out models/fashion_vit] [--epochs 18] [--init model.safetensors] ...

The bundled weights were made in two stages (both are in models/fashion_vit/train.log):
    tools/train_demo.py
    tools/train_demo.py --init models/fashion_vit/model.safetensors --epochs 16 --batch 128 --lr 1e-3 --drop 0 --shift 1

Needs PyTorch and safetensors; nothing else in the project does. Reads the IDX files of Debian's package
`dataset-fashion-mnist`, trains on the 60,000 training images only (random shift and mirror, label smoothing, cosine
schedule, averaged weights), and writes OUT/model.safetensors (float16) and OUT/config.json. Every line it prints is
also written to OUT/train.log. The accuracy it reports at the end is that of the stored float16 weights on the
10,000 test images.
"""
import argparse, gzip, json, pathlib, struct, time
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

LABELS = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
ARGS = {"embed_dim": 128, "depth": 6, "num_heads": 4, "img_size": 28, "patch_size": 4, "in_chans": 1}
MEAN, STD = 0.2860, 0.3530  # of the training images, as fractions of 255


class Attention(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        p = (q @ k.transpose(2, 3) * (c // self.heads) ** -0.5).softmax(-1)  # faster to train than the fused one here
        return self.proj((p @ v).transpose(1, 2).reshape(b, t, c))


class Mlp(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, eps=1e-6), Attention(dim, heads)
        self.norm2, self.mlp = nn.LayerNorm(dim, eps=1e-6), Mlp(dim)

    def forward(self, x, drop):
        for branch in (lambda y: self.attn(self.norm1(y)), lambda y: self.mlp(self.norm2(y))):
            z = branch(x)
            if self.training and drop:  # stochastic depth, one coin per image
                z = z * ((torch.rand(x.shape[0], 1, 1) >= drop) / (1 - drop)).to(z.dtype)
            x = x + z
        return x


class PatchEmbed(nn.Module):
    def __init__(self, dim, patch):
        super().__init__()
        self.proj = nn.Conv2d(1, dim, patch, patch)

    def forward(self, x):
        return self.proj(x).flatten(2).transpose(1, 2)


class ViT(nn.Module):
    def __init__(self, embed_dim, depth, num_heads, img_size, patch_size, in_chans):
        super().__init__()
        self.patch_embed = PatchEmbed(embed_dim, patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(0.02 * torch.randn(1, (img_size // patch_size) ** 2 + 1, embed_dim))
        self.blocks = nn.ModuleList(Block(embed_dim, num_heads) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(embed_dim, eps=1e-6), nn.Linear(embed_dim, 10)
        for m in self.modules():
            if isinstance(m, nn.Linear):
                nn.init.trunc_normal_(m.weight, std=0.02)
                nn.init.zeros_(m.bias)

    def forward(self, x, drop=0.0):
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], 1) + self.pos_embed
        for i, b in enumerate(self.blocks):
            x = b(x, drop * i / (len(self.blocks) - 1))
        return self.head(self.norm(x)[:, 0])


def idx(path):
    raw = gzip.open(path).read()
    dims = struct.unpack(f">{raw[3]}I", raw[4:4 + 4 * raw[3]])
    return torch.frombuffer(bytearray(raw[4 + 4 * raw[3]:]), dtype=torch.uint8).reshape(dims)


def augment(x, shift):
    """Mirror half of the images and shift each by up to `shift` pixels."""
    n = x.shape[0]
    x = torch.where(torch.rand(n, 1, 1) < 0.5, x, x.flip(2))
    p = F.pad(x, (shift, shift, shift, shift))
    dy, dx = torch.randint(0, 2 * shift + 1, (n, 1, 1)), torch.randint(0, 2 * shift + 1, (n, 1, 1))
    return p[torch.arange(n)[:, None, None], torch.arange(28)[None, :, None] + dy, torch.arange(28)[None, None, :] + dx]


def pixels(u8):
    return ((u8.float() / 255 - MEAN) / STD).unsqueeze(1)


def accuracy(model, x, y):
    model.eval()
    with torch.inference_mode():
        return sum((model(pixels(a)).argmax(1) == b).sum().item() for a, b in zip(x.split(500), y.split(500)))


ap = argparse.ArgumentParser()
ap.add_argument("--data", default="/usr/share/datasets/fashion-mnist")
ap.add_argument("--out", default="models/fashion_vit")
ap.add_argument("--epochs", type=int, default=18)
ap.add_argument("--batch", type=int, default=256)
ap.add_argument("--lr", type=float, default=2e-3)
ap.add_argument("--drop", type=float, default=0.1)
ap.add_argument("--shift", type=int, default=2)
ap.add_argument("--init", help="weights to go on from; the log is then continued")
ap.add_argument("--threads", type=int, default=2)
ap.add_argument("--seed", type=int, default=0)
a = ap.parse_args()
data, out = pathlib.Path(a.data), pathlib.Path(a.out)
out.mkdir(parents=True, exist_ok=True)
log = open(out / "train.log", "a" if a.init else "w")


def say(*words):
    print(*words, flush=True)
    print(*words, file=log, flush=True)


torch.manual_seed(a.seed)
torch.set_num_threads(a.threads)
xt, yt = idx(data / "train-images-idx3-ubyte.gz"), idx(data / "train-labels-idx1-ubyte.gz").long()
xv, yv = idx(data / "t10k-images-idx3-ubyte.gz"), idx(data / "t10k-labels-idx1-ubyte.gz").long()
model = ViT(**ARGS)
if a.init:
    model.load_state_dict({k: v.float() for k, v in load_file(a.init).items()})
average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998))
decay = [p for p in model.parameters() if p.ndim > 1]
plain = [p for p in model.parameters() if p.ndim <= 1]
opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], lr=a.lr)
steps = a.epochs * (len(xt) // a.batch)
sched = torch.optim.lr_scheduler.OneCycleLR(opt, a.lr, total_steps=steps, pct_start=0.1)
say("arguments", json.dumps(vars(a)), "torch", torch.__version__)
say("parameters", sum(p.numel() for p in model.parameters()))
for epoch in range(a.epochs):
    model.train()
    start, total, seen = time.time(), 0.0, 0
    order = torch.randperm(len(xt))
    for part in order.split(a.batch):
        if len(part) < a.batch:
            continue
        with torch.autocast("cpu", torch.bfloat16):
            loss = F.cross_entropy(model(pixels(augment(xt[part], a.shift)), a.drop).float(), yt[part], label_smoothing=0.1)
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        sched.step()
        average.update_parameters(model)
        total, seen = total + loss.item() * len(part), seen + len(part)
    say(f"epoch {epoch + 1}/{a.epochs} loss {total / seen:.4f} seconds {time.time() - start:.1f}")

save_file({k: v.to(torch.float16).contiguous() for k, v in average.module.state_dict().items()}, out / "model.safetensors")
json.dump({
    "architecture": "vit_tiny_patch16_224", "num_classes": 10, "num_features": ARGS["embed_dim"], "global_pool": "token",
    "model_args": ARGS,
    "pretrained_cfg": {"input_size": [1, 28, 28], "fixed_input_size": True, "interpolation": "bicubic", "crop_pct": 1.0,
                       "crop_mode": "center", "mean": [MEAN], "std": [STD], "num_classes": 10, "first_conv": "patch_embed.proj",
                       "classifier": "head"},
    "label_names": LABELS}, open(out / "config.json", "w"), indent=1)
model.load_state_dict({k: v.float() for k, v in load_file(out / "model.safetensors").items()})
right = accuracy(model, xv, yv)
say(f"test images right (float16 weights) {right} of {len(yv)}: {100 * right / len(yv):.2f} %")
