#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <functional>
#include <memory>

#include "cli/exit_code.hpp"
#include "cli/launched_run.hpp"
#include "cli/moe/commands.hpp"
#include "cli/output_options.hpp"
#include "moe/validation_run.hpp"
#include "reports/output.hpp"

namespace meshsim {
namespace {

Json run_json(const RunConfig& run, const ValidationResult& result) {
  Json report = report_head("moe-run");
  report["model"] = run.model;
  report["ranks"] = run.ranks;
  report["tensor_ranks"] = run.tensor_ranks;
  report["strategy"] = std::string(name(run.moe.strategy));
  report["layers"] = run.layers;
  report["hash_layers"] = run.moe.num_hash_layers;
  report["steps"] = run.steps;
  report["tokens_per_rank"] = run.tokens_per_rank();
  report["given"] = run.given;
  report["predicted_equals_moved"] = result.predicted_equals_moved;
  report["sent_bytes"] = result.moved_bytes;
  report["received_bytes"] = result.received_bytes;
  report["predicted_bytes"] = result.predicted_bytes;
  if (result.single_rank) {
    report["single_rank"] = {
        {"routing_equal", result.single_rank->routing_equal},
        {"max_abs_error", result.single_rank->max_abs_error},
        {"max_abs_gradient_error",
         run.backward ? Json(result.single_rank->max_abs_gradient_error) : Json(nullptr)},
        {"judged", result.single_rank->judged},
        {"passed", result.single_rank->passed}};
  }
  report["losses"] = Json::array();
  for (const LayerLoss& each : result.losses)
    report["losses"].push_back({{"layer", each.layer},
                                {"step", each.step},
                                {"load_balance_loss", each.load_balance_loss}});
  report["routing"] = Json::array();
  for (const RoutingRow& row : result.routing.rows)
    report["routing"].push_back({{"layer", row.layer},
                                 {"step", row.step},
                                 {"src", row.src},
                                 {"expert", row.expert},
                                 {"slots", row.slots}});
  report["traffic"] = Json::array();
  for (const TracedTraffic& each : result.moved)
    report["traffic"].push_back({{"layer", each.layer},
                                 {"step", each.step},
                                 {"collective", each.row.collective},
                                 {"src", each.row.src},
                                 {"dst", each.row.dst},
                                 {"bytes", each.row.bytes}});
  return report;
}

std::string run_table(const RunConfig& run, const ValidationResult& result) {
  std::string text = fmt::format(
      "{}: {} layers ({} by hash), {} steps of {} tokens, {} on {} ranks\n", run.model, run.layers,
      run.moe.num_hash_layers, run.steps, run.tokens, name(run.moe.strategy), run.ranks);
  const auto rows = static_cast<double>(run.tokens * run.moe.rule.top_k);
  text += "layer  step  busiest rank / mean  busiest expert / mean\n";
  for (std::int64_t l = 0; l < run.layers; ++l)
    for (std::int64_t s = 0; s < run.steps && rows > 0; ++s) {
      const CountMatrix slots = result.routing.slots(l, s);
      const CountMatrix shards = per_shard(slots, run.expert_ranks());
      std::int64_t shard = 0, expert = 0;
      for (std::int64_t p = 0; p < shards.columns; ++p)
        shard = std::max(shard, shards.column_sum(p));
      for (std::int64_t e = 0; e < slots.columns; ++e)
        expert = std::max(expert, slots.column_sum(e));
      text += fmt::format("{:>5}  {:>4}  {:>19.2f}  {:>21.2f}\n", l, s,
                          static_cast<double>(shard * shards.columns) / rows,
                          static_cast<double>(expert * slots.columns) / rows);
    }
  text += fmt::format("bytes sent {}, received {}, predicted {}: {}\n", result.moved_bytes,
                      result.received_bytes, result.predicted_bytes,
                      result.predicted_equals_moved ? "equal" : "DIFFERENT");
  if (result.single_rank) {
    text += fmt::format(
        "against one rank, layer by layer from the same input: routing {}, largest error "
        "{:.2e}{}\n",
        result.single_rank->routing_equal ? "equal" : "DIFFERENT",
        result.single_rank->max_abs_error,
        !result.single_rank->judged  ? " (not judged)"
        : result.single_rank->passed ? ""
                                     : ": MISS");
  }
  if (result.single_rank && run.backward)
    text += fmt::format("gradients of the tokens: largest error {:.2e}\n",
                        result.single_rank->max_abs_gradient_error);
  return text;
}

int finish(const OutputOptions& output, const RunConfig& run, const ValidationResult& result) {
  if (!run.routing_trace.empty()) write_file(run.routing_trace, routing_trace_text(result.routing));
  if (!run.traffic.empty())
    write_file(run.traffic, traffic_text(run.model, run.ranks, result.moved));
  emit(
      output, [&] { return run_json(run, result); }, [&] { return run_table(run, result); });
  return result.passed() ? exit_done : exit_negative_verdict;
}

// Rank 0 writes what all have found.
std::function<int()> prepared(const OutputOptions& output, const std::vector<std::string>& words,
                              Ranks* ranks) {
  const RunConfig run = parse_run(words, ranks == nullptr ? 0 : ranks->size());
  return [=, &output] {
    if (ranks == nullptr) return finish(output, run, run_validation_in_process(run));
    const ValidationResult validation = run_validation(run, *ranks);
    return ranks->rank() == 0 ? finish(output, run, validation) : exit_done;
  };
}

std::string key_table() {
  std::string text;
  for (const RunKey& key : run_keys())
    text += fmt::format("  {:<26}{}{}\n", key.name, key.meaning,
                        key.value.empty() ? "" : fmt::format(" ({})", key.value));
  return text;
}

}  // namespace

void add_moe_run(CLI::App& app, int& result) {
  CLI::App* command = app.add_subcommand(
      "run",
      "Routes real tokens, moves real rows between ranks, and compares bytes and results.\n\n"
      "  meshsim moe run ranks=8 tokens=512\n"
      "  meshsim moe run ranks=4 strategy=ring_of_experts num_hash_layers=0\n"
      "  mpirun -np 4 meshsim moe run tokens=512 routing_trace=trace.jsonl\n"
      "  meshsim moe run --keys\n");
  auto words = std::make_shared<std::vector<std::string>>();
  auto output = add_output_options(*command);
  command->add_option("keys", *words, "key=value")->type_name("KEY=VALUE...");
  auto list_keys = std::make_shared<bool>(false);
  command->add_flag("--keys", *list_keys, "list the keys, with what they mean and their defaults");
  command->callback([=, &result] {
    if (*list_keys) {
      write_stdout(key_table());
      return;
    }
    result = run_launched([&](Ranks* ranks) { return prepared(*output, *words, ranks); });
  });
}

}  // namespace meshsim
