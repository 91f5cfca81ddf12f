// C = A B + beta C for one pair of row-major matrices: the only place that knows a GEMM library.
//
//   A [m, k], B [k, n], C [m, n]; a stored transposed operand is given as its own row-major self,
//   with the stride from one row to the next
//
// float32 runs on OpenBLAS. bfloat16 accumulates in float32 and runs on oneDNN where the CPU has
// AVX-512 or AMX; elsewhere panels are widened to float32 and multiplied by OpenBLAS.
#pragma once

#include <cstdint>
#include <string>

#include "moe/bfloat16.hpp"

namespace meshsim {

template <class T>
struct Operand {
  const T* data;
  std::int64_t stride;
  bool transposed = false;
};

void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Operand<float> a, Operand<float> b,
          float* c, std::int64_t stride, float beta);
// Throws Error(internal) if oneDNN fails.
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Operand<Bf16> a, Operand<Bf16> b,
          float* c, std::int64_t stride, float beta);

// The two paths of bfloat16, for tests and benchmarks; without beta.
bool has_bf16_hardware_path();
void gemm_bf16_onednn(std::int64_t m, std::int64_t n, std::int64_t k, Operand<Bf16> a,
                      Operand<Bf16> b, float* c, std::int64_t stride, float beta);
void gemm_bf16_portable(std::int64_t m, std::int64_t n, std::int64_t k, Operand<Bf16> a,
                        Operand<Bf16> b, float* c, std::int64_t stride, float beta);

// "oneDNN avx512_core_bf16" or "OpenBLAS on widened panels": which path bfloat16 takes here.
std::string bf16_path();
bool has_amx();

// Threads that one product may use; ranks that are threads of one process share the cores.
void set_gemm_threads(int threads);

}  // namespace meshsim
