// What a plan needs, as JSON and as a table with a verdict in the last lines.
#pragma once

#include <string>

#include "plans/state.hpp"
#include "reports/document.hpp"

namespace meshsim {

enum class Verdict { fits, does_not_fit };
std::string_view name(Verdict verdict);

struct PlanResult {
  const Plan& plan;
  TrainingState state;

  Bytes hbm_usable() const;  // per device
  Bytes peak() const;        // per device
  Verdict verdict() const;
};

// The memory of `plan`. Its assumptions say what stands for figures that no source states.
PlanResult evaluate(const Plan& plan);

// Schema https://meshsim.dev/schema/plan/1; `kind` is "fit" or "simulate".
Json plan_json(const PlanResult& result, std::string_view kind);
std::string plan_table(const PlanResult& result);

}  // namespace meshsim
