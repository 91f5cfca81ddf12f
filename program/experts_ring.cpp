// A ring of experts: gather all tokens, multiply, scatter the sums; in N chunks of the tokens.
//
//   core      route 0, experts 0     route 1, experts 1    ...
//   gather    tokens 0, tokens 1     tokens 2              ...
//   scatter                          sums 0                ...
//
// Gathered tokens and partial sums have two buffers each, which chunks take in turn; with
// moe_chunk_barrier a chunk is gathered after the sums of the last have returned. The backward pass
// does the same from the last chunk to the first, with the gradients of the sums gathered and those
// of the tokens scattered.
#include <fmt/format.h>

#include "program/expert_stages.hpp"
#include "program/row_moves.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

constexpr std::size_t gather_stream = 0;
constexpr std::size_t scatter_stream = 1;

class Ring {
 public:
  Ring(LayerBuilder& build, const MoeMlp& moe, Name input)
      : build_(build), moe_(moe), input_(input) {
    chunks_ = build.plan().config.integer("num_moe_token_chunks");
    barrier_ = build.plan().config.boolean("moe_chunk_barrier");
    tokens_ = build.T() / chunks_;
    group_tokens_ = checked_multiply(build.plan().mesh.size("expert"), tokens_, "group's tokens");
    rows_ = ring_rows(build, moe, tokens_);
    build_.routes({chunks_, tokens_, rows_.buffer, Cut::by_expert});
    build.activation("routed_out", build.T(), returned());
    for (std::int64_t c = 0; c < chunks_; ++c) declare(c);
  }

  void whole() {
    build_.stage("gather_tokens");
    if (moe_.shared_width > 0) build_shared(build_, moe_, input_);
    gather(0);
    build_.stage("permute");
    permute(0);
    experts(0);
    build_.stage("unpermute");
    unpermute(0);
    build_.stage("reduce_outputs");
    scatter(0);
  }

  void pipelined() {
    build_.stage("chunked_experts");
    if (moe_.shared_width > 0) build_shared(build_, moe_, input_);
    for (std::int64_t c = 0; c < chunks_; ++c) {
      gather(c);
      permute(c);
      experts(c);
      unpermute(c);
      scatter(c);
    }
  }

 private:
  std::int64_t D() const { return build_.plan().model.emb_dim; }
  std::int64_t returned() const { return returned_columns(build_); }
  bool in_chunks() const { return chunks_ > 1; }
  bool chosen_by_scores() const { return moe_.score != MoeMlp::Score::softmax; }
  TokenOrder token_order(std::int64_t columns) const {
    return ring_token_order(build_, rows_, columns);
  }
  // An older ring, of micro-benchmarks: rows of all slots pass through arrays of their own before
  // the local ones are picked, and after.
  bool full_length() const {
    const std::optional<MoeBlock>& block = build_.plan().moe_block;
    return block && block->dispatch == DispatchVariant::ring_legacy;
  }
  bool hashed() const { return moe_.routing == MoeMlp::Routing::hash; }

  // "@2" of what chunk 2 has to itself, and of what it shares with every other chunk.
  Name own(Name name, std::int64_t c) const {
    return in_chunks() ? Name(fmt::format("{}@{}", name.text(), c)) : name;
  }
  Name turn(Name name, std::int64_t c) const { return own(name, c % 2); }

  void declare(std::int64_t c) {
    build_.activation(turn("all_tokens", c), group_tokens_, D());
    build_.activation(turn("all_logits", c), group_tokens_, moe_.experts, gate_type(build_));
    if (chosen_by_scores())
      build_.activation(turn("all_scores", c), group_tokens_, moe_.experts, gate_type(build_));
    if (hashed()) build_.activation(turn("all_ids", c), group_tokens_, 1, DType::int32);
    if (!moe_.router) build_.activation("choices", build_.T(), 2 * moe_.top_k, DType::float32);
    build_.activation(turn("partial_out", c), group_tokens_, returned());
  }

  OpTemplate collective(const char* name, std::int64_t c, CollectiveKind kind, std::int64_t columns,
                        DType type, Names reads, Names writes, std::size_t stream) const {
    const Bytes payload =
        Bytes(checked_product({group_tokens_, columns, element_bytes(type)}, "gathered tokens"));
    OpTemplate op = build_.collective(own(name, c), kind, {"expert"}, payload, std::move(reads),
                                      std::move(writes));
    op.stream = stream;
    return op;
  }

  // Puts a transfer beside the core. The backward pass begins with the last chunk.
  void forward(OpTemplate op) { build_.forward_beside(std::move(op)); }
  void backward_first(OpTemplate op) { build_.backward_beside_first(std::move(op)); }

  void gather(std::int64_t c) {
    const DType type = build_.plan().training.activations;
    constexpr auto all_gather = CollectiveKind::all_gather;
    constexpr auto reduce_scatter = CollectiveKind::reduce_scatter;
    OpTemplate tokens = collective("gather_tokens", c, all_gather, D(), type, {input_},
                                   {turn("all_tokens", c)}, gather_stream);
    // The buffer is free when the chunk before the last has been sorted.
    if (c >= 2) tokens.after = {own("fan_out", c - 2)};
    if (c >= 1 && barrier_) tokens.after.push_back(own("reduce_outputs", c - 1));
    forward(std::move(tokens));
    gather_choices(c);
    // Backward: the same way back.
    OpTemplate token_sums =
        collective("reduce_tokens", c, reduce_scatter, D(), type, {"d_" + turn("all_tokens", c)},
                   {"d_" + input_}, scatter_stream);
    if (in_chunks()) token_sums.after = {own("fan_out_back", c)};
    backward_first(std::move(token_sums));
  }

