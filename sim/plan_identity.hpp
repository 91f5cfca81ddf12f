// Short keys for the large inputs of an evaluation: equal numbers, equal inputs.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>

#include "cost_models/machine.hpp"
#include "plans/plan.hpp"
#include "sim/key.hpp"
#include "sim/settings_read.hpp"

namespace meshsim {

// The model, where it runs, and the meshsim: block.
struct PlaceIdentity {
  std::int64_t id = 0;
  std::int64_t form = 0;  // all of it that the layout of a step depends on
  Bytes hbm_usable;       // per device
};

// A place with its machine.
struct Context {
  std::int64_t id = 0;
  std::optional<Machine> machine;  // when it was first asked for
};

struct PlanIdentity {
  const PlaceIdentity* place = nullptr;
  Context* context = nullptr;
  std::int64_t layout = 0;  // of the scan
  std::int64_t shape = 0;   // all that a layer's template depends on, but for settings
};

class PlanIdentities {
 public:
  // `values`: of the plan at hand.
  explicit PlanIdentities(SettingValues& values) : values_(values) {}

  PlanIdentity of(const Plan& plan);
  const Machine& machine(const Plan& plan, Context& context);

  std::size_t size() const {
    return places_.size() + placed_.size() + place_forms_.size() + contexts_.size() +
           shapes_.size() + models_.size() + calibrations_.size();
  }

 private:
  const PlaceIdentity& place_of(const Plan& plan);
  void add_place(const Plan& plan);
  void add_place_form(const Plan& plan);

  SettingValues& values_;
  Known<std::shared_ptr<const Calibration>> calibrations_;  // which so live as long as their keys
  Known<ModelSpec> models_;
  Known<ShardingRules::List> rules_;
  Known<ScanLayout> layouts_;
  SettingsRead machine_settings_;
  std::unordered_map<std::int64_t, const PlaceIdentity*> placed_;  // by Plan::placed
  Memo<PlaceIdentity> places_;
  Memo<std::int64_t> place_forms_;
  Memo<Context> contexts_;
  Memo<std::int64_t> shapes_;
  std::int64_t next_id_ = 0;
  Key key_;
};

}  // namespace meshsim
