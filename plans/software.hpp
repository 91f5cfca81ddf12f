// The XLA and libtpu settings of a run, as far as they change how a collective moves.
//
//   stepwise      the TensorCore runs it, one way around the rings of its group, and does nothing
//                 else: XLA's default
//   fused         collective fusion (collective_fusion_all_gather, async_collective_fusion): the
//                 TensorCore runs it both ways around its rings, in between the steps of the work
//                 that it is fused with
//   sparse_core   sparsecore_offload_*, or sparsecore_offload where none of these is stated: the
//                 SparseCores run it beside the TensorCore, one way around the rings
//
// A feature that is not stated is off. Fusion and offload exclude each other: where both are set,
// what can be offloaded is. An all-to-all is never fused nor offloaded. Source: MaxText
// benchmarks/xla_flags_library.py, 2026-08. That unfused rings run one way is inferred: of two
// published runs that differ in their flags, the one without pays for its transfers twice
// (hunyuan3-295b on v5p, 39.8 against 34.7 s), while runs whose axes have two chips, or whose
// gathers are fused, agree with the bandwidth of all links.
//
// A kernel that Mosaic cannot partition runs on one of a chip's TensorCores ("Running on one core
// only" in the compiler's log, seen for kernels of experts on v5p): attention_on_one_core,
// grouped_matmul_on_one_core. Which kernels it cannot partition is not modelled, so that they are
// stated.
//
// Bounds of what overlap can do (`overlap`):
//
//   none    every transfer holds the TensorCore until it ends
//   xla     as above
//   ideal   no transfer needs the TensorCore; all go both ways around their rings
#pragma once

#include "plans/resolved_config.hpp"

namespace meshsim {

enum class Mover { stepwise, fused, sparse_core };
enum class Overlap { none, xla, ideal };
std::string_view name(Overlap overlap);

struct Software {
  Mover all_gather = Mover::stepwise;
  Mover reduce_scatter = Mover::stepwise;
  Mover all_reduce = Mover::stepwise;
  Overlap overlap = Overlap::xla;
  bool attention_on_one_core = false;
  bool grouped_matmul_on_one_core = false;
};

Software software_of(const ResolvedConfig& config);

}  // namespace meshsim
