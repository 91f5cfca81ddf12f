#include "units/error.hpp"

#include <fmt/format.h>

#include <utility>

namespace meshsim {
namespace {

std::string joined(const std::vector<Diagnostic>& diagnostics) {
  std::string text;
  for (const Diagnostic& diagnostic : diagnostics) {
    if (!text.empty()) text += '\n';
    text += to_string(diagnostic);
  }
  return text;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

std::string to_string(const Diagnostic& diagnostic) {
  std::string text;
  const Location& at = diagnostic.where;
  if (!at.file.empty()) {
    text += printable(at.file);
    if (at.line > 0) text += fmt::format(":{}", at.line);
    if (at.line > 0 && at.column > 0) text += fmt::format(":{}", at.column);
    text += ": ";
  }
  text += "error: ";
  if (!diagnostic.key.empty()) text += printable(diagnostic.key) + ": ";
  text += printable(diagnostic.what);
  if (!diagnostic.hint.empty()) text += "\n  hint: " + printable(diagnostic.hint);
  return text;
}

Error::Error(ErrorKind kind, std::vector<Diagnostic> diagnostics)
    : std::runtime_error(joined(diagnostics)), kind_(kind), diagnostics_(std::move(diagnostics)) {}

Error::Error(ErrorKind kind, Diagnostic diagnostic)
    : Error(kind, std::vector<Diagnostic>{std::move(diagnostic)}) {}

Error::Error(ErrorKind kind, std::string what, std::string hint)
    : Error(kind, Diagnostic{{}, {}, std::move(what), std::move(hint)}) {}

void Diagnostics::add(Diagnostic diagnostic) {
  if (kept_.size() < cap) {
    kept_.push_back(std::move(diagnostic));
  } else {
    ++dropped_;
  }
}

void Diagnostics::throw_if_any() const {
  if (kept_.empty()) return;
  std::vector<Diagnostic> all = kept_;
  if (dropped_ > 0) {
    all.push_back({{}, {}, fmt::format("{} more errors are not shown", dropped_), {}});
  }
  throw Error(ErrorKind::invalid_input, std::move(all));
}

}  // namespace meshsim
