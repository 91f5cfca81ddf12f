#include "cli/output_options.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "reports/output.hpp"

namespace meshsim {

std::function<std::string(const std::string&)> not_empty() {
  return [](const std::string& value) {
    return value.empty() ? std::string("must not be empty") : std::string();
  };
}

std::shared_ptr<OutputOptions> add_output_options(CLI::App& command) {
  auto options = std::make_shared<OutputOptions>();
  command.add_option("-o,--output", options->format, "table (default) or json")->type_name("FORM");
  command.add_option("--out", options->file, "write the report to FILE, whole or not at all")
      ->type_name("FILE")
      ->check(not_empty());
  return options;
}

void emit(const OutputOptions& options, const std::function<Json()>& json,
          const std::function<std::string()>& table) {
  if (options.format != "json" && options.format != "table") {
    throw Error(ErrorKind::usage,
                "-o " + printable(options.format) + " is not a form of this report",
                "table or json");
  }
  const std::string text = options.format == "json" ? json_text(json()) : table();
  if (options.file.empty()) {
    write_stdout(text);
  } else {
    write_file(options.file, text);
  }
}

}  // namespace meshsim
