#include "routing/routing_scenario.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>

#include "units/error.hpp"

namespace meshsim {
namespace {

// What stands after "name:", or nothing.
std::string_view arguments_of(std::string_view text) {
  const std::size_t colon = text.find(':');
  return colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
}

std::string_view name_of(std::string_view text) { return text.substr(0, text.find(':')); }

// A reader of one argument's value: what is wrong with it, or "".
using Reader = std::function<std::string(std::string_view)>;

Reader real_of(double& target, double least, double most) {
  return [&target, least, most](std::string_view text) -> std::string {
    const Parsed<double> value = parse_real(text);
    if (!value) return value.why();
    if (value.value() < least || value.value() > most)
      return fmt::format("must lie between {} and {} (got {})", least, most, text);
    target = value.value();
    return {};
  };
}

template <class Integer>
Reader integer_of(Integer& target) {
  return [&target](std::string_view text) -> std::string {
    const Parsed<std::int64_t> value = parse_integer(text);
    if (!value) return value.why();
    if (value.value() < 0) return fmt::format("must be at least 0 (got {})", text);
    target = static_cast<Integer>(value.value());
    return {};
  };
}

// Reads "a=1,b=2"; each name at most once. Returns what is wrong, or "".
std::string read_arguments(std::string_view text, std::map<std::string, Reader> readers) {
  std::string names;
  for (const auto& [name, reader] : readers)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", name);
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = std::min(text.find(',', start), text.size());
    const std::string_view item = text.substr(start, end - start);
    const std::size_t equals = std::min(item.find('='), item.size());
    const auto reader = readers.find(std::string(item.substr(0, equals)));
    if (equals == item.size() || reader == readers.end())
      return fmt::format("{} must be name=value with one of the names {}, each once",
                         in_quotes(item), names);
    if (std::string why = reader->second(item.substr(equals + 1)); !why.empty())
      return fmt::format("{}: {}", reader->first, why);
    readers.erase(reader);
    start = end + 1;
    if (end + 1 == text.size()) return "ends with a comma";
  }
  return {};
}

}  // namespace

Parsed<RoutingLaw> parse_routing_law(std::string_view text) {
  using Result = Parsed<RoutingLaw>;
  RoutingLaw law;
  if (text == "balanced") return Result::ok(law);
  const std::string_view name = name_of(text);
  std::string_view arguments = arguments_of(text);
  if (name == "lognormal") {
    law.kind = RoutingLaw::Kind::lognormal;
    law.sigma = -1;
    // e^(10 x 3) apart, two experts never share a token: more says nothing more.
    const std::string why = read_arguments(arguments, {{"sigma", real_of(law.sigma, 0, 10)},
                                                       {"seed", integer_of(law.seed)},
                                                       {"step", integer_of(law.step)}});
    if (!why.empty()) return Result::refused(why);
    if (law.sigma < 0) return Result::refused("lognormal needs sigma: lognormal:sigma=0.2,seed=1");
    if (law.step > 1'000'000) return Result::refused("step: must lie between 0 and 1000000");
    if (law.sigma == 0) law.kind = RoutingLaw::Kind::balanced;  // the seed still draws token ids
    return Result::ok(law);
  }
  if (name == "trace") {
    law.kind = RoutingLaw::Kind::trace;
    if (const std::size_t step = arguments.rfind(",step="); step != std::string_view::npos) {
      const std::string why =
          read_arguments(arguments.substr(step + 1), {{"step", integer_of(law.step)}});
      if (!why.empty()) return Result::refused(why);
      arguments = arguments.substr(0, step);
    }
    if (arguments.empty()) return Result::refused("trace needs a file: trace:FILE");
    law.file = arguments;
    return Result::ok(law);
  }
  return Result::refused(fmt::format(
      "must be balanced, lognormal:sigma=S,seed=N or trace:FILE (got {})", in_quotes(text)));
}

