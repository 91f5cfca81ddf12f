#include "plans/logical_mesh.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "inputs/nearest.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

std::vector<std::int64_t> divisors(std::int64_t n) {
  std::vector<std::int64_t> all;
  for (std::int64_t d = 1; d * d <= n; ++d) {
    if (n % d != 0) continue;
    all.push_back(d);
    if (d * d != n) all.push_back(n / d);
  }
  std::sort(all.begin(), all.end());
  return all;
}

// The divisors of `n` on both sides of `value`, for a hint.
std::string nearest_divisors(std::int64_t n, std::int64_t value) {
  std::int64_t below = 1;
  std::int64_t above = n;
  for (const std::int64_t d : divisors(n)) {
    if (d <= value) below = d;
    if (d >= value) above = std::min(above, d);
  }
  return below == above ? fmt::format("{}", below) : fmt::format("{} or {}", below, above);
}

// How to bring a product to `total` by changing one of its factors.
std::string product_hint(std::int64_t total, std::int64_t product, const std::string& key,
                         std::int64_t factor) {
  const std::int64_t others = product / factor;
  if (total % others == 0)
    return fmt::format("{}={} gives {}; -1 stands for what is left", key, total / others, total);
  return fmt::format("the other degrees multiply to {}, which does not divide {}: nearest {}",
                     others, total, nearest_divisors(total, others));
}

struct Degrees {
  std::string_view network;  // "ici" or "dcn"
  std::int64_t total;        // what the product must be
  std::string total_name;
};

// Fills the -1 of `values` and checks the product.
void fill(const ResolvedConfig& config, const Degrees& degrees,
          const std::vector<std::string>& keys, std::vector<std::int64_t>& values) {
  std::int64_t product = 1;
  std::size_t unset = keys.size();
  std::string factors;
  std::size_t largest_stated = 0;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (values[i] == -1) {
      if (unset != keys.size()) {
        const bool first_is_default = config.is_default(keys[unset]);
        throw config.refusal(keys[first_is_default ? i : unset],
                             fmt::format("{} is -1 as well: only one degree can be what is left",
                                         keys[first_is_default ? unset : i]),
                             fmt::format("set one of the two, for example {}=1",
                                         keys[first_is_default ? unset : i]));
      }
      unset = i;
      continue;
    }
    product = checked_multiply(product, values[i],
                               fmt::format("the product of the {} degrees", degrees.network));
    if (values[i] > 1)
      factors += fmt::format("{}{}={}", factors.empty() ? "" : " x ", keys[i], values[i]);
    if (values[i] > values[largest_stated] || values[largest_stated] == -1) largest_stated = i;
  }
  if (factors.empty()) factors = "all degrees 1";
  if (unset != keys.size()) {
    if (degrees.total % product != 0) {
      throw config.refusal(keys[largest_stated],
                           fmt::format("the {} degrees ({} = {}) do not divide {}", degrees.network,
                                       factors, product, degrees.total_name),
                           fmt::format("their product must divide {}: nearest {}", degrees.total,
                                       nearest_divisors(degrees.total, product)));
    }
    values[unset] = degrees.total / product;
  } else if (product != degrees.total) {
    throw config.refusal(
        keys[largest_stated],
        fmt::format("the product of the {} degrees is {} ({}), not {}", degrees.network, product,
                    factors, degrees.total_name),
        product_hint(degrees.total, product, keys[largest_stated], values[largest_stated]));
  }
}

bool is_degree(const std::string& key) {
  return (key.starts_with("ici_") || key.starts_with("dcn_")) && key.ends_with("_parallelism") &&
         key != "ici_parallelism" && key != "dcn_parallelism";
}

std::vector<std::string> axes_with_degrees() {
  std::vector<std::string> axes;
  for (const std::string& key : KeyTable::instance().names()) {
    if (!is_degree(key) || !key.starts_with("ici_")) continue;
    const std::string axis = key.substr(4, key.size() - 4 - std::string("_parallelism").size());
    axes.push_back(axis == "pipeline" ? "stage" : axis);
  }
  return axes;
}

std::vector<std::int64_t> degrees_of(const ResolvedConfig& config,
                                     const std::vector<std::string>& keys) {
  std::vector<std::int64_t> values;
  for (const std::string& key : keys) values.push_back(config.integer(key));
  return values;
}

