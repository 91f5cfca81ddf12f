// How a step is laid out from layer templates: forward over the runs of layers, the losses,
// backward, the optimizer.
//
// One class in five sources: lower.cpp (the step, what travels ahead), lower_forward.cpp (what a
// run keeps), lower_backward.cpp (what it computes again), lower_pipeline.cpp (what stages pass on)
// and lower_predictions.cpp (losses and multi-token prediction).
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "plans/pipeline.hpp"
#include "program/layer_passes.hpp"
#include "program/lower.hpp"
#include "program/remat_policy.hpp"

namespace meshsim {

using Copies = std::vector<BufferId>;  // of the weights of one use of a layer, gathered

// Consecutive layers that run as one scan (repeats > 1) or once, and what of them is kept for the
// backward pass.
struct Run {
  std::vector<const LayerTemplate*> block;
  std::int64_t repeats = 1;
  std::int64_t weight_sets =
      1;                  // of the block's weights on this device: repeats, but in a pipeline
  std::int64_t idle = 0;  // of the repeats: iterations of a pipeline without a microbatch
  bool pipelined = false;
  std::vector<int> kinds;  // per layer of the block
  RematPolicy policy;
  std::vector<std::map<Name, Kept>> kept;  // per layer of the block
  std::vector<Recomputation> again;        // per layer of the block
  std::vector<std::int64_t> moe_layers;    // per layer of the block, in the first repeat: which MoE
                                           // layer it is; -1: none, or routing is balanced
  std::int64_t moe_stride = 0;             // MoE layers of a repeat

  // Whether the block's first layer runs again before its last goes backward: then its weights come
  // first.
  bool recomputes() const { return !policy.everything; }
};

// What a run kept of its forward pass. In a scan it is stacked over the repeats.
struct Stored {
  BufferId inputs = no_buffer;        // of a scan, which overwrites its stream; unless on the host
  BufferId single_input = no_buffer;  // of a run that runs once: its input stream
  std::vector<std::map<Name, BufferId>> symbols;  // kept on the device, per layer of the block
  std::vector<BufferId> gradients;                // reduced, per layer of the block
  std::int64_t repeat = 0;                        // of the run: the one that is laid out
};

// A layer whose backward pass comes next, and what it repeats first.
struct Next {
  const LayerTemplate* layer;
  const Recomputation* again;
};

// Gradients of the last backward layer, which are reduced beside the next (Prefetch::layer).
struct Pending {
  const LayerTemplate* layer = nullptr;
  std::vector<BufferId> gradients;
  BufferId store = no_buffer;
};

class Lowering {
 public:
  Lowering(const Plan& plan, Prefetch prefetch, const StepTemplates& templates,
           const std::vector<std::int64_t>& state);
  StepProgram run();

 private:
  // ---- the step

  void lay_out_runs();

  // The run's place among the MoE layers, of which `before` come before it.
  void place_experts(Run& run, std::int64_t& before) const;
  std::int32_t exchange_stride(const Run& run) const;
  std::int32_t exchanges_of_microbatch() const;
  void count_slots();  // routed and dropped, into the program

  // Forward, losses and backward of one microbatch.
  std::vector<ProgramNode> microbatch();

  Amount gradient_store_bytes() const;

  // Adds the gradients of a microbatch to those of the ones before, which live through all of them.
  void accumulate(std::vector<ProgramNode>& nodes);

  // The global norm of the gradients, then the update: every byte of gradients and state once.
  void optimizer(std::vector<ProgramNode>& nodes);

  // A table that the head shares has its gradients in the head's store: both uses add to it.
  Amount own_embedding_gradients() const;

  // ---- what travels beside a layer under Prefetch::layer; nothing does under Prefetch::kernel

  // A tiled head gathers its weights itself, tile by tile, unless it is told to do so once.
  bool head_gathers() const;

  const LayerTemplate& after_layers() const;

  // Gathers the weights of a layer that comes next, into `copies`.
  Beside gather_forward(const LayerTemplate& layer, Copies& copies);
  Beside gather_backward(const Next& next, Copies& copies);
  Beside reduce_pending(const Pending& pending);

  // `main` with `beside` beside it, one after the other. The batch-split schedule has sums over DCN
  // in a branch of their own: those of the layer before the last beside the reduce-scatter of the
  // last, which in the steady state of a scan costs what both of one layer do.
  ProgramNode with_neighbours(ProgramNode main, Beside beside) const;

