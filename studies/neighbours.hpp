// Plans next to a plan: the same request with some keys changed.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "plans/resolved_config.hpp"

namespace meshsim {

// key, value; "meshsim.NAME" is a key of the meshsim: block.
using Change = std::vector<std::pair<std::string, std::string>>;

// "attention=flash use_tokamax_splash=true"
std::string change_text(const Change& change);

// `request` with the keys of `change` set on the command line, wherever they were set before.
PlanRequest changed(PlanRequest request, const Change& change);

// `word` for a shell: quoted where it needs to be.
std::string quoted_word(const std::string& word);

// The command line of `request`, to be pasted.
std::string command_of(const PlanRequest& request, const std::string& command);

// command_of(changed(base, change), command) for many changes of one base: what those that set the
// same keys have in common is written once.
class ChangedCommands {
 public:
  // `base` must outlive it.
  ChangedCommands(const PlanRequest& base, std::string command)
      : base_(base), command_(std::move(command)) {}

  std::string of(const Change& change);

 private:
  bool find_common(const Change& change);

  const PlanRequest& base_;
  std::string command_;
  std::vector<std::string> keys_;  // of the change before
  bool common_ = false;            // they are assignments, each set once
  std::string begin_, end_;
};

}  // namespace meshsim
