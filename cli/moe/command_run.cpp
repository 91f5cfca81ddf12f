#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <cstddef>
#include <memory>

#include "cli/exit_code.hpp"
#include "cli/guarded_main.hpp"
#include "cli/moe/commands.hpp"
#include "cli/output_options.hpp"
#include "moe/launched_ranks.hpp"
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
    text += fmt::format("against one rank: routing {}, largest error {:.2e}{}\n",
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

// One byte of every rank, by rank.
std::vector<std::byte> of_all_ranks(Communicator& ranks, int mine) {
  const auto size = static_cast<std::size_t>(ranks.size());
  std::vector<std::byte> send(size, static_cast<std::byte>(mine)), received(size);
  std::vector<Block> blocks(size);
  for (std::size_t i = 0; i < size; ++i) blocks[i] = {static_cast<std::int64_t>(i), 1};
  ranks.all_to_all(send.data(), blocks, received.data(), blocks);
  return received;
}

// A launcher ends all ranks when the first one fails. So they agree before any does: the first with
// a fault (of words, which all share, or of its machine's files) says it, and all end alike.
int run_launched(const OutputOptions& output, const std::vector<std::string>& words) {
  LaunchedWorld world;
  Communicator& ranks = world.ranks();
  RunConfig run;
  std::string fault;
  int code = exit_done;
  try {
    run = parse_run(words, ranks.size());
  } catch (const Error& error) {
    fault = error.what();
    code = exit_code(error.kind());
  }
  const std::vector<std::byte> codes = of_all_ranks(ranks, code);
  const auto failing = std::find_if(codes.begin(), codes.end(),
                                    [](std::byte each) { return each != std::byte{exit_done}; });
  if (failing != codes.end()) {
    if (failing - codes.begin() == ranks.rank()) say(fault);
    return std::to_integer<int>(*failing);
  }
  const bool first = ranks.rank() == 0;
  int result = exit_done;
  const int failed = guarded_main([&] {
    const ValidationResult validation = run_validation(run, ranks);
    if (first) result = finish(output, run, validation);
    return exit_done;
  });
  if (failed != exit_done) world.abort(failed);  // the others would wait for this rank
  return result;
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
    if (launched_ranks() > 0) {
      result = run_launched(*output, *words);
      return;
    }
    const RunConfig run = parse_run(*words, 0);
    result = finish(*output, run, run_validation_in_process(run));
  });
}

}  // namespace meshsim
