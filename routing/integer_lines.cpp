#include "routing/integer_lines.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "units/error.hpp"
#include "units/parse.hpp"

namespace meshsim {

void for_each_line_of_integers(
    const Source& source, std::int64_t least, std::int64_t most,
    const std::function<void(int line, std::span<const std::int64_t> values)>& take) {
  check_text(source);
  const std::string_view text = source.text;
  std::vector<std::int64_t> values;
  int line = 1;
  for (std::size_t start = 0; start < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    values.clear();
    for (std::size_t at = text.find_first_not_of(" \t", start); at < end;
         at = text.find_first_not_of(" \t", at)) {
      const std::size_t stop = std::min(text.find_first_of(" \t\n", at), end);
      const std::string_view word = text.substr(at, stop - at);
      const Parsed<std::int64_t> value = parse_integer(word);
      const std::string why =
          !value ? value.why()
          : value.value() < least || value.value() > most
              ? fmt::format("must lie between {} and {} (got {})", least, most, value.value())
              : "";
      if (!why.empty())
        throw Error(ErrorKind::invalid_input,
                    Diagnostic{{source.name, line, static_cast<int>(at - start) + 1}, {}, why, {}});
      values.push_back(value.value());
      at = stop;
    }
    if (!values.empty()) take(line, values);
    start = end + 1;
  }
}

}  // namespace meshsim
