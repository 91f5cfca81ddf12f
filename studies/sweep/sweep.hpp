// Walks the plans of a space, on several threads, and gives their rows in the order of the plans.
//
// Blocks of plans flow through a pipeline: taken from the enumeration one after the other,
// evaluated and written as text by whichever thread is free, handed on in order. So memory holds a
// few blocks whatever the number of plans, and what is handed on does not depend on the number of
// threads, nor on how much of it a store knew before or other ranks judged (ranks.hpp).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "reports/sweep_report.hpp"
#include "sim/evaluator.hpp"
#include "studies/goodput.hpp"
#include "studies/sweep/enumeration.hpp"
#include "studies/sweep/judgement.hpp"
#include "studies/sweep/ranks.hpp"
#include "studies/sweep/space.hpp"
#include "studies/sweep/store.hpp"

namespace meshsim {

// Looks at one plan, a change of the base; each thread has its own.
class PlanJudge {
 public:
  virtual ~PlanJudge() = default;
  // What it throws makes the plan a failed one, but for std::bad_alloc, which ends the sweep.
  virtual Judgement judge(const Change& change) = 0;
};

// The judge of simulate and fit: what they would say of the plan. Of one whose state and batch
// alone exceed the HBM it says no more than that: such plans are neither lowered nor priced.
std::unique_ptr<PlanJudge> make_judge(const SweepSpace& space, Fidelity fidelity);

struct SweepOptions {
  Fidelity fidelity = Fidelity::closed_form;
  int threads = 1;
  std::size_t top = 10;
  SweepForm form = SweepForm::table;
  double probability = 0.95;   // that the fastest plan and that on the smallest slice fit
  bool list_plans = false;     // in the table too
  std::size_t refine = 0;      // so many of the best are run again in the event engine,
  std::string refine_routing;  // under this routing law instead of the plans' own, if it is named
  std::optional<Reliability> reliability;     // goodput of every plan
  std::optional<double> price_per_chip_hour;  // cost of its tokens
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
  // What it holds is not judged again, and what is judged is put into it. nullptr: no store.
  SweepStore* store = nullptr;
  // Whoever walks the same space. Only the first of them writes, shows progress and has a store.
  SweepRanks* ranks = nullptr;
};

struct SweepResult {
  SweepSummary summary;
  bool interrupted = false;  // by hooks.stop: the report is not complete
  std::int64_t total = 0;    // plans of the space
};

// On another rank than the first, the result only says whether it was interrupted. Throws Error as
// Enumeration does, and what hooks.write throws.
SweepResult run_sweep(const SweepSpace& space, const SweepOptions& options,
                      const SweepHooks& hooks);

}  // namespace meshsim
