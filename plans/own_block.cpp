#include "plans/own_block.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "inputs/nearest.hpp"
#include "plans/refusals.hpp"
#include "routing/routing_scenario.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

// Names of software features, as runs are published with them (MaxText recipes, 2025-2026). All but
// the last four are on or off.
const std::vector<std::string> software_features{"sparsecore_offload",
                                                 "sparsecore_offload_all_gather",
                                                 "sparsecore_offload_reduce_scatter",
                                                 "sparsecore_offload_all_reduce",
                                                 "collective_fusion_all_gather",
                                                 "async_collective_fusion",
                                                 "data_parallel_all_reduce_opt",
                                                 "host_offload",
                                                 "host_offload_scheduler_flags",
                                                 "ag_backward_pipelining",
                                                 "megacore_fusion_allow_ags",
                                                 "async_collective_permute",
                                                 "latency_hiding_layer_scheduler",
                                                 "layout_for_all_reduce_scatter",
                                                 "attention_on_one_core",
                                                 "grouped_matmul_on_one_core",
                                                 "scoped_vmem_limit_kib",
                                                 "dvfs_p_state",
                                                 "stack",
                                                 "flag_groups"};

const std::vector<std::string> own_keys{"slice_shape", "software",    "allow",
                                        "routing",     "hash_table",  "token_law",
                                        "moe_block",   "calibration", "overlap"};

const std::vector<std::string> block_keys{"dispatch_variant", "shared_expert_mlp_dim"};

bool is_feature(const Member& feature, std::string& what, std::string& hint) {
  const auto known = std::find(software_features.begin(), software_features.end(), feature.key);
  if (known == software_features.end()) {
    what = fmt::format("{} is not a known feature", in_quotes(feature.key));
    hint = did_you_mean(feature.key, software_features);
    return false;
  }
  if (feature.value.kind == Node::Kind::null) return true;  // as if it were not stated
  if (feature.value.kind != Node::Kind::scalar) {
    what =
        fmt::format("'{}' must be a single value (got {})", feature.key, described(feature.value));
    return false;
  }
  const std::string& text = feature.value.text;
  if (software_features.end() - known <= 4 || parse_bool(text) || text == "null") return true;
  what = fmt::format("'{}' must be true, false or null (got {})", feature.key,
                     described(feature.value));
  return false;
}

bool one_of(const Node& value, std::initializer_list<const char*> choices, std::string& what) {
  std::string names;
  for (const char* choice : choices) {
    if (value.kind == Node::Kind::scalar && value.text == choice) return true;
    names += names.empty() ? choice : std::string(", ") + choice;
  }
  what = fmt::format("must be one of {} (got {})", names, described(value));
  return false;
}

template <class Law>
bool is_law(const Node& value, Parsed<Law> (*parse)(std::string_view), std::string& what) {
  if (value.kind != Node::Kind::scalar) {
    what = fmt::format("must be a single text (got {})", described(value));
    return false;
  }
  const Parsed<Law> law = parse(value.text);
  if (!law) what = law.why();
  return static_cast<bool>(law);
}

bool is_moe_block(const Node& value, std::string& what, std::string& hint) {
  if (value.kind != Node::Kind::mapping) {
    what = fmt::format("must be a mapping (got {})", described(value));
    return false;
  }
  for (const Member& member : value.members) {
    if (member.key == "dispatch_variant") {
      if (!one_of(member.value, {"ring_legacy", "ring", "ragged_a2a"}, what)) {
        what = "dispatch_variant " + what;
        return false;
      }
    } else if (member.key == "shared_expert_mlp_dim") {
      const auto width = parse_integer(member.value.text);
      if (member.value.kind != Node::Kind::scalar || !width || width.value() < 1) {
        what = fmt::format("shared_expert_mlp_dim must be an integer of at least 1 (got {})",
                           described(member.value));
        return false;
      }
    } else {
      what = fmt::format("{} is not known of a MoE block", in_quotes(member.key));
      hint = did_you_mean(member.key, block_keys);
      return false;
    }
  }
  return true;
}

bool is_shape(const Node& value, std::string& what) {
  if (value.kind == Node::Kind::scalar) {
    const auto shape = parse_shape(value.text);
    if (!shape) what = shape.why();
    return static_cast<bool>(shape);
  }
  const bool sizes = value.kind == Node::Kind::sequence && !value.items.empty() &&
                     std::all_of(value.items.begin(), value.items.end(), [](const Node& item) {
                       const auto size = parse_integer(item.text);
                       return !item.quoted && size && size.value() >= 1;
                     });
  if (!sizes) what = fmt::format("must be a shape such as 4x8x8 (got {})", described(value));
  return sizes;
}

}  // namespace

bool check_own_key(const std::string& key, const Node& value, const Location& where,
                   Diagnostics& faults) {
  std::string what;
  std::string hint;
  const std::string path = "meshsim." + key;
  if (std::find(own_keys.begin(), own_keys.end(), key) == own_keys.end()) {
    faults.add({where, path, "is not a known key", did_you_mean(key, own_keys)});
    return false;
  }
  bool fine = true;
  if (key == "slice_shape") fine = is_shape(value, what);
  if (key == "routing") fine = is_law(value, parse_routing_law, what);
  if (key == "hash_table") fine = is_law(value, parse_hash_table_law, what);
  if (key == "token_law") fine = is_law(value, parse_token_law, what);
  if (key == "overlap") fine = one_of(value, {"none", "xla", "ideal"}, what);
  if (key == "calibration") {
    fine = value.kind == Node::Kind::scalar && !value.text.empty();
    if (!fine) what = fmt::format("must be the path of a file (got {})", described(value));
  }
  if (key == "moe_block") fine = is_moe_block(value, what, hint);
  if (key == "allow") {
    const std::vector<std::string> ids = liftable_refusals();
    fine = value.kind == Node::Kind::sequence;
    if (!fine) what = fmt::format("must be a list of ids (got {})", described(value));
    for (const Node& id : value.items) {
      if (std::find(ids.begin(), ids.end(), id.text) != ids.end()) continue;
      fine = false;
      what = fmt::format("{} is not a refusal that can be lifted", described(id));
      hint = did_you_mean(id.text, ids);
    }
  }
  if (key == "software") {
    fine = value.kind == Node::Kind::mapping;
    if (!fine) what = fmt::format("must be a mapping of features (got {})", described(value));
    for (const Member& feature : value.members) fine = fine && is_feature(feature, what, hint);
  }
  if (!fine) faults.add({where, path, what, hint});
  return fine;
}

}  // namespace meshsim
