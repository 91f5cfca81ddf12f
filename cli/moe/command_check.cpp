#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <memory>

#include "cli/exit_code.hpp"
#include "cli/moe/commands.hpp"
#include "cli/output_options.hpp"
#include "inputs/data_source.hpp"
#include "moe/golden_check.hpp"

namespace meshsim {
namespace {

struct Checked {
  std::vector<GoldenResult> results;
  std::int64_t passed = 0, failed = 0;
};

Checked check_all(const std::vector<std::string>& files) {
  Checked checked;
  for (const std::string& file : files) {
    const std::vector<GoldenResult> results =
        check_golden(parse_golden_file(read_data(file)), file);
    checked.results.insert(checked.results.end(), results.begin(), results.end());
  }
  for (const GoldenResult& result : checked.results)
    ++(result.passed ? checked.passed : checked.failed);
  return checked;
}

Json check_json(const Checked& checked) {
  Json report = report_head("moe-check");
  report["passed"] = checked.passed;
  report["failed"] = checked.failed;
  report["cases"] = Json::array();
  for (const GoldenResult& result : checked.results) {
    report["cases"].push_back({{"file", result.file},
                               {"case", result.case_name},
                               {"tensor", result.tensor},
                               {"passed", result.passed},
                               {"max_abs_error", result.max_abs_error},
                               {"max_rel_error", result.max_rel_error},
                               {"tolerance_ratio", result.tolerance_ratio}});
  }
  return report;
}

// How much of the tolerance an error uses up.
std::string share(const GoldenResult& result) {
  if (result.tolerance_ratio > 1e9) return "but must be exact, or of another shape";
  return fmt::format("{:.1f} % of its tolerance", 100 * result.tolerance_ratio);
}

// Per case its worst tensor, in the order of the files.
std::string check_table(const Checked& checked) {
  std::string text;
  const auto& all = checked.results;
  for (std::size_t first = 0; first < all.size();) {
    std::size_t end = first;
    while (end < all.size() && all[end].file == all[first].file &&
           all[end].case_name == all[first].case_name)
      ++end;
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(first);
    const auto worst = std::max_element(begin, all.begin() + static_cast<std::ptrdiff_t>(end),
                                        [](const GoldenResult& a, const GoldenResult& b) {
                                          return std::pair(!a.passed, a.tolerance_ratio) <
                                                 std::pair(!b.passed, b.tolerance_ratio);
                                        });
    const auto good = std::count_if(begin, all.begin() + static_cast<std::ptrdiff_t>(end),
                                    [](const GoldenResult& r) { return r.passed; });
    text += fmt::format("{}  {}  {}: {} of {} tensors; worst {}: error {:.2e}, {}\n",
                        worst->passed ? "ok  " : "MISS", printable(all[first].file),
                        printable(all[first].case_name), good, end - first,
                        printable(worst->tensor), worst->max_abs_error, share(*worst));
    first = end;
  }
  text += fmt::format("{} passed, {} failed\n", checked.passed, checked.failed);
  return text;
}

}  // namespace

void add_moe_check(CLI::App& app, int& result) {
  CLI::App* command = app.add_subcommand(
      "check",
      "Runs golden vectors (schema moe-golden/1) and compares within their own tolerances.\n\n"
      "  meshsim moe check routed_moe_v4.json hash_router_v4.json\n");
  auto files = std::make_shared<std::vector<std::string>>();
  auto output = add_output_options(*command);
  command->add_option("files", *files, "golden files, - for standard input")
      ->required()
      ->type_name("FILE...");
  command->callback([=, &result] {
    const Checked checked = check_all(*files);
    emit(
        *output, [&] { return check_json(checked); }, [&] { return check_table(checked); });
    result = checked.failed == 0 ? exit_done : exit_negative_verdict;
  });
}

}  // namespace meshsim
