#include "plans/software.hpp"

namespace meshsim {

std::string_view name(Overlap overlap) {
  switch (overlap) {
    case Overlap::none: return "none";
    case Overlap::xla: return "xla";
    case Overlap::ideal: return "ideal";
  }
  return "";
}

Software software_of(const ResolvedConfig& config) {
  const auto features = config.own.find("software");
  const auto is_set = [&](const char* feature) {
    if (features == config.own.end()) return false;
    const Node* value = features->second.value.find(feature);
    return value != nullptr && value->text == "true";
  };
  const bool fused = is_set("collective_fusion_all_gather") || is_set("async_collective_fusion");
  const auto mover = [&](const char* offload) {
    return is_set(offload) ? Mover::sparse_core : fused ? Mover::fused : Mover::stepwise;
  };
  Software software;
  software.all_gather = mover("sparsecore_offload_all_gather");
  software.reduce_scatter = mover("sparsecore_offload_reduce_scatter");
  software.all_reduce = mover("sparsecore_offload_all_reduce");
  software.attention_on_one_core = is_set("attention_on_one_core");
  software.grouped_matmul_on_one_core = is_set("grouped_matmul_on_one_core");
  if (const auto found = config.own.find("overlap"); found != config.own.end()) {
    for (const Overlap bound : {Overlap::none, Overlap::ideal}) {
      if (found->second.value.text == name(bound)) software.overlap = bound;
    }
  }
  return software;
}

}  // namespace meshsim