  // ---- forward

  // In a scan, what is kept is stacked over the repeats. Activations on the host are counted there.
  Stored store(const Run& run);

  // One use of layer `j` of the run: what is kept has its place already.
  Instance instance(const Run& run, const Stored& stored, std::size_t j);

  // The copies of a layer's kept symbols to or from the host. They run beside the layer itself: in
  // the steady state of a scan that costs what copying beside its neighbour does.
  Beside host_copies(const Run& run, std::size_t j, Instance& use, bool to_host);

  // One execution of a block, reading the stream `in` and returning it in `out`. `next` is gathered
  // beside the last layer, into `next_copies`.
  std::vector<ProgramNode> forward_block(const Run& run, const Stored& stored, Copies copies,
                                         BufferId in, BufferId out, const LayerTemplate& next,
                                         Copies& next_copies);

  // The deferred stages of the layer before, where the one after does not take them.
  void finish_deferred(std::vector<ProgramNode>& nodes);

  // All executions of run `r`; `copies` and `stream` go from its first layer's to those of what
  // follows it.
  void forward_run(std::size_t r, std::vector<ProgramNode>& nodes, Copies& copies,
                   BufferId& stream);

  // ---- backward

  // The input of a block in its backward pass: where it was kept, or a buffer that it returns to.
  BufferId block_input(std::size_t r, Beside& beside);

  // The deferred stages of `below`, whose backward pass comes after that of `use`: they begin with
  // the gradient of the input of `use`. Nothing if they need more than gradients.
  std::optional<Instance> begin_deferred(const LayerTemplate* below, BufferId gradient);

  // Buffers that one execution of a scan's body hands to the next through deferred stages: all
  // executions use the same. Those of `use` are taken, or remembered where there are none.
  using Handed = std::map<const LayerTemplate*, std::map<Name, BufferId>>;
  static void hand_on(Handed& handed, Pass pass, Instance& use);

  // Whose weights a run's backward pass needs first.
  Next first_needed(const Run& run) const;

  // The backward pass of one execution of run `r`'s block. `below` is the layer, if any, whose own
  // follows.
  std::vector<ProgramNode> backward_block(std::size_t r, Copies& copies, BufferId gradient_in,
                                          BufferId gradient_out, Pending& pending, const Next& next,
                                          Copies& next_copies, const LayerTemplate* below);

  // Brings back what is kept on the host and recomputes the rest, layer by layer from the block's
  // input; under Prefetch::layer each layer gathers the weights of the next.
  void recompute_block(std::size_t r, std::vector<Instance>& uses, Copies& copies,
                       std::vector<ProgramNode>& nodes);

  // Makes the buffers of the reduced gradients of run `r`; returns their bytes.
  Amount make_gradients(std::size_t r);

  // A scan backward writes its gradients into zeros, a layer at a time. The zeros depend on
  // nothing, and XLA has them before the losses: of the 55.9 GiB that it needs for a step of
  // DeepSeek2-16B on 4 chips, where its tables of logits are largest, 14.8 are gradients.
  void zero_gradients(std::vector<ProgramNode>& nodes);

  // All executions of run `r`, last to first.
  void backward_run(std::size_t r, std::vector<ProgramNode>& nodes, Copies& copies,
                    BufferId& gradient, Pending& pending);

  // ---- losses

  // The multi-token-prediction blocks forward, the losses, the blocks backward. Returns the
  // gradient of the layers' output; `copies` are then those of the last layer's backward pass.
  //
  //   loss of the blocks: forward, backward     loss of the model: forward
  //   blocks backward                           loss of the model: backward
  //
  // as JAX orders it, but for the blocks' loss, which comes before the model's so that only one of
  // them has a table of exponentials and one of gradients at a time: what XLA needs of a Hunyuan3
  // step of 4,096 and 8,192 tokens grows by 5.65 GiB for each sequence of 8,192, which is the
  // model's table of exponentials in fp32 (3.69) beside what the block's last product of gradients
  // reads and writes (1.95). Under Prefetch::layer the head's weights stay gathered throughout;
  // their gradients are one sum.
  BufferId predictions(std::vector<ProgramNode>& nodes, Copies& copies, BufferId stream,
                       Pending& pending);

  // One block; `another` follows. Returns the gradient of its input.
  BufferId mtp_backward(std::vector<ProgramNode>& nodes, Instance& block, BufferId gradient,
                        bool another, Copies& copies, Pending& pending);
  void add_gradient(std::vector<ProgramNode>& nodes, BufferId from, BufferId to);

