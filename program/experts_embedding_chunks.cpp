// A ring of experts in N slices of the embedding.
//
//   core      route, up 0        up 1      ...  activation, down
//   gather    tokens 0, logits   tokens 1  ...
//
// Each slice [P T, D / N] is sorted by expert and multiplied with its slice of the up-projections;
// the sums, in float32, pass through HBM between the slices. Backward, each slice of the gradients
// of the tokens is scattered while the next is multiplied. Gathered slices have two buffers.
#include <fmt/format.h>

#include "program/expert_stages.hpp"
#include "program/row_moves.hpp"
#include "units/checked.hpp"

namespace meshsim {
namespace {

constexpr std::size_t gather_stream = 0;
constexpr std::size_t scatter_stream = 1;

class EmbeddingChunks {
 public:
  EmbeddingChunks(LayerBuilder& build, const MoeMlp& moe, Name input)
      : build_(build), moe_(moe), input_(input) {
    slices_ = build.plan().config.integer("num_moe_emb_chunks");
    width_ = build.plan().model.emb_dim / slices_;
    group_tokens_ = checked_multiply(build.plan().mesh.size("expert"), build.T(), "group's tokens");
    rows_ = ring_rows(build, moe, build.T());
    build.routes({1, build.T(), rows_.buffer, Cut::by_expert});
    declare();
  }

  void run() {
    build_.stage("chunked_up");
    if (moe_.shared_width > 0) build_shared(build_, moe_, input_);
    gather_slice(0);
    gather_logits();
    for (std::int64_t c = 1; c < slices_; ++c) gather_slice(c);
    for (std::int64_t c = 0; c < slices_; ++c) up(c);
    build_activation(build_, moe_, "");
    build_.stage("experts_down");
    build_down(build_, moe_, {rows_, ""});
    moved_activation(build_, "rows_out", rows_, returned());
    build_.stage("unpermute");
    from_experts(build_, "rows_out", "order", "routing", "partial_out",
                 ring_token_order(build_, rows_, returned()));
    build_.stage("reduce_outputs");
    build_.forward_beside(collective("reduce_outputs", CollectiveKind::reduce_scatter, returned(),
                                     activations(), {"partial_out"}, {"routed_out"}));
    build_.backward_beside(collective("gather_gradients", CollectiveKind::all_gather, returned(),
                                      activations(), {"d_routed_out"}, {"d_partial_out"}));
  }

 private:
  std::int64_t D() const { return build_.plan().model.emb_dim; }
  std::int64_t returned() const { return returned_columns(build_); }
  DType activations() const { return build_.plan().training.activations; }
  bool chosen_by_scores() const { return moe_.score != MoeMlp::Score::softmax; }
  bool hashed() const { return moe_.routing == MoeMlp::Routing::hash; }
  static Name own(const char* name, std::int64_t c) { return fmt::format("{}@{}", name, c); }
  static Name turn(const char* name, std::int64_t c) { return own(name, c % 2); }

  void declare() {
    declare_products(build_, moe_, {rows_, ""});
    build_.routed_activation("up_sums", rows_.buffer, rows_.routed,
                             moe_.up_projections * moe_.width, DType::float32);
    for (std::int64_t c = 0; c < slices_; ++c) {
      build_.activation(turn("all_tokens", c), group_tokens_, width_);
    }
    build_.activation("all_logits", group_tokens_, moe_.experts, gate_type(build_));
    build_.activation("all_scores", group_tokens_, moe_.experts, gate_type(build_));
    build_.activation("all_ids", group_tokens_, 1, DType::int32);
    build_.activation("partial_out", group_tokens_, returned());
    build_.activation("routed_out", build_.T(), returned());
  }

  OpTemplate collective(Name name, CollectiveKind kind, std::int64_t columns, DType type,
                        Names reads, Names writes, std::size_t stream = gather_stream) const {
    const Bytes payload =
        Bytes(checked_product({group_tokens_, columns, element_bytes(type)}, "gathered tokens"));
    OpTemplate op =
        build_.collective(name, kind, {"expert"}, payload, std::move(reads), std::move(writes));
    op.stream = stream;
    return op;
  }

