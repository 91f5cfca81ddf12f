#include "program/expert_stages.hpp"

#include "units/checked.hpp"

namespace meshsim {

void build_ring_of_experts(LayerBuilder& build, const MoeMlp& moe, const std::string& input) {
  const std::int64_t P = build.plan().mesh.size("expert");
  const std::int64_t T = build.T();
  const std::int64_t n = checked_multiply(T, moe.top_k, "slots");
  const std::int64_t D = build.plan().model.emb_dim;
  const std::vector<std::string> axes{"expert"};
  const std::int64_t element = element_bytes(build.plan().training.activations);
  const Bytes tokens = Bytes(checked_product({P, T, D}, "gathered tokens")) * element;
  const Bytes logits = Bytes(checked_product({P, T, moe.experts}, "gathered logits")) * element;
  build.activation("all_tokens", P * T, D);
  build.activation("all_logits", P * T, moe.experts);
  build.activation("partial_out", P * T, D);
  build.activation("routed_out", T, D);

  build.stage("gather_tokens");
  if (moe.shared_width > 0) build_shared(build, moe, input);
  build.forward_beside(build.collective("gather_tokens", CollectiveKind::all_gather, axes, tokens,
                                        {input}, {"all_tokens"}));
  build.forward_beside(build.collective("gather_logits", CollectiveKind::all_gather, axes, logits,
                                        {"router_logits"}, {"all_logits"}));
  build.backward_beside(build.collective("reduce_tokens", CollectiveKind::reduce_scatter, axes,
                                         tokens, {"d_all_tokens"}, {"d_" + input}));
  build.backward_beside(build.collective("reduce_logits", CollectiveKind::reduce_scatter, axes,
                                         logits, {"d_all_logits"}, {"d_router_logits"}));
  Names chosen_by;
  if (moe.score != MoeMlp::Score::softmax) {
    // Scores before the bias travel beside the biased ones that choose; only one of the two has a
    // gradient.
    chosen_by.emplace_back("all_scores");
    build.activation("all_scores", P * T, moe.experts);
    build.forward_beside(build.collective("gather_scores", CollectiveKind::all_gather, axes, logits,
                                          {"router_logits"}, {"all_scores"}));
  }
  if (moe.routing == MoeMlp::Routing::hash) {
    chosen_by.emplace_back("all_ids");
    build.activation("all_ids", P * T, 1, DType::int32);
    build.forward_beside(build.collective("gather_token_ids", CollectiveKind::all_gather, axes,
                                          Bytes(checked_multiply(4, P * T, "token ids")), {},
                                          {"all_ids"}));
  }
  build.stage("permute");
  build_choice(build, moe, P * T, "all_logits", "routing", chosen_by);
  const std::int64_t moved = moved_rows(build, n, P * n);
  build.padded_activation("rows_in", P * n, moved, D);
  build.vector("permute", {}, {"all_tokens", "routing"}, {"rows_in"}, {}, {"all_tokens"});
  build_experts(build, moe, n, P * n);
  build.padded_activation("rows_out", P * n, moved, D);
  build.stage("unpermute");
  build.vector("unpermute", {}, {"rows_out", "routing"}, {"partial_out"}, {"rows_out", "routing"},
               {"rows_out", "routing"});
  build.stage("reduce_outputs");
  build.forward_beside(build.collective("reduce_outputs", CollectiveKind::reduce_scatter, axes,
                                        tokens, {"partial_out"}, {"routed_out"}));
  build.backward_beside(build.collective("gather_gradients", CollectiveKind::all_gather, axes,
                                         tokens, {"d_routed_out"}, {"d_partial_out"}));
}

}  // namespace meshsim
