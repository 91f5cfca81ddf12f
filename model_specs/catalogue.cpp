#include "model_specs/catalogue.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "inputs/embedded.hpp"
#include "inputs/fields.hpp"
#include "inputs/nearest.hpp"
#include "inputs/yaml.hpp"

namespace meshsim {

std::span<const EmbeddedFile> embedded_model_specs();

namespace {

constexpr std::string_view folder = "model_specs/models/";
constexpr std::string_view suffix = ".yml";

std::string name_of(const EmbeddedFile& file) {
  return std::string(
      file.path.substr(folder.size(), file.path.size() - folder.size() - suffix.size()));
}

}  // namespace

const std::vector<std::string>& model_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const EmbeddedFile& file : embedded_model_specs()) all.push_back(name_of(file));
    std::sort(all.begin(), all.end());
    return all;
  }();
  return names;
}

ModelSource parse_model(const Source& file) {
  const Node root = parse_yaml(file);
  Diagnostics faults;
  Fields fields(root, "", faults);
  ModelSource model;
  model.name = fields.text("name");
  model.source = fields.text("source");
  if (fields.has("alias")) model.alias = fields.text("alias");
  if (fields.has("notes")) model.notes = fields.text("notes");
  if (const Node* maxtext = fields.node("maxtext")) model.maxtext = *maxtext;
  if (fields.has("meshsim")) {
    model.meshsim = *fields.node("meshsim");
  } else {
    model.meshsim.kind = Node::Kind::mapping;
    model.meshsim.where = root.where;
  }
  fields.finish();
  faults.throw_if_any();
  return model;
}

ModelSource find_model(std::string_view name) {
  check_name(name, "a model name");
  for (const EmbeddedFile& file : embedded_model_specs()) {
    if (name_of(file) == name) return parse_model({std::string(file.path), std::string(file.text)});
  }
  throw Error(ErrorKind::invalid_input, Diagnostic{{},
                                                   "model_name",
                                                   fmt::format("no model is called '{}'", name),
                                                   did_you_mean(name, model_names())});
}

}  // namespace meshsim