  void gather_slice(std::int64_t c) {
    OpTemplate tokens = collective(own("gather_tokens", c), CollectiveKind::all_gather, width_,
                                   activations(), {input_}, {turn("all_tokens", c)});
    if (c >= 2) tokens.after = {own("fan_out", c - 2)};
    build_.forward_beside(std::move(tokens));
    OpTemplate sums =
        collective(own("reduce_tokens", c), CollectiveKind::reduce_scatter, width_, activations(),
                   {"d_" + turn("all_tokens", c)}, {"d_" + input_}, scatter_stream);
    sums.after = {own("fan_out_back", c)};
    build_.backward_beside_first(std::move(sums));
  }

  void gather_logits() {
    constexpr auto all_gather = CollectiveKind::all_gather;
    const auto table = [&](const char* name, const char* to) {
      build_.forward_beside(
          collective(name, all_gather, moe_.experts, gate_type(build_), {"router_logits"}, {to}));
    };
    Names beside;
    table("gather_logits", "all_logits");
    Name last = "gather_logits";
    if (chosen_by_scores()) {
      beside.emplace_back("all_scores");
      table("gather_scores", "all_scores");
      last = "gather_scores";
    }
    if (hashed()) {
      beside.emplace_back("all_ids");
      last = "gather_token_ids";
      build_.forward_beside(collective(last, all_gather, 1, DType::int32, {}, {"all_ids"}));
    }
    OpTemplate sums =
        collective("reduce_logits", CollectiveKind::reduce_scatter, moe_.experts, gate_type(build_),
                   {"d_all_logits"}, {"d_router_logits"}, scatter_stream);
    sums.after = {"route_back"};
    build_.backward_beside(std::move(sums));
    build_choice(build_, moe_, group_tokens_, "all_logits", beside);
    build_.forward_op("route").after = {last};
    sort_keys(build_, "routing", group_tokens_ * moe_.top_k, "order");
  }

  // Sorts a slice and adds its products.
  void up(std::int64_t c) {
    const Name in = own("rows_in", c);
    const Name tokens = turn("all_tokens", c);
    moved_activation(build_, in, rows_, width_);
    to_experts(build_, tokens, "order", in, ring_token_order(build_, rows_, width_), own("", c));
    // The first slice's gather came before that of the logits, which the sort waited for.
    if (c > 0) build_.forward_op(own("fan_out", c)).after = {own("gather_tokens", c)};
    // Backward goes from the last slice to the first: its buffer is free when the slice before the
    // last has left.
    if (c + 2 < slices_)
      build_.backward_op(own("fan_out_back", c)).after = {own("reduce_tokens", c + 2)};

    build_.routed_activation(in, rows_.buffer, rows_.routed, width_);
    const Names weights = up_names(moe_block, moe_.up_projections, "");
    LayerBuilder::Groups groups = local_experts(build_, moe_, "wi");
    groups.share = slices_;
    using Product = LayerBuilder::Product;
    const Matmul p{moe_.up_projections, rows_.routed, width_, moe_.width};
    Names reads{in};
    if (c > 0) reads.emplace_back("up_sums");
    const bool last = c + 1 == slices_;
    build_.forward(build_.grouped(Product::rows, own("gmm_up", c), {p}, std::move(reads),
                                  {last ? "expert_up" : "up_sums"}, weights, groups));
    build_.backward(build_.grouped(Product::row_gradients, own("gmm_up_dx", c),
                                   {{p.count, p.m, p.n, p.k}}, {"d_expert_up"}, {"d_" + in},
                                   weights, groups));
    build_.backward(build_.grouped(Product::weight_gradients, own("gmm_up_dw", c), {p},
                                   {"d_expert_up", in}, {}, weights, groups));
  }

  LayerBuilder& build_;
  const MoeMlp& moe_;
  Name input_;
  std::int64_t slices_ = 1;
  std::int64_t width_ = 0;  // of a slice
  std::int64_t group_tokens_ = 0;
  ExpertRows rows_{};
};

}  // namespace

void build_embedding_chunks(LayerBuilder& build, const MoeMlp& moe, Name input) {
  EmbeddingChunks(build, moe, input).run();
}

}  // namespace meshsim
