// Kernels for the machine that runs them.
#pragma once

// One body, compiled for several instruction sets; the loader takes the best. Sanitizers run before
// the loader could ask the CPU.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
#define MESHSIM_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define MESHSIM_CLONES
#endif
