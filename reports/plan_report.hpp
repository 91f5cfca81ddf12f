// A plan's step as JSON and as a table with the verdict in its last lines.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "reports/document.hpp"
#include "sim/device_classes.hpp"
#include "sim/evaluation.hpp"

namespace meshsim {

// A change of the plan that saves memory.
struct Fix {
  std::string change;                    // "attention=flash use_tokamax_splash=true"
  std::string command;                   // the whole command, to be pasted
  Bytes bytes_saved;                     // of the peak, per device
  std::optional<Picoseconds> step_time;  // of the changed plan
  bool fits = false;
};

// Schema https://meshsim.dev/schema/plan/1; `kind` is "fit" or "simulate". Where the step is not
// modelled, `step_time_ps` and what follows from it are null and `time` and `collectives` are
// empty.
// `devices` of the same step, if they are told apart; else device_step is null, and device_spread
// and device_classes are empty.
Json plan_json(const Evaluation& evaluation, std::string_view kind, const std::vector<Fix>& fixes,
               const std::optional<DeviceClasses>& devices = {});

std::string plan_table(const Evaluation& evaluation, const std::vector<Fix>& fixes,
                       const std::optional<DeviceClasses>& devices = {});

}  // namespace meshsim
