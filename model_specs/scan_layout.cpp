#include "model_specs/scan_layout.hpp"

#include <fmt/format.h>

#include "units/error.hpp"

namespace meshsim {
namespace {

Segment unrolled(std::size_t layer) {
  return {fmt::format("layers_{}", layer), "", layer, 1, 1, false};
}

// A scan over layers [first, last) in blocks of `block`; the kinds must repeat.
Segment scan(const ModelSpec& spec, std::string name, std::string axis, std::size_t first,
             std::size_t last, std::size_t block) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorKind::invalid_input,
                Diagnostic{{},
                           "scan_layers",
                           fmt::format("{}: layers {} to {} cannot be scanned in blocks of {}: {}",
                                       spec.name, first, last - 1, block, why),
                           "scan_layers=false"});
  };
  if ((last - first) % block != 0) refuse("their number is not a multiple of the block");
  for (std::size_t layer = first + block; layer < last; ++layer) {
    if (spec.layers[layer] != spec.layers[layer - block]) {
      refuse(fmt::format("layer {} differs from layer {}", layer, layer - block));
    }
  }
  return {std::move(name), std::move(axis), first, block, (last - first) / block, true};
}

ScanLayout deepseek4_layout(const ModelSpec& spec) {
  ScanLayout layout;
  const std::size_t total = spec.num_layers();
  const auto prefix = static_cast<std::size_t>(spec.config.first_num_hash_layers);
  const auto suffix =
      std::min(total - prefix, static_cast<std::size_t>(spec.config.unrolled_suffix_layers));
  for (std::size_t i = 0; i < prefix; ++i) layout.segments.push_back(unrolled(i));
  if (prefix < total - suffix) {
    layout.segments.push_back(
        scan(spec, "scanned_blocks", "scanned_blocks", prefix, total - suffix, 2));
  }
  for (std::size_t i = total - suffix; i < total; ++i) layout.segments.push_back(unrolled(i));
  return layout;
}

ScanLayout deepseek_layout(const ModelSpec& spec) {
  ScanLayout layout;
  const auto dense = static_cast<std::size_t>(spec.config.first_num_dense_layers);
  const std::size_t total = spec.num_layers();
  if (dense > 0) {
    layout.segments.push_back(scan(spec, "dense_layers", "dense_layers", 0, dense, 1));
  }
  if (dense < total) {
    layout.segments.push_back(scan(spec, "moe_layers", "moe_layers", dense, total, 1));
  }
  return layout;
}

}  // namespace

ScanLayout scan_layout(const ModelSpec& spec, bool scan_layers) {
  const std::string& decoder = spec.config.decoder_block;
  if (!scan_layers || spec.config.single_moe_block) {
    ScanLayout layout;
    for (std::size_t i = 0; i < spec.num_layers(); ++i) layout.segments.push_back(unrolled(i));
    return layout;
  }
  if (decoder == "deepseek4") return deepseek4_layout(spec);
  if (decoder == "deepseek" || decoder == "hunyuan3") return deepseek_layout(spec);
  const auto cycle = static_cast<std::size_t>(spec.config.inhomogeneous_layer_cycle_interval);
  return {{scan(spec, "layers", "layers", 0, spec.num_layers(), cycle)}};
}

}  // namespace meshsim
