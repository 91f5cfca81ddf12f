#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/output_options.hpp"
#include "inputs/source.hpp"
#include "reports/collective_report.hpp"
#include "routing/traffic_file.hpp"
#include "topologies/slice.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

// As given; empty: not given.
struct CollectiveOptions {
  std::string topology, chip = "v5p", slices, axes, op, bytes, matrix, of, flows, chunks, shift;
  std::string link_bandwidth, latency, dcn_bandwidth, dcn_latency;
  std::string directions, wraparound, ties, tolerance;
};

[[noreturn]] void refuse(const char* flag, std::string why, std::string hint = {}) {
  throw Error(ErrorKind::invalid_input,
              Diagnostic{{"<command line>"}, flag, std::move(why), std::move(hint)});
}

std::int64_t integer(const std::string& text, const char* flag, std::int64_t least,
                     std::int64_t otherwise) {
  if (text.empty()) return otherwise;
  const Parsed<std::int64_t> value = parse_integer(text);
  if (!value) refuse(flag, value.why());
  if (value.value() < least) refuse(flag, fmt::format("must be at least {} (got {})", least, text));
  return value.value();
}

// A plain number, or a quantity with its unit.
Bytes bytes_of(const std::string& text, const char* flag) {
  if (text.find_first_not_of("-0123456789") == std::string::npos)
    return Bytes(integer(text, flag, 0, 0));
  const Parsed<Bytes> value = parse_bytes(text);
  if (!value) refuse(flag, value.why());
  return value.value();
}

BytesPerSecond bandwidth_of(const std::string& text, const char* flag) {
  double rate = 0;
  if (const Parsed<double> plain = parse_real(text)) {
    rate = plain.value();
  } else {
    const Parsed<BytesPerSecond> value = parse_bandwidth(text);
    if (!value) refuse(flag, value.why(), "a number of B/s, or a quantity such as 90GB/s");
    rate = value.value().value();
  }
  if (!(rate > 0 && rate <= 1e18))
    refuse(flag, fmt::format("must be above 0 and at most 1e18 B/s (got {})", text));
  return BytesPerSecond(rate);
}

Picoseconds duration_of(const std::string& text, const char* flag) {
  if (const Parsed<double> plain = parse_real(text)) {
    if (!(plain.value() >= 0 && plain.value() <= 1))
      refuse(flag, fmt::format("must be 0 to 1 s (got {})", text));
    return picoseconds_from_seconds(plain.value());
  }
  const Parsed<Picoseconds> value = parse_duration(text);
  if (!value) refuse(flag, value.why(), "a number of seconds, or a quantity such as 1us");
  if (value.value() > Picoseconds(1'000'000'000'000))
    refuse(flag, fmt::format("must be 0 to 1 s (got {})", text));
  return value.value();
}

double tolerance_of(const std::string& text) {
  if (text.empty()) return 0;
  const Parsed<double> value = parse_real(text);
  if (!value) refuse("--tolerance", value.why());
  if (!(value.value() >= 0 && value.value() <= 0.5))
    refuse("--tolerance", fmt::format("must be 0 to 0.5 (got {})", text));
  return value.value();
}

// True for `yes`, false for `no`; `otherwise` if not given.
bool choice(const std::string& text, const char* flag, const char* yes, const char* no,
            bool otherwise) {
  if (text.empty()) return otherwise;
  if (text != yes && text != no)
    refuse(flag, fmt::format("must be {} or {} (got {})", yes, no, in_quotes(text)));
  return text == yes;
}

Slice slice_of(const CollectiveOptions& options) {
  if (options.topology.find_first_not_of("0123456789x-.") != std::string::npos)
    return slice_by_name(options.topology);
  const Parsed<std::vector<std::int64_t>> shape = parse_shape(options.topology);
  if (!shape) refuse("--topology", shape.why());
  return slice_by_shape(find_chip(options.chip), shape.value());
}

void set_wraparound(const std::string& text, Slice& slice) {
  if (text.empty() || text == "auto") return;
  if (text != "all" && text != "none")
    refuse("--wraparound", "must be auto, all or none (got " + in_quotes(text) + ")");
  slice.wraparound.assign(slice.shape.size(), text == "all");
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> all;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find(at, start), text.size());
    all.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return all;
}

