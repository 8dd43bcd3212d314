#!/usr/bin/env python3
"""A model of timm's in its real size, with random weights: what a user would have, as far as sizes go. For measuring time
and memory. Only for maintainers:

    python3 -m venv v && v/bin/pip install torch torchvision timm==0.9.16 transformers==4.46.3 'pillow<13' xxhash
    v/bin/python tools/make_real_model.py deit_small_patch16_224 FOLDER
    v/bin/python tools/make_real_model.py swin_tiny_patch4_window7_224 FOLDER
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
if len(sys.argv) != 3:
    sys.exit(__doc__)
ARCHITECTURE, FOLDER = sys.argv[1:]
sys.argv[1:] = ["none"]  # make_golden_models makes its own list when it is read: of that nothing

import timm

import make_golden_models as golden
import make_golden_swin

os.makedirs(FOLDER, exist_ok=True)
model = timm.create_model(ARCHITECTURE)
make_golden_swin.randomize(model, 1)
golden.save_tensors(FOLDER, model.state_dict())
cfg = model.pretrained_cfg
keep = ("input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "num_classes")
golden.write_json(FOLDER, "config.json", {"architecture": ARCHITECTURE, "num_classes": cfg["num_classes"],
                                          "pretrained_cfg": {k: cfg[k] for k in keep if k in cfg}})
