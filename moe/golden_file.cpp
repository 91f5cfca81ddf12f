#include "moe/golden_file.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "inputs/fields.hpp"
#include "inputs/json.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

[[noreturn]] void refuse(const Location& where, std::string key, std::string what,
                         std::string hint = {}) {
  throw Error(ErrorKind::invalid_input,
              Diagnostic{where, std::move(key), std::move(what), std::move(hint)});
}

double element(const Node& node, bool integral, const std::string& path) {
  const bool number = node.kind == Node::Kind::scalar && !node.quoted;
  if (integral && number) {
    const Parsed<std::int64_t> value = parse_integer(node.text);
    if (value) return static_cast<double>(value.value());
  }
  float value = 0;
  const char* const end = node.text.data() + node.text.size();
  if (!integral && number) {
    const auto [stop, error] = std::from_chars(node.text.data(), end, value);
    if (error == std::errc() && stop == end && std::isfinite(value)) return value;
  }
  refuse(node.where, path,
         fmt::format("must be {} (got {})", integral ? "an integer" : "a finite float32",
                     described(node)));
}

GoldenTensor parse_tensor(const Node& node, const std::string& path) {
  static const std::vector<std::string> types{"f32", "i32", "i64", "bool"};
  Diagnostics faults;
  Fields fields(node, path, faults);
  GoldenTensor tensor;
  tensor.where = node.where;
  tensor.shape = fields.integers("shape");
  tensor.integral = fields.choice("dtype", types) != "f32";
  const Node* const data = fields.node("data");
  fields.finish();
  faults.throw_if_any();
  if (data->kind != Node::Kind::sequence)
    refuse(data->where, path + ".data", "must be a list of numbers");
  const std::int64_t count = element_count(tensor.shape);
  if (static_cast<std::int64_t>(data->items.size()) != count)
    refuse(data->where, path + ".data",
           fmt::format("must have {} elements for the shape {} (got {})", count,
                       to_string(tensor.shape), data->items.size()));
  tensor.data.reserve(data->items.size());
  for (const Node& item : data->items)
    tensor.data.push_back(element(item, tensor.integral, path + ".data"));
  return tensor;
}

std::map<std::string, GoldenTensor> parse_tensors(const Node* node, const std::string& path) {
  std::map<std::string, GoldenTensor> tensors;
  if (node->kind != Node::Kind::mapping) refuse(node->where, path, "must be a mapping of tensors");
  for (const Member& member : node->members)
    tensors.emplace(member.key, parse_tensor(member.value, path + "." + member.key));
  return tensors;
}

bool matches(const Shape& shape, const Shape& wanted) {
  if (shape.size() != wanted.size()) return false;
  for (std::size_t i = 0; i < shape.size(); ++i)
    if (wanted[i] != -1 && shape[i] != wanted[i]) return false;
  return true;
}

// Python writes NaN and Infinity, which JSON does not have. In quotes they become values that are
// refused under the name of their tensor.
std::string with_quoted_names(const std::string& text) {
  std::string result;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (in_string && text[i] == '\\') {
      result += text.substr(i++, 2);
      continue;
    }
    if (text[i] == '"') in_string = !in_string;
    std::string name;
    for (const char* each : {"-Infinity", "Infinity", "NaN"})
      if (!in_string && name.empty() && text.compare(i, std::string(each).size(), each) == 0)
        name = each;
    if (name.empty()) {
      result += text[i];
    } else {
      result += '"' + name + '"';
      i += name.size() - 1;
    }
  }
  return result;
}

}  // namespace

GoldenCase::GoldenCase(const Node& node, std::string path)
    : path_(std::move(path)), where_(node.where) {
  Diagnostics faults;
  Fields fields(node, path_, faults);
  name = fields.text("name");
  const Node* const config = fields.node("config");
  const Node* const input_tensors = fields.node("inputs");
  const Node* const expected_tensors = fields.node("expected");
  fields.ignore("clamp_fraction");
  fields.ignore("f32_err");
  fields.finish();
  faults.throw_if_any();
  config_ = *config;
  inputs = parse_tensors(input_tensors, path_ + ".inputs");
  expected = parse_tensors(expected_tensors, path_ + ".expected");
}