// "0,2" are whole axes; "2:4" is groups of 4 neighbours along axis 2, "2:4:2" of every second chip.
std::vector<PhysicalPart> parts_of(const CollectiveOptions& options, const Slice& slice) {
  constexpr const char* flag = "--axes";
  std::vector<PhysicalPart> parts;
  const auto whole = [&](std::size_t axis) {
    return PhysicalPart{axis, slice.shape[axis], 1, slice.wraparound[axis]};
  };
  if (options.axes.empty()) {
    for (std::size_t axis = 0; axis < slice.shape.size(); ++axis) parts.push_back(whole(axis));
  } else {
    for (const std::string& item : split(options.axes, ',')) {
      const std::vector<std::string> words = split(item, ':');
      const Parsed<std::int64_t> axis = parse_integer(words[0]);
      if (!axis) refuse(flag, axis.why());
      const auto rank = static_cast<std::int64_t>(slice.shape.size());
      if (axis.value() < 0 || axis.value() >= rank) {
        refuse(flag, fmt::format("{} is not an axis of {} (0 to {})", axis.value(),
                                 shape_text(slice.shape), rank - 1));
      }
      PhysicalPart part = whole(static_cast<std::size_t>(axis.value()));
      if (words.size() > 3) refuse(flag, "want AXIS, AXIS:MEMBERS or AXIS:MEMBERS:STRIDE");
      const std::int64_t size = part.part;
      if (words.size() > 1) part.part = integer(words[1], flag, 1, 1);
      if (words.size() > 2) part.stride = integer(words[2], flag, 1, 1);
      if (part.part > size || part.stride > size || size % (part.part * part.stride) != 0) {
        refuse(flag, fmt::format("{} members, {} apart, do not divide axis {} of {} chips",
                                 part.part, part.stride, axis.value(), size));
      }
      part.wraparound = part.wraparound && part.part * part.stride == size;
      for (const PhysicalPart& other : parts) {
        if (other.axis == part.axis) refuse(flag, fmt::format("names axis {} twice", part.axis));
      }
      parts.push_back(part);
    }
  }
  std::erase_if(parts, [](const PhysicalPart& part) { return part.part == 1; });
  std::sort(parts.begin(), parts.end(),
            [](const PhysicalPart& a, const PhysicalPart& b) { return a.axis < b.axis; });
  return parts;
}

template <class Unit>
Unit published(const std::optional<Sourced<Unit>>& constant, const Chip& chip, const char* flag) {
  if (constant) return constant->value;
  refuse(flag, fmt::format("no source states it for {}: it must be given", chip.name));
}

NetworkSpeed speed_of(const CollectiveOptions& options, const Chip& chip, std::int64_t slices) {
  NetworkSpeed speed;
  speed.link = options.link_bandwidth.empty()
                   ? published(chip.ici_link_bandwidth, chip, "--link-bandwidth")
                   : bandwidth_of(options.link_bandwidth, "--link-bandwidth");
  speed.hop_latency = options.latency.empty() ? chip.ici_hop_latency.value
                                              : duration_of(options.latency, "--latency");
  if (!options.dcn_latency.empty())
    speed.dcn_latency = duration_of(options.dcn_latency, "--dcn-latency");
  if (!options.dcn_bandwidth.empty()) {
    speed.dcn = bandwidth_of(options.dcn_bandwidth, "--dcn-bandwidth");
  } else if (slices > 1) {
    speed.dcn = published(chip.dcn_bandwidth, chip, "--dcn-bandwidth");
  }
  return speed;
}

// Of a matrix, or of the traffic of a validation run: rank r is the r-th chip of the group.
ByteMatrix matrix_of(const CollectiveOptions& options, std::int64_t members) {
  const Source source = read_source(options.matrix);
  if (!is_traffic(source.text)) {
    if (!options.of.empty()) refuse("--of", "is for files of traffic/1");
    return parse_byte_matrix(source, members);
  }
  TrafficChoice choice;
  if (!options.of.empty()) {
    const Parsed<TrafficChoice> parsed = parse_traffic_choice(options.of);
    if (!parsed) refuse("--of", parsed.why());
    choice = parsed.value();
  }
  const TrafficFile file = parse_traffic(source);
  if (file.ranks != members)
    refuse("--matrix", fmt::format("{} is of {} ranks, the group has {} chips", options.matrix,
                                   file.ranks, members));
  return {members, chosen_bytes(file, choice).counts};
}

