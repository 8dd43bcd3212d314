#!/usr/bin/env bash
# Installs what vitq needs on Debian 12, builds it into build/, and runs the demo. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
    gcc g++ cmake ninja-build pkg-config                             # to build
    libcjson-dev libxxhash-dev libjpeg62-turbo-dev libspng-dev       # libraries
    zlib1g-dev libsqlite3-dev libprotobuf-c-dev protobuf-c-compiler
    ocl-icd-opencl-dev libclblast-dev pocl-opencl-icd                # OpenCL, and a device: the processor
    dataset-fashion-mnist                                            # images of the demo
    clang clang-format libclang-rt-14-dev libcmocka-dev oclgrind git # to test
)

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "installing ${#missing[@]} packages"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

cmake -S . -B build -G Ninja -DVQ_WERROR=ON -DVQ_TESTS=OFF
ninja -C build
tools/demo.sh
