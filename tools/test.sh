#!/usr/bin/env bash
# Every test: formatting, a clang build, the gcc build with all of CTest, then what runs on the host under ASan and UBSan.
# tools/setup.sh installs what this needs.
set -euo pipefail
cd "$(dirname "$0")/.."
export CTEST_OUTPUT_ON_FAILURE=1

step() {
    printf '\n== %s\n' "$*"
}

step "formatting"
# Headers are laid out by hand: their comments are tables and formulas.
find src tests bench docs -name '*.c' -print0 | xargs -0 clang-format --dry-run -Werror

step "clang, warnings are errors"
cmake -S . -B build/clang -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug -DVQ_WERROR=ON >/dev/null
ninja -C build/clang

step "gcc, warnings are errors, all tests"
cmake -S . -B build -G Ninja -DVQ_WERROR=ON -DVQ_TESTS=ON >/dev/null
ninja -C build
ctest --test-dir build -j 2

step "ASan and UBSan"
# Last, as kernels are compiled and cached by then: a compiler whose memory is watched takes twice as long.
# The OpenCL driver and LLVM keep memory until the end of the process, so leaks are not judged.
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
cmake -S . -B build/sanitize -G Ninja -DVQ_SANITIZE=address,undefined -DCMAKE_BUILD_TYPE=RelWithDebInfo >/dev/null
ninja -C build/sanitize
ctest --test-dir build/sanitize -R '^(test_|fuzz|cli)' -j 2
