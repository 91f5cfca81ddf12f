// Parameter counts of a model.
#pragma once

#include <cstdint>

#include "model_specs/inventory.hpp"

namespace meshsim {

struct ParameterTotals {
  std::int64_t trainable = 0;  // MaxText's inventory, multi-token-prediction blocks included
  std::int64_t official = 0;   // the model card's inventory
  std::int64_t active = 0;     // trainable parameters one token meets, without the input embedding
  std::int64_t routed = 0;     // in routed experts
  std::int64_t buffers = 0;    // not trainable: router biases, hash tables
};

// One entry per distinct tensor name, with the number of layers that hold it.
struct InventoryEntry {
  Tensor tensor;
  std::string layer_kind;  // "all", "global", "mtp", or the tags of the layers that hold it
  std::int64_t count = 0;
};
std::vector<InventoryEntry> inventory(const ModelSpec& spec);

ParameterTotals parameter_totals(const ModelSpec& spec);

}  // namespace meshsim
