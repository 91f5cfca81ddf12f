#include "model_specs/hf_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "inputs/json.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

// One MaxText key and the Hugging Face keys that state it, first match wins.
struct Translation {
  const char* maxtext;
  std::vector<const char*> hf;
  bool required = true;
};

struct Family {
  const char* model_type;
  const char* decoder_block;
  std::vector<Translation> keys;
  std::vector<std::pair<const char*, const char*>> constants;  // MaxText keys that the family fixes
};

const std::vector<Translation>& common_keys() {
  static const std::vector<Translation> keys{
      {"base_emb_dim", {"hidden_size"}},
      {"base_num_decoder_layers", {"num_hidden_layers"}},
      {"base_num_query_heads", {"num_attention_heads"}},
      {"vocab_size", {"vocab_size"}},
      {"logits_via_embedding", {"tie_word_embeddings"}, false},
      {"attention_bias", {"attention_bias"}, false},
      {"max_position_embeddings", {"max_position_embeddings"}, false},
      {"normalization_layer_epsilon", {"rms_norm_eps"}, false},
  };
  return keys;
}

const std::vector<Family>& families() {
  static const std::vector<Family> all{
      {"llama",
       "llama2",
       {{"base_num_kv_heads", {"num_key_value_heads", "num_attention_heads"}},
        {"base_mlp_dim", {"intermediate_size"}},
        {"mlp_bias", {"mlp_bias"}, false}},
       {}},
      {"mixtral",
       "mixtral",
       {{"base_num_kv_heads", {"num_key_value_heads"}},
        {"base_mlp_dim", {"intermediate_size"}},
        {"base_moe_mlp_dim", {"intermediate_size"}},
        {"num_experts", {"num_local_experts"}},
        {"num_experts_per_tok", {"num_experts_per_tok"}}},
       {}},
      {"qwen3_moe",
       "qwen3_moe",
       {{"base_num_kv_heads", {"num_key_value_heads"}},
        {"base_mlp_dim", {"moe_intermediate_size"}},
        {"base_moe_mlp_dim", {"moe_intermediate_size"}},
        {"num_experts", {"num_experts"}},
        {"num_experts_per_tok", {"num_experts_per_tok"}},
        {"norm_topk_prob", {"norm_topk_prob"}, false},
        {"interleave_moe_layer_step", {"decoder_sparse_step"}, false}},
       {{"use_qk_norm", "true"}}},
      {"gpt_oss",
       "gpt_oss",
       {{"base_num_kv_heads", {"num_key_value_heads"}},
        {"base_mlp_dim", {"intermediate_size"}},
        {"base_moe_mlp_dim", {"intermediate_size"}},
        {"num_experts", {"num_local_experts"}},
        {"num_experts_per_tok", {"num_experts_per_tok", "experts_per_token"}},
        {"sliding_window_size", {"sliding_window"}},
        {"mlp_activations_limit", {"swiglu_limit"}, false}},
       {{"attention_bias", "true"},
        {"mlp_bias", "true"},
        {"attention_sink", "true"},
        {"routed_bias", "true"},
        {"inhomogeneous_layer_cycle_interval", "2"}}},
      {"deepseek_v3",
       "deepseek",
       {{"base_num_kv_heads", {"num_key_value_heads", "num_attention_heads"}},
        {"base_mlp_dim", {"intermediate_size"}},
        {"base_moe_mlp_dim", {"moe_intermediate_size"}},
        {"num_experts", {"n_routed_experts"}},
        {"num_experts_per_tok", {"num_experts_per_tok"}},
        {"shared_experts", {"n_shared_experts"}},
        {"first_num_dense_layers", {"first_k_dense_replace"}},
        {"q_lora_rank", {"q_lora_rank"}, false},
        {"kv_lora_rank", {"kv_lora_rank"}},
        {"qk_nope_head_dim", {"qk_nope_head_dim"}},
        {"qk_rope_head_dim", {"qk_rope_head_dim"}},
        {"v_head_dim", {"v_head_dim"}},
        {"n_routing_groups", {"n_group"}, false},
        {"topk_routing_group", {"topk_group"}, false},
        {"routed_scaling_factor", {"routed_scaling_factor"}, false},
        {"routed_score_func", {"scoring_func"}, false}},
       {{"attention_type", "mla"}, {"routed_bias", "true"}}},
      {"deepseek_v4",
       "deepseek4",
       {{"base_num_kv_heads", {"num_key_value_heads"}},
        {"head_dim", {"head_dim"}},
        {"base_mlp_dim", {"moe_intermediate_size"}},
        {"base_moe_mlp_dim", {"moe_intermediate_size"}},
        {"num_experts", {"n_routed_experts"}},
        {"num_experts_per_tok", {"num_experts_per_tok"}},
        {"shared_experts", {"n_shared_experts"}},
        {"q_lora_rank", {"q_lora_rank"}},
        {"qk_rope_head_dim", {"qk_rope_head_dim"}, false},
        {"o_groups", {"o_groups"}},
        {"o_lora_rank", {"o_lora_rank"}},
        {"compress_ratios", {"compress_ratios"}},
        {"sliding_window_size", {"sliding_window"}},
        {"indexer_n_heads", {"index_n_heads"}},
        {"indexer_head_dim", {"index_head_dim"}},
        {"indexer_topk", {"index_topk"}},
        {"mhc_expansion_rate", {"hc_mult"}},
        {"sinkhorn_iterations", {"hc_sinkhorn_iters"}, false},
        {"first_num_hash_layers", {"num_hash_layers", "n_hash_layers"}},
        {"routed_scaling_factor", {"routed_scaling_factor"}, false},
        {"norm_topk_prob", {"norm_topk_prob"}, false},
        {"mlp_activations_limit", {"swiglu_limit"}, false}},
       {{"attention_type", "compressed"},
        {"routed_score_func", "sqrtsoftplus"},
        {"routed_bias", "true"}}},
  };
  return all;
}

