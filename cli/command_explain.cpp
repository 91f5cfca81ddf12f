#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/fidelity_option.hpp"
#include "cli/output_options.hpp"
#include "cli/plan_options.hpp"
#include "studies/explain.hpp"

namespace meshsim {

void add_explain(CLI::App& app, int& result) {
  CLI::App* command = app.add_subcommand(
      "explain",
      "Where the time of a step goes, and the first changes worth trying.\n\n"
      "Causes sum to the step, and so do the operations of its critical path; the changes are "
      "found "
      "by trying them.\n\n"
      "  meshsim explain examples/v4_flash_v5p_512.yml\n"
      "  meshsim explain model_name=mixtral-8x7b compile_topology=v5p-128 --fidelity event -o "
      "json\n");
  auto plan_options = add_plan_options(*command);
  auto output = add_output_options(*command);
  auto fidelity = add_fidelity_option(*command);
  command->callback([=, &result] {
    const PlanRequest request = plan_options->request();
    const Plan plan = make_plan(request);
    const Evaluation evaluation = evaluate(plan, parse_fidelity(*fidelity));
    const Explanation explanation = explain(request, evaluation);
    emit(
        *output, [&] { return explain_json(evaluation, explanation); },
        [&] { return explain_table(evaluation, explanation); });
    result = exit_done;
  });
}

}  // namespace meshsim
