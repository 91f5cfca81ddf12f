// One plan, walked all the way: state, program, memory, time.
//
// What XLA counts is not the least that a step needs, so an excess of the usable HBM does not prove
// that a step does not fit. The largest that is known to have compiled: arguments + temp of 105.51
// GiB for 95.74 usable (MaxText PR 4153, first revision, v5p-512, June 2026).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plans/state.hpp"
#include "program/live_memory.hpp"
#include "program/lower.hpp"
#include "sim/expert_layers.hpp"
#include "sim/timeline.hpp"
#include "sim/traffic.hpp"
#include "topologies/prediction_interval.hpp"

namespace meshsim {

enum class Fidelity { closed_form, event };
std::string_view name(Fidelity fidelity);

enum class Verdict { fits, does_not_fit, inconclusive };
std::string_view name(Verdict verdict);

inline constexpr double compiled_beyond = 105.51 / 95.74;  // XLA's sum over the usable HBM

// The step of a plan that can be lowered and priced.
struct Step {
  Prefetch prefetch = Prefetch::layer;
  StepProgram program;
  MemoryPeak memory;
  Bytes roomy_temp;  // at least memory.temp (program/live_memory.hpp)
  Timeline timeline;
  std::vector<CollectiveTraffic> traffic;
  std::vector<ExpertLayer> experts;  // empty: routing is balanced
  double mfu = 0;                    // model FLOPs over peak FLOPs of the step
  double tokens_per_s_per_device = 0;
};

struct Evaluation {
  const Plan* plan = nullptr;
  Fidelity fidelity = Fidelity::closed_form;
  TrainingState state;
  std::optional<Step> step;  // absent: see not_modelled
  std::vector<std::string> assumptions;
  std::vector<std::string> not_modelled;
  bool strict_margin = false;  // whether it fits is inconclusive within the peak's interval

  Bytes hbm_usable() const;  // per device
  Bytes temp() const;
  // What XLA's statistics of the compiled program say. Where a step fits they count what it keeps
  // because there is room, even beyond the usable HBM: MaxText's documentation shows 100.4 GiB of a
  // step that ran in 95.74. Where it does not, they are what the tightest schedule needs.
  Bytes xla_temp() const;
  Bytes xla_total() const {
    return state.arguments() + state.output() - state.alias() + xla_temp();
  }
  Bytes on_host() const;  // per device: state and activations that rest on the host
  Bytes peak() const { return state.arguments() + temp(); }
  Verdict verdict() const;

  // By the residuals of the plan's calibration (topologies/prediction_interval.hpp); nothing where
  // the step is not modelled or the calibration has too few residuals.
  std::optional<PredictionInterval> step_time_interval() const;  // seconds
  std::optional<PredictionInterval> peak_interval() const;       // bytes
  std::optional<double> fits_probability() const;
  // Whether the step fits cannot be told: the usable HBM lies within the interval of the peak, or
  // the peak exceeds it by no more than `compiled_beyond`.
  bool within_margin() const;
};

// Gathers weights as far ahead as the plan lets XLA; less far while the step does not fit, as XLA
// does under memory pressure. `plan` must outlive the result.
Evaluation evaluate(const Plan& plan, Fidelity fidelity);

}  // namespace meshsim
