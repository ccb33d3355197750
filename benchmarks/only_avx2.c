/* Has programs see a processor with AVX2 and without what came later: AVX-512, VNNI and AMX.

    gcc -O2 -shared -fPIC -o build/only_avx2.so benchmarks/only_avx2.c
    LD_PRELOAD=$PWD/build/only_avx2.so .venv/bin/python benchmarks/quality.py

Libraries ask the CPUID instruction what there is. Linux can have it fault (cpuid_fault in
/proc/cpuinfo, x86-64 only); this library answers for it, and takes out what is newer. So ONNX
Runtime takes the kernels that it takes on a processor of the Haswell or Zen 3 kind. Their results
are those of such a processor; their speed is that of this one.
*/

#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012

static const unsigned NEWER_7_EBX = 1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 |
                                    1u << 28 | 1u << 30 | 1u << 31; /* AVX-512 */
static const unsigned NEWER_7_ECX = 1u << 1 | 1u << 6 | 1u << 8 | 1u << 9 | 1u << 10 | 1u << 11 |
                                    1u << 12 | 1u << 14; /* AVX-512, VNNI, GFNI, VAES */
static const unsigned NEWER_7_EDX = 1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 |
                                    1u << 25; /* AVX-512, AMX */

static void set_faulting(unsigned long is_allowed) {
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, is_allowed);
}

static void answer(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *instruction = (const unsigned char *)registers[REG_RIP];
    unsigned leaf = registers[REG_RAX], part = registers[REG_RCX], a, b, c, d;
    (void)info;
    if (instruction[0] != 0x0f || instruction[1] != 0xa2) { /* another fault: it comes again */
        signal(number, SIG_DFL);
        return;
    }
    set_faulting(1);
    __cpuid_count(leaf, part, a, b, c, d);
    set_faulting(0);
    if (leaf == 7 && part == 0) {
        b &= ~NEWER_7_EBX;
        c &= ~NEWER_7_ECX;
        d &= ~NEWER_7_EDX;
    } else if (leaf == 7) {
        a = b = c = d = 0; /* AVX-VNNI and its kin */
    }
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void) {
    struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &action, NULL);
    if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0UL) != 0) {
        static const char message[] = "only_avx2: this system cannot have CPUID fault\n";
        if (write(STDERR_FILENO, message, sizeof message - 1) < 0) _exit(1);
        _exit(1);
    }
}
