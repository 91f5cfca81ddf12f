#include "reports/topology_report.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string_view>

#include "reports/chip_constants.hpp"
#include "topologies/footprint.hpp"
#include "topologies/torus.hpp"
#include "units/checked.hpp"
#include "units/error.hpp"
#include "units/print.hpp"

namespace meshsim {
namespace {

using Json = nlohmann::ordered_json;

void check(const TopologyView& view) {
  if (!view.mesh) return;
  const std::vector<std::int64_t> physical = device_mesh_shape(view.topology.slice);
  if (view.mesh->physical != physical) {
    throw Error(ErrorKind::invalid_input,
                fmt::format("a mesh on {} does not lie on the device mesh {} of {}",
                            shape_text(view.mesh->physical), shape_text(physical),
                            view.topology.slice.name));
  }
  const std::int64_t slices = checked_product(view.dcn_degrees, "slices");
  if (slices != view.topology.slices) {
    throw Error(ErrorKind::invalid_input,
                fmt::format("the DCN degrees [{}] multiply to {}, but there are {} slices",
                            fmt::join(view.dcn_degrees, ", "), slices, view.topology.slices),
                "give one DCN degree for each logical axis");
  }
}

std::vector<std::int64_t> device_order(const TopologyView& view) {
  if (view.dcn_degrees.empty()) return view.mesh->device_order;
  return hybrid_device_order(*view.mesh, view.dcn_degrees);
}

std::vector<AxisFootprint> footprints_of(const TopologyView& view) {
  return footprints(*view.mesh, Torus(view.topology.slice));
}

Json axis_json(const AxisFootprint& footprint) {
  Json parts = Json::array();
  for (const PhysicalPart& part : footprint.physical) {
    parts.push_back({{"axis", part.axis},
                     {"part", part.part},
                     {"stride", part.stride},
                     {"wraparound", part.wraparound}});
  }
  return {{"logical_axis", footprint.logical_axis},
          {"size", footprint.size},
          {"physical", std::move(parts)},
          {"links", footprint.links.size()}};
}

void add_mesh(const TopologyView& view, Json& report) {
  report["logical"] = view.mesh->logical;
  if (!view.dcn_degrees.empty()) report["dcn_logical"] = view.dcn_degrees;
  report["allow_split_physical_axes"] = view.mesh->allow_split_physical_axes;
  report["assignment"] = view.mesh->assignment;
  report["device_order"] = device_order(view);
  Json axes = Json::array();
  for (const AxisFootprint& footprint : footprints_of(view)) axes.push_back(axis_json(footprint));
  report["axes"] = std::move(axes);
}

// "torus", "mesh (no wraparound)" or "mesh with rings along axis 1".
std::string wiring(const Slice& slice) {
  std::vector<std::size_t> rings;
  for (std::size_t axis = 0; axis < slice.wraparound.size(); ++axis) {
    if (slice.wraparound[axis]) rings.push_back(axis);
  }
  if (rings.size() == slice.shape.size()) return "torus";
  if (rings.empty()) return "mesh (no wraparound)";
  return fmt::format("mesh with rings along axis {}", fmt::join(rings, ", "));
}

std::string counted(std::int64_t count, std::string_view noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

std::string axis_line(const AxisFootprint& footprint) {
  std::vector<std::string> parts;
  for (const PhysicalPart& part : footprint.physical) {
    parts.push_back(fmt::format("{} of axis {}{}{}", part.part, part.axis,
                                part.stride > 1 ? fmt::format(", stride {}", part.stride) : "",
                                part.wraparound ? " (ring)" : " (line)"));
  }
  return fmt::format("  axis {:<2} size {:<6} {:<44} {} links\n", footprint.logical_axis,
                     footprint.size,
                     parts.empty() ? "-" : fmt::format("{}", fmt::join(parts, "; ")),
                     grouped(static_cast<std::int64_t>(footprint.links.size())));
}

std::string mesh_lines(const TopologyView& view) {
  std::string text = fmt::format(
      "\nlogical mesh {}{} (least to most network-intensive axis)\n",
      fmt::join(view.mesh->logical, ","),
      view.dcn_degrees.empty()
          ? ""
          : fmt::format(" in each slice, {} over DCN", fmt::join(view.dcn_degrees, ",")));
  for (const AxisFootprint& footprint : footprints_of(view)) text += axis_line(footprint);
  return text;
}

}  // namespace

Json topology_json(const TopologyView& view) {
  check(view);
  const Topology& topology = view.topology;
  const Slice& slice = topology.slice;
  Json report = {{"$schema", "https://meshsim.dev/schema/topology/1"},
                 {"format_version", "1.0"},
                 {"name", slice.name},
                 {"chip", slice.chip->name},
                 {"chips", topology.chips()},
                 {"devices", topology.devices()},
                 {"tensor_cores", topology.tensor_cores()},
                 {"shape", slice.shape},
                 {"wraparound", slice.wraparound},
                 {"hosts", topology.hosts()},
                 {"slices", topology.slices}};
  if (view.mesh) add_mesh(view, report);
  report["constants_as_of"] = slice.chip->as_of;
  report["constants"] = constants_json(*slice.chip);
  report["not_published"] = not_published(*slice.chip);
  report["assumptions"] = assumptions(topology);
  report["not_modelled"] = not_modelled(topology);
  return report;
}

std::string topology_headline(const Topology& topology) {
  const Slice& slice = topology.slice;
  const bool several = topology.slices > 1;
  return fmt::format("{}{}: {} ({}), {} {}{}, {}",
                     several ? fmt::format("{} x ", topology.slices) : "", slice.name,
                     counted(topology.chips(), "chip"),
                     counted(topology.tensor_cores(), "TensorCore"), shape_text(slice.shape),
                     wiring(slice), several ? " each" : "", counted(topology.hosts(), "host"));
}

std::string topology_table(const TopologyView& view) {
  check(view);
  const Topology& topology = view.topology;
  const Chip& chip = *topology.slice.chip;
  std::string text = topology_headline(topology) + "\n";
  if (view.mesh) text += mesh_lines(view);
  text += fmt::format("\n{}, per chip (sources read {})\n", chip.name, chip.as_of);
  text += constants_table(chip);
  for (const std::string& line : assumptions(topology)) text += "\nassumed: " + line + "\n";
  for (const std::string& line : not_modelled(topology)) text += "\nnot modelled: " + line + "\n";
  return text;
}

}  // namespace meshsim
