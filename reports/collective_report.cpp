#include "reports/collective_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "units/print.hpp"

namespace meshsim {
namespace {

std::string_view name(Direction direction) {
  return direction == Direction::positive ? "positive" : "negative";
}
std::string_view name(NetworkRun::Way way) {
  return way == NetworkRun::Way::loads ? "loads" : "flows";
}
std::string_view name(HalfwayTies ties) {
  return ties == HalfwayTies::one_way ? "one-way" : "split";
}

std::int64_t whole(double bytes) { return std::llround(bytes); }

double per_second(double bytes, Picoseconds time) {
  return time.value() == 0 ? 0 : bytes / seconds(time);
}

double ratio(Picoseconds a, Picoseconds b) { return b.value() == 0 ? 1 : a / b; }

double utilisation(const CollectiveView& view, double bytes, Picoseconds time) {
  return per_second(bytes, time) / view.speed.link.value();
}

std::string way_note(const CollectiveView& view) {
  if (view.run.way == NetworkRun::Way::flows) {
    return view.tolerance == 0
               ? "every flow was simulated, max-min fair"
               : fmt::format("every flow was simulated, max-min fair; ends batched within {}",
                             view.tolerance);
  }
  if (view.by_matrix) {
    return "the time follows from the busiest link: nothing else uses the links, and transfers are "
           "paced in proportion to their bytes (--tolerance 0 shares links equally, flow by flow)";
  }
  return "the time follows from the busiest link of each phase: nothing else uses the links, and "
         "all links of an axis and direction are loaded alike";
}

std::vector<std::string> assumptions(const CollectiveView& view) {
  std::vector<std::string> list{way_note(view)};
  list.push_back("routes are dimension-ordered, axis 0 first, the shortest way around a ring");
  list.insert(list.end(), view.assumptions.begin(), view.assumptions.end());
  return list;
}

Json flow_json(const FlowAccount& flow) {
  return {{"src", flow.src},
          {"dst", flow.dst},
          {"bytes", whole(flow.bytes)},
          {"start_s", seconds(flow.start)},
          {"finish_s", seconds(flow.finish)}};
}

Json link_json(const CollectiveView& view, const LinkAccount& link) {
  Json row = {{"from", link.from},
              {"to", link.to},
              {"axis", link.axis},
              {"direction", name(link.direction)},
              {"bytes", whole(link.bytes)},
              {"busy_ps", link.busy.value()},
              {"utilisation_ratio", utilisation(view, link.bytes, view.run.time)}};
  if (link.bytes_by_collective.empty()) return row;
  Json& by = row["collectives"] = Json::array();
  for (std::size_t i = 0; i < link.bytes_by_collective.size(); ++i) {
    if (link.bytes_by_collective[i] > 0) {
      by.push_back(
          {{"name", view.run.collectives[i]}, {"bytes", whole(link.bytes_by_collective[i])}});
    }
  }
  return row;
}

Json bottleneck_json(const CollectiveView& view) {
  const NetworkRun& run = view.run;
  if (run.links.empty()) return nullptr;
  Json json = link_json(view, run.links[run.bottleneck]);
  Json& flows = json["flows"] = Json::array();
  for (const FlowAccount& flow : run.over_bottleneck)
    flows.push_back({{"src", flow.src}, {"dst", flow.dst}, {"bytes", whole(flow.bytes)}});
  if (run.bottleneck_bytes_by_window.empty()) return json;
  Json& windows = json["utilisation"] = Json::array();
  Picoseconds start;
  for (const double bytes : run.bottleneck_bytes_by_window) {
    const Picoseconds end = std::min(start + run.window, std::max(run.time, start));
    if (end == start) break;
    windows.push_back({{"start_ps", start.value()},
                       {"end_ps", end.value()},
                       {"ratio", utilisation(view, bytes, end - start)}});
    start = end;
  }
  return json;
}

void add_request(const CollectiveView& view, Json& report) {
  if (!view.request) return;
  const CollectiveRequest& request = *view.request;
  report["op"] = name(request.op);
  report["bytes"] = request.bytes.value();
  report["by_matrix"] = view.by_matrix;
  Json axes = Json::array();
  for (const PhysicalPart& part : request.parts) {
    axes.push_back({{"axis", part.axis},
                    {"members", part.part},
                    {"stride", part.stride},
                    {"wraparound", part.wraparound}});
  }
  report["axes"] = std::move(axes);
  report["members"] = members(request);
  report["slices"] = request.slices;
  report["directions"] = request.both_directions ? "both" : "one";
  report["chunks"] = request.chunks;
  if (request.op == CollectiveOp::collective_permute) report["shift"] = request.shift;
}

void add_bandwidths(const CollectiveView& view, Json& report) {
  if (!view.request) return;
  const double rate = per_second(static_cast<double>(view.request->bytes.value()), view.run.time);
  report["algorithm_bandwidth_bytes_per_s"] = rate;
  report["bus_bandwidth_bytes_per_s"] = rate * (view.by_matrix ? 1 : bus_factor(*view.request));
}

std::string link_text(const LinkAccount& link) {
  return fmt::format("{} -> {} (axis {}, {})", link.from, link.to, link.axis, name(link.direction));
}

std::string what(const CollectiveView& view) {
  if (!view.request) return fmt::format("{} flows", view.run.flows.size());
  const CollectiveRequest& request = *view.request;
  std::string groups;
  for (const PhysicalPart& part : request.parts) {
    groups += fmt::format("{}{} of axis {}{} ({})", groups.empty() ? "" : ", ", part.part,
                          part.axis, part.stride > 1 ? fmt::format(", stride {}", part.stride) : "",
                          part.wraparound ? "ring" : "line");
  }
  return fmt::format("{} of {}{}, groups of {}: {}{}", name(request.op), human(request.bytes),
                     view.by_matrix ? " in all (by matrix)" : "", members(request), groups,
                     request.slices > 1 ? fmt::format(", {} slices", request.slices) : "");
}

// The busiest link of each axis and direction.
std::string axis_lines(const CollectiveView& view) {
  std::string text = "\nbusiest link of           bytes         busy  utilisation\n";
  for (std::size_t axis = 0; axis < view.shape.size(); ++axis) {
    for (const Direction direction : {Direction::positive, Direction::negative}) {
      const LinkAccount* most = nullptr;
      for (const LinkAccount& link : view.run.links) {
        if (link.axis == axis && link.direction == direction &&
            (most == nullptr || link.bytes > most->bytes))
          most = &link;
      }
      if (most == nullptr) continue;
      text += fmt::format("  axis {} {}  {:>15}  {:>11}  {:>9.1f} %\n", axis, name(direction),
                          grouped(whole(most->bytes)), human(most->busy),
                          100 * utilisation(view, most->bytes, view.run.time));
    }
  }
  return text;
}

std::string phase_lines(const CollectiveView& view) {
  if (view.run.phases.size() < 2) return {};
  std::string text = "\nphases\n";
  for (const Phase& phase : view.run.phases) {
    text += fmt::format("  {:<32} {:>11}{}\n", phase.name, human(phase.time),
                        phase.repeat > 1 ? fmt::format(" x {}", phase.repeat) : "");
  }
  return text;
}

}  // namespace

Json collective_json(const CollectiveView& view) {
  const NetworkRun& run = view.run;
  Json report = report_head("collective");
  report["version"] = version;
  report["topology"] = view.topology;
  report["shape"] = view.shape;
  report["wraparound"] = view.wraparound;
  add_request(view, report);
  report["ties"] = name(view.ties);
  report["link_bandwidth_bytes_per_s"] = view.speed.link.value();
  report["hop_latency_ps"] = view.speed.hop_latency.value();
  if (view.request && view.request->slices > 1) {
    report["dcn_bandwidth_bytes_per_s"] = view.speed.dcn.value();
    report["dcn_latency_ps"] = view.speed.dcn_latency.value();
  }
  report["way"] = name(run.way);
  if (run.way == NetworkRun::Way::flows) report["tolerance_ratio"] = view.tolerance;
  report["time_ps"] = run.time.value();
  report["closed_form_ps"] = run.closed_form.value();
  report["time_over_closed_form_ratio"] = ratio(run.time, run.closed_form);
  add_bandwidths(view, report);
  report["bottleneck"] = bottleneck_json(view);
  Json phase_rows = Json::array();
  for (const Phase& phase : run.phases) {
    double most = 0;
    for (const AxisLoad& load : phase.ici) most = std::max(most, load.most());
    phase_rows.push_back({{"name", phase.name},
                          {"repeat", phase.repeat},
                          {"time_ps", phase.time.value()},
                          {"busiest_link_bytes", whole(most)},
                          {"dcn_bytes", whole(phase.dcn_bytes)}});
  }
  report["phases"] = std::move(phase_rows);
  Json links = Json::array();
  for (const LinkAccount& link : run.links) links.push_back(link_json(view, link));
  report["links"] = std::move(links);
  if (run.way == NetworkRun::Way::flows) {
    Json flows = Json::array();
    for (const FlowAccount& flow : run.flows) flows.push_back(flow_json(flow));
    report["flows"] = std::move(flows);
    report["makespan_s"] = seconds(run.time);
    report["events"] = run.events;
  }
  report["assumptions"] = assumptions(view);
  report["not_modelled"] = view.not_modelled;
  return report;
}

std::string collective_table(const CollectiveView& view) {
  const NetworkRun& run = view.run;
  std::string text = fmt::format("{}: {}\n\n", printable(view.topology), what(view));
  text += fmt::format("time                  {:>12}  ({} ps, from {})\n", human(run.time),
                      grouped(run.time.value()), name(run.way));
  text += fmt::format("closed form           {:>12}  (time / closed form {:.6f})\n",
                      human(run.closed_form), ratio(run.time, run.closed_form));
  if (view.request) {
    const double rate = per_second(static_cast<double>(view.request->bytes.value()), run.time);
    text += fmt::format("algorithm bandwidth   {:>12}\n", human(BytesPerSecond(rate)));
    if (!view.by_matrix) {
      text += fmt::format("bus bandwidth         {:>12}\n",
                          human(BytesPerSecond(rate * bus_factor(*view.request))));
    }
  }
  text += fmt::format("links                 {:>12}  each way, {} a hop\n", human(view.speed.link),
                      human(view.speed.hop_latency));
  if (!run.links.empty()) {
    const LinkAccount& link = run.links[run.bottleneck];
    text += fmt::format("bottleneck            {}: {} bytes, {:.1f} % used\n", link_text(link),
                        grouped(whole(link.bytes)), 100 * utilisation(view, link.bytes, run.time));
    for (const FlowAccount& flow : run.over_bottleneck) {
      text += fmt::format("  {:>6} -> {:<6} {:>15} bytes\n", flow.src, flow.dst,
                          grouped(whole(flow.bytes)));
    }
    text += axis_lines(view);
  }
  text += phase_lines(view);
  text += "\n";
  for (const std::string& line : assumptions(view)) text += "assumed: " + line + "\n";
  for (const std::string& line : view.not_modelled) text += "not modelled: " + line + "\n";
  return text;
}

}  // namespace meshsim