  // What a device needs to choose for the tokens of all, or their choices.
  void gather_choices(std::int64_t c) {
    constexpr auto all_gather = CollectiveKind::all_gather;
    if (!moe_.router) {
      forward(collective("gather_choices", c, all_gather, 2 * moe_.top_k, DType::float32,
                         {"choices"}, {own("routing", c)}, gather_stream));
      return;
    }
    forward(collective("gather_logits", c, all_gather, moe_.experts, gate_type(build_),
                       {"router_logits"}, {turn("all_logits", c)}, gather_stream));
    // Scores before the bias travel beside the biased ones that choose; only one of the two has a
    // gradient.
    if (chosen_by_scores())
      forward(collective("gather_scores", c, all_gather, moe_.experts, gate_type(build_),
                         {"router_logits"}, {turn("all_scores", c)}, gather_stream));
    if (hashed())
      forward(collective("gather_token_ids", c, all_gather, 1, DType::int32, {},
                         {turn("all_ids", c)}, gather_stream));
    OpTemplate logit_sums = collective(
        "reduce_logits", c, CollectiveKind::reduce_scatter, moe_.experts, gate_type(build_),
        {"d_" + turn("all_logits", c)}, {"d_router_logits"}, scatter_stream);
    if (in_chunks()) logit_sums.after = {own("route_back", c)};
    backward_first(std::move(logit_sums));
  }

  void permute(std::int64_t c) {
    Names beside;
    if (chosen_by_scores()) beside.push_back(turn("all_scores", c));
    if (hashed()) beside.push_back(turn("all_ids", c));
    build_choice(build_, moe_, group_tokens_, turn("all_logits", c), beside, tag(c));
    const Name last_gather = !moe_.router         ? "gather_choices"
                             : hashed()           ? "gather_token_ids"
                             : chosen_by_scores() ? "gather_scores"
                                                  : "gather_logits";
    sort_keys(build_, own("routing", c), group_tokens_ * moe_.top_k, own("order", c));
    const Name first = moe_.router ? own("route", c) : own("sort_keys_of_order", c);
    if (in_chunks()) build_.forward_op(first).after = {own(last_gather, c)};
    moved_activation(build_, own("rows_in", c), rows_, D());
    Name tokens = turn("all_tokens", c);
    if (full_length()) {
      build_.activation(own("all_rows", c), group_tokens_ * moe_.top_k, D());
      take_rows(build_, own("take_all", c), tokens, own("order", c), own("all_rows", c), 2, 1);
      tokens = own("all_rows", c);
    }
    to_experts(build_, tokens, own("order", c), own("rows_in", c), token_order(D()), tag(c));
    // The buffer of its result is free when the chunk before the last in this pass has returned.
    if (c + 2 < chunks_)
      build_.backward_op(own("fan_out_back", c)).after = {own("reduce_tokens", c + 2)};
  }

  void experts(std::int64_t c) {
    // The backward pass begins with the last chunk, whose gradients are the first.
    build_experts(build_, moe_, {rows_, tag(c), c + 1 < chunks_, in_chunks()});
    moved_activation(build_, own("rows_out", c), rows_, returned());
  }

  void unpermute(std::int64_t c) {
    Name sums = turn("partial_out", c);
    if (full_length()) {
      sums = own("all_results", c);
      build_.activation(sums, group_tokens_ * moe_.top_k, returned());
    }
    from_experts(build_, own("rows_out", c), own("order", c), own("routing", c), sums,
                 token_order(returned()), tag(c));
    if (full_length())
      take_rows(build_, own("place_all", c), sums, own("order", c), turn("partial_out", c), 1, 2);
    if (in_chunks()) build_.backward_op(own("fan_in_back", c)).after = {own("gather_gradients", c)};
    if (c >= 2) build_.forward_op(own("fan_in", c)).after = {own("reduce_outputs", c - 2)};
  }

  void scatter(std::int64_t c) {
    const DType type = build_.plan().training.activations;
    OpTemplate sums = collective("reduce_outputs", c, CollectiveKind::reduce_scatter, returned(),
                                 type, {turn("partial_out", c)}, {"routed_out"}, scatter_stream);
    OpTemplate gradients =
        collective("gather_gradients", c, CollectiveKind::all_gather, returned(), type,
                   {"d_routed_out"}, {"d_" + turn("partial_out", c)}, gather_stream);
    if (in_chunks()) sums.after = {own("fan_in", c)};
    if (c + 2 < chunks_) gradients.after = {own("fan_in_back", c + 2)};
    if (c + 1 < chunks_ && barrier_)
      gradients.after.push_back(own(moe_.router ? "reduce_logits" : "reduce_tokens", c + 1));
    forward(std::move(sums));
    backward_first(std::move(gradients));
  }

  std::string tag(std::int64_t c) const { return own("", c); }

  LayerBuilder& build_;
  const MoeMlp& moe_;
  Name input_;
  std::int64_t chunks_ = 1;
  bool barrier_ = false;
  std::int64_t tokens_ = 0;        // of one chunk
  std::int64_t group_tokens_ = 0;  // of one chunk, of all P devices
  ExpertRows rows_;                // of one chunk
};

}  // namespace

void build_ring_of_experts(LayerBuilder& build, const MoeMlp& moe, Name input) {
  Ring ring(build, moe, input);
  if (build.plan().config.integer("num_moe_token_chunks") > 1) {
    ring.pipelined();
  } else {
    ring.whole();
  }
}

}  // namespace meshsim