bool GoldenCase::configures(const std::string& key) const { return config_.find(key) != nullptr; }

const Node& GoldenCase::configured(const std::string& key) const {
  const Node* const found = config_.find(key);
  if (found == nullptr) refuse(config_.where, path_ + ".config." + key, "is missing");
  return *found;
}

std::int64_t GoldenCase::integer(const std::string& key) const {
  const Node& node = configured(key);
  const Parsed<std::int64_t> value = parse_integer(node.text);
  if (!value) refuse(node.where, path_ + ".config." + key, value.why());
  return value.value();
}

double GoldenCase::real(const std::string& key) const {
  const Node& node = configured(key);
  const Parsed<double> value = parse_real(node.text);
  if (!value) refuse(node.where, path_ + ".config." + key, value.why());
  return value.value();
}

std::string GoldenCase::text(const std::string& key) const { return configured(key).text; }

const GoldenTensor& GoldenCase::input(const std::string& key, const Shape& shape,
                                      bool integral) const {
  const std::string path = path_ + ".inputs." + key;
  const auto found = inputs.find(key);
  if (found == inputs.end()) refuse(where_, path, "is missing");
  const GoldenTensor& tensor = found->second;
  if (tensor.integral != integral)
    refuse(tensor.where, path, integral ? "must hold integers" : "must hold f32");
  if (!matches(tensor.shape, shape))
    refuse(
        tensor.where, path,
        fmt::format("must have the shape {} (got {})", to_string(shape), to_string(tensor.shape)),
        "-1 stands for any size");
  return tensor;
}

Tensor<float> GoldenCase::tensor(const std::string& key, const Shape& shape) const {
  const GoldenTensor& found = input(key, shape, false);
  Tensor<float> result(found.shape);
  for (std::size_t i = 0; i < found.data.size(); ++i)
    result.data()[i] = static_cast<float>(found.data[i]);
  return result;
}

std::vector<std::int64_t> GoldenCase::integers(const std::string& key, const Shape& shape) const {
  const GoldenTensor& found = input(key, shape, true);
  std::vector<std::int64_t> result;
  for (const double value : found.data) result.push_back(static_cast<std::int64_t>(value));
  return result;
}

std::vector<ExpertId> GoldenCase::ids(const std::string& key, const Shape& shape) const {
  const GoldenTensor& found = input(key, shape, true);
  std::vector<ExpertId> result;
  for (const double value : found.data) {
    if (value < -1 || value > 1e9)
      refuse(found.where, path_ + ".inputs." + key, fmt::format("{} is no expert", value));
    result.push_back(static_cast<ExpertId>(value));
  }
  return result;
}

GoldenFile parse_golden_file(const Source& source) {
  static const std::vector<std::string> schemas{"moe-golden/1"};
  const Node root =
      parse_long_json({source.name, with_quoted_names(source.text)}, max_golden_values);
  Diagnostics faults;
  Fields fields(root, "", faults);
  GoldenFile file;
  fields.choice("schema", schemas);
  file.behaviour = fields.text("behaviour");
  fields.ignore("provenance");
  fields.ignore("notes");
  file.atol = fields.real("atol");
  file.rtol = fields.real("rtol");
  const Node* const cases = fields.node("cases");
  fields.finish();
  faults.throw_if_any();
  if (!(file.atol >= 0) || !(file.rtol >= 0))
    refuse(root.where, "atol", "tolerances must not be negative");
  if (cases->kind != Node::Kind::sequence || cases->items.empty())
    refuse(cases->where, "cases", "must be a list of at least one case");
  file.where = root.find("behaviour")->where;
  for (std::size_t i = 0; i < cases->items.size(); ++i)
    file.cases.emplace_back(cases->items[i], fmt::format("cases[{}]", i));
  return file;
}

}  // namespace meshsim
