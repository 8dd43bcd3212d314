/* Makes an x86 processor look as if it had AVX2 and nothing beyond, to every program that asks CPUID: for run.py --isa
 * avx2, which measures all competitors as on such a machine. Preloaded; needs Linux and a processor whose CPUID
 * instruction can be made to fault (cpuid_fault in /proc/cpuinfo).
 *
 *     cc -shared -fPIC -O2 hide_avx512.c -o hide_avx512.so && LD_PRELOAD=./hide_avx512.so PROGRAM
 *
 * What it does not change: the C library's choice of memcpy, made before; and the processor, whose clock and caches may
 * differ from those of one that has no more. */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { ARCH_SET_CPUID = 0x1012 };

#define BIT(n)     (UINT32_C(1) << (n))
/* Leaf 7 */
#define AVX512_EBX (BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31))
#define AVX512_ECX (BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14))
#define AVX512_EDX (BIT(2) | BIT(3) | BIT(8) | BIT(23))
#define AMX_EDX    (BIT(22) | BIT(24) | BIT(25))
/* Leaf 7, subleaf 1: AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA; AVX-VNNI-INT8, AVX-NE-CONVERT, AVX-VNNI-INT16, AVX10 */
#define NEWER_EAX  (BIT(4) | BIT(5) | BIT(21) | BIT(23))
#define NEWER_EDX  (BIT(4) | BIT(5) | BIT(10) | BIT(19))

static struct sigaction before;

/* Whether this thread, and those that it starts, may execute CPUID. */
static long allow(int may)
{
    return syscall(SYS_arch_prctl, ARCH_SET_CPUID, may);
}

static void on_fault(int signal, siginfo_t *info, void *user)
{
    ucontext_t *const context = user;
    greg_t *const r = context->uc_mcontext.gregs;
    const uint8_t *const at = (const uint8_t *)r[REG_RIP];
    uint32_t a, b, c, d;
    (void)signal;
    if (info->si_code != SI_KERNEL || at[0] != 0x0f || at[1] != 0xa2) {
        sigaction(SIGSEGV, &before, NULL); /* a real fault: it comes again */
        return;
    }
    const uint32_t leaf = (uint32_t)r[REG_RAX], sub = (uint32_t)r[REG_RCX];
    allow(1);
    __cpuid_count(leaf, sub, a, b, c, d);
    allow(0);
    if (leaf == 7 && sub == 0) {
        b &= ~AVX512_EBX;
        c &= ~AVX512_ECX;
        d &= ~(AVX512_EDX | AMX_EDX);
    } else if (leaf == 7 && sub == 1) {
        a &= ~NEWER_EAX;
        d &= ~NEWER_EDX;
    }
    r[REG_RAX] = a;
    r[REG_RBX] = b;
    r[REG_RCX] = c;
    r[REG_RDX] = d;
    r[REG_RIP] += 2;
}

__attribute__((constructor)) static void start(void)
{
    const struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    if (sigaction(SIGSEGV, &action, &before) == 0 && allow(0) == 0) return;
    fprintf(stderr, "hide_avx512: CPUID cannot be made to fault here (see cpuid_fault in /proc/cpuinfo)\n");
    exit(1);
}
