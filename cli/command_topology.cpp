#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include "cli/commands.hpp"
#include "cli/exit_code.hpp"
#include "cli/output_options.hpp"
#include "reports/topology_report.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

struct TopologyOptions {
  std::string name;
  std::string chip = "v5p";
  std::string slices = "1";
  std::string logical, dcn;  // "1,32,8"
  bool allow_split = false;
};

std::int64_t positive(const std::string& text, const char* flag) {
  const Parsed<std::int64_t> value = parse_integer(text);
  const std::string why = !value              ? value.why()
                          : value.value() < 1 ? fmt::format("must be at least 1 (got {})", text)
                                              : "";
  if (!why.empty())
    throw Error(ErrorKind::invalid_input, Diagnostic{{"<command line>"}, flag, why, {}});
  return value.value();
}

std::vector<std::int64_t> degrees(const std::string& text, const char* flag) {
  std::vector<std::int64_t> all;
  std::size_t start = 0;
  while (start <= text.size()) {
    const std::size_t comma = std::min(text.find(',', start), text.size());
    all.push_back(positive(text.substr(start, comma - start), flag));
    start = comma + 1;
  }
  return all;
}

// A shape is digits and crosses; everything else is a name.
Slice slice_of(const TopologyOptions& options) {
  if (options.name.find_first_not_of("0123456789x-.") != std::string::npos)
    return slice_by_name(options.name);
  const Parsed<std::vector<std::int64_t>> shape = parse_shape(options.name);
  if (!shape)
    throw Error(ErrorKind::invalid_input,
                Diagnostic{{"<command line>"}, "topology", shape.why(), {}});
  return slice_by_shape(find_chip(options.chip), shape.value());
}

TopologyView view_of(const TopologyOptions& options) {
  if (options.logical.empty() && (!options.dcn.empty() || options.allow_split)) {
    throw Error(ErrorKind::usage,
                options.dcn.empty() ? "--allow-split-physical-axes needs --logical"
                                    : "--dcn needs --logical",
                "meshsim topology --help");
  }
  TopologyView view{make_topology(slice_of(options), positive(options.slices, "--slices")), {}, {}};
  if (!options.logical.empty()) {
    view.mesh = assign_mesh(device_mesh_shape(view.topology.slice),
                            degrees(options.logical, "--logical"), options.allow_split);
  }
  if (!options.dcn.empty()) view.dcn_degrees = degrees(options.dcn, "--dcn");
  return view;
}

}  // namespace

void add_topology(CLI::App& app, int& result) {
  CLI::App* command = app.add_subcommand(
      "topology",
      "A slice by name or shape: chips, torus, constants; and how a mesh lies on it.\n\n"
      "  meshsim topology v5p-512\n"
      "  meshsim topology 4x8x8 --logical 1,32,8 -o json\n");
  auto options = std::make_shared<TopologyOptions>();
  auto output = add_output_options(*command);
  command->add_option("topology", options->name, "a slice name (v5p-512) or a shape (4x8x8)")
      ->required()
      ->type_name("NAME|SHAPE");
  command->add_option("--chip", options->chip, "the chip of a shape (v5p)")->type_name("CHIP");
  command->add_option("--slices", options->slices, "how many slices, joined by DCN (1)")
      ->type_name("N");
  command
      ->add_option("--logical", options->logical,
                   "degrees of the logical mesh, increasing network intensity")
      ->type_name("N,N,...");
  command->add_option("--dcn", options->dcn, "their degrees across slices")->type_name("N,N,...");
  command->add_flag("--allow-split-physical-axes", options->allow_split,
                    "let a logical axis take part of a physical one");
  command->callback([=, &result] {
    const TopologyView view = view_of(*options);
    emit(
        *output, [&] { return topology_json(view); }, [&] { return topology_table(view); });
    result = exit_done;
  });
}

}  // namespace meshsim
