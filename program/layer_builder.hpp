// Writing layer templates: one call per operation of the layer, forward and backward together.
//
// HBM bytes are those of what an operation reads and writes, each once, unless it says otherwise.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "program/layer_template.hpp"

namespace meshsim {

// The tiles of a grouped product, of the gradient of its rows and of that of its weights.
struct GroupedTiles {
  KernelTile forward, rows, weights;
};

class LayerBuilder {
 public:
  LayerBuilder(const Plan& plan, Name layer_kind, const std::vector<Tensor>& tensors,
               LocalBatch batch);

  const Plan& plan() const { return plan_; }
  const LocalBatch& batch() const { return batch_; }
  std::int64_t T() const { return batch_.tokens(); }

  // How activations are split; T tokens are those of a block (see program/streams.hpp).
  const ActivationAxes& axes() const { return batch_.axes; }
  std::int64_t ways() const { return shards(plan_.mesh, batch_.axes.within); }
  std::int64_t stream_rows() const { return T() / shards(plan_.mesh, batch_.axes.rows); }
  std::int64_t stream_columns() const;

  // Declares an activation [rows, columns] in the plan's dtype, or in `dtype`.
  void activation(Name symbol, std::int64_t rows, std::int64_t columns);
  void activation(Name symbol, std::int64_t rows, std::int64_t columns, DType dtype);

  // A buffer of [rows, columns] of which only `touched_rows` carry data.
  void padded_activation(Name symbol, std::int64_t rows, std::int64_t touched_rows,
                         std::int64_t columns);
  void padded_activation(Name symbol, std::int64_t rows, std::int64_t touched_rows,
                         std::int64_t columns, DType dtype);
  // The same, of as many rows as routing gives to this device: `routed_rows` if it is balanced.
  void routed_activation(Name symbol, std::int64_t rows, std::int64_t routed_rows,
                         std::int64_t columns);
  void routed_activation(Name symbol, std::int64_t rows, std::int64_t routed_rows,
                         std::int64_t columns, DType dtype);

  // What follows is not quantised, whatever the plan says.
  void unquantised() { format_ = NumberFormat::bfloat16; }

  // Opens a stage; what follows belongs to it.
  void stage(Name name);

  // out = f(in) x weights, in the plan's number format, each product [m, k] x [k, n] in `matmuls`;
  // f is elementwise and fused, in both passes. Backward gives the gradients of `in` and of the
  // weights. The mathematics costs `model_flops`: by default, what is executed.
  void linear(Name name, const Names& weights, const Names& in, const Names& out,
              std::vector<Matmul> matmuls, std::optional<FlopCount> model_flops = {});

  // Routed rows, spread over local experts.
  struct Groups {
    std::int64_t experts;
    GroupedTiles tiles;
    bool adds = false;       // gradients of the weights are read as well, and added to
    std::int64_t share = 1;  // the products use one share of so many of the weights
  };
  void grouped_linear(Name name, const Names& weights, Name in, const Names& out,
                      std::vector<Matmul> matmuls, const Groups& groups);
  // One product of it. `weights` are read, or receive gradients.
  enum class Product { rows, row_gradients, weight_gradients };
  OpTemplate grouped(Product product, Name name, std::vector<Matmul> matmuls, Names reads,
                     Names writes, const Names& weights, const Groups& groups) const;

  // Bandwidth-bound work. Backward reads `kept` and the gradients of `out`, and writes those of
  // `gradients_of`.
  void vector(Name name, const Names& weights, const Names& in, const Names& out, const Names& kept,
              const Names& gradients_of, FlopCount model_flops = {});

  // Any operation, in either pass. Backward operations are put before those that the stage already
  // has.
  void forward(OpTemplate op);
  void forward_beside(OpTemplate op);
  void backward(OpTemplate op);
  void backward_beside(OpTemplate op);
  void backward_beside_first(OpTemplate op);  // before those that the stage already has

  // An operation of the stage's main branch, in either pass, to say what it waits for.
  OpTemplate& forward_op(Name name);
  OpTemplate& backward_op(Name name);

  // Work whose HBM bytes are those that it touches of what it reads and writes.
  OpTemplate compute(Name name, OpKind kind, std::vector<Matmul> matmuls, FlopCount model_flops,
                     Names reads, Names writes, const Names& weights = {},
                     const Names& gradients = {}) const;
  OpTemplate collective(Name name, CollectiveKind kind, std::vector<std::string> mesh_axes,
                        Bytes payload, Names reads, Names writes) const;
  // An all-to-all over the expert axis of `slots` slots of a device, `payload` in all.
  OpTemplate exchange(Name name, bool to_experts, std::int64_t slots, Bytes payload, Names reads,
                      Names writes) const;

  // How this layer's tokens reach their experts.
  void routes(const Exchange& exchange) { layer_.exchange = exchange; }

  // A collective that carries `from` to `to` forward, and its transpose that carries the gradient
  // back.
  void transfer(Name name, CollectiveKind there, CollectiveKind back,
                const std::vector<std::string>& mesh_axes, Bytes payload, Name from, Name to);
  // Of `rows` x `columns` activations, not padded.
  Bytes activation_bytes(std::int64_t rows, std::int64_t columns) const;

  Symbol symbol(Name name) const { return layer_.symbol(name); }
  std::size_t weight(Name name) const;
  const Weight& local_weight(Name name) const { return layer_.weights[weight(name)]; }
  LayerTemplate take();

 private:
  Stage& current() { return layer_.stages.back(); }

  const Plan& plan_;
  LocalBatch batch_;
  NumberFormat format_;  // of products of the layer's own weights
  LayerTemplate layer_;
};

// `name` with `suffix` before its chunk: "gmm_up_dw@2".
Name with_suffix(Name name, const char* suffix);
// "d_" + each name.
Names gradients_of(const Names& names);
FlopCount flops_of(const std::vector<Matmul>& matmuls);

// The parts of a layer.
void build_attention(LayerBuilder& build, const Attention& attention, Name input, Name output);
// Returns the symbols whose sum is the MLP's output.
Names build_mlp(LayerBuilder& build, const Mlp& mlp, Name input);

}  // namespace meshsim
