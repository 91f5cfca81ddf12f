#include "plans/software.hpp"

#include <algorithm>
#include <array>
#include <optional>

#include "units/parse.hpp"

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
  // Nothing where it is not stated.
  const auto stated = [&](const char* feature) -> std::optional<bool> {
    const Node* value =
        features == config.own.end() ? nullptr : features->second.value.find(feature);
    if (value == nullptr || value->kind == Node::Kind::null || value->text == "null") return {};
    return parse_bool(value->text).value();
  };
  const auto is_set = [&](const char* feature) { return stated(feature).value_or(false); };
  const std::array kinds{"sparsecore_offload_all_gather", "sparsecore_offload_reduce_scatter",
                         "sparsecore_offload_all_reduce"};
  const bool all = is_set("sparsecore_offload") && std::none_of(kinds.begin(), kinds.end(), stated);
  const bool fused = is_set("collective_fusion_all_gather") || is_set("async_collective_fusion");
  const auto mover = [&](const char* offload) {
    return stated(offload).value_or(all) ? Mover::sparse_core
           : fused                       ? Mover::fused
                                         : Mover::stepwise;
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
