#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "reports/device_report.hpp"
#include "reports/plan_report.hpp"
#include "reports/topology_report.hpp"
#include "units/print.hpp"

namespace meshsim {
namespace {

std::string mesh_line(const Plan& plan) {
  std::string text;
  for (const MeshAxis& axis : plan.mesh.axes) {
    if (axis.size() == 1) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : " x ", axis.name, axis.size());
    if (axis.dcn > 1) text += fmt::format(" ({} over DCN)", axis.dcn);
  }
  return text.empty() ? "one device" : text;
}

std::string headline(const Evaluation& evaluation) {
  const Plan& plan = *evaluation.plan;
  std::string text =
      fmt::format("{}: {} sequences of {} tokens a step on {}\n", printable(plan.model.name),
                  plan.training.global_batch, plan.training.sequence_length, mesh_line(plan));
  if (!plan.allowed.empty()) {
    text += fmt::format("HYPOTHETICAL: MaxText refuses this plan; lifted: {}\n",
                        fmt::join(plan.allowed, ", "));
  }
  return text;
}

// Causes in the order of columns: what the TensorCore does, then what it waits for.
std::vector<std::string> causes_of(const Timeline& timeline) {
  std::vector<std::string> causes{"compute", "memory_bound", "contention"};
  for (const TimePart& part : timeline.parts) {
    if (std::find(causes.begin(), causes.end(), part.cause) == causes.end())
      causes.push_back(part.cause);
  }
  return causes;
}

constexpr double gib_bytes = 1024.0 * 1024.0 * 1024.0;

double milliseconds(Picoseconds time) { return static_cast<double>(time.value()) / 1e9; }

// Rows: layer kinds and passes; columns: causes; in milliseconds.
std::string time_table(const Step& step) {
  const Timeline& timeline = step.timeline;
  const std::vector<std::string> causes = causes_of(timeline);
  std::map<std::pair<std::string, Pass>, std::map<std::string, Picoseconds>> rows;
  std::map<std::string, Picoseconds> sums;
  for (const TimePart& part : timeline.parts) {
    rows[{part.layer_kind, part.pass}][part.cause] += part.time;
    sums[part.cause] += part.time;
  }
  constexpr int width = 13;
  std::string text = fmt::format("{:<22}", "ms per step");
  for (const std::string& cause : causes) {
    const std::string shown = cause.starts_with("exposed:") ? cause.substr(8) : cause;
    text += fmt::format("{:>{}}", shown.substr(0, width - 1), width);
  }
  text += fmt::format("{:>{}}\n", "total", width);
  const auto line = [&](const std::string& label, std::map<std::string, Picoseconds>& values) {
    Picoseconds total;
    text += fmt::format("{:<22}", label);
    for (const std::string& cause : causes) {
      total += values[cause];
      text += values[cause].value() == 0
                  ? fmt::format("{:>{}}", "-", width)
                  : fmt::format("{:>{}.2f}", milliseconds(values[cause]), width);
    }
    text += fmt::format("{:>{}.2f}\n", milliseconds(total), width);
  };
  for (auto& [key, values] : rows)
    line(key.first == "optimizer" ? "optimizer" : fmt::format("{} {}", key.first, name(key.second)),
         values);
  line("step", sums);
  return text + "(columns after contention: exposed communication over those mesh axes)\n";
}

// Layers that route alike in one row: by token id, or by scores.
std::string expert_table(const Step& step) {
  if (step.experts.empty()) return "";
  std::string text = fmt::format("{:<20}{:>8}{:>12}{:>12}{:>12}{:>16}\n", "routing", "layers",
                                 "mean skew", "max skew", "dropped", "imbalance ms");
  for (const bool hashed : {true, false}) {
    std::int64_t layers = 0, slots = 0, dropped = 0;
    double skew = 0, most = 0;
    Picoseconds imbalance;
    for (const ExpertLayer& one : step.experts) {
      if (one.hashed != hashed) continue;
      ++layers;
      slots += one.slots;
      dropped += one.dropped;
      skew += one.skew;
      most = std::max(most, one.skew);
      imbalance += one.imbalance;
    }
    if (layers == 0) continue;
    const double lost =
        slots == 0 ? 0 : 100 * static_cast<double>(dropped) / static_cast<double>(slots);
    text += fmt::format("{:<20}{:>8}{:>12.2f}{:>12.2f}{:>10.2f} %{:>16.2f}\n",
                        hashed ? "hash layers" : "top-k layers", layers,
                        skew / static_cast<double>(layers), most, lost, milliseconds(imbalance));
  }
  return text + "(skew: rows of the busiest expert rank over their mean, layer by layer)\n\n";
}

std::string traffic_table(const Step& step) {
  std::size_t width = 20;
  for (const CollectiveTraffic& one : step.traffic) width = std::max(width, one.name.size() + 2);
  std::string text = fmt::format("{:<{}}{:<16}{:<16}{:>8}{:>20}\n", "collective", width,
                                 "mesh axes", "op", "count", "sent per device");
  for (const CollectiveTraffic& one : step.traffic) {
    text += fmt::format("{:<{}}{:<16}{:<16}{:>8}{:>20}\n", one.name, width, one.mesh_axis,
                        name(one.kind), one.count, human(one.sent));
  }
  return text;
}

std::string memory_table(const Evaluation& evaluation) {
  std::string text = fmt::format("{:<30}{:>18}{:>14}\n", "bytes per device", "", "");
  const auto line = [&](const std::string& label, Bytes bytes) {
    if (bytes.value() > 0)
      text += fmt::format("{:<30}{:>18}{:>14}\n", label, grouped(bytes.value()), in_gib(bytes));
  };
  for (const std::string& category : state_categories())
    line("  " + category, evaluation.state.on_device(category));
  line("arguments", evaluation.state.arguments());
  if (evaluation.step) {
    for (const auto& [category, bytes] : evaluation.step->memory.categories)
      line("  " + category, bytes);
    line("temp", evaluation.temp());
    text += fmt::format("  (at the peak: {})\n", evaluation.step->memory.at);
    if (evaluation.xla_temp() > evaluation.temp())
      line("temp, as XLA counts it", evaluation.xla_temp());
  }
  line("output", evaluation.state.output());
  line("alias", evaluation.state.alias());
  line("on the host", evaluation.on_host());
  return text;
}

// The largest allocations, as XLA lists them: temporary buffers, then arrays of the state.
std::string largest(const Evaluation& evaluation) {
  constexpr std::size_t shown = 5;
  struct Allocation {
    Bytes bytes;
    std::string what;
  };
  std::vector<Allocation> all;
  if (evaluation.step) {
    for (const Buffer& buffer : evaluation.step->memory.largest)
      all.push_back({buffer.bytes, fmt::format("{} ({})", buffer.name, buffer.category.text())});
  }
  for (const StateBuffer& buffer : evaluation.state.buffers) {
    if (buffer.on_host) continue;
    const std::int64_t replicas = buffer.replicas(evaluation.plan->mesh);
    all.push_back(
        {buffer.bytes,
         fmt::format("{} ({}) {}[{}] of [{}]{}", buffer.name, buffer.category, name(buffer.dtype),
                     fmt::join(buffer.shard, ","), fmt::join(buffer.shape, ","),
                     replicas > 1 && replicas == evaluation.plan->devices()
                         ? ", whole on every device"
                         : "")});
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Allocation& a, const Allocation& b) { return a.bytes > b.bytes; });
  all.resize(std::min(shown, all.size()));
  std::string text = "largest allocations:\n";
  for (const Allocation& one : all)
    text += fmt::format("  {:>10}  {}\n", in_gib(one.bytes), one.what);
  return text;
}

