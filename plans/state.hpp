// The training state: what is in HBM before a step begins, per device and to the byte.
//
//   state      parameters, optimizer state, buffers that are not trained, counters
//   arguments  state + the batch
//   output     state + the metrics that a step returns
//   alias      state: donated, updated in place
//
// Every tensor is sharded by the plan's rules and stored as its chip lays it out: the shard is
// padded, not the whole array. Dimensions of parameters must divide: JAX refuses uneven argument
// shardings.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model_specs/inventory.hpp"
#include "plans/plan.hpp"
#include "units/quantity.hpp"

namespace meshsim {

// One array, or several of one shape, of the state on one device.
struct StateBuffer {
  std::string name;
  std::string category;  // parameters, optimizer_mu, optimizer_nu, optimizer_momentum, buffers,
                         // counters, batch, metrics
  DType dtype = DType::float32;
  std::vector<std::int64_t> shape;                 // of the whole array
  std::vector<std::vector<std::string>> sharding;  // mesh axes per dimension
  std::vector<std::int64_t> shard;                 // what one device holds
  Bytes bytes;                                     // of the shard, padded
  Bytes unpadded;
  bool on_host = false;

  std::int64_t replicas(const LogicalMesh& mesh) const;  // devices that hold the same shard
};

struct TrainingState {
  std::vector<StateBuffer> buffers;  // state and batch
  std::vector<StateBuffer> metrics;  // returned by the step

  Bytes on_device(std::string_view category) const;
  Bytes state() const;
  Bytes batch() const;
  Bytes arguments() const { return state() + batch(); }
  Bytes output() const;
  Bytes alias() const { return state(); }
  Bytes on_host() const;
};

// The categories in the order of reports.
const std::vector<std::string>& state_categories();

// Throws Error(invalid_input): a parameter dimension or the batch that its mesh axes do not divide;
// more than sharding_tolerance of the parameter bytes on no sharding axis at all.
TrainingState training_state(const Plan& plan);

// The same in two parts: what does not depend on the batch, and the batch.
TrainingState resting_state(const Plan& plan);
void append_batch(const Plan& plan, TrainingState& state);

}  // namespace meshsim
