#include "reports/csv.hpp"

#include <algorithm>

namespace meshsim {

void append_csv_field(std::string& to, std::string_view text) {
  const bool formula =
      !text.empty() && std::string_view("=+-@\t").find(text.front()) != std::string_view::npos;
  const bool plain = std::none_of(text.begin(), text.end(), [](char c) {
    return c == ',' || c == '"' || c == '\n' || c == '\r';
  });
  if (!plain) to += '"';
  if (formula) to += '\'';
  if (plain) {
    to += text;
    return;
  }
  for (const char c : text) {
    if (c == '"') to += '"';
    to += c;
  }
  to += '"';
}

std::string csv_field(std::string_view text) {
  std::string field;
  append_csv_field(field, text);
  return field;
}

}  // namespace meshsim
