#include "model_specs/layer_tensors.hpp"

namespace meshsim {
namespace {

void append_grouped_query(std::vector<Tensor>& t, std::int64_t D, const GroupedQueryAttention& a) {
  const std::string path = "self_attention/";
  if (a.fused_qkv) {
    t.push_back(
        {path + "qkv_proj/kernel", {D, 3, a.heads, a.head_dim}, {"embed", "qkv", "heads", "kv"}});
    if (a.bias) {
      t.push_back({path + "qkv_proj/bias",
                   {3, a.heads, a.head_dim},
                   {"qkv", "heads", "kv"},
                   TensorRole::bias});
    }
  } else {
    t.push_back({path + "query/kernel", {D, a.heads, a.head_dim}, {"embed", "q_heads", "kv"}});
    if (a.bias) {
      t.push_back(
          {path + "query/bias", {a.heads, a.head_dim}, {"q_heads", "kv"}, TensorRole::bias});
    }
    for (const char* name : {"key", "value"}) {
      t.push_back({path + name + "/kernel",
                   {D, a.kv_heads, a.head_dim},
                   {"embed", "kv_heads", "kv_head_dim"}});
      if (a.bias) {
        t.push_back({path + name + "/bias",
                     {a.kv_heads, a.head_dim},
                     {"kv_heads", "kv_head_dim"},
                     TensorRole::bias});
      }
    }
  }
  t.push_back({path + "out/kernel", {a.heads, a.head_dim, D}, {"heads", "kv", "embed"}});
  if (a.bias) t.push_back({path + "out/bias", {D}, {"norm"}, TensorRole::bias});
  if (a.qk_norm == GroupedQueryAttention::QkNorm::weighted) {
    append_norm(t, path + "query_norm", a.head_dim, false);
    append_norm(t, path + "key_norm", a.head_dim, false);
  }
  if (a.sinks) t.push_back({path + "sinks", {a.heads}, {""}, TensorRole::bias});
}

void append_latent(std::vector<Tensor>& t, std::int64_t D, const LatentAttention& a) {
  const std::string path = "self_attention/";
  const std::int64_t qk = a.qk_nope + a.qk_rope;
  if (a.q_lora > 0) {
    t.push_back({path + "wq_a/kernel", {D, a.q_lora}, {"embed", "q_lora_up_proj"}});
    append_norm(t, path + "q_norm", a.q_lora, false);
    t.push_back({path + "wq_b/kernel", {a.q_lora, a.heads, qk}, {"q_lora", "q_heads", "kv"}});
  } else {
    t.push_back({path + "query/kernel", {D, a.heads, qk}, {"embed", "q_heads", "kv"}});
  }
  t.push_back({path + "wkv_a/kernel", {D, a.kv_lora + a.qk_rope}, {"embed", "kv_lora_up_proj"}});
  append_norm(t, path + "kv_norm", a.kv_lora, false);
  t.push_back({path + "wkv_b/kernel",
               {a.kv_lora, a.heads, a.qk_nope + a.v_dim},
               {"kv_lora", "kv_heads", "kv_head_dim"}});
  t.push_back({path + "out/kernel", {a.heads, a.v_dim, D}, {"heads", "kv", "embed"}});
  if (a.unused_kv_width > 0) {
    for (const char* name : {"key", "value"}) {
      Tensor unused{path + name + "/kernel",
                    {D, a.heads, a.unused_kv_width},
                    {"embed", "kv_heads", "kv_head_dim"}};
      unused.gradient = false;
      unused.official = false;
      t.push_back(std::move(unused));
    }
  }
}

// Pools `window` tokens into one entry of `width` channels: two projections, a bias per position of
// the window, a norm. CSA's overlapping windows need two sets of channels.
void append_pooling(std::vector<Tensor>& t, const std::string& path, std::int64_t D,
                    std::int64_t window, std::int64_t channels, std::int64_t entry) {
  t.push_back({path + "kv_proj/kernel", {D, channels}, {"embed", "kv"}});
  t.push_back({path + "gate_proj/kernel", {D, channels}, {"embed", "kv"}});
  t.push_back({path + "position_bias", {window, channels}, {"", ""}, TensorRole::bias});
  append_norm(t, path + "kv_norm", entry, false);
}

void append_indexer(std::vector<Tensor>& t, const std::string& path, std::int64_t D,
                    const CompressedAttention& a) {
  Tensor query{
      path + "q_proj/kernel", {a.q_lora, a.indexer_heads * a.indexer_dim}, {"q_lora", "indexer_q"}};
  Tensor weights{path + "weights_proj/kernel", {D, a.indexer_heads}, {"embed", "indexer_weights"}};
  std::vector<Tensor> tensors{query};
  append_pooling(tensors, path, D, a.ratio, 2 * a.indexer_dim, a.indexer_dim);
  tensors.push_back(weights);
  for (Tensor& tensor : tensors) {
    tensor.gradient = false;  // MaxText uses only the indexer's indices
    t.push_back(std::move(tensor));
  }
}

void append_compressed(std::vector<Tensor>& t, std::int64_t D, const CompressedAttention& a) {
  const std::string path = "self_attention/";
  t.push_back({path + "wq_a/kernel", {D, a.q_lora}, {"embed", "q_lora"}});
  append_norm(t, path + "q_norm", a.q_lora, false);
  t.push_back({path + "wq_b/kernel", {a.q_lora, a.heads, a.head_dim}, {"q_lora", "q_heads", "kv"}});
  t.push_back({path + "wkv/kernel", {D, 1, a.head_dim}, {"embed", "kv_heads", "kv_head_dim"}});
  append_norm(t, path + "kv_norm", a.head_dim, false);
  // No rule places o_groups or o_lora_up_proj: the kernel is whole on every device unless a tensor
  // axis splits its heads.
  t.push_back({path + "o_a_proj/kernel",
               {a.o_groups, a.heads * a.head_dim / a.o_groups, a.o_lora},
               {"o_groups", "q_heads", "o_lora_up_proj"}});
  t.push_back({path + "o_b_proj/kernel", {a.o_groups * a.o_lora, D}, {"o_lora_up_proj", "embed"}});
  t.push_back({path + "sinks", {a.heads}, {""}, TensorRole::bias});
  switch (a.kind) {
    case CompressedAttention::Kind::window_only: break;
    case CompressedAttention::Kind::hca:
      append_pooling(t, path + "hca_compressor/", D, a.ratio, a.head_dim, a.head_dim);
      break;
    case CompressedAttention::Kind::csa:
      append_pooling(t, path + "csa_compressor/", D, a.ratio, 2 * a.head_dim, a.head_dim);
      append_indexer(t, path + "csa_compressor/indexer/", D, a);
      break;
  }
}

}  // namespace

void append_norm(std::vector<Tensor>& tensors, const std::string& path, std::int64_t width,
                 bool layer_norm) {
  tensors.push_back({path + "/scale", {width}, {"norm"}, TensorRole::norm});
  if (layer_norm) tensors.push_back({path + "/bias", {width}, {"norm"}, TensorRole::bias});
}

std::vector<Tensor> attention_tensors(const ModelSpec& spec, const Attention& attention) {
  std::vector<Tensor> tensors;
  const std::int64_t D = spec.emb_dim;
  if (const auto* gqa = std::get_if<GroupedQueryAttention>(&attention.form)) {
    append_grouped_query(tensors, D, *gqa);
  } else if (const auto* mla = std::get_if<LatentAttention>(&attention.form)) {
    append_latent(tensors, D, *mla);
  } else {
    append_compressed(tensors, D, std::get<CompressedAttention>(attention.form));
  }
  return tensors;
}

}  // namespace meshsim
