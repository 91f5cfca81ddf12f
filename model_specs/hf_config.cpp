#include "model_specs/hf_config.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <vector>

#include "inputs/json.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

enum class Form { integer, real, flag, text, integers };

// One MaxText key and the Hugging Face keys that state it, first match wins; null is "not stated".
struct Translation {
  const char* maxtext;
  std::vector<const char*> hf;
  bool required = true;
  Form form = Form::integer;
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
      {"logits_via_embedding", {"tie_word_embeddings"}, false, Form::flag},
      {"attention_bias", {"attention_bias"}, false, Form::flag},
      {"max_position_embeddings", {"max_position_embeddings"}, false},
      {"normalization_layer_epsilon", {"rms_norm_eps"}, false, Form::real},
  };
  return keys;
}

const std::vector<Family>& families() {
  static const std::vector<Family> all{
      {"llama",
       "llama2",
       {{"base_num_kv_heads", {"num_key_value_heads", "num_attention_heads"}},
        {"base_mlp_dim", {"intermediate_size"}},
        {"mlp_bias", {"mlp_bias"}, false, Form::flag}},
       {}},
      {"mixtral",
       "mixtral",
       {{"base_num_kv_heads", {"num_key_value_heads"}},
        {"base_mlp_dim", {"intermediate_size"}},
        {"base_moe_mlp_dim", {"intermediate_size"}},
        {"num_experts", {"num_local_experts"}},
        {"num_experts_per_tok", {"num_experts_per_tok"}},
        {"sliding_window_size", {"sliding_window"}, false}},
       {}},
      {"qwen3_moe",
       "qwen3_moe",
       {{"base_num_kv_heads", {"num_key_value_heads"}},
        {"base_mlp_dim", {"moe_intermediate_size"}},
        {"base_moe_mlp_dim", {"moe_intermediate_size"}},
        {"num_experts", {"num_experts"}},
        {"num_experts_per_tok", {"num_experts_per_tok"}},
        {"norm_topk_prob", {"norm_topk_prob"}, false, Form::flag},
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
        {"mlp_activations_limit", {"swiglu_limit"}, false, Form::real}},
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
        {"shared_experts", {"n_shared_experts"}, false},
        {"first_num_dense_layers", {"first_k_dense_replace"}, false},
        {"q_lora_rank", {"q_lora_rank"}, false},
        {"kv_lora_rank", {"kv_lora_rank"}},
        {"qk_nope_head_dim", {"qk_nope_head_dim"}},
        {"qk_rope_head_dim", {"qk_rope_head_dim"}},
        {"v_head_dim", {"v_head_dim"}},
        {"n_routing_groups", {"n_group"}, false},
        {"topk_routing_group", {"topk_group"}, false},
        {"norm_topk_prob", {"norm_topk_prob"}, false, Form::flag},
        {"routed_scaling_factor", {"routed_scaling_factor"}, false, Form::real},
        {"routed_score_func", {"scoring_func"}, false, Form::text}},
       {{"attention_type", "mla"}, {"routed_bias", "true"}}},
      {"deepseek_v4",
       "deepseek4",
       {{"base_num_kv_heads", {"num_key_value_heads"}},
        {"head_dim", {"head_dim"}},
        {"base_mlp_dim", {"moe_intermediate_size", "intermediate_size"}},
        {"base_moe_mlp_dim", {"moe_intermediate_size", "intermediate_size"}},
        {"num_experts", {"n_routed_experts", "num_local_experts", "num_experts"}},
        {"num_experts_per_tok", {"num_experts_per_tok"}},
        {"shared_experts", {"n_shared_experts"}, false},
        {"q_lora_rank", {"q_lora_rank"}},
        {"qk_rope_head_dim", {"qk_rope_head_dim"}, false},
        {"o_groups", {"o_groups"}},
        {"o_lora_rank", {"o_lora_rank"}},
        {"compress_ratios", {"compress_ratios"}, false, Form::integers},
        {"sliding_window_size", {"sliding_window", "sliding_window_size"}},
        {"indexer_n_heads", {"index_n_heads", "indexer_n_heads"}},
        {"indexer_head_dim", {"index_head_dim", "indexer_head_dim"}},
        {"indexer_topk", {"index_topk", "indexer_topk"}},
        {"mhc_expansion_rate", {"hc_mult"}},
        {"sinkhorn_iterations", {"hc_sinkhorn_iters"}, false},
        {"first_num_hash_layers", {"num_hash_layers", "n_hash_layers"}, false},
        {"routed_scaling_factor", {"routed_scaling_factor"}, false, Form::real},
        {"norm_topk_prob", {"norm_topk_prob"}, false, Form::flag},
        {"mlp_activations_limit", {"swiglu_limit"}, false, Form::real}},
       {{"attention_type", "compressed"},
        {"routed_score_func", "sqrtsoftplus"},
        {"routed_bias", "true"}}},
  };
  return all;
}

