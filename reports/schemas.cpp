#include "reports/schemas.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <span>
#include <string>
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
  std::vector<std::string> known{"fit", "simulate"};
  for (const EmbeddedFile& file : embedded_reports()) {
    const std::string kind = std::filesystem::path(file.path).stem().string();
    if (kind == canonical(name)) return std::string(file.text);
    known.push_back(kind);
  }
  throw Error(ErrorKind::invalid_input, fmt::format("no report is called '{}'", printable(name)),
              did_you_mean(name, known));
}

}  // namespace meshsim
