// One microbatch of the batch-split schedule (program/batch_split.hpp): the choices of a device's
// own tokens are gathered in place of logits, then the tokens; sums return.
//
//   gather    ids and weights [P T, k], sums of counts [E], tokens [P T, D]
//   reduce    sums [P T, D] -> [T, D]
//
// A row is weighted before its down-projection, so that neither its result nor its weight is needed
// to add rows up. Of gates and ups the backward pass keeps as many rows as twice the mean; rows of
// tokens are gathered again.
//
// Source: moe_semantics of MaxText's deepseek_batchsplit model, 2026-08.
#include <algorithm>

#include "program/batch_split.hpp"
#include "program/expert_stages.hpp"
#include "program/row_moves.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

class GatheredChoices {
 public:
  GatheredChoices(LayerBuilder& build, const MoeMlp& moe, Name input)
      : build_(build), moe_(moe), input_(input) {
    const std::int64_t P = build.plan().mesh.size("expert");
    spread_ = P > 1;
    group_tokens_ = checked_multiply(P, build.T(), "group's tokens");
    rows_ = gathered_rows(build, moe, build.T());
    build_.routes({batch_split_parts, build.T(), rows_.buffer, Cut::by_expert});
  }

  void run() {
    build_choice(build_, moe_, build_.T(), "router_logits");
    if (moe_.shared_width > 0) {
      build_.stage("shared");
      build_shared(build_, moe_, input_);
    }
    build_.stage(batch_split_stages::gather);
    gather();
    build_.stage(batch_split_stages::permute);
    sort_keys(build_, ids(), checked_multiply(group_tokens_, moe_.top_k, "slots"), "order");
    moved_activation(build_, "rows_in", rows_, D());
    to_experts(build_, tokens(), "order", "rows_in", ring_token_order(build_, rows_, D()));
    experts();
    build_.stage(batch_split_stages::unpermute);
    build_.activation("routed_out", build_.T(), D());
    if (spread_) build_.activation("partial_out", group_tokens_, D());
    from_experts(build_, "rows_out", "order", "", spread_ ? "partial_out" : "routed_out",
                 ring_token_order(build_, rows_, D()));
    build_.stage(batch_split_stages::reduce);
    if (spread_) reduce();
  }

 private:
  std::int64_t D() const { return build_.plan().model.emb_dim; }
  DType type() const { return build_.plan().training.activations; }
  Name tokens() const { return spread_ ? "all_tokens" : input_; }
  Name ids() const { return spread_ ? "all_ids" : "routing"; }
  Name weights() const { return spread_ ? "all_weights" : "routing"; }

  OpTemplate collective(const char* name, CollectiveKind kind, std::int64_t columns, DType dtype,
                        Names reads, Names writes) const {
    const Bytes payload =
        Bytes(checked_product({group_tokens_, columns, element_bytes(dtype)}, "gathered tokens"));
    return build_.collective(name, kind, {"expert"}, payload, std::move(reads), std::move(writes));
  }

  void gather() {
    if (!spread_) return;
    constexpr auto all_gather = CollectiveKind::all_gather;
    constexpr auto reduce_scatter = CollectiveKind::reduce_scatter;
    build_.activation("all_ids", group_tokens_, moe_.top_k, DType::int32);
    build_.activation("all_weights", group_tokens_, moe_.top_k);
    build_.activation("expert_counts", 1, moe_.experts, DType::int32);
    build_.activation("all_tokens", group_tokens_, D());
    build_.forward_beside(
        collective("gather_ids", all_gather, moe_.top_k, DType::int32, {"routing"}, {"all_ids"}));
    build_.forward_beside(collective("gather_weights_of_choices", all_gather, moe_.top_k, type(),
                                     {"routing"}, {"all_weights"}));
    build_.forward_beside(build_.collective("sum_counts", CollectiveKind::all_reduce, {"expert"},
                                            Bytes(4 * moe_.experts), {"routing"},
                                            {"expert_counts"}));
    build_.forward_beside(
        collective("gather_tokens", all_gather, D(), type(), {input_}, {"all_tokens"}));
    build_.backward_beside(collective("reduce_tokens", reduce_scatter, D(), type(),
                                      {"d_all_tokens"}, {"d_" + input_}));
    build_.backward_beside(collective("reduce_weights_of_choices", reduce_scatter, moe_.top_k,
                                      type(), {"d_all_weights"}, {"d_routing"}));
  }

  void experts() {
    const ExpertProducts products{rows_, ""};
    declare_products(build_, moe_, products);
    const std::int64_t width = moe_.up_projections * moe_.width;
    const std::int64_t kept = std::min(rows_.buffer, batch_split_capacity * rows_.slots);
    build_.routed_activation("up_checkpoint", kept, rows_.routed, width);
    build_.stage(batch_split_stages::experts);
    build_.grouped_linear("gmm_up", up_names(moe_block, moe_.up_projections, ""), "rows_in",
                          {"expert_up"}, {{moe_.up_projections, rows_.routed, D(), moe_.width}},
                          local_experts(build_, moe_, "wi"));
    // The first rows of the buffer, whatever they hold.
    OpTemplate keep =
        build_.compute("keep_up", OpKind::elementwise, {}, {}, {"expert_up"}, {"up_checkpoint"});
    std::get<Compute>(keep.work).hbm_bytes = build_.activation_bytes(kept, width) * 2;
    keep.routed = {};
    build_.forward(std::move(keep));
    // The gradient of the activation is that of the rows that were multiplied.
    const Names read{"up_checkpoint", weights()};
    build_.forward(
        build_.compute("expert_activation", OpKind::elementwise, {}, {}, read, {"expert_hidden"}));
    Names back = read;
    back.emplace_back("d_expert_hidden");
    build_.backward(build_.compute("expert_activation_back", OpKind::elementwise, {}, {},
                                   std::move(back), {"d_expert_up", "d_" + weights()}));
    build_down(build_, moe_, products);
    moved_activation(build_, "rows_out", rows_, D());
  }

  void reduce() {
    build_.forward_beside(collective("reduce_outputs", CollectiveKind::reduce_scatter, D(), type(),
                                     {"partial_out"}, {"routed_out"}));
    build_.backward_beside(collective("gather_gradients", CollectiveKind::all_gather, D(), type(),
                                      {"d_routed_out"}, {"d_partial_out"}));
  }

  LayerBuilder& build_;
  const MoeMlp& moe_;
  Name input_;
  bool spread_ = false;            // over several devices
  std::int64_t group_tokens_ = 0;  // of one microbatch, of all P devices
  ExpertRows rows_{};
};

}  // namespace

void build_gathered_choices(LayerBuilder& build, const MoeMlp& moe, Name input) {
  GatheredChoices(build, moe, input).run();
}

}  // namespace meshsim
