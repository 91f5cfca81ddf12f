#include "routing/json_lines.hpp"

#include <algorithm>
#include <string_view>
#include <utility>
#include <vector>

#include "inputs/json.hpp"

namespace meshsim {
namespace {

// One line as a document.
void read_line(const Source& source, std::string_view text, int line,
               const std::function<void(Fields&)>& read) {
  try {
    const Node node = parse_json({source.name, std::string(text)});
    Diagnostics faults;
    Fields fields(node, "", faults);
    read(fields);
    fields.finish();
    faults.throw_if_any();
  } catch (const Error& error) {
    std::vector<Diagnostic> moved = error.diagnostics();
    for (Diagnostic& each : moved) each.where.line = line;
    throw Error(error.kind(), std::move(moved));
  }
}

}  // namespace

void refuse_line(const Source& source, int line, std::string what) {
  throw Error(ErrorKind::invalid_input,
              Diagnostic{{source.name, line, 1}, {}, std::move(what), {}});
}

void for_each_json_line(const Source& source, const std::function<void(Fields&)>& head,
                        const std::function<void(Fields&, int line)>& row) {
  check_text(source);
  const std::string_view text = source.text;
  int line = 1;
  for (std::size_t start = 0; start < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    const std::string_view content = text.substr(start, end - start);
    start = end + 1;
    read_line(source, content, line, [&](Fields& fields) {
      if (line == 1) {
        head(fields);
      } else {
        row(fields, line);
      }
    });
  }
  if (line == 1) refuse_line(source, 1, "is empty; the file starts with its head");
}

}  // namespace meshsim
