#include "plans/config_files.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>

#include "inputs/source.hpp"
#include "inputs/yaml.hpp"

namespace meshsim {
namespace {

namespace fs = std::filesystem;

bool stands_for_defaults(const std::string& path) {
  std::error_code ignored;
  return path.ends_with("base.yml") && !fs::exists(path, ignored);
}

// A file with no keys at all is an empty plan.
Node read_mapping(const std::string& path) {
  Node root = parse_yaml(read_source(path));
  if (root.kind == Node::Kind::null) root.kind = Node::Kind::mapping;
  if (root.kind != Node::Kind::mapping) {
    throw Error(
        ErrorKind::invalid_input,
        Diagnostic{root.where,
                   {},
                   fmt::format("a plan file is a mapping of keys (got {})", described(root)),
                   {}});
  }
  return root;
}

Node read_base(const std::string& path, const Location& named_at,
               const std::vector<std::string>& chain) {
  try {
    return read_mapping(path);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::io) throw;
    throw Error(ErrorKind::invalid_input,
                Diagnostic{named_at, "base_config", fmt::format("{} cannot be read", path),
                           fmt::format("the chain is {} -> {}", fmt::join(chain, " -> "), path)});
  }
}

}  // namespace

std::string relative_to(const std::string& from, const std::string& name) {
  if (name == "-" || fs::path(name).is_absolute()) return name;
  return (fs::path(from).parent_path() / name).lexically_normal().string();
}

ConfigFiles read_config_files(const std::string& path) {
  ConfigFiles result;
  std::vector<std::string> chain;
  std::string next = path;
  Location named_at;
  while (true) {
    if (stands_for_defaults(next)) {
      result.notes.push_back(fmt::format(
          "{} was not found: MaxText's built-in defaults (August 2026) stand for it", next));
      break;
    }
    if (std::find(chain.begin(), chain.end(), next) != chain.end()) {
      throw Error(ErrorKind::invalid_input,
                  Diagnostic{named_at, "base_config", "the files include each other",
                             fmt::format("the chain is {} -> {}", fmt::join(chain, " -> "), next)});
    }
    result.files.push_back(chain.empty() ? read_mapping(next) : read_base(next, named_at, chain));
    chain.push_back(next);
    const Node* base = result.files.back().find("base_config");
    if (base == nullptr || base->kind == Node::Kind::null) break;
    if (base->kind != Node::Kind::scalar) {
      throw Error(ErrorKind::invalid_input,
                  Diagnostic{base->where,
                             "base_config",
                             fmt::format("must be the path of a file (got {})", described(*base)),
                             {}});
    }
    if (base->text.empty() || base->text == "None") break;
    named_at = base->where;
    next = relative_to(next, base->text);
  }
  std::reverse(result.files.begin(), result.files.end());
  return result;
}

}  // namespace meshsim
