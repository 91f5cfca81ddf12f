#include "reports/sensitivity_report.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "units/print.hpp"

namespace meshsim {
namespace {

Picoseconds span(Picoseconds a, Picoseconds b, Picoseconds c) {
  return std::max({a, b, c}) - std::min({a, b, c});
}

std::string relative(Picoseconds now, Picoseconds before) {
  return before.value() == 0 ? "" : fmt::format("{:+.2f} %", 100 * (now / before - 1));
}

// A bar from 10 % less to 10 % more, the largest as long as the column.
std::string bar(Picoseconds effect, Picoseconds largest) {
  constexpr double width = 24;
  const auto length =
      largest.value() == 0 ? 0 : static_cast<std::size_t>(width * (effect / largest) + 0.5);
  return std::string(length, '#');
}

}  // namespace

Picoseconds Sensitivity::effect(Picoseconds step) const { return span(less, step, more); }

std::optional<Picoseconds> Sensitivity::uncertainty(Picoseconds step) const {
  if (!interval) return {};
  return span(interval->at_low, step, interval->at_high);
}

std::vector<const Sensitivity*> Sensitivities::to_measure() const {
  std::vector<const Sensitivity*> open;
  for (const Sensitivity& one : all) {
    if (one.uncertainty(step_time).value_or(Picoseconds()).value() > 0) open.push_back(&one);
  }
  std::stable_sort(open.begin(), open.end(), [&](const Sensitivity* a, const Sensitivity* b) {
    return *a->uncertainty(step_time) > *b->uncertainty(step_time);
  });
  return open;
}

Json sensitivity_json(const Sensitivities& found) {
  Json list = Json::array();
  for (const Sensitivity& one : found.all) {
    const std::optional<Picoseconds> uncertainty = one.uncertainty(found.step_time);
    list.push_back(
        {{"name", one.name},
         {"origin", one.origin},
         {"unit", one.unit},
         {"value", one.value},
         {"change_ratio", found.change},
         {"step_time_less_ps", one.less.value()},
         {"step_time_more_ps", one.more.value()},
         {"effect_ps", one.effect(found.step_time).value()},
         {"low", one.interval ? Json(one.interval->low) : Json(nullptr)},
         {"high", one.interval ? Json(one.interval->high) : Json(nullptr)},
         {"step_time_low_ps", one.interval ? Json(one.interval->at_low.value()) : Json(nullptr)},
         {"step_time_high_ps", one.interval ? Json(one.interval->at_high.value()) : Json(nullptr)},
         {"uncertainty_ps", uncertainty ? Json(uncertainty->value()) : Json(nullptr)},
         {"source", one.source}});
  }
  return list;
}

Json measure_json(const Sensitivities& found) {
  Json names = Json::array();
  for (const Sensitivity* one : found.to_measure()) names.push_back(one->name);
  return names;
}

std::string sensitivity_table(const Sensitivities& found) {
  const Picoseconds step = found.step_time;
  const int percent = static_cast<int>(100 * found.change + 0.5);
  std::string text = fmt::format(
      "step {} with one number changed by {} %\n{:<22}{:<13}{:>12} {:<17}{:>10}{:>10}\n",
      human(step), percent, "number", "from", "value", "", fmt::format("{} % less", percent),
      fmt::format("{} % more", percent));
  Picoseconds largest;
  for (const Sensitivity& one : found.all) largest = std::max(largest, one.effect(step));
  std::string idle;
  for (const Sensitivity& one : found.all) {
    if (one.effect(step).value() == 0) {
      idle += (idle.empty() ? "" : ", ") + one.name;
      continue;
    }
    text += fmt::format("{:<22}{:<13}{:>12.4g} {:<17}{:>10}{:>10}  {}\n", one.name, one.origin,
                        one.value, one.unit, relative(one.less, step), relative(one.more, step),
                        bar(one.effect(step), largest));
  }
  if (!idle.empty()) text += "no effect on this plan: " + idle + "\n";
  const std::vector<const Sensitivity*> open = found.to_measure();
  if (open.empty()) return text + "no number of this step states an interval\n";
  constexpr std::size_t shown = 3;
  text += "measure next, by what the number's own interval leaves open:\n";
  for (std::size_t i = 0; i < std::min(shown, open.size()); ++i) {
    const Sensitivity& one = *open[i];
    text += fmt::format("  {}: between {:.4g} and {:.4g} {} the step takes {} to {}\n", one.name,
                        one.interval->low, one.interval->high, one.unit,
                        human(std::min({one.interval->at_low, one.interval->at_high, step})),
                        human(std::max({one.interval->at_low, one.interval->at_high, step})));
  }
  return text;
}

}  // namespace meshsim
