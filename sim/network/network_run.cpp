#include "sim/network/network_run.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/network/axis_profile.hpp"
#include "sim/network/flow_run.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

// A few gigabytes of memory.
constexpr std::int64_t most_flows = 5'000'000;

// The member of its group that a chip is, along one axis.
std::int64_t member(const Torus& torus, ChipId chip, const PhysicalPart& part) {
  return torus.coordinate(chip, part.axis) / part.stride % part.part;
}

void lay_on_links(const CollectiveRequest& request, const Torus& torus, const NetworkSpeed& speed,
                  NetworkRun& run) {
  run.links = link_accounts(torus);
  for (const AxisLoad& load : total_loads(run.phases)) {
    for (LinkAccount& link : run.links) {
      if (link.axis != load.axis) continue;
      if (load.rooted &&
          std::any_of(request.parts.begin(), request.parts.end(), [&](const PhysicalPart& part) {
            return part.axis > load.axis && member(torus, link.from, part) != 0;
          }))
        continue;
      const auto at = static_cast<std::size_t>(torus.coordinate(link.from, link.axis));
      link.bytes = (link.direction == Direction::positive ? load.positive : load.negative)[at];
      link.busy = picoseconds_from_seconds(link.bytes / speed.link.value());
    }
  }
  find_bottleneck(run);
}

// The torus of one group over whole axes, and where its chips stand.
struct GroupTorus {
  Torus torus;
  std::vector<PhysicalPart> parts;

  // The chip of the whole torus, in the group at the origin.
  ChipId chip(const Torus& whole, ChipId of_group) const {
    std::vector<std::int64_t> coordinates(whole.shape().size(), 0);
    for (std::size_t i = 0; i < parts.size(); ++i)
      coordinates[parts[i].axis] = torus.coordinate(of_group, i);
    return whole.chip_at(coordinates);
  }
};

GroupTorus group_torus(const CollectiveRequest& request, const Torus& torus) {
  std::vector<std::int64_t> shape;
  std::vector<bool> wraps;
  for (const PhysicalPart& part : request.parts) {
    if (part.stride != 1 || part.part != torus.shape()[part.axis]) {
      throw Error(ErrorKind::invalid_input,
                  fmt::format("flows one by one need groups over whole axes (axis {} is split)",
                              part.axis));
    }
    shape.push_back(part.part);
    wraps.push_back(part.wraparound);
  }
  if (shape.empty()) {
    throw Error(ErrorKind::invalid_input, "a collective needs a group of at least 2 chips");
  }
  return {Torus(std::move(shape), std::move(wraps)), request.parts};
}

// All ways from one chip to another, as Torus::paths has them, or in one direction alone.
std::vector<Path> paths(const GroupTorus& group, const CollectiveRequest& request, ChipId from,
                        ChipId to) {
  std::vector<Path> all{{}};
  ChipId at = from;
  for (std::size_t axis = 0; axis < group.parts.size(); ++axis) {
    const AxisWay way =
        axis_way(group.parts[axis], request.both_directions, request.ties,
                 group.torus.coordinate(at, axis), group.torus.coordinate(to, axis));
    std::vector<Path> longer;
    ChipId end = at;
    const auto go = [&](Direction direction, std::int64_t hops, double share) {
      if (hops == 0) return;
      std::vector<LinkId> links;
      end = at;
      for (std::int64_t hop = 0; hop < hops; ++hop) {
        links.push_back(*group.torus.find_link(end, axis, direction));
        end = group.torus.link(links.back()).to;
      }
      for (const Path& path : all) {
        longer.push_back({path.links, path.weight * share});
        longer.back().links.insert(longer.back().links.end(), links.begin(), links.end());
      }
    };
    go(Direction::positive, way.positive_hops, way.positive_share);
    go(Direction::negative, way.negative_hops, way.negative_share);
    if (!longer.empty()) all = std::move(longer);
    at = end;
  }
  return all;
}

bool crosses(const std::vector<Path>& paths, LinkId link) {
  return std::any_of(paths.begin(), paths.end(), [&](const Path& path) {
    return std::find(path.links.begin(), path.links.end(), link) != path.links.end();
  });
}

NetworkRun matrix_from_loads(const ByteMatrix& matrix, const CollectiveRequest& request,
                             const NetworkSpeed& speed, const GroupTorus& group) {
  NetworkRun run;
  const MatrixLoads loads =
      matrix_loads(matrix, group.torus, request.ties, request.both_directions);
  run.time =
      makespan_from_loads(matrix, loads, group.torus, speed, request.ties, request.both_directions);
  run.links = link_accounts(group.torus);
  for (std::size_t link = 0; link < run.links.size(); ++link) {
    run.links[link].bytes = loads.bytes[link];
    run.links[link].busy = picoseconds_from_seconds(loads.bytes[link] / speed.link.value());
  }
  find_bottleneck(run);
  // Dimension order: what crosses the bottleneck comes from its coordinates of the later axes and
  // goes to its coordinates of the earlier ones.
  const LinkAccount& busiest = run.links[run.bottleneck];
  std::vector<ChipId> sources, destinations;
  for (ChipId chip = 0; chip < matrix.size; ++chip) {
    bool source = true, destination = true;
    for (std::size_t axis = 0; axis < group.parts.size(); ++axis) {
      const bool same =
          group.torus.coordinate(chip, axis) == group.torus.coordinate(busiest.from, axis);
      if (axis > busiest.axis) source = source && same;
      if (axis < busiest.axis) destination = destination && same;
    }
    if (source) sources.push_back(chip);
    if (destination) destinations.push_back(chip);
  }
  for (const ChipId from : sources) {
    for (const ChipId to : destinations) {
      const auto bytes = static_cast<double>(matrix.at(from, to));
      if (from == to || bytes == 0) continue;
      if (crosses(paths(group, request, from, to), static_cast<LinkId>(run.bottleneck)))
        run.over_bottleneck.push_back({from, to, bytes, {}, {}});
    }
  }
  keep_largest(run.over_bottleneck);
  return run;
}

