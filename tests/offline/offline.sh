#!/bin/sh
# Compiles the kernels for GPUs with the real back ends, without a GPU: clang to PTX and ptxas, clang to AMDGCN, Intel's ocloc. Prints
# one table row per variant and target: the most registers, spills, local memory and occupancy of its programs, and the
# least share of multiplying instructions in the basic block that has most of them (of PTX or of AMD's machine code; address
# arithmetic and loads are the rest). Fails where a program does not compile, spills (attention
# in windows too large for scores in registers may), or holds none of them.
# usage: offline.sh KERNELS SHIM LIST_KERNELS [PTXAS]; status 77: nothing could be compiled
kernels=$1 shim=$2 list=$3 ptxas=${4:-ptxas}
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
failed=0 rows=0

# what a program is built for besides its row's options; one list of options a line
configs() { # function, VQ_P2: whether it unpacks, or the most tiles that it keeps
    case $1 in
    gemm_s8)
        for c in 0:0:0:1:1:0 1:1:1:1:1:0 2:1:1:1:1:1 3:2:1:2:1:0 1:2:1:2:2:1; do
            echo $c | awk -F: -v unpacks="$2" '{
                planes = unpacks == 2 ? 1 : $4; packed = unpacks == 2 ? 1 : unpacks == 1 ? $6 : 0 # 2: else it is the row of bytes
                print "-DEPILOGUE=" $1, "-DREQUANT=" $2, "-DW_ZERO=" $3, "-DA_PLANES=" planes, "-DC_PLANES=" $5,
                      "-DW_PACKED=" packed, "-DW_SHIFT=2" }'
        done ;;
    attention_u8)
        for c in 0:1:1:0:16 0:0:0:0:16 0:1:1:1:8 1:1:1:1:8 2:1:0:1:16 2:0:1:1:8 4:1:1:0:16 4:1:0:0:16; do
            [ "${c%%:*}" -gt "$2" ] ||
            echo $c | awk -F: '{ print "-DTILES=" $1, "-DPROB_LOW=" $2, "-DALIGNED=" $3, "-DWINDOWS=" $4, "-DSLICE=" $5 }'
        done ;;
    *) echo "" ;;
    esac
}

find_tool() { for t in "$@"; do command -v "$t" 2>/dev/null && return; done; }
clang=$(find_tool clang-14 clang-15 clang-16 clang-17 clang-18 clang)
ptxas=$(find_tool "$ptxas" /usr/local/cuda/bin/ptxas)
[ -n "$clang" ] || { echo "offline: skipped, no clang found"; exit 77; }
ocloc=$(find_tool "${VITQ_OCLOC:-ocloc}")
[ -n "$ocloc" ] || echo "offline: Intel skipped, no ocloc found"
[ -n "$ptxas" ] || echo "offline: NVIDIA skipped, no ptxas found"

fail() { echo "FAILURE: $*"; failed=1; }

# most multiplying instructions of a basic block of the function, and all of that block
share() { # assembly, instructions, function
    awk -v want="$2" -v entry="^$3:|\\.entry $3\\(" -v others="^$3_" '
        $0 ~ entry { inside = 1; next }
        !inside { next }
        $0 ~ others || /\.entry|\.Lfunc_end|^}/ { if (total) { keep() } ; if (/\.Lfunc_end|^}/) inside = 0; next }
        /^[$.A-Za-z_0-9]+:/ { keep(); next }
        /^\t+(\/\/|\.|;)/ || !/^\t/ { next }
        { total++; if ($0 ~ want) hits++ ; if (/branch|bra[ .]/) keep() }
        function keep() { if (hits > best) { best = hits; of = total } hits = total = 0 }
        END { print best + 0, of + 0 }' "$1"
}

