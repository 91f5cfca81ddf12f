#include "studies/fixes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "studies/neighbours.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

// The slice of the same chip with the fewest chips above this one's.
std::optional<std::string> larger_slice(const Topology& topology) {
  const Slice* best = nullptr;
  for (const Slice& slice : named_slices()) {
    const bool larger =
        slice.chip == topology.slice.chip && slice.chips() >= 2 * topology.slice.chips();
    if (larger && (best == nullptr || slice.chips() < best->chips())) best = &slice;
  }
  if (best == nullptr) return {};
  return best->name;
}

// Receive buffers for what this plan's routing brings, in place of what any routing could: the
// smallest quarter above the largest skew of a layer, which drops nothing.
std::optional<double> buffer_factor(const Evaluation& evaluation) {
  const Plan& plan = *evaluation.plan;
  const ResolvedConfig& config = plan.config;
  const bool cuts = !config.boolean("use_ring_of_experts") || config.boolean("use_ragged_sort");
  const auto ranks = static_cast<double>(plan.mesh.size("expert"));
  if (!evaluation.step || !plan.model.has_experts() || ranks == 1 || !cuts ||
      !config.boolean("sparse_matmul") || config.real("ragged_buffer_factor") > 0)
    return {};
  double skew = 1;
  for (const ExpertLayer& layer : evaluation.step->experts) skew = std::max(skew, layer.skew);
  const double factor = std::floor(skew * 4 + 1) / 4;
  if (factor >= ranks) return {};
  return factor;
}

std::vector<Change> changes(const Evaluation& evaluation) {
  const Plan& plan = *evaluation.plan;
  const ResolvedConfig& config = plan.config;
  const bool experts = plan.model.has_experts();
  std::vector<Change> all;
  if (experts && !config.boolean("sparse_matmul")) all.push_back({{"sparse_matmul", "true"}});
  if (config.text("attention") == "dot_product")
    all.push_back({{"attention", "flash"}, {"use_tokamax_splash", "true"}});
  if (config.text("remat_policy") == "none") all.push_back({{"remat_policy", "full"}});
  if (plan.mesh.size("data") > 1) {
    all.push_back({{"ici_data_parallelism", "1"}, {"ici_fsdp_parallelism", "-1"}});
    all.push_back({{"shard_optimizer_over_data", "true"}});
  }
  if (experts && plan.mesh.size("expert") == 1 && config.boolean("sparse_matmul")) {
    for (const char* degree : {"4", "8"})
      all.push_back({{"ici_expert_parallelism", degree}, {"ici_fsdp_parallelism", "-1"}});
  }
  if (!plan.training.optimizer_on_host) all.push_back({{"optimizer_memory_host_offload", "true"}});
  if (plan.training.optimizer == Optimizer::adamw && plan.training.first_moment == DType::float32) {
    all.push_back({{"mu_dtype", "bfloat16"}});
  }
  if (const std::optional<double> factor = buffer_factor(evaluation))
    all.push_back({{"ragged_buffer_factor", fmt::format("{}", *factor)}});
  const double batch = config.real("per_device_batch_size");
  if (batch >= 2)
    all.push_back({{"per_device_batch_size", fmt::format("{}", std::max(1.0, batch / 2))}});
  const std::optional<std::string> larger = larger_slice(plan.topology);
  if (larger && plan.config.own.count("slice_shape") == 0) {
    all.push_back({{"compile_topology", *larger}, {"ici_fsdp_parallelism", "-1"}});
  }
  return all;
}

}  // namespace

std::vector<Fix> cheapest_fixes(const PlanRequest& request, const Evaluation& evaluation,
                                std::size_t enough) {
  std::vector<Fix> fixes;
  std::size_t fitting = 0;
  for (const Change& change : changes(evaluation)) {
    if (fitting == enough) break;
    const PlanRequest other = changed(request, change);
    try {
      const Plan plan = make_plan(other);
      const Evaluation result = evaluate(plan, Fidelity::closed_form);
      if (result.peak() >= evaluation.peak()) continue;
      Fix fix{change_text(change),
              command_of(other, "fit"),
              evaluation.peak() - result.peak(),
              {},
              result.verdict() == Verdict::fits};
      if (result.step) fix.step_time = result.step->timeline.total;
      fitting += fix.fits;
      fixes.push_back(std::move(fix));
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::invalid_input)
        throw;  // a change that this plan refuses is no fix
    }
  }
  std::stable_sort(fixes.begin(), fixes.end(), [](const Fix& a, const Fix& b) {
    if (a.fits != b.fits) return a.fits;
    if (a.fits) return a.step_time < b.step_time;
    return a.bytes_saved > b.bytes_saved;
  });
  return fixes;
}

}  // namespace meshsim
