#include "reports/device_report.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "units/print.hpp"

namespace meshsim {
namespace {

// One figure of all classes: the least, the mean and the most of it, and the first class with most.
struct Spread {
  std::string quantity;
  std::string mesh_axes;  // of a link: whose collectives cross it
  Picoseconds least, mean, most;
  std::size_t most_on = 0;
};

template <class Of>
Spread spread_of(const DeviceClasses& devices, std::string quantity, const Of& of) {
  Spread spread{std::move(quantity), "", of(0), {}, of(0), 0};
  const std::size_t classes = devices.step.classes.size();
  // The mean of what exceeds the least, so that nothing overflows.
  double excess = 0;
  for (std::size_t d = 0; d < classes; ++d) spread.least = std::min(spread.least, of(d));
  for (std::size_t d = 0; d < classes; ++d) {
    const Picoseconds time = of(d);
    excess += static_cast<double>((time - spread.least).value());
    if (time <= spread.most) continue;
    spread.most = time;
    spread.most_on = d;
  }
  spread.mean =
      spread.least + Picoseconds(static_cast<std::int64_t>(excess / static_cast<double>(classes)));
  return spread;
}

// The resources that the step uses at all, links last.
std::vector<Resource> used(const DeviceClasses& devices) {
  std::vector<Resource> all;
  for (const Resource resource : {tensor_core, sparse_core, hbm, ici_0, ici_1, ici_2, ici_3, dcn}) {
    for (std::size_t d = 0; d < devices.step.classes.size(); ++d) {
      if (devices.busy(d, resource).value() == 0) continue;
      all.push_back(resource);
      break;
    }
  }
  return all;
}

std::vector<Spread> spreads(const DeviceClasses& devices) {
  const std::vector<DeviceStep::Device>& classes = devices.step.classes;
  std::vector<Spread> all{
      spread_of(devices, "end", [&](std::size_t d) { return classes[d].end; }),
      spread_of(devices, "experts", [&](std::size_t d) { return classes[d].experts; }),
      spread_of(devices, "waited", [&](std::size_t d) { return classes[d].waited; })};
  for (const Resource resource : used(devices)) {
    all.push_back(spread_of(devices, std::string(name(resource)),
                            [&](std::size_t d) { return devices.busy(d, resource); }));
    all.back().mesh_axes = fmt::format("{}", fmt::join(devices.crossed_by[resource], ", "));
  }
  return all;
}

std::string_view name(DeviceDetail detail) { return detail == DeviceDetail::all ? "all" : "ranks"; }

std::size_t slowest(const DeviceClasses& devices) {
  const auto least_waited = [](const DeviceStep::Device& a, const DeviceStep::Device& b) {
    return a.end != b.end ? a.end > b.end : a.waited < b.waited;
  };
  const auto& classes = devices.step.classes;
  return static_cast<std::size_t>(std::min_element(classes.begin(), classes.end(), least_waited) -
                                  classes.begin());
}

// "+0.07"; of what rounds to nothing no sign but that.
std::string signed_percent(double ratio) {
  const double hundredths = std::round(1e4 * ratio);
  return fmt::format("{:+.2f}", hundredths == 0 ? 0.0 : hundredths / 100);
}

std::string label(const Spread& spread) {
  if (spread.quantity == "end") return "end of the step";
  if (spread.quantity == "experts") return "operations of its experts";
  if (spread.quantity == "waited") return "waited for others";
  if (spread.mesh_axes.empty()) return spread.quantity + " busy";
  return fmt::format("{} busy ({})", spread.quantity, spread.mesh_axes);
}

}  // namespace

void add_devices(const DeviceClasses& devices, const Evaluation& evaluation, Json& report) {
  report["device_step"] = {{"detail", name(devices.detail)},
                           {"classes", devices.grid.classes()},
                           {"devices_per_class", devices.devices_each},
                           {"step_time_ps", devices.step.total.value()},
                           {"slowest", devices.place(slowest(devices))}};
  Json spread = Json::array();
  for (const Spread& one : spreads(devices)) {
    spread.push_back({{"quantity", one.quantity},
                      {"mesh_axes", one.mesh_axes},
                      {"least_ps", one.least.value()},
                      {"mean_ps", one.mean.value()},
                      {"most_ps", one.most.value()},
                      {"most_on", devices.place(one.most_on)}});
  }
  report["device_spread"] = spread;
  const std::vector<Resource> resources = used(devices);
  Json classes = Json::array();
  for (std::size_t d = 0; d < devices.step.classes.size(); ++d) {
    const DeviceStep::Device& device = devices.step.classes[d];
    Json& entry = classes.emplace_back(Json{{"device_class", devices.place(d)},
                                            {"devices", devices.devices_each},
                                            {"end_ps", device.end.value()},
                                            {"experts_ps", device.experts.value()},
                                            {"waited_ps", device.waited.value()}});
    for (const Resource resource : resources)
      entry[fmt::format("{}_ps", name(resource))] = devices.busy(d, resource).value();
    entry["peak_bytes"] = evaluation.peak().value();
  }
  report["device_classes"] = classes;
}

std::string device_table(const DeviceClasses& devices, const Evaluation& evaluation) {
  const bool all = devices.detail == DeviceDetail::all;
  const Picoseconds headline = evaluation.step->timeline.total;
  std::string text = fmt::format("{:<34}{:>12}{:>12}{:>12}  {}\n", "ms per device", "least", "mean",
                                 "most", "most on");
  const auto ms = [](Picoseconds time) { return static_cast<double>(time.value()) / 1e9; };
  for (const Spread& one : spreads(devices)) {
    text += fmt::format("{:<34}{:>12.2f}{:>12.2f}{:>12.2f}  {}\n", label(one), ms(one.least),
                        ms(one.mean), ms(one.most),
                        one.least == one.most ? "all alike" : devices.place(one.most_on));
  }
  text += fmt::format(
      "({}, {} each: {}; memory peaks alike on all, since buffers do not follow the "
      "routing)\n",
      devices.grid.classes() == 1 ? "one class" : fmt::format("{} classes", devices.grid.classes()),
      devices.devices_each == 1 ? "one device" : fmt::format("{} devices", devices.devices_each),
      all ? "every expert-parallel group routes tokens of its own"
          : "the ranks of an expert-parallel group, all groups alike");
  text += fmt::format(
      "each at its own speed they take {}, {} % against the step below, which adds up the "
      "slowest rank of every exchange{}\n\n",
      human(devices.step.total), signed_percent(devices.step.total / headline - 1),
      all ? " of one group" : "");
  return text;
}

}  // namespace meshsim
