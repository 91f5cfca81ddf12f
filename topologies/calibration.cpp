#include "topologies/calibration.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "inputs/embedded.hpp"
#include "inputs/fields.hpp"
#include "inputs/json.hpp"
#include "inputs/nearest.hpp"
#include "topologies/chip.hpp"

namespace meshsim {

std::span<const EmbeddedFile> embedded_topologies();

namespace {

constexpr std::string_view schema = "https://meshsim.dev/schema/calibration/1";

constexpr std::array<CalibrationName, 10> names{{
    {"matmul", "share", "of the MXU's peak, in large dense products"},
    {"grouped_matmul", "share", "of the MXU's peak, in grouped products; whole tiles are counted"},
    {"softmax_ops", "operations", "of the vector units, per score and pass of an attention kernel"},
    {"attention_grid_step", "seconds", "of one TensorCore, per block of an attention kernel"},
    {"row_gather", "share", "of the sustained HBM rate, when rows are gathered"},
    {"scatter_add", "bytes_per_second", "of a scatter-add of rows"},
    {"sort_step", "seconds", "of one key in one stage of a sorting network"},
    {"hbm", "share", "of the peak HBM bandwidth"},
    {"ici", "share", "of the ICI link bandwidth, in large transfers"},
    {"offloaded_transfer", "share", "of the TensorCore, while the SparseCores move something"},
}};

std::vector<std::string> known_names() {
  std::vector<std::string> all;
  for (const CalibrationName& known : names) all.emplace_back(known.name);
  return all;
}

std::vector<std::string> known_chips() {
  std::vector<std::string> all = chip_names();
  all.emplace_back(any_chip);
  return all;
}

const CalibrationName* find_name(std::string_view name) {
  const auto* found = std::find_if(
      names.begin(), names.end(), [&](const CalibrationName& known) { return known.name == name; });
  return found == names.end() ? nullptr : found;
}

bool is_null(const Node& mapping, std::string_view key) {
  const Node* found = mapping.find(key);
  return found == nullptr || found->kind == Node::Kind::null;
}

Prior prior_of(const Node& node, const std::string& path, Diagnostics& faults) {
  Fields fields(node, path, faults);
  const Prior prior{fields.real("value"), fields.real("log_sigma")};
  fields.finish();
  if (!(prior.value > 0 && prior.log_sigma > 0))
    faults.add({node.where, path, "value and log_sigma must be above 0", {}});
  return prior;
}

CalibrationConstant constant_of(const Node& node, const std::string& path, Diagnostics& faults) {
  Fields fields(node, path, faults);
  CalibrationConstant one;
  one.name = fields.choice("name", known_names());
  one.unit = fields.text("unit");
  one.chip = fields.choice("chip", known_chips());
  one.value = fields.real("value");
  one.low = fields.real("low");
  one.high = fields.real("high");
  one.source = fields.text("source");
  for (const char* optional : {"prior", "fitted_rows", "residual_ratio"}) fields.ignore(optional);
  if (!is_null(node, "prior")) one.prior = prior_of(*node.find("prior"), path + ".prior", faults);
  if (!is_null(node, "fitted_rows")) {
    for (const Node& id : node.find("fitted_rows")->items) one.fitted_rows.push_back(id.text);
  }
  if (!is_null(node, "residual_ratio")) one.residual_ratio = fields.real("residual_ratio");
  fields.finish();
  const CalibrationName* known = find_name(one.name);
  if (known == nullptr) return one;
  if (one.unit != known->unit) {
    faults.add({node.where,
                path + ".unit",
                fmt::format("must be {} (got {})", known->unit, in_quotes(one.unit)),
                {}});
  }
  if (!(0 < one.low && one.low <= one.value && one.value <= one.high)) {
    faults.add({node.where, path, "must have 0 < low <= value <= high", {}});
  }
  if (one.unit == "share" && one.value > 1) {
    faults.add({node.where, path + ".value", "a share lies in (0, 1]", {}});
  }
  return one;
}

std::vector<CalibrationResidual> residuals_of(const Node& list, const std::string& path,
                                              Diagnostics& faults) {
  std::vector<CalibrationResidual> all;
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    Fields fields(list.items[i], fmt::format("{}[{}]", path, i), faults);
    CalibrationResidual one{fields.text("id"), fields.text("family"), fields.real("error_ratio"),
                            fields.real("left_out_error_ratio"),
                            fields.real("model_left_out_error_ratio")};
    fields.finish();
    if (!(one.error > -1 && one.left_out > -1 && one.model_left_out > -1)) {
      faults.add({list.items[i].where,
                  fmt::format("{}[{}]", path, i),
                  "a prediction is positive: its error lies above -1",
                  {}});
    }
    all.push_back(std::move(one));
  }
  return all;
}

// Every name for any chip, and none twice for one.
void check_complete(const Calibration& all, const Node& list, Diagnostics& faults) {
  for (const CalibrationName& known : names) {
    const auto is_general = [&](const CalibrationConstant& one) {
      return one.name == known.name && one.chip == any_chip;
    };
    if (std::none_of(all.constants.begin(), all.constants.end(), is_general)) {
      faults.add({list.where,
                  "constants",
                  fmt::format("{} for chip {} is missing: {}", known.name, any_chip, known.meaning),
                  {}});
    }
  }
  for (auto one = all.constants.begin(); one != all.constants.end(); ++one) {
    const auto is_same = [&](const CalibrationConstant& other) {
      return other.name == one->name && other.chip == one->chip;
    };
    if (std::any_of(all.constants.begin(), one, is_same)) {
      faults.add({list.where,
                  "constants",
                  fmt::format("{} stands twice for chip {}", one->name, one->chip),
                  {}});
    }
  }
}

}  // namespace

