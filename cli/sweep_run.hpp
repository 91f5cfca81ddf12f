// What sweep and search share: their options, and walking a space with them.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "cli/output_options.hpp"
#include "studies/sweep/space.hpp"

namespace CLI {
class App;
}

namespace meshsim {

struct SweepWords {
  std::string threads = "0", top = "10", progress = "auto", probability = "0.95";
  std::string store;
  std::string refine = "0", refine_routing;
  bool resume = false;
  // Goodput and prices; "": not asked for
  std::string mtbf_per_chip, checkpoint_time, checkpoint_interval, restart_time, repair_time;
  std::string spare_slices, price_per_chip_hour;

  std::shared_ptr<OutputOptions> output;
  std::shared_ptr<std::string> fidelity;
};

std::shared_ptr<SweepWords> add_sweep_words(CLI::App& command);

// What is asked for: a space, and the command line that asked, to be shown with --resume when the
// walk is interrupted.
struct SweepRequest {
  SweepSpace space;
  std::string command;
  bool list_plans = false;
};

// Walks the space and writes its report, on all ranks that were launched. Returns the exit code.
int run_space(const SweepWords& words, const std::function<SweepRequest()>& read);

}  // namespace meshsim
