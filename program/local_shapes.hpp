// What one device holds of the batch and of a layer's weights.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model_specs/inventory.hpp"
#include "plans/plan.hpp"
#include "program/step_program.hpp"

namespace meshsim {

// The mesh axes that split activations, from the plan's rules. A block (attention, MLP) is entered
// and left through the streams: the residual stream, its norms and what is kept between layers.
//
//   batch    sequences
//   length   tokens of a sequence, everywhere
//   within   heads, hidden columns and vocabulary inside a block, whose devices share its tokens:
//            the two below together
//   embed    columns of the streams
//   rows     tokens of the streams, beyond `length`
struct ActivationAxes {
  std::vector<std::string> batch, length, within, embed, rows;
};

// The stages of a pipeline work on the same sequences one after the other; outside of it
// (embedding, head, losses) they share them out, as more data parallelism would.
enum class Place { layers, outside };
ActivationAxes activation_axes(const Plan& plan, Place place = Place::layers);

// The sequences that one device works on at a time.
struct LocalBatch {
  std::int64_t sequences = 0;
  std::int64_t length = 0;    // tokens of each that lie here
  std::int64_t sequence = 0;  // S: all of its tokens
  ActivationAxes axes;
  std::int64_t tokens() const { return sequences * length; }
};

// Of one accumulation step, outside the layers; in the layers, where a pipeline takes one of its
// microbatches at a time. Throw Error(invalid_input) if the devices cannot hold whole sequences.
LocalBatch local_batch(const Plan& plan);
LocalBatch layer_batch(const Plan& plan);

// One weight of a layer: how it rests, how it is gathered for use, how its gradient is reduced.
struct Weight {
  Name name;
  bool trainable = true;
  bool gradient = true;                  // a gradient reaches it
  std::int64_t elements = 0;             // of one device's working copy, after the gather
  std::vector<std::string> gather_axes;  // all-gather before use, reduce-scatter of the gradient
  std::int64_t gather_group = 1;
  std::int64_t second_stage = 1;  // of a gather in two stages, fsdp first: devices of the others
  // P, where kernels of experts rest by FSDP, alike on each of P expert shards, and are used by
  // expert, E / P of them on each (two-dimensional FSDP). A device takes a Pth of its shard, passes
  // it on to where its experts are used and gathers those over FSDP; gradients go the way back and
  // are gathered over the expert axis. `pass_axes`: where experts lie at rest and in use.
  std::int64_t expert_copies = 1;
  std::vector<std::string> pass_axes;
  std::int64_t pass_group = 1;
  std::vector<std::string>
      reduce_axes;  // all-reduce of the gradient: axes of activations that do not shard it
  std::int64_t reduce_group = 1;
  bool on_host = false;  // a device's shard rests on its host, and is fetched before every gather
  // Kernels of experts feed a grouped product, which takes one layout only: a gather over another
  // than their first dimension leaves pieces that must be copied into place.
  // Their gradients are copied back, in the weights' dtype.
  bool relaid = false;
  Bytes gathered;  // the working copy in the activations' dtype, and its gradient as it is summed
  Bytes local_gradient;  // the same gradient in the weights' dtype, in which devices reduce it: the
                         // conversion is part of the collective
  Bytes gradient_shard;  // what rests until the optimizer, padded; as large as the weight's shard
};

// What the products of the layers' own weights multiply, forward and backward, where it is lowered:
// MaxText's rules for int8, fp8 and fp8_full name the layers' dot products and grouped products
// (qwix, 2026).
std::optional<NumberFormat> number_format(const Plan& plan);

// All experts on all tokens (dense_matmul without capacity): every device needs every expert.
bool experts_are_gathered(const Plan& plan);

// The weights in `tensors`, in their order. Expert kernels stay split over the expert axis, unless
// they are gathered; heads,
// hidden columns and vocabulary over ActivationAxes::within; norms of the streams over `embed`.
std::vector<Weight> local_weights(const Plan& plan, const std::vector<Tensor>& tensors,
                                  const ActivationAxes& axes);

// The tensors of one layer under the plan's expert sharding.
std::vector<Tensor> plan_layer_tensors(const Plan& plan, const LayerKind& kind);

}  // namespace meshsim