CollectiveView view_of_collective(const CollectiveOptions& options) {
  const auto missing = [](const char* flag) {
    throw Error(ErrorKind::usage, fmt::format("{} is missing", flag),
                "meshsim collective --help shows a command line");
  };
  if (options.topology.empty()) missing("--topology");
  if (options.op.empty()) missing("--op");
  if (options.bytes.empty() && options.matrix.empty()) missing("--bytes (or --matrix)");
  if (!options.bytes.empty() && !options.matrix.empty())
    throw Error(ErrorKind::usage, "--bytes and --matrix exclude each other");
  CollectiveRequest request;
  request.op = collective_op(options.op);
  if (!options.of.empty() && options.matrix.empty()) missing("--matrix (for --of)");
  if (!options.matrix.empty() && request.op != CollectiveOp::all_to_all)
    refuse("--matrix", "is for --op all-to-all");
  const bool by_flows = request.op == CollectiveOp::all_to_all && !options.tolerance.empty();
  Slice slice = slice_of(options);
  set_wraparound(options.wraparound, slice);
  request.parts = parts_of(options, slice);
  request.both_directions = choice(options.directions, "--directions", "both", "one", true);
  request.ties = choice(options.ties, "--ties", "one-way", "split", true) ? HalfwayTies::one_way
                                                                          : HalfwayTies::split;
  request.chunks = integer(options.chunks, "--chunks", 1, 1);
  request.shift = integer(options.shift, "--shift", -max_chips, 1);
  request.slices = integer(options.slices, "--slices", 1, 1);
  const Torus torus(slice);
  CollectiveView view;
  view.topology = make_topology(slice, request.slices).slice.name;
  view.shape = slice.shape;
  view.wraparound = slice.wraparound;
  view.ties = request.ties;
  view.speed = speed_of(options, *slice.chip, request.slices);
  view.tolerance = tolerance_of(options.tolerance);
  if (options.matrix.empty()) {
    request.bytes = bytes_of(options.bytes, "--bytes");
    view.run = by_flows ? run_all_to_all_by_flows(request, view.speed, torus, {view.tolerance})
                        : run_uniform(request, view.speed, torus);
    if (!by_flows && !options.tolerance.empty()) {
      view.assumptions.push_back(
          "--tolerance batches nothing here: all transfers of a step end at once");
    }
  } else {
    const ByteMatrix matrix = matrix_of(options, members(request));
    std::int64_t sum = 0;  // parse_byte_matrix has checked that it fits
    for (const std::int64_t bytes : matrix.bytes) sum += bytes;
    request.bytes = Bytes(sum);
    view.by_matrix = true;
    MatrixRun how;
    how.way = by_flows ? NetworkRun::Way::flows : NetworkRun::Way::loads;
    how.flow_options.tolerance = view.tolerance;
    view.run = run_matrix(matrix, request, view.speed, torus, how);
  }
  view.request = request;
  if (request.slices > 1 && options.dcn_latency.empty())
    view.assumptions.push_back("DCN has no latency of its own (no source states one)");
  view.not_modelled = not_modelled(make_topology(slice, request.slices));
  view.not_modelled.push_back("HBM, DMA set-up and the links' protocol overhead");
  return view;
}

CollectiveView view_of_flows(const CollectiveOptions& options) {
  for (const auto& [value, flag] : {std::pair(&options.topology, "--topology"),
                                    {&options.op, "--op"},
                                    {&options.bytes, "--bytes"},
                                    {&options.matrix, "--matrix"},
                                    {&options.of, "--of"},
                                    {&options.axes, "--axes"},
                                    {&options.chunks, "--chunks"},
                                    {&options.slices, "--slices"},
                                    {&options.directions, "--directions"},
                                    {&options.wraparound, "--wraparound"},
                                    {&options.shift, "--shift"}}) {
    if (!value->empty())
      throw Error(ErrorKind::usage, fmt::format("{} does not go with --flows", flag));
  }
  FlowFile file = parse_flow_file(read_source(options.flows));
  if (!options.link_bandwidth.empty())
    file.link_bandwidth = bandwidth_of(options.link_bandwidth, "--link-bandwidth");
  if (!options.latency.empty()) file.hop_latency = duration_of(options.latency, "--latency");
  CollectiveView view;
  view.topology = file.name;
  const auto shape = file.torus.shape();
  view.shape.assign(shape.begin(), shape.end());
  view.wraparound.assign(view.shape.size(), true);
  view.ties = choice(options.ties, "--ties", "one-way", "split", true) ? HalfwayTies::one_way
                                                                       : HalfwayTies::split;
  view.speed = {file.link_bandwidth, file.hop_latency, {}, {}};
  view.tolerance = tolerance_of(options.tolerance);
  view.run = run_flow_file(file, view.ties, {view.tolerance});
  view.assumptions.push_back("a flow with links of its own in the file takes those");
  return view;
}

