#include "sim/expert_layers.hpp"

#include <algorithm>
#include <numeric>

#include "program/expert_loads.hpp"

namespace meshsim {

std::vector<ExpertLayer> expert_layers(const StepProgram& program, const Timeline& timeline) {
  std::vector<ExpertLayer> layers;
  if (!program.loads) return layers;
  const ExpertLoads& loads = *program.loads;
  for (std::size_t i = 0; i < loads.hashed.size(); ++i) {
    layers.emplace_back();
    layers.back().layer = loads.layer[i];
    layers.back().hashed = loads.hashed[i];
  }
  std::vector<bool> met(layers.size());
  for (std::size_t x = 0; x < loads.exchanges.size(); ++x) {
    const std::size_t at = loads.layer_of(x);
    ExpertLayer& layer = layers[at];
    if (x < timeline.imbalance.size()) layer.imbalance += timeline.imbalance[x];
    if (loads.exchanges[x].balanced) continue;
    const ExchangeLoad& load = loads.exchanges[x].load;
    if (!met[at]) layer.straggler = load.straggler;
    met[at] = true;
    layer.slots += load.slots;
    layer.dropped += load.dropped;
    layer.most_rows += load.straggler_rows();
    layer.mean_rows +=
        static_cast<double>(load.slots - load.dropped) / static_cast<double>(load.rows.size());
    layer.skew = std::max(layer.skew, load.skew);
  }
  return layers;
}

}  // namespace meshsim
