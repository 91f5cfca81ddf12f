#include "sim/evaluation.hpp"

#include <fmt/format.h>

#include <utility>

#include "cost_models/machine.hpp"
#include "plans/plan_routing.hpp"
#include "program/expert_loads.hpp"
#include "program/local_shapes.hpp"
#include "sim/closed_form.hpp"
#include "sim/event_engine.hpp"

namespace meshsim {
namespace {

const Chip& chip_of(const Plan& plan) { return *plan.topology.slice.chip; }

// Gathers weights as far ahead as it may and as fits.
Step lowered(const Plan& plan, const TrainingState& state, Bytes available) {
  Step step;
  const StepTemplates templates = step_templates(plan);
  const std::vector<std::int64_t> numbers = state_numbers(state);
  step.prefetch = furthest_prefetch(plan);
  for (;;) {
    step.program = lower(plan, step.prefetch, templates, numbers);
    step.memory = memory_peak(step.program);
    const std::optional<Prefetch> less = less_prefetch(plan, step.prefetch);
    if (step.memory.temp <= available || !less) {
      step.roomy_temp = roomy_temp(step.program);
      return step;
    }
    step.prefetch = *less;
  }
}

void add_time(const Plan& plan, Fidelity fidelity, Step& step) {
  const Machine machine = machine_of(plan);
  step.timeline = fidelity == Fidelity::event ? simulate_events(step.program, machine)
                                              : closed_form(step.program, machine);
  step.traffic = traffic(step.program);
  step.experts = expert_layers(step.program, step.timeline);
  const double time = seconds(step.timeline.total);
  step.mfu =
      static_cast<double>(step.program.model_flops.value()) / (machine.matmul_peak.value() * time);
  step.tokens_per_s_per_device = static_cast<double>(step.program.tokens) / time;
}

// How tokens are taken to be routed.
std::vector<std::string> described(const Plan& plan, const StepProgram& program) {
  const RoutingScenario& routing = plan.routing;
  std::vector<std::string> texts;
  const auto dropped = static_cast<double>(program.dropped_slots);
  const bool pipelined = plan.mesh.size("stage") > 1;
  if (!program.loads && !routing.balanced() && !pipelined) {
    texts = described(routing, hash_routed(plan.model));
    texts.emplace_back(
        "dense path of experts: what a device computes and sends does not follow its routing");
  } else if (!program.loads) {
    texts.emplace_back("balanced routing: every expert receives as many rows");
  } else {
    texts = described(routing, program.loads->hashed);
    texts.emplace_back(
        "every expert-parallel group routes alike; between two exchanges its devices wait for the "
        "one with most rows");
    if (pipelined)
      texts.emplace_back(
          "an iteration of the pipeline lasts as long as the stage whose experts have most rows; "
          "the layers' loads are those that did");
  }
  if (program.dropped_slots > 0)
    texts.push_back(fmt::format("{:.3g} % of the slots find no place in their buffers: dropped",
                                100 * dropped / static_cast<double>(program.routed_slots)));
  return texts;
}

void add_assumptions(Evaluation& result) {
  const Plan& plan = *result.plan;
  if (!chip_of(plan).hbm_usable) {
    result.assumptions.push_back(fmt::format(
        "usable HBM of {} is not published: the physical HBM stands for it", chip_of(plan).name));
  }
  if (!result.step) {
    result.assumptions.emplace_back(
        "peak_bytes is the state and the batch: the floor of what a step needs");
    return;
  }
  switch (result.step->prefetch) {
    case Prefetch::layer:
      result.assumptions.emplace_back(
          "weights are gathered one layer ahead, gradients reduced one layer behind");
      break;
    case Prefetch::kernel:
      result.assumptions.emplace_back(
          "weights are gathered one kernel ahead, gradients reduced one kernel behind");
      break;
    case Prefetch::use:
      result.assumptions.emplace_back(
          "memory is short: weights are gathered one kernel ahead and again for each use, "
          "gradients "
          "reduced one kernel behind");
      break;
  }
  for (const CalibrationName& known : calibration_names()) {
    const CalibrationConstant& one = plan.config.calibration->at(known.name, chip_of(plan).name);
    result.assumptions.push_back(fmt::format("{}: {:.3g} {} ({:.3g} to {:.3g}) {}; {}", one.name,
                                             one.value, one.unit, one.low, one.high, known.meaning,
                                             one.source));
  }
  for (std::string& text : described(plan, result.step->program))
    result.assumptions.push_back(std::move(text));
  const Chip& chip = chip_of(plan);
  const bool converted = !chip.peak_fp8 || chip.peak_fp8->value == chip.peak_bf16.value;
  if (number_format(plan) == NumberFormat::fp8 && converted)
    result.assumptions.push_back(
        fmt::format("fp8 on {}: its MXU has no fp8; operands are converted to bf16 on their way "
                    "into it, at the "
                    "rate of bf16",
                    chip.name));
  const std::vector<std::string>& lowering = result.step->program.assumptions;
  result.assumptions.insert(result.assumptions.end(), lowering.begin(), lowering.end());
}

void add_not_modelled(Evaluation& result) {
  for (std::string& text : not_modelled(result.plan->topology))
    result.not_modelled.push_back(std::move(text));
  if (!result.step) {
    result.not_modelled.emplace_back(
        "activations, gradients and other temporary buffers of the step");
    return;
  }
  result.not_modelled.emplace_back(
      "vector-unit time of softmax, top-k, norms and routing beyond their HBM bytes");
  if (result.step->program.loads)
    result.not_modelled.emplace_back("expert-parallel groups that route differently");
  if (!result.step->program.loads && result.plan->mesh.size("stage") > 1 &&
      !result.plan->routing.balanced())
    result.not_modelled.emplace_back(
        "slots that a pipeline drops where experts have a fixed number of places");
  result.not_modelled.emplace_back(
      "padding and fragmentation of temporary buffers beyond their layout");
}

}  // namespace

std::string_view name(Fidelity fidelity) {
  return fidelity == Fidelity::event ? "event" : "closed-form";
}

std::string_view name(Verdict verdict) {
  switch (verdict) {
    case Verdict::fits: return "fits";
    case Verdict::does_not_fit: return "does_not_fit";
    case Verdict::inconclusive: return "inconclusive";
  }
  return "";
}

Bytes Evaluation::hbm_usable() const {
  const Chip& chip = chip_of(*plan);
  return per_device(chip, chip.hbm_usable ? chip.hbm_usable->value : chip.hbm_physical.value);
}

Bytes Evaluation::temp() const { return step ? step->memory.temp : Bytes(); }

Bytes Evaluation::xla_temp() const {
  if (!step) return {};
  return peak() > hbm_usable() ? temp() : step->roomy_temp;
}

Bytes Evaluation::on_host() const {
  return state.on_host() + (step ? step->program.host.bytes() : Bytes());
}

std::optional<PredictionInterval> Evaluation::step_time_interval() const {
  if (!step) return {};
  return interval_around(seconds(step->timeline.total), plan->config.calibration->step_time);
}

std::optional<PredictionInterval> Evaluation::peak_interval() const {
  if (!step) return {};
  return interval_around(static_cast<double>(peak().value()), plan->config.calibration->peak);
}

std::optional<double> Evaluation::fits_probability() const {
  if (!step) return {};
  return probability_below(static_cast<double>(hbm_usable().value()),
                           static_cast<double>(peak().value()), plan->config.calibration->peak);
}

bool Evaluation::within_margin() const {
  const std::optional<PredictionInterval> band = peak_interval();
  const auto usable = static_cast<double>(hbm_usable().value());
  return band && usable <= band->high && band->low <= usable * compiled_beyond;
}

Verdict Evaluation::verdict() const {
  if (strict_margin && within_margin()) return Verdict::inconclusive;
  if (peak() > hbm_usable()) return Verdict::does_not_fit;
  return step ? Verdict::fits : Verdict::inconclusive;
}

Evaluation evaluate(const Plan& plan, Fidelity fidelity) {
  Evaluation result;
  result.plan = &plan;
  result.fidelity = fidelity;
  result.state = training_state(plan);
  result.assumptions = plan.assumptions;
  std::optional<std::string> missing = not_lowered(plan);
  if (!missing) {
    const Bytes usable = result.hbm_usable();
    const Bytes arguments = result.state.arguments();
    Step step = lowered(plan, result.state, arguments < usable ? usable - arguments : Bytes());
    missing = not_priced(plan.topology, step.program);
    if (!missing) {
      add_time(plan, fidelity, step);
      result.step = std::move(step);
    }
  }
  if (missing) result.not_modelled.push_back(*missing);
  add_assumptions(result);
  add_not_modelled(result);
  return result;
}

}  // namespace meshsim
