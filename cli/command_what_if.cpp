#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/fidelity_option.hpp"
#include "cli/output_options.hpp"
#include "cli/plan_options.hpp"
#include "studies/what_if.hpp"

namespace meshsim {

void add_what_if(CLI::App& app, int& result) {
  CLI::App* command = app.add_subcommand(
      "what-if",
      "A plan and its neighbours side by side.\n\n"
      "  meshsim what-if examples/v4_flash_v5p_512.yml --vary per_device_batch_size=2,4\n"
      "  meshsim what-if plan.yml --vary remat_policy=full,minimal --vary "
      "wi_tile_fwd_batch_seq=128,256\n");
  auto plan_options = add_plan_options(*command);
  auto output = add_output_options(*command);
  auto fidelity = add_fidelity_option(*command);
  auto vary = std::make_shared<std::vector<std::string>>();
  command
      ->add_option("--vary", *vary,
                   "a key and the values to try, one neighbour each; may be repeated")
      ->type_name("KEY=A,B,C")
      ->required()
      ->allow_extra_args(false);
  command->callback([=, &result] {
    const PlanRequest request = plan_options->request();
    const std::vector<Variant> variants = what_if(request, *vary, parse_fidelity(*fidelity));
    emit(
        *output, [&] { return what_if_json(resolve_config(request), variants); },
        [&] { return what_if_table(variants); });
    result = exit_done;
  });
}

}  // namespace meshsim