std::string listed(std::string_view title, const std::vector<std::string>& lines) {
  std::string text = fmt::format("{}:\n", title);
  for (const std::string& line : lines) text += "  " + printable(line) + "\n";
  return text;
}

std::string verdict(const Evaluation& evaluation) {
  std::string text = topology_headline(evaluation.plan->topology) + "\n";
  if (evaluation.step) {
    text += fmt::format("step {} ({}), {:.1f} tokens/s/device, MFU {:.1f} %\n",
                        human(evaluation.step->timeline.total), name(evaluation.fidelity),
                        evaluation.step->tokens_per_s_per_device, 100 * evaluation.step->mfu);
  }
  if (const auto band = evaluation.step_time_interval())
    text += fmt::format("  80 % of measured steps would lie in {:.3g} s to {:.3g} s\n", band->low,
                        band->high);
  const Bytes used = evaluation.peak();
  const Bytes usable = evaluation.hbm_usable();
  switch (evaluation.verdict()) {
    case Verdict::does_not_fit:
      text += fmt::format("DOES NOT FIT: used {} of {} hbm, exceeded by {}\n", in_gib(used),
                          in_gib(usable), in_gib(used - usable));
      break;
    case Verdict::fits:
      text += fmt::format("FITS: used {} of {} hbm, {} free\n", in_gib(used), in_gib(usable),
                          in_gib(usable - used));
      break;
    case Verdict::inconclusive:
      if (evaluation.step) {
        text += fmt::format("INCONCLUSIVE: used {} of {} hbm, within the error of the prediction\n",
                            in_gib(used), in_gib(usable));
        break;
      }
      text += fmt::format(
          "INCONCLUSIVE: the state uses {} of {} hbm; the step's own buffers are not modelled for "
          "this plan\n",
          in_gib(used), in_gib(usable));
      break;
  }
  if (const auto band = evaluation.peak_interval()) {
    text += fmt::format("  80 % of measured peaks would lie in {:.1f} GiB to {:.1f} GiB",
                        band->low / gib_bytes, band->high / gib_bytes);
    if (const auto probability = evaluation.fits_probability())
      text += fmt::format("; it fits with a probability of {:.0f} %", 100 * *probability);
    text += "\n";
    if (evaluation.within_margin() && evaluation.verdict() != Verdict::inconclusive)
      text += "  the limit lies within the error: --strict-margin calls this inconclusive\n";
  }
  return text;
}

