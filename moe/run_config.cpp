#include "moe/run_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "inputs/data_source.hpp"
#include "inputs/fields.hpp"
#include "inputs/nearest.hpp"
#include "model_specs/catalogue.hpp"
#include "moe/run_memory.hpp"
#include "routing/random.hpp"
#include "routing/token_law.hpp"

namespace meshsim {
namespace {

constexpr std::int64_t most = std::int64_t{1} << 30;

// The words, each key once and known.
class Words {
 public:
  Words(const std::vector<std::string>& words, Diagnostics& faults) : faults_(faults) {
    std::vector<std::string> known;
    for (const RunKey& key : run_keys()) known.push_back(key.name);
    for (const std::string& word : words) {
      check_text({"<command line>", word});
      const std::size_t equals = word.find('=');
      const std::string key = word.substr(0, equals);
      if (equals == std::string::npos) {
        fault(key, "is not key=value");
      } else if (std::find(known.begin(), known.end(), key) == known.end()) {
        fault(key, "is not a key of moe run", did_you_mean(key, known));
      } else if (!given.emplace(key, word.substr(equals + 1)).second) {
        fault(key, "is given twice");
      }
    }
  }

  void fault(const std::string& key, std::string what, std::string hint = {}) {
    faults_.add({{"<command line>"}, key, std::move(what), std::move(hint)});
  }

  bool has(const std::string& key) const { return given.contains(key); }
  std::string text(const std::string& key) const {
    if (const auto found = given.find(key); found != given.end()) return found->second;
    for (const RunKey& each : run_keys())
      if (each.name == key) return each.value;
    return {};
  }

  template <class T>
  T parsed(const std::string& key, Parsed<T> (*parse)(std::string_view), T otherwise) {
    const std::string value = text(key);
    if (value.empty() && !has(key)) return otherwise;
    const Parsed<T> result = parse(value);
    if (result) return result.value();
    fault(key, result.why());
    return otherwise;
  }
  std::int64_t integer(const std::string& key, std::int64_t least, std::int64_t otherwise = 1) {
    const std::int64_t value = parsed(key, parse_integer, otherwise);
    if (value >= least && value <= most) return value;
    fault(key, fmt::format("must lie between {} and {} (got {})", least, most, value));
    return std::max<std::int64_t>(least, 1);
  }
  double real(const std::string& key, double otherwise) {
    return parsed(key, parse_real, otherwise);
  }
  double at_least_0(const std::string& key, double otherwise) {
    const double value = real(key, otherwise);
    if (value < 0) fault(key, fmt::format("must not be negative (got {})", value));
    return value;
  }
  bool boolean(const std::string& key, bool otherwise = false) {
    return parsed(key, parse_bool, otherwise);
  }

  std::map<std::string, std::string> given;

