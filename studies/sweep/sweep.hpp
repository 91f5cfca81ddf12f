// Walks the plans of a space, on several threads, and gives their rows in the order of the plans.
//
// Blocks of plans flow through a pipeline: taken from the enumeration one after the other,
// evaluated and written as text by whichever thread is free, handed on in order. So memory holds a
// few blocks whatever the number of plans, and what is handed on does not depend on the number of
// threads.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "reports/sweep_report.hpp"
#include "sim/evaluator.hpp"
#include "studies/sweep/enumeration.hpp"
#include "studies/sweep/space.hpp"

namespace meshsim {

// Looks at one plan, a change of the base; each thread has its own.
class PlanJudge {
 public:
  virtual ~PlanJudge() = default;
  struct Judgement {
    SweepOutcome outcome;
    std::string plan_hash;
  };
  // What it throws makes the plan a failed one, but for std::bad_alloc, which ends the sweep.
  virtual Judgement judge(const Change& change) = 0;
};

// The judge of simulate and fit: what they would say of the plan.
std::unique_ptr<PlanJudge> make_judge(const SweepSpace& space, Fidelity fidelity);

struct SweepOptions {
  Fidelity fidelity = Fidelity::closed_form;
  int threads = 1;
  std::size_t top = 10;
  SweepForm form = SweepForm::table;
};

struct SweepProgress {
  std::int64_t done = 0;
  std::int64_t total = 0;
  const SweepRow* best = nullptr;  // by tokens per chip-hour; nullptr: none fits yet
};

// What happens around a sweep. Called by one thread at a time.
struct SweepHooks {
  std::function<void(std::string_view)> write;              // the next bytes of the report
  std::function<bool()> stop = [] { return false; };        // whether to end early
  std::function<void(const SweepProgress&)> progress = {};  // after each block, if set
  std::function<std::unique_ptr<PlanJudge>()> judge = {};   // default: make_judge
};

struct SweepResult {
  SweepSummary summary;
  bool interrupted = false;  // by hooks.stop: the report is not complete
};

// Throws Error as Enumeration does, and what hooks.write throws.
SweepResult run_sweep(const SweepSpace& space, const SweepOptions& options,
                      const SweepHooks& hooks);

}  // namespace meshsim
