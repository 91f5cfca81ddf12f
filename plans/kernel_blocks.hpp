// What the blocks of kernels need of VMEM.
//
// Pallas keeps the block of every operand twice, so that the next arrives while one is used. At
// least, in bytes:
//
//   grouped product, tiles m, k, n    2 x 2 (m k + k n + m n)    operands and result in bfloat16
//   attention, block q x kv           4 q kv                     its logits in float32
//
// A tile is no larger than its dimension. Mosaic does not compile a kernel whose blocks exceed the
// VMEM of a TensorCore. What it adds for itself, and a limit that it is given
// (scoped_vmem_limit_kib), are not counted: a plan that passes may still be refused.
#pragma once

#include <optional>
#include <string>

namespace meshsim {

struct Plan;

struct KernelBlocks {
  std::string key;     // a setting that makes them as large
  std::string blocks;  // "4096, 7168 and 2048"
  double needed = 0;   // bytes
  double vmem = 0;     // bytes of one TensorCore
};

// The first kernel of `plan` whose blocks exceed a core's VMEM.
std::optional<KernelBlocks> blocks_beyond_vmem(const Plan& plan);

}  // namespace meshsim
