#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/output_options.hpp"
#include "reports/report_diff.hpp"

namespace meshsim {

void add_diff(CLI::App& app, int& result) {
  CLI::App* command = app.add_subcommand(
      "diff",
      "Two JSON reports of one kind, field by field. Exit code 3: beyond a limit of --fail-on.\n\n"
      "  meshsim diff before.json after.json\n"
      "  meshsim diff before.json after.json --fail-on step_time_ps=0.02 --fail-on verdict\n");
  auto a = std::make_shared<std::string>();
  auto b = std::make_shared<std::string>();
  command->add_option("a", *a, "a report that was written with -o json")
      ->type_name("A")
      ->required();
  command->add_option("b", *b, "another one")->type_name("B")->required();
  auto limits = std::make_shared<std::vector<std::string>>();
  command
      ->add_option("--fail-on", *limits,
                   "exit code 3 if the field differs by more than a ratio (0), or any field; may "
                   "be repeated")
      ->type_name("FIELD[=RATIO]|any")
      ->check(not_empty())
      ->allow_extra_args(false);
  auto output = add_output_options(*command);
  command->callback([=, &result] {
    const std::vector<DiffLimit> wanted(limits->begin(), limits->end());
    const ReportFile left = read_report(*a);
    const ReportFile right = read_report(*b);
    const ReportDiff diff = diff_reports(left, right);
    std::vector<FieldDifference> failed;
    for (const FieldDifference& one : diff.differences) {
      if (std::any_of(wanted.begin(), wanted.end(),
                      [&](const DiffLimit& limit) { return limit.exceeded_by(one); }))
        failed.push_back(one);
    }
    emit(
        *output, [&] { return diff_json(diff, failed); }, [&] { return diff_table(diff, failed); });
    result = failed.empty() ? exit_done : exit_negative_verdict;
  });
}

}  // namespace meshsim
