#include "sim/network/byte_matrix.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

#include "inputs/json.hpp"
#include "units/error.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

constexpr double most_bytes = 0x1p62;

class MatrixReader {
 public:
  explicit MatrixReader(std::int64_t size) { matrix_.size = size; }

  ByteMatrix take() {
    faults_.throw_if_any();
    return std::move(matrix_);
  }

  void entry(std::string_view text, const Location& where) {
    const Parsed<std::int64_t> value = parse_integer(text);
    if (!value || value.value() < 0) {
      faults_.add({where,
                   place(),
                   value ? fmt::format("must be at least 0 (got {})", value.value()) : value.why(),
                   {}});
    }
    matrix_.bytes.push_back(value ? value.value() : 0);
    total_ += value ? static_cast<double>(value.value()) : 0;
    ++column_;
  }

  void end_row(const Location& where) {
    if (column_ != matrix_.size) {
      faults_.add({where,
                   fmt::format("[{}]", row_),
                   fmt::format("must have {} entries, one a chip of the group (got {})",
                               matrix_.size, column_),
                   {}});
    }
    faults_.throw_if_any();  // what follows would only repeat it
    ++row_;
    column_ = 0;
  }

  void fault(const Location& where, std::string what) {
    faults_.add({where, place(), std::move(what), {}});
    ++column_;
  }

  void end(const Location& where) {
    if (row_ != matrix_.size) {
      faults_.add(
          {where,
           {},
           fmt::format("must have {} rows, one a chip of the group (got {})", matrix_.size, row_),
           {}});
    } else if (total_ > most_bytes) {
      faults_.add({where, {}, "sums to more than 2^62 bytes", {}});
    }
  }

 private:
  std::string place() const { return fmt::format("[{}][{}]", row_, column_); }

  ByteMatrix matrix_;
  Diagnostics faults_;
  std::int64_t row_ = 0, column_ = 0;
  double total_ = 0;
};

void read_json(const Source& source, MatrixReader& reader) {
  const Node root = parse_json(source);
  if (root.kind != Node::Kind::sequence) {
    throw Error(
        ErrorKind::invalid_input,
        Diagnostic{root.where, {}, "must be a list of rows (got " + described(root) + ")", {}});
  }
  for (const Node& row : root.items) {
    if (row.kind != Node::Kind::sequence) {
      throw Error(ErrorKind::invalid_input,
                  Diagnostic{row.where, {}, "must be a row (got " + described(row) + ")", {}});
    }
    for (const Node& entry : row.items) {
      if (entry.kind == Node::Kind::scalar && !entry.quoted) {
        reader.entry(entry.text, entry.where);
      } else {
        reader.fault(entry.where, "is not an integer (got " + described(entry) + ")");
      }
    }
    reader.end_row(row.where);
  }
  reader.end(root.where);
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

void read_csv(const Source& source, MatrixReader& reader) {
  check_text(source);
  const std::string_view text = source.text;
  int line = 1;
  for (std::size_t start = 0; start < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', start), text.size());
    for (std::size_t at = start; at <= end;) {
      const std::size_t comma = std::min(text.find(',', at), end);
      reader.entry(trimmed(text.substr(at, comma - at)),
                   {source.name, line, static_cast<int>(at - start) + 1});
      at = comma + 1;
    }
    reader.end_row({source.name, line, 1});
    start = end + 1;
  }
  reader.end({source.name, line, 1});
}

}  // namespace

ByteMatrix parse_byte_matrix(const Source& source, std::int64_t size) {
  MatrixReader reader(size);
  const std::size_t first = source.text.find_first_not_of(" \n\t");
  if (first != std::string::npos && (source.text[first] == '[' || source.text[first] == '{')) {
    read_json(source, reader);
  } else {
    read_csv(source, reader);
  }
  return reader.take();
}

}  // namespace meshsim