// Strategies that share out heads are told how many devices do: what is left will not do.
void demand_degrees(const ResolvedConfig& config, const std::vector<std::string>& keys,
                    const std::vector<std::int64_t>& values) {
  const std::string strategy = config.text("context_parallel_strategy");
  if (strategy != "ulysses" && strategy != "usp") return;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const bool context = keys[i].find("_context_parallelism") != std::string::npos ||
                         keys[i].find("_context_usp_ulysses_parallelism") != std::string::npos;
    if (!context || values[i] != -1) continue;
    throw config.refusal(
        keys[i],
        fmt::format("is -1, but context_parallel_strategy={} needs explicit degrees "
                    "[context-strategy]",
                    strategy),
        fmt::format("the degree as a number, as {}=4, or context_parallel_strategy=all_gather",
                    keys[i]));
  }
}

}  // namespace

std::string degree_key(std::string_view network, std::string_view axis) {
  return fmt::format("{}_{}_parallelism", network, axis == "stage" ? "pipeline" : axis);
}

std::int64_t LogicalMesh::size(std::string_view axis) const {
  for (const MeshAxis& candidate : axes) {
    if (candidate.name == axis) return candidate.size();
  }
  return 1;
}

std::int64_t LogicalMesh::devices() const {
  std::int64_t product = 1;
  for (const MeshAxis& axis : axes) product *= axis.size();
  return product;
}

std::vector<std::int64_t> LogicalMesh::ici_degrees() const {
  std::vector<std::int64_t> degrees;
  for (const MeshAxis& axis : axes) degrees.push_back(axis.ici);
  return degrees;
}

LogicalMesh resolve_mesh(const ResolvedConfig& config, std::int64_t slices,
                         std::int64_t devices_per_slice) {
  LogicalMesh mesh;
  std::vector<std::string> ici_keys;
  std::vector<std::string> dcn_keys;
  for (const Node& axis : config.at("mesh_axes").value.items) {
    const bool again = std::any_of(mesh.axes.begin(), mesh.axes.end(),
                                   [&](const MeshAxis& other) { return other.name == axis.text; });
    if (again) throw config.refusal("mesh_axes", fmt::format("names '{}' twice", axis.text));
    if (KeyTable::instance().find(degree_key("ici", axis.text)) == nullptr) {
      throw config.refusal("mesh_axes",
                           fmt::format("'{}' is not an axis that has a degree", axis.text),
                           did_you_mean(axis.text, axes_with_degrees()));
    }
    mesh.axes.push_back({axis.text});
    ici_keys.push_back(degree_key("ici", axis.text));
    dcn_keys.push_back(degree_key("dcn", axis.text));
  }
  if (mesh.axes.empty()) throw config.refusal("mesh_axes", "must name at least one axis");
  for (const KeyInfo& key : KeyTable::instance().keys()) {
    const bool on_mesh = std::find(ici_keys.begin(), ici_keys.end(), key.name) != ici_keys.end() ||
                         std::find(dcn_keys.begin(), dcn_keys.end(), key.name) != dcn_keys.end();
    if (!is_degree(key.name) || on_mesh) continue;
    // The defaults that are -1 are for axes that a mesh of one's own may leave out.
    if (config.integer(key.name) != 1 && !config.is_default(key.name)) {
      throw config.refusal(
          key.name,
          fmt::format("must be 1: no mesh axis carries it (got {})", config.integer(key.name)),
          "sequence parallelism is ici_context_parallelism or ici_tensor_sequence_parallelism");
    }
  }
  std::vector<std::int64_t> ici = degrees_of(config, ici_keys);
  std::vector<std::int64_t> dcn = degrees_of(config, dcn_keys);
  if (slices == 1) {
    for (std::size_t i = 0; i < dcn.size(); ++i) {
      if (dcn[i] > 1) {
        throw config.refusal(
            dcn_keys[i], fmt::format("is {}, but there is one slice", dcn[i]),
            fmt::format("compile_topology_num_slices={}, or {}=1", dcn[i], dcn_keys[i]));
      }
    }
  }
  demand_degrees(config, ici_keys, ici);
  demand_degrees(config, dcn_keys, dcn);
  fill(config, {"dcn", slices, fmt::format("the {} slices", slices)}, dcn_keys, dcn);
  fill(config,
       {"ici", devices_per_slice, fmt::format("the {} devices of a slice", devices_per_slice)},
       ici_keys, ici);
  for (std::size_t i = 0; i < mesh.axes.size(); ++i) {
    mesh.axes[i].ici = ici[i];
    mesh.axes[i].dcn = dcn[i];
  }
  return mesh;
}

}  // namespace meshsim
