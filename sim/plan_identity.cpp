#include "sim/plan_identity.hpp"

#include "sim/evaluation.hpp"

namespace meshsim {
namespace {

void add_own(Key& key, const Plan& plan) {
  key.add(static_cast<std::int64_t>(plan.config.own.size()));
  for (const auto& [name, setting] : plan.config.own) {
    key.add(name);
    add_value(key, setting.value);
  }
}

}  // namespace

void PlanIdentities::add_place(const Plan& plan) {
  const Slice& slice = plan.topology.slice;
  key_.clear().add(models_.id(plan.model)).add(rules_.id(plan.rules.list()));
  key_.add(slice.chip->name).list(slice.shape).list(slice.wraparound).list(slice.chips_per_host);
  key_.add(plan.topology.slices);
  for (const MeshAxis& axis : plan.mesh.axes) key_.add(axis.name).add(axis.ici).add(axis.dcn);
  for (const std::vector<std::int64_t>& row : plan.placement.assignment) key_.list(row);
  add_own(key_, plan);
}

void PlanIdentities::add_place_form(const Plan& plan) {
  key_.clear().add(models_.id(plan.model));
  // Of axes along which devices do the same to other data, whether there are any.
  for (const MeshAxis& axis : plan.mesh.axes) {
    const bool alike = axis.name == "data" || axis.name == "fsdp" ||
                       axis.name == "fsdp_transpose" || axis.name == "expert";
    key_.add(axis.name);
    key_.add(alike ? (axis.ici > 1 ? 2 : 1) : axis.ici);
    key_.add(alike ? (axis.dcn > 1 ? 2 : 1) : axis.dcn);
  }
  key_.add(plan.topology.slice.chip->name).add(plan.topology.slices > 1 ? 1 : 0);
  add_own(key_, plan);
}

const PlaceIdentity& PlanIdentities::place_of(const Plan& plan) {
  const auto placed = placed_.find(plan.placed);
  if (placed != placed_.end()) return *placed->second;
  add_place(plan);
  const PlaceIdentity* place = places_.find(key_);
  if (place == nullptr) {
    const Key whole = key_;
    Evaluation bounds;  // for what it says of the chip
    bounds.plan = &plan;
    add_place_form(plan);
    const std::int64_t* form = place_forms_.find(key_);
    if (form == nullptr) form = &place_forms_.insert(key_, next_id_++);
    place = &places_.insert(whole, {next_id_++, *form, bounds.hbm_usable()});
  }
  if (plan.placed != 0) placed_.emplace(plan.placed, place);
  return *place;
}

PlanIdentity PlanIdentities::of(const Plan& plan) {
  PlanIdentity identity;
  identity.place = &place_of(plan);
  key_.clear().add(identity.place->id).add(calibrations_.id(plan.config.calibration));
  machine_settings_.add_to(key_, values_);
  identity.context = contexts_.find(key_);
  if (identity.context == nullptr) identity.context = &contexts_.insert(key_, {next_id_++, {}});
  identity.layout = layouts_.id(plan.layout);
  // A field that is added to Training must be told apart here, or be one of those that templates
  // and layouts do not read.
  const auto& [sequence_length, global_batch, accumulation, weights, activations, first_moment,
               optimizer, optimizer_on_host, parameters_on_host, optimizer_over_data] =
      plan.training;
  key_.clear().add(identity.place->id).add(static_cast<std::int64_t>(plan.expert_axes));
  key_.add(static_cast<std::int64_t>(weights)).add(static_cast<std::int64_t>(activations));
  key_.add(global_batch / accumulation).add(sequence_length).add(parameters_on_host ? 1 : 0);
  key_.add(plan.moe_block ? static_cast<std::int64_t>(plan.moe_block->dispatch) : -1);
  const std::int64_t* shape = shapes_.find(key_);
  identity.shape = shape != nullptr ? *shape : shapes_.insert(key_, next_id_++);
  return identity;
}

const Machine& PlanIdentities::machine(const Plan& plan, Context& context) {
  if (!context.machine) {
    context.machine = machine_settings_.watch(values_, [&] { return machine_of(plan); });
  }
  return *context.machine;
}

}  // namespace meshsim
