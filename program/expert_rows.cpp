#include "program/expert_rows.hpp"

#include <algorithm>

#include "units/checked.hpp"

namespace meshsim {
namespace {

std::int64_t slots_of(const MoeMlp& moe, std::int64_t tokens) {
  return checked_multiply(tokens, moe.top_k, "slots");
}

// Rows that a permutation of a buffer moves: all of it, unless a ragged sort stops after `routed`.
std::int64_t moved_rows(const LayerBuilder& build, std::int64_t routed, std::int64_t buffer) {
  return build.plan().config.boolean("use_ragged_sort") ? routed : buffer;
}

// Buffers of `dropless` rows, unless ragged_buffer_factor gives them another size: what does not
// fit is dropped.
ExpertRows in_buffers(const LayerBuilder& build, std::int64_t slots, std::int64_t dropless) {
  const double factor = build.plan().config.real("ragged_buffer_factor");
  const std::int64_t buffer =
      factor > 0 ? static_cast<std::int64_t>(static_cast<double>(slots) * factor) : dropless;
  const std::int64_t routed = std::min(slots, buffer);
  return {slots, routed, buffer, moved_rows(build, routed, buffer)};
}

}  // namespace

void moved_activation(LayerBuilder& build, Name symbol, const ExpertRows& rows,
                      std::int64_t columns) {
  if (build.plan().config.boolean("use_ragged_sort")) {
    build.routed_activation(symbol, rows.buffer, rows.moved, columns);
  } else {
    build.padded_activation(symbol, rows.buffer, rows.moved, columns);
  }
}

ExpertRows local_rows(const MoeMlp& moe, std::int64_t tokens) {
  const std::int64_t n = slots_of(moe, tokens);
  return {n, n, n, n};
}

ExpertRows ragged_rows(const LayerBuilder& build, const MoeMlp& moe, std::int64_t tokens) {
  const std::int64_t P = build.plan().mesh.size("expert");
  const std::int64_t n = slots_of(moe, tokens);
  const std::int64_t most = checked_multiply(n, moe.experts, "buffer rows") / moe.top_k;
  return in_buffers(build, n, std::max(n, std::min(n * P, most)));
}

ExpertRows ring_rows(const LayerBuilder& build, const MoeMlp& moe, std::int64_t tokens) {
  const std::int64_t P = build.plan().mesh.size("expert");
  const std::int64_t n = slots_of(moe, tokens);
  if (has_capacity(build.plan())) {
    const double factor = build.plan().config.real("capacity_factor");
    const auto places = static_cast<std::int64_t>(static_cast<double>(n) * factor);
    return {n, places, places, places};
  }
  return in_buffers(build, n, checked_multiply(n, P, "buffer rows"));
}

ExpertRows gathered_rows(const LayerBuilder& build, const MoeMlp& moe, std::int64_t tokens) {
  const std::int64_t n = slots_of(moe, tokens);
  const std::int64_t all = checked_multiply(n, build.plan().mesh.size("expert"), "buffer rows");
  return {n, n, all, moved_rows(build, n, all)};
}

bool has_capacity(const Plan& plan) {
  return plan.config.real("capacity_factor") > 0 && plan.config.real("ragged_buffer_factor") <= 0;
}

std::int64_t capacity(const LayerBuilder& build, const MoeMlp& moe) {
  const double factor = build.plan().config.real("capacity_factor");
  const std::int64_t per_expert = ceil_div(build.batch().sequence * moe.top_k, moe.experts);
  return static_cast<std::int64_t>(std::max(static_cast<double>(per_expert) * factor, factor));
}

}  // namespace meshsim
