#include "reports/config_report.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "plans/config_hash.hpp"

namespace meshsim {
namespace {

std::string_view name(KeyUse use) {
  switch (use) {
    case KeyUse::modelled: return "modelled";
    case KeyUse::fixed: return "fixed";
    case KeyUse::ignored: return "ignored";
    case KeyUse::derived: return "derived";
  }
  return "";
}

std::string shown(const Setting& setting) {
  if (is_secret(setting.key) && !setting.value.text.empty()) return "<redacted>";
  constexpr std::size_t widest = 60;
  std::string text = printable(flow_text(setting.value));
  if (text.size() > widest) text = text.substr(0, widest - 3) + "...";
  return text;
}

}  // namespace

Json config_json(const ResolvedConfig& config) {
  Json report = report_head("config");
  report["provenance"] = provenance(config);
  report["model"] = config.model.name;
  report["resolved"] = resolved_json(config);
  for (const Setting& setting : config.settings) {
    const KeyInfo& key = *KeyTable::instance().find(setting.key);
    report["resolved"][setting.key]["use"] = name(key.use);
    if (!key.reason.empty()) report["resolved"][setting.key]["reason"] = key.reason;
  }
  report["notes"] = config.notes;
  return report;
}

std::string config_table(const ResolvedConfig& config, bool everything) {
  std::string text = fmt::format("{:<40} {:<14} {:<9} {}\n", "key", "origin", "use", "value");
  for (const Setting& setting : config.settings) {
    if (!everything && setting.origin == Origin::builtin) continue;
    const KeyInfo& key = *KeyTable::instance().find(setting.key);
    text += fmt::format("{:<40} {:<14} {:<9} {}\n", setting.key, name(setting.origin),
                        name(key.use), shown(setting));
    if (key.use == KeyUse::ignored && setting.origin != Origin::builtin) {
      text += fmt::format("{:<40}   ignored: {}\n", "", key.reason);
    }
  }
  for (const auto& [key, setting] : config.own) {
    text += fmt::format("{:<40} {:<14} {:<9} {}\n", "meshsim." + key, name(setting.origin),
                        "modelled", shown(setting));
  }
  if (!everything)
    text +=
        fmt::format("{} keys are at MaxText's default (--all shows them)\n",
                    std::count_if(config.settings.begin(), config.settings.end(),
                                  [](const Setting& s) { return s.origin == Origin::builtin; }));
  return text;
}

}  // namespace meshsim