# numbers of one program: registers, spills, local bytes, occupancy in warps or waves
numbers_nv() { # ptx arch function
    # shellcheck disable=SC2086
    "$ptxas" -v $max_registers -arch="$2" "$1" -o "$tmp/cubin" 2>"$tmp/log" || return 1
    awk -v fn="$3" -v side="$(echo "$options" | sed 's/.*-DVQ_P0=\([0-9]*\).*/\1/')" \
        -v shared="$([ "$2" = sm_90 ] && echo 233472 || echo 167936)" '
        /Compiling entry function/ { mine = $0 ~ "." fn ". " }
        mine && /stack frame/ { spills += $1 } # arrays that did not become registers
        mine && /spill/ { for (i = 1; i < NF; i++) if ($i == "bytes" && $(i + 1) == "spill") spills += $(i - 1) }
        mine && /Used/ { for (i = 1; i <= NF; i++) { if ($i ~ /^registers/) regs = $(i - 1); if ($i ~ /^smem/) local = $(i - 2) } }
        END {
            threads = fn == "peak_s8" ? side : side * side
            groups = int(65536 / (int((regs + 7) / 8) * 8 * threads)); most = int(2048 / threads)
            if (groups > most) groups = most
            if (local && groups > int(shared / (local + 1024))) groups = int(shared / (local + 1024))
            print regs + 0, spills + 0, local + 0, groups * threads / 32 "/64"
        }' "$tmp/log"
}
numbers_intel() { # folder of IGC's dumps, function: its last program is the one that IGC kept
    # shellcheck disable=SC2046
    set -- $(grep -l "^//.kernel $2\$" "$1"/*.asm)
    [ $# -gt 0 ] || return 1
    while [ $# -gt 1 ]; do shift; done
    awk -v simd="$(echo "$1" | sed 's/.*_simd\([0-9]*\)_.*/\1/')" '
        /numGRF=/ { sub(/.*numGRF=/, ""); regs = $0 + 0 } /^\/\/\.spill size/ { spills += $3 }
        /store\.ugm[.a-z0-9]*\.a64/ { spills += 4 * simd } # arrays: what is stored for others is addressed otherwise
        /^\/\/ B[0-9]+:/ { keep() } /dp4a/ { hits++ } /\([0-9]+\|M[0-9]+\)/ { total++ }
        function keep() { if (hits > best) { best = hits; of = total } hits = total = 0 }
        END { keep(); print regs + 0, spills + 0, "-", "SIMD" simd, best + 0, of + 0 }' "$1"
}
numbers_amd() { # assembly function
    awk -v entry="^$2:" '
        /^[a-z_0-9]+:/ { inside = $0 ~ entry }
        inside && /^; (Total)?NumVgprs:/ { regs = $3 } inside && /ScratchSize:/ { spills = $3 }
        inside && /LDSByteSize:/ { local = $3 } inside && /Occupancy:/ { waves = $3 }
        END { print regs + 0, spills + 0, local + 0, waves + 0 }' "$1"
}

# One program of $file for $arch with $built and one list more of options: its numbers, then its share.
program_clang() { # options, clang flags...
    config=$1; shift
    # shellcheck disable=SC2086
    "$@" -x cl -cl-std=CL1.2 -Xclang -finclude-default-header -include "$shim" -I "$kernels" -O3 -S $built \
        $config "$kernels/$file" -o "$tmp/s" 2>"$tmp/log" </dev/null || return 1
    case $arch in
    sm_*) numbers_nv "$tmp/s" "$arch" "$fn" || return 1 ;;
    *) numbers_amd "$tmp/s" "$fn" ;;
    esac
    share "$tmp/s" "$want" "$fn"
}
program_intel() { # options, ocloc
    rm -rf "$tmp/dump"; mkdir "$tmp/dump"
    printf '#include "%s"\n#include "%s"\n' "$shim" "$file" >"$tmp/program.cl"
    IGC_ShaderDumpEnable=1 IGC_DumpToCustomDir="$tmp/dump" "$2" compile -file "$tmp/program.cl" -device "$arch" \
        -options "$built $1 -I $kernels" -out_dir "$tmp" -output program -output_no_suffix >"$tmp/log" 2>&1 </dev/null &&
        [ -s "$tmp/program" ] || return 1
    numbers_intel "$tmp/dump" "$fn"
}

compile() { # variant file options target arch how command...
    variant=$1 file=$2 options=$3 arch=$4 want=$5 how=$6; shift 6
    case $variant in peak__*) fn=peak_s8 ;; *) fn=${variant%%__*} ;; esac
    max_registers=$(echo "$options" | sed -n 's/.*-cl-nv-\(maxrregcount=[0-9]*\).*/-\1/p')
    built=$(echo "$options" | sed 's/-cl-nv-[a-z=0-9]*//') # ptxas gets that part, as from NVIDIA's OpenCL
    regs=0 spills=0 local=- waves= best=0 of=0
    configs "$fn" "$(echo "$options" | sed 's/.*-DVQ_P2=\([0-9]*\).*/\1/')" >"$tmp/configs"
    while read -r config; do
        $how "$config" "$@" >"$tmp/numbers" || { fail "$variant for $arch, $config: $(grep -m1 error "$tmp/log" || head -1 "$tmp/log")"; return; }
        # shellcheck disable=SC2046
        set -- "$@" -- $(cat "$tmp/numbers")
        while [ "$1" != -- ]; do set -- "$@" "$1"; shift; done
        [ "$2" -gt "$regs" ] && regs=$2 waves=$5
        case $4 in -) ;; *) [ "$local" != - ] && [ "$4" -le "$local" ] || local=$4 ;; esac
        case "$3 $config" in
        0\ *) ;;
        *TILES=0*WINDOWS=1*) echo "offline: $variant for $arch spills $3 bytes, in windows whose scores it computes again only" ;;
        *) fail "$variant for $arch, $config: spills $3 bytes" ;;
        esac
        [ "$6" -gt 0 ] || fail "$variant for $arch, $config: none of its instructions"
        spills=$((spills + $3))
        { [ "$of" = 0 ] || [ $(($6 * of)) -lt $((best * $7)) ]; } && best=$6 of=$7
        shift 7
    done <"$tmp/configs"
    [ "$of" = 0 ] || echo "| $variant | $arch | $regs | $spills | $local | $waves | $best/$of ($((100 * best / of)) %) |"
    rows=$((rows + 1))
}

