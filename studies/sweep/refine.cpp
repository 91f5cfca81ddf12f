#include "studies/sweep/refine.hpp"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <new>

#include "sim/evaluation.hpp"
#include "studies/neighbours.hpp"
#include "studies/sweep/enumeration.hpp"

namespace meshsim {
namespace {

// What the plans of these rows change of the base, by index.
std::map<std::int64_t, Change> changes_of(const SweepSpace& space,
                                          const std::vector<SweepRow>& rows) {
  std::map<std::int64_t, Change> changes;
  for (const SweepRow& row : rows) changes[row.index];
  if (changes.empty()) return changes;
  const std::int64_t last = changes.rbegin()->first;
  Enumeration plans(space);
  for (std::int64_t index = 0; index <= last && plans.next(); ++index) {
    const auto wanted = changes.find(index);
    if (wanted != changes.end()) wanted->second = change_of(space, plans.choice());
  }
  return changes;
}

void run_again(const PlanRequest& request, RefinedRow& refined) {
  refined.command = command_of(request, "simulate") + " --fidelity event";
  try {
    const Plan plan = make_plan(request);
    const Evaluation result = evaluate(plan, Fidelity::event);
    refined.verdict = result.verdict();
    refined.peak = result.peak();
    if (!result.step) {
      refined.reason = "the step is not modelled: " + result.not_modelled.front();
      return;
    }
    refined.step_time = result.step->timeline.total;
    refined.tokens_per_s_per_device = result.step->tokens_per_s_per_device;
    // Goodput and spare slices are those of the row.
    refined.tokens_per_chip_hour = refined.row.tokens_per_chip_hour *
                                   refined.tokens_per_s_per_device /
                                   refined.row.outcome.tokens_per_s_per_device;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    refined.reason = error.what();
  }
}

}  // namespace

std::vector<RefinedRow> refine(const SweepSpace& space, const std::vector<SweepRow>& rows,
                               const std::string& routing, int threads,
                               const std::function<bool()>& stop) {
  namespace tbb = oneapi::tbb;
  const std::map<std::int64_t, Change> changes = changes_of(space, rows);
  std::vector<RefinedRow> refined(rows.size());
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                  static_cast<std::size_t>(threads));
  tbb::task_arena arena(threads);
  std::atomic<bool> stopped = false;
  arena.execute([&] {
    tbb::parallel_for(std::size_t{0}, rows.size(), [&](std::size_t i) {
      if (stopped || stop()) {
        stopped = true;
        return;
      }
      refined[i].row = rows[i];
      PlanRequest request = changed(space.base, changes.at(rows[i].index));
      if (!routing.empty()) request = changed(std::move(request), {{"meshsim.routing", routing}});
      run_again(request, refined[i]);
    });
  });
  if (stopped) return {};
  std::stable_sort(refined.begin(), refined.end(), [](const RefinedRow& a, const RefinedRow& b) {
    return a.tokens_per_chip_hour > b.tokens_per_chip_hour;
  });
  return refined;
}

}  // namespace meshsim
