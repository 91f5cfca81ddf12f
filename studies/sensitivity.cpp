#include "studies/sensitivity.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "cost_models/machine.hpp"
#include "sim/closed_form.hpp"
#include "sim/event_engine.hpp"
#include "topologies/chip.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

// A number of the chip's sheet, as prices see it.
struct SheetNumber {
  const char *name, *unit;
  const char* share;  // the calibration's constant that says how much of it is sustained, or ""
  double (*value)(const Machine&);  // as sustained
  void (*scale)(Machine&, double);
};

constexpr SheetNumber sheet[]{
    {"peak_flops", "FLOP/s", "", [](const Machine& m) { return m.matmul_peak.value(); },
     [](Machine& m, double by) {
       m.matmul = m.matmul * by;
       m.matmul_peak = m.matmul_peak * by;
     }},
    {"vector_rate", "operations/s", "", [](const Machine& m) { return m.vector_rate; },
     [](Machine& m, double by) { m.vector_rate *= by; }},
    {"hbm_bandwidth", "bytes/s", "hbm", [](const Machine& m) { return m.hbm.value(); },
     [](Machine& m, double by) {
       m.hbm = m.hbm * by;
       m.row_gather = m.row_gather * by;
     }},
    {"ici_bandwidth", "bytes/s", "ici", [](const Machine& m) { return m.ici_link.value(); },
     [](Machine& m, double by) { m.ici_link = m.ici_link * by; }},
    {"dcn_bandwidth", "bytes/s", "", [](const Machine& m) { return m.dcn.value(); },
     [](Machine& m, double by) { m.dcn = m.dcn * by; }},
    {"pcie_bandwidth", "bytes/s", "", [](const Machine& m) { return m.pcie.value(); },
     [](Machine& m, double by) { m.pcie = m.pcie * by; }},
    {"ici_hop_latency", "picoseconds", "",
     [](const Machine& m) { return static_cast<double>(m.hop_latency.value()); },
     [](Machine& m, double by) {
       m.hop_latency = Picoseconds(std::llround(static_cast<double>(m.hop_latency.value()) * by));
     }},
};

class Tornado {
 public:
  Tornado(const Evaluation& evaluation, double change)
      : evaluation_(evaluation), plan_(*evaluation.plan), machine_(machine_of(plan_)) {
    found_.change = change;
    found_.step_time = evaluation.step->timeline.total;
  }

  Sensitivities run() {
    for (const SheetNumber& number : sheet) of_sheet(number);
    for (const CalibrationName& known : calibration_names()) of_calibration(known);
    skews();
    std::stable_sort(found_.all.begin(), found_.all.end(),
                     [this](const Sensitivity& a, const Sensitivity& b) {
                       return a.effect(found_.step_time) > b.effect(found_.step_time);
                     });
    return std::move(found_);
  }

 private:
  using StepOf = std::function<Picoseconds(double)>;  // of what the number is multiplied by

  Picoseconds priced(const Machine& machine) const {
    const StepProgram& program = evaluation_.step->program;
    return evaluation_.fidelity == Fidelity::event ? simulate_events(program, machine).total
                                                   : closed_form(program, machine).total;
  }

  Sensitivity& add(Sensitivity one, const StepOf& step) {
    one.less = step(1 - found_.change);
    one.more = step(1 + found_.change);
    return found_.all.emplace_back(std::move(one));
  }

  void of_sheet(const SheetNumber& number) {
    Sensitivity one;
    one.name = number.name;
    one.origin = "sheet";
    one.unit = number.unit;
    const std::string& chip = plan_.topology.slice.chip->name;
    const bool shared = *number.share != '\0';
    one.source = fmt::format("the sheet of {}, per device", chip);
    one.value = number.value(machine_) /
                (shared ? plan_.config.calibration->value(number.share, chip) : 1.0);
    add(std::move(one), [&](double by) {
      Machine other = machine_;
      number.scale(other, by);
      return priced(other);
    });
  }

  void of_calibration(const CalibrationName& known) {
    const Calibration& calibration = *plan_.config.calibration;
    const CalibrationConstant& constant =
        calibration.at(known.name, plan_.topology.slice.chip->name);
    const auto index = static_cast<std::size_t>(&constant - calibration.constants.data());
    const auto with = [&](double value) {
      Calibration other = calibration;
      other.constants[index].value = value;
      Plan plan = plan_;
      plan.config.calibration = std::make_shared<const Calibration>(std::move(other));
      return priced(machine_of(plan));
    };
    Sensitivity one;
    one.name = constant.name;
    one.origin = "calibration";
    one.unit = constant.unit;
    one.source = constant.source;
    one.value = constant.value;
    Sensitivity& kept = add(std::move(one), [&](double by) { return with(constant.value * by); });
    if (constant.low < constant.high)
      kept.interval = {constant.low, constant.high, with(constant.low), with(constant.high)};
  }

  // Of a law that draws rows: they are drawn again.
  void skew(const char* name, double value,
            const std::function<void(RoutingScenario&, double)>& set) {
    Sensitivity one;
    one.name = name;
    one.origin = "routing";
    one.unit = "";
    one.source = "stated by the plan";
    one.value = value;
    add(std::move(one), [&](double by) {
      Plan plan = plan_;
      set(plan.routing, value * by);
      return evaluate(plan, evaluation_.fidelity).step->timeline.total;
    });
  }

  void skews() {
    const RoutingScenario& routing = plan_.routing;
    if (routing.law.kind == RoutingLaw::Kind::lognormal) {
      skew("routing_sigma", routing.law.sigma,
           [](RoutingScenario& other, double sigma) { other.law.sigma = sigma; });
    }
    if (routing.table.kind != HashTableLaw::Kind::balanced &&
        routing.tokens.kind == TokenLaw::Kind::zipf) {
      skew("token_law_s", routing.tokens.s,
           [](RoutingScenario& other, double s) { other.tokens.s = s; });
    }
  }

  const Evaluation& evaluation_;
  const Plan& plan_;
  Machine machine_;
  Sensitivities found_;
};

}  // namespace

Sensitivities sensitivities(const Evaluation& evaluation, double change) {
  if (!evaluation.step) {
    throw Error(ErrorKind::invalid_input,
                "the step of this plan is not modelled: " + evaluation.not_modelled.front());
  }
  return Tornado(evaluation, change).run();
}

}  // namespace meshsim