// "cheapest fix: remat_policy=full (-18.20 GiB, fits, +6 % step)"
std::string fix_lines(const Evaluation& evaluation, const std::vector<Fix>& fixes) {
  std::string text;
  for (const Fix& fix : fixes) {
    text += fmt::format("{}: {} (-{}, {}", text.empty() ? "cheapest fix" : "        then",
                        fix.change, in_gib(fix.bytes_saved), fix.fits ? "fits" : "still too large");
    if (fix.step_time && evaluation.step) {
      text += fmt::format(", {:+.0f} % step",
                          100 * (*fix.step_time / evaluation.step->timeline.total - 1));
    }
    text += ")\n";
  }
  return text;
}

}  // namespace

std::string plan_table(const Evaluation& evaluation, const std::vector<Fix>& fixes,
                       const std::optional<DeviceClasses>& devices) {
  std::string text = headline(evaluation) + "\n";
  if (evaluation.step)
    text += time_table(*evaluation.step) + "\n" + expert_table(*evaluation.step) +
            (devices ? device_table(*devices, evaluation) : "") + traffic_table(*evaluation.step) +
            "\n";
  text += memory_table(evaluation) + "\n" + largest(evaluation) + "\n";
  text += listed("assumed", evaluation.assumptions);
  text += listed("not modelled", evaluation.not_modelled);
  return text + "\n" + verdict(evaluation) + fix_lines(evaluation, fixes);
}

}  // namespace meshsim
