// Mixture-of-experts blocks as MaxText executes them: the pieces that strategies share, and the
// strategies, one in each source.
//
//   n = T k slots of one device     P expert-parallel devices     E / P local experts
//   X devices of the tensor axis, which have the same tokens and an Xth of each expert's width
//
// The tokens come whole to all X; rows after the down-projection are partial sums, which are added
// up and split by columns (D / X) before they return.
#pragma once

#include <string>

#include "program/expert_rows.hpp"
#include "program/layer_builder.hpp"

namespace meshsim {

// Where the tensors of the experts are.
inline const std::string moe_block = "mlp/MoeBlock_0/";

// The up-projections under `path`: wi, or wi_0 and wi_1.
Names up_names(const std::string& path, std::int64_t up_projections, const char* suffix);

// An MLP on every token, from the whole `input` of the block to the stream `output`; the activation
// function is fused into the second product.
void build_dense(LayerBuilder& build, const std::string& path, const DenseMlp& mlp, Name name,
                 Name input, Name output);

// The shared expert: `input` to "shared_out". It needs no routing, so that it may run beside a
// dispatch.
void build_shared(LayerBuilder& build, const MoeMlp& moe, Name input);

// The gate of the device's own tokens, from the stream `stream` to "router_logits".
void build_router(LayerBuilder& build, const MoeMlp& moe, Name stream);

// Scores and choices of `tokens` tokens, from "`logits`" to "routing": expert ids and weights.
// `beside` is read as well, in the forward pass. `chunk` as in ExpertProducts. A block without
// router has "routing" as its input.
void build_choice(LayerBuilder& build, const MoeMlp& moe, std::int64_t tokens, Name logits,
                  Names beside = {}, const std::string& chunk = "");

// In which type the gate's logits and scores travel.
DType gate_type(const LayerBuilder& build);

// The products of the local experts for one exchange, rows_in -> rows_out. They touch the routed
// rows only, whatever permutes the buffers before and after.
struct ExpertProducts {
  ExpertRows rows;
  std::string chunk;          // "@2": appended to the names of symbols and operations
  bool adds = false;          // gradients of weights are added to those of another chunk
  bool in_one_stage = false;  // a pipeline of chunks: one stage for all of it
};
void build_experts(LayerBuilder& build, const MoeMlp& moe, const ExpertProducts& products);

// Its parts: the symbols; expert_up to expert_hidden; expert_hidden to rows_out.
void declare_products(LayerBuilder& build, const MoeMlp& moe, const ExpertProducts& products);
void build_activation(LayerBuilder& build, const MoeMlp& moe, const std::string& chunk);
void build_down(LayerBuilder& build, const MoeMlp& moe, const ExpertProducts& products);
// Columns of what the experts return: of "rows_out" and of "routed_out".
std::int64_t returned_columns(const LayerBuilder& build);
// How the products of `kernel` ("wi", "wo") are spread.
LayerBuilder::Groups local_experts(const LayerBuilder& build, const MoeMlp& moe,
                                   const char* kernel);

// The strategy of the plan, in a stage that is open. Returns the symbols whose sum is its output.
Names build_routed(LayerBuilder& build, const MoeMlp& moe, Name input);

// ---- strategies: `input` and "router_logits" to "routed_out", and the shared expert where there
// is one

// Every expert of the device group is here: rows are sorted by expert, and back.
void build_local(LayerBuilder& build, const MoeMlp& moe, Name input);

// Rows travel to the devices of their experts and back. The shared expert needs no rows: it runs
// beside the dispatch.
void build_ragged_all_to_all(LayerBuilder& build, const MoeMlp& moe, Name input);

// All tokens of the expert group come to every device; each computes its experts' rows; the sums
// return. In num_moe_token_chunks parts of the tokens: while one is multiplied, the next is
// gathered and the results of the last return.
void build_ring_of_experts(LayerBuilder& build, const MoeMlp& moe, Name input);

// A ring of experts in num_moe_emb_chunks slices of the embedding: while the up-projection adds one
// slice's products, the next slice of the tokens is gathered.
void build_embedding_chunks(LayerBuilder& build, const MoeMlp& moe, Name input);

// One microbatch of the batch-split schedule (program/batch_split.hpp): a ring of experts whose
// choices are gathered in place of logits.
void build_gathered_choices(LayerBuilder& build, const MoeMlp& moe, Name input);

// Each expert has so many places of every sequence (dense_matmul with capacity). Masks put the
// tokens there and add up the results; the places of an expert travel to its device.
void build_places(LayerBuilder& build, const MoeMlp& moe, Name input);

// What a strategy assumes, for the report.
std::vector<std::string> expert_assumptions(const Plan& plan);

// All experts on all tokens (dense_matmul without capacity): E / k times the mathematics.
void build_all_experts(LayerBuilder& build, const MoeMlp& moe, Name input);

}  // namespace meshsim
