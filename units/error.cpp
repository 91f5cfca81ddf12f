#include "units/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "units/utf8.hpp"

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

// Whether one UTF-8 character does something to a terminal other than to be shown.
bool steers_terminal(std::string_view character) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(character[i]); };
  switch (character.size()) {
    case 1: return byte(0) < 0x20 || byte(0) == 0x7f;
    case 2:  // C1 controls, U+0080 to U+009F
      return byte(0) == 0xC2 && byte(1) < 0xA0;
    case 3:  // U+202A to U+202E and U+2066 to U+2069 change the direction of writing
      return byte(0) == 0xE2 && ((byte(1) == 0x80 && byte(2) >= 0xAA && byte(2) <= 0xAE) ||
                                 (byte(1) == 0x81 && byte(2) >= 0xA6 && byte(2) <= 0xA9));
    default: return false;
  }
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text, at);
    const std::string_view character = text.substr(at, std::max<std::size_t>(length, 1));
    if (length == 0 || steers_terminal(character)) {
      for (const char c : character) {
        out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
      }
    } else {
      out += character;
    }
    at += character.size();
  }
  return out;
}

std::string in_quotes(std::string_view text) {
  constexpr std::size_t longest = 60;
  if (text.size() <= longest) return fmt::format("'{}'", text);
  std::size_t end = 0;
  while (end < longest) end += std::max<std::size_t>(utf8_length(text, end), 1);
  return fmt::format("'{}...'", text.substr(0, end));
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
    all.push_back(
        {{},
         {},
         fmt::format("{} more {} not shown", dropped_, dropped_ == 1 ? "error is" : "errors are"),
         {}});
  }
  throw Error(ErrorKind::invalid_input, std::move(all));
}

}  // namespace meshsim
