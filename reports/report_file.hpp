// A JSON report of meshsim, read back.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "inputs/node.hpp"

namespace meshsim {

struct ReportFile {
  std::string name;  // the path
  std::string kind;  // of its schema: "plan", "sweep", ...
  Node root;
};

// Throws Error: io; invalid_input for what is no JSON, no report of meshsim, or one of another
// major format, with the version of meshsim that wrote it.
ReportFile read_report(const std::string& path);

// A list of mappings as a table: a column for each key, in the order in which they appear.
struct ReportTable {
  std::string name;
  std::vector<std::string> columns;
  std::vector<std::vector<const Node*>> rows;  // nullptr: the mapping has no such key
};

// A report taken apart. It refers to the report's tree.
struct ReportParts {
  struct Fact {
    std::string name;  // "xla.temp_bytes"
    const Node* value;
  };
  std::vector<Fact> facts;
  std::vector<ReportTable> tables;  // a mapping of mappings as well: its keys are column "key"
  struct List {
    std::string name;
    std::vector<const Node*> items;  // texts
  };
  std::vector<List> lists;
  std::deque<Node> keys;  // the nodes of column "key"
};
ReportParts parts_of(const ReportFile& report);

// The value for people: times, bytes and ratios in their units, by the end of the name.
std::string shown_value(std::string_view name, const Node* value);
bool is_number(const Node* value);

}  // namespace meshsim
