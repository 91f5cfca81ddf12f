#include "sim/plan_identity.hpp"

namespace meshsim {

void add_own(Key& key, const Plan& plan) {
  key.add(static_cast<std::int64_t>(plan.config.own.size()));
  for (const auto& [name, setting] : plan.config.own) {
    key.add(name);
    add_value(key, setting.value);
  }
}

void PlanIdentities::add_context(Key& key, const Plan& plan) {
  const Slice& slice = plan.topology.slice;
  key.add(slice.chip->name).list(slice.shape).list(slice.wraparound).list(slice.chips_per_host);
  key.add(plan.topology.slices);
  for (const MeshAxis& axis : plan.mesh.axes) key.add(axis.name).add(axis.ici).add(axis.dcn);
  for (const std::vector<std::int64_t>& row : plan.placement.assignment) key.list(row);
  key.add(calibrations_.id(plan.config.calibration));
  add_own(key, plan);
  machine_settings_.add_to(key, plan.config);
}

PlanIdentity PlanIdentities::of(const Plan& plan) {
  PlanIdentity identity;
  add_context(key_.clear(), plan);
  identity.context = contexts_.find(key_);
  if (identity.context == nullptr) identity.context = &contexts_.insert(key_, {next_id_++, {}});
  identity.model = models_.id(plan.model);
  identity.rules = rules_.id(plan.rules.list());
  identity.layout = layouts_.id(plan.layout);
  // A field that is added to Training must be told apart here, or be one of those that templates
  // and layouts do not read.
  const auto& [sequence_length, global_batch, accumulation, weights, activations, first_moment,
               optimizer, optimizer_on_host, parameters_on_host, optimizer_over_data] =
      plan.training;
  key_.clear().add(identity.context->id).add(identity.model).add(identity.rules);
  key_.add(static_cast<std::int64_t>(plan.expert_axes));
  key_.add(static_cast<std::int64_t>(weights)).add(static_cast<std::int64_t>(activations));
  key_.add(global_batch / accumulation).add(sequence_length);
  const std::int64_t* shape = shapes_.find(key_);
  identity.shape = shape != nullptr ? *shape : shapes_.insert(key_, next_id_++);
  return identity;
}

const Machine& PlanIdentities::machine(const Plan& plan, Context& context) {
  if (!context.machine) {
    context.machine = machine_settings_.watch(plan.config, [&] { return machine_of(plan); });
  }
  return *context.machine;
}

}  // namespace meshsim