std::span<const CalibrationName> calibration_names() { return names; }

const CalibrationConstant& Calibration::at(std::string_view name, std::string_view chip) const {
  const CalibrationConstant* general = nullptr;
  for (const CalibrationConstant& one : constants) {
    if (one.name != name) continue;
    if (one.chip == chip) return one;
    if (one.chip == any_chip) general = &one;
  }
  if (general == nullptr) throw std::logic_error(fmt::format("no constant is called {}", name));
  return *general;
}

Calibration parse_calibration(const Source& file) {
  const Node root = parse_json(file);
  Diagnostics faults;
  Fields fields(root, "", faults);
  const std::string found = fields.text("$schema");
  if (found != schema) {
    faults.add(
        {root.where, "$schema", fmt::format("must be {} (got {})", schema, in_quotes(found)), {}});
  }
  for (const char* other : {"format_version", "kind", "provenance", "fit"}) fields.ignore(other);
  const Node* constants = fields.node("constants");
  const Node* step_time = fields.node("step_time");
  const Node* peak = fields.node("peak");
  fields.finish();
  faults.throw_if_any();
  Calibration all;
  all.file = file;
  for (std::size_t i = 0; i < constants->items.size(); ++i) {
    all.constants.push_back(
        constant_of(constants->items[i], fmt::format("constants[{}]", i), faults));
  }
  all.step_time = residuals_of(*step_time, "step_time", faults);
  all.peak = residuals_of(*peak, "peak", faults);
  faults.throw_if_any();
  check_complete(all, *constants, faults);
  faults.throw_if_any();
  return all;
}

std::shared_ptr<const Calibration> builtin_calibration() {
  static const std::shared_ptr<const Calibration> calibration = [] {
    for (const EmbeddedFile& file : embedded_topologies()) {
      if (file.path.ends_with("calibration.json"))
        return std::make_shared<const Calibration>(
            parse_calibration({std::string(file.path), std::string(file.text)}));
    }
    throw std::logic_error("no calibration is built in");
  }();
  return calibration;
}

}  // namespace meshsim
