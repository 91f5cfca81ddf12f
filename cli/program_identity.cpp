#include "cli/program_identity.hpp"

#include <elf.h>
#include <fmt/format.h>
#include <link.h>

#include <cstring>
#include <span>
#include <string_view>

#include "reports/document.hpp"

namespace meshsim {
namespace {

constexpr std::size_t aligned(std::size_t size) { return (size + 3) / 4 * 4; }

// The id among the notes of one segment: each is a header, a name and a description, padded to 4.
std::string build_id(std::span<const char> notes) {
  while (notes.size() >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) header;
    std::memcpy(&header, notes.data(), sizeof header);
    const std::size_t name = sizeof header;
    const std::size_t description = name + aligned(header.n_namesz);
    const std::size_t end = description + aligned(header.n_descsz);
    if (end > notes.size()) break;
    if (header.n_type == NT_GNU_BUILD_ID &&
        std::string_view(&notes[name], header.n_namesz) == std::string_view("GNU", 4)) {
      std::string hex;
      for (const char byte : notes.subspan(description, header.n_descsz))
        hex += fmt::format("{:02x}", static_cast<unsigned char>(byte));
      return hex;
    }
    notes = notes.subspan(end);
  }
  return "";
}

// The first object is the program itself.
int visit_program(dl_phdr_info* info, std::size_t /*size*/, void* found) {
  for (const ElfW(Phdr) & segment : std::span(info->dlpi_phdr, info->dlpi_phnum)) {
    auto& id = *static_cast<std::string*>(found);
    if (segment.p_type != PT_NOTE || !id.empty()) continue;
    id = build_id(
        {reinterpret_cast<const char*>(info->dlpi_addr + segment.p_vaddr), segment.p_memsz});
  }
  return 1;
}

}  // namespace

std::string program_identity() {
  std::string id;
  dl_iterate_phdr(visit_program, &id);
  return id.empty() ? std::string(version) : fmt::format("{} (build {})", version, id);
}

}  // namespace meshsim