// bytes(from, to) between all members.
template <class BytesOf>
NetworkRun by_flows(const CollectiveRequest& request, const NetworkSpeed& speed,
                    const GroupTorus& group, const FlowOptions& options, BytesOf bytes) {
  const std::int64_t size = group.torus.chips();
  if (size * size > most_flows) {
    throw Error(ErrorKind::resource_limit,
                fmt::format("{} chips send more than {} flows", size, most_flows),
                "without --tolerance the time follows from loads");
  }
  std::vector<RoutedFlow> flows;
  for (ChipId from = 0; from < size; ++from) {
    for (ChipId to = 0; to < size; ++to) {
      const double sent = bytes(from, to);
      if (sent > 0) flows.push_back({{from, to, sent, {}, {}}, 0, paths(group, request, from, to)});
    }
  }
  return run_flows(group.torus, flows, speed, options);
}

// Links of the group at the origin, as the whole torus numbers chips.
void name_on(const Torus& torus, const GroupTorus& group, NetworkRun& run) {
  for (LinkAccount& link : run.links) {
    link.from = group.chip(torus, link.from);
    link.to = group.chip(torus, link.to);
    link.axis = group.parts[link.axis].axis;
  }
}

}  // namespace

NetworkRun run_uniform(const CollectiveRequest& request, const NetworkSpeed& speed,
                       const Torus& torus) {
  NetworkRun run;
  run.phases = phases(request, speed, torus);
  run.time = total_time(run.phases);
  run.closed_form = closed_form(request, speed);
  lay_on_links(request, torus, speed, run);
  return run;
}

NetworkRun run_matrix(const ByteMatrix& matrix, const CollectiveRequest& request,
                      const NetworkSpeed& speed, const Torus& torus, const MatrixRun& how) {
  if (request.slices > 1) {
    throw Error(ErrorKind::invalid_input, "a matrix is sent within one slice");
  }
  const GroupTorus group = group_torus(request, torus);
  phases(request, speed, torus);  // refuses what no collective can be
  NetworkRun run;
  if (how.way == NetworkRun::Way::flows) {
    run = by_flows(request, speed, group, how.flow_options, [&](ChipId from, ChipId to) {
      return static_cast<double>(matrix.at(from, to));
    });
  } else {
    run = matrix_from_loads(matrix, request, speed, group);
    run.closed_form = run.time;
  }
  name_on(torus, group, run);
  return run;
}

NetworkRun run_all_to_all_by_flows(const CollectiveRequest& request, const NetworkSpeed& speed,
                                   const Torus& torus, const FlowOptions& options) {
  if (request.slices > 1) {
    throw Error(ErrorKind::invalid_input, "flows one by one stay within one slice");
  }
  phases(request, speed, torus);  // refuses what no collective can be
  const GroupTorus group = group_torus(request, torus);
  const double each =
      static_cast<double>(request.bytes.value()) / static_cast<double>(group.torus.chips());
  NetworkRun run = by_flows(request, speed, group, options,
                            [&](ChipId from, ChipId to) { return from == to ? 0 : each; });
  run.closed_form = closed_form(request, speed);
  name_on(torus, group, run);
  return run;
}

NetworkRun run_flow_file(const FlowFile& file, HalfwayTies ties, const FlowOptions& options) {
  std::vector<RoutedFlow> flows;
  flows.reserve(file.flows.size());
  for (const FileFlow& flow : file.flows) {
    RoutedFlow routed{{flow.src, flow.dst, static_cast<double>(flow.bytes.value()), flow.start, {}},
                      flow.collective,
                      {}};
    if (flow.has_route) {
      routed.paths.push_back({flow.links, 1});
    } else {
      routed.paths = file.torus.paths(file.chip(flow.src), file.chip(flow.dst), {ties, {}});
    }
    flows.push_back(std::move(routed));
  }
  const NetworkSpeed speed{file.link_bandwidth, file.hop_latency, {}, {}};
  NetworkRun run = run_flows(file.torus, flows, speed, options);
  for (LinkAccount& link : run.links) {
    link.from = file.node(link.from);
    link.to = file.node(link.to);
  }
  if (file.collectives.size() > 1) run.collectives = file.collectives;
  return run;
}

}  // namespace meshsim
