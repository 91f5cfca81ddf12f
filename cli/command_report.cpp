#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/output_options.hpp"
#include "reports/output.hpp"
#include "reports/report_page.hpp"

namespace meshsim {

void add_report(CLI::App& app, int& result) {
  CLI::App* command = app.add_subcommand(
      "report",
      "JSON reports as a page (markdown, HTML) or one of their tables as CSV.\n\n"
      "  meshsim simulate plan.yml -o json --out plan.json\n"
      "  meshsim report plan.json -o html --out plan.html\n"
      "  meshsim report plan.json --section memory -o csv\n");
  auto files = std::make_shared<std::vector<std::string>>();
  command->add_option("file", *files, "reports that were written with -o json")
      ->type_name("FILE...")
      ->required();
  auto form = std::make_shared<std::string>("md");
  command->add_option("-o,--output", *form, "md (default), html or csv")->type_name("FORM");
  auto out = std::make_shared<std::string>();
  command->add_option("--out", *out, "write to FILE, whole or not at all")
      ->type_name("FILE")
      ->check(not_empty());
  auto section = std::make_shared<std::string>();
  command->add_option("--section", *section, "csv: which table of the report")
      ->type_name("NAME")
      ->check(not_empty());
  command->callback([=, &result] {
    if (*form != "md" && *form != "html" && *form != "csv") {
      throw Error(ErrorKind::usage, "-o " + printable(*form) + " is not a form of this command",
                  "md, html or csv");
    }
    if (!section->empty() && *form != "csv")
      throw Error(ErrorKind::usage, "--section is of -o csv", "a page shows all of a report");
    std::vector<ReportFile> reports;
    for (const std::string& file : *files) reports.push_back(read_report(file));
    const std::string text = *form == "csv"    ? report_csv(reports, *section)
                             : *form == "html" ? report_html(reports)
                                               : report_markdown(reports);
    if (out->empty()) {
      write_stdout(text);
    } else {
      write_file(*out, text);
    }
    result = exit_done;
  });
}

}  // namespace meshsim
