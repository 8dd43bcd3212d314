#!/usr/bin/env bash
# The bundled model, from float to 4-bit integers, judged on the 10,000 test images of Fashion-MNIST.
# usage: tools/demo.sh [IMAGES]     only the first IMAGES of the 10,000
set -euo pipefail
cd "$(dirname "$0")/.."

vitq=${VITQ:-build/vitq}
limit=${1:-10000}
out=build/demo
data=/usr/share/datasets/fashion-mnist
test_set=(--images "$data/t10k-images-idx3-ubyte.gz" --labels "$data/t10k-labels-idx1-ubyte.gz" --batch 32)
mkdir -p "$out"

number() { # number NAME: that field of the JSON on stdin
    sed -n "s/^[[:space:]]*\"$1\":[[:space:]]*\([0-9.]*\).*/\1/p"
}

row() { # row TITLE MODE MODEL
    local json
    json=$("$vitq" eval "$3" --mode "$2" "${test_set[@]}" --limit "$limit" --json)
    printf '| %-22s | %5d | %6s %% | %8.0f | %6.2f |\n' "$1" "$(number top1 <<<"$json")" \
        "$(number n <<<"$json" | awk -v t="$(number top1 <<<"$json")" '{ printf "%.2f", 100 * t / $1 }')" \
        "$(number images_per_second <<<"$json")" "$4"
}

megabytes() {
    stat -L -c %s "$1" | awk '{ printf "%.2f", $1 / 1e6 }'
}

for bits in w8a8 w4a4; do
    "$vitq" calibrate models/fashion_vit --images "$data/train-images-idx3-ubyte.gz" --bits "$bits" \
        -o "$out/fashion_$bits.vitq.safetensors"
    echo
done

echo "Fashion-MNIST, $limit test images, $(nproc) cores"
echo
echo "| model                  | right |    top-1 | images/s |     MB |"
echo "|------------------------|-------|----------|----------|--------|"
row "FP32" fp32 models/fashion_vit "$(megabytes models/fashion_vit/model.safetensors)"
for bits in w8a8 w4a4; do
    file=$out/fashion_$bits.vitq.safetensors
    row "${bits^^} fake-quant" fake "$file" "$(megabytes "$file")"
    row "${bits^^} integer" int "$file" "$(megabytes "$file")"
done
