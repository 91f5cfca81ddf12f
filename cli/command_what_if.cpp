#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/fidelity_option.hpp"
#include "cli/output_options.hpp"
#include "cli/plan_options.hpp"
#include "studies/sensitivity.hpp"
#include "studies/what_if.hpp"

namespace meshsim {

void add_what_if(CLI::App& app, int& result) {
  CLI::App* command = app.add_subcommand(
      "what-if",
      "A plan and its neighbours side by side, and what its step time hangs on.\n\n"
      "  meshsim what-if examples/v4_flash_v5p_512.yml --vary per_device_batch_size=2,4\n"
      "  meshsim what-if plan.yml --vary remat_policy=full,minimal --vary "
      "wi_tile_fwd_batch_seq=128,256\n"
      "  meshsim what-if plan.yml --sensitivity\n");
  auto plan_options = add_plan_options(*command);
  auto output = add_output_options(*command);
  auto fidelity = add_fidelity_option(*command);
  auto vary = std::make_shared<std::vector<std::string>>();
  command
      ->add_option("--vary", *vary,
                   "a key and the values to try, one neighbour each; may be repeated")
      ->type_name("KEY=A,B,C")
      ->allow_extra_args(false);
  auto tornado = std::make_shared<bool>(false);
  command->add_flag("--sensitivity", *tornado,
                    "the step with every bandwidth, efficiency and skew 10 % less and 10 % more, "
                    "and which of them to measure next");
  command->callback([=, &result] {
    if (vary->empty() && !*tornado)
      throw Error(ErrorKind::usage, "what-if wants --vary or --sensitivity",
                  "--vary per_device_batch_size=2,4");
    const PlanRequest request = plan_options->request();
    const Fidelity how = parse_fidelity(*fidelity);
    const std::vector<Variant> variants = what_if(request, *vary, how);
    std::optional<Sensitivities> found;
    if (*tornado) {
      const Plan plan = make_plan(request);
      found = sensitivities(evaluate(plan, how));
    }
    const Sensitivities* const shown = found ? &*found : nullptr;
    emit(
        *output, [&] { return what_if_json(resolve_config(request), variants, shown); },
        [&] { return what_if_table(variants, shown); });
    result = exit_done;
  });
}

}  // namespace meshsim
