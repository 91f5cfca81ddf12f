// MaxText's batch-split schedule: two microbatches of T / 2 tokens go through a layer, one a stage
// ahead of the other, so that the collectives of one run beside the products of the other.
//
//   A  norm and attention     R  norm, shared expert, choices; the tokens are gathered and sorted
//   C  experts                U  rows are added up; the sums return, the residual is added
//
//   core       A0     | R0 choices, A1 | sort 0, R1 choices, C0 | sort 1, add up 0, C1 | add up 1
//   beside it  U1 RS  | R0 gathers     | R1 gathers             | U0 RS                |
//              of the layer before
//
// A layer costs, where nothing contends for HBM or links,
//
//   max(A, U) + max(A, R) + max(C, R) + max(C, U) + what is not overlapped
//
// with A, C the products and R, U the collectives of one microbatch: choices, shared expert, sorts
// and residuals are not overlapped. The backward pass is the same in reverse: gradients of the sums
// are gathered, those of the tokens reduced.
//
//   core       A0'    | A1', choices 0' | C0', choices 1', sort 0' | C1', add up 0', sort 1'
//   beside it  U1' AG | R0' RS          | R1' RS                   | U0' AG
//              of the layer before
//
// Weights are gathered one layer ahead, explicitly, and their gradients reduced one layer after,
// beside sums over DCN; the gradients of both microbatches are added. A layer keeps its input, the
// result of its attention kernel and twice the mean of the rows of its gates and ups, all on the
// host, and the choices of the group's tokens on the device; everything else is computed again.
// Hyper-connected streams (DeepSeek-V4, which MaxText does not run so) need the sums that returned
// for the gradient of their mixing: those are kept as well, and the gradients of microbatch 1 are
// gathered after the recomputation, beside nothing.
//
// Source: MaxText's deepseek_batchsplit model and its documentation, 2026-08.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "program/layer_template.hpp"
#include "program/remat_policy.hpp"

namespace meshsim {

inline constexpr std::int64_t batch_split_parts = 2;     // microbatches
inline constexpr std::int64_t batch_split_capacity = 2;  // kept rows, of the mean

// The stages of one microbatch's layer that have a place in the schedule.
namespace batch_split_stages {
inline constexpr const char* gather = "gather_tokens";
inline constexpr const char* permute = "permute";
inline constexpr const char* experts = "experts_up";
inline constexpr const char* unpermute = "unpermute";
inline constexpr const char* reduce = "reduce_outputs";
}  // namespace batch_split_stages

bool splits_batch(const Plan& plan);

// Why the schedule cannot be laid out for `plan`, or nothing.
std::optional<std::string> batch_split_not_lowered(const Plan& plan);

// What is assumed of it, for the report.
std::vector<std::string> batch_split_assumptions(const Plan& plan);

// Half of `batch`: every second sequence.
LocalBatch half_batch(const LocalBatch& batch);

// Two of `half`, the layer of one microbatch, as one layer of both. "@0" and "@1" tell apart what
// belongs to one of them; the streams x and x_out are of both.
LayerTemplate stagger(const LayerTemplate& half);

// Whether `layer` is one of those.
bool is_staggered(const LayerTemplate& layer);

// What the schedule keeps of a layer, whatever the plan's remat policy says.
RematPolicy batch_split_policy(const Plan& plan);

}  // namespace meshsim
