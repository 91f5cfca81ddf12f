#include "studies/sweep/configuration.hpp"

#include <fmt/format.h>

#include "plans/config_hash.hpp"
#include "studies/sweep/enumeration.hpp"

namespace meshsim {
namespace {

void add_base(const ResolvedConfig& base, StoreConfiguration& configuration) {
  for (const Setting& setting : base.settings) {
    if (is_secret(setting.key)) continue;
    configuration["base." + setting.key] = flow_text(setting.value);
  }
  for (const auto& [key, setting] : base.own)
    configuration["base.meshsim." + key] = flow_text(setting.value);
  // Two calibrations may stand at the same path, one after the other.
  configuration["calibration"] = ConfigHash::of("calibration", base.calibration->file.text).hex();
}

}  // namespace

StoreConfiguration store_configuration(const SweepSpace& space, Fidelity fidelity,
                                       const std::string& program) {
  StoreConfiguration configuration{{"program", program}, {"fidelity", std::string(name(fidelity))}};
  const Enumeration plans(space);
  add_base(plans.base_config(), configuration);
  std::string order;
  for (const SpaceAxis& axis : space.axes) {
    std::string& entries = configuration["axes." + axis.name];
    for (const Change& change : axis.entries)
      entries += (entries.empty() ? "" : ", ") + change_text(change);
    order += (order.empty() ? "" : ", ") + axis.name;
  }
  configuration["axes"] = order;
  std::string& where = configuration["where"];
  for (const Expression& condition : space.where)
    where += (where.empty() ? "" : "; ") + condition.text();
  return configuration;
}

}  // namespace meshsim
