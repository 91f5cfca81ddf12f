#include "cli/plan_options.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <string_view>

#include "cli/output_options.hpp"
#include "inputs/source.hpp"

namespace meshsim {
namespace {

Node flag_value(const std::string& text, const char* flag) {
  Node node;
  node.kind = Node::Kind::scalar;
  node.text = text;
  node.where = {fmt::format("<command line> {}", flag)};
  return node;
}

Node list_of(const std::vector<std::string>& texts, const char* flag) {
  Node list;
  list.kind = Node::Kind::sequence;
  list.where = {fmt::format("<command line> {}", flag)};
  for (const std::string& text : texts) list.items.push_back(flag_value(text, flag));
  return list;
}

Node features(const std::vector<std::string>& assignments, const char* flag) {
  Node mapping;
  mapping.kind = Node::Kind::mapping;
  mapping.where = {fmt::format("<command line> {}", flag)};
  for (const std::string& assignment : assignments) {
    const std::size_t equals = assignment.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == assignment.size()) {
      throw Error(
          ErrorKind::invalid_input,
          Diagnostic{
              mapping.where, {}, fmt::format("{} is not name=value", in_quotes(assignment)), {}});
    }
    check_text({mapping.where.file, assignment});
    const std::string name = assignment.substr(0, equals);
    if (mapping.find(name) != nullptr) {
      throw Error(ErrorKind::invalid_input, Diagnostic{mapping.where, name, "is given twice", {}});
    }
    mapping.members.push_back(
        {name, mapping.where, flag_value(assignment.substr(equals + 1), flag)});
  }
  return mapping;
}

}  // namespace

std::map<std::string, std::string> maxtext_environment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::size_t equals = text.find('=');
    if (!text.starts_with("M_") || equals == std::string_view::npos) continue;
    variables.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

PlanRequest PlanOptions::request() const {
  PlanRequest request;
  request.environment = maxtext_environment();
  request.hf_config = hf_config;
  request.assignments = words;
  if (!words.empty() && !words.front().empty() && words.front().find('=') == std::string::npos) {
    request.config_file = words.front();
    request.assignments.erase(request.assignments.begin());
  }
  const auto put = [&](const char* key, const char* flag, const std::string& text) {
    if (!text.empty()) request.own[key] = flag_value(text, flag);
  };
  put("slice_shape", "--slice-shape", slice_shape);
  put("routing", "--routing", routing);
  put("hash_table", "--hash-table", hash_table);
  put("token_law", "--token-law", token_law);
  put("overlap", "--overlap", overlap);
  put("calibration", "--calibration", calibration);
  if (!software.empty()) request.own["software"] = features(software, "--software");
  if (!moe_block.empty()) request.own["moe_block"] = features(moe_block, "--moe-block");
  if (!allow.empty()) request.own["allow"] = list_of(allow, "--allow");
  return request;
}

std::shared_ptr<PlanOptions> add_plan_options(CLI::App& command) {
  auto options = std::make_shared<PlanOptions>();
  command.add_option("plan", options->words, "a MaxText config file (optional), then key=value")
      ->type_name("[FILE] KEY=VALUE...");
  command.add_option("--slice-shape", options->slice_shape, "the physical torus, e.g. 4x8x8")
      ->type_name("SHAPE");
  command.add_option("--software", options->software, "a feature of the run's XLA settings")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  command
      .add_option("--moe-block", options->moe_block,
                  "one MoE layer alone: dispatch_variant, shared_expert_mlp_dim")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false);
  command
      .add_option("--routing", options->routing, "balanced, lognormal:sigma=S,seed=N or trace:FILE")
      ->type_name("LAW");
  command
      .add_option("--hash-table", options->hash_table,
                  "of hash-routed layers: zeros, random, md5 or a file")
      ->type_name("TABLE");
  command.add_option("--token-law", options->token_law, "uniform, zipf:s=S,q=Q or histogram:FILE")
      ->type_name("LAW");
  command
      .add_option("--overlap", options->overlap,
                  "transfers beside work: xla (default), or a bound: none, ideal")
      ->type_name("BOUND");
  command
      .add_option(
          "--calibration", options->calibration,
          "what chips reach of their sheets, schema calibration/1; default: a fit to public runs")
      ->type_name("FILE");
  command.add_option("--allow", options->allow, "lift refusals of MaxText for a what-if")
      ->type_name("ID[,ID]")
      ->delimiter(',')
      ->allow_extra_args(false);
  command.add_option("--hf", options->hf_config, "the model is a Hugging Face config.json")
      ->type_name("FILE");
  for (CLI::Option* option : command.get_options()) {
    if (!option->get_positional()) option->check(not_empty());
  }
  return options;
}

}  // namespace meshsim