// What no file and no option is to blame for alone (a duration beyond simulated time, a group of
// one chip) comes from the command line as a whole.
template <class Work>
CollectiveView with_place(Work work) {
  try {
    return work();
  } catch (const Error& error) {
    std::vector<Diagnostic> faults = error.diagnostics();
    if (error.kind() != ErrorKind::invalid_input) throw;
    for (Diagnostic& fault : faults) {
      if (fault.where.file.empty()) fault.where.file = "<command line>";
    }
    throw Error(error.kind(), std::move(faults));
  }
}

}  // namespace

void add_collective(CLI::App& app, int& result) {
  CLI::App* command = app.add_subcommand(
      "collective",
      "One collective on the links of a torus: time, bandwidth, bottleneck.\n\n"
      "  meshsim collective --topology 4x8x8 --op all-to-all --bytes 64MiB\n"
      "  meshsim collective --topology v5p-512 --axes 0,1 --op all-gather --bytes 1GiB -o json\n"
      "  meshsim collective --topology 4x4x4 --op all-to-all --matrix bytes.csv --tolerance 0\n"
      "  meshsim collective --flows flows.json -o json\n");
  auto options = std::make_shared<CollectiveOptions>();
  auto output = add_output_options(*command);
  const auto add = [&](const char* flag, std::string& value, const char* what, const char* type) {
    command->add_option(flag, value, what)->type_name(type)->check(not_empty());
  };
  add("--topology", options->topology, "a slice (v5p-512) or a shape (4x8x8)", "NAME|SHAPE");
  add("--op", options->op,
      "all-gather, reduce-scatter, all-reduce, all-to-all, collective-permute, broadcast", "OP");
  add("--bytes", options->bytes,
      "gathered output; input of a reduction; a chip's payload of the others", "N");
  add("--axes", options->axes, "axes of the groups (all); 2:4 = groups of 4 along axis 2",
      "A[:N[:STRIDE]],..");
  add("--matrix", options->matrix, "bytes from chip (row) to chip, JSON or CSV; or traffic/1",
      "FILE");
  add("--of", options->of, "of traffic/1: dispatch,layer=0,step=0 (all)", "WHICH");
  add("--flows", options->flows, "flows of schema flow-crosscheck/1", "FILE");
  add("--tolerance", options->tolerance,
      "all-to-all: flow by flow; ends batched within T (0: exact)", "T");
  add("--directions", options->directions, "both (default) or one", "D");
  add("--ties", options->ties, "half-way around a ring: one-way (default) or split", "T");
  add("--wraparound", options->wraparound, "auto (default), all or none", "W");
  add("--chunks", options->chunks, "pipelined in this many chunks (1)", "C");
  add("--shift", options->shift, "places on, of a collective-permute (1)", "N");
  add("--link-bandwidth", options->link_bandwidth, "one link, one way: 90e9 or 90GB/s", "B/s");
  add("--latency", options->latency, "of a hop: 1us, or seconds", "TIME");
  add("--slices", options->slices, "slices that each group spans, joined by DCN (1)", "N");
  add("--dcn-bandwidth", options->dcn_bandwidth, "DCN of one chip, one way", "B/s");
  add("--dcn-latency", options->dcn_latency, "DCN latency of a step (0)", "TIME");
  add("--chip", options->chip, "the chip of a shape (v5p)", "CHIP");
  command->callback([=, &result] {
    const CollectiveView view = with_place([&] {
      return options->flows.empty() ? view_of_collective(*options) : view_of_flows(*options);
    });
    emit(
        *output, [&] { return collective_json(view); }, [&] { return collective_table(view); });
    result = exit_done;
  });
}

}  // namespace meshsim
