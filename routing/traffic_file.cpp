#include "routing/traffic_file.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

#include "routing/json_lines.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

constexpr const char* schema = "traffic/1";

TracedTraffic read_row(Fields& fields, const TrafficFile& file) {
  TracedTraffic row{
      fields.integer("layer", {0, 1 << 20}), fields.integer("step", {0, 1 << 30}), {}};
  row.row.collective = fields.text("collective");
  row.row.src = fields.integer("src", {0, file.ranks - 1});
  row.row.dst = fields.integer("dst", {0, file.ranks - 1});
  row.row.bytes = fields.integer("bytes", {1, largest_exact_integer});
  return row;
}

bool is_chosen(const TracedTraffic& row, const TrafficChoice& choice) {
  return (!choice.collective || *choice.collective == row.row.collective) &&
         (!choice.layer || *choice.layer == row.layer) &&
         (!choice.step || *choice.step == row.step);
}

}  // namespace

bool is_traffic(std::string_view text) {
  const std::string_view head = text.substr(0, text.find('\n'));
  return head.starts_with('{') &&
         head.find(fmt::format("\"{}\"", schema)) != std::string_view::npos;
}

TrafficFile parse_traffic(const Source& source) {
  TrafficFile file;
  std::int64_t sum = 0;
  for_each_json_line(
      source,
      [&](Fields& fields) {
        const std::vector<std::string> schemas{schema};
        fields.choice("schema", schemas);
        file.model = fields.text("model");
        file.ranks = fields.integer("ranks", {1, 1 << 20});
      },
      [&](Fields& fields, int line) {
        file.rows.push_back(read_row(fields, file));
        const TrafficRow& row = file.rows.back().row;
        if (row.src == row.dst)
          refuse_line(source, line, fmt::format("rank {} sends to itself", row.src));
        sum += row.bytes;
        if (sum > largest_exact_integer)
          refuse_line(source, line, "the bytes up to here sum to more than 2^53");
      });
  return file;
}

Parsed<TrafficChoice> parse_traffic_choice(std::string_view text) {
  using Result = Parsed<TrafficChoice>;
  TrafficChoice choice;
  while (true) {
    const std::string_view item = text.substr(0, text.find(','));
    const bool of_layer = item.starts_with("layer=");
    if (of_layer || item.starts_with("step=")) {
      auto& value = of_layer ? choice.layer : choice.step;
      const Parsed<std::int64_t> number = parse_integer(item.substr(item.find('=') + 1));
      if (!number || number.value() < 0 || value)
        return Result::refused(
            fmt::format("{} must be a number from 0, given once", in_quotes(item)));
      value = number.value();
    } else if (item.empty() || item.find('=') != std::string_view::npos || choice.collective) {
      return Result::refused(fmt::format(
          "must be COLLECTIVE, layer=L and step=S, each at most once (got {})", in_quotes(item)));
    } else {
      choice.collective = std::string(item);
    }
    if (item.size() == text.size()) return Result::ok(choice);
    text.remove_prefix(item.size() + 1);
  }
}

CountMatrix chosen_bytes(const TrafficFile& file, const TrafficChoice& choice) {
  CountMatrix bytes(file.ranks, file.ranks);
  bool any = false;
  std::set<std::string> names;
  for (const TracedTraffic& row : file.rows) {
    names.insert(row.row.collective);
    if (!is_chosen(row, choice)) continue;
    any = true;
    bytes.at(row.row.src, row.row.dst) += row.row.bytes;
  }
  if (!any)
    throw Error(ErrorKind::invalid_input,
                "no row of the traffic is of that collective, layer and step",
                fmt::format("collectives of the file: {}", fmt::join(names, ", ")));
  return bytes;
}

}  // namespace meshsim
