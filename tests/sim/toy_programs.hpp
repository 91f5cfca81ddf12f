// Small programs whose operations take a stated time on the toy machine.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "program/step_program.hpp"
#include "tests/cost_models/toy_machine.hpp"

namespace meshsim::testing {

// Work that needs `flops_tiles` x 262,144 ps of the MXU ([8, 128] x [128, 128] products) and
// `bytes` ps of HBM.
inline ProgramNode work(std::int64_t flops_tiles, std::int64_t bytes,
                        const std::string& layer_kind = "x") {
  Compute compute;
  compute.kind = OpKind::matmul;
  if (flops_tiles > 0) compute.matmuls = {{flops_tiles, 8, 128, 128}};
  compute.model_flops = FlopCount(flops_tiles * 2 * 8 * 128 * 128);
  compute.hbm_bytes = Bytes(bytes);
  Leaf leaf;
  leaf.name = "work";
  leaf.layer_kind = layer_kind;
  leaf.work = compute;
  return leaf_node(std::move(leaf));
}

inline constexpr std::int64_t tile_time = 262'144;  // ps: 2 x 8 x 128 x 128 FLOPs

// An all-gather of 8 n bytes over a ring of 4: 6 n are received, half over each of two links, in
// 3 n ps; they move 12 n bytes through HBM; 2 hops.
inline ProgramNode gather(std::int64_t bytes, const std::string& layer_kind = "x") {
  Leaf leaf;
  leaf.name = "gather";
  leaf.layer_kind = layer_kind;
  leaf.work = Collective{CollectiveKind::all_gather, {"fsdp"}, 4, Bytes(bytes)};
  return leaf_node(std::move(leaf));
}

inline StepProgram program_of(ProgramNode root) {
  StepProgram program;
  program.root = std::move(root);
  return program;
}

}  // namespace meshsim::testing
