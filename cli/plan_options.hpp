// A plan on the command line: an optional config file, key=value, and the flags for what MaxText
// has no key for.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "plans/resolved_config.hpp"

namespace CLI {
class App;
}

namespace meshsim {

struct PlanOptions {
  std::vector<std::string> words;  // the config file, if the first word has no '=', then key=value
  std::string hf_config;
  std::string slice_shape, routing, hash_table, token_law, calibration, overlap;
  std::vector<std::string> software;   // name=value
  std::vector<std::string> moe_block;  // name=value
  std::vector<std::string> allow;      // ids, comma-separated

  PlanRequest request() const;
};

// MaxText takes any key as M_<KEY> from the environment.
std::map<std::string, std::string> maxtext_environment();

std::shared_ptr<PlanOptions> add_plan_options(CLI::App& command);

}  // namespace meshsim
