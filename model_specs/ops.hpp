// What a layer computes: its operations with shapes, FLOPs and bytes, per sequence of S tokens.
//
// Counts are of the mathematics, whatever kernel runs it: 2 FLOPs per multiply-add, causal and
// windowed pairs counted exactly, each operand read once and each result written once. What a
// kernel adds (masked blocks, padded tiles, recomputed probabilities) is the lowering's business.
// Norms, rotary embeddings, softmax and Sinkhorn iterations are vector work and counted as bytes
// only.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model_specs/model_spec.hpp"
#include "units/dtype.hpp"
#include "units/quantity.hpp"

namespace meshsim {

enum class OpKind {
  matmul,          // activations x weights
  grouped_matmul,  // routed rows x their expert's weights
  attention,       // queries x keys and probabilities x values over visible pairs
  elementwise,     // bandwidth-bound
};

// `count` products of [m, k] x [k, n].
struct Matmul {
  std::int64_t count = 1;
  std::int64_t m = 0, k = 0, n = 0;
};

struct Work {
  FlopCount flops;
  Bytes bytes;
};

struct Op {
  std::string name;
  OpKind kind = OpKind::matmul;
  std::vector<Matmul> matmuls;  // of the forward pass; attention has none
  Work forward;
  Work backward;   // gradients of inputs and weights; zero where no gradient flows
  Work recompute;  // what a rematerialised layer repeats: the forward pass
};

struct Workload {
  std::int64_t sequence_length = 0;  // S, tokens
  DType activations = DType::bfloat16;
  DType weights = DType::bfloat16;
};

// The operations of one layer over one sequence, in the order they run.
std::vector<Op> layer_ops(const ModelSpec& spec, const LayerKind& kind, const Workload& load);

// Output head and hyper-connection head.
std::vector<Op> global_ops(const ModelSpec& spec, const Workload& load);

// One multi-token-prediction block, its layer and its pass through the output head included.
std::vector<Op> mtp_ops(const ModelSpec& spec, const Workload& load);

// The operations of all layers that cost the same, under a name that tells them apart: "swa",
// "csa", "hca"; "dense", "moe"; or "global" and "mtp".
struct OpGroup {
  std::string layer_kind;
  std::int64_t layers = 0;
  std::vector<Op> ops;
};
std::vector<OpGroup> op_groups(const ModelSpec& spec, const Workload& load);

struct ModelFlops {
  FlopCount forward;  // per sequence
  FlopCount train;    // forward + backward, nothing recomputed
};
ModelFlops model_flops(const std::vector<OpGroup>& groups);

}  // namespace meshsim