 private:
  Diagnostics& faults_;
};

RouterRule rule_of(const ModelConfig& m, Words& words) {
  const std::int64_t experts = words.integer("num_experts", 1, m.num_experts);
  const std::int64_t k = words.integer("num_experts_per_tok", 1, m.num_experts_per_tok);
  const auto scale =
      static_cast<float>(words.real("routed_scaling_factor", m.routed_scaling_factor));
  const std::string& block = m.decoder_block;
  RouterRule rule = mixtral_rule(experts, k);
  if (words.boolean("use_random_routing")) {
    rule = random_rule(experts, k);
  } else if (block == "deepseek4") {
    rule = deepseek4_rule(experts, k, scale);
  } else if (block == "deepseek" && m.routed_score_func == "sigmoid") {
    rule =
        deepseek3_rule(experts, k, scale, words.integer("n_routing_groups", -1, m.n_routing_groups),
                       words.integer("topk_routing_group", -1, m.topk_routing_group));
  } else if (block == "deepseek") {
    rule = deepseek2_rule(experts, k, scale);
  } else if (block == "gpt_oss") {
    rule = gpt_oss_rule(experts, k);
  } else if (block == "llama4") {
    rule = llama4_rule(experts);
    rule.top_k = k;
  } else if (m.norm_topk_prob) {
    rule = qwen3_rule(experts, k);
  }
  for (const char* const key : {"n_routing_groups", "topk_routing_group"})
    if (words.has(key) && rule.groups == -1 && words.integer(key, -1, -1) != -1)
      words.fault(key, "groups of experts belong to the router of DeepSeek-V3");
  rule.float32_gate = words.boolean("float32_gate_logits", true);
  return rule;
}

MoeConfig moe_of(const ModelConfig& m, Words& words) {
  MoeConfig moe;
  moe.rule = rule_of(m, words);
  moe.embedding = words.integer("base_emb_dim", 1, m.base_emb_dim);
  const std::int64_t width = m.base_moe_mlp_dim > 0 ? m.base_moe_mlp_dim : m.base_mlp_dim;
  moe.width = words.integer("base_moe_mlp_dim", 1, width);
  moe.shared_width = moe.width * words.integer("shared_experts", 0, m.shared_experts);
  moe.vocab = words.integer("vocab_size", 1, m.vocab_size);
  moe.num_hash_layers = words.integer("num_hash_layers", 0, m.first_num_hash_layers);
  if (m.decoder_block == "gpt_oss") moe.activation = Activation::gpt_oss;
  const bool clamps = m.decoder_block == "gpt_oss" || m.decoder_block.rfind("deepseek", 0) == 0;
  moe.swiglu_limit =
      static_cast<float>(words.real("swiglu_limit", clamps ? m.mlp_activations_limit : -1));
  moe.clamp_shared = words.boolean("clamp_shared");
  moe.float32_weight_sum = words.boolean("float32_weight_sum", true);
  moe.strategy = words.parsed("strategy", parse_strategy, Strategy::ragged_all_to_all);
  moe.ragged_buffer_factor = words.real("ragged_buffer_factor", -1);
  moe.num_moe_token_chunks = words.integer("num_moe_token_chunks", 1);
  moe.num_moe_emb_chunks = words.integer("num_moe_emb_chunks", 1);
  moe.logits_per_chunk = words.boolean("logits_per_chunk");
  moe.load_balance_loss_weight =
      static_cast<float>(words.at_least_0("load_balance_loss_weight", m.load_balance_loss_weight));
  moe.routed_bias_update_rate =
      static_cast<float>(words.at_least_0("routed_bias_update_rate", m.routed_bias_update_rate));
  moe.per_device_statistics = words.boolean("per_device_statistics");
  return moe;
}

// "uniform" or "zipf:s=1,q=2.7".
ZipfMandelbrot token_law(const std::string& text, std::int64_t vocab) {
  if (text == "uniform") return {vocab, 0, 0};
  const auto wrong = [&](const std::string& why) {
    return Error(ErrorKind::invalid_input,
                 Diagnostic{{"<command line>"},
                            "token_law",
                            fmt::format("{} (got {})", why, in_quotes(text)),
                            "uniform, or zipf:s=1,q=2.7"});
  };
  if (text.rfind("zipf", 0) != 0) throw wrong("is no law");
  double s = 1, q = 2.7;
  std::size_t at = 4;
  while (at < text.size()) {
    const std::size_t stop = std::min(text.find(',', at + 1), text.size());
    const std::string part = text.substr(at + 1, stop - at - 1);
    const Parsed<double> value =
        part.size() > 2 ? parse_real(part.substr(2)) : Parsed<double>::refused("");
    if (!value || (part.rfind("s=", 0) != 0 && part.rfind("q=", 0) != 0))
      throw wrong("has parameters s and q");
    (part[0] == 's' ? s : q) = value.value();
    at = stop;
  }
  return {vocab, s, q};
}

std::vector<std::int64_t> tokens_of(const Words& words, const RunConfig& run) {
  const std::string ids = words.text("token_file"), text = words.text("text_file");
  const std::int64_t needed = run.steps * run.tokens;
  std::vector<std::int64_t> tokens;
  if (ids.empty() && text.empty()) {
    const ZipfMandelbrot law = token_law(words.text("token_law"), run.moe.vocab);
    for (std::int64_t i = 0; i < needed; ++i)
      tokens.push_back(law.token(sub_seed(run.seed, 1), static_cast<std::uint64_t>(i)));
    return tokens;
  }
  const Source source = read_data(ids.empty() ? text : ids);
  tokens =
      ids.empty() ? byte_tokens(source, run.moe.vocab) : parse_token_ids(source, run.moe.vocab);
  const auto available = static_cast<std::int64_t>(tokens.size());
  if (available < needed)
    throw Error(
        ErrorKind::invalid_input,
        Diagnostic{{source.name},
                   {},
                   fmt::format("has {} tokens; steps x tokens = {} are needed", available, needed),
                   {}});
  tokens.resize(static_cast<std::size_t>(needed));
  return tokens;
}

HashTable table_of(const std::string& text, const RunConfig& run) {
  const std::int64_t k = run.moe.rule.top_k, experts = run.moe.rule.experts;
  if (run.moe.num_hash_layers == 0) return {};
  if (text == "zeros") return zeros_hash_table(run.moe.vocab, k);
  if (text == "md5") return md5_hash_table(run.moe.vocab, k, experts);
  if (text == "random") return random_hash_table(run.moe.vocab, k, experts, sub_seed(run.seed, 2));
  return parse_hash_table(read_source(text), run.moe.vocab, k, experts);
}

}  // namespace

RunConfig parse_run(const std::vector<std::string>& arguments, std::int64_t launched_ranks) {
  Diagnostics faults;
  Words words(arguments, faults);
  faults.throw_if_any();
  RunConfig run;
  run.model = words.text("model_name");
  const ModelSpec spec = make_model_spec(find_model(run.model));
  if (!spec.has_experts()) words.fault("model_name", fmt::format("{} has no experts", run.model));
  run.moe = moe_of(spec.config, words);
  const std::string dtype = words.text("dtype");
  run.bfloat16 = dtype == "bfloat16";
  if (!run.bfloat16 && dtype != "float32")
    words.fault("dtype", fmt::format("must be float32 or bfloat16 (got {})", in_quotes(dtype)));
  run.mlp_bias = words.boolean("mlp_bias", spec.config.mlp_bias);
  run.layers = words.integer("layers", 1);
  run.steps = words.integer("steps", 1);
  run.ranks = words.integer("ranks", 1, std::max<std::int64_t>(launched_ranks, 1));
  if (launched_ranks > 0 && run.ranks != launched_ranks)
    words.fault("ranks", fmt::format("must be the {} ranks that were launched (got {})",
                                     launched_ranks, run.ranks));
  if (launched_ranks == 0 && run.ranks > 256)
    words.fault("ranks", fmt::format("must be at most 256 threads (got {})", run.ranks));
  run.tensor_ranks = words.integer("tensor_ranks", 1);
  run.tokens = words.integer("tokens", 0);
  run.seed = static_cast<std::uint64_t>(words.integer("seed", 0));
  run.backward = words.boolean("backward", false);
  if (run.backward && run.bfloat16)
    words.fault("backward", "gradients are in float32: it needs dtype=float32");
  if (run.backward && run.tensor_ranks > 1)
    words.fault("backward", "needs tensor_ranks=1: gradients exist for whole experts");
  if (run.backward && run.mlp_bias)
    words.fault("backward", "needs mlp_bias=false: gradients exist without expert biases");
  if (run.backward && run.moe.ragged_buffer_factor > 0)
    words.fault("backward", "needs ragged_buffer_factor=-1: gradients exist for dropless buffers");
  if (run.backward && (run.moe.rule.score != Score::sqrt_softplus ||
                       run.moe.rule.weights != WeightRule::chosen_scores))
    words.fault("backward", "gradients exist for the layer of DeepSeek-V4 only");
  run.compare_single_rank = words.boolean("compare_single_rank", true);
  run.routing_trace = words.text("routing_trace");
  run.traffic = words.text("traffic");
  if (!words.text("token_file").empty() && !words.text("text_file").empty())
    words.fault("token_file", "and text_file exclude each other");
  if (run.ranks % run.tensor_ranks != 0) {
    words.fault("tensor_ranks",
                fmt::format("{} must divide the {} ranks", run.tensor_ranks, run.ranks));
  } else if (run.tokens % run.expert_ranks() != 0) {
    words.fault("tokens", fmt::format("{} must be a multiple of the {} expert ranks", run.tokens,
                                      run.expert_ranks()));
  }
  faults.throw_if_any();
  // A rank without tokens has sequences of no length: any chunking divides it.
  const std::int64_t whole = run.tokens == 0 ? run.moe.num_moe_token_chunks : run.tokens_per_rank();
  run.moe.sequence = words.integer("max_target_length", 1, whole);
  run.moe.num_hash_layers = std::min(run.moe.num_hash_layers, run.layers);
  faults.throw_if_any();
  check_config(run.moe, run.expert_ranks(), run.tensor_ranks, run.tokens_per_rank());
  check_run_memory(run, launched_ranks);
  run.token_ids = tokens_of(words, run);
  run.table = table_of(words.text("hash_table"), run);
  run.given = words.given;
  return run;
}

std::span<const RunKey> run_keys() {
  static const std::vector<RunKey> keys{
      {"model_name", "deepseek4-tiny",
       "whose dimensions the run has, unless a key below says otherwise"},
      {"base_emb_dim", "", "d, the width of a token"},
      {"base_moe_mlp_dim", "", "H, the width of an expert"},
      {"num_experts", "", "E"},
      {"num_experts_per_tok", "", "k"},
      {"shared_experts", "", "width of the shared expert in units of H; 0: none"},
      {"vocab_size", "", "V, the number of token ids"},
      {"num_hash_layers", "",
       "layers that route by token id, from the first on (MaxText: first_num_hash_layers)"},
      {"hash_table", "zeros",
       "zeros (as freshly initialised), random, md5, or a file of V lines of k ids"},
      {"n_routing_groups", "", "groups of experts of DeepSeek-V3; -1: none"},
      {"topk_routing_group", "", "groups that are kept"},
      {"routed_scaling_factor", "", "multiplies the combine weights"},
      {"use_random_routing", "false", "k independent uniform experts per token"},
      {"swiglu_limit", "",
       "L, the clamp of gate and up (MaxText: mlp_activations_limit); <= 0: none"},
      {"clamp_shared", "false",
       "the shared expert clamps, as Hugging Face's does and MaxText's does not"},
      {"mlp_bias", "", "biases on the three matrices of an expert"},
      {"float32_gate_logits", "true", "the gate in float32; false: bfloat16"},
      {"float32_weight_sum", "true", "the k rows of a token are summed in float32"},
      {"dtype", "float32", "of weights and activations: float32 or bfloat16"},
      {"layers", "4", "MoE layers, one after another"},
      {"steps", "2", "batches; the routing bias moves after each"},
      {"tokens", "256", "tokens of one step, of all ranks together"},
      {"max_target_length", "", "S, tokens of a sequence; default: all tokens of a rank"},
      {"token_file", "", "a text of token ids"},
      {"text_file", "", "a text whose bytes are the token ids"},
      {"token_law", "zipf:s=1,q=2.7",
       "of synthetic tokens: uniform or zipf:s=S,q=Q (Zipf-Mandelbrot)"},
      {"seed", "0", "of weights, tokens, random tables and random routing"},
      {"ranks", "", "P X ranks: threads of this process, or those that mpirun started"},
      {"tensor_ranks", "1", "X, over which H is split"},
      {"strategy", "ragged_all_to_all",
       "ragged_all_to_all, ring_of_experts, token_chunks, embedding_chunks, batch_split"},
      {"ragged_buffer_factor", "-1", "> 0: buffers of int(n f) rows, what does not fit is dropped"},
      {"num_moe_token_chunks", "1", "N of token_chunks"},
      {"num_moe_emb_chunks", "1", "N of embedding_chunks"},
      {"logits_per_chunk", "false", "embedding chunks repeat the gather of the gate logits"},
      {"load_balance_loss_weight", "", "0: no loss"},
      {"routed_bias_update_rate", "", "0: the bias stays"},
      {"per_device_statistics", "false",
       "loss and bias update see a rank's own tokens only (MaxText's quirk)"},
      {"backward", "false",
       "each layer's gradients too, for dy = its output: DeepSeek-V4, float32"},
      {"compare_single_rank", "true", "repeat the run on one rank and compare"},
      {"routing_trace", "", "file to write: routing-trace/1"},
      {"traffic", "", "file to write: traffic/1"}};
  return keys;
}

}  // namespace meshsim
