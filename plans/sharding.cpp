#include "plans/sharding.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "inputs/nearest.hpp"

namespace meshsim {
namespace {

std::vector<std::string> names_of(const LogicalMesh& mesh) {
  std::vector<std::string> names;
  for (const MeshAxis& axis : mesh.axes) names.push_back(axis.name);
  return names;
}

// [logical axis, mesh axis], [logical axis, [mesh axis, ...]] or [logical axis, null].
bool is_rule(const Node& rule) {
  const auto is_name = [](const Node& node) { return node.kind == Node::Kind::scalar; };
  if (rule.items.size() != 2 || !is_name(rule.items[0])) return false;
  const Node& right = rule.items[1];
  return right.kind != Node::Kind::mapping &&
         std::all_of(right.items.begin(), right.items.end(), is_name);
}

std::vector<std::string> mesh_axes_of(const ResolvedConfig& config, const Node& rule,
                                      const LogicalMesh& mesh) {
  const Node& right = rule.items[1];
  std::vector<std::string> axes;
  if (right.kind == Node::Kind::scalar) axes.push_back(right.text);
  for (const Node& item : right.items) axes.push_back(item.text);
  for (const std::string& axis : axes) {
    if (std::count(axes.begin(), axes.end(), axis) > 1) {
      throw config.refusal("logical_axis_rules", fmt::format("the rule of '{}' names '{}' twice",
                                                             rule.items[0].text, axis));
    }
    const bool known =
        std::any_of(mesh.axes.begin(), mesh.axes.end(),
                    [&](const MeshAxis& candidate) { return candidate.name == axis; });
    if (!known) {
      throw config.refusal("logical_axis_rules",
                           fmt::format("the rule of '{}' names '{}', which is not in mesh_axes",
                                       rule.items[0].text, axis),
                           config.is_default("mesh_axes")
                               ? did_you_mean(axis, names_of(mesh))
                               : "mesh_axes of your own need logical_axis_rules of your own, with "
                                 "override_logical_axis_rules=true");
    }
  }
  return axes;
}

}  // namespace

ShardingRules::ShardingRules(const ResolvedConfig& config, const LogicalMesh& mesh) : mesh_(mesh) {
  for (const Node& rule : config.at("logical_axis_rules").value.items) {
    if (!is_rule(rule)) {
      throw config.refusal(
          "logical_axis_rules",
          fmt::format("a rule is [logical axis, mesh axes] (got {})", flow_text(rule)));
    }
    rules_.emplace_back(rule.items[0].text, mesh_axes_of(config, rule, mesh));
  }
  // The batch-split schedule's name for the experts, of which MaxText's base rules know nothing.
  const auto has = [](const auto& all, const std::string& name, auto name_of) {
    return std::any_of(all.begin(), all.end(),
                       [&](const auto& one) { return name_of(one) == name; });
  };
  if (!has(rules_, "expert_only", [](const auto& rule) { return rule.first; }) &&
      has(mesh.axes, "expert", [](const MeshAxis& axis) { return axis.name; }))
    rules_.emplace_back("expert_only", std::vector<std::string>{"expert"});
  for (std::size_t i = 0; i < rules_.size(); ++i) by_name_[rules_[i].first].push_back(i);
}

std::vector<std::vector<std::string>> ShardingRules::resolve(
    std::span<const std::string> logical_axes) const {
  std::vector<std::pair<std::size_t, std::size_t>> rules;  // that name a dimension, with it
  for (std::size_t i = 0; i < logical_axes.size(); ++i) {
    const auto first = std::find(logical_axes.begin(), logical_axes.end(), logical_axes[i]);
    const auto named = by_name_.find(logical_axes[i]);
    if (named == by_name_.end() || first != logical_axes.begin() + static_cast<std::ptrdiff_t>(i))
      continue;
    for (const std::size_t rule : named->second) rules.emplace_back(rule, i);
  }
  std::sort(rules.begin(), rules.end());
  std::vector<std::vector<std::string>> result(logical_axes.size());
  std::vector<bool> placed(logical_axes.size(), false);
  std::vector<std::string_view> taken;
  for (const auto& [rule, dimension] : rules) {
    const std::vector<std::string>& mesh_axes = rules_[rule].second;
    const bool free =
        std::none_of(mesh_axes.begin(), mesh_axes.end(), [&](const std::string& axis) {
          return std::find(taken.begin(), taken.end(), axis) != taken.end();
        });
    if (placed[dimension] || !free) continue;
    placed[dimension] = true;
    taken.insert(taken.end(), mesh_axes.begin(), mesh_axes.end());
    std::copy_if(mesh_axes.begin(), mesh_axes.end(), std::back_inserter(result[dimension]),
                 [&](const std::string& axis) { return mesh_.size(axis) > 1; });
  }
  return result;
}

std::int64_t shards(const LogicalMesh& mesh, std::span<const std::string> axes) {
  std::int64_t product = 1;
  for (const std::string& axis : axes) product *= mesh.size(axis);
  return product;
}

}  // namespace meshsim
