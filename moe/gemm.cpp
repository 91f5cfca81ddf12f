#include "moe/gemm.hpp"

#include <cblas.h>
#include <fmt/format.h>
#include <omp.h>

#include <algorithm>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "moe/tensor.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

constexpr CBLAS_TRANSPOSE flag(bool transposed) { return transposed ? CblasTrans : CblasNoTrans; }

blasint size(std::int64_t value) {
  if (value > INT32_MAX)
    throw Error(ErrorKind::resource_limit, "a matrix of more than 2^31 rows or columns");
  return static_cast<blasint>(value);
}

int gemm_threads = 0;  // 0: what the libraries choose

dnnl::engine& engine() {
  static dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

dnnl::memory::desc described(std::int64_t rows, std::int64_t columns, dnnl::memory::data_type type,
                             std::int64_t stride, bool transposed) {
  return transposed ? dnnl::memory::desc({rows, columns}, type, {1, stride})
                    : dnnl::memory::desc({rows, columns}, type, {stride, 1});
}

const char* isa_name(dnnl::cpu_isa isa) {
  switch (isa) {
    case dnnl::cpu_isa::avx512_core: return "avx512_core";
    case dnnl::cpu_isa::avx512_core_vnni: return "avx512_core_vnni";
    case dnnl::cpu_isa::avx512_core_bf16: return "avx512_core_bf16";
    case dnnl::cpu_isa::avx512_core_amx: return "avx512_core_amx";
    default: return "no AVX-512";
  }
}

}  // namespace

void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Operand<float> a, Operand<float> b,
          float* c, std::int64_t stride, float beta) {
  if (m == 0 || n == 0) return;
  if (k == 0) {  // BLAS wants strides >= 1
    for (std::int64_t i = 0; i < m; ++i)
      for (std::int64_t j = 0; j < n; ++j)
        c[i * stride + j] = beta == 0 ? 0 : beta * c[i * stride + j];
    return;
  }
  cblas_sgemm(CblasRowMajor, flag(a.transposed), flag(b.transposed), size(m), size(n), size(k), 1,
              a.data, size(a.stride), b.data, size(b.stride), beta, c, size(stride));
}

bool has_amx() { return dnnl::get_effective_cpu_isa() == dnnl::cpu_isa::avx512_core_amx; }

bool has_bf16_hardware_path() {
  const dnnl::cpu_isa isa = dnnl::get_effective_cpu_isa();
  return isa == dnnl::cpu_isa::avx512_core_bf16 || isa == dnnl::cpu_isa::avx512_core_amx;
}

std::string bf16_path() {
  return has_bf16_hardware_path()
             ? fmt::format("oneDNN {}", isa_name(dnnl::get_effective_cpu_isa()))
             : std::string("OpenBLAS on widened panels");
}

void gemm_bf16_onednn(std::int64_t m, std::int64_t n, std::int64_t k, Operand<Bf16> a,
                      Operand<Bf16> b, float* c, std::int64_t stride, float beta) {
  using Type = dnnl::memory::data_type;
  if (m == 0 || n == 0) return;
  // oneDNN reads a constant stride into its primitive and keeps compiled primitives in a cache.
  const auto a_desc = described(m, k, Type::bf16, a.stride, a.transposed);
  const auto b_desc = described(k, n, Type::bf16, b.stride, b.transposed);
  const auto c_desc = described(m, n, Type::f32, stride, false);
  try {
    if (gemm_threads > 0) omp_set_num_threads(gemm_threads);  // of the calling thread
    dnnl::primitive_attr attributes;
    if (beta != 0) {
      dnnl::post_ops sum;
      sum.append_sum(beta);
      attributes.set_post_ops(sum);
    }
    const dnnl::matmul::desc operation(a_desc, b_desc, c_desc);
    const dnnl::matmul product(dnnl::matmul::primitive_desc(operation, attributes, engine()));
    dnnl::stream stream(engine());
    // The library only reads A and B; its C++ interface has no const.
    dnnl::memory a_memory(a_desc, engine(), const_cast<Bf16*>(a.data));
    dnnl::memory b_memory(b_desc, engine(), const_cast<Bf16*>(b.data));
    dnnl::memory c_memory(c_desc, engine(), c);
    product.execute(
        stream, {{DNNL_ARG_SRC, a_memory}, {DNNL_ARG_WEIGHTS, b_memory}, {DNNL_ARG_DST, c_memory}});
    stream.wait();
  } catch (const dnnl::error& error) {
    throw Error(ErrorKind::internal, fmt::format("oneDNN: {}", error.what()));
  }
}

void gemm_bf16_portable(std::int64_t m, std::int64_t n, std::int64_t k, Operand<Bf16> a,
                        Operand<Bf16> b, float* c, std::int64_t stride, float beta) {
  if (m == 0 || n == 0) return;
  const auto widened = [](const Operand<Bf16>& x, std::int64_t rows, std::int64_t columns) {
    const std::int64_t stored_rows = x.transposed ? columns : rows;
    const std::int64_t stored_width = x.transposed ? rows : columns;
    std::vector<float> wide(static_cast<std::size_t>(rows * columns));
    for (std::int64_t i = 0; i < stored_rows; ++i)
      for (std::int64_t j = 0; j < stored_width; ++j)
        wide[static_cast<std::size_t>(i * stored_width + j)] = to_float(x.data[i * x.stride + j]);
    return wide;
  };
  const std::vector<float> wide_b = widened(b, k, n);
  const std::vector<float> wide_a = widened(a, m, k);
  gemm(m, n, k, Operand<float>{wide_a.data(), a.transposed ? m : k, a.transposed},
       Operand<float>{wide_b.data(), b.transposed ? k : n, b.transposed}, c, stride, beta);
}

void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Operand<Bf16> a, Operand<Bf16> b,
          float* c, std::int64_t stride, float beta) {
  (has_bf16_hardware_path() && k > 0 ? gemm_bf16_onednn : gemm_bf16_portable)(m, n, k, a, b, c,
                                                                              stride, beta);
}

void set_gemm_threads(int threads) {
  gemm_threads = threads;
  openblas_set_num_threads(threads);
}

}  // namespace meshsim
