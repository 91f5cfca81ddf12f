#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/fidelity_option.hpp"
#include "cli/output_options.hpp"
#include "cli/plan_options.hpp"
#include "reports/output.hpp"
#include "reports/plan_report.hpp"
#include "studies/fixes.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

// Which devices of a step are told apart; nothing: those that the fidelity tells apart unasked.
std::optional<DeviceDetail> parse_devices(const std::string& text, Fidelity fidelity) {
  if (text.empty() || text == "none") {
    const bool ranks = text.empty() && fidelity == Fidelity::event;
    return ranks ? std::optional(DeviceDetail::ranks) : std::nullopt;
  }
  if (text != "ranks" && text != "all")
    throw Error(ErrorKind::usage, "--devices " + printable(text) + " is not known",
                "none, ranks or all");
  if (fidelity != Fidelity::event)
    throw Error(ErrorKind::usage, "--devices " + text + " needs the event engine",
                "--fidelity event");
  return text == "all" ? DeviceDetail::all : DeviceDetail::ranks;
}

// Both commands walk the same way; only `fit` answers by its exit code.
void add_plan_command(CLI::App& app, const char* name, const char* description,
                      bool verdict_is_exit_code, int& result) {
  CLI::App* command = app.add_subcommand(name, description);
  auto plan_options = add_plan_options(*command);
  auto output = add_output_options(*command);
  auto fidelity = add_fidelity_option(*command);
  auto strict = std::make_shared<bool>(false);
  if (verdict_is_exit_code) {
    command->add_flag(
        "--strict-margin", *strict,
        "exit code 4 if the limit lies within the error of the predicted peak, or the peak "
        "exceeds it by no more than XLA has been seen to compile");
  }
  auto devices = std::make_shared<std::string>(verdict_is_exit_code ? "none" : "");
  if (!verdict_is_exit_code) {
    command
        ->add_option("--devices", *devices,
                     "with unbalanced routing and --fidelity event, how the step differs from "
                     "device to device: none, ranks (default: of one expert-parallel group, all "
                     "groups alike) or all (every group routes tokens of its own)")
        ->type_name("WHICH");
  }
  command->callback([=, &result] {
    const PlanRequest request = plan_options->request();
    const Fidelity kind = parse_fidelity(*fidelity);
    const std::optional<DeviceDetail> detail = parse_devices(*devices, kind);
    const Plan plan = make_plan(request);
    Evaluation evaluation = evaluate(plan, kind);
    evaluation.strict_margin = *strict;
    std::optional<DeviceClasses> classes;
    if (evaluation.step && detail) classes = device_classes(plan, *evaluation.step, *detail);
    if (evaluation.step && detail && !classes) {
      // Unasked, all devices alike go without saying.
      if (evaluation.step->program.loads)
        evaluation.not_modelled.emplace_back("devices of a pipeline, each at its own speed");
      else if (!devices->empty())
        evaluation.assumptions.emplace_back(
            "all devices do the same: nothing that they do follows the routing");
    }
    const bool too_large = evaluation.verdict() == Verdict::does_not_fit;
    const std::vector<Fix> fixes =
        too_large ? cheapest_fixes(request, evaluation) : std::vector<Fix>{};
    emit(
        *output, [&] { return plan_json(evaluation, name, fixes, classes); },
        [&] { return plan_table(evaluation, fixes, classes); });
    const bool unclear = *strict && evaluation.verdict() == Verdict::inconclusive;
    const bool negative = verdict_is_exit_code && too_large;
    result = unclear ? exit_inconclusive : negative ? exit_negative_verdict : exit_done;
  });
}

}  // namespace

void add_fit(CLI::App& app, int& result) {
  add_plan_command(
      app, "fit",
      "Does the plan fit in HBM? Exit code 0: it fits, 3: it does not, 4: see --strict-margin.\n\n"
      "  meshsim fit model_name=deepseek4-284b compile_topology=v5p-512 attention=dot_product\n"
      "  meshsim fit plan.yml ici_fsdp_parallelism=32 ici_expert_parallelism=8 -o json\n",
      true, result);
}

void add_simulate(CLI::App& app, int& result) {
  add_plan_command(
      app, "simulate",
      "What one training step of the plan needs, per device.\n\n"
      "  meshsim simulate model_name=deepseek4-284b compile_topology=v5p-512 "
      "attention=dot_product\n"
      "  meshsim simulate plan.yml per_device_batch_size=4 -o json --out report.json\n",
      false, result);
}

}  // namespace meshsim
