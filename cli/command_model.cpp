#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/output_options.hpp"
#include "cli/plan_options.hpp"
#include "model_specs/catalogue.hpp"
#include "reports/model_report.hpp"

namespace meshsim {
namespace {

// `model NAME key=value...` is `model_name=NAME key=value...`.
PlanRequest model_request(PlanRequest request) {
  if (request.config_file.empty()) return request;
  request.assignments.insert(request.assignments.begin(), "model_name=" + request.config_file);
  request.config_file.clear();
  return request;
}

std::string listed_models() {
  std::string text;
  for (const std::string& name : model_names()) text += name + "\n";
  return text;
}

Json models_json() {
  Json report = report_head("models");
  report["models"] = model_names();
  return report;
}

}  // namespace

void add_model(CLI::App& app, int& result) {
  CLI::App* command =
      app.add_subcommand("model",
                         "Parameters, tensors and FLOPs of a model; without a name, the names.\n\n"
                         "  meshsim model deepseek4-284b max_target_length=4096\n"
                         "  meshsim model --hf config.json -o json\n");
  auto plan_options = add_plan_options(*command);
  auto output = add_output_options(*command);
  command->callback([=, &result] {
    result = exit_done;
    if (plan_options->words.empty() && plan_options->hf_config.empty()) {
      emit(*output, models_json, listed_models);
      return;
    }
    const ModelRequest request = make_model_request(model_request(plan_options->request()));
    emit(
        *output, [&] { return model_json(request); }, [&] { return model_table(request); });
  });
}

}  // namespace meshsim
