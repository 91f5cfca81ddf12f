// Short keys for the large inputs of an evaluation: equal numbers, equal inputs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "cost_models/machine.hpp"
#include "plans/plan.hpp"
#include "sim/key.hpp"
#include "sim/settings_read.hpp"

namespace meshsim {

// Where a plan runs: its machine with its mesh, and the meshsim: block.
struct Context {
  std::int64_t id = 0;
  std::optional<Machine> machine;  // when it was first asked for
};

struct PlanIdentity {
  Context* context = nullptr;
  std::int64_t model = 0, rules = 0, layout = 0;
  std::int64_t shape = 0;  // all that a layer's template depends on, but for settings
};

class PlanIdentities {
 public:
  PlanIdentity of(const Plan& plan);
  const Machine& machine(const Plan& plan, Context& context);

  std::size_t size() const {
    return contexts_.size() + shapes_.size() + models_.size() + calibrations_.size();
  }

 private:
  void add_context(Key& key, const Plan& plan);

  Known<std::shared_ptr<const Calibration>> calibrations_;  // which so live as long as their keys
  Known<ModelSpec> models_;
  Known<ShardingRules::List> rules_;
  Known<ScanLayout> layouts_;
  SettingsRead machine_settings_;
  Memo<Context> contexts_;
  Memo<std::int64_t> shapes_;
  std::int64_t next_id_ = 0;
  Key key_;
};

// The meshsim: block of a plan.
void add_own(Key& key, const Plan& plan);

}  // namespace meshsim