const Family& family_of(const Node& config) {
  const Node* type = config.find("model_type");
  std::vector<std::string> names;
  for (const Family& family : families()) {
    if (type != nullptr && type->text == family.model_type) return family;
    names.emplace_back(family.model_type);
  }
  throw Error(ErrorKind::invalid_input,
              Diagnostic{type == nullptr ? config.where : type->where, "model_type",
                         type == nullptr
                             ? "is missing"
                             : fmt::format("{} is not a family that is modelled", described(*type)),
                         "one of deepseek_v4, deepseek_v3, mixtral, llama, qwen3_moe, gpt_oss"});
}

const Node* first_of(const Node& config, const std::vector<const char*>& keys) {
  for (const char* key : keys) {
    const Node* found = config.find(key);
    if (found != nullptr && found->kind != Node::Kind::null) return found;
  }
  return nullptr;
}

Node scalar(std::string text, Location where) {
  Node node;
  node.kind = Node::Kind::scalar;
  node.text = std::move(text);
  node.where = std::move(where);
  return node;
}

void translate(const Node& config, const std::vector<Translation>& keys, Node& maxtext,
               Diagnostics& faults) {
  for (const Translation& key : keys) {
    const Node* found = first_of(config, key.hf);
    if (found == nullptr) {
      if (key.required) faults.add({config.where, key.hf.front(), "is missing", {}});
      continue;
    }
    Node value = *found;
    value.quoted = false;
    maxtext.members.push_back({key.maxtext, found->where, std::move(value)});
  }
}

// Heads are hidden_size / num_attention_heads wide unless head_dim says otherwise.
void add_head_dim(const Node& config, Node& maxtext, Diagnostics& faults) {
  if (maxtext.find("head_dim") != nullptr) return;
  if (const Node* stated = first_of(config, {"head_dim"})) {
    maxtext.members.push_back({"head_dim", stated->where, *stated});
    return;
  }
  const Node* width = maxtext.find("base_emb_dim");
  const Node* heads = maxtext.find("base_num_query_heads");
  if (width == nullptr || heads == nullptr) return;  // missing keys are faults already
  const auto D = parse_integer(width->text);
  const auto H = parse_integer(heads->text);
  if (!D || !H || H.value() < 1 || D.value() % H.value() != 0) {
    faults.add({config.where,
                "head_dim",
                "is missing, and num_attention_heads does not divide hidden_size",
                {}});
    return;
  }
  maxtext.members.push_back(
      {"head_dim", width->where, scalar(std::to_string(D.value() / H.value()), width->where)});
}

// Published lists carry entries for the prediction blocks behind those of the layers.
void trim_ratios(Node& maxtext) {
  const Node* layers = maxtext.find("base_num_decoder_layers");
  for (Member& member : maxtext.members) {
    if (member.key != "compress_ratios" || layers == nullptr) continue;
    const auto count = parse_integer(layers->text);
    if (count && count.value() >= 0 &&
        static_cast<std::size_t>(count.value()) < member.value.items.size()) {
      member.value.items.resize(static_cast<std::size_t>(count.value()));
    }
  }
}

// What the families' keys say that only one value of is modelled.
void refuse_unmodelled(const Node& config, Diagnostics& faults) {
  const Node* dense_only = config.find("mlp_only_layers");
  if (dense_only != nullptr && !dense_only->items.empty()) {
    faults.add({dense_only->where, "mlp_only_layers", "is not modelled (want an empty list)", {}});
  }
}

std::string model_name_of(const std::string& path) {
  std::string name = path == "<stdin>" ? "hf" : "hf-" + std::filesystem::path(path).stem().string();
  for (char& c : name) {
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                         (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
    if (!allowed) c = '-';
  }
  return name.substr(0, 100);
}

}  // namespace

ModelSource parse_hf_config(const Source& file) {
  const Node config = parse_json(file);
  if (config.kind != Node::Kind::mapping) {
    throw Error(ErrorKind::invalid_input,
                Diagnostic{config.where, {}, "a config.json is an object", {}});
  }
  const Family& family = family_of(config);
  Diagnostics faults;
  ModelSource model;
  model.name = model_name_of(file.name);
  model.source = fmt::format("Hugging Face config {}, model_type {}", file.name, family.model_type);
  model.maxtext.kind = Node::Kind::mapping;
  model.maxtext.where = config.where;
  model.meshsim.kind = Node::Kind::mapping;
  model.maxtext.members.push_back(
      {"decoder_block", config.where, scalar(family.decoder_block, config.where)});
  translate(config, common_keys(), model.maxtext, faults);
  translate(config, family.keys, model.maxtext, faults);
  for (const auto& [key, value] : family.constants) {
    std::erase_if(model.maxtext.members, [&](const Member& member) { return member.key == key; });
    model.maxtext.members.push_back({key, config.where, scalar(value, config.where)});
  }
  add_head_dim(config, model.maxtext, faults);
  trim_ratios(model.maxtext);
  refuse_unmodelled(config, faults);
  faults.throw_if_any();
  return model;
}

ModelSource read_hf_config(const std::string& path) { return parse_hf_config(read_source(path)); }

}  // namespace meshsim