const Family* find_family(const Node& config) {
  const Node* type = config.find("model_type");
  for (const Family& family : families()) {
    if (type != nullptr && type->text == family.model_type) return &family;
  }
  return nullptr;
}

const Family& family_of(const Node& config) {
  if (const Family* family = find_family(config)) return *family;
  const Node* type = config.find("model_type");
  std::vector<std::string> names;
  for (const Family& family : families()) names.emplace_back(family.model_type);
  throw Error(ErrorKind::invalid_input,
              Diagnostic{type == nullptr ? config.where : type->where, "model_type",
                         type == nullptr
                             ? "is missing"
                             : fmt::format("{} is not a family that is modelled", described(*type)),
                         fmt::format("one of {}", fmt::join(names, ", "))});
}

// A model that also sees or hears keeps its decoder in text_config.
const Node& decoder_of(const Node& config) {
  const Node* nested = config.find("text_config");
  const bool is_nested =
      find_family(config) == nullptr && nested != nullptr && nested->kind == Node::Kind::mapping;
  return is_nested ? *nested : config;
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

// What is wrong with `value`, or "".
std::string mismatch(Form form, const Node& value) {
  const auto refused = [&](const char* want) {
    return fmt::format("must be {} (got {})", want, described(value));
  };
  const bool plain = value.kind == Node::Kind::scalar && !value.quoted;
  switch (form) {
    case Form::integer: return plain && parse_integer(value.text) ? "" : refused("an integer");
    case Form::real: return plain && parse_real(value.text) ? "" : refused("a number");
    case Form::flag: return plain && parse_bool(value.text) ? "" : refused("true or false");
    case Form::text: return value.kind == Node::Kind::scalar ? "" : refused("text");
    case Form::integers: {
      const bool fine =
          value.kind == Node::Kind::sequence &&
          std::all_of(value.items.begin(), value.items.end(), [](const Node& item) {
            return item.kind == Node::Kind::scalar && !item.quoted && parse_integer(item.text);
          });
      return fine ? "" : refused("a list of integers");
    }
  }
  return {};
}

void translate(const Node& config, const std::vector<Translation>& keys, Node& maxtext,
               Diagnostics& faults) {
  for (const Translation& key : keys) {
    const Node* found = first_of(config, key.hf);
    if (found == nullptr) {
      if (key.required) faults.add({config.where, key.hf.front(), "is missing", {}});
      continue;
    }
    std::string what = mismatch(key.form, *found);
    if (!what.empty()) {
      faults.add({found->where, key.hf.front(), std::move(what), {}});
      continue;
    }
    maxtext.members.push_back({key.maxtext, found->where, *found});
  }
}

// Heads are hidden_size / num_attention_heads wide unless head_dim says otherwise.
void add_head_dim(const Node& config, Node& maxtext, Diagnostics& faults) {
  if (maxtext.find("head_dim") != nullptr) return;
  if (first_of(config, {"head_dim"}) != nullptr) {
    translate(config, {{"head_dim", {"head_dim"}}}, maxtext, faults);
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

// DeepSeek-V4 may say what its layers are by name instead of by ratio and by count.
void add_v4_layers(const Node& config, Node& maxtext, Diagnostics& faults) {
  if (maxtext.find("compress_ratios") == nullptr) {
    const Node* types = first_of(config, {"layer_types"});
    if (types == nullptr) {
      faults.add({config.where, "compress_ratios", "is missing", {}});
      return;
    }
    Node ratios;
    ratios.kind = Node::Kind::sequence;
    ratios.where = types->where;
    for (const Node& type : types->items) {
      const char* ratio = type.text == "sliding_attention"              ? "0"
                          : type.text == "compressed_sparse_attention"  ? "4"
                          : type.text == "heavily_compressed_attention" ? "128"
                                                                        : nullptr;
      if (ratio == nullptr) {
        faults.add({type.where, "layer_types",
                    fmt::format("{} is not a kind of attention of this family", described(type)),
                    "sliding_attention, compressed_sparse_attention or "
                    "heavily_compressed_attention"});
        return;
      }
      ratios.items.push_back(scalar(ratio, type.where));
    }
    maxtext.members.push_back({"compress_ratios", types->where, std::move(ratios)});
  }
  if (maxtext.find("first_num_hash_layers") == nullptr) {
    std::size_t hashed = 0;
    if (const Node* types = first_of(config, {"mlp_layer_types"})) {
      while (hashed < types->items.size() && types->items[hashed].text == "hash_moe") ++hashed;
    }
    maxtext.members.push_back(
        {"first_num_hash_layers", config.where, scalar(std::to_string(hashed), config.where)});
  }
}

// Mixtral's window, where there is one, is in every layer.
void add_window(const Family& family, Node& maxtext) {
  if (std::string_view(family.model_type) != "mixtral") return;
  const Node* window = maxtext.find("sliding_window_size");
  if (window == nullptr) return;
  maxtext.members.push_back(
      {"attention_type", window->where, scalar("local_sliding", window->where)});
}

// What the families' keys say that only one value of is modelled.
void refuse_unmodelled(const Node& config, const Family& family, Diagnostics& faults) {
  const Node* dense_only = config.find("mlp_only_layers");
  if (dense_only != nullptr && !dense_only->items.empty()) {
    faults.add({dense_only->where, "mlp_only_layers", "is not modelled (want an empty list)", {}});
  }
  const Node* windows = config.find("use_sliding_window");
  if (windows != nullptr && windows->text == "true") {
    faults.add({windows->where, "use_sliding_window", "is not modelled (want false)", {}});
  }
  const Node* every = config.find("moe_layer_freq");
  if (every != nullptr && every->kind != Node::Kind::null && every->text != "1") {
    faults.add({every->where,
                "moe_layer_freq",
                fmt::format("is not modelled (got {}, want 1)", described(*every)),
                {}});
  }
  const Node* types = config.find("layer_types");
  if (std::string_view(family.model_type) != "gpt_oss" || types == nullptr) return;
  for (std::size_t i = 0; i < types->items.size(); ++i) {
    const char* want = i % 2 == 0 ? "sliding_attention" : "full_attention";
    if (types->items[i].text == want) continue;
    faults.add({types->items[i].where,
                "layer_types",
                fmt::format("layer {} must be {} (got {})", i, want, described(types->items[i])),
                {}});
    return;
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
  const Node document = parse_json(file);
  if (document.kind != Node::Kind::mapping) {
    throw Error(ErrorKind::invalid_input,
                Diagnostic{document.where,
                           {},
                           fmt::format("a config.json is an object (got {})", described(document)),
                           {}});
  }
  const Node& config = decoder_of(document);
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
    std::erase_if(model.maxtext.members,
                  [&key = key](const Member& member) { return member.key == key; });
    model.maxtext.members.push_back({key, config.where, scalar(value, config.where)});
  }
  add_head_dim(config, model.maxtext, faults);
  if (std::string_view(family.model_type) == "deepseek_v4")
    add_v4_layers(config, model.maxtext, faults);
  trim_ratios(model.maxtext);
  add_window(family, model.maxtext);
  refuse_unmodelled(config, family, faults);
  faults.throw_if_any();
  return model;
}

ModelSource read_hf_config(const std::string& path) { return parse_hf_config(read_source(path)); }

}  // namespace meshsim