Parsed<HashTableLaw> parse_hash_table_law(std::string_view text) {
  using Result = Parsed<HashTableLaw>;
  using Kind = HashTableLaw::Kind;
  if (text == "zeros") return Result::ok({Kind::zeros, {}});
  if (text == "random") return Result::ok({Kind::random, {}});
  if (text == "md5") return Result::ok({Kind::md5, {}});
  if (text.find_first_of("/.") != std::string_view::npos || text == "-")
    return Result::ok({Kind::file, std::string(text)});
  return Result::refused(
      fmt::format("must be one of zeros, random, md5, or a path with a '/' or a '.' (got {})",
                  in_quotes(text)));
}

Parsed<TokenLaw> parse_token_law(std::string_view text) {
  using Result = Parsed<TokenLaw>;
  TokenLaw law;
  if (text == "uniform") return Result::ok(law);
  const std::string_view name = name_of(text);
  if (name == "zipf") {
    law.kind = TokenLaw::Kind::zipf;
    // q > -1 keeps the first rank's weight finite.
    const std::string why = read_arguments(
        arguments_of(text), {{"s", real_of(law.s, 0, 100)}, {"q", real_of(law.q, -0.999, 1e9)}});
    return why.empty() ? Result::ok(law) : Result::refused(why);
  }
  if (name == "histogram") {
    law.kind = TokenLaw::Kind::histogram;
    law.file = arguments_of(text);
    if (law.file.empty()) return Result::refused("histogram needs a file: histogram:FILE");
    return Result::ok(law);
  }
  return Result::refused(
      fmt::format("must be uniform, zipf:s=S,q=Q or histogram:FILE (got {})", in_quotes(text)));
}

namespace {

std::string described(const RoutingLaw& law) {
  switch (law.kind) {
    case RoutingLaw::Kind::lognormal:
      return fmt::format(
          "experts of log-normal popularity, sigma {}, seed {}, step {}; each token takes distinct "
          "ones",
          law.sigma, law.seed, law.step);
    case RoutingLaw::Kind::trace: return fmt::format("the trace {}, step {}", law.file, law.step);
    default: return "balanced: every expert receives as many rows";
  }
}

std::string described(const HashTableLaw& table) {
  switch (table.kind) {
    case HashTableLaw::Kind::zeros:
      return "a table of zeros sends every slot to expert 0, as in a freshly initialised MaxText "
             "run";
    case HashTableLaw::Kind::random: return "a table of random distinct experts";
    case HashTableLaw::Kind::md5: return "a table of experts from the MD5 digest of the token id";
    case HashTableLaw::Kind::file: return fmt::format("the table {}", table.file);
    default: return "balanced: every expert receives as many rows (no --hash-table is given)";
  }
}

std::string described(const TokenLaw& tokens) {
  switch (tokens.kind) {
    case TokenLaw::Kind::zipf:
      return fmt::format("token ids of Zipf and Mandelbrot's law, s {}, q {}", tokens.s, tokens.q);
    case TokenLaw::Kind::histogram:
      return fmt::format("token ids by the histogram {}", tokens.file);
    default: return "token ids uniform over the vocabulary";
  }
}

}  // namespace

std::vector<std::string> described(const RoutingScenario& scenario,
                                   const std::vector<bool>& hashed) {
  const auto layers = std::count(hashed.begin(), hashed.end(), true);
  if (scenario.law.kind == RoutingLaw::Kind::trace)
    return {"routing of all layers: " + described(scenario.law)};
  std::vector<std::string> texts;
  if (layers < std::ssize(hashed))
    texts.push_back(fmt::format("routing of {} top-k layers: {}", std::ssize(hashed) - layers,
                                described(scenario.law)));
  if (layers > 0) {
    const bool drawn = scenario.table.kind != HashTableLaw::Kind::balanced &&
                       scenario.table.kind != HashTableLaw::Kind::zeros;
    texts.push_back(fmt::format("routing of {} hash layers: {}{}", layers,
                                described(scenario.table),
                                drawn ? "; " + described(scenario.tokens) : ""));
  }
  return texts;
}

}  // namespace meshsim