echo "| variant | target | registers | spilled bytes | local bytes | warps or waves | products / instructions |"
echo "|---|---|---|---|---|---|---|"
"$list" | grep '^\(gemm_s8\|attention_u8\|peak\)__[dm]' >"$tmp/rows"
while IFS='|' read -r name file options; do
    case $options in
    *VQ_DOT=2* | *VQ_MMA=1*)
        [ -n "$ptxas" ] || continue
        for arch in sm_80 sm_90; do
            feature=+ptx70
            # clang 14 knows sm_86 at most: its PTX is what ptxas then makes code for sm_90 of
            compile "$name" "$file" "$options" $arch 'dp4a|mma.sync' program_clang "$clang" -target nvptx64-nvidia-nvcl -Xclang -target-cpu -Xclang \
                sm_80 -Xclang -target-feature -Xclang $feature
        done ;;
    *VQ_DOT=1*)
        [ -n "$ocloc" ] || continue
        for arch in acm-g10 tgllp; do compile "$name" "$file" "$options" $arch dp4a program_intel "$ocloc"; done ;;
    *VQ_DOT=3* | *VQ_MMA=2*)
        case $options in *VQ_MMA*) archs=gfx90a want_amd=v_mfma ;; *) archs="gfx90a gfx1030 gfx1100" want_amd=v_dot4 ;; esac
        for arch in $archs; do
            amd=$clang
            if [ $arch = gfx1100 ] && ! echo | "$amd" -x cl -target amdgcn-amd-amdhsa -mcpu=$arch -nogpulib -S - -o /dev/null 2>/dev/null; then
                amd=$(find_tool clang-15 clang-16 clang-17 clang-18)
                [ -n "$amd" ] || { echo "offline: gfx1100 skipped, $clang does not know it and there is no later clang"; continue; }
            fi
            compile "$name" "$file" "$options" $arch "$want_amd" program_clang "$amd" -target amdgcn-amd-amdhsa -mcpu=$arch -nogpulib
        done ;;
    *) echo "offline: $name skipped, no compiler here has its extension" ;;
    esac
done <"$tmp/rows"
# The known-answer kernels: one that does not compile would quietly keep its rows from running.
probe_intel() {
    arch=acm-g10 fn=probe file=probe_gpu.cl built="-cl-std=CL3.0 -DVQ_DOT=1"
    program_intel "" "$ocloc" >"$tmp/numbers" || { fail "probe $built for $arch: $(grep -m1 error "$tmp/log")"; return; }
    echo "offline: probe $built compiles for $arch"
}
[ -z "$ocloc" ] || probe_intel
probe() { # arch, options, clang and flags...
    arch=$1 options=$2; shift 2
    # shellcheck disable=SC2086
    "$@" -x cl -cl-std=CL1.2 -Xclang -finclude-default-header -include "$shim" -I "$kernels" -O3 -S $options \
        "$kernels/probe_gpu.cl" -o "$tmp/s" 2>"$tmp/log" || { fail "probe $options for $arch: $(grep -m1 error "$tmp/log")"; return; }
    case $arch in
    sm_*) "$ptxas" -arch="$arch" "$tmp/s" -o "$tmp/cubin" 2>"$tmp/log" || { fail "probe $options: ptxas: $(head -1 "$tmp/log")"; return; } ;;
    esac
    echo "offline: probe $options compiles for $arch"
}
matrix="-DVQ_P0=16 -DVQ_P1=4"
if [ -n "$ptxas" ]; then
    for options in "-DVQ_DOT=2" "-DPROBE_MMA $matrix -DVQ_MMA=1" "-DPROBE_MMA -DW_PACKED=1 $matrix -DVQ_MMA=1"; do
        probe sm_80 "$options" "$clang" -target nvptx64-nvidia-nvcl -Xclang -target-cpu -Xclang sm_80 -Xclang -target-feature -Xclang +ptx70
    done
fi
for options in "-DVQ_DOT=3" "-DPROBE_MFMA $matrix -DVQ_MMA=2 -DVQ_DOT=3" \
    "-DPROBE_MFMA -DMFMA_SIDE=16 $matrix -DVQ_MMA=2 -DVQ_DOT=3"; do
    probe gfx90a "$options" "$clang" -target amdgcn-amd-amdhsa -mcpu=gfx90a -nogpulib
done

[ $rows -gt 0 ] || { echo "offline: skipped, no back end found"; [ $failed = 0 ] && exit 77; }
exit $failed