  // A tiled loss is all in its backward pass.
  void loss_forward(std::vector<ProgramNode>& nodes, Instance& loss);
  void loss_backward(std::vector<ProgramNode>& nodes, Instance& loss, const Copies& head_copies,
                     BufferId store, Beside beside);

  // Vocabulary tiling: the loss of a share of the tokens at a time; the backward pass computes its
  // logits again.
  void tiled_loss(std::vector<ProgramNode>& nodes, Instance& use, BufferId store);

  // The part of `layer`'s gradients that the head's or the embedding's store holds: of the token
  // table.
  Amount shared_table_gradient(const LayerTemplate& layer) const;

  // ---- the pipeline: a run whose repeats are its iterations

  // What the stages pass on after an iteration: the microbatch; one of the batch, of which inputs
  // leave at the first stage and outputs arrive at the last; one that has come round and waits.
  std::vector<ProgramNode> pass_on(Pass pass, BufferId microbatch, BufferId batch);
  // `body` with what the stages pass on after it, or beside it where two iterations lie between.
  ProgramNode iteration(const Run& run, std::vector<ProgramNode> body, Pass pass,
                        BufferId microbatch, BufferId batch);
  // A run's repeats but the first and last, all with the same body: the iterations without a
  // microbatch, then the others. In a pipeline, too, each meets its own exchanges.
  std::vector<ProgramNode> iterations(const Run& run, ProgramNode body, std::int64_t busy,
                                      std::int32_t stride) const;
  // A microbatch's place in the pipeline, filled from the batch.
  // Weights that are gathered before the iterations, repeat by repeat: one collective for each set,
  // in the weights' dtype, which nothing runs beside. Their gradients are kept whole meanwhile and
  // scattered after them.
  void gather_ahead(std::vector<ProgramNode>& nodes, Pass pass);
  void scatter_behind(std::size_t r, std::vector<ProgramNode>& nodes);
  Bytes whole_weights(const Run& run) const;

  BufferId enter_pipeline(std::vector<ProgramNode>& nodes, Pass pass, BufferId batch);
  // Over data parallel devices, once for all microbatches.
  void sum_pipelined_gradients(std::size_t r, std::vector<ProgramNode>& nodes);

  // Of the layers, and outside of them, where they differ in a pipeline.
  // The one that is pipelined.
  const Run& pipelined_run() const;
  const Amount& carry_bytes(const Run& run) const;
  BufferId carry(const Run& run);
  BufferId gradient_carry(const Run& run);
  BufferId outer_carry();
  BufferId outer_gradient_carry();

  const Plan& plan_;
  PipelineSchedule schedule_;
  StepProgram program_;
  Emitter emit_;
  LayerPasses passes_;

  const StepTemplates& templates_;
  const std::vector<std::int64_t>& state_;  // state_numbers
  const LayerTemplate& embedding_;
  const LayerTemplate& head_;
  const LayerTemplate& mtp_;  // without stages where there is no multi-token prediction
  std::vector<Run> runs_;
  std::vector<Stored> stored_;    // per run
  std::optional<Instance> left_;  // the last layer, if its deferred stages are still to be run
  bool begun_ = false;            // the deferred stages of the next backward layer have been run
  Handed handed_forward_, handed_backward_;
  std::vector<BufferId> gradient_stores_;
  Recomputation nothing_of_mtp_;
  Recomputation nothing_of_embedding_;
  Amount carry_bytes_;
  Amount outer_carry_bytes_;
  BufferId ahead_ = no_buffer;    // weights that were gathered before the iterations
  BufferId waiting_ = no_buffer;  // microbatches that have come round
  Exchange exchange_;             // of the layers with experts
  std::vector<std::pair<Exchange, std::int64_t>> exchanged_;  // of all of them, how many layers
  std::int64_t exchanges_ = 0;                                // of a microbatch
  std::int64_t tiles_ = 1;                                    // of the loss
};

// `main` with the nodes of `beside`, one after the other, beside it.
ProgramNode with_beside(ProgramNode main, Beside beside);

Name gradient_of(const char* symbol);  // "d_" + symbol

Copies no_copies(const LayerTemplate& layer);

// The recomputation of a layer that keeps everything.
Recomputation nothing_again(const LayerTemplate& layer);

}  // namespace meshsim
