#include "reports/schemas.hpp"

#include <fmt/format.h>

#include <array>
#include <span>
#include <vector>

#include "inputs/embedded.hpp"
#include "inputs/nearest.hpp"
#include "units/error.hpp"

namespace meshsim {

std::span<const EmbeddedFile> embedded_reports();

namespace {

// "fit" and "simulate" write plan reports.
std::string_view canonical(std::string_view name) {
  return name == "fit" || name == "simulate" ? "plan" : name;
}

}  // namespace

std::string report_schema(std::string_view name) {
  for (const EmbeddedFile& file : embedded_reports()) {
    if (file.path == fmt::format("reports/schemas/{}.json", canonical(name)))
      return std::string(file.text);
  }
  const std::vector<std::string> known{"report", "plan",     "fit",    "simulate", "model",
                                       "models", "topology", "config", "what-if",
                                       "collective"};
  throw Error(ErrorKind::invalid_input, fmt::format("no report is called '{}'", printable(name)),
              did_you_mean(name, known));
}

}  // namespace meshsim
